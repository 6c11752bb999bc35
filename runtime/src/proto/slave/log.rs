//! Lines of the slave's log, which go to a master that asks for them: behind all else, and bounded.
//!
//! ```text
//!   log ──► waits, 16 KiB at most ──nothing else is to be said──► one frame
//!      └──► left out, counted ──► told with the next line, or when the second is over
//! ```

use std::collections::VecDeque;

use ringmw_codec::frame::Kind;
use ringmw_codec::log::{Log, LogLevel, LogLine};
use ringmw_sched::Nanos;

use super::SlaveCore;
use crate::proto::{LOG_BYTES_MAX, SECOND, log_bytes, put};

struct Line {
    level: LogLevel,
    task: Option<u64>,
    text: String,
    /// Lines that were left out just before it, and their bytes.
    left_out: (u32, u64),
}

/// What waits, and what was left out.
#[derive(Default)]
pub(super) struct Logs {
    lines: VecDeque<Line>,
    /// What they count.
    waiting: usize,
    /// When the second began, and what its lines count.
    since: Nanos,
    spent: usize,
    /// Behind all of `lines`.
    left_out: (u32, u64),
    /// That is told with nothing else.
    tells_left_out: bool,
}

impl SlaveCore {
    /// The level from which on the master wants its log.
    pub fn log_level(&self) -> Option<LogLevel> {
        self.welcome.as_ref()?.log
    }

    /// A line of its log, of the task that runs, if one does; true if somebody must look again later than it thinks.
    pub fn log(&mut self, level: LogLevel, text: &str, now: Nanos) -> bool {
        if self.end.is_some() || self.leaving.is_some() || self.log_level() < Some(level) {
            return false;
        }
        let task = self.running_task();
        let logs = &mut self.logs;
        if now >= logs.since + SECOND {
            (logs.since, logs.spent) = (now, 0);
        }
        let bytes = log_bytes(text);
        if logs.spent + bytes > LOG_BYTES_MAX || logs.waiting + bytes > LOG_BYTES_MAX {
            let (lines, left_out) = &mut logs.left_out;
            let is_first = *lines == 0;
            *lines = lines.saturating_add(1);
            *left_out += bytes as u64;
            return is_first;
        }
        logs.spent += bytes;
        logs.waiting += bytes;
        logs.tells_left_out = false;
        logs.lines.push_back(Line {
            level,
            task,
            text: text[..text.floor_char_boundary(Log::TEXT_BYTES_MAX)].to_owned(),
            left_out: std::mem::take(&mut logs.left_out),
        });
        false
    }

    /// Whether the next line can be said, once nothing else is to be.
    pub(super) fn has_log(&self) -> bool {
        let is_said = self.end.is_none() && self.leaving.is_none() && !self.is_apart();
        is_said
            && self.log_level().is_some()
            && (!self.logs.lines.is_empty() || self.logs.tells_left_out)
    }

    /// The next line is to be said.
    pub(super) fn put_log(&mut self) {
        if !self.has_log() {
            return;
        }
        let logs = &mut self.logs;
        let line = logs.lines.pop_front();
        if let Some(line) = &line {
            logs.waiting -= log_bytes(&line.text);
        }
        let (left_out, left_out_bytes) = match &line {
            Some(line) => line.left_out,
            None => std::mem::take(&mut logs.left_out),
        };
        logs.tells_left_out &= line.is_some();
        let line = line.as_ref().map(|line| LogLine {
            level: line.level,
            task: line.task,
            text: &line.text,
        });
        put(self.out.begin(), Kind::Log, |out| {
            Log {
                left_out,
                left_out_bytes,
                line,
            }
            .encode(out);
        });
    }

    /// What the slave that it was has not said; the next life of its run may ask for less.
    pub(super) fn take_over_logs(&mut self, former: &mut SlaveCore) {
        let level = self.log_level();
        self.logs = std::mem::take(&mut former.logs);
        let logs = &mut self.logs;
        logs.lines.retain(|line| Some(line.level) <= level);
        logs.waiting = logs.lines.iter().map(|line| log_bytes(&line.text)).sum();
        logs.tells_left_out = false;
    }

