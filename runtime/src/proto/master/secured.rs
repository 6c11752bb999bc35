//! Connections of a run that has a secret: what came is opened for the frame reader, what is sent is sealed, and who does
//! not know the secret is told so and dropped.
//!
//! Refusing costs hashing alone and is done at once. Answering costs a Diffie-Hellman, 0.1 ms: a turn does
//! [`ANSWERS_A_TURN`] of them, in the order in which the peers came, so that ten thousand that come at once keep no
//! result waiting. Peers that wait for that are not judged by time.

use std::collections::VecDeque;

use bytes::Bytes;
use ringmw_codec::frame::Block;
use ringmw_codec::handshake::{PROTOCOL_VERSION, Refusal};
use ringmw_codec::secret::{FirstError, Key, Opening, Secret};

use super::MasterCore;
use super::conn::{Conn, Phase};
use crate::proto::conn::{ConnId, Effect};
use crate::proto::pieces::Pieces;
use crate::proto::secured::{AtMaster, Frames, Unproved, open_block};

/// Peers that are answered in one turn: 5 ms.
pub(crate) const ANSWERS_A_TURN: usize = 50;

/// What is long is sealed in parts of so many bytes: the processor's caches hold one until the engine has sent it.
const SEALED_PART_BYTES: usize = 256 << 10;

/// About so many bytes are sealed before the engine has written them, of what is long: while it writes one part the next is
/// there.
pub(super) const SEALED_AHEAD_MAX: usize = 2 * SEALED_PART_BYTES;

/// One connection of a core.
struct Of<'a>(&'a mut MasterCore, ConnId);

impl Frames for Of<'_> {
    fn go_on(&self) -> bool {
        self.0.serves(self.1)
    }

    fn lend(&mut self) -> Option<Block> {
        self.0.lend_frame(self.1)
    }

    fn on_block(&mut self, bytes: Vec<u8>, more: usize) {
        self.0.on_frame_block(self.1, bytes, more);
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        self.0.on_bytes(self.1, bytes);
    }
}

/// What is to be sent of a connection's buffer and the pieces that belong between its bytes. None: it waits until it is its
/// turn to be [sealed](MasterCore::go_on_sealing), or has become `parts`.
#[inline]
pub(super) fn frame_to_send(
    state: &mut Conn,
    parts: &mut VecDeque<Effect>,
    out: Vec<u8>,
    pieces: Pieces,
) -> Option<Effect> {
    if pieces.is_empty() && (state.secured.is_none() || state.unsealed.is_empty()) {
        return Some(Effect::Send(state.id, out));
    }
    let queue = match state.secured {
        Some(_) => &mut state.unsealed,
        None => parts,
    };
    queue.extend(pieces.effects(state.id, out));
    None
}

impl MasterCore {
    /// The run has this secret: nobody who does not know it gets anywhere. To be said before the first connection.
    pub fn set_secret(&mut self, secret: Secret) {
        self.secret = Some(secret);
    }

