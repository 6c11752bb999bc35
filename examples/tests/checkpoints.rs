//! A long task whose slave is killed, or told to go, in the midst of it: it ends with the bits of the undisturbed one, and
//! little of it is computed again.

use std::fs;
use std::path::Path;

use ringmw_examples::{Signal, Stage, wait_for};

const STEPS: u64 = 60;

/// Steps in a checkpoint interval of a second, the one that makes the checkpoint, and one while it is under way.
const LOST_MAX: u64 = 10 + 2;

const RUN: [&str; 8] = [
    "--steps",
    "60",
    "--mw-seed",
    "7",
    "--mw-checkpoint-interval",
    "1",
    // With one slave at a time two deaths would end it.
    "--mw-crash-limit",
    "0",
];

fn computed(log: &Path) -> u64 {
    fs::metadata(log).map_or(0, |log| log.len())
}

/// The bits of the answer, and the steps that were computed, where a slave gets this signal at each of these counts.
fn walk(engine: &str, signal: Signal, at: &[u64]) -> (String, u64) {
    let stage = Stage::new("test-long-walk").with_engine(engine);
    let log = stage.path("steps");
    let log_arg = log.to_str().expect("a plain path");
    let mut master = stage.master(RUN.into_iter().chain(["--log", log_arg]));
    for &at in at {
        let mut slave = stage.slave(&master);
        let describe = || format!("{} steps, {}", computed(&log), slave.describe());
        wait_for("steps", describe, || (computed(&log) >= at).then_some(()));
        slave.send(signal);
        slave.end();
    }
    let mut last = stage.slave(&master);
    let end = master.success();
    last.end();
    (end.stdout, computed(&log))
}

#[test]
fn a_task_goes_on_where_its_slave_was_lost() {
    let (undisturbed, steps) = walk("epoll", Signal::KILL, &[]);
    assert_eq!(steps, STEPS);
    let undisturbed = &undisturbed;
    let disturbed = |engine: &'static str, signal: Signal| {
        move || {
            let (bits, steps) = walk(engine, signal, &[12, 33, 52]);
            assert_eq!(bits, *undisturbed);
            assert!(
                (STEPS..=STEPS + 3 * LOST_MAX).contains(&steps),
                "{steps} steps are computed of {STEPS}, {signal:?}, {engine}"
            );
        }
    };
    std::thread::scope(|scope| {
        for engine in ["ring", "epoll"] {
            for signal in [Signal::KILL, Signal::TERM] {
                scope.spawn(disturbed(engine, signal));
            }
        }
    });
}
