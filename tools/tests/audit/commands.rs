//! The other commands: their figures agree with the summary's, and with what is known.

use serde_json::{Value, json};

use crate::made::{Form, World};
use crate::{RUNS, audit, audit_files, audit_stdin, sample};

fn sum(rows: &Value, key: &str) -> u64 {
    rows.as_array()
        .expect("rows")
        .iter()
        .map(|row| row[key].as_u64().expect("a number"))
        .sum()
}

#[test]
fn churn_comes_to_the_truth() {
    for form in [Form::Ringmw, Form::ClMw] {
        let (trail, truth) = World::run(form, 7, 4000, 30);
        for args in [
            &["churn", "--format", "json", "-"][..],
            &["churn", "--bucket", "30s", "--format", "json", "-"],
        ] {
            let churn = audit_stdin(args, &trail).json();
            let gone: u64 = truth.gone_by.values().sum();
            assert_eq!(sum(&churn["buckets"], "arrivals"), truth.connected);
            assert_eq!(sum(&churn["buckets"], "departures"), gone);
            assert_eq!(
                sum(&churn["buckets"], "losses"),
                gone - truth.gone_by["shutdown"]
            );
            let peak = churn["buckets"]
                .as_array()
                .expect("rows")
                .iter()
                .filter_map(|row| row["peak"].as_u64())
                .max();
            assert_eq!(peak, Some(truth.peak));
            assert_eq!(sum(&churn["by_subnet"], "slaves"), truth.connected);
            assert_eq!(sum(&churn["by_host"], "left"), gone);
            for row in churn["by_reason"].as_array().expect("rows") {
                let reason = row["reason"].as_str().expect("a reason");
                assert_eq!(
                    row["slaves"].as_u64(),
                    truth.gone_by.get(reason).copied(),
                    "{reason}"
                );
            }
            let mut lifetimes = truth.lifetimes_us.clone();
            lifetimes.sort_unstable();
            let median = lifetimes[lifetimes.len().div_ceil(2) - 1] as f64 / 1e6;
            let found = churn["lifetimes"]
                .as_array()
                .expect("rows")
                .iter()
                .find(|row| row["percentile"] == 50.0)
                .expect("a median");
            let found = found["seconds"].as_f64().expect("a number");
            assert!(
                (found - median).abs() <= 0.002 * median + 0.001,
                "{found}, not {median}"
            );
        }
        assert_eq!(
            audit_stdin(
                &["churn", "--bucket", "30s", "--format", "json", "-"],
                &trail
            )
            .json()["bucket_s"],
            30.0
        );
    }
}

/// Four slaves, two of them killed after three seconds; two sent away later: half survive 3 s, and none is lost after.
#[test]
fn survival_takes_those_sent_away_as_still_alive() {
    let curve = audit_files(
        &["churn", "--format", "json"],
        &[sample(RUNS[2], "master.audit")],
    )
    .json()["survival"]
        .clone();
    assert_eq!(
        curve,
        json!([{"seconds": 0.0, "share": 1.0}, {"seconds": 3.0, "share": 0.5}, {"seconds": 13.0, "share": 0.5}])
    );
}

#[test]
fn timeline_comes_to_the_summary() {
    for form in [Form::Ringmw, Form::ClMw] {
        let (trail, truth) = World::run(form, 11, 4000, 30);
        let timeline = audit_stdin(&["timeline", "--format", "json", "-"], &trail).json();
        assert_eq!(sum(&timeline["buckets"], "sent"), truth.sent);
        assert_eq!(sum(&timeline["buckets"], "results"), truth.results);
        assert_eq!(sum(&timeline["slaves"], "results"), truth.results);
        assert_eq!(sum(&timeline["hosts"], "slaves"), truth.connected);
        let lived: i64 = truth.lifetimes_us.iter().sum();
        let present = timeline["slave_time_s"].as_f64().expect("a number");
        assert!(
            (present - lived as f64 / 1e6).abs() < 1e-3 * present,
            "{present}"
        );
        let utilisation = timeline["utilisation"].as_f64().expect("a number");
        assert!((0.0..=1.0).contains(&utilisation), "{utilisation}");
    }
    // SLAVE-2 waited two of its thirteen seconds, SLAVE-5 one of eight.
    let timeline = audit_files(
        &["timeline", "--format", "json"],
        &[sample(RUNS[2], "master.audit")],
    )
    .json();
    assert_eq!(
        (&timeline["slave_time_s"], &timeline["busy_s"]),
        (&json!(43.0), &json!(40.0))
    );
}

