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

fn time(text: &str) -> i64 {
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

fn near(found: &Value, expected: Option<f64>, what: &str) {
    match (found.as_f64(), expected) {
        (None, None) => {}
        (Some(found), Some(expected)) => assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
            "{what}: {found}, not {expected}"
        ),
        _ => panic!("{what}: {found}, not {expected:?}"),
    }
}

fn show(us: i64) -> String {
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

fn line(us: i64, text: &str) -> String {
    format!("1 {} MASTER {text}\n", full(us))
}

fn full(us: i64) -> String {
    let time = jiff::Timestamp::from_microsecond(us).expect("in range");
    jiff::fmt::strtime::format(
        "%Y-%m-%dT%H:%M:%S.%6fZ",
        &time.to_zoned(jiff::tz::TimeZone::UTC),
    )
    .expect("a format")
}

fn written(trail: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("master.audit");
    std::fs::write(&file, trail).expect("it writes");
    (folder, file)
}

const SECOND: i64 = 1_000_000;

fn init(us: i64) -> String {
    line(
        us,
        "init version=0.1.0 role=master member_id=m build=b app_version=\"\" seed=18446744073709551615 pid=1 host=h",
    )
}

fn came(us: i64, slave: u64) -> String {
    line(
        us,
        &format!(
            "connected slave=SLAVE-{slave} from=10.0.0.{slave}:9 host=n{slave} job=\"\" group=unordered"
        ),
    )
}

/// A slave of one task at a time, which computes for a second and waits for one.
fn steady(start: i64, seconds: i64) -> Vec<(i64, String)> {
    let mut lines = vec![(start, init(start)), (start, came(start, 1))];
    for second in (0..seconds).step_by(2) {
        let us = start + second * SECOND;
        lines.push((
            us,
            line(us, "tasks-sent slave=SLAVE-1 tasks=1 bytes=9 group=1"),
        ));
        let us = us + SECOND;
        lines.push((
            us,
            line(
                us,
                "results-received slave=SLAVE-1 results=1 failed=0 bytes=9 compute_us=1000000",
            ),
        ));
    }
    let end = start + seconds * SECOND;
    lines.push((end, line(end, "disconnected slave=SLAVE-1 from=10.0.0.1:9")));
    lines.push((end, line(end, "exit code=0 reason=done")));
    lines
}

/// A slave that always has a task, and computes for half of its time, as its results say; or of which nobody says how long.
fn ahead(seconds: i64, says_compute: bool) -> String {
    let compute = match says_compute {
        true => " compute_us=500000",
        false => "",
    };
    let sent = |us: i64, tasks: u32| {
        let text = format!("tasks-sent slave=SLAVE-1 tasks={tasks} bytes=9 group=1");
        line(us, &text)
    };
    let mut lines = vec![init(START_US), came(START_US, 1), sent(START_US, 2)];
    for second in 1..seconds {
        let us = START_US + second * SECOND;
        let result = format!("results-received slave=SLAVE-1 results=1 failed=0 bytes=9{compute}");
        lines.extend([line(us, &result), sent(us, 1)]);
    }
    let end = START_US + seconds * SECOND;
    lines.push(line(end, "disconnected slave=SLAVE-1 from=10.0.0.1:9"));
    lines.push(line(end, "exit code=0 reason=done"));
    lines.concat()
}

/// Who has tasks does not compute all the while: both are told, and the latter only where the trail knows it.
#[test]
fn what_slaves_had_and_what_they_computed_are_two_things() {
    let busy = |trail: &str| {
        let told = crate::audit_stdin(&["report", "--format", "json", "-"], trail.as_bytes());
        assert_eq!(told.code, Some(0), "{}", told.err);
        let report = told.json();
        let findings = report["findings"].as_array().expect("an array");
        let found = findings.iter().find(|finding| finding["id"] == "busy");
        let found = found.unwrap_or_else(|| panic!("{report}"));
        found["finding"].as_str().expect("a text").to_owned()
    };
    assert_eq!(
        busy(&ahead(1_001, true)),
        "Slaves had tasks 100 % of their time, and computed 50 % of it."
    );
    assert_eq!(
        busy(&ahead(1_001, false)),
        "Slaves had tasks 100 % of their time."
    );
}

/// As a number most readers of JSON would round it.
#[test]
fn a_large_seed_is_a_text() {
    let trail = ahead(3, true);
    let told = crate::audit_stdin(&["stats", "--format", "json", "-"], trail.as_bytes());
    assert_eq!(told.json()["seed"], "18446744073709551615");
}

/// Where the clock is set, by an hour and by a year, ahead or back, the figures are those of a clock that was not.
#[test]
fn steps_of_the_clock_are_taken_out_both_ways() {
    let lines = steady(START_US, 600);
    let whole: String = lines.iter().map(|line| line.1.as_str()).collect();
    let (_folder, file) = written(&whole);
    let truth = audit_files(&["stats", "--format", "json"], &[&file]).json();
    for step in [3600 * SECOND, -3600 * SECOND, 365 * 86_400 * SECOND] {
        // At 100 s the slave holds nothing: then an hour ahead cannot be told from an hour without a task.
        let times = if step > 0 { &[101][..] } else { &[100, 101] };
        for at in times {
            let moved: String = lines
                .iter()
                .map(|(us, text)| match *us >= START_US + *at * SECOND {
                    true => text.replacen(&full(*us), &full(us + step), 1),
                    false => text.clone(),
                })
                .collect();
            let (_folder, file) = written(&moved);
            let told = audit_files(&["stats", "--format", "json"], &[&file]);
            let found = told.json();
            assert_eq!(found["clock_steps"], 1, "{step} {at}: {}", told.err);
            let way = if step > 0 {
                "the clock goes ahead"
            } else {
                "the clock goes back"
            };
            assert!(told.err.contains(way), "{}", told.err);
            // The step hides how long the pair of lines around it was apart: here at most a second.
            let (was, is) = (&truth["duration_s"], &found["duration_s"]);
            let apart = was.as_f64().expect("a number") - is.as_f64().expect("a number");
            assert!((0.0..=1.0).contains(&apart), "{step} {at}: {was} {is}");
            for path in [
                "/tasks/results",
                "/slaves/connected",
                "/slaves/disconnected",
            ] {
                assert_eq!(found.pointer(path), truth.pointer(path), "{step} {at}");
            }
        }
    }
}

/// An hour in which the slave computed, one in which the master held its thread, and one in which there was nothing to do
/// are hours.
#[test]
fn a_silence_is_no_step_of_the_clock() {
    let sent = |us| line(us, "tasks-sent slave=SLAVE-1 tasks=1 bytes=9 group=1");
    let back = |us, compute: i64| {
        line(
            us,
            &format!(
                "results-received slave=SLAVE-1 results=1 failed=0 bytes=9 compute_us={compute}"
            ),
        )
    };
    let hour = START_US + 3600 * SECOND;
    let begin = init(START_US) + &came(START_US, 1);
    for (what, middle) in [
        ("computing", sent(START_US) + &back(hour, 3_599 * SECOND)),
        (
            "held",
            sent(START_US) + &line(hour, "stall ms=3600000") + &back(hour, SECOND),
        ),
        ("idle", sent(hour) + &back(hour + SECOND, SECOND)),
        (
            "lost",
            sent(START_US) + &line(hour, "client from=10.0.0.9:1"),
        ),
    ] {
        let (_folder, file) = written(
            &(begin.clone() + &middle + &line(hour + 2 * SECOND, "exit code=0 reason=done")),
        );
        let told = audit_files(&["stats", "--format", "json"], &[&file]);
        assert_eq!(told.err, "", "{what}");
        assert_eq!(told.json()["duration_s"], 3602.0, "{what}");
        assert_eq!(told.json()["clock_steps"], 0, "{what}");
    }
}

/// 80 results a second, told by a line a second that sums them: every interval has 80.
#[test]
fn sums_are_spread_over_their_span() {
    let mut trail = init(START_US) + &came(START_US, 1);
    for second in 1..=60 {
        trail += &line(
            START_US + second * SECOND + 137_000,
            "packets slave=SLAVE-1 span_ms=1000 packets_out=80 tasks=80 bytes_out=80 packets_in=80 results=80 failed=0 bytes_in=80 compute_us=260000",
        );
    }
    let (_folder, file) = written(&trail);
    let timeline = audit_files(
        &["timeline", "--bucket", "500ms", "--format", "json"],
        &[&file],
    )
    .json();
    let rows = timeline["buckets"].as_array().expect("rows");
    for row in &rows[2..rows.len() - 2] {
        assert_eq!(row["results"], 40, "{row}");
        near(&row["results_per_s"], Some(80.0), "rate");
        near(&row["computing"], Some(0.26), "computing");
    }
    near(&timeline["compute_s"], Some(60.0 * 0.26), "computing");
}

/// Of 20 slaves' own trails, 14 end in the middle.
#[test]
fn slaves_that_fall_silent_are_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut files = Vec::new();
    for slave in 0..20 {
        let say =
            |us: i64, who: &str, text: &str| format!("1 {} {who} {text}\n", full(START_US + us));
        let name = format!("SLAVE-{slave}");
        let mut trail = say(
            0,
            "SLAVE",
            "init version=0.1.0 role=slave member_id=m build=b app_version=\"\" pid=1 host=n",
        ) + &say(1, "SLAVE", "master-connected to=10.0.0.1:1 from=10.1.7.3:4")
            + &say(2, &name, &format!("id slave={name}"))
            + &say(9 * SECOND, &name, "tasks-received tasks=1 bytes=9 group=1");
        if slave >= 14 {
            trail += &say(30 * SECOND, &name, "master-shutdown finished=yes");
            trail += &say(30 * SECOND, &name, "exit code=0 reason=done");
        }
        let file = folder.path().join(format!("slave{slave}.audit"));
        std::fs::write(&file, trail).expect("it writes");
        files.push(file);
    }
    let stats = audit_files(&["stats", "--format", "json"], &files).json();
    assert_eq!(stats["slaves"]["disconnected_by"]["silent"], 14);
    assert_eq!(stats["slaves"]["disconnected_by"]["shutdown"], 6);
    assert_eq!(stats["slaves"]["peak"], 20);
    assert_eq!(stats["churn"]["loss_ratio"], 0.7);
    near(
        &stats["duration_s"],
        Some(30.0),
        "from the first line of any to the last",
    );
    let churn = audit_files(&["churn", "--bucket", "10s", "--format", "json"], &files).json();
    let present: Vec<f64> = churn["buckets"].as_array().expect("rows")[1..]
        .iter()
        .map(|row| row["present"].as_f64().expect("a number"))
        .collect();
    assert!(
        present[1] < 7.0 && (present[1] - 6.0).abs() < 1.0,
        "{present:?}"
    );
    let (out, _) = (audit_files(&["report", "--format", "csv"], &files).out, ());
    assert!(!out.contains("No slave was lost"), "{out}");
}

