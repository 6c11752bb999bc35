//! How connections end: offences, refusals, losses, and what becomes of the tasks in a lost slave's hands.

use std::sync::Arc;

use ringmw_codec::audit::{Event, TaskRanges};
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Refusal;
use ringmw_sched::Departure;

use super::MasterCore;
use super::account::Gone;
use super::conn::{Cause, Conn, Phase};
use crate::proto::conn::{ConnId, Effect};
use crate::proto::end::LastSeen;
use crate::proto::pieces::Pieces;
use crate::proto::put;

impl MasterCore {
    pub(super) fn on_offence(&mut self, conn: ConnId, reason: String) {
        let Some(state) = self.conn_mut(conn) else {
            return;
        };
        let from = state.peer.to_string();
        let slave = match state.phase {
            Phase::Slave { id, .. } => Some(id.0),
            _ => None,
        };
        put(&mut state.out, Kind::Refuse, |out| {
            Refusal::Offence(reason.clone()).encode(out)
        });
        self.mark_dirty(conn);
        self.trail.push(Event::Offence {
            slave,
            from,
            reason: reason.clone(),
        });
        if slave.is_some() {
            self.lose(conn, Cause::Protocol(reason));
        } else {
            self.refuse_untold(conn, reason);
            self.close(conn, true);
        }
    }

    pub(super) fn refuse(&mut self, conn: ConnId, refusal: Refusal, host: String) {
        let Some(state) = self.conn_mut(conn) else {
            return;
        };
        let from = state.peer.to_string();
        put(&mut state.out, Kind::Refuse, |out| refusal.encode(out));
        self.mark_dirty(conn);
        self.account
            .on_refused(self.now, from.clone(), &host, &refusal.to_string());
        self.trail.push(Event::Refused {
            from,
            host,
            reason: refusal.to_string(),
        });
        self.leave_pending(conn);
        self.close(conn, true);
    }

    /// A connection that never became a slave.
    pub(super) fn refuse_untold(&mut self, conn: ConnId, reason: String) {
        let Some(state) = self.conn(conn) else { return };
        let from = state.peer.to_string();
        self.account.on_refused(self.now, from.clone(), "", &reason);
        self.trail.push(Event::Rejected { from, reason });
        self.leave_pending(conn);
    }

    pub(super) fn leave_pending(&mut self, conn: ConnId) {
        if let Some(state) = self.conn_mut(conn)
            && matches!(state.phase, Phase::Handshake { .. })
        {
            state.phase = Phase::Dropped;
            self.pending_done();
        }
    }

    pub(super) fn pending_done(&mut self) {
        self.pending_count -= 1;
        // The queue keeps finished ones until they come to its head; a pass drops what is done.
        if self.pending.len() > 2 * self.pending_count + 64 {
            let mut pending = std::mem::take(&mut self.pending);
            pending.retain(|&conn| {
                matches!(
                    self.conn(conn),
                    Some(Conn {
                        phase: Phase::Handshake { .. },
                        ..
                    })
                )
            });
            self.pending = pending;
        }
    }

    pub(super) fn lose(&mut self, conn: ConnId, cause: Cause) {
        let unsent_max = self.config.unsent_bytes_max;
        let Some(state) = self.conn_mut(conn) else {
            return;
        };
        let from = state.peer.to_string();
        // Who has not read what was sent before does not read its reason either: the memory is wanted at once.
        let is_behind = state.unsent.bytes >= unsent_max;
        let Phase::Slave {
            id, leaving, info, ..
        } = std::mem::replace(&mut state.phase, Phase::Dropped)
        else {
            return;
        };
        let meter = std::mem::take(&mut state.meter);
        let sending = state.sending.take();
        self.forget_sending(sending);
        self.trail.close(meter, id);
        self.slots.remove(id);
        let departure = if leaving {
            Departure::Excused
        } else {
            cause.departure()
        };
        if !leaving && cause.is_of_its_host() {
            self.sched.learn_broken(id, self.now);
        }
        let losses = self.sched.lose_by(id, departure, cause.death());
        self.record_not_begun();
        // Of a slave that is gone by name, as long as its host is known here.
        self.tell_quarantines_of(Some((id, self.account.host_name(&info.deeds))));
        self.interrupt_talks(losses.recycled.iter().copied());
        let host = self.account.host_name(&info.deeds);
        let last_seen = LastSeen::new(&host, &cause.detail());
        let gone = Gone {
            slave: id,
            host,
            at: self.now,
            since: info.since,
            cause: (!leaving).then(|| cause.word()),
            detail: cause.detail(),
            recycled: losses.recycled.len() as u64,
            done: info.deeds.done,
        };
        self.account.on_gone(&info.deeds, gone);
        if let Some((task, crashes)) = losses.charged {
            self.trail.push(Event::Charged {
                task: task.seq(),
                slave: id.0,
                crashes,
                limit: losses.crash_limit,
            });
        }
        if leaving {
            self.trail.push(Event::Disconnected { slave: id.0, from });
        } else {
            self.trail.push(Event::Lost {
                slave: id.0,
                from,
                cause: cause.word(),
                detail: cause.detail(),
                recycled: losses.recycled.len() as u64,
                tasks: TaskRanges::from_sorted(losses.recycled.iter().copied()),
                unrunnable: u64::from(losses.unrunnable),
                cancelled: u64::from(losses.released),
            });
        }
        if self.sched.unrunnable() > 0 {
            self.take_unrunnable(Some(&Arc::new(last_seen)));
        }
        let graceful = matches!(
            cause,
            Cause::Protocol(_) | Cause::Timeout(_) | Cause::Goodbye { .. }
        ) && !is_behind;
        self.close(conn, graceful);
    }

    /// Closes a connection whose phase is settled; one that the peer ended is closed all the same, so
    /// that the engine gives its descriptor back.
    pub(super) fn close(&mut self, conn: ConnId, graceful: bool) {
        self.effects.push_back(Effect::Close { conn, graceful });
        if let Some(state) = self.conn_mut(conn) {
            state.phase = Phase::Dropped;
            if !graceful {
                state.out = Vec::new();
                state.pieces = Pieces::default();
                state.unsent.in_out = 0;
            }
        }
    }

    pub(super) fn forget(&mut self, conn: ConnId) {
        if let Some(state) = self.conn(conn) {
            let (begun, unsent) = (state.begun_bytes(), state.unsent.bytes);
            self.left_bytes += begun + unsent;
            self.unsent.bytes -= unsent;
            self.conns[conn.slot()] = None;
            // Its descriptor may be the one that was wanting.
            self.accept_again = self.accept_again.map(|again| again.min(self.now));
        }
    }
}
