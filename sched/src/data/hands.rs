//! What one slave holds: every task handed to it whose result has not come and whose withdrawal is not acknowledged.
//!
//! An entry stands for a task, or for a series of live ones.
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
//!                     gone      popped as soon as it is in front or last; it is not held any more
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::mem;

use crate::ids::Nanos;
use crate::offence::Offence;

/// A slave at rest keeps room for this many entries at most: an idle slave has a budget of memory.
const IDLE_ENTRIES_MAX: usize = 64;

#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Hold {
    Live,
    Withdrawn,
    Begun,
    Gone,
}

/// Where a task stands: a slave's slot, and the position in its hands.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Place {
    pub(crate) slave: u32,
    pub(crate) position: u32,
}

#[derive(Copy, Clone, Debug)]
pub(crate) struct Entry {
    /// The number of the first task.
    pub(crate) seq: u64,
    pub(crate) handed_out: Nanos,
    /// The slot of its record while `Live`; it may belong to another one afterwards.
    pub(crate) slot: u32,
    /// How many tasks.
    pub(crate) tasks: u32,
    /// How many tasks were handed out before it, modulo 2^32.
    pub(crate) position: u32,
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

impl Entry {
    /// Whether it is the task of this number, or one of them is.
    #[inline]
    fn holds(&self, task: u64) -> bool {
        task.checked_sub(self.seq)
            .is_some_and(|nth| nth < u64::from(self.tasks))
    }

    /// The first `tasks` of a series are elsewhere.
    #[inline]
    fn drop_front(&mut self, tasks: u32) {
        self.seq += u64::from(tasks);
        self.tasks -= tasks;
        self.position = self.position.wrapping_add(tasks);
    }
}

// One per task in flight; the budget is 32.
const _: () = assert!(mem::size_of::<Entry>() <= 32);

#[derive(Clone, Default, Debug)]
pub(crate) struct Hands {
    /// In the order handed out. Neither the first one nor the last one is `Gone`.
    entries: VecDeque<Entry>,
    /// The position of what is handed out next.
    pushed: u32,
    /// How many tasks are not `Gone`.
    held: u32,
    /// How many entries are: where none is, those behind the first one need not be looked at.
    gone: u32,
    /// The positions of the `Withdrawn` ones by task number.
    withdrawn: BTreeMap<u64, u32>,
    /// The first one is a task whose start was announced.
    announced: bool,
    /// How many entries stand before the packet that was handed out last.
    ahead: u32,
    /// How many tasks are neither `Gone` nor bound.
    loose: u32,
    pub(crate) asked: Asked,
    /// What is in them waits for others while it runs: nothing is put behind it.
    pub(crate) alone: bool,
    /// The longest that a task was expected to take, of what was handed out since there was one packet in them at most,
    /// and of the first one then.
    longest: Nanos,
    /// When the first one came to be the first, by the scheduler's clock.
    pub(crate) first_since: Nanos,
}

impl Hands {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.held as usize
    }

    /// The one that is answered next.
    #[inline]
    pub(crate) fn first(&self) -> Option<&Entry> {
        self.entries.front()
    }

    /// A packet is handed out; its tasks are pushed next.
    #[inline]
    pub(crate) fn begin_packet(&mut self, now: Nanos) {
        if self.has_room() {
            self.longest = 0;
        }
        self.ahead = self.entries.len() as u32;
        if self.ahead == 0 {
            self.first_since = now;
        }
        if self.asked == Asked::HadNone {
            self.asked = Asked::No;
        }
    }

