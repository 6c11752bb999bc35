//! The master algorithm's handle, [`Master`], and the driver that serves the slaves whenever the master
//! algorithm awaits anything.

pub(crate) mod driver;
pub(crate) mod end;
pub(crate) mod flow;
pub(crate) mod queue;
pub(crate) mod state;
mod submission;
pub(crate) mod turn;

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_sched::{AlgorithmId, Group, Owner, SlaveId, TaskId};

use crate::io::clock::Clock;
use crate::typed::algorithm::{Algorithm, Registry, Task};
use crate::typed::best::{Best, BestKey, Direction, Incumbents};
use crate::typed::wire::{self, Wire};
pub use end::{Origin, TaskError, TaskErrorKind, TaskResult, Unrunnable, UnrunnableTask};
pub use flow::{Call, Done, Map, Results};
pub use queue::Events;
use state::{Flow, RawTask, State};
use submission::{Open, Submission};

type Light = Pin<Box<dyn Future<Output = ()>>>;

/// The master algorithm's handle on the run: a cheap clone, for one thread, every method `&self`.
///
/// I/O goes on whenever the master algorithm awaits anything; between two awaits it owns the world.
#[derive(Clone)]
pub struct Master {
    inner: Rc<Inner>,
}

pub(crate) struct Inner {
    state: RefCell<State>,
    registry: Arc<Registry>,
    clock: Clock,
    seed: u64,
    bests: Arc<Incumbents>,
    driver: RefCell<Option<Waker>>,
    /// The algorithm that was asked for last: most ask for one again and again.
    algorithm: Cell<(TypeId, AlgorithmId)>,
    /// The run of tasks that is being collected, if one is.
    open: RefCell<Option<Rc<Open>>>,
    in_turn: Cell<bool>,
    turns: Cell<u64>,
    turn_wakers: RefCell<Vec<Waker>>,
    spawned: RefCell<Vec<Light>>,
}

/// A slave that is connected.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SlaveView {
    /// Its identity.
    pub id: SlaveId,
    /// Its host's name, as it says.
    pub host: String,
    /// Where it connected from.
    pub address: SocketAddr,
    /// Its batch job, or empty.
    pub job: String,
    /// Its group.
    pub group: Group,
    /// How long it has been connected.
    pub connected_for: Duration,
}

impl Master {
    pub(crate) fn new(state: State, registry: Arc<Registry>, clock: Clock, seed: u64) -> Self {
        let bests = state.core.bests();
        Master {
            inner: Rc::new(Inner {
                state: RefCell::new(state),
                registry,
                clock,
                seed,
                bests,
                driver: RefCell::new(None),
                algorithm: Cell::new((TypeId::of::<()>(), AlgorithmId(0))),
                open: RefCell::new(None),
                in_turn: Cell::new(false),
                turns: Cell::new(0),
                turn_wakers: RefCell::new(Vec::new()),
                spawned: RefCell::new(Vec::new()),
            }),
        }
    }

