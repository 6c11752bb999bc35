//! `ringmw stop`: a run ends for good.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ringmw_codec::observe::Ask;
use ringmw_codec::status::Status;
use rustix::process::{Pid, Signal, kill_process};

use crate::observe::Run;
use crate::say::{self, safe};

/// The master ends within this time: 5 s if its algorithm holds its thread, 2 s for its slaves, 2 s for its files.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

#[derive(Args)]
pub(crate) struct Options {
    /// The master's resource file, or the folder that has it
    #[arg(value_name = "FILE|DIR")]
    run: PathBuf,
    /// Wait for no running task
    #[arg(long)]
    now: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match stop(options) {
        Ok(text) => say::report("ringmw stop", &text, ExitCode::SUCCESS),
        Err(error) => {
            say::complain("ringmw stop", &error);
            ExitCode::FAILURE
        }
    }
}

/// What was done.
fn stop(options: &Options) -> Result<String, String> {
    let mut run = Run::find(&options.run)?;
    if run.file.finished {
        return Ok(format!(
            "{}: the run is finished already\n",
            run.path.display()
        ));
    }
    let status = run.status()?;
    if run.file.secret.is_some() {
        let told = run.told(&Ask::Stop { now: options.now })?;
        if let Some(error) = told.error {
            return Err(error);
        }
        let lines: String = told.lines.iter().map(|line| safe(line) + "\n").collect();
        return ended(&run, &status).map(|()| lines);
    }
    if options.now {
        return Err(
            "--now needs a run with a secret: without one it is said to the processes by SIGKILL"
                .to_owned(),
        );
    }
    let (host, pid) = (&status.run.host, status.run.pid);
    let here = rustix::system::uname();
    if *host.as_bytes() != *here.nodename().to_bytes() {
        return Err(format!(
            "the master runs on {host}, and this run has no secret: say it there, or send SIGUSR2 to its process {pid}"
        ));
    }
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process
        .ok_or_else(|| format!("the master tells a process {pid}, which there cannot be"))?;
    kill_process(process, Signal::USR2).map_err(|error| {
        format!("the master's process {pid} cannot be signalled: {error}; its owner may say it")
    })?;
    ended(&run, &status)?;
    let tasks = &status.tasks;
    Ok(format!(
        "{} has ended: {} tasks are done, {} are not; {} told to go\n",
        safe(&status.run.name),
        tasks.done,
        tasks.queued + tasks.running,
        say::count(
            usize::try_from(status.slaves.connected).unwrap_or(usize::MAX),
            "slave was",
            "slaves were"
        ),
    ))
}

/// Waits until the file says so.
fn ended(run: &Run, status: &Status) -> Result<(), String> {
    let begun = Instant::now();
    while begun.elapsed() < ENDS_WITHIN {
        std::thread::sleep(Duration::from_millis(100));
        if Run::find(&run.path)?.file.finished {
            return Ok(());
        }
    }
    Err(format!(
        "the master was told, and after {} s {} does not say that the run is finished: look at its process {} on {}",
        ENDS_WITHIN.as_secs(),
        run.path.display(),
        status.run.pid,
        safe(&status.run.host)
    ))
}
