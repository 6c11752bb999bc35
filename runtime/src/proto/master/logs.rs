//! Lines of slaves' logs, until somebody shows them to a person. They are the application's words, not the run's: the trail
//! has none of them.
//!
//! An honest slave bounds what it says; a master takes no more of a slave's, and no more of all together, whatever they
//! say. What it leaves out it counts, and tells once a second.

use std::collections::BTreeSet;
use std::fmt;

use ringmw_codec::log::{Log, LogLevel};
use ringmw_sched::{Nanos, SlaveId};

use super::MasterCore;
use super::conn::{Phase, Stop, offence};
use crate::proto::conn::ConnId;
use crate::proto::task_name::TaskName;
use crate::proto::{LOG_BYTES_MAX, SECOND, log_bytes};

/// The most bytes of one slave's lines in a second: what has been held up comes at once.
const OF_ONE_MAX: usize = 3 * LOG_BYTES_MAX;

/// The most bytes of all slaves' lines in a second.
pub(crate) const OF_ALL_MAX: usize = 512 << 10;

/// For a person: what a slave says, or what was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// A line of a slave's log.
    Line {
        slave: SlaveId,
        host: String,
        task: Option<TaskName>,
        level: LogLevel,
        text: String,
    },
    /// Lines of a slave that it has left out.
    LeftOut {
        slave: SlaveId,
        host: String,
        lines: u32,
        bytes: u64,
    },
    /// Lines that the master has left out, and of whom, if of one alone.
    Dropped {
        of: Option<SlaveId>,
        slaves: usize,
        lines: u64,
        bytes: u64,
    },
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = "--mw-forward-log passes on";
        match self {
            Told::Line {
                slave,
                host,
                task,
                level,
                text,
            } => {
                write!(f, "{slave} at {host}")?;
                if let Some(task) = task {
                    write!(f, ", {task}")?;
                }
                write!(f, ": {level}: {text}")
            }
            Told::LeftOut {
                slave,
                host,
                lines,
                bytes,
            } => write!(
                f,
                "{slave} at {host}: {lines} lines of its log left out, {bytes} bytes: {why} {LOG_BYTES_MAX} a second of each"
            ),
            Told::Dropped {
                of,
                slaves,
                lines,
                bytes,
            } => {
                match of {
                    Some(slave) => write!(f, "{slave}")?,
                    None => write!(f, "{slaves} slaves")?,
                }
                write!(
                    f,
                    ": {lines} lines of their logs left out, {bytes} bytes: {why} {OF_ALL_MAX} a second of all together"
                )
            }
        }
    }
}

/// What is told next, and the second's count.
#[derive(Default)]
pub(super) struct Logs {
    told: Vec<Told>,
    since: Nanos,
    bytes: usize,
    dropped: (u64, u64),
    dropped_of: BTreeSet<SlaveId>,
}

/// Of one slave: when its second began, and the bytes of its lines since.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogPace {
    since: Nanos,
    bytes: usize,
}

impl LogPace {
    fn takes(&mut self, bytes: usize, now: Nanos) -> bool {
        if now >= self.since + SECOND {
            *self = LogPace {
                since: now,
                bytes: 0,
            };
        }
        let is_taken = self.bytes + bytes <= OF_ONE_MAX;
        self.bytes += if is_taken { bytes } else { 0 };
        is_taken
    }
}

impl Logs {
    fn takes(&mut self, slave: SlaveId, pace: &mut LogPace, log: &Log<'_>, now: Nanos) -> bool {
        let bytes = log_bytes(log.line.map_or("", |line| line.text));
        let is_taken = pace.takes(bytes, now) && self.bytes + bytes <= OF_ALL_MAX;
        if is_taken {
            self.bytes += bytes;
            return true;
        }
        let lines = u64::from(log.left_out) + u64::from(log.line.is_some());
        let more = log.line.map_or(0, |_| bytes as u64);
        self.dropped.0 += lines;
        self.dropped.1 = (self.dropped.1)
            .saturating_add(log.left_out_bytes)
            .saturating_add(more);
        self.dropped_of.insert(slave);
        false
    }

