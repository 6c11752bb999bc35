//! Who holds on, and who lets go: masters and slaves that are held, stopped, evicted, killed, and those that are done.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Welcome;
use ringmw_codec::resource::ResourceFile;
use rustix::process::Signal;

use crate::app::{
    self, LONG_MS, OWN_SLAVE, answer, assert_exit_line, count, dir, lost, naps, printed, ready,
};
use crate::crowd::Crowd;
use crate::process::Process;
use crate::support::{Played, until};

pub(crate) fn a_held_master_loses_nobody(engine: &str) {
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--mw-client-timeout",
            "1",
            "--slaves",
            "4",
            "--hold",
            "2200",
            "--tasks",
            "400",
        ],
    );
    let address = master.address();
    let mut real: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| Process::slave(dir.path(), name, &address))
        .collect();
    let mut played = Crowd::connect(&ready(address), 2, Duration::from_millis(250), answer);
    played.play("the end", |crowd| crowd.gone == 2);
    master.expect_exit(0);
    for slave in &mut real {
        slave.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(400));
    let events = master.events();
    assert_eq!(lost(&events), []);
    let stalls: Vec<u64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Stall { ms } => Some(*ms),
            _ => None,
        })
        .collect();
    assert!(
        stalls.iter().any(|&ms| (2_200..10_000).contains(&ms)),
        "{stalls:?}"
    );
}

/// Its host acknowledges all the while, so the slaves wait; continued, it takes first what has come.
pub(crate) fn a_stopped_master_loses_nobody() {
    let dir = dir();
    const TASKS: u64 = 40;
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-client-timeout",
            "1",
            "--slaves",
            "2",
            "--tasks",
            &TASKS.to_string(),
            "--nap",
            "10",
        ],
    );
    let address = master.address();
    let mut slaves: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| Process::slave(dir.path(), name, &address))
        .collect();
    master.await_count("both to work", 2, |event| {
        matches!(event, Event::TasksSent { .. })
    });
    master.signal(Signal::STOP);
    let stopped = Instant::now();
    while stopped.elapsed() < Duration::from_millis(2_200) {
        thread::sleep(Duration::from_millis(50));
    }
    master.signal(Signal::CONT);
    master.expect_exit(0);
    for slave in &mut slaves {
        slave.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(TASKS));
    let events = master.events();
    assert_eq!(lost(&events), []);
    let stalls = count(
        &events,
        |event| matches!(event, Event::Stall { ms } if *ms >= 2_000),
    );
    assert_eq!(stalls, 1);
}

pub(crate) fn slaves_of_a_killed_master_exit() {
    let dir = dir();
    // Two of them compute for a minute, two are idle.
    let mut master = Process::master(
        dir.path(),
        &["--slaves", "4", "--tasks", "2", "--nap", "60000"],
    );
    let address = master.address();
    let mut slaves: Vec<_> = (0..4)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    master.await_count("two tasks to be out", 2, |event| {
        matches!(event, Event::TasksSent { .. })
    });
    master.signal(Signal::KILL);
    master.expect_exit(137);
    let killed = Instant::now();
    for slave in &mut slaves {
        slave.expect_exit(255);
        assert!(
            killed.elapsed() < Duration::from_secs(2),
            "{:?}",
            killed.elapsed()
        );
        assert_eq!(
            count(&slave.events(), |event| matches!(
                event,
                Event::MasterLost { .. }
            )),
            1
        );
        assert!(
            slave.complaint().contains("the master is lost"),
            "{}",
            slave.stderr()
        );
        assert_exit_line(slave, 255);
    }
}

