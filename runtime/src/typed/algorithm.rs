//! Task algorithms, the tasks they make, and the table a binary has of them.
//!
//! `#[algorithm]` implements [`Algorithm`] for a type beside the function; [`Task`] is a call of it that has not been
//! made yet; `Registry` is the type-erased table by which master and slave mean the same algorithm by the same
//! number. Running, queueing and sending are elsewhere.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use ringmw_sched::SlaveId;

use crate::proto::bytes::SmallBytes;
use crate::proto::config::{AlgorithmInfo, CheckOutputs};
use crate::typed::cx::Cx;
use crate::typed::rng::{Stream, name_hash};
use crate::typed::wire::{ArgumentWriter, Scratch, Wire, WireError, check_each, encode};

/// A task algorithm: what `#[algorithm]` makes of a function.
///
/// Nobody implements it by hand; name it in bounds.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn hello(name: String) -> String {
///     format!("Hello World: {name}")
/// }
///
/// assert_eq!(hello::NAME, "hello");
/// assert_eq!(hello::signature().to_string(), "hello(name: String) -> String");
/// assert_eq!(hello("Task 0".into()), "Hello World: Task 0");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no task algorithm",
    label = "not made by `#[algorithm]`",
    note = "put `#[algorithm]` on the function and name it without parentheses: `.algorithm::<hello>()`"
)]
pub trait Algorithm: 'static {
    /// The function's name.
    const NAME: &'static str;

    /// What a result carries: `T` of a function that returns `T` or `Result<T, E>`.
    type Output: Wire;

    /// The arguments that travel, as a tuple of what is owned: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T` and
    /// `&Archived<T>`. A `Best` is left out.
    type Args;

    /// Its name and types, as the handshake compares them.
    fn signature() -> Signature;

    /// Checks a task's arguments against the parameter types.
    ///
    /// # Errors
    /// What is wrong, and in which argument.
    fn check_args(args: &[u8]) -> Result<(), WireError>;

    /// Decodes a task's arguments.
    ///
    /// # Errors
    /// What is wrong, and in which argument.
    fn read_args(args: &[u8]) -> Result<Self::Args, WireError>;

    /// Decodes the arguments, calls the function and appends its encoded output to `out`.
    ///
    /// # Errors
    /// See [`RunError`]; what `out` holds is then of no use.
    fn run(args: &[u8], cx: &mut Cx, out: &mut Vec<u8>) -> Result<(), RunError>;
}

/// An algorithm's name and types. Equal signatures mean that arguments and results are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The function's name.
    pub name: &'static str,
    /// The parameters that travel, as people read them: `name: String, depth: u32`.
    pub arguments: String,
    /// The output type as people read it.
    pub result: String,
    /// A hash of all types in order, and of how each argument is laid out.
    pub types: u64,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            arguments,
            result,
            ..
        } = self;
        write!(f, "{name}({arguments}) -> {result}")
    }
}

/// Why a task has no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The arguments are not what the parameters say. Checked on arrival, so this is the peer's or the build's fault.
    #[error("{0}")]
    Args(#[from] WireError),
    /// The function returned this `Err`, or its output cannot be archived: a failed result.
    #[error("{0}")]
    Failed(String),
    /// [`SlaveState::init`](crate::SlaveState::init) failed: the slave must go, the task is innocent.
    #[error("slave state {0}")]
    StateInit(String),
}

/// A tag as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Archives carry no type, so a tag brings its own along.
    pub(crate) type_hash: u64,
    pub(crate) archive: Box<[u8]>,
}

impl Tag {
    pub(crate) fn new<T: Wire>(tag: &T) -> Result<Self, WireError> {
        let mut scratch = Scratch::take();
        encode(tag, &mut scratch.0)?;
        Ok(Self {
            type_hash: T::TYPE_HASH,
            archive: scratch.0.as_slice().into(),
        })
    }
}

/// A template for tasks: what becomes of them under churn, who runs them, what comes back with them.
///
/// What is not set is left to the task, and there to its default. See [`Task`] for the meaning of each.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn hello(name: String) -> String {
///     format!("Hello World: {name}")
/// }
///
/// let fragile = Policy::new().retry(false).tag(&"fragile".to_string());
/// let tasks = ["a", "b"].map(|name| hello::task(name.into()).with(&fragile));
/// # let _ = tasks;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub(crate) slave: Option<SlaveId>,
    pub(crate) tag: Option<Box<Tag>>,
    pub(crate) do_it_anyway: Option<bool>,
    pub(crate) retry: Option<bool>,
    pub(crate) stream: Option<Stream>,
    /// What kept a tag from being archived; told at submit.
    pub(crate) error: Option<Box<WireError>>,
}

impl Policy {
    /// Sets nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// As [`Task::slave`].
    #[must_use]
    pub fn slave(mut self, slave: SlaveId) -> Self {
        self.slave = Some(slave);
        self
    }