    fn on_time(&mut self, now: Nanos) {
        if now < self.since + SECOND {
            return;
        }
        (self.since, self.bytes) = (now, 0);
        if self.dropped.0 > 0 {
            let (lines, bytes) = std::mem::take(&mut self.dropped);
            let slaves = std::mem::take(&mut self.dropped_of);
            self.told.push(Told::Dropped {
                of: slaves.first().copied().filter(|_| slaves.len() == 1),
                slaves: slaves.len(),
                lines,
                bytes,
            });
        }
    }
}

impl MasterCore {
    pub(super) fn on_log(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        log: &Log<'_>,
    ) -> Result<(), Stop> {
        let asked = self.config.rules.log;
        let level = log.line.map(|line| line.level);
        if asked.is_none() || level > asked {
            return Err(offence("Log of a level that nobody asked for"));
        }
        let (now, life) = (self.now, self.life);
        let state = self.conns.get_mut(conn.slot()).and_then(Option::as_mut);
        let Some(Phase::Slave { info, .. }) = state.map(|state| &mut state.phase) else {
            return Ok(());
        };
        if !self.logs.takes(slave, &mut info.log_pace, log, now) {
            return Ok(());
        }
        if log.left_out > 0 {
            self.logs.told.push(Told::LeftOut {
                slave,
                host: info.host.clone(),
                lines: log.left_out,
                bytes: log.left_out_bytes,
            });
        }
        if let Some(line) = &log.line {
            self.logs.told.push(Told::Line {
                slave,
                host: info.host.clone(),
                task: line.task.map(|task| TaskName { task, life }),
                level: line.level,
                text: line.text.to_owned(),
            });
        }
        Ok(())
    }

    /// The second is over, if it is.
    pub(super) fn see_logs(&mut self, now: Nanos) {
        self.logs.on_time(now);
    }

    /// What is to be shown of slaves' logs since this was asked last.
    pub(crate) fn take_logs(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.logs.told)
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::log::LogLine;

    use super::*;

    /// A slave that keeps to no bound costs the others none of theirs, and each line is taken or counted.
    #[test]
    fn one_that_floods_takes_its_own_part_alone() {
        let mut logs = Logs::default();
        let (mut flood, mut other) = (LogPace::default(), LogPace::default());
        let log = Log {
            left_out: 1,
            left_out_bytes: u64::MAX,
            line: Some(LogLine {
                level: LogLevel::Error,
                task: None,
                text: "again",
            }),
        };
        for second in 0..10 {
            let now = second * SECOND;
            logs.on_time(now);
            let mut taken = 0;
            for _ in 0..10_000 {
                taken += usize::from(logs.takes(SlaveId(1), &mut flood, &log, now));
            }
            assert_eq!(taken, OF_ONE_MAX / log_bytes("again"));
            assert!(logs.takes(SlaveId(2), &mut other, &log, now));
            logs.on_time(now + SECOND);
            let [
                Told::Dropped {
                    of: Some(SlaveId(1)),
                    slaves: 1,
                    lines,
                    ..
                },
            ] = std::mem::take(&mut logs.told)[..]
            else {
                panic!("it is told");
            };
            assert_eq!(lines, 2 * (10_000 - taken as u64));
        }
    }

    #[test]
    fn all_together_have_a_bound() {
        let mut logs = Logs::default();
        let log = Log {
            left_out: 0,
            left_out_bytes: 0,
            line: Some(LogLine {
                level: LogLevel::Error,
                task: None,
                text: "again",
            }),
        };
        let taken = (0..5_000u32)
            .flat_map(|slave| {
                let mut pace = LogPace::default();
                [(); 10].map(|()| logs.takes(SlaveId(slave), &mut pace, &log, 1))
            })
            .filter(|is_taken| *is_taken)
            .count();
        assert_eq!(taken, OF_ALL_MAX / log_bytes("again"));
        logs.on_time(SECOND);
        let text = logs.told[0].to_string();
        assert!(
            text.contains(" slaves: ") && text.contains("left out"),
            "{text}"
        );
    }
}
