//! How the processes ended, who was refused, and what the trail lacks.

use super::super::entry::ExitWord;
use super::facts::{Facts, Life};
use super::{Finding, NAMED_MAX, Rank, Weight, clock, count, plural, took};

/// So many lives of a master that end badly, each shorter than this, are a loop.
const CRASHES_MIN: usize = 3;
const CRASH_LIFE_US_MAX: i64 = 600_000_000;
/// So many refusals are bad where they are many times as many as those that joined.
const REFUSED_MIN: u64 = 3;
const REFUSED_TIMES: u64 = 10;

pub(super) fn find(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    crash_loop(findings, facts);
    ending(findings, facts);
    refused(findings, facts);
    trail(findings, facts);
}

/// Whether a process came to its end as it should.
fn is_clean(life: &Life) -> bool {
    match &life.exit {
        Some(ExitWord::Code(code)) => *code == 0,
        Some(ExitWord::Word(_)) => true,
        None => false,
    }
}

/// The longest row of short lives that end badly, one after the other.
fn crash_loop(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    if facts.is_of_slaves() {
        return;
    }
    let mut longest: &[Life] = &[];
    let mut begin = 0;
    for (index, life) in facts.lives.iter().enumerate() {
        // The last one without an exit line may still run.
        let is_last = index + 1 == facts.lives.len();
        let is_crash = !is_clean(life)
            && life.to_us - life.from_us <= CRASH_LIFE_US_MAX
            && !(is_last && life.exit.is_none());
        if !is_crash {
            begin = index + 1;
            continue;
        }
        if index + 1 - begin > longest.len() {
            longest = &facts.lives[begin..=index];
        }
    }
    let (Some(first), Some(last)) = (longest.first(), longest.last()) else {
        return;
    };
    if longest.len() < CRASHES_MIN {
        return;
    }
    let us = (last.to_us - first.from_us) as f64;
    let reason = longest
        .iter()
        .rev()
        .map(|life| &life.reason)
        .find(|reason| !reason.is_empty());
    let said = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let text = format!(
        "The master crashed {} times in {}, the first time at {}{said}.",
        count(longest.len() as u64),
        took(us),
        clock(facts.zone, first.to_us, us)
    );
    let mut finding = Finding::new("crash-loop", Weight::Bad, text)
        .at(first.to_us, Some(last.to_us))
        .cost(facts.length_us().max(us))
        .with(&[("crashes", longest.len() as f64), ("seconds", us / 1e6)])
        .advise(
            "Read the master's standard error of the first crash; starting it again will not help.",
            "ringmw audit stats",
        );
    if let Some(reason) = reason {
        finding = finding.by("message", reason);
    }
    findings.push(finding);
}

/// How the last process ended, and the signals that it was sent.
fn ending(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    if let Some(life) = facts.lives.last() {
        match &life.exit {
            None => {
                let text = format!(
                    "The trail has no exit line: the process was killed, or it still runs. {} connected at its last line.",
                    match facts.summary.slaves.at_end {
                        1 => "1 slave was".to_owned(),
                        slaves => format!("{} slaves were", count(slaves)),
                    }
                );
                let finding = Finding::new("no-exit", Weight::Bad, text)
                    .ranked(Rank::Consequence)
                    .at(life.to_us, None)
                    .advise(
                        "If it does not run any more: the kernel's log tells of out of memory, the batch system's of its limits.",
                        "ringmw audit follow",
                    );
                findings.push(finding);
            }
            Some(ExitWord::Code(code)) if *code != 0 && life.exit_us.is_some() => {
                let reason = match life.reason.as_str() {
                    "" => "no reason is given",
                    reason => reason,
                };
                let text = format!("The run ended with exit code {code}: {reason}.");
                let finding = Finding::new("exit", Weight::Bad, text)
                    .ranked(Rank::Consequence)
                    .at(life.to_us, None)
                    .by("message", reason)
                    .with(&[("code", f64::from(*code))])
                    .advise("", "ringmw audit stats");
                findings.push(finding);
            }
            _ => {}
        }
    }
    for (us, name) in facts.signals.iter().take(NAMED_MAX) {
        let text = format!(
            "The process was sent {name} at {}.",
            clock(facts.zone, *us, facts.length_us())
        );
        let finding = Finding::new("signal", Weight::Note, text)
            .ranked(Rank::Consequence)
            .at(*us, None)
            .advise("", "ringmw audit stats");
        findings.push(finding);
    }
}

