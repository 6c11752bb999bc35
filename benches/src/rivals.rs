//! Other master-worker systems on the same workloads: which there are, what is measured of them, and the table of it.
//!
//! A rival is built and started by this program from the drivers in `rivals/`; [`drive`] does that. Each driver's master
//! prints one JSON line: tasks, wall time and CPU seconds of its own process (and of its server, where it has one) from
//! the first tenth of the tasks on, as ours does.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::Value;

pub mod drive;

/// The systems, by the names of `--rival`.
pub const NAMES: [&str; 6] = [
    "zeromq",
    "openmpi",
    "gearman",
    "hyperqueue",
    "dask",
    "workqueue",
];

/// One workload.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Workload {
    /// No-op tasks, so many per packet.
    Noop(u32),
    /// The same where all is encrypted: ZeroMQ by its CURVE, ours with the run's secret.
    Encrypted(u32),
    /// The same where ours alone is encrypted.
    AgainstPlain(u32),
    /// Texts of 8 to 40 bytes that come back, in packets of so many.
    Echo {
        /// Tasks per packet.
        group: u32,
        /// Our results per packet; 0 is automatic. ZeroMQ's are as many as the tasks.
        result_group: u32,
        /// ZeroMQ's master keeps each argument until its result has come and owns what comes, as ours does; else results
        /// are checked where they lie.
        owned: bool,
    },
    /// Counted loops of a millisecond.
    Millisecond,
}

/// A workload with a number of workers.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RivalCase {
    /// What is run.
    pub workload: Workload,
    /// On how many workers.
    pub workers: u32,
}

impl RivalCase {
    /// Such as `noop-g100-s64` or `1ms-s2`.
    pub fn name(&self) -> String {
        match self.workload {
            Workload::Noop(group) => format!("noop-g{group}-s{}", self.workers),
            Workload::Encrypted(group) => format!("noop-secret-g{group}-s{}", self.workers),
            Workload::AgainstPlain(group) => {
                format!("noop-secret-plain-g{group}-s{}", self.workers)
            }
            Workload::Echo {
                group,
                result_group,
                owned,
            } => {
                let driver = if owned { "owned" } else { "bare" };
                let results = match result_group {
                    0 => String::new(),
                    number => format!("-r{number}"),
                };
                format!("echo-{driver}-g{group}{results}-s{}", self.workers)
            }
            Workload::Millisecond => format!("1ms-s{}", self.workers),
        }
    }
}

/// What this rival can be asked to do: one that does not batch has no groups, and only ZeroMQ's sockets fit a thousand
/// to a few processes.
pub fn cases(rival: &str) -> Vec<RivalCase> {
    let groups: &[u32] = match rival {
        "zeromq" | "openmpi" => &[1, 10, 100, 1000],
        _ => &[1],
    };
    let workers: &[u32] = match rival {
        "zeromq" => &[2, 64, 1_000],
        _ => &[2, 64],
    };
    let noop = workers.iter().flat_map(|&workers| {
        groups.iter().map(move |&group| RivalCase {
            workload: Workload::Noop(group),
            workers,
        })
    });
    let millisecond = RivalCase {
        workload: Workload::Millisecond,
        workers: 2,
    };
    let encrypted = match rival {
        "zeromq" => &[1, 10, 100, 1000][..],
        _ => &[],
    };
    let encrypted = encrypted.iter().flat_map(|&group| {
        [Workload::Encrypted(group), Workload::AgainstPlain(group)].map(|workload| RivalCase {
            workload,
            workers: 64,
        })
    });
    let echo = match rival {
        "zeromq" => &[(10, 0), (10, 10), (100, 0), (100, 10)][..],
        _ => &[],
    };
    let echo = echo.iter().flat_map(|&(group, result_group)| {
        [false, true].map(|owned| RivalCase {
            workload: Workload::Echo {
                group,
                result_group,
                owned,
            },
            workers: 64,
        })
    });
    noop.chain([millisecond])
        .chain(encrypted)
        .chain(echo)
        .collect()
}

/// Where the table stands in benches/README.md.
const BEGIN: &str =
    "<!-- rivals: cargo run --release -p ringmw-benches --bin rivals -- --readme -->\n";
const END: &str = "<!-- /rivals -->\n";

/// The results that are kept, with `fresh` ones in the place of older ones of the same rival and case.
///
/// # Errors
/// When a line is no JSON object.
pub fn merge(kept: &str, fresh: &[Value]) -> Result<String, String> {
    let parse = |line: &str| serde_json::from_str(line).map_err(|error| format!("{error}: {line}"));
    let mut lines: Vec<Value> = kept.lines().map(parse).collect::<Result<_, _>>()?;
    for new in fresh {
        let same = |old: &Value| old["rival"] == new["rival"] && old["case"] == new["case"];
        match lines.iter_mut().find(|old| same(old)) {
            Some(old) => *old = new.clone(),
            None => lines.push(new.clone()),
        }
    }
    let place = |line: &Value| NAMES.iter().position(|name| line["rival"] == *name);
    lines.sort_by_key(place);
    Ok(lines.iter().map(|line| format!("{line}\n")).collect())
}

/// The page with the table of these results between its markers.
///
/// # Errors
/// When a marker is missing, or a line is no result.
pub fn readme(readme: &str, results: &str) -> Result<String, String> {
    let missing = || format!("benches/README.md has no table of rivals: {BEGIN}..{END}");
    let (before, rest) = readme.split_once(BEGIN).ok_or_else(missing)?;
    let (_, after) = rest.split_once(END).ok_or_else(missing)?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", table(results)?))
}

