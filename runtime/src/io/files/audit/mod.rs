//! The audit writer: lines go into a bounded buffer and a thread writes them.
//!
//! ```text
//! push ──► | filling |  swap  | batch |  write ──► file or stdout
//!           bounded     ▲      in flight; after an error the write goes on at the byte where it stopped
//!                       └ at most every 5 ms
//! ```
//!
//! [`AuditWriter::push_all`] never blocks on the file. When the file does not keep up, lines about packets are dropped
//! first, then lines about coming and going, then the rest; what was dropped is counted by kind and told in one line
//! as soon as the file takes lines again. The trail never holds half a line that another is glued to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fmt, mem, thread};

use ringmw_codec::audit::{Event, Line, Stamp, Who};
use rustix::event::{PollFd, PollFlags, poll};

use crate::io::clock;

mod rotate;

pub(crate) use rotate::Rotate;
use rotate::Rotating;

/// Pending lines take at most so many bytes (and the one line that crosses it).
pub(crate) const PENDING_BYTES_MAX: usize = 1 << 20;
/// And are at most so many.
pub(crate) const PENDING_LINES_MAX: usize = 16_384;
/// How long a process that exits waits for its trail.
pub(crate) const FINISH_BOUND: Duration = Duration::from_secs(2);

/// Lines that are added under one lock.
const LINES_TOGETHER: usize = 64;

/// Lines wait so long for company: a write costs microseconds, so it is not made for each.
const GATHER: Duration = Duration::from_millis(5);
/// With so many bytes they wait no longer.
const GATHER_BYTES: usize = PENDING_BYTES_MAX / 8;
/// After an error of the file: the first pause, and the longest.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Where the trail goes.
#[derive(Debug, Clone)]
pub(crate) enum Sink {
    /// Nowhere; lines cost nothing.
    None,
    /// The process's standard output.
    Stdout,
    /// The end of this file, which may be begun anew at a size.
    File(PathBuf, Option<Rotate>),
}

/// The trail could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuditOpenError {
    /// The file.
    #[error(
        "--mw-audit-file {}: cannot be opened for appending: {source}; give a file in a folder that exists and may be \
         written, or leave the flag out", path.display()
    )]
    File {
        /// As given.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its thread.
    #[error("the thread that writes the audit trail cannot be started: {0}")]
    Thread(io::Error),
}

/// What [`AuditWriter::finish`] had to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unwritten {
    /// The trail: its file, or what it is called.
    pub trail: String,
    /// Lines that are still pending; dropped ones are not among them.
    pub lines: usize,
    /// The file's last error, if it had one.
    pub error: Option<String>,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the last {} lines of the audit trail ({}) could not be written",
            self.lines, self.trail
        )?;
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => write!(f, ": it takes too long"),
        }
    }
}

impl std::error::Error for Unwritten {}

/// The writing end of the trail. Dropping it flushes, for at most [`FINISH_BOUND`].
#[derive(Debug)]
pub(crate) struct AuditWriter {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// What the trail is called in messages.
    name: String,
    state: Mutex<State>,
    /// Rung for the writer's thread.
    work: Condvar,
    /// Rung when nothing is pending, or nothing will be written any more.
    rest: Condvar,
}

#[derive(Debug, Default)]
struct State {
    filling: Vec<u8>,
    filling_lines: usize,
    /// Of the batch that the thread is writing.
    in_flight_bytes: usize,
    in_flight_lines: usize,
    dropped: Dropped,
    error: Option<String>,
    thread: ThreadState,
    /// How many wait in `finish`: no gathering, short pauses.
    in_a_hurry: usize,
    /// The writer was dropped: the thread ends when nothing is pending.
    is_closing: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ThreadState {
    /// Waits for a line.
    Idle,
    /// Waits for more lines.
    Gathering,
    /// Writes, or pauses after an error.
    #[default]
    Busy,
    /// Ended; lines are passed over.
    Gone,
}

/// In the order in which they are given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Packets,
    Churn,
    Rest,
}

