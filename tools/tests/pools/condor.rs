//! HTCondor, its single-node pool.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::stories::{self, Waves, cannot_start, try_run};
use crate::{Dir, facts, one, program, run, signal, slave_pids, wait_for, work};
use crate::{lives, operator};

pub(crate) fn queued(dir: &Dir) -> usize {
    let folders = run(Path::new("/"), "condor_q", &["-allusers", "-af", "Iwd"]);
    let is_ours = |folder: &&str| Path::new(folder).starts_with(&dir.0);
    folders.lines().filter(is_ours).count()
}

pub(crate) fn wait_for_an_empty_queue(dir: &Dir) {
    let describe = || dir.told() + &dir.all("slave", "") + &dir.trail();
    wait_for("an empty queue", describe, || {
        (queued(dir) == 0).then_some(())
    });
}

/// The pool's own folder, below which its jobs run.
fn pool() -> PathBuf {
    work().parent().expect("PREFIX/work").to_owned()
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn ping_as_in_the_manual() {
    let _one = one("condor");
    let dir = Dir::new("ping", "ping");
    stories::ping_by_submit(&dir, "condor", || queued(&dir));
    let ends = |log: &str| log.matches("Normal termination (return value 0)").count();
    assert_eq!(
        ends(&dir.all("master.", ".log")),
        1,
        "the master left the queue with exit 0"
    );
    assert_eq!(
        ends(&dir.read("slaves.log")),
        8,
        "every slave left the queue with exit 0"
    );
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn waves_with_the_overseer() {
    let _one = one("condor");
    let dir = Dir::new("waves", "waves");
    let args = ["--seconds", "12", "--mw-resource-file-update-interval", "5"];
    dir.submit("condor", &["--slaves", "0"], &args);
    let hurt = |trail: &str| {
        let jobs = facts(trail, "connected", "job");
        let id = |at: usize| jobs[at].trim_start_matches("condor.").to_owned();
        run(Path::new("/"), "condor_rm", &[&id(0), &id(1)]);
        let pids = slave_pids(&pool());
        signal(pids.last().expect("a slave runs"), "KILL");
    };
    let story = Waves {
        system: "condor",
        options: &[],
        left: &|| queued(&dir),
        hurt: &hurt,
    };
    stories::waves(&dir, None, &story);
}

/// The story of section 4.1.1 of CL-MW's manual: the master is killed, HTCondor starts it again, it writes a new resource
/// file, slaves that come with the old one exit 255 and are run again.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_killed_master_is_restarted_and_its_slaves_come_back() {
    let _one = one("condor");
    let dir = Dir::new("restart", "waves");
    dir.submit("condor", &["--slaves", "6"], &["--seconds", "6"]);
    for (restart, name) in ["KILL", "TERM"].into_iter().enumerate() {
        let pid = wait_for(
            "slaves at work",
            || dir.trail(),
            || {
                let trail = dir.trail();
                let begun: Vec<&str> = trail.split(" init ").collect();
                let (count, last) = (begun.len() - 1, begun.last()?);
                let works = count == restart + 1 && last.contains(" results-received ");
                works.then(|| {
                    facts(&trail, "init", "pid")
                        .last()
                        .map(|pid| (*pid).to_owned())
                })?
            },
        );
        signal(&pid, name);
    }
    wait_for_an_empty_queue(&dir);
    assert_eq!(
        facts(&dir.trail(), "init", "pid").len(),
        3,
        "it ran three times"
    );
    assert!(dir.told().contains("the sum of"), "{}", dir.told());
    assert!(
        dir.read("slaves.log").contains("(return value 255)"),
        "slaves that lost their master stay in the queue"
    );
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_cannot_start() {
    let _one = one("condor");
    cannot_start("condor", &[], &|dir| {
        let ours = format!("Iwd == \"{}.overseer\"", dir.resource_file());
        try_run(&format!("condor_rm -constraint '{ours}'"));
    });
}

/// A suspended slave's tasks go elsewhere, the job is vacated and runs again.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_suspended_slave_is_vacated() {
    let _one = one("condor");
    let dir = Dir::new("suspend", "waves");
    let args = ["--seconds", "15", "--mw-client-timeout", "10"];
    dir.submit("condor", &["--slaves", "4"], &args);
    let job = wait_for(
        "slaves at work",
        || dir.trail(),
        || {
            let trail = dir.trail();
            let jobs = facts(&trail, "connected", "job");
            (jobs.len() >= 4).then(|| jobs[0].trim_start_matches("condor.").to_owned())
        },
    );
    run(Path::new("/"), "condor_suspend", &[&job]);
    wait_for_an_empty_queue(&dir);
    assert!(dir.told().contains("the sum of"), "{}", dir.told());
    let trail = dir.trail();
    let comings = facts(&trail, "connected", "job");
    let comings = comings.iter().filter(|other| other.ends_with(&job)).count();
    assert!(
        comings >= 2,
        "job {job} came {comings} times\n{}",
        dir.read("slaves.log")
    );
    assert!(trail.contains(" lost "), "its tasks went to others");
}

/// A program that needs a shared library of its own: the job brings it along.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_private_library_travels_along() {
    let _one = one("condor");
    let dir = Dir::new("library", "solve");
    // Where no job looks by itself, and gone when it runs.
    let build = dir.0.join("build");
    fs::create_dir(&build).expect("a folder");
    let sources = [
        ("solve.c", "int solve(void) { return 42; }\n"),
        (
            "main.c",
            "#include <stdio.h>\nint solve(void);\nint main(void) { printf(\"solved %d\\n\", solve()); }\n",
        ),
    ];
    for (name, text) in sources {
        fs::write(build.join(name), text).expect("written");
    }
    run(
        &build,
        "cc",
        &["-shared", "-fPIC", "-o", "libsolve.so", "solve.c"],
    );
    run(&build, "cc", &["-o", "solve", "main.c", "-L.", "-lsolve"]);
    let submit = Command::new(program("ringmw"))
        .args([
            "submit",
            "condor",
            "--binary",
            "build/solve",
            "--slaves",
            "1",
        ])
        .env("LD_LIBRARY_PATH", &build)
        .current_dir(&dir.0)
        .output()
        .expect("ringmw runs");
    assert!(
        submit.status.success(),
        "{}",
        String::from_utf8_lossy(&submit.stderr)
    );
    // It is no master, and looks at no resource file.
    fs::write(dir.0.join("solve.rsc"), "").expect("written");
    run(&dir.0, "condor_submit", &["slaves.sub"]);
    wait_for_an_empty_queue(&dir);
    assert_eq!(
        dir.all("slave.", ".out"),
        "solved 42\n",
        "{}",
        dir.all("slave", "")
    );
}

