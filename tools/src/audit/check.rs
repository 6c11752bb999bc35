//! For CI and cron: is the run within bounds? Exit 1 with the reason.

use std::borrow::Cow;
use std::fmt::Write;

use clap::Args;
use serde_json::json;

use super::findings::{Finding, IDS, Weight};
use super::output::{Document, Format, Sheet, figure};
use super::picture::escape;
use super::summary::{Exit, Summary};
use super::terminal::{Ink, Terminal};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit check --max-loss-ratio 5% --min-throughput 1000 master.audit
  ringmw audit check --max-failed-ratio 0 --clean-exit --format json run1
  ringmw audit check --against last-good.audit --tolerance 20% \\
    --format junit master.audit > check.xml
  ringmw audit check --max-loss-ratio 5% --format prometheus run1 > ringmw.prom
  ringmw audit check --max-finding bad=0 --max-finding tail master.audit

  $ ringmw audit check --max-loss-ratio 0.05 run5/master.audit
  loss ratio: 0.50 is more than 0.05 (3 of 6 departures were losses)
  $ echo $?
  1

A share is a number from 0 to 1 or a percentage. --against sets bounds by a run that was good, whole: throughput, peak and \
the share of slave time that computes may be less by the tolerance; compute time per result may be more by it; shares of \
losses, failures, tasks sent again and time held may be more by it and by one percentage point; the exit must be clean if \
that one's was. A bound whose figure does not exist, like failures without a result, is not kept, and neither is any where \
no result came at all, unless --allow-no-results is given.

Exit status: 0 when every bound is kept, 1 when one is not, 2 when nothing could be read, no bound was given, or the \
window holds no time of the run.";

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Form {
    /// Lines for a log.
    Table,
    /// One object.
    Json,
    /// A row a bound.
    Csv,
    /// A test case a bound, for CI servers.
    Junit,
    /// Metrics of the text format, for a collector of files.
    Prometheus,
}

/// A share, as a number from 0 to 1 or a percentage.
fn share(text: &str) -> Result<f64, String> {
    let number = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse::<f64>(),
    };
    number
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{text:?} is no share: give a number from 0 to 1, or 0% to 100%"))
}

fn amount(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok();
    number
        .filter(|number| number.is_finite() && *number >= 0.0)
        .ok_or_else(|| format!("{text:?} is no number of 0 or more"))
}

/// What a share may be worse than a good run's, beside the tolerance.
const POINT: f64 = 0.01;

/// The bounds.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bounds {
    /// Most of the departures that may be losses, like 0.05 or 5%
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_loss_ratio: Option<f64>,
    /// Fewest results per second of observed time
    #[arg(long, value_name = "RESULTS/S", value_parser = amount)]
    min_throughput: Option<f64>,
    /// Most of the results that may be failures
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_failed_ratio: Option<f64>,
    /// Most of the tasks sent that may have been recycled
    #[arg(long, value_name = "SHARE", value_parser = share)]
    max_recycled_ratio: Option<f64>,
    /// Fewest slaves at once, at the best time
    #[arg(long, value_name = "SLAVES")]
    min_peak: Option<u64>,
    /// Least of the slave time that must have computed
    #[arg(long, value_name = "SHARE", value_parser = share)]
    min_compute_share: Option<f64>,
    /// Longest time together, in seconds, in which the master algorithm held its thread
    #[arg(long, value_name = "SECONDS", value_parser = amount)]
    max_stalled: Option<f64>,
    /// Most lines that may be unreadable
    #[arg(long, value_name = "LINES")]
    max_unparsed: Option<u64>,
    /// Most findings of an id (`bad`: of any that are bad) that `report` may have, like failing=0; may be given again
    #[arg(long, value_name = "ID=NUMBER", value_parser = finding_bound)]
    max_finding: Vec<FindingBound>,
    /// Every process of the run must have ended with exit code 0 (CL-MW: SHUTDOWN)
    #[arg(long)]
    clean_exit: bool,
    /// A trail of a run that was good: bounds are set by it
    #[arg(long, value_name = "FILE")]
    pub(crate) against: Option<std::path::PathBuf>,
    /// How much worse than that run is still good
    #[arg(long, value_name = "SHARE", default_value = "10%", value_parser = share)]
    tolerance: f64,
    /// Judge a run without a single result by its other figures
    #[arg(long)]
    allow_no_results: bool,
}

