//! What a task sees of its surroundings, and what its slave remembers between tasks.
//!
//! The runtime keeps one [`Cx`] per slave and calls `begin` before each task. A `Cx` reads no socket and no clock: the
//! cancel flag and the keys of [`Best`] are shared with the I/O thread, which sets them.

use std::any::{Any, TypeId};
use std::cell::{Cell, RefCell};
use std::error::Error;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmw_codec::shared::{BlobName, BlobRef};
use ringmw_sched::SlaveId;

use crate::proto::checkpoint::Kept;
use crate::proto::incumbents::{BestTable, OfferSink};
use crate::typed::best::{Best, BestKey};
use crate::typed::host::Host;
use crate::typed::rng::{DOMAIN_STATE, Rng, StreamKey, Streams, name_hash};
use crate::typed::shared::{InUse, Share, Shared};
use crate::typed::tag::{RunError, Tag, TagError};
use crate::typed::wire::{self, Wire, WireError};

/// What one slave remembers between tasks: a cache, a connection, tables that take long to build.
///
/// An algorithm asks for it by a `&mut S` parameter.
///
/// ```
/// use ringmw::prelude::*;
///
/// struct Squares(Vec<u64>);
///
/// impl SlaveState for Squares {
///     fn init(_cx: &mut Cx) -> std::result::Result<Self, Box<dyn std::error::Error>> {
///         Ok(Squares((0..1000).map(|n| n * n).collect()))
///     }
/// }
///
/// #[algorithm]
/// fn square(n: usize, squares: &mut Squares) -> Option<u64> {
///     squares.0.get(n).copied()
/// }
///
/// let mut squares = Squares::init(&mut Cx::for_test(1)).unwrap();
/// assert_eq!(square(12, &mut squares), Some(144));
/// ```
#[diagnostic::on_unimplemented(
    message = "a task algorithm cannot take `&mut {Self}`",
    label = "only `&mut Cx`, and `&mut S` where `S: SlaveState`, may be mutable",
    note = "an argument is taken as `T` or `&T`; for memory that the slave keeps between tasks implement `SlaveState`"
)]
pub trait SlaveState: Sized + 'static {
    /// Makes the state, once per slave, before the first task that needs it; it lives as long as the slave.
    ///
    /// [`Cx::rng`] gives the same numbers on every slave here, and takes none from the task's own stream.
    ///
    /// # Errors
    /// An error costs the slave, not the task: it exits with 255 and the reason, so that a broken machine does not
    /// swallow tasks.
    fn init(cx: &mut Cx) -> Result<Self, Box<dyn Error>>;
}

/// Which task is about to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskStart<'t> {
    pub(crate) task: u64,
    /// [`Entry::name_hash`](crate::typed::registry::Entry) of its algorithm.
    pub(crate) algorithm: u64,
    pub(crate) domain: u64,
    pub(crate) stream: u64,
    /// Type hash and archive.
    pub(crate) tag: Option<(u64, &'t [u8])>,
    /// The shared data that it names.
    pub(crate) shared: &'t [(BlobName, Arc<Vec<u8>>)],
    /// Where another slave had come with it.
    pub(crate) resume: Option<&'t Kept>,
}

/// What a task sees of its surroundings: a `&mut Cx` parameter of an algorithm.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn pi(throws: u64, cx: &mut Cx) -> u64 {
///     let mut hits = 0;
///     for _ in 0..throws {
///         let (x, y): (f64, f64) = cx.rng().random();
///         hits += u64::from(x * x + y * y < 1.0);
///     }
///     hits
/// }
///
/// let hits = pi(1000, &mut Cx::for_test(42));
/// assert!((700..870).contains(&hits));
/// ```
pub struct Cx {
    slave: SlaveId,
    task: u64,
    tag: Option<Tag>,
    key: StreamKey,
    /// Made on first use: most tasks draw nothing.
    rng: Option<Rng>,
    args: Arc<[String]>,
    own_args: Arc<[String]>,
    cancelled: Arc<AtomicBool>,
    states: States,
    bests: BestTable,
    sink: Arc<dyn OfferSink>,
    in_use: InUse,
    /// Who runs the task; nobody in a test of an algorithm by itself.
    host: Option<Rc<dyn Host>>,
    looks: bool,
    /// The task makes checkpoints, and its slave knows.
    makes_checkpoints: Cell<bool>,
    /// The task asks whether slaves are hungry, and its slave knows.
    asks_hungry: Cell<bool>,
    resume: Option<Kept>,
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx")
            .field("slave", &self.slave)
            .field("task", &self.task)
            .field("key", &self.key)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}

