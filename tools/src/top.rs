//! `ringmw top`: a run while it runs, in a terminal; plain lines where there is none.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ringmw_codec::observe::Ask;
use ringmw_codec::status::Status;

use crate::observe::Run;
use crate::say;

mod plain;
mod view;

use view::View;

#[derive(Args)]
pub(crate) struct Options {
    /// The master's resource file, or the folder that has it
    #[arg(value_name = "FILE|DIR")]
    run: PathBuf,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = clap::value_parser!(u64).range(1..=3600))]
    every: u64,
    /// Print the status once and exit
    #[arg(long)]
    once: bool,
    /// Print one plain line each time, on a terminal too
    #[arg(long)]
    lines: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    let told = match Run::find(&options.run) {
        Ok(mut run) if options.once => match run.status() {
            Ok(status) => {
                return say::report("ringmw top", &plain::page(&status), ExitCode::SUCCESS);
            }
            Err(error) => Err(error),
        },
        Ok(run) if options.lines || !io::stdout().is_terminal() => lines(run, options),
        Ok(run) => screen(run, options),
        Err(error) => Err(error),
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::complain("ringmw top", &error);
            ExitCode::FAILURE
        }
    }
}

/// The file again, for its address and whether the run is finished.
fn again(run: &mut Run) -> Result<(), String> {
    *run = Run::find(&run.path)?;
    Ok(())
}

fn lines(mut run: Run, options: &Options) -> Result<(), String> {
    let mut was_told = false;
    loop {
        let status = match run.status() {
            Ok(status) => status,
            Err(error) => {
                again(&mut run)?;
                return match run.file.finished && was_told {
                    true => say::print("finished\n").map_err(|error| error.to_string()),
                    false => Err(error),
                };
            }
        };
        was_told = true;
        say::print(&(plain::line(&status) + "\n"))
            .map_err(|error| format!("standard output: {error}"))?;
        std::thread::sleep(Duration::from_secs(options.every));
    }
}

fn screen(mut run: Run, options: &Options) -> Result<(), String> {
    // Before the terminal is taken: an error now is a line.
    let first = run.status()?;
    let mut terminal = ratatui::try_init().map_err(|error| format!("the terminal: {error}"))?;
    let mut view = View::new(first);
    let ended = looks(&mut terminal, &mut run, &mut view, options);
    ratatui::restore();
    ended
}

fn looks(
    terminal: &mut ratatui::DefaultTerminal,
    run: &mut Run,
    view: &mut View,
    options: &Options,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("the terminal: {error}");
    let every = Duration::from_secs(options.every);
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| view.draw(frame)).map_err(failed)?;
        let left = every.saturating_sub(looked.elapsed());
        if event::poll(left).map_err(failed)? {
            if let Event::Key(key) = event::read().map_err(failed)?
                && key.kind == KeyEventKind::Press
            {
                let is_interrupt =
                    key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if is_interrupt || !view.on_key(key.code) {
                    return Ok(());
                }
                if let Some(about) = view.take_question() {
                    let told = run.told(&Ask::Why { about: &about });
                    view.on_answer(&about, told);
                }
            }
            continue;
        }
        looked = Instant::now();
        view.on_look(look(run));
    }
}

/// How the run does; when nobody answers, what the file says.
fn look(run: &mut Run) -> Result<Status, String> {
    run.status().or_else(|error| {
        again(run)?;
        match run.file.finished {
            true => Err("the run is finished".to_owned()),
            false => Err(error),
        }
    })
}
