//! The observer: reads every frame that the master sends and hears, knows from that alone what must become of
//! every task, and holds the master to it.
//!
//! It shares the decoders with the cores and nothing else: tasks are a map, a slave's hands a list. What it
//! demands after every turn is the law: what must have ended has ended, what must not is live.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::ops::ControlFlow;

use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::batch::{
    self, BATCH_OVERHEAD_BYTES, BOUND, ResultStatus, TaskBody, encode_task_body,
};
use ringmw_codec::control::{
    Bests, Goodbye, Offer, Recall, Returned, Shutdown, Starting, Withdraw, Withdrawn,
};
use ringmw_codec::frame::{self, FrameReader, Kind};
use ringmw_codec::handshake::{Hello, Welcome};
use ringmw_sched::{
    AUTO, AlgorithmId, Departure, Group, Nanos, Owner, Reason, Scheduler, SlaveId, TaskId,
    TaskSpec, short_tasks_max,
};

use super::coverage::{Coverage, Happening, Standing};
use crate::engine::{Closed, ConnId};
use crate::proto::master::{
    AlgorithmInfo, Body, End, Fate, MasterCore, RESULT_BYTES, STALL, SmallBytes, TICK,
};
use crate::proto::{HANDSHAKE_TIMEOUT, SECOND};

/// The most tasks of a packet that is sized by compute time.
const AUTO_TASKS_MAX: usize = 1_000;

/// The limits that the observer holds the master to.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) member_id: Vec<u8>,
    pub(super) version: String,
    pub(super) client_timeout: Nanos,
    pub(super) tasks_bytes_max: u32,
    pub(super) results_bytes_max: u32,
    pub(super) task_group: u32,
    pub(super) prefetch: bool,
    pub(super) duplicate_stragglers: bool,
    pub(super) result_group: u32,
    pub(super) crash_limit: u32,
    pub(super) queued_bytes_max: u64,
    pub(super) algorithms: Vec<AlgorithmInfo>,
}

/// How a task must end, or has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Must {
    Done { slave: SlaveId, output: SmallBytes },
    Failed { slave: SlaveId, bytes: usize },
    Unrunnable(Reason),
    Cancelled,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Queued,
    Held(SlaveId),
    Ended,
}

#[derive(Debug)]
struct Task {
    /// `None` if it came through the typed handle.
    id: Option<TaskId>,
    spec: TaskSpec,
    body: SmallBytes,
    place: Place,
    /// A second slave that has it too.
    twin: Option<SlaveId>,
    /// A slave gave it back: it is queued before all others.
    returned: bool,
    /// Only the slave it is addressed to may run it.
    bound: bool,
    /// It has been handed out before.
    marked: bool,
    /// It was bound and is for any slave now.
    rerouted: bool,
    /// The slave it is addressed to was in this stint of its group when the task came.
    stint: u32,
    crashes: u32,
    must: Option<Must>,
    told: bool,
}

impl Task {
    fn line(&self) -> Line {
        (
            self.spec.policy.to.map(|to| (to, self.stint)),
            self.spec.owner == Owner::Queue,
        )
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Live,
    Withdrawn,
    Begun,
}

#[derive(Debug)]
struct Slave {
    conn: ConnId,
    hands: VecDeque<(u64, Hold)>,
    /// The tasks of the packet that went to it last.
    packet: Vec<u64>,
    announced: Option<u64>,
    /// Withdrawals that must be sent before the turn ends.
    withdraw: Vec<u64>,
    /// It was asked for tasks that it has not begun.
    asked: bool,
    leaving: bool,
    /// It moves to unordered when its hands are empty.
    freed: bool,
    group: Group,
    stint: u32,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Phase {
    Handshake,
    Slave(SlaveId),
    Dropped,
}

struct Conn {
    peer: String,
    phase: Phase,
    reader: FrameReader,
    heard: Nanos,
    frame_since: Option<Nanos>,
    /// The master has closed it and is told nothing more.
    closed: bool,
    since: Nanos,
    down: FrameReader,
}

/// Hand-outs that keep their order: of one address and stint, of the queue or not.
type Line = (Option<(SlaveId, u32)>, bool);

pub(super) struct Law {
    limits: Limits,
    tasks: BTreeMap<u64, Task>,
    slaves: BTreeMap<SlaveId, Slave>,
    gone: BTreeMap<SlaveId, Gone>,
    slaves_ever: u32,
    conns: BTreeMap<ConnId, Conn>,
    /// What went out in this turn for the first time: the last of each line.
    lines: BTreeMap<Line, u64>,
    /// Whether tasks that were never handed out before went to any slave in this turn, of flows and of the queue.
    fresh: [bool; 2],
    marked: BTreeSet<(ConnId, u64)>,
    /// What was handed out as for its slave alone.
    bound: BTreeSet<(SlaveId, u64)>,
    liars: BTreeSet<ConnId>,
    queued_bytes: u64,
    now: Nanos,
    awake: Nanos,
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
}

/// What is remembered of a slave that went, until its line in the trail has been read.
#[derive(Debug)]
struct Gone {
    charged: Option<u64>,
    excused: bool,
    recycled: u64,
    conn: ConnId,
    said: bool,
}

/// Of longer tasks a slave gets no third packet; twice what the scheduler says, since it may know the mean better.
const SHORT_MEAN_MAX: Nanos = 500_000;

fn record_bytes(spec: &TaskSpec) -> u64 {
    u64::from(spec.bytes) + Scheduler::<Body>::RECORD_BYTES
}

impl Law {
    pub(super) fn new(limits: Limits, lenient: bool) -> Self {
        Law {
            limits,
            tasks: BTreeMap::new(),
            slaves: BTreeMap::new(),
            gone: BTreeMap::new(),
            slaves_ever: 0,
            conns: BTreeMap::new(),
            lines: BTreeMap::new(),
            fresh: [false; 2],
            marked: BTreeSet::new(),
            bound: BTreeSet::new(),
            liars: BTreeSet::new(),
            queued_bytes: 0,
            now: 0,
            awake: 0,
            caught_up: true,
            stopped: false,
            keys: Vec::new(),
            lenient,
            coverage: Coverage::default(),
            late: 0,
            several: 0,
            means: BTreeMap::new(),
            told: 0,
        }
    }

