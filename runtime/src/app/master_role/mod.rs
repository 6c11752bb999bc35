//! The master's role, and local mode's: listen, open the trail, drive the master algorithm, leave.

use std::io::IsTerminal;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use ringmw_codec::audit::{EngineWord, Event, RoleWord, Who};
use ringmw_codec::flags::{FLAG, exit};
use ringmw_codec::handshake::{About, Welcome};
use ringmw_codec::journal::{Identity, RunFile};
use ringmw_codec::secret::Secret;

use crate::app::args::{Args, ExitRequest};
use crate::app::batch_job::Starts;
use crate::app::exit::Exit;
use crate::app::master_role::heard::Heard;
use crate::app::master_role::listen::Listening;
use crate::app::master_role::outlast::Outlast;
use crate::app::master_role::resource::Reporting;
use crate::app::master_role::runtime::Runtime;
use crate::app::master_role::slaves::LocalSlaves;
use crate::app::parts::{OWN_VERSION, Parts, finish};
use crate::app::replay_role;
use crate::flags::{self, Role, Settings, SlavesAt};
use crate::io::beside::Beside;
use crate::io::clock::Clock;
use crate::io::dial::Dialler;
use crate::io::engine;
use crate::io::files::audit::{AuditWriter, Sink};
use crate::io::files::kept::{self, KeptWriter};
use crate::io::files::private;
use crate::io::forwarded::Forwarded;
use crate::io::last_lines;
use crate::io::local::Plan;
use crate::io::probe;
use crate::io::progress::{Form, Progress};
use crate::io::secret_file;
use crate::io::signals::{Leave, Signals};
use crate::io::terminal::{self, complain, own_name};
use crate::master::Master;
use crate::master::driver::{Driver, Outside};
use crate::master::save::Keeper;
use crate::master::state::State;
use crate::master::turn::Ending;
use crate::proto::config::{Config, unsent_bytes_max};
use crate::proto::master::MasterCore;
use crate::proto::recording::News;
use crate::proto::task_name::TaskName;
use crate::typed::registry::Registry;

mod heard;
mod listen;
mod outlast;
mod resource;
mod rival;
mod runtime;
mod slaves;
mod status;

/// What is the same for a process of its own and for an embedded master.
struct Setting {
    parts: Parts,
    settings: Settings,
    audit: Arc<AuditWriter>,
    member_id: String,
    embedded: bool,
    /// Where this batch job counts the starts of its master.
    starts: Option<Starts>,
    /// Says in the resource file that the run is finished; there once the run is.
    finished: Finished,
}

type Finished = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

pub(super) fn run(parts: Parts, settings: Settings, name: &str) -> u8 {
    let starts = match settings.role {
        Role::Local { .. } => None,
        _ => Starts::of_this_job(),
    };
    if let Some(Err(error)) = starts.as_ref().map(Starts::begin) {
        complain(name, &error);
        return exit::CRASH_LOOP;
    }
    let code = live(parts, settings, name, starts.clone());
    if let Some(starts) = starts {
        starts.end();
    }
    code
}

