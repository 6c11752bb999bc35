//! The summary as a table and as CSV.

use std::fmt::Write;

use serde_json::Value;

use super::output::{Format, count, csv_row, figure, harmless, json, leaves, plural};
use super::summary::{Exit, Summary};
use super::times::show_duration;

/// For `--help`.
pub(crate) const HELP: &str = "\
Examples:
  ringmw audit stats master.audit
  ringmw audit stats --since -12h --format json run1 | jq .churn.loss_ratio
  zcat old.audit.gz | ringmw audit stats --zone Europe/Berlin -

  $ ringmw audit stats run5/master.audit
  cl-mw, 11 s from 2026-11-20T08:03:13Z to 2026-11-20T08:03:26Z, exit SHUTDOWN
  …

Keys of --format json, schema 2 (raised when a key changes its meaning or goes; new ones keep it):
  schema, source (ringmw, cl-mw, mixed), lines, unparsed, start, end,
    duration_s, clock_steps, window.since, .until
  duration_s is the observed time, from the first line of a process to its last,
    inside the window; rates are over it.
  Sums of packets, slave time and stalls count with their part inside the window
  slaves.connected, .rejected, .disconnected, .disconnected_by.REASON, .peak,
    .at_end, .by_group.GROUP, .by_subnet.SUBNET
  slaves.lifetime_s.count, .min, .p50, .p90, .p99, .max (of slaves that left, in
    seconds)
  slaves.time_s.present, .compute, .held (tasks, and not computing), .idle:
    slave time; .absent: no slave was there
  slaves.unknown (there without having come: a part of the trail is missing)
  tasks.sent, .results, .recycled, .packets (_out and _in together),
    .packets_out, .packets_in, .results_per_s
  churn.arrivals_per_min, .departures_per_min, .loss_ratio (departures other
    than by shutdown, over all departures)
  exit (the code, or CL-MW's word; null without an exit line), exit_reason,
    exit_at (may be behind the window)
  restarts (lives of a master behind another one of its run: the same run id, or
    one that did not end with 0), down_s (between them)
  runs: the same for each INIT line, with role, file, run and life. The top
    level has the sums, the largest peak, the start of the first life, end and
    exit of the last, and rates over the time that all were observed.
Of ringmw's trails also:
  seed (a string where it is above 2^53), build, version, stalled_s,
    dropped_lines
  slaves.dismissed (sent away because the desire fell; they leave by shutdown)
  tasks.failed, .cancelled, .late, .unrunnable, .duplicated (stragglers),
    .given_back (not begun, for an idle slave)
  tasks.known (not computed again in a life, thanks to what earlier ones
    recorded; all lives together)
  tasks.brought (results that slaves of earlier lives had kept)
  tasks.repeated (recorded more than once by the lives before the last; the
    largest number that a life found)
  tasks.bytes_out, .bytes_in, .compute_s (of the results that came)

A ratio or rate without its denominator is null. Figures are of masters' trails; of slaves' only where no master's is. \
Times of CL-MW, whose trails name no zone, are read as of --zone. Exit status: 0; 2 when nothing could be read.";

const RUNS_SHOWN_MAX: usize = 12;

pub(crate) fn show(summary: &Summary, format: Format) -> String {
    match format {
        Format::Json => json(summary),
        Format::Csv => csv(summary),
        Format::Table => harmless(&table(summary)),
    }
}

fn csv(summary: &Summary) -> String {
    let value = serde_json::to_value(summary).unwrap_or_default();
    let rows = leaves(&value)
        .into_iter()
        .map(|(key, value)| csv_row(&[Value::from(key), value]));
    std::iter::once("key,value\n".to_owned())
        .chain(rows)
        .collect()
}

fn or_dash(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), figure)
}

fn exit(summary: &Summary) -> String {
    let exit = match &summary.exit {
        None => return "no exit line: killed, or still running".to_owned(),
        Some(Exit::Code(code)) => format!("exit {code}"),
        Some(Exit::Word(word)) => format!("exit {word}"),
    };
    match &summary.exit_reason {
        Some(reason) => format!("{exit} ({reason})"),
        None => exit,
    }
}

/// `300 eof, 12 timeout`, the most frequent first; those that never happened are left out.
fn list<'a>(counts: impl Iterator<Item = (&'a str, u64)>, shown_max: usize) -> String {
    let mut counts: Vec<_> = counts.filter(|&(_, count)| count > 0).collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let more = counts.len().saturating_sub(shown_max);
    let mut shown: Vec<String> = counts
        .iter()
        .take(shown_max)
        .map(|(name, number)| format!("{} {name}", count(*number)))
        .collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    if shown.is_empty() {
        "none".to_owned()
    } else {
        shown.join(", ")
    }
}

fn head(summary: &Summary) -> String {
    let took = match summary.duration_s {
        0.0 => "less than a second".to_owned(),
        seconds => show_duration((seconds * 1e6) as i64),
    };
    match (&summary.start, &summary.end) {
        (Some(start), Some(end)) => {
            let source = summary.source.unwrap_or("unknown");
            format!("{source}, {took} from {start} to {end}, {}", exit(summary))
        }
        _ => "no line in the window".to_owned(),
    }
}

