//! `ringmw audit`: what happened in a run, from its audit trail.
//!
//! ```text
//! files, stdin ── input ──► lines ── trail ──► entries ──► a fold per command ──► tables, data, pictures
//!  gzip, zstd              any bytes   both formats, runs, clock, window           output
//! ```
//!
//! Everything is one pass; what is kept grows with slaves and with the number of intervals shown, never with lines.

mod ahead;
mod attempts;
mod buckets;
mod check;
mod churn;
mod diff;
mod entry;
mod findings;
mod follow;
mod input;
mod model;
mod output;
mod picture;
mod place;
mod plot;
mod report;
mod stats_view;
mod summary;
mod tasks;
mod terminal;
mod timeline;
mod times;
mod trail;
mod window;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};

use entry::{Role, Source};
use findings::BothSigns;
use model::{Both, Detail, Model, Models};
use output::Format;
use summary::Summary;
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
    /// Arrivals, departures and slaves present over time; per subnet, host and reason; lifetimes
    #[command(after_help = churn::HELP)]
    Churn(Bucketed),
    /// Busy and idle per slave, tasks per interval, utilisation, the tail, the slowest slaves and hosts
    #[command(after_help = timeline::HELP)]
    Timeline(Bucketed),
    /// How long tasks took, by algorithm, host and slave; the longest by name; failures and refusals
    #[command(after_help = tasks::HELP)]
    Tasks(Sheeted),
    /// One row per hand-out of a packet or task: slave, sent, returned or lost, wait, compute, bytes
    #[command(after_help = attempts::HELP)]
    Attempts(Attempts),
    /// Judge a run by bounds: exit 1 with the reason when one is not kept
    #[command(after_help = check::HELP)]
    Check(Check),
    /// Two runs side by side: what changed, and by how much
    #[command(after_help = diff::HELP)]
    Diff(Diff),
    /// One page with summary, findings and pictures; it opens from disk and loads nothing
    #[command(after_help = report::HELP)]
    Report(Report),
    /// One picture, as SVG or PNG
    #[command(after_help = plot::HELP)]
    Plot(Plot),
    /// A live view of a trail that is being written, surviving rotation
    #[command(after_help = follow::HELP)]
    Follow(follow::Options),
}