    /// Works on the state; no borrow outlives the call, and no user's code runs in it.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.settle();
        let value = {
            let mut state = self.inner.state.borrow_mut();
            let value = f(&mut state);
            state.dispatch();
            value
        };
        self.kick();
        value
    }

    /// The same for submissions, of which only some end at once.
    #[inline]
    pub(crate) fn submitting<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.settle();
        let value = {
            let mut state = self.inner.state.borrow_mut();
            let value = f(&mut state);
            if state.core.has_ends() {
                state.dispatch();
            }
            value
        };
        self.kick();
        value
    }

    /// Submits the run of tasks that is being collected, if one is: it is looked for.
    #[inline]
    fn settle(&self) {
        let open = self.inner.open.borrow().clone();
        if let Some(open) = open {
            open.flush(self);
        }
    }

    /// Takes what is the caller's own already; the driver need not know.
    pub(crate) fn peek<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.inner.state.borrow_mut())
    }

    /// Only looks; the driver need not know.
    fn look<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        self.settle();
        f(&self.inner.state.borrow())
    }

    /// Wakes the driver if this is not called from within its turn.
    fn kick(&self) {
        if !self.inner.in_turn.get()
            && let Some(waker) = self.inner.driver.borrow_mut().take()
        {
            waker.wake();
        }
    }

    fn id_of<A: Algorithm>(&self) -> AlgorithmId {
        let (of, last) = self.inner.algorithm.get();
        if of == TypeId::of::<A>() {
            return last;
        }
        match self.inner.registry.index_of::<A>() {
            Some(index) => {
                let id = AlgorithmId(index.0);
                self.inner.algorithm.set((TypeId::of::<A>(), id));
                id
            }
            None => panic!(
                "`{name}` is not registered: add .algorithm::<{name}>() to the App in main",
                name = A::NAME
            ),
        }
    }

    /// Tasks of this algorithm that the slaves can hold at once.
    fn hands(&self, algorithm: AlgorithmId) -> usize {
        self.look(|state| state.core.hands(algorithm))
    }

    // ---- the everyday forms

    /// Runs every task of an iterator; see [`Map`].
    pub fn map<A, I>(&self, tasks: I) -> Map<A, I::IntoIter>
    where
        A: Algorithm,
        I: IntoIterator<Item = Task<A>>,
    {
        Map::new(self, tasks.into_iter())
    }

    /// Submits a task at once and is the future of its result; see [`Call`].
    pub fn call<A: Algorithm>(&self, task: Task<A>) -> Call<A> {
        Call::new(self, task)
    }

    /// The ends of `A`'s tasks that were submitted to the queue; `None` when nothing of `A` is left.
    pub fn results<A: Algorithm>(&self) -> Results<A> {
        Results::new(self)
    }

    // ---- the queue

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

    /// Waits until there is something to take (CL-MW's mw-master-loop).
    ///
    /// With nothing queued, running or desired it returns all zeroes rather than wait for ever.
    pub async fn events(&self) -> Events {
        std::future::poll_fn(|cx| {
            let events = self.counts();
            if !events.is_empty() {
                return Poll::Ready(events);
            }
            self.with(|state| {
                if state.core.sched().idle() {
                    if !std::mem::replace(&mut state.queue.said_nothing, true) {
                        state.core.note(Event::Nothing);
                    }
                    return Poll::Ready(events);
                }
                state.queue.wait(cx.waker());
                Poll::Pending
            })
        })
        .await
    }

    /// As [`events`](Master::events), for at most this long; all zeroes when nothing came.
    pub async fn events_timeout(&self, timeout: Duration) -> Events {
        tokio::time::timeout(timeout, self.events())
            .await
            .unwrap_or_default()
    }

    /// Lets a single pass of I/O happen and returns what there is to take (CL-MW's iterate).
    pub async fn poll_events(&self) -> Events {
        let after = self.inner.turns.get() + 1;
        std::future::poll_fn(|cx| {
            if self.inner.turns.get() >= after {
                return Poll::Ready(());
            }
            self.inner.turn_wakers.borrow_mut().push(cx.waker().clone());
            if let Some(waker) = &*self.inner.driver.borrow() {
                waker.wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        self.counts()
    }

    fn counts(&self) -> Events {
        self.look(|state| {
            let (unrunnable, results) = state.queue.counts();
            let sched = state.core.sched();
            Events {
                unrunnable,
                results,
                connected: sched.connected_news(),
                disconnected: sched.disconnected_news(),
            }
        })
    }

    /// All ready results, failed ones among them, in the order in which they came.
    ///
    /// A result is a share of its packet and stays with the master's thread; its [output](QueueResult::output) may go
    /// anywhere.
    pub fn take_results(&self) -> Vec<QueueResult> {
        let results = self.with(|state| state.queue.take_results());
        results.into_iter().map(QueueResult).collect()
    }

    /// All tasks that turned out unrunnable.
    pub fn take_unrunnable(&self) -> Vec<QueueUnrunnable> {
        let tasks = self.with(|state| state.queue.take_unrunnable());
        tasks.into_iter().map(QueueUnrunnable).collect()
    }

    /// The slaves that came into the ordered and intermingle groups.
    pub fn take_connected(&self) -> Vec<(SlaveId, Group)> {
        self.with(|state| state.core.with_sched(|sched| sched.take_connected()))
    }

    /// The slaves that were lost from the ordered and intermingle groups.
    pub fn take_disconnected(&self) -> Vec<(SlaveId, Group)> {
        self.with(|state| state.core.with_sched(|sched| sched.take_disconnected()))
    }

    /// Tasks that are queued or run.
    pub fn runnable(&self) -> u64 {
        self.look(|state| state.core.sched().runnable())
    }

    /// Unrunnable tasks that wait to be taken.
    pub fn unrunnable(&self) -> usize {
        self.look(|state| state.queue.counts().0)
    }

    // ---- taking back

    /// Takes a task back: true if its end had not come, and this is it. A running one is no longer
    /// waited for and its slave is told.
    pub fn cancel(&self, id: TaskId) -> bool {
        self.with(|state| state.cancel_and_tell(id))
    }

    /// Takes back every task with this tag; how many. Costs a look at every live task.
    pub fn cancel_tagged<T: Wire>(&self, tag: &T) -> usize {
        let mut archive = Vec::new();
        wire::encode(tag, &mut archive).expect("a tag that was given can be archived");
        self.with(|state| {
            let tagged = |body: &[u8]| end::has_tag(body, T::TYPE_HASH, &archive);
            let ids = state.live(|_, body| body.single().is_some_and(tagged));
            state.cancel_all(ids)
        })
    }

    /// Takes back every task; how many.
    pub fn cancel_all(&self) -> usize {
        self.with(|state| {
            let ids = state.live(|_, _| true);
            state.cancel_all(ids)
        })
    }

    // ---- slaves

    /// Desires `slaves` more in this group.
    pub fn allocate(&self, group: Group, slaves: u32) {
        self.with(|state| state.core.with_sched(|sched| sched.allocate(group, slaves)));
    }

    /// Desires `slaves` fewer in this group, at least none.
    pub fn deallocate(&self, group: Group, slaves: u32) {
        self.with(|state| {
            state
                .core
                .with_sched(|sched| sched.deallocate(group, slaves))
        });
    }

    /// Desires one fewer in the slave's group and moves it to unordered once its hands are empty;
    /// false if it is not here or unordered already.
    pub fn free_slave(&self, slave: SlaveId) -> bool {
        self.with(|state| state.core.with_sched(|sched| sched.free_slave(slave)))
    }

    /// Desires one fewer in this group.
    pub fn free_slave_of(&self, group: Group) {
        self.with(|state| state.core.with_sched(|sched| sched.free_slave_of(group)));
    }

    /// What is known of a connected slave.
    pub fn slave(&self, id: SlaveId) -> Option<SlaveView> {
        let now = self.inner.clock.now();
        self.look(|state| {
            let (info, group) = state.core.slave(id)?;
            Some(SlaveView {
                id,
                host: info.host.clone(),
                address: info.address,
                job: info.job.clone(),
                group,
                connected_for: Duration::from_nanos(now.saturating_sub(info.since)),
            })
        })
    }

    /// Slaves that are connected.
    pub fn slaves(&self) -> usize {
        self.look(|state| state.core.slaves())
    }

    /// For benchmarks: packets and bytes so far.
    #[doc(hidden)]
    pub fn traffic(&self) -> crate::proto::master::Traffic {
        self.look(|state| state.core.traffic())
    }

    // ---- target numbers

    /// The target number of one algorithm.
    pub fn of<A: Algorithm>(&self) -> Target {
        Target {
            mw: self.clone(),
            algorithm: Some(self.id_of::<A>()),
        }
    }

    /// How many tasks of any kind the master algorithm would like to keep queued; advisory.
    pub fn set_target(&self, tasks: u64) {
        self.all().set_target(tasks);
    }

    /// The general target number, at first 0.
    pub fn target(&self) -> u64 {
        self.all().target()
    }

    /// Tasks of any kind that are queued and not on any slave.
    pub fn pending(&self) -> u64 {
        self.all().pending()
    }

    /// Tasks that are missing to the general target number.
    pub fn upto_target(&self) -> u64 {
        self.all().upto_target()
    }

    fn all(&self) -> Target {
        Target {
            mw: self.clone(),
            algorithm: None,
        }
    }

    // ---- incumbents

    /// An incumbent whose key only falls, beginning at `key`, for which there is no witness.
    ///
    /// # Panics
    /// If `key` is NaN, and with more than 4,096 minima and maxima in a run.
    pub fn minimum<K: BestKey, W: Wire>(&self, key: K) -> Best<K, W> {
        self.best(key, Direction::Minimum)
    }

    /// An incumbent whose key only rises, beginning at `key`, for which there is no witness.
    ///
    /// # Panics
    /// As for [`minimum`](Master::minimum).
    pub fn maximum<K: BestKey, W: Wire>(&self, key: K) -> Best<K, W> {
        self.best(key, Direction::Maximum)
    }

    fn best<K: BestKey, W: Wire>(&self, key: K, direction: Direction) -> Best<K, W> {
        match self.inner.bests.add(direction, key) {
            Ok(best) => best,
            Err(error) => panic!("{error}"),
        }
    }

    // ---- flow control

    /// A light thread on the master: runs whenever the master algorithm awaits. Its panic ends the
    /// master; returning from the master algorithm ends it.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.inner.spawned.borrow_mut().push(Box::pin(future));
        self.kick();
    }

    /// Does a heavy sum on a thread of its own, so that the slaves are served meanwhile.
    ///
    /// # Panics
    /// With `f`'s own panic.
    pub async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        if self.inner.clock.is_simulated() {
            // A thread of its own would take real time, which the simulated world does not have.
            tokio::task::yield_now().await;
            return f();
        }
        match sums().spawn_blocking(f).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Ends that were never told.
    pub(crate) fn left(&self) -> u64 {
        self.look(|state| {
            let untold = |flow: &Flow| flow.ready.len() + flow.taken.get();
            let flows: usize = state.flows.iter().map(|(_, flow)| untold(flow)).sum();
            state.core.sched().runnable() + (state.queue.untold() + flows) as u64
        })
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }
}

/// The threads of heavy sums. Nobody waits for them when the run ends: a static is never dropped, while the end of the
/// driver's own runtime would wait for them, and Ctrl-C with it.
fn sums() -> &'static tokio::runtime::Runtime {
    static SUMS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    SUMS.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("without drivers it asks nothing of the system")
    })
}

