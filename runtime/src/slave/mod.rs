//! The slave: connects, computes, and is told when to stop.
//!
//! Tasks run on the thread that calls the loops (in a process of its own, the main thread with its
//! full stack); the I/O thread stands beside it.

pub use forward::ForwardLog;

use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::control::GoodbyeCode;
use ringmw_codec::handshake::Hello;
use ringmw_codec::secret::Secret;
use ringmw_sched::{Nanos, SlaveId};

use crate::io::clock::Clock;
use crate::io::crash;
use crate::io::files::audit::AuditWriter;
use crate::io::last_word;
use crate::io::memory;
use crate::io::reach::{reach, resolve};
use crate::io::relisten::Relisten;
use crate::io::secret_file;
use crate::io::slave_link::{Link, Term};
use crate::io::word::Word;
use crate::proto::config::{Bounds, SlaveConfig};
use crate::proto::incumbents::BestTable;
use crate::proto::slave::{Assignment, Next, Output, SlaveCore, SlaveEnd};
use crate::typed::cx::{Cx, TaskStart};
use crate::typed::registry::{AlgorithmIndex, Entry, Registry};
use crate::typed::tag::RunError;
use back::Back;
use host::{OnLink, offers};
use listen::{Birth, Hall, Won};
use panics::describe_panic;

pub(crate) mod back;
mod forward;
mod host;
pub(crate) mod listen;
pub(crate) mod panics;

/// What a slave's loop tells when it returns: CL-MW's six values.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct LoopReport {
    /// The connection to the master is gone, or the slave was refused.
    pub master_disconnect: bool,
    /// The master told the slave to shut down.
    pub explicit_shutdown: bool,
    /// Results completed since the slave started.
    pub total_results_completed: u64,
    /// Tasks in hand that have not begun.
    pub tasks_queued: usize,
    /// Results that wait to be sent.
    pub results_waiting: usize,
    /// Results that travel in one packet; 0 if that is automatic.
    pub result_grouping: u32,
}

impl LoopReport {
    /// Whether there is nothing more to loop for.
    pub fn is_over(&self) -> bool {
        self.master_disconnect || self.explicit_shutdown
    }
}

/// A slave that is connected to its master: what a slave algorithm works with.
///
/// ```no_run
/// use ringmw::prelude::*;
///
/// fn slave(slave: &mut Slave, _args: Args) -> u8 {
///     println!("I am {}", slave.id());
///     slave.until_shutdown()
/// }
/// # fn main() { let _ = App::new().slave(slave); }
/// ```
pub struct Slave {
    link: Arc<Link>,
    registry: Arc<Registry>,
    cx: Cx,
    id: SlaveId,
    output: Output,
}

/// A task that was computed.
struct Computed {
    packet: u64,
    /// When it ended, if the next one may follow at once.
    ended: Option<Nanos>,
}

/// How it comes to its master.
pub(crate) enum Via {
    /// It dials these, see [`connect`].
    Dial(Vec<String>),
    /// It has dialled, and is welcome.
    Welcomed(Won, Clock),
    /// This master has dialled, and others may.
    Won(Won, Clock, Arc<Relisten>, Box<Hall>),
}

/// What makes the core of each connection: its hello, and with a secret a proof under a key of its own. `patience`: how long
/// it looks for its run's next life, should it lose its master; none: as long as that says.
pub(crate) fn birth(
    hello: Hello,
    secret: Option<Secret>,
    bounds: Bounds,
    registry: &Arc<Registry>,
    patience: Option<Nanos>,
) -> Birth {
    let registry = Arc::clone(registry);
    Arc::new(move |now, run| {
        let mut hello = hello.clone();
        hello.about.comes_back_to = run;
        let config = SlaveConfig { hello };
        let mut core = SlaveCore::new(&config, now);
        if let Some(secret) = &secret {
            core.set_secret(secret, &config.hello.member_id, secret_file::draw_key());
        }
        core.set_bounds(bounds);
        core.set_timeouts(registry.timeouts());
        core.set_mentions(registry.mentions());
        core.set_populate(memory::populate);
        if patience != Some(0) {
            core.may_come_back(registry.hashes(), patience);
        }
        core
    })
}

