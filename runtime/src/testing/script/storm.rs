//! One seed from its first draw to the end: what it draws for its world, the faults, the calm behind them, the shutdown.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::batch::BATCH_OVERHEAD_BYTES;
use ringmw_codec::frame::HEADER_BYTES;
use ringmw_codec::log::LogLevel;
use ringmw_sched::{AUTO, Group, Nanos, Scheduler};

use crate::master::state::State;
use crate::proto::SECOND;
use crate::proto::config::{Config, Level, Rules, Wanted};
use crate::proto::master::{MasterCore, SHUTDOWN_WAIT};
use crate::proto::series::Body;
use crate::testing::coverage::Coverage;
use crate::testing::doors::Doors;
use crate::testing::fleet::{Fault, Fleet, LONG_FROM, Leavers, RECORD_BYTES, Weights};
use crate::testing::law::Law;
use crate::testing::net::Quality;
use crate::testing::refusals::Refusals;
use crate::testing::script::algorithms::{ALGORITHMS, MEMBER_ID, registry};
use crate::testing::script::lives::{Lives, lives};
use crate::testing::script::partly::partly;
use crate::testing::script::reduced::reduced;
use crate::testing::script::reserve::Reserving;
use crate::testing::script::restless::restless;
use crate::testing::script::shared::Blobs;
use crate::testing::script::talks::talks;
use crate::testing::script::{Habits, Script};
use crate::testing::slave::Pace;

/// What slaves have in worlds where some have labels, one after the other.
const LABELS: [&[&str]; 4] = [&["gpu=2", "site=fermi"], &[], &["site=cern"], &["gpu=1"]];

/// What those have who come when the faults are over: whatever a task needs.
const ALL_LABELS: [&str; 3] = ["gpu=2", "site=fermi", "site=cern"];

fn own(labels: &[&str]) -> Vec<String> {
    labels.iter().map(|&label| label.to_owned()).collect()
}

/// What a run of one seed was.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Storm {
    /// Turns of the master.
    pub turns: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Tasks submitted.
    pub tasks: u64,
    /// Ends told.
    pub told: u64,
    /// Tasks that were submitted into a series with those before them.
    pub in_series: u64,
    /// Of those the ones in series of several lengths.
    pub in_varied: u64,
    /// And the ones in series with tags.
    pub in_tagged: u64,
    /// Packets that went to a slave with two or more in hand.
    pub several: u64,
    /// Late results.
    pub late: u64,
    /// Tasks that went to a slave which has the labels that they need.
    pub went_by_labels: u64,
    /// Times that a slave began a task.
    pub begun: u64,
    /// Slaves that connected.
    pub slaves: u64,
    /// Faults that befell slaves and links.
    pub faults: u64,
    /// Dials that were refused, and processes that gave up.
    pub refused: (u64, u64),
    /// Of slaves that listen: times that the master had one, and another master; and dials that were told whose it is.
    pub listening: (u64, u64, u64),
    /// Slaves that went of their own will and were heard to the last word.
    pub went: u64,
    /// Slaves that had results unsent when they began to go.
    pub went_with_unsent: u64,
    /// Tasks that timed out, by a time-out of their own and by the run's.
    pub timed_out: (u64, u64),
    /// Slaves that were put into quarantine.
    pub quarantined: u64,
    /// Of them those that were served again as they had healed.
    pub healed: u64,
    /// What was seen.
    pub coverage: Coverage,
    /// Times that a slave was sent shared data, to the last byte.
    pub shared: u64,
    /// What befell runs of several lives, in seeds that have some.
    pub lives: Lives,
}

/// Turns that the master may take after the faults from the end of a task to that of the next one.
pub const CALM_TURNS_MAX: u64 = 6_000;
/// Bytes on their way to a calm master that holds its thread in each turn: the longest frame of a storm and more.
const HELD_WINDOW_BYTES: usize = 64 << 10;

