//! Tasks of 3 ms on a thousand slaves and on ten thousand: how much of the slaves' time a master with automatic packets
//! keeps busy, held against fixed groups in the same run.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin work3ms
//! cargo run --release -p ringmw-benches --bin work3ms -- --case work3ms-gauto-s10000 --json
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringmw::prelude::*;
use ringmw_benches::fleet::{self, Setting, Slaves};
use ringmw_benches::meter::process_cpu;
use ringmw_benches::played::Cast;
use ringmw_benches::{apart, app, machine, noop};
use serde_json::{Value, json};

const TASK: Duration = Duration::from_millis(3);

/// Runs tasks of 3 ms on played slaves that take their time, and tells how much of it was work
///
/// Efficiency is the work done over the slaves times the wall time, from the first fifth of the results to nine tenths of
/// them: while there is work for all. Packets are automatic, and of each fixed group for comparison.
#[derive(Parser)]
struct Opts {
    /// Run this case alone: work3ms-gauto-s1000 or work3ms-gauto-s10000 [default: both]
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Work of each slave, in seconds
    #[arg(long, value_name = "S", default_value_t = 6.0)]
    seconds: f64,
    /// Fixed groups to compare with
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "10,30,100,300"
    )]
    groups: Vec<u32>,
    /// Played slaves, in place of the case's
    #[arg(long, value_name = "N")]
    slaves: Option<u32>,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Measure this group in this very process: 0 is automatic
    #[arg(long, hide = true, requires = "case")]
    here: Option<u32>,
}

fn name(slaves: u32) -> String {
    format!("work3ms-gauto-s{slaves}")
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    let wanted = |slaves: &u32| opts.case.as_ref().is_none_or(|only| *only == name(*slaves));
    let sizes: Vec<u32> = [1_000, 10_000].into_iter().filter(wanted).collect();
    if sizes.is_empty() {
        eprintln!(
            "there is no such case; they are: {} {}",
            name(1_000),
            name(10_000)
        );
        return ExitCode::from(2);
    }
    if let Some(group) = opts.here {
        println!("{}", run(&opts, opts.slaves.unwrap_or(sizes[0]), group));
        return ExitCode::SUCCESS;
    }
    for slaves in sizes {
        match compare(&opts, slaves) {
            Ok(line) if opts.json => println!("{line}"),
            Ok(line) => tell(&line),
            Err(error) => {
                eprintln!("work3ms: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn compare(opts: &Opts, slaves: u32) -> Result<Value, String> {
    let load = machine::load();
    let mut line = apart_with(opts, slaves, 0)?;
    let mut fixed = Vec::new();
    for &group in &opts.groups {
        let efficiency = apart::number(&apart_with(opts, slaves, group)?, "efficiency");
        fixed.push((efficiency, group));
    }
    let best = fixed.iter().copied().max_by(|a, b| a.0.total_cmp(&b.0));
    line["case"] = name(slaves).into();
    line["fixed"] = fixed
        .iter()
        .map(|(efficiency, group)| json!({ "group": group, "efficiency": efficiency }))
        .collect();
    line["best_fixed_group"] = json!(best.map(|best| best.1));
    line["best_fixed_efficiency"] = json!(best.map(|best| best.0));
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    Ok(line)
}

fn apart_with(opts: &Opts, slaves: u32, group: u32) -> Result<Value, String> {
    let (case, group) = (name(slaves), group.to_string());
    let seconds = opts.seconds.to_string();
    let mut args = vec!["--here", &group, "--case", &case, "--seconds", &seconds];
    args.extend(["--engine", &opts.engine]);
    let slaves = opts.slaves.map(|slaves| slaves.to_string());
    args.extend(slaves.iter().flat_map(|slaves| ["--slaves", slaves]));
    apart::run(&args)
}

fn run(opts: &Opts, slaves: u32, group: u32) -> Value {
    let setting = Setting {
        slaves: Slaves::Played(Cast {
            slaves,
            task_us: TASK.as_micros() as u64,
            ..Cast::default()
        }),
        engine: &opts.engine,
        trail: None,
        group,
        result_group: None,
        prefetch: true,
        secret: false,
    };
    let tasks = (opts.seconds / TASK.as_secs_f64() * f64::from(slaves)) as u64;
    let (from, to) = (tasks / 5, tasks - tasks / 10);
    fleet::run(app(), &setting, async move |mw: Master| {
        fleet::connected(&mw, slaves).await;
        let begun = Instant::now();
        let mut results = mw.map((0..tasks).map(noop::task));
        let (mut done, mut first, mut last) = (0, None, None);
        while results.try_next().await?.is_some() {
            done += 1;
            let mark = || (begun.elapsed(), process_cpu(), mw.traffic().packets_in);
            if done == from {
                first = Some(mark());
            }
            if done == to {
                last = Some(mark());
            }
        }
        let (first, last) = first.zip(last).ok_or("too few tasks")?;
        let wall = (last.0 - first.0).as_secs_f64();
        let work = (to - from) as f64 * TASK.as_secs_f64();
        Ok(json!({
            "tasks": tasks,
            "efficiency": work / (f64::from(slaves) * wall),
            "tasks_per_packet": (to - from) as f64 / (last.2 - first.2).max(1) as f64,
            "master_cpu_share": (last.1 - first.1).as_secs_f64() / wall,
        }))
    })
    .0
}

fn tell(line: &Value) {
    println!(
        "{}: {:.3} of the slaves' time was work, {:.0} tasks a packet, master {:.0} % of a core; best fixed group {}: {:.3} (load {})",
        line["case"].as_str().unwrap_or("?"),
        apart::number(line, "efficiency"),
        apart::number(line, "tasks_per_packet"),
        100.0 * apart::number(line, "master_cpu_share"),
        line["best_fixed_group"],
        line["best_fixed_efficiency"].as_f64().unwrap_or(f64::NAN),
        line["load"],
    );
}
