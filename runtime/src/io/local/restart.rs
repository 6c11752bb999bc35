//! When a local slave that died is started again, and when it is given up.
//!
//! Pure: `now` is an argument, in nanoseconds on any clock that only goes forward. It starts nothing; the supervisor
//! asks [`Restarts::due`] and does it.

use std::time::Duration;

use ringmw_codec::Nanos;

/// The first pause that is not zero; each later one is twice as long.
pub(crate) const PAUSE_FIRST: Duration = Duration::from_millis(100);
/// No pause is longer.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(5);
/// So many deaths in a row, each before the slave was handed a task, mean that slaves cannot run here at all.
pub(crate) const DEATHS_IN_A_ROW_MAX: u32 = 5;

/// The pauses of one slave: none, 0.1 s, 0.2 s, 0.4 s … 5 s; from the start again once it was handed a task.
#[derive(Debug, Default, Clone)]
pub(crate) struct Backoff {
    deaths: u32,
}

impl Backoff {
    /// The slave died: how long to wait before it is started again.
    pub(crate) fn next_pause(&mut self) -> Duration {
        let deaths = self.deaths;
        self.deaths = deaths.saturating_add(1);
        match deaths.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => PAUSE_FIRST
                .saturating_mul(1u32.checked_shl(doublings).unwrap_or(u32::MAX))
                .min(PAUSE_MAX),
        }
    }

    /// The slave was handed a task, so it works: its next death is restarted at once.
    pub(crate) fn reset(&mut self) {
        self.deaths = 0;
    }
}

/// What to do about a slave that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not started again: it exited 0, told to or idle, or the others were given up before.
    Done,
    /// It is due again after this pause.
    Restart(Duration),
    /// The last of [`DEATHS_IN_A_ROW_MAX`]: nothing is started any more.
    GiveUp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Running { handed: bool },
    Waiting { due_at: Nanos },
    Done,
}

#[derive(Debug)]
struct Slot {
    state: State,
    backoff: Backoff,
    starts: u32,
}

/// The restarts of all local slaves: a pause per slave, a row of early deaths over all of them.
///
/// The row is common because the usual cause (a binary that cannot start, a refused handshake) strikes all of them
/// alike: five processes are enough to know. Any slave that is handed a task breaks it.
#[derive(Debug)]
pub(crate) struct Restarts {
    slots: Vec<Slot>,
    row: u32,
    gave_up: bool,
}

impl Restarts {
    /// `slaves` of them, all due at once.
    pub(crate) fn new(slaves: usize) -> Self {
        let slot = || Slot {
            state: State::Waiting { due_at: 0 },
            backoff: Backoff::default(),
            starts: 0,
        };
        Self {
            slots: (0..slaves).map(|_| slot()).collect(),
            row: 0,
            gave_up: false,
        }
    }

    /// A slave that is to be started now, with the number of its earlier starts; from now on it counts as running.
    pub(crate) fn take_due(&mut self, now: Nanos) -> Option<(usize, u32)> {
        let due = |slot: &Slot| matches!(slot.state, State::Waiting { due_at } if due_at <= now);
        let index = self.slots.iter().position(due).filter(|_| !self.gave_up)?;
        let slot = &mut self.slots[index];
        slot.state = State::Running { handed: false };
        slot.starts += 1;
        Some((index, slot.starts - 1))
    }

    /// When [`Restarts::take_due`] will next have something.
    pub(crate) fn next_due(&self) -> Option<Nanos> {
        let due_at = |slot: &Slot| match slot.state {
            State::Waiting { due_at } => Some(due_at),
            State::Running { .. } | State::Done => None,
        };
        self.slots
            .iter()
            .filter_map(due_at)
            .min()
            .filter(|_| !self.gave_up)
    }

    /// The running slave `index` was handed a task. Every task may be told; the first one counts.
    pub(crate) fn on_handed_task(&mut self, index: usize) {
        let slot = &mut self.slots[index];
        if slot.state == (State::Running { handed: false }) {
            slot.state = State::Running { handed: true };
            slot.backoff.reset();
            self.row = 0;
        }
    }

    /// Whether the running slave `index` was handed a task.
    pub(crate) fn was_handed_task(&self, index: usize) -> bool {
        self.slots[index].state == (State::Running { handed: true })
    }

