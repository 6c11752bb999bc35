//! Programs whose master is killed again and again while eight slaves outlive it: what they print is the undisturbed one,
//! bit for bit, hardly anything is computed twice, and each life soon has all slaves at work.
//!
//! How often, with how much work, is [`Size`]: the gate's, and minutes of it.

#[path = "../../codec/tests/support/lives.rs"]
mod trail;

use std::collections::BTreeMap;
use std::fs;
use std::thread;
use std::time::Duration;

use ringmw_codec::audit::Event;
use ringmw_examples::{End, Process, Signal, Stage};

use trail::Life;

const SLAVES: usize = 8;

/// How much of it.
struct Size {
    kills: u64,
    /// The last kill is when so many of a hundred tasks have ended.
    last_kill: u64,
    /// Of sums the tasks, and how long each takes.
    tasks: u64,
    nap_ms: u64,
    trial_sets: u64,
    marks: u64,
    /// A task is as short as what may be repeated is told for, and so is the time to full speed.
    is_measured: bool,
}

const SMALL: Size = Size {
    kills: 2,
    last_kill: 60,
    tasks: 1_000,
    nap_ms: 10,
    trial_sets: 40,
    marks: 10,
    is_measured: false,
};

const WHOLE: Size = Size {
    kills: 10,
    last_kill: 85,
    tasks: 24_000,
    nap_ms: 40,
    trial_sets: 12_000,
    marks: 12,
    is_measured: true,
};

/// A program, and what of it counts.
#[derive(Clone)]
struct Story {
    name: &'static str,
    example: &'static str,
    args: Vec<String>,
    /// What it prints behind these lines is of time.
    lines: usize,
    /// Its slaves tell of each task.
    tells: bool,
    /// A task takes 50 ms at most. A search has others each time, the first of which take most of its time: each of its lives
    /// is killed after its first result.
    is_even: bool,
}

fn stories(size: &Size) -> [Story; 4] {
    let story = |name, example, args: &[&str], lines| Story {
        name,
        example,
        args: args.iter().map(ToString::to_string).collect(),
        lines,
        tells: example == "test-lives",
        is_even: example != "search",
    };
    let (tasks, nap) = (size.tasks.to_string(), size.nap_ms.to_string());
    let sum = ["--tasks", &tasks, "--nap", &nap];
    let sets = size.trial_sets.to_string();
    let marks = size.marks.to_string();
    let reduce = [&sum[..], &["--reduce"]].concat();
    [
        story("in order", "test-lives", &sum, 1),
        story("reduce", "test-lives", &reduce, 1),
        story("pi", "monte-carlo-pi", &["--max-trial-sets", &sets], 2),
        story("search", "search", &["--marks", &marks], 2),
    ]
}

/// When each slave was seen to be at work.
fn at_work<'a>(life: &'a Life, story: &Story) -> &'a BTreeMap<u32, i64> {
    match story.is_even {
        true => &life.first,
        false => &life.begun,
    }
}

fn lives(stage: &Stage) -> Vec<Life> {
    let text = fs::read(stage.path("master.audit")).unwrap_or_default();
    trail::lives(&String::from_utf8_lossy(&text))
}

/// It ends well, however long that takes.
fn success(master: &mut Process) -> End {
    let end = master.end_within(Duration::from_secs(1_200));
    assert_eq!(end.code, Some(0), "{}", end.stderr);
    end
}

/// The lines that count.
fn answer(stdout: &str, story: &Story) -> String {
    let lines: Vec<&str> = stdout.lines().take(story.lines).collect();
    assert_eq!(lines.len(), story.lines, "{}: {stdout}", story.name);
    lines.join("\n")
}

/// Whether it is computed undisturbed: what it prints, and its tasks.
fn undisturbed(story: &Story, engine: &str) -> (String, u64) {
    let stage = Stage::new(story.example).with_engine(engine);
    let args = ["--mw-seed", "42", "--mw-audit-level", "packets"];
    let own = story.args.iter().map(String::as_str);
    let mut master = stage.master(args.into_iter().chain(own));
    let mut slaves: Vec<_> = (0..SLAVES).map(|_| stage.slave(&master)).collect();
    let end = success(&mut master);
    for slave in &mut slaves {
        slave.success();
    }
    let tasks = lives(&stage).iter().map(|life| life.results).sum();
    (answer(&end.stdout, story), tasks)
}

