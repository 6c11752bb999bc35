//! A farm by ssh: two hosts on the loopback, which pools.sh makes and registers.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::local::WAVES;
use crate::operator;
use crate::ports::free_ports;
use crate::stories::{self, Waves};
use crate::{Dir, Process, facts, jobs, one, program, run, signal, slave_pids, wait_for};

fn farm() -> String {
    std::env::var("RINGMW_POOLS_FARM").expect("RINGMW_POOLS_FARM names the registry")
}

/// Where the hosts have the slaves.
fn far() -> PathBuf {
    Path::new(&farm()).with_file_name("far")
}

/// `ringmw farm validate`: whether all may serve, and what it prints.
fn validate(dir: &Dir, farm: &str, app: &str, options: &[&str]) -> (bool, String) {
    let binary = program(app);
    let mut command = Command::new(program("ringmw"));
    command
        .args(["farm", "--farm", farm, "validate", "--binary", &binary])
        .args(options);
    let output = command.current_dir(&dir.0).output().expect("ringmw runs");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
    )
}

#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn ping() {
    let _one = one("ssh");
    let (dir, farm) = (Dir::new("ssh-ping", "ping"), farm());
    let (is_ok, told) = validate(&dir, &farm, "ping", &[]);
    assert!(is_ok, "{told}");
    stories::ping_by_overseer(&dir, "ssh", &["--farm", &farm], "ssh.127.0.0.");
}

/// Hosts that reach nobody: their slaves listen, and the master dials them, on either engine.
#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn slaves_that_listen_are_dialled() {
    let _one = one("ssh");
    for engine in ["ring", "epoll"] {
        let dir = Dir::new(&format!("ssh-listen-{engine}"), "ping");
        // Both hosts are this machine, so that each has ports of its own.
        let (mut port, registry) = (free_ports(6), dir.path("farm"));
        let mut text = String::new();
        for line in fs::read_to_string(farm())
            .expect("pools.sh made it")
            .lines()
        {
            let fields = line
                .split('\t')
                .filter(|field| !field.starts_with("slots=") && !field.starts_with("valid="));
            match line.starts_with("127.") {
                true => {
                    let fields: Vec<&str> = fields.collect();
                    text += &format!("{}\tslots=3\tlisten={port}\n", fields.join("\t"));
                    port += 3;
                }
                false => text += &format!("{line}\n"),
            }
        }
        fs::write(&registry, text).expect("written");
        let (is_ok, told) = validate(&dir, &registry, "ping", &[]);
        assert!(is_ok, "{told}");
        let farm = ["farm", "--farm", &registry, "addresses"];
        let slaves = run(&dir.0, program("ringmw"), &farm);
        let last = format!("127.0.0.2:{}", port - 1);
        assert_eq!(slaves.lines().count(), 6, "{slaves}");
        assert_eq!(slaves.lines().last(), Some(&*last), "{slaves}");
        fs::write(dir.path("slaves"), slaves).expect("written");

        let args = ["--mw-slaves-wanted", "6", "--mw-slave-at", "@slaves"];
        let own = ["--mw-master-host", "127.0.0.1", "--mw-engine", engine];
        let groups = [
            "--mw-slave-task-group",
            "100",
            "--mw-slave-result-group",
            "100",
        ];
        let mut master = dir.master(&[&args[..], &own, &groups, &["--tasks", "200000"]].concat());
        let mut overseer = dir.overseer("ssh", &["--farm", &registry]);
        let code = overseer.end("the overseer", || dir.log() + &dir.told());
        let log = dir.log();
        assert_eq!(code, 0, "{log}");
        assert_eq!(master.end("the master", || dir.told()), 0, "{}", dir.told());
        let told = dir.told();
        assert!(told.contains("200000 of 200000 answered ping-ok"), "{told}");
        assert!(log.contains("are idle until a master dials them"), "{log}");
        let trail = dir.trail();
        let jobs = jobs(&trail);
        let listens = |job: &&str| job.starts_with("ssh.127.0.0.") && job.contains("-p");
        assert!(!jobs.is_empty() && jobs.iter().all(listens), "{jobs:?}");
        // Those whose turn never came leave with the run.
        assert!(!log.contains(" died on "), "{log}");
        operator::no_slave_is_left(&far());
    }
}

