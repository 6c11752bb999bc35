//! What the application does, and what it is told: each end as it must be, once, and where the task was given.

use std::fmt;

use ringmw_codec::batch::{BATCH_OVERHEAD_BYTES, TaskBody};
use ringmw_sched::{
    Owner, PRIORITY_MAX, PRIORITY_MIN, Reason, SlaveId, TaskId, TaskSpec, Unrunnable,
};

use crate::io::engine::ConnId;
use crate::master::Origin;
use crate::proto::bytes::SmallBytes;
use crate::proto::end::{End, FAILED_BYTES, RESULT_BYTES};
use crate::proto::series::{Body, encoded};
use crate::testing::coverage::{Happening, Must};
use crate::testing::law::Law;
use crate::testing::law::tables::{Place, Task, record_bytes};

impl Law {
    /// With `queued_bytes` queued before.
    pub(in crate::testing) fn on_submit(
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
        // A map keeps to the bound itself, and waits.
        let full = !matches!(spec.owner, Owner::Map(_))
            && queued_bytes + record_bytes(&spec) > self.config.rules.sched.queued_bytes_max;
        let reason = match to {
            _ if packet > u64::from(self.config.rules.sched.task_packet_bytes_max) => {
                Some(Reason::TooLarge {
                    bytes: packet,
                    bytes_max: self.config.rules.sched.task_packet_bytes_max,
                })
            }
            _ if !(PRIORITY_MIN..=PRIORITY_MAX).contains(&spec.policy.priority) => {
                Some(Reason::NoSuchPriority {
                    priority: spec.policy.priority,
                })
            }
            _ if !self.needs.may_be(self.needs.of(seq)) => Some(Reason::NoSuchNeeds),
            Some((to, _)) if takes == Some(false) && !spec.policy.do_it_anyway => {
                Some(Reason::SlaveTakesNoOrdered(to))
            }
            Some((to, None)) if !spec.policy.do_it_anyway => Some(Reason::NoSuchSlave(to)),
            _ if full => Some(Reason::QueueFull {
                bytes_max: self.config.rules.sched.queued_bytes_max,
            }),
            _ => None,
        };
        let task = Task {
            id: Some(id),
            spec,
            needs: self.needs.of(seq),
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
            submitted: self.now,
            is_late: false,
            crash_limit: 0,
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

    pub(in crate::testing) fn on_cancel(&mut self, id: TaskId, cancelled: bool) {
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

    pub(in crate::testing) fn on_best(&mut self, start: u64) {
        self.keys.push(vec![start]);
    }

    pub(in crate::testing) fn on_own_offer(&mut self, best: u32, key: u64) {
        self.keys[best as usize].push(key);
    }

    /// The application frees a slave; `freed`: it was ordered or intermingle.
    pub(in crate::testing) fn on_free(&mut self, id: SlaveId, freed: bool) {
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

    pub(in crate::testing) fn on_shutdown(&mut self) {
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
    pub(in crate::testing) fn on_told(&mut self, owner: Owner, end: &End) {
        let id = end.id();
        self.tell(id, end);
        let task = &self.tasks[&id.seq()];
        assert_eq!(
            task.spec.owner, owner,
            "{id} is told where it was not given"
        );
        assert_eq!(
            task.spec.algorithm,
            end.algorithm(),
            "{id} is told as another algorithm"
        );
        let must = &task.must;
        let fits = match (must, end) {
            (Some(Must::Done { slave, output }), End::Done(results)) => {
                *slave == results.slave() && **output == *results.output()
            }
            (Some(Must::Failed { slave, .. }), End::Failed(failed)) => *slave == failed.task.slave,
            (Some(Must::Unrunnable(reason)), End::Unrunnable(task)) => *reason == task.reason,
            (Some(Must::Cancelled), End::Cancelled(_)) => true,
            _ => false,
        };
        assert!(fits, "{id} must end as {must:?} and is told as {end:?}");
        let (policy, body) = match end {
            End::Done(results) => (None, results.tagged().map(|task| encoded(&task))),
            End::Failed(failed) => {
                let body = one_body(&failed.task.payload);
                (Some(failed.task.policy), Some(body))
            }
            End::Unrunnable(task) => (Some(task.policy), Some(one_body(&task.payload))),
            End::Cancelled(task) => (Some(task.policy), Some(one_body(&task.payload))),
        };
        // By the scheduler's number the observer does not know what it needs.
        let mut given = task.spec.policy;
        if let Some(policy) = policy {
            given.needs = policy.needs;
            assert!(
                self.needs.are(task.needs, policy.needs.labels()),
                "{id} is told with other needs: {policy:?}"
            );
        }
        assert_eq!(
            policy.unwrap_or(given),
            given,
            "{id} is told with another policy"
        );
        let kept = match end {
            End::Done(_) if !TaskBody::has_tag(&task.body) => None,
            _ => Some(task.body.clone()),
        };
        assert_eq!(body, kept, "{id} is told with another body");
    }

    /// The application is told an unrunnable end of the queue, which may be without arguments and long tag.
    pub(in crate::testing) fn on_told_unrunnable(&mut self, task: Unrunnable<Origin>) {
        let id = task.id;
        let (body, is_whole) = task.payload.body();
        let mut payload = body.clone();
        if !is_whole {
            let given = &self.tasks[&id.seq()].body;
            let given_parts = TaskBody::parse(given).expect("it was submitted");
            let tag_is_kept = given_parts.tag.len() <= 64;
            let kept = TaskBody {
                tag_type: if tag_is_kept { given_parts.tag_type } else { 0 },
                tag: if tag_is_kept { given_parts.tag } else { &[] },
                timeout_ms: 0,
                args: &[],
                ..given_parts
            };
            assert_eq!(*body, encoded(&kept), "{id} keeps something else");
            payload = given.clone();
        }
        let task = Unrunnable {
            id,
            algorithm: task.algorithm,
            owner: task.owner,
            policy: task.policy,
            payload: payload.into(),
            reason: task.reason,
        };
        self.on_told(Owner::Queue, &End::Unrunnable(Box::new(task.into())));
    }

    /// The application is told by `cancel` itself.
    pub(in crate::testing) fn on_told_cancelled(&mut self, id: TaskId) {
        let must = &self.tell(id, &"cancelled").must;
        assert!(
            matches!(must, Some(Must::Cancelled)),
            "{id} must end as {must:?} and is told as cancelled"
        );
    }

    /// An end is told, once and not before it has come.
    fn tell(&mut self, id: TaskId, told: &dyn fmt::Debug) -> &Task {
        let task = self
            .tasks
            .get_mut(&id.seq())
            .unwrap_or_else(|| panic!("{id} was never submitted"));
        assert!(!task.told, "{id} is told a second time: {told:?}");
        assert!(
            task.must.is_some(),
            "{id} is told as {told:?}, but it has not ended"
        );
        task.told = true;
        self.told += 1;
        task
    }

    /// What the ready results take that the application has not taken.
    pub(in crate::testing) fn ready_bytes(&self) -> u64 {
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
                Some(Must::Failed { bytes, .. }) => bytes + task.body.len() + FAILED_BYTES,
                _ => 0,
            } as u64)
            .sum()
    }
}

fn one_body(body: &Body) -> SmallBytes {
    assert_eq!(
        ringmw_sched::Series::tasks(body),
        1,
        "an end has its task's body alone"
    );
    body.clone().one()
}
