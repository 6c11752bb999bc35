//! Manual pages and completions come from the commands themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use ringmw_codec::audit::EVENTS;
use ringmw_codec::flags::exit;

fn ringmw(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmw"))
        .args(args)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let text = ringmw(&["completions", shell]);
        for word in ["audit", "doctor", "churn", "max-loss-ratio"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
}

#[test]
fn every_command_has_a_page_with_its_examples() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("man1");
    ringmw(&["man", "--dir", dir.to_str().expect("UTF-8")]);
    for command in [
        "stats", "churn", "timeline", "attempts", "report", "plot", "diff", "follow", "check",
    ] {
        let page =
            std::fs::read_to_string(dir.join(format!("ringmw-audit-{command}.1"))).expect("a page");
        assert!(
            page.contains(&format!("ringmw audit {command}")),
            "{command}: {page}"
        );
    }
    assert!(ringmw(&["man"]).contains("ringmw"));
}

/// What the pages for those who work on the code name in a path's form is there.
#[test]
fn every_path_that_the_pages_name_is_there() {
    let root = root();
    let mut seen = 0;
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = std::fs::read_to_string(root.join(page)).expect(page);
        // Every other piece between backticks stands between two of them.
        for quoted in text.split('`').skip(1).step_by(2) {
            let word = quoted.split(' ').next().unwrap_or_default();
            if word.contains('/') && !word.contains(['<', '*', '$', ':']) {
                assert!(root.join(word).exists(), "{page}: {word} is not there");
                seen += 1;
            }
        }
    }
    assert!(seen > 40, "{seen} paths");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is written for users: the README, the guides, the manual.
fn pages() -> Vec<PathBuf> {
    let root = root();
    let mut pages = vec![root.join("README.md"), root.join("runtime/src/front.md")];
    for folder in ["tools", "runtime/src/manual"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder of ours");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        pages.extend(paths.filter(|path| path.extension().is_some_and(|of| of == "md")));
    }
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

/// Help texts, messages and pages name no flag that there is not.
#[test]
fn every_flag_that_is_named_is_there() {
    let root = root();
    let mut files = pages();
    files.extend(
        ["ARCHITECTURE.md", "CHANGELOG.md", "benches/README.md"].map(|page| root.join(page)),
    );
    // The library's own documentation is a page too, and so is the head of an example.
    let sources = [
        "tools/src",
        "runtime/src",
        "examples",
        "benches/src",
        "codec/src",
    ]
    .map(|folder| root.join(folder));
    let mut folders = sources.to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of ours") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => files.push(path),
            }
        }
    }
    let mut seen = 0;
    for file in files {
        let bytes = std::fs::read(&file).expect("a file of ours");
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        // The tool names flags in its messages as well; tests of the library name some that there are not.
        if file.extension().is_some_and(|of| of == "rs") && !file.starts_with(&sources[0]) {
            text = text
                .lines()
                .map(str::trim_start)
                .filter(|line| line.starts_with("//!") || line.starts_with("///"))
                .collect::<Vec<_>>()
                .join("\n");
        }
        for (at, _) in text.match_indices("--mw-") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
            let is_there = ringmw_codec::flags::FLAGS
                .iter()
                .any(|flag| flag.name == name);
            // The last is an example of a name's form.
            let is_form = ["--mw", "--mw-x"].contains(&name);
            assert!(is_there || is_form, "{}: {name}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen} flags");
}

/// The crate's documentation opens with what the README says.
#[test]
fn readme_and_documentation_open_with_one_text() {
    let root = root();
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of ours");
    let (readme, front) = (read("README.md"), read("runtime/src/front.md"));
    assert!(
        readme.starts_with(&format!("# ringmw\n\n{front}")),
        "runtime/src/front.md is to be the beginning of README.md"
    );
}

