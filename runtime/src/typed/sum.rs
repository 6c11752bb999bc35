//! An exact sum of `f64`: the same bits under any cut and in any order, correctly rounded.
//!
//! Every finite `f64` is a whole multiple of 2^-1074 below 2^2098. The sum is such a multiple as digits of 32 bits, each
//! in an `i64` so that carries wait; only the digits between the smallest and the largest term are there.
//!
//! ```text
//!   position of a bit   0         32        64                                    2097
//!   its worth           2^-1074   2^-1042   2^-1010     ...                       2^1023
//!   digit               |    0    |    1    |    2  ..                       65   | 66 67: carries
//! ```
//!
//! Deliberately absent: sums of other types, products, means. A crate that does this was looked at (xsum 0.1.6): its
//! accumulators can neither be merged nor taken apart to travel.

use std::fmt;
use std::iter;
use std::ops::{Add, AddAssign};

use ringmw_macros::wire;

/// Bits of a digit.
const BITS: u32 = 32;

/// Digits there may be: 2,098 bits of the terms, and room for the carries of 2^64 of them.
const DIGITS: usize = 68;

/// Terms, or sums, that may be added to digits before their carries must be passed on: each adds less than 2^53.
const ADDED_MAX: u16 = 1 << 9;

/// Bits of the mantissa that stand in an `f64`.
const MANTISSA: u32 = f64::MANTISSA_DIGITS - 1;

/// Where the lowest bit of the largest `f64`'s mantissa stands.
const LOWEST_MAX: u64 = 2045;

/// A term was not finite.
const PLUS_INFINITY: u8 = 1;
const MINUS_INFINITY: u8 = 2;
const NAN: u8 = 4;

/// An exact sum of `f64`: any number of terms, in any order, cut into any number of parts that are merged in any order,
/// has one and the same [`value`](Sum::value), which is the exact sum correctly rounded.
///
/// A task returns one, and the master merges them; it travels as the digits that it has, a few dozen bytes where the
/// terms are of like magnitude and at most 570. Adding a term takes some ten nanoseconds.
///
/// ```
/// use ringmw::Sum;
///
/// let (mut left, mut right) = (Sum::new(), Sum::new());
/// left += 1e100;
/// left += 1.0;
/// right += -1e100;
/// right.merge(&left);
/// assert_eq!(right.value(), 1.0);
///
/// let tenths: Sum = std::iter::repeat_n(0.1, 10).collect();
/// assert_eq!(tenths.value(), 1.0);
/// ```
///
/// Infinities and NaN are terms as elsewhere: infinity wins over what is finite, two of opposite sign make NaN. A sum
/// above what an `f64` holds is infinite only in its value: terms that bring it back are still taken. Of no term, and
/// wherever the exact sum is nought, the value is `0.0`, never `-0.0`.
#[wire]
#[derive(Clone, Default)]
pub struct Sum {
    /// Where the digits begin.
    first: u8,
    /// What was added since carries were passed on last.
    added: u16,
    not_finite: u8,
    digits: Vec<i64>,
}

impl Sum {
    /// Of no term.
    pub const fn new() -> Self {
        Sum {
            first: 0,
            added: 0,
            not_finite: 0,
            digits: Vec::new(),
        }
    }

    /// Adds a term.
    #[inline]
    pub fn add(&mut self, term: f64) {
        let bits = term.to_bits();
        let exponent = (bits >> MANTISSA) as u32 & 0x7ff;
        let fraction = bits & ((1 << MANTISSA) - 1);
        let (mantissa, position) = match exponent {
            0 if fraction == 0 => return,
            0 => (fraction, 0),
            0x7ff => return self.add_not_finite(term),
            _ => (fraction | 1 << MANTISSA, exponent - 1),
        };
        let (digit, shift) = ((position / BITS) as usize, position % BITS);
        let low = (mantissa << shift & 0xffff_ffff) as i64;
        let high = (mantissa >> (BITS - shift)) as i64;
        let at = self.room_for(digit, 2);
        let sign = 1 - 2 * (bits >> 63) as i64;
        // Of digits that came from elsewhere nothing is certain.
        self.digits[at] = self.digits[at].wrapping_add(sign * low);
        self.digits[at + 1] = self.digits[at + 1].wrapping_add(sign * high);
        self.on_added();
    }

    #[cold]
    fn add_not_finite(&mut self, term: f64) {
        self.not_finite |= match term {
            f64::INFINITY => PLUS_INFINITY,
            f64::NEG_INFINITY => MINUS_INFINITY,
            _ => NAN,
        };
    }

