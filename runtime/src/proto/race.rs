//! Which of several addresses is dialled when: the first at once, and each next one as soon as those before it have failed
//! or have not answered for a little while, so that an address that swallows what is sent to it delays nobody
//! ("happy eyeballs", RFC 8305).
//!
//! ```text
//! 1st  dial ────────────────────────── no answer within 10 s: given up
//! 2nd       250 ms ─► dial ─► fails
//! 3rd                         └─► dial ─► connected: it has won
//! ```
//!
//! Owns the order and the times. Whoever dials ends the race: the first connection wins. Deliberately absent: names, which
//! are resolved before, and sockets.

use std::net::SocketAddr;

use ringmw_sched::Nanos;

use super::SECOND;

/// After so long without an answer the next address is dialled as well.
pub(crate) const STAGGER: Nanos = SECOND / 4;

/// An address that has not answered by then is given up.
pub(crate) const WITHIN: Nanos = 10 * SECOND;

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Dial the address at this place.
    Dial(usize),
    /// The address at this place has not answered within [`WITHIN`].
    GiveUp(usize),
    /// Wait for news, at most until then.
    Wait(Nanos),
    /// All have failed.
    Lost,
}

/// A race between addresses that are known by their places.
#[derive(Debug)]
pub(crate) struct Race {
    addresses: usize,
    /// The place that is dialled next.
    next: usize,
    /// When that is, though others are under way.
    next_at: Nanos,
    /// Places that are dialled, and when each is given up, in this order.
    under_way: Vec<(usize, Nanos)>,
}

impl Race {
    /// A race between so many addresses.
    pub(crate) fn new(addresses: usize) -> Self {
        Race {
            addresses,
            next: 0,
            next_at: 0,
            under_way: Vec::new(),
        }
    }

    /// What is to be done now. To be asked again after each step but [`Step::Wait`], and after any news.
    pub(crate) fn step(&mut self, now: Nanos) -> Step {
        if let Some(&(place, until)) = self.under_way.first()
            && now >= until
        {
            self.under_way.remove(0);
            return Step::GiveUp(place);
        }
        let has_next = self.next < self.addresses;
        if has_next && (self.under_way.is_empty() || now >= self.next_at) {
            let place = self.next;
            self.next += 1;
            self.next_at = now + STAGGER;
            self.under_way.push((place, now + WITHIN));
            return Step::Dial(place);
        }
        match self.under_way.first() {
            None => Step::Lost,
            Some(&(_, until)) if has_next => Step::Wait(until.min(self.next_at)),
            Some(&(_, until)) => Step::Wait(until),
        }
    }

    /// The address at this place has failed: the next one need not wait.
    pub(crate) fn on_failed(&mut self, place: usize) {
        let before = self.under_way.len();
        self.under_way.retain(|&(dialled, _)| dialled != place);
        if self.under_way.len() < before {
            self.next_at = 0;
        }
    }
}

