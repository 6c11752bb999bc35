//! Ends that their call or map has not taken.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use ringmw_sched::TaskId;

use super::error::{TaskError, error_of, type_error};
use super::result::TaskResult;
use super::state::State;
use crate::proto::end::{Ends, TaskEnd};
use crate::typed::algorithm::Algorithm;

/// A call's or map's own ends.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) ready: Ready,
    /// Tasks whose end has not come.
    pub(crate) live: usize,
    pub(crate) waker: Option<Waker>,
    /// It submits as its tasks end, as much as all slaves can hold.
    pub(crate) is_source: bool,
    /// Ends that its map has taken and not told.
    pub(crate) taken: Rc<Cell<usize>>,
}

impl Flow {
    /// Its ends have come: who is to be woken.
    #[must_use]
    pub(super) fn tell(&mut self, ends: Ends) -> Option<Waker> {
        self.ready.push(ends);
        self.waker.take()
    }
}

/// Ends that their call or map has not taken: those of a packet are decoded where they came.
#[derive(Default)]
pub(crate) struct Ready {
    ends: VecDeque<Ends>,
    len: usize,
}

/// The next of them.
pub(crate) enum Next<'a> {
    /// A result, and where its output is.
    Done(TaskId, &'a [u8]),
    /// Any other end.
    End(TaskEnd),
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, ends: Ends) {
        self.len += ends.count();
        self.ends.push_back(ends);
    }

    /// Takes all of another's, where it has none itself.
    pub(crate) fn take_all(&mut self, other: &mut Ready) {
        debug_assert_eq!(self.len, 0);
        self.ends.clear();
        std::mem::swap(self, other);
        other.len = 0;
    }

    /// Takes the next one, by itself.
    pub(crate) fn pop(&mut self) -> Option<TaskEnd> {
        loop {
            if let Some(end) = self.ends.front_mut()?.next_end() {
                self.len -= 1;
                return Some(end);
            }
            self.ends.pop_front();
        }
    }

    /// Takes the next one and has it read in place.
    #[inline]
    pub(crate) fn take<R>(&mut self, read: impl FnOnce(Next<'_>) -> R) -> Option<R> {
        if let Some(Ends::Done(results)) = self.ends.front_mut()
            && let Some((id, output)) = results.next_output()
        {
            self.len -= 1;
            return Some(read(Next::Done(id, output)));
        }
        let end = self.pop()?;
        Some(read(Next::End(end)))
    }
}

pub(super) fn new_flow(state: &mut State) -> u32 {
    u32::try_from(state.flows.insert(Flow::default()))
        .expect("fewer than 2^32 calls and maps at once")
}

pub(super) fn no_error(end: &TaskEnd) -> Result<(), TaskError> {
    match end {
        TaskEnd::Done(_) => Ok(()),
        TaskEnd::Other(end) => error_of(end).map_or(Ok(()), Err),
    }
}

pub(super) fn output<A: Algorithm>(end: TaskEnd) -> Result<A::Output, TaskError> {
    no_error(&end)?;
    TaskResult::new(end).decode::<A>()
}

#[inline]
pub(super) fn output_of<A: Algorithm>(next: Next<'_>) -> Result<A::Output, TaskError> {
    match next {
        Next::Done(id, archive) => {
            crate::typed::wire::decode(archive).map_err(|error| type_error(id, error))
        }
        Next::End(end) => output::<A>(end),
    }
}
