//! Tasks and results of 100 KB and of 4 MB: what a byte of them costs the master, held against a bare socket.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin blob
//! cargo run --release -p ringmw-benches --bin blob -- --case in-4m --runs 5 --secret --json
//! ```

use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::blob::{self, Blocks, Case, Cost};
use ringmw_benches::{apart, fleet, machine};
use serde_json::{Value, json};

/// Moves large results and large arguments through a master and two slave processes on loopback
///
/// Cases are in-100k, in-4m (results of so many bytes, read in place), out-100k and out-4m (arguments of so many bytes).
/// Told are the CPU of the master's process for a byte and the rate, and the same of a bare socket that moves blocks of that
/// size between two processes through one buffer, or through memory made for each block, as every program does whose blocks
/// differ; with --secret also of one that is sealed and opened where it lies, by the same cipher. They run in turns, each in a
/// process of its own; told are medians.
#[derive(Parser)]
struct Opts {
    /// Run this case alone [default: all]
    #[arg(long, value_name = "NAME", value_parser = ["in-100k", "in-4m", "out-100k", "out-4m"])]
    case: Option<String>,
    /// Bytes moved in each run
    #[arg(long, value_name = "N", default_value_t = 2_000_000_000)]
    bytes: u64,
    /// Runs of both
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Encrypted, as a run is that is not told otherwise
    #[arg(long)]
    secret: bool,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// In place of all cases: the master's resident memory while so many tasks go through it to four slaves
    #[arg(long, value_name = "N", conflicts_with = "case")]
    resident: Option<u64>,
    /// Bytes of the arguments of each of these
    #[arg(long, value_name = "N", default_value_t = 64 << 20)]
    task_bytes: usize,
    /// Measure in this very process: ours, raw, made or sealed
    #[arg(long, hide = true, requires = "case")]
    here: Option<String>,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    if let Some(tasks) = opts.resident {
        // This process has done nothing else.
        let (before, peak) = blob::resident(tasks, opts.task_bytes, &opts.engine, opts.secret);
        let line = json!({
            "case": "resident",
            "tasks": tasks,
            "task_bytes": opts.task_bytes,
            "before_bytes": before,
            "peak_bytes": peak,
            "engine": fleet::engine_word(&opts.engine),
            "security": fleet::security_word(opts.secret),
        });
        match opts.json {
            true => println!("{line}"),
            false => println!(
                "{tasks} tasks of {} bytes on 4 slaves: the master had {} MiB at most, {} before",
                opts.task_bytes,
                peak >> 20,
                before >> 20
            ),
        }
        return ExitCode::SUCCESS;
    }
    let wanted = |case: &Case| opts.case.as_ref().is_none_or(|only| *only == case.name());
    let cases: Vec<Case> = Case::ALL.into_iter().filter(wanted).collect();
    if let Some(what) = &opts.here {
        let cost = match &**what {
            "raw" => blob::raw(cases[0], Blocks::Reused, opts.bytes).expect("a bare socket"),
            "made" => blob::raw(cases[0], Blocks::Made, opts.bytes).expect("a bare socket"),
            "sealed" => blob::raw(cases[0], Blocks::Sealed, opts.bytes).expect("a bare socket"),
            _ => blob::ours(cases[0], opts.bytes, &opts.engine, opts.secret),
        };
        println!(
            "{}",
            json!({ "ns_per_byte": cost.ns_per_byte, "rate": cost.rate })
        );
        return ExitCode::SUCCESS;
    }
    for case in cases {
        match measure(case, &opts) {
            Ok(line) => tell(&line, &opts),
            Err(error) => {
                eprintln!("blob: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn measure(case: Case, opts: &Opts) -> Result<Value, String> {
    let load = machine::load();
    let (mut ours, mut raw, mut made, mut sealed) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..opts.runs {
        raw.push(apart(case, opts, "raw")?);
        ours.push(apart(case, opts, "ours")?);
        made.push(apart(case, opts, "made")?);
        if opts.secret {
            sealed.push(apart(case, opts, "sealed")?);
        }
    }
    let middle = |costs: &[Cost]| Cost {
        ns_per_byte: apart::median(costs.iter().map(|cost| cost.ns_per_byte).collect()),
        rate: apart::median(costs.iter().map(|cost| cost.rate).collect()),
    };
    let sealed = opts.secret.then(|| middle(&sealed));
    let mut line = blob::line(case, middle(&ours), middle(&raw), middle(&made), sealed);
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    line["load"] = load.into();
    line["runs"] = opts.runs.into();
    line["engine"] = fleet::engine_word(&opts.engine).into();
    line["security"] = fleet::security_word(opts.secret).into();
    Ok(line)
}

fn apart(case: Case, opts: &Opts, what: &str) -> Result<Cost, String> {
    let (name, bytes) = (case.name(), opts.bytes.to_string());
    let mut args = vec!["--here", what, "--case", &name, "--bytes", &bytes];
    args.extend(["--engine", &opts.engine]);
    args.extend(opts.secret.then_some("--secret"));
    let line = apart::run(&args)?;
    Ok(Cost {
        ns_per_byte: apart::number(&line, "ns_per_byte"),
        rate: apart::number(&line, "rate"),
    })
}

fn tell(line: &Value, opts: &Opts) {
    if opts.json {
        println!("{line}");
        return;
    }
    let number = |key| apart::number(line, key);
    println!(
        "{:<9} {} {}: {:.3} ns a byte, {:.2} times a bare socket's {:.3}, {:.2} times its {:.3} with memory for each block; {:.2} GB/s, {:.2} and {:.2} of their rates (load {})",
        line["case"].as_str().unwrap_or("?"),
        line["engine"].as_str().unwrap_or("?"),
        line["security"].as_str().unwrap_or("?"),
        number("ns_per_byte"),
        number("cpu_ratio"),
        number("raw_ns_per_byte"),
        number("made_cpu_ratio"),
        number("made_ns_per_byte"),
        number("bytes_per_s") / 1e9,
        number("rate_ratio"),
        number("made_rate_ratio"),
        line["load"],
    );
    if !line["sealed_cpu_ratio"].is_null() {
        println!(
            "          {:.2} times the {:.3} ns of a socket that is sealed where its bytes lie, {:.2} of its rate",
            number("sealed_cpu_ratio"),
            number("sealed_ns_per_byte"),
            number("sealed_rate_ratio"),
        );
    }
}