/// Runs one seed.
///
/// # Panics
/// When the cores break the law.
pub fn storm(seed: u64, transcript: bool) -> Storm {
    let mut of_lives = Lives::default();
    match seed % 8 {
        1 => restless(seed, transcript),
        3 => reduced(seed, transcript),
        4 if seed % 16 == 12 => partly(seed, transcript),
        5 => talks(seed, transcript),
        7 => of_lives = lives(seed, transcript),
        _ => {}
    }
    let mut script = Script::new(seed, transcript);
    Storm {
        lives: of_lives,
        ..script.run()
    }
}

impl Script {
    pub(super) fn new(seed: u64, transcript: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut blobs = Blobs::drawn(seed);
        let (registry, hello) = registry(blobs.is_some());
        let of = |rng: &mut ChaCha8Rng, all: &[u64]| all[rng.random_range(0..all.len())];
        let mut config = Config {
            run: 0,
            reconnect: 0,
            rules: Rules {
                is_crash_limit_given: false,
                task_timeout: None,
                client_timeout: rng.random_range(1_000..6_000) * (SECOND / 1_000),
                checkpoint_interval: (seed % 3) * (SECOND / 100),
                sched: ringmw_sched::Config {
                    task_packet_bytes_max: of(&mut rng, &[200, 400, 2_000, 131_072]) as u32
                        + rng.random_range(0..100),
                    task_packet_overhead_bytes: BATCH_OVERHEAD_BYTES as u32,
                    // Drawn below, in the order in which they have always been.
                    task_group: AUTO,
                    prefetch: false,
                    take_back: true,
                    duplicate_stragglers: false,
                    quarantine: true,
                    priority_aging: [0, SECOND / 20, SECOND, 60 * SECOND][seed as usize % 4],
                    crash_limit: 0,
                    queued_bytes_max: 0,
                },
                result_packet_bytes_max: of(&mut rng, &[1_088, 1_300, 3_000, 131_072]) as u32
                    + rng.random_range(1..100),
                result_group: AUTO,
                shared_cache_bytes: 1 << 30,
                any_build: false,
                level: Level::Default,
                log: (seed % 5 < 2).then(|| LogLevel::ALL[seed as usize / 5 % 5]),
                wanted: Wanted::Fixed(0),
            },
            unsent_bytes_max: 0,
            dismisses: false,
            seed,
            member_id: MEMBER_ID.to_vec(),
            args: vec!["an argument".to_owned()],
            fingerprint: hello.fingerprint.clone(),
            algorithms: registry.infos(),
        };
        // In some runs tasks time out: those that hang, and some that are only long.
        let mut limits = ChaCha8Rng::seed_from_u64(seed ^ 0x71_3e00);
        if seed % 3 == 2 {
            config.rules.task_timeout = Some(limits.random_range(SECOND / 10..20 * SECOND));
        }
        let zips = blobs.as_mut().map_or(0, |blobs| blobs.often());
        // Tasks that take next to no time, and plenty of them: several packets go ahead.
        let quick = seed % 9 == 4;
        // And in some of these runs each result is a packet, and sockets take few of them.
        let piles = seed % 27 == 13;
        let sched = &mut config.rules.sched;
        sched.task_group = rng.random_range(0..7);
        sched.prefetch = rng.random_range(0..4) > 0;
        sched.duplicate_stragglers = rng.random_range(0..3) == 0;
        config.rules.result_group = rng.random_range(0..5);
        if piles {
            (sched.task_group, sched.prefetch, config.rules.result_group) = (AUTO, true, 1);
        }
        sched.crash_limit = rng.random_range(0..4);
        sched.queued_bytes_max = of(&mut rng, &[2_000, 10_000, 1 << 32]);
        // Four packets, or more, as in a master that ships. Drawn aside, as all that came later: a seed keeps its run.
        let packets = 4 * (u64::from(sched.task_packet_bytes_max) + HEADER_BYTES as u64);
        let mut aside = ChaCha8Rng::seed_from_u64(seed ^ 0x0dea_f000);
        // In some runs slaves read nothing any more.
        let deaf = seed % 2 == 1;
        config.unsent_bytes_max = packets.max(of(&mut aside, &[1, 3_000, 1 << 20]));
        if deaf {
            sched.queued_bytes_max = of(&mut aside, &[10_000, 20_000, 1 << 32]);
        }
        config.rules.level = [Level::Default, Level::Packets, Level::Tasks][rng.random_range(0..3)];
        let mut quality = Quality {
            delay_min: 20_000,
            delay_max: of(&mut rng, &[100_000, 5_000_000, 200_000_000]),
            slow_permille: of(&mut rng, &[0, 2, 20]) as u32,
            split_percent: of(&mut rng, &[0, 10, 60]) as u32,
            window: of(&mut rng, &[500, 5_000, 1 << 20]) as usize,
        };
        if piles {
            (quality.delay_max, quality.window) = (5_000_000, 500);
        }
        if let Some(blobs) = &mut blobs {
            let fit = blobs.fit(config.unsent_bytes_max, quality.window);
            config.rules.shared_cache_bytes = fit;
        }
        let compute_max = of(
            &mut rng,
            &[2_000_000, 10_000_000, 50_000_000, 1_000_000_000],
        );
        let compute_max = if quick { 10_000 } else { compute_max };
        let pace = Pace {
            compute_min: 1_000,
            compute_max,
            long_percent: of(&mut rng, &[0, 10, 25]) as u32,
            choke_percent: of(&mut rng, &[0, 50, 80]) as u32,
        };
        let state_config = of(&mut rng, &[1_500, 6_000, 1 << 30]);
        let mut fleet = Fleet::new(
            ChaCha8Rng::seed_from_u64(seed ^ 0x5eed),
            quality,
            pace,
            registry,
            hello,
        );
        fleet.transcript = transcript;
        let is_labelled = seed % 4 == 1;
        if is_labelled {
            fleet.labels = LABELS.map(own).into();
        }
        fleet.shortages = seed % 7 == 6;
        if seed % 6 == 4 {
            fleet.refusals = Some(Refusals::new(seed));
        }
        if seed % 11 == 9 {
            fleet.doors = Some(Doors::new(seed, 2 * config.rules.client_timeout));
        }
        fleet.stall_max = 2 * config.rules.client_timeout;
        let mut percent = |max: u32| rng.random_range(0..max);
        let mut habits = Habits {
            every: [SECOND / 5, SECOND / 5, SECOND / 50][percent(3) as usize],
            submit_percent: 5 + percent(60),
            burst: [1 + percent(12), 1 + percent(12), 10 + percent(50)][percent(3) as usize]
                * if quick { 5 } else { 1 },
            take_percent: 2 + percent(60),
            cancel_percent: percent(40),
            group_percent: percent(20),
            intermingle_percent: percent(100),
            ordered_percent: percent(80),
            known_percent: percent(100),
            busiest_percent: percent(100),
            alike_percent: percent(100),
            quick,
            takes_no_news: seed % 5 == 3,
            holds: if seed % 16 == 7 { 3 * SECOND / 2 } else { 0 },
            kinds: [
                1 + percent(5),
                1 + percent(3),
                percent(4),
                percent(5),
                percent(3),
                percent(4),
                // In some runs tasks ask whether slaves are hungry; a seed without them keeps its run.
                3 * u32::from(seed % 5 == 1),
                zips,
            ],
            echo_max: [4, 60, 400][percent(3) as usize],
            offer_percent: 2 + percent(20),
            bests_max: [3, 3, 40][percent(3) as usize],
        };
        if seed % 5 == 2 {
            // Slaves go of their own will, and what they have to say is large.
            fleet.leavers = Some(Leavers::new(seed, SECOND));
            // A packet of them must come through within the client timeout, by a window a round trip; a master that holds
            // its thread takes one a turn.
            let windows = match habits.holds {
                0 => config.rules.client_timeout / (SECOND / 50),
                _ => 1,
            };
            let most = quality.window as u64 * windows / 512;
            habits.echo_max = (config.rules.result_packet_bytes_max / 10).min(most.max(60) as u32);
        }
        if seed % 12 == 6 {
            fleet.deadly = Some(ChaCha8Rng::seed_from_u64(seed ^ 0xdead_1e55));
        }
        let broken = seed % 10 == 4;
        if broken {
            // Some slaves fail whatever they are given, and all live long enough for that to show.
            fleet.broken = Some(ChaCha8Rng::seed_from_u64(seed ^ 0x0b20_4e17));
            fleet.pace.compute_max = fleet.pace.compute_max.min(10_000_000);
            fleet.pace.long_percent = 0;
            (fleet.quality.delay_max, fleet.quality.window) = (2_000_000, 1 << 20);
            (habits.holds, habits.every, habits.burst) = (0, SECOND / 20, 20);
            habits.kinds = [9, 1, 0, 0, 0, 0, 0, 0];
            // That they are worse than the others takes many tasks, and successes between their failures.
            config.rules.sched.queued_bytes_max = 1 << 32;
            (
                habits.submit_percent,
                habits.cancel_percent,
                habits.ordered_percent,
            ) = (80, 2, 4);
            habits.echo_max = 4;
        }
        let mut faults: Weights = [0; 10];
        for weight in &mut faults[..9] {
            *weight = rng.random_range(0..10);
        }
        if deaf {
            faults[9] = aside.random_range(1..30);
        }
        faults[0] += 1;
        let every = of(&mut rng, &[SECOND / 20, SECOND / 3, 3 * SECOND]);
        let every = if broken { 40 * SECOND } else { every };
        let mut core = MasterCore::new(config.clone(), 0);
        core.set_long_from(LONG_FROM[(seed % 3) as usize]);
        core.set_record_bytes(RECORD_BYTES[(seed / 3 % 3) as usize]);
        let mut law = Law::new(config, false);
        if seed % 3 != 2 {
            core.set_secret(fleet.draw_secret(seed));
            law.expect_secret();
        }
        let mut state = State::new(core, ALGORITHMS, state_config);
        if rng.random_range(0..2) == 0 {
            state.map_bytes_max = rng.random_range(200..5_000);
        }
        Script {
            fleet,
            law,
            state,
            seed,
            habits,
            faults,
            fault_every: every,
            next_fault: 0,
            next_app: 0,
            alike: None,
            records: Vec::new(),
            levels: seed
                .is_multiple_of(3)
                .then(|| ChaCha8Rng::seed_from_u64(seed ^ 0x001e_7e15)),
            reserving: (seed % 4 == 2)
                .then(|| Reserving::new(ChaCha8Rng::seed_from_u64(seed ^ 0x7265_7365))),
            level: (0, Nanos::MAX),
            needy: is_labelled.then(|| ChaCha8Rng::seed_from_u64(seed ^ 0x006e_6565_6473)),
            needs: &[],
            needs_late: seed % 8 == 5,
            timers: (seed % 3 == 2).then(|| ChaCha8Rng::seed_from_u64(seed ^ 0x7469_6d65)),
            timeout_ms: 0,
            addressee: None,
            window: None,
            in_series: 0,
            in_varied: 0,
            in_tagged: 0,
            processes: rng.random_range(if broken { 5..9 } else { 1..8 }),
            rng,
            keys: ChaCha8Rng::seed_from_u64(seed ^ 0x6b65_7973),
            busy_until: 0,
            now: 0,
            turns: 0,
            steps: 0,
            ids: Vec::new(),
            flows: Vec::new(),
            bests: Vec::new(),
            streams: [(0, 0); ALGORITHMS],
            draws: BTreeMap::new(),
            blobs,
            walk: 0,
            calm: false,
        }
    }

