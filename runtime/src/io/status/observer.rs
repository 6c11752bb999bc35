//! The master's second listener: `ringmw top`, `why` and `stop` ask here, in frames.
//!
//! Over the run's secret, as slaves do, with a role of their own. Without a secret nothing is proved: from this machine
//! alone the status is told, and nobody may stop the run.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use ringmw_codec::frame::{FrameReader, put_frame};
use ringmw_codec::kinds::{FromObserver, Kind};
use ringmw_codec::observe::{ANSWER_BYTES_MAX, Answer, Ask};
use ringmw_codec::status::Told;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};

use super::board::{Board, Question};
use super::line::{Line, Proof};

/// Connections at a time; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 64;
/// Who asks nothing for so long is closed. `ringmw top` asks every second.
const ASKS_WITHIN: Duration = Duration::from_secs(30);
/// An answer must have been read within this time.
const READS_WITHIN: Duration = Duration::from_secs(20);
/// The master's thread is waited for so long; it looks for questions in every turn.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);
/// After a failed accept, so that a lack of descriptors is no storm.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What reaches the master's thread.
pub(crate) struct Master {
    pub(crate) board: Arc<Board>,
    /// What observers must know, if the run has a secret.
    pub(crate) proof: Option<Proof>,
    /// Ends the run for good; true: without waiting for running tasks.
    pub(crate) stop: Box<dyn Fn(bool) + Send + Sync>,
    /// Hands a question over; false when nobody takes any more.
    pub(crate) ask: Box<dyn Fn(Question) -> bool + Send + Sync>,
}

pub(super) async fn serve(listener: TcpListener, master: Arc<Master>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(_) => {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let master = Arc::clone(&master);
        tokio::spawn(async move {
            // What a peer does wrong is its own matter: it is closed.
            let _ = connection(stream, peer, &master).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, master: &Master) -> io::Result<()> {
    let _ = stream.set_nodelay(true);
    let mut reader = FrameReader::new();
    let limit = |kind: Kind| match kind {
        Kind::Ask => kind.limit().bytes(0, 0),
        _ => 0,
    };
    let mut line = match &master.proof {
        Some(proof) => Line::proved(stream, proof).await?,
        None => Line::plain(stream),
    };
    let mut came = Vec::new();
    loop {
        came.clear();
        if !tokio::time::timeout(ASKS_WITHIN, line.read(&mut came)).await?? {
            return Ok(());
        }
        let mut asked = Vec::new();
        let _: ControlFlow<()> = reader
            .feed(&came, &limit, &mut |kind, payload| {
                asked.push((kind, payload.to_vec()));
                ControlFlow::Continue(())
            })
            .map_err(io::Error::other)?;
        for (kind, payload) in asked {
            let FromObserver::Ask(ask) =
                FromObserver::read(kind, &payload).map_err(io::Error::other)?;
            let text = master.answer(ask, peer).await;
            let frames = frames(&text);
            tokio::time::timeout(READS_WITHIN, line.write(frames)).await??;
        }
    }
}

/// An answer in pieces.
fn frames(text: &[u8]) -> Vec<u8> {
    let mut frames = Vec::new();
    let mut pieces = text.chunks(ANSWER_BYTES_MAX).peekable();
    while let Some(text) = pieces.next() {
        let mut payload = Vec::with_capacity(text.len() + 1);
        let is_last = pieces.peek().is_none();
        Answer { is_last, text }.encode(&mut payload);
        put_frame(&mut frames, Kind::Answer, &payload);
    }
    frames
}

impl Master {
    async fn answer(&self, ask: Ask<'_>, peer: SocketAddr) -> Vec<u8> {
        let is_proved = self.proof.is_some();
        let is_local = peer.ip().to_canonical().is_loopback();
        let told = match ask {
            _ if !is_proved && !is_local => refused(
                "this run has no secret (--mw-no-secret), so it tells how it does on the master's own host alone: log in \
                 there",
            ),
            Ask::Status => {
                let json = serde_json::to_vec(&self.board.look());
                return json.unwrap_or_else(|error| error.to_string().into_bytes());
            }
            Ask::Why { about } => self.why(about.to_owned()).await,
            Ask::Stop { now } if is_proved => self.stop(now),
            Ask::Stop { .. } => refused(
                "this run has no secret (--mw-no-secret), so anybody could say that: send SIGUSR2 to the master on its own \
                 host, or end its job in the batch system",
            ),
        };
        serde_json::to_vec(&told).unwrap_or_default()
    }

    /// What is left when the run ends now.
    fn stop(&self, now: bool) -> Told {
        let status = self.board.look();
        (self.stop)(now);
        let (tasks, slaves) = (&status.tasks, &status.slaves);
        Told {
            error: None,
            held_ms: status.held_ms,
            lines: vec![format!(
                "{} ends for good: {} tasks are done, {} are running and {} queued and will not be; {} slaves are told to go",
                status.run.name, tasks.done, tasks.running, tasks.queued, slaves.connected
            )],
        }
    }

    async fn why(&self, about: String) -> Told {
        let (answer, told) = oneshot::channel();
        let is_asked = (self.ask)(Question { about, answer });
        let told = tokio::time::timeout(ANSWERS_WITHIN, told).await;
        match told {
            Ok(Ok(told)) => told,
            _ => {
                let held = self.board.held();
                let held_ms = u64::try_from(held.as_millis()).unwrap_or(u64::MAX);
                let error = match is_asked && held_ms > 0 {
                    true => format!(
                        "the master algorithm has held the master's thread for {}.{} s, and the answer is there; what the \
                         trail says is below",
                        held_ms / 1_000,
                        held_ms % 1_000 / 100
                    ),
                    false => "the master is about to end".to_owned(),
                };
                Told {
                    error: Some(error),
                    held_ms,
                    lines: Vec::new(),
                }
            }
        }
    }
}

fn refused(why: &str) -> Told {
    Told {
        error: Some(why.to_owned()),
        ..Told::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_comes_in_pieces_the_last_of_which_says_so() {
        for bytes in [
            1,
            ANSWER_BYTES_MAX,
            ANSWER_BYTES_MAX + 1,
            3 * ANSWER_BYTES_MAX + 7,
        ] {
            let text: Vec<u8> = (0..bytes).map(|n| n as u8).collect();
            let mut whole = Vec::new();
            let mut last = Vec::new();
            let limit = |kind: Kind| kind.limit().bytes(0, 0);
            let _: ControlFlow<()> = FrameReader::new()
                .feed(&frames(&text), &limit, &mut |_, payload| {
                    let answer = Answer::decode(payload).expect("an answer");
                    last.push(answer.is_last);
                    whole.extend_from_slice(answer.text);
                    ControlFlow::Continue(())
                })
                .expect("whole frames");
            assert_eq!(whole, text);
            assert_eq!(last.iter().filter(|last| **last).count(), 1);
            assert_eq!(last.last(), Some(&true));
        }
    }
}
