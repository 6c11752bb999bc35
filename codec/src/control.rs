//! The small payloads that steer a connection: hand-laid, little-endian, read strictly ([`crate::wire`]).
//!
//! | frame | payload |
//! |---|---|
//! | shutdown | finished u8 |
//! | goodbye | code u8, length u16, reason |
//! | withdraw | count u32, task u64 .. |
//! | withdrawn | count u32, (task u64, begun u8) .. |
//! | recall | tasks u32 |
//! | returned | count u32, task u64 .. |
//! | starting | task u64 |
//! | offer | best u32, key u64, witness (the rest) |
//! | bests | count u32, (best u32, key u64) .. |
//!
//! A heartbeat's payload is empty. Task numbers are those of `TaskId`.

use crate::wire::{DecodeError, Fields, prefix, put_text16};

/// Slave to master: still here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat;

impl Heartbeat {
    /// Bytes of the payload.
    pub const BYTES: usize = 0;

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not empty.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        Fields::new(payload).end()?;
        Ok(Self)
    }
}

/// Master to slave: stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    /// The computation is finished (the slave exits 0), rather than the master leaving it unfinished (255).
    pub finished: bool,
}

impl Shutdown {
    /// Bytes of the payload.
    pub const BYTES: usize = 1;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.finished.into());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let finished = fields.bool("finished")?;
        fields.end()?;
        Ok(Self { finished })
    }
}

/// Why a slave says goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum GoodbyeCode {
    /// The batch system takes the machine back (SIGTERM).
    Evicted = 0,
    /// A `SlaveState::init` failed: the slave is of no use, its tasks are.
    StateInit = 1,
    /// Anything else; the reason says what.
    Other = 2,
    /// The slave cannot print any more: its disk is full, its terminal gone. Its tasks are of use elsewhere.
    Surroundings = 3,
    /// A task went on after its time-out and has been answered for; nothing but the slave's end stops it.
    TimedOut = 4,
    /// The task that was begun ends the slave by `exit`: it is charged for it.
    Ended = 5,
    /// As [`Ended`](Self::Ended), by a signal: a fault of its own code.
    Signalled = 6,
    /// As [`Ended`](Self::Ended), for the memory that it takes.
    Memory = 7,
}

impl GoodbyeCode {
    /// Whether the task that was begun is to blame.
    pub fn is_by_task(self) -> bool {
        matches!(
            self,
            GoodbyeCode::Ended | GoodbyeCode::Signalled | GoodbyeCode::Memory
        )
    }
}

/// Which of the tasks that a slave holds at its goodbye were begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Begun {
    /// None of them, all results being sent.
    None = 0,
    /// The oldest one, all results being sent.
    Oldest = 1,
    /// Any of them may have been begun, and have ended: its time was up before all results were sent.
    Any = 2,
}

/// Slave to master: the connection ends by the slave's own will. What it holds is recycled, and no task is charged, but
/// for one that ends the slave ([`GoodbyeCode::is_by_task`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// The kind of reason.
    pub code: GoodbyeCode,
    /// Which of the tasks that it holds were begun; the others never are.
    pub begun: Begun,
    /// The reason for the operator, at most [`Goodbye::REASON_BYTES_MAX`] bytes; encoding cuts it there.
    pub reason: String,
}

impl Goodbye {
    /// The most bytes of the reason.
    pub const REASON_BYTES_MAX: usize = 1024;
    /// The most bytes of the payload.
    pub const BYTES_MAX: usize = 4 + Self::REASON_BYTES_MAX;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.code as u8);
        out.push(self.begun as u8);
        put_text16(out, prefix(&self.reason, Self::REASON_BYTES_MAX));
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let code = match fields.u8("code")? {
            0 => GoodbyeCode::Evicted,
            1 => GoodbyeCode::StateInit,
            2 => GoodbyeCode::Other,
            3 => GoodbyeCode::Surroundings,
            4 => GoodbyeCode::TimedOut,
            5 => GoodbyeCode::Ended,
            6 => GoodbyeCode::Signalled,
            7 => GoodbyeCode::Memory,
            got => {
                return Err(DecodeError::Value {
                    field: "code",
                    got: got.into(),
                });
            }
        };
        let begun = match fields.u8("begun")? {
            0 => Begun::None,
            1 => Begun::Oldest,
            2 => Begun::Any,
            got => {
                return Err(DecodeError::Value {
                    field: "begun",
                    got: got.into(),
                });
            }
        };
        let reason = fields.text16_within("reason", Self::REASON_BYTES_MAX)?;
        fields.end()?;
        Ok(Self {
            code,
            begun,
            reason,
        })
    }
}

/// The most tasks that one withdrawal or its answer names; a longer one is several frames.
pub const WITHDRAW_TASKS_MAX: usize = 4096;

