//! The scheduler: its parts, and how a record enters a line, leaves it, is cut and ends. Events have files of their own
//! in `events`, questions are in `look`.

use std::collections::{BTreeMap, VecDeque};

use crate::config::{Config, short_tasks};
use crate::data::counts::Counts;
use crate::data::deadlines::Deadlines;
use crate::data::hands::Place;
use crate::data::health::Health;
use crate::data::hungry::Hungry;
use crate::data::list::Links;
use crate::data::owners::Owners;
use crate::data::packet_costs::PacketCosts;
use crate::data::quarantined::{Quarantine, Quarantined};
use crate::data::record::{Record, State};
use crate::data::reserved::Reserved;
use crate::data::slaves::Slaves;
use crate::data::tasks::Tasks;
use crate::data::times::Times;
use crate::end::{Reason, Unrunnable};
use crate::ids::{AlgorithmId, Group, Nanos, SlaveId, TaskId};
use crate::series::Series;

/// A drained list of news keeps room for this many at most.
const NEWS_KEPT: usize = 1024;

/// Tasks, slaves, and who does what next. See the [crate's documentation](crate).
///
/// `Clone` is there for tests that explore what may happen next.
#[derive(Clone, Debug)]
pub struct Scheduler<P> {
    pub(crate) config: Config,
    pub(crate) tasks: Tasks<P>,
    /// Queued tasks that any slave may run, by owner, and whose turn it is.
    pub(crate) owners: Owners,
    pub(crate) slaves: Slaves,
    /// When tasks must have been handed out.
    pub(crate) deadlines: Deadlines,
    pub(crate) counts: Counts,
    pub(crate) times: Times,
    pub(crate) packet_costs: PacketCosts,
    /// Slaves desired, by group.
    pub(crate) desired: [u32; 3],
    /// By how much the sum of the desires has fallen, rises and slaves sent away taken off.
    pub(crate) fallen: u64,
    /// Whether a slave was ever desired.
    pub(crate) has_allocated: bool,
    pub(crate) hold_queue: bool,
    pub(crate) stopped: bool,
    /// Sources that submit more as soon as tasks end.
    pub(crate) sources: u32,
    /// When the queue was seen filled up to a target number last.
    pub(crate) filled: Option<Nanos>,
    pub(crate) next_task: u64,
    pub(crate) next_slave: u32,
    pub(crate) unrunnable: VecDeque<Unrunnable<P>>,
    pub(crate) connected: Vec<(SlaveId, Group)>,
    pub(crate) disconnected: Vec<(SlaveId, Group)>,
    pub(crate) moved: VecDeque<(SlaveId, Group, Group)>,
    /// When something was handed out last.
    pub(crate) clock: Nanos,
    /// The other place of each task that was handed to two slaves.
    pub(crate) twins: BTreeMap<u32, Place>,
    pub(crate) duplicated: u64,
    /// When stragglers were looked for last, and those seen then.
    pub(crate) looked: Nanos,
    pub(crate) stragglers: Vec<(u32, SlaveId)>,
    /// Who is to be told to drop which task.
    pub(crate) withdrawals: VecDeque<(SlaveId, u64)>,
    /// Tasks that are begun at most once and are queued again, not begun.
    pub(crate) not_begun: VecDeque<TaskId>,
    /// What is kept for tasks beside the queue, in bytes.
    pub(crate) kept_bytes: u64,
    /// What unrunnable ends take that were told and that nobody has taken, in bytes.
    pub(crate) untaken_bytes: u64,
    pub(crate) health: Health,
    pub(crate) quarantined: Quarantined,
    pub(crate) quarantine_news: VecDeque<Quarantine>,
    /// Slaves that are somebody's own.
    pub(crate) reserved: Reserved,
    /// Who is told that slaves are hungry.
    pub(crate) hungry: Hungry,
}

impl<P: Series> Scheduler<P> {
    /// What a queued task takes beside its own bytes; all of a series take it together.
    pub const RECORD_BYTES: u64 = Tasks::<P>::RECORD_BYTES;

