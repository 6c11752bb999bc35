//! The master's role, and local mode's: listen, open the trail, drive the master algorithm, leave.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringmw_codec::audit::{EngineWord, Event, Line, RoleWord, Who};
use ringmw_codec::flags::exit;
use ringmw_codec::handshake::Welcome;

use super::{Parts, finish};
use crate::app::args::{Args, ExitRequest};
use crate::app::exit::Outcome;
use crate::flags::{Role, Settings};
use crate::io::clock::{self, Clock};
use crate::io::engine::{self, Choice, Engine};
use crate::io::files::audit::{AuditWriter, Sink};
use crate::io::signals::{Leave, Signals};
use crate::io::terminal::{complain, own_name};
use crate::master::Master;
use crate::master::driver::Driver;
use crate::master::state::State;
use crate::master::turn::Ending;
use crate::proto::config::{Demand, MasterConfig};
use crate::proto::master::MasterCore;
use crate::typed::registry::Registry;

mod resource;
mod slaves;

use resource::Reporting;
use slaves::LocalSlaves;

/// What is the same for a process of its own and for an embedded master.
struct Setting {
    parts: Parts,
    settings: Settings,
    audit: Arc<AuditWriter>,
    member_id: String,
    embedded: bool,
}

pub(super) fn run(parts: Parts, settings: Settings, name: &str) -> u8 {
    let sink = match (&settings.audit_file, &settings.role) {
        (Some(path), _) => Sink::File(path.clone()),
        (None, Role::Local { .. }) => Sink::None,
        (None, _) => Sink::Stdout,
    };
    let audit = match AuditWriter::open(sink) {
        Ok(audit) => Arc::new(audit),
        Err(error) => {
            complain(name, &error);
            return exit::ERROR;
        }
    };
    let member_id = match (&settings.member_id, &settings.role) {
        (Some(id), _) => id.clone(),
        (None, Role::Local { .. }) => format!("local-{:016x}", random()),
        (None, _) => "default-member-id".to_owned(),
    };
    let setting = Setting {
        parts,
        settings,
        audit: Arc::clone(&audit),
        member_id,
        embedded: false,
    };
    let last_words = LastWords::default();
    let of_signals = {
        let (audit, last_words) = (Arc::clone(&audit), last_words.clone());
        move |signal: Leave, why: &str, was_heard: bool| {
            last_words.begin();
            if !was_heard {
                let name = signal.name.to_owned();
                say(&audit, Event::Signal { name });
            }
            let (code, reason) = (signal.exit_code(), why.to_owned());
            say(&audit, Event::Exit { code, reason });
            finish(&audit, &own_name());
        }
    };
    let signals = match Signals::watch(of_signals) {
        Ok(signals) => signals,
        Err(error) => {
            complain(name, &format!("signals cannot be caught: {error}"));
            return exit::ERROR;
        }
    };
    let (code, reason) = match setting.run(Some(signals), |_, _| {}) {
        Ok(ended) => {
            if let Some(error) = &ended.outcome.error {
                complain(name, error);
            }
            (ended.outcome.code, ended.reason)
        }
        Err(error) => {
            complain(name, &error);
            (exit::ERROR, error)
        }
    };
    last_words.begin();
    say(&audit, Event::Exit { code, reason });
    finish(&audit, name);
    code
}

/// The trail's last line is written once: by the master's thread, or by the one that a signal ends the process from.
#[derive(Clone, Default)]
struct LastWords {
    begun: Arc<AtomicBool>,
}

impl LastWords {
    /// The caller writes it now and then ends the process; who comes second waits for that end.
    fn begin(&self) {
        while self.begun.swap(true, Ordering::SeqCst) {
            std::thread::park();
        }
    }
}

/// As [`run`], with slaves that `start` is told the address and member id to start for.
pub(super) fn run_embedded(
    parts: Parts,
    settings: Settings,
    start: impl FnOnce(String, String),
) -> u8 {
    let sink = settings.audit_file.clone().map_or(Sink::None, Sink::File);
    let audit = Arc::new(AuditWriter::open(sink).unwrap_or_else(|error| panic!("{error}")));
    let member_id = format!("embedded-{:016x}", random());
    let setting = Setting {
        parts,
        settings,
        audit: Arc::clone(&audit),
        member_id,
        embedded: true,
    };
    let Ended {
        outcome, reason, ..
    } = setting
        .run(None, start)
        .unwrap_or_else(|error| panic!("{error}"));
    if let Some(error) = &outcome.error {
        complain("embedded", error);
    }
    let code = outcome.code;
    say(&audit, Event::Exit { code, reason });
    finish(&audit, "embedded");
    code
}

