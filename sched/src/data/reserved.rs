//! Reservations: those that wait for a slave, in the order in which they came, and those that have one.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::ids::{Needs, SlaveId};

/// A reservation's number, never reused.
pub type Reservation = u64;

#[derive(Clone, Debug, Default)]
pub(crate) struct Reserved {
    next: Reservation,
    /// By what they need: those that wait, the oldest first.
    waiting: BTreeMap<Needs, BTreeSet<Reservation>>,
    /// What those that wait need, of those that need labels.
    needs: BTreeMap<Reservation, Needs>,
    slaves: BTreeMap<Reservation, SlaveId>,
    owners: BTreeMap<SlaveId, Reservation>,
    /// Those that have got one, and are to be told.
    pub(crate) granted: VecDeque<(Reservation, SlaveId)>,
    /// Those whose slave is no longer theirs, and are to be told.
    pub(crate) ended: VecDeque<Reservation>,
}

impl Reserved {
    /// One more that waits.
    pub(crate) fn add(&mut self, needs: Needs) -> Reservation {
        let reservation = self.next;
        self.next += 1;
        self.waiting.entry(needs).or_default().insert(reservation);
        if needs != Needs::NONE {
            self.needs.insert(reservation, needs);
        }
        reservation
    }

    /// The oldest that waits for a slave with these labels.
    pub(crate) fn first(&self, needs: Needs) -> Option<Reservation> {
        self.waiting.get(&needs)?.first().copied()
    }

    /// How many wait for any slave.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.get(&Needs::NONE).map_or(0, BTreeSet::len)
    }

    /// What those need that wait for labels: each set once.
    pub(crate) fn needed(&self) -> Vec<Needs> {
        let needed = self.waiting.keys().filter(|needs| **needs != Needs::NONE);
        needed.copied().collect()
    }

    /// How many wait for these labels.
    pub(crate) fn waiting_for(&self, needs: Needs) -> usize {
        self.waiting.get(&needs).map_or(0, BTreeSet::len)
    }

    /// How many wait for labels.
    #[inline]
    pub(crate) fn needy(&self) -> usize {
        self.needs.len()
    }

    /// How many have a slave.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.slaves.len()
    }

    /// It waits no more: what it needed, if it waited.
    pub(crate) fn stop_waiting(&mut self, reservation: Reservation) -> Option<Needs> {
        let needs = self.needs.remove(&reservation).unwrap_or(Needs::NONE);
        let waiting = self.waiting.get_mut(&needs)?;
        let waited = waiting.remove(&reservation);
        if waiting.is_empty() {
            self.waiting.remove(&needs);
        }
        waited.then_some(needs)
    }

    /// It has this slave from now on.
    pub(crate) fn grant(&mut self, reservation: Reservation, slave: SlaveId) {
        self.slaves.insert(reservation, slave);
        self.owners.insert(slave, reservation);
        self.granted.push_back((reservation, slave));
    }

    /// The slave of a reservation, which it has no more.
    pub(crate) fn give_up(&mut self, reservation: Reservation) -> Option<SlaveId> {
        let slave = self.slaves.remove(&reservation)?;
        self.owners.remove(&slave);
        Some(slave)
    }

    /// A slave is gone, or was freed: nobody has it any more. Whether somebody had.
    pub(crate) fn end(&mut self, slave: SlaveId) -> bool {
        let Some(reservation) = self.owners.remove(&slave) else {
            return false;
        };
        self.slaves.remove(&reservation);
        self.ended.push_back(reservation);
        true
    }

    /// Whether somebody has reserved it.
    pub(crate) fn has(&self, slave: SlaveId) -> bool {
        self.owners.contains_key(&slave)
    }

    /// The slave of a reservation.
    pub(crate) fn slave_of(&self, reservation: Reservation) -> Option<SlaveId> {
        self.slaves.get(&reservation).copied()
    }

    /// Slaves that are reserved, ascending.
    pub(crate) fn slaves(&self) -> impl Iterator<Item = SlaveId> {
        self.owners.keys().copied()
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.slaves.len(), self.owners.len());
        let waits =
            |reservation: &Reservation| self.waiting.values().any(|set| set.contains(reservation));
        for (reservation, slave) in &self.slaves {
            assert_eq!(
                self.owners.get(slave),
                Some(reservation),
                "a slave is one reservation's"
            );
            assert!(
                !waits(reservation),
                "a reservation that has a slave does not wait"
            );
        }
        let needy = self
            .waiting
            .iter()
            .filter(|(needs, _)| **needs != Needs::NONE);
        assert_eq!(
            needy.map(|(_, set)| set.len()).sum::<usize>(),
            self.needs.len()
        );
        assert!(self.waiting.values().all(|set| !set.is_empty()));
    }
}