    /// Adds all terms of another sum.
    pub fn merge(&mut self, other: &Sum) {
        self.not_finite |= other.not_finite;
        let (first, other) = other.carried();
        if other.is_empty() {
            return;
        }
        let at = self.room_for(first, other.len());
        for (digit, more) in self.digits[at..].iter_mut().zip(&other) {
            *digit = digit.wrapping_add(*more);
        }
        self.on_added();
    }

    /// The exact sum, rounded to the nearest `f64`, to the even one of two.
    pub fn value(&self) -> f64 {
        match self.not_finite {
            0 => {}
            PLUS_INFINITY => return f64::INFINITY,
            MINUS_INFINITY => return f64::NEG_INFINITY,
            _ => return f64::NAN,
        }
        let (first, mut digits) = self.carried();
        let Some(&top) = digits.last() else {
            return 0.0;
        };
        let is_negative = top < 0;
        if is_negative {
            digits
                .iter_mut()
                .for_each(|digit| *digit = digit.wrapping_neg());
            pass_carries_on(&mut digits);
            drop_noughts(&mut digits);
        }
        let magnitude = rounded(first, &digits);
        if is_negative { -magnitude } else { magnitude }
    }

    /// Whether no term other than nought was added, or all of them came to nought.
    pub fn is_zero(&self) -> bool {
        self.not_finite == 0 && self.carried().1.is_empty()
    }

    /// Makes room for so many digits from this one on; where that stands.
    #[inline]
    fn room_for(&mut self, digit: usize, digits: usize) -> usize {
        let first = usize::from(self.first);
        if first <= digit && digit + digits <= first + self.digits.len() {
            return digit - first;
        }
        self.grow(digit, digits)
    }

    #[cold]
    fn grow(&mut self, digit: usize, digits: usize) -> usize {
        let first = usize::from(self.first).min(DIGITS);
        let here = &self.digits[..self.digits.len().min(DIGITS - first)];
        let (from, to) = match here.is_empty() {
            true => (digit, digit + digits),
            false => (first.min(digit), (first + here.len()).max(digit + digits)),
        };
        let mut grown = vec![0; to - from];
        if !here.is_empty() {
            grown[first - from..][..here.len()].copy_from_slice(here);
        }
        (self.first, self.digits) = (from as u8, grown);
        digit - from
    }

    #[inline]
    fn on_added(&mut self) {
        self.added = self.added.saturating_add(1);
        if self.added >= ADDED_MAX {
            self.carry();
        }
    }

    #[cold]
    fn carry(&mut self) {
        let (first, digits) = self.carried();
        (self.first, self.digits) = (first as u8, digits);
        self.added = 1;
    }

    /// Its digits with all carries passed on, noughts at either end left out, and where they begin: each below 2^32, the
    /// last one with the sign. Of any two equal sums these are the same.
    fn carried(&self) -> (usize, Vec<i64>) {
        let first = usize::from(self.first).min(DIGITS);
        let here = self.digits.len().min(DIGITS - first);
        let mut digits = self.digits[..here].to_vec();
        // The last one may be as large as it likes where there is room for none above it, and only there.
        digits.resize((here + 2).min(DIGITS - first), 0);
        pass_carries_on(&mut digits);
        drop_noughts(&mut digits);
        // An all-negative end, -1 above a digit, is one digit with a sign.
        while let [.., below, -1] = digits[..] {
            digits.pop();
            let last = digits.last_mut().expect("there is one below");
            *last = below - (1 << BITS);
        }
        let low = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..low);
        (first + low, digits)
    }
}

/// Every digit but the last becomes one of 32 bits without a sign.
fn pass_carries_on(digits: &mut [i64]) {
    let Some((last, others)) = digits.split_last_mut() else {
        return;
    };
    let mut carry = 0i64;
    for digit in others {
        let sum = digit.wrapping_add(carry);
        *digit = sum & 0xffff_ffff;
        carry = sum >> BITS;
    }
    *last = last.wrapping_add(carry);
}

fn drop_noughts(digits: &mut Vec<i64>) {
    while digits.last() == Some(&0) {
        digits.pop();
    }
}

