//! What an operator does with a run: watch it, ask it, stop it, start it again in the same folder; take jobs away; and
//! what becomes of jobs that fail at once, again and again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::{DEADLINE, Dir, facts, program, run, signal, wait_for, wait_within};

/// What these stories need of a batch system.
pub(crate) struct System<'a> {
    pub(crate) name: &'a str,
    /// Options of `ringmw submit` that its jobs need.
    pub(crate) options: &'a [&'a str],
    /// The run's jobs that have not left the queue, held ones too.
    pub(crate) left: &'a dyn Fn(&Dir) -> usize,
    /// Why jobs of it are held, a line each; on Slurm the comment of those that wait for a later time too.
    pub(crate) held: &'a dyn Fn(&Dir) -> String,
    /// Starts held jobs of it again.
    pub(crate) release: &'a dyn Fn(&Dir),
    /// Its slaves work in folders below this one.
    pub(crate) slaves_below: &'a dyn Fn(&Dir) -> PathBuf,
}

const SLAVES: [&str; 2] = ["--slaves", "4"];
/// Longer than any story.
const LONG: [&str; 2] = ["--seconds", "3000"];

fn told(dir: &Dir) -> String {
    dir.told() + &dir.trail() + &dir.all("slave", "")
}

/// The last of the master's processes, once there have been so many.
fn master(dir: &Dir, lives: usize) -> String {
    wait_for(
        "the master's life",
        || told(dir),
        || {
            let trail = dir.trail();
            let pids = facts(&trail, "init", "pid");
            let is_ready = trail.matches(" ready ").count() >= lives;
            (pids.len() >= lives && is_ready).then(|| pids[lives - 1].to_owned())
        },
    )
}

fn slaves_came(dir: &Dir, count: usize) {
    wait_for(
        "slaves",
        || told(dir),
        || (facts(&dir.trail(), "connected", "job").len() >= count).then_some(()),
    );
}

fn nothing_is_left(dir: &Dir, system: &System<'_>) {
    wait_for(
        "an empty queue",
        || told(dir),
        || ((system.left)(dir) == 0).then_some(()),
    );
    let file = dir.read(&format!("{}.rsc", dir.1));
    assert!(file.contains("(:computation-status :finished)"), "{file}");
    no_slave_is_left(&(system.slaves_below)(dir));
    // What counts ends in a row, and what is written aside.
    let is_left = |name: &str| {
        [".starts", ".in-vain", ".new"]
            .iter()
            .any(|end| name.ends_with(end))
    };
    let files = std::fs::read_dir(&dir.0).expect("it is there");
    let names = files.map(|file| {
        file.expect("ours")
            .file_name()
            .to_string_lossy()
            .into_owned()
    });
    let left: Vec<String> = names.filter(|name| is_left(name)).collect();
    assert!(left.is_empty(), "files are left: {left:?}");
}

/// A process that its job has left may take a moment to be gone.
pub(crate) fn no_slave_is_left(below: &Path) {
    wait_for(
        "the last slave's end",
        || format!("{:?}", crate::slave_pids(below)),
        || crate::slave_pids(below).is_empty().then_some(()),
    );
}

