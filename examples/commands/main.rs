//! GNU parallel's work on a cluster, without writing Rust: every line of input is a command, run by some slave; outputs
//! come in the order of the lines.
//!
//! ```text
//! commands < list-of-commands
//! ls *.wav | commands 'flac -s {} -o out/{#}.flac'
//! commands --joblog log --retries 3 --timeout 60 --input list 'simulate --seed {}'
//! commands --joblog log --resume --input list 'simulate --seed {}'
//! ```
//!
//! On a cluster the master and slaves are the same binary (the master's trail says which port it has):
//!
//! ```text
//! commands --mw-master --mw-resource-file run.rsc --mw-audit-file run.audit --input list 'simulate --seed {}'
//! commands --mw-slave --mw-resource-file run.rsc
//! ```
//!
//! Use it when the work is a program that is there already. Where the work can be a Rust function, a task algorithm costs
//! a thousandth of a process.
//!
//! A command runs with `sh -c`, in the slave's folder, without input. `{}` in the template is the line, quoted as GNU
//! parallel quotes it; `{#}` is its number; a template without either gets ` {}` at its end. With `--argv` no shell
//! stands between: the words are the program and its arguments, `{}` is the bare line, and a line without a template is
//! cut into words as a shell cuts it. The exit code is the number of commands that failed, at most 101.
//!
//! A command whose slave is lost is run again elsewhere, so it should bear being run twice. Whatever it started and that
//! is in its process group is killed when the slave is told to stop, when its time is over, and when the slave itself is
//! killed.

mod input;
mod job;
mod log;

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use clap::Parser;
use job::{Job, Ran, Warden};
use ringmw::prelude::*;

/// How far the lines that are read may be ahead of the line whose output is next.
const AHEAD_LINES_MAX: u64 = 100_000;

/// Outputs that wait for those before them; with more, no further line is read.
const WAITING_BYTES_MAX: usize = 256 << 20;

/// The largest packet of results: the outputs of commands are larger than the results of functions. An output above it
/// is a failure of its command.
const READ_BUFFER: [&str; 2] = ["--mw-max-read-buffer-size", "67108864"];

/// Of how many failures the exit code tells.
const FAILURES_TOLD_MAX: u64 = 101;

/// Runs the lines of the input as commands on slaves; outputs come in the order of the lines.
#[derive(Parser)]
struct Options {
    /// Run words, not a shell's text.
    #[arg(long)]
    argv: bool,
    /// Write a line of each command that has ended into this file, in GNU parallel's columns.
    #[arg(long, value_name = "FILE")]
    joblog: Option<PathBuf>,
    /// Leave out the commands that the job log has, whether they failed or not.
    #[arg(long, requires = "joblog")]
    resume: bool,
    /// Leave out the commands that have succeeded by the job log.
    #[arg(long, requires = "joblog", conflicts_with = "resume")]
    resume_failed: bool,
    /// How often a command that fails is run, all in all.
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    retries: u32,
    /// Kill a command that has run for so many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = job::seconds)]
    timeout: Option<f64>,
    /// Read the lines from this file instead of the standard input.
    #[arg(short = 'a', long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// The command, with {} for the line and {#} for its number.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    template: Vec<String>,
}

/// Runs one command, and gives what it said and how it ended.
#[algorithm]
fn run(job: &Job, warden: &mut Warden, cx: &mut Cx) -> Ran {
    job::run(job, warden, cx)
}

/// A command that is under way.
struct UnderWay {
    words: Vec<Vec<u8>>,
    attempt: u32,
}

/// What is known of all commands.
struct Book {
    log: Option<log::Log>,
    retries: u32,
    timeout: Option<f64>,
    shell: bool,
    under_way: BTreeMap<u64, UnderWay>,
    /// Outputs that wait for those of smaller numbers.
    waiting: BTreeMap<u64, Ran>,
    waiting_bytes: usize,
    /// The number whose output is next.
    next: u64,
    failed: u64,
}

impl Book {
    fn submit(&self, mw: &Master, seq: u64) {
        let job = Job {
            seq,
            words: self.under_way[&seq].words.clone(),
            shell: self.shell,
            timeout: self.timeout,
        };
        mw.submit(run::task(&job).tag(&seq).stream(seq));
    }

