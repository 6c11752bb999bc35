//! What one slave holds: every task handed to it whose result has not come and whose withdrawal is not acknowledged.
//!
//! ```text
//!            handed out                result
//!              ─────► live ─────────────────────────────► (popped)
//!                      │ │ given back when asked
//!                      │ └──────────────────────────────► gone
//!                      │ cancel                              ▲ ▲
//!                      ▼          acknowledged, begun        │ │
//!                  withdrawn ───────────► begun ─── result ──┘ │
//!                      │ │                                     │
//!                      │ └──────────────── result ─────────────┘
//!                      │ acknowledged, not begun
//!                      ▼
//!                     gone      popped as soon as it is in front; it is not held any more
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use crate::ids::Nanos;
use crate::outcome::Offence;

/// A slave at rest keeps room for this many entries at most: an idle slave has a budget of memory.
const IDLE_ENTRIES_MAX: usize = 64;

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Hold {
    Live,
    Withdrawn,
    Begun,
    Gone,
}

#[derive(Copy, Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) handed_out: Nanos,
    /// The task's slot while `Live`; it may belong to another task afterwards.
    pub(crate) slot: u32,
    pub(crate) hold: Hold,
    /// It is for this slave alone, and never taken back.
    pub(crate) bound: bool,
}

/// Whether the slave was asked to give tasks back that it has not begun.
#[derive(Copy, Clone, Eq, PartialEq, Default, Debug)]
pub(crate) enum Asked {
    #[default]
    No,
    /// Its answer is awaited.
    Waiting,
    /// It had none: until it is handed more, asking again is of no use.
    HadNone,
}

// One per task in flight; the budget is 32.
const _: () = assert!(mem::size_of::<Entry>() <= 32);

#[derive(Clone, Default, Debug)]
pub(crate) struct Hands {
    /// In the order handed out. The first one is never `Gone`.
    entries: VecDeque<Entry>,
    /// How many entries were popped, modulo 2^32: a position minus this is an index.
    popped: u32,
    /// How many entries are not `Gone`.
    held: u32,
    /// The positions of the `Withdrawn` ones by task number.
    withdrawn: BTreeMap<u64, u32>,
    /// The first one is a task whose start was announced.
    announced: bool,
    /// How many entries stand before the packet that was handed out last.
    ahead: u32,
    /// How many are neither `Gone` nor bound.
    loose: u32,
    pub(crate) asked: Asked,
    /// When the first one came to be the first, by the scheduler's clock.
    pub(crate) first_since: Nanos,
}

