//! What is told of a run is what is so, and a question about any task or slave has an answer.

use crate::proto::master::MasterCore;
use crate::testing::law::Law;
use crate::testing::law::tables::Place;

/// One turn in so many is looked at: the answers cost all tasks and slaves.
const EVERY: u64 = 8;

impl Law {
    pub(super) fn check_status(&mut self, core: &MasterCore) {
        if !(self.now / 1_000).is_multiple_of(EVERY) {
            return;
        }
        let (status, sched) = (core.snapshot(), core.sched());
        let tasks = &status.tasks;
        assert_eq!(
            (tasks.queued, tasks.queued + tasks.running),
            (sched.queued(), sched.runnable())
        );
        let ended = tasks.done + tasks.failed + tasks.unrunnable + tasks.cancelled;
        assert_eq!(
            tasks.submitted,
            ended + tasks.queued + tasks.running,
            "{tasks:?}"
        );
        let running: u64 = status
            .algorithms
            .iter()
            .map(|algorithm| algorithm.running)
            .sum();
        assert_eq!(running, tasks.running, "{:?}", status.algorithms);
        let each: Vec<u32> = status.each.iter().map(|slave| slave.slave).collect();
        let here: Vec<u32> = self.slaves.keys().map(|id| id.0).collect();
        assert_eq!(each, here, "slaves that are listed");
        for (slave, (id, known)) in status.each.iter().zip(&self.slaves) {
            assert_eq!(
                slave.held as usize,
                known.hands.len(),
                "in the hands of {id}"
            );
        }
        let of_hosts: u32 = status.hosts.iter().map(|host| host.slaves).sum();
        assert_eq!(of_hosts as usize, self.slaves.len(), "slaves by host");
        let went = status.slaves.lost + status.slaves.left;
        assert_eq!(
            status.slaves.came,
            went + self.slaves.len() as u64,
            "{:?}",
            status.slaves
        );
        let since = status.slaves.needed_since_us;
        assert_eq!(
            since.is_some(),
            status.slaves.needed > 0,
            "since when slaves are missing: {:?}",
            status.slaves
        );
        let live = self
            .tasks
            .iter()
            .find(|(_, task)| task.place != Place::Ended);
        if let Some((task, _)) = live.filter(|_| !self.lenient) {
            let told = core.why(&format!("TASK-{task}"));
            assert!(
                told.error.is_none() && !told.lines.is_empty(),
                "TASK-{task}: {told:?}"
            );
        }
        if let Some(id) = self.slaves.keys().next() {
            let told = core.why(&id.to_string());
            assert!(
                told.error.is_none() && told.lines.len() > 1,
                "{id}: {told:?}"
            );
        }
    }
}
