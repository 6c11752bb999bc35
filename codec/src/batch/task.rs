//! Task batches: what the master hands to a slave in one packet.

use std::ops::Range;

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use super::{
    BatchError, Gap, TASK_ENTRY_BYTES, TaskSeries, Tiling, append_body, batch_bytes, check_length,
    check_series, encode_around, gap_bytes, push_gap, range_in, widen,
};

/// Bit 0 of a task's flags: it was in a lost slave's hands, so its start is announced; of a series, each task's.
pub const MARKED: u16 = 1;
/// Bit 1: it is for this slave alone, which never gives it back.
pub const BOUND: u16 = 2;
/// Bit 2: the master converses with it. The other bits are zero.
pub const CONVERSES: u16 = 4;

#[derive(Archive, Serialize, Deserialize, Clone, Copy)]
#[repr(C)]
struct TaskEntry {
    task: [u8; 8],
    count: [u8; 4],
    algorithm: [u8; 2],
    flags: [u8; 2],
    offset: [u8; 4],
    len: [u8; 4],
}

// Else encoding would go entry by entry.
const _: () = assert!(<TaskEntry as Archive>::COPY_OPTIMIZATION.is_enabled());
const _: () = assert!(size_of::<ArchivedTaskEntry>() == TASK_ENTRY_BYTES);
const _: () = assert!(
    align_of::<ArchivedTaskBatch>() == 1
        && size_of::<ArchivedTaskBatch>() == super::BATCH_OVERHEAD_BYTES
);

#[derive(Archive, Serialize, Deserialize, Default)]
struct TaskBatch {
    blob: Vec<u8>,
    entries: Vec<TaskEntry>,
}

/// Collects tasks and encodes them as one payload; reusable, so that the steady state allocates nothing.
#[derive(Default)]
pub struct TaskBatchBuilder {
    batch: TaskBatch,
    tasks: usize,
    /// Ends of bodies that are elsewhere.
    gaps: Vec<Gap>,
}

impl TaskBatchBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops the tasks and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.blob.clear();
        self.batch.entries.clear();
        self.tasks = 0;
        self.gaps.clear();
    }

    /// Adds a task: its number, its algorithm's index, its flags ([`MARKED`], [`BOUND`], [`CONVERSES`]), and its
    /// body.
    pub fn push(&mut self, task: u64, algorithm: u16, flags: u16, body: &[u8]) {
        self.push_long(task, algorithm, flags, body, 0);
    }

    /// As [`push`](Self::push); the last bytes of the body are elsewhere, and are sent from there.
    pub fn push_long(&mut self, task: u64, algorithm: u16, flags: u16, head: &[u8], more: usize) {
        let before = gap_bytes(&self.gaps);
        let place = append_body(&mut self.batch.blob, |blob| blob.extend_from_slice(head));
        let [offset, len] = widen(place, before, more);
        if more > 0 {
            push_gap(&mut self.gaps, &self.batch.blob, more);
        }
        self.push_entry(task, 1, algorithm, flags, offset, len);
    }

    /// Adds tasks with consecutive numbers as one entry; a series of one is the task by itself.
    ///
    /// One that does not hold together is refused where it is read.
    pub fn push_series(&mut self, first: u64, algorithm: u16, flags: u16, series: &TaskSeries<'_>) {
        let before = gap_bytes(&self.gaps);
        let place = append_body(&mut self.batch.blob, |blob| series.encode(blob));
        let [offset, len] = widen(place, before, 0);
        self.push_entry(first, series.count, algorithm, flags, offset, len);
    }

    fn push_entry(
        &mut self,
        first: u64,
        count: u32,
        algorithm: u16,
        flags: u16,
        offset: [u8; 4],
        len: [u8; 4],
    ) {
        self.tasks += count as usize;
        self.batch.entries.push(TaskEntry {
            task: first.to_le_bytes(),
            count: count.to_le_bytes(),
            algorithm: algorithm.to_le_bytes(),
            flags: flags.to_le_bytes(),
            offset,
            len,
        });
    }

    /// How many entries it holds: series, and tasks by themselves.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.batch.entries.len()
    }

    /// How many tasks its entries stand for.
    #[must_use]
    pub const fn tasks(&self) -> usize {
        self.tasks
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The exact bytes of the payload that [`Self::encode`] would write.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bodies = self.batch.blob.len() + gap_bytes(&self.gaps);
        batch_bytes(self.entries(), TASK_ENTRY_BYTES, bodies)
    }

    /// Appends the payload (without a frame header, and without what is [elsewhere](Self::gaps)) and keeps the tasks.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        out.reserve(self.bytes() - gap_bytes(&self.gaps));
        encode_around(&self.batch, &self.gaps, out);
    }

    /// The ends of bodies that are elsewhere, in their order.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
    }
}

