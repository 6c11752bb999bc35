//! What is the same on all systems.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::{Dir, Process, jobs, program, run, signal, wait_for};

pub(crate) const PING: [&str; 6] = [
    "--mw-slave-task-group",
    "100",
    "--mw-slave-result-group",
    "100",
    "--tasks",
    "2000000",
];
pub(crate) const PINGED: &str = "2000000 of 2000000 answered ping-ok";

/// `ping` with submit files, as chapter 4 of CL-MW's manual has it: eight slaves.
pub(crate) fn ping_by_submit(dir: &Dir, system: &str, left: impl Fn() -> usize) {
    dir.submit(system, &["--slaves", "8", "--memory", "64"], &PING);
    wait_for(
        "an empty queue",
        || dir.told(),
        || (left() == 0).then_some(()),
    );
    pinged(dir, &format!("{system}."));
}

/// `ping` with eight slaves of an overseer, which are processes: each leaves with 0, none is left.
pub(crate) fn ping_by_overseer(dir: &Dir, system: &str, options: &[&str], job: &str) {
    let host = ["--mw-master-host", "127.0.0.1", "--mw-slaves-wanted", "8"];
    let mut master = dir.master(&[&host[..], &PING].concat());
    let mut overseer = dir.overseer(system, options);
    let code = overseer.end("the overseer", || dir.log() + &dir.told());
    let log = dir.log();
    assert_eq!(code, 0, "{log}");
    assert_eq!(master.end("the master", || dir.told()), 0, "{}", dir.told());
    pinged(dir, job);
    assert!(log.contains("submitted 8 jobs"), "{log}");
    assert!(!log.contains(" died on "), "every slave left with 0\n{log}");
    assert!(
        dir.status().contains("computation: finished"),
        "{}",
        dir.status()
    );
}

fn pinged(dir: &Dir, job: &str) {
    let (told, trail) = (dir.told(), dir.trail());
    assert!(told.contains(PINGED), "{told}");
    // One that came when all was over has read so in the resource file.
    let jobs = jobs(&trail);
    assert!(
        jobs.len() > 4 && jobs.iter().all(|slave| slave.starts_with(job)),
        "{jobs:?}"
    );
    assert!(
        trail.contains(" exit code=0"),
        "the trail holds the end\n{told}"
    );
}

/// What happens around [`waves`].
pub(crate) struct Waves<'a> {
    pub(crate) system: &'a str,
    pub(crate) options: &'a [&'a str],
    /// The jobs or processes that are left.
    pub(crate) left: &'a dyn Fn() -> usize,
    /// Called once, with the trail so far, when the eight slaves of the first wave are there.
    pub(crate) hurt: &'a dyn Fn(&str),
}

/// The desire goes 0, 8, 3, 8, finished; three slaves are hurt, and the overseer is killed and started again.
pub(crate) fn waves(dir: &Dir, master: Option<Process>, waves: &Waves<'_>) {
    let options = [&["--max", "12"], waves.options].concat();
    let mut overseer = dir.overseer(waves.system, &options);
    wait_for(
        "eight slaves",
        || dir.log() + &dir.trail(),
        || dir.log().contains("desired 8, connected 8").then_some(()),
    );
    let status = dir.status();
    assert!(
        status.contains("overseer: runs") && status.contains("jobs desired: 8"),
        "{status}"
    );
    (waves.hurt)(&dir.trail());
    // In the middle: it finds its jobs.
    signal(&overseer.0.id().to_string(), "KILL");
    overseer.end("the first overseer", || dir.log());
    assert!(
        dir.status().contains("overseer: does not run"),
        "{}",
        dir.status()
    );
    overseer = dir.overseer(waves.system, &options);
    let code = overseer.end("the overseer", || dir.log());
    let log = dir.log();
    assert_eq!(code, 0, "{log}");
    drop(master);
    let told = dir.told();
    assert!(told.contains("the sum of"), "{told}{log}");
    // Of three that are desired; one of the hurt may have come back late.
    let third = told.split("3 desired: ").nth(1).expect("the third wave");
    assert!(third.starts_with(['3', '4', '5']), "{told}{log}");
    assert_eq!((waves.left)(), 0, "no job is left");
    // The fall from 8 to 3 sends idle slaves away: five, or fewer if the last of the hurt was not back yet.
    let dismissed = dir.trail().matches(" dismissed ").count();
    assert!((1..=5).contains(&dismissed), "{dismissed} sent away\n{log}");
    let submitted = |line: &str| {
        line.split_once(" submitted ")?
            .1
            .split(' ')
            .next()?
            .parse::<u32>()
            .ok()
    };
    let submitted: u32 = log.lines().filter_map(submitted).sum();
    // Eight, five more for the last wave, three for those that were hurt; a dead one of HTCondor comes back by itself.
    assert!(
        (13..=17).contains(&submitted),
        "{submitted} submitted: it oscillates\n{log}"
    );
}

