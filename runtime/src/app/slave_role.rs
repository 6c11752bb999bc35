//! The slave's role: find the master, join, run the slave algorithm, leave.

use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, RoleWord, Who};
use ringmw_codec::flags::{FLAG, exit};
use ringmw_codec::handshake::{About, Hello, PROTOCOL_VERSION};
use ringmw_codec::secret::Secret;
use ringmw_sched::Nanos;

use crate::app::args::{Args, ExitRequest};
use crate::app::batch_job::{DIALLED_WITHIN, Lives, Patience, is_in_vain};
use crate::app::exit::Exit;
use crate::app::parts::{OWN_VERSION, Parts, SlaveSide, finish};
use crate::flags::{Settings, Target, resolve_listener, resolve_slave_target};
use crate::io::clock::Clock;
use crate::io::files::audit::{AuditWriter, Sink};
use crate::io::files::resource;
use crate::io::job_ad;
use crate::io::last_lines;
use crate::io::last_word;
use crate::io::local::BEFORE_VARIABLE;
use crate::io::relisten::Relisten;
use crate::io::secret_file;
use crate::io::slave_link::Term;
use crate::io::terminal::complain;
use crate::io::word::Word;
use crate::proto::slave::{SlaveEnd, WELCOME_WAIT};
use crate::slave::back::{Back, Found};
use crate::slave::listen::{self, Birth, Came, Hall, Pending, Unanswered, Won, await_one};
use crate::slave::{self, Join, Slave, Via};

