//! How a life of the run begins, and how it ends.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::Nanos;

use super::{Birth, Doom, Hardship, Play, Process, Woken, app, faults, identity};
use crate::master::Master;
use crate::master::known::Earlier;
use crate::master::save::Keeper;
use crate::master::state::State;
use crate::proto::SECOND;
use crate::proto::lives::{Reading, Waived};
use crate::proto::master::{MasterCore, SHUTDOWN_WAIT};
use crate::proto::recording::{Heads, Recording, Rest};
use crate::testing::disk::{SimDisk, SimOutputs, SimStore};

impl Play {
    /// A life reads what those before it left.
    pub(super) fn open_life(&mut self) {
        self.next_life_at = None;
        let mut disk = SimDisk::new(&self.files, ChaCha8Rng::seed_from_u64(self.rng.random()));
        let reading = Reading {
            identity: &identity(self.config.seed),
            waived: Waived::default(),
            failures: false,
            before: u32::MAX,
        };
        let opened = reading
            .open(&mut disk, |_, _| {})
            .unwrap_or_else(|error| panic!("a life is refused: {error}"));
        self.birth = Some(Birth {
            at: self.now + self.rng.random_range(0..SECOND / 2),
            disk,
            files: self.files.borrow().clone(),
            opened,
            recording: None,
        });
    }

    /// It makes its first segment, reads what was written meanwhile, and leads the run.
    pub(super) fn begin_life(&mut self) {
        let mut birth = self.birth.take().expect("it has read");
        let Some(recording) = birth.recording.take() else {
            let heads = Heads {
                identity: identity(self.config.seed),
                algorithms: (self.registry.infos().iter())
                    .map(|info| info.name.to_owned())
                    .collect(),
            };
            let last = birth.opened.last_life;
            match Recording::begin(&mut birth.disk, last, heads, 0, self.now) {
                Ok(recording) => {
                    let bytes = [600, 5_000, 1 << 20][self.rng.random_range(0..3)];
                    birth.recording = Some(recording.with_segments_of(bytes));
                    birth.at = self.now + self.rng.random_range(0..SECOND / 10);
                    self.birth = Some(birth);
                }
                Err(error) => {
                    // It ends with 255, and somebody starts it again.
                    self.say(|| format!("a life cannot begin: {error}"));
                    self.next_life_at = Some(self.now + SECOND);
                    if self.dooms_left > 0 {
                        self.dooms_left -= 1;
                    }
                    self.calm_down();
                }
            }
            return;
        };
        let identity = identity(self.config.seed);
        let reading = Reading {
            identity: &identity,
            waived: Waived::default(),
            failures: false,
            before: recording.life,
        };
        let opened = reading
            .catch_up(&mut birth.disk, birth.opened)
            .unwrap_or_else(|error| panic!("a life is refused: {error}"));
        let number = self.masters_ever;
        self.masters_ever += 1;
        let life = recording.life;
        let tally = opened.known.tally();
        self.lives.known += tally.results;
        self.lives.unfounded += tally.unfounded;
        self.lives.damaged += tally.damaged + tally.torn;
        let outputs = SimOutputs {
            files: Rc::clone(&self.files),
            read: opened.read,
        };
        let infos = self.registry.infos();
        let mut earlier = Earlier::new(opened.known, Box::new(outputs), &infos);
        let returns_until = self.now + self.config.reconnect;
        if life > 1 {
            earlier.expect_returns(returns_until);
        }
        let bests = earlier.take_bests();
        self.law.on_life(
            number,
            (life, returns_until),
            (&birth.files, &self.files.borrow()),
            &tally,
            &bests,
        );
        if self.hardship == Some(Hardship::Rot) {
            // What was read is there no more when it is used.
            for _ in 0..self.hardens.random_range(0..6) {
                self.files.borrow_mut().rot_body(&mut self.hardens);
            }
        }
        let mut core = MasterCore::new(self.config.clone(), self.now);
        if let Some(secret) = &self.secret {
            core.set_secret(secret.clone());
        }
        let mut state = State::new(core, infos.len(), 1 << 30);
        state.core.record(false);
        state.core.restore_bests(bests);
        state.go_on(earlier);
        let registry = Arc::clone(&self.registry);
        let mw = Master::new(state, registry, self.clock, self.config.seed);
        let store_rng = ChaCha8Rng::seed_from_u64(self.rng.random());
        let store = Rc::new(SimStore::new(birth.disk.clone(), store_rng));
        store.now.set(self.now);
        if self.habits.saves {
            mw.keep_state(Keeper {
                store: Rc::clone(&store) as _,
                identity,
                any_build: false,
                any_args: false,
            });
        }
        let doom = (self.dooms_left > 0).then(|| self.draw_doom());
        let hangs_from = match (self.hardship, doom) {
            (Some(Hardship::Hang), Some((at, Doom::Kill | Doom::Power))) => {
                self.hardens.random_range(self.now..=at)
            }
            _ => Nanos::MAX,
        };
        for process in &mut self.masters {
            process.beside_since.get_or_insert(self.now);
        }
        self.say(|| format!("life {life} begins as master {number}: {tally:?}, doom {doom:?}"));
        self.masters.push(Process {
            number,
            life,
            algorithm: Box::pin(app::master(mw.clone(), self.habits)),
            mw,
            light: FuturesUnordered::new(),
            woken: Arc::new(Woken(AtomicBool::new(true))),
            busy_until: self.now,
            disk: birth.disk,
            rest: Rest::Until(self.now),
            round_at: self.now,
            hangs_from,
            recording,
            backlog: Rc::default(),
            news: VecDeque::new(),
            has_results: false,
            store,
            payloads: Vec::new(),
            stopped_until: None,
            leaves_until: None,
            doom,
            beside_since: None,
        });
        self.fleet.listening = Some(number);
        while self.fleet.processes() < self.habits.slaves {
            self.fleet.join_later(SECOND / 20);
        }
    }

