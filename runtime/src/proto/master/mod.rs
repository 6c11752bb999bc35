//! The master's side of the protocol: connections become slaves, tasks become ends.
//!
//! A turn of the driver is: [`MasterCore::begin_turn`], the engine's completions through the
//! `on_…` methods, [`MasterCore::judge`], the application's own calls, [`MasterCore::hand_out`], then
//! all effects. Ends of tasks come out of [`MasterCore::poll_end`], each exactly once; the runtime
//! dispatches them to their call, map or queue.
//!
//! Two clocks: `now` is monotonic time; *awake* time stands still while the driver's thread was held
//! for more than [`STALL`], so that a slave is never judged by the master's own pause.

mod endings;
mod ends;
mod frames;
mod handshake;
mod pace;
mod pass;
mod trail;

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use ringmw_codec::audit::{Event, LossCause, TaskRanges};
use ringmw_codec::batch::{self, BOUND, MARKED, ResultStatus, TaskBatchBuilder, TaskBody};
use ringmw_codec::control::{
    Bests as BestKeys, Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, WITHDRAW_TASKS_MAX,
    Withdraw, Withdrawn,
};
use ringmw_codec::frame::{self, FrameError, FrameReader, Kind};
use ringmw_codec::handshake::{Fingerprint, Refusal};
use ringmw_sched::{
    AUTO, AlgorithmId, Departure, Group, Nanos, Owner, Scheduler, Series, SlaveId, SlaveMap,
    TaskId, TaskSpec, Verdict,
};

use super::{HANDSHAKES_MAX, SECOND, put};
use crate::io::engine::{Closed, ConnId};
use crate::master::Unrunnable;
pub use crate::proto::bytes::SmallBytes;
pub(crate) use crate::proto::series::Body;
use crate::typed::best::Incumbents;
pub(crate) use ends::CheckOutputs;
pub use ends::{AlgorithmInfo, End, Fate};
pub(crate) use ends::{Ends, RESULT_BYTES, TaskEnd};
use ends::{Packet, Results, Run, Runs};
use pace::{Pace, VISITS_PER_TURN};
pub use trail::{Level, Traffic};
use trail::{Meter, Trail};

/// A turn that took longer is a stall: one audit line, and no slave is judged by it.
pub(crate) const STALL: Nanos = SECOND;

/// The driver begins a turn at least this often, so that a longer gap is known to be a stall.
pub(crate) const TICK: Nanos = SECOND / 2;

/// How long a master that leaves waits for its slaves to go; their own limit for a running task is 1 s.
pub(crate) const SHUTDOWN_WAIT: Nanos = 2 * SECOND;

/// How long accepting pauses when it has failed: trying again at once would fail again, and spin.
const ACCEPT_PAUSE: Nanos = SECOND;

/// A lack of descriptors that lasts is a line of the trail this often.
const SHORTAGE_LINES_APART: Nanos = 60 * SECOND;

/// What a master needs to know before the first slave comes.
pub struct MasterConfig {
    /// The membership token, at most 255 bytes.
    pub member_id: Vec<u8>,
    /// The application's algorithms, types and build.
    pub fingerprint: Fingerprint,
    /// Accept slaves of another build.
    pub any_build: bool,
    /// Silence after which a slave is lost.
    pub client_timeout: Nanos,
    /// Largest payload of a packet of tasks, in bytes.
    pub tasks_bytes_max: u32,
    /// Largest payload of a packet of results, in bytes.
    pub results_bytes_max: u32,
    /// Tasks per packet; [`AUTO`]: by compute time.
    pub task_group: u32,
    /// A busy slave may have its next packet in hand, or several small ones.
    pub prefetch: bool,
    /// Tasks that run far longer than the median go to an idle slave too.
    pub duplicate_stragglers: bool,
    /// Results per packet; [`AUTO`]: a packet's results together, but none waits long.
    pub result_group: u32,
    /// Announced starts that a task may lose its slave in; 0 is no limit.
    pub crash_limit: u32,
    /// Bound of the queued tasks, their bookkeeping included, in bytes.
    pub queued_bytes_max: u64,
    /// The run's seed.
    pub seed: u64,
    /// The user's arguments, told to every slave.
    pub args: Vec<String>,
    /// How much the trail says of packets and tasks.
    pub level: Level,
    /// The algorithms.
    pub algorithms: Vec<AlgorithmInfo>,
}

