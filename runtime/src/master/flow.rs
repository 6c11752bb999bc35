//! Calls and maps: tasks whose ends come back to where they were given.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::Stream;
use ringmw_sched::{AlgorithmId, Owner, TaskId};

use super::Master;
use super::end::{TaskError, TaskResult, error_of, type_error};
use super::state::{Flow, Next, RawTask, Ready, StreamOf};
use super::submission::{InOrder, Submission};
use crate::proto::master::TaskEnd;
use crate::typed::algorithm::{Algorithm, Task};

/// The future of one task's typed result. Dropping it takes the task back.
#[must_use = "dropping a call takes its task back"]
pub struct Call<A: Algorithm> {
    mw: Master,
    flow: u32,
    id: TaskId,
    done: bool,
    of: PhantomData<fn() -> A>,
}

impl<A: Algorithm> Call<A> {
    pub(super) fn new(mw: &Master, task: Task<A>) -> Self {
        let algorithm = mw.id_of::<A>();
        let (flow, id) = mw.with(|state| {
            let flow = new_flow(state);
            let stream = state.next_single(algorithm);
            (
                flow,
                state.submit(algorithm, RawTask::new(&task), Owner::Flow(flow), stream),
            )
        });
        Call {
            mw: mw.clone(),
            flow,
            id,
            done: false,
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
        let slot = self.flow;
        let end = self.mw.with(|state| {
            let flow = &mut state.flows[slot as usize];
            let end = flow.ready.pop();
            if end.is_none() {
                flow.waker = Some(cx.waker().clone());
            }
            end
        });
        match end {
            Some(end) => {
                self.done = true;
                Poll::Ready(output::<A>(end))
            }
            None => Poll::Pending,
        }
    }
}

impl<A: Algorithm> Drop for Call<A> {
    fn drop(&mut self) {
        let (flow, id, done) = (self.flow, self.id, self.done);
        self.mw.with(|state| {
            if !done {
                state.cancel(id);
            }
            state.flows.remove(flow as usize);
        });
    }
}

/// The typed results of an iterator's tasks, as they come or in order of submission.
///
/// It keeps itself filled to a window, so that an endless iterator runs in constant memory. Dropping
/// it takes back what is out. A task's end that is no output is an `Err` item; the map goes on.
#[must_use = "dropping a map takes its tasks back"]
pub struct Map<A: Algorithm, I: Iterator<Item = Task<A>>> {
    mw: Master,
    flow: u32,
    algorithm: AlgorithmId,
    tasks: I,
    /// The iterator has ended, and is not asked again.
    exhausted: bool,
    number: u64,
    next_index: u64,
    window: Option<usize>,
    in_order: Option<InOrder>,
    /// Ends that were taken from the flow, if in no order: they are read without the master.
    taken: Ready,
    /// How many those are, for the flow.
    untold: Rc<Cell<usize>>,
}

/// Tasks of a map beside those that the slaves can hold, at least.
const WINDOW_LEAST: usize = 1_024;

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Map<A, I> {
    pub(super) fn new(mw: &Master, tasks: I) -> Self {
        let algorithm = mw.id_of::<A>();
        let (flow, number, untold) = mw.with(|state| {
            let flow = new_flow(state);
            let untold = Rc::clone(&state.flows[flow as usize].taken);
            (flow, state.new_map(algorithm), untold)
        });
        Map {
            mw: mw.clone(),
            flow,
            algorithm,
            tasks,
            exhausted: false,
            number,
            next_index: 0,
            window: None,
            in_order: None,
            taken: Ready::default(),
            untold,
        }
    }

    /// At most `tasks` tasks are out, or ended and not yet taken; at least one.
    pub fn window(mut self, tasks: usize) -> Self {
        self.window = Some(tasks.max(1));
        self
    }

    /// Yields in the order of submission: what the answer is then does not depend on the slaves.
    pub fn in_order(mut self) -> Self {
        assert_eq!(
            self.next_index, 0,
            "in_order comes before the first result is asked for"
        );
        self.in_order = Some(VecDeque::new());
        self
    }

    /// Takes what has ended and submits up to the window.
    fn fill(&mut self) {
        if self.exhausted {
            return;
        }
        let hands = self.mw.hands(self.algorithm);
        let own = hands + (hands / 4).max(WINDOW_LEAST);
        let window = self.window.unwrap_or(own);
        let flow = self.flow as usize;
        let mut out = self.mw.peek(|state| {
            state.set_source(self.flow, window >= own);
            state.flows[flow].live + state.flows[flow].ready.len()
        });
        out += self.taken.len();
        if let Some(in_order) = &self.in_order {
            out = in_order.len();
        }
        // Refilling in strides costs less than one task for each result.
        if self.next_index > 0 && out > window - (window / 8).min(WINDOW_LEAST) {
            return;
        }
        let (owner, domain) = (Owner::Flow(self.flow), self.number);
        let in_order = self.in_order.as_mut();
        let mut submission = Submission::new(&self.mw, self.algorithm, owner, in_order);
        while out < window {
            // The user's iterator runs while nothing is borrowed: it may use the master itself.
            let next = self.tasks.next();
            let Some(task) = &next else {
                self.exhausted = true;
                self.mw.peek(|state| state.set_source(self.flow, false));
                break;
            };
            let index = self.next_index;
            self.next_index += 1;
            out += 1;
            submission.push(task, StreamOf { domain, index });
        }
    }

    /// Takes the next end by itself.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<TaskEnd>> {
        match self.in_order.is_some() {
            true => self.poll_in_order(cx),
            false => self.poll_taken(cx, Ready::pop),
        }
    }