impl Class {
    fn of(event: &Event) -> Self {
        match event {
            Event::TasksSent { .. }
            | Event::ResultsReceived { .. }
            | Event::Packets { .. }
            | Event::TaskSent { .. }
            | Event::TaskEnded { .. }
            | Event::TasksReceived { .. }
            | Event::ResultsSent { .. } => Class::Packets,
            Event::Client { .. }
            | Event::Connected { .. }
            | Event::Dismissed { .. }
            | Event::Disconnected { .. }
            | Event::Lost { .. }
            | Event::Refused { .. }
            | Event::Rejected { .. }
            | Event::Offence { .. }
            | Event::State { .. }
            | Event::Group { .. }
            | Event::Late { .. }
            | Event::Returned { .. }
            | Event::Duplicated { .. } => Class::Churn,
            _ => Class::Rest,
        }
    }

    /// In eighths of the bound, how full the buffer may be for a line of this class to be taken.
    fn share(self) -> usize {
        match self {
            Class::Packets => 6,
            Class::Churn => 7,
            Class::Rest => 8,
        }
    }
}

/// The counts of [`Event::Dropped`], and the time and writer of the last line in them.
#[derive(Debug, Default)]
struct Dropped {
    last: Option<(i64, Who)>,
    lines: u64,
    packets: u64,
    tasks: u64,
    connected: u64,
    lost: u64,
    recycled: u64,
    refused: u64,
    state: u64,
}

impl Dropped {
    fn count(&mut self, time_us: i64, who: Who, event: &Event) {
        self.last = Some((time_us, who));
        self.lines += 1;
        match event {
            Event::TaskSent { .. } | Event::TaskEnded { .. } => self.tasks += 1,
            Event::Connected { .. } => self.connected += 1,
            Event::Lost { recycled, .. } => {
                self.lost += 1;
                self.recycled += recycled;
            }
            Event::Refused { .. } | Event::Rejected { .. } => self.refused += 1,
            Event::State { .. } | Event::Group { .. } => self.state += 1,
            event if Class::of(event) == Class::Packets => self.packets += 1,
            _ => {}
        }
    }

    fn take_line(&mut self) -> Option<Line> {
        let (time_us, who) = self.last?;
        let Dropped {
            lines,
            packets,
            tasks,
            connected,
            lost,
            recycled,
            refused,
            state,
            ..
        } = mem::take(self);
        let event = Event::Dropped {
            lines,
            packets,
            tasks,
            connected,
            lost,
            recycled,
            refused,
            state,
        };
        Some(Line {
            time_us,
            who,
            event,
        })
    }
}

impl State {
    fn has_room(&self, class: Class) -> bool {
        let bytes = self.filling.len() + self.in_flight_bytes;
        let lines = self.filling_lines + self.in_flight_lines;
        bytes * 8 < PENDING_BYTES_MAX * class.share()
            && lines * 8 < PENDING_LINES_MAX * class.share()
    }

    fn is_at_rest(&self) -> bool {
        let nothing =
            self.filling.is_empty() && self.in_flight_bytes == 0 && self.dropped.last.is_none();
        nothing || self.thread == ThreadState::Gone
    }
}

impl AuditWriter {
    /// Opens the trail and starts its thread.
    pub(crate) fn open(sink: Sink) -> Result<Self, AuditOpenError> {
        match sink {
            Sink::None => Ok(Self { shared: None }),
            Sink::Stdout => Self::start("standard output".to_owned(), Box::new(OwnStdout), false),
            Sink::File(path, rotate) => {
                let name = path.display().to_string();
                let (file, ends_in_half_a_line) =
                    open_file(&path).map_err(|source| AuditOpenError::File {
                        path: path.clone(),
                        source,
                    })?;
                // What is no file of a folder has no size.
                let is_file = file.metadata().is_ok_and(|about| about.is_file());
                let out: Box<dyn Out> = match rotate.filter(|_| is_file) {
                    None => Box::new(file),
                    Some(rotate) => match Rotating::new(path.clone(), rotate, file) {
                        Ok(rotating) => Box::new(rotating),
                        Err(source) => return Err(AuditOpenError::File { path, source }),
                    },
                };
                Self::start(name, out, ends_in_half_a_line)
            }
        }
    }

