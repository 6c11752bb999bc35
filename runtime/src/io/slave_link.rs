//! The slave's connection, and the two threads that share it.
//!
//! The main thread computes. While it has nothing to compute it serves the connection itself, so that a packet costs no
//! change of threads. While it computes, the I/O thread beats, reads and watches the clock:
//!
//! ```text
//! main thread        serves ──task──► computes ────────────────► serves
//! I/O thread         deep sleep ─wake► standby ─one look, same─► serves ──► standby ─nothing for a look─► deep sleep
//!                                        │  task                              ▲
//!                                        └── reads and looks at the clock ────┘
//!                                                 every 10 ms
//! ```
//!
//! So what the master says is heard within 20 ms, be the tasks long or short: the main thread reads when it has none, and
//! a look falls into any 20 ms in which it always has one.
//!
//! Results of tasks that take next to no time are written together, a few dozen microseconds' worth by one write. Should
//! the next task take long after all, a look of the I/O thread writes what waits.
//!
//! A slave that goes of its own will is the I/O thread's: it writes what is left until the master has it, see
//! [`Link::depart`]. The main thread ends the process only then.
//!
//! Bytes are taken from the core and written under one lock, [`Link::wire`], so that frames never interleave. Lock
//! order: wire, then core.

mod apart;
mod ending;
mod socket;
mod term;

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::control::GoodbyeCode;
use ringmw_sched::Nanos;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::io::clock::Clock;
use crate::io::files::audit::AuditWriter;
use crate::io::memory;
use crate::io::relisten::Relisten;
use crate::io::word::Word;
use crate::proto::incumbents::BestTable;
use crate::proto::slave::SlaveCore;
use socket::{AckWatch, Outgoing, Wire, fill, interest, is_readable, tcp_untaken};
pub(crate) use term::Term;

/// How often the I/O thread reads for a main thread that computes one task after the other: half of the 20 ms within
/// which a slave hears, as no look is punctual.
const STANDBY: Nanos = 10_000_000;
/// How often a task's memory is looked at where it is bounded: in so short a time it takes some hundred MiB at most.
const MEMORY_CHECK: Nanos = 20_000_000;
const READ_BYTES: usize = 256 << 10;
/// A slave that has had nothing to do for so long gives back what large tasks have left free.
const CALM: Nanos = 1_000_000_000;
/// Less memory than that of so many bytes in one block is not worth it.
const BLOCK_WORTH_IT: usize = 256 << 10;
/// As much is read of what may begin a long frame.
const HEAD_BYTES: usize = 8 << 10;
/// After so many reads that were short it is no longer taken for one.
const LONG_FOR: u8 = 16;

/// What the two threads of a slave share.
pub(crate) struct Link {
    /// The socket again, to be polled without a lock.
    socket: OwnedFd,
    wire: Mutex<Wire>,
    core: Mutex<SlaveCore>,
    /// A task has ended, or it is over: for the I/O thread's grace.
    changed: Condvar,
    /// Wakes the I/O thread.
    wake: OwnedFd,
    /// Wakes the main thread where it serves, because the I/O thread has read for it.
    bell: OwnedFd,
    /// The main thread serves the connection; else it computes.
    main_serves: AtomicBool,
    /// Counts how often the main thread began to compute.
    begun: AtomicU64,
    /// The I/O thread sleeps for long: whoever changes what it waits for must wake it.
    deep: AtomicBool,
    /// Blocks have come whose memory may be free by now, and kept.
    has_kept: AtomicBool,
    /// SIGTERM has come, or its like.
    evicted: AtomicBool,
    /// The I/O thread has nothing more to do on the connection.
    gone: AtomicBool,
    /// It has no master, and somebody looks for the next one.
    is_looking: AtomicBool,
    /// Another thread has called `exit`: this one ends nothing.
    is_exiting: AtomicBool,
    pub(crate) cancelled: Arc<AtomicBool>,
    /// The running task's next checkpoint is due.
    pub(crate) checkpoint_due: AtomicBool,
    pub(crate) bests: BestTable,
    pub(crate) clock: Clock,
    audit: Arc<AuditWriter>,
    /// It listens for the next master when this one has ended.
    again: Option<Arc<Relisten>>,
    /// What it leaves behind for whoever started it.
    pub(crate) word: Option<Arc<Word>>,
}

