//! For CI and cron: is the run within bounds? Exit 1 with the reason.

use clap::Args;
use serde_json::json;

use super::output::{Document, Sheet, figure};
use super::summary::{Exit, Summary};

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit check --max-loss-ratio 0.05 --min-throughput 1000 master.audit
  ringmw audit check --max-failed-ratio 0 --clean-exit --max-unparsed 0 --format json master.audit

  $ ringmw audit check --max-loss-ratio 0.05 run5/master.audit
  loss ratio: 0.50 is more than 0.05 (3 of 6 departures were losses)
  $ echo $?
  1

Exit status: 0 when every bound is kept, 1 when one is not, 2 when nothing could be read or no bound was given.";

/// The bounds.
#[derive(Args, Clone, Debug)]
pub(crate) struct Bounds {
    /// Most of the departures that may be losses, 0 to 1
    #[arg(long, value_name = "SHARE")]
    max_loss_ratio: Option<f64>,
    /// Fewest results per second over the run
    #[arg(long, value_name = "RESULTS/S")]
    min_throughput: Option<f64>,
    /// Most of the results that may be failures, 0 to 1
    #[arg(long, value_name = "SHARE")]
    max_failed_ratio: Option<f64>,
    /// Most of the tasks sent that may have been recycled, 0 to 1
    #[arg(long, value_name = "SHARE")]
    max_recycled_ratio: Option<f64>,
    /// Fewest slaves at once, at the best time
    #[arg(long, value_name = "SLAVES")]
    min_peak: Option<u64>,
    /// Longest time together, in seconds, in which the master algorithm held its thread
    #[arg(long, value_name = "SECONDS")]
    max_stalled: Option<f64>,
    /// Most lines that may be unreadable
    #[arg(long, value_name = "LINES")]
    max_unparsed: Option<u64>,
    /// The run must have ended with exit code 0 (CL-MW: SHUTDOWN)
    #[arg(long)]
    clean_exit: bool,
}

/// One bound, judged.
struct Verdict {
    bound: &'static str,
    value: Option<f64>,
    limit: f64,
    is_kept: bool,
    why: String,
}

impl Bounds {
    fn verdicts(&self, summary: &Summary) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut most = |bound, limit: Option<f64>, value: Option<f64>, why: String| {
            if let Some(limit) = limit {
                // What never happened exceeds nothing.
                let is_kept = value.is_none_or(|value| value <= limit);
                verdicts.push(Verdict {
                    bound,
                    value,
                    limit,
                    is_kept,
                    why,
                });
            }
        };
        let tasks = &summary.tasks;
        let ratio = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
        let gone = summary.slaves.disconnected;
        let lost = gone - summary.slaves.disconnected_by.get("shutdown").unwrap_or(&0);
        most(
            "loss ratio",
            self.max_loss_ratio,
            summary.churn.loss_ratio,
            format!("{lost} of {gone} departures were losses"),
        );
        let failed = tasks.failed.unwrap_or(0);
        let why = format!("{failed} of {} results were failures", tasks.results);
        most(
            "failed ratio",
            self.max_failed_ratio,
            ratio(failed, tasks.results),
            why,
        );
        let why = format!(
            "{} of {} tasks sent were recycled",
            tasks.recycled, tasks.sent
        );
        most(
            "recycled ratio",
            self.max_recycled_ratio,
            ratio(tasks.recycled, tasks.sent),
            why,
        );
        let why = "seconds in which the master algorithm held its thread".to_owned();
        most("stalled", self.max_stalled, summary.stalled_s, why);
        let why = format!("of {} lines", summary.lines);
        most(
            "unparsed",
            self.max_unparsed.map(|lines| lines as f64),
            Some(summary.unparsed as f64),
            why,
        );
        let mut fewest = |bound, limit: Option<f64>, value: Option<f64>, why: String| {
            if let Some(limit) = limit {
                let is_kept = value.is_some_and(|value| value >= limit);
                verdicts.push(Verdict {
                    bound,
                    value,
                    limit,
                    is_kept,
                    why,
                });
            }
        };
        let why = format!(
            "{} results in {} s",
            tasks.results,
            figure(summary.duration_s)
        );
        fewest("throughput", self.min_throughput, tasks.results_per_s, why);
        let why = "slaves at once".to_owned();
        fewest(
            "peak",
            self.min_peak.map(|slaves| slaves as f64),
            Some(summary.slaves.peak as f64),
            why,
        );
        if self.clean_exit {
            verdicts.push(clean_exit(summary));
        }
        verdicts
    }
}

fn clean_exit(summary: &Summary) -> Verdict {
    let why = match &summary.exit {
        None => "the trail has no exit line: killed, or still running".to_owned(),
        Some(Exit::Code(code)) => format!(
            "exit code {code}, {}",
            summary.exit_reason.as_deref().unwrap_or("no reason given")
        ),
        Some(Exit::Word(word)) => (*word).to_owned(),
    };
    let value = match summary.exit {
        Some(Exit::Code(code)) => Some(code.into()),
        _ => None,
    };
    let is_kept = matches!(
        &summary.exit,
        Some(Exit::Code(0) | Exit::Word("SHUTDOWN" | "MASTER-SHUTDOWN" | "COMPUTATION-FINISHED"))
    );
    Verdict {
        bound: "exit",
        value,
        limit: 0.0,
        is_kept,
        why,
    }
}

/// Whether all is well, in one document and in lines for a log; none without a bound.
pub(crate) fn judge(
    bounds: &Bounds,
    summary: &Summary,
    unreadable: &[String],
) -> Option<(bool, Document, String)> {
    let verdicts = bounds.verdicts(summary);
    if verdicts.is_empty() {
        return None;
    }
    let mut sheet = Sheet::new(
        "bounds",
        "Bounds",
        &["bound", "value", "limit", "kept", "why"],
    );
    let mut text = String::new();
    for verdict in &verdicts {
        let Verdict {
            bound,
            value,
            limit,
            is_kept,
            why,
        } = verdict;
        sheet.rows.push(vec![
            (*bound).into(),
            json!(value),
            json!(limit),
            json!(is_kept),
            why.as_str().into(),
        ]);
        if *is_kept {
            continue;
        }
        let limit = figure(*limit);
        text += &match value {
            _ if *bound == "exit" => format!("exit: {why}\n"),
            None => format!("{bound}: none, but {limit} is wanted ({why})\n"),
            Some(value) => {
                let than = if matches!(*bound, "throughput" | "peak") {
                    "less"
                } else {
                    "more"
                };
                format!(
                    "{bound}: {} is {than} than {limit} ({why})\n",
                    figure(*value)
                )
            }
        };
    }
    for file in unreadable {
        text += &format!("unreadable: {file}\n");
    }
    let is_well = verdicts.iter().all(|verdict| verdict.is_kept) && unreadable.is_empty();
    if is_well {
        text = format!("all {} bounds are kept\n", verdicts.len());
    }
    let mut document = Document::default();
    document
        .head
        .insert("schema".into(), super::summary::SCHEMA.into());
    document.head.insert("ok".into(), is_well.into());
    document.sheets = vec![sheet];
    Some((is_well, document, text))
}
