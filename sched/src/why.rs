//! Where a task or a slave stands, for people who ask. Costs a look at every live task; nothing is changed by it.

use crate::data::record::State;
use crate::data::slaves::Status;
use crate::ids::{AlgorithmId, Group, Nanos, SlaveId};
use crate::scheduler::Scheduler;
use crate::series::Series;
use crate::task::Policy;

/// Where a live task is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Place {
    /// It waits in the master.
    Queued {
        /// Queued tasks that were submitted before it and that the same slaves may run.
        before: u64,
    },
    /// A slave has it.
    Held {
        /// Which.
        slave: SlaveId,
        /// When it was handed out.
        since: Nanos,
        /// Tasks that the slave has before it.
        before: u64,
        /// The slave that has it as well, since it runs so long.
        twin: Option<SlaveId>,
    },
    /// It was begun by an earlier life, whose slave may bring its result.
    Away,
}

/// What is known of a live task.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct TaskLook {
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// When it was submitted.
    pub submitted: Nanos,
    /// Its policy, as it was given: priority, needs and deadline with the rest.
    pub policy: Policy,
    /// The slave that alone may run it.
    pub bound_to: Option<SlaveId>,
    /// Slaves that were lost while they ran it.
    pub crashes: u32,
    /// Its end goes to the queue.
    pub of_queue: bool,
    /// Where it is.
    pub place: Place,
}

/// What a connected slave is doing.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Doing {
    /// Nothing.
    Idle,
    /// It has tasks.
    Busy,
    /// It has tasks, gets no more, and moves to another group when it is through.
    Moving,
}

/// What is known of a connected slave.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct SlaveLook {
    /// Its group.
    pub group: Group,
    /// What it is doing.
    pub doing: Doing,
    /// It gets no work for now, since it does not read what it is sent.
    pub held_back: bool,
    /// Tasks in its hands.
    pub held: usize,
    /// The first of them, and when it came to be the first.
    pub first: Option<(u64, Nanos)>,
    /// Tasks that wait for it alone.
    pub own: u64,
}

impl<P: Series> Scheduler<P> {
    /// The task of this number, if it is queued or running.
    pub fn task_look(&self, seq: u64) -> Option<TaskLook> {
        let (slot, record) = self.tasks.iter().find(|(_, record)| record.holds(seq))?;
        let bound_to = record.bound_to();
        let place = match record.state {
            State::Free(_) => return None,
            State::Away => Place::Away,
            State::Queued(_) => {
                let earlier = |(_, other): (u32, &crate::data::record::Record<P>)| {
                    let is_queued = matches!(other.state, State::Queued(_));
                    let is_before = other.seq < record.seq && other.bound_to() == bound_to;
                    u64::from(is_queued && is_before) * u64::from(other.tasks())
                };
                let before = self.tasks.iter().map(earlier).sum::<u64>() + (seq - record.seq);
                Place::Queued { before }
            }
            State::Held { slave, position } => {
                let hands = self.slaves.hands(slave);
                let entry = hands.at(position);
                let twin = self.twins.get(&slot);
                Place::Held {
                    slave: self.slaves.get(slave).id,
                    since: entry.handed_out,
                    before: hands.before(position) + (seq - record.seq),
                    twin: twin.map(|twin| self.slaves.get(twin.slave).id),
                }
            }
        };
        let (policy, each) = (
            self.owners.policy_of(record),
            self.owners.each_within(record),
        );
        Some(TaskLook {
            algorithm: record.algorithm,
            submitted: record.submitted,
            policy: policy.of_nth(each, (seq - record.seq) as usize),
            bound_to,
            crashes: record.crashes.into(),
            of_queue: record.of_queue(),
            place,
        })
    }

    /// A connected slave.
    pub fn slave_look(&self, slave: SlaveId) -> Option<SlaveLook> {
        let slave = self.slaves.get(self.slaves.find(slave)?);
        let first = slave.hands.first();
        Some(SlaveLook {
            group: slave.group,
            doing: match slave.status {
                Status::Idle => Doing::Idle,
                Status::Busy => Doing::Busy,
                Status::Wanted | Status::Leaving => Doing::Moving,
            },
            held_back: slave.held_back,
            held: slave.hands.len(),
            first: first.map(|entry| (entry.seq, slave.hands.first_since)),
            own: slave.own.len(),
        })
    }

    /// The number of the task that is submitted next.
    pub fn next_task(&self) -> u64 {
        self.next_task
    }

    /// Tasks of the queue are not handed out for now: results that nobody has taken are at their bound.
    pub fn holds_queue(&self) -> bool {
        self.hold_queue
    }

    /// The mean compute time of an algorithm, once there was a result.
    pub fn mean_compute(&self, algorithm: AlgorithmId) -> Option<Nanos> {
        self.times.known(algorithm)
    }
}
