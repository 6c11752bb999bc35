//! How many tasks travel in one packet when no number is given: as many as a few milliseconds of compute, by what
//! slaves reported, or more where slaves are many; and never so many that others would sit idle at the end.

use crate::config::{AUTO, packet_compute};
use crate::data::room::Room;
use crate::ids::{AlgorithmId, Nanos};
use crate::scheduler::Scheduler;
use crate::series::Series;

/// A packet takes one in so many of the tasks that each slave's share of the queue has left (guided self-scheduling:
/// Polychronopoulos and Kuck, IEEE Transactions on Computers C-36, 1987).
const SHARES: u64 = 2;
/// So many packets after it was filled up to its target number the queue counts as kept filled.
const FILLED_FOR: u64 = 2;

/// A source fills the queue again after this long.
const SOURCE_SLICE: Nanos = 1_000_000;

impl<P: Series> Scheduler<P> {
    /// How many tasks of this algorithm a packet holds while there are plenty.
    pub fn group_of_tasks(&self, algorithm: AlgorithmId) -> u32 {
        match self.config.task_group {
            AUTO => {
                // One of which nothing is known travels alone.
                let compute = self.times.known(algorithm);
                let tasks = compute.map_or(1, |compute| self.packet_compute() / compute.max(1));
                u32::try_from(tasks).unwrap_or(u32::MAX).max(1)
            }
            number => number,
        }
    }

    /// The compute of a packet whose size is not given.
    pub(crate) fn packet_compute(&self) -> Nanos {
        packet_compute(self.slaves.len(), self.packet_costs.each())
    }

    /// The master spent so long on packets, of which so many went out: what came in, to hand out and to send. Whatever it
    /// costs to have packets go back and forth is in it, so that on a slow or crowded machine they become fewer. To be told
    /// where packets have no fixed number of tasks and slaves are [many](crate::PACKETS_WEIGHED_FROM).
    pub fn learn_packet_costs(&mut self, packets: u64, spent: Nanos) {
        self.packet_costs.learn(packets, spent);
    }

    /// Whether more tasks are to come as these end: there is a source of them, or the queue is kept filled up to a
    /// target number.
    pub(crate) fn more_is_to_come(&self) -> bool {
        self.sources > 0 || self.is_kept_filled()
    }

    fn is_kept_filled(&self) -> bool {
        let filled_for = FILLED_FOR * self.packet_compute();
        self.filled
            .is_some_and(|filled| self.clock.saturating_sub(filled) <= filled_for)
    }

    /// Sees whether the queue is filled up to a target number.
    #[inline]
    pub(crate) fn see_target(&mut self) {
        if self.counts.has_target() {
            self.see_filled();
        }
    }

    fn see_filled(&mut self) {
        let Some(front) = self.front() else {
            return;
        };
        let of = [None, Some(self.tasks.get(front).algorithm)];
        let filled = |of| self.target(of) > 0 && self.upto_target(of) == 0;
        if of.into_iter().any(filled) {
            self.filled = Some(self.clock);
        }
    }

