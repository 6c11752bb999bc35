//! Counted loops, on slaves and in bare processes without a master.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ringmw::prelude::*;

use crate::fleet::{self, Setting, Slaves};
use crate::{app, iterate, meter, spin};

/// The first argument of a bare process; the second says how many loops it runs, the third of how many iterations.
pub const BARE: &str = "--bare";

/// A bare process: says that it is there, begins when it is told to, says how many seconds it took.
pub fn bare() -> ExitCode {
    let numbers: Vec<u64> = std::env::args()
        .skip(2)
        .filter_map(|number| number.parse().ok())
        .collect();
    let [loops, iterations] = numbers[..] else {
        return ExitCode::from(2);
    };
    let say = |word: &str| {
        println!("{word}");
        std::io::stdout().flush()
    };
    let mut line = String::new();
    if say("ready").is_err() || std::io::stdin().read_line(&mut line).is_err() {
        return ExitCode::FAILURE;
    }
    let begun = Instant::now();
    for _ in 0..loops {
        black_box(iterate(black_box(iterations)));
    }
    match say(&begun.elapsed().as_secs_f64().to_string()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Loops a second of so many bare processes at once, the sum of their own rates: one that is held up by others of the
/// machine does not hold up the rest, as it is with slaves.
///
/// # Panics
/// When they cannot be started.
pub fn rate_bare(processes: u32, loops: u64, iterations: u64) -> f64 {
    let start = |_| {
        let mut child = Command::new("/proc/self/exe")
            .args([BARE, &loops.to_string(), &iterations.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this very binary can be started");
        let mut lines = BufReader::new(child.stdout.take().expect("it was piped")).lines();
        lines.next().expect("it is ready").expect("text");
        (child, lines)
    };
    let mut children: Vec<_> = (0..processes).map(start).collect();
    for (child, _) in &mut children {
        let input = child.stdin.as_mut().expect("it was piped");
        input.write_all(b"go\n").expect("it waits for that");
    }
    let mut rate = 0.0;
    for (child, lines) in &mut children {
        let seconds = lines.next().expect("it says how long").expect("text");
        rate += loops as f64 / seconds.parse::<f64>().expect("seconds");
        child.wait().expect("it was started");
    }
    rate
}

/// Iterations that take a bare process a millisecond while so many of them run.
///
/// # Panics
/// As [`rate_bare`].
pub fn iterations_per_ms(processes: u32, iterations: u64) -> f64 {
    const LOOPS: u64 = 2_000;
    rate_bare(processes, LOOPS, iterations) * iterations as f64 / f64::from(processes) / 1e3
}

/// What the loops took on slaves.
#[derive(Copy, Clone, Debug)]
pub struct Ours {
    /// From the first submission to the last result.
    pub wall: Duration,
    /// What the slaves reported, all together.
    pub compute: Duration,
    /// CPU time of the master's process, all threads.
    pub cpu: Duration,
}

/// Runs loops of so many iterations each on slave processes, `group` tasks per packet (0 is automatic).
///
/// # Panics
/// As [`fleet::run`].
pub fn time_ours(slaves: u32, group: u32, engine: &str, loops: Vec<u64>) -> Ours {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("trail");
    let setting = Setting {
        slaves: Slaves::Real(slaves),
        engine,
        trail: Some((&file, "default")),
        group,
        result_group: None,
        prefetch: true,
        secret: false,
    };
    let master = async move |mw: Master| {
        fleet::connected(&mw, slaves).await;
        let (begun, cpu) = (Instant::now(), meter::process_cpu());
        let tasks = loops.len();
        let mut results = mw.map(loops.into_iter().map(spin::task));
        let (mut done, mut compute) = (0, Duration::ZERO);
        while let Some(result) = results.next_done().await {
            compute += result?.compute_time();
            done += 1;
        }
        assert_eq!(done, tasks, "every loop has its result");
        Ok(Ours {
            wall: begun.elapsed(),
            compute,
            cpu: meter::process_cpu() - cpu,
        })
    };
    fleet::run(app(), &setting, master).0
}