/// How to become a slave.
pub(crate) struct Join {
    pub(crate) via: Via,
    /// Makes the core; see [`birth`].
    pub(crate) birth: Birth,
    pub(crate) registry: Arc<Registry>,
    pub(crate) audit: Arc<AuditWriter>,
    /// `None` where the slave is a thread of a larger process.
    pub(crate) term: Option<Term>,
    /// The user's arguments of its own command line.
    pub(crate) own_args: Vec<String>,
    /// What it leaves behind for whoever started it.
    pub(crate) word: Option<Arc<Word>>,
    /// What becomes of its place where it is a thread that goes on at a task which has been answered for.
    pub(crate) replace: Option<Box<dyn FnOnce() + Send>>,
    /// The most bytes of memory that this process may have resident.
    pub(crate) memory_max: Option<u64>,
    /// How it finds the next life of its run.
    pub(crate) back: Option<Back>,
}

impl Slave {
    /// Connects to the first address that answers and shakes hands.
    ///
    /// # Errors
    /// How it ended before it was a slave, a line for the operator: which addresses were tried and why each failed, or
    /// why the master refused.
    pub(crate) fn join(join: Join) -> Result<Slave, SlaveEnd> {
        let Join {
            via,
            birth,
            registry,
            audit,
            term,
            own_args,
            word,
            replace,
            memory_max,
            back,
        } = join;
        let (stream, core, clock, again) = match via {
            Via::Dial(addresses) => {
                let connected = connect(&addresses, &[], &audit);
                let (stream, _) = connected.map_err(SlaveEnd::MasterLost)?;
                let clock = Clock::start();
                (stream, birth(clock.now(), 0), clock, None)
            }
            Via::Welcomed(won, clock) => (won.stream, *won.core, clock, None),
            Via::Won(won, clock, again, hall) => {
                // Others who dial are told whose the slave is.
                if let Ok(listener) = again.listener.try_clone() {
                    listen::attend(listener, *hall, birth, clock);
                }
                (won.stream, *won.core, clock, Some(again))
            }
        };
        let failed = |what: &str, error| SlaveEnd::MasterLost(format!("{what}: {error}"));
        stream
            .set_nodelay(true)
            .map_err(|error| failed("cannot set up the connection", error))?;
        let bests = BestTable::default();
        let link = Link::new(stream, core, clock, bests.clone(), audit, again, word)
            .map_err(|error| failed("cannot make an eventfd", error))?;
        let io = Arc::clone(&link);
        let back = back.map(Arc::new);
        let looks: Box<dyn Fn() + Send> = match back {
            None => Box::new(|| ()),
            Some(back) => {
                let link = Arc::clone(&link);
                Box::new(move || {
                    if let Err(error) = back::begin(Arc::clone(&link), Arc::clone(&back)) {
                        let text = format!("it cannot look for its master: {error}");
                        link.note(Event::Note { text });
                        link.give_up(None);
                    }
                })
            }
        };
        let is_process = term.is_some();
        // Where memory is bounded, what is free counts as well, and would be a task's fault.
        if is_process && memory_max.is_none() {
            memory::keep_freed();
        }
        std::thread::Builder::new()
            .name("ringmw-io".into())
            .spawn(move || io.run(term.as_ref(), replace, memory_max, &*looks))
            .map_err(|error| failed("cannot start the I/O thread", error))?;
        // Welcome and shutdown may come in one breath: that slave joined, and is told to go by its loop.
        let mut answer = None;
        link.serve_until(Nanos::MAX, |core, _| {
            answer = match (core.welcome(), core.end()) {
                (Some(welcome), _) => Some(Ok(welcome.clone())),
                (None, Some(end)) => Some(Err(end.clone())),
                (None, None) => None,
            };
            answer.is_some()
        });
        let welcome = answer.expect("it is waited for without end")?;
        let id = SlaveId(welcome.slave);
        if let Some(word) = &link.word {
            word.joined(id.0, welcome.crash_limit == 0);
        }
        forward::forward(&link, is_process);
        let cx = Cx::new(
            id,
            welcome.seed,
            welcome.args.into(),
            Arc::clone(&link.cancelled),
            bests,
            offers(&link),
        )
        .with_own_args(own_args)
        .with_host(Rc::new(OnLink(Arc::clone(&link))));
        Ok(Slave {
            link,
            registry,
            cx,
            id,
            output: Output::new(),
        })
    }

