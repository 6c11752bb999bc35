//! A map whose results are combined as they come, in the one tree of [`reduce`](crate::reduce).

use std::any::TypeId;
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ringmw_sched::TaskId;

use super::error::{TaskError, type_error};
use super::map::Map;
use super::ready::{output, read_output};
use super::window::Kept;
use crate::proto::end::{End, Results};
use crate::typed::algorithm::Algorithm;
use crate::typed::reduce::Tree;
use crate::typed::task::Task;

impl<A: Algorithm, I: Iterator<Item = Task<A>>> Map<A, I> {
    /// Combines all results into one: a future of it, `None` of no task.
    ///
    /// Which results meet is decided by their places in the map and by nothing else (the tree of
    /// [`ringmw::reduce`](crate::reduce)), so a floating-point sum has the same bits on any number of slaves, with any
    /// grouping, whatever happens to them. Held are a logarithm of the results, and those that came before their turn: at
    /// most a window. `merge` runs on the master's thread.
    ///
    /// # Errors
    /// The first place in the map that has no output, as soon as all before it have theirs; what is out is taken back
    /// then. [`holes`](Reduce::holes) goes on without such places.
    ///
    /// # Panics
    /// When a result has been asked for before.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn tail(from: u64) -> f64 {
    ///     (from..from + 1000).rev().map(|n| 1.0 / (n as f64 * n as f64)).sum()
    /// }
    ///
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let tails = (0..1000).map(|n| tail::task(1 + 1000 * n));
    ///     let sum = mw.map(tails).reduce(|a, b| a + b).await?;
    ///     println!("{}", (6.0 * sum.unwrap_or(0.0)).sqrt());
    ///     Ok(())
    /// }
    /// ```
    pub fn reduce<F>(self, merge: F) -> Reduce<A, I, F>
    where
        F: FnMut(A::Output, A::Output) -> A::Output,
    {
        Reduce {
            map: Some(self.reduced()),
            merge,
            tree: Tree::default(),
            holes: None,
        }
    }
}

/// The future of a map's results combined into one: see [`Map::reduce`]. Dropping it takes its tasks back.
#[must_use = "nothing is computed until it is awaited"]
pub struct Reduce<A: Algorithm, I: Iterator<Item = Task<A>>, F> {
    /// Until it has its answer: then what is out is taken back.
    map: Option<Map<A, I>>,
    merge: F,
    tree: Tree<A::Output>,
    /// Places without an output, if they are left out.
    holes: Option<Vec<(u64, TaskError)>>,
}

/// What a map's results came to, and the places that have none: see [`Reduce::holes`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Reduced<T> {
    /// All results combined; `None` of no result.
    pub value: Option<T>,
    /// The places in the map, from 0, whose tasks gave no output, ascending, and why.
    pub holes: Vec<(u64, TaskError)>,
}

// Nothing of it is ever pinned.
impl<A: Algorithm, I: Iterator<Item = Task<A>>, F> Unpin for Reduce<A, I, F> {}

impl<A, I, F> Reduce<A, I, F>
where
    A: Algorithm,
    I: Iterator<Item = Task<A>>,
    F: FnMut(A::Output, A::Output) -> A::Output,
{
    /// Leaves the places out that have no output, and names them: the value is that of
    /// [`ringmw::reduce`](crate::reduce) over the others.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn inverse(n: i64) -> Result<i64, String> {
    ///     10_i64.checked_div(n).ok_or_else(|| format!("{n} has none"))
    /// }
    ///
    /// async fn master(mw: Master, _args: Args) -> Result {
    ///     let inverses = mw.map((-5..5).map(inverse::task));
    ///     let all = inverses.reduce(|a, b| a + b).holes().await;
    ///     for (place, error) in &all.holes {
    ///         eprintln!("place {place}: {error}");
    ///     }
    ///     println!("{:?}", all.value);
    ///     Ok(())
    /// }
    /// ```
    pub async fn holes(mut self) -> Reduced<A::Output> {
        self.holes = Some(Vec::new());
        match (&mut self).await {
            Ok(value) => Reduced {
                value,
                holes: self.holes.take().unwrap_or_default(),
            },
            Err(_) => unreachable!("a place without an output is left out"),
        }
    }

    /// Takes the ends of a packet.
    fn take(&mut self, end: End) -> Result<(), TaskError> {
        self.take_in_turn(end)?;
        while let Some(end) = self.places().next_waiting() {
            self.take_in_turn(end)?;
        }
        Ok(())
    }

    fn places(&mut self) -> &mut Places {
        let places = self.map.as_mut().and_then(|map| map.places.as_mut());
        places.expect("ends come from a map that knows the places of its tasks")
    }

    /// Combines those whose turn it is, and keeps the others.
    fn take_in_turn(&mut self, end: End) -> Result<(), TaskError> {
        let mut results = match end {
            End::Done(results) => results,
            other => {
                return match self.places().is_next(other.id()) {
                    true => self.take_output(output::<A>(other)),
                    false => {
                        self.places().keep(other);
                        Ok(())
                    }
                };
            }
        };
        while !results.is_empty() {
            if self.places().is_next(results.id()) {
                self.take_following(&mut results)?;
            } else {
                let early = results.split_following();
                self.places().keep(End::Done(early));
            }
        }
        Ok(())
    }

    /// Combines results from the next one on, as far as their tasks follow one another.
    fn take_following(&mut self, results: &mut Results) -> Result<(), TaskError> {
        let mut expected = results.id();
        while !results.is_empty() && results.id() == expected {
            let is_checked = results.info().of == TypeId::of::<A>();
            let (id, archive) = results.next_output().expect("there is one");
            let output = read_output::<A>(archive, is_checked);
            let output = output.map_err(|error| type_error(id, error));
            self.take_output(output)?;
            expected = expected.after(1);
        }
        Ok(())
    }

    /// Takes what became of the task whose turn it is.
    #[inline]
    fn take_output(&mut self, output: Result<A::Output, TaskError>) -> Result<(), TaskError> {
        let place = self.places().step();
        match (output, &mut self.holes) {
            (Ok(output), _) => self.tree.push(output, &mut self.merge),
            (Err(error), Some(holes)) => holes.push((place, error)),
            (Err(error), None) => return Err(error),
        }
        Ok(())
    }
}

