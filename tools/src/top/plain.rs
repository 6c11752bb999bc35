//! A status as plain text.

use std::fmt::Write as _;

use ringmw_codec::status::Status;

use crate::say::safe;

/// Hosts, slaves and messages of a page, each.
const LISTED_MAX: usize = 20;

/// `3.2 s`, `17 ms`, `2 h 5 min`.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms % 1_000 / 100),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

/// A time in nanoseconds, in the unit that says most.
pub(super) fn short(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{}.{} µs", ns / 1_000, ns % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} ms", ns / 1_000_000, ns % 1_000_000 / 100_000),
        _ => span(ns / 1_000_000),
    }
}

/// Three digits and a letter: `812`, `1.2k`, `34M`.
pub(super) fn big(number: f64) -> String {
    let mut number = number;
    for unit in ["", "k", "M", "G", "T"] {
        if number < 1_000.0 || unit == "T" {
            return match (
                unit,
                number < 10.0 && number.fract() != 0.0,
                number < 100.0 && !unit.is_empty(),
            ) {
                (_, true, _) | (_, _, true) => format!("{number:.1}{unit}"),
                _ => format!("{number:.0}{unit}"),
            };
        }
        number /= 1_000.0;
    }
    unreachable!("the last unit takes all")
}

/// How the run does, in one line.
pub(super) fn line(status: &Status) -> String {
    let (tasks, slaves) = (&status.tasks, &status.slaves);
    let mut line = format!(
        "up {}: {} queued, {} running, {} done ({}/s), {} failed; {} slaves, {} busy, {} lost",
        span(status.run.uptime_ms),
        tasks.queued,
        tasks.running,
        tasks.done,
        big(tasks.rate),
        tasks.failed,
        slaves.connected,
        slaves.busy,
        slaves.lost
    );
    if slaves.needed > 0 {
        let _ = write!(line, ", {} missing", slaves.needed);
    }
    if status.held_ms > 0 {
        let _ = write!(
            line,
            "; the master algorithm has held the thread for {}",
            span(status.held_ms)
        );
    }
    line
}

/// All of it, as far as it fits people.
pub(super) fn page(status: &Status) -> String {
    let run = &status.run;
    let mut page = format!(
        "{} {} on {} ({}), {}, seed {}\n{}\n",
        safe(&run.name),
        safe(&run.app_version),
        safe(&run.host),
        run.pid,
        run.engine,
        run.seed,
        line(status)
    );
    let _ = writeln!(
        page,
        "master: {:.0} % busy, {} stalls; {} packets out, {} in; {} refused",
        100.0 * run.load,
        run.stalls,
        run.packets_out,
        run.packets_in,
        status.slaves.refused
    );
    for algorithm in &status.algorithms {
        let _ = writeln!(
            page,
            "{}: {} queued, {} running, {} done, {} failed; p50 {}, p90 {}, p99 {}, max {}",
            safe(&algorithm.name),
            algorithm.queued,
            algorithm.running,
            algorithm.done,
            algorithm.failed,
            short(algorithm.compute.p50_ns),
            short(algorithm.compute.p90_ns),
            short(algorithm.compute.p99_ns),
            short(algorithm.compute.max_ns)
        );
    }
    let mut hosts: Vec<_> = status.hosts.iter().collect();
    hosts.sort_by_key(|host| std::cmp::Reverse((host.slaves, host.lost)));
    for host in hosts.iter().take(LISTED_MAX) {
        let _ = writeln!(
            page,
            "{}: {} slaves, {} busy, {} results, {} failed, {} lost",
            safe(&host.host),
            host.slaves,
            host.busy,
            host.done,
            host.failed,
            host.lost
        );
    }
    if hosts.len() > LISTED_MAX {
        let _ = writeln!(page, ".. and {} more hosts", hosts.len() - LISTED_MAX);
    }
    for loss in &status.losses {
        let _ = writeln!(page, "lost, {}: {}", safe(&loss.cause), loss.slaves);
    }
    for (name, value) in &status.more {
        let _ = writeln!(page, "{}: {}", safe(name), safe(value));
    }
    let messages = status.messages.len().saturating_sub(LISTED_MAX);
    for message in &status.messages[messages..] {
        let _ = writeln!(page, "{} {}", clock(message.at_us), safe(&message.text));
    }
    page
}

/// The time of day here.
pub(super) fn clock(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us).map_or_else(
        |_| "--:--:--".to_owned(),
        |at| {
            at.to_zoned(jiff::tz::TimeZone::system())
                .strftime("%H:%M:%S")
                .to_string()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let rows = [
            (0.0, "0"),
            (0.5, "0.5"),
            (812.0, "812"),
            (1_234.0, "1.2k"),
            (99_999.0, "100.0k"),
            (340_000.0, "340k"),
            (12e6, "12.0M"),
        ];
        for (number, text) in rows {
            assert_eq!(big(number), text);
        }
        assert_eq!(
            [
                short(17),
                short(3_400),
                short(17_300_000),
                short(3_200_000_000)
            ],
            ["17 ns", "3.4 µs", "17.3 ms", "3.2 s"]
        );
    }
}
