//! Task and result batches: one rkyv archive per packet, and the layout of a task's body.
//!
//! A batch is a vector of fixed-size entries and one blob with the bodies, in the entries' order and without gaps. An
//! entry stands for one task or result, or for a *series* of consecutive ones that share all but their own bytes:
//!
//! ```text
//!   | body 0 | body 1 | .. | entry 0 | entry 1 | .. | root: where blob and entries lie, 32 bytes |
//! ```
//!
//! so that encoding is two copies and no allocation, and a body is read in place. The numbers of an entry are stored
//! as little-endian byte arrays, whose archive is their own image. The bodies are opaque here: the user's archives,
//! which the runtime checks by the algorithm's registered type.
//!
//! Reading is checked throughout, and stricter than rkyv alone: the bodies must tile the blob and the payload must
//! have exactly the bytes that its entries and bodies need, so that no body counts twice and no byte belongs to nobody.
//!
//! ```
//! use ringmw_codec::batch::{TaskBatchBuilder, TaskBatchView};
//!
//! let mut builder = TaskBatchBuilder::new();
//! builder.push(920, 0, 0, b"body");
//! let mut payload = Vec::new();
//! builder.encode(&mut payload);
//! assert_eq!(payload.len(), builder.bytes());
//!
//! let batch = TaskBatchView::decode(&payload)?;
//! let (entry, body) = batch.iter().next().expect("one task");
//! assert_eq!((entry.task, body), (920, &b"body"[..]));
//! assert_eq!(&payload[batch.body_range(0)], b"body");
//! # Ok::<(), ringmw_codec::batch::BatchError>(())
//! ```
//!
//! Version 2 had series, which version 1 had not; those of version 3 may differ in length and have tags. rkyv's features
//! (little endian, 64-bit pointers, unaligned) are part of it.

use std::ops::Range;

use rkyv::rancor::Panic;
use rkyv::ser::allocator::SubAllocator;
use thiserror::Error;

pub use body::{
    TASK_BODY_HEADER_BYTES_MAX, TASK_END_BYTES, TaskBody, TaskSeries, encode_task_body,
};
pub use elements::Elements;
pub use result::{ResultBatchBuilder, ResultBatchView, ResultEntryRef, ResultStatus};
pub use task::{BOUND, CONVERSES, MARKED, TaskBatchBuilder, TaskBatchView, TaskEntryRef};

mod body;
mod elements;
mod result;
mod task;

/// The version of the archive format, rkyv's features included, for the fingerprint. Version 3: series of tasks and
/// results that differ in length, and of tasks with tags.
pub const ARCHIVE_FORMAT: u32 = 3;
/// Bytes that a task, or a series of tasks, takes in a packet beside its body.
pub const TASK_ENTRY_BYTES: usize = 24;
/// Bytes that a result, or a series of results, takes in a packet beside its body.
pub const RESULT_ENTRY_BYTES: usize = 32;
/// Bytes that a packet takes beside its entries and bodies (and beside the frame's header).
pub const BATCH_OVERHEAD_BYTES: usize = 32;

// Every offset in a receive buffer must do: an archived type that wanted alignment would be refused at odd ones.
const _: () = {
    assert!(align_of::<rkyv::vec::ArchivedVec<u8>>() == 1);
    assert!(size_of::<rkyv::vec::ArchivedVec<u8>>() == 16);
    assert!(align_of::<rkyv::Archived<u64>>() == 1);
    assert!(align_of::<rkyv::Archived<f64>>() == 1);
    assert!(align_of::<rkyv::Archived<String>>() == 1);
    assert!(size_of::<rkyv::Archived<usize>>() == 8);
};

