//! Data that slaves share: its cost to the tasks beside it, to the master's memory, and its rate from a file.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin shared
//! cargo run --release -p ringmw-benches --bin shared -- --case file --bytes 10000000000 --secret --json
//! ```

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::blob::{self, Blocks};
use ringmw_benches::{apart, fleet, machine, shared};
use serde_json::{Value, json};

/// Shares data with eight slaves beside tasks of a millisecond, and a file with one
///
/// Cases: beside (10,000 calls of 1 ms on eight slaves while each is sent 100 MB; told is their 99th percentile over that
/// of the same run without), and file (1 GB from a file to one slave; told is the rate over a bare socket's that moves
/// blocks of 4 MB through one buffer, and over that of one whose reader keeps all that comes, as a slave does). Each run has a process of its own; told are medians.
#[derive(Parser)]
struct Opts {
    /// Run this case alone [default: both]
    #[arg(long, value_name = "NAME", value_parser = ["beside", "file"])]
    case: Option<String>,
    /// Bytes that are shared [default: 100 MB beside tasks, 1 GB from a file]
    #[arg(long, value_name = "N")]
    bytes: Option<u64>,
    /// Tasks beside it
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    tasks: u64,
    /// Runs of both
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
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
    /// Measure in this very process: beside, file, raw or kept
    #[arg(long, hide = true, requires = "bytes")]
    here: Option<String>,
    #[arg(long, hide = true)]
    path: Option<PathBuf>,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    if let Some(what) = &opts.here {
        println!("{}", here(what, &opts));
        return ExitCode::SUCCESS;
    }
    for case in ["beside", "file"] {
        if opts.case.as_ref().is_some_and(|only| only != case) {
            continue;
        }
        let measured = match case {
            "beside" => beside(&opts),
            _ => file(&opts),
        };
        match measured {
            Ok(line) => tell(line, case, &opts),
            Err(error) => {
                eprintln!("shared: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn here(what: &str, opts: &Opts) -> Value {
    let bytes = opts.bytes.expect("clap requires it");
    match what {
        "beside" => shared::beside(opts.tasks, bytes as usize, &opts.engine, opts.secret),
        "file" => shared::file(
            opts.path.as_ref().expect("a file"),
            &opts.engine,
            opts.secret,
        ),
        _ => {
            let case = blob::Case {
                is_in: false,
                bytes: 4_000_000,
            };
            let blocks = match what {
                "kept" => Blocks::Kept,
                _ => Blocks::Reused,
            };
            json!({ "bytes_per_s": blob::raw(case, blocks, bytes).expect("a bare socket").rate })
        }
    }
}

fn apart(what: &str, bytes: u64, path: Option<&str>, opts: &Opts) -> Result<Value, String> {
    let (bytes, tasks) = (bytes.to_string(), opts.tasks.to_string());
    let mut args = vec!["--here", what, "--bytes", &bytes, "--tasks", &tasks];
    args.extend(["--engine", &opts.engine]);
    args.extend(path.into_iter().flat_map(|path| ["--path", path]));
    args.extend(opts.secret.then_some("--secret"));
    apart::run(&args)
}

/// The median of one figure.
fn middle(lines: &[Value], key: &str) -> f64 {
    apart::median(lines.iter().map(|line| apart::number(line, key)).collect())
}

/// The median of the ratios of neighbouring runs.
fn ratio(of: &[Value], over: &[Value], key: &str) -> f64 {
    let pairs = of.iter().zip(over);
    apart::median(
        pairs
            .map(|(of, over)| apart::number(of, key) / apart::number(over, key))
            .collect(),
    )
}

fn more_bytes(lines: &[Value]) -> f64 {
    let more = lines
        .iter()
        .map(|line| apart::number(line, "peak_bytes") - apart::number(line, "before_bytes"));
    apart::median(more.collect())
}

fn beside(opts: &Opts) -> Result<Value, String> {
    let bytes = opts.bytes.unwrap_or(100_000_000);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..opts.runs {
        without.push(apart("beside", 0, None, opts)?);
        with.push(apart("beside", bytes, None, opts)?);
    }
    Ok(json!({
        "bytes": bytes,
        "tasks": opts.tasks,
        "p50_ms": middle(&with, "p50_ms"),
        "p99_ms": middle(&with, "p99_ms"),
        "alone_p99_ms": middle(&without, "p99_ms"),
        "p99_ratio": ratio(&with, &without, "p99_ms"),
        "tasks_s_ratio": ratio(&with, &without, "tasks_s"),
        "sent_s": middle(&with, "sent_s"),
        "sent_ratio": middle(&with, "sent_bytes") / (8 * bytes) as f64,
        "memory_above_blob_bytes": more_bytes(&with) - bytes as f64,
        "memory_alone_bytes": more_bytes(&without),
    }))
}

fn file(opts: &Opts) -> Result<Value, String> {
    let bytes = opts.bytes.unwrap_or(1_000_000_000);
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("data");
    write(&path, bytes).map_err(|error| format!("{}: {error}", path.display()))?;
    let path = path.to_str().ok_or("the folder's name is no text")?;
    let (mut ours, mut raw, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..opts.runs {
        raw.push(apart("raw", bytes, None, opts)?);
        ours.push(apart("file", bytes, Some(path), opts)?);
        kept.push(apart("kept", bytes, None, opts)?);
    }
    Ok(json!({
        "bytes": bytes,
        "bytes_per_s": middle(&ours, "bytes_per_s"),
        "raw_bytes_per_s": middle(&raw, "bytes_per_s"),
        "rate_ratio": ratio(&ours, &raw, "bytes_per_s"),
        "kept_bytes_per_s": middle(&kept, "bytes_per_s"),
        "kept_rate_ratio": ratio(&ours, &kept, "bytes_per_s"),
        "memory_bytes": more_bytes(&ours),
    }))
}

fn write(path: &std::path::Path, bytes: u64) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    let mut left = bytes;
    let mut block: Vec<u8> = (0..1u32 << 20).map(|n| n as u8).collect();
    while left > 0 {
        let part = left.min(block.len() as u64);
        // No two blocks are alike.
        block[..8].copy_from_slice(&left.to_le_bytes());
        file.write_all(&block[..part as usize])?;
        left -= part;
    }
    Ok(())
}

fn tell(mut line: Value, case: &str, opts: &Opts) {
    line["case"] = case.into();
    line["engine"] = fleet::engine_word(&opts.engine).into();
    line["security"] = fleet::security_word(opts.secret).into();
    line["runs"] = opts.runs.into();
    for (key, value) in machine::describe().as_object().expect("an object") {
        line[key] = value.clone();
    }
    if opts.json {
        println!("{line}");
        return;
    }
    let number = |key| apart::number(&line, key);
    let (engine, security) = (&line["engine"], &line["security"]);
    match case {
        "beside" => println!(
            "beside {engine} {security}: p99 {:.2} ms, {:.2} times that without ({:.2} ms); {:.2} s for {:.0} bytes to 8 slaves, {:.3} times what is needed; the master had {:.1} MiB beside the data, {:.1} without any (load {})",
            number("p99_ms"),
            number("p99_ratio"),
            number("alone_p99_ms"),
            number("sent_s"),
            number("bytes"),
            number("sent_ratio"),
            number("memory_above_blob_bytes") / (1 << 20) as f64,
            number("memory_alone_bytes") / (1 << 20) as f64,
            line["load"],
        ),
        _ => println!(
            "file {engine} {security}: {:.2} GB/s, {:.2} of a bare socket's {:.2}, {:.2} of the {:.2} of one that keeps what comes; the master had {:.1} MiB more (load {})",
            number("bytes_per_s") / 1e9,
            number("rate_ratio"),
            number("raw_bytes_per_s") / 1e9,
            number("kept_rate_ratio"),
            number("kept_bytes_per_s") / 1e9,
            number("memory_bytes") / (1 << 20) as f64,
            line["load"],
        ),
    }
}
