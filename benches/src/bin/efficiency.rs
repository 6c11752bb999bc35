//! How much of its slaves' time a master wastes: counted loops, held against the same loops in bare processes.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin efficiency
//! cargo run --release -p ringmw-benches --bin efficiency -- --case mix --seconds 20 --json
//! ```

use std::process::ExitCode;

use clap::Parser;
use ringmw::prelude::*;
use ringmw_benches::loops::{self, Ours};
use ringmw_benches::{apart, machine};
use serde_json::{Value, json};

/// Runs counted loops on slave processes and, in turns with that, in as many bare processes without a master
///
/// Case `1ms`: equal loops of a millisecond; told is our rate over that of the bare processes. Case `mix`: a seeded
/// log-uniform mix from 0.1 ms to 1 s; told is our time over the total work divided by the slaves, where a loop's work is
/// what it takes in bare processes that all run at once in the same run, and also over the time that the slaves report
/// to have computed. Grouping is automatic.
#[derive(Parser)]
struct Opts {
    /// Run this case alone: 1ms or mix
    #[arg(long, value_parser = ["1ms", "mix"])]
    case: Option<String>,
    /// Slave processes, and bare ones
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    slaves: u32,
    /// Work per slave in the mix, in seconds
    #[arg(long, value_name = "S", default_value_t = 60.0)]
    seconds: f64,
    /// Loops of a millisecond per slave and round
    #[arg(long, value_name = "N", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(10..))]
    loops: u64,
    /// Rounds of the millisecond's case; told are medians
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Seed of the mix
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Tasks per packet, 0 is automatic
    #[arg(long, value_name = "N", default_value_t = 0)]
    group: u32,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    let wanted = |case: &str| opts.case.as_deref().is_none_or(|only| only == case);
    let per_ms = loops::iterations_per_ms(opts.slaves, 100_000);
    if wanted("1ms") {
        milliseconds(&opts, per_ms);
    }
    if wanted("mix") {
        mix(&opts, per_ms);
    }
    ExitCode::SUCCESS
}

fn ours(opts: &Opts, loops: Vec<u64>) -> Ours {
    loops::time_ours(opts.slaves, opts.group, &opts.engine, loops)
}

fn milliseconds(opts: &Opts, per_ms: f64) {
    let load = machine::load();
    let (mut ratios, mut shares) = (Vec::new(), Vec::new());
    let bare = || loops::rate_bare(opts.slaves, opts.loops, per_ms as u64);
    for _ in 0..opts.runs {
        let before = bare();
        let equal = vec![per_ms as u64; (opts.loops * u64::from(opts.slaves)) as usize];
        let tasks = equal.len() as f64;
        let ours = ours(opts, equal);
        let after = bare();
        ratios.push(tasks / ours.wall.as_secs_f64() / ((before + after) / 2.0));
        shares.push(ours.cpu.as_secs_f64() / ours.wall.as_secs_f64());
    }
    let spread = ratios
        .iter()
        .copied()
        .fold((f64::MAX, f64::MIN), |(least, most), ratio| {
            (least.min(ratio), most.max(ratio))
        });
    let line = json!({
        "case": format!("efficiency-1ms-s{}", opts.slaves),
        "rate_over_bare": apart::median(ratios),
        "least": spread.0,
        "most": spread.1,
        "master_cpu_share": apart::median(shares),
        "runs": opts.runs,
        "load": load,
    });
    tell(line, opts, |line| {
        format!(
            "loops of 1 ms on {} slaves: {:.4} of the rate of bare processes ({:.4} to {:.4}), master {:.2} % of a core",
            opts.slaves,
            apart::number(line, "rate_over_bare"),
            spread.0,
            spread.1,
            100.0 * apart::number(line, "master_cpu_share"),
        )
    });
}

/// Log-uniform from 0.1 ms to 1 s until there is so much work; in milliseconds.
fn mixed(seed: u64, total_ms: f64) -> Vec<f64> {
    let mut cx = Cx::for_test(seed);
    let mut loops = Vec::new();
    let mut sum = 0.0;
    while sum < total_ms {
        let ms = 0.1 * 10_000f64.powf(cx.rng().random::<f64>());
        sum += ms;
        loops.push(ms);
    }
    loops
}

fn mix(opts: &Opts, per_ms: f64) {
    let load = machine::load();
    let slaves = f64::from(opts.slaves);
    let loops = mixed(opts.seed, slaves * opts.seconds * 1e3);
    let iterations: Vec<u64> = loops.iter().map(|ms| (ms * per_ms) as u64).collect();
    let total = iterations.iter().sum::<u64>() as f64;
    let tasks = iterations.len();
    // The machine's speed before and after counts alike.
    let before = loops::iterations_per_ms(opts.slaves, 200_000);
    let ours = ours(opts, iterations);
    let after = loops::iterations_per_ms(opts.slaves, 200_000);
    let work_s = total / ((before + after) / 2.0) / 1e3;
    let wall = ours.wall.as_secs_f64();
    let line = json!({
        "case": format!("efficiency-mix-s{}", opts.slaves),
        "tasks": tasks,
        "wall_s": wall,
        "work_s": work_s,
        "wall_over_work": wall / (work_s / slaves),
        "wall_over_compute": wall / (ours.compute.as_secs_f64() / slaves),
        "master_cpu_share": ours.cpu.as_secs_f64() / wall,
        "seed": opts.seed,
        "load": load,
    });
    tell(line, opts, |line| {
        format!(
            "{tasks} mixed loops of 0.1 ms to 1 s on {} slaves: {wall:.2} s, {:.4} times the work over the slaves, {:.4} times what they computed",
            opts.slaves,
            apart::number(line, "wall_over_work"),
            apart::number(line, "wall_over_compute"),
        )
    });
}

fn tell(mut line: Value, opts: &Opts, text: impl Fn(&Value) -> String) {
    for (key, value) in machine::describe().as_object().expect("an object") {
        if key != "load" {
            line[key] = value.clone();
        }
    }
    match opts.json {
        true => println!("{line}"),
        false => println!("{} (load {})", text(&line), line["load"]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_seeded_log_uniform_and_as_long_as_asked() {
        let loops = mixed(1, 200_000.0);
        assert_eq!(loops, mixed(1, 200_000.0));
        assert_ne!(loops, mixed(2, 200_000.0));
        assert!(loops.iter().all(|ms| (0.1..=1_000.0).contains(ms)));
        let sum: f64 = loops.iter().sum();
        assert!((200_000.0..201_000.0).contains(&sum), "{sum}");
        // As many in each factor of ten.
        let below = |ms: f64| loops.iter().filter(|&&each| each < ms).count() as f64;
        let share = below(10.0) / loops.len() as f64;
        assert!((0.45..0.55).contains(&share), "{share}");
    }
}
