//! A task's side of a conversation with the master.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::time::Duration;

use crate::typed::algorithm::Algorithm;
use crate::typed::cx::Cx;
use crate::typed::host::Host;
use crate::typed::wire::{self, Wire, WireError, hash};

/// The conversation of a running task with the master, which goes on beside its result: a `&mut Talk<Down, Up>` parameter of
/// an algorithm.
///
/// The task says what is an `Up` and hears what is a `Down`; the master algorithm gives the task to
/// [`Master::converse`](crate::Master::converse). Messages are typed and stay in order. Of what either side has said and the
/// other has not taken at most 64 KiB are under way, each message counting 24 bytes beside its own; then
/// [`say`](Talk::say) waits. A larger message, up to `--mw-max-read-buffer-size`, goes when nothing is under way.
///
/// In a task that is given to [`call`](crate::Master::call), [`map`](crate::Master::map) or the queue nobody listens: it says
/// nothing and hears nothing. So it is once the task is cancelled or timed out, its slave is to go or its master is lost. A task
/// whose slave is lost is begun anew on another one, and says everything anew.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn count(until: u64, talk: &mut Talk<u64, u64>) -> u64 {
///     let (mut step, mut n) = (1, 0);
///     while n < until {
///         if let Some(faster) = talk.try_hear() {
///             step = faster;
///         }
///         n += step;
///         talk.say(&n);
///     }
///     n
/// }
///
/// let mut talk = Talk::for_test([5]);
/// assert_eq!(count(12, &mut talk), 15);
/// assert_eq!(talk.said(), [5, 10, 15]);
/// ```
pub struct Talk<Down, Up> {
    with: With,
    types: PhantomData<fn(Up) -> Down>,
}

enum With {
    /// The slave that runs the task.
    Host(Rc<dyn Host>),
    /// A test: what is heard, and what was said.
    Test(VecDeque<Vec<u8>>, Vec<Vec<u8>>),
}

impl<Down, Up> fmt::Debug for Talk<Down, Up> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Talk").finish_non_exhaustive()
    }
}

impl<Down: Wire, Up: Wire> Talk<Down, Up> {
    pub(crate) fn of(cx: &Cx) -> Self {
        let with = cx.host();
        let with = with.map_or(With::Test(VecDeque::new(), Vec::new()), With::Host);
        let types = PhantomData;
        Talk { with, types }
    }

    /// A conversation outside any run, to unit-test an algorithm with: it hears these, then nobody listens.
    ///
    /// ```
    /// use ringmw::prelude::*;
    ///
    /// #[algorithm]
    /// fn shout(talk: &mut Talk<String, String>) -> u64 {
    ///     let mut lines = 0;
    ///     while let Some(line) = talk.hear() {
    ///         talk.say(&line.to_uppercase());
    ///         lines += 1;
    ///     }
    ///     lines
    /// }
    ///
    /// let mut talk = Talk::for_test(["hello".to_owned(), "bye".to_owned()]);
    /// assert_eq!(shout(&mut talk), 2);
    /// assert_eq!(talk.said(), ["HELLO", "BYE"]);
    /// ```
    ///
    /// # Panics
    /// If a message's own serialization fails.
    pub fn for_test(hears: impl IntoIterator<Item = Down>) -> Self {
        let hears = hears.into_iter().map(|down| encode(&down)).collect();
        let with = With::Test(hears, Vec::new());
        let types = PhantomData;
        Talk { with, types }
    }

    /// What was said since this was asked last, in order; only in a conversation [for a test](Talk::for_test), else nothing.
    pub fn said(&mut self) -> Vec<Up> {
        match &mut self.with {
            With::Host(_) => Vec::new(),
            With::Test(_, said) => said.drain(..).map(|said| decode(&said)).collect(),
        }
    }

