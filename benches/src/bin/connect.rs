//! How long thousands of slaves take to connect, and what an idle one costs the master.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin connect
//! cargo run --release -p ringmw-benches --bin connect -- --slaves 1000 --json
//! cargo run --release -p ringmw-benches --bin connect -- --beside 200 --secret
//! ```

use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use ringmw_benches::fleet::{self, Setting, Slaves};
use ringmw_benches::{app, joins, machine, meter, played::Cast};
use serde_json::json;

/// Lets played slaves connect and shake hands all at once, and measures the time to the last welcome, the master's CPU
/// for it, and then the memory and the CPU that the idle ones cost it
#[derive(Parser)]
struct Opts {
    /// Played slaves
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    slaves: u32,
    /// How long they are idle, in seconds
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    idle: f64,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// In place of idleness: so many slaves are at work, each with tasks of 10 ms, while the others join
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    beside: Option<u32>,
    /// Encrypted, as a run is that is not told otherwise
    #[arg(long)]
    secret: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    if let Some(workers) = opts.beside {
        joins_beside(&opts, workers);
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trail");
    let setting = Setting {
        slaves: Slaves::Played(Cast {
            slaves: opts.slaves,
            ..Cast::default()
        }),
        engine: &opts.engine,
        trail: Some((&file, "default")),
        group: 1,
        result_group: None,
        prefetch: true,
        secret: opts.secret,
    };
    let (slaves, idle) = (opts.slaves, Duration::from_secs_f64(opts.idle));
    let alone = Rc::new(Cell::new(0));
    let measured = async move |mw: ringmw::Master| {
        let begun = Instant::now();
        alone.set(meter::memory().0);
        let cpu = meter::process_cpu();
        fleet::connected(&mw, slaves).await;
        let connect_cpu = meter::process_cpu() - cpu;
        let connect = begun.elapsed();
        // Beats and the trail's lines come to rest.
        tokio::time::sleep(idle / 5).await;
        let (memory, cpu, begun) = (meter::memory().0, meter::process_cpu(), Instant::now());
        tokio::time::sleep(idle).await;
        let share = (meter::process_cpu() - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        Ok(json!({
            "case": format!("connect-s{slaves}"),
            "slaves": slaves,
            "still_there": mw.connected(),
            "master_wall_s": connect.as_secs_f64(),
            "master_cpu_us_per_slave": connect_cpu.as_secs_f64() * 1e6 / f64::from(slaves),
            "idle_slave_bytes": memory.saturating_sub(alone.get()) as f64 / f64::from(slaves),
            "idle_cpu_share": share,
        }))
    };
    let load = machine::load();
    let (mut line, report) = fleet::run(app(), &setting, measured);
    line["connect_s"] = report["connect_s"].clone();
    line["engine"] = fleet::engine_word(&opts.engine).into();
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    match opts.json {
        true => println!("{line}"),
        false => println!(
            "{slaves} slaves ({}): all welcomed after {:.2} s, {:.1} us CPU of the master each; {} still there after {} s; idle, each takes {:.0} bytes of the master, all of them {:.2} % of its core (load {})",
            line["engine"].as_str().unwrap_or("?"),
            line["connect_s"].as_f64().unwrap_or(f64::NAN),
            line["master_cpu_us_per_slave"].as_f64().unwrap_or(f64::NAN),
            line["still_there"],
            opts.idle,
            line["idle_slave_bytes"].as_f64().unwrap_or(f64::NAN),
            100.0 * line["idle_cpu_share"].as_f64().unwrap_or(f64::NAN),
            line["load"],
        ),
    }
    ExitCode::SUCCESS
}

fn joins_beside(opts: &Opts, workers: u32) {
    let load = machine::load();
    let mut line = joins::beside(workers, opts.slaves, &opts.engine, opts.secret);
    line["engine"] = fleet::engine_word(&opts.engine).into();
    line["security"] = fleet::security_word(opts.secret).into();
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    match opts.json {
        true => println!("{line}"),
        false => println!(
            "{} slaves join beside {workers} with tasks of 10 ms ({}, {}): all welcomed after {:.2} s; meanwhile the {workers} end {:.0} tasks a second, {:.2} times what they did before; {} of them lost (load {})",
            opts.slaves,
            line["engine"].as_str().unwrap_or("?"),
            line["security"].as_str().unwrap_or("?"),
            line["join_s"].as_f64().unwrap_or(f64::NAN),
            line["rate_meanwhile"].as_f64().unwrap_or(f64::NAN),
            line["rate_ratio"].as_f64().unwrap_or(f64::NAN),
            line["lost"],
            line["load"],
        ),
    }
}
