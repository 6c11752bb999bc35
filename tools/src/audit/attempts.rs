//! One row per hand-out: a packet of tasks, or a single task where the trail has them.
//!
//! Results name no packet, but a slave works off what it holds in the order in which it came: results are taken to be
//! those of its oldest hand-outs. A row is written when its last result came or its slave was lost, so that only what is
//! under way is in memory.

use std::collections::VecDeque;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;
use std::{iter, mem};

use ringmw_codec::audit::EndWord;
use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};

use super::Input;
use super::entry::{Role, What};
use super::output::{Format, csv_row, show};
use super::place::host_of;
use super::times::Zone;
use super::trail::{At, Fold};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit attempts --format csv master.audit > attempts.csv
  ringmw audit attempts --of tasks --since 14:00 --until 14:05 master.audit
  ringmw audit attempts --format csv master.audit | awk -F, '$9 == \"lost\"'

Columns: run, slave, host, task, algorithm, tasks, sent, returned, end (returned, lost, given back, \
failed, cancelled, unrunnable, open), elapsed_s, wait_s (elapsed less compute), compute_s, \
bytes_out, bytes_in, failed. Single tasks are in trails of --mw-audit-level tasks. Packets that \
were only summed up (more than ten a second and slave) are one row, `summed`. \
JSON is one object per line.";

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Of {
    /// Single tasks if the trail has them, else packets.
    Auto,
    Packets,
    Tasks,
}

const GIVEN_BACK: &str = "given back";

const COLUMNS: [&str; 15] = [
    "run",
    "slave",
    "host",
    "task",
    "algorithm",
    "tasks",
    "sent",
    "returned",
    "end",
    "elapsed_s",
    "wait_s",
    "compute_s",
    "bytes_out",
    "bytes_in",
    "failed",
];
const WIDTHS: [usize; 15] = [3, 10, 12, 10, 12, 7, 27, 27, 10, 9, 9, 9, 9, 9, 6];

#[derive(Debug, Clone, Default)]
struct HandOut {
    sent_us: i64,
    tasks: u64,
    missing: u64,
    bytes_out: Option<u64>,
    bytes_in: Option<u64>,
    compute_us: Option<u64>,
    failed: u64,
    task: Option<u64>,
    algorithm: String,
    is_counted: bool,
}

#[derive(Default)]
struct SlaveHands {
    packets: VecDeque<HandOut>,
    tasks: FxHashMap<u64, HandOut>,
}

struct Rows<W: Write> {
    out: W,
    format: Format,
    zone: Zone,
    of: Of,
    /// Slaves' hands by run and number.
    hands: FxHashMap<(usize, u32), SlaveHands>,
    hosts: FxHashMap<(usize, u32), String>,
    /// Stragglers that two slaves have, by run and number.
    duplicated: FxHashSet<(usize, u64)>,
    /// The table's line that is put together.
    line: String,
    error: Option<io::Error>,
    /// Slaves' trails tell nothing once a master's was seen.
    has_master: bool,
    has_tasks: bool,
}

impl<W: Write> Rows<W> {
    fn new(out: W, format: Format, zone: Zone, of: Of) -> Self {
        let mut rows = Self {
            out,
            format,
            zone,
            of,
            hands: FxHashMap::default(),
            hosts: FxHashMap::default(),
            duplicated: FxHashSet::default(),
            line: String::new(),
            error: None,
            has_master: false,
            has_tasks: of == Of::Tasks,
        };
        match format {
            Format::Table => rows.write_line(COLUMNS.into_iter().map(str::to_owned)),
            Format::Csv => rows.write(&(COLUMNS.join(",") + "\n")),
            Format::Json => {}
        }
        rows
    }

    fn write(&mut self, text: &str) {
        if self.error.is_none() {
            self.error = self.out.write_all(text.as_bytes()).err();
        }
    }

    fn write_line(&mut self, cells: impl Iterator<Item = String>) {
        let mut line = mem::take(&mut self.line);
        line.clear();
        for (cell, width) in cells.zip(WIDTHS) {
            let begin = line.len();
            line += &cell;
            let chars = line[begin..].chars().count();
            line.extend(iter::repeat_n(' ', width.saturating_sub(chars) + 1));
        }
        line.truncate(line.trim_end().len());
        line.push('\n');
        self.write(&line);
        self.line = line;
    }

