//! Records: the stream of frames, cut and sealed.
//!
//! ```text
//!   0        2                                       2 + length
//!   | length | sealed: bytes of the stream .. | lane | tag |
//! ```
//!
//! Length is that of what is sealed, at most 65,535. The lane, 4 bytes, is 0: the room that a node with many slaves on one
//! connection will need. Each direction has a key of its own and counts its records, so that one which is repeated, left
//! out, out of order, changed or sent back to who sent it does not open. Where records end says nothing of frames.

use snow::{HandshakeState, TransportState};
use thiserror::Error;

use crate::frame::{Block, LONG_BYTES_MIN};

const LENGTH_BYTES: usize = 2;
const LANE: [u8; 4] = [0; 4];
const TAG_BYTES: usize = 16;
const SEALED_BYTES_MAX: usize = u16::MAX as usize;
/// The least that is sealed: one byte of the stream.
const SEALED_BYTES_MIN: usize = 1 + LANE.len() + TAG_BYTES;

/// What a record has beside the bytes of the stream.
pub const RECORD_OVERHEAD_BYTES: usize = LENGTH_BYTES + LANE.len() + TAG_BYTES;
/// The most bytes of the stream in one record.
pub const RECORD_PLAIN_BYTES_MAX: usize = SEALED_BYTES_MAX - LANE.len() - TAG_BYTES;

/// Bytes that `plain` bytes have once they are sealed.
#[must_use]
pub const fn sealed_bytes(plain: usize) -> usize {
    plain + plain.div_ceil(RECORD_PLAIN_BYTES_MAX) * RECORD_OVERHEAD_BYTES
}

/// Bytes of the stream that can be opened once the first `sealed` bytes are there of what `plain` bytes were sealed to.
#[must_use]
pub const fn opened_bytes(plain: usize, sealed: usize) -> usize {
    if sealed >= sealed_bytes(plain) {
        return plain;
    }
    sealed / (RECORD_PLAIN_BYTES_MAX + RECORD_OVERHEAD_BYTES) * RECORD_PLAIN_BYTES_MAX
}

/// Records are received straight into memory of so many bytes while they are long: a few of them, which the processor's caches
/// hold until they are opened.
pub const SEALED_BLOCK_BYTES: usize = 256 << 10;

/// Why a stream is none of records. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A record is too short to hold anything.
    #[error("a record of {got} bytes holds nothing")]
    Short {
        /// The length that it gives.
        got: usize,
    },
    /// A record does not open.
    #[error("a record does not open: it was changed, repeated or put out of order on the way")]
    Sealed,
    /// A record is for another lane than the only one there is.
    #[error("a record is for lane {got}, and there is no other lane than 0")]
    Lane {
        /// The lane.
        got: u32,
    },
}

/// Both directions of a connection whose ends have agreed on its keys.
pub struct Channel {
    noise: TransportState,
    /// A record that has begun.
    tail: Vec<u8>,
    /// Bytes of it while it is lent; then `tail` is empty.
    lent_bytes: usize,
    /// Where a part of what is others' is put together with its lane.
    part: Vec<u8>,
}

impl Channel {
    pub(super) fn new(handshake: HandshakeState) -> Self {
        let noise = handshake.into_transport_mode();
        Channel {
            noise: noise.expect("both messages have been exchanged"),
            tail: Vec::new(),
            lent_bytes: 0,
            part: Vec::new(),
        }
    }

    /// Seals all of `plain`, and appends the records to `out`: [`sealed_bytes`] of them. `plain` is as before afterwards;
    /// it lends the room for the lane behind each record's bytes.
    ///
    /// # Panics
    /// After 2^64 records.
    pub fn seal(&mut self, plain: &mut Vec<u8>, out: &mut Vec<u8>) {
        let bytes = plain.len();
        out.reserve(sealed_bytes(bytes));
        plain.extend_from_slice(&LANE);
        let mut at = 0;
        while at < bytes {
            let end = bytes.min(at + RECORD_PLAIN_BYTES_MAX);
            let lane = end..end + LANE.len();
            let mut behind = [0; LANE.len()];
            behind.copy_from_slice(&plain[lane.clone()]);
            plain[lane.clone()].copy_from_slice(&LANE);
            self.seal_one(&plain[at..lane.end], out);
            plain[lane].copy_from_slice(&behind);
            at = end;
        }
        plain.truncate(bytes);
    }

    /// As [`seal`](Self::seal), of bytes that are others' too.
    ///
    /// # Panics
    /// As [`seal`](Self::seal).
    pub fn seal_shared(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        out.reserve(sealed_bytes(plain.len()));
        let mut record = std::mem::take(&mut self.part);
        for part in plain.chunks(RECORD_PLAIN_BYTES_MAX) {
            record.clear();
            record.extend_from_slice(part);
            record.extend_from_slice(&LANE);
            self.seal_one(&record, out);
        }
        // One that goes on sending such parts needs it again at once, all others never.
        if plain.len() > RECORD_PLAIN_BYTES_MAX {
            self.part = record;
        }
    }

