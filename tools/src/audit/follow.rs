//! A live view of a trail that is being written, through rotation and restarts of the master.
//!
//! On a terminal a few lines are redrawn; else there is a line per interval in which anything happened, and one per
//! event worth it, so that it can go into a log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::ahead::Verdict;
use super::entry::{Role, What};
use super::input::Piece;
use super::model::{Both, Detail, Figures, Models};
use super::output::{count, figure, harmless, plural};
use super::terminal::{Ink, Terminal};
use super::times::parse_duration;
use super::trail::{At, Fold, Reader};
use super::{Window, print, tell};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit follow master.audit
  ringmw audit follow --interval 10s --until-exit run1.audit | tee -a night.log

  $ ringmw audit follow master.audit | cat
  2026-11-20T08:03:16Z  SLAVE-3 lost: eof; 4 tasks recycled
  …

It reads the file from its start, then what is added. A file that is rotated away is read to its end before the new one \
is begun; a file that is not there yet is waited for. Ctrl-C ends it.";

/// How often the file is looked at.
const POLL: Duration = Duration::from_millis(100);
const READ_BYTES: usize = 1 << 18;
const EVENTS_SHOWN: usize = 8;
const SPARKS: usize = 60;

#[derive(Args)]
pub(crate) struct Options {
    /// The trail
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Time between two looks at the figures
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    /// End when the trail says that its process has ended
    #[arg(long)]
    until_exit: bool,
    #[command(flatten)]
    window: Window,
}

fn interval(text: &str) -> Result<Duration, String> {
    let us = parse_duration(text).filter(|&us| us >= 10_000);
    us.map(|us| Duration::from_micros(us as u64))
        .ok_or_else(|| format!("{text:?} is no duration of 10ms or more"))
}

/// An event: what it says, and what it says whichever slave it is about.
#[derive(Debug)]
struct Told {
    text: String,
    kind: String,
}

/// Events worth a line.
#[derive(Default)]
struct Events {
    fresh: Vec<(i64, Told)>,
    /// Beyond those that are kept.
    more: u64,
    last_us: i64,
}

/// Between two looks so many are kept; more are counted.
const FRESH_MAX: usize = 1000;

impl Fold for Events {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        self.last_us = at.us;
        let same = |text: String| (text.clone(), text);
        let (text, kind) = match what {
            What::Init { .. } if at.role == Role::Master => same("a master begins".to_owned()),
            What::Init { .. } => same("a slave begins".to_owned()),
            What::Gone {
                cause: "shutdown", ..
            } => return,
            What::Gone {
                slave,
                cause,
                recycled,
                ..
            } => {
                let tasks = match recycled {
                    0 => String::new(),
                    tasks => format!("; {} recycled", plural(*tasks, "task")),
                };
                (
                    format!("SLAVE-{slave} lost: {cause}{tasks}"),
                    format!("a slave lost: {cause}"),
                )
            }
            What::Dismissed { slave } => (
                format!("SLAVE-{slave} sent away: fewer are desired"),
                "a slave sent away: fewer are desired".to_owned(),
            ),
            What::Refused { reason, .. } => same(format!("refused: {reason}")),
            What::Stall { us } => (
                format!(
                    "the master algorithm held its thread for {} s",
                    figure(*us as f64 / 1e6)
                ),
                "the master algorithm held its thread".to_owned(),
            ),
            What::Failed { slave, message, .. } => (
                format!("a task failed on SLAVE-{slave}: {message}"),
                format!("a task failed: {message}"),
            ),
            What::Dropped { lines, .. } => (
                format!(
                    "{} never reached the trail: its disk was full or slow",
                    plural(*lines, "line")
                ),
                "lines never reached the trail: its disk was full or slow".to_owned(),
            ),
            What::Signal { name } => same(format!("the process was sent {name}")),
            What::Exit { .. } => same("the process ends".to_owned()),
            _ => return,
        };
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push((at.us, Told { text, kind }));
        } else {
            self.more += 1;
        }
    }
}

