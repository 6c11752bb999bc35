//! Who loses, fails or is slow far more than the others: slaves, hosts, subnets.

use std::collections::BTreeMap;

use super::super::output::figure;
use super::changes::Changes;
use super::facts::{Facts, Member};
use super::signs::{CLASSES, OCTAVE};
use super::{ALPHA, Finding, NAMED_MAX, Weight, chance, count, percent, plural, took};

/// A task that has met the ends of so many slaves is to blame for them.
const CRASHES_BAD: u32 = 3;
/// A group stands out when it has so many times the share of the rest.
const TIMES_MIN: f64 = 3.0;
/// And so many losses, or packets with failures.
const HITS_MIN: f64 = 3.0;
/// Losses of one host so close together are one: a machine that went down with all its slaves.
const TOGETHER_US: i64 = 1_000_000;
/// Without this share of all results failing, failures that strike everybody are only worth a note.
const FAILED_MIN: f64 = 0.05;
/// So many fail in runs that go well; what is above by chance is no more than a note.
const FAILED_USUAL: f64 = 0.02;
/// What is above is bad for whoever stands out.
const OWN_FAILED_MIN: f64 = 0.05;
/// A host is slow from so many times the median on, and bad from so many.
const SLOW_TIMES: f64 = 2.0;
const SLOW_BAD_TIMES: f64 = 3.0;

/// The smallest part that is judged, and the groups that it is in, the largest first.
struct Leaf {
    groups: Vec<usize>,
    hits: f64,
    trials: f64,
}

/// Who stands out: the level, the group, its hits and trials, and the rest's.
#[derive(Debug, Clone, Copy)]
struct Outlier {
    level: usize,
    group: usize,
    hits: f64,
    trials: f64,
    rest_hits: f64,
    rest_trials: f64,
    chance: f64,
}

impl Outlier {
    fn times(&self) -> f64 {
        let others = self.rest_hits.max(0.5) / self.rest_trials.max(1e-9);
        self.hits / self.trials.max(1e-9) / others
    }
}

/// The groups of a level, and how far each is above the rest; the furthest first.
fn outliers(leaves: &[&Leaf], level: usize, upper: fn(&Outlier) -> f64) -> Vec<Outlier> {
    let mut groups: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
    for leaf in leaves {
        let group = groups.entry(leaf.groups[level]).or_default();
        group.0 += leaf.hits;
        group.1 += leaf.trials;
    }
    let hits: f64 = groups.values().map(|group| group.0).sum();
    let trials: f64 = groups.values().map(|group| group.1).sum();
    let looked_at = groups.len() as f64;
    let mut outliers: Vec<Outlier> = groups
        .into_iter()
        .filter(|(_, group)| group.0 > 0.0 && group.1 > 0.0 && group.1 < trials)
        .map(|(group, (own_hits, own_trials))| {
            let mut outlier = Outlier {
                level,
                group,
                hits: own_hits,
                trials: own_trials,
                rest_hits: hits - own_hits,
                rest_trials: trials - own_trials,
                chance: 0.0,
            };
            outlier.chance = upper(&outlier) * looked_at;
            outlier
        })
        .collect();
    outliers.sort_by(|a, b| {
        a.chance
            .total_cmp(&b.chance)
            .then(b.times().total_cmp(&a.times()))
    });
    outliers
}

fn stands_out(outlier: &Outlier) -> bool {
    outlier.hits >= HITS_MIN && outlier.chance < ALPHA && outlier.times() >= TIMES_MIN
}

/// Those that stand out, at the level that explains it: a subnet only where it would stand out without its worst host, a
/// host only where it would without its worst slave, or has no other.
fn culprits(leaves: &[Leaf], upper: fn(&Outlier) -> f64) -> Vec<Outlier> {
    let mut left: Vec<&Leaf> = leaves.iter().collect();
    let mut found = Vec::new();
    let levels = leaves.first().map_or(0, |leaf| leaf.groups.len());
    while found.len() < NAMED_MAX {
        let best = (0..levels).find_map(|level| {
            let outlier = *outliers(&left, level, upper).first()?;
            (stands_out(&outlier) && (level + 1 == levels || is_of_all(&left, &outlier, upper)))
                .then_some(outlier)
        });
        let Some(outlier) = best else {
            break;
        };
        left.retain(|leaf| leaf.groups[outlier.level] != outlier.group);
        found.push(outlier);
    }
    found
}

