//! `hello-world` and its classic form: ten lines, exit 0, and on both sides the story of the manual's section 3.2.

use ringmw_codec::audit::{Event, GroupWord, StateWord};
use ringmw_examples::Stage;

const GROUPS_OF_TEN: [&str; 4] = [
    "--mw-slave-task-group",
    "10",
    "--mw-slave-result-group",
    "10",
];

fn greetings() -> Vec<String> {
    (0..10)
        .map(|n| format!("Got result from slave: \"Hello World: Task {n}\""))
        .collect()
}

fn sorted(mut lines: Vec<&str>) -> Vec<&str> {
    lines.sort_unstable();
    lines
}

#[test]
fn in_local_mode_it_prints_ten_lines_and_nothing_else() {
    let end = Stage::new("hello-world").local([]).success();
    assert_eq!(sorted(end.lines()), greetings());
    assert_eq!(end.stderr, "");
}

#[test]
fn the_classic_cleans_up_on_both_sides() {
    let end = Stage::new("hello-world-classic")
        .local(["--mw-local", "1"])
        .success();
    let (cleanup, results): (Vec<&str>, Vec<&str>) = end
        .lines()
        .into_iter()
        .partition(|line| line.contains("cleanup"));
    assert_eq!(sorted(results), greetings());
    assert_eq!(
        sorted(cleanup),
        [
            "Master algo cleanup form.",
            "SLAVE-0 | Slave algo cleanup form."
        ]
    );
}

/// Who dials, with a secret and without.
#[test]
fn either_side_dials() {
    for has_secret in [true, false] {
        let stage = Stage::new("hello-world");
        let secret = stage.path("secret");
        let secret = [
            "--mw-secret-file",
            secret.to_str().expect("a temporary path"),
        ];
        let flags: &[&str] = if has_secret { &secret } else { &[] };
        // The master makes the file.
        let mut master = stage.master(flags.iter().copied());
        let mut slave = stage.slave_with(&master, flags);
        assert_eq!(sorted(master.success().lines()), greetings());
        slave.success();

        let _slave = stage.listening(None, "127.0.0.1:0", flags);
        let address = format!("127.0.0.1:{}", _slave.port());
        let dials = ["--mw-slave-at", &address];
        let mut master = stage.master([&dials[..], flags].concat());
        assert_eq!(sorted(master.success().lines()), greetings());
    }
}

#[test]
fn a_master_and_a_slave_tell_the_story_of_the_manual() {
    let stage = Stage::new("hello-world");
    let mut master = stage.master(GROUPS_OF_TEN);
    let mut slave = stage.slave(&master);
    let end = master.success();
    assert_eq!(sorted(end.lines()), greetings());
    assert_eq!(slave.success().stdout, "");

    let trail = master.trail();
    let words: Vec<_> = trail
        .iter()
        .map(Event::word)
        .filter(|word| !matches!(*word, "engine" | "file-limit"))
        .collect();
    let story = "init ready client connected state tasks-sent state results-received state shutdown-begun disconnected exit";
    assert_eq!(words.join(" "), story, "{}", master.describe());
    for event in trail {
        match event {
            Event::Connected { slave, group, .. } => {
                assert_eq!((slave, group), (0, GroupWord::Unordered))
            }
            Event::TasksSent {
                slave,
                tasks,
                group,
                ..
            } => assert_eq!((slave, tasks, group), (0, 10, 10)),
            Event::ResultsReceived {
                slave,
                results,
                failed,
                ..
            } => assert_eq!((slave, results, failed), (0, 10, 0)),
            Event::ShutdownBegun { slaves, finished } => assert_eq!((slaves, finished), (1, true)),
            Event::Exit { code, .. } => assert_eq!(code, 0),
            _ => {}
        }
    }
    let states: Vec<_> = master.trail().iter().filter_map(state).collect();
    assert_eq!(states, [StateWord::Idle, StateWord::Busy, StateWord::Idle]);

    // The main thread says that, whenever it comes to it; all else is the I/O thread's.
    let own = "default-slave-algorithm";
    let (own, words): (Vec<_>, Vec<_>) = slave.words().into_iter().partition(|word| *word == own);
    let story =
        "init connecting master-connected id tasks-received results-sent master-shutdown exit";
    assert_eq!(
        (own.len(), words.join(" ").as_str()),
        (1, story),
        "{}",
        slave.describe()
    );
    for event in slave.trail() {
        match event {
            Event::Id { slave } => assert_eq!(slave, 0),
            Event::TasksReceived { tasks, group, .. } => assert_eq!((tasks, group), (10, 10)),
            Event::ResultsSent { results, .. } => assert_eq!(results, 10),
            Event::MasterShutdown { finished } => assert!(finished),
            Event::Exit { code, .. } => assert_eq!(code, 0),
            _ => {}
        }
    }
}

fn state(event: &Event) -> Option<StateWord> {
    match event {
        Event::State { state, .. } => Some(*state),
        _ => None,
    }
}

#[test]
fn the_classic_runs_as_a_master_and_a_slave_of_its_own_algorithm() {
    let stage = Stage::new("hello-world-classic");
    let mut master = stage.master(GROUPS_OF_TEN);
    let mut slave = stage.slave(&master);
    let end = master.success();
    assert_eq!(end.lines().last(), Some(&"Master algo cleanup form."));
    assert_eq!(slave.success().lines(), ["Slave algo cleanup form."]);
    assert!(!slave.words().contains(&"default-slave-algorithm"));
}