    pub(super) fn run(&mut self) -> Storm {
        let mut turns = self.rng.random_range(50..400);
        if self.fleet.broken.is_some() {
            turns += 600;
        }
        if self.chance(self.habits.intermingle_percent) {
            let slaves = self.rng.random_range(1..5);
            let allocate = |sched: &mut Scheduler<Body>| sched.allocate(Group::Intermingle, slaves);
            self.state.core.with_sched(allocate);
            self.keep_ready();
        }
        while self.turns < turns {
            self.advance();
        }
        // Most runs end in calm, when every task must end; some in the midst of things.
        if self.rng.random_range(0..4) != 0 {
            self.calm_down();
            let mut least = (self.law.untold(), self.turns);
            while self.law.untold() > 0 {
                if self.law.untold() < least.0 {
                    least = (self.law.untold(), self.turns);
                }
                assert!(
                    self.turns - least.1 < CALM_TURNS_MAX,
                    "{} tasks have not ended and {} ends are untold, none for {CALM_TURNS_MAX} turns after the faults; {} \
                     slaves, {} compute",
                    self.law.live(),
                    self.law.untold(),
                    self.state.core.slaves(),
                    self.fleet.computing(),
                );
                self.advance();
            }
            self.forget_shared();
        }
        let doors = self.fleet.doors.as_ref();
        let listening = doors.map_or((0, 0, 0), |doors| {
            (doors.served.0, doors.served.1, doors.turned_away)
        });
        self.shut_down();
        Storm {
            turns: self.turns,
            simulated: Duration::from_nanos(self.now),
            tasks: self.ids.len() as u64,
            told: self.law.told(),
            in_series: self.in_series,
            in_varied: self.in_varied,
            in_tagged: self.in_tagged,
            several: self.law.several,
            late: self.law.late,
            went_by_labels: self.law.went_by_labels(),
            begun: self.fleet.begun,
            slaves: self.law.slaves_ever(),
            faults: self.fleet.faults,
            refused: self.fleet.refused(),
            listening,
            quarantined: self.law.quarantined().0,
            healed: self.law.quarantined().1,
            went: self.law.went().0,
            went_with_unsent: self.law.went().1,
            timed_out: self.law.timed_out(),
            coverage: self.law.coverage.clone(),
            shared: self.law.shared_whole(),
            lives: Lives::default(),
        }
    }

