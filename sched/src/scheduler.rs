//! The scheduler: its parts, submit and cancel, and everything that can be asked. The other events have files of their
//! own: slaves and groups in `groups`, packets and results in `hand_out`, losses in `loss`.

use std::collections::{BTreeMap, VecDeque};

use crate::config::{Config, short_tasks};
use crate::data::counts::Counts;
use crate::data::hands::Place;
use crate::data::lane::Lane;
use crate::data::list::{Links, NONE};
use crate::data::record::{Record, State};
use crate::data::slaves::Slaves;
use crate::data::tasks::Tasks;
use crate::data::times::Grouping;
use crate::end::{Cancelled, Ended, Reason};
use crate::ids::{AlgorithmId, Group, Nanos, Owner, SlaveId, TaskId};
use crate::series::{HAS_PAYLOAD, Payload};
use crate::task::TaskSpec;

/// A drained list of news keeps room for this many at most.
const NEWS_KEPT: usize = 1024;

/// Tasks, slaves, and who does what next. See the [crate's documentation](crate).
///
/// `Clone` is there for tests that explore what may happen next.
#[derive(Clone, Debug)]
pub struct Scheduler<P> {
    pub(crate) config: Config,
    pub(crate) tasks: Tasks<P>,
    /// Queued tasks that any slave may run.
    pub(crate) unordered: Lane,
    pub(crate) slaves: Slaves,
    pub(crate) counts: Counts,
    pub(crate) grouping: Grouping,
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
    next_task: u64,
    pub(crate) next_slave: u32,
    /// The places at the two ends of all lanes.
    front_place: i64,
    back_place: i64,
    pub(crate) ended: VecDeque<Ended<P>>,
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
}

impl<P: Payload> Scheduler<P> {
    /// What a queued task takes beside its own bytes; all of a run take it together.
    pub const RECORD_BYTES: u64 = Tasks::<P>::RECORD_BYTES;

    /// Without tasks or slaves, for algorithms `0..algorithms`.
    pub fn new(config: Config, algorithms: usize) -> Self {
        Scheduler {
            config,
            tasks: Tasks::new(),
            unordered: Lane::EMPTY,
            slaves: Slaves::new(short_tasks(&config)),
            counts: Counts::new(algorithms),
            grouping: Grouping::new(algorithms, config.duplicate_stragglers),
            desired: [0; 3],
            fallen: 0,
            has_allocated: false,
            hold_queue: false,
            stopped: false,
            sources: 0,
            filled: None,
            next_task: 0,
            next_slave: 0,
            front_place: -1,
            back_place: 0,
            ended: VecDeque::new(),
            connected: Vec::new(),
            disconnected: Vec::new(),
            moved: VecDeque::new(),
            clock: 0,
            twins: BTreeMap::new(),
            duplicated: 0,
            looked: 0,
            stragglers: Vec::new(),
            withdrawals: VecDeque::new(),
        }
    }

    /// Takes a task. One that can not be run ends at once: [`poll_ended`](Self::poll_ended) tells.
    ///
    /// # Panics
    /// If the algorithm is unknown.
    pub fn submit(&mut self, spec: TaskSpec, payload: P, now: Nanos) -> TaskId {
        assert!(
            usize::from(spec.algorithm.0) < self.counts.algorithms(),
            "{:?} is unknown",
            spec.algorithm
        );
        let seq = self.next_task;
        self.next_task += 1;
        let bound = match self.judge(&spec) {
            Ok(bound) => bound,
            Err(reason) => {
                let id = TaskId { seq, slot: NONE };
                let TaskSpec {
                    algorithm,
                    to,
                    do_it_anyway,
                    retry,
                    owner,
                    ..
                } = spec;
                self.ended.push_back(Ended {
                    id,
                    algorithm,
                    owner,
                    to,
                    do_it_anyway,
                    retry,
                    payload,
                    reason,
                });
                return id;
            }
        };
        let slot = self
            .tasks
            .insert(Record::new(seq, &spec, bound, payload, now));
        self.enqueue_back(slot);
        TaskId { seq, slot }
    }

    /// How many tasks a run may have to be of use: as many of this algorithm as a packet takes while there are plenty,
    /// if each adds so many bytes to it.
    pub fn run_most(&self, algorithm: AlgorithmId, bytes: u32) -> u32 {
        let group = self.group_of_tasks(algorithm);
        let Config {
            packet_bytes_max,
            packet_bytes_base,
            ..
        } = self.config;
        group.min(packet_bytes_max.saturating_sub(packet_bytes_base) / bytes.max(1))
    }

