//! What the master sends: to whom each task may go, in which order, and how many may be in a slave's hands.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use ringmw_codec::batch::{self, BOUND, TaskSeries, encode_task_body};
use ringmw_codec::control::{Bests, Recall, Shutdown, Withdraw};
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Welcome;
use ringmw_sched::{AUTO, AlgorithmId, Nanos, Owner, SlaveId, TaskSpec, short_tasks_max};

use crate::io::engine::ConnId;
use crate::proto::bytes::SmallBytes;
use crate::proto::master::MasterCore;
use crate::testing::coverage::Must;
use crate::testing::law::Law;
use crate::testing::law::tables::{Hold, Phase, Place, Task, record_bytes};
use crate::typed::wire;

/// The most tasks of a packet that is sized by compute time.
const AUTO_TASKS_MAX: usize = 1_000;

/// Of longer tasks a slave gets no third packet; twice what the scheduler says, since it may know the mean better.
const SHORT_MEAN_MAX: Nanos = 500_000;

impl Law {
    /// The master closes a connection.
    pub(in crate::testing) fn on_close(&mut self, conn: ConnId) {
        if let Some(state) = self.conns.get_mut(&conn) {
            assert_eq!(state.phase, Phase::Dropped, "{conn} is closed");
            state.closed = true;
            self.close_unsent(conn);
            self.close_wire(conn);
            self.close_shared(conn);
        }
    }

    pub(in crate::testing) fn on_send(
        &mut self,
        conn: ConnId,
        bytes: &[u8],
        core: &MasterCore,
        hold: bool,
    ) {
        let Some(state) = self.conns.get_mut(&conn) else {
            return;
        };
        let mut down = std::mem::take(&mut state.down);
        let flow = down.feed(bytes, &|_| u32::MAX, &mut |kind, payload| {
            self.on_sent(conn, kind, payload, core, hold);
            ControlFlow::<()>::Continue(())
        });
        assert!(flow.is_ok(), "the master sends frames: {flow:?}");
        // What is long is sent from where it is, behind the head of its frame.
        self.count_begun(conn, down.buffered_bytes() as u64);
        if let Some(state) = self.conns.get_mut(&conn) {
            state.down = down;
        }
    }

    fn on_sent(&mut self, conn: ConnId, kind: Kind, payload: &[u8], core: &MasterCore, hold: bool) {
        self.count_unsent(conn, kind, payload.len());
        self.check_behind(conn, kind);
        let phase = self.conns[&conn].phase;
        match (kind, phase) {
            (Kind::Welcome, Phase::Slave(id)) => {
                let welcome = Welcome::decode(payload).expect("the master's own");
                assert_eq!(welcome.slave, id.0, "slaves are numbered in order");
                self.welcomed.push(conn);
            }
            (Kind::Refuse, Phase::Dropped) => {}
            (Kind::Tasks, Phase::Slave(id)) => self.on_tasks(id, payload, hold),
            (Kind::Withdraw, Phase::Slave(id)) => {
                let withdraw = Withdraw::decode(payload).expect("the master's own");
                if self.lenient {
                    return self.on_withdraw(id, &withdraw.tasks);
                }
                let slave = self.slaves.get_mut(&id).expect("it is connected");
                let mut expected = std::mem::take(&mut slave.withdraw);
                // In any order: tasks that end at once, as what they name is gone, have none.
                let mut told = withdraw.tasks;
                expected.sort_unstable();
                told.sort_unstable();
                assert_eq!(told, expected, "{id} is told what was cancelled");
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
                self.turns.on_recall(id);
            }
            (Kind::Bests, Phase::Slave(id)) => {
                assert!(
                    payload.len() <= self.config.rules.sched.task_packet_bytes_max as usize,
                    "a packet of keys of {} bytes, which {id} will not read",
                    payload.len()
                );
                let bests = Bests::decode(payload).expect("the master's own");
                for (best, key) in bests.entries {
                    self.on_key(best, key, core);
                }
            }
            (Kind::Say, Phase::Slave(id)) => self.on_say(id, payload),
            (Kind::SaidHeard, Phase::Slave(id)) => self.on_said_heard(id, payload),
            (Kind::CheckpointTaken, Phase::Slave(_)) => self.on_checkpoint_taken(conn, payload),
            (Kind::Hungry, Phase::Slave(id)) => self.on_hungry(id, payload),
            (Kind::Resume, Phase::Slave(id)) => self.on_resume(id, payload),
            (Kind::Blob, Phase::Slave(id)) => self.on_piece(conn, id, payload),
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
            let witness: Vec<u64> = wire::decode(&witness).expect("it was checked");
            assert_eq!(
                witness[0], told,
                "best {best}: the witness is of another key"
            );
        }
    }

