//! How a slave's connection and process end: what is left is written, and a task that goes on is ended with the process.

use std::io;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use ringmw_codec::control::GoodbyeCode;
use ringmw_codec::flags::exit;
use ringmw_sched::Nanos;

use super::Link;
use super::socket::{ACK_CHECK, tcp_untaken};
use super::term::Term;
use crate::io::files::audit::FINISH_BOUND;
use crate::io::last_word;
use crate::io::terminal::{complain, own_name};
use crate::proto::slave::SlaveCore;

/// After it is over, a running task has this long before the process is ended under it.
const GRACE: Nanos = 1_000_000_000;
/// How often a slave that leaves asks whether the master's host has what was written: nothing else tells it.
const TAKEN_CHECK: Nanos = 20_000_000;
/// A thread that exits waits so long for the core, which it may hold itself.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

impl Link {
    /// It goes of its own will: writes what is left, as long as the core says that there is a use in it.
    ///
    /// What the master sends meanwhile is read and dropped: a socket that is closed with unread bytes takes back what it
    /// was given to send.
    pub(super) fn depart(&self, term: Option<&Term>) -> io::Result<()> {
        let mut says = true;
        loop {
            self.write();
            let untaken = tcp_untaken(&self.socket)?;
            let now = self.clock.now();
            let deadline = {
                let mut core = self.core();
                core.on_untaken(untaken, now);
                core.leaving_deadline()
            };
            self.on_time();
            if self.core().is_gone() {
                return Ok(());
            }
            let unsent = !self.wire().out.is_empty();
            if !unsent && std::mem::take(&mut says) {
                // The end of the stream is a word of its own, for a master that holds its thread.
                let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
            }
            let check = if unsent { ACK_CHECK } else { TAKEN_CHECK };
            if self.sleep(term, true, deadline.min(now + check))? {
                self.read()?;
            }
        }
    }

    /// Ends the process under a task that still runs; one whose compute side is free leaves by itself, told by the core.
    pub(super) fn end_process_after_grace(&self) {
        let mut core = self.core();
        let end = core.end().cloned().expect("it is over");
        // Who said goodbye has no time to lose: the batch system takes the machine.
        let is_abandoned = core.is_abandoned();
        let grace = if is_abandoned || (core.is_running() && end.is_own_will()) {
            0
        } else {
            GRACE
        };
        // The loops return, but between two of them a slave algorithm of the user's own may do anything for any time.
        let must_go = is_abandoned || self.evicted.load(Ordering::SeqCst);
        let until = self.clock.now() + grace;
        loop {
            if self.is_exiting.load(Ordering::SeqCst) || (!core.is_running() && !must_go) {
                return;
            }
            let now = self.clock.now();
            if now >= until {
                break;
            }
            let wait = Duration::from_nanos(until - now);
            core = self.changed.wait_timeout(core, wait).expect("see core()").0;
        }
        let code = end.exit_code();
        let reason = end.to_string();
        let wait = core.welcome().map(|welcome| welcome.client_timeout_ms);
        drop(core);
        if end.is_told(self.word.is_some()) {
            complain(&own_name(), &reason);
        }
        if let Some(word) = &self.word {
            if is_abandoned {
                word.answered_for();
            }
            word.leaves(code == exit::OK, &reason);
        }
        self.note(Event::Exit { code, reason });
        let _ = self.audit.finish(FINISH_BOUND);
        last_word::is_meant();
        if !must_go
            && !end.is_own_will()
            && let (Some(again), Some(wait)) = (&self.again, wait)
        {
            let error = again.again(code, Duration::from_millis(wait));
            complain(&own_name(), &format!("it cannot listen again: {error}"));
        }
        std::process::exit(code.into());
    }

    /// `exit` was called, in a task, in the slave algorithm, or anywhere in a library, or a fault kills the process: what is
    /// finished is written, and the task that runs is named as the one to blame. Called from the thread that exits, or while
    /// the one that failed waits.
    pub(crate) fn on_exit(&self, code: GoodbyeCode, reason: &str) {
        self.is_exiting.store(true, Ordering::SeqCst);
        // The thread that exits may be one that holds the core, in a panic of its own.
        let patience = Instant::now() + EXIT_PATIENCE;
        let mut core = loop {
            match self.core.try_lock() {
                Ok(core) => break core,
                Err(_) if Instant::now() >= patience => return,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let is_over = core.end().is_some();
        let running = core.running_task();
        if !is_over {
            core.blame(code, reason);
            match &self.word {
                Some(word) => word.leaves(false, reason),
                // Nobody else says it on this machine.
                None => {
                    let task = running.map_or_else(String::new, |task| format!(" in TASK-{task}"));
                    complain(&own_name(), &format!("left: {reason}{task}"));
                }
            }
        }
        let end = core.end().map(ToString::to_string).unwrap_or_default();
        let code = exit::ERROR;
        drop(core);
        self.flush();
        self.await_gone();
        if !is_over {
            self.note(Event::Exit { code, reason: end });
        }
        let _ = self.audit.finish(FINISH_BOUND);
    }

    /// The main thread waits until the I/O thread has nothing more to write: then the process may end.
    pub(crate) fn await_gone(&self) {
        self.wake_io();
        let core = self.core();
        let waits = |_: &mut SlaveCore| !self.gone.load(Ordering::SeqCst);
        let _core = self.changed.wait_while(core, waits).expect("see core()");
    }

    pub(crate) fn finish_audit(&self) {
        let _ = self.audit.finish(FINISH_BOUND);
    }
}