/// How many workers a column is for.
const COLUMNS: [u32; 3] = [2, 64, 1_000];

/// A rival's part of the table: its version, its results by tasks per packet and number of workers, and that of the
/// loops.
type Rows = (String, BTreeMap<u32, BTreeMap<u32, Value>>, Option<Value>);

/// The table of the results, in Markdown.
///
/// # Errors
/// When a line is no result.
pub fn table(results: &str) -> Result<String, String> {
    let mut rivals: Vec<Rows> = Vec::new();
    let mut machines: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for text in results.lines() {
        let line: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
        let version = line["version"].as_str().ok_or("a result without version")?;
        let case = line["case"].as_str().ok_or("a result without case")?;
        // The table is of numbers, in plain.
        if case.starts_with("noop-secret-") || case.starts_with("echo-") {
            continue;
        }
        if rivals.last().is_none_or(|(last, ..)| last != version) {
            rivals.push((version.to_owned(), BTreeMap::new(), None));
        }
        let (_, groups, millisecond) = rivals.last_mut().expect("it was pushed");
        let noop = case
            .strip_prefix("noop-g")
            .and_then(|rest| rest.split_once("-s"));
        match noop {
            None => *millisecond = Some(line.clone()),
            Some((group, workers)) => {
                let number = |text: &str| text.parse().map_err(|_| format!("no case: {case}"));
                groups
                    .entry(number(group)?)
                    .or_default()
                    .insert(number(workers)?, line.clone());
            }
        }
        let text = |key: &str| line[key].as_str().unwrap_or("?").to_owned();
        let machine = format!(
            "Linux {}, {} x {}",
            text("kernel"),
            line["cpus"],
            text("cpu")
        );
        machines.entry(machine).or_default().insert(text("commit"));
    }
    let mut out = String::from(
        "| system | tasks per packet | master CPU per task, times ours: 2, 64, 1,000 workers | rate, times ours: 2, 64, 1,000 workers | 1 ms tasks, 2 workers: rate, times ours |\n|---|---|---|---|---|\n",
    );
    for (version, groups, millisecond) in &rivals {
        for (index, (group, workers)) in groups.iter().enumerate() {
            let all = |key: &str| {
                let ratio = |workers_of: &u32| match workers.get(workers_of) {
                    Some(line) => times(&line[key]),
                    None => "–".to_owned(),
                };
                COLUMNS.iter().map(ratio).collect::<Vec<_>>().join(", ")
            };
            let millisecond = match (index, millisecond) {
                (0, Some(line)) => times(&line["rate_ratio"]),
                _ => String::new(),
            };
            let name = if index == 0 { version } else { "" };
            let (cpu, rate) = (all("cpu_ratio"), all("rate_ratio"));
            writeln!(out, "| {name} | {group} | {cpu} | {rate} | {millisecond} |")
                .expect("a string takes it");
        }
    }
    for (machine, commits) in machines {
        let commits = commits.into_iter().collect::<Vec<_>>().join(", ");
        writeln!(
            out,
            "\nMedians of interleaved runs on loopback, {machine}; commit {commits}."
        )
        .expect("a string takes it");
    }
    Ok(out)
}

fn times(ratio: &Value) -> String {
    match ratio.as_f64() {
        None => "–".to_owned(),
        Some(ratio) if ratio >= 100.0 => format!("{ratio:.0}"),
        Some(ratio) if ratio >= 10.0 => format!("{ratio:.1}"),
        Some(ratio) if ratio >= 0.1 => format!("{ratio:.2}"),
        Some(ratio) => format!("{ratio:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(rival: &str, case: &str, ratio: f64) -> Value {
        json!({"rival": rival, "case": case, "version": format!("{rival} 1"), "cpu_ratio": ratio,
            "rate_ratio": ratio / 2.0, "commit": "c", "kernel": "k", "cpu": "p", "cpus": 2})
    }

    #[test]
    fn fresh_results_replace_those_of_the_same_case() {
        let first = merge(
            "",
            &[line("dask", "1ms-s2", 1.0), line("zeromq", "1ms-s2", 2.0)],
        )
        .unwrap();
        let second = merge(&first, &[line("dask", "1ms-s2", 3.0)]).unwrap();
        let ratios: Vec<f64> = second
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).unwrap()["cpu_ratio"]
                    .as_f64()
                    .unwrap()
            })
            .collect();
        assert_eq!(ratios, [2.0, 3.0]);
        assert!(merge("no json", &[]).is_err());
    }

    #[test]
    fn the_table_has_a_row_for_each_group() {
        let cases = [
            ("noop-g1-s2", 1.5),
            ("noop-g1-s64", 12.25),
            ("noop-g100-s2", 0.01234),
            ("1ms-s2", 1.8),
        ];
        let lines: Vec<Value> = cases
            .map(|(case, ratio)| line("zeromq", case, ratio))
            .into();
        let results = merge("", &lines).unwrap();
        let text = table(&results).unwrap();
        assert!(
            text.contains("| zeromq 1 | 1 | 1.50, 12.2, – | 0.75, 6.12, – | 0.90 |\n"),
            "{text}"
        );
        assert!(
            text.contains("|  | 100 | 0.0123, –, – | 0.0062, –, – |  |\n"),
            "{text}"
        );
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let page = readme(&page, &results).unwrap();
        assert_eq!(page, format!("a\n{BEGIN}{text}{END}b\n"));
        assert_eq!(readme(&page, &results).unwrap(), page);
        assert!(readme("no markers", &results).is_err());
    }
}