    fn start(
        name: String,
        out: Box<dyn Out>,
        begin_with_line_end: bool,
    ) -> Result<Self, AuditOpenError> {
        let shared = Arc::new(Shared {
            name,
            ..Shared::default()
        });
        if begin_with_line_end {
            shared.state().filling.push(b'\n');
        }
        let threads = shared.clone();
        thread::Builder::new()
            .name("ringmw-audit".to_owned())
            .spawn(move || threads.run(out))
            .map_err(AuditOpenError::Thread)?;
        Ok(Self {
            shared: Some(shared),
        })
    }

    /// Whether there is a trail at all.
    pub(crate) fn is_kept(&self) -> bool {
        self.shared.is_some()
    }

    /// Adds a line of what happened just now, as [`push_all`](Self::push_all) does.
    pub(crate) fn say(&self, who: Who, event: Event) {
        self.push_all(clock::unix_micros(), who, std::slice::from_ref(&event));
    }

    /// Adds lines of one writer and one time. Never waits for the file: a line that finds no room is counted instead.
    pub(crate) fn push_all(&self, time_us: i64, who: Who, events: &[Event]) {
        let stamp = Stamp::new(time_us, who);
        let parts = events.chunks(LINES_TOGETHER);
        parts.for_each(|part| self.push_some(&stamp, (time_us, who), part));
    }

    /// Adds a few, so that the thread can write while more are to come.
    fn push_some(&self, stamp: &Stamp, (time_us, who): (i64, Who), events: &[Event]) {
        let Some(shared) = &self.shared else {
            return;
        };
        let mut state = shared.state();
        if state.thread == ThreadState::Gone {
            return;
        }
        for event in events {
            if state.has_room(Class::of(event)) {
                stamp.write(event, &mut state.filling);
                state.filling_lines += 1;
            } else {
                state.dropped.count(time_us, who, event);
            }
        }
        let is_wanted = match state.thread {
            ThreadState::Idle => true,
            ThreadState::Gathering => state.filling.len() >= GATHER_BYTES,
            ThreadState::Busy | ThreadState::Gone => false,
        };
        if is_wanted {
            state.thread = ThreadState::Busy;
            drop(state);
            shared.work.notify_one();
        }
    }

    /// Waits until all lines are written, at most `bound`; then goes on as before.
    pub(crate) fn finish(&self, bound: Duration) -> Result<(), Unwritten> {
        let Some(shared) = &self.shared else {
            return Ok(());
        };
        let mut state = shared.state();
        state.in_a_hurry += 1;
        shared.work.notify_one();
        (state, _) = shared
            .rest
            .wait_timeout_while(state, bound, |state| !state.is_at_rest())
            .unwrap_or_else(PoisonError::into_inner);
        state.in_a_hurry -= 1;
        if state.is_at_rest() {
            return Ok(());
        }
        Err(Unwritten {
            trail: shared.name.clone(),
            lines: state.filling_lines + state.in_flight_lines,
            error: state.error.clone(),
        })
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        let _ = self.finish(FINISH_BOUND);
        if let Some(shared) = &self.shared {
            shared.state().is_closing = true;
            shared.work.notify_one();
        }
    }
}

