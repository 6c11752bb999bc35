//! What it takes to open a journal: results a second, memory for each; then results are read where they lie.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin journal
//! cargo run --release -p ringmw-benches --bin journal -- --results 1000000 --runs 5 --json
//! ```

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use ringmw::internals::journal::Journal;
use ringmw_benches::{apart, machine, meter};
use ringmw_codec::journal::{
    Identity, SEGMENT_BYTES, Segment, begin_results, hash_args, put_result, seal,
};
use serde_json::{Value, json};

const ALGORITHM: &str = "noise";
/// What a result is: two numbers.
const OUTPUT_BYTES: usize = 16;

/// Writes a journal as a master does, opens it as the next life does, and says what that took
///
/// CPU is that of the process, and wall time beside it; the files are in the kernel's cache. Memory is the resident set
/// with the journal open over that before, divided by the results. Each run opens in a process of its own.
#[derive(Parser)]
struct Opts {
    /// Results in the journal
    #[arg(long, value_name = "N", default_value_t = 10_000_000)]
    results: u64,
    /// Results in a record, as many as come in a packet of one series
    #[arg(long, value_name = "N", default_value = "100,1", value_delimiter = ',')]
    series: Vec<u32>,
    /// Runs; the one with the median CPU is told
    #[arg(long, value_name = "N", default_value_t = 3)]
    runs: usize,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Opens this journal in this very process
    #[arg(long, hide = true)]
    here: Option<std::path::PathBuf>,
}

fn main() -> ExitCode {
    let opts = Opts::parse();
    if let Some(folder) = &opts.here {
        println!("{}", open(folder, opts.results));
        return ExitCode::SUCCESS;
    }
    for &series in &opts.series {
        match measure(&opts, series) {
            Ok(line) => print(&line, &opts),
            Err(error) => {
                eprintln!("journal: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn identity() -> Identity {
    Identity {
        run: 1,
        program: "journal".into(),
        build: "of the bench".into(),
        seed: 42,
        ..Identity::default()
    }
}

fn args(stream: u64) -> [u8; 8] {
    stream.to_le_bytes()
}

fn output(stream: u64) -> [u8; OUTPUT_BYTES] {
    let mut output = [0; OUTPUT_BYTES];
    output[..8].copy_from_slice(&stream.to_le_bytes());
    output[8..].copy_from_slice(&(!stream).to_le_bytes());
    output
}

/// So many results, in segments of the usual length; their bytes in all.
fn write(folder: &Path, results: u64, series: u32) -> std::io::Result<u64> {
    let (mut stream, mut bytes) = (0, 0);
    for number in 1.. {
        if stream == results {
            break;
        }
        let head = Segment {
            life: 1,
            number,
            begun_us: 0,
            identity: identity(),
            algorithms: vec![ALGORITHM.into()],
        };
        let mut file = head.encode();
        let mut payloads = Vec::new();
        while stream < results && (file.len() as u64) < SEGMENT_BYTES {
            payloads.clear();
            for _ in 0..10_000 {
                let count = u64::from(series).min(results - stream) as u32;
                if count == 0 || file.len() + payloads.len() > SEGMENT_BYTES as usize {
                    break;
                }
                let all = OUTPUT_BYTES * count as usize;
                let table = begin_results(&mut payloads, 0, count, 0, (7, stream), all);
                for index in 0..count {
                    let task = stream + u64::from(index);
                    let hash = hash_args(&args(task));
                    put_result(&mut payloads, table, index, hash, 1_000, &output(task));
                }
                stream += u64::from(count);
            }
            let at = file.len() as u64;
            seal(&mut file, (1, number), at, &payloads);
        }
        bytes += file.len() as u64;
        File::create_new(folder.join(Segment::file_name(1, number)))?.write_all(&file)?;
    }
    Ok(bytes)
}

/// Opens it, then looks for some of the results.
fn open(folder: &Path, results: u64) -> Value {
    let (before, _) = meter::memory();
    let (cpu, wall) = (meter::process_cpu(), Instant::now());
    let mut journal = Journal::open(folder, &identity()).expect("it is ours");
    let (cpu, wall) = (meter::process_cpu() - cpu, wall.elapsed());
    let (now, peak) = meter::memory();
    assert_eq!(journal.results(), results);
    let sample = results.min(100_000);
    let cpu_before = meter::process_cpu();
    for nth in 0..sample {
        let stream = nth * (results / sample);
        let found = journal.output(ALGORITHM, (7, stream), &args(stream));
        assert_eq!(found.as_deref(), Some(&output(stream)[..]));
    }
    let find = meter::process_cpu() - cpu_before;
    assert_eq!(
        journal.output(ALGORITHM, (7, results), &args(results)),
        None
    );
    let per = |bytes: u64| bytes as f64 / results as f64;
    json!({
        "results": results,
        "results_per_cpu_s": results as f64 / cpu.as_secs_f64(),
        "results_per_s": results as f64 / wall.as_secs_f64(),
        "memory_bytes_per_result": per(now.saturating_sub(before)),
        "memory_peak_bytes_per_result": per(peak.saturating_sub(before)),
        "find_and_read_ns": find.as_nanos() as f64 / sample as f64,
    })
}

fn measure(opts: &Opts, series: u32) -> Result<Value, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let bytes = write(folder.path(), opts.results, series).map_err(|error| error.to_string())?;
    let results = opts.results.to_string();
    let here = folder.path().display().to_string();
    let mut lines = Vec::new();
    for _ in 0..opts.runs.max(1) {
        let load = machine::load();
        let mut line = apart::run(&["--here", &here, "--results", &results])?;
        line["load"] = load.into();
        lines.push(line);
    }
    let rate = |line: &Value| line["results_per_cpu_s"].as_f64().expect("a number");
    lines.sort_by(|a, b| rate(a).total_cmp(&rate(b)));
    let mut line = lines.swap_remove(lines.len() / 2);
    line["series"] = series.into();
    line["bytes"] = bytes.into();
    for (key, value) in machine::describe().as_object().expect("an object") {
        if key != "load" {
            line[key] = value.clone();
        }
    }
    Ok(line)
}

fn print(line: &Value, opts: &Opts) {
    if opts.json {
        println!("{line}");
        return;
    }
    let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    println!(
        "{} results, {} in a record, {:.0} MiB: opened at {:.2} million a second of CPU ({:.2} of time, load {}), {:.1} B of memory each ({:.1} at the peak); one is found and read in {:.0} ns",
        line["results"],
        line["series"],
        number("bytes") / f64::from(1 << 20),
        number("results_per_cpu_s") / 1e6,
        number("results_per_s") / 1e6,
        line["load"],
        number("memory_bytes_per_result"),
        number("memory_peak_bytes_per_result"),
        number("find_and_read_ns"),
    );
}