/// Figures that bounds are about.
struct Judged {
    loss_ratio: Option<f64>,
    failed_ratio: Option<f64>,
    recycled_ratio: Option<f64>,
    stalled_share: Option<f64>,
    compute_share: Option<f64>,
    s_per_result: Option<f64>,
    lost: u64,
    gone: u64,
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

impl Judged {
    fn of(summary: &Summary) -> Self {
        let (tasks, slaves) = (&summary.tasks, &summary.slaves);
        let gone = slaves.disconnected;
        let lost = gone - slaves.disconnected_by.get("shutdown").unwrap_or(&0);
        // Where slaves were and none has left, none was lost.
        let was_there = slaves.connected > 0 || slaves.peak > 0;
        Self {
            loss_ratio: summary.churn.loss_ratio.or(was_there.then_some(0.0)),
            failed_ratio: ratio(tasks.failed.unwrap_or(0) as f64, tasks.results as f64),
            recycled_ratio: ratio(tasks.recycled as f64, tasks.sent as f64),
            stalled_share: summary
                .stalled_s
                .and_then(|stalled_s| ratio(stalled_s, summary.duration_s)),
            compute_share: slaves
                .time_s
                .compute
                .and_then(|compute| ratio(compute, slaves.time_s.present)),
            s_per_result: tasks
                .compute_s
                .and_then(|compute_s| ratio(compute_s, tasks.results as f64)),
            lost,
            gone,
        }
    }
}

/// The most findings of an id.
#[derive(Clone, Debug)]
struct FindingBound {
    id: String,
    most: u64,
}

/// Bounds by this name are on findings that are bad, whatever their id.
const ANY_BAD: &str = "bad";

fn finding_bound(text: &str) -> Result<FindingBound, String> {
    let (id, most) = text.split_once('=').unwrap_or((text, "0"));
    if id != ANY_BAD && !IDS.contains(&id) {
        let ids = IDS.join(", ");
        return Err(format!("no finding {id:?}: {ANY_BAD}, or one of {ids}"));
    }
    let most = most
        .parse()
        .map_err(|_| format!("{most:?} is no number of findings"))?;
    Ok(FindingBound {
        id: id.to_owned(),
        most,
    })
}

/// One bound, judged.
struct Verdict {
    bound: Cow<'static, str>,
    value: Option<f64>,
    limit: f64,
    /// Whether the value must not be less than the limit, rather than not more.
    is_least: bool,
    is_kept: bool,
    why: String,
}

/// What was judged so far.
#[derive(Default)]
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn judge(
        &mut self,
        bound: &'static str,
        is_least: bool,
        limit: Option<f64>,
        value: Option<f64>,
        why: String,
    ) {
        let Some(limit) = limit else {
            return;
        };
        // What does not exist keeps no bound: a check that cannot fail would pass forever.
        let is_kept = value.is_some_and(|value| match is_least {
            true => value >= limit,
            false => value <= limit,
        });
        self.0.push(Verdict {
            bound: bound.into(),
            value,
            limit,
            is_least,
            is_kept,
            why,
        });
    }
}

impl Bounds {
    /// Whether the findings are wanted.
    pub(crate) fn asks_for_findings(&self) -> bool {
        !self.max_finding.is_empty()
    }

    /// Of the findings of an id, the first is named.
    fn of_findings(&self, findings: &[Finding]) -> impl Iterator<Item = Verdict> {
        self.max_finding.iter().map(|bound| {
            let found: Vec<&Finding> = findings
                .iter()
                .filter(|finding| match bound.id.as_str() {
                    ANY_BAD => finding.weight == Weight::Bad,
                    id => finding.id == id && finding.weight != Weight::Good,
                })
                .collect();
            let first = found.first().map(|finding| finding.text.clone());
            Verdict {
                bound: format!("finding {}", bound.id).into(),
                value: Some(found.len() as f64),
                limit: bound.most as f64,
                is_least: false,
                is_kept: found.len() as u64 <= bound.most,
                why: first.unwrap_or_else(|| "there is none".to_owned()),
            }
        })
    }

