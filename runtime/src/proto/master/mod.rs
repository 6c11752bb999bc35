//! The master's side of the protocol: connections become slaves, tasks become ends.
//!
//! A turn of the driver, in this order:
//!
//! | step | what is called |
//! |---|---|
//! | it is `now` | [`MasterCore::begin_turn`] |
//! | what the engine has | [`on_accept`](MasterCore::on_accept), [`on_received`](MasterCore::on_received), [`on_sent`](MasterCore::on_sent), [`on_closed`](MasterCore::on_closed), [`on_accept_error`](MasterCore::on_accept_error) |
//! | what has not come | [`MasterCore::check_overdue`] |
//! | what the application wants | [`submit`](MasterCore::submit), [`cancel`](MasterCore::cancel), .. |
//! | tasks go out | [`MasterCore::hand_out`] |
//! | all effects | [`MasterCore::poll_effect`], each [sealed](MasterCore::seal) |
//!
//! Ends of tasks come out of [`MasterCore::poll_end`], each exactly once; the runtime
//! dispatches them to their call, map or queue.
//!
//! Two clocks: `now` is monotonic time; of a turn in which the driver's thread was held for longer than
//! [`STALL`] *awake* time counts that much, so that a slave is not judged by the master's own pause.

mod account;
mod checkpoints;
mod conn;
mod connections;
mod demand;
pub(crate) mod failed;
mod from_slave;
mod hand_out;
mod handshake;
mod hungry;
mod incumbents;
mod journal;
mod kept;
pub(crate) mod known;
mod lacking;
pub(crate) mod logs;
mod lost;
mod meter;
mod quarantine;
mod results;
mod secured;
mod shared;
mod silence;
mod snapshot;
mod submit;
pub(crate) mod talks;
mod trail;
mod unsent;
mod why;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ringmw_codec::audit::Event;
use ringmw_codec::batch::{self, TaskBatchBuilder};
use ringmw_codec::control::{WITHDRAW_TASKS_MAX, Withdraw};
use ringmw_codec::frame::{Kind, LONG_BYTES_MIN};
use ringmw_codec::secret::{RECORD_PLAIN_BYTES_MAX, Secret};
use ringmw_sched::{
    AUTO, AlgorithmId, Group, Nanos, PACKETS_WEIGHED_FROM, Scheduler, SlaveId, SlaveMap, Unrunnable,
};

use crate::proto::config::{AlgorithmInfo, Config};
use crate::proto::conn::{ConnId, Effect};
use crate::proto::end::{CannotRun, End, LastSeen};
use crate::proto::incumbents::Incumbents;
use crate::proto::reason::InWords;
use crate::proto::series::Body;
use crate::proto::{SECOND, put};
use account::Account;
use checkpoints::Checkpoints;
pub(crate) use conn::SlaveInfo;
use conn::{Conn, Phase};
use connections::Spare;
use failed::Keeper;
use incumbents::Pace;
use journal::Recorder;
pub(crate) use kept::{CameOf, Returned};
use lacking::Lacking;
use logs::Logs;
use secured::{SEALED_AHEAD_MAX, frame_to_send};
pub(crate) use shared::Load;
use shared::Shares;
use talks::Talks;
pub use trail::Traffic;
use trail::Trail;
use unsent::AllUnsent;

/// A turn that took longer is a stall: one audit line, and it counts as so much silence.
pub(crate) const STALL: Nanos = SECOND;

/// The driver begins a turn at least this often, so that a longer gap is known to be a stall.
pub(crate) const TICK: Nanos = SECOND / 2;

/// How long a master that leaves waits for its slaves to go; their own limit for a running task is 1 s.
pub(crate) const SHUTDOWN_WAIT: Nanos = 2 * SECOND;

