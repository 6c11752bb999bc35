//! Why there is no output.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{Nanos, Reason, SlaveId, TaskId, Unrunnable};

use crate::proto::blob::Named;
use crate::proto::bytes::SmallBytes;
use crate::proto::end::{CannotRun, End, LastSeen};
use crate::proto::master::known::EARLIER;
use crate::proto::reason::InWords;
use crate::proto::series::{Body, encoded};
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::{DOMAIN_EXPLICIT, Stream};
use crate::typed::tag::{Tag, TagError};
use crate::typed::task::{Policy, Task};
use crate::typed::wire::{Wire, WireError};

/// Why there is no output: as large as a pointer, since most tasks have one.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct TaskError(Box<TaskErrorKind>);

impl TaskError {
    /// What kind of error, with what is known of it.
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0
    }

    /// What an end is where an output is wanted; `None`: there is one.
    pub(super) fn of(end: &End) -> Option<Self> {
        let id = end.id();
        let kind = match end {
            End::Done(_) => return None,
            End::Failed(failed) => TaskErrorKind::Failed {
                id,
                slave: failed.task.slave,
                message: failed.message.clone(),
                origin: Origin::new(&failed.task.payload, failed.task.policy),
            },
            End::Unrunnable(task) => TaskErrorKind::Unrunnable {
                id,
                reason: task.reason,
                origin: Origin::of(task),
            },
            End::Cancelled(task) => TaskErrorKind::Cancelled {
                id,
                origin: Origin::new(&task.payload, task.policy),
            },
        };
        Some(kind.into())
    }

    /// Of an unrunnable end of the queue.
    #[cold]
    pub(super) fn unrunnable(task: Unrunnable<Origin>) -> Self {
        let kind = TaskErrorKind::Unrunnable {
            id: task.id,
            reason: task.reason,
            origin: task.payload,
        };
        kind.into()
    }

    /// The task itself: arguments, policy, tag, stream. Of an output that was asked for as another type
    /// ([`TaskErrorKind::Type`]) nothing of that is known: it has no arguments and no tag.
    pub fn origin(&self) -> &Origin {
        static UNKNOWN: OnceLock<Origin> = OnceLock::new();
        match &*self.0 {
            TaskErrorKind::Failed { origin, .. }
            | TaskErrorKind::Unrunnable { origin, .. }
            | TaskErrorKind::Cancelled { origin, .. } => origin,
            TaskErrorKind::Type { .. } => UNKNOWN.get_or_init(|| {
                let (domain, index) = (0, 0);
                Origin::bare(
                    Stream { domain, index },
                    None,
                    ringmw_sched::Policy::default(),
                )
            }),
        }
    }

    /// The kind by itself.
    pub fn into_kind(self) -> TaskErrorKind {
        *self.0
    }
}

impl From<TaskErrorKind> for TaskError {
    #[cold]
    fn from(kind: TaskErrorKind) -> Self {
        TaskError(Box::new(kind))
    }
}

/// The slave that a task failed on, in words.
struct Where(SlaveId);

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            EARLIER => f.write_str("in an earlier life of the master"),
            slave => write!(f, "on {slave}"),
        }
    }
}

/// The kinds of [`TaskError`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The algorithm returned an error or panicked.
    #[error("{id} failed {}: {message}", Where(*slave))]
    Failed {
        /// Which task.
        id: TaskId,
        /// Where; in an earlier life of the run it is `SlaveId(u32::MAX)`, which no slave has.
        slave: SlaveId,
        /// Its message and place.
        message: String,
        /// The task itself.
        origin: Origin,
    },
    /// The task cannot run.
    #[error("{id} is unrunnable: {}", InWords(*reason, origin.last_seen()))]
    Unrunnable {
        /// Which task.
        id: TaskId,
        /// Why.
        reason: Reason,
        /// The task itself.
        origin: Origin,
    },
    /// The task was cancelled.
    #[error("{id} was cancelled")]
    Cancelled {
        /// Which task.
        id: TaskId,
        /// The task itself.
        origin: Origin,
    },
    /// The output was asked for as a type that it is not.
    #[error("{id}: {error}")]
    Type {
        /// Which task.
        id: TaskId,
        /// What differs.
        error: WireError,
    },
}

