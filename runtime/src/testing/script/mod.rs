//! Level 1: the cores under a random application that uses every call there is, with small bounds.
//!
//! Here are its state and its turns. `storm` is a seed from its first draw to its end, `algorithms` is what the slaves
//! compute, `submit` what the application gives, `shared` what is named by it, `take` what it takes. `restless`, `reduced`, `talks`,
//! `partly` and `lives` play level 2, by the typed handle.

mod algorithms;
mod lives;
mod partly;
mod reduced;
mod reserve;
mod restless;
mod shared;
mod storm;
mod submit;
mod take;
mod talks;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::frame::Block;
use ringmw_codec::secret::Key;
use ringmw_sched::{Nanos, Owner, SlaveId, TaskId};

use crate::io::engine::{Closed, ConnId, Handler};
use crate::master::state::State;
use crate::master::turn;
use crate::proto::SECOND;
use crate::proto::conn::Effect;
use crate::proto::master::MasterCore;
use crate::testing::fleet::{Fleet, Weights};
use crate::testing::law::Law;
use crate::testing::script::algorithms::ALGORITHMS;
use crate::testing::script::reserve::Reserving;
use crate::typed::best::Best;

pub(super) use algorithms::hello;
pub use lives::Lives;
pub use storm::{CALM_TURNS_MAX, Storm, storm};

/// Observes what the master is told.
pub(super) struct Tap<'a> {
    pub(super) law: &'a mut Law,
    pub(super) core: &'a mut MasterCore,
    /// Draws the keys of connections.
    pub(super) keys: &'a mut ChaCha8Rng,
}

impl Handler for Tap<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.law.on_accept(conn, peer);
        self.core.on_accept(conn, peer);
        if self.core.has_secret() {
            self.core.on_key(conn, Key::new(self.keys.random()));
        }
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let law = &mut *self.law;
        law.on_wire(conn, bytes);
        let heard = &mut |frames: &[u8]| law.on_bytes(conn, frames);
        self.core.on_received(conn, bytes, heard);
        self.law.on_taken_bytes(conn, self.core);
    }

    fn is_long(&self, conn: ConnId) -> bool {
        self.core.is_long(conn)
    }

    fn lend(&mut self, conn: ConnId) -> Option<Block> {
        self.core.lend(conn)
    }

    fn on_block(&mut self, conn: ConnId, bytes: Vec<u8>, more: usize) {
        let law = &mut *self.law;
        law.on_wire(conn, &bytes[bytes.len() - more..]);
        let heard = &mut |frames: &[u8]| law.on_bytes(conn, frames);
        self.core.on_block(conn, bytes, more, heard);
        self.law.on_taken_bytes(conn, self.core);
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.law.on_written(conn, buffer.len());
        self.core.on_sent(conn, buffer, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.law.on_closed(conn, &why);
        self.core.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: io::Error) {
        self.core.on_accept_error(&error);
    }
}

/// What the master has to do: as the observer reads it, and as it goes over the wire.
pub(super) struct Told {
    frames: Option<(ConnId, Vec<u8>)>,
    effect: Effect,
}

impl Told {
    pub(super) fn new(core: &mut MasterCore, effect: Effect) -> Self {
        // Its links carry what is theirs alone.
        let effect = match effect {
            Effect::SendShared(conn, bytes) => Effect::Send(conn, bytes.to_vec()),
            effect => effect,
        };
        let frames = match &effect {
            Effect::Send(conn, frames) => Some((*conn, frames.clone())),
            _ => None,
        };
        let effect = core.seal(effect);
        Told { frames, effect }
    }

    pub(super) fn perform(self, law: &mut Law, core: &MasterCore, hold: bool, fleet: &mut Fleet) {
        if let Some((conn, frames)) = &self.frames {
            law.on_send(*conn, frames, core, hold);
            if let Effect::Send(_, sealed) = &self.effect {
                law.on_sealed(*conn, frames, sealed);
            }
        }
        if let Effect::Close { conn, .. } = &self.effect {
            law.on_close(*conn);
        }
        fleet.perform(self.effect);
    }
}

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

