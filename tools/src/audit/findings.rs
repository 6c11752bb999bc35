//! What a run's figures say in plain words. Each finding stands on figures of the trail and names them.

use super::model::{Crowd, Figures, Model, SlaveTime};
use super::output::{count, figure};
use super::summary::{Exit, Summary};
use super::timeline::{share, tail};
use super::times::{Zone, show_duration};
use super::trail::Reader;

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

pub(crate) type Finding = (Weight, String);

/// A group stands out when it lost so many slaves, and so many times as many an hour of slave time as the rest.
const LOST_MIN: u64 = 4;
const TIMES_MIN: f64 = 3.0;
/// Idle slave time from this share on is told.
const IDLE_MIN: f64 = 0.1;
/// A host is slow from so many times the median on.
const SLOW_TIMES: f64 = 2.0;
const SLOW_RESULTS_MIN: u64 = 10;
const NAMED_MAX: usize = 3;

fn percent(share: f64) -> String {
    match share * 100.0 {
        share if (99.5..100.0).contains(&share) => format!("{share:.1} %"),
        share if share >= 10.0 => format!("{share:.0} %"),
        share => format!("{} %", figure(share)),
    }
}

/// The time of day; with the day where the run is longer than one.
fn clock(zone: &Zone, us: i64, duration_s: f64) -> String {
    let format = match duration_s {
        0.0..600.0 => "%H:%M:%S",
        0.0..86_400.0 => "%H:%M",
        _ => "%Y-%m-%d %H:%M",
    };
    zone.format(format, us)
}

pub(crate) fn find(
    model: &Model,
    summary: &Summary,
    total: &Figures,
    reader: &Reader,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let zone = &reader.zone;
    ending(&mut findings, summary, model, zone);
    idleness(&mut findings, model, summary, zone);
    losses(&mut findings, model, summary);
    failures(&mut findings, model, total);
    slowness(&mut findings, model);
    stalls(&mut findings, model, total, summary, zone);
    trail(&mut findings, summary, total, reader);
    findings.sort_by_key(|finding| finding.0);
    findings
}

fn ending(findings: &mut Vec<Finding>, summary: &Summary, model: &Model, zone: &Zone) {
    let mut add = |weight, text: String| findings.push((weight, text));
    match &summary.exit {
        None => add(
            Weight::Bad,
            format!(
                "The trail has no exit line: the process was killed, or it still runs. {} slaves were connected at its last line.",
                count(summary.slaves.at_end)
            ),
        ),
        Some(Exit::Code(0)) => {}
        Some(Exit::Code(code)) => add(
            Weight::Bad,
            format!(
                "The run ended with exit code {code}: {}.",
                summary
                    .exit_reason
                    .as_deref()
                    .unwrap_or("no reason is given")
            ),
        ),
        Some(Exit::Word(_)) => {}
    }
    for (us, name) in model.signals.iter().take(NAMED_MAX) {
        add(
            Weight::Note,
            format!(
                "The process was sent {name} at {}.",
                clock(zone, *us, summary.duration_s)
            ),
        );
    }
}

fn idleness(findings: &mut Vec<Finding>, model: &Model, summary: &Summary, zone: &Zone) {
    let all = model.all();
    let Some(busy) = share(all.time.busy_us, all.time.present_us) else {
        return;
    };
    if summary.tasks.sent == 0 {
        if summary.slaves.peak > 0 {
            findings.push((
                Weight::Bad,
                "No task was ever sent, though slaves were there.".to_owned(),
            ));
        }
        return;
    }
    let idle = 1.0 - busy;
    if idle < IDLE_MIN {
        findings.push((
            Weight::Good,
            format!("Slaves were busy {} of their time.", percent(busy)),
        ));
        return;
    }
    // From when on were most slaves idle, to the end? There the master had nothing for them.
    let mut out_from = None;
    let (mut idle_after, mut present_after) = (0.0, 0.0);
    for (us, cell) in model.intervals.iter().rev() {
        let time = cell.time;
        if time.present_us > 0 && 2 * time.busy_us >= time.present_us {
            break;
        }
        if time.present_us > 0 {
            out_from = Some(us);
            idle_after += time.idle_us() as f64;
            present_after += time.present_us as f64;
        }
    }
    let idle_us = (all.time.present_us - all.time.busy_us).max(1) as f64;
    let text = format!("{} of slave time was idle", percent(idle));
    let weight = if idle >= 0.3 {
        Weight::Bad
    } else {
        Weight::Note
    };
    match out_from {
        Some(us)
            if idle_after / idle_us > 0.3 && present_after < all.time.present_us as f64 * 0.999 =>
        {
            let at = clock(zone, us, summary.duration_s);
            let part = percent(idle_after / idle_us);
            findings.push((
                weight,
                format!(
                    "{text}: the master was out of tasks from {at} on ({part} of the idle time)."
                ),
            ));
        }
        _ => findings.push((
            weight,
            format!("{text}, spread over the run: slaves waited between tasks."),
        )),
    }
    if let Some((from_us, to_us)) = tail(model)
        && (to_us - from_us) as f64 > 0.05 * summary.duration_s * 1e6
    {
        let took = show_duration(to_us - from_us);
        findings.push((
            Weight::Note,
            format!("The tail was {took}: so long after the last hand-out came the last result."),
        ));
    }
}

