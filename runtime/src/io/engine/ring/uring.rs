//! io_uring, made safe: it owns all memory that the kernel works on, for as long as the kernel does.
//!
//! What it does not look after: a descriptor must stay open until the operations on it have completed; else they concern
//! whatever file has its number next. That harms no memory, and the engine counts.

use std::collections::VecDeque;
use std::io;
use std::mem::{self, ManuallyDrop};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use ringmw_codec::frame::Block;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::buffers::{Buffers, Filled};
use super::parts::Parts;
use crate::io::engine::ConnId;

/// Measured with 4 MiB of them, 4 KiB each cost a fifth more CPU for frames of megabytes, and 16 KiB each gained nothing.
const BUFFER_BYTES: usize = 8192;
/// At least so many buffers: a thousand busy connections then still find one mostly.
const BUFFERS_LEAST: u32 = 128;
/// Completions beside each entry. A completion that finds no room ends its multishot operation.
const COMPLETIONS_PER_ENTRY: u32 = 4;
const GROUP: u16 = 0;
/// Pieces of deferred work that one `enter` does at least, if there are so many (IO_LOCAL_TW_DEFAULT_MAX).
const PIECES_PER_ENTER: usize = 20;
const ROUNDS_MORE: usize = 8;

/// How long to wait for the kernel to let go when the ring is dropped. Cancelling takes microseconds.
const FAREWELL_SECONDS: u64 = 2;

/// What an operation is; travels through the kernel in its `user_data`.
///
/// ```text
///    | kind: 4 bits | generation: 32 | slot: 28 |
/// ```
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Operation {
    Accept,
    Receive(ConnId),
    Send(ConnId),
    Cancel(ConnId),
    CancelOther,
    Block(ConnId),
}

const SLOT_BITS: u32 = ConnId::SLOTS_MAX.trailing_zeros();
const KIND_SHIFT: u32 = SLOT_BITS + 32;
const _: () = assert!(ConnId::SLOTS_MAX.is_power_of_two() && KIND_SHIFT == 60);

impl Operation {
    fn encode(self) -> u64 {
        let (kind, conn) = match self {
            Operation::Accept => (0, None),
            Operation::Receive(conn) => (1, Some(conn)),
            Operation::Send(conn) => (2, Some(conn)),
            Operation::Cancel(conn) => (3, Some(conn)),
            Operation::CancelOther => (4, None),
            Operation::Block(conn) => (5, Some(conn)),
        };
        let name = conn.map_or(0, |conn| {
            u64::from(conn.generation()) << SLOT_BITS | conn.slot() as u64
        });
        kind << KIND_SHIFT | name
    }

    fn decode(user_data: u64) -> Self {
        let slot = user_data as u32 & (ConnId::SLOTS_MAX - 1);
        let conn = ConnId::new(slot, (user_data >> SLOT_BITS) as u32);
        match user_data >> KIND_SHIFT {
            0 => Operation::Accept,
            1 => Operation::Receive(conn),
            2 => Operation::Send(conn),
            3 => Operation::Cancel(conn),
            4 => Operation::CancelOther,
            5 => Operation::Block(conn),
            kind => unreachable!("no operation of kind {kind} was ever submitted"),
        }
    }
}

/// What has completed. `more`: the operation goes on.
pub(super) enum Completion {
    Accepted {
        result: io::Result<OwnedFd>,
        more: bool,
    },
    Received {
        conn: ConnId,
        /// None is the end of the stream.
        result: io::Result<Option<Filled>>,
        more: bool,
        /// The socket held more bytes than went into this buffer.
        unread: bool,
    },
    /// A receive into a block: it holds what came, too. `Ok(0)` is the end of the stream.
    Filled {
        conn: ConnId,
        block: Vec<u8>,
        result: io::Result<usize>,
        /// The socket held more bytes than were received.
        unread: bool,
    },
    Sent {
        conn: ConnId,
        parts: Parts,
        result: io::Result<usize>,
    },
    Cancelled {
        /// None: it was no connection's operation.
        conn: Option<ConnId>,
        result: io::Result<()>,
    },
}

