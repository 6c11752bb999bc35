//! The last word of a slave that a fault kills: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT.
//!
//! A handler may do next to nothing: the heap, the locks and the stack of the thread may be what broke. So it names the
//! signal, rings a bell, and waits for a second at most. A thread that waits for that bell has the slave write what is
//! finished and name the task that runs, as an `exit` does ([`last_word`](crate::io::last_word)). Then the handler that was
//! there before has its turn (Rust's own says that a stack has overflowed), and the process ends by its signal.
//!
//! The handlers run on a stack of their own: each of Rust's threads has one, the main thread gets one here where it has none.
//! One that a task sets in their stead has its way; then the end of the connection is the word, as it is for SIGKILL.

use std::ffi::{c_int, c_void};
use std::io::Read;
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::proto::end::KILLED_BY;

/// Those that are heard.
const SIGNALS: [(c_int, &str); 5] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
];

/// The handler looks so often whether the word was said,
const LOOK_NS: libc::c_long = 2_000_000;
/// and so many times: a second together.
const LOOKS: u32 = 500;

/// Bytes of the handlers' stack where a thread has none.
const STACK_BYTES: usize = 64 << 10;

type Say = Box<dyn FnOnce(&str) + Send>;

/// What has the slave of this process say it, while there is one.
static SLAVE: Mutex<Option<Say>> = Mutex::new(None);
/// The handlers that were there before, in the order of [`SIGNALS`].
static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();
/// The process that is the slave, not one that a task has made by `fork`.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// Where the bell is rung.
static BELL: AtomicI32 = AtomicI32::new(-1);
/// The thread that waits for the bell has itself failed, or somebody rings already.
static IS_RUNG: AtomicBool = AtomicBool::new(false);
static IS_SAID: AtomicBool = AtomicBool::new(false);

/// From now on the slave of this process has a last word when a fault kills it, which `say` gets to its master.
pub(crate) fn watch(say: impl FnOnce(&str) + Send + 'static) {
    *SLAVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(say));
    let process = std::process::id();
    if PROCESS.swap(process, Ordering::SeqCst) == process {
        return;
    }
    // SAFETY: the handler stores a flag. That it cannot be registered, for want of memory, costs what it is for.
    unsafe { libc::pthread_atfork(None, None, Some(be_a_child)) };
    // What cannot be had, for want of descriptors or threads, costs a word and nothing else.
    let Ok((heard, rung)) = UnixStream::pair() else {
        return;
    };
    let listener = std::thread::Builder::new().name("last word".to_owned());
    if listener.spawn(move || listen(heard)).is_ok() {
        BELL.store(rung.into_raw_fd(), Ordering::SeqCst);
        set_handlers();
    }
}

/// This process was made by `fork` in a task.
static IS_CHILD: AtomicBool = AtomicBool::new(false);

extern "C" fn be_a_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
}

/// A task has returned. In a process that it has made by `fork` that is the end: there is one slave, and the connection is
/// the other one's.
#[inline]
pub(crate) fn end_a_child() {
    if IS_CHILD.load(Ordering::Relaxed) {
        // SAFETY: it ends this process at once; the handlers of `exit` are the slave's.
        unsafe { libc::_exit(0) };
    }
}

/// The last word of a slave that a signal of this name ends.
pub(crate) fn killed_by(name: &str) -> String {
    format!("{KILLED_BY}{name}")
}

/// Waits for the bell, and has the word said.
fn listen(mut heard: UnixStream) {
    let mut signal = [0];
    if heard.read_exact(&mut signal).is_err() {
        return;
    }
    let name = SIGNALS
        .iter()
        .find(|(number, _)| *number == c_int::from(signal[0]));
    let name = name.map_or("a signal", |(_, name)| *name);
    let slave = SLAVE.lock().unwrap_or_else(PoisonError::into_inner).take();
    let say = std::panic::AssertUnwindSafe(|| {
        if let Some(say) = slave {
            say(&killed_by(name));
        }
    });
    let said = std::panic::catch_unwind(say);
    drop(said);
    IS_SAID.store(true, Ordering::SeqCst);
}

fn set_handlers() {
    give_stack();
    let set = |(signal, _): (c_int, &str)| {
        // SAFETY: all zeroes is a valid sigaction; both are filled before they are read.
        let (mut action, mut before): (libc::sigaction, libc::sigaction) =
            unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        // SAFETY: the handler is a function of that kind, and calls nothing that a handler may not.
        unsafe {
            libc::sigemptyset(&raw mut action.sa_mask);
            libc::sigaction(signal, std::ptr::null(), &raw mut before);
        }
        (signal, action, before)
    };
    let all = SIGNALS.map(set);
    // Before the first of them is in force: it looks there.
    if BEFORE.set(all.map(|(.., before)| before)).is_err() {
        return;
    }
    for (signal, action, _) in all {
        // SAFETY: as above.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
}

/// Where this thread has no stack for its handlers, it gets one, for ever.
fn give_stack() {
    // SAFETY: a stack_t of zeroes is filled by the first call; the second gives it memory that is never freed.
    unsafe {
        let mut stack: libc::stack_t = std::mem::zeroed();
        libc::sigaltstack(std::ptr::null(), &raw mut stack);
        if stack.ss_flags & libc::SS_DISABLE != 0 {
            let memory = Vec::leak(vec![0u8; STACK_BYTES]);
            stack.ss_sp = memory.as_mut_ptr().cast::<c_void>();
            stack.ss_size = STACK_BYTES;
            stack.ss_flags = 0;
            libc::sigaltstack(&raw const stack, std::ptr::null_mut());
        }
    }
}

/// Only what signal-safety(7) allows: no memory, no lock.
extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: it says which process this is.
    let process = unsafe { libc::getpid() };
    let is_slave = u32::try_from(process).ok() == Some(PROCESS.load(Ordering::SeqCst));
    if is_slave && !IS_RUNG.swap(true, Ordering::SeqCst) {
        ring(BELL.load(Ordering::SeqCst), signal);
    }
    let before = BEFORE.get().and_then(|before| {
        let at = SIGNALS.iter().position(|(number, _)| *number == signal)?;
        before.get(at)
    });
    // SAFETY: the handler of before is set again; what the kernel says of the signal lives as long as this call. A fault
    // happens once more when this returns, then that one has it; what somebody has sent is sent again.
    unsafe {
        if let Some(before) = before {
            libc::sigaction(signal, before, std::ptr::null_mut());
        }
        if info.is_null() || (*info).si_code <= 0 {
            libc::raise(signal);
        }
    }
}

fn ring(bell: RawFd, signal: c_int) {
    let byte = signal as u8;
    // SAFETY: a byte of this frame is written to a descriptor that is never closed.
    let written = unsafe { libc::write(bell, (&raw const byte).cast::<c_void>(), 1) };
    let pause = libc::timespec {
        tv_sec: 0,
        tv_nsec: LOOK_NS,
    };
    for _ in 0..LOOKS {
        if written != 1 || IS_SAID.load(Ordering::SeqCst) {
            break;
        }
        // SAFETY: it waits for the time that stands there.
        unsafe { libc::nanosleep(&raw const pause, std::ptr::null_mut()) };
    }
}
