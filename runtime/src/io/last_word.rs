//! The last word of a slave whose process is ended by its own code: by `exit`, of C too, in a task or anywhere else.
//!
//! A handler is told of it (`on_exit(3)`), has the slave write what is finished and name the task that runs, and makes a 0
//! into a 255: who leaves with 0 without having been told to would not be run again, and the work is not done. A process
//! that a task has made by `fork` inherits the handler and is none of its business.
//!
//! Nothing is told by `_exit`, `abort` and signals: there the end of the connection is the word.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use ringmw_codec::flags::exit;

use crate::proto::end::CALLED;

/// `exit(3)`, of a last word that says that this was called.
pub(crate) fn call_of_exit(word: &str) -> Option<&str> {
    word.strip_prefix(CALLED)
}

/// What has the slave of this process say it, while there is one.
static SLAVE: Mutex<Option<Say>> = Mutex::new(None);

type Say = Box<dyn FnOnce(&str) + Send>;

/// The process that is the slave, not one that it has made.
static PROCESS: AtomicU32 = AtomicU32::new(0);
/// The library itself ends the process: there is nothing more to be said.
static IS_MEANT: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    /// on_exit(3): glibc and its like call it with the status, those registered last first.
    #[cfg(target_env = "gnu")]
    fn on_exit(
        handler: extern "C" fn(status: c_int, argument: *mut c_void),
        argument: *mut c_void,
    ) -> c_int;
}

/// From now on the slave of this process has a last word, which `say` gets to its master.
pub(crate) fn watch(say: impl FnOnce(&str) + Send + 'static) {
    *SLAVE.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(say));
    if PROCESS.swap(std::process::id(), Ordering::SeqCst) != std::process::id() {
        // SAFETY: the handler takes what it is given and lives as long as the program; that it cannot be registered, for
        // want of memory, costs a word.
        #[cfg(target_env = "gnu")]
        unsafe {
            on_exit(handle, std::ptr::null_mut());
        }
        // SAFETY: as above.
        #[cfg(not(target_env = "gnu"))]
        unsafe {
            libc::atexit(handle_without_status);
        }
    }
}

/// The process ends because the library wants it to, with the code that it has chosen.
pub(crate) fn is_meant() {
    IS_MEANT.store(true, Ordering::SeqCst);
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn handle_without_status() {
    handle(c_int::from(exit::ERROR), std::ptr::null_mut());
}

extern "C" fn handle(status: c_int, _argument: *mut c_void) {
    if IS_MEANT.load(Ordering::SeqCst) || PROCESS.load(Ordering::SeqCst) != std::process::id() {
        return;
    }
    let slave = SLAVE.lock().unwrap_or_else(PoisonError::into_inner).take();
    // Nothing may unwind from here into C.
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        if let Some(say) = slave {
            say(&format!("{CALLED}exit({status})"));
        }
    }));
    drop(told);
    if status & 0xff == c_int::from(exit::OK) {
        // SAFETY: it flushes what C has buffered, which `_exit` does not; both may be called from a handler.
        unsafe {
            libc::fflush(std::ptr::null_mut());
            libc::_exit(exit::ERROR.into());
        }
    }
}
