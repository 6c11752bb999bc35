//! The family's programs: what their pages promise, alone, with slaves of their own, and under kills.

// Cargo runs the tests of an example only if it does not also build it.
#[allow(dead_code)]
#[path = "../conversation.rs"]
mod conversation;
#[allow(dead_code)]
#[path = "../primes/master-slave.rs"]
mod master_slave;
#[allow(dead_code)]
#[path = "../tests-apps/steer.rs"]
mod steer;
#[allow(dead_code)]
#[path = "../primes/work-pushing.rs"]
mod work_pushing;
#[allow(dead_code)]
#[path = "../primes/work-stealing.rs"]
mod work_stealing;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, World};
use ringmw_examples::{End, Process, Signal, Stage, send};

/// The sum of the prime factors of 1..=upto, by a sieve.
fn sum_of_factors(upto: usize) -> u64 {
    let mut smallest: Vec<usize> = (0..=upto).collect();
    for divisor in 2..=upto {
        for multiple in (divisor..=upto).step_by(divisor) {
            if smallest[multiple] == multiple {
                smallest[multiple] = divisor;
            }
        }
    }
    let sum = |mut n: usize| {
        let mut sum = 0;
        while n > 1 {
            sum += smallest[n] as u64;
            n /= smallest[n];
        }
        sum
    };
    (1..=upto).map(sum).sum()
}

fn local(example: &str, args: &[&str]) -> End {
    let all = ["--mw-local", "2"].iter().chain(args).copied();
    Stage::new(example).local(all).success()
}

/// A master and three slaves, of which two are killed once they have begun.
fn under_kills(example: &str, args: &[&str]) -> End {
    let stage = Stage::new(example);
    let mut master = stage.master(args.iter().copied());
    let slaves: Vec<Process> = (0..3).map(|_| stage.slave(&master)).collect();
    for slave in &slaves[..2] {
        slave.slave_id();
        send(slave.pid(), Signal::KILL);
    }
    let _more = [stage.slave(&master), stage.slave(&master)];
    master.success()
}

const PATTERNS: [&str; 3] = [
    "primes-master-slave",
    "primes-work-pushing",
    "primes-work-stealing",
];

#[test]
fn the_three_patterns_agree_with_a_sieve() {
    let upto = 60_000;
    let expected = format!("prime factors of 1..{upto}: {}", sum_of_factors(upto));
    for example in PATTERNS {
        let end = local(example, &["--upto", &upto.to_string()]);
        assert_eq!(end.lines().last(), Some(&expected.as_str()), "{example}");
        let end = under_kills(example, &["--upto", &upto.to_string()]);
        assert_eq!(
            end.lines().last(),
            Some(&expected.as_str()),
            "{example} under kills"
        );
    }
}

/// One pattern in the simulated world, whose slaves come and go.
fn in_the_world<F: Future<Output = Result<u64>> + 'static>(
    name: &str,
    app: fn() -> App,
    sum: impl Fn(Master) -> F + Copy + 'static,
    expected: u64,
) {
    let mut lost = 0;
    for seed in 0..20 {
        let told = Rc::new(Cell::new(None));
        let into = Rc::clone(&told);
        let app = app().master(async move |mw: Master, _: Args| -> Result {
            into.set(Some(sum(mw).await?));
            Ok(())
        });
        let report = World::new(seed)
            .slaves(4)
            .churn(Churn::every(Duration::from_millis(200)))
            .args(["--mw-crash-limit", "0", "--mw-client-timeout", "3"])
            .patience(Duration::from_secs(3_600))
            .run(app);
        assert_eq!(report.code, 0, "{name}, seed {seed}: {report:?}");
        assert_eq!(told.take(), Some(expected), "{name}, seed {seed}");
        lost += report.lost;
    }
    assert!(lost > 20, "{name}: {lost} slaves were lost");
}

#[test]
fn the_three_patterns_agree_under_churn() {
    const UPTO: u64 = 30_000;
    let expected = sum_of_factors(UPTO as usize);
    in_the_world(
        "master-slave",
        master_slave::app,
        |mw| async move { master_slave::sum(&mw, UPTO).await },
        expected,
    );
    in_the_world(
        "work-pushing",
        work_pushing::app,
        |mw| async move { work_pushing::sum(&mw, UPTO, 2).await },
        expected,
    );
    in_the_world(
        "work-stealing",
        work_stealing::app,
        |mw| async move { work_stealing::sum(&mw, UPTO).await },
        expected,
    );
}

