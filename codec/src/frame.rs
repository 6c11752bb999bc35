//! Frames: the header before every payload, and the reader that takes a byte stream apart.
//!
//! ```text
//!   0      2         3      4       6          8                12         16
//!   | R  W | version | kind | flags | reserved | payload length | CRC32C   | payload ..
//! ```
//!
//! All numbers are little-endian. Flags and the reserved field are zero in version 1. The checksum covers the
//! first twelve bytes and the payload. Each header byte is judged as soon as it is there, so that a port scanner or a
//! peer of another version is told off at its first bytes, and an announced length is held against the limit of its
//! kind before any memory is taken for it.
//!
//! ```
//! use std::ops::ControlFlow;
//! use ringmw_codec::frame::{FrameReader, Kind, put_frame};
//!
//! let mut stream = Vec::new();
//! put_frame(&mut stream, Kind::Heartbeat, b"");
//! put_frame(&mut stream, Kind::Starting, &7u64.to_le_bytes());
//!
//! let mut reader = FrameReader::new();
//! let mut kinds = Vec::new();
//! for chunk in stream.chunks(5) {
//!     let flow = reader.feed(chunk, &|_| 64, &mut |kind, _payload| {
//!         kinds.push(kind);
//!         ControlFlow::<()>::Continue(())
//!     });
//!     assert_eq!(flow, Ok(ControlFlow::Continue(())));
//! }
//! assert_eq!(kinds, [Kind::Heartbeat, Kind::Starting]);
//! ```
//!
//! Version 1: the first.

use std::ops::ControlFlow;

use thiserror::Error;

use crate::crc;

pub use crate::kinds::Kind;

/// Bytes of the header before every payload.
pub const HEADER_BYTES: usize = 16;
/// The version of the frame format in every header.
pub const FRAME_VERSION: u8 = 1;
/// The first two bytes of every frame.
pub const MAGIC: [u8; 2] = *b"RW";

const LENGTH_AT: usize = 8;
const CHECKSUM_AT: usize = 12;

/// Why a byte stream is no stream of frames. The connection is of no further use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FrameError {
    /// The first two bytes are not `RW`.
    #[error(
        "the peer does not speak ringmw's protocol (a frame begins with other bytes than \"RW\"); is it another program on this port?"
    )]
    Magic,
    /// The frame format is of another version.
    #[error(
        "the peer's frames are of version {got}, ours of version {FRAME_VERSION}; run the same ringmw on both sides"
    )]
    Version {
        /// The version in the header.
        got: u8,
    },
    /// No kind has this number.
    #[error("a frame of unknown kind {got}; run the same ringmw on both sides")]
    Kind {
        /// The number in the header.
        got: u8,
    },
    /// Flags or the reserved field are not zero.
    #[error("a frame's flags or reserved bytes are not zero; run the same ringmw on both sides")]
    Flags,
    /// The announced payload is longer than its kind may be.
    #[error(
        "a {kind:?} frame announces {payload_bytes} bytes, at most {payload_bytes_max} are allowed"
    )]
    Oversized {
        /// The frame's kind.
        kind: Kind,
        /// Bytes announced.
        payload_bytes: u32,
        /// Bytes allowed.
        payload_bytes_max: u32,
    },
    /// Header or payload were damaged on the way.
    #[error(
        "a frame's checksum is {got:#010x}, its bytes give {expected:#010x}: it was damaged on the way"
    )]
    Checksum {
        /// What the bytes that arrived add up to.
        expected: u32,
        /// What the header says.
        got: u32,
    },
}

/// Where a frame begun by [`begin_frame`] starts in its buffer.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is not finished has no length and no checksum"]
pub struct FrameMark {
    start: usize,
    kind: Kind,
}

impl FrameMark {
    /// The offset of the frame's first header byte; truncating the buffer to it takes the frame back.
    #[must_use]
    pub const fn start(&self) -> usize {
        self.start
    }
}

/// Begins a frame at the end of `out`; the payload is appended next, straight into the send buffer, then
/// [`finish_frame`] fills in length and checksum.
pub fn begin_frame(out: &mut Vec<u8>, kind: Kind) -> FrameMark {
    let start = out.len();
    out.extend_from_slice(&begun_header(kind));
    FrameMark { start, kind }
}

