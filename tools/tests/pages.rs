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
