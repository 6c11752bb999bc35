//! Time in a trail: what slaves had and computed, clocks that were set, silences, sums over a span, parts, lives.

use serde_json::{Value, json};

use crate::audit_files;
use crate::made::{Dice, START_US};
use crate::windows::{near, show, time};

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
