//! Memory for what is long and written from its first byte to its last.

use rustix::mm::{Advice, madvise};

/// From so many bytes on it is asked for in huge pages: a page of 4 KiB that is written first costs as much as the bytes.
const HUGE_BYTES_MIN: usize = 4 << 20;
const PAGE_BYTES: usize = 4096;

/// An empty buffer with room for so many bytes; `None` if there is no memory for it.
pub(crate) fn reserve(bytes: usize) -> Option<Vec<u8>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).ok()?;
    let room = memory.spare_capacity_mut();
    if room.len() >= HUGE_BYTES_MIN {
        let before = room.as_ptr().align_offset(PAGE_BYTES);
        let pages = &mut room[before..];
        let bytes = pages.len() / PAGE_BYTES * PAGE_BYTES;
        // SAFETY: these are whole pages of a buffer that is ours, and the advice changes nothing of what they hold.
        let _ = unsafe { madvise(pages.as_mut_ptr().cast(), bytes, Advice::LinuxHugepage) };
        // A kernel without huge pages refuses: it costs time, no more.
    }
    Some(memory)
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_room_for_as_much_as_was_asked_for() {
        for bytes in [0, 1, 5_000, 9 << 20] {
            let memory = super::reserve(bytes).expect("there is memory");
            assert!(memory.is_empty() && memory.capacity() >= bytes);
        }
        assert_eq!(super::reserve(usize::MAX), None);
    }
}