    // ---- what the master is told

    pub(super) fn on_turn(&mut self, now: Nanos) {
        let gap = now - self.now;
        if gap <= STALL {
            self.awake += gap;
        }
        self.now = now;
    }

    pub(super) fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        let fresh = Conn {
            peer: peer.to_string(),
            phase: Phase::Handshake,
            reader: FrameReader::new(),
            heard: self.awake,
            frame_since: None,
            closed: false,
            since: self.awake,
            down: FrameReader::new(),
        };
        self.conns.insert(conn, fresh);
    }

    pub(super) fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        if state.phase == Phase::Dropped {
            self.see(conn, Happening::Bytes);
            return;
        }
        state.heard = self.awake;
        let mut reader = std::mem::take(&mut state.reader);
        let limits = (self.limits.tasks_bytes_max, self.limits.results_bytes_max);
        let limit = |kind: Kind| match kind {
            Kind::Tasks | Kind::Bests => limits.0,
            Kind::Results | Kind::Offer => limits.1,
            other => frame::control_limit(other).unwrap_or(0),
        };
        // Of a stranger nothing but a hello is kept.
        let stranger = Cell::new(self.conns[&conn].phase == Phase::Handshake);
        let limit = |kind: Kind| match stranger.get() && kind != Kind::Hello {
            true => 0,
            false => limit(kind),
        };
        let mut frames = 0;
        let flow = reader.feed(bytes, &limit, &mut |kind, payload| {
            frames += 1;
            stranger.set(false);
            match self.on_frame(conn, kind, payload) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        let awake = self.awake;
        let state = self.conns.get_mut(&conn).expect("looked up above");
        state.frame_since = match (reader.is_mid_frame(), state.frame_since) {
            (true, Some(since)) if frames == 0 => Some(since),
            (true, _) => Some(awake),
            (false, _) => None,
        };
        state.reader = reader;
        if flow.is_err() {
            self.on_offence(conn);
        }
    }

    pub(super) fn on_closed(&mut self, conn: ConnId, why: &Closed) {
        let happening = match why {
            Closed::Eof => Happening::Eof,
            Closed::Error(_) => Happening::Reset,
        };
        self.see(conn, happening);
        self.lose(conn, Departure::Crashed);
    }

    /// The master closes a connection.
    pub(super) fn on_close(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            assert_eq!(state.phase, Phase::Dropped, "{conn} is closed");
            state.closed = true;
        }
    }

    /// All that had arrived was taken, or not.
    pub(super) fn on_taken(&mut self, caught_up: bool) {
        self.caught_up = caught_up;
    }

    // ---- frames of slaves

    /// False: the connection is dropped for it.
    fn on_frame(&mut self, conn: ConnId, kind: Kind, payload: &[u8]) -> bool {
        let id = match self.conns[&conn].phase {
            Phase::Slave(id) => id,
            Phase::Handshake if kind == Kind::Hello => return self.on_hello(conn, payload),
            _ => {
                self.on_offence(conn);
                return false;
            }
        };
        let good = match kind {
            Kind::Heartbeat => {
                self.see(conn, Happening::Heartbeat);
                true
            }
            Kind::Results => self.on_results(conn, id, payload),
            Kind::Withdrawn => self.on_withdrawn(conn, id, payload),
            Kind::Returned => self.on_returned(conn, id, payload),
            Kind::Starting => self.on_starting(conn, id, payload),
            Kind::Offer => self.on_offer(conn, payload),
            Kind::Goodbye => match Goodbye::decode(payload) {
                Ok(goodbye) => {
                    self.see(conn, Happening::Goodbye);
                    self.lose(
                        conn,
                        Departure::Goodbye {
                            begun: goodbye.begun,
                        },
                    );
                    return false;
                }
                Err(_) => false,
            },
            _ => false,
        };
        if !good {
            self.on_offence(conn);
        }
        good
    }

    fn on_hello(&mut self, conn: ConnId, payload: &[u8]) -> bool {
        let good = Hello::decode(payload).is_ok_and(|hello| {
            hello.member_id == self.limits.member_id
                && hello.fingerprint.app_version == self.limits.version
        });
        let happening = match good {
            true => Happening::Hello,
            false => Happening::BadHello,
        };
        self.see(conn, happening);
        if good {
            let id = SlaveId(self.slaves_ever);
            self.slaves_ever += 1;
            self.conns.get_mut(&conn).expect("it speaks").phase = Phase::Slave(id);
            let slave = Slave {
                conn,
                hands: VecDeque::new(),
                packet: Vec::new(),
                announced: None,
                withdraw: Vec::new(),
                asked: false,
                leaving: self.stopped,
                freed: false,
                group: Group::Unordered,
                stint: 0,
            };
            self.slaves.insert(id, slave);
        } else {
            self.conns.get_mut(&conn).expect("it speaks").phase = Phase::Dropped;
        }
        good
    }

