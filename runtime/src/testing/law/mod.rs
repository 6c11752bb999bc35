//! The observer: reads every frame that the master sends and hears, knows from that alone what must become of
//! every task, and holds the master to it.
//!
//! It shares the decoders with the cores and nothing else: tasks are a map, a slave's hands a list. What it
//! demands after every turn is the law: what must have ended has ended, what must not is live.
//!
//! # One file for each who speaks
//! ```text
//!   tables        what is remembered of tasks, slaves, connections
//!   from_slave    what the master hears                on_accept, on_bytes, on_closed
//!   to_slave      what the master sends                on_send, on_close
//!   application   what is submitted, cancelled, told   on_submit, on_cancel, on_told ..
//!   trail         what the trail says                  on_line
//!   checkpoint    where tasks go on                     on_checkpoint, on_resume
//!   leaving       slaves that go of their own will        on_finished, on_going ..
//!   unsent        what is kept for peers that do not read     on_written
//!   turns         whose tasks go next                       on_packet
//!   talk          conversations with running tasks        on_say ..
//!   levels        priorities and deadlines                  on_hand_out
//!   logs          what slaves log, and what of that is told    on_logged, on_log_said, on_logs_told
//!   hungry        who is told that slaves are idle            on_asks_hungry, on_hungry
//!   reserve       slaves that are the application's own         check_reserved
//!   needs         labels                                  on_needs
//!   timeouts      tasks that run for too long               check_timeout
//!   quarantine    slaves whose tasks fail and succeed elsewhere
//!   secured       what is heard of whom, where the run has a secret     on_wire, on_sealed ..
//!   shared        what slaves want of shared data and are sent          on_want, on_piece ..
//!   loss          how tasks end and slaves go: what the others call
//! ```
//!
//! # A feature adds its file
//! Its law is `law/FEATURE.rs`, with `mod FEATURE;` below. What it remembers is a struct of its own there, which is one
//! field of [`Law`]; what it demands is an `impl Law` block. The other files get one line at each place where the feature
//! has a say:
//!
//! - for each of its frames an arm of `on_frame` (`from_slave`) or of `on_sent` (`to_slave`),
//! - for each of its events in the trail an arm of `on_line` (`trail`),
//! - for what must hold after every turn a call in `check`, as `check_order` has one.
//!
//! What the worlds tell it is an `on_..` method of its own that they call. The files call each other's methods of [`Law`];
//! of what else stands there they import `tables` alone, so that two features do not meet in one file.

mod application;
mod checkpoint;
mod from_slave;
mod hungry;
mod leaving;
mod levels;
pub(super) mod lives;
mod logs;
mod loss;
mod needs;
mod quarantine;
mod reserve;
mod secured;
mod shared;
mod status;
mod tables;
mod talk;
mod timeouts;
mod to_slave;
mod trail;
mod turns;
mod unsent;

pub(super) use leaving::Unwritten;
pub(super) use logs::Line as LogLine;

use std::collections::{BTreeMap, BTreeSet};

use ringmw_sched::{Group, Nanos, SlaveId, TaskId};

use crate::io::engine::ConnId;
use crate::proto::SECOND;
use crate::proto::config::Config;
use crate::proto::master::{MasterCore, STALL, TICK};
use crate::testing::coverage::{Coverage, Happening, Standing};
use crate::testing::law::checkpoint::Checkpoints;
use crate::testing::law::hungry::Hungry;
use crate::testing::law::leaving::Leaving;
use crate::testing::law::levels::Levels;
use crate::testing::law::logs::Logs;
use crate::testing::law::needs::Needs;
use crate::testing::law::quarantine::Wards;
use crate::testing::law::secured::Secured;
use crate::testing::law::shared::SharedData;
use crate::testing::law::tables::{Conn, Gone, Hold, Line, Phase, Place, Slave, Task, Whose};
use crate::testing::law::talk::Talks;
use crate::testing::law::timeouts::Timeouts;
use crate::testing::law::turns::Turns;
use crate::testing::law::unsent::Unsent;

