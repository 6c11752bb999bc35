//! Tasks that end their slaves, hang, or cannot print; states that cannot be made. Each costs what it must and no more, and
//! somebody who sees only the terminal can say what happened.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw_codec::audit::{Event, LossCause};

use crate::app::{count, dir, lost};
use crate::process::Process;
use crate::support::until;

/// In the user's arguments: no state can be made.
const NO_LICENCE: &str = "--no-licence";

/// In a slave's environment: none can be made there.
pub(crate) const UNLICENSED: &str = "RINGMW_TEST_UNLICENSED";

/// What a slave needs for [`pine`].
pub(crate) struct Licence;

impl SlaveState for Licence {
    fn init(cx: &mut Cx) -> Result<Self> {
        let has_none = std::env::var_os(UNLICENSED).is_some();
        if has_none || cx.args().iter().any(|arg| arg == NO_LICENCE) {
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
        "fork" => {
            // SAFETY: both go on, and that is the point.
            unsafe { libc::fork() };
        }
        "close" => (3..1024).for_each(|fd| {
            // SAFETY: it is not: they are others', and that is the point.
            unsafe { libc::close(fd) };
        }),
        "move" => std::env::set_current_dir("/").unwrap(),
        "ignore" => [libc::SIGSEGV, libc::SIGTERM, libc::SIGPIPE]
            .into_iter()
            .for_each(|signal| {
                // SAFETY: what is ignored needs no handler.
                unsafe { libc::signal(signal, libc::SIG_IGN) };
            }),
        "drop" => drop(std::hint::black_box(Touchy)),
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

/// Of `tasks` tasks each `every`th does this, from the second on; says how many came to what, and stays until the file of
/// `--until`, if there is to be one, is there.
pub(crate) async fn master(mw: &Master, args: &Args, tasks: u64, how: &str) -> Result {
    play(mw, args, tasks, how).await?;
    let until = args.value("--until", String::new())?;
    while !until.is_empty() && !std::path::Path::new(&until).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn play(mw: &Master, args: &Args, tasks: u64, how: &str) -> Result {
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
    if how == "pines" {
        let mut ends = mw.map((0..tasks).map(pine::task));
        let mut good = 0;
        while let Some(end) = ends.next().await {
            good += u64::from(end.is_ok());
        }
        println!("{good} good");
        return Ok(());
    }
    if how == "hole" {
        return fall(mw, tasks).await;
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

/// The slave at which [`fell`] fails.
const HOLE: u32 = 3;

/// On one slave it fails at once, as long as this file is there; elsewhere it takes 20 ms.
#[algorithm]
pub(crate) fn fell(_n: u64, sick: &str, cx: &mut Cx) -> Result<u32, String> {
    let is_sick = cx.slave().0 == HOLE && std::path::Path::new(sick).exists();
    std::thread::sleep(Duration::from_millis(if is_sick { 1 } else { 20 }));
    match is_sick {
        true => Err("no library on this node".to_owned()),
        false => Ok(cx.slave().0),
    }
}

/// Half way the slave heals. Says how many have failed, and how many the slave did well.
async fn fall(mw: &Master, tasks: u64) -> Result {
    std::fs::write("sick", "")?;
    let sick = std::fs::canonicalize("sick")?;
    let sick = sick.to_str().ok_or("no text")?;
    let mut ends = mw.map((0..tasks).map(|n| fell::task(n, sick)));
    let (mut ended, mut failed, mut healed) = (0, 0, 0);
    while let Some(end) = ends.next().await {
        ended += 1;
        if ended == tasks / 4 {
            std::fs::remove_file(sick)?;
        }
        match end {
            Ok(slave) => healed += u64::from(slave == HOLE),
            Err(_) => failed += 1,
        }
    }
    println!("{ended} {failed} {healed}");
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
        ("segfault", "was killed by SIGSEGV", 2),
        ("abort", "was killed by SIGABRT", 2),
        ("overflow", "has overflowed its stack", 2),
        ("_exit", "left with 0, and nobody had told it to", 3),
        ("exit with 3", "which called exit(3), ", 2),
        ("exit with 0", "which called exit(0), ", 2),
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
    for (limit, lives) in [("1", 1), ("4", 4)] {
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
    assert_eq!(killed.count(), 2, "{codes:?}");
    assert!(codes.contains(&0), "{codes:?}");
    // Without anybody who watches over them the master knows how they ended all the same.
    assert!(
        bad[0].contains("was killed by SIGSEGV, for a fault of its code"),
        "{bad:?}"
    );
    let causes: Vec<_> = lost(&master.events()).iter().map(|loss| loss.1).collect();
    assert_eq!(causes, [LossCause::Signal; 2]);
}

pub(crate) fn a_state_that_cannot_be_made_is_the_end_with_the_reason(engine: &str) {
    let (_dir, mut master) = local(engine, "pine", &[NO_LICENCE]);
    let took = master.expect_exit(255);
    eprintln!("{engine}: {took:.1?}");
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
        let took = master.expect_exit(0);
        eprintln!("{engine}, {how}: {took:.1?}");
        assert!(took < Duration::from_secs(10), "{how}: {took:?}");
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
    // Most are folded, and of those the last is told with its pause, some time later.
    let longer = ["0.4", "0.8", "1.6", "3.2", "5"];
    until("a longer pause that is told", || {
        let stderr = master.stderr();
        let is_told = |pause| stderr.contains(&format!("it is started again in {pause} s"));
        longer.into_iter().any(is_told).then_some(())
    });
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

/// It fails in 1 ms, the others take 20.
pub(crate) fn a_black_hole_is_named_and_taken_back(engine: &str) {
    let dir = dir();
    let args = [
        "--mw-local",
        "8",
        "--slaves",
        "8",
        "--tasks",
        "4000",
        "--misfortune",
        "hole",
        "--mw-engine",
        engine,
    ];
    let mut master = Process::start(dir.path(), "local", &args);
    master.expect_exit(0);
    let stdout = master.stdout();
    let counts: Vec<u64> = stdout
        .split_whitespace()
        .map(|count| count.parse().unwrap())
        .collect();
    let [ended, failed, healed] = counts[..] else {
        panic!("{stdout}");
    };
    eprintln!("{engine}: {failed} of {ended} failed, {healed} were done by it when it was well");
    assert!(ended == 4000 && failed <= 80, "{failed} failed");
    assert!(healed > 20, "it did {healed} when it was well again");
    let events = master.events();
    let named = events.iter().filter_map(|event| match event {
        Event::Quarantined { slave, .. } => Some(*slave),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), [Some(HOLE)]);
    let over = |event: &Event| {
        matches!(
            event,
            Event::QuarantineOver {
                slave: Some(HOLE),
                healed: true,
                ..
            }
        )
    };
    assert_eq!(count(&events, over), 1);
}

/// A node of two whose state cannot be made, and three that are well.
pub(crate) fn of_four_nodes_three_do_all_the_work(engine: &str) {
    let dir = dir();
    let args = [
        "--slaves",
        "6",
        "--tasks",
        "60",
        "--misfortune",
        "pines",
        "--mw-engine",
        engine,
    ];
    let mut master = Process::master(dir.path(), &args);
    let address = master.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let flags = [
        "--mw-slave",
        "--mw-slave-count",
        "2",
        "--mw-master-host",
        host,
        "--mw-master-port",
        port,
    ];
    let mut nodes: Vec<_> = (0..4)
        .map(|node| {
            Process::start_with(dir.path(), &format!("node-{node}"), &flags, |command| {
                if node == 0 {
                    command.env(UNLICENSED, "");
                }
            })
        })
        .collect();
    master.expect_exit(0);
    assert_eq!(ends(&master), (60, vec![]), "{}", master.stderr());
    // The trail says why, whatever became of the node meanwhile.
    let told = |event: &Event| matches!(event, Event::Lost { detail, .. } if detail.contains("no licence"));
    assert!(nodes[0].stderr().contains("no licence") || count(&master.events(), told) == 0);
    let codes: Vec<i32> = nodes.iter_mut().map(|node| node.exit().0).collect();
    assert_eq!(codes[1..], [0; 3]);
}

/// What tasks do to their process beside their work: the slave lives on, or its end is one that is named.
pub(crate) fn whatever_tasks_do_to_their_process(engine: &str) {
    for (how, good) in [
        ("fork", 60),
        ("move", 60),
        ("ignore", 60),
        ("drop", 59),
        ("close", 59),
    ] {
        let (dir, mut master) = local(engine, how, &[]);
        master.expect_exit(0);
        let ended = ends(&master);
        assert!(
            ended.0 >= good && ended.0 + ended.1.len() as u64 == 60,
            "{how}: {ended:?} {}",
            master.stderr()
        );
        if good == 60 {
            assert_eq!(children(&master), 2, "{how}: {}", master.stderr());
        }
        drop(dir);
    }
}

/// Each way in which a task can end its slave, and what a master knows of that end.
pub(crate) const WAYS: &[(&str, &str)] = &[
    ("segfault", "was killed by SIGSEGV, for a fault of its code"),
    (
        "exit with 0",
        "was ended by its own code, which called exit(0)",
    ),
    ("abort", "was killed by SIGABRT, for a fault of its code"),
    ("overflow", "was killed by SIGSEGV, for a fault of its code"),
    ("_exit", "lost its connection without a word"),
    ("swell", "of --mw-slave-memory"),
];

/// A bound of memory that only [`swell`] reaches.
pub(crate) const MEMORY: [&str; 2] = ["--mw-slave-memory", "300MiB"];

/// Where slaves are: of a node of two, four that nobody watches over, one of local mode.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Node,
    Alone,
    Local,
}

impl Place {
    const ALL: [Place; 3] = [Place::Node, Place::Alone, Place::Local];

    /// A master whose slaves are there, with 500 tasks of which one does this; and what it does not start itself.
    fn start(self, dir: &std::path::Path, app: &[&str]) -> (Process, Vec<Process>) {
        let app = [&["--tasks", "500"], app].concat();
        let (nodes, slaves) = match self {
            Place::Local => {
                let args = [&["--mw-local", "1"], &MEMORY[..], &app].concat();
                return (Process::start(dir, "local", &args), Vec::new());
            }
            Place::Node => (1, "2"),
            Place::Alone => (4, "1"),
        };
        let master = Process::master(dir, &app);
        let address = master.address();
        let (host, port) = address.rsplit_once(':').unwrap();
        let role = ["--mw-slave", "--mw-slave-count", slaves];
        let at = ["--mw-master-host", host, "--mw-master-port", port];
        let flags = [&role[..], &MEMORY, &at].concat();
        let start = |node| Process::start(dir, &format!("node-{node}"), &flags);
        let nodes = (0..nodes).map(start).collect();
        (master, nodes)
    }
}

/// On a node of two, on four slaves that nobody watches over, and on one of local mode; with the crash limit by default and
/// several others.
pub(crate) fn every_way_to_die_everywhere(engine: &str) {
    for (how, known) in WAYS {
        for place in Place::ALL {
            for limit in [None, Some("1"), Some("10")] {
                die(engine, how, known, limit, place);
            }
            die_without_limit(engine, how, place);
        }
    }
}

/// All but one are done, and that one is told with slave, host and what is known of its end.
fn die(engine: &str, how: &str, known: &str, limit: Option<&str>, place: Place) {
    let case = format!("{how}, limit {limit:?}, {place:?}");
    let dir = dir();
    let limit = limit.map(|limit| ["--mw-crash-limit", limit]);
    let app = ["--misfortune", how, "--mw-engine", engine];
    let app = [&app[..], limit.as_ref().map_or(&[], |limit| &limit[..])].concat();
    let (mut master, mut nodes) = place.start(dir.path(), &app);
    master.expect_exit(0);
    let (good, bad) = ends(&master);
    let stderr = master.stderr();
    assert_eq!((good, bad.len()), (499, 1), "{case}: {stderr}");
    let host = master.await_event("its host", |event| match event {
        Event::Init { host, .. } => Some(host.clone()),
        _ => None,
    });
    let who = bad[0].split_once("SLAVE-").map(|(_, who)| who);
    let who = who.map(|who| who.trim_start_matches(|letter: char| letter.is_ascii_digit()));
    let told = format!(" on {host}, ");
    assert!(
        bad[0].starts_with("TASK-1 is unrunnable: ")
            && who.is_some_and(|who| who.starts_with(&told) && who.contains(known))
            && bad[0].ends_with("; it is given up (--mw-crash-limit)"),
        "{case}: {bad:?}"
    );
    nodes.iter_mut().for_each(|node| _ = node.exit());
}

/// The task is never given up, nor a slot for it: slaves are started ever more slowly, where somebody starts them.
fn die_without_limit(engine: &str, how: &str, place: Place) {
    let case = format!("{how}, limit 0, {place:?}");
    let dir = dir();
    let app = ["--misfortune", how, "--mw-engine", engine];
    let app = [&app[..], &["--mw-crash-limit", "0"]].concat();
    let (mut master, nodes) = place.start(dir.path(), &app);
    let deaths = match place {
        Place::Alone => 4,
        _ => 6,
    };
    master.await_count("deaths", deaths, |event| {
        matches!(event, Event::Lost { .. })
    });
    let parent = match place {
        Place::Local => Some(&master),
        Place::Node => Some(&nodes[0]),
        Place::Alone => None,
    };
    if let Some(parent) = parent {
        // The third in a row in a slot at the latest.
        until("a longer pause that is told", || {
            let stderr = parent.stderr();
            let is_told = |pause| stderr.contains(&format!("it is started again in {pause} s"));
            ["0.2", "0.4", "0.8", "1.6", "3.2", "5"]
                .into_iter()
                .any(is_told)
                .then_some(())
        });
        assert!(!parent.stderr().contains("given up"), "{case}");
    }
    let events = master.events();
    let unrunnable = count(&events, |event| matches!(event, Event::Unrunnable { .. }));
    assert_eq!(unrunnable, 0, "{case}");
    assert!(!master.has_ended(), "{case}: {}", master.stderr());
    master.signal(rustix::process::Signal::INT);
    master.expect_exit(130);
}
