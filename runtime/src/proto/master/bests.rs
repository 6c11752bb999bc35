//! The incumbents of the run as the master knows them, and the conflated pushes that tell slaves.
//!
//! The master alone tells a key to others, and only once its witness is here: else a slave that dies
//! between the two leaves a bound whose solution nobody has.

use bytes::Bytes;
use ringmw_sched::Nanos;

use super::super::SECOND;

/// Checks the archive of a witness.
pub type CheckWitness = fn(&[u8]) -> bool;

struct Incumbent {
    image: u64,
    witness: Option<Bytes>,
    check: CheckWitness,
    version: u32,
}

/// All incumbents of a run, by index.
#[derive(Default)]
pub(crate) struct Bests {
    all: Vec<Incumbent>,
    version: u32,
}

impl Bests {
    pub(crate) fn create(&mut self, image: u64, check: CheckWitness) -> u32 {
        self.all.push(Incumbent { image, witness: None, check, version: 0 });
        u32::try_from(self.all.len() - 1).expect("fewer than 2^32 incumbents")
    }

    /// Takes an offer: `Some(true)` if it improves, `Some(false)` if it does not, `None` for an
    /// incumbent that was never made or a witness that does not check.
    pub(crate) fn offer(&mut self, best: u32, image: u64, witness: &[u8]) -> Option<bool> {
        let incumbent = self.all.get_mut(best as usize)?;
        if !(incumbent.check)(witness) {
            return None;
        }
        if image >= incumbent.image {
            return Some(false);
        }
        self.version += 1;
        incumbent.image = image;
        incumbent.witness = Some(Bytes::copy_from_slice(witness));
        incumbent.version = self.version;
        Some(true)
    }

    /// Grows with every improvement of any incumbent.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The keys that improved after `version`.
    pub(crate) fn since(&self, version: u32) -> Vec<(u32, u64)> {
        (0..).zip(&self.all).filter(|(_, b)| b.version > version).map(|(i, b)| (i, b.image)).collect()
    }

    pub(crate) fn get(&self, best: u32) -> Option<(u64, &Bytes)> {
        let incumbent = self.all.get(best as usize)?;
        Some((incumbent.image, incumbent.witness.as_ref()?))
    }
}

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
        let earned = now.saturating_sub(self.filled_at).saturating_mul(PUSHES_PER_SECOND) / SECOND;
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
    fn an_offer_only_improves_and_a_lie_is_refused() {
        let mut bests = Bests::default();
        let best = bests.create(20, |witness| witness != b"lie");
        assert_eq!(bests.offer(best, 20, b"no better than the start"), Some(false));
        assert_eq!(bests.get(best), None);
        assert_eq!(bests.offer(best, 10, b"ten"), Some(true));
        assert_eq!(bests.offer(best, 10, b"other"), Some(false));
        assert_eq!(bests.offer(best, 11, b"worse"), Some(false));
        assert_eq!(bests.offer(best, 3, b"lie"), None);
        assert_eq!(bests.offer(best + 1, 3, b"three"), None);
        assert_eq!(bests.get(best), Some((10, &Bytes::from_static(b"ten"))));
        assert_eq!(bests.since(0), [(best, 10)]);
        assert_eq!(bests.since(bests.version()), []);
    }

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