/// A host is lost with its slaves in the middle: it is told, others take their place on the host that is left, and when it
/// answers again that is told too. It is lost to the overseer as its key is gone.
#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn a_host_that_is_lost_in_the_middle_is_told_and_replaced() {
    let _one = one("ssh");
    let dir = Dir::new("ssh-lost", "ping");
    let registry = dir.path("farm");
    let (key, gone) = (dir.path("key"), dir.path("gone"));
    let fit = fs::read_to_string(farm()).expect("pools.sh made it");
    let with_key = |field: &str| match field.strip_prefix("identity=") {
        Some(theirs) => {
            fs::copy(theirs, &key).expect("pools.sh made it");
            format!("identity={key}")
        }
        None => field.to_owned(),
    };
    let line = |line: &str| {
        let fields = line.split('\t');
        let fields: Vec<String> = match line.starts_with("127.0.0.2") {
            true => fields.map(with_key).collect(),
            false => fields.map(str::to_owned).collect(),
        };
        fields.join("\t") + "\n"
    };
    fs::write(&registry, fit.lines().map(line).collect::<String>()).expect("written");
    let (is_ok, told) = validate(&dir, &registry, "ping", &[]);
    assert!(is_ok, "{told}");
    let args = ["--mw-slaves-wanted", "6", "--tasks", "1000000000"];
    let master = dir.master(&[&["--mw-master-host", "127.0.0.1"][..], &args].concat());
    let options = ["--farm", &registry, "--lost-after", "5"];
    let mut overseer = dir.overseer("ssh", &options);
    let told = || dir.log() + &dir.told();
    let connected = |count: usize| {
        let trail = dir.trail();
        (facts(&trail, "connected", "job").len() >= count).then_some(())
    };
    wait_for("six slaves", told, || connected(6));
    let of_lost = |job: &&&str| job.starts_with("ssh.127.0.0.2.");
    let trail = dir.trail();
    let lost = jobs(&trail).iter().filter(of_lost).count();
    assert!(lost > 0, "{trail}");
    fs::rename(&key, &gone).expect("it is ours");
    // Both hosts are this machine: the job's name says which it is of.
    for pid in slave_pids(&far()) {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains("RINGMW_JOB=ssh.127.0.0.2.") {
            signal(&pid, "KILL");
        }
    }
    wait_for("others in their place", told, || connected(6 + lost));
    let log = dir.log();
    let told_so = format!("its {lost} slaves count as lost, and others start elsewhere");
    assert!(log.contains("127.0.0.2") && log.contains(&told_so), "{log}");
    let trail = dir.trail();
    assert_eq!(jobs(&trail).iter().filter(of_lost).count(), lost, "{log}");
    fs::rename(&gone, &key).expect("it is ours");
    wait_for("its answer", told, || {
        dir.log().contains("127.0.0.2 answers again").then_some(())
    });
    let (stopped, text) = operator::ringmw(&dir, &["stop", &dir.resource_file()]);
    assert!(stopped, "{text}");
    assert_eq!(overseer.end("the overseer", told), 0, "{}", dir.log());
    drop(master);
    operator::no_slave_is_left(&far());
}

/// A firewall that lets nobody in, and one that listens in the slave's place.
#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn a_host_whose_slaves_cannot_be_reached_does_not_serve() {
    let _one = one("ssh");
    let (dir, registry) = (Dir::new("ssh-shut", "ping"), String::from("farm"));
    let registry = dir.path(&registry);
    let port = free_ports(1);
    let fit = fs::read_to_string(farm()).expect("pools.sh made it");
    let line = fit.lines().find(|line| line.starts_with("127.0.0.1"));
    let line = line
        .expect("it is registered")
        .replace("slots=6", "slots=1");
    // Nobody listens at that name, which nothing here has.
    fs::write(&registry, format!("{line}\tlisten=127.0.0.9:{port}\n")).expect("written");
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("it was free");
    let (is_ok, told) = validate(&dir, &registry, "ping", &[]);
    assert!(!is_ok && told.contains("cannot listen"), "{told}");
    drop(taken);
    let blocked = format!("{line}\tlisten=localhost.invalid:{port}\n");
    fs::write(&registry, blocked).expect("written");
    let (is_ok, told) = validate(&dir, &registry, "ping", &[]);
    assert!(
        !is_ok
            && told.contains(&format!(
                "its slave at localhost.invalid:{port} cannot be reached"
            )),
        "{told}"
    );
}

fn waves_master(dir: &Dir) -> Process {
    let master = dir.master(&WAVES);
    let file = dir.resource_file();
    wait_for(
        "the resource file",
        || dir.told(),
        || Path::new(&file).exists().then_some(()),
    );
    master
}