impl MasterConfig {
    /// What is known of an algorithm.
    #[inline]
    fn info(&self, algorithm: AlgorithmId) -> &AlgorithmInfo {
        &self.algorithms[usize::from(algorithm.0)]
    }
}

/// What a master has to do with slaves that a batch system starts.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Demand {
    /// When the desire falls, idle unordered slaves are told to shut down. Not so in local mode.
    pub dismisses: bool,
    /// What is desired where the master algorithm never allocates.
    pub wanted: Wanted,
}

impl Default for Demand {
    /// Nobody is sent away, and nothing is desired that the master algorithm does not allocate.
    fn default() -> Self {
        Demand {
            dismisses: false,
            wanted: Wanted::Fixed(0),
        }
    }
}

/// The slaves that are desired where the master algorithm never allocates (`--mw-slaves-wanted`).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many.
    Fixed(u32),
    /// As many as the tasks that are queued or under way could use, up to this many.
    Auto(u32),
}

/// A desire that follows the queue falls only when the queue could use less for so long: slaves are dear to start.
const WANTED_FALLS_AFTER: Nanos = 30 * SECOND;

/// What the driver has to do.
#[derive(Debug)]
pub enum Effect {
    /// Write this buffer to this connection, after those before it.
    Send(ConnId, Vec<u8>),
    /// End this connection: after what was sent has been written, or at once.
    Close {
        /// Which one.
        conn: ConnId,
        /// Flush first.
        graceful: bool,
    },
    /// Begin or pause accepting connections.
    Accepting(bool),
}

/// What is known of a connected slave.
#[derive(Clone, Debug)]
pub struct SlaveInfo {
    /// Its address.
    pub address: SocketAddr,
    /// Its host's name.
    pub host: String,
    /// Its batch job, or empty.
    pub job: String,
    /// Its process there.
    pub pid: u32,
    /// When it connected.
    pub since: Nanos,
}

/// What the batch system should know: spec section 14.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// Slaves that are still missing.
    pub needed: u64,
    /// The sum of the desires.
    pub desired: u64,
    /// Slaves that are here.
    pub connected: u64,
    /// Slaves with work in their hands.
    pub busy: u64,
}

enum Phase {
    Handshake {
        since: Nanos,
    },
    Slave {
        id: SlaveId,
        info: Box<SlaveInfo>,
        told: u64,
        pushing: bool,
        leaving: bool,
    },
    /// Told why and closed; what still comes is not read.
    Dropped,
}

struct Conn {
    id: ConnId,
    peer: SocketAddr,
    phase: Phase,
    reader: FrameReader,
    heard: Nanos,
    /// The deadline that stands for it in the heap; others are stale.
    due: Nanos,
    frame_since: Option<Nanos>,
    out: Vec<u8>,
    withdraw: Vec<u64>,
    meter: Meter,
}

/// Why a connection of a slave ends, as the trail names it.
enum Cause {
    Eof,
    Reset(String),
    Timeout(String),
    Protocol(String),
    Goodbye {
        code: GoodbyeCode,
        begun: bool,
        reason: String,
    },
}

impl Cause {
    fn word(&self) -> LossCause {
        match self {
            Cause::Eof => LossCause::Eof,
            Cause::Reset(_) => LossCause::Reset,
            Cause::Timeout(_) => LossCause::Timeout,
            Cause::Protocol(_) => LossCause::Protocol,
            Cause::Goodbye {
                code: GoodbyeCode::Evicted,
                ..
            } => LossCause::Evicted,
            Cause::Goodbye { .. } => LossCause::Goodbye,
        }
    }

    fn detail(&self) -> String {
        match self {
            Cause::Eof => String::new(),
            Cause::Timeout(text)
            | Cause::Reset(text)
            | Cause::Protocol(text)
            | Cause::Goodbye { reason: text, .. } => text.clone(),
        }
    }

