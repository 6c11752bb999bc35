//! Programs whose master is killed ten times, and started again by the batch system, while eight slaves outlive it: what they
//! print is the undisturbed answer, each slave is one process from the first life to the last, each life soon has all of them
//! at work, and hardly anything is computed twice. The same on plain processes: `examples/tests/outlive.rs`.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::trail::{Life, lives};
use crate::{Dir, program, run, wait_within};

const KILLS: u64 = 10;
const SLAVES: usize = 8;
/// How long a life may take until it has worked enough to be killed, and the last one until it ends: a search without optimization, on a busy machine.
const LIFE: Duration = Duration::from_secs(600);
const FULL_SPEED_MS: i64 = 5_000;

/// A program, and what is known of it.
pub(crate) struct Story {
    name: &'static str,
    app: &'static str,
    args: &'static [&'static str],
    /// Arguments that change how long it takes, and no result.
    pace: &'static [&'static str],
    work: Work,
}

/// What there is to be done.
enum Work {
    /// So many tasks of 50 ms: a kill after each twentieth of them, and what is told of such tasks holds.
    Short(u64),
    /// So many tasks, which take longer without optimization: the same, but each that a killed master's slave is at may be
    /// computed twice.
    Long(u64),
    /// Tasks whose number and length nobody knows: a kill after each life's first result.
    Uneven {
        /// What it prints, from the literature.
        answer: &'static [&'static str],
    },
}

/// A batch system's part in it.
pub(crate) struct Batch<'a> {
    /// Submits a master and its slaves with these arguments.
    pub(crate) submit: &'a dyn Fn(&Dir, &[&str]),
    /// The jobs that are left.
    pub(crate) left: &'a dyn Fn(&Dir) -> usize,
}

pub(crate) fn stories() -> [Story; 4] {
    let sum = |name, args, tasks| Story {
        name,
        app: "test-lives",
        args,
        pace: &["--nap", "50"],
        work: Work::Short(tasks),
    };
    [
        sum("in-order", &["--tasks", "12000"], 12_000),
        sum("reduce", &["--tasks", "12000", "--reduce"], 12_000),
        Story {
            name: "pi",
            app: "monte-carlo-pi",
            args: &["--max-trial-sets", "200"],
            pace: &[],
            work: Work::Long(200),
        },
        Story {
            name: "search",
            app: "search",
            // Minutes of work on any machine: slaves go on with it while there is no master.
            args: &["--marks", "12"],
            pace: &[],
            work: Work::Uneven {
                answer: &[
                    "the shortest Golomb ruler with 12 marks is 85 long",
                    "[0, 2, 6, 24, 29, 40, 43, 55, 68, 75, 76, 85]",
                ],
            },
        },
    ]
}

impl Story {
    fn tells_of_tasks(&self) -> bool {
        self.app == "test-lives"
    }

    /// What it prints when nothing happens, without what is of time.
    fn undisturbed(&self, dir: &Dir, seed: &[&str]) -> Vec<String> {
        if let Work::Uneven { answer } = self.work {
            return answer.iter().map(ToString::to_string).collect();
        }
        let mut args = [seed, self.args].concat();
        if let [flag, _] = self.pace {
            args.extend([flag, "0"]);
        }
        let told = run(&dir.0, program(self.app), &args);
        let expected = answer(&told);
        assert!(!expected.is_empty(), "{told}");
        expected
    }

    /// Whether a life has done its part before kill number `kill`.
    fn is_far(&self, life: &Life, kill: u64) -> bool {
        let has_worked = at_work(life, self).len() == SLAVES && life.results > 0;
        has_worked
            && match self.work {
                Work::Short(tasks) | Work::Long(tasks) => {
                    life.results + life.known >= tasks * kill / (2 * KILLS)
                }
                Work::Uneven { .. } => true,
            }
    }
}

/// Of its lines those that do not tell of time, nor of slaves.
fn answer(told: &str) -> Vec<String> {
    // In local mode a slave's own lines are there too, each behind its slave.
    let own = |line: &&str| {
        !["made", "computed"].contains(line)
            && !line.starts_with("SLAVE-")
            && !["trials", "tasks,"].iter().any(|word| line.contains(word))
    };
    told.lines().filter(own).map(str::to_owned).collect()
}