/// Whether a group stands out without the worst of its parts too.
fn is_of_all(leaves: &[&Leaf], outlier: &Outlier, upper: fn(&Outlier) -> f64) -> bool {
    let level = outlier.level;
    let is_inside = |leaf: &&&Leaf| leaf.groups[level] == outlier.group;
    let mut parts: BTreeMap<usize, f64> = BTreeMap::new();
    for leaf in leaves.iter().filter(is_inside) {
        *parts.entry(leaf.groups[level + 1]).or_default() += leaf.hits;
    }
    let worst = parts
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|part| *part.0);
    if parts.len() < 2 {
        return false;
    }
    let without: Vec<&Leaf> = leaves
        .iter()
        .copied()
        .filter(|leaf| leaf.groups[level] != outlier.group || Some(leaf.groups[level + 1]) != worst)
        .collect();
    // One of its parts is looked at, not all groups.
    outliers(&without, level, upper)
        .iter()
        .find(|rest| rest.group == outlier.group)
        .is_some_and(|rest| rest.times() >= TIMES_MIN && upper(rest) < 1e-3)
}

/// `10.1.7.0/24` as people say it: `10.1.7.x`.
fn spoken(subnet: &str) -> String {
    match subnet.strip_suffix(".0/24") {
        Some(net) => format!("{net}.x"),
        None => subnet.to_owned(),
    }
}

/// Losses: of all, and of those that lose far more.
pub(super) fn losses(findings: &mut Vec<Finding>, facts: &Facts<'_>, changes: &Changes) {
    let summary = facts.summary;
    let shutdown = summary
        .slaves
        .disconnected_by
        .get("shutdown")
        .copied()
        .unwrap_or(0);
    let lost = summary.slaves.disconnected - shutdown;
    if lost == 0 {
        if summary.slaves.disconnected > 0 && !facts.is_of_slaves() {
            findings.push(Finding::new(
                "losses",
                Weight::Good,
                "No slave was lost.".to_owned(),
            ));
        }
        return;
    }
    let work_us: f64 = facts
        .signs
        .losses
        .iter()
        .map(|loss| loss.work_us as f64)
        .sum();
    let mut causes: Vec<(u64, &str)> = summary
        .slaves
        .disconnected_by
        .iter()
        .filter(|&(&cause, &count)| cause != "shutdown" && count > 0)
        .map(|(&cause, &count)| (count, cause))
        .collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.0));
    let causes: Vec<String> = causes
        .iter()
        .map(|(number, cause)| format!("{} by {cause}", count(*number)))
        .collect();
    let were = if lost == 1 { "was" } else { "were" };
    let reason = facts.signs.reasons.first();
    let said = reason.map_or_else(String::new, |(reason, number, _)| {
        format!(", {} of them: {reason}", count(*number))
    });
    let text = format!(
        "{} {were} lost ({}{said}); {} had to be sent again.",
        plural(lost, "slave"),
        causes.join(", "),
        plural(summary.tasks.recycled, "task")
    );
    let mut finding = Finding::new("losses", Weight::Note, text)
        .cost(work_us)
        .with(&[
            ("lost", lost as f64),
            ("recycled", summary.tasks.recycled as f64),
        ])
        .advise("", "ringmw audit churn --sheet by_reason");
    if let Some((reason, ..)) = reason {
        finding = finding.by("message", reason);
    }
    findings.push(finding);
    losing(findings, facts, changes);
}

