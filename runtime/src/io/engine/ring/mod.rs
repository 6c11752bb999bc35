//! The engine on io_uring.
//!
//! One multishot accept, and on every connection one multishot receive: armed once, it completes for whatever arrives, into
//! buffers that all connections share, until it ends for a reason. If the reason is that no buffer was free, the connection
//! waits in `starved` and is armed again when buffers have been given back: at most as many at a time as there are buffers,
//! else a thousand connections would fail in turn over the same few.
//!
//! The rest of a long frame is received straight into the frame's own memory. For that the multishot receive is ended, and
//! receives are armed one by one until only short ones have come for a while: into a shared buffer where a frame begins, into
//! its own memory from there on.
//!
//! A connection's slot is freed, and its descriptor closed, only when its last operation has completed: descriptor numbers
//! are used again at once.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use bytes::Bytes;
use rustix::io::Errno;
use rustix::net::getpeername;

use crate::io::engine::ring::parts::Parts;
use crate::io::engine::ring::receive::Take;
use crate::io::engine::ring::uring::{Completion, Uring};
use crate::io::engine::slots::{Deadlines, Slots};
use crate::io::engine::{
    Buffer, Close, ConnId, Engine, Handler, TAKE_BYTES_MAX, Want, gathered, socket,
};

mod buffers;
mod parts;
mod receive;
mod send;
pub(super) mod uring;

pub(super) struct RingEngine {
    // First, so that it is dropped before the sockets it works on.
    uring: Uring,
    listener: TcpListener,
    address: SocketAddr,
    /// Whether the owner wants peers.
    accepting: bool,
    accept: Accept,
    connections: Slots<Connection>,
    deadlines: Deadlines,
    /// Connections whose receive found no buffer, longest waiting first; some may have been closed since.
    starved: VecDeque<ConnId>,
    /// Connections with something shared to send, and nothing under way: what follows it is to be known before it is sent.
    unstarted: Vec<ConnId>,
    receive_queue_bytes_max: usize,
    take: Take,
}

/// After how many completions a `take` that need not be complete ends: enough for the owner's turn to weigh nothing, few
/// enough for the sockets to be in the caches still when they are answered. Measured with 10,000 connections, each with one
/// small frame under way: 256 cost a tenth more CPU, all of them a quarter more.
const SHARE: usize = 1024;

/// The multishot accept.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Accept {
    Off,
    Armed,
    Cancelling,
}

struct Connection {
    socket: OwnedFd,
    /// Behind what is being sent.
    queue: VecDeque<Buffer>,
    /// How much of what is in flight has been sent, if something is.
    sending: Option<usize>,
    /// The length of what is being sent.
    in_flight: usize,
    /// Operations on the socket that have not completed; it stays open for them.
    operations: u8,
    phase: Phase,
    /// Something long has come lately: receives are armed one by one, of so many more at least.
    long: u8,
    /// The multishot receive was asked to end for the sake of that.
    ends_multishot: bool,
    /// The stream's end or a failure has been received: there will be no receive again.
    ended: bool,
    /// Sending failed: nothing is sent any more, and the end of the stream is told as this.
    failure: Option<io::Error>,
    /// The socket is known to hold bytes.
    unread: bool,
    /// The `take` in which bytes came last, and how many in that one.
    taken_in: u32,
    taken: usize,
    /// Bytes received since it was to be closed.
    discarded: u64,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// To be closed when the queue has been written.
    Flushing,
    /// Our side is shut down; waits for the peer's end.
    Lingering,
    /// Waits for its last operation.
    Closing,
}

// Ten thousand slaves are mostly idle.
const _: () = assert!(size_of::<Connection>() <= 128);

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            sending: None,
            in_flight: 0,
            operations: 0,
            phase: Phase::Open,
            long: 0,
            ends_multishot: false,
            ended: false,
            failure: None,
            unread: false,
            taken_in: 0,
            taken: 0,
            discarded: 0,
        }
    }

    /// What is sent next, taken out of the queue.
    fn next_parts(&mut self) -> Option<Parts> {
        match gathered(self.queue.iter()) {
            0 | 1 => self.queue.pop_front().map(Parts::One),
            count => Some(Parts::many(self.queue.drain(..count).collect())),
        }
    }
}

impl RingEngine {
    pub(super) fn new(uring: Uring, listener: TcpListener) -> io::Result<Self> {
        // A non-blocking socket would make the ring report EAGAIN where it should wait.
        listener.set_nonblocking(false)?;
        let mut engine = Self {
            uring,
            address: listener.local_addr()?,
            listener,
            accepting: true,
            accept: Accept::Off,
            connections: Slots::new(),
            deadlines: Deadlines::default(),
            starved: VecDeque::new(),
            unstarted: Vec::new(),
            receive_queue_bytes_max: socket::receive_queue_bytes_max(),
            take: Take::default(),
        };
        engine.arm_accept();
        Ok(engine)
    }

