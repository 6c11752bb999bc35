//! When a simulated slave writes what its core has to say: as the two threads of a real one do.

use ringmw_codec::frame::Kind;
use ringmw_sched::Nanos;

use super::SimSlave;
use crate::testing::law::Unwritten;

/// The thread beside the one that computes looks so often whether something is to be written.
const LOOK: Nanos = 10_000_000;

/// A task that took longer is not brief: what it gave is written before the next one begins.
const BRIEF_MAX: Nanos = 5_000;

/// Brief tasks' results are written so often.
const WRITTEN_WITHIN: Nanos = 50_000;

impl SimSlave {
    /// What there is to say is written at this time, or sooner.
    pub(super) fn nudge(&mut self, at: Nanos) {
        if self.out.is_empty() && self.core.has_output() {
            self.io_at = self.io_at.min(at);
        }
    }

    /// It is written at the next look, while a task is computed.
    pub(super) fn nudge_beside_task(&mut self, now: Nanos) {
        self.nudge(now.saturating_add(LOOK));
    }

    /// A task has ended that took so long: what it gave is written now, or with what the next one gives.
    pub(super) fn nudge_after(&mut self, task: u64, compute: Nanos, now: Nanos) {
        if !self.core.output_may_wait(now) {
            return self.nudge(now);
        }
        assert!(
            compute <= BRIEF_MAX,
            "what TASK-{task} gave waits for the next task, and it took {compute} ns"
        );
        assert!(
            now <= self.given_at + WRITTEN_WITHIN,
            "results of brief tasks wait {} ns after the last write",
            now - self.given_at
        );
        assert!(
            !self.announced.contains(&task),
            "what TASK-{task} gave waits for the next task, and it was announced"
        );
        assert!(
            !self.out.is_empty() || self.unsaid(Kind::Offer).is_empty(),
            "an offer waits for the next task"
        );
        self.nudge_beside_task(now);
    }

    /// What it has of results that are not written.
    pub(in crate::testing) fn unsent(&self) -> Unwritten {
        if self.lied {
            return Unwritten::default();
        }
        let unsaid = self.unsaid(Kind::Results);
        let unsaid = unsaid.iter().map(Vec::len);
        let packets = self.unsent.iter().copied().chain(unsaid);
        Unwritten {
            packets: packets.clone().count(),
            bytes_behind: packets.skip(1).sum(),
        }
    }
}