    /// As [`Task::tag`].
    #[must_use]
    pub fn tag<T: Wire>(mut self, tag: &T) -> Self {
        self.set_tag(tag);
        self
    }

    fn set_tag<T: Wire>(&mut self, tag: &T) {
        match Tag::new(tag) {
            Ok(tag) => self.tag = Some(Box::new(tag)),
            Err(error) => self.error = Some(Box::new(error)),
        }
    }

    /// As [`Task::do_it_anyway`].
    #[must_use]
    pub fn do_it_anyway(mut self, anyway: bool) -> Self {
        self.do_it_anyway = Some(anyway);
        self
    }

    /// As [`Task::retry`].
    #[must_use]
    pub fn retry(mut self, retry: bool) -> Self {
        self.retry = Some(retry);
        self
    }

    /// As [`Task::stream`].
    #[must_use]
    pub fn stream(mut self, stream: impl Into<Stream>) -> Self {
        self.stream = Some(stream.into());
        self
    }

    #[cold]
    fn of_error(error: Box<WireError>) -> Box<Self> {
        Box::new(Policy {
            error: Some(error),
            ..Policy::default()
        })
    }

    /// Whether it changes nothing about how a task is run and told.
    pub(crate) fn is_plain(&self) -> bool {
        self.slave.is_none()
            && self.tag.is_none()
            && self.stream.is_none()
            && self.do_it_anyway != Some(true)
            && self.retry != Some(false)
    }

    /// Overwrites exactly what `other` sets.
    fn overlay(&mut self, other: &Self) {
        let Self {
            slave,
            tag,
            do_it_anyway,
            retry,
            stream,
            error,
        } = other;
        self.slave = slave.or(self.slave);
        self.do_it_anyway = do_it_anyway.or(self.do_it_anyway);
        self.retry = retry.or(self.retry);
        self.stream = stream.or(self.stream);
        if tag.is_some() {
            self.tag.clone_from(tag);
        }
        if error.is_some() {
            self.error.clone_from(error);
        }
    }
}

/// A call of algorithm `A` that has not been made: its arguments and its policy. Made by `A::task(..)`.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn factors(n: u64) -> Vec<u64> {
///     (1..=n).filter(|d| n % d == 0).collect()
/// }
///
/// let task = factors::task(42).tag(&"the answer".to_string()).retry(false);
/// # let _ = task;
/// ```
#[must_use = "a task does nothing until it is submitted, called or mapped"]
pub struct Task<A> {
    pub(crate) args: SmallBytes,
    /// None where nothing was set, as of most tasks.
    policy: Option<Box<Policy>>,
    algorithm: PhantomData<fn() -> A>,
}

impl<A> Clone for Task<A> {
    fn clone(&self) -> Self {
        Self {
            args: self.args.clone(),
            policy: self.policy.clone(),
            algorithm: PhantomData,
        }
    }
}

impl<A: Algorithm> fmt::Debug for Task<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("algorithm", &A::NAME)
            .field("argument_bytes", &self.args.len())
            .field("policy", &self.policy)
            .finish()
    }
}

impl<A> Task<A> {
    /// Lets `write` lay the arguments of `parameters` parameters out. A failure is kept and told at submit.
    #[inline]
    pub(crate) fn build(
        parameters: usize,
        write: impl FnOnce(&mut ArgumentWriter) -> Result<(), WireError>,
    ) -> Self {
        let mut writer = ArgumentWriter::new(parameters);
        let error = write(&mut writer).err().map(Box::new);
        let args = match &error {
            None => writer.written(),
            Some(_) => &[],
        };
        Self {
            args: SmallBytes::copy_from_slice(args),
            policy: error.map(Policy::of_error),
            algorithm: PhantomData,
        }
    }

    /// The task of arguments that were archived before, with its stream and else the default policy.
    pub(crate) fn again(args: &[u8], stream: Stream) -> Self {
        Self {
            args: args.into(),
            policy: Some(Box::new(Policy::new().stream(stream))),
            algorithm: PhantomData,
        }
    }