/// A header without length and checksum.
fn begun_header(kind: Kind) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..2].copy_from_slice(&MAGIC);
    (header[2], header[3]) = (FRAME_VERSION, kind as u8);
    header
}

/// Makes a frame of a payload that stands behind room for its header.
///
/// # Panics
/// When there is no such room, or the payload exceeds 4 GiB.
pub fn frame_in_place(out: &mut [u8], kind: Kind) {
    out[..HEADER_BYTES].copy_from_slice(&begun_header(kind));
    finish_frame(out, FrameMark { start: 0, kind });
}

/// Ends the frame that `mark` began: all that was appended since is its payload.
///
/// # Panics
/// When `mark` is of another buffer, or the payload exceeds 4 GiB.
pub fn finish_frame(out: &mut [u8], mark: FrameMark) {
    let (header, payload) = out[mark.start..].split_at_mut(HEADER_BYTES);
    assert_eq!(
        header[3], mark.kind as u8,
        "the mark belongs to this buffer"
    );
    let payload_bytes =
        u32::try_from(payload.len()).expect("a payload is bounded by the buffer limits");
    header[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&payload_bytes.to_le_bytes());
    let checksum = checksum(&header[..CHECKSUM_AT], payload);
    header[CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
}

/// As [`finish_frame`], of a payload of which some bytes are elsewhere: each of `pieces` belongs before the byte of `out`
/// that it names, in this order.
///
/// # Panics
/// As [`finish_frame`], and when a piece belongs before the payload or the piece before it.
pub fn finish_frame_around(out: &mut [u8], mark: FrameMark, pieces: &[(usize, &[u8])]) {
    let begin = mark.start + HEADER_BYTES;
    let elsewhere: usize = pieces.iter().map(|(_, piece)| piece.len()).sum();
    let payload_bytes = u32::try_from(out.len() - begin + elsewhere);
    let payload_bytes = payload_bytes.expect("a payload is bounded by the buffer limits");
    let header = &mut out[mark.start..begin];
    assert_eq!(
        header[3], mark.kind as u8,
        "the mark belongs to this buffer"
    );
    header[LENGTH_AT..CHECKSUM_AT].copy_from_slice(&payload_bytes.to_le_bytes());
    let mut sum = crc::of(&header[..CHECKSUM_AT]);
    let mut summed = begin;
    for (at, piece) in pieces {
        sum = crc::append(sum, &out[summed..*at]);
        sum = crc::append(sum, piece);
        summed = *at;
    }
    let checksum = crc::append(sum, &out[summed..]);
    out[mark.start + CHECKSUM_AT..begin].copy_from_slice(&checksum.to_le_bytes());
}

/// Appends a whole frame.
pub fn put_frame(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) {
    let mark = begin_frame(out, kind);
    out.extend_from_slice(payload);
    finish_frame(out, mark);
}

fn checksum(header: &[u8], payload: &[u8]) -> u32 {
    crc::append(crc::of(header), payload)
}

/// A header whose every byte has been judged, the checksum aside.
struct Header {
    kind: Kind,
    payload_bytes: u32,
    checksum: u32,
}

impl Header {
    /// A header that is whole and sound.
    #[inline]
    fn sound(bytes: &[u8], limit: &dyn Fn(Kind) -> u32) -> Option<Header> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let kind = Kind::from_u8(header[3])?;
        let payload_bytes = u32_at(header, LENGTH_AT)?;
        let is_sound = header[..2] == MAGIC
            && header[2] == FRAME_VERSION
            && header[4..LENGTH_AT] == [0; 4]
            && payload_bytes <= limit(kind);
        let checksum = u32_at(header, CHECKSUM_AT)?;
        is_sound.then_some(Header {
            kind,
            payload_bytes,
            checksum,
        })
    }

    /// Judges what is there of a header; `None` when it is sound so far but not whole.
    fn judge(bytes: &[u8], limit: &dyn Fn(Kind) -> u32) -> Result<Option<Header>, FrameError> {
        if let Some(header) = Self::sound(bytes, limit) {
            return Ok(Some(header));
        }
        let magic_bytes = bytes.len().min(MAGIC.len());
        if bytes[..magic_bytes] != MAGIC[..magic_bytes] {
            return Err(FrameError::Magic);
        }
        let Some(&version) = bytes.get(2) else {
            return Ok(None);
        };
        if version != FRAME_VERSION {
            return Err(FrameError::Version { got: version });
        }
        let Some(&number) = bytes.get(3) else {
            return Ok(None);
        };
        let kind = Kind::from_u8(number).ok_or(FrameError::Kind { got: number })?;
        if bytes.iter().take(LENGTH_AT).skip(4).any(|&byte| byte != 0) {
            return Err(FrameError::Flags);
        }
        let Some(payload_bytes) = u32_at(bytes, LENGTH_AT) else {
            return Ok(None);
        };
        let payload_bytes_max = limit(kind);
        if payload_bytes > payload_bytes_max {
            return Err(FrameError::Oversized {
                kind,
                payload_bytes,
                payload_bytes_max,
            });
        }
        Ok(u32_at(bytes, CHECKSUM_AT).map(|checksum| Header {
            kind,
            payload_bytes,
            checksum,
        }))
    }

    fn frame_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_bytes as usize
    }

    /// The payload of `frame`, which is exactly this header's frame.
    fn open<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], FrameError> {
        let (header, payload) = frame.split_at(HEADER_BYTES);
        self.judge_checksum(checksum(&header[..CHECKSUM_AT], payload))?;
        Ok(payload)
    }

    fn judge_checksum(&self, expected: u32) -> Result<(), FrameError> {
        if expected != self.checksum {
            return Err(FrameError::Checksum {
                expected,
                got: self.checksum,
            });
        }
        Ok(())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_le_bytes(field.try_into().expect("four bytes")))
}

