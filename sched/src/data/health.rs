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
//! That holds for tasks that fail independently of one another. Those that were submitted one after another often do not: one
//! cause makes them all fail, and whoever has them is not to blame. So the failures of a slave count as [`ALIKE_WEIGHT`] at
//! most until a task has succeeded that was submitted between: a batch of bad tasks, however long, is one such run for each
//! slave that has some of it, and one such run alone says of nobody that it is bad. Failures of the others all count, so that
//! leaving out some of the own ones makes the error smaller.
//!
//! Not all tasks that have succeeded are remembered. So runs are counted upwards:
//!
//! ```text
//!   failed  10 11    ·    30           ·    12 ...
//!   succeeded     ·  20      ·  40          (of these the last and the most recent one are known)
//!            ^ run 1        ^ run 2         ^ belongs to a run that was counted: which one, nobody knows
//! ```
//!
//! A failure below those that counted (tasks of other levels, or that were queued again) begins no run. Who has failed at
//! [`ALONE_FAILED_MAX`] such in a row works through another part of the queue: what counted before is left out, and runs
//! are counted from there.
//!
//! An algorithm that fails everywhere fails at one rate. Outcomes of slaves in quarantine count for nobody.

use std::collections::BTreeMap;

use crate::ids::AlgorithmId;

/// The probability that slaves which all fail alike are told apart, for each [`WINDOW`] outcomes of a slave.
pub const ERROR: f64 = 0.01;

/// Outcomes of a slave that count; with so many both counts are halved, so that what is long ago fades.
pub const WINDOW: u32 = 512;

/// The outcomes of a packet weigh no more than so many, and so do failures of a slave between which nothing has
/// succeeded: tasks that travel together, or follow one another, are often alike.
pub(crate) const ALIKE_WEIGHT: u32 = 2;

/// So much more likely, and a slave gets tasks of that algorithm one by one.
const SUSPICION: f64 = 10.0;

/// Failures in a row, no outcome of anybody else being known, with which a slave waits for another's.
pub(crate) const ALONE_FAILED_MAX: u32 = 8;

/// Unordered tasks of one algorithm that a slave answered together.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub struct Answers {
    /// How many.
    pub all: u32,
    /// How many of them have failed.
    pub failed: u32,
    /// The number of the last one that succeeded.
    pub last_done: Option<u64>,
    /// The number of the last one that failed.
    pub last_failed: Option<u64>,
}

impl Answers {
    /// So many tasks, the first of this number, have all failed, or all succeeded.
    #[inline]
    pub fn add(&mut self, first: u64, tasks: u32, failed: bool) {
        self.all += tasks;
        let end = Some(first + u64::from(tasks.max(1)) - 1);
        match failed {
            true => {
                self.failed += tasks;
                self.last_failed = self.last_failed.max(end);
            }
            false => self.last_done = self.last_done.max(end),
        }
    }
}

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

/// Failures of a slave and algorithm between which nothing is known to have succeeded.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub(crate) struct Alike {
    /// The highest failure that counted: all runs up to this one end there.
    anchor: u64,
    /// What failures in a row weigh, by when they came, that are below that one.
    below: u32,
    /// A task after that one which has succeeded: with a failure after it something else begins.
    ended_by: Option<u64>,
    /// The last failure.
    pub(crate) last: u64,
    /// How many there were.
    pub(crate) failed: u32,
    /// How many of them counted.
    counted: u32,
    /// How many such runs there were, this one included.
    runs: u32,
    /// Failures of the tally that do not count, of all times.
    left_out: u16,
}

/// The outcomes of an algorithm, of all slaves together.
#[derive(Copy, Clone, Default, Debug)]
struct OfAll {
    sum: Outcomes,
    /// The last task that has succeeded.
    last_done: Option<u64>,
    /// The one that has succeeded most recently: where tasks do not go out as they were submitted it is another one.
    recent_done: Option<u64>,
}

/// The outcomes that count, by slave's slot and algorithm, and their sums by algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    algorithms: usize,
    tallies: Vec<Tally>,
    of_all: Vec<OfAll>,
    /// Of those that have failed at something.
    alike: BTreeMap<(AlgorithmId, u32), Alike>,
}