    /// The master's client timeout, which is how long a slave that listens waits for the next one.
    pub(crate) fn client_timeout(&self) -> Duration {
        let core = self.link.core();
        let welcome = core.welcome().expect("it has joined");
        Duration::from_millis(welcome.client_timeout_ms)
    }

    /// Its identity in the run.
    pub fn id(&self) -> SlaveId {
        self.id
    }

    /// The user's arguments, as the master was given them.
    pub fn args(&self) -> &[String] {
        self.cx.args()
    }

    /// The user's arguments of this slave's own command line; see [`Cx::own_args`].
    pub fn own_args(&self) -> &[String] {
        self.cx.own_args()
    }

    /// Computes one task, waiting for it if there is none (CL-MW's iterate).
    pub fn one_task(&mut self) -> LoopReport {
        self.step(None, None);
        self.report()
    }

    /// Computes one task, or none if for so long there is none to begin. A task that has begun is not cut.
    ///
    /// ```no_run
    /// use std::path::Path;
    /// use std::time::Duration;
    ///
    /// use ringmw::prelude::*;
    ///
    /// fn slave(slave: &mut Slave, _args: Args) -> u8 {
    ///     while !Path::new("/var/run/maintenance").exists() {
    ///         let report = slave.one_task_timeout(Duration::from_secs(5));
    ///         if report.is_over() {
    ///             return u8::from(!report.explicit_shutdown) * 255;
    ///         }
    ///     }
    ///     255
    /// }
    /// # fn main() { let _ = App::new().slave(slave); }
    /// ```
    pub fn one_task_timeout(&mut self, timeout: Duration) -> LoopReport {
        self.step(Some(timeout), None);
        self.report()
    }

    /// Computes one group of tasks, which is one packet of the master's or what is left of it, waiting for it if there is
    /// none.
    pub fn one_group(&mut self) -> LoopReport {
        self.group(None);
        self.report()
    }

    /// Computes one group of tasks, or none if for so long there is none to begin. A task that has begun is not cut.
    ///
    /// Between two of them a slave algorithm can look after its surroundings.
    ///
    /// ```no_run
    /// use std::path::Path;
    /// use std::time::Duration;
    ///
    /// use ringmw::prelude::*;
    ///
    /// fn slave(slave: &mut Slave, _args: Args) -> u8 {
    ///     loop {
    ///         let report = slave.one_group_timeout(Duration::from_secs(5));
    ///         if report.is_over() {
    ///             return u8::from(!report.explicit_shutdown) * 255;
    ///         }
    ///         if !Path::new("/scratch/database").exists() {
    ///             return 255;
    ///         }
    ///     }
    /// }
    /// # fn main() { let _ = App::new().slave(slave); }
    /// ```
    pub fn one_group_timeout(&mut self, timeout: Duration) -> LoopReport {
        self.group(Some(timeout));
        self.report()
    }

    /// Computes until it is over: 0 if the master said that the computation is finished, else 255.
    pub fn until_shutdown(&mut self) -> u8 {
        let mut before = None;
        while let Some(computed) = self.step(None, before) {
            before = computed.ended;
        }
        self.end()
            .map_or(ringmw_codec::flags::exit::ERROR, |end| end.exit_code())
    }

    /// Tasks that it has ended.
    pub(crate) fn completed(&self) -> u64 {
        self.link.core().completed()
    }

    pub(crate) fn end(&self) -> Option<SlaveEnd> {
        self.link.core().end().cloned()
    }