/// A magnitude: digits of 32 bits, of which the last is not nought and perhaps wider.
fn rounded(first: usize, digits: &[i64]) -> f64 {
    let Some(&top) = digits.last() else {
        return 0.0;
    };
    let place = |digit: usize| (first + digit) as u64 * u64::from(BITS);
    let top_place = place(digits.len() - 1);
    let bit = |position: u64| match position.checked_sub(top_place) {
        Some(within) => top as u64 >> within & 1,
        None => {
            let digit = (position / u64::from(BITS)) as usize;
            let digit = digit.checked_sub(first).map_or(0, |at| digits[at]);
            digit as u64 >> (position % u64::from(BITS)) & 1
        }
    };
    let highest = top_place + u64::from(63 - (top as u64).leading_zeros());
    let lowest = highest.saturating_sub(u64::from(MANTISSA));
    let mantissa = (lowest..=highest).rev().fold(0, |m, at| m << 1 | bit(at));
    if lowest == 0 {
        // Subnormal, or of the first normal ones: its bits are the number.
        return f64::from_bits(mantissa);
    }
    if lowest > LOWEST_MAX {
        return f64::INFINITY;
    }
    let is_half = bit(lowest - 1) == 1;
    let is_more = is_half && (place(0)..lowest - 1).any(|at| bit(at) == 1);
    let up = u64::from(is_half && (is_more || mantissa & 1 == 1));
    // The leading bit adds one to the exponent, and so does a carry out of the mantissa: up to infinity, if it must.
    f64::from_bits((lowest << MANTISSA) + mantissa + up)
}

impl AddAssign<f64> for Sum {
    #[inline]
    fn add_assign(&mut self, term: f64) {
        self.add(term);
    }
}

impl AddAssign<&Sum> for Sum {
    fn add_assign(&mut self, other: &Sum) {
        self.merge(other);
    }
}

impl Add for Sum {
    type Output = Sum;

    /// The terms of both: what `reduce` takes.
    fn add(mut self, other: Sum) -> Sum {
        self.merge(&other);
        self
    }
}

impl From<f64> for Sum {
    fn from(term: f64) -> Self {
        iter::once(term).collect()
    }
}

impl Extend<f64> for Sum {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, terms: I) {
        terms.into_iter().for_each(|term| self.add(term));
    }
}

impl FromIterator<f64> for Sum {
    fn from_iter<I: IntoIterator<Item = f64>>(terms: I) -> Self {
        let mut sum = Sum::new();
        sum.extend(terms);
        sum
    }
}

impl iter::Sum for Sum {
    fn sum<I: Iterator<Item = Sum>>(sums: I) -> Sum {
        sums.fold(Sum::new(), Add::add)
    }
}

/// Two sums are equal if the exact sums are; of what is not finite, if their values are of the same kind.
impl PartialEq for Sum {
    fn eq(&self, other: &Self) -> bool {
        match (self.not_finite, other.not_finite) {
            (0, 0) => self.carried() == other.carried(),
            _ => self.value().to_bits() == other.value().to_bits(),
        }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sum").field(&self.value()).finish()
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, RngExt};

    use super::*;
    use crate::typed::rng::{Rng, StreamKey};
    use crate::typed::wire::{decode, encode};

    fn rng(stream: u64) -> Rng {
        Rng::new(StreamKey {
            seed: 1,
            algorithm: 2,
            domain: 3,
            stream,
        })
    }

    fn value(terms: &[f64]) -> f64 {
        terms.iter().copied().collect::<Sum>().value()
    }

    #[test]
    fn a_table_of_sums() {
        const TINY: f64 = f64::from_bits(1);
        const MAX: f64 = f64::MAX;
        for (terms, expected) in [
            (&[][..], 0.0),
            (&[-0.0], 0.0),
            (&[1.5], 1.5),
            (&[-1.5], -1.5),
            (&[1.0, 1e100, 1.0, -1e100], 2.0),
            (&[0.1; 10], 1.0),
            (&[TINY], TINY),
            (&[-TINY, -TINY], -2.0 * TINY),
            (&[f64::MIN_POSITIVE, -TINY], f64::MIN_POSITIVE - TINY),
            (&[MAX], MAX),
            (&[-MAX], -MAX),
            (&[MAX, MAX], f64::INFINITY),
            (&[-MAX, -MAX], f64::NEG_INFINITY),
            (&[MAX, MAX, -MAX], MAX),
            (&[MAX, TINY], MAX),
            // Half a unit above the largest is infinite, a little less is not.
            (&[MAX, 2f64.powi(970)], f64::INFINITY),
            (&[MAX, 2f64.powi(970), -TINY], MAX),
            // To the even one of two, unless anything speaks for one.
            (&[9007199254740992.0, 1.0], 9007199254740992.0),
            (&[9007199254740992.0, 1.0, TINY], 9007199254740994.0),
            (&[9007199254740994.0, 1.0], 9007199254740996.0),
            (&[9007199254740994.0, 1.0, -TINY], 9007199254740994.0),
            (&[-9007199254740992.0, -1.0, -TINY], -9007199254740994.0),
            (&[f64::INFINITY, -MAX], f64::INFINITY),
            (&[1.0, f64::NEG_INFINITY], f64::NEG_INFINITY),
        ] {
            assert_eq!(value(terms).to_bits(), expected.to_bits(), "{terms:?}");
        }
        for terms in [
            &[f64::NAN, 1.0][..],
            &[f64::INFINITY, f64::NEG_INFINITY],
            &[f64::NAN, f64::INFINITY],
        ] {
            assert!(value(terms).is_nan(), "{terms:?}");
        }
    }