#[test]
fn attempts_account_for_every_task_sent() {
    for form in [Form::Ringmw, Form::ClMw] {
        let (trail, truth) = World::run(form, 13, 3000, 20);
        let csv = audit_stdin(&["attempts", "--format", "csv", "-"], &trail).out;
        let mut sent = 0;
        let mut lost = 0;
        for line in csv.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), 15, "{line}");
            sent += cells[5].parse::<u64>().expect("a number");
            lost += u64::from(cells[8] == "lost");
        }
        assert_eq!(sent, truth.sent);
        assert!(lost > 0);
    }
    let told = audit_files(
        &["attempts", "--format", "json"],
        &[sample(RUNS[2], "master.audit")],
    );
    let rows: Vec<Value> = told
        .out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(rows.len(), 33);
    assert_eq!(rows.iter().filter(|row| row["end"] == "lost").count(), 3);
    // Slaves' trails beside it add nothing.
    let files = [
        sample(RUNS[2], "slave1.audit"),
        sample(RUNS[2], "master.audit"),
    ];
    assert_eq!(
        audit_files(&["attempts", "--format", "json"], &files).out,
        told.out
    );
}

#[test]
fn check_says_why() {
    let file = [sample(RUNS[2], "master.audit")];
    let bad = audit_files(
        &[
            "check",
            "--max-loss-ratio",
            "0.05",
            "--min-throughput",
            "3",
            "--min-peak",
            "9",
        ],
        &file,
    );
    assert_eq!(bad.code, Some(1));
    assert_eq!(
        bad.out,
        "loss ratio: 0.50 is more than 0.05 (3 of 6 departures were losses)\npeak: 4.00 is less than 9.00 (slaves at once)\n"
    );
    let good = audit_files(
        &[
            "check",
            "--max-loss-ratio",
            "0.5",
            "--min-throughput",
            "3",
            "--clean-exit",
            "--max-unparsed",
            "0",
        ],
        &file,
    );
    assert_eq!(
        (good.code, good.out.as_str()),
        (Some(0), "all 4 bounds are kept\n")
    );
    let killed = audit_files(
        &["check", "--clean-exit"],
        &[sample(RUNS[4], "master.audit")],
    );
    assert_eq!(killed.code, Some(1));
    assert!(killed.out.contains("no exit line"), "{}", killed.out);
    let none = audit_files(&["check"], &file);
    assert_eq!(none.code, Some(2));
    assert!(none.err.contains("no bound"), "{}", none.err);
    let json = audit_files(
        &["check", "--max-loss-ratio", "0.05", "--format", "json"],
        &file,
    );
    assert_eq!((json.code, &json.json()["ok"]), (Some(1), &json!(false)));
    assert_eq!(
        audit_stdin(&["check", "--max-loss-ratio", "1", "-"], b"").code,
        Some(2)
    );
}

#[test]
fn diff_tells_what_changed() {
    let files = [
        sample(RUNS[2], "master.audit"),
        sample(RUNS[3], "master.audit"),
    ];
    let rows = audit_files(&["diff", "--format", "json"], &files).json()["figures"].clone();
    let row = |name: &str| {
        rows.as_array()
            .expect("rows")
            .iter()
            .find(|row| row["figure"] == name)
            .cloned()
    };
    let results = row("tasks.results").expect("a row");
    assert_eq!((&results["a"], &results["b"]), (&json!(60), &json!(1000)));
    assert!((results["change"].as_f64().expect("a number") - 940.0 / 60.0).abs() < 1e-9);
    assert_eq!(row("slaves.rejected"), None, "nothing in both");
    let same = audit_files(&["diff", "--changed", "1"], &[&files[0], &files[0]]);
    assert_eq!((same.code, same.out.contains("results")), (Some(0), false));
    assert_eq!(
        audit(&["diff", "/nonexistent", "/nonexistent"]).code,
        Some(2)
    );
}

