//! How likely chance alone brings about so many: tails of the Poisson and binomial distributions.

/// The logarithm of the gamma function, by Lanczos' series; good to 14 digits above 0.5.
fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    let x = x - 1.0;
    let t = x + 7.5;
    let sum: f64 = SERIES[1..]
        .iter()
        .enumerate()
        .map(|(nth, part)| part / (x + nth as f64 + 1.0))
        .sum();
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + (SERIES[0] + sum).ln()
}

/// Sums terms that shrink by a ratio of their number, until they no longer count.
fn sum_from(first: f64, mut ratio: impl FnMut(f64) -> f64) -> f64 {
    let (mut term, mut sum, mut nth) = (first, first, 0.0);
    loop {
        term *= ratio(nth);
        nth += 1.0;
        sum += term;
        if term.is_nan() || term <= sum * 1e-12 {
            return sum.min(1.0);
        }
    }
}

/// The chance of `count` or more where `mean` are expected. At or below the mean it is told as 1.
pub(super) fn poisson_upper(count: f64, mean: f64) -> f64 {
    if count <= mean || count <= 0.0 {
        return 1.0;
    }
    if mean <= 0.0 {
        return 0.0;
    }
    let first = (count * mean.ln() - mean - ln_gamma(count + 1.0)).exp();
    sum_from(first, |nth| mean / (count + nth + 1.0))
}

/// The chance of `count` or fewer where `mean` are expected. At or above the mean it is told as 1.
pub(super) fn poisson_lower(count: f64, mean: f64) -> f64 {
    if count >= mean {
        return 1.0;
    }
    let first = (count * mean.ln() - mean - ln_gamma(count + 1.0)).exp();
    sum_from(first, |nth| (count - nth).max(0.0) / mean)
}

/// The chance of `count` or more hits in `trials`, each of chance `share`. At or below the mean it is told as 1.
pub(super) fn binomial_upper(count: f64, trials: f64, share: f64) -> f64 {
    if count <= trials * share || count <= 0.0 {
        return 1.0;
    }
    if share <= 0.0 {
        return 0.0;
    }
    let ways = ln_gamma(trials + 1.0) - ln_gamma(count + 1.0) - ln_gamma(trials - count + 1.0);
    let first = (ways + count * share.ln() + (trials - count) * (-share).ln_1p()).exp();
    let odds = share / (1.0 - share);
    sum_from(first, |nth| {
        (trials - count - nth).max(0.0) / (count + nth + 1.0) * odds
    })
}

/// A bound on the chance that the mean of `count` times is `ratio` times the expected one or more: Chernoff's, for times
/// of a gamma distribution whose variance is `spread` times the square of their mean.
pub(super) fn mean_upper(count: f64, ratio: f64, spread: f64) -> f64 {
    if ratio <= 1.0 {
        return 1.0;
    }
    (-count * (ratio - 1.0 - ratio.ln()) / spread).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_near(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-9 * expected.abs()
    }

    /// Against sums term by term, of factorials that fit.
    #[test]
    fn tails_are_the_sums_of_their_terms() {
        let factorial = |n: u64| (1..=n).map(|k| k as f64).product::<f64>();
        for mean in [0.01, 0.5, 3.0, 20.0] {
            let term = |k: u64| f64::powi(mean, k as i32) * (-mean).exp() / factorial(k);
            for count in 0..60u64 {
                if count as f64 > mean {
                    let expected: f64 = (count..160).map(term).sum();
                    assert!(
                        is_near(poisson_upper(count as f64, mean), expected),
                        "{count} {mean}"
                    );
                } else if (count as f64) < mean {
                    let expected: f64 = (0..=count).map(term).sum();
                    assert!(
                        is_near(poisson_lower(count as f64, mean), expected),
                        "{count} {mean}"
                    );
                }
            }
        }
        for share in [0.001, 0.1, 0.5] {
            let trials = 40u64;
            let term = |k: u64| {
                let ways = factorial(trials) / factorial(k) / factorial(trials - k);
                ways * f64::powi(share, k as i32) * f64::powi(1.0 - share, (trials - k) as i32)
            };
            for count in 0..=trials {
                if count as f64 > trials as f64 * share {
                    let expected: f64 = (count..=trials).map(term).sum();
                    let found = binomial_upper(count as f64, trials as f64, share);
                    assert!(
                        is_near(found, expected),
                        "{count} {share}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn large_numbers_and_edges() {
        assert_eq!(poisson_upper(0.0, 0.0), 1.0);
        assert_eq!(poisson_upper(1.0, 0.0), 0.0);
        assert_eq!(binomial_upper(0.0, 0.0, 0.5), 1.0);
        let far = poisson_upper(1_200_000.0, 1_000_000.0);
        assert!((0.0..1e-100).contains(&far), "{far}");
        let near = poisson_upper(1_001_000.0, 1_000_000.0);
        assert!((near - 0.1587).abs() < 1e-3, "{near}");
        let near = binomial_upper(500_500.0, 1_000_000.0, 0.5);
        assert!((near - 0.1587).abs() < 1e-3, "{near}");
    }

    /// The bound holds: 10 exponential times have twice their mean in 5 of 1000 cases.
    #[test]
    fn the_bound_on_means_is_above_the_chance() {
        let exact = poisson_lower(9.0, 20.0);
        let bound = mean_upper(10.0, 2.0, 1.0);
        assert!(exact < bound && bound < 20.0 * exact, "{exact} {bound}");
    }
}
