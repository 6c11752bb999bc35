//! HTCondor: `condor_submit`, `condor_q -json`, `condor_rm`; ends are read from the slaves' event log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::batch::{Batch, Growing, how, last_lines, output};
use super::facts::{End, How, Job, JobState};
use super::pause::SECOND;
use crate::submit::app::App;
use crate::submit::condor::{SLAVES_LOG, TAG, slaves_avoiding};

/// Job ids in one `condor_rm`.
const REMOVE_MAX: usize = 200;
/// Somebody wanted that: "via condor_hold", our own periodic_hold, which releases it again, `hold = true` in the submit
/// file, and files that are still being sent.
const HELD_ON_PURPOSE: [u64; 4] = [1, 3, 15, 16];

pub(crate) struct Condor {
    tag: String,
    dir: PathBuf,
    log: Growing,
    /// Where each job last began to run, by the event log.
    hosts: BTreeMap<String, String>,
}

impl Condor {
    pub(crate) fn new(tag: &str, dir: PathBuf) -> Self {
        Self {
            tag: tag.to_owned(),
            log: Growing::from_end(dir.join(SLAVES_LOG)),
            dir,
            hosts: BTreeMap::new(),
        }
    }

    fn constraint(&self) -> String {
        format!("{TAG} == \"{}\"", self.tag)
    }

    fn lines_of(&self, job: &str) -> Vec<String> {
        let file = |end: &str| self.dir.join(format!("slave.{job}.{end}"));
        last_lines(&[&file("err"), &file("out")])
    }
}

impl Batch for Condor {
    fn jobs(&mut self) -> Result<Vec<Job>, String> {
        let attributes = "ClusterId,ProcId,JobStatus,RemoteHost,LastRemoteHost,HoldReason,HoldReasonCode,ServerTime,\
                          JobCurrentStartExecutingDate,JobCurrentStartDate";
        let text = output(
            Command::new("condor_q").args([
                "-json",
                "-constraint",
                &self.constraint(),
                "-attributes",
                attributes,
            ]),
            b"",
        )?;
        let jobs = jobs(&text)?;
        self.hosts
            .retain(|id, _| jobs.iter().any(|job| job.id == *id));
        Ok(jobs)
    }

    fn ends(&mut self) -> Vec<End> {
        let mut ends = Vec::new();
        for event in self.log.take("\n...\n").split("\n...\n") {
            match event_of(event) {
                Some((job, Event::Started(host))) => {
                    self.hosts.insert(job, host);
                }
                Some((job, Event::Ended(status))) => {
                    let lines = self.lines_of(&job);
                    ends.push(End {
                        host: self.hosts.get(&job).cloned(),
                        how: match status {
                            Status::Exited(status) => how(&status, &lines),
                            Status::Other(how) => How::Died(how),
                        },
                        lines,
                        job,
                    });
                }
                None => {}
            }
        }
        ends
    }

    fn submit(&mut self, app: &App, jobs: u32, avoid: &[String]) -> Result<Vec<String>, String> {
        let text = slaves_avoiding(&seen_from_its_folder(app), jobs, avoid)?;
        let file = self.dir.join(text.name);
        fs::write(&file, &text.text).map_err(|error| format!("{}: {error}", file.display()))?;
        let told = output(
            Command::new("condor_submit")
                .args(["-terse", text.name])
                .current_dir(&self.dir),
            b"",
        )?;
        submitted(&told)
            .ok_or_else(|| format!("condor_submit says {told:?} instead of a range of jobs"))
    }

