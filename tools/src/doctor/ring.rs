//! Asks the kernel for what the master's io_uring engine needs, by bare system calls: a ring, a shared buffer ring,
//! and one real multishot receive through both.
//!
//! Version numbers decide nothing here: distributions carry features back, and 5.19 sets everything up and then
//! refuses the receive.

use std::ffi::c_void;
use std::io::Write;
use std::num::NonZero;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use rustix::io::{Errno, Result};
use rustix::io_uring::{
    IORING_OFF_SQ_RING, IORING_OFF_SQES, IoringEnterFlags, IoringFeatureFlags, IoringOp,
    IoringRecvFlags, IoringRegisterOp, IoringSetupFlags, IoringSqeFlags, io_uring_buf,
    io_uring_buf_reg, io_uring_cqe, io_uring_enter, io_uring_params, io_uring_ptr,
    io_uring_register, io_uring_setup, io_uring_sqe, io_uring_user_data,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// Submission entries of the largest ring that is tried; the completion queue has four times as many.
pub(crate) const ENTRIES_MAX: u32 = 1024;
/// And of the smallest; below it the master takes epoll.
pub(crate) const ENTRIES_MIN: u32 = 64;

/// How far it went. `Err` holds the kernel's error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ring {
    /// Everything works, with so many submission entries.
    Works { entries: u32 },
    /// No ring at all.
    Refused(Errno),
    /// A ring, but no shared buffer ring (kernel 5.19).
    WithoutBuffers(Errno),
    /// Both, but no multishot receive (kernel 6.0).
    WithoutMultishot(Errno),
}

/// Tries it. Takes well under a millisecond and leaves nothing.
pub(crate) fn probe() -> Ring {
    let (ring, params) = match largest_ring() {
        Ok(found) => found,
        // Without the one flag that is younger than the ring itself: is the kernel too old, or the ring refused?
        Err(Errno::INVAL) => match setup(ENTRIES_MIN, IoringSetupFlags::CQSIZE) {
            Ok(_) => return Ring::WithoutBuffers(Errno::INVAL),
            Err(error) => return Ring::Refused(error),
        },
        Err(error) => return Ring::Refused(error),
    };
    let buffers = match Buffers::register(&ring) {
        Ok(buffers) => buffers,
        Err(error) => return Ring::WithoutBuffers(error),
    };
    let received = receive_multishot(&ring, &params);
    drop(ring);
    drop(buffers);
    match received {
        Ok(()) => Ring::Works {
            entries: params.sq_entries,
        },
        Err(error) => Ring::WithoutMultishot(error),
    }
}

fn largest_ring() -> Result<(OwnedFd, io_uring_params)> {
    let mut entries = ENTRIES_MAX;
    loop {
        match setup(
            entries,
            IoringSetupFlags::CQSIZE | IoringSetupFlags::COOP_TASKRUN,
        ) {
            Err(Errno::NOMEM) if entries > ENTRIES_MIN => entries /= 2,
            other => return other,
        }
    }
}

fn setup(entries: u32, flags: IoringSetupFlags) -> Result<(OwnedFd, io_uring_params)> {
    let mut params = io_uring_params::default();
    params.flags = flags;
    params.cq_entries = entries * 4;
    // SAFETY: no flag makes the kernel use memory that the parameters point to.
    let ring = unsafe { io_uring_setup(entries, &mut params) }?;
    Ok((ring, params))
}

/// A mapping of its own, zeroed or shared with the kernel, unmapped at the end.
struct Region {
    start: NonNull<u8>,
    bytes: usize,
}

impl Region {
    fn of_ring(ring: &OwnedFd, bytes: usize, offset: u64) -> Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free address.
        let start = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                rights,
                MapFlags::SHARED,
                ring,
                offset,
            )
        }?;
        Ok(Self {
            start: NonNull::new(start.cast()).expect("mmap gives no null"),
            bytes,
        })
    }

    fn anonymous(bytes: usize) -> Result<Self> {
        let rights = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a free address.
        let start = unsafe { mmap_anonymous(ptr::null_mut(), bytes, rights, MapFlags::PRIVATE) }?;
        Ok(Self {
            start: NonNull::new(start.cast()).expect("mmap gives no null"),
            bytes,
        })
    }

    /// A place for a `T`, checked to lie within.
    fn at<T>(&self, offset: usize) -> NonNull<T> {
        assert!(offset + size_of::<T>() <= self.bytes && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: the offset lies within the mapping, as asserted.
        unsafe { self.start.add(offset).cast() }
    }

    fn counter(&self, offset: u32) -> &AtomicU32 {
        // SAFETY: checked place, zeroed or written by the kernel atomically, valid as long as `self`.
        unsafe { self.at::<AtomicU32>(offset as usize).as_ref() }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by this value alone; references into it borrow it.
        let _ = unsafe { munmap(self.start.as_ptr().cast::<c_void>(), self.bytes) };
    }
}

