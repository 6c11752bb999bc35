//! Slaves whose own time is up, and a desire that follows the queue: what a batch system sees of them.

use std::fs;
use std::path::Path;

use ringmw_codec::audit::{Event, LossCause};
use ringmw_codec::resource::ResourceFile;
use ringmw_examples::{Process, Stage, wait_for};

/// `waves` with one slave: no task for so long, then tasks for several times as long.
fn waves(stage: &Stage, seconds: &'static str) -> Process {
    stage.master(["--seconds", seconds, "--task-ms", "20"])
}

/// The goodbyes among the losses, each with its reason.
fn goodbyes(trail: &[Event]) -> Vec<String> {
    let goodbye = |event: &Event| match event {
        Event::Lost { cause, detail, .. } if *cause == LossCause::Goodbye => Some(detail.clone()),
        _ => None,
    };
    trail.iter().filter_map(goodbye).collect()
}

#[test]
fn at_its_time_limit_a_slave_leaves_with_255_and_its_tasks_go_to_another() {
    let stage = Stage::new("waves");
    let mut master = waves(&stage, "1");
    let mut slave = stage.slave_with(&master, &["--mw-slave-time-limit", "3"]);
    let end = slave.end();
    assert_eq!(end.code, Some(255), "{end:?}");
    let told = master.wait_for("a goodbye", |trail| goodbyes(trail).into_iter().next());
    assert!(told.contains("its time limit of 3 s"), "{told}");

    let _other = stage.slave(&master);
    let end = master.success();
    assert!(end.stdout.contains("the sum of"), "{end:?}");
    assert!(
        !master.words().contains(&"charged"),
        "its leaving is no task's fault: {}",
        master.describe()
    );
}

/// The parent's time is up, and its slaves' with it: none is started again.
#[test]
fn at_its_time_limit_a_node_leaves_with_255() {
    let stage = Stage::new("waves");
    let master = waves(&stage, "60");
    let count = ["--mw-slave-count", "2", "--mw-slave-time-limit", "5"];
    let mut node = stage.slave_with(&master, &count);
    let connected = |trail: &[Event]| {
        let count = trail
            .iter()
            .filter(|event| event.word() == "connected")
            .count();
        (count == 2).then_some(())
    };
    master.wait_for("both slaves", connected);
    let end = node.end();
    assert_eq!(end.code, Some(255), "{end:?}");
    master.wait_for("their goodbyes", |trail| {
        (goodbyes(trail).len() == 2).then_some(())
    });
    let started = master
        .words()
        .iter()
        .filter(|word| **word == "connected")
        .count();
    assert_eq!(started, 2, "{}", master.describe());
}

#[test]
fn an_idle_slave_leaves_with_0() {
    let stage = Stage::new("waves");
    // No task at all for a minute.
    let mut master = waves(&stage, "60");
    let mut slave = stage.slave_with(&master, &["--mw-slave-idle-timeout", "1"]);
    let end = slave.end();
    assert_eq!(end.code, Some(0), "{end:?}");
    let told = master.wait_for("a goodbye", |trail| goodbyes(trail).into_iter().next());
    assert!(told.contains("idle for 1 s"), "{told}");
    assert!(!master.has_ended(), "it waits for other slaves");
}

fn desired(path: &Path) -> Option<u64> {
    let file = ResourceFile::parse(&fs::read(path).ok()?).expect("it is written whole");
    (!file.finished).then(|| file.slaves_desired.expect("it is one of ours"))
}

/// The application never allocates; the resource file is written anew long before its interval is over.
#[test]
fn with_slaves_wanted_auto_the_desire_is_what_the_queue_could_use() {
    for (tasks, wanted, expected) in [
        ("3", "auto", 3),
        ("60", "auto:7", 7),
        ("60", "5", 5),
        ("60", "0", 0),
    ] {
        let stage = Stage::new("test-picky");
        let path = stage.path("picky.rsc");
        let file = path.to_str().expect("it is UTF-8");
        let args = [
            "--mw-resource-file",
            file,
            "--mw-slaves-wanted",
            wanted,
            "--tasks",
            tasks,
        ];
        let mut master = stage.master(args);
        let look = || (desired(&path) == Some(expected)).then_some(());
        wait_for(
            "the desire",
            || format!("{:?}\n{}", desired(&path), master.describe()),
            look,
        );

        // The resource file holds the secret, which slaves that are told host and port need too.
        let secret = ["--mw-secret-file", file];
        let _slaves = [0, 1].map(|_| stage.slave_with(&master, &secret));
        master.success();
        let file = ResourceFile::parse(&fs::read(&path).expect("it stays")).expect("it is whole");
        assert!(file.finished, "nobody is desired any more");
    }
}