/// A task that a loss made unrunnable has a line of its own too.
#[test]
fn a_task_that_crashed_its_slaves_counts_once() {
    let lost = "lost slave=SLAVE-1 from=10.0.0.1:9 cause=eof detail=\"\" recycled=0 tasks=none unrunnable=2 cancelled=0";
    let trail = init(START_US)
        + &came(START_US, 1)
        + &line(START_US + SECOND, lost)
        + &line(START_US + SECOND, "unrunnable task=TASK-1 reason=crashed")
        + &line(START_US + SECOND, "unrunnable task=TASK-2 reason=crashed")
        + &line(
            START_US + 2 * SECOND,
            "unrunnable task=TASK-3 reason=\"too large\"",
        )
        + &line(START_US + 3 * SECOND, "exit code=0 reason=done");
    let (_folder, file) = written(&trail);
    let stats = audit_files(&["stats", "--format", "json"], &[&file]).json();
    assert_eq!(stats["tasks"]["unrunnable"], 3);
    // No reader of JSON can hold this seed in a number.
    assert_eq!(stats["seed"], "18446744073709551615");
}

/// Rotated parts through pipes, in the wrong order; one left out; one missing.
#[test]
fn rotated_parts_are_put_in_order_and_gaps_are_told() {
    let lines: Vec<String> = steady(START_US, 60)
        .into_iter()
        .map(|line| line.1)
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for (name, part) in ["m.audit.2", "m.audit.1", "m.audit"]
        .iter()
        .zip(lines.chunks(21))
    {
        std::fs::write(path(name), part.concat()).expect("it writes");
    }
    let whole = audit_files(
        &["stats", "--format", "json"],
        &[path("m.audit"), path("m.audit.2"), path("m.audit.1")],
    )
    .json();
    assert_eq!(whole["tasks"]["results"], 30);
    assert_eq!(whole["runs"].as_array().map(Vec::len), Some(1));
    let shell = format!(
        "exec {} audit stats --format json <(cat {1}) <(cat {1}.2) <(cat {1}.1)",
        env!("CARGO_BIN_EXE_ringmw"),
        path("m.audit").display()
    );
    let piped = std::process::Command::new("bash")
        .args(["-c", &shell])
        .output()
        .expect("bash is here");
    let piped: Value = serde_json::from_slice(&piped.stdout).expect("JSON");
    for key in ["tasks", "slaves", "start", "end", "duration_s", "lines"] {
        assert_eq!(piped[key], whole[key], "{key}");
    }
    let gap = audit_files(
        &["stats", "--format", "json"],
        &[path("m.audit"), path("m.audit.2")],
    );
    assert!(gap.err.contains("m.audit.1 was not given"), "{}", gap.err);
    let missing = audit_files(
        &["stats", "--format", "json"],
        &[
            path("m.audit"),
            path("m.audit.3"),
            path("m.audit.1"),
            path("m.audit.2"),
        ],
    );
    assert!(
        missing.err.contains("m.audit.3: No such file"),
        "{}",
        missing.err
    );
    assert_eq!(missing.json()["tasks"], whole["tasks"]);
}

