//! What the engine tells of connections: one was accepted, bytes came, a buffer was written, one ended.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use ringmw_codec::audit::Event;
use ringmw_codec::control::Goodbye;
use ringmw_codec::frame::{Block, FrameError, FrameReader, Kind, Payload};
use ringmw_sched::Nanos;

use super::MasterCore;
use super::conn::{Cause, Conn, Phase, Stop, Unsent, too_early};
use super::meter::Meter;
use crate::proto::conn::{Closed, ConnId, Effect};
use crate::proto::pieces::Pieces;
use crate::proto::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, SECOND};

/// How long accepting pauses when it has failed: trying again at once would fail again, and spin.
const ACCEPT_PAUSE: Nanos = SECOND;

/// A lack of descriptors that lasts is a line of the trail this often.
const SHORTAGE_LINES_APART: Nanos = 60 * SECOND;

/// Buffers kept for reuse, no more than there are slaves, and the bytes of all of them: any may grow to the largest
/// packet. Every slave that comes brings one.
const SPARE_MAX: usize = 4_096;
const SPARE_BYTES_MAX: usize = 1 << 20;

/// Used buffers.
#[derive(Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    /// The sum of their capacities.
    bytes: usize,
}

impl Spare {
    /// One of them, if there is one.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let spare = self.buffers.pop()?;
        self.bytes -= spare.capacity();
        Some(spare)
    }

    /// One of them for who has none, if there is one.
    #[inline]
    pub(super) fn lend(&mut self, buffer: &mut Vec<u8>) {
        if buffer.capacity() == 0
            && let Some(spare) = self.take()
        {
            *buffer = spare;
        }
    }

    /// Keeps one, if there are not enough for so many slaves.
    #[inline]
    fn keep(&mut self, mut buffer: Vec<u8>, slaves: usize) {
        let bytes = self.bytes + buffer.capacity();
        let enough = slaves.min(SPARE_MAX);
        if self.buffers.len() < enough && bytes <= SPARE_BYTES_MAX && buffer.capacity() > 0 {
            buffer.clear();
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

/// What the engine brings.
enum Read<'a> {
    Bytes(&'a [u8]),
    /// What was lent, with so many bytes more.
    Block(Vec<u8>, usize),
}

impl Read<'_> {
    fn has_bytes(&self) -> bool {
        match self {
            Read::Bytes(_) => true,
            Read::Block(_, more) => *more > 0,
        }
    }
}

impl MasterCore {
    /// A connection was accepted.
    pub fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        let slot = conn.slot();
        if slot >= self.conns.len() {
            self.conns.resize_with(slot + 1, || None);
        }
        let due = self.awake + HANDSHAKE_TIMEOUT;
        self.conns[slot] = Some(Conn {
            id: conn,
            peer,
            phase: Phase::Handshake {
                since: self.awake,
                owes_since: self.awake,
            },
            reader: FrameReader::new(),
            secured: None,
            heard: self.awake,
            due,
            frame_since: None,
            out: Vec::new(),
            pieces: Pieces::default(),
            unsealed: VecDeque::new(),
            sealed_ahead: 0,
            unsent: Unsent::default(),
            withdraw: Vec::new(),
            barred: None,
            meter: Meter::default(),
            sending: None,
        });
        self.deadlines.push(Reverse((due, conn)));
        self.pending.push_back(conn);
        self.pending_count += 1;
        self.trail.push(Event::Client {
            from: peer.to_string(),
        });
        if self.pending_count >= HANDSHAKES_MAX {
            self.accept(false);
        }
    }

    /// Frames, or parts of them, came on a connection: see [`on_received`](Self::on_received).
    pub fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.read(conn, Read::Bytes(bytes));
    }

    /// Whether what comes next on a connection is the rest of a long frame.
    pub fn is_long(&self, conn: ConnId) -> bool {
        let state = self.conn(conn);
        state.is_some_and(|state| {
            let is_long = state.reader.missing_bytes() >= self.long_from;
            let secured = state.secured.as_ref();
            matches!(state.phase, Phase::Slave { .. })
                && secured.map_or(is_long, |secured| secured.is_long(is_long, self.long_from))
        })
    }

    /// Lends memory for what comes next: a long frame's own, or some for its records.
    pub fn lend(&mut self, conn: ConnId) -> Option<Block> {
        if !self.is_long(conn) {
            return None;
        }
        match &self.conn(conn)?.secured {
            None => self.lend_frame(conn),
            Some(_) => self.lend_records(conn),
        }
    }

    /// Lends a long frame's memory, if one has begun.
    pub(super) fn lend_frame(&mut self, conn: ConnId) -> Option<Block> {
        let long_from = self.long_from;
        self.conn_mut(conn)?.reader.lend_from(long_from)
    }

    /// What was lent comes back, with `more` bytes that have come. `heard` is told the frames in them, for who looks on.
    pub fn on_block(
        &mut self,
        conn: ConnId,
        bytes: Vec<u8>,
        more: usize,
        heard: &mut dyn FnMut(&[u8]),
    ) {
        match self.conn(conn).is_some_and(|state| state.secured.is_some()) {
            true => self.on_records(conn, bytes, more, heard),
            false => {
                if more > 0 {
                    heard(&bytes[bytes.len() - more..]);
                }
                self.on_frame_block(conn, bytes, more);
            }
        }
    }

    /// From so many missing bytes on the rest of a frame is received into its own memory; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_long_from(&mut self, bytes: usize) {
        self.long_from = bytes;
    }

    /// A long frame's memory comes back, with `more` bytes of the frame.
    pub(super) fn on_frame_block(&mut self, conn: ConnId, bytes: Vec<u8>, more: usize) {
        self.read(conn, Read::Block(bytes, more));
    }

    fn read(&mut self, conn: ConnId, came: Read<'_>) {
        let Some(state) = self.conn(conn) else { return };
        if matches!(state.phase, Phase::Dropped) {
            return;
        }
        let awake = self.awake;
        let state = self.conn_mut(conn).expect("looked up above");
        if came.has_bytes() {
            state.heard = awake;
        }
        let mut reader = std::mem::take(&mut state.reader);
        // Of a stranger nothing but a hello, or a goodbye in its place, is kept, however large the packets of slaves may be.
        let stranger = Cell::new(matches!(state.phase, Phase::Handshake { .. }));
        let (tasks, results) = (
            self.config.rules.sched.task_packet_bytes_max,
            self.config.rules.result_packet_bytes_max,
        );
        let mut frames = 0u32;
        let mut sink = |kind, payload: Payload<'_>| {
            frames += 1;
            let judged = self.on_frame(conn, kind, payload.into());
            // What follows a hello in one chunk is a slave's already, if it may join.
            stranger.set(false);
            match judged {
                Ok(()) => ControlFlow::Continue(()),
                Err(stop) => ControlFlow::Break(stop),
            }
        };
        let limit = |kind: Kind| match stranger.get() && !may_begin(kind) {
            true => 0,
            false => kind.limit().bytes(tasks, results),
        };
        let fed = match came {
            Read::Bytes(bytes) => reader.take(bytes, &limit, &mut sink),
            Read::Block(bytes, _) => reader.take_back(bytes, &mut sink),
        };
        let stop = match fed {
            Ok(ControlFlow::Continue(())) => None,
            Ok(ControlFlow::Break(stop)) => Some(stop),
            Err(FrameError::Oversized { kind, .. }) if stranger.get() && !may_begin(kind) => {
                Some(too_early(kind))
            }
            Err(error) => Some(Stop::Offence(error.to_string())),
        };
        if let Some(state) = self.conn_mut(conn) {
            state.reader = reader;
            state.frame_since = match (state.is_mid_frame(), state.frame_since) {
                (true, Some(since)) if frames == 0 => Some(since),
                (true, _) => Some(awake),
                (false, _) => None,
            };
        }
        match stop {
            Some(Stop::Offence(reason)) => self.on_offence(conn, reason),
            Some(Stop::Away(reason)) => {
                self.refuse_untold(conn, reason);
                self.close(conn, false);
            }
            Some(Stop::Refused(refusal, host)) => self.refuse(conn, refusal, host),
            Some(Stop::Goodbye(goodbye)) => {
                let Goodbye {
                    code,
                    begun,
                    reason,
                } = goodbye;
                let cause = Cause::Goodbye {
                    code,
                    begun,
                    reason,
                };
                self.lose(conn, cause);
            }
            None => {}
        }
    }

    /// A buffer was written; it comes back for reuse.
    pub fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.on_sent_shared(conn, buffer.len(), drained);
        self.keep_spare(buffer);
    }

    /// So many bytes that others share were written.
    pub fn on_sent_shared(&mut self, conn: ConnId, bytes: usize, drained: bool) {
        self.on_written(conn, bytes as u64, drained);
    }

    /// Keeps a buffer for reuse, if there are not enough.
    pub(super) fn keep_spare(&mut self, buffer: Vec<u8>) {
        self.spare.keep(buffer, self.slots.len());
    }

    /// The peer ended the connection, or it failed.
    pub fn on_closed(&mut self, conn: ConnId, why: Closed) {
        let cause = match why {
            Closed::Eof => Cause::Eof,
            Closed::Error(error) => Cause::Reset(error.to_string()),
        };
        match self.conn(conn).map(|c| &c.phase) {
            None => {}
            Some(Phase::Handshake { .. }) => {
                let reason = format!(
                    "ended before its handshake was complete ({})",
                    cause.word().word()
                );
                self.refuse_untold(conn, reason);
                self.close(conn, false);
            }
            Some(Phase::Slave { .. }) => self.lose(conn, cause),
            Some(Phase::Dropped) => {}
        }
    }

    /// Accepting failed, for want of descriptors for example, and the engine has paused it; it is tried again after a
    /// connection was closed, or a second has passed.
    pub fn on_accept_error(&mut self, error: &std::io::Error) {
        self.accepting = false;
        self.accept_again = Some(self.now + ACCEPT_PAUSE);
        if self
            .shortage_told
            .is_none_or(|told| self.now >= told + SHORTAGE_LINES_APART)
        {
            self.shortage_told = Some(self.now);
            self.trail.push(Event::Note {
                text: format!("cannot accept: {error}; raise the limit of open files (ulimit -n)"),
            });
        }
    }

    pub(super) fn accept(&mut self, on: bool) {
        self.accepting = on;
        self.effects.push_back(Effect::Accepting(on));
    }
}

/// What a slave says first: its hello, or that it is another master's.
fn may_begin(kind: Kind) -> bool {
    matches!(kind, Kind::Hello | Kind::Goodbye)
}
