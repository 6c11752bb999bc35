//! Checkpoints of running tasks: the last one of each is kept until the task ends, and goes with it to the next slave.
//!
//! They count against the bound of the queue; past it the task keeps the one that it has.

use std::collections::BTreeMap;

use ringmw_codec::audit::Event;
use ringmw_codec::frame::Kind;
use ringmw_codec::running::{Checkpoint, CheckpointTaken};
use ringmw_sched::SlaveId;

use super::MasterCore;
use super::conn::{Stop, offence};
use crate::proto::checkpoint::Kept;
use crate::proto::conn::ConnId;
use crate::proto::put;

#[derive(Default)]
pub(super) struct Checkpoints {
    /// By the number of the task, which is live.
    of: BTreeMap<u64, Kept>,
    bytes: u64,
    said_full: bool,
}

impl Checkpoints {
    /// That of a task, if it has one. Most masters keep none.
    #[inline]
    pub(super) fn of(&self, task: u64) -> Option<&Kept> {
        match self.of.is_empty() {
            true => None,
            false => self.of.get(&task),
        }
    }

    fn forget(&mut self, task: u64) {
        if let Some(kept) = self.of.remove(&task) {
            self.bytes -= kept.bytes();
        }
    }
}

impl MasterCore {
    /// A slave says how far its task has come. What it said before has been read.
    pub(super) fn on_checkpoint(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        checkpoint: &Checkpoint<'_>,
    ) -> Result<(), Stop> {
        let task = checkpoint.task;
        let is_live = self.sched.keep_for(slave, task).map_err(offence)?.is_some();
        if is_live {
            self.keep(task, Kept::of(checkpoint));
        }
        if let Some(state) = self.conn_mut(conn) {
            put(&mut state.out, Kind::CheckpointTaken, |out| {
                CheckpointTaken { task }.encode(out);
            });
            self.mark_dirty(conn);
        }
        Ok(())
    }

    fn keep(&mut self, task: u64, kept: Kept) {
        let before = self.checkpoints.of(task).map_or(0, Kept::bytes);
        let more = kept.bytes().saturating_sub(before);
        if more > 0 && !self.sched.may_keep(more) {
            if !std::mem::replace(&mut self.checkpoints.said_full, true) {
                self.trail.push(Event::CheckpointsFull {
                    bytes: self.checkpoints.bytes,
                    bytes_max: self.config.rules.sched.queued_bytes_max,
                });
            }
            return;
        }
        self.checkpoints.bytes = self.checkpoints.bytes - before + kept.bytes();
        self.checkpoints.of.insert(task, kept);
        self.sched.set_kept_bytes(self.checkpoints.bytes);
    }

    /// Tasks have ended, from this number on: nobody goes on with them.
    #[inline]
    pub(super) fn forget_checkpoints(&mut self, first: u64, tasks: u32) {
        if !self.checkpoints.of.is_empty() {
            (first..)
                .take(tasks as usize)
                .for_each(|task| self.checkpoints.forget(task));
            self.sched.set_kept_bytes(self.checkpoints.bytes);
        }
    }

    /// What is kept of a task.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn checkpoint(&self, task: u64) -> Option<&Kept> {
        self.checkpoints.of(task)
    }

    /// What is kept of all tasks, in bytes.
    pub(crate) fn checkpoint_bytes(&self) -> u64 {
        self.checkpoints.bytes
    }
}