/// On the days when the clocks change, 14:00 is 14:00, and a day is as long as it is.
#[test]
fn local_times_on_days_when_the_clocks_change() {
    for (first, at, hours) in [
        ("2026-03-28T20:00:00Z", "2026-03-29T12:00:00Z", 23),
        ("2026-10-24T20:00:00Z", "2026-10-25T13:00:00Z", 25),
    ] {
        let start = time(first);
        let trail: String = (0..96)
            .map(|hour| line(start + hour * 3600 * SECOND, "client from=10.0.0.9:1"))
            .collect();
        let (_folder, file) = written(&trail);
        let zone = ["--zone", "Europe/Berlin"];
        let stats = audit_files(
            &[
                &["stats", "--format", "json", "--since", "14:00"],
                &zone[..],
            ]
            .concat(),
            &[&file],
        )
        .json();
        let found = stats["start"].as_str().expect("a time");
        assert_eq!(time(found), time(at), "{found}");
        let days = audit_files(
            &[
                &["timeline", "--format", "json", "--bucket", "1d"],
                &zone[..],
            ]
            .concat(),
            &[&file],
        )
        .json();
        let rows = days["buckets"].as_array().expect("rows").clone();
        let starts: Vec<&str> = rows
            .iter()
            .map(|row| row["start"].as_str().expect("a time"))
            .collect();
        assert!(
            starts.iter().all(|start| start.contains("T00:00:00")),
            "{starts:?}"
        );
        assert_eq!(
            rows[1]["observed_s"],
            f64::from(hours) * 3600.0,
            "{starts:?}"
        );
    }
}

