//! The network engines: they move bytes between the master and its slaves, and decide nothing.
//!
//! An engine owns one listener, the connections that came of it or were [adopted](Engine::adopt), and one pollable file
//! descriptor. Who speaks on a connection, what the bytes mean, and whom to drop is the business of its owner, which
//! drives it in turns:
//!
//! ```text
//!    take ──> the owner thinks ──> send, close ──> submit ──┬─> park on the descriptor ──┐
//!     ^                                                     │ true: something waits      │
//!     └─────────────────────────────────────────────────────┴────────────────────────────┘
//! ```
//!
//! - `ring` ([`Choice::Ring`]): io_uring with multishot accept and receive and one ring of shared buffers, so that an idle
//!   connection holds no buffer and a system call receives or sends for many. Linux 6.0 or later.
//! - `epoll` ([`Choice::Epoll`]): for the many systems that refuse io_uring.
//!
//! Both give the same events in the same order; `tests/engine` holds them to it.
//!
//! Deliberately absent: frames, limits of memory per peer (the owner knows what it has sent and what came back), time-outs other than that of a closing connection, any clock
//! (`now` is an argument), threads, and async: [`watch`] is all that ties an engine to a runtime.
//!
//! ```
//! use std::{io, net::SocketAddr, time::Instant};
//! use ringmw::internals::engine::{self, Choice, Close, Closed, ConnId, Engine, Handler, Want};
//!
//! /// Sends back what it receives.
//! #[derive(Default)]
//! struct Echo(Vec<(ConnId, Option<Vec<u8>>)>);
//!
//! impl Handler for Echo {
//!     fn on_accept(&mut self, _: ConnId, _: SocketAddr) {}
//!     fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
//!         self.0.push((conn, Some(bytes.to_vec())));
//!     }
//!     fn on_sent(&mut self, _: ConnId, _: Vec<u8>, _: bool) {}
//!     fn on_closed(&mut self, conn: ConnId, _: Closed) {
//!         self.0.push((conn, None));
//!     }
//!     fn on_accept_error(&mut self, error: io::Error) {
//!         eprintln!("not accepting: {error}");
//!     }
//! }
//!
//! fn turn(engine: &mut dyn Engine, echo: &mut Echo) -> io::Result<bool> {
//!     let caught_up = engine.take(Instant::now(), Want::Share, echo)?;
//!     for (conn, effect) in echo.0.drain(..) {
//!         match effect {
//!             Some(bytes) => engine.send(conn, bytes),
//!             None => engine.close(conn, Close::Now),
//!         }
//!     }
//!     Ok(engine.submit()? || !caught_up) // true: take again before parking
//! }
//!
//! let listener = engine::listen("127.0.0.1:0".parse()?)?;
//! let (mut engine, why) = engine::open(Choice::Auto, listener)?;
//! println!("{} on {}: {why}", engine.name(), engine.local_addr());
//! turn(engine.as_mut(), &mut Echo::default())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Deref;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::str::FromStr;
use std::time::Instant;

use bytes::Bytes;
use ringmw_codec::frame::Block;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

mod epoll;
mod fallback;
mod ring;
mod slots;
mod socket;

pub use crate::proto::conn::{Closed, ConnId};
pub use fallback::EngineError;
pub use socket::{listen, raise_nofile};

/// What [`Engine::close`] does with buffers that are still to be written.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// Drops them. What the kernel has already taken may still reach the peer.
    Now,
    /// Writes them, ends the stream, then reads and discards until the peer has ended it too: a socket closed with unread
    /// bytes sends a reset, which can destroy the last frame on its way. Whatever is left at `by`, or when the peer has sent
    /// `DISCARD_BYTES_MAX` more, is dropped.
    Flushed {
        /// The latest time at which the socket is closed.
        by: Instant,
    },
}

/// How many bytes a connection that is being [flushed](Close::Flushed) may still send. It is more than both sockets' buffers
/// hold, so a peer that stops sending when it is told to never gets there.
pub(crate) const DISCARD_BYTES_MAX: u64 = 256 << 20;

/// After how many bytes [`Engine::take`] gives way to the owner, so that timers and new work wait for tens of milliseconds
/// at most.
pub const TAKE_BYTES_MAX: usize = 64 << 20;

