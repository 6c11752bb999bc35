//! `ringmw journal` on a folder as a master leaves it: whole, torn, damaged.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ringmw_codec::journal::{
    Identity, Segment, begin_results, hash_args, put_failure, put_result, seal,
};

fn result(out: &mut Vec<u8>, algorithm: u16, stream: u64, output: &[u8]) {
    let table = begin_results(out, algorithm, 1, 0, (1, stream), output.len());
    put_result(
        out,
        table,
        0,
        hash_args(&stream.to_le_bytes()),
        7_000,
        output,
    );
}

/// Two lives: results 0 to 4 of `pi`, two of them twice, one of `hello` and a failure; the second is torn.
fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    for life in 1..=2 {
        let segment = Segment {
            life,
            number: 1,
            begun_us: 1_700_000_000_000_000,
            identity: Identity {
                seed: 42,
                program: "app".into(),
                ..Identity::default()
            },
            algorithms: vec!["hello".into(), "pi".into()],
        };
        let mut file = segment.encode();
        let mut payloads = Vec::new();
        let streams = if life == 1 { 0..3 } else { 1..5 };
        streams.for_each(|stream| result(&mut payloads, 1, stream, b"\x01\xff"));
        if life == 2 {
            result(&mut payloads, 0, 9, b"hi");
            put_failure(&mut payloads, 0, 0, (1, 8), 0, 5, "no");
        }
        let at = file.len() as u64;
        seal(&mut file, (life, 1), at, &payloads);
        if life == 2 {
            file.extend_from_slice(b"RWrc torn");
        }
        fs::write(dir.path().join(Segment::file_name(life, 1)), file).expect("written");
    }
    dir
}

fn journal(command: &str, dir: &Path, more: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ringmw"))
        .args(["journal", command])
        .arg(dir)
        .args(more)
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[test]
fn segments_are_listed_in_three_forms() {
    let dir = folder();
    let (_, table) = journal("ls", dir.path(), &[]);
    assert!(
        table.contains("seed 42") && table.contains("7 results of pi"),
        "{table}"
    );
    let (_, csv) = journal("ls", dir.path(), &["--format", "csv"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let (_, json) = journal("ls", dir.path(), &["--format", "json"]);
    let last: serde_json::Value =
        serde_json::from_str(json.lines().last().expect("two lines")).expect("JSON");
    assert_eq!((&last["life"], &last["failures"]), (&2.into(), &1.into()));
    assert_eq!(last["torn-bytes"], 9);
}

#[test]
fn a_torn_end_is_no_damage_and_a_flipped_bit_is() {
    let dir = folder();
    let (output, text) = journal("check", dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("cut off"), "{text}");
    let path = dir.path().join(Segment::file_name(1, 1));
    let mut bytes = fs::read(&path).expect("there");
    let middle = bytes.len() - 100;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).expect("written");
    let (output, text) = journal("check", dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("1 damaged place"), "{text}");
}

#[test]
fn every_result_is_exported() {
    let dir = folder();
    let (_, csv) = journal("export", dir.path(), &[]);
    assert_eq!(csv.lines().count(), 1 + 9, "{csv}");
    assert!(
        csv.contains("1,pi,1,0,done,7000,") && csv.contains(",01ff"),
        "{csv}"
    );
    let (_, json) = journal(
        "export",
        dir.path(),
        &["--format", "json", "--algorithm", "hello"],
    );
    assert_eq!(json.lines().count(), 2, "{json}");
}

#[test]
fn what_is_repeated_or_unwanted_goes() {
    let dir = folder();
    let (_, text) = journal("prune", dir.path(), &["--dry-run"]);
    assert!(text.starts_with("2 results would go"), "{text}");
    let (_, text) = journal("prune", dir.path(), &["--failures", "--algorithm", "hello"]);
    assert!(text.starts_with("4 results gone"), "{text}");
    let (_, csv) = journal("export", dir.path(), &[]);
    assert_eq!(csv.lines().count(), 1 + 5, "{csv}");
    let (output, _) = journal("check", dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_folder_without_a_journal_says_how_to_get_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let (output, _) = journal("ls", dir.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--mw-journal"));
}
