//! A run has one master at a time: one that starts looks whether the life before still answers.
//!
//! It is asked as a slave would, one that comes back to another run: a master of the same run proves its secret first, and
//! refuses with its own run's id. What is stopped answers nothing, and is taken for gone: once it goes on it sees the later
//! life, and ends.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use ringmw_codec::handshake::Hello;
use ringmw_codec::journal::{RunFile, run_text};
use ringmw_codec::secret::Secret;
use ringmw_sched::Nanos;

use crate::app::slave_role::host;
use crate::io::clock::Clock;
use crate::proto::SECOND;
use crate::proto::config::Bounds;
use crate::proto::slave::SlaveEnd;
use crate::slave;
use crate::slave::listen::{Pending, Unanswered, await_one};
use crate::typed::registry::Registry;

/// A host that does not answer to a connection for so long has none of the run's masters.
const CONNECT_WAIT: Duration = Duration::from_secs(1);

/// A master that says nothing for so long is stopped, or holds its thread; the later life takes over.
const ANSWER_WAIT: Nanos = 3 * SECOND;

/// Where the life before still answers.
///
/// # Errors
/// One line that names it, and says what to do.
pub(super) fn refuse(
    before: &RunFile,
    hello: &Hello,
    registry: &Arc<Registry>,
) -> Result<(), String> {
    let Some(at) = answering(before, hello, registry) else {
        return Ok(());
    };
    Err(format!(
        "life {} of this run still answers at {at} (process {} on {}): a run has one master at a time; end that one first, with `ringmw stop` or a signal, or give another folder",
        before.life, before.pid, before.host
    ))
}

fn answering(before: &RunFile, hello: &Hello, registry: &Arc<Registry>) -> Option<SocketAddr> {
    if before.port == 0 {
        return None;
    }
    let here = ["127.0.0.1", "::1"].map(str::to_owned);
    let hosts = match before.host == host() {
        true => [&here[..], std::slice::from_ref(&before.host)].concat(),
        false => vec![before.host.clone()],
    };
    let hosts = hosts.iter().map(|host| (host.as_str(), before.port));
    let addresses = hosts.filter_map(|at| at.to_socket_addrs().ok()).flatten();
    let mut asked = Vec::new();
    for address in addresses {
        if !asked.contains(&address) {
            asked.push(address);
            if answers(address, before, hello, registry) {
                return Some(address);
            }
        }
    }
    None
}

fn answers(at: SocketAddr, before: &RunFile, hello: &Hello, registry: &Arc<Registry>) -> bool {
    let Ok(stream) = TcpStream::connect_timeout(&at, CONNECT_WAIT) else {
        return false;
    };
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let secret = before.secret.map(Secret::new);
    let has_secret = secret.is_some();
    let birth = slave::birth(hello.clone(), secret, Bounds::default(), registry, Some(0));
    let clock = Clock::start();
    let now = clock.now();
    // No run has this id: it is refused, and joins nothing.
    let core = birth(now, !before.identity.run);
    match await_one(
        Pending::new(stream, at, core),
        &clock,
        now + ANSWER_WAIT,
        &|| None,
    ) {
        Err(Unanswered::Ended(core)) => match core.end() {
            Some(SlaveEnd::Refused(text)) => {
                (has_secret && core.is_proved()) || text.contains(&run_text(before.identity.run))
            }
            _ => false,
        },
        Ok(_) | Err(Unanswered::Gone(_) | Unanswered::Silent) => false,
    }
}
