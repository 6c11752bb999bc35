//! The slave's I/O thread: it alone reads and writes the socket, beats, and watches the clock, while
//! the main thread computes.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use ringmw_codec::audit::{Event, Line, Who};
use ringmw_sched::Nanos;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::best::BestTable;
use crate::clock::{self, Clock};
use crate::files::audit::{AuditWriter, FINISH_BOUND};
use crate::proto::slave::{SlaveCore, SlaveEnd};

/// After it is over, a running task has this long before the process is ended under it.
const GRACE: Nanos = 1_000_000_000;
/// A goodbye is written within this time or not at all.
const FAREWELL: Nanos = 1_000_000_000;
const READ_BYTES: usize = 256 << 10;

/// What the two threads of a slave share.
pub(crate) struct Link {
    core: Mutex<SlaveCore>,
    /// Something changed that the compute side may wait for.
    changed: Condvar,
    wake: OwnedFd,
    /// Until when the I/O thread sleeps if nobody wakes it.
    sleeps_until: AtomicU64,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) bests: BestTable,
    pub(crate) clock: Clock,
    audit: Arc<AuditWriter>,
}

/// What happens to the process when it is over and a task still runs.
#[derive(Copy, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The I/O thread ends the process.
    Process,
    /// The slave is a thread of a larger process (embedded): the thread is left alone.
    Thread,
}

