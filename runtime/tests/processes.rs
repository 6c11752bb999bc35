//! Real masters and slaves, killed, stopped, evicted, held, in thousands, and short of what they need.
//!
//! This file is its own harness, because its binary is the application too: the processes that the tests start are it again.

mod support;

#[path = "support/crowd.rs"]
mod crowd;
#[path = "support/process.rs"]
mod process;

use std::panic::catch_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crowd::Crowd;
use process::{AS_APPLICATION, Deny, Process, SmallDisk, as_nobody, deny_io_uring, limit};
use ringmw::Ready;
use ringmw::prelude::*;
use ringmw_codec::audit::{EngineWord, Event, LossCause};
use ringmw_codec::batch::{TaskBatchBuilder, TaskBody, encode_task_body};
use ringmw_codec::frame::Kind;
use ringmw_codec::handshake::Welcome;
use ringmw_codec::resource::ResourceFile;
use rustix::process::{Resource, Signal};
use support::{Given, PATIENCE, Played, result, until};

// ---- the application

/// A nap that tells when it begins: it will be disturbed.
const LONG_MS: u64 = 60_000;

/// Naps, then squares; the ballast makes packets large.
#[algorithm]
fn square(n: u64, nap_ms: u64, ballast: Vec<u8>) -> u64 {
    if nap_ms >= LONG_MS {
        println!("{n} has begun");
    }
    std::thread::sleep(Duration::from_millis(nap_ms));
    n * n + ballast.len() as u64 - ballast.len() as u64
}

/// The first of the algorithms by name.
#[algorithm]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

async fn master(mw: Master, args: Args) -> Result {
    let slaves = args.value("--slaves", 1usize)?;
    let tasks = args.value("--tasks", 100u64)?;
    let nap_ms = args.value("--nap", 0u64)?;
    let ballast = args.value("--ballast", 0usize)?;
    let hold_ms = args.value("--hold", 0u64)?;
    let until: String = args.value("--until", String::new())?;
    while mw.connected() < slaves {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if hold_ms > 0 {
        std::thread::sleep(Duration::from_millis(hold_ms));
    }
    // As many as --tasks says; or, with --until, as many as are begun before that file is there.
    let numbers = (0..).take_while(|n| match &until[..] {
        "" => *n < tasks,
        file => n % 64 > 0 || !Path::new(file).exists(),
    });
    let mut squares = mw.map(numbers.map(|n| square::task(n, nap_ms, vec![7; ballast])));
    let (mut sum, mut count) = (0u64, 0u64);
    while let Some(square) = squares.try_next().await? {
        sum += square;
        count += 1;
    }
    println!("{count} squares, {sum}");
    Ok(())
}

/// In the environment of a slave that has a slave algorithm of its own: what that one does.
const OWN_SLAVE: &str = "RINGMW_TEST_SLAVE";

fn own_slave(slave: &mut Slave, args: Args) -> u8 {
    match &std::env::var(OWN_SLAVE).unwrap()[..] {
        "dawdles" => {
            println!("{:?}", slave.one_task());
            std::thread::sleep(Duration::from_millis(LONG_MS));
        }
        "panics" => panic!("what a slave algorithm cannot bear"),
        "parses" => drop(args.parse::<NoArguments>()),
        "leaves" => {}
        other => panic!("{other}"),
    }
    0
}

#[derive(clap::Parser)]
struct NoArguments {}

fn app() -> App {
    let app = App::new()
        .algorithm::<nap>()
        .algorithm::<square>()
        .master(master);
    match std::env::var_os(OWN_SLAVE) {
        Some(_) => app.slave(own_slave),
        None => app,
    }
}

/// What a master prints whose every task was answered once, and right.
fn printed(tasks: u64) -> String {
    format!(
        "{tasks} squares, {}\n",
        (0..tasks).map(|n| n * n).sum::<u64>()
    )
}

/// What a played slave answers: the first argument stands behind the lengths of two.
fn answer(given: &Given) -> Vec<u8> {
    let n = u64::from_le_bytes(given.args()[8..16].try_into().unwrap());
    result(given, n * n)
}

/// The hello of a slave of this application; asked of a master within this process.
fn ready(address: String) -> Ready {
    let hello = std::rc::Rc::new(std::cell::RefCell::new(None));
    let slot = std::rc::Rc::clone(&hello);
    async fn nothing(_: Master, _: Args) -> Result {
        Ok(())
    }
    let app = app().master(nothing);
    assert_eq!(
        app.embedded(0)
            .on_ready(move |ready| *slot.borrow_mut() = Some(ready.hello))
            .run(),
        0
    );
    let mut hello = hello.borrow_mut().take().unwrap();
    hello.member_id = b"default-member-id".to_vec();
    Ready { address, hello }
}

// ---- the harness

type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    ("thousands_of_slaves_on_the_ring", || {
        thousands_of_slaves("ring")
    }),
    ("thousands_of_slaves_on_epoll", || {
        thousands_of_slaves("epoll")
    }),
    ("a_thousand_real_slaves", a_thousand_real_slaves),
    ("a_held_master_loses_nobody_on_the_ring", || {
        a_held_master_loses_nobody("ring")
    }),
    ("a_held_master_loses_nobody_on_epoll", || {
        a_held_master_loses_nobody("epoll")
    }),
    (
        "slaves_of_a_killed_master_exit",
        slaves_of_a_killed_master_exit,
    ),
    (
        "a_finished_resource_file_sends_slaves_home",
        a_finished_resource_file_sends_slaves_home,
    ),
    ("what_is_wrong_is_one_line", what_is_wrong_is_one_line),
    ("a_refused_slave_says_why", a_refused_slave_says_why),
    (
        "a_stopped_master_loses_nobody",
        a_stopped_master_loses_nobody,
    ),
    (
        "an_evicted_slave_says_goodbye",
        an_evicted_slave_says_goodbye,
    ),
    (
        "an_evicted_slave_waits_for_nobody",
        an_evicted_slave_waits_for_nobody,
    ),
    (
        "a_finished_result_does_not_wait_for_a_long_task",
        a_finished_result_does_not_wait_for_a_long_task,
    ),
    (
        "a_slave_algorithm_that_ends_early_is_run_again",
        a_slave_algorithm_that_ends_early_is_run_again,
    ),
    (
        "a_poisoned_task_is_charged_for_lost_slaves_alone",
        a_poisoned_task_is_charged_for_lost_slaves_alone,
    ),
    ("a_master_on_sigint", || {
        a_signalled_master(Signal::INT, 130)
    }),
    ("a_master_on_sigterm", || {
        a_signalled_master(Signal::TERM, 143)
    }),
    (
        "a_stopped_slave_does_not_hold_big_packets_up",
        a_stopped_slave_does_not_hold_big_packets_up,
    ),
    ("no_descriptors_on_the_ring", || no_descriptors("ring")),
    ("no_descriptors_on_epoll", || no_descriptors("epoll")),
    ("a_storm_of_the_silent_on_the_ring", || {
        a_storm_of_the_silent("ring")
    }),
    ("a_storm_of_the_silent_on_epoll", || {
        a_storm_of_the_silent("epoll")
    }),
    ("a_storm_of_ten_thousand_on_the_ring", || {
        a_storm_of_ten_thousand("ring")
    }),
    ("a_storm_of_ten_thousand_on_epoll", || {
        a_storm_of_ten_thousand("epoll")
    }),
    ("sixty_four_files_on_the_ring", || sixty_four_files("ring")),
    ("sixty_four_files_on_epoll", || sixty_four_files("epoll")),
    ("a_full_disk_under_the_trails", a_full_disk_under_the_trails),
    (
        "a_disk_that_is_full_for_a_while",
        a_disk_that_is_full_for_a_while,
    ),
    (
        "a_folder_of_the_resource_file_that_vanishes",
        a_folder_of_the_resource_file_that_vanishes,
    ),
    ("no_io_uring_by_seccomp", no_io_uring_by_seccomp),
    ("no_second_ring", no_second_ring),
    ("little_memory_to_lock", little_memory_to_lock),
    ("no_io_uring_by_sysctl", no_io_uring_by_sysctl),
];

