//! The progress line as a text: what is said, in which order, and what goes first where there is no room.
//!
//! Pure: times and widths are arguments.

use std::collections::VecDeque;

use ringmw_codec::Nanos;
use ringmw_codec::status::{Slaves, Tasks};

const SECOND: Nanos = 1_000_000_000;

/// Rates are those of the last seconds.
const RATE_OVER: Nanos = 5 * SECOND;
/// How long the rest will take is reckoned from the rate over this time.
const REST_OVER: Nanos = 60 * SECOND;
/// Between two points of the past.
const POINTS_APART: Nanos = SECOND / 2;
/// The rest is not reckoned from a shorter past.
const REST_FROM: Nanos = 2 * SECOND;

/// How a run does, as the master's thread sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// Since the run began.
    pub(crate) at: Nanos,
    /// Tasks by what has become of them; the rate is not looked at.
    pub(crate) tasks: Tasks,
    /// Slaves here and missing.
    pub(crate) slaves: Slaves,
    /// Tasks that maps have still to submit, where all say how many.
    pub(crate) to_come: Option<u64>,
}

impl Figures {
    fn ended(&self) -> u64 {
        let tasks = &self.tasks;
        tasks.done + tasks.failed + tasks.unrunnable + tasks.cancelled
    }

    fn total(&self) -> Option<u64> {
        self.to_come
            .map(|to_come| self.tasks.submitted.saturating_add(to_come))
    }
}

/// How many tasks had ended when: at most [`REST_OVER`] back.
#[derive(Debug, Default)]
pub(super) struct Pace {
    past: VecDeque<(Nanos, u64)>,
}

impl Pace {
    pub(super) fn on_figures(&mut self, figures: &Figures) {
        let at = figures.at;
        while self.past.len() > 1 && self.past[1].0 + REST_OVER <= at {
            self.past.pop_front();
        }
        if (self.past.back()).is_none_or(|last| last.0 + POINTS_APART <= at) {
            self.past.push_back((at, figures.ended()));
        }
    }

    /// Tasks that ended in a second, over this time or as long as there is.
    fn rate(&self, figures: &Figures, over: Nanos) -> Option<f64> {
        let from = figures.at.saturating_sub(over);
        let first = self.past.iter().find(|(at, _)| *at >= from)?;
        let time = figures.at.checked_sub(first.0).filter(|time| *time > 0)?;
        let ended = figures.ended().saturating_sub(first.1);
        Some(ended as f64 * SECOND as f64 / time as f64)
    }

    /// How many seconds the rest will take.
    fn rest(&self, figures: &Figures) -> Option<u64> {
        let left = figures.total()?.saturating_sub(figures.ended());
        let first = self.past.front()?;
        if left == 0 || figures.at < first.0 + REST_FROM {
            return None;
        }
        let rate = self.rate(figures, REST_OVER).filter(|rate| *rate > 0.0)?;
        // An estimate beyond a century says nothing.
        Some((left as f64 / rate).ceil() as u64).filter(|seconds| *seconds < 1 << 31)
    }
}

