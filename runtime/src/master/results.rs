//! The ends of one algorithm from the queue, and an output with what is known of its task.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::Stream;
use ringmw_sched::AlgorithmId;

use super::error::TaskError;
use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::queue::Taken;
use super::result::TaskResult;
use crate::proto::end::End;
use crate::typed::algorithm::Algorithm;

impl Master {
    /// The ends of `A`'s tasks that were submitted to the queue; `None` when nothing of `A` is left.
    pub fn results<A: Algorithm>(&self) -> Results<A> {
        Results::new(self)
    }
}

/// The stream of one algorithm's ends from the queue: see [`Master::results`].
pub struct Results<A: Algorithm> {
    mw: Master,
    algorithm: AlgorithmId,
    refused: Refused,
    of: PhantomData<fn() -> A>,
}

impl<A: Algorithm> Results<A> {
    pub(super) fn new(mw: &Master) -> Self {
        Results {
            mw: mw.clone(),
            algorithm: mw.id_of::<A>(),
            refused: Refused::default(),
            of: PhantomData,
        }
    }

    /// The next end; `None` when nothing of this algorithm is queued, running or ready.
    pub async fn next(&mut self) -> Option<Result<Done<A>, TaskError>> {
        std::future::poll_fn(|cx| self.poll_result(cx)).await
    }

    /// The next output; the first end that is none is the error.
    ///
    /// # Errors
    /// [`TaskError`]; the stream can be asked on.
    pub async fn try_next(&mut self) -> Result<Option<Done<A>>, TaskError> {
        self.next().await.transpose()
    }

    fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Done<A>, TaskError>>> {
        passes::poll(self, cx, |results| {
            let algorithm = results.algorithm;
            results
                .mw
                .act(|state| match state.queue.take_one(algorithm) {
                    Some(Taken::Ready(end)) => {
                        state.keep_ready_bounded();
                        Poll::Ready(Some(Done::of(end)))
                    }
                    Some(Taken::Unrunnable(task)) => {
                        Poll::Ready(Some(Err(TaskError::unrunnable(task))))
                    }
                    None if state.queue.live(algorithm) == 0 => Poll::Ready(None),
                    None => Poll::Pending,
                })
        })
    }
}

impl<A: Algorithm> Waits for Results<A> {
    fn master(&self) -> &Master {
        &self.mw
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        self.mw.act(|state| state.queue.wait(waker))
    }
}

impl<A: Algorithm> Stream for Results<A> {
    type Item = Result<Done<A>, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_result(cx)
    }
}

/// An output with what is known of its task.
pub struct Done<A: Algorithm> {
    /// What the algorithm returned.
    pub output: A::Output,
    result: TaskResult,
}

impl<A: Algorithm> Done<A> {
    pub(super) fn of(end: End) -> Result<Self, TaskError> {
        let result = TaskResult::of(end)?;
        Ok(Done {
            output: result.decode::<A>()?,
            result,
        })
    }
}

impl<A: Algorithm> std::ops::Deref for Done<A> {
    type Target = TaskResult;

    fn deref(&self) -> &TaskResult {
        &self.result
    }
}
