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

mod output;
mod restart;

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::Nanos;
use rustix::event::{EventfdFlags, eventfd};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, waitid,
};
use rustix::thread::{CpuSet, sched_setaffinity};

pub(crate) use output::{NAMELESS, Output, own_stdio};
use output::{Voice, copy, set_nonblocking};
pub(crate) use restart::{DEATHS_IN_A_ROW_MAX, Restarts, Verdict};

/// The environment variable that tells a slave its batch job; `local.<index>.<restarts>` in local mode.
pub(crate) const JOB_VARIABLE: &str = "RINGMW_JOB";
/// How long slaves may take to end by themselves when the master is done.
pub(crate) const STOP_BOUND: Duration = Duration::from_secs(2);
/// How long a slave may take to end after SIGTERM.
const TERM_BOUND: Duration = Duration::from_millis(500);
/// How long a failure waits for the last lines of the dead; they are late only when this process's own output stands.
const LAST_LINES_BOUND: Duration = Duration::from_millis(200);
/// SIGKILL works at once, but for a process that hangs in the kernel, on a dead file server for one.
const KILL_BOUND: Duration = Duration::from_secs(2);
/// The helper threads poll and copy; they need little.
const THREAD_STACK_BYTES: usize = 128 * 1024;

/// What to start.
pub(crate) struct Plan {
    /// How many slaves; at least one.
    pub slaves: u32,
    /// The program, by its path.
    pub program: PathBuf,
    /// What the program sees as its own name.
    pub arg0: Option<OsString>,
    /// The arguments of every slave.
    pub args: Vec<OsString>,
    /// Each slave is given `--mw-audit-file` with this path and `.slave-N` added, N its index.
    pub audit_file: Option<PathBuf>,
    /// Where its output goes, line by line.
    pub output: Output,
    /// The batch job that these slaves are part of: their [`JOB_VARIABLE`] is this with `+<index>`. None is local mode.
    pub batch_job: Option<String>,
    /// The core of each slave, by its index and round again; none are pinned if it is empty.
    pub cores: Vec<usize>,
}

impl Plan {
    /// Slaves of this very binary for a master that listens on 127.0.0.1.
    ///
    /// `slaves`: one per core that this process may use, if `None`.
    pub(crate) fn of_this_binary(slaves: Option<u32>, master_port: u16, member_id: &str) -> Self {
        let args = [
            "--mw-slave",
            "--mw-master-host",
            "127.0.0.1",
            "--mw-master-port",
            &master_port.to_string(),
            "--mw-member-id",
            member_id,
        ];
        Self {
            slaves: slaves.unwrap_or_else(cores),
            // Not its path: the very file that runs, even if a build has replaced it meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arg0: std::env::args_os().next(),
            args: args.iter().map(OsString::from).collect(),
            audit_file: None,
            output: own_stdio(),
            batch_job: None,
            cores: Vec::new(),
        }
    }

    fn job_of(&self, index: usize, restarts: u32) -> String {
        match &self.batch_job {
            Some(batch_job) => format!("{batch_job}+{index}"),
            None => job(index, restarts),
        }
    }

    fn core_of(&self, index: usize) -> Option<usize> {
        let at = index.checked_rem(self.cores.len())?;
        Some(self.cores[at])
    }

    fn args_of(&self, index: usize) -> Vec<OsString> {
        let mut args = self.args.clone();
        if let Some(file) = &self.audit_file {
            args.extend([
                "--mw-audit-file".into(),
                audit_file_of(file, index).into_os_string(),
            ]);
        }
        args
    }
}

fn audit_file_of(file: &Path, index: usize) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(format!(".slave-{index}"));
    name.into()
}

/// How many slaves there are by default: the cores this process may use, affinity and cgroup limits considered.
pub(crate) fn cores() -> u32 {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(cores).unwrap_or(u32::MAX)
}

/// The job string of the slave with this index at this start.
pub(crate) fn job(index: usize, restarts: u32) -> String {
    format!("local.{index}.{restarts}")
}

