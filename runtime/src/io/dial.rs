//! Slaves that listen: the master dials each, again and again, with growing pauses.
//!
//! ```text
//!   dials ──connected──► the engine's ──closed──┐
//!    ▲  └──not within 10 s, or refused──┐       │
//!    └──────────────── pause ◄──────────┴───────┘
//! ```
//!
//! All are dialled at once, each by a task of its own beside the driver; of a host name all addresses are, as
//! [`race`](crate::proto::race) says. From the moment a connection is there it is like
//! one that was accepted: the slave speaks first, whoever dialled.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ringmw_sched::Nanos;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::io::reach::no_answer;
use crate::io::secret_file::draw_number;
use crate::proto::conn::ConnId;
use crate::proto::pauses::Pauses;
use crate::proto::race::{Race, Step, in_turn};

/// The first pause, and the longest.
const PAUSES: Pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(300));
/// A connection that has lasted so long was a good one: the next pause is the shortest again.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// What comes of dialling.
pub(crate) enum Dialled {
    /// The slave at this place in the list has answered.
    Connected(usize, TcpStream, SocketAddr),
    /// It has not, for this reason; told once until it does.
    Failed(String),
}

/// Dials slaves, and again those whose connection has ended.
pub(crate) struct Dialler {
    came: UnboundedReceiver<Dialled>,
    /// Told that the connection to the slave at this place has ended, and whether it was a good one.
    again: Vec<UnboundedSender<bool>>,
    conns: BTreeMap<ConnId, (usize, Instant)>,
}

impl Dialler {
    /// Begins to dial. To be called where tokio runs tasks of this thread.
    pub(crate) fn start(addresses: Vec<String>) -> Self {
        let (comes, came) = unbounded_channel();
        let again = addresses
            .into_iter()
            .enumerate()
            .map(|(place, address)| {
                let (again, ended) = unbounded_channel();
                tokio::task::spawn_local(dial(place, address, comes.clone(), ended));
                again
            })
            .collect();
        Dialler {
            came,
            again,
            conns: BTreeMap::new(),
        }
    }

    /// What came of dialling, if anything did.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Dialled> {
        match self.came.poll_recv(cx) {
            Poll::Ready(dialled) => dialled,
            Poll::Pending => None,
        }
    }

    /// The slave at this place is on this connection.
    pub(crate) fn on_adopted(&mut self, place: usize, conn: ConnId) {
        self.conns.insert(conn, (place, Instant::now()));
    }

    /// The slave at this place cannot be served.
    pub(crate) fn on_failed(&mut self, place: usize) {
        // A task that is gone wants to know nothing.
        let _ = self.again[place].send(false);
    }

    /// A connection is closed, whoever dialled it.
    pub(crate) fn on_closed(&mut self, conn: ConnId) {
        if let Some((place, since)) = self.conns.remove(&conn) {
            let _ = self.again[place].send(since.elapsed() >= GOOD_AFTER);
        }
    }
}

async fn dial(
    place: usize,
    address: String,
    comes: UnboundedSender<Dialled>,
    mut ended: UnboundedReceiver<bool>,
) {
    let mut pauses = PAUSES;
    let mut is_told = false;
    loop {
        match connect(&address).await {
            Ok((stream, peer)) => {
                is_told = false;
                if comes.send(Dialled::Connected(place, stream, peer)).is_err() {
                    return;
                }
                match ended.recv().await {
                    Some(true) => pauses.restart(),
                    Some(false) => {}
                    None => return,
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    let text = format!(
                        "--mw-slave-at {address}: cannot reach the slave: {error}; it is tried again and again"
                    );
                    if comes.send(Dialled::Failed(text)).is_err() {
                        return;
                    }
                }
            }
        }
        tokio::time::sleep(jittered(pauses.next())).await;
    }
}

async fn connect(address: &str) -> Result<(TcpStream, SocketAddr), String> {
    let resolved = tokio::net::lookup_host(address).await;
    let addresses = in_turn(resolved.map_err(|error| error.to_string())?);
    let begun = Instant::now();
    let now = || Nanos::try_from(begun.elapsed().as_nanos()).unwrap_or(Nanos::MAX);
    let mut race = Race::new(addresses.len());
    let mut under_way = FuturesUnordered::new();
    let mut failures = Vec::new();
    loop {
        match race.step(now()) {
            Step::Dial(place) => {
                let address = addresses[place];
                under_way
                    .push(async move { (place, tokio::net::TcpStream::connect(address).await) });
            }
            Step::GiveUp(place) => failures.push((place, no_answer())),
            Step::Lost => return Err(in_words(&addresses, &failures)),
            Step::Wait(until) => {
                let left = Duration::from_nanos(until.saturating_sub(now()));
                match tokio::time::timeout(left, under_way.next()).await {
                    Ok(Some((place, Ok(stream)))) => {
                        let stream = stream.into_std().map_err(|error| error.to_string())?;
                        return Ok((stream, addresses[place]));
                    }
                    Ok(Some((place, Err(error)))) => {
                        // One that has been given up was told already.
                        if !failures.iter().any(|(failed, _)| *failed == place) {
                            failures.push((place, error.to_string()));
                        }
                        race.on_failed(place);
                    }
                    Ok(None) | Err(_) => {}
                }
            }
        }
    }
}

/// Why nobody was reached: of one address its error, of several each with its own.
fn in_words(addresses: &[SocketAddr], failures: &[(usize, String)]) -> String {
    match failures {
        [] => String::from("it has no address"),
        [(_, error)] if addresses.len() == 1 => error.clone(),
        _ => {
            let each = failures.iter();
            let each = each.map(|(place, error)| format!("{}: {error}", addresses[*place]));
            each.collect::<Vec<_>>().join(", ")
        }
    }
}

/// Between a half and the whole of it, so that many do not come at the same time for ever.
fn jittered(pause: Duration) -> Duration {
    let draw = (draw_number() >> 11) as f64 / (1u64 << 53) as f64;
    pause.mul_f64(0.5 + draw / 2.0)
}
