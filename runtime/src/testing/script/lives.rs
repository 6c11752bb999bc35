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
//!
//! | module | owns |
//! |---|---|
//! | this | what befell runs, a world and its masters |
//! | `app` | the master algorithm and its tasks |
//! | `births` | how a life begins and ends |
//! | `turns` | a master's turn, and its journal's thread's |
//! | `faults` | time, and what befalls slaves and the disk |

mod app;
mod births;
mod faults;
mod turns;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use futures_util::stream::FuturesUnordered;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::journal::Identity;
use ringmw_codec::secret::Secret;
use ringmw_sched::Nanos;

use self::app::{Answer, Habits};
use super::algorithms::{MEMBER_ID, hello};
use crate::app::master_role;
use crate::flags;
use crate::io::clock::Clock;
use crate::master::Master;
use crate::proto::SECOND;
use crate::proto::config::Config;
use crate::proto::lives::Opened;
use crate::proto::recording::{Backlog, News, Recording, Rest};
use crate::testing::disk::{Files, SimDisk, SimStore};
use crate::testing::fleet::{Fleet, Weights};
use crate::testing::law::lives::LivesLaw;
use crate::testing::net::Quality;
use crate::testing::slave::Pace;
use crate::typed::registry::Registry;

/// Runs of each seed, and one more with each [`Hardship`].
const RUNS: u64 = 2;

/// The run that slaves come back to, and another one.
const RUN: u128 = 0x1111_2222_3333_4444;
const OTHER_RUN: u128 = 0x5555;

/// So long slaves look for their run: one of these.
const RECONNECT: [Nanos; 3] = [3 * SECOND, 20 * SECOND, 300 * SECOND];

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
    let plain = (0..RUNS).map(|nth| (seed.wrapping_mul(RUNS).wrapping_add(nth), None));
    let hard = [Hardship::Rot, Hardship::Hang];
    let hard = hard.map(|hardship| (seed ^ 0x6861_7264, Some(hardship)));
    for (seed, hardship) in plain.chain(hard) {
        let (undisturbed, _) = Play::run(seed, (false, hardship), false);
        let (answer, more) = Play::run(seed, (true, hardship), transcript);
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
    /// From then on its journal's thread waits for the disk.
    hangs_from: Nanos,
    news: VecDeque<News>,
    /// Its journal's thread has told of its first result.
    has_results: bool,
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

/// What befalls a run beside all else; it has many incumbents, so that most offers are the best of their place.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Hardship {
    /// Outputs go bad under a life that has read where they are.
    Rot,
    /// A journal's disk hangs before its master is killed, and slaves go with it.
    Hang,
}

/// A life that begins.
struct Birth {
    at: Nanos,
    disk: SimDisk,
    /// What lay there when it read.
    files: Files,
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
    hardship: Option<Hardship>,
    /// Draws its hardship, apart from all other draws.
    hardens: ChaCha8Rng,
    next_fault: Nanos,
    answer: Option<Answer>,
    lives: Lives,
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
    fn run(
        seed: u64,
        (is_disturbed, hardship): (bool, Option<Hardship>),
        transcript: bool,
    ) -> (Answer, Lives) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap_or_else(|error| panic!("the runtime cannot be made: {error}"));
        let play = async {
            let mut play = Play::new(seed, is_disturbed, transcript);
            if let Some(hardship) = hardship {
                play.harden(hardship);
            }
            play.play().await;
            play.lives.masters = play.masters_ever.into();
            play.lives.came_back = play.fleet.came_back;
            play.lives.handed = play.law.handed;
            play.lives.not_begun_again = play.law.not_begun_again;
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
        let mut more = ChaCha8Rng::seed_from_u64(seed ^ 0x6261_636b);
        config.run = RUN;
        config.reconnect = RECONNECT[more.random_range(0..3)];
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
            law: LivesLaw::new(&registry.infos(), app::once_index(&registry)),
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
            hardship: None,
            hardens: ChaCha8Rng::seed_from_u64(seed ^ 0x0072_6f74),
            next_fault: 0,
            answer: None,
            lives: Lives::default(),
            rng: drawn,
        }
    }

    fn harden(&mut self, hardship: Hardship) {
        self.habits.harden(&mut self.hardens);
        self.fleet.comes_back = true;
        self.config.reconnect = RECONNECT[2];
        self.hardship = Some(hardship);
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
}

#[cfg(test)]
mod tests {
    use super::{Lives, lives};

    /// The seeds with which the storm has lives, 7, 15 and so on, without the rest of it: `RINGMW_SEEDS=1000` runs so many,
    /// `RINGMW_SEED=17` one with a transcript.
    #[test]
    fn the_answer_is_that_of_the_run_that_nothing_befell() {
        let number = |variable: &str| std::env::var(variable).ok()?.parse::<u64>().ok();
        if let Some(seed) = number("RINGMW_SEED") {
            println!("{:?}", lives(seed, true));
            return;
        }
        let mut sum = Lives::default();
        for seed in (0..number("RINGMW_SEEDS").unwrap_or(5)).map(|nth| 8 * nth + 7) {
            match std::panic::catch_unwind(|| lives(seed, false)) {
                Ok(more) => sum.add(&more),
                Err(_) => panic!("seed {seed}"),
            }
        }
        println!("{sum:?}");
    }
}
