//! How long tasks took, by algorithm, host and slave; the slowest by name; what failed and who was refused, where.
//!
//! Single tasks are in trails of `--mw-audit-level tasks`. Of others the compute time of each packet of results is taken,
//! evenly for its results. Memory grows with slaves, hosts and messages, and with tasks that are under way.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde_json::{Value, json};

use super::entry::{Role, What};
use super::output::{Document, Sheet};
use super::place::host_of;
use super::trail::{At, Fold};
use super::window::Spread;

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit tasks master.audit
  ringmw audit tasks --sheet by_slave --format csv master.audit > slaves.csv
  ringmw audit tasks --sheet failures --since 14:00 master.audit

Sheets: by_algorithm, by_host, by_slave, histogram, stragglers, failures, refusals. Times are compute times, percentiles \
within 1 %. In trails of --mw-audit-level tasks each task is one; in others, which name no algorithms, a packet's compute \
time is taken evenly for its results (`basis`: tasks or packets). Stragglers are the tasks, or the packets' tasks, that took \
the longest. Failures are those that have a line: at most a hundred a second have one (`failed` has all of them).";

const STRAGGLERS_MAX: usize = 20;
/// Different failures and refusals that are told apart; the rest of a message are one row.
const ROWS_MAX: usize = 5000;
const OTHERS: &str = "(others)";

/// A distribution of times in little memory: 64 steps for each doubling, so that a value is off by less than one in a
/// hundred.
#[derive(Debug, Clone, Default)]
pub(crate) struct Times {
    /// Step and how many are in it, ascending.
    steps: Vec<(u16, u64)>,
    pub(crate) count: u64,
    sum_us: u64,
    max_us: u64,
}

const STEPS: u64 = 64;

fn step_of(us: u64) -> u16 {
    if us < STEPS {
        return us as u16;
    }
    let doublings = us.ilog2() - STEPS.ilog2();
    let within = (us >> doublings) - STEPS;
    ((u64::from(doublings) + 1) * STEPS + within) as u16
}

/// The first value of a step.
fn step_start(step: u16) -> u64 {
    let (doublings, within) = (u64::from(step) / STEPS, u64::from(step) % STEPS);
    match doublings {
        0 => within,
        _ => (STEPS + within) << (doublings - 1),
    }
}

impl Times {
    pub(crate) fn add(&mut self, us: u64, count: u64) {
        if count == 0 {
            return;
        }
        let step = step_of(us);
        match self.steps.binary_search_by_key(&step, |entry| entry.0) {
            Ok(at) => self.steps[at].1 += count,
            Err(at) => self.steps.insert(at, (step, count)),
        }
        self.count += count;
        self.sum_us = self.sum_us.saturating_add(us.saturating_mul(count));
        self.max_us = self.max_us.max(us);
    }

    /// The time that so many percent do not exceed, but for the width of a step.
    pub(crate) fn percentile_us(&self, percent: f64) -> Option<u64> {
        let rank = (self.count as f64 * percent / 100.0).ceil().max(1.0) as u64;
        let mut seen = 0;
        let (step, _) = *self.steps.iter().find(|(_, count)| {
            seen += count;
            seen >= rank
        })?;
        let (from, to) = (step_start(step), step_start(step + 1));
        Some(((from + to - 1) / 2).min(self.max_us))
    }

    fn cells(&self) -> [Value; 6] {
        let seconds = |us: Option<u64>| json!(us.map(|us| us as f64 / 1e6));
        let mean = (self.count > 0).then(|| self.sum_us as f64 / 1e6 / self.count as f64);
        [
            self.count.into(),
            json!(mean),
            seconds(self.percentile_us(50.0)),
            seconds(self.percentile_us(90.0)),
            seconds(self.percentile_us(99.0)),
            seconds((self.count > 0).then_some(self.max_us)),
        ]
    }
}

const TIME_COLUMNS: [&str; 6] = ["tasks", "mean_s", "p50_s", "p90_s", "p99_s", "max_s"];

/// One of the longest.
#[derive(Debug, Clone)]
struct Straggler {
    us: u64,
    at_us: i64,
    key: (usize, u32),
    /// None for the tasks of a packet.
    task: Option<u64>,
    algorithm: u32,
    tasks: u64,
}

