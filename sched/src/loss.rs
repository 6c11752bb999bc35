//! How a slave goes, and what that costs.

use crate::ids::TaskId;

/// How a slave went away.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Departure {
    /// End of stream, reset or silence: a task whose start it had announced is charged.
    Crashed,
    /// Shutdown, or dropped for another reason: nobody is charged.
    Excused,
    /// It said that the first task in its hands ends it, by an exit or for its memory: that one is charged, announced or
    /// not; the others were not begun.
    Ended,
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
    /// How many tasks became unrunnable; [`poll_unrunnable`](crate::Scheduler::poll_unrunnable) tells each.
    pub unrunnable: u32,
    /// How many tasks in its hands were cancelled already.
    pub released: u32,
    /// How many tasks in its hands are in another slave's too.
    pub elsewhere: u32,
    /// The task that was charged, and how many crashes it has now, this one included.
    pub charged: Option<(TaskId, u32)>,
    /// The crash limit in force for the task that was charged, see [`Scheduler::lose`](crate::Scheduler::lose); 0 is never.
    pub crash_limit: u32,
}
