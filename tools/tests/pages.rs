//! Manual pages and completions come from the commands themselves.

use std::process::Command;

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
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
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

/// Help texts, messages and pages name no flag that there is not.
#[test]
fn every_flag_that_is_named_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let pages = [
        "README.md",
        "CHANGELOG.md",
        "benches/README.md",
        "runtime/src/front.md",
    ];
    let mut files: Vec<_> = pages.iter().map(|page| root.join(page)).collect();
    files
        .extend(["audit", "batch", "security"].map(|of| root.join(format!("tools/guide-{of}.md"))));
    let mut folders = vec![root.join("tools/src"), root.join("runtime/src/manual")];
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
        let text = String::from_utf8_lossy(&bytes);
        for (at, _) in text.match_indices("--mw-") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '-');
            let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('-');
            let is_there = ringmw_codec::flags::FLAGS
                .iter()
                .any(|flag| flag.name == name);
            assert!(is_there || name == "--mw", "{}: {name}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 50, "{seen} flags");
}

/// The crate's documentation opens with what the README says.
#[test]
fn readme_and_documentation_open_with_one_text() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file of ours");
    let (readme, front) = (read("README.md"), read("runtime/src/front.md"));
    assert!(
        readme.starts_with(&format!("# ringmw\n\n{front}")),
        "runtime/src/front.md is to be the beginning of README.md"
    );
}
