//! From lines to entries: which format, which life, at what time; and what could not be read.
//!
//! A life begins with its INIT line. Lines before the first one of a file go on with the life of the same role that the
//! file before left open (a rotated trail), else they open a life of their own as soon as one of them tells anything.
//! Within a life, time never goes back: where the clock was set, the later times are shifted, so that durations stay
//! what they were; the step is counted and told. So is a single time far ahead, which is taken for the time of the line
//! before it. Whether a long silence is a clock that was set ahead is told by what comes behind it: [`super::ahead`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ringmw_codec::audit::{Line, Who, clmw};
use rustc_hash::FxHashMap;

use super::ahead::{Ahead, SILENCE_US_MIN, Verdict};
use super::entry::{
    ExitWord, Role, SlaveView, Source, What, of_clmw, of_ringmw, role_of, role_of_clmw,
};
use super::input::{self, Piece, Source as Input};
use super::times::{Bound, Zone, show_duration};
use super::window::Window;

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
    /// Index of its life.
    pub(crate) life: usize,
    /// Who wrote it.
    pub(crate) role: Role,
    /// When, by a clock that never goes back within the life.
    pub(crate) us: i64,
    /// Whether it is inside the window. One before it tells who is there; one behind it tells of time that lies inside.
    pub(crate) is_counted: bool,
    pub(crate) window: Window,
}

/// What is made of a trail, fed with its entries.
pub(crate) trait Fold {
    /// One entry.
    fn on_entry(&mut self, at: At, what: &What<'_>);
}

/// What one process wrote, from its INIT on.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) role: Role,
    pub(crate) source: Source,
    pub(crate) file: PathBuf,
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    pub(crate) clock_steps: u64,
    /// Of its first and its last line, by its own clock.
    pub(crate) first_us: i64,
    pub(crate) last_us: i64,
    /// Whether its INIT line is in the trail.
    pub(crate) has_init: bool,
    pub(crate) exit: Option<ExitWord>,
    pub(crate) exit_us: i64,
    pub(crate) exit_reason: String,
    pub(crate) version: String,
    pub(crate) host: String,
    pub(crate) seed: Option<u64>,
    pub(crate) build: Option<String>,
    /// The run's id and which life of it this is, where it goes on from life to life.
    pub(crate) run: Option<(String, u32)>,
    last_raw_us: i64,
    /// A time far ahead and its place, which the next line will confirm or not.
    jump: Option<(i64, String)>,
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
    /// Where the first line was about something that this program does not know.
    first_later: Option<String>,
}

/// Reads trails into a [`Fold`].
pub(crate) struct Reader {
    pub(crate) lives: Vec<Life>,
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    /// Lines that were understood, in the window or not.
    pub(crate) parsed: u64,
    /// Lines about what this program does not know.
    passed_over: u64,
    pub(crate) notes: Notes,
    pub(crate) zone: Zone,
    since: Option<Bound>,
    until: Option<Bound>,
    window: Option<Window>,
    /// Lines behind a long silence, until it is clear what it was.
    held: Option<Ahead>,
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
    /// Lines and unparsed lines that no life has yet, and the first time among them.
    waiting: (u64, u64, Option<i64>),
    is_last_clmw: bool,
    joined: Option<(String, u64)>,
}

impl Reader {
    pub(crate) fn new(zone: Zone, since: Option<Bound>, until: Option<Bound>) -> Self {
        Self {
            lives: Vec::new(),
            lines: 0,
            passed_over: 0,
            unparsed: 0,
            parsed: 0,
            notes: Notes::default(),
            zone,
            since,
            until,
            window: None,
            held: None,
            file: FileState::default(),
        }
    }

