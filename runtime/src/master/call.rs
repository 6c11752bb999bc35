//! A call: a task whose end comes back to where it was given.
//!
//! Calls of one algorithm and policy that are made one after another, as in one poll, are a block: their tasks are a
//! series, and they share a flow. Each takes its own end, and the flow goes with the last of them.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use ringmw_sched::{AlgorithmId, Owner, TaskId};

use super::error::TaskError;
use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::ready::{Flow, new_flow, output};
use super::state::State;
use super::submit::RawTask;
use crate::proto::end::End;
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
    /// Its place in its block.
    nth: u32,
    id: TaskId,
    done: bool,
    refused: Refused,
    of: PhantomData<fn() -> A>,
}

impl<A: Algorithm> Call<A> {
    pub(super) fn new(mw: &Master, task: Task<A>) -> Self {
        let (algorithm, task) = (mw.id_of::<A>(), &task);
        let raw = RawTask::new(task);
        let made = mw.work(|state| state.push_call(algorithm, raw));
        if made.nth == 0 {
            // What joins a block changes nothing that anybody waits for: the driver knows of the first.
            mw.notify();
        }
        Self::of_made(mw, &made)
    }

    /// The same for a task to converse with.
    pub(super) fn of_conversation(mw: &Master, task: Task<A>) -> Self {
        let (algorithm, task) = (mw.id_of::<A>(), &task);
        let raw = RawTask::new(task);
        let made = mw.work(|state| state.push_conversing_call(algorithm, raw));
        mw.notify();
        Self::of_made(mw, &made)
    }

    fn of_made(mw: &Master, made: &Made) -> Self {
        Call {
            mw: mw.clone(),
            flow: made.flow,
            nth: made.nth,
            id: made.id,
            done: false,
            refused: Refused::default(),
            of: PhantomData,
        }
    }

    pub(super) fn flow(&self) -> u32 {
        self.flow
    }

    /// Whether its end has been taken.
    pub(super) fn is_done(&self) -> bool {
        self.done
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
            let (flow, nth) = (call.flow, call.nth);
            // Nothing is looked at but its own place: what is open is closed when the turn ends.
            let end = call.mw.work(|state| state.waits_of(flow, nth).end.take());
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

    fn has_answer(&self) -> bool {
        let (flow, nth) = (self.flow, self.nth);
        self.mw
            .work(|state| state.waits_of(flow, nth).end.is_some())
    }

    fn keep(&self, waker: Waker) -> Option<Waker> {
        let (flow, nth) = (self.flow, self.nth);
        self.mw
            .work(|state| state.waits_of(flow, nth).waker.replace(waker))
    }
}

impl<A: Algorithm> Drop for Call<A> {
    fn drop(&mut self) {
        let (flow, nth, id) = (self.flow, self.nth, self.id);
        let left = match self.done {
            true => self.mw.work(|state| state.drop_call(flow, nth)),
            false => self.mw.act(|state| {
                state.cancel(id);
                state.drop_call(flow, nth)
            }),
        };
        // It may hold a waker.
        drop(left);
    }
}

/// A call that was made.
pub(super) struct Made {
    flow: u32,
    nth: u32,
    id: TaskId,
}

/// The calls of a block.
#[derive(Default)]
pub(super) struct Block {
    /// The number of the first one's task; the others follow.
    first: u64,
    calls: Vec<Waiting>,
    dropped: usize,
}

/// What a call of a block waits for.
#[derive(Default)]
pub(super) struct Waiting {
    end: Option<End>,
    waker: Option<Waker>,
}

impl Block {
    /// Ends of its calls have come: who is to be woken.
    pub(super) fn tell(&mut self, ends: End, woken: &mut Vec<Waker>) {
        for end in ends.each() {
            let nth = (end.id().seq() - self.first) as usize;
            let call = &mut self.calls[nth];
            call.end = Some(end);
            woken.extend(call.waker.take());
        }
    }

    /// Ends that nobody has taken.
    pub(super) fn untold(&self) -> usize {
        self.calls.iter().filter(|call| call.end.is_some()).count()
    }
}

impl State {
    /// Submits a call's task: in the block that is open, if it goes on with it.
    fn push_call(&mut self, algorithm: AlgorithmId, task: RawTask<'_>) -> Made {
        let stream = self.next_single(algorithm);
        if let Some(owner @ Owner::Call(flow)) = self.open_owner()
            && let Some(id) = self.join(algorithm, task, owner, stream)
        {
            let block = self.block(flow);
            block.calls.push(Waiting::default());
            let nth = block.calls.len() as u32 - 1;
            return Made { flow, nth, id };
        }
        let flow = new_flow(self);
        self.flows[flow as usize].block = Some(Box::default());
        let id = self.push_other(algorithm, task, Owner::Call(flow), stream);
        let block = self.block(flow);
        block.first = id.seq();
        block.calls.push(Waiting::default());
        if self.core.has_ends() {
            self.dispatch();
        }
        Made { flow, nth: 0, id }
    }

    /// Submits a task to converse with, in a block of its own.
    fn push_conversing_call(&mut self, algorithm: AlgorithmId, task: RawTask<'_>) -> Made {
        let flow = new_flow(self);
        self.flows[flow as usize].block = Some(Box::default());
        let id = self.push_conversation(flow, algorithm, task);
        let block = self.block(flow);
        block.first = id.seq();
        block.calls.push(Waiting::default());
        if self.core.has_ends() {
            self.dispatch();
        }
        Made { flow, nth: 0, id }
    }

    fn block(&mut self, flow: u32) -> &mut Block {
        let block = self.flows[flow as usize].block.as_mut();
        block.expect("a call is of a block")
    }

    fn waits_of(&mut self, flow: u32, nth: u32) -> &mut Waiting {
        &mut self.block(flow).calls[nth as usize]
    }

    /// Forgets a call, and with the last one its flow; what is left of it is dropped where nothing is borrowed.
    fn drop_call(&mut self, flow: u32, nth: u32) -> (Waiting, Option<Flow>) {
        let block = self.block(flow);
        block.dropped += 1;
        let left = std::mem::take(&mut block.calls[nth as usize]);
        let is_last = block.dropped == block.calls.len();
        // Who joined an open series later would be told nowhere. None of an open one has its end, and else it is closed.
        debug_assert_ne!(self.open_owner(), Some(Owner::Call(flow)));
        let flow = is_last.then(|| self.flows.remove(flow as usize));
        (left, flow)
    }
}