/// The target number of one algorithm or of all: a thermostat for how many tasks are queued.
pub struct Target {
    mw: Master,
    algorithm: Option<AlgorithmId>,
}

impl Target {
    /// How many tasks the master algorithm would like to keep queued; advisory.
    pub fn set_target(&self, tasks: u64) {
        let algorithm = self.algorithm;
        self.mw.with(|state| {
            state
                .core
                .with_sched(|sched| sched.set_target(algorithm, tasks))
        });
    }

    /// The target number, at first 0.
    pub fn target(&self) -> u64 {
        self.mw
            .look(|state| state.core.sched().target(self.algorithm))
    }

    /// Tasks that are queued and not on any slave.
    pub fn pending(&self) -> u64 {
        self.mw
            .look(|state| state.core.sched().pending(self.algorithm))
    }

    /// Tasks that are missing to the target number.
    pub fn upto_target(&self) -> u64 {
        self.mw
            .look(|state| state.core.sched().upto_target(self.algorithm))
    }
}

/// A result from [`Master::take_results`].
pub struct QueueResult(TaskResult);

impl QueueResult {
    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.0.info().name
    }

    /// Whether it is a result of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.0.info().of == TypeId::of::<A>()
    }

    /// The output.
    ///
    /// # Errors
    /// [`TaskErrorKind::Failed`] if the algorithm failed, [`TaskErrorKind::Type`] if it is no result of `A`.
    pub fn output<A: Algorithm>(&self) -> Result<A::Output, TaskError> {
        self.must_be::<A>()?;
        self.0.decode::<A>()
    }

    /// The output, read in place.
    ///
    /// # Errors
    /// As for [`output`](QueueResult::output).
    pub fn archived<A: Algorithm>(&self) -> Result<&wire::Archived<A::Output>, TaskError> {
        self.must_be::<A>()?;
        let archive = self.0.archive()?;
        wire::access::<A::Output>(archive).map_err(|error| end::type_error(self.0.id(), error))
    }

    fn must_be<A: Algorithm>(&self) -> Result<(), TaskError> {
        if self.is::<A>() {
            return Ok(());
        }
        let error = wire::WireError::Algorithm {
            expected: A::NAME,
            got: self.algorithm(),
        };
        Err(end::type_error(self.0.id(), error))
    }
}

impl std::ops::Deref for QueueResult {
    type Target = TaskResult;

    fn deref(&self) -> &TaskResult {
        &self.0
    }
}

/// An unrunnable task from [`Master::take_unrunnable`].
pub struct QueueUnrunnable(UnrunnableTask);

impl QueueUnrunnable {
    /// The algorithm's name.
    pub fn algorithm(&self) -> &'static str {
        self.0.info().name
    }

    /// Whether it is a task of `A`.
    pub fn is<A: Algorithm>(&self) -> bool {
        self.0.info().of == TypeId::of::<A>()
    }

    /// The task again, with its arguments, to be submitted anew with a policy of its own; `None` if
    /// it is no task of `A`.
    pub fn task<A: Algorithm>(&self) -> Option<Task<A>> {
        self.is::<A>().then(|| Task::again(self.0.args()))
    }
}

impl std::ops::Deref for QueueUnrunnable {
    type Target = UnrunnableTask;

    fn deref(&self) -> &UnrunnableTask {
        &self.0
    }
}