fn losing(findings: &mut Vec<Finding>, facts: &Facts<'_>, changes: &Changes) {
    let by_key: BTreeMap<_, &Member> = facts
        .members
        .iter()
        .map(|member| (member.key, member))
        .collect();
    let mut hosts: BTreeMap<usize, (Leaf, i64, f64, u64)> = BTreeMap::new();
    for member in &facts.members {
        let host = hosts.entry(member.host).or_insert_with(|| {
            let leaf = Leaf {
                groups: vec![member.subnet, member.host],
                hits: 0.0,
                trials: 0.0,
            };
            (leaf, i64::MIN, 0.0, 0)
        });
        host.0.trials += member.present_us;
    }
    for loss in &facts.signs.losses {
        let host = by_key
            .get(&loss.key)
            .and_then(|member| hosts.get_mut(&member.host));
        let Some((leaf, last_us, work_us, lost)) = host else {
            continue;
        };
        if changes.is_mass(loss.us) {
            continue;
        }
        // Machines that go down take all their slaves with them: that is one loss, not several.
        if loss.us.saturating_sub(*last_us) > TOGETHER_US {
            leaf.hits += 1.0;
        }
        *last_us = loss.us;
        *work_us += loss.work_us as f64;
        *lost += 1;
    }
    let leaves: Vec<Leaf> = hosts
        .values()
        .map(|(leaf, ..)| Leaf {
            groups: leaf.groups.clone(),
            hits: leaf.hits,
            trials: leaf.trials,
        })
        .collect();
    // Given all losses, those of a group are a share of them like its share of the time.
    let upper = |outlier: &Outlier| {
        let share = outlier.trials / (outlier.trials + outlier.rest_trials);
        chance::binomial_upper(outlier.hits, outlier.hits + outlier.rest_hits, share)
    };
    for outlier in culprits(&leaves, upper) {
        let inside = hosts
            .values()
            .filter(|(leaf, ..)| leaf.groups[outlier.level] == outlier.group);
        let (work_us, lost) = inside.fold((0.0, 0), |sum, host| (sum.0 + host.2, sum.1 + host.3));
        let told = |hits: f64, trials: f64| {
            let times = if hits == 1.0 { "once" } else { "times" };
            match times {
                "once" => format!("once in {} of slave time", took(trials)),
                _ => format!(
                    "{} times in {} of slave time",
                    count(hits as u64),
                    took(trials)
                ),
            }
        };
        let (kind, name, subject, verb) = match outlier.level {
            0 => {
                let name = facts.subnets[outlier.group].clone();
                (
                    "subnet",
                    name.clone(),
                    format!("Hosts {}", spoken(&name)),
                    "lose",
                )
            }
            _ => {
                let name = facts.hosts[outlier.group].clone();
                ("host", name.clone(), format!("Host {name}"), "loses")
            }
        };
        let text = if outlier.rest_hits > 0.0 {
            format!(
                "{subject} {verb} {} times as many slaves as the rest ({}, against {}).",
                figure((outlier.times() * 10.0).round() / 10.0),
                told(outlier.hits, outlier.trials),
                told(outlier.rest_hits, outlier.rest_trials)
            )
        } else {
            format!(
                "{subject} {verb} slaves ({}), the rest none.",
                told(outlier.hits, outlier.trials)
            )
        };
        let finding = Finding::new("losing", Weight::Bad, text)
            .by(kind, name)
            .cost(work_us.max(1.0))
            .with(&[
                ("lost", lost as f64),
                ("times", outlier.times()),
                ("chance", outlier.chance),
            ])
            .advise(
                "Look at its machines: memory, disk, network, the batch system's log; leave it out until it is mended.",
                "ringmw audit churn --sheet by_host",
            );
        findings.push(finding);
    }
}

