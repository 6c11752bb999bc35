//! Nothing finished is lost by leaving: slaves that go of their own will while their master reads nothing.
//!
//! Every task is begun at most once, so that a result that is lost is a task that does not come. The master is stopped while
//! the slave computes, and goes on only when the slave wants to leave.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, LossCause};
use rustix::process::Signal;

use crate::app::{GATE, OWN_SLAVE, assert_exit_line, dir, lost};
use crate::process::Process;
use crate::support::until;

/// More than the kernel keeps for a connection whose reader is stopped.
const BYTES: u64 = 12 << 20;

struct Case {
    /// What its slave algorithm does.
    own: &'static str,
    flags: &'static [&'static str],
    tasks: u64,
    code: i32,
}

/// The last one finishes four packets and what the kernel takes, and leaves the rest of its tasks to another slave.
const CASES: &[Case] = &[
    Case {
        own: "one task",
        flags: &[],
        tasks: 1,
        code: 255,
    },
    Case {
        own: "one group",
        flags: &[],
        tasks: 4,
        code: 255,
    },
    Case {
        own: "fails",
        flags: &[],
        tasks: 4,
        code: 255,
    },
    Case {
        own: "tells",
        flags: &["--mw-slave-time-limit", "2"],
        tasks: 60,
        code: 255,
    },
];

pub(crate) fn a_slave_that_leaves_leaves_nothing_behind(engine: &str) {
    for case in CASES {
        let dir = dir();
        let (mut master, address) = swelling_master(dir.path(), engine, case.tasks);
        let mut slave = swelling_slave(dir.path(), "slave", &address, case);
        stop_while_it_computes(dir.path(), &master, &slave);
        until("the slave algorithm to return", || {
            slave.stdout().contains("over").then_some(())
        });
        master.signal(Signal::CONT);
        slave.expect_exit(case.code);
        assert_exit_line(&slave, u8::try_from(case.code).unwrap());
        let done = results(&slave);
        if done < case.tasks {
            let mut other = Process::slave(dir.path(), "other", &address);
            other.expect_exit(0);
        }
        master.expect_exit(0);
        let all = format!("{} came, 0 did not\n", case.tasks);
        assert_eq!(master.stdout(), all, "{}", case.own);
        let events = master.events();
        let of_first = came_from_first(&events);
        assert_eq!(of_first, done, "{}: what it sent is what came", case.own);
        assert!(of_first > 0);
        let losses = lost(&events);
        assert!(
            losses
                .iter()
                .all(|loss| loss.0 == 0 && loss.1 == LossCause::Goodbye),
            "{}: {losses:?}",
            case.own
        );
    }
}

/// It was idle for a second with results unsent, and left with 0 and without them.
pub(crate) fn a_slave_with_results_unsent_is_not_idle(engine: &str) {
    let dir = dir();
    let (mut master, address) = swelling_master(dir.path(), engine, 4);
    let case = Case {
        own: "tells",
        flags: &["--mw-slave-idle-timeout", "1"],
        tasks: 4,
        code: 0,
    };
    let mut slave = swelling_slave(dir.path(), "slave", &address, &case);
    stop_while_it_computes(dir.path(), &master, &slave);
    // It may be computing for some of that time, if the machine is slow.
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_millis(2_500) {
        thread::sleep(Duration::from_millis(50));
    }
    master.signal(Signal::CONT);
    master.expect_exit(0);
    assert_eq!(master.stdout(), "4 came, 0 did not\n");
    slave.expect_exit(0);
    // A master that is slow at taking them may see a slave that was idle after all, and had nothing in hand.
    let losses = lost(&master.events());
    assert!(
        losses
            .iter()
            .all(|loss| loss.1 == LossCause::Goodbye && loss.2 == 0),
        "{losses:?}"
    );
}

/// SIGTERM ends the writing; the master is stopped for good.
pub(crate) fn an_evicted_slave_does_not_write_for_ever() {
    let dir = dir();
    let (mut master, address) = swelling_master(dir.path(), "auto", 1);
    let mut slave = swelling_slave(dir.path(), "slave", &address, &CASES[0]);
    stop_while_it_computes(dir.path(), &master, &slave);
    until("the slave algorithm to return", || {
        slave.stdout().contains("over").then_some(())
    });
    slave.signal(Signal::TERM);
    slave.expect_exit(255);
    let events = slave.events();
    assert!(
        events.iter().any(|event| matches!(event, Event::Exit { reason, .. } if reason.contains("results not sent: 1"))),
        "{events:#?}"
    );
    master.signal(Signal::KILL);
    master.exit();
}

/// A master whose tasks go out in one packet, and whose results are of [`BYTES`] together.
fn swelling_master(dir: &Path, engine: &str, tasks: u64) -> (Process, String) {
    let (count, bytes) = (tasks.to_string(), (BYTES / tasks).to_string());
    let args = [
        "--mw-engine",
        engine,
        "--mw-max-read-buffer-size",
        "13MiB",
        "--mw-slave-task-group",
        "60",
        "--mw-slave-result-group",
        "1",
        "--tasks",
        &count,
        "--swell",
        &bytes,
    ];
    let master = Process::master(dir, &args);
    let address = master.address();
    (master, address)
}

fn swelling_slave(dir: &Path, name: &str, address: &str, case: &Case) -> Process {
    let (host, port) = address.rsplit_once(':').unwrap();
    let role = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    let args = [&role, case.flags].concat();
    Process::start_with(dir, name, &args, |command| {
        command.env(OWN_SLAVE, case.own).env(GATE, dir.join("gate"));
    })
}

/// The master stops when its tasks are with the slave, which finishes the first one only then.
fn stop_while_it_computes(dir: &Path, master: &Process, slave: &Process) {
    slave.await_event("tasks", |event| {
        matches!(event, Event::TasksReceived { .. }).then_some(())
    });
    master.signal(Signal::STOP);
    std::fs::write(dir.join("gate"), "").unwrap();
}

/// Results that this slave has made into packets.
fn results(slave: &Process) -> u64 {
    let events = slave.events();
    let sent = events.iter().map(|event| match event {
        Event::ResultsSent { results, .. } => *results,
        Event::Packets { results, .. } => *results,
        _ => 0,
    });
    sent.sum()
}

/// Results that the master took from the first slave.
fn came_from_first(events: &[Event]) -> u64 {
    let came = events.iter().map(|event| match event {
        Event::ResultsReceived {
            slave: 0, results, ..
        } => *results,
        Event::Packets {
            slave: 0, results, ..
        } => *results,
        _ => 0,
    });
    came.sum()
}
