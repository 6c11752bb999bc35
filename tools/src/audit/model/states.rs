//! What a master's state lines say: how many tasks are queued, how many slaves desired and present. One is written every
//! ten seconds while anything changes, so each holds until the next.

/// So many are kept; of more every other one is let go.
const STATES_MAX: usize = 8_192;

/// A line of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) us: i64,
    pub(crate) queued: u64,
    pub(crate) running: u64,
    pub(crate) present: u64,
    pub(crate) desired: u64,
}

/// In the order of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct States {
    kept: Vec<State>,
    /// Of so many one is kept.
    every: usize,
    passed: usize,
}

impl States {
    pub(super) fn push(&mut self, state: State) {
        self.every = self.every.max(1);
        self.passed += 1;
        if self.passed < self.every {
            return;
        }
        self.passed = 0;
        if self.kept.len() == STATES_MAX {
            let mut is_odd = false;
            self.kept.retain(|_| {
                is_odd = !is_odd;
                is_odd
            });
            self.every *= 2;
        }
        self.kept.push(state);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What held at a time: what the last line by then said.
    pub(crate) fn at(&self, us: i64) -> Option<&State> {
        let after = self.kept.partition_point(|state| state.us <= us);
        self.kept.get(after.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_holds_until_the_next_and_long_runs_keep_every_other() {
        let state = |us: i64| State {
            us,
            queued: us as u64,
            running: 0,
            present: 0,
            desired: 0,
        };
        let mut states = States::default();
        assert!(states.is_empty() && states.at(0).is_none());
        for second in 0..100_000 {
            states.push(state(second * 10));
        }
        assert!(states.kept.len() <= STATES_MAX);
        assert!(states.kept.is_sorted_by_key(|state| state.us));
        assert_eq!(states.at(-1), None);
        // Within what a long run's grain allows.
        let grain = 10 * states.every as i64;
        for us in [0, 5_005, 500_000, 999_990] {
            let found = states.at(us).expect("one").us;
            assert!(found <= us && us - found <= 2 * grain, "{us}: {found}");
        }
    }
}
