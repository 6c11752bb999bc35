//! Slaves are idle and nothing is queued: tasks that could give a part of their work back are told, those that have run
//! longest first, twice as many as slaves are idle at most. When that is so no more they are told that, too.
//!
//! Only tasks of algorithms that ask are told; a run without such pays one branch a turn.

use std::cmp::Reverse;

use crate::data::hands::Hold;
use crate::data::hungry::{First, HungryWord};
use crate::ids::{AlgorithmId, Nanos};
use crate::scheduler::Scheduler;
use crate::series::Series;

/// Tasks that are told for each slave that is idle.
const TOLD_FOR_EACH: usize = 2;

/// All slaves are looked at, and no more often than this: so often a slave reads while it computes.
const LOOKS_APART: Nanos = 20_000_000;

impl<P: Series> Scheduler<P> {
    /// Tasks of this algorithm ask whether slaves are hungry.
    pub fn asks_hungry(&mut self, algorithm: AlgorithmId) {
        if self.hungry.add(algorithm) {
            // Those that run are to be seen.
            self.hungry.looked = 0;
        }
    }

    /// A slave that is to be told that others are hungry, or no more. To be asked after everything was handed out, until
    /// `None`.
    #[inline]
    pub fn tell_hungry(&mut self, now: Nanos) -> Option<HungryWord> {
        match self.hungry.asks_any {
            true => self.next_told(now),
            false => None,
        }
    }

    /// How many tasks are told that slaves are hungry, those that have ended since possibly among them.
    pub fn told_hungry(&self) -> usize {
        self.hungry.told.len()
    }

    /// When [`tell_hungry`](Self::tell_hungry) may find one more to tell at the earliest, should nothing else happen.
    pub fn hungry_due(&self) -> Option<Nanos> {
        let may_tell = self.hungry.asks_any && self.counts.running > 0 && self.told_max() > 0;
        may_tell.then(|| self.hungry.looked + LOOKS_APART)
    }

    fn told_max(&self) -> usize {
        let is_so = !self.stopped && self.owners.len() == 0;
        match is_so {
            true => TOLD_FOR_EACH * self.slaves.idle_takers() as usize,
            false => 0,
        }
    }

    fn next_told(&mut self, now: Nanos) -> Option<HungryWord> {
        let most = self.told_max();
        if self.hungry.told.len() > most {
            return self.call_off(most);
        }
        if most > 0 && now >= self.hungry.looked + LOOKS_APART {
            self.look(now);
        }
        while self.hungry.told.len() < most
            && let Some(first) = self.hungry.seen.pop()
        {
            if self.is_first(&first) {
                self.hungry.told.push(first);
                return Some(first.word(true));
            }
        }
        None
    }

    /// More are told than may be: the last one that still runs is called off.
    fn call_off(&mut self, most: usize) -> Option<HungryWord> {
        self.forget_ended();
        if self.hungry.told.len() <= most {
            return None;
        }
        let first = self.hungry.told.pop()?;
        // It is told again before those that have run for a shorter time.
        self.hungry.seen.push(first);
        Some(first.word(false))
    }

    /// Looks at all slaves for tasks that ask and were not told.
    fn look(&mut self, now: Nanos) {
        self.hungry.looked = now;
        self.forget_ended();
        let mut told: Vec<u32> = self.hungry.told.iter().map(|first| first.at).collect();
        told.sort_unstable();
        let mut seen: Vec<(Nanos, First)> = Vec::new();
        for (at, slave) in self.slaves.iter() {
            let Some(first) = slave.hands.first().filter(|first| first.hold == Hold::Live) else {
                continue;
            };
            let asks = self.hungry.asks(self.tasks.get(first.slot).algorithm);
            if asks && !slave.held_back && told.binary_search(&at).is_err() {
                let (slave, since) = (slave.id, slave.hands.first_since);
                let task = first.seq;
                seen.push((since, First { at, slave, task }));
            }
        }
        seen.sort_by_key(|&(since, first)| Reverse((since, first.slave)));
        self.hungry.seen = seen.into_iter().map(|(_, first)| first).collect();
    }

    fn forget_ended(&mut self) {
        let mut told = std::mem::take(&mut self.hungry.told);
        told.retain(|first| self.is_first(first));
        self.hungry.told = told;
    }

    /// Whether it is still the first in its slave's hands.
    fn is_first(&self, first: &First) -> bool {
        self.slaves.find(first.slave) == Some(first.at)
            && self
                .slaves
                .hands(first.at)
                .first()
                .is_some_and(|entry| entry.seq == first.task && entry.hold == Hold::Live)
    }
}
