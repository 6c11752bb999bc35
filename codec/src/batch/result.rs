//! Result batches: what a slave brings back in one packet.

use std::ops::Range;

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use super::{
    BatchError, Elements, Gap, RESULT_ENTRY_BYTES, Tiling, append_body, batch_bytes, check_length,
    check_series, encode_around, gap_bytes, push_gap, range_in, widen,
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
    form: u8,
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
    /// Whether they differ in length.
    pub is_varied: bool,
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
        let elements = Elements::new(self.count, self.is_varied, body.len());
        elements.expect("decode() checked every series")
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

/// The form of an entry whose results are of one length, one by itself included; of one whose results differ.
const EQUAL: u8 = 0;
const VARIED: u8 = 1;

/// Collects results and encodes them as one payload; reusable, so that the steady state allocates nothing.
///
/// Results that follow one another with consecutive numbers become a series: done, of one algorithm, and with less than
/// 4.3 s of compute time each.
#[derive(Default)]
pub struct ResultBatchBuilder {
    batch: ResultBatch,
    results: usize,
    open: Option<Open>,
    /// Where each result of the open entry ends in its body, as the table says it.
    ends: Vec<[u8; Elements::END_BYTES]>,
    /// Bodies that are elsewhere.
    gaps: Vec<Gap>,
}

/// The last entry, while results may continue it. Its table is written when it is closed.
struct Open {
    /// The number that the next result must have.
    task: u64,
    algorithm: u16,
    /// Of its first output.
    output_bytes: usize,
    /// Another is not as long.
    is_varied: bool,
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
        self.ends.clear();
        self.gaps.clear();
    }

    /// Adds a done result whose output, of so many bytes, is elsewhere, and is sent from there. It is an entry of its own.
    ///
    /// # Panics
    /// As [`push`](Self::push).
    pub fn push_long(&mut self, task: u64, algorithm: u16, compute_ns: Nanos, output_bytes: usize) {
        self.close();
        self.results += 1;
        let before = gap_bytes(&self.gaps);
        let place = append_body(&mut self.batch.blob, |_| ());
        let [offset, len] = widen(place, before, output_bytes);
        push_gap(&mut self.gaps, &self.batch.blob, output_bytes);
        self.batch.entries.push(ResultEntry {
            task: task.to_le_bytes(),
            compute_ns: compute_ns.to_le_bytes(),
            offset,
            len,
            count: 1u32.to_le_bytes(),
            algorithm: algorithm.to_le_bytes(),
            status: ResultStatus::Done as u8,
            form: EQUAL,
        });
    }

    /// The bodies that are elsewhere, in their order.
    #[must_use]
    pub fn gaps(&self) -> &[Gap] {
        &self.gaps
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
        if self.continues(task, algorithm, status, compute_ns) {
            return self.push_element(compute_ns, body);
        }
        self.close();
        let before = gap_bytes(&self.gaps);
        let place = append_body(&mut self.batch.blob, |blob| blob.extend_from_slice(body));
        let [offset, len] = widen(place, before, 0);
        self.batch.entries.push(ResultEntry {
            task: task.to_le_bytes(),
            compute_ns: compute_ns.to_le_bytes(),
            offset,
            len,
            count: 1u32.to_le_bytes(),
            algorithm: algorithm.to_le_bytes(),
            status: status as u8,
            form: EQUAL,
        });
        let may_go_on = status == ResultStatus::Done && compute_ns <= u32::MAX.into();
        let next = task.checked_add(1).filter(|_| may_go_on);
        self.open = next.map(|task| Open {
            task,
            algorithm,
            output_bytes: body.len(),
            is_varied: false,
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
    ) -> bool {
        self.open.as_ref().is_some_and(|open| {
            (open.task, open.algorithm) == (task, algorithm)
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
        let begin = u32::from_le_bytes(entry.offset) as usize - gap_bytes(&self.gaps);
        let bounded = |bytes: usize| u32::try_from(bytes).expect("bounded by the buffer limits");
        if open.count == 1 {
            // Alone its compute time stood in the entry; of several each has its own before its output.
            let end = blob.len();
            blob.extend_from_slice(&[0; Elements::HEAD_BYTES]);
            blob.copy_within(begin..end, begin + Elements::HEAD_BYTES);
            blob[begin..][..Elements::HEAD_BYTES]
                .copy_from_slice(&narrow(open.compute_ns).to_le_bytes());
            self.ends.push(bounded(blob.len() - begin).to_le_bytes());
        }
        blob.extend_from_slice(&narrow(compute_ns).to_le_bytes());
        blob.extend_from_slice(output);
        let len = bounded(blob.len() - begin);
        self.ends.push(len.to_le_bytes());
        open.is_varied |= output.len() != open.output_bytes;
        open.count += 1;
        open.compute_ns += compute_ns;
        entry.len = len.to_le_bytes();
        entry.count = open.count.to_le_bytes();
        entry.compute_ns = open.compute_ns.to_le_bytes();
        match open.task.checked_add(1) {
            Some(next) => open.task = next,
            None => self.close(),
        }
    }

    /// No result continues the last entry any more: if its results differ in length, it gets its table.
    #[inline]
    fn close(&mut self) {
        if self.open.take().is_some_and(|open| open.is_varied)
            && let Some(entry) = self.batch.entries.last_mut()
        {
            let table = self.ends.as_flattened();
            let (_, table_bytes) =
                append_body(&mut self.batch.blob, |blob| blob.extend_from_slice(table));
            let bytes = u32::from_le_bytes(entry.len) + u32::from_le_bytes(table_bytes);
            entry.len = bytes.to_le_bytes();
            entry.form = VARIED;
        }
        self.ends.clear();
    }

    /// How many entries it holds: series, and results by themselves.
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
        let open = self.open.as_ref();
        let table = open.map_or(0, |open| open.table_bytes(open.is_varied));
        let bodies = self.batch.blob.len() + gap_bytes(&self.gaps) + table;
        batch_bytes(self.entries(), RESULT_ENTRY_BYTES, bodies)
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
            Some(open) if self.continues(task, algorithm, status, compute_ns) => {
                let is_varied = open.is_varied || body_bytes != open.output_bytes;
                let ends = match is_varied {
                    true => open.table_bytes(true) + Elements::END_BYTES,
                    false => 0,
                };
                let heads = Elements::HEAD_BYTES * if open.count == 1 { 2 } else { 1 };
                heads + ends - open.table_bytes(open.is_varied)
            }
            _ => RESULT_ENTRY_BYTES,
        };
        self.bytes() + added + body_bytes
    }

    /// Appends the payload (without a frame header, and without what is [elsewhere](Self::gaps)) and keeps the results; what
    /// is pushed then begins an entry.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        self.close();
        out.reserve(self.bytes() - gap_bytes(&self.gaps));
        encode_around(&self.batch, &self.gaps, out);
    }
}

impl Open {
    /// Bytes of its table, if it has one.
    fn table_bytes(&self, is_varied: bool) -> usize {
        match is_varied {
            true => Elements::END_BYTES * self.count as usize,
            false => 0,
        }
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
        return Err(BatchError::FailedSeries { index, count });
    }
    let elements = Elements::new(count, entry.form == VARIED, body.len());
    let elements = elements.filter(|elements| elements.check_table(body));
    let Some(elements) = elements else {
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
    /// When the archive is damaged, the bodies do not tile the blob, a status or a form means nothing, a failure's text is
    /// not UTF-8, or a series is not one: of no result, of failures, beyond the last number, of other lengths than it says,
    /// with another sum of compute times.
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
            if entry.form != EQUAL && (entry.form != VARIED || count == 1) {
                let got = entry.form;
                return Err(BatchError::Form { index, got });
            }
            if count > 1 {
                check_elements(index, count, status, entry, view.body(entry))?;
            }
        }
        tiling.end()?;
        Ok(view)
    }

    /// How many entries it holds: series, and results by themselves.
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
                is_varied: entry.form == VARIED,
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
