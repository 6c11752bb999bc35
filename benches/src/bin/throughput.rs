//! No-op tasks through the whole system on loopback.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin throughput
//! cargo run --release -p ringmw-benches --bin throughput -- --case noop-g100-s2 --json
//! ```

use std::process::ExitCode;

use ringmw_benches::{Case, Through, app, run};

const GROUPS: [u32; 4] = [1, 10, 100, 1000];
const SLAVES: [u32; 3] = [2, 8, 64];

fn name(case: &Case) -> String {
    let through = if case.through == Through::Queue {
        "noop-queue"
    } else {
        "noop"
    };
    format!("{through}-g{}-s{}", case.group, case.slaves)
}

/// Enough tasks that a case takes a second or a few.
fn tasks(group: u32) -> u64 {
    match group {
        1 => 200_000,
        10 => 1_000_000,
        _ => 5_000_000,
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for through in [Through::Map, Through::Queue] {
        for slaves in SLAVES {
            for group in GROUPS {
                cases.push(Case {
                    group,
                    slaves,
                    tasks: tasks(group),
                    through,
                });
            }
        }
    }
    cases
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "--mw-slave") {
        return app().run();
    }
    let json = args.iter().any(|arg| arg == "--json");
    let value = |flag: &str| {
        args.iter()
            .position(|arg| arg == flag)
            .and_then(|at| args.get(at + 1))
    };
    let engine = value("--engine").map_or("auto", String::as_str);
    let wanted = value("--case");
    let chosen: Vec<_> = cases()
        .into_iter()
        .filter(|case| wanted.is_none_or(|wanted| *wanted == name(case)))
        .collect();
    if chosen.is_empty() {
        eprintln!(
            "--case {}: there is no such case; they are:",
            wanted.map_or("", String::as_str)
        );
        for case in cases() {
            eprintln!("  {}", name(&case));
        }
        return ExitCode::from(2);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    for case in chosen {
        let measured = run(
            case,
            engine,
            &folder.path().join(format!("{}.audit", name(&case))),
        );
        let (rate, cpu) = (measured.tasks_per_s(), measured.cpu_ns_per_task());
        if json {
            println!(
                "{{\"case\":\"{}\",\"engine\":\"{engine}\",\"tasks\":{},\"tasks_per_s\":{rate:.0},\"master_cpu_ns_per_task\":{cpu:.1},\"master_cpu_ns_per_packet\":{:.0}}}",
                name(&case),
                measured.tasks,
                cpu * f64::from(case.group),
            );
        } else {
            println!(
                "{:<22} {rate:>12.0} tasks/s {cpu:>9.1} ns CPU of the master per task",
                name(&case)
            );
        }
    }
    ExitCode::SUCCESS
}
