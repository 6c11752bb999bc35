//! A run whose master is killed, or leaves, or is stopped and goes on beside its successor, again and again; what its lives
//! leave to one another lies on a simulated disk, and their slaves come back. The answer is that of the run that nothing
//! befell, bit for bit.
//!
//! ```text
//!   life 1 ──killed── life 2 ──stopped─────────goes on, sees life 3, ends
//!                                  life 3 ──its host loses power── life 4 ── the answer
//! ```
//!
//! A master is killed between any two effects of a turn, and in the midst of what its journal's thread does.

mod app;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures_util::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::Kind;
use ringmw_codec::journal::Identity;
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_codec::secret::{Key, Secret};
use ringmw_sched::Nanos;

use self::app::{Answer, Habits};
use super::algorithms::{MEMBER_ID, hello};
use crate::app::master_role;
use crate::flags;
use crate::io::clock::Clock;
use crate::io::engine::{Closed, ConnId, Handler};
use crate::master::known::Earlier;
use crate::master::save::Keeper;
use crate::master::state::State;
use crate::master::turn::Ending;
use crate::master::{Master, turn};
use crate::proto::SECOND;
use crate::proto::config::Config;
use crate::proto::conn::Effect;
use crate::proto::lives::{Opened, Reading, Waived};
use crate::proto::master::{MasterCore, SHUTDOWN_WAIT};
use crate::proto::recording::{Backlog, Heads, News, Recording, Rest};
use crate::testing::disk::{Files, SimDisk, SimOutputs, SimStore};
use crate::testing::fleet::{Fleet, Weights, put};
use crate::testing::law::lives::LivesLaw;
use crate::testing::net::Quality;
use crate::testing::slave::Pace;
use crate::typed::registry::Registry;

/// Runs of each seed.
const RUNS: u64 = 2;

/// The run that slaves come back to, and another one.
const RUN: u128 = 0x1111_2222_3333_4444;
const OTHER_RUN: u128 = 0x5555;

/// So long slaves look for their run.
const RECONNECT: Nanos = 300 * SECOND;

/// A run takes no longer than this, whatever befalls it.
const PATIENCE: Nanos = 3_000 * SECOND;

/// A life that goes on beside a later one ends within this time: it looks every 10 s, and its disk may be slow or full.
const BESIDE_MAX: Nanos = 40 * SECOND;

/// Kills, cuts and the like; nobody lies but by what they bring.
const FAULTS: Weights = [3, 3, 3, 1, 2, 1, 2, 2, 0, 0];

/// Runs some worlds of a seed.
///
/// # Panics
/// When the answer is another one than that of the run that nothing befell, or a law is broken.
pub(super) fn lives(seed: u64, transcript: bool) -> Lives {
    let mut lives = Lives::default();
    for nth in 0..RUNS {
        let seed = seed.wrapping_mul(RUNS).wrapping_add(nth);
        let (undisturbed, _) = Play::run(seed, false, false);
        let (answer, more) = Play::run(seed, true, transcript);
        assert_eq!(
            answer, undisturbed,
            "another answer than that of the run that nothing befell"
        );
        lives.add(&more);
    }
    lives
}

/// What befell runs, and what their lives left to one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lives {
    /// Masters that led a run.
    pub masters: u64,
    /// Of them those that were stopped, went on beside their successor, and saw it.
    pub superseded: u64,
    /// Times that a slave came back.
    pub came_back: u64,
    /// Results that a life found recorded.
    pub known: u64,
    /// Results that counted no more, since they came of an offer that is lost.
    pub unfounded: u64,
    /// Places where a journal was damaged, and ends that were cut off.
    pub damaged: u64,
    /// Runs that a torn state befell, which went on from the one before it.
    pub torn_states: u64,
    /// Tasks handed out.
    pub handed: u64,
    /// Tasks of those that are begun at most once which a life had begun and the next one did not begin again.
    pub not_begun_again: u64,
}

