//! `ringmw journal`: what a run's journal holds, whether it is whole, what of it can go, and its results for other
//! programs.
//!
//! It reads what `ringmw_codec::journal` describes, and needs neither the application nor its types: outputs are bytes
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use ringmw_codec::journal::{
    FileError, Found, Record, Records, RunFile, Segment, begin_results, hash_name, key, put_begun,
    put_failure, put_offer, put_result, run_text, seal,
};
use serde_json::json;

use crate::say;

const NAME: &str = "ringmw journal";

/// What `ringmw journal` takes.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// List the segments: life, time, results, offers, damage
    Ls {
        /// The journal's folder, or one that holds it as `journal`
        dir: PathBuf,
        /// How to print
        #[arg(long, value_enum, default_value = "table")]
        format: Format,
    },
    /// Read everything and tell what is damaged
    ///
    /// A segment whose end is cut off is what a killed master leaves, and is no damage.
    #[command(after_help = "Exit status: 0 if everything that was written can be read; 1 if not.")]
    Check {
        /// The journal's folder, or one that holds it as `journal`
        dir: PathBuf,
    },
    /// Write the segments anew without what is of no use
    ///
    /// Damaged bytes and repeated results always go. No master of the run may be running meanwhile.
    Prune {
        /// The journal's folder, or one that holds it as `journal`
        dir: PathBuf,
        /// Results of this algorithm go too: they are computed again
        #[arg(long, value_name = "NAME")]
        algorithm: Vec<String>,
        /// Failed results go too
        #[arg(long)]
        failures: bool,
        /// Tell what would go, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print every result: life, algorithm, stream, compute time, output in hexadecimal
    Export {
        /// The journal's folder, or one that holds it as `journal`
        dir: PathBuf,
        /// How to print; table is csv here
        #[arg(long, value_enum, default_value = "csv")]
        format: Format,
        /// Only results of this algorithm
        #[arg(long, value_name = "NAME")]
        algorithm: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    /// One object a line
    Json,
    Csv,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let done = match &options.command {
        Command::Ls { dir, format } => ls(dir, *format),
        Command::Check { dir } => check(dir),
        Command::Prune {
            dir,
            algorithm,
            failures,
            dry_run,
        } => prune(dir, algorithm, *failures, *dry_run),
        Command::Export {
            dir,
            format,
            algorithm,
        } => export(dir, *format, algorithm.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            say::complain(NAME, &error);
            ExitCode::FAILURE
        }
    }
}

/// A segment's file, read.
struct Read {
    path: PathBuf,
    bytes: Vec<u8>,
    head: Result<(Segment, usize), FileError>,
}

/// The folder of the segments, and their paths in the order of lives and numbers.
fn segments(dir: &Path) -> Result<(PathBuf, Vec<PathBuf>), String> {
    let inner = dir.join("journal");
    let dir = if inner.is_dir() {
        inner
    } else {
        dir.to_owned()
    };
    let entries = fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| format!("{}: {error}", dir.display()))?;
        if let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(Segment::parse_file_name)
        {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    if found.is_empty() {
        return Err(format!(
            "{} has no journal: a master writes one with --mw-journal",
            dir.display()
        ));
    }
    let paths = found.into_iter().map(|(_, path)| path).collect();
    Ok((dir, paths))
}

fn read(path: PathBuf) -> Result<Read, String> {
    let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let head = Segment::decode(&bytes);
    Ok(Read { path, bytes, head })
}

/// What a segment holds.
#[derive(Default)]
struct Row {
    results: u64,
    failures: u64,
    offers: u64,
    begun: u64,
    damaged: Vec<(u64, u64)>,
    torn: u64,
    compute_ns: u64,
    by_algorithm: BTreeMap<String, u64>,
}

fn row(segment: &Segment, file: &[u8], head: usize) -> Row {
    let mut row = Row::default();
    for found in Records::new(segment, file, head) {
        match found {
            Found::Record { record, .. } => match record {
                Record::Results(results) => {
                    let count = u64::from(results.count);
                    match results.failed {
                        true => row.failures += count,
                        false => row.results += count,
                    }
                    row.compute_ns += results.iter().map(|entry| entry.compute_ns).sum::<u64>();
                    let name = segment.algorithms.get(usize::from(results.algorithm));
                    let name = name.map_or("?", String::as_str).to_owned();
                    *row.by_algorithm.entry(name).or_default() += count;
                }
                Record::Offer(_) => row.offers += 1,
                Record::Begun(begun) => {
                    row.begun += u64::from(!begun.given_back) * begun.iter().len() as u64
                }
            },
            Found::Damaged {
                bytes, torn: true, ..
            } => row.torn += bytes,
            Found::Damaged { at, bytes, .. } => row.damaged.push((at, bytes)),
        }
    }
    row
}

fn time(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us)
        .map_or_else(|_| "?".to_owned(), |time| format!("{time:.0}"))
}

const COLUMNS: [&str; 10] = [
    "life",
    "segment",
    "begun",
    "bytes",
    "results",
    "failures",
    "offers",
    "once-begun",
    "damaged",
    "torn-bytes",
];