/// The master's protocol core.
pub struct MasterCore {
    config: Config,
    /// What its slaves prove to know.
    secret: Option<Secret>,
    /// Who waits for the answer to its proof, in the order in which they came.
    unanswered: VecDeque<ConnId>,
    /// Where what comes is opened.
    opened: Vec<u8>,
    /// From so many missing bytes on the rest of a frame is received into its own memory.
    long_from: usize,
    /// What it seals goes into records of so many bytes at most.
    record_bytes: usize,
    sched: Scheduler<Body>,
    conns: Vec<Option<Conn>>,
    /// Connection slots by slave.
    slots: SlaveMap,
    pending: VecDeque<ConnId>,
    pending_count: usize,
    accepting: bool,
    /// Accepting has failed: when it is tried again.
    accept_again: Option<Nanos>,
    /// When the trail was told of that last.
    shortage_told: Option<Nanos>,
    stopping: Option<bool>,
    batch: TaskBatchBuilder,
    /// Long arguments of the tasks in `batch`.
    batch_pieces: Vec<Bytes>,
    /// What is left of a buffer that is sent in parts.
    parts: VecDeque<Effect>,
    bests: Arc<Incumbents>,
    checkpoints: Checkpoints,
    talks: Talks,
    /// The version that the round of pushes was begun for.
    round: u64,
    pace: Pace,
    /// What [`Wanted::Auto`](crate::proto::config::Wanted::Auto) says, since when, and the highest that it would have said since then.
    wanted: (u64, Nanos, u64),
    /// Since when desired slaves are missing, if some are.
    missing_since: Option<Nanos>,
    dirty: Vec<u32>,
    effects: VecDeque<Effect>,
    ends: VecDeque<End>,
    trail: Trail,
    deadlines: BinaryHeap<Reverse<(Nanos, ConnId)>>,
    now: Nanos,
    awake: Nanos,
    /// Connections that became slaves in this turn: their welcome leaves at its end.
    welcomed: Vec<ConnId>,
    late: u64,
    /// The reserved slaves that had nothing to do when the trail named them last.
    reserved_idle: Vec<SlaveId>,
    /// When the trail may say again that slaves are hungry.
    hungry_said_again: Nanos,
    /// What has become of tasks and slaves so far.
    account: Account,
    /// What is kept for peers that have not read it.
    unsent: AllUnsent,
    /// Bytes that connections have left behind when they ended: see [`take_left_bytes`](Self::take_left_bytes).
    left_bytes: u64,
    /// Where the run is recorded.
    recorder: Option<Box<Recorder>>,
    /// What slaves that came back have kept, until it is taken.
    returned: Vec<Returned>,
    /// Which life of its run this is, for the names of tasks; 0 or 1 for the first.
    life: u32,
    shares: Shares,
    lacking: Lacking,
    logs: Logs,
    /// Keeps tasks that give no output.
    keeper: Option<Box<Keeper>>,
    spare: Spare,
    /// The traffic when a turn's cost was told last.
    weighed: Traffic,
}

/// What was cancelled since it was said last.
fn put_withdraw(cancelled: &mut Vec<u64>, out: &mut Vec<u8>) {
    for tasks in std::mem::take(cancelled).chunks(WITHDRAW_TASKS_MAX) {
        let tasks = tasks.to_vec();
        put(out, Kind::Withdraw, |out| Withdraw { tasks }.encode(out));
    }
}

impl MasterCore {
    /// A master at time `now` that nobody has connected to.
    pub fn new(config: Config, now: Nanos) -> Self {
        let sched = Scheduler::new(config.rules.sched, config.algorithms.len());
        MasterCore {
            trail: Trail::new(config.rules.level),
            account: Account::new(config.algorithms.len()),
            config,
            secret: None,
            unanswered: VecDeque::new(),
            opened: Vec::new(),
            long_from: LONG_BYTES_MIN,
            record_bytes: RECORD_PLAIN_BYTES_MAX,
            sched,
            conns: Vec::new(),
            slots: SlaveMap::default(),
            pending: VecDeque::new(),
            pending_count: 0,
            accepting: true,
            accept_again: None,
            shortage_told: None,
            stopping: None,
            batch: TaskBatchBuilder::new(),
            batch_pieces: Vec::new(),
            parts: VecDeque::new(),
            bests: Arc::default(),
            checkpoints: Checkpoints::default(),
            talks: Talks::default(),
            round: 0,
            pace: Pace::default(),
            wanted: (0, 0, 0),
            missing_since: None,
            dirty: Vec::new(),
            effects: VecDeque::new(),
            ends: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            now,
            awake: 0,
            welcomed: Vec::new(),
            late: 0,
            reserved_idle: Vec::new(),
            hungry_said_again: 0,
            unsent: AllUnsent::default(),
            left_bytes: 0,
            recorder: None,
            returned: Vec::new(),
            life: 0,
            shares: Shares::default(),
            lacking: Lacking::default(),
            logs: Logs::default(),
            keeper: None,
            spare: Spare::default(),
            weighed: Traffic::default(),
        }
    }