/// An entry of a batch, its body aside: a task, or a series of tasks with consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskEntryRef {
    /// The first task's number.
    pub task: u64,
    /// How many tasks there are, at least 1.
    pub count: u32,
    /// Its algorithm's index in the fingerprint.
    pub algorithm: u16,
    /// [`MARKED`], [`BOUND`], [`CONVERSES`], several or 0.
    pub flags: u16,
}

impl TaskEntryRef {
    /// Whether its tasks were in a lost slave's hands.
    #[must_use]
    pub const fn is_marked(&self) -> bool {
        self.flags & MARKED != 0
    }
}

/// A checked task batch, read in place.
#[derive(Clone, Copy)]
pub struct TaskBatchView<'a> {
    payload: &'a [u8],
    batch: &'a ArchivedTaskBatch,
}

impl<'a> TaskBatchView<'a> {
    /// Reads a task batch in place; its bodies are left to [`TaskSeries::parse`].
    ///
    /// # Errors
    /// When the archive is damaged, the bodies do not tile the blob, or an entry stands for no task or for tasks beyond the
    /// last number.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BatchError> {
        let batch =
            rkyv::api::low::access::<ArchivedTaskBatch, Failure>(payload).map_err(|_| {
                BatchError::Archive {
                    payload_bytes: payload.len(),
                }
            })?;
        check_length(
            payload,
            batch.entries.len(),
            TASK_ENTRY_BYTES,
            batch.blob.len(),
        )?;
        let mut tiling = Tiling::new(batch.blob.len());
        for (index, entry) in batch.entries.iter().enumerate() {
            tiling.place(
                index,
                u32::from_le_bytes(entry.offset),
                u32::from_le_bytes(entry.len),
            )?;
            check_series(
                index,
                u64::from_le_bytes(entry.task),
                u32::from_le_bytes(entry.count),
            )?;
        }
        tiling.end()?;
        Ok(TaskBatchView { payload, batch })
    }

    /// How many entries it holds: series, and tasks by themselves.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.batch.entries.len()
    }

    /// How many tasks its entries stand for.
    #[must_use]
    pub fn tasks(&self) -> u64 {
        let entries = self.batch.entries.iter();
        entries
            .map(|entry| u64::from(u32::from_le_bytes(entry.count)))
            .sum()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The entries and their bodies, in the order they were pushed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (TaskEntryRef, &'a [u8])> + use<'a> {
        let view = *self;
        view.batch.entries.iter().map(move |entry| {
            let head = TaskEntryRef {
                task: u64::from_le_bytes(entry.task),
                count: u32::from_le_bytes(entry.count),
                algorithm: u16::from_le_bytes(entry.algorithm),
                flags: u16::from_le_bytes(entry.flags),
            };
            (head, view.body(entry))
        })
    }

    /// Where the body of the entry at `index` lies in the payload.
    ///
    /// # Panics
    /// When there is no such entry.
    #[must_use]
    pub fn body_range(&self, index: usize) -> Range<usize> {
        range_in(self.payload, self.body(&self.batch.entries[index]))
    }

    fn body(&self, entry: &ArchivedTaskEntry) -> &'a [u8] {
        let offset = u32::from_le_bytes(entry.offset) as usize;
        &self.batch.blob[offset..][..u32::from_le_bytes(entry.len) as usize]
    }
}