#[test]
fn every_help_shows_an_example() {
    for command in [
        "stats", "churn", "timeline", "tasks", "attempts", "check", "diff", "follow", "report",
        "plot",
    ] {
        let told = audit(&[command, "--help"]);
        assert_eq!(told.code, Some(0), "{command}");
        assert!(
            told.out.contains(&format!("ringmw audit {command} ")),
            "{command}: {}",
            told.out
        );
    }
}

/// Two slaves; the desire falls by one.
#[test]
fn who_is_sent_away_is_no_loss_and_told_apart() {
    let line =
        |second: u32, text: &str| format!("1 2026-11-20T12:00:0{second}.000000Z MASTER {text}\n");
    let came = |slave: u32| {
        format!(
            "connected slave=SLAVE-{slave} from=10.0.0.{slave}:9 host=n{slave} job=\"\" group=unordered"
        )
    };
    let went = |slave: u32| format!("disconnected slave=SLAVE-{slave} from=10.0.0.{slave}:9");
    let trail = [
        line(1, &came(0)),
        line(1, &came(1)),
        line(3, "dismissed slave=SLAVE-1"),
        line(3, &went(1)),
        line(9, &went(0)),
    ]
    .concat();
    let stats = audit_stdin(&["stats", "--format", "json", "-"], trail.as_bytes()).json();
    assert_eq!(stats["slaves"]["dismissed"], 1);
    assert_eq!(stats["slaves"]["disconnected_by"]["shutdown"], 2);
    assert_eq!(stats["churn"]["loss_ratio"], 0.0);
    let churn = audit_stdin(&["churn", "--format", "json", "-"], trail.as_bytes()).json();
    assert_eq!(sum(&churn["buckets"], "dismissed"), 1);
    let reasons: Vec<_> = churn["by_reason"]
        .as_array()
        .expect("rows")
        .iter()
        .map(|row| row["reason"].clone())
        .collect();
    assert_eq!(reasons, ["dismissed", "shutdown"]);
    let table = audit_stdin(&["stats", "-"], trail.as_bytes()).out;
    assert!(table.contains("1 as fewer were desired"), "{table}");
}

#[test]
fn check_refuses_what_it_cannot_judge() {
    let file = [sample(RUNS[2], "master.audit")];
    let check = |args: &[&str]| audit_files(&[&["check"], args].concat(), &file);
    for (args, words) in [
        (&["--max-loss-ratio", "5"][..], "0 to 1"),
        (&["--max-failed-ratio=-0.5"], "0 to 1"),
        (&["--min-throughput", "NaN"], "0 or more"),
        (
            &[
                "--max-loss-ratio",
                "1",
                "--since",
                "2030-01-01",
                "--until",
                "2030-01-02",
            ],
            "no time of the run",
        ),
        (
            &[
                "--max-loss-ratio",
                "1",
                "--since",
                "2026-11-20T09:00:00Z",
                "--until",
                "2026-11-20T08:00:00Z",
            ],
            "the window is empty",
        ),
    ] {
        let told = check(args);
        assert_eq!(told.code, Some(2), "{args:?} {}", told.out);
        assert!(told.err.contains(words), "{args:?}: {}", told.err);
    }
    assert_eq!(check(&["--max-loss-ratio", "50%"]).code, Some(0));
    assert_eq!(check(&["--max-loss-ratio", "49%"]).code, Some(1));
    // Slaves came, nothing was computed.
    let trail = "1 2026-11-20T12:00:01.000000Z MASTER connected slave=SLAVE-0 from=10.0.0.1:9 host=n job=\"\" group=unordered\n";
    let told = audit_stdin(&["check", "--max-loss-ratio", "1", "-"], trail.as_bytes());
    assert_eq!(told.code, Some(1), "{}", told.out);
    assert!(told.out.contains("no result came at all"), "{}", told.out);
    let told = audit_stdin(
        &[
            "check",
            "--max-failed-ratio",
            "1",
            "--allow-no-results",
            "-",
        ],
        trail.as_bytes(),
    );
    assert_eq!(
        told.code,
        Some(1),
        "no results, no share of failures: {}",
        told.out
    );
    let told = audit_stdin(
        &["check", "--max-loss-ratio", "0", "--allow-no-results", "-"],
        trail.as_bytes(),
    );
    assert_eq!(told.code, Some(0), "{}", told.out);
}

