//! A slave that listens: of the masters that dial it, the first with a finished handshake has it, and the others are told
//! whose it is.
//!
//! The slave speaks first, whoever dialled. What a stranger gets is the beginning of a proof, and no more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringmw_codec::audit::{Event, Who};
use ringmw_sched::Nanos;
use rustix::event::{PollFd, PollFlags, poll};

use crate::io::clock::Clock;
use crate::io::files::audit::AuditWriter;
use crate::io::relisten::Relisten;
use crate::proto::slave::SlaveCore;

/// Masters that may be under way at once; one more takes the place of the oldest.
const PENDING_MAX: usize = 16;
/// A master that is turned away has this long to prove itself and to read why.
const AWAY_WITHIN: Nanos = 10_000_000_000;
const READ_BYTES: usize = 64 << 10;
const CLOSED: &str = "it closed the connection";
/// How often a wait without an end is looked at.
const LOOK: Nanos = 1_000_000_000;

/// Makes the core for a connection: its hello, and the proof with a key of its own.
/// It is told the run that the slave comes back to, 0 for none.
pub(crate) type Birth = Arc<dyn Fn(Nanos, u128) -> SlaveCore + Send + Sync>;

/// A master that is not through with its handshake.
pub(crate) struct Pending {
    stream: TcpStream,
    peer: SocketAddr,
    core: SlaveCore,
    out: Vec<u8>,
    since: Nanos,
    /// Why the connection is gone.
    gone: Option<String>,
}

/// The master that has the slave.
pub(crate) struct Won {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) core: Box<SlaveCore>,
}

/// Waits for a master; `None` when nobody came in time.
///
/// # Errors
/// When the listening socket fails.
pub(crate) fn await_master(
    from: &Relisten,
    birth: &Birth,
    clock: &Clock,
    audit: &AuditWriter,
) -> io::Result<Option<Won>> {
    from.listener.set_nonblocking(true)?;
    let until = from.wait.map(|wait| {
        let wait = Nanos::try_from(wait.as_nanos()).unwrap_or(Nanos::MAX / 4);
        clock.now() + wait
    });
    let mut pending: Vec<Pending> = Vec::new();
    loop {
        let now = clock.now();
        if until.is_some_and(|until| now >= until) && pending.is_empty() {
            return Ok(None);
        }
        wait(&from.listener, &pending, now, until.unwrap_or(now + LOOK))?;
        while let Some((stream, peer)) = accept(&from.listener)? {
            let (now, from) = (clock.now(), peer.to_string());
            audit.say(Who::Slave(None), Event::Client { from });
            if pending.len() == PENDING_MAX {
                pending.remove(0);
            }
            pending.push(Pending {
                stream,
                peer,
                core: birth(now, 0),
                out: Vec::new(),
                since: now,
                gone: None,
            });
        }
        let now = clock.now();
        let mut at = 0;
        while at < pending.len() {
            let goes_on = pending[at].step(now);
            let ended = pending[at].core.end().map(ToString::to_string);
            if pending[at].core.welcome().is_some() {
                let Pending {
                    stream, peer, core, ..
                } = pending.remove(at);
                turn_away(pending, peer);
                let core = Box::new(core);
                return Ok(Some(Won { stream, peer, core }));
            }
            if goes_on && ended.is_none() {
                at += 1;
                continue;
            }
            let gone = pending.remove(at);
            let closed = || gone.gone.unwrap_or_else(|| CLOSED.to_owned());
            let reason = ended.unwrap_or_else(closed);
            let from = gone.peer.to_string();
            audit.say(Who::Slave(None), Event::Rejected { from, reason });
        }
    }
}

/// Why a master that was dialled has not become the slave's.
pub(crate) enum Unanswered {
    /// It has said so, or the slave was told to go meanwhile.
    Ended(Box<SlaveCore>),
    /// The connection is gone, for this reason.
    Gone(String),
    /// It has not answered in time.
    Silent,
}

