//! Level 1: the cores under a random application that uses every call there is, with small bounds.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_codec::batch::{TASK_ENTRY_BYTES, TaskBody, encode_task_body};
use ringmw_codec::handshake::{Hello, PROTOCOL_VERSION};
use ringmw_sched::{AlgorithmId, Group, Nanos, Owner, Scheduler, SlaveId, TaskId, TaskSpec};

use super::coverage::Coverage;
use super::fleet::{Fault, Fleet, Weights};
use super::law::{Law, Limits};
use super::net::Quality;
use super::slave::Pace;
use crate::algorithm::{Algorithm, Registry, RegistryBuilder, Task};
use crate::best::{Best, Direction};
use crate::body::Growing;
use crate::cx::{Cx, SlaveState};
use crate::engine::{Closed, ConnId, Handler};
use crate::master::state::{RawTask, State, StreamOf};
use crate::master::turn;
use crate::proto::SECOND;
use crate::proto::master::{Body, End, Fate, Level, MasterConfig, MasterCore, SHUTDOWN_WAIT};
use crate::rng::{Rng, StreamKey, name_hash};
use crate::small::SmallBytes;
use crate::wire;

/// Echoes its number so many times; too many make a failed result.
#[ringmw::algorithm]
fn echo(n: u64, times: u32) -> Vec<u64> {
    vec![n; times as usize]
}

/// Draws from its stream.
#[ringmw::algorithm]
fn draw(cx: &mut Cx) -> u64 {
    use rand::Rng as _;
    cx.rng().next_u64()
}

/// Fails with a message that grows with its number.
#[ringmw::algorithm]
fn fails(n: u64) -> Result<u64, String> {
    match n % 3 {
        0 => Ok(n),
        _ => Err("no ".repeat(n as usize % 700)),
    }
}

/// Offers its key if it is better.
#[ringmw::algorithm]
fn search(key: u64, best: &Best<u64, Vec<u64>>) -> bool {
    best.offer(key, &vec![key; 1 + key as usize % 40])
}

struct Memory(u64);

impl SlaveState for Memory {
    fn init(cx: &mut Cx) -> Result<Self, Box<dyn std::error::Error>> {
        match cx.slave().0 % 5 {
            3 => Err("this machine is broken".into()),
            _ => Ok(Memory(0)),
        }
    }
}

/// Counts on its slave.
#[ringmw::algorithm]
fn counts(by: u64, memory: &mut Memory) -> u64 {
    memory.0 += by;
    memory.0
}

const ALGORITHMS: usize = 5;

fn registry() -> (Arc<Registry>, Hello) {
    use std::sync::OnceLock;
    static REGISTRY: OnceLock<(Arc<Registry>, Hello)> = OnceLock::new();
    let (registry, hello) = REGISTRY.get_or_init(|| {
        let mut builder = RegistryBuilder::default();
        builder.register::<echo>().expect("distinct names");
        builder.register::<draw>().expect("distinct names");
        builder.register::<fails>().expect("distinct names");
        builder.register::<search>().expect("distinct names");
        builder.register::<counts>().expect("distinct names");
        let registry = Arc::new(builder.finish());
        let hello = hello(&registry, "sim", MEMBER_ID);
        (registry, hello)
    });
    (Arc::clone(registry), hello.clone())
}

const MEMBER_ID: &[u8] = b"simulated";

pub(super) fn hello(registry: &Registry, version: &str, member_id: &[u8]) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: member_id.to_vec(),
        host: "simulated".to_owned(),
        job: String::new(),
        pid: 1,
        fingerprint: crate::fingerprint::of(registry, version),
    }
}

/// Observes what the master is told.
pub(super) struct Tap<'a> {
    pub(super) law: &'a mut Law,
    pub(super) core: &'a mut dyn Handler,
}

impl Handler for Tap<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: std::net::SocketAddr) {
        self.law.on_accept(conn, peer);
        self.core.on_accept(conn, peer);
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.law.on_bytes(conn, bytes);
        self.core.on_bytes(conn, bytes);
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.core.on_sent(conn, buffer, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.law.on_closed(conn, &why);
        self.core.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: std::io::Error) {
        self.core.on_accept_error(error);
    }
}