/// `ringmw COMMAND DIR ..`: whether it succeeded, and what it printed.
pub(crate) fn ringmw(dir: &Dir, args: &[&str]) -> (bool, String) {
    let output = Command::new(program("ringmw"))
        .args(args)
        .current_dir(&dir.0)
        .output()
        .expect("ringmw runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Start, watch, ask, a second start that is refused, stop, and start again in the same folder.
pub(crate) fn a_run_is_watched_stopped_and_started_again(dir: &Dir, system: &System<'_>) {
    let options = [&SLAVES[..], system.options].concat();
    dir.submit(system.name, &options, &LONG);
    slaves_came(dir, 4);
    let here = dir.0.display().to_string();
    let top = run(&dir.0, program("ringmw"), &["top", &here, "--once"]);
    // By its own name, not by that under which a batch system runs it.
    assert!(top.starts_with(dir.1) && top.contains(" slaves"), "{top}");
    let why = run(&dir.0, program("ringmw"), &["why", &here, "SLAVE-1"]);
    assert!(why.contains("SLAVE-1"), "{why}");
    let binary = program(dir.1);
    let again = [
        "submit",
        system.name,
        "--binary",
        &binary,
        "--slaves",
        "1",
        "--dir",
        &here,
    ];
    let (done, text) = ringmw(dir, &again);
    assert!(!done, "{text}");
    let other = format!("{here}-2");
    assert!(
        text.contains("still goes on") && text.contains(&other),
        "{text}"
    );
    let (done, text) = ringmw(dir, &["stop", &here]);
    assert!(done, "{text}");
    nothing_is_left(dir, system);
    assert!(dir.trail().contains(" exit code=0"), "{}", dir.trail());
    // Again, in the same folder: short now, to its end.
    dir.submit(system.name, &options, &["--seconds", "1"]);
    nothing_is_left(dir, system);
    assert!(dir.told().contains("the sum of"), "{}", told(dir));
}

/// A master that is killed five times at once is held, and says why; released, it goes on.
pub(crate) fn a_master_that_aborts_is_held(dir: &Dir, system: &System<'_>) {
    let options = [&["--slaves", "0"][..], system.options].concat();
    dir.submit(system.name, &options, &LONG);
    for life in 1..=5 {
        signal(&master(dir, life), "KILL");
    }
    let reason = wait_for(
        "a held master",
        || told(dir),
        || Some((system.held)(dir)).filter(|held| held.contains("aborted 5 times")),
    );
    assert!(reason.contains("within a minute of its start"), "{reason}");
    assert!(dir.told().contains("5 times in a row"), "{}", dir.told());
    assert_eq!(facts(&dir.trail(), "init", "pid").len(), 5, "no sixth life");
    (system.release)(dir);
    master(dir, 6);
    let (done, text) = ringmw(dir, &["stop", &dir.0.display().to_string()]);
    assert!(done, "{text}");
    nothing_is_left(dir, system);
}

/// A slave that the master refuses is held the tenth time; it is released by itself, and finds the run finished.
pub(crate) fn a_slave_that_is_refused_is_held(dir: &Dir, system: &System<'_>) {
    let wrong = ["--slaves", "1", "--slave-flag=--mw-member-id=another-run"];
    let options = [&wrong[..], system.options].concat();
    dir.submit(system.name, &options, &LONG);
    let reason = wait_for(
        "a held slave",
        || told(dir),
        || Some((system.held)(dir)).filter(|held| held.contains("without having ended a task")),
    );
    assert!(reason.contains("times in a row"), "{reason}");
    let refused = dir.trail().matches(" refused ").count();
    assert_eq!(refused, 10, "{}", dir.trail());
    let (done, text) = ringmw(dir, &["stop", &dir.0.display().to_string()]);
    assert!(done, "{text}");
    // After its pause, of a minute.
    nothing_is_left(dir, system);
}

/// So long a master is down, at least.
fn down_for() -> Duration {
    let told = std::env::var("RINGMW_POOLS_DOWN_S").ok();
    let seconds = told.map(|told| told.parse().expect("RINGMW_POOLS_DOWN_S is a number"));
    Duration::from_secs(seconds.unwrap_or(0))
}

/// The longest that a slave waits before it looks again, which a long absence leads to: then its job begins anew.
const LOOKS_AGAIN: Duration = Duration::from_secs(400);

/// The master is down for a while, its slaves are started meanwhile, and all come back.
pub(crate) fn a_pool_whose_master_is_down_comes_back(
    dir: &Dir,
    system: &System<'_>,
    down: &dyn Fn(),
    up: &dyn Fn(),
) {
    let options = [&SLAVES[..], system.options].concat();
    dir.submit(system.name, &options, &["--seconds", "10"]);
    slaves_came(dir, 4);
    down();
    // Each has lost its master, has been started again, and has found nobody.
    wait_for(
        "slaves that wait",
        || told(dir),
        || (dir.all("slave", "").matches("It tries again").count() >= 4).then_some(()),
    );
    std::thread::sleep(down_for());
    assert!((system.held)(dir).lines().count() <= 1, "no slave is held");
    up();
    let bound = DEADLINE + down_for().min(LOOKS_AGAIN);
    wait_within(
        bound,
        "slaves that come back",
        || told(dir),
        || (facts(&dir.trail(), "connected", "job").len() >= 8).then_some(()),
    );
    nothing_is_left(dir, system);
    assert!(dir.told().contains("the sum of"), "{}", told(dir));
}

/// The whole run is taken away at once, as by its name: the file says finished, and nothing is left.
pub(crate) fn everything_is_taken_away(dir: &Dir, system: &System<'_>, remove: &dyn Fn()) {
    let options = [&SLAVES[..], system.options].concat();
    dir.submit(system.name, &options, &LONG);
    slaves_came(dir, 4);
    remove();
    nothing_is_left(dir, system);
}

/// Slaves are taken away, and the rest goes on; then the master's job, and all leave.
pub(crate) fn jobs_are_taken_away(
    dir: &Dir,
    system: &System<'_>,
    remove: &dyn Fn(&str),
    master_job: &dyn Fn() -> String,
) {
    let options = [&SLAVES[..], system.options].concat();
    dir.submit(system.name, &options, &LONG);
    slaves_came(dir, 4);
    let trail = dir.trail();
    for job in &facts(&trail, "connected", "job")[..2] {
        let (_, id) = job.split_once('.').expect("condor.17.0, slurm.17_1");
        remove(id);
    }
    wait_for(
        "three jobs in the queue",
        || told(dir),
        || ((system.left)(dir) == 3).then_some(()),
    );
    remove(&master_job());
    nothing_is_left(dir, system);
    // Of a master that left for good its slaves leave with 0.
    assert!(
        dir.trail().contains(" exit code=0"),
        "it was stopped: {}",
        dir.trail()
    );
}