    fn is_any(&self) -> bool {
        self.max_loss_ratio.is_some()
            || self.min_throughput.is_some()
            || self.max_failed_ratio.is_some()
            || self.max_recycled_ratio.is_some()
            || self.min_peak.is_some()
            || self.min_compute_share.is_some()
            || self.max_stalled.is_some()
            || self.max_unparsed.is_some()
            || self.clean_exit
            || self.against.is_some()
            || self.asks_for_findings()
    }

    fn verdicts(&self, summary: &Summary, good: Option<&Summary>) -> Vec<Verdict> {
        let mut verdicts = Verdicts::default();
        let (tasks, now) = (&summary.tasks, Judged::of(summary));
        let losses = format!("{} of {} departures were losses", now.lost, now.gone);
        let failures = format!(
            "{} of {} results were failures",
            tasks.failed.unwrap_or(0),
            tasks.results
        );
        let recycled = format!(
            "{} of {} tasks sent were recycled",
            tasks.recycled, tasks.sent
        );
        let throughput = format!(
            "{} results in {} s",
            tasks.results,
            figure(summary.duration_s)
        );
        let computing = "of slave time".to_owned();
        if tasks.results == 0 && !self.allow_no_results {
            let why = "no result came at all".to_owned();
            verdicts.judge("results", true, Some(1.0), Some(0.0), why);
        }
        let most = |limit| (false, limit);
        let least = |limit| (true, limit);
        let stalled = "seconds in which the master algorithm held its thread".to_owned();
        let unparsed = format!("of {} lines", summary.lines);
        for (bound, (is_least, limit), value, why) in [
            (
                "loss ratio",
                most(self.max_loss_ratio),
                now.loss_ratio,
                &losses,
            ),
            (
                "failed ratio",
                most(self.max_failed_ratio),
                now.failed_ratio,
                &failures,
            ),
            (
                "recycled ratio",
                most(self.max_recycled_ratio),
                now.recycled_ratio,
                &recycled,
            ),
            (
                "stalled",
                most(self.max_stalled),
                summary.stalled_s,
                &stalled,
            ),
            (
                "unparsed",
                most(self.max_unparsed.map(|lines| lines as f64)),
                Some(summary.unparsed as f64),
                &unparsed,
            ),
            (
                "throughput",
                least(self.min_throughput),
                tasks.results_per_s,
                &throughput,
            ),
            (
                "peak",
                least(self.min_peak.map(|slaves| slaves as f64)),
                Some(summary.slaves.peak as f64),
                &"slaves at once".to_owned(),
            ),
            (
                "compute share",
                least(self.min_compute_share),
                now.compute_share,
                &computing,
            ),
        ] {
            verdicts.judge(bound, is_least, limit, value, why.clone());
        }
        if let Some(good) = good {
            let was = Judged::of(good);
            let (less, more) = (1.0 - self.tolerance, 1.0 + self.tolerance);
            let share = |was: Option<f64>| was.map(|was| (was * more + POINT).min(1.0));
            let beside = |what: &str, was: Option<f64>| {
                let was = was.map_or_else(|| "none".to_owned(), figure);
                format!("{what}; the good run: {was}")
            };
            let rate = good.tasks.results_per_s;
            let peak = good.slaves.peak as f64;
            for (bound, is_least, limit, value, why) in [
                (
                    "throughput against good",
                    true,
                    rate.map(|was| was * less),
                    tasks.results_per_s,
                    beside(&throughput, rate),
                ),
                (
                    "peak against good",
                    true,
                    Some(peak * less),
                    Some(summary.slaves.peak as f64),
                    beside("slaves at once", Some(peak)),
                ),
                (
                    "compute share against good",
                    true,
                    was.compute_share.map(|was| was * less),
                    now.compute_share,
                    beside(&computing, was.compute_share),
                ),
                (
                    "seconds per result against good",
                    false,
                    was.s_per_result.map(|was| was * more),
                    now.s_per_result,
                    beside("compute time", was.s_per_result),
                ),
                (
                    "loss ratio against good",
                    false,
                    share(was.loss_ratio),
                    now.loss_ratio,
                    beside(&losses, was.loss_ratio),
                ),
                (
                    "failed ratio against good",
                    false,
                    share(was.failed_ratio),
                    now.failed_ratio,
                    beside(&failures, was.failed_ratio),
                ),
                (
                    "recycled ratio against good",
                    false,
                    share(was.recycled_ratio),
                    now.recycled_ratio,
                    beside(&recycled, was.recycled_ratio),
                ),
                (
                    "stalled share against good",
                    false,
                    share(was.stalled_share),
                    now.stalled_share,
                    beside("of the observed time", was.stalled_share),
                ),
            ] {
                verdicts.judge(bound, is_least, limit, value, why);
            }
        }
        let mut verdicts = verdicts.0;
        if self.clean_exit || good.is_some_and(|good| clean_exit(good).is_kept) {
            verdicts.push(clean_exit(summary));
        }
        verdicts
    }
}

