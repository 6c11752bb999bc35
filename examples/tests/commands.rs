//! The example `commands`: what it says is GNU parallel's, and nothing that it starts is left behind.

use std::fs;
use std::process::{Command, Stdio};

use ringmw_codec::audit::Event;
use ringmw_examples::{End, Process, Signal, Stage, send, wait_for};

/// Runs the lines as commands, on two slaves, and waits for the end.
fn run(stage: &Stage, lines: &str, args: &[&str]) -> End {
    begin(stage, lines, args).end()
}

fn begin(stage: &Stage, lines: &str, args: &[&str]) -> Process {
    let input = stage.path("lines");
    fs::write(&input, lines).expect("the folder is the test's");
    let input = input.to_str().expect("it is text");
    let first = ["--mw-local", "2", "--input", input];
    stage.local(first.into_iter().chain(args.iter().copied()))
}

/// Processes whose command line has these words.
fn processes(words: &str) -> Vec<u32> {
    let all = fs::read_dir("/proc").expect("it is Linux");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line)
            .replace('\0', " ")
            .contains(words)
    })
    .collect()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || "", || holds().then_some(()));
}

/// The fields of the job log's lines, without its head.
fn log_lines(stage: &Stage) -> Vec<Vec<String>> {
    let text = fs::read_to_string(stage.path("log")).unwrap_or_default();
    let fields = |line: &str| {
        line.split('\t')
            .map(|field| field.trim().to_owned())
            .collect()
    };
    text.lines().skip(1).map(fields).collect()
}

#[test]
fn outputs_come_in_order_and_failures_are_counted() {
    let stage = Stage::new("commands");
    let log = stage.path("log");
    let lines = "sleep 0.2; echo slow\necho fast\n\nexit 7\nkill -9 $$\necho wrong >&2\nsleep 1000\necho \"a  b\"";
    let end = run(
        &stage,
        lines,
        &["--joblog", log.to_str().unwrap(), "--timeout", "2"],
    );
    assert_eq!(end.code, Some(3), "{end:?}");
    assert_eq!(end.lines(), ["slow", "fast", "a  b"]);
    assert!(end.stderr.contains("wrong"), "{end:?}");
    let mut ends: Vec<_> = log_lines(&stage)
        .into_iter()
        .map(|fields| [0, 6, 7, 8].map(|at| fields[at].clone()).join(" "))
        .collect();
    ends.sort();
    let expected = [
        "1 0 0 sleep 0.2; echo slow",
        "2 0 0 echo fast",
        "3 0 0 ",
        "4 7 0 exit 7",
        "5 0 9 kill -9 $$",
        "6 0 0 echo wrong >&2",
        "7 -1 15 sleep 1000",
        "8 0 0 echo \"a  b\"",
    ];
    assert_eq!(ends, expected);
}

#[test]
fn the_exit_code_is_101_for_all_above() {
    let end = run(&Stage::new("commands"), &"false\n".repeat(150), &[]);
    assert_eq!(end.code, Some(101), "{end:?}");
}

#[test]
fn a_command_that_fails_is_tried_as_often_as_told() {
    let stage = Stage::new("commands");
    let count = stage.path("count");
    let count = count.to_str().unwrap();
    let line = format!("echo >> {count}; test $(wc -l < {count}) = 3 && echo third\nfalse\n");
    let end = run(&stage, &line, &["--retries", "3"]);
    assert_eq!((end.code, end.lines()), (Some(1), vec!["third"]), "{end:?}");
    assert_eq!(fs::read_to_string(count).unwrap().len(), 3);
}

#[test]
fn words_are_run_without_a_shell() {
    let stage = Stage::new("commands");
    let end = run(&stage, "echo '$HOME  x' y\n", &["--argv"]);
    assert_eq!(end.lines(), ["$HOME  x y"], "{end:?}");
    let end = run(&stage, "$HOME  x\n", &["--argv", "echo", "{#}", "<{}>"]);
    assert_eq!(end.lines(), ["1 <$HOME  x>"], "{end:?}");
    let end = run(&stage, "an 'open quote\n", &["--argv"]);
    assert_eq!(end.code, Some(255), "{end:?}");
    assert!(end.stderr.contains("line 1 has no words"), "{end:?}");
}

#[test]
fn an_output_above_a_default_packet_arrives() {
    let end = run(&Stage::new("commands"), "seq 200000\n", &[]);
    assert_eq!((end.code, end.lines().len()), (Some(0), 200_000));
}

