//! What a person sees of each misfortune: all that local mode writes to its terminal, kept as a fixture in `tests/screens`.
//!
//! One local slave, so that what happens is the same each time; the order of lines of master and slave is not, so screens
//! are compared line by line in any order. `RINGMW_UPDATE_SCREENS=1` writes them anew, and the trails of the same runs for
//! the audit's tests (`tools/tests/data/misfortunes`), where it must be found out who is to blame.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use ringmw_codec::audit::Event;

use crate::app::dir;
use crate::misfortune::{MEMORY, UNLICENSED};
use crate::process::Process;

/// Name, what the tasks do, more arguments, and the exit code.
const SCREENS: &[(&str, &str, &[&str], i32)] = &[
    ("segfault", "segfault", &[], 0),
    ("abort", "abort", &[], 0),
    ("exit", "exit with 0", &[], 0),
    ("exit-3", "exit with 3", &[], 0),
    ("_exit", "_exit", &[], 0),
    ("overflow", "overflow", &[], 0),
    ("memory", "swell", &MEMORY, 0),
    ("hang", "hang", &["--mw-task-timeout", "300ms"], 0),
    ("heed", "heed", &["--mw-task-timeout", "300ms"], 0),
    ("panic", "panic", &[], 0),
    ("no-licence", "pine", &["--no-licence"], 255),
];

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// Starts the application with standard output and standard error in one file, as on a terminal.
fn on_a_terminal(dir: &Path, args: &[&str], screen: &Path) -> Process {
    File::create(screen).expect("a file");
    let shared = || File::options().append(true).open(screen).expect("a file");
    Process::start_with(dir, "local", args, |command| {
        command.stdout(shared()).stderr(shared());
    })
}

/// The same each time: the program's name, its folder, processes' numbers, places in the source.
fn normal(screen: &str, dir: &Path) -> String {
    let path = std::env::current_exe().expect("a test knows its own path");
    let program = path.file_name().expect("a name").to_string_lossy();
    let screen = screen
        .replace(&*path.to_string_lossy(), "app")
        .replace(&*program, "app")
        .replace(&*dir.to_string_lossy(), "DIR");
    let mut lines = Vec::new();
    for line in screen.lines() {
        let mut line = line.to_owned();
        for after in [") panicked at", ") has overflowed"] {
            if let Some((start, end)) = line.split_once(after)
                && let Some((start, _)) = start.rsplit_once('(')
            {
                line = format!("{start}(PID{after}{end}");
            }
        }
        if let Some((start, end)) = line.split_once("its memory of ")
            && let Some((_, end)) = end.split_once(' ')
        {
            line = format!("{start}its memory of MANY {end}");
        }
        lines.push(places(&line));
    }
    lines.join("\n") + "\n"
}

/// `misfortune.rs:57:18` is `misfortune.rs:LINE`.
fn places(line: &str) -> String {
    let mut parts = line.split(".rs:");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|letter: char| letter.is_ascii_digit());
        let rest = rest.strip_prefix(':').map_or(rest, |column| {
            column.trim_start_matches(|letter: char| letter.is_ascii_digit())
        });
        text.push_str(".rs:LINE");
        text.push_str(rest);
    }
    text
}

/// Each number is N.
fn folded(screen: &str) -> String {
    let mut folded = String::new();
    let mut is_number = false;
    for letter in screen.chars() {
        match letter.is_ascii_digit() {
            true if is_number => {}
            true => folded.push('N'),
            false => folded.push(letter),
        }
        is_number = letter.is_ascii_digit();
    }
    folded
}

fn sorted(screen: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = screen.lines().collect();
    lines.sort_unstable();
    lines
}

/// A trail as it would be on a user's machine: it names no path of this one.
fn anywhere(trail: &Path) -> String {
    let program = std::env::current_exe().expect("a test knows its own path");
    let dir = trail.parent().expect("it lies in a folder");
    fs::read_to_string(trail)
        .expect("text")
        .replace(&*program.to_string_lossy(), "/home/user/app")
        .replace(&*dir.to_string_lossy(), "/home/user/run")
}

