//! The table of frame kinds, and what is made of it: [`Kind`], and for each direction the enum that its receiver matches.
//!
//! A new kind is a row here, a section of the [`format`](mod@crate::format) page, a sender, and what its receiver does: the
//! receiver's match has no arm for the rest, so that it does not compile before.
//!
//! ```
//! use ringmw_codec::control::Recall;
//! use ringmw_codec::kinds::{FromMaster, FromSlave, Kind, ReadError};
//!
//! let payload = 100u32.to_le_bytes();
//! let read = FromMaster::read(Kind::Recall, &payload)?;
//! assert!(matches!(read, FromMaster::Recall(Recall { tasks: 100 })));
//! let refused = FromSlave::read(Kind::Recall, &payload).err();
//! assert_eq!(refused, Some(ReadError::Direction(Kind::Recall)));
//! # Ok::<(), ReadError>(())
//! ```

use thiserror::Error;

use crate::batch::{BatchError, ResultBatchView, TaskBatchView};
use crate::control::{
    Bests, Goodbye, Heartbeat, Offer, Recall, Returned, Shutdown, Starting, Withdraw, Withdrawn,
};
use crate::handshake::{
    HELLO_BYTES_MAX, HandshakeError, Hello, REFUSAL_BYTES_MAX, Refusal, WELCOME_BYTES_MAX, Welcome,
};
use crate::kept::Kept;
use crate::log::Log;
use crate::observe::{ANSWER_BYTES_MAX, Answer, Ask};
use crate::running::{AsksHungry, Checkpoint, CheckpointTaken, Hungry};
use crate::shared::{Blob, Want};
use crate::talk::{Heard, Message, Progress};
use crate::wire::DecodeError;

/// Which way frames of a kind go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From a slave to its master.
    ToMaster,
    /// From the master to a slave.
    ToSlave,
    /// From an observer to the master, over its second listener.
    OfObserver,
    /// From the master to an observer.
    ToObserver,
}

impl Direction {
    /// Who sends, and who receives.
    #[must_use]
    pub const fn sides(self) -> (&'static str, &'static str) {
        match self {
            Direction::ToMaster => ("slave", "master"),
            Direction::ToSlave => ("master", "slave"),
            Direction::OfObserver => ("observer", "master"),
            Direction::ToObserver => ("master", "observer"),
        }
    }

    /// What is said of a frame that goes another way.
    const fn never(self) -> &'static str {
        match self {
            Direction::ToMaster => "a master never sends",
            Direction::ToSlave => "a slave never sends",
            Direction::OfObserver => "only an observer sends",
            Direction::ToObserver => "only to observers is sent",
        }
    }
}

/// The largest payload of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// So many bytes, whatever the buffers.
    Bytes(usize),
    /// The most bytes of a packet to a slave, which the master says in its welcome.
    TaskPacket,
    /// The most bytes of a packet from a slave, which the master says in its welcome.
    ResultPacket,
}

impl Limit {
    /// The limit in bytes, where packets of tasks and of results have at most so many.
    #[must_use]
    pub const fn bytes(self, task_packet_bytes_max: u32, result_packet_bytes_max: u32) -> u32 {
        match self {
            Limit::Bytes(bytes) => bytes as u32,
            Limit::TaskPacket => task_packet_bytes_max,
            Limit::ResultPacket => result_packet_bytes_max,
        }
    }
}

/// Why a frame that came whole means nothing to its receiver. The peer that sent it is in the wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// A peer of that side sends no frame of this kind.
    #[error("{} {_0:?}", _0.direction().never())]
    Direction(Kind),
    /// The payload is not that of a handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The payload is no packet of tasks or results.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The payload is not laid as its kind's.
    #[error(transparent)]
    Field(#[from] DecodeError),
}

