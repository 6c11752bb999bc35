//! Tasks of one source on their way to the scheduler: those that are alike go there together, as a run.
//!
//! What was collected is submitted as soon as anybody looks at the master: the source itself may, an iterator that goes
//! by the target number for example.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Owner, TaskId};

use super::Master;
use super::state::{RawTask, State, StreamOf};
use crate::proto::master::TaskEnd;
use crate::proto::series::Growing;
use crate::typed::algorithm::{Algorithm, Task};

/// Tasks of a map in order of submission, each with its end once that has come.
pub(super) type InOrder = VecDeque<(TaskId, Option<TaskEnd>)>;

/// The run that is being collected.
pub(super) struct Open {
    algorithm: AlgorithmId,
    owner: Owner,
    run: RefCell<Option<Growing>>,
    /// What was submitted and not put in order, where there is an order.
    told: Option<RefCell<Vec<(TaskId, u32)>>>,
}

impl Open {
    /// Submits what was collected.
    pub(super) fn flush(&self, mw: &Master) {
        let Some(run) = self.run.borrow_mut().take() else {
            return;
        };
        let (algorithm, owner) = (self.algorithm, self.owner);
        mw.submitting(|state| {
            state.submit_run(algorithm, run.close(), owner, |first, tasks| {
                self.tell(first, tasks)
            });
        });
    }

    fn tell(&self, first: TaskId, tasks: u32) {
        if let Some(told) = &self.told {
            told.borrow_mut().push((first, tasks));
        }
    }
}

/// Collects runs. What it holds when it is dropped is submitted: nothing is lost where the source panics.
pub(super) struct Submission<'m> {
    mw: &'m Master,
    open: Rc<Open>,
    /// A source of tasks may have another one within.
    outer: Option<Rc<Open>>,
    in_order: Option<&'m mut InOrder>,
}

impl<'m> Submission<'m> {
    /// `in_order` hears of every task.
    pub(super) fn new(
        mw: &'m Master,
        algorithm: AlgorithmId,
        owner: Owner,
        in_order: Option<&'m mut InOrder>,
    ) -> Self {
        let open = Rc::new(Open {
            algorithm,
            owner,
            run: RefCell::new(None),
            told: in_order.is_some().then(RefCell::default),
        });
        mw.settle();
        let outer = mw.inner.open.replace(Some(Rc::clone(&open)));
        Submission {
            mw,
            open,
            outer,
            in_order,
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
        let StreamOf { domain, index } = stream;
        if let Some(run) = &mut *self.open.run.borrow_mut()
            && run.push(domain, index, task.args())
        {
            return;
        }
        self.begin(task, stream);
    }

    #[inline(never)]
    fn begin(&mut self, task: RawTask<'_>, stream: StreamOf) {
        self.open.flush(self.mw);
        let algorithm = self.open.algorithm;
        let body = TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type: 0,
            tag: &[],
            args: task.args(),
        };
        let most = self.mw.peek(|state| state.core.run_most(algorithm, &body));
        if most > 1 {
            self.open.run.replace(Some(Growing::new(&body, most)));
        } else {
            self.push_alone(task, stream);
        }
    }

    #[inline(never)]
    fn push_alone(&mut self, task: RawTask<'_>, stream: StreamOf) {
        let (algorithm, owner) = (self.open.algorithm, self.open.owner);
        let submit = |state: &mut State| state.submit(algorithm, task, owner, stream);
        self.open.tell(self.mw.submitting(submit), 1);
    }
}

impl Drop for Submission<'_> {
    fn drop(&mut self) {
        self.open.flush(self.mw);
        self.mw.inner.open.replace(self.outer.take());
        if let (Some(in_order), Some(told)) = (&mut self.in_order, &self.open.told) {
            for (first, tasks) in told.take() {
                in_order.extend((0..tasks).map(|nth| (first.after(nth), None)));
            }
        }
    }
}
