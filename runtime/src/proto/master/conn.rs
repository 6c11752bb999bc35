//! One connection: what it is, what is known of its slave, and why it ends.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use ringmw_codec::audit::LossCause;
use ringmw_codec::control::{Begun, Goodbye, GoodbyeCode};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::handshake::{About, Refusal};
use ringmw_codec::talk::Progress;
use ringmw_sched::{Death, Departure, Nanos, SlaveId};

use super::account::Deeds;
use super::kept::CameOf;
use super::logs::LogPace;
use super::meter::Meter;
use super::shared::Sending;
use crate::proto::conn::{ConnId, Effect};
use crate::proto::pieces::Pieces;
use crate::proto::secured::AtMaster;

pub(super) struct Conn {
    pub(super) id: ConnId,
    pub(super) peer: SocketAddr,
    pub(super) phase: Phase,
    pub(super) reader: FrameReader,
    /// What all of it goes through, where the run has a secret.
    pub(super) secured: Option<Box<AtMaster>>,
    pub(super) heard: Nanos,
    /// The deadline that stands for it in the heap; others are stale.
    pub(super) due: Nanos,
    pub(super) frame_since: Option<Nanos>,
    pub(super) out: Vec<u8>,
    /// What belongs between the bytes of `out`.
    pub(super) pieces: Pieces,
    /// Where all is sealed: what is not yet, and about how many bytes are that the engine has not written.
    pub(super) unsealed: VecDeque<Effect>,
    pub(super) sealed_ahead: usize,
    pub(super) unsent: Unsent,
    pub(super) withdraw: Vec<u64>,
    /// What is in `out` waits until the journal has passed this barrier; from where on there are tasks that wait for it.
    pub(super) barred: Option<(u64, usize)>,
    pub(super) meter: Meter,
    /// The shared data that it is being sent.
    pub(super) sending: Option<Sending>,
}

/// The connection of this number, if it is still there.
#[inline]
pub(super) fn find(conns: &mut [Option<Conn>], conn: ConnId) -> Option<&mut Conn> {
    let state = conns.get_mut(conn.slot())?.as_mut();
    state.filter(|state| state.id == conn)
}

impl Conn {
    /// Whether a frame, or a record, has begun and is not complete.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.begun_bytes() > 0
    }

    /// Bytes kept of a frame, and of a record, that have begun and are not complete.
    pub(super) fn begun_bytes(&self) -> u64 {
        let record = self
            .secured
            .as_ref()
            .map_or(0, |secured| secured.begun_bytes());
        (self.reader.buffered_bytes() + record) as u64
    }

    /// Bytes in `out` and of the pieces between them.
    pub(super) fn out_bytes(&self) -> usize {
        self.out.len() + self.pieces.bytes()
    }

    /// Whether its peer has said nothing at all.
    pub(super) fn is_silent(&self) -> bool {
        let silent = self
            .secured
            .as_ref()
            .is_none_or(|secured| secured.is_silent());
        silent && !self.reader.is_mid_frame()
    }

    /// Whether the master owes its peer the answer to a proof.
    pub(super) fn is_unanswered(&self) -> bool {
        let secured = self.secured.as_ref();
        secured.is_some_and(|secured| secured.is_waiting())
    }
}

/// What is kept for a connection because its peer has not read it.
#[derive(Default)]
pub(super) struct Unsent {
    /// Bytes in `out` and of its pieces, as far as they are accounted for, and in buffers that the engine has not written.
    pub(super) bytes: u64,
    /// Of them those in `out`.
    pub(super) in_out: usize,
    /// When the first of them was put there.
    pub(super) since: Nanos,
    /// All slaves together have so much unsent that this one, which has waited long, gets no work.
    pub(super) crowded: bool,
    /// What the scheduler was told last.
    pub(super) held_back: bool,
}

pub(super) enum Phase {
    Handshake {
        since: Nanos,
        /// Since when it is the peer's turn: its accept, or the answer to its proof.
        owes_since: Nanos,
    },
    Slave {
        id: SlaveId,
        info: Box<SlaveInfo>,
        told: u64,
        pushing: bool,
        leaving: bool,
    },
    /// Told why and closed; what still comes is not read.
    Dropped,
}