    /// Reads files: masters' before slaves', the one that begins first before the others.
    pub(crate) fn read(&mut self, files: &[PathBuf], fold: &mut dyn Fold) {
        self.note_gaps(files);
        for input in self.in_order(files) {
            let file = input.path().to_owned();
            self.begin_file(&file);
            let outcome = input.read_lines(|piece| self.on_piece(piece, fold));
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

    /// A rotated trail is given in any order, and so are a master's and its slaves'; as files or through pipes.
    fn in_order(&mut self, files: &[PathBuf]) -> Vec<Input> {
        let inputs = files.iter().map(|file| Input::new(file));
        if files.len() < 2 {
            return inputs.collect();
        }
        let mut keyed: Vec<_> = inputs
            .map(|mut input| (self.first_seen(&mut input), input))
            .collect();
        keyed.sort_by_key(|&(key, _)| key);
        keyed.into_iter().map(|(_, input)| input).collect()
    }

    /// Whether the input is a slave's, as far as its head tells, and its first time.
    fn first_seen(&mut self, input: &mut Input) -> (bool, Option<i64>) {
        let (mut first, mut role) = (None, None);
        // What is behind the head is of no interest; what cannot be read is told when its turn comes.
        let _ = input.look(|line| {
            if let Some((us, of)) = glance(line, &mut self.zone) {
                first = first.or(Some(us));
                role = role.or(of);
            }
            first.is_none() || role.is_none()
        });
        (role == Some(Role::Slave), first)
    }

    /// Files that are numbered as rotation numbers them, with one left out.
    fn note_gaps(&mut self, files: &[PathBuf]) {
        let mut numbers: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
        for file in files.iter().filter_map(|file| file.to_str()) {
            let bare = [".gz", ".zst"]
                .iter()
                .find_map(|end| file.strip_suffix(end))
                .unwrap_or(file);
            let numbered = bare
                .rsplit_once('.')
                .and_then(|(base, number)| Some((base, number.parse().ok()?)));
            let (base, number) = numbered.unwrap_or((bare, 0));
            numbers.entry(base).or_default().push(number);
        }
        for (base, mut numbers) in numbers {
            numbers.sort_unstable();
            for pair in numbers.windows(2).filter(|pair| pair[1] > pair[0] + 1) {
                self.notes.others.push(format!(
                    "{base}.{} was not given: what happened in it is missing from the figures",
                    pair[0] + 1
                ));
            }
        }
    }

    /// A file begins; lives that the file before left open may go on in it.
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
        self.release(Verdict::Silence, fold);
        self.file.line = 0;
    }

    /// Whether the last process of the trail has ended.
    pub(crate) fn is_over(&self) -> bool {
        let role = self.role();
        self.lives
            .iter()
            .rfind(|life| life.role == role)
            .is_some_and(|life| life.exit.is_some())
    }

    fn open_master(&self) -> Option<usize> {
        let last = self
            .lives
            .iter()
            .rposition(|life| life.role == Role::Master)?;
        self.lives[last].exit.is_none().then_some(last)
    }

    /// The lines of the file have come to an end.
    pub(crate) fn end_file(&mut self, fold: &mut dyn Fold) {
        self.flush_joined(fold);
        self.release(Verdict::Silence, fold);
        let (lines, unparsed, _) = std::mem::take(&mut self.file.waiting);
        if let Some(life) = self.current().and_then(|index| self.lives.get_mut(index)) {
            life.lines += lines;
            life.unparsed += unparsed;
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
            return self.on_ringmw(line, fold);
        }
        self.on_other_line(line, fold);
    }

    #[cold]
    fn on_other_line(&mut self, bytes: &[u8], fold: &mut dyn Fold) {
        let whole = bytes;
        let bytes = behind_rubbish(bytes);
        if bytes.len() < whole.len() && !bytes.is_empty() && self.begins_line(bytes) {
            if self.notes.others.len() < NOTES_MAX && whole.contains(&0) {
                let (name, line) = (show_path(&self.file.path), self.file.line);
                self.notes.others.push(format!(
                    "{name}:{line}: NUL bytes before the line: a part of the trail may be missing there"
                ));
            }
            return self.on_line(bytes, fold);
        }
        let bytes = whole;
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
                    return self.on_ringmw(line, fold);
                }
                Err(error) if error.is_of_later => return self.on_later(&error.what),
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

    /// Whether a text can be read as a line of either format.
    fn begins_line(&self, bytes: &[u8]) -> bool {
        clmw::has_head(bytes)
            || std::str::from_utf8(bytes).is_ok_and(|text| Line::parse(text).is_ok())
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

    /// A later program wrote it, about something that this one does not know.
    fn on_later(&mut self, what: &str) {
        self.file.is_last_clmw = false;
        self.lines += 1;
        self.passed_over += 1;
        match self.current() {
            Some(life) => self.lives[life].lines += 1,
            None => self.file.waiting.0 += 1,
        }
        self.notes.first_later.get_or_insert_with(|| {
            let (name, line) = (show_path(&self.file.path), self.file.line);
            format!("{name}:{line}: {what}")
        });
    }

    fn on_unparsed(&mut self, line: &[u8], what: &str) {
        self.lines += 1;
        self.unparsed += 1;
        match self.current() {
            Some(life) => {
                self.lives[life].lines += 1;
                self.lives[life].unparsed += 1;
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

    fn on_ringmw(&mut self, line: Line, fold: &mut dyn Fold) {
        use ringmw_codec::audit::Event;
        if self.held.is_some() {
            return self.on_line_behind(line, fold);
        }
        let role = role_of(line.who);
        if matches!(line.event, Event::Init { .. }) {
            self.open_life(role, Source::Ringmw);
        }
        let known = match line.who {
            Who::Slave(Some(slave)) => self.file.by_slave.get(&slave).copied(),
            _ => None,
        };
        let index = known.unwrap_or_else(|| self.life_of(role, Source::Ringmw));
        let last_us = self.lives[index].last_raw_us;
        if role == Role::Master
            && last_us != i64::MIN
            && line.time_us.saturating_sub(last_us) > SILENCE_US_MIN
        {
            self.held = Some(Ahead::new(index, last_us));
            return self.on_line_behind(line, fold);
        }
        self.on_known(index, &line, fold);
    }

    fn on_known(&mut self, index: usize, line: &Line, fold: &mut dyn Fold) {
        use ringmw_codec::audit::Event;
        if let Event::Id { slave } = line.event {
            self.file.by_slave.insert(slave, index);
        }
        let mut view = std::mem::take(&mut self.lives[index].view);
        if let Who::Slave(Some(slave)) = line.who {
            view.slave.get_or_insert(slave);
        }
        let what = of_ringmw(&line.event, &mut view);
        self.hand_out(index, line.time_us, 1, &what, fold);
        self.lives[index].view = view;
    }

    /// A line behind a long silence: what it was is not clear yet.
    #[cold]
    fn on_line_behind(&mut self, line: Line, fold: &mut dyn Fold) {
        let Some(held) = &mut self.held else {
            return self.on_ringmw(line, fold);
        };
        let is_other = role_of(line.who) != Role::Master
            || matches!(line.event, ringmw_codec::audit::Event::Init { .. });
        if is_other {
            self.release(Verdict::Silence, fold);
            return self.on_ringmw(line, fold);
        }
        if let Some(verdict) = held.push(line, self.file.line) {
            self.release(verdict, fold);
        }
    }

    /// Hands out the lines that were held back.
    pub(crate) fn release(&mut self, verdict: Verdict, fold: &mut dyn Fold) {
        let Some(held) = self.held.take() else {
            return;
        };
        let (index, line_now) = (held.life, self.file.line);
        let mut lines = held.lines.into_iter();
        let Some((first, number)) = lines.next() else {
            return;
        };
        self.file.line = number;
        match verdict {
            Verdict::Silence => self.on_known(index, &first, fold),
            Verdict::Step => {
                let life = &mut self.lives[index];
                let by_us = first.time_us - life.last_raw_us;
                life.shift_us = life.shift_us.saturating_sub(by_us);
                life.last_raw_us = first.time_us;
                self.note_step(index, "ahead", by_us, None);
                self.on_known(index, &first, fold);
            }
            Verdict::Damaged => {
                let life = &self.lives[index];
                let last_us = life.last_raw_us;
                let by_us = first.time_us - last_us;
                self.note_step(index, "ahead", by_us, None);
                let first = Line {
                    time_us: last_us,
                    ..first
                };
                self.on_known(index, &first, fold);
            }
        }
        for (line, number) in lines {
            self.file.line = number;
            self.on_ringmw(line, fold);
        }
        self.file.line = line_now;
    }

    fn note_step(&mut self, index: usize, way: &str, by_us: i64, place: Option<&str>) {
        self.lives[index].clock_steps += 1;
        if self.notes.clock_steps.len() < NOTES_MAX {
            let here = format!("{}:{}", show_path(&self.file.path), self.file.line);
            let place = place.unwrap_or(&here);
            let by = show_duration(by_us);
            self.notes
                .clock_steps
                .push(format!("{place}: the clock goes {way} by {by}"));
        }
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
            self.open_life(role, Source::ClMw);
        }
        let role = role_of_clmw(&entry.event)
            .or(self.file.role)
            .unwrap_or(Role::Master);
        let life = self.life_of(role, Source::ClMw);
        let mut view = std::mem::take(&mut self.lives[life].view);
        let what = of_clmw(entry.event, &mut view);
        self.hand_out(life, time_us, lines, &what, fold);
        self.lives[life].view = view;
    }

    /// The life that a line of this role belongs to.
    fn life_of(&mut self, role: Role, source: Source) -> usize {
        let known = match role {
            Role::Master => self.file.master,
            Role::Slave => self.file.slave,
        };
        known.unwrap_or_else(|| self.open_life(role, source))
    }

    fn open_life(&mut self, role: Role, source: Source) -> usize {
        let (lines, unparsed, first) = std::mem::take(&mut self.file.waiting);
        let index = self.lives.len();
        self.lives.push(Life {
            role,
            source,
            file: self.file.path.clone(),
            lines,
            unparsed,
            clock_steps: 0,
            first_us: first.unwrap_or(i64::MIN),
            last_us: first.unwrap_or(i64::MIN),
            has_init: false,
            exit: None,
            exit_us: 0,
            exit_reason: String::new(),
            version: String::new(),
            host: String::new(),
            seed: None,
            build: None,
            run: None,
            last_raw_us: first.unwrap_or(i64::MIN),
            jump: None,
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
        self.bounds(time_us).contains(time_us)
    }

    /// The window; times after the start count from the first line seen.
    fn bounds(&mut self, time_us: i64) -> Window {
        *self.window.get_or_insert_with(|| {
            let resolve = |bound: Option<Bound>, open| {
                bound.map_or(open, |bound| bound.resolve(time_us, &self.zone))
            };
            Window {
                since_us: resolve(self.since, i64::MIN),
                until_us: resolve(self.until, i64::MAX),
            }
        })
    }

    /// The window, as far as anything was read.
    pub(crate) fn window(&self) -> Window {
        self.window.unwrap_or(Window::ALL)
    }

    /// When a life was observed: inside the window, from its first line to its last. None where that is not at all.
    pub(crate) fn observed(&self, life: &Life) -> Option<(i64, i64)> {
        if life.first_us == i64::MIN || !self.window().meets(life.first_us, life.last_us) {
            return None;
        }
        Some(self.window().clip(life.first_us, life.last_us))
    }

    /// The time of a line in its life's own clock. Where that was set, later times are shifted.
    #[inline]
    fn steady(&mut self, index: usize, time_us: i64) -> i64 {
        let life = &mut self.lives[index];
        let ahead_us = time_us.saturating_sub(life.last_raw_us);
        if life.last_raw_us == i64::MIN
            || (life.jump.is_none() && (0..=JUMP_US_MIN).contains(&ahead_us))
        {
            life.last_raw_us = time_us;
        } else {
            self.on_jump(index, time_us);
        }
        let life = &self.lives[index];
        life.last_raw_us.saturating_add(life.shift_us)
    }

    #[cold]
    fn on_jump(&mut self, index: usize, time_us: i64) {
        let life = &mut self.lives[index];
        let ahead_us = time_us.saturating_sub(life.last_raw_us);
        if let Some((jump_us, place)) = life.jump.take() {
            if time_us.abs_diff(jump_us) < CONFIRM_US {
                // A long silence, then: the line before came at its end.
                life.last_raw_us = time_us;
                return;
            }
            let by_us = jump_us - life.last_raw_us;
            self.note_step(index, "ahead", by_us, Some(&place));
            return self.on_jump(index, time_us);
        }
        if ahead_us > JUMP_US_MIN && life.role == Role::Master && life.source == Source::Ringmw {
            // It was held back already, and believed.
            life.last_raw_us = time_us;
        } else if ahead_us > JUMP_US_MIN {
            // One damaged time must not stretch the life by years: the next line says whether the clock is there.
            let place = format!("{}:{}", show_path(&self.file.path), self.file.line);
            life.jump = Some((time_us, place));
        } else if ahead_us <= -STEP_US_MIN {
            life.shift_us = life.shift_us.saturating_sub(ahead_us);
            life.last_raw_us = time_us;
            self.note_step(index, "back", -ahead_us, None);
        } else {
            life.last_raw_us = life.last_raw_us.max(time_us);
        }
    }

    #[inline]
    fn hand_out(
        &mut self,
        index: usize,
        time_us: i64,
        lines: u64,
        what: &What<'_>,
        fold: &mut dyn Fold,
    ) {
        self.parsed += 1;
        let window = self.bounds(time_us);
        let us = self.steady(index, time_us);
        let is_counted = window.contains(us);
        let life = &mut self.lives[index];
        if life.first_us == i64::MIN {
            life.first_us = us;
        }
        life.last_us = us;
        if is_counted {
            self.lines += lines;
            life.lines += lines;
        }
        match what {
            What::Init {
                version,
                seed,
                build,
                host,
            } => {
                life.has_init = true;
                life.version = (*version).to_owned();
                life.host = (*host).to_owned();
                life.seed = *seed;
                life.build = (!build.is_empty()).then(|| (*build).to_owned());
            }
            What::Life { run, life: number } => life.run = Some(((*run).to_owned(), *number)),
            What::Exit { exit, reason } => {
                life.exit = Some(exit.clone());
                life.exit_us = us;
                life.exit_reason = (*reason).to_owned();
            }
            _ => {}
        }
        let role = life.role;
        fold.on_entry(
            At {
                life: index,
                role,
                us,
                is_counted,
                window,
            },
            what,
        );
    }

    /// Whether masters' trails are there: then slaves' trails tell nothing of tasks and slaves.
    pub(crate) fn role(&self) -> Role {
        match self.lives.iter().any(|life| life.role == Role::Master) {
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
        if let Some(first) = &self.notes.first_later {
            let lines = match self.passed_over {
                1 => "1 line is".to_owned(),
                lines => format!("{lines} lines are"),
            };
            told.push(format!(
                "{lines} of a later version of ringmw, and passed over: use that version's program; the first is {first}"
            ));
        }
        let steps = self.lives.iter().map(|life| life.clock_steps).sum();
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

/// A line without the mark that some editors put before a text, and without what stands before its last NUL byte: a
/// machine that goes down leaves blocks of them, and the next process goes on behind.
fn behind_rubbish(line: &[u8]) -> &[u8] {
    const MARK: &[u8] = "\u{feff}".as_bytes();
    let line = line.strip_prefix(MARK).unwrap_or(line);
    match memchr::memrchr(0, line) {
        Some(at) => &line[at + 1..],
        None => line,
    }
}

/// The time of a line, and which end wrote it if it tells.
fn glance(line: &[u8], zone: &mut Zone) -> Option<(i64, Option<Role>)> {
    let line = behind_rubbish(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if clmw::has_head(line) {
        let text = String::from_utf8_lossy(line);
        let entry = clmw::Entry::parse(&text)?;
        return Some((zone.of_wall(entry.time_us), role_of_clmw(&entry.event)));
    }
    let line = Line::parse(std::str::from_utf8(line).ok()?).ok()?;
    Some((line.time_us, Some(role_of(line.who))))
}
