//! Every index and counter of the owners derived again.

use std::collections::BTreeMap;

use crate::data::list::Linked;
use crate::data::owners::{CALLS, Owners, QUEUE, Share};
use crate::data::tasks::Tasks;
use crate::ids::{Nanos, Needs};
use crate::series::Series;

impl Owners {
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