    fn row(&mut self, at: (usize, u32), hand_out: &HandOut, back_us: Option<i64>, end: &str) {
        if !hand_out.is_counted || (self.has_tasks && hand_out.task.is_none()) {
            return;
        }
        let elapsed_us = back_us.map(|us| us - hand_out.sent_us);
        let wait_us = elapsed_us
            .zip(hand_out.compute_us)
            .map(|(elapsed, compute)| elapsed.saturating_sub_unsigned(compute).max(0));
        let seconds = |us: f64| us / 1e6;
        let row: Vec<Value> = vec![
            at.0.into(),
            format!("SLAVE-{}", at.1).into(),
            self.hosts
                .get(&at)
                .map_or(Value::Null, |host| host.as_str().into()),
            hand_out
                .task
                .map_or(Value::Null, |task| format!("TASK-{task}").into()),
            Some(&hand_out.algorithm)
                .filter(|name| !name.is_empty())
                .map_or(Value::Null, |name| name.as_str().into()),
            hand_out.tasks.into(),
            self.zone.show(hand_out.sent_us).into(),
            back_us.map_or(Value::Null, |us| self.zone.show(us).into()),
            end.into(),
            json!(elapsed_us.map(|us| seconds(us as f64))),
            json!(wait_us.map(|us| seconds(us as f64))),
            json!(hand_out.compute_us.map(|us| seconds(us as f64))),
            json!(hand_out.bytes_out),
            json!(hand_out.bytes_in),
            hand_out.failed.into(),
        ];
        match self.format {
            Format::Table => self.write_line(row.iter().map(show)),
            Format::Csv => self.write(&csv_row(&row)),
            Format::Json => {
                let pairs = COLUMNS.iter().map(|&column| column.to_owned()).zip(row);
                let object = Value::Object(pairs.collect());
                self.write(&format!("{object}\n"));
            }
        }
    }

    /// Results came: the oldest hand-outs are done first.
    fn back(
        &mut self,
        at: At,
        slave: u32,
        results: u64,
        failed: u64,
        bytes: Option<u64>,
        compute_us: Option<u64>,
    ) {
        let key = (at.life, slave);
        let (mut left, mut failed) = (results, failed);
        while left > 0 {
            let Some(hands) = self.hands.get_mut(&key) else {
                return;
            };
            let Some(oldest) = hands.packets.front_mut() else {
                return;
            };
            let taken = oldest.missing.min(left);
            let part = |sum: Option<u64>, whole: Option<u64>| {
                let share = whole.map(|whole| {
                    (u128::from(whole) * u128::from(taken) / u128::from(results)) as u64
                });
                share.map(|share| sum.unwrap_or(0) + share)
            };
            oldest.bytes_in = part(oldest.bytes_in, bytes);
            oldest.compute_us = part(oldest.compute_us, compute_us);
            let failures = failed.min(taken);
            oldest.failed += failures;
            failed -= failures;
            oldest.missing -= taken;
            left -= taken;
            if oldest.missing == 0
                && let Some(done) = hands.packets.pop_front()
            {
                self.row(key, &done, Some(at.us), "returned");
            }
        }
    }

    fn drop_hands(&mut self, key: (usize, u32), us: Option<i64>, end: &str) {
        let Some(hands) = self.hands.remove(&key) else {
            return;
        };
        for hand_out in hands.packets {
            self.row(key, &hand_out, us, end);
        }
        let mut tasks: Vec<_> = hands.tasks.into_values().collect();
        tasks.sort_by_key(|task| (task.sent_us, task.task));
        for hand_out in tasks {
            self.row(key, &hand_out, us, end);
        }
    }

    /// A straggler has ended: the other slave that has it is told to drop it. Rare enough for a search.
    fn drop_twin(&mut self, at: At, task: u64) {
        let held = |(key, hands): (&(usize, u32), &SlaveHands)| {
            (key.0 == at.life && hands.tasks.contains_key(&task)).then_some(*key)
        };
        let key = self.hands.iter().find_map(held);
        let twin = key.and_then(|key| Some((key, self.hands.get_mut(&key)?.tasks.remove(&task)?)));
        if let Some((key, twin)) = twin {
            self.row(key, &twin, Some(at.us), "cancelled");
        }
    }

    fn on_task(&mut self, at: At, what: &What<'_>) {
        if self.of == Of::Packets {
            return;
        }
        match *what {
            What::TaskSent {
                slave,
                task,
                algorithm,
            } => {
                self.has_tasks = true;
                let hand_out = HandOut {
                    sent_us: at.us,
                    tasks: 1,
                    missing: 1,
                    task: Some(task),
                    algorithm: algorithm.to_owned(),
                    is_counted: at.is_counted,
                    ..HandOut::default()
                };
                self.hands
                    .entry((at.life, slave))
                    .or_default()
                    .tasks
                    .insert(task, hand_out);
            }
            What::TaskEnded {
                slave: Some(slave),
                task,
                end,
                compute_us,
            } => {
                let key = (at.life, slave);
                let hand_out = self
                    .hands
                    .get_mut(&key)
                    .and_then(|hands| hands.tasks.remove(&task));
                if let Some(mut hand_out) = hand_out {
                    hand_out.compute_us = compute_us;
                    hand_out.failed = u64::from(end == EndWord::Failed);
                    let end = if end == EndWord::Done {
                        "returned"
                    } else {
                        end.word()
                    };
                    self.row(key, &hand_out, Some(at.us), end);
                }
                if self.duplicated.remove(&(at.life, task)) {
                    self.drop_twin(at, task);
                }
            }
            _ => {}
        }
    }
}

