//! The table of live tasks, runs of them among them: slots in chunks, so that it grows without moving anything and gives memory back.
//!
//! A chunk whose last task ended is freed; one such is kept, lest a queue that flutters about a chunk's edge pay for it.

use std::collections::BTreeMap;
use std::mem;

use crate::data::list::{Linked, Links, NONE};
use crate::data::record::{Record, State};
use crate::ids::TaskId;
use crate::series::{HAS_PAYLOAD, Series};

/// Slots per chunk: large enough that the allocator returns a freed one to the system.
const CHUNK: u32 = 4096;
/// A longer table of chunks is dropped as well when no task is left; a shorter one is not worth it.
const CHUNKS_KEPT: usize = 64;

// The budget of a queued task is 96 bytes; the runtime's payload has 32.
const _: () = assert!(mem::size_of::<Record<[u64; 4]>>() <= 96);

#[derive(Clone, Debug)]
struct Chunk<P> {
    /// Grows up to `CHUNK`; empty and without memory if the chunk is vacant.
    records: Vec<Record<P>>,
    /// First of the free ones below `records.len()`, as an index into it.
    free: u32,
    live: u32,
    /// Where it stands in `roomy`, or `NONE`.
    roomy_at: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Tasks<P> {
    chunks: Vec<Chunk<P>>,
    /// Chunks with memory and a free slot; the last one takes the next task.
    roomy: Vec<u32>,
    /// Chunks without memory.
    vacant: Vec<u32>,
    /// The one chunk that has memory but no task, if there is one; it is roomy too.
    spare: u32,
    /// Records in use.
    live: u64,
    /// The slots of records that were split off, by the number of their last task.
    moved: BTreeMap<u64, u32>,
}

impl<P: Series> Tasks<P> {
    /// What one task costs beside the bytes of its payload.
    pub(crate) const RECORD_BYTES: u64 = mem::size_of::<Record<P>>() as u64;

    pub(crate) fn new() -> Self {
        Tasks {
            chunks: Vec::new(),
            roomy: Vec::new(),
            vacant: Vec::new(),
            spare: NONE,
            live: 0,
            moved: BTreeMap::new(),
        }
    }

    /// The slot that the next record is inserted into.
    #[inline]
    pub(crate) fn next_slot(&self) -> u32 {
        match self.roomy.last() {
            Some(&at) => {
                let chunk = &self.chunks[at as usize];
                let index = match chunk.free {
                    NONE => chunk.records.len() as u32,
                    index => index,
                };
                at * CHUNK + index
            }
            None => {
                let added = || self.chunks.len() as u32;
                self.vacant.last().copied().unwrap_or_else(added) * CHUNK
            }
        }
    }

    #[inline]
    pub(crate) fn insert(&mut self, record: Record<P>) -> u32 {
        let at = match self.roomy.last() {
            Some(&at) => at,
            None => self.add_chunk(),
        };
        let chunk = &mut self.chunks[at as usize];
        let index = match chunk.free {
            NONE => {
                chunk.records.push(record);
                chunk.records.len() as u32 - 1
            }
            index => {
                let free = &mut chunk.records[index as usize];
                let State::Free(next) = free.state else {
                    unreachable!("only free records are in the free list");
                };
                *free = record;
                chunk.free = next;
                index
            }
        };
        chunk.live += 1;
        if chunk.live == CHUNK {
            chunk.roomy_at = NONE;
            self.roomy.pop();
        }
        if self.spare == at {
            self.spare = NONE;
        }
        self.live += 1;
        at * CHUNK + index
    }

    /// Frees the record of a task that ends, and returns its payload.
    #[inline(always)]
    pub(crate) fn remove(&mut self, slot: u32) -> P {
        let (at, index) = (slot / CHUNK, slot % CHUNK);
        let chunk = &mut self.chunks[at as usize];
        let record = &mut chunk.records[index as usize];
        if record.moved() {
            self.moved.remove(&record.last());
        }
        record.state = State::Free(chunk.free);
        chunk.free = index;
        chunk.live -= 1;
        self.live -= 1;
        if chunk.live == CHUNK - 1 {
            chunk.roomy_at = self.roomy.len() as u32;
            self.roomy.push(at);
        }
        if chunk.live == 0 {
            let payload = record.payload.take();
            self.on_chunk_empty(at);
            return payload.expect(HAS_PAYLOAD);
        }
        record.payload.take().expect(HAS_PAYLOAD)
    }