    pub(super) fn seal_one(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let sealed = plain.len() + TAG_BYTES;
        let length = u16::try_from(sealed).expect("a record is cut to that");
        out.extend_from_slice(&length.to_le_bytes());
        let at = out.len();
        out.resize(at + sealed, 0);
        let written = self.noise.write_message(plain, &mut out[at..]);
        assert_eq!(
            written.ok(),
            Some(sealed),
            "there is room, and a number left"
        );
    }

    /// Takes the next bytes that came, and appends what they hold of the stream to `plain`. A record that is not whole
    /// waits for its end; its memory grows as its bytes come.
    ///
    /// # Errors
    /// The first record that is none; what those before it hold has been appended.
    pub fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), RecordError> {
        assert!(self.lent_bytes == 0, "the record that has begun is lent");
        let mut rest = bytes;
        if !self.tail.is_empty() {
            let mut tail = std::mem::take(&mut self.tail);
            let wanted = |tail: &[u8]| match length(tail) {
                Some(length) => LENGTH_BYTES + length,
                None => LENGTH_BYTES,
            };
            // First its length, then the rest of it.
            for _ in 0..2 {
                let missing = wanted(&tail).saturating_sub(tail.len()).min(rest.len());
                let (taken, after) = rest.split_at(missing);
                tail.extend_from_slice(taken);
                rest = after;
            }
            match split(&tail)? {
                Some((sealed, [])) => self.open_one(sealed, plain)?,
                Some(_) => unreachable!("no more was taken than the record has"),
                None => {
                    self.tail = tail;
                    return Ok(());
                }
            }
        }
        while let Some((sealed, after)) = split(rest)? {
            rest = after;
            self.open_one(sealed, plain)?;
        }
        self.tail.extend_from_slice(rest);
        Ok(())
    }

    fn open_one(&mut self, sealed: &[u8], plain: &mut Vec<u8>) -> Result<(), RecordError> {
        let at = plain.len();
        // Room for the tag too: it is opened in place then.
        plain.resize(at + sealed.len(), 0);
        let opened = self.noise.read_message(sealed, &mut plain[at..]);
        let Ok(opened) = opened else {
            plain.truncate(at);
            return Err(RecordError::Sealed);
        };
        let end = at + opened;
        let (_, lane) = plain[..end].split_last_chunk().expect("it is longer");
        let got = u32::from_le_bytes(*lane);
        if got != 0 {
            plain.truncate(at);
            return Err(RecordError::Lane { got });
        }
        plain.truncate(end - LANE.len());
        Ok(())
    }

    /// Bytes kept of a record that has begun and is not whole.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.tail.len() + self.lent_bytes
    }

    /// Whether so much is missing of the record that has begun that it is better received into [memory of its
    /// own](Self::lend).
    #[must_use]
    pub fn is_long(&self) -> bool {
        self.missing_bytes() >= LONG_BYTES_MIN
    }

    /// Bytes that are missing of the record that has begun; of one whose length is not whole, none that are known of.
    #[must_use]
    pub fn missing_bytes(&self) -> usize {
        let missing = |length: usize| (LENGTH_BYTES + length).saturating_sub(self.tail.len());
        length(&self.tail).map_or(0, missing)
    }

    /// Lends memory for the records that come next: `memory`, with what has come of the first of them. Until what came has
    /// been opened and the rest [kept](Self::keep), nothing else may be opened.
    #[must_use]
    pub fn lend(&mut self, memory: Vec<u8>) -> Block {
        let tail = std::mem::take(&mut self.tail);
        let mut bytes = memory;
        bytes.clear();
        bytes.reserve_exact(SEALED_BLOCK_BYTES);
        bytes.extend_from_slice(&tail);
        self.lent_bytes = bytes.len();
        Block {
            bytes,
            until: SEALED_BLOCK_BYTES,
        }
    }

    /// What the first record of `came`, if it is whole, will open to at most, in bytes: as many as it has of the stream.
    ///
    /// # Errors
    /// It is no record.
    pub fn next_bytes(came: &[u8]) -> Result<Option<usize>, RecordError> {
        let record = split(came)?;
        Ok(record.map(|(sealed, _)| sealed.len() - LANE.len() - TAG_BYTES))
    }

    /// Opens the first record of `came`, which is whole, and goes on behind it; appends what it holds to `plain`.
    ///
    /// # Errors
    /// It does not open.
    ///
    /// # Panics
    /// When it is not whole.
    pub fn open_next(&mut self, came: &mut &[u8], plain: &mut Vec<u8>) -> Result<(), RecordError> {
        let (sealed, after) = split(came)?.expect("it is whole");
        *came = after;
        self.open_one(sealed, plain)
    }

    /// Keeps what has come of a record that is not whole, of what was [lent](Self::lend).
    pub fn keep(&mut self, rest: &[u8]) {
        self.lent_bytes = 0;
        self.tail = rest.to_vec();
    }
}

fn length(record: &[u8]) -> Option<usize> {
    record
        .first_chunk()
        .map(|length| u16::from_le_bytes(*length).into())
}

/// What is sealed in a record, and what follows it.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first record, if it is whole.
fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, RecordError> {
    let Some(length) = length(bytes) else {
        return Ok(None);
    };
    if length < SEALED_BYTES_MIN {
        return Err(RecordError::Short { got: length });
    }
    Ok(bytes[LENGTH_BYTES..].split_at_checked(length))
}