impl Link {
    pub(crate) fn new(
        stream: TcpStream,
        core: SlaveCore,
        clock: Clock,
        bests: BestTable,
        audit: Arc<AuditWriter>,
        again: Option<Arc<Relisten>>,
        word: Option<Arc<Word>>,
    ) -> io::Result<Arc<Self>> {
        stream.set_nonblocking(true)?;
        Ok(Arc::new(Link {
            socket: stream.try_clone()?.into(),
            wire: Mutex::new(Wire {
                stream,
                out: Outgoing::default(),
                ack: AckWatch::default(),
                buffer: vec![0; READ_BYTES],
                long: 0,
            }),
            core: Mutex::new(core),
            changed: Condvar::new(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            main_serves: AtomicBool::new(true),
            begun: AtomicU64::new(0),
            deep: AtomicBool::new(false),
            has_kept: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            is_looking: AtomicBool::new(false),
            is_exiting: AtomicBool::new(false),
            cancelled: Arc::default(),
            checkpoint_due: AtomicBool::new(false),
            bests,
            clock,
            audit,
            again,
            word,
        }))
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, SlaveCore> {
        self.core
            .lock()
            .expect("no thread of a slave panics with the core in its hands")
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire
            .lock()
            .expect("no thread of a slave panics with the wire in its hands")
    }

    /// The main thread serves the connection until `is_ready` says that it is to compute, or until this time.
    pub(crate) fn serve_until(
        &self,
        until: Nanos,
        mut is_ready: impl FnMut(&mut SlaveCore, &Clock) -> bool,
    ) {
        loop {
            let (ready, over, deadline, apart) = {
                let mut core = self.core();
                self.learn(&mut core);
                let ready = is_ready(&mut core, &self.clock);
                let deadline = match ready {
                    true => until,
                    false => core.next_deadline(),
                };
                (ready, core.end().is_some(), deadline, core.is_apart())
            };
            if apart && !self.is_looking.load(Ordering::SeqCst) {
                self.publish();
                self.wake_io();
            }
            if over {
                // A goodbye: the I/O thread sees to it that it is written.
                self.flush();
                self.publish();
                self.wake_io();
            }
            if ready || self.clock.now() >= until {
                return self.begin_to_compute();
            }
            // Not before: between two tasks that are in hand it is not this thread that reads.
            let has_served = self.main_serves.swap(true, Ordering::SeqCst);
            if !has_served && self.has_kept.load(Ordering::Relaxed) {
                // It may sleep until the next beat, as beside a long task: from now on it waits for calm.
                self.wake_from_deep();
            }
            self.flush();
            let goes_on = self.core().end().is_none();
            if goes_on && let Err(error) = self.wait_and_read(deadline.min(until)) {
                self.core().on_closed(&error.to_string());
            }
        }
    }

    /// For each task this is done, so without an exchange between processors: no other thread writes these two.
    fn begin_to_compute(&self) {
        let begun = self.begun.load(Ordering::Relaxed);
        self.begun.store(begun.wrapping_add(1), Ordering::Relaxed);
        if self.main_serves.load(Ordering::Relaxed) {
            self.main_serves.store(false, Ordering::SeqCst);
        }
        self.wake_from_deep();
    }

    /// What the I/O thread went to sleep for has changed. It says that it sleeps before it looks at what that is, at the
    /// core under its lock: so who has changed it there since sees what it said.
    fn wake_from_deep(&self) {
        if self.deep.load(Ordering::SeqCst) && self.deep.swap(false, Ordering::SeqCst) {
            self.wake_io();
        }
    }

    /// A task has ended whose result waits for others: it may not wait for longer than the core allows, and who computes
    /// the next one does not look at the clock.
    pub(crate) fn result_waits(&self) {
        self.wake_from_deep();
    }

    /// Something is due earlier than the I/O thread knows.
    pub(crate) fn wakes_earlier(&self) {
        self.wake_from_deep();
    }

    /// The same, whichever thread waits.
    pub(crate) fn looks_again(&self) {
        self.wake_from_deep();
        self.rouse_if_it_serves();
    }

    /// Makes known whether the running task's next checkpoint is due.
    pub(crate) fn publish_due(&self) {
        let is_due = self.core().checkpoint_is_due(self.clock.now());
        self.checkpoint_due.store(is_due, Ordering::Relaxed);
    }

    /// One step of serving: sleeps until bytes come or it is time, takes them, and does what is due.
    fn wait_and_read(&self, deadline: Nanos) -> io::Result<()> {
        if self.is_apart() {
            return self.wait_apart(deadline);
        }
        let unsent = !self.wire().out.is_empty();
        // Asked after `unsent`: whoever wrote the announcement or made room, nothing else would wake this thread before
        // its next beat.
        if self.core().can_begin() {
            return Ok(());
        }
        let mut fds = [
            PollFd::new(&self.socket, interest(unsent)),
            PollFd::new(&self.bell, PollFlags::IN),
        ];
        self.poll(&mut fds, deadline)?;
        if !fds[1].revents().is_empty() {
            let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        }
        let readable = is_readable(&fds[0]);
        if readable {
            self.read()?;
        }
        self.on_time();
        Ok(())
    }

    fn poll(&self, fds: &mut [PollFd<'_>], deadline: Nanos) -> io::Result<()> {
        let wait = deadline.saturating_sub(self.clock.now());
        let timeout = rustix::time::Timespec {
            tv_sec: (wait / 1_000_000_000).min(86_400) as i64,
            tv_nsec: (wait % 1_000_000_000) as _,
        };
        match poll(fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes all that has come.
    fn read(&self) -> io::Result<()> {
        let mut wire = self.wire();
        if self.is_apart() {
            return Ok(());
        }
        let Wire {
            stream,
            buffer,
            long,
            ..
        } = &mut *wire;
        loop {
            // The rest of a long frame goes into the frame's own memory, and its head is read by itself.
            // Asked by itself: in a condition the lock would be held over what follows.
            let lent = match *long > 0 {
                true => self.core().lend(),
                false => None,
            };
            if let Some(block) = lent {
                let before = block.bytes.len();
                let (block, came) = fill(stream, block);
                let came = came?;
                if block.capacity() >= BLOCK_WORTH_IT {
                    self.has_kept.store(true, Ordering::Relaxed);
                }
                let mut core = self.core();
                let more = block.len() - before;
                core.on_block(block, more, self.clock.now(), &mut |_| ());
                if core.end().is_some() || came == Some(false) {
                    break;
                }
                if came.is_some() {
                    continue;
                }
            }
            let room = match *long > 0 {
                true => HEAD_BYTES,
                false => buffer.len(),
            };
            match stream.read(&mut buffer[..room]) {
                Ok(0) => {
                    // A master that has read the goodbye closes at once: what its host has by now is not lost.
                    let untaken = tcp_untaken(&self.socket);
                    let mut core = self.core();
                    if let Ok(untaken) = untaken {
                        core.on_untaken(untaken, self.clock.now());
                    }
                    core.on_closed("it closed the connection");
                    break;
                }
                Ok(read) => {
                    let now = self.clock.now();
                    let mut core = self.core();
                    core.on_received(&buffer[..read], now, &mut |_| ());
                    *long = match core.is_long() {
                        true => LONG_FOR,
                        false => long.saturating_sub(1),
                    };
                    if core.end().is_some() || read < room {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        drop(wire);
        self.publish();
        Ok(())
    }

    /// What the core has learned of keys is known to the next task, and to the one that runs.
    fn learn(&self, core: &mut SlaveCore) {
        if let Some(learned) = core.take_learned() {
            self.bests.take(&learned);
        }
    }

    /// Makes known what the core has learned.
    fn publish(&self) {
        let mut core = self.core();
        self.learn(&mut core);
        self.bests.set_hungry(core.is_hungry());
        self.cancelled.store(core.is_cancelled(), Ordering::Relaxed);
        self.write_trail(&mut core);
    }

    fn write_trail(&self, core: &mut SlaveCore) {
        let who = Who::Slave(core.id().map(|id| id.0));
        while let Some(event) = core.poll_audit() {
            self.audit.say(who, event);
        }
    }

    /// Does what is due.
    fn on_time(&self) {
        let now = self.clock.now();
        let unacknowledged = {
            let mut wire = self.wire();
            let Wire { stream, ack, .. } = &mut *wire;
            ack.unacknowledged_for(stream, now)
        };
        let mut core = self.core();
        core.on_time(now, unacknowledged);
        // Under the lock: the next task may begin.
        self.cancelled.store(core.is_cancelled(), Ordering::Relaxed);
        let is_due = core.checkpoint_is_due(now);
        self.checkpoint_due.store(is_due, Ordering::Relaxed);
    }

    /// Writes what the core has to send, as far as the socket takes it. What is left, the I/O thread writes.
    pub(crate) fn flush(&self) {
        if !self.write() {
            self.deep.store(false, Ordering::SeqCst);
            self.wake_io();
        }
    }

    /// Writes what the core has to send; false if the socket did not take all of it.
    fn write(&self) -> bool {
        let mut wire = self.wire();
        if self.is_apart() {
            return true;
        }
        let Wire { stream, out, .. } = &mut *wire;
        loop {
            let now = self.clock.now();
            if out.is_empty() {
                // Not before: what has not been given to be written can still be left out.
                self.core().take_output(&mut out.bytes, now);
            }
            let before = out.left();
            let result = out.write(stream);
            let written = before - out.left();
            if let Err(error) = result {
                drop(wire);
                // A write may fail because the master has gone, and its last word is still to be read.
                let _ = self.read();
                self.core().on_closed(&error.to_string());
                return true;
            }
            let mut core = self.core();
            core.on_written(written, now);
            if !out.is_empty() {
                return false;
            }
            if !core.has_output() {
                self.write_trail(&mut core);
                return true;
            }
        }
    }

    pub(crate) fn wake_io(&self) {
        // It fails only when the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(crate) fn note(&self, event: Event) {
        let who = Who::Slave(self.core().id().map(|id| id.0));
        self.audit.say(who, event);
    }

    /// The I/O thread: serves the connection while the main thread computes, until it is over and all is
    /// written; then, or when a running task has had its grace, returns.
    ///
    /// With `term` the slave is a process of its own, which is ended under a task that goes on after its grace; a thread of
    /// a larger process (embedded) is left alone.
    ///
    /// A thread that goes on at a task which has been answered for is left alone too, and `replace` starts another in its place.
    pub(crate) fn run(
        &self,
        term: Option<&Term>,
        replace: Option<Box<dyn FnOnce() + Send>>,
        memory_max: Option<u64>,
        looks: &dyn Fn(),
    ) {
        if let Some(term) = term {
            term.heed(true);
        }
        while let Err(error) = self.stand_by(term, memory_max, looks) {
            self.core().on_closed(&error.to_string());
            if self.core().end().is_some() {
                break;
            }
        }
        self.cancelled.store(true, Ordering::Relaxed);
        if let Err(error) = self.depart(term) {
            self.core().on_closed(&error.to_string());
        }
        // How it ended is a line of the trail.
        self.publish();
        {
            // Under the lock: who asked before it waits already.
            let _core = self.core();
            self.gone.store(true, Ordering::SeqCst);
        }
        self.notify();
        // The main thread may serve, and the master may have no more to say that would wake it.
        self.wake_main();
        if self.core().is_abandoned()
            && let Some(replace) = replace
        {
            replace();
        }
        if let Some(term) = term {
            self.end_process_after_grace();
            term.heed(false);
        }
    }

    fn wake_main(&self) {
        // It fails only when the counter is full, and then the main thread is not asleep.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Until it is over.
    fn stand_by(
        &self,
        term: Option<&Term>,
        memory_max: Option<u64>,
        looks: &dyn Fn(),
    ) -> io::Result<()> {
        let mut seen = 0;
        let mut calm_at = Nanos::MAX;
        loop {
            let begun = self.begun.load(Ordering::Relaxed);
            let main_serves = self.main_serves.load(Ordering::SeqCst);
            let same = std::mem::replace(&mut seen, begun) == begun;
            if !main_serves || !same {
                // It has had something to do since.
                calm_at = Nanos::MAX;
            } else if self.clock.now() >= calm_at {
                calm_at = Nanos::MAX;
                if self.has_kept.swap(false, Ordering::Relaxed) {
                    memory::give_back();
                }
            }
            self.look_if_apart(looks);
            if !main_serves {
                // Nobody else does, however short its tasks.
                self.read()?;
                self.rouse_if_it_serves();
                self.on_time();
                // What is left, this thread itself sleeps for: `sleep` asks whether there is any.
                self.write();
            }
            if !main_serves && let Some(bytes_max) = memory_max {
                self.check_memory(bytes_max);
            }
            if self.core().end().is_some() {
                return Ok(());
            }
            // At one task for a while: every byte is heard at once.
            let serves = !main_serves && same;
            let deadline = match (serves, main_serves && same) {
                (true, _) => {
                    // Before the deadline is asked for: a result that comes to wait afterwards wakes this thread.
                    self.deep.store(true, Ordering::SeqCst);
                    self.core().next_deadline()
                }
                (false, true) => {
                    calm_at = self.sleep_deep();
                    calm_at
                }
                (false, false) => self.clock.now() + STANDBY,
            };
            let deadline = match memory_max {
                Some(_) if !main_serves => deadline.min(self.clock.now() + MEMORY_CHECK),
                _ => deadline,
            };
            if self.sleep(term, serves && !self.is_apart(), deadline)? {
                self.read()?;
                self.rouse_if_it_serves();
            }
        }
    }

    /// A line for the trail.
    pub(crate) fn say(&self, who: Who, event: Event) {
        self.audit.say(who, event);
    }

    /// The main thread may have begun to serve meanwhile, and found nothing to do before these bytes were read. It says that
    /// it serves before it looks for the last time.
    fn rouse_if_it_serves(&self) {
        if self.main_serves.load(Ordering::SeqCst) {
            self.wake_main();
        }
    }

    /// A task that takes more memory than its slave may have ends it, and is to blame.
    fn check_memory(&self, bytes_max: u64) {
        let Some(bytes) = resident_bytes().filter(|bytes| *bytes > bytes_max) else {
            return;
        };
        let reason =
            format!("its memory of {bytes} bytes is above the {bytes_max} of --mw-slave-memory");
        self.core().blame(GoodbyeCode::Memory, &reason);
    }

    /// The main thread serves and has begun nothing for a while: it will wake us when it does.
    fn sleep_deep(&self) -> Nanos {
        self.deep.store(true, Ordering::SeqCst);
        if self.main_serves.load(Ordering::SeqCst) {
            match self.has_kept.load(Ordering::Relaxed) {
                true => self.clock.now() + CALM,
                false => Nanos::MAX,
            }
        } else {
            self.deep.store(false, Ordering::SeqCst);
            0
        }
    }

    /// The I/O thread sleeps; true if it serves and there are bytes to read.
    fn sleep(&self, term: Option<&Term>, serves: bool, deadline: Nanos) -> io::Result<bool> {
        let unsent = !self.wire().out.is_empty();
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        // It says so for ever once it has come.
        let term = term.filter(|_| !self.evicted.load(Ordering::SeqCst));
        if let Some(term) = term {
            fds.push(PollFd::new(&term.fd, PollFlags::IN));
        }
        let at = fds.len();
        if serves {
            fds.push(PollFd::new(&self.socket, interest(unsent)));
        } else if unsent {
            fds.push(PollFd::new(&self.socket, PollFlags::OUT));
        }
        self.poll(&mut fds, deadline)?;
        self.deep.store(false, Ordering::SeqCst);
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        }
        let evicted = term.filter(|_| !fds[1].revents().is_empty());
        let readable = serves && is_readable(&fds[at]);
        if !serves && fds.get(at).is_some_and(|fd| !fd.revents().is_empty()) {
            self.write();
        }
        if let Some(term) = evicted {
            self.evicted.store(true, Ordering::SeqCst);
            self.note(Event::Evicted);
            let reason = format!("told to go by {}", term.name());
            self.core().evict(&reason, self.clock.now());
            // A task that makes checkpoints hears of it, and makes one more.
            self.publish();
            self.publish_due();
            // It may wait for what the master says.
            self.rouse_if_it_serves();
            self.write();
        }
        Ok(readable)
    }

    /// The compute side has ended its task, or the I/O thread its work: somebody may wait for that.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }
}

/// Bytes of memory that this process has resident; none where the system does not say.
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