/// The order in which addresses are dialled: each once, as given, but the two families in turn, so that where one of
/// them leads nowhere the second dial is of the other.
pub(crate) fn in_turn(addresses: impl IntoIterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let Some(first) = all.first().map(SocketAddr::is_ipv4) else {
        return all;
    };
    let (mut one, mut other): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|address| address.is_ipv4() == first);
    let (mut ones, mut others) = (one.drain(..), other.drain(..));
    let mut turns = Vec::new();
    loop {
        let (one, other) = (ones.next(), others.next());
        if one.is_none() && other.is_none() {
            return turns;
        }
        turns.extend(one.into_iter().chain(other));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// What an address does: whether it connects in the end, and after how long.
    type Fate = (bool, Nanos);

    const NEVER: Fate = (true, Nanos::MAX);

    /// Who won, and when; and the dials in their order, with their times.
    fn run(fates: &[Fate]) -> (Option<(usize, Nanos)>, Vec<(usize, Nanos)>) {
        let mut race = Race::new(fates.len());
        let mut now = 7;
        let mut dials = Vec::new();
        let mut news: BTreeMap<(Nanos, usize), bool> = BTreeMap::new();
        loop {
            match race.step(now) {
                Step::Dial(place) => {
                    dials.push((place, now));
                    let (connects, after) = fates[place];
                    news.insert((now.saturating_add(after), place), connects);
                }
                Step::GiveUp(place) => {
                    assert_eq!(now, dials[place].1 + WITHIN, "{place}");
                    news.retain(|&(_, of), _| of != place);
                }
                Step::Lost => return (None, dials),
                Step::Wait(until) => {
                    assert!(until > now, "it goes on");
                    let Some((&(at, place), &connects)) = news.first_key_value() else {
                        panic!("it waits, so something is under way");
                    };
                    if at > until {
                        now = until;
                        continue;
                    }
                    now = at;
                    news.remove(&(at, place));
                    match connects {
                        true => return (Some((place, now)), dials),
                        false => race.on_failed(place),
                    }
                }
            }
        }
    }

    #[test]
    fn one_that_answers_is_the_only_one_that_is_dialled() {
        assert_eq!(
            run(&[(true, 1_000), NEVER]),
            (Some((0, 1_007)), vec![(0, 7)])
        );
    }

    #[test]
    fn one_that_is_silent_delays_the_next_by_the_stagger() {
        let at = 7 + STAGGER;
        let (won, dials) = run(&[NEVER, (true, 5), NEVER]);
        assert_eq!((won, dials), (Some((1, at + 5)), vec![(0, 7), (1, at)]));
    }

    #[test]
    fn one_that_fails_delays_nobody() {
        let (won, dials) = run(&[(false, 3), (false, 4), (true, 5)]);
        assert_eq!(
            (won, dials),
            (Some((2, 19)), vec![(0, 7), (1, 10), (2, 14)])
        );
    }

    #[test]
    fn the_first_connection_wins_though_it_was_dialled_first_and_is_slow() {
        let slow = STAGGER + 10;
        assert_eq!(run(&[(true, slow), NEVER]).0, Some((0, 7 + slow)));
    }

    #[test]
    fn all_that_are_silent_are_given_up_each_after_its_time() {
        let (won, dials) = run(&[NEVER; 50]);
        assert_eq!((won, dials.len()), (None, 50));
        assert_eq!(run(&[]), (None, vec![]));
    }

    /// Whatever befalls them: every address is dialled at most once and in order, no two closer than the stagger unless
    /// one failed between, and the winner's is the earliest connection that there could be.
    #[test]
    fn any_fates() {
        use proptest::prelude::*;
        let fate = (any::<bool>(), 0..12 * SECOND);
        proptest!(|(fates in proptest::collection::vec(fate, 0..8))| {
            let (won, dials) = run(&fates);
            for (nth, &(place, _)) in dials.iter().enumerate() {
                prop_assert_eq!(place, nth);
            }
            let ends = dials.iter().map(|&(place, at)| {
                let (connects, after) = fates[place];
                (connects && after <= WITHIN, at + after.min(WITHIN), place)
            });
            let ends: Vec<_> = ends.collect();
            for pair in dials.windows(2) {
                let (before, at) = (pair[0].1, pair[1].1);
                let has_failed = ends.iter().any(|&(connects, end, _)| !connects && (before..=at).contains(&end));
                prop_assert!(at == before + STAGGER || has_failed, "{:?} {:?}", dials, fates);
            }
            let first = ends.iter().filter(|end| end.0).map(|end| (end.1, end.2)).min();
            prop_assert_eq!(won.map(|(place, at)| (at, place)), first);
            prop_assert!(won.is_some() || dials.len() == fates.len());
        });
    }

    #[test]
    fn families_take_turns_and_no_address_comes_twice() {
        let order = |addresses: &[&str]| {
            let parsed = addresses.iter().map(|text| text.parse().unwrap());
            in_turn(parsed)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            order(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "[::1]:1"]),
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"]
        );
        assert_eq!(
            order(&["1.1.1.1:1", "2.2.2.2:1"]),
            ["1.1.1.1:1", "2.2.2.2:1"]
        );
        assert!(order(&[]).is_empty());
    }
}