fn child_number(index: usize) -> u32 {
    u32::try_from(index).expect("the plan counts slaves in a u32")
}

fn parse_job(job: &str) -> Option<(usize, u32)> {
    let (index, restarts) = job.strip_prefix("local.")?.split_once('.')?;
    Some((index.parse().ok()?, restarts.parse().ok()?))
}

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

/// [`DEATHS_IN_A_ROW_MAX`] slaves died in a row before they were handed a task.
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
        let mut nursery = Nursery {
            restarts: Restarts::new(plan.slaves as usize),
            slots: (0..plan.slaves).map(|_| None).collect(),
            plan,
            voices: voices.clone(),
            messages: messages.clone(),
            began: Instant::now(),
            group: None,
            early_dead: VecDeque::new(),
            undrained: Vec::new(),
            events,
        };
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

fn named(name: &str) -> thread::Builder {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(THREAD_STACK_BYTES)
}

/// One running slave. It is a zombie at least until it is reaped here, so its pid is surely its own.
struct Running {
    child: Child,
    restarts: u32,
    voice: Arc<Voice>,
}

/// What the supervisor's thread owns.
struct Nursery<E> {
    plan: Plan,
    restarts: Restarts,
    slots: Vec<Option<Running>>,
    voices: Voices,
    messages: Sender<Message>,
    began: Instant,
    /// The process group of the slaves, as long as one of them is in it.
    group: Option<Pid>,
    early_dead: VecDeque<(Death, Option<Arc<Voice>>)>,
    /// Of the dead whose last lines may still stand in their pipes.
    undrained: Vec<Arc<Voice>>,
    events: E,
}

