//! Result batches: what a slave brings back in one packet.

use std::ops::Range;

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use super::{
    BatchError, Elements, RESULT_ENTRY_BYTES, Tiling, append_body, batch_bytes, check_length,
    check_series, encode_archive, range_in,
};
use crate::Nanos;

/// How a task ended on the slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ResultStatus {
    /// The body is the output's archive.
    Done = 0,
    /// The body is the failure's text, message and place, in UTF-8.
    Failed = 1,
}

impl ResultStatus {
    const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(ResultStatus::Done),
            1 => Some(ResultStatus::Failed),
            _ => None,
        }
    }
}

#[derive(Archive, Serialize, Deserialize, Clone, Copy)]
#[repr(C)]
struct ResultEntry {
    task: [u8; 8],
    compute_ns: [u8; 8],
    offset: [u8; 4],
    len: [u8; 4],
    count: [u8; 4],
    algorithm: [u8; 2],
    status: u8,
    reserved: u8,
}

// Else encoding would go entry by entry.
const _: () = assert!(<ResultEntry as Archive>::COPY_OPTIMIZATION.is_enabled());
const _: () = assert!(size_of::<ArchivedResultEntry>() == RESULT_ENTRY_BYTES);
const _: () = assert!(
    align_of::<ArchivedResultBatch>() == 1
        && size_of::<ArchivedResultBatch>() == super::BATCH_OVERHEAD_BYTES
);

#[derive(Archive, Serialize, Deserialize, Default)]
struct ResultBatch {
    blob: Vec<u8>,
    entries: Vec<ResultEntry>,
}

/// An entry of a batch, its body aside: a result, or a series of done ones of tasks with consecutive numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultEntryRef {
    /// The first task's number.
    pub task: u64,
    /// How many results there are, at least 1.
    pub count: u32,
    /// The algorithm's index in the fingerprint.
    pub algorithm: u16,
    /// What the body is, or its elements are.
    pub status: ResultStatus,
    /// How long the slave computed, in all.
    pub compute_ns: Nanos,
}

impl ResultEntryRef {
    /// Where its results lie in `body`, which is its own.
    ///
    /// # Panics
    /// When `body` is another entry's.
    #[must_use]
    #[inline]
    pub fn elements(&self, body: &[u8]) -> Elements {
        Elements::new(self.count, body.len()).expect("decode() checked every series")
    }

    /// The result at `index` of this entry, whose body is `body`: how long the slave computed, and the output (or the
    /// failure's text).
    ///
    /// # Panics
    /// When there is no such result, or `body` is another entry's.
    #[must_use]
    #[inline]
    pub fn element<'a>(&self, body: &'a [u8], index: u32) -> (Nanos, &'a [u8]) {
        assert!(index < self.count, "result {index} of {}", self.count);
        let elements = self.elements(body);
        let mut one = elements.iter(body, index, 1, self.compute_ns);
        one.next().expect("one was asked for")
    }
}

/// Collects results and encodes them as one payload; reusable, so that the steady state allocates nothing.
///
/// Results that follow one another with consecutive numbers and are alike become a series: done, of one algorithm, with
/// outputs of equal length and less than 4.3 s of compute time each.
#[derive(Default)]
pub struct ResultBatchBuilder {
    batch: ResultBatch,
    results: usize,
    open: Option<Open>,
}

/// What the next result must be to continue the last entry.
struct Open {
    task: u64,
    algorithm: u16,
    output_bytes: usize,
    /// Of the entry so far.
    count: u32,
    compute_ns: Nanos,
}

impl ResultBatchBuilder {
    /// An empty builder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Drops the results and keeps the memory.
    pub fn clear(&mut self) {
        self.batch.blob.clear();
        self.batch.entries.clear();
        self.results = 0;
        self.open = None;
    }

