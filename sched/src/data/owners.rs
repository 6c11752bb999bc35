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

use std::collections::{BTreeMap, BTreeSet};

use crate::data::list::{Linked, Links, List, NONE};
use crate::data::record::Record;
use crate::data::tasks::Tasks;
use crate::ids::{AlgorithmId, Nanos, Needs, Owner};
use crate::series::Series;
use crate::task::{PRIORITY_MAX, PRIORITY_MIN, Policy, TaskSpec};

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

    /// What a record of this kind has as its flow. The first task has that number; where the tasks differ in their
    /// `start_within`, `each` has theirs.
    #[inline]
    pub(crate) fn flow(&mut self, spec: &TaskSpec, first: u64, each: Vec<Nanos>) -> u32 {
        let owner = self.slot(spec.owner);
        match spec.owner {
            _ if !spec.policy.is_without_more() => self.add_more(spec, owner, (first, each)),
            Owner::Call(call) => call,
            Owner::Queue | Owner::Map(_) => owner,
        }
    }

    #[cold]
    fn add_more(&mut self, spec: &TaskSpec, owner: u32, each: (u64, Vec<Nanos>)) -> u32 {
        let (first, within) = each;
        let Policy {
            priority,
            needs,
            start_within,
            ..
        } = spec.policy;
        let level = (priority - PRIORITY_MIN) as u8;
        let share = match (level, needs) {
            (PLAIN, needs) if needs == Needs::NONE => owner,
            _ => self.other_share(owner, level, needs),
        };
        self.get_mut(share).users += 1;
        self.with_deadline += u64::from(start_within != Nanos::MAX);
        let more = More {
            share,
            call: match spec.owner {
                Owner::Call(call) => call,
                Owner::Queue | Owner::Map(_) => 0,
            },
            start_within,
            each: (!within.is_empty()).then(|| Box::new(EachWithin { first, within })),
            records: 1,
        };
        match self.free_more.pop() {
            Some(at) => {
                self.more[at as usize] = more;
                at
            }
            None => {
                self.more.push(more);
                self.more.len() as u32 - 1
            }
        }
    }

    fn other_share(&mut self, owner: u32, level: u8, needs: Needs) -> u32 {
        if let Some(&share) = self.others.get(&(owner, level, needs)) {
            return share;
        }
        let share = Share {
            level,
            needs,
            ..Share::first(owner, self.get(owner).number)
        };
        let slot = self.add(share);
        self.others.insert((owner, level, needs), slot);
        slot
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

    /// A record that has more is gone.
    #[cold]
    fn drop_more(&mut self, at: u32) {
        let more = &mut self.more[at as usize];
        more.records -= 1;
        self.with_deadline -= u64::from(more.start_within != Nanos::MAX);
        if more.records > 0 {
            return;
        }
        more.each = None;
        let slot = more.share;
        self.free_more.push(at);
        let share = self.get_mut(slot);
        share.users -= 1;
        let (owner, level, needs) = (share.owner, share.level, share.needs);
        if share.users == 0 && owner != slot {
            debug_assert_eq!((share.held, share.tasks), (0, 0));
            self.others.remove(&(owner, level, needs));
            self.free.push(slot);
        }
    }

    /// The policy of a record's first task as it was given.
    #[inline]
    pub(crate) fn policy_of<P: Series>(&self, record: &Record<P>) -> Policy {
        let policy = record.policy();
        match record.has_more() {
            false => policy,
            true => self.policy_with_more(record, policy),
        }
    }

    #[cold]
    fn policy_with_more<P: Series>(&self, record: &Record<P>, policy: Policy) -> Policy {
        let more = &self.more[record.flow() as usize];
        let share = self.get(more.share);
        let each = more.each.as_ref();
        Policy {
            priority: share.level as i8 + PRIORITY_MIN,
            needs: share.needs,
            start_within: each.map_or(more.start_within, |each| each.of(record)[0]),
            ..policy
        }
    }

    /// The `start_within` of each task of a record; nothing where all have the one that its policy says.
    pub(crate) fn each_within<P: Series>(&self, record: &Record<P>) -> &[Nanos] {
        match record.has_each_within() {
            false => &[],
            true => {
                let each = self.more[record.flow() as usize].each.as_ref();
                each.map_or(&[], |each| each.of(record))
            }
        }
    }

    /// Records that have a deadline.
    pub(crate) fn with_deadline(&self) -> u64 {
        self.with_deadline
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

    // ---- what lives

    /// A record of a task that begins to live.
    #[inline]
    pub(crate) fn on_begun<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        if record.of_map() {
            let slot = self.map_of(record);
            let share = &mut self.shares.0[slot as usize];
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
        if record.has_more() {
            let more = &mut self.more[record.flow() as usize];
            more.records += 1;
            self.with_deadline += u64::from(more.start_within != Nanos::MAX);
        }
        if record.of_map() {
            let parts = record.bytes_of_tasks() + tasks.get(front).bytes_of_tasks();
            let slot = self.map_of(record);
            let share = &mut self.shares.0[slot as usize];
            share.bytes = share.bytes - before + parts;
            share.live.insert_before(&mut Siblings(tasks), at, front);
        }
    }

    /// A record is going to be freed: it is queued no more, nor held.
    #[inline]
    pub(crate) fn on_ended<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        let more = record.has_more().then(|| record.flow());
        let map = record.of_map().then(|| self.map_of(record));
        if let Some(slot) = map {
            let share = &mut self.shares.0[slot as usize];
            share.bytes -= record.bytes_of_tasks();
            share.live.remove(&mut Siblings(tasks), at);
        }
        if let Some(at) = more {
            self.drop_more(at);
        }
        if let Some(slot) = map
            && self.get(slot).live.is_empty()
        {
            self.forget(slot);
        }
    }

    /// The first tasks of a record have ended, and others are left; `before` is what they took together.
    #[inline]
    pub(crate) fn on_front_ended<P: Series>(&mut self, record: &Record<P>, before: u64) {
        if record.of_map() {
            let share = self.get_mut(self.map_of(record));
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
        self.get_mut(self.slot_of(record)).held += u64::from(tasks);
    }

    /// So many tasks of a record are in no slave's hands any more.
    #[inline]
    pub(crate) fn on_let_go<P: Series>(&mut self, record: &Record<P>, tasks: u32) {
        self.get_mut(self.slot_of(record)).held -= u64::from(tasks);
    }

    // ---- what is queued

    /// How many tasks are queued that need no labels.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        self.tasks
    }

    /// How many tasks are queued.
    pub(crate) fn len_with_needy(&self) -> u64 {
        self.tasks + self.needy_tasks
    }

    /// Whether something may be handed out that needs no labels.
    #[inline]
    pub(crate) fn has_work(&self, hold_queue: bool) -> bool {
        self.next(hold_queue).is_some()
    }

    /// How many may be handed out that need no labels.
    pub(crate) fn work(&self, hold_queue: bool) -> u64 {
        let held_back = if hold_queue { self.queue_tasks } else { 0 };
        self.tasks - held_back
    }

    /// Whose turn it is at the highest level, of those that may hand out.
    #[inline]
    pub(crate) fn next(&self, hold_queue: bool) -> Option<u32> {
        let mut levels = self.levels;
        while levels != 0 {
            let level = levels.ilog2();
            let next = self.first_of(level as usize, hold_queue);
            if next.is_some() {
                return next;
            }
            levels &= !(1 << level);
        }
        None
    }

    /// Whose turn it is at one level.
    #[inline]
    fn first_of(&self, level: usize, hold_queue: bool) -> Option<u32> {
        match self.rings[level].front() {
            Some(slot) if hold_queue && self.is_of_queue(slot) => self.behind(slot),
            front => front,
        }
    }

    #[inline]
    fn is_of_queue(&self, slot: u32) -> bool {
        self.get(slot).owner == QUEUE
    }

    /// Whose turn it is for a slave that meets these needs: of the level that competes highest at this time, of several
    /// such the one whose oldest task has waited longest.
    #[inline]
    pub(crate) fn pick<P: Series>(
        &self,
        tasks: &Tasks<P>,
        meets: &[Needs],
        hold_queue: bool,
        (now, aging): (Nanos, Nanos),
    ) -> Option<u32> {
        if self.levels & self.levels.wrapping_sub(1) == 0
            && (meets.is_empty() || self.needy.is_empty())
        {
            return self.next(hold_queue);
        }
        self.pick_of_several(tasks, meets, hold_queue, (now, aging))
    }

    /// It looks at every owner with queued tasks.
    #[cold]
    fn pick_of_several<P: Series>(
        &self,
        tasks: &Tasks<P>,
        meets: &[Needs],
        hold_queue: bool,
        (now, aging): (Nanos, Nanos),
    ) -> Option<u32> {
        let submitted = |slot| {
            let front = tasks.get(self.front_of(slot));
            (front.submitted, front.seq)
        };
        let may = |&slot: &u32| !(hold_queue && self.is_of_queue(slot));
        let rings = (0..LEVELS).filter_map(|level| {
            let front = self.rings[level].front();
            let ring = std::iter::successors(front, |&at| self.behind(at));
            let oldest = ring.filter(may).map(submitted).min()?;
            Some((self.first_of(level, hold_queue)?, level, oldest))
        });
        let is_met = |slot: &u32| meets.binary_search(&self.get(*slot).needs).is_ok();
        let needy = self.needy.iter().copied().filter(is_met).filter(may);
        let needy = needy.map(|slot| (slot, usize::from(self.get(slot).level), submitted(slot)));
        let competes = |level: usize, (submitted, _): (Nanos, u64)| {
            let waited = now.saturating_sub(submitted);
            let higher = waited.checked_div(aging).unwrap_or(0);
            (level as u64).saturating_add(higher).min(LEVELS as u64 - 1)
        };
        let best = rings
            .chain(needy)
            .max_by_key(|&(_, level, oldest)| (competes(level, oldest), std::cmp::Reverse(oldest)));
        best.map(|(slot, ..)| slot)
    }

    /// As [`pick`](Self::pick), of those alone whose first task has an algorithm and needs that are allowed. It looks at
    /// every owner with queued tasks.
    #[cold]
    pub(crate) fn pick_allowed<P: Series>(
        &self,
        tasks: &Tasks<P>,
        meets: &[Needs],
        hold_queue: bool,
        (now, aging): (Nanos, Nanos),
        allowed: &dyn Fn(AlgorithmId, Needs) -> bool,
    ) -> Option<u32> {
        let may = |&slot: &u32| {
            let first = tasks.get(self.front_of(slot));
            !(hold_queue && self.is_of_queue(slot))
                && allowed(first.algorithm, self.get(slot).needs)
        };
        let in_rings = self
            .rings
            .iter()
            .flat_map(|ring| std::iter::successors(ring.front(), |&at| self.behind(at)));
        let is_met = |slot: &u32| meets.binary_search(&self.get(*slot).needs).is_ok();
        let needy = self.needy.iter().copied().filter(is_met);
        in_rings.chain(needy).filter(may).max_by_key(|&slot| {
            let first = tasks.get(self.front_of(slot));
            let waited = now.saturating_sub(first.submitted);
            let higher = match aging {
                0 => 0,
                aging => waited / aging,
            };
            let level = u64::from(self.get(slot).level).saturating_add(higher);
            let oldest = std::cmp::Reverse((first.submitted, first.seq));
            (level.min(LEVELS as u64 - 1), oldest)
        })
    }

    /// The needs of queued tasks that may be handed out, each once for each of their levels and owners.
    pub(crate) fn needs(&self, hold_queue: bool) -> impl Iterator<Item = (Needs, u64)> {
        let needy = self.needy.iter().map(|&slot| self.get(slot));
        needy
            .filter(move |share| !(hold_queue && share.owner == QUEUE))
            .map(|share| (share.needs, share.tasks))
    }

    /// Whether a record is for slaves with certain labels alone.
    #[inline]
    pub(crate) fn is_needy<P: Series>(&self, record: &Record<P>) -> bool {
        record.has_more() && self.get(self.slot_of(record)).needs != Needs::NONE
    }

    /// Whether it has queued tasks.
    #[inline]
    pub(crate) fn is_waiting(&self, slot: u32) -> bool {
        self.get(slot).tasks > 0
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

    /// The first in the ring of the highest level that may hand out and has fewer tasks in the slaves' hands than its share
    /// of `takers` slaves; a few are looked at.
    pub(crate) fn first_short(&self, hold_queue: bool, takers: u32) -> Option<u32> {
        /// So many owners are looked at.
        const LOOKS: usize = 8;
        let ring = &self.rings[usize::from(self.get(self.next(hold_queue)?).level)];
        let fair = u64::from((takers / ring.len().max(1)).max(1));
        let ring = std::iter::successors(ring.front(), |&at| self.behind(at));
        ring.take(LOOKS)
            .filter(|&at| !(hold_queue && self.is_of_queue(at)))
            .find(|&at| self.get(at).held < fair)
    }

    /// It is this owner's turn at its level.
    pub(crate) fn make_next(&mut self, slot: u32) {
        let ring = &mut self.rings[usize::from(self.shares.0[slot as usize].level)];
        ring.remove(&mut self.shares, slot);
        ring.push_front(&mut self.shares, slot);
    }

    /// An owner has had its turn.
    #[inline]
    pub(crate) fn on_served(&mut self, slot: u32) {
        let share = &self.shares.0[slot as usize];
        let may_turn = share.tasks > 0 && share.needs == Needs::NONE;
        let ring = &mut self.rings[usize::from(share.level)];
        if may_turn && ring.len() > 1 {
            ring.remove(&mut self.shares, slot);
            ring.push_back(&mut self.shares, slot);
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
        let (slot, tasks) = (self.slot_of(record), u64::from(record.tasks()));
        let share = self.get_mut(slot);
        share.tasks += tasks;
        if share.needs != Needs::NONE {
            self.needy_tasks += tasks;
            self.needy.insert(slot);
            return slot;
        }
        let (level, is_first, is_of_queue) =
            (share.level, share.line.is_empty(), share.owner == QUEUE);
        self.tasks += tasks;
        self.queue_tasks += if is_of_queue { tasks } else { 0 };
        if is_first {
            self.rings[usize::from(level)].push_back(&mut self.shares, slot);
            self.levels |= 1 << level;
        }
        slot
    }

    /// The series that a queued record stands for was split: this is its front.
    pub(crate) fn on_line_split<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32, front: u32) {
        let slot = self.slot_of(tasks.get(at));
        let line = &mut self.get_mut(slot).line;
        line.insert_before(tasks, at, front);
    }

    /// Takes a record out of its line.
    pub(crate) fn remove<P: Series>(&mut self, tasks: &mut Tasks<P>, at: u32) {
        let record = tasks.get(at);
        let (slot, count) = (self.slot_of(record), record.tasks());
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
        let tasks = u64::from(tasks);
        let share = self.get_mut(slot);
        share.tasks -= tasks;
        let (level, is_last, is_of_queue) = (
            usize::from(share.level),
            share.tasks == 0,
            share.owner == QUEUE,
        );
        if share.needs != Needs::NONE {
            self.needy_tasks -= tasks;
            if is_last {
                self.needy.remove(&slot);
            }
            return;
        }
        self.tasks -= tasks;
        self.queue_tasks -= if is_of_queue { tasks } else { 0 };
        if is_last {
            let ring = &mut self.rings[level];
            ring.remove(&mut self.shares, slot);
            if ring.is_empty() {
                self.levels &= !(1 << level);
            }
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
                    self.slot_of(tasks.get(at)),
                    slot,
                    "a task is in its owner's line"
                );
            }
            slots.extend(line);
        }
        slots
    }

    /// Re-derives what records have beside what stands in them, from how many there are of each.
    fn check_more(&self, records: &BTreeMap<u32, u32>) {
        let mut users: BTreeMap<u32, u32> = BTreeMap::new();
        let mut with_deadline = 0;
        for (&at, &count) in records {
            let more = &self.more[at as usize];
            assert_eq!(more.records, count, "it knows how many records it is of");
            *users.entry(more.share).or_default() += 1;
            let has_deadline = more.start_within != Nanos::MAX;
            with_deadline += u64::from(count) * u64::from(has_deadline);
        }
        assert_eq!(with_deadline, self.with_deadline);
        assert_eq!(records.len() + self.free_more.len(), self.more.len());
        for (slot, share) in self.all() {
            assert_eq!(share.users, users.remove(&slot).unwrap_or(0));
            assert!(share.users > 0 || share.owner == slot, "no share is leaked");
        }
        assert!(users.is_empty());
    }

    /// Re-derives counters, rings, and what lives of each map.
    pub(crate) fn check<P: Series>(&self, tasks: &Tasks<P>) {
        let mut anew: BTreeMap<u32, (u64, u64, Vec<u32>)> = BTreeMap::new();
        let mut more: BTreeMap<u32, u32> = BTreeMap::new();
        for (at, record) in tasks.iter() {
            if record.has_more() {
                *more.entry(record.flow()).or_default() += 1;
                let each = &self.more[record.flow() as usize].each;
                assert_eq!(record.has_each_within(), each.is_some());
            }
            if record.of_map() {
                anew.entry(self.map_of(record)).or_default().2.push(at);
            }
            let (queued, held, _) = anew.entry(self.slot_of(record)).or_default();
            if record.is_held() {
                *held += u64::from(record.tasks());
            } else if record.is_queued() && record.bound_to().is_none() {
                *queued += u64::from(record.tasks());
            }
        }
        self.check_more(&more);
        let mut in_ring: Vec<u32> = self.needy.iter().copied().collect();
        for (level, ring) in self.rings.iter().enumerate() {
            let ring = ring.checked_slots(|slot| self.get(slot).ring);
            let is_here = |&slot: &u32| usize::from(self.get(slot).level) == level;
            assert!(ring.iter().all(is_here), "a share is in its level's ring");
            assert_eq!(ring.is_empty(), self.levels & 1 << level == 0);
            in_ring.extend(ring);
        }
        in_ring.sort_unstable();
        let (mut sum, mut needy, mut queue) = (0, 0, 0);
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
            let is_needy = share.needs != Needs::NONE;
            assert_eq!(self.needy.contains(&slot), is_needy && queued > 0);
            *(if is_needy { &mut needy } else { &mut sum }) += queued;
            queue += if share.owner == QUEUE && !is_needy {
                queued
            } else {
                0
            };
            if share.owner != slot {
                let key = (share.owner, share.level, share.needs);
                assert_eq!(self.others.get(&key), Some(&slot), "a share is found");
                continue;
            }
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
        assert_eq!(
            (sum, queue, needy),
            (self.tasks, self.queue_tasks, self.needy_tasks),
            "queued tasks are counted"
        );
        assert!(
            self.last
                .is_none_or(|(number, slot)| self.maps.get(&number) == Some(&slot)),
            "who was looked up last is there"
        );
    }
}