/// A byte order mark, and what a machine that went down leaves: the line behind it counts.
#[test]
fn marks_and_blocks_of_nul_bytes_eat_no_line() {
    let lines: Vec<String> = steady(START_US, 20)
        .into_iter()
        .map(|line| line.1)
        .collect();
    let (_folder, file) = written(&lines.concat());
    let truth = audit_files(&["stats", "--format", "json"], &[&file]).json();
    for nul in [1usize, 4096, 2_000_000] {
        let mut damaged = b"\xef\xbb\xbf".to_vec();
        damaged.extend_from_slice(lines[..9].concat().as_bytes());
        damaged.resize(damaged.len() + nul, 0);
        damaged.extend_from_slice(lines[9..].concat().as_bytes());
        let (_folder, file) = written("");
        std::fs::write(&file, damaged).expect("it writes");
        let told = audit_files(&["stats", "--format", "json"], &[&file]);
        let found = told.json();
        for key in [
            "tasks",
            "slaves",
            "lines",
            "unparsed",
            "start",
            "duration_s",
        ] {
            assert_eq!(found[key], truth[key], "{nul}: {key}");
        }
        assert!(told.err.contains("NUL bytes"), "{}", told.err);
    }
}

/// A run that crashed and was begun again is one run of two lives; the next is another.
/// A run with a journal: its lives say so, however each of them ended, and another run in the same trail is another.
#[test]
fn lives_with_a_journal_are_one_run() {
    let life = |us: i64, run: &str, number: u32, repeated: u64, known: u64, code: &str| {
        let mut lines = init(us);
        lines += &line(
            us + 1,
            &format!("life run={run} life={number} journal=j state=\"\""),
        );
        lines += &line(
            us + 2,
            &format!(
                "journal-read segments=1 results=9 repeated={repeated} unfounded=0 damaged=0 torn=0 unread=\"\""
            ),
        );
        lines += &line(us + 3, &format!("known results={known}"));
        lines += &line(us + 4, "brought slave=SLAVE-0 results=2");
        lines + &line(us + 5 * SECOND, &format!("exit code={code} reason=x"))
    };
    let mut trail = life(START_US, "aa", 1, 0, 0, "143");
    trail += &life(START_US + 10 * SECOND, "aa", 2, 1, 10, "0");
    trail += &life(START_US + 25 * SECOND, "aa", 3, 4, 30, "0");
    trail += &life(START_US + 60 * SECOND, "bb", 1, 0, 0, "1");
    let (_folder, file) = written(&trail);
    let stats = audit_files(&["stats", "--format", "json"], &[&file]).json();
    assert_eq!(
        (&stats["restarts"], &stats["down_s"]),
        (&json!(2), &json!(15.0))
    );
    let told = |life: &serde_json::Value| {
        let tasks = &life["tasks"];
        let of = |key: &str| tasks[key].as_u64().expect("a number");
        (of("known"), of("brought"), of("repeated"))
    };
    assert_eq!(told(&stats), (40, 8, 4));
    let runs = stats["runs"].as_array().expect("an array");
    assert_eq!(told(&runs[2]), (30, 2, 4));
    let places: Vec<_> = runs
        .iter()
        .map(|life| (life["run"].as_u64(), life["life"].as_u64()))
        .collect();
    let expected = [(1, 1), (1, 2), (1, 3), (2, 1)];
    assert_eq!(places, expected.map(|(run, life)| (Some(run), Some(life))));
    let table = audit_files(&["stats"], &[&file]).out;
    assert!(
        table.contains(
            "40 not computed again, 8 brought by slaves of earlier lives, 4 computed more than once"
        ),
        "{table}"
    );
    let csv = audit_files(&["stats", "--format", "csv"], &[&file]).out;
    assert!(csv.contains("tasks.known,40"), "{csv}");
}

