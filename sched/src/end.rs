//! How tasks end, and why.

use std::fmt;

use crate::ids::{AlgorithmId, Nanos, Owner, SlaveId, TaskId};
use crate::task::{LABEL_BYTES_MAX, NEEDS_MAX, PRIORITY_MAX, PRIORITY_MIN, Policy};

/// What is known of the end of a slave that ran a task.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
#[non_exhaustive]
pub enum Death {
    /// Its connection ended: it may have been killed, or its machine is gone.
    Connection,
    /// It fell silent.
    Silence,
    /// Its code called `exit`.
    Exit,
    /// A fault killed it, by a signal.
    Signal,
    /// It took more memory than it may.
    Memory,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Death::Connection => "lost its connection without a word: it was killed, or left by _exit, or its machine is gone",
            Death::Silence => "fell silent",
            Death::Exit => "was ended by its own code, which called exit",
            Death::Signal => "was killed by a signal, for a fault of its code",
            Death::Memory => "took more memory than it may",
        })
    }
}

/// Why a task can not be run.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Reason {
    /// It was addressed to a slave that is lost, and not `do_it_anyway`.
    SlaveLost(SlaveId),
    /// It was in the hands of a slave that is lost, and not to be retried.
    NotRetried(SlaveId),
    /// It was addressed to a slave that is unknown or gone, and not `do_it_anyway`.
    NoSuchSlave(SlaveId),
    /// It was addressed to an unordered slave, and not `do_it_anyway`.
    SlaveTakesNoOrdered(SlaveId),
    /// Poison: the slaves that began it were lost, as often as the crash limit allows.
    Crashed {
        /// The last of them.
        slave: SlaveId,
        /// How many of them.
        crashes: u32,
        /// What is known of the end of the last.
        death: Death,
    },
    /// Alone in a packet it would pass the limit.
    TooLarge {
        /// The packet with this task alone.
        bytes: u64,
        /// `Config::task_packet_bytes_max`.
        bytes_max: u32,
    },
    /// It is not to be retried, and an earlier life of the run handed it out and knows no result of it.
    BegunBefore,
    /// Shared data that it names is there no more.
    SharedGone,
    /// It was not handed out in the time in which it was to begin.
    NotBegunInTime {
        /// How long it had, in nanoseconds from its submission.
        within: Nanos,
    },
    /// There is no such level of priority.
    NoSuchPriority {
        /// The level.
        priority: i8,
    },
    /// There are too many sets of labels that tasks need.
    TooManyNeeds,
    /// It needs more labels than a task may, or what is no label.
    NoSuchNeeds,
    /// The queue may not hold one more.
    QueueFull {
        /// `Config::queued_bytes_max`.
        bytes_max: u64,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::SlaveLost(slave) => write!(f, "its slave {slave} is lost"),
            Reason::NotRetried(slave) => write!(
                f,
                "{slave}, which had it, is lost, and it is not to be retried"
            ),
            Reason::NoSuchSlave(slave) => write!(f, "there is no {slave}"),
            Reason::SlaveTakesNoOrdered(slave) => write!(f, "{slave} takes no ordered tasks"),
            Reason::Crashed {
                slave,
                crashes,
                death,
            } => {
                match crashes {
                    1 => write!(f, "the slave that ran it, {slave}, {death}"),
                    _ => write!(
                        f,
                        "{crashes} slaves were lost while they ran it; the last, {slave}, {death}"
                    ),
                }
            }
            Reason::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "too large: a packet with it alone has {bytes} bytes, the limit is {bytes_max}"
                )
            }
            Reason::BegunBefore => f.write_str(
                "an earlier life of the master handed it out, and it is not to be retried",
            ),
            Reason::SharedGone => f.write_str(
                "shared data that it names is there no more: its file has changed, or nothing has kept it",
            ),
            Reason::NotBegunInTime { within } => write!(
                f,
                "it was not begun within {} ms of its submission",
                within / 1_000_000
            ),
            Reason::NoSuchPriority { priority } => write!(
                f,
                "there is no priority {priority}, they go from {PRIORITY_MIN} to {PRIORITY_MAX}"
            ),
            Reason::TooManyNeeds => f.write_str("too many different sets of labels are needed"),
            Reason::NoSuchNeeds => write!(
                f,
                "it needs more than {NEEDS_MAX} labels, or one that is not KEY or KEY=VALUE of at most {LABEL_BYTES_MAX} bytes"
            ),
            Reason::QueueFull { bytes_max } => write!(
                f,
                "the queue of tasks is full: the limit is {bytes_max} bytes"
            ),
        }
    }
}

/// An unrunnable task.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Unrunnable<P> {
    /// Which.
    pub id: TaskId,
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// Where this is to be told.
    pub owner: Owner,
    /// Its policy, as it was given.
    pub policy: Policy,
    /// What was submitted with it.
    pub payload: P,
    /// Why.
    pub reason: Reason,
}

/// A task whose result has arrived.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Accepted<P> {
    /// Which.
    pub id: TaskId,
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// Where this is to be told.
    pub owner: Owner,
    /// Its policy, as it was given.
    pub policy: Policy,
    /// What was submitted with it.
    pub payload: P,
    /// Who made the result.
    pub slave: SlaveId,
    /// When it was submitted.
    pub submitted: Nanos,
    /// When it was handed to that slave.
    pub handed_out: Nanos,
}

/// A task that was cancelled just now.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Cancelled<P> {
    /// Which.
    pub id: TaskId,
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// Where it would have been told.
    pub owner: Owner,
    /// Its policy, as it was given.
    pub policy: Policy,
    /// What was submitted with it.
    pub payload: P,
    /// The slave that holds it.
    pub held_by: Option<SlaveId>,
}
