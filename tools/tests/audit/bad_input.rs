//! Trails that are not as they should be: counted, told once with line numbers, never a panic.

use crate::made::{Dice, Form, START_US, World};
use crate::{RUNS, audit, audit_files, audit_stdin, sample};

const STATS: [&str; 4] = ["stats", "--format", "json", "-"];

#[test]
fn nothing_to_read_is_exit_2() {
    for input in [&b""[..], b"\n\n", b"hello\n", &[0, 159, 146, 150, 10, 255]] {
        let told = audit_stdin(&STATS, input);
        assert_eq!(told.code, Some(2), "{input:?}");
        assert!(
            told.err
                .contains("no line of a ringmw or CL-MW audit trail"),
            "{}",
            told.err
        );
        let lines = input.split_inclusive(|&byte| byte == b'\n').count();
        assert_eq!(
            (
                told.json()["lines"].as_u64(),
                told.json()["unparsed"].as_u64()
            ),
            (Some(lines as u64), Some(lines as u64))
        );
    }
    let told = audit(&["stats", "/nonexistent/master.audit"]);
    assert_eq!(told.code, Some(2));
    assert!(
        told.err.contains("/nonexistent/master.audit"),
        "{}",
        told.err
    );
}

#[test]
fn one_file_of_two_that_is_missing_is_told() {
    let told = audit_files(
        &["stats"],
        &[sample(RUNS[0], "master.audit"), "/nonexistent".into()],
    );
    assert_eq!(told.code, Some(0));
    assert!(told.err.contains("/nonexistent"), "{}", told.err);
}

#[test]
fn rubbish_between_lines_is_counted_and_told_with_its_line() {
    let text = std::fs::read_to_string(sample(RUNS[2], "master.audit")).expect("a sample");
    let mut lines: Vec<&[u8]> = text.lines().map(str::as_bytes).collect();
    lines.insert(3, b"\x00\xff\xfe");
    lines.insert(9, b"Segmentation fault");
    lines.insert(
        20,
        b"0 2026-11-20T08:03:03.000000Z MASTER state slave=SLAVE-0 state=idle",
    );
    let mut input = lines.join(&b'\n');
    input.push(b'\n');
    let told = audit_stdin(&STATS, &input);
    assert_eq!(told.code, Some(0));
    let summary = told.json();
    assert_eq!(
        (&summary["lines"], &summary["unparsed"]),
        (&190.into(), &3.into())
    );
    assert_eq!(
        (&summary["tasks"]["sent"], &summary["slaves"]["connected"]),
        (&66.into(), &6.into())
    );
    for words in [
        "3 lines",
        "standard input:4: no text",
        "standard input:10: no line of",
        "standard input:21: column 1: version \"0\"",
    ] {
        assert!(told.err.contains(words), "{words}\n{}", told.err);
    }
}

#[test]
fn many_bad_lines_are_told_once() {
    let mut input = b"1 x\n".repeat(10_000);
    input.extend_from_slice(b"11/20/2026 08:03:03 [A] INIT MASTER \"m\"\n");
    let told = audit_stdin(&STATS, &input);
    assert_eq!(told.code, Some(0));
    assert_eq!(told.json()["unparsed"], 10_000);
    assert!(
        told.err.contains("10000 lines") && told.err.lines().count() < 10,
        "{}",
        told.err
    );
}

/// A trail may end anywhere; so may one that was packed.
#[test]
fn cut_anywhere() {
    for form in [Form::Ringmw, Form::ClMw] {
        let (trail, _) = World::run(form, 3, 40, 5);
        for cut in (0..trail.len()).step_by(97) {
            let told = audit_stdin(&STATS, &trail[..cut]);
            let summary = told.json();
            let lines = trail[..cut].split_inclusive(|&byte| byte == b'\n').count() as u64;
            assert_eq!(summary["lines"].as_u64(), Some(lines));
            let is_cut = cut > 0 && trail[cut - 1] != b'\n';
            let unparsed = summary["unparsed"].as_u64().expect("a number");
            assert!(unparsed <= u64::from(is_cut) + 1, "{cut}: {unparsed}");
            if is_cut {
                assert!(
                    told.err.contains(&format!("standard input:{lines}: ")) || unparsed > 1,
                    "{}",
                    told.err
                );
            }
            assert_ne!(told.code, None, "a panic or a signal: {}", told.err);
        }
    }
}