#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn waves_on_two_hosts() {
    let _one = one("ssh");
    let (dir, farm) = (Dir::new("ssh-waves", "waves"), farm());
    let master = waves_master(&dir);
    let file = dir.resource_file();
    let options = ["--resource-file", &file, "--check", "test -d /tmp"];
    let (is_ok, told) = validate(&dir, &farm, "waves", &options);
    assert!(is_ok && told.matches(" ok").count() == 2, "{told}");
    let hurt = |trail: &str| {
        let hosts: BTreeSet<&str> = jobs(trail)
            .iter()
            .filter_map(|job| Some(job.rsplit_once('.')?.0))
            .collect();
        assert_eq!(hosts.len(), 2, "slaves come from both hosts: {hosts:?}");
        for pid in slave_pids(&far()).iter().take(3) {
            signal(pid, "KILL");
        }
    };
    let story = Waves {
        system: "ssh",
        options: &["--farm", &farm],
        left: &|| slave_pids(&far()).len(),
        hurt: &hurt,
    };
    stories::waves(&dir, Some(master), &story);
}

/// The master's port is closed by the time that the hosts are asked.
#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn a_host_that_cannot_reach_the_master_does_not_serve() {
    let _one = one("ssh");
    let dir = Dir::new("ssh-closed", "waves");
    let registry = dir.path("farm");
    fs::copy(farm(), &registry).expect("pools.sh made it");
    drop(waves_master(&dir));
    let file = dir.resource_file();
    let (is_ok, told) = validate(&dir, &registry, "waves", &["--resource-file", &file]);
    assert!(!is_ok, "{told}");
    assert_eq!(
        told.matches("it cannot reach the master at 127.0.0.1:")
            .count(),
        2,
        "{told}"
    );
    let options = ["--batch", "ssh", "--farm", &registry];
    let overseer = Command::new(program("ringmw"))
        .args(["overseer", "--resource-file", &file])
        .args(options)
        .output()
        .expect("ringmw runs");
    let complaint = String::from_utf8_lossy(&overseer.stderr).into_owned();
    assert!(!overseer.status.success(), "{complaint}");
    assert!(
        complaint.contains("no machine of the farm may serve"),
        "{complaint}"
    );
}

/// A host that was fit and has gone since: the others do its work.
#[test]
#[ignore = "needs sshd: `tools/tests/pools.sh` brings that up and runs it"]
fn an_unreachable_host_is_told_and_gone_round() {
    let _one = one("ssh");
    let dir = Dir::new("ssh-unreachable", "ping");
    let (gone, farm) = ("127.0.0.3", dir.path("farm"));
    // Nobody listens there.
    let fit = fs::read_to_string(self::farm()).expect("pools.sh made it");
    let line = fit
        .lines()
        .find(|line| line.starts_with("127.0.0.1"))
        .expect("it is registered");
    fs::write(&farm, format!("{fit}{}\n", line.replace("127.0.0.1", gone))).expect("written");

    let (is_ok, told) = validate(&dir, &farm, "ping", &["--check", "false", gone]);
    assert!(
        !is_ok && told.contains("not reachable") && told.contains("refused"),
        "{told}"
    );
    let (is_ok, told) = validate(&dir, &farm, "ping", &["--check", "false", "127.0.0.1"]);
    assert!(
        !is_ok && told.contains(r#"your check "false" failed"#),
        "{told}"
    );
    let (is_ok, told) = validate(&dir, &farm, "ping", &[]);
    assert!(
        !is_ok && told.matches(" ok").count() == 2,
        "the others serve\n{told}"
    );

    // As it was when it was fit.
    let marked = fs::read_to_string(&farm).expect("validate wrote it");
    let mark = |line: &str| match line.split_once("\tfailed=") {
        Some((machine, _)) => format!("{machine}\tvalid=1\n"),
        None => format!("{line}\n"),
    };
    fs::write(&farm, marked.lines().map(mark).collect::<String>()).expect("written");
    stories::ping_by_overseer(&dir, "ssh", &["--farm", &farm], "ssh.127.0.0.");
    let log = dir.log();
    assert!(
        log.contains(&format!("{gone}: ssh: ")) && log.contains("refused"),
        "{log}"
    );
    let list = run(
        &dir.0,
        program("ringmw"),
        &["farm", "--farm", &farm, "list"],
    );
    assert_eq!(list.lines().count(), 3, "{list}");
}
