//! The supervisor's thread: it starts, reaps and signals slaves, and ends the last of them.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::Nanos;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, kill_process_group,
    set_parent_process_death_signal, waitid,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::io::local::obituary::{self, Obituary};
use crate::io::local::output::{Stream, Voice, copy, set_nonblocking};
use crate::io::local::plan::{Plan, child_number, job};
use crate::io::local::restart::{BARREN_MAX, Life, Restarts, Verdict};
use crate::io::local::{
    BEFORE_VARIABLE, Death, Failure, JOB_VARIABLE, LocalEvent, Message, Stopped,
};
use crate::io::secret_file;
use crate::io::word::{self, LastWord, Word};

/// How long a slave may take to end after SIGTERM.
const TERM_BOUND: Duration = Duration::from_millis(500);
/// How long a failure waits for the last lines of the dead; they are late only when this process's own output stands.
const LAST_LINES_BOUND: Duration = Duration::from_millis(200);
/// SIGKILL works at once, but for a process that hangs in the kernel, on a dead file server for one.
const KILL_BOUND: Duration = Duration::from_secs(2);
/// When all are given up, this many of the last dead are told of.
const DEAD_TOLD_MAX: usize = 3;
/// The helper threads poll and copy; they need little.
const THREAD_STACK_BYTES: usize = 128 * 1024;

pub(super) fn named(name: &str) -> thread::Builder {
    thread::Builder::new()
        .name(name.to_owned())
        .stack_size(THREAD_STACK_BYTES)
}

/// One running slave. It is a zombie at least until it is reaped here, so its pid is surely its own.
struct Running {
    child: Child,
    voice: Arc<Voice>,
    word: Arc<Word>,
}

/// What the supervisor's thread owns.
pub(super) struct Nursery<E> {
    plan: Plan,
    restarts: Restarts,
    slots: Vec<Option<Running>>,
    messages: Sender<Message>,
    began: Instant,
    /// The process group of the slaves, as long as one of them is in it.
    group: Option<Pid>,
    /// The last that died in lives that ended no task.
    early_dead: VecDeque<(Death, Option<Arc<Voice>>)>,
    obituary: Obituary,
    /// Processes that this machine's kernel has killed for want of memory, when that was asked last.
    oom_kills: Option<u64>,
    /// Of the dead whose last lines may still stand in their pipes.
    undrained: Vec<Arc<Voice>>,
    /// How the last one in each slot ended.
    before: Vec<String>,
    events: E,
}