#[test]
fn lives_of_a_run_are_told_apart() {
    let mut trail = init(START_US)
        + &came(START_US, 1)
        + &line(START_US + 10 * SECOND, "client from=10.0.0.9:1");
    let again = START_US + 25 * SECOND;
    trail += &(init(again) + &line(again + 5 * SECOND, "exit code=0 reason=done"));
    let other = START_US + 100 * SECOND;
    trail += &(init(other) + &line(other + 5 * SECOND, "exit code=0 reason=done"));
    let (_folder, file) = written(&trail);
    let stats = audit_files(&["stats", "--format", "json"], &[&file]).json();
    assert_eq!(
        (&stats["restarts"], &stats["down_s"]),
        (&json!(1), &json!(15.0))
    );
    let places: Vec<_> = stats["runs"]
        .as_array()
        .expect("an array")
        .iter()
        .map(|life| (life["run"].clone(), life["life"].clone()))
        .collect();
    assert_eq!(
        places,
        [
            (json!(1), json!(1)),
            (json!(1), json!(2)),
            (json!(2), json!(1))
        ]
    );
    near(&stats["duration_s"], Some(20.0), "observed");
    // Judged by all of them, not by the last.
    let told = audit_files(&["check", "--clean-exit", "--allow-no-results"], &[&file]);
    assert_eq!(told.code, Some(1));
    assert!(
        told.out.contains("no exit line") && told.out.contains("2026-11-20T08:03:03Z"),
        "{}",
        told.out
    );
    let late = audit_files(
        &[
            "check",
            "--clean-exit",
            "--allow-no-results",
            "--since",
            &show(again),
        ],
        &[&file],
    );
    assert_eq!(
        (late.code, late.out.as_str()),
        (Some(0), "the bound is kept\n")
    );
    // The end that comes behind the window is the process's all the same.
    let early = audit_files(
        &[
            "stats",
            "--format",
            "json",
            "--since",
            &show(other),
            "--until",
            &show(other + SECOND),
        ],
        &[&file],
    )
    .json();
    assert_eq!(
        (&early["exit"], &early["exit_at"]),
        (&json!(0), &json!(show(other + 5 * SECOND)))
    );
}

