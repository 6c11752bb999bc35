//! Outcomes of tasks by slave and algorithm, and the test that tells a bad slave or host from bad luck.
//!
//! # The test
//! Somebody is held against all others: `f` of its `n` outcomes are failures, and `F` of the `N` of the others. That both
//! fail at one rate is given up when the data are so many times more likely under two rates than under the best single
//! one (universal inference: Wasserman, Ramdas and Balakrishnan, PNAS 117, 2020): the two-rate likelihoods are mixtures over
//! all rates (Krichevsky and Trofimov), so that the ratio is an e-value, which may be looked at after every outcome. By
//! Ville's inequality it passes `1/error` with a probability of `error` at most, ever. With `S` slaves each has an `S`th
//! part of [`ERROR`]: that any of them is put into quarantine though all fail alike has at most that probability, for
//! each [`WINDOW`] outcomes of a slave.
//!
//! An algorithm that fails everywhere fails at one rate. Outcomes of slaves in quarantine count for nobody.

use crate::ids::AlgorithmId;

/// The probability that slaves which all fail alike are told apart, for each [`WINDOW`] outcomes of a slave.
pub const ERROR: f64 = 0.01;

/// Outcomes of a slave that count; with so many both counts are halved, so that what is long ago fades.
pub const WINDOW: u32 = 512;

/// The outcomes of a packet weigh no more than so many: tasks that travel together are often alike.
pub(crate) const PACKET_WEIGHT: u32 = 2;

/// So much more likely, and a slave gets tasks of that algorithm one by one.
const SUSPICION: f64 = 10.0;

/// Failures in a row, no outcome of anybody else being known, with which a slave waits for another's.
pub(crate) const ALONE_FAILED_MAX: u32 = 8;

/// How many outcomes there were, and how many of them were failures.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct Outcomes {
    /// Failures.
    pub failed: u64,
    /// All.
    pub all: u64,
}

impl Outcomes {
    pub(crate) fn without(self, other: Outcomes) -> Outcomes {
        Outcomes {
            failed: self.failed - other.failed,
            all: self.all - other.all,
        }
    }

    /// Whether a larger part of them are failures.
    fn is_worse_than(self, other: Outcomes) -> bool {
        u128::from(self.failed) * u128::from(other.all)
            > u128::from(other.failed) * u128::from(self.all)
    }

    /// The logarithm of their likelihood, mixed over all rates by Beta(1/2, 1/2).
    fn ln_mixture(self) -> f64 {
        let (failed, done) = (self.failed as f64, (self.all - self.failed) as f64);
        ln_gamma(failed + 0.5) + ln_gamma(done + 0.5)
            - ln_gamma((self.all + 1) as f64)
            - std::f64::consts::PI.ln()
    }

    /// The logarithm of their likelihood at the rate that suits them best.
    fn ln_best(self) -> f64 {
        let all = self.all as f64;
        let part = |count: u64| match count {
            0 => 0.0,
            count => count as f64 * (count as f64 / all).ln(),
        };
        part(self.failed) + part(self.all - self.failed)
    }
}

/// The logarithm of the e-value: how much more likely two rates make it, where the first is the higher one; else 0.
fn evidence(own: Outcomes, others: Outcomes) -> f64 {
    if !own.is_worse_than(others) {
        return 0.0;
    }
    let together = Outcomes {
        failed: own.failed + others.failed,
        all: own.all + others.all,
    };
    own.ln_mixture() + others.ln_mixture() - together.ln_best()
}

/// Whether one of `candidates` is worse than the others, with [`ERROR`] shared among them all.
pub(crate) fn is_bad(own: Outcomes, others: Outcomes, candidates: usize) -> bool {
    evidence(own, others) >= (candidates.max(1) as f64 / ERROR).ln()
}

