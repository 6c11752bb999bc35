//! Slurm.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::operator;
use crate::stories::{self, Waves, cannot_start, try_run};
use crate::{Dir, facts, jobs, one, run, signal, slave_pids, wait_for};

const MEMORY: [&str; 2] = ["--memory", "64"];

fn queued(dir: &Dir) -> usize {
    let format = ["--me", "-h", "-r", "--format=%Z"];
    let text = run(Path::new("/"), "squeue", &format);
    text.lines()
        .filter(|line| Path::new(line).starts_with(&dir.0))
        .count()
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn ping() {
    let _one = one("slurm");
    let dir = Dir::new("ping", "ping");
    stories::ping_by_submit(&dir, "slurm", || queued(&dir));
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn waves_with_the_overseer() {
    let _one = one("slurm");
    let dir = Dir::new("waves", "waves");
    let interval = ["--mw-resource-file-update-interval", "5"];
    let master = dir.master(&[&interval[..], &["--seconds", "12"]].concat());
    let hurt = |trail: &str| {
        let jobs = facts(trail, "connected", "job");
        let id = |at: usize| jobs[at].trim_start_matches("slurm.").to_owned();
        run(Path::new("/"), "scancel", &[&id(0), &id(1)]);
        let pids = slave_pids(&dir.0);
        signal(pids.last().expect("a slave runs"), "KILL");
    };
    let story = Waves {
        system: "slurm",
        options: &MEMORY,
        left: &|| queued(&dir),
        hurt: &hurt,
    };
    stories::waves(&dir, Some(master), &story);
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_cannot_start() {
    let _one = one("slurm");
    cannot_start("slurm", &MEMORY, &|_| try_run("scancel --me"));
}

/// One job of four cores is four pinned slaves, where this machine has as many.
#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn one_job_fills_a_node() {
    let _one = one("slurm");
    let dir = Dir::new("node", "ping");
    let options = [
        "--slaves",
        "1",
        "--cpus",
        "4",
        "--slave-flag=--mw-slave-count=auto",
    ];
    let args = ["--tasks", "100000"];
    dir.submit("slurm", &[&options[..], &MEMORY].concat(), &args);
    let told = || dir.all("", ".out");
    // Of what is pinned, the only core.
    let core = |pid: &String| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status
            .lines()
            .find(|line| line.starts_with("Cpus_allowed_list:"))?;
        line.split_whitespace().nth(1)?.parse::<u32>().ok()
    };
    let slaves = std::thread::available_parallelism().map_or(1, |here| here.get().min(4));
    let cores = wait_for("its pinned slaves", told, || {
        let cores: Vec<u32> = slave_pids(&dir.0).iter().filter_map(core).collect();
        (cores.len() == slaves).then_some(cores)
    });
    let distinct: BTreeSet<&u32> = cores.iter().collect();
    assert_eq!(distinct.len(), slaves, "spread over the cores: {cores:?}");
    wait_for("an empty queue", told, || (queued(&dir) == 0).then_some(()));
    let trail = dir.trail();
    assert_eq!(jobs(&trail).len(), slaves, "{:?}", jobs(&trail));
    assert!(trail.contains(" exit code=0"));
}

/// The array's script queues a slave again that died, as HTCondor does by `on_exit_remove`.
#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_dies_is_queued_again() {
    let _one = one("slurm");
    let dir = Dir::new("requeue", "waves");
    let options = [&["--slaves", "4"][..], &MEMORY].concat();
    dir.submit("slurm", &options, &["--seconds", "10"]);
    let trail = || dir.trail();
    let came = |count: usize| {
        let trail = dir.trail();
        (facts(&trail, "connected", "job").len() == count).then_some(())
    };
    wait_for("four slaves", trail, || came(4));
    let pids = slave_pids(&dir.0);
    signal(pids.first().expect("four slaves run"), "KILL");
    wait_for("the dead one's return", trail, || came(5));
    assert_eq!(jobs(&dir.trail()).len(), 4, "it is the same job");
    wait_for("an empty queue", trail, || {
        (queued(&dir) == 0).then_some(())
    });
    assert!(dir.told().contains("the sum of"), "{}", dir.told());
}

/// The master is queued behind others: the slaves are queued behind it, and `--run` comes back. The folder's name has what
/// sbatch, its patterns and the shell make something of.
#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_run_on_a_busy_cluster_queues_its_slaves_behind_the_master() {
    let _one = one("slurm");
    let mut dir = Dir::new("busy", "ping");
    dir.0 = dir.0.join("it's \"o d\" \\ # $HOME %j");
    fs::create_dir(&dir.0).expect("a folder");
    let all = [
        "--exclusive",
        "--output=/dev/null",
        "--parsable",
        "--wrap=sleep 600",
    ];
    let busy = run(Path::new("/"), "sbatch", &all);
    let options = [&["--slaves", "2"][..], &MEMORY].concat();
    dir.submit("slurm", &options, &["--tasks", "1000"]);
    assert_eq!(queued(&dir), 3, "{}", dir.all("", ""));
    run(Path::new("/"), "scancel", &[busy.trim()]);
    let told = || dir.all("", "");
    wait_for("an empty queue", told, || (queued(&dir) == 0).then_some(()));
    assert!(dir.told().contains("1000 of 1000"), "{}", told());
    assert!(
        !dir.all("slave.", ".out").is_empty(),
        "slaves say where they are told to"
    );
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn held_jobs_are_left_alone_and_a_drain_ends_the_rest() {
    let _one = one("slurm");
    let dir = Dir::new("held", "ping");
    let waiting = |held: bool| {
        let args = ["--me", "-h", "-r", "--states=PENDING", "--format=%i|%r|%Z"];
        let text = run(Path::new("/"), "squeue", &args);
        let mut ids: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('|');
                let (id, reason, folder) = (fields.next()?, fields.next()?, fields.next()?);
                let is_ours = Path::new(folder).starts_with(&dir.0);
                (is_ours && (reason == "JobHeldUser") == held).then(|| id.to_owned())
            })
            .collect();
        ids.sort();
        ids
    };
    stories::held_and_drained(
        &dir,
        &stories::Hold {
            system: "slurm",
            options: &MEMORY,
            queued: &|| waiting(false),
            // "uhold" is the user's own; "hold" of an operator is the administrator's.
            hold: &|job| {
                run(Path::new("/"), "scontrol", &["uhold", job]);
            },
            held: &|| waiting(true),
            remove: &|job| {
                run(Path::new("/"), "scancel", &[job]);
            },
        },
    );
}

