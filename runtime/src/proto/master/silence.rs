//! Judging by time: what has not come when it was due. An unfinished handshake, an unfinished frame, any byte.

use std::cmp::Reverse;

use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Refusal;

use super::MasterCore;
use super::conn::{Cause, Phase};
use crate::proto::conn::ConnId;
use crate::proto::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, SECOND, put};

/// What a peer owes by a deadline.
enum Awaited {
    Handshake,
    Frame,
    AnyByte,
}

impl MasterCore {
    /// Whether somebody is to be judged by what has not come: that needs all that has.
    pub fn must_judge(&self) -> bool {
        let due = self.deadlines.peek();
        due.is_some_and(|Reverse((due, _))| *due <= self.awake)
            || self.pending_count >= HANDSHAKES_MAX
    }

    /// Judges by time: call after all that had arrived was taken; `caught_up` says whether it was.
    pub fn check_overdue(&mut self, caught_up: bool) {
        // A slave whose hands are empty may move to another group, and what was for it alone ends.
        self.collect_unrunnable();
        self.check_unread();
        self.answer();
        if caught_up {
            self.check_silence();
            self.check_handshakes();
        }
        let may = self.accept_again.is_none_or(|again| self.now >= again);
        if !self.accepting && self.pending_count < HANDSHAKES_MAX && may {
            self.accept_again = None;
            self.accept(true);
        }
    }

    fn check_silence(&mut self) {
        while let Some(&Reverse((deadline, conn))) = self.deadlines.peek() {
            if deadline > self.awake {
                return;
            }
            self.deadlines.pop();
            let Some(state) = self.conn(conn).filter(|state| state.due == deadline) else {
                continue;
            };
            let timeout = self.config.rules.client_timeout;
            let (due, awaited) = match state.phase {
                Phase::Dropped => continue,
                // What it waits for is the master's to give.
                Phase::Handshake { .. } if state.is_unanswered() => {
                    (self.awake + HANDSHAKE_TIMEOUT, Awaited::Handshake)
                }
                Phase::Handshake { since, .. } => (since + HANDSHAKE_TIMEOUT, Awaited::Handshake),
                Phase::Slave { .. } => match state.frame_since {
                    Some(since) if since < state.heard => (since + timeout, Awaited::Frame),
                    _ => (state.heard + timeout, Awaited::AnyByte),
                },
            };
            if due > self.awake {
                self.conn_mut(conn).expect("looked up above").due = due;
                self.deadlines.push(Reverse((due, conn)));
            } else {
                self.on_overdue(conn, awaited);
            }
        }
    }

    /// The peer is told too: one that was only stopped, or is behind a bad line, else sees no more than an end.
    fn on_overdue(&mut self, conn: ConnId, awaited: Awaited) {
        let timeout_s = self.config.rules.client_timeout / SECOND;
        let text = match awaited {
            Awaited::Handshake => format!(
                "The handshake was not complete {} s after the connection was accepted.",
                HANDSHAKE_TIMEOUT / SECOND
            ),
            Awaited::Frame => format!(
                "A frame that was begun was not complete within {timeout_s} s (--mw-client-timeout)."
            ),
            Awaited::AnyByte => format!("No byte came for {timeout_s} s (--mw-client-timeout)."),
        };
        let Some(state) = self.conn_mut(conn) else {
            return;
        };
        put(&mut state.out, Kind::Refuse, |out| {
            Refusal::Timeout(text.clone()).encode(out)
        });
        let is_handshake = matches!(state.phase, Phase::Handshake { .. });
        self.mark_dirty(conn);
        if is_handshake {
            self.refuse_untold(conn, text);
            self.close(conn, true);
        } else {
            self.lose(conn, Cause::Timeout(text));
        }
    }

    /// At the limit of handshakes those that are unfinished 1 s after their accept, or after the answer to their proof,
    /// give way, silent ones first.
    fn check_handshakes(&mut self) {
        let mut over = (self.pending_count + 1).saturating_sub(HANDSHAKES_MAX);
        if over == 0 {
            return;
        }
        // Half of the room at once: a storm would else be let in one connection at a time.
        over += HANDSHAKES_MAX / 2;
        for silent in [true, false] {
            let old: Vec<ConnId> = self
                .pending
                .iter()
                .copied()
                .filter(|&conn| {
                    self.conn(conn).is_some_and(|state| match state.phase {
                        Phase::Handshake { owes_since, .. } => {
                            self.awake >= owes_since + SECOND
                                && !state.is_unanswered()
                                && (!silent || state.is_silent())
                        }
                        _ => false,
                    })
                })
                .take(over)
                .collect();
            over -= old.len();
            for conn in old {
                self.refuse_untold(
                    conn,
                    "gave way: too many handshakes are under way".to_owned(),
                );
                self.close(conn, false);
            }
        }
    }
}