    fn on_results(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(view) = batch::result_batch(payload) else {
            return false;
        };
        let results = view
            .iter()
            .flat_map(|(entry, body)| (0..entry.count).map(move |index| (entry, body, index)));
        for (entry, body, index) in results {
            let (compute, body) = entry.element(body, index);
            let Some(&(task, hold)) = self.slaves[&id].hands.front() else {
                return false;
            };
            if task != entry.task + u64::from(index) {
                return false;
            }
            if hold != Hold::Live {
                self.see(conn, Happening::Late);
                self.answered(id);
                self.late += 1;
                self.on_hands(id);
                continue;
            }
            let algorithm = self.tasks[&task].spec.algorithm;
            let done = entry.status == ResultStatus::Done;
            let check = self.limits.algorithms[usize::from(algorithm.0)].check_outputs;
            if algorithm.0 != entry.algorithm || (done && check(body, 1, 0).is_err()) {
                return false;
            }
            self.see(
                conn,
                if done {
                    Happening::Result
                } else {
                    Happening::Failed
                },
            );
            let mean = self.means.entry(algorithm.0).or_insert(compute);
            *mean = *mean - *mean / 16 + compute / 16;
            self.answered(id);
            self.drop_twin(task, id);
            let must = match done {
                true => Must::Done {
                    slave: id,
                    output: SmallBytes::copy_from_slice(body),
                },
                false => Must::Failed {
                    slave: id,
                    bytes: body.len(),
                },
            };
            self.end(task, must);
            self.on_hands(id);
        }
        true
    }

    fn answered(&mut self, id: SlaveId) {
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        slave.hands.pop_front();
        slave.announced = None;
    }

    fn on_withdrawn(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(withdrawn) = Withdrawn::decode(payload) else {
            return false;
        };
        self.see(conn, Happening::Withdrawn);
        for (task, begun) in withdrawn.tasks {
            let slave = self.slaves.get_mut(&id).expect("it speaks");
            let found = slave
                .hands
                .iter()
                .position(|held| *held == (task, Hold::Withdrawn));
            let Some(at) = found else { return false };
            if begun {
                slave.hands[at].1 = Hold::Begun;
            } else {
                slave.hands.remove(at);
                if at == 0 {
                    slave.announced = None;
                }
            }
            self.on_hands(id);
        }
        true
    }

    /// Who else has a task that `id` has answered is told to drop it.
    fn drop_twin(&mut self, seq: u64, id: SlaveId) {
        let task = self.tasks.get_mut(&seq).expect("it was handed out");
        let (Some(twin), Place::Held(first)) = (task.twin.take(), task.place) else {
            return;
        };
        self.withdraw(if twin == id { first } else { twin }, seq);
    }

    fn withdraw(&mut self, id: SlaveId, seq: u64) {
        let slave = self.slaves.get_mut(&id).expect("it holds the task");
        let held = slave.hands.iter_mut().find(|held| held.0 == seq);
        held.expect("it holds the task").1 = Hold::Withdrawn;
        slave.withdraw.push(seq);
    }

    /// A slave has a task no more, and had not answered it. True: nobody else has it.
    fn let_go(&mut self, seq: u64, id: SlaveId) -> bool {
        let task = self.tasks.get_mut(&seq).expect("it was handed out");
        let Some(twin) = task.twin.take() else {
            return true;
        };
        if twin != id {
            task.place = Place::Held(twin);
        }
        false
    }

    fn on_returned(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(returned) = Returned::decode(payload) else {
            return false;
        };
        if !std::mem::take(&mut self.slaves.get_mut(&id).expect("it speaks").asked) {
            return false;
        }
        self.see(conn, Happening::Returned);
        for seq in returned.tasks {
            let slave = self.slaves.get_mut(&id).expect("it speaks");
            let Some(at) = slave.hands.iter().position(|held| held.0 == seq) else {
                return false;
            };
            assert!(
                slave.announced != Some(seq) || self.liars.contains(&conn),
                "{id} gives TASK-{seq} back, which it has announced"
            );
            let bound = self.bound.contains(&(id, seq));
            let hold = slave.hands[at].1;
            if hold == Hold::Begun || bound {
                return false;
            }
            slave.hands.remove(at);
            if at == 0 {
                slave.announced = None;
            }
            if hold == Hold::Live && self.let_go(seq, id) {
                let task = self.tasks.get_mut(&seq).expect("it was handed out");
                (task.place, task.returned) = (Place::Queued, true);
                self.queued_bytes += record_bytes(&task.spec);
                self.coverage.returned();
            }
        }
        self.on_hands(id);
        true
    }

    fn on_starting(&mut self, conn: ConnId, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(Starting { task }) = Starting::decode(payload) else {
            return false;
        };
        self.see(conn, Happening::Starting);
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        if slave.hands.front().is_none_or(|front| front.0 != task) {
            return false;
        }
        let before = slave.announced.replace(task);
        assert!(before.is_none() || before == Some(task));
        true
    }