    /// Without tasks or slaves, for algorithms `0..algorithms`.
    pub fn new(config: Config, algorithms: usize) -> Self {
        Scheduler {
            config,
            tasks: Tasks::new(),
            owners: Owners::new(),
            slaves: Slaves::new(short_tasks(&config), config.prefetch),
            deadlines: Deadlines::default(),
            counts: Counts::new(algorithms),
            times: Times::new(algorithms, config.duplicate_stragglers),
            packet_costs: PacketCosts::default(),
            desired: [0; 3],
            fallen: 0,
            has_allocated: false,
            hold_queue: false,
            stopped: false,
            sources: 0,
            filled: None,
            next_task: 0,
            next_slave: 0,
            unrunnable: VecDeque::new(),
            connected: Vec::new(),
            disconnected: Vec::new(),
            moved: VecDeque::new(),
            clock: 0,
            twins: BTreeMap::new(),
            duplicated: 0,
            looked: 0,
            stragglers: Vec::new(),
            withdrawals: VecDeque::new(),
            not_begun: VecDeque::new(),
            kept_bytes: 0,
            untaken_bytes: 0,
            health: Health::new(algorithms),
            quarantined: Quarantined::default(),
            quarantine_news: VecDeque::new(),
            reserved: Reserved::default(),
            hungry: Hungry::default(),
        }
    }

    /// While true, no task whose owner is the queue is handed out; those of calls and maps are. Of a slave's own tasks,
    /// those may then overtake the others.
    pub fn hold_queue_tasks(&mut self, hold: bool) {
        self.hold_queue = hold;
    }

    /// A source of tasks has begun: as tasks of it end it submits more, enough that all slaves can have their hands
    /// full. While there is one the end of the work is not near, and packets do not shrink towards it.
    pub fn begin_source(&mut self) {
        self.sources += 1;
    }

    /// A source has no more.
    ///
    /// # Panics
    /// If none has begun.
    pub fn end_source(&mut self) {
        self.sources = self.sources.checked_sub(1).expect("a source ends once");
    }

    /// Nothing is handed out any more.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next unrunnable task, in the order in which they became so.
    pub fn poll_unrunnable(&mut self) -> Option<Unrunnable<P>> {
        let task = self.unrunnable.pop_front();
        shrink(&mut self.unrunnable);
        task
    }

    /// Sets the target number of an algorithm, or the general one. While the queue is filled up to one again and again,
    /// more is to come, as from a source.
    pub fn set_target(&mut self, algorithm: Option<AlgorithmId>, target: u64) {
        self.counts.set_target(algorithm, target);
    }

    /// The record of what is submitted: its slot.
    #[inline]
    pub(crate) fn begin(&mut self, record: Record<P>) -> u32 {
        let slot = self.tasks.insert(record);
        self.owners.on_begun(&mut self.tasks, slot);
        slot
    }

    /// Frees the record of a task that is in no line and in no hands any more, and returns its payload.
    #[inline]
    pub(crate) fn free(&mut self, slot: u32) -> P {
        self.owners.on_ended(&mut self.tasks, slot);
        self.tasks.remove(slot)
    }

    /// Queues a record behind all others of its owner, or of the slave it is bound to.
    pub(crate) fn enqueue_back(&mut self, slot: u32) {
        self.prepare(slot);
        match self.line_slave(slot) {
            None => self.owners.push_back(&mut self.tasks, slot),
            Some(at) => self
                .slaves
                .change_own(at, |own| own.push_back(&mut self.tasks, slot)),
        }
    }

    /// Queues a record before all others of its owner; for recycled ones, which are never bound.
    pub(crate) fn enqueue_front(&mut self, slot: u32) {
        self.prepare(slot);
        debug_assert!(self.tasks.get(slot).bound_to().is_none());
        self.owners.push_front(&mut self.tasks, slot);
    }

    #[inline]
    fn prepare(&mut self, slot: u32) {
        let record = self.tasks.get_mut(slot);
        record.state = State::Queued(Links::NONE);
        self.counts.on_queued(record);
    }

    pub(crate) fn dequeue(&mut self, slot: u32) {
        match self.line_slave(slot) {
            None => self.owners.remove(&mut self.tasks, slot),
            Some(at) => self
                .slaves
                .change_own(at, |own| own.remove(&mut self.tasks, slot)),
        }
        self.on_out_of_line(slot);
    }

