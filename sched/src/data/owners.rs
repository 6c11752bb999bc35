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
//!
//! There is such a ring for each level of priority, and an owner with tasks of several levels stands in each: it has a
//! share there of its own. What needs labels stands in no ring: a share for each owner, level and set of needs, looked at
//! by slaves that meet those. Most tasks have neither: their share is their owner's first one.

mod check;
mod live;
mod more;
mod queued;

use std::collections::{BTreeMap, BTreeSet};

use crate::data::list::{Linked, Links, List, NONE};
use crate::data::record::Record;
use crate::ids::{Nanos, Needs, Owner};
use crate::series::Series;
use crate::task::{PRIORITY_MAX, PRIORITY_MIN};

/// The slots of those that are always there.
const QUEUE: u32 = 0;
const CALLS: u32 = 1;

/// How many levels there are.
const LEVELS: usize = (PRIORITY_MAX - PRIORITY_MIN + 1) as usize;
/// The level of tasks for which none was given.
const PLAIN: u8 = -PRIORITY_MIN as u8;

/// What an owner has, at one level and with one set of needs.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    /// The owner's first share.
    owner: u32,
    level: u8,
    needs: Needs,
    /// Of another than the first: how many records have more that leads here.
    users: u32,
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
    const fn first(owner: u32, number: u32) -> Share {
        Share {
            owner,
            level: PLAIN,
            needs: Needs::NONE,
            users: 0,
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

/// What a record has beside what stands in it.
#[derive(Clone, Debug)]
struct More {
    share: u32,
    /// The number of its call, if it is one.
    call: u32,
    start_within: Nanos,
    /// What stands for `start_within` where the tasks of a series differ in it.
    each: Option<Box<EachWithin>>,
    /// How many records it is of: a series may be split.
    records: u32,
}

/// The `start_within` of each task of a series, and the number of the first.
#[derive(Clone, Debug)]
struct EachWithin {
    first: u64,
    within: Vec<Nanos>,
}

impl EachWithin {
    /// Of the tasks of a record, which are some of the series.
    fn of<P: Series>(&self, record: &Record<P>) -> &[Nanos] {
        &self.within[(record.seq - self.first) as usize..][..record.tasks() as usize]
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

/// All owners, and whose turn it is.
#[derive(Clone, Debug)]
pub(crate) struct Owners {
    shares: Shares,
    free: Vec<u32>,
    /// The slots of maps with live tasks, by number.
    maps: BTreeMap<u32, u32>,
    /// The map that was looked up last, with its slot: most are looked up again and again.
    last: Option<(u32, u32)>,
    /// By level: shares with queued tasks that need nothing, whose turn is next first.
    rings: [List; LEVELS],
    /// A bit for each level whose ring is not empty.
    levels: u8,
    /// Shares with queued tasks that need labels.
    needy: BTreeSet<u32>,
    /// All tasks in lines of the rings, and those of the queue among them; those that need labels.
    tasks: u64,
    queue_tasks: u64,
    needy_tasks: u64,
    /// Shares that are not their owner's first, by owner, level and needs.
    others: BTreeMap<(u32, u8, Needs), u32>,
    more: Vec<More>,
    free_more: Vec<u32>,
    /// Records that have a deadline.
    with_deadline: u64,
}

impl Owners {
    pub(crate) fn new() -> Self {
        Owners {
            shares: Shares(vec![Share::first(QUEUE, NONE), Share::first(CALLS, NONE)]),
            free: Vec::new(),
            maps: BTreeMap::new(),
            last: None,
            rings: [List::EMPTY; LEVELS],
            levels: 0,
            needy: BTreeSet::new(),
            tasks: 0,
            queue_tasks: 0,
            needy_tasks: 0,
            others: BTreeMap::new(),
            more: Vec::new(),
            free_more: Vec::new(),
            with_deadline: 0,
        }
    }

    fn add(&mut self, share: Share) -> u32 {
        let shares = &mut self.shares.0;
        match self.free.pop() {
            Some(slot) => {
                shares[slot as usize] = share;
                slot
            }
            None => {
                shares.push(share);
                shares.len() as u32 - 1
            }
        }
    }

    /// The share that a record belongs to.
    #[inline]
    fn slot_of<P: Series>(&self, record: &Record<P>) -> u32 {
        if record.has_more() {
            self.more[record.flow() as usize].share
        } else if record.of_queue() {
            QUEUE
        } else if record.of_call() {
            CALLS
        } else {
            record.flow()
        }
    }

    /// The first share of a record's map.
    #[inline]
    fn map_of<P: Series>(&self, record: &Record<P>) -> u32 {
        match record.has_more() {
            false => record.flow(),
            true => self.get(self.slot_of(record)).owner,
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

    /// How many tasks of this owner wait that any slave may run and that have no priority of their own.
    #[inline]
    pub(crate) fn waiting(&self, owner: Owner) -> u64 {
        let slot = match owner {
            Owner::Queue => QUEUE,
            Owner::Call(_) => CALLS,
            Owner::Map(number) => match self.last {
                Some((last, slot)) if last == number => slot,
                _ => match self.maps.get(&number) {
                    Some(slot) => *slot,
                    None => return 0,
                },
            },
        };
        self.get(slot).tasks
    }

    fn look_up(&mut self, number: u32) -> u32 {
        let slot = match self.maps.get(&number) {
            Some(&slot) => slot,
            None => {
                let slot = self.add(Share::first(NONE, number));
                self.get_mut(slot).owner = slot;
                self.maps.insert(number, slot);
                slot
            }
        };
        self.last = Some((number, slot));
        slot
    }

    /// Whose a task is.
    #[inline]
    pub(crate) fn of<P: Series>(&self, record: &Record<P>) -> Owner {
        if record.of_queue() {
            Owner::Queue
        } else if record.of_call() {
            Owner::Call(match record.has_more() {
                false => record.flow(),
                true => self.more[record.flow() as usize].call,
            })
        } else {
            Owner::Map(self.get(self.map_of(record)).number)
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
}
