//! Every figure of every command, over random windows of true stories, against the recount.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::audit_files;
use crate::recount::{Recount, Sums, show};
use crate::stories::{self, Kind, Stream, story};

/// Windows per story; the gate asks for all of them by this variable.
const FULL: &str = "RINGMW_AUDIT_WINDOWS";

/// What disagrees, in words.
#[derive(Default)]
struct Judge {
    differing: Vec<String>,
    compared: u64,
    place: String,
}

impl Judge {
    fn number(&mut self, name: &str, found: &Value, expected: f64) {
        self.compared += 1;
        if !is_close(found, expected) {
            let place = &self.place;
            self.differing
                .push(format!("{place}: {name}: {found}, recounted {expected}"));
        }
    }

    /// Of compute time there may be nothing to tell.
    fn computed(&mut self, name: &str, found: &Value, expected: Option<f64>) {
        match found {
            Value::Null if expected.is_none_or(|expected| expected == 0.0) => self.compared += 1,
            _ => self.maybe(name, found, expected),
        }
    }

    fn maybe(&mut self, name: &str, found: &Value, expected: Option<f64>) {
        match expected {
            Some(expected) => self.number(name, found, expected),
            None => {
                self.compared += 1;
                if !found.is_null() {
                    let place = &self.place;
                    self.differing
                        .push(format!("{place}: {name}: {found}, recounted none"));
                }
            }
        }
    }

    fn holds(&mut self, name: &str, is_so: bool, why: impl FnOnce() -> String) {
        self.compared += 1;
        if !is_so {
            let place = &self.place;
            self.differing.push(format!("{place}: {name}: {}", why()));
        }
    }
}

