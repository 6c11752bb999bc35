//! The stable form of a run's figures: what `ringmw audit stats --format json` prints, see [`SCHEMA`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::{ExitWord, Role};
use super::stats::{Figures, Stats};
use super::times::Zone;
use super::trail::{Reader, Run};

/// The version of [`Summary`]: raised when a key changes its meaning or goes; new keys keep it.
pub(crate) const SCHEMA: u32 = 1;

/// Causes that are always listed, with 0 if need be.
const CAUSES_ALWAYS: [&str; 5] = ["shutdown", "eof", "timeout", "problem", "protocol"];

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Lifetime {
    pub(crate) count: u64,
    pub(crate) min: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Lifetime {
    fn of(lifetimes_us: &[u64]) -> Self {
        let mut sorted = lifetimes_us.to_vec();
        sorted.sort_unstable();
        // The smallest that so many of a hundred do not exceed.
        let at = |percent: usize| {
            let rank = (sorted.len() * percent).div_ceil(100).max(1);
            sorted.get(rank - 1).map(|&us| us as f64 / 1e6)
        };
        Self {
            count: sorted.len() as u64,
            min: at(0),
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Slaves {
    pub(crate) connected: u64,
    pub(crate) rejected: u64,
    pub(crate) disconnected: u64,
    pub(crate) disconnected_by: BTreeMap<&'static str, u64>,
    /// Sent away because the desire fell; they leave by shutdown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dismissed: Option<u64>,
    pub(crate) peak: u64,
    pub(crate) at_end: u64,
    pub(crate) by_group: BTreeMap<&'static str, u64>,
    pub(crate) by_subnet: BTreeMap<String, u64>,
    pub(crate) lifetime_s: Lifetime,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tasks {
    pub(crate) sent: u64,
    pub(crate) results: u64,
    pub(crate) recycled: u64,
    pub(crate) packets: u64,
    pub(crate) packets_out: u64,
    pub(crate) packets_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) late: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) given_back: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duplicated: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unrunnable: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compute_s: Option<f64>,
    pub(crate) results_per_s: Option<f64>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Churn {
    pub(crate) arrivals_per_min: Option<f64>,
    pub(crate) departures_per_min: Option<f64>,
    pub(crate) loss_ratio: Option<f64>,
}

/// `exit`: the code, or CL-MW's word for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Exit {
    Code(u8),
    Word(&'static str),
}

/// The stable form of a run's figures, and of all runs together.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) schema: Option<u32>,
    pub(crate) source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<String>,
    pub(crate) lines: u64,
    pub(crate) unparsed: u64,
    pub(crate) start: Option<String>,
    pub(crate) end: Option<String>,
    pub(crate) duration_s: f64,
    pub(crate) clock_steps: u64,
    pub(crate) slaves: Slaves,
    pub(crate) tasks: Tasks,
    pub(crate) churn: Churn,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped_lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) exit: Option<Exit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs: Option<Vec<Summary>>,
}

/// What is not a figure of slaves or tasks.
struct Frame<'a> {
    source: Option<&'static str>,
    lines: u64,
    unparsed: u64,
    start_us: Option<i64>,
    end_us: i64,
    duration_us: i64,
    clock_steps: u64,
    last: Option<&'a Run>,
    zone: &'a Zone,
}

impl Frame<'_> {
    fn summary(&self, figures: &Figures) -> Summary {
        let minutes = self.duration_us as f64 / 60e6;
        let per_minute = |count: u64| (self.duration_us > 0).then(|| count as f64 / minutes);
        let mut disconnected_by: BTreeMap<_, _> = CAUSES_ALWAYS.map(|cause| (cause, 0)).into();
        disconnected_by.extend(&figures.gone_by);
        let gone = figures.gone();
        let is_ours = self.source != Some("cl-mw");
        let ours = |count: u64| is_ours.then_some(count);
        Summary {
            schema: None,
            source: self.source,
            role: None,
            file: None,
            lines: self.lines,
            unparsed: self.unparsed,
            start: self.start_us.map(|us| self.zone.show(us)),
            end: self.start_us.map(|_| self.zone.show(self.end_us)),
            duration_s: self.duration_us as f64 / 1e6,
            clock_steps: self.clock_steps,
            slaves: Slaves {
                connected: figures.connected,
                rejected: figures.rejected,
                disconnected: gone,
                disconnected_by,
                dismissed: ours(figures.dismissed),
                peak: figures.peak,
                at_end: figures.present,
                by_group: ["ordered", "intermingle", "unordered"]
                    .into_iter()
                    .zip(figures.groups)
                    .collect(),
                by_subnet: figures
                    .subnets
                    .iter()
                    .map(|(subnet, &count)| (subnet.to_string(), count))
                    .collect(),
                lifetime_s: Lifetime::of(&figures.lifetimes_us),
            },
            tasks: Tasks {
                sent: figures.sent,
                results: figures.results,
                recycled: figures.recycled,
                packets: figures.packets_out + figures.packets_in,
                packets_out: figures.packets_out,
                packets_in: figures.packets_in,
                failed: ours(figures.failed),
                cancelled: ours(figures.cancelled),
                late: ours(figures.late),
                given_back: ours(figures.given_back),
                duplicated: ours(figures.duplicated),
                unrunnable: ours(figures.unrunnable),
                bytes_out: ours(figures.bytes_out),
                bytes_in: ours(figures.bytes_in),
                compute_s: is_ours.then_some(figures.compute_us as f64 / 1e6),
                results_per_s: per_minute(figures.results).map(|rate| rate / 60.0),
            },
            churn: Churn {
                arrivals_per_min: per_minute(figures.connected),
                departures_per_min: per_minute(gone),
                loss_ratio: (gone > 0).then(|| figures.lost() as f64 / gone as f64),
            },
            stalled_s: is_ours.then_some(figures.stalled_us as f64 / 1e6),
            dropped_lines: ours(figures.dropped_lines),
            seed: self.last.and_then(|run| run.seed),
            build: self.last.and_then(|run| run.build.clone()),
            version: self
                .last
                .map(|run| run.version.clone())
                .filter(|version| !version.is_empty()),
            exit: self
                .last
                .and_then(|run| run.exit.as_ref())
                .map(|exit| match exit {
                    ExitWord::Code(code) => Exit::Code(*code),
                    ExitWord::Word(word) => Exit::Word(word),
                }),
            exit_reason: self
                .last
                .map(|run| run.exit_reason.clone())
                .filter(|reason| !reason.is_empty()),
            runs: None,
        }
    }
}

