//! The ringmw command: what an operator needs beside the applications themselves.

mod audit;
mod bundle;
mod doctor;
mod farm;
mod journal;
mod names;
mod observe;
mod overseer;
mod resource;
mod say;
mod stop;
mod submit;
mod top;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Tools for operators of ringmw applications.
#[derive(Parser)]
#[command(
    name = "ringmw",
    version,
    max_term_width = 100,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether this host can run ringmw, how well, and what to change
    ///
    /// Run it where the master is to run: in the same container and under the same limits (systemd unit, batch job or
    /// shell), for all of them have a say. Slaves need none of it but the network.
    #[command(
        after_help = "Exit status: 0 if ringmw can run here, on epoll if need be; 1 if it cannot."
    )]
    Doctor(doctor::Options),
    /// Tell from audit trails what happened in a run
    ///
    /// Trails of ringmw and of CL-MW, a master's or a master's and its slaves', plain, gzip or zstd, `-` for standard
    /// input. Lines that cannot be read are counted and told on standard error.
    Audit(audit::Options),
    /// Write submit files for a batch system, and submit them with --run
    #[command(
        after_help = "Examples:\n  ringmw submit condor --binary ./app --slaves 1000 --dry-run -- --input data\n  ringmw submit condor --binary ./app --slaves 1000 --dir run1 --run \\\n    -- --input data\n  ringmw submit slurm --binary ./app --slaves 50 --cpus 16 --dir run2 --run"
    )]
    Submit(submit::Options),
    /// Keep as many slaves alive on a batch system as the master's resource file desires
    #[command(
        after_help = "Examples:\n  ringmw overseer --resource-file run1/app.rsc --batch condor --max 500\n  ringmw overseer --resource-file run1/app.rsc --status\n  ringmw overseer --resource-file app.rsc --batch ssh\n\nIt may be stopped and started again at any time: it finds its jobs by their tag. It ends by itself when the computation is finished and its last job is gone."
    )]
    Overseer(overseer::Options),
    /// Watch a run while it runs
    #[command(
        after_help = "Examples:\n  ringmw top run1/app.rsc\n  ringmw top run1 --once\n  ringmw top run1 | tee progress\n\nKeys: q quits, Tab turns to the next table, s sorts by the next column, / filters by host, slave or job, Enter says why of the selected row, w of any task, slave or host."
    )]
    Top(top::Options),
    /// Say why a task waits, where a slave is, or what became of a host
    #[command(
        after_help = "Examples:\n  ringmw why run1 TASK-920\n  ringmw why run1/app.rsc SLAVE-17\n  ringmw why run1 node7\n\nExit status: 0 if something is known, else 1."
    )]
    Why(why::Options),
    /// End a run for good: no more tasks, and master and slaves leave with 0
    #[command(
        after_help = "Examples:\n  ringmw stop run1\n\nThe batch system starts nothing again, and an overseer of the run cleans up and ends."
    )]
    Stop(stop::Options),
    /// Register and validate machines for slaves that are started by ssh
    #[command(
        after_help = "Examples:\n  ringmw farm add node1 node2 --user me --identity ~/.ssh/farm\n  ringmw farm add node3 --listen 9000\n  ringmw farm validate --binary ./app --check 'test -d /scratch'\n  ringmw overseer --resource-file app.rsc --batch ssh"
    )]
    Farm(farm::Options),
    /// Tell what a run's journal holds, check, prune and export it
    #[command(
        after_help = "Examples:\n  ringmw journal ls run1\n  ringmw journal check run1\n  ringmw journal export run1 --format json | head"
    )]
    Journal(journal::Options),
    /// Put an application and the shared libraries it needs into one folder
    #[command(
        after_help = "Examples:\n  ringmw bundle target/release/app -o deploy\n  LD_LIBRARY_PATH=/opt/solve/lib ringmw bundle target/release/app -o deploy\n\nA static build needs none:\n  RUSTFLAGS=\"-C target-feature=+crt-static\" cargo build --release \\\n    --target x86_64-unknown-linux-gnu"
    )]
    Bundle(bundle::Options),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  ringmw completions bash > ~/.local/share/bash-completion/completions/ringmw\n  ringmw completions zsh > ~/.zfunc/_ringmw"
    )]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the pages of all commands into a folder
    #[command(
        after_help = "Examples:\n  ringmw man | man -l -\n  ringmw man --dir ~/.local/share/man/man1"
    )]
    Man {
        /// The folder; without it, the page of ringmw itself goes to standard output
        #[arg(long, value_name = "FOLDER")]
        dir: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Doctor(options) => doctor::run(&options),
        Command::Audit(options) => audit::run(&options),
        Command::Submit(options) => submit::run(&options),
        Command::Overseer(options) => overseer::run(&options),
        Command::Top(options) => top::run(&options),
        Command::Why(options) => why::run(&options),
        Command::Stop(options) => stop::run(&options),
        Command::Farm(options) => farm::run(&options),
        Command::Journal(options) => journal::run(&options),
        Command::Bundle(options) => bundle::run(&options),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ringmw", &mut text);
            say::report("ringmw", &String::from_utf8_lossy(&text), ExitCode::SUCCESS)
        }
        Command::Man { dir } => match man(dir) {
            Ok(text) => say::report("ringmw", &text, ExitCode::SUCCESS),
            Err(error) => {
                say::complain("ringmw", &error);
                ExitCode::FAILURE
            }
        },
    }
}

/// The page that is to be printed, nothing if they go into a folder.
fn man(dir: Option<PathBuf>) -> std::io::Result<String> {
    let mut page = Vec::new();
    match dir {
        Some(dir) => {
            std::fs::create_dir_all(&dir)?;
            clap_mangen::generate_to(Cli::command(), dir)?;
        }
        None => clap_mangen::Man::new(Cli::command()).render(&mut page)?,
    }
    Ok(String::from_utf8_lossy(&page).into_owned())
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::Cli;

    /// Columns of a terminal; paragraphs are wrapped to it, or to what there are.
    const COLUMNS: usize = 80;

    fn check(command: &Command) {
        let help = command.get_after_help().map(ToString::to_string);
        let lines: Vec<&str> = help.as_deref().unwrap_or_default().lines().collect();
        for (nth, line) in lines.iter().enumerate() {
            let name = command.get_name();
            let columns = line.chars().count();
            if line.starts_with(' ') {
                assert!(
                    columns <= COLUMNS,
                    "{name}: an indented line is not wrapped: {line}"
                );
            } else if let Some(next) = lines.get(nth + 1) {
                let is_cut = columns > 60 && next.starts_with(|letter: char| letter.is_lowercase());
                assert!(!is_cut, "{name}: a paragraph is one line: {line}");
            }
        }
        command.get_subcommands().for_each(check);
    }

    /// What is indented, as examples are, would go on at the margin of its beginning, and could not be copied; a paragraph that
    /// has lines of its own would be cut in the midst of them.
    #[test]
    fn no_help_is_wrapped_twice() {
        check(&Cli::command());
    }
}
