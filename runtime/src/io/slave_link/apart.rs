//! A slave that has lost its master: somebody looks for the next life of its run, and it goes on there.

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::sync::atomic::Ordering;

use ringmw_codec::audit::Event;
use ringmw_sched::Nanos;
use rustix::event::{PollFd, PollFlags};

use super::Link;
use super::socket::{AckWatch, Outgoing};
use crate::proto::slave::{SlaveCore, SlaveEnd};

impl Link {
    /// The same without a master: who looks for one rings the bell.
    pub(super) fn wait_apart(&self, deadline: Nanos) -> io::Result<()> {
        if self.core().can_begin() {
            return Ok(());
        }
        let mut fds = [PollFd::new(&self.bell, PollFlags::IN)];
        self.poll(&mut fds, deadline)?;
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.bell, &mut [0u8; 8]);
        }
        self.on_time();
        Ok(())
    }

    /// It has lost its master, and nobody looks for the next one yet.
    pub(super) fn look_if_apart(&self, looks: &dyn Fn()) {
        if !self.is_apart() || self.is_looking.swap(true, Ordering::SeqCst) {
            return;
        }
        {
            let mut wire = self.wire();
            wire.out = Outgoing::default();
            // A master that leaves waits for its slaves to go.
            let _ = wire.stream.shutdown(std::net::Shutdown::Both);
        }
        self.publish();
        looks();
    }

    /// Whether it has no master, and looks for the next life of its run.
    pub(crate) fn is_apart(&self) -> bool {
        self.core().is_apart()
    }

    /// Of the run that it was a slave of: id, seed, arguments; and how long it looks for it.
    pub(crate) fn former_run(&self) -> Option<(u128, u64, Vec<String>, Nanos)> {
        let core = self.core();
        let (run, seed, args) = core.run()?;
        Some((run, seed, args.to_vec(), core.patience()))
    }

    /// It makes no sense any more to look: so it ends, or as it had lost its master.
    pub(crate) fn give_up(&self, end: Option<SlaveEnd>) {
        self.core().give_up_return(end);
        self.publish();
        self.wake_io();
        self.wake_main();
    }

    /// The next life of its run has welcomed it.
    pub(crate) fn adopt(&self, stream: TcpStream, mut next: Box<SlaveCore>) {
        let welcomed = {
            let mut wire = self.wire();
            let mut core = self.core();
            if !core.is_apart() {
                return;
            }
            match self.replace_socket(&stream) {
                Err(error) => Err(error),
                Ok(()) => {
                    next.go_on(&mut core, self.clock.now());
                    *core = *next;
                    wire.stream = stream;
                    wire.out = Outgoing::default();
                    wire.ack = AckWatch::default();
                    Ok(core.id())
                }
            }
        };
        match welcomed {
            Err(error) => {
                let text = format!("the next master's connection cannot be used: {error}");
                self.note(Event::Note { text });
                return self.give_up(None);
            }
            Ok(id) => {
                if let (Some(word), Some(id)) = (&self.word, id) {
                    word.joined(id.0, false);
                }
            }
        }
        self.is_looking.store(false, Ordering::SeqCst);
        self.publish();
        self.flush();
        self.wake_io();
        self.wake_main();
    }

    /// The descriptor that both threads poll without a lock becomes another socket's.
    pub(super) fn replace_socket(&self, stream: &TcpStream) -> io::Result<()> {
        // SAFETY: both descriptors are open and owned, here and by the stream, for the length of the call; the one that is
        // replaced stays open and owned, as the other socket.
        let result =
            unsafe { libc::dup3(stream.as_raw_fd(), self.socket.as_raw_fd(), libc::O_CLOEXEC) };
        match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }
}