/// When the kernel works on what has become ready.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Whenever it is entered (IORING_SETUP_DEFER_TASKRUN, Linux 6.1); later kernels a few at a time, so that what was
    /// received is answered while the caches, and the shared buffers, still hold it.
    Deferred,
    /// All of it at once, whenever the thread is in the kernel for whatever reason (IORING_SETUP_COOP_TASKRUN).
    Cooperative,
}

/// Tells of news while the thread sleeps; the descriptor of a ring whose work is deferred does not.
struct Bell {
    event: OwnedFd,
    on: bool,
}

/// A ring, its shared buffers, and the buffers that are being sent.
pub(in crate::io::engine) struct Uring {
    ring: IoUring,
    /// Where work is deferred.
    bell: Option<Bell>,
    buffers: ManuallyDrop<Buffers>,
    /// By slot; one at a time for each.
    sending: Vec<Option<Parts>>,
    /// Blocks that are received into, by slot; one at a time for each.
    filling: Vec<Option<Vec<u8>>>,
    /// Entries that did not fit into the submission queue; they go in order.
    backlog: VecDeque<squeue::Entry>,
    /// Operations queued or submitted whose last completion has not been taken.
    in_flight: usize,
    /// Those of them that send.
    sends: usize,
}

impl Uring {
    /// A ring whose multishot receive has been tried: kernel 5.19 lets everything be set up and then fails. A kernel without
    /// it gives an error of the kind `Unsupported` or EINVAL.
    pub(in crate::io::engine) fn open(entries: u32) -> io::Result<Self> {
        // Half as many buffers as entries: an eighth of the completions that fit, so sends and accepts have room too.
        let buffers = (entries / 2).max(BUFFERS_LEAST);
        let buffers = u16::try_from(buffers).expect("rings are small");
        match Self::with(entries, buffers, Work::Deferred) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
                Self::with(entries, buffers, Work::Cooperative)
            }
            outcome => outcome,
        }
    }

    pub(super) fn with(entries: u32, count: u16, work: Work) -> io::Result<Self> {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_taskrun_flag()
            .setup_single_issuer()
            .setup_submit_all()
            .setup_cqsize(entries * COMPLETIONS_PER_ENTRY);
        match work {
            Work::Deferred => builder.setup_defer_taskrun(),
            Work::Cooperative => builder.setup_coop_taskrun(),
        };
        let ring = builder.build(entries)?;
        let bell = match work {
            Work::Deferred => Some(Bell::new(&ring)?),
            Work::Cooperative => None,
        };
        if !ring.params().is_feature_nodrop() || !ring.params().is_feature_ext_arg() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut buffers = Buffers::map(count, BUFFER_BYTES)?;
        // SAFETY: the address is that of `count` page-aligned entries, which stay mapped until `drop` has seen all
        // operations end (or for ever, if it has not).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(buffers.address(), count, GROUP, 0)
        }?;
        buffers.lend_all();
        let mut uring = Self {
            ring,
            bell,
            buffers: ManuallyDrop::new(buffers),
            sending: Vec::new(),
            filling: Vec::new(),
            backlog: VecDeque::new(),
            in_flight: 0,
            sends: 0,
        };
        uring.try_receive()?;
        Ok(uring)
    }

    fn try_receive(&mut self) -> io::Result<()> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let conn = ConnId::new(0, 0);
        rustix::io::write(&theirs, b"?")?;
        drop(theirs);
        self.receive(conn, ours.as_fd());
        let mut got = Vec::new();
        loop {
            self.wait()?;
            while let Some(completion) = self.next() {
                match completion {
                    Completion::Received {
                        result: Ok(Some(filled)),
                        ..
                    } => {
                        got.extend_from_slice(self.bytes(&filled));
                        self.recycle(filled);
                    }
                    Completion::Received {
                        result: Ok(None), ..
                    } if got == b"?" => return Ok(()),
                    Completion::Received {
                        result: Err(error), ..
                    } => return Err(error),
                    _ => return Err(io::ErrorKind::Unsupported.into()),
                }
            }
            if self.in_flight == 0 {
                return Err(io::ErrorKind::Unsupported.into());
            }
        }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.bell {
            Some(bell) => bell.event.as_fd(),
            // SAFETY: the ring owns this descriptor, and the borrow lasts no longer than the borrow of the ring.
            None => unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) },
        }
    }

    /// From here on the descriptor becomes readable when there is news: to be called before one sleeps, and to be
    /// followed by a look at whether there is some already.
    pub(super) fn listen(&mut self) {
        if let Some(bell) = self.bell.as_mut().filter(|bell| !bell.on) {
            bell.on = true;
            self.ring.completion().enable_eventfd();
            // The kernel looks at the flag after it has queued work, and we at the work after we have set the flag.
            fence(Ordering::SeqCst);
        }
    }

    /// The thread is awake: no more news of news.
    pub(super) fn stop_listening(&mut self) {
        if let Some(bell) = self.bell.as_mut().filter(|bell| bell.on) {
            bell.on = false;
            self.ring.completion().disable_eventfd();
            // It fails if the bell has not rung.
            let _ = rustix::io::read(&bell.event, &mut [0; 8]);
        }
    }

    /// How many shared buffers there are.
    pub(super) fn buffers(&self) -> usize {
        usize::from(self.buffers.count())
    }

    /// Accepts connections until it fails or is cancelled.
    pub(super) fn accept(&mut self, listener: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd()))
            .flags(SocketFlags::CLOEXEC.bits() as i32)
            .build();
        self.push(entry, Operation::Accept);
    }

    pub(super) fn cancel_accept(&mut self) {
        let cancel = CancelBuilder::user_data(Operation::Accept.encode());
        let entry = opcode::AsyncCancel2::new(cancel).build();
        self.push(entry, Operation::CancelOther);
    }

    /// Receives into shared buffers until the stream ends, it fails, or there is no buffer.
    pub(super) fn receive(&mut self, conn: ConnId, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.push(entry, Operation::Receive(conn));
    }

    /// Receives once, into a shared buffer.
    pub(super) fn receive_once(&mut self, conn: ConnId, socket: BorrowedFd<'_>) {
        let entry = opcode::Recv::new(Fd(socket.as_raw_fd()), std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.push(entry, Operation::Receive(conn));
    }

    /// Receives once, into a block.
    ///
    /// # Panics
    /// If this connection's slot is receiving into another already, or the block has no room.
    pub(super) fn receive_into(&mut self, conn: ConnId, socket: BorrowedFd<'_>, block: Block) {
        let Block { mut bytes, until } = block;
        let missing = until - bytes.len();
        let free = &mut bytes.spare_capacity_mut()[..missing];
        let len = u32::try_from(free.len()).unwrap_or(u32::MAX);
        assert!(
            len > 0,
            "a receive of nothing looks like the end of the stream"
        );
        let entry =
            opcode::Recv::new(Fd(socket.as_raw_fd()), free.as_mut_ptr().cast(), len).build();
        let slot = conn.slot();
        if slot >= self.filling.len() {
            self.filling.resize_with(slot + 1, || None);
        }
        let before = self.filling[slot].replace(bytes);
        assert!(before.is_none(), "slot {slot} is receiving already");
        self.push(entry, Operation::Block(conn));
    }

    /// Ends a connection's receive into shared buffers, if there is one still.
    pub(super) fn cancel_receive(&mut self, conn: ConnId) {
        let cancel = CancelBuilder::user_data(Operation::Receive(conn).encode());
        let entry = opcode::AsyncCancel2::new(cancel).build();
        self.push(entry, Operation::CancelOther);
    }

    /// Sends `parts` from this byte on; whole, unless it fails. `more` follows, with which the last bytes may travel.
    ///
    /// # Panics
    /// If this connection's slot is sending already.
    pub(super) fn send(
        &mut self,
        conn: ConnId,
        socket: BorrowedFd<'_>,
        parts: Parts,
        from: usize,
        more: bool,
    ) {
        let slot = conn.slot();
        if slot >= self.sending.len() {
            self.sending.resize_with(slot + 1, || None);
        }
        let before = self.sending[slot].replace(parts);
        assert!(before.is_none(), "slot {slot} is sending already");
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL | if more { libc::MSG_MORE } else { 0 };
        let socket = Fd(socket.as_raw_fd());
        let entry = match self.sending[slot].as_mut().expect("just put there") {
            Parts::One(buffer) => {
                let rest = &buffer[from..];
                let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
                let send = opcode::Send::new(socket, rest.as_ptr(), len);
                send.flags(flags).build()
            }
            Parts::Many(many) => {
                let send = opcode::SendMsg::new(socket, many.message(from));
                send.flags(flags as u32).build()
            }
        };
        self.sends += 1;
        self.push(entry, Operation::Send(conn));
    }

    /// Cancels all that is being done on this socket.
    pub(super) fn cancel(&mut self, conn: ConnId, socket: BorrowedFd<'_>) {
        let cancel = CancelBuilder::fd(Fd(socket.as_raw_fd())).all();
        let entry = opcode::AsyncCancel2::new(cancel).build();
        self.push(entry, Operation::Cancel(conn));
    }

    /// Every entry comes through here: its buffer, if any, is in `self.sending`, `self.filling` or the shared ring.
    fn push(&mut self, entry: squeue::Entry, operation: Operation) {
        self.in_flight += 1;
        self.backlog.push_back(entry.user_data(operation.encode()));
        self.fill();
    }

    fn fill(&mut self) {
        let mut queue = self.ring.submission();
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: an entry points to buffers of `self.sending` (if there are several, by way of their box) or to one of
            // `self.filling`, or to none. Such a buffer is neither touched nor dropped before `next` has seen the operation's completion, nor in `drop`.
            if unsafe { queue.push(&entry) }.is_err() {
                self.backlog.push_front(entry);
                return;
            }
        }
    }

    /// True if operations are queued that the kernel has not been told of.
    pub(super) fn queued(&mut self) -> bool {
        !self.ring.submission().is_empty()
    }

    /// True if `next` would give something.
    pub(super) fn completed(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Whether `enter` may bring out only some of what the kernel holds back. Then a kernel that says so once too often
    /// is to be expected: it sets the flag after it has queued the work, which may be done by then.
    pub(super) fn is_deferred(&self) -> bool {
        self.bell.is_some()
    }

    /// After so many rounds all that was held back before them is out: an operation has one piece of work at a time.
    pub(super) fn rounds(&self) -> usize {
        self.in_flight / PIECES_PER_ENTER + ROUNDS_MORE
    }

    /// After so many in a row without a completion nothing is held back, whatever the kernel says: of all work only a
    /// send that has gone on and waits again has none.
    pub(super) fn idle_rounds(&self) -> usize {
        self.sends / PIECES_PER_ENTER + ROUNDS_MORE
    }

    /// True if the kernel has completions that only `enter` brings out.
    pub(super) fn held_back(&mut self) -> bool {
        let queue = self.ring.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// True if completions did not fit into their queue.
    pub(super) fn overflown(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    /// Tells the kernel of all that is queued, and lets it complete what it can. If it cannot take all before completions
    /// have been taken, the rest stays queued.
    pub(super) fn enter(&mut self) -> io::Result<()> {
        loop {
            match self.ring.submit() {
                Ok(0) if self.queued() => return Ok(()),
                Ok(_) => self.fill(),
                Err(error) => match Errno::from_io_error(&error) {
                    Some(Errno::INTR) => {}
                    Some(Errno::BUSY | Errno::AGAIN) => return Ok(()),
                    _ => return Err(error),
                },
            }
            if !self.queued() {
                return Ok(());
            }
        }
    }

    /// Like `enter`, and waits a little for a completion.
    fn wait(&mut self) -> io::Result<()> {
        let limit = Timespec::new().sec(FAREWELL_SECONDS);
        let args = SubmitArgs::new().timespec(&limit);
        self.fill();
        match self.ring.submitter().submit_with_args(1, &args) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INTR) => Ok(()),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::BUSY) => Ok(()),
            result => result.map(drop),
        }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Completion> {
        let entry = self.ring.completion().next()?;
        let flags = entry.flags();
        let more = cqueue::more(flags);
        if !more {
            self.in_flight -= 1;
        }
        let result = match entry.result() {
            result @ 0.. => Ok(result as usize),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        };
        Some(match Operation::decode(entry.user_data()) {
            Operation::Receive(conn) => {
                let filled = cqueue::buffer_select(flags)
                    .map(|index| self.buffers.filled(index, *result.as_ref().unwrap_or(&0)));
                let result = match (result, filled) {
                    (Ok(1..), Some(filled)) => Ok(Some(filled)),
                    (result, filled) => {
                        if let Some(unused) = filled {
                            self.recycle(unused);
                        }
                        result.map(|_| None)
                    }
                };
                Completion::Received {
                    conn,
                    result,
                    more,
                    unread: cqueue::sock_nonempty(flags),
                }
            }
            Operation::Block(conn) => {
                let block = self.filling[conn.slot()].take();
                let mut block = block.expect("one receive of each slot is in flight");
                if let Ok(came) = result {
                    let bytes = block.len() + came;
                    assert!(bytes <= block.capacity(), "the kernel filled {came} bytes");
                    // SAFETY: the kernel wrote so many bytes behind those that were there, within the capacity.
                    unsafe { block.set_len(bytes) };
                }
                Completion::Filled {
                    conn,
                    block,
                    result,
                    unread: cqueue::sock_nonempty(flags),
                }
            }
            Operation::Send(conn) => {
                let parts = self.sending[conn.slot()].take();
                self.sends -= 1;
                Completion::Sent {
                    conn,
                    parts: parts.expect("one send of each slot is in flight"),
                    result,
                }
            }
            Operation::Accept => Completion::Accepted {
                // SAFETY: an accept that succeeds gives a new descriptor, to us alone.
                result: result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }),
                more,
            },
            Operation::Cancel(conn) => Completion::Cancelled {
                conn: Some(conn),
                result: result.map(drop),
            },
            Operation::CancelOther => Completion::Cancelled {
                conn: None,
                result: result.map(drop),
            },
        })
    }

    #[inline]
    pub(super) fn bytes(&self, filled: &Filled) -> &[u8] {
        self.buffers.bytes(filled)
    }

    /// Whether what came filled the whole buffer.
    #[inline]
    pub(super) fn is_full(&self, filled: &Filled) -> bool {
        filled.len() == BUFFER_BYTES
    }

    #[inline]
    pub(super) fn recycle(&mut self, filled: Filled) {
        self.buffers.lend(filled);
    }

    /// Cancels everything and waits until the kernel has let go of our memory.
    fn quiesce(&mut self) -> io::Result<()> {
        if self.in_flight > 0 {
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            self.push(entry, Operation::CancelOther);
        }
        while self.in_flight > 0 {
            self.wait()?;
            while let Some(completion) = self.next() {
                if let Completion::Received {
                    result: Ok(Some(filled)),
                    ..
                } = completion
                {
                    self.recycle(filled);
                }
            }
        }
        Ok(())
    }
}

impl Bell {
    fn new(ring: &IoUring) -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        ring.submitter().register_eventfd(event.as_raw_fd())?;
        Ok(Bell { event, on: true })
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        if self.quiesce().is_ok() {
            // SAFETY: it is dropped only here, and no operation is left that could write to it.
            unsafe { ManuallyDrop::drop(&mut self.buffers) };
        } else {
            // The kernel may still read and write there: better to lose the memory than to use it twice.
            mem::forget(mem::take(&mut self.sending));
            mem::forget(mem::take(&mut self.filling));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_their_encoding() {
        for (slot, generation) in [(0, 0), (1, 2), (ConnId::SLOTS_MAX - 1, u32::MAX)] {
            let conn = ConnId::new(slot, generation);
            for operation in [
                Operation::Accept,
                Operation::Receive(conn),
                Operation::Send(conn),
                Operation::Cancel(conn),
                Operation::CancelOther,
                Operation::Block(conn),
            ] {
                assert_eq!(Operation::decode(operation.encode()), operation);
            }
        }
    }
}
