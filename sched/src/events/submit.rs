//! A task is submitted, or several that travel as one.

use crate::config::{AUTO, Config, SERIES_TASKS_MAX};
use crate::data::list::NONE;
use crate::data::record::Record;
use crate::end::{Reason, Unrunnable};
use crate::ids::{Nanos, Needs, Owner, TaskId};
use crate::scheduler::Scheduler;
use crate::series::Series;
use crate::task::{Opening, PRIORITY_MAX, PRIORITY_MIN, Policy, TaskSpec};

impl<P: Series> Scheduler<P> {
    /// What a series would be whose tasks are each as `spec` says but for their bytes: as many as fill the packet that its
    /// owner's waiting tasks have begun, so that it is not split; only of what the queue has room for; and none of tasks
    /// that can not be run.
    ///
    /// It holds until anything else is submitted, or happens.
    #[inline]
    pub fn opening(&self, spec: &TaskSpec) -> Opening {
        let first = TaskId {
            seq: self.next_task,
            slot: self.tasks.next_slot(),
        };
        let useful = match (self.config.task_group, self.times.known(spec.algorithm)) {
            // The first few are split off a series then, and the others do not cost a record each.
            (AUTO, None) => SERIES_TASKS_MAX,
            (AUTO, _) => {
                let group = self.group_of_tasks(spec.algorithm);
                self.up_to_packet(spec, group).min(SERIES_TASKS_MAX)
            }
            (number, _) => self.up_to_packet(spec, number),
        };
        if useful < 2 || spec.alone {
            return Opening::of_one(first, spec);
        }
        self.opening_of(spec, first, useful)
    }

    /// How many tasks fill the packet that those which wait before them leave unfilled: a series that began in the middle of
    /// a packet would be split, and all that follow it too.
    #[inline]
    fn up_to_packet(&self, spec: &TaskSpec, group: u32) -> u32 {
        let begun = self.owners.waiting(spec.owner) % u64::from(group);
        group - begun as u32
    }

    /// The opening of a series of which so many tasks are of use.
    #[inline(never)]
    fn opening_of(&self, spec: &TaskSpec, first: TaskId, useful: u32) -> Opening {
        if self.admit(spec).is_err() {
            return Opening::of_one(first, spec);
        }
        let Config {
            task_packet_bytes_max,
            task_packet_overhead_bytes,
            queued_bytes_max,
            ..
        } = self.config;
        let packet = u64::from(task_packet_bytes_max.saturating_sub(task_packet_overhead_bytes));
        let room = match spec.owner {
            Owner::Map(_) => u64::MAX,
            _ => queued_bytes_max.saturating_sub(self.bounded_bytes()),
        };
        Opening {
            first,
            tasks_max: useful,
            bytes_max: packet,
            queue_max: room,
        }
    }

    /// Takes a task, or a series of which each is as `spec` says; the id of the first. One that can not be run ends at
    /// once: [`poll_unrunnable`](Self::poll_unrunnable) tells. A map's is not refused where the queue is full: a map
    /// keeps to that bound itself, and waits.
    ///
    /// # Panics
    /// If the algorithm is unknown, or a series is more than its [`opening`](Self::opening) allows.
    pub fn submit(&mut self, spec: TaskSpec, payload: P, now: Nanos) -> TaskId {
        self.submit_each_within(spec, payload, now, Vec::new())
    }

