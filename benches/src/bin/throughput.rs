//! No-op tasks through the whole system on loopback: what one costs the master.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin throughput
//! cargo run --release -p ringmw-benches --bin throughput -- --case noop-g100-s64 --runs 5 --json
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::case::{self, Case, Load};
use ringmw_benches::{apart, fleet, machine};
use serde_json::Value;

/// Runs no-op tasks through a master and its slaves on loopback, and says what one costs the master
///
/// Cases are noop-gG-sS (results through `map`) and noop-queue-gG-sS (through `take_results`): G is 1, 10, 100, 1000
/// or auto tasks per packet, S is 2, 8 or 64 slave processes, or 1000 or 10000 slaves that one process plays; and
/// SHAPE-g100-sS with tasks as users have them, S 2 or 64: str vstr echo vecf tag policy ordered inorder reduce call (of
/// whose CPU what `join_all` costs over ready futures is taken off), and reduce with 1000 per packet too. Each runs
/// in a process of its own and within 20 s. CPU is that of the master's process, all threads, from the first tenth of
/// the tasks on. Latency is from submission to result, of one task in 64, while all the others queue. System calls are
/// counted in a second pass, by the kernel's tracepoint (root only).
#[derive(Parser)]
struct Opts {
    /// Run this case alone [default: all]
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Run the cases whose names contain this
    #[arg(long, value_name = "TEXT", conflicts_with = "case")]
    only: Option<String>,
    /// Tasks in each case [default: enough for a second or a few]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,
    /// Run each case so often, in rounds over all of them; the run with the median CPU per task is told
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// Encrypted, as a run is that is not told otherwise
    #[arg(long)]
    secret: bool,
    /// What it comes to is recorded in a journal, in this folder's file system
    #[arg(long, value_name = "FOLDER", conflicts_with = "beside_journal")]
    journal: Option<PathBuf>,
    /// What recording costs: runs with a journal in this folder's file system and without, in --runs alternating pairs
    #[arg(long, value_name = "FOLDER")]
    beside_journal: Option<PathBuf>,
    /// What the secret costs: encrypted runs and plain ones, in --runs alternating pairs
    #[arg(long, conflicts_with_all = ["beside_journal", "secret"])]
    beside_plain: bool,
    /// What the trail tells: none, default, packets or tasks
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    audit: String,
    /// One JSON object a line, beside the table on standard error
    #[arg(long)]
    json: bool,
    /// Measure in this very process: what the processes of the cases are started with
    #[arg(long, hide = true, requires = "case")]
    here: bool,
}

macro_rules! table {
    ($opts:expr, $($words:tt)*) => {
        match $opts.json {
            true => eprintln!($($words)*),
            false => println!($($words)*),
        }
    };
}

