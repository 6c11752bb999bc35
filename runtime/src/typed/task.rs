//! A call that has not been made, and the template of its policy.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use ringmw_sched::SlaveId;

use crate::proto::blob::Named;
use crate::proto::bytes::SmallBytes;
use crate::typed::algorithm::Algorithm;
use crate::typed::rng::Stream;
use crate::typed::tag::Tag;
use crate::typed::wire::{ArgumentWriter, Wire, WireError};

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
    pub(crate) tag: Option<Tag>,
    pub(crate) do_it_anyway: Option<bool>,
    pub(crate) retry: Option<bool>,
    pub(crate) priority: Option<i8>,
    pub(crate) start_within: Option<Duration>,
    pub(crate) timeout: Option<Duration>,
    /// Labels; empty: none were named.
    pub(crate) needs: Vec<String>,
    pub(crate) stream: Option<Stream>,
    /// The shared data that the arguments mention.
    pub(crate) named: Named,
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
    pub fn slave(mut self, slave: impl Into<SlaveId>) -> Self {
        self.slave = Some(slave.into());
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
            Ok(tag) => self.tag = Some(tag),
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

    /// As [`Task::priority`].
    #[must_use]
    pub fn priority(mut self, level: i8) -> Self {
        self.priority = Some(level);
        self
    }

    /// As [`Task::start_within`].
    #[must_use]
    pub fn start_within(mut self, time: Duration) -> Self {
        self.start_within = Some(time);
        self
    }

    /// As [`Task::timeout`].
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = Some(time);
        self
    }

    /// As [`Task::needs`].
    #[must_use]
    pub fn needs(mut self, label: impl Into<String>) -> Self {
        self.needs.push(label.into());
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

    fn of_named(named: Named) -> Box<Self> {
        Box::new(Policy {
            named,
            ..Policy::default()
        })
    }

    /// Overwrites exactly what `other` sets.
    fn overlay(&mut self, other: &Self) {
        let Self {
            slave,
            tag,
            do_it_anyway,
            retry,
            priority,
            start_within,
            timeout,
            needs,
            stream,
            // A template's arguments are no task's.
            named: _,
            error,
        } = other;
        self.slave = slave.or(self.slave);
        self.do_it_anyway = do_it_anyway.or(self.do_it_anyway);
        self.retry = retry.or(self.retry);
        self.priority = priority.or(self.priority);
        self.start_within = start_within.or(self.start_within);
        self.timeout = timeout.or(self.timeout);
        self.stream = stream.or(self.stream);
        if !needs.is_empty() {
            self.needs.clone_from(needs);
        }
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
    policy: OwnPolicy,
    algorithm: PhantomData<fn() -> A>,
}

/// A task's policy: none where nothing was set, as of most tasks, which are dropped for the price of seeing that.
#[derive(Clone, Default)]
struct OwnPolicy(ManuallyDrop<Option<Box<Policy>>>);

impl OwnPolicy {
    fn new(policy: Option<Box<Policy>>) -> Self {
        Self(ManuallyDrop::new(policy))
    }

    fn get_or_begin(&mut self) -> &mut Policy {
        self.0.get_or_insert_with(|| {
            let kept = KEPT.try_with(|kept| kept.borrow_mut().pop());
            kept.ok().flatten().unwrap_or_default()
        })
    }

    #[inline(never)]
    fn drop_some(&mut self) {
        let Some(mut policy) = self.0.take() else {
            return;
        };
        *policy = Policy::default();
        // A thread that is ending keeps nothing.
        let _ = KEPT.try_with(|kept| {
            let mut kept = kept.borrow_mut();
            if kept.len() < KEPT_MAX {
                kept.push(policy);
            }
        });
    }
}

/// Most policies whose memory a thread keeps for its next tasks: one that was submitted needs it no more.
const KEPT_MAX: usize = 16;

thread_local! {
    /// Each of them sets nothing.
    #[expect(clippy::vec_box, reason = "the blocks of memory are what is kept")]
    static KEPT: RefCell<Vec<Box<Policy>>> = const { RefCell::new(Vec::new()) };
}

impl Drop for OwnPolicy {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.is_some() {
            self.drop_some();
        }
    }
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
            .field("policy", &self.policy())
            .finish()
    }
}

impl<A> Task<A> {
    /// Of the arguments that were laid out. A failure is kept and told at submit.
    #[inline(always)]
    pub(crate) fn of(writer: &mut ArgumentWriter, written: Result<(), WireError>) -> Self {
        match written {
            Ok(()) if writer.is_short() => Self {
                args: SmallBytes::copy_from_slice(writer.written()),
                policy: OwnPolicy::default(),
                algorithm: PhantomData,
            },
            written => Self::of_long(writer, written),
        }
    }

    /// Of arguments that are long, name shared data, or could not be written.
    #[inline(never)]
    fn of_long(writer: &mut ArgumentWriter, written: Result<(), WireError>) -> Self {
        let named = writer.take_named();
        let (args, policy) = match written {
            Ok(()) if named.is_empty() => (writer.take_bytes(), None),
            Ok(()) => (writer.take_bytes(), Some(Policy::of_named(named))),
            Err(error) => (
                SmallBytes::default(),
                Some(Policy::of_error(Box::new(error))),
            ),
        };
        Self {
            args,
            policy: OwnPolicy::new(policy),
            algorithm: PhantomData,
        }
    }

