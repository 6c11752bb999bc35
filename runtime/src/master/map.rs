//! A map: the tasks of an iterator, whose ends come back to where they were given.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringmw_sched::{AlgorithmId, Nanos, Owner, TaskId};

use super::error::TaskError;
use super::handle::Master;
use super::passes::{self, Refused, Waits};
use super::ready::{Ready, new_flow};
use super::reduce::Places;
use super::results::Done;
use super::submit::{RawTask, Run};
use super::window::{Kept, Room, SLICE, Slice};
use crate::proto::end::End;
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::Stream;
use crate::typed::task::Task;

impl Master {
    /// Runs every task of an iterator; see [`Map`].
    pub fn map<A, I>(&self, tasks: I) -> Map<A, I::IntoIter>
    where
        A: Algorithm,
        I: IntoIterator<Item = Task<A>>,
    {
        Map::new(self, tasks.into_iter())
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
    /// The index of its first task.
    begin: u64,
    next_index: u64,
    /// A task that had no room.
    next: Option<Task<A>>,
    window: Option<usize>,
    /// Ends until it is looked whether it is to be filled again, and of those the first.
    until_fill: usize,
    stride: usize,
    /// When it was filled last.
    filled_at: Nanos,
    /// The last slice of time was over before it was full.
    unfilled: bool,
    /// It yields in the order of submission.
    in_order: bool,
    /// Where its tasks stand, if it yields in order or its results are combined.
    pub(super) places: Option<Places>,
    /// Ends that were taken from the flow, those whose turn has come if in order: they are read without the master.
    taken: Ready,
    /// How many those are, for the flow.
    untold: Rc<Cell<usize>>,
    refused: Refused,
}

/// Where a map in order has come to: [`Map::position`].
///
/// The default is the beginning of a map that has not been made yet.
#[ringmw::wire]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The map's number, from 1; 0 for none.
    map: u64,
    index: u64,
}

impl Position {
    /// The index of the next task: where the iterator of a map that [resumes](Map::resume_at) there begins.
    pub fn index(&self) -> u64 {
        self.index
    }
}

