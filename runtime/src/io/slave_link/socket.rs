//! The socket of a slave: bytes on their way out, what the master's host has of them, and reads into a long frame's memory.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, OwnedFd};

use ringmw_codec::frame::Block;
use ringmw_sched::Nanos;
use rustix::event::{PollFd, PollFlags};

/// How often TCP is asked for acknowledgements: it finds what has been missing for seconds.
pub(super) const ACK_CHECK: Nanos = 1_000_000_000;

/// The socket, and what is on its way.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    pub(super) out: Outgoing,
    pub(super) ack: AckWatch,
    pub(super) buffer: Vec<u8>,
    /// Something long has come lately: what is read for the head of a frame is short, so many times more.
    pub(super) long: u8,
}

/// Bytes on their way out, with how far they have come.
#[derive(Default)]
pub(super) struct Outgoing {
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn write(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        while self.written < self.bytes.len() {
            match stream.write(&self.bytes[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.bytes.clear();
        self.written = 0;
        Ok(())
    }
}

/// Watches whether the master's host acknowledges what was sent (TCP_INFO, tcp(7)).
///
/// A host that is there acknowledges even with a full window; so a master that holds its thread is
/// never taken for a dead one, as TCP_USER_TIMEOUT would.
#[derive(Default)]
pub(super) struct AckWatch {
    asked: Nanos,
    outstanding_since: Option<Nanos>,
}

impl AckWatch {
    pub(super) fn unacknowledged_for(&mut self, stream: &TcpStream, now: Nanos) -> Nanos {
        if now < self.asked + ACK_CHECK {
            return 0;
        }
        self.asked = now;
        match tcp_outstanding(stream) {
            Some(last_ack_ms) => {
                // After a pause of this process the kernel's figure is old and says nothing yet.
                let since = *self.outstanding_since.get_or_insert(now);
                (u64::from(last_ack_ms) * 1_000_000).min(now - since)
            }
            None => {
                self.outstanding_since = None;
                0
            }
        }
    }
}

/// Reads into a block as far as it goes, which comes back. True: it was filled. False: the socket was emptied. None: the
/// stream has ended, which the next read finds too.
pub(super) fn fill(stream: &TcpStream, block: Block) -> (Vec<u8>, io::Result<Option<bool>>) {
    let Block { mut bytes, until } = block;
    while bytes.len() < until {
        let room = until - bytes.len();
        let free = &mut bytes.spare_capacity_mut()[..room];
        match rustix::net::recv(stream, free, rustix::net::RecvFlags::empty()) {
            Ok((_, 0)) => return (bytes, Ok(None)),
            // SAFETY: so many bytes were written behind those that were there.
            Ok((_, count)) => unsafe { bytes.set_len(bytes.len() + count) },
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => return (bytes, Ok(Some(false))),
            Err(error) => return (bytes, Err(error.into())),
        }
    }
    (bytes, Ok(Some(true)))
}

pub(super) fn interest(unsent: bool) -> PollFlags {
    if unsent {
        PollFlags::IN | PollFlags::OUT
    } else {
        PollFlags::IN
    }
}

pub(super) fn is_readable(fd: &PollFd<'_>) -> bool {
    fd.revents()
        .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
}

/// Bytes that were written and that the master's host has not acknowledged (SIOCOUTQ, tcp(7)).
pub(super) fn tcp_untaken(socket: &OwnedFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ, which Linux calls TIOCOUTQ, writes one int, which is live over the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    match result {
        0 => Ok(u64::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Milliseconds since the last acknowledgement if bytes are outstanding.
pub(super) fn tcp_outstanding(stream: &TcpStream) -> Option<u32> {
    // SAFETY: a tcp_info is made of integers, for which zero is valid.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the pointers are to a tcp_info and to its size, both live over the call.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    (result == 0 && (info.tcpi_unacked > 0 || info.tcpi_probes > 0))
        .then_some(info.tcpi_last_ack_recv)
}
