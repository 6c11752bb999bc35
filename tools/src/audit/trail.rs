//! From lines to entries: which format, which run, at what time; and what could not be read.
//!
//! A run begins with its INIT line. Lines before the first one of a file go on with the run of the same role that the
//! file before left open (a rotated trail), else they open a run of their own as soon as one of them tells anything.
//! Within a run, time never goes back: where the clock was set back, the later times are shifted by as much, so that
//! durations stay what they were; the step is counted and told. So is a single time far ahead, which is taken for the
//! time of the line before it.

use std::path::{Path, PathBuf};

use ringmw_codec::audit::{Line, Who, clmw};
use rustc_hash::FxHashMap;

use super::entry::{
    ExitWord, Role, SlaveView, Source, What, of_clmw, of_ringmw, role_of, role_of_clmw,
};
use super::input::{self, Piece};
use super::times::{Bound, Zone};

/// So many unreadable lines and clock steps are told one by one.
const NOTES_MAX: usize = 5;
/// So much of an unreadable line is shown.
const SHOWN_CHARS_MAX: usize = 60;
/// A smaller step back is two threads' lines in the wrong order, not a clock that was set.
const STEP_US_MIN: i64 = 100_000;
/// A longer silence is believed when a second line confirms it, within so much.
const JUMP_US_MIN: i64 = 7 * 86_400_000_000;
const CONFIRM_US: u64 = 86_400_000_000;
/// So many lines may one entry of CL-MW take.
const JOINED_LINES_MAX: u64 = 64;

/// Where and when an entry stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At {
    /// Index of its run.
    pub(crate) run: usize,
    /// Who wrote it.
    pub(crate) role: Role,
    /// When, by a clock that never goes back within the run.
    pub(crate) us: i64,
    /// Whether it is inside the window; one before it is handed out only so that who is present is known.
    pub(crate) is_counted: bool,
}

/// What is made of a trail, fed with its entries.
pub(crate) trait Fold {
    /// One entry.
    fn on_entry(&mut self, at: At, what: &What<'_>);
}

/// One process's trail, from its INIT on.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) role: Role,
    pub(crate) source: Source,
    pub(crate) file: PathBuf,
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    pub(crate) clock_steps: u64,
    /// As the trail has them; none until a line of the window.
    pub(crate) start_us: Option<i64>,
    pub(crate) end_us: i64,
    /// Between the two by the shifted clock.
    pub(crate) duration_us: i64,
    pub(crate) exit: Option<ExitWord>,
    pub(crate) exit_reason: String,
    pub(crate) version: String,
    pub(crate) host: String,
    pub(crate) seed: Option<u64>,
    pub(crate) build: Option<String>,
    first_us: i64,
    last_raw_us: i64,
    /// A time far ahead, which the next line will confirm or not.
    jump_us: Option<i64>,
    shift_us: i64,
    view: SlaveView,
}

/// Something to tell about the input, with its place.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) unparsed: Vec<String>,
    pub(crate) clock_steps: Vec<String>,
    pub(crate) others: Vec<String>,
    /// Files that could not be read at all.
    pub(crate) unreadable: Vec<String>,
}

/// Reads trails into a [`Fold`].
pub(crate) struct Reader {
    pub(crate) runs: Vec<Run>,
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    /// Lines that were understood, in the window or not.
    pub(crate) parsed: u64,
    pub(crate) notes: Notes,
    pub(crate) zone: Zone,
    since: Option<Bound>,
    until: Option<Bound>,
    window: Option<(i64, i64)>,
    file: FileState,
}

#[derive(Default)]
struct FileState {
    path: PathBuf,
    line: u64,
    master: Option<usize>,
    slave: Option<usize>,
    by_slave: FxHashMap<u32, usize>,
    /// The role of the last INIT.
    role: Option<Role>,
    /// Lines and unparsed lines that no run has yet, and the first time among them.
    waiting: (u64, u64, Option<i64>),
    is_last_clmw: bool,
    joined: Option<(String, u64)>,
}

impl Reader {
    pub(crate) fn new(zone: Zone, since: Option<Bound>, until: Option<Bound>) -> Self {
        Self {
            runs: Vec::new(),
            lines: 0,
            unparsed: 0,
            parsed: 0,
            notes: Notes::default(),
            zone,
            since,
            until,
            window: None,
            file: FileState::default(),
        }
    }

