//! `ringmw audit` as a process, over CL-MW's real trails and over made ones whose truth is known.

mod bad_input;
mod commands;
mod findings;
mod follow;
mod made;
mod misfortunes;
mod pictures;
mod recount;
mod simulated;
mod spans;
mod stats;
mod status_page;
mod stories;
mod story_windows;
mod windows;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of the command left.
struct Told {
    out: String,
    err: String,
    code: Option<i32>,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", self.out, self.err))
    }
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmw"));
    command.arg("audit").args(args);
    command
}

fn told(output: Output) -> Told {
    Told {
        out: String::from_utf8(output.stdout).expect("UTF-8"),
        err: String::from_utf8(output.stderr).expect("UTF-8"),
        code: output.status.code(),
    }
}

fn audit(args: &[&str]) -> Told {
    told(
        command(args)
            .stdin(Stdio::null())
            .output()
            .expect("it starts"),
    )
}

fn audit_files(args: &[&str], files: &[impl AsRef<Path>]) -> Told {
    let output = command(args)
        .args(files.iter().map(AsRef::as_ref))
        .stdin(Stdio::null())
        .output();
    told(output.expect("it starts"))
}

fn audit_stdin(args: &[&str], input: &[u8]) -> Told {
    use std::io::Write;
    let mut command = command(args);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().expect("it ends");
    // It may have ended before it read everything.
    let _ = writer.join().expect("no panic");
    told(output)
}

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cl-mw")
}

fn sample(run: &str, file: &str) -> PathBuf {
    samples().join(run).join(file)
}

const RUNS: [&str; 5] = [
    "run1-hello-world-2slaves-g1",
    "run3-ping-2slaves-g100",
    "run5-churn-mcpi-6slaves-kill9",
    "run7-hung-slave-timeout",
    "run8-master-killed",
];
