//! The lines of queued tasks, and whose turn it is.

use crate::data::list::{Links, NONE};
use crate::data::owners::{LEVELS, Owners, QUEUE};
use crate::data::record::Record;
use crate::data::tasks::Tasks;
use crate::ids::{AlgorithmId, Nanos, Needs};
use crate::series::Series;

impl Owners {
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
}