/// Debian's package `parallel` of 2022, where it is installed.
#[test]
fn odd_lines_are_quoted_as_gnu_parallel_does() {
    let is_there = Command::new("parallel")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !is_there.is_ok_and(|status| status.success()) {
        eprintln!("passed over: GNU parallel is not installed");
        return;
    }
    let odd: Vec<char> = " \t'\"\\$`!*?[]{}()<>|;&#~=%^@,:-_.+/abcXYZ09é\u{1}\u{7f}"
        .chars()
        .collect();
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut lines = String::new();
    for _ in 0..500 {
        let length = draw(25);
        lines.extend((0..length).map(|_| odd[draw(odd.len())]));
        lines.push('\n');
    }
    let stage = Stage::new("commands");
    for template in [
        &["printf", "'%s|%s\\n'", "{#}", "{}"][..],
        &["printf '%s\\n' \"x\"{}"],
        &["echo"],
    ] {
        let ours = run(&stage, &lines, template);
        assert_eq!(ours.code, Some(0), "{ours:?}");
        let theirs = Command::new("parallel")
            .env_remove("PARALLEL_SEQ")
            .env("SHELL", "/bin/sh")
            .env("PARALLEL_SHELL", "/bin/sh")
            .args(["--keep-order", "-j2"])
            .args(template)
            .stdin(fs::File::open(stage.path("lines")).unwrap())
            .output()
            .unwrap();
        assert_eq!(
            ours.stdout,
            String::from_utf8_lossy(&theirs.stdout),
            "{template:?}"
        );
    }
}

#[test]
fn what_is_missing_is_run_after_a_kill() {
    let stage = Stage::new("commands");
    let (log, ran) = (stage.path("log"), stage.path("ran"));
    let (log, ran) = (log.to_str().unwrap(), ran.to_str().unwrap());
    let gate = stage.path("gate");
    let gate = gate.to_str().unwrap();
    let lines: String = (1..=60)
        .map(|n| match n > 40 {
            true => {
                format!("echo {n} >> {ran}; while [ ! -e {gate} ]; do sleep 0.01; done; echo {n}\n")
            }
            false => format!("echo {n} >> {ran}; echo {n}\n"),
        })
        .collect();
    let first = begin(&stage, &lines, &["--joblog", log]);
    until("forty ends", || log_lines(&stage).len() == 40);
    first.send(Signal::KILL);
    until("no command of the killed master", || {
        processes(gate).is_empty()
    });
    fs::write(gate, "").unwrap();
    fs::write(ran, "").unwrap();
    let end = run(&stage, &lines, &["--joblog", log, "--resume"]);
    let missing: Vec<_> = (41..=60).map(|n| n.to_string()).collect();
    assert_eq!(
        (end.code, end.lines()),
        (Some(0), missing.iter().map(String::as_str).collect()),
        "{end:?}"
    );
    let mut again: Vec<u32> = fs::read_to_string(ran)
        .unwrap()
        .lines()
        .map(|line| line.parse().unwrap())
        .collect();
    again.sort_unstable();
    assert_eq!(again, (41..=60).collect::<Vec<_>>());
    assert_eq!(log_lines(&stage).len(), 60);
}

#[test]
fn an_interrupt_leaves_no_process() {
    let stage = Stage::new("commands");
    let mark = format!("1000.{}", std::process::id());
    let mut master = begin(
        &stage,
        &format!("sleep {mark} | sleep {mark}\n").repeat(2_000),
        &[],
    );
    until("commands that run", || {
        processes(&format!("sleep {mark}")).len() >= 4
    });
    master.send(Signal::INT);
    assert_eq!(master.end().code, Some(130));
    until("an end of all that was started", || {
        processes(&mark).is_empty()
    });
}

#[test]
fn a_slave_that_is_killed_or_evicted_takes_its_command_along_and_it_is_run_elsewhere() {
    let stage = Stage::new("commands");
    let (input, gate) = (stage.path("lines"), stage.path("gate"));
    let gate = gate.to_str().unwrap();
    fs::write(
        &input,
        format!("while [ ! -e {gate} ]; do sleep 0.01; done; echo through\n"),
    )
    .unwrap();
    let mut master = stage.master(["--input", input.to_str().unwrap()]);
    for signal in [Signal::KILL, Signal::TERM] {
        let slave = stage.slave(&master);
        until("the command", || {
            !processes(&format!("-c while [ ! -e {gate}")).is_empty()
        });
        send(slave.pid(), signal);
        until("its end", || {
            processes(&format!("-c while [ ! -e {gate}")).is_empty()
        });
    }
    master.wait_for("two losses", |trail| {
        let lost = trail
            .iter()
            .filter(|event| matches!(event, Event::Lost { .. }));
        (lost.count() == 2).then_some(())
    });
    fs::write(gate, "").unwrap();
    let _last = stage.slave(&master);
    let end = master.end();
    assert_eq!(
        (end.code, end.lines()),
        (Some(0), vec!["through"]),
        "{end:?}"
    );
}
