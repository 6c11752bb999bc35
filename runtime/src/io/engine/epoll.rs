//! The engine on epoll, for systems that refuse io_uring.
//!
//! Level-triggered: what is left unread is reported again, so nothing has to be remembered, and the descriptor is readable
//! from outside for as long as it matters. A connection is registered for what it waits for and no more: a stream that has
//! ended would be reported for ever.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use bytes::Bytes;
use ringmw_codec::frame::Block;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, acceptfrom_with, recv, send,
    sendmsg, shutdown,
};

use super::slots::{Deadlines, Slots};
use super::{
    Buffer, Close, Closed, ConnId, DISCARD_BYTES_MAX, Engine, Handler, LONG_FOR, PARTS_MAX,
    TAKE_BYTES_MAX, Want, gathered, socket,
};

/// One buffer for all, in the second-level cache.
const READ_BYTES: usize = 256 << 10;
/// As much is read of what may begin a long frame.
const HEAD_BYTES: usize = 8 << 10;
/// Events taken at a time.
const EVENTS_MAX: usize = 1024;
/// How many peers are accepted before others are read.
const ACCEPTS_MAX: usize = 1024;
const LISTENER: u64 = u64::MAX;

pub(super) struct EpollEngine {
    epoll: OwnedFd,
    listener: TcpListener,
    address: SocketAddr,
    accepting: bool,
    connections: Slots<Connection>,
    deadlines: Deadlines,
    /// Connections with something to write that has not been tried.
    unwritten: Vec<ConnId>,
    /// Told at the next `take`: a buffer written by `submit`, and whether it was the last.
    written: Vec<(ConnId, Buffer, bool)>,
    events: Vec<Event>,
    buffer: Box<[u8]>,
    receive_queue_bytes_max: usize,
    take: Take,
}

/// The account of one `take`.
#[derive(Default)]
struct Take {
    number: u32,
    bytes: usize,
    /// In this round, a connection was left with bytes unread that it owed.
    incomplete: bool,
}