impl Flow {
    fn owner(&self) -> Owner {
        match self.map {
            Some(_) => Owner::Map(self.slot),
            None => Owner::Call(self.slot),
        }
    }
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
    /// Bursts of tasks that are alike but for their arguments and tags.
    alike_percent: u32,
    /// Maps are sources.
    quick: bool,
    /// It never takes the news of slaves.
    takes_no_news: bool,
    /// It holds its thread for so long in every turn.
    holds: Nanos,
    /// Draws of algorithms: echo, draw, fails, search, counts, steps, yields, zips.
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
    /// Draws the keys of the master's connections.
    keys: ChaCha8Rng,
    habits: Habits,
    faults: Weights,
    fault_every: Nanos,
    next_fault: Nanos,
    next_app: Nanos,
    /// The tasks that are submitted now are alike in this.
    alike: Option<submit::Alike>,
    /// What each of those that were submitted one after another takes in the queue, the open series last.
    records: Vec<u64>,
    /// Priorities and deadlines are drawn aside, in seeds that have them.
    levels: Option<ChaCha8Rng>,
    /// Slaves that it reserves, in seeds where it does; drawn aside, too.
    reserving: Option<Reserving>,
    /// The priority and the deadline of tasks that are alike.
    level: (i8, Nanos),
    /// Draws which labels tasks need, in worlds whose slaves have some; apart from all other draws.
    needy: Option<ChaCha8Rng>,
    /// Now and then a task needs a set of labels that none has needed before.
    needs_late: bool,
    /// Draws which tasks have a time-out of their own, where the run has one; apart from all other draws.
    timers: Option<ChaCha8Rng>,
    /// The next task's, in milliseconds; 0: none.
    timeout_ms: u64,
    /// What the next task needs.
    needs: &'static [&'static str],
    /// They are for this slave alone.
    addressee: Option<SlaveId>,
    /// The map that is filled now.
    window: Option<submit::Window>,
    in_series: u64,
    /// Of those the ones in series of several lengths, and with tags.
    in_varied: u64,
    in_tagged: u64,
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
    draws: BTreeMap<u64, u64>,
    /// Shared data, in seeds that have some.
    blobs: Option<shared::Blobs>,
    /// How many steps the task has that is submitted.
    walk: u32,
    calm: bool,
}

impl Script {
    /// On to the next thing that happens.
    fn advance(&mut self) {
        let core_due = self.state.core.next_deadline();
        let master = self.fleet.master_due().min(core_due).min(self.next_app);
        let master = master.min(self.next_read());
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
        self.fleet.step(self.now, &mut self.law);
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
        let (law, fleet, keys) = (&mut self.law, &mut self.fleet, &mut self.keys);
        let taken = turn::begin(&mut self.state, self.now, |want, core| {
            let caught_up = fleet.take(want, &mut Tap { law, core, keys });
            law.on_taken(caught_up);
            Ok(caught_up)
        });
        assert!(taken.is_ok());
        self.read_trail();
        self.law.follow(&self.state.core);
        self.read_files();
        if self.next_app <= self.now {
            self.next_app = self.now + self.rng.random_range(0..self.habits.every);
            self.application();
        }
        self.law.on_hand_out();
        let hold = self.law.ready_bytes() > self.state.queue.ready_bytes().1;
        let mut effects = Vec::new();
        let told = |core: &mut MasterCore, effect| effects.push(Told::new(core, effect));
        turn::end(&mut self.state, || None, told);
        for told in effects {
            told.perform(&mut self.law, &self.state.core, hold, &mut self.fleet);
        }
        self.read_trail();
        self.law.on_logs_told(self.state.core.take_logs());
        self.law.follow(&self.state.core);
        self.law.check(&self.state.core);
        self.check_reserved();
        // Mostly quick, now and then held by the master algorithm for longer than a stall or a timeout.
        let held = match self.rng.random_range(0..400) {
            0 if !self.calm => self.rng.random_range(0..8 * SECOND),
            1..4 => self.rng.random_range(0..SECOND),
            _ => self.rng.random_range(1_000..300_000),
        };
        self.busy_until = self.now + held.max(self.habits.holds);
    }

    fn read_trail(&mut self) {
        for event in self.state.core.drain_audit() {
            self.fleet.say(|| format!("    {event:?}"));
            self.law.on_line(&event);
        }
    }

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
            self.share_some();
            if self.fleet.processes() < self.processes && self.chance(30) {
                self.fleet.join_later(10 * self.habits.every);
            }
        } else if self.fleet.processes() < if self.lacks_labels() { 12 } else { 3 } {
            self.fleet.join_later(SECOND / 10);
        }
        if self.calm || self.chance(self.habits.take_percent) {
            self.take();
        }
        self.reserve();
        self.keep_ready();
    }

    /// Whether tasks may wait in calm for labels that nobody has, since those who came with all of them have left.
    fn lacks_labels(&self) -> bool {
        let mut all = self.fleet.labels.iter();
        all.any(|labels| !self.law.is_anybody_with(labels))
    }

    /// What the handle does after each of its calls.
    fn keep_ready(&mut self) {
        self.state.dispatch();
        self.law.follow(&self.state.core);
    }

    /// Those that are drawn.
    fn algorithms(&self) -> usize {
        let drawn = self.habits.kinds.iter().rposition(|kind| *kind > 0);
        ALGORITHMS.min(drawn.map_or(0, |last| last + 1).max(6))
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.random_range(0..len))
    }
}
