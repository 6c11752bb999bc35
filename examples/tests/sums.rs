//! Sums and counts to the last bit on real slaves: their number, the groups in which tasks travel, the cut of the work and
//! the deaths of slaves change nothing.

use ringmw_codec::audit::Event;
use ringmw_examples::{Process, Signal, Stage, wait_for};

/// Waits until the slave has given results; false if the run is over before.
fn has_given(master: &Process, slave: &Process) -> bool {
    wait_for(
        "results of a slave",
        || master.describe(),
        || {
            let trail = master.trail();
            let is_over = trail
                .iter()
                .any(|event| matches!(event, Event::Exit { .. }));
            let id = slave.trail().iter().find_map(|event| match event {
                Event::Id { slave } => Some(*slave),
                _ => None,
            });
            let gave = trail.iter().any(|event| match event {
                Event::ResultsReceived { slave, .. } | Event::Packets { slave, .. } => {
                    Some(*slave) == id
                }
                _ => false,
            });
            (is_over || gave).then_some(!is_over)
        },
    )
}

/// The master's output with so many slaves, of which this many are killed once they have given something and are replaced.
fn told(args: &[&str], group: &str, slaves: usize, kills: usize) -> String {
    let stage = Stage::new("test-sums");
    let flags = ["--mw-slave-task-group", group, "--mw-seed", "5"];
    let flags = flags.into_iter().chain(["--mw-crash-limit", "0"]);
    let mut master = stage.master(args.iter().copied().chain(flags));
    let mut all: Vec<Process> = (0..slaves).map(|_| stage.slave(&master)).collect();
    for kill in 0..kills {
        let at = kill % slaves;
        if !has_given(&master, &all[at]) {
            break;
        }
        all[at].send(Signal::KILL);
        all[at].end();
        all[at] = stage.slave(&master);
    }
    master.success().stdout
}

/// Every number of slaves with every group, some of them with kills; `terms` at group 1 are fewer, each being a packet.
fn one_bit_pattern(terms: u64, terms_alone: u64) {
    let counts = |terms: u64| ["--terms".to_owned(), terms.to_string()];
    for terms in [terms, terms_alone] {
        let args = counts(terms);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let groups = match terms == terms_alone {
            true => &["1"][..],
            false => &["7", "1000", "auto"],
        };
        let mut first = None;
        for group in groups {
            for (slaves, kills) in [(1, 0), (1, 2), (2, 1), (8, 4)] {
                let told = told(&args, group, slaves, kills);
                assert!(told.starts_with("reduced "), "{told}");
                let first = first.get_or_insert_with(|| told.clone());
                assert_eq!(
                    told, *first,
                    "{slaves} slaves, group {group}, {kills} kills"
                );
            }
        }
    }
}

#[test]
fn a_reduction_is_one_bit_pattern_on_any_slaves() {
    one_bit_pattern(20_000, 3_000);
}

#[test]
#[ignore = "ten million terms, for which it wants --release: `.ci/run machine` runs it"]
fn a_reduction_of_ten_million_terms_is_one_bit_pattern_on_any_slaves() {
    one_bit_pattern(10_000_000, 1_000_000);
}

/// What is cut into ten tasks, a thousand and a prime number of them, on one slave and on more that are killed.
#[test]
fn another_cut_changes_no_bit_of_an_exact_sum_and_no_count() {
    let (exact, events) = match cfg!(debug_assertions) {
        true => ("50000", "40000"),
        false => ("1000000", "1000000"),
    };
    let mut first = None;
    for (tasks, slaves, kills) in [("10", 1, 0), ("1000", 2, 1), ("7919", 3, 2)] {
        let args = ["--exact", exact, "--events", events, "--tasks", tasks];
        let told = told(&args, "auto", slaves, kills);
        assert_eq!(told.lines().count(), 2, "{told}");
        let first = first.get_or_insert_with(|| told.clone());
        assert_eq!(told, *first, "{tasks} tasks on {slaves} slaves");
    }
}
