//! Time, and what befalls the run's slaves and its disk.

use std::sync::atomic::Ordering;

use rand::RngExt;
use ringmw_codec::frame::Kind;
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_sched::Nanos;

use super::{FAULTS, Hardship, OTHER_RUN, Play, app};
use crate::io::clock::Clock;
use crate::proto::SECOND;
use crate::testing::fleet::{Weights, put};

/// One of the slaves is killed.
pub(super) const KILL: Weights = [0, 1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Play {
    /// When a master has its next turn.
    pub(super) fn due(&mut self, at: usize) -> Nanos {
        let process = &self.masters[at];
        if let Some(until) = process.stopped_until {
            return until;
        }
        self.fleet.at = process.number;
        let core = process.mw.work(|state| state.core.next_deadline());
        let mut due = self.fleet.master_due().min(core).min(process.store.due());
        if process.woken.0.load(Ordering::Relaxed) || !process.news.is_empty() {
            due = self.now;
        }
        let ends = process.leaves_until.unwrap_or(Nanos::MAX);
        let ends = ends.min(process.doom.map_or(Nanos::MAX, |doom| doom.0));
        due.min(ends).max(process.busy_until).min(process.round_at)
    }

    pub(super) fn go_on(&mut self) {
        let masters = (0..self.masters.len()).map(|at| self.due(at)).min();
        let birth = self.birth.as_ref().map(|birth| birth.at);
        let next = [masters, birth, self.next_life_at];
        let next = next.into_iter().flatten().min().unwrap_or(Nanos::MAX);
        let next = next.min(self.fleet.due()).min(self.next_fault);
        self.now = next.max(self.now);
        Clock::set(self.now);
        self.fleet.step(self.now, &mut self.law);
        for (number, key) in app::take_begun() {
            let key = self
                .law
                .key_of(app::once_index(&self.registry), key.0, &key.1);
            self.law.on_once(number, key);
        }
        if self.next_fault <= self.now {
            self.fault();
        }
        if self.next_life_at.is_some_and(|at| at <= self.now) {
            self.open_life();
        }
        if self
            .birth
            .as_ref()
            .is_some_and(|birth| birth.at <= self.now)
        {
            self.begin_life();
        }
    }

    pub(super) fn fault(&mut self) {
        if !self.is_disturbed || self.dooms_left == 0 {
            self.next_fault = Nanos::MAX;
            return;
        }
        self.next_fault = self.now + self.rng.random_range(0..SECOND);
        if self.hardship == Some(Hardship::Rot) && self.hardens.random_range(0..8) == 0 {
            self.files.borrow_mut().rot_body(&mut self.hardens);
        }
        match self.rng.random_range(0..8) {
            0 => {
                // The disk is full, broken, or well again.
                let mut files = self.files.borrow_mut();
                files.full_percent = [0, 0, 20, 100][self.rng.random_range(0..4)];
                files.broken_percent = [0, 0, 20, 100][self.rng.random_range(0..4)];
            }
            1 if self.fleet.listening.is_some() => self.stranger(),
            2 => self.lie(),
            _ if self.fleet.listening.is_some() => self.fleet.fault(&FAULTS, &mut self.law),
            _ => {}
        }
    }

    /// Results that are none of this run's: of tasks that it has, with other outputs.
    pub(super) fn foreign(&mut self, output: &[u8]) -> Vec<u8> {
        let results = self.law.seen.iter().map(|key| KeptResult {
            algorithm: key.0,
            failed: false,
            domain: key.1,
            stream: key.2,
            args: key.3,
            compute_ns: 1,
            output,
        });
        let kept = Kept {
            results: results.collect(),
        };
        let mut frames = Vec::new();
        put(&mut frames, Kind::Kept, |out| kept.encode(out));
        frames
    }

    /// A slave of another run comes, and would bring what it has of that.
    pub(super) fn stranger(&mut self) {
        let frames = self.foreign(&[7; 8]);
        self.fleet.join_of(OTHER_RUN, frames);
    }

    /// One of the run's slaves says that it has kept what cannot be.
    pub(super) fn lie(&mut self) {
        let frames = self.foreign(&[7; 3]);
        if !self.law.seen.is_empty() {
            self.fleet.lie_with(&frames, &mut self.law);
        }
    }
}
