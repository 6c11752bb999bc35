//! What the master algorithm sees of a task that has ended.

use std::time::Duration;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{Nanos, Reason, SlaveId, TaskId};

use crate::proto::bytes::SmallBytes;
use crate::proto::master::{AlgorithmInfo, End, Fate, TaskEnd};
use crate::typed::algorithm::{Algorithm, Policy, Tag, Task};
use crate::typed::cx::TagError;
use crate::typed::rng::DOMAIN_EXPLICIT;
use crate::typed::wire::{self, Wire, WireError};

/// Why there is no output: as large as a pointer, since most tasks have one.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct TaskError(Box<TaskErrorKind>);

impl TaskError {
    /// What kind of error, with what is known of it.
    pub fn kind(&self) -> &TaskErrorKind {
        &self.0
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

/// The kinds of [`TaskError`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum TaskErrorKind {
    /// The algorithm returned an error or panicked.
    #[error("{id} failed on {slave}: {message}")]
    Failed {
        /// Which task.
        id: TaskId,
        /// Where.
        slave: SlaveId,
        /// Its message and place.
        message: String,
        /// The task itself.
        origin: Origin,
    },
    /// The task cannot run.
    #[error("{id} is unrunnable: {reason}")]
    Unrunnable {
        /// Which task.
        id: TaskId,
        /// Why.
        reason: Unrunnable,
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

/// What is left of a task that gave no output: enough to tell which it was, and to try it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    body: SmallBytes,
}

impl Origin {
    /// The tag, if the task has one.
    ///
    /// # Errors
    /// When the tag is of another type: it is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        tag_of(&self.body)
    }

    /// The task again, with its arguments and the default policy; it draws other random numbers unless it is given
    /// its stream. `None` if these are no arguments of `A`.
    pub fn task<A: Algorithm>(&self) -> Option<Task<A>> {
        let args = body(&self.body).args;
        A::check_args(args).is_ok().then(|| Task::again(args))
    }
}

/// Why a task is unrunnable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrunnable(pub(crate) Reason);

impl Unrunnable {
    /// The reason as the scheduler has it.
    pub fn reason(&self) -> Reason {
        self.0
    }
}

impl std::fmt::Display for Unrunnable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Reason::TooLarge { bytes, bytes_max } => write!(
                f,
                "it makes a packet of {bytes} bytes, where at most {bytes_max} may be written; raise --mw-max-write-buffer-size"
            ),
            Reason::QueueFull { bytes_max } => write!(
                f,
                "the queued tasks would pass {bytes_max} bytes; submit by a target number or through map, or raise --mw-max-queued-bytes"
            ),
            Reason::Crashed { crashes, .. } => {
                write!(
                    f,
                    "{}: the limit of --mw-crash-limit is reached ({crashes})",
                    self.0
                )
            }
            other => other.fmt(f),
        }
    }
}

/// A result from the queue: an output, or the failure in its place.
#[derive(Debug)]
pub struct TaskResult(TaskEnd);

impl TaskResult {
    #[inline]
    pub(crate) fn new(end: TaskEnd) -> Self {
        TaskResult(end)
    }

    pub(crate) fn into_end(self) -> End {
        self.0.into_end()
    }

    #[inline]
    pub(crate) fn info(&self) -> &AlgorithmInfo {
        match &self.0 {
            TaskEnd::Done(one) => one.info(),
            TaskEnd::Other(end) => &end.info,
        }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.0.id()
    }

    /// The slave that made it.
    pub fn slave(&self) -> SlaveId {
        match &self.0 {
            TaskEnd::Done(one) => one.slave(),
            TaskEnd::Other(end) => match end.fate {
                Fate::Done { slave, .. } | Fate::Failed { slave, .. } => slave,
                Fate::Unrunnable { .. } | Fate::Cancelled => unreachable!("no result"),
            },
        }
    }

    /// The output's archive, or the failure.
    #[inline]
    pub(crate) fn archive(&self) -> Result<&[u8], TaskError> {
        match &self.0 {
            TaskEnd::Done(one) => Ok(one.output()),
            TaskEnd::Other(end) => match &end.fate {
                Fate::Done { output, .. } => Ok(output),
                _ => Err(error_of(end).expect("only Done is no error")),
            },
        }
    }

    /// Whether the algorithm failed.
    pub fn is_failed(&self) -> bool {
        self.failure().is_some()
    }

    /// The failure's message and place.
    pub fn failure(&self) -> Option<&str> {
        match &self.0 {
            TaskEnd::Done(_) => None,
            TaskEnd::Other(end) => match &end.fate {
                Fate::Failed { message, .. } => Some(message),
                _ => None,
            },
        }
    }

