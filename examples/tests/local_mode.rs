//! Local mode's processes: replaced when they die, and none left behind however the master ends.

use ringmw_codec::audit::Event;
use ringmw_examples::{Process, Signal, Stage, is_running, send, wait_for};

/// Longer than any test takes; those that need an end choose it themselves.
const FOREVER: [&str; 4] = ["--max-trial-sets", "1000000000", "--mw-local", "2"];

fn children(trail: &[Event]) -> Vec<u32> {
    let started = |event: &Event| {
        if let Event::ChildStarted { pid, .. } = event {
            Some(*pid)
        } else {
            None
        }
    };
    trail.iter().filter_map(started).collect()
}

/// Two slaves that have been given tasks.
fn two_busy_slaves(run: &Process) -> Vec<u32> {
    run.wait_for("two slaves with tasks", |trail| {
        let busy = trail
            .iter()
            .filter(|event| matches!(event, Event::TasksSent { .. }))
            .count();
        let pids = children(trail);
        (pids.len() == 2 && busy >= 2).then_some(pids)
    })
}

fn wait_until_gone(pids: &[u32]) {
    wait_for(
        "slaves that end with their master",
        || format!("{pids:?}"),
        || pids.iter().all(|pid| !is_running(*pid)).then_some(()),
    );
}

#[test]
fn a_slave_that_is_killed_is_replaced_and_the_digits_are_the_same() {
    // So many that the run outlasts a slave's death and the start of another.
    let sets = if cfg!(debug_assertions) { "12" } else { "1000" };
    let args = [
        "--max-trial-sets",
        sets,
        "--mw-seed",
        "11",
        "--mw-local",
        "2",
    ];
    let mut undisturbed = Stage::new("monte-carlo-pi").local(args);
    let mut run = Stage::new("monte-carlo-pi").local(args);
    let pids = two_busy_slaves(&run);
    send(pids[0], Signal::KILL);
    run.wait_for("another slave in its place", |trail| {
        (children(trail).len() > 2).then_some(())
    });
    assert_eq!(
        run.success().lines()[..2],
        undisturbed.success().lines()[..2]
    );
    let trail = run.trail();
    let ended = trail.iter().find_map(|event| match event {
        Event::ChildEnded { status, .. } => Some(status.clone()),
        _ => None,
    });
    assert!(
        ended
            .as_ref()
            .is_some_and(|status| status.contains("SIGKILL")),
        "{ended:?}"
    );
    assert!(
        trail
            .iter()
            .any(|event| matches!(event, Event::Lost { recycled: 1.., .. }))
    );
    wait_until_gone(&children(&trail));
}

#[test]
fn an_interrupt_ends_everything_with_130() {
    let mut run = Stage::new("monte-carlo-pi").local(FOREVER);
    let pids = two_busy_slaves(&run);
    run.send(Signal::INT);
    let end = run.end();
    assert_eq!(end.code, Some(130), "{end:?}");
    assert!(
        pids.iter().all(|pid| !is_running(*pid)),
        "the master leaves no slave behind"
    );
    let trail = run.trail();
    assert!(
        trail
            .iter()
            .any(|event| matches!(event, Event::Signal { name } if name == "SIGINT"))
    );
    assert!(trail.iter().any(|event| matches!(
        event,
        Event::ShutdownBegun {
            finished: false,
            ..
        }
    )));
}

#[test]
fn nothing_is_left_when_the_master_is_killed() {
    let mut run = Stage::new("monte-carlo-pi").local(FOREVER);
    let pids = two_busy_slaves(&run);
    run.send(Signal::KILL);
    assert_eq!(run.end().signal, Some(9));
    wait_until_gone(&pids);
}
