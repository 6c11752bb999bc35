//! The only door for tasks. Those that are alike and follow one another collect in the open series, have their ids at
//! once, and go to the scheduler together: as soon as anybody looks at the master (the source itself may, an iterator that
//! goes by the number of slaves for example), a task comes that is not alike, or a turn begins or ends.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ringmw_codec::batch::TaskBody;
use ringmw_sched::{AlgorithmId, Nanos, Needs, Owner, TaskId, TaskSpec};

use super::handle::Master;
use super::state::State;
use crate::proto::blob::{Mentions, Named};
use crate::proto::bytes::SmallBytes;
use crate::proto::pieces::LONG_BYTES_MIN;
use crate::proto::series::{Body, Growing, packet_bytes};
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

    /// Whether it names this shared data and no other.
    #[inline]
    fn names_as(self, named: &Named) -> bool {
        match self.policy {
            Some(policy) => policy.named == *named,
            None => named.is_empty(),
        }
    }

    /// What it adds to a packet, all included.
    #[inline(always)]
    pub(super) fn packet_bytes(self) -> u64 {
        let (domain, index) = (0, 0);
        let stream = Stream { domain, index };
        match self.policy {
            None => packet_bytes(&self.plain(stream)).into(),
            Some(policy) => packet_bytes(&self.body_of(stream, policy)).into(),
        }
    }

    /// As it travels with that stream, had it no policy.
    #[inline(always)]
    fn plain(self, stream: Stream) -> TaskBody<'a> {
        TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type: 0,
            timeout_ms: 0,
            tag: &[],
            args: self.args,
        }
    }

    /// As it travels; with that stream unless it has one of its own.
    #[inline]
    fn body(self, stream: Stream) -> TaskBody<'a> {
        match self.policy {
            None => self.plain(stream),
            Some(policy) => self.body_of(stream, policy),
        }
    }

    #[inline(never)]
    fn body_of(self, stream: Stream, policy: &'a Policy) -> TaskBody<'a> {
        let stream = policy.stream.unwrap_or(stream);
        let tag = policy.tag.as_ref();
        let (tag_type, tag) = tag.map_or((0, &[][..]), |tag| (tag.type_hash, &*tag.archive));
        TaskBody {
            domain: stream.domain,
            stream: stream.index,
            tag_type,
            timeout_ms: policy.timeout.map_or(0, millis_of),
            tag,
            ..self.plain(stream)
        }
    }

    /// The labels that its slave must have.
    #[inline]
    fn needs(self) -> &'a [String] {
        self.policy.map_or(&[], |policy| &policy.needs)
    }

    /// For the scheduler, which knows what it needs by that number.
    #[inline]
    fn policy(self, needs: Needs) -> ringmw_sched::Policy {
        let mut resolved = ringmw_sched::Policy {
            needs,
            ..ringmw_sched::Policy::default()
        };
        if let Some(policy) = self.policy {
            resolved.to = policy.slave;
            resolved.do_it_anyway = policy.do_it_anyway == Some(true);
            resolved.retry = policy.retry != Some(false);
            resolved.priority = policy.priority.unwrap_or(0);
            resolved.start_within = policy.start_within.map_or(Nanos::MAX, nanos_of);
        }
        resolved
    }

    /// For the scheduler, and as it travels.
    #[inline(always)]
    fn parts(
        self,
        algorithm: AlgorithmId,
        owner: Owner,
        stream: Stream,
        needs: Needs,
    ) -> (TaskSpec, TaskBody<'a>) {
        let body = self.body(stream);
        let mut spec = TaskSpec::new(algorithm, owner, packet_bytes(&body));
        spec.policy = self.policy(needs);
        (spec, body)
    }
}

/// As the scheduler counts; what it cannot count is for ever.
fn nanos_of(time: Duration) -> Nanos {
    Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX)
}

/// As it travels: at least a millisecond, since none is no time-out.
fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).map_or(u64::MAX, |ms| ms.max(1))
}

impl Master {
    /// Submits a task whose end goes to the queue.
    #[inline]
    pub fn submit<A: Algorithm>(&self, task: Task<A>) -> TaskId {
        self.push_single(self.id_of::<A>(), &task)
    }

    /// Submits every task of an iterator to the queue and returns how many there were.
    pub fn submit_all<A: Algorithm>(&self, tasks: impl IntoIterator<Item = Task<A>>) -> u64 {
        let algorithm = self.id_of::<A>();
        let mut submitted = 0;
        let mut tasks = tasks.into_iter();
        loop {
            // Lent where it was made: moving a task costs more than all else that is done with it here.
            let next = tasks.next();
            let Some(task) = &next else {
                return submitted;
            };
            self.push_single(algorithm, task);
            submitted += 1;
        }
    }