impl Hands {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.held as usize
    }

    /// The one that is answered next.
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// A packet is handed out; its tasks are pushed next.
    #[inline]
    pub(crate) fn begin_packet(&mut self, now: Nanos) {
        self.ahead = self.entries.len() as u32;
        if self.ahead == 0 {
            self.first_since = now;
        }
        if self.asked == Asked::HadNone {
            self.asked = Asked::No;
        }
    }

    /// Whether the packet that was handed out last is the only one in them.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.ahead == 0
    }

    /// How many could be given back: all that are not bound, but for the first one, which runs.
    #[inline]
    pub(crate) fn takeable(&self) -> u32 {
        self.loose.min(self.held.saturating_sub(1))
    }

    /// When its last packet was handed out.
    pub(crate) fn last_handed_out(&self) -> Option<Nanos> {
        self.entries.back().map(|last| last.handed_out)
    }

    /// Returns the position, which stays valid until the entry is popped.
    #[inline]
    pub(crate) fn push(&mut self, seq: u64, slot: u32, handed_out: Nanos, bound: bool) -> u32 {
        let position = self.popped.wrapping_add(self.entries.len() as u32);
        self.entries.push_back(Entry {
            seq,
            handed_out,
            slot,
            hold: Hold::Live,
            bound,
        });
        self.held += 1;
        self.loose += u32::from(!bound);
        position
    }

    /// The entry at a position.
    pub(crate) fn at(&self, position: u32) -> &Entry {
        &self.entries[position.wrapping_sub(self.popped) as usize]
    }

    /// The slave has given a task back that it had not begun. Returns the entry and its position.
    ///
    /// A search from the end, where such tasks stand.
    pub(crate) fn give_back(&mut self, task: u64) -> Result<(Entry, u32), Offence> {
        let index = self
            .entries
            .iter()
            .rposition(|entry| entry.seq == task)
            .ok_or(Offence::NotHeld { task })?;
        let entry = self.entries[index];
        match entry.hold {
            Hold::Live | Hold::Withdrawn if !entry.bound => {}
            Hold::Gone => return Err(Offence::NotHeld { task }),
            _ => return Err(Offence::NotTakeable { task }),
        }
        if entry.hold == Hold::Withdrawn {
            self.withdrawn.remove(&task);
        }
        let position = self.popped.wrapping_add(index as u32);
        self.let_go(position);
        Ok((entry, position))
    }

    fn let_go(&mut self, position: u32) {
        let entry = &mut self.entries[position.wrapping_sub(self.popped) as usize];
        entry.hold = Hold::Gone;
        self.held -= 1;
        self.loose -= u32::from(!entry.bound);
        self.drop_gone();
    }

    /// Takes the task that was answered out of the hands.
    #[inline]
    pub(crate) fn on_result(&mut self, task: u64) -> Result<Entry, Offence> {
        let entry = self.expect_first(task)?;
        if entry.hold == Hold::Withdrawn {
            self.withdrawn.remove(&task);
        }
        self.held -= 1;
        self.loose -= u32::from(!entry.bound);
        self.pop();
        self.drop_gone();
        Ok(entry)
    }

    pub(crate) fn on_announce(&mut self, task: u64) -> Result<(), Offence> {
        self.expect_first(task)?;
        self.announced = true;
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, position: u32) {
        let entry = &mut self.entries[position.wrapping_sub(self.popped) as usize];
        debug_assert_eq!(entry.hold, Hold::Live);
        entry.hold = Hold::Withdrawn;
        self.withdrawn.insert(entry.seq, position);
    }

    pub(crate) fn on_withdrawn(&mut self, task: u64, begun: bool) -> Result<(), Offence> {
        let Some(position) = self.withdrawn.remove(&task) else {
            let held = self.holds(task);
            return Err(if held {
                Offence::NotWithdrawn { task }
            } else {
                Offence::NotHeld { task }
            });
        };
        let entry = &mut self.entries[position.wrapping_sub(self.popped) as usize];
        if begun {
            entry.hold = Hold::Begun;
        } else {
            self.let_go(position);
        }
        Ok(())
    }

    /// The number of the live task whose start was announced.
    pub(crate) fn announced(&self) -> Option<u64> {
        let first = self
            .entries
            .front()
            .filter(|first| first.hold == Hold::Live)?;
        self.announced.then_some(first.seq)
    }

    /// All that is still in them with their positions, in the order handed out.
    pub(crate) fn into_held(self) -> impl Iterator<Item = (u32, Entry)> {
        let popped = self.popped;
        (0u32..)
            .map(move |index| popped.wrapping_add(index))
            .zip(self.entries)
            .filter(|(_, entry)| entry.hold != Hold::Gone)
    }

    /// For `sanity_check`: with their positions.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        (0u32..)
            .map(|index| self.popped.wrapping_add(index))
            .zip(&self.entries)
    }

    #[inline]
    fn expect_first(&self, task: u64) -> Result<Entry, Offence> {
        match self.entries.front() {
            Some(first) if first.seq == task => Ok(*first),
            _ => Err(self.offence(task)),
        }
    }

    #[cold]
    fn offence(&self, task: u64) -> Offence {
        match self.entries.front() {
            Some(first) if self.holds(task) => Offence::OutOfOrder {
                task,
                expected: first.seq,
            },
            _ => Offence::NotHeld { task },
        }
    }

    /// A search; for offenders alone.
    fn holds(&self, task: u64) -> bool {
        self.entries
            .iter()
            .any(|entry| entry.seq == task && entry.hold != Hold::Gone)
    }

    #[inline]
    fn drop_gone(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|first| first.hold == Hold::Gone)
        {
            self.pop();
        }
        if self.entries.is_empty() && self.entries.capacity() > IDLE_ENTRIES_MAX {
            self.entries = VecDeque::new();
        }
    }

    #[inline]
    fn pop(&mut self) {
        self.entries.pop_front();
        self.popped = self.popped.wrapping_add(1);
        self.ahead = self.ahead.saturating_sub(1);
        self.announced = false;
    }

    pub(crate) fn check(&self) {
        let held = self
            .entries
            .iter()
            .filter(|entry| entry.hold != Hold::Gone)
            .count();
        assert_eq!(held, self.len(), "hands count what they hold");
        let loose = self
            .entries
            .iter()
            .filter(|entry| entry.hold != Hold::Gone && !entry.bound);
        assert_eq!(
            loose.count(),
            self.loose as usize,
            "hands count what may be taken back"
        );
        assert!(
            self.ahead as usize <= self.entries.len() && (self.ahead == 0 || !self.is_empty()),
            "a packet begins within the hands"
        );
        assert!(
            self.entries
                .front()
                .is_none_or(|first| first.hold != Hold::Gone),
            "gone entries leave"
        );
        assert!(!self.announced || held > 0, "what was announced is held");
        let withdrawn = self
            .entries()
            .filter(|(_, entry)| entry.hold == Hold::Withdrawn);
        let withdrawn: BTreeMap<u64, u32> = withdrawn
            .map(|(position, entry)| (entry.seq, position))
            .collect();
        assert_eq!(withdrawn, self.withdrawn, "withdrawn entries are indexed");
    }
}