    /// A record of its own for `tasks` tasks from number `first` on, of those that stand in this one. Returns its slot.
    pub(crate) fn cut(&mut self, slot: u32, first: u64, tasks: u32) -> u32 {
        let before = (first - self.tasks.get(slot).seq) as u32;
        if before > 0 {
            self.split(slot, before);
        }
        if self.tasks.get(slot).tasks() > tasks {
            self.split(slot, tasks)
        } else {
            slot
        }
    }

    /// Splits the first `tasks` of a series off, where it is. Returns their slot.
    fn split(&mut self, slot: u32, tasks: u32) -> u32 {
        let before = self.tasks.get(slot).queued_bytes();
        let front = self.split_record(slot, tasks);
        match self.tasks.get(slot).state {
            State::Queued(_) => {
                match self.line_slave(slot) {
                    None => self.owners.on_line_split(&mut self.tasks, slot, front),
                    Some(at) => self
                        .slaves
                        .change_own(at, |own| own.on_split(&mut self.tasks, slot, front)),
                }
                let parts = [slot, front].map(|slot| self.tasks.get(slot).queued_bytes());
                self.counts.queued_bytes += parts.iter().sum::<u64>() - before;
            }
            State::Held { slave, position } => {
                self.slaves
                    .hands_mut(slave)
                    .on_split(position, tasks, front);
                let position = position.wrapping_add(tasks);
                self.tasks.get_mut(slot).state = State::Held { slave, position };
            }
            State::Away => unreachable!("one task is not split"),
            State::Free(_) => unreachable!("a live run is split"),
        }
        front
    }

    /// Splits the first `tasks` of a record off, wherever it is. Returns their slot.
    pub(crate) fn split_record(&mut self, slot: u32, tasks: u32) -> u32 {
        let before = self.tasks.get(slot).bytes_of_tasks();
        let front = self.tasks.split_front(slot, tasks);
        self.owners.on_split(&mut self.tasks, slot, front, before);
        front
    }

    /// The numbers of the tasks in these slots, each with the first of them.
    pub(crate) fn numbers(&self, slots: &[(u64, u32)]) -> Vec<u64> {
        let each = |&(first, slot): &(u64, u32)| {
            let tasks = self.tasks.get(slot).tasks();
            (first..).take(tasks as usize)
        };
        slots.iter().flat_map(each).collect()
    }

    /// Ends the tasks of a record that is in no list any more, each by itself. Returns how many they were.
    pub(crate) fn end(&mut self, slot: u32, reason: Reason) -> u32 {
        let record = self.tasks.get(slot);
        let (seq, algorithm, owner) = (record.seq, record.algorithm, self.owners.of(record));
        let (policy, tasks) = (self.owners.policy_of(record), record.tasks());
        let each = self.owners.each_within(record).to_vec();
        let mut rest = Some(self.free(slot));
        for nth in 0..tasks {
            let payload = match nth + 1 < tasks {
                true => rest.as_mut().map(|rest| rest.split_front(1)),
                false => rest.take(),
            };
            self.unrunnable.push_back(Unrunnable {
                id: TaskId { seq, slot }.after(nth),
                algorithm,
                owner,
                policy: policy.of_nth(&each, nth as usize),
                payload: payload.expect("there is one for each task"),
                reason,
            });
        }
        tasks
    }

    /// The task that would be handed out next to a slave without labels.
    #[inline]
    pub(crate) fn front(&self) -> Option<u32> {
        let time = (self.clock, self.config.priority_aging);
        let owner = self.owners.pick(&self.tasks, &[], self.hold_queue, time)?;
        Some(self.owners.front_of(owner))
    }

    /// Counts a queued task out that was taken out of its line.
    pub(crate) fn on_out_of_line(&mut self, slot: u32) {
        self.counts.on_unqueued(self.tasks.get(slot));
    }

    /// The slave in whose line the task belongs.
    #[inline]
    fn line_slave(&self, slot: u32) -> Option<u32> {
        let slave = self.tasks.get(slot).bound_to()?;
        Some(
            self.slaves
                .find(slave)
                .expect("tasks are bound to connected slaves alone"),
        )
    }
}

/// Gives the memory of a drained queue back.
pub(crate) fn shrink<T>(drained: &mut VecDeque<T>) {
    if drained.is_empty() && drained.capacity() > NEWS_KEPT {
        *drained = VecDeque::new();
    }
}