    pub(crate) fn room(&self) -> Room {
        match self.config.task_group {
            AUTO => {
                let takers = u64::from(self.slaves.takers().max(1));
                Room {
                    tasks: u32::MAX,
                    compute: Some(self.packet_compute()),
                    share: match (self.is_kept_filled(), self.sources > 0) {
                        (true, _) => u64::MAX,
                        // A source fills the queue in slices: what has come so far is for all who wait for it, and
                        // whom the master comes to before the next one.
                        (false, true) => {
                            let idle = u64::from(self.slaves.idle_takers());
                            let others = idle.min(SOURCE_SLICE / self.packet_costs.each());
                            self.owners.len_with_needy().div_ceil(1 + others)
                        }
                        (false, false) => self.owners.len_with_needy().div_ceil(SHARES * takers),
                    },
                }
            }
            number => Room {
                tasks: number,
                compute: None,
                share: u64::MAX,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FILLED_FOR;
    use crate::config::{PACKET_COMPUTE, PACKET_COMPUTE_MAX};
    use crate::{AUTO, AlgorithmId, Config, Owner, Policy, Scheduler, SlaveId, TaskSpec};

    const QUICK: AlgorithmId = AlgorithmId(0);
    const SLOW: AlgorithmId = AlgorithmId(1);

    fn sched() -> Scheduler<()> {
        let config = Config {
            task_group: AUTO,
            ..Config::for_test()
        };
        Scheduler::new(config, 2)
    }

    fn submit(sched: &mut Scheduler<()>, algorithm: AlgorithmId, tasks: u32) {
        for _ in 0..tasks {
            sched.submit(TaskSpec::new(algorithm, Owner::Queue, 10), (), 0);
        }
    }

    fn packet(sched: &mut Scheduler<()>) -> Option<(SlaveId, Vec<u64>)> {
        let mut tasks = Vec::new();
        let slave = sched.hand_out(0, &mut |id, _, _, _| tasks.push(id.seq()))?;
        Some((slave, tasks))
    }

    fn answer(sched: &mut Scheduler<()>, slave: SlaveId, tasks: &[u64], compute: u64) {
        for &task in tasks {
            let Ok(Some(accepted)) = sched.result(slave, task) else {
                panic!("it holds the task");
            };
            sched.learn_compute(accepted.algorithm, compute);
        }
        sched.sanity_check();
    }

    #[test]
    fn an_unknown_task_travels_alone_and_a_packet_grows_to_milliseconds() {
        let mut sched = sched();
        sched.connect();
        submit(&mut sched, QUICK, 10_000);
        let (slave, tasks) = packet(&mut sched).unwrap();
        assert_eq!(tasks.len(), 1);
        answer(&mut sched, slave, &tasks, 30_000);
        let (slave, tasks) = packet(&mut sched).unwrap();
        assert_eq!(tasks.len(), 100, "3 ms of 30 us each");
        answer(&mut sched, slave, &tasks, 30_000);
        assert_eq!(sched.group_of_tasks(QUICK), 100);
        assert_eq!(sched.group_of_tasks(SLOW), 1);
    }

    /// With so many slaves, each of which is given what keeps it busy for so long, packets of 4 us leave the master two
    /// thirds of its time.
    #[test]
    fn packets_grow_with_the_number_of_slaves() {
        for (slaves, packet_us) in [
            (1, 3_000),
            (224, 3_000),
            (750, 10_000),
            (1_000, 13_333),
            (10_000, 133_333),
            (100_000, 1_000_000),
        ] {
            let mut sched = sched();
            (0..slaves).for_each(|_| _ = sched.connect());
            sched.begin_source();
            sched.learn_compute(QUICK, 1_000);
            assert_eq!(sched.group_of_tasks(QUICK), packet_us, "{slaves} slaves");
            assert_eq!(sched.group_of_tasks(SLOW), 1, "of which nothing is known");
            sched.learn_compute(SLOW, PACKET_COMPUTE_MAX + 1);
            assert_eq!(sched.group_of_tasks(SLOW), 1);
        }
    }

    /// What a packet costs was taken to be 4 us. On a crowded machine it was 28, and a thousand slaves idled for most of the
    /// time behind a master that could not send so many small ones.
    #[test]
    fn packets_grow_with_what_one_costs_the_master() {
        for (cost_us, packet_us) in [
            (1, 13_333),
            (4, 13_333),
            (9, 30_000),
            (28, 93_333),
            (300, 1_000_000),
            (90_000, 1_000_000),
        ] {
            let mut sched = sched();
            (0..1_000).for_each(|_| _ = sched.connect());
            sched.learn_compute(QUICK, 1_000);
            sched.learn_packet_costs(10, 10 * cost_us * 1_000);
            assert_eq!(sched.group_of_tasks(QUICK), 13_333, "a few tell nothing");
            sched.learn_packet_costs(2_000, 2_000 * cost_us * 1_000);
            assert_eq!(sched.group_of_tasks(QUICK), packet_us, "{cost_us} us");
            // It has become quick again.
            (0..200).for_each(|_| sched.learn_packet_costs(100, 100 * 4_000));
            let after = sched.group_of_tasks(QUICK);
            assert!(after <= 13_333 * 21 / 20, "{cost_us} us: {after}");
        }
    }

    #[test]
    fn packets_of_few_slaves_are_as_large_whatever_one_costs() {
        let mut sched = sched();
        (0..8).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 1_000);
        sched.learn_packet_costs(100_000, 100_000 * 800_000);
        assert_eq!(sched.group_of_tasks(QUICK), 3_000);
    }

    /// No number of tasks bounds a packet, but its bytes do.
    #[test]
    fn a_packet_of_quick_tasks_is_bounded_by_its_bytes() {
        let config = Config {
            task_group: AUTO,
            task_packet_bytes_max: 20_000,
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 2);
        (0..3).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 1);
        sched.set_target(None, 100);
        submit(&mut sched, QUICK, 9_000);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .take(3)
            .collect();
        assert_eq!(sizes, [2_000, 2_000, 2_000]);
    }

    /// Packets were filled up to a buffer of many megabytes, and what was in hand of a few slaves left the caches.
    #[test]
    fn a_packet_ends_once_it_has_bytes_enough() {
        let config = Config {
            task_group: AUTO,
            task_packet_bytes_max: 64 << 20,
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 2);
        (0..4).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 1);
        sched.set_target(None, 20);
        let mut give = |bytes, tasks| {
            for _ in 0..tasks {
                sched.submit(TaskSpec::new(QUICK, Owner::Queue, bytes), (), 0);
            }
        };
        give(100_000, 30);
        give(40 << 20, 2);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .take(4)
            .collect();
        assert_eq!(sizes, [10, 10, 10, 1], "one that has more travels alone");
    }

