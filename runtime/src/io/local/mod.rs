//! Local mode's supervisor: starts slaves of this very binary, copies what they print, starts the dead again, and
//! leaves nothing running.
//!
//! It owns processes only. Which slave is connected, and which job was handed a task, the master tells it; slaves of
//! local mode are slaves like any other and come in by the network.
//!
//! ```text
//! start ──► running ──exit 0──► done
//!             │  ▲
//!       dies  │  │ at once, then after 0.1 s … 5 s
//!             ▼  │
//!           waiting ──5 early deaths in a row──► given up (LocalEvent::Failed)
//! ```
//!
//! One thread of its own starts, reaps and signals. For each slave one thread waits for its end and one copies its
//! output: plain blocking waits that need no particular kernel.

mod nursery;
mod output;
mod plan;
mod restart;

use std::fmt;
use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::io::local::nursery::{Nursery, named};
use crate::io::local::output::Voice;
pub(crate) use crate::io::local::output::{NAMELESS, own_stdio};
use crate::io::local::plan::parse_job;
pub(crate) use crate::io::local::plan::{Plan, cores};

/// The environment variable that tells a slave its batch job; `local.<index>.<restarts>` in local mode.
pub(crate) const JOB_VARIABLE: &str = "RINGMW_JOB";
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
        job: String,
        /// Its process.
        pid: u32,
    },
    /// A slave ended, or could not be started again.
    Ended {
        /// How.
        death: Death,
        /// The pause before it is started again; none if it is not.
        #[cfg_attr(not(test), expect(dead_code, reason = "told, and read by tests alone"))]
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
    /// Its [`JOB_VARIABLE`].
    pub job: String,
    /// Its process; none if it could not be started.
    #[cfg_attr(not(test), expect(dead_code, reason = "told, and read by tests alone"))]
    pub pid: Option<u32>,
    /// How it ended, as a person reads it: `exit status: 255`, `signal: 9 (SIGKILL)`, `cannot be started: …`.
    pub how: String,
    /// Whether it exited 0.
    pub is_success: bool,
    /// Whether it had been handed a task.
    pub was_handed_task: bool,
}

/// [`DEATHS_IN_A_ROW_MAX`](restart::DEATHS_IN_A_ROW_MAX) slaves died in a row before they were handed a task.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The dead, oldest first, each with its last lines (at most [`LAST_LINES_MAX`](output::LAST_LINES_MAX)).
    pub dead: Vec<(Death, Vec<String>)>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} local slaves in a row died before they were handed a task",
            self.dead.len()
        )?;
        let Some((death, lines)) = self.dead.last() else {
            return Ok(());
        };
        write!(f, "; the last one, {}, with {}", death.job, death.how)?;
        if lines.is_empty() {
            return write!(f, ", without a word");
        }
        write!(f, ", after these words:")?;
        lines.iter().try_for_each(|line| write!(f, "\n    {line}"))
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
    HandedTask {
        index: usize,
        restarts: u32,
    },
    Stop {
        bound: Duration,
    },
}

/// The voice of the slave that runs in each slot, with the restarts that make its job string.
type Voices = Arc<Mutex<Vec<Option<(u32, Arc<Voice>)>>>>;

/// The running slaves of local mode. Dropping it kills them; [`Supervisor::stop`] lets them end.
#[derive(Debug)]
pub(crate) struct Supervisor {
    messages: Sender<Message>,
    voices: Voices,
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
        let voices: Voices = Arc::new(Mutex::new(vec![None; plan.slaves as usize]));
        let mut nursery = Nursery::new(plan, voices.clone(), messages.clone(), events);
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
            voices,
            thread: Some(thread),
        };
        match started.recv() {
            Ok(first) => first.map(|()| supervisor),
            Err(_) => Err(io::Error::other("the supervisor of local slaves panicked")),
        }
    }

    /// The slave of this job was handed a task: its next restart is at once again, and the row of early deaths is
    /// broken. To be told before the task is sent; the first task of a slave is enough. Other jobs are passed over.
    pub(crate) fn handed_task(&self, job: &str) {
        if let Some((index, restarts)) = parse_job(job) {
            let _ = self.messages.send(Message::HandedTask { index, restarts });
        }
    }

    /// The slave of this job is `SLAVE-<id>`: its lines are marked so from now on. Other jobs are passed over.
    pub(crate) fn slave_id(&self, job: &str, id: u32) {
        let Some((index, restarts)) = parse_job(job) else {
            return;
        };
        let voices = self.voices.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Some((current, voice))) = voices.get(index)
            && *current == restarts
        {
            let _ = voice.slave_id.set(id);
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
