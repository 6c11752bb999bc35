//! `ringmw overseer`: keeps as many slaves alive on a batch system as the resource file desires.
//!
//! One turn: read the resource file, list our jobs, hear of their ends, let [`policy`] decide, do it, write the status. A
//! turn in which the batch system does not answer does nothing. Nothing is kept in memory that a restarted overseer
//! would need: jobs are found by their tag, which is derived from the resource file's path unless it is given.

mod age;
pub(crate) mod batch;
mod condor;
mod dry;
pub(crate) mod facts;
mod idle;
mod paths;
mod pause;
mod policy;
pub(crate) mod shell;
mod slurm;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use ringmw_codec::Nanos;
use ringmw_codec::resource::ResourceFile;
use rustix::fs::{FlockOperation, flock};

use age::Age;
use batch::Batch;
use facts::{Effect, End, Facts, How, Job, JobState, Limits, Over, Resource};
use paths::Paths;
use pause::SECOND;
use policy::Policy;

use crate::farm::machines;
use crate::observe::file_of;
use crate::resource;
use crate::say::{self, count};
use crate::submit::app::{App, Request};

const COMMAND: &str = "ringmw overseer";
/// The resource file is looked at so often for a change.
const GLANCE: Duration = Duration::from_millis(250);
/// Queues show at once what they took; a burdened one is given so long.
const UNSEEN: Nanos = 15 * SECOND;
/// A change makes a turn no sooner than this after the last one.
const TURN_MIN: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum System {
    /// HTCondor
    Condor,
    /// Slurm
    Slurm,
    /// The machines of `ringmw farm`
    Ssh,
    /// Processes on this machine
    Local,
}

/// What `ringmw overseer` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The master's resource file, which need not be there yet; or the folder that has it, as the master's --mw-dir
    #[arg(long, value_name = "FILE|DIR")]
    resource_file: PathBuf,
    /// The batch system
    #[arg(long, required_unless_present_any = ["status", "drain"])]
    batch: Option<System>,
    /// Jobs alive at any time, queued ones included
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    max: u32,
    /// Jobs in one submission
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// Seconds between two looks at the batch system, and between two submissions
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    interval: u64,
    /// All jobs go when the resource file is overdue, or missing, for so many seconds, as counted here; exit status 1
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    stale_after: u64,
    /// With --batch ssh: the slaves of a machine that has not answered for so many seconds count as lost, and others are
    /// started elsewhere
    #[arg(long, default_value_t = 300, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    lost_after: u64,
    /// The slaves' binary, when it is not the one that the resource file names
    #[arg(long)]
    binary: Option<PathBuf>,
    #[command(flatten)]
    request: Request,
    /// What its jobs are known by; by default derived from the resource file's path
    #[arg(long)]
    tag: Option<String>,
    /// The folder for its log, status, submit files and the slaves' output; by default FILE.overseer
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The registry of `ringmw farm`
    #[arg(long, value_name = "FILE")]
    farm: Option<PathBuf>,
    /// Say what would be submitted and removed, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Tell what the overseer of this resource file is doing, and exit
    #[arg(long, conflicts_with_all = ["batch", "dry_run"])]
    status: bool,
    /// Remove queued jobs, start none, wait for running ones; an overseer that runs is told to, else this one does it
    #[arg(long, conflicts_with_all = ["status", "dry_run"])]
    drain: bool,
}

impl Options {
    fn paths(&self) -> Result<Paths, String> {
        Paths::of(
            &file_of(&self.resource_file)?,
            self.dir.as_deref(),
            self.tag.as_deref(),
        )
    }
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let done = if options.status {
        status(options)
    } else {
        oversee(options)
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::complain(COMMAND, &error);
            ExitCode::FAILURE
        }
    }
}

/// Whether it came to the end that was meant.
fn oversee(options: &Options) -> Result<bool, String> {
    let paths = options.paths()?;
    let fault = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(&paths.dir).map_err(|error| fault(&paths.dir, error))?;
    let lock = append(&paths.lock())?;
    let is_free = || flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    let order = paths.drain();
    if !is_free() {
        if !options.drain {
            return Err(format!(
                "another overseer watches this resource file already (it holds {})",
                paths.lock().display()
            ));
        }
        fs::write(&order, "").map_err(|error| fault(&order, error))?;
        say::complain(
            COMMAND,
            &"the overseer that runs is told to drain; waiting until it is done",
        );
        while !is_free() {
            std::thread::sleep(GLANCE);
        }
        // It takes the order away when it has done so.
        if !order.exists() {
            return Ok(true);
        }
        say::complain(COMMAND, &"it ended before it was done; going on with that");
    }
    // One that is left from earlier is no order to this one.
    match fs::remove_file(&order) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(&order, error)),
        _ => {}
    }
    let system = options
        .batch
        .ok_or("no overseer runs that could be told to; say with --batch which system to drain")?;
    Overseer::open(options, paths, system, lock)?.watch()
}