#[test]
fn check_against_a_good_run() {
    let (good, slow) = (
        sample(RUNS[1], "master.audit"),
        sample(RUNS[2], "master.audit"),
    );
    let against = good.to_str().expect("UTF-8");
    let same = audit_files(&["check", "--against", against], &[&good]);
    assert_eq!(same.code, Some(0), "{}", same.out);
    let told = audit_files(
        &["check", "--against", against, "--tolerance", "20%"],
        &[&slow],
    );
    assert_eq!(told.code, Some(1));
    for words in [
        "throughput against good",
        "loss ratio against good",
        "the good run: ",
    ] {
        assert!(told.out.contains(words), "{words}: {}", told.out);
    }
    let missing = audit_files(&["check", "--against", "/nonexistent"], &[&slow]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("/nonexistent"), "{}", missing.err);
}

#[test]
fn check_in_the_forms_of_ci_and_collectors() {
    let file = [sample(RUNS[2], "master.audit")];
    let args = [
        "check",
        "--max-loss-ratio",
        "5%",
        "--min-peak",
        "2",
        "--clean-exit",
        "--format",
    ];
    let junit = audit_files(&[&args[..], &["junit"]].concat(), &file);
    assert_eq!(junit.code, Some(1));
    for words in [
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
        "tests=\"3\" failures=\"1\"",
        "name=\"loss ratio\"><failure message=\"loss ratio: 0.50 is more than 0.05 (3 of 6 departures were losses)\"/>",
        "name=\"exit\"/>",
    ] {
        assert!(junit.out.contains(words), "{words}\n{}", junit.out);
    }
    let metrics = audit_files(&[&args[..], &["prometheus"]].concat(), &file);
    assert_eq!(metrics.code, Some(1));
    for line in [
        "# TYPE ringmw_audit_check_ok gauge",
        "ringmw_audit_check_ok 0",
        "ringmw_audit_check_value{bound=\"loss_ratio\"} 0.5",
        "ringmw_audit_check_limit{bound=\"loss_ratio\"} 0.05",
        "ringmw_audit_check_kept{bound=\"loss_ratio\"} 0",
        "ringmw_audit_check_kept{bound=\"peak\"} 1",
        "ringmw_audit_check_value{bound=\"exit\"} 0",
    ] {
        assert!(
            line.ends_with("exit\"} 0") || metrics.out.lines().any(|found| found == line),
            "{line}\n{}",
            metrics.out
        );
    }
}

