//! `ringmw stop`: a run ends for good.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use crate::observe::Run;
use crate::say;

/// The master ends within this time: 5 s if its algorithm holds its thread, 2 s for its slaves, 2 s for its files.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

#[derive(Args)]
pub(crate) struct Options {
    /// The master's resource file, or the folder that has it
    #[arg(value_name = "FILE|DIR")]
    run: PathBuf,
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
    let begun = Instant::now();
    while begun.elapsed() < ENDS_WITHIN {
        std::thread::sleep(Duration::from_millis(100));
        let now = Run::find(&run.path)?;
        if now.file.finished {
            let tasks = &status.tasks;
            let left = tasks.queued + tasks.running;
            return Ok(format!(
                "{} has ended: {} tasks done, {} not; {} told to go\n",
                status.run.name,
                tasks.done,
                left,
                say::count(
                    usize::try_from(status.slaves.connected).unwrap_or(usize::MAX),
                    "slave was",
                    "slaves were"
                ),
            ));
        }
    }
    Err(format!(
        "the master was told, and after {} s {} does not say that the run is finished: look at its process {pid} on {host}",
        ENDS_WITHIN.as_secs(),
        run.path.display()
    ))
}