/// What a run of one seed was.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Storm {
    /// Turns of the master.
    pub turns: u64,
    /// Simulated time.
    pub simulated: std::time::Duration,
    /// Tasks submitted.
    pub tasks: u64,
    /// Ends told.
    pub told: u64,
    /// Tasks that were submitted into a run with those before them.
    pub in_runs: u64,
    /// Packets that went to a slave with two or more in hand.
    pub several: u64,
    /// Late results.
    pub late: u64,
    /// Times that a slave began a task.
    pub begun: u64,
    /// Slaves that connected.
    pub slaves: u64,
    /// Faults that befell slaves and links.
    pub faults: u64,
    /// What was seen.
    pub coverage: Coverage,
}

/// Turns that the master may take from the end of the faults until every task has ended, four for each task aside.
pub const CALM_TURNS_MAX: u64 = 6_000;

/// With so many tasks that have not ended it submits no more for now.
const BACKLOG_MAX: u64 = 300;

/// Steps that may be taken without time going on: more are a loop that a real process would spin in.
const STEPS_AT_ONCE_MAX: u64 = 10_000;

struct Flow {
    slot: u32,
    /// Its number among the maps of its algorithm and how many tasks it has, if it is one.
    map: Option<(u64, u64)>,
    algorithm: usize,
}

/// What this world's application is like.
struct Habits {
    /// At most this long after it has done something, it does the next.
    every: Nanos,
    submit_percent: u32,
    burst: u32,
    take_percent: u32,
    cancel_percent: u32,
    group_percent: u32,
    /// Of the changes of groups those of intermingle; the others are of any.
    intermingle_percent: u32,
    ordered_percent: u32,
    /// Of the ordered tasks those for a slave that is here and takes such.
    known_percent: u32,
    /// Bursts after which the intermingle slave that holds most gets some tasks of its own.
    busiest_percent: u32,
    /// Bursts of tasks that are alike, with the default policy.
    alike_percent: u32,
    /// Maps are sources.
    quick: bool,
    /// Draws of algorithms: echo, draw, fails, search, counts.
    kinds: [u32; ALGORITHMS],
    echo_max: u32,
    offer_percent: u32,
    bests_max: usize,
}

struct Script {
    fleet: Fleet,
    law: Law,
    state: State,
    seed: u64,
    rng: ChaCha8Rng,
    habits: Habits,
    faults: Weights,
    fault_every: Nanos,
    next_fault: Nanos,
    next_app: Nanos,
    /// The tasks that are submitted now are alike.
    alike: bool,
    /// They are for this slave alone.
    addressee: Option<SlaveId>,
    in_runs: u64,
    processes: usize,
    busy_until: Nanos,
    now: Nanos,
    turns: u64,
    steps: u64,
    ids: Vec<TaskId>,
    flows: Vec<Flow>,
    bests: Vec<Best<u64, Vec<u64>>>,
    /// By algorithm: maps, and calls and submissions.
    streams: [(u64, u64); ALGORITHMS],
    /// What `draw` must give, by task.
    draws: std::collections::BTreeMap<u64, u64>,
    calm: bool,
}

/// Runs one seed.
///
/// # Panics
/// When the cores break the law.
pub fn storm(seed: u64, transcript: bool) -> Storm {
    let mut script = Script::new(seed, transcript);
    script.run()
}

