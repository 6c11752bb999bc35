//! A slave that listens: of the masters that dial it, the first with a finished handshake has it, and the others are told
//! whose it is. Which that is says [`listening`](crate::proto::listening); here are sockets and handshakes.
//!
//! The slave speaks first, whoever dialled. What a stranger gets is the beginning of a proof, and no more.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use ringmw_codec::audit::{Event, Who};
use ringmw_sched::Nanos;
use rustix::event::{PollFd, PollFlags, poll};

use crate::io::clock::Clock;
use crate::io::files::audit::AuditWriter;
use crate::io::relisten::Relisten;
use crate::io::slave_link::Term;
use crate::proto::listening::{Door, Listening, Peer, Welcomed};
use crate::proto::slave::SlaveCore;

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
    /// Why the connection is gone.
    gone: Option<String>,
    number: Peer,
    /// It has been told that the slave is another's, and is closed by then at the latest.
    away: Option<Nanos>,
    /// All is said; what it still says is read away, so that no reset overtakes that.
    is_shut: bool,
}

/// The master that has the slave.
pub(crate) struct Won {
    pub(crate) stream: TcpStream,
    pub(crate) core: Box<SlaveCore>,
}

/// A listening socket, and who has dialled it.
pub(crate) struct Hall {
    listening: Listening,
    pending: Vec<Pending>,
    next: Peer,
    /// The master that has the slave.
    serves: Option<SocketAddr>,
}

/// What came of waiting for a master.
pub(crate) enum Came {
    Won(Won, Hall),
    /// Nobody has come in time.
    Nobody,
    /// A signal: the slave is to leave, for this reason.
    ToldToGo(String),
}

/// Waits for a master.
///
/// # Errors
/// When the listening socket fails.
pub(crate) fn await_master(
    from: &Relisten,
    birth: &Birth,
    clock: &Clock,
    audit: &AuditWriter,
    term: &Term,
) -> io::Result<Came> {
    from.listener.set_nonblocking(true)?;
    let until = from.wait.map(|wait| {
        let wait = Nanos::try_from(wait.as_nanos()).unwrap_or(Nanos::MAX / 4);
        clock.now() + wait
    });
    let mut hall = Hall {
        listening: Listening::new(until),
        pending: Vec::new(),
        next: 0,
        serves: None,
    };
    let say = |event| audit.say(Who::Slave(None), event);
    loop {
        let now = clock.now();
        if let Some(reason) = term.told_to_go() {
            return Ok(Came::ToldToGo(reason));
        }
        if hall.listening.is_over(now) {
            return Ok(Came::Nobody);
        }
        let open = hall.listening.takes_dials(now).then_some(&from.listener);
        wait(
            open,
            Some(term),
            &hall.pending,
            now,
            hall.listening.until().unwrap_or(Nanos::MAX),
        )?;
        hall.admit(&from.listener, birth, clock, say)?;
        if let Some(won) = hall.step(clock, say) {
            return Ok(Came::Won(won, hall));
        }
    }
}

impl Hall {
    /// Lets in who has dialled.
    fn admit(
        &mut self,
        listener: &TcpListener,
        birth: &Birth,
        clock: &Clock,
        say: impl Fn(Event),
    ) -> io::Result<()> {
        while self.listening.takes_dials(clock.now())
            && let Some((stream, peer)) = accept(listener)?
        {
            let (now, from) = (clock.now(), peer.to_string());
            say(Event::Client { from });
            self.next += 1;
            let (door, gives_way) = self.listening.on_dialled(self.next, now);
            self.pending
                .retain(|pending| gives_way != Some(pending.number));
            let mut one = Pending::new(stream, peer, birth(now, 0));
            one.number = self.next;
            if let Door::TurnAway(until) = door {
                one.turn_away(self.serves, until);
            }
            self.pending.push(one);
        }
        Ok(())
    }

