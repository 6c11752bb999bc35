//! End to end on real batch systems: HTCondor, Slurm, ssh, and processes of this machine.
//!
//! A module for each system: condor, slurm, ssh, local, and `condor_hosts`, a pool of four hosts of their own. They are
//! ignored unless they are asked for, since `cargo test` must pass on any machine; `tools/tests/pools.sh` brings pools up
//! and asks for all.
//!
//! `RINGMW_POOLS_BIN`: the folder of the programs (`ringmw`, `ping`, `waves`, ..), for pools whose user cannot read the
//! build's. `RINGMW_POOLS_WORK`: where to work, for the same reason. `RINGMW_POOLS_FARM`: the registry of [`ssh`].
//! `RINGMW_POOLS_DOWN_S`: how long a master that comes back is down at least (default: until its slaves wait for it).

mod condor;
mod condor_hosts;
mod lives;
mod local;
mod operator;
#[path = "../../../runtime/tests/support/ports.rs"]
mod ports;
mod slurm;
mod ssh;
mod stories;
#[path = "../../../codec/tests/support/lives.rs"]
mod trail;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A real pool takes its time.
const DEADLINE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(200);

/// One at a time: the slots are few.
static ONE: Mutex<()> = Mutex::new(());

/// A test's turn; how long it was is printed at its end.
struct Turn {
    _only: MutexGuard<'static, ()>,
    system: &'static str,
    began: Instant,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let test = std::thread::current();
        let test = test.name().unwrap_or(self.system);
        eprintln!("{test} took {} s", self.began.elapsed().as_secs());
    }
}

/// This system's turn.
fn one(system: &'static str) -> Turn {
    let tool = match system {
        "condor" | "condor_hosts" => "condor_submit",
        "slurm" => "sbatch",
        "ssh" => "ssh",
        _ => "sh",
    };
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status();
    assert!(
        found.is_ok_and(|status| status.success()),
        "{system} is to be tested, and {tool} is not on PATH"
    );
    Turn {
        _only: ONE.lock().unwrap_or_else(PoisonError::into_inner),
        system,
        began: Instant::now(),
    }
}

fn program(name: &str) -> String {
    let own = PathBuf::from(env!("CARGO_BIN_EXE_ringmw"));
    let path = match std::env::var_os("RINGMW_POOLS_BIN") {
        Some(folder) => PathBuf::from(folder).join(name),
        None if name == "ringmw" => own,
        None => own.with_file_name("examples").join(name),
    };
    path.display().to_string()
}

/// Where the pool's user may write.
fn work() -> PathBuf {
    std::env::var_os("RINGMW_POOLS_WORK").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// A folder for one run of an application, and the name of that; it is kept for whoever wants to look.
struct Dir(PathBuf, &'static str);

impl Dir {
    fn new(name: &str, app: &'static str) -> Self {
        let dir = work().join(format!("{name}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder to work in");
        Dir(dir, app)
    }

    /// The name that `ringmw submit` gives the resource file.
    fn resource_file(&self) -> String {
        self.path(&format!("{}.rsc", self.1))
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap_or_default()
    }

    /// The content of all files whose names begin and end so.
    fn all(&self, start: &str, end: &str) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(start) && name.ends_with(end) {
                text.push_str(&fs::read_to_string(entry.path()).unwrap_or_default());
            }
        }
        text
    }

    /// What the master printed, and its complaints.
    fn told(&self) -> String {
        self.all("master", ".out") + &self.all("master", ".err")
    }

    /// The master's audit trail.
    fn trail(&self) -> String {
        self.all("master", ".audit")
    }

    /// What the overseer logged.
    fn log(&self) -> String {
        self.read(&format!("{}.rsc.overseer/overseer.log", self.1))
    }

    /// `ringmw submit SYSTEM --run`.
    fn submit(&self, system: &str, options: &[&str], args: &[&str]) {
        let (binary, dir) = (program(self.1), self.0.display().to_string());
        let mut all = vec![
            "submit", system, "--binary", &binary, "--dir", &dir, "--run",
        ];
        all.extend(options);
        all.push("--");
        all.extend(args);
        run(&self.0, program("ringmw"), &all);
    }

    /// A master that is a process of the test's own.
    fn master(&self, args: &[&str]) -> Process {
        let file = self.resource_file();
        let names = [
            "--mw-resource-file",
            &file,
            "--mw-audit-file",
            "master.audit",
        ];
        let all = [&["--mw-master"], &names[..], args].concat();
        Process::start(&self.0, self.1, &all, "master.out")
    }

    fn overseer(&self, system: &str, options: &[&str]) -> Process {
        let file = self.resource_file();
        let mut all = vec!["overseer", "--resource-file", &file, "--batch", system];
        all.extend(["--interval", "2"]);
        all.extend(options);
        Process::start(&self.0, "ringmw", &all, "overseer.out")
    }

    /// `ringmw overseer --status`.
    fn status(&self) -> String {
        let file = self.resource_file();
        let args = ["overseer", "--resource-file", &file, "--status"];
        run(&self.0, program("ringmw"), &args)
    }
}

/// Runs a command and gives what it prints; it must succeed.
fn run(dir: &Path, program: impl AsRef<Path>, args: &[&str]) -> String {
    let program = program.as_ref();
    let output = Command::new(program)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{} {args:?}: {}\n{text}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn wait_for<T>(
    what: &str,
    describe: impl Fn() -> String,
    condition: impl FnMut() -> Option<T>,
) -> T {
    wait_within(DEADLINE, what, describe, condition)
}

fn wait_within<T>(
    bound: Duration,
    what: &str,
    describe: impl Fn() -> String,
    mut condition: impl FnMut() -> Option<T>,
) -> T {
    let until = Instant::now() + bound;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(
            Instant::now() < until,
            "waited {bound:?} in vain for {what}\n{}",
            describe()
        );
        std::thread::sleep(POLL);
    }
}

/// A process of the test's own, killed when this is dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(dir: &Path, name: &str, args: &[&str], output: &str) -> Self {
        // An overseer that is started again goes on with the same file.
        let file = fs::File::options()
            .append(true)
            .create(true)
            .open(dir.join(output));
        let file = file.expect("an output file");
        let errors = file.try_clone().expect("the same file");
        let child = Command::new(program(name))
            .args(args)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(errors)
            .spawn();
        Process(child.unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    fn has_ended(&mut self) -> Option<i32> {
        let status = self.0.try_wait().expect("it is ours")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Its exit code.
    fn end(&mut self, what: &str, describe: impl Fn() -> String) -> i32 {
        wait_for(&format!("the end of {what}"), describe, || self.has_ended())
    }
}

fn signal(pid: &str, signal: &str) {
    run(Path::new("/"), "kill", &[&format!("-{signal}"), pid]);
}

/// A fact of every line of a trail that has this word: `init .. pid=17`.
fn facts<'a>(trail: &'a str, word: &str, key: &str) -> Vec<&'a str> {
    let word = format!(" {word} ");
    let key = format!(" {key}=");
    trail
        .lines()
        .filter(|line| line.contains(&word))
        .filter_map(|line| line.split_once(&key)?.1.split(' ').next())
        .collect()
}

/// The batch jobs of all slaves that came.
fn jobs(trail: &str) -> BTreeSet<&str> {
    facts(trail, "connected", "job").into_iter().collect()
}

/// The processes of slaves that run below this folder.
fn slave_pids(below: &Path) -> Vec<String> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_here =
            fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(below));
        // Not the shell that waits for one.
        let is_slave = line.contains(" --mw-slave ") && !line.starts_with("sh ");
        if is_here && is_slave {
            pids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    pids
}
