//! The last lines of the trail of a process that aborts: a second panic, a stack that overflows, memory that is refused,
//! `abort` in a library of C.
//!
//! ```text
//!   aborting thread: SIGABRT's handler ── a byte ──► thread of this module: the lines that wait, and one of the end
//!                    waits, at most a second ◄────── done
//!                    then dies as it would have
//! ```
//! The handler makes system calls and looks at atomics, and nothing else: the thread that aborts may hold any lock. Should
//! it hold the trail's own, the second passes and nothing is written.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::flags::exit;
use rustix::thread::{Timespec, nanosleep};
use signal_hook::consts::SIGABRT;

use crate::io::files::audit::AuditWriter;

/// An aborting process waits so long for its trail.
const WITHIN: Duration = Duration::from_secs(1);
/// How often its handler looks whether the trail is written.
const LOOKS: u32 = 200;
const STACK_BYTES: usize = 64 << 10;

/// Has the trail's last lines written should this process abort. Best effort: where no handler can be set or no thread
/// started, an abort takes with it what it always took.
pub(crate) fn write_at_abort(audit: Arc<AuditWriter>, who: impl Fn() -> Who + Send + 'static) {
    if !audit.is_kept() {
        return;
    }
    let Ok((asked, mut heard)) = UnixStream::pair() else {
        return;
    };
    let done = Arc::new(AtomicBool::new(false));
    let is_done = Arc::clone(&done);
    let write = move || {
        // Its end without a byte is that of the process.
        if heard.read(&mut [0]).is_ok_and(|bytes| bytes == 1) {
            let code = exit::SIGNAL_BASE + u8::try_from(SIGABRT).expect("6");
            let reason = "it aborted (SIGABRT): its standard error may say why".to_owned();
            audit.say(who(), Event::Exit { code, reason });
            let _ = audit.finish(WITHIN);
            is_done.store(true, Ordering::SeqCst);
        }
    };
    let thread = std::thread::Builder::new().name("ringmw-abort".to_owned());
    if thread.stack_size(STACK_BYTES).spawn(write).is_err() {
        return;
    }
    let process = std::process::id();
    let handler = move || {
        // One that a task has made by fork has no such thread.
        if std::process::id() == process && rustix::io::write(asked.as_fd(), &[1]).is_ok() {
            let look = Timespec::try_from(WITHIN / LOOKS).expect("5 ms");
            for _ in 0..LOOKS {
                if done.load(Ordering::SeqCst) {
                    break;
                }
                let _ = nanosleep(&look);
            }
        }
        let _ = signal_hook::low_level::emulate_default_handler(SIGABRT);
    };
    // SAFETY: the handler calls getpid, write, nanosleep, sigaction and raise, which are safe in a handler, takes no lock and
    // allocates nothing.
    let _ = unsafe { signal_hook::low_level::register(SIGABRT, handler) };
}
