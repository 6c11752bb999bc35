//! What the examples' tests share: examples run as processes of their own on this machine, are killed, stopped and
//! continued, and their audit trails are read.
//!
//! `RINGMW_TEST_ENGINE=epoll` (or `ring`) has all masters use that engine.
//!
//! Everything waits for a condition with a deadline; whatever was started is killed when it goes out of scope.
//!
//! ```no_run
//! use ringmw_examples::Stage;
//!
//! let stage = Stage::new("hello-world");
//! let mut master = stage.master(["--mw-slave-task-group", "10"]);
//! let mut slave = stage.slave(&master);
//! assert_eq!(master.end().code, Some(0));
//! assert_eq!(slave.end().code, Some(0));
//! ```

mod account;

use std::cell::Cell;
use std::fmt::Display;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, Line};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

pub use account::account;

/// Whatever a test waits for has come by then, or never comes.
pub const DEADLINE: Duration = Duration::from_secs(60);

const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` gives a value; panics with `what` and what `describe` knows after [`DEADLINE`].
pub fn wait_for<T, D: Display>(
    what: &str,
    describe: impl Fn() -> D,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < until,
            "waited {DEADLINE:?} in vain for {what}\n{}",
            describe()
        );
        thread::sleep(POLL);
    }
}

/// Whether this process runs; a zombie does not.
pub fn is_running(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    // The state follows the name, which stands in parentheses and may hold anything.
    !stat
        .rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with(['Z', 'X']))
}

/// Sends a signal to a process that these tests have started, directly or as a slave of local mode.
pub fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    kill_process(pid, signal).unwrap_or_else(|error| panic!("cannot signal {pid:?}: {error}"));
}

/// The executable of an example, built by the same cargo command as the test that asks.
fn executable(example: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps");
    let path = profile.join("examples").join(example);
    assert!(
        path.exists(),
        "{} is not there; `cargo test -p ringmw-examples --test NAME` does not build the examples: run \
         `cargo build -p ringmw-examples --examples` first, with the same --release or none",
        path.display()
    );
    path
}

/// One run of an example: a master, or local mode, and slaves, with a directory for their files.
pub struct Stage {
    executable: PathBuf,
    engine: Option<String>,
    dir: Rc<TempDir>,
    slaves: Cell<u32>,
}

impl Stage {
    /// An empty stage for this example.
    pub fn new(example: &str) -> Self {
        let dir = Rc::new(tempfile::tempdir().expect("a temporary directory"));
        Stage {
            executable: executable(example),
            engine: std::env::var("RINGMW_TEST_ENGINE").ok(),
            dir,
            slaves: Cell::new(0),
        }
    }

    /// The same, whose masters use this engine.
    pub fn with_engine(mut self, engine: &str) -> Self {
        self.engine = Some(engine.to_owned());
        self
    }

    /// A path for a file of the test's own; nothing is there.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The processes that run on this stage, whoever started them.
    pub fn running(&self) -> Vec<u32> {
        let dir = self.dir.path().as_os_str().as_encoded_bytes();
        let is_ours = |pid: &u32| {
            fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.windows(dir.len()).any(|part| part == dir))
        };
        fs::read_dir("/proc")
            .expect("Linux has /proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(is_ours)
            .filter(|&pid| is_running(pid))
            .collect()
    }

    /// Starts the example in local mode, with an audit file.
    pub fn local<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Process {
        self.start("local", &self.engine(), args)
    }

    /// Starts a master on loopback.
    pub fn master<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Process {
        let role = ["--mw-master", "--mw-master-host", "127.0.0.1"];
        self.start("master", &[&role[..], &self.engine()].concat(), args)
    }

    /// Starts a master in this network namespace, on all its addresses.
    pub fn master_in<'a>(
        &self,
        namespace: &str,
        args: impl IntoIterator<Item = &'a str>,
    ) -> Process {
        let role = [&["--mw-master"][..], &self.engine()].concat();
        self.start_in(Some(namespace), "master", &role, args)
    }

    /// Starts a slave in this network namespace that dials this address.
    pub fn slave_in(&self, namespace: &str, host: &str, port: u16) -> Process {
        self.dial(Some(namespace), host, port, &[])
    }

    /// Starts a slave that listens at this address, in this network namespace if one is named.
    pub fn listening(&self, namespace: Option<&str>, address: &str, flags: &[&str]) -> Process {
        let index = self.slaves.replace(self.slaves.get() + 1);
        let role = ["--mw-slave", "--mw-slave-listen", address];
        let name = format!("slave-{index}");
        self.start_in(namespace, &name, &role, flags.iter().copied())
    }

    /// Starts a slave of that master, once the master is ready.
    pub fn slave(&self, master: &Process) -> Process {
        self.slave_with(master, &[])
    }

    /// The same with flags of its own.
    pub fn slave_with(&self, master: &Process, flags: &[&str]) -> Process {
        self.dial(None, "127.0.0.1", master.port(), flags)
    }

    /// Starts a slave that dials this port on loopback, with these arguments beside.
    pub fn slave_at(&self, port: u16, args: &[&str]) -> Process {
        self.dial(None, "127.0.0.1", port, args)
    }

    /// The names of its files, those of its processes left out.
    pub fn files(&self) -> Vec<String> {
        let all = fs::read_dir(self.dir.path()).expect("it is there");
        let names = all.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| {
                let kinds = [".out", ".err", ".audit"];
                !kinds.iter().any(|kind| name.ends_with(kind))
            })
            .collect();
        names.sort();
        names
    }

    fn dial(&self, namespace: Option<&str>, host: &str, port: u16, flags: &[&str]) -> Process {
        let index = self.slaves.replace(self.slaves.get() + 1);
        let port = port.to_string();
        let role = [
            "--mw-slave",
            "--mw-master-host",
            host,
            "--mw-master-port",
            &port,
        ];
        self.start_in(
            namespace,
            &format!("slave-{index}"),
            &role,
            flags.iter().copied(),
        )
    }

    fn engine(&self) -> Vec<&str> {
        let flag = |engine| ["--mw-engine", engine];
        self.engine
            .as_deref()
            .map(flag)
            .into_iter()
            .flatten()
            .collect()
    }

    fn start<'a>(
        &self,
        name: &str,
        role: &[&str],
        args: impl IntoIterator<Item = &'a str>,
    ) -> Process {
        self.start_in(None, name, role, args)
    }

    fn start_in<'a>(
        &self,
        namespace: Option<&str>,
        name: &str,
        role: &[&str],
        args: impl IntoIterator<Item = &'a str>,
    ) -> Process {
        let file = |extension| self.dir.path().join(format!("{name}.{extension}"));
        let files = [file("out"), file("err"), file("audit")];
        let [out, err, audit] = &files;
        let mut command = match namespace {
            Some(namespace) => {
                // It becomes the program: the process is the same.
                let mut command = Command::new("ip");
                command
                    .args(["netns", "exec", namespace])
                    .arg(&self.executable);
                command
            }
            None => Command::new(&self.executable),
        };
        let child = command
            .arg("--mw-audit-file")
            .arg(audit)
            .args(role)
            .args(args)
            .stdin(Stdio::null())
            .stdout(File::create(out).expect("a file for the output"))
            .stderr(File::create(err).expect("a file for the errors"))
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", self.executable.display()));
        Process {
            name: name.to_owned(),
            child,
            files,
            _dir: Rc::clone(&self.dir),
        }
    }
}

/// A process on a [`Stage`]. It is killed when this is dropped.
pub struct Process {
    name: String,
    child: Child,
    /// Output, errors and audit trail.
    files: [PathBuf; 3],
    /// The files may be read after the stage is gone.
    _dir: Rc<TempDir>,
}

/// How a process ended and what it printed.
#[derive(Debug)]
pub struct End {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl End {
    /// The lines of its output.
    pub fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

impl Process {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn send(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Waits for its end.
    pub fn end(&mut self) -> End {
        self.end_within(DEADLINE)
    }

    /// Waits so long for its end.
    pub fn end_within(&mut self, patience: Duration) -> End {
        let status = self.wait(patience);
        let [out, err, _] = &self.files;
        End {
            code: status.code(),
            signal: status.signal(),
            stdout: read(out),
            stderr: read(err),
        }
    }

    fn wait(&mut self, patience: Duration) -> ExitStatus {
        let until = Instant::now() + patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(
                Instant::now() < until,
                "it did not end within {patience:?}: {}",
                self.describe()
            );
            thread::sleep(POLL);
        }
    }

    /// Waits for its end, which must be with exit code 0, and gives its output.
    pub fn success(&mut self) -> End {
        let end = self.end();
        assert_eq!(end.code, Some(0), "{}", self.describe());
        end
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Its audit trail so far, every line read back as an event.
    pub fn trail(&self) -> Vec<Event> {
        let text = read(&self.files[2]);
        // A line that is still being written has no end.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        let parse = |line| {
            Line::parse(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name))
        };
        complete.lines().map(|line| parse(line).event).collect()
    }

    /// The words of its audit trail's events.
    pub fn words(&self) -> Vec<&'static str> {
        self.trail().iter().map(Event::word).collect()
    }

    /// Waits until `find` finds what it looks for in the trail.
    pub fn wait_for<T>(&self, what: &str, mut find: impl FnMut(&[Event]) -> Option<T>) -> T {
        wait_for(what, || self.describe(), || find(&self.trail()))
    }

    /// The port that a master listens on, once it does.
    pub fn port(&self) -> u16 {
        self.wait_for("a master that is ready", |trail| {
            trail.iter().find_map(|event| match event {
                Event::Ready { addresses, .. } => {
                    addresses.first()?.rsplit(':').next()?.parse().ok()
                }
                _ => None,
            })
        })
    }

    /// The number that its master gave a slave, once it has.
    pub fn slave_id(&self) -> u32 {
        self.wait_for("a slave with a number", |trail| {
            trail.iter().find_map(|event| match event {
                Event::Id { slave } => Some(*slave),
                _ => None,
            })
        })
    }

    /// Its resident memory in bytes; none once it has ended.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(1024 * kib.trim().trim_end_matches(" kB").parse::<u64>().ok()?)
    }

    /// All that it has left behind, for the message of a test that fails.
    pub fn describe(&self) -> String {
        let [out, err, audit] = self.files.each_ref().map(|path| read(path));
        format!(
            "{}\n--- output\n{out}--- errors\n{err}--- trail\n{audit}---",
            self.name
        )
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; a stopped one dies of this too.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}