    /// The running slave `index` ended, with exit status 0 (`done`) or otherwise.
    pub(crate) fn on_ended(&mut self, index: usize, done: bool, now: Nanos) -> Verdict {
        let handed = self.was_handed_task(index);
        let slot = &mut self.slots[index];
        if done || self.gave_up {
            slot.state = State::Done;
            return Verdict::Done;
        }
        self.row = if handed { 0 } else { self.row + 1 };
        if self.row == DEATHS_IN_A_ROW_MAX {
            self.gave_up = true;
            slot.state = State::Done;
            return Verdict::GiveUp;
        }
        let pause = slot.backoff.next_pause();
        let pause_ns = Nanos::try_from(pause.as_nanos()).expect("PAUSE_MAX is a few seconds");
        slot.state = State::Waiting {
            due_at: now.saturating_add(pause_ns),
        };
        Verdict::Restart(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;

    #[test]
    fn pauses_grow_to_five_seconds_and_begin_again_after_a_task() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..9).map(|_| backoff.next_pause().as_millis()).collect();
        assert_eq!(pauses, [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        backoff.reset();
        assert_eq!(backoff.next_pause(), Duration::ZERO);
        let mut old = Backoff { deaths: u32::MAX };
        assert_eq!((old.next_pause(), old.next_pause()), (PAUSE_MAX, PAUSE_MAX));
    }

    #[test]
    fn one_that_exits_zero_is_not_started_again() {
        let mut restarts = Restarts::new(1);
        assert_eq!(restarts.take_due(0), Some((0, 0)));
        assert_eq!(restarts.on_ended(0, true, 5), Verdict::Done);
        assert_eq!(
            (restarts.next_due(), restarts.take_due(Nanos::MAX)),
            (None, None)
        );
    }

    #[test]
    fn one_that_dies_is_started_at_once_then_later() {
        let mut restarts = Restarts::new(2);
        assert_eq!(restarts.take_due(0), Some((0, 0)));
        assert_eq!(restarts.take_due(0), Some((1, 0)));
        assert_eq!(restarts.take_due(0), None);
        assert_eq!(
            restarts.on_ended(1, false, 7),
            Verdict::Restart(Duration::ZERO)
        );
        assert_eq!(restarts.take_due(7), Some((1, 1)));
        assert_eq!(
            restarts.on_ended(1, false, 9),
            Verdict::Restart(PAUSE_FIRST)
        );
        assert_eq!(restarts.take_due(99 * MS), None);
        assert_eq!(restarts.next_due(), Some(100 * MS + 9));
        assert_eq!(restarts.take_due(100 * MS + 9), Some((1, 2)));
    }

    #[test]
    fn five_early_deaths_in_a_row_are_the_end_whoever_dies() {
        let mut restarts = Restarts::new(5);
        for index in 0..5 {
            assert_eq!(restarts.take_due(0), Some((index, 0)));
        }
        for index in 0..4 {
            assert_eq!(
                restarts.on_ended(index, false, 0),
                Verdict::Restart(Duration::ZERO)
            );
        }
        assert_eq!(restarts.on_ended(4, false, 0), Verdict::GiveUp);
        assert_eq!(
            (restarts.next_due(), restarts.take_due(Nanos::MAX)),
            (None, None)
        );
    }

    #[test]
    fn a_task_handed_to_any_slave_breaks_the_row() {
        let mut restarts = Restarts::new(2);
        let mut now = 0;
        let mut die = |restarts: &mut Restarts, index| {
            now += 10_000 * MS;
            while restarts.take_due(now).is_some() {}
            restarts.on_ended(index, false, now)
        };
        for _ in 0..4 {
            assert!(matches!(die(&mut restarts, 0), Verdict::Restart(_)));
        }
        restarts.on_handed_task(1);
        assert!(matches!(die(&mut restarts, 0), Verdict::Restart(_)));
        // Its own death after a task is no early death either.
        assert!(restarts.was_handed_task(1));
        assert_eq!(die(&mut restarts, 1), Verdict::Restart(Duration::ZERO));
        for _ in 0..4 {
            assert!(matches!(die(&mut restarts, 0), Verdict::Restart(_)));
        }
        assert_eq!(die(&mut restarts, 0), Verdict::GiveUp);
    }
}