/// A frame's payload, as its reader hands it out.
#[derive(Debug)]
pub enum Payload<'a> {
    /// It lies in bytes that are somebody else's.
    Lent(&'a [u8]),
    /// It is what is behind the header of this frame, whose memory is the receiver's to keep.
    Whole(Vec<u8>),
}

impl Payload<'_> {
    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Lent(bytes) => bytes,
            Payload::Whole(frame) => &frame[HEADER_BYTES..],
        }
    }
}

/// The memory of a long frame that has begun, for whoever receives to fill from where it ends.
#[derive(Debug)]
pub struct Block {
    /// What has come. There is room for all up to `until`.
    pub bytes: Vec<u8>,
    /// How many bytes there may be at most, more than there are.
    pub until: usize,
}

/// The least that must be missing of a frame for it to be received straight into its own memory: less is copied sooner than
/// received by itself.
pub const LONG_BYTES_MIN: usize = 32 << 10;

/// Memory is taken at once for so many bytes that a header announces. For more than that it is taken when so many have come:
/// pages that nothing was written to cost nothing, but addresses are no endless supply either.
const ANNOUNCED_BYTES_MAX: usize = (4 << 20) + (64 << 10);

/// The read side of one connection.
///
/// A frame that lies whole in a chunk is lent in place, without a copy. Only an incomplete tail is kept:
///
/// ```text
///   chunk   | frame | frame | tail          kept   | tail |
///   chunk   | its end | frame | frame              | tail + its end | handed out, memory and all
/// ```
///
/// Memory is taken only for a tail, grows as its bytes arrive, never to an announced length up front and never beyond
/// it, and is given back when the frame is through. A reader between two frames has nothing on the heap.
///
/// The rest of a long frame can be received straight into the frame's own memory: [`lend`](Self::lend) gives it, with room
/// for what is missing, and [`take_back`](Self::take_back) takes it again with what came.
#[derive(Debug, Default)]
pub struct FrameReader {
    tail: Vec<u8>,
    /// Bytes of the tail while it is lent; then `tail` is empty.
    lent_bytes: usize,
    /// The checksum of the tail's first bytes, as many as `summed_bytes`: of a long frame it is taken while they are in the
    /// processor's caches.
    sum: u32,
    summed_bytes: usize,
}

// Ten thousand idle slaves share a budget of 4 KiB each.
const _: () = assert!(size_of::<FrameReader>() <= 64);

