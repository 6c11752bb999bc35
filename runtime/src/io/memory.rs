//! Memory of what is large, which is kept for the next once it is free.
//!
//! No large pages are asked for. On a virtual machine their first touch cost 1 to 2 ns a byte, where small ones cost 0.4 and large
//! ones 0.06 on memory that the process had had before.

use std::mem::MaybeUninit;

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

/// Has the kernel give the pages of memory that is about to be filled at once, which costs it a third less than a page fault for
/// each of them. A kernel before 5.14 does not know of it, and then they come as they are written.
pub(crate) fn populate(memory: &mut [MaybeUninit<u8>]) {
    let page_bytes = rustix::param::page_size();
    let begin = memory.as_mut_ptr();
    let before = begin.align_offset(page_bytes);
    // The last page, of which only a part is meant, comes as it is written.
    let bytes = memory.len().saturating_sub(before) / page_bytes * page_bytes;
    if bytes > 0 {
        // SAFETY: the pages lie within `memory`, which is borrowed for as long as this takes, and their contents stay as they
        // are (madvise(2)).
        let _ = unsafe { madvise(begin.add(before).cast(), bytes, Advice::LinuxPopulateWrite) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_beside_populated_memory_stays() {
        let mut memory: Vec<u8> = Vec::with_capacity(1 << 20);
        memory.extend((0..10_000u32).map(|nth| nth as u8));
        let bytes = memory.clone();
        populate(memory.spare_capacity_mut());
        for (begin, length) in [(0, 0), (0, 1), (1, 4_095), (4_000, 200), (7, 1 << 16)] {
            populate(&mut memory.spare_capacity_mut()[begin..begin + length]);
        }
        assert_eq!(memory, bytes);
    }
}