/// A section is a direction, a row a kind: its number, its name, the type of its payload, the limit of that. What a row
/// names as its payload has `decode`.
macro_rules! frames {
    ($($(#[$frame_doc:meta])* $frame:ident = $direction:ident {
        $($(#[$doc:meta])* $name:ident = $number:literal, $payload:ty, $limit:expr;)*
    })*) => {
        /// What a frame's payload is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Kind {
            $($($(#[$doc])* $name = $number,)*)*
        }

        impl Kind {
            /// Every kind, in the order of their numbers.
            pub const ALL: [Kind; [$($(Kind::$name),*),*].len()] = {
                let mut all = [$($(Kind::$name),*),*];
                let (mut number, mut found) = (0, 0);
                while found < all.len() {
                    number += 1;
                    if let Some(kind) = Kind::from_u8(number) {
                        all[found] = kind;
                        found += 1;
                    }
                }
                all
            };

            /// The kind with this number, if there is one.
            #[must_use]
            pub const fn from_u8(number: u8) -> Option<Kind> {
                match number {
                    $($($number => Some(Kind::$name),)*)*
                    _ => None,
                }
            }

            /// Which way it goes.
            #[must_use]
            pub const fn direction(self) -> Direction {
                match self {
                    $($(Kind::$name)|* => Direction::$direction,)*
                }
            }

            /// Its largest payload.
            #[must_use]
            pub const fn limit(self) -> Limit {
                match self {
                    $($(Kind::$name => $limit,)*)*
                }
            }
        }

        $(
            $(#[$frame_doc])*
            pub enum $frame<'a> {
                $($(#[$doc])* $name($payload),)*
            }

            impl<'a> $frame<'a> {
                /// Reads a frame that came from that side.
                ///
                /// # Errors
                /// [`ReadError::Direction`] when that side sends none of this kind; else when the payload is not of its kind.
                #[inline]
                pub fn read(kind: Kind, payload: &'a [u8]) -> Result<Self, ReadError> {
                    match kind {
                        $(Kind::$name => Ok($frame::$name(<$payload>::decode(payload)?)),)*
                        _ => Err(ReadError::Direction(kind)),
                    }
                }
            }
        )*
    };
}

frames! {
    /// What a slave says to its master.
    FromSlave = ToMaster {
        /// The slave's first word: who it is.
        Hello = 1, Hello, Limit::Bytes(HELLO_BYTES_MAX);
        /// A packet of results.
        Results = 5, ResultBatchView<'a>, Limit::ResultPacket;
        /// The slave is still here.
        Heartbeat = 6, Heartbeat, Limit::Bytes(Heartbeat::BYTES);
        /// The slave leaves by its own will.
        Goodbye = 8, Goodbye, Limit::Bytes(Goodbye::BYTES_MAX);
        /// The answer to a withdrawal.
        Withdrawn = 10, Withdrawn, Limit::Bytes(Withdrawn::BYTES_MAX);
        /// The slave is about to begin a task that was in a lost slave's hands.
        Starting = 11, Starting, Limit::Bytes(Starting::BYTES);
        /// A better incumbent.
        Offer = 12, Offer<'a>, Limit::ResultPacket;
        /// The answer to a recall.
        Returned = 15, Returned, Limit::Bytes(Returned::BYTES_MAX);
        /// What a running task says to the master.
        Said = 16, Message<'a>, Limit::ResultPacket;
        /// A running task listens, or has taken what the master said.
        Heard = 18, Heard, Limit::Bytes(Heard::BYTES);
        /// How much of the running task is done.
        Progress = 19, Progress, Limit::Bytes(Progress::BYTES);
        /// A part of shared data is wanted.
        Want = 23, Want, Limit::Bytes(Want::BYTES);
        /// How far the running task has come.
        Checkpoint = 20, Checkpoint<'a>, Limit::ResultPacket;
        /// A line of the slave's log.
        Log = 25, Log<'a>, Limit::Bytes(Log::BYTES_MAX);
        /// Results that a slave kept while its run had no master.
        Kept = 26, Kept<'a>, Limit::ResultPacket;
        /// Keys of which what a slave kept may have come.
        CameOf = 27, Bests, Limit::ResultPacket;
        /// Tasks of an algorithm ask whether slaves are hungry.
        AsksHungry = 31, AsksHungry, Limit::Bytes(AsksHungry::BYTES);
    }
    /// What the master says to a slave.
    FromMaster = ToSlave {
        /// The master accepts the slave.
        Welcome = 2, Welcome, Limit::Bytes(WELCOME_BYTES_MAX);
        /// The master refuses the slave, and closes.
        Refuse = 3, Refusal, Limit::Bytes(REFUSAL_BYTES_MAX);
        /// A packet of tasks.
        Tasks = 4, TaskBatchView<'a>, Limit::TaskPacket;
        /// The slave is to stop.
        Shutdown = 7, Shutdown, Limit::Bytes(Shutdown::BYTES);
        /// Tasks are no longer the slave's.
        Withdraw = 9, Withdraw, Limit::Bytes(Withdraw::BYTES_MAX);
        /// The keys of incumbents.
        Bests = 13, Bests, Limit::TaskPacket;
        /// The slave is to give back tasks that it has not begun.
        Recall = 14, Recall, Limit::Bytes(Recall::BYTES);
        /// What the master says to a running task.
        Say = 17, Message<'a>, Limit::ResultPacket;
        /// What a running task said has been taken.
        SaidHeard = 36, Heard, Limit::Bytes(Heard::BYTES);
        /// A piece of shared data.
        Blob = 24, Blob<'a>, Limit::Bytes(Blob::BYTES_MAX);
        /// The running task's checkpoint has come.
        CheckpointTaken = 21, CheckpointTaken, Limit::Bytes(CheckpointTaken::BYTES);
        /// Slaves are hungry, or not any more.
        Hungry = 22, Hungry, Limit::Bytes(Hungry::BYTES);
        /// Where a task of the next packet goes on.
        Resume = 37, Checkpoint<'a>, Limit::ResultPacket;
    }
    /// What an observer says to a master.
    FromObserver = OfObserver {
        /// How does the run do, why is something as it is, or: end it.
        Ask = 40, Ask<'a>, Limit::Bytes(Ask::BYTES_MAX);
    }
    /// What the master says to an observer.
    ToObserver = ToObserver {
        /// A piece of the answer.
        Answer = 41, Answer<'a>, Limit::Bytes(1 + ANSWER_BYTES_MAX);
    }
}