pub(super) fn run(parts: Parts, settings: Settings, name: &str) -> u8 {
    let lives = match is_local() {
        true => None,
        false => Lives::of_this_job(),
    };
    let parts = parts.slave_side();
    let word = Word::inherited().map(Arc::new);
    let leaves = |was_told: bool, reason: &str| {
        if let Some(word) = &word {
            word.leaves(was_told, reason);
        }
    };
    let resolved = match settings.slave_listen {
        None => resolve_slave_target(&settings.sources, resource::read),
        Some(_) => resolve_listener(&settings.sources, resource::read),
    };
    let mut target = match resolved {
        Ok(target) => target,
        Err(error) => {
            complain(name, &error);
            leaves(false, &error);
            return exit::ERROR;
        }
    };
    for warning in &target.warnings {
        complain(name, warning);
    }
    let sink = match &settings.audit_file {
        Some(path) => Sink::File(path.clone(), settings.audit_rotate),
        None if is_local() => Sink::None,
        None => Sink::Stdout,
    };
    let audit = match AuditWriter::open(sink) {
        Ok(audit) => Arc::new(audit),
        Err(error) => {
            complain(name, &error);
            leaves(false, &error.to_string());
            return exit::ERROR;
        }
    };
    let said = |id: Option<u32>, event| audit.say(Who::Slave(id), event);
    last_lines::write_at_abort(Arc::clone(&audit), || Who::Slave(None));
    said(None, init(&parts, &target.member_id));
    let is_finished = || {
        let reason = "the resource file says that the computation is finished".to_owned();
        let code = exit::OK;
        leaves(true, &reason);
        said(None, Event::Exit { code, reason });
        finish(&audit, name);
        exit::OK
    };
    if target.finished {
        return is_finished();
    }
    let own_secret = match &settings.secret_file {
        Some(path) => match secret_file::read(path) {
            Ok(secret) => Some(secret),
            Err(error) => {
                complain(name, &error);
                leaves(false, &error);
                return exit::ERROR;
            }
        },
        None => None,
    };
    let term = match Term::watch() {
        Ok(term) => term,
        Err(error) => {
            let error = format!("signals cannot be caught: {error}");
            complain(name, &error);
            leaves(false, &error);
            return exit::ERROR;
        }
    };
    let signalled = term.signalled();
    let patience = patience(&settings);
    let birth_of = |target: &Target| {
        let about = About {
            is_watched: word.is_some(),
            before: std::env::var(BEFORE_VARIABLE).unwrap_or_default(),
            labels: settings.labels.clone(),
            comes_back_to: 0,
        };
        let hello = hello(&parts, &target.member_id, about);
        let secret = own_secret.clone().or_else(|| target.secret.clone());
        let bounds = settings.slave_bounds;
        slave::birth(hello, secret, bounds, &parts.registry, patience)
    };
    let limit = settings.slave_bounds.time_limit.map(Duration::from_nanos);
    let was_short = |end: Option<&SlaveEnd>, completed| {
        let lives = lives.as_ref()?;
        let planned = signalled.load(Ordering::SeqCst) != 0 || lives.is_older_than(limit);
        is_in_vain(end, completed, planned).then(|| lives.in_vain())?
    };
    // Who started it with a pipe counts itself, and a code of the user's own stays.
    let leave = |id: Option<u32>, code: u8, in_vain: Option<u8>, reason: String| {
        let code = match in_vain {
            Some(in_vain) if code == exit::ERROR && word.is_none() => in_vain,
            _ => code,
        };
        leaves(code == exit::OK, &reason);
        said(id, Event::Exit { code, reason });
        finish(&audit, name);
        last_word::is_meant();
        code
    };
    let mut again = None;
    let via = match &settings.slave_listen {
        None => {
            let search = Search {
                settings: &settings,
                lives: lives.as_ref(),
                audit: &audit,
                name,
                term: &term,
                birth_of: &birth_of,
            };
            match search.reach(&mut target) {
                Ok(Reached::Welcomed(won, clock)) => Via::Welcomed(won, clock),
                Ok(Reached::Finished) => return is_finished(),
                Ok(Reached::Ended(end)) => {
                    let error = end.to_string();
                    complain(name, &error);
                    return leave(None, exit::ERROR, was_short(Some(&end), 0), error);
                }
                Err(error) => {
                    complain(name, &error);
                    leaves(false, &error);
                    let code = match (&lives, &word) {
                        (Some(lives), None) => lives.unreached(),
                        _ => exit::ERROR,
                    };
                    let reason = error;
                    said(None, Event::Exit { code, reason });
                    finish(&audit, name);
                    return code;
                }
            }
        }
        Some(at) => {
            let secret = own_secret.as_ref().or(target.secret.as_ref());
            match await_master(at, &settings, secret, &birth_of(&target), &audit, &term) {
                Ok(Waited::Won(won, clock, from, hall)) => {
                    again = Some(Arc::clone(&from));
                    Via::Won(won, clock, from, hall)
                }
                Ok(Waited::ToldToGo(reason)) => {
                    return leave(None, exit::ERROR, None, reason);
                }
                Ok(Waited::Nobody(code, waited)) => {
                    let (code, reason) = match code {
                        Some(code) => (code, "no other master has come".to_owned()),
                        None => {
                            let reason = format!(
                                "no master has dialled it within {} s; its flag for that is {}",
                                waited.as_secs(),
                                FLAG.slaves_at.name
                            );
                            complain(name, &reason);
                            (lives.as_ref().map_or(exit::ERROR, Lives::unreached), reason)
                        }
                    };
                    leaves(code == exit::OK, &reason);
                    said(None, Event::Exit { code, reason });
                    finish(&audit, name);
                    return code;
                }
                Err(error) => {
                    complain(name, &error);
                    leaves(false, &error);
                    let (code, reason) = (exit::ERROR, error);
                    said(None, Event::Exit { code, reason });
                    finish(&audit, name);
                    return exit::ERROR;
                }
            }
        }
    };
    let birth = birth_of(&target);
    let back = (patience != Some(0)).then(|| back(&settings, &target.addresses, &birth));
    slave::panics::remember_panics();
    let join = Join {
        via,
        birth,
        registry: Arc::clone(&parts.registry),
        audit: Arc::clone(&audit),
        term: Some(term),
        own_args: settings.user.clone(),
        word: word.clone(),
        replace: None,
        memory_max: settings.slave_memory,
        back,
    };
    let in_vain;
    let (id, code, reason) = match Slave::join(join) {
        Err(end) => {
            in_vain = was_short(Some(&end), 0);
            let error = end.to_string();
            complain(name, &error);
            (None, exit::ERROR, error)
        }
        Ok(mut slave) => {
            slave.watch_exits();
            let (code, reason, error) = serve(&mut slave, &parts, word.is_some());
            if let Some(error) = error {
                complain(name, &error);
            }
            if let Some(again) = again
                && slave.end().is_some_and(|end| listens_again(&end, &job()))
            {
                let (id, wait) = (Some(slave.id().0), slave.client_timeout());
                let text = format!("{reason}; it listens for the next master");
                said(id, Event::Note { text });
                finish(&audit, name);
                let error = again.again(code, wait);
                complain(name, &format!("it cannot listen again: {error}"));
                return exit::ERROR;
            }
            in_vain = was_short(slave.end().as_ref(), slave.completed());
            (Some(slave.id().0), code, reason)
        }
    };
    leave(id, code, in_vain, reason)
}