    /// Many slaves wait for the first few results: nobody is given a thousand tasks of which nothing is known.
    #[test]
    fn an_unknown_task_travels_alone_to_each_of_many() {
        let mut sched = sched();
        (0..2_000).for_each(|_| _ = sched.connect());
        submit(&mut sched, QUICK, 4_000);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .collect();
        assert_eq!(sizes, vec![1; 2_000]);
    }

    #[test]
    fn a_slow_task_ends_a_packet() {
        let mut sched = sched();
        sched.connect();
        sched.learn_compute(QUICK, 1_000);
        sched.learn_compute(SLOW, 1_000_000_000);
        submit(&mut sched, QUICK, 5);
        submit(&mut sched, SLOW, 1);
        submit(&mut sched, QUICK, 500);
        let (slave, tasks) = packet(&mut sched).unwrap();
        assert_eq!(tasks, [0, 1, 2, 3, 4]);
        answer(&mut sched, slave, &tasks, 1_000);
        assert_eq!(packet(&mut sched).unwrap().1, [5]);
    }

    #[test]
    fn packets_shrink_towards_the_end_and_nobody_idles_beside_a_queue() {
        let mut sched = sched();
        for _ in 0..4 {
            sched.connect();
        }
        sched.learn_compute(QUICK, 1);
        submit(&mut sched, QUICK, 80);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .collect();
        assert_eq!(sizes, [10, 9, 8, 7]);
    }

    #[test]
    fn packets_are_full_while_the_queue_is_kept_filled() {
        let mut sched = sched();
        (0..4).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 30_000);
        sched.set_target(None, 200);
        submit(&mut sched, QUICK, 300);
        let first = packet(&mut sched).unwrap().1.len();
        assert_eq!(first, 100, "3 ms of 30 us each");
        assert_eq!(packet(&mut sched).unwrap().1.len(), 100);
        let mut later = |now| {
            let mut tasks = 0;
            let to = sched.hand_out(now, &mut |_, _, _, _| tasks += 1);
            to.map(|_| tasks)
        };
        assert_eq!(
            later(FILLED_FOR * PACKET_COMPUTE + 1),
            Some(13),
            "an eighth of what is left"
        );
        assert_eq!(later(FILLED_FOR * PACKET_COMPUTE + 1), Some(11));
    }

    /// A source had given its first slice, and of five thousand slaves a few dozen took all of it.
    #[test]
    fn what_a_source_has_given_is_for_all_who_idle() {
        let mut sched = sched();
        (0..4).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 1);
        sched.begin_source();
        submit(&mut sched, QUICK, 80);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .take(4)
            .collect();
        assert_eq!(sizes, [20, 20, 20, 20]);
    }

    /// Of ten thousand idle slaves each was given one or two tasks of every slice, and the master sent packets that cost it
    /// more than they were worth.
    #[test]
    fn what_a_source_has_given_is_not_cut_for_more_than_the_master_comes_to() {
        let mut sched = sched();
        (0..10_000).for_each(|_| _ = sched.connect());
        sched.learn_compute(QUICK, 1_000);
        sched.learn_packet_costs(10_000, 10_000 * 50_000);
        sched.begin_source();
        submit(&mut sched, QUICK, 21_000);
        let sizes: Vec<usize> = std::iter::from_fn(|| packet(&mut sched))
            .map(|(_, tasks)| tasks.len())
            .take(2)
            .collect();
        // The master sends twenty of 50 us before more has come.
        assert_eq!(sizes, [1_000, 953]);
    }

    #[test]
    fn ordered_tasks_are_nobody_elses_share() {
        let mut sched = sched();
        sched.allocate(crate::Group::Ordered, 1);
        let (slave, _) = sched.connect();
        sched.learn_compute(QUICK, 1);
        for _ in 0..50 {
            let spec = TaskSpec {
                policy: Policy {
                    to: Some(slave),
                    ..Policy::default()
                },
                ..TaskSpec::new(QUICK, Owner::Queue, 10)
            };
            sched.submit(spec, (), 0);
        }
        assert_eq!(packet(&mut sched).unwrap().1.len(), 50);
    }
}