fn main() -> ExitCode {
    if std::env::var_os(AS_APPLICATION).is_some() {
        return app().run();
    }
    let args: Vec<String> = std::env::args().skip(1).collect();
    let filter = args.iter().find(|arg| !arg.starts_with('-'));
    let wanted = TESTS
        .iter()
        .filter(|(name, _)| filter.is_none_or(|filter| name.contains(&filter[..])));
    if args.iter().any(|arg| arg == "--list") {
        wanted.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = Vec::new();
    for (name, test) in wanted {
        let begun = Instant::now();
        let passed = catch_unwind(test).is_ok();
        let word = if passed { "ok" } else { "FAILED" };
        println!(
            "test {name} ... {word} ({:.1} s)",
            begun.elapsed().as_secs_f64()
        );
        if !passed {
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

fn dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn lost(events: &[Event]) -> Vec<(u32, LossCause, u64)> {
    let lost = events.iter().filter_map(|event| match event {
        Event::Lost {
            slave,
            cause,
            recycled,
            ..
        } => Some((*slave, *cause, *recycled)),
        _ => None,
    });
    lost.collect()
}

fn count(events: &[Event], kind: impl Fn(&Event) -> bool) -> usize {
    events.iter().filter(|event| kind(event)).count()
}

// ---- issue 4: many

/// As many as the limit of open files allows, of those that are wanted. Root may raise it.
fn crowd_size(wanted: usize) -> usize {
    let enough = Some(wanted as u64 + 200);
    let (_, hard) = ringmw::internals::engine::raise_nofile().unwrap();
    if Some(hard) < enough {
        let raised = rustix::process::Rlimit {
            current: enough,
            maximum: enough,
        };
        // What it allows is asked below.
        let _ = rustix::process::setrlimit(Resource::Nofile, raised);
    }
    let (_, files) = ringmw::internals::engine::raise_nofile().unwrap();
    let size = wanted.min((files.min(1 << 20) as usize).saturating_sub(200));
    if size < wanted {
        eprintln!(
            "NOT TESTED in full: the limit of open files ({files}) allows {size} of {wanted} slaves; raise ulimit -n"
        );
    }
    size
}

fn thousands_of_slaves(engine: &str) {
    let size = crowd_size(5_000);
    let tasks = 4 * size as u64;
    let dir = dir();
    let (slaves_arg, tasks_arg) = (size.to_string(), tasks.to_string());
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            &slaves_arg,
            "--tasks",
            &tasks_arg,
        ],
    );
    let ready = ready(master.address());
    let begun = Instant::now();
    let mut crowd = Crowd::connect(&ready, size, Duration::from_secs(10), answer);
    crowd.play("all to be welcomed", |crowd| crowd.welcomed == size);
    let welcomed = begun.elapsed();
    crowd.play("all to be sent home", |crowd| crowd.gone == size);
    let took = begun.elapsed();
    let (least, most) = crowd.spread();
    eprintln!(
        "{engine}: {size} slaves welcomed in {welcomed:.1?}, done in {took:.1?}, {least} to {most} tasks each"
    );
    assert!(least >= 1, "every slave has work");
    assert_eq!(crowd.answered, tasks);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(tasks));
    let events = master.events();
    // On a busy disk the trail counts what it cannot hold instead of telling it.
    let counted: u64 = events
        .iter()
        .map(|event| match event {
            Event::Connected { .. } => 1,
            Event::Dropped {
                connected, lost: 0, ..
            } => *connected,
            _ => 0,
        })
        .sum();
    assert_eq!(counted, size as u64);
    assert_eq!(lost(&events), []);
    assert_eq!(
        count(&events, |event| matches!(
            event,
            Event::Offence { .. } | Event::Rejected { .. }
        )),
        0
    );
}

fn a_thousand_real_slaves() {
    const SLAVES: usize = 1_000;
    const TASKS: u64 = 5_000;
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &[
            "--slaves",
            &SLAVES.to_string(),
            "--tasks",
            &TASKS.to_string(),
            "--nap",
            "1",
        ],
    );
    let address = master.address();
    let mut slaves: Vec<Process> = (0..SLAVES)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    master.expect_exit(0);
    for slave in &mut slaves {
        slave.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(TASKS));
    let events = master.events();
    assert_eq!(lost(&events), []);
    assert_eq!(
        count(&events, |event| matches!(event, Event::Connected { .. })),
        SLAVES
    );
    let at_work: std::collections::BTreeSet<u32> = events
        .iter()
        .filter_map(|event| match event {
            Event::TasksSent { slave, .. } => Some(*slave),
            _ => None,
        })
        .collect();
    assert_eq!(at_work.len(), SLAVES, "every one gets work");
}