impl Lives {
    /// Sums two up.
    pub fn add(&mut self, more: &Lives) {
        self.masters += more.masters;
        self.superseded += more.superseded;
        self.came_back += more.came_back;
        self.known += more.known;
        self.unfounded += more.unfounded;
        self.damaged += more.damaged;
        self.torn_states += more.torn_states;
        self.handed += more.handed;
        self.not_begun_again += more.not_begun_again;
    }
}

/// How a life ends.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Doom {
    /// SIGKILL.
    Kill,
    /// Its host is gone.
    Power,
    /// It is stopped for so long, and goes on.
    Stop(Nanos),
    /// It leaves unfinished.
    Leave,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A master: one life of the run.
struct Process {
    /// Its number among the masters of this world.
    number: u32,
    life: u32,
    mw: Master,
    algorithm: Pin<Box<dyn Future<Output = Answer>>>,
    light: FuturesUnordered<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Woken>,
    busy_until: Nanos,
    disk: SimDisk,
    recording: Recording,
    backlog: Rc<RefCell<Backlog>>,
    rest: Rest,
    /// When its journal's thread has its next turn.
    round_at: Nanos,
    news: VecDeque<News>,
    store: Rc<SimStore>,
    payloads: Vec<u8>,
    /// It goes on then.
    stopped_until: Option<Nanos>,
    /// Its slaves have been told that it leaves; it is gone then.
    leaves_until: Option<Nanos>,
    /// When it is to end, and how.
    doom: Option<(Nanos, Doom)>,
    /// Since when there is a later life.
    beside_since: Option<Nanos>,
}

/// A life that begins.
struct Birth {
    at: Nanos,
    disk: SimDisk,
    opened: Opened,
    recording: Option<Recording>,
}

struct Play {
    fleet: Fleet,
    law: LivesLaw,
    habits: Habits,
    rng: ChaCha8Rng,
    keys: ChaCha8Rng,
    clock: Clock,
    now: Nanos,
    registry: Arc<Registry>,
    config: Config,
    secret: Option<Secret>,
    files: Rc<RefCell<Files>>,
    masters: Vec<Process>,
    masters_ever: u32,
    birth: Option<Birth>,
    /// When the next life is begun, if nobody leads the run.
    next_life_at: Option<Nanos>,
    /// Lives that something befalls.
    dooms_left: u32,
    is_disturbed: bool,
    next_fault: Nanos,
    answer: Option<Answer>,
    lives: Lives,
}

/// What the engine tells a core.
struct ToCore<'a> {
    core: &'a mut MasterCore,
    keys: &'a mut ChaCha8Rng,
}

impl Handler for ToCore<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.core.on_accept(conn, peer);
        if self.core.has_secret() {
            self.core.on_key(conn, Key::new(self.keys.random()));
        }
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.core.on_received(conn, bytes, &mut |_| ());
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.core.on_sent(conn, buffer, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.core.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: io::Error) {
        self.core.on_accept_error(&error);
    }
}

fn identity(seed: u64) -> Identity {
    Identity {
        run: RUN,
        program: "simulated".to_owned(),
        build: "simulated".to_owned(),
        app_version: "sim".to_owned(),
        seed,
        args: Vec::new(),
    }
}