impl Setting {
    fn is_local(&self) -> bool {
        matches!(self.settings.role, Role::Local { .. })
    }

    fn run(
        mut self,
        signals: Option<Signals>,
        start: impl FnOnce(String, String),
    ) -> Result<Ended, String> {
        self.say_init();
        let Some(algorithm) = self.parts.master.take() else {
            say(&self.audit, Event::NoMasterAlgorithm {});
            return Ok(Ended::for_good(Outcome::error(
                "the application has no master algorithm: add .master(..) to the App in main",
            )));
        };
        Welcome::validate_args(&self.settings.user).map_err(|error| {
            format!("every slave is told the arguments, and these cannot be told: {error}; give them in a file")
        })?;
        if let Ok((_, files)) = engine::raise_nofile() {
            say(&self.audit, Event::FileLimit { files });
        }
        let listener = self.listen()?;
        let port = listener
            .local_addr()
            .map_err(|error| format!("the listening socket: {error}"))?
            .port();
        let addresses = self.addresses(&listener, port)?;
        let runtime = Runtime::open(self.settings.engine, listener)?;
        let word = if runtime.is_ring() {
            EngineWord::Ring
        } else {
            EngineWord::Epoll
        };
        say(
            &self.audit,
            Event::Engine {
                engine: word,
                why: runtime.why.clone(),
            },
        );
        say(
            &self.audit,
            Event::Ready {
                addresses: addresses.clone(),
            },
        );
        start(format!("127.0.0.1:{port}"), self.member_id.clone());
        let seed = self.settings.seed.unwrap_or_default();
        let clock = Clock::start();
        let registry = Arc::clone(&self.parts.registry);
        let mut core = MasterCore::new(
            config(
                &self.settings,
                &self.member_id,
                &self.parts.version,
                &registry,
                seed,
            ),
            clock.now(),
        );
        core.set_demand(Demand {
            // Slaves of this machine and of this process cost nothing to keep.
            dismisses: !self.is_local() && !self.embedded,
            wanted: self.settings.slaves_wanted,
        });
        let state = State::new(
            core,
            registry.entries().len(),
            self.settings.ready_bytes_max,
        );
        let mw = Master::new(state, registry, clock, seed);
        let (stop, outside) = tokio::sync::mpsc::unbounded_channel();
        let local = match &self.settings.role {
            Role::Local { slaves } if !self.embedded => Some(LocalSlaves::start(
                *slaves,
                port,
                &self.member_id,
                self.settings.audit_file.clone(),
                stop.clone(),
            )?),
            _ => None,
        };
        let mut watch_local = local.as_ref().map(LocalSlaves::watcher);
        let reporting = Reporting::open(&self, &addresses)?;
        let args = Args::new(self.settings.user.clone());
        let audit = Arc::clone(&self.audit);
        let handle = mw.clone();
        let reporter = reporting.as_ref().map(Reporting::reporter);
        let ending = runtime.block_on(move |engine| async move {
            let driver = Driver {
                mw: handle.clone(),
                engine,
                audit,
                report: reporter,
                outside,
                signals,
                watch: Box::new(move |event| {
                    if let Some(watch) = &mut watch_local {
                        watch(event);
                    }
                }),
            };
            driver.run(algorithm(handle, args)).await
        });
        drop(stop);
        let ending = ending
            .map_err(|error| format!("the master cannot go on serving its slaves: {error}"))?;
        // What an interrupted master algorithm left, the driver has told before it was dropped.
        if let Ending::Returned(_) | Ending::Panicked(_) = ending {
            self.say_left(&mw);
        }
        let ended = self.outcome(ending);
        if let Some(reporting) = reporting {
            for event in reporting.finish(ended.finished) {
                say(&self.audit, event);
            }
        }
        if let Some(local) = local {
            local.stop();
        }
        Ok(ended)
    }

