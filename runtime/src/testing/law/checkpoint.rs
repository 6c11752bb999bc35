//! Checkpoints: a task goes on from the last one that counts, and from no other.
//!
//! One counts if its slave runs the task, which has not ended. Where queue and checkpoints come near to their bound it may
//! be dropped, and the one before stays.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::running::{Checkpoint, CheckpointTaken};
use ringmw_sched::SlaveId;

use crate::io::engine::ConnId;
use crate::proto::checkpoint::Kept;
use crate::proto::master::MasterCore;
use crate::testing::law::Law;
use crate::testing::law::tables::{Hold, Phase};

#[derive(Default)]
pub(super) struct Checkpoints {
    /// What may be kept of each task that has not ended: the last one that counts, or one of those since the last turn.
    kept: BTreeMap<u64, Vec<Option<Kept>>>,
    /// What the next packet's task goes on from.
    resume: BTreeMap<SlaveId, (u64, Kept)>,
    /// Those that are not acknowledged, in order.
    open: BTreeMap<ConnId, VecDeque<u64>>,
    /// Tasks that went on from one, for the reports.
    pub(super) resumed: u64,
}

impl Checkpoints {
    /// A task has ended.
    pub(super) fn forget(&mut self, seq: u64) {
        self.kept.remove(&seq);
    }
}

impl Law {
    pub(super) fn on_checkpoint(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(checkpoint) = Checkpoint::decode(payload) else {
            return false;
        };
        let task = checkpoint.task;
        let Some(&(first, hold)) = self.slaves[&id].hands.front() else {
            return false;
        };
        if first != task {
            return false;
        }
        self.checkpoints
            .open
            .entry(conn)
            .or_default()
            .push_back(task);
        if hold != Hold::Live {
            return true;
        }
        let ample = self.config.rules.sched.queued_bytes_max >= 1 << 28;
        let kept = self
            .checkpoints
            .kept
            .entry(task)
            .or_insert_with(|| vec![None]);
        if ample {
            kept.clear();
        }
        kept.push(Some(Kept::of(&checkpoint)));
        true
    }

    pub(super) fn on_checkpoint_taken(&mut self, conn: ConnId, payload: &[u8]) {
        let taken = CheckpointTaken::decode(payload).expect("the master's own");
        let open = self.checkpoints.open.get_mut(&conn);
        let open = open.and_then(VecDeque::pop_front);
        assert_eq!(
            open,
            Some(taken.task),
            "a checkpoint is acknowledged that nobody made"
        );
    }

    pub(super) fn on_resume(&mut self, id: SlaveId, payload: &[u8]) {
        let resume = Checkpoint::decode(payload).expect("the master's own");
        let kept = Kept::of(&resume);
        let before = self.checkpoints.resume.insert(id, (resume.task, kept));
        assert!(before.is_none(), "{id} is told twice where a task goes on");
    }

    /// A task goes to a slave, to be a second one's or not.
    pub(super) fn check_resume(&mut self, id: SlaveId, seq: u64, second: bool) {
        let none = vec![None];
        let kept = self.checkpoints.kept.get(&seq).unwrap_or(&none);
        assert!(
            !second || *kept == none,
            "TASK-{seq} has a checkpoint, and goes to a second slave"
        );
        let resume = self
            .checkpoints
            .resume
            .get(&id)
            .filter(|resume| resume.0 == seq);
        let resume = resume.map(|resume| resume.1.clone());
        assert!(
            kept.contains(&resume),
            "TASK-{seq} goes on from another checkpoint than its last one"
        );
        if resume.is_some() {
            self.checkpoints.resumed += 1;
            self.checkpoints.resume.remove(&id);
        }
    }

    /// All tasks of a packet have gone.
    pub(super) fn check_resumed(&self, id: SlaveId) {
        let resume = self.checkpoints.resume.get(&id);
        assert!(
            resume.is_none(),
            "{id} is told where a task goes on that it does not get"
        );
    }

    pub(super) fn check_checkpoints(&mut self, core: &MasterCore) {
        let conns = &self.conns;
        self.checkpoints.open.retain(|conn, tasks| {
            let is_open = conns
                .get(conn)
                .is_some_and(|conn| !conn.closed && matches!(conn.phase, Phase::Slave(_)));
            assert!(
                !is_open || tasks.is_empty(),
                "checkpoints of {tasks:?} are not acknowledged"
            );
            false
        });
        let mut bytes = 0;
        self.checkpoints.kept.retain(|&task, kept| {
            let now = core.checkpoint(task).cloned();
            assert!(
                kept.contains(&now),
                "another checkpoint of TASK-{task} is kept than its last one"
            );
            bytes += now.as_ref().map_or(0, Kept::bytes);
            *kept = vec![now];
            kept[0].is_some()
        });
        assert_eq!(
            core.checkpoint_bytes(),
            bytes,
            "what is kept of checkpoints"
        );
        let bytes_max = self.config.rules.sched.queued_bytes_max;
        assert!(
            bytes <= bytes_max,
            "{bytes} bytes of checkpoints are kept, at most {bytes_max}"
        );
    }
}