/// A payload that is a list of tasks.
macro_rules! task_list {
    ($(#[$doc:meta])* $name:ident, $(#[$tasks_doc:meta])*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $(#[$tasks_doc])*
            pub tasks: Vec<u64>,
        }

        impl $name {
            /// The most bytes of the payload.
            pub const BYTES_MAX: usize = 4 + 8 * WITHDRAW_TASKS_MAX;

            /// Appends the payload.
            ///
            /// # Panics
            /// With more than [`WITHDRAW_TASKS_MAX`] tasks.
            pub fn encode(&self, out: &mut Vec<u8>) {
                put_withdraw_count(out, self.tasks.len());
                for task in &self.tasks {
                    out.extend_from_slice(&task.to_le_bytes());
                }
            }

            /// Reads a payload.
            ///
            /// # Errors
            /// When it is not exactly one of these.
            pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
                let mut fields = Fields::new(payload);
                let count = withdraw_count(&mut fields, 8)?;
                let tasks = (0..count)
                    .map(|_| fields.u64("task"))
                    .collect::<Result<_, _>>()?;
                fields.end()?;
                Ok(Self { tasks })
            }
        }
    };
}

task_list! {
    /// Master to slave: these tasks are no longer yours.
    Withdraw,
    /// The tasks, at most [`WITHDRAW_TASKS_MAX`].
}

/// Slave to master: the answer to a withdrawal. From here on the slave holds none of these tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawn {
    /// The tasks, at most [`WITHDRAW_TASKS_MAX`], and whether each had been begun.
    pub tasks: Vec<(u64, bool)>,
}

impl Withdrawn {
    /// The most bytes of the payload.
    pub const BYTES_MAX: usize = 4 + 9 * WITHDRAW_TASKS_MAX;

    /// Appends the payload.
    ///
    /// # Panics
    /// With more than [`WITHDRAW_TASKS_MAX`] tasks.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_withdraw_count(out, self.tasks.len());
        for (task, begun) in &self.tasks {
            out.extend_from_slice(&task.to_le_bytes());
            out.push((*begun).into());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let count = withdraw_count(&mut fields, 9)?;
        let tasks = (0..count)
            .map(|_| Ok((fields.u64("task")?, fields.bool("begun")?)))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self { tasks })
    }
}

/// Master to slave: give back tasks that you have not begun, the last of them first; another slave is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recall {
    /// How many at most, up to [`WITHDRAW_TASKS_MAX`].
    pub tasks: u32,
}

impl Recall {
    /// The bytes of the payload.
    pub const BYTES: usize = 4;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tasks.to_le_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let tasks = fields.u32("tasks")?;
        fields.end()?;
        if tasks as usize > WITHDRAW_TASKS_MAX {
            return Err(DecodeError::TooLong {
                field: "tasks",
                got: tasks as usize,
                max: WITHDRAW_TASKS_MAX,
            });
        }
        Ok(Self { tasks })
    }
}

task_list! {
    /// Slave to master: the one answer to a recall, the slave's word that it has not begun these tasks and never will.
    /// None of them is addressed to it.
    Returned,
    /// The tasks, no more than were asked for, at most [`WITHDRAW_TASKS_MAX`]; none if it has begun all.
}

fn put_withdraw_count(out: &mut Vec<u8>, count: usize) {
    assert!(
        count <= WITHDRAW_TASKS_MAX,
        "a withdrawal of {count} tasks must be cut into several frames"
    );
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn withdraw_count(fields: &mut Fields<'_>, entry_bytes: usize) -> Result<usize, DecodeError> {
    let got = fields.count("tasks", entry_bytes)?;
    if got > WITHDRAW_TASKS_MAX {
        return Err(DecodeError::TooLong {
            field: "tasks",
            got,
            max: WITHDRAW_TASKS_MAX,
        });
    }
    Ok(got)
}

/// Slave to master, before it begins a task that was in a lost slave's hands: if I die now, it was this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Starting {
    /// The task.
    pub task: u64,
}

impl Starting {
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

/// Slave to master: a better incumbent, key and witness in one message. The witness is lent from the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Which `Best` of the run.
    pub best: u32,
    /// The order-preserving image of the key.
    pub key: u64,
    /// The user's archive of the witness.
    pub witness: &'a [u8],
}

impl<'a> Offer<'a> {
    /// Bytes of the payload before the witness.
    pub const HEADER_BYTES: usize = 12;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.best.to_le_bytes());
        out.extend_from_slice(&self.key.to_le_bytes());
        out.extend_from_slice(self.witness);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is too short; the witness is whatever follows the key.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        Ok(Self {
            best: fields.u32("best")?,
            key: fields.u64("key")?,
            witness: fields.rest(),
        })
    }
}

/// Master to slave: the current keys of the run's incumbents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bests {
    /// Which `Best`, and the order-preserving image of its key.
    pub entries: Vec<(u32, u64)>,
}

impl Bests {
    /// Bytes of the payload for each entry, beside the count's four.
    pub const ENTRY_BYTES: usize = 12;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let count =
            u32::try_from(self.entries.len()).expect("a run has fewer incumbents than 2^32");
        out.extend_from_slice(&count.to_le_bytes());
        for (best, key) in &self.entries {
            out.extend_from_slice(&best.to_le_bytes());
            out.extend_from_slice(&key.to_le_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let count = fields.count("entries", Self::ENTRY_BYTES)?;
        let entries = (0..count)
            .map(|_| Ok((fields.u32("best")?, fields.u64("key")?)))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Self { entries })
    }
}
