//! Ends that their call or map has not taken.

use std::any::TypeId;
use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use super::call::Block;
use super::converse::Chat;
use super::error::{TaskError, type_error};
use super::result::TaskResult;
use super::state::State;
use crate::proto::end::End;
use crate::typed::algorithm::Algorithm;
use crate::typed::wire::{self, WireError};

/// A call's or map's own ends.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) ready: Ready,
    /// Tasks whose end has not come.
    pub(crate) live: usize,
    /// Ends that came, ever, and what they took.
    pub(super) came: (u64, u64),
    pub(crate) waker: Option<Waker>,
    /// It submits as its tasks end, as much as all slaves can hold.
    pub(crate) is_source: bool,
    /// How many tasks it has in all, where it submits more and its iterator says how many.
    pub(super) total: Option<u64>,
    /// Ends that its map has taken and not told.
    pub(crate) taken: Rc<Cell<usize>>,
    /// The calls that it is of, if of any: each has its own end.
    pub(super) block: Option<Box<Block>>,
    /// What its task says, where that is conversed with.
    pub(super) chat: Option<Box<Chat>>,
}

impl Flow {
    /// Its ends have come: who is to be woken.
    #[inline]
    pub(super) fn tell(&mut self, end: End, woken: &mut Vec<Waker>) {
        if let Some(chat) = &mut self.chat {
            chat.is_over = true;
            chat.wake(woken);
        }
        if let Some(block) = &mut self.block {
            return block.tell(end, woken);
        }
        let count = end.count() as u64;
        let bytes = self.ready.push(end);
        self.came = (self.came.0 + count, self.came.1 + bytes);
        woken.extend(self.waker.take());
    }

    /// Ends that nobody has taken.
    pub(super) fn untold(&self) -> usize {
        let of_calls = self.block.as_ref().map_or(0, |block| block.untold());
        self.ready.len() + self.taken.get() + of_calls
    }
}

/// Ends that their call or map has not taken: those of a packet are decoded where they came.
#[derive(Default)]
pub(crate) struct Ready {
    /// Each with what it took when it came: the results of a packet keep it until the last one is taken.
    ends: VecDeque<(u64, End)>,
    len: usize,
    bytes: u64,
}

impl Ready {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What they take.
    #[inline]
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns what it takes.
    #[inline]
    pub(crate) fn push(&mut self, end: End) -> u64 {
        let bytes = end.ready_bytes();
        self.len += end.count();
        self.bytes += bytes;
        self.ends.push_back((bytes, end));
        bytes
    }

    /// Takes all of another's, where it has none itself.
    pub(crate) fn take_all(&mut self, other: &mut Ready) {
        debug_assert_eq!(self.len, 0);
        self.ends.clear();
        self.bytes = 0;
        std::mem::swap(self, other);
        other.len = 0;
    }

    /// Takes the next one, by itself.
    pub(crate) fn pop(&mut self) -> Option<End> {
        let end = match self.ends.front_mut()?.1.split_first() {
            Some(first) => first,
            None => self.pop_front()?,
        };
        self.len -= 1;
        Some(end)
    }

    /// Takes all of the next packet.
    pub(crate) fn pop_packet(&mut self) -> Option<End> {
        let end = self.pop_front()?;
        self.len -= end.count();
        Some(end)
    }

    /// Takes the next one as an output of `A`, decoded where it came.
    #[inline(always)]
    pub(crate) fn pop_output<A: Algorithm>(&mut self) -> Option<Result<A::Output, TaskError>> {
        let front = &mut self.ends.front_mut()?.1;
        let End::Done(results) = front else {
            return self.pop_other::<A>();
        };
        if results.info().of != TypeId::of::<A>() {
            return self.pop_other::<A>();
        }
        let (id, archive) = results.next_output()?;
        let output = read_output::<A>(archive, true).map_err(|error| type_error(id, error));
        if results.is_empty() {
            self.pop_front();
        }
        self.len -= 1;
        Some(output)
    }

    /// Of an end that is no output, or of another algorithm.
    #[cold]
    #[inline(never)]
    fn pop_other<A: Algorithm>(&mut self) -> Option<Result<A::Output, TaskError>> {
        self.pop().map(output::<A>)
    }

    #[inline(never)]
    fn pop_front(&mut self) -> Option<End> {
        let (bytes, end) = self.ends.pop_front()?;
        self.bytes -= bytes;
        Some(end)
    }
}

/// An output; if it is of this algorithm, it was checked as such when it came.
#[inline]
pub(super) fn read_output<A: Algorithm>(
    archive: &[u8],
    is_checked: bool,
) -> Result<A::Output, WireError> {
    match is_checked {
        // SAFETY: results are accepted when the check of their algorithm's own output has found them valid, which this is
        // of; and they lie in memory that nobody changes.
        true => unsafe { wire::decode_checked(archive) },
        false => wire::decode(archive),
    }
}

pub(super) fn new_flow(state: &mut State) -> u32 {
    u32::try_from(state.flows.insert(Flow::default()))
        .expect("fewer than 2^32 calls and maps at once")
}

pub(super) fn output<A: Algorithm>(end: End) -> Result<A::Output, TaskError> {
    TaskResult::of(end)?.decode::<A>()
}