fn ls(dir: &Path, format: Format) -> Result<ExitCode, String> {
    let (dir, paths) = segments(dir)?;
    let mut text = String::new();
    let mut table = comfy_table::Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_header(COLUMNS);
    let (mut all, mut last) = (Row::default(), None);
    if format == Format::Csv {
        let _ = writeln!(text, "{}", COLUMNS.join(","));
    }
    for path in paths {
        let file = read(path)?;
        let Ok((segment, head)) = &file.head else {
            let error = file
                .head
                .as_ref()
                .err()
                .map(ToString::to_string)
                .unwrap_or_default();
            say::complain(NAME, &format!("{}: {error}", file.path.display()));
            continue;
        };
        let row = row(segment, &file.bytes, *head);
        let damaged: u64 = row.damaged.iter().map(|(_, bytes)| bytes).sum();
        let numbers = [
            u64::from(segment.life),
            u64::from(segment.number),
            0,
            file.bytes.len() as u64,
            row.results,
            row.failures,
            row.offers,
            row.begun,
            damaged,
            row.torn,
        ];
        let cells: Vec<String> = numbers
            .iter()
            .enumerate()
            .map(|(at, number)| {
                if at == 2 {
                    time(segment.begun_us)
                } else {
                    number.to_string()
                }
            })
            .collect();
        match format {
            Format::Table => drop(table.add_row(cells)),
            Format::Csv => drop(writeln!(text, "{}", cells.join(","))),
            Format::Json => {
                let mut object = serde_json::Map::new();
                for ((name, number), cell) in COLUMNS.iter().zip(numbers).zip(cells) {
                    let value = if *name == "begun" {
                        json!(cell)
                    } else {
                        json!(number)
                    };
                    object.insert((*name).to_owned(), value);
                }
                object.insert("algorithms".to_owned(), json!(row.by_algorithm));
                let _ = writeln!(text, "{}", serde_json::Value::Object(object));
            }
        }
        all.results += row.results;
        all.failures += row.failures;
        all.compute_ns += row.compute_ns;
        for (name, count) in row.by_algorithm {
            *all.by_algorithm.entry(name).or_default() += count;
        }
        last = Some(segment.clone());
    }
    if format == Format::Table {
        if let Some(segment) = last {
            let identity = &segment.identity;
            let _ = writeln!(
                text,
                "run {} of {} (build {}, version {:?}), seed {}, arguments {:?}, {} lives so far",
                run_text(identity.run),
                identity.program,
                identity.build,
                identity.app_version,
                identity.seed,
                identity.args,
                segment.life
            );
        }
        if let Ok(bytes) = fs::read(dir.join("run"))
            && let Ok(run) = RunFile::decode(&bytes)
        {
            let _ = writeln!(
                text,
                "life {} began {} on {} as process {}, port {}",
                run.life,
                time(run.begun_us),
                run.host,
                run.pid,
                run.port
            );
        }
        for (name, count) in &all.by_algorithm {
            let _ = writeln!(text, "{count} results of {name}");
        }
        let _ = writeln!(
            text,
            "{} results, {} failures, {:.1} s of compute\n\n{table}",
            all.results,
            all.failures,
            all.compute_ns as f64 / 1e9
        );
    }
    Ok(say::report(NAME, &text, ExitCode::SUCCESS))
}

fn check(dir: &Path) -> Result<ExitCode, String> {
    let (_, paths) = segments(dir)?;
    let (mut text, mut wrong, mut results, mut files) = (String::new(), 0, 0, 0);
    for path in paths {
        let file = read(path)?;
        files += 1;
        let shown = file.path.display();
        match &file.head {
            Err(error) => {
                wrong += 1;
                let _ = writeln!(text, "{shown}: {error}; none of it is read");
            }
            Ok((segment, head)) => {
                let row = row(segment, &file.bytes, *head);
                results += row.results + row.failures;
                for (at, bytes) in row.damaged {
                    wrong += 1;
                    let _ = writeln!(
                        text,
                        "{shown}: {bytes} bytes at {at} are damaged; what they held is computed again"
                    );
                }
                if row.torn > 0 {
                    let _ = writeln!(
                        text,
                        "{shown}: its last {} bytes are cut off, as a killed master leaves it",
                        row.torn
                    );
                }
            }
        }
    }
    let code = match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    };
    let _ = writeln!(
        text,
        "{} in {}, {}",
        say::count(results as usize, "result", "results"),
        say::count(files, "segment", "segments"),
        say::count(wrong, "damaged place", "damaged places")
    );
    Ok(say::report(NAME, &text, code))
}