// ---- issue 6: who holds on, and who lets go

fn a_held_master_loses_nobody(engine: &str) {
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

fn slaves_of_a_killed_master_exit() {
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

/// The trail ends with one line that says how.
fn assert_exit_line(process: &Process, expected: u8) {
    let events = process.events();
    let exits: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Exit { .. }))
        .collect();
    assert!(
        matches!(exits[..], [Event::Exit { code, .. }] if *code == expected),
        "{events:#?}"
    );
    assert_eq!(events.last(), exits.last().copied());
}

fn a_finished_resource_file_sends_slaves_home() {
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

fn what_is_wrong_is_one_line() {
    let dir = dir();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
        .to_string();
    let missing = dir.path().join("no such file");
    let torn = dir.path().join("torn");
    std::fs::write(
        &torn,
        "(:computation-status :in-progress)\n(:timestamp 39\n",
    )
    .unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_port = taken.local_addr().unwrap().port().to_string();
    let rows: &[(&str, &[&str], i32, &[&str])] = &[
        (
            "refused",
            &[
                "--mw-slave",
                "--mw-master-host",
                "127.0.0.1",
                "--mw-master-port",
                &free,
            ],
            255,
            &[
                "cannot reach the master",
                "Connection refused",
                "--mw-master-host",
            ],
        ),
        (
            "missing",
            &[
                "--mw-slave",
                "--mw-resource-file",
                missing.to_str().unwrap(),
            ],
            255,
            &["--mw-resource-file", "no such file"],
        ),
        (
            "torn",
            &["--mw-slave", "--mw-resource-file", torn.to_str().unwrap()],
            255,
            &["torn", "line 2"],
        ),
        (
            "taken",
            &[
                "--mw-master",
                "--mw-master-host",
                "127.0.0.1",
                "--mw-master-port",
                &taken_port,
            ],
            255,
            &["--mw-master-host 127.0.0.1", "is the port free?"],
        ),
        ("nowhere", &["--mw-slave"], 2, &["--mw-master-host"]),
        (
            "unknown",
            &["--mw-master", "--mw-frobnicate"],
            2,
            &["--mw-frobnicate"],
        ),
        (
            "bad",
            &["--mw-master", "--mw-client-timeout", "soon"],
            2,
            &["--mw-client-timeout", "soon"],
        ),
        (
            "both",
            &["--mw-master", "--mw-slave"],
            2,
            &["--mw-master", "--mw-slave"],
        ),
        (
            "no port",
            &["--mw-master", "--mw-master-port", "99999"],
            2,
            &["--mw-master-port", "99999"],
        ),
        (
            "no host",
            &["--mw-master", "--mw-master-host", "192.0.2.1"],
            255,
            &["--mw-master-host", "192.0.2.1"],
        ),
    ];
    for (name, args, code, words) in rows {
        let mut process = Process::start(dir.path(), name, args);
        let (got, _) = process.exit();
        let complaint = process.complaint();
        assert_eq!(got, *code, "{name}: {complaint}");
        for word in *words {
            assert!(complaint.contains(word), "{name}: {complaint}");
        }
    }
}

fn a_refused_slave_says_why() {
    let dir = dir();
    let master = Process::master(dir.path(), &["--mw-member-id", "ours"]);
    let mut slave = Process::slave(dir.path(), "slave", &master.address());
    slave.expect_exit(255);
    assert!(slave.complaint().contains("--mw-member-id"));
    let refused = |event: &Event| matches!(event, Event::RefusedByMaster { reason } if reason.contains("--mw-member-id"));
    assert_eq!(count(&slave.events(), refused), 1);
    assert_exit_line(&slave, 255);
    let told = |event: &Event| matches!(event, Event::Refused { reason, .. } if reason.contains("--mw-member-id"));
    master.await_count("the refusal", 1, told);
}

/// Its host acknowledges all the while, so the slaves wait; continued, it takes first what has come.
fn a_stopped_master_loses_nobody() {
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
        std::thread::sleep(Duration::from_millis(50));
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

fn an_evicted_slave_says_goodbye() {
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
    let dir = self::dir();
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
fn played_master(dir: &Path, result_group: u32, own: Option<&str>) -> (Played, Process) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let args = [
        "--mw-slave",
        "--mw-master-host",
        "127.0.0.1",
        "--mw-master-port",
        &port,
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
        slave: 0,
        client_timeout_ms: 60_000,
        tasks_bytes_max: 65_536,
        results_bytes_max: 65_536,
        result_group,
        seed: 1,
        args: vec!["an argument".into()],
    }
    .encode(&mut welcome);
    played.send(Kind::Welcome, &welcome);
    slave.await_event("the slave to join", |event| {
        matches!(event, Event::Id { .. }).then_some(())
    });
    (played, slave)
}

/// A packet of naps, numbered from 0.
fn naps(naps_ms: &[u64]) -> Vec<u8> {
    let mut batch = TaskBatchBuilder::new();
    for (task, &ms) in (0..).zip(naps_ms) {
        let mut body = Vec::new();
        let args = support::archive(ms);
        let parts = TaskBody {
            domain: 0,
            stream: 0,
            tag_type: 0,
            tag: b"",
            args: &args,
        };
        encode_task_body(&mut body, &parts);
        batch.push(task, 0, 0, &body);
    }
    let mut payload = Vec::new();
    batch.encode(&mut payload);
    support::frame(Kind::Tasks, &payload)
}

/// Its main thread served the connection, and saw that it was over when the master closed, or at the next beat.
fn an_evicted_slave_waits_for_nobody() {
    // Idle, and the master holds its thread.
    let dir = dir();
    let (mut master, mut slave) = played_master(dir.path(), 1, None);
    slave.signal(Signal::TERM);
    let took = slave.expect_exit(255);
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert_exit_line(&slave, 255);
    master.await_kind(Kind::Goodbye);

    // In a slave algorithm that is busy with itself.
    let dir = self::dir();
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
    let dir = self::dir();
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&full, 0).unwrap();
    let address = full.local_addr().unwrap();
    let _taken: Vec<_> = (0..4)
        .map(|_| std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
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
fn a_finished_result_does_not_wait_for_a_long_task() {
    let dir = dir();
    let (mut master, _slave) = played_master(dir.path(), 10, None);
    let begun = Instant::now();
    master.say(&naps(&[300, LONG_MS]));
    master.await_kind(Kind::Results);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");

    // Nor for a slave algorithm that is busy with itself.
    let dir = self::dir();
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

fn a_slave_algorithm_that_ends_early_is_run_again() {
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

fn a_poisoned_task_is_charged_for_lost_slaves_alone() {
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &["--tasks", "1", "--nap", "60000", "--mw-crash-limit", "1"],
    );
    let address = master.address();
    // Unmarked at first: nobody knows which task of the packet killed it. Then evicted: no fault of the task's.
    for (round, signal) in [Signal::KILL, Signal::TERM, Signal::KILL]
        .into_iter()
        .enumerate()
    {
        let mut slave = Process::slave(dir.path(), &format!("slave-{round}"), &address);
        slave.await_event("the task", |event| {
            matches!(event, Event::TasksReceived { .. }).then_some(())
        });
        master.await_count("the task to be out", round + 1, |event| {
            matches!(event, Event::TasksSent { .. })
        });
        // Its announcement was written before it begins.
        until("the task to begin", || {
            (!slave.stdout().is_empty()).then_some(())
        });
        slave.signal(signal);
        slave.exit();
        master.await_count("the loss", round + 1, |event| {
            matches!(event, Event::Lost { .. })
        });
        let charged = count(&master.events(), |event| {
            matches!(event, Event::Charged { .. })
        });
        assert_eq!(charged, usize::from(round == 2), "round {round}");
    }
    master.expect_exit(255);
    assert!(master.complaint().contains("SLAVE-"), "{}", master.stderr());
    assert_eq!(
        count(&master.events(), |event| matches!(
            event,
            Event::Unrunnable { .. }
        )),
        1
    );
}

fn a_signalled_master(signal: Signal, code: u8) {
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
    let address = master.address();
    let mut slaves: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| Process::slave(dir.path(), name, &address))
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

// ---- section 8: stopped, slow, short of descriptors

fn a_stopped_slave_does_not_hold_big_packets_up() {
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

fn no_descriptors(engine: &str) {
    const FILES: u64 = 64;
    let dir = dir();
    let mut master = Process::master_with(
        dir.path(),
        &["--mw-engine", engine, "--tasks", "50"],
        |command| {
            limit(command, Resource::Nofile, FILES);
        },
    );
    let address = master.address();
    let idle: Vec<_> = (0..FILES + 20)
        .map(|_| std::net::TcpStream::connect(&address).unwrap())
        .collect();
    let shortage = |event: &Event| match event {
        Event::Note { text } if text.contains("cannot accept") => Some(text.clone()),
        _ => None,
    };
    let told = master.await_event("the shortage to be told", shortage);
    assert!(told.contains("ulimit -n"), "{told}");
    // It goes on, and does not spin.
    let (begun, before) = (Instant::now(), master.cpu());
    let mut slave = Process::slave(dir.path(), "slave", &address);
    while begun.elapsed() < Duration::from_millis(1_500) {
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = master.cpu() - before;
    assert!(
        used < Duration::from_millis(500),
        "{used:?} of processor time in 1.5 s of waiting"
    );
    assert_eq!(
        count(&slave.events(), |event| matches!(event, Event::Id { .. })),
        0,
        "it waits in the backlog"
    );
    drop(idle);
    slave.expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    assert_eq!(
        count(&master.events(), |event| shortage(event).is_some()),
        1
    );
}

/// More silent connections than handshakes may be under way, and a slave behind them all.
fn a_storm_of_the_silent(engine: &str) {
    let storm = crowd_size(ringmw::internals::proto::HANDSHAKES_MAX + 500);
    let dir = dir();
    let mut master = Process::master(dir.path(), &["--mw-engine", engine, "--tasks", "50"]);
    let address = master.address();
    let silent: Vec<_> = (0..storm)
        .map(|_| std::net::TcpStream::connect(&address).unwrap())
        .collect();
    // Accepting has paused by then: the slave waits in the backlog.
    let full = storm.min(ringmw::internals::proto::HANDSHAKES_MAX);
    let accepted = |event: &Event| matches!(event, Event::Client { .. });
    master.await_count("the limit of handshakes", full, accepted);
    let mut slave = Process::slave(dir.path(), "slave", &address);
    let took = slave.expect_exit(0);
    assert!(
        took < Duration::from_secs(60),
        "they give way after a second: {took:?}"
    );
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    drop(silent);
    let gave_way = |event: &Event| matches!(event, Event::Rejected { reason, .. } if reason.contains("gave way"));
    let gave_way = count(&master.events(), gave_way);
    eprintln!("{engine}: {storm} silent, {gave_way} gave way, the slave was done after {took:.1?}");
    assert!(gave_way > 0 || storm < ringmw::internals::proto::HANDSHAKES_MAX);
}

/// What somebody says who is no slave, by their number; every other one says nothing.
fn garbage(number: usize, hello: &[u8]) -> Vec<u8> {
    let mut flipped = hello.to_vec();
    flipped[hello.len() / 2] ^= 0x10;
    match number {
        n if n % 2 == 0 => Vec::new(),
        n if n % 10 == 1 => b"GET / HTTP/1.1\r\nHost: master\r\n\r\n".to_vec(),
        n if n % 10 == 3 => hello[..hello.len() / 2].to_vec(),
        n if n % 10 == 5 => flipped,
        n if n % 10 == 7 => naps(&[1]),
        n => (0..200u64)
            .map(|k| ((n as u64 + k).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .collect(),
    }
}

/// 200 slaves work, some of them real; then ten thousand dial at once, every other one a slave.
fn a_storm_of_ten_thousand(engine: &str) {
    const REAL: usize = 20;
    const WORKERS: usize = 200;
    const NAP: Duration = Duration::from_millis(100);
    const CALM: Duration = Duration::from_secs(3);
    let storm = crowd_size(10_000 + WORKERS) - WORKERS;
    let dir = dir();
    let over = dir.path().join("over");
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--mw-client-timeout",
            "10",
            "--mw-slave-task-group",
            "1",
            "--slaves",
            &WORKERS.to_string(),
            "--nap",
            &NAP.as_millis().to_string(),
            "--until",
            over.to_str().unwrap(),
        ],
    );
    let address = master.address();
    let ready = ready(address.clone());
    let mut real: Vec<_> = (0..REAL)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    let beat = Duration::from_secs(2);
    let mut workers = Crowd::connect(&ready, WORKERS - REAL, beat, answer);
    workers.compute = NAP;
    workers.play("all to work", |crowd| crowd.working == WORKERS - REAL);

    // What they do while nothing happens, and while the storm does, over the same time or longer.
    let rate = |answers: u64, time: Duration| answers as f64 / time.as_secs_f64();
    let before = workers.answered;
    workers.play_for(CALM);
    let calm = rate(workers.answered - before, CALM);

    let hello = support::hello_frame(&ready.hello);
    let words: Vec<_> = (0..storm)
        .map(|index| match index % 2 {
            0 => hello.clone(),
            _ => garbage(index / 2, &hello),
        })
        .collect();
    let slaves = storm.div_ceil(2);
    let calmed = AtomicBool::new(false);
    let (before, begun) = (workers.answered, Instant::now());
    let (mut stormed, mut took) = (0.0, Duration::ZERO);
    thread::scope(|scope| {
        let (words, ready, calmed, dir_over) = (&words, &ready, &calmed, &over);
        let newcomers = scope.spawn(move || {
            let mut crowd = Crowd::burst(ready, words, beat, answer);
            // Their first tasks last longer than the storm.
            crowd.compute = Duration::from_secs(20);
            crowd.play("the storm to be let in", |crowd| crowd.welcomed == slaves);
            let took = begun.elapsed();
            calmed.store(true, Ordering::Relaxed);
            while !dir_over.exists() {
                crowd.play_for(Duration::from_millis(50));
            }
            crowd.hurry();
            crowd.play("all to be gone", |crowd| crowd.gone == crowd.size());
            (took, crowd.welcomed)
        });
        while !newcomers.is_finished()
            && (!calmed.load(Ordering::Relaxed) || begun.elapsed() < CALM)
        {
            workers.play_for(Duration::from_millis(50));
        }
        stormed = rate(workers.answered - before, begun.elapsed());
        std::fs::write(&over, "").unwrap();
        workers.hurry();
        workers.play("all to be sent home", |crowd| crowd.gone == WORKERS - REAL);
        let (its_time, welcomed) = newcomers.join().unwrap();
        took = its_time;
        assert_eq!(welcomed, slaves, "and no stranger");
    });
    master.expect_exit(0);
    for slave in &mut real {
        slave.expect_exit(0);
    }
    eprintln!(
        "{engine}: {slaves} slaves of a storm of {storm} were in after {took:.1?}; {} at work answered {calm:.0} a \
         second before, {stormed:.0} in it",
        WORKERS - REAL
    );
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
    let events = master.events();
    assert_eq!(lost(&events), []);
    // So many events at once may be more than the trail takes: then it counts them.
    let connected = events.iter().map(|event| match event {
        Event::Connected { .. } => 1,
        Event::Dropped {
            connected, lost, ..
        } => {
            assert_eq!(*lost, 0);
            *connected
        }
        _ => 0,
    });
    assert_eq!(connected.sum::<u64>(), (WORKERS + slaves) as u64);
    assert!(took < Duration::from_secs(30), "{took:?}");
    assert!(
        2.0 * stormed >= calm,
        "{calm} answers a second fell to {stormed}"
    );
}

/// More slaves than a master has descriptors for: those who are in work on, and others come when some have gone.
fn sixty_four_files(engine: &str) {
    const FILES: u64 = 64;
    const REAL: usize = 12;
    const KILLED: usize = 5;
    let dir = dir();
    let over = dir.path().join("over");
    let file = dir.path().join("resource");
    let mut master = Process::master_with(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            &REAL.to_string(),
            "--nap",
            "10",
            "--until",
            over.to_str().unwrap(),
            "--mw-resource-file",
            file.to_str().unwrap(),
            "--mw-resource-file-update-interval",
            "1",
        ],
        |command| limit(command, Resource::Nofile, FILES),
    );
    let address = master.address();
    let mut real: Vec<_> = (0..REAL)
        .map(|index| Process::slave(dir.path(), &format!("slave-{index}"), &address))
        .collect();
    let connected = |event: &Event| matches!(event, Event::Connected { .. });
    master.await_count("the real ones to be in", REAL, connected);
    let mut crowd = Crowd::connect(
        &ready(address),
        FILES as usize,
        Duration::from_secs(5),
        answer,
    );
    let short = |event: &Event| matches!(event, Event::Note { text } if text.contains("cannot accept") && text.contains("ulimit -n"));
    let playing = |crowd: &mut Crowd, what: &str, over: &dyn Fn() -> bool| {
        let end = Instant::now() + PATIENCE;
        while !over() {
            assert!(Instant::now() < end, "waited in vain for {what}");
            crowd.play_for(Duration::from_millis(20));
        }
    };
    playing(&mut crowd, "the shortage to be told", &|| {
        count(&master.events(), short) > 0
    });
    // Those who were accepted before it are welcomed yet.
    let mut full = 0;
    while full != count(&master.events(), connected) {
        full = count(&master.events(), connected);
        crowd.play_for(Duration::from_millis(500));
    }
    assert!(
        full > REAL && full < FILES as usize,
        "{full} of {FILES} files are slaves"
    );

    // The resource file is written all the same.
    let before = std::fs::read(&file).unwrap();
    playing(&mut crowd, "the resource file to be written", &|| {
        std::fs::read(&file).is_ok_and(|now| now != before)
    });
    let resource = ResourceFile::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(resource.slaves_connected, Some(full as u64));

    for slave in &mut real[..KILLED] {
        slave.signal(Signal::KILL);
        slave.exit();
    }
    playing(&mut crowd, "others to come in their place", &|| {
        count(&master.events(), connected) >= full + KILLED
    });
    std::fs::write(&over, "").unwrap();
    crowd.play("the end", |crowd| crowd.gone == crowd.size());
    master.expect_exit(0);
    for slave in &mut real[KILLED..] {
        slave.expect_exit(0);
    }
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
    let events = master.events();
    let lost = lost(&events);
    assert_eq!(lost.len(), KILLED, "none but the killed: {lost:?}");
    let errors: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::ResourceFileError { .. }))
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    eprintln!("{engine}: {full} slaves fit into {FILES} files, {tasks} tasks");
}

// ---- sections 13 and 14: disks

/// A disk of this size for the trails of master and slave; none where nobody may mount one.
fn small_disk(dir: &Path, bytes: u64) -> Option<SmallDisk> {
    let disk = SmallDisk::mount(dir.join("disk"), bytes);
    let Ok(disk) =
        disk.map_err(|why| eprintln!("NOT TESTED: a full disk cannot be mounted: {why}"))
    else {
        return None;
    };
    for name in ["master.trail", "slave.trail"] {
        std::os::unix::fs::symlink(disk.path(name), dir.join(name)).unwrap();
    }
    Some(disk)
}

/// It stays full: everything goes on, and both say at their end which file it was, and why.
fn a_full_disk_under_the_trails() {
    let dir = dir();
    let Some(disk) = small_disk(dir.path(), 64 << 10) else {
        return;
    };
    // A line for every packet is more than a page.
    let level = ["--mw-slave-task-group", "1", "--mw-audit-level", "packets"];
    let mut master = Process::master(dir.path(), &[&level[..], &["--tasks", "2000"]].concat());
    let address = master.address();
    disk.fill();
    let (host, port) = address.rsplit_once(':').unwrap();
    let to = ["--mw-slave", "--mw-master-host", host, "--mw-master-port"];
    let args = [&to[..], &[port], &level[2..]].concat();
    let mut slave = Process::start(dir.path(), "slave", &args);
    for process in [&mut master, &mut slave] {
        process.expect_exit(0);
    }
    assert_eq!(master.stdout(), printed(2_000));
    for (process, name) in [(&master, "master.trail"), (&slave, "slave.trail")] {
        let complaint = process.complaint();
        for word in [name, "could not be written", "No space left on device"] {
            assert!(complaint.contains(word), "{complaint}");
        }
    }
}

/// The room comes back before the end: the trail misses nothing, and nobody complains.
fn a_disk_that_is_full_for_a_while() {
    let dir = dir();
    let Some(disk) = small_disk(dir.path(), 4 << 20) else {
        return;
    };
    let over = dir.path().join("over");
    let args = [
        "--nap",
        "2",
        "--mw-slave-task-group",
        "1",
        "--mw-audit-level",
        "packets",
        "--until",
        over.to_str().unwrap(),
    ];
    let mut master = Process::master(dir.path(), &args);
    let address = master.address();
    disk.fill();
    let mut slave = Process::slave(dir.path(), "slave", &address);
    let results =
        |event: &Event| matches!(event, Event::ResultsReceived { .. } | Event::Packets { .. });
    // A page of the trail may be begun.
    let size = || std::fs::metadata(disk.path("master.trail")).unwrap().len();
    until("the trail to be stuck", || {
        let before = size();
        std::thread::sleep(Duration::from_millis(300));
        (size() == before && before > 0).then_some(())
    });
    let stuck = count(&master.events(), results);
    disk.empty();
    master.await_count("the trail to go on", stuck + 5, results);
    std::fs::write(&over, "").unwrap();
    for process in [&mut master, &mut slave] {
        process.expect_exit(0);
        assert_eq!(process.stderr(), "");
        assert_exit_line(process, 0);
    }
    let events = master.events();
    let given = |event: &Event| match event {
        Event::TasksSent { tasks, .. } | Event::Packets { tasks, .. } => *tasks,
        Event::Dropped { lines, .. } => panic!("{lines} lines are missing"),
        _ => 0,
    };
    let tasks: u64 = events.iter().map(given).sum();
    assert_eq!(master.stdout(), printed(tasks));
}

/// The run goes on, one line says it; the file is back with its folder.
fn a_folder_of_the_resource_file_that_vanishes() {
    let dir = dir();
    let over = dir.path().join("over");
    let [here, away] = ["here", "away"].map(|name| dir.path().join(name));
    std::fs::create_dir(&here).unwrap();
    let file = here.join("resource");
    let mut master = Process::master(
        dir.path(),
        &[
            "--nap",
            "10",
            "--until",
            over.to_str().unwrap(),
            "--mw-resource-file",
            file.to_str().unwrap(),
            "--mw-resource-file-update-interval",
            "1",
        ],
    );
    let address = master.address();
    let mut slaves = vec![Process::slave(dir.path(), "slave-0", &address)];
    until("the resource file", || std::fs::metadata(&file).ok());
    std::fs::rename(&here, &away).unwrap();
    let failed = |event: &Event| match event {
        Event::ResourceFileError { path, error } => Some((path.clone(), error.clone())),
        _ => None,
    };
    let (path, error) = master.await_event("the error", failed);
    assert_eq!(path, file.to_str().unwrap());
    assert!(error.contains("No such file or directory"), "{error}");
    // It fails again and again, and others come and work meanwhile.
    slaves.push(Process::slave(dir.path(), "slave-1", &address));
    let results = |event: &Event| matches!(event, Event::ResultsReceived { slave: 1, .. });
    master.await_count("the second slave to work", 1, results);
    let asked = Instant::now();
    while asked.elapsed() < Duration::from_millis(2_500) {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(
        count(&master.events(), |event| failed(event).is_some()),
        1,
        "one line"
    );
    std::fs::rename(&away, &here).unwrap();
    let stale = std::fs::read(&file).unwrap();
    until("the resource file to be written again", || {
        let now = std::fs::read(&file).ok()?;
        (now != stale).then_some(())
    });
    std::fs::write(&over, "").unwrap();
    master.expect_exit(0);
    for slave in &mut slaves {
        slave.expect_exit(0);
    }
    assert_eq!(master.stderr(), "");
    let resource = ResourceFile::parse(&std::fs::read(&file).unwrap()).unwrap();
    assert!(resource.finished);
    let events = master.events();
    assert_eq!(count(&events, |event| failed(event).is_some()), 1);
    assert_eq!(lost(&events), []);
    let out = master.stdout();
    let tasks: u64 = out.split(' ').next().unwrap().parse().unwrap();
    assert_eq!(out, printed(tasks));
}

// ---- issue 7: no io_uring

/// A master under these conditions serves a slave, and its trail says by which engine and why.
fn engine_of(
    name: &str,
    args: &[&str],
    prepare: impl Fn(&mut std::process::Command),
) -> (EngineWord, String) {
    let dir = dir();
    open_to_all(dir.path());
    let args = [&["--tasks", "50"], args].concat();
    let mut master = Process::master_with(dir.path(), &args, prepare);
    let mut slave = Process::slave(dir.path(), "slave", &master.address());
    let engine = master.await_event("the engine", |event| match event {
        Event::Engine { engine, why } => Some((*engine, why.clone())),
        _ => None,
    });
    slave.expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    assert_eq!(
        count(&master.events(), |event| matches!(
            event,
            Event::Engine { .. }
        )),
        1
    );
    eprintln!("{name}: {engine:?}");
    engine
}

/// `--mw-engine ring` under these conditions: one line, 255.
fn no_ring(prepare: impl Fn(&mut std::process::Command)) -> String {
    let dir = dir();
    open_to_all(dir.path());
    let mut master = Process::master_with(dir.path(), &["--mw-engine", "ring"], prepare);
    master.expect_exit(255);
    assert_exit_line(&master, 255);
    let complaint = master.complaint();
    assert!(
        complaint.contains("--mw-engine ring") && complaint.contains("--mw-engine auto"),
        "{complaint}"
    );
    complaint
}

/// Another user writes there.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

fn no_io_uring_by_seccomp() {
    for (errno, word) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let deny = Deny {
            errno,
            entries: None,
        };
        let (engine, why) = engine_of(word, &[], |command| deny_io_uring(command, deny));
        assert_eq!(engine, EngineWord::Epoll);
        assert!(why.contains(word) && why.contains("seccomp"), "{why}");
        let complaint = no_ring(|command| deny_io_uring(command, deny));
        assert!(complaint.contains(word), "{complaint}");
    }
}

/// The engine's ring opens and tokio-uring's own does not.
fn no_second_ring() {
    if !support::ring_is_had() {
        return;
    }
    let deny = Deny {
        errno: libc::ENOMEM,
        entries: Some(64),
    };
    let (engine, why) = engine_of("second ring", &[], |command| deny_io_uring(command, deny));
    assert_eq!(engine, EngineWord::Epoll);
    assert!(
        why.contains("the master algorithm's own io_uring was refused"),
        "{why}"
    );
    let complaint = no_ring(|command| deny_io_uring(command, deny));
    assert!(complaint.contains("ulimit -l"), "{complaint}");
}

/// Whether nobody may run this binary at all.
fn nobody_can_run() -> bool {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    as_nobody(&mut command, 65_536);
    let can = command
        .arg("--list")
        .stdout(std::process::Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !can {
        eprintln!(
            "NOT TESTED: an ordinary user cannot run {}",
            std::env::current_exe().unwrap().display()
        );
    }
    can
}

fn little_memory_to_lock() {
    if !support::ring_is_had() || !nobody_can_run() {
        return;
    }
    // 64 KiB is what an ordinary user has on older systems; whatever engine it gives, it works and says why. Between that
    // and nothing it depends on what the kernel has given back yet of the last process.
    for bytes in [65_536, 24_576] {
        let (_, why) = engine_of(&format!("{bytes} B to lock"), &[], |command| {
            as_nobody(command, bytes)
        });
        assert!(
            why.contains("io_uring works here")
                || why.contains("ENOMEM")
                || why.contains("Cannot allocate memory"),
            "{why}"
        );
    }
    for bytes in [4_096, 0] {
        let (engine, why) = engine_of(&format!("{bytes} B to lock"), &[], |command| {
            as_nobody(command, bytes)
        });
        assert_eq!(engine, EngineWord::Epoll);
        assert!(why.contains("ENOMEM"), "{why}");
        let complaint = no_ring(|command| as_nobody(command, bytes));
        assert!(complaint.contains("ulimit -l"), "{complaint}");
    }
}

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Gives the sysctl back.
struct Restore(String);

impl Drop for Restore {
    fn drop(&mut self) {
        std::fs::write(SYSCTL, &self.0).expect("it could be written before");
    }
}

fn no_io_uring_by_sysctl() {
    if !support::ring_is_had() || !nobody_can_run() {
        return;
    }
    let Ok(before) = std::fs::read_to_string(SYSCTL) else {
        return eprintln!("NOT TESTED: no {SYSCTL} here");
    };
    // 1: for all but privileged users, so that nobody else's rings on this machine are refused meanwhile.
    if let Err(error) = std::fs::write(SYSCTL, "1") {
        return eprintln!("NOT TESTED: {SYSCTL}: {error}");
    }
    let _restore = Restore(before);
    let as_user = |command: &mut std::process::Command| as_nobody(command, 1 << 20);
    let (engine, why) = engine_of("sysctl", &[], as_user);
    assert_eq!(engine, EngineWord::Epoll);
    assert!(why.contains("kernel.io_uring_disabled"), "{why}");
    let complaint = no_ring(as_user);
    assert!(
        complaint.contains("kernel.io_uring_disabled=0"),
        "{complaint}"
    );
}

const _: () = assert!(PATIENCE.as_secs() >= 10);