    #[inline(always)]
    fn push_single<A: Algorithm>(&self, algorithm: AlgorithmId, task: &Task<A>) -> TaskId {
        let stream = self.work(|state| state.next_single(algorithm));
        self.push(algorithm, RawTask::new(task), Owner::Queue, stream)
    }

    /// The door. What joins the open series changes nothing that anybody waits for: the driver knows of the first.
    #[inline(always)]
    pub(super) fn push(
        &self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> TaskId {
        if task.policy.is_none() {
            let mut state = self.inner.state.borrow_mut();
            if let Some(id) = state.join_plain(algorithm, task, owner, stream) {
                return id;
            }
        }
        self.push_any(algorithm, task, owner, stream)
    }

    /// The run of a source whose task was submitted last, and had this number: see [`go_on`](Self::go_on).
    #[inline]
    pub(super) fn run_of(&self, id: TaskId) -> Option<Run> {
        let state = self.inner.state.borrow();
        let open = state.open.as_ref().filter(|open| open.takes_plain)?;
        let is_last = open.first.after(open.series.tasks() - 1) == id;
        is_last.then_some(Run {
            first: open.first,
            is_varied: open.series.is_varied(),
        })
    }

    /// Submits the next task of a source that has a run: whose stream follows, and whose tasks nobody else submits. False:
    /// it is to go through the [door](Self::push).
    #[inline(always)]
    pub(super) fn go_on(&self, run: Run, task: RawTask<'_>) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let open = state.series_of(run);
        task.policy.is_none() && open.is_some_and(|open| open.series.push_next(task.args))
    }

    /// The same where they differ in length.
    #[inline]
    pub(super) fn go_on_varied(&self, run: Run, task: RawTask<'_>) -> bool {
        let mut state = self.inner.state.borrow_mut();
        let open = state.series_of(run);
        task.policy.is_none() && open.is_some_and(|open| open.series.push_next_varied(task.args))
    }

    /// What this ends at once is told, and the driver woken.
    #[inline(never)]
    fn push_any(
        &self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> TaskId {
        let mut state = self.inner.state.borrow_mut();
        let joined = state.join(algorithm, task, owner, stream);
        drop(state);
        if let Some(id) = joined {
            return id;
        }
        let id = self.work(|state| {
            let id = state.push_other(algorithm, task, owner, stream);
            state.tell_ends();
            id
        });
        self.notify();
        id
    }
}

/// The open series has the tasks of one source alone, which come in the order of their streams: of the next one nothing is
/// to be asked but whether that series is still open, and whether there is room for it there.
#[derive(Copy, Clone)]
pub(super) struct Run {
    first: TaskId,
    /// Its tasks differ in length.
    pub(super) is_varied: bool,
}

/// The open series: tasks that are alike and have their ids, and are not with the scheduler yet.
pub(super) struct Open {
    spec: TaskSpec,
    /// Its policy is that of a task with none of its own, as of most.
    is_default: bool,
    /// The labels that each of them needs, as they were named.
    needs: Vec<String>,
    first: TaskId,
    series: Growing,
    /// The time that each of them is to be begun within, where that is not the same for all.
    each_within: Vec<Nanos>,
    /// The shared data that each of them names.
    named: Named,
    /// Finds what arguments of the algorithm mention, where they can.
    mentions: Option<Mentions>,
    /// A task without a policy goes on with it if its algorithm, owner and stream do: nothing else is to be asked.
    takes_plain: bool,
}

impl Open {
    /// Whether a policy is theirs, but for the time to be begun within: of that each may have its own, or none has any.
    #[inline]
    fn is_policy(&self, policy: ringmw_sched::Policy) -> bool {
        let start_within = self.spec.policy.start_within;
        let alike = ringmw_sched::Policy {
            start_within,
            ..policy
        };
        (policy.start_within == Nanos::MAX) == (start_within == Nanos::MAX)
            && alike == self.spec.policy
    }

    /// One has joined that is to be begun within so long.
    #[inline]
    fn on_joined(&mut self, within: Nanos) {
        let common = self.spec.policy.start_within;
        if self.each_within.is_empty() {
            if within == common {
                return;
            }
            let before = self.series.tasks() as usize - 1;
            self.each_within.resize(before, common);
        }
        self.each_within.push(within);
    }

    /// Takes a task that is alike, if it follows.
    #[inline(always)]
    fn put(&mut self, algorithm: AlgorithmId, owner: Owner, body: &TaskBody<'_>) -> Option<TaskId> {
        let follows =
            (self.spec.owner, self.spec.algorithm) == (owner, algorithm) && self.series.push(body);
        follows.then(|| self.first.after(self.series.tasks() - 1))
    }

    /// Whether a task says all that it names. One that was made of another's arguments says nothing, and may mention some.
    #[inline]
    fn is_named_by(&self, task: RawTask<'_>) -> bool {
        match self.mentions {
            None => true,
            Some(find) => Self::says_all(task, find),
        }
    }

    #[inline(never)]
    fn says_all(task: RawTask<'_>, find: Mentions) -> bool {
        if task.policy.is_some_and(|policy| !policy.named.is_empty()) {
            return true;
        }
        let mut mentions = Vec::new();
        find(task.args, &mut mentions);
        mentions.is_empty()
    }
}

impl State {
    /// Submits a task: into the open series if it goes on with it, else that is closed, and another opened where there
    /// may be one.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn push(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> TaskId {
        let joined = self.join(algorithm, task, owner, stream);
        joined.unwrap_or_else(|| self.push_other(algorithm, task, owner, stream))
    }

    /// The open series, while it is that of the run.
    #[inline(always)]
    fn series_of(&mut self, run: Run) -> Option<&mut Open> {
        self.open.as_mut().filter(|open| open.first == run.first)
    }

    /// The open series takes a task without a policy, as most are.
    #[inline(always)]
    fn join_plain(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> Option<TaskId> {
        let open = self.open.as_mut().filter(|open| open.takes_plain)?;
        let place = (stream.domain, stream.index);
        let is_alike = (open.spec.owner, open.spec.algorithm) == (owner, algorithm)
            && open.series.push_alike(place, task.args);
        match is_alike {
            true => Some(open.first.after(open.series.tasks() - 1)),
            false => open.put(algorithm, owner, &task.plain(stream)),
        }
    }

    pub(super) fn join(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> Option<TaskId> {
        if self.earlier.is_some() {
            return self.join_looked_up(algorithm, task, owner, stream);
        }
        self.join_open(algorithm, task, owner, stream)
    }

    /// The same in a life that others went before.
    #[inline(never)]
    fn join_looked_up(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> Option<TaskId> {
        let body = task.body(stream);
        if self.may_be_known(algorithm, &body) {
            return None;
        }
        let id = self.join_open(algorithm, task, owner, stream)?;
        self.note_live(algorithm, &body, id);
        Some(id)
    }

    fn join_open(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> Option<TaskId> {
        let open = self.open.as_mut()?;
        let policy = task.policy(open.spec.policy.needs);
        let is_alike = match task.policy {
            None => open.is_default,
            Some(_) => task.needs() == open.needs && open.is_policy(policy),
        };
        if !(is_alike && task.names_as(&open.named) && open.is_named_by(task)) {
            return None;
        }
        let id = open.put(algorithm, owner, &task.body(stream))?;
        open.on_joined(policy.start_within);
        Some(id)
    }

    #[inline(never)]
    pub(super) fn push_other(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        owner: Owner,
        stream: Stream,
    ) -> TaskId {
        self.settle();
        let needs = self.number_of(task.needs());
        let (spec, body) = task.parts(algorithm, owner, stream, needs);
        if let Some(id) = self.push_known(spec, &body) {
            return id;
        }
        self.core.set_untaken_bytes(self.queue.unrunnable_bytes());
        let opening = self.core.opening(&spec);
        let named = self.named_by(algorithm, task);
        let long = task.args.long(LONG_BYTES_MIN);
        let (Some(named), false, None) = (&named, opening.tasks_max < 2, &long) else {
            let id = self.push_alone(spec, &body, long, named);
            self.note_live(algorithm, &body, id);
            return id;
        };
        let named = named.clone();
        let mentions = self.core.info(algorithm).mentions;
        let is_default = spec.policy == ringmw_sched::Policy::default();
        let is_asked = self.earlier.is_some() || mentions.is_some() || !named.is_empty();
        self.open = Some(Open {
            is_default,
            takes_plain: is_default && !is_asked,
            needs: task.needs().to_vec(),
            spec,
            first: opening.first,
            each_within: Vec::new(),
            named,
            mentions,
            series: Growing::new(&body, opening),
        });
        self.note_live(algorithm, &body, opening.first);
        opening.first
    }

    /// Submits a task that waits for the master while it runs: it travels by itself.
    pub(super) fn push_to_converse(
        &mut self,
        algorithm: AlgorithmId,
        task: RawTask<'_>,
        flow: u32,
        stream: Stream,
    ) -> TaskId {
        self.settle();
        let numbered = self.number_of(task.needs());
        let (mut spec, body) = task.parts(algorithm, Owner::Call(flow), stream, numbered);
        spec.alone = true;
        if let Some(id) = self.push_known(spec, &body) {
            return id;
        }
        let (named, long) = (
            self.named_by(algorithm, task),
            task.args.long(LONG_BYTES_MIN),
        );
        self.core.set_untaken_bytes(self.queue.unrunnable_bytes());
        self.push_alone(spec, &body, long, named)
    }

    /// The scheduler's number of what a task needs.
    fn number_of(&mut self, needs: &[String]) -> Needs {
        match needs {
            [] => Needs::NONE,
            needs => self.core.with_sched(|sched| sched.needs(needs.to_vec())),
        }
    }

    /// Whose tasks the open series has, if there is one.
    pub(super) fn open_owner(&self) -> Option<Owner> {
        Some(self.open.as_ref()?.spec.owner)
    }

    /// What a task names; `None` if nobody keeps it any more. One that was made of another's arguments has not said so.
    fn named_by(&self, algorithm: AlgorithmId, task: RawTask<'_>) -> Option<Named> {
        let Some(find) = self.core.info(algorithm).mentions else {
            return Some(Named::default());
        };
        let named = task.policy.map(|policy| &policy.named);
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            return Some(named.clone());
        }
        let mut mentions = Vec::new();
        find(task.args, &mut mentions);
        self.core.named(&mentions)
    }

    fn push_alone(
        &mut self,
        spec: TaskSpec,
        body: &TaskBody<'_>,
        long: Option<Bytes>,
        named: Option<Named>,
    ) -> TaskId {
        self.expect(&spec, 1);
        let body = match long {
            Some(args) => Body::long(body, args),
            None => self.body(body).into(),
        };
        let id = self.core.submit(spec, body);
        self.core.hold(id, 1, named);
        id
    }

    /// The open series goes to the scheduler, if there is one: somebody looks, or something is to happen.
    #[inline]
    pub(crate) fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.close_series(open);
        }
    }

    /// Closes what is open, and tells what that ended: its shared data may be gone, and whoever has its tasks is told before
    /// he can be dropped himself; and what nobody has taken counts for the next one.
    #[inline]
    pub(crate) fn settle(&mut self) {
        self.close();
        self.tell_ends();
    }

    #[inline]
    fn tell_ends(&mut self) {
        if self.core.has_ends() {
            self.dispatch();
        }
    }

    #[inline(never)]
    fn close_series(&mut self, open: Open) {
        let tasks = open.series.tasks();
        self.expect(&open.spec, tasks);
        let (spec, series, each) = (open.spec, open.series.close(), open.each_within);
        let first = self.core.submit_each_within(spec, series, each);
        assert_eq!(first, open.first, "nothing happens while a series is open");
        self.core.hold(first, tasks, Some(open.named));
    }

    /// How many maps, and how many calls and submissions to the queue, each algorithm had so far.
    pub(super) fn numbering(&self) -> Vec<(u64, u64)> {
        self.streams.clone()
    }

    /// An earlier life had so many: what follows is numbered as it would be there.
    pub(super) fn go_on_counting(&mut self, counts: Vec<(usize, (u64, u64))>) {
        for (algorithm, (maps, singles)) in counts {
            let streams = &mut self.streams[algorithm];
            *streams = (streams.0.max(maps), streams.1.max(singles));
        }
    }

    /// A map takes the number of one of an earlier life, and gives back the one that it was made with.
    pub(super) fn renumber_map(&mut self, algorithm: AlgorithmId, made: u64, number: u64) {
        let maps = &mut self.streams[usize::from(algorithm.0)].0;
        if *maps == made {
            *maps -= 1;
        }
        *maps = (*maps).max(number);
    }

    /// Tasks of the open series, of one algorithm or of any.
    pub(crate) fn open_tasks(&self, of: Option<AlgorithmId>) -> u32 {
        let open = self.open.as_ref();
        let open = open.filter(|open| of.is_none_or(|of| of == open.spec.algorithm));
        open.map_or(0, |open| open.series.tasks())
    }

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

    /// The ends of so many tasks are going to be told to this owner.
    #[inline]
    pub(super) fn expect(&mut self, spec: &TaskSpec, tasks: u32) {
        match spec.owner {
            Owner::Queue => self.queue.submitted(spec.algorithm, tasks),
            Owner::Call(flow) | Owner::Map(flow) => {
                self.flows[flow as usize].live += tasks as usize;
            }
        }
    }

    /// In place, or as a share of a chunk, or by itself, by its length.
    pub(super) fn body(&mut self, parts: &TaskBody<'_>) -> SmallBytes {
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