    /// As [`submit`](Self::submit), of a series whose tasks differ in their `start_within`: `each` has those, and `spec`
    /// that of the first. Without any all are as `spec` says.
    ///
    /// # Panics
    /// As there, or if they are not as many as the tasks, or of tasks of which some have none.
    pub fn submit_each_within(
        &mut self,
        spec: TaskSpec,
        payload: P,
        now: Nanos,
        each: Vec<Nanos>,
    ) -> TaskId {
        assert!(
            usize::from(spec.algorithm.0) < self.counts.algorithms(),
            "{:?} is unknown",
            spec.algorithm
        );
        let tasks = payload.tasks();
        let bound = self.admit(&spec);
        if tasks > 1 {
            let (opening, bytes) = (self.opening(&spec), payload.more_bytes(tasks));
            let bytes = u64::from(spec.bytes) + bytes;
            assert!(
                tasks <= opening.tasks_max
                    && bytes <= opening.bytes_max
                    && bytes + Self::RECORD_BYTES <= opening.queue_max,
                "{tasks} tasks of {bytes} bytes of {opening:?}"
            );
        }
        let seq = self.next_task;
        self.next_task += u64::from(tasks);
        let bound = match bound {
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
        let soonest = each.iter().copied().min();
        let soonest = soonest.unwrap_or(spec.policy.start_within);
        let has_each = !each.is_empty();
        assert!(
            !has_each || (each.len(), each[0]) == (tasks as usize, spec.policy.start_within),
            "{} deadlines of {tasks} tasks",
            each.len()
        );
        let flow = self.owners.flow(&spec, seq, each);
        let mut record = Record::new(seq, &spec, flow, bound, payload, now);
        if has_each {
            record.set_each_within();
        }
        let slot = self.begin(record);
        self.enqueue_back(slot);
        let id = TaskId { seq, slot };
        if soonest != Nanos::MAX {
            self.on_deadline(id, tasks, now.saturating_add(soonest));
        }
        id
    }

    /// Gives a task that need not be run its id: its end is told by who knows it.
    pub fn pass_over(&mut self) -> TaskId {
        let seq = self.next_task;
        self.next_task += 1;
        TaskId { seq, slot: NONE }
    }

    /// Takes a task that can not be run, for a reason of its caller's; the id.
    /// [`poll_unrunnable`](Self::poll_unrunnable) tells.
    pub fn refuse(&mut self, spec: TaskSpec, payload: P, reason: Reason) -> TaskId {
        let id = self.pass_over();
        self.unrunnable.push_back(Unrunnable {
            id,
            algorithm: spec.algorithm,
            owner: spec.owner,
            policy: spec.policy,
            payload,
            reason,
        });
        id
    }

    /// Whether it is bound to a slave, or why it can not be run.
    pub(crate) fn admit(&self, spec: &TaskSpec) -> Result<bool, Reason> {
        if !self.config.fits_packet(1, spec.bytes) {
            return Err(Reason::TooLarge {
                bytes: self.config.packet_bytes(1, spec.bytes),
                bytes_max: self.config.task_packet_bytes_max,
            });
        }
        let Policy {
            to,
            priority,
            needs,
            ..
        } = spec.policy;
        if !(PRIORITY_MIN..=PRIORITY_MAX).contains(&priority) {
            return Err(Reason::NoSuchPriority { priority });
        }
        if needs == Needs::TOO_MANY {
            return Err(Reason::TooManyNeeds);
        }
        if needs == Needs::WRONG {
            return Err(Reason::NoSuchNeeds);
        }
        let bound = match to {
            None => false,
            Some(to) => match self.slaves.find(to) {
                Some(at) if self.slaves.get(at).group.takes_ordered() => true,
                _ if spec.policy.do_it_anyway => false,
                Some(_) => return Err(Reason::SlaveTakesNoOrdered(to)),
                None => return Err(Reason::NoSuchSlave(to)),
            },
        };
        let keeps_itself = matches!(spec.owner, Owner::Map(_));
        if !keeps_itself && !self.may_queue(spec.bytes) {
            let bytes_max = self.config.queued_bytes_max;
            return Err(Reason::QueueFull { bytes_max });
        }
        Ok(bound)
    }

    /// Whether one more task of so many bytes may be queued.
    #[inline]
    fn may_queue(&self, bytes: u32) -> bool {
        let more = u64::from(bytes) + Self::RECORD_BYTES;
        self.bounded_bytes() + more <= self.config.queued_bytes_max
    }
}
