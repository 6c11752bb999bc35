//! End to end on real batch systems: HTCondor, Slurm, ssh, and processes of this machine.
//!
//! A test runs when its system is asked for, `RINGMW_POOLS=condor,slurm,ssh` (or `local`), and then fails if the system
//! is not there. When it is not asked for it says so and does nothing: `cargo test` must pass on any machine.
//! `tools/tests/pools.sh` brings pools up and asks for all.
//!
//! `RINGMW_POOLS_BIN`: the folder of the programs (`ringmw`, `ping`, `waves`, ..), for pools whose user cannot read the
//! build's. `RINGMW_POOLS_WORK`: where to work, for the same reason. `RINGMW_POOLS_FARM`: the ssh test's registry.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A real pool takes its time.
const DEADLINE: Duration = Duration::from_secs(240);
const POLL: Duration = Duration::from_millis(200);

/// One at a time: the slots are few.
static ONE: Mutex<()> = Mutex::new(());

/// Whether this system's tests are asked for.
fn asked(system: &str) -> Option<MutexGuard<'static, ()>> {
    let pools = std::env::var("RINGMW_POOLS").unwrap_or_default();
    if !pools.split(',').any(|pool| pool == system) {
        // Not by eprintln!, which the test harness swallows.
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: this test needs {system}; ask for it with RINGMW_POOLS={system}, or run tools/tests/pools.sh"
        );
        return None;
    }
    let tool = match system {
        "condor" => "condor_submit",
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
        "RINGMW_POOLS asks for {system}, and {tool} is not on PATH"
    );
    Some(ONE.lock().unwrap_or_else(PoisonError::into_inner))
}

fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("RINGMW_POOLS_BIN") {
        return PathBuf::from(folder).join(name);
    }
    if name == "ringmw" {
        return env!("CARGO_BIN_EXE_ringmw").into();
    }
    let own = PathBuf::from(env!("CARGO_BIN_EXE_ringmw"));
    own.with_file_name("examples").join(name)
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let work =
            std::env::var_os("RINGMW_POOLS_WORK").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = work.join(format!("{name}.{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).expect("a folder to work in");
        Dir(dir)
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

    fn log(&self) -> String {
        self.read("waves.rsc.overseer/overseer.log")
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
        std::thread::sleep(POLL);
    }
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn start(dir: &Path, name: &str, args: &[&str], output: &str) -> Self {
        let file = fs::File::create(dir.join(output)).expect("an output file");
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
}

fn signal(pid: &str, signal: &str) {
    run(Path::new("/"), "kill", &[&format!("-{signal}"), pid]);
}

/// A fact of the first line of the trail that has this word: `init .. pid=17`.
fn facts<'a>(trail: &'a str, word: &str, key: &str) -> Vec<&'a str> {
    let word = format!(" {word} ");
    let key = format!(" {key}=");
    trail
        .lines()
        .filter(|line| line.contains(&word))
        .filter_map(|line| line.split_once(&key)?.1.split(' ').next())
        .collect()
}

fn condor_jobs(dir: &Dir) -> usize {
    let dir = dir.0.display();
    let text = run(
        Path::new("/"),
        "condor_q",
        &[
            "-allusers",
            "-constraint",
            &format!("substr(Iwd, 0, {}) == \"{dir}\"", dir.to_string().len()),
            "-af",
            "ClusterId",
        ],
    );
    text.lines().count()
}

fn squeue(dir: &Dir) -> usize {
    let dir = dir.0.display().to_string();
    let text = run(
        Path::new("/"),
        "squeue",
        &["--me", "-h", "-r", "--format=%Z"],
    );
    text.lines().filter(|line| line.starts_with(&dir)).count()
}

/// "Must show" 1, as chapter 4 of CL-MW's manual has it.
#[test]
fn condor_ping_as_in_the_manual() {
    let Some(_one) = asked("condor") else { return };
    let dir = Dir::new("ping");
    let binary = program("ping");
    let place = dir.0.display().to_string();
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "condor",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "8",
            "--dir",
            &place,
            "--run",
            "--",
            "--mw-slave-task-group",
            "100",
            "--mw-slave-result-group",
            "100",
            "--tasks",
            "200000",
        ],
    );
    wait_for(
        "the queue to be empty",
        || dir.all("", ".err"),
        || (condor_jobs(&dir) == 0).then_some(()),
    );
    let told = dir.all("master.", ".out");
    assert!(
        told.contains("200000 of 200000 answered ping-ok"),
        "{told}{}",
        dir.all("", ".err")
    );
    let ends = |log: &str| log.matches("Normal termination (return value 0)").count();
    assert_eq!(
        ends(&dir.all("master.", ".log")),
        1,
        "the master left the queue with exit 0"
    );
    assert_eq!(
        ends(&dir.read("slaves.log")),
        8,
        "every slave left the queue with exit 0"
    );
    let trail = dir.all("master.", ".audit");
    let jobs: BTreeSet<&str> = facts(&trail, "connected", "job").into_iter().collect();
    assert!(
        jobs.len() > 4 && jobs.iter().all(|job| job.starts_with("condor.")),
        "{jobs:?}"
    );
    assert!(trail.contains(" exit code=0"), "the trail holds the end");
}