pub(crate) fn a_finished_resource_file_sends_slaves_home() {
    let dir = dir();
    let file = dir.path().join("resource");
    let file = file.to_str().unwrap();
    let mut master = Process::master(dir.path(), &["--mw-resource-file", file, "--tasks", "10"]);
    master.address();
    let wait = || std::fs::metadata(file).ok();
    until("the resource file", wait);
    let slave = |name: &str| {
        Process::start(
            dir.path(),
            name,
            &["--mw-slave", "--mw-resource-file", file],
        )
    };
    let mut worker = slave("worker");
    worker.expect_exit(0);
    master.expect_exit(0);
    let mut late = slave("late");
    let took = late.expect_exit(0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(late.stderr(), "");
    assert_exit_line(&late, 0);
    assert_eq!(
        count(&late.events(), |event| matches!(
            event,
            Event::Connecting { .. }
        )),
        0
    );
}

pub(crate) fn a_signalled_master(signal: Signal, code: u8) {
    let dir = dir();
    let file = dir.path().join("resource");
    let mut master = Process::master(
        dir.path(),
        &[
            "--slaves",
            "2",
            "--tasks",
            "1",
            "--nap",
            "60000",
            "--mw-resource-file",
            file.to_str().unwrap(),
        ],
    );
    master.address();
    until("the resource file", || std::fs::metadata(&file).ok());
    let finds = ["--mw-slave", "--mw-resource-file", file.to_str().unwrap()];
    let mut slaves: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| Process::start(dir.path(), name, &finds))
        .collect();
    master.await_count("the task to be out", 1, |event| {
        matches!(event, Event::TasksSent { .. })
    });
    master.signal(signal);
    let took = master.expect_exit(code.into());
    for slave in &mut slaves {
        slave.expect_exit(255);
        assert_exit_line(slave, 255);
        let told = |event: &Event| matches!(event, Event::MasterShutdown { finished: false });
        assert_eq!(count(&slave.events(), told), 1);
    }
    assert!(took < Duration::from_secs(4), "{took:?}");
    let events = master.events();
    assert_eq!(
        count(&events, |event| matches!(event, Event::Signal { .. })),
        1
    );
    assert_eq!(
        count(&events, |event| matches!(
            event,
            Event::ShutdownBegun {
                slaves: 2,
                finished: false
            }
        )),
        1
    );
    assert_eq!(
        count(&events, |event| matches!(event, Event::Left { tasks: 1 })),
        1
    );
    assert_eq!(lost(&events), [], "they were told to go");
    assert_exit_line(&master, code);
    let resource = std::fs::read(&file).unwrap();
    let resource = ResourceFile::parse(&resource).unwrap();
    assert!(!resource.finished, "{resource:?}");
}

pub(crate) fn a_stopped_slave_does_not_hold_big_packets_up() {
    let dir = dir();
    const TASKS: u64 = 24;
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-client-timeout",
            "3",
            "--mw-max-write-buffer-size",
            "33554432",
            "--mw-slave-task-group",
            "8",
            "--slaves",
            "2",
            "--tasks",
            &TASKS.to_string(),
            "--ballast",
            "1500000",
            "--nap",
            "20",
        ],
    );
    let address = master.address();
    let mut stopped = Process::slave(dir.path(), "stopped", &address);
    stopped.await_event("it to join", |event| {
        matches!(event, Event::Id { .. }).then_some(())
    });
    stopped.signal(Signal::STOP);
    // The master begins now, with packets of 16 MB, more than a socket holds.
    let mut other = Process::slave(dir.path(), "other", &address);
    let recycled = master.await_event("the loss", |event| match event {
        Event::Lost {
            cause: LossCause::Timeout,
            recycled,
            ..
        } => Some(*recycled),
        _ => None,
    });
    assert!(recycled >= 1);
    // Continued, it reads why it was given up, or that the connection is gone.
    stopped.signal(Signal::CONT);
    stopped.expect_exit(255);
    stopped.complaint();
    master.expect_exit(0);
    other.expect_exit(0);
    assert_eq!(master.stdout(), printed(TASKS));
    assert_eq!(lost(&master.events()).len(), 1);
}

pub(crate) fn an_evicted_slave_says_goodbye() {
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &["--slaves", "2", "--tasks", "2", "--nap", "1200"],
    );
    let address = master.address();
    let mut evicted = Process::slave(dir.path(), "evicted", &address);
    let mut other = Process::slave(dir.path(), "other", &address);
    master.await_count("both to work", 2, |event| {
        matches!(event, Event::TasksSent { .. })
    });
    evicted.signal(Signal::TERM);
    let took = evicted.expect_exit(255);
    assert!(
        took < Duration::from_secs(1),
        "at once, though a task runs: {took:?}"
    );
    assert_exit_line(&evicted, 255);
    master.await_count("the loss", 1, |event| matches!(event, Event::Lost { .. }));
    let lost_ones = lost(&master.events());
    assert!(
        matches!(lost_ones[..], [(_, LossCause::Evicted, 1)]),
        "{lost_ones:?}"
    );
    master.expect_exit(0);
    other.expect_exit(0);
    assert_eq!(master.stdout(), printed(2));
    assert_eq!(
        count(&master.events(), |event| matches!(
            event,
            Event::Charged { .. }
        )),
        0
    );

    // An idle one goes as fast, and tells it once.
    let dir = app::dir();
    let mut master = Process::master(dir.path(), &["--slaves", "2"]);
    let mut idle = Process::slave(dir.path(), "idle", &master.address());
    idle.await_event("the idle one to join", |event| {
        matches!(event, Event::Id { .. }).then_some(())
    });
    idle.signal(Signal::TERM);
    idle.expect_exit(255);
    assert_exit_line(&idle, 255);
    master.signal(Signal::KILL);
    master.exit();
}