fn table(summary: &Summary) -> String {
    let mut text = head(summary) + "\n";
    let mut row = |name: &str, value: String| {
        let _ = writeln!(text, "  {name:<14}{value}");
    };
    let (slaves, tasks, churn) = (&summary.slaves, &summary.tasks, &summary.churn);
    row(
        "slaves",
        format!(
            "{} connected, {} at once, {} at the end, {} rejected",
            count(slaves.connected),
            count(slaves.peak),
            count(slaves.at_end),
            count(slaves.rejected)
        ),
    );
    row(
        "left by",
        list(
            slaves
                .disconnected_by
                .iter()
                .map(|(&cause, &count)| (cause, count)),
            9,
        ),
    );
    if let Some(dismissed @ 1..) = slaves.dismissed {
        let value = format!("{} as fewer were desired", count(dismissed));
        row("sent away", value);
    }
    row(
        "groups",
        list(
            slaves
                .by_group
                .iter()
                .map(|(&group, &count)| (group, count)),
            3,
        ),
    );
    row(
        "subnets",
        list(
            slaves
                .by_subnet
                .iter()
                .map(|(subnet, &count)| (subnet.as_str(), count)),
            6,
        ),
    );
    let life = &slaves.lifetime_s;
    row(
        "lifetime",
        match life.count {
            0 => "no slave left".to_owned(),
            number => format!(
                "{} s median, 90 % {} s, 99 % {} s, from {} to {} s ({} that left)",
                or_dash(life.p50),
                or_dash(life.p90),
                or_dash(life.p99),
                or_dash(life.min),
                or_dash(life.max),
                plural(number, "slave")
            ),
        },
    );
    let time = &slaves.time_s;
    let share = |seconds: f64| match time.present {
        0.0 => "-".to_owned(),
        present => format!("{} %", figure(seconds / present * 100.0)),
    };
    let compute = time
        .compute
        .map(|compute| format!("{} computing, ", share(compute)));
    row(
        "slave time",
        format!(
            "{} s: {}{} holding tasks, {} idle; no slave for {} s",
            figure(time.present),
            compute.unwrap_or_default(),
            share(time.held),
            share(time.idle),
            figure(time.absent)
        ),
    );
    row(
        "churn",
        format!(
            "{} arrivals and {} departures a minute, {} of the departures losses",
            or_dash(churn.arrivals_per_min),
            or_dash(churn.departures_per_min),
            churn.loss_ratio.map_or_else(
                || "none".to_owned(),
                |ratio| format!("{} %", figure(ratio * 100.0))
            )
        ),
    );
    row(
        "tasks",
        format!(
            "{} sent, {}, {} recycled; {} results/s; {}",
            count(tasks.sent),
            plural(tasks.results, "result"),
            count(tasks.recycled),
            or_dash(tasks.results_per_s),
            plural(tasks.packets, "packet")
        ),
    );
    let ours = [
        ("failed", tasks.failed),
        ("unrunnable", tasks.unrunnable),
        ("cancelled", tasks.cancelled),
        ("late", tasks.late),
        ("given back", tasks.given_back),
        ("duplicated", tasks.duplicated),
    ];
    if ours
        .iter()
        .any(|(_, count)| count.is_some_and(|count| count > 0))
    {
        row(
            "task ends",
            list(
                ours.into_iter()
                    .map(|(name, count)| (name, count.unwrap_or(0))),
                4,
            ),
        );
    }
    if let Some(compute_s) = tasks.compute_s.filter(|&compute_s| compute_s > 0.0) {
        row("compute", format!("{} s together", figure(compute_s)));
    }
    if let Some(stalled_s) = summary.stalled_s.filter(|&stalled_s| stalled_s > 0.0) {
        row(
            "stalled",
            format!(
                "{} s: the master algorithm held its thread",
                figure(stalled_s)
            ),
        );
    }
    if let Some(dropped) = summary.dropped_lines.filter(|&dropped| dropped > 0) {
        row(
            "dropped",
            format!(
                "{} never reached the trail: its disk was full or slow",
                plural(dropped, "line")
            ),
        );
    }
    if let Some(restarts @ 1..) = summary.restarts {
        row(
            "restarts",
            format!(
                "{restarts}, {} s between the lives",
                figure(summary.down_s.unwrap_or(0.0))
            ),
        );
    }
    let of_lives = [
        ("not computed again", tasks.known),
        ("brought by slaves of earlier lives", tasks.brought),
        ("computed more than once", tasks.repeated),
    ];
    if of_lives
        .iter()
        .any(|(_, count)| count.is_some_and(|count| count > 0))
    {
        let shown = of_lives.map(|(name, number)| format!("{} {name}", count(number.unwrap_or(0))));
        row("journal", shown.join(", "));
    }
    if let Some(seed) = &summary.seed {
        row("seed", seed.to_string());
    }
    if let Some(build) = &summary.build {
        row("build", build.clone());
    }
    row(
        "lines",
        format!(
            "{}, {} of them unreadable",
            count(summary.lines),
            count(summary.unparsed)
        ),
    );
    let runs = summary.runs.as_deref().unwrap_or_default();
    if runs.len() > 1 {
        let _ = writeln!(text, "\n{} processes:", runs.len());
        let has_master = runs.iter().any(|run| run.role == Some("master"));
        for run in runs.iter().take(RUNS_SHOWN_MAX) {
            let role = run.role.unwrap_or_default();
            let file = run.file.as_deref().unwrap_or_default();
            // What slaves did, their master's line says.
            let figures = match has_master && role == "slave" {
                true => String::new(),
                false => format!(
                    "; {}, {}",
                    plural(run.slaves.connected, "slave"),
                    plural(run.tasks.results, "result")
                ),
            };
            let _ = writeln!(text, "  {role:<7}{}{figures} ({file})", head(run));
        }
        if runs.len() > RUNS_SHOWN_MAX {
            let _ = writeln!(text, "  and {} more", runs.len() - RUNS_SHOWN_MAX);
        }
    }
    text
}
