//! The benchmarks in a small size, so that they cannot rot.

use std::process::Command;

fn output(binary: &str, args: &[&str]) -> String {
    let output = Command::new(binary).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn throughput_runs_through_map_and_queue_on_both_engines() {
    for case in ["noop-g100-s2", "noop-queue-g10-s2", "noop-gauto-s2"] {
        for engine in ["auto", "epoll"] {
            let args = [
                "--case", case, "--tasks", "5000", "--engine", engine, "--json",
            ];
            let line = output(env!("CARGO_BIN_EXE_throughput"), &args);
            assert!(line.contains(&format!("\"case\":\"{case}\"")), "{line}");
            assert!(line.contains("\"master_cpu_ns_per_task\":"), "{line}");
        }
    }
}

#[test]
fn a_queued_task_is_weighed() {
    let line = output(
        env!("CARGO_BIN_EXE_memory"),
        &["--tasks", "50000", "--json"],
    );
    assert!(line.contains("\"bytes_per_queued_task\":"), "{line}");
}