    /// An announced task is charged only where the slave itself was lost.
    fn departure(&self) -> Departure {
        match self {
            Cause::Eof | Cause::Reset(_) | Cause::Timeout(_) => Departure::Crashed,
            Cause::Protocol(_) => Departure::Excused,
            Cause::Goodbye { begun, .. } => Departure::Goodbye { begun: *begun },
        }
    }
}

/// The master's protocol core.
pub struct MasterCore {
    config: MasterConfig,
    sched: Scheduler<Body>,
    /// The task submitted last, and how many a run that begins with it may have.
    last: Option<(TaskId, u32)>,
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
    bests: Arc<Incumbents>,
    /// The version that the round of pushes was begun for.
    round: u64,
    pace: Pace,
    demand: Demand,
    /// What [`Wanted::Auto`] says, since when, and the highest that it would have said since then.
    wanted: (u64, Nanos, u64),
    dirty: Vec<u32>,
    effects: VecDeque<Effect>,
    ends: VecDeque<Ends>,
    trail: Trail,
    deadlines: BinaryHeap<Reverse<(Nanos, ConnId)>>,
    now: Nanos,
    awake: Nanos,
    late: u64,
    spare: Vec<Vec<u8>>,
    /// The sum of their capacities.
    spare_bytes: usize,
}

/// Buffers kept for reuse, no more than there are slaves, and the bytes of all of them: any may grow to the largest
/// packet. Every slave that comes brings one.
const SPARE_MAX: usize = 4_096;
const SPARE_BYTES_MAX: usize = 1 << 20;

impl MasterCore {
    /// A master at time `now` that nobody has connected to.
    pub fn new(config: MasterConfig, now: Nanos) -> Self {
        let sched = Scheduler::new(
            ringmw_sched::Config {
                task_group: config.task_group,
                crash_limit: config.crash_limit,
                packet_bytes_max: config.tasks_bytes_max,
                packet_bytes_base: batch::BATCH_OVERHEAD_BYTES as u32,
                queued_bytes_max: config.queued_bytes_max,
                prefetch: config.prefetch,
                take_back: true,
                duplicate_stragglers: config.duplicate_stragglers,
            },
            config.algorithms.len(),
        );
        MasterCore {
            trail: Trail::new(config.level),
            config,
            sched,
            last: None,
            conns: Vec::new(),
            slots: SlaveMap::default(),
            pending: VecDeque::new(),
            pending_count: 0,
            accepting: true,
            accept_again: None,
            shortage_told: None,
            stopping: None,
            batch: TaskBatchBuilder::new(),
            bests: Arc::default(),
            round: 0,
            pace: Pace::default(),
            demand: Demand::default(),
            wanted: (0, 0, 0),
            dirty: Vec::new(),
            effects: VecDeque::new(),
            ends: VecDeque::new(),
            deadlines: BinaryHeap::new(),
            now,
            awake: 0,
            late: 0,
            spare: Vec::new(),
            spare_bytes: 0,
        }
    }

    /// Without this, [`Demand::default`].
    pub fn set_demand(&mut self, demand: Demand) {
        self.demand = demand;
    }

    // ---- facts from the engine

    /// A turn begins: from here on it is `now`.
    pub fn begin_turn(&mut self, now: Nanos) {
        let gap = now.saturating_sub(self.now);
        if gap > STALL {
            self.trail.push(Event::Stall {
                ms: gap / 1_000_000,
            });
        } else {
            self.awake += gap;
        }
        self.now = now;
        self.pace.refill(now);
        self.trail.on_time(now, &mut self.conns);
    }

