//! When a slave that died is started again, and when it is given up. Each slot for itself: what ends one slave says
//! nothing of its siblings.
//!
//! Pure: `now` is an argument, in nanoseconds on any clock that only goes forward. It starts nothing; the supervisor
//! asks [`Restarts::take_due`] and does it.

use std::time::Duration;

use ringmw_codec::Nanos;

/// The first pause; each later one is twice as long.
pub(crate) const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// No pause is longer.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(5);
/// A slot is given up after so many lives in a row that were short and ended no task.
pub(crate) const BARREN_MAX: u32 = 5;
/// A life that was longer than this shows that a slave can live here, whether it ended a task or not.
pub(crate) const SHORT: Duration = Duration::from_secs(10);

/// What a life came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    /// It was told to go, or was idle: it is not started again.
    Over,
    /// It ended a task, also one that ended it and is charged: that is the task's matter, not the slot's.
    Worked,
    /// It was ended by a task that is charged without end, since there is no crash limit: the pause grows, and no more.
    Spent,
    /// It ended none.
    Barren,
}

/// What to do about a slave that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not started again: it was told to go.
    Done,
    /// It is due again after this pause.
    Restart(Duration),
    /// The last of [`BARREN_MAX`] lives: this slot is not started any more.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running { since: Nanos },
    Waiting { due_at: Nanos },
    Done,
    GivenUp,
}

#[derive(Debug)]
struct Slot {
    state: State,
    /// Lives in a row that make the next pause longer.
    hasty: u32,
    /// Of them, those that count towards giving up.
    barren: u32,
    starts: u32,
}

/// The restarts of all slots.
#[derive(Debug)]
pub(crate) struct Restarts {
    slots: Vec<Slot>,
}

impl Restarts {
    /// `slaves` of them, all due at once.
    pub(crate) fn new(slaves: usize) -> Self {
        let slot = || Slot {
            state: State::Waiting { due_at: 0 },
            hasty: 0,
            barren: 0,
            starts: 0,
        };
        Self {
            slots: (0..slaves).map(|_| slot()).collect(),
        }
    }

    /// A slave that is to be started now, with the number of its earlier starts; from now on it counts as running.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<(usize, u32)> {
        let due = |slot: &Slot| matches!(slot.state, State::Waiting { due_at } if due_at <= now);
        let index = self.slots.iter().position(due)?;
        let slot = &mut self.slots[index];
        slot.state = State::Running { since: now };
        slot.starts += 1;
        Some((index, slot.starts - 1))
    }

    /// When [`Restarts::take_due`] will next have something.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        let due_at = |slot: &Slot| match slot.state {
            State::Waiting { due_at } => Some(due_at),
            State::Running { .. } | State::Done | State::GivenUp => None,
        };
        self.slots.iter().filter_map(due_at).min()
    }

    /// The running slave `index` ended.
    pub(crate) fn on_ended(&mut self, index: usize, life: Life, now: Nanos) -> Verdict {
        let slot = &mut self.slots[index];
        let State::Running { since } = slot.state else {
            unreachable!("only the running end");
        };
        let was_short = now.saturating_sub(since) < nanos(SHORT);
        (slot.hasty, slot.barren) = match life {
            Life::Over => {
                slot.state = State::Done;
                return Verdict::Done;
            }
            Life::Worked => (0, 0),
            _ if !was_short => (0, 0),
            Life::Spent => (slot.hasty + 1, slot.barren),
            Life::Barren => (slot.hasty + 1, slot.barren + 1),
        };
        if slot.barren >= BARREN_MAX {
            slot.state = State::GivenUp;
            return Verdict::GiveUp;
        }
        let pause = pause(slot.hasty);
        slot.state = State::Waiting {
            due_at: now.saturating_add(nanos(pause)),
        };
        Verdict::Restart(pause)
    }

    /// How many lives in a row of a slot ended no task.
    pub(crate) fn barren(&self, index: usize) -> u32 {
        self.slots[index].barren
    }

    /// No slot runs or will run again, and not one of them was told to go.
    pub(crate) fn all_given_up(&self) -> bool {
        self.slots.iter().all(|slot| slot.state == State::GivenUp)
    }
}