/// A map sees whether it is to be filled again after it has given so many ends, at the latest.
const STRIDE_MAX: usize = 128;

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Map<A, I> {
    pub(super) fn new(mw: &Master, tasks: I) -> Self {
        let algorithm = mw.id_of::<A>();
        let (flow, number, untold) = mw.act(|state| {
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
            begin: 0,
            next_index: 0,
            next: None,
            window: None,
            until_fill: 0,
            stride: STRIDE_MAX,
            filled_at: 0,
            unfilled: false,
            in_order: false,
            places: None,
            taken: Ready::default(),
            untold,
            refused: Refused::default(),
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
            self.next_index, self.begin,
            "in_order comes before the first result is asked for"
        );
        (self.in_order, self.places) = (true, Some(Places::default()));
        self
    }

    /// Goes on where a map of an earlier life had come to, which said so by [`position`](Map::position): the iterator
    /// begins with the task that follows, that of [`Position::index`]. Of the default position it changes nothing.
    ///
    /// # Panics
    /// When results were asked for before.
    pub fn resume_at(mut self, at: Position) -> Self {
        assert_eq!(
            self.next_index, self.begin,
            "resume_at comes before the first result is asked for"
        );
        if at.map > 0 {
            let (algorithm, made) = (self.algorithm, self.number);
            self.mw
                .act(|state| state.renumber_map(algorithm, made, at.map));
            (self.number, self.begin, self.next_index) = (at.map, at.index, at.index);
        }
        self
    }

    /// Where it has come to: the results before it have been given. For [`Master::save`], and
    /// [`resume_at`](Map::resume_at) in the next life.
    ///
    /// # Panics
    /// Unless it is [`in_order`](Map::in_order): else what was given is not what comes before any place.
    pub fn position(&self) -> Position {
        assert!(
            self.in_order,
            "a position is of a map in order: add .in_order()"
        );
        let slot = self.flow as usize;
        let early = self.places.as_ref().map(Places::kept).unwrap_or_default();
        let out = self.mw.read(|state| {
            let flow = &state.flows[slot];
            flow.live + flow.ready.len()
        });
        let untold = out + early.tasks + self.taken.len();
        Position {
            map: self.number,
            index: self.next_index - untold as u64,
        }
    }

    /// Its ends are taken packet by packet, and it knows the place of each.
    pub(super) fn reduced(mut self) -> Self {
        assert_eq!(
            self.next_index, 0,
            "reduce comes before the first result is asked for"
        );
        (self.in_order, self.places) = (false, Some(Places::default()));
        self
    }

    /// Takes all ends of the next packet that has come; `None`: none is to come.
    pub(super) fn poll_packet(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let end = passes::poll(self, cx, |map| map.take_any(Ready::pop_packet));
        if let Poll::Ready(Some(end)) = &end {
            self.until_fill = self.until_fill.saturating_sub(end.count()).max(1);
        }
        self.go_on(cx, end)
    }

    /// Submits up to the window, for a slice of time at most: the slaves begin meanwhile, however slow the iterator is.
    fn fill(&mut self) {
        (self.unfilled, self.until_fill) = (false, STRIDE_MAX);
        if self.exhausted {
            return;
        }
        let early = self.places.as_ref().map(Places::kept).unwrap_or_default();
        let kept = Kept {
            tasks: self.taken.len() + early.tasks,
            bytes: self.taken.bytes() + early.bytes,
        };
        let (map, algorithm, window) = (self.flow, self.algorithm, self.window);
        let total = self.total();
        let mut room = self.mw.act(|state| {
            let room = state.map_room(map, algorithm, window, kept);
            state.flows[map as usize].total = total;
            state.set_source(map, room.is_wide());
            room
        });
        self.stride = room.stride().min(STRIDE_MAX);
        self.until_fill = self.stride;
        if self.next_index > self.begin && !room.is_worth_it() {
            return;
        }
        if let Some(task) = self.next.take()
            && !(room.has_any() && self.give(&task, &mut room).is_some())
        {
            self.next = Some(task);
            return;
        }
        let mut slice = Slice::new(&self.mw.inner.clock);
        while room.has_any() {
            // The user's iterator runs while nothing is borrowed: it may use the master itself. A task is lent where it
            // was made: moving it costs more than all else that is done with it here.
            let next = self.tasks.next();
            let Some(task) = &next else {
                self.exhaust();
                break;
            };
            let Some(id) = self.give(task, &mut room) else {
                self.next = next;
                break;
            };
            if slice.is_over(&self.mw.inner.clock) {
                self.unfilled = room.has_any();
                break;
            }
            if !self.give_alike(id, &mut room, &mut slice) {
                break;
            }
        }
        self.filled_at = slice.read_at();
    }

    /// How many tasks it has in all, those that are still to be asked for included, where the iterator knows.
    fn total(&self) -> Option<u64> {
        let (least, most) = self.tasks.size_hint();
        let given = self.next_index - self.begin + u64::from(self.next.is_some());
        (most == Some(least)).then(|| given.saturating_add(least as u64))
    }

    /// The iterator has ended.
    #[cold]
    fn exhaust(&mut self) {
        self.exhausted = true;
        self.mw.act(|state| state.set_source(self.flow, false));
    }

    /// Submits a task if there is room for it.
    fn give(&mut self, task: &Task<A>, room: &mut Room) -> Option<TaskId> {
        let task = RawTask::new(task);
        room.take(task.packet_bytes()).then(|| self.submit(task))
    }

    fn submit(&mut self, task: RawTask<'_>) -> TaskId {
        let stream = Stream {
            domain: self.number,
            index: self.next_index,
        };
        self.next_index += 1;
        let owner = Owner::Map(self.flow);
        let id = self.mw.push(self.algorithm, task, owner, stream);
        if let Some(places) = &mut self.places {
            places.on_given(id);
        }
        id
    }

    /// Submits what follows the task `id` while it is like that one, as most is: neither the room nor the clock is asked for
    /// each. False: no more is to be given.
    #[inline(always)]
    fn give_alike(&mut self, id: TaskId, room: &mut Room, slice: &mut Slice) -> bool {
        if slice.unread() == 0 || self.places.is_some() {
            return true;
        }
        let Some(run) = self.mw.run_of(id) else {
            return true;
        };
        if run.is_varied {
            return self.give_varied(run, room, slice);
        }
        let most = room.alike().min(slice.unread());
        let mut given = 0;
        while given < most {
            let next = self.tasks.next();
            let Some(task) = &next else {
                self.exhaust();
                return false;
            };
            if !self.mw.go_on(run, RawTask::new(task)) {
                room.take_alike(given);
                slice.pass_unread(given);
                if self.give(task, room).is_none() {
                    self.next = next;
                    return false;
                }
                return true;
            }
            self.next_index += 1;
            given += 1;
        }
        room.take_alike(given);
        slice.pass_unread(given);
        true
    }

    /// The same of tasks that differ in length: each is measured.
    #[inline(never)]
    fn give_varied(&mut self, run: Run, room: &mut Room, slice: &mut Slice) -> bool {
        let most = slice.unread();
        let mut given = 0;
        while given < most {
            let next = self.tasks.next();
            let Some(task) = &next else {
                self.exhaust();
                return false;
            };
            let raw = RawTask::new(task);
            if !room.take(raw.packet_bytes()) {
                self.next = next;
                return false;
            }
            given += 1;
            if !self.mw.go_on_varied(run, raw) {
                self.submit(raw);
                break;
            }
            self.next_index += 1;
        }
        slice.pass_unread(given);
        true
    }

    /// Fills it again where it may be time for that, also while ends are in hand.
    #[inline]
    fn refill(&mut self) {
        match self.until_fill {
            0 | 1 => self.fill_if_due(),
            _ => self.until_fill -= 1,
        }
    }

    /// Ends that are taken quickly are taken all before it is filled: what is filled at once makes long series.
    #[inline(never)]
    fn fill_if_due(&mut self) {
        let (clock, passes) = (&self.mw.inner.clock, &self.mw.inner.passes);
        // Answers read the clock often enough, but where each is a packet.
        let now = match self.places {
            None => passes.read_at(),
            Some(_) => clock.now(),
        };
        if clock.is_simulated() || now >= self.filled_at + SLICE {
            self.fill();
        } else {
            self.until_fill = self.stride;
        }
    }

    /// Takes the next end by itself.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        let end = passes::poll(self, cx, |map| map.take_any(Ready::pop));
        self.go_on(cx, end)
    }

    /// Takes the next end as an output, decoded where it came.
    #[inline]
    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<A::Output, TaskError>>> {
        // What is in hand, and is not the last before it is filled: most answers are such.
        if self.until_fill > 1
            && !self.taken.is_empty()
            && self.mw.may_answer(&self.refused)
            && let Some(output) = self.taken.pop_output::<A>()
        {
            self.until_fill -= 1;
            self.untold.set(self.taken.len());
            return Poll::Ready(Some(output));
        }
        self.poll_any_output(cx)
    }

    #[inline(never)]
    fn poll_any_output(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<A::Output, TaskError>>> {
        let end = passes::poll(self, cx, |map| map.take_any(Ready::pop_output::<A>));
        self.go_on(cx, end)
    }

    /// What its last slice did not fill is filled after the next pass.
    #[inline]
    fn go_on<R>(&self, cx: &mut Context<'_>, end: Poll<R>) -> Poll<R> {
        if end.is_pending() && self.unfilled {
            self.mw.ask_for_pass(cx.waker());
        }
        end
    }

    #[inline]
    fn take_any<R>(&mut self, mut take: impl FnMut(&mut Ready) -> Option<R>) -> Poll<Option<R>> {
        self.refill();
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
            None if self.is_over() => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Takes all ends that have come; if in order, those whose turn has come, and keeps the others.
    fn fetch(&mut self) {
        let (slot, taken) = (self.flow as usize, &mut self.taken);
        let places = self.places.as_mut().filter(|_| self.in_order);
        self.mw.take(|state| {
            let ready = &mut state.flows[slot].ready;
            let Some(places) = places else {
                return taken.take_all(ready);
            };
            while let Some(end) = ready.pop_packet() {
                places.sort(end, |end| _ = taken.push(end));
            }
        });
    }

    /// Whether no end is to come.
    fn is_over(&self) -> bool {
        let slot = self.flow as usize;
        self.exhausted && self.mw.read(|state| state.flows[slot].live == 0)
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
        Some(Done::of(end))
    }
}

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Waits for Map<A, I> {
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

impl<A: Algorithm, I: Iterator<Item = Task<A>> + Unpin> futures_util::Stream for Map<A, I> {
    type Item = Result<A::Output, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_output(cx)
    }
}

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Drop for Map<A, I> {
    fn drop(&mut self) {
        let flow = self.flow;
        // Outside: it may hold a waker.
        drop(self.mw.act(|state| state.drop_map(flow)));
    }
}