impl<A, I, F> Future for Reduce<A, I, F>
where
    A: Algorithm,
    I: Iterator<Item = Task<A>>,
    F: FnMut(A::Output, A::Output) -> A::Output,
{
    type Output = Result<Option<A::Output>, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        while let Some(map) = &mut this.map {
            let taken = match ready!(map.poll_packet(cx)) {
                Some(end) => this.take(end),
                None => break,
            };
            if let Err(error) = taken {
                this.map = None;
                return Poll::Ready(Err(error));
            }
        }
        this.map = None;
        Poll::Ready(Ok(this.tree.finish(&mut this.merge)))
    }
}

/// Where the tasks of a map stand in it, whose turn it is, and ends that came before theirs.
#[derive(Default)]
pub(super) struct Places {
    /// Tasks whose numbers follow one another, as most do.
    spans: VecDeque<Span>,
    given: u64,
    next: u64,
    /// By the place of the first, with what it took when it came.
    waiting: BTreeMap<u64, (u64, End)>,
    kept: Kept,
}

/// So many tasks, from this one on, which is at this place.
struct Span {
    first: TaskId,
    place: u64,
    tasks: u64,
}

impl Places {
    /// A task was submitted.
    #[inline]
    pub(super) fn on_given(&mut self, id: TaskId) {
        match self.spans.back_mut() {
            Some(span) if span.first.seq() + span.tasks == id.seq() => span.tasks += 1,
            _ => self.spans.push_back(Span {
                first: id,
                place: self.given,
                tasks: 1,
            }),
        }
        self.given += 1;
    }

    /// Ends that came before their turn.
    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    fn place_of(&self, id: TaskId) -> u64 {
        let after = self.spans.partition_point(|span| span.first <= id);
        let span = after.checked_sub(1).map(|at| &self.spans[at]);
        let span = span.expect("an end of this map belongs to one of its tasks");
        span.place + (id.seq() - span.first.seq())
    }

    #[inline]
    fn is_next(&self, id: TaskId) -> bool {
        self.place_of(id) == self.next
    }

    /// The one whose turn it is has ended: its place.
    #[inline]
    fn step(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        if let Some(span) = self.spans.front()
            && span.place + span.tasks <= self.next
            && self.spans.len() > 1
        {
            self.spans.pop_front();
        }
        place
    }

    /// Gives ends whose turn it is, and then those that waited for them; keeps the others.
    pub(super) fn sort(&mut self, end: End, mut give: impl FnMut(End)) {
        let mut next = Some(end);
        while let Some(end) = next {
            match end {
                End::Done(mut results) => {
                    while !results.is_empty() {
                        let part = results.split_following();
                        self.give_or_keep(End::Done(part), &mut give);
                    }
                }
                other => self.give_or_keep(other, &mut give),
            }
            next = self.next_waiting();
        }
    }

    /// Ends of tasks that follow one another in number, and so in place.
    fn give_or_keep(&mut self, end: End, give: &mut impl FnMut(End)) {
        if !self.is_next(end.id()) {
            return self.keep(end);
        }
        (0..end.count()).for_each(|_| _ = self.step());
        give(end);
    }

    fn keep(&mut self, end: End) {
        let bytes = end.ready_bytes();
        self.kept.tasks += end.count();
        self.kept.bytes += bytes;
        self.waiting.insert(self.place_of(end.id()), (bytes, end));
    }

    /// Takes what came before its turn, and whose turn it is now.
    fn next_waiting(&mut self) -> Option<End> {
        let first = self.waiting.first_entry()?;
        if *first.key() != self.next {
            return None;
        }
        let (bytes, end) = first.remove();
        self.kept.tasks -= end.count();
        self.kept.bytes -= bytes;
        Some(end)
    }
}