/// What is known of a connected slave.
#[derive(Clone, Debug)]
pub struct SlaveInfo {
    /// Its address.
    pub address: SocketAddr,
    /// Its host's name.
    pub host: String,
    /// Its batch job, or empty.
    pub job: Arc<str>,
    /// Its process there.
    pub pid: u32,
    /// What else it says of itself: its labels, who watches over it.
    pub about: About,
    /// When it connected.
    pub since: Nanos,
    /// What it has done.
    pub deeds: Deeds,
    /// How far a task of its was when it said so last.
    pub progress: Option<Progress>,
    /// How much of its log was taken in this second.
    pub(super) log_pace: LogPace,
    /// The keys that former lives have told it.
    pub(super) came_of: CameOf,
}

/// Why a connection of a slave ends, as the trail names it.
pub(super) enum Cause {
    Eof,
    Reset(String),
    Timeout(String),
    Protocol(String),
    /// It has not read what it was sent.
    Unread(String),
    Goodbye {
        code: GoodbyeCode,
        begun: Begun,
        reason: String,
    },
}

impl Cause {
    pub(super) fn word(&self) -> LossCause {
        match self {
            Cause::Eof => LossCause::Eof,
            Cause::Reset(_) => LossCause::Reset,
            Cause::Timeout(_) => LossCause::Timeout,
            Cause::Protocol(_) | Cause::Unread(_) => LossCause::Protocol,
            Cause::Goodbye {
                code: GoodbyeCode::Evicted,
                ..
            } => LossCause::Evicted,
            Cause::Goodbye { code, .. } => match code {
                GoodbyeCode::Ended => LossCause::Exit,
                GoodbyeCode::Signalled => LossCause::Signal,
                GoodbyeCode::Memory => LossCause::Memory,
                _ => LossCause::Goodbye,
            },
        }
    }

    pub(super) fn detail(&self) -> String {
        match self {
            Cause::Eof => String::new(),
            Cause::Timeout(text)
            | Cause::Reset(text)
            | Cause::Protocol(text)
            | Cause::Unread(text)
            | Cause::Goodbye { reason: text, .. } => text.clone(),
        }
    }

    /// How its process has ended, for the task that it is charged to.
    pub(super) fn death(&self) -> Death {
        match self.word() {
            LossCause::Timeout => Death::Silence,
            LossCause::Exit => Death::Exit,
            LossCause::Signal => Death::Signal,
            LossCause::Memory => Death::Memory,
            _ => Death::Connection,
        }
    }

    /// Its state could not be made, or what is around it has failed: another slave there would fare no better.
    pub(super) fn is_of_its_host(&self) -> bool {
        matches!(
            self,
            Cause::Goodbye {
                code: GoodbyeCode::StateInit | GoodbyeCode::Surroundings,
                ..
            }
        )
    }

    /// An announced task is charged only where the slave itself was lost.
    pub(super) fn departure(&self) -> Departure {
        match self {
            Cause::Eof | Cause::Reset(_) | Cause::Timeout(_) => Departure::Crashed,
            Cause::Protocol(_) | Cause::Unread(_) => Departure::Excused,
            Cause::Goodbye {
                code,
                begun: Begun::Oldest,
                ..
            } if code.is_by_task() => Departure::Ended,
            Cause::Goodbye {
                begun: Begun::Any, ..
            } => Departure::Excused,
            Cause::Goodbye { begun, .. } => Departure::Goodbye {
                begun: *begun == Begun::Oldest,
            },
        }
    }
}

/// Why the rest of a chunk is not read.
pub(super) enum Stop {
    Offence(String),
    Refused(Refusal, String),
    Goodbye(Goodbye),
    /// It was dialled, and is another master's.
    Away(String),
}

pub(super) fn too_early(kind: Kind) -> Stop {
    offence(format!("{kind:?} before the handshake"))
}

pub(super) fn offence(reason: impl ToString) -> Stop {
    Stop::Offence(reason.to_string())
}
