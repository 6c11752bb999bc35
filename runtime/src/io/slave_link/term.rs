//! Signals of a slave that is a process of its own.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::io::signals::Leave;

/// What SIGTERM, SIGINT and SIGHUP do to a slave that is a process of its own: they end the process at once, but for the
/// time in which the I/O thread watches for them, which says goodbye first.
pub(crate) struct Term {
    /// Readable once a signal has come.
    pub(super) fd: OwnedFd,
    pub(super) at_once: Arc<AtomicBool>,
    /// The number of the last one.
    number: Arc<AtomicUsize>,
}

impl Term {
    pub(crate) fn watch() -> io::Result<Self> {
        let at_once = Arc::new(AtomicBool::new(true));
        let number = Arc::new(AtomicUsize::new(0));
        let (fd, signalled) = std::os::unix::net::UnixStream::pair()?;
        for signal in Leave::heeded() {
            signal_hook::flag::register_conditional_shutdown(
                signal.number(),
                ringmw_codec::flags::exit::ERROR.into(),
                Arc::clone(&at_once),
            )?;
            let value = usize::try_from(signal.number()).expect("1, 2 or 15");
            signal_hook::flag::register_usize(signal.number(), Arc::clone(&number), value)?;
            // Last: what it makes readable is there then.
            signal_hook::low_level::pipe::register(signal.number(), signalled.try_clone()?)?;
        }
        let fd = fd.into();
        Ok(Term {
            fd,
            at_once,
            number,
        })
    }

    /// The number of the signal that has come last; 0 is none.
    pub(crate) fn signalled(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.number)
    }

    /// Signals end the process no longer at once, or do again: who does not want that asks for them.
    pub(crate) fn heed(&self, heeds: bool) {
        self.at_once.store(!heeds, Ordering::SeqCst);
    }

    /// What is readable once a signal has come.
    pub(crate) fn rings(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Why it is to go, once a signal has come.
    pub(crate) fn told_to_go(&self) -> Option<String> {
        let has_come = self.number.load(Ordering::SeqCst) != 0;
        has_come.then(|| format!("told to go by {}", self.name()))
    }

    /// The signal that has come.
    pub(super) fn name(&self) -> &'static str {
        Leave::of(self.number.load(Ordering::SeqCst)).map_or("a signal", |signal| signal.name)
    }
}