/// A part of the line, and how soon it goes where there is no room: 0 never.
struct Part(&'static str, String, u32);

/// The line: at most `width` characters, if that is no less than what the first part takes.
///
/// `held` is for how many seconds the master's thread has said nothing; `local` how many slaves local mode has started.
pub(super) fn line(figures: &Figures, pace: &Pace, local: u64, held: u64, width: usize) -> String {
    let (tasks, slaves) = (&figures.tasks, &figures.slaves);
    let mut parts = Vec::new();
    parts.push(match figures.total() {
        Some(total) => Part(
            "",
            format!("{} of {} tasks done", count(tasks.done), count(total)),
            0,
        ),
        None => Part("", format!("{} tasks done", count(tasks.done)), 0),
    });
    let mut some = |number: u64, separator, words: &str, goes| {
        if number > 0 {
            parts.push(Part(separator, format!("{} {words}", count(number)), goes));
        }
    };
    some(tasks.failed, ", ", "failed", 0);
    some(tasks.unrunnable, ", ", "unrunnable", 0);
    some(tasks.cancelled, ", ", "cancelled", 5);
    some(tasks.recycled, ", ", "retried", 2);
    if let Some(rate) = pace.rate(figures, RATE_OVER).filter(|rate| *rate > 0.0) {
        parts.push(Part(", ", per_second(rate), 3));
    }
    if let Some(rest) = pace.rest(figures) {
        parts.push(Part(", ", format!("ETA {}", span(rest)), 1));
    }
    let mut some = |number: u64, separator, words: &str, goes| {
        if number > 0 {
            parts.push(Part(separator, format!("{} {words}", count(number)), goes));
        }
    };
    some(tasks.running, "; ", "running", 6);
    some(tasks.queued, ", ", "queued", 7);
    let nobodys = "wait for a slave that may run them";
    some(tasks.waiting_for_nobody, ", ", nobodys, 0);
    let desired = slaves.desired.max(local);
    let present = match desired > slaves.connected {
        true => format!("{} of {} slaves", count(slaves.connected), count(desired)),
        false => format!("{} slaves", count(slaves.connected)),
    };
    parts.push(Part("; ", present, 0));
    let mut some = |number: u64, separator, words: &str, goes| {
        if number > 0 {
            parts.push(Part(separator, format!("{} {words}", count(number)), goes));
        }
    };
    some(slaves.lost, ", ", "lost", 0);
    some(slaves.refused, ", ", "refused", 4);
    some(slaves.quarantined, ", ", "in quarantine", 0);
    if held > 0 {
        let held = format!(
            "the master algorithm has held its thread for {}",
            span(held)
        );
        parts.push(Part("; ", held, 0));
    }
    fit(parts, width)
}

/// What a run came to, once it is over.
pub(super) fn summary(figures: &Figures) -> String {
    let (tasks, slaves) = (&figures.tasks, &figures.slaves);
    let mut text = format!("{} tasks done", count(tasks.done));
    for (number, words) in [
        (tasks.failed, "failed"),
        (tasks.unrunnable, "unrunnable"),
        (tasks.cancelled, "cancelled"),
        (tasks.recycled, "retried"),
    ] {
        if number > 0 {
            text.push_str(&format!(", {} {words}", count(number)));
        }
    }
    text.push_str(&format!(" in {}", span(figures.at / SECOND)));
    if slaves.lost > 0 {
        text.push_str(&format!("; {} slaves lost", count(slaves.lost)));
    }
    text
}

fn fit(mut parts: Vec<Part>, width: usize) -> String {
    loop {
        let mut text = String::new();
        for Part(separator, words, _) in &parts {
            // What stands first after others have gone begins a sentence no more.
            text.push_str(if text.is_empty() { "" } else { separator });
            text.push_str(words);
        }
        if text.chars().count() <= width {
            return text;
        }
        match (0..parts.len()).max_by_key(|&at| (parts[at].2, at)) {
            Some(at) if parts[at].2 > 0 => drop(parts.remove(at)),
            _ => return text.chars().take(width).collect(),
        }
    }
}

/// `1,234,567`.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn per_second(rate: f64) -> String {
    match rate {
        0.0..10.0 => format!("{rate:.1}/s"),
        _ => format!("{}/s", count(rate as u64)),
    }
}