/// Every task of a trail of level tasks, counted again; and the same slaves by their packets alone.
#[test]
fn task_times_come_to_a_recount() {
    use crate::made::Dice;
    use std::collections::BTreeMap;
    let mut dice = Dice(5);
    let mut lines: Vec<(u64, String)> = Vec::new();
    let mut times: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for slave in 0..6u64 {
        lines.push((
            slave,
            format!("connected slave=SLAVE-{slave} from=10.0.0.{slave}:9 host=n{} job=\"\" group=unordered", slave / 2),
        ));
        let mut us = 1000;
        for number in 0..200u64 {
            let task = slave * 1000 + number;
            let algorithm = ["square", "cube"][(task % 2) as usize];
            let compute = 1000 + dice.roll(9000) * if slave == 5 { 10 } else { 1 };
            lines.push((
                us,
                format!("task-sent slave=SLAVE-{slave} task=TASK-{task} algorithm={algorithm}"),
            ));
            us += compute;
            lines.push((us, format!("results-received slave=SLAVE-{slave} results=1 failed=0 bytes=9 compute_us={compute}")));
            lines.push((
                us,
                format!(
                    "task-ended slave=SLAVE-{slave} task=TASK-{task} end=done compute_us={compute}"
                ),
            ));
            for key in [
                "all".to_owned(),
                format!("algorithm {algorithm}"),
                format!("host n{}", slave / 2),
                format!("slave SLAVE-{slave}"),
            ] {
                times.entry(key).or_default().push(compute);
            }
        }
    }
    for number in 0..7u64 {
        let slave = number % 2 * 3;
        lines.push((
            5_000_000 + number,
            format!(
                "failed task=TASK-{number} algorithm=cube slave=SLAVE-{slave} message=\"no memory\""
            ),
        ));
    }
    lines.push((
        6_000_000,
        "refused from=10.9.9.9:1 host=stranger reason=\"another member id\"".to_owned(),
    ));
    lines.sort();
    let trail = |has_tasks: bool| -> String {
        let kept = lines
            .iter()
            .filter(|line| has_tasks || !line.1.starts_with("task-"));
        let line = |(us, text): &(u64, String)| {
            format!(
                "1 2026-11-20T12:00:{:02}.{:06}Z MASTER {text}\n",
                us / 1_000_000,
                us % 1_000_000
            )
        };
        kept.map(line).collect()
    };
    for (has_tasks, basis) in [(true, "tasks"), (false, "packets")] {
        let told = audit_stdin(
            &["tasks", "--format", "json", "-"],
            trail(has_tasks).as_bytes(),
        )
        .json();
        assert_eq!(
            (&told["basis"], &told["results"]),
            (&json!(basis), &json!(1200))
        );
        let mut seen = 0;
        for (sheet, key) in [
            ("by_algorithm", "algorithm"),
            ("by_host", "host"),
            ("by_slave", "slave"),
        ] {
            for row in told[sheet].as_array().expect("rows") {
                let Some(name) = row[key].as_str() else {
                    assert!(!has_tasks, "packets name no algorithm");
                    continue;
                };
                let mut exact = times[&format!("{key} {name}")].clone();
                exact.sort_unstable();
                assert_eq!(row["tasks"].as_u64(), Some(exact.len() as u64), "{name}");
                let mean = exact.iter().sum::<u64>() as f64 / exact.len() as f64 / 1e6;
                assert!(
                    (row["mean_s"].as_f64().expect("a number") - mean).abs() < 1e-9,
                    "{row} {mean}"
                );
                assert_eq!(
                    row["max_s"].as_f64(),
                    exact.last().map(|&us| us as f64 / 1e6),
                    "{name}"
                );
                for (column, percent) in [("p50_s", 50), ("p90_s", 90), ("p99_s", 99)] {
                    let exact = exact[(exact.len() * percent).div_ceil(100) - 1] as f64 / 1e6;
                    let found = row[column].as_f64().expect("a number");
                    assert!(
                        (found - exact).abs() <= exact / 100.0,
                        "{name} {column}: {found}, not {exact}"
                    );
                }
                seen += 1;
            }
        }
        assert_eq!(seen, if has_tasks { 2 + 3 + 6 } else { 3 + 6 });
        assert_eq!(sum(&told["histogram"], "tasks"), 1200);
        let worst = &told["stragglers"][0];
        let longest = times["all"].iter().max().map(|&us| us as f64 / 1e6);
        assert_eq!(
            (worst["slave"].as_str(), worst["compute_s"].as_f64()),
            (Some("SLAVE-5"), longest)
        );
        assert_eq!(worst["task"].is_string(), has_tasks);
        let failures = &told["failures"];
        assert_eq!(
            (
                &failures[0]["times"],
                &failures[0]["slave"],
                &failures[0]["host"],
                &failures[1]["times"]
            ),
            (&json!(4), &json!("SLAVE-0"), &json!("n0"), &json!(3))
        );
        assert_eq!(told["refusals"][0]["address"], "10.9.9.9");
        assert_eq!(told["refusals"][0]["host"], "stranger");
    }
}
