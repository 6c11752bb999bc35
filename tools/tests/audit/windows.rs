//! Figures of windows, against a recount that shares no code with the command: it keeps every piece of every slave's time
//! in a list, and adds up what lies between two times, one by one.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::audit_files;
use crate::made::{Dice, Form, START_US, World};

/// A piece of a slave's time: whether it held tasks, and what of it is computing.
struct Piece {
    slave: u64,
    from: i64,
    to: i64,
    is_busy: bool,
    compute: Sum,
}

/// A number spread over a span.
#[derive(Clone, Copy)]
struct Sum {
    from: i64,
    to: i64,
    amount: i64,
}

impl Sum {
    fn between(self, from: i64, to: i64) -> i64 {
        if self.from >= self.to {
            return if (from..to).contains(&self.to) {
                self.amount
            } else {
                0
            };
        }
        let before = |x: i64| {
            let passed = i128::from(x.clamp(self.from, self.to) - self.from);
            (i128::from(self.amount) * passed / i128::from(self.to - self.from)) as i64
        };
        before(to.max(from)) - before(from)
    }
}

#[derive(Default)]
struct Life {
    from: i64,
    to: i64,
    known: bool,
    /// Left by the trail's word.
    cause: Option<String>,
    held: i64,
    is_busy: bool,
    told: i64,
}

#[derive(Default)]
struct Recount {
    first: i64,
    last: i64,
    pieces: Vec<Piece>,
    slaves: BTreeMap<u64, Life>,
    sums: BTreeMap<&'static str, Vec<Sum>>,
    /// Comings and goings in the order of lines.
    steps: Vec<(i64, i64)>,
}

pub(super) fn time(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>()
        .expect("a time")
        .as_microsecond()
}