/// Bytes changed at random: something is read or told, nothing panics, and every line is accounted for.
#[test]
fn damaged_anywhere() {
    for form in [Form::Ringmw, Form::ClMw] {
        for seed in 0..20 {
            let (mut trail, _) = World::run(form, seed, 200, 9);
            let mut dice = Dice(seed + 99);
            for _ in 0..30 {
                let at = dice.roll(trail.len() as u64) as usize;
                trail[at] = dice.roll(256) as u8;
            }
            let told = audit_stdin(&STATS, &trail);
            let lines = trail.split_inclusive(|&byte| byte == b'\n').count() as u64;
            assert_eq!(told.json()["lines"].as_u64(), Some(lines), "{}", told.err);
            assert_eq!(told.code, Some(0), "{}", told.err);
        }
    }
}

#[test]
fn a_clock_that_goes_back_is_told_and_spoils_no_duration() {
    let mut world = World::new(Form::Ringmw, 5, START_US);
    (0..300).for_each(|_| world.step(5));
    let (trail, truth) = world.end();
    // The clock is set back by an hour in the middle.
    let text = String::from_utf8(trail).expect("ASCII");
    let half = text.lines().count() / 2;
    let back: String = text
        .lines()
        .enumerate()
        .map(|(index, line)| match index < half {
            true => format!("{line}\n"),
            false => format!("{}\n", line.replace("T08:", "T07:")),
        })
        .collect();
    let told = audit_stdin(&STATS, back.as_bytes());
    let summary = told.json();
    assert_eq!(summary["clock_steps"], 1);
    assert!(
        told.err
            .contains(&format!("standard input:{}: the clock goes back", half + 1)),
        "{}",
        told.err
    );
    assert_eq!(
        summary["slaves"]["connected"].as_u64(),
        Some(truth.connected)
    );
    let duration = summary["duration_s"].as_f64().expect("a number");
    let expected = truth.duration_us as f64 / 1e6;
    assert!(
        (0.0..1.0).contains(&(expected - duration)),
        "{duration}, not {expected}"
    );
    assert!(
        summary["slaves"]["lifetime_s"]["max"]
            .as_f64()
            .expect("a number")
            <= expected
    );
}

