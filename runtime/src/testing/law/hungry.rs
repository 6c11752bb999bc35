//! Hungry: while slaves are idle and nothing is queued tasks that ask are told, those that have run longest first, twice as
//! many as slaves are idle at most; when it is over they are told that.

use std::collections::BTreeMap;

use ringmw_codec::running::{AsksHungry, Hungry as Word};
use ringmw_sched::{Nanos, SlaveId};

use crate::proto::SECOND;
use crate::testing::law::Law;
use crate::testing::law::tables::{Hold, Place};

/// Tasks that are told for each slave that is idle, at most.
const TOLD_FOR_EACH: usize = 2;

/// Somebody who could be told is told within this time of the master's turns.
const TOLD_WITHIN: Nanos = SECOND;

/// Who could not be told at a look is not before the next one.
const LOOKS_APART: Nanos = SECOND / 40;

/// That tasks of an algorithm ask is known to all turns so much later.
const KNOWN_AFTER: Nanos = SECOND / 10;

/// A task is the first in its slave's hands.
#[derive(Clone, Copy)]
struct First {
    task: u64,
    /// It was not before the turn at `after`, and is since the one at `by`.
    after: Nanos,
    by: Nanos,
}

#[derive(Default)]
pub(super) struct Hungry {
    /// Algorithms whose tasks ask, and since when that is known.
    asks: BTreeMap<u16, Nanos>,
    firsts: BTreeMap<SlaveId, First>,
    told: BTreeMap<SlaveId, u64>,
    /// Those that were told in this turn, and since when they run at the earliest.
    new: Vec<(u64, Nanos)>,
    /// Who had not read all that it was sent at the end of a turn, and of which last.
    unread: BTreeMap<SlaveId, Nanos>,
    /// The turn before this one.
    before: Nanos,
    /// Since when somebody could be told and is not, and turns since then.
    unheard: Option<(Nanos, u64)>,
    /// Words that a task was told.
    pub(super) words: u64,
}

impl Law {
    pub(super) fn on_asks_hungry(&mut self, payload: &[u8]) -> bool {
        let Ok(asks) = AsksHungry::decode(payload) else {
            return false;
        };
        let known = usize::from(asks.algorithm) < self.config.algorithms.len();
        if known {
            self.hungry.asks.entry(asks.algorithm).or_insert(self.now);
        }
        known
    }

    /// A slave has less in hand than it had: its first task may count as first from now on.
    pub(super) fn on_hands_hungry(&mut self, id: SlaveId) {
        if let Some(first) = self.hungry.firsts.get_mut(&id) {
            first.by = self.now;
        }
    }

    pub(super) fn on_hungry(&mut self, id: SlaveId, payload: &[u8]) {
        let word = Word::decode(payload).expect("the master's own");
        let task = word.task;
        if !word.hungry {
            let told = self.hungry.told.remove(&id);
            assert_eq!(
                told,
                Some(task),
                "{id} is told that TASK-{task} is hungry no more"
            );
            return;
        }
        assert!(
            !self.stopped,
            "{id} is told that slaves are hungry after the end was told"
        );
        self.hungry.words += 1;
        self.coverage.hungry();
        let since = self
            .asking_first(id)
            .filter(|first| first.0 == task)
            .unwrap_or_else(|| panic!("{id} is told that slaves are hungry for TASK-{task}, which it does not run, or which does not ask"));
        let before = self.hungry.told.insert(id, task);
        assert_ne!(
            before,
            Some(task),
            "TASK-{task} is told twice that slaves are hungry"
        );
        self.hungry.new.push(since);
    }

    /// The first task in its hands, if it asks: it, and since when at the earliest.
    fn asking_first(&self, id: SlaveId) -> Option<(u64, Nanos)> {
        let &(task, hold) = self.slaves[&id].hands.front()?;
        let algorithm = self.tasks.get(&task)?.spec.algorithm.0;
        let asks = hold == Hold::Live && self.hungry.asks.contains_key(&algorithm);
        let first = self
            .hungry
            .firsts
            .get(&id)
            .filter(|first| first.task == task);
        asks.then(|| (task, first.map_or(self.hungry.before, |first| first.after)))
    }

