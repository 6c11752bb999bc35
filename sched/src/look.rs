//! Questions that change nothing. One that follows from the rule of an event stands with that event.

use crate::data::labels::Lack;
use crate::ids::{AlgorithmId, Group, Needs, Owner, SlaveId, TaskId};
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// Every task that is queued, running or away, in no order of meaning; those of a series together, by the first. Costs the
    /// tasks that there are.
    pub fn live(&self) -> impl Iterator<Item = (TaskId, AlgorithmId, Owner, &P)> {
        self.tasks.iter().filter_map(|(slot, record)| {
            let id = TaskId {
                seq: record.seq,
                slot,
            };
            Some((
                id,
                record.algorithm,
                self.owners.of(record),
                record.payload.as_ref()?,
            ))
        })
    }

    /// The tasks of a map that are queued or running: those of a series together, the first and how many. Costs those.
    pub fn live_of_map(&self, map: u32) -> impl Iterator<Item = (TaskId, u32)> {
        self.owners.live_of_map(map, &self.tasks).map(|slot| {
            let record = self.tasks.get(slot);
            let seq = record.seq;
            (TaskId { seq, slot }, record.tasks())
        })
    }

    /// What the live tasks of a map take in packets, alone or in series as they are.
    pub fn map_bytes(&self, map: u32) -> u64 {
        self.owners.bytes_of_map(map)
    }

    /// The target number of an algorithm, or the general one.
    pub fn target(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.counts.target(algorithm)
    }

    /// Tasks of an algorithm, or all, that are queued and not on any slave.
    pub fn pending(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.counts.pending(algorithm)
    }

    /// How many tasks may be submitted until the target is reached.
    pub fn upto_target(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.target(algorithm)
            .saturating_sub(self.pending(algorithm))
    }

    /// Tasks that are queued or running, or [away](Self::away).
    pub fn runnable(&self) -> u64 {
        self.counts.queued + self.counts.running + self.counts.away
    }

    /// Tasks that are in slaves' hands.
    pub fn running(&self) -> u64 {
        self.counts.running
    }

    /// Tasks that are queued.
    pub fn queued(&self) -> u64 {
        self.counts.queued
    }

    /// What queued tasks take, [`RECORD_BYTES`](Self::RECORD_BYTES) for each task or run included. It may pass the limit
    /// by what was recycled, and where series were parted.
    pub fn queued_bytes(&self) -> u64 {
        self.counts.queued_bytes
    }

    /// Whether the task is queued or running.
    pub fn is_live(&self, id: TaskId) -> bool {
        self.tasks.find(id).is_some()
    }

    /// Queued tasks that no connected slave's group may run, while at least one slave is connected.
    pub fn waits_for_nobody(&self) -> u64 {
        let members = Group::ALL
            .into_iter()
            .filter(|group| group.takes_unordered());
        let takers: u32 = members.map(|group| self.slaves.members(group)).sum();
        if self.slaves.len() > 0 && takers == 0 {
            self.owners.len_with_needy()
        } else {
            0
        }
    }

    /// Whether a connected slave meets these needs.
    pub fn meets(&self, slave: SlaveId, needs: Needs) -> bool {
        let at = self.slaves.find(slave);
        needs == Needs::NONE
            || at.is_some_and(|at| self.slaves.meets(at).binary_search(&needs).is_ok())
    }

    /// Whether tasks are queued that need labels.
    pub fn has_needy(&self) -> bool {
        self.owners.needs(false).next().is_some()
    }

    /// What queued tasks need and no connected slave has that runs unordered tasks. It looks at all slaves for each set of
    /// labels that queued tasks need.
    pub fn lacks(&self) -> Vec<Lack> {
        let mut lacks: Vec<(Needs, u64)> = Vec::new();
        for (needs, tasks) in self.owners.needs(false) {
            match lacks.iter_mut().find(|lack| lack.0 == needs) {
                Some(lack) => lack.1 += tasks,
                None => lacks.push((needs, tasks)),
            }
        }
        let is_met = |needs: &Needs| {
            let mut takers = self
                .slaves
                .iter()
                .filter(|(_, slave)| slave.group.takes_unordered());
            takers.any(|(at, _)| self.slaves.meets(at).binary_search(needs).is_ok())
        };
        let lacks = lacks.into_iter().filter(|(needs, _)| !is_met(needs));
        let lack = |(needs, tasks): (Needs, u64)| Lack {
            needs: needs.labels().to_vec(),
            tasks,
        };
        lacks.map(lack).collect()
    }

    /// Nothing is queued, running or desired.
    pub fn idle(&self) -> bool {
        self.runnable() == 0 && self.desired == [0; 3] && self.reserved.needy() == 0
    }

    /// How many unrunnable tasks are to be polled.
    pub fn unrunnable(&self) -> usize {
        self.unrunnable.len()
    }

    /// How many tasks were handed to a second slave.
    pub fn duplicated(&self) -> u64 {
        self.duplicated
    }

    /// Whether slaves were ever desired.
    pub fn has_allocated(&self) -> bool {
        self.has_allocated
    }

    /// Slaves desired in a group, those that reservations wait for among them.
    pub fn desired(&self, group: Group) -> u32 {
        let needy = match group {
            Group::Ordered => self.reserved.needy() as u32,
            _ => 0,
        };
        self.desired[group as usize] + needy
    }

    /// Slaves that are in a group; one that moves when its hands are empty is still in its old one.
    pub fn acquired(&self, group: Group) -> u32 {
        self.slaves.members(group)
    }

    /// Slaves that are missing, over all groups.
    pub fn slaves_needed(&self) -> u64 {
        let missing = Group::ALL.map(|group| u64::from(self.missing(group)));
        missing.iter().sum::<u64>() + self.reserved.needy() as u64
    }

    /// Slaves that are connected.
    pub fn slaves(&self) -> usize {
        self.slaves.len()
    }

    /// Slaves that hold something.
    pub fn busy(&self) -> usize {
        self.slaves.busy_len()
    }

    /// The group of a connected slave.
    pub fn group_of(&self, slave: SlaveId) -> Option<Group> {
        Some(self.slaves.get(self.slaves.find(slave)?).group)
    }

    /// How many tasks a slave holds, withdrawn ones included.
    pub fn held_by(&self, slave: SlaveId) -> usize {
        self.slaves
            .find(slave)
            .map_or(0, |at| self.slaves.get(at).hands.len())
    }

    pub(crate) fn missing(&self, group: Group) -> u32 {
        self.desired[group as usize].saturating_sub(self.acquired(group))
    }

    /// How many [`take_connected`](Self::take_connected) would return.
    pub fn connected_news(&self) -> usize {
        self.connected.len()
    }

    /// How many [`take_disconnected`](Self::take_disconnected) would return.
    pub fn disconnected_news(&self) -> usize {
        self.disconnected.len()
    }
}