    /// Splits the first `tasks` of a series off, into a slot that is returned.
    pub(crate) fn split_front(&mut self, slot: u32, tasks: u32) -> u32 {
        let front = self.get_mut(slot).split_front(tasks);
        let last = front.last();
        let at = self.insert(front);
        self.moved.insert(last, at);
        at
    }

    /// Takes what is for the first `tasks` of a held series, which have ended; others are left.
    pub(crate) fn take_front(&mut self, slot: u32, tasks: u32) -> P {
        let record = self.get_mut(slot);
        if let State::Held { position, .. } = &mut record.state {
            *position = position.wrapping_add(tasks);
        }
        record.take_front(tasks)
    }

    /// The record in this slot, if it is in use.
    #[inline]
    fn look_up(&self, slot: u32) -> Option<&Record<P>> {
        let chunk = self.chunks.get((slot / CHUNK) as usize)?;
        let record = chunk.records.get((slot % CHUNK) as usize)?;
        (!matches!(record.state, State::Free(_))).then_some(record)
    }

    /// The slot, if the task is live: it may be one of a series there.
    #[inline]
    pub(crate) fn find(&self, id: TaskId) -> Option<u32> {
        if self
            .look_up(id.slot)
            .is_some_and(|record| record.holds(id.seq))
        {
            return Some(id.slot);
        }
        let (_, &slot) = self.moved.range(id.seq..).next()?;
        self.get(slot).holds(id.seq).then_some(slot)
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> &Record<P> {
        &self.chunks[(slot / CHUNK) as usize].records[(slot % CHUNK) as usize]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Record<P> {
        &mut self.chunks[(slot / CHUNK) as usize].records[(slot % CHUNK) as usize]
    }

    /// All records in use with their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Record<P>)> {
        (0u32..).zip(&self.chunks).flat_map(|(at, chunk)| {
            (0u32..)
                .zip(&chunk.records)
                .filter(|(_, record)| !matches!(record.state, State::Free(_)))
                .map(move |(index, record)| (at * CHUNK + index, record))
        })
    }

    #[cold]
    fn add_chunk(&mut self) -> u32 {
        let records = Vec::with_capacity(CHUNK as usize);
        let chunk = Chunk {
            records,
            free: NONE,
            live: 0,
            roomy_at: self.roomy.len() as u32,
        };
        let at = match self.vacant.pop() {
            Some(at) => {
                self.chunks[at as usize] = chunk;
                at
            }
            None => {
                assert!(
                    self.chunks.len() < (NONE / CHUNK) as usize,
                    "4 G live tasks are not foreseen"
                );
                self.chunks.push(chunk);
                self.chunks.len() as u32 - 1
            }
        };
        self.roomy.push(at);
        at
    }

    #[cold]
    fn on_chunk_empty(&mut self, at: u32) {
        if self.live == 0 && self.chunks.len() > CHUNKS_KEPT {
            *self = Tasks::new();
            return;
        }
        let chunk = &mut self.chunks[at as usize];
        chunk.free = NONE;
        if self.spare == NONE {
            chunk.records.clear();
            self.spare = at;
            return;
        }
        chunk.records = Vec::new();
        let hole = mem::replace(&mut chunk.roomy_at, NONE);
        self.roomy.swap_remove(hole as usize);
        if let Some(&moved) = self.roomy.get(hole as usize) {
            self.chunks[moved as usize].roomy_at = hole;
        }
        self.vacant.push(at);
    }

    /// Re-derives counters and lists of chunks.
    pub(crate) fn check(&self) {
        let (mut live, mut roomy, mut vacant) = (0, 0, 0);
        for (at, chunk) in (0u32..).zip(&self.chunks) {
            let tasks = chunk
                .records
                .iter()
                .filter(|record| !matches!(record.state, State::Free(_)))
                .count() as u32;
            assert_eq!(tasks, chunk.live, "a chunk counts its tasks");
            live += u64::from(tasks);
            let (mut free, mut next) = (0, chunk.free);
            while next != NONE {
                let State::Free(after) = chunk.records[next as usize].state else {
                    panic!("a task is in the free list")
                };
                free += 1;
                next = after;
            }
            assert_eq!(
                (tasks + free) as usize,
                chunk.records.len(),
                "every free slot is in the free list"
            );
            let is_vacant = self.vacant.contains(&at);
            assert_eq!(
                is_vacant,
                chunk.records.capacity() == 0 && at != self.spare,
                "vacant is without memory"
            );
            assert_eq!(
                chunk.roomy_at != NONE,
                !is_vacant && tasks < CHUNK,
                "room is known"
            );
            if chunk.roomy_at != NONE {
                assert_eq!(self.roomy[chunk.roomy_at as usize], at);
                roomy += 1;
            }
            vacant += usize::from(is_vacant);
            assert_eq!(
                at == self.spare,
                !is_vacant && tasks == 0,
                "one empty chunk is kept"
            );
        }
        for (&last, &slot) in &self.moved {
            let record = self.look_up(slot).expect("what was split off is live");
            assert!(
                record.moved() && record.last() == last,
                "it is found by its last task"
            );
        }
        let moved = self.iter().filter(|(_, record)| record.moved()).count();
        assert_eq!(moved, self.moved.len(), "all that were split off are found");
        assert_eq!(
            (live, roomy, vacant),
            (self.live, self.roomy.len(), self.vacant.len())
        );
    }
}

impl<P: Series> Linked for Tasks<P> {
    #[inline]
    fn links(&self, at: u32) -> Links {
        match self.get(at).state {
            State::Queued(links) => links,
            _ => unreachable!("only queued tasks are in lists"),
        }
    }

