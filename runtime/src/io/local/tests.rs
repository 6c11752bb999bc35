use std::io::{self, BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::io::local::output::{LAST_LINES_MAX, Output, Stream};
use crate::io::local::plan::Plan;
use crate::io::local::restart::{BARREN_MAX, PAUSE_FIRST};
use crate::io::local::{Death, LocalEvent, STOP_BOUND, Stopped, Supervisor};

const LONG: Duration = Duration::from_secs(20);

/// What a slave writes into its page: that it was told to go, that it is SLAVE-3, that its tasks are of the run's
/// second life, that it has ended a task, that it begins TASK-6, which was announced.
const PAGE: &str =
    "put() { printf $2 | dd of=/proc/self/fd/$RINGMW_WORD bs=1 seek=$1 conv=notrunc 2>/dev/null; }
    told() { put 16 '\\001'; }
    joins() { put 48 '\\004'; }
    of_life_2() { put 64 '\\002'; }
    works() { put 24 '\\001'; }
    begins() { put 32 '\\007'; put 40 '\\001'; }
    ";

struct Bench {
    supervisor: Supervisor,
    events: Receiver<LocalEvent>,
    lines: Receiver<(Stream, String)>,
}

fn plan(slaves: u32, script: &str) -> (Plan, Receiver<(Stream, String)>) {
    let (sender, lines) = mpsc::channel();
    let output: Output = Arc::new(move |stream, line: &[u8]| {
        let _ = sender.send((stream, String::from_utf8_lossy(line).into_owned()));
    });
    let script = format!("{PAGE}{script}");
    let args = vec!["-c".into(), script.into()];
    (
        Plan {
            slaves,
            program: "/bin/sh".into(),
            arg0: None,
            args,
            secret: None,
            audit_file: None,
            output,
            name: "app".to_owned(),
            batch_job: None,
            cores: Vec::new(),
        },
        lines,
    )
}

fn start(slaves: u32, script: &str) -> Bench {
    let (plan, lines) = plan(slaves, script);
    start_as(plan, lines)
}

fn start_as(plan: Plan, lines: Receiver<(Stream, String)>) -> Bench {
    let (sender, events) = mpsc::channel();
    let supervisor =
        Supervisor::start(plan, move |event| drop(sender.send(event))).expect("sh starts");
    Bench {
        supervisor,
        events,
        lines,
    }
}

impl Bench {
    fn started(&self) -> (String, u32) {
        loop {
            match self.events.recv_timeout(LONG).expect("a start") {
                LocalEvent::Started { job, pid, .. } => return (job, pid),
                LocalEvent::Ended { .. } => {}
                LocalEvent::Failed(failure) => panic!("{failure}"),
            }
        }
    }

    fn ended(&self) -> (Death, Option<Duration>) {
        loop {
            if let LocalEvent::Ended { death, restart_in } =
                self.events.recv_timeout(LONG).expect("an end")
            {
                return (death, restart_in);
            }
        }
    }

    fn line(&self) -> (Stream, String) {
        self.lines.recv_timeout(LONG).expect("a line")
    }
}

fn await_end_of(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a pid");
    let Ok(fd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let bound = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let ended = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&bound)).expect("poll");
    assert_eq!(ended, 1, "process {pid:?} still runs");
}

#[test]
fn output_is_prefixed_with_the_slave_once_it_is_known() {
    let folder = tempfile::tempdir().expect("tempdir");
    let fifo = folder.path().join("go");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("mkfifo");
    let script = format!(
        "echo $RINGMW_JOB; read x < {}; joins; echo oops >&2; printf partial; told",
        fifo.display()
    );
    let bench = start(1, &script);
    assert_eq!(bench.line(), (Stream::Stdout, "slave | local.0.0\n".into()));
    std::fs::write(&fifo, "go\n").expect("the slave reads");
    let mut rest = [bench.line().1, bench.line().1];
    rest.sort();
    assert_eq!(rest, ["SLAVE-3 | oops\n", "SLAVE-3 | partial\n"]);
    let (death, restart_in) = bench.ended();
    assert!(death.is_over && restart_in.is_none());
    assert_eq!(bench.supervisor.stop(STOP_BOUND), Stopped::default());
}