impl Health {
    pub(crate) fn new(algorithms: usize) -> Self {
        Health {
            algorithms,
            tallies: Vec::new(),
            of_all: vec![OfAll::default(); algorithms],
            alike: BTreeMap::new(),
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
    pub(crate) fn learn(&mut self, slave: u32, algorithm: AlgorithmId, answers: Answers) {
        let Answers { all, failed, .. } = answers;
        let at = self.at(slave, algorithm);
        let weight = all.min(ALIKE_WEIGHT);
        // A failure among many does not vanish.
        let failed = match all <= ALIKE_WEIGHT {
            true => failed,
            false => (u64::from(failed) * u64::from(ALIKE_WEIGHT)).div_ceil(all.into()) as u32,
        };
        if let Some(last) = answers.last_failed {
            self.learn_failures(at, (algorithm, slave), (last, answers.failed), failed);
        }
        let all = &mut self.of_all[usize::from(algorithm.0)];
        if let Some(done) = answers.last_done {
            all.last_done = all.last_done.max(Some(done));
            all.recent_done = Some(done);
        }
        let sum = &mut all.sum;
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
            if let Some(alike) = self.alike.get_mut(&(algorithm, slave)) {
                alike.left_out /= 2;
            }
        }
    }

    /// So many failures, which weigh so much, the last of this number.
    #[cold]
    fn learn_failures(
        &mut self,
        at: usize,
        key: (AlgorithmId, u32),
        (last, failures): (u64, u32),
        weight: u32,
    ) {
        let all = self.of_all[usize::from(key.0.0)];
        let done = [all.last_done, all.recent_done];
        let alike = self.alike.entry(key).or_default();
        let after = |anchor: u64| {
            done.into_iter()
                .flatten()
                .filter(move |&done| done > anchor)
        };
        alike.below = match last < alike.anchor {
            true => alike.below + weight,
            false => 0,
        };
        if alike.below >= ALONE_FAILED_MAX {
            *alike = Alike {
                left_out: self.tallies[at].failed,
                ..Alike::default()
            };
        }
        alike.ended_by = after(alike.anchor).chain(alike.ended_by).min();
        if alike.ended_by.is_some_and(|done| done < last) {
            (alike.failed, alike.counted) = (0, 0);
        }
        alike.runs = alike.runs.saturating_add(u32::from(alike.failed == 0));
        let counts = weight.min(ALIKE_WEIGHT - alike.counted);
        if counts > 0 && last >= alike.anchor {
            alike.anchor = last;
            alike.ended_by = after(last).min();
        }
        alike.last = last;
        alike.failed = alike.failed.saturating_add(failures);
        alike.counted += counts;
        alike.left_out += (weight - counts) as u16;
    }

    /// The failures of a slave between which nothing has succeeded; none where something has since.
    pub(crate) fn alike(&self, slave: u32, algorithm: AlgorithmId) -> Option<Alike> {
        let alike = self.alike.get(&(algorithm, slave)).copied();
        let last_done = self.of_all[usize::from(algorithm.0)].last_done;
        alike.filter(|alike| last_done <= Some(alike.last))
    }

    /// Whether it has failed more than once, and something between has succeeded.
    pub(crate) fn has_failed_apart(&self, slave: u32, algorithm: AlgorithmId) -> bool {
        let alike = self.alike.get(&(algorithm, slave));
        alike.is_some_and(|alike| alike.runs > 1)
    }

    /// How many others have failed at what was submitted after the first failures of these.
    pub(crate) fn failing_beside(&self, alike: Alike, slave: u32, algorithm: AlgorithmId) -> usize {
        let of = (algorithm, 0)..=(algorithm, u32::MAX);
        let others = self.alike.range(of).filter(|((_, at), _)| *at != slave);
        others
            .filter(|(_, other)| other.last > alike.anchor)
            .count()
    }

    /// What a slave's outcomes were, without failures that are of one run, and those of all others.
    pub(crate) fn against_others(
        &self,
        slave: u32,
        algorithm: AlgorithmId,
    ) -> (Outcomes, Outcomes) {
        let own = self.of(slave, algorithm);
        let alike = self.alike.get(&(algorithm, slave));
        let left_out = u64::from(alike.map_or(0, |alike| alike.left_out));
        let counts = own.without(Outcomes {
            failed: left_out,
            all: left_out,
        });
        (
            counts,
            self.of_all[usize::from(algorithm.0)].sum.without(own),
        )
    }

    pub(crate) fn of(&self, slave: u32, algorithm: AlgorithmId) -> Outcomes {
        self.tallies[self.at(slave, algorithm)].into()
    }

    /// A slave's outcomes of an algorithm count no more.
    pub(crate) fn forget(&mut self, slave: u32, algorithm: AlgorithmId) {
        let at = self.at(slave, algorithm);
        let tally = std::mem::take(&mut self.tallies[at]);
        let sum = &mut self.of_all[usize::from(algorithm.0)].sum;
        *sum = sum.without(tally.into());
        self.alike.remove(&(algorithm, slave));
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
        let told = self.of_all.iter().map(|all| all.sum);
        assert!(sums.into_iter().eq(told), "outcomes are summed");
        for (&(algorithm, slave), alike) in &self.alike {
            let tally = self.tallies[self.at(slave, algorithm)];
            assert!(alike.left_out <= tally.failed && alike.counted <= ALIKE_WEIGHT);
        }
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
            let mut answers = Answers::default();
            answers.add(40 * u64::from(nth), 1 + nth % 20, false);
            answers.add(40 * u64::from(nth) + 20, nth % 7 / 6, true);
            health.learn(nth % 3, AlgorithmId((nth % 2) as u16), answers);
            health.check();
        }
        let (own, others) = health.against_others(1, AlgorithmId(0));
        assert!(own.all < u64::from(WINDOW) && others.all > u64::from(WINDOW) / 2);
        health.remove(1);
        health.check();
        assert_eq!(health.of(1, AlgorithmId(1)), of(0, 0));
    }

