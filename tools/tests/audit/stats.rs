//! `ringmw audit stats` against the truth.

use std::io::Write;
use std::process::Command;

use serde_json::{Value, json};

use crate::made::{Form, START_US, Truth, World};
use crate::{RUNS, audit, audit_files, audit_stdin, sample};

fn number(value: &Value, path: &str) -> f64 {
    let value = path.split('.').fold(value, |value, key| &value[key]);
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{path} is {value}"))
}

fn check(summary: &Value, truth: &Truth, form: Form) {
    for (path, expected) in [
        ("slaves.connected", truth.connected),
        ("slaves.rejected", truth.rejected),
        ("slaves.peak", truth.peak),
        ("slaves.at_end", truth.at_end),
        ("slaves.lifetime_s.count", truth.lifetimes_us.len() as u64),
        ("tasks.sent", truth.sent),
        ("tasks.results", truth.results),
        ("tasks.recycled", truth.recycled),
        ("tasks.packets", truth.packets),
        ("lines", truth.lines),
    ] {
        assert_eq!(number(summary, path), expected as f64, "{path}");
    }
    if form == Form::Ringmw {
        assert_eq!(number(summary, "tasks.failed"), truth.failed as f64);
        assert_eq!(number(summary, "tasks.late"), truth.late as f64);
        assert_eq!(number(summary, "tasks.cancelled"), truth.cancelled as f64);
        assert_eq!(number(summary, "stalled_s"), truth.stalled_ms as f64 / 1e3);
    }
    let by: serde_json::Map<String, Value> = summary["slaves"]["disconnected_by"]
        .as_object()
        .expect("an object")
        .clone()
        .into_iter()
        .filter(|(_, count)| count != 0)
        .collect();
    assert_eq!(Value::Object(by), json!(truth.gone_by));
    assert_eq!(summary["slaves"]["by_subnet"], json!(truth.by_subnet));
    assert_eq!(summary["unparsed"], 0);
    let mut lifetimes = truth.lifetimes_us.clone();
    lifetimes.sort_unstable();
    if let (Some(&min), Some(&max)) = (lifetimes.first(), lifetimes.last()) {
        assert_eq!(number(summary, "slaves.lifetime_s.min"), min as f64 / 1e6);
        assert_eq!(number(summary, "slaves.lifetime_s.max"), max as f64 / 1e6);
        let median = lifetimes[lifetimes.len().div_ceil(2) - 1];
        assert_eq!(
            number(summary, "slaves.lifetime_s.p50"),
            median as f64 / 1e6
        );
    }
    let minutes = truth.duration_us as f64 / 60e6;
    let near = |path: &str, expected: f64| {
        let found = number(summary, path);
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs(),
            "{path}: {found}, not {expected}"
        );
    };
    near("churn.arrivals_per_min", truth.connected as f64 / minutes);
    let gone: u64 = truth.gone_by.values().sum();
    near("churn.departures_per_min", gone as f64 / minutes);
    let lost = gone - truth.gone_by.get("shutdown").unwrap_or(&0);
    near("churn.loss_ratio", lost as f64 / gone as f64);
}

#[test]
fn made_trails_come_to_their_truth() {
    for form in [Form::Ringmw, Form::ClMw] {
        for seed in 0..6 {
            let (trail, truth) = World::run(form, seed, 4000, 30);
            let told = audit_stdin(&["stats", "--format", "json", "-"], &trail);
            assert_eq!((told.err.as_str(), told.code), ("", Some(0)));
            let summary = told.json();
            check(&summary, &truth, form);
            assert_eq!(summary["schema"], 2);
            assert_eq!(summary["start"], "2026-11-20T08:03:03Z");
            match form {
                Form::Ringmw => {
                    assert_eq!(
                        (&summary["source"], &summary["exit"]),
                        (&json!("ringmw"), &json!(0))
                    );
                    assert_eq!(
                        (&summary["seed"], &summary["build"]),
                        (&json!(seed), &json!("b1"))
                    );
                }
                Form::ClMw => assert_eq!(
                    (&summary["source"], &summary["exit"]),
                    (&json!("cl-mw"), &json!("SHUTDOWN"))
                ),
            }
            check(&summary["runs"][0], &truth, form);
        }
    }
}