/// The exits of all lives that count, the worst told.
fn clean_exit(summary: &Summary) -> Verdict {
    let is_clean = |exit: &Option<Exit>| {
        matches!(
            exit,
            Some(
                Exit::Code(0) | Exit::Word("SHUTDOWN" | "MASTER-SHUTDOWN" | "COMPUTATION-FINISHED")
            )
        )
    };
    let lives = summary.runs.as_deref().unwrap_or_default();
    let counted = |life: &&Summary| life.run.is_some() && life.start.is_some();
    let lives: Vec<&Summary> = lives.iter().filter(counted).collect();
    let bad = lives.iter().find(|life| !is_clean(&life.exit)).copied();
    let told = bad.unwrap_or(summary);
    let why = match &told.exit {
        None => "the trail has no exit line: killed, or still running".to_owned(),
        Some(Exit::Code(code)) => format!(
            "exit code {code}, {}",
            told.exit_reason.as_deref().unwrap_or("no reason given")
        ),
        Some(Exit::Word(word)) => (*word).to_owned(),
    };
    let why = match (bad, lives.len()) {
        (Some(bad), 2..) => format!(
            "{why}, in the process that began {}",
            bad.start.as_deref().unwrap_or("at an unknown time")
        ),
        _ => why,
    };
    let value = match told.exit {
        Some(Exit::Code(code)) => Some(code.into()),
        _ => None,
    };
    Verdict {
        bound: "exit".into(),
        value,
        limit: 0.0,
        is_least: false,
        is_kept: bad.is_none() && is_clean(&summary.exit),
        why,
    }
}

/// Whether all is well, and what is to be told in the form asked for; none without a bound.
pub(crate) fn judge(
    bounds: &Bounds,
    summary: &Summary,
    good: Option<&Summary>,
    findings: &[Finding],
    unreadable: &[String],
    form: Form,
) -> Option<Result<(bool, String), String>> {
    if !bounds.is_any() {
        return None;
    }
    let mut verdicts = bounds.verdicts(summary, good);
    verdicts.extend(bounds.of_findings(findings));
    let is_well = verdicts.iter().all(|verdict| verdict.is_kept) && unreadable.is_empty();
    let text = match form {
        Form::Table => Ok(lines(&verdicts, unreadable, is_well)),
        Form::Json => document(&verdicts, is_well).show(Format::Json, None),
        Form::Csv => document(&verdicts, is_well).show(Format::Csv, None),
        Form::Junit => Ok(junit(&verdicts, unreadable)),
        Form::Prometheus => Ok(prometheus(&verdicts, is_well)),
    };
    Some(text.map(|text| (is_well, text)))
}

fn document(verdicts: &[Verdict], is_well: bool) -> Document {
    let mut sheet = Sheet::new(
        "bounds",
        "Bounds",
        &["bound", "value", "limit", "kept", "why"],
    );
    for verdict in verdicts {
        sheet.rows.push(vec![
            verdict.bound.as_ref().into(),
            json!(verdict.value),
            json!(verdict.limit),
            json!(verdict.is_kept),
            verdict.why.as_str().into(),
        ]);
    }
    let mut document = Document::default();
    document
        .head
        .insert("schema".into(), super::summary::SCHEMA.into());
    document.head.insert("ok".into(), is_well.into());
    document.sheets = vec![sheet];
    document
}