    pub(super) fn draw_doom(&mut self) -> (Nanos, Doom) {
        let lasts = [SECOND / 20, SECOND / 2, 4 * SECOND][self.rng.random_range(0..3)];
        let at = self.now + self.rng.random_range(0..lasts);
        let doom = match self.rng.random_range(0..8) {
            0..3 => Doom::Kill,
            3 => Doom::Power,
            4..7 => Doom::Stop(self.rng.random_range(SECOND / 10..20 * SECOND)),
            _ => Doom::Leave,
        };
        (at, doom)
    }

    /// Nothing befalls the last life, its slaves or its disk.
    pub(super) fn calm_down(&mut self) {
        if self.dooms_left == 0 {
            let mut files = self.files.borrow_mut();
            (files.full_percent, files.broken_percent) = (0, 0);
            drop(files);
            self.fleet.calm_down(&mut self.law);
        }
    }

    /// A master is gone.
    pub(super) fn gone(&mut self, at: usize, has_power: bool) {
        let process = self.masters.swap_remove(at);
        process.disk.die();
        let (number, life) = (process.number, process.life);
        self.say(|| format!("life {life} is gone, master {number}"));
        self.fleet.lose_master(number, has_power);
        if !has_power {
            self.files.borrow_mut().lose_power(&mut self.rng);
        }
        let is_led = self.birth.is_some() || self.next_life_at.is_some();
        if self.fleet.listening.is_none() && !is_led && self.answer.is_none() {
            if self.rng.random_range(0..4) == 0 {
                self.files.borrow_mut().rot(&mut self.rng);
            }
            if self.rng.random_range(0..6) == 0 {
                let torn = self.files.borrow_mut().tear_state(&mut self.rng);
                self.lives.torn_states += u64::from(torn);
            }
            self.next_life_at = Some(self.now + self.rng.random_range(0..3 * SECOND));
        }
    }

    /// What is due befalls a master; how many effects of this turn it still has, if it is killed in it.
    pub(super) fn befall(&mut self, at: usize) -> Option<(Doom, usize)> {
        let process = &mut self.masters[at];
        let (_, doom) = process.doom.take_if(|doom| doom.0 <= self.now)?;
        self.dooms_left = self.dooms_left.saturating_sub(1);
        let number = process.number;
        self.say(|| format!("master {number}: {doom:?}"));
        let process = &mut self.masters[at];
        match doom {
            Doom::Stop(lasts) => {
                process.stopped_until = Some(self.now + lasts);
                process.round_at = Nanos::MAX;
                self.next_life_at = Some(self.now + self.rng.random_range(0..SECOND));
                // Who dials a stopped process waits in its kernel; here nobody does.
                self.fleet.listening = None;
            }
            Doom::Leave => self.leave(at),
            Doom::Kill | Doom::Power => {
                if self.rng.random_range(0..2) == 0 {
                    let operations = self.rng.random_range(0..3);
                    self.masters[at].disk.dies_after(operations);
                }
                if self.hardship == Some(Hardship::Hang) {
                    for _ in 0..self.hardens.random_range(0..3) {
                        self.fleet.fault(&faults::KILL, &mut self.law);
                    }
                }
            }
        }
        self.calm_down();
        Some((doom, self.rng.random_range(0..4)))
    }

    /// Its slaves are told that it goes, and look for the next life.
    pub(super) fn leave(&mut self, at: usize) {
        let process = &mut self.masters[at];
        process.light = FuturesUnordered::new();
        process.mw.forget_spawned();
        process.mw.act(|state| state.core.shutdown(false));
        process.backlog.borrow_mut().closing = true;
        process.leaves_until = Some(self.now + SHUTDOWN_WAIT);
        if process.rest != Rest::Over {
            process.round_at = self.now;
        }
    }
}
