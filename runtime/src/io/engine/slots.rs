//! What both engines keep their connections in: slots whose names are never used again, and the deadlines of connections
//! that are being flushed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::ConnId;

/// Values by [`ConnId`]. A freed slot is used again under the next generation; the one freed last goes first, so slots
/// stay dense.
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) -> ConnId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                value: None,
            });
            (self.slots.len() - 1) as u32
        });
        let slot = &mut self.slots[index as usize];
        debug_assert!(slot.value.is_none());
        slot.value = Some(value);
        ConnId::new(index, slot.generation)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, conn: ConnId) -> Option<&mut T> {
        let slot = self.slots.get_mut(conn.slot())?;
        (slot.generation == conn.generation())
            .then_some(slot.value.as_mut())
            .flatten()
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&T> {
        let slot = self.slots.get(conn.slot())?;
        (slot.generation == conn.generation())
            .then_some(slot.value.as_ref())
            .flatten()
    }

    pub(super) fn remove(&mut self, conn: ConnId) -> Option<T> {
        let slot = self.slots.get_mut(conn.slot())?;
        if slot.generation != conn.generation() {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(conn.slot() as u32);
        Some(value)
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

/// By when connections that are being flushed must be closed. An entry outlives its connection, at most until its time.
#[derive(Default)]
pub(super) struct Deadlines(BinaryHeap<Reverse<(Instant, ConnId)>>);

impl Deadlines {
    pub(super) fn add(&mut self, by: Instant, conn: ConnId) {
        self.0.push(Reverse((by, conn)));
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((by, _))| *by)
    }

    /// A connection whose time has come, once.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ConnId> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, conn))| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_name_finds_nothing() {
        let mut slots = Slots::new();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(first.slot(), second.slot());
        assert_ne!(first, second);
        assert_eq!(slots.get_mut(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(second), Some(&'b'));
        assert_eq!(slots.len(), 1);
    }

    #[test]
    fn slots_stay_dense() {
        let mut slots = Slots::new();
        let names: Vec<_> = (0..100).map(|n| slots.insert(n)).collect();
        for _ in 0..10 {
            for name in &names[50..] {
                slots.remove(*name);
            }
            for n in 0..50 {
                assert!(slots.insert(n).slot() < 100);
            }
            let names: Vec<_> = (50..100)
                .map(|n| ConnId::new(n, slots.slots[n as usize].generation))
                .collect();
            for name in names {
                assert!(slots.remove(name).is_some());
            }
            assert_eq!(slots.len(), 50);
        }
    }
}
