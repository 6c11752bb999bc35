//! A task is submitted, or several that travel as one.

use crate::config::{AUTO, Config, PACKET_TASKS_MAX};
use crate::data::list::NONE;
use crate::data::record::Record;
use crate::end::{Reason, Unrunnable};
use crate::ids::{AlgorithmId, Nanos, TaskId};
use crate::scheduler::Scheduler;
use crate::series::{HAS_PAYLOAD, Series};
use crate::task::TaskSpec;

impl<P: Series> Scheduler<P> {
    /// Takes a task. One that can not be run ends at once: [`poll_unrunnable`](Self::poll_unrunnable) tells.
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
        let bound = match self.admit(&spec) {
            Ok(bound) => bound,
            Err(reason) => {
                let id = TaskId { seq, slot: NONE };
                let TaskSpec {
                    algorithm,
                    owner,
                    policy,
                    ..
                } = spec;
                self.unrunnable.push_back(Unrunnable {
                    id,
                    algorithm,
                    owner,
                    policy,
                    payload,
                    reason,
                });
                return id;
            }
        };
        let owner = self.owners.slot(spec.owner);
        let slot = self.begin(Record::new(seq, &spec, owner, bound, payload, now));
        self.enqueue_back(slot);
        TaskId { seq, slot }
    }

    /// How many tasks a run may have to be of use: as many of this algorithm as a packet takes while there are plenty,
    /// if each adds so many bytes to it. Where packets are sized by compute time and none is known yet, the most that one
    /// could take: the first few are split off, and all others do not cost a record each.
    pub fn run_most(&self, algorithm: AlgorithmId, bytes: u32) -> u32 {
        let group = match (self.config.task_group, self.times.known(algorithm)) {
            (AUTO, None) => PACKET_TASKS_MAX,
            _ => self.group_of_tasks(algorithm),
        };
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
        let owner = self.owners.slot(spec.owner);
        let slot = self.begin(Record::new(seq, &spec, owner, false, payload, now));
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
        let owner = self.owners.of(self.tasks.ending_with(last)?);
        let record = self.tasks.ending_with(last)?;
        let tasks = record.tasks();
        let fits = self.config.fits_packet(tasks + 1, spec.bytes);
        if tasks >= most || !fits || !record.may_grow(spec, owner, now) {
            return None;
        }
        let payload = record.payload.as_mut().expect(HAS_PAYLOAD);
        if !push(payload) {
            return None;
        }
        let more = u64::from(payload.more_bytes());
        self.counts.add(spec.algorithm, 1, more);
        self.owners.on_grown(record);
        self.next_task += 1;
        Some(last.after(1))
    }

    /// Whether it is bound to a slave, or why it can not be run.
    fn admit(&self, spec: &TaskSpec) -> Result<bool, Reason> {
        if !self.config.fits_packet(1, spec.bytes) {
            return Err(Reason::TooLarge {
                bytes: self.config.packet_bytes(1, spec.bytes),
                bytes_max: self.config.packet_bytes_max,
            });
        }
        let bound = match spec.policy.to {
            None => false,
            Some(to) => match self.slaves.find(to) {
                Some(at) if self.slaves.get(at).group.takes_ordered() => true,
                _ if spec.policy.do_it_anyway => false,
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
}
