//! A slave that has lost its master looks for the next life of its run: at the addresses that it has, and those of the
//! resource file as it is now, one after the other, with pauses that grow. Meanwhile its main thread computes what it has
//! in hand, and its I/O thread does all else.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, Who};
use ringmw_sched::Nanos;

use super::CONNECT_TIMEOUT;
use super::listen::{Birth, Pending, Won, await_one};
use crate::io::secret_file;
use crate::io::slave_link::Link;
use crate::proto::slave::SlaveEnd;

/// Pauses between two rounds: doubled from the first to the last, each somewhere between its half and its whole, so that
/// a thousand slaves do not come at once.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(3));

/// A master that holds its thread is waited for, something else that listens there is not for ever.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Where the run's master is now.
pub(crate) enum Found {
    /// Nowhere: the run is finished.
    Finished,
    /// At one of these.
    At(Vec<String>),
}

/// What a slave needs to come back.
pub(crate) struct Back {
    /// Makes the core of a connection.
    pub(crate) birth: Birth,
    /// Looks where the master is now.
    pub(crate) find: Box<dyn Fn() -> Found + Send + Sync>,
}

/// What came of a try.
enum Tried {
    Welcomed(Box<Won>),
    /// It makes no sense to try on.
    Over(SlaveEnd),
    Failed,
}

/// Looks until the slave is welcome, or it makes no sense any more.
pub(crate) fn look(link: &Arc<Link>, back: &Back) {
    let Some((run, seed, args, patience)) = link.former_run() else {
        return;
    };
    let (begun, patience) = (Instant::now(), Duration::from_nanos(patience));
    let mut pause = PAUSES.0;
    loop {
        let addresses = match (back.find)() {
            Found::Finished => {
                return link.give_up(Some(SlaveEnd::Shutdown { finished: true }));
            }
            Found::At(addresses) => addresses,
        };
        for address in &addresses {
            match attempt(link, back, address, run) {
                Tried::Failed => {}
                Tried::Over(end) => return link.give_up(Some(end)),
                Tried::Welcomed(won) => {
                    let welcome = won.core.welcome().expect("it was awaited");
                    let what = match (welcome.seed == seed, welcome.args == args) {
                        (false, _) => "another seed",
                        (_, false) => "other arguments",
                        (true, true) => return link.adopt(won.stream, won.core),
                    };
                    let reason = format!(
                        "the master at {address} leads this run with {what}: what this slave has is none of its"
                    );
                    return link.give_up(Some(SlaveEnd::Refused(reason)));
                }
            }
        }
        if begun.elapsed() >= patience || !link.is_apart() {
            return link.give_up(None);
        }
        let part = 500 + u32::try_from(secret_file::draw_number() % 501).expect("below 501");
        let wait = (pause * part / 1_000).min(patience.saturating_sub(begun.elapsed()));
        thread::sleep(wait);
        pause = (pause * 2).min(PAUSES.1);
    }
}

fn attempt(link: &Arc<Link>, back: &Back, address: &str, run: u128) -> Tried {
    let Ok(resolved) = address.to_socket_addrs() else {
        return Tried::Failed;
    };
    for peer in resolved {
        let Ok(stream) = TcpStream::connect_timeout(&peer, CONNECT_TIMEOUT) else {
            continue;
        };
        let from = stream
            .local_addr()
            .map_or_else(|_| String::new(), |from| from.to_string());
        let to = peer.to_string();
        link.say(Who::Slave(None), Event::MasterConnected { to, from });
        let prepared = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true));
        if prepared.is_err() {
            continue;
        }
        let now = link.clock.now();
        let core = (back.birth)(now, run);
        let until = now + Nanos::try_from(ANSWER_WAIT.as_nanos()).expect("a minute");
        match await_one(Pending::new(stream, peer, core, now), &link.clock, until) {
            Ok(won) => match won.core.end() {
                None if !won.core.is_apart() => return Tried::Welcomed(Box::new(won)),
                // Told to go with its welcome.
                Some(end) => return Tried::Over(end.clone()),
                None => {}
            },
            Err(Some(core)) => {
                if let Some(end @ SlaveEnd::Refused(_)) = core.end()
                    && !core.may_try_again()
                {
                    return Tried::Over(end.clone());
                }
            }
            Err(None) => {}
        }
    }
    Tried::Failed
}

/// For [`Link`]: a thread that looks.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn begin(link: Arc<Link>, back: Arc<Back>) -> io::Result<()> {
    let look = move || look(&link, &back);
    let thread = thread::Builder::new().name("ringmw-return".into());
    thread.spawn(look).map(drop)
}
