//! What changed, and when: slaves lost at once, none there, nothing coming back, throughput, no tasks, stalls.

use std::collections::BTreeMap;

use super::super::output::figure;
use super::facts::{Facts, Member, Span};
use super::signs::{Begun, Loss};
use super::{ALPHA, Finding, NAMED_MAX, Rank, Weight, chance, clock, count, percent, took};

const SECOND_US: f64 = 1e6;
/// Slaves lost at once are so many at least.
const MASS_MIN: usize = 3;
/// And this share of those that were there; bad from the second on.
const MASS_SHARE_MIN: f64 = 0.05;
const MASS_BAD_SHARE: f64 = 0.2;
/// So many of one subnet or host are bad too.
const MASS_GROUP_MIN: usize = 8;
/// A time without slaves is told from this share of the run on, and bad from the second on; and from this length on.
const NOBODY_SHARE_MIN: f64 = 0.05;
const NOBODY_BAD_SHARE: f64 = 0.25;
const NOBODY_US_MIN: f64 = 30.0 * SECOND_US;
/// A time in which nothing comes back though slaves are at work.
const NOTHING_SHARE_MIN: f64 = 0.02;
const NOTHING_US_MIN: f64 = 60.0 * SECOND_US;
/// It is so many times as long as what nine of ten packets take.
const NOTHING_TIMES: f64 = 4.0;
/// Throughput fell when it is at most this share of what it was.
const FELL_SHARE_MAX: f64 = 0.5;
/// Before and after the fall there is this share of the work.
const FELL_PART_MIN: f64 = 0.1;
const FELL_SPANS_MIN: usize = 5;
/// Slaves had nothing to do for this share of the run; bad from the second on; and from this length on.
const EMPTY_SHARE_MIN: f64 = 0.05;
const EMPTY_BAD_SHARE: f64 = 0.25;
const EMPTY_US_MIN: f64 = 60.0 * SECOND_US;
/// Who is busy less than this share of an interval has nothing to do in it.
const EMPTY_BUSY_MAX: f64 = 0.02;
/// Stalls are bad from this share of the run and this length on.
const HELD_SHARE_MIN: f64 = 0.02;
const HELD_US_MIN: f64 = 5.0 * SECOND_US;
/// Idle slave time, and a tail, are told from these shares on.
const IDLE_MIN: f64 = 0.1;
const TAIL_MIN: f64 = 0.05;

/// The changes that explain others.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// When slaves were lost at once.
    mass: Vec<(i64, i64)>,
}

impl Changes {
    /// Whether a loss at this time was one of many at once.
    pub(super) fn is_mass(&self, us: i64) -> bool {
        self.mass
            .iter()
            .any(|&(from_us, to_us)| (from_us..=to_us).contains(&us))
    }
}

pub(super) fn find(findings: &mut Vec<Finding>, facts: &Facts<'_>) -> Changes {
    let mut changes = Changes::default();
    let nobody = no_slaves(findings, facts);
    mass_losses(findings, facts, &mut changes, nobody);
    held(findings, facts);
    let nothing = nothing_done(findings, facts);
    if facts.signs.has_compute_times() {
        slower(findings, facts);
    } else {
        throughput(findings, facts, nothing);
    }
    queue_empty(findings, facts);
    changes
}