/// How long it looks for the next life of its run: as long as its master says, if it was not told. One of local mode dies
/// with its master, and one that listens waits to be dialled.
fn patience(settings: &Settings) -> Option<Nanos> {
    match is_local() || settings.slave_listen.is_some() {
        true => Some(0),
        false => settings.slave_reconnect,
    }
}

/// Whether one that listens waits for the next master, its last one having ended so. Whoever started a job starts the
/// next one if another is wanted.
fn listens_again(end: &SlaveEnd, job: &str) -> bool {
    let is_done = !job.is_empty() && end.exit_code() == exit::OK;
    !end.is_own_will() && !is_done
}

/// How it finds that.
fn back(settings: &Settings, addresses: &[String], birth: &Birth) -> Back {
    let (sources, addresses) = (settings.sources.clone(), addresses.to_vec());
    let find = move || match resolve_slave_target(&sources, resource::read) {
        Ok(target) if target.finished => Found::Finished,
        // As it is now, then as it was.
        Ok(mut target) => {
            let now = std::mem::take(&mut target.addresses);
            let was = addresses.iter().filter(|address| !now.contains(address));
            let was = was.cloned().collect::<Vec<_>>();
            Found::At([now, was].concat())
        }
        Err(_) => Found::At(addresses.clone()),
    };
    Back {
        birth: Arc::clone(birth),
        find: Box::new(find),
    }
}

/// What came of looking for the master.
enum Reached {
    Welcomed(Won, Clock),
    /// The resource file says that the computation is finished.
    Finished,
    /// The master has turned it away, or it was told to go.
    Ended(SlaveEnd),
}

/// How long the first answer is waited for; each time twice as long, up to what the core waits. A master may hold its thread
/// for minutes. One that was killed may have left a socket that its kernel goes on listening with, and another life of it
/// be at another port by then.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Looks for a master that welcomes this slave.
struct Search<'a> {
    settings: &'a Settings,
    lives: Option<&'a Lives>,
    audit: &'a AuditWriter,
    name: &'a str,
    term: &'a Term,
    birth_of: &'a dyn Fn(&Target) -> Birth,
}