/// Why a payload is not a batch. The peer that sent it is in the wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The archive does not hold together.
    #[error("the batch's archive is damaged ({payload_bytes} bytes)")]
    Archive {
        /// Bytes of the payload.
        payload_bytes: usize,
    },
    /// The payload has other bytes than its entries and bodies account for.
    #[error("the batch has {got} bytes, its entries and bodies account for {expected}")]
    Length {
        /// Bytes accounted for.
        expected: usize,
        /// Bytes of the payload.
        got: usize,
    },
    /// An entry's body does not lie where it must.
    #[error(
        "entry {index}: its body ({len} bytes at {offset}) does not follow the last one at {expected} in {blob_bytes} bytes"
    )]
    Body {
        /// The entry's place in the batch.
        index: usize,
        /// Where the entry says that its body begins.
        offset: u32,
        /// How long the entry says that its body is.
        len: u32,
        /// Where the body must begin.
        expected: usize,
        /// Bytes of all bodies.
        blob_bytes: usize,
    },
    /// Bytes of the blob belong to no entry.
    #[error("the bodies have {got} bytes, the entries name {expected}")]
    Blob {
        /// Bytes that the entries name.
        expected: usize,
        /// Bytes of all bodies.
        got: usize,
    },
    /// An entry stands for no task, or for tasks beyond the last number.
    #[error("entry {index}: {count} tasks from TASK-{first} on are no series")]
    Series {
        /// The entry's place in the batch.
        index: usize,
        /// The first task's number.
        first: u64,
        /// How many tasks the entry says that it stands for.
        count: u32,
    },
    /// A failed result stands for several tasks.
    #[error("entry {index}: one failure is told of {count} tasks")]
    FailedSeries {
        /// The entry's place in the batch.
        index: usize,
        /// How many tasks the entry says that it stands for.
        count: u32,
    },
    /// A series' body is not made of as many results of the lengths that it says.
    #[error("entry {index}: {len} bytes are not {count} results of the lengths that it says")]
    Elements {
        /// The entry's place in the batch.
        index: usize,
        /// How many results the entry says that it stands for.
        count: u32,
        /// Bytes of its body.
        len: u32,
    },
    /// A series' compute time is not that of its results.
    #[error("entry {index}: its results computed for {expected} ns, it says {got}")]
    Compute {
        /// The entry's place in the batch.
        index: usize,
        /// The sum over its results, in nanoseconds.
        expected: u64,
        /// What the entry says, in nanoseconds.
        got: u64,
    },
    /// A result is neither done nor failed.
    #[error("entry {index}: status {got} is neither done (0) nor failed (1)")]
    Status {
        /// The entry's place in the batch.
        index: usize,
        /// The status in the entry.
        got: u8,
    },
    /// Results are neither of one length nor of lengths that differ.
    #[error("entry {index}: form {got} is neither of one length (0) nor of several (1)")]
    Form {
        /// The entry's place in the batch.
        index: usize,
        /// The form in the entry.
        got: u8,
    },
    /// A failed result's text is not UTF-8.
    #[error("entry {index}: the failure's text is not UTF-8")]
    FailureText {
        /// The entry's place in the batch.
        index: usize,
    },
}

/// Follows the bodies through the blob: each must begin where the last one ended.
struct Tiling {
    end: usize,
    blob_bytes: usize,
}

impl Tiling {
    const fn new(blob_bytes: usize) -> Self {
        Self { end: 0, blob_bytes }
    }

    fn place(&mut self, index: usize, offset: u32, len: u32) -> Result<(), BatchError> {
        let expected = self.end;
        let end = expected.saturating_add(len as usize);
        if offset as usize != expected || end > self.blob_bytes {
            return Err(BatchError::Body {
                index,
                offset,
                len,
                expected,
                blob_bytes: self.blob_bytes,
            });
        }
        self.end = end;
        Ok(())
    }

    fn end(self) -> Result<(), BatchError> {
        if self.end != self.blob_bytes {
            return Err(BatchError::Blob {
                expected: self.end,
                got: self.blob_bytes,
            });
        }
        Ok(())
    }
}

/// An entry stands for at least one task, all of which have a number.
fn check_series(index: usize, first: u64, count: u32) -> Result<(), BatchError> {
    match count.checked_sub(1) {
        Some(more) if first.checked_add(more.into()).is_some() => Ok(()),
        _ => Err(BatchError::Series {
            index,
            first,
            count,
        }),
    }
}

fn check_length(
    payload: &[u8],
    entries: usize,
    entry_bytes: usize,
    blob_bytes: usize,
) -> Result<(), BatchError> {
    let expected = batch_bytes(entries, entry_bytes, blob_bytes);
    if expected != payload.len() {
        return Err(BatchError::Length {
            expected,
            got: payload.len(),
        });
    }
    Ok(())
}

