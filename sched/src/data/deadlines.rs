//! When tasks must have been handed out: the next such time first. Tasks that end before, or are handed out, leave their
//! entry behind; when most are such, those are dropped.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::data::tasks::Tasks;
use crate::ids::{Nanos, TaskId};
use crate::series::Series;

/// Entries that are not looked through for stale ones.
const KEPT: usize = 64;

/// So many tasks, from this one on, must have been handed out by then.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Due {
    pub(crate) at: Nanos,
    pub(crate) first: TaskId,
    pub(crate) tasks: u32,
}

impl Due {
    fn key(&self) -> (Nanos, u64) {
        (self.at, self.first.seq())
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<Due>>);

impl Deadlines {
    /// `live` is how many records have a deadline.
    pub(crate) fn push<P: Series>(&mut self, due: Due, live: u64, tasks: &Tasks<P>) {
        if self.0.len() > KEPT && self.0.len() as u64 / 4 > live {
            self.0.retain(|Reverse(due)| {
                let ids = (0..due.tasks).map(|nth| due.first.after(nth));
                ids.into_iter().any(|id| tasks.find(id).is_some())
            });
        }
        self.0.push(Reverse(due));
    }

    /// The next time, of tasks that may have ended.
    #[inline]
    pub(crate) fn next(&self) -> Option<Nanos> {
        Some(self.0.peek()?.0.at)
    }

    /// Takes the next entry if it is due.
    #[inline]
    pub(crate) fn pop(&mut self, now: Nanos) -> Option<Due> {
        self.next().filter(|&at| at <= now)?;
        self.0.pop().map(|Reverse(due)| due)
    }
}

#[cfg(test)]
mod tests {
    use crate::{AlgorithmId, Config, Owner, Policy, Scheduler, TaskSpec};

    /// Tasks that are taken back long before they are due leave no more behind than a few times what there is.
    #[test]
    fn stale_entries_are_dropped() {
        let mut sched: Scheduler<()> = Scheduler::new(Config::for_test(), 1);
        let mut spec = TaskSpec::new(AlgorithmId(0), Owner::Call(0), 10);
        for n in 0..10_000u64 {
            spec.policy = Policy {
                start_within: 1_000_000 + n * 7_919 % 1_000,
                ..Policy::default()
            };
            let id = sched.submit(spec, (), n);
            if n >= 10 {
                assert!(sched.cancel(id).is_some());
            }
        }
        assert!(
            sched.deadlines.0.len() <= 130,
            "{}",
            sched.deadlines.0.len()
        );
        assert_eq!(sched.queued(), 10);
        assert_eq!(sched.hand_out(3_000_000, &mut |_, _, _, _| ()), None);
        assert_eq!((sched.queued(), sched.unrunnable()), (0, 10));
        sched.sanity_check();
    }
}