    /// Reads files: masters' before slaves', the one that begins first before the others.
    pub(crate) fn read(&mut self, files: &[PathBuf], fold: &mut dyn Fold) {
        for file in self.in_order(files) {
            self.begin_file(&file);
            let outcome = input::read_lines(&file, |piece| self.on_piece(piece, fold));
            if let Err(error) = outcome {
                let name = show_path(&file);
                if self.file.line == 0 {
                    self.notes.unreadable.push(format!("{name}: {error}"));
                } else {
                    let line = self.file.line;
                    self.notes
                        .others
                        .push(format!("{name}: reading ended behind line {line}: {error}"));
                }
            }
            self.end_file(fold);
        }
    }

    /// A rotated trail is given in any order, and so are a master's and its slaves'.
    fn in_order(&mut self, files: &[PathBuf]) -> Vec<PathBuf> {
        let is_piped = files.iter().any(|file| !file.is_file());
        if files.len() < 2 || is_piped {
            return files.to_vec();
        }
        let mut keyed: Vec<_> = files
            .iter()
            .map(|file| (self.first_seen(file), file))
            .collect();
        keyed.sort_by_key(|&(key, _)| key);
        keyed.into_iter().map(|(_, file)| file.clone()).collect()
    }

    /// Whether the file is a slave's, as far as its head tells, and its first time.
    fn first_seen(&mut self, file: &Path) -> (bool, Option<i64>) {
        const LINES: u64 = 50;
        let (mut first, mut role, mut lines) = (None, None, 0);
        // What is behind the head is of no interest; a packed file is not unpacked further either.
        let _ = input::read_while(file, |piece| {
            let (Piece::Line(line) | Piece::Last(line) | Piece::TooLong(line)) = piece;
            lines += 1;
            if let Some((us, of)) = glance(line, &mut self.zone) {
                first = first.or(Some(us));
                role = role.or(of);
            }
            lines < LINES && (first.is_none() || role.is_none())
        });
        (role == Some(Role::Slave), first)
    }

    /// A file begins; runs that the file before left open may go on in it.
    pub(crate) fn begin_file(&mut self, path: &Path) {
        let role = self.file.role;
        self.file = FileState {
            path: path.to_owned(),
            role,
            ..FileState::default()
        };
        // Only a master's trail is found again: of slaves there are many.
        self.file.master = self.open_master();
    }

    /// Another file goes on where this one ended.
    pub(crate) fn continue_file(&mut self, fold: &mut dyn Fold) {
        self.flush_joined(fold);
        self.file.line = 0;
    }

    /// Whether the last process of the trail has ended.
    pub(crate) fn is_over(&self) -> bool {
        let role = self.role();
        self.runs
            .iter()
            .rfind(|run| run.role == role)
            .is_some_and(|run| run.exit.is_some())
    }

    fn open_master(&self) -> Option<usize> {
        let last = self.runs.iter().rposition(|run| run.role == Role::Master)?;
        self.runs[last].exit.is_none().then_some(last)
    }

    /// The lines of the file have come to an end.
    pub(crate) fn end_file(&mut self, fold: &mut dyn Fold) {
        self.flush_joined(fold);
        let (lines, unparsed, _) = std::mem::take(&mut self.file.waiting);
        if let Some(run) = self.current().and_then(|index| self.runs.get_mut(index)) {
            run.lines += lines;
            run.unparsed += unparsed;
        }
    }

    /// Takes one line of the current file.
    pub(crate) fn on_piece(&mut self, piece: Piece<'_>, fold: &mut dyn Fold) {
        self.file.line += 1;
        match piece {
            Piece::Line(line) => self.on_line(line, fold),
            Piece::Last(line) => {
                let unparsed = self.unparsed;
                self.on_line(line, fold);
                self.flush_joined(fold);
                if self.unparsed == unparsed {
                    let (name, line) = (show_path(&self.file.path), self.file.line);
                    let note =
                        format!("{name}:{line}: the last line has no line feed; it may be cut");
                    self.notes.others.push(note);
                }
            }
            Piece::TooLong(line) => {
                self.flush_joined(fold);
                self.on_unparsed(line, "too long for a line of a trail");
            }
        }
    }

