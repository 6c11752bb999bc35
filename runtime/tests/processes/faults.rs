//! Disks and network file systems that refuse: told once, counted, and the run goes on.
//!
//! A library that is preloaded has the master's file operations fail, or hang, while the tests say so
//! (`support/faults.c`).

use std::path::{Path, PathBuf};
use std::process::Command;

use ringmw_codec::audit::Event;

use crate::app::dir;
use crate::process::Process;
use crate::support::until;

/// The library, and its rules.
struct Faults {
    library: PathBuf,
    rules: PathBuf,
}

impl Faults {
    fn build(dir: &Path) -> Self {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/faults.c");
        let library = dir.join("faults.so");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([library.as_path(), Path::new(source)])
            .arg("-ldl")
            .output()
            .expect("there is a C compiler");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let rules = dir.join("rules");
        Faults { library, rules }
    }

    /// From here on these operations are refused or held, and no others.
    fn set(&self, rules: &[&str]) {
        let new = self.rules.with_extension("new");
        std::fs::write(&new, rules.join("\n")).unwrap();
        std::fs::rename(new, &self.rules).unwrap();
    }

    /// What was refused, held or released.
    fn log(&self) -> String {
        let mut path = self.rules.clone().into_os_string();
        path.push(".log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn master(&self, dir: &Path, args: &[&str]) -> Process {
        Process::master_with(dir, args, |command| {
            command
                .env("LD_PRELOAD", &self.library)
                .env("RINGMW_TEST_FAULTS", &self.rules);
        })
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn taken(events: &[Event]) -> u64 {
    let results = events.iter().map(|event| match event {
        Event::ResultsReceived { results, .. } | Event::Packets { results, .. } => *results,
        _ => 0,
    });
    results.sum()
}

fn troubles(events: &[Event]) -> Vec<String> {
    let troubles = events.iter().filter_map(|event| match event {
        Event::JournalTrouble { error } => Some(error.clone()),
        _ => None,
    });
    troubles.collect()
}

fn written(events: &[Event]) -> Vec<u64> {
    let written = events.iter().filter_map(|event| match event {
        Event::JournalWritten { unrecorded } => Some(*unrecorded),
        _ => None,
    });
    written.collect()
}

fn recorded(events: &[Event]) -> Option<(u64, u64)> {
    events.iter().rev().find_map(|event| match event {
        Event::JournalRead {
            results, damaged, ..
        } => Some((*results, *damaged)),
        _ => None,
    })
}

/// Of a master that has ended: the number of squares that it printed.
fn squares(master: &Process) -> u64 {
    let out = master.stdout();
    out.split(' ').next().unwrap().parse().unwrap()
}

/// One operation after the other is refused for a while: each time one line says it and one that it is over, results come
/// meanwhile, and in the end all are recorded.
pub(crate) fn a_journal_on_a_disk_that_refuses() {
    let dir = dir();
    let faults = Faults::build(dir.path());
    let (journal, over) = (dir.path().join("journal"), dir.path().join("over"));
    let args = [
        "--mw-journal",
        text(&journal),
        "--mw-audit-level",
        "packets",
        "--mw-slave-task-group",
        "4",
        "--nap",
        "2",
        "--until",
        text(&over),
    ];
    let mut master = faults.master(dir.path(), &args);
    let address = master.address();
    let mut slaves: Vec<_> = (0..2)
        .map(|n| Process::slave(dir.path(), &format!("slave-{n}"), &address))
        .collect();
    let goes_on = || {
        let before = taken(&master.events());
        until("results meanwhile", || {
            (taken(&master.events()) >= before + 40).then_some(())
        });
    };
    goes_on();
    let (enospc, eio) = ("No space left on device", "Input/output error");
    let (estale, enolck) = ("Stale file handle", "No locks available");
    let rows: &[(&[&str], &str)] = &[
        (&["write .journal 28"], enospc),
        // What is written half cannot be taken back: another segment.
        (&["write .journal 5", "truncate .journal 5"], eio),
        (&["sync .journal 116"], estale),
        // Nor can that one be made.
        (&["sync .journal 5", "create .journal 28"], enospc),
        (&["sync .journal 116", "opendir /journal 116"], estale),
        (&["write .journal 122"], "Disk quota exceeded"),
        (&["write .journal 37"], enolck),
    ];
    for (row, (rules, _)) in rows.iter().enumerate() {
        faults.set(rules);
        until("the trouble", || {
            (troubles(&master.events()).len() > row).then_some(())
        });
        goes_on();
        faults.set(&[]);
        until("the end of the trouble", || {
            (written(&master.events()).len() > row).then_some(())
        });
    }
    // No lock is ever asked for, nor is a link.
    faults.set(&["lock / 37", "link / 95"]);
    goes_on();
    std::fs::write(&over, "").unwrap();
    master.expect_exit(0);
    slaves.iter_mut().for_each(|slave| {
        slave.expect_exit(0);
    });
    let events = master.events();
    let told = troubles(&events);
    assert_eq!(told.len(), rows.len(), "each is told once: {told:?}");
    for (told, (rules, word)) in told.iter().zip(rows) {
        let last = rules.last().unwrap();
        assert!(
            told.contains(word) || last.starts_with("create"),
            "{rules:?}: {told}"
        );
    }
    assert_eq!(written(&events), vec![0; rows.len()]);
    assert!(!faults.log().contains(" lock "), "{}", faults.log());

    let squares = squares(&master);
    let last = Process::master(dir.path(), &args);
    let found = until("what is recorded", || recorded(&last.events()));
    assert_eq!(found, (squares, 0));
}

/// Two hundred tasks of a run with this journal.
fn two_hundred(journal: &Path) -> [&str; 8] {
    [
        "--mw-journal",
        text(journal),
        "--mw-seed",
        "42",
        // Where all is known none is awaited.
        "--slaves",
        "0",
        "--outlive",
        "200",
    ]
}

/// It stays full to the end: the answer is there, and what is lost is told and computed again.
pub(crate) fn a_journal_on_a_disk_that_stays_full() {
    let dir = dir();
    let faults = Faults::build(dir.path());
    let journal = dir.path().join("journal");
    let args = two_hundred(&journal);
    let life = |event: &Event| matches!(event, Event::Life { .. }).then_some(());
    let run = |rules: &[&str], is_reading: bool| {
        faults.set(if is_reading { rules } else { &[] });
        let mut master = faults.master(dir.path(), &args);
        let address = master.address();
        master.await_event("its life", life);
        faults.set(rules);
        let mut slaves: Vec<_> = (0..4)
            .map(|n| Process::slave(dir.path(), &format!("slave-{n}"), &address))
            .collect();
        master.expect_exit(0);
        // One that comes when all was known finds nobody.
        slaves.iter_mut().for_each(|slave| {
            slave.exit();
        });
        (master.stdout(), master.events())
    };
    let (answer, events) = run(&["create .journal 28", "write .journal 28"], false);
    assert_eq!(answer.lines().count(), 1, "{answer}");
    let told = troubles(&events);
    assert!(told[0].contains("No space left"), "{told:?}");
    assert!(
        told.len() == 2 && told[1].contains("not on disk") && told[1].contains("given up"),
        "{told:?}"
    );
    // The next life writes, of which each output can be read; the one after it cannot read one.
    assert_eq!(run(&[], false).0, answer);
    let (again, events) = run(&["read .journal 116"], true);
    assert_eq!(again, answer);
    let unread = events.iter().find_map(|event| match event {
        Event::JournalRead { unread, .. } => Some(unread.clone()),
        _ => None,
    });
    let unread = unread.expect("it says what it has read");
    assert!(
        unread.len() >= 2 && unread.iter().any(|name| name.contains("Stale file handle")),
        "{unread:?}"
    );
    let (last, events) = run(&[], false);
    assert_eq!((last, taken(&events)), (answer, 0), "all is known");
}

/// The first write hangs: the whole run is computed and told meanwhile.
pub(crate) fn a_journal_on_a_disk_that_hangs(engine: &str) {
    let dir = dir();
    let faults = Faults::build(dir.path());
    let journal = dir.path().join("journal");
    let args = [&["--mw-engine", engine], &two_hundred(&journal)[..]].concat();
    let mut master = faults.master(dir.path(), &args);
    let address = master.address();
    let life = |event: &Event| matches!(event, Event::Life { .. }).then_some(());
    master.await_event("its life", life);
    faults.set(&["write .journal 0"]);
    let mut slaves: Vec<_> = (0..4)
        .map(|n| Process::slave(dir.path(), &format!("slave-{n}"), &address))
        .collect();
    until("the answer", || (!master.stdout().is_empty()).then_some(()));
    let held = faults.log();
    assert_eq!(
        (
            held.matches("held").count(),
            held.matches("released").count()
        ),
        (1, 0),
        "one write has begun, and not ended: {held}"
    );
    faults.set(&[]);
    master.expect_exit(0);
    slaves.iter_mut().for_each(|slave| {
        slave.expect_exit(0);
    });
    let answer = master.stdout();
    assert_eq!(troubles(&master.events()), Vec::<String>::new());
    let mut last = Process::master(dir.path(), &args);
    last.expect_exit(0);
    assert_eq!(last.stdout(), answer, "from the journal alone");
}

/// A journal that cannot be begun is refused before anything is computed, in one line that names it.
pub(crate) fn a_journal_that_cannot_be_begun() {
    let dir = dir();
    let faults = Faults::build(dir.path());
    let journal = dir.path().join("journal");
    let args = ["--mw-journal", text(&journal)];
    let rows = [
        ("create .journal 28", "No space left on device"),
        ("write .journal 122", "Disk quota exceeded"),
        ("sync .journal 5", "Input/output error"),
        ("create /run 30", "Read-only file system"),
        ("rename /run 116", "Stale file handle"),
        ("opendir /journal 13", "Permission denied"),
    ];
    for (rule, word) in rows {
        faults.set(&[rule]);
        let mut master = faults.master(dir.path(), &args);
        master.expect_exit(255);
        let complaint = master.complaint();
        assert!(
            complaint.contains(word) && complaint.contains(text(&journal)),
            "{rule}: {complaint}"
        );
    }
    faults.set(&[]);
    let master = faults.master(dir.path(), &args);
    let life = |event: &Event| matches!(event, Event::Life { .. }).then_some(());
    master.await_event("its life", life);
}

/// A state that cannot be saved is the program's to know; the one before it stays.
pub(crate) fn a_state_on_a_disk_that_refuses() {
    let dir = dir();
    let faults = Faults::build(dir.path());
    let state = dir.path().join("state");
    let folder = dir.path().join("rules.d");
    std::fs::create_dir(&folder).unwrap();
    let args = [
        "--mw-state",
        text(&state),
        "--slaves",
        "0",
        "--saves",
        text(&folder),
    ];
    let mut master = faults.master(dir.path(), &args);
    let rows = [
        ("", "saved"),
        ("create /state 28", "No space left on device"),
        ("write /state 122", "Disk quota exceeded"),
        ("sync /state 116", "Stale file handle"),
        ("rename /state 5", "Input/output error"),
        // A file system without links: the generation before is copied.
        ("link /state 95", "saved"),
        ("lock / 37", "saved"),
    ];
    for (row, (rule, word)) in rows.iter().enumerate() {
        faults.set(&[rule]);
        std::fs::write(folder.join(row.to_string()), "").unwrap();
        let said = until("what it says", || {
            let out = master.stdout();
            let line = out.lines().nth(row)?;
            out.ends_with('\n').then(|| line.to_owned())
        });
        assert!(said.contains(word), "{rule}: {said}");
        assert!(*word == "saved" || said.contains(text(&state)), "{said}");
    }
    faults.set(&[]);
    std::fs::write(folder.join("over"), "").unwrap();
    master.expect_exit(0);
    assert_eq!(master.stdout().lines().last(), Some("restored 6"));
    let is_lock = |line: &str| line.contains(" lock ");
    assert!(!faults.log().lines().any(is_lock), "{}", faults.log());
    let left = |name: &std::ffi::OsString| {
        let name = name.to_string_lossy();
        name.starts_with("state.") && !["state.1", "state.run"].contains(&&*name)
    };
    let names = std::fs::read_dir(dir.path()).unwrap();
    let names: Vec<_> = names
        .map(|entry| entry.unwrap().file_name())
        .filter(left)
        .collect();
    assert!(names.is_empty(), "nothing is left half written: {names:?}");
}