    /// What was set, if anything was.
    #[inline]
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.as_deref()
    }

    fn policy_mut(&mut self) -> &mut Policy {
        self.policy.get_or_insert_default()
    }

    /// Ordered: that slave only, in the order submitted. Default: unordered, any slave.
    pub fn slave(mut self, slave: SlaveId) -> Self {
        self.policy_mut().slave = Some(slave);
        self
    }

    /// A value that comes back unchanged with the task's end. Read as another type it is an error, never a
    /// reinterpretation. Default: none.
    pub fn tag<T: Wire>(mut self, tag: &T) -> Self {
        self.policy_mut().set_tag(tag);
        self
    }

    /// If the ordered slave is gone, or takes no ordered tasks: true runs the task anywhere, false makes it
    /// unrunnable. Default: false.
    pub fn do_it_anyway(mut self, anyway: bool) -> Self {
        self.policy_mut().do_it_anyway = Some(anyway);
        self
    }

    /// If the slave that had it went away: true gives it to another, however often, up to the crash limit; false
    /// begins it at most once, so lost with its slave it is unrunnable. Default: true.
    pub fn retry(mut self, retry: bool) -> Self {
        self.policy_mut().retry = Some(retry);
        self
    }

    /// Its identity for random numbers and checkpoints. Default: its index in its map, and that map's number;
    /// explicit and default ones never coincide. A number, or the [`Stream`] of a task that gave no output.
    pub fn stream(mut self, stream: impl Into<Stream>) -> Self {
        self.policy_mut().stream = Some(stream.into());
        self
    }

    /// Overwrites exactly what `policy` sets; the rest stays as it is.
    pub fn with(mut self, policy: &Policy) -> Self {
        self.policy_mut().overlay(policy);
        self
    }

    /// What kept the arguments or the tag from being archived.
    pub(crate) fn error(&self) -> Option<&WireError> {
        self.policy()?.error.as_deref()
    }
}

/// The number of an algorithm in a [`Registry`]: the same in every process of one application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AlgorithmIndex(pub(crate) u16);

/// [`Algorithm::run`].
type RunFn = fn(&[u8], &mut Cx, &mut Vec<u8>) -> Result<(), RunError>;

/// What can be done with an algorithm whose type is not known.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// For the key of its tasks' random streams.
    pub(crate) name_hash: u64,
    pub(crate) signature: fn() -> Signature,
    pub(crate) check_outputs: CheckOutputs,
    pub(crate) run: RunFn,
    type_id: TypeId,
}

