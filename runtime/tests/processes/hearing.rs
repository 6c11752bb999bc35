//! A slave hears while it computes, however short its tasks; and its loops return when they say.

use ringmw_codec::audit::Event;
use ringmw_codec::batch::ResultBatchView;
use ringmw_codec::control::{Recall, Returned, Shutdown, Withdraw, Withdrawn};
use ringmw_codec::frame::Kind;

use crate::app::{assert_exit_line, dir, naps, numbered_naps};
use crate::leaving::played_master;
use crate::support::until;

/// Tasks in one packet, of 10 ms each: a slave that heard at its end alone would take seconds.
const TASKS: u64 = 400;

/// Nobody read while one short task followed the other: a recall got nothing, a withdrawal crossed its result, and a
/// shutdown was heard after the last task.
pub(crate) fn a_slave_hears_between_short_tasks() {
    let dir = dir();
    let (mut master, mut slave) = played_master(dir.path(), 1, None);
    let mut payload = Vec::new();
    master.say(&naps(&[10; TASKS as usize]));
    master.await_kind(Kind::Results);

    Recall { tasks: 100 }.encode(&mut payload);
    master.send(Kind::Recall, &payload);
    let returned = Returned::decode(&master.await_kind(Kind::Returned)).unwrap();
    let last_ones: Vec<u64> = (TASKS - 100..TASKS).rev().collect();
    assert_eq!(returned.tasks, last_ones, "none of them has begun");

    payload.clear();
    let task = TASKS - 101;
    Withdraw { tasks: vec![task] }.encode(&mut payload);
    master.send(Kind::Withdraw, &payload);
    let withdrawn = Withdrawn::decode(&master.await_kind(Kind::Withdrawn)).unwrap();
    assert_eq!(withdrawn.tasks, [(task, false)]);

    payload.clear();
    Shutdown { finished: true }.encode(&mut payload);
    master.send(Kind::Shutdown, &payload);
    let mut results = 1;
    while let Some((kind, payload)) = master.hear() {
        if kind == Kind::Results {
            results += ResultBatchView::decode(&payload).unwrap().tasks();
        }
    }
    slave.expect_exit(0);
    assert_exit_line(&slave, 0);
    assert!(
        results < TASKS - 101,
        "{results} of its tasks were waited for"
    );
}

/// One group was whatever was in hand, and a loop waited for ever for a first task.
pub(crate) fn a_slaves_loops_say_what_they_did() {
    let dir = dir();
    let (mut master, mut slave) = played_master(dir.path(), 10, Some("groups"));
    until("two loops to have found nothing", || {
        (slave.stdout().matches("nothing").count() == 2).then_some(())
    });
    // In one write, so that all are in hand when the first begins.
    let packets = [
        naps(&[0; 3]),
        numbered_naps(3, &[0; 4]),
        numbered_naps(7, &[0; 5]),
    ];
    master.say(&packets.concat());
    master.await_kind(Kind::Results);
    until("all to be computed", || {
        (slave.stdout().matches("group").count() >= 6).then_some(())
    });
    let mut payload = Vec::new();
    Shutdown { finished: true }.encode(&mut payload);
    master.send(Kind::Shutdown, &payload);
    // It returns 0, and was told so.
    slave.expect_exit(0);
    let report = |how: &str, completed, queued, over: bool| {
        format!(
            "{how} LoopReport {{ master_disconnect: false, explicit_shutdown: {over}, total_results_completed: {completed}, tasks_queued: {queued}, results_waiting: "
        )
    };
    let stdout = slave.stdout();
    let lines: Vec<&str> = stdout.lines().collect();
    let expected = [
        r#"mine ["own"], the master's ["an argument"]"#.to_owned(),
        report("nothing", 0, 0, false),
        report("nothing", 0, 0, false),
        report("group", 3, 9, false),
        report("group", 7, 5, false),
        report("task", 8, 4, false),
        report("task", 9, 3, false),
        report("group", 12, 0, false),
        report("over", 12, 0, true),
    ];
    assert_eq!(lines.len(), expected.len(), "{stdout}");
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line} is not {expected}");
        assert!(
            line.starts_with("mine") || line.ends_with("result_grouping: 10 }"),
            "{line}"
        );
    }
    let waiting: Vec<u64> = lines[1..8]
        .iter()
        .map(|line| {
            let (_, rest) = line.split_once("results_waiting: ").unwrap();
            rest.split(',').next().unwrap().parse().unwrap()
        })
        .collect();
    // What has waited for 100 ms leaves, on a slow machine too.
    assert!(
        waiting
            .iter()
            .zip([0, 0, 3, 7, 8, 9, 0])
            .all(|(got, most)| *got <= most),
        "{waiting:?}"
    );
    let events = slave.events();
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::MasterShutdown { finished: true }))
    );
}