    /// What is sealed goes into records of so many bytes at most; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_record_bytes(&mut self, bytes: usize) {
        self.record_bytes = bytes;
    }

    /// Whether the run has a secret: then each connection is given its [key](Self::on_key).
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// Whether this connection is one whose bytes are read.
    pub fn serves(&self, conn: ConnId) -> bool {
        let state = self.conn(conn);
        state.is_some_and(|state| !matches!(state.phase, Phase::Dropped))
    }

    /// A connection that has just been accepted gets the key that was drawn for it.
    pub fn on_key(&mut self, conn: ConnId, key: Key) {
        if let Some(state) = self.conn_mut(conn) {
            state.secured = Some(Box::new(AtMaster::new(key)));
        }
    }

    /// Bytes came on a connection, as they were on the wire. `heard` is told the frames in them, for who looks on.
    pub fn on_received(&mut self, conn: ConnId, bytes: &[u8], heard: &mut dyn FnMut(&[u8])) {
        let Some(secret) = self.secret.take() else {
            heard(bytes);
            return self.on_bytes(conn, bytes);
        };
        let mut plain = std::mem::take(&mut self.opened);
        let opened = self.open(conn, bytes, &secret, &mut plain);
        self.secret = Some(secret);
        if let Some(opened) = opened {
            // With nothing in it too: the peer has been heard, and a record may have begun.
            heard(&plain);
            self.on_bytes(conn, &plain);
            match opened {
                Ok(true) => self.unanswered.push_back(conn),
                Ok(false) => {}
                Err(why) => self.on_unproved(conn, why),
            }
        }
        plain.clear();
        self.opened = plain;
    }

    fn open(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        secret: &Secret,
        plain: &mut Vec<u8>,
    ) -> Option<Result<bool, Unproved>> {
        let slot = conn.slot();
        let state = self.conns.get_mut(slot)?.as_mut()?;
        if state.id != conn || matches!(state.phase, Phase::Dropped) {
            return None;
        }
        let secured = state.secured.as_mut();
        let secured = secured.expect("it was given its key when it was accepted");
        Some(secured.open(bytes, (secret, &self.config.member_id), plain))
    }

    /// Lends memory for the records that come next.
    pub(super) fn lend_records(&mut self, conn: ConnId) -> Option<Block> {
        let memory = self.spare.take().unwrap_or_default();
        let secured = self.conn_mut(conn)?.secured.as_mut()?;
        Some(secured.channel()?.lend(memory))
    }

    /// What was lent for records comes back, with `more` bytes that have come.
    pub(super) fn on_records(
        &mut self,
        conn: ConnId,
        bytes: Vec<u8>,
        more: usize,
        heard: &mut dyn FnMut(&[u8]),
    ) {
        let state = self.conn_mut(conn);
        let Some(mut secured) = state.and_then(|state| state.secured.take()) else {
            return;
        };
        let mut plain = std::mem::take(&mut self.opened);
        let opened = match secured.channel() {
            Some(channel) => open_block(channel, &bytes, &mut plain, heard, &mut Of(self, conn)),
            None => Ok(()),
        };
        plain.clear();
        self.opened = plain;
        self.keep_spare(bytes);
        if let Some(state) = self.conn_mut(conn) {
            state.secured = Some(secured);
        }
        if more > 0 {
            // It has been heard, though no record be whole, and one may have begun.
            heard(&[]);
            self.on_bytes(conn, &[]);
        }
        if let Err(error) = opened {
            self.on_unproved(conn, Unproved::Record(error));
        }
    }

    /// It does not know the secret, or somebody on the way has changed what it said.
    fn on_unproved(&mut self, conn: ConnId, why: Unproved) {
        if let Some(secured) = self.conn_mut(conn).and_then(|state| state.secured.as_mut()) {
            secured.give_up();
        }
        let host = String::new();
        match why {
            Unproved::Opening(Opening::Plain) => self.refuse(conn, Refusal::SecretNeeded, host),
            Unproved::First(FirstError::Secret) => self.refuse(conn, Refusal::SecretDiffers, host),
            Unproved::First(FirstError::Token { got }) => {
                let refusal = Refusal::member_id(&self.config.member_id, &got);
                self.refuse(conn, refusal, host);
            }
            Unproved::First(FirstError::Protocol { got }) => {
                let (master, slave) = (PROTOCOL_VERSION, got);
                self.refuse(conn, Refusal::Protocol { master, slave }, host);
            }
            Unproved::First(error) => self.on_offence(conn, error.to_string()),
            Unproved::Opening(strange) => self.on_offence(conn, strange.to_string()),
            Unproved::Observer => self.on_offence(
                conn,
                "an observer belongs at the status address of the resource file".to_owned(),
            ),
            Unproved::Early => {
                self.on_offence(conn, "it goes on before its proof was answered".to_owned());
            }
            Unproved::Record(error) => self.on_offence(conn, error.to_string()),
        }
    }

    /// Answers those who have waited longest.
    pub(super) fn answer(&mut self) {
        let mut answered = 0;
        let now = self.awake;
        while answered < ANSWERS_A_TURN
            && let Some(conn) = self.unanswered.pop_front()
        {
            if let Some(state) = self.conn_mut(conn)
                && let Phase::Handshake { owes_since, .. } = &mut state.phase
                && let Some(secured) = state.secured.as_mut()
            {
                secured.answer();
                *owes_since = now;
                answered += 1;
                self.mark_dirty(conn);
            }
        }
    }

    /// Gives what waits to be sealed for sending, a part at a time, as long as less than `ahead_max` bytes are sealed and not
    /// written.
    pub(super) fn go_on_sealing(&mut self, conn: ConnId, ahead_max: usize) {
        let Some(Some(state)) = self.conns.get_mut(conn.slot()) else {
            return;
        };
        if state.id != conn {
            return;
        }
        while state.sealed_ahead < ahead_max
            && let Some(first) = state.unsealed.pop_front()
        {
            let part = match first {
                Effect::SendShared(_, mut piece) if piece.len() > SEALED_PART_BYTES => {
                    let part = piece.split_to(SEALED_PART_BYTES);
                    state.unsealed.push_front(Effect::SendShared(conn, piece));
                    Effect::SendShared(conn, part)
                }
                whole => whole,
            };
            state.sealed_ahead += match &part {
                Effect::Send(_, buffer) => buffer.len(),
                Effect::SendShared(_, piece) => piece.len(),
                _ => 0,
            };
            self.parts.push_back(part);
        }
    }

    fn seal_shared(&mut self, conn: ConnId, piece: Bytes) -> Effect {
        let Some(state) = self.conn_mut(conn) else {
            return Effect::SendShared(conn, piece);
        };
        let Some(mut secured) = state.secured.take() else {
            return Effect::SendShared(conn, piece);
        };
        let mut sealed = self.spare.take().unwrap_or_default();
        secured.seal_shared(&piece, &mut sealed);
        let more = (sealed.len() - piece.len()) as u64;
        let state = self.conn_mut(conn).expect("looked up above");
        state.secured = Some(secured);
        self.keep_unsent(conn, more);
        Effect::Send(conn, sealed)
    }

    /// What the engine is to do, as it goes over the wire.
    #[inline]
    pub fn seal(&mut self, effect: Effect) -> Effect {
        match self.has_secret() {
            true => self.seal_any(effect),
            false => effect,
        }
    }

    fn seal_any(&mut self, effect: Effect) -> Effect {
        let (conn, mut frames) = match effect {
            Effect::Send(conn, frames) => (conn, frames),
            Effect::SendShared(conn, piece) => return self.seal_shared(conn, piece),
            _ => return effect,
        };
        let slot = conn.slot();
        let secured = match self.conns.get_mut(slot) {
            Some(Some(state)) if state.id == conn => state.secured.take(),
            _ => None,
        };
        let Some(mut secured) = secured else {
            return Effect::Send(conn, frames);
        };
        let mut sealed = self.spare.take().unwrap_or_default();
        secured.seal(&mut frames, &mut sealed, self.record_bytes);
        let more = (sealed.len() - frames.len()) as u64;
        let state = self.conn_mut(conn).expect("looked up above");
        state.secured = Some(secured);
        self.keep_unsent(conn, more);
        self.keep_spare(frames);
        Effect::Send(conn, sealed)
    }
}