/// After so many receives that were short a connection that has sent something long is received from as others are: those who
/// send long frames send several.
const LONG_FOR: u8 = 16;

/// How much one [`Engine::take`] is to take.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// All there is.
    All,
    /// As much as is answered best at a time. An engine may take all; in turn after turn nobody is left out.
    Share,
}

/// Told what happened, only ever from within [`Engine::take`].
///
/// A connection begins with `on_accept` (or [`Engine::adopt`]) and lasts until [`Engine::close`], also after `on_closed`;
/// after `close` nothing more is told of it.
pub trait Handler {
    /// A peer has connected. A v4 address that was mapped into v6 is given as v4.
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr);
    /// Bytes have arrived, at least one.
    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]);
    /// Whether what comes next on this connection is the rest of something long, which is better received into
    /// [memory of its own](Self::lend).
    fn is_long(&self, _: ConnId) -> bool {
        false
    }
    /// Lends memory for the bytes that come next, if they are the rest of something long. The next that is told of this
    /// connection's bytes is `on_block`; if it ends before, the memory is lost.
    fn lend(&mut self, _: ConnId) -> Option<Block> {
        None
    }
    /// Gives back what was lent, with so many bytes more that have arrived, which may be none.
    fn on_block(&mut self, _: ConnId, _: Vec<u8>, _: usize) {
        unreachable!("nothing was lent");
    }
    /// A buffer given to `send` has been written whole, and comes back for reuse. `drained`: nothing more is queued on this
    /// connection. The buffers of a connection that has failed do not come back.
    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool);
    /// So many bytes given to `send_shared` have been written, else as `on_sent`.
    fn on_sent_shared(&mut self, _: ConnId, _: usize, _: bool) {
        unreachable!("nothing shared was sent");
    }
    /// The peer ended the stream, or the connection failed; all bytes that came before have been told. At most once per
    /// connection. The owner still has to `close` it.
    fn on_closed(&mut self, conn: ConnId, why: Closed);
    /// Accepting failed, for want of descriptors or memory, and has been paused as by `set_accepting(false)`. Those who
    /// wait in the backlog are not lost.
    fn on_accept_error(&mut self, error: io::Error);
}

/// What is to be written.
enum Buffer {
    Own(Vec<u8>),
    Shared(Bytes),
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Buffer::Own(bytes) => bytes,
            Buffer::Shared(bytes) => bytes,
        }
    }
}

impl Buffer {
    /// It has been written.
    fn told(self, conn: ConnId, drained: bool, handler: &mut dyn Handler) {
        match self {
            Buffer::Own(buffer) => handler.on_sent(conn, buffer, drained),
            Buffer::Shared(bytes) => handler.on_sent_shared(conn, bytes.len(), drained),
        }
    }
}

/// The most buffers of one write: as many as the kernel takes without memory of its own for their places.
const PARTS_MAX: usize = 8;

/// A write that has so many bytes takes no more buffers: so small ones do not travel alone, and a buffer that was written
/// comes back before much else has been.
const GATHERED_BYTES: usize = 128 << 10;

/// How many of the first buffers of a queue are written at once.
fn gathered<'a>(queue: impl Iterator<Item = &'a Buffer>) -> usize {
    let mut bytes = 0;
    queue
        .take(PARTS_MAX)
        .take_while(|buffer| {
            let before = bytes;
            bytes += buffer.len();
            before < GATHERED_BYTES
        })
        .count()
}

/// Moves the bytes of many connections. It stays on the thread that opened it.
pub trait Engine {
    /// `ring` or `epoll`.
    fn name(&self) -> &'static str;

    /// Readable when `take` would find something, once [`submit`](Self::submit) has said that there was nothing; it may
    /// become so for nothing. See [`watch`].
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Where it listens.
    fn local_addr(&self) -> SocketAddr;

    /// Takes what has completed or arrived, without blocking.
    ///
    /// True: of every connection, every byte that had arrived when `take` was called has been told. Only then may a peer be
    /// judged by what is missing. False: call again without parking. With [`Want::All`] that is where the bound
    /// [`TAKE_BYTES_MAX`] was met, and even then every connection that had bytes waiting has told some of them; or where
    /// the kernel takes no more submissions for now.
    fn take(&mut self, now: Instant, want: Want, handler: &mut dyn Handler) -> io::Result<bool>;

