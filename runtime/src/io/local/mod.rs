//! Local mode's supervisor: starts slaves of this very binary, copies what they print, starts the dead again, and
//! leaves nothing running.
//!
//! It owns processes only. Which slave is connected, and which job was handed a task, the master tells it; slaves of
//! local mode are slaves like any other and come in by the network.
//!
//! ```text
//! start ──► running ──told to go, and exit 0──► done
//!             │  ▲
//!       dies  │  │ after 0.1 s … 5 s
//!             ▼  │
//!           waiting ──5 lives in a row that were short and ended no task──► given up
//! ```
//! Each slot for itself; when all are given up, that is the end ([`LocalEvent::Failed`]). What a life came to, the slave
//! itself leaves in a page that outlives it ([`word`](crate::io::word)); an exit with 0 counts only with that word. Each
//! death is a line on stderr, folded when many are alike.
//!
//! One thread of its own starts, reaps and signals. For each slave one thread waits for its end and one copies its
//! output: plain blocking waits that need no particular kernel.

mod nursery;
mod obituary;
mod output;
mod plan;
mod restart;

use std::fmt;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use crate::io::local::nursery::{Nursery, named};
pub(crate) use crate::io::local::output::{NAMELESS, own_stdio};
pub(crate) use crate::io::local::plan::{Plan, cores};

/// The environment variable that tells a slave its batch job; `local.<index>.<restarts>` in local mode.
pub(crate) const JOB_VARIABLE: &str = "RINGMW_JOB";
/// The environment variable that tells a slave how its predecessor in its place ended.
pub(crate) const BEFORE_VARIABLE: &str = "RINGMW_BEFORE";
/// How long slaves may take to end by themselves when the master is done.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(2);
/// What the supervisor tells the master, from the supervisor's thread.
#[derive(Debug)]
pub(crate) enum LocalEvent {
    /// A slave was started.
    Started {
        /// Its index, from 0; the same after a restart.
        child: u32,
        /// Its [`JOB_VARIABLE`].
        #[cfg_attr(not(test), expect(dead_code, reason = "told, and read by tests alone"))]
        job: String,
        /// Its process.
        pid: u32,
    },
    /// A slave ended, or could not be started again.
    Ended {
        /// How.
        death: Death,
        /// The pause before it is started again; none if it is not.
        restart_in: Option<Duration>,
    },
    /// Slaves cannot run here: none is started any more. Those that live go on until [`Supervisor::stop`].
    Failed(Failure),
}

/// The end of one slave.
#[derive(Debug, Clone)]
pub(crate) struct Death {
    /// Its index, from 0; the same after a restart.
    pub child: u32,
    /// Its process; none if it could not be started.
    #[cfg_attr(not(test), expect(dead_code, reason = "told, and read by tests alone"))]
    pub pid: Option<u32>,
    /// How it ended, for the trail: `exit status: 255`, `signal: 9 (SIGKILL) in TASK-7`, `cannot be started: …`.
    pub how: String,
    /// The same in a sentence about it: `was killed by SIGKILL while it ran TASK-7`.
    pub words: String,
    /// Its number, if it had joined.
    pub slave: Option<u32>,
    /// Whether it left because it was told to, or was idle.
    pub is_over: bool,
}

/// Every slot was given up: [`BARREN_MAX`](restart::BARREN_MAX) lives of each in a row were short and ended no task.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How many slots there were.
    pub slots: usize,
    /// The last to die, oldest first and told from the last on, each with its last lines (at most [`LAST_LINES_MAX`](output::LAST_LINES_MAX)).
    pub dead: Vec<(Death, Vec<String>)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.slots {
            1 => write!(f, "its only slave is given up, after ")?,
            slots => write!(f, "all {slots} slaves are given up, each after ")?,
        }
        let lives = restart::BARREN_MAX;
        write!(f, "{lives} lives in a row that ended no task")?;
        let mut told: Vec<(&str, &[String])> = Vec::new();
        for (death, lines) in self.dead.iter().rev() {
            // The others say the same.
            let said = (death.words.as_str(), lines.as_slice());
            if told.contains(&said) {
                continue;
            }
            told.push(said);
            write!(f, "\n  slave {} {}", death.child, death.words)?;
            if lines.is_empty() {
                write!(f, "; it printed nothing")?;
                continue;
            }
            write!(f, "; its last lines:")?;
            for line in lines {
                write!(f, "\n    {line}")?;
            }
        }
        Ok(())
    }
}

/// How the slaves that still ran at [`Supervisor::stop`] ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped {
    /// By themselves within the bound.
    pub by_themselves: u32,
    /// On SIGTERM.
    pub terminated: u32,
    /// On SIGKILL.
    pub killed: u32,
}

enum Message {
    /// It is a zombie, unless someone else reaped it.
    Ended {
        index: usize,
        is_zombie: bool,
    },
    Stop {
        bound: Duration,
    },
}

/// The running slaves of local mode. Dropping it kills them; [`Supervisor::stop`] lets them end.
#[derive(Debug)]
pub(crate) struct Supervisor {
    messages: Sender<Message>,
    thread: Option<thread::JoinHandle<Stopped>>,
}

impl Supervisor {
    /// Starts the slaves and returns when each was tried once.
    ///
    /// `events` is called from the supervisor's thread and must not block. An error means that the first slave could
    /// not be started, and none runs.
    pub(crate) fn start(
        plan: Plan,
        events: impl Fn(LocalEvent) + Send + 'static,
    ) -> io::Result<Self> {
        assert!(plan.slaves > 0, "local mode needs a slave");
        let (messages, inbox) = channel();
        let (first_round, started) = channel();
        let mut nursery = Nursery::new(plan, messages.clone(), events);
        let thread = named("ringmw-local").spawn(move || {
            let first = nursery.start_first();
            let is_started = first.is_ok();
            if first_round.send(first).is_err() || !is_started {
                return Stopped::default();
            }
            nursery.run(&inbox)
        })?;
        let supervisor = Self {
            messages,
            thread: Some(thread),
        };
        match started.recv() {
            Ok(first) => first.map(|()| supervisor),
            Err(_) => Err(io::Error::other("the supervisor of local slaves panicked")),
        }
    }

    /// Waits up to `bound` ([`STOP_BOUND`]) for the slaves to end by themselves, then sends SIGTERM, then SIGKILL to
    /// those that are left and to what they started. None is started again, none is left.
    pub(crate) fn stop(mut self, bound: Duration) -> Stopped {
        self.stop_within(bound)
    }

    /// No slave is started any more, and those that end within `bound` do so by themselves; does not wait for that.
    pub(crate) fn begin_to_stop(&self, bound: Duration) {
        let _ = self.messages.send(Message::Stop { bound });
    }

    /// The same for one who does not have it: a call of it is [`begin_to_stop`](Self::begin_to_stop).
    pub(crate) fn stopper(&self) -> impl Fn(Duration) + use<> {
        let messages = self.messages.clone();
        move |bound| drop(messages.send(Message::Stop { bound }))
    }

    fn stop_within(&mut self, bound: Duration) -> Stopped {
        let _ = self.messages.send(Message::Stop { bound });
        let ended = self.thread.take().map(thread::JoinHandle::join);
        ended.and_then(Result::ok).unwrap_or_default()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop_within(Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests;
