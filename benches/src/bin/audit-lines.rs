//! How many lines of an audit trail `ringmw audit` reads in a second of one core, in what memory; and what writing one
//! costs the master.
//!
//! ```text
//! cargo build --release -p ringmw-tools && cargo run --release -p ringmw-benches --bin audit-lines [LINES [SLAVES]]
//! ```
//!
//! A trail of 10 million lines of 1,000 slaves is made in a temporary folder, in ringmw's form and in CL-MW's, and
//! `ringmw` beside this program reads it. One JSON line per measurement: lines, bytes per line, CPU seconds, lines a
//! second of CPU time, peak memory; beside it the same for a tenth of the trail, since memory must not grow with lines.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::Parser;
use ringmw_codec::audit::{Event, GroupWord, Line, StateWord, Who};

const LINES: u64 = 10_000_000;
const SLAVES: u64 = 1000;
/// All that read a trail to its end, with their options.
const COMMANDS: &[(&str, &[&str])] = &[
    ("stats", &[]),
    ("churn", &[]),
    ("timeline", &[]),
    ("tasks", &[]),
    ("attempts", &[]),
    ("check", &["--max-loss-ratio", "5%"]),
    ("diff", &[]),
    ("plot", &["--kind", "slaves"]),
    ("report", &[]),
];
const START_US: i64 = 1_795_161_783_000_000;

/// The events of a busy run: a slave's packet out, busy, packet in, idle, and so on with the next slave.
fn event(index: u64, slaves: u64) -> Event {
    if index < slaves {
        return Event::Connected {
            slave: index as u32,
            from: format!("10.1.{}.{}:4432", index / 200 % 256, index % 200 + 1),
            host: format!("node{}", index / 16),
            job: "123.4".into(),
            group: GroupWord::Unordered,
        };
    }
    let slave = (index / 4 % slaves) as u32;
    match index % 4 {
        0 => Event::TasksSent {
            slave,
            tasks: 100,
            bytes: 4096,
            group: 100,
        },
        1 => Event::State {
            slave,
            state: StateWord::Busy,
        },
        2 => Event::ResultsReceived {
            slave,
            results: 100,
            failed: 0,
            bytes: 2048,
            compute_us: 98_765,
        },
        _ => Event::State {
            slave,
            state: StateWord::Idle,
        },
    }
}

fn clmw(event: &Event) -> String {
    match event {
        Event::Connected { slave, from, .. } => {
            format!("SLAVE-{slave} {from} -> [\"m\"] :connecting [:unordered]")
        }
        Event::TasksSent { slave, tasks, .. } => format!("SLAVE-{slave} <- {tasks} tasks"),
        Event::ResultsReceived { slave, results, .. } => {
            format!("SLAVE-{slave} -> {results} results")
        }
        Event::State { slave, state } => format!("SLAVE-{slave} -> :{state}"),
        _ => unreachable!("only those are made"),
    }
}

/// Writes a trail; how many nanoseconds a line took to put together.
fn make(path: &Path, lines: u64, slaves: u64, is_clmw: bool) -> io::Result<f64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut text = Vec::new();
    let mut spent = 0;
    const BATCH: u64 = 1000;
    for batch in 0..lines.div_ceil(BATCH) {
        text.clear();
        let events: Vec<Event> = (batch * BATCH..lines.min((batch + 1) * BATCH))
            .map(|index| event(index, slaves))
            .collect();
        let begun = Instant::now();
        for (offset, event) in events.into_iter().enumerate() {
            let index = batch * BATCH + offset as u64;
            if is_clmw {
                // Two seconds a minute are enough to have every field move.
                let second = index / 20_000;
                let (minute, second) = (second / 60 % 60, second % 60);
                writeln!(
                    text,
                    "11/20/2026 08:{minute:02}:{second:02} [A] {}",
                    clmw(&event)
                )?;
            } else {
                let time_us = START_US + index as i64 * 50;
                let line = Line {
                    time_us,
                    who: Who::Master,
                    event,
                };
                line.write(&mut text);
            }
        }
        spent += begun.elapsed().as_nanos();
        file.write_all(&text)?;
    }
    file.flush()?;
    Ok(spent as f64 / lines as f64)
}