fn outlives(story: &Story, engine: &str, size: &Size) {
    let (expected, tasks) = undisturbed(story, engine);
    let stage = Stage::new(story.example).with_engine(engine);
    let (journal, gate) = (stage.path("journal"), stage.path("gate"));
    let args = [
        "--mw-seed",
        "42",
        // What was taken is told at once, not summed up by the second.
        "--mw-audit-level",
        "packets",
        "--mw-journal",
        journal.to_str().expect("a plain path"),
        // Others than this test's own look at no such argument.
        "--gate",
        gate.to_str().expect("a plain path"),
    ];
    let args = &args[..if story.tells {
        args.len()
    } else {
        args.len() - 2
    }];
    let own = story.args.iter().map(String::as_str);
    let args: Vec<&str> = args.iter().copied().chain(own).collect();
    let mut master = stage.master(args.iter().copied());
    let mut slaves: Vec<_> = (0..SLAVES).map(|_| stage.slave(&master)).collect();
    for kill in 1..=size.kills {
        let share = tasks * size.last_kill * kill / (100 * size.kills);
        await_share(&stage, &mut master, kill as usize, share, size, story);
        master.send(Signal::KILL);
        let end = master.end();
        assert_eq!(end.stdout, "", "{}: no life has finished", story.name);
        master = stage.master(args.iter().copied());
    }
    fs::write(&gate, "").expect("it is ours");
    let end = success(&mut master);
    assert_eq!(answer(&end.stdout, story), expected, "{}", story.name);
    let mut computed = 0;
    for slave in &mut slaves {
        let end = slave.success();
        if story.tells {
            let made = end.lines().iter().filter(|line| **line == "made").count();
            assert_eq!(made, 1, "{}: a slave's state lives on", story.name);
            computed += end.lines().len() as u64 - 1;
        }
        let joined = |event: &&Event| matches!(event, Event::Id { .. });
        let joined = slave.trail().iter().filter(joined).count() as u64;
        let expected = if size.is_measured { size.kills + 1 } else { 2 };
        assert!(
            joined >= expected,
            "{}: it served {joined} lives",
            story.name
        );
    }

    // The whole run from its journal alone.
    let mut last = stage.master(args.iter().copied());
    assert_eq!(answer(&success(&mut last).stdout, story), expected);
    let lives = lives(&stage);
    assert_eq!(lives.len(), size.kills as usize + 2);
    let last = lives.last().expect("there are some");
    assert_eq!(last.results, 0, "{}: nothing is computed", story.name);
    let late: u64 = lives.iter().map(|life| life.late).sum();
    // A task whose two results came, be it to one life or to two.
    let twice = late + last.repeated;
    let slowest = lives[1..=size.kills as usize]
        .iter()
        .map(|life| {
            at_work(life, story)
                .values()
                .max()
                .map_or(0, |last| last - life.begun_us)
        })
        .max();
    let slowest_ms = slowest.unwrap_or(0) / 1_000;
    eprintln!(
        "{} on {engine}: {} results recorded, {twice} of them came twice; {computed} computed; all slaves at work {slowest_ms} ms after a start at the latest",
        story.name, last.recorded
    );
    if story.tells {
        assert_eq!(last.recorded, size.tasks, "{}", story.name);
    }
    if size.is_measured {
        assert!(
            !story.is_even || 100 * twice <= last.recorded,
            "{}: {twice} came twice",
            story.name
        );
        assert!(slowest_ms <= 5_000, "{}: {slowest_ms} ms", story.name);
        if story.tells {
            let again = computed.saturating_sub(size.tasks);
            assert!(100 * again <= size.tasks, "{}: {again} again", story.name);
        }
    }
}

/// Waits until so many tasks have ended in this life, with what earlier ones left; where it is measured every slave has
/// worked in it too.
fn await_share(
    stage: &Stage,
    master: &mut Process,
    life: usize,
    share: u64,
    size: &Size,
    story: &Story,
) {
    loop {
        let lives = lives(stage);
        if lives.len() == life {
            let now = &lives[life - 1];
            let worked = !size.is_measured || at_work(now, story).len() == SLAVES;
            let is_far = match story.is_even {
                true => now.results + now.known >= share,
                false => now.results > 0,
            };
            if worked && is_far {
                return;
            }
        }
        assert!(!master.has_ended(), "too early: {}", master.describe());
        thread::sleep(Duration::from_millis(20));
    }
}

fn all(engine: &str, size: &Size, told: &[Story]) {
    thread::scope(|scope| {
        for story in told {
            scope.spawn(|| outlives(story, engine, size));
        }
    });
}

#[test]
fn programs_outlive_their_masters_on_the_ring() {
    let [in_order, _, pi, _] = stories(&SMALL);
    all("ring", &SMALL, &[in_order, pi]);
}

#[test]
fn programs_outlive_their_masters_on_epoll() {
    let [_, reduce, _, search] = stories(&SMALL);
    all("epoll", &SMALL, &[reduce, search]);
}

#[test]
#[ignore = "ten minutes, in release: `.ci/run lives-all` runs it"]
fn masters_are_killed_ten_times() {
    for engine in ["ring", "epoll"] {
        all(engine, &WHOLE, &stories(&WHOLE));
    }
}