/// The longest time without any slave, before the master sends them away.
fn no_slaves(findings: &mut Vec<Finding>, facts: &Facts<'_>) -> Option<(i64, i64)> {
    if facts.is_of_slaves() {
        return None;
    }
    if facts.members.is_empty() && facts.summary.slaves.rejected > 0 {
        // That they were refused says more.
        return None;
    }
    let mut lives: Vec<(i64, i64)> = facts
        .members
        .iter()
        .map(|member| (member.joined_us, member.end_us))
        .collect();
    lives.sort_unstable();
    let end_us = facts.work_to_us;
    let (mut until_us, mut longest) = (facts.from_us, (0, 0));
    for (from_us, to_us) in lives.into_iter().chain([(end_us, end_us)]) {
        let from_us = from_us.min(end_us);
        if from_us - until_us > longest.1 - longest.0 {
            longest = (until_us, from_us);
        }
        until_us = until_us.max(to_us);
    }
    let us = (longest.1 - longest.0) as f64;
    let share = us / facts.length_us();
    if us < NOBODY_US_MIN || share < NOBODY_SHARE_MIN {
        return None;
    }
    let weight = if share >= NOBODY_BAD_SHARE {
        Weight::Bad
    } else {
        Weight::Note
    };
    let others_us = facts.length_us() - us;
    let usual = facts.sum(|member| member.present_us) / others_us.max(1.0);
    let from = clock(facts.zone, longest.0, facts.length_us());
    let until = clock(facts.zone, longest.1, facts.length_us());
    let text = format!(
        "No slave was there for {}, {} of the run, from {from} to {until}{}.",
        took(us),
        percent(share),
        if facts.members.is_empty() {
            String::new()
        } else {
            format!("; else there were {} on average", figure(usual))
        }
    );
    let finding = Finding::new("no-slaves", weight, text)
        .at(longest.0, Some(longest.1))
        .cost(usual.max(1.0) * us)
        .with(&[("seconds", us / SECOND_US), ("share", share), ("usual", usual)])
        .advise(
            "Look into the batch system's queue and the slaves' logs of that time: were they started, and did they reach the master?",
            "ringmw audit churn",
        );
    findings.push(finding);
    Some(longest)
}

/// Losses so close together that chance would not bring them about.
fn mass_losses(
    findings: &mut Vec<Finding>,
    facts: &Facts<'_>,
    changes: &mut Changes,
    nobody: Option<(i64, i64)>,
) {
    let width_us = (facts.length_us() / 200.0).clamp(1e3, SECOND_US) as i64;
    let mut left: Vec<Loss> = facts
        .signs
        .losses
        .iter()
        .copied()
        .filter(|loss| loss.us <= facts.work_to_us)
        .collect();
    left.sort_by_key(|loss| loss.us);
    while changes.mass.len() < NAMED_MAX {
        let (mut end, mut best) = (0, (0, 0));
        for begin in 0..left.len() {
            while end < left.len() && left[end].us <= left[begin].us + width_us {
                end += 1;
            }
            if end - begin > best.1 - best.0 {
                best = (begin, end);
            }
        }
        let lost: Vec<Loss> = left.drain(best.0..best.1).collect();
        if lost.len() < MASS_MIN {
            return;
        }
        let present = facts.present_at(lost[0].us - 1).max(lost.len());
        let share = lost.len() as f64 / present as f64;
        let windows = facts.length_us() / width_us as f64;
        let mean = (left.len() as f64 + 0.5) / windows;
        let chance = chance::poisson_upper(lost.len() as f64, mean) * windows;
        if chance >= ALPHA {
            return;
        }
        let (from_us, to_us) = (lost[0].us, lost[lost.len() - 1].us);
        let is_told = nobody.is_some_and(|gap| {
            let near_us = (facts.length_us() * 0.02) as i64;
            (gap.0 - near_us..=gap.0).contains(&from_us)
        });
        if share >= MASS_SHARE_MIN {
            changes.mass.push((from_us, to_us));
            if !is_told {
                findings.push(mass_loss(facts, &lost, present, chance));
            }
        }
    }
}

