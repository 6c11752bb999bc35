//! Questions that operators have, asked by `ringmw why` of real runs with real slaves: each answer says what there is to
//! know, in one screen of 24 lines of 80 columns.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use ringmw_codec::audit::Event;
use rustix::process::Signal;

use crate::app::SICK;
use crate::process::Process;
use crate::support::{PATIENCE, until};

/// A terminal's rows, without the one of the next prompt.
const ROWS_MAX: usize = 23;
const COLUMNS: usize = 80;

type Question = (&'static str, fn());

pub(crate) const ALL: &[Question] = &[
    ("queued_behind_what", queued_behind_what),
    ("which_slaves_could_run_it", which_slaves_could_run_it),
    ("how_it_ended_when_and_where", how_it_ended_when_and_where),
    ("why_a_slave_was_dropped", why_a_slave_was_dropped),
    ("desired_and_not_connected", desired_and_not_connected),
    ("why_a_slave_gets_no_work", why_a_slave_gets_no_work),
    ("a_label_that_nobody_has", a_label_that_nobody_has),
    ("reserved", reserved),
    ("not_begun_in_time", not_begun_in_time),
    ("poisoned", poisoned),
    ("the_master_is_held", the_master_is_held),
    (
        "a_run_that_only_this_machine_reaches",
        a_run_that_only_this_machine_reaches,
    ),
];

struct Run {
    dir: tempfile::TempDir,
    master: Process,
    slaves: Vec<Process>,
}

impl Run {
    /// A master at its story, over a secret as always.
    fn of(story: &str, flags: &[&str]) -> Run {
        let dir = tempfile::tempdir().expect("a folder");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (file, gate) = (path("app.rsc"), path("gate"));
        let args = [
            "--story",
            story,
            "--gate",
            &gate,
            "--mw-resource-file",
            &file,
        ];
        let master = Process::master(dir.path(), &[&args, flags].concat());
        let run = Run {
            dir,
            master,
            slaves: Vec::new(),
        };
        until("the resource file", || run.file().exists().then_some(()));
        run
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("app.rsc")
    }

    /// One more slave, which has come.
    fn join(&mut self, args: &[&str]) {
        let file = self.file().display().to_string();
        let to = ["--mw-slave", "--mw-resource-file", &file];
        let nth = self.slaves.len();
        let args = [&to, args].concat();
        let slave = Process::start(self.dir.path(), &format!("slave-{nth}"), &args);
        self.slaves.push(slave);
        self.master
            .await_count("the slave to come", nth + 1, |event| {
                matches!(event, Event::Connected { .. })
            });
    }

    /// `ringmw why`: whether anything was known, and what it said.
    fn why(&self, about: &str) -> (bool, String) {
        let told = Command::new(env!("CARGO_BIN_EXE_ringmw"))
            .arg("why")
            .args([self.dir.path(), about.as_ref()])
            .arg("--trail")
            .arg(self.dir.path().join("master.trail"))
            .output()
            .expect("it runs");
        let text = [told.stdout, told.stderr].concat();
        let text = String::from_utf8(text).expect("text");
        (told.status.success(), text)
    }

    /// Asks until the answer has all of these words; it is known then, and one screen.
    fn answers(&self, about: &str, words: &[&str]) {
        let patience = Instant::now() + PATIENCE;
        let (is_known, last) = loop {
            let (is_known, text) = self.why(about);
            let Some(missing) = words.iter().find(|word| !text.contains(**word)) else {
                break (is_known, text);
            };
            assert!(
                Instant::now() < patience,
                "{about}: no {missing:?} in\n{text}\n{}",
                self.master.stderr()
            );
        };
        assert!(is_known, "{about}:\n{last}");
        let rows: usize = last
            .lines()
            .map(|line| line.chars().count().div_ceil(COLUMNS).max(1))
            .sum();
        assert!(rows <= ROWS_MAX, "{about}: {rows} rows\n{last}");
        eprintln!("$ ringmw why . {about}\n{last}");
    }
}

fn queued_behind_what() {
    let mut run = Run::of("queued", &[]);
    run.join(&[]);
    let words = [
        "TASK-39 of pine waits in the master's queue",
        "submitted before it wait as well",
        "any slave may run it that takes unordered tasks",
        "1 slave is busy",
        "the longest at its task is SLAVE-0, for ",
    ];
    run.answers("TASK-39", &words);
}

fn which_slaves_could_run_it() {
    let mut run = Run::of("labels", &[]);
    run.join(&["--mw-slave-label", "gpu"]);
    run.join(&[]);
    let words = [
        "has the labels gpu (--mw-slave-label)",
        "1 slave is busy",
        "1 slave is without the labels that it needs",
        "the longest at its task is SLAVE-0",
    ];
    run.answers("TASK-4", &words);
}

fn how_it_ended_when_and_where() {
    let mut run = Run::of("queued", &[]);
    run.join(&[]);
    std::fs::write(run.dir.path().join("gate"), "").expect("written");
    let words = [
        "TASK-0 of pine has ended with a result, ",
        " ago",
        "SLAVE-0 on ",
        "computed it",
    ];
    run.answers("TASK-0", &words);
}

fn why_a_slave_was_dropped() {
    let mut run = Run::of("queued", &[]);
    run.join(&[]);
    run.answers("SLAVE-0", &["TASK-0 first, for"]);
    run.slaves[0].signal(Signal::KILL);
    let words = ["SLAVE-0 on ", "was lost ", "went to other slaves", "gave 0"];
    run.answers("SLAVE-0", &words);
    // Its task waits again, and says what it has cost.
    run.answers("TASK-0", &["waits in the master's queue"]);
}

fn desired_and_not_connected() {
    let run = Run::of("missing", &[]);
    let words = ["no slave is connected; 3 are desired, and have been missing for "];
    run.answers("TASK-0", &words);
}

fn why_a_slave_gets_no_work() {
    let mut run = Run::of("sick", &["--mw-slave-task-group", "1"]);
    run.join(&[SICK]);
    (0..3).for_each(|_| run.join(&[]));
    let words = [
        "in quarantine for ",
        "tasks of choosy fail and succeed elsewhere",
        "(--mw-quarantine)",
    ];
    run.answers("SLAVE-0", &words);
}

fn a_label_that_nobody_has() {
    let mut run = Run::of("nobody", &[]);
    run.join(&["--mw-slave-label", "site=cern"]);
    let words = [
        "has the labels site=fermi (--mw-slave-label)",
        "1 slave is without the labels that it needs",
    ];
    run.answers("TASK-0", &words);
}

fn reserved() {
    let mut run = Run::of("reserved", &[]);
    run.join(&[]);
    run.answers("SLAVE-0", &["it is reserved, and nothing is given to it"]);
    let words = ["waits in the master's queue", "1 slave is reserved"];
    run.answers("TASK-0", &words);
}

fn not_begun_in_time() {
    let run = Run::of("late", &[]);
    let words = [
        "TASK-0 of pine is unrunnable: no slave had room for it within 10ms",
        " ago",
    ];
    run.answers("TASK-0", &words);
}

fn poisoned() {
    let mut run = Run::of("poison", &["--mw-crash-limit", "1"]);
    run.join(&[]);
    let words = ["TASK-0 of deadly is unrunnable: ", "--mw-crash-limit"];
    run.answers("TASK-0", &words);
}

/// The trail answers for it.
fn the_master_is_held() {
    let mut run = Run::of("held", &["--mw-crash-limit", "1"]);
    run.join(&[]);
    let words = [
        "the master algorithm has held the master's thread for ",
        "master.trail:",
        "unrunnable task=TASK-0",
    ];
    run.answers("TASK-0", &words);
}

/// It would write a file that is of no use elsewhere: it says so, once, with the flag.
fn a_run_that_only_this_machine_reaches() {
    let run = Run::of("missing", &[]);
    let told = until("the warning", || {
        let told = run.master.stderr();
        told.contains('\n').then_some(told)
    });
    assert_eq!(
        told.matches("--mw-master-host 127.0.0.1: ").count(),
        1,
        "{told}"
    );
    assert!(told.contains("slaves of other machines"), "{told}");
}
