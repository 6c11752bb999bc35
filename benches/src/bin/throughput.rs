//! No-op tasks through the whole system on loopback: what one costs the master.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin throughput
//! cargo run --release -p ringmw-benches --bin throughput -- --case noop-g100-s2 --json
//! ```

use std::process::ExitCode;

use clap::Parser;
use ringmw_benches::{Case, Measured, Through, app, run};

/// Tasks per packet; 0 is automatic.
const GROUPS: [u32; 5] = [1, 10, 100, 1000, 0];
const SLAVES: [u32; 3] = [2, 8, 64];

/// Runs no-op tasks through a master in this process and slaves in others, on loopback.
#[derive(Parser)]
struct Opts {
    /// Run this case alone, such as noop-g100-s2 or noop-queue-gauto-s8
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Tasks in each case [default: enough for a second or a few]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    tasks: Option<u64>,
    /// The master's engine: auto, ring or epoll
    #[arg(long, default_value = "auto")]
    engine: String,
    /// What the trail tells: none, default, packets or tasks
    #[arg(long, value_name = "LEVEL", default_value = "default")]
    audit: String,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn name(case: &Case) -> String {
    let through = match case.through {
        Through::Map => "noop",
        Through::Queue => "noop-queue",
    };
    format!("{through}-g{}-s{}", case.group_text(), case.slaves)
}

fn cases(tasks: Option<u64>) -> Vec<Case> {
    let mut cases = Vec::new();
    for through in [Through::Map, Through::Queue] {
        for slaves in SLAVES {
            for group in GROUPS {
                let enough = match group {
                    1 => 200_000,
                    10 => 1_000_000,
                    _ => 5_000_000,
                };
                cases.push(Case {
                    group,
                    slaves,
                    tasks: tasks.unwrap_or(enough),
                    through,
                });
            }
        }
    }
    cases
}

fn print(case: &Case, engine: &str, measured: Measured, json: bool) {
    let (name, rate) = (name(case), measured.tasks_per_s());
    let cpu = measured.cpu_ns_per_task();
    if json {
        println!(
            "{{\"case\":\"{name}\",\"engine\":\"{engine}\",\"tasks\":{},\"tasks_per_s\":{rate:.0},\"master_cpu_ns_per_task\":{cpu:.1}}}",
            measured.tasks,
        );
    } else {
        println!("{name:<22} {rate:>12.0} tasks/s {cpu:>9.1} ns CPU of the master per task");
    }
}

fn main() -> ExitCode {
    if std::env::args().any(|arg| arg == "--mw-slave") {
        return app().run();
    }
    let opts = Opts::parse();
    let all = cases(opts.tasks);
    let chosen = all.iter().filter(|case| {
        opts.case
            .as_ref()
            .is_none_or(|wanted| *wanted == name(case))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut ran = 0;
    for case in chosen {
        let file = folder.path().join(name(case));
        let trail = (opts.audit != "none").then_some((&*file, &*opts.audit));
        let measured = run(*case, &opts.engine, trail);
        print(case, &opts.engine, measured, opts.json);
        if let Some((file, level)) = trail.filter(|_| !opts.json) {
            let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
            println!("{:<22} {bytes:>12} bytes of trail at level {level}", "");
        }
        ran += 1;
    }
    if ran == 0 {
        let names: Vec<String> = all.iter().map(name).collect();
        eprintln!(
            "--case: there is no such case; they are: {}",
            names.join(" ")
        );
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}
