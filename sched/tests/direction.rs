//! Which part of `src` may import which: words know no data, data know no scheduler, no event knows another.
//!
//! A part is a file of `src`, or a folder with all that is in it. Comments, literals and what stands behind
//! `#[cfg(test)]` are passed over; what is left names another part by `crate::PART`, and no other way is let pass.

#[path = "../../codec/tests/support/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use source::code_of;

/// What each part may import. Words are what callers name.
const TABLE: &[(&str, &[&str])] = &[
    ("ids", &[]),
    ("series", &[]),
    ("config", &["ids"]),
    ("task", &["ids"]),
    ("end", &["ids", "task"]),
    ("offence", &["ids"]),
    ("loss", &["ids"]),
    (
        "data",
        &["ids", "series", "config", "task", "offence", "data"],
    ),
    (
        "scheduler",
        &["ids", "series", "config", "task", "end", "data"],
    ),
    ("look", &["ids", "series", "data", "scheduler"]),
    ("check", &["ids", "series", "data", "scheduler"]),
    ("why", &["task", "ids", "series", "data", "scheduler"]),
    (
        "events",
        &[
            "ids",
            "series",
            "config",
            "task",
            "end",
            "offence",
            "loss",
            "data",
            "scheduler",
        ],
    ),
];

/// Fewer imports than there are: then it was the search that failed.
const IMPORTS_MIN: usize = 50;

/// A file's path below `src`, and its text.
type Source = (String, String);

#[test]
fn no_part_imports_what_it_may_not() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read(&src, &src, &mut sources);
    let (imports, wrong) = check(&sources);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(imports >= IMPORTS_MIN, "it saw {imports} imports");
}

fn read(src: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read(src, &path, sources);
        } else {
            let name = path.strip_prefix(src).unwrap().to_str().unwrap().to_owned();
            sources.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
}

/// How many imports there are, and what is wrong with them.
fn check(sources: &[Source]) -> (usize, Vec<String>) {
    let (mut imports, mut wrong) = (0, Vec::new());
    let mut graph: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (file, text) in sources.iter().filter(|(file, _)| file != "lib.rs") {
        let code = code_of(text);
        let part = file.split(['/', '.']).next().unwrap();
        let row = TABLE.iter().find(|(name, _)| *name == part);
        if row.is_none() {
            wrong.push(format!("{file} is of no part that has a row"));
        }
        // `super` leads out of a folder without naming what it imports.
        if code.contains("super::") {
            wrong.push(format!("{file} imports by super::"));
        }
        for (at, path) in code.match_indices("crate::") {
            imports += 1;
            let mut names = code[at + path.len()..].split("::");
            let mut name = || word(names.next().unwrap_or_default());
            let (to, below) = (name(), name());
            let may = row.is_none_or(|(_, may)| may.contains(&to));
            if !may || !TABLE.iter().any(|(name, _)| *name == to) {
                wrong.push(format!("{file} imports {to}"));
            }
            let target = [format!("{to}.rs"), format!("{to}/{below}.rs")]
                .into_iter()
                .find(|target| sources.iter().any(|(file, _)| file == target));
            match target {
                Some(target) => graph.entry(file).or_default().push(target),
                None => wrong.push(format!("{file} imports no file of {to} by its name")),
            }
        }
    }
    for file in graph.keys() {
        if reaches(&graph, file, file, &mut Vec::new()) {
            wrong.push(format!("{file} is in a circle"));
        }
    }
    (imports, wrong)
}

/// The identifier that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| c != '_' && !c.is_alphanumeric());
    &text[..end.unwrap_or(text.len())]
}

/// Whether imports lead from one file to another.
fn reaches<'a>(
    graph: &'a BTreeMap<&str, Vec<String>>,
    from: &str,
    to: &str,
    seen: &mut Vec<&'a str>,
) -> bool {
    graph.get(from).into_iter().flatten().any(|next| {
        next == to
            || !seen.contains(&next.as_str()) && {
                seen.push(next);
                reaches(graph, next, to, seen)
            }
    })
}

#[test]
fn what_is_wrong_is_named() {
    // What stands in a file, and what is said of it.
    let rows: &[(&str, &str, &[&str])] = &[
        ("task.rs", "use crate::ids::Owner;", &[]),
        ("data/line.rs", "use crate::data::list::{Links, List};", &[]),
        (
            "task.rs",
            "use crate::end::Unrunnable;",
            &["task.rs imports end"],
        ),
        (
            "data/line.rs",
            "fn f(s: &crate::scheduler::Scheduler<()>) {}",
            &["data/line.rs imports scheduler"],
        ),
        (
            "events/lose.rs",
            "use crate::events::cancel::x;",
            &["events/lose.rs imports events"],
        ),
        (
            "events/lose.rs",
            "use super::*;",
            &["events/lose.rs imports by super::"],
        ),
        (
            "data/line.rs",
            "fn f() { super::super::scheduler::shrink() }",
            &["data/line.rs imports by super::"],
        ),
        (
            "helpers.rs",
            "use crate::ids::Owner;",
            &["helpers.rs is of no part that has a row"],
        ),
        (
            "task.rs",
            "use crate::Scheduler;",
            &[
                "task.rs imports Scheduler",
                "task.rs imports no file of Scheduler by its name",
            ],
        ),
        (
            "events/lose.rs",
            "use crate::{ids::Owner, data::list::List};",
            &[
                "events/lose.rs imports ",
                "events/lose.rs imports no file of  by its name",
            ],
        ),
        (
            "events/lose.rs",
            "use crate::data::{list, line};",
            &["events/lose.rs imports no file of data by its name"],
        ),
        (
            "data/list.rs",
            "use crate::data::list::List;",
            &["data/list.rs is in a circle"],
        ),
        (
            "ids.rs",
            "// crate::end\n/* crate::end */ const TEXT: &str = \"\\\"crate::end\"; const BRACE: char = '{';\n\
             #[cfg(test)] use crate::end::Unrunnable;\n\
             #[cfg(test)]\nmod tests { use super::*; fn f() { crate::end::f() } }\n\
             fn f<'a>(text: &'a str) {}",
            &[],
        ),
        (
            "ids.rs",
            "#[cfg(test)]\nmod tests { fn f() { '}' } }\nuse crate::end::Unrunnable;",
            &["ids.rs imports end"],
        ),
    ];
    for &(file, text, expected) in rows {
        let others = [
            "ids.rs",
            "end.rs",
            "scheduler.rs",
            "data/list.rs",
            "events/cancel.rs",
        ];
        let mut sources = vec![(file.to_owned(), text.to_owned())];
        let others = others.into_iter().filter(|other| *other != file);
        sources.extend(others.map(|other| (other.to_owned(), String::new())));
        assert_eq!(check(&sources).1, expected, "{file}: {text}");
    }
    let (a, b) = (
        "use crate::data::list::List;",
        "use crate::data::line::Line;",
    );
    let circle = [("data/line.rs", a), ("data/list.rs", b)]
        .map(|(file, text)| (file.to_owned(), text.to_owned()));
    let expected = ["data/line.rs is in a circle", "data/list.rs is in a circle"];
    assert_eq!(check(&circle), (2, expected.map(str::to_owned).to_vec()));
}