/// The README's examples are those that ship.
#[test]
fn every_example_is_in_the_readme() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let (readme, cargo) = (read("README.md"), read("examples/Cargo.toml"));
    let (_, part) = readme
        .split_once("\n## Examples\n")
        .expect("a part of its own");
    let (part, _) = part.split_once("\n## ").expect("another follows");
    let first = |row: &str| row.split('|').nth(1).unwrap_or_default().to_owned();
    let rows = part
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(first);
    let mut told: Vec<String> = rows
        .flat_map(|cell| {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    // It has a paragraph instead of a row.
    assert!(part.contains("[commands](examples/commands/main.rs)"));
    told.push("commands".to_owned());
    let (_, named) = cargo.split_once("[[example]]").expect("there are some");
    let mut ship: Vec<String> = named
        .lines()
        .filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'))
        .filter(|name| !name.starts_with("test-"))
        .map(str::to_owned)
        .collect();
    told.sort();
    ship.sort();
    assert_eq!(told, ship);
}

/// The methods that the README names are public.
#[test]
fn every_method_of_the_readme_is_there() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).expect(path);
    let (readme, public) = (read("README.md"), read("runtime/tests/public.txt"));
    let (mut fence, mut seen) = (false, 0);
    for line in readme.lines() {
        if line.starts_with("```") {
            fence = !fence;
        }
        // What is code as a whole is compiled.
        if fence {
            continue;
        }
        for code in line.split('`').skip(1).step_by(2) {
            for piece in code.split('.').skip(1) {
                let name: String = piece
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                let is_method = code.starts_with("mw.") || piece[name.len()..].starts_with('(');
                if !is_method || name.is_empty() || name == "await" {
                    continue;
                }
                let is_public = public.lines().any(|line| {
                    let item = line.split(['(', '<']).next().unwrap_or_default();
                    (item.starts_with("fn ") || item.starts_with("method "))
                        && item.ends_with(&format!("::{name}"))
                });
                assert!(is_public, "{code}: {name}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "{seen} methods");
}

/// Commands of `ringmw` that the pages name are there, with these options.
#[test]
fn every_command_that_is_named_is_there() {
    let mut helps = BTreeMap::new();
    let mut help = |path: &[&str]| -> String {
        let entry = helps.entry(path.join(" "));
        let text = entry.or_insert_with(|| ringmw(&[path, &["--help"]].concat()));
        text.clone()
    };
    let has = |text: &str, word: &str| {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        words.any(|of| of == word)
    };
    let is_command = |text: &str, word: &str| {
        let mut lines = text
            .lines()
            .skip_while(|line| !line.starts_with("Commands:"));
        lines.any(|line| line.split_whitespace().next() == Some(word))
    };
    let (mut commands, mut options) = (0, 0);
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a file of ours");
        let quoted = text.split('`').skip(1).step_by(2);
        let typed = text.lines().map(str::trim_start);
        for line in quoted
            .chain(typed)
            .filter(|line| line.starts_with("ringmw "))
        {
            let line = line.split(" #").next().expect("one part");
            let line = line.split(" -- ").next().expect("one part");
            let mut words = line.split_whitespace().skip(1).peekable();
            let Some(first) = words.next() else { continue };
            if !is_command(&help(&[]), first.split('|').next().expect("one part")) {
                // A sentence that begins with the name.
                assert!(!line.contains(" --"), "{}: {line}", page.display());
                continue;
            }
            for first in first.split('|') {
                assert!(is_command(&help(&[]), first), "{}: {line}", page.display());
                let mut path = vec![first];
                let mut rest = words.clone();
                if let Some(next) = rest
                    .peek()
                    .copied()
                    .filter(|next| is_command(&help(&path), next))
                {
                    path.push(next);
                    rest.next();
                }
                let text = help(&path);
                for option in
                    rest.filter(|word| word.starts_with("--") && !word.starts_with("--mw-"))
                {
                    let option = option.split(['=', ')', ',', ';']).next().expect("one part");
                    assert!(has(&text, option), "{}: {line}: {option}", page.display());
                    options += 1;
                }
                commands += 1;
            }
        }
    }
    assert!(
        commands > 50 && options > 20,
        "{commands} commands, {options} options"
    );
}

/// Lines of a trail that the pages show are such as are written.
#[test]
fn every_event_that_is_shown_is_there() {
    let mut seen = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a file of ours");
        for line in text.lines().map(str::trim) {
            let words: Vec<_> = line.split_whitespace().collect();
            let &[version, time, who, event, ref facts @ ..] = words.as_slice() else {
                continue;
            };
            let is_line =
                version.parse::<u8>().is_ok() && time.ends_with('Z') && time.contains('T');
            if !is_line {
                continue;
            }
            let context = format!("{}: {line}", page.display());
            assert!(who == "MASTER" || who.starts_with("SLAVE"), "{context}");
            let form = EVENTS
                .iter()
                .find(|form| form.word == event)
                .expect(&context);
            let named = facts
                .iter()
                .filter_map(|fact| Some(fact.split_once('=')?.0));
            for key in named {
                assert!(form.keys.contains(&key), "{context}: {key}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen} lines");
}

/// The guide's table of exit codes is the table's.
#[test]
fn every_exit_code_is_told() {
    let text = std::fs::read_to_string(root().join("tools/guide-batch.md")).expect("the guide");
    let (_, table) = text.split_once("| code | of |").expect("its table");
    let rows = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let codes: Vec<_> = rows
        .map(|row| row.split('|').nth(1).unwrap_or_default().trim())
        .collect();
    let range =
        |range: std::ops::RangeInclusive<u8>| format!("{} to {}", range.start(), range.end());
    let signals = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM];
    let left = signals.map(|signal| (i32::from(exit::SIGNAL_BASE) + signal).to_string());
    let expected = [
        exit::OK.to_string(),
        left.join(", "),
        range(exit::UNREACHED),
        range(exit::IN_VAIN),
        exit::CRASH_LOOP.to_string(),
        exit::ERROR.to_string(),
    ];
    assert_eq!(codes, expected);
}
