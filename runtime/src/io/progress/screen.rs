//! The last row of a terminal, kept for one line while all else scrolls above it.
//!
//! Whatever the application prints to the same terminal goes on undisturbed: the scrolling region (DECSTBM) ends one row
//! above the line, and the cursor is put back where it was. Each change is one write.

use std::io::Write;
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::getpgrp;
use rustix::stdio::stderr;
use rustix::termios::{tcgetpgrp, tcgetwinsize};

/// A terminal with fewer rows has none to spare.
const ROWS_MIN: u16 = 4;
/// One with fewer columns has no room for a line.
const COLUMNS_MIN: u16 = 20;

/// The rows of the terminal while its last one is kept; 0 while it is not.
static KEPT: AtomicU16 = AtomicU16::new(0);

/// The terminal that standard error is.
pub(super) struct Screen {
    columns: u16,
    drawn: String,
}

impl Screen {
    /// Keeps no row yet. A process that ends by `exit` gives the row back.
    pub(super) fn new() -> Self {
        // SAFETY: the function is of this program, and lives as long as it.
        unsafe { libc::atexit(give_back_at_exit) };
        Screen {
            columns: 0,
            drawn: String::new(),
        }
    }

    /// The widest line that can be shown now; `None`: the process is in the background, or the terminal too small.
    pub(super) fn width(&self) -> Option<usize> {
        let (_, columns) = size()?;
        // The last column is left alone: some terminals wrap there at once.
        Some(usize::from(columns) - 1)
    }

    /// Shows the line instead of the one before, or gives the row back where there is no room for it.
    pub(super) fn show(&mut self, line: &str) {
        let Some((rows, columns)) = size() else {
            self.drawn.clear();
            return give_back();
        };
        let mut text = String::new();
        let before = KEPT.swap(rows, Ordering::Relaxed);
        if (before, self.columns) != (rows, columns) {
            if before != 0 {
                text.push_str("\x1b7\x1b[r\x1b8");
            }
            // Down by a row, which scrolls where there is none below, so that the cursor is in the region; and back.
            text.push_str(&format!("\x1bD\x1b7\x1b[1;{}r\x1b8\x1b[A", rows - 1));
            self.columns = columns;
            self.drawn.clear();
        }
        if self.drawn != line {
            text.push_str(&format!("\x1b7\x1b[{rows};1H\x1b[2K{line}\x1b8"));
            self.drawn = line.to_owned();
        }
        write(&text);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Rows and columns, where a line can be shown.
fn size() -> Option<(u16, u16)> {
    // A terminal that is not this session's own has no foreground that one could be out of.
    let is_foreground = tcgetpgrp(stderr()).map_or(true, |group| group == getpgrp());
    let size = tcgetwinsize(stderr()).ok()?;
    let has_room = size.ws_row >= ROWS_MIN && size.ws_col >= COLUMNS_MIN;
    (is_foreground && has_room).then_some((size.ws_row, size.ws_col))
}

/// The whole terminal scrolls again.
fn give_back() {
    let rows = KEPT.swap(0, Ordering::Relaxed);
    if rows != 0 {
        write(&format!("\x1b7\x1b[r\x1b[{rows};1H\x1b[2K\x1b8"));
    }
}

extern "C" fn give_back_at_exit() {
    give_back();
}

fn write(text: &str) {
    // Nobody may be reading; that is no reason to fail.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