/// A slave that came before the window is none of the young there: at the age of seven seconds two are at risk, not three.
#[test]
fn survival_in_a_window_counts_from_the_age_that_a_slave_had_there() {
    let at = |second: i64, text: &str| line(START_US + second * SECOND, text);
    let lost = |slave: u64| {
        format!(
            "lost slave=SLAVE-{slave} from=10.0.0.{slave}:9 cause=eof detail=\"\" recycled=0 tasks=none unrunnable=0 cancelled=0"
        )
    };
    let trail = init(START_US)
        + &came(START_US, 1)
        + &came(START_US + 29 * SECOND, 2)
        + &came(START_US + 31 * SECOND, 3)
        + &at(36, &lost(2))
        + &at(45, &lost(1))
        + &at(60, "exit code=0 reason=done");
    let (_folder, file) = written(&trail);
    let since = show(START_US + 30 * SECOND);
    let churn = audit_files(&["churn", "--format", "json", "--since", &since], &[&file]).json();
    assert_eq!(
        churn["survival"],
        json!([{"seconds": 0.0, "share": 1.0}, {"seconds": 7.0, "share": 0.5}, {"seconds": 45.0, "share": 0.0}])
    );
    // Lifetimes are whole lives, and those of stats.
    let seconds: Vec<_> = churn["lifetimes"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["seconds"].clone())
        .collect();
    assert_eq!((&seconds[0], &seconds[10]), (&json!(7.0), &json!(45.0)));
}

/// A farm in which nothing is odd, cut and shifted anywhere: a step of the clock is seen where slaves were at work.
#[test]
fn steps_are_found_at_any_line_of_a_busy_trail() {
    let mut lines: Vec<(i64, String)> = vec![(START_US, init(START_US))];
    let mut dice = Dice(11);
    for slave in 0..20u64 {
        lines.push((
            START_US + slave as i64,
            came(START_US + slave as i64, slave),
        ));
        let mut us = START_US + 100 + slave as i64;
        while us < START_US + 300 * SECOND {
            lines.push((
                us,
                line(
                    us,
                    &format!("tasks-sent slave=SLAVE-{slave} tasks=2 bytes=9 group=2"),
                ),
            ));
            let compute = 500_000 + dice.roll(4_000_000) as i64;
            us += compute + 1000;
            let back = format!(
                "results-received slave=SLAVE-{slave} results=2 failed=0 bytes=9 compute_us={compute}"
            );
            lines.push((us, line(us, &back)));
            us += 200;
        }
    }
    lines.sort_by_key(|line| line.0);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("master.audit");
    for step in [3600 * SECOND, 90 * SECOND, -90 * SECOND] {
        for _ in 0..5 {
            let at = 40 + dice.roll(lines.len() as u64 - 100) as usize;
            let moved: String = lines
                .iter()
                .enumerate()
                .map(|(index, (us, text))| match index < at {
                    true => text.clone(),
                    false => text.replacen(&full(*us), &full(us + step), 1),
                })
                .collect();
            std::fs::write(&file, moved).expect("it writes");
            let told = audit_files(&["stats", "--format", "json"], &[&file]).json();
            assert_eq!(told["clock_steps"], 1, "{step} {at}");
            let found = told["duration_s"].as_f64().expect("a number");
            let truth = (lines[lines.len() - 1].0 - START_US) as f64 / 1e6;
            assert!(
                (found - truth).abs() < 2.0,
                "{step} {at}: {found}, not {truth}"
            );
        }
    }
}