impl Recount {
    fn of(trail: &str) -> Self {
        let mut recount = Recount::default();
        let has_init = trail
            .lines()
            .next()
            .is_some_and(|line| line.contains(" init "));
        for line in trail.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let (t, event) = (time(words[1]), words[3]);
            let fact = |key: &str| {
                let found = words
                    .iter()
                    .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
                found.map(str::to_owned)
            };
            let number =
                |key: &str| -> i64 { fact(key).expect("a fact").parse().expect("a number") };
            let slave = || -> u64 {
                let name = fact("slave").expect("a slave");
                name.strip_prefix("SLAVE-")
                    .expect("a name")
                    .parse()
                    .expect("a number")
            };
            if recount.first == 0 {
                recount.first = t;
            }
            recount.last = t;
            match event {
                "connected" => {
                    recount.slaves.insert(
                        slave(),
                        Life {
                            from: t,
                            told: t,
                            known: true,
                            ..Life::default()
                        },
                    );
                    recount.add("connected", t, t, 1);
                    recount.steps.push((t, 1));
                }
                "tasks-sent" => {
                    let id = recount.see(slave(), t, has_init, false);
                    recount.slaves.get_mut(&id).expect("seen").held += number("tasks");
                    recount.state(id, t, true);
                    recount.add("sent", t, t, number("tasks"));
                    recount.add("packets", t, t, 1);
                }
                "state" => {
                    let is_busy = fact("state").as_deref() == Some("busy");
                    let id = recount.see(slave(), t, has_init, !is_busy);
                    if !is_busy {
                        recount.slaves.get_mut(&id).expect("seen").held = 0;
                    }
                    recount.state(id, t, is_busy);
                }
                "results-received" => {
                    let id = recount.see(slave(), t, has_init, true);
                    let told = recount.slaves[&id].told;
                    let amount = number("compute_us").min(t - told);
                    recount.piece(
                        id,
                        t,
                        Sum {
                            from: t - amount,
                            to: t,
                            amount,
                        },
                    );
                    recount.add("results", t, t, number("results"));
                    recount.add("failed", t, t, number("failed"));
                    recount.add("compute", t, t, number("compute_us"));
                    recount.add("packets", t, t, 1);
                    recount.back(id, t, number("results"));
                }
                "packets" => {
                    let id = recount.see(slave(), t, has_init, true);
                    let from = t - number("span_ms") * 1000;
                    let since = from.max(recount.slaves[&id].told);
                    let amount = number("compute_us").min(t - since);
                    recount.piece(
                        id,
                        t,
                        Sum {
                            from: since,
                            to: t,
                            amount,
                        },
                    );
                    recount.add("sent", from, t, number("tasks"));
                    recount.add("results", from, t, number("results"));
                    recount.add("failed", from, t, number("failed"));
                    recount.add("compute", from, t, number("compute_us"));
                    recount.add("packets", from, t, number("packets_out"));
                    recount.add("packets", from, t, number("packets_in"));
                    recount.slaves.get_mut(&id).expect("seen").held += number("tasks");
                    recount.back(id, t, number("results"));
                    let is_busy = recount.slaves[&id].held > 0;
                    recount.state(id, t, is_busy);
                }
                "lost" | "disconnected" => {
                    let cause = fact("cause").unwrap_or_else(|| "shutdown".to_owned());
                    let recycled = if event == "lost" {
                        number("recycled")
                    } else {
                        0
                    };
                    let id = recount.see(slave(), t, has_init, recycled > 0);
                    recount.state(id, t, false);
                    recount.piece(
                        id,
                        t,
                        Sum {
                            from: t,
                            to: t,
                            amount: 0,
                        },
                    );
                    let life = recount.slaves.get_mut(&id).expect("seen");
                    (life.to, life.cause) = (t, Some(cause));
                    recount.add("gone", t, t, 1);
                    recount.steps.push((t, -1));
                    recount.add("lost", t, t, i64::from(event == "lost"));
                    recount.add("recycled", t, t, recycled);
                }
                "refused" => recount.add("rejected", t, t, 1),
                "stall" => {
                    let us = number("ms") * 1000;
                    recount.add("stalled", t - us, t, us);
                }
                "late" => recount.add("late", t, t, number("results")),
                "cancelled" => recount.add("cancelled", t, t, number("tasks")),
                _ => {}
            }
        }
        let last = recount.last;
        let open: Vec<u64> = recount
            .slaves
            .iter()
            .filter(|(_, life)| life.cause.is_none())
            .map(|(&id, _)| id)
            .collect();
        for id in open {
            recount.piece(
                id,
                last,
                Sum {
                    from: last,
                    to: last,
                    amount: 0,
                },
            );
            recount.slaves.get_mut(&id).expect("seen").to = last;
        }
        recount
    }

    fn see(&mut self, id: u64, t: i64, has_init: bool, has_held: bool) -> u64 {
        let first = self.first;
        self.slaves.entry(id).or_insert_with(|| {
            let from = if has_init { t } else { first };
            Life {
                from,
                told: from,
                is_busy: has_held && !has_init,
                ..Life::default()
            }
        });
        id
    }

    fn piece(&mut self, slave: u64, to: i64, compute: Sum) {
        let life = self.slaves.get_mut(&slave).expect("seen");
        if to > life.told {
            let (from, is_busy) = (life.told, life.is_busy);
            life.told = to;
            self.pieces.push(Piece {
                slave,
                from,
                to,
                is_busy,
                compute,
            });
        }
    }

    fn state(&mut self, slave: u64, t: i64, is_busy: bool) {
        if self.slaves[&slave].is_busy != is_busy {
            self.piece(
                slave,
                t,
                Sum {
                    from: t,
                    to: t,
                    amount: 0,
                },
            );
            self.slaves.get_mut(&slave).expect("seen").is_busy = is_busy;
        }
    }

    fn back(&mut self, slave: u64, t: i64, results: i64) {
        let life = self.slaves.get_mut(&slave).expect("seen");
        life.held = (life.held - results).max(0);
        if life.held == 0 {
            self.state(slave, t, false);
        }
    }

    fn add(&mut self, what: &'static str, from: i64, to: i64, amount: i64) {
        self.sums
            .entry(what)
            .or_default()
            .push(Sum { from, to, amount });
    }

    fn sum(&self, what: &str, from: i64, to: i64) -> i64 {
        let sums = self.sums.get(what).map_or(&[][..], Vec::as_slice);
        sums.iter().map(|sum| sum.between(from, to)).sum()
    }

    /// Slave time: present, busy, computing; of one slave or all.
    fn times(&self, from: i64, to: i64, slave: Option<u64>) -> [i64; 3] {
        let mut sum = [0; 3];
        for piece in &self.pieces {
            if slave.is_some_and(|slave| slave != piece.slave) {
                continue;
            }
            let (from, to) = (piece.from.max(from), piece.to.min(to));
            if from >= to {
                continue;
            }
            let compute = if piece.compute.amount > 0 {
                piece.compute.between(from, to)
            } else {
                0
            };
            sum[0] += to - from;
            sum[1] += if piece.is_busy { to - from } else { compute };
            sum[2] += compute;
        }
        sum
    }

    /// The most at once, in the order of lines; those that never came were there from the first.
    fn peak(&self, from: i64, to: i64) -> i64 {
        if to <= self.first || from > self.last {
            return 0;
        }
        let mut present = self.slaves.values().filter(|life| !life.known).count() as i64;
        let mut peak = None;
        for &(t, step) in &self.steps {
            if t >= to {
                break;
            }
            if t >= from {
                peak = peak.max(Some(present));
            }
            present += step;
            if t >= from {
                peak = peak.max(Some(present));
            }
        }
        // Without a step inside, those that were there before it.
        peak.unwrap_or(present)
    }

    fn observed(&self, from: i64, to: i64) -> (i64, i64) {
        let from = from.max(self.first);
        (from, to.min(self.last).max(from))
    }

    /// Time without a slave, looked for between all instants at which one comes or goes.
    fn absent(&self, from: i64, to: i64) -> i64 {
        let (from, to) = self.observed(from, to);
        let mut cuts: Vec<i64> = self
            .slaves
            .values()
            .flat_map(|life| [life.from, life.to])
            .collect();
        cuts.extend([from, to]);
        cuts.retain(|cut| (from..=to).contains(cut));
        cuts.sort_unstable();
        let is_there = |at: i64| {
            self.slaves
                .values()
                .any(|life| life.from <= at && at < life.to)
        };
        cuts.windows(2)
            .filter(|cut| !is_there(cut[0]))
            .map(|cut| cut[1] - cut[0])
            .sum()
    }
}