/// What is left of a task that gave no output: all that it was submitted with.
///
/// One of an unrunnable task from the queue, past `--mw-max-queued-bytes`, is without arguments and time-out, and without
/// a tag of more than 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    body: SmallBytes,
    /// The body has its arguments.
    is_whole: bool,
    policy: ringmw_sched::Policy,
    /// Of the slave whose loss is the reason that it is unrunnable.
    last_seen: Option<Arc<LastSeen>>,
}

impl Origin {
    pub(super) fn new(body: &Body, policy: ringmw_sched::Policy) -> Self {
        Origin {
            body: body.clone().one(),
            is_whole: true,
            policy,
            last_seen: None,
        }
    }

    pub(super) fn of(task: &CannotRun) -> Self {
        Origin {
            last_seen: task.last_seen.clone(),
            ..Self::new(&task.payload, task.policy)
        }
    }

    pub(super) fn last_seen(&self) -> Option<&LastSeen> {
        self.last_seen.as_deref()
    }

    /// Of a task whose arguments are not kept.
    pub(super) fn bare(stream: Stream, tag: Option<&Tag>, policy: ringmw_sched::Policy) -> Self {
        let (tag_type, tag) = tag.map_or((0, &[][..]), |tag| (tag.type_hash, &*tag.archive));
        let body = TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type,
            timeout_ms: 0,
            tag,
            args: &[],
        };
        Origin {
            body: encoded(&body),
            is_whole: false,
            policy,
            last_seen: None,
        }
    }

    /// The body as it was submitted, or what is kept of it, and whether it is the former.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn body(&self) -> (&SmallBytes, bool) {
        (&self.body, self.is_whole)
    }

    fn parts(&self) -> TaskBody<'_> {
        TaskBody::parse(&self.body).expect("the master itself encoded it")
    }

    /// The tag, if the task has one.
    ///
    /// # Errors
    /// When the tag is of another type: it is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        tag_of(&self.parts())
    }

    /// The policy that it was submitted with: tag and stream too, where they were given.
    pub fn policy(&self) -> Policy {
        let body = self.parts();
        Policy {
            slave: self.policy.to,
            tag: tag_in(&body),
            do_it_anyway: Some(self.policy.do_it_anyway),
            retry: Some(self.policy.retry),
            priority: Some(self.policy.priority),
            start_within: match self.policy.start_within {
                Nanos::MAX => None,
                within => Some(Duration::from_nanos(within)),
            },
            timeout: match body.timeout_ms {
                0 => None,
                ms => Some(Duration::from_millis(ms)),
            },
            needs: self.policy.needs.labels().to_vec(),
            stream: (body.domain == DOMAIN_EXPLICIT).then(|| self.stream()),
            named: Named::default(),
            error: None,
        }
    }

    /// Its arguments as they travelled, without any [`Best`](crate::Best); `None` if these are no arguments of `A`,
    /// or were not kept.
    pub fn args<A: Algorithm>(&self) -> Option<A::Args> {
        let read = || A::read_args(self.parts().args).ok();
        self.is_whole.then(read).flatten()
    }

    /// Its random stream, given or by default: another task that is given it draws the same numbers.
    pub fn stream(&self) -> Stream {
        let TaskBody { domain, stream, .. } = self.parts();
        Stream {
            domain,
            index: stream,
        }
    }

    /// The task again, with its arguments and its stream, and else the default policy: it draws the same random numbers.
    /// `None` if these are no arguments of `A`, or were not kept.
    pub fn task<A: Algorithm>(&self) -> Option<Task<A>> {
        let args = self.parts().args;
        let again = || Task::again(args, self.stream());
        (self.is_whole && A::check_args(args).is_ok()).then(again)
    }
}

/// The tag of a task with this body, as it travels.
pub(super) fn tag_in(body: &TaskBody<'_>) -> Option<Tag> {
    (body.tag_type != 0).then(|| Tag {
        type_hash: body.tag_type,
        archive: body.tag.into(),
    })
}

/// The tag of a task with this body.
pub(super) fn tag_of<T: Wire>(body: &TaskBody<'_>) -> Result<Option<T>, TagError> {
    tag_in(body).map(|tag| tag.read()).transpose()
}

/// An output was asked for as what it is not.
#[cold]
pub(super) fn type_error(id: TaskId, error: WireError) -> TaskError {
    TaskErrorKind::Type { id, error }.into()
}