/// Holds a screen to its fixture.
fn check(name: &str, shown: &str, trail: &Path) {
    let path = folder("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("RINGMW_UPDATE_SCREENS").is_some() {
        fs::write(&path, shown).expect("written");
        let kept = folder("../tools/tests/data/misfortunes").join(format!("{name}.audit"));
        fs::write(kept, anywhere(trail)).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        sorted(shown),
        sorted(&expected),
        "{name}: it shows\n{shown}\nand {} has\n{expected}\n(RINGMW_UPDATE_SCREENS=1 takes what it shows)",
        path.display()
    );
}

pub(crate) fn each_misfortune_has_its_screen(engine: &str) {
    for (name, how, more, code) in SCREENS {
        let dir = dir();
        let screen = dir.path().join("screen");
        let args = ["--mw-local", "1", "--tasks", "60", "--misfortune", how];
        let args = [&args[..], more, &["--mw-engine", engine]].concat();
        let mut master = on_a_terminal(dir.path(), &args, &screen);
        master.expect_exit(*code);
        let shown = shown_of(&master, &screen, dir.path());
        check(name, &shown, &dir.path().join("local.trail"));
    }
}

/// What its terminal shows, the same each time.
fn shown_of(master: &Process, screen: &Path, dir: &Path) -> String {
    let shown = fs::read_to_string(screen).expect("text");
    let host = host_of(master);
    normal(&shown, dir).replace(&format!(" on {host}"), " on HOST")
}

