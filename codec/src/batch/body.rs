//! The body of a task, and of a series of tasks: what the master keeps of them, opaque to the scheduler and the batches.
//!
//! ```text
//!   | form 1 | family 0, 4 or 8 | stream 8 | tag type 8, if tagged | time-out 8, if it has one | element .. |
//!     end 4, .. if they differ in length |
//!
//!   element:   | tag length 4, tag, if tagged | args |
//! ```
//!
//! Most tasks have no tag and are those of a map: their arguments begin at byte 13. A task by itself is one element. A
//! series of several has an element for each task, and its tasks' streams follow one another. Elements of one length, the
//! usual case, need nothing else; others have a table behind them, of where each ends. So a body has one encoding.

use crate::wire::{DecodeError, Fields};

/// The most bytes of a body before its tag, or before its arguments if it has none.
pub const TASK_BODY_HEADER_BYTES_MAX: usize = 1 + 8 + 8 + 8 + 12;

/// Bytes that a task of a series adds to the body beside its element, where they differ in length.
pub const TASK_END_BYTES: usize = 4;

/// Bit 0 of the form: tag type and tags are there.
const TAGGED: u8 = 1;
/// Bits 1 and 2: the family is 0; a number of four bytes; the largest number; any other, of eight bytes.
const CALLS: u8 = 0;
const SHORT: u8 = 1 << 1;
const EXPLICIT: u8 = 2 << 1;
const LONG: u8 = 3 << 1;
const FAMILY: u8 = 3 << 1;
/// Bit 3: the elements of a series differ in length, and the table says where each ends.
const VARIED: u8 = 1 << 3;

/// Bit 4: each task has this time-out, in milliseconds.
const TIMED: u8 = 1 << 4;

/// Bytes of a tag's length.
const TAG_LENGTH_BYTES: usize = 4;

/// A task's body, tag and arguments lent from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskBody<'a> {
    /// Which family `stream` belongs to: explicit streams, a map's, the queue's. They never coincide.
    pub domain: u64,
    /// The task's identity for random numbers and checkpoints.
    pub stream: u64,
    /// Hash of the tag's type; reading it as another is an error. 0 with an empty tag: it has none.
    pub tag_type: u64,
    /// How long it may run, in milliseconds, instead of what its algorithm or the run says; 0: it has no time-out of its own.
    pub timeout_ms: u64,
    /// The tag's archive.
    pub tag: &'a [u8],
    /// The arguments' archive.
    pub args: &'a [u8],
}

/// A series of tasks: what they share, and an element for each, lent from where they were read or are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskSeries<'a> {
    /// How many tasks there are, at least 1.
    pub count: u32,
    /// The family of all their streams.
    pub domain: u64,
    /// The first task's stream; each other's is one more than that of the task before it.
    pub stream: u64,
    /// Hash of the type of all their tags; none of them has one where it is `None`.
    pub tag_type: Option<u64>,
    /// How long each of them may run, in milliseconds; 0: they have no time-out of their own.
    pub timeout_ms: u64,
    /// Of each task its tag's length and tag, if it has one, and its arguments.
    pub elements: &'a [u8],
    /// Where each element ends, counted from `base`, as little-endian numbers. Empty: they are equally long.
    pub ends: &'a [[u8; TASK_END_BYTES]],
    /// Where the first element begins.
    pub base: u32,
}

/// What stands before the elements.
#[derive(Clone, Copy)]
struct Head {
    domain: u64,
    stream: u64,
    tag_type: Option<u64>,
    timeout_ms: u64,
}