fn append(path: &Path) -> Result<File, String> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn status(options: &Options) -> Result<bool, String> {
    let paths = options.paths()?;
    let text = fs::read_to_string(paths.status()).map_err(|error| {
        format!(
            "{}: {error}; no overseer has watched this resource file from here",
            paths.status().display()
        )
    })?;
    let lives = File::open(paths.lock())
        .is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err());
    let overseer = if lives { "runs" } else { "does not run" };
    say::print(&format!("overseer: {overseer}\n{text}"))
        .map(|()| true)
        .map_err(|error| format!("standard output: {error}"))
}

struct Log {
    file: File,
}

impl Log {
    fn say(&mut self, text: &str) {
        let line = format!("{} {text}\n", time(Timestamp::now()));
        // A full disk must not end the overseer.
        let _ = self.file.write_all(line.as_bytes());
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

struct Overseer<'a> {
    options: &'a Options,
    paths: Paths,
    batch: Box<dyn Batch>,
    policy: Policy,
    log: Log,
    /// Held as long as it runs: two overseers of one tag would submit twice.
    _lock: File,
    system: System,
    began: Instant,
    age: Age,
    /// How long the resource file has had its content.
    unchanged: Nanos,
    unanswered: u32,
    leave: Arc<AtomicBool>,
    last_read: Option<String>,
    last_counts: Option<String>,
}

impl<'a> Overseer<'a> {
    fn open(
        options: &'a Options,
        paths: Paths,
        system: System,
        lock: File,
    ) -> Result<Self, String> {
        let log = Log {
            file: append(&paths.dir.join("overseer.log"))?,
        };
        let leave = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&leave))
                .map_err(|error| format!("signals cannot be caught: {error}"))?;
        }
        Ok(Self {
            batch: open_batch(options, system, &paths)?,
            policy: Policy::new(Limits {
                max: options.max,
                step: options.step,
                pause: options.interval * SECOND,
                unseen: match system {
                    System::Condor | System::Slurm => UNSEEN,
                    // What was started is in the list.
                    System::Ssh | System::Local => 0,
                },
                stale: options.stale_after * SECOND,
            }),
            options,
            paths,
            log,
            _lock: lock,
            system,
            began: Instant::now(),
            age: Age::default(),
            unchanged: 0,
            unanswered: 0,
            leave,
            last_read: None,
            last_counts: None,
        })
    }

    fn now(&self) -> Nanos {
        Nanos::try_from(self.began.elapsed().as_nanos()).unwrap_or(Nanos::MAX)
    }

    /// Whether it came to the end that was meant, or was told to leave.
    fn watch(mut self) -> Result<bool, String> {
        self.log.say(&format!(
            "watching {} for {:?}, at most {} jobs, tag {}",
            self.paths.resource_file.display(),
            self.system,
            self.options.max,
            self.paths.tag
        ));
        let order = self.paths.drain();
        if self.options.drain {
            self.policy.drain();
        }
        loop {
            if order.exists() {
                self.policy.drain();
            }
            if let Some((over, held)) = self.turn() {
                let left = match held {
                    0 => "no job is left".to_owned(),
                    _ => format!(
                        "{} by somebody, left alone",
                        count(held, "job is held", "jobs are held")
                    ),
                };
                self.log.say(&format!("{over}; {left}; leaving"));
                // Whoever asked for it waits for this.
                let _ = fs::remove_file(&order);
                return Ok(over.is_success());
            }
            if self.wait() {
                self.log
                    .say("told to leave; jobs stay, an overseer that is started again finds them");
                return Ok(true);
            }
        }
    }

    /// Until the next turn; true if a signal says to leave.
    fn wait(&self) -> bool {
        let began = Instant::now();
        let order = self.paths.drain();
        let look = || (changed(&self.paths.resource_file), changed(&order));
        let seen = look();
        while began.elapsed() < Duration::from_secs(self.options.interval) {
            if self.leave.load(Ordering::Relaxed) {
                return true;
            }
            if began.elapsed() >= TURN_MIN && look() != seen {
                break;
            }
            std::thread::sleep(GLANCE);
        }
        false
    }

    /// The reason to leave, if there is one, and how many jobs stay that somebody holds.
    fn turn(&mut self) -> Option<(Over, usize)> {
        let jobs = match self.batch.jobs() {
            Ok(jobs) => {
                self.unanswered = 0;
                jobs
            }
            Err(error) => {
                self.unanswered += 1;
                if self.unanswered.is_power_of_two() {
                    self.log
                        .say(&format!("the batch system does not answer: {error}"));
                }
                return None;
            }
        };
        // Read after the jobs were listed, which may take a while: slaves leave when all is over.
        let file = self.read();
        let resource = self.resource(file.as_ref());
        let ends = self.batch.ends().into_iter();
        let ends: Vec<End> = ends.map(|end| self.policy.judged(end)).collect();
        for end in &ends {
            let host = end.host.as_deref().unwrap_or("an unknown host");
            match &end.how {
                How::Died(how) => self
                    .log
                    .say(&format!("job {} died on {host}: {how}", end.job)),
                How::TimeLimit => self
                    .log
                    .say(&format!("job {} left {host}: {}", end.job, end.how)),
                // A thousand of them leave at the end.
                How::Left | How::Ended => {}
            }
        }
        let left = ends.iter().filter(|end| end.how == How::Left).count();
        if left > 0 {
            let slaves = count(left, "slave", "slaves");
            self.log.say(&format!("{slaves} left with exit status 0"));
        }
        let facts = Facts {
            now: self.now(),
            resource,
            jobs: &jobs,
            ends: &ends,
        };
        let mut over = None;
        for effect in self.policy.turn(&facts) {
            over = over.or(self.perform(effect, file.as_ref()));
        }
        for note in self.batch.notes() {
            self.log.say(&note);
        }
        self.write_status(&jobs, resource);
        let held = |job: &&Job| job.state == JobState::HeldByHand;
        over.map(|over| (over, jobs.iter().filter(held).count()))
    }

    fn perform(&mut self, effect: Effect, file: Option<&ResourceFile>) -> Option<Over> {
        let now = self.now();
        match effect {
            Effect::Say(text) => self.log.say(&text),
            Effect::Done(over) => return Some(over),
            Effect::Remove { ids, running } => match self.batch.remove(&ids, running) {
                Ok(()) => self.log.say(&format!(
                    "removed {}: {}",
                    count(ids.len(), "job", "jobs"),
                    brief(&ids)
                )),
                Err(error) => {
                    self.policy.on_not_removed(&ids);
                    self.log.say(&format!("cannot remove jobs: {error}"));
                }
            },
            Effect::Submit { jobs, avoid } => {
                let submitted = self
                    .app(file)
                    .and_then(|app| self.batch.submit(&app, jobs, &avoid));
                match submitted {
                    Ok(ids) => {
                        if !ids.is_empty() {
                            self.log.say(&format!(
                                "submitted {}: {}",
                                count(ids.len(), "job", "jobs"),
                                brief(&ids)
                            ));
                        }
                        self.policy.on_submitted(now, ids);
                    }
                    Err(error) => {
                        self.policy.on_refused(now);
                        let jobs = count(jobs as usize, "job", "jobs");
                        self.log.say(&format!("cannot submit {jobs}: {error}"));
                    }
                }
            }
        }
        None
    }

    fn read(&mut self) -> Option<ResourceFile> {
        let path = self.paths.resource_file.clone();
        let parsed = match resource::read(&path) {
            // The policy says so.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string()),
            Ok(text) => {
                self.unchanged = self.age.of(self.now(), &text);
                ResourceFile::parse(&text).map_err(|error| error.to_string())
            }
        };
        match parsed {
            Ok(file) => {
                self.last_read = None;
                Some(file)
            }
            Err(error) => {
                if self.last_read.as_ref() != Some(&error) {
                    self.log.say(&format!("{}: {error}", path.display()));
                    self.last_read = Some(error);
                }
                None
            }
        }
    }

    fn resource(&self, file: Option<&ResourceFile>) -> Resource {
        let Some(file) = file else {
            return Resource::Missing;
        };
        if file.finished {
            return Resource::Finished;
        }
        let interval = file.update_interval.saturating_mul(SECOND);
        // CL-MW's files say only how many are missing: of those that the master knows, none.
        let desired = file.slaves_desired.unwrap_or(file.slaves_needed);
        let per_job = u64::from(self.options.request.cpus);
        Resource::InProgress {
            desired: desired.div_ceil(per_job),
            connected: file.slaves_connected,
            busy: file.slaves_busy,
            queued: file.tasks_queued,
            overdue: self.unchanged.saturating_sub(interval),
        }
    }

    /// What the file names now: a master that was started again may be another build.
    fn app(&self, file: Option<&ResourceFile>) -> Result<App, String> {
        let file = file.ok_or("there is no resource file")?;
        let (named, libraries) = &file.slave_executable;
        let (binary, libraries) = match &self.options.binary {
            Some(binary) => {
                let binary = crate::bundle::binary(binary)?;
                let libraries = crate::bundle::libraries(&binary)?;
                (binary, libraries)
            }
            None => (
                PathBuf::from(named),
                libraries.iter().map(PathBuf::from).collect(),
            ),
        };
        Ok(App {
            binary,
            libraries,
            dir: self.paths.dir.clone(),
            resource_file: self.paths.resource_file.clone(),
            tag: self.paths.tag.clone(),
            request: self.options.request.clone(),
        })
    }

    fn write_status(&mut self, jobs: &[Job], resource: Resource) {
        let count =
            |state: &dyn Fn(&JobState) -> bool| jobs.iter().filter(|job| state(&job.state)).count();
        let running = count(&|state| *state == JobState::Running);
        let queued = count(&|state| *state == JobState::Queued);
        let held = jobs.len() - running - queued;
        let (computation, desired, connected) = match resource {
            Resource::Missing => ("no resource file", None, None),
            Resource::Finished => ("finished", None, None),
            Resource::InProgress {
                desired, connected, ..
            } => ("in progress", Some(desired), connected),
        };
        let number = |number: Option<u64>| number.map_or("unknown".to_owned(), |n| n.to_string());
        let counts = format!(
            "desired {}, connected {}, running {running}, queued {queued}, held {held}",
            number(desired),
            number(connected)
        );
        if self.last_counts.as_ref() != Some(&counts) {
            self.log.say(&counts);
            self.last_counts = Some(counts);
        }
        let text = format!(
            "time: {}\ntag: {}\ncomputation: {computation}\njobs desired: {}\nslaves connected: {}\njobs running: {running}\n\
             jobs queued: {queued}\njobs held: {held}\nmax: {}\nstate: {}\n",
            time(Timestamp::now()),
            self.paths.tag,
            number(desired),
            number(connected),
            self.options.max,
            self.policy.state(self.now())
        );
        let aside = self.paths.dir.join(".status.new");
        // The log tells of a disk that is full; the next turn tries again.
        let _ = fs::write(&aside, text).and_then(|()| fs::rename(&aside, self.paths.status()));
    }
}