    /// The tag, if the task has one.
    ///
    /// # Errors
    /// When the tag is of another type: it is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        match &self.0 {
            TaskEnd::Done(one) => tag_of(one.body()),
            TaskEnd::Other(end) => tag_of(&end.body),
        }
    }

    /// Time in the algorithm on the slave.
    pub fn compute_time(&self) -> Duration {
        Duration::from_nanos(self.times().0)
    }

    /// Time from submission to the hand-out that brought this result.
    pub fn wait_time(&self) -> Duration {
        Duration::from_nanos(self.times().1)
    }

    /// Time from hand-out to arrival, less the compute time: on the wire and behind others of its group.
    pub fn travel_time(&self) -> Duration {
        Duration::from_nanos(self.times().2)
    }

    /// Compute, wait and travel.
    fn times(&self) -> (Nanos, Nanos, Nanos) {
        match &self.0 {
            TaskEnd::Done(one) => (one.compute(), one.wait(), one.travel()),
            TaskEnd::Other(end) => match end.fate {
                Fate::Done {
                    compute,
                    wait,
                    travel,
                    ..
                }
                | Fate::Failed {
                    compute,
                    wait,
                    travel,
                    ..
                } => (compute, wait, travel),
                Fate::Unrunnable { .. } | Fate::Cancelled => (0, 0, 0),
            },
        }
    }

    #[inline]
    pub(crate) fn decode<A: Algorithm>(&self) -> Result<A::Output, TaskError> {
        let archive = self.archive()?;
        wire::decode::<A::Output>(archive).map_err(|error| type_error(self.id(), error))
    }
}

/// A task that cannot run, with its arguments and policy.
#[derive(Debug)]
pub struct UnrunnableTask {
    end: End,
}

impl UnrunnableTask {
    pub(crate) fn new(end: End) -> Self {
        UnrunnableTask { end }
    }

    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.end.id
    }

    pub(crate) fn info(&self) -> &AlgorithmInfo {
        &self.end.info
    }

    /// Why.
    pub fn reason(&self) -> Unrunnable {
        match self.end.fate {
            Fate::Unrunnable { reason, .. } => Unrunnable(reason),
            _ => unreachable!("no other fate is made an UnrunnableTask"),
        }
    }

    /// What an error says of it.
    pub(crate) fn error(&self) -> TaskError {
        error_of(&self.end).expect("an unrunnable task has no output")
    }

    /// The tag, if the task has one.
    ///
    /// # Errors
    /// When the tag is of another type.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        tag_of(&self.end.body)
    }

    /// The policy that it was submitted with: tag and stream too, where they were given.
    pub fn policy(&self) -> Policy {
        let Fate::Unrunnable {
            to,
            do_it_anyway,
            retry,
            ..
        } = self.end.fate
        else {
            unreachable!("no other fate is made an UnrunnableTask")
        };
        let body = body(&self.end.body);
        Policy {
            slave: to,
            tag: (body.tag_type != 0).then(|| {
                Box::new(Tag {
                    type_hash: body.tag_type,
                    archive: body.tag.into(),
                })
            }),
            do_it_anyway: Some(do_it_anyway),
            retry: Some(retry),
            stream: (body.domain == DOMAIN_EXPLICIT).then_some(body.stream),
            error: None,
        }
    }

    /// The encoded arguments.
    pub(crate) fn args(&self) -> &[u8] {
        body(&self.end.body).args
    }
}

fn body(bytes: &[u8]) -> TaskBody<'_> {
    TaskBody::parse(bytes).expect("the master itself encoded it")
}

fn tag_of<T: Wire>(bytes: &[u8]) -> Result<Option<T>, TagError> {
    // Of a task without a tag that is done no body is kept.
    if bytes.is_empty() {
        return Ok(None);
    }
    let body = body(bytes);
    if body.tag_type == 0 {
        return Ok(None);
    }
    Tag {
        type_hash: body.tag_type,
        archive: body.tag.into(),
    }
    .read()
    .map(Some)
}

/// Whether a body carries this tag.
pub(crate) fn has_tag(bytes: &[u8], tag_type: u64, tag: &[u8]) -> bool {
    let body = body(bytes);
    body.tag_type == tag_type && body.tag == tag
}

/// An output was asked for as what it is not.
#[cold]
pub(crate) fn type_error(id: TaskId, error: WireError) -> TaskError {
    TaskErrorKind::Type { id, error }.into()
}

/// What a fate is where an output is wanted.
pub(crate) fn error_of(end: &End) -> Option<TaskError> {
    if matches!(end.fate, Fate::Done { .. }) {
        return None;
    }
    let id = end.id;
    let origin = Origin {
        body: end.body.clone(),
    };
    let kind = match &end.fate {
        Fate::Done { .. } => None,
        Fate::Failed { message, slave, .. } => Some(TaskErrorKind::Failed {
            id,
            slave: *slave,
            message: message.clone(),
            origin,
        }),
        Fate::Unrunnable { reason, .. } => Some(TaskErrorKind::Unrunnable {
            id,
            reason: Unrunnable(*reason),
            origin,
        }),
        Fate::Cancelled => Some(TaskErrorKind::Cancelled { id, origin }),
    };
    kind.map(TaskError::from)
}
