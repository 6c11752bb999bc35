//! Signals reach a master whatever its algorithm does, slaves, and the parent of a node.

use std::os::unix::process::CommandExt;

use ringmw_codec::audit::{Event, LossCause};
use rustix::process::{Resource, Signal};

use crate::app::{assert_exit_line, count, dir, lost, printed};
use crate::process::{Process, limit};
use crate::support::until;

/// A master whose algorithm is of this kind, once that runs.
fn restless(dir: &std::path::Path, kind: &str, args: &[&str]) -> Process {
    let args = [&["--slaves", "0", "--restless", kind], args].concat();
    let master = Process::master(dir, &args);
    until("the master algorithm to begin", || {
        (master.stdout() == format!("{kind}\n")).then_some(())
    });
    master
}

/// The trail tells the signal once, and at its end what came of it.
pub(crate) fn assert_signalled(master: &Process, name: &str, code: u8, why: &str) {
    assert_exit_line(master, code);
    let events = master.events();
    let signals: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Signal { name } => Some(&name[..]),
            _ => None,
        })
        .collect();
    assert_eq!(signals, [name]);
    let Some(Event::Exit { reason, .. }) = events.last() else {
        unreachable!("it ends with its exit")
    };
    assert_eq!(reason, why);
}

pub(crate) fn a_restless_master_hears_signals(engine: &str) {
    let kinds = [
        ("retries", Signal::INT, "SIGINT", 130),
        ("channel", Signal::TERM, "SIGTERM", 143),
        ("yields", Signal::HUP, "SIGHUP", 129),
    ];
    for (kind, signal, name, code) in kinds {
        let dir = dir();
        let mut master = restless(dir.path(), kind, &["--mw-engine", engine]);
        // It is served meanwhile.
        let mut slave = Process::slave(dir.path(), "slave", &master.address());
        master.await_count("the slave to come", 1, |event| {
            matches!(event, Event::Connected { .. })
        });
        master.signal(signal);
        master.expect_exit(code.into());
        assert_signalled(&master, name, code, name);
        slave.expect_exit(255);
        let told = |event: &Event| matches!(event, Event::MasterShutdown { finished: false });
        assert_eq!(count(&slave.events(), told), 1);
    }
}

/// It ends from a thread of its own.
pub(crate) fn a_held_thread_does_not_hold_a_signal_up(engine: &str) {
    let dir = dir();
    let mut master = restless(dir.path(), "holds", &["--mw-engine", engine]);
    master.signal(Signal::HUP);
    // Told twice at once, as a terminal and a shell tell it: that is one wish.
    master.signal(Signal::HUP);
    master.expect_exit(129);
    let why = "SIGHUP, and the master algorithm held its thread for 5 s after it";
    assert_signalled(&master, "SIGHUP", 129, why);
}

pub(crate) fn a_second_signal_ends_a_held_master() {
    let dir = dir();
    let mut master = restless(dir.path(), "holds", &[]);
    master.signal(Signal::INT);
    until("the master to end", || {
        if master.has_ended() {
            return Some(());
        }
        // The first one that comes late enough is meant. Of the same number: of two that wait, either may be heard first.
        master.signal(Signal::INT);
        None
    });
    master.expect_exit(130);
    assert_signalled(&master, "SIGINT", 130, "SIGINT, and SIGINT after it");
}

/// As under nohup.
pub(crate) fn a_hangup_that_is_ignored_stays_ignored() {
    let dir = dir();
    let args = ["--slaves", "0", "--restless", "yields"];
    let mut master = Process::master_with(dir.path(), &args, |command| {
        // SAFETY: signal is one system call, which is all that is allowed between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGHUP, libc::SIG_IGN);
                Ok(())
            });
        }
    });
    until("the master algorithm to begin", || {
        (master.stdout() == "yields\n").then_some(())
    });
    master.signal(Signal::HUP);
    master.signal(Signal::TERM);
    master.expect_exit(143);
    assert_signalled(&master, "SIGTERM", 143, "SIGTERM");
}

pub(crate) fn slaves_and_parents_leave_on_every_signal() {
    let dir = dir();
    let mut master = Process::master(dir.path(), &["--slaves", "3", "--tasks", "8"]);
    let address = master.address();
    for (nth, (signal, name)) in [(Signal::HUP, "SIGHUP"), (Signal::INT, "SIGINT")]
        .into_iter()
        .enumerate()
    {
        let mut slave = Process::slave(dir.path(), name, &address);
        slave.await_event("it to join", |event| {
            matches!(event, Event::Id { .. }).then_some(())
        });
        slave.signal(signal);
        slave.expect_exit(255);
        assert_exit_line(&slave, 255);
        master.await_count("the loss", nth + 1, |event| {
            matches!(event, Event::Lost { .. })
        });
        let lost = lost(&master.events());
        assert!(
            matches!(lost[nth], (_, LossCause::Evicted, 0)),
            "{name}: {lost:?}"
        );
        let told =
            |event: &Event| matches!(event, Event::Lost { detail, .. } if detail.contains(name));
        assert_eq!(count(&master.events(), told), 1);
    }
    let (host, port) = address.rsplit_once(':').unwrap();
    for (name, signal) in [("parent-hup", Signal::HUP), ("parent-int", Signal::INT)] {
        let before = count(&master.events(), |event| {
            matches!(event, Event::Connected { .. })
        });
        let args = [
            "--mw-slave",
            "--mw-slave-count",
            "2",
            "--mw-master-host",
            host,
            "--mw-master-port",
            port,
        ];
        let mut parent = Process::start(dir.path(), name, &args);
        master.await_count("both to join", before + 2, |event| {
            matches!(event, Event::Connected { .. })
        });
        parent.signal(signal);
        parent.expect_exit(255);
    }
    let mut last: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|name| Process::slave(dir.path(), name, &address))
        .collect();
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(8));
    for slave in &mut last {
        slave.expect_exit(0);
    }
}

/// The kernel's answer to a write past the limit is a signal, which ended the process.
pub(crate) fn a_file_at_its_limit_is_a_full_disk() {
    let dir = dir();
    let args = [
        "--tasks",
        "500",
        "--mw-slave-task-group",
        "1",
        "--mw-audit-level",
        "packets",
    ];
    let mut master = Process::master_with(dir.path(), &args, |command| {
        limit(command, Resource::Fsize, 3_000);
    });
    let address = master.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let args = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    // Not even its first line has room.
    let mut slave = Process::start_with(dir.path(), "slave", &args, |command| {
        limit(command, Resource::Fsize, 20);
    });
    master.expect_exit(0);
    slave.expect_exit(0);
    assert_eq!(master.stdout(), printed(500));
}

pub(crate) fn what_a_master_starts_ignores_no_signal() {
    let dir = dir();
    let mut master = Process::master(dir.path(), &["--slaves", "0", "--restless", "starts"]);
    master.expect_exit(0);
    let stdout = master.stdout();
    let mask = stdout.lines().nth(1).unwrap().strip_prefix("SigIgn:");
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    assert_eq!(mask >> (libc::SIGXFSZ - 1) & 1, 0, "{stdout}");
}

/// What it had to say, and that it aborted, stands in the trail of a master that aborts, and it dies of the signal.
pub(crate) fn an_abort_writes_the_last_lines() {
    let dir = dir();
    let args = ["--slaves", "0", "--restless", "aborts"];
    let mut master = Process::master(dir.path(), &args);
    master.expect_exit(128 + 6);
    assert_exit_line(&master, 134);
    let ready = |event: &Event| matches!(event, Event::Ready { .. });
    assert_eq!(count(&master.events(), ready), 1);
}
