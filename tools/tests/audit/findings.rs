//! Findings over true stories: none bad where all is chance, the cause first where something went wrong.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::audit_stdin;
use crate::stories::{Kind, Story, Stream, Truth, story};

/// How many calm trails, how many of each trouble, and the first seed, as `1000,50,7`; the gate asks for so many by this
/// variable.
const FULL: &str = "RINGMW_AUDIT_STORIES";
/// Of calm trails at most so many of a hundred may have anything bad.
const CALM_BAD_MAX: f64 = 1.0;
/// Of troubles so many of a hundred have their cause first, at its time, with its culprit.
const TOLD_MIN: f64 = 95.0;

fn report(story: &Story, window: &[&str]) -> Value {
    let args = [&["report", "--format", "json", "-"], window].concat();
    let told = audit_stdin(&args, &story.trail);
    assert_eq!(told.code, Some(0), "{}", told.err);
    told.json()
}

fn us(time: &Value) -> Option<i64> {
    let time: jiff::Timestamp = time.as_str()?.parse().expect("a time");
    Some(time.as_microsecond())
}

/// Whether the first finding is the truth; else what it is.
fn judge(report: &Value, truth: &Truth) -> Result<(), String> {
    let first = &report["findings"][0];
    let told = || format!("{} {} {}", first["weight"], first["id"], first["finding"]);
    if first["weight"] != "bad" || first["id"] != truth.id {
        return Err(format!("first is {}", told()));
    }
    if let Some(at_us) = truth.at_us {
        let bucket_us = report["bucket_s"].as_f64().expect("a length") * 1e6;
        let Some(found_us) = us(&first["at"]) else {
            return Err(format!("no time in {}", told()));
        };
        let apart_us = (found_us - at_us) as f64;
        if apart_us.abs() > bucket_us {
            let buckets = apart_us / bucket_us;
            return Err(format!("{buckets:.2} buckets late: {}", told()));
        }
    }
    let culprits = first["culprits"].as_array().expect("an array");
    let is_right = match &truth.culprit {
        Some((kind, name)) => culprits
            .first()
            .is_some_and(|culprit| culprit["kind"] == *kind && culprit["name"] == *name),
        // Nobody is to blame: then nobody is named.
        None => culprits.iter().all(|culprit| culprit["kind"] == "message"),
    };
    match is_right {
        true => Ok(()),
        false => Err(format!("culprits {:?}: {}", first["culprits"], told())),
    }
}

fn no_bad(report: &Value) -> Result<(), String> {
    let findings = report["findings"].as_array().expect("an array");
    match findings.iter().find(|finding| finding["weight"] == "bad") {
        None => Ok(()),
        Some(bad) => Err(format!("{} {}", bad["id"], bad["finding"])),
    }
}

/// A window that is a part of a story, by its lines' times.
fn part_of(story: &Story, seed: u64) -> [String; 4] {
    let mut chance = Stream::new(seed);
    let text = std::str::from_utf8(&story.trail).expect("UTF-8");
    let times: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    let mut at = || chance.below(times.len() as u64) as usize;
    let (a, b) = (at(), at());
    let (from, to) = (times[a.min(b)], times[a.max(b)]);
    // An empty window is refused.
    let to = if from == to {
        "2100-01-01T00:00:00Z"
    } else {
        to
    };
    ["--since".into(), from.into(), "--until".into(), to.into()]
}

#[derive(Default)]
struct Score {
    stories: u64,
    right: u64,
    wrong: Vec<String>,
}

fn share(score: &Score) -> f64 {
    100.0 * score.right as f64 / score.stories as f64
}

/// Stories of these kinds on both processors; the outcome of each by kind.
fn scores(kinds: &[(Kind, u64)], first: u64, lines: f64) -> BTreeMap<String, Score> {
    let all: Vec<(Kind, u64)> = kinds
        .iter()
        .flat_map(|&(kind, count)| (first..first + count).map(move |seed| (kind, seed)))
        .collect();
    let outcome = |&(kind, seed): &(Kind, u64)| {
        let story = story(kind, seed, lines);
        let report = report(&story, &[]);
        let outcome = match &story.truth {
            Some(truth) => judge(&report, truth),
            None => {
                // What is calm is so in any part of it.
                let part = part_of(&story, seed);
                no_bad(&report).and_then(|()| {
                    let window = part.each_ref().map(String::as_str);
                    no_bad(&self::report(&story, &window)).map_err(|why| format!("{part:?}: {why}"))
                })
            }
        };
        (
            kind,
            outcome.map_err(|why| format!("{kind:?} seed {seed}: {why}")),
        )
    };
    let halves: Vec<Vec<_>> = std::thread::scope(|scope| {
        let half = |nth: usize| {
            let own = all.iter().skip(nth).step_by(2);
            own.map(outcome).collect::<Vec<_>>()
        };
        let other = scope.spawn(move || half(1));
        vec![half(0), other.join().expect("no panic")]
    });
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for (kind, outcome) in halves.into_iter().flatten() {
        let score = scores.entry(format!("{kind:?}")).or_default();
        score.stories += 1;
        match outcome {
            Ok(()) => score.right += 1,
            Err(why) => score.wrong.push(why),
        }
    }
    scores
}

