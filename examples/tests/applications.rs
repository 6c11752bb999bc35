//! The other examples, and what their pages promise.

use std::thread;
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_examples::{Process, Signal, Stage};

#[test]
fn argument_processing_tells_slaves_the_users_arguments() {
    let run = |args: &[&str]| {
        Stage::new("argument-processing")
            .local(args.iter().copied())
            .success()
    };
    let end = run(&["--mw-local", "2"]);
    let about = |subject| {
        [
            format!("{subject} work."),
            format!("{subject} give tasks and results."),
            format!("{subject} give?"),
        ]
    };
    assert_eq!(end.lines(), [about("masters"), about("slaves")].concat());
    let end = run(&["--shout", "--times", "2", "--mw-local", "1", "cranes"]);
    assert_eq!(end.lines()[0], "CRANES WORK. CRANES WORK.");
    assert_eq!(end.lines().len(), 3);
}

#[test]
fn argument_processing_has_help_and_exit_code_2_from_clap() {
    let end = Stage::new("argument-processing")
        .local(["--help", "--mw-local", "1"])
        .end();
    assert!(
        end.code == Some(0) && end.stdout.contains("--shout"),
        "{end:?}"
    );
    let end = Stage::new("argument-processing")
        .local(["--whisper", "--mw-local", "1"])
        .end();
    assert!(
        end.code == Some(2) && end.stderr.contains("--whisper"),
        "{end:?}"
    );
}

#[test]
fn with_task_policy_shows_tags_streams_and_what_cannot_run() {
    let end = Stage::new("with-task-policy")
        .local(["--mw-local", "2"])
        .success();
    let told = |line: &str| {
        assert!(
            end.lines().iter().any(|told| told.starts_with(line)),
            "{line} is not in {end:?}"
        )
    };
    told("Small: the squares add up to 30");
    told("Large: the squares add up to 52030");
    told("streams 7, 8, 7, 8 throw the same twice: true");
    told("square is unrunnable: there is no SLAVE-4000000000");
    told("square gave 144");
    told("square gave 169");
    told("fall is unrunnable: SLAVE-");
}

/// A slave that runs for a moment at a time, so that it is killed with its first tasks in hand.
#[test]
fn with_task_policy_is_done_whoever_is_lost() {
    for _ in 0..10 {
        let stage = Stage::new("with-task-policy");
        let mut master = stage.master([]);
        let first = stage.slave(&master);
        master.wait_for("tasks that were sent", |trail| {
            if trail.iter().any(|event| event.word() == "tasks-sent") {
                return Some(());
            }
            first.send(Signal::CONT);
            thread::sleep(Duration::from_micros(300));
            first.send(Signal::STOP);
            None
        });
        first.send(Signal::KILL);
        let _more = [stage.slave(&master), stage.slave(&master)];
        let end = master.success();
        for line in [
            "Small: the squares add up to 30",
            "Large: the squares add up to 52030",
            "streams 7, 8, 7, 8 throw the same twice: true",
        ] {
            assert!(end.lines().contains(&line), "{line} is not in {end:?}");
        }
    }
}

#[test]
fn ordered_rebuilds_the_shard_of_the_slave_that_died() {
    let mut run = Stage::new("ordered").local(["--ordered", "2", "--mw-local", "4"]);
    let end = run.success();
    let told = |line: &str| assert!(end.lines().contains(&line), "{line} is not in {end:?}");
    for (below, primes) in [
        (1_000, 168),
        (10_000, 1_229),
        (100_000, 9_592),
        (500_000, 41_538),
        (1_000_000, 78_498),
    ] {
        told(&format!("{primes} primes below {below}"));
    }
    told("78498 counted without a table");
    let count = |part: &str| {
        end.lines()
            .iter()
            .filter(|line| line.contains(part))
            .count()
    };
    assert_eq!(count(" is lost, and shard "), 1);
    assert_eq!(count("(intermingle) builds shard"), 1);
    assert_eq!(count("(ordered) builds shard"), 3, "two, and one again");
    assert_eq!(count("die is unrunnable: its slave SLAVE-"), 1);
    let restarts = run
        .words()
        .iter()
        .filter(|word| **word == "child-started")
        .count();
    assert!(restarts >= 4, "{}", run.describe());
}

#[test]
fn search_finds_the_shortest_rulers() {
    for (marks, length) in [("2", 1), ("5", 11), ("8", 34)] {
        let end = Stage::new("search")
            .local(["--marks", marks, "--mw-local", "2"])
            .success();
        assert_eq!(
            end.lines()[0],
            format!("the shortest Golomb ruler with {marks} marks is {length} long")
        );
        let ruler: Vec<u32> = end.lines()[1]
            .trim_matches(['[', ']'])
            .split(", ")
            .map(|mark| mark.parse().expect("a mark"))
            .collect();
        check_ruler(&ruler, marks.parse().expect("a number"), length);
    }
    let end = Stage::new("search")
        .local(["--marks", "99", "--mw-local", "1"])
        .end();
    assert!(
        end.code == Some(255) && end.stderr.contains("--marks: 99"),
        "{end:?}"
    );
}

fn check_ruler(ruler: &[u32], marks: usize, length: u32) {
    assert_eq!(
        (ruler.len(), ruler[0], ruler[marks - 1]),
        (marks, 0, length),
        "{ruler:?}"
    );
    let mut distances: Vec<_> = ruler
        .iter()
        .enumerate()
        .flat_map(|(at, high)| ruler[..at].iter().map(move |low| high - low))
        .collect();
    distances.sort_unstable();
    assert!(
        distances.is_sorted_by(|a, b| a < b),
        "{ruler:?} measures a distance twice"
    );
}

/// The bound that others were told has its solution in the master, whatever becomes of the slave that found it.
#[test]
fn a_search_keeps_the_solution_of_a_slave_that_dies_after_its_offer() {
    let stage = Stage::new("test-lingering-search");
    let mut master = stage.master([]);
    let mut slaves: Vec<_> = (0..2).map(|_| stage.slave(&master)).collect();
    let ids: Vec<_> = slaves.iter().map(Process::slave_id).collect();
    // The image of a key of an unsigned type narrower than 64 bits is one more than the key.
    let finder = master.wait_for("the offer of the shortest ruler", |trail| {
        trail.iter().find_map(|event| match event {
            Event::Best { key: 35, slave, .. } => *slave,
            _ => None,
        })
    });
    let at = ids
        .iter()
        .position(|id| *id == finder)
        .expect("one of the two");
    slaves[at].send(Signal::KILL);
    let recycled = master.wait_for("its loss", |trail| {
        trail.iter().find_map(|event| match event {
            Event::Lost {
                slave, recycled, ..
            } if *slave == finder => Some(*recycled),
            _ => None,
        })
    });
    assert!(recycled > 0, "the task that found it had no result yet");
    let end = master.success();
    assert_eq!(end.lines(), ["34 Some([0, 1, 4, 9, 15, 22, 32, 34])"]);
    slaves[1 - at].success();
}

#[test]
fn collatz_finds_the_longest_chain() {
    let end = Stage::new("collatz").local(["100000"]).success();
    assert_eq!(
        end.lines(),
        ["77031 has the longest chain below 100000: 351 numbers"]
    );
}