impl FrameReader {
    /// A reader at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tail: Vec::new(),
            lent_bytes: 0,
            sum: 0,
            summed_bytes: 0,
        }
    }

    /// Takes the next bytes of the stream and hands each whole frame to `sink`, in order.
    ///
    /// `limit` gives the largest payload in bytes that a kind may have now. When `sink` breaks, the rest of the chunk
    /// is dropped and the break returned.
    ///
    /// # Errors
    /// The first way in which the stream is none of frames; the frames before it have been handed out. After an error
    /// or a break the stream has lost its place and the connection must go.
    ///
    /// # Panics
    /// While the frame that has begun is [lent](Self::lend).
    pub fn feed<B>(
        &mut self,
        chunk: &[u8],
        limit: &dyn Fn(Kind) -> u32,
        sink: &mut dyn FnMut(Kind, &[u8]) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, FrameError> {
        self.take(chunk, limit, &mut |kind, payload| {
            sink(kind, payload.bytes())
        })
    }

    /// As [`feed`](Self::feed); a payload that came in pieces is handed out with its memory.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    ///
    /// # Panics
    /// As [`feed`](Self::feed).
    pub fn take<B>(
        &mut self,
        chunk: &[u8],
        limit: &dyn Fn(Kind) -> u32,
        sink: &mut dyn FnMut(Kind, Payload<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, FrameError> {
        assert!(self.lent_bytes == 0, "the frame that has begun is lent");
        let mut rest = chunk;
        if !self.tail.is_empty() {
            let Some((header, frame)) = self.complete_tail(&mut rest, limit)? else {
                return Ok(ControlFlow::Continue(()));
            };
            header.judge_checksum(self.sum_up(&frame))?;
            self.summed_bytes = 0;
            if let ControlFlow::Break(value) = sink(header.kind, Payload::Whole(frame)) {
                return Ok(ControlFlow::Break(value));
            }
        }
        while !rest.is_empty() {
            let header = match Header::judge(rest, limit)? {
                Some(header) if header.frame_bytes() <= rest.len() => header,
                _ => {
                    self.tail = rest.to_vec();
                    break;
                }
            };
            let (frame, after) = rest.split_at(header.frame_bytes());
            rest = after;
            let payload = Payload::Lent(header.open(frame)?);
            if let ControlFlow::Break(value) = sink(header.kind, payload) {
                return Ok(ControlFlow::Break(value));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Whether so much is missing of the frame that has begun that it is better [lent](Self::lend).
    #[must_use]
    #[inline]
    pub fn is_long(&self) -> bool {
        self.missing_bytes() >= LONG_BYTES_MIN
    }

    /// Bytes that are missing of the frame that has begun; of one whose header is not whole, none that are known of.
    #[must_use]
    #[inline]
    pub fn missing_bytes(&self) -> usize {
        match self.tail.len() {
            HEADER_BYTES.. => self.frame_bytes() - self.tail.len(),
            _ => 0,
        }
    }

    /// Lends the memory of the frame that has begun, if much of it is missing. Until it is [taken back](Self::take_back)
    /// nothing else may be taken.
    #[must_use]
    pub fn lend(&mut self) -> Option<Block> {
        self.lend_from(LONG_BYTES_MIN)
    }

    /// As [`lend`](Self::lend), from so many missing bytes on.
    #[must_use]
    pub fn lend_from(&mut self, missing_bytes: usize) -> Option<Block> {
        if self.lent_bytes > 0 || self.missing_bytes() < missing_bytes.max(1) {
            return None;
        }
        let frame_bytes = self.frame_bytes();
        let mut bytes = std::mem::take(&mut self.tail);
        let until = match bytes.len() < ANNOUNCED_BYTES_MAX {
            true => frame_bytes.min(ANNOUNCED_BYTES_MAX),
            false => frame_bytes,
        };
        bytes.reserve_exact(until - bytes.len());
        self.lent_bytes = bytes.len();
        Some(Block { bytes, until })
    }

    /// Takes the bytes of a [`Block`] back, with what was received into it; if that makes the frame whole, hands it to
    /// `sink`.
    ///
    /// # Errors
    /// As [`feed`](Self::feed).
    ///
    /// # Panics
    /// When nothing was lent, or there are fewer bytes than there were, or more than the frame has.
    pub fn take_back<B>(
        &mut self,
        bytes: Vec<u8>,
        sink: &mut dyn FnMut(Kind, Payload<'_>) -> ControlFlow<B>,
    ) -> Result<ControlFlow<B>, FrameError> {
        assert!(
            self.lent_bytes > 0 && bytes.len() >= self.lent_bytes,
            "it is what was lent, and what came since"
        );
        self.lent_bytes = 0;
        self.sum = self.sum_up(&bytes);
        self.summed_bytes = bytes.len();
        self.tail = bytes;
        let frame_bytes = self.frame_bytes();
        assert!(self.tail.len() <= frame_bytes, "no more was to be received");
        if self.tail.len() < frame_bytes {
            return Ok(ControlFlow::Continue(()));
        }
        let header = Header::sound(&self.tail, &|_| u32::MAX).expect("it was judged before");
        let frame = std::mem::take(&mut self.tail);
        self.summed_bytes = 0;
        header.judge_checksum(self.sum)?;
        Ok(sink(header.kind, Payload::Whole(frame)))
    }

    /// Whether a frame has been begun and not finished.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.buffered_bytes() > 0
    }

    /// Bytes kept of the frame that has been begun.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.tail.len() + self.lent_bytes
    }

    /// Bytes of the frame whose header the tail begins with; it was judged when it was there.
    fn frame_bytes(&self) -> usize {
        let payload_bytes = u32_at(&self.tail, LENGTH_AT).expect("the header is there");
        HEADER_BYTES + payload_bytes as usize
    }

    /// The checksum of what is there of a frame, from what is known of it.
    fn sum_up(&self, frame: &[u8]) -> u32 {
        match self.summed_bytes {
            0 => checksum(&frame[..CHECKSUM_AT], &frame[HEADER_BYTES..]),
            summed_bytes => crc::append(self.sum, &frame[summed_bytes..]),
        }
    }

    /// Moves bytes of `rest` to the tail until that is one whole frame, and takes it.
    fn complete_tail(
        &mut self,
        rest: &mut &[u8],
        limit: &dyn Fn(Kind) -> u32,
    ) -> Result<Option<(Header, Vec<u8>)>, FrameError> {
        self.grow_tail(rest, HEADER_BYTES);
        let Some(header) = Header::judge(&self.tail, limit)? else {
            return Ok(None);
        };
        self.grow_tail(rest, header.frame_bytes());
        if self.tail.len() < header.frame_bytes() {
            return Ok(None);
        }
        Ok(Some((header, std::mem::take(&mut self.tail))))
    }

    /// Moves bytes of `rest` to the tail until it has `bytes_wanted`; the memory at most doubles and never passes that.
    fn grow_tail(&mut self, rest: &mut &[u8], bytes_wanted: usize) {
        let missing = bytes_wanted.saturating_sub(self.tail.len());
        let (taken, after) = rest.split_at(missing.min(rest.len()));
        let bytes = self.tail.len() + taken.len();
        if bytes > self.tail.capacity() {
            let bytes_doubled = (2 * self.tail.capacity()).min(bytes_wanted).max(bytes);
            self.tail.reserve_exact(bytes_doubled - self.tail.len());
        }
        self.tail.extend_from_slice(taken);
        *rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_bytes_and_is_given_back() {
        let mut frame = Vec::new();
        put_frame(&mut frame, Kind::Tasks, &[7; 1000]);
        let mut reader = FrameReader::new();
        let mut sink = |_: Kind, _: &[u8]| ControlFlow::<()>::Continue(());
        for (before, byte) in frame.chunks(1).enumerate() {
            let flow = reader.feed(byte, &|_| 1000, &mut sink);
            assert_eq!(flow, Ok(ControlFlow::Continue(())));
            let bytes_max = (2 * (before + 1)).min(frame.len());
            assert!(
                reader.tail.capacity() <= bytes_max.max(8),
                "{before}: {}",
                reader.tail.capacity()
            );
        }
        assert_eq!(reader.tail.capacity(), 0);
    }
}
