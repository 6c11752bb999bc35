//! The stable form of a run's figures: what `ringmw audit stats --format json` prints, see [`SCHEMA`].

use std::collections::BTreeMap;

use serde::Serialize;

use super::entry::{ExitWord, Role};
use super::model::{Figures, Model, percentile};
use super::times::Zone;
use super::trail::{Life, Reader};

/// The version of [`Summary`]: raised when a key changes its meaning or goes; new keys keep it.
///
/// 2: `duration_s` and what is divided by it are the observed time, not the time between the first and the last line of
/// the window; sums of packets and stalls count with their part inside; `exit` is the process's, also behind the window;
/// a seed above 2^53 is a string. The keys of 1 are all there.
pub(crate) const SCHEMA: u32 = 2;

/// Numbers up to this one are exact in every reader of JSON.
const EXACT_MAX: u64 = 1 << 53;

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
    fn of(sorted_us: &[u64]) -> Self {
        let at = |percent| percentile(sorted_us, percent).map(|us| us as f64 / 1e6);
        Self {
            count: sorted_us.len() as u64,
            min: at(0.0),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            max: at(100.0),
        }
    }
}

/// Slave time in seconds, by state.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Time {
    pub(crate) present: f64,
    /// None where the trail has no compute times.
    pub(crate) compute: Option<f64>,
    pub(crate) held: f64,
    pub(crate) idle: f64,
    /// Observed time in which no slave was there.
    pub(crate) absent: f64,
}

impl Time {
    fn of(figures: &Figures, has_compute: bool) -> Self {
        let seconds = |us: i64| us as f64 / 1e6;
        Self {
            present: seconds(figures.time.present_us),
            compute: has_compute.then_some(seconds(figures.time.compute_us)),
            held: seconds(figures.time.held_us()),
            idle: seconds(figures.time.idle_us()),
            absent: seconds(figures.absent_us),
        }
    }
}

/// A seed: a string where a number would not be exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Seed {
    Number(u64),
    Text(String),
}

impl Seed {
    fn of(seed: u64) -> Self {
        match seed {
            0..=EXACT_MAX => Seed::Number(seed),
            _ => Seed::Text(seed.to_string()),
        }
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Seed::Number(seed) => write!(f, "{seed}"),
            Seed::Text(seed) => f.write_str(seed),
        }
    }
}

/// The bounds of the window, where they were given.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Bounds {
    pub(crate) since: Option<String>,
    pub(crate) until: Option<String>,
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
    pub(crate) time_s: Time,
    /// There without having come in this trail.
    pub(crate) unknown: u64,
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
    /// Not computed again, thanks to earlier lives of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) known: Option<u64>,
    /// Of results, those that slaves of earlier lives had kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) brought: Option<u64>,
    /// Recorded more than once by the lives before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repeated: Option<u64>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) window: Option<Bounds>,
    pub(crate) clock_steps: u64,
    pub(crate) slaves: Slaves,
    pub(crate) tasks: Tasks,
    pub(crate) churn: Churn,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stalled_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dropped_lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Seed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) build: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) exit: Option<Exit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) exit_reason: Option<String>,
    /// Which run this life is one of, from 1, and which life of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) life: Option<usize>,
    /// Lives that follow one that did not end with exit code 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restarts: Option<usize>,
    /// Time between the lives of a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) down_s: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs: Option<Vec<Summary>>,
}

/// What is not a figure of slaves or tasks.
struct Frame<'a> {
    source: Option<&'static str>,
    lines: u64,
    unparsed: u64,
    observed: Option<(i64, i64)>,
    clock_steps: u64,
    last: Option<&'a Life>,
    zone: &'a Zone,
}

impl Frame<'_> {
    fn summary(&self, figures: &Figures) -> Summary {
        let duration_us = figures.observed_us;
        let minutes = duration_us as f64 / 60e6;
        let per_minute = |count: u64| (duration_us > 0).then(|| count as f64 / minutes);
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
            start: self.observed.map(|(from, _)| self.zone.show(from)),
            end: self.observed.map(|(_, to)| self.zone.show(to)),
            duration_s: duration_us as f64 / 1e6,
            window: None,
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
                time_s: Time::of(figures, is_ours),
                unknown: figures.unknown,
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
                known: ours(figures.known),
                brought: ours(figures.brought),
                repeated: ours(figures.repeated),
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
            seed: self.last.and_then(|life| life.seed).map(Seed::of),
            build: self.last.and_then(|life| life.build.clone()),
            version: self
                .last
                .map(|life| life.version.clone())
                .filter(|version| !version.is_empty()),
            exit: self
                .last
                .and_then(|life| life.exit.as_ref())
                .map(|exit| match exit {
                    ExitWord::Code(code) => Exit::Code(*code),
                    ExitWord::Word(word) => Exit::Word(word),
                }),
            exit_reason: self
                .last
                .map(|life| life.exit_reason.clone())
                .filter(|reason| !reason.is_empty()),
            exit_at: self
                .last
                .filter(|life| life.exit.is_some())
                .map(|life| self.zone.show(life.exit_us)),
            run: None,
            life: None,
            restarts: None,
            down_s: None,
            runs: None,
        }
    }
}

