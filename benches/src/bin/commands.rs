//! Commands as tasks, beside HyperQueue and GNU parallel, in turns within one run.
//!
//! ```text
//! cargo build --release -p ringmw-examples --example commands
//! cargo run --release -p ringmw-benches --bin commands
//! ```

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use ringmw_benches::rivals::drive::Rival;
use ringmw_benches::rivals::{RivalCase, Workload};
use ringmw_benches::{apart, machine};
use serde_json::{Value, json};

/// Runs so many times `true` by the example `commands`, by HyperQueue and by GNU parallel
///
/// Each with as many workers as there are cores. Told are medians: the rate, and for `commands` and parallel the CPU of all
/// their processes, the commands included, which are the same; and the ratios of neighbouring runs. HyperQueue is a Python
/// package, and is given 1,000 of them; parallel is Debian's. One that cannot be had is skipped, and it is said how to install it.
#[derive(Parser)]
struct Opts {
    /// Commands
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    tasks: u64,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The example's executable [default: beside this one]
    #[arg(long)]
    commands: Option<PathBuf>,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What one run took.
struct Cost {
    rate: f64,
    cpu_s: f64,
}

fn main() -> ExitCode {
    match run(&Opts::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("commands: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(opts: &Opts) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.with_file_name("examples").join("commands");
    let commands = opts.commands.clone().unwrap_or(beside);
    if !commands.exists() {
        return Err(format!(
            "{} is not there: cargo build --release -p ringmw-examples --example commands",
            commands.display()
        ));
    }
    let workers = std::thread::available_parallelism().map_or(2, usize::from);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let lines = folder.path().join("lines");
    let text = "true\n".repeat(usize::try_from(opts.tasks).map_err(|error| error.to_string())?);
    std::fs::write(&lines, text).map_err(|error| error.to_string())?;
    let hyperqueue = Rival::prepare("hyperqueue", &own.with_file_name("rivals-work"));
    if let Err(why) = &hyperqueue {
        eprintln!("SKIPPED hyperqueue: {why}");
    }
    let has_parallel = Command::new("parallel").arg("--version").output().is_ok();
    if !has_parallel {
        eprintln!("SKIPPED parallel: install it with: apt-get install parallel");
    }
    let (mut ours, mut queue, mut parallel) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..opts.runs {
        let count = workers.to_string();
        ours.push(cost(
            &commands,
            &["--mw-local", &count],
            &lines,
            opts.tasks,
        )?);
        if has_parallel {
            parallel.push(cost(
                Path::new("parallel"),
                &["-j", &count],
                &lines,
                opts.tasks,
            )?);
        }
        if let Ok(hyperqueue) = &hyperqueue {
            let case = RivalCase {
                workload: Workload::Noop(1),
                workers: workers as u32,
            };
            queue.push(hyperqueue.run(case, 0)?);
        }
    }
    let middle = |numbers: Vec<f64>| match numbers.is_empty() {
        true => Value::Null,
        false => apart::median(numbers).into(),
    };
    let mut line = json!({
        "case": "commands",
        "tasks": opts.tasks,
        "workers": workers,
        "runs": opts.runs,
        "rate": middle(ours.iter().map(|cost| cost.rate).collect()),
        "cpu_us": middle(ours.iter().map(|cost| cost.cpu_s * 1e6 / opts.tasks as f64).collect()),
        "hyperqueue": hyperqueue.as_ref().ok().map(|rival| rival.version.clone()),
        "hyperqueue_rate": middle(queue.iter().map(|figures| figures.tasks / figures.wall_s).collect()),
        "rate_over_hyperqueue": middle(ours.iter().zip(&queue).map(|(ours, other)| ours.rate * other.wall_s / other.tasks).collect()),
        "parallel_rate": middle(parallel.iter().map(|cost| cost.rate).collect()),
        "parallel_cpu_us": middle(parallel.iter().map(|cost| cost.cpu_s * 1e6 / opts.tasks as f64).collect()),
        "cpu_over_parallel": middle(ours.iter().zip(&parallel).map(|(ours, other)| ours.cpu_s / other.cpu_s).collect()),
    });
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    if opts.json {
        return Ok(line.to_string());
    }
    let number = |key: &str| {
        line[key]
            .as_f64()
            .map_or("?".to_owned(), |number| format!("{number:.2}"))
    };
    Ok(format!(
        "{} times true, {workers} workers: {} a second, {} times HyperQueue's, {} times parallel's CPU ({} and {} us each; load {})",
        opts.tasks,
        number("rate"),
        number("rate_over_hyperqueue"),
        number("cpu_over_parallel"),
        number("cpu_us"),
        number("parallel_cpu_us"),
        line["load"]
    ))
}

/// Runs a program that reads the commands from its standard input.
fn cost(program: &Path, args: &[&str], lines: &Path, tasks: u64) -> Result<Cost, String> {
    let what = program.display();
    let input = File::open(lines).map_err(|error| error.to_string())?;
    let (begun, before) = (Instant::now(), children_cpu());
    let mut child = Command::new(program)
        .args(args)
        .stdin(input)
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|error| format!("{what}: {error}"))?;
    let status = child.wait().map_err(|error| format!("{what}: {error}"))?;
    if !status.success() {
        return Err(format!("{what}: {status}"));
    }
    Ok(Cost {
        rate: tasks as f64 / begun.elapsed().as_secs_f64(),
        cpu_s: children_cpu() - before,
    })
}

/// CPU seconds of all children of this process that have ended and been waited for, and of theirs.
fn children_cpu() -> f64 {
    // SAFETY: it fills in the structure that it is given, which holds numbers alone.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage);
        usage
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}
