//! What is in a slave's hand: tasks that have not begun, as the packets brought them, and the one that is computed.

use std::ops::Range;

use bytes::Bytes;
use ringmw_codec::batch::{TaskBody, TaskSeries};
use ringmw_codec::shared::BlobRef;
use ringmw_codec::wire::DecodeError;
use ringmw_sched::Nanos;

use super::kept::TaskKey;
use super::shared::Here;
use crate::proto::checkpoint::Kept;

/// One task to compute.
#[derive(Debug)]
pub struct Assignment {
    /// The task's number.
    pub task: u64,
    /// The algorithm's index.
    pub algorithm: u16,
    /// The packet that it came in, counted from the slave's start.
    pub packet: u64,
    /// Which life of the run has handed it out.
    pub(crate) life: u32,
    /// The master converses with it.
    pub(crate) converses: bool,
    /// Its start was announced: should its slave be lost, it is charged.
    pub was_announced: bool,
    /// The body of the series that it belongs to, a share of the packet.
    pub(super) series: Bytes,
    /// Tasks of that series.
    pub(super) count: u32,
    /// Its own place in it.
    pub(super) index: u32,
    /// The shared data that it names.
    pub(crate) shared: Vec<Here>,
    /// Where it goes on, if another slave had come that far; boxed, as it is rare, and each task moves.
    pub(crate) resume: Option<Box<Kept>>,
}

impl Assignment {
    /// Its stream, tag and arguments.
    ///
    /// # Errors
    /// When the body that came is none: the task has failed.
    pub fn body(&self) -> Result<TaskBody<'_>, DecodeError> {
        TaskSeries::parse(&self.series, self.count)?.nth(self.index)
    }
}

/// The task that is computed.
pub(super) struct Running {
    pub(super) task: u64,
    pub(super) algorithm: u16,
    pub(super) since: Nanos,
    /// How long it may run.
    pub(super) timeout: Option<Nanos>,
    /// Since when it has been told that its time is over.
    pub(super) told_at: Option<Nanos>,
    /// By what the run's next life knows it, where there may be one.
    pub(super) key: Option<TaskKey>,
    /// A former life of the master handed it out: its number is none of this one's.
    pub(super) former: bool,
    /// Its start was announced, or it has offered something: nothing that it gives waits.
    pub(super) urgent: bool,
}

/// An entry of a packet, or what is left of it: the tasks of a series that are in hand and have not begun, at least one.
pub(super) struct Queued {
    /// The number of the series' first task, be it in hand or not.
    pub(super) first: u64,
    /// Tasks of the series as it came.
    pub(super) count: u32,
    /// The places in the series of those in hand.
    pub(super) left: Range<u32>,
    /// The packet that it came in.
    pub(super) packet: u64,
    /// Which life of the run has handed it out.
    pub(super) life: u32,
    pub(super) algorithm: u16,
    pub(super) marked: bool,
    pub(super) bound: bool,
    /// A former life of the master handed it out: its numbers are none of this one's.
    pub(super) former: bool,
    pub(super) converses: bool,
    pub(super) body: Bytes,
    /// How long each of them may run, where they have a time-out of their own.
    pub(super) timeout: Option<Nanos>,
    /// The shared data that its tasks name, each once.
    pub(super) mentions: Vec<BlobRef>,
}

impl Queued {
    /// The number of the task at a place in the series.
    fn number(&self, index: u32) -> u64 {
        self.first + u64::from(index)
    }

    /// The number of the next task.
    pub(super) fn next(&self) -> u64 {
        self.number(self.left.start)
    }

    /// The place of a task, if it is in hand.
    pub(super) fn place(&self, task: u64) -> Option<u32> {
        if self.former {
            return None;
        }
        let index = u32::try_from(task.checked_sub(self.first)?).ok()?;
        self.left.contains(&index).then_some(index)
    }

    /// So many of the last tasks, the very last one first; they are in hand no more.
    pub(super) fn give_back(&mut self, tasks: u32, into: &mut Vec<u64>) {
        let kept = self.left.end - tasks;
        into.extend((kept..self.left.end).rev().map(|index| self.number(index)));
        self.left.end = kept;
    }

    /// Those before a place, and those behind it.
    pub(super) fn split(self, index: u32) -> [Queued; 2] {
        let before = Queued {
            left: self.left.start..index,
            body: self.body.clone(),
            mentions: self.mentions.clone(),
            ..self
        };
        let behind = Queued {
            left: index + 1..self.left.end,
            ..self
        };
        [before, behind]
    }
}

/// A marked task is announced, and begins once the announcement has left this process.
#[derive(PartialEq, Eq)]
pub(super) enum Announcement {
    None,
    Leaving(u64),
    Left(u64),
}
