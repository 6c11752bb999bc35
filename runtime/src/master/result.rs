//! What is taken of the queue: results and unrunnable tasks.

use std::any::TypeId;
use std::time::Duration;

use ringmw_sched::{Nanos, SlaveId, TaskId};

use super::error::{TaskError, Unrunnable, body, error_of, tag_of, type_error};
use crate::proto::config::AlgorithmInfo;
use crate::proto::end::{End, Fate, TaskEnd};
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::DOMAIN_EXPLICIT;
use crate::typed::tag::{Tag, TagError};
use crate::typed::task::{Policy, Task};
use crate::typed::wire::{self, Wire};

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

/// A result from [`Master::take_results`](super::Master::take_results).
pub struct QueueResult(pub(super) TaskResult);

impl QueueResult {
    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.0.info().name
    }

    /// Whether it is a result of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.0.info().of == TypeId::of::<A>()
    }

    /// The output.
    ///
    /// # Errors
    /// [`TaskErrorKind::Failed`](super::TaskErrorKind::Failed) if the algorithm failed, [`TaskErrorKind::Type`](super::TaskErrorKind::Type) if it is no result of `A`.
    pub fn output<A: Algorithm>(&self) -> Result<A::Output, TaskError> {
        self.must_be::<A>()?;
        self.0.decode::<A>()
    }

    /// The output, read in place.
    ///
    /// # Errors
    /// As for [`output`](QueueResult::output).
    pub fn archived<A: Algorithm>(&self) -> Result<&wire::Archived<A::Output>, TaskError> {
        self.must_be::<A>()?;
        let archive = self.0.archive()?;
        wire::access::<A::Output>(archive).map_err(|error| type_error(self.0.id(), error))
    }

    fn must_be<A: Algorithm>(&self) -> Result<(), TaskError> {
        if self.is::<A>() {
            return Ok(());
        }
        let error = wire::WireError::Algorithm {
            expected: A::NAME,
            got: self.algorithm(),
        };
        Err(type_error(self.0.id(), error))
    }
}

impl std::ops::Deref for QueueResult {
    type Target = TaskResult;

    fn deref(&self) -> &TaskResult {
        &self.0
    }
}

/// An unrunnable task from [`Master::take_unrunnable`](super::Master::take_unrunnable).
pub struct QueueUnrunnable(pub(super) UnrunnableTask);

impl QueueUnrunnable {
    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.0.info().name
    }

    /// Whether it is a task of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.0.info().of == TypeId::of::<A>()
    }

    /// The task again, with its arguments, to be submitted anew with a policy of its own; `None` if
    /// it is no task of `A`.
    pub fn task<A: Algorithm>(&self) -> Option<Task<A>> {
        self.is::<A>().then(|| Task::again(self.0.args()))
    }
}

impl std::ops::Deref for QueueUnrunnable {
    type Target = UnrunnableTask;

    fn deref(&self) -> &UnrunnableTask {
        &self.0
    }
}
