//! What the master keeps for peers that do not read, and its bounds.
//!
//! ```text
//!   unsent bytes of one slave
//!   0 ─────────────── unsent_bytes_max ─────────────── 2 · unsent_bytes_max
//!     gets work       gets no more work                 is dropped
//!
//!   of all together
//!   0 ───────── half ───────────────────── queued_bytes_max / 4
//!     all get   those that have waited     who has something unsent
//!     work      longest get none           gets none
//! ```
//!
//! A slave with nothing unsent gets work whatever the others have: those who do not read stop nobody who does. So all
//! together may pass their bound by one packet for each slave.

use ringmw_sched::{Nanos, Scheduler};

use super::MasterCore;
use super::conn::{Cause, Conn, Phase, find};
use crate::proto::config::Config;
use crate::proto::conn::ConnId;
use crate::proto::pieces::Pieces;
use crate::proto::series::Body;

/// What is kept for all connections together.
#[derive(Default)]
pub(super) struct AllUnsent {
    /// The sum over the connections.
    pub(super) bytes: u64,
    /// Connections that have passed twice what one may have.
    far_behind: Vec<ConnId>,
    /// Whether there may be a connection that is crowded.
    crowded: bool,
}

impl AllUnsent {
    /// Somebody is to be dropped in the next turn.
    pub(super) fn has_far_behind(&self) -> bool {
        !self.far_behind.is_empty()
    }

    /// So many more bytes are kept for a connection.
    #[inline]
    fn add(
        &mut self,
        state: &mut Conn,
        more: u64,
        now: Nanos,
        (config, sched): (&Config, &mut Scheduler<Body>),
    ) {
        if state.unsent.bytes == 0 {
            state.unsent.since = now;
        }
        state.unsent.bytes += more;
        self.bytes += more;
        self.judge(state, config, sched);
    }

    /// Counts what was put into a connection's buffer since it was counted last.
    #[inline]
    pub(super) fn account(
        &mut self,
        state: &mut Conn,
        now: Nanos,
        of: (&Config, &mut Scheduler<Body>),
    ) {
        let out_bytes = state.out_bytes();
        let before = std::mem::replace(&mut state.unsent.in_out, out_bytes);
        self.add(state, (out_bytes - before) as u64, now, of);
    }

    /// Takes a connection's buffer and what belongs between its bytes, for the engine to write.
    #[inline]
    pub(super) fn take_out(&mut self, state: &mut Conn, config: &Config) -> (Vec<u8>, Pieces) {
        state.unsent.in_out = 0;
        if state.unsent.bytes > 2 * config.unsent_bytes_max {
            // It may read it at once: it is judged in the next turn.
            self.far_behind.push(state.id);
        }
        (
            std::mem::take(&mut state.out),
            std::mem::take(&mut state.pieces),
        )
    }

    /// Tells the scheduler whether a slave gets work, where that has changed.
    #[inline]
    fn judge(&mut self, state: &mut Conn, config: &Config, sched: &mut Scheduler<Body>) {
        let Phase::Slave { id, .. } = state.phase else {
            return;
        };
        let unsent = &mut state.unsent;
        unsent.crowded |= self.bytes >= config.unsent_bytes_all_max() && unsent.bytes > 0;
        self.crowded |= unsent.crowded;
        let held_back = unsent.crowded || unsent.bytes >= config.unsent_bytes_max;
        if unsent.held_back != held_back {
            unsent.held_back = held_back;
            sched.hold_back(id, held_back);
        }
    }
}

impl MasterCore {
    /// Bytes that are kept for all connections together because their peers have not read them.
    pub fn unsent_bytes(&self) -> u64 {
        self.unsent.bytes
    }

    /// Bytes of frames that were begun and are not complete, all connections together.
    pub fn begun_bytes(&self) -> u64 {
        self.conns.iter().flatten().map(Conn::begun_bytes).sum()
    }

    /// Bytes of half frames and unread buffers that connections have left behind at their end, since this was asked
    /// last: the allocator may be told to give such memory back.
    pub fn take_left_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.left_bytes)
    }

    /// Counts what was put into a connection's buffer since this was called last.
    pub(super) fn account(&mut self, conn: ConnId) {
        if let Some(state) = find(&mut self.conns, conn) {
            let of = (&self.config, &mut self.sched);
            self.unsent.account(state, self.now, of);
        }
    }

    /// So many more bytes are kept for a connection, be they frames or what sealing adds to them.
    pub(super) fn keep_unsent(&mut self, conn: ConnId, more: u64) {
        if let Some(state) = find(&mut self.conns, conn) {
            let of = (&self.config, &mut self.sched);
            self.unsent.add(state, more, self.now, of);
        }
    }

    /// The engine has written so many bytes, and nothing is left of what it was given if `drained`.
    pub(super) fn on_written(&mut self, conn: ConnId, bytes: u64, drained: bool) {
        let Some(state) = find(&mut self.conns, conn) else {
            return;
        };
        let left = state.unsent.bytes.checked_sub(bytes);
        state.unsent.bytes = left.expect("the engine gives back what it was given");
        if state.unsent.bytes == state.unsent.in_out as u64 {
            // An answer to what came in this turn, which its peer has not kept waiting.
            state.unsent.since = self.now;
        }
        state.unsent.crowded &= state.unsent.bytes > 0;
        self.unsent.bytes -= bytes;
        state.sealed_ahead = state.sealed_ahead.saturating_sub(bytes as usize);
        if !state.unsealed.is_empty() {
            self.dirty.push(conn.slot() as u32);
        }
        if drained && let Phase::Slave { pushing, .. } = &mut state.phase {
            *pushing = false;
        }
        self.unsent.judge(state, &self.config, &mut self.sched);
        if state.sending.is_some() {
            self.line_up(conn);
        }
    }

    /// Before tasks are handed out: where all together have much unsent, those that have waited longest get no work, as
    /// many of them as have twice what is above the half.
    pub(super) fn relieve(&mut self) {
        let half = self.config.unsent_bytes_all_max() / 2;
        if self.unsent.bytes <= half && !self.unsent.crowded {
            return;
        }
        self.unsent.crowded = false;
        let mut waiting: Vec<(Nanos, ConnId)> = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| matches!(conn.phase, Phase::Slave { .. }) && conn.unsent.bytes > 0)
            .map(|conn| (conn.unsent.since, conn.id))
            .collect();
        waiting.sort_unstable();
        let mut above = 2 * self.unsent.bytes.saturating_sub(half);
        for (_, conn) in waiting {
            let state = find(&mut self.conns, conn).expect("just listed");
            state.unsent.crowded = above > 0;
            above = above.saturating_sub(state.unsent.bytes);
            self.unsent.judge(state, &self.config, &mut self.sched);
        }
    }

    /// Drops those for whom too much is kept. They are not told: they would not read that either.
    pub(super) fn check_unread(&mut self) {
        let most = self.config.unsent_bytes_max;
        for conn in std::mem::take(&mut self.unsent.far_behind) {
            let Some(state) = self.conn(conn) else {
                continue;
            };
            // What is in `out` it has not had a chance to read.
            let bytes = state.unsent.bytes - state.unsent.in_out as u64;
            if bytes > 2 * most {
                let text = format!(
                    "It does not read: {bytes} bytes are kept for it, more than twice {most} (1 MiB, or four packets of --mw-max-write-buffer-size)."
                );
                self.lose(conn, Cause::Unread(text));
            }
        }
    }
}