#[derive(Args)]
struct Bucketed {
    #[command(flatten)]
    input: Input,
    /// Length of an interval, like 30s, 10m, 1h; without it one that suits the run
    #[arg(long, value_name = "DURATION", value_parser = bucket)]
    bucket: Option<i64>,
    /// The only sheet to show
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

#[derive(Args)]
struct Sheeted {
    #[command(flatten)]
    input: Input,
    /// The only sheet to show
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
}

#[derive(Args)]
struct Attempts {
    #[command(flatten)]
    input: Input,
    /// Rows of packets, of single tasks, or of those that the trail has (tasks before packets)
    #[arg(long, value_enum, default_value = "auto")]
    of: attempts::Of,
}

#[derive(Args)]
struct Check {
    #[command(flatten)]
    files: Files,
    /// The form of the output
    #[arg(long, value_enum, default_value = "table")]
    format: check::Form,
    #[command(flatten)]
    bounds: check::Bounds,
}

#[derive(Args)]
struct Diff {
    /// The trail to compare with
    a: PathBuf,
    /// The trail that is compared
    b: PathBuf,
    #[command(flatten)]
    window: Window,
    /// The form of the output
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Only what changed by at least so many percent
    #[arg(long, value_name = "PERCENT")]
    changed: Option<f64>,
}

#[derive(Args)]
struct Report {
    #[command(flatten)]
    input: Input,
    /// The page to write
    #[arg(short, long, value_name = "FILE", required_if_eq("format", "table"))]
    output: Option<PathBuf>,
    /// Its heading; without it the first trail's name
    #[arg(long)]
    title: Option<String>,
    /// Where a slave's log is, with {job}, {host} and {slave} in it: jobs become links to it
    #[arg(long, value_name = "URL", value_parser = log_link)]
    log_link: Option<String>,
}

#[derive(Args)]
struct Plot {
    #[command(flatten)]
    input: Input,
    /// Which picture
    #[arg(long, value_enum)]
    kind: plot::Kind,
    /// The picture to write: .svg or .png
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Length of an interval, like 30s, 10m, 1h; without it one that suits the run
    #[arg(long, value_name = "DURATION", value_parser = bucket)]
    bucket: Option<i64>,
}

fn log_link(text: &str) -> Result<String, String> {
    let is_script = text
        .trim_start()
        .to_ascii_lowercase()
        .starts_with("javascript:");
    match is_script {
        true => Err("a script is no place of a log".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn bucket(text: &str) -> Result<i64, String> {
    let us = times::parse_duration(text).filter(|&us| us >= 1000);
    us.ok_or_else(|| {
        format!("{text:?} is no duration of a millisecond or more: give one like 30s, 10m or 1h")
    })
}

/// What is read.
#[derive(Args, Clone)]
struct Files {
    /// Trails: a master's, or a master's and its slaves'; `-` is standard input; gzip and zstd as they are
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    window: Window,
}

/// What nearly every command takes.
#[derive(Args, Clone)]
struct Input {
    #[command(flatten)]
    files: Files,
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

impl Files {
    /// Reads everything into a fold, and tells what was not right with it.
    fn read(&self, fold: &mut dyn Fold) -> Result<Reader, String> {
        let mut reader = self.window.reader()?;
        reader.read(&self.files, fold);
        for line in reader.told() {
            tell(&line);
        }
        if reader.window().is_empty() {
            let show = |us| reader.zone.show(us);
            let window = reader.window();
            return Err(format!(
                "the window is empty: --since {} is not before --until {}",
                show(window.since_us),
                show(window.until_us)
            ));
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
        Command::Churn(options) => sheets(options, churn::document),
        Command::Timeline(options) => sheets(options, timeline::document),
        Command::Tasks(options) => tasks(options),
        Command::Attempts(options) => attempts::run(&options.input, options.of),
        Command::Check(options) => check(options),
        Command::Diff(options) => diff(options),
        Command::Report(options) => report(options),
        Command::Plot(options) => plot(options),
        Command::Follow(options) => follow::run(options),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            tell(&error);
            ExitCode::from(EXIT_UNREADABLE)
        }
    }
}

/// A line on standard error; nobody is stopped by one that is closed or full.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "ringmw audit: {}", output::harmless(line));
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

/// Reads everything into a model.
fn model_of(files: &Files, detail: Detail) -> Result<(Model, Reader), String> {
    let mut models = Models::new(detail, &Zone::parse(&files.window.zone)?);
    let reader = files.read(&mut models)?;
    Ok((models.close(&reader), reader))
}

/// Reads everything into a model with intervals, and into the signs that findings need beside it.
fn model_and_signs(files: &Files, has_heat: bool) -> Result<(Model, BothSigns, Reader), String> {
    let zone = Zone::parse(&files.window.zone)?;
    let detail = Detail {
        intervals: Some((None, plot::INTERVALS_MAX)),
        has_heat,
    };
    let mut models = Models::new(detail, &zone);
    let mut signs = BothSigns::new(&zone);
    let reader = files.read(&mut Both(&mut models, &mut signs))?;
    Ok((models.close(&reader), signs, reader))
}

/// What is to be told about the figures themselves.
fn note(model: &Model, reader: &Reader) -> Option<&'static str> {
    let is_short = model.role == Role::Slave
        && reader.lives.iter().enumerate().any(|(index, life)| {
            life.role == Role::Slave
                && life.source == Source::Ringmw
                && model.figures(index).is_full
        });
    is_short.then_some(
        "slaves' own trails list a few packets a second and leave out the rest: more tasks were done than these figures \
         say; the master's trail has them all",
    )
}

fn stats(input: &Input) -> Result<ExitCode, String> {
    let (model, reader) = model_of(&input.files, Detail::NONE)?;
    if let Some(note) = note(&model, &reader) {
        tell(note);
    }
    let summary = Summary::new(&model, &reader);
    print(&stats_view::show(&summary, input.format))?;
    finish(&reader)
}

/// Intervals of a table, when no length is asked for.
const TABLE_INTERVALS_MAX: usize = 60;

fn sheets(
    options: &Bucketed,
    document: impl Fn(&Model, &Zone) -> output::Document,
) -> Result<ExitCode, String> {
    let detail = Detail {
        intervals: Some((options.bucket, TABLE_INTERVALS_MAX)),
        has_heat: false,
    };
    let (model, reader) = model_of(&options.input.files, detail)?;
    print(&document(&model, &reader.zone).show(options.input.format, options.sheet.as_deref())?)?;
    finish(&reader)
}

fn tasks(options: &Sheeted) -> Result<ExitCode, String> {
    let mut tasks = tasks::Tasks::default();
    let reader = options.input.files.read(&mut tasks)?;
    let document = tasks::document(&tasks, |us| reader.zone.show(us));
    print(&document.show(options.input.format, options.sheet.as_deref())?)?;
    finish(&reader)
}

/// The figures of whole trails, or of a window of them.
fn summary_of(files: &Files) -> Result<(Summary, Reader), String> {
    let (model, reader) = model_of(files, Detail::NONE)?;
    finish(&reader)?;
    Ok((Summary::new(&model, &reader), reader))
}

/// The figures of one file.
fn summary_of_one(file: &std::path::Path, window: &Window) -> Result<Summary, String> {
    let files = Files {
        files: vec![file.to_owned()],
        window: window.clone(),
    };
    let of_file = |error| format!("{}: {error}", file.display());
    Ok(summary_of(&files).map_err(of_file)?.0)
}

fn check(options: &Check) -> Result<ExitCode, String> {
    let (summary, findings, reader) = if options.bounds.asks_for_findings() {
        let (model, signs, reader) = model_and_signs(&options.files, false)?;
        finish(&reader)?;
        let summary = Summary::new(&model, &reader);
        let findings = findings::find(&model, &summary, &signs, &reader);
        (summary, findings, reader)
    } else {
        let (summary, reader) = summary_of(&options.files)?;
        (summary, Vec::new(), reader)
    };
    if summary.start.is_none() {
        return Err(
            "check: the window holds no time of the run, so there is nothing to judge".to_owned(),
        );
    }
    // A good run is judged by as a whole: its times are others.
    let whole = Window {
        since: None,
        until: None,
        ..options.files.window.clone()
    };
    let against = options.bounds.against.as_ref();
    let good = against
        .map(|file| summary_of_one(file, &whole))
        .transpose()?;
    let judged = check::judge(
        &options.bounds,
        &summary,
        good.as_ref(),
        &findings,
        &reader.notes.unreadable,
        options.format,
    );
    let Some(judged) = judged else {
        return Err("check: no bound was given, for example --max-loss-ratio 0.05".to_owned());
    };
    let (is_well, text) = judged?;
    print(&text)?;
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn diff(options: &Diff) -> Result<ExitCode, String> {
    let (a, b) = (
        summary_of_one(&options.a, &options.window)?,
        summary_of_one(&options.b, &options.window)?,
    );
    let names = [&options.a, &options.b].map(|file| trail::show_path(file));
    let document = diff::document(&a, &b, [&names[0], &names[1]], options.changed);
    let document = if options.format == Format::Table {
        diff::for_people(document)
    } else {
        document
    };
    print(&document.show(options.format, None)?)?;
    Ok(ExitCode::SUCCESS)
}

fn report(options: &Report) -> Result<ExitCode, String> {
    let (mut model, signs, reader) = model_and_signs(&options.input.files, true)?;
    finish(&reader)?;
    let summary = Summary::new(&model, &reader);
    let findings = findings::find(&model, &summary, &signs, &reader);
    if let Some(output) = &options.output {
        model.mark_also(findings::times(&findings));
        let name = options
            .title
            .clone()
            .unwrap_or_else(|| trail::show_path(&options.input.files.files[0]));
        let sheets = [
            findings::work(&model, &summary, &signs, &reader).document(),
            churn::document(&model, &reader.zone),
            timeline::document(&model, &reader.zone),
        ];
        let page = report::page(
            &name,
            &model,
            &summary,
            &findings,
            &sheets,
            &reader.zone,
            options.log_link.as_deref(),
        );
        std::fs::write(output, page).map_err(|error| format!("{}: {error}", output.display()))?;
    }
    if options.input.format == Format::Table {
        print(&findings::text(&findings))?;
    } else {
        let work = findings::work(&model, &summary, &signs, &reader);
        let bucket_s = model.intervals.width_us() as f64 / 1e6;
        let document = findings::document(&findings, &work, bucket_s, &reader.zone);
        print(&document.show(options.input.format, None)?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn plot(options: &Plot) -> Result<ExitCode, String> {
    let output = &options.output;
    let detail = Detail {
        intervals: Some((options.bucket, plot::INTERVALS_MAX)),
        has_heat: options.kind == plot::Kind::Heat,
    };
    let is_png = match output.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => false,
        Some("png") => true,
        _ => {
            return Err(format!(
                "-o {}: a picture's name ends with .svg or .png",
                output.display()
            ));
        }
    };
    let (model, reader) = model_of(&options.input.files, detail)?;
    finish(&reader)?;
    let picture = plot::draw(options.kind, &model, &reader.zone);
    let bytes = if is_png {
        picture.png()?
    } else {
        picture.svg().into_bytes()
    };
    std::fs::write(output, bytes).map_err(|error| format!("{}: {error}", output.display()))?;
    Ok(ExitCode::SUCCESS)
}
