//! A slave that listens: which of the masters that dial it has it.
//!
//! ```text
//!   waits ──the first finished handshake──► serves it ──that one has ended──► waits again, for a while
//!     │  └──nobody until then──► over          │
//!     └── who dials: a handshake each          └── who dials: told whose the slave is
//! ```
//!
//! Owns who is under way and who has the slave. Deliberately absent: sockets and handshakes; whoever has those tells what
//! came of them. One life of a slave is one of these: the next one begins anew.

use std::collections::VecDeque;

use ringmw_sched::Nanos;

use super::SECOND;

/// Masters that may be under way at once; one more takes the place of the oldest.
pub(crate) const PENDING_MAX: usize = 16;
/// A master that is turned away has this long to prove itself and to read why.
pub(crate) const AWAY_WITHIN: Nanos = 10 * SECOND;

/// A connection of somebody who has dialled, by the number that whoever has it has given it.
pub(crate) type Peer = u64;

/// What is to be done with one who dials.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// A handshake begins.
    Open,
    /// The slave is another's: he is told so, and closed by then at the latest.
    TurnAway(Nanos),
}

/// What comes of a handshake that a master has finished.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Welcomed {
    /// He has the slave; those who are under way are to be told so, by then at the latest.
    Serves(Nanos),
    /// Another has it.
    Second,
}

/// Who has dialled a slave that listens.
#[derive(Debug)]
pub(crate) struct Listening {
    /// In the order in which they dialled.
    pending: VecDeque<Peer>,
    serves: Option<Peer>,
    /// After that nobody is let in; none: for ever.
    until: Option<Nanos>,
}

impl Listening {
    /// Nobody has dialled yet; masters may until then.
    pub(crate) fn new(until: Option<Nanos>) -> Self {
        Listening {
            pending: VecDeque::new(),
            serves: None,
            until,
        }
    }

    /// Somebody dials. And who has to give way to him: the oldest, when there are too many.
    pub(crate) fn on_dialled(&mut self, peer: Peer, now: Nanos) -> (Door, Option<Peer>) {
        let gives_way = match self.pending.len() >= PENDING_MAX {
            true => self.pending.pop_front(),
            false => None,
        };
        self.pending.push_back(peer);
        let door = match self.serves {
            Some(_) => Door::TurnAway(now + AWAY_WITHIN),
            None => Door::Open,
        };
        (door, gives_way)
    }

    /// A master has finished his handshake.
    pub(crate) fn on_welcomed(&mut self, peer: Peer, now: Nanos) -> Welcomed {
        self.pending.retain(|other| *other != peer);
        if self.serves.is_some() {
            return Welcomed::Second;
        }
        self.serves = Some(peer);
        Welcomed::Serves(now + AWAY_WITHIN)
    }

    /// A connection that was under way is gone.
    pub(crate) fn on_gone(&mut self, peer: Peer) {
        self.pending.retain(|other| *other != peer);
    }

    /// Whether dials are taken: who dials when the time is over finds the door closed.
    pub(crate) fn takes_dials(&self, now: Nanos) -> bool {
        self.serves.is_some() || self.until.is_none_or(|until| now < until)
    }

    /// Whether the time is over, and all who came in time have had theirs.
    pub(crate) fn is_over(&self, now: Nanos) -> bool {
        !self.takes_dials(now) && self.pending.is_empty()
    }

    /// When the time is over.
    pub(crate) fn until(&self) -> Option<Nanos> {
        self.until.filter(|_| self.serves.is_none())
    }

    /// Those who are under way, for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn pending(&self) -> impl Iterator<Item = Peer> {
        self.pending.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_the_first_finished_handshake_has_it() {
        let mut listening = Listening::new(None);
        assert_eq!(listening.on_dialled(1, 0), (Door::Open, None));
        assert_eq!(listening.on_dialled(2, 0), (Door::Open, None));
        assert_eq!(
            listening.on_welcomed(2, 5),
            Welcomed::Serves(5 + AWAY_WITHIN)
        );
        assert_eq!(listening.pending().collect::<Vec<_>>(), [1]);
        assert_eq!(listening.on_welcomed(1, 6), Welcomed::Second);
        assert_eq!(
            listening.on_dialled(3, 7),
            (Door::TurnAway(7 + AWAY_WITHIN), None)
        );
    }

    #[test]
    fn many_who_say_nothing_give_way_the_oldest_first() {
        let mut listening = Listening::new(None);
        for peer in 0..PENDING_MAX as u64 {
            assert_eq!(listening.on_dialled(peer, 0).1, None);
        }
        listening.on_gone(1);
        assert_eq!(listening.on_dialled(100, 0).1, None);
        assert_eq!(listening.on_dialled(101, 0).1, Some(0));
        assert_eq!(listening.on_dialled(102, 0).1, Some(2));
    }

    #[test]
    fn who_dials_when_the_time_is_over_prolongs_nothing() {
        let mut listening = Listening::new(Some(100));
        assert!(listening.takes_dials(99) && !listening.is_over(99));
        assert_eq!(listening.on_dialled(1, 99), (Door::Open, None));
        assert!(!listening.takes_dials(100) && !listening.is_over(100));
        listening.on_gone(1);
        assert!(listening.is_over(100));
        assert_eq!(Listening::new(None).until(), None);
    }

    #[test]
    fn one_that_serves_has_no_end() {
        let mut listening = Listening::new(Some(100));
        let _ = listening.on_dialled(1, 0);
        let _ = listening.on_welcomed(1, 1);
        assert!(listening.takes_dials(200) && !listening.is_over(200));
        assert_eq!(listening.until(), None);
    }
}
