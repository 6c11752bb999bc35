//! Work-pushing: the master decides who computes what, and keeps a short queue at each slave of its own choice.
//!
//! ```text
//! cargo run --release --example primes-work-pushing -- --upto 1000000 --slaves 2
//! ```
//!
//! Use it where it matters who computes what: a slave has the data in its memory, or its results depend on one another.
//! Elsewhere `primes-master-slave` does the same with less: each slave's next tasks are in its hands before it asks.
//!
//! The slaves are of the ordered group: nobody else gives them work. At most [`QUEUE`] tasks stand at each, so that the
//! master can still give the rest to others. When a slave goes its tasks come back as unrunnable, and go to the slave that
//! has least.

mod problem;

use std::collections::BTreeMap;

use problem::{factors, print, ranges};
use ringmw::prelude::*;

/// Tasks that a slave may have.
const QUEUE: usize = 4;

async fn master(mw: Master, args: Args) -> Result {
    let (upto, slaves) = (args.value("--upto", 100_000)?, args.value("--slaves", 2)?);
    print(upto, sum(&mw, upto, slaves).await?);
    Ok(())
}

pub(crate) async fn sum(mw: &Master, upto: u64, slaves: u32) -> Result<u64> {
    mw.allocate(Group::Ordered, slaves);
    let mut ranges = ranges(upto, 1_000);
    // What came back goes first.
    let mut back: Vec<(u64, u64)> = Vec::new();
    let mut queues: BTreeMap<SlaveId, usize> = BTreeMap::new();
    let (mut sum, mut under_way) = (0, 0);
    loop {
        // To the shortest queue, as long as one is not full.
        while let Some((&slave, queue)) = queues.iter_mut().min_by_key(|queue| *queue.1)
            && *queue < QUEUE
            && let Some((first, end)) = back.pop().or_else(|| ranges.next())
        {
            mw.submit(factors::task(first, end).slave(slave).tag(&(first, end)));
            *queue += 1;
            under_way += 1;
        }
        if under_way == 0 && !queues.is_empty() {
            return Ok(sum);
        }
        mw.events().await;
        for (slave, _) in mw.take_connected() {
            queues.insert(slave, 0);
        }
        for (slave, _) in mw.take_disconnected() {
            queues.remove(&slave);
        }
        for result in mw.take_results() {
            sum += result.output::<factors>()?;
            under_way -= 1;
            if let Some(queue) = queues.get_mut(&result.slave()) {
                *queue -= 1;
            }
        }
        for task in mw.take_unrunnable() {
            back.push(
                task.tag::<(u64, u64)>()?
                    .ok_or("every task has its range")?,
            );
            under_way -= 1;
        }
    }
}

pub(crate) fn app() -> App {
    App::new().algorithm::<factors>()
}

fn main() -> ExitCode {
    app().master(master).run()
}
