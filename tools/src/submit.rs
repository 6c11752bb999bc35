//! `ringmw submit`: writes readable submit files for a batch system, and submits them if asked.
//!
//! The texts are made by pure functions, one file for each batch system ([`condor`], [`slurm`]); the overseer uses the
//! same ones for its slaves, so that there is one answer to what a slave's job looks like.

pub(crate) mod app;
pub(crate) mod condor;
pub(crate) mod slurm;

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use ringmw_codec::resource::ResourceFile;

use app::{App, Request};

use crate::bundle;

/// `--run` waits so long for the master's resource file.
const RESOURCE_FILE_BOUND: Duration = Duration::from_secs(120);

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
    /// Submit them: the master, and the slaves once the resource file is there
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
            let _ = writeln!(io::stderr(), "ringmw submit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn submit(options: &Options) -> Result<(), String> {
    let app = app(options)?;
    let master = match options.system {
        System::Condor => condor::master(&app, &options.args)?,
        System::Slurm => slurm::master(&app, &options.args)?,
    };
    let mut texts = vec![master];
    if options.slaves > 0 {
        texts.push(match options.system {
            System::Condor => condor::slaves(&app, options.slaves)?,
            System::Slurm => slurm::slaves(&app, options.slaves)?,
        });
    }
    if options.dry_run {
        for text in &texts {
            say(&format!("#### {}\n{}\n", text.name, text.text));
        }
        return Ok(());
    }
    fs::create_dir_all(&app.dir).map_err(|error| format!("{}: {error}", app.dir.display()))?;
    for text in &texts {
        let path = app.dir.join(text.name);
        fs::write(&path, &text.text).map_err(|error| format!("{}: {error}", path.display()))?;
        say(&format!("wrote {}\n", path.display()));
    }
    let command = match options.system {
        System::Condor => "condor_submit",
        System::Slurm => "sbatch",
    };
    let resource_file = app.dir.join(&app.resource_file);
    if !options.run {
        let (dir, file) = (app.dir.display(), app.resource_file.display());
        say(&format!(
            "\nnext:\n  cd {dir}\n  {command} {}\n",
            texts[0].name
        ));
        match texts.get(1) {
            Some(slaves) => say(&format!(
                "  {command} {}    # once {file} is there\n",
                slaves.name
            )),
            None => say(&overseer(options.system, Path::new(&app.resource_file))),
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
    say(&submit_file(command, &app.dir, texts[0].name)?);
    match texts.get(1) {
        Some(slaves) => {
            await_resource_file(&resource_file)?;
            say(&submit_file(command, &app.dir, slaves.name)?);
        }
        None => say(&format!(
            "\nnext:\n{}",
            overseer(options.system, &resource_file)
        )),
    }
    say(&format!(
        "\nin {}: the master's output and audit trail (master.*), the slaves' output (slave.*)\n",
        app.dir.display()
    ));
    Ok(())
}

/// The command that starts slaves.
fn overseer(system: System, resource_file: &Path) -> String {
    let batch = match system {
        System::Condor => "condor",
        System::Slurm => "slurm",
    };
    let file = slurm::quoted(&resource_file.to_string_lossy());
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

fn await_resource_file(path: &Path) -> Result<(), String> {
    let began = Instant::now();
    loop {
        if let Ok(text) = fs::read(path) {
            return match ResourceFile::parse(&text) {
                Ok(file) if file.finished => Err(format!(
                    "{}: the computation is finished already",
                    path.display()
                )),
                Ok(_) => Ok(()),
                Err(error) => Err(format!("{}: {error}", path.display())),
            };
        }
        if began.elapsed() > RESOURCE_FILE_BOUND {
            return Err(format!(
                "{} did not appear within {} s; look at the master's .err and .log in the same folder",
                path.display(),
                RESOURCE_FILE_BOUND.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn submit_file(command: &str, dir: &Path, file: &str) -> Result<String, String> {
    let output = Command::new(command)
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

fn say(text: &str) {
    // Nobody may be reading; the work goes on.
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests;