    pub(crate) fn note(&self, event: Event) {
        self.link.note(event);
    }

    /// This process is the slave's own: an `exit` in it is told, and a fault that kills it.
    pub(crate) fn watch_exits(&self) {
        let link = Arc::clone(&self.link);
        last_word::watch(move |reason| link.on_exit(GoodbyeCode::Ended, reason));
        let link = Arc::clone(&self.link);
        crash::watch(move |reason| link.on_exit(GoodbyeCode::Signalled, reason));
    }

    /// Says goodbye, should the slave algorithm have returned before it was over.
    pub(crate) fn leave(&self, reason: &str) {
        self.link.core().leave(GoodbyeCode::Other, reason);
        self.link.flush();
    }

    /// Waits until the master has every finished result of a slave that leaves of its own will, as long as the connection
    /// lives; for any other end it has nothing to say, and returns at once.
    pub(crate) fn await_gone(&self) {
        self.link.await_gone();
        self.link.finish_audit();
    }

    /// Computes the tasks of one packet. One that must wait in the midst of it, for its announcement to leave or for the
    /// master to take results, waits as long as the first one might.
    fn group(&mut self, timeout: Option<Duration>) {
        let Some(mut last) = self.step(timeout, None) else {
            return;
        };
        let packet = last.packet;
        while self.link.core().front_packet() == Some(packet) {
            match self.step(timeout, last.ended) {
                Some(next) => last = next,
                None => return,
            }
        }
    }

    /// Computes one task; `None` when it is over, or when none could begin in this time. `ended` is when the one before has,
    /// should nothing have been done since.
    fn step(&mut self, timeout: Option<Duration>, mut ended: Option<Nanos>) -> Option<Computed> {
        let until = timeout.map_or(Nanos::MAX, |timeout| {
            let timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
            self.link.clock.now().saturating_add(timeout)
        });
        let mut id = None;
        let mut next = Next::Wait;
        let link = &*self.link;
        link.serve_until(until, |core, clock| {
            id = core.id();
            next = core.next_task(core.now_of_task(|| ended.unwrap_or_else(|| clock.now())));
            if matches!(next, Next::Wait) {
                ended = None;
                return false;
            }
            // Under the lock: a withdrawal of this very task may come next.
            link.cancelled.store(core.is_cancelled(), Ordering::Relaxed);
            link.bests.set_hungry(core.is_hungry());
            true
        });
        if let Some(id) = id.filter(|id| *id != self.id) {
            // The next life of its run has given it another.
            self.id = id;
            self.cx.set_slave(id);
        }
        match next {
            Next::Run(assignment) => {
                let ended = self.run(&assignment, ended);
                Some(Computed {
                    packet: assignment.packet,
                    ended,
                })
            }
            Next::Wait | Next::Stop(_) => None,
        }
    }

    /// Says when it has ended, if nothing was to be done then: for the next one, which begins at that time. A clock is read
    /// in some 25 ns, as long as a task may take.
    fn run(&mut self, assignment: &Assignment, before: Option<Nanos>) -> Option<Nanos> {
        self.output.clear();
        if let Some(word) = &self.link.word {
            word.begins(assignment.task, assignment.life, assignment.was_announced);
        }
        if assignment.converses {
            // It listens, and the master is to know.
            self.link.flush();
        }
        let begun = before
            .filter(|_| !assignment.converses)
            .unwrap_or_else(|| self.link.clock.now());
        let outcome = compute(
            &self.registry,
            assignment,
            &mut self.cx,
            self.output.buffer(),
        );
        crash::end_a_child();
        let now = self.link.clock.now();
        let compute = now - begun;
        let mut core = self.link.core();
        match &outcome {
            Ok(()) => core.finish(assignment.algorithm, Ok(&mut self.output), compute, now),
            Err(RunError::Failed(text)) => {
                core.finish(assignment.algorithm, Err(text), compute, now)
            }
            Err(RunError::Args(error)) => {
                let text = format!("its arguments cannot be read: {error}");
                core.finish(assignment.algorithm, Err(&text), compute, now);
            }
            Err(RunError::StateInit(reason)) => {
                core.leave(GoodbyeCode::StateInit, reason);
            }
            Err(RunError::Surroundings(reason)) => core.leave(GoodbyeCode::Surroundings, reason),
        }
        if let Some(word) = &self.link.word {
            match outcome {
                Err(RunError::StateInit(_) | RunError::Surroundings(_)) => word.put_aside(),
                _ => word.ended(),
            }
        }
        let over = core.end().is_some();
        let output = core.has_output() && !core.output_may_wait(now);
        let waits = core.has_collected();
        drop(core);
        if output {
            self.link.flush();
        }
        if waits {
            self.link.result_waits();
        }
        if over {
            self.link.notify();
        }
        (!output && !over).then_some(now)
    }

