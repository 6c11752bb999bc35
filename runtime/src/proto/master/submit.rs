//! Tasks come in and are taken back; those that slaves hold are withdrawn.

use ringmw_sched::{Cancelled, Nanos, Opening, Series, TaskId, TaskSpec};

use super::MasterCore;
use crate::proto::end::End;
use crate::proto::series::Body;

impl MasterCore {
    /// What a series of tasks would be, were it submitted now.
    #[inline]
    pub(crate) fn opening(&self, spec: &TaskSpec) -> Opening {
        self.sched.opening(spec)
    }

    /// How many bytes unrunnable ends take that were told and that nobody has taken: what is submitted has so much less
    /// room in the queue.
    #[inline]
    pub(crate) fn set_untaken_bytes(&mut self, bytes: u64) {
        self.sched.set_untaken_bytes(bytes);
    }

    /// Submits a task, or a series that is as [`opening`](Self::opening) foretold; the id of the first.
    pub fn submit(&mut self, spec: TaskSpec, tasks: impl Into<Body>) -> TaskId {
        self.submit_each_within(spec, tasks.into(), Vec::new())
    }

    /// As [`submit`](Self::submit), of a series whose tasks differ in the time to be begun within: `each` has those.
    #[inline]
    pub(crate) fn submit_each_within(
        &mut self,
        spec: TaskSpec,
        tasks: Body,
        each: Vec<Nanos>,
    ) -> TaskId {
        self.account.of(spec.algorithm).submitted += u64::from(tasks.tasks());
        let id = self.sched.submit_each_within(spec, tasks, self.now, each);
        self.collect_unrunnable();
        id
    }

    /// Takes a task back; the end that it is told with, or `None` if it has ended already.
    pub fn cancel(&mut self, id: TaskId) -> Option<End> {
        let cancelled = self.sched.cancel(id)?;
        self.forget_checkpoints(id.seq(), 1);
        self.forget_talks(id.seq(), 1);
        self.collect_withdrawals();
        self.trail.on_cancelled();
        let end = End::Cancelled(Box::new(Cancelled {
            payload: cancelled.payload.alone(),
            ..cancelled
        }));
        self.trail.on_task_ended(&end);
        self.account.on_end(&end, self.now);
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
