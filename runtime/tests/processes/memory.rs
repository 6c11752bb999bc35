//! Memory that tasks have freed: a slave keeps it from task to task, and gives it back once it has nothing to do.

use std::fs;
use std::path::Path;

use ringmw::prelude::*;

use crate::app::dir;
use crate::process::Process;
use crate::support::until;

/// What a task needs for a while, in blocks of which the allocator would return all but a few: it keeps twice the largest.
const BLOCKS: usize = 20;
const BLOCK_BYTES: usize = 2 << 20;
/// A task's argument is as large as what is worth to be given back.
const ARGUMENT_BYTES: usize = 1 << 20;
const TASKS: usize = 8;

/// Pages that this thread has been given one by one so far.
fn faults() -> u64 {
    let stat = fs::read_to_string("/proc/thread-self/stat").expect("there is a /proc");
    let fields = stat.rsplit_once(')').expect("behind the name").1;
    let faults = fields
        .split_whitespace()
        .nth(7)
        .and_then(|n| n.parse().ok());
    faults.expect("a number")
}

/// Fills and frees its memory; the pages that it was given for that.
#[algorithm]
pub(crate) fn spread(argument: Vec<u8>) -> u64 {
    let before = faults();
    let blocks: Vec<_> = (0..BLOCKS)
        .map(|_| vec![argument[0]; BLOCK_BYTES])
        .collect();
    assert!(blocks.iter().all(|block| block[BLOCK_BYTES - 1] == 7));
    drop(blocks);
    faults() - before
}

/// One task after the other, then nothing until that file is there.
pub(crate) async fn spreads(mw: &Master, until: &Path) -> Result {
    for _ in 0..TASKS {
        println!("{}", mw.call(spread::task(vec![7; ARGUMENT_BYTES])).await?);
    }
    while !until.exists() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Pages that were returned and fetched again for each task cost half of a slave's CPU; pages that are kept for ever are
/// another program's.
pub(crate) fn a_slave_keeps_what_tasks_free_until_it_is_idle() {
    let dir = dir();
    let gate = dir.path().join("gate");
    let until_gate = gate.to_str().expect("a plain path");
    let args = ["--restless", "spread", "--until", until_gate];
    let limits = ["--mw-max-write-buffer-size", "2MiB"];
    // No beat wakes the slave meanwhile.
    let beats = ["--mw-client-timeout", "600"];
    let args = [&args[..], &limits, &beats].concat();
    let mut master = Process::master(dir.path(), &args);
    let mut slave = Process::slave(dir.path(), "slave", &master.address());
    let told = until("the last task", || {
        let told = master.stdout();
        (told.lines().count() > TASKS).then_some(told)
    });
    let faults: Vec<u64> = told.lines().filter_map(|line| line.parse().ok()).collect();
    let (first, later) = faults.split_first().expect("there are some");
    // On a crowded machine a slave may have been idle for a second between two of them.
    let spared = later.iter().filter(|faults| 10 * **faults < *first).count();
    assert!(
        2 * spared > later.len(),
        "each task's pages are fetched anew: {faults:?}"
    );
    let kept = (BLOCKS * BLOCK_BYTES) as u64;
    until("the memory to be given back", || {
        (slave.rss() < kept).then_some(())
    });
    fs::write(&gate, "").expect("it is ours");
    master.expect_exit(0);
    slave.expect_exit(0);
}
