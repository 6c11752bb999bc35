//! Tasks come in and are taken back; those that slaves hold are withdrawn.

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Cancelled, Owner, Series, TaskId, TaskSpec};

use super::MasterCore;
use crate::proto::bytes::SmallBytes;
use crate::proto::end::End;
use crate::proto::series::{Body, packet_bytes};

impl MasterCore {
    /// Submits a task; its body is `body`.
    pub fn submit(&mut self, spec: TaskSpec, body: SmallBytes) -> TaskId {
        let id = self.sched.submit(spec, body.into(), self.now);
        let most = self.sched.run_most(spec.algorithm, spec.bytes);
        self.last = (most > 1).then_some((id, most));
        self.collect_unrunnable();
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
        let end = End::Cancelled(Box::new(Cancelled {
            payload: cancelled.payload.alone(),
            ..cancelled
        }));
        self.trail.on_task_ended(&end);
        Some(end)
    }

    /// Slaves hear of the tasks that they are to drop.
    pub(super) fn collect_withdrawals(&mut self) {
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
}