    /// A turn begins: from here on it is `now`.
    pub fn begin_turn(&mut self, now: Nanos) {
        let gap = now.saturating_sub(self.now);
        if gap > STALL {
            self.account.stalls += 1;
            self.trail.push(Event::Stall {
                ms: gap / 1_000_000,
            });
        }
        // Not nothing: where every turn is long, one that is silent for good would never be found.
        self.awake += gap.min(STALL);
        self.now = now;
        // None beats before it has its welcome, and that left after the master algorithm had its part, however long.
        for conn in std::mem::take(&mut self.welcomed) {
            let awake = self.awake;
            if let Some(state) = self.conn_mut(conn) {
                state.heard = awake;
            }
        }
        self.pace.refill(now);
        self.see_logs(now);
        self.trail.on_time(now, &mut self.conns);
        self.say_stuck();
    }

    /// What is known of an algorithm.
    pub(crate) fn info(&self, algorithm: AlgorithmId) -> &AlgorithmInfo {
        self.config.info(algorithm)
    }

    /// Whether it is to be told what its turns [spend](Self::on_spent): packets are sized by that where slaves are many.
    pub fn weighs_packets(&self) -> bool {
        self.config.rules.sched.task_group == AUTO && self.slots.len() >= PACKETS_WEIGHED_FROM
    }

    /// The driver's thread spent so long on a turn, the application's part left out. One in which no packet went out and
    /// none came in tells nothing of what packets cost.
    pub fn on_spent(&mut self, spent: Nanos) {
        let (before, now) = (self.weighed, self.trail.traffic);
        self.weighed = now;
        let packets_out = now.packets_out - before.packets_out;
        if packets_out > 0 || now.packets_in > before.packets_in {
            self.sched.learn_packet_costs(packets_out, spent);
        }
    }

    /// The scheduler, to look at.
    pub fn sched(&self) -> &Scheduler<Body> {
        &self.sched
    }

    /// The scheduler, for desires, targets and news; what it ends by that is collected.
    pub fn with_sched<T>(&mut self, f: impl FnOnce(&mut Scheduler<Body>) -> T) -> T {
        let value = f(&mut self.sched);
        self.collect_unrunnable();
        while let Some((slave, from, to)) = self.sched.poll_moved() {
            self.trail.push(Event::Group {
                slave: slave.0,
                from: trail::group(from),
                to: trail::group(to),
            });
        }
        value
    }

    /// The incumbents of the run.
    pub(crate) fn bests(&self) -> Arc<Incumbents> {
        Arc::clone(&self.bests)
    }

    /// What is known of a connected slave.
    pub fn slave(&self, id: SlaveId) -> Option<(&SlaveInfo, Group)> {
        let slot = self.slots.get(id)?;
        match &self.conns[slot as usize].as_ref()?.phase {
            Phase::Slave { info, .. } => Some((info, self.sched.group_of(id)?)),
            _ => None,
        }
    }

    /// The connected slaves, in the order in which they came.
    pub(crate) fn slave_ids(&self) -> Vec<SlaveId> {
        self.slots.sorted().into_iter().map(|(id, _)| id).collect()
    }

    /// Where the connection of a connected slave is.
    #[inline]
    fn slot_of(&self, slave: SlaveId) -> usize {
        let slot = self.slots.get(slave);
        slot.expect("a slave has its connection") as usize
    }

