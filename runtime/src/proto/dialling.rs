//! A master that dials slaves that listen: when each is dialled.
//!
//! ```text
//!   dials ──connected──► is served ──closed──┐
//!    ▲  └──fails──┐                          │
//!    └── pause ◄──┴──────────────────────────┘
//! ```
//!
//! All are dialled at once, each again and again, with pauses that double and of which the last half is drawn, so that many
//! do not come at the same time for ever. Deliberately absent: sockets, the clock, the draws.

use std::time::Duration;

use ringmw_sched::Nanos;

use super::SECOND;
use super::pauses::Pauses;

/// The first pause, and the longest.
pub(crate) const PAUSES: Pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(60));
/// A connection that has lasted so long was a good one: the next pause is the first again.
pub(crate) const GOOD_AFTER: Nanos = 10 * SECOND;

#[derive(Debug)]
struct Slave {
    pauses: Pauses,
    stands: Stands,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It is dialled then.
    Waits(Nanos),
    Dials,
    /// It has been connected since then.
    Connected(Nanos),
}

/// The slaves that a master dials, by their places in its list.
#[derive(Debug)]
pub(crate) struct Dialling {
    slaves: Vec<Slave>,
}

impl Dialling {
    /// So many slaves, all of which are dialled now.
    pub(crate) fn new(slaves: usize, pauses: &Pauses) -> Self {
        let slave = || Slave {
            pauses: pauses.clone(),
            stands: Stands::Waits(0),
        };
        Dialling {
            slaves: std::iter::repeat_with(slave).take(slaves).collect(),
        }
    }

    /// A slave that is to be dialled now; to be asked until there is none.
    pub(crate) fn next(&mut self, now: Nanos) -> Option<usize> {
        let due = |slave: &Slave| matches!(slave.stands, Stands::Waits(at) if at <= now);
        let place = self.slaves.iter().position(due)?;
        self.slaves[place].stands = Stands::Dials;
        Some(place)
    }

    /// When the next one is.
    pub(crate) fn due(&self) -> Option<Nanos> {
        let due = |slave: &Slave| match slave.stands {
            Stands::Waits(at) => Some(at),
            Stands::Dials | Stands::Connected(_) => None,
        };
        self.slaves.iter().filter_map(due).min()
    }

    /// The slave at this place has taken the connection.
    pub(crate) fn on_connected(&mut self, place: usize, now: Nanos) {
        self.slaves[place].stands = Stands::Connected(now);
    }

    /// It has not, or its connection has ended; `draw` is any number. The pause before it is dialled again.
    pub(crate) fn on_ended(&mut self, place: usize, now: Nanos, draw: u64) -> Nanos {
        let slave = &mut self.slaves[place];
        if let Stands::Connected(since) = slave.stands
            && now.saturating_sub(since) >= GOOD_AFTER
        {
            slave.pauses.restart();
        }
        let pause = slave.pauses.next().as_nanos() as Nanos;
        let half = pause / 2;
        let pause = half + draw % (pause - half).max(1);
        slave.stands = Stands::Waits(now + pause);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_at_once_then_each_after_its_own_growing_pauses() {
        let mut dialling = Dialling::new(2, &PAUSES);
        let dialled: Vec<_> = std::iter::from_fn(|| dialling.next(0)).collect();
        assert_eq!((dialled, dialling.due()), (vec![0, 1], None));
        dialling.on_connected(0, 1);
        let mut now = 1;
        let mut pauses = Vec::new();
        for draw in 0..9 {
            // The least and the most that can be drawn.
            let pause = dialling.on_ended(1, now, if draw % 2 == 0 { 0 } else { SECOND / 2 - 1 });
            pauses.push(pause / (SECOND / 2));
            assert_eq!(dialling.next(now + pause - 1), None);
            now += pause;
            assert_eq!((dialling.due(), dialling.next(now)), (Some(now), Some(1)));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn a_good_connection_begins_the_pauses_anew_and_a_short_one_does_not() {
        let mut dialling = Dialling::new(1, &PAUSES);
        let mut ended = |lasted| {
            assert_eq!(dialling.next(Nanos::MAX / 2), Some(0));
            dialling.on_connected(0, SECOND);
            dialling.on_ended(0, SECOND + lasted, 0)
        };
        let half = SECOND / 2;
        assert_eq!((ended(0), ended(GOOD_AFTER - 1)), (half, 2 * half));
        assert_eq!((ended(GOOD_AFTER), ended(0)), (half, 2 * half));
    }
}