impl Play {
    fn run(seed: u64, is_disturbed: bool, transcript: bool) -> (Answer, Lives) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap_or_else(|error| panic!("the runtime cannot be made: {error}"));
        let play = async {
            let mut play = Play::new(seed, is_disturbed, transcript);
            play.play().await;
            play.lives.masters = play.masters_ever.into();
            play.lives.came_back = play.fleet.came_back;
            play.lives.handed = play.law.handed;
            play.lives.not_begun_again = app::take_not_begun_again();
            (play.answer.expect("it was played to the end"), play.lives)
        };
        tokio::task::LocalSet::new().block_on(&runtime, play)
    }

    fn new(seed: u64, is_disturbed: bool, transcript: bool) -> Self {
        let mut drawn = ChaCha8Rng::seed_from_u64(seed ^ 0x11fe_5000);
        let habits = Habits::drawn(&mut drawn);
        let group = ["auto", "1", "3", "20"][drawn.random_range(0..4)];
        let args = ["--mw-client-timeout", "3", "--mw-crash-limit", "0"];
        let args = args.into_iter().chain(["--mw-slave-task-group", group]);
        let settings = flags::parse(args.map(Into::into)).unwrap_or_else(|error| panic!("{error}"));
        let registry = app::registry();
        let mut config = master_role::config(&settings, "simulated", "sim", &registry, seed);
        (config.run, config.reconnect) = (RUN, RECONNECT);
        let quality = Quality {
            delay_min: 20_000,
            delay_max: [100_000, 5_000_000, 50_000_000][drawn.random_range(0..3)],
            slow_permille: 2,
            split_percent: 10,
            window: 1 << 18,
        };
        let pace = Pace {
            compute_min: 10_000,
            compute_max: [1_000_000, 40_000_000, 400_000_000][drawn.random_range(0..3)],
            long_percent: 5,
            choke_percent: 10,
        };
        let hello = hello(&registry, "sim", MEMBER_ID);
        let fleet_rng = ChaCha8Rng::seed_from_u64(drawn.random());
        let mut fleet = Fleet::new(fleet_rng, quality, pace, Arc::clone(&registry), hello);
        fleet.transcript = transcript;
        fleet.comes_back = drawn.random_range(0..4) > 0;
        fleet.listening = None;
        fleet.stall_max = 6 * SECOND;
        let secret = (drawn.random_range(0..2) == 0).then(|| fleet.draw_secret(seed));
        if transcript {
            println!("{habits:?}, {:?}", fleet.pace);
        }
        app::forget_begun();
        Play {
            fleet,
            law: LivesLaw::new(&registry.infos()),
            habits,
            keys: ChaCha8Rng::seed_from_u64(seed ^ 0x6b65_7973),
            clock: Clock::simulated(),
            now: 0,
            registry,
            config,
            secret,
            files: Rc::default(),
            masters: Vec::new(),
            masters_ever: 0,
            birth: None,
            next_life_at: Some(0),
            dooms_left: match is_disturbed {
                true => drawn.random_range(1..6),
                false => 0,
            },
            is_disturbed,
            next_fault: 0,
            answer: None,
            lives: Lives::default(),
            rng: drawn,
        }
    }

    async fn play(&mut self) {
        while self.answer.is_none() {
            assert!(
                self.now < PATIENCE,
                "after {} s the run has no answer: {} masters, dooms left {}, {} tasks handed out",
                self.now / SECOND,
                self.masters.len(),
                self.dooms_left,
                self.law.handed,
            );
            self.turns();
            tokio::task::yield_now().await;
            self.go_on();
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        self.fleet.say(text);
    }

    // ---- time

    /// When a master has its next turn.
    fn due(&mut self, at: usize) -> Nanos {
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

    fn go_on(&mut self) {
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

    fn fault(&mut self) {
        if !self.is_disturbed || self.dooms_left == 0 {
            self.next_fault = Nanos::MAX;
            return;
        }
        self.next_fault = self.now + self.rng.random_range(0..SECOND);
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
    fn foreign(&mut self, output: &[u8]) -> Vec<u8> {
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
    fn stranger(&mut self) {
        let frames = self.foreign(&[7; 8]);
        self.fleet.join_of(OTHER_RUN, frames);
    }

    /// One of the run's slaves says that it has kept what cannot be.
    fn lie(&mut self) {
        let frames = self.foreign(&[7; 3]);
        if !self.law.seen.is_empty() {
            self.fleet.lie_with(&frames);
        }
    }

    // ---- lives

    /// A life reads what those before it left.
    fn open_life(&mut self) {
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
            opened,
            recording: None,
        });
    }

    /// It makes its first segment, reads what was written meanwhile, and leads the run.
    fn begin_life(&mut self) {
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
        if life > 1 {
            earlier.expect_returns(self.now + RECONNECT);
        }
        let bests = earlier.take_bests();
        self.law
            .on_life(number, life, &self.files.borrow(), &tally, &bests);
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
            recording,
            backlog: Rc::default(),
            news: VecDeque::new(),
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

    fn draw_doom(&mut self) -> (Nanos, Doom) {
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
    fn calm_down(&mut self) {
        if self.dooms_left == 0 {
            let mut files = self.files.borrow_mut();
            (files.full_percent, files.broken_percent) = (0, 0);
            drop(files);
            self.fleet.calm_down(&mut self.law);
        }
    }

    /// A master is gone.
    fn gone(&mut self, at: usize, has_power: bool) {
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
    fn befall(&mut self, at: usize) -> Option<(Doom, usize)> {
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
            }
        }
        self.calm_down();
        Some((doom, self.rng.random_range(0..4)))
    }

    /// Its slaves are told that it goes, and look for the next life.
    fn leave(&mut self, at: usize) {
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

    // ---- turns

    fn turns(&mut self) {
        let numbers: Vec<u32> = self.masters.iter().map(|process| process.number).collect();
        for number in numbers {
            let position = |process: &Process| process.number == number;
            let Some(at) = self.masters.iter().position(position) else {
                continue;
            };
            if let Some(until) = self.masters[at].stopped_until {
                if until > self.now {
                    continue;
                }
                self.say(|| format!("master {number} goes on"));
                let process = &mut self.masters[at];
                process.stopped_until = None;
                if process.rest != Rest::Over {
                    process.round_at = self.now;
                }
            }
            if self.masters[at].round_at <= self.now {
                self.round(at);
            }
            if self.due(at) > self.now {
                continue;
            }
            self.turn(at);
            if self.answer.is_some() {
                return;
            }
        }
    }

    /// The journal's thread of a master has its turn.
    fn round(&mut self, at: usize) {
        let now = self.now;
        let process = &mut self.masters[at];
        let backlog = Rc::clone(&process.backlog);
        let news = &mut process.news;
        process.rest = process.recording.round(
            &mut process.disk,
            &|| backlog.borrow_mut(),
            (now, 0),
            &mut |said| news.push_back(said),
        );
        let soon = now + self.rng.random_range(10_000..5_000_000);
        process.round_at = match process.rest {
            Rest::Over => Nanos::MAX,
            Rest::Until(due) => due.max(soon),
            Rest::Pause(due) => due.max(soon),
        };
        // A disk may be slow.
        if self.is_disturbed && self.dooms_left > 0 && self.rng.random_range(0..100) == 0 {
            process.round_at = process
                .round_at
                .max(now + self.rng.random_range(0..5 * SECOND));
        }
    }

    /// One turn of a master, as its driver has it.
    fn turn(&mut self, at: usize) {
        let doomed = self.befall(at);
        if matches!(doomed, Some((Doom::Stop(_), _))) {
            return;
        }
        let now = self.now;
        let process = &mut self.masters[at];
        let number = process.number;
        process.store.step(now);
        let mut is_superseded = None;
        for news in process.news.drain(..) {
            match news {
                News::Synced(barrier) => process.mw.act(|state| state.core.on_recorded(barrier)),
                News::Superseded(life) => is_superseded = Some(life),
                News::Trouble(_) | News::Recovered(_) | News::Full => {}
            }
        }
        if let Some(later) = is_superseded {
            let life = process.life;
            self.lives.superseded += 1;
            self.say(|| format!("life {life} sees life {later}, and ends"));
            self.leave(at);
        }
        let process = &mut self.masters[at];
        if let Some(since) = process.beside_since {
            let beside = now.saturating_sub(since);
            let stopped = process.leaves_until.is_some();
            assert!(
                stopped || beside < BESIDE_MAX + 20 * SECOND,
                "life {} has gone on beside a later one for {} s",
                process.life,
                beside / SECOND
            );
        }
        process.mw.enter_turn();
        self.fleet.at = number;
        let (fleet, keys) = (&mut self.fleet, &mut self.keys);
        let mw = process.mw.clone();
        let taken = mw.work(|state| {
            turn::begin(state, now, |want, core| {
                Ok(fleet.take(want, &mut ToCore { core, keys }))
            })
        });
        assert!(taken.is_ok(), "nothing can fail here");
        mw.on_pass();
        process.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&process.woken));
        let mut cx = Context::from_waker(&waker);
        let ended = match process.leaves_until {
            None => turn::application(&mw, process.algorithm.as_mut(), &mut process.light, &mut cx),
            Some(_) => None,
        };
        let mut effects = VecDeque::new();
        let law = &mut self.law;
        let barrier = mw.work(|state| {
            turn::end(
                state,
                || None,
                |core, effect| {
                    let effect = match effect {
                        Effect::SendShared(conn, bytes) => Effect::Send(conn, bytes.to_vec()),
                        effect => effect,
                    };
                    let frames = match &effect {
                        Effect::Send(conn, frames) => Some((*conn, frames.clone())),
                        _ => None,
                    };
                    effects.push_back((frames, core.seal(effect)));
                },
            );
            let events: Vec<_> = state.core.drain_audit().collect();
            for event in events {
                self.fleet.say(|| format!("    {number}: {event:?}"));
            }
            state.core.take_payloads(&mut process.payloads)
        });
        if barrier.is_some() || !process.payloads.is_empty() {
            process
                .backlog
                .borrow_mut()
                .push(&process.payloads, barrier);
            process.payloads.clear();
            if let Rest::Until(_) = process.rest {
                let soon = now + self.rng.random_range(0..3_000_000);
                process.round_at = process.round_at.min(soon);
            }
        }
        let kills = matches!(doomed, Some((Doom::Kill | Doom::Power, _)));
        let left = match doomed {
            Some((_, left)) if kills => left,
            _ => usize::MAX,
        };
        for (frames, effect) in effects.drain(..).take(left) {
            if let Some((conn, frames)) = frames {
                law.on_send(number, conn, &frames);
            }
            self.fleet.perform(effect);
        }
        mw.leave_turn(&waker);
        if kills {
            if self.rng.random_range(0..2) == 0 {
                self.round(at);
            }
            let has_power = !matches!(doomed, Some((Doom::Power, _)));
            return self.gone(at, has_power);
        }
        let process = &mut self.masters[at];
        process.busy_until = now + self.rng.random_range(1_000..300_000);
        if process
            .leaves_until
            .is_some_and(|until| until <= now || mw.connected() == 0)
        {
            return self.gone(at, true);
        }
        match ended {
            None => {}
            Some(Ending::Returned(answer)) => self.answer = Some(answer),
            Some(Ending::Panicked(panic)) => std::panic::resume_unwind(panic),
            Some(Ending::Signal(_) | Ending::Superseded(_) | Ending::Stopped(_)) => {
                unreachable!("there is nothing outside this world")
            }
        }
        while self.fleet.listening.is_some() && self.fleet.processes() < self.habits.slaves {
            self.fleet.join_later(2 * SECOND);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Lives, lives};

    /// `RINGMW_SEEDS=1000` runs so many, `RINGMW_SEED=17` one with a transcript.
    #[test]
    fn the_answer_is_that_of_the_run_that_nothing_befell() {
        let number = |variable: &str| std::env::var(variable).ok()?.parse::<u64>().ok();
        if let Some(seed) = number("RINGMW_SEED") {
            println!("{:?}", lives(seed, true));
            return;
        }
        let mut sum = Lives::default();
        for seed in 0..number("RINGMW_SEEDS").unwrap_or(5) {
            match std::panic::catch_unwind(|| lives(seed, false)) {
                Ok(more) => sum.add(&more),
                Err(_) => panic!("seed {seed}"),
            }
        }
        println!("{sum:?}");
    }
}