pub(super) fn near(found: &Value, expected: Option<f64>, what: &str) {
    match (found.as_f64(), expected) {
        (None, None) => {}
        (Some(found), Some(expected)) => assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
            "{what}: {found}, not {expected}"
        ),
        _ => panic!("{what}: {found}, not {expected:?}"),
    }
}

pub(super) fn show(us: i64) -> String {
    jiff::Timestamp::from_microsecond(us)
        .expect("in range")
        .to_string()
}

fn ratio(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Compares every figure of three commands in a window.
fn compare(file: &std::path::Path, recount: &Recount, since: i64, until: i64) {
    let (since_text, until_text) = (show(since), show(until));
    let window = [
        "--since",
        since_text.as_str(),
        "--until",
        until_text.as_str(),
    ];
    let ask = |args: &[&str]| {
        audit_files(&[args, &window, &["--format", "json"]].concat(), &[file]).json()
    };
    let what = format!("{} {since_text} {until_text}", file.display());
    let (from, to) = recount.observed(since, until);
    let observed = to - from;
    let sum = |name: &str| recount.sum(name, since, until);
    let [present, busy, compute] = recount.times(since, until, None);
    let seconds = |us: i64| Some(us as f64 / 1e6);

    let stats = ask(&["stats"]);
    for (path, expected) in [
        ("/slaves/connected", sum("connected")),
        ("/slaves/rejected", sum("rejected")),
        ("/slaves/disconnected", sum("gone")),
        ("/tasks/sent", sum("sent")),
        ("/tasks/results", sum("results")),
        ("/tasks/failed", sum("failed")),
        ("/tasks/recycled", sum("recycled")),
        ("/tasks/late", sum("late")),
        ("/tasks/cancelled", sum("cancelled")),
        ("/tasks/packets", sum("packets")),
    ] {
        assert_eq!(stats.pointer(path), Some(&json!(expected)), "{what} {path}");
    }
    let at = |path: &str| stats.pointer(path).unwrap_or(&Value::Null);
    near(at("/duration_s"), seconds(observed), &what);
    near(at("/slaves/time_s/present"), seconds(present), &what);
    near(at("/slaves/time_s/compute"), seconds(compute), &what);
    near(at("/slaves/time_s/held"), seconds(busy - compute), &what);
    near(at("/slaves/time_s/idle"), seconds(present - busy), &what);
    near(
        at("/slaves/time_s/absent"),
        seconds(recount.absent(since, until)),
        &what,
    );
    near(at("/stalled_s"), seconds(sum("stalled")), &what);
    near(at("/tasks/compute_s"), seconds(sum("compute")), &what);
    near(
        at("/tasks/results_per_s"),
        ratio(sum("results") * 1_000_000, observed),
        &what,
    );
    near(
        at("/churn/arrivals_per_min"),
        ratio(sum("connected") * 60_000_000, observed),
        &what,
    );
    near(
        at("/churn/departures_per_min"),
        ratio(sum("gone") * 60_000_000, observed),
        &what,
    );
    near(
        at("/churn/loss_ratio"),
        ratio(sum("lost"), sum("gone")),
        &what,
    );
    let mut lives: Vec<i64> = recount
        .slaves
        .values()
        .filter(|life| life.known && life.cause.is_some() && (since..until).contains(&life.to))
        .map(|life| life.to - life.from)
        .collect();
    lives.sort_unstable();
    assert_eq!(
        at("/slaves/lifetime_s/count"),
        &json!(lives.len()),
        "{what}"
    );
    let median = lives
        .len()
        .div_ceil(2)
        .checked_sub(1)
        .map(|at| lives[at] as f64 / 1e6);
    near(at("/slaves/lifetime_s/p50"), median, &what);
    assert_eq!(
        at("/slaves/peak"),
        &json!(recount.peak(since, until)),
        "{what}"
    );
    let there = recount.slaves.values().filter(|life| {
        life.from < until && recount.last >= since && (life.cause.is_none() || life.to >= until)
    });
    assert_eq!(at("/slaves/at_end"), &json!(there.count()), "{what}");

    let timeline = ask(&["timeline", "--bucket", "7s"]);
    near(
        &timeline["compute_s"],
        seconds(compute).filter(|_| !timeline["compute_s"].is_null()),
        &what,
    );
    near(&timeline["busy_s"], seconds(busy), &what);
    near(&timeline["slave_time_s"], seconds(present), &what);
    near(&timeline["utilisation"], ratio(busy, present), &what);
    let churn = ask(&["churn", "--bucket", "7s"]);
    let rows = |document: &Value, sheet: &str| document[sheet].as_array().expect("rows").clone();
    for row in rows(&timeline, "buckets") {
        let start = time(row["start"].as_str().expect("a time"));
        let (from, to) = (start.max(since), (start + 7_000_000).min(until));
        let (seen_from, seen_to) = recount.observed(from, to);
        let seen = (seen_to - seen_from).max(0);
        let [present, busy, compute] = recount.times(from, to, None);
        let what = format!("{what}, bucket {}", row["start"]);
        near(&row["observed_s"], seconds(seen), &what);
        near(&row["present"], ratio(present, seen), &what);
        near(&row["held"], ratio(busy - compute, seen), &what);
        near(&row["idle"], ratio(present - busy, seen), &what);
        for key in ["sent", "results", "failed", "recycled"] {
            assert_eq!(row[key], recount.sum(key, from, to), "{what} {key}");
        }
        near(
            &row["results_per_s"],
            ratio(recount.sum("results", from, to) * 1_000_000, seen),
            &what,
        );
        near(
            &row["stalled_s"],
            seconds(recount.sum("stalled", from, to)),
            &what,
        );
    }
    for (key, name) in [
        ("arrivals", "connected"),
        ("departures", "gone"),
        ("losses", "lost"),
    ] {
        for row in rows(&churn, "buckets") {
            let start = time(row["start"].as_str().expect("a time"));
            let (from, to) = (start.max(since), (start + 7_000_000).min(until));
            assert_eq!(row["peak"], recount.peak(from, to), "{what} {row}");
            assert_eq!(
                row[key],
                recount.sum(name, from, to.max(from)),
                "{what} {key} {row}"
            );
        }
    }
    for row in rows(&timeline, "slaves") {
        let name = row["slave"].as_str().expect("a name");
        let id = name
            .strip_prefix("SLAVE-")
            .expect("a name")
            .parse()
            .expect("a number");
        let [present, busy, _] = recount.times(since, until, Some(id));
        near(
            &row["present_s"],
            seconds(present),
            &format!("{what} {name}"),
        );
        near(&row["busy_s"], seconds(busy), &format!("{what} {name}"));
        near(
            &row["absent_s"],
            seconds(observed - present),
            &format!("{what} {name}"),
        );
    }
}

#[test]
fn every_figure_of_any_window_comes_to_a_recount() {
    let folder = tempfile::tempdir().expect("a folder");
    for seed in 0..3 {
        let mut world = World::new(Form::Ringmw, seed, START_US);
        (0..700).for_each(|_| world.step(9));
        let (trail, _) = world.end();
        let text = String::from_utf8(trail).expect("UTF-8");
        // The second half alone is a rotated trail whose beginning is missing.
        let half = text[..text.len() / 2].rfind('\n').expect("lines") + 1;
        for (name, text) in [("whole", text.as_str()), ("half", &text[half..])] {
            let file = folder.path().join(format!("{name}-{seed}.audit"));
            std::fs::write(&file, text).expect("it writes");
            let recount = Recount::of(text);
            let length = recount.last - recount.first;
            let mut dice = Dice(seed + 77);
            for _ in 0..8 {
                let since = recount.first - 2_000_000 + dice.roll(length as u64) as i64;
                let until = since + 1 + dice.roll(length as u64) as i64;
                compare(&file, &recount, since, until);
            }
            // Before, behind, whole, and an instant without a line.
            for (since, until) in [
                (recount.first - 9_000_000, recount.first),
                (recount.last + 1, recount.last + 9_000_000),
                (recount.first, recount.last + 1),
                (recount.first + length / 3, recount.first + length / 3 + 1),
            ] {
                compare(&file, &recount, since, until);
            }
        }
    }
}
