//! Result batches: what a slave brings back in one packet.

use std::ops::Range;

use rkyv::rancor::Failure;
use rkyv::{Archive, Deserialize, Serialize};

use super::{
    BatchError, RESULT_ENTRY_BYTES, Tiling, append_body, batch_bytes, check_length, encode_archive,
    range_in,
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

/// A result of a batch, its body aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResultEntryRef {
    /// The task's number.
    pub task: u64,
    /// Its algorithm's index in the fingerprint.
    pub algorithm: u16,
    /// What the body is.
    pub status: ResultStatus,
    /// How long the slave computed.
    pub compute_ns: Nanos,
}

/// Collects results and encodes them as one payload; reusable, so that the steady state allocates nothing.
#[derive(Default)]
pub struct ResultBatchBuilder {
    batch: ResultBatch,
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
    }

    /// Adds a result; of a failed one the body is the text, in UTF-8.
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
        let (offset, len) = append_body(&mut self.batch.blob, body);
        self.batch.entries.push(ResultEntry {
            task: task.to_le_bytes(),
            compute_ns: compute_ns.to_le_bytes(),
            offset,
            len,
            algorithm: algorithm.to_le_bytes(),
            status: status as u8,
            reserved: 0,
        });
    }

    /// How many results it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The exact bytes of the payload that [`Self::encode`] would write.
    #[must_use]
    pub fn bytes(&self) -> usize {
        batch_bytes(self.len(), RESULT_ENTRY_BYTES, self.batch.blob.len())
    }

    /// Appends the payload (without a frame header) and keeps the results.
    pub fn encode(&mut self, out: &mut Vec<u8>) {
        out.reserve(self.bytes());
        encode_archive(&self.batch, out);
    }
}

/// Reads a result batch in place.
///
/// # Errors
/// When the archive is damaged, the bodies do not tile the blob, a status means nothing or a failure's text is not
/// UTF-8.
pub fn result_batch(payload: &[u8]) -> Result<ResultBatchView<'_>, BatchError> {
    let batch = rkyv::api::low::access::<ArchivedResultBatch, Failure>(payload).map_err(|_| {
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
        let status = ResultStatus::from_u8(entry.status).ok_or(BatchError::Status {
            index,
            got: entry.status,
        })?;
        if status == ResultStatus::Failed && std::str::from_utf8(view.body(entry)).is_err() {
            return Err(BatchError::FailureText { index });
        }
    }
    tiling.end()?;
    Ok(view)
}

/// A checked result batch, read in place.
#[derive(Clone, Copy)]
pub struct ResultBatchView<'a> {
    payload: &'a [u8],
    batch: &'a ArchivedResultBatch,
}

impl<'a> ResultBatchView<'a> {
    /// How many results it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.batch.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.entries.is_empty()
    }

    /// The results and their bodies, in the order they were pushed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ResultEntryRef, &'a [u8])> + use<'a> {
        let view = *self;
        view.batch.entries.iter().map(move |entry| {
            let head = ResultEntryRef {
                task: u64::from_le_bytes(entry.task),
                algorithm: u16::from_le_bytes(entry.algorithm),
                status: ResultStatus::from_u8(entry.status)
                    .expect("result_batch() checked every status"),
                compute_ns: u64::from_le_bytes(entry.compute_ns),
            };
            (head, view.body(entry))
        })
    }

    /// Where the body of the result at `index` lies in the payload.
    ///
    /// # Panics
    /// When there is no such result.
    #[must_use]
    pub fn body_range(&self, index: usize) -> Range<usize> {
        range_in(self.payload, self.body(&self.batch.entries[index]))
    }

    fn body(&self, entry: &ArchivedResultEntry) -> &'a [u8] {
        let offset = u32::from_le_bytes(entry.offset) as usize;
        &self.batch.blob[offset..][..u32::from_le_bytes(entry.len) as usize]
    }
}
