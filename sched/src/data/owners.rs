//! Whose the tasks are: the queue's, those of calls, or a map's. Of queued tasks that any slave may run each owner has a
//! line of its own, and owners take turns: a packet begins with the first in the ring, takes what is left from the next
//! ones if that has no more, and who gave its last task stands behind all others.
//!
//! ```text
//!   ring    map 7 ─────► queue ─────► calls ─────► map 3
//!             │            │            │            │
//!   line    o o o o      o o o         o o         o o o o o o
//! ```
//!
//! Calls are one owner: they share a turn, in the order submitted. So many calls together take no more from a map than
//! another map would.

use std::collections::BTreeMap;

use crate::data::list::{Linked, Links, List, NONE};
use crate::data::record::Record;
use crate::data::tasks::Tasks;
use crate::ids::Owner;
use crate::series::Series;

/// The slots of those that are always there.
const QUEUE: u32 = 0;
const CALLS: u32 = 1;

/// What an owner has.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// A map's number.
    number: u32,
    /// Its queued records that any slave may run, and how many tasks they stand for.
    line: List,
    tasks: u64,
    /// Its tasks in slaves' hands that are not cancelled.
    held: u64,
    /// A map's live records, queued or held, and what their tasks take in packets.
    live: List,
    bytes: u64,
    /// Its neighbours in the ring, while it has queued tasks.
    ring: Links,
}

impl Share {
    const fn of_map(number: u32) -> Share {
        Share {
            number,
            line: List::EMPTY,
            tasks: 0,
            held: 0,
            live: List::EMPTY,
            bytes: 0,
            ring: Links::NONE,
        }
    }
}

#[derive(Clone, Debug)]
struct Shares(Vec<Share>);

impl Linked for Shares {
    #[inline]
    fn links(&self, at: u32) -> Links {
        self.0[at as usize].ring
    }

    #[inline]
    fn links_mut(&mut self, at: u32) -> &mut Links {
        &mut self.0[at as usize].ring
    }
}

/// The records of maps, seen through the links between those of one map.
struct Siblings<'a, P>(&'a mut Tasks<P>);

impl<P: Series> Linked for Siblings<'_, P> {
    #[inline]
    fn links(&self, at: u32) -> Links {
        self.0.get(at).siblings
    }

    #[inline]
    fn links_mut(&mut self, at: u32) -> &mut Links {
        &mut self.0.get_mut(at).siblings
    }
}

/// All owners, and whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    shares: Shares,
    free: Vec<u32>,
    /// The slots of maps with live tasks, by number.
    maps: BTreeMap<u32, u32>,
    /// The map that was looked up last, with its slot: most are looked up again and again.
    last: Option<(u32, u32)>,
    /// Owners with queued tasks, whose turn is next first.
    ring: List,
    /// All tasks in lines.
    tasks: u64,
}

impl Owners {
    pub(crate) fn new() -> Self {
        Owners {
            shares: Shares(vec![Share::of_map(NONE), Share::of_map(NONE)]),
            free: Vec::new(),
            maps: BTreeMap::new(),
            last: None,
            ring: List::EMPTY,
            tasks: 0,
        }
    }

    /// The slot of an owner that submits.
    #[inline]
    pub(crate) fn slot(&mut self, owner: Owner) -> u32 {
        match owner {
            Owner::Queue => QUEUE,
            Owner::Call(_) => CALLS,
            Owner::Map(number) => match self.last {
                Some((last, slot)) if last == number => slot,
                _ => self.look_up(number),
            },
        }
    }

    fn look_up(&mut self, number: u32) -> u32 {
        let (shares, free) = (&mut self.shares.0, &mut self.free);
        let slot = *self.maps.entry(number).or_insert_with(|| {
            let share = Share::of_map(number);
            match free.pop() {
                Some(slot) => {
                    shares[slot as usize] = share;
                    slot
                }
                None => {
                    shares.push(share);
                    shares.len() as u32 - 1
                }
            }
        });
        self.last = Some((number, slot));
        slot
    }