/// Exact, since nothing in the archive is aligned.
const fn batch_bytes(entries: usize, entry_bytes: usize, blob_bytes: usize) -> usize {
    entries
        .saturating_mul(entry_bytes)
        .saturating_add(blob_bytes)
        .saturating_add(BATCH_OVERHEAD_BYTES)
}

/// Where `body`, a part of `payload`, lies in it.
fn range_in(payload: &[u8], body: &[u8]) -> Range<usize> {
    let start = body.as_ptr() as usize - payload.as_ptr() as usize;
    start..start + body.len()
}

/// Offset and length of the body that `append` puts to the end of `blob`, as entries store them.
///
/// # Panics
/// When the blob exceeds 4 GiB; the buffer limits are far below.
fn append_body(blob: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) -> ([u8; 4], [u8; 4]) {
    let before = blob.len();
    append(blob);
    let offset = u32::try_from(before).expect("a batch is bounded by the buffer limits");
    let len = u32::try_from(blob.len() - before).expect("a body is bounded by the buffer limits");
    (offset.to_le_bytes(), len.to_le_bytes())
}

/// Bytes of a payload that are not in the buffer that it is written to, but somewhere else: a long body is sent from where it
/// is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where they belong in what is in the buffer: counted from the payload's beginning, without the bytes of gaps.
    pub at: usize,
    /// How many there are.
    pub bytes: usize,
}

/// Adds a gap to those of a blob.
///
/// # Panics
/// When the bodies exceed 4 GiB; the buffer limits are far below.
fn push_gap(gaps: &mut Vec<Gap>, blob: &[u8], bytes: usize) {
    gaps.push(Gap {
        at: blob.len(),
        bytes,
    });
}

fn gap_bytes(gaps: &[Gap]) -> usize {
    gaps.iter().map(|gap| gap.bytes).sum()
}

/// Appends a batch whose blob has gaps: the root says where the blob begins and how long it is with their bytes in place.
fn encode_around<T: for<'a> rkyv::Serialize<ArchiveWriter<'a>>>(
    batch: &T,
    gaps: &[Gap],
    out: &mut Vec<u8>,
) {
    encode_archive(batch, out);
    if gaps.is_empty() {
        return;
    }
    // The root: of blob and entries each how far before its own place it begins, and how long it is.
    let root = out.len() - BATCH_OVERHEAD_BYTES;
    let (begin, rest) = out[root..].split_at_mut(8);
    let bytes = gap_bytes(gaps) as i64;
    for (field, more) in [(begin, -bytes), (&mut rest[..8], bytes)] {
        let number = i64::from_le_bytes((&*field).try_into().expect("eight bytes"));
        field.copy_from_slice(&(number + more).to_le_bytes());
    }
}

/// Offset and length of a body where `before` bytes of gaps are in front of it, and `more` at its end.
///
/// # Panics
/// As [`append_body`].
fn widen((offset, len): ([u8; 4], [u8; 4]), before: usize, more: usize) -> [[u8; 4]; 2] {
    [(offset, before), (len, more)].map(|(number, more)| {
        if more == 0 {
            return number;
        }
        let wide = u32::from_le_bytes(number) as usize + more;
        let wide = u32::try_from(wide).expect("a batch is bounded by the buffer limits");
        wide.to_le_bytes()
    })
}

/// What rkyv needs to write an archive to the end of a vector: positions relative to one another, no scratch memory.
type ArchiveWriter<'a> =
    rkyv::rancor::Strategy<rkyv::ser::Serializer<&'a mut Vec<u8>, SubAllocator<'a>, ()>, Panic>;

fn encode_archive<T: for<'a> rkyv::Serialize<ArchiveWriter<'a>>>(batch: &T, out: &mut Vec<u8>) {
    let mut writer = rkyv::ser::Serializer::new(out, SubAllocator::new(&mut []), ());
    match rkyv::api::serialize_using::<_, Panic>(batch, &mut writer) {
        Ok(_) => {}
        Err(impossible) => match impossible {},
    }
}
