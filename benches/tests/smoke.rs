//! The benchmarks in a small size, so that they cannot rot.

use std::path::Path;
use std::process::Command;

use ringmw_benches::rivals::drive::Rival;
use ringmw_benches::rivals::{RivalCase, Workload};
use serde_json::Value;

fn output(binary: &str, args: &[&str]) -> String {
    let output = Command::new(binary).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn line(binary: &str, args: &[&str]) -> Value {
    let text = output(binary, args);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn positive(line: &Value, key: &str) -> f64 {
    let number = line[key].as_f64().unwrap_or(0.0);
    assert!(number > 0.0, "{key}: {line}");
    number
}

#[test]
fn throughput_runs_through_map_and_queue_on_both_engines() {
    let cases = [
        "noop-g100-s2",
        "noop-queue-g10-s2",
        "noop-gauto-s2",
        "noop-g1-s1000",
        "noop-queue-g1-s1000",
        "str-g100-s2",
        "vstr-g100-s2",
        "echo-g100-s2",
        "vecf-g100-s2",
        "tag-g100-s2",
        "policy-g100-s2",
        "ordered-g100-s2",
        "inorder-g100-s2",
        "call-g100-s2",
        "reduce-g100-s2",
        "reduce-g1000-s2",
    ];
    for case in cases {
        for engine in ["auto", "epoll"] {
            // So many packets that not all of them are on their way when the first results come.
            let tasks = if case.contains("-g1000-") {
                50_000
            } else {
                5_000
            };
            let number = tasks.to_string();
            let args = [
                "--case", case, "--tasks", &number, "--engine", engine, "--json",
            ];
            let line = line(env!("CARGO_BIN_EXE_throughput"), &args);
            assert_eq!(line["case"], case);
            assert!(line["engine"] == "ring" || line["engine"] == "epoll");
            // Every result that comes after the first tenth is measured.
            assert_eq!(positive(&line, "tasks"), f64::from(tasks / 10 * 9));
            positive(&line, "tasks_per_s");
            positive(&line, "master_cpu_ns_per_task");
            positive(&line, "bytes_out");
            positive(&line, "bytes_in");
            assert!(
                positive(&line, "master_cpu_ns_per_packet")
                    >= positive(&line, "master_cpu_ns_per_task")
            );
            assert!(positive(&line["latency_us"], "max") >= positive(&line["latency_us"], "p50"));
            assert!(
                line["syscalls_per_task"].is_number() || line["syscalls_note"].is_string(),
                "{line}"
            );
        }
    }
}

#[test]
fn the_masters_own_code_is_measured_for_every_shape() {
    let args = ["--group", "10", "--slaves", "4", "--tasks", "2000"];
    let text = output(
        env!("CARGO_BIN_EXE_alone"),
        &[&args[..], &["--runs", "1", "--shapes", "all"]].concat(),
    );
    assert_eq!(text.lines().count(), 1 + 1 + 10, "{text}");
}

#[test]
fn what_rare_policies_and_a_reduction_cost_is_told_of_pairs() {
    let args = ["--group", "10", "--slaves", "4", "--tasks", "2000"];
    let pairs = ["--pairs", "2"];
    let text = output(env!("CARGO_BIN_EXE_alone"), &[&args[..], &pairs].concat());
    for row in ["within", "withins", "priority", "reduce"] {
        let line = text.lines().find(|line| line.contains(row));
        let line = line.unwrap_or_else(|| panic!("no row {row}: {text}"));
        assert_eq!(line.split_whitespace().count(), 6, "{text}");
    }
}

#[test]
fn throughput_runs_with_a_secret() {
    for case in ["noop-g100-s2", "noop-g10-s1000"] {
        let args = ["--case", case, "--tasks", "5000", "--secret", "--json"];
        let line = line(env!("CARGO_BIN_EXE_throughput"), &args);
        assert_eq!(line["security"], "secret");
        assert_eq!(positive(&line, "tasks"), 4_500.0);
    }
}

#[test]
fn what_a_secret_costs_is_told_of_pairs() {
    let args = ["--case", "noop-g100-s2", "--tasks", "5000", "--runs", "2"];
    let args = [&args[..], &["--beside-plain", "--json"]].concat();
    let line = line(env!("CARGO_BIN_EXE_throughput"), &args);
    positive(&line, "without_ns");
    positive(&line, "with_ns");
    positive(&line, "ratio");
}

#[test]
fn what_a_journal_costs_is_told_of_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["--case", "vstr-g100-s2", "--tasks", "5000", "--runs", "2"];
    let beside = [
        "--beside-journal",
        folder.path().to_str().unwrap(),
        "--json",
    ];
    let line = line(
        env!("CARGO_BIN_EXE_throughput"),
        &[&args[..], &beside].concat(),
    );
    positive(&line, "without_ns");
    positive(&line, "with_ns");
    assert!(line["more_ns"].is_number(), "{line}");
}

#[test]
fn a_journal_is_opened_and_read() {
    let args = ["--results", "100000", "--series", "100", "--runs", "1"];
    let line = line(
        env!("CARGO_BIN_EXE_journal"),
        &[&args[..], &["--json"]].concat(),
    );
    assert_eq!(positive(&line, "results"), 100_000.0);
    for key in ["results_per_cpu_s", "results_per_s", "find_and_read_ns"] {
        positive(&line, key);
    }
    // The index, and a page or two; what is read of a segment is given back.
    assert!(positive(&line, "memory_bytes_per_result") < 200.0, "{line}");
}

#[test]
fn large_tasks_and_results_pass_on_both_engines_with_a_secret_and_without() {
    for case in ["in-100k", "in-4m", "out-100k", "out-4m"] {
        for (engine, secret) in [("auto", false), ("epoll", false), ("auto", true)] {
            let args = ["--case", case, "--bytes", "4000000", "--runs", "1"];
            let mut args = [&args[..], &["--engine", engine, "--json"]].concat();
            args.extend(secret.then_some("--secret"));
            let line = line(env!("CARGO_BIN_EXE_blob"), &args);
            assert_eq!(line["case"], case);
            assert_eq!(line["security"], if secret { "secret" } else { "none" });
            for key in [
                "ns_per_byte",
                "raw_ns_per_byte",
                "made_cpu_ratio",
                "made_rate_ratio",
                "rate_ratio",
            ] {
                positive(&line, key);
            }
        }
    }
}

/// Of each task that is out there is one copy: eight of them, two for each slave, and the one that is being made.
#[test]
fn large_arguments_are_there_once() {
    const TASK: u64 = 16 << 20;
    for engine in ["auto", "epoll"] {
        let bytes = TASK.to_string();
        let args = [
            "--resident",
            "16",
            "--task-bytes",
            &bytes,
            "--engine",
            engine,
        ];
        let line = line(
            env!("CARGO_BIN_EXE_blob"),
            &[&args[..], &["--json"]].concat(),
        );
        let grown = positive(&line, "peak_bytes") - positive(&line, "before_bytes");
        // Two for each of four slaves, and what is made and taken meanwhile; with a copy each it would be twice that.
        assert!(grown < (12 * TASK + (16 << 20)) as f64, "{line}");
    }
}

#[test]
fn slaves_that_take_their_time_are_kept_busy() {
    let args = ["--case", "work3ms-gauto-s1000", "--slaves", "20"];
    let args = [&args[..], &["--seconds", "1", "--groups", "10", "--json"]].concat();
    let line = line(env!("CARGO_BIN_EXE_work3ms"), &args);
    // No more than all of the time, clocks aside.
    assert!(positive(&line, "efficiency") < 1.1, "{line}");
    assert_eq!(line["best_fixed_group"], 10);
    positive(&line, "best_fixed_efficiency");
}

#[test]
fn a_case_that_is_not_there_is_told() {
    let output = Command::new(env!("CARGO_BIN_EXE_throughput"))
        .args(["--case", "noop-g7-s2"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("noop-gauto-s64"));
}

#[test]
fn allocations_are_counted() {
    let args = ["--case", "noop-g1-s2", "--tasks", "2000", "--json"];
    let line = line(env!("CARGO_BIN_EXE_allocations"), &args);
    let per_packet = line["allocations_per_packet"].as_f64().unwrap();
    assert!((0.0..1_000.0).contains(&per_packet), "{line}");
}

/// A packet allocates some times, a task not once: beside what is the user's own, the String of an echo, and the Vec that
/// goes into a `vecf` and the one that comes out. A call has its place in the block of those made together.
#[test]
fn no_task_allocates_but_for_what_is_its_users_own() {
    let shapes = [
        ("noop", 0.0),
        ("str", 0.0),
        ("vstr", 0.0),
        ("tag", 0.0),
        ("policy", 0.0),
        ("ordered", 0.0),
        ("inorder", 0.0),
        ("reduce", 0.0),
        ("echo", 1.0),
        ("vecf", 2.0),
        ("call", 1.0),
    ];
    for (shape, own) in shapes {
        let case = format!("{shape}-g100-s2");
        let args = ["--case", &case, "--tasks", "20000", "--json"];
        let line = line(env!("CARGO_BIN_EXE_allocations"), &args);
        let per_task = line["allocations_per_task"].as_f64().unwrap();
        assert!(
            (own - 0.1..own + 0.25).contains(&per_task),
            "{shape}: {per_task}, of which {own} are its user's: {line}"
        );
    }
}

#[test]
fn queued_tasks_are_weighed_and_run() {
    let line = line(
        env!("CARGO_BIN_EXE_memory"),
        &["--tasks", "50000", "--refused", "0", "--json"],
    );
    positive(&line, "bytes_per_queued_task");
    positive(&line, "master_cpu_ns_per_task");
}

#[test]
fn refused_submits_keep_nothing_of_their_arguments() {
    let line = line(
        env!("CARGO_BIN_EXE_memory"),
        &["--tasks", "0", "--refused", "1000000", "--json"],
    );
    let mib = line["mib"].as_f64().unwrap();
    assert!(mib < 60.0, "{line}");
    assert!(line["unrunnable"].as_u64().unwrap() > 500_000, "{line}");
}

#[test]
fn slaves_connect_and_stay() {
    let args = ["--slaves", "300", "--idle", "0.2", "--json"];
    let line = line(env!("CARGO_BIN_EXE_connect"), &args);
    assert_eq!(line["still_there"], 300);
    positive(&line, "connect_s");
}

#[test]
fn slaves_join_beside_others_who_lose_nothing() {
    let args = ["--beside", "5", "--slaves", "40", "--secret", "--json"];
    let line = line(env!("CARGO_BIN_EXE_connect"), &args);
    assert_eq!(
        (&line["missing"], &line["lost"]),
        (&0.into(), &0.into()),
        "{line}"
    );
    positive(&line, "join_s");
    // So few are in before one of the others has ended a task.
    positive(&line, "rate_before");
    assert!(line["rate_ratio"].is_number(), "{line}");
}

#[test]
fn data_is_shared_beside_tasks_and_from_a_file() {
    let args = ["--case", "beside", "--bytes", "3000000", "--tasks", "50"];
    let small = ["--runs", "1", "--secret", "--json"];
    let beside = line(env!("CARGO_BIN_EXE_shared"), &[&args[..], &small].concat());
    assert_eq!(beside["sent_ratio"], 1.0, "{beside}");
    positive(&beside, "p99_ratio");
    let args = ["--case", "file", "--bytes", "20000000"];
    let file = line(env!("CARGO_BIN_EXE_shared"), &[&args[..], &small].concat());
    positive(&file, "rate_ratio");
}

/// It is read again as it is sent, and never kept.
#[test]
#[ignore = "needs 10 GB of disk and of memory, and minutes: `.ci/run shared-10g` runs it"]
fn ten_gigabytes_of_a_file_cost_the_master_no_memory() {
    for secret in [false, true] {
        let args = ["--case", "file", "--bytes", "10000000000", "--runs", "1"];
        let mut args = [&args[..], &["--json"]].concat();
        args.extend(secret.then_some("--secret"));
        let file = line(env!("CARGO_BIN_EXE_shared"), &args);
        println!("{file}");
        positive(&file, "rate_ratio");
        let more = positive(&file, "memory_bytes");
        assert!(more <= f64::from(64 << 20), "{file}");
    }
}

#[test]
fn improvements_come_and_are_told() {
    let args = [
        "--slaves",
        "50",
        "--offers",
        "100",
        "--seconds",
        "0.5",
        "--json",
    ];
    let line = line(env!("CARGO_BIN_EXE_best"), &args);
    let rate = positive(&line, "improvements_per_s");
    assert!((50.0..150.0).contains(&rate), "{line}");
    positive(&line, "bests_told");
}

#[test]
fn loops_are_held_against_bare_processes() {
    let args = ["--loops", "50", "--runs", "1", "--seconds", "0.5", "--json"];
    let text = output(env!("CARGO_BIN_EXE_efficiency"), &args);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    positive(&lines[0], "rate_over_bare");
    // Slaves cannot have computed for longer than there was time, clocks aside.
    assert!(positive(&lines[1], "wall_over_compute") > 0.99, "{text}");
    positive(&lines[1], "wall_over_work");
}

#[test]
#[ignore = "needs io_uring: `.ci/run machine` runs it"]
fn the_bare_ring_answers_and_is_compared() {
    let text = output(
        env!("CARGO_BIN_EXE_floor"),
        &[
            "--slaves",
            "20,50",
            "--runs",
            "1",
            "--packets",
            "2000",
            "--json",
        ],
    );
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{text}");
    for line in &lines {
        for key in [
            "bare_ns_per_packet",
            "master_cpu_ns_per_packet",
            "cpu_ratio",
            "bare_growth",
        ] {
            positive(line, key);
        }
    }
    assert_eq!(positive(&lines[0], "bare_growth"), 1.0);
}

#[test]
fn the_page_has_the_table_of_the_kept_results() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("benches/README.md")).unwrap();
    let kept = std::fs::read_to_string(root.join("benches/results/rivals.jsonl")).unwrap();
    let again = ringmw_benches::rivals::readme(&page, &kept).unwrap();
    assert!(
        page == again,
        "run: cargo run --release -p ringmw-benches --bin rivals -- --readme"
    );
}