/// Times of tasks from one kind of line.
#[derive(Debug, Default)]
struct Basis {
    all: Times,
    by_algorithm: Vec<Times>,
    by_slave: BTreeMap<(usize, u32), Times>,
    stragglers: Vec<Straggler>,
}

impl Basis {
    fn add(&mut self, straggler: Straggler) {
        let (us, count) = (straggler.us, straggler.tasks);
        if count == 0 {
            return;
        }
        self.all.add(us, count);
        let algorithm = straggler.algorithm as usize;
        if algorithm >= self.by_algorithm.len() {
            self.by_algorithm.resize(algorithm + 1, Times::default());
        }
        self.by_algorithm[algorithm].add(us, count);
        self.by_slave
            .entry(straggler.key)
            .or_default()
            .add(us, count);
        let least = self.stragglers.last().map_or(0, |last| last.us);
        if self.stragglers.len() < STRAGGLERS_MAX || us > least {
            let at = self.stragglers.partition_point(|other| other.us >= us);
            self.stragglers.insert(at, straggler);
            self.stragglers.truncate(STRAGGLERS_MAX);
        }
    }
}

/// What happened how often, told apart by its message and place, and when first and last.
type Rows = BTreeMap<[String; 4], (u64, i64, i64)>;

/// The fold.
#[derive(Default)]
pub(crate) struct Tasks {
    algorithms: Vec<String>,
    algorithm_ids: FxHashMap<String, u32>,
    /// Algorithms of tasks that are under way.
    under_way: FxHashMap<(usize, u64), u32>,
    hosts: FxHashMap<(usize, u32), String>,
    packets: Basis,
    single: Basis,
    failed: u64,
    failures: Rows,
    refusals: Rows,
}

impl Tasks {
    fn algorithm(&mut self, name: &str) -> u32 {
        if let Some(&id) = self.algorithm_ids.get(name) {
            return id;
        }
        let id = self.algorithms.len() as u32;
        self.algorithms.push(name.to_owned());
        self.algorithm_ids.insert(name.to_owned(), id);
        id
    }

    fn on_packet(&mut self, at: At, slave: u32, results: u64, of: u64, compute_us: u64) {
        if results == 0 {
            return;
        }
        let algorithm = self.algorithm("");
        self.packets.add(Straggler {
            us: compute_us / results,
            at_us: at.us,
            key: (at.life, slave),
            task: None,
            algorithm,
            tasks: of,
        });
    }

    fn host(&self, key: (usize, u32)) -> &str {
        self.hosts.get(&key).map_or("unknown", String::as_str)
    }
}

fn count(rows: &mut Rows, row: [&str; 4], us: i64) {
    let row = row.map(str::to_owned);
    let row = match rows.len() < ROWS_MAX || rows.contains_key(&row) {
        true => row,
        false => [OTHERS; 4].map(str::to_owned),
    };
    let (count, _, last_us) = rows.entry(row).or_insert((0, us, us));
    (*count, *last_us) = (*count + 1, us);
}

impl Fold for Tasks {
    fn on_entry(&mut self, at: At, what: &What<'_>) {
        if at.role != Role::Master {
            return;
        }
        match *what {
            What::Results {
                slave,
                results,
                failed,
                compute_us: Some(compute_us),
                ..
            } if at.is_counted => {
                self.failed += failed;
                self.on_packet(at, slave, results, results, compute_us);
            }
            What::Packets {
                slave,
                span_us,
                results,
                failed,
                compute_us,
                ..
            } => {
                let within = |amount| {
                    let spread = Spread {
                        from_us: at.us.saturating_sub(span_us),
                        to_us: at.us,
                        amount,
                    };
                    spread.within(at.window)
                };
                self.failed += within(failed);
                self.on_packet(at, slave, results, within(results), compute_us);
            }
            What::TaskSent {
                task, algorithm, ..
            } => {
                let id = self.algorithm(algorithm);
                self.under_way.insert((at.life, task), id);
            }
            What::TaskEnded {
                slave,
                task,
                compute_us,
                ..
            } => {
                let algorithm = self.under_way.remove(&(at.life, task));
                if let (true, Some(slave), Some(us)) = (at.is_counted, slave, compute_us) {
                    let algorithm = algorithm.unwrap_or_else(|| self.algorithm(""));
                    self.single.add(Straggler {
                        us,
                        at_us: at.us,
                        key: (at.life, slave),
                        task: Some(task),
                        algorithm,
                        tasks: 1,
                    });
                }
            }
            What::Connected {
                slave, from, host, ..
            } => {
                let host = if host.is_empty() { host_of(from) } else { host };
                self.hosts.insert((at.life, slave), host.to_owned());
            }
            What::Failed {
                slave,
                algorithm,
                message,
            } if at.is_counted => {
                let name = format!("SLAVE-{slave}");
                let host = self.host((at.life, slave)).to_owned();
                count(
                    &mut self.failures,
                    [message, algorithm, &name, &host],
                    at.us,
                );
            }
            What::Refused {
                from, host, reason, ..
            } if at.is_counted => {
                let address = host_of(from);
                count(&mut self.refusals, [reason, "", address, host], at.us);
            }
            _ => {}
        }
    }
}