/// Whether it may be: not enough to say so, and enough to give it little.
pub(crate) fn is_suspect(own: Outcomes, others: Outcomes) -> bool {
    let has_only_failed = own.failed == own.all && own.failed >= 2 && others.all == 0;
    has_only_failed || evidence(own, others) >= SUSPICION.ln()
}

/// Stirling's series; below 8 by way of the recurrence.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut less) = (x, 0.0);
    while x < 8.0 {
        less += x.ln();
        x += 1.0;
    }
    let square = x * x;
    let series =
        1.0 / (12.0 * x) - 1.0 / (360.0 * x * square) + 1.0 / (1260.0 * x * square * square);
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - less
}

/// What is counted of one slave and algorithm.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
struct Tally {
    failed: u16,
    all: u16,
}

impl From<Tally> for Outcomes {
    fn from(tally: Tally) -> Self {
        Outcomes {
            failed: tally.failed.into(),
            all: tally.all.into(),
        }
    }
}

/// The outcomes that count, by slave's slot and algorithm, and their sums by algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    algorithms: usize,
    tallies: Vec<Tally>,
    sums: Vec<Outcomes>,
}

impl Health {
    pub(crate) fn new(algorithms: usize) -> Self {
        Health {
            algorithms,
            tallies: Vec::new(),
            sums: vec![Outcomes::default(); algorithms],
        }
    }

    fn at(&self, slave: u32, algorithm: AlgorithmId) -> usize {
        slave as usize * self.algorithms + usize::from(algorithm.0)
    }

    /// A slave has this slot now.
    pub(crate) fn add(&mut self, slave: u32) {
        let room = (slave as usize + 1) * self.algorithms;
        if self.tallies.len() < room {
            self.tallies.resize(room, Tally::default());
        }
    }

    /// Outcomes of a slave; those that count.
    #[inline]
    pub(crate) fn learn(&mut self, slave: u32, algorithm: AlgorithmId, all: u32, failed: u32) {
        let at = self.at(slave, algorithm);
        let weight = all.min(PACKET_WEIGHT);
        // A failure among many does not vanish.
        let failed = match all <= PACKET_WEIGHT {
            true => failed,
            false => (u64::from(failed) * u64::from(PACKET_WEIGHT)).div_ceil(all.into()) as u32,
        };
        let sum = &mut self.sums[usize::from(algorithm.0)];
        let tally = &mut self.tallies[at];
        sum.failed += u64::from(failed);
        sum.all += u64::from(weight);
        tally.failed += failed as u16;
        tally.all += weight as u16;
        if u32::from(tally.all) >= WINDOW {
            let (all, failed) = (tally.all / 2, tally.failed / 2);
            sum.failed -= u64::from(tally.failed - failed);
            sum.all -= u64::from(tally.all - all);
            *tally = Tally { failed, all };
        }
    }

    /// What a slave's outcomes were, and those of all others.
    pub(crate) fn against_others(
        &self,
        slave: u32,
        algorithm: AlgorithmId,
    ) -> (Outcomes, Outcomes) {
        let own = self.of(slave, algorithm);
        (own, self.sums[usize::from(algorithm.0)].without(own))
    }

    pub(crate) fn of(&self, slave: u32, algorithm: AlgorithmId) -> Outcomes {
        self.tallies[self.at(slave, algorithm)].into()
    }

    /// A slave's outcomes of an algorithm count no more.
    pub(crate) fn forget(&mut self, slave: u32, algorithm: AlgorithmId) {
        let at = self.at(slave, algorithm);
        let tally = std::mem::take(&mut self.tallies[at]);
        let sum = &mut self.sums[usize::from(algorithm.0)];
        *sum = sum.without(tally.into());
    }

    /// A slave is gone.
    pub(crate) fn remove(&mut self, slave: u32) {
        (0..self.algorithms as u16)
            .for_each(|algorithm| self.forget(slave, AlgorithmId(algorithm)));
    }