pub(super) struct Law {
    /// What the observer holds the master to.
    config: Config,
    tasks: BTreeMap<u64, Task>,
    slaves: BTreeMap<SlaveId, Slave>,
    gone: BTreeMap<SlaveId, Gone>,
    slaves_ever: u32,
    conns: BTreeMap<ConnId, Conn>,
    /// What went out in this turn for the first time: the last of each line.
    lines: BTreeMap<Line, u64>,
    /// Of whom tasks that were never handed out before went to any slave in this turn.
    fresh: BTreeSet<Whose>,
    turns: Turns,
    levels: Levels,
    logs: Logs,
    marked: BTreeSet<(ConnId, u64)>,
    /// What was handed out as for its slave alone.
    bound: BTreeSet<(SlaveId, u64)>,
    liars: BTreeSet<ConnId>,
    queued_bytes: u64,
    now: Nanos,
    awake: Nanos,
    /// Whose welcome went out in this turn: they are to beat from the next one on.
    welcomed: Vec<ConnId>,
    caught_up: bool,
    stopped: bool,
    /// The keys that were ever given with a witness or at the start, by `Best`.
    keys: Vec<Vec<u64>>,
    /// Ends of which only the count is known: level 2 submits through the typed handle.
    lenient: bool,
    pub(super) coverage: Coverage,
    pub(super) late: u64,
    /// Packets that went to a slave with two or more in hand.
    pub(super) several: u64,
    /// The mean compute time by algorithm, roughly.
    means: BTreeMap<u16, Nanos>,
    told: u64,
    leaving: Leaving,
    checkpoints: Checkpoints,
    talks: Talks,
    hungry: Hungry,
    secured: Secured,
    shared: SharedData,
    unsent: Unsent,
    needs: Needs,
    timeouts: Timeouts,
    wards: Wards,
}

impl Law {
    pub(super) fn new(config: Config, lenient: bool) -> Self {
        Law {
            config,
            tasks: BTreeMap::new(),
            slaves: BTreeMap::new(),
            gone: BTreeMap::new(),
            slaves_ever: 0,
            conns: BTreeMap::new(),
            lines: BTreeMap::new(),
            fresh: BTreeSet::new(),
            turns: Turns::default(),
            levels: Levels::default(),
            logs: Logs::default(),
            marked: BTreeSet::new(),
            bound: BTreeSet::new(),
            liars: BTreeSet::new(),
            queued_bytes: 0,
            now: 0,
            awake: 0,
            welcomed: Vec::new(),
            caught_up: true,
            stopped: false,
            keys: Vec::new(),
            lenient,
            coverage: Coverage::default(),
            late: 0,
            several: 0,
            means: BTreeMap::new(),
            told: 0,
            leaving: Leaving::default(),
            checkpoints: Checkpoints::default(),
            talks: Talks::default(),
            hungry: Hungry::default(),
            secured: Secured::default(),
            shared: SharedData::default(),
            unsent: Unsent::default(),
            needs: Needs::default(),
            timeouts: Timeouts::default(),
            wards: Wards::default(),
        }
    }

    pub(super) fn on_turn(&mut self, now: Nanos) {
        self.awake += (now - self.now).min(STALL);
        self.now = now;
        for conn in self.welcomed.drain(..) {
            if let Some(state) = self.conns.get_mut(&conn) {
                state.heard = self.awake;
            }
        }
    }

    /// All that had arrived was taken, or not.
    pub(super) fn on_taken(&mut self, caught_up: bool) {
        self.caught_up = caught_up;
        self.begin_unsent();
        self.begin_pieces();
    }

    /// Facts of the core that the observer follows: who claims unordered slaves.
    pub(super) fn follow(&mut self, core: &MasterCore) {
        for (&id, slave) in &mut self.slaves {
            let Some(group) = core.sched().group_of(id) else {
                panic!("{id} is gone without a cause")
            };
            if group != slave.group {
                let claimed = slave.group == Group::Unordered;
                assert!(
                    claimed || self.lenient,
                    "{id} moves from {} to {group} and was not freed",
                    slave.group
                );
                slave.group = group;
                slave.stint += 1;
            }
        }
    }