    fn on_offer(&mut self, conn: ConnId, payload: &[u8]) -> bool {
        let Ok(offer) = Offer::decode(payload) else {
            return false;
        };
        let Some(keys) = self.keys.get_mut(offer.best as usize) else {
            return self.lenient;
        };
        if crate::wire::check::<Vec<u64>>(offer.witness).is_err() {
            return false;
        }
        keys.push(offer.key);
        self.see(conn, Happening::Offer);
        true
    }

    /// From now on this peer may say anything.
    pub(super) fn on_liar(&mut self, conn: ConnId) {
        self.liars.insert(conn);
    }

    fn on_offence(&mut self, conn: ConnId) {
        let honest =
            matches!(self.conns[&conn].phase, Phase::Slave(_)) && !self.liars.contains(&conn);
        assert!(!honest, "an honest slave on {conn} commits an offence");
        self.see(conn, Happening::Offence);
        self.lose(conn, Departure::Excused);
    }

    /// A slave that is freed moves when its hands are empty.
    fn on_hands(&mut self, id: SlaveId) {
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        if slave.freed && slave.hands.is_empty() {
            (slave.freed, slave.group) = (false, Group::Unordered);
            slave.stint += 1;
            self.reroute(id, Reason::SlaveTakesNoOrdered(id));
        }
    }

    // ---- ends

    fn end(&mut self, seq: u64, must: Must) {
        let task = self.tasks.get_mut(&seq).expect("only known tasks end");
        assert!(
            task.must.is_none(),
            "TASK-{seq} ends a second time: {:?}, then {must:?}",
            task.must
        );
        if task.place == Place::Queued {
            self.queued_bytes -= record_bytes(&task.spec);
        }
        task.place = Place::Ended;
        let of_queue = task.spec.owner == Owner::Queue;
        self.coverage.end(&must, of_queue, task.marked);
        task.must = Some(must);
    }

    /// A connection is over.
    fn lose(&mut self, conn: ConnId, departure: Departure) {
        let state = self
            .conns
            .get_mut(&conn)
            .expect("only known connections end");
        let Phase::Slave(id) = std::mem::replace(&mut state.phase, Phase::Dropped) else {
            return;
        };
        let slave = self.slaves.remove(&id).expect("its connection ends once");
        let excused = departure != Departure::Crashed || slave.leaving;
        let first = slave.hands.front().map(|first| first.0);
        let announced = slave.announced.filter(|_| !excused);
        let (mut charged, mut recycled) = (None, 0);
        for (seq, hold) in slave.hands {
            if hold != Hold::Live {
                continue;
            }
            if !self.let_go(seq, id) {
                continue;
            }
            let begun = match departure {
                Departure::Goodbye { begun } if !slave.leaving => begun && first == Some(seq),
                _ => true,
            };
            let task = self.tasks.get_mut(&seq).expect("it was handed out");
            if !task.spec.policy.retry && begun {
                self.end(seq, Must::Unrunnable(Reason::NotRetried(id)));
                continue;
            }
            if announced == Some(seq) && task.spec.policy.retry {
                task.crashes += 1;
                charged = Some(seq);
                let crashes = task.crashes;
                if self.limits.crash_limit > 0 && crashes >= self.limits.crash_limit {
                    self.end(
                        seq,
                        Must::Unrunnable(Reason::Crashed { slave: id, crashes }),
                    );
                    continue;
                }
            }
            if task.bound && !task.spec.policy.do_it_anyway {
                self.end(seq, Must::Unrunnable(Reason::SlaveLost(id)));
                continue;
            }
            recycled += 1;
            (task.place, task.marked, task.bound) = (Place::Queued, true, false);
            self.queued_bytes += record_bytes(&task.spec);
            self.coverage.recycled();
        }
        self.bound.retain(|(slave, _)| *slave != id);
        self.reroute(id, Reason::SlaveLost(id));
        let gone = Gone {
            charged,
            excused,
            recycled,
            conn,
            said: false,
        };
        self.gone.insert(id, gone);
    }

    /// A slave takes no more of what is addressed to it.
    fn reroute(&mut self, id: SlaveId, reason: Reason) {
        let waiting: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, task)| {
                task.place == Place::Queued && task.bound && task.spec.policy.to == Some(id)
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in waiting {
            let task = self.tasks.get_mut(&seq).expect("just found");
            match task.spec.policy.do_it_anyway {
                true => (task.bound, task.rerouted) = (false, true),
                false => self.end(seq, Must::Unrunnable(reason)),
            }
        }
    }

    // ---- the application

    /// With `queued_bytes` queued before.
    pub(super) fn on_submit(
        &mut self,
        id: TaskId,
        spec: TaskSpec,
        body: SmallBytes,
        queued_bytes: u64,
    ) {
        let seq = id.seq();
        let packet = u64::from(spec.bytes) + BATCH_OVERHEAD_BYTES as u64;
        let to = spec.policy.to.map(|to| (to, self.slaves.get(&to)));
        let takes = to.and_then(|(_, slave)| slave.map(|slave| slave.group.takes_ordered()));
        let full = queued_bytes + record_bytes(&spec) > self.limits.queued_bytes_max;
        let reason = match to {
            _ if packet > u64::from(self.limits.tasks_bytes_max) => Some(Reason::TooLarge {
                bytes: packet,
                bytes_max: self.limits.tasks_bytes_max,
            }),
            Some((to, _)) if takes == Some(false) && !spec.policy.do_it_anyway => {
                Some(Reason::SlaveTakesNoOrdered(to))
            }
            Some((to, None)) if !spec.policy.do_it_anyway => Some(Reason::NoSuchSlave(to)),
            _ if full => Some(Reason::QueueFull {
                bytes_max: self.limits.queued_bytes_max,
            }),
            _ => None,
        };
        let task = Task {
            id: Some(id),
            spec,
            body,
            place: Place::Queued,
            twin: None,
            returned: false,
            bound: takes == Some(true),
            marked: false,
            rerouted: false,
            stint: to
                .and_then(|(_, slave)| slave)
                .map_or(0, |slave| slave.stint),
            crashes: 0,
            must: None,
            told: false,
        };
        assert!(
            self.tasks.insert(seq, task).is_none(),
            "{id} was used before"
        );
        self.queued_bytes += record_bytes(&spec);
        if let Some(reason) = reason {
            self.end(seq, Must::Unrunnable(reason));
        }
    }