#[test]
fn slurm_ping() {
    let Some(_one) = asked("slurm") else { return };
    let dir = Dir::new("ping");
    let (binary, place) = (program("ping"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "slurm",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "8",
            "--dir",
            &place,
            "--run",
            "--memory",
            "64",
            "--",
            "--mw-slave-task-group",
            "100",
            "--mw-slave-result-group",
            "100",
            "--tasks",
            "200000",
        ],
    );
    wait_for(
        "the queue to be empty",
        || dir.all("", ".out"),
        || (squeue(&dir) == 0).then_some(()),
    );
    let told = dir.all("master.", ".out");
    assert!(told.contains("200000 of 200000 answered ping-ok"), "{told}");
    let trail = dir.all("master.", ".audit");
    assert!(
        facts(&trail, "connected", "job")
            .iter()
            .all(|job| job.starts_with("slurm."))
    );
    assert!(trail.contains(" exit code=0"), "{told}");
}

/// "Must show" 2: 0, 8, 3, 8, finished; `hurt` is called once in the first wave, with eight slaves at work.
fn waves(
    dir: &Dir,
    system: &str,
    master: Option<Process>,
    more: &[&str],
    left: &dyn Fn() -> usize,
    hurt: &dyn Fn(&str),
) {
    let file = dir.0.join("waves.rsc").display().to_string();
    let mut args = vec![
        "overseer",
        "--resource-file",
        &file,
        "--batch",
        system,
        "--max",
        "12",
        "--interval",
        "2",
    ];
    args.extend(more);
    let mut overseer = Process::start(&dir.0, "ringmw", &args, "overseer.out");
    let all_eight = || dir.log().contains("desired 8, connected 8").then_some(());
    wait_for(
        "eight slaves",
        || dir.log() + &dir.all("", ".audit"),
        all_eight,
    );
    hurt(&dir.all("master", ".audit"));
    // The overseer is stopped and started again in the middle: it finds its jobs.
    signal(&overseer.0.id().to_string(), "TERM");
    wait_for(
        "the overseer to leave",
        || dir.log(),
        || overseer.has_ended(),
    );
    overseer = Process::start(&dir.0, "ringmw", &args, "overseer.out");
    let code = wait_for("the overseer to end", || dir.log(), || overseer.has_ended());
    let log = dir.log();
    assert_eq!(code, 0, "{log}");
    drop(master);
    let told = dir.all("master", ".out");
    assert!(
        told.contains("the sum of"),
        "{told}{}{log}",
        dir.all("master", ".err")
    );
    for wave in ["8 desired: ", "3 desired: 3 slaves"] {
        assert!(told.contains(wave), "{told}{log}");
    }
    assert_eq!(left(), 0, "no job is left");
    let submitted: u32 = log
        .lines()
        .filter_map(|line| {
            line.split_once(" submitted ")?
                .1
                .split(' ')
                .next()?
                .parse::<u32>()
                .ok()
        })
        .sum();
    // Eight, five more for the last wave, three for those that were hurt; a dead one of HTCondor comes back by itself.
    assert!(
        (13..=17).contains(&submitted),
        "{submitted} submitted: it oscillates\n{log}"
    );
}

#[test]
fn condor_waves_with_the_overseer() {
    let Some(_one) = asked("condor") else { return };
    let dir = Dir::new("waves");
    let (binary, place) = (program("waves"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "condor",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "0",
            "--dir",
            &place,
            "--run",
            "--",
            "--seconds",
            "15",
            "--mw-resource-file-update-interval",
            "5",
        ],
    );
    let hurt = |trail: &str| {
        let jobs = facts(trail, "connected", "job");
        let id = |at: usize| jobs[at].trim_start_matches("condor.").to_owned();
        run(Path::new("/"), "condor_rm", &[&id(0), &id(1)]);
        let pids = slave_pids("waves.rsc");
        signal(pids.last().expect("a slave runs"), "KILL");
    };
    waves(&dir, "condor", None, &[], &|| condor_jobs(&dir), &hurt);
}