    #[inline]
    fn links_mut(&mut self, at: u32) -> &mut Links {
        match &mut self.get_mut(at).state {
            State::Queued(links) => links,
            _ => unreachable!("only queued tasks are in lists"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AlgorithmId, Owner};
    use crate::task::TaskSpec;

    fn insert(tasks: &mut Tasks<u64>, seq: u64) -> u32 {
        let spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, 0);
        tasks.insert(Record::new(seq, &spec, 0, false, seq, 0))
    }

    fn capacity(tasks: &Tasks<u64>) -> usize {
        tasks
            .chunks
            .iter()
            .map(|chunk| chunk.records.capacity())
            .sum()
    }

    /// Whatever the order in which tasks end, the memory they had is given back, but for one chunk.
    #[test]
    fn a_drained_table_gives_its_memory_back() {
        let tasks_max = 10 * u64::from(CHUNK) + 7;
        for stride in [1, 2, 4097, 30_011] {
            let mut tasks = Tasks::new();
            let slots: Vec<u32> = (0..tasks_max).map(|seq| insert(&mut tasks, seq)).collect();
            tasks.check();
            for start in 0..stride {
                for seq in (start..tasks_max).step_by(stride as usize) {
                    assert_eq!(tasks.remove(slots[seq as usize]), seq);
                }
            }
            tasks.check();
            assert_eq!(capacity(&tasks), CHUNK as usize);
        }
    }

    #[test]
    fn a_longer_table_of_chunks_is_given_back_too() {
        let mut tasks = Tasks::new();
        let tasks_max = (CHUNKS_KEPT as u64 + 1) * u64::from(CHUNK);
        let slots: Vec<u32> = (0..tasks_max).map(|seq| insert(&mut tasks, seq)).collect();
        slots.iter().for_each(|&slot| _ = tasks.remove(slot));
        tasks.check();
        assert_eq!((tasks.chunks.len(), tasks.live), (0, 0));
        let slot = insert(&mut tasks, 5);
        assert_eq!(tasks.remove(slot), 5);
    }

    /// A slot that was used again does not answer to the old id.
    #[test]
    fn an_id_finds_its_own_task_alone() {
        let mut tasks = Tasks::new();
        let slot = insert(&mut tasks, 0);
        assert_eq!(tasks.find(TaskId { seq: 0, slot }), Some(slot));
        tasks.remove(slot);
        assert_eq!(tasks.find(TaskId { seq: 0, slot }), None);
        assert_eq!(insert(&mut tasks, 1), slot);
        assert_eq!(tasks.find(TaskId { seq: 0, slot }), None);
        assert_eq!(tasks.find(TaskId { seq: 1, slot }), Some(slot));
        for slot in [slot + 1, CHUNK, NONE] {
            assert_eq!(tasks.find(TaskId { seq: 1, slot }), None);
        }
    }
}