    /// Who has sent something is heard, and told what is to be said; the master that has the slave now, if one does.
    fn step(&mut self, clock: &Clock, say: impl Fn(Event)) -> Option<Won> {
        let now = clock.now();
        let mut at = 0;
        while at < self.pending.len() {
            let one = &mut self.pending[at];
            let goes_on = one.step(now);
            if one.away.is_none() && one.core.welcome().is_some() && one.out.is_empty() {
                let one = self.pending.remove(at);
                if let Welcomed::Serves(until) = self.listening.on_welcomed(one.number, now) {
                    self.serves = Some(one.peer);
                    for other in &mut self.pending {
                        other.turn_away(self.serves, until);
                    }
                    let Pending { stream, core, .. } = one;
                    let core = Box::new(core);
                    return Some(Won { stream, core });
                }
                continue;
            }
            let ended = one.core.end().map(ToString::to_string);
            if let Some(until) = one.away
                && !one.is_shut
                && one.is_all_told()
            {
                let _ = one.stream.shutdown(std::net::Shutdown::Write);
                (one.is_shut, one.away) = (true, Some(until.min(now + LOOK)));
            }
            let is_late = one.away.is_some_and(|until| now >= until);
            if goes_on && (one.is_shut || ended.is_none()) && !is_late {
                at += 1;
                continue;
            }
            let one = self.pending.remove(at);
            self.listening.on_gone(one.number);
            let from = one.peer.to_string();
            let reason = match one.away {
                Some(_) => busy(self.serves),
                None => ended.or(one.gone).unwrap_or_default(),
            };
            say(Event::Rejected { from, reason });
        }
        None
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
            let Pending { stream, core, .. } = one;
            let core = Box::new(core);
            return Ok(Won { stream, core });
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
pub(crate) fn attend(listener: TcpListener, mut hall: Hall, birth: Birth, clock: Clock) {
    let attend = move || {
        loop {
            let waited = wait(
                Some(&listener),
                None,
                &hall.pending,
                clock.now(),
                Nanos::MAX,
            );
            // What it says of them would stand between the lines of the slave that serves.
            if waited.is_err() || hall.admit(&listener, &birth, &clock, drop).is_err() {
                return;
            }
            hall.step(&clock, drop);
        }
    };
    let thread = std::thread::Builder::new().name("ringmw-listen".into());
    // Without it others wait until this master has gone.
    let _ = thread.spawn(attend);
}

fn busy(serves: Option<SocketAddr>) -> String {
    let serves = serves.map_or_else(String::new, |serves| format!(" at {serves}"));
    format!("this slave serves the master{serves}; it listens again when that one has ended")
}

impl Pending {
    pub(crate) fn new(stream: TcpStream, peer: SocketAddr, core: SlaveCore) -> Self {
        Pending {
            stream,
            peer,
            core,
            out: Vec::new(),
            gone: None,
            number: 0,
            away: None,
            is_shut: false,
        }
    }

    /// The slave is another's: what it has not been told yet it will not be, but that.
    fn turn_away(&mut self, serves: Option<SocketAddr>, until: Nanos) {
        if self.away.is_none() {
            self.core.turn_away(&busy(serves));
            self.away = Some(until);
        }
    }

    fn is_all_told(&self) -> bool {
        self.core.is_all_said() && self.out.is_empty()
    }

    /// Takes what has come and writes what is to be said; false where the connection is gone.
    fn step(&mut self, now: Nanos) -> bool {
        let mut buffer = [0; READ_BYTES];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.is_gone(CLOSED),
                Ok(_) if self.is_shut => {}
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
        if self.is_shut {
            return true;
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

/// Sleeps until somebody dials, a signal comes or one of these speaks, at most until then.
fn wait(
    listener: Option<&TcpListener>,
    term: Option<&Term>,
    pending: &[Pending],
    now: Nanos,
    until: Nanos,
) -> io::Result<()> {
    let mut fds: Vec<PollFd<'_>> = Vec::new();
    fds.extend(listener.map(|listener| PollFd::new(listener, PollFlags::IN)));
    let rings = term.map(Term::rings);
    fds.extend(rings.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
    for one in pending {
        let mut interest = PollFlags::IN;
        interest.set(PollFlags::OUT, !one.out.is_empty());
        fds.push(PollFd::new(&one.stream, interest));
    }
    let due = |one: &Pending| match one.away {
        Some(until) => until,
        None => one.core.next_deadline(),
    };
    let due = pending.iter().map(due).min();
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
