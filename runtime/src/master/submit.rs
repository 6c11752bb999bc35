//! Tasks on their way to the scheduler: those that are alike go there together, as a run.
//!
//! What was collected is submitted as soon as anybody looks at the master: the source itself may, an iterator that goes
//! by the target number for example.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Owner, Series, TaskId, TaskSpec};

use super::handle::Master;
use super::state::State;
use crate::proto::bytes::SmallBytes;
use crate::proto::end::End;
use crate::proto::series::Body;
use crate::proto::series::{Growing, packet_bytes};
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::{DOMAIN_CALLS, Stream};
use crate::typed::task::{Policy, Task};

/// Longer bodies of tasks are cut from chunks of this size, so that most submissions allocate nothing.
const CHUNK_BYTES: usize = 16 << 10;

/// A task whose algorithm is a number. Lent: what a task is made of is not moved once more.
#[derive(Copy, Clone)]
pub(crate) struct RawTask<'a> {
    args: &'a SmallBytes,
    policy: Option<&'a Policy>,
}

impl<'a> RawTask<'a> {
    /// # Panics
    /// When the arguments or the tag could not be archived: that is the user's own serialization.
    #[inline]
    pub(crate) fn new<A: Algorithm>(task: &'a Task<A>) -> Self {
        if let Some(error) = task.error() {
            panic!("a task of `{}` cannot be submitted: {error}", A::NAME);
        }
        RawTask {
            args: &task.args,
            policy: task.policy(),
        }
    }

    /// Whether it has the default policy and nothing else of its own but its arguments.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        self.policy.is_none_or(Policy::is_plain)
    }

    #[inline]
    pub(crate) fn args(self) -> &'a [u8] {
        self.args
    }
}

impl Master {
    /// Submits a task whose end goes to the queue.
    #[inline]
    pub fn submit<A: Algorithm>(&self, task: Task<A>) -> TaskId {
        self.submit_to(self.id_of::<A>(), &task)
    }

    #[inline]
    fn submit_to<A: Algorithm>(&self, algorithm: AlgorithmId, task: &Task<A>) -> TaskId {
        let task = RawTask::new(task);
        self.submitting(|state| {
            let stream = state.next_single(algorithm);
            state.submit(algorithm, task, Owner::Queue, stream)
        })
    }

    /// Submits every task of an iterator to the queue and returns how many there were.
    pub fn submit_all<A: Algorithm>(&self, tasks: impl IntoIterator<Item = Task<A>>) -> u64 {
        let algorithm = self.id_of::<A>();
        let mut submission = Submission::new(self, algorithm, Owner::Queue, None);
        let mut submitted = 0;
        let mut tasks = tasks.into_iter();
        loop {
            // Lent where it was made: moving a task costs more than all else that is done with it here.
            let next = tasks.next();
            let Some(task) = &next else {
                return submitted;
            };
            let stream = self.peek(|state| state.next_single(algorithm));
            submission.push(task, stream);
            submitted += 1;
        }
    }
}

/// Tasks of a map in order of submission, each with its end once that has come.
pub(super) type InOrder = VecDeque<(TaskId, Option<End>)>;

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
    pub(super) fn push<A: Algorithm>(&mut self, task: &Task<A>, stream: Stream) {
        let task = RawTask::new(task);
        if !task.is_plain() {
            return self.push_alone(task, stream);
        }
        let Stream { domain, index } = stream;
        if let Some(run) = &mut *self.open.run.borrow_mut()
            && run.push(domain, index, task.args())
        {
            return;
        }
        self.begin(task, stream);
    }

    #[inline(never)]
    fn begin(&mut self, task: RawTask<'_>, stream: Stream) {
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
    fn push_alone(&mut self, task: RawTask<'_>, stream: Stream) {
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

impl State {
    /// The number of a new map of this algorithm, from 1.
    pub(crate) fn new_map(&mut self, algorithm: AlgorithmId) -> u64 {
        let maps = &mut self.streams[usize::from(algorithm.0)].0;
        *maps += 1;
        *maps
    }

    /// The default stream of the next call or queue submission.
    pub(crate) fn next_single(&mut self, algorithm: AlgorithmId) -> Stream {
        let singles = &mut self.streams[usize::from(algorithm.0)].1;
        *singles += 1;
        Stream {
            domain: DOMAIN_CALLS,
            index: *singles - 1,
        }
    }

    #[inline]
    pub(crate) fn submit(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> TaskId {
        let policy = task.policy;
        let explicit = policy.and_then(|policy| policy.stream);
        let stream = explicit.unwrap_or(stream);
        let (tag_type, tag) = policy
            .and_then(|policy| policy.tag.as_ref())
            .map_or((0, &[][..]), |tag| (tag.type_hash, &tag.archive));
        let body = TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type,
            tag,
            args: task.args,
        };
        let mut spec = TaskSpec::new(algorithm, owner, packet_bytes(&body));
        if let Some(policy) = policy {
            spec.policy.to = policy.slave;
            spec.policy.do_it_anyway = policy.do_it_anyway == Some(true);
            spec.policy.retry = policy.retry != Some(false);
        }
        self.expect(owner, algorithm, 1);
        if let Some(id) = self.core.submit_next(&spec, &body) {
            return id;
        }
        let body = self.body(&body);
        self.core.submit(spec, body)
    }

    /// As [`MasterCore::submit_run`](crate::proto::master::MasterCore::submit_run).
    pub(crate) fn submit_run(
        &mut self,
        algorithm: AlgorithmId,
        run: Body,
        owner: Owner,
        told: impl FnMut(TaskId, u32),
    ) {
        self.expect(owner, algorithm, run.tasks());
        self.core.submit_run(algorithm, run, owner, told);
    }

    /// The ends of so many tasks are going to be told to this owner.
    #[inline]
    fn expect(&mut self, owner: Owner, algorithm: AlgorithmId, tasks: u32) {
        match owner {
            Owner::Queue => self.queue.submitted(algorithm, tasks),
            Owner::Call(flow) | Owner::Map(flow) => {
                self.flows[flow as usize].live += tasks as usize;
            }
        }
    }

    /// In place, or as a share of a chunk, or by itself, by its length.
    fn body(&mut self, parts: &TaskBody<'_>) -> SmallBytes {
        let bytes = parts.encoded_bytes();
        if bytes <= SmallBytes::INLINE_MAX {
            return SmallBytes::inline(|buffer| parts.encode_into(buffer));
        }
        if bytes > CHUNK_BYTES / 4 {
            let mut body = vec![0; bytes];
            parts.encode_into(&mut body);
            return Bytes::from(body).into();
        }
        if self.chunk.capacity() < bytes {
            self.chunk = BytesMut::with_capacity(CHUNK_BYTES);
        }
        self.chunk.resize(bytes, 0);
        parts.encode_into(&mut self.chunk);
        self.chunk.split().freeze().into()
    }
}
