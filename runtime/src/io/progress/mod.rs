//! The progress line: on a terminal its last row, elsewhere a line every ten seconds in which something happened.
//!
//! ```text
//!   master's thread ── figures, four times a second at most ──► thread ──► standard error
//! ```
//!
//! A terminal that does not take what it is sent (Ctrl-S) never holds the master: figures that the thread has no room for
//! are dropped. While the master's thread says nothing, the line says for how long.

mod line;
mod screen;

use std::io;
use std::sync::mpsc::{
    Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel,
};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::Nanos;

pub(crate) use line::Figures;

use line::{Pace, line, summary};
use screen::Screen;

use crate::io::terminal::complain;
use crate::proto::printable::printable;

const SECOND: Nanos = 1_000_000_000;

/// A run that is over sooner has no line.
const FIRST_AFTER: Nanos = SECOND;
/// Between two looks at the run.
const EVERY: Nanos = SECOND / 4;
/// Between two plain lines.
const PLAIN_EVERY: Nanos = 10 * SECOND;
/// For so long a silent master's thread is no news.
const HELD_FROM: Duration = Duration::from_secs(2);
/// How often the thread looks for that.
const TICK: Duration = Duration::from_secs(1);
/// How long the end of a run waits for its last line to be taken.
const END_BOUND: Duration = Duration::from_millis(500);

/// Where the line is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// On the last row of the terminal that standard error is.
    Screen,
    /// As lines of standard error.
    Plain,
}

/// The master's side. Dropping it, or the end of the process, gives the terminal back as it was.
pub(crate) struct Progress {
    figures: Option<SyncSender<Figures>>,
    next: Nanos,
    is_over: Receiver<()>,
}

impl Progress {
    /// `local` is how many slaves local mode has started, 0 elsewhere.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(form: Form, name: String, local: u64) -> io::Result<Self> {
        let (figures, inbox) = sync_channel(1);
        let (over, is_over) = channel();
        thread::Builder::new()
            .name("ringmw-progress".to_owned())
            .spawn(move || {
                let show = Show {
                    name: printable(&name),
                    local,
                    pace: Pace::default(),
                    screen: (form == Form::Screen).then(Screen::new),
                    plain_at: PLAIN_EVERY,
                    said: String::new(),
                };
                show.run(&inbox);
                // Whoever waits may be gone.
                let _ = over.send(());
            })?;
        Ok(Progress {
            figures: Some(figures),
            next: FIRST_AFTER,
            is_over,
        })
    }

    /// When the figures are wanted again.
    pub(crate) fn deadline(&self) -> Nanos {
        self.next
    }

    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        now >= self.next
    }

    pub(crate) fn tell(&mut self, figures: Figures) {
        self.next = figures.at + EVERY;
        if let Some(sender) = &self.figures {
            // Full: the terminal is slow, and the next ones will be newer.
            let _ = sender.try_send(figures);
        }
    }

    /// The run is over, and these are its last figures.
    pub(crate) fn finish(mut self, figures: Figures) {
        let Some(sender) = self.figures.take_if(|_| figures.at >= FIRST_AFTER) else {
            return;
        };
        let by = Instant::now() + END_BOUND;
        let mut unsent = sender.try_send(figures);
        while let Err(TrySendError::Full(figures)) = unsent
            && Instant::now() < by
        {
            thread::sleep(Duration::from_millis(5));
            unsent = sender.try_send(figures);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.figures.take());
        let _ = self.is_over.recv_timeout(END_BOUND);
    }
}

struct Show {
    name: String,
    local: u64,
    pace: Pace,
    screen: Option<Screen>,
    /// When the next plain line is due.
    plain_at: Nanos,
    /// The last plain line.
    said: String,
}

impl Show {
    fn run(mut self, inbox: &Receiver<Figures>) {
        let mut latest: Option<(Figures, Instant)> = None;
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(figures) => {
                    self.pace.on_figures(&figures);
                    self.show(&figures, Duration::ZERO);
                    latest = Some((figures, Instant::now()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    if let Some((figures, at)) = &latest {
                        self.show(figures, at.elapsed());
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        drop(self.screen.take());
        // The last word stays, with all that went wrong.
        if let Some((figures, _)) = latest {
            complain(&self.name, &summary(&figures));
        }
    }

    fn show(&mut self, figures: &Figures, silent: Duration) {
        let held = match silent >= HELD_FROM {
            true => silent.as_secs(),
            false => 0,
        };
        if let Some(screen) = &mut self.screen {
            let width = screen.width().unwrap_or(0);
            let room = width.saturating_sub(self.name.chars().count() + 2);
            let text = line(figures, &self.pace, self.local, held, room);
            let text: String = format!("{}: {text}", self.name)
                .chars()
                .take(width)
                .collect();
            return screen.show(&text);
        }
        let silent = Nanos::try_from(silent.as_nanos()).unwrap_or(Nanos::MAX);
        let now = figures.at.saturating_add(silent);
        if now >= self.plain_at {
            self.plain_at = now + PLAIN_EVERY;
            let text = line(figures, &self.pace, self.local, held, usize::MAX);
            if text != self.said {
                complain(&self.name, &text);
                self.said = text;
            }
        }
    }
}
