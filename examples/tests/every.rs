//! Every example alone, as a master and slaves, and under kills: what it says of its work is the same.

use std::fs;
use std::path::Path;

use ringmw_examples::{End, Process, Signal, Stage, send, wait_for};

/// Which lines of its output an example says wherever it runs.
enum Says {
    /// All of them.
    All,
    /// All of them, in any order.
    Sorted,
    /// So many of the first.
    First(usize),
    /// Those that begin with one of these.
    With(&'static [&'static str]),
    /// These beginnings of its lines.
    Begins(&'static [&'static str]),
}
use Says::{All, Begins, First, Sorted, With};

/// What its first slave remembers is gone with it, and it says so and ends: in these the others alone are killed.
const FIRST_STAYS: &[&str] = &["remembering"];

/// Instead of this argument stands a file with lines of commands.
const LINES: &str = "LINES";

const EXAMPLES: &[(&str, &[&str], Says)] = &[
    ("hello-world", &[], Sorted),
    (
        "hello-world-classic",
        &["--mw-slave-task-group", "2"],
        With(&["Got result"]),
    ),
    (
        "ping",
        &["--tasks", "3000", "--mw-slave-task-group", "10"],
        First(1),
    ),
    (
        "monte-carlo-pi",
        &["--max-trial-sets", "20", "--mw-seed", "7"],
        First(2),
    ),
    ("argument-processing", &["ants", "bees"], All),
    (
        "with-task-policy",
        &[],
        With(&["streams 7", "square is unrunnable: there is no SLAVE-4"]),
    ),
    (
        "ordered",
        &["--ordered", "1"],
        With(&["168 ", "1229 ", "9592 ", "41538 ", "78498 "]),
    ),
    ("search", &["--marks", "8"], First(1)),
    ("histogram", &["--walks", "100000", "--mw-seed", "7"], All),
    ("conversation", &["--mw-seed", "7"], Begins(&["0.0"])),
    (
        "waves",
        &["--seconds", "1", "--task-ms", "5"],
        Begins(&["8 desired: ", "3 desired: "]),
    ),
    ("collatz", &["20000"], All),
    ("commands", &["--input", LINES], All),
    ("primes-master-slave", &["--upto", "20000"], With(LAST)),
    ("primes-work-pushing", &["--upto", "20000"], With(LAST)),
    ("primes-work-stealing", &["--upto", "20000"], With(LAST)),
    ("remembering", &[], With(&["38 of 10000"])),
    ("farmer", &[], With(&["badcfe", "hgdednem"])),
    ("shared-data", &[], All),
    ("reduce", &["--tasks", "500", "--mw-seed", "7"], All),
    ("higher-order", &["--n", "4"], All),
];

const LAST: &[&str] = &["prime factors of 1..20000: "];

impl Says {
    fn of(&self, end: &End) -> Vec<String> {
        let lines = end.lines().into_iter();
        let mut said: Vec<String> = match self {
            All | Sorted => lines.map(str::to_owned).collect(),
            First(lines_said) => lines.take(*lines_said).map(str::to_owned).collect(),
            With(begins) => lines
                .filter(|line| begins.iter().any(|begin| line.starts_with(begin)))
                .map(str::to_owned)
                .collect(),
            Begins(begins) => lines
                .filter_map(|line| begins.iter().find(|begin| line.starts_with(**begin)))
                .map(|begin| (*begin).to_owned())
                .collect(),
        };
        if matches!(self, Sorted | With(_)) {
            said.sort_unstable();
        }
        said
    }
}

/// Some want a feature.
fn is_built(example: &str) -> bool {
    example != "higher-order" || cfg!(feature = "wasm")
}

fn args(stage: &Stage, args: &[&str]) -> Vec<String> {
    let file = stage.path("lines");
    let lines: String = (0..40).map(|n| format!("echo {n}; true\n")).collect();
    fs::write(&file, lines).expect("the folder is the test's");
    let file = file.to_str().expect("it is text");
    let place = |&arg: &&str| if arg == LINES { file } else { arg }.to_owned();
    args.iter().map(place).collect()
}

fn alone(example: &str, given: &[&str]) -> End {
    let stage = Stage::new(example);
    let args = args(&stage, given);
    let local = ["--mw-local", "2"].into_iter();
    let mut run = stage.local(local.chain(args.iter().map(String::as_str)));
    run.success()
}

fn with_slaves(example: &str, given: &[&str]) -> End {
    let stage = Stage::new(example);
    let args = args(&stage, given);
    let mut master = stage.master(args.iter().map(String::as_str));
    let _slaves: Vec<Process> = (0..4).map(|_| stage.slave(&master)).collect();
    master.success()
}

/// Two of four are killed as soon as they are slaves, and two others come.
fn under_kills(example: &str, given: &[&str]) -> End {
    let stage = Stage::new(example);
    let args = args(&stage, given);
    let mut master = stage.master(args.iter().map(String::as_str));
    let first = stage.slave(&master);
    first.slave_id();
    let more = (0..3).map(|_| stage.slave(&master));
    let slaves: Vec<Process> = [first].into_iter().chain(more).collect();
    let stay = usize::from(FIRST_STAYS.contains(&example));
    for slave in &slaves[stay..][..2] {
        // A short run may be over before this one has joined.
        wait_for(
            "a slave with a number",
            || slave.describe(),
            || (master.has_ended() || slave.words().contains(&"id")).then_some(()),
        );
        if !master.has_ended() {
            send(slave.pid(), Signal::KILL);
        }
    }
    let _more = [stage.slave(&master), stage.slave(&master)];
    master.success()
}

#[test]
fn every_example_says_the_same_alone_with_slaves_and_under_kills() {
    for (example, given, says) in EXAMPLES {
        if !is_built(example) {
            continue;
        }
        let expected = says.of(&alone(example, given));
        assert!(!expected.is_empty(), "{example} says nothing");
        let apart = says.of(&with_slaves(example, given));
        assert_eq!(apart, expected, "{example} as master and slaves");
        let killed = says.of(&under_kills(example, given));
        assert_eq!(killed, expected, "{example} under kills");
    }
}

#[test]
fn the_table_has_every_example() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest = fs::read_to_string(manifest).expect("it is this package's");
    let sections = manifest.split("[[example]]").skip(1);
    let names: Vec<String> = sections
        .filter_map(|section| Some(section.split('"').nth(1)?.to_owned()))
        .filter(|name| !name.starts_with("test-"))
        .collect();
    let table: Vec<&str> = EXAMPLES.iter().map(|row| row.0).collect();
    for name in &names {
        assert!(table.contains(&name.as_str()), "{name} is not in the table");
    }
    assert_eq!(names.len(), table.len());
}
