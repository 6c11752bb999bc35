//! `ringmw submit`: writes readable submit files for a batch system, and submits them if asked.
//!
//! The texts are made by pure functions, one file for each batch system ([`condor`], [`slurm`]); the overseer uses the
//! same ones for its slaves, so that there is one answer to what a slave's job looks like.

pub(crate) mod app;
pub(crate) mod condor;
pub(crate) mod slurm;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmw_codec::resource::ResourceFile;

use app::{App, Request, Text};

use crate::observe::Run;
use crate::{bundle, resource, say};

/// `--run` waits so long for the master's resource file on HTCondor, whose jobs cannot wait for one another.
const RESOURCE_FILE_BOUND: Duration = Duration::from_secs(120);
/// On Slurm it waits so long; a master that is still queued then starts when the cluster has room for it, and the slaves
/// depend on that.
const FREE_CLUSTER_BOUND: Duration = Duration::from_secs(10);
/// A wait that lasts longer is told, with how to go on without it.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Which batch system the files are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// HTCondor: master.sub and slaves.sub
    Condor,
    /// Slurm: master.sbatch and slaves.sbatch
    Slurm,
}

/// What `ringmw submit` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// The batch system
    system: System,
    /// The application: one binary that is both master and slave
    #[arg(long)]
    binary: PathBuf,
    /// Slaves to start; 0 writes the master's file alone, for `ringmw overseer` to start slaves
    #[arg(long)]
    slaves: u32,
    /// The folder for submit files, resource file, audit trail and output; made if it is not there
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    request: Request,
    /// A line to be added to the master's submit file as it is; --line adds to the slaves'
    #[arg(long = "master-line", value_name = "LINE", value_parser = app::one_line)]
    master_lines: Vec<String>,
    /// Submit them: the master, and the slaves once the resource file is there; on a busy Slurm cluster slaves that wait
    /// for the master's start
    #[arg(long, conflicts_with = "dry_run")]
    run: bool,
    /// Print them instead of writing them
    #[arg(long)]
    dry_run: bool,
    /// The master's arguments, its --mw-* flags too; slaves are told by the master
    #[arg(last = true)]
    args: Vec<String>,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match submit(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::complain("ringmw submit", &error);
            ExitCode::FAILURE
        }
    }
}

fn submit(options: &Options) -> Result<(), String> {
    app::refuse_given(&options.args)?;
    let app = app(options)?;
    let master = match options.system {
        System::Condor => condor::master(&app, &options.args, &options.master_lines)?,
        System::Slurm => slurm::master(&app, &options.args, &options.master_lines)?,
    };
    let mut texts = vec![master];
    if options.slaves > 0 {
        texts.push(match options.system {
            System::Condor => condor::slaves(&app, options.slaves)?,
            System::Slurm => slurm::slaves(&app, options.slaves)?,
        });
    }
    if options.dry_run {
        let shown = |text: &Text| format!("#### {}\n{}\n", text.name, text.text);
        let shown: String = texts.iter().map(shown).collect();
        return say::print(&shown).map_err(|error| format!("standard output: {error}"));
    }
    refuse_a_living_run(&app)?;
    fs::create_dir_all(&app.dir).map_err(|error| format!("{}: {error}", app.dir.display()))?;
    for text in &texts {
        let path = app.dir.join(text.name);
        fs::write(&path, &text.text).map_err(|error| format!("{}: {error}", path.display()))?;
        say(&format!("wrote {}\n", path.display()));
    }
    let system = options.system;
    let resource_file = app.dir.join(&app.resource_file);
    if !options.run {
        let (dir, command) = (shown(&app.dir), system.command());
        say(&format!(
            "\nnext:\n  cd {dir}\n  {command} {}\n",
            texts[0].name
        ));
        match texts.get(1) {
            Some(slaves) => say(&format!(
                "  {command} {}    # once {} is there\n",
                slaves.name,
                shown(&app.resource_file)
            )),
            None => say(&overseer(system, &app.resource_file)),
        }
        return Ok(());
    }
    // One that is left from an earlier run would send the slaves to a master that is gone.
    match fs::remove_file(&resource_file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("{}: {error}", resource_file.display()));
        }
        _ => {}
    }
    let told = submit_file(system, &app.dir, texts[0].name, None)?;
    say(&told);
    match texts.get(1) {
        Some(slaves) => {
            let after = await_resource_file(system, &resource_file, slaves.name, &told)?;
            say(&submit_file(
                system,
                &app.dir,
                slaves.name,
                after.as_deref(),
            )?);
        }
        None => say(&format!("\nnext:\n{}", overseer(system, &resource_file))),
    }
    say(&format!(
        "\nin {}: the master's output and audit trail (master.*), the slaves' output (slave.*)\n",
        app.dir.display()
    ));
    Ok(())
}