impl Cx {
    /// For a slave of a run. No task has begun.
    pub(crate) fn new(
        slave: SlaveId,
        seed: u64,
        args: Arc<[String]>,
        cancelled: Arc<AtomicBool>,
        bests: BestTable,
        sink: Arc<dyn OfferSink>,
    ) -> Self {
        let key = StreamKey {
            seed,
            algorithm: 0,
            domain: 0,
            stream: 0,
        };
        Self {
            slave,
            task: 0,
            tag: None,
            key,
            rng: None,
            args,
            own_args: Arc::default(),
            cancelled,
            states: States::default(),
            bests,
            sink,
            in_use: InUse::default(),
            host: None,
            looks: false,
            makes_checkpoints: Cell::new(false),
            asks_hungry: Cell::new(false),
            resume: None,
        }
    }

    /// The same on a slave that answers what a task asks while it runs.
    pub(crate) fn with_host(mut self, host: Rc<dyn Host>) -> Self {
        self.looks = host.looks();
        self.host = Some(host);
        self
    }

    /// The surroundings of a task outside any run, to unit-test an algorithm with.
    ///
    /// Slave and task are number 0; there are no arguments and no tag. [`rng`](Self::rng) depends on `seed` alone.
    pub fn for_test(seed: u64) -> Self {
        struct Nowhere;
        impl OfferSink for Nowhere {
            fn offer(&self, _best: u32, _image: u64, _witness: &[u8]) {}
        }
        Self::new(
            SlaveId(0),
            seed,
            Arc::default(),
            Arc::default(),
            BestTable::default(),
            Arc::new(Nowhere),
        )
    }