    /// Whether there is room for another packet: the one that was handed out last is the only one in them, or all of it was given back.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.ahead == 0 && !self.alone
    }

    /// Whether nothing is known of how long those in them are expected to take.
    #[inline]
    pub(crate) fn expects_nothing(&self) -> bool {
        self.longest == 0
    }

    /// A task is handed out, or is the first, that is expected to take so long.
    #[inline]
    pub(crate) fn expect(&mut self, compute: Nanos) {
        self.longest = self.longest.max(compute);
    }

    /// No less than all in them are expected to take, with so many more tasks that take so long each.
    #[inline]
    pub(crate) fn compute_with(&self, more: u64, each: Nanos) -> Nanos {
        if self.alone {
            return Nanos::MAX;
        }
        let tasks = u64::from(self.held) + more;
        self.longest.max(each).saturating_mul(tasks)
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

    /// Takes `tasks` from number `seq` on. Returns the position, by which the entry is found until it is popped, or some
    /// of its tasks are.
    #[inline]
    pub(crate) fn push(
        &mut self,
        seq: u64,
        tasks: u32,
        slot: u32,
        handed_out: Nanos,
        bound: bool,
    ) -> u32 {
        let position = self.pushed;
        self.pushed = position.wrapping_add(tasks);
        self.entries.push_back(Entry {
            seq,
            handed_out,
            slot,
            tasks,
            position,
            hold: Hold::Live,
            bound,
        });
        self.held += tasks;
        self.loose += if bound { 0 } else { tasks };
        position
    }

    fn index_of(&self, position: u32) -> usize {
        let base = self.entries.front().map_or(0, |first| first.position);
        self.entries
            .binary_search_by_key(&position.wrapping_sub(base), |entry| {
                entry.position.wrapping_sub(base)
            })
            .expect("an entry is found by its position")
    }

    /// The entry at a position.
    pub(crate) fn at(&self, position: u32) -> &Entry {
        &self.entries[self.index_of(position)]
    }

    /// How many tasks are answered before the one at a position.
    pub(crate) fn before(&self, position: u32) -> u64 {
        let earlier = self.entries.iter().take(self.index_of(position));
        let held = earlier.filter(|entry| entry.hold != Hold::Gone);
        held.map(|entry| u64::from(entry.tasks)).sum()
    }

    /// The first `tasks` of the series at a position have this slot now.
    pub(crate) fn on_split(&mut self, position: u32, tasks: u32, slot: u32) {
        let index = self.index_of(position);
        let rest = &mut self.entries[index];
        let front = Entry {
            tasks,
            slot,
            ..*rest
        };
        rest.drop_front(tasks);
        self.entries.insert(index, front);
        self.ahead += u32::from(index < self.ahead as usize);
    }

    /// The entry of a task that the slave gives back, not having begun it.
    ///
    /// A search from the end, where such tasks stand.
    pub(crate) fn takeable_entry(&self, task: u64) -> Result<Entry, Offence> {
        let entry = self.entries.iter().rfind(|entry| entry.holds(task));
        let entry = entry.ok_or(Offence::NotHeld { task })?;
        match entry.hold {
            Hold::Live | Hold::Withdrawn if !entry.bound => Ok(*entry),
            Hold::Gone => Err(Offence::NotHeld { task }),
            _ => Err(Offence::NotTakeable { task }),
        }
    }

    /// The slave has given an entry back.
    pub(crate) fn give_back(&mut self, position: u32) {
        let entry = *self.at(position);
        if entry.hold == Hold::Withdrawn {
            self.withdrawn.remove(&entry.seq);
        }
        self.let_go(position);
    }

    fn let_go(&mut self, position: u32) {
        let index = self.index_of(position);
        let entry = &mut self.entries[index];
        entry.hold = Hold::Gone;
        self.gone += 1;
        self.held -= entry.tasks;
        self.loose -= if entry.bound { 0 } else { entry.tasks };
        self.drop_gone();
        self.drop_gone_behind();
    }

    /// What is gone at the end is as if it had never been handed out: without its last packet a slave has room again.
    fn drop_gone_behind(&mut self) {
        while let Some(last) = self.entries.back()
            && last.hold == Hold::Gone
        {
            self.pushed = last.position;
            self.gone -= 1;
            self.entries.pop_back();
        }
        if self.ahead as usize >= self.entries.len() {
            self.ahead = 0;
        }
    }

    /// Takes tasks that were answered out of the hands, the first of which is `task`: at most `most`, and none beyond
    /// the first entry, which is returned as it was.
    #[inline]
    pub(crate) fn on_results(&mut self, task: u64, most: u32) -> Result<Entry, Offence> {
        let entry = self.expect_first(task)?;
        let tasks = entry.tasks.min(most);
        if entry.hold == Hold::Withdrawn {
            self.withdrawn.remove(&task);
        }
        self.held -= tasks;
        self.loose -= if entry.bound { 0 } else { tasks };
        if tasks == entry.tasks {
            self.pop();
            self.drop_gone();
        } else {
            self.entries[0].drop_front(tasks);
            self.announced = false;
        }
        Ok(entry)
    }

    /// The entry of the task that runs, as its slave says.
    pub(crate) fn running(&self, task: u64) -> Result<Entry, Offence> {
        self.expect_first(task)
    }

    pub(crate) fn on_announce(&mut self, task: u64) -> Result<(), Offence> {
        self.expect_first(task)?;
        self.announced = true;
        Ok(())
    }

    pub(crate) fn withdraw(&mut self, position: u32) {
        let index = self.index_of(position);
        let entry = &mut self.entries[index];
        debug_assert_eq!((entry.hold, entry.tasks), (Hold::Live, 1));
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
        if begun {
            let index = self.index_of(position);
            self.entries[index].hold = Hold::Begun;
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

    /// All that is still in them, in the order handed out.
    pub(crate) fn into_held(self) -> impl Iterator<Item = Entry> {
        let entries = self.entries.into_iter();
        entries.filter(|entry| entry.hold != Hold::Gone)
    }

    /// For `sanity_check`.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
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
            .any(|entry| entry.holds(task) && entry.hold != Hold::Gone)
    }

    #[inline]
    fn drop_gone(&mut self) {
        while self.gone > 0
            && self
                .entries
                .front()
                .is_some_and(|first| first.hold == Hold::Gone)
        {
            self.gone -= 1;
            self.pop();
        }
        if self.entries.is_empty() {
            self.alone = false;
            if self.entries.capacity() > IDLE_ENTRIES_MAX {
                self.entries = VecDeque::new();
            }
        }
    }

    #[inline]
    fn pop(&mut self) {
        self.entries.pop_front();
        self.ahead = self.ahead.saturating_sub(1);
        self.announced = false;
    }

    pub(crate) fn check(&self) {
        let count = |counts: &dyn Fn(&Entry) -> bool| -> u32 {
            let entries = self.entries.iter().filter(|entry| counts(entry));
            entries.map(|entry| entry.tasks).sum()
        };
        let gone = self.entries().filter(|entry| entry.hold == Hold::Gone);
        assert_eq!(gone.count(), self.gone as usize, "gone entries are counted");
        let held = count(&|entry| entry.hold != Hold::Gone);
        assert_eq!(held, self.held, "hands count what they hold");
        let loose = count(&|entry| entry.hold != Hold::Gone && !entry.bound);
        assert_eq!(loose, self.loose, "hands count what may be taken back");
        for entry in &self.entries {
            let single = matches!(entry.hold, Hold::Withdrawn | Hold::Begun);
            assert!(
                entry.tasks == 1 || !single,
                "of a series every task is live"
            );
        }
        let ends = self
            .entries
            .iter()
            .map(|entry| entry.position.wrapping_add(entry.tasks));
        let starts = self.entries.iter().skip(1).map(|entry| entry.position);
        assert!(
            ends.eq(starts.chain(self.entries.back().map(|_| self.pushed))),
            "positions are tiled"
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
        assert!(
            self.entries
                .back()
                .is_none_or(|last| last.hold != Hold::Gone),
            "gone entries leave at the end"
        );
        assert!(
            !self.alone || !self.is_empty(),
            "who waits for others is there"
        );
        assert!(!self.announced || held > 0, "what was announced is held");
        let withdrawn = self.entries().filter(|entry| entry.hold == Hold::Withdrawn);
        let withdrawn: BTreeMap<u64, u32> =
            withdrawn.map(|entry| (entry.seq, entry.position)).collect();
        assert_eq!(withdrawn, self.withdrawn, "withdrawn entries are indexed");
    }
}