impl Entry {
    fn of<A: Algorithm>() -> Self {
        Self {
            name: A::NAME,
            name_hash: name_hash(A::NAME),
            signature: A::signature,
            check_outputs: check_each::<A::Output>,
            run: A::run,
            type_id: TypeId::of::<A>(),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Why an algorithm cannot be registered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Another one has the same name; names are how master and slave know them.
    #[error("two task algorithms are called `{name}`: rename one of them")]
    SameName {
        /// That name.
        name: &'static str,
    },
    /// There are more than a task's header can name.
    #[error("an application has at most {} task algorithms", usize::from(u16::MAX) + 1)]
    TooMany,
}

/// Collects the algorithms of an application, in any order.
#[derive(Debug, Default)]
pub(crate) struct RegistryBuilder(Vec<Entry>);

impl RegistryBuilder {
    /// Adds `A`. Adding it again changes nothing.
    pub(crate) fn register<A: Algorithm>(&mut self) -> Result<(), RegistryError> {
        let entry = Entry::of::<A>();
        match self.0.iter().find(|known| known.name == entry.name) {
            Some(known) if known.type_id == entry.type_id => return Ok(()),
            Some(_) => return Err(RegistryError::SameName { name: entry.name }),
            None => {}
        }
        if self.0.len() > usize::from(u16::MAX) {
            return Err(RegistryError::TooMany);
        }
        self.0.push(entry);
        Ok(())
    }

    /// Numbers them by name, so that the order of registration means nothing.
    pub(crate) fn finish(mut self) -> Registry {
        self.0.sort_unstable_by_key(|entry| entry.name);
        let mut by_type: Vec<_> = (0u16..)
            .zip(&self.0)
            .map(|(index, entry)| (entry.type_id, AlgorithmIndex(index)))
            .collect();
        by_type.sort_unstable();
        Registry {
            entries: self.0,
            by_type,
        }
    }
}

/// The algorithms of an application, sorted by name.
#[derive(Debug)]
pub(crate) struct Registry {
    entries: Vec<Entry>,
    by_type: Vec<(TypeId, AlgorithmIndex)>,
}

impl Registry {
    /// `None` for a number that no algorithm has: it may come from the network.
    pub(crate) fn get(&self, index: AlgorithmIndex) -> Option<&Entry> {
        self.entries.get(usize::from(index.0))
    }

    /// `None` if `A` was not registered.
    pub(crate) fn index_of<A: Algorithm>(&self) -> Option<AlgorithmIndex> {
        let at = self
            .by_type
            .binary_search_by_key(&TypeId::of::<A>(), |(id, _)| *id)
            .ok()?;
        Some(self.by_type[at].1)
    }

    /// What a master knows of each.
    pub(crate) fn infos(&self) -> Vec<AlgorithmInfo> {
        let info = |entry: &Entry| AlgorithmInfo {
            name: entry.name,
            of: entry.type_id,
            check_outputs: entry.check_outputs,
        };
        self.entries.iter().map(info).collect()
    }

    /// All of them, in the order of their indices.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prelude::*;

    #[algorithm]
    fn beta(n: u64, text: &str) -> Result<u64, String> {
        text.parse::<u64>()
            .map(|m| n + m)
            .map_err(|error| error.to_string())
    }

    #[algorithm]
    fn alpha() {}

    mod other {
        #[ringmw::algorithm]
        pub(super) fn alpha() {}
    }

    #[test]
    fn a_task_has_the_bytes_that_its_algorithm_reads() {
        let task = beta::task(40, "2");
        assert_eq!(&*task.args, [8, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0, b'2']);
        assert_eq!(task.error(), None);
        beta::check_args(&task.args).unwrap();
        let mut out = Vec::new();
        beta::run(&task.args, &mut Cx::for_test(1), &mut out).unwrap();
        assert_eq!(crate::typed::wire::decode::<u64>(&out), Ok(42));
        let failed = beta::run(&beta::task(40, "x").args, &mut Cx::for_test(1), &mut out);
        assert_eq!(
            failed,
            Err(RunError::Failed("invalid digit found in string".into()))
        );
        assert!(alpha::task().args.is_empty());
    }

    #[test]
    fn a_policy_overwrites_exactly_what_it_sets() {
        let task = || {
            alpha::task()
                .slave(SlaveId(1))
                .tag(&1u8)
                .retry(true)
                .stream(1)
        };
        let untouched = task().with(&Policy::new());
        assert_eq!(untouched.policy(), task().policy());

        let full = Policy::new()
            .slave(SlaveId(2))
            .tag(&2u16)
            .retry(false)
            .stream(2)
            .do_it_anyway(true);
        assert_eq!(task().with(&full).policy(), Some(&full));

        let some = Policy::new().retry(false);
        let mixed = task().with(&some);
        assert_eq!(
            mixed.policy(),
            Some(&Policy {
                retry: Some(false),
                ..task().policy().unwrap().clone()
            })
        );
        assert_eq!(
            mixed
                .policy()
                .unwrap()
                .tag
                .as_ref()
                .map(|tag| tag.read::<u8>()),
            Some(Ok(1))
        );
        assert_eq!(
            some.retry(true).do_it_anyway(false).do_it_anyway,
            Some(false)
        );
    }

    #[test]
    fn a_task_to_submit_is_small() {
        let beside_args = size_of::<Task<alpha>>() - size_of::<SmallBytes>();
        assert!(beside_args <= 8, "{beside_args}");
    }

    #[test]
    fn what_cannot_be_written_is_told_later() {
        struct Unwritable;
        let broken = |_: &mut ArgumentWriter| {
            Err(WireError::Oversized {
                bytes: 5_000_000_000,
            })
        };
        let task: Task<Unwritable> = Task::build(2, broken);
        let error = task.error().unwrap().to_string();
        assert_eq!(
            error,
            "an argument of 5000000000 bytes is above the 4294967295 that can travel"
        );
        assert!(task.with(&Policy::new()).error().is_some());
    }

    #[test]
    fn numbers_do_not_depend_on_the_order_of_registration() {
        let mut forwards = RegistryBuilder::default();
        forwards.register::<alpha>().unwrap();
        forwards.register::<beta>().unwrap();
        let mut backwards = RegistryBuilder::default();
        backwards.register::<beta>().unwrap();
        backwards.register::<alpha>().unwrap();
        backwards.register::<alpha>().unwrap();
        for registry in [forwards.finish(), backwards.finish()] {
            assert_eq!(registry.entries().len(), 2);
            assert_eq!(registry.index_of::<alpha>(), Some(AlgorithmIndex(0)));
            assert_eq!(registry.index_of::<beta>(), Some(AlgorithmIndex(1)));
            assert_eq!(registry.index_of::<other::alpha>(), None);
            assert!(registry.get(AlgorithmIndex(2)).is_none());

            let entry = registry.get(AlgorithmIndex(1)).unwrap();
            assert_eq!((entry.name, entry.name_hash), ("beta", name_hash("beta")));
            assert_eq!((entry.signature)(), beta::signature());
            assert!(beta::check_args(&beta::task(1, "1").args).is_ok());
            assert!(
                (entry.check_outputs)(&[0; 16], 2, 0).is_ok()
                    && (entry.check_outputs)(&[0; 14], 2, 0).is_err()
            );
            let mut out = Vec::new();
            (entry.run)(&beta::task(1, "1").args, &mut Cx::for_test(1), &mut out).unwrap();
            assert_eq!(out, [2, 0, 0, 0, 0, 0, 0, 0]);
        }
    }

    #[test]
    fn two_of_one_name_are_refused() {
        let mut registry = RegistryBuilder::default();
        registry.register::<alpha>().unwrap();
        let error = registry.register::<other::alpha>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "two task algorithms are called `alpha`: rename one of them"
        );
    }
}