    /// The same with the master's user arguments.
    #[must_use]
    pub fn with_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The same with arguments of the slave's own command line.
    #[must_use]
    pub fn with_own_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.own_args = args.into_iter().map(Into::into).collect();
        self
    }

    /// The same with a tag.
    ///
    /// # Panics
    /// If the tag's own serialization fails.
    #[must_use]
    pub fn with_tag<T: Wire>(mut self, tag: &T) -> Self {
        self.tag = Some(Tag::new(tag).expect("the tag can be archived"));
        self
    }

    /// The same with that random stream, as [`Task::stream`](crate::Task::stream) gives it.
    #[must_use]
    pub fn with_stream(mut self, stream: u64) -> Self {
        self.key.stream = stream;
        self.rng = None;
        self
    }

    /// The same, cancelled.
    #[must_use]
    pub fn with_cancelled(self) -> Self {
        self.cancelled.store(true, Ordering::Relaxed);
        self
    }

    /// Another life of the run has given its slave another number.
    pub(crate) fn set_slave(&mut self, slave: SlaveId) {
        self.slave = slave;
    }

    /// The same while other slaves are idle: see [`hungry`](Self::hungry).
    #[must_use]
    pub fn with_hungry(self) -> Self {
        self.bests.set_hungry(true);
        self
    }

    /// This slave.
    pub fn slave(&self) -> SlaveId {
        self.slave
    }

    /// The number of this task, the `920` of `TASK-920`.
    pub fn task_id(&self) -> u64 {
        self.task
    }

    /// The task's tag, if it has one.
    ///
    /// # Errors
    /// [`TagError::OtherType`] if it was given as another type: a tag is never reinterpreted.
    pub fn tag<T: Wire>(&self) -> Result<Option<T>, TagError> {
        self.tag.as_ref().map(Tag::read).transpose()
    }

    /// The task's random stream: the same numbers wherever and how often the task runs.
    #[inline]
    pub fn rng(&mut self) -> &mut Rng {
        self.rng.get_or_insert_with(|| Rng::new(self.key))
    }

    /// The random stream of a global index: of an event, a particle, a replica.
    ///
    /// It is one of the run's seed, the algorithm and the index, whichever task draws from it. So cutting the work into
    /// other tasks changes no random number and no count. Each call begins it anew; some 80 ns to its first number.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn hits(first: u64, darts: u64, cx: &mut Cx) -> u64 {
    ///     let hit = |dart: u64| {
    ///         let (x, y): (f64, f64) = cx.rng_at(dart).random();
    ///         x * x + y * y < 1.0
    ///     };
    ///     (first..first + darts).filter(|dart| hit(*dart)).count() as u64
    /// }
    ///
    /// let mut cx = Cx::for_test(42);
    /// let whole = hits(0, 1000, &mut cx);
    /// assert_eq!(whole, hits(0, 300, &mut cx) + hits(300, 700, &mut cx));
    /// ```
    #[inline]
    pub fn rng_at(&self, index: u64) -> Rng {
        self.streams().rng_at(index)
    }

    /// All of [`rng_at`](Self::rng_at), for a task's own threads: it is `Copy`, and can be sent to them.
    #[inline]
    pub fn streams(&self) -> Streams {
        Streams::new(self.key.seed, self.key.algorithm)
    }

    /// The master's user arguments: those without `--mw-*`.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// struct Scale(f64);
    ///
    /// impl SlaveState for Scale {
    ///     fn init(cx: &mut Cx) -> Result<Self> {
    ///         Ok(Scale(Args::from(cx.args()).value("--scale", 1.0)?))
    ///     }
    /// }
    ///
    /// let scale = Scale::init(&mut Cx::for_test(1).with_args(["--scale", "2.5"]));
    /// assert_eq!(scale.map(|scale| scale.0).ok(), Some(2.5));
    /// ```
    pub fn args(&self) -> &[String] {
        &self.args
    }

    /// The arguments of this slave's own command line: those without `--mw-*`, in order.
    ///
    /// What is true of one machine alone, a path of scratch space or of a data base, belongs there. They differ from slave
    /// to slave, so a result that depends on them does, too; [`SlaveState::init`] is where they are read.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// struct Words(Vec<String>);
    ///
    /// impl SlaveState for Words {
    ///     fn init(cx: &mut Cx) -> Result<Self> {
    ///         let file = cx.own_args().first().ok_or("give the file of words")?;
    ///         Ok(Words(std::fs::read_to_string(file)?.lines().map(str::to_owned).collect()))
    ///     }
    /// }
    ///
    /// let missing = Words::init(&mut Cx::for_test(1).with_own_args(["/no/such/file"]));
    /// assert!(missing.is_err());
    /// ```
    pub fn own_args(&self) -> &[String] {
        &self.own_args
    }

    /// True once nobody waits for this task any more, or the slave is to stop. Long tasks look now and then.
    #[inline]
    pub fn cancelled(&self) -> bool {
        self.look();
        self.cancelled.load(Ordering::Relaxed)
    }

    /// True when other slaves are idle and nothing is queued: a task that could give part of its work back should return
    /// what it has not done, and the master algorithm submits that as new tasks.
    ///
    /// An atomic load. About twice as many tasks are told as slaves are idle, those that have run longest first, never all
    /// at once; when there is work again it is false. What a task returns then depends on when it was told, so a result
    /// that is to be the same on any number of slaves must not depend on where it was cut.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// /// Counts on, and returns what is left for others.
    /// #[algorithm]
    /// fn count(mut left: Vec<u64>, cx: &mut Cx) -> (u64, Vec<u64>) {
    ///     let mut sum = 0;
    ///     while let Some(n) = left.pop() {
    ///         sum += n;
    ///         if cx.hungry() && left.len() > 1 {
    ///             break;
    ///         }
    ///     }
    ///     (sum, left)
    /// }
    ///
    /// assert_eq!(count(vec![1, 2, 3], &mut Cx::for_test(1)), (6, vec![]));
    /// let mut hungry = Cx::for_test(1).with_hungry();
    /// assert_eq!(count(vec![1, 2, 3], &mut hungry), (3, vec![1, 2]));
    /// ```
    #[inline]
    pub fn hungry(&self) -> bool {
        self.look();
        if !self.asks_hungry.replace(true)
            && let Some(host) = &self.host
        {
            host.asks_hungry();
        }
        self.bests.is_hungry()
    }

    #[inline]
    fn look(&self) {
        if self.looks
            && let Some(host) = &self.host
        {
            host.look();
        }
    }

    /// Tells how far the task is: so much of so much, in whatever unit; of 0, if that is not known.
    ///
    /// It is shown wherever the run is looked at: [`Master::slaves`](crate::Master::slaves), the status page and `ringmw why`.
    /// Cheap to call often, some 100 ns: the last word is sent, once a second at most.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn sum(terms: u64, cx: &mut Cx) -> f64 {
    ///     let mut sum = 0.0;
    ///     for term in 0..terms {
    ///         sum += f64::from(term as u32).sqrt();
    ///         if term % 1000 == 0 {
    ///             cx.progress(term, terms);
    ///         }
    ///     }
    ///     sum
    /// }
    ///
    /// assert!(sum(10_000, &mut Cx::for_test(1)) > 0.0);
    /// ```
    pub fn progress(&self, done: u64, total: u64) {
        self.look();
        if let Some(host) = &self.host {
            host.progress(done, total);
        }
    }

    /// Who runs the task; nobody in a test.
    pub(crate) fn host(&self) -> Option<Rc<dyn Host>> {
        self.host.clone()
    }

    /// Says how far the task has come: should its slave be lost, or taken away, the next one finds the last state in
    /// [`resume`](Self::resume) and goes on from there.
    ///
    /// Cheap to call often: the state is encoded only when one is due, which is every `--mw-checkpoint-interval` (10 s)
    /// while none is under way, and once more when the machine is wanted back. It holds the position of
    /// [`rng`](Self::rng), too. At most one result's limit (`--mw-max-read-buffer-size`); a larger state fails the task.
    /// What the master keeps of all tasks counts against `--mw-max-queued-bytes`; past it new ones are dropped.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn walk(steps: u64, cx: &mut Cx) -> f64 {
    ///     let (mut step, mut place) = cx.resume().unwrap_or((0, 0.0));
    ///     while step < steps {
    ///         place += cx.rng().random_range(-1.0..1.0);
    ///         step += 1;
    ///         cx.checkpoint(&(step, place));
    ///     }
    ///     place
    /// }
    ///
    /// let undisturbed = walk(10, &mut Cx::for_test(1));
    /// assert_eq!(walk(0, &mut Cx::for_test(1).with_resume(&(5u64, 0.5))), 0.5);
    /// assert!(undisturbed.abs() < 10.0);
    /// ```
    ///
    /// # Panics
    /// If the state's own serialization fails, or it is too large: that is a failed result.
    #[inline]
    pub fn checkpoint<T: Wire>(&self, state: &T) {
        self.look();
        if let Some(host) = &self.host {
            if !self.makes_checkpoints.replace(true) {
                host.makes_checkpoints();
            }
            if host.checkpoint_is_due() {
                self.make_checkpoint(&**host, state);
            }
        }
    }

    #[cold]
    fn make_checkpoint<T: Wire>(&self, host: &dyn Host, state: &T) {
        let mut archive = Vec::new();
        if let Err(error) = wire::encode(state, &mut archive) {
            panic!("a checkpoint cannot be made: {error}");
        }
        let draws = self.rng.as_ref().map_or(0, Rng::draws);
        host.checkpoint(draws, T::TYPE_HASH, &archive);
    }

    /// The state of the last [`checkpoint`](Self::checkpoint) that reached the master, if another slave had begun this
    /// task, and made one of this type. [`rng`](Self::rng) goes on where it was then. Asked again it is `None`.
    pub fn resume<T: Wire>(&mut self) -> Option<T> {
        let kept = self
            .resume
            .take_if(|kept| kept.state_type == T::TYPE_HASH)?;
        let state = wire::decode(&kept.state).ok()?;
        self.rng().go_on_behind(kept.draws);
        Some(state)
    }

    /// The same of a task that another slave had begun, and come so far with; for a test.
    ///
    /// # Panics
    /// If the state's own serialization fails.
    #[must_use]
    pub fn with_resume<T: Wire>(mut self, state: &T) -> Self {
        let mut archive = Vec::new();
        wire::encode(state, &mut archive).expect("the state can be archived");
        self.resume = Some(Kept {
            draws: 0,
            state_type: T::TYPE_HASH,
            state: archive.as_slice().into(),
        });
        self
    }

    /// The next task's surroundings. The states stay.
    pub(crate) fn begin(&mut self, start: TaskStart<'_>) {
        let TaskStart {
            task,
            algorithm,
            domain,
            stream,
            tag,
            shared,
            resume,
        } = start;
        self.in_use.begin(shared);
        self.makes_checkpoints.set(false);
        self.asks_hungry.set(false);
        self.resume = resume.cloned();
        self.task = task;
        self.key = StreamKey {
            algorithm,
            domain,
            stream,
            ..self.key
        };
        self.rng = None;
        self.tag = tag.map(|(type_hash, archive)| Tag {
            type_hash,
            archive: archive.into(),
        });
    }

    /// Takes this slave's `S` out for the length of a task, making it if it is the first.
    pub(crate) fn state<S: SlaveState>(&mut self) -> Result<StateGuard<S>, RunError> {
        let state = match self.states.take::<S>() {
            Taken::State(state) => state,
            Taken::Lent => {
                let name = std::any::type_name::<S>();
                return Err(RunError::StateInit(format!(
                    "two parameters of one algorithm are `&mut {name}`"
                )));
            }
            Taken::Absent => Box::new(self.init::<S>()?),
        };
        Ok(StateGuard {
            state: Some(state),
            states: self.states.clone(),
        })
    }

    fn init<S: SlaveState>(&mut self) -> Result<S, RunError> {
        let name = std::any::type_name::<S>();
        let key = StreamKey {
            algorithm: name_hash(name),
            domain: DOMAIN_STATE,
            stream: 0,
            ..self.key
        };
        let task_key = std::mem::replace(&mut self.key, key);
        let task_rng = self.rng.take();
        let state = catch_unwind(AssertUnwindSafe(|| S::init(self)));
        (self.key, self.rng) = (task_key, task_rng);
        let error = match state {
            Ok(Ok(state)) => return Ok(state),
            Ok(Err(error)) => error.to_string(),
            // It costs the slave as an error does. The message is on its stderr.
            Err(panic) => {
                std::mem::forget(panic);
                "its init panicked".to_owned()
            }
        };
        self.states.forget::<S>();
        Err(RunError::StateInit(format!(
            "SlaveState::init of {name} failed: {error}"
        )))
    }

    /// The handle of shared data that came with the task.
    pub(crate) fn shared<T: Share + ?Sized>(&self, of: BlobRef) -> Result<Shared<T>, WireError> {
        self.in_use.handle(of)
    }

    pub(crate) fn best<K: BestKey, W: Wire>(
        &self,
        segment: &[u8],
    ) -> Result<Best<K, W>, WireError> {
        Best::from_segment(segment, &self.bests, &self.sink)
    }
}