    pub(super) fn on_cancel(&mut self, id: TaskId, cancelled: bool) {
        let seq = id.seq();
        let Some(task) = self.tasks.get(&seq) else {
            assert!(!cancelled, "{id} was told before, and is cancelled");
            return;
        };
        assert_eq!(
            cancelled,
            task.place != Place::Ended,
            "cancelling {id}, which is {:?}, {:?}",
            task.place,
            task.must
        );
        if !cancelled {
            return;
        }
        if let Place::Held(id) = task.place {
            self.see(self.slaves[&id].conn, Happening::Cancel);
            self.drop_twin(seq, id);
            self.withdraw(id, seq);
        }
        self.end(seq, Must::Cancelled);
    }

    pub(super) fn on_best(&mut self, start: u64) {
        self.keys.push(vec![start]);
    }

    pub(super) fn on_own_offer(&mut self, best: u32, key: u64) {
        self.keys[best as usize].push(key);
    }

    pub(super) fn on_shutdown(&mut self) {
        self.stopped = true;
        let conns: Vec<ConnId> = self.slaves.values().map(|slave| slave.conn).collect();
        for conn in conns {
            self.see(conn, Happening::Shutdown);
        }
        for slave in self.slaves.values_mut() {
            slave.leaving = true;
        }
    }

    /// The application is told an end.
    pub(super) fn on_told(
        &mut self,
        owner: Owner,
        id: TaskId,
        algorithm: AlgorithmId,
        fate: &Fate,
    ) {
        let task = self
            .tasks
            .get_mut(&id.seq())
            .unwrap_or_else(|| panic!("{id} was never submitted"));
        assert!(!task.told, "{id} is told a second time: {fate:?}");
        assert_eq!(
            task.spec.owner, owner,
            "{id} is told where it was not given"
        );
        assert_eq!(
            task.spec.algorithm, algorithm,
            "{id} is told as another algorithm"
        );
        task.told = true;
        self.told += 1;
        let must = task
            .must
            .as_ref()
            .unwrap_or_else(|| panic!("{id} is told as {fate:?}, but it has not ended"));
        let fits = match (must, fate) {
            (
                Must::Done { slave, output },
                Fate::Done {
                    slave: by,
                    output: got,
                    ..
                },
            ) => slave == by && output == got,
            (Must::Failed { slave, .. }, Fate::Failed { slave: by, .. }) => slave == by,
            (
                Must::Unrunnable(reason),
                Fate::Unrunnable {
                    reason: got,
                    to,
                    do_it_anyway,
                    retry,
                },
            ) => {
                let spec = &task.spec;
                reason == got
                    && (*to, *do_it_anyway, *retry)
                        == (spec.policy.to, spec.policy.do_it_anyway, spec.policy.retry)
            }
            (Must::Cancelled, Fate::Cancelled) => true,
            _ => false,
        };
        assert!(fits, "{id} must end as {must:?} and is told as {fate:?}");
    }

    pub(super) fn told_body(&self, end: &End) {
        let kept = kept_body(&self.tasks[&end.id.seq()].body, &end.fate);
        assert_eq!(kept, &*end.body, "{} is told with another body", end.id);
    }

    // ---- what the master sends

    pub(super) fn on_send(&mut self, conn: ConnId, bytes: &[u8], core: &MasterCore, hold: bool) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let mut down = std::mem::take(&mut state.down);
        let flow = down.feed(bytes, &|_| u32::MAX, &mut |kind, payload| {
            self.on_sent(conn, kind, payload, core, hold);
            ControlFlow::<()>::Continue(())
        });
        assert!(
            flow.is_ok() && !down.is_mid_frame(),
            "the master sends whole frames: {flow:?}"
        );
        if let Some(state) = self.conns.get_mut(&conn) {
            state.down = down;
        }
    }