/// CL-MW's own trails, counted again by a few lines of awk.
#[test]
fn awk_counts_the_same() {
    const AWK: &str = r#"
        / :connecting \[/ { connected++; if (++present > peak) peak = present }
        /EXPECTED MEMBER/ { rejected++ }
        /CEOF -> :disconnected$/ { eof++; present-- }
        /TIMEOUT -> :disconnected$/ { timeout++; present-- }
        /SLAVE-[0-9]+ -> :disconnected$/ { shutdown++; present-- }
        /SLAVE-[0-9]+ <- [0-9]+ tasks$/ { sent += $6; packets++ }
        /SLAVE-[0-9]+ -> [0-9]+ results$/ { results += $6; packets++ }
        / R TASK-/ { recycled++ }
        END { printf "%d %d %d %d %d %d %d %d %d %d %d %d\n", NR, connected, rejected, peak, present, eof, timeout, shutdown,
              sent, results, recycled, packets }"#;
    for run in RUNS {
        let file = sample(run, "master.audit");
        let counted = Command::new("awk")
            .arg(AWK)
            .arg(&file)
            .output()
            .expect("awk is part of POSIX");
        let counted: Vec<f64> = String::from_utf8(counted.stdout)
            .expect("ASCII")
            .split_whitespace()
            .map(|word| word.parse().expect("a number"))
            .collect();
        let summary = audit_files(&["stats", "--format", "json"], &[file]).json();
        let paths = [
            "lines",
            "slaves.connected",
            "slaves.rejected",
            "slaves.peak",
            "slaves.at_end",
            "slaves.disconnected_by.eof",
            "slaves.disconnected_by.timeout",
            "slaves.disconnected_by.shutdown",
            "tasks.sent",
            "tasks.results",
            "tasks.recycled",
            "tasks.packets",
        ];
        assert_eq!(counted.len(), paths.len());
        for (path, expected) in paths.iter().zip(counted) {
            assert_eq!(number(&summary, path), expected, "{run}: {path}");
        }
        assert_eq!(summary["unparsed"], 0, "{run}");
    }
}

/// Slaves' trails tell of tasks and slaves only where there is no master's.
#[test]
fn a_masters_trail_goes_before_its_slaves() {
    for run in RUNS {
        let files: Vec<_> = std::fs::read_dir(sample(run, ""))
            .expect("a folder")
            .map(|file| file.expect("a file").path())
            .collect();
        let (masters, slaves): (Vec<_>, Vec<_>) = files
            .iter()
            .cloned()
            .partition(|file| file.ends_with("master.audit"));
        let all = audit_files(&["stats", "--format", "json"], &files).json();
        let alone = audit_files(&["stats", "--format", "json"], &masters).json();
        for key in ["slaves", "tasks", "churn", "start", "end", "exit"] {
            assert_eq!(all[key], alone[key], "{run}: {key}");
        }
        assert_eq!(all["runs"].as_array().expect("an array").len(), files.len());
        let by_slaves = audit_files(&["stats", "--format", "json"], &slaves).json();
        // A slave that is killed while it computes has written all that it got; the last results may be under way.
        for key in ["connected", "peak"] {
            assert_eq!(
                by_slaves["slaves"][key], alone["slaves"][key],
                "{run}: {key}"
            );
        }
        assert_eq!(by_slaves["tasks"]["sent"], alone["tasks"]["sent"], "{run}");
        assert_eq!(
            by_slaves["tasks"]["results"], alone["tasks"]["results"],
            "{run}"
        );
    }
}

#[test]
fn several_runs_in_one_file_and_rotated_files_in_any_order() {
    let (first, truth_first) = {
        let mut world = World::new(Form::Ringmw, 1, START_US);
        (0..500).for_each(|_| world.step(9));
        world.kill()
    };
    let (second, truth_second) = {
        let mut world = World::new(Form::Ringmw, 2, START_US + 86_400_000_000);
        (0..500).for_each(|_| world.step(9));
        world.end()
    };
    let both = [first.clone(), second.clone()].concat();
    let summary = audit_stdin(&["stats", "--format", "json", "-"], &both).json();
    let runs = summary["runs"].as_array().expect("an array");
    assert_eq!(runs.len(), 2);
    check(&runs[0], &truth_first, Form::Ringmw);
    check(&runs[1], &truth_second, Form::Ringmw);
    assert_eq!(runs[0]["exit"], Value::Null);
    for path in [
        "slaves.connected",
        "slaves.at_end",
        "tasks.sent",
        "tasks.results",
        "lines",
        "slaves.lifetime_s.count",
    ] {
        assert_eq!(
            number(&summary, path),
            number(&runs[0], path) + number(&runs[1], path),
            "{path}"
        );
    }
    assert_eq!(
        (&summary["start"], &summary["end"], &summary["exit"]),
        (&runs[0]["start"], &runs[1]["end"], &json!(0))
    );

    // Cut where a line ends, as rotation does.
    let cut = second[..second.len() / 2]
        .iter()
        .rposition(|&byte| byte == b'\n')
        .expect("lines")
        + 1;
    let folder = tempfile::tempdir().expect("a folder");
    let (older, newer) = (
        folder.path().join("z.audit.1"),
        folder.path().join("a.audit"),
    );
    std::fs::write(&older, &second[..cut]).expect("it writes");
    std::fs::write(&newer, &second[cut..]).expect("it writes");
    for files in [[&older, &newer], [&newer, &older]] {
        let summary = audit_files(&["stats", "--format", "json"], &files).json();
        check(&summary, &truth_second, Form::Ringmw);
        assert_eq!(summary["runs"].as_array().expect("an array").len(), 1);
    }
    // The newer part alone: slaves that came before are there all the same.
    let told = audit_files(&["stats", "--format", "json"], &[&newer]);
    assert_eq!(told.code, Some(0));
    assert!(number(&told.json(), "slaves.peak") > 0.0);
}

#[test]
fn packed_trails_are_read_as_they_are() {
    let trail = std::fs::read(sample(RUNS[2], "master.audit")).expect("a sample");
    let plain = audit_stdin(&["stats", "--format", "json", "-"], &trail).out;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&trail).expect("it packs");
    let gzip = gzip.finish().expect("it packs");
    let zstd =
        ruzstd::encoding::compress_to_vec(&trail[..], ruzstd::encoding::CompressionLevel::Fastest);
    for packed in [&gzip, &zstd] {
        assert!(packed.len() < trail.len());
        assert_eq!(
            audit_stdin(&["stats", "--format", "json", "-"], packed).out,
            plain
        );
    }
}