    fn say_init(&mut self) {
        let seed = *self.settings.seed.get_or_insert_with(random);
        say(
            &self.audit,
            Event::Init {
                version: super::OWN_VERSION.to_owned(),
                role: if self.is_local() {
                    RoleWord::Local
                } else {
                    RoleWord::Master
                },
                member_id: self.member_id.clone(),
                build: crate::app::fingerprint::build(),
                app_version: self.parts.version.clone(),
                seed: Some(seed),
                pid: std::process::id(),
                host: super::slave_role::host(),
            },
        );
    }

    /// Local mode and embedded masters are for this machine alone; else all interfaces, unless told.
    fn listen(&self) -> Result<TcpListener, String> {
        let port = self.settings.port.unwrap_or(0);
        let host = match (&self.settings.host, self.is_local()) {
            (None, true) => Some("127.0.0.1".to_owned()),
            (host, _) => host.clone(),
        };
        let Some(host) = host else {
            // An IPv6 socket serves both, where the system has IPv6.
            return engine::listen(SocketAddr::from(([0u16; 8], port)))
                .or_else(|_| engine::listen(SocketAddr::from(([0u8; 4], port))))
                .map_err(|error| format!("--mw-master-port {port}: cannot listen on it: {error}"));
        };
        let mut candidates = (host.as_str(), port)
            .to_socket_addrs()
            .map_err(|error| format!("--mw-master-host {host}: no such host: {error}"))?;
        let address = candidates
            .next()
            .ok_or_else(|| format!("--mw-master-host {host}: it has no address"))?;
        engine::listen(address).map_err(|error| {
            format!("--mw-master-host {host}: cannot listen on {address}: {error}; is it an address of this machine, and is the port free?")
        })
    }

    /// Where slaves reach this master, best first.
    fn addresses(&self, listener: &TcpListener, port: u16) -> Result<Vec<String>, String> {
        if let Some(host) = &self.settings.advertise_host {
            return Ok(vec![with_port(host, port)]);
        }
        let local = listener
            .local_addr()
            .map_err(|error| format!("the listening socket: {error}"))?;
        if !local.ip().is_unspecified() {
            return Ok(vec![local.to_string()]);
        }
        let all = if_addrs::get_if_addrs()
            .map_err(|error| format!("cannot list this machine's addresses: {error}"))?;
        let usable: Vec<String> = all
            .iter()
            .filter(|interface| !interface.is_loopback() && !is_link_local(interface.ip()))
            // What is bound to 0.0.0.0 does not hear IPv6; an IPv6 socket hears both.
            .filter(|interface| local.is_ipv6() || interface.ip().is_ipv4())
            .map(|interface| SocketAddr::new(interface.ip(), port).to_string())
            .collect();
        if usable.is_empty() {
            return Err("this machine has no address but loopback: say with --mw-master-host 127.0.0.1 that all slaves run here, or with --mw-advertise-host where they reach it".to_owned());
        }
        Ok(usable)
    }

    fn outcome(&self, ending: Ending<Outcome>) -> Ended {
        match ending {
            Ending::Returned(outcome) => Ended::for_good(outcome),
            Ending::Panicked(panic) => match panic.downcast::<ExitRequest>() {
                Ok(request) => Ended::for_good(Outcome::code(request.0)),
                Err(panic) if self.embedded => crate::master::driver::rethrow(panic),
                Err(_) => Ended::for_good(Outcome::error(
                    "the master algorithm panicked; its message is above",
                )),
            },
            Ending::Signal(signal) => Ended {
                outcome: Outcome::code(signal.exit_code()),
                finished: false,
                reason: signal.name.to_owned(),
            },
            Ending::Stopped(why) => Ended::for_good(Outcome::error(why)),
        }
    }

    /// Tasks whose end nobody was told are one count.
    fn say_left(&self, mw: &Master) {
        let tasks = mw.left();
        if tasks > 0 {
            say(&self.audit, Event::Left { tasks });
        }
    }
}

/// How a run ended, for the process, the resource file and the trail.
struct Ended {
    outcome: Outcome,
    finished: bool,
    reason: String,
}

