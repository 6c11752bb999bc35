//! What a person sees of each misfortune: all that local mode writes to its terminal, kept as a fixture in `tests/screens`.
//!
//! One local slave, so that what happens is the same each time; the order of lines of master and slave is not, so screens
//! are compared line by line in any order. `RINGMW_UPDATE_SCREENS=1` writes them anew, and the trails of the same runs for
//! the audit's tests (`tools/tests/data/misfortunes`), where it must be found out who is to blame.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ringmw_codec::audit::Event;

use crate::app::dir;
use crate::process::Process;

/// Name, what the tasks do, more arguments, and the exit code.
const SCREENS: &[(&str, &str, &[&str], i32)] = &[
    ("segfault", "segfault", &[], 0),
    ("abort", "abort", &[], 0),
    ("exit", "exit with 0", &[], 0),
    ("exit-3", "exit with 3", &[], 0),
    ("_exit", "_exit", &[], 0),
    ("overflow", "overflow", &[], 0),
    ("memory", "swell", &["--mw-slave-memory", "300MiB"], 0),
    ("hang", "hang", &["--mw-task-timeout", "300ms"], 0),
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
    let program = std::env::current_exe().expect("a test knows its own path");
    let program = program.file_name().expect("a name").to_string_lossy();
    let screen = screen
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

fn sorted(screen: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = screen.lines().collect();
    lines.sort_unstable();
    lines
}

/// Holds a screen to its fixture.
fn check(name: &str, shown: &str, trail: &Path) {
    let path = folder("tests/screens").join(format!("{name}.txt"));
    if std::env::var_os("RINGMW_UPDATE_SCREENS").is_some() {
        fs::write(&path, shown).expect("written");
        let kept = folder("../tools/tests/data/misfortunes").join(format!("{name}.audit"));
        fs::copy(trail, kept).expect("copied");
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
        let shown = fs::read_to_string(&screen).expect("text");
        check(
            name,
            &normal(&shown, dir.path()),
            &dir.path().join("local.trail"),
        );
    }
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
    let shown = fs::read_to_string(&screen).expect("text");
    let host = master.await_event("its host", |event| match event {
        Event::Init { host, .. } => Some(host.clone()),
        _ => None,
    });
    let shown = normal(&shown, dir.path()).replace(&host, "HOST");
    let mut folded = String::new();
    let mut lines = Vec::new();
    for line in shown.lines() {
        let mut is_number = false;
        for letter in line.chars() {
            match letter.is_ascii_digit() {
                true if is_number => {}
                true => folded.push('N'),
                false => folded.push(letter),
            }
            is_number = letter.is_ascii_digit();
        }
        lines.push(std::mem::take(&mut folded));
    }
    let shown = lines.join("\n") + "\n";
    check("black-hole", &shown, &dir.path().join("local.trail"));
}
