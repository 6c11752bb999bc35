//! Something is kept for a task that runs: whoever runs it next goes on with that.

use crate::data::hands::Hold;
use crate::ids::{SlaveId, TaskId};
use crate::offence::Offence;
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// The task that this slave runs, for which it has sent something to keep: from now on it is alone in its packet, and
    /// gets no twin. `None`: it has ended meanwhile, and nothing is to be kept.
    ///
    /// # Errors
    /// The slave does not hold that task, or another one comes first.
    pub fn keep_for(&mut self, slave: SlaveId, task: u64) -> Result<Option<TaskId>, Offence> {
        if !self.is_wanted_of(slave, task)? {
            return Ok(None);
        }
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        let entry = self.slaves.hands(at).running(task)?;
        let slot = self.cut(entry.slot, task, 1);
        self.tasks.get_mut(slot).keep();
        Ok(Some(TaskId { seq: task, slot }))
    }

    /// Whether the task that this slave runs, as it says, has not ended meanwhile.
    ///
    /// # Errors
    /// The slave does not hold that task, or another one comes first.
    pub fn is_wanted_of(&self, slave: SlaveId, task: u64) -> Result<bool, Offence> {
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        Ok(self.slaves.hands(at).running(task)?.hold == Hold::Live)
    }

    /// How many bytes are kept for all of them: they count against the bound of the queue.
    pub fn set_kept_bytes(&mut self, bytes: u64) {
        self.kept_bytes = bytes;
    }

    /// How many bytes unrunnable ends take that were told and that nobody has taken: they count against the bound of the
    /// queue.
    #[inline]
    pub fn set_untaken_bytes(&mut self, bytes: u64) {
        self.untaken_bytes = bytes;
    }

    /// Whether so many bytes more may be kept beside what is queued, and what else counts with it.
    pub fn may_keep(&self, more: u64) -> bool {
        self.bounded_bytes() + more <= self.config.queued_bytes_max
    }

    /// All that the bound of the queue bounds.
    #[inline]
    pub(crate) fn bounded_bytes(&self) -> u64 {
        self.counts.queued_bytes + self.counts.away_bytes + self.kept_bytes + self.untaken_bytes
    }
}

#[cfg(test)]
mod tests {
    use crate::{AlgorithmId, Config, Departure, Offence, Owner, Scheduler, SlaveId, TaskSpec};

    fn submit(sched: &mut Scheduler<()>, tasks: u64, alone: bool) {
        for _ in 0..tasks {
            let spec = TaskSpec {
                alone,
                ..TaskSpec::new(AlgorithmId(0), Owner::Queue, 10)
            };
            sched.submit(spec, (), 0);
        }
    }

    fn packet(sched: &mut Scheduler<()>, now: u64) -> Option<(SlaveId, Vec<u64>)> {
        let mut tasks = Vec::new();
        let slave = sched.hand_out(now, &mut |id, _, _, _| tasks.push(id.seq()))?;
        sched.sanity_check();
        Some((slave, tasks))
    }

    fn sched(slaves: u32) -> Scheduler<()> {
        let config = Config {
            task_group: 3,
            duplicate_stragglers: true,
            prefetch: true,
            take_back: true,
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 1);
        (0..slaves).for_each(|_| _ = sched.connect());
        // Known to be short: packets may go ahead of time.
        sched.learn_computes(AlgorithmId(0), 100, 100_000, [1_000; 100]);
        sched
    }

    #[test]
    fn a_task_with_something_kept_goes_out_alone_and_gets_no_twin() {
        let mut sched = sched(1);
        submit(&mut sched, 3, false);
        let (slave, tasks) = packet(&mut sched, 0).unwrap();
        assert_eq!(tasks, [0, 1, 2]);
        let out_of_order = Offence::OutOfOrder {
            task: 1,
            expected: 0,
        };
        assert_eq!(sched.keep_for(slave, 1), Err(out_of_order));
        assert_eq!(
            sched.keep_for(slave, 0).unwrap().map(|id| id.seq()),
            Some(0)
        );
        assert_eq!(sched.keep_for(slave, 7), Err(Offence::NotHeld { task: 7 }));
        sched.sanity_check();
        // Another one idles, and it runs for long.
        let (other, _) = sched.connect();
        assert_eq!(packet(&mut sched, 10_000_000_000), None);
        sched.lose(slave, Departure::Excused);
        assert_eq!(packet(&mut sched, 10_000_000_000), Some((other, vec![0])));
        // What is behind it is not kept from going ahead of time.
        assert_eq!(packet(&mut sched, 10_000_000_000), None);
        assert!(sched.result(other, 0).unwrap().is_some());
        assert_eq!(
            packet(&mut sched, 10_000_000_000),
            Some((other, vec![1, 2]))
        );
    }

    #[test]
    fn nothing_is_put_behind_a_task_that_waits_for_others() {
        let mut sched = sched(1);
        submit(&mut sched, 1, true);
        submit(&mut sched, 13, false);
        submit(&mut sched, 1, true);
        let (slave, tasks) = packet(&mut sched, 0).unwrap();
        assert_eq!(tasks, [0]);
        assert_eq!(packet(&mut sched, 0), None, "it may run for ever");
        assert_eq!(sched.recall(10_000_000_000), None);
        sched.connect();
        assert_eq!(packet(&mut sched, 0).unwrap().1, [1, 2, 3]);
        assert_eq!(packet(&mut sched, 0).unwrap().1, [4, 5, 6]);
        assert!(sched.result(slave, 0).unwrap().is_some());
        for tasks in [vec![7, 8, 9], vec![10, 11, 12], vec![13]] {
            assert_eq!(packet(&mut sched, 0), Some((slave, tasks.clone())));
            assert_eq!(packet(&mut sched, 0), None, "it goes to who idles alone");
            for task in tasks {
                assert!(sched.result(slave, task).unwrap().is_some());
            }
        }
        assert_eq!(packet(&mut sched, 0), Some((slave, vec![14])));
    }

    #[test]
    fn what_is_kept_counts_against_the_bound_of_the_queue() {
        let config = Config {
            queued_bytes_max: 10 * (Scheduler::<()>::RECORD_BYTES + 10),
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 1);
        submit(&mut sched, 5, false);
        assert!(sched.may_keep(4 * (Scheduler::<()>::RECORD_BYTES + 10)));
        assert!(!sched.may_keep(6 * (Scheduler::<()>::RECORD_BYTES + 10)));
        sched.set_kept_bytes(4 * (Scheduler::<()>::RECORD_BYTES + 10));
        submit(&mut sched, 2, false);
        assert_eq!((sched.queued(), sched.unrunnable()), (6, 1));
    }
}