fn columns(first: &[&'static str], behind: &[&'static str]) -> Vec<&'static str> {
    [first, behind].concat()
}

/// What is told; times by the zone's clock.
pub(crate) fn document(tasks: &Tasks, show: impl Fn(i64) -> String) -> Document {
    let (basis, word) = match tasks.single.all.count {
        0 => (&tasks.packets, "packets"),
        _ => (&tasks.single, "tasks"),
    };
    let name = |key: (usize, u32)| Value::from(format!("SLAVE-{}", key.1));
    let mut document = Document::default();
    let head = &mut document.head;
    head.insert("schema".into(), super::summary::SCHEMA.into());
    head.insert("basis".into(), word.into());
    head.insert("results".into(), basis.all.count.into());
    head.insert("failed".into(), tasks.failed.into());

    let mut by_algorithm = Sheet::new(
        "by_algorithm",
        "By algorithm",
        &columns(&["algorithm"], &TIME_COLUMNS),
    );
    for (id, times) in basis.by_algorithm.iter().enumerate() {
        if times.count > 0 {
            let algorithm = Some(tasks.algorithms[id].as_str()).filter(|name| !name.is_empty());
            by_algorithm
                .rows
                .push([vec![json!(algorithm)], times.cells().to_vec()].concat());
        }
    }

    let mut hosts: BTreeMap<&str, Times> = BTreeMap::new();
    for (&key, times) in &basis.by_slave {
        let host = hosts.entry(tasks.host(key)).or_default();
        for &(step, count) in &times.steps {
            host.add(step_start(step), count);
        }
        // Steps have lost what is exact.
        host.sum_us = host.sum_us.saturating_sub(
            times
                .steps
                .iter()
                .map(|&(step, count)| step_start(step).saturating_mul(count))
                .sum(),
        ) + times.sum_us;
        host.max_us = host.max_us.max(times.max_us);
    }
    let slowest = |rows: &mut Vec<(f64, Vec<Value>)>| {
        rows.sort_by(|a, b| b.0.total_cmp(&a.0));
        std::mem::take(rows).into_iter().map(|row| row.1).collect()
    };
    let mean = |times: &Times| times.sum_us as f64 / times.count.max(1) as f64;
    let mut by_host = Sheet::new(
        "by_host",
        "By host, the slowest first",
        &columns(&["host"], &TIME_COLUMNS),
    );
    let mut rows: Vec<(f64, Vec<Value>)> = hosts
        .iter()
        .map(|(&host, times)| {
            (
                mean(times),
                [vec![host.into()], times.cells().to_vec()].concat(),
            )
        })
        .collect();
    by_host.rows = slowest(&mut rows);
    by_host.shown_max = 20;
    let mut by_slave = Sheet::new(
        "by_slave",
        "By slave, the slowest first",
        &columns(&["slave", "run", "host"], &TIME_COLUMNS),
    );
    let mut rows: Vec<(f64, Vec<Value>)> = basis
        .by_slave
        .iter()
        .map(|(&key, times)| {
            let first = vec![name(key), key.0.into(), tasks.host(key).into()];
            (mean(times), [first, times.cells().to_vec()].concat())
        })
        .collect();
    by_slave.rows = slowest(&mut rows);
    by_slave.shown_max = 20;

    // A row for each doubling.
    let mut histogram = Sheet::new(
        "histogram",
        "Compute time of a task",
        &["from_s", "to_s", "tasks", "share"],
    );
    let mut doublings: BTreeMap<u32, u64> = BTreeMap::new();
    for &(step, count) in &basis.all.steps {
        let bits = u64::BITS - step_start(step).leading_zeros();
        *doublings.entry(bits).or_default() += count;
    }
    for (bits, count) in doublings {
        let to_us = 1u64.checked_shl(bits).unwrap_or(u64::MAX);
        let from_us = if bits == 0 { 0 } else { to_us / 2 };
        histogram.rows.push(vec![
            json!(from_us as f64 / 1e6),
            json!(to_us as f64 / 1e6),
            count.into(),
            json!(count as f64 / basis.all.count as f64),
        ]);
    }

    let mut stragglers = Sheet::new(
        "stragglers",
        "The longest",
        &[
            "task",
            "algorithm",
            "slave",
            "host",
            "ended",
            "compute_s",
            "times_the_median",
            "tasks",
        ],
    );
    let median = basis.all.percentile_us(50.0).filter(|&us| us > 0);
    for straggler in &basis.stragglers {
        let algorithm = tasks.algorithms.get(straggler.algorithm as usize);
        stragglers.rows.push(vec![
            straggler
                .task
                .map_or(Value::Null, |task| format!("TASK-{task}").into()),
            json!(algorithm.filter(|name| !name.is_empty())),
            name(straggler.key),
            tasks.host(straggler.key).into(),
            show(straggler.at_us).into(),
            json!(straggler.us as f64 / 1e6),
            json!(median.map(|median| straggler.us as f64 / median as f64)),
            straggler.tasks.into(),
        ]);
    }

    let by_count = |rows: &Rows, places: &[usize]| {
        let mut sorted: Vec<_> = rows.iter().collect();
        sorted.sort_by(|a, b| b.1.0.cmp(&a.1.0).then(a.0.cmp(b.0)));
        let row = |(words, &(count, first_us, last_us)): (&[String; 4], &(u64, i64, i64))| {
            let mut row: Vec<Value> = vec![count.into()];
            row.extend(
                places
                    .iter()
                    .map(|&place| Value::from(words[place].as_str())),
            );
            row.extend([show(first_us).into(), show(last_us).into()]);
            row
        };
        sorted.into_iter().map(row).collect::<Vec<_>>()
    };
    let mut failures = Sheet::new(
        "failures",
        "Failures",
        &[
            "times",
            "message",
            "algorithm",
            "slave",
            "host",
            "first",
            "last",
        ],
    );
    failures.rows = by_count(&tasks.failures, &[0, 1, 2, 3]);
    failures.shown_max = 20;
    let mut refusals = Sheet::new(
        "refusals",
        "Refusals",
        &["times", "reason", "address", "host", "first", "last"],
    );
    refusals.rows = by_count(&tasks.refusals, &[0, 2, 3]);
    refusals.shown_max = 20;
    document.sheets = vec![
        by_algorithm,
        by_host,
        by_slave,
        histogram,
        stragglers,
        failures,
        refusals,
    ];
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_one_another_and_are_narrow() {
        for us in (0..100_000u64).chain((1..60).map(|bit| 1 << bit)) {
            let step = step_of(us);
            let (from, to) = (step_start(step), step_start(step + 1));
            assert!(from <= us && us < to, "{us}: {from} {to}");
            assert!((to - from) as f64 <= 1.0 + us as f64 / STEPS as f64, "{us}");
            let apart = step_of(us + 1) - step;
            assert_eq!(apart, u16::from(us + 1 == to), "{us}");
        }
        let _ = step_of(u64::MAX);
    }

    #[test]
    fn percentiles_are_within_one_percent() {
        let mut times = Times::default();
        let mut all: Vec<u64> = Vec::new();
        let mut state = 7u64;
        for _ in 0..5000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let us = (state >> 40) * (state >> 60);
            times.add(us, 2);
            all.extend([us, us]);
        }
        all.sort_unstable();
        for percent in [1.0, 50.0, 90.0, 99.0, 100.0] {
            let exact = all[((all.len() as f64 * percent / 100.0).ceil() as usize).max(1) - 1];
            let found = times.percentile_us(percent).expect("there are some");
            assert!(
                found.abs_diff(exact) as f64 <= 1.0 + exact as f64 / 100.0,
                "{percent}: {found}, not {exact}"
            );
        }
        assert_eq!(Times::default().percentile_us(50.0), None);
    }
}