/// The processes of slaves with this resource file.
fn slave_pids(resource_file: &str) -> Vec<String> {
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let is_slave = line.contains(" --mw-slave ")
            && line.contains(resource_file)
            && !line.starts_with("sh ");
        if is_slave && !line.starts_with("ringmw-slave") {
            pids.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    pids
}

fn plain_master(dir: &Dir, host: &str) -> Process {
    let args = [
        "--mw-master",
        "--mw-master-host",
        host,
        "--mw-resource-file",
        "waves.rsc",
        "--mw-audit-file",
        "master.audit",
        "--mw-resource-file-update-interval",
        "5",
        "--seconds",
        "12",
    ];
    Process::start(&dir.0, "waves", &args, "master.out")
}

#[test]
fn slurm_waves_with_the_overseer() {
    let Some(_one) = asked("slurm") else { return };
    let dir = Dir::new("waves");
    let master = Process::start(
        &dir.0,
        "waves",
        &[
            "--mw-master",
            "--mw-resource-file",
            "waves.rsc",
            "--mw-audit-file",
            "master.audit",
            "--mw-resource-file-update-interval",
            "5",
            "--seconds",
            "15",
        ],
        "master.out",
    );
    let hurt = |trail: &str| {
        let jobs = facts(trail, "connected", "job");
        let id = |at: usize| jobs[at].trim_start_matches("slurm.").to_owned();
        run(Path::new("/"), "scancel", &[&id(0), &id(1)]);
        let pids = slave_pids("waves.rsc");
        signal(pids.last().expect("a slave runs"), "KILL");
    };
    waves(
        &dir,
        "slurm",
        Some(master),
        &["--memory", "64"],
        &|| squeue(&dir),
        &hurt,
    );
}

#[test]
fn local_waves_with_the_overseer() {
    let Some(_one) = asked("local") else { return };
    let dir = Dir::new("waves-local");
    let master = plain_master(&dir, "127.0.0.1");
    let hurt = |trail: &str| {
        let pids = facts(trail, "init", "pid");
        assert_eq!(pids.len(), 1);
        for pid in slave_pids(" rsc").iter().take(3) {
            signal(pid, "KILL");
        }
    };
    waves(
        &dir,
        "local",
        Some(master),
        &[],
        &|| slave_pids(" rsc").len(),
        &hurt,
    );
}

/// The registry holds two hosts that were validated; pools.sh makes them on the loopback.
#[test]
fn ssh_waves_on_two_hosts() {
    let Some(_one) = asked("ssh") else { return };
    let farm = std::env::var("RINGMW_POOLS_FARM").expect("RINGMW_POOLS_FARM names the registry");
    let dir = Dir::new("waves-ssh");
    let master = plain_master(&dir, "127.0.0.1");
    wait_for("the resource file", String::new, || {
        dir.0.join("waves.rsc").exists().then_some(())
    });
    let (binary, file) = (
        program("waves"),
        dir.0.join("waves.rsc").display().to_string(),
    );
    let told = run(
        &dir.0,
        program("ringmw"),
        &[
            "farm",
            "--farm",
            &farm,
            "validate",
            "--binary",
            &binary.to_string_lossy(),
            "--resource-file",
            &file,
            "--check",
            "test -d /tmp",
        ],
    );
    assert_eq!(told.matches(" ok").count(), 2, "{told}");
    let hurt = |trail: &str| {
        let jobs: BTreeSet<&str> = facts(trail, "connected", "job").into_iter().collect();
        let hosts: BTreeSet<&str> = jobs
            .iter()
            .filter_map(|job| job.rsplit_once('.').map(|(host, _)| host))
            .collect();
        assert_eq!(hosts.len(), 2, "slaves come from both hosts: {jobs:?}");
        for pid in slave_pids(" rsc").iter().take(3) {
            signal(pid, "KILL");
        }
    };
    waves(
        &dir,
        "ssh",
        Some(master),
        &["--farm", &farm],
        &|| slave_pids(" rsc").len(),
        &hurt,
    );
}

/// "Must show" 3, and the story of section 4.1.1: the master is killed, HTCondor starts it again, it writes a new
/// resource file, slaves that come with the old one exit 255 and are run again.
#[test]
fn condor_restarts_a_killed_master_and_its_slaves_come_back() {
    let Some(_one) = asked("condor") else { return };
    let dir = Dir::new("restart");
    let (binary, place) = (program("waves"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "condor",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "6",
            "--dir",
            &place,
            "--run",
            "--",
            "--seconds",
            "12",
        ],
    );
    let trail = || dir.all("master.", ".audit");
    for (restart, name) in ["KILL", "TERM"].into_iter().enumerate() {
        let pid = wait_for("slaves at work", trail, || {
            let trail = trail();
            let begun: Vec<&str> = trail.split(" init ").collect();
            let (count, last) = (begun.len() - 1, begun.last().copied().unwrap_or_default());
            let works = count == restart + 1 && last.contains(" results-received ");
            works.then(|| {
                facts(&trail, "init", "pid")
                    .last()
                    .map(|pid| (*pid).to_owned())
            })?
        });
        signal(&pid, name);
    }
    wait_for(
        "the queue to be empty",
        || trail() + &dir.all("slave.", ".err"),
        || (condor_jobs(&dir) == 0).then_some(()),
    );
    assert_eq!(
        facts(&trail(), "init", "pid").len(),
        3,
        "it ran three times"
    );
    let told = dir.all("master.", ".out");
    assert!(
        told.contains("the sum of"),
        "{told}{}",
        dir.all("master.", ".err")
    );
    let slaves = dir.read("slaves.log");
    assert!(
        slaves.contains("(return value 255)"),
        "slaves that lost their master stay in the queue"
    );
}

/// "Must show" 6: the overseer stops submitting what cannot start, within a minute, and says why.
fn cannot_start(system: &str, more: &[&str]) {
    for (name, word) in [
        ("library", "libno.so1"),
        ("architecture", "xec format"),
        ("exec-bit", "ermission denied"),
    ] {
        // HTCondor sets the bit on what it has sent.
        if (system, name) == ("condor", "exec-bit") {
            continue;
        }
        let dir = Dir::new(&format!("cannot-{system}-{name}"));
        let broken = dir.0.join("broken");
        let mut bytes = fs::read(program("waves")).expect("the example is built");
        match name {
            // The loader's own words.
            "library" => {
                let at = bytes
                    .windows(10)
                    .position(|window| window == b"libc.so.6\0")
                    .expect("it needs a C library");
                bytes.splice(at..at + 9, *b"libno.so1");
            }
            "architecture" => bytes[18] = 0xf7,
            _ => {}
        }
        fs::write(&broken, &bytes).expect("written");
        let mode = if name == "exec-bit" { "644" } else { "755" };
        run(&dir.0, "chmod", &[mode, "broken"]);
        let broken = broken.display().to_string();
        let file = dir.0.join("waves.rsc").display().to_string();
        let _master = Process::start(
            &dir.0,
            "waves",
            &[
                "--mw-master",
                "--mw-master-host",
                "127.0.0.1",
                "--mw-resource-file",
                "waves.rsc",
                "--mw-audit-file",
                "master.audit",
                "--mw-slave-executable",
                &broken,
                "--seconds",
                "1",
            ],
            "master.out",
        );
        let mut args = vec![
            "overseer",
            "--resource-file",
            &file,
            "--batch",
            system,
            "--interval",
            "2",
        ];
        args.extend(more);
        let began = Instant::now();
        let overseer = Process::start(&dir.0, "ringmw", &args, "overseer.out");
        wait_for(
            "the overseer to stop",
            || dir.log(),
            || dir.log().contains("slaves do not start").then_some(()),
        );
        let took = began.elapsed();
        assert!(
            took < Duration::from_secs(60),
            "{name}: {took:?}\n{}",
            dir.log()
        );
        let log = dir.log();
        let reason = log.split("slaves do not start").nth(1).unwrap_or_default();
        assert!(
            reason.to_lowercase().contains(&word.to_lowercase()),
            "{name}: no {word} in\n{log}"
        );
        eprintln!("{system}, {name}: stopped after {took:?}");
        drop(overseer);
        let all = match system {
            "condor" => format!("condor_rm -constraint 'Iwd == \"{}.overseer\"'", file),
            "slurm" => "scancel --me".to_owned(),
            _ => "true".to_owned(),
        };
        let _ = Command::new("sh").args(["-c", &all]).output();
    }
}

#[test]
fn condor_tells_why_a_slave_cannot_start() {
    let Some(_one) = asked("condor") else { return };
    cannot_start("condor", &[]);
}

#[test]
fn slurm_tells_why_a_slave_cannot_start() {
    let Some(_one) = asked("slurm") else { return };
    cannot_start("slurm", &["--memory", "64"]);
}

#[test]
fn local_tells_why_a_slave_cannot_start() {
    let Some(_one) = asked("local") else { return };
    cannot_start("local", &[]);
}

/// "Must show" 5: one job of four cores is four pinned slaves.
#[test]
fn slurm_one_job_fills_a_node() {
    let Some(_one) = asked("slurm") else { return };
    let dir = Dir::new("node");
    let (binary, place) = (program("ping"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "slurm",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "1",
            "--cpus",
            "4",
            "--dir",
            &place,
            "--run",
            "--memory",
            "64",
            "--slave-flag=--mw-slave-count=auto",
            "--",
            "--tasks",
            "100000",
        ],
    );
    let pinned = wait_for(
        "four slaves",
        || dir.all("", ".out"),
        || {
            let pids = slave_pids("ping.rsc");
            let pinned: Vec<String> = pids
                .iter()
                .filter_map(|pid| {
                    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
                    let line = status
                        .lines()
                        .find(|line| line.starts_with("Cpus_allowed_list:"))?;
                    let cores = line.split_whitespace().nth(1)?.to_owned();
                    cores.parse::<u32>().is_ok().then_some(cores)
                })
                .collect();
            (pinned.len() == 4).then_some(pinned)
        },
    );
    assert!(
        pinned.iter().collect::<BTreeSet<_>>().len() > 1,
        "spread over the cores: {pinned:?}"
    );
    wait_for(
        "the queue to be empty",
        || dir.all("", ".out"),
        || (squeue(&dir) == 0).then_some(()),
    );
    let trail = dir.all("master.", ".audit");
    let jobs: BTreeSet<&str> = facts(&trail, "connected", "job").into_iter().collect();
    assert_eq!(jobs.len(), 4, "{jobs:?}");
    assert!(trail.contains(" exit code=0"));
}

/// "Must show" 5: a suspended slave's tasks go elsewhere, the job is vacated and runs again.
#[test]
fn condor_vacates_a_suspended_slave() {
    let Some(_one) = asked("condor") else { return };
    let dir = Dir::new("suspend");
    let (binary, place) = (program("waves"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "condor",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "4",
            "--dir",
            &place,
            "--run",
            "--",
            "--seconds",
            "25",
            "--mw-client-timeout",
            "10",
        ],
    );
    let trail = || dir.all("master.", ".audit");
    let job = wait_for("slaves at work", trail, || {
        let trail = trail();
        let jobs = facts(&trail, "connected", "job");
        (jobs.len() >= 4).then(|| jobs[0].trim_start_matches("condor.").to_owned())
    });
    run(Path::new("/"), "condor_suspend", &[&job]);
    wait_for(
        "the queue to be empty",
        || trail() + &dir.read("slaves.log"),
        || (condor_jobs(&dir) == 0).then_some(()),
    );
    let told = dir.all("master.", ".out");
    assert!(told.contains("the sum of"), "{told}");
    let comings = facts(&trail(), "connected", "job")
        .iter()
        .filter(|other| other.ends_with(&job))
        .count();
    assert!(
        comings >= 2,
        "job {job} came {comings} times\n{}",
        dir.read("slaves.log")
    );
    assert!(trail().contains(" lost "), "its tasks went to others");
}

/// "Must show" 5: an `init` that fails on one host costs that host only. Needs a pool of four hosts of their own.
#[test]
fn condor_hosts_one_bad_host_of_four_costs_that_host_only() {
    let Some(_one) = asked("condor-hosts") else {
        return;
    };
    let dir = Dir::new("picky");
    let (binary, place) = (program("test-picky"), dir.0.display().to_string());
    run(
        &dir.0,
        program("ringmw"),
        &[
            "submit",
            "condor",
            "--binary",
            &binary.to_string_lossy(),
            "--slaves",
            "8",
            "--dir",
            &place,
            "--run",
            "--",
            "--tasks",
            "1500",
            "node3",
        ],
    );
    wait_for(
        "the queue to be empty",
        || dir.all("", ".err"),
        || (condor_jobs(&dir) == 0).then_some(()),
    );
    let told = dir.all("master.", ".out");
    assert!(
        told.contains("sum 1124250 of 1500"),
        "{told}{}",
        dir.all("master.", ".err")
    );
    let trail = dir.all("master.", ".audit");
    let hosts: BTreeSet<&str> = facts(&trail, "connected", "host").into_iter().collect();
    assert_eq!(hosts.len(), 4, "slaves come from four hosts: {hosts:?}");
    let addresses: BTreeSet<&str> = facts(&trail, "connected", "from")
        .iter()
        .filter_map(|from| Some(from.rsplit_once(':')?.0))
        .collect();
    assert_eq!(addresses.len(), 4, "{addresses:?}");
    assert!(trail.contains("no licence on node3"), "the reason is told");
}
