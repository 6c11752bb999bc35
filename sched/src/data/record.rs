//! What is remembered of one task, or of a series of tasks.

use std::mem;

use crate::data::list::Links;
use crate::ids::{AlgorithmId, Nanos, Owner, SlaveId};
use crate::series::{HAS_PAYLOAD, Series};
use crate::task::{Policy, TaskSpec};

/// Where a task is, or a run of tasks.
///
/// | from | to | when |
/// |---|---|---|
/// | free | queued | submitted |
/// | queued | held | handed out |
/// | held | queued | its slave is lost, and it is recycled |
/// | free | away | submitted, and a slave of an earlier life may have it |
/// | queued, held, away | free | it ends |
#[derive(Copy, Clone, Debug)]
pub(crate) enum State {
    /// Nowhere: no task, and the chunk's next free record.
    Free(u32),
    /// In one of the lines: of the slave it is bound to, else the unordered one.
    Queued(Links),
    /// In the hands of a slave: the slave's slot, and the position in its hands.
    Held { slave: u32, position: u32 },
    /// In no line and in no hands: a slave of an earlier life may bring its result.
    Away,
}

/// The yes-or-no facts in two bytes: the record is what a queue of ten million consists of.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Flags(u16);

impl Flags {
    const RETRY: u16 = 1;
    const DO_IT_ANYWAY: u16 = 2;
    /// `to` was given.
    const ADDRESSED: u16 = 4;
    /// Only the slave it is addressed to may run it.
    const BOUND: u16 = 8;
    /// It was in a lost slave's hands: its start is announced.
    const MARKED: u16 = 16;
    /// Its end goes to the queue.
    const OF_QUEUE: u16 = 32;
    /// Split off: its tasks' ids do not lead to its slot.
    const MOVED: u16 = 64;
    /// It is a call's.
    const OF_CALL: u16 = 128;
    /// It waits for others while it runs.
    const ALONE: u16 = 256;
    /// Something is kept for whoever runs it next.
    const KEPT: u16 = 512;
    /// It has a priority, needs or a deadline: its `flow` leads to them.
    const MORE: u16 = 1024;
    /// It was in a slave's hands when it had to be handed out at the latest.
    const LATE: u16 = 2048;
    /// Its tasks differ in their deadlines: these stand where its `flow` leads to.
    const EACH_WITHIN: u16 = 4096;

    #[inline]
    fn has(self, flag: u16) -> bool {
        self.0 & flag != 0
    }
}

/// A task, or a series of tasks that are alike: then `seq` is the number of the first.
#[derive(Clone, Debug)]
pub(crate) struct Record<P> {
    pub(crate) seq: u64,
    pub(crate) submitted: Nanos,
    /// The neighbours among the live records of its map, if it is of one.
    pub(crate) siblings: Links,
    pub(crate) state: State,
    /// Meaningful if `ADDRESSED`.
    to: SlaveId,
    /// The number of its call, or the slot of its map; or where the rest of its policy stands, with both.
    flow: u32,
    /// What the first of its tasks alone adds to a packet.
    pub(crate) bytes: u32,
    pub(crate) crashes: u16,
    /// In force from its first crash on; 0 is never.
    pub(crate) crash_limit: u16,
    pub(crate) algorithm: AlgorithmId,
    flags: Flags,
    /// There unless it is free. An option beside the state, rather than a payload in it: it moves out to its owner
    /// in one go, and moves are what the hot path spends its time on.
    pub(crate) payload: Option<P>,
}

impl<P: Series> Record<P> {
    #[inline]
    pub(crate) fn new(
        seq: u64,
        spec: &TaskSpec,
        flow: u32,
        bound: bool,
        payload: P,
        now: Nanos,
    ) -> Self {
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        let of = match spec.owner {
            Owner::Queue => Flags::OF_QUEUE,
            Owner::Call(_) => Flags::OF_CALL,
            Owner::Map(_) => 0,
        };
        let Policy {
            to,
            do_it_anyway,
            retry,
            ..
        } = spec.policy;
        let flags = flag(retry, Flags::RETRY)
            | flag(do_it_anyway, Flags::DO_IT_ANYWAY)
            | flag(to.is_some(), Flags::ADDRESSED)
            | flag(bound, Flags::BOUND)
            | flag(spec.alone, Flags::ALONE)
            | flag(!spec.policy.is_without_more(), Flags::MORE)
            | of;
        Record {
            seq,
            submitted: now,
            siblings: Links::NONE,
            state: State::Queued(Links::NONE),
            to: to.unwrap_or(SlaveId(0)),
            flow,
            bytes: spec.bytes,
            crashes: 0,
            crash_limit: 0,
            algorithm: spec.algorithm,
            flags: Flags(flags),
            payload: Some(payload),
        }
    }

    #[inline]
    fn series(&self) -> &P {
        self.payload.as_ref().expect(HAS_PAYLOAD)
    }

    /// How many tasks.
    #[inline]
    pub(crate) fn tasks(&self) -> u32 {
        self.series().tasks()
    }

    /// The number of the last task.
    #[inline]
    pub(crate) fn last(&self) -> u64 {
        self.seq + u64::from(self.tasks()) - 1
    }

    /// Whether it is the task of this number, or one of them is.
    #[inline]
    pub(crate) fn holds(&self, seq: u64) -> bool {
        (self.seq..=self.last()).contains(&seq)
    }