fn mass_loss(facts: &Facts<'_>, lost: &[Loss], present: usize, chance: f64) -> Finding {
    let share = lost.len() as f64 / present as f64;
    let (from_us, to_us) = (lost[0].us, lost[lost.len() - 1].us);
    let mut causes: BTreeMap<&str, u64> = BTreeMap::new();
    for loss in lost {
        *causes.entry(loss.cause).or_default() += 1;
    }
    let cause = causes
        .iter()
        .max_by_key(|cause| cause.1)
        .map_or("", |cause| cause.0);
    // Until there are as many again.
    let (mut until_us, mut absent_us) = (None, 0.0);
    for span in facts.spans.iter().filter(|span| span.from_us > to_us) {
        let length_us = (span.to_us - span.from_us) as f64;
        if span.from_us >= facts.work_to_us || length_us <= 0.0 {
            break;
        }
        let missing_us = present as f64 * length_us - span.present_us;
        if missing_us <= 0.1 * present as f64 * length_us {
            until_us = Some(span.from_us);
            break;
        }
        absent_us += missing_us.min(lost.len() as f64 * length_us);
    }
    let work_us: f64 = lost.iter().map(|loss| loss.work_us as f64).sum();
    let group = common(facts, lost, from_us);
    let is_whole = group.is_some() && lost.len() >= MASS_GROUP_MIN;
    let weight = if share >= MASS_BAD_SHARE || is_whole {
        Weight::Bad
    } else {
        Weight::Note
    };
    let whose = group
        .as_ref()
        .map_or_else(String::new, |(kind, name)| match *kind {
            "subnet" => format!(", all of subnet {name}"),
            _ => format!(", all of host {name}"),
        });
    let text = format!(
        "{} of {} slaves were lost within {} at {} (mostly by {cause}){whose}.",
        count(lost.len() as u64),
        count(present as u64),
        within(to_us - from_us),
        clock(facts.zone, from_us, facts.length_us())
    );
    let mut finding = Finding::new("mass-loss", weight, text)
        .at(from_us, until_us)
        .cost(work_us + absent_us)
        .with(&[
            ("lost", lost.len() as f64),
            ("present", present as f64),
            ("chance", chance),
        ])
        .advise(
            "They have something in common that broke at that time: a switch, a file server, a batch system's limit, a job that was removed.",
            "ringmw audit churn --sheet by_subnet",
        );
    if let Some((kind, name)) = group {
        finding = finding.by(kind, name);
    }
    finding
}

fn within(us: i64) -> String {
    match us {
        0..1000 => "a millisecond".to_owned(),
        1000..10_000_000 => format!("{} s", figure(us as f64 / SECOND_US)),
        _ => took(us as f64),
    }
}

/// What those that were lost have in common, and those that were not have not: a host, else a subnet.
fn common(facts: &Facts<'_>, lost: &[Loss], us: i64) -> Option<(&'static str, String)> {
    let keys: BTreeMap<_, ()> = lost.iter().map(|loss| (loss.key, ())).collect();
    let there = |member: &&Member| member.joined_us < us && us <= member.end_us;
    let group = |of: fn(&Member) -> usize| {
        // Of each group: how many were there, how many were lost.
        let mut groups: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for member in facts.members.iter().filter(there) {
            let group = groups.entry(of(member)).or_default();
            group.0 += 1;
            group.1 += usize::from(keys.contains_key(&member.key));
        }
        let (&index, &(present, hit)) = groups.iter().max_by_key(|group| group.1.1)?;
        let all: (usize, usize) = groups
            .values()
            .fold((0, 0), |sum, group| (sum.0 + group.0, sum.1 + group.1));
        let (others, others_hit) = (all.0 - present, all.1 - hit);
        let is_common = hit * 10 >= present * 8
            && hit * 10 >= all.1 * 8
            && others > 0
            && others_hit * 10 <= others;
        is_common.then_some(index)
    };
    if let Some(host) = group(|member| member.host) {
        return Some(("host", facts.hosts[host].clone()));
    }
    group(|member| member.subnet).map(|subnet| ("subnet", facts.subnets[subnet].clone()))
}

/// The master algorithm held its thread.
fn held(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let stalls = &facts.signs.stalls;
    let Some(&longest) = stalls.iter().max_by_key(|stall| stall.1 - stall.0) else {
        return;
    };
    let all_us = stalls
        .iter()
        .map(|stall| (stall.1 - stall.0) as f64)
        .sum::<f64>();
    let weight = match all_us >= HELD_US_MIN && all_us >= HELD_SHARE_MIN * facts.length_us() {
        true => Weight::Bad,
        false => Weight::Note,
    };
    let at = clock(facts.zone, longest.0, facts.length_us());
    let longest_us = (longest.1 - longest.0) as f64;
    let text = match stalls.len() {
        1 => format!(
            "The master algorithm held its thread for {} at {at}; nothing was handed out meanwhile.",
            took(longest_us)
        ),
        number => format!(
            "The master algorithm held its thread {} times, {} together, the longest {} at {at}; nothing was handed out meanwhile.",
            count(number as u64),
            took(all_us),
            took(longest_us)
        ),
    };
    let slaves = facts.sum(|member| member.present_us) / facts.length_us();
    let finding = Finding::new("master-held", weight, text)
        .at(longest.0, Some(longest.1))
        .cost(slaves * all_us)
        .with(&[
            ("stalls", stalls.len() as f64),
            ("seconds", all_us / SECOND_US),
            ("longest_s", longest_us / SECOND_US),
        ])
        .advise(
            "Do long work of the master algorithm in a task or by blocking(..), so that results are taken meanwhile.",
            "ringmw audit timeline --sheet buckets",
        );
    findings.push(finding);
}

