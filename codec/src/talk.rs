//! What a running task and the master say to each other beside the task's result: hand-laid, little-endian, read strictly
//! ([`crate::wire`]).
//!
//! | frame | payload |
//! |---|---|
//! | said, say | task u64, message (the rest) |
//! | heard, said heard | task u64, bytes u32 |
//! | progress | task u64, done u64, total u64 |
//!
//! Task numbers are those of `TaskId`. A connection has a task at most once, so they say which attempt it is, too.

use crate::wire::{DecodeError, Fields};

/// The most bytes of messages under way from either side of a conversation, [`MESSAGE_BYTES`] for each message included; a
/// single message may have more.
pub const UNDER_WAY_BYTES_MAX: u64 = 64 << 10;

/// What a message counts beside its own bytes.
pub const MESSAGE_BYTES: u64 = 24;

/// What a message of so many bytes counts while it is under way.
#[must_use]
pub const fn counted_bytes(message_bytes: usize) -> u64 {
    message_bytes as u64 + MESSAGE_BYTES
}

/// Whether a message may go that counts so many bytes, with so many under way.
#[must_use]
pub const fn may_go(under_way: u64, counted: u64) -> bool {
    under_way == 0 || under_way + counted <= UNDER_WAY_BYTES_MAX
}

/// A message of a conversation, either way. It is lent from the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The task that converses.
    pub task: u64,
    /// The user's archive of what is said.
    pub message: &'a [u8],
}

impl<'a> Message<'a> {
    /// Bytes of the payload before the message.
    pub const HEADER_BYTES: usize = 8;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.task.to_le_bytes());
        out.extend_from_slice(self.message);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is too short; the message is whatever follows the task.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        Ok(Self {
            task: fields.u64("task")?,
            message: fields.rest(),
        })
    }
}

/// Messages that were under way have been taken: so many counted bytes more may follow. A slave's first one of a task counts
/// none, and says that the task has begun to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The task that converses.
    pub task: u64,
    /// What the messages that were taken counted.
    pub bytes: u32,
}

impl Heard {
    /// Bytes of the payload.
    pub const BYTES: usize = 12;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.task.to_le_bytes());
        out.extend_from_slice(&self.bytes.to_le_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let (task, bytes) = (fields.u64("task")?, fields.u32("bytes")?);
        fields.end()?;
        Ok(Self { task, bytes })
    }
}

/// Slave to master: so much of the running task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The task.
    pub task: u64,
    /// How much of it is done.
    pub done: u64,
    /// How much there is to do; 0 if that is not known.
    pub total: u64,
}

impl Progress {
    /// Bytes of the payload.
    pub const BYTES: usize = 24;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for number in [self.task, self.done, self.total] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let progress = Self {
            task: fields.u64("task")?,
            done: fields.u64("done")?,
            total: fields.u64("total")?,
        };
        fields.end()?;
        Ok(progress)
    }
}
