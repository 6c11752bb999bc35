//! Improved keys: told with packets, and pushed to slaves that compute at a pace, conflated and for a small share of the
//! master's time.

use ringmw_codec::control::Bests as BestKeys;
use ringmw_codec::frame::Kind;
use ringmw_sched::Nanos;

use super::MasterCore;
use super::conn::{Conn, Phase, Unsent};
use crate::proto::incumbents::Incumbents;
use crate::proto::{SECOND, put};

/// Pushes a second: at some 5 us each this is 5 % of one core.
const PUSHES_PER_SECOND: u64 = 10_000;
/// Pushes that may be made up at once after a pause.
const BURST: u64 = 100;
/// Connections looked at in one turn.
const VISITS_PER_TURN: usize = 2_048;

/// The pace of pushes: a round over the connections, in steps that a token bucket allows.
#[derive(Default)]
pub(super) struct Pace {
    /// The connection slot that the round looks at next; `None` when every slave has been told.
    pub(super) cursor: Option<usize>,
    tokens: u64,
    filled_at: Nanos,
}

impl Pace {
    pub(super) fn begin_round(&mut self) {
        self.cursor = Some(0);
    }

    /// Fills the bucket for the time that passed.
    pub(super) fn refill(&mut self, now: Nanos) {
        let earned = now
            .saturating_sub(self.filled_at)
            .saturating_mul(PUSHES_PER_SECOND)
            / SECOND;
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(BURST);
            self.filled_at = now;
        }
    }

    pub(super) fn spend(&mut self) -> bool {
        let may = self.tokens > 0;
        self.tokens -= u64::from(may);
        may
    }
}

impl MasterCore {
    pub(super) fn push_bests(&mut self) {
        if self.round < self.bests.version() {
            self.round = self.bests.version();
            self.pace.begin_round();
        }
        let Some(mut cursor) = self.pace.cursor else {
            return;
        };
        let end = (cursor + VISITS_PER_TURN).min(self.conns.len());
        while cursor < end {
            let wants = matches!(
                &self.conns[cursor],
                Some(Conn { phase: Phase::Slave { id, told, pushing: false, leaving: false, .. }, unsent: Unsent { held_back: false, .. }, .. })
                    if *told < self.bests.version() && self.sched.held_by(*id) > 0
            );
            if wants {
                if !self.pace.spend() {
                    break;
                }
                self.prepare_out(cursor);
                let state = self.conns[cursor].as_mut().expect("matched above");
                tell_bests(
                    state,
                    &self.bests,
                    self.config.rules.sched.task_packet_bytes_max,
                );
                if let Phase::Slave { pushing, .. } = &mut state.phase {
                    *pushing = true;
                }
                let conn = state.id;
                self.mark_dirty(conn);
            }
            cursor += 1;
        }
        self.pace.cursor = if cursor < self.conns.len() {
            Some(cursor)
        } else if self.has_untold() {
            Some(0)
        } else {
            None
        };
    }

    /// Whether a push was put off because the last one to that slave was still on its way.
    fn has_untold(&self) -> bool {
        let version = self.bests.version();
        self.conns.iter().flatten().any(|conn| {
            matches!(&conn.phase, Phase::Slave { id, told, leaving: false, .. }
                if *told < version && self.sched.held_by(*id) > 0)
        })
    }
}

/// Appends the keys that this slave has not been told.
///
/// The master alone tells a key, and only once its witness is here: else a slave that dies between the two leaves a
/// bound whose solution nobody has.
pub(super) fn tell_bests(state: &mut Conn, bests: &Incumbents, bytes_max: u32) {
    let Phase::Slave { told, .. } = &mut state.phase else {
        return;
    };
    if *told < bests.version() {
        let entries = bests.since(*told);
        *told = bests.version();
        // The slave reads no larger packet than it was told of.
        let entries_max = (bytes_max as usize).saturating_sub(4) / BestKeys::ENTRY_BYTES;
        for entries in entries.chunks(entries_max.max(1)) {
            let entries = entries.to_vec();
            put(&mut state.out, Kind::Bests, |out| {
                BestKeys { entries }.encode(out);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PUSHES_PER_SECOND, Pace};

    #[test]
    fn pushes_keep_to_their_share() {
        let mut pace = Pace::default();
        let mut pushed = 0;
        for millisecond in 1..=1_000u64 {
            pace.refill(millisecond * 1_000_000);
            while pace.spend() {
                pushed += 1;
            }
        }
        assert_eq!(pushed, PUSHES_PER_SECOND);
    }
}