fn live(parts: Parts, settings: Settings, name: &str, starts: Option<Starts>) -> u8 {
    if let Err(error) = make_dir(&settings) {
        complain(name, &error);
        return exit::ERROR;
    }
    let sink = match (&settings.audit_file, &settings.role) {
        (Some(path), _) => Sink::File(path.clone(), settings.audit_rotate),
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
    last_lines::write_at_abort(Arc::clone(&audit), || Who::Master);
    let setting = Setting {
        parts,
        settings,
        audit: Arc::clone(&audit),
        member_id,
        embedded: false,
        starts: starts.clone(),
        finished: Finished::default(),
    };
    let finished = Arc::clone(&setting.finished);
    let last_words = LastWords::default();
    let of_signals = {
        let (audit, last_words) = (Arc::clone(&audit), last_words.clone());
        move |signal: Leave, why: &str, was_heard: bool| {
            last_words.begin();
            if let Some(starts) = &starts {
                starts.end();
            }
            if !was_heard {
                let name = signal.name.to_owned();
                audit.say(Who::Master, Event::Signal { name });
            }
            if signal.is_stop()
                && let Some(say_finished) = finished.get()
            {
                say_finished();
            }
            let (code, reason) = (signal.exit_code(), why.to_owned());
            audit.say(Who::Master, Event::Exit { code, reason });
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
    let (code, reason) = match setting.run(Some(signals), |_, _, _| {}) {
        Ok(ended) => {
            if let Some(error) = &ended.exit.error {
                complain(name, error);
            }
            (ended.exit.code, ended.reason)
        }
        Err(error) => {
            complain(name, &error);
            (exit::ERROR, error)
        }
    };
    last_words.begin();
    audit.say(Who::Master, Event::Exit { code, reason });
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

/// The folder for all that outlasts this process, before anything is put there.
fn make_dir(settings: &Settings) -> Result<(), String> {
    match &settings.dir {
        Some(dir) => private::folder(dir).map_err(|error| format!("{}: {error}", FLAG.dir.name)),
        None => Ok(()),
    }
}

/// As [`run`], with slaves that `start` is told the address, member id and secret to start for.
pub(super) fn run_embedded(
    parts: Parts,
    settings: Settings,
    start: impl FnOnce(String, String, Option<Secret>),
) -> u8 {
    make_dir(&settings).unwrap_or_else(|error| panic!("{error}"));
    let file = |path| Sink::File(path, settings.audit_rotate);
    let sink = settings.audit_file.clone().map_or(Sink::None, file);
    let audit = Arc::new(AuditWriter::open(sink).unwrap_or_else(|error| panic!("{error}")));
    let member_id = format!("embedded-{:016x}", random());
    let setting = Setting {
        parts,
        settings,
        audit: Arc::clone(&audit),
        member_id,
        embedded: true,
        starts: None,
        finished: Finished::default(),
    };
    let Ended { exit, reason, .. } = setting
        .run(None, start)
        .unwrap_or_else(|error| panic!("{error}"));
    if let Some(error) = &exit.error {
        complain("embedded", error);
    }
    let code = exit.code;
    audit.say(Who::Master, Event::Exit { code, reason });
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
        start: impl FnOnce(String, String, Option<Secret>),
    ) -> Result<Ended, String> {
        self.refuse_anothers_file()?;
        let version = self.parts.version.clone();
        let hello = crate::app::slave_role::hello(
            &self.parts.slave_side(),
            &self.member_id,
            About::default(),
        );
        let registry = Arc::clone(&self.parts.registry);
        let is_gone = |before: &RunFile| rival::refuse(before, &hello, &registry);
        let outlast = Outlast::open(&mut self.settings, &own_name(), &version, random, is_gone)?;
        self.say_init();
        let Some(algorithm) = self.parts.master.take() else {
            self.audit.say(Who::Master, Event::NoMasterAlgorithm {});
            return Ok(Ended::for_good(Exit::error(
                "the application has no master algorithm: add .master(..) to the App in main",
            )));
        };
        Welcome::validate_args(&self.settings.user).map_err(|error| {
            format!("every slave is told the arguments, and these cannot be told: {error}; give them in a file")
        })?;
        if let Ok((_, files)) = engine::raise_nofile() {
            self.audit.say(Who::Master, Event::FileLimit { files });
        }
        let kept = outlast.as_ref().and_then(|outlast| outlast.secret.clone());
        let secret = self.secret(kept)?;
        let listening = self.listen_again(outlast.as_ref().map_or(0, |outlast| outlast.port))?;
        if secret.is_none() {
            self.warn_of_no_secret(&listening);
        }
        let port = listening
            .first
            .local_addr()
            .map_err(|error| format!("the listening socket: {error}"))?;
        let (local, port) = (port, port.port());
        let addresses = self.addresses(&listening, port)?;
        let watch = self.watch(secret.as_ref(), local, &addresses)?;
        let told = watch.as_ref().map(|watch| watch.told.clone());
        let Listening { first, beside } = listening;
        let runtime = Runtime::open(self.settings.engine, first)?;
        let word = if runtime.is_ring() {
            EngineWord::Ring
        } else {
            EngineWord::Epoll
        };
        self.audit.say(
            Who::Master,
            Event::Engine {
                engine: word,
                why: runtime.why.clone(),
            },
        );
        self.audit.say(
            Who::Master,
            Event::Ready {
                addresses: addresses.clone(),
                security: Some(match secret {
                    Some(_) => "secret".to_owned(),
                    None => "none".to_owned(),
                }),
            },
        );
        start(
            format!("127.0.0.1:{port}"),
            self.member_id.clone(),
            secret.clone(),
        );
        let drawn = || u128::from(random()) << 64 | u128::from(random());
        let run = outlast
            .as_ref()
            .map_or_else(drawn, |outlast| outlast.identity.run);
        let seed = self.settings.seed.unwrap_or_default();
        let clock = Clock::start();
        let registry = Arc::clone(&self.parts.registry);
        let mut config = config(
            &self.settings,
            &self.member_id,
            &self.parts.version,
            &registry,
            seed,
        );
        config.run = run;
        // Slaves of local mode and of this process are gone with it.
        let reconnect = match outlast.is_some() && !self.is_local() && !self.embedded {
            true => outlast::RECONNECT,
            false => 0,
        };
        config.reconnect = reconnect;
        // Slaves of this machine and of this process cost nothing to keep.
        config.dismisses = !self.is_local() && !self.embedded;
        let mut core = MasterCore::new(config, clock.now());
        if let Some(secret) = &secret {
            core.set_secret(secret.clone());
        }
        if watch.is_some() {
            core.remember();
        }
        let infos = registry.infos();
        let (stop, outside) = tokio::sync::mpsc::unbounded_channel();
        let mut life = match outlast {
            None => None,
            Some(outlast) => {
                let news = stop.clone();
                let starts = self.starts.clone();
                let tell = move |said| {
                    if let (News::Progress, Some(starts)) = (&said, &starts) {
                        starts.end();
                    }
                    // Nobody listens once the run is over.
                    let _ = news.send(Outside::Journal(said));
                };
                let identity = outlast.identity.clone();
                let host = crate::app::slave_role::host();
                Some((
                    identity,
                    outlast.begin(port, host, secret.as_ref(), &infos, tell)?,
                ))
            }
        };
        let mut state = State::new(
            core,
            registry.entries().len(),
            self.settings.ready_bytes_max,
        );
        let mut journal = None;
        let mut keeper = None;
        if let Some((identity, life)) = &mut life {
            for line in life.lines.drain(..) {
                self.audit.say(Who::Master, line);
            }
            if let Some(text) = life.told.take().filter(|_| !self.embedded) {
                complain(&own_name(), &text);
            }
            journal = life.journal.clone();
            if journal.is_some() {
                state.core.record(self.settings.outlasting.failures);
            }
            let returns_until = match reconnect {
                0 => 0,
                reconnect => clock.now() + reconnect,
            };
            let mut earlier = life.take_earlier(&infos, returns_until);
            state.core.restore_bests(earlier.take_bests());
            state.go_on(earlier);
            keeper = life.state.take().map(|store| Keeper {
                store: Rc::new(store),
                identity: identity.clone(),
                any_build: self.settings.outlasting.any_build,
                any_args: self.settings.outlasting.any_args,
            });
        }
        let number = life.as_ref().map_or(0, |(_, life)| life.number);
        state.core.set_life(number);
        let kept = self.keep_failed(&mut state.core, seed, number)?;
        let mw = Master::new(state, registry, clock, seed);
        if let Some(keeper) = keeper {
            mw.keep_state(keeper);
        }
        let local = match &self.settings.role {
            Role::Local { slaves } if !self.embedded => {
                let mut plan = Plan::of_this_binary(*slaves, port, &self.member_id);
                plan.tell(secret.clone());
                plan.audit_file.clone_from(&self.settings.audit_file);
                plan.args.extend_from_slice(&self.settings.passed_on);
                Some(LocalSlaves::start(plan, stop.clone())?)
            }
            _ => None,
        };
        let about = status::run(&self, word.word(), seed, &addresses);
        let stops_now = Arc::new(AtomicBool::new(false));
        let serve =
            |watch: status::Watch| watch.serve(about, clock, stop.clone(), Arc::clone(&stops_now));
        let publisher = watch.map(serve);
        let publisher = publisher.transpose()?;
        let publisher = publisher.map(|publisher| publisher.of_life(number));
        let mut watch_local = local.as_ref().map(LocalSlaves::watcher);
        let told = told.unwrap_or_default();
        let own = life.as_ref().map(|(_, life)| life.own.clone());
        let reporting = Reporting::open(&self, &addresses, secret.as_ref(), run, told, own)?;
        if let Some(reporting) = &reporting {
            let _ = self.finished.set(reporting.say_finished());
        }
        let progress = self.progress(local.as_ref().map_or(0, LocalSlaves::slaves))?;
        let forwarded = (self.settings.rules.log)
            .map(|_| Forwarded::start(&own_name()))
            .transpose()
            .map_err(|error| format!("{}: {error}", FLAG.log.name))?;
        // A master that nobody watches leaves it to its trail.
        let is_heard = !self.embedded && (self.is_local() || progress.is_some());
        let mut heard = is_heard.then(|| Heard::of_life(number));
        let args = Args::new(self.settings.user.clone());
        let audit = Arc::clone(&self.audit);
        let handle = mw.clone();
        let recording = journal.clone();
        let slaves_at = self.slaves_at()?;
        let reporter = reporting.as_ref().map(Reporting::reporter);
        let ending = runtime.block_on(move |engine| async move {
            let driver = Driver {
                beside: Beside::start(beside)?,
                mw: handle.clone(),
                engine,
                audit,
                report: reporter,
                outside,
                journal: recording,
                kept,
                dialler: (!slaves_at.is_empty()).then(|| Dialler::new(slaves_at)),
                signals,
                publisher,
                progress,
                forwarded,
                stops_now,
                watch: Box::new(move |event| {
                    if let Some(text) = heard.as_mut().and_then(|heard| heard.on_event(event)) {
                        complain(&own_name(), &text);
                    }
                    if let Some(watch) = &mut watch_local {
                        watch(event);
                    }
                }),
            };
            driver.run(algorithm(handle, args)).await
        });
        drop(stop);
        if let Some(event) = journal.as_deref().and_then(outlast::finish) {
            self.audit.say(Who::Master, event);
        }
        let ending = ending
            .map_err(|error| format!("the master cannot go on serving its slaves: {error}"))?;
        // What an interrupted master algorithm left, the driver has told before it was dropped.
        if let Ending::Returned(_) | Ending::Panicked(_) = ending {
            self.say_left(&mw);
        }
        let ended = self.exit(ending);
        // The file is the later life's.
        if let Some(reporting) = reporting.filter(|_| !ended.superseded) {
            for event in reporting.finish(ended.finished) {
                self.audit.say(Who::Master, event);
            }
        }
        if let Some(local) = local {
            local.stop();
        }
        Ok(ended)
    }

    /// A resource file whose master still answers is not taken over: slaves of both would go to one of them. One that was
    /// killed does not answer, and its successor goes on with the file.
    fn refuse_anothers_file(&self) -> Result<(), String> {
        let Some(path) = &self.settings.resource_file else {
            return Ok(());
        };
        match probe::who_answers(path) {
            None => Ok(()),
            Some(who) => Err(format!(
                "--mw-resource-file {0}: it is another master's that still runs: {who}; end that one with `ringmw stop {0}`, \
                 or give this one a file of its own",
                path.display()
            )),
        }
    }

    /// What slaves must know to join, where there is a way by which they learn it: the resource file, the secret's own file,
    /// or this process, which starts them. A run has one secret in all its lives.
    fn secret(&self, kept: Option<Secret>) -> Result<Option<Secret>, String> {
        let settings = &self.settings;
        let is_told = self.is_local() || self.embedded || settings.resource_file.is_some();
        match &settings.secret_file {
            Some(path) => secret_file::of_master(path).map(Some),
            None if settings.no_secret => Ok(None),
            // The slaves of the lives before know it.
            None => Ok(kept.or_else(|| is_told.then(secret_file::draw))),
        }
    }

    /// The line that says how far the run is, where somebody reads it. A trail on the same terminal says more.
    fn progress(&self, local: u64) -> Result<Option<Progress>, String> {
        let has_trail = self.settings.audit_file.is_none() && !self.is_local();
        let is_read = terminal::is_terminal() && !(has_trail && std::io::stdout().is_terminal());
        if self.embedded || !self.settings.progress.unwrap_or(is_read) {
            return Ok(None);
        }
        let form = match terminal::is_terminal() {
            true => Form::Screen,
            false => Form::Plain,
        };
        let started = Progress::start(form, own_name(), local);
        started
            .map(Some)
            .map_err(|error| format!("{}: {error}", FLAG.progress.name))
    }

    /// Where tasks that give no output are kept, if they are.
    fn keep_failed(
        &self,
        core: &mut MasterCore,
        seed: u64,
        life: u32,
    ) -> Result<Option<KeptWriter>, String> {
        let Some(folder) = &self.settings.keep_failed else {
            return Ok(None);
        };
        core.keep_failed(kept::open(folder)?);
        let program = std::env::args().next().unwrap_or_default();
        let identity = Identity {
            run: 0,
            program: own_name(),
            build: crate::app::fingerprint::build(),
            app_version: self.parts.version.clone(),
            seed,
            args: self.settings.user.clone(),
        };
        // From the writer's own thread: the last ones are told when the driver has ended.
        let (audit, name) = (Arc::clone(&self.audit), own_name());
        let tell = move |news| {
            let event = match news {
                kept::News::Kept(task, file) => {
                    let replay = replay_role::command(&program, &file);
                    complain(
                        &name,
                        &format!(
                            "{} is kept, run it by itself: {replay}",
                            TaskName { task, life }
                        ),
                    );
                    let file = file.to_string_lossy().into_owned();
                    Event::Kept { task, file, replay }
                }
                kept::News::Trouble(text) => {
                    complain(&name, &text);
                    Event::Note { text }
                }
            };
            audit.say(Who::Master, event);
        };
        let writer = KeptWriter::start(folder.clone(), life, identity, tell);
        let writer = writer.map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Some(writer))
    }

    /// The slaves to dial.
    fn slaves_at(&self) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for slaves in &self.settings.slaves_at {
            match slaves {
                SlavesAt::One(address) => all.push(address.clone()),
                SlavesAt::File(path) => {
                    let named =
                        |error: String| format!("--mw-slave-at @{}: {error}", path.display());
                    let text =
                        std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
                    all.extend(flags::addresses(&text).map_err(named)?);
                }
            }
        }
        Ok(all)
    }

    /// Where others than this machine's users can reach it, that is not what is expected.
    fn warn_of_no_secret(&self, Listening { first, beside }: &Listening) {
        let mut all = std::iter::once(first).chain(beside);
        let is_open = all.any(|listener| {
            let address = listener.local_addr();
            address.is_ok_and(|address| !address.ip().is_loopback())
        });
        if is_open {
            complain(
                &own_name(),
                &"this run has no secret: whoever reaches its port may join it and read all that it sends; give --mw-resource-file or --mw-secret-file, or stay on this machine with --mw-master-host 127.0.0.1",
            );
        }
    }

    fn say_init(&mut self) {
        let seed = *self.settings.seed.get_or_insert_with(random);
        self.audit.say(
            Who::Master,
            Event::Init {
                version: OWN_VERSION.to_owned(),
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
                host: crate::app::slave_role::host(),
            },
        );
    }

    fn exit(&self, ending: Ending<Exit>) -> Ended {
        match ending {
            Ending::Returned(exit) => Ended::for_good(exit),
            Ending::Panicked(panic) => match panic.downcast::<ExitRequest>() {
                Ok(request) => Ended::for_good(Exit::code(request.0)),
                Err(panic) if self.embedded => crate::master::driver::rethrow(panic),
                Err(_) => Ended::for_good(Exit::error(
                    "the master algorithm panicked; its message is above",
                )),
            },
            Ending::Signal(signal) => Ended {
                exit: Exit::code(signal.exit_code()),
                finished: signal.is_stop(),
                superseded: false,
                reason: signal.name.to_owned(),
            },
            Ending::Superseded(why) => Ended {
                finished: false,
                superseded: true,
                ..Ended::for_good(Exit::error(why))
            },
            Ending::Stopped(why) => Ended::for_good(Exit::error(why)),
        }
    }

    /// Tasks whose end nobody was told are one count.
    fn say_left(&self, mw: &Master) {
        let tasks = mw.left();
        if tasks > 0 {
            self.audit.say(Who::Master, Event::Left { tasks });
        }
    }
}

/// How a run ended, for the process, the resource file and the trail.
struct Ended {
    exit: Exit,
    finished: bool,
    /// A later life of the run goes on.
    superseded: bool,
    reason: String,
}

impl Ended {
    /// With an exit code of its own a master leaves the batch system's queue, whatever the code: nobody
    /// starts it again, and slaves that came again would wait for nobody.
    fn for_good(exit: Exit) -> Self {
        let reason = exit
            .error
            .clone()
            .unwrap_or_else(|| "the master algorithm returned".to_owned());
        Ended {
            exit,
            finished: true,
            superseded: false,
            reason,
        }
    }
}

/// A number that nobody can foresee: the standard library seeds its hasher with the system's entropy.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

/// What the core needs to know: the flags' rules, and who the application is. It sends no slave home.
pub(crate) fn config(
    settings: &Settings,
    member_id: &str,
    version: &str,
    registry: &Registry,
    seed: u64,
) -> Config {
    Config {
        unsent_bytes_max: unsent_bytes_max(
            (settings.rules.sched.task_packet_bytes_max)
                .max(settings.rules.result_packet_bytes_max),
        ),
        rules: settings.rules.clone(),
        dismisses: false,
        run: 0,
        reconnect: 0,
        seed,
        member_id: member_id.as_bytes().to_vec(),
        args: settings.user.clone(),
        fingerprint: crate::app::fingerprint::of(registry, version),
        algorithms: registry.infos(),
    }
}