    /// Whose a task is.
    #[inline]
    pub(crate) fn of<P: Series>(&self, record: &Record<P>) -> Owner {
        if record.of_queue() {
            Owner::Queue
        } else if record.of_call() {
            Owner::Call(record.flow())
        } else {
            Owner::Map(self.get(record.flow()).number)
        }
    }

    #[inline]
    fn get(&self, slot: u32) -> &Share {
        &self.shares.0[slot as usize]
    }

    #[inline]
    fn get_mut(&mut self, slot: u32) -> &mut Share {
        &mut self.shares.0[slot as usize]
    }

    // ---- what lives

    /// A record of a task that begins to live.
    #[inline]
    pub(crate) fn on_begun<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        if record.of_map() {
            let share = &mut self.shares.0[record.flow() as usize];
            share.bytes += record.bytes_of_tasks();
            share.live.push_back(&mut Siblings(tasks), at);
        }
    }

    /// What stands before a record now was split off it; `before` is what they took together.
    #[inline]
    pub(crate) fn on_split<P: Series>(
        &mut self,
        tasks: &mut Tasks<P>,
        at: u32,
        front: u32,
        before: u64,
    ) {
        let record = tasks.get(at);
        if record.of_map() {
            let parts = record.bytes_of_tasks() + tasks.get(front).bytes_of_tasks();
            let share = &mut self.shares.0[record.flow() as usize];
            share.bytes = share.bytes - before + parts;
            share.live.insert_before(&mut Siblings(tasks), at, front);
        }
    }

    /// A record is going to be freed: it is queued no more, nor held.
    #[inline]
    pub(crate) fn on_ended<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        if record.of_map() {
            let slot = record.flow();
            let share = &mut self.shares.0[slot as usize];
            share.bytes -= record.bytes_of_tasks();
            share.live.remove(&mut Siblings(tasks), at);
            if share.live.is_empty() {
                self.forget(slot);
            }
        }
    }

    /// The first tasks of a record have ended, and others are left; `before` is what they took together.
    #[inline]
    pub(crate) fn on_front_ended<P: Series>(&mut self, record: &Record<P>, before: u64) {
        if record.of_map() {
            let share = self.get_mut(record.flow());
            share.bytes = share.bytes - before + record.bytes_of_tasks();
        }
    }

    /// What the live tasks of a map take in packets.
    pub(crate) fn bytes_of_map(&self, number: u32) -> u64 {
        let slot = self.maps.get(&number);
        slot.map_or(0, |&slot| self.get(slot).bytes)
    }

    /// A map has nothing that lives.
    fn forget(&mut self, slot: u32) {
        let number = self.get(slot).number;
        debug_assert_eq!((self.get(slot).held, self.get(slot).tasks), (0, 0));
        self.maps.remove(&number);
        self.last = None;
        self.free.push(slot);
    }

    /// The live records of a map.
    pub(crate) fn live_of_map<P: Series>(
        &self,
        number: u32,
        tasks: &Tasks<P>,
    ) -> impl Iterator<Item = u32> {
        let slot = self.maps.get(&number);
        let first = slot.and_then(|&slot| self.get(slot).live.front());
        std::iter::successors(first, |&at| {
            let next = tasks.get(at).siblings.next;
            (next != NONE).then_some(next)
        })
    }

    /// So many tasks of a record went into a slave's hands.
    #[inline]
    pub(crate) fn on_held<P: Series>(&mut self, record: &Record<P>, tasks: u32) {
        self.get_mut(slot_of(record)).held += u64::from(tasks);
    }

    /// So many tasks of a record are in no slave's hands any more.
    #[inline]
    pub(crate) fn on_let_go<P: Series>(&mut self, record: &Record<P>, tasks: u32) {
        self.get_mut(slot_of(record)).held -= u64::from(tasks);
    }

    // ---- what is queued

    /// How many tasks are queued.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.tasks
    }

    /// Whether something may be handed out.
    #[inline]
    pub(crate) fn has_work(&self, hold_queue: bool) -> bool {
        self.next(hold_queue).is_some()
    }

    /// How many may be handed out.
    pub(crate) fn work(&self, hold_queue: bool) -> u64 {
        let held_back = if hold_queue { self.get(QUEUE).tasks } else { 0 };
        self.tasks - held_back
    }

    /// Whose turn it is, of those that may hand out.
    #[inline]
    pub(crate) fn next(&self, hold_queue: bool) -> Option<u32> {
        match self.ring.front() {
            Some(QUEUE) if hold_queue => self.behind(QUEUE),
            front => front,
        }
    }

    /// Who stands behind this owner in the ring.
    fn behind(&self, slot: u32) -> Option<u32> {
        let next = self.get(slot).ring.next;
        (next != NONE).then_some(next)
    }

    /// The oldest task of an owner in the ring.
    #[inline]
    pub(crate) fn front_of(&self, slot: u32) -> u32 {
        let front = self.get(slot).line.front();
        front.expect("who stands in the ring has queued tasks")
    }

    /// The task that would be handed out next.
    #[inline]
    pub(crate) fn front(&self, hold_queue: bool) -> Option<u32> {
        Some(self.front_of(self.next(hold_queue)?))
    }

    /// The first in the ring that may hand out and has fewer tasks in the slaves' hands than its share of `takers`
    /// slaves; a few are looked at.
    pub(crate) fn first_short(&self, hold_queue: bool, takers: u32) -> Option<u32> {
        /// So many owners are looked at.
        const LOOKS: usize = 8;
        let fair = u64::from((takers / self.ring.len().max(1)).max(1));
        let ring = std::iter::successors(self.ring.front(), |&at| self.behind(at));
        ring.take(LOOKS)
            .filter(|&at| !(hold_queue && at == QUEUE))
            .find(|&at| self.get(at).held < fair)
    }

    /// It is this owner's turn.
    pub(crate) fn make_next(&mut self, slot: u32) {
        self.ring.remove(&mut self.shares, slot);
        self.ring.push_front(&mut self.shares, slot);
    }

    /// An owner has had its turn.
    #[inline]
    pub(crate) fn on_served(&mut self, slot: u32) {
        if self.ring.len() > 1 && self.get(slot).tasks > 0 {
            self.ring.remove(&mut self.shares, slot);
            self.ring.push_back(&mut self.shares, slot);
        }
    }

    /// Queues a record behind all others of its owner.
    #[inline]
    pub(crate) fn push_back<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let slot = self.on_queued(tasks.get(at));
        self.get_mut(slot).line.push_back(tasks, at);
    }

    /// Queues a record before all others of its owner, whose turn comes no sooner by that.
    pub(crate) fn push_front<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let slot = self.on_queued(tasks.get(at));
        self.get_mut(slot).line.push_front(tasks, at);
    }

    /// Counts the tasks of a record that comes. Whose it is, who stands in the ring now.
    #[inline]
    fn on_queued<P: Series>(&mut self, record: &Record<P>) -> u32 {
        let (slot, tasks) = (slot_of(record), u64::from(record.tasks()));
        self.tasks += tasks;
        let share = self.get_mut(slot);
        share.tasks += tasks;
        if share.line.is_empty() {
            self.ring.push_back(&mut self.shares, slot);
        }
        slot
    }

    /// The series that a queued record stands for was split: this is its front.
    pub(crate) fn on_line_split<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32, front: u32) {
        let slot = slot_of(tasks.get(at));
        let line = &mut self.get_mut(slot).line;
        line.insert_before(tasks, at, front);
    }

    /// Takes a record out of its line.
    pub(crate) fn remove<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        let (slot, count) = (slot_of(record), record.tasks());
        self.get_mut(slot).line.remove(tasks, at);
        self.on_fewer(slot, count);
    }

    /// Tasks of the front of an owner's line have gone into a slave's hands: all of them, and these were its links, or
    /// some.
    #[inline]
    pub(crate) fn on_front_gone(&mut self, slot: u32, tasks: u32, all: Option<Links>) {
        if let Some(links) = all {
            self.get_mut(slot).line.on_front_gone(links);
        }
        self.on_fewer(slot, tasks);
    }

    #[inline]
    fn on_fewer(&mut self, slot: u32, tasks: u32) {
        self.tasks -= u64::from(tasks);
        let share = self.get_mut(slot);
        share.tasks -= u64::from(tasks);
        if share.tasks == 0 {
            self.ring.remove(&mut self.shares, slot);
        }
    }

    // ---- for `sanity_check`

    /// Every owner with its slot.
    fn all(&self) -> impl Iterator<Item = (u32, &Share)> {
        let shares = (0u32..).zip(&self.shares.0);
        shares.filter(|(slot, _)| !self.free.contains(slot))
    }

    /// The records in the lines, each with whether the line is its owner's.
    pub(crate) fn checked_slots<P: Series>(&self, tasks: &Tasks<P>) -> Vec<u32> {
        let mut slots = Vec::new();
        for (slot, share) in self.all() {
            let line = share.line.checked_slots(|at| tasks.links(at));
            for &at in &line {
                assert_eq!(
                    slot_of(tasks.get(at)),
                    slot,
                    "a task is in its owner's line"
                );
            }
            slots.extend(line);
        }
        slots
    }

    /// Re-derives counters, ring, and what lives of each map.
    pub(crate) fn check<P: Series>(&self, tasks: &Tasks<P>) {
        let mut anew: BTreeMap<u32, (u64, u64, Vec<u32>)> = BTreeMap::new();
        for (at, record) in tasks.iter() {
            let (queued, held, live) = anew.entry(slot_of(record)).or_default();
            if record.is_held() {
                *held += u64::from(record.tasks());
            } else if record.bound_to().is_none() {
                *queued += u64::from(record.tasks());
            }
            if record.of_map() {
                live.push(at);
            }
        }
        let mut in_ring = self.ring.checked_slots(|slot| self.get(slot).ring);
        in_ring.sort_unstable();
        let mut sum = 0;
        let mut with_tasks = Vec::new();
        for (slot, share) in self.all() {
            let (queued, held, mut expected) = anew.remove(&slot).unwrap_or_default();
            assert_eq!(
                (share.tasks, share.held),
                (queued, held),
                "an owner's tasks"
            );
            let mut live = share.live.checked_slots(|at| tasks.get(at).siblings);
            let bytes = live.iter().map(|&at| tasks.get(at).bytes_of_tasks());
            assert_eq!(bytes.sum::<u64>(), share.bytes, "bytes of a map");
            live.sort_unstable();
            expected.sort_unstable();
            assert_eq!(live, expected, "what lives of a map is linked");
            if queued > 0 {
                with_tasks.push(slot);
            }
            sum += queued;
            let is_map = slot != QUEUE && slot != CALLS;
            assert_eq!(
                self.maps.get(&share.number) == Some(&slot),
                is_map && !live.is_empty(),
                "a map is found while something of it lives"
            );
        }
        assert!(anew.is_empty(), "every task has its owner");
        assert_eq!(
            in_ring, with_tasks,
            "who has queued tasks stands in the ring"
        );
        assert_eq!(sum, self.tasks, "queued tasks are counted");
        assert!(
            self.last
                .is_none_or(|(number, slot)| self.maps.get(&number) == Some(&slot)),
            "who was looked up last is there"
        );
    }
}

/// Whose a task is, by slot.
#[inline]
fn slot_of<P: Series>(record: &Record<P>) -> u32 {
    if record.of_queue() {
        QUEUE
    } else if record.of_call() {
        CALLS
    } else {
        record.flow()
    }
}
