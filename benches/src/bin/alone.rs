//! What the master's own code costs for a no-op task, without kernel and slaves, part by part of a turn.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin alone
//! cargo run --release -p ringmw-benches --bin alone -- --group 1000 --slaves 64 --runs 5
//! ```

use std::process::ExitCode;

use clap::Parser;
use ringmw::prelude::*;
use ringmw::testing::{Alone, Parts};
use ringmw_benches::{app, noop};

/// Runs no-op tasks through a master's own code, without kernel, slaves and waiting, and says what one costs in each
/// part of a turn
///
/// Everything that ships is in it: typed submission, policy, scheduling, packets, the trail's lines, checks, typed
/// results. What a real run costs beside is the kernel's; see `throughput`.
#[derive(Parser)]
struct Options {
    /// Tasks per packet; without it 1, 10, 100 and 1000
    #[arg(long)]
    group: Option<u32>,
    /// Slaves
    #[arg(long, default_value_t = 64)]
    slaves: u32,
    /// Packets of results that are taken in one turn
    #[arg(long, default_value_t = 4)]
    packets: usize,
    /// Tasks in each run
    #[arg(long, default_value_t = 2_000_000)]
    tasks: u64,
    /// Take results by `take_results` rather than `map`
    #[arg(long)]
    queue: bool,
    /// Runs; the one with the median cost is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

async fn through_map(mw: Master, tasks: u64) -> Result {
    let mut results = mw.map((0..tasks).map(noop::task));
    while let Some(n) = results.next().await {
        std::hint::black_box(n?);
    }
    Ok(())
}

async fn through_queue(mw: Master, tasks: u64, target: u64) -> Result {
    mw.set_target(target);
    let (mut submitted, mut taken) = (0, 0);
    while taken < tasks {
        let more = mw.upto_target().min(tasks - submitted);
        for n in submitted..submitted + more {
            mw.submit(noop::task(n));
        }
        submitted += more;
        mw.events().await;
        for result in mw.take_results() {
            std::hint::black_box(result.output::<noop>()?);
            taken += 1;
        }
    }
    Ok(())
}

fn run(options: &Options, group: u32) -> Parts {
    let (tasks, queue) = (options.tasks, options.queue);
    let target = u64::from(options.slaves) * u64::from(group) * 2 + 1_000;
    let app = app().master(async move |mw: Master, _: Args| match queue {
        true => through_queue(mw, tasks, target).await,
        false => through_map(mw, tasks).await,
    });
    let mut output = Vec::new();
    ringmw::internals::wire::encode(&0u64, &mut output).expect("a number has an archive");
    let group = group.to_string();
    let flags = ["--mw-slave-task-group", &group];
    Alone {
        slaves: options.slaves,
        packets_per_turn: options.packets,
        flags: flags.map(str::to_owned).to_vec(),
        output,
    }
    .run(app)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let groups = options
        .group
        .map_or(vec![1, 10, 100, 1000], |group| vec![group]);
    println!(
        "{:>6} {:>9} {:>9} {:>12} {:>9}   ns of CPU per task",
        "group", "sum", "take", "application", "hand out"
    );
    for group in groups {
        let mut runs: Vec<Parts> = (0..options.runs).map(|_| run(&options, group)).collect();
        runs.sort_by_key(Parts::sum);
        let parts = runs[runs.len() / 2];
        let per = |time: std::time::Duration| time.as_nanos() as f64 / parts.results as f64;
        println!(
            "{group:>6} {:>9.1} {:>9.1} {:>12.1} {:>9.1}",
            per(parts.sum()),
            per(parts.take),
            per(parts.application),
            per(parts.hand_out)
        );
    }
    ExitCode::SUCCESS
}