    /// Adds a result; of a failed one the body is the text, in UTF-8.
    ///
    /// # Panics
    /// When the bodies exceed 4 GiB; the buffer limits are far below.
    #[inline]
    pub fn push(
        &mut self,
        task: u64,
        algorithm: u16,
        status: ResultStatus,
        compute_ns: Nanos,
        body: &[u8],
    ) {
        debug_assert!(
            status == ResultStatus::Done || std::str::from_utf8(body).is_ok(),
            "a failure is told in UTF-8"
        );
        self.results += 1;
        if self.continues(task, algorithm, status, compute_ns, body.len()) {
            return self.push_element(compute_ns, body);
        }
        let (offset, len) = append_body(&mut self.batch.blob, |blob| blob.extend_from_slice(body));
        self.batch.entries.push(ResultEntry {
            task: task.to_le_bytes(),
            compute_ns: compute_ns.to_le_bytes(),
            offset,
            len,
            count: 1u32.to_le_bytes(),
            algorithm: algorithm.to_le_bytes(),
            status: status as u8,
            reserved: 0,
        });
        let may_go_on = status == ResultStatus::Done && compute_ns <= u32::MAX.into();
        let next = task.checked_add(1).filter(|_| may_go_on);
        self.open = next.map(|task| Open {
            task,
            algorithm,
            output_bytes: body.len(),
            count: 1,
            compute_ns,
        });
    }

    /// Whether a result would become part of the last entry.
    #[inline]
    fn continues(
        &self,
        task: u64,
        algorithm: u16,
        status: ResultStatus,
        compute_ns: Nanos,
        body_bytes: usize,
    ) -> bool {
        self.open.as_ref().is_some_and(|open| {
            (open.task, open.algorithm, open.output_bytes) == (task, algorithm, body_bytes)
                && status == ResultStatus::Done
                && compute_ns <= u32::MAX.into()
        })
    }

    /// Lays a result behind those of the last entry.
    #[inline]
    fn push_element(&mut self, compute_ns: Nanos, output: &[u8]) {
        let (Some(open), Some(entry)) = (&mut self.open, self.batch.entries.last_mut()) else {
            unreachable!("continues() found them");
        };
        let narrow = |ns: Nanos| u32::try_from(ns).expect("continues() checked both");
        let blob = &mut self.batch.blob;
        let begin = u32::from_le_bytes(entry.offset) as usize;
        if open.count == 1 {
            // Alone its compute time stood in the entry; of several each has its own before its output.
            let end = blob.len();
            blob.extend_from_slice(&[0; Elements::HEAD_BYTES]);
            blob.copy_within(begin..end, begin + Elements::HEAD_BYTES);
            blob[begin..][..Elements::HEAD_BYTES]
                .copy_from_slice(&narrow(open.compute_ns).to_le_bytes());
        }
        blob.extend_from_slice(&narrow(compute_ns).to_le_bytes());
        blob.extend_from_slice(output);
        let len = u32::try_from(blob.len() - begin).expect("bounded by the buffer limits");
        open.count += 1;
        open.compute_ns += compute_ns;
        entry.len = len.to_le_bytes();
        entry.count = open.count.to_le_bytes();
        entry.compute_ns = open.compute_ns.to_le_bytes();
        match open.task.checked_add(1) {
            Some(next) => open.task = next,
            None => self.open = None,
        }
    }

    /// How many entries it holds: runs, and results by themselves.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.batch.entries.len()
    }

    /// How many tasks have their result in it.
    #[must_use]
    pub const fn tasks(&self) -> usize {
        self.results
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The exact bytes of the payload that [`Self::encode`] would write.
    #[must_use]
    pub fn bytes(&self) -> usize {
        batch_bytes(self.entries(), RESULT_ENTRY_BYTES, self.batch.blob.len())
    }

    /// The exact bytes of the payload if a result with a body of so many bytes were added.
    #[must_use]
    #[inline]
    pub fn bytes_with(
        &self,
        task: u64,
        algorithm: u16,
        status: ResultStatus,
        compute_ns: Nanos,
        body_bytes: usize,
    ) -> usize {
        let added = match &self.open {
            Some(open) if self.continues(task, algorithm, status, compute_ns, body_bytes) => {
                Elements::HEAD_BYTES * if open.count == 1 { 2 } else { 1 }
            }
            _ => RESULT_ENTRY_BYTES,
        };
        self.bytes() + added + body_bytes
    }

    /// Appends the payload (without a frame header) and keeps the results.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        encode_archive(&self.batch, out);
    }
}