/// A task that has met more slaves' ends than chance would have it, and that is not given up, or not yet.
fn charged(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let Some(most) = facts.signs.charged else {
        return;
    };
    let is_given_up = matches!(facts.signs.unrunnable, Some((_, task, _)) if task == most.task);
    if most.crashes < CRASHES_BAD || is_given_up {
        return;
    }
    let (task, crashes) = (most.task, most.crashes);
    let limit = match most.limit {
        0 => "it is never given up (--mw-crash-limit 0)".to_owned(),
        limit => format!("it is given up at {limit} (--mw-crash-limit)"),
    };
    let text = format!("TASK-{task} was under way at the ends of {crashes} slaves; {limit}.");
    let mut finding = Finding::new("crashing", Weight::Bad, text)
        .by("task", format!("TASK-{task}"))
        .with(&[("crashes", f64::from(crashes))])
        .cost(f64::from(crashes) * facts.task_us())
        .advise(
            "Run it by itself; the trail's charged and lost lines say how each of them ended.",
            "ringmw audit attempts --of tasks",
        );
    finding.at_us = Some(most.us);
    findings.push(finding);
}

/// Failures: who has far more than the others, or what they have in common.
pub(super) fn failures(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    let tasks = &facts.summary.tasks;
    if let Some(unrunnable @ 1..) = tasks.unrunnable {
        let first = facts.signs.unrunnable.as_ref();
        let tasks = plural(unrunnable, "task");
        let text = match (first, unrunnable) {
            (None, _) => format!("{tasks} could not be run."),
            (Some((_, task, reason)), 1) => format!("TASK-{task} could not be run: {reason}."),
            (Some((_, task, reason)), _) => {
                format!("{tasks} could not be run. The first was TASK-{task}: {reason}.")
            }
        };
        let mut finding = Finding::new("unrunnable", Weight::Bad, text)
            .with(&[("tasks", unrunnable as f64)])
            .cost(unrunnable as f64 * facts.task_us())
            .advise(
                "The trail's unrunnable and charged lines name the tasks and why.",
                "ringmw audit attempts --of tasks",
            );
        if let Some((at_us, task, reason)) = first {
            finding = finding
                .by("task", format!("TASK-{task}"))
                .by("message", reason);
            finding.at_us = Some(*at_us);
        }
        findings.push(finding);
    }
    charged(findings, facts);
    let failed = tasks.failed.unwrap_or(0);
    if failed == 0 {
        return;
    }
    let leaves: Vec<Leaf> = facts
        .members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.packets.packets > 0)
        .map(|(index, member)| Leaf {
            groups: vec![member.subnet, member.host, index],
            hits: member.packets.failing as f64,
            trials: member.packets.packets as f64,
        })
        .collect();
    // Packets are judged, not tasks: those of one packet may fail together.
    let upper = |outlier: &Outlier| {
        let share = (outlier.rest_hits + 0.5) / (outlier.rest_trials + 1.0);
        chance::binomial_upper(outlier.hits, outlier.trials, share.min(1.0))
    };
    let mut is_any = false;
    for outlier in culprits(&leaves, upper) {
        is_any |= failing(findings, facts, &outlier);
    }
    if !is_any {
        failing_everywhere(findings, facts, failed);
    }
}

