//! From a slave's id to a number that is kept of it. Ids are never reused, so a table by id would grow with every slave
//! ever seen; this one grows with the slaves there are. Open addressing, linear probing, at most half full: it is asked
//! for every packet, and looks at one cache line.

use crate::data::list::NONE;
use crate::ids::SlaveId;

const CELLS_MIN: usize = 8;

/// So many ids that follow one another do so in the table too, which is a line of cache: slaves that came one after another
/// are often heard one after another.
const BLOCK: u32 = 8;

#[derive(Copy, Clone, Debug)]
struct Cell {
    id: SlaveId,
    /// `NONE` if the cell is empty.
    slot: u32,
}

const EMPTY: Cell = Cell {
    id: SlaveId(0),
    slot: NONE,
};

/// A slot, any number below 2^32 - 1, for each of some slaves.
#[derive(Clone, Debug)]
pub struct SlaveMap {
    /// A power of two of them.
    cells: Vec<Cell>,
    len: usize,
}

impl Default for SlaveMap {
    fn default() -> Self {
        SlaveMap {
            cells: vec![EMPTY; CELLS_MIN],
            len: 0,
        }
    }
}

impl SlaveMap {
    /// How many slaves have one.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slave's slot.
    #[inline]
    pub fn get(&self, id: SlaveId) -> Option<u32> {
        let cell = self.cells[self.probe(id)];
        (cell.slot != NONE).then_some(cell.slot)
    }

    /// All of them, by slave.
    pub fn sorted(&self) -> Vec<(SlaveId, u32)> {
        let used = self.cells.iter().filter(|cell| cell.slot != NONE);
        let mut sorted: Vec<_> = used.map(|cell| (cell.id, cell.slot)).collect();
        sorted.sort_unstable();
        sorted
    }

    /// The slave must have none.
    pub fn insert(&mut self, id: SlaveId, slot: u32) {
        debug_assert!(slot != NONE && self.get(id).is_none());
        if (self.len + 1) * 2 > self.cells.len() {
            self.resize(self.cells.len() * 2);
        }
        let at = self.probe(id);
        self.cells[at] = Cell { id, slot };
        self.len += 1;
    }

    /// The slot that the slave had.
    pub fn remove(&mut self, id: SlaveId) -> Option<u32> {
        let mut hole = self.probe(id);
        let slot = self.get(id)?;
        // Close the hole, else a probe for a later one would stop at it.
        let mut at = hole;
        loop {
            at = self.next(at);
            if self.cells[at].slot == NONE {
                break;
            }
            let way = |from: usize| at.wrapping_sub(from) & (self.cells.len() - 1);
            if way(self.home(self.cells[at].id)) >= way(hole) {
                self.cells[hole] = self.cells[at];
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        self.len -= 1;
        if self.cells.len() > CELLS_MIN && self.len * 8 < self.cells.len() {
            self.resize(self.cells.len() / 2);
        }
        Some(slot)
    }

    /// The id's cell, or the empty one where it would go.
    #[inline]
    fn probe(&self, id: SlaveId) -> usize {
        let mut at = self.home(id);
        while self.cells[at].slot != NONE && self.cells[at].id != id {
            at = self.next(at);
        }
        at
    }

    /// Fibonacci hashing of blocks: they are spread, and two dense runs of ids do not fall onto each other.
    #[inline]
    fn home(&self, id: SlaveId) -> usize {
        let hash = (id.0 / BLOCK).wrapping_mul(0x9E37_79B9);
        let blocks = self.cells.len() as u64 / u64::from(BLOCK);
        let block = (u64::from(hash) * blocks) >> 32;
        (block as usize * BLOCK as usize) + (id.0 % BLOCK) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    fn resize(&mut self, cells: usize) {
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; cells]);
        for cell in old.into_iter().filter(|cell| cell.slot != NONE) {
            let at = self.probe(cell.id);
            self.cells[at] = cell;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn finds_what_a_plain_map_finds_under_churn() {
        let (mut map, mut plain) = (SlaveMap::default(), BTreeMap::new());
        let mut seed = 1u64;
        for id in 0..20_000u32 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            map.insert(SlaveId(id), id ^ 5);
            plain.insert(id, id ^ 5);
            // Some live long, most are short: the older half is thinned out, then all of it.
            while plain.len() > 500 - (id / 50) as usize {
                let nth = (seed >> 33) as usize % plain.len();
                let gone = *plain.keys().nth(nth).unwrap();
                assert_eq!(map.remove(SlaveId(gone)), plain.remove(&gone));
                assert_eq!(map.get(SlaveId(gone)), None);
            }
            assert_eq!(map.len(), plain.len());
            if id % 100 == 0 {
                let found = |id| assert_eq!(map.get(SlaveId(id)), plain.get(&id).copied());
                (0..=id + 1).for_each(found);
                let all = plain.iter().map(|(&id, &slot)| (SlaveId(id), slot));
                assert!(map.sorted().into_iter().eq(all));
            }
        }
        assert!(map.cells.len() <= 1024, "memory is that of the living");
    }
}
