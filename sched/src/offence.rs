//! What a slave says that no honest one says.

use std::fmt;

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