    fn on_tasks(&mut self, id: SlaveId, payload: &[u8], hold: bool) {
        assert!(
            payload.len() <= self.config.rules.sched.task_packet_bytes_max as usize,
            "a packet of {} bytes to {id}",
            payload.len()
        );
        let view = batch::TaskBatchView::decode(payload).expect("the master's own");
        assert!(!view.is_empty(), "an empty packet to {id}");
        assert!(!self.stopped, "tasks go to {id} after the end was told");
        let slave = self.slaves.get_mut(&id).expect("it is connected");
        let before = std::mem::take(&mut slave.packet);
        let in_hand = slave.hands.len() as u64 + view.tasks();
        let few = in_hand <= u64::from(short_tasks_max(self.config.rules.sched.task_group));
        let several = few
            && self.config.rules.sched.task_group != AUTO
            && self.means.values().any(|&mean| mean <= SHORT_MEAN_MAX);
        if let Some((first, _)) = slave.hands.front() {
            assert!(
                several || before.contains(first),
                "{id} holds TASK-{first} of the packet before its last one, and gets a third"
            );
        }
        let (mut packet, mut owners) = (BTreeMap::new(), BTreeSet::new());
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
                && self.config.rules.sched.duplicate_stragglers
                && task.twin.is_none()
                && task.spec.policy.retry
                && !task.bound;
            assert!(
                task.place == Place::Queued || second,
                "TASK-{seq} goes to {id}, {:?}, {:?}",
                task.place,
                task.must
            );
            let unordered = !task.bound;
            let has_needs = task.needs != 0;
            self.check_resume(id, seq, second);
            self.check_no_second(id, seq, second);
            self.check_converses(id, &entry, in_hand as usize);
            if unordered {
                self.check_ward(id, (entry.algorithm, has_needs), seq);
            }
            let task = self.tasks.get_mut(&seq).expect("looked up above");
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
                    let (whose, needs) = (task.whose(), task.needs);
                    if !second {
                        if needs == 0 {
                            self.levels.on_out(task, hold);
                            owners.insert(whose);
                        }
                        if !task.marked && !task.returned {
                            self.fresh.insert(whose);
                        }
                    }
                }
                // Another one might not have what it needs.
                let stays = task.bound || task.needs != 0;
                assert_eq!(stays, entry.flags & BOUND != 0, "TASK-{seq} is bound");
                if stays {
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
            if !self.lenient && !task.bound {
                let needs = task.needs;
                self.check_needs(id, seq, needs);
            }
            let task = self.tasks.get_mut(&seq).expect("looked up above");
            let slave = self.slaves.get_mut(&id).expect("it is connected");
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
            let in_hand_max = match self.config.rules.sched.task_group {
                AUTO => AUTO_TASKS_MAX,
                number => number as usize,
            };
            self.several += u64::from(slave.hands.len() > 2 * in_hand_max);
            let in_hand_max = match (
                self.config.rules.sched.prefetch,
                self.config.rules.sched.task_group,
            ) {
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
        self.check_resumed(id);
        self.turns.on_packet(owners, hold);
    }

    /// Who was handed out overtook nobody: recycled ones go first, others in the order submitted.
    pub(super) fn check_order(&mut self) {
        let (lines, fresh) = (
            std::mem::take(&mut self.lines),
            std::mem::take(&mut self.fresh),
        );
        if self.lenient || (lines.is_empty() && fresh.is_empty()) {
            return;
        }
        for (seq, task) in self
            .tasks
            .iter()
            .filter(|(_, task)| task.place == Place::Queued)
        {
            let whose = task.whose();
            match task.marked {
                _ if task.returned => {}
                true => assert!(
                    !fresh.contains(&whose),
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
            needs: 0,
            body: SmallBytes::copy_from_slice(body),
            place: Place::Queued,
            twin: None,
            returned: false,
            bound: false,
            marked: false,
            rerouted: false,
            stint: 0,
            crashes: 0,
            submitted: self.now,
            is_late: false,
            crash_limit: 0,
            must: None,
            told: false,
        };
        self.queued_bytes += record_bytes(&spec);
        self.tasks.insert(seq, task);
    }
}

/// The body of a task of a series, as it would have gone by itself.
fn alone(series: &[u8], index: u32, count: u32) -> Cow<'_, [u8]> {
    if count == 1 {
        return series.into();
    }
    let series = TaskSeries::parse(series, count).expect("the master's own");
    let mut body = Vec::new();
    let one = series.nth(index).expect("the master's own");
    encode_task_body(&mut body, &one);
    body.into()
}