/// What somebody on the way makes something of: the submission, ads, a shell.
const ODD: &str = "it's \"o d\" \\ # $HOME %j, ;&";

/// A dollar of the user's is a dollar, for master and slaves, whatever follows it; and so is all else.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn odd_arguments_arrive_as_written() {
    let _one = one("condor");
    let dir = Dir::new("dollars", "echo");
    let odd = [
        "$$(x)",
        "$$$(x)",
        "$(HOME)",
        ODD,
        "$HOME",
        "$$",
        "$$([1+1])",
    ];
    let submit = Command::new(program("ringmw"))
        .args(["submit", "condor", "--binary", "/bin/echo", "--slaves", "1"])
        .args(odd.map(|arg| format!("--slave-flag={arg}")))
        .arg("--")
        .args(odd)
        .current_dir(&dir.0)
        .output()
        .expect("ringmw runs");
    assert!(
        submit.status.success(),
        "{}",
        String::from_utf8_lossy(&submit.stderr)
    );
    fs::write(dir.0.join("echo.rsc"), "").expect("written");
    for file in ["master.sub", "slaves.sub"] {
        run(&dir.0, "condor_submit", &[file]);
    }
    wait_for_an_empty_queue(&dir);
    let expected = format!(" {}\n", odd.join(" "));
    for (start, said) in [
        ("master.", dir.told()),
        ("slave.", dir.all("slave.", ".out")),
    ] {
        assert!(
            said.ends_with(&expected),
            "{start}: {said}{}",
            dir.all("slave", "")
        );
    }
}

