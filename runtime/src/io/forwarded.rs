//! Shows what slaves' logs say: lines of standard error, written by a thread of their own.
//!
//! A terminal or a pipe that takes nothing holds neither the master nor its slaves: a line that the thread has no room for
//! is left out, and counted.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::proto::printable::printable;

/// The most lines that wait for standard error to take them.
const LINES_MAX: usize = 1024;
/// How long the end of a run waits for its last lines to be taken.
const END_BOUND: Duration = Duration::from_millis(500);

/// The master's side.
pub(crate) struct Forwarded {
    name: String,
    lines: Option<SyncSender<String>>,
    /// Lines that there was no room for since the last one that there was.
    missed: u64,
    is_over: Receiver<()>,
}

impl Forwarded {
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(name: &str) -> io::Result<Self> {
        Self::to(name, io::stderr())
    }

    fn to(name: &str, mut shown: impl Write + Send + 'static) -> io::Result<Self> {
        let (lines, inbox) = sync_channel::<String>(LINES_MAX);
        let (over, is_over) = channel();
        thread::Builder::new()
            .name("ringmw-log".to_owned())
            .spawn(move || {
                for line in inbox {
                    // Nobody may be reading; that is no reason to fail.
                    let _ = shown.write_all(line.as_bytes());
                }
                // Whoever waits may be gone.
                let _ = over.send(());
            })?;
        Ok(Forwarded {
            name: printable(name),
            lines: Some(lines),
            missed: 0,
            is_over,
        })
    }

    /// Shows a line, as one that does nothing to a terminal.
    pub(crate) fn show(&mut self, line: &impl Display) {
        let Some(lines) = &self.lines else {
            return;
        };
        let mut text = String::new();
        if self.missed > 0 {
            text = format!(
                "{}: {} lines of slaves' logs are not shown: standard error takes no more\n",
                self.name, self.missed
            );
        }
        text += &format!("{}: {}\n", self.name, printable(&line.to_string()));
        match lines.try_send(text) {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.missed += 1,
        }
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        drop(self.lines.take());
        let _ = self.is_over.recv_timeout(END_BOUND);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Takes nothing while it is locked, and says whether it was given something.
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<Vec<u8>>>, Arc<AtomicBool>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.store(true, Ordering::Relaxed);
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_does_nothing_to_a_terminal() {
        let shown = Slow::default();
        let mut log = Forwarded::to("app", shown.clone()).unwrap();
        log.show(&"SLAVE-3 at n7: warn: \u{1b}[2Jtwo\nlines");
        drop(log);
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text, "app: SLAVE-3 at n7: warn: \\u{1b}[2Jtwo / lines\n");
    }

    /// The master goes on, and every line is shown or counted.
    #[test]
    fn who_takes_nothing_holds_nobody() {
        let shown = Slow::default();
        let held = shown.0.lock().unwrap();
        let mut log = Forwarded::to("app", shown.clone()).unwrap();
        log.show(&"the first");
        // From then on the thread takes no other.
        while !shown.1.load(Ordering::Relaxed) {
            thread::yield_now();
        }
        for line in 0..3_000 {
            log.show(&line);
        }
        assert_eq!(log.missed, 3_000 - LINES_MAX as u64);
        let missed = log.missed;
        drop(held);
        // There is room again once the thread has taken one.
        while log.missed > 0 {
            log.show(&"the last");
            thread::yield_now();
        }
        drop(log);
        let text = String::from_utf8(shown.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("app: the last\n"), "{text}");
        let told = text.lines().find_map(|line| {
            let count = line.strip_suffix(
                " lines of slaves' logs are not shown: standard error takes no more",
            )?;
            count.strip_prefix("app: ")?.parse::<u64>().ok()
        });
        assert!(
            told.is_some_and(|told| told >= missed),
            "{told:?}, {missed}"
        );
    }
}