    /// A command has ended: once more, or its output is told.
    fn ended(&mut self, mw: &Master, seq: u64, ran: Ran) -> Result {
        let command = self.under_way.get_mut(&seq).ok_or("an end of no command")?;
        if ran.has_failed() && command.attempt < self.retries {
            command.attempt += 1;
            self.submit(mw, seq);
            return Ok(());
        }
        self.failed += u64::from(ran.has_failed());
        if let Some(log) = &mut self.log {
            log.write(seq, &ran, &command.words)?;
        }
        self.under_way.remove(&seq);
        self.waiting_bytes += ran.output_bytes();
        self.waiting.insert(seq, ran);
        self.tell()
    }

    /// A command that is not run at all.
    fn passed_over(&mut self, seq: u64) -> Result {
        self.waiting.insert(seq, Ran::default());
        self.tell()
    }

    /// Writes the outputs whose turn it is.
    fn tell(&mut self) -> Result {
        let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
        while let Some(ran) = self.waiting.remove(&self.next) {
            self.waiting_bytes -= ran.output_bytes();
            self.next += 1;
            out.write_all(&ran.stdout)?;
            if !ran.stderr.is_empty() {
                out.flush()?;
                err.write_all(&ran.stderr)?;
            }
        }
        Ok(out.flush()?)
    }

    fn takes_more(&self, seq: u64) -> bool {
        seq < self.next + AHEAD_LINES_MAX && self.waiting_bytes < WAITING_BYTES_MAX
    }
}

async fn master(mw: Master, args: Args) -> Result<u8> {
    let options: Options = args.parse();
    let done = match &options.joblog {
        Some(path) if options.resume => log::read(path, log::Of::All)?,
        Some(path) if options.resume_failed => log::read(path, log::Of::Succeeded)?,
        _ => Default::default(),
    };
    let goes_on = options.resume || options.resume_failed;
    let open = |path: &PathBuf| log::Log::open(path, goes_on);
    let mut book = Book {
        log: options.joblog.as_ref().map(open).transpose()?,
        retries: options.retries,
        timeout: options.timeout,
        shell: !options.argv,
        under_way: BTreeMap::new(),
        waiting: BTreeMap::new(),
        waiting_bytes: 0,
        next: 1,
        failed: 0,
    };
    let template = input::Template::new(&options.template, options.argv);
    let mut lines = input::read(options.input.as_deref())?;
    let mut results = mw.results::<run>();
    let (mut seq, mut has_more) = (1, true);
    while has_more || !book.under_way.is_empty() {
        tokio::select! {
            end = results.next(), if !book.under_way.is_empty() => {
                match end.ok_or("a command has no end")? {
                    Ok(done) => {
                        let seq = done.tag::<u64>()?.ok_or("every command has its number")?;
                        book.ended(&mw, seq, done.output)?;
                    }
                    Err(error) => {
                        let seq = number_of(&error)?;
                        book.ended(&mw, seq, Ran::not_run(&error.to_string()))?;
                    }
                }
            }
            batch = lines.recv(), if has_more && book.takes_more(seq) => match batch {
                None => has_more = false,
                Some(batch) => for line in batch? {
                    if done.contains(&seq) {
                        book.passed_over(seq)?;
                    } else {
                        let words = template.words(&line, seq)?;
                        book.under_way.insert(seq, UnderWay { words, attempt: 1 });
                        book.submit(&mw, seq);
                    }
                    seq += 1;
                }
            }
        }
    }
    Ok(book.failed.min(FAILURES_TOLD_MAX) as u8)
}

/// The number of a command that gave no output.
fn number_of(error: &TaskError) -> Result<u64> {
    let (TaskErrorKind::Failed { origin, .. }
    | TaskErrorKind::Unrunnable { origin, .. }
    | TaskErrorKind::Cancelled { origin, .. }) = error.kind()
    else {
        return Err(error.clone().into());
    };
    Ok(origin.tag::<u64>()?.ok_or("every command has its number")?)
}

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let args: Vec<_> = args.collect();
    let before = args.iter().take_while(|arg| *arg != "--");
    let mut library = before.filter_map(|arg| arg.to_str());
    if !library.any(|arg| arg.starts_with(READ_BUFFER[0]) || arg == "--mw-slave") {
        // The limit is the library's flag, so it stands on the command line of master and local mode.
        let error = std::process::Command::new("/proc/self/exe")
            .arg0(name)
            .args(READ_BUFFER)
            .args(args)
            .exec();
        eprintln!("commands: cannot begin anew with {READ_BUFFER:?}: {error}");
        return ExitCode::FAILURE;
    }
    App::new().algorithm::<run>().master(master).run()
}
