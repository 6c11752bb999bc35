//! The ring of shared buffers from which the kernel takes one for whatever arrives, on whatever connection.
//!
//! ```text
//!    mapping   | entries: 16 bytes each, to the page | buffer 0 | buffer 1 | …
//!    entries   | … | lent to the kernel, oldest first | free to refill | …
//!                                                     ^tail, which only we move
//! ```

use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

const PAGE_BYTES: usize = 4096;

/// A buffer the kernel has filled and given back. It is ours until [`Buffers::lend`] takes it.
pub(super) struct Filled {
    index: u16,
    len: u32,
}

impl Filled {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }
}

pub(super) struct Buffers {
    mapping: NonNull<u8>,
    mapping_bytes: usize,
    count: u16,
    buffer_bytes: usize,
    tail: u16,
}

impl Buffers {
    /// `count` buffers, a power of two, none of them lent.
    pub(super) fn map(count: u16, buffer_bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15);
        let mapping_bytes =
            Self::entries_bytes(count) + usize::from(count) * Self::stride(buffer_bytes);
        // SAFETY: a fresh private mapping at an address of the kernel's choice touches no other memory.
        let mapping = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                mapping_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let mapping = NonNull::new(mapping.cast::<u8>()).expect("a mapping is not at null");
        let buffers = Self {
            mapping,
            mapping_bytes,
            count,
            buffer_bytes,
            tail: 0,
        };
        // SAFETY: the range is the mapping just made. A forked child does without it, else a copy on write could leave the
        // kernel writing to the child's pages.
        unsafe {
            madvise(
                mapping.as_ptr().cast(),
                mapping_bytes,
                Advice::LinuxDontFork,
            )
        }?;
        Ok(buffers)
    }

    fn entries_bytes(count: u16) -> usize {
        (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(PAGE_BYTES)
    }

    /// A cache line more than the buffer, so that the beginnings of all buffers do not fall into the same few cache sets.
    fn stride(buffer_bytes: usize) -> usize {
        buffer_bytes + 64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// Where the entries are, page-aligned; valid as long as `self`.
    pub(super) fn address(&self) -> u64 {
        self.mapping.as_ptr().expose_provenance() as u64
    }

    /// What a completion says: `len` bytes in buffer `index`.
    pub(super) fn filled(&self, index: u16, len: usize) -> Filled {
        assert!(
            index < self.count && len <= self.buffer_bytes,
            "the kernel gave buffer {index} of {} with {len} bytes of {}",
            self.count,
            self.buffer_bytes
        );
        Filled {
            index,
            len: len as u32,
        }
    }

    fn buffer(&self, index: u16) -> NonNull<u8> {
        let offset =
            Self::entries_bytes(self.count) + usize::from(index) * Self::stride(self.buffer_bytes);
        // SAFETY: `index` is below `count` (asserted in `filled`, or from `lend_all`), so the offset is within the mapping.
        unsafe { self.mapping.add(offset) }
    }

    #[inline]
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        // SAFETY: the kernel wrote `len` bytes here and does not touch the buffer before it is lent again, which consumes
        // `filled`. Fresh pages are zero, so all of it is initialised in any case.
        unsafe { std::slice::from_raw_parts(self.buffer(filled.index).as_ptr(), filled.len()) }
    }

    /// Gives a buffer back to the kernel.
    #[inline]
    pub(super) fn lend(&mut self, filled: Filled) {
        self.push(filled.index);
        self.publish();
    }

    /// Lends all buffers. Only once, before the ring is used.
    pub(super) fn lend_all(&mut self) {
        assert_eq!(self.tail, 0);
        for index in 0..self.count {
            self.push(index);
        }
        self.publish();
    }

    fn push(&mut self, index: u16) {
        let place = usize::from(self.tail & (self.count - 1));
        let address = self.buffer(index).as_ptr().expose_provenance() as u64;
        // SAFETY: `place` is below `count`, so the entry is within the mapping, aligned, and zero or written before. The
        // kernel reads entries only between its head and the published tail; at most `count` buffers are ever lent, so
        // this place is outside. The first entry's spare field is the tail, which these setters leave alone.
        let entry = unsafe { self.mapping.cast::<BufRingEntry>().add(place).as_mut() };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(index);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&mut self) {
        // SAFETY: the address is that of the first entry, as `tail` asks; the field is two aligned bytes in our mapping
        // which only we write and the kernel reads, so an atomic may stand there.
        let tail = unsafe {
            let field = BufRingEntry::tail(self.mapping.as_ptr().cast()).cast_mut();
            AtomicU16::from_ptr(field)
        };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: the range is our own mapping, no slice of it outlives `self`, and the owner of the ring drops this only
        // when no operation is left that could write to it.
        let unmapped = unsafe { munmap(self.mapping.as_ptr().cast(), self.mapping_bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