/// Nobody reads any more, and nobody will.
struct Closed;

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut out: Box<dyn Out>) {
        let mut batch = Vec::new();
        while self.next_batch(&mut batch) {
            out.on_batch(batch.len());
            if self.write(&mut *out, &batch).is_err() {
                break;
            }
        }
        self.state().thread = ThreadState::Gone;
        self.rest.notify_all();
    }

    /// Waits for lines and takes all of them; false when there will be none.
    fn next_batch(&self, batch: &mut Vec<u8>) -> bool {
        batch.clear();
        let mut state = self.state();
        (state.in_flight_bytes, state.in_flight_lines) = (0, 0);
        while state.filling.is_empty() && state.dropped.last.is_none() {
            self.rest.notify_all();
            if state.is_closing {
                return false;
            }
            state.thread = ThreadState::Idle;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.thread = ThreadState::Gathering;
        let lonely = |state: &mut State| {
            state.in_a_hurry == 0 && !state.is_closing && state.filling.len() < GATHER_BYTES
        };
        (state, _) = self
            .work
            .wait_timeout_while(state, GATHER, lonely)
            .unwrap_or_else(PoisonError::into_inner);
        state.thread = ThreadState::Busy;
        mem::swap(&mut state.filling, batch);
        state.in_flight_lines = mem::take(&mut state.filling_lines);
        // Behind what was taken before: there was no room after it.
        if let Some(line) = state.dropped.take_line() {
            line.write(batch);
            state.in_flight_lines += 1;
        }
        state.in_flight_bytes = batch.len();
        true
    }

    /// Writes it to the end, however long the file refuses.
    fn write(&self, out: &mut dyn Out, mut rest: &[u8]) -> Result<(), Closed> {
        let mut pause = RETRY_FIRST;
        while !rest.is_empty() {
            match out.write(rest) {
                Ok(written) if written > 0 => {
                    rest = &rest[written..];
                    pause = RETRY_FIRST;
                    let mut state = self.state();
                    state.in_flight_bytes = rest.len();
                    state.error = None;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(Closed),
                // Whoever shares the terminal or pipe with us made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    out.wait_until_writable()
                }
                Ok(_) => self.pause(&mut pause, &io::ErrorKind::WriteZero.into())?,
                Err(error) => self.pause(&mut pause, &error)?,
            }
        }
        Ok(())
    }

    /// After an error. Once the writer is gone and its last flush is over, there is nobody left to wait for.
    fn pause(&self, pause: &mut Duration, error: &io::Error) -> Result<(), Closed> {
        let mut state = self.state();
        state.error = Some(error.to_string());
        if state.is_closing && state.in_a_hurry == 0 {
            return Err(Closed);
        }
        let is_patient = |state: &State| state.in_a_hurry == 0 && !state.is_closing;
        let was_patient = is_patient(&state);
        let bound = if was_patient { *pause } else { RETRY_FIRST };
        drop(
            self.work
                .wait_timeout_while(state, bound, |state| !was_patient || is_patient(state)),
        );
        *pause = (*pause * 2).min(RETRY_MAX);
        Ok(())
    }
}

/// What the thread writes to. A write may be short.
trait Out: Write + Send {
    /// Whole lines follow, of so many bytes together.
    fn on_batch(&mut self, _bytes: usize) {}

    fn wait_until_writable(&self) {}
}

impl Out for File {
    fn wait_until_writable(&self) {
        let _ = poll(&mut [PollFd::new(self, PollFlags::OUT)], None);
    }
}

/// Past the buffer of [`io::stdout`], which would hide how much was written, but under its lock, so that whole lines
/// of the application and of the trail take turns.
struct OwnStdout;

impl Write for OwnStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stdout = io::stdout().lock();
        Ok(rustix::io::write(stdout.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Out for OwnStdout {
    fn wait_until_writable(&self) {
        let _ = poll(&mut [PollFd::new(&io::stdout(), PollFlags::OUT)], None);
    }
}

/// The file, and whether a process that was killed left half a line at its end.
fn open_file(path: &Path) -> io::Result<(File, bool)> {
    let file = OpenOptions::new().append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let mut last = [b'\n'];
    if length > 0 && file.metadata()?.is_file() {
        // A file that may be written but not read is taken as it is.
        let _ = File::open(path).and_then(|file| file.read_at(&mut last, length - 1));
    }
    Ok((file, last != [b'\n']))
}

#[cfg(test)]
mod tests;