impl<W: Write> Fold for Rows<W> {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        match at.role {
            Role::Master if !self.has_master => {
                self.has_master = true;
                self.hands.clear();
            }
            Role::Slave if self.has_master => return,
            _ => {}
        }
        match *what {
            What::Sent {
                slave,
                tasks,
                bytes,
            } => {
                let hand_out = HandOut {
                    sent_us: at.us,
                    tasks,
                    missing: tasks,
                    bytes_out: bytes,
                    is_counted: at.is_counted,
                    ..HandOut::default()
                };
                self.hands
                    .entry((at.life, slave))
                    .or_default()
                    .packets
                    .push_back(hand_out);
            }
            What::Results {
                slave,
                results,
                failed,
                bytes,
                compute_us,
            } => self.back(at, slave, results, failed, bytes, compute_us),
            What::Packets {
                slave,
                span_us,
                tasks,
                bytes_out,
                results,
                failed,
                bytes_in,
                compute_us,
                ..
            } => {
                self.back(at, slave, results.saturating_sub(tasks), 0, None, None);
                let done = results.min(tasks);
                let mut hand_out = HandOut {
                    sent_us: at.us - span_us,
                    tasks,
                    missing: tasks - done,
                    bytes_out: Some(bytes_out),
                    bytes_in: Some(bytes_in),
                    compute_us: Some(compute_us),
                    failed,
                    is_counted: at.window.contains(at.us - span_us),
                    ..HandOut::default()
                };
                self.row((at.life, slave), &hand_out, Some(at.us), "summed");
                if hand_out.missing > 0 {
                    // The rest is under way, and was told in the sum.
                    hand_out.is_counted = false;
                    self.hands
                        .entry((at.life, slave))
                        .or_default()
                        .packets
                        .push_back(hand_out);
                }
            }
            What::Connected {
                slave, from, host, ..
            } => {
                let host = if host.is_empty() { host_of(from) } else { host };
                self.hosts.insert((at.life, slave), host.to_owned());
            }
            What::Returned {
                slave,
                count,
                tasks,
            } => self.give_back(at, slave, count, tasks),
            What::Duplicated { task } => {
                self.duplicated.insert((at.life, task));
            }
            What::Gone { slave, .. } => {
                self.drop_hands((at.life, slave), Some(at.us), "lost");
                self.hosts.remove(&(at.life, slave));
            }
            _ => self.on_task(at, what),
        }
    }
}

impl<W: Write> Rows<W> {
    /// Tasks were given back: the youngest hand-outs shrink, and one that is empty ends.
    fn give_back(&mut self, at: At, slave: u32, count: u64, tasks: &[(u64, u64)]) {
        let key = (at.life, slave);
        for task in tasks.iter().flat_map(|&(first, last)| first..=last) {
            let hands = self.hands.get_mut(&key);
            if let Some(task) = hands.and_then(|hands| hands.tasks.remove(&task)) {
                self.row(key, &task, Some(at.us), GIVEN_BACK);
            }
        }
        let mut left = count;
        while left > 0 {
            let Some(youngest) = self
                .hands
                .get_mut(&key)
                .and_then(|hands| hands.packets.back_mut())
            else {
                return;
            };
            let taken = youngest.missing.min(left);
            youngest.missing -= taken;
            left -= taken;
            if youngest.missing == 0
                && let Some(done) = self
                    .hands
                    .get_mut(&key)
                    .and_then(|hands| hands.packets.pop_back())
            {
                self.row(key, &done, Some(at.us), GIVEN_BACK);
            }
        }
    }
}

pub(crate) fn run(input: &Input, of: Of) -> Result<ExitCode, String> {
    let zone = Zone::parse(&input.files.window.zone)?;
    let mut rows = Rows::new(
        BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        input.format,
        zone,
        of,
    );
    let reader = input.files.read(&mut rows)?;
    let mut open: Vec<_> = rows.hands.keys().copied().collect();
    open.sort_unstable();
    for key in open {
        rows.drop_hands(key, None, "open");
    }
    let outcome = rows.error.take().map_or_else(|| rows.out.flush(), Err);
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(format!("standard output: {error}"));
        }
        _ => {}
    }
    drop(rows);
    super::finish(&reader)
}
