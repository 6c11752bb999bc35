//! The ringmw command: what an operator needs beside the applications themselves.

mod audit;
mod doctor;

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
    /// Tell from audit trails what happened in a run
    ///
    /// Trails of ringmw and of CL-MW, a master's or a master's and its slaves', plain, gzip or zstd, `-` for standard
    /// input. Lines that cannot be read are counted and told on standard error.
    Audit(audit::Options),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Doctor(options) => doctor::run(&options),
        Command::Audit(options) => audit::run(&options),
    }
}