    /// Any two `f64` add up to what the processor says: it rounds a sum of two correctly.
    #[test]
    fn two_terms_are_the_processors_sum() {
        let mut rng = rng(0);
        for _ in 0..200_000 {
            let a = f64::from_bits(rng.next_u64());
            // As often as not of like magnitude, where bits meet.
            let near = a.to_bits() ^ rng.next_u64() >> 13;
            let b = f64::from_bits([rng.next_u64(), near ^ 1 << 63][rng.random_range(0..2)]);
            if a.is_nan() || b.is_nan() {
                continue;
            }
            let (sum, expected) = (value(&[a, b]), a + b + 0.0);
            assert!(
                sum.to_bits() == expected.to_bits() || sum.is_nan() && expected.is_nan(),
                "{a:e} + {b:e}: {sum:e}, not {expected:e}"
            );
        }
    }

    /// Terms that are whole multiples of 2^-40 below 2^80 in sum: the same in an i128.
    #[test]
    fn many_terms_are_the_exact_sum() {
        for stream in 0..200 {
            let mut rng = rng(stream);
            let (mut exact, mut sum) = (0i128, Sum::new());
            for _ in 0..rng.random_range(1..3000) {
                let digits = i64::from(rng.random::<i32>()) << rng.random_range(0..21);
                let shift = rng.random_range(0..40);
                sum += digits as f64 * 2f64.powi(shift - 40);
                exact += i128::from(digits) << shift;
            }
            let expected = exact as f64 * 2f64.powi(-40);
            assert_eq!(sum.value(), expected, "stream {stream}");
        }
    }

    /// A million terms of mixed magnitude, cut into tasks as users do.
    #[test]
    fn one_bit_pattern_under_any_cut_and_in_any_order() {
        const TERMS: usize = if cfg!(debug_assertions) {
            100_000
        } else {
            1_000_000
        };
        let mut rng = rng(1);
        let terms: Vec<f64> = (0..TERMS)
            .map(|_| {
                rng.random::<f64>()
                    * 10f64.powi(rng.random_range(-250..250))
                    * [1.0, -1.0][rng.random_range(0..2)]
            })
            .collect();
        let whole: Sum = terms.iter().copied().collect();
        let bits = whole.value().to_bits();
        for tasks in [10, 1_000, 7_919] {
            let parts = terms.chunks(TERMS.div_ceil(tasks));
            let mut parts: Vec<Sum> = parts
                .map(|part| {
                    let mut bytes = Vec::new();
                    encode(&part.iter().copied().collect::<Sum>(), &mut bytes).unwrap();
                    decode(&bytes).unwrap()
                })
                .collect();
            let forward = parts.iter().cloned().sum::<Sum>();
            assert_eq!(forward, whole);
            assert_eq!(forward.value().to_bits(), bits, "{tasks} tasks");
            parts.reverse();
            let tree = crate::reduce(parts, Add::add).unwrap();
            assert_eq!(tree.value().to_bits(), bits, "{tasks} tasks, backwards");
        }
    }

    /// It comes from a slave: whatever it says of itself costs nobody else anything.
    #[test]
    fn any_bytes_that_are_one_can_be_merged_and_read() {
        let mut rng = rng(2);
        for _ in 0..3_000 {
            let digits = rng.random_range(0..100);
            let mut sum = Sum {
                first: rng.random(),
                added: rng.random(),
                not_finite: rng.random_range(0..9),
                digits: (0..digits)
                    .map(|_| rng.next_u64() as i64 >> rng.random_range(0..64))
                    .collect(),
            };
            let mut mine = Sum::from(1.0);
            mine.merge(&sum);
            mine += f64::MAX;
            let _ = (mine.value(), sum.value(), sum.is_zero());
            (0..3).for_each(|_| sum += rng.random::<f64>());
            sum.merge(&mine);
            let _ = sum.value();
            assert!(sum.digits.len() <= DIGITS && mine.digits.len() <= DIGITS);
        }
    }

    #[test]
    fn it_travels_as_the_digits_that_it_has() {
        let bytes = |sum: &Sum| {
            let mut bytes = Vec::new();
            encode(sum, &mut bytes).unwrap();
            bytes.len()
        };
        let like: Sum = (0..10_000).map(|n| f64::from(n) / 7.0).collect();
        assert!(bytes(&like) <= 64, "{}", bytes(&like));
        let all: Sum = [f64::MAX, f64::from_bits(1)].into_iter().collect();
        assert!(bytes(&all) <= 570, "{}", bytes(&all));
        assert!(Sum::new().is_zero() && !like.is_zero());
    }
}