fn is_close(found: &Value, expected: f64) -> bool {
    let is_near = |found: f64| (found - expected).abs() <= 2e-6 + 1e-9 * expected.abs();
    found.as_f64().is_some_and(is_near)
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn stats(
    judge: &mut Judge,
    recount: &Recount,
    files: &[PathBuf],
    args: &[&str],
    window: (i64, i64),
) {
    let told = |format: &str| {
        let told = audit_files(&[&["stats", "--format", format], args].concat(), files);
        assert_eq!(told.code, Some(0), "{}", told.err);
        told
    };
    let found = told("json").json();
    let sums = recount.sums(window);
    let seconds = sums.watched_us as f64 / 1e6;
    let lines = recount.lines_in(window).count();
    judge.number("lines", &found["lines"], lines as f64);
    judge.number("duration_s", &found["duration_s"], seconds);
    let slaves = &found["slaves"];
    let (peak, at_end) = (recount.peak(window), recount.at_end(window));
    let rejected = recount
        .lines_in(window)
        .filter(|words| matches!(words.event.as_str(), "refused" | "rejected"))
        .count() as u64;
    judge.number(
        "slaves.connected",
        &slaves["connected"],
        sums.arrivals as f64,
    );
    judge.number("slaves.rejected", &slaves["rejected"], rejected as f64);
    judge.number(
        "slaves.disconnected",
        &slaves["disconnected"],
        sums.departures as f64,
    );
    judge.number("slaves.peak", &slaves["peak"], peak as f64);
    judge.number("slaves.at_end", &slaves["at_end"], at_end as f64);
    for cause in ["eof", "reset", "timeout", "shutdown"] {
        let count = recount
            .lines_in(window)
            .filter(|words| match words.event.as_str() {
                "lost" => words.text("cause") == cause,
                "disconnected" => cause == "shutdown",
                _ => false,
            })
            .count();
        let name = format!("slaves.disconnected_by.{cause}");
        let found = match &slaves["disconnected_by"][cause] {
            Value::Null => &Value::from(0),
            found => found,
        };
        judge.number(&name, found, count as f64);
    }
    let subnets = slaves["by_subnet"].as_object().expect("an object");
    let sum: u64 = subnets.values().filter_map(Value::as_u64).sum();
    judge.number("slaves.by_subnet", &sum.into(), sums.arrivals as f64);
    for (subnet, count) in subnets {
        let came = recount.lives.values().filter(|life| {
            life.subnet == *subnet && (window.0..window.1).contains(&life.joined_us)
        });
        judge.number(
            &format!("slaves.by_subnet.{subnet}"),
            count,
            came.count() as f64,
        );
    }
    let lifetimes = recount.lifetimes_us(window);
    let life = &slaves["lifetime_s"];
    judge.number(
        "slaves.lifetime_s.count",
        &life["count"],
        lifetimes.len() as f64,
    );
    for (key, percent) in [
        ("min", 0),
        ("p50", 50),
        ("p90", 90),
        ("p99", 99),
        ("max", 100),
    ] {
        let rank = (lifetimes.len() * percent).div_ceil(100).max(1);
        let expected = lifetimes.get(rank - 1).map(|&us| us as f64 / 1e6);
        judge.maybe(&format!("slaves.lifetime_s.{key}"), &life[key], expected);
    }
    let tasks = &found["tasks"];
    for (key, expected) in [
        ("sent", sums.sent),
        ("results", sums.results),
        ("failed", sums.failed),
        ("recycled", sums.recycled),
        ("packets", sums.packets_out + sums.packets_in),
        ("packets_out", sums.packets_out),
        ("packets_in", sums.packets_in),
        ("bytes_out", sums.bytes_out),
        ("bytes_in", sums.bytes_in),
    ] {
        judge.number(&format!("tasks.{key}"), &tasks[key], expected as f64);
    }
    judge.number(
        "tasks.compute_s",
        &tasks["compute_s"],
        sums.compute_us as f64 / 1e6,
    );
    judge.maybe(
        "tasks.results_per_s",
        &tasks["results_per_s"],
        ratio(sums.results as f64, seconds),
    );
    let churn = &found["churn"];
    judge.maybe(
        "churn.arrivals_per_min",
        &churn["arrivals_per_min"],
        ratio(sums.arrivals as f64 * 60.0, seconds),
    );
    judge.maybe(
        "churn.departures_per_min",
        &churn["departures_per_min"],
        ratio(sums.departures as f64 * 60.0, seconds),
    );
    judge.maybe(
        "churn.loss_ratio",
        &churn["loss_ratio"],
        ratio(sums.losses as f64, sums.departures as f64),
    );
    // CSV has the same leaves, the table the same counts.
    let csv = told("csv").out;
    for (key, expected) in [
        ("slaves.connected", sums.arrivals),
        ("slaves.peak", peak),
        ("tasks.sent", sums.sent),
        ("tasks.results", sums.results),
        ("tasks.recycled", sums.recycled),
    ] {
        let line = format!("{key},{expected}");
        judge.holds(
            &format!("csv {key}"),
            csv.lines().any(|found| found == line),
            || {
                let found = csv
                    .lines()
                    .find(|found| found.starts_with(&format!("{key},")));
                format!("{found:?}, recounted {expected}")
            },
        );
    }
    let table = told("table").out;
    for words in [
        format!("{} connected", grouped(sums.arrivals)),
        format!("{} at once", grouped(peak)),
        format!("{} at the end", grouped(at_end)),
        format!("{} sent", grouped(sums.sent)),
        match sums.results {
            1 => "1 result".to_owned(),
            results => format!("{} results", grouped(results)),
        },
        format!("{} recycled", grouped(sums.recycled)),
    ] {
        judge.holds("table", table.contains(&words), || {
            format!("it lacks {words:?}")
        });
    }
}

/// Rows of CSV, by column.
fn csv_rows(text: &str) -> Vec<Vec<String>> {
    text.lines()
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

fn sheets(
    judge: &mut Judge,
    recount: &Recount,
    files: &[PathBuf],
    args: &[&str],
    window: (i64, i64),
) {
    let bucket_us = bucket(recount, window);
    let bucket_text = format!("{}ms", bucket_us / 1000);
    let told = |command: &str, format: &str| {
        let own = [command, "--bucket", &bucket_text, "--format", format];
        let told = audit_files(&[&own[..], args].concat(), files);
        assert_eq!(told.code, Some(0), "{}", told.err);
        told
    };
    let (churn, timeline) = (
        told("churn", "json").json(),
        told("timeline", "json").json(),
    );
    let sums = recount.sums(window);
    judge.number(
        "timeline slave_time_s",
        &timeline["slave_time_s"],
        sums.present_us as f64 / 1e6,
    );
    if !recount.has_sums() {
        for (key, us) in [
            ("busy_s", sums.busy_us),
            ("compute_s", sums.computed_us),
            ("held_s", sums.busy_us - sums.computed_us),
            ("idle_s", sums.present_us - sums.busy_us),
        ] {
            let seconds = us as f64 / 1e6;
            judge.computed(&format!("timeline {key}"), &timeline[key], Some(seconds));
        }
    }
    let starts = |sheet: &Value| -> Vec<String> {
        let rows = sheet.as_array().expect("rows");
        let start = |row: &Value| row["start"].as_str().expect("a time").to_owned();
        rows.iter().map(start).collect()
    };
    let bounds = recount.bounds();
    let from_us = window.0.max(bounds.0).div_euclid(bucket_us) * bucket_us;
    let to_us = window.1.min(bounds.1 + 1);
    let expected: Vec<String> = (0..)
        .map(|nth| from_us + nth * bucket_us)
        .take_while(|&us| us < to_us)
        .map(show)
        .collect();
    for (name, sheet) in [
        ("churn", &churn["buckets"]),
        ("timeline", &timeline["buckets"]),
    ] {
        let found = starts(sheet);
        judge.holds(&format!("{name} buckets"), found == expected, || {
            let ends = |list: &[String]| (list.len(), list.first().cloned(), list.last().cloned());
            format!("{:?}, recounted {:?}", ends(&found), ends(&expected))
        });
        if found != expected {
            return;
        }
    }
    for nth in 0..expected.len() {
        let us = from_us + nth as i64 * bucket_us;
        let part = (us.max(window.0), (us + bucket_us).min(window.1));
        let sums = recount.sums(part);
        bucket_rows(
            judge,
            &churn["buckets"][nth],
            &timeline["buckets"][nth],
            &sums,
            recount,
            part,
        );
    }
    crowds(judge, recount, &churn, &timeline, window);
    // CSV has the rows of JSON.
    for (command, json) in [("churn", &churn), ("timeline", &timeline)] {
        let rows = csv_rows(&told(command, "csv").out);
        let list = json["buckets"].as_array().expect("rows");
        judge.holds(
            &format!("{command} csv rows"),
            rows.len() == list.len() + 1,
            || format!("{}, in JSON {}", rows.len() - 1, list.len()),
        );
        for (cells, row) in rows[1..].iter().zip(list) {
            for (column, cell) in rows[0].iter().zip(cells) {
                let same = match &row[column] {
                    Value::Null => cell.is_empty(),
                    Value::String(text) => text == cell,
                    // JSON is read to the last but one digit.
                    number => cell.parse().is_ok_and(|cell: f64| is_close(number, cell)),
                };
                judge.holds(&format!("{command} csv {column}"), same, || {
                    format!("{cell}, in JSON {}", row[column])
                });
            }
        }
        let table = told(command, "table").out;
        if list.len() <= 40 {
            for row in list {
                let key = if command == "churn" {
                    "arrivals"
                } else {
                    "results"
                };
                let count = grouped(row[key].as_u64().expect("a count"));
                let start = row["start"].as_str().expect("a time");
                let line = table.lines().find(|line| line.contains(start));
                let is_there =
                    line.is_some_and(|line| line.split_whitespace().any(|word| word == count));
                judge.holds(&format!("{command} table"), is_there, || {
                    format!("{count} is not in {line:?} of {start}")
                });
            }
        }
    }
}

fn bucket_rows(
    judge: &mut Judge,
    churn: &Value,
    timeline: &Value,
    sums: &Sums,
    recount: &Recount,
    part: (i64, i64),
) {
    judge.number("churn arrivals", &churn["arrivals"], sums.arrivals as f64);
    judge.number(
        "churn departures",
        &churn["departures"],
        sums.departures as f64,
    );
    judge.number("churn losses", &churn["losses"], sums.losses as f64);
    judge.number("churn peak", &churn["peak"], recount.peak(part) as f64);
    let present = ratio(sums.present_us as f64, sums.watched_us as f64);
    judge.maybe("churn present", &churn["present"], present);
    judge.maybe("timeline present", &timeline["present"], present);
    for (key, expected) in [
        ("sent", sums.sent),
        ("results", sums.results),
        ("failed", sums.failed),
        ("recycled", sums.recycled),
    ] {
        judge.number(&format!("timeline {key}"), &timeline[key], expected as f64);
    }
    if !recount.has_sums() {
        for (key, us) in [
            ("busy", sums.busy_us),
            ("computing", sums.computed_us),
            ("held", sums.busy_us - sums.computed_us),
            ("idle", sums.present_us - sums.busy_us),
        ] {
            let mean = ratio(us as f64, sums.watched_us as f64);
            judge.computed(&format!("timeline bucket {key}"), &timeline[key], mean);
        }
    }
}

fn crowds(
    judge: &mut Judge,
    recount: &Recount,
    churn: &Value,
    timeline: &Value,
    window: (i64, i64),
) {
    for (sheet, key) in [("by_subnet", "subnet"), ("by_host", "host")] {
        let mut expected = recount.sums_by(window, |_, life| match key {
            "subnet" => life.subnet.clone(),
            _ => life.host.clone(),
        });
        for row in churn[sheet].as_array().expect("rows") {
            let name = row[key].as_str().expect("a name");
            let sums = expected.remove(name).unwrap_or_default();
            judge.number(
                &format!("churn {sheet} slaves"),
                &row["slaves"],
                sums.slaves as f64,
            );
            judge.number(
                &format!("churn {sheet} left"),
                &row["left"],
                sums.departures as f64,
            );
            judge.number(
                &format!("churn {sheet} lost"),
                &row["lost"],
                sums.losses as f64,
            );
            judge.number(
                &format!("churn {sheet} results"),
                &row["results"],
                sums.results as f64,
            );
            let stay_s = sums.present_us as f64 / 1e6 / sums.slaves.max(1) as f64;
            judge.number(
                &format!("churn {sheet} mean_stay_s"),
                &row["mean_stay_s"],
                stay_s,
            );
        }
        judge.holds(&format!("churn {sheet}"), expected.is_empty(), || {
            format!("it lacks {:?}", expected.keys())
        });
    }
    let mut expected = recount.sums_by(window, |key, _| key);
    for row in timeline["slaves"].as_array().expect("rows") {
        let number = row["slave"]
            .as_str()
            .and_then(|name| name.strip_prefix("SLAVE-"));
        let number: u32 = number
            .and_then(|number| number.parse().ok())
            .expect("a slave");
        let key = (row["run"].as_u64().expect("a run") as usize, number);
        let Some(sums) = expected.remove(&key) else {
            judge.holds("timeline slaves", false, || {
                format!("{key:?} was not there")
            });
            continue;
        };
        judge.number(
            "timeline slaves present_s",
            &row["present_s"],
            sums.present_us as f64 / 1e6,
        );
        judge.number("timeline slaves sent", &row["sent"], sums.sent as f64);
        judge.number(
            "timeline slaves results",
            &row["results"],
            sums.results as f64,
        );
        judge.number("timeline slaves failed", &row["failed"], sums.failed as f64);
        if !recount.has_sums() {
            for (key, us) in [
                ("busy_s", sums.busy_us),
                ("compute_s", sums.computed_us),
                ("held_s", sums.busy_us - sums.computed_us),
                ("idle_s", sums.present_us - sums.busy_us),
            ] {
                let seconds = us as f64 / 1e6;
                judge.computed(&format!("timeline slaves {key}"), &row[key], Some(seconds));
            }
        }
        let joined = show(recount.lives[&key].joined_us);
        judge.holds("timeline slaves joined", row["joined"] == joined, || {
            format!("{}", row["joined"])
        });
    }
    judge.holds("timeline slaves", expected.is_empty(), || {
        format!("it lacks {:?}", expected.keys())
    });
}

/// Rows of `attempts`: every hand-out of the window, and the tasks in them.
fn attempts(
    judge: &mut Judge,
    recount: &Recount,
    files: &[PathBuf],
    args: &[&str],
    window: (i64, i64),
) {
    if recount.has_sums() {
        return;
    }
    let told = |format: &str| {
        let told = audit_files(&[&["attempts", "--format", format], args].concat(), files);
        assert_eq!(told.code, Some(0), "{}", told.err);
        told.out
    };
    let rows: Vec<Value> = told("json")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let sums = recount.sums(window);
    let sum = |key: &str| -> f64 { rows.iter().filter_map(|row| row[key].as_f64()).sum() };
    judge.number("attempts rows", &rows.len().into(), sums.packets_out as f64);
    judge.number("attempts tasks", &sum("tasks").into(), sums.sent as f64);
    judge.number(
        "attempts bytes_out",
        &sum("bytes_out").into(),
        sums.bytes_out as f64,
    );
    let csv = csv_rows(&told("csv"));
    judge.number(
        "attempts csv rows",
        &(csv.len() - 1).into(),
        rows.len() as f64,
    );
    let table = told("table");
    judge.number(
        "attempts table rows",
        &(table.lines().count() - 1).into(),
        rows.len() as f64,
    );
}

/// A length that divides the window into some thirty buckets.
fn bucket(recount: &Recount, window: (i64, i64)) -> i64 {
    let bounds = recount.bounds();
    let length_us = window.1.min(bounds.1) - window.0.max(bounds.0);
    (length_us.max(1) / 30 / 1000).max(1) * 1000
}

/// A window of a trail: any part of it, now and then with an end outside of it.
fn random_window(chance: &mut Stream, bounds: (i64, i64)) -> (i64, i64) {
    let length_us = (bounds.1 - bounds.0).max(1000) as f64;
    let mut at = || bounds.0 + (length_us * chance.between(-0.05, 1.05)) as i64;
    let (a, b) = (at(), at());
    (a.min(b), a.max(b).max(a.min(b) + 1000))
}

/// A trail as rotation leaves it: cut at ends of lines, the parts in any order.
fn rotated(folder: &Path, trail: &[u8], chance: &mut Stream) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut rest = trail;
    for part in ["z.audit.2", "a.audit.1", "m.audit"] {
        let wanted = match part {
            "m.audit" => rest.len(),
            _ => chance.below(rest.len() as u64) as usize,
        };
        let cut = rest[..wanted]
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let file = folder.join(part);
        std::fs::write(&file, &rest[..cut]).expect("it writes");
        // A part without a line tells nothing of its place.
        if cut > 0 {
            files.push(file);
        }
        rest = &rest[cut..];
    }
    if chance.chance(0.5) {
        files.reverse();
    }
    files
}

/// Compares all windows of one kind.
fn compare_kind(
    nth: usize,
    kind: Kind,
    windows: std::ops::RangeInclusive<u64>,
    lines: f64,
) -> Judge {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("master.audit");
    let mut judge = Judge::default();
    let mut chance = Stream::new(nth as u64 + 77);
    let seed = chance.next() % 1000;
    let trail = story(kind, seed, lines).trail;
    std::fs::write(&file, &trail).expect("it writes");
    let parts = rotated(folder.path(), &trail, &mut chance);
    let recount = Recount::read(&trail);
    let bounds = recount.bounds();
    for number in windows {
        let window = match number {
            0 => (bounds.0, bounds.1 + 1),
            _ => random_window(&mut chance, bounds),
        };
        let (since, until) = (show(window.0), show(window.1));
        let args: Vec<&str> = match number {
            0 => vec![],
            _ => vec!["--since", &since, "--until", &until],
        };
        judge.place = format!("{kind:?} seed {seed} {}", args.join(" "));
        // A window that nothing is in has no figures to compare.
        if recount.watched_us(window) == 0 {
            continue;
        }
        let whole = [file.clone()];
        let files = if number % 3 == 2 { &parts } else { &whole[..] };
        stats(&mut judge, &recount, files, &args, window);
        sheets(&mut judge, &recount, files, &args, window);
        attempts(&mut judge, &recount, files, &args, window);
    }
    judge
}

/// All kinds, on two processors.
fn compare(kinds: &[Kind], windows: std::ops::RangeInclusive<u64>, lines: f64) {
    let half = |first: usize| {
        let own = kinds.iter().enumerate().skip(first).step_by(2);
        let mut all = Judge::default();
        for (nth, &kind) in own {
            let judge = compare_kind(nth, kind, windows.clone(), lines);
            all.compared += judge.compared;
            all.differing.extend(judge.differing);
        }
        all
    };
    let judge = std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut judge = half(0);
        let other = other.join().expect("no panic");
        judge.compared += other.compared;
        judge.differing.extend(other.differing);
        judge
    });
    if let Some(path) = std::env::var_os("RINGMW_AUDIT_DIFFERING") {
        std::fs::write(path, judge.differing.join("\n") + "\n").expect("it writes");
    }
    assert!(judge.compared > 1000, "{} figures", judge.compared);
    let shown = judge.differing.iter().take(40).cloned().collect::<Vec<_>>();
    assert!(
        judge.differing.is_empty(),
        "{} of {} figures differ:\n{}",
        judge.differing.len(),
        judge.compared,
        shown.join("\n")
    );
}

