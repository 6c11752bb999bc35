//! Ten questions that operators have, as `ringmw why` asks them: each answer says what there is to know, in one screen of
//! 24 lines of 80 columns.

#[path = "support/core.rs"]
#[allow(dead_code)]
mod rig;
mod support;

use rig::{CLIENT_TIMEOUT, Rig, hello};
use ringmw::Group;
use ringmw::internals::proto::SECOND;
use ringmw_sched::SlaveId;
use support::{hello_frame, result};

/// What a terminal of the usual size shows.
const LINES_MAX: usize = 24;
const COLUMNS: usize = 80;

fn rig() -> Rig {
    let mut rig = Rig::new();
    rig.core.remember();
    rig
}

/// The answer has all of these words, and is one screen.
fn answers(rig: &Rig, about: &str, words: &[&str]) {
    let told = rig.core.why(about);
    let mut lines = told.lines.clone();
    lines.extend(told.error);
    let text = lines.join("\n");
    for word in words {
        assert!(text.contains(word), "{about}: no {word:?} in\n{text}");
    }
    let rows: usize = lines
        .iter()
        .map(|line| line.chars().count().div_ceil(COLUMNS).max(1))
        .sum();
    assert!(rows <= LINES_MAX, "{about}: {rows} rows\n{text}");
}

#[test]
fn why_does_my_task_wait_though_nobody_is_there() {
    let mut rig = rig();
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Unordered, 3));
    });
    rig.submit(1);
    rig.submit(2);
    rig.pass(5 * SECOND);
    let words = [
        "waits in the master's queue",
        "5.0 s ago",
        "1 task",
        "no slave is connected; 3 are desired",
    ];
    answers(&rig, "TASK-1", &words);
}

#[test]
fn why_do_no_slaves_come() {
    let mut rig = rig();
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Unordered, 2));
    });
    rig.submit(1);
    let conn = rig.dial();
    let mut other = hello();
    other.fingerprint.app_version = "0.9".into();
    rig.say(conn, &hello_frame(&other));
    rig.pass(SECOND);
    // Asked of the task, and of the host that sends them.
    answers(
        &rig,
        "TASK-0",
        &["1 connection was refused so far", "node", "0.9"],
    );
    answers(&rig, "node", &["was refused 1.0 s ago", "0.9"]);
}

#[test]
fn why_does_my_task_wait_though_slaves_are_there() {
    let mut rig = rig();
    rig.join();
    for number in 0..40 {
        rig.submit(number);
    }
    rig.pass(2 * SECOND);
    let words = [
        "waits in the master's queue",
        "1 slave is busy",
        "the longest at its task is SLAVE-0, for 2.",
    ];
    answers(&rig, "TASK-39", &words);
}

#[test]
fn why_does_a_task_for_one_slave_wait() {
    let mut rig = rig();
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Ordered, 1));
    });
    rig.join();
    for number in 0..40 {
        rig.submit_to(number, Some(SlaveId(0)));
    }
    rig.pass(SECOND);
    answers(
        &rig,
        "TASK-39",
        &[
            "it is for SLAVE-0 alone",
            "before it",
            "; ordered, here for",
        ],
    );
}

#[test]
fn where_is_my_task_and_since_when() {
    let mut rig = rig();
    rig.join();
    rig.submit(7);
    rig.pass(3 * SECOND);
    answers(
        &rig,
        "task-0",
        &[
            "runs on SLAVE-0, handed out 3.0 s ago",
            "square",
            "SLAVE-0 on node",
        ],
    );
}

#[test]
fn what_became_of_my_task() {
    let mut rig = rig();
    let conn = rig.join();
    rig.submit(7);
    let given = rig.given(conn);
    rig.pass(2 * SECOND);
    rig.say(conn, &result(&given[0], 49));
    rig.pass(SECOND);
    answers(
        &rig,
        "TASK-0",
        &[
            "has ended with a result, 1.0 s ago",
            "SLAVE-0 on node computed it",
        ],
    );
    answers(
        &rig,
        "TASK-9",
        &["there was no TASK-9 yet: 1 task was submitted so far"],
    );
}

#[test]
fn why_is_my_task_unrunnable() {
    let mut rig = rig();
    rig.submit_to(7, Some(SlaveId(5)));
    rig.pass(SECOND);
    answers(&rig, "TASK-0", &["is unrunnable", "1.0 s ago"]);
}

#[test]
fn why_was_my_slave_dropped() {
    let mut rig = rig();
    let conn = rig.join();
    rig.submit(7);
    // It is unplugged: nothing is heard of it.
    rig.pass(CLIENT_TIMEOUT + 3 * SECOND);
    assert!(rig.is_closed(conn));
    let words = [
        "SLAVE-0 on node was lost",
        "1 task of it went to other slaves",
        "gave 0 results",
    ];
    answers(&rig, "SLAVE-0", &words);
    // And its task, which waits again.
    answers(&rig, "TASK-0", &["waits in the master's queue"]);
    answers(
        &rig,
        "SLAVE-9",
        &["there was no SLAVE-9 yet: 1 slave came so far"],
    );
}

#[test]
fn why_does_a_slave_get_no_work() {
    let mut rig = rig();
    rig.turn(0, |core| {
        core.with_sched(|sched| sched.allocate(Group::Ordered, 1));
    });
    rig.join();
    rig.pass(SECOND);
    answers(&rig, "SLAVE-0", &["is idle", "nothing is queued"]);
    rig.submit(1);
    rig.pass(SECOND);
    answers(
        &rig,
        "SLAVE-0",
        &["1 task queued, but it takes those addressed to it alone"],
    );
    answers(
        &rig,
        "TASK-0",
        &["1 slave is ordered: they take no unordered tasks"],
    );
}

#[test]
fn what_is_the_matter_with_a_host() {
    let mut rig = rig();
    let conns: Vec<_> = (0..40).map(|_| rig.join()).collect();
    for conn in &conns[..20] {
        rig.end(*conn);
    }
    rig.pass(SECOND);
    answers(
        &rig,
        "node",
        &[
            "20 slaves are here, 20 lost so far",
            "and 12 more",
            "was lost 1.0 s ago",
        ],
    );
    answers(
        &rig,
        "node7",
        &["no slave has come from a host of the name \"node7\""],
    );
}