impl Search<'_> {
    /// Dials the master; in a batch job again, with growing pauses, where nobody answers, and everywhere where somebody
    /// takes the connection and says nothing. Each time at the addresses that the resource file names by then.
    fn reach(&self, target: &mut Target) -> Result<Reached, String> {
        let mut patience: Option<Patience> = None;
        let mut silent: Vec<SocketAddr> = Vec::new();
        let (begun, mut wait) = (Instant::now(), ANSWER_WAIT);
        let longest = Duration::from_nanos(WELCOME_WAIT);
        loop {
            let error = match slave::connect(&target.addresses, &silent, self.audit) {
                Err(error) => error,
                Ok((stream, peer)) => match self.ask(target, stream, peer, wait) {
                    Asked::Is(reached) => return Ok(reached),
                    Asked::Silent => {
                        let error = format!(
                            "the master at {peer} took the connection and has not answered in {} s: it holds its thread, or is \
                             gone and its socket still listens",
                            wait.as_secs()
                        );
                        let left = longest.saturating_sub(begun.elapsed());
                        if left.is_zero() {
                            return Err(error);
                        }
                        complain(self.name, &format!("{error}. It is dialled again"));
                        silent.push(peer);
                        wait = (2 * wait).min(left.max(ANSWER_WAIT));
                        if self.look_again(target) {
                            return Ok(Reached::Finished);
                        }
                        continue;
                    }
                },
            };
            let Some(lives) = self.lives else {
                return Err(error);
            };
            let patience = patience.get_or_insert_with(|| {
                let patience = lives.patience();
                let seconds = patience.bound().as_secs();
                complain(
                    self.name,
                    &format!("{error} It tries again for {seconds} s"),
                );
                patience
            });
            if !patience.wait() {
                return Err(error);
            }
            if self.look_again(target) {
                return Ok(Reached::Finished);
            }
        }
    }

    /// Reads the resource file again: one that cannot be read now may be there again the next time. Whether it says that the
    /// computation is finished.
    fn look_again(&self, target: &mut Target) -> bool {
        let Ok(now) = resolve_slave_target(&self.settings.sources, resource::read) else {
            return false;
        };
        let is_finished = now.finished;
        if !is_finished {
            *target = now;
        }
        is_finished
    }

    /// Shakes hands with who took the connection.
    fn ask(&self, target: &Target, stream: TcpStream, peer: SocketAddr, wait: Duration) -> Asked {
        let clock = Clock::start();
        let core = (self.birth_of)(target)(clock.now(), 0);
        let ended = |end| Asked::Is(Reached::Ended(end));
        let prepared = stream
            .set_nonblocking(true)
            .and_then(|()| stream.set_nodelay(true));
        if let Err(error) = prepared {
            let text = format!("cannot set up the connection: {error}");
            return ended(SlaveEnd::MasterLost(text));
        }
        let until = clock.now() + Nanos::try_from(wait.as_nanos()).unwrap_or(WELCOME_WAIT);
        self.term.heed(true);
        let pending = Pending::new(stream, peer, core);
        let answer = await_one(pending, &clock, until, &|| self.term.told_to_go());
        match answer {
            // From here on the slave's own thread hears signals.
            Ok(won) => Asked::Is(Reached::Welcomed(won, clock)),
            Err(Unanswered::Silent) => {
                self.term.heed(false);
                match self.term.told_to_go() {
                    Some(reason) => ended(SlaveEnd::Left(reason)),
                    None => Asked::Silent,
                }
            }
            Err(Unanswered::Gone(why)) => {
                let reason = format!("{peer}: {why}");
                let text = reason.clone();
                self.audit
                    .say(Who::Slave(None), Event::MasterLost { reason });
                ended(SlaveEnd::MasterLost(text))
            }
            Err(Unanswered::Ended(mut core)) => {
                while let Some(event) = core.poll_audit() {
                    self.audit.say(Who::Slave(None), event);
                }
                ended(core.end().expect("it has ended").clone())
            }
        }
    }
}

/// What came of asking one master.
enum Asked {
    Is(Reached),
    Silent,
}

/// What came of listening.
enum Waited {
    Won(Won, Clock, Arc<Relisten>, Box<Hall>),
    /// Nobody has dialled for so long: since the last master, which ended with this exit code, or at all.
    Nobody(Option<u8>, Duration),
    /// A signal: it is to leave, for this reason.
    ToldToGo(String),
}

