//! `ringmw why`: why a task waits, where a slave is, what became of a host.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use ringmw_codec::audit::{Event, Line};
use ringmw_codec::observe::{ABOUT_BYTES_MAX, Ask};

use crate::observe::{Run, trail_of};
use crate::say::{self, safe};

/// Lines of the trail in an answer, the last ones.
const TRAIL_LINES_MAX: usize = 8;

#[derive(Args)]
pub(crate) struct Options {
    /// The master's resource file, or the folder that has it
    #[arg(value_name = "FILE|DIR")]
    run: PathBuf,
    /// What is asked about: a task, a slave, or a host by its name
    #[arg(value_name = "TASK-7|SLAVE-3|HOST")]
    about: String,
    /// Search this trail for what the master does not remember; by default the one beside the resource file
    #[arg(long, value_name = "FILE")]
    trail: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match answer(options) {
        Ok((text, is_known)) => say::report(
            "ringmw why",
            &text,
            if is_known {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            },
        ),
        Err(error) => {
            say::complain("ringmw why", &error);
            ExitCode::FAILURE
        }
    }
}

/// The text, and whether anything was known.
fn answer(options: &Options) -> Result<(String, bool), String> {
    let about = options.about.as_str();
    if about.len() > ABOUT_BYTES_MAX {
        return Err(format!(
            "{about}: no task, slave or host has so long a name"
        ));
    }
    let mut run = Run::find(&options.run)?;
    let asked = run.told(&Ask::Why { about });
    let (mut lines, error) = match asked {
        Ok(told) => (told.lines, told.error),
        Err(error) => (Vec::new(), Some(error)),
    };
    let trail = options.trail.clone().or_else(|| trail_of(&run.path));
    let mut is_known = !lines.is_empty();
    if let Some(error) = error {
        lines.push(error);
        if let Some(trail) = &trail {
            let found = of_trail(trail, about)?;
            is_known |= !found.is_empty();
            lines.push(match found.is_empty() {
                true => format!("{} says nothing of it", trail.display()),
                false => format!("{}:", trail.display()),
            });
            lines.extend(found);
        }
    }
    let text: String = lines.iter().map(|line| safe(line) + "\n").collect();
    Ok((text, is_known))
}

/// A task's number, and the life of the run that is named with it: `TASK-920.2`.
fn task_of(about: &str) -> Option<(u64, Option<u32>)> {
    let upper = about.to_ascii_uppercase();
    let digits = upper.strip_prefix("TASK-")?;
    match digits.split_once('.') {
        None => Some((digits.parse().ok()?, None)),
        Some((task, life)) => Some((task.parse().ok()?, Some(life.parse().ok()?))),
    }
}

/// The life that a line of the trail begins, if it does: a process that says none leads the first of its run.
fn life_of(line: &str) -> Option<u32> {
    let word = line.split(' ').nth(3)?;
    if word != "init" && word != "life" {
        return None;
    }
    match Line::parse(line).ok()?.event {
        Event::Init { .. } => Some(1),
        Event::Life { life, .. } => Some(life),
        _ => None,
    }
}

/// The last lines of a trail that name it. Numbers of tasks begin again with each life: where several lives are in the
/// trail, each line says of which it is, and a name that says a life is that life's.
fn of_trail(trail: &std::path::Path, about: &str) -> Result<Vec<String>, String> {
    use std::io::BufRead as _;
    let failed = |error: std::io::Error| format!("{}: {error}", trail.display());
    let file = std::fs::File::open(trail).map_err(failed)?;
    let mut found = std::collections::VecDeque::new();
    let task = task_of(about);
    let mut life = 1;
    for line in std::io::BufReader::new(file).split(b'\n') {
        let line = line.map_err(failed)?;
        let Ok(line) = std::str::from_utf8(&line) else {
            continue;
        };
        life = life_of(line).unwrap_or(life);
        let names = match task {
            Some((task, of)) => {
                of.is_none_or(|of| of == life) && line.contains("TASK-") && of_task(line, task)
            }
            None => line
                .split([' ', '='])
                .any(|word| word.eq_ignore_ascii_case(about)),
        };
        let is_packet = ["tasks-sent", "results-received", "packets", "state"]
            .iter()
            .any(|word| line.split(' ').nth(3) == Some(word));
        if names && !is_packet {
            if found.len() == TRAIL_LINES_MAX {
                found.pop_front();
            }
            found.push_back(match (task, life) {
                (Some((task, _)), 2..) => format!("  TASK-{task}.{life}: {line}"),
                _ => format!("  {line}"),
            });
        }
    }
    Ok(found.into())
}

/// Whether a line is about this task, by itself or in a range.
fn of_task(line: &str, task: u64) -> bool {
    let Ok(line) = Line::parse(line) else {
        return false;
    };
    match line.event {
        Event::Lost { tasks, .. } | Event::Returned { tasks, .. } => tasks
            .ranges()
            .iter()
            .any(|range| (range.0..=range.1).contains(&task)),
        Event::TaskSent { task: of, .. }
        | Event::TaskEnded { task: of, .. }
        | Event::Failed { task: of, .. }
        | Event::Unrunnable { task: of, .. }
        | Event::Charged { task: of, .. }
        | Event::Duplicated { task: of, .. } => of == task,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::of_trail;

    #[test]
    fn a_task_of_each_life_is_another() {
        let dir = tempfile::tempdir().expect("a folder");
        let trail = dir.path().join("app.audit");
        let at = |second: u32, text: &str| {
            format!("1 2026-11-20T08:03:{second:02}.000000Z MASTER {text}\n")
        };
        let unrunnable =
            |second, reason: &str| at(second, &format!("unrunnable task=TASK-7 reason={reason}"));
        let life = |second, number| {
            at(
                second,
                &format!("life run=a life={number} journal=j state=\"\""),
            )
        };
        let text = [
            life(1, 1),
            unrunnable(2, "one"),
            life(3, 2),
            unrunnable(4, "two"),
        ]
        .concat();
        std::fs::write(&trail, text).expect("ours");
        let found = |about: &str| {
            let lines = of_trail(&trail, about).expect("readable");
            let reason =
                |line: &String| line.split("reason=").nth(1).expect("it has one").to_owned();
            lines.iter().map(reason).collect::<Vec<_>>()
        };
        assert_eq!(found("TASK-7"), ["one", "two"]);
        assert_eq!(found("task-7.2"), ["two"]);
        assert_eq!(found("TASK-7.1"), ["one"]);
        assert_eq!(found("TASK-7.3"), Vec::<String>::new());
        let named = of_trail(&trail, "TASK-7.2").expect("readable");
        assert!(named[0].starts_with("  TASK-7.2: 1 2026"), "{named:?}");
    }
}
