//! A slave that has lost its master looks for the next life of its run: at the addresses that it has, and those of the
//! resource file as it is now, one after the other, with pauses that grow. Meanwhile its main thread computes what it has
//! in hand, and its I/O thread does all else.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, Who};
use ringmw_sched::Nanos;

use super::listen::{Birth, Pending, Unanswered, Won, await_one};
use crate::io::reach::{reach, resolve};
use crate::io::secret_file;
use crate::io::slave_link::Link;
use crate::proto::pauses::Pauses;
use crate::proto::slave::SlaveEnd;

/// Pauses between two rounds: doubled from the first to the last, each somewhere between its half and its whole, so that
/// a thousand slaves do not come at once.
const PAUSES: Pauses = Pauses::new(Duration::from_millis(50), Duration::from_secs(3));

/// So long the first round waits for each answer, and the last ones: each twice the one before. A master that holds its
/// thread is waited for; the socket of a master that was killed, which its kernel may go on listening with for a while,
/// keeps nobody from the next address.
const ANSWER_WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

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
    let (mut pauses, mut wait) = (PAUSES, ANSWER_WAITS.0);
    loop {
        let addresses = match (back.find)() {
            Found::Finished => {
                return link.give_up(Some(SlaveEnd::Shutdown { finished: true }));
            }
            Found::At(addresses) => addresses,
        };
        for address in &addresses {
            match attempt(link, back, address, run, wait) {
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
        let left = patience.saturating_sub(begun.elapsed());
        thread::sleep((pauses.next() * part / 1_000).min(left));
        wait = (wait * 2).min(ANSWER_WAITS.1);
    }
}

fn attempt(link: &Arc<Link>, back: &Back, address: &str, run: u128, wait: Duration) -> Tried {
    let (peers, _) = resolve(&[address.to_owned()]);
    let Ok((stream, peer)) = reach(&peers, |_| ()) else {
        return Tried::Failed;
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
        return Tried::Failed;
    }
    let now = link.clock.now();
    let core = (back.birth)(now, run);
    let until = now + Nanos::try_from(wait.as_nanos()).expect("a minute at most");
    let pending = Pending::new(stream, peer, core);
    match await_one(pending, &link.clock, until, &|| None) {
        Ok(won) => match won.core.end() {
            None if !won.core.is_apart() => Tried::Welcomed(Box::new(won)),
            // Told to go with its welcome.
            Some(end) => Tried::Over(end.clone()),
            None => Tried::Failed,
        },
        Err(Unanswered::Ended(core)) => match core.end() {
            Some(end @ SlaveEnd::Refused(_)) if !core.may_try_again() => Tried::Over(end.clone()),
            _ => Tried::Failed,
        },
        Err(Unanswered::Gone(_) | Unanswered::Silent) => Tried::Failed,
    }
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