    /// The law.
    pub(super) fn check(&mut self, core: &MasterCore) {
        if self.check_wards(core) {
            // Whose turn it is depends on who is served.
            self.turns.forget_turn();
            self.levels = Levels::default();
        }
        self.check_order();
        self.check_turns();
        self.check_levels();
        let sched = core.sched();
        sched.sanity_check();
        assert_eq!(
            core.slaves(),
            self.slaves.len(),
            "slaves that are connected"
        );
        for (id, slave) in &self.slaves {
            assert!(
                slave.withdraw.is_empty(),
                "{id} is not told that {:?} were cancelled",
                slave.withdraw
            );
            assert_eq!(
                sched.held_by(*id),
                slave.hands.len(),
                "in the hands of {id}"
            );
            let state = &self.conns[&slave.conn];
            let silence = self.awake - state.heard;
            let bound = self.config.rules.client_timeout + 2 * TICK;
            assert!(
                !self.caught_up || silence <= bound,
                "{id} has been silent for {} ms",
                silence / 1_000_000
            );
        }
        for (id, gone) in &self.gone {
            assert!(gone.said, "{id} went, and the trail does not say so");
        }
        for state in self.conns.values() {
            let old = self.awake - state.since;
            assert!(
                state.phase != Phase::Handshake || !self.caught_up || old <= 11 * SECOND,
                "a handshake is under way for ever"
            );
        }
        self.gone.clear();
        self.check_checkpoints(core);
        self.check_talks();
        self.check_hungry();
        self.conns.retain(|_, state| !state.closed);
        self.check_unsent(core);
        self.check_status(core);
        if self.lenient {
            if self.tasks.len() > 10_000 {
                self.tasks.retain(|_, task| task.place != Place::Ended);
            }
            return;
        }
        let mut live = 0;
        for task in self.tasks.values() {
            let ended = task.place == Place::Ended;
            live += u64::from(!ended);
            let id = task.id.expect("all were submitted under its eyes");
            assert_eq!(
                sched.is_live(id),
                !ended,
                "{id} is {:?}: {:?}",
                task.place,
                task.must
            );
        }
        assert_eq!(sched.runnable(), live, "runnable tasks");
        let queued = self
            .tasks
            .values()
            .filter(|task| task.place == Place::Queued)
            .count() as u64;
        assert_eq!(sched.pending(None), queued, "pending tasks");
        // Those of a series take less.
        assert!(
            sched.queued_bytes() <= self.queued_bytes && (sched.queued_bytes() > 0) == (queued > 0),
            "bytes of queued tasks"
        );
        // Told tasks are of no further interest; a slave may still hold a cancelled one by number alone.
        if self.tasks.len() > 64 {
            self.tasks.retain(|_, task| !task.told);
        }
    }

    fn see(&mut self, conn: ConnId, happening: Happening) {
        let state = &self.conns[&conn];
        let standing = match state.phase {
            Phase::Handshake => Standing::Handshake,
            Phase::Dropped => Standing::Dropped,
            Phase::Slave(id) => {
                let slave = &self.slaves[&id];
                let withdrawn = slave.hands.iter().any(|held| held.1 == Hold::Withdrawn);
                match () {
                    () if slave.leaving => Standing::Leaving,
                    () if slave.announced.is_some() => Standing::Announced,
                    () if withdrawn => Standing::Withdrawing,
                    () if slave.hands.is_empty() => Standing::Idle,
                    () => Standing::Busy,
                }
            }
        };
        self.coverage.pair(standing, happening);
    }

    // ---- what the worlds ask

    /// Tasks that have not ended.
    pub(super) fn live(&self) -> usize {
        self.tasks
            .values()
            .filter(|task| task.place != Place::Ended)
            .count()
    }

    /// Ends that have not been told.
    pub(super) fn untold(&self) -> usize {
        self.tasks.values().filter(|task| !task.told).count()
    }

    /// Slaves that were put into quarantine, and that were taken back as they had healed.
    pub(super) fn quarantined(&self) -> (u64, u64) {
        (self.wards.begun, self.wards.healed)
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// Slaves that ever connected.
    pub(super) fn slaves_ever(&self) -> u64 {
        self.slaves_ever.into()
    }

    /// Whether this task has not ended.
    pub(super) fn is_live(&self, id: TaskId) -> bool {
        self.tasks
            .get(&id.seq())
            .is_some_and(|task| task.place != Place::Ended)
    }

    /// Whether this task went out on this connection as one that was in a lost slave's hands.
    pub(super) fn is_marked(&self, conn: ConnId, task: u64) -> bool {
        self.marked.contains(&(conn, task))
    }

    /// Whether the slave on this connection has announced a task and not answered it.
    pub(super) fn is_announced(&self, conn: ConnId) -> bool {
        let slave = self.slaves.values().find(|slave| slave.conn == conn);
        slave.is_some_and(|slave| slave.announced.is_some())
    }

    /// The slave on a connection and what it holds, with the algorithms; for liars.
    pub(super) fn hands(&self, conn: ConnId) -> Option<Vec<(u64, u16)>> {
        let Phase::Slave(id) = self.conns.get(&conn)?.phase else {
            return None;
        };
        let hands = &self.slaves[&id].hands;
        Some(
            hands
                .iter()
                .map(|&(task, _)| {
                    (
                        task,
                        self.tasks
                            .get(&task)
                            .map_or(0, |task| task.spec.algorithm.0),
                    )
                })
                .collect(),
        )
    }
}
