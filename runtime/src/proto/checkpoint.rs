//! How far a task has come, as it is kept for whoever runs it next.

use ringmw_codec::running::Checkpoint;

use crate::proto::bytes::SmallBytes;

/// What is kept of a task's last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// How many words of its random stream the task had drawn.
    pub(crate) draws: u128,
    /// Hash of the state's type.
    pub(crate) state_type: u64,
    /// The archive of the state.
    pub(crate) state: SmallBytes,
}

impl Kept {
    /// A copy of what came.
    pub(crate) fn of(checkpoint: &Checkpoint<'_>) -> Self {
        Kept {
            draws: checkpoint.draws,
            state_type: checkpoint.state_type,
            state: SmallBytes::copy_from_slice(checkpoint.state),
        }
    }

    /// As it travels.
    pub(crate) fn of_task(&self, task: u64) -> Checkpoint<'_> {
        Checkpoint {
            task,
            draws: self.draws,
            state_type: self.state_type,
            state: &self.state,
        }
    }

    /// What it takes: itself, its place in a table, and its state.
    pub(crate) fn bytes(&self) -> u64 {
        (2 * size_of::<Self>() + self.state.len()) as u64
    }
}
