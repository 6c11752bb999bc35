//! Dials that are refused: now and then nobody listens at the master's address, and those who dial try again after pauses.

use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::Nanos;

use super::fleet::Character;
use crate::proto::SECOND;
use crate::proto::pauses::{Pauses, Tries};

/// When dials are refused; drawn apart from all else.
pub(super) struct Refusals {
    rng: ChaCha8Rng,
    /// The next time or this one in which nobody listens: from, until.
    gap: (Nanos, Nanos),
    /// Dials that were refused, and those who gave up.
    pub(super) refused: u64,
    pub(super) given_up: u64,
}

/// A process that dials, and what the observer knows of it.
pub(super) struct Dial {
    pub(super) character: Character,
    tries: Tries,
    first: Nanos,
    longest: Nanos,
    until: Nanos,
    /// The pause before its last dial; none before the first refusal.
    last: Option<Nanos>,
}

impl Refusals {
    pub(super) fn new(seed: u64) -> Self {
        let mut refusals = Refusals {
            rng: ChaCha8Rng::seed_from_u64(seed ^ 0x7ef_05ed),
            gap: (0, 0),
            refused: 0,
            given_up: 0,
        };
        refusals.draw_gap(0);
        refusals
    }

    fn draw_gap(&mut self, now: Nanos) {
        let from = now + self.rng.random_range(0..10 * SECOND);
        self.gap = (from, from + self.rng.random_range(SECOND / 2..20 * SECOND));
    }

    fn is_refusing(&mut self, now: Nanos) -> bool {
        while now >= self.gap.1 {
            self.draw_gap(self.gap.1);
        }
        now >= self.gap.0
    }

    /// A process begins to dial.
    pub(super) fn begin(&mut self, character: Character, now: Nanos) -> Dial {
        let first = self.rng.random_range(SECOND / 20..SECOND);
        let longest = first * self.rng.random_range(1..12);
        let until = now + self.rng.random_range(0..30 * SECOND);
        let pauses = Pauses::new(Duration::from_nanos(first), Duration::from_nanos(longest));
        Dial {
            character,
            tries: Tries::new(pauses, until),
            first,
            longest,
            until,
            last: None,
        }
    }

    /// It dials: `Ok` once somebody listens, else when it dials again; never where it gives up.
    ///
    /// # Panics
    /// If its pauses do not grow from the first to the longest, or it gives up before its time is over.
    pub(super) fn dial(&mut self, dial: &mut Dial, now: Nanos) -> Result<(), Option<Nanos>> {
        if !self.is_refusing(now) {
            return Ok(());
        }
        self.refused += 1;
        let pause = dial
            .last
            .map_or(dial.first, |last| 2 * last)
            .min(dial.longest);
        dial.last = Some(pause);
        match dial.tries.on_failed(now) {
            Some(drawn) => {
                let drawn = drawn.as_nanos() as Nanos;
                assert_eq!(
                    drawn,
                    pause.min(dial.until - now),
                    "pauses between dials grow"
                );
                Err(Some(now + drawn))
            }
            None => {
                assert!(
                    now >= dial.until,
                    "a process whose dial is refused gives up {} ms before its time is over",
                    (dial.until - now) / 1_000_000
                );
                self.given_up += 1;
                Err(None)
            }
        }
    }
}