/// Each line once and every number N, as how often and when is not the same each time.
fn once(shown: &str) -> Vec<String> {
    let shown = folded(shown);
    // Whether it has ended one before is not the same each time.
    let shown = shown.replace(" (life N of N that ended no task)", "");
    let mut lines: Vec<String> = shown.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// With a crash limit of 1, of 10 that are told in fewer lines, and without one, until it is interrupted.
pub(crate) fn each_crash_limit_has_its_screen() {
    for (name, limit, code) in [
        ("limit-1", "1", 0),
        ("limit-10", "10", 0),
        ("limit-0", "0", 130),
    ] {
        let dir = dir();
        let screen = dir.path().join("screen");
        let args = ["--mw-local", "1", "--tasks", "60"];
        let more = ["--misfortune", "segfault", "--mw-crash-limit", limit];
        let mut master = on_a_terminal(dir.path(), &[args, more].concat(), &screen);
        if code != 0 {
            master.await_count("deaths", 6, |event| {
                matches!(event, Event::ChildEnded { .. })
            });
            master.signal(rustix::process::Signal::INT);
        }
        master.expect_exit(code);
        let shown = once(&shown_of(&master, &screen, dir.path())).join("\n") + "\n";
        check(name, &shown, &dir.path().join("local.trail"));
    }
}

fn host_of(master: &Process) -> String {
    master.await_event("its host", |event| match event {
        Event::Init { host, .. } => Some(host.clone()),
        _ => None,
    })
}

/// A black hole among eight: how often it fails before it is known is not the same each time.
pub(crate) fn a_black_hole_has_its_screen() {
    let dir = dir();
    let screen = dir.path().join("screen");
    let args = [
        "--mw-local",
        "8",
        "--slaves",
        "8",
        "--tasks",
        "1600",
        "--misfortune",
        "hole",
    ];
    let mut master = on_a_terminal(dir.path(), &args, &screen);
    master.expect_exit(0);
    let shown = folded(&shown_of(&master, &screen, dir.path()));
    check("black-hole", &shown, &dir.path().join("local.trail"));
}

/// Name, what the tasks do, nodes and the slaves of each, and how many slaves join in all: nobody watches over one that is
/// alone.
const APART: &[(&str, &str, usize, usize, usize)] = &[
    ("node-no-licence", "pines", 4, 2, 10),
    ("node-segfault", "segfault", 1, 2, 4),
    ("node-exit", "exit with 0", 1, 2, 4),
    ("node-abort", "abort", 1, 2, 4),
    ("node-overflow", "overflow", 1, 2, 4),
    ("node-_exit", "_exit", 1, 2, 5),
    ("node-memory", "swell", 1, 2, 4),
    ("alone-segfault", "segfault", 4, 1, 4),
    ("alone-exit", "exit with 0", 4, 1, 4),
    ("alone-abort", "abort", 4, 1, 4),
    ("alone-overflow", "overflow", 4, 1, 4),
    ("alone-_exit", "_exit", 4, 1, 4),
    ("alone-memory", "swell", 4, 1, 4),
];

/// What the master's terminal shows and what those of its nodes show: each line once, as how often is not the same each time.
pub(crate) fn each_misfortune_of_a_node_has_its_screen() {
    for (name, how, nodes, each, joined) in APART {
        let dir = dir();
        let screen = dir.path().join("screen");
        let until = dir.path().join("until");
        let slaves = (nodes * each).to_string();
        let args = [
            "--slaves",
            &slaves,
            "--tasks",
            "60",
            "--misfortune",
            how,
            "--until",
            until.to_str().expect("a temporary path"),
        ];
        let shown_at = |screen: &Path| {
            File::create(screen).expect("a file");
            let screen = screen.to_owned();
            move |command: &mut Command| {
                let shared = || File::options().append(true).open(&screen).expect("a file");
                command.stdout(shared()).stderr(shared());
            }
        };
        let mut master = Process::master_with(dir.path(), &args, shown_at(&screen));
        let address = master.address();
        let (host, port) = address.rsplit_once(':').expect("an address");
        let each = each.to_string();
        let args = [
            "--mw-slave",
            "--mw-slave-count",
            &each,
            "--mw-master-host",
            host,
            "--mw-master-port",
            port,
        ];
        let args = [&args[..], &MEMORY].concat();
        let at = dir.path().join("screen-of-nodes");
        let mut started: Vec<Process> = (0..*nodes)
            .map(|node| {
                let shows = shown_at(&at);
                Process::start_with(dir.path(), &format!("node-{node}"), &args, |command| {
                    shows(command);
                    if node == 0 {
                        command.env(UNLICENSED, "");
                    }
                })
            })
            .collect();
        master.await_count("all that join", *joined, |event| {
            matches!(event, Event::Connected { .. })
        });
        fs::write(&until, "").expect("a file");
        master.expect_exit(0);
        started.iter_mut().for_each(|node| _ = node.exit());
        let mut shown = String::new();
        for (who, screen) in [("master", &screen), ("nodes", &at)] {
            for line in once(&shown_of(&master, screen, dir.path())) {
                shown += &format!("{who}: {line}\n");
            }
        }
        check(name, &shown, &dir.path().join("master.trail"));
    }
}

/// A failed task is kept, its command told, and replayed it fails with the same message.
pub(crate) fn a_replay_has_its_screen() {
    let dir = dir();
    let (screen, kept) = (dir.path().join("screen"), dir.path().join("failed"));
    let args = [
        "--mw-local",
        "1",
        "--tasks",
        "60",
        "--misfortune",
        "panic",
        "--mw-seed",
        "7",
        "--mw-keep-failed",
        kept.to_str().expect("a temporary path"),
    ];
    let mut master = on_a_terminal(dir.path(), &args, &screen);
    master.expect_exit(0);
    let host = host_of(&master);
    let mut shown = fs::read_to_string(&screen).expect("text");
    // The replay has a trail of its own, by the same name.
    let trail = dir.path().join("run.trail");
    fs::rename(dir.path().join("local.trail"), &trail).expect("it is there");
    let file = kept.join("TASK-1");
    let args = ["--mw-replay", file.to_str().expect("a temporary path")];
    on_a_terminal(dir.path(), &args, &screen).exit();
    shown += &fs::read_to_string(&screen).expect("text");
    check(
        "replay",
        &normal(&shown, dir.path()).replace(&format!("on {host}"), "on HOST"),
        &trail,
    );
}
