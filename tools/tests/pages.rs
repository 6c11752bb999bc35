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