/// The files of a run that still answers are not written over: its slaves would be told of another master.
fn refuse_a_living_run(app: &App) -> Result<(), String> {
    let file = app.dir.join(&app.resource_file);
    let who = Run::find(&file).ok().and_then(|mut run| run.who_answers());
    let Some(who) = who else {
        return Ok(());
    };
    let dir = shown(&app.dir);
    let free = (2..).map(|n| PathBuf::from(format!("{}-{n}", app.dir.display())));
    let free = free.into_iter().find(|path| !path.exists());
    let free = free.map_or_else(String::new, |path| {
        format!(", or take another folder: --dir {}", shown(&path))
    });
    Err(format!(
        "--dir {dir}: the run there still goes on: {who}; end it with `ringmw stop {dir}`{free}"
    ))
}

impl System {
    fn command(self) -> &'static str {
        match self {
            System::Condor => "condor_submit",
            System::Slurm => "sbatch",
        }
    }
}

/// As it is to be typed.
fn shown(path: &Path) -> String {
    slurm::quoted(&path.to_string_lossy())
}

/// The command that starts slaves.
fn overseer(system: System, resource_file: &Path) -> String {
    let batch = match system {
        System::Condor => "condor",
        System::Slurm => "slurm",
    };
    let file = shown(resource_file);
    format!("  ringmw overseer --resource-file {file} --batch {batch}\n")
}

fn app(options: &Options) -> Result<App, String> {
    let binary = bundle::binary(&options.binary)?;
    let dir = std::path::absolute(&options.dir)
        .map_err(|error| format!("{}: {error}", options.dir.display()))?;
    let name = binary.file_name().unwrap_or_default().to_string_lossy();
    Ok(App {
        libraries: bundle::libraries(&binary)?,
        resource_file: PathBuf::from(format!("{name}.rsc")),
        tag: name.into_owned(),
        binary,
        dir,
        request: options.request.clone(),
    })
}

/// Until the master has written where it is. On Slurm, whose jobs can wait for one another, not for long: then it is the
/// master's job that the slaves are to wait for.
fn await_resource_file(
    system: System,
    path: &Path,
    slaves: &str,
    told: &str,
) -> Result<Option<String>, String> {
    let began = Instant::now();
    let bound = match system {
        System::Condor => RESOURCE_FILE_BOUND,
        System::Slurm => FREE_CLUSTER_BOUND,
    };
    let mut silent = true;
    loop {
        let text = resource::read(path);
        if let Err(error) = &text
            && error.kind() == io::ErrorKind::InvalidData
        {
            return Err(format!("{}: {error}", path.display()));
        }
        if let Ok(text) = text {
            return match ResourceFile::parse(&text) {
                Ok(file) if file.finished => Err(format!(
                    "{}: the computation is finished already",
                    path.display()
                )),
                Ok(_) => Ok(None),
                Err(error) => Err(format!("{}: {error}", path.display())),
            };
        }
        let (seconds, go_on) = (bound.as_secs(), go_on(system, path, slaves));
        if began.elapsed() >= bound {
            if let (System::Slurm, Some(job)) = (system, job_of(told)) {
                say(&format!(
                    "the master has not started within {seconds} s: the slaves wait in the queue for its start\n"
                ));
                return Ok(Some(job.to_owned()));
            }
            return Err(format!(
                "{} did not appear within {seconds} s; the master stays submitted. Look at its .err and .log in the same \
                 folder, and whether it is still queued; once the file is there:\n  {go_on}",
                path.display()
            ));
        }
        if silent && began.elapsed() >= SILENCE_MAX {
            silent = false;
            say(&format!(
                "waiting up to {seconds} s for the master to write {}; without waiting, once it is there:\n  {go_on}\n",
                path.display()
            ));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn go_on(system: System, resource_file: &Path, slaves: &str) -> String {
    let dir = resource_file.parent().unwrap_or(resource_file);
    format!("cd {} && {} {slaves}", shown(dir), system.command())
}

/// The job in `Submitted batch job 17`, also where `on cluster c` follows.
fn job_of(told: &str) -> Option<&str> {
    let rest = told.split("Submitted batch job ").nth(1)?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()
        .filter(|job| !job.is_empty())
}

/// Submits a file of this folder, on Slurm as a job that begins after the start of another.
fn submit_file(
    system: System,
    dir: &Path,
    file: &str,
    after: Option<&str>,
) -> Result<String, String> {
    let command = system.command();
    let output = Command::new(command)
        .args(after.map(|job| format!("--dependency=after:{job}")))
        .arg(file)
        .current_dir(dir)
        .output()
        .map_err(|error| {
            format!("{command}: {error}; is the batch system's client on this machine's PATH?")
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!(
        "{command} {file}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// While it works: what is submitted is submitted, read or not.
fn say(text: &str) {
    let _ = say::print(text);
}

#[cfg(test)]
mod tests;
