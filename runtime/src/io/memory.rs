//! Memory for what is large: freed blocks that are kept for the next ones, and the kernel's large pages.

use rustix::mm::{Advice, madvise};

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

/// A page of the kernel's larger kind, where it has them: as large as on x86-64; elsewhere the advice fits less well.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// Less than so many bytes gains nothing.
const LARGE_BYTES_MIN: usize = 4 << 20;

/// Asks for large pages where `memory`, which is about to be filled, has room: the kernel then clears what is filled next in
/// one go, in place of a fault every 4 KiB that costs as much as receiving what goes there. It may refuse.
pub(crate) fn prefer_large_pages(memory: &mut Vec<u8>) {
    let spare = memory.spare_capacity_mut();
    if spare.len() < LARGE_BYTES_MIN {
        return;
    }
    let begin = spare.as_mut_ptr();
    let skipped = begin.align_offset(LARGE_PAGE_BYTES);
    let bytes = spare.len().saturating_sub(skipped) / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    if bytes > 0 {
        // SAFETY: the range is within the spare capacity, and the advice changes no byte.
        let _ = unsafe { madvise(begin.add(skipped).cast(), bytes, Advice::LinuxHugepage) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_the_same_whatever_pages_it_has() {
        for bytes in [0, 1, LARGE_BYTES_MIN - 1, LARGE_BYTES_MIN, 11 << 20] {
            let mut memory = vec![7; 3];
            memory.reserve_exact(bytes);
            prefer_large_pages(&mut memory);
            memory.resize(3 + bytes, 9);
            assert!(memory.starts_with(&[7; 3]) && memory[3..].iter().all(|byte| *byte == 9));
        }
    }
}