/// A series of several results holds together.
fn check_elements(
    index: usize,
    count: u32,
    status: ResultStatus,
    entry: &ArchivedResultEntry,
    body: &[u8],
) -> Result<(), BatchError> {
    if status == ResultStatus::Failed {
        return Err(BatchError::FailedRun { index, count });
    }
    let Some(elements) = Elements::new(count, body.len()) else {
        let len = u32::from_le_bytes(entry.len);
        return Err(BatchError::Elements { index, count, len });
    };
    let results = elements.iter(body, 0, count, 0);
    let expected = results.map(|(compute_ns, _)| compute_ns).sum();
    let got = u64::from_le_bytes(entry.compute_ns);
    if got != expected {
        return Err(BatchError::Compute {
            index,
            expected,
            got,
        });
    }
    Ok(())
}

/// A checked result batch, read in place.
#[derive(Clone, Copy)]
pub struct ResultBatchView<'a> {
    payload: &'a [u8],
    batch: &'a ArchivedResultBatch,
}

impl<'a> ResultBatchView<'a> {
    /// Reads a result batch in place.
    ///
    /// # Errors
    /// When the archive is damaged, the bodies do not tile the blob, a status means nothing, a failure's text is not UTF-8,
    /// or a series is not one: of no result, of failures, beyond the last number, of unequal lengths, with another sum of
    /// compute times.
    pub fn decode(payload: &'a [u8]) -> Result<Self, BatchError> {
        let batch =
            rkyv::api::low::access::<ArchivedResultBatch, Failure>(payload).map_err(|_| {
                BatchError::Archive {
                    payload_bytes: payload.len(),
                }
            })?;
        check_length(
            payload,
            batch.entries.len(),
            RESULT_ENTRY_BYTES,
            batch.blob.len(),
        )?;
        let view = ResultBatchView { payload, batch };
        let mut tiling = Tiling::new(batch.blob.len());
        for (index, entry) in batch.entries.iter().enumerate() {
            tiling.place(
                index,
                u32::from_le_bytes(entry.offset),
                u32::from_le_bytes(entry.len),
            )?;
            let count = u32::from_le_bytes(entry.count);
            check_series(index, u64::from_le_bytes(entry.task), count)?;
            let status = ResultStatus::from_u8(entry.status).ok_or(BatchError::Status {
                index,
                got: entry.status,
            })?;
            if status == ResultStatus::Failed && std::str::from_utf8(view.body(entry)).is_err() {
                return Err(BatchError::FailureText { index });
            }
            if count > 1 {
                check_elements(index, count, status, entry, view.body(entry))?;
            }
        }
        tiling.end()?;
        Ok(view)
    }

    /// How many entries it holds: runs, and results by themselves.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.batch.entries.len()
    }

    /// How many tasks have their result in it.
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

    /// The bodies of all entries, one behind the other.
    #[must_use]
    #[inline]
    pub fn bodies(&self) -> &'a [u8] {
        &self.batch.blob
    }

    /// The entries and their bodies, in the order they were pushed.
    #[inline]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ResultEntryRef, &'a [u8])> + use<'a> {
        let view = *self;
        view.batch.entries.iter().map(move |entry| {
            let head = ResultEntryRef {
                task: u64::from_le_bytes(entry.task),
                count: u32::from_le_bytes(entry.count),
                algorithm: u16::from_le_bytes(entry.algorithm),
                status: ResultStatus::from_u8(entry.status).expect("decode() checked every status"),
                compute_ns: u64::from_le_bytes(entry.compute_ns),
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

    #[inline]
    fn body(&self, entry: &ArchivedResultEntry) -> &'a [u8] {
        let offset = u32::from_le_bytes(entry.offset) as usize;
        &self.batch.blob[offset..][..u32::from_le_bytes(entry.len) as usize]
    }
}