    fn on_sent(&mut self, conn: ConnId, kind: Kind, payload: &[u8], core: &MasterCore, hold: bool) {
        let phase = self.conns[&conn].phase;
        match (kind, phase) {
            (Kind::Welcome, Phase::Slave(id)) => {
                let welcome = Welcome::decode(payload).expect("the master's own");
                assert_eq!(welcome.slave, id.0, "slaves are numbered in order");
            }
            (Kind::Refuse, Phase::Dropped) => {}
            (Kind::Tasks, Phase::Slave(id)) => self.on_tasks(id, payload, hold),
            (Kind::Withdraw, Phase::Slave(id)) => {
                let withdraw = Withdraw::decode(payload).expect("the master's own");
                if self.lenient {
                    return self.on_withdraw(id, &withdraw.tasks);
                }
                let slave = self.slaves.get_mut(&id).expect("it is connected");
                assert_eq!(
                    withdraw.tasks, slave.withdraw,
                    "{id} is told what was cancelled"
                );
                slave.withdraw.clear();
            }
            (Kind::Recall, Phase::Slave(id)) => {
                let recall = Recall::decode(payload).expect("the master's own");
                let slave = self.slaves.get_mut(&id).expect("it is connected");
                assert!(
                    recall.tasks > 0 && (recall.tasks as usize) < slave.hands.len(),
                    "{id} is asked for {} of {}",
                    recall.tasks,
                    slave.hands.len()
                );
                let before = std::mem::replace(&mut slave.asked, true);
                assert!(!before, "{id} is asked twice");
                assert!(!self.stopped, "{id} is asked after the end was told");
                let idle = self.slaves.values().any(|slave| slave.hands.is_empty());
                assert!(idle, "{id} is asked for tasks and nobody is idle");
            }
            (Kind::Bests, Phase::Slave(id)) => {
                assert!(
                    payload.len() <= self.limits.tasks_bytes_max as usize,
                    "a packet of keys of {} bytes, which {id} will not read",
                    payload.len()
                );
                let bests = Bests::decode(payload).expect("the master's own");
                for (best, key) in bests.entries {
                    self.on_key(best, key, core);
                }
            }
            (Kind::Shutdown, Phase::Slave(id)) => {
                Shutdown::decode(payload).expect("the master's own");
                assert!(self.slaves[&id].leaving, "{id} is told to go, unasked");
            }
            // What was prepared before the connection fell is still sent, for nothing.
            (_, Phase::Dropped) => {}
            (kind, phase) => panic!("the master sends {kind:?} to a connection that is {phase:?}"),
        }
    }

    /// A key is told: it is the first one, or its witness is here.
    fn on_key(&mut self, best: u32, key: u64, core: &MasterCore) {
        let (told, witness) = core.bests().told(best);
        if self.lenient {
            return;
        }
        let known = &self.keys[best as usize];
        assert!(
            known.contains(&key),
            "best {best}: key {key} is told and nobody offered it"
        );
        // It may have improved since the packet was made.
        assert!(
            told <= key,
            "best {best}: key {key} is told, {told} is kept"
        );
        if key != known[0] {
            let witness = witness
                .unwrap_or_else(|| panic!("best {best}: key {key} is told and has no witness"));
            let witness: Vec<u64> = crate::wire::decode(&witness).expect("it was checked");
            assert_eq!(
                witness[0], told,
                "best {best}: the witness is of another key"
            );
        }
    }

    fn on_tasks(&mut self, id: SlaveId, payload: &[u8], hold: bool) {
        assert!(
            payload.len() <= self.limits.tasks_bytes_max as usize,
            "a packet of {} bytes to {id}",
            payload.len()
        );
        let view = batch::task_batch(payload).expect("the master's own");
        assert!(!view.is_empty(), "an empty packet to {id}");
        assert!(!self.stopped, "tasks go to {id} after the end was told");
        let slave = self.slaves.get_mut(&id).expect("it is connected");
        let before = std::mem::take(&mut slave.packet);
        let in_hand = slave.hands.len() as u64 + view.tasks();
        let few = in_hand <= u64::from(short_tasks_max(self.limits.task_group));
        let several = few
            && self.limits.task_group != AUTO
            && self.means.values().any(|&mean| mean <= SHORT_MEAN_MAX);
        if let Some((first, _)) = slave.hands.front() {
            assert!(
                several || before.contains(first),
                "{id} holds TASK-{first} of the packet before its last one, and gets a third"
            );
        }
        let mut packet = BTreeMap::new();
        let tasks = view
            .iter()
            .flat_map(|(entry, body)| (0..entry.count).map(move |index| (entry, body, index)));
        for (entry, body, index) in tasks {
            let seq = entry.task + u64::from(index);
            let body = &alone(body, index, entry.count)[..];
            if self.lenient && !self.tasks.contains_key(&seq) {
                self.adopt(seq, entry.algorithm, body);
            }
            let task = self
                .tasks
                .get_mut(&seq)
                .unwrap_or_else(|| panic!("TASK-{seq} goes to {id} and was never submitted"));
            let second = matches!(task.place, Place::Held(first) if first != id)
                && self.limits.duplicate_stragglers
                && task.twin.is_none()
                && task.spec.policy.retry
                && !task.bound;
            assert!(
                task.place == Place::Queued || second,
                "TASK-{seq} goes to {id}, {:?}, {:?}",
                task.place,
                task.must
            );
            assert_eq!(
                task.spec.algorithm.0, entry.algorithm,
                "TASK-{seq} goes as another algorithm"
            );
            assert_eq!(&task.body[..], body, "TASK-{seq} goes with another body");
            let slave = self.slaves.get_mut(&id).expect("it is connected");
            let of_queue = task.spec.owner == Owner::Queue;
            if !self.lenient {
                assert_eq!(
                    task.marked,
                    entry.is_marked(),
                    "TASK-{seq} is marked or not"
                );
                assert!(
                    !hold || !of_queue,
                    "TASK-{seq} of the queue goes out above the bound of ready results"
                );
                if task.bound {
                    assert_eq!(
                        task.spec.policy.to,
                        Some(id),
                        "TASK-{seq} goes to another than its slave"
                    );
                    assert!(slave.group.takes_ordered());
                } else {
                    assert!(
                        slave.group.takes_unordered(),
                        "TASK-{seq} goes to {id}, which is ordered"
                    );
                    self.fresh[usize::from(of_queue)] |= !task.marked && !task.returned && !second;
                }
                assert_eq!(task.bound, entry.flags & BOUND != 0, "TASK-{seq} is bound");
                if task.bound {
                    self.bound.insert((id, seq));
                }
                if !task.marked && !task.returned && !second {
                    let last = packet.insert(task.line(), seq);
                    assert!(
                        last.is_none_or(|last| last < seq),
                        "TASK-{seq} goes after {last:?} in one packet"
                    );
                    let last = self.lines.entry(task.line()).or_insert(seq);
                    *last = seq.max(*last);
                }
            }
            if task.rerouted {
                self.coverage.rerouted();
            }
            if second {
                task.twin = Some(id);
                self.coverage.duplicated();
            } else {
                self.queued_bytes -= record_bytes(&task.spec);
                task.place = Place::Held(id);
            }
            if entry.is_marked() {
                task.marked = true;
                self.marked.insert((slave.conn, seq));
            }
            slave.hands.push_back((seq, Hold::Live));
            slave.packet.push(seq);
            let in_hand_max = match self.limits.task_group {
                AUTO => AUTO_TASKS_MAX,
                number => number as usize,
            };
            self.several += u64::from(slave.hands.len() > 2 * in_hand_max);
            let in_hand_max = match (self.limits.prefetch, self.limits.task_group) {
                (false, _) => in_hand_max,
                (true, AUTO) => 2 * in_hand_max,
                (true, group) => (2 * in_hand_max).max(short_tasks_max(group) as usize),
            };
            let in_hand = slave.hands.len();
            assert!(
                in_hand <= in_hand_max,
                "{in_hand} tasks in the hands of {id}"
            );
        }
    }

