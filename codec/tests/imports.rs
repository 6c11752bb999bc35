//! Who may import whom: payloads know no frames, frames know the kinds alone.

#[path = "support/imports.rs"]
mod imports;

use std::path::Path;

use imports::{Row, judge, judge_file};

/// `Nanos` is the crate's own word for a time, in its root.
const TABLE: &[Row<'_>] = &[
    ("wire", &[]),
    ("crc", &[]),
    ("log", &["wire"]),
    ("handshake", &["wire", "log"]),
    ("control", &["wire"]),
    ("batch", &["wire", "Nanos"]),
    ("journal", &["wire", "crc", "Nanos"]),
    ("shared", &["wire"]),
    ("running", &["wire"]),
    ("kept", &["wire", "Nanos"]),
    ("talk", &["wire"]),
    ("observe", &["wire"]),
    ("status", &["Nanos"]),
    (
        "kinds",
        &[
            "wire",
            "handshake",
            "control",
            "batch",
            "kept",
            "log",
            "observe",
            "shared",
            "running",
            "talk",
        ],
    ),
    ("frame", &["kinds", "crc"]),
    ("secret", &["frame", "handshake"]),
    (
        "asker",
        &["frame", "handshake", "kinds", "observe", "secret"],
    ),
    ("audit", &[]),
    ("resource", &[]),
    ("flags", &[]),
];

#[test]
fn each_part_imports_what_it_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (wrong, imports) = judge(&src, TABLE);
    assert_eq!(wrong, [""; 0]);
    assert!(imports >= 10, "it saw {imports} imports");
}

/// A test that finds nothing wrong must be one that could.
#[test]
fn what_it_may_not_is_found() {
    let rows: [(&str, &str, &[&str]); 10] = [
        ("control.rs", "use crate::wire::Fields;", &[]),
        ("control.rs", "// use crate::frame::Kind;", &[]),
        (
            "control.rs",
            "use crate::wire::Fields;\n#[cfg(test)]\nmod tests { use super::*; }",
            &[],
        ),
        (
            "control.rs",
            "use crate::frame::Kind;",
            &["control.rs imports frame"],
        ),
        (
            "control.rs",
            "use super::frame::Kind;",
            &["control.rs imports frame"],
        ),
        (
            "batch/task.rs",
            "fn f() -> crate::kinds::Kind {}",
            &["batch/task.rs imports kinds"],
        ),
        (
            "wire.rs",
            "use crate::{\n    wire::{Fields, DecodeError},\n    control,\n    batch::Tiling,\n};",
            &["wire.rs imports control", "wire.rs imports batch"],
        ),
        (
            "batch/task.rs",
            "use super::*;",
            &["batch/task.rs has use super::*, which hides what it needs"],
        ),
        (
            "batch/task.rs",
            "use super::super::wire::Fields;",
            &["batch/task.rs has super::super, which hides what it needs"],
        ),
        (
            "lanes/window.rs",
            "",
            &["lanes/window.rs is of lanes, which has no row"],
        ),
    ];
    for (file, text, expected) in rows {
        let mut wrong = Vec::new();
        judge_file(file, text, TABLE, &mut wrong);
        assert_eq!(wrong, expected, "{text}");
    }
}
