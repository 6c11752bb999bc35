//! Slaves that listen: the master dials each, again and again, when [`dialling`](crate::proto::dialling) says so.
//!
//! Each is dialled beside the driver; of a host name all addresses are, as [`race`](crate::proto::race) says. From the
//! moment a connection is there it is like one that was accepted: the slave speaks first, whoever dialled.

use std::collections::BTreeMap;
use std::future::Future as _;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use ringmw_sched::Nanos;
use tokio::time::Sleep;

use crate::io::reach::no_answer;
use crate::io::secret_file::draw_number;
use crate::proto::conn::ConnId;
use crate::proto::dialling::{Dialling, PAUSES};
use crate::proto::race::{Race, Step, in_turn};

/// What comes of dialling.
pub(crate) enum Dialled {
    /// The slave at this place in the list has answered.
    Connected(usize, TcpStream, SocketAddr),
    /// It has not, for this reason; told once until it does.
    Failed(String),
}

/// What came of dialling the slave at a place.
type Answer = (usize, Result<(TcpStream, SocketAddr), String>);

/// Dials slaves, and again those whose connection has ended.
pub(crate) struct Dialler {
    addresses: Vec<String>,
    core: Dialling,
    begun: Instant,
    under_way: FuturesUnordered<LocalBoxFuture<'static, Answer>>,
    pause: Option<Pin<Box<Sleep>>>,
    /// By place: that it cannot be reached is told.
    is_told: Vec<bool>,
    conns: BTreeMap<ConnId, usize>,
    waker: Option<Waker>,
}

impl Dialler {
    /// Begins to dial when it is polled, where tokio runs.
    pub(crate) fn new(addresses: Vec<String>) -> Self {
        Dialler {
            core: Dialling::new(addresses.len(), &PAUSES),
            begun: Instant::now(),
            under_way: FuturesUnordered::new(),
            pause: None,
            is_told: vec![false; addresses.len()],
            conns: BTreeMap::new(),
            waker: None,
            addresses,
        }
    }

    /// What came of dialling, if anything did.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Option<Dialled> {
        self.waker = Some(cx.waker().clone());
        loop {
            let now = self.now();
            while let Some(place) = self.core.next(now) {
                let address = self.addresses[place].clone();
                let dials = async move { (place, connect(&address).await) };
                self.under_way.push(Box::pin(dials));
            }
            match self.under_way.poll_next_unpin(cx) {
                Poll::Ready(Some((place, Ok((stream, peer))))) => {
                    self.core.on_connected(place, now);
                    self.is_told[place] = false;
                    return Some(Dialled::Connected(place, stream, peer));
                }
                Poll::Ready(Some((place, Err(error)))) => {
                    self.core.on_ended(place, now, draw_number());
                    if !std::mem::replace(&mut self.is_told[place], true) {
                        let address = &self.addresses[place];
                        let text = format!(
                            "--mw-slave-at {address}: cannot reach the slave: {error}; it is tried again and again"
                        );
                        return Some(Dialled::Failed(text));
                    }
                    continue;
                }
                Poll::Ready(None) | Poll::Pending => {}
            }
            let due = self.begun + Duration::from_nanos(self.core.due()?);
            let pause = self
                .pause
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
            if pause.deadline().into_std() != due {
                pause.as_mut().reset(due.into());
            }
            if pause.as_mut().poll(cx).is_pending() {
                return None;
            }
        }
    }

    /// The slave at this place is on this connection.
    pub(crate) fn on_adopted(&mut self, place: usize, conn: ConnId) {
        self.conns.insert(conn, place);
    }

    /// The slave at this place cannot be served.
    pub(crate) fn on_failed(&mut self, place: usize) {
        self.core.on_ended(place, self.now(), draw_number());
        self.look();
    }

    /// A connection is closed, whoever dialled it.
    pub(crate) fn on_closed(&mut self, conn: ConnId) {
        if let Some(place) = self.conns.remove(&conn) {
            self.on_failed(place);
        }
    }

    /// There is another pause to be waited for.
    fn look(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.begun.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
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
