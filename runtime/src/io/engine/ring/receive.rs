//! What arrives: receives are armed, fill buffers, starve for want of them, and end.

use std::io;
use std::os::fd::AsFd;

use rustix::io::Errno;

use crate::io::engine::ring::buffers::Filled;
use crate::io::engine::ring::{Connection, Phase, RingEngine};
use crate::io::engine::{Closed, ConnId, DISCARD_BYTES_MAX, Handler, LONG_FOR};

/// The account of one `take`.
#[derive(Default)]
pub(super) struct Take {
    /// Tells this `take` from the last.
    pub(super) number: u32,
    pub(super) bytes: usize,
    /// Connections whose `unread` is set.
    pub(super) unread: usize,
    /// A receive or accept was queued and not submitted: what it finds may have arrived long ago.
    pub(super) armed: bool,
}

impl RingEngine {
    pub(super) fn arm_receive(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("it is open");
        self.uring.receive(conn, connection.socket.as_fd());
        connection.operations += 1;
        self.take.armed = true;
    }

    pub(super) fn on_received(
        &mut self,
        conn: ConnId,
        result: io::Result<Option<Filled>>,
        more: bool,
        unread: bool,
        handler: &mut dyn Handler,
    ) {
        let Some(connection) = self.connections.get_mut(conn) else {
            unreachable!("a slot is kept for its last completion");
        };
        if !more {
            connection.operations -= 1;
        }
        match result {
            Ok(Some(filled)) => {
                let goes_on = self.on_filled(conn, &filled, unread, handler);
                let was_full = self.uring.is_full(&filled);
                self.uring.recycle(filled);
                if goes_on {
                    self.follow_length(conn, was_full, more, handler);
                }
                if goes_on && !more {
                    self.arm_next(conn, handler);
                }
            }
            Ok(None) => self.on_receive_end(conn, Closed::Eof, handler),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::NOBUFS) => self.on_starved(conn),
                Some(Errno::AGAIN | Errno::INTR) if connection.phase != Phase::Closing => {
                    self.arm_next(conn, handler);
                }
                // The multishot receive has ended as it was asked to, or the one that took its place with it.
                Some(Errno::CANCELED) if connection.phase != Phase::Closing => {
                    connection.ends_multishot = false;
                    self.arm_next(conn, handler);
                }
                _ => self.on_receive_end(conn, Closed::Error(error), handler),
            },
        }
        self.free_if_done(conn);
    }

    /// A receive into a block that was lent.
    pub(super) fn on_block(
        &mut self,
        conn: ConnId,
        block: Vec<u8>,
        result: io::Result<usize>,
        unread: bool,
        handler: &mut dyn Handler,
    ) {
        let connection = self.connections.get_mut(conn);
        let connection = connection.expect("a slot is kept for its last completion");
        connection.operations -= 1;
        let came = match result {
            Ok(0) => {
                self.on_receive_end(conn, Closed::Eof, handler);
                return self.free_if_done(conn);
            }
            Ok(came) => came,
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) if connection.phase != Phase::Closing => 0,
                _ => {
                    self.on_receive_end(conn, Closed::Error(error), handler);
                    return self.free_if_done(conn);
                }
            },
        };
        if self.account(conn, came, unread) {
            if self.is_open(conn) {
                handler.on_block(conn, block, came);
            }
            self.arm_next(conn, handler);
        }
        self.free_if_done(conn);
    }

    fn is_open(&self, conn: ConnId) -> bool {
        self.connections
            .get(conn)
            .is_some_and(|connection| connection.phase == Phase::Open)
    }

    /// Something long has begun, or what came was short.
    fn follow_length(
        &mut self,
        conn: ConnId,
        was_full: bool,
        more: bool,
        handler: &mut dyn Handler,
    ) {
        let connection = self.connections.get_mut(conn).expect("checked");
        if !was_full || connection.phase != Phase::Open || !handler.is_long(conn) {
            connection.long = connection.long.saturating_sub(1);
            return;
        }
        connection.long = LONG_FOR;
        if more && !std::mem::replace(&mut connection.ends_multishot, true) {
            self.uring.cancel_receive(conn);
        }
    }

    /// The next receive of a connection that has none: into a block if one is lent, else into shared buffers.
    fn arm_next(&mut self, conn: ConnId, handler: &mut dyn Handler) {
        let connection = self.connections.get_mut(conn).expect("it is open");
        if connection.long == 0 {
            return self.arm_receive(conn);
        }
        let block = match connection.phase {
            Phase::Open => handler.lend(conn),
            _ => None,
        };
        let socket = connection.socket.as_fd();
        match block {
            Some(block) => self.uring.receive_into(conn, socket, block),
            None => self.uring.receive_once(conn, socket),
        }
        connection.operations += 1;
        // One that has given all that had arrived before does not hold the others up.
        self.take.armed |= connection.taken_in != self.take.number
            || connection.taken < self.receive_queue_bytes_max;
    }

    /// False if nothing more is to be received.
    #[inline]
    fn on_filled(
        &mut self,
        conn: ConnId,
        filled: &Filled,
        unread: bool,
        handler: &mut dyn Handler,
    ) -> bool {
        let goes_on = self.account(conn, filled.len(), unread);
        if goes_on && self.is_open(conn) {
            handler.on_bytes(conn, self.uring.bytes(filled));
        }
        goes_on
    }

    /// So many bytes have come. False if nothing more is to be received.
    #[inline]
    fn account(&mut self, conn: ConnId, bytes: usize, unread: bool) -> bool {
        let connection = self.connections.get_mut(conn).expect("checked");
        self.take.bytes += bytes;
        if connection.taken_in != self.take.number {
            connection.taken_in = self.take.number;
            connection.taken = 0;
        }
        connection.taken += bytes;
        // One that has given more than a socket holds has given all that had arrived before.
        let unread = unread
            && connection.phase != Phase::Closing
            && connection.taken < self.receive_queue_bytes_max;
        set_unread(&mut self.take, connection, unread);
        match connection.phase {
            Phase::Open => true,
            Phase::Flushing | Phase::Lingering => {
                connection.discarded += bytes as u64;
                let within = connection.discarded <= DISCARD_BYTES_MAX;
                if !within {
                    self.close_now(conn);
                }
                within
            }
            Phase::Closing => false,
        }
    }

    fn on_starved(&mut self, conn: ConnId) {
        let connection = self.connections.get_mut(conn).expect("checked");
        if connection.phase == Phase::Closing {
            return;
        }
        let owes = connection.taken_in != self.take.number
            || connection.taken < self.receive_queue_bytes_max;
        set_unread(&mut self.take, connection, owes);
        self.starved.push_back(conn);
    }

    fn on_receive_end(&mut self, conn: ConnId, why: Closed, handler: &mut dyn Handler) {
        let connection = self.connections.get_mut(conn).expect("checked");
        set_unread(&mut self.take, connection, false);
        connection.ended = true;
        match connection.phase {
            Phase::Open => {
                let why = match (connection.failure.take(), why) {
                    (Some(earlier), _) => Closed::Error(earlier),
                    (None, why) => why,
                };
                if let Closed::Error(error) = &why {
                    let same = io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(0));
                    self.fail_sending(conn, same);
                }
                handler.on_closed(conn, why);
            }
            Phase::Flushing if matches!(why, Closed::Eof) => {}
            Phase::Flushing | Phase::Lingering => self.close_now(conn),
            Phase::Closing => {}
        }
    }

    /// Arms those that found no buffer, the longest waiting first; the buffers have been given back.
    pub(super) fn rearm_starved(&mut self, handler: &mut dyn Handler) {
        for _ in 0..self.uring.buffers() {
            let Some(conn) = self.starved.pop_front() else {
                return;
            };
            let waits = |connection: &Connection| connection.phase != Phase::Closing;
            if self.connections.get(conn).is_some_and(waits) {
                self.arm_next(conn, handler);
            }
        }
    }

    pub(super) fn begin_take(&mut self) {
        self.take.number = self.take.number.wrapping_add(1);
        self.take.bytes = 0;
        // One that had given its share in the last `take` owes again.
        for conn in &self.starved {
            if let Some(connection) = self.connections.get_mut(*conn) {
                let waits = connection.phase != Phase::Closing;
                set_unread(&mut self.take, connection, waits);
            }
        }
    }

    /// Whether each connection that waits for a buffer has had one in this `take`.
    pub(super) fn starved_were_heard(&self) -> bool {
        self.starved.iter().all(|conn| {
            let heard = |connection: &Connection| connection.taken_in == self.take.number;
            self.connections.get(*conn).is_none_or(heard)
        })
    }
}

pub(super) fn set_unread(take: &mut Take, connection: &mut Connection, unread: bool) {
    match (connection.unread, unread) {
        (false, true) => take.unread += 1,
        (true, false) => take.unread -= 1,
        _ => {}
    }
    connection.unread = unread;
}