/// `40 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`.
fn span(seconds: u64) -> String {
    let s = seconds;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min {} s", s / 60, s % 60),
        3_600..86_400 => format!("{} h {} min", s / 3_600, s % 3_600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(at: u64, done: u64) -> Figures {
        Figures {
            at: at * SECOND,
            tasks: Tasks {
                submitted: 2_000,
                done,
                queued: 900,
                running: 8,
                ..Tasks::default()
            },
            slaves: Slaves {
                connected: 4,
                ..Slaves::default()
            },
            to_come: Some(8_000),
        }
    }

    /// A hundred tasks a second.
    fn pace(until: u64) -> Pace {
        let mut pace = Pace::default();
        for at in 0..=until {
            pace.on_figures(&figures(at, 100 * at));
        }
        pace
    }

    #[test]
    fn a_run_without_misfortune() {
        let line = |at, figures: &Figures| line(figures, &pace(at), 0, 0, 200);
        assert_eq!(
            line(10, &figures(10, 1_000)),
            "1,000 of 10,000 tasks done, 100/s, ETA 1 min 30 s; 8 running, 900 queued; 4 slaves"
        );
        let mut unknown = figures(10, 1_000);
        unknown.to_come = None;
        assert_eq!(
            line(10, &unknown),
            "1,000 tasks done, 100/s; 8 running, 900 queued; 4 slaves"
        );
        assert_eq!(
            line(0, &figures(0, 0)),
            "0 of 10,000 tasks done; 8 running, 900 queued; 4 slaves",
            "nothing is foretold of no past"
        );
    }

    #[test]
    fn each_misfortune_has_its_word() {
        let mut figures = figures(10, 1_000);
        let tasks = &mut figures.tasks;
        (tasks.failed, tasks.unrunnable, tasks.recycled) = (3, 1, 12);
        tasks.waiting_for_nobody = 7;
        let slaves = &mut figures.slaves;
        (
            slaves.desired,
            slaves.lost,
            slaves.refused,
            slaves.quarantined,
        ) = (8, 5, 2, 1);
        assert_eq!(
            line(&figures, &pace(10), 4, 31, 500),
            "1,000 of 10,000 tasks done, 3 failed, 1 unrunnable, 12 retried, 100/s, ETA 1 min 30 s; 8 running, 900 queued, \
             7 wait for a slave that may run them; 4 of 8 slaves, 5 lost, 2 refused, 1 in quarantine; \
             the master algorithm has held its thread for 31 s"
        );
        figures.slaves.desired = 0;
        let line = line(&figures, &pace(10), 6, 0, 500);
        assert!(line.contains("; 4 of 6 slaves, 5 lost"), "{line}");
    }

    #[test]
    fn what_matters_least_goes_first_and_misfortune_never() {
        let mut figures = figures(10, 1_000);
        (figures.tasks.failed, figures.slaves.lost) = (3, 5);
        let line = |width| line(&figures, &pace(10), 0, 0, width);
        assert_eq!(
            line(70),
            "1,000 of 10,000 tasks done, 3 failed, 100/s, ETA 1 min 30 s; 4 slaves, 5 lost"
                .replace(", 100/s", "")
        );
        assert_eq!(
            line(58),
            "1,000 of 10,000 tasks done, 3 failed; 4 slaves, 5 lost"
        );
        for width in 0..120 {
            assert!(line(width).chars().count() <= width);
        }
    }

    #[test]
    fn what_a_run_came_to() {
        let mut figures = figures(100, 9_996);
        assert_eq!(summary(&figures), "9,996 tasks done in 1 min 40 s");
        figures.tasks.failed = 3;
        (figures.tasks.unrunnable, figures.tasks.recycled) = (1, 12);
        figures.slaves.lost = 5;
        assert_eq!(
            summary(&figures),
            "9,996 tasks done, 3 failed, 1 unrunnable, 12 retried in 1 min 40 s; 5 slaves lost"
        );
    }

    #[test]
    fn a_pace_forgets() {
        let mut pace = Pace::default();
        for at in 0..1_000 {
            pace.on_figures(&figures(at, 100 * at));
        }
        assert!(pace.past.len() < 130, "{}", pace.past.len());
        assert_eq!(span(3 * 86_400 + 4 * 3_600), "3 d 4 h");
        assert_eq!([per_second(0.25), per_second(1234.5)], ["0.2/s", "1,234/s"]);
    }
}