    /// Slaves that are connected.
    pub fn slaves(&self) -> usize {
        self.slots.len()
    }

    /// Writes a line of state if one is due and anything has changed; `load` says in how many of a thousand parts of the
    /// time since the last one the master's thread was busy.
    pub fn say_state(&mut self, load: impl FnOnce() -> Option<u64>) {
        if !self.trail.is_state_due() {
            return;
        }
        let need = self.need();
        let infos = self.config.algorithms.iter().enumerate();
        let queue = infos.filter_map(|(index, info)| {
            let queued = self.sched.pending(Some(AlgorithmId(index as u16)));
            (queued > 0).then(|| format!("{}={queued}", info.name))
        });
        let here = |group| u64::from(self.sched.acquired(group));
        let state = Event::RunState {
            queued: need.queued,
            running: self.sched.running(),
            done: self.account.sum(|tally| tally.done),
            failed: self.account.sum(|tally| tally.failed),
            ordered: here(Group::Ordered),
            intermingle: here(Group::Intermingle),
            unordered: here(Group::Unordered),
            busy: need.busy,
            desired: need.desired,
            load: None,
            queue: queue.collect(),
        };
        self.trail.say_run_state(state, load());
        self.say_reserved_idle();
    }

    /// Names the reserved slaves that have nothing to do, if they are others than the last time.
    fn say_reserved_idle(&mut self) {
        let idle: Vec<SlaveId> = self.sched.idle_reserved().collect();
        if idle != self.reserved_idle && !idle.is_empty() {
            self.trail.push(Event::ReservedIdle {
                count: idle.len() as u64,
                slaves: idle.iter().take(8).map(SlaveId::to_string).collect(),
            });
        }
        self.reserved_idle = idle;
    }

    /// From here on the last ends and losses are remembered one by one, for [`why`](Self::why).
    pub fn remember(&mut self) {
        self.account.memory.get_or_insert_default();
    }

    /// What went out and came in so far.
    pub fn traffic(&self) -> Traffic {
        self.trail.traffic
    }

    /// What queued tasks take, and how much they may.
    pub(crate) fn queued_bytes(&self) -> (u64, u64) {
        (
            self.sched.queued_bytes(),
            self.config.rules.sched.queued_bytes_max,
        )
    }

    /// How much more may be queued.
    pub(crate) fn queue_room(&self) -> u64 {
        let (bytes, bytes_max) = self.queued_bytes();
        bytes_max.saturating_sub(bytes + self.checkpoint_bytes())
    }

    /// Tasks of this algorithm that the connected slaves hold when all are busy.
    pub fn hands(&self, algorithm: AlgorithmId) -> usize {
        let packet_max =
            self.config.rules.sched.task_packet_bytes_max as usize / batch::TASK_ENTRY_BYTES;
        let hands = self.sched.hands_of(algorithm) as usize;
        self.slots.len() * hands.min(2 * packet_max)
    }

    /// The bytes at which a packet of tasks ends.
    pub(crate) fn packet_bytes_enough(&self) -> u32 {
        self.config.rules.sched.packet_bytes_enough()
    }

    // ---- effects

