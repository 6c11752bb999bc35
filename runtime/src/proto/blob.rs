//! Shared data as the cores know it: bytes with a name that is their hash, whoever made them and whatever they mean.
//!
//! The master keeps what handles and tasks name and sends pieces of it as slaves ask; a slave keeps what has come, by
//! least recent use. What stands in a file is never read here: the core says what it wants read, and is given it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use ringmw_codec::shared::{Blob as Piece, BlobName, BlobRef};

/// What a slave may be sent of shared data beyond what it has: a packet of tasks stands behind no more of it.
pub(crate) const WINDOW_BYTES: u64 = 1 << 20;

/// The most bytes of a piece.
pub(crate) const PIECE_BYTES_MAX: usize = Piece::PIECE_BYTES_MAX;

/// Finds what arguments mention; appends nothing where they are none.
pub(crate) type Mentions = fn(&[u8], &mut Vec<BlobRef>);

/// The name of these bytes.
pub(crate) fn name_of(bytes: &[u8]) -> BlobName {
    BlobName(*blake3::hash(bytes).as_bytes())
}

/// Shared data at the master.
pub(crate) struct Blob {
    pub(crate) of: BlobRef,
    pub(crate) source: Source,
}

/// Where shared data is.
pub(crate) enum Source {
    Memory(Bytes),
    File(Box<dyn BlobFile>),
}

/// Shared data that is read again whenever it is sent.
pub(crate) trait BlobFile: Send + Sync {
    /// Reads so many bytes from there on.
    ///
    /// # Errors
    /// When it cannot, and when the file is not what it was.
    fn read(&self, from: u64, bytes: usize) -> Result<Vec<u8>, String>;
}

/// Reads a part of a file as the pieces that are sent of it, each in memory of its own: one that is not written yet keeps no
/// other.
///
/// # Errors
/// As [`BlobFile::read`].
pub(crate) fn read_pieces(
    file: &dyn BlobFile,
    from: u64,
    bytes: usize,
) -> Result<VecDeque<Bytes>, String> {
    let places = (0..bytes).step_by(PIECE_BYTES_MAX);
    places
        .map(|at| {
            let piece = file.read(from + at as u64, PIECE_BYTES_MAX.min(bytes - at));
            piece.map(Bytes::from)
        })
        .collect()
}

impl Blob {
    pub(crate) fn in_memory(bytes: Vec<u8>) -> Self {
        let of = BlobRef {
            name: name_of(&bytes),
            bytes: bytes.len() as u64,
        };
        Blob {
            of,
            source: Source::Memory(bytes.into()),
        }
    }
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blob").field(&self.of).finish()
    }
}

/// What a task names, as its submission brings it along. Most tasks name nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Named(Vec<Arc<Blob>>);

impl Named {
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<Blob>> {
        self.0.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&mut self, blob: &Arc<Blob>) {
        if !self.0.iter().any(|known| Arc::ptr_eq(known, blob)) {
            self.0.push(Arc::clone(blob));
        }
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs.into_iter().all(|(a, b)| Arc::ptr_eq(a, b))
    }
}
impl Eq for Named {}