#[test]
#[ignore = "needs the packages of ZeroMQ, Open MPI and Gearman: `.ci/run rivals` installs them and runs it"]
fn rivals_are_built_and_run() {
    let folder = tempfile::tempdir().unwrap();
    let on_two = |workload| RivalCase {
        workload,
        workers: 2,
    };
    // Those in Python would be installed first, and Work Queue's workers take seconds to start.
    for name in ["zeromq", "openmpi", "gearman"] {
        let rival = Rival::prepare(name, folder.path()).unwrap_or_else(|why| panic!("{why}"));
        assert!(
            rival.version.contains(char::is_numeric),
            "{}",
            rival.version
        );
        let figures = rival.run(on_two(Workload::Millisecond), 1_000).unwrap();
        assert!(
            figures.tasks > 0.0 && figures.tasks < 2_000.0,
            "{figures:?}"
        );
    }
    // What only ZeroMQ is asked for.
    let zeromq = Rival::prepare("zeromq", folder.path()).unwrap();
    let echo = |owned| Workload::Echo {
        group: 10,
        result_group: 0,
        owned,
    };
    for workload in [Workload::Encrypted(10), echo(false), echo(true)] {
        let figures = zeromq.run(on_two(workload), 0).unwrap();
        assert!(figures.tasks > 0.0, "{figures:?}");
    }
}

#[test]
fn a_rival_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Rival::prepare("nobody", folder.path());
    assert!(missing.is_err_and(|why| why.contains("no rival nobody")));
}
