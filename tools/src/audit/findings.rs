//! What a run's figures say in plain words: what went wrong, since when, by whom, what it cost, what to do about it.
//!
//! ```text
//! model, summary, signs ──► facts ──► crowds   who loses, fails or is slow far more than the others
//!                                ├──► changes  when it began: losses at once, throughput, no slaves, no tasks, stalls
//!                                ├──► ends     how the processes ended, who was refused, what the trail lacks
//!                                └──► work     where slave time went
//! ```
//!
//! A finding is *bad* only where chance alone would not bring it about: [`ALPHA`] is the most that each test may err by,
//! corrected for the number of slaves, hosts, subnets or times that it looked at; and where it matters: shares of the
//! run are named at each test. What is only worth knowing is a *note*. The cause is first: findings that explain others
//! before those that follow from them, then by the slave time that they cost.

mod chance;
mod changes;
mod crowds;
mod ends;
mod facts;
mod signs;
mod view;
mod work;

use super::model::Model;
use super::output::{count, figure, plural};
use super::summary::Summary;
use super::times::{Zone, show_duration};
use super::trail::Reader;

use facts::Facts;
pub(crate) use signs::BothSigns;
pub(crate) use view::{document, text};
pub(crate) use work::Work;

/// The most that one test errs by: the chance that it tells of a run in which everything is chance.
const ALPHA: f64 = 1e-5;
/// So many findings of one kind are told.
const NAMED_MAX: usize = 3;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    Bad,
    Note,
    Good,
}

impl Weight {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Weight::Bad => "bad",
            Weight::Note => "note",
            Weight::Good => "good",
        }
    }
}

/// What a finding explains of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// It explains whatever else is found at the same time.
    Cause,
    /// It follows from a cause, if there is one.
    Consequence,
    /// It is about the trail itself.
    Trail,
}

/// Who is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// task, slave, host, subnet, algorithm or message.
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

/// One finding.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    pub(crate) id: &'static str,
    pub(crate) weight: Weight,
    rank: Rank,
    pub(crate) text: String,
    pub(crate) at_us: Option<i64>,
    pub(crate) until_us: Option<i64>,
    /// The first is the one to look at.
    pub(crate) culprits: Vec<Culprit>,
    /// Slave time that it cost, in seconds.
    pub(crate) lost_s: f64,
    /// The figures that it stands on.
    pub(crate) numbers: Vec<(&'static str, f64)>,
    /// What to do about it.
    pub(crate) advice: &'static str,
    /// The command that shows more.
    pub(crate) command: String,
}

/// When each began that is no good news, and what it says.
pub(crate) fn times(findings: &[Finding]) -> impl Iterator<Item = (i64, String)> {
    let timed = |finding: &&Finding| finding.weight != Weight::Good;
    let at = |finding: &Finding| Some((finding.at_us?, finding.text.clone()));
    findings.iter().filter(timed).filter_map(at)
}

impl Finding {
    fn new(id: &'static str, weight: Weight, text: String) -> Self {
        debug_assert!(IDS.contains(&id), "bounds on {id} could not be given");
        Self {
            id,
            weight,
            rank: Rank::Cause,
            text,
            at_us: None,
            until_us: None,
            culprits: Vec::new(),
            lost_s: 0.0,
            numbers: Vec::new(),
            advice: "",
            command: String::new(),
        }
    }

    fn ranked(mut self, rank: Rank) -> Self {
        self.rank = rank;
        self
    }

    fn at(mut self, from_us: i64, until_us: Option<i64>) -> Self {
        self.at_us = Some(from_us);
        self.until_us = until_us;
        self
    }

    fn by(mut self, kind: &'static str, name: impl Into<String>) -> Self {
        self.culprits.push(Culprit {
            kind,
            name: name.into(),
        });
        self
    }

    fn cost(mut self, lost_us: f64) -> Self {
        self.lost_s = lost_us.max(0.0) / 1e6;
        self
    }

    fn with(mut self, numbers: &[(&'static str, f64)]) -> Self {
        self.numbers.extend_from_slice(numbers);
        self
    }

    fn advise(mut self, advice: &'static str, command: impl Into<String>) -> Self {
        self.advice = advice;
        self.command = command.into();
        self
    }
}

/// Ids of all findings, for bounds on them.
pub(crate) const IDS: [&str; 24] = [
    "busy",
    "clock",
    "crash-loop",
    "crashing",
    "exit",
    "failing",
    "idle",
    "losing",
    "losses",
    "mass-loss",
    "master-held",
    "no-exit",
    "no-slaves",
    "no-tasks",
    "nothing-done",
    "queue-empty",
    "refused",
    "signal",
    "slow",
    "tail",
    "throughput-fell",
    "trail-dropped",
    "unreadable",
    "unrunnable",
];

/// All findings, the cause first.
pub(crate) fn find(
    model: &Model,
    summary: &Summary,
    signs: &BothSigns,
    reader: &Reader,
) -> Vec<Finding> {
    let facts = Facts::of(model, summary, signs.of(reader.role()), reader);
    let mut findings = Vec::new();
    let changes = changes::find(&mut findings, &facts);
    crowds::losses(&mut findings, &facts, &changes);
    crowds::failures(&mut findings, &facts);
    crowds::slowness(&mut findings, &facts);
    ends::find(&mut findings, &facts);
    findings.sort_by(|a, b| {
        let key = |finding: &Finding| (finding.weight, finding.rank);
        key(a).cmp(&key(b)).then(b.lost_s.total_cmp(&a.lost_s))
    });
    findings
}

/// Where slave time went.
pub(crate) fn work(model: &Model, summary: &Summary, signs: &BothSigns, reader: &Reader) -> Work {
    Work::of(&Facts::of(model, summary, signs.of(reader.role()), reader))
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        share if (99.5..100.0).contains(&share) => format!("{share:.1} %"),
        share if share >= 10.0 => format!("{share:.0} %"),
        share => format!("{} %", figure(share)),
    }
}

/// The time of day; with the day where the run is longer than one.
fn clock(zone: &Zone, us: i64, length_us: f64) -> String {
    let format = match length_us / 1e6 {
        0.0..600.0 => "%H:%M:%S",
        0.0..86_400.0 => "%H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    zone.format(format, us)
}

/// How long, in words.
fn took(us: f64) -> String {
    show_duration(us.round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever wants a bound on a finding finds its id in the guide, and what it takes to be bad.
    #[test]
    fn the_guide_has_every_id() {
        let guide = include_str!("../../guide-audit.md");
        for id in IDS {
            assert!(guide.contains(&format!("`{id}`")), "{id}");
        }
        assert!(IDS.is_sorted());
    }
}