    fn report(&self) -> LoopReport {
        let core = self.link.core();
        LoopReport {
            master_disconnect: core
                .end()
                .is_some_and(|end| !matches!(end, SlaveEnd::Shutdown { .. })),
            explicit_shutdown: matches!(core.end(), Some(SlaveEnd::Shutdown { .. })),
            total_results_completed: core.completed(),
            tasks_queued: core.queued(),
            results_waiting: core.waiting_results(),
            result_grouping: core.welcome().map_or(1, |welcome| welcome.result_group),
        }
    }
}

/// Runs a task; its output's archive is appended. A panic of it is a failure like another.
pub(crate) fn compute(
    registry: &Registry,
    assignment: &Assignment,
    cx: &mut Cx,
    output: &mut Vec<u8>,
) -> Result<(), RunError> {
    let Some(entry) = registry.get(AlgorithmIndex(assignment.algorithm)) else {
        return Err(RunError::Failed(format!(
            "there is no algorithm {}",
            assignment.algorithm
        )));
    };
    let body = assignment
        .body()
        .map_err(|error| RunError::Failed(format!("its body cannot be read: {error}")))?;
    let start = TaskStart {
        task: assignment.task,
        algorithm: entry.name_hash,
        domain: body.domain,
        stream: body.stream,
        tag: (body.tag_type != 0).then_some((body.tag_type, body.tag)),
        shared: &assignment.shared,
        resume: assignment.resume.as_deref(),
    };
    run_caught(entry, start, body.args, cx, output)
}

/// Runs an algorithm for a task. A panic of it is a failure like another.
pub(crate) fn run_caught(
    entry: &Entry,
    start: TaskStart<'_>,
    args: &[u8],
    cx: &mut Cx,
    output: &mut Vec<u8>,
) -> Result<(), RunError> {
    cx.begin(start);
    catch_unwind(AssertUnwindSafe(|| (entry.run)(args, cx, output)))
        .unwrap_or_else(|panic| Err(describe_panic(panic)))
}

/// Dials all addresses of these hosts, each once: in their order, those in `last` after the others, the next one as well
/// where one does not answer at once. The first connection wins.
///
/// # Errors
/// Which were tried and why each failed.
pub(crate) fn connect(
    hosts: &[String],
    last: &[SocketAddr],
    audit: &AuditWriter,
) -> Result<(TcpStream, SocketAddr), String> {
    let (mut addresses, mut failures) = resolve(hosts);
    addresses.sort_by_key(|address| last.contains(address));
    let say = |event| audit.say(Who::Slave(None), event);
    let reached = reach(&addresses, |peer| {
        let to = peer.to_string();
        say(Event::Connecting { to });
    });
    match reached {
        Ok((stream, peer)) => {
            let from = stream.local_addr();
            let from = from.map_or_else(|_| String::new(), |from| from.to_string());
            let to = peer.to_string();
            say(Event::MasterConnected { to, from });
            Ok((stream, peer))
        }
        Err(why) => {
            failures.extend(why);
            Err(format!(
                "cannot reach the master at {}; is it running, and are --mw-master-host and --mw-master-port (or the resource file) its own?",
                failures.join(", ")
            ))
        }
    }
}
