//! A model of the scheduler that is as simple as can be read and believed: everything is a `Vec`, everything is
//! searched for. And a `World` that does every event to both and compares all that can be seen.
#![allow(dead_code, reason = "each test uses its part")]

use ringmw_sched::*;

pub(crate) type Payload = u64;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Event {
    Connect,
    Submit {
        to: Option<u32>,
        do_it_anyway: bool,
        retry: bool,
        /// 0: of the queue; 1: a call; above: of the map of this number.
        of: u8,
        algorithm: u16,
        bytes: u32,
    },
    HandOut,
    Result(u32, u64),
    Announce(u32, u64),
    Withdrawn(u32, u64, bool),
    Lose(u32, bool),
    Cancel(u64),
    Free(u32),
    FreeOf(Group),
    Allocate(Group, u32),
    Deallocate(Group, u32),
    Hold(bool),
    Stop,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Task {
    to: Option<u32>,
    do_it_anyway: bool,
    retry: bool,
    of: u8,
    algorithm: u16,
    bytes: u32,
    /// Only this slave may run it.
    bound: Option<u32>,
    marked: bool,
    crashes: u32,
    crash_limit: u32,
    /// How often its end was told.
    told: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Hold {
    Live,
    Withdrawn,
    Begun,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slave {
    pub(crate) id: u32,
    pub(crate) group: Group,
    pub(crate) hands: Vec<(u64, Hold)>,
    announced: Option<u64>,
    leaving: bool,
}

/// What a step lets be seen beside its return value.
#[derive(Default, PartialEq, Debug)]
struct Seen {
    ended: Vec<(u64, String)>,
    moved: Vec<(SlaveId, Group, Group)>,
    connected: Vec<(SlaveId, Group)>,
    disconnected: Vec<(SlaveId, Group)>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Model {
    task_group: usize,
    crash_limit: u32,
    task_packet_bytes_max: u64,
    task_packet_overhead_bytes: u64,
    queued_bytes_max: u64,
    tasks: Vec<Task>,
    /// All queued tasks, whomever they are bound to, the next one first.
    queue: Vec<u64>,
    pub(crate) slaves: Vec<Slave>,
    next_slave: u32,
    desired: [u32; 3],
    hold: bool,
    stopped: bool,
    /// Whose queued tasks any slave may run, in turn.
    ring: Vec<u8>,
    /// Slaves with empty hands, the one that was served least recently first.
    idle: Vec<u32>,
    /// Working unordered slaves, and those of them that get no more work.
    working: Vec<u32>,
    wanted: Vec<u32>,
    /// Idle slaves with tasks of their own, for a flow and for the queue, as they came to be so.
    with_flows: Vec<u32>,
    with_queue: Vec<u32>,
}

impl Model {
    fn new(config: Config) -> Self {
        Model {
            task_group: config.task_group as usize,
            crash_limit: config.crash_limit,
            task_packet_bytes_max: config.task_packet_bytes_max.into(),
            task_packet_overhead_bytes: config.task_packet_overhead_bytes.into(),
            queued_bytes_max: config.queued_bytes_max,
            tasks: vec![],
            queue: vec![],
            slaves: vec![],
            next_slave: 0,
            desired: [0; 3],
            hold: false,
            stopped: false,
            ring: vec![],
            idle: vec![],
            working: vec![],
            wanted: vec![],
            with_flows: vec![],
            with_queue: vec![],
        }
    }

    pub(crate) fn task_count(&self) -> u64 {
        self.tasks.len() as u64
    }

    pub(crate) fn slave_count(&self) -> u32 {
        self.next_slave
    }

    pub(crate) fn is_live(&self, task: u64) -> bool {
        self.tasks[task as usize].told == 0
    }

    pub(crate) fn is_held(&self) -> bool {
        self.hold
    }

    pub(crate) fn desired(&self, group: Group) -> u32 {
        self.desired[group as usize]
    }

    fn task(&mut self, task: u64) -> &mut Task {
        &mut self.tasks[task as usize]
    }

    fn slave(&mut self, id: u32) -> Option<&mut Slave> {
        self.slaves.iter_mut().find(|slave| slave.id == id)
    }

    fn acquired(&self, group: Group) -> u32 {
        self.slaves
            .iter()
            .filter(|slave| slave.group == group)
            .count() as u32
    }

    fn missing(&self, group: Group) -> u32 {
        self.desired(group).saturating_sub(self.acquired(group))
    }

    fn cost(&self, task: u64) -> u64 {
        u64::from(self.tasks[task as usize].bytes) + Scheduler::<Payload>::RECORD_BYTES
    }

    fn queued_bytes(&self) -> u64 {
        self.queue.iter().map(|&task| self.cost(task)).sum()
    }

    fn running(&self) -> u64 {
        let hands = self.slaves.iter().flat_map(|slave| &slave.hands);
        hands.filter(|(_, hold)| *hold == Hold::Live).count() as u64
    }

    fn tell(&mut self, task: u64) {
        self.task(task).told += 1;
        assert_eq!(self.task(task).told, 1, "an end is told once");
    }

    fn end(&mut self, task: u64, reason: Reason, seen: &mut Seen) {
        self.tell(task);
        seen.ended.push((task, format!("{reason:?}")));
    }

    fn connect(&mut self, seen: &mut Seen) -> (SlaveId, Group) {
        let id = self.next_slave;
        self.next_slave += 1;
        let filled = [Group::Ordered, Group::Intermingle]
            .into_iter()
            .find(|&group| self.missing(group) > 0);
        let group = filled.unwrap_or(Group::Unordered);
        self.slaves.push(Slave {
            id,
            group,
            hands: vec![],
            announced: None,
            leaving: false,
        });
        self.idle.push(id);
        if group != Group::Unordered {
            seen.connected.push((SlaveId(id), group));
        }
        self.rebalance(seen);
        (SlaveId(id), group)
    }

    fn rebalance(&mut self, seen: &mut Seen) {
        for group in [Group::Ordered, Group::Intermingle] {
            while self.missing(group) > 0 {
                let is_unordered = |id: &u32| {
                    self.slaves
                        .iter()
                        .any(|s| s.id == *id && s.group == Group::Unordered)
                };
                let Some(id) = self.idle.iter().copied().find(is_unordered) else {
                    break;
                };
                self.move_idle(id, group, seen);
                seen.connected.push((SlaveId(id), group));
            }
        }
        let missing = (self.missing(Group::Ordered) + self.missing(Group::Intermingle)) as usize;
        while self.wanted.len() < missing && !self.working.is_empty() {
            let id = self.working.remove(0);
            self.wanted.push(id);
        }
        while self.wanted.len() > missing {
            let id = self.wanted.pop().unwrap();
            self.working.insert(0, id);
        }
    }

    fn move_idle(&mut self, id: u32, to: Group, seen: &mut Seen) {
        let slave = self.slave(id).unwrap();
        let from = std::mem::replace(&mut slave.group, to);
        seen.moved.push((SlaveId(id), from, to));
        self.idle.retain(|&idle| idle != id);
        self.idle.push(id);
    }

    fn submit(&mut self, task: Task, seen: &mut Seen) -> u64 {
        let id = self.task_count();
        let (to, anyway, bytes) = (task.to, task.do_it_anyway, u64::from(task.bytes));
        self.tasks.push(task);
        if bytes + self.task_packet_overhead_bytes > self.task_packet_bytes_max {
            let bytes_max = self.task_packet_bytes_max as u32;
            self.end(
                id,
                Reason::TooLarge {
                    bytes: bytes + self.task_packet_overhead_bytes,
                    bytes_max,
                },
                seen,
            );
            return id;
        }
        if let Some(to) = to {
            let reason = match self.slave(to).map(|slave| slave.group) {
                None => Some(Reason::NoSuchSlave(SlaveId(to))),
                Some(Group::Unordered) => Some(Reason::SlaveTakesNoOrdered(SlaveId(to))),
                Some(_) => None,
            };
            match reason {
                None => self.task(id).bound = Some(to),
                Some(_) if anyway => {}
                Some(reason) => {
                    self.end(id, reason, seen);
                    return id;
                }
            }
        }
        let is_of_map = self.tasks[id as usize].of > 1;
        if !is_of_map && self.queued_bytes() + self.cost(id) > self.queued_bytes_max {
            self.end(
                id,
                Reason::QueueFull {
                    bytes_max: self.queued_bytes_max,
                },
                seen,
            );
            return id;
        }
        self.queue.push(id);
        self.enter(id);
        id
    }

    /// The owner of a queued task stands in the ring, unless it is for one slave alone.
    fn enter(&mut self, task: u64) {
        let Task { of, bound, .. } = self.tasks[task as usize];
        if bound.is_none() && !self.ring.contains(&of) {
            self.ring.push(of);
        }
    }

    fn may_go(&self, task: u64) -> bool {
        self.tasks[task as usize].of > 0 || !self.hold
    }

    /// The tasks that this slave could be given now, in order.
    fn work_for(&self, slave: &Slave) -> Vec<u64> {
        let of = |bound: Option<u32>| {
            let bound_so =
                move |task: &u64| self.tasks[*task as usize].bound == bound && self.may_go(*task);
            self.queue.iter().copied().filter(bound_so)
        };
        let in_turn = || {
            let of_owner = move |owner: &u8| {
                let owner = *owner;
                of(None).filter(move |&task| self.tasks[task as usize].of == owner)
            };
            self.ring.iter().flat_map(of_owner)
        };
        match slave.group {
            Group::Ordered => of(Some(slave.id)).collect(),
            Group::Intermingle => of(Some(slave.id)).chain(in_turn()).collect(),
            Group::Unordered => in_turn().collect(),
        }
    }

    #[allow(clippy::type_complexity)]
    fn hand_out(&mut self) -> Option<(SlaveId, Vec<(u64, u16, bool)>)> {
        if self.stopped {
            return None;
        }
        let has_work = |id: &&u32| {
            let slave = self.slaves.iter().find(|slave| slave.id == **id).unwrap();
            !self.work_for(slave).is_empty()
        };
        let with_queue = if self.hold { &[][..] } else { &self.with_queue };
        let mut line = self.with_flows.iter().chain(with_queue).chain(&self.idle);
        let id = *line.find(has_work)?;
        let slave = self.slaves.iter().find(|slave| slave.id == id).unwrap();
        let (mut packet, mut bytes) = (vec![], self.task_packet_overhead_bytes);
        for task in self.work_for(slave).into_iter().take(self.task_group) {
            bytes += u64::from(self.tasks[task as usize].bytes);
            if bytes > self.task_packet_bytes_max {
                break;
            }
            packet.push(task);
        }
        self.queue.retain(|task| !packet.contains(task));
        let unbound = |task: &&u64| self.tasks[**task as usize].bound.is_none();
        if let Some(&last) = packet.iter().rfind(unbound) {
            let of = self.tasks[last as usize].of;
            self.ring.retain(|&owner| owner != of);
            self.ring.push(of);
        }
        self.idle.retain(|&idle| idle != id);
        let slave = self.slave(id).unwrap();
        slave.hands = packet.iter().map(|&task| (task, Hold::Live)).collect();
        if slave.group == Group::Unordered {
            self.working.push(id);
        }
        let packet = packet
            .into_iter()
            .map(|task| (task, self.task(task).algorithm, self.task(task).marked));
        Some((SlaveId(id), packet.collect()))
    }

    /// That the slave says something of a task which is its next.
    fn expect_first(&mut self, slave: u32, task: u64) -> Result<&mut Slave, Offence> {
        let Some(slave) = self.slave(slave) else {
            return Err(Offence::NotHeld { task });
        };
        match slave.hands.iter().position(|(held, _)| *held == task) {
            None => Err(Offence::NotHeld { task }),
            Some(0) => Ok(slave),
            Some(_) => Err(Offence::OutOfOrder {
                task,
                expected: slave.hands[0].0,
            }),
        }
    }

    fn announce(&mut self, slave: u32, task: u64) -> Result<(), Offence> {
        self.expect_first(slave, task)?.announced = Some(task);
        Ok(())
    }

    /// Whether it is accepted.
    fn result(&mut self, id: u32, task: u64, seen: &mut Seen) -> Result<bool, Offence> {
        let slave = self.expect_first(id, task)?;
        let (_, hold) = slave.hands.remove(0);
        if hold == Hold::Live {
            self.tell(task);
        }
        self.on_less_in_hands(id, seen);
        Ok(hold == Hold::Live)
    }

    fn withdrawn(
        &mut self,
        id: u32,
        task: u64,
        begun: bool,
        seen: &mut Seen,
    ) -> Result<(), Offence> {
        let Some(slave) = self.slave(id) else {
            return Err(Offence::NotHeld { task });
        };
        let Some(at) = slave.hands.iter().position(|(held, _)| *held == task) else {
            return Err(Offence::NotHeld { task });
        };
        if slave.hands[at].1 != Hold::Withdrawn {
            return Err(Offence::NotWithdrawn { task });
        }
        if begun {
            slave.hands[at].1 = Hold::Begun;
        } else {
            slave.hands.remove(at);
            self.on_less_in_hands(id, seen);
        }
        Ok(())
    }

    fn on_less_in_hands(&mut self, id: u32, seen: &mut Seen) {
        let slave = self.slave(id).unwrap();
        if slave
            .announced
            .is_some_and(|task| slave.hands.iter().all(|(held, _)| *held != task))
        {
            slave.announced = None;
        }
        if !slave.hands.is_empty() {
            return;
        }
        let leaving = slave.leaving;
        self.working.retain(|&working| working != id);
        self.wanted.retain(|&wanted| wanted != id);
        self.idle.push(id);
        if leaving {
            self.freed(id, seen)
        } else {
            self.rebalance(seen)
        }
    }

    fn freed(&mut self, id: u32, seen: &mut Seen) {
        self.slave(id).unwrap().leaving = false;
        self.move_idle(id, Group::Unordered, seen);
        self.reroute(id, Reason::SlaveTakesNoOrdered(SlaveId(id)), seen);
        self.rebalance(seen);
    }

    /// The tasks queued for a slave that will not take them. Returns how many are rerouted, how many ended.
    fn reroute(&mut self, id: u32, reason: Reason, seen: &mut Seen) -> (u32, u32) {
        let bound = |task: &u64| self.tasks[*task as usize].bound == Some(id);
        let (own, rest): (Vec<u64>, Vec<u64>) = self.queue.iter().partition(|task| bound(task));
        self.queue = rest;
        let mut counts = (0, 0);
        for task in own {
            if self.task(task).do_it_anyway {
                self.task(task).bound = None;
                self.queue.push(task);
                self.enter(task);
                counts.0 += 1;
            } else {
                self.end(task, reason, seen);
                counts.1 += 1;
            }
        }
        counts
    }

    fn lose(&mut self, id: u32, crashed: bool, seen: &mut Seen) -> Losses {
        let mut losses = Losses::default();
        let Some(at) = self.slaves.iter().position(|slave| slave.id == id) else {
            return losses;
        };
        let limit = self
            .crash_limit
            .min((self.slaves.len() as u32).div_ceil(2).max(2));
        let slave = self.slaves.remove(at);
        for line in [&mut self.idle, &mut self.working, &mut self.wanted] {
            line.retain(|&other| other != id);
        }
        if slave.group != Group::Unordered {
            seen.disconnected.push((SlaveId(id), slave.group));
        }
        for (task, hold) in slave.hands {
            if hold != Hold::Live {
                losses.released += 1;
                continue;
            }
            if !self.task(task).retry {
                self.end(task, Reason::NotRetried(SlaveId(id)), seen);
                losses.unrunnable += 1;
                continue;
            }
            if crashed && slave.announced == Some(task) {
                let given = self.task(task);
                if given.crashes == 0 {
                    given.crash_limit = limit;
                }
                given.crashes += 1;
                let (crashes, limit) = (given.crashes, given.crash_limit);
                losses.charged = Some((task_id(task), crashes));
                losses.crash_limit = limit;
                if crashes == limit {
                    self.end(
                        task,
                        Reason::Crashed {
                            slave: SlaveId(id),
                            crashes,
                            death: ringmw_sched::Death::Connection,
                        },
                        seen,
                    );
                    losses.unrunnable += 1;
                    continue;
                }
            }
            if self.task(task).bound.is_some() && !self.task(task).do_it_anyway {
                self.end(task, Reason::SlaveLost(SlaveId(id)), seen);
                losses.unrunnable += 1;
                continue;
            }
            (self.task(task).bound, self.task(task).marked) = (None, true);
            losses.recycled.push(task);
        }
        losses.recycled.sort();
        self.queue.splice(0..0, losses.recycled.iter().copied());
        for &task in losses.recycled.iter().rev() {
            self.enter(task);
        }
        let (rerouted, ended) = self.reroute(id, Reason::SlaveLost(SlaveId(id)), seen);
        losses.rerouted = rerouted;
        losses.unrunnable += ended;
        self.rebalance(seen);
        losses
    }

    /// Whether it was live, and who holds it.
    fn cancel(&mut self, task: u64) -> Option<Option<SlaveId>> {
        if !self.is_live(task) {
            return None;
        }
        self.tell(task);
        self.queue.retain(|&queued| queued != task);
        for slave in &mut self.slaves {
            for (held, hold) in &mut slave.hands {
                if (*held, *hold) == (task, Hold::Live) {
                    *hold = Hold::Withdrawn;
                    return Some(Some(SlaveId(slave.id)));
                }
            }
        }
        Some(None)
    }

    fn free(&mut self, id: u32, seen: &mut Seen) -> bool {
        let Some(slave) = self.slave(id) else {
            return false;
        };
        if slave.leaving || slave.group == Group::Unordered {
            return false;
        }
        slave.leaving = true;
        let (group, is_idle) = (slave.group, slave.hands.is_empty());
        self.desire(group, -1, seen);
        if is_idle {
            self.freed(id, seen);
        }
        true
    }

    fn desire(&mut self, group: Group, by: i64, seen: &mut Seen) {
        let desired = &mut self.desired[group as usize];
        *desired = (i64::from(*desired) + by).max(0) as u32;
        self.rebalance(seen);
    }

    /// Sees who came to have tasks of their own, and who has none any more.
    fn line_up(&mut self) {
        let (tasks, queue) = (&self.tasks, &self.queue);
        self.ring.retain(|&owner| {
            let mut queued = queue.iter().map(|&task| &tasks[task as usize]);
            queued.any(|task| task.of == owner && task.bound.is_none())
        });
        for flow in [true, false] {
            let has = |slave: &Slave| {
                let own = |task: &&u64| {
                    let task = &self.tasks[**task as usize];
                    task.bound == Some(slave.id) && (task.of > 0) == flow
                };
                slave.hands.is_empty() && self.queue.iter().any(|task| own(&task))
            };
            let now: Vec<u32> = self
                .slaves
                .iter()
                .filter(|slave| has(slave))
                .map(|slave| slave.id)
                .collect();
            let line = if flow {
                &mut self.with_flows
            } else {
                &mut self.with_queue
            };
            line.retain(|id| now.contains(id));
            line.extend(
                now.iter()
                    .filter(|id| !line.contains(id))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }
}

/// A `TaskId` is its number; one made by another scheduler is as good for comparison.
fn task_id(seq: u64) -> TaskId {
    thread_local! {
        static IDS: std::cell::RefCell<(Scheduler<()>, Vec<TaskId>)> =
            std::cell::RefCell::new((Scheduler::new(Config { task_packet_bytes_max: 0, ..Config::for_test() }, 1), vec![]));
    }
    IDS.with_borrow_mut(|(sched, ids)| {
        while ids.len() as u64 <= seq {
            ids.push(sched.submit(TaskSpec::new(AlgorithmId(0), Owner::Queue, 1), (), 0));
        }
        ids[seq as usize]
    })
}

fn payload_of(task: u64) -> Payload {
    task * 7 + 3
}

fn policy_of(task: &Task) -> Policy {
    Policy {
        to: task.to.map(SlaveId),
        do_it_anyway: task.do_it_anyway,
        retry: task.retry,
        ..Policy::default()
    }
}

fn owner_of(task: u64, of: u8) -> Owner {
    match of {
        0 => Owner::Queue,
        1 => Owner::Call(task as u32 + 100),
        map => Owner::Map(map.into()),
    }
}

const ALGORITHMS: u16 = 3;
const HANDED_OUT: Nanos = 77;

/// The scheduler and its model, side by side.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sched: Scheduler<Payload>,
    pub(crate) model: Model,
    ids: Vec<TaskId>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let sched = Scheduler::new(config, ALGORITHMS.into());
        World {
            sched,
            model: Model::new(config),
            ids: vec![],
        }
    }

    /// Does one event to both, compares what it returns, and all that can be seen after it.
    pub(crate) fn step(&mut self, event: &Event) {
        let mut seen = Seen::default();
        self.apply(event, &mut seen);
        self.model.line_up();
        assert_eq!(self.drain(), seen, "what is told");
    }

    fn apply(&mut self, event: &Event, seen: &mut Seen) {
        let World { sched, model, ids } = self;
        match *event {
            Event::Connect => assert_eq!(sched.connect(), model.connect(seen)),
            Event::Submit {
                to,
                do_it_anyway,
                retry,
                of,
                algorithm,
                bytes,
            } => {
                let (bound, marked, crashes, told) = (None, false, 0, 0);
                let task = Task {
                    to,
                    do_it_anyway,
                    retry,
                    of,
                    algorithm,
                    bytes,
                    bound,
                    marked,
                    crashes,
                    crash_limit: 0,
                    told,
                };
                let seq = model.submit(task.clone(), seen);
                let owner = owner_of(seq, of);
                let algorithm = AlgorithmId(algorithm);
                let spec = TaskSpec {
                    alone: false,
                    algorithm,
                    owner,
                    bytes,
                    policy: policy_of(&task),
                };
                let id = sched.submit(spec, payload_of(seq), 1000 + seq);
                assert_eq!(id.seq(), seq);
                ids.push(id);
            }
            Event::HandOut => {
                let mut packet = vec![];
                let slave = sched.hand_out(HANDED_OUT, &mut |id, algorithm, handed, payload| {
                    let marked = handed.marked;
                    assert_eq!(
                        (id, *payload),
                        (ids[id.seq() as usize], payload_of(id.seq()))
                    );
                    packet.push((id.seq(), algorithm.0, marked));
                });
                assert_eq!(slave.map(|slave| (slave, packet)), model.hand_out());
            }
            Event::Result(slave, task) => {
                let expected = model.result(slave, task, seen);
                match sched.result(SlaveId(slave), task) {
                    Ok(None) => assert_eq!(expected, Ok(false)),
                    Err(offence) => assert_eq!(expected, Err(offence)),
                    Ok(Some(accepted)) => {
                        assert_eq!(expected, Ok(true));
                        let given = &model.tasks[task as usize];
                        let told = Accepted {
                            id: ids[task as usize],
                            algorithm: AlgorithmId(given.algorithm),
                            owner: owner_of(task, given.of),
                            policy: policy_of(given),
                            payload: payload_of(task),
                            slave: SlaveId(slave),
                            submitted: 1000 + task,
                            handed_out: HANDED_OUT,
                        };
                        assert_eq!(accepted, told);
                    }
                }
            }
            Event::Announce(slave, task) => {
                assert_eq!(
                    sched.announce(SlaveId(slave), task),
                    model.announce(slave, task)
                );
            }
            Event::Withdrawn(slave, task, begun) => {
                let expected = model.withdrawn(slave, task, begun, seen);
                assert_eq!(sched.withdrawn(SlaveId(slave), task, begun), expected);
            }
            Event::Lose(slave, crashed) => {
                let departure = if crashed {
                    Departure::Crashed
                } else {
                    Departure::Excused
                };
                assert_eq!(
                    sched.lose(SlaveId(slave), departure),
                    model.lose(slave, crashed, seen)
                );
            }
            Event::Cancel(task) => {
                let cancelled = sched.cancel(ids[task as usize]);
                assert_eq!(
                    cancelled.as_ref().map(|cancelled| cancelled.held_by),
                    model.cancel(task)
                );
                let given = &model.tasks[task as usize];
                if let Some(Cancelled {
                    id,
                    payload,
                    owner,
                    algorithm,
                    ..
                }) = cancelled
                {
                    assert_eq!(id, ids[task as usize]);
                    let told = (payload, owner, algorithm.0);
                    assert_eq!(
                        told,
                        (payload_of(task), owner_of(task, given.of), given.algorithm)
                    );
                }
            }
            Event::Free(slave) => {
                assert_eq!(sched.free_slave(SlaveId(slave)), model.free(slave, seen))
            }
            Event::FreeOf(group) => {
                sched.free_slave_of(group);
                model.desire(group, -1, seen);
            }
            Event::Allocate(group, slaves) => {
                sched.allocate(group, slaves);
                model.desire(group, slaves.into(), seen);
            }
            Event::Deallocate(group, slaves) => {
                sched.deallocate(group, slaves);
                model.desire(group, -i64::from(slaves), seen);
            }
            Event::Hold(hold) => {
                sched.hold_queue_tasks(hold);
                model.hold = hold;
            }
            Event::Stop => {
                sched.stop();
                model.stopped = true;
            }
        }
    }

    /// Takes all news of the scheduler.
    fn drain(&mut self) -> Seen {
        let World { sched, model, ids } = self;
        let mut seen = Seen::default();
        while let Some(ended) = sched.poll_unrunnable() {
            let seq = ended.id.seq();
            let given = &model.tasks[seq as usize];
            assert_eq!(ended.id, ids[seq as usize]);
            assert_eq!(
                (ended.payload, ended.owner),
                (payload_of(seq), owner_of(seq, given.of))
            );
            assert_eq!(
                (ended.algorithm.0, ended.policy),
                (given.algorithm, policy_of(given))
            );
            seen.ended.push((seq, format!("{:?}", ended.reason)));
        }
        seen.moved.extend(std::iter::from_fn(|| sched.poll_moved()));
        let news = (sched.connected_news(), sched.disconnected_news());
        (seen.connected, seen.disconnected) = (sched.take_connected(), sched.take_disconnected());
        assert_eq!(news, (seen.connected.len(), seen.disconnected.len()));
        seen
    }

    /// Compares every number that can be asked, and lets the scheduler check itself.
    pub(crate) fn compare(&self) {
        let World { sched, model, ids } = self;
        sched.sanity_check();
        assert_eq!(sched.queued(), model.queue.len() as u64, "queued");
        assert_eq!(
            sched.runnable(),
            model.queue.len() as u64 + model.running(),
            "runnable"
        );
        assert_eq!(sched.queued_bytes(), model.queued_bytes(), "queued bytes");
        assert_eq!(sched.pending(None), model.queue.len() as u64, "pending");
        for algorithm in 0..ALGORITHMS {
            let of = |task: &&u64| model.tasks[**task as usize].algorithm == algorithm;
            assert_eq!(
                sched.pending(Some(AlgorithmId(algorithm))),
                model.queue.iter().filter(of).count() as u64
            );
        }
        for group in Group::ALL {
            assert_eq!(
                sched.desired(group),
                model.desired(group),
                "desired {group}"
            );
            assert_eq!(
                sched.acquired(group),
                model.acquired(group),
                "acquired {group}"
            );
        }
        let needed: u32 = Group::ALL.iter().map(|&group| model.missing(group)).sum();
        assert_eq!(sched.slaves_needed(), needed.into(), "needed");
        assert_eq!(sched.slaves(), model.slaves.len(), "slaves");
        let busy = model
            .slaves
            .iter()
            .filter(|slave| !slave.hands.is_empty())
            .count();
        assert_eq!(sched.busy(), busy, "busy");
        for id in 0..=model.next_slave {
            let slave = model.slaves.iter().find(|slave| slave.id == id);
            assert_eq!(sched.group_of(SlaveId(id)), slave.map(|slave| slave.group));
            assert_eq!(
                sched.held_by(SlaveId(id)),
                slave.map_or(0, |slave| slave.hands.len())
            );
        }
        for (seq, &id) in (0..).zip(ids) {
            assert_eq!(sched.is_live(id), model.is_live(seq), "{id} is live");
        }
        let nobody = model.acquired(Group::Intermingle) + model.acquired(Group::Unordered) == 0;
        let unbound = model
            .queue
            .iter()
            .filter(|&&task| model.tasks[task as usize].bound.is_none())
            .count();
        let waits = if nobody && !model.slaves.is_empty() {
            unbound as u64
        } else {
            0
        };
        assert_eq!(sched.waits_for_nobody(), waits, "waits for nobody");
        assert_eq!(
            sched.idle(),
            sched.runnable() == 0 && model.desired == [0; 3],
            "idle"
        );
    }

    /// Lets everything come to an end: every slave answers until nothing is left, then the rest is cancelled.
    pub(crate) fn finish(&mut self) {
        self.step(&Event::Hold(false));
        loop {
            self.step(&Event::HandOut);
            let next = self
                .model
                .slaves
                .iter()
                .find_map(|slave| Some((slave.id, *slave.hands.first()?)));
            let Some((slave, (task, _))) = next else {
                break;
            };
            self.step(&Event::Result(slave, task));
        }
        for task in 0..self.model.task_count() {
            self.step(&Event::Cancel(task));
        }
        self.compare();
        assert_eq!(self.sched.runnable(), 0);
        assert!(
            self.model.tasks.iter().all(|task| task.told == 1),
            "every end is told once"
        );
    }
}