/// Tells of one that fails more than the others; whether it is bad.
fn failing(findings: &mut Vec<Finding>, facts: &Facts<'_>, outlier: &Outlier) -> bool {
    let group_of = |index: usize, member: &Member| match outlier.level {
        0 => member.subnet,
        1 => member.host,
        _ => index,
    };
    let inside: Vec<&Member> = facts
        .members
        .iter()
        .enumerate()
        .filter(|&(index, member)| group_of(index, member) == outlier.group)
        .map(|(_, member)| member)
        .collect();
    let sum = |of: fn(&Member) -> u64| inside.iter().map(|member| of(member)).sum::<u64>();
    let (failed, results) = (sum(|member| member.failed), sum(|member| member.results));
    let all_failed = facts.sum(|member| member.failed as f64) as u64;
    let all_results = facts.sum(|member| member.results as f64) as u64;
    let own = failed as f64 / results.max(1) as f64;
    let weight = if own >= OWN_FAILED_MIN {
        Weight::Bad
    } else {
        Weight::Note
    };
    let host = &facts.hosts[inside[0].host];
    let is_alone = !facts
        .members
        .iter()
        .any(|member| member.host == inside[0].host && member.key != inside[0].key);
    let mut culprits = Vec::new();
    let subject = match outlier.level {
        0 => {
            let name = &facts.subnets[outlier.group];
            culprits.push(("subnet", name.clone()));
            format!("Hosts {}", spoken(name))
        }
        2 if !is_alone => {
            let name = format!("SLAVE-{}", inside[0].key.1);
            culprits.push(("slave", name.clone()));
            culprits.push(("host", host.clone()));
            format!("{name} on {host}")
        }
        _ => {
            culprits.push(("host", host.clone()));
            if is_alone {
                culprits.push(("slave", format!("SLAVE-{}", inside[0].key.1)));
            }
            format!("Host {host}")
        }
    };
    let others = match all_failed - failed {
        0 => "the others none".to_owned(),
        rest => format!(
            "the others {} of {}",
            count(rest),
            count(all_results - results)
        ),
    };
    let keys: BTreeMap<_, ()> = inside.iter().map(|member| (member.key, ())).collect();
    let mut messages: BTreeMap<u32, u64> = BTreeMap::new();
    for (&(message, key), number) in &facts.signs.failures_of {
        if keys.contains_key(&key) {
            *messages.entry(message).or_default() += number;
        }
    }
    let message = messages
        .iter()
        .max_by_key(|message| message.1)
        .map(|(&message, _)| facts.signs.failures.list[message as usize].0.clone());
    let said = message.as_ref().map_or_else(String::new, |message| {
        format!(" Mostly: {}", message.chars().take(160).collect::<String>())
    });
    let text = format!(
        "{subject} failed {} of {} tasks, {others}.{said}",
        count(failed),
        count(results)
    );
    let mut finding = Finding::new("failing", weight, text)
        .cost(failed as f64 * facts.task_us())
        .with(&[
            ("failed", failed as f64),
            ("results", results as f64),
            ("chance", outlier.chance),
        ])
        .advise(
            "Take it out of the pool, and run one of its tasks there by hand.",
            "ringmw audit timeline --sheet slaves --format csv",
        );
    for (kind, name) in culprits {
        finding = finding.by(kind, name);
    }
    if let Some(message) = message {
        finding = finding.by("message", message);
    }
    findings.push(finding);
    weight == Weight::Bad
}

fn failing_everywhere(findings: &mut Vec<Finding>, facts: &Facts<'_>, failed: u64) {
    let results = facts.summary.tasks.results;
    let share = failed as f64 / results.max(1) as f64;
    let chance = chance::binomial_upper(failed as f64, results as f64, FAILED_USUAL);
    let weight = if share >= FAILED_MIN && chance < ALPHA {
        Weight::Bad
    } else {
        Weight::Note
    };
    let told: u64 = facts.signs.algorithms.values().sum();
    let algorithm = facts
        .signs
        .algorithms
        .iter()
        .max_by_key(|algorithm| algorithm.1)
        .filter(|algorithm| *algorithm.1 as f64 >= 0.9 * told as f64);
    let message = facts.signs.failures.first();
    let of = algorithm.map_or_else(String::new, |(name, _)| format!(", of algorithm {name}"));
    let said = message.map_or_else(String::new, |(message, number, _)| {
        let short: String = message.chars().take(160).collect();
        format!(
            " The most frequent, {} of {} told: {short}",
            count(*number),
            count(told)
        )
    });
    let text = format!(
        "{} of {} results were failures ({}){of}, on all hosts alike.{said}",
        count(failed),
        count(results),
        percent(share)
    );
    let mut finding = Finding::new("failing", weight, text)
        .cost(facts.sum(|member| member.packets.failed_us))
        .with(&[("failed", failed as f64), ("results", results as f64)])
        .advise(
            "It is not a host: run one of the failed tasks by hand, with its arguments.",
            "ringmw audit attempts --of tasks",
        );
    if let Some((name, _)) = algorithm {
        finding = finding.by("algorithm", name);
    }
    if let Some((message, ..)) = message {
        finding = finding.by("message", message);
    }
    findings.push(finding);
}