/// Runs of intervals, by index, of which all are so.
fn stretches(spans: &[Span], is_so: impl Fn(&Span) -> bool) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut begin = None;
    for (index, span) in spans.iter().enumerate() {
        match (is_so(span), begin) {
            (true, None) => begin = Some(index),
            (false, Some(from)) => {
                found.push((from, index));
                begin = None;
            }
            _ => {}
        }
    }
    found.extend(begin.map(|from| (from, spans.len())));
    found
}

/// Slaves are at work, and nothing comes back.
fn nothing_done(findings: &mut Vec<Finding>, facts: &Facts<'_>) -> Option<(i64, i64)> {
    let all_results: f64 = facts.spans.iter().map(|span| span.results).sum();
    let packets: f64 = facts.sum(|member| member.packets.packets as f64);
    let all_busy_us: f64 = facts.spans.iter().map(|span| span.busy_us).sum();
    let (from_us, to_us, busy_us) = if all_results == 0.0 {
        if facts.signs.has_results {
            // The window may be shorter than a task.
            return None;
        }
        let from_us = facts.signs.first_sent_us?;
        (from_us, facts.to_us, all_busy_us)
    } else {
        let is_mute = |span: &Span| {
            let length_us = (span.to_us - span.from_us) as f64;
            span.results == 0.0 && span.busy_us > 0.0 && span.stalled_us < 0.5 * length_us
        };
        let (first, last) =
            stretches(&facts.spans, is_mute)
                .into_iter()
                .max_by_key(|&(first, last)| {
                    facts.spans[last - 1].to_us - facts.spans[first].from_us
                })?;
        let (mut from_us, mut to_us) = (facts.spans[first].from_us, facts.spans[last - 1].to_us);
        // The results on either side say it to the microsecond, if nobody was without tasks in between.
        let width_us = facts.spans[first].to_us - facts.spans[first].from_us;
        let is_near = |a: i64, b: i64| a.abs_diff(b) <= width_us.unsigned_abs();
        for gap in &facts.signs.gaps {
            if gap.0 <= from_us && is_near(gap.0, from_us) {
                from_us = gap.0;
                to_us = if is_near(gap.1, to_us) { gap.1 } else { to_us };
            }
        }
        let busy_us: f64 = facts.spans[first..last]
            .iter()
            .map(|span| span.busy_us)
            .sum();
        (from_us, to_us, busy_us)
    };
    let us = (to_us - from_us) as f64;
    if us < NOTHING_US_MIN || us < NOTHING_SHARE_MIN * facts.length_us() || busy_us <= 0.0 {
        return None;
    }
    let mut expected = 0.0;
    if all_results > 0.0 {
        if us < NOTHING_TIMES * facts.signs.packet_us()? {
            return None;
        }
        expected = packets / (all_busy_us - busy_us).max(1.0) * busy_us;
        let windows = (facts.length_us() / us).max(1.0);
        if (-expected).exp() * windows * 16.0 >= ALPHA {
            return None;
        }
    }
    let slaves = busy_us / us;
    let from = clock(facts.zone, from_us, facts.length_us());
    let text = if all_results == 0.0 {
        format!(
            "No result ever came, in {} from {from} on, though {} slaves had tasks.",
            took(us),
            figure(slaves)
        )
    } else {
        format!(
            "Nothing came back for {} from {from} on, though {} slaves had tasks; {} packets were to be expected.",
            took(us),
            figure(slaves),
            count(expected.round() as u64)
        )
    };
    let finding = Finding::new("nothing-done", Weight::Bad, text)
        .at(from_us, Some(to_us))
        .cost(busy_us)
        .with(&[("seconds", us / SECOND_US), ("slaves", slaves), ("expected_packets", expected)])
        .advise(
            "Look what the slaves waited for: a file server, a licence, a lock; py-spy, gdb or /proc/PID/stack on one of them tells.",
            "ringmw audit timeline --sheet buckets",
        );
    findings.push(finding);
    Some((from_us, to_us))
}