    fn calm_down(&mut self) {
        self.calm = true;
        self.habits.every = SECOND / 5;
        self.fleet.calm_down(&mut self.law);
        if !self.fleet.labels.is_empty() {
            self.fleet.labels = vec![own(&ALL_LABELS)];
        }
        self.fleet.quality.slow_permille = 0;
        self.fleet.quality.delay_max = 5_000_000;
        if self.habits.holds > 0 {
            // It reads once in each of its long turns: a window must then take a frame, as a kernel's does.
            self.fleet.quality.window = self.fleet.quality.window.max(HELD_WINDOW_BYTES);
        }
        for flow in &self.flows {
            self.state.set_source(flow.slot, false);
        }
        self.state.core.with_sched(|sched| {
            sched.deallocate(Group::Ordered, u32::MAX);
            sched.deallocate(Group::Intermingle, u32::MAX);
        });
        self.keep_ready();
        for _ in 0..2 {
            self.fleet.join_later(SECOND / 10);
        }
        self.next_app = self.now;
        self.busy_until = self.busy_until.min(self.now + SECOND);
    }

    /// Every slave is told, and goes in time.
    fn shut_down(&mut self) {
        // A slave may be at its worst just now.
        for _ in 0..self.rng.random_range(0..3) {
            let fault = [
                Fault::Lie,
                Fault::Lie,
                Fault::Stall,
                Fault::Evict,
                Fault::Kill,
            ][self.rng.random_range(0..5)];
            self.fleet.befall_any(fault, &mut self.law);
        }
        let finished = self.rng.random_range(0..2) == 0;
        self.law.on_shutdown();
        self.fleet.doors = None;
        self.state.core.shutdown(finished);
        // The driver waits for a shorter time; here a few are left until they are judged.
        let until = self.now + SHUTDOWN_WAIT * self.rng.random_range(1..8);
        self.next_app = Nanos::MAX;
        while self.now < until && self.state.core.slaves() > 0 {
            self.advance();
        }
    }
}