fn refused(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let slaves = &facts.summary.slaves;
    if slaves.rejected == 0 {
        return;
    }
    let is_bad =
        slaves.rejected >= REFUSED_MIN && slaves.rejected >= REFUSED_TIMES * slaves.connected;
    let weight = if is_bad { Weight::Bad } else { Weight::Note };
    let message = facts.signs.refusals.first();
    let said = message.map_or_else(String::new, |(reason, number, _)| {
        format!(", {} of them: {reason}", count(*number))
    });
    let joined = match slaves.connected {
        0 => "nobody joined".to_owned(),
        connected => format!("{} joined", plural(connected, "slave")),
    };
    let were = if slaves.rejected == 1 { "was" } else { "were" };
    let text = format!(
        "{} {were} refused{said}; {joined}.",
        plural(slaves.rejected, "peer")
    );
    let mut finding = Finding::new("refused", weight, text)
        .cost(if is_bad { facts.length_us() } else { 0.0 })
        .with(&[
            ("refused", slaves.rejected as f64),
            ("connected", slaves.connected as f64),
        ])
        .advise(
            "Start slaves of the master's own build, with its member id.",
            "ringmw audit stats",
        );
    finding.at_us = facts
        .signs
        .refusals
        .list
        .iter()
        .map(|message| message.2)
        .min();
    if let Some((reason, ..)) = message {
        finding = finding.by("message", reason);
    }
    findings.push(finding);
}

/// What the trail lacks.
fn trail(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let summary = facts.summary;
    if let Some(dropped @ 1..) = summary.dropped_lines {
        let text = format!(
            "{} never reached the trail: its disk was full or slow. Figures of tasks are too low by those.",
            plural(dropped, "line")
        );
        let mut finding = Finding::new("trail-dropped", Weight::Bad, text)
            .ranked(Rank::Trail)
            .with(&[("lines", dropped as f64)])
            .advise(
                "Give the trail a disk of its own, or bound it by --mw-audit-level default.",
                "ringmw audit stats",
            );
        finding.at_us = facts.signs.first_dropped_us;
        findings.push(finding);
    }
    if summary.unparsed > 0 {
        let first = facts
            .reader
            .notes
            .unparsed
            .first()
            .map_or("", String::as_str);
        let text = format!(
            "{} of {} lines could not be read; the first: {first}",
            count(summary.unparsed),
            count(summary.lines)
        );
        let finding = Finding::new("unreadable", Weight::Note, text)
            .ranked(Rank::Trail)
            .with(&[("lines", summary.unparsed as f64)])
            .advise("", "ringmw audit stats");
        findings.push(finding);
    }
    if summary.clock_steps > 0 {
        let first = facts
            .reader
            .notes
            .clock_steps
            .first()
            .map_or("", String::as_str);
        let times = if summary.clock_steps == 1 {
            "once"
        } else {
            "times"
        };
        let often = match times {
            "once" => "once".to_owned(),
            _ => format!("{} times", count(summary.clock_steps)),
        };
        let text = format!("The clock was set {often}; the first: {first}");
        let finding = Finding::new("clock", Weight::Note, text)
            .ranked(Rank::Trail)
            .with(&[("steps", summary.clock_steps as f64)])
            .advise("Let the clock be slewed, not set.", "ringmw audit stats");
        findings.push(finding);
    }
}
