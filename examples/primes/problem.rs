//! The problem that the three examples of patterns share: the prime factors of 1..N, added up.

use ringmw::prelude::*;

/// The sum of the prime factors of each of these numbers, each as often as it divides.
#[algorithm]
pub(crate) fn factors(first: u64, end: u64) -> u64 {
    (first..end).map(sum_of_factors).sum()
}

fn sum_of_factors(mut n: u64) -> u64 {
    let (mut sum, mut divisor) = (0, 2);
    while divisor * divisor <= n {
        while n.is_multiple_of(divisor) {
            sum += divisor;
            n /= divisor;
        }
        divisor += 1;
    }
    if n > 1 { sum + n } else { sum }
}

// One of the three needs none.
#[allow(dead_code)]
/// Ranges of so many numbers that make up 1..=upto.
pub(crate) fn ranges(upto: u64, numbers: u64) -> impl Iterator<Item = (u64, u64)> {
    let firsts = (1..=upto).step_by(numbers as usize);
    firsts.map(move |first| (first, (upto + 1).min(first + numbers)))
}

/// The last line of each.
pub(crate) fn print(upto: u64, sum: u64) {
    println!("prime factors of 1..{upto}: {sum}");
}