    /// Re-derives the sums.
    pub(crate) fn check(&self) {
        let mut sums = vec![Outcomes::default(); self.algorithms];
        for (at, tally) in self.tallies.iter().enumerate() {
            let sum = &mut sums[at % self.algorithms];
            sum.failed += u64::from(tally.failed);
            sum.all += u64::from(tally.all);
            assert!(u32::from(tally.all) < WINDOW && tally.failed <= tally.all);
        }
        assert_eq!(sums, self.sums, "outcomes are summed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(failed: u64, all: u64) -> Outcomes {
        Outcomes { failed, all }
    }

    /// By its product: 5.5! and its like.
    #[test]
    fn the_gamma_function_is_right_to_nine_digits() {
        let mut exact = std::f64::consts::PI.sqrt().ln();
        for step in 0..2_000 {
            let x = 0.5 + f64::from(step);
            assert!(
                (ln_gamma(x) - exact).abs() < 1e-9 * exact.abs().max(1.0),
                "{x}"
            );
            exact += x.ln();
        }
        assert!(ln_gamma(1.0).abs() < 1e-9 && ln_gamma(2.0).abs() < 1e-9);
    }

    /// (own, others, slaves, bad)
    #[test]
    fn who_is_worse_than_all_others_is_found_and_who_is_not_is_left() {
        for (own, others, slaves, bad) in [
            // Fails at once, and the others have had their first results.
            (of(20, 20), of(0, 7), 8, true),
            (of(6, 6), of(0, 70), 8, true),
            (of(3, 3), of(0, 7), 8, false),
            // It was healthy for long.
            (of(16, 272), of(0, 1800), 8, true),
            // An algorithm that fails everywhere, or often.
            (of(500, 500), of(3500, 3500), 8, false),
            (of(20, 20), of(19, 20), 8, false),
            (of(10, 100), of(70, 700), 8, false),
            (of(17, 100), of(70, 700), 8, false),
            (of(60, 100), of(70, 700), 8, true),
            // Better than the others.
            (of(0, 500), of(500, 1000), 8, false),
            // Nobody else has said anything.
            (of(500, 500), of(0, 0), 8, false),
            (of(0, 0), of(0, 0), 8, false),
            // A node of four whose slaves are all bad, among eight such.
            (of(4, 4), of(0, 28), 8, true),
        ] {
            assert_eq!(is_bad(own, others, slaves), bad, "{own:?} {others:?}");
        }
    }

    #[test]
    fn what_only_fails_is_given_little_before_others_have_said_anything() {
        assert!(is_suspect(of(2, 2), of(0, 0)) && is_suspect(of(5, 5), of(0, 7)));
        assert!(!is_suspect(of(1, 1), of(0, 0)) && !is_suspect(of(2, 20), of(20, 200)));
    }

    #[test]
    fn what_is_long_ago_fades_and_the_sums_are_those_of_the_slaves() {
        let mut health = Health::new(2);
        (0..3).for_each(|slave| health.add(slave));
        for nth in 0..10_000u32 {
            health.learn(
                nth % 3,
                AlgorithmId((nth % 2) as u16),
                1 + nth % 20,
                nth % 7 / 6,
            );
            health.check();
        }
        let (own, others) = health.against_others(1, AlgorithmId(0));
        assert!(own.all < u64::from(WINDOW) && others.all > u64::from(WINDOW) / 2);
        health.remove(1);
        health.check();
        assert_eq!(health.of(1, AlgorithmId(1)), of(0, 0));
    }

    /// Tasks that travel together are often alike.
    #[test]
    fn a_packet_of_failures_weighs_as_a_few() {
        let mut health = Health::new(1);
        health.add(0);
        health.learn(0, AlgorithmId(0), 250, 250);
        assert_eq!(health.of(0, AlgorithmId(0)), of(2, 2));
        health.learn(0, AlgorithmId(0), 1_000, 1);
        assert_eq!(health.of(0, AlgorithmId(0)), of(3, 4));
    }
}