fn main() -> ExitCode {
    if let Some(code) = ringmw_benches::role() {
        return code;
    }
    let opts = Opts::parse();
    let cases: Vec<Case> = Case::all()
        .into_iter()
        .filter(|case| opts.case.as_ref().is_none_or(|name| *name == case.name()))
        .filter(|case| {
            opts.only
                .as_ref()
                .is_none_or(|text| case.name().contains(text))
        })
        .collect();
    if cases.is_empty() {
        let names: Vec<String> = Case::all().iter().map(Case::name).collect();
        eprintln!("there is no such case; they are: {}", names.join(" "));
        return ExitCode::from(2);
    }
    if opts.here {
        println!("{}", measure(cases[0], &opts));
        return ExitCode::SUCCESS;
    }
    let beside = match &opts.beside_journal {
        Some(folder) => Some(With::Journal(folder)),
        None => opts.beside_plain.then_some(With::Secret),
    };
    let told = match beside {
        Some(with) => pairs(&cases, with, &opts),
        None => run_all(&cases, &opts),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("throughput: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a run has that the other of its pair has not.
#[derive(Copy, Clone)]
enum With<'a> {
    /// A journal in this folder's file system.
    Journal(&'a Path),
    /// A secret.
    Secret,
}

fn measure(case: Case, opts: &Opts) -> Value {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join(case.name());
    let trail = (opts.audit != "none").then_some((&*file, &*opts.audit));
    let mut load = Load::with(case, opts.tasks.unwrap_or_else(|| case.usual_tasks()));
    load.secret = opts.secret;
    let recorded = opts
        .journal
        .as_ref()
        .map(|at| tempfile::tempdir_in(at).expect("a folder for the journal"));
    load.journal = recorded.as_ref().map(|at| at.path().join("journal"));
    case::run(&load, &opts.engine, trail)
}

fn run_all(cases: &[Case], opts: &Opts) -> Result<(), String> {
    let machine = machine::describe();
    print_head(opts, &machine);
    let mut lines: Vec<Vec<Value>> = vec![Vec::new(); cases.len()];
    for round in 1..=opts.runs {
        for (case, lines) in cases.iter().zip(&mut lines) {
            let load = machine::load();
            let mut line = measure_apart(*case, opts, opts.journal.as_deref(), opts.secret)?;
            line["load"] = load.into();
            lines.push(line);
            if round == opts.runs {
                let mut line = median(std::mem::take(lines));
                for (key, value) in machine.as_object().expect("an object") {
                    if key != "load" {
                        line[key] = value.clone();
                    }
                }
                print(&line, opts);
            }
        }
    }
    Ok(())
}

/// Each case with it and without, in pairs next to one another, of which every second one begins with it.
fn pairs(cases: &[Case], with: With<'_>, opts: &Opts) -> Result<(), String> {
    let machine = machine::describe();
    table!(
        opts,
        "load {}; ns of CPU per task, all threads; medians of {} pairs",
        machine["load"],
        opts.runs
    );
    table!(
        opts,
        "{:<23} {:>9} {:>9} {:>9} {:>9}",
        "case",
        "without",
        "with",
        "more",
        "ratio"
    );
    for case in cases {
        let (mut nss_without, mut nss_with) = (Vec::new(), Vec::new());
        for pair in 0..opts.runs {
            for second in [false, true] {
                let has_it = second == (pair % 2 == 0);
                let (journal, secret) = match with {
                    With::Journal(folder) => (has_it.then_some(folder), opts.secret),
                    With::Secret => (opts.journal.as_deref(), has_it),
                };
                let line = measure_apart(*case, opts, journal, secret)?;
                let ns = apart::number(&line, "master_cpu_ns_per_task");
                match has_it {
                    true => nss_with.push(ns),
                    false => nss_without.push(ns),
                }
            }
        }
        let of_pairs = |of: fn((&f64, &f64)) -> f64| {
            apart::median(nss_with.iter().zip(&nss_without).map(of).collect())
        };
        let more = of_pairs(|(with, without)| with - without);
        let ratio = of_pairs(|(with, without)| with / without);
        let (without, with) = (apart::median(nss_without), apart::median(nss_with));
        table!(
            opts,
            "{:<23} {without:>9.1} {with:>9.1} {more:>9.1} {ratio:>9.3}",
            case.name()
        );
        if opts.json {
            let line = serde_json::json!({
                "case": case.name(), "without_ns": without, "with_ns": with, "more_ns": more, "ratio": ratio,
            });
            println!("{line}");
        }
    }
    Ok(())
}

/// A case in a process of its own: memory and caches are as fresh as those of a real master.
fn measure_apart(
    case: Case,
    opts: &Opts,
    journal: Option<&Path>,
    secret: bool,
) -> Result<Value, String> {
    let name = case.name();
    let tasks = opts.tasks.map(|tasks| tasks.to_string());
    let mut args = vec!["--here", "--case", &name];
    args.extend(["--engine", &opts.engine, "--audit", &opts.audit]);
    args.extend(secret.then_some("--secret"));
    let journal = journal.map(|folder| folder.display().to_string());
    args.extend(journal.iter().flat_map(|folder| ["--journal", folder]));
    args.extend(tasks.iter().flat_map(|tasks| ["--tasks", tasks]));
    apart::run(&args)
}

/// The run with the median CPU per task, with the least and the most.
fn median(mut lines: Vec<Value>) -> Value {
    let cpu = |line: &Value| line["master_cpu_ns_per_task"].as_f64().expect("a number");
    lines.sort_by(|a, b| cpu(a).total_cmp(&cpu(b)));
    let (least, most) = (cpu(&lines[0]), cpu(&lines[lines.len() - 1]));
    let runs = lines.len();
    let mut line = lines.swap_remove((runs - 1) / 2);
    line["runs"] = runs.into();
    line["master_cpu_ns_per_task_least"] = least.into();
    line["master_cpu_ns_per_task_most"] = most.into();
    line
}

fn print_head(opts: &Opts, machine: &Value) {
    let text = |key: &str| machine[key].as_str().unwrap_or("?").to_owned();
    table!(
        opts,
        "ringmw {}, Linux {}, {} x {}, load {}, security {}",
        text("commit"),
        text("kernel"),
        machine["cpus"],
        text("cpu"),
        machine["load"],
        fleet::security_word(opts.secret),
    );
    table!(
        opts,
        "{:<23} {:>6} {:>11} {:>8} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>8}",
        "case",
        "engine",
        "tasks/s",
        "ns/task",
        "ns/packet",
        "task/pkt",
        "p50 us",
        "p99 us",
        "max us",
        "sysc/task",
        "peak MiB",
        "settled",
    );
}

fn print(line: &Value, opts: &Opts) {
    let number = |key: &str| line[key].as_f64().unwrap_or(f64::NAN);
    let latency = |key: &str| line["latency_us"][key].as_f64().unwrap_or(f64::NAN);
    let mib = |key: &str| number(key) / f64::from(1 << 20);
    table!(
        opts,
        "{:<23} {:>6} {:>11.0} {:>8.1} {:>10.0} {:>9.1} {:>9.0} {:>9.0} {:>9.0} {:>9.4} {:>8.1} {:>8.1}",
        line["case"].as_str().unwrap_or("?"),
        line["engine"].as_str().unwrap_or("?"),
        number("tasks_per_s"),
        number("master_cpu_ns_per_task"),
        number("master_cpu_ns_per_packet"),
        number("tasks_per_packet"),
        latency("p50"),
        latency("p99"),
        latency("max"),
        number("syscalls_per_task"),
        mib("memory_peak_bytes"),
        mib("memory_settled_bytes"),
    );
    if opts.json {
        println!("{line}");
    }
}