/// The verbs of a batch system that [`held_and_drained`] needs.
pub(crate) struct Hold<'a> {
    pub(crate) system: &'a str,
    pub(crate) options: &'a [&'a str],
    /// Jobs of ours that wait.
    pub(crate) queued: &'a dyn Fn() -> Vec<String>,
    pub(crate) hold: &'a dyn Fn(&str),
    /// Jobs of ours that somebody holds.
    pub(crate) held: &'a dyn Fn() -> Vec<String>,
    pub(crate) remove: &'a dyn Fn(&str),
}

/// More slaves are desired than there are slots: those that wait are held by hand, then the overseer is told to drain.
pub(crate) fn held_and_drained(dir: &Dir, hold: &Hold<'_>) {
    let args = ["--mw-slaves-wanted", "14", "--tasks", "1000000000"];
    let master = dir.master(&args);
    let mut overseer = dir.overseer(hold.system, hold.options);
    let told = || dir.log() + &dir.told();
    wait_for("twelve slaves", told, || {
        dir.log()
            .contains("connected 12, running 12, queued 2")
            .then_some(())
    });
    let waiting = (hold.queued)();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    for job in &waiting {
        (hold.hold)(job);
    }
    wait_for("two held jobs", told, || {
        dir.log()
            .contains("running 12, queued 0, held 2")
            .then_some(())
    });
    // Several turns go by, and it does nothing about them.
    for _ in 0..3 {
        let status = dir.status();
        wait_for("the next turn", told, || {
            (dir.status() != status).then_some(())
        });
    }
    assert_eq!((hold.held)(), waiting, "{}", dir.log());
    let mut drain = dir.overseer(hold.system, &["--drain"]);
    wait_for("its word", told, || {
        dir.log().contains("draining").then_some(())
    });
    // Slaves that lose their master are put back into the queue, where it is the system that does so.
    drop(master);
    for (process, what) in [(&mut overseer, "the overseer"), (&mut drain, "the drain")] {
        assert_eq!(process.end(what, told), 0, "{what}: {}", dir.log());
    }
    let log = dir.log();
    assert!(
        log.contains("drained; 2 jobs are held by somebody"),
        "{log}"
    );
    let (_, after) = log.split_once("draining").expect("it said so");
    assert!(!after.contains("submitted"), "{log}");
    assert_eq!((hold.held)(), waiting);
    assert!((hold.queued)().is_empty());
    for job in &waiting {
        (hold.remove)(job);
    }
}

/// The overseer stops submitting what cannot start, within a minute, and says why.
pub(crate) fn cannot_start(system: &str, options: &[&str], clear: &dyn Fn(&Dir)) {
    for (name, word) in [
        ("library", "libno.so1"),
        ("architecture", "exec format"),
        ("exec-bit", "permission denied"),
    ] {
        // HTCondor sets the bit on what it has sent.
        if (system, name) == ("condor", "exec-bit") {
            continue;
        }
        let dir = Dir::new(&format!("cannot-{name}"), "waves");
        broken(&dir.0.join("broken"), name);
        let host = ["--mw-master-host", "127.0.0.1"];
        let slave = [
            "--mw-slave-executable",
            &dir.path("broken"),
            "--seconds",
            "1",
        ];
        let _master = dir.master(&[&host[..], &slave].concat());
        let began = Instant::now();
        let overseer = dir.overseer(system, options);
        let stopped = || dir.log().contains("slaves do not start").then_some(());
        wait_for("the overseer to stop", || dir.log(), stopped);
        let took = began.elapsed();
        let log = dir.log();
        assert!(took < Duration::from_secs(60), "{name}: {took:?}\n{log}");
        let reason = log.split("slaves do not start").nth(1).unwrap_or_default();
        assert!(
            reason.to_lowercase().contains(word),
            "{name}: no {word} in\n{log}"
        );
        eprintln!("{system}, {name}: stopped after {took:?}");
        drop(overseer);
        clear(&dir);
    }
}

/// `waves`, for another machine, in need of a library that nobody has, or not executable.
fn broken(path: &Path, how: &str) {
    let mut bytes = fs::read(program("waves")).expect("the example is built");
    match how {
        // The loader's own words.
        "library" => {
            let at = bytes
                .windows(10)
                .position(|window| window == b"libc.so.6\0")
                .expect("it needs a C library");
            bytes.splice(at..at + 9, *b"libno.so1");
        }
        // e_machine: BPF, which no processor is.
        "architecture" => bytes[18] = 0xf7,
        _ => {}
    }
    fs::write(path, &bytes).expect("written");
    let mode = if how == "exec-bit" { "644" } else { "755" };
    run(
        Path::new("/"),
        "chmod",
        &[mode, &path.display().to_string()],
    );
}

/// Runs a command whose success does not matter.
pub(crate) fn try_run(command: &str) {
    let _ = Command::new("sh").args(["-c", command]).output();
}