/// A shared buffer ring with one buffer, in one page: the ring's entries first, the buffer behind them.
struct Buffers {
    _page: Region,
}

impl Buffers {
    const PAGE_BYTES: usize = 4096;
    const ENTRIES: u32 = 2;
    const BUFFER_AT: usize = 1024;
    /// The ring's tail lies in the first entry's unused half.
    const TAIL_AT: usize = 14;

    fn register(ring: &OwnedFd) -> Result<Self> {
        let page = Region::anonymous(Self::PAGE_BYTES)?;
        let mut registration = io_uring_buf_reg::default();
        registration.ring_addr = io_uring_ptr::new(page.start.as_ptr().cast());
        registration.ring_entries = Self::ENTRIES;
        // SAFETY: the page outlives the ring's only operation: `probe` closes the ring first.
        unsafe {
            io_uring_register(
                ring,
                IoringRegisterOp::RegisterPbufRing,
                ptr::from_ref(&registration).cast(),
                1,
            )
        }?;
        let mut buffer = io_uring_buf::default();
        buffer.addr = io_uring_ptr::new(page.at::<u8>(Self::BUFFER_AT).as_ptr().cast());
        buffer.len = 64;
        // SAFETY: the kernel does not read an entry before the tail says so.
        unsafe { page.at::<io_uring_buf>(0).write(buffer) };
        // SAFETY: a checked place in the page, which the kernel reads atomically.
        unsafe { page.at::<AtomicU16>(Self::TAIL_AT).as_ref() }.store(1, Ordering::Release);
        Ok(Self { _page: page })
    }
}

/// One byte through a socketpair.
fn receive_multishot(ring: &OwnedFd, params: &io_uring_params) -> Result<()> {
    let entries_end = params.sq_off.array as usize + params.sq_entries as usize * size_of::<u32>();
    let completions_end =
        params.cq_off.cqes as usize + params.cq_entries as usize * size_of::<io_uring_cqe>();
    if !params.features.contains(IoringFeatureFlags::SINGLE_MMAP) {
        return Err(Errno::NOSYS);
    }
    let queues = Region::of_ring(ring, entries_end.max(completions_end), IORING_OFF_SQ_RING)?;
    let entries = Region::of_ring(
        ring,
        params.sq_entries as usize * size_of::<io_uring_sqe>(),
        IORING_OFF_SQES,
    )?;

    let socket_error = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
    let (near, mut far) = UnixStream::pair().map_err(socket_error)?;
    far.write_all(b"x").map_err(socket_error)?;

    let receive = io_uring_sqe {
        opcode: IoringOp::Recv,
        flags: IoringSqeFlags::BUFFER_SELECT,
        ioprio: rustix::io_uring::ioprio_union {
            recv_flags: IoringRecvFlags::MULTISHOT,
        },
        fd: near.as_fd().as_raw_fd(),
        user_data: io_uring_user_data::from_u64(1),
        ..Default::default()
    };
    // SAFETY: the kernel reads entry 0 only in io_uring_enter below.
    unsafe { entries.at::<io_uring_sqe>(0).write(receive) };
    queues
        .counter(params.sq_off.array)
        .store(0, Ordering::Relaxed);
    queues
        .counter(params.sq_off.tail)
        .store(1, Ordering::Release);
    // SAFETY: the one entry points to no memory; its buffer is the registered ring's.
    unsafe { io_uring_enter(ring, 1, 1, IoringEnterFlags::GETEVENTS) }?;

    if queues.counter(params.cq_off.tail).load(Ordering::Acquire) == 0 {
        return Err(Errno::AGAIN);
    }
    // SAFETY: the tail says that the kernel wrote completion 0 and is done with it.
    let completion = unsafe {
        queues
            .at::<io_uring_cqe>(params.cq_off.cqes as usize)
            .as_ref()
    };
    match NonZero::new(completion.res) {
        Some(taken) if taken.get() > 0 => Ok(()),
        Some(error) => Err(Errno::from_raw_os_error(-error.get())),
        None => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_says_something_and_leaves_no_descriptor() {
        let open = || std::fs::read_dir("/proc/self/fd").expect("proc").count();
        // Other tests of this process open files too, so not one probe but many are weighed.
        let before = open();
        let first = probe();
        for _ in 0..200 {
            assert_eq!(probe(), first);
        }
        assert!(open() < before + 100);
    }
}
