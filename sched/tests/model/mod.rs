//! A model of the scheduler that is as simple as can be read and believed: everything is a `Vec`, everything is
//! searched for. And a `World` that does every event to both and compares all that can be seen.
#![allow(dead_code, reason = "each test uses its part")]

mod slaves;
mod tasks;
mod world;

use ringmw_sched::*;

pub(crate) use world::World;

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
