//! A call: a task whose end comes back to where it was given.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ringmw_sched::{Owner, TaskId};

use super::error::TaskError;
use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::ready::{new_flow, output};
use super::submit::RawTask;
use crate::typed::algorithm::Algorithm;
use crate::typed::task::Task;

impl Master {
    /// Submits a task at once and is the future of its result; see [`Call`].
    pub fn call<A: Algorithm>(&self, task: Task<A>) -> Call<A> {
        Call::new(self, task)
    }
}

/// The future of one task's typed result. Dropping it takes the task back.
#[must_use = "dropping a call takes its task back"]
pub struct Call<A: Algorithm> {
    mw: Master,
    flow: u32,
    id: TaskId,
    done: bool,
    refused: Refused,
    of: PhantomData<fn() -> A>,
}

impl<A: Algorithm> Call<A> {
    pub(super) fn new(mw: &Master, task: Task<A>) -> Self {
        let algorithm = mw.id_of::<A>();
        let (flow, id) = mw.act(|state| {
            let flow = new_flow(state);
            let stream = state.next_single(algorithm);
            (
                flow,
                state.push_call(algorithm, RawTask::new(&task), Owner::Call(flow), stream),
            )
        });
        Call {
            mw: mw.clone(),
            flow,
            id,
            done: false,
            refused: Refused::default(),
            of: PhantomData,
        }
    }

    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.id
    }
}

impl<A: Algorithm> Future for Call<A> {
    type Output = Result<A::Output, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        passes::poll(&mut *self, cx, |call| {
            let slot = call.flow as usize;
            let end = call.mw.act(|state| state.flows[slot].ready.pop());
            match end {
                Some(end) => {
                    call.done = true;
                    Poll::Ready(output::<A>(end))
                }
                None => Poll::Pending,
            }
        })
    }
}

impl<A: Algorithm> Waits for Call<A> {
    fn master(&self) -> &Master {
        &self.mw
    }

    fn refused(&self) -> &Refused {
        &self.refused
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        self.mw
            .act(|state| state.flows[self.flow as usize].waker.replace(waker))
    }
}

impl<A: Algorithm> Drop for Call<A> {
    fn drop(&mut self) {
        let (flow, id, done) = (self.flow, self.id, self.done);
        let flow = self.mw.act(|state| {
            if !done {
                state.cancel(id);
            }
            state.flows.remove(flow as usize)
        });
        // It may hold a waker.
        drop(flow);
    }
}