    /// Takes a run of tasks that `spec` holds for each of, which has the default policy. Returns the id of the first.
    ///
    /// # Errors
    /// The payload, if not all can be queued, or a packet can not take them: they are to be submitted one by one.
    ///
    /// # Panics
    /// If the algorithm is unknown, or the policy is another.
    pub fn submit_run(&mut self, spec: TaskSpec, payload: P, now: Nanos) -> Result<TaskId, P> {
        assert_eq!(
            spec,
            TaskSpec::new(spec.algorithm, spec.owner, spec.bytes),
            "a run has the default policy"
        );
        let tasks = payload.tasks();
        if !self.config.fits_packet(tasks, spec.bytes) || !self.may_queue(tasks, spec.bytes) {
            return Err(payload);
        }
        let seq = self.next_task;
        self.next_task += u64::from(tasks);
        let record = Record::new(seq, &spec, false, payload, now);
        let slot = self.tasks.insert(record);
        self.enqueue_back(slot);
        Ok(TaskId { seq, slot })
    }

    /// Takes a task into a run with the one submitted last, `last`: of at most `most` tasks, and no more than a packet
    /// takes. `push` adds what it carries, unless that is not of the run's kind. `None`: it can not, and is to be
    /// submitted by itself.
    ///
    /// It can if both have the same `spec`, with the default policy, and nothing has happened since, time included.
    #[inline]
    pub fn submit_next(
        &mut self,
        last: TaskId,
        most: u32,
        spec: &TaskSpec,
        now: Nanos,
        push: impl FnOnce(&mut P) -> bool,
    ) -> Option<TaskId> {
        if self.next_task != last.seq + 1 || !self.may_queue(1, spec.bytes) {
            return None;
        }
        let record = self.tasks.ending_with(last)?;
        let tasks = record.tasks();
        let fits = self.config.fits_packet(tasks + 1, spec.bytes);
        if tasks >= most || !fits || !record.may_grow(spec, now) {
            return None;
        }
        let payload = record.payload.as_mut().expect(HAS_PAYLOAD);
        if !push(payload) {
            return None;
        }
        let more = u64::from(payload.more_bytes());
        self.counts.add(spec.algorithm, 1, more);
        self.unordered.on_grown(spec.owner == Owner::Queue);
        self.next_task += 1;
        Some(last.after(1))
    }

    /// Whether it is bound to a slave, or why it can not be run.
    fn judge(&self, spec: &TaskSpec) -> Result<bool, Reason> {
        if !self.config.fits_packet(1, spec.bytes) {
            return Err(Reason::TooLarge {
                bytes: self.config.packet_bytes(1, spec.bytes),
                bytes_max: self.config.packet_bytes_max,
            });
        }
        let bound = match spec.to {
            None => false,
            Some(to) => match self.slaves.find(to) {
                Some(at) if self.slaves.get(at).group.takes_ordered() => true,
                _ if spec.do_it_anyway => false,
                Some(_) => return Err(Reason::SlaveTakesNoOrdered(to)),
                None => return Err(Reason::NoSuchSlave(to)),
            },
        };
        if !self.may_queue(1, spec.bytes) {
            let bytes_max = self.config.queued_bytes_max;
            return Err(Reason::QueueFull { bytes_max });
        }
        Ok(bound)
    }

    /// Whether so many more tasks of so many bytes may be queued, as if each were submitted by itself.
    #[inline]
    fn may_queue(&self, tasks: u32, bytes: u32) -> bool {
        let more = u64::from(tasks) * (u64::from(bytes) + Self::RECORD_BYTES);
        self.counts.queued_bytes + more <= self.config.queued_bytes_max
    }

    /// Ends a live task as cancelled. If a slave holds it, [`poll_withdrawal`](Self::poll_withdrawal) says that it is to
    /// be told; its entry stays in the slave's hands until its result or its acknowledgement. `None`: it had ended
    /// before.
    pub fn cancel(&mut self, id: TaskId) -> Option<Cancelled<P>> {
        let slot = self.tasks.find(id)?;
        let slot = self.cut(slot, id.seq, 1);
        let held_by = match self.tasks.get(slot).state {
            State::Queued(_) => {
                self.dequeue(slot);
                None
            }
            State::Free(_) => unreachable!("it was found"),
            State::Held { slave, position } => {
                self.end_twin(slot, slave);
                self.withdraw(Place { slave, position });
                self.counts.running -= 1;
                Some(self.slaves.get(slave).id)
            }
        };
        let record = self.tasks.get(slot);
        let (owner, algorithm) = (record.owner(), record.algorithm);
        Some(Cancelled {
            payload: self.tasks.remove(slot),
            owner,
            algorithm,
            held_by,
        })
    }