/// From a time on, tasks take far longer to compute; by the time at which their packets were begun.
fn slower(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    // What is begun behind the last hand-out is the rest of the longest.
    let last_us = facts.tail.map_or(facts.work_to_us, |tail| tail.0);
    let spans: Vec<(i64, Begun)> = facts
        .signs
        .begun
        .iter()
        .filter(|&(us, begun)| begun.packets > 0.0 && us < last_us)
        .map(|(us, begun)| (us, *begun))
        .collect();
    let mut whole = Begun::default();
    spans.iter().for_each(|(_, begun)| whole.add(begun));
    let mut before = Begun::default();
    let mut best: Option<(f64, usize, Begun)> = None;
    for (index, (_, begun)) in spans.iter().enumerate() {
        before.add(begun);
        let after = rest(&whole, &before);
        let part_min = FELL_PART_MIN * whole.compute_us;
        let is_long = index + 1 >= FELL_SPANS_MIN && spans.len() - index > FELL_SPANS_MIN;
        if !is_long || before.compute_us < part_min || after.compute_us < part_min {
            continue;
        }
        let (own, later) = (
            before.seconds / before.packets,
            after.seconds / after.packets,
        );
        if own > FELL_SHARE_MAX * later {
            continue;
        }
        // Of exponential times, up to what is the same for every split.
        let likelihood = -before.packets * own.ln() - after.packets * later.ln();
        if best.is_none_or(|best| likelihood > best.0) {
            best = Some((likelihood, index + 1, before));
        }
    }
    let Some((_, split, before)) = best else {
        return;
    };
    let after = rest(&whole, &before);
    let (own, later) = (
        before.seconds / before.packets,
        after.seconds / after.packets,
    );
    let spread =
        |begun: &Begun, mean: f64| (begun.squares / begun.packets / mean / mean - 1.0).max(0.25);
    let spread = spread(&before, own).max(spread(&after, later));
    let chance = chance::mean_upper(after.packets, later / own, spread) * spans.len() as f64;
    if before.packets < 10.0 || chance >= ALPHA {
        return;
    }
    let at_us = spans[split].0;
    let text = format!(
        "From {} on, tasks took {} times as long to compute: {} s each, {} s before.",
        clock(facts.zone, at_us, facts.length_us()),
        figure((later / own * 10.0).round() / 10.0),
        figure(later),
        figure(own)
    );
    let finding = Finding::new("throughput-fell", Weight::Bad, text)
        .at(at_us, None)
        .cost(after.compute_us * (1.0 - own / later))
        .with(&[
            ("share", own / later),
            ("s_per_task_before", own),
            ("s_per_task_after", later),
            ("chance", chance),
        ])
        .advise(
            "Either the tasks became longer, or what all slaves share became slower: a file server, a data base, the network.",
            "ringmw audit timeline --sheet buckets",
        );
    findings.push(finding);
}

fn rest(whole: &Begun, part: &Begun) -> Begun {
    Begun {
        packets: whole.packets - part.packets,
        seconds: whole.seconds - part.seconds,
        squares: whole.squares - part.squares,
        compute_us: whole.compute_us - part.compute_us,
    }
}

