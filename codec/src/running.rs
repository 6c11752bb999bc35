//! What is said of a task while it runs: hand-laid, little-endian, read strictly ([`crate::wire`]).
//!
//! | frame | payload |
//! |---|---|
//! | checkpoint, resume | task u64, draws 16 bytes, type u64, state (the rest) |
//! | checkpoint taken | task u64 |
//! | asks hungry | algorithm u16 |
//! | hungry | task u64, hungry u8 |
//!
//! Task numbers are those of `TaskId`.

use crate::wire::{DecodeError, Fields};

/// Slave to master: how far the task that it runs has come. Master to slave, before a packet with that task: where the
/// task goes on. The state is lent from the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint<'a> {
    /// The task.
    pub task: u64,
    /// How many words of its random stream it has drawn.
    pub draws: u128,
    /// Hash of the state's type; it is not read as another.
    pub state_type: u64,
    /// The user's archive of the state.
    pub state: &'a [u8],
}

impl<'a> Checkpoint<'a> {
    /// Bytes of the payload before the state.
    pub const HEADER_BYTES: usize = 32;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.task.to_le_bytes());
        out.extend_from_slice(&self.draws.to_le_bytes());
        out.extend_from_slice(&self.state_type.to_le_bytes());
        out.extend_from_slice(self.state);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is too short; the state is whatever follows its type.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let task = fields.u64("task")?;
        let [low, high] = [fields.u64("draws")?, fields.u64("draws")?];
        Ok(Self {
            task,
            draws: u128::from(low) | u128::from(high) << 64,
            state_type: fields.u64("type")?,
            state: fields.rest(),
        })
    }
}

/// Master to slave: the task's checkpoint has come, and the next one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointTaken {
    /// The task.
    pub task: u64,
}

impl CheckpointTaken {
    /// Bytes of the payload.
    pub const BYTES: usize = 8;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.task.to_le_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let task = fields.u64("task")?;
        fields.end()?;
        Ok(Self { task })
    }
}

/// Slave to master: tasks of this algorithm ask whether slaves are hungry. Said once of each algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AsksHungry {
    /// The algorithm, as its place in the sorted names of the handshake.
    pub algorithm: u16,
}

impl AsksHungry {
    /// Bytes of the payload.
    pub const BYTES: usize = 2;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.algorithm.to_le_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let algorithm = fields.u16("algorithm")?;
        fields.end()?;
        Ok(Self { algorithm })
    }
}

/// Master to slave: other slaves are idle and nothing is queued, so this task is to give back what it has not done; or
/// that is so no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hungry {
    /// The task.
    pub task: u64,
    /// Slaves are hungry, rather than hungry no more.
    pub hungry: bool,
}

impl Hungry {
    /// Bytes of the payload.
    pub const BYTES: usize = 9;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.task.to_le_bytes());
        out.push(self.hungry.into());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let task = fields.u64("task")?;
        let hungry = fields.bool("hungry")?;
        fields.end()?;
        Ok(Self { task, hungry })
    }
}