    /// While true, no task whose owner is the queue is handed out; those of flows are. Of a slave's own tasks, those
    /// of flows may then overtake the others.
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
    pub fn poll_ended(&mut self) -> Option<Ended<P>> {
        let ended = self.ended.pop_front();
        shrink(&mut self.ended);
        ended
    }

    /// How many unrunnable tasks are to be polled.
    pub fn ended(&self) -> usize {
        self.ended.len()
    }

    /// Sets the target number of an algorithm, or the general one. While the queue is filled up to one again and again,
    /// more is to come, as from a source.
    pub fn set_target(&mut self, algorithm: Option<AlgorithmId>, target: u64) {
        self.counts.set_target(algorithm, target);
    }

    /// The target number of an algorithm, or the general one.
    pub fn target(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.counts.target(algorithm)
    }

    /// Tasks of an algorithm, or all, that are queued and not on any slave.
    pub fn pending(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.counts.pending(algorithm)
    }

    /// How many tasks may be submitted until the target is reached.
    pub fn upto_target(&self, algorithm: Option<AlgorithmId>) -> u64 {
        self.target(algorithm)
            .saturating_sub(self.pending(algorithm))
    }

    /// Tasks that are queued or running.
    pub fn runnable(&self) -> u64 {
        self.counts.queued + self.counts.running
    }

    /// Tasks that are queued.
    pub fn queued(&self) -> u64 {
        self.counts.queued
    }

    /// What queued tasks take, [`RECORD_BYTES`](Self::RECORD_BYTES) for each task or run included. It may pass the limit
    /// by what was recycled, and where runs were parted.
    pub fn queued_bytes(&self) -> u64 {
        self.counts.queued_bytes
    }

    /// Whether the task is queued or running.
    pub fn is_live(&self, id: TaskId) -> bool {
        self.tasks.find(id).is_some()
    }

    /// Queued tasks that no connected slave's group may run, while at least one slave is connected.
    pub fn waits_for_nobody(&self) -> u64 {
        let members = Group::ALL
            .into_iter()
            .filter(|group| group.takes_unordered());
        let takers: u32 = members.map(|group| self.slaves.members(group)).sum();
        if self.slaves.len() > 0 && takers == 0 {
            self.unordered.len()
        } else {
            0
        }
    }

    /// Nothing is queued, running or desired.
    pub fn idle(&self) -> bool {
        self.runnable() == 0 && self.desired == [0; 3]
    }

    /// Queues a record behind all others.
    pub(crate) fn enqueue_back(&mut self, slot: u32) {
        let place = self.back_place;
        self.back_place += 1;
        self.prepare(slot, place);
        match self.lane_slave(slot) {
            None => self.unordered.push_back(&mut self.tasks, slot),
            Some(at) => self
                .slaves
                .change_own(at, |own| own.push_back(&mut self.tasks, slot)),
        }
    }

    /// Queues a record before all others; for recycled ones, which are never bound.
    pub(crate) fn enqueue_front(&mut self, slot: u32) {
        let place = self.front_place;
        self.front_place -= 1;
        self.prepare(slot, place);
        debug_assert!(self.tasks.get(slot).bound_to().is_none());
        self.unordered.push_front(&mut self.tasks, slot);
    }

    fn prepare(&mut self, slot: u32, place: i64) {
        let record = self.tasks.get_mut(slot);
        record.place = place;
        record.state = State::Queued(Links::NONE);
        self.counts.on_queued(record);
    }

    pub(crate) fn dequeue(&mut self, slot: u32) {
        match self.lane_slave(slot) {
            None => self.unordered.remove(&mut self.tasks, slot),
            Some(at) => self
                .slaves
                .change_own(at, |own| own.remove(&mut self.tasks, slot)),
        }
        self.on_out_of_lane(slot);
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

    /// Splits the first `tasks` of a run off, where it is. Returns their slot.
    fn split(&mut self, slot: u32, tasks: u32) -> u32 {
        let before = self.tasks.get(slot).queued_bytes();
        let front = self.tasks.split_front(slot, tasks);
        match self.tasks.get(slot).state {
            State::Queued(_) => {
                self.unordered.on_split(&mut self.tasks, slot, front);
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
            State::Free(_) => unreachable!("a live run is split"),
        }
        front
    }

    /// The slave in whose lane the task belongs.
    fn lane_slave(&self, slot: u32) -> Option<u32> {
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
