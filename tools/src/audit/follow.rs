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
use super::output::{count, figure};
use super::times::parse_duration;
use super::trail::{At, Fold, Reader};
use super::{Window, print, tell};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit follow master.audit
  ringmw audit follow --interval 10s --until-exit master.audit | tee -a night.log

  $ ringmw audit follow master.audit | cat
  2026-11-20T08:03:16Z  SLAVE-3 lost: eof
  2026-11-20T08:03:17Z  2 slaves, 2 busy; 28 sent, 24 results (8.00/s); 2 lost, 4 recycled

It reads the file from its start, then what is added. A file that is rotated away is read to its end before the new one
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

/// Events worth a line.
#[derive(Default)]
struct Events {
    fresh: Vec<(i64, String)>,
    last_us: i64,
}

/// Between two looks so many are kept; more are counted.
const FRESH_MAX: usize = 1000;

impl Fold for Events {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        self.last_us = at.us;
        let text = match what {
            What::Init { .. } if at.role == Role::Master => "a master begins".to_owned(),
            What::Init { .. } => "a slave begins".to_owned(),
            What::Gone {
                cause: "shutdown", ..
            } => return,
            What::Gone {
                slave,
                cause,
                recycled: 0,
                ..
            } => format!("SLAVE-{slave} lost: {cause}"),
            What::Gone {
                slave,
                cause,
                recycled,
                ..
            } => format!("SLAVE-{slave} lost: {cause}; {recycled} tasks recycled"),
            What::Dismissed { slave } => format!("SLAVE-{slave} sent away: fewer are desired"),
            What::Refused { reason, .. } => format!("refused: {reason}"),
            What::Stall { us } => format!(
                "the master algorithm held its thread for {} s",
                figure(*us as f64 / 1e6)
            ),
            What::Failed { slave, message, .. } => {
                format!("a task failed on SLAVE-{slave}: {message}")
            }
            What::Dropped { lines, .. } => {
                format!("{lines} lines never reached the trail: its disk was full or slow")
            }
            What::Signal { name } => format!("the process was sent {name}"),
            What::Exit { .. } => "the process ends".to_owned(),
            _ => return,
        };
        if self.fresh.len() < FRESH_MAX {
            self.fresh.push((at.us, text));
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
            "{} slaves, {} busy; {} sent, {} results ({}/s); {} lost, {} recycled",
            count(present),
            count(busy),
            count(total.sent),
            count(total.results),
            figure(rate),
            count(total.lost()),
            count(total.recycled)
        );
        let time = reader.zone.show(events.last_us);
        let fresh: Vec<String> = events
            .fresh
            .drain(..)
            .map(|(us, text)| format!("{}  {text}", reader.zone.show(us)))
            .collect();
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
        let mut lines = vec![
            format!("{}  {time}", path.display()),
            head,
            format!("results/s {}", sparks(&self.rates)),
        ];
        lines.push(format!(
            "{} lines, {} of them unreadable",
            count(reader.lines),
            count(reader.unparsed)
        ));
        lines.extend(self.events.iter().cloned());
        let mut text = match self.drawn_lines {
            0 => String::new(),
            up => format!("\x1b[{up}A\x1b[J"),
        };
        for line in &lines {
            // A line that the terminal would break spoils the way back up.
            let cut: String = line
                .chars()
                .filter(|char| !char.is_control())
                .take(width())
                .collect();
            text += &(cut + "\n");
        }
        self.drawn_lines = lines.len();
        print(&text)
    }
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(io::stdout()).map_or(80, |size| usize::from(size.ws_col).max(20))
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
