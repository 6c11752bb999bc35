//! The body of a task: what the master keeps of it, opaque to the scheduler and the batches.
//!
//! ```text
//!   | form 1 | family 0, 4 or 8 | stream 8 | tag type 8, tag length 4, tag, if it has one | args .. |
//! ```
//!
//! Most tasks have no tag and are those of a map: their arguments begin at byte 13. A body has one encoding.
//!
//! A series of several tasks has the body of its first, without a tag and with the arguments of all, which are equally
//! long: [`TaskBody::parse_series`] reads it, [`TaskBody::nth`] is one of its tasks.

use crate::wire::{DecodeError, Fields};

/// The most bytes of a body before its tag, or before its arguments if it has none.
pub const TASK_BODY_HEADER_BYTES_MAX: usize = 1 + 8 + 8 + 12;

/// Bit 0 of the form: a tag follows the stream.
const TAGGED: u8 = 1;
/// Bits 1 and 2: the family is 0; a number of four bytes; the largest number; any other, of eight bytes.
const CALLS: u8 = 0;
const SHORT: u8 = 1 << 1;
const EXPLICIT: u8 = 2 << 1;
const LONG: u8 = 3 << 1;
const FAMILY: u8 = 3 << 1;

/// A task's body, tag and arguments lent from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskBody<'a> {
    /// Which family `stream` belongs to: explicit streams, a map's, the queue's. They never coincide.
    pub domain: u64,
    /// The task's identity for random numbers and checkpoints.
    pub stream: u64,
    /// Hash of the tag's type; reading it as another is an error. 0 with an empty tag: it has none.
    pub tag_type: u64,
    /// The tag's archive.
    pub tag: &'a [u8],
    /// The arguments' archive.
    pub args: &'a [u8],
}

impl<'a> TaskBody<'a> {
    /// Reads a body; the arguments are whatever follows the tag.
    ///
    /// # Errors
    /// When it ends inside header or tag, or is not as it would be encoded.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let form = fields.u8("form")?;
        let wrong = |field, got| Err(DecodeError::Value { field, got });
        let domain = match form & FAMILY {
            CALLS => 0,
            SHORT => match fields.u32("family")? {
                0 => return wrong("family", 0),
                number => number.into(),
            },
            EXPLICIT => u64::MAX,
            _ => match fields.u64("family")? {
                number if number <= u64::from(u32::MAX) || number == u64::MAX => {
                    return wrong("family", number);
                }
                number => number,
            },
        };
        let stream = fields.u64("stream")?;
        let (mut tag_type, mut tag) = (0, &[][..]);
        if form & TAGGED != 0 {
            tag_type = fields.u64("tag type")?;
            let tag_bytes = fields.u32("tag length")?;
            tag = fields.bytes("tag", tag_bytes as usize)?;
            if tag_type == 0 && tag.is_empty() {
                return wrong("tag type", 0);
            }
        }
        if form & !(FAMILY | TAGGED) != 0 {
            return wrong("form", form.into());
        }
        Ok(Self {
            domain,
            stream,
            tag_type,
            tag,
            args: fields.rest(),
        })
    }

    /// Reads the body of a series of `count` tasks; of one, as [`TaskBody::parse`].
    ///
    /// # Errors
    /// When it is no body, or `count` is 0, or of several: it has a tag, its arguments are not of equal length, or
    /// there are not so many streams.
    #[inline]
    pub fn parse_series(bytes: &'a [u8], count: u32) -> Result<Self, DecodeError> {
        let series = Self::parse(bytes)?;
        series.check_series(count)?;
        Ok(series)
    }

    /// Whether this can be the body of a series of `count` tasks.
    #[inline]
    pub(super) fn check_series(&self, count: u32) -> Result<(), DecodeError> {
        let wrong = |field, got| Err(DecodeError::Value { field, got });
        match count {
            0 => wrong("tasks of a series", 0),
            1 => Ok(()),
            _ if self.is_tagged() => wrong("tag type of a series", self.tag_type),
            _ if !self.args.len().is_multiple_of(count as usize) => {
                wrong("bytes of a series' arguments", self.args.len() as u64)
            }
            _ if self.stream.checked_add(u64::from(count - 1)).is_none() => {
                wrong("stream of a series", self.stream)
            }
            _ => Ok(()),
        }
    }

    /// The task at `index` of the series of `count` tasks that this is, by itself.
    ///
    /// # Panics
    /// When there is no such task.
    #[must_use]
    #[inline]
    pub fn nth(&self, index: u32, count: u32) -> TaskBody<'a> {
        assert!(index < count, "task {index} of {count}");
        let bytes = self.args.len() / count as usize;
        TaskBody {
            stream: self.stream + u64::from(index),
            args: &self.args[index as usize * bytes..][..bytes],
            ..*self
        }
    }

    /// Whether an encoded body has a tag; true for what is no body.
    #[must_use]
    #[inline]
    pub fn has_tag(bytes: &[u8]) -> bool {
        bytes.first().is_none_or(|form| form & TAGGED != 0)
    }

    /// Whether it has a tag.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        self.tag_type != 0 || !self.tag.is_empty()
    }

    /// How many bytes [`encode_task_body`] appends.
    #[must_use]
    #[inline]
    pub fn encoded_bytes(&self) -> usize {
        let family = match self.domain {
            0 | u64::MAX => 0,
            number if number <= u64::from(u32::MAX) => 4,
            _ => 8,
        };
        let tag = if self.is_tagged() {
            12 + self.tag.len()
        } else {
            0
        };
        1 + family + 8 + tag + self.args.len()
    }

    /// Writes the body to the start of `out`, and returns how many bytes it has.
    ///
    /// # Panics
    /// When it has more than `out`, or the tag exceeds 4 GiB; the buffer limits are far below.
    #[inline]
    pub fn encode_into(&self, out: &mut [u8]) -> usize {
        let mut at = 1;
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        let family = match self.domain {
            0 => CALLS,
            u64::MAX => EXPLICIT,
            number => match u32::try_from(number) {
                Ok(number) => {
                    put(&number.to_le_bytes());
                    SHORT
                }
                Err(_) => {
                    put(&number.to_le_bytes());
                    LONG
                }
            },
        };
        put(&self.stream.to_le_bytes());
        if self.is_tagged() {
            let tag_bytes =
                u32::try_from(self.tag.len()).expect("a tag is bounded by the buffer limits");
            put(&self.tag_type.to_le_bytes());
            put(&tag_bytes.to_le_bytes());
            put(self.tag);
        }
        put(self.args);
        out[0] = family | u8::from(self.is_tagged());
        at
    }
}

/// Appends a task's body.
///
/// # Panics
/// When the tag exceeds 4 GiB; the buffer limits are far below.
pub fn encode_task_body(out: &mut Vec<u8>, body: &TaskBody<'_>) {
    let before = out.len();
    out.resize(before + body.encoded_bytes(), 0);
    body.encode_into(&mut out[before..]);
}