impl Link {
    pub(crate) fn new(
        core: SlaveCore,
        clock: Clock,
        bests: BestTable,
        audit: Arc<AuditWriter>,
    ) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Link {
            core: Mutex::new(core),
            changed: Condvar::new(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            sleeps_until: AtomicU64::new(0),
            cancelled: Arc::default(),
            bests,
            clock,
            audit,
        }))
    }

    pub(crate) fn core(&self) -> MutexGuard<'_, SlaveCore> {
        self.core
            .lock()
            .expect("no thread of a slave panics with the core in its hands")
    }

    /// Waits until `ready` gives something.
    pub(crate) fn wait<T>(&self, mut ready: impl FnMut(&mut SlaveCore) -> Option<T>) -> T {
        let mut core = self.core();
        loop {
            if let Some(value) = ready(&mut core) {
                return value;
            }
            self.nudge(&core);
            core = self
                .changed
                .wait(core)
                .expect("no thread of a slave panics with the core in its hands");
        }
    }

    /// Wakes the I/O thread if there is something for it that it would sleep over.
    pub(crate) fn nudge(&self, core: &SlaveCore) {
        if core.has_output() || core.next_deadline() < self.sleeps_until.load(Ordering::Relaxed) {
            self.kick();
        }
    }

    pub(crate) fn kick(&self) {
        // It fails only when the counter is full, and then the thread is awake already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    pub(crate) fn note(&self, event: Event) {
        let who = Who::Slave(self.core().id().map(|id| id.0));
        self.audit.push(&Line {
            time_us: clock::unix_micros(),
            who,
            event,
        });
    }

    /// Serves the connection until it is over and all is written; then, or when a running task has
    /// had its grace, returns.
    pub(crate) fn serve(
        self: &Arc<Self>,
        mut stream: TcpStream,
        term: Option<OwnedFd>,
        ending: Ending,
    ) {
        if let Err(error) = self.serve_until_over(&mut stream, term.as_ref()) {
            // A write may fail because the master has gone, and its last word is still to be read.
            let _ = self.read_all(&mut stream, &mut vec![0; READ_BYTES], self.clock.now());
            let mut core = self.core();
            core.on_closed(&error.to_string());
            self.publish(&mut core);
        }
        self.cancelled.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        drop(stream);
        if ending == Ending::Process {
            self.end_process_after_grace();
        }
    }

    fn serve_until_over(&self, stream: &mut TcpStream, term: Option<&OwnedFd>) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        let mut buffer = vec![0u8; READ_BYTES];
        let mut out = Outgoing::default();
        let mut ack = AckWatch::default();
        let mut farewell: Option<Nanos> = None;
        let mut readable = true;
        loop {
            let now = self.clock.now();
            if readable {
                self.read_all(stream, &mut buffer, now)?;
            }
            let over = {
                let mut core = self.core();
                core.on_time(now, ack.unacknowledged_for(stream, now));
                core.take_output(&mut out.bytes, now);
                self.publish(&mut core);
                core.end().cloned()
            };
            out.write(stream)?;
            if out.is_empty() {
                let mut core = self.core();
                core.on_flushed();
                if !core.has_output() {
                    self.changed.notify_all();
                }
            }
            if let Some(end) = over {
                let until = *farewell.get_or_insert(now + FAREWELL);
                let says = matches!(end, SlaveEnd::Left(_));
                if !says || out.is_empty() || now >= until {
                    return Ok(());
                }
            }
            readable = self.sleep(stream, term, &out, farewell)?;
        }
    }

    fn read_all(&self, stream: &mut TcpStream, buffer: &mut [u8], now: Nanos) -> io::Result<()> {
        loop {
            match stream.read(buffer) {
                Ok(0) => {
                    self.core().on_closed("it closed the connection");
                    return Ok(());
                }
                Ok(read) => {
                    let mut core = self.core();
                    core.on_bytes(&buffer[..read], now);
                    if core.end().is_some() || read < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes known what the core has learned.
    fn publish(&self, core: &mut SlaveCore) {
        for (best, image) in core.take_learned() {
            self.bests.learn(best, image);
        }
        let who = Who::Slave(core.id().map(|id| id.0));
        while let Some(event) = core.poll_audit() {
            self.audit.push(&Line {
                time_us: clock::unix_micros(),
                who,
                event,
            });
        }
        self.cancelled.store(core.is_cancelled(), Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Sleeps until there is something to do; true if the socket can be read.
    fn sleep(
        &self,
        stream: &TcpStream,
        term: Option<&OwnedFd>,
        out: &Outgoing,
        farewell: Option<Nanos>,
    ) -> io::Result<bool> {
        let now = self.clock.now();
        let deadline = {
            let core = self.core();
            let deadline = core.next_deadline().min(farewell.unwrap_or(Nanos::MAX));
            // Told under the lock: whoever changes the deadline after this sees it and wakes us.
            self.sleeps_until.store(deadline, Ordering::Relaxed);
            if core.has_output() { now } else { deadline }
        };
        let mut interest = PollFlags::IN;
        if !out.is_empty() {
            interest |= PollFlags::OUT;
        }
        let mut fds = vec![
            PollFd::new(stream, interest),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        if let Some(term) = term {
            fds.push(PollFd::new(term, PollFlags::IN));
        }
        let timeout = rustix::time::Timespec {
            tv_sec: (deadline.saturating_sub(now) / 1_000_000_000) as i64,
            tv_nsec: (deadline.saturating_sub(now) % 1_000_000_000) as _,
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        let readable = fds[0]
            .revents()
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
        let woken = !fds[1].revents().is_empty();
        let evicted = fds.get(2).is_some_and(|fd| !fd.revents().is_empty());
        if woken {
            let _ = rustix::io::read(&self.wake, &mut [0u8; 8]);
        }
        if evicted && self.core().end().is_none() {
            self.note(Event::Evicted);
            let mut core = self.core();
            core.leave(
                ringmw_codec::control::GoodbyeCode::Evicted,
                "told to go by SIGTERM",
            );
        }
        Ok(readable)
    }

    /// Ends the process under a task that still runs; one whose compute side is free leaves by itself, told by the core.
    fn end_process_after_grace(&self) {
        let end = self.core().end().cloned().expect("it is over");
        // Who said goodbye has no time to lose: the batch system takes the machine.
        let grace = if matches!(end, SlaveEnd::Left(_)) {
            0
        } else {
            GRACE
        };
        let until = self.clock.now() + grace;
        let mut core = self.core();
        loop {
            if !core.is_running() {
                return;
            }
            let now = self.clock.now();
            if now >= until {
                break;
            }
            let wait = std::time::Duration::from_nanos(until - now);
            core = self.changed.wait_timeout(core, wait).expect("see core()").0;
        }
        drop(core);
        let code = end.exit_code();
        let reason = super::describe(&end);
        if !matches!(end, SlaveEnd::Left(_) | SlaveEnd::Shutdown { .. }) {
            crate::app::complain(&crate::app::own_name(), &reason);
        }
        self.note(Event::Exit { code, reason });
        let _ = self.audit.finish(FINISH_BOUND);
        std::process::exit(code.into());
    }

    /// The compute side has ended its task: somebody may wait for that.
    pub(crate) fn notify(&self) {
        self.changed.notify_all();
    }

    pub(crate) fn finish_audit(&self) {
        let _ = self.audit.finish(FINISH_BOUND);
    }
}

/// Bytes on their way out, with how far they have come.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.written < self.bytes.len() {
            match stream.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.written = 0;
        Ok(())
    }
}

/// Watches whether the master's host acknowledges what was sent (TCP_INFO, tcp(7)).
///
/// A host that is there acknowledges even with a full window; so a master that holds its thread is
/// never taken for a dead one, as TCP_USER_TIMEOUT would.
#[derive(Default)]
struct AckWatch {
    outstanding_since: Option<Nanos>,
}

impl AckWatch {
    fn unacknowledged_for(&mut self, stream: &TcpStream, now: Nanos) -> Nanos {
        match tcp_outstanding(stream) {
            Some(last_ack_ms) => {
                // After a pause of this process the kernel's figure is old and says nothing yet.
                let since = *self.outstanding_since.get_or_insert(now);
                (u64::from(last_ack_ms) * 1_000_000).min(now - since)
            }
            None => {
                self.outstanding_since = None;
                0
            }
        }
    }
}

/// Milliseconds since the last acknowledgement if bytes are outstanding.
fn tcp_outstanding(stream: &TcpStream) -> Option<u32> {
    // SAFETY: a tcp_info is made of integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers are to a tcp_info and to its size, both live over the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    (result == 0 && (info.tcpi_unacked > 0 || info.tcpi_probes > 0))
        .then_some(info.tcpi_last_ack_recv)
}