fn open_batch(options: &Options, system: System, paths: &Paths) -> Result<Box<dyn Batch>, String> {
    let (tag, dir) = (paths.tag.as_str(), paths.dir.clone());
    if options.dry_run {
        let is_condor = match system {
            System::Condor => Some(true),
            System::Slurm => Some(false),
            System::Ssh | System::Local => None,
        };
        return Ok(Box::new(dry::Dry::new(is_condor)));
    }
    let client = match system {
        System::Condor => "condor_q",
        System::Slurm => "squeue",
        System::Ssh => "ssh",
        System::Local => "sh",
    };
    if !is_on_path(client) {
        return Err(format!(
            "there is no {client} on the PATH; run this where the client of the batch system is installed"
        ));
    }
    Ok(match system {
        System::Condor => Box::new(condor::Condor::new(tag, dir)),
        System::Slurm => Box::new(slurm::Slurm::new(tag, dir)),
        System::Local => Box::new(shell::Shell::local(tag, &dir, options.max)),
        System::Ssh => {
            let path = machines::registry_path(options.farm.as_deref())?;
            Box::new(shell::Shell::farm(
                tag,
                machines::read(&path)?,
                options.request.cpus,
                Duration::from_secs(options.lost_after),
            )?)
        }
    })
}

fn is_on_path(command: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(command).is_file())
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

fn brief(ids: &[String]) -> String {
    match ids {
        [first, .., last] => format!("{first} .. {last}"),
        ids => ids.join(" "),
    }
}

/// RFC 3339 to the second, UTC.
fn time(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let time = |unix| time(Timestamp::from_second(unix).expect("it is in range"));
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(time(1_795_171_285), "2026-11-20T10:41:25Z");
    }
}