impl Script {
    fn new(seed: u64, transcript: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (registry, hello) = registry();
        let of = |rng: &mut ChaCha8Rng, all: &[u64]| all[rng.random_range(0..all.len())];
        let limits = Limits {
            member_id: MEMBER_ID.to_vec(),
            version: "sim".to_owned(),
            client_timeout: rng.random_range(1_000..6_000) * (SECOND / 1_000),
            tasks_bytes_max: of(&mut rng, &[200, 400, 2_000, 131_072]) as u32
                + rng.random_range(0..100),
            results_bytes_max: of(&mut rng, &[1_088, 1_300, 3_000, 131_072]) as u32
                + rng.random_range(1..100),
            // 0 is automatic.
            task_group: rng.random_range(0..7),
            prefetch: rng.random_range(0..4) > 0,
            duplicate_stragglers: rng.random_range(0..3) == 0,
            result_group: rng.random_range(0..5),
            crash_limit: rng.random_range(0..4),
            queued_bytes_max: of(&mut rng, &[2_000, 10_000, 1 << 32]),
            algorithms: registry.infos(),
        };
        let config = MasterConfig {
            member_id: limits.member_id.clone(),
            fingerprint: hello.fingerprint.clone(),
            any_build: false,
            client_timeout: limits.client_timeout,
            tasks_bytes_max: limits.tasks_bytes_max,
            results_bytes_max: limits.results_bytes_max,
            task_group: limits.task_group,
            prefetch: limits.prefetch,
            duplicate_stragglers: limits.duplicate_stragglers,
            result_group: limits.result_group,
            crash_limit: limits.crash_limit,
            queued_bytes_max: limits.queued_bytes_max,
            seed,
            args: vec!["an argument".to_owned()],
            level: [Level::Default, Level::Packets, Level::Tasks][rng.random_range(0..3)],
            algorithms: registry.infos(),
        };
        let quality = Quality {
            delay_min: 20_000,
            delay_max: of(&mut rng, &[100_000, 5_000_000, 200_000_000]),
            slow_permille: of(&mut rng, &[0, 2, 20]) as u32,
            split_percent: of(&mut rng, &[0, 10, 60]) as u32,
            window: of(&mut rng, &[500, 5_000, 1 << 20]) as usize,
        };
        let compute_max = of(
            &mut rng,
            &[2_000_000, 10_000_000, 50_000_000, 1_000_000_000],
        );
        // Tasks that take next to no time, and plenty of them: several packets go ahead.
        let quick = seed % 9 == 4;
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
        fleet.shortages = seed % 7 == 6;
        fleet.stall_max = 2 * limits.client_timeout;
        let mut percent = |max: u32| rng.random_range(0..max);
        let habits = Habits {
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
            kinds: [
                1 + percent(5),
                1 + percent(3),
                percent(4),
                percent(5),
                percent(3),
            ],
            echo_max: [4, 60, 400][percent(3) as usize],
            offer_percent: 2 + percent(20),
            bests_max: [3, 3, 40][percent(3) as usize],
        };
        let mut faults: Weights = [0; 9];
        for weight in &mut faults {
            *weight = rng.random_range(0..10);
        }
        faults[0] += 1;
        let every = of(&mut rng, &[SECOND / 20, SECOND / 3, 3 * SECOND]);
        Script {
            fleet,
            law: Law::new(limits, false),
            state: State::new(MasterCore::new(config, 0), ALGORITHMS, state_config),
            seed,
            habits,
            faults,
            fault_every: every,
            next_fault: 0,
            next_app: 0,
            alike: false,
            addressee: None,
            in_runs: 0,
            processes: rng.random_range(1..8),
            rng,
            busy_until: 0,
            now: 0,
            turns: 0,
            steps: 0,
            ids: Vec::new(),
            flows: Vec::new(),
            bests: Vec::new(),
            streams: [(0, 0); ALGORITHMS],
            draws: std::collections::BTreeMap::new(),
            calm: false,
        }
    }

