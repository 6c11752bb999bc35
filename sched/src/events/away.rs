//! A task that is begun at most once was begun by an earlier life of the run, and its slave may still bring its result: it
//! waits for that, and nobody is handed it.
//!
//! What comes to the queue again with a slave's word that it was not begun is told to whoever records what was begun.

use crate::data::record::{Record, State};
use crate::end::Reason;
use crate::ids::{AlgorithmId, Nanos, TaskId};
use crate::scheduler::{Scheduler, shrink};
use crate::series::Series;
use crate::task::{Policy, TaskSpec};

impl<P: Series> Scheduler<P> {
    /// Takes a task that a slave of an earlier life may have: it is [cancelled](Self::cancel) when its result is known, or
    /// [given up](Self::give_up_away). One that can not be run, whoever has it, ends at once, as with
    /// [`submit`](Self::submit); to whom it is addressed counts no more.
    pub fn submit_away(&mut self, spec: TaskSpec, payload: P, now: Nanos) -> TaskId {
        debug_assert_eq!(payload.tasks(), 1, "each has a slave of its own");
        let anybodys = TaskSpec {
            policy: Policy {
                to: None,
                ..spec.policy
            },
            ..spec
        };
        if let Err(reason) = self.admit(&anybodys) {
            return self.refuse(spec, payload, reason);
        }
        let id = self.pass_over();
        let flow = self.owners.flow(&spec, id.seq, Vec::new());
        let mut record = Record::new(id.seq, &spec, flow, false, payload, now);
        record.state = State::Away;
        self.counts.away += 1;
        self.counts.away_bytes += record.queued_bytes();
        let slot = self.begin(record);
        TaskId { slot, ..id }
    }

    /// Nobody brings its result any more: it ends as unrunnable for this reason, if it waits yet.
    /// [`poll_unrunnable`](Self::poll_unrunnable) tells.
    pub fn give_up_away(&mut self, id: TaskId, reason: Reason) {
        let Some(slot) = self.tasks.find(id) else {
            return;
        };
        if !matches!(self.tasks.get(slot).state, State::Away) {
            return;
        }
        self.on_not_away(slot);
        self.end(slot, reason);
    }

    /// Tasks that wait for a slave of an earlier life.
    pub fn away(&self) -> u64 {
        self.counts.away
    }

    /// It waits no more.
    pub(crate) fn on_not_away(&mut self, slot: u32) {
        self.counts.away -= 1;
        self.counts.away_bytes -= self.tasks.get(slot).queued_bytes();
    }

    /// Tasks of this record are queued again, and their slave's word is that they were not begun.
    pub(crate) fn on_not_begun(&mut self, slot: u32) {
        let record = self.tasks.get(slot);
        if !record.policy().retry {
            let seq = record.seq;
            self.not_begun.push_back(TaskId { seq, slot });
        }
    }

    /// The next task, or tasks of one series, that are begun at most once, were handed out, and are queued again since they
    /// were not begun. To be asked before anything else happens.
    pub fn poll_not_begun(&mut self) -> Option<(AlgorithmId, &P)> {
        loop {
            let Some(id) = self.not_begun.pop_front() else {
                shrink(&mut self.not_begun);
                return None;
            };
            let Some(slot) = self.tasks.find(id) else {
                continue;
            };
            let record = self.tasks.get(slot);
            return Some((record.algorithm, record.payload.as_ref()?));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{AlgorithmId, Config, Departure, Owner, Policy, Reason, Scheduler, TaskSpec};

    fn once() -> TaskSpec {
        let mut spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, 10);
        spec.policy = Policy {
            retry: false,
            ..Policy::default()
        };
        spec
    }

    #[test]
    fn what_is_away_is_handed_to_nobody_and_ends_once() {
        let mut sched = Scheduler::<u64>::new(Config::for_test(), 1);
        sched.connect();
        let ids: Vec<_> = (0..3).map(|n| sched.submit_away(once(), n, 5)).collect();
        sched.sanity_check();
        assert_eq!((sched.away(), sched.runnable(), sched.queued()), (3, 3, 0));
        assert_eq!(sched.hand_out(6, &mut |_, _, _, _: &u64| ()), None);
        assert!(sched.is_live(ids[0]) && !sched.idle());
        assert_eq!(sched.cancel(ids[0]).map(|task| task.payload), Some(0));
        sched.give_up_away(ids[1], Reason::BegunBefore);
        sched.give_up_away(ids[1], Reason::BegunBefore);
        sched.give_up_away(ids[0], Reason::BegunBefore);
        let told = sched.poll_unrunnable().expect("given up");
        assert_eq!(
            (told.id, told.payload, told.reason),
            (ids[1], 1, Reason::BegunBefore)
        );
        assert!(sched.poll_unrunnable().is_none());
        sched.sanity_check();
        assert_eq!(sched.away(), 1);
        sched.cancel(ids[2]);
        sched.sanity_check();
        assert!(sched.idle());
    }

    #[test]
    fn what_is_away_counts_against_the_queue() {
        let queued_bytes_max = 3 * (Scheduler::<u64>::RECORD_BYTES + 10);
        let config = Config {
            queued_bytes_max,
            ..Config::for_test()
        };
        let mut sched = Scheduler::<u64>::new(config, 1);
        (0..3).for_each(|n| _ = sched.submit_away(once(), n, 0));
        sched.submit_away(once(), 3, 0);
        let told = sched.poll_unrunnable().expect("there is no room");
        assert!(matches!(told.reason, Reason::QueueFull { .. }));
    }

    /// Given back, or named at the goodbye: what is begun at most once is told as not begun, and nothing else is.
    #[test]
    fn what_was_not_begun_is_told() {
        let config = Config {
            task_group: 3,
            ..Config::for_test()
        };
        let mut sched = Scheduler::<u64>::new(config, 1);
        let (slave, _) = sched.connect();
        for n in 0..3 {
            let mut spec = once();
            spec.policy.retry = n == 2;
            sched.submit(spec, n, 0);
        }
        while sched.hand_out(1, &mut |_, _, _, _: &u64| ()).is_some() {}
        assert_eq!(sched.poll_not_begun(), None);
        let begun = true;
        sched.lose(slave, Departure::Goodbye { begun });
        assert_eq!(sched.poll_not_begun(), Some((AlgorithmId(0), &1)));
        assert_eq!(sched.poll_not_begun(), None);
    }
}
