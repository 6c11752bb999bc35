//! The ringmw command: what an operator needs beside the applications themselves.

mod bundle;
mod doctor;
mod farm;
mod overseer;
mod submit;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    /// Write submit files for a batch system, and submit them with --run
    Submit(submit::Options),
    /// Keep as many slaves alive on a batch system as the master's resource file desires
    #[command(
        after_help = "It may be stopped and started again at any time: it finds its jobs by their tag."
    )]
    Overseer(overseer::Options),
    /// Register and validate machines for slaves that are started by ssh
    Farm(farm::Options),
    /// Put an application and the shared libraries it needs into one folder
    Bundle(bundle::Options),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Doctor(options) => doctor::run(&options),
        Command::Submit(options) => submit::run(&options),
        Command::Overseer(options) => overseer::run(&options),
        Command::Farm(options) => farm::run(&options),
        Command::Bundle(options) => bundle::run(&options),
    }
}
