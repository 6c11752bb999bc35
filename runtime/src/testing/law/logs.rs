//! Slaves' logs: each line is said in its order or counted as left out, alone, behind all else and within its bound; each one
//! that is heard is told or counted.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::log::{Log, LogLevel};
use ringmw_sched::{Nanos, SlaveId};

use crate::proto::master::logs::Told;
use crate::proto::{LOG_BYTES_MAX, SECOND, log_bytes};
use crate::testing::law::Law;

/// A line: level, task, text.
pub(in crate::testing) type Line = (LogLevel, Option<u64>, String);

/// Of one slave.
#[derive(Default)]
struct Of {
    /// Logged, and neither said nor counted.
    lines: VecDeque<Line>,
    /// Since its first line.
    since: Option<Nanos>,
    bytes: usize,
}

#[derive(Default)]
pub(super) struct Logs {
    of: BTreeMap<usize, Of>,
    /// Heard in this turn: of whom, how many were left out before, and the line.
    heard: VecDeque<(SlaveId, u32, Option<Line>)>,
    /// Heard and not told, nor counted so far.
    missing: u64,
}

fn line(log: &Log<'_>) -> Option<Line> {
    log.line
        .map(|line| (line.level, line.task, line.text.to_owned()))
}

impl Logs {
    /// The first of what was heard that is this; what was heard before it is missing.
    fn next(
        &mut self,
        is_it: impl Fn(&(SlaveId, u32, Option<Line>)) -> bool,
    ) -> Option<&mut (SlaveId, u32, Option<Line>)> {
        let at = self.heard.iter().position(is_it)?;
        for (_, left_out, line) in self.heard.drain(..at) {
            self.missing += u64::from(left_out) + u64::from(line.is_some());
        }
        self.heard.front_mut()
    }
}

impl Law {
    /// A slave's task logs these lines, which its master asks for; slaves go by their place in the fleet.
    pub(in crate::testing) fn on_logged(&mut self, slave: usize, lines: Vec<Line>, now: Nanos) {
        if lines.is_empty() {
            return;
        }
        let of = self.logs.of.entry(slave).or_default();
        of.since.get_or_insert(now);
        of.lines.extend(lines);
    }

    /// An honest slave says a line; `alone`: nothing else went with it.
    pub(in crate::testing) fn on_log_said(
        &mut self,
        slave: usize,
        payload: &[u8],
        alone: bool,
        now: Nanos,
    ) {
        assert!(
            alone,
            "slave {slave} says a line of its log with other frames"
        );
        let log = Log::decode(payload).expect("a slave's own");
        let of = self.logs.of.entry(slave).or_default();
        let left_out = log.left_out as usize;
        assert!(
            left_out <= of.lines.len(),
            "slave {slave} left out {left_out} lines of {}",
            of.lines.len()
        );
        of.lines.drain(..left_out);
        if let Some(said) = line(&log) {
            of.bytes += log_bytes(&said.2);
            let logged = of.lines.pop_front();
            assert_eq!(
                Some(said),
                logged,
                "the line of slave {slave} that is said, and the next one that was logged and not left out"
            );
        }
        let seconds = (now - of.since.unwrap_or(now)) / SECOND + 2;
        assert!(
            of.bytes <= LOG_BYTES_MAX * seconds as usize,
            "slave {slave} says {} bytes of its log in {seconds} s",
            of.bytes
        );
    }

    pub(super) fn on_log_frame(&mut self, id: SlaveId, payload: &[u8]) -> bool {
        let asked = self.config.rules.log;
        let Ok(log) = Log::decode(payload) else {
            return false;
        };
        if asked.is_none() || log.line.map(|line| line.level) > asked {
            return false;
        }
        let heard = (id, log.left_out, line(&log));
        self.logs.heard.push_back(heard);
        true
    }

    /// What the master has to show after a turn.
    pub(in crate::testing) fn on_logs_told(&mut self, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Line {
                    slave,
                    task,
                    level,
                    text,
                    ..
                } => {
                    let line = Some((level, task.map(|name| name.task), text));
                    let is_it = |heard: &(SlaveId, u32, Option<Line>)| {
                        heard.0 == slave && heard.1 == 0 && heard.2 == line
                    };
                    let heard = self.logs.next(is_it).is_some();
                    assert!(heard, "{slave} has not said {line:?}");
                    self.logs.heard.pop_front();
                }
                Told::LeftOut { slave, lines, .. } => {
                    let heard = self.logs.next(|heard| heard.0 == slave && heard.1 == lines);
                    let heard =
                        heard.unwrap_or_else(|| panic!("{slave} left out no {lines} lines"));
                    heard.1 = 0;
                    if heard.2.is_none() {
                        self.logs.heard.pop_front();
                    }
                }
                Told::Dropped { lines, .. } => {
                    let missing = std::mem::take(&mut self.logs.missing);
                    assert_eq!(lines, missing, "lines that the master leaves out");
                }
            }
        }
        for (_, left_out, line) in self.logs.heard.drain(..) {
            self.logs.missing += u64::from(left_out) + u64::from(line.is_some());
        }
    }
}