/// What is wrong with a bound, in a line.
fn fault(verdict: &Verdict) -> String {
    let Verdict {
        bound,
        value,
        limit,
        why,
        ..
    } = verdict;
    let limit = figure(*limit);
    match value {
        _ if bound == "exit" => format!("exit: {why}"),
        None => format!("{bound}: none, but {limit} is wanted ({why})"),
        Some(value) => {
            let than = if verdict.is_least { "less" } else { "more" };
            format!("{bound}: {} is {than} than {limit} ({why})", figure(*value))
        }
    }
}

fn lines(verdicts: &[Verdict], unreadable: &[String], is_well: bool) -> String {
    if is_well {
        return match verdicts.len() {
            1 => "the bound is kept\n".to_owned(),
            bounds => format!("all {bounds} bounds are kept\n"),
        };
    }
    let faults = verdicts
        .iter()
        .filter(|verdict| !verdict.is_kept)
        .map(fault);
    let files = unreadable.iter().map(|file| format!("unreadable: {file}"));
    faults
        .chain(files)
        .map(|line| {
            let line = super::output::harmless(&line);
            Terminal::of_stdout().paint(Ink::Red, &line) + "\n"
        })
        .collect()
}

fn junit(verdicts: &[Verdict], unreadable: &[String]) -> String {
    let failures = verdicts.iter().filter(|verdict| !verdict.is_kept).count() + unreadable.len();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuite name=\"ringmw audit check\" tests=\"{}\" failures=\"{failures}\">\n",
        verdicts.len() + unreadable.len()
    );
    let mut case = |name: &str, failure: Option<String>| {
        let _ = write!(
            xml,
            "<testcase classname=\"ringmw.audit\" name=\"{}\"",
            escape(name)
        );
        let _ = match failure {
            Some(why) => writeln!(xml, "><failure message=\"{}\"/></testcase>", escape(&why)),
            None => writeln!(xml, "/>"),
        };
    };
    for verdict in verdicts {
        case(&verdict.bound, (!verdict.is_kept).then(|| fault(verdict)));
    }
    for file in unreadable {
        case("readable", Some(format!("unreadable: {file}")));
    }
    xml + "</testsuite>\n"
}

fn prometheus(verdicts: &[Verdict], is_well: bool) -> String {
    let mut text = String::new();
    let mut metric = |name: &str, help: &str, rows: Vec<(String, f64)>| {
        if !rows.is_empty() {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        }
        for (labels, value) in rows {
            let _ = writeln!(text, "{name}{labels} {value}");
        }
    };
    let label = |verdict: &Verdict| format!("{{bound=\"{}\"}}", verdict.bound.replace(' ', "_"));
    metric(
        "ringmw_audit_check_ok",
        "Whether every bound of the check was kept.",
        vec![(String::new(), f64::from(u8::from(is_well)))],
    );
    metric(
        "ringmw_audit_check_kept",
        "Whether the bound was kept.",
        verdicts
            .iter()
            .map(|verdict| (label(verdict), f64::from(u8::from(verdict.is_kept))))
            .collect(),
    );
    metric(
        "ringmw_audit_check_value",
        "The figure that the bound is about.",
        verdicts
            .iter()
            .filter_map(|verdict| Some((label(verdict), verdict.value?)))
            .collect(),
    );
    metric(
        "ringmw_audit_check_limit",
        "The bound.",
        verdicts
            .iter()
            .map(|verdict| (label(verdict), verdict.limit))
            .collect(),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_in_both_forms() {
        for (text, expected) in [
            ("0", 0.0),
            ("0.05", 0.05),
            ("5%", 0.05),
            ("100 %", 1.0),
            ("1", 1.0),
        ] {
            assert_eq!(share(text), Ok(expected), "{text}");
        }
        for text in ["5", "-0.1", "101%", "NaN", "", "%", "five"] {
            assert!(
                share(text).is_err_and(|error| error.contains("0 to 1")),
                "{text}"
            );
        }
        assert!(amount("inf").is_err() && amount("-1").is_err() && amount("3.5") == Ok(3.5));
    }
}