#[test]
fn one_that_dies_is_told_of_and_started_again() {
    // The second leaves with 0, and nobody had told it to; the third was.
    let script = "case $RINGMW_JOB in
        local.0.0) joins; begins; echo up; exec sleep 1000;;
        local.0.1) works; exit 0;;
        *) told; exit 0;;
        esac";
    let bench = start(1, script);
    let (job, pid) = bench.started();
    assert_eq!(job, "local.0.0");
    assert_eq!(bench.line(), (Stream::Stdout, "SLAVE-3 | up\n".into()));
    kill_process(
        Pid::from_raw(pid.cast_signed()).expect("a pid"),
        Signal::KILL,
    )
    .expect("it runs");
    let (death, restart_in) = bench.ended();
    assert_eq!(death.how, "signal: 9 (SIGKILL) in TASK-6");
    assert_eq!((death.child, death.pid), (0, Some(pid)));
    // The task is charged: that is no barren life.
    assert_eq!(restart_in, Some(PAUSE_FIRST));
    let line = "app: slave 0 (SLAVE-3) was killed by SIGKILL while it ran TASK-6; it is started again in 0.1 s\n";
    assert_eq!(bench.line(), (Stream::Stderr, line.into()));
    assert_eq!(bench.started().0, "local.0.1");
    assert!(!bench.ended().0.is_over);
    let line =
        "app: slave 0 left with 0, and nobody had told it to; it is started again in 0.1 s\n";
    assert_eq!(bench.line(), (Stream::Stderr, line.into()));
    assert_eq!(bench.started().0, "local.0.2");
    assert!(bench.ended().0.is_over);
}

/// In a run's second life a task is named with the life for people, and in the trail as ever.
#[test]
fn a_death_names_its_task_with_the_life() {
    let script =
        "case $RINGMW_JOB in local.0.0) joins; of_life_2; begins; exit 7;; *) told; exit 0;; esac";
    let bench = start(1, script);
    assert_eq!(bench.ended().0.how, "exit status: 7 in TASK-6");
    let line = "app: slave 0 (SLAVE-3) exited with 7 while it ran TASK-6.2; it is started again in 0.1 s\n";
    assert_eq!(bench.line(), (Stream::Stderr, line.into()));
}

#[test]
fn a_slot_is_given_up_and_its_sibling_works_on() {
    let script = "case $RINGMW_JOB in local.0.*) exit 7;; *) exec sleep 1000;; esac";
    let bench = start(2, script);
    let mut deaths = 0;
    while let (death, Some(_)) = bench.ended() {
        assert_eq!((death.child, &death.how[..]), (0, "exit status: 7"));
        deaths += 1;
    }
    assert_eq!(deaths, BARREN_MAX - 1);
    let stopped = bench.supervisor.stop(Duration::ZERO);
    assert_eq!((stopped.terminated, stopped.killed), (1, 0));
    let failed = bench
        .events
        .iter()
        .any(|event| matches!(event, LocalEvent::Failed(_)));
    assert!(!failed, "one of them lived");
}

#[test]
fn all_given_up_is_a_failure_with_the_last_lines() {
    let bench = start(
        2,
        "for i in 1 2 3 4 5 6 7 8 9 10 11; do echo line $i; done; echo no licence >&2; exit 7",
    );
    let failure = loop {
        if let LocalEvent::Failed(failure) = bench.events.recv_timeout(LONG).expect("it gives up") {
            break failure;
        }
    };
    for (death, lines) in &failure.dead {
        assert_eq!(death.how, "exit status: 7");
        assert_eq!(lines.len(), LAST_LINES_MAX);
        assert!(lines.iter().any(|line| line == "no licence"));
    }
    let told = failure.to_string();
    assert!(
        told.starts_with(
            "all 2 slaves are given up, each after 5 lives in a row that ended no task\n"
        ),
        "{told}"
    );
    assert!(
        told.contains("exited with 7; its last lines:\n    line "),
        "{told}"
    );
    bench.supervisor.stop(Duration::ZERO);
    // Ten deaths alike are a few lines.
    let told = bench.lines.iter();
    let told: Vec<_> = told.filter(|(_, line)| line.starts_with("app: ")).collect();
    assert!((4..10).contains(&told.len()), "{told:?}");
    assert!(
        told.iter().any(|(_, line)| line.contains("is given up")),
        "{told:?}"
    );
}

