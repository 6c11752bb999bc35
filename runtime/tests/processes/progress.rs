//! The progress line: on a terminal its last row, elsewhere lines, and nothing where nobody asked.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::app::dir;
use crate::process::Process;

/// A run of a little more than two seconds, of which one task in sixty fails.
const RUN: [&str; 8] = [
    "--mw-local",
    "2",
    "--tasks",
    "60",
    "--misfortune",
    "hang",
    "--mw-task-timeout",
    "1500ms",
];

/// A terminal of 24 rows and this many columns: its own side, and that of programs.
fn terminal(columns: u16) -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("it is ours");
    unlockpt(&master).expect("it is ours");
    let name = ptsname(&master, Vec::new()).expect("it has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY;
    let slave = open(&*name, flags, Mode::empty()).expect("it is there");
    let size = Winsize {
        ws_row: 24,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&slave, size).expect("it has a size");
    (master, slave)
}

/// All that is written to a terminal while this runs, with these columns.
fn shown(columns: u16, args: &[&str]) -> String {
    let dir = dir();
    let (screen, side) = terminal(columns);
    let mut master = Process::start_with(dir.path(), "local", &[&RUN, args].concat(), |command| {
        command.stderr(side);
    });
    let reader = std::thread::spawn(move || {
        let (mut text, mut screen) = (Vec::new(), File::from(screen));
        // A terminal that all have closed is an error, not an end.
        let _ = screen.read_to_end(&mut text);
        String::from_utf8(text).expect("text")
    });
    master.expect_exit(0);
    reader.join().expect("read")
}

/// The lines that were shown on the last row, oldest first.
fn rows(shown: &str) -> Vec<&str> {
    let drawn = shown.split("\x1b[24;1H\x1b[2K").skip(1);
    let lines = drawn.filter_map(|rest| Some(rest.split_once("\x1b8")?.0));
    lines.filter(|line| !line.is_empty()).collect()
}

pub(crate) fn a_terminals_last_row_says_how_far_a_run_is() {
    let shown = shown(100, &[]);
    assert!(
        shown.contains("\x1b[1;23r"),
        "the rest scrolls above: {shown:?}"
    );
    let rows = rows(&shown);
    assert!(
        rows.iter()
            .any(|row| row.contains(" of 60 tasks done") && row.contains("2 slaves")),
        "{rows:?}"
    );
    assert!(rows.iter().all(|row| row.chars().count() < 100), "{rows:?}");
    // It gives the terminal back, and leaves one line with what went wrong.
    let (_, after) = shown.rsplit_once("\x1b[r").expect("given back");
    assert!(after.contains(": 59 tasks done, 1 failed in "), "{after:?}");
    assert!(!after.contains("\x1b[1;"), "{after:?}");
}

pub(crate) fn a_narrow_terminal_has_the_misfortunes_at_least() {
    let narrow = shown(60, &[]);
    let rows = rows(&narrow);
    assert!(!rows.is_empty(), "{narrow:?}");
    assert!(rows.iter().all(|row| row.chars().count() < 60), "{rows:?}");
}

pub(crate) fn progress_is_off_where_it_is_not_wanted() {
    let text = shown(100, &["--mw-progress", "off"]);
    assert!(!text.contains("tasks done"), "{text:?}");
    assert!(!text.contains('\x1b'), "{text:?}");
    // Neither by default where standard error is a file; asked for, it is lines there.
    for (args, lines) in [(&[][..], 0), (&["--mw-progress", "on"], 1)] {
        let dir = dir();
        let mut master = Process::start(dir.path(), "local", &[&RUN, args].concat());
        master.expect_exit(0);
        let stderr = master.stderr();
        let said: Vec<&str> = stderr
            .lines()
            .filter(|line| line.contains("tasks done"))
            .collect();
        assert_eq!(said.len(), lines, "{stderr}");
        assert!(
            said.iter()
                .all(|line| line.contains(": 59 tasks done, 1 failed in ")),
            "{stderr}"
        );
        assert!(!stderr.contains('\x1b'), "{stderr:?}");
    }
}