/// When each slave was seen to be at work.
fn at_work<'a>(life: &'a Life, story: &Story) -> &'a BTreeMap<u32, i64> {
    match story.work {
        Work::Short(_) => &life.first,
        Work::Long(_) | Work::Uneven { .. } => &life.begun,
    }
}

fn full_speed_ms(life: &Life, story: &Story) -> i64 {
    let last = at_work(life, story).values().max();
    last.map_or(0, |last| (last - life.begun_us) / 1_000)
}

/// Kills the master in its life number `kill` when that has done its part. A run that has ended by then shows nothing.
fn kill(story: &Story, dir: &Dir, kill: u64) {
    let name = story.name;
    let describe = || dir.told() + &dir.trail();
    let pid = wait_within(LIFE, "a life at work", describe, || {
        let lives = lives(&dir.trail());
        let life = lives.last()?;
        assert!(
            !life.ended,
            "{name} ended before kill {kill} of {KILLS}: give it more to do\n{}",
            describe()
        );
        (lives.len() as u64 == kill && story.is_far(life, kill)).then_some(life.pid)
    });
    let sent = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .output();
    let sent = sent.expect("there is a command kill");
    assert!(
        sent.status.success(),
        "{name} ended just before kill {kill} of {KILLS}: give it more to do\n{}{}",
        String::from_utf8_lossy(&sent.stderr),
        describe()
    );
}

pub(crate) fn outlives(story: &Story, batch: &Batch<'_>) {
    let name = story.name;
    let dir = Dir::new(name, story.app);
    let seed = ["--mw-seed", "42"];
    let expected = story.undisturbed(&dir, &seed);
    let journal = dir.path("journal");
    // What was taken is told at once, not summed up by the second.
    let own = ["--mw-journal", &journal, "--mw-audit-level", "packets"];
    let args = [&seed[..], &own, story.args, story.pace].concat();
    (batch.submit)(&dir, &args);
    let began = Instant::now();
    for number in 1..=KILLS {
        kill(story, &dir, number);
    }
    let took = began.elapsed().as_secs();
    let describe = || dir.told() + &dir.all("slave", "") + &dir.trail();
    wait_within(LIFE, "an empty queue", describe, || {
        ((batch.left)(&dir) == 0).then_some(())
    });
    assert_eq!(answer(&dir.all("master", ".out")), expected, "{name}");

    // The whole run from its journal alone, without slaves.
    let alone = [
        &["--mw-master", "--mw-audit-file", "again.trail"][..],
        &args,
    ]
    .concat();
    let again = run(&dir.0, program(story.app), &alone);
    assert_eq!(answer(&again), expected, "{name}, from its journal alone");
    let alone = lives(&dir.read("again.trail"));
    let [alone] = &alone[..] else {
        panic!("{name}: {} lives from the journal alone", alone.len());
    };
    assert_eq!(alone.results, 0, "{name}: nothing is computed again");

    let lives = lives(&dir.trail());
    assert_eq!(lives.len() as u64, KILLS + 1, "{name}: it ended well");
    let slaves = dir.all("slave.", ".out");
    let count = |word: &str| slaves.lines().filter(|line| *line == word).count() as u64;
    let (made, computed) = (count("made"), count("computed"));
    // A task whose two results came, be it to one life or to two.
    let twice = lives.iter().map(|life| life.late).sum::<u64>() + alone.repeated;
    let slowest_ms = lives[1..]
        .iter()
        .map(|life| full_speed_ms(life, story))
        .max();
    let slowest_ms = slowest_ms.unwrap_or(0);
    eprintln!(
        "{name}: killed {KILLS} times in {took} s; the same output; {} results recorded, {twice} of them came twice; \
         {computed} computed on {made} states; all slaves at work {slowest_ms} ms after a start at the latest",
        alone.recorded
    );
    if let Work::Short(tasks) | Work::Long(tasks) = story.work {
        assert_eq!(alone.recorded, tasks, "{name}");
    }
    if let Work::Short(tasks) = story.work {
        assert!(100 * twice <= tasks, "{name}: {twice} came twice");
    }
    if story.tells_of_tasks() {
        assert_eq!(made, SLAVES as u64, "{name}: a slave's state lives on");
        let again = computed.saturating_sub(alone.recorded);
        assert!(100 * again <= alone.recorded, "{name}: {again} again");
    }
    assert!(slowest_ms <= FULL_SPEED_MS, "{name}: {slowest_ms} ms");
}