    /// A connection was accepted.
    pub fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        let slot = conn.slot();
        if slot >= self.conns.len() {
            self.conns.resize_with(slot + 1, || None);
        }
        let due = self.awake + super::HANDSHAKE_TIMEOUT;
        self.conns[slot] = Some(Conn {
            id: conn,
            peer,
            phase: Phase::Handshake { since: self.awake },
            reader: FrameReader::new(),
            heard: self.awake,
            due,
            frame_since: None,
            out: Vec::new(),
            withdraw: Vec::new(),
            meter: Meter::default(),
        });
        self.deadlines.push(Reverse((due, conn)));
        self.pending.push_back(conn);
        self.pending_count += 1;
        self.trail.push(Event::Client {
            from: peer.to_string(),
        });
        if self.pending_count >= HANDSHAKES_MAX {
            self.accept(false);
        }
    }

    /// Bytes came on a connection.
    pub fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(state) = self.conn(conn) else { return };
        if matches!(state.phase, Phase::Dropped) {
            return;
        }
        let awake = self.awake;
        let state = self.conn_mut(conn).expect("looked up above");
        state.heard = awake;
        let mut reader = std::mem::take(&mut state.reader);
        // Of a stranger nothing but a hello is kept, however large the packets of slaves may be.
        let stranger = Cell::new(matches!(state.phase, Phase::Handshake { .. }));
        let (tasks, results) = (self.config.tasks_bytes_max, self.config.results_bytes_max);
        let mut frames = 0u32;
        let fed = reader.feed(
            bytes,
            &|kind| match stranger.get() && kind != Kind::Hello {
                true => 0,
                false => kind.limit().bytes(tasks, results),
            },
            &mut |kind, payload| {
                frames += 1;
                let judged = self.on_frame(conn, kind, payload);
                // What follows a hello in one chunk is a slave's already, if it may join.
                stranger.set(false);
                match judged {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(stop) => ControlFlow::Break(stop),
                }
            },
        );
        let stop = match fed {
            Ok(ControlFlow::Continue(())) => None,
            Ok(ControlFlow::Break(stop)) => Some(stop),
            Err(FrameError::Oversized { kind, .. }) if stranger.get() && kind != Kind::Hello => {
                Some(too_early(kind))
            }
            Err(error) => Some(Stop::Offence(error.to_string())),
        };
        if let Some(state) = self.conn_mut(conn) {
            state.frame_since = match (reader.is_mid_frame(), state.frame_since) {
                (true, Some(since)) if frames == 0 => Some(since),
                (true, _) => Some(awake),
                (false, _) => None,
            };
            state.reader = reader;
        }
        match stop {
            Some(Stop::Offence(reason)) => self.on_offence(conn, reason),
            Some(Stop::Refused(refusal, host)) => self.refuse(conn, refusal, host),
            Some(Stop::Goodbye(goodbye)) => {
                let Goodbye {
                    code,
                    begun,
                    reason,
                } = goodbye;
                let cause = Cause::Goodbye {
                    code,
                    begun,
                    reason,
                };
                self.drop_slave(conn, cause);
            }
            None => {}
        }
    }

    /// A buffer was written; it comes back for reuse.
    pub fn on_sent(&mut self, conn: ConnId, mut buffer: Vec<u8>, drained: bool) {
        let bytes = self.spare_bytes + buffer.capacity();
        let enough = self.slots.len().min(SPARE_MAX);
        if self.spare.len() < enough && bytes <= SPARE_BYTES_MAX {
            buffer.clear();
            self.spare_bytes = bytes;
            self.spare.push(buffer);
        }
        if drained
            && let Some(Conn {
                phase: Phase::Slave { pushing, .. },
                ..
            }) = self.conn_mut(conn)
        {
            *pushing = false;
        }
    }

    /// The peer ended the connection, or it failed.
    pub fn on_closed(&mut self, conn: ConnId, why: Closed) {
        let cause = match why {
            Closed::Eof => Cause::Eof,
            Closed::Error(error) => Cause::Reset(error.to_string()),
        };
        match self.conn(conn).map(|c| &c.phase) {
            None => {}
            Some(Phase::Handshake { .. }) => {
                let reason = format!(
                    "ended before its handshake was complete ({})",
                    cause.word().word()
                );
                self.reject(conn, reason);
                self.end(conn, false);
            }
            Some(Phase::Slave { .. }) => self.drop_slave(conn, cause),
            Some(Phase::Dropped) => {}
        }
    }

    /// Accepting failed, for want of descriptors for example, and the engine has paused it; it is tried again after a
    /// connection was closed, or a second has passed.
    pub fn on_accept_error(&mut self, error: &std::io::Error) {
        self.accepting = false;
        self.accept_again = Some(self.now + ACCEPT_PAUSE);
        if self
            .shortage_told
            .is_none_or(|told| self.now >= told + SHORTAGE_LINES_APART)
        {
            self.shortage_told = Some(self.now);
            self.trail.push(Event::Note {
                text: format!("cannot accept: {error}; raise the limit of open files (ulimit -n)"),
            });
        }
    }

    /// Whether somebody is to be judged by what has not come: that needs all that has.
    pub fn must_judge(&self) -> bool {
        let due = self.deadlines.peek();
        due.is_some_and(|Reverse((due, _))| *due <= self.awake)
            || self.pending_count >= HANDSHAKES_MAX
    }

    /// Judges by time: call after all that had arrived was taken; `caught_up` says whether it was.
    pub fn judge(&mut self, caught_up: bool) {
        // A slave whose hands are empty may move to another group, and what was for it alone ends.
        self.collect_ended();
        if caught_up {
            self.judge_silence();
            self.judge_pending();
        }
        let may = self.accept_again.is_none_or(|again| self.now >= again);
        if !self.accepting && self.pending_count < HANDSHAKES_MAX && may {
            self.accept_again = None;
            self.accept(true);
        }
    }

    fn judge_silence(&mut self) {
        while let Some(&Reverse((deadline, conn))) = self.deadlines.peek() {
            if deadline > self.awake {
                return;
            }
            self.deadlines.pop();
            let Some(state) = self.conn(conn).filter(|state| state.due == deadline) else {
                continue;
            };
            let timeout = self.config.client_timeout;
            let (due, awaited) = match state.phase {
                Phase::Dropped => continue,
                Phase::Handshake { since } => {
                    (since + super::HANDSHAKE_TIMEOUT, Awaited::Handshake)
                }
                Phase::Slave { .. } => match state.frame_since {
                    Some(since) if since < state.heard => (since + timeout, Awaited::Frame),
                    _ => (state.heard + timeout, Awaited::AnyByte),
                },
            };
            if due > self.awake {
                self.conn_mut(conn).expect("looked up above").due = due;
                self.deadlines.push(Reverse((due, conn)));
            } else {
                self.on_overdue(conn, awaited);
            }
        }
    }

    /// The peer is told too: one that was only stopped, or is behind a bad line, else sees no more than an end.
    fn on_overdue(&mut self, conn: ConnId, awaited: Awaited) {
        let timeout_s = self.config.client_timeout / SECOND;
        let text = match awaited {
            Awaited::Handshake => format!(
                "The handshake was not complete {} s after the connection was accepted.",
                super::HANDSHAKE_TIMEOUT / SECOND
            ),
            Awaited::Frame => format!(
                "A frame that was begun was not complete within {timeout_s} s (--mw-client-timeout)."
            ),
            Awaited::AnyByte => format!("No byte came for {timeout_s} s (--mw-client-timeout)."),
        };
        let Some(state) = self.conn_mut(conn) else {
            return;
        };
        put(&mut state.out, Kind::Refuse, |out| {
            Refusal::Timeout(text.clone()).encode(out)
        });
        let is_handshake = matches!(state.phase, Phase::Handshake { .. });
        self.mark_dirty(conn);
        if is_handshake {
            self.reject(conn, text);
            self.end(conn, true);
        } else {
            self.drop_slave(conn, Cause::Timeout(text));
        }
    }

    /// At the limit of handshakes those that are unfinished 1 s after their accept give way, silent
    /// ones first.
    fn judge_pending(&mut self) {
        let mut over = (self.pending_count + 1).saturating_sub(HANDSHAKES_MAX);
        if over == 0 {
            return;
        }
        // Half of the room at once: a storm would else be let in one connection at a time.
        over += HANDSHAKES_MAX / 2;
        for silent in [true, false] {
            let old: Vec<ConnId> = self
                .pending
                .iter()
                .copied()
                .filter(|&conn| match self.conn(conn) {
                    Some(Conn {
                        phase: Phase::Handshake { since },
                        reader,
                        ..
                    }) => self.awake >= since + SECOND && (!silent || !reader.is_mid_frame()),
                    _ => false,
                })
                .take(over)
                .collect();
            over -= old.len();
            for conn in old {
                self.reject(
                    conn,
                    "gave way: too many handshakes are under way".to_owned(),
                );
                self.end(conn, false);
            }
        }
    }

    // ---- the application

    /// Submits a task; its body is `body`.
    pub fn submit(&mut self, spec: TaskSpec, body: SmallBytes) -> TaskId {
        let id = self.sched.submit(spec, body.into(), self.now);
        let most = self.sched.run_most(spec.algorithm, spec.bytes);
        self.last = (most > 1).then_some((id, most));
        self.collect_ended();
        id
    }

    /// Submits a task in a run with the one submitted last. `None`: they are not alike, and it is to be submitted by
    /// itself.
    ///
    /// A run is no longer than a packet: one that goes out whole is not split.
    #[inline]
    pub fn submit_next(&mut self, spec: &TaskSpec, body: &TaskBody<'_>) -> Option<TaskId> {
        let (last, most) = self.last?;
        if body.is_tagged() {
            return None;
        }
        let push = |run: &mut Body| run.push(body, most);
        let id = self.sched.submit_next(last, most, spec, self.now, push)?;
        self.last = Some((id, most));
        Some(id)
    }

    /// How many tasks a run may have whose first has this body: as many as a packet.
    pub(crate) fn run_most(&self, algorithm: AlgorithmId, body: &TaskBody<'_>) -> u32 {
        self.sched.run_most(algorithm, packet_bytes(body))
    }

    /// Submits a run of tasks with the default policy. `told` hears of the first of each run that it becomes, and how
    /// many tasks that has: all of them, or, where not all may be queued, one by one.
    pub(crate) fn submit_run(
        &mut self,
        algorithm: AlgorithmId,
        run: Body,
        owner: Owner,
        mut told: impl FnMut(TaskId, u32),
    ) {
        let (tasks, spec) = (
            run.tasks(),
            TaskSpec::new(algorithm, owner, run.packet_bytes()),
        );
        match self.sched.submit_run(spec, run, self.now) {
            Ok(first) => {
                self.last = None;
                told(first, tasks);
            }
            Err(mut run) => {
                while run.tasks() > 1 {
                    let one = run.split_front(1).one();
                    told(self.submit(spec, one), 1);
                }
                told(self.submit(spec, run.one()), 1);
            }
        }
    }

    /// Takes a task back; the end that it is told with, or `None` if it has ended already.
    pub fn cancel(&mut self, id: TaskId) -> Option<End> {
        let cancelled = self.sched.cancel(id)?;
        self.collect_withdrawals();
        self.trail.on_cancelled();
        self.trail
            .on_task_ended(id, &Fate::Cancelled, cancelled.held_by);
        Some(End {
            id,
            info: *self.config.info(cancelled.algorithm),
            algorithm: cancelled.algorithm,
            owner: cancelled.owner,
            body: cancelled.payload.one(),
            fate: Fate::Cancelled,
        })
    }

    /// Slaves hear of the tasks that they are to drop.
    fn collect_withdrawals(&mut self) {
        while let Some((slave, task)) = self.sched.poll_withdrawal() {
            if let Some(slot) = self.slots.get(slave)
                && let Some(Some(state)) = self.conns.get_mut(slot as usize)
            {
                state.withdraw.push(task);
                let conn = state.id;
                self.mark_dirty(conn);
            }
        }
    }

    /// The scheduler, to look at.
    pub fn sched(&self) -> &Scheduler<Body> {
        &self.sched
    }

    /// The scheduler, for desires, targets and news; what it ends by that is collected.
    pub fn with_sched<T>(&mut self, f: impl FnOnce(&mut Scheduler<Body>) -> T) -> T {
        let value = f(&mut self.sched);
        self.collect_ended();
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

    /// Ends the run: nothing is handed out any more and every slave is told.
    pub fn shutdown(&mut self, finished: bool) {
        if self.stopping.is_some() {
            return;
        }
        self.stopping = Some(finished);
        self.sched.stop();
        self.trail.settle_cancelled();
        self.trail.push(Event::ShutdownBegun {
            slaves: self.slots.len() as u64,
            finished,
        });
        for (_, slot) in self.slots.sorted() {
            self.tell_shutdown(slot as usize, finished);
        }
    }

    /// Where the connection of a connected slave is.
    #[inline]
    fn slot_of(&self, slave: SlaveId) -> usize {
        let slot = self.slots.get(slave);
        slot.expect("a slave has its connection") as usize
    }

    fn tell_shutdown(&mut self, slot: usize, finished: bool) {
        let Some(Some(state)) = self.conns.get_mut(slot) else {
            return;
        };
        let conn = state.id;
        if let Phase::Slave { leaving, .. } = &mut state.phase {
            *leaving = true;
            put(&mut state.out, Kind::Shutdown, |out| {
                Shutdown { finished }.encode(out)
            });
            self.mark_dirty(conn);
        }
    }

    /// Slaves that are connected.
    pub fn slaves(&self) -> usize {
        self.slots.len()
    }

    /// What went out and came in so far.
    pub fn traffic(&self) -> Traffic {
        self.trail.traffic
    }

    /// Tasks of this algorithm that the connected slaves hold when all are busy.
    pub fn hands(&self, algorithm: AlgorithmId) -> usize {
        let packet_max = self.config.tasks_bytes_max as usize / batch::TASK_ENTRY_BYTES;
        let hands = self.sched.hands_of(algorithm) as usize;
        self.slots.len() * hands.min(2 * packet_max)
    }

    /// For the resource file.
    pub fn need(&self) -> Need {
        let connected = self.slots.len() as u64;
        let (needed, desired) = if self.sched.has_allocated() {
            let desired = [Group::Ordered, Group::Intermingle, Group::Unordered]
                .into_iter()
                .map(|group| u64::from(self.sched.desired(group)))
                .sum();
            (self.sched.slaves_needed(), desired)
        } else {
            let desired = match self.demand.wanted {
                Wanted::Fixed(slaves) => u64::from(slaves),
                Wanted::Auto(_) => self.wanted.0,
            };
            (desired.saturating_sub(connected), desired)
        };
        Need {
            needed,
            desired,
            connected,
            busy: self.sched.busy() as u64,
        }
    }

    /// What the queue could use now; the highest of the last while stands.
    fn follow_queue(&mut self) {
        let Wanted::Auto(most) = self.demand.wanted else {
            return;
        };
        // Where packets find their own size, a slave is of use with a single task.
        let group = match self.config.task_group {
            AUTO => 1,
            group => u64::from(group),
        };
        let queued = self.sched.pending(None).div_ceil(group);
        let useful = (queued + self.sched.busy() as u64).min(u64::from(most));
        let (stands, since, highest) = self.wanted;
        self.wanted = if useful >= stands {
            (useful, self.now, 0)
        } else if self.now.saturating_sub(since) >= WANTED_FALLS_AFTER {
            (highest.max(useful), self.now, 0)
        } else {
            (stands, since, highest.max(useful))
        };
    }

    /// Slaves that nobody desires any more go.
    fn dismiss(&mut self) {
        while let Some(slave) = self.sched.dismiss() {
            let slot = self.slot_of(slave);
            self.trail.push(Event::Dismissed { slave: slave.0 });
            self.tell_shutdown(slot, true);
        }
    }

    // ---- effects

    /// The next effect of this turn.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        while let Some(slot) = self.dirty.pop() {
            let Some(Some(state)) = self.conns.get_mut(slot as usize) else {
                continue;
            };
            if !state.withdraw.is_empty() {
                for tasks in std::mem::take(&mut state.withdraw).chunks(WITHDRAW_TASKS_MAX) {
                    let tasks = tasks.to_vec();
                    put(&mut state.out, Kind::Withdraw, |out| {
                        Withdraw { tasks }.encode(out)
                    });
                }
            }
            if !state.out.is_empty() {
                return Some(Effect::Send(state.id, std::mem::take(&mut state.out)));
            }
        }
        let effect = self.effects.pop_front()?;
        if let Effect::Close { conn, .. } = effect {
            self.forget(conn);
        }
        Some(effect)
    }

    /// The next end of a task.
    pub fn poll_end(&mut self) -> Option<End> {
        loop {
            if let Some(end) = self.ends.front_mut()?.next_end() {
                return Some(end.into_end());
            }
            self.ends.pop_front();
        }
    }

    /// Whether [`poll_ends`](Self::poll_ends) has something.
    #[inline]
    pub(crate) fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The next ends, in the order in which they came.
    pub(crate) fn poll_ends(&mut self) -> Option<Ends> {
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
        for due in [self.sched.recall_due(), self.sched.duplicate_due()] {
            wait = due.map_or(wait, |due| wait.min(due.saturating_sub(self.now)));
        }
        self.now + wait
    }

    #[inline]
    fn collect_ended(&mut self) {
        if self.sched.ended() > 0 {
            self.take_ended();
        }
    }

    fn take_ended(&mut self) {
        while let Some(ended) = self.sched.poll_ended() {
            let ringmw_sched::Unrunnable {
                id,
                algorithm,
                owner,
                policy:
                    ringmw_sched::Policy {
                        to,
                        do_it_anyway,
                        retry,
                    },
                payload,
                reason,
            } = ended;
            self.trail.on_unrunnable(id, Unrunnable(reason));
            let fate = Fate::Unrunnable {
                reason,
                to,
                do_it_anyway,
                retry,
            };
            self.trail.on_task_ended(id, &fate, None);
            self.ends.push_back(Ends::one(End {
                id,
                algorithm,
                info: *self.config.info(algorithm),
                owner,
                body: payload.one(),
                fate,
            }));
        }
    }

    fn accept(&mut self, on: bool) {
        self.accepting = on;
        self.effects.push_back(Effect::Accepting(on));
    }

    fn conn(&self, conn: ConnId) -> Option<&Conn> {
        self.conns
            .get(conn.slot())?
            .as_ref()
            .filter(|state| state.id == conn)
    }

    fn conn_mut(&mut self, conn: ConnId) -> Option<&mut Conn> {
        self.conns
            .get_mut(conn.slot())?
            .as_mut()
            .filter(|state| state.id == conn)
    }

    fn mark_dirty(&mut self, conn: ConnId) {
        self.dirty.push(conn.slot() as u32);
    }

    /// Gives a connection a used buffer to fill if it has none.
    fn prepare_out(&mut self, slot: usize) {
        if let Some(Some(state)) = self.conns.get_mut(slot)
            && state.out.capacity() == 0
            && let Some(spare) = self.spare.pop()
        {
            self.spare_bytes -= spare.capacity();
            state.out = spare;
        }
    }
}