/// After so many hasty lives in a row.
fn pause(hasty: u32) -> Duration {
    let doublings = hasty.saturating_sub(1);
    let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
    PAUSE_FIRST.saturating_mul(factor).min(PAUSE_MAX)
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).expect("a few seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    /// The lives of one slot, each with its length in milliseconds; what becomes of it in milliseconds of pause, `0` for
    /// done, `-1` for given up.
    fn check(lives: &[(Life, Nanos)], expected: &[i64]) {
        let mut restarts = Restarts::new(1);
        let mut now = 0;
        let mut got = Vec::new();
        for (life, long) in lives {
            assert!(restarts.take_due(now).is_some());
            now += long * MS;
            match restarts.on_ended(0, *life, now) {
                Verdict::Done => got.push(0),
                Verdict::GiveUp => got.push(-1),
                Verdict::Restart(pause) => {
                    got.push(pause.as_millis() as i64);
                    assert_eq!(restarts.next_due(), Some(now + nanos(pause)));
                    assert_eq!(restarts.take_due(now + nanos(pause) - 1), None);
                    now += nanos(pause);
                }
            }
        }
        assert_eq!(got, expected);
    }

    #[test]
    fn a_slot_is_started_again_as_its_lives_deserve() {
        use Life::{Barren, Over, Spent, Worked};
        check(&[(Over, 5)], &[0]);
        check(&[(Barren, 5); 5], &[100, 200, 400, 800, -1]);
        check(&[(Worked, 1); 7], &[100; 7]);
        check(&[(Barren, 10_000); 7], &[100; 7]);
        let spent = [100, 200, 400, 800, 1600, 3200, 5000, 5000];
        check(&[(Spent, 1); 8], &spent);
        // What worked once may work again.
        let mut lives = vec![(Barren, 1); 4];
        lives.push((Worked, 1));
        lives.extend([(Barren, 1); 5]);
        check(&lives, &[100, 200, 400, 800, 100, 100, 200, 400, 800, -1]);
    }

    #[test]
    fn what_ends_one_says_nothing_of_its_sibling() {
        let mut restarts = Restarts::new(2);
        let mut now = 0;
        assert_eq!(restarts.take_due(0), Some((0, 0)));
        for _ in 0..BARREN_MAX {
            let index = loop {
                now += 10_000 * MS;
                if let Some((1, _)) = restarts.take_due(now) {
                    break 1;
                }
            };
            restarts.on_ended(index, Life::Barren, now);
        }
        assert_eq!(restarts.next_due(), None);
        restarts.on_ended(0, Life::Barren, 1);
        assert_eq!(restarts.barren(0), 1);
        assert!(!restarts.all_given_up() && restarts.next_due().is_some());
    }

    #[test]
    fn all_given_up_is_the_end() {
        let mut restarts = Restarts::new(2);
        for _ in 0..BARREN_MAX {
            for _ in 0..2 {
                assert!(!restarts.all_given_up());
                let (index, _) = restarts.take_due(Nanos::MAX / 2).unwrap();
                restarts.on_ended(index, Life::Barren, Nanos::MAX / 2);
                // Due again at once, for the next round.
                if let State::Waiting { due_at } = &mut restarts.slots[index].state {
                    *due_at = 0;
                }
                if index == 0 {
                    let (other, _) = restarts.take_due(Nanos::MAX / 2).unwrap();
                    restarts.on_ended(other, Life::Barren, Nanos::MAX / 2);
                    if let State::Waiting { due_at } = &mut restarts.slots[other].state {
                        *due_at = 0;
                    }
                    break;
                }
            }
        }
        let _ = restarts.take_due(Nanos::MAX);
        assert!(
            restarts
                .slots
                .iter()
                .any(|slot| slot.state == State::GivenUp)
        );
    }
}