/// In the small size every story must be told right; in the full size the shares that are stated above.
#[test]
fn stories_have_their_cause_first_and_chance_is_no_cause() {
    let full = std::env::var(FULL).ok().map(|text| {
        let numbers: Vec<u64> = text
            .split(',')
            .map(|number| number.parse().expect("a number"))
            .collect();
        (numbers[0], numbers[1], numbers[2])
    });
    let (calm, each, first) = full.unwrap_or((20, 1, 0));
    let mut kinds = vec![(Kind::Calm, calm - calm / 5), (Kind::CalmHosts, calm / 5)];
    kinds.extend(Kind::TROUBLES.map(|kind| (kind, each)));
    let lines = if full.is_some() { 80_000.0 } else { 3000.0 };
    let scores = scores(&kinds, first, lines);
    let mut table = String::from("kind               stories  right\n");
    for (kind, score) in &scores {
        table += &format!("{kind:<18} {:>7} {:>5.1} %\n", score.stories, share(score));
    }
    let wrong: Vec<&String> = scores.values().flat_map(|score| &score.wrong).collect();
    for why in &wrong {
        table += &format!("{why}\n");
    }
    if let Some(path) = std::env::var_os("RINGMW_AUDIT_STORIES_TABLE") {
        std::fs::write(path, &table).expect("it writes");
    }
    if full.is_none() {
        assert!(wrong.is_empty(), "{table}");
        return;
    }
    let is_calm = |kind: &str| kind.starts_with("Calm");
    let (calm_stories, calm_bad) = scores
        .iter()
        .filter(|(kind, _)| is_calm(kind))
        .fold((0, 0), |sum, (_, score)| {
            (sum.0 + score.stories, sum.1 + score.wrong.len())
        });
    assert!(
        calm_bad as f64 <= CALM_BAD_MAX / 100.0 * calm_stories as f64,
        "{calm_bad} of {calm_stories} calm runs have something bad\n{table}"
    );
    for (kind, score) in scores.iter().filter(|(kind, _)| !is_calm(kind)) {
        assert!(share(score) >= TOLD_MIN, "{kind}\n{table}");
    }
}

/// Bounds on findings: by id, and on all that are bad.
#[test]
fn check_takes_bounds_on_findings() {
    let story = story(Kind::FailingSlave, 1, 3000.0);
    let check = |bounds: &[&str]| {
        let args = [&["check", "-"], bounds].concat();
        audit_stdin(&args, &story.trail)
    };
    let kept = check(&["--max-finding", "losing=0", "--max-finding", "failing=1"]);
    assert_eq!(kept.out, "all 2 bounds are kept\n");
    assert_eq!(kept.code, Some(0));
    for bound in ["failing", "failing=0", "bad=0"] {
        let broken = check(&["--max-finding", bound]);
        assert_eq!(broken.code, Some(1), "{bound}");
        let id = bound.split('=').next().expect("an id");
        let begin = format!("finding {id}: 1.00 is more than 0 (SLAVE-");
        assert!(broken.out.starts_with(&begin), "{}", broken.out);
    }
    let json = check(&["--max-finding", "bad", "--format", "json"]).json();
    assert_eq!(json["bounds"][0]["bound"], "finding bad");
    let unknown = check(&["--max-finding", "sadness=0"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.err.contains("mass-loss"), "{}", unknown.err);
}

/// What slave time went into comes to all of it, and the failing slave's host is first.
#[test]
fn lost_work_by_cause_and_host() {
    let story = story(Kind::FailingSlave, 2, 3000.0);
    let truth = story.truth.clone().expect("a truth");
    let report = report(&story, &[]);
    let sum = |rows: &Value, key: &str| -> f64 {
        let rows = rows.as_array().expect("rows");
        rows.iter()
            .map(|row| row[key].as_f64().expect("a number"))
            .sum()
    };
    let timeline = audit_stdin(&["timeline", "--format", "json", "-"], &story.trail).json();
    let whole = timeline["slave_time_s"].as_f64().expect("a number");
    let is_whole = |sum: f64| (sum - whole).abs() < 1e-6 * whole;
    assert!(
        is_whole(sum(&report["work"], "slave_s")),
        "{}",
        report["work"]
    );
    assert!(is_whole(sum(&report["work_by_host"], "slave_s")));
    let parts = ["good_s", "failed_s", "lost_s", "held_s", "idle_s"];
    let all: f64 = parts
        .map(|part| sum(&report["work_by_host"], part))
        .iter()
        .sum();
    assert!(is_whole(all), "{all} of {whole}");
    let first = &report["findings"][0]["culprits"];
    assert_eq!(first[0]["name"], truth.culprit.expect("a culprit").1);
    assert_eq!(first[1]["name"], report["work_by_host"][0]["host"]);
    assert!(
        report["goodput"]
            .as_f64()
            .is_some_and(|share| (0.3..1.0).contains(&share))
    );
}

/// One story, to look at: `RINGMW_AUDIT_STORY=Calm,37,3000,FILE` writes it.
#[test]
fn a_story_can_be_looked_at() {
    let wanted = std::env::var("RINGMW_AUDIT_STORY").unwrap_or_else(|_| "Calm,1,500,".to_owned());
    let parts: Vec<&str> = wanted.splitn(4, ',').collect();
    let kinds = [Kind::Calm, Kind::CalmHosts]
        .into_iter()
        .chain(Kind::TROUBLES);
    let kind = kinds
        .into_iter()
        .find(|kind| format!("{kind:?}") == parts[0])
        .expect("a kind");
    let number = |text: &str| text.parse::<u64>().expect("a number");
    let story = story(kind, number(parts[1]), number(parts[2]) as f64);
    assert!(!story.trail.is_empty());
    if !parts[3].is_empty() {
        std::fs::write(parts[3], &story.trail).expect("it writes");
        eprintln!("{:?}", story.truth);
    }
}
