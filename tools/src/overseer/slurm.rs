//! Slurm: `sbatch` arrays, `squeue`, `scancel`; the jobs' script writes down each end.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::batch::{Batch, Growing, how, last_lines, output};
use super::facts::{End, Job, JobState};
use super::pause::SECOND;
use crate::submit::app::App;
use crate::submit::slurm::script;

/// Written by the script of [`script`]: job, host, exit status, seconds. It was of deaths alone once; jobs that were
/// submitted then write no others.
pub(super) const ENDS: &str = "deaths";
/// Job ids in one `scancel`.
const REMOVE_MAX: usize = 200;

pub(crate) struct Slurm {
    tag: String,
    dir: PathBuf,
    ends: Growing,
}

impl Slurm {
    pub(crate) fn new(tag: &str, dir: PathBuf) -> Self {
        Self {
            tag: tag.to_owned(),
            ends: Growing::from_end(dir.join(ENDS)),
            dir,
        }
    }
}

impl Batch for Slurm {
    fn jobs(&mut self) -> Result<Vec<Job>, String> {
        let text = output(
            Command::new("squeue").args([
                "--me",
                "-h",
                "-r",
                &format!("--name={}", self.tag),
                "--format=%i|%T|%N|%M|%r",
            ]),
            b"",
        )?;
        Ok(text.lines().filter_map(job).collect())
    }

    fn ends(&mut self) -> Vec<End> {
        let text = self.ends.take("\n");
        let end = |line: &str| {
            let mut fields = line.split_whitespace();
            let (job, host, status) = (fields.next()?, fields.next()?, fields.next()?);
            let file = self
                .dir
                .join(format!("slave.{}.out", job.replace('_', ".")));
            let lines = last_lines(&[&file]);
            Some(End {
                job: job.to_owned(),
                host: Some(host.to_owned()),
                how: how(status, &lines),
                lines,
            })
        };
        text.lines().filter_map(end).collect()
    }

    fn submit(&mut self, app: &App, jobs: u32, avoid: &[String]) -> Result<Vec<String>, String> {
        let text = script(app, jobs, false, &self.dir.join(ENDS).to_string_lossy())?;
        let file = self.dir.join(text.name);
        fs::write(&file, &text.text).map_err(|error| format!("{}: {error}", file.display()))?;
        let mut sbatch = Command::new("sbatch");
        sbatch.args(["--parsable", &format!("--job-name={}", self.tag)]);
        if !avoid.is_empty() {
            sbatch.arg(format!("--exclude={}", avoid.join(",")));
        }
        let told = output(sbatch.arg(text.name).current_dir(&self.dir), b"")?;
        // "123", or "123;cluster".
        let array = told.trim().split(';').next().unwrap_or_default();
        if array.is_empty() || !array.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("sbatch says {told:?} instead of a job number"));
        }
        Ok((1..=jobs).map(|task| format!("{array}_{task}")).collect())
    }

    fn remove(&mut self, ids: &[String], running: bool) -> Result<(), String> {
        for ids in ids.chunks(REMOVE_MAX) {
            let mut scancel = Command::new("scancel");
            if !running {
                // One that began to run since it was listed is left alone.
                scancel.arg("--state=PENDING");
            }
            output(scancel.args(ids), b"")?;
        }
        Ok(())
    }
}

/// `123_4|RUNNING|node1|1-02:03:04|None`.
fn job(line: &str) -> Option<Job> {
    let mut fields = line.split('|');
    let (id, state, host) = (fields.next()?, fields.next()?, fields.next()?);
    let (ran, reason) = (fields.next()?, fields.next()?);
    let state = match state {
        "PENDING" | "REQUEUED" => match reason {
            "JobHeldUser" | "JobHeldAdmin" => JobState::HeldByHand,
            held if held.contains("held") || held.contains("Held") => {
                JobState::Held(held.to_owned())
            }
            _ => JobState::Queued,
        },
        "REQUEUE_HOLD" | "SPECIAL_EXIT" => JobState::Held(reason.to_owned()),
        "RUNNING" | "SUSPENDED" | "STOPPED" | "CONFIGURING" | "SIGNALING" | "STAGE_OUT"
        | "COMPLETING" => JobState::Running,
        // It has ended.
        _ => return None,
    };
    Some(Job {
        id: id.to_owned(),
        state,
        host: (!host.is_empty()).then(|| host.to_owned()),
        ran: elapsed(ran) * SECOND,
        listens: false,
    })
}

/// `1-02:03:04`, `02:03:04`, `03:04`; nothing for a job that has not begun.
fn elapsed(text: &str) -> u64 {
    let (days, clock) = text.split_once('-').unwrap_or(("0", text));
    let clock = clock
        .split(':')
        .try_fold(0u64, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?));
    match (days.parse::<u64>(), clock) {
        (Ok(days), Some(clock)) => days * 86_400 + clock,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squeues_lines() {
        let rows = [
            (
                "12_3|RUNNING|node1|1-02:03:04|None",
                Some(("12_3", JobState::Running, 93_784)),
            ),
            (
                "12_4|PENDING||0:00|Resources",
                Some(("12_4", JobState::Queued, 0)),
            ),
            (
                "12_5|PENDING||0:00|job requeued in held state",
                Some((
                    "12_5",
                    JobState::Held("job requeued in held state".into()),
                    0,
                )),
            ),
            (
                "12_7|PENDING||0:00|JobHeldUser",
                Some(("12_7", JobState::HeldByHand, 0)),
            ),
            ("12_6|COMPLETED|node1|0:07|None", None),
            ("nonsense", None),
        ];
        for (line, expected) in rows {
            let found = job(line).map(|job| (job.id, job.state, job.ran / SECOND));
            let expected = expected.map(|(id, state, ran)| (id.to_owned(), state, ran));
            assert_eq!(found, expected, "{line}");
        }
    }
}