    /// The next effect of this turn.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(part) = self.parts.pop_front() {
            return Some(part);
        }
        while let Some(slot) = self.dirty.pop() {
            let Some(Some(state)) = self.conns.get_mut(slot as usize) else {
                continue;
            };
            if state.barred.is_some() {
                continue;
            }
            let conn = state.id;
            if !state.withdraw.is_empty() {
                put_withdraw(&mut state.withdraw, &mut state.out);
            }
            let has_answer = state.secured.as_ref().is_some_and(|it| it.has_answer());
            if !state.out.is_empty() || has_answer {
                if state.out_bytes() != state.unsent.in_out {
                    let of = (&self.config, &mut self.sched);
                    self.unsent.account(state, self.now, of);
                }
                let (out, pieces) = self.unsent.take_out(state, &self.config);
                if let Some(effect) = frame_to_send(state, &mut self.parts, out, pieces) {
                    return Some(effect);
                }
            }
            self.go_on_sealing(conn, SEALED_AHEAD_MAX);
            if let Some(part) = self.parts.pop_front() {
                return Some(part);
            }
        }
        let effect = self.effects.pop_front()?;
        if let Effect::Close {
            conn,
            graceful: true,
        } = effect
        {
            // All of it leaves before that.
            self.go_on_sealing(conn, usize::MAX);
            if let Some(part) = self.parts.pop_front() {
                self.effects.push_front(effect);
                return Some(part);
            }
        }
        if let Effect::Close { conn, .. } = effect {
            self.forget(conn);
        }
        Some(effect)
    }

    /// Whether [`poll_end`](Self::poll_end) has something.
    #[inline]
    pub(crate) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The next end, in the order in which they came: of one task, or of several of a packet.
    #[inline]
    pub fn poll_end(&mut self) -> Option<End> {
        self.ends.pop_front()
    }

    /// The lines for the trail since they were drained last.
    pub fn audit(&self) -> &[Event] {
        self.trail.lines()
    }

    /// Takes them.
    pub fn drain_audit(&mut self) -> std::vec::Drain<'_, Event> {
        self.trail.drain()
    }

    /// Adds a line to the trail, in order with the core's own.
    pub fn note(&mut self, event: Event) {
        self.trail.push(event);
    }

    /// When the next turn is due at the latest.
    pub fn next_deadline(&self) -> Nanos {
        let mut wait = TICK;
        if let Some(&Reverse((deadline, _))) = self.deadlines.peek() {
            wait = wait.min(deadline.saturating_sub(self.awake));
        }
        if self.pace.cursor.is_some() {
            wait = wait.min(SECOND / 200);
        }
        if self.unsent.has_far_behind() || self.has_pieces() || !self.unanswered.is_empty() {
            wait = 0;
        }
        let sched = &self.sched;
        for due in [
            sched.recall_due(),
            sched.duplicate_due(),
            sched.expire_due(),
            sched.quarantine_due(),
            sched.hungry_due(),
        ] {
            wait = due.map_or(wait, |due| wait.min(due.saturating_sub(self.now)));
        }
        self.now + wait
    }

    #[inline]
    fn collect_unrunnable(&mut self) {
        if self.sched.unrunnable() > 0 {
            self.take_unrunnable(None);
        }
    }

    /// They are, because this slave was lost.
    fn take_unrunnable(&mut self, last_seen: Option<&Arc<LastSeen>>) {
        while let Some(task) = self.sched.poll_unrunnable() {
            let last_seen = last_seen.cloned();
            self.end_unrunnable(CannotRun { task, last_seen });
        }
    }

    fn end_unrunnable(&mut self, CannotRun { task, last_seen }: CannotRun) {
        let why = InWords(task.reason, last_seen.as_deref());
        self.trail.on_unrunnable(task.id, why);
        self.keep_poisoned(&task, last_seen.as_deref());
        self.forget_checkpoints(task.id.seq(), 1);
        self.forget_talks(task.id.seq(), 1);
        let payload = task.payload.alone();
        let task = Unrunnable { payload, ..task };
        let end = End::Unrunnable(Box::new(CannotRun { task, last_seen }));
        self.trail.on_task_ended(&end);
        self.account.on_end(&end, self.now);
        self.ends.push_back(end);
    }

    fn conn(&self, conn: ConnId) -> Option<&Conn> {
        self.conns
            .get(conn.slot())?
            .as_ref()
            .filter(|state| state.id == conn)
    }

    #[inline]
    fn conn_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        conn::find(&mut self.conns, conn)
    }

    /// Something was put into its buffer.
    fn mark_dirty(&mut self, conn: ConnId) {
        self.dirty.push(conn.slot() as u32);
        self.account(conn);
    }

    /// Gives a connection a used buffer to fill if it has none.
    fn prepare_out(&mut self, slot: usize) {
        if let Some(Some(state)) = self.conns.get_mut(slot) {
            self.spare.lend(&mut state.out);
        }
    }
}
