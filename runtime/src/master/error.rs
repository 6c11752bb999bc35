//! Why there is no output.

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{Reason, SlaveId, TaskId};

use crate::proto::bytes::SmallBytes;
use crate::proto::end::{End, Fate};
use crate::proto::reason::InWords;
use crate::typed::algorithm::Algorithm;
use crate::typed::tag::{Tag, TagError};
use crate::typed::task::Task;
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
        InWords(self.0).fmt(f)
    }
}

pub(super) fn body(bytes: &[u8]) -> TaskBody<'_> {
    TaskBody::parse(bytes).expect("the master itself encoded it")
}

pub(super) fn tag_of<T: Wire>(bytes: &[u8]) -> Result<Option<T>, TagError> {
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