/// The file as it is followed: what was read of it, and a line that has only begun.
struct Tail {
    path: PathBuf,
    file: Option<File>,
    inode: u64,
    read_bytes: u64,
    part: Vec<u8>,
}

impl Tail {
    fn open(&mut self) -> io::Result<bool> {
        match File::open(&self.path) {
            Ok(file) => {
                self.inode = file.metadata()?.ino();
                self.read_bytes = 0;
                self.file = Some(file);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Hands out the lines that were added; whether there were any bytes.
    fn read(&mut self, mut each: impl FnMut(Piece<'_>)) -> io::Result<bool> {
        if self.file.is_none() && !self.open()? {
            return Ok(false);
        }
        let Some(file) = &mut self.file else {
            return Ok(false);
        };
        let mut buffer = vec![0; READ_BYTES];
        let mut has_read = false;
        loop {
            let bytes = match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            has_read = true;
            self.read_bytes += bytes as u64;
            let mut rest = &buffer[..bytes];
            while let Some(feed) = memchr::memchr(b'\n', rest) {
                if self.part.is_empty() {
                    each(Piece::Line(&rest[..feed]));
                } else {
                    self.part.extend_from_slice(&rest[..feed]);
                    each(Piece::Line(&self.part));
                    self.part.clear();
                }
                rest = &rest[feed + 1..];
            }
            self.part.extend_from_slice(rest);
            if self.part.len() > super::input::LINE_BYTES_MAX {
                each(Piece::TooLong(&self.part));
                self.part.clear();
            }
        }
        Ok(has_read)
    }

    /// Whether another file stands under the name, or this one was cut to less than was read of it.
    fn is_replaced(&self) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        let is_cut = file.metadata().is_ok_and(|now| now.len() < self.read_bytes);
        // While there is none under the name, the old one may still be written.
        is_cut || std::fs::metadata(&self.path).is_ok_and(|now| now.ino() != self.inode)
    }
}

struct View {
    is_terminal: bool,
    drawn_lines: usize,
    rates: VecDeque<f64>,
    events: VecDeque<String>,
    last: (u64, u64, u64, u64),
    last_at: Instant,
    has_looked: bool,
}

impl View {
    fn show(
        &mut self,
        path: &Path,
        reader: &Reader,
        total: &Figures,
        models: &Models,
        events: &mut Events,
    ) -> Result<(), String> {
        let (present, busy) = models.now(reader.role());
        let seconds = self.last_at.elapsed().as_secs_f64().max(1e-3);
        let now = (total.sent, total.results, total.connected, total.gone());
        let rate = now.1.saturating_sub(self.last.1) as f64 / seconds;
        // The first look finds what was done before anyone looked.
        let rate = if std::mem::replace(&mut self.has_looked, true) {
            rate
        } else {
            0.0
        };
        let is_changed = now != self.last;
        self.last = now;
        self.last_at = Instant::now();
        let head = format!(
            "{}, {} busy; {} sent, {} ({}/s); {} lost, {} recycled",
            plural(present, "slave"),
            count(busy),
            count(total.sent),
            plural(total.results, "result"),
            figure(rate),
            count(total.lost()),
            count(total.recycled)
        );
        let time = reader.zone.show(events.last_us);
        let mut fresh: Vec<String> = fold(events.fresh.drain(..), self.is_terminal)
            .into_iter()
            .map(|(us, text)| harmless(&format!("{}  {text}", reader.zone.show(us))))
            .collect();
        if events.more > 0 {
            let more = std::mem::take(&mut events.more);
            fresh.push(format!("{time}  and {}", plural(more, "more event")));
        }
        if !self.is_terminal {
            let status = is_changed.then(|| format!("{time}  {head}"));
            let lines: String = fresh
                .into_iter()
                .chain(status)
                .map(|line| line + "\n")
                .collect();
            return print(&lines);
        }
        self.events.extend(fresh);
        while self.events.len() > EVENTS_SHOWN {
            self.events.pop_front();
        }
        self.rates.push_back(rate);
        while self.rates.len() > SPARKS {
            self.rates.pop_front();
        }
        let trail = format!("{}  {time}", path.display());
        let lines = screen(
            Terminal::size_now(),
            &trail,
            &head,
            &self.rates,
            &format!(
                "{}, {} of them unreadable",
                plural(reader.lines, "line"),
                count(reader.unparsed)
            ),
            &self.events,
        );
        let mut text = match self.drawn_lines {
            0 => String::new(),
            up => format!("\x1b[{up}A\x1b[J"),
        };
        let terminal = Terminal::of_stdout();
        for line in &lines {
            let ink = match line {
                _ if line.contains(" lost: ") || line.contains(" failed on ") => Some(Ink::Red),
                _ if *line == head => Some(Ink::Bold),
                _ => None,
            };
            text += &ink.map_or_else(|| line.clone(), |ink| terminal.paint(ink, line));
            text.push('\n');
        }
        self.drawn_lines = lines.len();
        print(&text)
    }
}

/// What a window of this size has room for: the figures first, then the latest events, then the rest. No line is one
/// that the terminal would break, and there are fewer than it has rows: else the way back up is spoilt.
fn screen(
    (columns, rows): (usize, usize),
    trail: &str,
    head: &str,
    rates: &VecDeque<f64>,
    counts: &str,
    events: &VecDeque<String>,
) -> Vec<String> {
    const RATES: &str = "results/s ";
    let room = rows.saturating_sub(1).max(1);
    // The first are the last to go.
    let fixed = [head, trail, RATES, counts];
    let fixed_shown = fixed
        .len()
        .min(room.saturating_sub(events.len().min(2)).max(1));
    let has = |index: usize| index < fixed_shown;
    let mut lines = Vec::new();
    lines.extend(has(1).then(|| trail.to_owned()));
    lines.push(head.to_owned());
    if has(2) {
        let sparks: String = sparks(rates);
        let fitting = columns.saturating_sub(RATES.len());
        let skipped = sparks.chars().count().saturating_sub(fitting);
        lines.push(RATES.to_owned() + &sparks.chars().skip(skipped).collect::<String>());
    }
    lines.extend(has(3).then(|| counts.to_owned()));
    let left = room - lines.len().min(room);
    lines.extend(
        events
            .iter()
            .skip(events.len().saturating_sub(left))
            .cloned(),
    );
    let cut = |line: String| harmless(&line).chars().take(columns).collect();
    lines.into_iter().map(cut).collect()
}

/// Events one behind the other that say the same are one line with their number; in a small window also those that say
/// it of one slave after another, while a log names each.
fn fold(events: impl Iterator<Item = (i64, Told)>, by_kind: bool) -> Vec<(i64, String)> {
    let mut folded: Vec<(i64, Told, u64)> = Vec::new();
    for (us, told) in events {
        match folded.last_mut() {
            Some((last_us, last, times))
                if last.text == told.text || (by_kind && last.kind == told.kind) =>
            {
                (*last_us, *times) = (us, *times + 1);
            }
            _ => folded.push((us, told, 1)),
        }
    }
    let text = |(us, told, times): (i64, Told, u64)| match times {
        1 => (us, told.text),
        _ => (us, format!("{} times: {}", count(times), told.kind)),
    };
    folded.into_iter().map(text).collect()
}

fn sparks(rates: &VecDeque<f64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let most = rates.iter().copied().fold(0.0, f64::max);
    let bar = |&rate: &f64| {
        let level = if most > 0.0 {
            (rate / most * 7.0).round() as usize
        } else {
            0
        };
        BARS[level.min(7)]
    };
    rates.iter().map(bar).collect()
}

pub(crate) fn run(options: &Options) -> Result<ExitCode, String> {
    let name = options.file.display();
    let mut reader = options.window.reader()?;
    let (mut models, mut events) = (Models::new(Detail::NONE, &reader.zone), Events::default());
    let mut tail = Tail {
        path: options.file.clone(),
        file: None,
        inode: 0,
        read_bytes: 0,
        part: Vec::new(),
    };
    let mut view = View {
        is_terminal: io::stdout().is_terminal(),
        drawn_lines: 0,
        rates: VecDeque::new(),
        events: VecDeque::new(),
        last: (0, 0, 0, 0),
        last_at: Instant::now(),
        has_looked: false,
    };
    reader.begin_file(&options.file);
    let mut told = 0;
    loop {
        let is_replaced = tail.is_replaced();
        let mut fold = Both(&mut models, &mut events);
        // What was written before the file was replaced is read first.
        tail.read(|piece| reader.on_piece(piece, &mut fold))
            .map_err(|error| format!("{name}: {error}"))?;
        if is_replaced {
            if !tail.part.is_empty() {
                let part = std::mem::take(&mut tail.part);
                reader.on_piece(Piece::Last(&part), &mut fold);
            }
            reader.continue_file(&mut fold);
            tail.file = None;
            continue;
        }
        // Nobody waits for what will tell a silence from a clock that was set.
        reader.release(Verdict::Silence, &mut fold);
        let is_over = options.until_exit && reader.is_over();
        if is_over || view.last_at.elapsed() >= options.interval {
            view.show(
                &options.file,
                &reader,
                &models.so_far(reader.role()),
                &models,
                &mut events,
            )?;
            if !view.is_terminal && reader.unparsed > told {
                tell(&format!(
                    "{} lines could not be read so far",
                    reader.unparsed
                ));
                told = reader.unparsed;
            }
        }
        if is_over || io::stdout().flush().is_err() {
            return Ok(ExitCode::SUCCESS);
        }
        thread::sleep(POLL.min(options.interval));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_any_size_is_not_overrun() {
        let rates: VecDeque<f64> = (0..60).map(f64::from).collect();
        let events: VecDeque<String> = (0..8)
            .map(|event| format!("event {event} \u{1b}[2J"))
            .collect();
        for columns in [20, 40, 80, 200] {
            for rows in 1..30 {
                let lines = screen(
                    (columns, rows),
                    "trail",
                    &"h".repeat(100),
                    &rates,
                    "7 lines",
                    &events,
                );
                assert!(
                    !lines.is_empty() && lines.len() <= rows.saturating_sub(1).max(1),
                    "{rows}: {lines:?}"
                );
                assert!(
                    lines.iter().all(|line| line.chars().count() <= columns),
                    "{columns}: {lines:?}"
                );
                assert!(
                    lines.iter().any(|line| line.starts_with("hhh")),
                    "{lines:?}"
                );
                assert!(
                    lines.iter().all(|line| !line.contains('\u{1b}')),
                    "{lines:?}"
                );
                // The latest is seen where any is.
                if rows >= 4 {
                    assert!(
                        lines.iter().any(|line| line.starts_with("event 7")),
                        "{rows}: {lines:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_repeats_is_folded() {
        let told = |text: &str, kind: &str| Told {
            text: text.into(),
            kind: kind.into(),
        };
        let lost = |slave: u32| told(&format!("SLAVE-{slave} lost: eof"), "a slave lost: eof");
        let events = || {
            vec![
                (1, lost(1)),
                (2, lost(2)),
                (3, lost(3)),
                (4, told("SLAVE-9 lost: timeout", "a slave lost: timeout")),
                (5, lost(4)),
            ]
        };
        assert_eq!(
            fold(events().into_iter(), true),
            [
                (3, "3 times: a slave lost: eof".to_owned()),
                (4, "SLAVE-9 lost: timeout".to_owned()),
                (5, "SLAVE-4 lost: eof".to_owned())
            ]
        );
        assert_eq!(fold(events().into_iter(), false).len(), 5);
        let refused = || told("refused: no", "refused: no");
        assert_eq!(
            fold([(1, refused()), (2, refused())].into_iter(), false),
            [(2, "2 times: refused: no".to_owned())]
        );
    }
}
