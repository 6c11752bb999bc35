//! `ringmw audit follow` beside a writer that rotates its file.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use crate::made::{Form, START_US, World};
use crate::{RUNS, command, sample};

fn append(path: &Path, bytes: &[u8]) {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .expect("it opens");
    file.write_all(bytes).expect("it writes");
}

/// Lines cut between two writes, a rotation by rename, one by truncation: every task is counted at the end.
#[test]
fn nothing_is_lost_through_rotation() {
    let mut world = World::new(Form::Ringmw, 21, START_US);
    (0..3000).for_each(|_| world.step(9));
    let (trail, truth) = world.end();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("master.audit");
    let mut child = command(&["follow", "--interval", "50ms", "--until-exit"])
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map(|line| line.expect("UTF-8"));
    let parts: Vec<&[u8]> = trail.chunks(trail.len() / 3 + 1).collect();
    // Rotation happens where a line ends; what stands before that is written in two pieces.
    let end = |part: &[u8]| part.iter().rposition(|&byte| byte == b'\n').expect("lines") + 1;
    let mut rest: Vec<u8> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        rest.extend_from_slice(part);
        let whole: Vec<u8> = rest.drain(..end(&rest.clone())).collect();
        let (first, second) = whole.split_at(whole.len() / 2);
        append(&path, first);
        // It has seen the first piece when it says anything of it.
        let told = lines.next().expect("it goes on");
        assert!(told.contains("2026-11-20T08:"), "{told}");
        append(&path, second);
        match index {
            0 => std::fs::rename(&path, folder.path().join("master.audit.1")).expect("it renames"),
            1 => {
                // All of it must have been read before it is cut away.
                let results = results_in(&trail[..parts[0].len() + parts[1].len() - rest.len()]);
                let wanted = format!(" {} results", results);
                while !lines
                    .next()
                    .expect("it goes on")
                    .replace(',', "")
                    .contains(&wanted)
                {}
                File::create(&path).expect("it is cut");
            }
            _ => {}
        }
    }
    let last = lines.last().expect("a last line").replace(',', "");
    assert!(child.wait().expect("it ends").success());
    for figure in [
        format!("{} sent", truth.sent),
        format!("{} results", truth.results),
        format!("{} recycled", truth.recycled),
    ] {
        assert!(last.contains(&figure), "{figure}: {last}");
    }
}

fn results_in(trail: &[u8]) -> u64 {
    let text = std::str::from_utf8(trail).expect("ASCII");
    let results = |line: &str| {
        line.split(" results=")
            .nth(1)?
            .split(' ')
            .next()?
            .parse::<u64>()
            .ok()
    };
    text.lines()
        .filter(|line| !line.contains(" late "))
        .filter_map(results)
        .sum()
}

#[test]
fn a_finished_trail_is_told_at_once() {
    let output = command(&["follow", "--until-exit"])
        .arg(sample(RUNS[2], "master.audit"))
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success());
    assert!(
        text.contains("2026-11-20T08:03:16Z  SLAVE-3 lost: eof"),
        "{text}"
    );
    assert!(
        text.contains("0 slaves, 0 busy; 66 sent, 60 results"),
        "{text}"
    );
}
