//! Masters that are killed and started again, and one that is stopped while its successor runs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringmw_codec::audit::Event;
use rustix::process::Signal;

use crate::app::{count, dir};
use crate::process::Process;
use crate::support::until;

/// Tasks of each of the three maps.
const TASKS: u64 = 1_000;

/// Times that the master is killed.
const KILLS: u64 = 5;

fn args<'a>(engine: &'a str, journal: &'a str, tasks: &'a str) -> Vec<&'a str> {
    vec![
        "--mw-engine",
        engine,
        "--mw-journal",
        journal,
        "--mw-seed",
        "42",
        // What was taken is told at once, not summed up by the second.
        "--mw-audit-level",
        "packets",
        "--slaves",
        "0",
        "--outlive",
        tasks,
    ]
}

fn results(events: &[Event]) -> u64 {
    let results = events.iter().map(|event| match event {
        Event::ResultsReceived { results, .. } => *results,
        Event::Packets { results, .. } => *results,
        _ => 0,
    });
    results.sum()
}

fn last_life(events: &[Event]) -> u32 {
    let mut lives = events.iter().filter_map(|event| match event {
        Event::Life { life, .. } => Some(*life),
        _ => None,
    });
    lives.next_back().unwrap_or(0)
}

/// Whatever becomes of the test, nobody waits for ever.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Keeps four slaves alive, as a batch system does, until `over`.
fn keep_slaves(dir: &Path, address: &str, over: &AtomicBool) {
    let mut slaves: Vec<Process> = Vec::new();
    let mut started = 0;
    while !over.load(Ordering::Relaxed) {
        slaves.retain_mut(|slave| !slave.has_ended());
        while slaves.len() < 4 {
            slaves.push(Process::slave(dir, &format!("slave-{started}"), address));
            started += 1;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// An in-order sum of floats, a search and a tree of floats: the same bits as undisturbed, and hardly anything is computed
/// again.
pub(crate) fn a_master_killed_again_and_again(engine: &str) {
    let undisturbed = dir();
    let folder = undisturbed.path().join("journal");
    let tasks = TASKS.to_string();
    let expected = {
        let args = args(engine, folder.to_str().unwrap(), &tasks);
        let mut master = Process::master(undisturbed.path(), &args);
        let address = master.address();
        let mut slaves: Vec<_> = (0..4)
            .map(|n| Process::slave(undisturbed.path(), &format!("slave-{n}"), &address))
            .collect();
        master.expect_exit(0);
        for slave in &mut slaves {
            slave.exit();
        }
        master.stdout()
    };
    assert_eq!(expected.lines().count(), 1, "{expected}");

    let disturbed = dir();
    let folder = disturbed.path().join("journal");
    let args = args(engine, folder.to_str().unwrap(), &tasks);
    let mut master = Process::master(disturbed.path(), &args);
    let address = master.address();
    let over = AtomicBool::new(false);
    let events = thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| keep_slaves(disturbed.path(), &address, &over));
        for kill in 1..=KILLS {
            // Of a killed life the trail may lack the last lines, so each is counted by itself.
            let share = TASKS / (2 * KILLS);
            until("results to kill it after", || {
                let events = master.events();
                let begins = |event: &Event| matches!(event, Event::Life { .. });
                let life = events.iter().rposition(begins)?;
                let begun = u64::from(last_life(&events)) == kill;
                (begun && results(&events[life..]) >= share).then_some(())
            });
            assert!(!master.has_ended(), "{}", master.stderr());
            master.signal(Signal::KILL);
            master.exit();
            assert_eq!(master.stdout(), "", "no life has finished");
            master = Process::master(disturbed.path(), &args);
        }
        master.expect_exit(0);
        over.store(true, Ordering::Relaxed);
        master.events()
    });
    assert_eq!(master.stdout(), expected);
    assert_eq!(u64::from(last_life(&events)), KILLS + 1);
    let addresses: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Ready { addresses, .. } => Some(addresses[0].clone()),
            _ => None,
        })
        .collect();
    assert!(
        addresses.iter().all(|again| *again == address),
        "every life has the port of the first: {addresses:?}"
    );
    let again = results(&events).saturating_sub(3 * TASKS);
    eprintln!(
        "{engine}: {again} of {} tasks were computed again",
        3 * TASKS
    );
    assert!(again <= 3 * TASKS / 10, "{again} tasks were computed again");

    // The whole run from the journal alone.
    let mut master = Process::master(disturbed.path(), &args);
    master.expect_exit(0);
    assert_eq!(master.stdout(), expected);
}

/// Of two masters of one run the earlier one ends, and takes nothing from the later one.
pub(crate) fn a_stopped_master_and_its_successor() {
    let dir = dir();
    let folder = dir.path().join("journal");
    let resource = dir.path().join("resource");
    let tasks = TASKS.to_string();
    let mut args = args("auto", folder.to_str().unwrap(), &tasks);
    args.extend(["--mw-resource-file", resource.to_str().unwrap()]);
    let mut first = Process::start(
        dir.path(),
        "first",
        &[&["--mw-master", "--mw-master-host", "127.0.0.1"][..], &args].concat(),
    );
    first.address();
    // It has written all that it has to say: what it writes after the stop would be the last.
    until("its resource file", || {
        let text = std::fs::read_to_string(&resource).unwrap_or_default();
        text.contains("(:tasks-queued 64)").then_some(())
    });
    first.signal(Signal::STOP);
    let second = Process::master(dir.path(), &args);
    second.await_event("the second life", |event| match event {
        Event::Life { life, .. } => (*life == 2).then_some(()),
        _ => None,
    });
    first.signal(Signal::CONT);
    first.expect_exit(255);
    assert!(
        first.stderr().contains("life 2 of this run has begun"),
        "{}",
        first.stderr()
    );
    let superseded = |event: &Event| matches!(event, Event::Superseded { life: 2 });
    assert_eq!(count(&first.events(), superseded), 1);
    let text = std::fs::read_to_string(&resource).unwrap();
    let address = second.address();
    assert!(
        text.contains(&address) && text.contains("in-progress"),
        "the file is the later life's: {text}"
    );
}
