//! A task that holds its slave costs nobody else: what lies behind it is taken back, and it may be run twice.

use ringmw_codec::audit::Event;
use ringmw_examples::{Process, Stage};

/// The 40 short tasks and the long one.
const SUM: &str = "sum 1780";

fn master(stage: &Stage, args: &[&str]) -> Process {
    let folder = stage.path(".");
    let folder = folder.to_str().expect("a temporary folder's path is text");
    let mut all = vec!["--folder", folder];
    all.extend(args);
    stage.master(all)
}

fn release(stage: &Stage) {
    std::fs::write(stage.path("release"), "").expect("the stage's folder is there");
}

/// The packet of a slave that is held goes to the idle one, half by half, until nothing of it is left.
#[test]
fn what_lies_behind_a_long_task_is_taken_back() {
    for prefetch in ["on", "off"] {
        let stage = Stage::new("test-uneven");
        let group = [
            "--mw-slave-task-group",
            "100",
            "--mw-slave-prefetch",
            prefetch,
        ];
        let mut master = master(&stage, &group);
        let mut held = stage.slave(&master);
        held.wait_for("the packet", |trail| {
            let took = |event: &Event| matches!(event, Event::TasksReceived { tasks: 41, .. });
            trail.iter().any(took).then_some(())
        });
        let mut idle = stage.slave(&master);
        let back = master.wait_for("all short results", |trail| {
            let back = |event: &Event| match event {
                Event::Returned {
                    slave: 0, count, ..
                } => *count,
                _ => 0,
            };
            let results = |event: &Event| match event {
                Event::ResultsReceived {
                    slave: 1, results, ..
                }
                | Event::Packets {
                    slave: 1, results, ..
                } => *results,
                _ => 0,
            };
            let results: u64 = trail.iter().map(results).sum();
            (results == 40).then(|| trail.iter().map(back).sum::<u64>())
        });
        assert_eq!(back, 40, "each was taken back once");
        release(&stage);
        assert!(master.success().lines().contains(&SUM));
        held.success();
        idle.success();
    }
}

/// Nobody ends the first slave's task: the answer is the second's.
#[test]
fn a_straggler_is_run_twice_and_told_once() {
    let stage = Stage::new("test-uneven");
    let mut master = master(&stage, &["--first-only", "--mw-duplicate-stragglers"]);
    let mut slaves = [stage.slave(&master), stage.slave(&master)];
    assert!(master.success().lines().contains(&SUM));
    let duplicated = |event: &Event| matches!(event, Event::Duplicated { .. });
    assert_eq!(master.trail().into_iter().filter(duplicated).count(), 1);
    release(&stage);
    for slave in &mut slaves {
        slave.success();
    }
}