    // Accepting.

    fn arm_accept(&mut self) {
        if self.accepting && self.accept == Accept::Off {
            self.uring.accept(self.listener.as_fd());
            self.accept = Accept::Armed;
            self.take.armed = true;
        }
    }

    fn on_accepted(&mut self, result: io::Result<OwnedFd>, more: bool, handler: &mut dyn Handler) {
        if !more {
            self.accept = Accept::Off;
        }
        match result {
            Ok(socket) => self.on_accept(socket, handler),
            Err(error) if self.is_transient(&error) || socket::only_this_peer(&error) => {}
            Err(error) => {
                self.accepting = false;
                handler.on_accept_error(error);
            }
        }
        self.arm_accept();
    }

    fn is_transient(&self, error: &io::Error) -> bool {
        matches!(
            Errno::from_io_error(error),
            Some(Errno::AGAIN | Errno::INTR | Errno::CANCELED)
        )
    }

    fn on_accept(&mut self, socket: OwnedFd, handler: &mut dyn Handler) {
        // A peer that is gone again has no address, and is of no interest.
        let Some(peer) = peer_of(&socket) else {
            return;
        };
        let conn = self.connections.insert(Connection::new(socket));
        self.arm_receive(conn);
        handler.on_accept(conn, peer);
    }

    // Taking.

    /// Takes all completions there are, and says how many.
    fn reap(&mut self, handler: &mut dyn Handler) -> usize {
        let mut count = 0;
        while let Some(completion) = self.uring.next() {
            count += 1;
            match completion {
                Completion::Received {
                    conn,
                    result,
                    more,
                    unread,
                } => self.on_received(conn, result, more, unread, handler),
                Completion::Filled {
                    conn,
                    block,
                    result,
                    unread,
                } => self.on_block(conn, block, result, unread, handler),
                Completion::Sent {
                    conn,
                    parts,
                    result,
                } => self.on_sent(conn, parts, result, handler),
                Completion::Accepted { result, more } => self.on_accepted(result, more, handler),
                Completion::Cancelled {
                    conn: Some(conn),
                    result,
                } => self.on_cancelled(conn, result),
                Completion::Cancelled { conn: None, .. } => {}
            }
        }
        count
    }
}

fn peer_of(socket: &OwnedFd) -> Option<SocketAddr> {
    let peer = getpeername(socket).ok()??;
    SocketAddr::try_from(peer).ok().map(socket::canonical)
}

impl Engine for RingEngine {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.uring.as_fd()
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    // Whatever had arrived when it was called is in one of four places: among the completions; held back by the kernel until
    // we enter it; in a socket whose receive is queued here or starved; or behind bytes of the same socket, when its receive
    // was interrupted for the sake of others. Each round empties the first, and the second or (where work is deferred) some
    // of it, and pushes the others on.
    fn take(&mut self, now: Instant, want: Want, handler: &mut dyn Handler) -> io::Result<bool> {
        self.uring.stop_listening();
        self.close_overdue(now);
        self.begin_take();
        let enough = match want {
            Want::All => usize::MAX,
            Want::Share => SHARE,
        };
        let rounds_max = self.uring.rounds();
        let (mut taken, mut rounds, mut idle_rounds) = (0, 0, 0);
        loop {
            if self.uring.held_back() || self.uring.queued() {
                self.take.armed = false;
                self.uring.enter()?;
            }
            let reaped = self.reap(handler);
            taken += reaped;
            rounds += 1;
            idle_rounds = if reaped == 0 { idle_rounds + 1 } else { 0 };
            let over = self.take.bytes >= TAKE_BYTES_MAX || taken >= enough;
            if over && self.starved_were_heard() {
                return Ok(false);
            }
            self.rearm_starved(handler);
            let held_back = self.uring.held_back()
                && rounds < rounds_max
                && idle_rounds < self.uring.idle_rounds();
            let incomplete = self.take.armed
                || self.take.unread > 0
                || self.uring.overflown()
                || (held_back && self.uring.is_deferred());
            if !incomplete {
                return Ok(true);
            }
            if reaped == 0 && !self.take.armed && !held_back {
                // The kernel has nothing, whatever it said of unread bytes.
                return Ok(!self.uring.queued());
            }
        }
    }

    fn send(&mut self, conn: ConnId, buffer: Vec<u8>) {
        self.queue(conn, Buffer::Own(buffer));
    }

    fn send_shared(&mut self, conn: ConnId, bytes: Bytes) {
        self.queue(conn, Buffer::Shared(bytes));
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        match how {
            Close::Now => self.close_now(conn),
            Close::Flushed { .. } if connection.phase != Phase::Open => {}
            Close::Flushed { .. } if connection.failure.is_some() => self.close_now(conn),
            Close::Flushed { by } => {
                self.deadlines.add(by, conn);
                connection.phase = Phase::Flushing;
                if connection.sending.is_none() && connection.queue.is_empty() {
                    self.linger(conn);
                }
            }
        }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<ConnId> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let conn = self.connections.insert(Connection::new(stream.into()));
        self.arm_receive(conn);
        Ok(conn)
    }