fn rest_of(all: &Crowd, part: &Crowd) -> Crowd {
    Crowd {
        slaves: all.slaves - part.slaves,
        left: all.left - part.left,
        lost: all.lost - part.lost,
        results: all.results - part.results,
        failed: all.failed - part.failed,
        time: SlaveTime {
            present_us: all.time.present_us - part.time.present_us,
            busy_us: all.time.busy_us - part.time.busy_us,
            compute_us: all.time.compute_us - part.time.compute_us,
        },
        results_compute_us: all
            .results_compute_us
            .saturating_sub(part.results_compute_us),
        absent_us: 0,
    }
}

/// `10.1.7.0/24` as people say it: `10.1.7.x`.
fn spoken(subnet: &str) -> String {
    match subnet.strip_suffix(".0/24") {
        Some(net) => format!("{net}.x"),
        None => subnet.to_owned(),
    }
}

fn losses(findings: &mut Vec<Finding>, model: &Model, summary: &Summary) {
    let all = model.all();
    if all.lost == 0 {
        if summary.slaves.disconnected > 0 {
            findings.push((Weight::Good, "No slave was lost.".to_owned()));
        }
        return;
    }
    let causes = summary
        .slaves
        .disconnected_by
        .iter()
        .filter(|&(&cause, &count)| cause != "shutdown" && count > 0);
    let mut causes: Vec<_> = causes.map(|(cause, count)| (*count, *cause)).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.0));
    let causes: Vec<String> = causes
        .iter()
        .map(|(number, cause)| format!("{} by {cause}", count(*number)))
        .collect();
    let lost =
        summary.slaves.disconnected - summary.slaves.disconnected_by.get("shutdown").unwrap_or(&0);
    let recycled = summary.tasks.recycled;
    findings.push((
        Weight::Note,
        format!(
            "{} slaves were lost ({}); {} tasks had to be sent again.",
            count(lost),
            causes.join(", "),
            count(recycled)
        ),
    ));
    let subnets = model
        .by_subnet()
        .into_iter()
        .map(|(subnet, crowd)| (spoken(&subnet.to_string()), crowd))
        .collect();
    let hosts = model
        .by_host()
        .into_iter()
        .map(|(host, crowd)| (host.to_owned(), crowd))
        .collect();
    if !stand_out(findings, &all, subnets, "Hosts") {
        stand_out(findings, &all, hosts, "Host");
    }
}