struct Connection {
    socket: OwnedFd,
    queue: VecDeque<Buffer>,
    /// How much of the first buffer has been written.
    written: usize,
    phase: Phase,
    /// What it is registered for; empty is not at all.
    interest: EventFlags,
    /// The socket took no more: waits until it is writable.
    blocked: bool,
    /// It is in `unwritten`.
    listed: bool,
    /// The stream's end or a failure has been read.
    ended: bool,
    /// Writing failed: nothing is written any more, and the end of the stream is told as this.
    failure: Option<io::Error>,
    taken_in: u32,
    taken: usize,
    discarded: u64,
    /// Something long has come lately: so many more reads are short where none is lent memory.
    long: u8,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Phase {
    Open,
    /// To be closed when the queue has been written.
    Flushing,
    /// Our side is shut down; waits for the peer's end.
    Lingering,
}

enum Read {
    /// This many bytes; the socket was emptied.
    Emptied(usize),
    Full(usize),
    Nothing,
    End(Closed),
}

// Ten thousand slaves are mostly idle.
const _: () = assert!(size_of::<Connection>() <= 128);

impl Read {
    fn of(result: Result<usize, Errno>, room: usize) -> Self {
        match result {
            Ok(0) => Read::End(Closed::Eof),
            Ok(count) if count < room => Read::Emptied(count),
            Ok(count) => Read::Full(count),
            Err(Errno::AGAIN) => Read::Nothing,
            Err(errno) => Read::End(Closed::Error(errno.into())),
        }
    }
}

impl Connection {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            written: 0,
            phase: Phase::Open,
            interest: EventFlags::empty(),
            blocked: false,
            listed: false,
            ended: false,
            failure: None,
            taken_in: 0,
            taken: 0,
            discarded: 0,
            long: 0,
        }
    }

    fn read(&self, buffer: &mut [u8]) -> Read {
        loop {
            let room = buffer.len();
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Err(Errno::INTR) => {}
                result => return Read::of(result.map(|(_, count)| count), room),
            }
        }
    }

    /// Reads into a block.
    fn fill(&self, block: &mut Block) -> Read {
        let Block { bytes, until } = block;
        let room = *until - bytes.len();
        loop {
            let free = &mut bytes.spare_capacity_mut()[..room];
            let result = match recv(&self.socket, free, RecvFlags::empty()) {
                Err(Errno::INTR) => continue,
                result => result.map(|(_, count)| count),
            };
            if let Ok(count) = result {
                // SAFETY: so many bytes were written behind those that were there.
                unsafe { bytes.set_len(bytes.len() + count) };
            }
            return Read::of(result, room);
        }
    }

    /// Writes what the socket takes; gives the buffers that were written whole.
    fn write(&mut self, mut done: impl FnMut(Buffer, bool)) -> io::Result<()> {
        self.blocked = false;
        while let Some(first) = self.queue.front() {
            let parts = gathered(self.queue.iter());
            let mut flags = SendFlags::NOSIGNAL;
            // A short head or end of what is long does not travel alone.
            flags.set(SendFlags::MORE, self.queue.len() > parts);
            let first = &first[self.written..];
            let sent = match parts {
                0 | 1 => send(&self.socket, first, flags),
                _ => {
                    let mut slices = [IoSlice::new(&[]); PARTS_MAX];
                    slices[0] = IoSlice::new(first);
                    let others = self.queue.iter().take(parts).skip(1);
                    for (slice, buffer) in slices[1..].iter_mut().zip(others) {
                        *slice = IoSlice::new(buffer);
                    }
                    let mut no_ancillary = SendAncillaryBuffer::default();
                    sendmsg(&self.socket, &slices[..parts], &mut no_ancillary, flags)
                }
            };
            match sent {
                Ok(count) => {
                    self.written += count;
                    while let Some(first) = self.queue.front()
                        && self.written >= first.len()
                    {
                        self.written -= first.len();
                        let buffer = self.queue.pop_front().expect("it is there");
                        done(buffer, self.queue.is_empty());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Registers for what it now waits for.
    fn register(&mut self, epoll: BorrowedFd<'_>, conn: ConnId) -> io::Result<()> {
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN | EventFlags::RDHUP, !self.ended);
        wanted.set(EventFlags::OUT, self.blocked);
        if wanted == self.interest {
            return Ok(());
        }
        let data = EventData::new_u64(conn.to_bits());
        match (self.interest.is_empty(), wanted.is_empty()) {
            (true, _) => epoll::add(epoll, &self.socket, data, wanted)?,
            (false, true) => epoll::delete(epoll, &self.socket)?,
            (false, false) => epoll::modify(epoll, &self.socket, data, wanted)?,
        }
        self.interest = wanted;
        Ok(())
    }
}

impl EpollEngine {
    pub(super) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let engine = Self {
            epoll,
            address: listener.local_addr()?,
            listener,
            accepting: true,
            connections: Slots::new(),
            deadlines: Deadlines::default(),
            unwritten: Vec::new(),
            written: Vec::new(),
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; READ_BYTES].into(),
            receive_queue_bytes_max: socket::receive_queue_bytes_max(),
            take: Take::default(),
        };
        epoll::add(
            &engine.epoll,
            &engine.listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(engine)
    }

    // Accepting.

    fn on_acceptable(&mut self, handler: &mut dyn Handler) {
        for _ in 0..ACCEPTS_MAX {
            if !self.accepting {
                return;
            }
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match acceptfrom_with(&self.listener, flags) {
                Ok((socket, peer)) => {
                    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
                    if let Err(error) = self.on_accept(socket, peer, handler) {
                        self.on_accept_error(error, handler);
                    }
                }
                Err(Errno::AGAIN) => return,
                Err(errno) => {
                    let error = io::Error::from(errno);
                    if !socket::only_this_peer(&error) {
                        self.on_accept_error(error, handler);
                    }
                }
            }
        }
        self.take.incomplete = true;
    }

    fn on_accept(
        &mut self,
        socket: OwnedFd,
        peer: Option<SocketAddr>,
        handler: &mut dyn Handler,
    ) -> io::Result<()> {
        let Some(peer) = peer else {
            return Ok(());
        };
        let conn = self.insert(socket)?;
        handler.on_accept(conn, socket::canonical(peer));
        // Whoever connects speaks first, and has mostly done so already.
        self.on_readable(conn, handler);
        Ok(())
    }

    fn on_accept_error(&mut self, error: io::Error, handler: &mut dyn Handler) {
        self.set_accepting(false);
        handler.on_accept_error(error);
    }

    fn insert(&mut self, socket: OwnedFd) -> io::Result<ConnId> {
        let conn = self.connections.insert(Connection::new(socket));
        let connection = self.connections.get_mut(conn).expect("just inserted");
        let registered = connection.register(self.epoll.as_fd(), conn);
        if let Err(error) = registered {
            self.connections.remove(conn);
            return Err(error);
        }
        Ok(conn)
    }

    // Reading.

    /// Reads one connection's share: others may wait.
    fn on_readable(&mut self, conn: ConnId, handler: &mut dyn Handler) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if connection.ended {
            return;
        }
        let is_open = connection.phase == Phase::Open;
        let mut block = match is_open && connection.long > 0 {
            true => handler.lend(conn),
            false => None,
        };
        let read = match &mut block {
            Some(block) => connection.fill(block),
            // A frame's head is read by itself, and what follows into its own memory.
            None if connection.long > 0 => connection.read(&mut self.buffer[..HEAD_BYTES]),
            None => connection.read(&mut self.buffer),
        };
        let (count, emptied) = match read {
            Read::Nothing => {
                if let Some(block) = block {
                    handler.on_block(conn, block.bytes, 0);
                }
                return;
            }
            Read::End(why) => return self.on_read_end(conn, why, handler),
            Read::Emptied(count) => (count, true),
            Read::Full(count) => (count, false),
        };
        self.take.bytes += count;
        if connection.taken_in != self.take.number {
            connection.taken_in = self.take.number;
            connection.taken = 0;
        }
        connection.taken += count;
        // One that has given more than a socket holds has given all that had arrived before.
        self.take.incomplete |= !emptied && connection.taken < self.receive_queue_bytes_max;
        if let Some(block) = block {
            handler.on_block(conn, block.bytes, count);
        } else if is_open {
            connection.long = connection.long.saturating_sub(1);
            handler.on_bytes(conn, &self.buffer[..count]);
            if count >= HEAD_BYTES && handler.is_long(conn) {
                // The owner does not close a connection while it is told of it.
                let connection = self.connections.get_mut(conn).expect("checked");
                connection.long = LONG_FOR;
            }
        } else {
            connection.discarded += count as u64;
            if connection.discarded > DISCARD_BYTES_MAX {
                self.connections.remove(conn);
            }
        }
    }

    fn on_read_end(&mut self, conn: ConnId, why: Closed, handler: &mut dyn Handler) {
        let connection = self.connections.get_mut(conn).expect("checked");
        connection.ended = true;
        match connection.phase {
            Phase::Open => {
                let why = match (connection.failure.take(), why) {
                    (Some(earlier), _) => Closed::Error(earlier),
                    (None, why) => why,
                };
                if let Closed::Error(error) = &why {
                    let same = io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0));
                    self.fail_writing(conn, same);
                }
                self.register(conn);
                handler.on_closed(conn, why);
            }
            Phase::Flushing if matches!(why, Closed::Eof) => self.register(conn),
            Phase::Flushing | Phase::Lingering => drop(self.connections.remove(conn)),
        }
    }

    fn register(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("checked");
        // Changing a registration cannot fail; ending one frees memory.
        let registered = connection.register(self.epoll.as_fd(), conn);
        debug_assert!(registered.is_ok(), "{registered:?}");
    }

    // Writing.

    fn queue(&mut self, conn: ConnId, buffer: Buffer) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if connection.phase != Phase::Open || connection.failure.is_some() || buffer.is_empty() {
            return;
        }
        connection.queue.push_back(buffer);
        if !connection.listed && !connection.blocked {
            connection.listed = true;
            self.unwritten.push(conn);
        }
    }

    /// Writes what the socket takes, and says of each buffer that was written whole.
    fn write(&mut self, conn: ConnId, mut done: impl FnMut(Buffer, bool)) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        connection.listed = false;
        let open = connection.phase == Phase::Open;
        let result = connection.write(|buffer, drained| {
            if open {
                done(buffer, drained);
            }
        });
        let blocked = connection.blocked;
        match result {
            Err(error) => self.fail_writing(conn, error),
            Ok(()) if !open && !blocked => return self.linger(conn),
            Ok(()) => {}
        }
        if self.connections.get(conn).is_some() {
            self.register(conn);
        }
    }

    /// Stops writing for good. What the peer has sent is still read; the shutdown makes sure that this ends.
    fn fail_writing(&mut self, conn: ConnId, error: io::Error) {
        let connection = self.connections.get_mut(conn).expect("checked");
        connection.failure.get_or_insert(error);
        connection.queue = VecDeque::new();
        connection.written = 0;
        connection.blocked = false;
        if connection.phase == Phase::Open {
            // It fails if the peer has reset the connection: then there is nothing to do.
            let _ = shutdown(&connection.socket, Shutdown::Both);
        } else {
            self.connections.remove(conn);
        }
    }

    /// The queue has been written: ends our side, and waits for the peer's.
    fn linger(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("checked");
        connection.phase = Phase::Lingering;
        let shut = shutdown(&connection.socket, Shutdown::Write);
        if shut.is_err() || connection.ended {
            self.connections.remove(conn);
        } else {
            self.register(conn);
        }
    }

    // Taking.

    fn on_event(&mut self, event: Event, handler: &mut dyn Handler) {
        let (flags, data) = (event.flags, event.data.u64());
        if data == LISTENER {
            return self.on_acceptable(handler);
        }
        let conn = ConnId::from_bits(data);
        let failed = EventFlags::HUP | EventFlags::ERR;
        let ends = EventFlags::RDHUP | failed;
        if flags.intersects(EventFlags::IN | ends) {
            self.on_readable(conn, handler);
        }
        // The end comes behind the bytes. Nothing would announce it again to one who watches us edge-triggered.
        let unended = |connection: &Connection| !connection.ended;
        if flags.intersects(ends) && self.connections.get(conn).is_some_and(unended) {
            self.take.incomplete = true;
        }
        if flags.intersects(EventFlags::OUT | failed) {
            self.write(conn, |buffer, drained| {
                buffer.told(conn, drained, handler);
            });
        }
    }

    fn poll(&mut self) -> io::Result<usize> {
        const AT_ONCE: Timespec = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        self.events.clear();
        loop {
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut self.events),
                Some(&AT_ONCE),
            ) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn close_overdue(&mut self, now: Instant) {
        while let Some(conn) = self.deadlines.pop_due(now) {
            self.connections.remove(conn);
        }
    }
}

