//! What comes out: ends of tasks, losses, offences, and why.

use std::fmt;

use crate::ids::{AlgorithmId, Nanos, Owner, SlaveId, TaskId};

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
    },
    /// Alone in a packet it would pass the limit.
    TooLarge {
        /// The packet with this task alone.
        bytes: u64,
        /// `Config::packet_bytes_max`.
        bytes_max: u32,
    },
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
            Reason::Crashed { slave, crashes } => {
                write!(
                    f,
                    "{crashes} slaves were lost while they ran it, the last one {slave}"
                )
            }
            Reason::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "too large: a packet with it alone has {bytes} bytes, the limit is {bytes_max}"
                )
            }
            Reason::QueueFull { bytes_max } => write!(
                f,
                "the queue of tasks is full: the limit is {bytes_max} bytes"
            ),
        }
    }
}

/// An unrunnable task, with its policy as it was given.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Ended<P> {
    /// Which.
    pub id: TaskId,
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// Where this is to be told.
    pub owner: Owner,
    /// The slave it was addressed to.
    pub to: Option<SlaveId>,
    /// Its policy.
    pub do_it_anyway: bool,
    /// Its policy.
    pub retry: bool,
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
    /// What was submitted with it.
    pub payload: P,
    /// Who made the result.
    pub slave: SlaveId,
    /// When it was submitted.
    pub submitted: Nanos,
    /// When it was handed to that slave.
    pub handed_out: Nanos,
}

/// What a result is worth.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Verdict<P> {
    /// The end of its task.
    Accepted(Accepted<P>),
    /// Its task was cancelled meanwhile: count it, deliver nothing.
    Late,
}

/// A task that was cancelled just now.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct Cancelled<P> {
    /// What was submitted with it.
    pub payload: P,
    /// Where it would have been told.
    pub owner: Owner,
    /// Its algorithm.
    pub algorithm: AlgorithmId,
    /// The slave that holds it.
    pub held_by: Option<SlaveId>,
}

/// A slave said what no honest slave says: its connection is to be dropped.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Offence {
    /// The task was never given on this connection, or was answered on it before.
    NotHeld {
        /// The number it sent.
        task: u64,
    },
    /// It holds the task, but another comes first.
    OutOfOrder {
        /// The number it sent.
        task: u64,
        /// The one that comes first.
        expected: u64,
    },
    /// It acknowledged a withdrawal that was never sent, or acknowledged it before.
    NotWithdrawn {
        /// The number it sent.
        task: u64,
    },
    /// It gave back a task that is for it alone, or that it had said to have begun.
    NotTakeable {
        /// The number it sent.
        task: u64,
    },
    /// It gave tasks back without being asked to.
    NotAsked,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Offence::NotHeld { task } => write!(
                f,
                "TASK-{task} was never given to it, or was answered before"
            ),
            Offence::OutOfOrder { task, expected } => {
                write!(f, "TASK-{task} came before TASK-{expected}")
            }
            Offence::NotWithdrawn { task } => {
                write!(
                    f,
                    "the withdrawal of TASK-{task} was never sent to it, or was acknowledged before"
                )
            }
            Offence::NotTakeable { task } => write!(
                f,
                "TASK-{task} is for it alone, or was begun, and it gave it back"
            ),
            Offence::NotAsked => f.write_str("it gave back tasks without being asked to"),
        }
    }
}
impl std::error::Error for Offence {}

/// How a slave went away.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Departure {
    /// End of stream, reset or silence: a task whose start it had announced is charged.
    Crashed,
    /// Shutdown, or dropped for another reason: nobody is charged.
    Excused,
    /// It said goodbye, with its word of what it had begun: the first task in its hands, or none. Nobody is charged,
    /// and what was not begun is handed out again even if it is not to be retried.
    Goodbye {
        /// The first task in its hands was begun.
        begun: bool,
    },
}

/// What the loss of a slave did to tasks.
#[derive(Clone, Eq, PartialEq, Default, Debug)]
pub struct Losses {
    /// The numbers of the tasks that were in its hands and are queued again, ascending.
    pub recycled: Vec<u64>,
    /// How many queued tasks were addressed to it and are now for any slave.
    pub rerouted: u32,
    /// How many tasks became unrunnable; [`poll_ended`](crate::Scheduler::poll_ended) tells each.
    pub unrunnable: u32,
    /// How many tasks in its hands were cancelled already.
    pub released: u32,
    /// How many tasks in its hands are in another slave's too.
    pub elsewhere: u32,
    /// The task that was charged, and how many crashes it has now, this one included.
    pub charged: Option<(TaskId, u32)>,
}
