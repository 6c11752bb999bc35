//! Tasks that fail in every way cost themselves, and nothing else; a slave that comes last is no failure.

use ringmw_codec::audit::Event;
use ringmw_examples::Stage;

fn has(lines: &[&str], parts: &[&str]) -> bool {
    lines
        .iter()
        .any(|line| parts.iter().all(|part| line.contains(part)))
}

#[test]
fn an_error_and_a_panic_and_what_is_too_large_are_told_where_and_why() {
    let mut run = Stage::new("test-poison").local(["--mw-local", "2"]);
    let end = run.success();
    let told = end.lines();
    assert!(told.contains(&"errs failed: no answer"), "{end:?}");
    assert!(
        has(&told, &["panics failed: ", "poison.rs:", "out of order"]),
        "{end:?}"
    );
    assert!(
        has(
            &told,
            &[
                "length unrunnable: ",
                "2000",
                "131072",
                "--mw-max-write-buffer-size"
            ]
        ),
        "{end:?}"
    );
    assert!(
        has(
            &told,
            &[
                "zeros failed: ",
                "2000",
                "1310",
                "--mw-max-read-buffer-size"
            ]
        ),
        "{end:?}"
    );
    assert!(
        told.contains(&"length 100000") && told.contains(&"zeros 100000"),
        "below the limits they pass: {end:?}"
    );
    assert!(!run.words().contains(&"lost"), "no slave is lost of it");
}

#[test]
fn a_task_that_kills_its_slaves_is_given_up_and_its_ten_innocent_neighbours_are_not() {
    let groups = [
        "--mw-slave-task-group",
        "11",
        "--mw-slave-result-group",
        "11",
    ];
    let mut run = Stage::new("test-poison").local(groups.into_iter().chain([
        "--poison",
        "--mw-crash-limit",
        "2",
        "--mw-local",
        "2",
    ]));
    let end = run.success();
    let mut innocent: Vec<_> = end
        .lines()
        .into_iter()
        .filter(|line| line.starts_with("innocent"))
        .collect();
    innocent.sort_unstable();
    assert_eq!(
        innocent,
        (0..10).map(|n| format!("innocent {n}")).collect::<Vec<_>>()
    );
    assert!(
        has(
            &end.lines(),
            &["kills unrunnable: 2 slaves", "--mw-crash-limit"]
        ),
        "{end:?}"
    );
    assert!(end.lines().contains(&"the run went on to its end"));

    let trail = run.trail();
    let count = |word| trail.iter().filter(|event| event.word() == word).count();
    // An abort is heard before the process ends: what runs is charged, announced or not.
    assert_eq!(
        (count("lost"), count("charged"), count("unrunnable")),
        (2, 2, 1),
        "{}",
        run.describe()
    );
    let charged: Vec<_> = trail
        .iter()
        .filter_map(|event| match event {
            Event::Charged {
                task,
                crashes,
                limit,
                ..
            } => Some((*task, *crashes, *limit)),
            _ => None,
        })
        .collect();
    assert_eq!(charged, [(5, 1, 2), (5, 2, 2)]);
    let packet = trail.iter().find_map(|event| match event {
        Event::TasksSent { tasks, .. } => Some(*tasks),
        _ => None,
    });
    assert_eq!(packet, Some(11), "all were in one group");
}

/// It had both before it looked, took the shutdown for a refusal, and left with 255 and a complaint.
#[test]
fn a_slave_that_is_welcomed_and_told_to_go_at_once_leaves_with_0() {
    let stage = Stage::new("test-brief");
    let mut master = stage.master([]);
    let mut slave = stage.slave(&master);
    master.success();
    assert_eq!(slave.success().stderr, "");
    assert!(slave.words().contains(&"id") && slave.words().contains(&"master-shutdown"));
}