impl<E: Fn(LocalEvent)> Nursery<E> {
    /// Nothing is started yet.
    pub(super) fn new(plan: Plan, messages: Sender<Message>, events: E) -> Self {
        Self {
            restarts: Restarts::new(plan.slaves as usize),
            slots: (0..plan.slaves).map(|_| None).collect(),
            plan,
            messages,
            began: Instant::now(),
            group: None,
            early_dead: VecDeque::new(),
            obituary: Obituary::default(),
            oom_kills: oom_kills(),
            undrained: Vec::new(),
            before: Vec::new(),
            events,
        }
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    pub(super) fn start_first(&mut self) -> io::Result<()> {
        let (index, restarts) = self
            .restarts
            .take_due(0)
            .expect("at least one slave is planned");
        self.spawn(index, restarts)?;
        self.start_due();
        Ok(())
    }

    pub(super) fn run(mut self, inbox: &Receiver<Message>) -> Stopped {
        loop {
            let due = [self.restarts.next_due(), self.obituary.due()];
            let due = due.into_iter().flatten().min();
            let pause = due.map(|due| Duration::from_nanos(due.saturating_sub(self.now())));
            match receive(inbox, pause) {
                Some(Message::Ended { index, is_zombie }) => self.on_ended(index, is_zombie),
                Some(Message::Stop { bound }) => return self.stop(inbox, bound),
                None => {}
            }
            self.start_due();
            self.tell_folded(false);
        }
    }

    fn start_due(&mut self) {
        while let Some((index, restarts)) = self.restarts.take_due(self.now()) {
            if let Err(error) = self.spawn(index, restarts) {
                let death = Death {
                    child: child_number(index),
                    pid: None,
                    how: format!("cannot be started: {error}"),
                    words: format!("cannot be started: {error}"),
                    slave: None,
                    is_over: false,
                };
                self.on_death(index, death, Life::Barren, None);
            }
        }
    }

    fn on_ended(&mut self, index: usize, is_zombie: bool) {
        let (death, life, voice) = self.reap(index, is_zombie);
        self.undrained.retain(|voice| !voice.is_drained());
        self.undrained.push(voice.clone());
        self.on_death(index, death, life, Some(voice));
    }

    fn on_death(&mut self, index: usize, death: Death, life: Life, voice: Option<Arc<Voice>>) {
        let now = self.now();
        self.before.resize(self.slots.len(), String::new());
        self.before[index].clone_from(&death.words);
        let verdict = self.restarts.on_ended(index, life, now);
        let restart_in = match verdict {
            Verdict::Restart(pause) => Some(pause),
            Verdict::Done | Verdict::GiveUp => None,
        };
        if verdict != Verdict::Done {
            self.tell(index, &death, verdict, now);
        }
        if life == Life::Barren {
            if self.early_dead.len() == DEAD_TOLD_MAX {
                self.early_dead.pop_front();
            }
            self.early_dead.push_back((death.clone(), voice));
        }
        (self.events)(LocalEvent::Ended { death, restart_in });
        if verdict == Verdict::GiveUp && self.restarts.all_given_up() {
            self.give_up();
        }
    }

    /// A line for the operator, or one for many.
    fn tell(&mut self, index: usize, death: &Death, verdict: Verdict, now: Nanos) {
        let who = match death.slave {
            Some(id) => format!("slave {index} (SLAVE-{id})"),
            None => format!("slave {index}"),
        };
        let barren = self.restarts.barren(index);
        let next = match verdict {
            Verdict::Restart(pause) if barren > 0 => format!(
                "it is started again in {} s (life {barren} of {BARREN_MAX} that ended no task)",
                pause.as_secs_f32()
            ),
            Verdict::Restart(pause) => format!("it is started again in {} s", pause.as_secs_f32()),
            Verdict::GiveUp => format!("it is given up: {barren} lives in a row ended no task"),
            Verdict::Done => "it is done".to_owned(),
        };
        let how = format!("{}; {next}", death.words);
        if let Some(line) = self.obituary.on_death(&who, &how, now) {
            self.say(&line);
        }
    }

    fn tell_folded(&mut self, is_end: bool) {
        for line in self.obituary.on_time(self.now(), is_end) {
            self.say(&line);
        }
    }

    fn say(&self, line: &str) {
        let line = format!("{}: {line}\n", self.plan.name);
        (self.plan.output)(Stream::Stderr, line.as_bytes());
    }

    fn give_up(&mut self) {
        self.tell_folded(true);
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
        let slots = self.slots.len();
        (self.events)(LocalEvent::Failed(Failure { slots, dead }));
    }

    fn spawn(&mut self, index: usize, restarts: u32) -> io::Result<()> {
        let mut command = Command::new(&self.plan.program);
        command
            .args(self.plan.args_of(index))
            .env(JOB_VARIABLE, self.plan.job_of(index, restarts))
            .stdin(match &self.plan.secret {
                Some(secret) => secret_file::pipe(secret)?.into(),
                None => Stdio::null(),
            })
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
        if let Some(before) = self.before.get(index).filter(|before| !before.is_empty()) {
            command.env(BEFORE_VARIABLE, before);
        }
        let (word, inherited) = Word::new()?;
        let number = inherited.as_raw_fd();
        command.env(word::VARIABLE, number.to_string());
        // SAFETY: as above: one system call, nothing else. The descriptor is open until the child has been made.
        unsafe { command.pre_exec(move || keep_open(number)) };
        let word = Arc::new(word);
        let voice = Arc::new(Voice::of(word.clone()));
        let mut child = command.spawn()?;
        if let Err(error) = self.attend(index, &mut child, &voice) {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
        let pid = Pid::from_child(&child);
        self.group.get_or_insert(pid);
        self.slots[index] = Some(Running { child, voice, word });
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
    fn reap(&mut self, index: usize, is_zombie: bool) -> (Death, Life, Arc<Voice>) {
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
        let last = slave.word.read();
        let is_over = last.was_told && status.is_some_and(|status| status.success());
        let life = match &last {
            _ if is_over => Life::Over,
            last if last.has_ended_task => Life::Worked,
            last if last.running.is_none() || !last.was_announced => Life::Barren,
            last if last.is_unforgiving => Life::Spent,
            _ => Life::Worked,
        };
        let mut how = status.map_or_else(
            || "unknown status, reaped by another".to_owned(),
            |status| status.to_string(),
        );
        // For the trail, whose lines have the number alone.
        if let Some(task) = last.running {
            how.push_str(&format!(" in TASK-{}", task.task));
        }
        let death = Death {
            child: child_number(index),
            pid: Some(slave.child.id()),
            how,
            words: self.in_words(status, &last),
            slave: last.slave,
            is_over,
        };
        (death, life, slave.voice)
    }

    /// What a person is told of an end.
    fn in_words(&mut self, status: Option<ExitStatus>, last: &LastWord) -> String {
        let is_killed = status.and_then(|status| status.signal()) == Some(libc::SIGKILL);
        let memory_was_short = is_killed && self.was_out_of_memory();
        obituary::in_words(status, last, memory_was_short)
    }

    /// Whether the kernel has killed anybody on this machine for want of memory since that was asked last.
    fn was_out_of_memory(&mut self) -> bool {
        let before = std::mem::replace(&mut self.oom_kills, oom_kills());
        before
            .zip(self.oom_kills)
            .is_some_and(|(before, now)| now > before)
    }

    fn stop(mut self, inbox: &Receiver<Message>, bound: Duration) -> Stopped {
        self.tell_folded(true);
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
        let mut deadline = Instant::now() + bound;
        let mut ended = 0;
        while self.slots.iter().any(Option::is_some) {
            match receive(
                inbox,
                Some(deadline.saturating_duration_since(Instant::now())),
            ) {
                Some(Message::Ended { index, is_zombie }) => {
                    let (death, _, voice) = self.reap(index, is_zombie);
                    voices.push(voice);
                    ended += 1;
                    (self.events)(LocalEvent::Ended {
                        death,
                        restart_in: None,
                    });
                }
                // Sooner than was said before.
                Some(Message::Stop { bound }) => deadline = deadline.min(Instant::now() + bound),
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

/// Runs in the child before exec: what it inherits beside its standard streams.
fn keep_open(number: RawFd) -> io::Result<()> {
    // SAFETY: it is open in the parent, which waits for the child to be made; between two system calls nobody closes it.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(fcntl_setfd(fd, FdFlags::empty())?)
}

/// Processes that the kernel has killed for want of memory since this machine was started; none where it does not say.
fn oom_kills() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.parse().ok()
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