/// Tells of groups that lose far more slaves in their time than the rest; whether there were any.
fn stand_out(
    findings: &mut Vec<Finding>,
    all: &Crowd,
    groups: Vec<(String, Crowd)>,
    word: &str,
) -> bool {
    let hours = |crowd: &Crowd| crowd.time.present_us as f64 / 3.6e9;
    let mut found: Vec<(f64, String)> = Vec::new();
    for (name, crowd) in &groups {
        let rest = rest_of(all, crowd);
        if crowd.lost < LOST_MIN
            || rest.slaves < LOST_MIN
            || crowd.time.present_us == 0
            || rest.time.present_us == 0
        {
            continue;
        }
        let (own, others) = (
            crowd.lost as f64 / hours(crowd),
            rest.lost as f64 / hours(&rest),
        );
        // Where the rest lost none, they are held to half a loss.
        if own < TIMES_MIN * others.max(0.5 / hours(&rest)) {
            continue;
        }
        let verb = if word == "Hosts" { "lose" } else { "loses" };
        let told = |crowd: &Crowd| {
            format!(
                "{} in {} of slave time",
                count(crowd.lost),
                show_duration(crowd.time.present_us)
            )
        };
        let text = if rest.lost > 0 {
            let times = figure((own / others * 10.0).round() / 10.0);
            format!(
                "{word} {name} {verb} {times} times as many slaves as the rest ({}, against {}).",
                told(crowd),
                told(&rest)
            )
        } else {
            format!(
                "{word} {name} {verb} slaves ({}), the rest none.",
                told(crowd)
            )
        };
        found.push((own, text));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let is_any = !found.is_empty();
    findings.extend(
        found
            .into_iter()
            .take(NAMED_MAX)
            .map(|(_, text)| (Weight::Bad, text)),
    );
    is_any
}

fn failures(findings: &mut Vec<Finding>, model: &Model, total: &Figures) {
    if total.unrunnable > 0 {
        findings.push((
            Weight::Bad,
            format!("{} tasks could not be run.", count(total.unrunnable)),
        ));
    }
    if total.failed == 0 {
        return;
    }
    let mut hosts = model.by_host();
    hosts.sort_by_key(|(_, crowd)| std::cmp::Reverse(crowd.failed));
    let all = model.all();
    let (host, worst) = &hosts[0];
    let rest = rest_of(&all, worst);
    let own = worst.failed as f64 / worst.results.max(1) as f64;
    let others = rest.failed as f64 / rest.results.max(1) as f64;
    if hosts.len() > 1 && rest.results > 0 && worst.failed >= 3 && own >= TIMES_MIN * others {
        let others = match rest.failed {
            0 => "the others none".to_owned(),
            failed => format!("the others {} of {}", count(failed), count(rest.results)),
        };
        let text = format!(
            "Host {host} failed {} of {} tasks, {others}.",
            count(worst.failed),
            count(worst.results)
        );
        findings.push((Weight::Bad, text));
    } else {
        let text = format!(
            "{} of {} results were failures.",
            count(total.failed),
            count(total.results)
        );
        findings.push((Weight::Bad, text));
    }
    let mut messages: Vec<_> = model.failures.iter().collect();
    messages.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    if let Some((message, number)) = messages.first() {
        let short: String = message.chars().take(160).collect();
        findings.push((
            Weight::Note,
            format!(
                "The most frequent failure, {} times in the trail: {short}",
                count(**number)
            ),
        ));
    }
}

fn slowness(findings: &mut Vec<Finding>, model: &Model) {
    let hosts = model.by_host();
    let enough = hosts
        .iter()
        .filter(|(_, crowd)| crowd.results >= SLOW_RESULTS_MIN);
    let mut ranked: Vec<(f64, &str)> = enough
        .filter_map(|(host, crowd)| Some((crowd.seconds_per_result()?, *host)))
        .collect();
    if ranked.len() < 3 {
        return;
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let median = ranked[ranked.len() / 2].0;
    let slow: Vec<_> = ranked
        .iter()
        .take_while(|host| median > 0.0 && host.0 >= SLOW_TIMES * median)
        .collect();
    for (seconds, host) in slow.iter().take(NAMED_MAX) {
        let times = figure((seconds / median * 10.0).round() / 10.0);
        let text = format!(
            "Host {host} needs {times} times as long for a task as the median host ({} s against {} s).",
            figure(*seconds),
            figure(median)
        );
        findings.push((Weight::Note, text));
    }
    if slow.len() > NAMED_MAX {
        findings.push((
            Weight::Note,
            format!(
                "{} more hosts need twice the median's time or more.",
                slow.len() - NAMED_MAX
            ),
        ));
    }
}

fn stalls(
    findings: &mut Vec<Finding>,
    model: &Model,
    total: &Figures,
    summary: &Summary,
    zone: &Zone,
) {
    if total.stalls == 0 {
        return;
    }
    let at = clock(zone, model.stall.at_us, summary.duration_s);
    let longest = show_duration(model.stall.us);
    let text = match total.stalls {
        1 => format!(
            "The master algorithm held its thread for {longest} at {at}; nothing was handed out meanwhile."
        ),
        stalls => format!(
            "The master algorithm held its thread {} times, {} together, the longest {longest} at {at}; nothing was handed out meanwhile.",
            count(stalls),
            show_duration(total.stalled_us)
        ),
    };
    findings.push((Weight::Bad, text));
}

fn trail(findings: &mut Vec<Finding>, summary: &Summary, total: &Figures, reader: &Reader) {
    if total.dropped_lines > 0 {
        let text = format!(
            "{} lines never reached the trail, {} of them about packets: its disk was full or slow. Figures of tasks are too low by those.",
            count(total.dropped_lines),
            count(total.dropped_packets)
        );
        findings.push((Weight::Bad, text));
    }
    if summary.unparsed > 0 {
        let first = reader.notes.unparsed.first().map_or("", String::as_str);
        findings.push((
            Weight::Note,
            format!(
                "{} of {} lines could not be read; the first: {first}",
                count(summary.unparsed),
                count(summary.lines)
            ),
        ));
    }
    if summary.clock_steps > 0 {
        let first = reader.notes.clock_steps.first().map_or("", String::as_str);
        findings.push((
            Weight::Note,
            format!(
                "The clock was set {} times; the first: {first}",
                count(summary.clock_steps)
            ),
        ));
    }
    if summary.slaves.rejected > 0 {
        findings.push((
            Weight::Note,
            match summary.slaves.rejected {
                1 => "1 peer was refused.".to_owned(),
                peers => format!("{} peers were refused.", count(peers)),
            },
        ));
    }
}
