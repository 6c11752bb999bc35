//! Races of calls among real slaves, whose winner's slave is killed at the moment of winning, and calls that are dropped while
//! their result is on its way.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ringmw::futures::future::select_ok;
use ringmw::prelude::*;
use ringmw_codec::audit::{Event, LossCause};
use rustix::process::{Pid, Signal, kill_process};

use crate::app::{dir, lost};
use crate::process::Process;

/// Races whose winner's slave is killed as the win is told, and as it is sent.
const RACES: u64 = 5;

/// Calls that are dropped.
const DROPPED: u64 = 12;

/// A runner's number and its process. The first one that makes the file `dies` kills its own process, about when its result
/// is sent; `done` is made at the end.
#[algorithm]
pub(crate) fn sprint(n: u64, dies: &str, done: &str) -> (u64, u32) {
    let pid = std::process::id();
    let is_first = |path: &str| std::fs::File::create_new(path).is_ok();
    if !dies.is_empty() && is_first(dies) {
        thread::spawn(move || {
            thread::sleep(Duration::from_micros(n * 377 % 1_500));
            kill(pid);
        });
    }
    if !done.is_empty() {
        is_first(done);
    }
    (n, pid)
}

fn kill(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("a process has a number");
    // It may have gone.
    let _ = kill_process(pid, Signal::KILL);
}

pub(crate) async fn race(mw: &Master, folder: &Path) -> Result {
    let file = |kind: &str, n: u64| -> PathBuf { folder.join(format!("{kind}-{n}")) };
    for n in 0..2 * RACES {
        let dies = file("dies", n);
        let dies = match n < RACES {
            true => "",
            false => dies.to_str().ok_or("a plain path")?,
        };
        let runners = (0..2).map(|runner| mw.call(sprint::task(2 * n + runner, dies, "")));
        let ((winner, pid), losers) = select_ok(runners).await?;
        if n < RACES {
            // Before the driver has had another turn.
            kill(pid);
        }
        assert_eq!((winner / 2, losers.len()), (n, 1));
    }
    for n in 0..DROPPED {
        let done = file("done", n);
        let call = mw.call(sprint::task(n, "", done.to_str().ok_or("a plain path")?));
        // It is sent; then the thread is held until the result is there, or nearly.
        while !done.exists() {
            mw.poll_events().await;
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(20));
        drop(call);
        let next = mw.call(sprint::task(1_000 + n, "", "")).await?;
        assert_eq!(next.0, 1_000 + n);
    }
    while mw.runnable() > 0 {
        mw.poll_events().await;
    }
    let left = ringmw::internals::turns::kept(mw);
    assert_eq!(left, (0, 0, 0), "calls, maps and reservations are left");
    println!("{} races", 2 * RACES);
    Ok(())
}

pub(crate) fn a_winner_dies_as_it_wins(engine: &str) {
    let dir = dir();
    let folder = dir.path().to_str().expect("a plain path");
    let slaves = 2 * RACES as usize + 2;
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--mw-crash-limit",
            "0",
            "--slaves",
            &slaves.to_string(),
            "--restless",
            "race",
            "--folder",
            folder,
        ],
    );
    let address = master.address();
    let mut all: Vec<Process> = (0..slaves)
        .map(|n| Process::slave(dir.path(), &format!("slave-{n}"), &address))
        .collect();
    let (code, _) = master.exit();
    assert_eq!(code, 0, "{}{}", master.stdout(), master.stderr());
    assert!(
        master.stdout().ends_with("10 races\n"),
        "{}",
        master.stdout()
    );
    let killed = all
        .iter_mut()
        .map(|slave| slave.exit().0)
        .inspect(|code| assert!([0, 128 + 9].contains(code), "{code}"))
        .filter(|code| *code != 0)
        .count();
    assert!(
        (RACES as usize..=2 * RACES as usize).contains(&killed),
        "{killed} slaves were killed"
    );
    let events = master.events();
    for (slave, cause, _) in lost(&events) {
        let is_end = matches!(cause, LossCause::Eof | LossCause::Reset);
        assert!(is_end, "SLAVE-{slave}: {cause:?}");
    }
    let late = events
        .iter()
        .any(|event| matches!(event, Event::Late { .. }));
    assert!(
        late,
        "a result comes after its call was dropped: {events:#?}"
    );
}
