//! Who may import whom: `proto` is the ground, `typed` and `io` stand on it and do not know each other, master and slave
//! on these, the application on all.

#[path = "../../codec/tests/support/imports.rs"]
mod imports;

use std::path::Path;

use imports::{Row, judge, judge_file};

/// A part that has a longer row in it is what is left of it: `proto` is the ground of both cores.
const TABLE: &[Row<'_>] = &[
    ("proto", &[]),
    ("proto/master", &["proto"]),
    ("proto/slave", &["proto"]),
    ("typed", &["proto"]),
    ("io", &["proto", "proto/slave"]),
    ("flags", &["proto", "io"]),
    ("master", &["proto", "proto/master", "typed", "io"]),
    ("slave", &["proto", "proto/slave", "typed", "io"]),
    ("wasm", &["typed"]),
    ("manual", &[]),
    ("app", APP),
    ("testing", ALL),
    ("internals", ALL),
];

const APP: &[&str] = &[
    "proto",
    "proto/master",
    "proto/slave",
    "typed",
    "io",
    "flags",
    "master",
    "slave",
];

const ALL: &[&str] = &[
    "proto",
    "proto/master",
    "proto/slave",
    "typed",
    "io",
    "flags",
    "master",
    "slave",
    "app",
    "testing",
];

/// Fewer imports than there are: then it was the search that failed.
const IMPORTS_MIN: usize = 50;

#[test]
fn each_part_imports_what_it_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (wrong, imports) = judge(&src, TABLE);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(imports >= IMPORTS_MIN, "it saw {imports} imports");
}

/// A test that finds nothing wrong must be one that could.
#[test]
fn what_it_may_not_is_found() {
    let rows: [(&str, &str, &[&str]); 14] = [
        ("io/clock.rs", "use crate::proto::SECOND;", &[]),
        ("proto/slave/leave.rs", "use super::SlaveCore;", &[]),
        ("proto/slave/mod.rs", "use super::{SECOND, put};", &[]),
        (
            "proto/conn.rs",
            "// crate::io\nconst TEXT: &str = \"crate::io\";\n#[cfg(test)]\nmod tests { use super::*; use crate::io::x; }",
            &[],
        ),
        (
            "proto/conn.rs",
            "use crate::io::engine::ConnId;",
            &["proto/conn.rs imports io"],
        ),
        (
            "proto/end.rs",
            "use crate::proto::master::MasterCore;",
            &["proto/end.rs imports proto/master"],
        ),
        (
            "proto/slave/packet.rs",
            "use crate::proto::{SECOND, config::{Bounds, Level}, master::{Tally, Conn as C}, put};",
            &["proto/slave/packet.rs imports proto/master"],
        ),
        (
            "proto/slave/mod.rs",
            "use super::master::Conn;",
            &["proto/slave/mod.rs imports proto/master"],
        ),
        (
            "typed/cx.rs",
            "fn f(turn: crate::io::clock::Clock) -> crate::master::Master {}",
            &["typed/cx.rs imports io", "typed/cx.rs imports master"],
        ),
        (
            "io/slave_link.rs",
            "use crate::{\n    typed::{\n        cx::Cx, best::*,\n    },\n    proto::SECOND,\n    app,\n};",
            &[
                "io/slave_link.rs imports typed",
                "io/slave_link.rs imports app",
            ],
        ),
        (
            "master/mod.rs",
            "#[cfg(test)]\nmod tests { fn f() { '}' } }\nuse super::slave::Slave;",
            &["master/mod.rs imports slave"],
        ),
        (
            "slave/mod.rs",
            "use crate::TaskId;",
            &["slave/mod.rs imports TaskId"],
        ),
        (
            "master/queue.rs",
            "use super::*;\nuse super::super::slave::Slave;",
            &[
                "master/queue.rs has use super::*, which hides what it needs",
                "master/queue.rs has super::super, which hides what it needs",
            ],
        ),
        (
            "nowhere/mod.rs",
            "",
            &["nowhere/mod.rs is of nowhere, which has no row"],
        ),
    ];
    for (file, text, expected) in rows {
        let mut wrong = Vec::new();
        judge_file(file, text, TABLE, &mut wrong);
        assert_eq!(wrong, expected, "{file}: {text}");
    }
}
