//! Which part of a crate imports which, held against a table.
//!
//! A part is a file of `src`, or a folder with all that is in it that has no row of its own. Comments, literals and what
//! stands behind `#[cfg(test)]` are passed over; what is left names another part by `crate::PART`, or by `super::`.

mod source;

use std::fs;
use std::path::Path;

use source::code_of;

/// A part (`frame`, `proto/master`) and the parts that it may import, itself aside.
pub(crate) type Row<'a> = (&'a str, &'a [&'a str]);

/// What is wrong with the imports under `src`, and how many there are.
pub(crate) fn judge(src: &Path, table: &[Row<'_>]) -> (Vec<String>, usize) {
    let mut files = Vec::new();
    collect(src, &mut files);
    files.sort();
    let (mut wrong, mut imports) = (Vec::new(), 0);
    for file in files {
        let text = fs::read_to_string(src.join(&file)).expect("a source file is UTF-8");
        imports += judge_file(&file, &text, table, &mut wrong);
    }
    (wrong, imports)
}

/// The files of Rust in `dir` but those of tests, as paths within it.
fn collect(dir: &Path, files: &mut Vec<String>) {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(dir.join(&folder)).expect("a folder of ours") {
            let entry = entry.expect("a folder of ours");
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            if entry.file_type().expect("a file of ours").is_dir() {
                folders.push(path + "/");
            } else if path.ends_with(".rs") && !path.ends_with("tests.rs") {
                files.push(path);
            }
        }
    }
}

/// Judges the text of one file, whose path begins in `src`; how many imports it has.
pub(crate) fn judge_file(
    file: &str,
    text: &str,
    table: &[Row<'_>],
    wrong: &mut Vec<String>,
) -> usize {
    let module = file.trim_end_matches(".rs").trim_end_matches("/mod");
    // The root declares the parts, and what it imports of them it gives on.
    if module == "lib" {
        return 0;
    }
    let Some((part, may)) = row_of(module, table) else {
        let folder = module.split('/').next().unwrap_or_default();
        wrong.push(format!("{file} is of {folder}, which has no row"));
        return 0;
    };
    let code = code_of(text);
    for hidden in ["use super::*", "super::super"] {
        if code.contains(hidden) {
            wrong.push(format!("{file} has {hidden}, which hides what it needs"));
        }
    }
    let mut above = "crate::".to_owned();
    if let Some((parent, _)) = module.rsplit_once('/') {
        above = above + &parent.replace('/', "::") + "::";
    }
    let code = code.replace("super::", &above);
    let mut imports = Vec::new();
    for (at, root) in code.match_indices("crate::") {
        expand("", &code[at + root.len()..], &mut imports);
    }
    let mut named: Vec<String> = Vec::new();
    for import in &imports {
        // What is of no part is a word of the root.
        let to = row_of(import, table).map_or(import.as_str(), |(to, _)| to);
        if to != *part && !may.contains(&to) && !named.iter().any(|name| name == to) {
            named.push(to.to_owned());
        }
    }
    wrong.extend(named.iter().map(|to| format!("{file} imports {to}")));
    imports.len()
}

/// The row of the part that a path belongs to: of several the longest.
fn row_of<'t, 'a>(path: &str, table: &'t [Row<'a>]) -> Option<&'t Row<'a>> {
    let rows = table.iter().filter(|(part, _)| {
        let behind = path.strip_prefix(part);
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('/'))
    });
    rows.max_by_key(|(part, _)| part.len())
}

/// Adds the paths of a tree of imports that the text begins with, as `a/b`; how long it is.
fn expand(above: &str, text: &str, paths: &mut Vec<String>) -> usize {
    let is_of_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut path = above.to_owned();
    let mut at = 0;
    loop {
        let rest = &text[at..];
        if rest.starts_with('{') {
            at += 1;
            loop {
                at += text[at..].len() - text[at..].trim_start().len();
                if text[at..].is_empty() || text[at..].starts_with('}') {
                    return at + 1;
                }
                at += expand(&path, &text[at..], paths);
                // What is behind a path is another name for it, or the next one.
                at += text[at..].find([',', '}']).unwrap_or(text.len() - at);
                at += usize::from(text[at..].starts_with(','));
            }
        }
        let word = rest.len() - rest.trim_start_matches(is_of_word).len();
        if word > 0 {
            path = match path.as_str() {
                "" => rest[..word].to_owned(),
                path => format!("{path}/{}", &rest[..word]),
            };
            at += word;
        }
        if word == 0 || !text[at..].starts_with("::") {
            paths.push(path);
            return at;
        }
        at += 2;
    }
}