/// Runs the command to its end: CPU seconds and peak bytes.
fn cost(command: &mut Command) -> io::Result<(f64, u64)> {
    let child = command.stdout(Stdio::null()).spawn()?;
    let mut status = 0;
    // SAFETY: all bytes zero are a valid rusage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values; the child is ours and nobody else waits for it.
    let pid = unsafe {
        libc::wait4(
            child.id() as libc::pid_t,
            &raw mut status,
            0,
            &raw mut usage,
        )
    };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if status != 0 {
        return Err(io::Error::other(format!(
            "it ended with wait status {status:#x}"
        )));
    }
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok((
        seconds(usage.ru_utime) + seconds(usage.ru_stime),
        usage.ru_maxrss as u64 * 1024,
    ))
}

fn measure(lines: u64, slaves: u64) -> io::Result<()> {
    let ringmw = std::env::current_exe()?.with_file_name("ringmw");
    if !ringmw.exists() {
        let why = format!(
            "{} is not there: cargo build --release -p ringmw-tools",
            ringmw.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, why));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("master.audit");
    for is_clmw in [false, true] {
        for lines in [lines / 10, lines] {
            let write_ns = make(&path, lines, slaves, is_clmw)?;
            let line_bytes = std::fs::metadata(&path)?.len() as f64 / lines as f64;
            for &(subcommand, options) in COMMANDS {
                let mut command = Command::new(&ringmw);
                command
                    .arg("audit")
                    .arg(subcommand)
                    .args(options)
                    .arg(&path);
                let reads = match subcommand {
                    "diff" => 2 * lines,
                    _ => lines,
                };
                match subcommand {
                    "report" => command.arg("-o").arg(folder.path().join("report.html")),
                    "plot" => command.arg("-o").arg(folder.path().join("plot.svg")),
                    "diff" => command.arg(&path),
                    _ => &mut command,
                };
                let (cpu_s, peak_bytes) = cost(&mut command)?;
                println!(
                    "{{\"form\":\"{}\",\"command\":\"{subcommand}\",\"lines\":{lines},\"slaves\":{slaves},\"line_bytes\":{line_bytes:.1},\
                     \"write_ns\":{write_ns:.0},\"cpu_s\":{cpu_s:.2},\"lines_per_s\":{:.0},\"peak_mib\":{:.1}}}",
                    if is_clmw { "cl-mw" } else { "ringmw" },
                    reads as f64 / cpu_s,
                    peak_bytes as f64 / 1048576.0
                );
            }
        }
    }
    Ok(())
}

/// Makes a trail in a temporary folder, in ringmw's form and in CL-MW's, and measures what `ringmw audit` beside this
/// program takes to read it: lines a second of CPU time and peak memory, for a tenth of the lines and for all of them
///
/// One JSON line per measurement, with the nanoseconds that putting a line together takes its writer. Build the tools
/// first: cargo build --release -p ringmw-tools.
#[derive(Parser)]
struct Opts {
    /// Lines of the trail, at least 10
    #[arg(default_value_t = LINES, value_parser = clap::value_parser!(u64).range(10..))]
    lines: u64,
    /// Slaves that it tells of
    #[arg(default_value_t = SLAVES, value_parser = clap::value_parser!(u64).range(1..))]
    slaves: u64,
}

fn main() -> ExitCode {
    let opts = Opts::parse();
    match measure(opts.lines, opts.slaves) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("audit-lines: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_writes_is_a_trail() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x.audit");
        make(&path, 2500, 7, false).expect("it writes");
        let text = std::fs::read_to_string(&path).expect("it reads");
        assert_eq!(text.lines().count(), 2500);
        assert!(text.lines().all(|line| Line::parse(line).is_ok()));
        make(&path, 2500, 7, true).expect("it writes");
        let text = std::fs::read_to_string(&path).expect("it reads");
        assert!(
            text.lines()
                .all(|line| ringmw_codec::audit::clmw::Entry::parse(line).is_some())
        );
    }
}
