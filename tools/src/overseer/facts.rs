//! What the overseer sees, and what it may do about it.

use std::fmt;

use ringmw_codec::Nanos;

/// What the operator chose.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Jobs alive at any time, queued ones included.
    pub(crate) max: u32,
    /// Jobs in one submission.
    pub(crate) step: u32,
    /// Between two submissions.
    pub(crate) pause: Nanos,
    /// A job that the batch system took and does not show is counted for so long; then it has come and gone between two
    /// lists.
    pub(crate) unseen: Nanos,
    /// A resource file that has been the same for longer than it says it may be, by this much, is stale.
    pub(crate) stale: Nanos,
}

/// What the resource file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    /// It is not there or cannot be read.
    Missing,
    InProgress {
        desired: u64,
        connected: Option<u64>,
        busy: Option<u64>,
        /// Tasks that wait, where the master says it.
        queued: Option<u64>,
        /// Since it should have been written again.
        overdue: Nanos,
    },
    Finished,
}

/// Where a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobState {
    Queued,
    /// Suspended ones too.
    Running,
    /// It will not start by itself: something went wrong.
    Held(String),
    /// Somebody holds it, or it holds itself for a while.
    HeldByHand,
}

/// A job of ours, as the batch system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) state: JobState,
    pub(crate) host: Option<String>,
    /// How long it has run this time.
    pub(crate) ran: Nanos,
    /// Its slave waits to be dialled: what it does not hear from a master it does not hear.
    pub(crate) listens: bool,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum How {
    /// With exit status 0: told to go, idle for its time-out, or all was over.
    Left,
    /// Its time limit was over, as planned.
    TimeLimit,
    /// The overseer has ended it, since all is over.
    Ended,
    /// `exit status 127`, `held: …`.
    Died(String),
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            How::Left => "exit status 0",
            How::TimeLimit => "its time limit",
            How::Ended => "ended, as all was over",
            How::Died(how) => how,
        })
    }
}

/// One slave's end. Evictions are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) job: String,
    pub(crate) host: Option<String>,
    pub(crate) how: How,
    /// The last lines it printed.
    pub(crate) lines: Vec<String>,
}

/// Everything that is known at `now`.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) now: Nanos,
    pub(crate) resource: Resource,
    pub(crate) jobs: &'a [Job],
    /// Since the last turn.
    pub(crate) ends: &'a [End],
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// For the operator.
    Say(String),
    /// Only those that do not run, unless `running`.
    Remove { ids: Vec<String>, running: bool },
    Submit {
        jobs: u32,
        /// Hosts on which slaves die at once.
        avoid: Vec<String>,
    },
    /// Nothing is left to be done.
    Done(Over),
}

/// Why an overseer's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Finished,
    Drained,
    /// There has been no resource file for so many seconds.
    Missing(u64),
    /// The resource file should have been written again so many seconds ago.
    Stale(u64),
}

impl Over {
    /// Whether it came as it was meant to.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Over::Finished | Over::Drained)
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Over::Finished => f.write_str("the computation is finished"),
            Over::Drained => f.write_str("drained"),
            Over::Missing(seconds) => {
                write!(f, "there has been no resource file for {seconds} s")
            }
            Over::Stale(seconds) => write!(
                f,
                "the resource file is stale: it should have been written again {seconds} s ago"
            ),
        }
    }
}
