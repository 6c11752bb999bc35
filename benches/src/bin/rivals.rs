//! Other master-worker systems on the same workloads, in the same run.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin rivals
//! cargo run --release -p ringmw-benches --bin rivals -- --rival zeromq --json
//! cargo run --release -p ringmw-benches --bin rivals -- --save --readme
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::case::{self, Case, Load, Through};
use ringmw_benches::rivals::drive::{Figures, Rival, our_tasks};
use ringmw_benches::rivals::{self, NAMES, RivalCase, Workload};
use ringmw_benches::shapes::Shape;
use ringmw_benches::{apart, loops, machine};
use serde_json::{Value, json};

/// Runs no-op tasks and counted loops of a millisecond on other systems and on ours, in turns
///
/// Each rival is built and started here: C drivers with cc, Python packages in a virtual environment beside this program.
/// One that cannot be had is skipped, and it is said how to install it. Told are medians, and the medians of the ratios of
/// neighbouring runs, rival over ours: a cpu_ratio above 1 and a rate_ratio below 1 are in our favour. CPU is that of the
/// master's process: of ZeroMQ's and MPI's, of Gearman's client and its job server, of Dask's client with the scheduler,
/// of Work Queue's manager, and of HyperQueue's client and server threads. Ours is at the same tasks per packet, but for
/// the loops, where it is automatic.
#[derive(Parser)]
struct Opts {
    /// Run this rival alone
    #[arg(long, value_parser = NAMES)]
    rival: Option<String>,
    /// Run this case alone, such as noop-g100-s64 or 1ms-s2
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// Keep the results in benches/results/rivals.jsonl, in the place of older ones of the same case
    #[arg(long)]
    save: bool,
    /// Write the kept results into the table of benches/README.md (after measuring when --save is given, else without)
    #[arg(long)]
    readme: bool,
    /// Measure ours in this very process
    #[arg(long, hide = true, requires = "case")]
    here: bool,
    #[arg(long, hide = true, default_value_t = 0)]
    iterations: u64,
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    match run(&opts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rivals: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(opts: &Opts) -> Result<(), String> {
    if opts.here {
        println!("{}", ours_here(opts)?);
        return Ok(());
    }
    if opts.save || !opts.readme {
        let results = measure(opts)?;
        if opts.save {
            let kept = std::fs::read_to_string(results_path()).unwrap_or_default();
            write(&results_path(), &rivals::merge(&kept, &results)?)?;
        }
    }
    if opts.readme {
        let path = project().join("benches/README.md");
        let page = read(&path)?;
        write(&path, &rivals::readme(&page, &read(&results_path())?)?)?;
    }
    Ok(())
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn results_path() -> PathBuf {
    project().join("benches/results/rivals.jsonl")
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().expect("a file is in a folder");
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("{}: {error}", path.display()))
}

/// What one case of one rival gave, and ours beside it.
struct Samples<'a> {
    rival: &'a Rival,
    name: &'static str,
    case: RivalCase,
    pairs: Vec<(Figures, Figures)>,
    failed: Option<String>,
}

fn measure(opts: &Opts) -> Result<Vec<Value>, String> {
    ringmw::internals::engine::raise_nofile().map_err(|error| format!("RLIMIT_NOFILE: {error}"))?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = program.with_file_name("rivals-work");
    let wanted = |name: &&str| opts.rival.as_deref().is_none_or(|only| only == *name);
    let mut ready = Vec::new();
    for name in NAMES.into_iter().filter(wanted) {
        match Rival::prepare(name, &folder) {
            Ok(rival) => ready.push((name, rival)),
            Err(why) => eprintln!("SKIPPED {name}: {why}"),
        }
    }
    let mut samples: Vec<Samples<'_>> = Vec::new();
    for (name, rival) in &ready {
        let cases = rivals::cases(name).into_iter();
        let chosen =
            cases.filter(|case| opts.case.as_ref().is_none_or(|only| *only == case.name()));
        samples.extend(chosen.map(|case| Samples {
            rival,
            name,
            case,
            pairs: Vec::new(),
            failed: None,
        }));
    }
    if samples.is_empty() {
        return Err("nothing to run".to_owned());
    }
    let (machine, load) = (machine::describe(), machine::load());
    let iterations = loops::iterations_per_ms(2, 100_000) as u64;
    for _ in 0..opts.runs {
        for sample in samples.iter_mut().filter(|sample| sample.failed.is_none()) {
            let theirs = sample.rival.run(sample.case, iterations);
            match theirs.and_then(|theirs| Ok((theirs, ours(sample.case, iterations)?))) {
                Ok(pair) => sample.pairs.push(pair),
                Err(why) => {
                    eprintln!("FAILED {why}");
                    sample.failed = Some(why);
                }
            }
        }
    }
    let mut results = Vec::new();
    for sample in samples.iter().filter(|sample| sample.failed.is_none()) {
        let mut line = line_of(sample);
        for (key, value) in machine.as_object().expect("an object") {
            line[key] = value.clone();
        }
        line["load"] = load.into();
        tell(&line, opts);
        results.push(line);
    }
    Ok(results)
}

fn line_of(sample: &Samples<'_>) -> Value {
    let median = |of: &dyn Fn(&(Figures, Figures)) -> f64| {
        apart::median(sample.pairs.iter().map(of).collect())
    };
    let cpu = |figures: &Figures| figures.cpu_s / figures.tasks;
    let rate = |figures: &Figures| figures.tasks / figures.wall_s;
    json!({
        "rival": sample.name,
        "version": sample.rival.version,
        "case": sample.case.name(),
        "runs": sample.pairs.len(),
        "cpu_ratio": median(&|(theirs, ours)| cpu(theirs) / cpu(ours)),
        "rate_ratio": median(&|(theirs, ours)| rate(theirs) / rate(ours)),
        "master_cpu_ns_per_task": median(&|(theirs, _)| cpu(theirs) * 1e9),
        "our_master_cpu_ns_per_task": median(&|(_, ours)| cpu(ours) * 1e9),
        "tasks_per_s": median(&|(theirs, _)| rate(theirs)),
        "our_tasks_per_s": median(&|(_, ours)| rate(ours)),
        "wall_s": median(&|(theirs, _)| theirs.wall_s),
        "our_wall_s": median(&|(_, ours)| ours.wall_s),
    })
}

fn tell(line: &Value, opts: &Opts) {
    if opts.json {
        return println!("{line}");
    }
    let number = |key: &str| apart::number(line, key);
    println!(
        "{:<11} {:<15} CPU {:>9.1} ns/task, ours {:>7.1}: {:>8.2} times; {:>10.0} tasks/s, ours {:>10.0}: {:>7.4} times (load {})",
        line["rival"].as_str().unwrap_or("?"),
        line["case"].as_str().unwrap_or("?"),
        number("master_cpu_ns_per_task"),
        number("our_master_cpu_ns_per_task"),
        number("cpu_ratio"),
        number("tasks_per_s"),
        number("our_tasks_per_s"),
        number("rate_ratio"),
        line["load"],
    );
}

/// Ours, in a process of its own.
fn ours(case: RivalCase, iterations: u64) -> Result<Figures, String> {
    let (name, iterations) = (case.name(), iterations.to_string());
    let figures = apart::run(&["--here", "--case", &name, "--iterations", &iterations])?;
    let number = |key: &str| apart::number(&figures, key);
    Ok(Figures {
        tasks: number("tasks"),
        wall_s: number("wall_s"),
        cpu_s: number("cpu_s"),
    })
}

fn ours_here(opts: &Opts) -> Result<Value, String> {
    let name = opts.case.as_deref().expect("clap asks for it");
    let all = NAMES.into_iter().flat_map(rivals::cases);
    let case = all.into_iter().find(|case| case.name() == name);
    let case = case.ok_or_else(|| format!("no case {name}"))?;
    match case.workload {
        Workload::Noop(group)
        | Workload::Encrypted(group)
        | Workload::AgainstPlain(group)
        | Workload::Echo { group, .. } => {
            let (shape, result_group) = match case.workload {
                Workload::Echo { result_group, .. } => (Shape::Echo, Some(result_group)),
                _ => (Shape::Noop, None),
            };
            let ours = Case {
                through: Through::Map,
                shape,
                group,
                slaves: case.workers,
            };
            let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
            let file = folder.path().join("trail");
            let load = Load {
                result_group,
                secret: matches!(
                    case.workload,
                    Workload::Encrypted(_) | Workload::AgainstPlain(_)
                ),
                ..Load::with(ours, our_tasks(group))
            };
            let figures = case::run(&load, "auto", Some((&file, "default")));
            let number = |key: &str| apart::number(&figures, key);
            Ok(json!({
                "tasks": number("tasks"),
                "wall_s": number("wall_s"),
                "cpu_s": number("master_cpu_ns_per_task") * number("tasks") / 1e9,
            }))
        }
        Workload::Millisecond => {
            const LOOPS: usize = 2_000;
            let ours = loops::time_ours(case.workers, 0, "auto", vec![opts.iterations; LOOPS]);
            Ok(json!({
                "tasks": LOOPS,
                "wall_s": ours.wall.as_secs_f64(),
                "cpu_s": ours.cpu.as_secs_f64(),
            }))
        }
    }
}
