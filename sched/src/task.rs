//! A task as it is submitted, and as a slave is told of it.

use crate::ids::{AlgorithmId, Nanos, Needs, Owner, SlaveId, TaskId};

/// Who may run a task, and what follows when that slave can not, or is lost.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Policy {
    /// Ordered: for this slave only. `None`: unordered.
    pub to: Option<SlaveId>,
    /// If the slave that it is addressed to can not run it, any may.
    pub do_it_anyway: bool,
    /// If the slave that has it is lost, another may.
    pub retry: bool,
    /// Of unordered tasks those of a higher level go first: from [`PRIORITY_MIN`] to [`PRIORITY_MAX`].
    pub priority: i8,
    /// Unordered, it is given to slaves alone that have these labels.
    pub needs: Needs,
    /// Queued so long after it was submitted it is unrunnable; [`Nanos::MAX`]: never.
    pub start_within: Nanos,
}

/// The lowest priority.
pub const PRIORITY_MIN: i8 = -4;
/// The highest priority.
pub const PRIORITY_MAX: i8 = 3;

/// The most labels that a task may need.
pub const NEEDS_MAX: usize = 4;
/// The most bytes of a label that a slave has or a task needs.
pub const LABEL_BYTES_MAX: usize = 64;

impl Default for Policy {
    /// Any slave, and another one if that is lost.
    // Asked for every task that may join a series, and compiled into another crate there.
    #[inline]
    fn default() -> Self {
        Policy {
            to: None,
            do_it_anyway: false,
            retry: true,
            priority: 0,
            needs: Needs::NONE,
            start_within: Nanos::MAX,
        }
    }
}

impl Policy {
    /// Whether it has neither priority, needs nor deadline.
    #[inline]
    pub(crate) fn is_without_more(&self) -> bool {
        self.priority == 0 && self.needs == Needs::NONE && self.start_within == Nanos::MAX
    }

    /// That of the task at this place of a series, of which `each` has the times to be begun within, if they differ.
    pub(crate) fn of_nth(self, each: &[Nanos], nth: usize) -> Policy {
        Policy {
            start_within: each.get(nth).copied().unwrap_or(self.start_within),
            ..self
        }
    }
}

/// A task to submit: its algorithm and policy.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct TaskSpec {
    /// Below the number of algorithms that the scheduler was made with.
    pub algorithm: AlgorithmId,
    /// Who may run it.
    pub policy: Policy,
    /// Where its end is told.
    pub owner: Owner,
    /// What it adds to a packet, all included; of a series the first one, alone.
    pub bytes: u32,
    /// It waits for others while it runs: it is the only one in its packet, its slave gets nothing behind it until it has
    /// ended, and it is never given to a second one. Unordered, it goes to an idle slave alone.
    pub alone: bool,
}

impl TaskSpec {
    /// Unordered, with the default policy.
    #[inline]
    pub fn new(algorithm: AlgorithmId, owner: Owner, bytes: u32) -> Self {
        TaskSpec {
            algorithm,
            policy: Policy::default(),
            owner,
            bytes,
            alone: false,
        }
    }
}

/// What a series of tasks would be, were it submitted now.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Opening {
    /// The id of its first task; those of the others follow.
    pub first: TaskId,
    /// How many it may have; below 2 there is none, and the task is submitted by itself.
    pub tasks_max: u32,
    /// What they may add to a packet together, in bytes.
    pub bytes_max: u64,
    /// What they may take in the queue, each by itself and its record included, in bytes.
    pub queue_max: u64,
}

impl Opening {
    /// None: it is submitted by itself.
    #[inline]
    pub(crate) fn of_one(first: TaskId, spec: &TaskSpec) -> Self {
        Opening {
            first,
            tasks_max: 1,
            bytes_max: spec.bytes.into(),
            queue_max: 0,
        }
    }
}

/// What a slave is told of a task in a packet.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Handed {
    /// It was in a lost slave's hands: its start is announced.
    pub marked: bool,
    /// It is for this slave alone, which never gives it back.
    pub bound: bool,
    /// It is begun at most once.
    pub once: bool,
}
