//! What the master's own code costs for a no-op task, without kernel and slaves, part by part of a turn.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin alone
//! cargo run --release -p ringmw-benches --bin alone -- --group 1000 --slaves 64 --runs 5
//! cargo run --release -p ringmw-benches --bin alone -- --pairs 11 --tasks 1000000
//! ```

use std::cell::Cell;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ringmw::prelude::*;
use ringmw::testing::{Alone, Parts};
use ringmw_benches::apart::median;
use ringmw_benches::shapes::{self, Shape, Source};
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
    /// Shapes of tasks beside the no-op, by their names, or `all`
    #[arg(long, value_delimiter = ',', conflicts_with = "queue")]
    shapes: Vec<String>,
    /// Runs; the one with the median cost is told
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// What rare policies cost where all tasks are queued before the first is handed out, and what a reduction costs: each
    /// beside a run without, in so many alternating pairs
    #[arg(long, conflicts_with_all = ["queue", "shapes"])]
    pairs: Option<usize>,
}

/// What is held against a run without it, in pairs.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Beside {
    /// The same time to be begun within for all tasks, as a rule that a user writes once.
    Within,
    /// One of its own for each.
    Withins,
    /// A priority of eight for each.
    Priority,
    /// Results are combined rather than taken one by one.
    Reduce,
}

impl Beside {
    const ALL: [Beside; 4] = [
        Beside::Within,
        Beside::Withins,
        Beside::Priority,
        Beside::Reduce,
    ];

    fn name(self) -> &'static str {
        match self {
            Beside::Within => "within",
            Beside::Withins => "withins",
            Beside::Priority => "priority",
            Beside::Reduce => "reduce",
        }
    }

    /// The task of this number; none is late within the run.
    fn task(self, n: u64) -> Task<noop> {
        let task = noop::task(n);
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        match self {
            Beside::Within => task.start_within(Duration::from_secs(3_600)),
            Beside::Withins => task.start_within(Duration::from_secs(3_600 + mixed % 3_600)),
            Beside::Priority => task.priority((mixed % 8) as i8 - 4),
            Beside::Reduce => task,
        }
    }
}

/// So many tasks, numbered.
struct Numbers {
    tasks: u64,
    next: Cell<u64>,
}

impl Source for Numbers {
    fn next(&self) -> Option<u64> {
        let n = self.next.get();
        self.next.set(n + 1);
        (n < self.tasks).then_some(n)
    }

