//! What a task's policy says: which slave, tag, whether it may be tried again, which random stream; and what comes of
//! tasks that cannot run.
//!
//! ```text
//! cargo run --release --example with-task-policy
//! ```
//!
//! As a master and slaves, at least two of them, for one is lost on purpose (the master's trail says which port it has):
//!
//! ```text
//! with-task-policy --mw-master --mw-master-host 127.0.0.1
//! with-task-policy --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

use std::collections::BTreeMap;

use ringmw::prelude::*;

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

#[algorithm]
fn throw_a_die(cx: &mut Cx) -> u32 {
    cx.rng().random_range(1..=6)
}

/// Takes its slave down with it.
#[algorithm]
fn fall() {
    std::process::exit(1)
}

/// A tag: any type that can travel.
#[wire]
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Batch {
    Small,
    Large,
}

async fn master(mw: Master, _args: Args) -> Result {
    tags(&mw).await?;
    streams(&mw).await?;
    unrunnable(&mw).await
}

/// One policy for a whole iterator; the tag comes back with each result. A slave that is lost costs none of them: they may be
/// tried again.
async fn tags(mw: &Master) -> Result {
    let small = Policy::new().tag(&Batch::Small);
    let large = Policy::new().tag(&Batch::Large);
    mw.submit_all((1..=4).map(|n| square::task(n).with(&small)));
    mw.submit_all((100..=104).map(|n| square::task(n).with(&large)));
    let mut sums = BTreeMap::new();
    let mut results = mw.results::<square>();
    while let Some(result) = results.try_next().await? {
        let batch = result.tag::<Batch>()?.expect("every task has a tag");
        *sums.entry(batch).or_insert(0) += result.output;
        // A tag is read as what it was given as, or not at all.
        assert!(result.tag::<u64>().is_err());
    }
    for (batch, sum) in sums {
        println!("{batch:?}: the squares add up to {sum}");
    }
    Ok(())
}

/// Tasks with the same explicit stream draw the same random numbers, whichever slaves run them.
async fn streams(mw: &Master) -> Result {
    let mut dice = mw
        .map([7, 8, 7, 8].map(|stream| throw_a_die::task().stream(stream)))
        .in_order();
    let mut thrown = Vec::new();
    while let Some(die) = dice.try_next().await? {
        thrown.push(die);
    }
    println!(
        "streams 7, 8, 7, 8 throw the same twice: {}",
        thrown[..2] == thrown[2..]
    );
    Ok(())
}

/// Tasks that end without a result say why, and can be submitted again with another policy.
async fn unrunnable(mw: &Master) -> Result {
    let nobody = SlaveId(4_000_000_000);
    mw.submit(square::task(12).slave(nobody));
    mw.submit(square::task(13).slave(nobody).do_it_anyway(true));
    mw.submit(fall::task().retry(false));
    while !mw.events().await.is_empty() {
        for task in mw.take_unrunnable() {
            println!("{} is unrunnable: {}", task.algorithm(), task.why());
            if let Some(task) = task.task::<square>() {
                mw.submit(task);
            }
        }
        for result in mw.take_results() {
            println!("{} gave {}", result.algorithm(), result.output::<square>()?);
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<square>()
        .algorithm::<throw_a_die>()
        .algorithm::<fall>()
        .master(master)
        .run()
}