    /// Who was handed out overtook nobody: recycled ones go first, others in the order submitted.
    fn check_order(&mut self) {
        let (lines, fresh) = (
            std::mem::take(&mut self.lines),
            std::mem::take(&mut self.fresh),
        );
        if self.lenient || (lines.is_empty() && fresh == [false; 2]) {
            return;
        }
        for (seq, task) in self
            .tasks
            .iter()
            .filter(|(_, task)| task.place == Place::Queued)
        {
            let of_queue = task.spec.owner == Owner::Queue;
            match task.marked {
                _ if task.returned => {}
                true => assert!(
                    !fresh[usize::from(of_queue)],
                    "TASK-{seq}, recycled, is overtaken"
                ),
                false => {
                    let last = lines.get(&task.line());
                    assert!(
                        last.is_none_or(|last| last < seq),
                        "TASK-{seq} is overtaken by {last:?}"
                    );
                }
            }
        }
    }

    /// Tasks of the typed handle are cancelled when the slave is told so.
    fn on_withdraw(&mut self, id: SlaveId, tasks: &[u64]) {
        for &seq in tasks {
            let slave = self.slaves.get_mut(&id).expect("it is connected");
            if let Some(at) = slave.withdraw.iter().position(|&task| task == seq) {
                slave.withdraw.remove(at);
                continue;
            }
            let held = slave.hands.iter_mut().find(|held| held.0 == seq);
            held.expect("what is withdrawn is held").1 = Hold::Withdrawn;
            self.end(seq, Must::Cancelled);
        }
    }

    /// A task that came through the typed handle.
    fn adopt(&mut self, seq: u64, algorithm: u16, body: &[u8]) {
        let spec = TaskSpec::new(AlgorithmId(algorithm), Owner::Queue, 0);
        let task = Task {
            id: None,
            spec,
            body: SmallBytes::copy_from_slice(body),
            place: Place::Queued,
            twin: None,
            returned: false,
            bound: false,
            marked: false,
            rerouted: false,
            stint: 0,
            crashes: 0,
            must: None,
            told: false,
        };
        self.queued_bytes += record_bytes(&spec);
        self.tasks.insert(seq, task);
    }

    // ---- the trail