/// Values that Lisp prints over several lines, and a line glued to the one before it.
#[test]
fn oddities_of_cl_mw() {
    let input = "\
11/20/2026 08:03:03 [A] VERSION CL-MW: Version 0.2
11/20/2026 08:03:03 [A] INIT MASTER \"two
lines\"
11/20/2026 08:03:03 [A] NEW-CLIENT <- BAD_IDENT: ~S~% hi11/20/2026 08:03:04 [A] SLAVE-0 1.2.3.4:5 -> [\"two
lines\"] :connecting [:ordered]
11/20/2026 08:03:05 [A] SLAVE-0 PROBLEM -> :disconnecting (#<SOCKET-CONNECTION-RESET-ERROR
    {100299}>)
11/20/2026 08:03:06 [A] SLAVE-1 PROBLEM -> :disconnecting (never closed
11/20/2026 08:03:06 [A] FINI SHUTDOWN \"two
lines\"
";
    let told = audit_stdin(&STATS, input.as_bytes());
    let summary = told.json();
    assert_eq!((told.err.as_str(), &summary["unparsed"]), ("", &0.into()));
    assert_eq!(
        (&summary["lines"], &summary["exit"]),
        (&10.into(), &"SHUTDOWN".into())
    );
    assert_eq!(
        (
            &summary["slaves"]["connected"],
            &summary["slaves"]["by_group"]["ordered"]
        ),
        (&1.into(), &1.into())
    );
    assert_eq!(summary["slaves"]["disconnected_by"]["problem"], 2);
}

/// One damaged year does not make a run of a few seconds last for decades; a real pause of weeks is believed.
#[test]
fn a_single_time_far_ahead_is_told_and_left() {
    let text = std::fs::read_to_string(sample(RUNS[2], "master.audit")).expect("a sample");
    let damaged: String = text
        .lines()
        .enumerate()
        .map(|(index, line)| match index {
            99 => format!("{}\n", line.replacen("2026", "2096", 1)),
            _ => format!("{line}\n"),
        })
        .collect();
    let told = audit_stdin(&STATS, damaged.as_bytes());
    let summary = told.json();
    assert_eq!(
        (
            &summary["duration_s"],
            &summary["end"],
            &summary["clock_steps"]
        ),
        (&13.0.into(), &"2026-11-20T08:03:26Z".into(), &1.into())
    );
    assert!(
        told.err
            .contains("standard input:100: the clock goes ahead"),
        "{}",
        told.err
    );
    let paused: String = text
        .lines()
        .enumerate()
        .map(|(index, line)| match index {
            99.. => format!("{}\n", line.replacen("11/20", "12/20", 1)),
            _ => format!("{line}\n"),
        })
        .collect();
    let summary = audit_stdin(&STATS, paused.as_bytes()).json();
    assert_eq!(summary["duration_s"], 30.0 * 86_400.0 + 13.0);
}

/// What a trail holds may be anybody's text: no terminal obeys it, no spreadsheet computes it.
#[test]
fn texts_of_strangers_are_only_shown() {
    let escape = "\\u{1b}]0;x\\u{7}";
    let line =
        |second: u32, text: &str| format!("1 2026-11-20T12:00:0{second}.000000Z MASTER {text}\n");
    let trail = [
        line(1, &format!("connected slave=SLAVE-0 from=10.0.0.1:9 host=\"=cmd{escape}\" job=\"{escape}\" group=unordered")),
        line(2, &format!("refused from=10.0.0.2:9 host=\"{escape}\" reason=\"{escape}\"")),
        line(3, "tasks-sent slave=SLAVE-0 tasks=1 bytes=9 group=1"),
        line(4, &format!("failed task=TASK-1 algorithm=\"{escape}\" slave=SLAVE-0 message=\"{escape}\"")),
        line(5, "results-received slave=SLAVE-0 results=1 failed=1 bytes=9 compute_us=900000"),
        line(6, "lost slave=SLAVE-0 from=10.0.0.1:9 cause=eof detail=\"\" recycled=0 tasks=none unrunnable=0 cancelled=0"),
        line(7, &format!("exit code=1 reason=\"{escape}\"")),
    ]
    .concat();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("master.audit");
    std::fs::write(&file, trail).expect("it writes");
    for command in [
        &["stats"][..],
        &["churn"],
        &["timeline"],
        &["attempts"],
        &["follow", "--until-exit"],
        &["report", "-o", "/dev/null"],
        &["check", "--clean-exit"],
    ] {
        let told = audit_files(command, &[&file]);
        assert!(
            !told.out.contains(['\u{1b}', '\u{7}']) && !told.err.contains(['\u{1b}', '\u{7}']),
            "{command:?}: {:?}",
            told.out
        );
        assert!(
            told.out.contains("\\u{1b}") || command[0] == "attempts",
            "{command:?}: {}",
            told.out
        );
    }
    for args in [
        &["churn", "--sheet", "by_host"][..],
        &["timeline", "--sheet", "hosts"],
        &["attempts"],
    ] {
        let csv = audit_files(&[args, &["--format", "csv"]].concat(), &[&file]).out;
        assert!(
            csv.contains("'=cmd") && !csv.contains(",=cmd") && !csv.contains("\n=cmd"),
            "{csv}"
        );
    }
}

/// A standard error that nobody reads, or that is closed, stops nobody.
#[test]
fn a_closed_standard_error_is_no_panic() {
    let file = sample(RUNS[2], "master.audit");
    for closed in ["2>&-", "2>/dev/full"] {
        let shell = format!(
            "exec {} audit stats {} /nonexistent {closed}",
            env!("CARGO_BIN_EXE_ringmw"),
            file.display()
        );
        let output = std::process::Command::new("bash")
            .args(["-c", &shell])
            .output()
            .expect("bash is here");
        assert_eq!(output.status.code(), Some(0), "{closed}");
        assert!(
            String::from_utf8_lossy(&output.stdout).contains("6 connected"),
            "{closed}"
        );
    }
}

/// A trail of a later ringmw: what is not known of it is passed over, counted, and said once.
#[test]
fn lines_of_a_later_version_are_passed_over() {
    let line =
        |second: u32, text: &str| format!("2 2026-11-20T12:00:0{second}.000000Z MASTER {text}\n");
    let trail = [
        line(0, "engine engine=ring why=asked of=tomorrow"),
        line(1, "quake slave=SLAVE-3 depth=\"1 km\""),
        line(2, "quake slave=SLAVE-4 depth=\"2 km\""),
        line(3, "quake slave"),
    ]
    .concat();
    let told = audit_stdin(&["stats", "-"], trail.as_bytes());
    assert_eq!(told.code, Some(0), "{}", told.err);
    let later = "2 lines are of a later version of ringmw, and passed over";
    assert!(told.err.contains(later), "{}", told.err);
    assert_eq!(
        told.err.matches("quake").count(),
        3,
        "one of them, and the broken one: {}",
        told.err
    );
    assert!(
        told.err.contains("1 line is no line of a trail"),
        "{}",
        told.err
    );
}
