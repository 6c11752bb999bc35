//! What the observer remembers of tasks, slaves and connections: plain tables, which share nothing with the cores.

use std::collections::VecDeque;

use ringmw_codec::frame::FrameReader;
use ringmw_sched::{Group, Nanos, Owner, Scheduler, SlaveId, TaskId, TaskSpec};

use crate::io::engine::ConnId;
use crate::proto::bytes::SmallBytes;
use crate::proto::series::Body;
use crate::testing::coverage::Must;
use crate::testing::law::needs::Set;

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
    /// The labels that it needs.
    pub(super) needs: Set,
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
    pub(super) submitted: Nanos,
    /// It had to be handed out by now at the latest.
    pub(super) is_late: bool,
    /// In force from its first crash on.
    pub(super) crash_limit: u32,
    pub(super) must: Option<Must>,
    pub(super) told: bool,
}

impl Task {
    pub(super) fn line(&self) -> Line {
        let whose = match self.spec.owner {
            Owner::Call(_) | Owner::Map(_) if self.bound => Whose::Flow,
            Owner::Queue if self.bound => Whose::Own,
            _ => self.whose(),
        };
        (self.spec.policy.to.map(|to| (to, self.stint)), whose)
    }

    /// Who it is of, should any slave be given it.
    pub(super) fn whose(&self) -> Whose {
        let level = self.spec.policy.priority;
        match self.spec.owner {
            Owner::Queue => Whose::Queue(level, self.needs),
            Owner::Call(_) => Whose::Calls(level, self.needs),
            Owner::Map(map) => Whose::Map(map, level, self.needs),
        }
    }
}

/// Hand-outs that keep their order: of one address and stint, and whose.
pub(super) type Line = (Option<(SlaveId, u32)>, Whose);

/// Who takes turns with others of its level, of what needs the same labels; of what is for one slave alone, calls and maps are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    Queue(i8, Set),
    Calls(i8, Set),
    Map(u32, i8, Set),
    Flow,
    Own,
}

impl Whose {
    /// Its level; of what is for one slave alone there is none.
    pub(super) fn level(self) -> i8 {
        match self {
            Whose::Queue(level, _) | Whose::Calls(level, _) | Whose::Map(_, level, _) => level,
            Whose::Flow | Whose::Own => 0,
        }
    }
}

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

impl Slave {
    /// It has a task no more that it has not answered. Without the last packet it has room for another one.
    pub(super) fn let_go(&mut self, at: usize) {
        self.hands.remove(at);
        if at == 0 {
            self.announced = None;
        }
        let in_hand = |seq: &u64| self.hands.iter().any(|(held, _)| held == seq);
        if !self.packet.iter().any(in_hand) {
            self.packet = self.hands.iter().map(|&(seq, _)| seq).collect();
        }
    }
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