/// A slave's states by type. Few, so a list; shared with the guards, so that a guard can outlive a borrow of `Cx`.
#[derive(Clone, Default)]
struct States(Rc<RefCell<Vec<StateSlot>>>);

/// `None` while a guard has the state.
type StateSlot = (TypeId, Option<Box<dyn Any>>);

enum Taken<S> {
    State(Box<S>),
    /// Some guard has it.
    Lent,
    Absent,
}

impl States {
    /// Takes `S` out; if there is none, its place is marked as lent, for the one being made.
    fn take<S: 'static>(&self) -> Taken<S> {
        let mut states = self.0.borrow_mut();
        let id = TypeId::of::<S>();
        let Some((_, slot)) = states.iter_mut().find(|(known, _)| *known == id) else {
            states.push((id, None));
            return Taken::Absent;
        };
        match slot.take() {
            Some(state) => Taken::State(
                state
                    .downcast()
                    .expect("a state is kept under its own type"),
            ),
            None => Taken::Lent,
        }
    }

    fn put<S: 'static>(&self, state: Box<S>) {
        let id = TypeId::of::<S>();
        let mut states = self.0.borrow_mut();
        let (_, slot) = states
            .iter_mut()
            .find(|(known, _)| *known == id)
            .expect("what was taken has a place");
        *slot = Some(state);
    }

    fn forget<S: 'static>(&self) {
        self.0
            .borrow_mut()
            .retain(|(known, _)| *known != TypeId::of::<S>());
    }
}