    fn set_accepting(&mut self, on: bool) {
        self.accepting = on;
        if on {
            self.arm_accept();
        } else if self.accept == Accept::Armed {
            self.uring.cancel_accept();
            self.accept = Accept::Cancelling;
        }
    }

    fn submit(&mut self) -> io::Result<bool> {
        for conn in std::mem::take(&mut self.unstarted) {
            self.start_next(conn);
        }
        if self.uring.queued() {
            self.take.armed = false;
            self.uring.enter()?;
        }
        if self.uring.completed() || self.uring.queued() || !self.starved.is_empty() {
            return Ok(true);
        }
        if !self.uring.is_deferred() {
            return Ok(self.uring.held_back());
        }
        // Whatever comes from here on rings.
        self.uring.listen();
        for _ in 0..self.uring.idle_rounds() {
            if self.uring.completed() || !self.uring.held_back() {
                break;
            }
            self.uring.enter()?;
        }
        Ok(self.uring.completed())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn unsent_bytes(&self) -> u64 {
        let open = self
            .connections
            .values()
            .filter(|connection| connection.phase == Phase::Open && connection.failure.is_none());
        open.map(|connection| {
            let queued: usize = connection.queue.iter().map(|buffer| buffer.len()).sum();
            (queued + connection.in_flight) as u64
        })
        .sum()
    }

    fn connections(&self) -> usize {
        self.connections.len()
    }
}

#[cfg(test)]
mod tests {
    use super::uring::Work;
    use super::*;
    use crate::io::engine::{Closed, listen};
    use std::io::{Read, Write};
    use std::time::Duration;

    #[derive(Default)]
    struct Echo {
        effects: Vec<(ConnId, Vec<u8>)>,
        closed: Vec<ConnId>,
        sent: usize,
        received: usize,
    }

    impl Handler for Echo {
        fn on_accept(&mut self, _: ConnId, _: SocketAddr) {}
        fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
            self.received += bytes.len();
            self.effects.push((conn, bytes.to_vec()));
        }
        fn on_sent(&mut self, _: ConnId, buffer: Vec<u8>, _: bool) {
            self.sent += buffer.len();
        }
        fn on_closed(&mut self, conn: ConnId, why: Closed) {
            assert!(matches!(why, Closed::Eof));
            self.closed.push(conn);
        }
        fn on_accept_error(&mut self, error: io::Error) {
            panic!("{error}");
        }
    }

    /// Nothing is lost when every queue is too small: submissions wait, completions overflow and end multishot operations,
    /// receives find no buffer.
    #[test]
    #[ignore = "needs io_uring of Linux 6.1: `.ci/run machine` runs it"]
    fn the_smallest_ring_serves_everyone() {
        for work in [Work::Deferred, Work::Cooperative] {
            for want in [Want::All, Want::Share] {
                serves_everyone(work, want);
            }
        }
    }

    fn serves_everyone(work: Work, want: Want) {
        const CLIENTS: usize = 60;
        const BYTES: usize = 50_000;
        let uring = Uring::with(2, 4, work).expect("io_uring of Linux 6.1");
        let listener = listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let mut engine = RingEngine::new(uring, listener).unwrap();
        let address = engine.local_addr();
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|_| TcpStream::connect(address).unwrap())
            .collect();
        for (index, client) in clients.iter_mut().enumerate() {
            client
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            client.write_all(&[index as u8; BYTES]).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let mut echo = Echo::default();
        let end = Instant::now() + Duration::from_secs(20);
        while echo.sent < CLIENTS * BYTES || echo.closed.len() < CLIENTS {
            assert!(Instant::now() < end, "{} bytes came back", echo.sent);
            engine.take(Instant::now(), want, &mut echo).unwrap();
            for (conn, bytes) in echo.effects.drain(..) {
                engine.send(conn, bytes);
            }
            engine.submit().unwrap();
        }
        assert_eq!(echo.received, CLIENTS * BYTES);
        for conn in echo.closed.drain(..) {
            engine.close(conn, Close::Now);
        }
        while engine.connections() > 0 {
            assert!(Instant::now() < end);
            engine.submit().unwrap();
            engine.take(Instant::now(), want, &mut echo).unwrap();
        }
        assert_eq!(engine.take.unread, 0);
        for (index, client) in clients.iter_mut().enumerate() {
            let mut got = Vec::new();
            client.read_to_end(&mut got).unwrap();
            assert!(got == [index as u8; BYTES]);
        }
    }
}
