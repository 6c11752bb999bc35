//! What is taken of the queue: results, failed ones among them, and tasks that cannot run.

use std::any::TypeId;
use std::fmt;
use std::time::Duration;

use ringmw_sched::{Reason, SlaveId, TaskId, Unrunnable};

use super::error::{Origin, TaskError, tag_of, type_error};
use super::ready::read_output;
use crate::proto::config::AlgorithmInfo;
use crate::proto::end::{End, Failed, Results};
use crate::proto::reason::InWords;
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::Stream;
use crate::typed::tag::TagError;
use crate::typed::task::{Policy, Task};
use crate::typed::wire::{self, Wire, WireError};

/// A result: an output, or the failure in its place.
///
/// It is a share of its packet, and stays with the master's thread; its [output](TaskResult::output) may go anywhere.
#[derive(Debug)]
pub struct TaskResult(End);

impl TaskResult {
    /// Of an end that is told where results are.
    #[inline]
    pub(crate) fn new(end: End) -> Self {
        TaskResult(end)
    }

    /// Of an end where an output is wanted.
    #[inline]
    pub(super) fn of(end: End) -> Result<Self, TaskError> {
        match TaskError::of(&end) {
            None => Ok(TaskResult(end)),
            Some(error) => Err(error),
        }
    }

    #[inline]
    fn kind(&self) -> Result<&Results, &Failed> {
        match &self.0 {
            End::Done(results) => Ok(results),
            End::Failed(failed) => Err(failed),
            End::Unrunnable(_) | End::Cancelled(_) => unreachable!("no result"),
        }
    }

    #[inline]
    fn info(&self) -> &AlgorithmInfo {
        match self.kind() {
            Ok(results) => results.info(),
            Err(failed) => &failed.info,
        }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.0.id()
    }

    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.info().name
    }

    /// Whether it is a result of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.info().of == TypeId::of::<A>()
    }

    /// The slave that made it; of a result that an earlier life of the run recorded `SlaveId(u32::MAX)`, which no slave has.
    pub fn slave(&self) -> SlaveId {
        match self.kind() {
            Ok(results) => results.slave(),
            Err(failed) => failed.task.slave,
        }
    }

    /// The output.
    ///
    /// # Errors
    /// [`TaskErrorKind::Failed`](super::TaskErrorKind::Failed) if the algorithm failed,
    /// [`TaskErrorKind::Type`](super::TaskErrorKind::Type) if it is no result of `A`.
    pub fn output<A: Algorithm>(&self) -> Result<A::Output, TaskError> {
        self.must_be::<A>()?;
        self.decode::<A>()
    }

    /// The output, read in place.
    ///
    /// # Errors
    /// As for [`output`](TaskResult::output).
    pub fn archived<A: Algorithm>(&self) -> Result<&wire::Archived<A::Output>, TaskError> {
        self.must_be::<A>()?;
        let archive = self.archive()?;
        wire::access::<A::Output>(archive).map_err(|error| type_error(self.id(), error))
    }

    fn must_be<A: Algorithm>(&self) -> Result<(), TaskError> {
        if self.is::<A>() {
            return Ok(());
        }
        let error = WireError::Algorithm {
            expected: A::NAME,
            got: self.algorithm(),
        };
        Err(type_error(self.id(), error))
    }

    /// The output's archive, or the failure.
    #[inline]
    fn archive(&self) -> Result<&[u8], TaskError> {
        match self.kind() {
            Ok(results) => Ok(results.output()),
            Err(_) => Err(TaskError::of(&self.0).expect("a failure is an error")),
        }
    }

    #[inline]
    pub(super) fn decode<A: Algorithm>(&self) -> Result<A::Output, TaskError> {
        let (archive, is_checked) = (self.archive()?, self.is::<A>());
        read_output::<A>(archive, is_checked).map_err(|error| type_error(self.id(), error))
    }

    /// Whether the algorithm failed.
    pub fn is_failed(&self) -> bool {
        self.kind().is_err()
    }

    /// The failure's message and place.
    pub fn failure(&self) -> Option<&str> {
        self.kind().err().map(|failed| &*failed.message)
    }

    /// The tag, if the task has one.
    ///
    /// # Errors
    /// When the tag is of another type: it is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        match self.kind() {
            Ok(results) => results.tagged().map_or(Ok(None), |body| tag_of(&body)),
            Err(failed) => tag_of(&failed.task.payload.nth(0)),
        }
    }

    /// Time in the algorithm on the slave.
    pub fn compute_time(&self) -> Duration {
        Duration::from_nanos(match self.kind() {
            Ok(results) => results.compute(),
            Err(failed) => failed.compute,
        })
    }

    /// Time from submission to the hand-out that brought this result.
    pub fn wait_time(&self) -> Duration {
        Duration::from_nanos(match self.kind() {
            Ok(results) => results.wait(),
            Err(failed) => failed.wait(),
        })
    }

    /// Time from hand-out to arrival, less the compute time: on the wire and behind others of its group.
    pub fn travel_time(&self) -> Duration {
        Duration::from_nanos(match self.kind() {
            Ok(results) => results.travel(),
            Err(failed) => failed.travel,
        })
    }
}

/// A task that cannot run, with all that it was submitted with; past `--mw-max-queued-bytes` without its arguments,
/// and without a tag of more than 64 bytes.
///
/// Displayed it says why, as [`why`](UnrunnableTask::why) does.
#[derive(Debug)]
pub struct UnrunnableTask {
    id: TaskId,
    info: AlgorithmInfo,
    reason: Reason,
    origin: Origin,
}

impl UnrunnableTask {
    pub(super) fn new(task: Unrunnable<Origin>, info: AlgorithmInfo) -> Self {
        UnrunnableTask {
            id: task.id,
            info,
            reason: task.reason,
            origin: task.payload,
        }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.info.name
    }

    /// Whether it is a task of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.info.of == TypeId::of::<A>()
    }

    /// Why, to match on; [`why`](UnrunnableTask::why) says it in words.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Why, in words that name the limit and its flag.
    pub fn why(&self) -> String {
        InWords(self.reason, self.origin.last_seen()).to_string()
    }

    /// The tag, if the task has one and it is kept.
    ///
    /// # Errors
    /// When the tag is of another type: it is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        self.origin.tag()
    }

    /// The policy that it was submitted with: stream too, where it was given, and tag, where it is kept.
    pub fn policy(&self) -> Policy {
        self.origin.policy()
    }

    /// Its arguments as they travelled, without any [`Best`](crate::Best); `None` if it is no task of `A`, or came past
    /// `--mw-max-queued-bytes`.
    pub fn args<A: Algorithm>(&self) -> Option<A::Args> {
        self.is::<A>().then(|| self.origin.args::<A>()).flatten()
    }

    /// Its random stream, given or by default.
    pub fn stream(&self) -> Stream {
        self.origin.stream()
    }

    /// The task again, with its arguments and its stream, to be submitted anew with a policy of its own; `None` if
    /// it is no task of `A`, or came past `--mw-max-queued-bytes`.
    pub fn task<A: Algorithm>(&self) -> Option<Task<A>> {
        self.is::<A>().then(|| self.origin.task()).flatten()
    }
}

impl fmt::Display for UnrunnableTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is unrunnable: {}", self.id, self.why())
    }
}
