//! What a [`Master`](super::Master) and its driver share, and the one place where the end of a task is
//! dispatched: to its call or map, else to the queue.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use ringmw_codec::audit::Event;
use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Owner, Series, TaskId, TaskSpec};
use slab::Slab;

use super::queue::Queue;
use crate::algorithm::{Algorithm, Policy, Task};
use crate::proto::master::{Body, End, Ends, MasterCore, TaskEnd, packet_bytes};
use crate::rng::{DOMAIN_CALLS, DOMAIN_EXPLICIT};
use crate::small::SmallBytes;

/// Longer bodies of tasks are cut from chunks of this size, so that most submissions allocate nothing.
const CHUNK_BYTES: usize = 16 << 10;

/// A call's or map's own ends.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) ready: Ready,
    /// Tasks whose end has not come.
    pub(crate) live: usize,
    pub(crate) waker: Option<Waker>,
    /// It submits as its tasks end, as much as all slaves can hold.
    pub(crate) is_source: bool,
    /// Ends that its map has taken and not told.
    pub(crate) taken: Rc<Cell<usize>>,
}

impl Flow {
    fn tell(&mut self, ends: Ends) {
        self.ready.push(ends);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Ends that their call or map has not taken: those of a packet are decoded where they came.
#[derive(Default)]
pub(crate) struct Ready {
    ends: VecDeque<Ends>,
    len: usize,
}

/// The next of them.
pub(crate) enum Next<'a> {
    /// A result, and where its output is.
    Done(TaskId, &'a [u8]),
    /// Any other end.
    End(TaskEnd),
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, ends: Ends) {
        self.len += ends.count();
        self.ends.push_back(ends);
    }

    /// Takes all of another's, where it has none itself.
    pub(crate) fn take_all(&mut self, other: &mut Ready) {
        debug_assert_eq!(self.len, 0);
        self.ends.clear();
        std::mem::swap(self, other);
        other.len = 0;
    }

    /// Takes the next one, by itself.
    pub(crate) fn pop(&mut self) -> Option<TaskEnd> {
        loop {
            if let Some(end) = self.ends.front_mut()?.next_end() {
                self.len -= 1;
                return Some(end);
            }
            self.ends.pop_front();
        }
    }

    /// Takes the next one and has it read in place.
    #[inline]
    pub(crate) fn take<R>(&mut self, read: impl FnOnce(Next<'_>) -> R) -> Option<R> {
        if let Some(Ends::Done(results)) = self.ends.front_mut()
            && let Some((id, output)) = results.next_output()
        {
            self.len -= 1;
            return Some(read(Next::Done(id, output)));
        }
        let end = self.pop()?;
        Some(read(Next::End(end)))
    }
}

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

/// Where a task's default random stream comes from: see `Policy::stream`.
#[derive(Copy, Clone)]
pub(crate) struct StreamOf {
    pub(crate) domain: u64,
    pub(crate) index: u64,
}

pub(crate) struct State {
    pub(crate) core: MasterCore,
    pub(crate) flows: Slab<Flow>,
    pub(crate) queue: Queue,
    /// By algorithm: maps made, and calls and queue submissions made.
    streams: Vec<(u64, u64)>,
    chunk: BytesMut,
    /// What those who wait for the queue were woken for last.
    news: News,
    said_waiting: bool,
}

/// What `events` and `results` wait for.
#[derive(Copy, Clone, Default)]
struct News {
    /// Ends that came to the queue, ever.
    ends: u64,
    /// Slaves that came or went and were not taken.
    slaves: usize,
    /// Nothing is queued, running or desired.
    idle: bool,
}

impl State {
    pub(crate) fn new(core: MasterCore, algorithms: usize, ready_bytes_max: u64) -> Self {
        State {
            core,
            flows: Slab::new(),
            queue: Queue::new(algorithms, ready_bytes_max),
            streams: vec![(0, 0); algorithms],
            chunk: BytesMut::new(),
            news: News::default(),
            said_waiting: false,
        }
    }

    /// The number of a new map of this algorithm, from 1.
    pub(crate) fn new_map(&mut self, algorithm: AlgorithmId) -> u64 {
        let maps = &mut self.streams[usize::from(algorithm.0)].0;
        *maps += 1;
        *maps
    }

    /// The default stream of the next call or queue submission.
    pub(crate) fn next_single(&mut self, algorithm: AlgorithmId) -> StreamOf {
        let singles = &mut self.streams[usize::from(algorithm.0)].1;
        *singles += 1;
        StreamOf {
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
        stream: StreamOf,
    ) -> TaskId {
        let policy = task.policy;
        let stream = match policy.and_then(|policy| policy.stream) {
            Some(index) => StreamOf {
                domain: DOMAIN_EXPLICIT,
                index,
            },
            None => stream,
        };
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

    /// As [`MasterCore::submit_run`].
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
            Owner::Flow(flow) => self.flows[flow as usize].live += tasks as usize,
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

    /// Tells every end that has come to its owner.
    pub(crate) fn dispatch(&mut self) {
        while let Some(ends) = self.core.poll_ends() {
            let count = ends.count();
            let owner = match &ends {
                Ends::Done(results) => results.packet.owner,
                Ends::One(Some(end)) => end.owner,
                Ends::One(None) => continue,
            };
            match owner {
                Owner::Queue => self.queue.ended(ends),
                Owner::Flow(flow) => {
                    let flow = self
                        .flows
                        .get_mut(flow as usize)
                        .expect("a flow that ends takes its tasks back first");
                    flow.live -= count;
                    flow.tell(ends);
                }
            }
        }
        self.keep_ready_bounded();
        let sched = self.core.sched();
        let news = News {
            ends: self.queue.arrivals(),
            slaves: sched.connected_news() + sched.disconnected_news(),
            idle: sched.idle(),
        };
        // News alone wakes: whoever waits has seen what was there, and if that woke it, it would never sleep.
        let before = std::mem::replace(&mut self.news, news);
        if news.ends > before.ends || news.slaves > before.slaves || (news.idle && !before.idle) {
            self.queue.wake();
        }
    }

    /// Above the bound of ready results no task whose end goes to the queue is handed out.
    pub(crate) fn keep_ready_bounded(&mut self) {
        if let Some(hold) = self.queue.hold_changes() {
            self.core.with_sched(|sched| sched.hold_queue_tasks(hold));
            if hold && self.queue.says_full() {
                let (bytes, bytes_max) = self.queue.ready_bytes();
                self.core.note(Event::ReadyFull { bytes, bytes_max });
            }
        }
    }

    /// Says once that tasks wait which no group may run, whoever waits for them.
    pub(crate) fn say_waiting(&mut self) {
        if !self.said_waiting {
            let tasks = self.core.sched().waits_for_nobody();
            if tasks > 0 {
                self.said_waiting = true;
                self.core.note(Event::Waiting { tasks });
            }
        }
    }

    /// Takes a live task back; `None` if its end has come already.
    pub(crate) fn cancel(&mut self, id: TaskId) -> Option<End> {
        let end = self.core.cancel(id)?;
        match end.owner {
            Owner::Queue => self.queue.cancelled(end.algorithm),
            Owner::Flow(flow) => self.flows[flow as usize].live -= 1,
        }
        Some(end)
    }

    /// Takes a task back for the application: returning true is how the end is told, so a call or map
    /// that still waits for it is told too.
    pub(crate) fn cancel_and_tell(&mut self, id: TaskId) -> bool {
        let Some(end) = self.cancel(id) else {
            return false;
        };
        if let Owner::Flow(flow) = end.owner {
            self.flows[flow as usize].tell(Ends::one(end));
        }
        true
    }

    pub(crate) fn cancel_all(&mut self, ids: Vec<TaskId>) -> usize {
        ids.into_iter()
            .filter(|&id| self.cancel_and_tell(id))
            .count()
    }

    /// Takes every live task of a flow back and forgets the flow.
    pub(crate) fn drop_flow(&mut self, flow: u32) {
        if self.flows[flow as usize].live > 0 {
            let ids = self.live(|owner, _| owner == Owner::Flow(flow));
            for id in ids {
                self.cancel(id);
            }
        }
        self.set_source(flow, false);
        self.flows.remove(flow as usize);
    }

    /// Whether this flow submits as its tasks end, enough for all slaves.
    pub(crate) fn set_source(&mut self, flow: u32, is_source: bool) {
        let flow = &mut self.flows[flow as usize];
        match (std::mem::replace(&mut flow.is_source, is_source), is_source) {
            (false, true) => self.core.with_sched(|sched| sched.begin_source()),
            (true, false) => self.core.with_sched(|sched| sched.end_source()),
            _ => {}
        }
    }

    /// The live tasks that `wanted` picks by owner and body. Costs a look at every live task.
    pub(crate) fn live(&self, mut wanted: impl FnMut(Owner, &Body) -> bool) -> Vec<TaskId> {
        let live = self.core.sched().live();
        live.filter(|(_, _, owner, body)| wanted(*owner, body))
            .flat_map(|(id, _, _, body)| (0..body.tasks()).map(move |nth| id.after(nth)))
            .collect()
    }
}