    /// The second is over: what it left out is told.
    pub(super) fn see_left_out(&mut self, now: Nanos) {
        if now >= self.left_out_deadline() {
            self.logs.tells_left_out = true;
        }
    }

    /// When what was left out is told, if no line comes before.
    pub(super) fn left_out_deadline(&self) -> Nanos {
        let logs = &self.logs;
        let is_open = logs.left_out.0 > 0 && logs.lines.is_empty() && !logs.tells_left_out;
        match is_open && !self.is_apart() && self.leaving.is_none() {
            true => logs.since + SECOND,
            false => Nanos::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::handshake::Welcome;

    use super::*;
    use crate::proto::slave::for_tests;

    fn welcomed(log: Option<LogLevel>) -> SlaveCore {
        for_tests::welcomed(&Welcome {
            log,
            ..Welcome::for_test()
        })
    }

    /// The lines that are said, each with the lines left out before it.
    fn said(core: &mut SlaveCore, now: Nanos) -> Vec<(u32, Option<(LogLevel, String)>)> {
        let frames = for_tests::said(core, now);
        let lines = frames.iter().map(|(kind, payload)| {
            assert_eq!(*kind, Kind::Log);
            let log = Log::decode(payload).unwrap();
            let line = log.line.map(|line| (line.level, line.text.to_owned()));
            (log.left_out, line)
        });
        lines.collect()
    }

    #[test]
    fn nothing_is_said_that_nobody_asked_for() {
        let mut core = welcomed(None);
        core.log(LogLevel::Error, "lost", 0);
        assert_eq!(said(&mut core, 0), []);
        let mut core = welcomed(Some(LogLevel::Warn));
        core.log(LogLevel::Info, "news", 0);
        core.log(LogLevel::Warn, "slow", 0);
        assert_eq!(
            said(&mut core, 0),
            [(0, Some((LogLevel::Warn, "slow".to_owned())))]
        );
    }

    /// A hundred seconds of a task that logs without end.
    #[test]
    fn a_flood_is_cut_to_its_bound_and_what_is_left_out_is_counted() {
        let mut core = welcomed(Some(LogLevel::Trace));
        let text = "x".repeat(100);
        let (mut logged, mut told, mut lines) = (0, 0, 0);
        for now in (0..100 * SECOND).step_by(SECOND as usize / 1_000) {
            core.log(LogLevel::Trace, &text, now);
            logged += 1;
            core.on_time(now, 0);
            for (left_out, line) in said(&mut core, now) {
                told += u64::from(left_out) + u64::from(line.is_some());
                lines += usize::from(line.is_some());
            }
        }
        assert!(lines * log_bytes(&text) <= 101 * LOG_BYTES_MAX, "{lines}");
        // The slave falls silent, and the rest is told all the same.
        let at = core.next_deadline();
        core.on_time(at, 0);
        told += said(&mut core, at)
            .iter()
            .map(|(left_out, _)| u64::from(*left_out))
            .sum::<u64>();
        assert_eq!(told, logged);
    }

    #[test]
    fn a_long_line_is_cut_at_a_character() {
        let mut core = welcomed(Some(LogLevel::Info));
        core.log(LogLevel::Info, &"ö".repeat(3_000), 0);
        let lines = said(&mut core, 0);
        let (_, Some((_, text))) = &lines[0] else {
            panic!("it is said: {lines:?}")
        };
        assert_eq!(*text, "ö".repeat(1_024));
    }

    /// Results, beats and answers come first, and each line goes by itself.
    #[test]
    fn it_goes_behind_all_else() {
        let mut core = welcomed(Some(LogLevel::Info));
        core.log(LogLevel::Info, "one", 0);
        core.log(LogLevel::Info, "two", 0);
        core.asks_hungry();
        core.out.put(Kind::Heartbeat, |_| ());
        let frames = for_tests::said(&mut core, 0);
        let kinds: Vec<Kind> = frames.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [Kind::Heartbeat, Kind::Log, Kind::Log]);
    }
}
