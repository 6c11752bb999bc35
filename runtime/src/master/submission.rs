//! Tasks of one source on their way to the scheduler: those that are alike go there together, as a run.

use std::collections::VecDeque;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Owner, Payload, TaskId};

use super::Master;
use super::state::{RawTask, StreamOf};
use crate::algorithm::{Algorithm, Task};
use crate::proto::master::{Body, TaskEnd};

/// Tasks of a map in order of submission, each with its end once that has come.
pub(super) type InOrder = VecDeque<(TaskId, Option<TaskEnd>)>;

/// Collects runs; what it holds when it is dropped is submitted, so that nothing is lost where the source panics.
pub(super) struct Submission<'m> {
    mw: &'m Master,
    algorithm: AlgorithmId,
    owner: Owner,
    /// Hears of every task.
    in_order: Option<&'m mut InOrder>,
    run: Option<Body>,
    /// How many tasks the run may have.
    most: u32,
}

impl<'m> Submission<'m> {
    pub(super) fn new(
        mw: &'m Master,
        algorithm: AlgorithmId,
        owner: Owner,
        in_order: Option<&'m mut InOrder>,
    ) -> Self {
        Submission {
            mw,
            algorithm,
            owner,
            in_order,
            run: None,
            most: 0,
        }
    }

    /// Submits a task, or puts it with those before it.
    ///
    /// # Panics
    /// When the arguments or the tag could not be archived.
    #[inline]
    pub(super) fn push<A: Algorithm>(&mut self, task: &Task<A>, stream: StreamOf) {
        let task = RawTask::new(task);
        if !task.is_plain() {
            return self.push_alone(task, stream);
        }
        let body = TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type: 0,
            tag: &[],
            args: task.args(),
        };
        if let Some(run) = &mut self.run
            && run.tasks() < self.most
            && run.push(&body, self.most)
        {
            return;
        }
        self.begin(task, &body, stream);
    }

    #[inline(never)]
    fn begin(&mut self, task: RawTask<'_>, body: &TaskBody<'_>, stream: StreamOf) {
        self.flush();
        let algorithm = self.algorithm;
        self.most = self.mw.peek(|state| state.core.run_most(algorithm, body));
        if self.most > 1 {
            self.run = Some(Body::run(body, self.most));
        } else {
            self.push_alone(task, stream);
        }
    }

    #[inline(never)]
    fn push_alone(&mut self, task: RawTask<'_>, stream: StreamOf) {
        self.flush();
        let (algorithm, owner) = (self.algorithm, self.owner);
        let submit = |state: &mut super::state::State| state.submit(algorithm, task, owner, stream);
        let id = self.mw.submitting(submit);
        tell(&mut self.in_order, id, 1);
    }

    /// Submits what was collected.
    fn flush(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        let (algorithm, owner) = (self.algorithm, self.owner);
        let in_order = &mut self.in_order;
        self.mw.submitting(|state| {
            state.submit_run(algorithm, run, owner, |first, tasks| {
                tell(in_order, first, tasks)
            });
        });
    }
}

fn tell(in_order: &mut Option<&mut InOrder>, first: TaskId, tasks: u32) {
    if let Some(in_order) = in_order {
        in_order.extend((0..tasks).map(|nth| (first.after(nth), None)));
    }
}

impl Drop for Submission<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}
