//! Priorities and deadlines: no level is served while a higher one waits, and what was not handed out in time ends.

use std::collections::BTreeMap;

use ringmw_sched::{Nanos, Owner, PRIORITY_MAX, Reason};

use crate::testing::coverage::Must;
use crate::testing::law::Law;
use crate::testing::law::tables::{Place, Task, Whose};

#[derive(Default)]
pub(super) struct Levels {
    /// Of the unordered tasks that went out in this turn: by level when the oldest was submitted.
    out: BTreeMap<i8, Nanos>,
    /// Of those that had come back: by line when the youngest was submitted. They stood before older ones.
    back: BTreeMap<Whose, Nanos>,
    /// Those of the queue were held.
    hold: bool,
}

impl Levels {
    pub(super) fn on_out(&mut self, task: &Task, hold: bool) {
        let oldest = self
            .out
            .entry(task.spec.policy.priority)
            .or_insert(Nanos::MAX);
        *oldest = task.submitted.min(*oldest);
        if task.marked || task.returned {
            let youngest = self.back.entry(task.whose()).or_insert(0);
            *youngest = task.submitted.max(*youngest);
        }
        self.hold = hold;
    }
}

impl Task {
    fn is_due(&self, now: Nanos) -> bool {
        self.submitted.saturating_add(self.spec.policy.start_within) <= now
    }

    /// Why it may not be queued again, if it may not.
    pub(super) fn why_late(&self) -> Option<Must> {
        let within = self.spec.policy.start_within;
        self.is_late
            .then_some(Must::Unrunnable(Reason::NotBegunInTime { within }))
    }
}

impl Law {
    /// Tasks are handed out now: what had to be before is not any more.
    pub(in crate::testing) fn on_hand_out(&mut self) {
        let now = self.now;
        let due = self.tasks.iter().filter(|(_, task)| task.is_due(now));
        let due: Vec<(u64, Place)> = due.map(|(&seq, task)| (seq, task.place)).collect();
        for (seq, place) in due {
            let task = self.tasks.get_mut(&seq).expect("just found");
            task.is_late = true;
            if place == Place::Queued
                && let Some(must) = task.why_late()
            {
                self.end(seq, must);
            }
        }
    }

    /// What waits did not compete higher than what went out.
    pub(super) fn check_levels(&mut self) {
        let Levels { out, back, hold } = std::mem::take(&mut self.levels);
        if self.lenient || out.is_empty() {
            return;
        }
        let aging = self.config.rules.sched.priority_aging;
        let competes = |level: i8, oldest: Nanos| {
            let waited = (self.now - oldest).checked_div(aging).unwrap_or(0);
            (i64::from(level) + waited as i64).min(PRIORITY_MAX.into())
        };
        let waiting = self.waiting_levels(hold, &back);
        for (&level, &went) in &out {
            // The oldest of a level may have stayed where another owner had its turn.
            let stayed = self.tasks.values().filter(|task| {
                task.place == Place::Queued
                    && !task.bound
                    && task.needs == 0
                    && task.spec.policy.priority == level
            });
            let oldest = stayed.map(|task| task.submitted).fold(went, Nanos::min);
            for (&other, &(waits, seq)) in &waiting {
                assert!(
                    other == level || competes(other, waits) <= competes(level, oldest),
                    "TASK-{seq} of priority {other} waits, and one of {level} goes out at {}: by level waits \
                     {waiting:?} (oldest, task), went {out:?}, every {aging} a level higher",
                    self.now
                );
            }
        }
    }

    /// By level, of what waits for any slave: since when it competes at the latest, and a task of it. Of a line the first
    /// one counts: one that came back, where there is such, and else no younger one than the oldest.
    fn waiting_levels(
        &self,
        hold: bool,
        back: &BTreeMap<Whose, Nanos>,
    ) -> BTreeMap<i8, (Nanos, u64)> {
        let mut lines: BTreeMap<Whose, (bool, Nanos, u64)> = BTreeMap::new();
        for (&seq, task) in &self.tasks {
            let is_held = hold && task.spec.owner == Owner::Queue;
            // What needs labels waits for a slave that has them.
            if task.place != Place::Queued || task.bound || task.needs != 0 || is_held {
                continue;
            }
            let is_back = task.marked || task.returned;
            // One that was bound to a slave stands behind younger ones.
            if task.rerouted && !is_back {
                continue;
            }
            let line = lines
                .entry(task.whose())
                .or_insert((is_back, task.submitted, seq));
            let (was_back, since, _) = *line;
            let counts = match (is_back, was_back) {
                (true, true) => task.submitted > since,
                (false, false) => task.submitted < since,
                (is_back, _) => is_back,
            };
            if counts {
                *line = (is_back, task.submitted, seq);
            }
        }
        let mut levels: BTreeMap<i8, (Nanos, u64)> = BTreeMap::new();
        for (whose, (_, since, seq)) in lines {
            let since = back.get(&whose).map_or(since, |&back| back.max(since));
            let level = levels.entry(whose.level()).or_insert((since, seq));
            *level = (since, seq).min(*level);
        }
        levels
    }
}
