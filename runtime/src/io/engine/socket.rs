//! Sockets as both engines want them, and the limit on how many there can be.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Binds a listener for [`open`](super::open). Its backlog is the system's maximum, since a thousand slaves of one batch job
/// connect in the same second. The unspecified v6 address takes v4 peers too.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Accepted sockets inherit it, which saves a system call for each.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    // The kernel cuts the number to net.core.somaxconn.
    socket.listen(i32::MAX)?;
    Ok(socket.into())
}

/// Raises this process's soft limit of open files to its hard one; every slave needs one. Gives both, before and now;
/// `u64::MAX` is no limit.
pub fn raise_nofile() -> io::Result<(u64, u64)> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let amount = |limit: Option<u64>| limit.unwrap_or(u64::MAX);
    if current != maximum {
        setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )?;
    }
    Ok((amount(current), amount(maximum)))
}

/// Whether a failed accept concerns only the peer that was to be accepted (accept(2) lists them), so that the next can be
/// tried at once.
pub(super) fn only_this_peer(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| {
        [
            Errno::CONNABORTED,
            Errno::INTR,
            Errno::NETDOWN,
            Errno::PROTO,
            Errno::NOPROTOOPT,
            Errno::HOSTDOWN,
            Errno::NONET,
            Errno::HOSTUNREACH,
            Errno::OPNOTSUPP,
            Errno::NETUNREACH,
            Errno::TIMEDOUT,
            Errno::PERM,
        ]
        .contains(&errno)
    })
}

/// A peer's address; v4 as v4, whatever the listener.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// The most bytes a socket can hold unread: the largest receive window that the kernel's tuning gives.
pub(super) fn receive_queue_bytes_max() -> usize {
    let tuned = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").ok();
    let largest = |text: String| text.split_ascii_whitespace().nth(2)?.parse().ok();
    tuned.and_then(largest).unwrap_or(32 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn accepted_sockets_do_not_delay() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = listen(address.parse().unwrap()).unwrap();
            let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (socket, _) = listener.accept().unwrap();
            assert!(socket.nodelay().unwrap());
        }
    }

    #[test]
    fn any_address_takes_v4_and_v6() {
        let listener = listen("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        for address in ["127.0.0.1", "::1"] {
            let client = TcpStream::connect((address, port)).unwrap();
            let (_socket, peer) = listener.accept().unwrap();
            assert_eq!(canonical(peer), client.local_addr().unwrap());
        }
    }

    #[test]
    fn nofile_is_raised_to_the_hard_limit() {
        let (before, now) = raise_nofile().unwrap();
        assert!(before <= now);
        assert_eq!(raise_nofile().unwrap(), (now, now));
    }
}
