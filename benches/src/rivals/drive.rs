//! Builds the rivals' drivers, starts them, and takes their figures.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use super::{RivalCase, Workload};

/// How long a master hands out tasks before it ends a run early.
const SECONDS: f64 = 3.0;
/// How long a master may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(90);
/// Sockets in one process of ZeroMQ's workers.
const SOCKETS_MAX: u32 = 500;

/// A rival that is built and can be run.
pub struct Rival {
    name: &'static str,
    /// As it says itself.
    pub version: String,
    folder: PathBuf,
}

/// What a run of a rival took.
#[derive(Copy, Clone, Debug)]
pub struct Figures {
    /// Tasks that were measured.
    pub tasks: f64,
    /// In so much time.
    pub wall_s: f64,
    /// With so much CPU of the master.
    pub cpu_s: f64,
}

/// Processes that end with their owner, each with those that it has started.
struct Group {
    children: Vec<Child>,
    /// Ends the first one, the master, when it hangs; dropped, it does nothing.
    _watch: mpsc::Sender<()>,
}

impl Group {
    fn of(master: Child) -> Self {
        let (watch, over) = mpsc::channel();
        let pid = master.id();
        std::thread::spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                signal(pid, Signal::KILL);
            }
        });
        Group {
            children: vec![master],
            _watch: watch,
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in &self.children {
            signal(child.id(), Signal::TERM);
        }
        let end = Instant::now() + Duration::from_secs(3);
        for child in &mut self.children {
            while matches!(child.try_wait(), Ok(None)) {
                if Instant::now() > end {
                    signal(child.id(), Signal::KILL);
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// Signals a process and those that it has started. It has not been waited for, so its number is still its own.
fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // It may have ended by itself.
    let _ = rustix::process::kill_process_group(pid.expect("a process's number"), signal);
}

impl Rival {
    /// Builds what this rival needs in `folder`.
    ///
    /// # Errors
    /// What is missing, and how it is installed.
    pub fn prepare(name: &'static str, folder: &Path) -> Result<Rival, String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let mut rival = Rival {
            name,
            version: String::new(),
            folder: folder.to_owned(),
        };
        compile(
            folder,
            "cc",
            &["-shared", "-fPIC"],
            "spin",
            "libspin.so",
            &[],
        )?;
        compile(folder, "cc", &[], "spin", "spin", &[])?;
        let install = |packages: &str| format!("; install it with: apt-get install {packages}");
        let needs = |program: &str, packages: &str| match runs(program) {
            true => Ok(()),
            false => Err(format!("{program} is not there{}", install(packages))),
        };
        match name {
            "zeromq" => compile(folder, "cc", &[], name, name, &["-lzmq"])
                .map_err(|error| error + &install("libzmq3-dev"))?,
            "openmpi" => {
                needs("mpirun", "openmpi-bin libopenmpi-dev")?;
                compile(folder, "mpicc", &[], name, name, &[])
                    .map_err(|error| error + &install("openmpi-bin libopenmpi-dev"))?;
            }
            "gearman" => {
                needs("gearmand", "gearman-job-server libgearman-dev")?;
                compile(folder, "cc", &[], name, name, &["-lgearman"])
                    .map_err(|error| error + &install("gearman-job-server libgearman-dev"))?;
            }
            "workqueue" => {
                let packages =
                    "coop-computing-tools coop-computing-tools-dev libssl-dev zlib1g-dev";
                needs("work_queue_worker", packages)?;
                let libraries = ["-lwork_queue", "-ldttools", "-lm", "-lz", "-lcrypto"];
                compile(folder, "cc", &[], name, name, &libraries)
                    .map_err(|error| error + &install(packages))?;
            }
            "dask" => venv(folder, "distributed")?,
            "hyperqueue" => venv(folder, "hyperqueue")?,
            _ => return Err(format!("no rival {name}")),
        }
        rival.version = rival.ask_version()?;
        Ok(rival)
    }

    fn ask_version(&self) -> Result<String, String> {
        let mut command = match self.name {
            "workqueue" => {
                let mut command = Command::new("work_queue_worker");
                command.arg("--version");
                command
            }
            _ => self.driver(&["version"]),
        };
        let output = command
            .output()
            .map_err(|error| format!("{}: {error}", self.name))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first = text.lines().next().unwrap_or_default();
        match (output.status.success(), self.name) {
            // work_queue_worker --version ends with 1 in some versions.
            (_, "workqueue") => Ok(first
                .split(" (")
                .next()
                .unwrap_or(first)
                .replace("work_queue_worker version", "Work Queue")),
            (true, "zeromq") => Ok(format!("ZeroMQ in C ({first}), batched by hand")),
            (true, "openmpi") => Ok(format!("{first} in C over TCP, batched by hand")),
            (true, "gearman") => Ok(format!("Gearman ({first})")),
            (true, _) => Ok(first.to_owned()),
            (false, _) => Err(format!(
                "{} tells no version: {}",
                self.name,
                String::from_utf8_lossy(&output.stderr).trim()
            )),
        }
    }

    /// The driver with these arguments.
    fn driver(&self, args: &[&str]) -> Command {
        let mut command = match self.name {
            "dask" | "hyperqueue" => {
                let mut python = Command::new(self.folder.join("venv/bin/python"));
                python.arg(source(&format!("{}-driver.py", self.name)));
                python
            }
            _ => Command::new(self.folder.join(self.name)),
        };
        command.args(args);
        command
    }

    /// Runs a case once; a loop of a millisecond has so many iterations.
    ///
    /// # Errors
    /// When it fails or hangs.
    pub fn run(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let iterations = match case.workload {
            Workload::Noop(_)
            | Workload::Encrypted(_)
            | Workload::AgainstPlain(_)
            | Workload::Echo { .. } => 0,
            Workload::Millisecond => iterations,
        };
        let outcome = match self.name {
            "zeromq" => self.run_zeromq(case, iterations),
            "openmpi" => self.run_openmpi(case, iterations),
            "gearman" => self.run_gearman(case, iterations),
            "hyperqueue" => self.run_hyperqueue(case, iterations),
            "dask" => self.run_dask(case, iterations),
            _ => self.run_workqueue(case, iterations),
        };
        outcome.map_err(|error| format!("{} {}: {error}", self.name, case.name()))
    }

    fn run_zeromq(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let (batch, credits) = batch_and_credits(case);
        let mode = match case.workload {
            Workload::Encrypted(_) => Some("curve"),
            Workload::Echo { owned: true, .. } => Some("owned"),
            Workload::Echo { owned: false, .. } => Some("bare"),
            Workload::Noop(_) | Workload::AgainstPlain(_) | Workload::Millisecond => None,
        };
        let mut command = self.driver(&[
            "master",
            &case.workers.to_string(),
            &tasks(self.name, case).to_string(),
            &SECONDS.to_string(),
            &batch.to_string(),
            &credits.to_string(),
        ]);
        command.args(mode);
        let mut master = start(command)?;
        let mut lines = lines(&mut master);
        let mut group = Group::of(master);
        let endpoint = next(&mut lines)?;
        let mut left = case.workers;
        while left > 0 {
            let sockets = match case.workers > SOCKETS_MAX {
                true => left.min(SOCKETS_MAX),
                false => 1,
            };
            let (sockets_text, iterations) = (sockets.to_string(), iterations.to_string());
            let args = [
                "worker",
                endpoint.trim_end_matches('\0'),
                &sockets_text,
                &iterations,
            ];
            let mut command = self.driver(&args);
            command.args(mode);
            group.children.push(start(command)?);
            left -= sockets;
        }
        figures(&next(&mut lines)?)
    }

    fn run_openmpi(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let (batch, credits) = batch_and_credits(case);
        let ranks = (case.workers + 1).to_string();
        let mut command = Command::new("mpirun");
        command.args(["-np", &ranks]);
        command.args(["--oversubscribe", "--bind-to", "none"]);
        command.args([
            "--mca",
            "btl",
            "tcp,self",
            "--mca",
            "btl_tcp_if_include",
            "lo",
        ]);
        command.args(["--mca", "mpi_yield_when_idle", "1"]);
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1");
        command.env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.arg(self.folder.join(self.name));
        command.args([
            &tasks(self.name, case).to_string(),
            &SECONDS.to_string(),
            &batch.to_string(),
            &credits.to_string(),
            &iterations.to_string(),
        ]);
        last_line(command)
    }

    fn run_gearman(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let port = free_port()?;
        let text = port.to_string();
        let mut server = Command::new("gearmand");
        server.args(["--port", &text, "--listen", "127.0.0.1", "--log-file"]);
        server
            .arg(self.folder.join("gearmand.log"))
            .arg("--pid-file");
        server.arg(self.folder.join("gearmand.pid"));
        let server = start(server)?;
        let pid = server.id().to_string();
        let mut group = Group::of(server);
        let end = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                return Err("gearmand does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        for _ in 0..case.workers {
            let worker = self.driver(&["worker", &text, &iterations.to_string()]);
            group.children.push(start(worker)?);
        }
        last_line(self.driver(&[
            "client",
            &text,
            &pid,
            &tasks(self.name, case).to_string(),
            &SECONDS.to_string(),
            &case.workers.to_string(),
        ]))
    }

    fn run_workqueue(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let mut master = start(self.driver(&[
            &tasks(self.name, case).to_string(),
            &SECONDS.to_string(),
            &case.workers.to_string(),
            &self.command(iterations).join(" "),
        ]))?;
        let mut lines = lines(&mut master);
        let mut group = Group::of(master);
        let port = next(&mut lines)?;
        for _ in 0..case.workers {
            let mut worker = Command::new("work_queue_worker");
            worker.args(["--cores", "1", "--memory", "100", "--disk", "100"]);
            worker.args(["--timeout", "60", "--single-shot", "127.0.0.1", &port]);
            worker.stderr(Stdio::null());
            group.children.push(start(worker)?);
        }
        figures(&next(&mut lines)?)
    }

    fn run_hyperqueue(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let (tasks, workers) = (tasks(self.name, case).to_string(), case.workers.to_string());
        let mut command = self.driver(&[&tasks, &workers]);
        command.args(self.command(iterations));
        // It tells of its progress and of its server.
        command.stderr(Stdio::null());
        last_line(command)
    }

    fn run_dask(&self, case: RivalCase, iterations: u64) -> Result<Figures, String> {
        let library = self.folder.join("libspin.so").display().to_string();
        let mut command = self.driver(&[
            &tasks(self.name, case).to_string(),
            &SECONDS.to_string(),
            &case.workers.to_string(),
            &iterations.to_string(),
            &library,
        ]);
        // Its workers complain at length when their scheduler ends before them.
        command.stderr(Stdio::null());
        last_line(command)
    }

    /// A task of systems whose tasks are commands.
    fn command(&self, iterations: u64) -> Vec<String> {
        match iterations {
            0 => vec!["/bin/true".to_owned()],
            _ => vec![
                self.folder.join("spin").display().to_string(),
                iterations.to_string(),
            ],
        }
    }
}

/// Batches that a good programmer would keep under way: fewer of larger ones.
fn batch_and_credits(case: RivalCase) -> (u32, u32) {
    match case.workload {
        Workload::Millisecond => (1, 2),
        Workload::Noop(group)
        | Workload::Encrypted(group)
        | Workload::AgainstPlain(group)
        | Workload::Echo { group, .. } => match group {
            1 => (1, 16),
            10 => (10, 8),
            group => (group, 4),
        },
    }
}

/// Tasks of a run: a second or so of what this rival can do.
fn tasks(rival: &str, case: RivalCase) -> u64 {
    match (rival, case.workload) {
        ("hyperqueue", _) => 1_000,
        (_, Workload::Millisecond) => 2_000,
        (
            _,
            Workload::Noop(group)
            | Workload::Encrypted(group)
            | Workload::AgainstPlain(group)
            | Workload::Echo { group, .. },
        ) => match rival {
            "zeromq" | "openmpi" => our_tasks(group),
            "gearman" => 50_000,
            _ => 2_000,
        },
    }
}

/// Tasks of a run of ours, and of those that are as fast.
pub fn our_tasks(group: u32) -> u64 {
    match group {
        1 => 200_000,
        10 => 1_000_000,
        100 => 4_000_000,
        _ => 8_000_000,
    }
}

fn source(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("rivals")
        .join(file)
}

fn runs(program: &str) -> bool {
    let there = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    there.is_ok()
}

fn compile(
    folder: &Path,
    compiler: &str,
    flags: &[&str],
    name: &str,
    out: &str,
    libraries: &[&str],
) -> Result<(), String> {
    let output = Command::new(compiler)
        .args(["-O2", "-Wall"])
        .args(flags)
        .arg("-o")
        .arg(folder.join(out))
        .arg(source(&format!("{name}.c")))
        .args(libraries)
        .output()
        .map_err(|error| format!("{compiler}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            let why = text.lines().find(|line| line.contains("error"));
            Err(format!(
                "{compiler} {name}.c: {}",
                why.unwrap_or("failed").trim()
            ))
        }
    }
}

/// One virtual environment for all rivals in Python; it is kept, since packages are large.
fn venv(folder: &Path, package: &str) -> Result<(), String> {
    let venv = folder.join("venv");
    let run = |command: &mut Command, what: &str| {
        let output = command
            .output()
            .map_err(|error| format!("{what}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let text = String::from_utf8_lossy(&output.stderr);
                Err(format!(
                    "{what}: {}",
                    text.lines().last().unwrap_or("failed")
                ))
            }
        }
    };
    if !venv.join("bin/python").exists() {
        let mut python = Command::new("python3");
        run(python.args(["-m", "venv"]).arg(&venv), "python3 -m venv")
            .map_err(|error| error + "; install it with: apt-get install python3-venv")?;
    }
    let mut pip = Command::new(venv.join("bin/pip"));
    let what = format!("pip install {package}");
    run(pip.args(["install", "--quiet", package]), &what)
}

fn start(mut command: Command) -> Result<Child, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    // In a group of its own it would outlive an interrupt of ours.
    let end_with_us = || {
        Ok(rustix::process::set_parent_process_death_signal(Some(
            Signal::KILL,
        ))?)
    };
    // SAFETY: between fork and exec it makes one system call and allocates nothing.
    unsafe { command.pre_exec(end_with_us) };
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{program}: {error}"))
}

type Lines = std::io::Lines<BufReader<ChildStdout>>;

fn lines(child: &mut Child) -> Lines {
    BufReader::new(child.stdout.take().expect("it was piped")).lines()
}

fn next(lines: &mut Lines) -> Result<String, String> {
    match lines.next() {
        Some(Ok(line)) => Ok(line),
        _ => Err("its master said nothing".to_owned()),
    }
}

/// Runs a master to its end; its last line are its figures.
fn last_line(command: Command) -> Result<Figures, String> {
    let mut group = Group::of(start(command)?);
    let lines = lines(&mut group.children[0]);
    let last = lines.map_while(Result::ok).last();
    figures(&last.ok_or("its master said nothing")?)
}

fn figures(line: &str) -> Result<Figures, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    let number = |key: &str| value[key].as_f64().filter(|&number| number > 0.0);
    match (number("tasks"), number("wall_s"), number("cpu_s")) {
        (Some(tasks), Some(wall_s), Some(cpu_s)) => Ok(Figures {
            tasks,
            wall_s,
            cpu_s,
        }),
        _ => Err(format!("nothing was measured: {line}")),
    }
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0));
    let address = listener.and_then(|listener| listener.local_addr());
    address
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}