/// A folder's name has what HTCondor's submission, its ads, its lists and a shell make something of. An overseer's jobs take
/// the resource file from the folder above theirs.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_folder_with_an_odd_name() {
    let _one = one("condor");
    let mut dir = Dir::new("odd", "ping");
    dir.0 = dir.0.join(ODD);
    fs::create_dir(&dir.0).expect("a folder");
    let args = ["--mw-slaves-wanted", "2", "--tasks", "1000"];
    dir.submit("condor", &["--slaves", "2"], &args);
    wait_for_an_empty_queue(&dir);
    assert!(dir.told().contains("1000 of 1000"), "{}", dir.all("", ""));
    operator::no_slave_is_left(&pool());

    let mut overseen = Dir::new("odd-overseer", "ping");
    overseen.0 = overseen.0.join(ODD);
    fs::create_dir(&overseen.0).expect("a folder");
    let mut master = overseen.master(&args);
    let mut overseer = overseen.overseer("condor", &[]);
    let describe = || overseen.log() + &overseen.told();
    assert_eq!(overseer.end("the overseer", describe), 0, "{}", describe());
    assert_eq!(master.end("the master", describe), 0, "{}", describe());
    assert!(overseen.told().contains("1000 of 1000"), "{}", describe());
    operator::no_slave_is_left(&pool());
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn held_jobs_are_left_alone_and_a_drain_ends_the_rest() {
    let _one = one("condor");
    let dir = Dir::new("held", "ping");
    let ours = format!("Iwd == \"{}.overseer\"", dir.resource_file());
    let in_state = |state: u32| {
        let constraint = format!("{ours} && JobStatus == {state}");
        let args = ["-constraint", &constraint, "-af:j", "ClusterId"];
        let text = run(Path::new("/"), "condor_q", &args);
        let ids = text.lines().filter_map(|line| line.split(' ').next());
        ids.map(str::to_owned).collect()
    };
    stories::held_and_drained(
        &dir,
        &stories::Hold {
            system: "condor",
            options: &[],
            queued: &|| in_state(1),
            hold: &|job| {
                run(Path::new("/"), "condor_hold", &[job]);
            },
            held: &|| in_state(5),
            remove: &|job| {
                run(Path::new("/"), "condor_rm", &[job]);
            },
        },
    );
}

/// What `condor_q` says of jobs of this folder that are held.
fn held(dir: &Dir) -> String {
    let ours = format!("Iwd == \"{}\" && JobStatus == 5", dir.0.display());
    let args = ["-constraint", &ours, "-af", "HoldReason"];
    run(Path::new("/"), "condor_q", &args)
}

fn release(dir: &Dir) {
    let ours = format!("Iwd == \"{}\"", dir.0.display());
    run(Path::new("/"), "condor_release", &["-constraint", &ours]);
}

const SYSTEM: operator::System<'static> = operator::System {
    name: "condor",
    options: &[],
    left: &queued,
    held: &held,
    release: &release,
    slaves_below: &|_| pool(),
};

/// The master's job: the only one of the scheduler universe.
fn master_job(dir: &Dir) -> String {
    let ours = format!("Iwd == \"{}\" && JobUniverse == 7", dir.0.display());
    let args = ["-constraint", &ours, "-af:j", "JobStatus"];
    let text = run(Path::new("/"), "condor_q", &args);
    let id = text.split_whitespace().next().expect("it is queued");
    id.to_owned()
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_run_is_watched_stopped_and_started_again() {
    let _one = one("condor");
    let dir = Dir::new("again", "waves");
    operator::a_run_is_watched_stopped_and_started_again(&dir, &SYSTEM);
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_master_that_aborts_is_held() {
    let _one = one("condor");
    operator::a_master_that_aborts_is_held(&Dir::new("aborts", "waves"), &SYSTEM);
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_is_refused_is_held() {
    let _one = one("condor");
    operator::a_slave_that_is_refused_is_held(&Dir::new("refused", "waves"), &SYSTEM);
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn a_pool_whose_master_is_down_comes_back() {
    let _one = one("condor");
    let dir = Dir::new("down", "waves");
    let on_master = |command: &str| {
        run(Path::new("/"), command, &[&master_job(&dir)]);
    };
    let (down, up) = (|| on_master("condor_hold"), || on_master("condor_release"));
    operator::a_pool_whose_master_is_down_comes_back(&dir, &SYSTEM, &down, &up);
}

/// `condor_rm` of the master is SIGUSR2 to it: the run is stopped for good.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn jobs_are_taken_away() {
    let _one = one("condor");
    let dir = Dir::new("taken", "waves");
    let remove = |job: &str| {
        run(Path::new("/"), "condor_rm", &[job]);
    };
    operator::jobs_are_taken_away(&dir, &SYSTEM, &remove, &|| master_job(&dir));
}

#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn everything_is_taken_away() {
    let _one = one("condor");
    let dir = Dir::new("all", "waves");
    let ours = format!("Iwd == \"{}\"", dir.0.display());
    let remove = || {
        run(Path::new("/"), "condor_rm", &["-constraint", &ours]);
    };
    operator::everything_is_taken_away(&dir, &SYSTEM, &remove);
}

/// Ten times each: the master is a job of the scheduler universe, HTCondor starts it again, its slaves' files were
/// transferred.
#[test]
#[ignore = "needs HTCondor: `tools/tests/pools.sh` brings that up and runs it"]
fn programs_outlive_their_killed_masters() {
    let _one = one("condor");
    let batch = lives::Batch {
        submit: &|dir, args| dir.submit("condor", &["--slaves", "8"], args),
        left: &queued,
    };
    for story in lives::stories() {
        lives::outlives(&story, &batch);
    }
}
