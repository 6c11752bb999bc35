//! Tasks that end their slaves, hang, or cannot print; states that cannot be made. Each costs what it must and no more, and
//! somebody who sees only the terminal can say what happened.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw_codec::audit::Event;

use crate::app::{count, dir};
use crate::process::Process;

/// In the user's arguments: no state can be made.
const NO_LICENCE: &str = "--no-licence";

/// What a slave needs for [`pine`].
pub(crate) struct Licence;

impl SlaveState for Licence {
    fn init(cx: &mut Cx) -> Result<Self> {
        if cx.args().iter().any(|arg| arg == NO_LICENCE) {
            return Err("no licence on this node".into());
        }
        Ok(Licence)
    }
}

#[algorithm]
pub(crate) fn pine(n: u64, _licence: &mut Licence) -> u64 {
    n
}

/// Ends in this way, or does as it is told, and squares.
#[algorithm]
pub(crate) fn perish(n: u64, how: &str, cx: &mut Cx) -> u64 {
    match how {
        "" => std::thread::sleep(Duration::from_millis(1)),
        // SAFETY: it is not: nothing is at address 8, and that is the point.
        "segfault" => unsafe { std::ptr::without_provenance_mut::<u64>(8).write_volatile(n) },
        "exit with 0" => std::process::exit(0),
        "exit with 3" => std::process::exit(3),
        "abort" => std::process::abort(),
        // SAFETY: it ends the process at once.
        "_exit" => unsafe { libc::_exit(0) },
        "overflow" => return deep(n),
        "hang" => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        "heed" => {
            while !cx.cancelled() {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        "swell" => swell(),
        "print" => println!("task {n} speaks"),
        "panic oddly" => std::panic::panic_any(Touchy),
        other => panic!("{other}"),
    }
    n * n
}

/// Takes more and more memory.
fn swell() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(vec![1u8; 4 << 20]);
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Panics when it is dropped, which is while a panic is looked at.
struct Touchy;

impl Drop for Touchy {
    fn drop(&mut self) {
        panic!("touched");
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn deep(n: u64) -> u64 {
    let block = std::hint::black_box([n; 512]);
    deep(n + 1) + block[(n % 512) as usize]
}

/// Of `tasks` tasks each `every`th does this, from the second on; says how many came to what.
pub(crate) async fn master(mw: &Master, args: &Args, tasks: u64, how: &str) -> Result {
    let every = args.value("--every", tasks)?;
    if how == "pine" {
        println!(
            "{:?}",
            mw.call(pine::task(1))
                .await
                .map_err(|error| error.to_string())
        );
        return Ok(());
    }
    if how == "plod" {
        println!("0 good");
        for n in 0..3 {
            if let Err(error) = mw.call(plod::task(n)).await {
                println!("bad: {error}");
            }
        }
        return Ok(());
    }
    let how = |n: u64| if n % every == 1 { how } else { "" };
    let mut ends = mw.map((0..tasks).map(|n| perish::task(n, how(n))));
    let (mut good, mut bad) = (0, Vec::new());
    while let Some(end) = ends.next().await {
        match end {
            Ok(_) => good += 1,
            Err(error) => bad.push(error.to_string()),
        }
    }
    println!("{good} good");
    bad.iter().for_each(|error| println!("bad: {error}"));
    Ok(())
}

/// What the master printed: how many are good, and what became of the others.
fn ends(master: &Process) -> (u64, Vec<String>) {
    let stdout = master.stdout();
    let mut lines = stdout.lines();
    let good = lines.next().and_then(|line| line.strip_suffix(" good"));
    let good = good.unwrap_or_else(|| panic!("{stdout} {}", master.stderr()));
    let bad = lines.map(|line| line.strip_prefix("bad: ").unwrap().to_owned());
    (good.parse().unwrap(), bad.collect())
}

/// Local mode with two slaves, 60 tasks of which one does this, and more flags.
fn local(engine: &str, how: &str, more: &[&str]) -> (tempfile::TempDir, Process) {
    let dir = dir();
    let args = [
        "--mw-local",
        "2",
        "--tasks",
        "60",
        "--misfortune",
        how,
        "--mw-engine",
        engine,
    ];
    let process = Process::start(dir.path(), "local", &[&args, more].concat());
    (dir, process)
}

fn children(process: &Process) -> usize {
    count(&process.events(), |event| {
        matches!(event, Event::ChildStarted { .. })
    })
}

/// Slaves lost before the master told all to go.
fn losses(process: &Process) -> usize {
    count(&process.events(), |event| {
        matches!(event, Event::Lost { .. })
    })
}

pub(crate) fn a_task_that_ends_its_slaves_is_unrunnable(engine: &str) {
    // How, what the terminal says of it, and how many lives it takes: the first is charged only where it is named.
    let rows = [
        ("segfault", "was killed by SIGSEGV", 3),
        ("abort", "was killed by SIGABRT", 3),
        ("overflow", "was killed by SIG", 3),
        ("_exit", "left with 0, and nobody had told it to", 3),
        ("exit with 3", "exited with 3", 2),
        ("exit with 0", "exited with 255", 2),
    ];
    for (how, words, lives) in rows {
        let (_dir, mut master) = local(engine, how, &[]);
        master.expect_exit(0);
        let (good, bad) = ends(&master);
        assert_eq!((good, bad.len()), (59, 1), "{how}: {}", master.stderr());
        assert!(bad[0].contains("--mw-crash-limit"), "{how}: {bad:?}");
        let stderr = master.stderr();
        assert!(stderr.contains(words), "{how}: {stderr}");
        assert!(stderr.contains("while it ran TASK-1"), "{how}: {stderr}");
        assert_eq!(losses(&master), lives, "{how}: {stderr}");
    }
}

pub(crate) fn a_crash_limit_that_is_given_is_kept_where_slaves_are_restarted() {
    for (limit, lives) in [("1", 2), ("4", 5)] {
        let (_dir, mut master) = local("auto", "segfault", &["--mw-crash-limit", limit]);
        master.expect_exit(0);
        assert_eq!((ends(&master).0, losses(&master)), (59, lives));
    }
}

/// One of four would be left; without the lower limit none.
pub(crate) fn a_task_does_not_take_the_last_slave(engine: &str) {
    let dir = dir();
    let args = [
        "--slaves",
        "4",
        "--tasks",
        "60",
        "--misfortune",
        "segfault",
        "--mw-engine",
        engine,
    ];
    let mut master = Process::master(dir.path(), &args);
    let address = master.address();
    let slaves: Vec<_> = (0..4)
        .map(|n| Process::slave(dir.path(), &format!("slave-{n}"), &address))
        .collect();
    master.expect_exit(0);
    let (good, bad) = ends(&master);
    assert_eq!((good, bad.len()), (59, 1), "{}", master.stderr());
    let codes: Vec<_> = slaves.into_iter().map(|mut slave| slave.exit().0).collect();
    let killed = codes.iter().filter(|code| **code == 128 + libc::SIGSEGV);
    assert_eq!(killed.count(), 3, "{codes:?}");
    assert!(codes.contains(&0), "{codes:?}");
}

pub(crate) fn a_state_that_cannot_be_made_is_the_end_with_the_reason(engine: &str) {
    let (_dir, mut master) = local(engine, "pine", &[NO_LICENCE]);
    let took = master.expect_exit(255);
    assert!(took < Duration::from_secs(60), "{took:?}");
    let stderr = master.stderr();
    assert!(stderr.contains("no licence on this node"), "{stderr}");
    assert!(stderr.contains("all 2 slaves are given up"), "{stderr}");
    assert_eq!(children(&master), 10, "{stderr}");
}

pub(crate) fn a_task_that_hangs_is_answered_for(engine: &str) {
    let more = ["--every", "30", "--mw-task-timeout", "300ms"];
    let (_dir, mut master) = local(engine, "hang", &more);
    master.expect_exit(0);
    let (good, bad) = ends(&master);
    assert_eq!((good, bad.len()), (58, 2), "{}", master.stderr());
    assert!(
        bad.iter()
            .all(|error| error.ends_with("timed out after 0.3 s")),
        "{bad:?}"
    );
    let stderr = master.stderr();
    assert!(
        stderr.contains("timed out after 0.3 s and went on"),
        "{stderr}"
    );
    // The last one may hang when all else is done: nobody is started in its place then.
    assert!((3..=4).contains(&children(&master)), "{stderr}");
    // One that heeds it costs no process, and its own value counts.
    let (_dir, mut master) = local(engine, "heed", &more);
    master.expect_exit(0);
    assert_eq!((ends(&master), children(&master)), ((60, vec![]), 2));
}

/// Two that hang among twelve, and two that heed.
pub(crate) fn of_twelve_tasks_two_hang(engine: &str) {
    let flags = [
        "--mw-local",
        "2",
        "--mw-task-timeout",
        "2",
        "--mw-engine",
        engine,
    ];
    for (how, ends_of, lives) in [("hang", (10, 2), 2..=4), ("heed", (12, 0), 2..=2)] {
        let dir = dir();
        let app = ["--tasks", "12", "--every", "6", "--misfortune", how];
        let mut master = Process::start(dir.path(), "local", &[&flags[..], &app].concat());
        master.expect_exit(0);
        let (good, bad) = ends(&master);
        let stderr = master.stderr();
        assert_eq!((good, bad.len()), ends_of, "{how}: {stderr}");
        assert!(lives.contains(&children(&master)), "{how}: {stderr}");
        // Death by a task is the task's: the life has ended one.
        assert!(!stderr.contains("that ended no task"), "{stderr}");
        let is_told = |error: &String| error.ends_with("timed out after 2 s");
        assert!(bad.iter().all(is_told), "{bad:?}");
    }
}

/// Without a limit a task that ends its slaves is run for ever, ever more slowly, and no slot is given up for it.
pub(crate) fn without_a_crash_limit_only_the_pace_is_bounded() {
    let (_dir, mut master) = local("auto", "abort", &["--mw-crash-limit", "0"]);
    master.await_count("deaths", 12, |event| {
        matches!(event, Event::ChildEnded { .. })
    });
    let stderr = master.stderr();
    assert!(!stderr.contains("given up"), "{stderr}");
    assert!(stderr.contains("it is started again in 0.1 s"), "{stderr}");
    assert!(stderr.contains("it is started again in 0.4 s"), "{stderr}");
    assert!(!master.has_ended(), "{stderr}");
    master.signal(rustix::process::Signal::INT);
    master.expect_exit(130);
}

pub(crate) fn a_slave_that_cannot_print_costs_no_task(engine: &str) {
    let dir = dir();
    let args = [
        "--slaves",
        "2",
        "--tasks",
        "60",
        "--every",
        "2",
        "--misfortune",
        "print",
    ];
    let mut master = Process::master(dir.path(), &[&args[..], &["--mw-engine", engine]].concat());
    let address = master.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let flags = [
        "--mw-slave",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    let mut full = Process::start_with(dir.path(), "full", &flags, |command| {
        let full = std::fs::File::options().write(true).open("/dev/full");
        command.stdout(full.unwrap());
    });
    let mut good = Process::slave(dir.path(), "good", &address);
    master.expect_exit(0);
    assert_eq!(ends(&master), (60, vec![]));
    full.expect_exit(255);
    assert!(
        full.stderr().contains("failed printing to stdout"),
        "{}",
        full.stderr()
    );
    good.expect_exit(0);
}

pub(crate) fn a_task_that_takes_too_much_memory_is_charged() {
    let (_dir, mut master) = local("auto", "swell", &["--mw-slave-memory", "300MiB"]);
    master.expect_exit(0);
    let (good, bad) = ends(&master);
    assert_eq!(
        (good, bad.len(), losses(&master)),
        (59, 1, 2),
        "{}",
        master.stderr()
    );
    assert!(
        master.stderr().contains("of --mw-slave-memory"),
        "{}",
        master.stderr()
    );
}

/// The algorithm's own time-out, without a flag.
#[algorithm(timeout = "200ms")]
pub(crate) fn plod(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(if n == 1 { 60_000 } else { 0 }));
    n
}

pub(crate) fn an_algorithm_has_a_timeout_of_its_own() {
    let (_dir, mut master) = local("auto", "plod", &[]);
    master.expect_exit(0);
    assert_eq!(
        ends(&master).1,
        [format!(
            "TASK-1 failed on SLAVE-{}: timed out after 0.2 s",
            master
                .stdout()
                .split("SLAVE-")
                .nth(1)
                .unwrap()
                .split(':')
                .next()
                .unwrap()
        )]
    );
}

pub(crate) fn a_panic_whose_value_panics_is_a_failed_result() {
    let (_dir, mut master) = local("auto", "panic oddly", &[]);
    master.expect_exit(0);
    let (good, bad) = ends(&master);
    assert_eq!((good, bad.len(), children(&master)), (59, 1, 2));
}
