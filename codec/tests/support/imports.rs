//! Which part of a crate imports which, held against a table.

use std::fs;
use std::path::Path;

/// A part (a file of `src`, or a folder and the file of its name) and the parts that it may import, itself aside.
pub(crate) type Row<'a> = (&'a str, &'a [&'a str]);

/// What is wrong with the imports under `src`, and how many there are.
pub(crate) fn judge(src: &Path, table: &[Row<'_>]) -> (Vec<String>, usize) {
    let mut files = Vec::new();
    collect(src, &mut files);
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
    let part = file.split(['/', '.']).next().unwrap_or_default();
    // The root declares the parts, and what it imports of them it gives on.
    if part == "lib" {
        return 0;
    }
    let Some((_, may)) = table.iter().find(|(row, _)| *row == part) else {
        wrong.push(format!("{file} is of {part}, which has no row"));
        return 0;
    };
    let mut code = code(text);
    // The root is above a file that stands in no folder.
    if !file.contains('/') {
        code = code.replace("\nuse super::", "\nuse crate::");
    }
    for hidden in ["use super::*", "super::super"] {
        if code.contains(hidden) {
            wrong.push(format!("{file} has {hidden}, which hides what it needs"));
        }
    }
    let imports = imported(&code);
    for import in &imports {
        if import != part && !may.contains(&&import[..]) {
            wrong.push(format!("{file} imports {import}"));
        }
    }
    imports.len()
}

/// Without comments, and without what stands behind the first `#[cfg(test)]` of a line of its own.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| *line != "#[cfg(test)]");
    lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .fold("\n".to_owned(), |code, line| code + line + "\n")
}

/// What stands behind each `crate::`, the first word; of a list in braces, the first word of each.
fn imported(code: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let is_of_it = |letter: &char| letter.is_alphanumeric() || *letter == '_';
        text.trim_start().chars().take_while(is_of_it).collect()
    };
    let mut imports = Vec::new();
    for behind in code.split("crate::").skip(1) {
        let Some(list) = behind.strip_prefix('{') else {
            imports.push(word(behind));
            continue;
        };
        imports.push(word(list));
        let mut depth = 1;
        for (at, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => imports.push(word(&list[at + 1..])),
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
    // A list may end with a comma.
    imports.retain(|import| !import.is_empty());
    imports
}
