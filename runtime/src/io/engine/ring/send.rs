//! What leaves, and how a connection closes: at once, or when its queue is written and the peer has ended too.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};

use crate::io::engine::ring::parts::Parts;
use crate::io::engine::ring::receive::set_unread;
use crate::io::engine::ring::{Connection, Phase, RingEngine};
use crate::io::engine::{Buffer, ConnId, Handler};

impl RingEngine {
    pub(super) fn queue(&mut self, conn: ConnId, buffer: Buffer) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if connection.phase != Phase::Open || connection.failure.is_some() || buffer.is_empty() {
            return;
        }
        connection.queue.push_back(buffer);
        if connection.sending.is_none() && connection.queue.len() == 1 {
            self.unstarted.push(conn);
        }
    }

    /// Sends what is next in the queue, if nothing is being sent.
    pub(super) fn start_next(&mut self, conn: ConnId) {
        let Some(connection) = self.connections.get_mut(conn) else {
            return;
        };
        if connection.sending.is_none()
            && let Some(parts) = connection.next_parts()
        {
            self.start_send(conn, parts, 0);
        }
    }

    fn start_send(&mut self, conn: ConnId, parts: Parts, from: usize) {
        let connection = self.connections.get_mut(conn).expect("it is open");
        connection.sending = Some(from);
        connection.in_flight = parts.bytes();
        connection.operations += 1;
        // A short head or end of what is long does not travel alone.
        let more = !connection.queue.is_empty();
        self.uring
            .send(conn, connection.socket.as_fd(), parts, from, more);
    }

    pub(super) fn on_sent(
        &mut self,
        conn: ConnId,
        parts: Parts,
        result: io::Result<usize>,
        handler: &mut dyn Handler,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else {
            unreachable!("a slot is kept for its last completion");
        };
        connection.operations -= 1;
        let before = connection.sending.take().expect("it was sending");
        if connection.phase == Phase::Closing {
            self.free_if_done(conn);
            return;
        }
        if connection.failure.is_some() {
            return;
        }
        match result {
            Ok(0) => self.fail_sending(conn, io::ErrorKind::WriteZero.into()),
            Ok(sent) if before + sent < connection.in_flight => {
                self.start_send(conn, parts, before + sent)
            }
            Ok(_) => self.on_sent_whole(conn, parts, handler),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) => self.start_send(conn, parts, before),
                _ => self.fail_sending(conn, error),
            },
        }
    }

    fn on_sent_whole(&mut self, conn: ConnId, parts: Parts, handler: &mut dyn Handler) {
        let connection = self.connections.get_mut(conn).expect("checked");
        let phase = connection.phase;
        connection.in_flight = 0;
        let next = connection.next_parts();
        let drained = next.is_none();
        if let Some(next) = next {
            self.start_send(conn, next, 0);
        }
        match phase {
            Phase::Open => parts.told(conn, drained, handler),
            _ if drained => self.linger(conn),
            _ => {}
        }
    }

    /// Stops sending for good. What the peer has sent is still received; the shutdown makes sure that this ends.
    pub(super) fn fail_sending(&mut self, conn: ConnId, error: io::Error) {
        let connection = self.connections.get_mut(conn).expect("checked");
        connection.failure.get_or_insert(error);
        connection.queue = VecDeque::new();
        if connection.phase == Phase::Open {
            // It fails if the peer has reset the connection: then there is nothing to do.
            let _ = shutdown(&connection.socket, Shutdown::Both);
        } else {
            self.close_now(conn);
        }
    }

    /// The queue has been written: ends our side, and waits for the peer's.
    pub(super) fn linger(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("checked");
        connection.phase = Phase::Lingering;
        let shut = shutdown(&connection.socket, Shutdown::Write);
        if shut.is_err() || connection.ended {
            self.close_now(conn);
        }
    }

    pub(super) fn close_now(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("checked");
        if connection.phase == Phase::Closing {
            return;
        }
        connection.phase = Phase::Closing;
        connection.queue = VecDeque::new();
        set_unread(&mut self.take, connection, false);
        if connection.operations > 0 {
            connection.operations += 1;
            self.uring.cancel(conn, connection.socket.as_fd());
        } else {
            self.connections.remove(conn);
        }
    }

    pub(super) fn on_cancelled(&mut self, conn: ConnId, result: io::Result<()>) {
        let connection = self
            .connections
            .get_mut(conn)
            .expect("a slot is kept for its last completion");
        connection.operations -= 1;
        let busy = |error| Errno::from_io_error(error) == Some(Errno::ALREADY);
        if result.as_ref().is_err_and(busy) {
            // The operation runs in a kernel thread; this ends it.
            let _ = shutdown(&connection.socket, Shutdown::Both);
        }
        self.free_if_done(conn);
    }

    pub(super) fn free_if_done(&mut self, conn: ConnId) {
        let done = |connection: &Connection| {
            connection.phase == Phase::Closing && connection.operations == 0
        };
        if self.connections.get(conn).is_some_and(done) {
            self.connections.remove(conn);
        }
    }

    pub(super) fn close_overdue(&mut self, now: Instant) {
        while let Some(conn) = self.deadlines.pop_due(now) {
            if self.connections.get(conn).is_some() {
                self.close_now(conn);
            }
        }
    }
}
