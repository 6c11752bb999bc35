//! Memory of what is large, which is kept for the next once it is free.
//!
//! No large pages are asked for. On a virtual machine their first touch cost 1 to 2 ns a byte, where small ones cost 0.4 and large
//! ones 0.06 on memory that the process had had before.

/// Freed memory of so many bytes is kept for what comes next while there is traffic: pages that are returned and fetched
/// again for every block of megabytes cost several times what its bytes do.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 64 << 20;

/// Blocks of so many bytes or more are returned at once.
#[cfg(target_env = "gnu")]
const RETURNED_BYTES: libc::c_int = 32 << 20;

/// From here on this process keeps what it frees, until it is [given back](give_back).
pub(crate) fn keep_freed() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and concerns what the allocator does from now on (mallopt(3)). It fails for values out
    // of range alone, and then all is as it was.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, RETURNED_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}

/// Gives all memory back that is free.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer, and may be called at any time from any thread (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