fn await_master(
    at: &(Option<String>, u16),
    settings: &Settings,
    secret: Option<&Secret>,
    birth: &Birth,
    audit: &AuditWriter,
    term: &Term,
) -> Result<Waited, String> {
    term.heed(true);
    let mut from = Relisten::open(at)?;
    if from.code.is_none() && !job().is_empty() {
        from.wait = Some(DIALLED_WITHIN);
    }
    from.keep_piped(settings.secret_file.as_deref(), secret);
    let fault = |error: std::io::Error| format!("the listening socket: {error}");
    let address = from.listener.local_addr().map_err(fault)?;
    let addresses = vec![address.to_string()];
    let security = match secret {
        Some(_) => "secret",
        None => "none",
    };
    let security = Some(security.to_owned());
    let ready = Event::Ready {
        addresses,
        security,
    };
    audit.say(Who::Slave(None), ready);
    let clock = Clock::start();
    Ok(
        match listen::await_master(&from, birth, &clock, audit, term).map_err(fault)? {
            Came::Won(won, hall) => Waited::Won(won, clock, Arc::new(from), Box::new(hall)),
            Came::Nobody => Waited::Nobody(from.code, from.wait.unwrap_or_default()),
            Came::ToldToGo(reason) => Waited::ToldToGo(reason),
        },
    )
}

fn init(parts: &SlaveSide, member_id: &str) -> Event {
    Event::Init {
        version: OWN_VERSION.to_owned(),
        role: RoleWord::Slave,
        member_id: member_id.to_owned(),
        build: crate::app::fingerprint::build(),
        app_version: parts.version.clone(),
        seed: None,
        pid: std::process::id(),
        host: host(),
    }
}

pub(super) fn hello(parts: &SlaveSide, member_id: &str, about: About) -> Hello {
    Hello {
        protocol: PROTOCOL_VERSION,
        member_id: member_id.as_bytes().to_vec(),
        host: host(),
        job: job(),
        pid: std::process::id(),
        about,
        fingerprint: crate::app::fingerprint::of(&parts.registry, &parts.version),
    }
}

/// Runs the slave algorithm to its end: the exit code, why, and what to complain of.
pub(super) fn serve(
    slave: &mut Slave,
    parts: &SlaveSide,
    is_watched: bool,
) -> (u8, String, Option<String>) {
    let exit = match &parts.slave {
        Some(algorithm) => {
            let args = Args::new(slave.args().to_vec());
            let run = AssertUnwindSafe(|| algorithm(slave, args));
            catch_unwind(run).unwrap_or_else(|panic| match panic.downcast::<ExitRequest>() {
                Ok(request) => Exit::code(request.0),
                Err(_) => Exit::error("the slave algorithm panicked; its message is above"),
            })
        }
        None => {
            slave.note(Event::DefaultSlaveAlgorithm);
            Exit::code(slave.until_shutdown())
        }
    };
    let early = slave.end().is_none();
    if early {
        let error = exit.error.as_deref();
        slave.leave(error.unwrap_or("the slave algorithm returned"));
    }
    slave.await_gone();
    let end = slave.end().expect("if it was not over, it has left");
    match end {
        SlaveEnd::Left(reason) if early => {
            // With 0 it would leave the batch system's queue, and the computation is not finished.
            let code = match exit.code {
                exit::OK => exit::ERROR,
                code => code,
            };
            let error = exit.error.or_else(|| Some(reason.clone()));
            (code, reason, error)
        }
        end => {
            let reason = end.to_string();
            let is_told = end.is_told(is_watched);
            let error = exit.error.or_else(|| is_told.then(|| reason.clone()));
            (exit.code.max(end.exit_code()), reason, error)
        }
    }
}

/// This host's name.
pub(super) fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Whether local mode started this process: its trail would drown what the application prints.
fn is_local() -> bool {
    job().starts_with("local.")
}

/// The batch job that this process is: local mode's, HTCondor's or Slurm's; empty if none.
pub(super) fn job() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable(crate::io::local::JOB_VARIABLE)
        .or_else(condor_job)
        .or_else(|| {
            let array = variable("SLURM_ARRAY_JOB_ID")?;
            Some(format!(
                "slurm.{array}_{}",
                variable("SLURM_ARRAY_TASK_ID")?
            ))
        })
        .or_else(|| Some(format!("slurm.{}", variable("SLURM_JOB_ID")?)))
        .unwrap_or_default()
}

fn condor_job() -> Option<String> {
    let ad = job_ad::read()?;
    let attribute = |name| job_ad::attribute(&ad, name);
    Some(format!(
        "condor.{}.{}",
        attribute("ClusterId")?,
        attribute("ProcId")?
    ))
}