    /// The first task in its hands, if it asks and was not told: it, since when at the latest, and since when it is known
    /// that it asks. Who has not read what it was sent is passed over.
    fn untold_first(&self, id: SlaveId) -> Option<(u64, Nanos, Nanos)> {
        let slave = &self.slaves[&id];
        let &(task, hold) = slave.hands.front()?;
        let algorithm = self.tasks.get(&task)?.spec.algorithm.0;
        let &known = self.hungry.asks.get(&algorithm)?;
        let is_untold = self.hungry.told.get(&id) != Some(&task);
        let has_read = self.hungry.unread.get(&id);
        let has_read = has_read.is_none_or(|last| last + LOOKS_APART < self.now);
        let reads = !slave.leaving && !self.has_unsent(slave.conn) && has_read;
        let first = self
            .hungry
            .firsts
            .get(&id)
            .filter(|first| first.task == task);
        let by = first.map_or(self.now, |first| first.by);
        (hold == Hold::Live && is_untold && reads).then_some((task, by, known))
    }

    /// Those that were told in this turn have run longer than those that were not.
    fn check_longest_first(&mut self) {
        let new = std::mem::take(&mut self.hungry.new);
        let Some(&(task, last)) = new.iter().max_by_key(|told| told.1) else {
            return;
        };
        for &other in self.slaves.keys() {
            if let Some((untold, by, known)) = self.untold_first(other)
                && known + KNOWN_AFTER < self.now
            {
                assert!(
                    by >= last,
                    "TASK-{task} is told that slaves are hungry, and TASK-{untold} has run longer"
                );
            }
        }
    }

    pub(super) fn check_hungry(&mut self) {
        self.check_longest_first();
        let slaves = &self.slaves;
        let first_of = |id: &SlaveId| slaves.get(id)?.hands.front().copied();
        self.hungry
            .told
            .retain(|id, task| first_of(id) == Some((*task, Hold::Live)));
        let (now, before) = (self.now, self.hungry.before);
        let firsts = &mut self.hungry.firsts;
        firsts.retain(|id, first| first_of(id).is_some_and(|now| now.0 == first.task));
        for (&id, slave) in slaves {
            if let Some(&(task, _)) = slave.hands.front() {
                firsts.entry(id).or_insert(First {
                    task,
                    after: before,
                    by: now,
                });
            }
        }
        self.hungry.before = now;
        let unread = slaves.iter().filter(|slave| self.has_unsent(slave.1.conn));
        let unread: Vec<SlaveId> = unread.map(|slave| *slave.0).collect();
        self.hungry
            .unread
            .retain(|_, last| *last + LOOKS_APART >= now);
        self.hungry
            .unread
            .extend(unread.into_iter().map(|id| (id, now)));
        if self.lenient || self.stopped || self.hungry.asks.is_empty() {
            return;
        }
        let told = self.hungry.told.len();
        let idle =
            |slave: &&super::tables::Slave| slave.hands.is_empty() && slave.group.takes_unordered();
        let idle_all = slaves.values().filter(idle).count();
        assert!(
            told <= TOLD_FOR_EACH * idle_all,
            "{told} tasks are told that slaves are hungry, and {idle_all} slaves are idle"
        );
        let waits = |task: &super::tables::Task| {
            task.place == Place::Queued && !task.bound && task.needs == 0
        };
        let waiting = self.tasks.iter().find(|(_, task)| waits(task));
        let is_queued = waiting.is_some();
        assert!(
            told == 0 || !is_queued,
            "{told} tasks are told that slaves are hungry, and a task waits: {waiting:?}"
        );
        let reading = slaves.values().filter(idle);
        let reading = reading.filter(|slave| !slave.leaving && !self.has_unsent(slave.conn));
        let could_be_told = !is_queued
            && told < TOLD_FOR_EACH * reading.count()
            && slaves.keys().any(|&id| self.untold_first(id).is_some());
        let (since, turns) = self.hungry.unheard.unwrap_or((now, 0));
        self.hungry.unheard = could_be_told.then_some((since, turns + 1));
        assert!(
            !could_be_told || turns < 4 || now - since < TOLD_WITHIN,
            "slaves are idle, nothing is queued, and a task that asks is not told for {} ms",
            (now - since) / 1_000_000
        );
    }
}