/// Which run each life is one of, which life of it, and how long nobody was there before it. Lives of one run say its id;
/// of those that do not, one that follows a life which did not end with exit code 0 is the same run.
pub(crate) struct Place {
    pub(crate) run: usize,
    pub(crate) life: usize,
    pub(crate) down_us: i64,
}

/// The places of the lives of a role, in the order of the trail.
pub(crate) fn places(lives: &[&Life]) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    for (index, life) in lives.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| lives[before]);
        let place = match (before, places.last()) {
            (Some(before), Some(last)) if goes_on(before, life) => Place {
                run: last.run,
                life: match &life.run {
                    Some((_, life)) => (*life as usize).max(last.life + 1),
                    None => last.life + 1,
                },
                down_us: (life.first_us - before.last_us).max(0),
            },
            (_, last) => Place {
                run: last.map_or(1, |last| last.run + 1),
                life: 1,
                down_us: 0,
            },
        };
        places.push(place);
    }
    places
}

/// Whether a life is the next one of the run of this one before it.
fn goes_on(before: &Life, life: &Life) -> bool {
    life.role == Role::Master
        && match (&before.run, &life.run) {
            (Some((before, _)), Some((run, _))) => before == run,
            _ => !is_clean(before),
        }
}

/// Whether a life ended as it should.
pub(crate) fn is_clean(life: &Life) -> bool {
    matches!(
        life.exit,
        Some(
            ExitWord::Code(0)
                | ExitWord::Word("SHUTDOWN" | "MASTER-SHUTDOWN" | "COMPUTATION-FINISHED")
        )
    )
}

impl Summary {
    /// All lives together, and each.
    pub(crate) fn new(model: &Model, reader: &Reader) -> Self {
        let role = reader.role();
        let of_role = |life: &&Life| life.role == role;
        let places = places(&reader.lives.iter().filter(of_role).collect::<Vec<_>>());
        let mut places = places.into_iter();
        let (mut runs, mut counted, mut restarts, mut down_us) = (Vec::new(), Vec::new(), 0, 0);
        for (index, life) in reader.lives.iter().enumerate() {
            let place = Some(life).filter(of_role).and_then(|_| places.next());
            let is_observed = reader.observed(life).is_some();
            if let Some(place) = &place
                && is_observed
            {
                counted.push(life);
                restarts += usize::from(place.life > 1);
                down_us += reader
                    .window()
                    .length(life.first_us.saturating_sub(place.down_us), life.first_us);
            }
            // Also those outside of the window: slaves and attempts name them by their index.
            runs.push(Self::of_life(model, reader, index, place));
        }
        let spans = || counted.iter().filter_map(|life| reader.observed(life));
        let from = match role {
            Role::Master => spans().next().map(|span| span.0),
            Role::Slave => spans().map(|span| span.0).min(),
        };
        let to = match role {
            Role::Master => spans().next_back().map(|span| span.1),
            Role::Slave => spans().map(|span| span.1).max(),
        };
        let frame = Frame {
            source: match (
                counted.first(),
                reader
                    .lives
                    .iter()
                    .all(|life| life.source == reader.lives[0].source),
            ) {
                (None, _) => None,
                (Some(life), true) => Some(life.source.word()),
                (Some(_), false) => Some("mixed"),
            },
            lines: reader.lines,
            unparsed: reader.unparsed,
            observed: from.zip(to),
            clock_steps: reader.lives.iter().map(|life| life.clock_steps).sum(),
            last: counted.last().copied(),
            zone: &reader.zone,
        };
        let window = reader.window();
        let bound = |us: i64| (us != i64::MIN && us != i64::MAX).then(|| reader.zone.show(us));
        let bounds = Bounds {
            since: bound(window.since_us),
            until: bound(window.until_us),
        };
        Summary {
            schema: Some(SCHEMA),
            window: (bounds.since.is_some() || bounds.until.is_some()).then_some(bounds),
            restarts: (role == Role::Master).then_some(restarts),
            down_s: (role == Role::Master).then_some(down_us as f64 / 1e6),
            runs: Some(runs),
            ..frame.summary(&model.total())
        }
    }

    fn of_life(model: &Model, reader: &Reader, index: usize, place: Option<Place>) -> Self {
        let life = &reader.lives[index];
        let mut none = Figures::default();
        none.observed_us = reader.observed(life).map_or(0, |(from, to)| to - from);
        // What a slave says of tasks, its master has said already.
        let figures = match life.role == model.role {
            true => model.figures(index),
            false => &none,
        };
        let frame = Frame {
            source: Some(life.source.word()),
            lines: life.lines,
            unparsed: life.unparsed,
            observed: reader.observed(life),
            clock_steps: life.clock_steps,
            last: Some(life),
            zone: &reader.zone,
        };
        Summary {
            role: Some(match life.role {
                Role::Master => "master",
                Role::Slave => "slave",
            }),
            file: Some(super::trail::show_path(&life.file)),
            run: place.as_ref().map(|place| place.run),
            life: place.as_ref().map(|place| place.life),
            ..frame.summary(figures)
        }
    }
}
