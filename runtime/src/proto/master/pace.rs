//! The pace at which improved keys are pushed to slaves that compute: conflated, and a small share of the master's time.

use ringmw_sched::Nanos;

use super::super::SECOND;

/// Pushes a second: at some 5 us each this is 5 % of one core.
const PUSHES_PER_SECOND: u64 = 10_000;
/// Pushes that may be made up at once after a pause.
const BURST: u64 = 100;
/// Connections looked at in one turn.
pub(crate) const VISITS_PER_TURN: usize = 2_048;

/// The pace of pushes: a round over the connections, in steps that a token bucket allows.
#[derive(Default)]
pub(crate) struct Pace {
    /// The connection slot that the round looks at next; `None` when every slave has been told.
    pub(crate) cursor: Option<usize>,
    tokens: u64,
    filled_at: Nanos,
}

impl Pace {
    pub(crate) fn begin_round(&mut self) {
        self.cursor = Some(0);
    }

    /// Fills the bucket for the time that passed.
    pub(crate) fn refill(&mut self, now: Nanos) {
        let earned = now
            .saturating_sub(self.filled_at)
            .saturating_mul(PUSHES_PER_SECOND)
            / SECOND;
        if earned > 0 {
            self.tokens = (self.tokens + earned).min(BURST);
            self.filled_at = now;
        }
    }

    pub(crate) fn spend(&mut self) -> bool {
        let may = self.tokens > 0;
        self.tokens -= u64::from(may);
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
