//! Connects to the first of several addresses that answers: who is dialled when, [`Race`] decides.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ringmw_sched::Nanos;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::proto::SECOND;
use crate::proto::race::{Race, Step, WITHIN, in_turn};

/// The addresses of these hosts, in the order in which they are dialled, and what could not be resolved, in words.
pub(crate) fn resolve(hosts: &[String]) -> (Vec<SocketAddr>, Vec<String>) {
    let (mut all, mut failures) = (Vec::new(), Vec::new());
    for host in hosts {
        match host.to_socket_addrs() {
            // Within a name: what the file or the operator put first stays first.
            Ok(addresses) => all.extend(in_turn(addresses)),
            Err(error) => failures.push(format!("{host}: {error}")),
        }
    }
    let mut once: Vec<SocketAddr> = Vec::new();
    for address in all {
        if !once.contains(&address) {
            once.push(address);
        }
    }
    (once, failures)
}

/// Why an address that has been given up failed.
pub(crate) fn no_answer() -> String {
    format!("no answer in {} s", WITHIN / SECOND)
}

/// Dials these; `dials` is told of each as it is begun. The connection is blocking.
///
/// # Errors
/// Why each failed, in words, in the order in which they did.
pub(crate) fn reach(
    addresses: &[SocketAddr],
    mut dials: impl FnMut(SocketAddr),
) -> Result<(TcpStream, SocketAddr), Vec<String>> {
    let begun = Instant::now();
    let now = || Nanos::try_from(begun.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
    let mut race = Race::new(addresses.len());
    let mut under_way: Vec<(usize, Socket)> = Vec::new();
    let mut failures = Vec::new();
    loop {
        match race.step(now()) {
            Step::Dial(place) => {
                let address = addresses[place];
                dials(address);
                match begin(address) {
                    Ok(socket) => under_way.push((place, socket)),
                    Err(error) => {
                        failures.push(format!("{address}: {error}"));
                        race.on_failed(place);
                    }
                }
            }
            Step::GiveUp(place) => {
                failures.push(format!("{}: {}", addresses[place], no_answer()));
                under_way.retain(|(dialled, _)| *dialled != place);
            }
            Step::Lost => return Err(failures),
            Step::Wait(until) => {
                let ready = match await_any(&under_way, until.saturating_sub(now())) {
                    Ok(ready) => ready,
                    Err(error) => return Err(vec![format!("poll: {error}")]),
                };
                for place in ready {
                    let at = under_way.iter().position(|(dialled, _)| *dialled == place);
                    let (_, socket) = under_way.remove(at.expect("it was polled"));
                    let address = addresses[place];
                    match finish(socket) {
                        Ok(stream) => return Ok((stream, address)),
                        Err(error) => {
                            failures.push(format!("{address}: {error}"));
                            race.on_failed(place);
                        }
                    }
                }
            }
        }
    }
}

fn begin(address: SocketAddr) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::from(address)) {
        Ok(()) => Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

fn finish(socket: Socket) -> io::Result<TcpStream> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// The places of those that have connected or failed, at most after this time.
fn await_any(under_way: &[(usize, Socket)], wait: Nanos) -> io::Result<Vec<usize>> {
    let sockets = under_way
        .iter()
        .map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT));
    let mut sockets: Vec<PollFd<'_>> = sockets.collect();
    let wait = Duration::from_nanos(wait);
    let timeout = rustix::time::Timespec {
        tv_sec: wait.as_secs() as i64,
        tv_nsec: wait.subsec_nanos() as _,
    };
    match poll(&mut sockets, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = sockets
        .iter()
        .zip(under_way)
        .filter(|(socket, _)| !socket.revents().is_empty());
    Ok(ready.map(|(_, (place, _))| *place).collect())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// An address at which nobody listens, nor will: a connection has it as long as the process lives.
    fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let holder = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let address = holder.local_addr().unwrap();
        std::mem::forget((holder, listener.accept().unwrap()));
        address
    }

    #[test]
    fn the_first_that_answers_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let here = listener.local_addr().unwrap();
        let mut dialled = Vec::new();
        let addresses = [nobody(), here, nobody()];
        let (stream, peer) = reach(&addresses, |address| dialled.push(address)).unwrap();
        assert_eq!((peer, stream.peer_addr().unwrap()), (here, here));
        assert_eq!(dialled, addresses[..2]);
    }

    #[test]
    fn why_each_failed_is_told() {
        let addresses = [nobody(), nobody()];
        let failures = reach(&addresses, |_| ()).unwrap_err();
        for (address, failure) in addresses.iter().zip(&failures) {
            let refused = format!("{address}: Connection refused");
            assert!(failure.starts_with(&refused), "{failures:?}");
        }
        assert_eq!(reach(&[], |_| ()).unwrap_err(), Vec::<String>::new());
        let (all, failures) =
            resolve(&["127.0.0.1:1".into(), "no host".into(), "127.0.0.1:1".into()]);
        assert_eq!(all, [SocketAddr::from(([127, 0, 0, 1], 1))]);
        assert!(failures[0].starts_with("no host: "), "{failures:?}");
    }
}