fn prune(
    dir: &Path,
    algorithms: &[String],
    failures: bool,
    dry_run: bool,
) -> Result<ExitCode, String> {
    let (_, paths) = segments(dir)?;
    let mut seen = BTreeSet::new();
    let (mut text, mut gone, mut freed) = (String::new(), 0u64, 0u64);
    for path in paths {
        let file = read(path)?;
        let Ok((segment, head)) = &file.head else {
            say::complain(
                NAME,
                &format!(
                    "{}: left as it is, its head cannot be read",
                    file.path.display()
                ),
            );
            continue;
        };
        let names: Vec<u64> = segment
            .algorithms
            .iter()
            .map(|name| hash_name(name))
            .collect();
        let goes = |algorithm: u16| {
            let name = segment.algorithms.get(usize::from(algorithm));
            name.is_none_or(|name| algorithms.contains(name))
        };
        let mut payloads = Vec::new();
        for found in Records::new(segment, &file.bytes, *head) {
            let Found::Record { record, .. } = found else {
                continue;
            };
            match record {
                Record::Offer(offer) => put_offer(&mut payloads, &offer),
                Record::Begun(begun) => {
                    let tasks: Vec<_> = begun.iter().collect();
                    put_begun(&mut payloads, begun.given_back, &tasks);
                }
                Record::Results(results)
                    if goes(results.algorithm) || (failures && results.failed) =>
                {
                    gone += u64::from(results.count);
                }
                Record::Results(results) => {
                    let algorithm = names[usize::from(results.algorithm)];
                    let stays: Vec<_> = results
                        .iter()
                        .filter(|entry| {
                            let key = key(algorithm, results.domain, entry.stream, entry.args);
                            seen.insert((key, results.failed))
                        })
                        .collect();
                    gone += u64::from(results.count) - stays.len() as u64;
                    for entry in stays {
                        let (stream, output) =
                            ((results.domain, entry.stream), results.output(&entry));
                        if results.failed {
                            let message = String::from_utf8_lossy(output);
                            put_failure(
                                &mut payloads,
                                results.algorithm,
                                results.offers,
                                stream,
                                entry.args,
                                entry.compute_ns,
                                &message,
                            );
                            continue;
                        }
                        let table = begin_results(
                            &mut payloads,
                            results.algorithm,
                            1,
                            results.offers,
                            stream,
                            output.len(),
                        );
                        put_result(
                            &mut payloads,
                            table,
                            0,
                            entry.args,
                            entry.compute_ns,
                            output,
                        );
                    }
                }
            }
        }
        let mut anew = file.bytes[..*head].to_vec();
        seal(
            &mut anew,
            (segment.life, segment.number),
            *head as u64,
            &payloads,
        );
        // One by one they may take more than together in series: then it stays as it is.
        if anew.len() < file.bytes.len() {
            freed += (file.bytes.len() - anew.len()) as u64;
            if !dry_run {
                replace(&file.path, &anew)
                    .map_err(|error| format!("{}: {error}", file.path.display()))?;
            }
        } else if gone > 0 && !algorithms.is_empty() && !dry_run {
            replace(&file.path, &anew)
                .map_err(|error| format!("{}: {error}", file.path.display()))?;
        }
    }
    let would = if dry_run { "would go" } else { "gone" };
    let _ = writeln!(
        text,
        "{} {would}, {freed} bytes",
        say::count(gone as usize, "result", "results")
    );
    Ok(say::report(NAME, &text, ExitCode::SUCCESS))
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let aside = path.with_extension("pruned");
    let _ = fs::remove_file(&aside);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&aside, path)
}

fn export(dir: &Path, format: Format, only: Option<&str>) -> Result<ExitCode, String> {
    let (_, paths) = segments(dir)?;
    match print_results(paths, format, only) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(format!("standard output: {error}")),
    }
}

fn print_results(paths: Vec<PathBuf>, format: Format, only: Option<&str>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    if format != Format::Json {
        writeln!(
            out,
            "life,algorithm,family,stream,status,compute_ns,args_hash,output"
        )?;
    }
    for path in paths {
        let file = read(path).map_err(io::Error::other)?;
        let Ok((segment, head)) = &file.head else {
            say::complain(
                NAME,
                &format!("{}: its head cannot be read", file.path.display()),
            );
            continue;
        };
        for found in Records::new(segment, &file.bytes, *head) {
            let Found::Record {
                record: Record::Results(results),
                ..
            } = found
            else {
                continue;
            };
            let name = segment.algorithms.get(usize::from(results.algorithm));
            let name = name.map_or("?", String::as_str);
            if only.is_some_and(|only| only != name) {
                continue;
            }
            let status = if results.failed { "failed" } else { "done" };
            for entry in results.iter() {
                let output = hex(results.output(&entry));
                let args = format!("{:032x}", entry.args);
                match format {
                    Format::Json => {
                        let line = json!({
                            "life": segment.life, "algorithm": name, "family": results.domain,
                            "stream": entry.stream, "status": status, "compute_ns": entry.compute_ns,
                            "args_hash": args, "output": output,
                        });
                        writeln!(out, "{line}")?;
                    }
                    Format::Table | Format::Csv => writeln!(
                        out,
                        "{},{name},{},{},{status},{},{args},{output}",
                        segment.life, results.domain, entry.stream, entry.compute_ns
                    )?,
                }
            }
        }
    }
    out.flush()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}
