//! What tasks of real slaves log, at their master.

use ringmw::prelude::*;
use rustix::process::Signal;

use crate::app::{assert_exit_line, dir};
use crate::process::Process;
use crate::support::until;

/// Lines of a task that floods.
const FLOOD: u64 = 5_000;

/// Logs so many lines.
#[algorithm]
pub(crate) fn shout(lines: u64) -> u64 {
    tracing::debug!("nobody asks for this");
    for n in 0..lines {
        tracing::warn!(n, "shouts");
    }
    tracing::info!(lines, "has \u{1b}[2Jshouted\nthem all");
    lines
}

/// Some lines, a flood, and one more.
pub(crate) async fn shouts(mw: &Master) -> Result {
    for lines in [2, FLOOD, 1] {
        mw.call(shout::task(lines)).await?;
    }
    std::future::pending().await
}

/// Lines of the flooding slave that were shown, and that it says it has left out.
fn shown(stderr: &str) -> (u64, u64) {
    let lines = stderr.lines().filter(|line| line.contains(": SLAVE-0 at "));
    lines.fold((0, 0), |(shown, left_out), line| {
        let told = line.strip_suffix(" a second of each").map(|line| {
            let (before, _) = line.split_once(" lines of its log left out").unwrap();
            before.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        });
        match told {
            Some(told) => (shown, left_out + told),
            None => (shown + 1, left_out),
        }
    })
}

/// Each line is shown, with slave, host and task, or counted; in the trail there is none.
pub(crate) fn what_slaves_log_is_shown(engine: &str) {
    let dir = dir();
    let args = [
        "--slaves",
        "1",
        "--restless",
        "shouts",
        "--mw-forward-log",
        "info",
        "--mw-engine",
        engine,
    ];
    let mut master = Process::master(dir.path(), &args);
    let address = master.address();
    let _slave = Process::slave(dir.path(), "slave", &address);
    // Two and one and the flood, and a line for each of three tasks.
    let stderr = until("all lines to be shown or counted", || {
        let stderr = master.stderr();
        let (shown, left_out) = shown(&stderr);
        assert!(shown + left_out <= FLOOD + 6, "{stderr}");
        (shown + left_out == FLOOD + 6).then_some(stderr)
    });
    let (shown, left_out) = shown(&stderr);
    assert!(shown >= 6 && left_out > FLOOD / 2, "{shown} {left_out}");
    let first = stderr
        .lines()
        .find(|line| line.contains("SLAVE-0"))
        .unwrap();
    assert!(first.contains(", TASK-"), "{first}");
    assert!(
        first.contains(": warn: processes::logging: shouts n=0"),
        "{first}"
    );
    let escaped = "info: processes::logging: has \\u{1b}[2Jshouted / them all lines=2";
    assert!(stderr.contains(escaped), "{stderr}");
    assert!(!stderr.contains("nobody asks"), "{stderr}");
    let trail = format!("{:?}", master.events());
    assert!(!trail.contains("shouted"), "{trail}");
    master.signal(Signal::USR2);
    master.expect_exit(0);
    assert_exit_line(&master, 0);
}