    fn remove(&mut self, ids: &[String], running: bool) -> Result<(), String> {
        // One that began to run since it was listed is left alone.
        let idle = if running {
            ""
        } else {
            " && JobStatus =!= 2 && JobStatus =!= 6 && JobStatus =!= 7"
        };
        for ids in ids.chunks(REMOVE_MAX) {
            let each = |id: &String| {
                let (cluster, process) = id.split_once('.')?;
                Some(format!("(ClusterId == {cluster} && ProcId == {process})"))
            };
            let all: Vec<String> = ids.iter().filter_map(each).collect();
            let constraint = format!("{}{idle} && ({})", self.constraint(), all.join(" || "));
            match output(
                Command::new("condor_rm").args(["-constraint", &constraint]),
                b"",
            ) {
                // They are gone, or run, meanwhile.
                Err(error) if error.contains("Couldn't find") => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(())
    }
}

/// With the resource file as it is called from the folder of its jobs, where it lies right above that, as it does unless
/// another `--dir` was asked for: the names of the folders above may then be what HTCondor has no way to write in a list.
fn seen_from_its_folder(app: &App) -> App {
    let mut app = app.clone();
    let above = |path: &Path| path.parent()?.canonicalize().ok();
    // Not by the words of the path: the folder may be a link to elsewhere.
    let dir = app.dir.canonicalize().ok();
    let is_right_above = dir
        .and_then(|dir| above(&dir))
        .is_some_and(|folder| above(&app.resource_file) == Some(folder));
    if let (true, Some(name)) = (is_right_above, app.resource_file.file_name()) {
        app.resource_file = Path::new("..").join(name);
    }
    app
}

fn jobs(text: &str) -> Result<Vec<Job>, String> {
    // With no job at all condor_q prints nothing.
    if text.trim().is_empty() {
        return Ok(Vec::new());
    }
    let ads: Vec<Value> = serde_json::from_str(text)
        .map_err(|error| format!("condor_q -json cannot be read: {error}"))?;
    Ok(ads.iter().filter_map(job).collect())
}

fn job(ad: &Value) -> Option<Job> {
    let number = |name: &str| ad.get(name).and_then(Value::as_u64);
    let text = |name: &str| ad.get(name).and_then(Value::as_str).map(str::to_owned);
    let state = match number("JobStatus")? {
        1 => JobState::Queued,
        2 | 6 | 7 => JobState::Running,
        5 if number("HoldReasonCode").is_some_and(|code| HELD_ON_PURPOSE.contains(&code)) => {
            JobState::HeldByHand
        }
        5 => JobState::Held(text("HoldReason").unwrap_or_default()),
        // Removed, or completed.
        _ => return None,
    };
    let began = number("JobCurrentStartExecutingDate").or_else(|| number("JobCurrentStartDate"));
    let ran = match (&state, number("ServerTime"), began) {
        (JobState::Running, Some(now), Some(began)) => now.saturating_sub(began) * SECOND,
        _ => 0,
    };
    let slot = text("RemoteHost").or_else(|| text("LastRemoteHost"));
    Some(Job {
        id: format!("{}.{}", number("ClusterId")?, number("ProcId")?),
        state,
        host: slot.map(|slot| machine(&slot)),
        ran,
        listens: false,
    })
}

/// `slot1_2@node3` is on node3.
fn machine(slot: &str) -> String {
    slot.rsplit_once('@')
        .map_or(slot, |(_, host)| host)
        .to_owned()
}

/// `12.0 - 12.7`, a line for each cluster.
fn submitted(text: &str) -> Option<Vec<String>> {
    let mut ids = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (first, last) = line.split_once(" - ")?;
        let (cluster, first) = first.trim().split_once('.')?;
        let (_, last) = last.trim().split_once('.')?;
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        ids.extend((first..=last).map(|process| format!("{cluster}.{process}")));
    }
    Some(ids)
}

#[derive(Debug, PartialEq, Eq)]
enum Event {
    Started(String),
    Ended(Status),
}

#[derive(Debug, PartialEq, Eq)]
enum Status {
    /// With this number.
    Exited(String),
    Other(String),
}

/// One event of the log that says where a job runs or how a slave ended: `004 (012.003.000) date Job was evicted. …`.
fn event_of(text: &str) -> Option<(String, Event)> {
    let text = text.trim_start_matches("...\n").trim_start();
    let (number, rest) = text.split_once(" (")?;
    let (id, body) = rest.split_once(')')?;
    let mut parts = id.split('.').map(|part| part.parse::<u32>().ok());
    let id = format!("{}.{}", parts.next()??, parts.next()??);
    let lines = || body.lines().map(str::trim);
    let event = match number {
        "001" => {
            let slot = lines().find_map(|line| line.strip_prefix("SlotName: "));
            Event::Started(machine(slot?))
        }
        // 004 is the end of a slave that is queued again; an eviction has no exit of its own. 005 takes it from the queue.
        "004" | "005" if number == "005" || body.contains("Job terminated and was requeued") => {
            let ended = |line: &str| line.contains("termination (");
            let how = lines().find(|line| ended(line)).unwrap_or("it died");
            // (1) Normal termination (return value 127), (0) Abnormal termination (signal 9)
            let how = how.split_once("termination (").map_or(how, |(_, how)| how);
            let how = how.trim_end_matches(')');
            Event::Ended(match how.strip_prefix("return value ") {
                Some(status) => Status::Exited(status.to_owned()),
                None => Status::Other(how.to_owned()),
            })
        }
        "012" if !held_on_purpose(body) => {
            let reason = lines().nth(1).unwrap_or_default();
            Event::Ended(Status::Other(format!("held by HTCondor: {reason}")))
        }
        _ => return None,
    };
    Some((id, event))
}

/// `Code 1 Subcode 0` in a line of its own.
fn held_on_purpose(body: &str) -> bool {
    let code = |line: &str| {
        line.trim()
            .strip_prefix("Code ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    };
    let code: Option<u64> = body.lines().find_map(code);
    code.is_some_and(|code| HELD_ON_PURPOSE.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::submit::app::Request;

    /// A comma in the folder's name ended the overseer with a refusal.
    #[test]
    fn a_folder_whose_name_no_list_can_have_is_not_named() {
        let root = tempfile::tempdir().expect("a folder");
        let run = root.path().join("1,2 \"x\"");
        let (dir, linked) = (run.join("ping.rsc.overseer"), run.join("linked"));
        let elsewhere = root.path().join("elsewhere");
        for folder in [&dir, &elsewhere] {
            fs::create_dir_all(folder).expect("a folder");
        }
        std::os::unix::fs::symlink(&elsewhere, &linked).expect("a link");
        let submitted = |dir: &Path, name: &str| {
            let app = App {
                binary: "/bin/true".into(),
                libraries: Vec::new(),
                dir: dir.to_owned(),
                resource_file: run.join(name),
                tag: "ping".to_owned(),
                request: Request {
                    memory: 256,
                    cpus: 1,
                    lines: Vec::new(),
                    labels: Vec::new(),
                    flags: Vec::new(),
                },
            };
            slaves_avoiding(&seen_from_its_folder(&app), 1, &[]).map(|text| text.text)
        };
        let text = submitted(&dir, "ping.rsc").expect("it can be written");
        for line in [
            "transfer_input_files    = ../ping.rsc",
            "encrypt_input_files     = ../ping.rsc",
        ] {
            assert!(text.lines().any(|found| found == line), "{text}");
        }
        for (dir, name) in [
            (&linked, "ping.rsc"),
            (&elsewhere, "ping.rsc"),
            (&dir, "a,b.rsc"),
        ] {
            let refused = submitted(dir, name).expect_err("HTCondor has no word for it");
            assert!(refused.contains("name it otherwise"), "{refused}");
        }
    }

    #[test]
    fn the_queue_is_read() {
        let text = r#"[
{ "ClusterId": 3, "JobStatus": 2, "ProcId": 0, "RemoteHost": "slot1_2@node3", "ServerTime": 100,
  "JobCurrentStartExecutingDate": 60 },
{ "ClusterId": 3, "JobStatus": 1, "LastRemoteHost": "slot2@node1", "ProcId": 1, "ServerTime": 100 },
{ "ClusterId": 3, "JobStatus": 3, "ProcId": 2, "ServerTime": 100 },
{ "ClusterId": 4, "HoldReason": "no exec bit", "HoldReasonCode": 6, "JobStatus": 5, "ProcId": 0, "ServerTime": 100 },
{ "ClusterId": 4, "HoldReason": "via condor_hold (by user u)", "HoldReasonCode": 1, "JobStatus": 5, "ProcId": 1 }
]"#;
        let jobs = jobs(text).expect("it is what condor_q prints");
        let shown: Vec<_> = jobs
            .iter()
            .map(|job| {
                (
                    job.id.as_str(),
                    job.state.clone(),
                    job.host.as_deref(),
                    job.ran,
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("3.0", JobState::Running, Some("node3"), 40 * SECOND),
                ("3.1", JobState::Queued, Some("node1"), 0),
                ("4.0", JobState::Held("no exec bit".into()), None, 0),
                ("4.1", JobState::HeldByHand, None, 0)
            ]
        );
        assert_eq!(super::jobs("\n"), Ok(Vec::new()));
        assert!(super::jobs("no json").is_err());
    }

    #[test]
    fn what_condor_submit_says() {
        let ids = submitted("12.0 - 12.2\n").expect("a range");
        assert_eq!(ids, ["12.0", "12.1", "12.2"]);
        assert_eq!(submitted("Submitting job(s)."), None);
    }

    /// As HTCondor 23.9 wrote them.
    #[test]
    fn the_event_log_tells_who_died_and_how() {
        let rows = [
            (
                "001 (003.000.000) 2026-11-20 10:41:15 Job executing on host: <127.0.0.1:38171?alias=node1>\n\tSlotName: slot1@node1\n\tCpus = 1",
                Some(("3.0", Event::Started("node1".into()))),
            ),
            (
                "004 (003.000.000) 2026-11-20 10:41:15 Job was evicted.\n\t(0) Job terminated and was requeued\n\t\tUsr 0 00:00:00, Sys 0 00:00:00  -  Run Remote Usage\n\t(1) Normal termination (return value 127)",
                Some(("3.0", Event::Ended(Status::Exited("127".into())))),
            ),
            (
                "004 (003.012.000) 2026-11-20 10:41:15 Job was evicted.\n\t(0) Job terminated and was requeued\n\t(0) Abnormal termination (signal 9)",
                Some(("3.12", Event::Ended(Status::Other("signal 9".into())))),
            ),
            (
                "004 (003.000.000) 2026-11-20 10:41:15 Job was evicted.\n\t(0) CPU times",
                None,
            ),
            (
                "012 (004.000.000) 2026-11-20 10:41:15 Job was held.\n\tError from slot2@localhost: Failed to execute '/x': (errno=8: 'Exec format error')\n\tCode 6 Subcode 8",
                Some((
                    "4.0",
                    Event::Ended(Status::Other(
                        "held by HTCondor: Error from slot2@localhost: Failed to execute '/x': (errno=8: 'Exec format error')".into(),
                    )),
                )),
            ),
            (
                "005 (003.001.000) 2026-11-20 10:41:15 Job terminated.\n\t(1) Normal termination (return value 0)\n\t\tUsr 0 00:00:00",
                Some(("3.1", Event::Ended(Status::Exited("0".into())))),
            ),
            (
                "012 (004.000.000) 2026-11-20 10:41:15 Job was held.\n\tsuspended\n\tCode 3 Subcode 0",
                None,
            ),
            (
                "012 (004.000.000) 2026-11-20 10:41:15 Job was held.\n\tvia condor_hold (by user u)\n\tCode 1 Subcode 0",
                None,
            ),
        ];
        for (text, expected) in rows {
            let expected = expected.map(|(id, event)| (id.to_owned(), event));
            assert_eq!(event_of(text), expected, "{text}");
        }
    }
}
