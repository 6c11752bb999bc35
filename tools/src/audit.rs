//! `ringmw audit`: what happened in a run, from its audit trail.
//!
//! ```text
//! files, stdin ── input ──► lines ── trail ──► entries ──► a fold per command ──► tables, data, pictures
//!  gzip, zstd              any bytes   both formats, runs, clock, window           output
//! ```
//!
//! Everything is one pass; what is kept grows with slaves and with the number of intervals shown, never with lines.

mod entry;
mod input;
mod output;
mod place;
mod stats;
mod stats_view;
mod times;
mod trail;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use output::Format;
use stats::Stats;
use times::{Bound, Zone};
use trail::{Fold, Reader};

/// The command's arguments.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Summary of a run: slaves, tasks, churn, exit
    #[command(after_help = stats_view::HELP)]
    Stats(Input),
}

/// What every command takes.
#[derive(Args, Clone)]
struct Input {
    /// Trails: a master's, or a master's and its slaves'; `-` is standard input; gzip and zstd as they are
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    window: Window,
    /// The form of the output
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Args, Clone)]
struct Window {
    /// Count only from this time on: RFC 3339, 14:00, -2h (before now), +10m (after the first line)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Count only before this time
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<String>,
    /// Zone that times are shown in, and that CL-MW's times, which name none, are in: UTC, local, +02:00, Europe/Berlin
    #[arg(
        long,
        value_name = "ZONE",
        default_value = "UTC",
        allow_hyphen_values = true
    )]
    zone: String,
}

impl Window {
    fn reader(&self) -> Result<Reader, String> {
        let zone = Zone::parse(&self.zone)?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |now| now.as_micros() as i64);
        let bound = |flag: &str, text: &Option<String>| {
            let parse = |text: &String| {
                Bound::parse(text, &zone, now).map_err(|error| format!("{flag}: {error}"))
            };
            text.as_ref().map(parse).transpose()
        };
        let (since, until) = (
            bound("--since", &self.since)?,
            bound("--until", &self.until)?,
        );
        Ok(Reader::new(zone, since, until))
    }
}

impl Input {
    /// Reads everything into a fold, and tells what was not right with it.
    fn read(&self, fold: &mut dyn Fold) -> Result<Reader, String> {
        let mut reader = self.window.reader()?;
        reader.read(&self.files, fold);
        for line in reader.told() {
            eprintln!("ringmw audit: {line}");
        }
        Ok(reader)
    }
}

/// Nothing could be read, or the command line is wrong.
const EXIT_UNREADABLE: u8 = 2;

/// Runs the command.
pub(crate) fn run(options: &Options) -> ExitCode {
    let outcome = match &options.command {
        Command::Stats(input) => stats(input),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("ringmw audit: {error}");
            ExitCode::from(EXIT_UNREADABLE)
        }
    }
}

/// Writes what a command has to say. A reader that has seen enough (`| head`) is no error.
fn print(text: &str) -> Result<(), String> {
    match io::stdout()
        .write_all(text.as_bytes())
        .and_then(|()| io::stdout().flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}

/// Success, unless nothing could be read.
fn finish(reader: &Reader) -> Result<ExitCode, String> {
    if reader.parsed == 0 {
        return Err("no line of a ringmw or CL-MW audit trail was found".to_owned());
    }
    Ok(ExitCode::SUCCESS)
}

fn stats(input: &Input) -> Result<ExitCode, String> {
    let mut stats = Stats::default();
    let reader = input.read(&mut stats)?;
    let summary = stats.summary(&reader);
    print(&stats_view::show(&summary, input.format))?;
    finish(&reader)
}