impl<E: Fn(LocalEvent)> Nursery<E> {
    fn now(&self) -> Nanos {
        Nanos::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    fn start_first(&mut self) -> io::Result<()> {
        let (index, restarts) = self
            .restarts
            .take_due(0)
            .expect("at least one slave is planned");
        self.spawn(index, restarts)?;
        self.start_due();
        Ok(())
    }

    fn run(mut self, inbox: &Receiver<Message>) -> Stopped {
        loop {
            let pause = self
                .restarts
                .next_due()
                .map(|due| Duration::from_nanos(due.saturating_sub(self.now())));
            match receive(inbox, pause) {
                Some(Message::Ended { index, is_zombie }) => self.on_ended(index, is_zombie),
                Some(Message::HandedTask { index, restarts }) => {
                    self.on_handed_task(index, restarts)
                }
                Some(Message::Stop { bound }) => return self.stop(inbox, bound),
                None => {}
            }
            self.start_due();
        }
    }

    fn start_due(&mut self) {
        while let Some((index, restarts)) = self.restarts.take_due(self.now()) {
            if let Err(error) = self.spawn(index, restarts) {
                let death = Death {
                    child: child_number(index),
                    job: job(index, restarts),
                    pid: None,
                    how: format!("cannot be started: {error}"),
                    is_success: false,
                    was_handed_task: false,
                };
                self.on_death(index, death, None);
            }
        }
    }

    fn on_handed_task(&mut self, index: usize, restarts: u32) {
        if self
            .slots
            .get(index)
            .and_then(Option::as_ref)
            .is_some_and(|slave| slave.restarts == restarts)
        {
            self.restarts.on_handed_task(index);
        }
    }

    fn on_ended(&mut self, index: usize, is_zombie: bool) {
        let (death, voice) = self.reap(index, is_zombie);
        self.undrained.retain(|voice| !voice.is_drained());
        self.undrained.push(voice.clone());
        self.on_death(index, death, Some(voice));
    }

    fn on_death(&mut self, index: usize, death: Death, voice: Option<Arc<Voice>>) {
        let verdict = self.restarts.on_ended(index, death.is_success, self.now());
        if !death.is_success && !death.was_handed_task {
            if self.early_dead.len() == DEATHS_IN_A_ROW_MAX as usize {
                self.early_dead.pop_front();
            }
            self.early_dead.push_back((death.clone(), voice));
        }
        let restart_in = match verdict {
            Verdict::Restart(pause) => Some(pause),
            Verdict::Done | Verdict::GiveUp => None,
        };
        (self.events)(LocalEvent::Ended { death, restart_in });
        if verdict == Verdict::GiveUp {
            self.give_up();
        }
    }

    fn give_up(&mut self) {
        let dead: Vec<_> = self
            .early_dead
            .drain(..)
            .map(|(death, voice)| {
                (
                    death,
                    voice.map_or_else(Vec::new, |voice| voice.last_lines(LAST_LINES_BOUND)),
                )
            })
            .collect();
        (self.events)(LocalEvent::Failed(Failure { dead }));
    }

    fn spawn(&mut self, index: usize, restarts: u32) -> io::Result<()> {
        let mut command = Command::new(&self.plan.program);
        command
            .args(self.plan.args_of(index))
            .env(JOB_VARIABLE, self.plan.job_of(index, restarts))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(self.group.map_or(0, Pid::as_raw_pid));
        if let Some(arg0) = &self.plan.arg0 {
            command.arg0(arg0);
        }
        let parent = getpid();
        // SAFETY: between fork and exec only async-signal-safe functions may run; this makes two system calls and
        // neither allocates nor locks.
        unsafe { command.pre_exec(move || die_with(parent)) };
        if let Some(core) = self.plan.core_of(index) {
            // SAFETY: as above: one system call, nothing else.
            unsafe { command.pre_exec(move || pin_to(core)) };
        }
        // Before it runs: it may join, and be given its number, before this thread comes to its next line.
        let voice = Arc::new(Voice::default());
        self.voices.lock().unwrap_or_else(PoisonError::into_inner)[index] =
            Some((restarts, voice.clone()));
        let mut child = command.spawn()?;
        if let Err(error) = self.attend(index, &mut child, &voice) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        let pid = Pid::from_child(&child);
        self.group.get_or_insert(pid);
        self.slots[index] = Some(Running {
            child,
            restarts,
            voice,
        });
        (self.events)(LocalEvent::Started {
            child: child_number(index),
            job: job(index, restarts),
            pid: pid.as_raw_pid().unsigned_abs(),
        });
        Ok(())
    }

    /// Gives the child its two threads: one copies its output, one waits for its end.
    fn attend(&self, index: usize, child: &mut Child, voice: &Arc<Voice>) -> io::Result<()> {
        let (stdout, stderr) = (
            child.stdout.take().expect("piped"),
            child.stderr.take().expect("piped"),
        );
        set_nonblocking(&stdout)?;
        set_nonblocking(&stderr)?;
        let dead = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let pid = Pid::from_child(child);

        let (bell, voice, output) = (dead.clone(), voice.clone(), self.plan.output.clone());
        named(&format!("ringmw-out-{index}"))
            .spawn(move || copy(stdout, stderr, &dead, &voice, &output))?;
        let (messages, waiters_bell) = (self.messages.clone(), bell.clone());
        named(&format!("ringmw-wait-{index}"))
            .spawn(move || {
                let is_zombie = wait_for_end(pid);
                ring(&waiters_bell);
                let _ = messages.send(Message::Ended { index, is_zombie });
            })
            .inspect_err(|_| ring(&bell))?;
        Ok(())
    }

    /// Takes the ended slave out of its slot, and the last one's whole process group out of the world.
    fn reap(&mut self, index: usize, is_zombie: bool) -> (Death, Arc<Voice>) {
        let mut slave = self.slots[index]
            .take()
            .expect("only the running end, and each ends once");
        if self.slots.iter().all(Option::is_none)
            && let Some(group) = self.group.take()
            && is_zombie
        {
            // What dead slaves started and left. The zombie still keeps the group's number from being used again.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let status = slave.child.wait().ok();
        let death = Death {
            child: child_number(index),
            job: job(index, slave.restarts),
            pid: Some(slave.child.id()),
            how: status.map_or_else(
                || "unknown status, reaped by another".to_owned(),
                |status| status.to_string(),
            ),
            is_success: status.is_some_and(|status| status.success()),
            was_handed_task: self.restarts.was_handed_task(index),
        };
        (death, slave.voice)
    }

    fn stop(mut self, inbox: &Receiver<Message>, bound: Duration) -> Stopped {
        // Also of those that were quicker than the message which stops them.
        let mut voices = std::mem::take(&mut self.undrained);
        let by_themselves = self.await_ends(inbox, bound, &mut voices);
        self.signal_all(Signal::TERM);
        let terminated = self.await_ends(inbox, TERM_BOUND, &mut voices);
        self.signal_all(Signal::KILL);
        let killed = self.await_ends(inbox, KILL_BOUND, &mut voices);
        for voice in voices {
            voice.last_lines(LAST_LINES_BOUND);
        }
        Stopped {
            by_themselves,
            terminated,
            killed,
        }
    }

    fn signal_all(&self, signal: Signal) {
        for slave in self.slots.iter().flatten() {
            let _ = kill_process(Pid::from_child(&slave.child), signal);
        }
    }

    /// How many slaves ended within `bound`; returns early when none is left.
    fn await_ends(
        &mut self,
        inbox: &Receiver<Message>,
        bound: Duration,
        voices: &mut Vec<Arc<Voice>>,
    ) -> u32 {
        let deadline = Instant::now() + bound;
        let mut ended = 0;
        while self.slots.iter().any(Option::is_some) {
            match receive(
                inbox,
                Some(deadline.saturating_duration_since(Instant::now())),
            ) {
                Some(Message::Ended { index, is_zombie }) => {
                    let (death, voice) = self.reap(index, is_zombie);
                    voices.push(voice);
                    ended += 1;
                    (self.events)(LocalEvent::Ended {
                        death,
                        restart_in: None,
                    });
                }
                Some(Message::HandedTask { .. } | Message::Stop { .. }) => {}
                None => break,
            }
        }
        ended
    }
}

/// Runs in the child before exec: it dies with its master, however that dies.
///
/// The signal comes when the *thread* that forked ends, not the process. So all slaves are started by the
/// supervisor's thread, which ends only after the last of them, or with the process. A master that died before
/// the call would never be noticed; then the parent is another already.
fn die_with(parent: Pid) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if getppid() == Some(parent) {
        Ok(())
    } else {
        Err(rustix::io::Errno::SRCH.into())
    }
}

/// Runs in the child before exec: it stays on one core, with the caches and the memory beside it.
fn pin_to(core: usize) -> io::Result<()> {
    let mut cores = CpuSet::new();
    cores.set(core);
    // One that has been taken from the job meanwhile is no reason not to run.
    let _ = sched_setaffinity(None, &cores);
    Ok(())
}

/// Blocks until the child has ended, and leaves it to be reaped; false if it is no longer there to be.
fn wait_for_end(pid: Pid) -> bool {
    loop {
        match waitid(
            WaitId::Pid(pid),
            WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
        ) {
            Err(rustix::io::Errno::INTR) => {}
            ended => return ended.is_ok(),
        }
    }
}

fn ring(bell: &OwnedFd) {
    rustix::io::write(bell, &1u64.to_ne_bytes()).expect("an eventfd takes a 1");
}

fn receive(inbox: &Receiver<Message>, pause: Option<Duration>) -> Option<Message> {
    let received = match pause {
        Some(pause) => inbox.recv_timeout(pause),
        None => inbox.recv().map_err(RecvTimeoutError::from),
    };
    match received {
        Ok(message) => Some(message),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => {
            unreachable!("the supervisor's thread holds a sender itself")
        }
    }
}

#[cfg(test)]
mod tests;