impl Ended {
    /// With an exit code of its own a master leaves the batch system's queue, whatever the code: nobody
    /// starts it again, and slaves that came again would wait for nobody.
    fn for_good(outcome: Outcome) -> Self {
        let reason = outcome
            .error
            .clone()
            .unwrap_or_else(|| "the master algorithm returned".to_owned());
        Ended {
            outcome,
            finished: true,
            reason,
        }
    }
}

/// The engine and the runtime that goes with it.
struct Runtime {
    kind: Kind,
    engine: Box<dyn Engine>,
    why: String,
}

enum Kind {
    Ring(tokio_uring::Runtime),
    Epoll(tokio::runtime::Runtime),
}

/// Entries of tokio-uring's own ring: it carries the master algorithm's files, no sockets.
const FILE_RING_ENTRIES: u32 = 64;

impl Runtime {
    /// The ring's runtime if both rings are to be had, the engine's and tokio-uring's own; else plain tokio with epoll.
    fn open(choice: Choice, listener: TcpListener) -> Result<Runtime, String> {
        let for_epoll = listener
            .try_clone()
            .map_err(|error| format!("the listening socket: {error}"))?;
        // Before the engine's ring, which takes what the kernel still allows of locked memory.
        let files = (choice != Choice::Epoll)
            .then(|| tokio_uring::Runtime::new(tokio_uring::builder().entries(FILE_RING_ENTRIES)));
        let (mut engine, mut why) =
            engine::open(choice, listener).map_err(|error| error.to_string())?;
        if engine.name() == "ring" {
            let error = match files.expect("epoll was not asked for") {
                Ok(runtime) => {
                    return Ok(Runtime {
                        kind: Kind::Ring(runtime),
                        engine,
                        why,
                    });
                }
                Err(error) => error,
            };
            let refused = format!("the master algorithm's own io_uring was refused: {error}");
            if choice == Choice::Ring {
                return Err(format!(
                    "--mw-engine ring: {refused}; raise the limit of locked memory (ulimit -l), or use --mw-engine auto"
                ));
            }
            drop(engine);
            (engine, _) =
                engine::open(Choice::Epoll, for_epoll).map_err(|error| error.to_string())?;
            why = format!("{refused}; using epoll");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime cannot be made: {error}"))?;
        Ok(Runtime {
            kind: Kind::Epoll(runtime),
            engine,
            why,
        })
    }

    fn is_ring(&self) -> bool {
        matches!(self.kind, Kind::Ring(_))
    }

    fn block_on<T, Fut: Future<Output = T>>(self, run: impl FnOnce(Box<dyn Engine>) -> Fut) -> T {
        match self.kind {
            Kind::Ring(runtime) => runtime.block_on(run(self.engine)),
            Kind::Epoll(runtime) => {
                let value = tokio::task::LocalSet::new().block_on(&runtime, run(self.engine));
                // A heavy sum may still run in its thread; nobody waits for it any more.
                runtime.shutdown_timeout(Duration::ZERO);
                value
            }
        }
    }
}

pub(super) fn say(audit: &AuditWriter, event: Event) {
    audit.push(&Line {
        time_us: clock::unix_micros(),
        who: Who::Master,
        event,
    });
}

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// A number that nobody can foresee: the standard library seeds its hasher with the system's entropy.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// What the core needs to know of the settings.
pub(crate) fn config(
    settings: &Settings,
    member_id: &str,
    version: &str,
    registry: &Registry,
    seed: u64,
) -> MasterConfig {
    MasterConfig {
        member_id: member_id.as_bytes().to_vec(),
        fingerprint: crate::app::fingerprint::of(registry, version),
        any_build: settings.any_build,
        client_timeout: u64::try_from(settings.client_timeout.as_nanos()).unwrap_or(u64::MAX / 4),
        tasks_bytes_max: settings.write_bytes_max,
        results_bytes_max: settings.read_bytes_max,
        task_group: settings.task_group,
        prefetch: settings.prefetch,
        duplicate_stragglers: settings.duplicate_stragglers,
        result_group: settings.result_group,
        crash_limit: settings.crash_limit,
        queued_bytes_max: settings.queued_bytes_max,
        seed,
        args: settings.user.clone(),
        level: settings.audit_level,
        algorithms: registry.infos(),
    }
}