    /// Takes the next end as an output, decoded where it came.
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<A::Output, TaskError>>> {
        match self.in_order.is_some() {
            true => self.poll_in_order(cx).map(|end| end.map(output::<A>)),
            false => self.poll_taken(cx, |ready| ready.take(output_of::<A>)),
        }
    }

    #[inline]
    fn poll_taken<R>(
        &mut self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Ready) -> Option<R>,
    ) -> Poll<Option<R>> {
        let mut end = take(&mut self.taken);
        if end.is_none() {
            self.fetch();
            end = take(&mut self.taken);
        }
        if end.is_none() {
            self.fill();
            self.fetch();
            end = take(&mut self.taken);
        }
        self.untold.set(self.taken.len());
        match end {
            Some(end) => Poll::Ready(Some(end)),
            None => self.wait(cx).map(|()| None),
        }
    }

    /// Takes all ends that have come.
    fn fetch(&mut self) {
        let (slot, taken) = (self.flow as usize, &mut self.taken);
        self.mw
            .peek(|state| taken.take_all(&mut state.flows[slot].ready));
    }

    /// Waits for an end, if there is one to come.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (slot, exhausted) = (self.flow as usize, self.exhausted);
        self.mw.peek(|state| {
            let flow = &mut state.flows[slot];
            if exhausted && flow.live == 0 {
                return Poll::Ready(());
            }
            flow.waker = Some(cx.waker().clone());
            Poll::Pending
        })
    }

    fn poll_in_order(&mut self, cx: &mut Context<'_>) -> Poll<Option<TaskEnd>> {
        self.fill();
        let slot = self.flow as usize;
        let in_order = self.in_order.as_mut().expect("asked of a map in order");
        if !matches!(in_order.front(), Some((_, Some(_)))) {
            self.mw.peek(|state| {
                let flow = &mut state.flows[slot];
                while let Some(end) = flow.ready.pop() {
                    let at = in_order
                        .binary_search_by(|(id, _)| id.cmp(&end.id()))
                        .expect("an end of this map belongs to one of its tasks");
                    in_order[at].1 = Some(end);
                }
                flow.waker = Some(cx.waker().clone());
            });
        }
        match in_order.front() {
            Some((_, Some(_))) => Poll::Ready(in_order.pop_front().and_then(|(_, end)| end)),
            None if self.exhausted => Poll::Ready(None),
            Some((_, None)) | None => Poll::Pending,
        }
    }

    /// The next result; `None` when the iterator is exhausted and every task has ended.
    pub async fn next(&mut self) -> Option<Result<A::Output, TaskError>> {
        std::future::poll_fn(|cx| self.poll_output(cx)).await
    }

    /// The next output; the first end that is none is the error.
    ///
    /// # Errors
    /// [`TaskError`]; the map can be asked on.
    pub async fn try_next(&mut self) -> Result<Option<A::Output>, TaskError> {
        self.next().await.transpose()
    }

    /// The next result with its task's id, slave and times.
    pub async fn next_done(&mut self) -> Option<Result<Done<A>, TaskError>> {
        let end = std::future::poll_fn(|cx| self.poll_end(cx)).await?;
        Some(Done::new(end))
    }
}

impl<A: Algorithm, I: Iterator<Item = Task<A>> + Unpin> Stream for Map<A, I> {
    type Item = Result<A::Output, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_output(cx)
    }
}

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Drop for Map<A, I> {
    fn drop(&mut self) {
        let flow = self.flow;
        self.mw.with(|state| state.drop_flow(flow));
    }
}

/// The stream of one algorithm's ends from the queue: see [`Master::results`].
pub struct Results<A: Algorithm> {
    mw: Master,
    algorithm: AlgorithmId,
    of: PhantomData<fn() -> A>,
}

impl<A: Algorithm> Results<A> {
    pub(super) fn new(mw: &Master) -> Self {
        Results {
            mw: mw.clone(),
            algorithm: mw.id_of::<A>(),
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
        let algorithm = self.algorithm;
        self.mw.with(|state| match state.queue.take_one(algorithm) {
            Some(Ok(result)) => {
                state.keep_ready_bounded();
                Poll::Ready(Some(Done::of_result(result)))
            }
            Some(Err(task)) => Poll::Ready(Some(Err(task.error()))),
            None if state.queue.live(algorithm) == 0 => Poll::Ready(None),
            None => {
                state.queue.wait(cx.waker());
                Poll::Pending
            }
        })
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
    fn new(end: TaskEnd) -> Result<Self, TaskError> {
        no_error(&end)?;
        Self::of_result(TaskResult::new(end))
    }

    fn of_result(result: TaskResult) -> Result<Self, TaskError> {
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

fn new_flow(state: &mut super::state::State) -> u32 {
    u32::try_from(state.flows.insert(Flow::default()))
        .expect("fewer than 2^32 calls and maps at once")
}

fn no_error(end: &TaskEnd) -> Result<(), TaskError> {
    match end {
        TaskEnd::Done(_) => Ok(()),
        TaskEnd::Other(end) => error_of(end).map_or(Ok(()), Err),
    }
}

fn output<A: Algorithm>(end: TaskEnd) -> Result<A::Output, TaskError> {
    no_error(&end)?;
    TaskResult::new(end).decode::<A>()
}

#[inline]
fn output_of<A: Algorithm>(next: Next<'_>) -> Result<A::Output, TaskError> {
    match next {
        Next::Done(id, archive) => {
            crate::typed::wire::decode(archive).map_err(|error| type_error(id, error))
        }
        Next::End(end) => output::<A>(end),
    }
}
