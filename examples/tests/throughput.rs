//! Many tasks in little memory: `ping` through its queue of a thousand, and an endless map that is dropped.

use std::thread;
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_examples::{Process, Stage};

const GROUPS: [&str; 4] = [
    "--mw-slave-task-group",
    "100",
    "--mw-slave-result-group",
    "100",
];

/// What memory may vary by while nothing grows: buffers of the allocator and of the connections.
const SLACK_BYTES: u64 = 4 << 20;

/// Enough to see growth, few enough for a debug build.
const TASKS: u64 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

/// The process's resident memory from time to time, until it ends.
fn watch_memory(process: &mut Process) -> Vec<u64> {
    let mut samples = Vec::new();
    while !process.has_ended() {
        samples.extend(process.resident_bytes());
        thread::sleep(Duration::from_millis(5));
    }
    samples
}

/// The most from a fifth of the time on is no more than what was in use then.
fn is_flat(samples: &[u64]) {
    let (first, rest) = samples.split_at((samples.len() / 5).max(1));
    let (early, late) = (first.iter().max(), rest.iter().max().or(first.last()));
    let (early, late) = (early.expect("a sample"), late.expect("a sample"));
    assert!(
        late.saturating_sub(*early) < SLACK_BYTES,
        "it grew from {early} to {late} bytes: {samples:?}"
    );
}

fn results(trail: &[Event]) -> u64 {
    trail
        .iter()
        .map(|event| match event {
            Event::ResultsReceived { results, .. } | Event::Packets { results, .. } => *results,
            _ => 0,
        })
        .sum()
}

#[test]
fn ping_keeps_its_queue_and_its_memory() {
    let stage = Stage::new("ping");
    let tasks = TASKS.to_string();
    let mut master = stage.master(GROUPS.into_iter().chain(["--tasks", &tasks]));
    let mut slaves = [stage.slave(&master), stage.slave(&master)];
    is_flat(&watch_memory(&mut master));
    let end = master.success();
    assert_eq!(
        end.lines()[0],
        format!("{TASKS} of {TASKS} answered ping-ok")
    );
    let above = end.lines()[2]
        .rsplit(' ')
        .nth(3)
        .and_then(|n| n.parse::<u64>().ok());
    assert!(above.is_some_and(|above| above <= 100), "{end:?}");
    assert_eq!(
        results(&master.trail()),
        TASKS,
        "the trail sums up to all results"
    );
    for slave in &mut slaves {
        slave.success();
    }
}

#[test]
fn an_endless_map_runs_in_constant_memory_and_accounts_for_everything() {
    let stage = Stage::new("test-endless");
    let tasks = TASKS.to_string();
    let mut master = stage.master(GROUPS.into_iter().chain(["--results", &tasks]));
    let mut slaves = [stage.slave(&master), stage.slave(&master)];
    is_flat(&watch_memory(&mut master));
    let end = master.success();
    let number = |at| {
        end.lines()[0]
            .split(' ')
            .nth(at)
            .and_then(|n: &str| n.parse::<u64>().ok())
            .expect("a number")
    };
    let (submitted, taken, runnable) = (number(1), number(3), number(7));
    assert_eq!((taken, runnable), (TASKS, 0));
    assert!(submitted - taken < 10_000, "the window is bounded: {end:?}");
    assert_eq!(end.lines()[1], "then 12");
    for slave in &mut slaves {
        slave.success();
    }
    // Each one of them was told: taken, ready when the map was dropped, or cancelled then; one more is the call.
    let trail = master.trail();
    let cancelled: u64 = trail
        .iter()
        .map(|event| {
            if let Event::Cancelled { tasks } = event {
                *tasks
            } else {
                0
            }
        })
        .sum();
    let late: u64 = trail
        .iter()
        .map(|event| {
            if let Event::Late { results, .. } = event {
                *results
            } else {
                0
            }
        })
        .sum();
    let ready = (submitted + 1)
        .checked_sub(taken + 1 + cancelled)
        .expect("no more than were submitted");
    assert_eq!(results(&trail), taken + 1 + ready + late, "{}", end.stdout);
    assert!(
        !trail
            .iter()
            .any(|event| matches!(event, Event::Left { .. }))
    );
}
