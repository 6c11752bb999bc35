//! True trails of each misfortune, kept by the runtime's tests of what the terminal shows (`runtime/tests/processes/screens.rs`):
//! the report's first finding names who is to blame.

use std::path::Path;

use crate::audit;

/// The trail, the first finding, its first culprit, and what its text says.
const ROWS: &[(&str, &str, (&str, &str), &str)] = &[
    (
        "segfault",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "abort",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGABRT, for a fault",
    ),
    (
        "overflow",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "exit",
        "unrunnable",
        ("task", "TASK-1"),
        "which called exit(0)",
    ),
    (
        "_exit",
        "unrunnable",
        ("task", "TASK-1"),
        "lost its connection without a word",
    ),
    (
        "memory",
        "unrunnable",
        ("task", "TASK-1"),
        "of --mw-slave-memory",
    ),
    (
        "node-segfault",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "node-abort",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGABRT, for a fault",
    ),
    (
        "node-overflow",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "node-exit",
        "unrunnable",
        ("task", "TASK-1"),
        "which called exit(0)",
    ),
    (
        "node-_exit",
        "unrunnable",
        ("task", "TASK-1"),
        "lost its connection without a word",
    ),
    (
        "node-memory",
        "unrunnable",
        ("task", "TASK-1"),
        "of --mw-slave-memory",
    ),
    (
        "alone-segfault",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "alone-abort",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGABRT, for a fault",
    ),
    (
        "alone-overflow",
        "unrunnable",
        ("task", "TASK-1"),
        "was killed by SIGSEGV, for a fault",
    ),
    (
        "alone-exit",
        "unrunnable",
        ("task", "TASK-1"),
        "which called exit(0)",
    ),
    (
        "alone-_exit",
        "unrunnable",
        ("task", "TASK-1"),
        "lost its connection without a word",
    ),
    (
        "alone-memory",
        "unrunnable",
        ("task", "TASK-1"),
        "of --mw-slave-memory",
    ),
    (
        "exit-3",
        "unrunnable",
        ("task", "TASK-1"),
        "which called exit(3)",
    ),
    (
        "limit-1",
        "unrunnable",
        ("task", "TASK-1"),
        "the slave that ran it, SLAVE-0 on ",
    ),
    (
        "limit-10",
        "unrunnable",
        ("task", "TASK-1"),
        "10 slaves were lost while they ran it",
    ),
    (
        "limit-0",
        "crashing",
        ("task", "TASK-1"),
        "it is never given up (--mw-crash-limit 0)",
    ),
    (
        "hang",
        "failing",
        ("algorithm", "perish"),
        "timed out after 0.3 s",
    ),
    ("panic", "failing", ("algorithm", "perish"), "panicked at"),
    ("replay", "failing", ("algorithm", "perish"), "panicked at"),
    (
        "no-licence",
        "exit",
        ("message", "no licence on this node"),
        "no licence on this node",
    ),
    (
        "node-no-licence",
        "losses",
        ("message", "no licence on this node"),
        "no licence on this node",
    ),
    (
        "black-hole",
        "failing",
        ("slave", "SLAVE-3"),
        "no library on this node",
    ),
];

/// One whose tasks heed their time-out: nobody is to blame.
const BLAMELESS: &[&str] = &["heed"];

#[test]
fn the_first_finding_of_each_misfortune_names_who_is_to_blame() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/misfortunes");
    let kept = std::fs::read_dir(&folder).expect("it is there").count();
    let rows = ROWS.len() + BLAMELESS.len();
    assert_eq!(kept, rows, "each kept trail has its row");
    for name in BLAMELESS {
        let trail = folder.join(format!("{name}.audit"));
        let told = audit(&["report", "--format", "json", &trail.to_string_lossy()]);
        let report = told.json();
        let findings = report["findings"].as_array().expect("a list");
        for finding in findings {
            assert_eq!(
                finding["culprits"].as_array().map(Vec::len),
                Some(0),
                "{name}: {finding}"
            );
        }
    }
    for (name, id, (kind, culprit), says) in ROWS {
        let trail = folder.join(format!("{name}.audit"));
        let told = audit(&["report", "--format", "json", &trail.to_string_lossy()]);
        assert_eq!(told.code, Some(0), "{name}: {}", told.err);
        let report = told.json();
        let first = &report["findings"][0];
        assert_eq!(first["id"], *id, "{name}: {first}");
        let text = first["finding"].as_str().expect("a text");
        assert!(text.contains(says), "{name}: {text}");
        let to_blame = &first["culprits"][0];
        assert_eq!(to_blame["kind"], *kind, "{name}: {first}");
        let called = to_blame["name"].as_str().expect("a name");
        assert!(called.contains(culprit), "{name}: {first}");
    }
}