    fn answers(first: u64, tasks: u32, failed: bool) -> Answers {
        let mut answers = Answers::default();
        answers.add(first, tasks, failed);
        answers
    }

    /// Tasks that travel together are often alike.
    #[test]
    fn a_packet_of_failures_weighs_as_a_few() {
        let mut health = Health::new(1);
        health.add(0);
        health.learn(0, AlgorithmId(0), answers(0, 250, true));
        assert_eq!(health.of(0, AlgorithmId(0)), of(2, 2));
        let mut answers = answers(250, 999, false);
        answers.add(1_249, 1, true);
        health.learn(0, AlgorithmId(0), answers);
        assert_eq!(health.of(0, AlgorithmId(0)), of(3, 4));
    }

    /// So are those that follow one another, until one between them has succeeded, whoever had it.
    #[test]
    fn failures_one_after_another_weigh_as_a_few() {
        let (mut health, one) = (Health::new(1), AlgorithmId(0));
        (0..2).for_each(|slave| health.add(slave));
        health.learn(1, one, answers(3, 1, false));
        (10..25).for_each(|number| health.learn(0, one, answers(number, 1, true)));
        let counted = |health: &Health| health.against_others(0, one).0;
        assert_eq!(
            (counted(&health), health.of(0, one)),
            (of(2, 2), of(15, 15))
        );
        assert_eq!(health.alike(0, one).map(|alike| alike.failed), Some(15));
        // What was given to another before them says nothing, and what comes after ends it.
        health.learn(1, one, answers(4, 1, false));
        health.learn(0, one, answers(25, 1, true));
        assert_eq!(counted(&health), of(2, 2));
        health.learn(1, one, answers(26, 1, false));
        assert_eq!(health.alike(0, one), None);
        (27..40).for_each(|number| health.learn(0, one, answers(number, 1, true)));
        assert_eq!(counted(&health), of(4, 4));
        // Of others all count.
        assert_eq!(health.against_others(1, one), (of(0, 3), of(29, 29)));
        health.check();
    }

    /// The world's seed 5724: tasks of two levels, and what failed at the lower number opened the run before the higher one
    /// anew, so that three runs counted as seven failures.
    #[test]
    fn a_run_of_failures_is_counted_once_in_whatever_order_they_come() {
        let (mut health, one) = (Health::new(1), AlgorithmId(0));
        (0..2).for_each(|slave| health.add(slave));
        health.learn(0, one, answers(30, 1, true));
        health.learn(1, one, answers(20, 1, false));
        for nth in 0..5 {
            health.learn(0, one, answers(10 + nth, 1, true));
            health.learn(0, one, answers(31 + nth, 1, true));
        }
        assert_eq!(health.against_others(0, one).0, of(2, 2));
        assert!(!health.has_failed_apart(0, one));
        health.check();
    }

    /// It had one of the tasks that were submitted last and are urgent, then it fails at those that were submitted before.
    #[test]
    fn who_works_through_earlier_tasks_is_counted_anew_there() {
        let (mut health, one) = (Health::new(1), AlgorithmId(0));
        (0..2).for_each(|slave| health.add(slave));
        health.learn(1, one, answers(1_000_000, 1, false));
        health.learn(0, one, answers(1_000_001, 1, true));
        for nth in 0..40u64 {
            health.learn(0, one, answers(2 * nth, 1, true));
            health.learn(1, one, answers(2 * nth + 1, 1, false));
            health.check();
        }
        // Of the first ones below that one, one counted with it.
        assert_eq!(health.against_others(0, one).0, of(33, 33));
    }

    /// Who is slower than the others, so that these are always ahead of it.
    #[test]
    fn what_a_slow_slave_fails_counts_too() {
        let (mut health, one) = (Health::new(1), AlgorithmId(0));
        (0..2).for_each(|slave| health.add(slave));
        for nth in 0..20u64 {
            let first = nth * 100;
            (1..100).for_each(|more| health.learn(1, one, answers(first + more, 1, false)));
            health.learn(0, one, answers(first, 1, true));
        }
        assert_eq!(health.against_others(0, one).0, of(20, 20));
    }
}