/// A state in the hands of a task. It goes back when the task ends, also when it panics.
pub struct StateGuard<S: 'static> {
    state: Option<Box<S>>,
    states: States,
}

impl<S> fmt::Debug for StateGuard<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateGuard").finish_non_exhaustive()
    }
}

impl<S> Deref for StateGuard<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.state
            .as_ref()
            .expect("a guard has its state until it is dropped")
    }
}

impl<S> DerefMut for StateGuard<S> {
    fn deref_mut(&mut self) -> &mut S {
        self.state
            .as_mut()
            .expect("a guard has its state until it is dropped")
    }
}

impl<S> Drop for StateGuard<S> {
    fn drop(&mut self) {
        if let Some(state) = self.state.take() {
            self.states.put(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rand::{Rng as _, RngExt};

    use super::*;

    fn start(task: u64, stream: u64) -> TaskStart<'static> {
        TaskStart {
            task,
            algorithm: name_hash("a"),
            domain: 1,
            stream,
            tag: None,
            shared: &[],
            resume: None,
        }
    }

    #[test]
    fn a_task_draws_the_same_numbers_wherever_it_runs() {
        let draw = |cx: &mut Cx, task, stream| {
            cx.begin(start(task, stream));
            cx.rng().next_u64()
        };
        let (mut one, mut other) = (Cx::for_test(1), Cx::for_test(1));
        draw(&mut one, 5, 5);
        assert_eq!(draw(&mut one, 6, 6), draw(&mut other, 99, 6));
        assert_ne!(draw(&mut one, 6, 6), draw(&mut one, 6, 7));
        assert_ne!(
            Cx::for_test(1).rng().next_u64(),
            Cx::for_test(2).rng().next_u64()
        );
        assert_ne!(
            Cx::for_test(1).rng().next_u64(),
            Cx::for_test(1).with_stream(1).rng().next_u64()
        );
    }

    #[test]
    fn a_tag_is_read_as_what_it_was_given_as() {
        let cx = Cx::for_test(1).with_tag(&(1.5f64, 2u64));
        assert_eq!(cx.tag::<(f64, u64)>(), Ok(Some((1.5, 2))));
        let error = cx.tag::<(u64, f64)>().unwrap_err();
        assert_eq!(error.to_string(), "the tag was not given as (u64,f64)");

        let mut cx = cx;
        cx.begin(TaskStart {
            tag: Some((u8::TYPE_HASH, &[])),
            ..start(1, 1)
        });
        assert!(matches!(cx.tag::<u8>(), Err(TagError::Damaged(_))));
        cx.begin(start(2, 2));
        assert_eq!(cx.tag::<u8>(), Ok(None));
    }

    struct Count(u32, u64);

    impl SlaveState for Count {
        fn init(cx: &mut Cx) -> Result<Self, Box<dyn Error>> {
            Ok(Self(0, cx.rng().random()))
        }
    }

    #[test]
    fn a_state_lives_on_after_a_panic() {
        let mut cx = Cx::for_test(1);
        for expected in 0..3 {
            let caught = catch_unwind(AssertUnwindSafe(|| {
                let mut count = cx.state::<Count>().unwrap();
                assert_eq!(count.0, expected);
                count.0 += 1;
                std::panic::resume_unwind(Box::new("a task's panic"));
            }));
            assert_eq!(caught.unwrap_err().downcast_ref(), Some(&"a task's panic"));
        }
    }

    #[test]
    fn making_a_state_takes_nothing_from_the_tasks_stream() {
        let (mut fresh, mut used) = (Cx::for_test(1), Cx::for_test(1));
        let first = used.state::<Count>().unwrap().1;
        used.begin(start(1, 1));
        fresh.begin(start(1, 1));
        let drawn = fresh.rng().next_u64();
        let made = fresh.state::<Count>().unwrap().1;
        assert_eq!((drawn, made), (used.rng().next_u64(), first));
        assert_eq!(fresh.rng().next_u64(), used.rng().next_u64());
    }

    #[test]
    fn one_state_is_lent_once() {
        let mut cx = Cx::for_test(1);
        let guard = cx.state::<Count>().unwrap();
        let error = cx.state::<Count>().unwrap_err();
        assert!(error.to_string().contains("two parameters"), "{error}");
        drop(guard);
        assert!(cx.state::<Count>().is_ok());
    }

    #[test]
    fn a_state_that_cannot_be_made_says_why_each_time() {
        #[derive(Debug)]
        struct Broken;
        impl SlaveState for Broken {
            fn init(_: &mut Cx) -> Result<Self, Box<dyn Error>> {
                Err("no licence on this node".into())
            }
        }
        let mut cx = Cx::for_test(1);
        for _ in 0..2 {
            let Err(RunError::StateInit(reason)) = cx.state::<Broken>() else {
                panic!("it must fail")
            };
            assert!(
                reason.ends_with("Broken failed: no licence on this node"),
                "{reason}"
            );
        }
    }
}
