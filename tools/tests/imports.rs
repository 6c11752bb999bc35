//! No file imports one that imports it: what a file needs can be read without it.
//!
//! The commands on audit trails are left out here.

#[path = "../../codec/tests/support/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::code_of;

/// Fewer imports than these, and this test no longer sees what it looks for.
const IMPORTS_MIN: usize = 40;

/// The files of the crate by their modules: `overseer::batch`; the root is the empty one.
fn modules(root: &Path) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the sources are there") {
            let path = entry.expect("it can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.with_extension("");
            let name = name.strip_prefix(root).expect("below it");
            let name = name.to_string_lossy().replace('/', "::");
            let name = if name == "main" { String::new() } else { name };
            if name != "tests" && !name.ends_with("::tests") && !name.starts_with("audit") {
                found.insert(name, path);
            }
        }
    }
    found
}

/// The paths in a text that begin with one of these words, braces spelled out as far as their first names.
fn paths(text: &str, start: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(start) {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let (path, rest) = rest.split_at(end.unwrap_or(rest.len()));
        match rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((names, _)) => found.extend(names.split(',').map(|name| {
                let name = name.split_whitespace().next().unwrap_or_default();
                format!("{path}{name}")
            })),
            None => found.push(path.to_owned()),
        }
    }
    found
}

/// The file that a path leads to: its longest beginning that is a module.
fn leads_to(path: &str, modules: &BTreeMap<String, PathBuf>) -> String {
    let mut words: Vec<&str> = path.split("::").filter(|word| !word.is_empty()).collect();
    while !modules.contains_key(&words.join("::")) {
        words.pop();
    }
    words.join("::")
}

fn imports(module: &str, text: &str, modules: &BTreeMap<String, PathBuf>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in paths(text, "crate::") {
        found.insert(leads_to(&path["crate::".len()..], modules));
    }
    let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
    for path in paths(text, "super::") {
        let rest = &path["super::".len()..];
        assert!(
            !rest.starts_with("super"),
            "{module}: {path} hides what it needs"
        );
        assert!(
            !text.contains("use super::*"),
            "{module}: use super::* hides what it needs"
        );
        found.insert(leads_to(&format!("{parent}::{rest}"), modules));
    }
    // A file declares its children.
    for line in text.lines() {
        let child = line.trim().trim_end_matches(';').rsplit_once("mod ");
        let Some((before, child)) = child.filter(|_| line.ends_with(';')) else {
            continue;
        };
        let name = [module, child].join("::");
        let name = name.trim_start_matches(':').to_owned();
        if (before.is_empty() || before.starts_with("pub")) && modules.contains_key(&name) {
            found.insert(name);
        }
    }
    found.retain(|import| import != module && !import.starts_with("audit"));
    found
}

/// A circle that can be reached from here, as the modules along it.
fn circle(
    at: &str,
    all: &BTreeMap<String, BTreeSet<String>>,
    way: &mut Vec<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|module| module == at) {
        return Some(way[start..].to_vec());
    }
    way.push(at.to_owned());
    let found = all[at].iter().find_map(|next| circle(next, all, way));
    way.pop();
    found
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let modules = modules(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let all: BTreeMap<String, BTreeSet<String>> = modules
        .iter()
        .map(|(module, path)| {
            let text = fs::read_to_string(path).expect("it can be read");
            (module.clone(), imports(module, &code_of(&text), &modules))
        })
        .collect();
    let seen: usize = all.values().map(BTreeSet::len).sum();
    assert!(
        seen >= IMPORTS_MIN,
        "only {seen} imports were seen: {all:?}"
    );
    for module in all.keys() {
        let found = circle(module, &all, &mut Vec::new());
        assert_eq!(found, None, "these import one another");
    }
}

/// So that the test above can fail.
#[test]
fn a_circle_is_found() {
    let edge = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let all = BTreeMap::from([edge("a", "b"), edge("b", "c"), edge("c", "b")]);
    let found = circle("a", &all, &mut Vec::new()).expect("b and c");
    assert_eq!(found, ["b", "c"]);
    let text = "use crate::{a, b as x};\nuse super::c::{D, e};\nfn f() { crate::a::g() }\n";
    assert_eq!(
        paths(text, "crate::"),
        ["crate::a", "crate::b", "crate::a::g"]
    );
    assert_eq!(paths(text, "super::"), ["super::c::D", "super::c::e"]);
}
