//! All that engine and core say to each other of a connection: its name, how it ended, and what is to be done.

use std::{fmt, io};

use bytes::Bytes;

/// Names one connection of one engine: a slot and the slot's generation, so that a name is never used again.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Ord, PartialOrd)]
pub struct ConnId(u64);

impl ConnId {
    /// One more than the largest slot: the ring keeps slot, generation and kind of an operation in 64 bits.
    pub const SLOTS_MAX: u32 = 1 << 28;

    /// The name of the `generation`th connection in `slot`.
    ///
    /// # Panics
    /// If `slot` is not below [`SLOTS_MAX`](Self::SLOTS_MAX).
    pub fn new(slot: u32, generation: u32) -> Self {
        assert!(slot < Self::SLOTS_MAX, "slot {slot} of {}", Self::SLOTS_MAX);
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    /// A small dense index: never as large as the most connections that were open at a time, and used again once a
    /// connection is closed.
    pub fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    /// Tells the connections of one slot apart.
    pub fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot(), self.generation())
    }
}

/// How a connection ended.
#[derive(Debug)]
pub enum Closed {
    /// The peer has finished sending. It may still read: the owner can answer before it closes. A reset that met one of our
    /// sends can look like this, too.
    Eof,
    /// The connection failed. What is sent on it from now on is dropped.
    Error(io::Error),
}

/// What the driver has to do.
#[derive(Debug)]
pub enum Effect {
    /// Write this buffer to this connection, after those before it.
    Send(ConnId, Vec<u8>),
    /// The same, of bytes that others share.
    SendShared(ConnId, Bytes),
    /// End this connection: after what was sent has been written, or at once.
    Close {
        /// Which one.
        conn: ConnId,
        /// Flush first.
        graceful: bool,
    },
    /// Begin or pause accepting connections.
    Accepting(bool),
}