    fn on_line(&mut self, line: &[u8], fold: &mut dyn Fold) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.file.joined.is_some() && self.join(line, fold) {
            return;
        }
        if self.file.is_last_clmw {
            if let Some(entry) = clmw::Entry::parse_quick(line) {
                return self.on_clmw(entry, 1, fold);
            }
        } else if let Some(line) = Line::parse_quick(line) {
            return self.on_ringmw(&line, fold);
        }
        self.on_other_line(line, fold);
    }

    #[cold]
    fn on_other_line(&mut self, bytes: &[u8], fold: &mut dyn Fold) {
        if clmw::has_head(bytes) {
            self.file.is_last_clmw = true;
            let text = String::from_utf8_lossy(bytes);
            if text.contains(['"', '(']) && clmw::is_open(&text) {
                self.file.joined = Some((text.into_owned(), 1));
                return;
            }
            self.on_clmw_text(&text, 1, fold);
            return;
        }
        let what = match std::str::from_utf8(bytes) {
            Ok(text) => match Line::parse(text) {
                Ok(line) => {
                    self.file.is_last_clmw = false;
                    return self.on_ringmw(&line, fold);
                }
                Err(error)
                    if text
                        .bytes()
                        .next()
                        .is_some_and(|byte| byte.is_ascii_digit()) =>
                {
                    error.to_string()
                }
                Err(_) if text.is_empty() => "an empty line".to_owned(),
                Err(_) => "no line of ringmw's or CL-MW's trail".to_owned(),
            },
            Err(_) => "no text".to_owned(),
        };
        self.on_unparsed(bytes, &what);
    }

    /// Adds a line to an entry of CL-MW that is not closed yet; false when it is the start of another.
    fn join(&mut self, line: &[u8], fold: &mut dyn Fold) -> bool {
        let Some((text, lines)) = &mut self.file.joined else {
            return false;
        };
        if clmw::has_head(line) || *lines == JOINED_LINES_MAX || text.len() > input::LINE_BYTES_MAX
        {
            self.file.line -= 1;
            self.flush_joined(fold);
            self.file.line += 1;
            return false;
        }
        text.push('\n');
        text.push_str(&String::from_utf8_lossy(line));
        *lines += 1;
        if !clmw::is_open(text) {
            self.flush_joined(fold);
        }
        true
    }

    fn flush_joined(&mut self, fold: &mut dyn Fold) {
        if let Some((text, lines)) = self.file.joined.take() {
            self.on_clmw_text(&text, lines, fold);
        }
    }

    fn on_clmw_text(&mut self, text: &str, lines: u64, fold: &mut dyn Fold) {
        let mut rest = Some(text);
        let mut lines = lines;
        while let Some(text) = rest {
            let Some(entry) = clmw::Entry::parse(text) else {
                let line = self.file.line;
                self.file.line = line + 1 - lines.max(1);
                for _ in 0..lines.max(1) {
                    self.on_unparsed(text.as_bytes(), "no line of CL-MW's trail");
                    self.file.line += 1;
                }
                self.file.line = line;
                return;
            };
            self.on_clmw(entry, lines, fold);
            // What is glued to it stands on the same line.
            lines = 0;
            rest = entry.rest;
        }
    }

    fn on_unparsed(&mut self, line: &[u8], what: &str) {
        self.lines += 1;
        self.unparsed += 1;
        match self.current() {
            Some(run) => {
                self.runs[run].lines += 1;
                self.runs[run].unparsed += 1;
            }
            None => {
                self.file.waiting.0 += 1;
                self.file.waiting.1 += 1;
            }
        }
        if self.notes.unparsed.len() < NOTES_MAX {
            let text = String::from_utf8_lossy(&line[..line.len().min(4 * SHOWN_CHARS_MAX)]);
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            let (name, line) = (show_path(&self.file.path), self.file.line);
            self.notes
                .unparsed
                .push(format!("{name}:{line}: {what}: {shown:?}"));
        }
    }

    fn current(&self) -> Option<usize> {
        match self.file.role {
            Some(Role::Slave) => self.file.slave.or(self.file.master),
            _ => self.file.master.or(self.file.slave),
        }
    }

    fn on_ringmw(&mut self, line: &Line, fold: &mut dyn Fold) {
        use ringmw_codec::audit::Event;
        let role = role_of(line.who);
        if matches!(line.event, Event::Init { .. }) {
            self.open_run(role, Source::Ringmw);
        }
        let known = match line.who {
            Who::Slave(Some(slave)) => self.file.by_slave.get(&slave).copied(),
            _ => None,
        };
        let run = known.unwrap_or_else(|| self.run_of(role, Source::Ringmw));
        if let Event::Id { slave } = line.event {
            self.file.by_slave.insert(slave, run);
        }
        let mut view = std::mem::take(&mut self.runs[run].view);
        if let Who::Slave(Some(slave)) = line.who {
            view.slave.get_or_insert(slave);
        }
        let what = of_ringmw(&line.event, &mut view);
        self.hand_out(run, line.time_us, 1, &what, fold);
        self.runs[run].view = view;
    }

    fn on_clmw(&mut self, entry: clmw::Entry<'_>, lines: u64, fold: &mut dyn Fold) {
        use clmw::Event;
        let time_us = self.zone.of_wall(entry.time_us);
        let is_before_init = match entry.event {
            Event::Version { .. } => true,
            Event::ResourceFile { .. } | Event::WrongExitCode | Event::Eof { .. } => {
                self.current().is_none()
            }
            _ => false,
        };
        if is_before_init {
            self.lines += lines;
            self.parsed += 1;
            if self.is_in_window(time_us) {
                self.file.waiting.0 += lines;
                self.file.waiting.2.get_or_insert(time_us);
            } else {
                self.lines -= lines;
            }
            return;
        }
        if matches!(
            entry.event,
            Event::InitMaster { .. } | Event::InitSlave { .. }
        ) {
            let role = role_of_clmw(&entry.event).unwrap_or(Role::Master);
            self.open_run(role, Source::ClMw);
        }
        let role = role_of_clmw(&entry.event)
            .or(self.file.role)
            .unwrap_or(Role::Master);
        let run = self.run_of(role, Source::ClMw);
        let mut view = std::mem::take(&mut self.runs[run].view);
        let what = of_clmw(entry.event, &mut view);
        self.hand_out(run, time_us, lines, &what, fold);
        self.runs[run].view = view;
    }

    /// The run that a line of this role belongs to.
    fn run_of(&mut self, role: Role, source: Source) -> usize {
        let known = match role {
            Role::Master => self.file.master,
            Role::Slave => self.file.slave,
        };
        known.unwrap_or_else(|| self.open_run(role, source))
    }

    fn open_run(&mut self, role: Role, source: Source) -> usize {
        let (lines, unparsed, first) = std::mem::take(&mut self.file.waiting);
        let index = self.runs.len();
        self.runs.push(Run {
            role,
            source,
            file: self.file.path.clone(),
            lines,
            unparsed,
            clock_steps: 0,
            start_us: first,
            end_us: first.unwrap_or(i64::MIN),
            duration_us: 0,
            exit: None,
            exit_reason: String::new(),
            version: String::new(),
            host: String::new(),
            seed: None,
            build: None,
            first_us: first.unwrap_or(i64::MIN),
            last_raw_us: first.unwrap_or(i64::MIN),
            jump_us: None,
            shift_us: 0,
            view: SlaveView::default(),
        });
        self.file.role = Some(role);
        match role {
            Role::Master => self.file.master = Some(index),
            Role::Slave => self.file.slave = Some(index),
        }
        index
    }

    fn is_in_window(&mut self, time_us: i64) -> bool {
        let (since, until) = self.bounds(time_us);
        (since..until).contains(&time_us)
    }

    /// The window; times after the start count from the first line seen.
    fn bounds(&mut self, time_us: i64) -> (i64, i64) {
        *self.window.get_or_insert_with(|| {
            let resolve = |bound: Option<Bound>, open| {
                bound.map_or(open, |bound| bound.resolve(time_us, &self.zone))
            };
            (resolve(self.since, i64::MIN), resolve(self.until, i64::MAX))
        })
    }

    fn hand_out(
        &mut self,
        index: usize,
        time_us: i64,
        lines: u64,
        what: &What<'_>,
        fold: &mut dyn Fold,
    ) {
        self.parsed += 1;
        let (since, until) = self.bounds(time_us);
        if time_us >= until {
            return;
        }
        let is_counted = time_us >= since;
        let place = |file: &FileState| format!("{}:{}", show_path(&file.path), file.line);
        let run = &mut self.runs[index];
        let ahead_us = time_us.saturating_sub(run.last_raw_us);
        let has_last = run.last_raw_us != i64::MIN;
        let is_confirmed = run
            .jump_us
            .take()
            .is_some_and(|jump_us| time_us.abs_diff(jump_us) < CONFIRM_US);
        let step = if has_last && ahead_us > JUMP_US_MIN && !is_confirmed {
            // One damaged time must not stretch the run by years: the next line says whether the clock is there.
            run.jump_us = Some(time_us);
            Some(("ahead", ahead_us))
        } else if has_last && ahead_us <= -STEP_US_MIN {
            run.shift_us -= ahead_us;
            run.last_raw_us = time_us;
            Some(("back", -ahead_us))
        } else {
            run.last_raw_us = run.last_raw_us.max(time_us);
            None
        };
        if let Some((way, by_us)) = step {
            run.clock_steps += 1;
            if self.notes.clock_steps.len() < NOTES_MAX {
                let by = super::times::show_duration(by_us);
                self.notes.clock_steps.push(format!(
                    "{}: the clock goes {way} by {by}",
                    place(&self.file)
                ));
            }
        }
        let us = run.last_raw_us.saturating_add(run.shift_us);
        if is_counted {
            self.lines += lines;
            run.lines += lines;
            if run.jump_us.is_none() {
                run.end_us = time_us;
            }
            if run.start_us.is_none() || run.first_us == i64::MIN {
                run.start_us = Some(time_us);
                run.first_us = us;
            }
            run.duration_us = us - run.first_us;
        }
        match what {
            What::Init {
                version,
                seed,
                build,
                host,
            } => {
                run.version = (*version).to_owned();
                run.host = (*host).to_owned();
                run.seed = *seed;
                run.build = (!build.is_empty()).then(|| (*build).to_owned());
            }
            What::Exit { exit, reason } => {
                run.exit = Some(exit.clone());
                run.exit_reason = (*reason).to_owned();
            }
            _ => {}
        }
        let role = run.role;
        fold.on_entry(
            At {
                run: index,
                role,
                us,
                is_counted,
            },
            what,
        );
    }

    /// Whether masters' trails are there: then slaves' trails tell nothing of tasks and slaves.
    pub(crate) fn role(&self) -> Role {
        match self.runs.iter().any(|run| run.role == Role::Master) {
            true => Role::Master,
            false => Role::Slave,
        }
    }

    /// The notes, a line each, for standard error.
    pub(crate) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self.notes.unreadable.clone();
        let list = |told: &mut Vec<String>, count: u64, what: &str, notes: &[String]| {
            if count > 0 {
                let more = if count > notes.len() as u64 {
                    ", the first of them:"
                } else {
                    ":"
                };
                told.push(format!("{count} {what}{more}"));
                told.extend(notes.iter().map(|note| format!("  {note}")));
            }
        };
        let lines = if self.unparsed == 1 {
            "line is no line of a trail"
        } else {
            "lines are no lines of a trail"
        };
        list(&mut told, self.unparsed, lines, &self.notes.unparsed);
        let steps = self.runs.iter().map(|run| run.clock_steps).sum();
        list(
            &mut told,
            steps,
            "steps of the clock",
            &self.notes.clock_steps,
        );
        told.extend(self.notes.others.iter().cloned());
        if self.parsed > 0 && self.lines == self.unparsed {
            told.push(format!(
                "none of the {} lines that could be read is in the window",
                self.parsed
            ));
        }
        told
    }
}

/// Standard input has no name.
pub(crate) fn show_path(path: &Path) -> String {
    if path.as_os_str() == "-" {
        return "standard input".to_owned();
    }
    path.display().to_string()
}

/// The time of a line, and which end wrote it if it tells.
fn glance(line: &[u8], zone: &mut Zone) -> Option<(i64, Option<Role>)> {
    if clmw::has_head(line) {
        let text = String::from_utf8_lossy(line);
        let entry = clmw::Entry::parse(&text)?;
        return Some((zone.of_wall(entry.time_us), role_of_clmw(&entry.event)));
    }
    let line = Line::parse(std::str::from_utf8(line).ok()?).ok()?;
    Some((line.time_us, Some(role_of(line.who))))
}
