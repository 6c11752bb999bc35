//! Slaves that listen: the master dials each, again and again, with growing pauses.
//!
//! ```text
//!   dials ──connected──► the engine's ──closed──┐
//!    ▲  └──not within 10 s, or refused──┐       │
//!    └──────────────── pause ◄──────────┴───────┘
//! ```
//!
//! All are dialled at once, each by a task of its own beside the driver. From the moment a connection is there it is like
//! one that was accepted: the slave speaks first, whoever dialled.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::io::secret_file::draw_number;
use crate::proto::conn::ConnId;

/// A dial that has not succeeded by then has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause, and the longest: each is twice the one before.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);
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
    let mut pause = PAUSE_MIN;
    let mut is_told = false;
    loop {
        match connect(&address).await {
            Ok((stream, peer)) => {
                is_told = false;
                if comes.send(Dialled::Connected(place, stream, peer)).is_err() {
                    return;
                }
                match ended.recv().await {
                    Some(true) => pause = PAUSE_MIN,
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
        tokio::time::sleep(jittered(pause)).await;
        pause = (2 * pause).min(PAUSE_MAX);
    }
}

async fn connect(address: &str) -> Result<(TcpStream, SocketAddr), String> {
    let connecting = tokio::net::TcpStream::connect(address);
    let stream = match tokio::time::timeout(DIAL_TIMEOUT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string())?,
        Err(_) => return Err(format!("no answer in {} s", DIAL_TIMEOUT.as_secs())),
    };
    let peer = stream.peer_addr().map_err(|error| error.to_string())?;
    let stream = stream.into_std().map_err(|error| error.to_string())?;
    Ok((stream, peer))
}

/// Between a half and the whole of it, so that many do not come at the same time for ever.
fn jittered(pause: Duration) -> Duration {
    let draw = (draw_number() >> 11) as f64 / (1u64 << 53) as f64;
    pause.mul_f64(0.5 + draw / 2.0)
}