#[test]
fn slaves_remember() {
    let end = local("remembering", &[]);
    let expected = [
        "uniqID: 1",
        "uniqID: 2",
        "other: 1",
        "uniqID: 3",
        "38 of 10000 multiples of seven are squares",
        "one slave answered many questions of one database",
    ];
    assert_eq!(end.lines(), expected);
}

#[test]
fn a_search_reports_and_is_steered() {
    // The deepest of thousands of hollows.
    let lowest = |end: End| {
        let line = end.lines()[0].to_owned();
        assert!(line.ends_with("at 1.00 1.00"), "{line}");
    };
    lowest(local("conversation", &["--mw-seed", "7"]));
    lowest(under_kills(
        "conversation",
        &["--mw-seed", "7", "--reports", "60"],
    ));
}

#[test]
fn two_searches_are_steered_at_once() {
    let end = local("test-steer", &[]);
    assert_eq!(end.lines(), ["both stopped: true", "cooler than 0.9: true"]);
}

#[test]
fn a_task_has_two_ports() {
    let slaves = ["--mw-local", "5", "--mw-slave-label", "gpu"];
    let end = Stage::new("test-dpfw").local(slaves).success();
    let expected = [
        "Some(Said(\"HELLO\"))",
        "Some(Said(\"BYE\"))",
        "2",
        "true 4",
    ];
    assert_eq!(end.lines(), expected);
}

#[test]
fn what_fails_in_the_middle_is_made_good() {
    let end = local("farmer", &[]);
    assert_eq!((end.lines()[0], end.lines()[2]), ("badcfe", "hgdednem"));
    assert!(end.lines()[1].contains("it does not parse"), "{end:?}");
}

/// An error of the application's own choice holds what became of a task, and ends the master with its text.
#[test]
fn a_farmer_recovers_by_an_error_type_of_its_own() {
    let end = Stage::new("test-farmer").local(["--mw-local", "2"]).end();
    let lines = end.lines();
    assert!(
        lines[0].starts_with("made good: ") && lines[0].contains("it does not parse"),
        "{end:?}"
    );
    assert_eq!((lines[1], lines.len()), ("xy 1 4 5", 2), "{end:?}");
    assert_eq!(end.code, Some(255), "{end:?}");
    assert!(end.stderr.contains("it does not parse"), "{end:?}");
}

#[test]
fn shared_data_arrives_from_memory_and_from_a_file_and_under_kills() {
    let told: BTreeSet<String> = [&["--mw-local", "2"][..], &["--mw-local", "3"]]
        .into_iter()
        .map(|args| {
            Stage::new("shared-data")
                .local(args.iter().copied())
                .success()
                .stdout
        })
        .chain([under_kills("shared-data", &[]).stdout])
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told.first()
            .unwrap()
            .ends_with(" of 50000 words have an anagram\n"),
        "{told:?}"
    );

    let stage = Stage::new("shared-data");
    let file = stage.path("words");
    std::fs::write(&file, "ab\nba\nabc\ncba\nbac\nx").unwrap();
    let args = ["--mw-local", "2", "--file", file.to_str().unwrap()];
    let end = stage.local(args).success();
    assert_eq!(end.lines(), ["5 of 6 words have an anagram"]);
}

#[test]
fn a_sum_of_floats_has_the_same_bits_everywhere() {
    let seed = ["--mw-seed", "7", "--tasks", "3000"];
    let runs = [
        Stage::new("reduce")
            .local(seed.iter().copied().chain(["--mw-local", "1"]))
            .success()
            .stdout,
        Stage::new("reduce")
            .local(
                seed.iter()
                    .copied()
                    .chain(["--mw-local", "3", "--mw-slave-task-group", "7"]),
            )
            .success()
            .stdout,
        under_kills("reduce", &seed).stdout,
    ];
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
}

#[cfg(feature = "wasm")]
#[test]
fn ten_functions_travel() {
    let end = local("higher-order", &["--n", "10"]);
    let answers = [11, 9, 20, 100, 1_000, 3, 3, 1_024, 2, 3_628_800];
    let expected: Vec<_> = (0..)
        .zip(answers)
        .map(|(nth, answer)| format!("function {nth} of 10: {answer}"))
        .collect();
    assert_eq!(end.lines(), expected);
}