    /// Queues a whole buffer. The buffers of one connection are written in order. An empty buffer, and one for a connection
    /// that is unknown, closed or failed, is dropped.
    fn send(&mut self, conn: ConnId, buffer: Vec<u8>);

    /// As `send`, of bytes that others share.
    fn send_shared(&mut self, conn: ConnId, bytes: Bytes);

    /// Ends a connection. Does nothing if it is unknown or closed; one that is being flushed can still be closed `Now`.
    fn close(&mut self, conn: ConnId, how: Close);

    /// Takes over a connected socket, for a master that dialled.
    fn adopt(&mut self, stream: TcpStream) -> io::Result<ConnId>;

    /// Pauses or resumes accepting; it is on at first. A few peers (as many as the backlog holds) may still be accepted
    /// after a pause, if they had arrived before.
    fn set_accepting(&mut self, on: bool);

    /// Starts everything that was queued since the last time. True if `take` would find something already: call it
    /// again before parking.
    fn submit(&mut self) -> io::Result<bool>;

    /// When the next `take` is due though nothing arrives, because a connection that is being flushed runs out of time.
    fn deadline(&self) -> Option<Instant>;

    /// Bytes of the buffers that were given to [`send`](Self::send) and have neither come back nor been dropped, of the
    /// connections that have not been closed. It costs all there is: for tests, which hold the owner's own account to it.
    fn unsent_bytes(&self) -> u64;

    /// The sockets it holds beside the listener, those still being closed included.
    fn connections(&self) -> usize;
}

/// Which engine to open.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// `ring` if the kernel lets us, else `epoll`.
    #[default]
    Auto,
    /// io_uring or an error.
    Ring,
    /// Never io_uring.
    Epoll,
}

impl Choice {
    /// Every choice with its name on the command line.
    pub const NAMES: [(&'static str, Choice); 3] = [
        ("auto", Choice::Auto),
        ("ring", Choice::Ring),
        ("epoll", Choice::Epoll),
    ];
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::NAMES
            .into_iter()
            .find_map(|(known, choice)| (known == name).then_some(choice))
            .ok_or_else(|| format!("unknown engine `{name}`: auto, ring or epoll"))
    }
}

/// Opens an engine on `listener` (see [`listen`]), and says in one sentence why it is this one.
pub fn open(
    choice: Choice,
    listener: TcpListener,
) -> Result<(Box<dyn Engine>, String), EngineError> {
    let why = match choice {
        Choice::Epoll => String::from("epoll was asked for"),
        Choice::Auto | Choice::Ring => {
            match fallback::try_sizes(choice, ring::uring::Uring::open) {
                fallback::Outcome::Ring(uring, why) => {
                    let engine =
                        ring::RingEngine::new(uring, listener).map_err(EngineError::Setup)?;
                    return Ok((Box::new(engine), why));
                }
                fallback::Outcome::Epoll(why) => why,
                fallback::Outcome::Failed(error) => return Err(error),
            }
        }
    };
    let engine = epoll::EpollEngine::new(listener).map_err(EngineError::Setup)?;
    Ok((Box::new(engine), why))
}

/// Lets the current tokio (or tokio-uring) runtime wait for an engine.
///
/// Clear the readiness *before* [`Engine::take`]: the runtime is told of a change once, so clearing afterwards would forget
/// what arrived during `take`.
///
/// ```no_run
/// # use ringmw::internals::engine::Want;
/// # async fn turn(engine: &mut dyn ringmw::internals::engine::Engine, handler: &mut dyn ringmw::internals::engine::Handler) -> std::io::Result<()> {
/// let descriptor = ringmw::internals::engine::watch(engine)?;
/// loop {
///     let caught_up = engine.take(std::time::Instant::now(), Want::Share, handler)?;
///     // … think, send, close …
///     if !engine.submit()? && caught_up {
///         descriptor.readable().await?.clear_ready();
///     }
/// }
/// # }
/// ```
pub fn watch(engine: &dyn Engine) -> io::Result<AsyncFd<OwnedFd>> {
    let descriptor = engine.as_fd().try_clone_to_owned()?;
    // SAFETY: the descriptor is valid and owned by the `AsyncFd`, and an `OwnedFd` neither closes nor replaces it earlier.
    let watched = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
    watched.map_err(|error| error.into_parts().1)
}
