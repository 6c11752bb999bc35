//! The listening sockets of a host name's further addresses: the engine owns one, and who comes at the others is adopted
//! by it like a slave that was dialled.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::{Context, Poll};

/// So many are taken before others are served.
const TAKEN_MAX: usize = 64;

/// Listeners beside the engine's own.
pub(crate) struct Beside {
    listeners: Vec<tokio::net::TcpListener>,
    is_accepting: bool,
    taken: usize,
}

impl Beside {
    /// Begins to listen. To be called where tokio runs tasks of this thread.
    ///
    /// # Errors
    /// When the runtime cannot watch a socket.
    pub(crate) fn start(listeners: Vec<TcpListener>) -> io::Result<Self> {
        let watched = listeners.into_iter().map(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::TcpListener::from_std(listener)
        });
        Ok(Beside {
            listeners: watched.collect::<io::Result<_>>()?,
            is_accepting: true,
            taken: 0,
        })
    }

    /// As the engine's own: while it is off nobody is taken, and whoever comes waits in the backlog. True if somebody may
    /// wait there from now on whom nothing tells of.
    pub(crate) fn set_accepting(&mut self, on: bool) -> bool {
        let was = std::mem::replace(&mut self.is_accepting, on);
        on && !was && !self.listeners.is_empty()
    }

    /// Who has come, if anybody has. After an error nobody is taken until [`set_accepting`](Self::set_accepting).
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Option<io::Result<(TcpStream, SocketAddr)>> {
        if !self.is_accepting {
            return None;
        }
        if self.taken == TAKEN_MAX {
            self.taken = 0;
            cx.waker().wake_by_ref();
            return None;
        }
        for listener in &self.listeners {
            match listener.poll_accept(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok((stream, peer))) => {
                    self.taken += 1;
                    return Some(stream.into_std().map(|stream| (stream, peer)));
                }
                // Who has gone again is no fault of the socket's.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    self.taken += 1;
                    cx.waker().wake_by_ref();
                }
                Poll::Ready(Err(error)) => {
                    self.is_accepting = false;
                    return Some(Err(error));
                }
            }
        }
        self.taken = 0;
        None
    }
}
