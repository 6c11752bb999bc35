//! What queued tasks cost the master: memory beside their payload, and CPU however many there are; and what tasks cost that
//! the queue refuses.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin memory
//! cargo run --release -p ringmw-benches --bin memory -- --tasks 10000000 --json
//! ```

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use ringmw::prelude::*;
use ringmw_benches::case::{self, Case, Load, Through};
use ringmw_benches::fleet::{self, Setting, Slaves};
use ringmw_benches::played::Cast;
use ringmw_benches::shapes::{Shape, length};
use ringmw_benches::{apart, app, machine, meter, noop};
use serde_json::{Value, json};

/// The bytes of a no-op task's argument.
const PAYLOAD_BYTES: f64 = 8.0;
const SLAVES: u32 = 64;

/// Queues tasks that nobody runs and weighs them, drains the queue and weighs what is left; then runs tasks at 100 per
/// packet through 64 played slaves with as many kept in the queue, and measures the master's CPU per task
///
/// Each number of tasks is measured in processes of its own. Memory is the resident set: below a hundred thousand tasks
/// it says more of pages than of tasks.
#[derive(Parser)]
struct Opts {
    /// Numbers of queued tasks; 0 is passed over
    #[arg(
        long,
        value_name = "N,..",
        value_delimiter = ',',
        default_value = "1000,10000,100000,1000000,10000000"
    )]
    tasks: Vec<u64>,
    /// Tasks of 64 bytes that are submitted above a bound of 16 MiB, and whose ends nobody takes; 0: none are
    #[arg(long, value_name = "N", default_value_t = 4_000_000)]
    refused: u64,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[arg(long, hide = true, value_parser = ["weight", "cost", "refused"])]
    here: Option<String>,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    match opts.here.as_deref() {
        Some("weight") => println!("{}", weigh(opts.tasks[0])),
        Some("refused") => println!("{}", refuse(opts.refused)),
        Some(_) => println!("{}", cost(opts.tasks[0])),
        None => {
            for &tasks in opts.tasks.iter().filter(|tasks| **tasks > 0) {
                if let Err(error) = measure(tasks, &opts) {
                    eprintln!("memory: {error}");
                    return ExitCode::FAILURE;
                }
            }
            if opts.refused > 0
                && let Err(error) = measure_refused(&opts)
            {
                eprintln!("memory: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(tasks: u64, opts: &Opts) -> Result<(), String> {
    let text = tasks.to_string();
    let load = machine::load();
    let mut line = apart::run(&["--here", "weight", "--tasks", &text])?;
    let cost = apart::run(&["--here", "cost", "--tasks", &text])?;
    line["master_cpu_ns_per_task"] = cost["master_cpu_ns_per_task"].clone();
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    let number = |key: &str| apart::number(&line, key);
    match opts.json {
        true => println!("{line}"),
        false => println!(
            "{tasks:>9} queued tasks: {:>6.1} bytes each beside the payload, {:>5.1} % of that left once drained; submitted in {:>4.0} ns, run at {:>5.1} ns of the master's CPU each (load {})",
            number("bytes_per_queued_task"),
            100.0 * number("left_after_drain"),
            number("submit_cpu_ns_per_task"),
            number("master_cpu_ns_per_task"),
            line["load"],
        ),
    }
    Ok(())
}

fn measure_refused(opts: &Opts) -> Result<(), String> {
    let text = opts.refused.to_string();
    let mut line = apart::run(&["--here", "refused", "--refused", &text])?;
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    let number = |key: &str| apart::number(&line, key);
    match opts.json {
        true => println!("{line}"),
        false => println!(
            "{:>9} submits of 64 bytes above --mw-max-queued-bytes 16MiB: {:.1} MiB more than before, {:.0} unrunnable, {:.0} ns each",
            opts.refused,
            number("mib"),
            number("unrunnable"),
            number("submit_cpu_ns_per_task"),
        ),
    }
    Ok(())
}

/// A master without slaves.
const ALONE: Setting<'static> = Setting {
    slaves: Slaves::Real(0),
    engine: "auto",
    trail: None,
    group: 0,
    result_group: None,
    prefetch: true,
    secret: false,
};

/// Nobody runs them and nobody takes their ends.
fn refuse(tasks: u64) -> Value {
    let master = async move |mw: Master| {
        let (before, cpu) = (meter::memory().0 as f64, meter::process_cpu());
        let text = "7".repeat(64);
        mw.submit_all((0..tasks).map(|_| length::task(&text)));
        mw.poll_events().await;
        let (after, cpu) = (meter::memory().0 as f64, meter::process_cpu() - cpu);
        Ok(json!({
            "case": format!("refused-{tasks}"),
            "tasks": tasks,
            "unrunnable": mw.unrunnable(),
            "mib": (after - before) / f64::from(1 << 20),
            "submit_cpu_ns_per_task": cpu.as_nanos() as f64 / tasks as f64,
        }))
    };
    fleet::run_with(app(), &ALONE, &["--mw-max-queued-bytes", "16MiB"], master).0
}

fn weigh(tasks: u64) -> Value {
    let master = async move |mw: Master| {
        let (before, cpu) = (meter::memory().0 as f64, meter::process_cpu());
        mw.submit_all((0..tasks).map(noop::task));
        let cpu = meter::process_cpu() - cpu;
        mw.poll_events().await;
        let full = meter::memory().0 as f64;
        assert_eq!(mw.cancel_all() as u64, tasks, "nobody runs them here");
        // Memory is given back at the end of a turn.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let drained = meter::memory().0 as f64;
        Ok(json!({
            "case": format!("queued-{tasks}"),
            "tasks": tasks,
            "bytes_per_queued_task": (full - before) / tasks as f64 - PAYLOAD_BYTES,
            "left_after_drain": (drained - before) / (full - before).max(1.0),
            "submit_cpu_ns_per_task": cpu.as_nanos() as f64 / tasks as f64,
        }))
    };
    fleet::run(app(), &ALONE, master).0
}

fn cost(queued: u64) -> Value {
    let case = Case {
        through: Through::Queue,
        shape: Shape::Noop,
        group: 100,
        slaves: SLAVES,
    };
    let load = Load {
        slaves: Slaves::Played(Cast {
            slaves: SLAVES,
            ..Cast::default()
        }),
        // Tasks are submitted until as many have been measured as at any other length.
        warm: 200_000,
        target: queued + u64::from(SLAVES) * 200,
        until_drained: false,
        limit: Duration::from_secs(60),
        ..Load::with(case, queued + 2_000_000)
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trail");
    case::run(&load, "auto", Some((&file, "default")))
}