/// From a time on, slaves that are at work get far less done.
fn throughput(findings: &mut Vec<Finding>, facts: &Facts<'_>, nothing: Option<(i64, i64)>) {
    let last_sent_us = facts.tail.map_or(facts.work_to_us, |tail| tail.0);
    let spans: Vec<&Span> = facts
        .spans
        .iter()
        .filter(|span| {
            let is_mute = nothing.is_some_and(|gap| span.from_us < gap.1 && gap.0 < span.to_us);
            let length_us = (span.to_us - span.from_us) as f64;
            let is_held = span.stalled_us > 0.1 * length_us;
            // Behind the last hand-out only the longest tasks are left.
            span.busy_us > 0.0 && !is_mute && !is_held && span.to_us <= last_sent_us
        })
        .collect();
    if spans.len() < 2 * FELL_SPANS_MIN {
        return;
    }
    let results = facts.sum(|member| member.results as f64);
    let packets = facts.sum(|member| member.packets.packets as f64);
    if results <= 0.0 {
        return;
    }
    let per_result = packets / results;
    let whole: (f64, f64) = spans.iter().fold((0.0, 0.0), |sum, span| {
        (sum.0 + span.results, sum.1 + span.busy_us)
    });
    let mut before = (0.0, 0.0);
    let mut best: Option<(f64, usize, (f64, f64))> = None;
    for (index, span) in spans.iter().enumerate().take(spans.len() - FELL_SPANS_MIN) {
        before = (before.0 + span.results, before.1 + span.busy_us);
        let after = (whole.0 - before.0, whole.1 - before.1);
        let part_min = FELL_PART_MIN * whole.1;
        if index + 1 < FELL_SPANS_MIN || before.1 < part_min || after.1 < part_min {
            continue;
        }
        let (own, later, all) = (before.0 / before.1, after.0 / after.1, whole.0 / whole.1);
        if later > FELL_SHARE_MAX * own {
            continue;
        }
        let part = |count: f64, rate: f64| {
            if count > 0.0 {
                count * (rate / all).ln()
            } else {
                0.0
            }
        };
        let likelihood = part(before.0, own) + part(after.0, later);
        if best.is_none_or(|best| likelihood > best.0) {
            best = Some((likelihood, index + 1, before));
        }
    }
    let Some((_, split, before)) = best else {
        return;
    };
    let after = (whole.0 - before.0, whole.1 - before.1);
    let (own, later) = (before.0 / before.1, after.0 / after.1);
    // Packets come in bulks: how far their numbers are from those of single events.
    let scatter = |spans: &[&Span], rate: f64| {
        let parts = spans.iter().map(|span| {
            let expected = rate * span.busy_us * per_result;
            (span.results * per_result - expected).powi(2) / expected.max(1e-9)
        });
        parts.sum::<f64>() / spans.len() as f64
    };
    let bulk = scatter(&spans[..split], own)
        .max(scatter(&spans[split..], later))
        .max(1.0);
    let expected = own * after.1 * per_result / bulk;
    let found = after.0 * per_result / bulk;
    let chance = chance::poisson_lower(found, expected) * spans.len() as f64;
    if before.0 * per_result / bulk < 10.0 || chance >= ALPHA {
        return;
    }
    let at_us = spans[split].from_us;
    let share = later / own;
    let seconds = |rate: f64| figure(1.0 / rate / SECOND_US);
    let text = format!(
        "From {} on, slaves with tasks got {} of what they got done before: {} s a task, {} s before.",
        clock(facts.zone, at_us, facts.length_us()),
        percent(share),
        seconds(later.max(1e-12)),
        seconds(own)
    );
    let finding = Finding::new("throughput-fell", Weight::Bad, text)
        .at(at_us, None)
        .cost(after.1 * (1.0 - share))
        .with(&[
            ("share", share),
            ("s_per_task_before", 1.0 / own / SECOND_US),
            ("s_per_task_after", 1.0 / later.max(1e-12) / SECOND_US),
            ("chance", chance),
        ])
        .advise(
            "Either the tasks became longer, or what all slaves share became slower: a file server, a data base, the network.",
            "ringmw audit timeline --sheet buckets",
        );
    findings.push(finding);
}