#[test]
fn a_program_that_is_not_there_is_an_error_of_the_start() {
    let (mut plan, _lines) = plan(2, "");
    plan.program = "/nonexistent/app".into();
    let error = Supervisor::start(plan, |_| {}).expect_err("nothing to start");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn stop_goes_from_patience_to_sigterm_to_sigkill_and_takes_orphans_along() {
    // 0 ends by itself, 1 on SIGTERM, 2 only on SIGKILL, and 2 leaves an orphan that holds its pipes.
    let script = "case $RINGMW_JOB in
        local.0.*) echo up; read x < $FIFO; told; exit 0;;
        local.1.*) echo up; exec sleep 1000;;
        *) trap '' TERM; sleep 1000 & echo $!; while true; do wait; done;;
        esac";
    let folder = tempfile::tempdir().expect("tempdir");
    let fifo = folder.path().join("go");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("mkfifo");
    let bench = start(3, &script.replace("$FIFO", &fifo.display().to_string()));
    let pids: Vec<u32> = (0..3).map(|_| bench.started().1).collect();
    let said: Vec<String> = (0..3).map(|_| bench.line().1).collect();
    let orphan = said
        .iter()
        .find_map(|line| line.trim().strip_prefix("slave | ")?.parse::<u32>().ok())
        .expect("slave 2 tells its child");
    let groups: Vec<_> = pids
        .iter()
        .map(|pid| rustix::process::getpgid(Pid::from_raw(pid.cast_signed())).expect("it runs"))
        .collect();
    assert_eq!(groups, vec![groups[0]; 3]);
    assert_ne!(groups[0], rustix::process::getpgrp());
    std::fs::write(&fifo, "go\n").expect("slave 0 reads");
    assert!(bench.ended().0.is_over);
    let stopped = bench.supervisor.stop(Duration::from_millis(50));
    assert_eq!(
        stopped,
        Stopped {
            by_themselves: 0,
            terminated: 1,
            killed: 1
        }
    );
    pids.iter()
        .chain([&orphan])
        .for_each(|&pid| await_end_of(pid));
}

#[test]
fn dropping_it_leaves_nothing() {
    let bench = start(2, "exec sleep 1000");
    let pids = [bench.started().1, bench.started().1];
    drop(bench);
    pids.into_iter().for_each(await_end_of);
}

/// The master of `slaves_die_with_a_killed_master`: this test binary again.
#[test]
fn a_master_to_be_killed() {
    if std::env::var_os("RINGMW_TEST_MASTER").is_none() {
        return;
    }
    let bench = start(2, "exec sleep 1000");
    let pids = [bench.started().1, bench.started().1];
    let mut err = io::stderr();
    writeln!(err, "pids {} {}", pids[0], pids[1]).expect("the test reads");
    loop {
        thread::park();
    }
}

#[test]
fn slaves_die_with_a_killed_master() {
    let mut master = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "io::local::tests::a_master_to_be_killed",
            "--nocapture",
        ])
        .env("RINGMW_TEST_MASTER", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the test binary starts");
    let told = BufReader::new(master.stderr.take().expect("piped"))
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("pids ").map(str::to_owned));
    master.kill().expect("it runs");
    master.wait().expect("it ended");
    let pids: Vec<u32> = told
        .expect("pids")
        .split(' ')
        .map(|pid| pid.parse().expect("a pid"))
        .collect();
    assert_eq!(pids.len(), 2);
    pids.into_iter().for_each(await_end_of);
}

#[test]
fn the_plan_for_this_binary_has_the_flags_of_a_slave() {
    let mut plan = Plan::of_this_binary(Some(3), 4711, "local-member");
    plan.audit_file = Some("run/trail".into());
    let args: Vec<String> = plan
        .args_of(2)
        .into_iter()
        .map(|arg| arg.into_string().expect("UTF-8"))
        .collect();
    let expected = "--mw-slave --mw-master-host 127.0.0.1 --mw-master-port 4711 --mw-member-id local-member \
                    --mw-audit-file run/trail.slave-2";
    assert_eq!(args.join(" "), expected);
    assert_eq!(plan.slaves, 3);
    assert!(Plan::of_this_binary(None, 1, "m").slaves >= 1);
}