    fn run(&mut self) -> Storm {
        let turns = self.rng.random_range(50..400);
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
            let begun = self.turns;
            // One that is for a single slave behind a bad link takes a turn or two for each.
            let turns_max = CALM_TURNS_MAX + 4 * self.law.untold() as u64;
            while self.law.untold() > 0 {
                assert!(
                    self.turns - begun < turns_max,
                    "{} tasks have not ended and {} ends are untold {} turns after the last fault; {} slaves, {} compute",
                    self.law.live(),
                    self.law.untold(),
                    turns_max,
                    self.state.core.slaves(),
                    self.fleet.computing(),
                );
                self.advance();
            }
        }
        self.shut_down();
        Storm {
            turns: self.turns,
            simulated: std::time::Duration::from_nanos(self.now),
            tasks: self.ids.len() as u64,
            told: self.law.told(),
            in_runs: self.in_runs,
            several: self.law.several,
            late: self.law.late,
            begun: self.fleet.begun,
            slaves: self.law.slaves_ever(),
            faults: self.fleet.faults,
            coverage: self.law.coverage.clone(),
        }
    }

    /// On to the next thing that happens.
    fn advance(&mut self) {
        let core_due = self.state.core.next_deadline();
        let master = self.fleet.master_due().min(core_due).min(self.next_app);
        let master = master.max(self.busy_until);
        let fault = if self.calm {
            Nanos::MAX
        } else {
            self.next_fault
        };
        let before = self.now;
        self.now = self.fleet.due().min(master).min(fault).max(before);
        self.steps = if self.now > before { 0 } else { self.steps + 1 };
        let stuck = || {
            format!(
                "time stands still at {before}: {}, master {master}, fault {fault}",
                self.fleet.describe_due()
            )
        };
        assert!(self.steps < STEPS_AT_ONCE_MAX, "{}", stuck());
        self.fleet.step(self.now, &self.law);
        if fault <= self.now {
            self.next_fault = self.now + self.rng.random_range(0..2 * self.fault_every);
            self.fleet.fault(&self.faults, &mut self.law);
        }
        if master <= self.now {
            self.turn();
        }
    }

    fn turn(&mut self) {
        self.turns += 1;
        self.law.on_turn(self.now);
        let (law, fleet) = (&mut self.law, &mut self.fleet);
        let taken = turn::begin(&mut self.state, self.now, |want, core| {
            let caught_up = fleet.take(want, &mut Tap { law, core });
            law.on_taken(caught_up);
            Ok(caught_up)
        });
        assert!(taken.is_ok());
        self.read_trail();
        self.law.follow(&self.state.core);
        if self.next_app <= self.now {
            self.next_app = self.now + self.rng.random_range(0..self.habits.every);
            self.application();
        }
        let hold = self.law.ready_bytes() > self.state.queue.ready_bytes().1;
        let mut effects = Vec::new();
        turn::end(&mut self.state, |effect| effects.push(effect));
        for effect in effects {
            if let crate::proto::master::Effect::Send(conn, bytes) = &effect {
                self.law.on_send(*conn, bytes, &self.state.core, hold);
            }
            if let crate::proto::master::Effect::Close { conn, .. } = &effect {
                self.law.on_close(*conn);
            }
            self.fleet.perform(effect);
        }
        self.read_trail();
        self.law.follow(&self.state.core);
        self.law.check(&self.state.core);
        // Mostly quick, now and then held by the master algorithm for longer than a stall or a timeout.
        let held = match self.rng.random_range(0..400) {
            0 if !self.calm => self.rng.random_range(0..8 * SECOND),
            1..4 => self.rng.random_range(0..SECOND),
            _ => self.rng.random_range(1_000..300_000),
        };
        self.busy_until = self.now + held;
    }

    fn read_trail(&mut self) {
        for event in self.state.core.drain_audit() {
            self.fleet.say(|| format!("    {event:?}"));
            self.law.on_line(&event);
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    // ---- the application

    fn application(&mut self) {
        if !self.calm {
            let has_room = self.state.core.sched().runnable() < BACKLOG_MAX;
            if has_room && self.chance(self.habits.submit_percent) {
                let burst = self.rng.random_range(1..=self.habits.burst);
                self.submit_some(burst);
            }
            if self.chance(self.habits.group_percent) {
                self.groups();
            }
            if self.chance(self.habits.cancel_percent) {
                self.cancel_some();
            }
            if self.chance(self.habits.offer_percent) {
                self.offer();
            }
            if self.fleet.processes() < self.processes && self.chance(30) {
                self.fleet.join_later(10 * self.habits.every);
            }
        } else if self.fleet.processes() < 3 {
            self.fleet.join_later(SECOND / 10);
        }
        if self.calm || self.chance(self.habits.take_percent) {
            self.take();
        }
        self.keep_ready();
    }

    /// What the handle does after each of its calls.
    fn keep_ready(&mut self) {
        self.state.dispatch();
        self.law.follow(&self.state.core);
    }

    fn submit_some(&mut self, burst: u32) {
        self.alike = self.chance(self.habits.alike_percent);
        let kind = self.draw_kind();
        match self.rng.random_range(0..4) {
            // A map.
            0 => {
                let slot = self.new_flow();
                let number = self.state.new_map(AlgorithmId(index_of(kind)));
                self.streams[kind].0 += 1;
                assert_eq!(number, self.streams[kind].0);
                let streams = (0..u64::from(burst)).map(|index| StreamOf {
                    domain: number,
                    index,
                });
                self.submit_each(kind, Owner::Flow(slot), streams.collect());
                self.state.set_source(slot, self.habits.quick && !self.calm);
                self.flows.push(Flow {
                    slot,
                    map: Some((number, burst.into())),
                    algorithm: kind,
                });
            }
            // A call.
            1 => {
                let slot = self.new_flow();
                let stream = self.single(kind);
                self.submit(kind, Owner::Flow(slot), stream);
                self.flows.push(Flow {
                    slot,
                    map: None,
                    algorithm: kind,
                });
            }
            _ if self.alike => {
                let streams = (0..burst).map(|_| self.single(kind)).collect();
                self.submit_each(kind, Owner::Queue, streams);
            }
            _ => {
                for _ in 0..burst {
                    let kind = self.draw_kind();
                    let stream = self.single(kind);
                    self.submit(kind, Owner::Queue, stream);
                }
            }
        }
        if self.chance(self.habits.busiest_percent) {
            self.submit_to_busiest();
        }
        // A map is filled on.
        if let Some(at) = self.pick(self.flows.len())
            && let Flow {
                slot,
                map: Some((number, next)),
                algorithm,
            } = self.flows[at]
        {
            self.submit(
                algorithm,
                Owner::Flow(slot),
                StreamOf {
                    domain: number,
                    index: next,
                },
            );
            self.flows[at].map = Some((number, next + 1));
        }
    }

    /// Some tasks for the intermingle slave that holds most: the next packet begins with them, behind tasks that may be
    /// asked back.
    fn submit_to_busiest(&mut self) {
        let sched = self.state.core.sched();
        let slaves = (0..self.law.slaves_ever() as u32).map(SlaveId);
        let busiest = slaves
            .filter(|id| sched.group_of(*id) == Some(Group::Intermingle))
            .max_by_key(|id| sched.held_by(*id));
        self.alike = false;
        self.addressee = busiest;
        for _ in 0..self.rng.random_range(1..4) {
            let kind = self.draw_kind();
            let stream = self.single(kind);
            self.submit(kind, Owner::Queue, stream);
        }
        self.addressee = None;
    }

    fn draw_kind(&mut self) -> usize {
        let mut draw = self
            .rng
            .random_range(0..self.habits.kinds.iter().sum::<u32>());
        let mut kind = 0;
        while draw >= self.habits.kinds[kind] {
            draw -= self.habits.kinds[kind];
            kind += 1;
        }
        // Searches need a best; the first kinds none.
        if kind == 3 && self.bests.is_empty() {
            0
        } else {
            kind
        }
    }

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.random_range(0..len))
    }

    fn new_flow(&mut self) -> u32 {
        u32::try_from(self.state.flows.insert(Default::default())).expect("few")
    }

    fn single(&mut self, kind: usize) -> StreamOf {
        let stream = self.state.next_single(AlgorithmId(index_of(kind)));
        let expected = self.streams[kind].1;
        self.streams[kind].1 += 1;
        assert_eq!((stream.domain, stream.index), (0, expected));
        stream
    }

    /// One by one, or together where that may be.
    fn submit_each(&mut self, kind: usize, owner: Owner, streams: Vec<StreamOf>) {
        if self.alike && [1, 2, 4].contains(&kind) && self.chance(50) {
            return self.submit_run(kind, owner, &streams);
        }
        for stream in streams {
            self.submit(kind, owner, stream);
        }
    }

    fn submit(&mut self, kind: usize, owner: Owner, stream: StreamOf) {
        let n = self.rng.random_range(0..1_000);
        match kind {
            0 => {
                let times = self.rng.random_range(0..self.habits.echo_max);
                self.submit_task(kind, echo::task(n, times), owner, stream);
            }
            1 => self.submit_task(kind, draw::task(), owner, stream),
            2 => self.submit_task(kind, fails::task(n), owner, stream),
            3 => {
                let at = self.rng.random_range(0..self.bests.len());
                let task = search::task(n * 1_000, &self.bests[at]);
                self.submit_task(kind, task, owner, stream);
            }
            _ => self.submit_task(kind, counts::task(n), owner, stream),
        }
    }

    /// To whom an ordered task goes: mostly one that is here or was; now and then one that never was.
    fn draw_slave(&mut self) -> SlaveId {
        let ever = self.law.slaves_ever() as u32;
        let sched = self.state.core.sched();
        let takes = |id: &SlaveId| sched.group_of(*id).is_some_and(Group::takes_ordered);
        let here: Vec<SlaveId> = (0..ever).map(SlaveId).filter(takes).collect();
        match self.pick(here.len()) {
            Some(at) if self.chance(self.habits.known_percent) => here[at],
            _ => SlaveId(self.rng.random_range(0..ever + 2)),
        }
    }

    fn submit_task<A: Algorithm>(
        &mut self,
        kind: usize,
        mut task: Task<A>,
        owner: Owner,
        stream: StreamOf,
    ) {
        let (mut domain, mut index) = (stream.domain, stream.index);
        let mut to = None;
        if !self.alike && (self.addressee.is_some() || self.chance(self.habits.ordered_percent)) {
            let id = self.addressee.unwrap_or_else(|| self.draw_slave());
            to = Some(id);
            task = task.slave(id);
        }
        let (retry, anyway) = match self.alike {
            true => (true, false),
            false => (self.chance(70), self.chance(50)),
        };
        task = task.retry(retry).do_it_anyway(anyway);
        if !self.alike && self.chance(10) {
            // The size of the tag sees to tasks that are too large.
            let tag = vec![7u64; self.rng.random_range(0..60)];
            task = task.tag(&tag);
        }
        if !self.alike && self.chance(10) {
            (domain, index) = (u64::MAX, self.rng.random_range(0..9));
            task = task.stream(index);
        }
        let (tag_type, tag) = task
            .policy()
            .and_then(|policy| policy.tag.as_ref())
            .map_or((0, Vec::new()), |tag| (tag.type_hash, tag.archive.to_vec()));
        let mut body = Vec::new();
        encode_task_body(
            &mut body,
            &TaskBody {
                domain,
                stream: index,
                tag_type,
                tag: &tag,
                args: &task.args,
            },
        );
        let algorithm = AlgorithmId(index_of(kind));
        let spec = TaskSpec {
            algorithm,
            owner,
            bytes: (body.len() + TASK_ENTRY_BYTES) as u32,
            policy: ringmw_sched::Policy {
                to,
                do_it_anyway: anyway,
                retry,
            },
        };
        let queued_bytes = self.state.core.sched().queued_bytes();
        let id = self
            .state
            .submit(algorithm, RawTask::new(&task), owner, stream);
        let more = self.state.core.sched().queued_bytes() - queued_bytes;
        self.in_runs += u64::from((1..Scheduler::<Body>::RECORD_BYTES).contains(&more));
        self.fleet
            .say(|| format!("  submit {id} to {to:?}, retry {retry}, anyway {anyway}, {owner:?}"));
        self.on_submit(
            kind,
            StreamOf { domain, index },
            id,
            spec,
            &body,
            queued_bytes,
        );
    }

    /// Submits tasks that are alike and whose streams follow one another as a run.
    fn submit_run(&mut self, kind: usize, owner: Owner, streams: &[StreamOf]) {
        let mut bodies = Vec::new();
        let mut run: Option<Growing> = None;
        for stream in streams {
            let n = self.rng.random_range(0..1_000);
            let task_args = match kind {
                1 => draw::task().args,
                2 => fails::task(n).args,
                _ => counts::task(n).args,
            };
            let body = TaskBody {
                domain: stream.domain,
                stream: stream.index,
                tag_type: 0,
                tag: &[],
                args: &task_args,
            };
            let mut bytes = Vec::new();
            encode_task_body(&mut bytes, &body);
            bodies.push(bytes);
            match &mut run {
                None => run = Some(Growing::new(&body, streams.len() as u32)),
                Some(run) => {
                    let follows = run.push(stream.domain, stream.index, &task_args);
                    assert!(follows, "they are alike");
                }
            }
        }
        let Some(run) = run.map(Growing::close) else {
            return;
        };
        let algorithm = AlgorithmId(index_of(kind));
        let spec = TaskSpec::new(algorithm, owner, run.packet_bytes());
        let queued_bytes = self.state.core.sched().queued_bytes();
        let queued = self.state.core.sched().queued();
        let mut ids = Vec::new();
        self.state
            .submit_run(algorithm, run, owner, |first, tasks| {
                ids.extend((0..tasks).map(|nth| first.after(nth)));
            });
        let accepted = self.state.core.sched().queued() - queued;
        let together = self.state.core.sched().queued_bytes() - queued_bytes
            < accepted * Scheduler::<Body>::RECORD_BYTES;
        self.in_runs += u64::from(together) * accepted;
        self.fleet
            .say(|| format!("  submit {ids:?} together, {owner:?}"));
        let record = u64::from(spec.bytes) + Scheduler::<Body>::RECORD_BYTES;
        for ((nth, stream), body) in (0u32..).zip(streams).zip(&bodies) {
            // Each is taken or refused as if it were submitted by itself.
            let before = queued_bytes + u64::from(nth).min(accepted) * record;
            self.on_submit(kind, *stream, ids[nth as usize], spec, body, before);
        }
    }

    fn on_submit(
        &mut self,
        kind: usize,
        stream: StreamOf,
        id: TaskId,
        spec: TaskSpec,
        body: &[u8],
        queued_bytes: u64,
    ) {
        let body = SmallBytes::copy_from_slice(body);
        self.law.on_submit(id, spec, body, queued_bytes);
        self.keep_ready();
        if kind == 1 {
            use rand::Rng as _;
            let key = StreamKey {
                seed: self.seed,
                algorithm: name_hash("draw"),
                domain: stream.domain,
                stream: stream.index,
            };
            self.draws.insert(id.seq(), Rng::new(key).next_u64());
        }
        self.ids.push(id);
    }

    fn groups(&mut self) {
        let group = match self.chance(self.habits.intermingle_percent) {
            true => Group::Intermingle,
            false => Group::ALL[self.rng.random_range(0..3)],
        };
        let slaves = self.rng.random_range(1..3);
        match self.rng.random_range(0..6) {
            0..3 => {
                self.fleet.say(|| format!("  allocate {slaves} {group}"));
                self.state
                    .core
                    .with_sched(|sched| sched.allocate(group, slaves));
            }
            3 => {
                self.fleet.say(|| format!("  deallocate {slaves} {group}"));
                self.state
                    .core
                    .with_sched(|sched| sched.deallocate(group, slaves));
            }
            4 => self
                .state
                .core
                .with_sched(|sched| sched.free_slave_of(group)),
            _ => {
                let id = SlaveId(self.rng.random_range(0..self.law.slaves_ever() as u32 + 1));
                let freed = self.state.core.with_sched(|sched| sched.free_slave(id));
                self.fleet.say(|| format!("  free {id}: {freed}"));
                self.law.on_free(id, freed);
            }
        }
        self.keep_ready();
        if self.chance(30) {
            let target = self.rng.random_range(0..50);
            self.state.core.with_sched(|sched| {
                sched.set_target(Some(AlgorithmId(0)), target);
                assert_eq!(
                    sched.upto_target(Some(AlgorithmId(0))),
                    target.saturating_sub(sched.pending(Some(AlgorithmId(0))))
                );
                sched.take_connected();
                sched.take_disconnected();
            });
        }
    }

    fn cancel_some(&mut self) {
        match self.rng.random_range(0..10) {
            0 => {
                let ids = self.state.live(|_, _| true);
                for &id in &ids {
                    let cancelled = self.state.cancel_and_tell(id);
                    self.on_cancelled(id, cancelled);
                }
            }
            1..4 if !self.flows.is_empty() => {
                // A call or map is dropped.
                let at = self.rng.random_range(0..self.flows.len());
                let flow = self.flows.swap_remove(at);
                self.take_flow(flow.slot);
                let ids = self.state.live(|owner, _| owner == Owner::Flow(flow.slot));
                self.state.drop_flow(flow.slot);
                for id in ids {
                    self.on_cancelled(id, true);
                }
            }
            4..7 => {
                // The oldest are in the hands of slaves.
                let mut live = self.state.live(|_, _| true);
                live.sort_unstable_by_key(|id| id.seq());
                live.truncate(30);
                if let Some(at) = self.pick(live.len()) {
                    let end = self.state.cancel(live[at]);
                    self.on_cancelled(live[at], end.is_some());
                }
            }
            _ => {
                // Recent ones are more likely to be live.
                for _ in 0..self.rng.random_range(1..4) {
                    let recent = self.ids.len().min(30);
                    let Some(back) = self.pick(recent) else {
                        return;
                    };
                    let id = self.ids[self.ids.len() - 1 - back];
                    let before = self.law.is_live(id);
                    let end = self.state.cancel(id);
                    assert_eq!(end.is_some(), before, "cancelling {id}");
                    self.on_cancelled(id, end.is_some());
                }
            }
        }
        self.keep_ready();
    }

    /// Cancelling is being told.
    fn on_cancelled(&mut self, id: TaskId, cancelled: bool) {
        self.fleet.say(|| format!("  cancel {id}: {cancelled}"));
        self.law.on_cancel(id, cancelled);
        if cancelled {
            let spec = self.law.spec(id);
            self.law
                .on_told(spec.owner, id, spec.algorithm, &Fate::Cancelled);
        }
    }

    fn offer(&mut self) {
        if self.bests.len() < self.habits.bests_max && self.chance(50) {
            let start = self.rng.random_range(500_000..2_000_000);
            let bests = self.state.core.bests();
            let best = bests.add(Direction::Minimum, start).expect("few");
            self.law.on_best(start);
            self.bests.push(best);
        } else if !self.bests.is_empty() {
            let at = self.rng.random_range(0..self.bests.len());
            let key = self.rng.random_range(0..1_000_000);
            if self.bests[at].offer(key, &vec![key]) {
                self.law.on_own_offer(at as u32, key);
            }
        }
    }

    fn take(&mut self) {
        if self.calm || self.chance(50) {
            for result in self.state.queue.take_results() {
                self.told(Owner::Queue, &result.into_end());
            }
        } else {
            let algorithm = AlgorithmId(self.rng.random_range(0..ALGORITHMS) as u16);
            while self.chance(80)
                && let Some(taken) = self.state.queue.take_one(algorithm)
            {
                match taken {
                    Ok(result) => self.told(Owner::Queue, &result.into_end()),
                    Err(unrunnable) => self.told(Owner::Queue, unrunnable.end()),
                }
            }
        }
        if self.calm || self.chance(50) {
            for unrunnable in self.state.queue.take_unrunnable() {
                self.told(Owner::Queue, unrunnable.end());
            }
        }
        for at in (0..self.flows.len()).rev() {
            let slot = self.flows[at].slot;
            self.take_flow(slot);
            // A map or call that is through is dropped.
            if self.state.flows[slot as usize].live == 0 && (self.calm || self.chance(20)) {
                self.flows.swap_remove(at);
                self.state.drop_flow(slot);
            }
        }
        let ready = self.law.ready_bytes();
        assert_eq!(
            self.state.queue.ready_bytes().0,
            ready,
            "bytes of ready results"
        );
    }

    fn take_flow(&mut self, slot: u32) {
        while let Some(end) = self.state.flows[slot as usize].ready.pop() {
            let end = end.into_end();
            if matches!(end.fate, Fate::Cancelled) {
                // `cancel_and_tell` has told it twice on purpose: by its value and to the flow's waiter.
                continue;
            }
            self.told(Owner::Flow(slot), &end);
        }
    }

    fn told(&mut self, owner: Owner, end: &End) {
        assert_eq!(
            owner, end.owner,
            "{} is told where it was not given",
            end.id
        );
        self.law.told_body(end);
        self.law.on_told(owner, end.id, end.algorithm, &end.fate);
        if let Fate::Done { output, .. } = &end.fate
            && let Some(expected) = self.draws.remove(&end.id.seq())
        {
            let drawn: u64 = wire::decode(output).expect("it was checked");
            assert_eq!(drawn, expected, "{} draws from another stream", end.id);
        }
    }

    // ---- the end

    fn calm_down(&mut self) {
        self.calm = true;
        self.habits.every = SECOND / 5;
        self.fleet.calm_down();
        self.fleet.quality.slow_permille = 0;
        self.fleet.quality.delay_max = 5_000_000;
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
        self.state.core.shutdown(finished);
        // The driver waits for a shorter time; here a few are left until they are judged.
        let until = self.now + SHUTDOWN_WAIT * self.rng.random_range(1..8);
        self.next_app = Nanos::MAX;
        while self.now < until && self.state.core.slaves() > 0 {
            self.advance();
        }
    }
}

/// The registry sorts by name: counts, draw, echo, fails, search.
fn index_of(kind: usize) -> u16 {
    [2, 1, 3, 4, 0][kind]
}