/// A window of each kind; where the variable says how many, the whole trail and so many windows of each.
#[test]
fn every_figure_of_every_story_is_the_recounts() {
    let windows = std::env::var(FULL)
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    let kinds: Vec<Kind> = [Kind::Calm, Kind::CalmHosts]
        .into_iter()
        .chain(Kind::TROUBLES)
        .collect();
    match windows {
        Some(windows) => compare(&kinds, 0..=windows, 6000.0),
        None => compare(&kinds, 1..=1, 300.0),
    }
}

/// Summer time ends and begins: a time of day and a day are those of the clock on the wall.
#[test]
fn times_of_day_and_days_are_local_through_both_changes_of_summer_time() {
    const HOUR_US: i64 = 3_600_000_000;
    let folder = tempfile::tempdir().expect("a folder");
    let file = [folder.path().join("master.audit")];
    // 22:00 in Berlin before the change; 14:00 and both midnights in UTC.
    for (start_us, since_us, midnights) in [
        (
            1_792_872_000_000_000,
            1_792_872_000_000_000 + 17 * HOUR_US,
            [
                "2026-10-24T00:00:00+02:00",
                "2026-10-25T00:00:00+02:00",
                "2026-10-26T00:00:00+01:00",
            ],
        ),
        (
            1_774_731_600_000_000,
            1_774_731_600_000_000 + 15 * HOUR_US,
            [
                "2026-03-28T00:00:00+01:00",
                "2026-03-29T00:00:00+01:00",
                "2026-03-30T00:00:00+02:00",
            ],
        ),
    ] {
        let plan = stories::world::Plan {
            start_us,
            length_us: 30 * HOUR_US,
            packet_us: 600e6,
            losses_per_s: 1e-4,
            ..Default::default()
        };
        let trail = stories::world::run(plan, 5);
        std::fs::write(&file[0], &trail).expect("it writes");
        let recount = Recount::read(&trail);
        let mut judge = Judge::default();
        let window = (since_us, recount.bounds().1 + 1);
        let args = ["--zone", "Europe/Berlin", "--since", "14:00"];
        stats(&mut judge, &recount, &file, &args, window);
        assert_eq!(judge.differing, [""; 0]);
        let args = [
            "churn",
            "--zone",
            "Europe/Berlin",
            "--bucket",
            "1d",
            "--format",
            "json",
        ];
        let churn = audit_files(&args, &file).json();
        let starts: Vec<&Value> = churn["buckets"]
            .as_array()
            .expect("rows")
            .iter()
            .map(|row| &row["start"])
            .collect();
        assert_eq!(starts, midnights);
    }
}
