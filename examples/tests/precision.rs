//! A program that saves its state is killed again and again: each next life goes on where the last state was saved, and the
//! answer is the undisturbed one, digit for digit.

use std::fs;

use ringmw_codec::audit::Event;
use ringmw_examples::{Signal, Stage, wait_for};

/// At this precision it throws a little more than 4,000,000 times, in tasks of 1,000, and saves four times.
const PRECISION: &str = "5e-4";
const SAVES: u64 = 4;
const TASKS_A_SAVE: u64 = 1_000;

/// What it says, and the results of its last life, those it knew included; a life is killed once it has saved.
fn thrown(engine: &str, kills: u64) -> (String, u64) {
    let stage = Stage::new("test-precision").with_engine(engine);
    let (journal, state) = (stage.path("journal"), stage.path("state"));
    let args = [
        "--precision",
        PRECISION,
        "--mw-seed",
        "7",
        // What was taken is told at once, not summed up by the second.
        "--mw-audit-level",
        "packets",
        "--mw-journal",
        journal.to_str().expect("a plain path"),
        "--mw-state",
        state.to_str().expect("a plain path"),
    ];
    let mut master = stage.master(args);
    let mut slaves: Vec<_> = (0..2).map(|_| stage.slave(&master)).collect();
    for _ in 0..kills {
        let before = fs::read(&state).unwrap_or_default();
        let describe = || master.describe();
        wait_for("a state that it saves", describe, || {
            let now = fs::read(&state).unwrap_or_default();
            (now != before).then_some(())
        });
        master.send(Signal::KILL);
        assert_eq!(master.end().stdout, "", "no life has finished");
        master = stage.master(args);
    }
    let end = master.success();
    let events = master.trail();
    for slave in &mut slaves {
        slave.success();
    }
    let begins = |event: &Event| matches!(event, Event::Life { .. });
    let life = events.iter().rposition(begins).expect("it has begun");
    let lives = events.iter().filter(|event| begins(event)).count() as u64;
    assert_eq!(lives, kills + 1);
    let results = events[life..].iter().map(|event| match event {
        Event::ResultsReceived { results, .. }
        | Event::Packets { results, .. }
        | Event::Known { results, .. } => *results,
        _ => 0,
    });
    (end.stdout, results.sum())
}

#[test]
fn a_saved_state_goes_on_in_the_next_life() {
    let (undisturbed, results) = thrown("epoll", 0);
    assert!(undisturbed.starts_with("0.5") || undisturbed.starts_with("0.49"));
    assert!(results > SAVES * TASKS_A_SAVE, "{results} results");
    for engine in ["ring", "epoll"] {
        let (answer, results) = thrown(engine, SAVES - 1);
        assert_eq!(answer, undisturbed, "{engine}");
        // It has begun no earlier than at the third state.
        assert!(
            results < 3 * TASKS_A_SAVE,
            "{results} results of its last life, {engine}"
        );
    }
}