/// Waits until this master has answered the handshake, at most until then, or until `told_to_go` says why the slave is to
/// leave.
pub(crate) fn await_one(
    mut one: Pending,
    clock: &Clock,
    until: Nanos,
    told_to_go: &dyn Fn() -> Option<String>,
) -> Result<Won, Unanswered> {
    loop {
        if let Some(reason) = told_to_go() {
            one.core.evict(&reason, clock.now());
        }
        let goes_on = one.step(clock.now());
        if one.core.welcome().is_some() && one.out.is_empty() {
            let Pending {
                stream, peer, core, ..
            } = one;
            let core = Box::new(core);
            return Ok(Won { stream, peer, core });
        }
        if one.core.end().is_some() {
            return Err(Unanswered::Ended(Box::new(one.core)));
        }
        if !goes_on {
            return Err(Unanswered::Gone(one.gone.unwrap_or_default()));
        }
        let now = clock.now();
        if now >= until {
            return Err(Unanswered::Silent);
        }
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, !one.out.is_empty());
        let fds = vec![PollFd::new(&one.stream, interest)];
        let due = until.min(one.core.next_deadline()).min(now + LOOK);
        if let Err(error) = sleep(fds, now, due) {
            return Err(Unanswered::Gone(error.to_string()));
        }
    }
}

/// While a master has the slave: whoever else dials is told so. Ends with the process.
pub(crate) fn attend(listener: TcpListener, birth: Birth, clock: Clock, serves: SocketAddr) {
    let attend = move || {
        loop {
            if wait(&listener, &[], 0, LOOK).is_err() {
                return;
            }
            while let Ok(Some((stream, peer))) = accept(&listener) {
                let since = clock.now();
                let mut core = birth(since, 0);
                core.turn_away(&busy(serves));
                let mut one = Pending {
                    stream,
                    peer,
                    core,
                    out: Vec::new(),
                    since,
                    gone: None,
                };
                while one.step(clock.now())
                    && !(one.core.is_all_said() && one.out.is_empty())
                    && clock.now() < since + AWAY_WITHIN
                {
                    let now = clock.now();
                    if wait(&listener, std::slice::from_ref(&one), now, now + LOOK / 10).is_err() {
                        break;
                    }
                }
                // What is on its way to it must not be overtaken by a reset.
                let _ = one.stream.shutdown(std::net::Shutdown::Write);
                let _ = one.stream.set_nonblocking(false);
                let _ = one.stream.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = one.stream.read(&mut [0; 64]);
            }
        }
    };
    let thread = std::thread::Builder::new().name("ringmw-listen".into());
    // Without it others wait until this master has gone.
    let _ = thread.spawn(attend);
}

fn busy(serves: SocketAddr) -> String {
    format!("this slave serves the master at {serves}; it listens again when that one has ended")
}

/// Masters that came second: what they have not been told yet they will not be, but why they are not.
fn turn_away(pending: Vec<Pending>, serves: SocketAddr) {
    for mut one in pending {
        one.core.turn_away(&busy(serves));
        let now = one.since;
        one.step(now);
    }
}

impl Pending {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, core: SlaveCore, since: Nanos) -> Self {
        Pending {
            stream,
            peer,
            core,
            out: Vec::new(),
            since,
            gone: None,
        }
    }

    /// Takes what has come and writes what is to be said; false where the connection is gone.
    fn step(&mut self, now: Nanos) -> bool {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.is_gone(CLOSED),
                Ok(read) => self.core.on_received(&buffer[..read], now, &mut |_| ()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.is_gone(error),
            }
            // What follows a welcome is the next owner's to read.
            if self.core.welcome().is_some() || self.core.end().is_some() {
                break;
            }
        }
        self.core.on_time(now, 0);
        if self.out.is_empty() {
            self.core.take_output(&mut self.out, now);
        }
        match self.stream.write(&self.out) {
            Ok(written) => {
                self.core.on_written(written, now);
                self.out.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return self.is_gone(error),
        }
        true
    }

    fn is_gone(&mut self, why: impl ToString) -> bool {
        self.gone = Some(why.to_string());
        false
    }
}

fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok((stream, peer)) => {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            Ok(Some((stream, peer)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // A peer that has gone again is no fault of the socket's.
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sleeps until somebody dials or one of these speaks, at most until then.
fn wait(listener: &TcpListener, pending: &[Pending], now: Nanos, until: Nanos) -> io::Result<()> {
    let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
    for one in pending {
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, !one.out.is_empty());
        fds.push(PollFd::new(&one.stream, interest));
    }
    let due = pending.iter().map(|one| one.core.next_deadline()).min();
    sleep(
        fds,
        now,
        due.unwrap_or(Nanos::MAX).min(until).min(now + LOOK),
    )
}

fn sleep(mut fds: Vec<PollFd<'_>>, now: Nanos, until: Nanos) -> io::Result<()> {
    let wait = until.saturating_sub(now);
    let timeout = rustix::time::Timespec {
        tv_sec: (wait / 1_000_000_000) as i64,
        tv_nsec: (wait % 1_000_000_000) as _,
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