/// The comments of jobs of this folder that wait.
fn held(dir: &Dir) -> String {
    let format = [
        "--me",
        "-h",
        "-r",
        "-t",
        "PENDING",
        "--Format=WorkDir:500,Comment:300",
    ];
    let text = run(Path::new("/"), "squeue", &format);
    let here = dir.0.display().to_string();
    let ours = text
        .lines()
        .filter(|line| line.split("  ").next() == Some(here.as_str()));
    ours.map(|line| line[here.len()..].trim().to_owned() + "\n")
        .collect()
}

fn jobs_of(dir: &Dir) -> Vec<(String, String)> {
    let text = run(
        Path::new("/"),
        "squeue",
        &["--me", "-h", "-r", "--format=%i %j %Z"],
    );
    let here = dir.0.display().to_string();
    let job = |line: &str| {
        let mut words = line.splitn(3, ' ');
        let (id, name) = (words.next()?, words.next()?);
        (words.next() == Some(here.as_str())).then(|| (id.to_owned(), name.to_owned()))
    };
    text.lines().filter_map(job).collect()
}

fn release(dir: &Dir) {
    for (job, _) in jobs_of(dir) {
        run(Path::new("/"), "scontrol", &["release", &job]);
    }
}

const SYSTEM: operator::System<'static> = operator::System {
    name: "slurm",
    options: &MEMORY,
    left: &queued,
    held: &held,
    release: &release,
    slaves_below: &|dir| dir.0.clone(),
};

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_run_is_watched_stopped_and_started_again() {
    let _one = one("slurm");
    let dir = Dir::new("again", "waves");
    operator::a_run_is_watched_stopped_and_started_again(&dir, &SYSTEM);
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_master_that_aborts_is_held() {
    let _one = one("slurm");
    operator::a_master_that_aborts_is_held(&Dir::new("aborts", "waves"), &SYSTEM);
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_pool_whose_master_is_down_comes_back() {
    let _one = one("slurm");
    let dir = Dir::new("down", "waves");
    let on_master = |verb: &str| {
        let jobs = jobs_of(&dir);
        let master = jobs.iter().find(|(_, name)| name.ends_with(".master"));
        let (job, _) = master.expect("it is queued");
        run(Path::new("/"), "scontrol", &[verb, job]);
    };
    let (down, up) = (|| on_master("requeuehold"), || on_master("release"));
    operator::a_pool_whose_master_is_down_comes_back(&dir, &SYSTEM, &down, &up);
}

#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn a_slave_that_is_refused_is_held() {
    let _one = one("slurm");
    operator::a_slave_that_is_refused_is_held(&Dir::new("refused", "waves"), &SYSTEM);
}

/// The controller hangs in the middle: the run goes on, the overseer says so and does nothing, and when the controller is
/// back so is the slave that was lost meanwhile.
#[test]
#[ignore = "needs Slurm: `tools/tests/pools.sh` brings that up and runs it"]
fn the_controller_is_away_for_a_while() {
    let _one = one("slurm");
    let dir = Dir::new("away", "ping");
    let args = ["--mw-slaves-wanted", "8", "--tasks", "1000000000"];
    let master = dir.master(&args);
    let mut overseer = dir.overseer("slurm", &MEMORY);
    let told = || dir.log() + &dir.told();
    let connected = |count: usize| {
        let trail = dir.trail();
        (facts(&trail, "connected", "job").len() >= count).then_some(())
    };
    wait_for("eight slaves", told, || connected(8));
    let file = crate::work()
        .parent()
        .expect("PREFIX/work")
        .join("run/slurmctld.pid");
    let controller = fs::read_to_string(&file).expect("minislurm has one");
    let controller = controller.trim();
    let before = dir.log().len();
    signal(controller, "STOP");
    let away = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("its word", told, || {
            dir.log()[before..]
                .contains("the batch system does not answer")
                .then_some(())
        });
        let pids = slave_pids(&dir.0);
        signal(pids.first().expect("slaves run"), "KILL");
        let results = || {
            dir.trail().matches(" results-received ").count()
                + dir.trail().matches(" packets ").count()
        };
        let some = results();
        wait_for("more results", told, || (results() > some).then_some(()));
    }));
    // Whatever was seen: others need it.
    signal(controller, "CONT");
    if let Err(panic) = away {
        std::panic::resume_unwind(panic);
    }
    wait_for("the lost one's successor", told, || connected(9));
    let (stopped, text) = operator::ringmw(&dir, &["stop", &dir.resource_file()]);
    assert!(stopped, "{text}");
    assert_eq!(overseer.end("the overseer", told), 0, "{}", dir.log());
    drop(master);
    wait_for("an empty queue", told, || (queued(&dir) == 0).then_some(()));
    let pids = slave_pids(&dir.0);
    assert!(pids.is_empty(), "processes are left: {pids:?}");
}