#[test]
fn the_window_leaves_out_and_still_knows_who_is_there() {
    let file = sample(RUNS[2], "master.audit");
    let stats = |args: &[&str]| {
        audit_files(&[&["stats", "--format", "json"], args].concat(), &[&file]).json()
    };
    let late = stats(&["--since", "2026-11-20T08:03:17Z"]);
    // Two of four were killed a second before; two came later.
    assert_eq!(
        (&late["slaves"]["connected"], &late["slaves"]["peak"]),
        (&json!(2), &json!(4))
    );
    assert_eq!(late["slaves"]["disconnected_by"]["eof"], 1);
    assert_eq!(late["start"], "2026-11-20T08:03:17Z");
    let early = stats(&["--until", "08:03:17"]);
    assert_eq!(
        (&early["slaves"]["connected"], &early["slaves"]["at_end"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(early["tasks"]["recycled"], 4);
    let lines = |summary: &Value| summary["lines"].as_u64().expect("a number");
    assert_eq!(lines(&early) + lines(&late), 187);
    assert_eq!(stats(&["--since", "+4s"])["slaves"], late["slaves"]);
    let berlin = stats(&["--zone", "+01:00"]);
    assert_eq!(berlin["start"], "2026-11-20T08:03:13+01:00");
    let wrong = audit(&["stats", "--since", "soon", "x"]);
    assert_eq!(wrong.code, Some(2));
    assert!(
        wrong.err.contains("--since") && wrong.err.contains("+10m"),
        "{}",
        wrong.err
    );
}

#[test]
fn tables_and_csv() {
    let file = sample(RUNS[2], "master.audit");
    let table = audit_files(&["stats"], &[&file]).out;
    for words in [
        "6 connected, 4 at once",
        "3 eof, 3 shutdown",
        "66 sent, 60 results, 6 recycled",
        "exit SHUTDOWN",
    ] {
        assert!(table.contains(words), "{words}\n{table}");
    }
    let csv = audit_files(&["stats", "--format", "csv"], &[&file]).out;
    for line in [
        "key,value",
        "slaves.connected,6",
        "tasks.sent,66",
        "slaves.by_subnet.127.0.0.0/24,6",
    ] {
        assert!(csv.lines().any(|found| found == line), "{line}\n{csv}");
    }
}

/// A slave's own trail leaves out packets beyond some a second: that is told, not passed over.
#[test]
fn a_slaves_trail_that_is_short_of_packets_is_told() {
    use ringmw_codec::audit::{Event, Line, RoleWord, Who};
    let trail = |packets: i64| {
        let mut trail = Vec::new();
        let mut tell = |us: i64, who, event| {
            Line {
                time_us: START_US + us,
                who,
                event,
            }
            .write(&mut trail)
        };
        let init = Event::Init {
            version: "0.1.0".into(),
            role: RoleWord::Slave,
            member_id: "m".into(),
            build: "b".into(),
            app_version: String::new(),
            seed: None,
            pid: 1,
            host: "node1".into(),
        };
        tell(0, Who::Slave(None), init);
        let addresses = Event::MasterConnected {
            to: "10.0.0.1:1".into(),
            from: "10.1.7.3:4".into(),
        };
        tell(1, Who::Slave(None), addresses);
        tell(2, Who::Slave(Some(5)), Event::Id { slave: 5 });
        for packet in 0..packets {
            tell(
                100 + packet,
                Who::Slave(Some(5)),
                Event::TasksReceived {
                    tasks: 3,
                    bytes: 9,
                    group: 1,
                },
            );
            tell(
                100 + packet,
                Who::Slave(Some(5)),
                Event::ResultsSent {
                    results: 3,
                    bytes: 9,
                },
            );
        }
        tell(
            9_000_000,
            Who::Slave(Some(5)),
            Event::MasterLost {
                reason: "eof".into(),
            },
        );
        tell(
            9_000_001,
            Who::Slave(None),
            Event::Exit {
                code: 255,
                reason: "lost".into(),
            },
        );
        trail
    };
    let few = audit_stdin(&["stats", "--format", "json", "-"], &trail(3));
    assert_eq!(few.err, "");
    let summary = few.json();
    assert_eq!(
        (&summary["tasks"]["sent"], &summary["tasks"]["results"]),
        (&json!(9), &json!(9))
    );
    assert_eq!(summary["slaves"]["by_subnet"], json!({"10.1.7.0/24": 1}));
    assert_eq!(
        (
            &summary["slaves"]["disconnected_by"]["eof"],
            &summary["exit"]
        ),
        (&json!(1), &json!(255))
    );
    let many = audit_stdin(&["stats", "-"], &trail(10));
    assert!(many.err.contains("leave out the rest"), "{}", many.err);
}