/// Slaves are there and the master has nothing for them.
fn queue_empty(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let present_us = facts.sum(|member| member.present_us);
    let busy_us = facts.sum(|member| member.busy_us);
    if present_us <= 0.0 {
        return;
    }
    if facts.summary.tasks.sent == 0 && busy_us <= 0.0 {
        let weight = match facts.length_us() >= EMPTY_US_MIN {
            true => Weight::Bad,
            false => Weight::Note,
        };
        let text = "No task was ever sent, though slaves were there.".to_owned();
        let finding = Finding::new("no-tasks", weight, text)
            .cost(present_us)
            .advise(
                "Does the master algorithm submit tasks, and to the group that the slaves are in?",
                "ringmw audit stats",
            );
        findings.push(finding);
        return;
    }
    let idle = 1.0 - (busy_us / present_us).min(1.0);
    if idle < IDLE_MIN {
        let computed = facts.sum(|member| member.compute_us) / present_us;
        let had = percent(1.0 - idle);
        let text = match computed > 0.0 {
            true => format!(
                "Slaves had tasks {had} of their time, and computed {} of it.",
                percent(computed.min(1.0))
            ),
            // The trail does not say how long tasks took.
            false => format!("Slaves had tasks {had} of their time."),
        };
        findings.push(Finding::new("busy", Weight::Good, text));
    }
    let is_empty = |span: &Span| {
        span.present_us > 0.0
            && span.busy_us < EMPTY_BUSY_MAX * span.present_us
            && span.from_us < facts.work_to_us
    };
    let longest = stretches(&facts.spans, is_empty)
        .into_iter()
        .map(|(first, last)| {
            let idle_us: f64 = facts.spans[first..last]
                .iter()
                .map(|span| span.present_us - span.busy_us)
                .sum();
            let mut from_us = facts.spans[first].from_us;
            // While the last results are awaited it is a tail.
            if let (Some((sent_us, _)), Some(us)) = (facts.tail, facts.signs.last_result_us())
                && sent_us <= from_us
            {
                from_us = from_us.max(us);
            }
            let to_us = facts.spans[last - 1].to_us.min(facts.work_to_us);
            (from_us, to_us, idle_us)
        })
        .max_by_key(|stretch| stretch.1 - stretch.0);
    let told = longest.filter(|stretch| {
        let us = (stretch.1 - stretch.0) as f64;
        us >= EMPTY_US_MIN && us >= EMPTY_SHARE_MIN * facts.length_us()
    });
    if let Some((from_us, to_us, idle_us)) = told {
        let us = (to_us - from_us) as f64;
        let share = us / facts.length_us();
        let weight = match share >= EMPTY_BAD_SHARE {
            true => Weight::Bad,
            false => Weight::Note,
        };
        // Where nothing was handed out any more, that began with the last hand-out.
        let from_us = match facts.tail {
            Some((sent_us, _)) if sent_us <= from_us => sent_us,
            _ => from_us,
        };
        let text = format!(
            "Slaves had nothing to do for {}, {} of the run: the master was out of tasks from {} on ({} of the idle time).",
            took(us),
            percent(share),
            clock(facts.zone, from_us, facts.length_us()),
            percent(idle_us / (present_us - busy_us).max(1.0))
        );
        let finding = Finding::new("queue-empty", weight, text)
            .at(from_us, Some(to_us))
            .cost(idle_us)
            .with(&[("seconds", us / SECOND_US), ("share", share), ("idle_s", idle_us / SECOND_US)])
            .advise(
                "Submit the next tasks before the last are done, or let the slaves go: allocate fewer.",
                "ringmw audit timeline --sheet buckets",
            );
        findings.push(finding);
    }
    if idle >= IDLE_MIN {
        let rest = if told.is_some() {
            ""
        } else {
            ", spread over the run: slaves waited between tasks"
        };
        let text = format!("{} of slave time was idle{rest}.", percent(idle));
        let finding = Finding::new("idle", Weight::Note, text)
            .ranked(Rank::Consequence)
            .cost(present_us - busy_us)
            .with(&[("share", idle)])
            .advise(
                "Larger packets, tasks submitted earlier, or fewer slaves.",
                "ringmw audit timeline",
            );
        findings.push(finding);
    }
    if let Some((from_us, to_us)) = facts.tail {
        let us = (to_us - from_us) as f64;
        if us > TAIL_MIN * facts.length_us() {
            let text = format!(
                "The tail was {}: so long after the last hand-out came the last result.",
                took(us)
            );
            let finding = Finding::new("tail", Weight::Note, text)
                .at(from_us, Some(to_us))
                .with(&[("seconds", us / SECOND_US)])
                .advise("Submit the longest tasks first.", "ringmw audit timeline");
            findings.push(finding);
        }
    }
}
