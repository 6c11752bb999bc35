//! What a master's trail says of each of its lives, for tests that kill masters.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;

use ringmw_codec::audit::{Event, Line};

/// What a trail says of one life.
#[derive(Default)]
pub(crate) struct Life {
    pub(crate) begun_us: i64,
    pub(crate) pid: i32,
    pub(crate) ended: bool,
    /// Results that it took, and tasks that ended with what it knew.
    pub(crate) results: u64,
    pub(crate) known: u64,
    pub(crate) late: u64,
    /// When each slave had its first task, and when its first result came.
    pub(crate) begun: BTreeMap<u32, i64>,
    pub(crate) first: BTreeMap<u32, i64>,
    /// Results in the journal, and those of them that stand there twice, of all lives before.
    pub(crate) recorded: u64,
    pub(crate) repeated: u64,
}

/// The lives in a trail, whose last line may still be written.
pub(crate) fn lives(trail: &str) -> Vec<Life> {
    // A line that is still being written has no end.
    let complete = trail.rfind('\n').map_or("", |end| &trail[..end]);
    let mut lives: Vec<Life> = Vec::new();
    for line in complete.lines() {
        let line = Line::parse(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        if let Event::Init { pid, .. } = line.event {
            lives.push(Life {
                begun_us: line.time_us,
                pid: pid.try_into().expect("a process of Linux"),
                ..Life::default()
            });
        }
        let life = lives.last_mut().expect("a life begins with its first line");
        match line.event {
            Event::ResultsReceived { slave, results, .. }
            | Event::Packets { slave, results, .. } => {
                life.results += results;
                if results > 0 {
                    life.first.entry(slave).or_insert(line.time_us);
                }
            }
            Event::TasksSent { slave, .. } => {
                life.begun.entry(slave).or_insert(line.time_us);
            }
            Event::Known { results, .. } => life.known += results,
            Event::Late { results, .. } => life.late += results,
            Event::JournalRead {
                results, repeated, ..
            } => (life.recorded, life.repeated) = (results, repeated),
            Event::Exit { .. } => life.ended = true,
            _ => {}
        }
    }
    lives
}