impl Stats {
    /// All runs together, and each.
    pub(crate) fn summary(&self, reader: &Reader) -> Summary {
        let role = reader.role();
        let runs: Vec<Summary> = reader
            .runs
            .iter()
            .enumerate()
            .map(|(index, run)| self.of_run(reader, index, run, role))
            .collect();
        let counted: Vec<&Run> = reader.runs.iter().filter(|run| run.role == role).collect();
        let frame = Frame {
            source: match (
                counted.first(),
                reader
                    .runs
                    .iter()
                    .all(|run| run.source == reader.runs[0].source),
            ) {
                (None, _) => None,
                (Some(run), true) => Some(run.source.word()),
                (Some(_), false) => Some("mixed"),
            },
            lines: reader.lines,
            unparsed: reader.unparsed,
            start_us: counted.iter().find_map(|run| run.start_us),
            end_us: counted
                .iter()
                .rev()
                .find(|run| run.start_us.is_some())
                .map_or(0, |run| run.end_us),
            duration_us: match role {
                Role::Master => counted.iter().map(|run| run.duration_us).sum(),
                // Slaves run side by side.
                Role::Slave => {
                    let start = counted
                        .iter()
                        .filter_map(|run| run.start_us)
                        .min()
                        .unwrap_or(0);
                    counted
                        .iter()
                        .filter(|run| run.start_us.is_some())
                        .map(|run| run.end_us - start)
                        .max()
                        .unwrap_or(0)
                }
            },
            clock_steps: reader.runs.iter().map(|run| run.clock_steps).sum(),
            last: counted.last().copied(),
            zone: &reader.zone,
        };
        Summary {
            schema: Some(SCHEMA),
            runs: Some(runs),
            ..frame.summary(&self.total(reader))
        }
    }

    fn of_run(&self, reader: &Reader, index: usize, run: &Run, role: Role) -> Summary {
        let none = Figures::default();
        // What a slave says of tasks, its master has said already.
        let figures = self
            .runs
            .get(index)
            .filter(|_| run.role == role)
            .unwrap_or(&none);
        let frame = Frame {
            source: Some(run.source.word()),
            lines: run.lines,
            unparsed: run.unparsed,
            start_us: run.start_us,
            end_us: run.end_us,
            duration_us: run.duration_us,
            clock_steps: run.clock_steps,
            last: Some(run),
            zone: &reader.zone,
        };
        Summary {
            role: Some(match run.role {
                Role::Master => "master",
                Role::Slave => "slave",
            }),
            file: Some(super::trail::show_path(&run.file)),
            ..frame.summary(figures)
        }
    }
}