/// What a peer owes by a deadline.
enum Awaited {
    Handshake,
    Frame,
    AnyByte,
}

/// What a task of this body adds to a packet by itself.
#[inline]
pub(crate) fn packet_bytes(body: &TaskBody<'_>) -> u32 {
    u32::try_from(body.encoded_bytes() + batch::TASK_ENTRY_BYTES).unwrap_or(u32::MAX)
}

/// What has come of the results of a packet so far.
#[derive(Default)]
struct Tally {
    accepted: u64,
    failed: u64,
    late: u64,
    compute: Nanos,
    /// Accepted ones of this algorithm that are told to this owner, and have not been put with the ends yet.
    done: Runs,
    of: Option<(Owner, AlgorithmId)>,
    /// A copy of what the outputs are read from, made with the first result: none may pin a receive buffer.
    bodies: Option<SmallBytes>,
}

/// Why the rest of a chunk is not read.
enum Stop {
    Offence(String),
    Refused(Refusal, String),
    Goodbye(Goodbye),
}

fn too_early(kind: Kind) -> Stop {
    offence(format!("{kind:?} before the handshake"))
}

fn offence(reason: impl ToString) -> Stop {
    Stop::Offence(reason.to_string())
}

/// Appends the keys that this slave has not been told.
///
/// The master alone tells a key, and only once its witness is here: else a slave that dies between the two leaves a
/// bound whose solution nobody has.
fn tell_bests(state: &mut Conn, bests: &Incumbents, bytes_max: u32) {
    let Phase::Slave { told, .. } = &mut state.phase else {
        return;
    };
    if *told < bests.version() {
        let entries = bests.since(*told);
        *told = bests.version();
        // The slave reads no larger packet than it was told of.
        let entries_max = (bytes_max as usize).saturating_sub(4) / BestKeys::ENTRY_BYTES;
        for entries in entries.chunks(entries_max.max(1)) {
            let entries = entries.to_vec();
            put(&mut state.out, Kind::Bests, |out| {
                BestKeys { entries }.encode(out);
            });
        }
    }
}
