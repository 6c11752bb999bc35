//! What the observer remembers of tasks, slaves and connections: plain tables, which share nothing with the cores.

use std::collections::VecDeque;

use ringmw_codec::frame::FrameReader;
use ringmw_sched::{Group, Nanos, Owner, Scheduler, SlaveId, TaskId, TaskSpec};

use crate::io::engine::ConnId;
use crate::proto::bytes::SmallBytes;
use crate::proto::series::Body;
use crate::testing::coverage::Must;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Queued,
    Held(SlaveId),
    Ended,
}

#[derive(Debug)]
pub(super) struct Task {
    /// `None` if it came through the typed handle.
    pub(super) id: Option<TaskId>,
    pub(super) spec: TaskSpec,
    pub(super) body: SmallBytes,
    pub(super) place: Place,
    /// A second slave that has it too.
    pub(super) twin: Option<SlaveId>,
    /// A slave gave it back: it is queued before all others.
    pub(super) returned: bool,
    /// Only the slave it is addressed to may run it.
    pub(super) bound: bool,
    /// It has been handed out before.
    pub(super) marked: bool,
    /// It was bound and is for any slave now.
    pub(super) rerouted: bool,
    /// The slave it is addressed to was in this stint of its group when the task came.
    pub(super) stint: u32,
    pub(super) crashes: u32,
    pub(super) must: Option<Must>,
    pub(super) told: bool,
}

impl Task {
    pub(super) fn line(&self) -> Line {
        (
            self.spec.policy.to.map(|to| (to, self.stint)),
            self.spec.owner == Owner::Queue,
        )
    }
}

/// Hand-outs that keep their order: of one address and stint, of the queue or not.
pub(super) type Line = (Option<(SlaveId, u32)>, bool);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    Live,
    Withdrawn,
    Begun,
}

#[derive(Debug)]
pub(super) struct Slave {
    pub(super) conn: ConnId,
    pub(super) hands: VecDeque<(u64, Hold)>,
    /// The tasks of the packet that went to it last.
    pub(super) packet: Vec<u64>,
    pub(super) announced: Option<u64>,
    /// Withdrawals that must be sent before the turn ends.
    pub(super) withdraw: Vec<u64>,
    /// It was asked for tasks that it has not begun.
    pub(super) asked: bool,
    pub(super) leaving: bool,
    /// It moves to unordered when its hands are empty.
    pub(super) freed: bool,
    pub(super) group: Group,
    pub(super) stint: u32,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Phase {
    Handshake,
    Slave(SlaveId),
    Dropped,
}

pub(super) struct Conn {
    pub(super) peer: String,
    pub(super) phase: Phase,
    pub(super) reader: FrameReader,
    pub(super) heard: Nanos,
    pub(super) frame_since: Option<Nanos>,
    /// The master has closed it and is told nothing more.
    pub(super) closed: bool,
    pub(super) since: Nanos,
    pub(super) down: FrameReader,
}

/// What is remembered of a slave that went, until its line in the trail has been read.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) charged: Option<u64>,
    pub(super) excused: bool,
    pub(super) recycled: u64,
    pub(super) conn: ConnId,
    pub(super) said: bool,
}

pub(super) fn record_bytes(spec: &TaskSpec) -> u64 {
    u64::from(spec.bytes) + Scheduler::<Body>::RECORD_BYTES
}