    /// Says something to the master; waits while 64 KiB of what was said are not taken. False once nobody listens: it
    /// reaches nobody.
    ///
    /// While it waits its slave goes on beating, and the task can be cancelled or time out.
    ///
    /// # Panics
    /// If the message's own serialization fails, or it is larger than the master reads (`--mw-max-read-buffer-size`): that
    /// is a failed result.
    pub fn say(&mut self, up: &Up) -> bool {
        let message = encode(up);
        match &mut self.with {
            With::Host(host) => match host.say(message) {
                Ok(is_said) => is_said,
                Err(reason) => panic!("{reason}"),
            },
            With::Test(_, said) => {
                said.push(message);
                true
            }
        }
    }

    /// What the master says next; waits for it. `None` once nobody listens, at once.
    ///
    /// # Panics
    /// If what comes cannot be read: that is a failed result.
    pub fn hear(&mut self) -> Option<Down> {
        self.hear_within(None)
    }

    /// The same, waiting no longer than this; `None` then, too: [`is_open`](Talk::is_open) tells.
    ///
    /// # Panics
    /// As for [`hear`](Talk::hear).
    pub fn hear_timeout(&mut self, timeout: Duration) -> Option<Down> {
        self.hear_within(Some(timeout))
    }

    /// What the master has said and the task has not heard, without waiting. What was said is there some 20 ms later at the
    /// latest.
    ///
    /// # Panics
    /// As for [`hear`](Talk::hear).
    pub fn try_hear(&mut self) -> Option<Down> {
        self.hear_within(Some(Duration::ZERO))
    }

    fn hear_within(&mut self, timeout: Option<Duration>) -> Option<Down> {
        match &mut self.with {
            With::Host(host) => host.hear(timeout).map(|message| decode(&message)),
            With::Test(hears, _) => hears.pop_front().map(|message| decode(&message)),
        }
    }

    /// Whether somebody listens: the task was given to [`Master::converse`](crate::Master::converse), and nothing says that it
    /// is no longer wanted.
    pub fn is_open(&self) -> bool {
        match &self.with {
            With::Host(host) => host.is_open(),
            With::Test(hears, _) => !hears.is_empty(),
        }
    }
}

fn encode<T: Wire>(message: &T) -> Vec<u8> {
    let mut archive = Vec::new();
    if let Err(error) = wire::encode(message, &mut archive) {
        panic!("a message cannot be said: {error}");
    }
    archive
}

fn decode<T: Wire>(message: &[u8]) -> T {
    wire::decode(message).unwrap_or_else(|error| panic!("a message cannot be read: {error}"))
}

/// A task algorithm with a parameter `&mut Talk<Down, Up>`: its tasks can be given to
/// [`Master::converse`](crate::Master::converse).
///
/// Nobody implements it by hand: `#[algorithm]` does.
///
/// ```
/// use ringmw::{Converses, prelude::*};
///
/// #[algorithm]
/// fn echo(talk: &mut Talk<String, String>) {
///     while let Some(line) = talk.hear() {
///         talk.say(&line);
///     }
/// }
///
/// fn is_a_conversation<A: Converses>() -> &'static str {
///     A::NAME
/// }
/// assert_eq!(is_a_conversation::<echo>(), "echo");
/// ```
#[diagnostic::on_unimplemented(
    message = "tasks of `{Self}` do not converse",
    label = "this algorithm has no parameter `&mut Talk<Down, Up>`",
    note = "give it one, `talk: &mut Talk<Down, Up>` with what it hears and what it says, or give its tasks to `call`"
)]
pub trait Converses: Algorithm {
    /// What the master says.
    type Down: Wire;
    /// What the task says.
    type Up: Wire;
}

// ---- for the expansion of `#[algorithm]`

pub(crate) fn check_said<Up: Wire>(archive: &[u8]) -> Result<(), String> {
    wire::check::<Up>(archive).map_err(|error: WireError| error.to_string())
}

pub(crate) const fn hash_talk<Down: Wire, Up: Wire>(before: u64) -> u64 {
    let talk = hash::text(before, "Talk");
    hash::word(hash::word(talk, Down::TYPE_HASH), Up::TYPE_HASH)
}

pub(crate) fn describe<Down: Wire, Up: Wire>(out: &mut String) {
    wire::describe_generic(out, "&mut Talk", &[Down::describe, Up::describe]);
}