impl<'a> TaskBody<'a> {
    /// Reads the body of a task by itself; the arguments are whatever follows the tag.
    ///
    /// # Errors
    /// When it ends inside header or tag, or is not as it would be encoded.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        TaskSeries::parse(bytes, 1)?.nth(0)
    }

    /// Whether an encoded body has a tag; true for what is no body.
    #[must_use]
    #[inline]
    pub fn has_tag(bytes: &[u8]) -> bool {
        bytes.first().is_none_or(|form| form & TAGGED != 0)
    }

    /// The time-out of an encoded body, in milliseconds; 0 if it has none, or is no body. Looks at a byte of most.
    #[must_use]
    #[inline]
    pub fn timeout_ms_of(bytes: &[u8]) -> u64 {
        match bytes.first() {
            Some(form) if form & TIMED != 0 => {
                let family = match form & FAMILY {
                    SHORT => 4,
                    LONG => 8,
                    _ => 0,
                };
                let tag_type = if form & TAGGED != 0 { 8 } else { 0 };
                let at = 1 + family + 8 + tag_type;
                let timeout = bytes.get(at..).and_then(<[u8]>::first_chunk);
                timeout.map_or(0, |timeout| u64::from_le_bytes(*timeout))
            }
            _ => 0,
        }
    }

    /// Whether it has a tag.
    #[must_use]
    #[inline]
    pub fn is_tagged(&self) -> bool {
        self.tag_type != 0 || !self.tag.is_empty()
    }

    /// What it says of its tag in a series: `None` without one.
    #[must_use]
    #[inline]
    pub fn tag_type(&self) -> Option<u64> {
        self.is_tagged().then_some(self.tag_type)
    }

    #[inline]
    fn head(&self) -> Head {
        Head {
            domain: self.domain,
            stream: self.stream,
            tag_type: self.tag_type(),
            timeout_ms: self.timeout_ms,
        }
    }

    /// Bytes of its element, which are all that a task of a series has of its own.
    #[must_use]
    #[inline]
    pub fn element_bytes(&self) -> usize {
        let tag = match self.is_tagged() {
            true => TAG_LENGTH_BYTES + self.tag.len(),
            false => 0,
        };
        tag + self.args.len()
    }

    /// How many bytes [`encode_task_body`] appends.
    #[must_use]
    #[inline]
    pub fn encoded_bytes(&self) -> usize {
        self.head().encoded_bytes() + self.element_bytes()
    }

    /// Writes the body to the start of `out`, and returns how many bytes it has.
    ///
    /// # Panics
    /// When it has more than `out`, or the tag exceeds 4 GiB; the buffer limits are far below.
    #[inline]
    pub fn encode_into(&self, out: &mut [u8]) -> usize {
        let mut at = self.head().encode_into(out, 0);
        let mut put = |bytes: &[u8]| {
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        };
        if self.is_tagged() {
            put(&tag_length(self.tag));
            put(self.tag);
        }
        put(self.args);
        at
    }

    /// Appends its element.
    ///
    /// # Panics
    /// When the tag exceeds 4 GiB; the buffer limits are far below.
    #[inline]
    pub fn put_element(&self, out: &mut Vec<u8>) {
        if self.is_tagged() {
            out.extend_from_slice(&tag_length(self.tag));
            out.extend_from_slice(self.tag);
        }
        out.extend_from_slice(self.args);
    }
}