/// A master that a test plays. It has welcomed the slave, and beats would be 15 s apart.
pub(crate) fn played_master(dir: &Path, result_group: u32, own: Option<&str>) -> (Played, Process) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let args = [
        "--mw-slave",
        "--mw-master-host",
        "127.0.0.1",
        "--mw-master-port",
        &port,
        "own",
    ];
    let slave = Process::start_with(dir, "slave", &args, |command| {
        if let Some(own) = own {
            command.env(OWN_SLAVE, own);
        }
    });
    let mut played = Played::accept(&listener);
    played.await_kind(Kind::Hello);
    let mut welcome = Vec::new();
    Welcome {
        task_packet_bytes_max: 65_536,
        result_packet_bytes_max: 65_536,
        result_group,
        args: vec!["an argument".into()],
        ..Welcome::for_test()
    }
    .encode(&mut welcome);
    played.send(Kind::Welcome, &welcome);
    slave.await_event("the slave to join", |event| {
        matches!(event, Event::Id { .. }).then_some(())
    });
    (played, slave)
}

/// Its main thread served the connection, and saw that it was over when the master closed, or at the next beat.
pub(crate) fn an_evicted_slave_waits_for_nobody() {
    // Idle, and the master holds its thread.
    let dir = dir();
    let (mut master, mut slave) = played_master(dir.path(), 1, None);
    slave.signal(Signal::TERM);
    let took = slave.expect_exit(255);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_exit_line(&slave, 255);
    master.await_kind(Kind::Goodbye);

    // In a slave algorithm that is busy with itself.
    let dir = app::dir();
    let (mut master, mut slave) = played_master(dir.path(), 1, Some("dawdles"));
    master.say(&naps(&[0]));
    until("its own algorithm to dawdle", || {
        (!slave.stdout().is_empty()).then_some(())
    });
    slave.signal(Signal::TERM);
    let took = slave.expect_exit(255);
    assert!(took < Duration::from_secs(5), "{took:?}");
    master.await_kind(Kind::Goodbye);

    // Before there is a master: it listens, and does not take the connection.
    let dir = app::dir();
    let full = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let _taken: Vec<_> = (0..4)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    let mut slave = Process::slave(dir.path(), "slave", &address.to_string());
    slave.await_event("the slave to dial", |event| {
        matches!(event, Event::Connecting { .. }).then_some(())
    });
    slave.signal(Signal::TERM);
    let took = slave.expect_exit(255);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// The I/O thread served while the first task ran, and slept on until the next beat while the first result waited.
pub(crate) fn a_finished_result_does_not_wait_for_a_long_task() {
    let dir = dir();
    let (mut master, _slave) = played_master(dir.path(), 10, None);
    let begun = Instant::now();
    master.say(&naps(&[300, LONG_MS]));
    master.await_kind(Kind::Results);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");

    // Nor for a slave algorithm that is busy with itself.
    let dir = app::dir();
    let (mut master, slave) = played_master(dir.path(), 10, Some("dawdles"));
    let begun = Instant::now();
    master.say(&naps(&[300, 0]));
    master.await_kind(Kind::Results);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    let report = slave.stdout();
    assert!(
        report.contains("tasks_queued: 1, results_waiting: 1, result_grouping: 10"),
        "{report}"
    );
}

pub(crate) fn a_slave_algorithm_that_ends_early_is_run_again() {
    for (own, code, word) in [
        ("leaves", 255, ""),
        ("panics", 255, "what a slave algorithm cannot bear"),
        ("parses", 2, "Usage"),
    ] {
        let dir = dir();
        let (mut master, mut slave) = played_master(dir.path(), 1, Some(own));
        master.await_kind(Kind::Goodbye);
        slave.expect_exit(code);
        assert_exit_line(&slave, u8::try_from(code).unwrap());
        assert!(slave.stderr().contains(word), "{}", slave.stderr());
    }
}
