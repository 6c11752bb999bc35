//! On what a measurement was taken.

use std::process::Command;

use serde_json::{Value, json};

/// Kernel, CPU model, number of CPUs, load average, the commit that was measured (of a working copy with changes, with
/// a `+`; null outside of one) and the time.
pub fn describe() -> Value {
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpu": cpu_model(),
        "cpus": std::thread::available_parallelism().map_or(0, usize::from),
        "load": load(),
        "commit": commit(),
        "date": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// The load average of the last minute: a machine that does other things measures them too.
pub fn load() -> Option<f64> {
    read("/proc/loadavg").split(' ').next()?.parse().ok()
}

fn cpu_model() -> String {
    let cpuinfo = read("/proc/cpuinfo");
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = line.and_then(|line| line.split_once(':'));
    model.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, model)| model.trim().to_owned(),
    )
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(args)
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(format!("{commit}{}", if changed { "+" } else { "" }))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