    /// How many of the tasks, at most `tasks`, fit into a packet that has room for so many bytes, and what they take.
    #[inline]
    pub(crate) fn fitting(&self, tasks: u32, room: u64) -> (u32, u64) {
        if room < u64::from(self.bytes) {
            return (0, 0);
        }
        let tasks = tasks.min(self.tasks());
        let bytes = self.bytes_of(tasks);
        if bytes <= room {
            return (tasks, bytes);
        }
        // As many as fit, and one more than fit.
        let (mut fit, mut too_many) = (1, tasks);
        while fit + 1 < too_many {
            let middle = fit.midpoint(too_many);
            match self.bytes_of(middle) <= room {
                true => fit = middle,
                false => too_many = middle,
            }
        }
        (fit, self.bytes_of(fit))
    }

    /// What its first tasks take in a packet.
    #[inline]
    fn bytes_of(&self, tasks: u32) -> u64 {
        u64::from(self.bytes) + self.series().more_bytes(tasks)
    }

    /// What it takes while it is queued.
    #[inline]
    pub(crate) fn queued_bytes(&self) -> u64 {
        let each = match self.has_each_within() {
            // One by itself takes no more than if it had been submitted so.
            true => mem::size_of::<Nanos>() as u64 * u64::from(self.tasks() - 1),
            false => 0,
        };
        mem::size_of::<Self>() as u64 + self.bytes_of_tasks() + each
    }

    /// What its tasks take in a packet.
    #[inline]
    pub(crate) fn bytes_of_tasks(&self) -> u64 {
        self.bytes_of(self.tasks())
    }

    /// Splits the first `tasks` of a series off. They are where it is, but for the links.
    pub(crate) fn split_front(&mut self, tasks: u32) -> Self {
        let bytes = self.bytes;
        let payload = Some(self.take_front(tasks));
        Record {
            seq: self.seq - u64::from(tasks),
            bytes,
            flags: Flags(self.flags.0 | Flags::MOVED),
            payload,
            ..*self
        }
    }

    /// Takes what is for the first `tasks` of a series; it is that of the others then.
    pub(crate) fn take_front(&mut self, tasks: u32) -> P {
        let payload = self.payload.as_mut().expect(HAS_PAYLOAD);
        let own_bytes = payload.own_bytes();
        let front = payload.split_front(tasks);
        self.bytes = self.bytes - own_bytes + payload.own_bytes();
        self.seq += u64::from(tasks);
        front
    }

    /// Whether the ids of its tasks do not lead to its slot.
    #[inline]
    pub(crate) fn moved(&self) -> bool {
        self.flags.has(Flags::MOVED)
    }

    /// The slave that alone may run it, if there is one.
    #[inline]
    pub(crate) fn bound_to(&self) -> Option<SlaveId> {
        self.flags.has(Flags::BOUND).then_some(self.to)
    }

    /// From now on any slave may run it.
    pub(crate) fn unbind(&mut self) {
        self.flags.0 &= !Flags::BOUND;
    }

    /// From queued to held. Returns the links it had.
    #[inline]
    pub(crate) fn take_in_hand(&mut self, slave: u32, position: u32) -> Links {
        match mem::replace(&mut self.state, State::Held { slave, position }) {
            State::Queued(links) => links,
            _ => unreachable!("a task is in one slave's hands"),
        }
    }

    #[inline]
    pub(crate) fn of_queue(&self) -> bool {
        self.flags.has(Flags::OF_QUEUE)
    }

    #[inline]
    pub(crate) fn marked(&self) -> bool {
        self.flags.has(Flags::MARKED)
    }

    pub(crate) fn mark(&mut self) {
        self.flags.0 |= Flags::MARKED;
    }

    #[inline]
    pub(crate) fn of_call(&self) -> bool {
        self.flags.has(Flags::OF_CALL)
    }

    #[inline]
    pub(crate) fn of_map(&self) -> bool {
        self.flags.0 & (Flags::OF_QUEUE | Flags::OF_CALL) == 0
    }

    /// Whether it has a priority, needs or a deadline.
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.flags.has(Flags::MORE)
    }

    /// Its tasks differ in their deadlines.
    pub(crate) fn set_each_within(&mut self) {
        self.flags.0 |= Flags::EACH_WITHIN;
    }

    /// Whether its tasks differ in their deadlines.
    #[inline]
    pub(crate) fn has_each_within(&self) -> bool {
        self.flags.has(Flags::EACH_WITHIN)
    }

    /// It is in a slave's hands, and had to be handed out by now.
    pub(crate) fn be_late(&mut self) {
        self.flags.0 |= Flags::LATE;
    }

    /// Whether it may not be queued again.
    pub(crate) fn is_late(&self) -> bool {
        self.flags.has(Flags::LATE)
    }

    /// The number of its call, or the slot of its map; of one that has more, where that stands.
    #[inline]
    pub(crate) fn flow(&self) -> u32 {
        self.flow
    }

    /// Whether it waits for others while it runs: it is alone in its slave's hands.
    #[inline]
    pub(crate) fn is_alone(&self) -> bool {
        self.flags.has(Flags::ALONE)
    }

    /// Whether it is alone in its packet, and never given to a second slave.
    #[inline]
    pub(crate) fn travels_alone(&self) -> bool {
        self.flags.0 & (Flags::ALONE | Flags::KEPT) != 0
    }

    /// Something is kept for whoever runs it next.
    pub(crate) fn keep(&mut self) {
        self.flags.0 |= Flags::KEPT;
    }

    /// Whether it is in a line.
    pub(crate) fn is_queued(&self) -> bool {
        matches!(self.state, State::Queued(_))
    }

    /// Whether it is in a slave's hands.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// Its policy as it was given, but for priority, needs and deadline; whether it is bound to the slave it was addressed
    /// to, `bound_to` says.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            to: self.flags.has(Flags::ADDRESSED).then_some(self.to),
            do_it_anyway: self.flags.has(Flags::DO_IT_ANYWAY),
            retry: self.flags.has(Flags::RETRY),
            ..Policy::default()
        }
    }
}