impl Engine for EpollEngine {
    fn name(&self) -> &'static str {
        "epoll"
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    fn take(&mut self, now: Instant, _: Want, handler: &mut dyn Handler) -> io::Result<bool> {
        self.close_overdue(now);
        for (conn, buffer, drained) in std::mem::take(&mut self.written) {
            if self
                .connections
                .get(conn)
                .is_some_and(|it| it.phase == Phase::Open)
            {
                buffer.told(conn, drained, handler);
            }
        }
        self.take = Take {
            number: self.take.number.wrapping_add(1),
            ..Take::default()
        };
        loop {
            self.take.incomplete = false;
            let count = self.poll()?;
            for index in 0..count {
                self.on_event(self.events[index], handler);
            }
            let all_were_heard = count < EVENTS_MAX;
            if all_were_heard && !self.take.incomplete {
                return Ok(true);
            }
            if all_were_heard && self.take.bytes >= TAKE_BYTES_MAX {
                return Ok(false);
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
            Close::Now => drop(self.connections.remove(conn)),
            Close::Flushed { .. } if connection.phase != Phase::Open => {}
            Close::Flushed { .. } if connection.failure.is_some() => {
                self.connections.remove(conn);
            }
            Close::Flushed { by } => {
                self.deadlines.add(by, conn);
                connection.phase = Phase::Flushing;
                if connection.queue.is_empty() {
                    self.linger(conn);
                }
            }
        }
    }

    fn adopt(&mut self, stream: TcpStream) -> io::Result<ConnId> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        self.insert(stream.into())
    }

    fn set_accepting(&mut self, on: bool) {
        self.accepting = on;
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, on);
        let data = EventData::new_u64(LISTENER);
        let modified = epoll::modify(&self.epoll, &self.listener, data, wanted);
        debug_assert!(modified.is_ok(), "{modified:?}");
    }

    fn submit(&mut self) -> io::Result<bool> {
        for conn in std::mem::take(&mut self.unwritten) {
            let mut written = std::mem::take(&mut self.written);
            self.write(conn, |buffer, drained| {
                written.push((conn, buffer, drained));
            });
            self.written = written;
        }
        Ok(!self.written.is_empty())
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    fn unsent_bytes(&self) -> u64 {
        let queued = self
            .connections
            .values()
            .filter(|connection| connection.phase == Phase::Open)
            .flat_map(|connection| &connection.queue);
        let is_open = |connection: &Connection| connection.phase == Phase::Open;
        let written = self
            .written
            .iter()
            .filter(|(conn, ..)| self.connections.get(*conn).is_some_and(is_open))
            .map(|(_, buffer, _)| buffer);
        queued
            .chain(written)
            .map(|buffer| buffer.len() as u64)
            .sum()
    }

    fn connections(&self) -> usize {
        self.connections.len()
    }
}