    fn done(&self, _: &Master) {}
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

/// All tasks are queued before the first is handed out.
async fn filled(mw: Master, tasks: u64, task: impl Fn(u64) -> Task<noop>) -> Result {
    for n in 0..tasks {
        mw.submit(task(n));
    }
    let mut taken = 0;
    while taken < tasks {
        mw.events().await;
        for result in mw.take_results() {
            std::hint::black_box(result.output::<noop>()?);
            taken += 1;
        }
    }
    Ok(())
}

fn run(options: &Options, shape: Shape, group: u32) -> Parts {
    let (tasks, queue) = (options.tasks, options.queue);
    let target = u64::from(options.slaves) * u64::from(group) * 2 + 1_000;
    let app = app().master(async move |mw: Master, _: Args| match (queue, shape) {
        (true, _) => through_queue(mw, tasks, target).await,
        (false, Shape::Noop) => through_map(mw, tasks).await,
        (false, shape) => {
            let next = Cell::new(0);
            let numbers = Numbers { tasks, next };
            shapes::run(&mw, shape, group, &numbers).await?;
            Ok(())
        }
    });
    alone(options, group, app, shape == Shape::Noop)
}

/// One of a pair: with it, or without.
fn run_of_pair(options: &Options, beside: Beside, with: bool, group: u32) -> Parts {
    let tasks = options.tasks;
    let app = app().master(async move |mw: Master, _: Args| match (beside, with) {
        (Beside::Reduce, true) => {
            let merged = mw.map((0..tasks).map(noop::task)).reduce(u64::wrapping_add);
            std::hint::black_box(merged.await?);
            Ok(())
        }
        (Beside::Reduce, false) => through_map(mw, tasks).await,
        (beside, true) => filled(mw, tasks, |n| beside.task(n)).await,
        (_, false) => filled(mw, tasks, noop::task).await,
    });
    alone(options, group, app, true)
}

fn alone(options: &Options, group: u32, app: App, is_noop: bool) -> Parts {
    let mut output = Vec::new();
    if is_noop {
        ringmw::internals::wire::encode(&0u64, &mut output).expect("a number has an archive");
    }
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

/// In pairs next to one another, of which every second one begins with the run that is held against the other.
fn pairs(options: &Options, groups: &[u32], pairs: usize) {
    println!(
        "{:>8} {:>6} {:>9} {:>9} {:>9} {:>6}   ns of CPU per task, medians of {pairs} pairs",
        "with", "group", "without", "with", "more", "ratio"
    );
    for &group in groups {
        for beside in Beside::ALL {
            let (mut without, mut with) = (Vec::new(), Vec::new());
            for pair in 0..pairs {
                for second in [false, true] {
                    let is_with = second == (pair % 2 == 0);
                    let parts = run_of_pair(options, beside, is_with, group);
                    let ns = parts.sum().as_nanos() as f64 / parts.results as f64;
                    match is_with {
                        true => with.push(ns),
                        false => without.push(ns),
                    }
                }
            }
            let each = without.iter().zip(&with);
            let more = median(each.clone().map(|(without, with)| with - without).collect());
            let ratio = median(each.map(|(without, with)| with / without).collect());
            let (without, with) = (median(without), median(with));
            println!(
                "{:>8} {group:>6} {without:>9.1} {with:>9.1} {more:>9.1} {ratio:>6.2}",
                beside.name()
            );
        }
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let groups = options
        .group
        .map_or(vec![1, 10, 100, 1000], |group| vec![group]);
    if let Some(count) = options.pairs {
        pairs(&options, &groups, count.max(1));
        return ExitCode::SUCCESS;
    }
    let mut shapes = vec![Shape::Noop];
    for name in &options.shapes {
        match (&**name, Shape::named(name)) {
            ("all", _) => shapes.extend(Shape::OTHERS),
            (_, Some(shape)) => shapes.push(shape),
            _ => {
                eprintln!("there is no shape {name}");
                return ExitCode::from(2);
            }
        }
    }
    println!(
        "{:>8} {:>6} {:>9} {:>6} {:>9} {:>12} {:>9}   ns of CPU per task",
        "shape", "group", "sum", "ratio", "take", "application", "hand out"
    );
    for group in groups {
        // In rounds over all shapes: what is held against one another runs next to one another.
        let mut runs = vec![Vec::new(); shapes.len()];
        for _ in 0..options.runs {
            for (shape, runs) in shapes.iter().zip(&mut runs) {
                runs.push(run(&options, *shape, group));
            }
        }
        let mut first = None;
        for (shape, mut runs) in shapes.iter().zip(runs) {
            runs.sort_by_key(Parts::sum);
            let parts = runs[runs.len() / 2];
            let joining = match shape {
                Shape::Call => shapes::join_all_ns(options.tasks.min(100_000)),
                _ => 0.0,
            };
            let per = |time: std::time::Duration| time.as_nanos() as f64 / parts.results as f64;
            let sum = per(parts.sum()) - joining;
            let ratio = sum / *first.get_or_insert(sum);
            println!(
                "{:>8} {group:>6} {sum:>9.1} {ratio:>6.2} {:>9.1} {:>12.1} {:>9.1}",
                shape.name(),
                per(parts.take),
                per(parts.application) - joining,
                per(parts.hand_out)
            );
        }
    }
    ExitCode::SUCCESS
}
