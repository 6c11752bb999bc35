//! What lives of each owner: its tasks in slaves' hands, and a map's records, queued or held.

use crate::data::list::{Linked, Links, NONE};
use crate::data::owners::Owners;
use crate::data::record::Record;
use crate::data::tasks::Tasks;
use crate::ids::Nanos;
use crate::series::Series;

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

impl Owners {
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
}