    /// The task of arguments that were archived before, with its stream and else the default policy.
    pub(crate) fn again(args: &[u8], stream: Stream) -> Self {
        Self {
            args: args.into(),
            policy: OwnPolicy::new(Some(Box::new(Policy::new().stream(stream)))),
            algorithm: PhantomData,
        }
    }

    /// What was set, if anything was.
    #[inline]
    pub(crate) fn policy(&self) -> Option<&Policy> {
        self.policy.0.as_deref()
    }

    fn policy_mut(&mut self) -> &mut Policy {
        self.policy.get_or_begin()
    }

    /// Ordered: that slave only, in the order submitted. Default: unordered, any slave.
    pub fn slave(mut self, slave: impl Into<SlaveId>) -> Self {
        self.policy_mut().slave = Some(slave.into());
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

    /// Which unordered tasks go first: those of the highest level, from -4 to 3. Default: 0.
    ///
    /// Levels compete at hand-out, so what slaves have in hand already is begun before: a packet, or two. Of one level
    /// calls, maps and the queue take turns. Lest a low level wait for ever, it competes one level higher for each
    /// `--mw-priority-aging` that its oldest task has waited. An ordered task keeps its place among those of its slave, and
    /// goes before unordered ones. Another number makes the task unrunnable.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn explore(depth: i8) -> u64 {
    ///     depth as u64
    /// }
    ///
    /// let deeper_later = (0..4).map(|depth| explore::task(depth).priority(-depth));
    /// # let _ = deeper_later.count();
    /// ```
    pub fn priority(mut self, level: i8) -> Self {
        self.policy_mut().priority = Some(level);
        self
    }

    /// How long after its submission it must have been handed to a slave: queued then, or queued again after it, because its
    /// slave was lost, it is unrunnable. What was handed out in time is let run. Default: no limit.
    pub fn start_within(mut self, time: Duration) -> Self {
        self.policy_mut().start_within = Some(time);
        self
    }

    /// How long it may run from its beginning on its slave, at least a millisecond. Default: what its algorithm says,
    /// `#[algorithm(timeout = "30s")]`, else `--mw-task-timeout`, else for ever.
    ///
    /// When the time is over the task sees [`cx.cancelled()`](crate::Cx::cancelled), and what it returns within a second is
    /// its end, so that a search can give what it has. If it does not return it has failed, `timed out after 60 s`, and its
    /// slave ends, since nothing else stops it; it is never given to another slave.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn improve(mut guess: f64, cx: &mut Cx) -> f64 {
    ///     while !cx.cancelled() && (guess * guess - 2.0).abs() > 1e-12 {
    ///         guess = (guess + 2.0 / guess) / 2.0;
    ///     }
    ///     guess
    /// }
    ///
    /// let task = improve::task(1.0).timeout(Duration::from_secs(60));
    /// # let _ = task;
    /// ```
    pub fn timeout(mut self, time: Duration) -> Self {
        self.policy_mut().timeout = Some(time);
        self
    }

    /// A label that its slave must have, said again for each: `gpu` is any label of that key, whatever its value, and
    /// `site=fermi` that one. Slaves are given theirs by `--mw-slave-label`. Default: none.
    ///
    /// While no connected slave has what a task needs it waits; the trail says so, and so does `ringmw why`. At most 4
    /// labels of 64 bytes each, else the task is unrunnable. An ordered task goes to its slave whatever that has; where it
    /// is run anywhere instead ([`do_it_anyway`](Task::do_it_anyway)), by one that has what it needs.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn render(frame: u32) -> Vec<u8> {
    ///     vec![frame as u8; 3]
    /// }
    ///
    /// let frames = (0..4).map(|frame| render::task(frame).needs("gpu").needs("site=fermi"));
    /// # let _ = frames.count();
    /// ```
    pub fn needs(mut self, label: impl Into<String>) -> Self {
        self.policy_mut().needs.push(label.into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RunError;
    use crate::prelude::*;

    #[algorithm]
    fn beta(n: u64, text: &str) -> Result<u64, String> {
        text.parse::<u64>()
            .map(|m| n + m)
            .map_err(|error| error.to_string())
    }

    #[algorithm]
    fn alpha() {}

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
            .priority(-3)
            .start_within(Duration::from_secs(9))
            .timeout(Duration::from_millis(70))
            .needs("gpu")
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
        let broken = Err(WireError::Oversized {
            bytes: 5_000_000_000,
        });
        let task: Task<Unwritable> = Task::of(&mut ArgumentWriter::new(2), broken);
        let error = task.error().unwrap().to_string();
        assert_eq!(
            error,
            "an argument of 5000000000 bytes is above the 4294967295 that can travel"
        );
        assert!(task.with(&Policy::new()).error().is_some());
    }
}