    /// A line of the trail, read as soon as its facts are taken.
    pub(super) fn on_line(&mut self, event: &Event) {
        match event {
            Event::Lost {
                slave,
                cause,
                detail,
                recycled,
                ..
            } => {
                let id = SlaveId(*slave);
                if self.lenient && *cause == LossCause::Protocol && self.slaves.contains_key(&id) {
                    // A lie that only the user's own types show.
                    let conn = self.slaves[&id].conn;
                    self.on_offence(conn);
                }
                if *cause == LossCause::Timeout {
                    self.on_timeout(id, detail);
                }
                let gone = self
                    .gone
                    .get_mut(&id)
                    .unwrap_or_else(|| panic!("{id} is lost without a cause: {cause:?} {detail}"));
                assert!(
                    !std::mem::replace(&mut gone.said, true),
                    "{id} is lost twice"
                );
                if !self.lenient {
                    assert_eq!(gone.recycled, *recycled, "tasks of {id} are recycled");
                }
                let crash = matches!(
                    cause,
                    LossCause::Eof | LossCause::Reset | LossCause::Timeout
                );
                assert_eq!(gone.excused, !crash, "{id}: {cause:?}");
                // A task of the typed handle may be one that is not retried, and then nobody is charged with it.
                if !self.lenient {
                    assert_eq!(
                        gone.charged, None,
                        "{id} leaves an announced task uncharged"
                    );
                }
            }
            Event::Disconnected { slave, .. } => {
                let id = SlaveId(*slave);
                if !self.gone.contains_key(&id) {
                    let state = &self.conns[&self.slaves[&id].conn];
                    let dribbles = state.frame_since.is_some_and(|since| since < state.heard);
                    self.on_timeout(id, if dribbles { "A frame" } else { "No byte" });
                }
                let gone = self.gone.get_mut(&id).expect("it left");
                assert!(gone.excused && !std::mem::replace(&mut gone.said, true));
            }
            Event::Charged {
                slave,
                task,
                crashes,
                ..
            } => {
                let id = SlaveId(*slave);
                if !self.gone.contains_key(&id) {
                    // Silence is judged by the core alone; the line of its loss comes right after this one.
                    let conn = self.slaves[&id].conn;
                    self.see(conn, Happening::Silence);
                    self.lose(conn, Departure::Crashed);
                }
                let gone = self.gone.get_mut(&id).expect("just lost");
                assert_eq!(
                    gone.charged.take(),
                    Some(*task),
                    "{id} is charged for TASK-{task}"
                );
                assert_eq!(self.tasks[task].crashes, *crashes, "crashes of TASK-{task}");
                self.coverage.charged();
            }
            Event::Rejected { from, reason } if reason.contains("10 s") => {
                let found = self.conns.iter().find(|(_, state)| state.peer == *from);
                let (&conn, state) = found.expect("it connected");
                let old = self.awake - state.since;
                assert!(
                    self.caught_up && old >= HANDSHAKE_TIMEOUT,
                    "a handshake is given up after {} ms",
                    old / 1_000_000
                );
                self.see(conn, Happening::Silence);
                self.conns.get_mut(&conn).expect("just found").phase = Phase::Dropped;
            }
            _ => {}
        }
    }

    /// A slave is judged by silence: it must have been silent.
    fn on_timeout(&mut self, id: SlaveId, detail: &str) {
        let conn = match (self.slaves.get(&id), self.gone.get(&id)) {
            (Some(slave), _) => slave.conn,
            (None, Some(gone)) => gone.conn,
            (None, None) => panic!("{id} is unknown"),
        };
        let state = &self.conns[&conn];
        let dribbles = detail.starts_with("A frame");
        let since = match dribbles {
            true => state.frame_since.expect("a frame has begun"),
            false => state.heard,
        };
        let silence = self.awake - since;
        assert!(self.caught_up, "{id} is judged before all was taken");
        assert!(
            silence >= self.limits.client_timeout,
            "{id} is judged by {detail} after {} ms",
            silence / 1_000_000
        );
        if self.slaves.contains_key(&id) {
            let happening = if dribbles {
                Happening::Dribble
            } else {
                Happening::Silence
            };
            self.see(conn, happening);
            self.lose(conn, Departure::Crashed);
        }
    }

    // ---- after every turn

    /// The application frees a slave; `freed`: it was ordered or intermingle.
    pub(super) fn on_free(&mut self, id: SlaveId, freed: bool) {
        let known = self
            .slaves
            .get(&id)
            .is_some_and(|slave| !slave.freed && slave.group.takes_ordered());
        assert_eq!(known, freed, "freeing {id}");
        if freed {
            self.see(self.slaves[&id].conn, Happening::Freed);
            self.slaves.get_mut(&id).expect("it is connected").freed = true;
            self.on_hands(id);
        }
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

    /// What the ready results take that the application has not taken.
    pub(super) fn ready_bytes(&self) -> u64 {
        let ready = self
            .tasks
            .values()
            .filter(|task| !task.told && task.spec.owner == Owner::Queue);
        ready
            .map(|task| match &task.must {
                Some(Must::Done { output, .. }) => {
                    let tagged = TaskBody::has_tag(&task.body);
                    let body = if tagged { task.body.len() } else { 0 };
                    output.len() + body + RESULT_BYTES
                }
                Some(Must::Failed { bytes, .. }) => bytes + task.body.len() + size_of::<End>(),
                _ => 0,
            } as u64)
            .sum()
    }

    /// The law.
    pub(super) fn check(&mut self, core: &MasterCore) {
        self.check_order();
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
            let bound = self.limits.client_timeout + 2 * TICK;
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
        self.conns.retain(|_, state| !state.closed);
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
        // Those of a run take less.
        assert!(
            sched.queued_bytes() <= self.queued_bytes && (sched.queued_bytes() > 0) == (queued > 0),
            "bytes of queued tasks"
        );
        // Told tasks are of no further interest; a slave may still hold a cancelled one by number alone.
        if self.tasks.len() > 64 {
            self.tasks.retain(|_, task| !task.told);
        }
    }

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

    pub(super) fn told(&self) -> u64 {
        self.told
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
}

impl Law {
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

    /// As it was submitted.
    pub(super) fn spec(&self, id: TaskId) -> TaskSpec {
        self.tasks[&id.seq()].spec
    }
}

/// What an end brings along of its task's body.
fn kept_body<'a>(body: &'a [u8], fate: &Fate) -> &'a [u8] {
    match fate {
        Fate::Done { .. } if !TaskBody::has_tag(body) => &[],
        _ => body,
    }
}

/// The body of a task of a run, as it would have gone by itself.
fn alone(run: &[u8], index: u32, count: u32) -> Cow<'_, [u8]> {
    if count == 1 {
        return run.into();
    }
    let run = TaskBody::parse_run(run, count).expect("the master's own");
    let mut body = Vec::new();
    encode_task_body(&mut body, &run.nth(index, count));
    body.into()
}
