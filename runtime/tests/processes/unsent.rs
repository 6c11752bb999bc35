//! Nothing finished is lost by leaving: slaves that go of their own will while their master reads nothing, or over a link that
//! takes its time.
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
use crate::relay::Relay;
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
        let (mut master, address) =
            swelling_master(dir.path(), engine, case.tasks, BYTES / case.tasks);
        let mut slave = swelling_slave(dir.path(), "slave", &address, case);
        stop_while_it_computes(dir.path(), &master, &slave);
        until("the slave algorithm to return", || {
            slave.stdout().contains("over").then_some(())
        });
        master.signal(Signal::CONT);
        leaves_nothing(dir.path(), &mut master, &mut slave, &address, case);
    }
}

/// It ends as it should, what it has done has come, and another does the rest; how many it has done.
fn leaves_nothing(
    dir: &Path,
    master: &mut Process,
    slave: &mut Process,
    address: &str,
    case: &Case,
) -> u64 {
    let of = format!("{} {:?}", case.own, case.flags);
    slave.expect_exit(case.code);
    assert_exit_line(slave, u8::try_from(case.code).unwrap());
    let done = results(slave);
    if done < case.tasks {
        // Its time was over before it had begun them.
        let mut other = Process::slave(dir, "other", address);
        other.expect_exit(0);
    }
    master.expect_exit(0);
    let all = format!("{} came, 0 did not\n", case.tasks);
    assert_eq!(master.stdout(), all, "{of}");
    let events = master.events();
    let of_first = came_from_first(&events);
    assert_eq!(of_first, done, "{of}: what it sent is what came");
    assert!(done > 0, "{of}");
    let losses = lost(&events);
    let is_goodbye = |loss: &(u32, LossCause, u64)| loss.0 == 0 && loss.1 == LossCause::Goodbye;
    assert!(losses.iter().all(is_goodbye), "{of}: {losses:?}");
    done
}

/// It was idle for a second with results unsent, and left with 0 and without them.
pub(crate) fn a_slave_with_results_unsent_is_not_idle(engine: &str) {
    let dir = dir();
    let (mut master, address) = swelling_master(dir.path(), engine, 4, BYTES / 4);
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
    let (mut master, address) = swelling_master(dir.path(), "auto", 1, BYTES);
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

/// One result of those that go over a slow link: of 20 MB a debug build reads each for seconds.
const LARGE: u64 = 4_000_000;

/// What is finished is written for seconds after each of these wants to go.
const SLOW: &[Case] = &[
    Case {
        own: "one group",
        flags: &[],
        tasks: 2,
        code: 255,
    },
    Case {
        own: "fails",
        flags: &[],
        tasks: 2,
        code: 255,
    },
    Case {
        own: "tells",
        flags: &["--mw-slave-time-limit", "1"],
        tasks: 2,
        code: 255,
    },
    Case {
        own: "tells",
        flags: &["--mw-slave-idle-timeout", "1"],
        tasks: 2,
        code: 0,
    },
];

/// Whatever makes it go, over a link that takes a second for each of its results.
pub(crate) fn a_slave_that_leaves_over_a_slow_link_leaves_nothing_behind(engine: &str) {
    thread::scope(|scope| {
        for case in SLOW {
            scope.spawn(move || leave_over_a_slow_link(engine, case));
        }
    });
}

fn leave_over_a_slow_link(engine: &str, case: &Case) {
    let dir = dir();
    let (mut master, address) = swelling_master(dir.path(), engine, case.tasks, LARGE);
    let relay = Relay::to(address.clone(), LARGE);
    let mut slave = swelling_slave(dir.path(), "slave", &relay.address, case);
    std::fs::write(dir.path().join("gate"), "").unwrap();
    let done = leaves_nothing(dir.path(), &mut master, &mut slave, &address, case);
    assert!(relay.said() > done * LARGE, "{}: {done}", case.own);
}

/// SIGTERM gives it a second. What the link has taken by then has come, and the rest is told as not sent; nothing is both.
pub(crate) fn an_evicted_slave_over_a_slow_link_tells_what_it_has_not_sent(engine: &str) {
    // More than the kernel's buffers take.
    const BYTES: u64 = 20_000_000;
    for (pace, may_come) in [(BYTES / 10, false), (4 * BYTES, true)] {
        let dir = dir();
        let (mut master, address) = swelling_master(dir.path(), engine, 1, BYTES);
        let relay = Relay::to(address, pace);
        let mut slave = swelling_slave(dir.path(), "slave", &relay.address, &CASES[0]);
        std::fs::write(dir.path().join("gate"), "").unwrap();
        until("its result to be under way", || {
            (relay.said() > 1 << 20).then_some(())
        });
        slave.signal(Signal::TERM);
        slave.expect_exit(255);
        let not_sent = |event: &Event| matches!(event, Event::Exit { reason, .. } if reason.contains("results not sent: 1"));
        let is_unsent = slave.events().iter().any(not_sent);
        master.expect_exit(0);
        let came = u64::from(!is_unsent);
        assert!(may_come || came == 0, "so much takes ten seconds");
        let told = format!("{came} came, {} did not\n", 1 - came);
        assert_eq!(master.stdout(), told);
    }
}

/// A master whose tasks go out in one packet, with results of so many bytes each.
fn swelling_master(dir: &Path, engine: &str, tasks: u64, bytes: u64) -> (Process, String) {
    let (count, size) = (tasks.to_string(), bytes.to_string());
    let room = (bytes + (1 << 20)).to_string();
    let args = [
        "--mw-engine",
        engine,
        "--mw-max-read-buffer-size",
        &room,
        "--mw-slave-task-group",
        "60",
        "--mw-slave-result-group",
        "1",
        "--tasks",
        &count,
        "--swell",
        &size,
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