fn tag_length(tag: &[u8]) -> [u8; TAG_LENGTH_BYTES] {
    let bytes = u32::try_from(tag.len()).expect("a tag is bounded by the buffer limits");
    bytes.to_le_bytes()
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

impl Head {
    #[inline]
    fn encoded_bytes(self) -> usize {
        let family = match self.domain {
            0 | u64::MAX => 0,
            number if number <= u64::from(u32::MAX) => 4,
            _ => 8,
        };
        let tag_type = if self.tag_type.is_some() { 8 } else { 0 };
        let timeout = if self.timeout_ms > 0 { 8 } else { 0 };
        1 + family + 8 + tag_type + timeout
    }

    /// Writes it to the start of `out`, with bits of the form that are not its own; how many bytes it has.
    #[inline]
    fn encode_into(self, out: &mut [u8], form: u8) -> usize {
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
        if let Some(tag_type) = self.tag_type {
            put(&tag_type.to_le_bytes());
        }
        let timed = match self.timeout_ms {
            0 => 0,
            timeout_ms => {
                put(&timeout_ms.to_le_bytes());
                TIMED
            }
        };
        out[0] = form | family | timed | u8::from(self.tag_type.is_some());
        at
    }
}

impl<'a> TaskSeries<'a> {
    /// Reads the body of a series of `count` tasks; of one, that is a task by itself. What is read of each task,
    /// [`Self::nth`] checks.
    ///
    /// # Errors
    /// When it is no body, or `count` is 0, there are not so many streams, the elements are not as many of one length, or
    /// the table does not end where they do.
    #[inline]
    pub fn parse(bytes: &'a [u8], count: u32) -> Result<Self, DecodeError> {
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
        let tag_type = match form & TAGGED {
            0 => None,
            _ => Some(fields.u64("tag type")?),
        };
        let timeout_ms = match form & TIMED {
            0 => 0,
            _ => match fields.u64("time-out")? {
                0 => return wrong("time-out", 0),
                timeout_ms => timeout_ms,
            },
        };
        let is_varied = form & VARIED != 0;
        if form & !(FAMILY | TAGGED | VARIED | TIMED) != 0 || (is_varied && count < 2) {
            return wrong("form", form.into());
        }
        if count == 0 {
            return wrong("tasks of a series", 0);
        }
        if stream.checked_add(u64::from(count - 1)).is_none() {
            return wrong("stream of a series", stream);
        }
        let mut series = Self {
            count,
            domain,
            stream,
            tag_type,
            timeout_ms,
            elements: fields.rest(),
            ends: &[],
            base: 0,
        };
        if is_varied {
            series.split_table()?;
        } else if count > 1 && !series.elements.len().is_multiple_of(count as usize) {
            return wrong("bytes of a series' elements", series.elements.len() as u64);
        }
        Ok(series)
    }

    /// Parts the table off the elements.
    fn split_table(&mut self) -> Result<(), DecodeError> {
        let (all, table_bytes) = (self.elements, TASK_END_BYTES * self.count as usize);
        let elements_bytes = all.len().checked_sub(table_bytes);
        let elements_bytes = elements_bytes.ok_or(DecodeError::Short {
            field: "ends of a series",
            expected: table_bytes,
            got: all.len(),
        })?;
        let (elements, table) = all.split_at(elements_bytes);
        (self.elements, self.ends) = (elements, table.as_chunks().0);
        match self.end(self.count - 1) {
            end if end == elements_bytes => Ok(()),
            end => Err(DecodeError::Value {
                field: "last end of a series",
                got: end as u64,
            }),
        }
    }

    /// Where the element at `index` ends, by the table.
    fn end(&self, index: u32) -> usize {
        u32::from_le_bytes(self.ends[index as usize]).wrapping_sub(self.base) as usize
    }

    /// The task at `index` of the series, by itself.
    ///
    /// # Errors
    /// When the table is wrong about it, or it ends inside its tag.
    ///
    /// # Panics
    /// When there is no such task.
    #[inline]
    pub fn nth(&self, index: u32) -> Result<TaskBody<'a>, DecodeError> {
        assert!(index < self.count, "task {index} of {}", self.count);
        let element = self.element(index)?;
        let (mut tag, mut args) = (&[][..], element);
        if let Some(tag_type) = self.tag_type {
            let mut fields = Fields::new(element);
            let tag_bytes = fields.u32("tag length")?;
            tag = fields.bytes("tag", tag_bytes as usize)?;
            args = fields.rest();
            if tag_type == 0 && tag.is_empty() {
                return Err(DecodeError::Value {
                    field: "tag type",
                    got: 0,
                });
            }
        }
        Ok(TaskBody {
            domain: self.domain,
            stream: self.stream + u64::from(index),
            tag_type: self.tag_type.unwrap_or(0),
            timeout_ms: self.timeout_ms,
            tag,
            args,
        })
    }

    #[inline]
    fn element(&self, index: u32) -> Result<&'a [u8], DecodeError> {
        if self.ends.is_empty() {
            // The division costs as much as all else that is done for a task by itself.
            let bytes = match self.count {
                1 => self.elements.len(),
                count => self.elements.len() / count as usize,
            };
            return Ok(&self.elements[index as usize * bytes..][..bytes]);
        }
        let begin = index.checked_sub(1).map_or(0, |before| self.end(before));
        let end = self.end(index);
        let element = self.elements.get(begin..end);
        element.ok_or(DecodeError::Value {
            field: "end in a series",
            got: end as u64,
        })
    }

    #[inline]
    fn head(&self) -> Head {
        Head {
            domain: self.domain,
            stream: self.stream,
            tag_type: self.tag_type,
            timeout_ms: self.timeout_ms,
        }
    }

    /// How many bytes its body has.
    #[must_use]
    #[inline]
    pub fn encoded_bytes(&self) -> usize {
        let table = TASK_END_BYTES * self.ends.len();
        self.head().encoded_bytes() + self.elements.len() + table
    }

    /// Appends its body.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        debug_assert!(
            self.ends.is_empty() || (self.count > 1 && self.ends.len() == self.count as usize),
            "{} ends of {} tasks",
            self.ends.len(),
            self.count
        );
        let form = if self.ends.is_empty() { 0 } else { VARIED };
        let mut head = [0; TASK_BODY_HEADER_BYTES_MAX];
        let head_bytes = self.head().encode_into(&mut head, form);
        out.extend_from_slice(&head[..head_bytes]);
        out.extend_from_slice(self.elements);
        let table_at = out.len();
        out.resize(table_at + TASK_END_BYTES * self.ends.len(), 0);
        let table = out[table_at..].as_chunks_mut().0;
        for (to, end) in table.iter_mut().zip(self.ends) {
            *to = u32::from_le_bytes(*end)
                .wrapping_sub(self.base)
                .to_le_bytes();
        }
    }
}