/// Hosts that need far longer for a task than the others. What is judged is how many of their packets are slow ones,
/// so that a few long tasks make no slow host, however the times of tasks are spread.
pub(super) fn slowness(findings: &mut Vec<Finding>, facts: &Facts<'_>) {
    struct Host {
        index: usize,
        packets: f64,
        slow: f64,
        mean: f64,
        compute_us: f64,
    }
    let mut classes = vec![0u64; CLASSES];
    for member in &facts.members {
        for &(class, packets) in &member.packets.classes {
            classes[usize::from(class)] += u64::from(packets);
        }
    }
    let all: u64 = classes.iter().sum();
    let mut seen = 0;
    let Some(middle) = classes.iter().position(|&packets| {
        seen += packets;
        seen * 2 >= all && seen > 0
    }) else {
        return;
    };
    // More than twice the median, whatever part of its class that is in.
    let slow_class = middle + OCTAVE + 1;
    let mut sums: BTreeMap<usize, (f64, f64, f64, f64, f64)> = BTreeMap::new();
    for member in &facts.members {
        let sum = sums.entry(member.host).or_default();
        sum.0 += member.packets.timed;
        sum.1 += member.packets.seconds;
        sum.2 += member.compute_us;
        for &(class, packets) in &member.packets.classes {
            sum.3 += f64::from(packets);
            if usize::from(class) >= slow_class {
                sum.4 += f64::from(packets);
            }
        }
    }
    let mut hosts: Vec<Host> = sums
        .into_iter()
        .filter(|(_, sum)| sum.0 >= 1.0 && sum.1 > 0.0)
        .map(|(index, sum)| Host {
            index,
            packets: sum.3,
            slow: sum.4,
            mean: sum.1 / sum.0,
            compute_us: sum.2,
        })
        .collect();
    if hosts.len() < 3 {
        return;
    }
    let mut means: Vec<f64> = hosts.iter().map(|host| host.mean).collect();
    means.sort_by(f64::total_cmp);
    let median = means[means.len() / 2];
    let looked_at = hosts.len() as f64;
    let packets: f64 = hosts.iter().map(|host| host.packets).sum();
    let slow: f64 = hosts.iter().map(|host| host.slow).sum();
    hosts.retain(|host| {
        let rest = (slow - host.slow + 0.5) / (packets - host.packets + 1.0);
        let chance = chance::binomial_upper(host.slow, host.packets, rest.min(1.0)) * looked_at;
        host.mean >= SLOW_TIMES * median && chance < ALPHA
    });
    hosts.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    // Where many are, the cluster has machines of two kinds.
    let is_mixed = hosts.len() as f64 > 0.2 * looked_at && hosts.len() > NAMED_MAX;
    for host in hosts.iter().take(NAMED_MAX) {
        let times = host.mean / median;
        let weight = if times >= SLOW_BAD_TIMES && !is_mixed {
            Weight::Bad
        } else {
            Weight::Note
        };
        let name = &facts.hosts[host.index];
        let text = format!(
            "Host {name} needs {} times as long for a task as the median host ({} s against {} s).",
            figure((times * 10.0).round() / 10.0),
            figure(host.mean),
            figure(median)
        );
        let finding = Finding::new("slow", weight, text)
            .by("host", name)
            .cost(host.compute_us * (1.0 - 1.0 / times))
            .with(&[
                ("s_per_result", host.mean),
                ("median_s_per_result", median),
                ("times", times),
            ])
            .advise(
                "Look whether others use the machine, whether it swaps, or runs at a lower clock.",
                "ringmw audit timeline --sheet hosts",
            );
        findings.push(finding);
    }
    if hosts.len() > NAMED_MAX {
        let text = format!(
            "{} need twice the median's time for a task, or more.",
            plural((hosts.len() - NAMED_MAX) as u64, "more host")
        );
        let finding = Finding::new("slow", Weight::Note, text)
            .advise("", "ringmw audit timeline --sheet hosts");
        findings.push(finding);
    }
}
