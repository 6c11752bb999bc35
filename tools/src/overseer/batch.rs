//! What the overseer asks of a batch system: five verbs, and how its commands are run.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use ringmw_codec::flags::exit;

use super::facts::{End, How, Job};
use crate::submit::app::App;

/// A command of a batch system that takes longer is ended; what it did is unknown.
const COMMAND_BOUND: Duration = Duration::from_secs(120);
/// Of what a dead slave printed last.
pub(crate) const LAST_LINES_MAX: usize = 8;
/// What a slave's trail says of an end by its time limit.
const AT_TIME_LIMIT: &str = "left: its time limit of ";
const LINE_BYTES_MAX: usize = 300;
const TAIL_BYTES: u64 = 4096;

/// A batch system. Jobs are ours if they carry our tag; nothing else is ever touched.
pub(crate) trait Batch {
    /// Every job of ours that has not ended.
    fn jobs(&mut self) -> Result<Vec<Job>, String>;

    /// What ended since the last call.
    fn ends(&mut self) -> Vec<End>;

    /// Submits so many, on none of the hosts in `avoid`, and returns their ids; fewer if there is no room.
    ///
    /// An error does not say that none was taken.
    fn submit(&mut self, app: &App, jobs: u32, avoid: &[String]) -> Result<Vec<String>, String>;

    /// What the operator should know, beside errors.
    fn notes(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Removes these if they do not run; running ones too if `running`.
    fn remove(&mut self, ids: &[String], running: bool) -> Result<(), String>;
}

/// Runs a command to its end; its output, or what it complained of.
pub(crate) fn output(command: &mut Command, input: &[u8]) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = run(command, input).map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let complaint = match stderr.trim() {
        "" => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        complaint => complaint.to_owned(),
    };
    Err(format!("{name}: {}: {complaint}", output.status))
}

fn run(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("piped");
    let mut stdout = child.stdout.take().expect("piped");
    let mut stderr = child.stderr.take().expect("piped");
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A command that does not read its input says so by its status.
            let _ = stdin.write_all(input);
        });
        let read = |pipe: &mut dyn io::Read| {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            bytes
        };
        let errors = scope.spawn(move || read(&mut stderr));
        let output = scope.spawn(move || read(&mut stdout));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if began.elapsed() > COMMAND_BOUND {
                let _ = child.kill();
                let _ = child.wait();
                let bound = COMMAND_BOUND.as_secs();
                return Err(io::Error::other(format!("no answer within {bound} s")));
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        Ok(Output {
            status,
            stdout: output.join().unwrap_or_default(),
            stderr: errors.join().unwrap_or_default(),
        })
    })
}

/// How a slave ended, by its exit status as a shell has it, and by its last lines: one that leaves at its time limit exits
/// with 255, as with other ends after which it is to be run again. Why it left of its own will is told beside the status.
pub(crate) fn how(status: &str, lines: &[String]) -> How {
    let died = |how: &str| How::Died(how.to_owned());
    match status.parse::<u32>() {
        Err(_) => died("its process is gone without a trace; was the machine restarted?"),
        Ok(0) => How::Left,
        Ok(126) => died("exit status 126: it cannot be executed"),
        Ok(127) => died("exit status 127: not found, or a library is missing"),
        Ok(signal @ 129..=192) => How::Died(format!("signal {}", signal - 128)),
        Ok(255) if lines.iter().any(|line| line.contains(AT_TIME_LIMIT)) => How::TimeLimit,
        Ok(code) => How::Died(match u8::try_from(code) {
            Ok(code) if exit::UNREACHED.contains(&code) => {
                format!("exit status {code}: no master answered it")
            }
            Ok(code) if exit::IN_VAIN.contains(&code) => {
                format!(
                    "exit status {code}: the master refused it, or it failed before its first task"
                )
            }
            _ => match reason(lines) {
                Some(reason) => format!("exit status {code}: {reason}"),
                None => format!("exit status {code}"),
            },
        }),
    }
}

/// What a slave's trail gives as the reason of its end.
fn reason(lines: &[String]) -> Option<&str> {
    let end = lines.iter().rfind(|line| line.contains(" exit code="))?;
    let (_, reason) = end.split_once(" reason=\"")?;
    Some(reason.trim_end_matches('"'))
}

/// The last lines of files, of the first that has any.
pub(crate) fn last_lines(files: &[&Path]) -> Vec<String> {
    files
        .iter()
        .map(|file| tail(file).unwrap_or_default())
        .find(|lines| !lines.is_empty())
        .unwrap_or_default()
}

fn tail(file: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(lines_of(&String::from_utf8_lossy(&bytes)))
}

/// The last lines of a text, each cut to a decent length.
pub(crate) fn lines_of(text: &str) -> Vec<String> {
    let cut = |line: &str| line.chars().take(LINE_BYTES_MAX).collect();
    let mut lines: Vec<String> = text
        .lines()
        .rev()
        .filter(|line| !line.trim().is_empty())
        .take(LAST_LINES_MAX)
        .map(cut)
        .collect();
    lines.reverse();
    lines
}

/// A file that others append to, read as it grows.
pub(crate) struct Growing {
    path: std::path::PathBuf,
    read: u64,
}

impl Growing {
    /// From its present end on.
    pub(crate) fn from_end(path: std::path::PathBuf) -> Self {
        let read = std::fs::metadata(&path).map_or(0, |data| data.len());
        Self { path, read }
    }

    /// What was appended, up to the last `end`; the rest is left for the next time.
    pub(crate) fn take(&mut self, end: &str) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.path).and_then(|mut file| {
            // Someone made it anew.
            if file.metadata()?.len() < self.read {
                self.read = 0;
            }
            file.seek(SeekFrom::Start(self.read))?;
            file.read_to_end(&mut bytes)
        });
        if read.is_err() {
            return String::new();
        }
        let whole = bytes
            .windows(end.len())
            .rposition(|window| window == end.as_bytes())
            .map_or(0, |at| at + end.len());
        self.read += whole as u64;
        String::from_utf8_lossy(&bytes[..whole]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last line as the runtime writes it; one of a node has `slave | ` before it.
    #[test]
    fn ends_are_told_from_one_another() {
        let trail = "slave | 1 2026-11-26T23:36:11.516294Z SLAVE-1 exit code=255 reason=\"left: its time limit of 3 s\"";
        let rows = [
            ("0", "exit code=0 reason=\"left: idle for 2 s\"", How::Left),
            ("255", trail, How::TimeLimit),
            (
                "255",
                "the master is lost",
                How::Died("exit status 255".into()),
            ),
            (
                "255",
                "2 2026-11-28T11:26:28.372518Z SLAVE exit code=255 reason=\"--mw-slave-listen 9000: cannot listen there\"",
                How::Died("exit status 255: --mw-slave-listen 9000: cannot listen there".into()),
            ),
            ("3", "", How::Died("exit status 3".into())),
            // Its words alone are no end by its time limit.
            (
                "3",
                trail,
                How::Died("exit status 3: left: its time limit of 3 s".into()),
            ),
            ("137", "", How::Died("signal 9".into())),
        ];
        for (status, line, expected) in rows {
            assert_eq!(how(status, &[line.to_owned()]), expected, "{status} {line}");
        }
        assert!(matches!(how("127", &[]), How::Died(how) if how.contains("library")));
        assert!(matches!(how("lost", &[]), How::Died(how) if how.contains("gone")));
    }
}
