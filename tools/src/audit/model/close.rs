//! The trail is over: what was still open ends, and sums over slaves are made.

use super::{Computed, Figures, Mark, Model, Slave};
use crate::audit::entry::{ExitWord, Role};
use crate::audit::times::show_duration;
use crate::audit::trail::Reader;

/// Events that pictures show at most.
const MARKS_MAX: usize = 100;

/// How much of the time spans cover, however they overlap.
pub(super) fn covered(spans: &mut [(i64, i64)]) -> i64 {
    spans.sort_unstable();
    let (mut sum, mut end) = (0, i64::MIN);
    for &(from, to) in spans.iter() {
        let from = from.max(end);
        if to > from {
            sum += to - from;
            end = to;
        }
    }
    sum
}

/// Of spans, the steps up and down at their ends: one that comes at the instant when another goes meets it.
fn steps(spans: impl Iterator<Item = (i64, i64)>) -> Vec<(i64, i64)> {
    let mut steps: Vec<(i64, i64)> = spans.flat_map(|(from, to)| [(from, 1), (to, -1)]).collect();
    steps.sort_unstable_by_key(|&(us, step)| (us, -step));
    steps
}

impl Model {
    pub(super) fn close(&mut self, reader: &Reader) {
        let role = self.role;
        self.window = reader.window();
        self.observed = reader
            .lives
            .iter()
            .map(|life| reader.observed(life).filter(|_| life.role == role))
            .collect();
        self.moments
            .resize_with(reader.lives.len(), Default::default);
        for index in 0..self.slaves.len() {
            let slave = &self.slaves[index];
            if slave.is_gone {
                continue;
            }
            let life = slave.life;
            let last_us = self.moments[life].last_us;
            self.tell(last_us, index, Computed::Nothing);
            if role == Role::Slave && reader.lives[life].exit.is_none() {
                self.fall_silent(index, last_us);
            }
        }
        for life in 0..self.moments.len() {
            let last_us = self.moments[life].last_us;
            self.pass(life, last_us);
        }
        let window = self.window;
        let kept = |slave: &Slave, last_us: i64| {
            slave.joined_us < window.until_us && slave.left_us.unwrap_or(last_us) >= window.since_us
        };
        let moments = &self.moments;
        self.slaves
            .retain(|slave| kept(slave, moments[slave.life].last_us));
        self.observe_intervals();
        self.sum_up();
        self.mark(reader);
    }

    /// Beginnings and ends of masters, signals, the longest stall, and when slaves began to be sent away.
    fn mark(&mut self, reader: &Reader) {
        let mut marks: Vec<Mark> = Vec::new();
        let mut mark = |us: i64, text: String| marks.push(Mark { us, text });
        let lives = reader.lives.iter().filter(|life| life.role == self.role);
        for (index, life) in lives.enumerate() {
            if self.role == Role::Slave {
                break;
            }
            match index {
                0 => {}
                _ => mark(life.first_us, "a master begins again".to_owned()),
            }
            match &life.exit {
                Some(ExitWord::Code(code)) => mark(
                    life.exit_us,
                    format!("the master ends: exit {code}, {}", life.exit_reason),
                ),
                Some(ExitWord::Word(word)) => {
                    mark(life.exit_us, format!("the master ends: {word}"));
                }
                None => mark(life.last_us, "the trail ends without an exit".to_owned()),
            }
        }
        for (us, name) in &self.signals {
            mark(*us, format!("the process was sent {name}"));
        }
        if let Some(us) = self.shutdown_us {
            mark(us, "slaves are sent away".to_owned());
        }
        for moment in &self.moments {
            let (us, at_us) = (moment.figures.stall_max_us, moment.figures.stall_max_at_us);
            if us > 0 {
                mark(
                    at_us,
                    format!(
                        "the master algorithm held its thread for {}",
                        show_duration(us)
                    ),
                );
            }
        }
        let window = self.window;
        marks.retain(|mark| window.contains(mark.us));
        marks.sort_by_key(|mark| mark.us);
        marks.truncate(MARKS_MAX);
        self.marks = marks;
    }

    /// Further events for every picture over time, beside the run's own.
    pub(crate) fn mark_also(&mut self, marks: impl Iterator<Item = (i64, String)>) {
        self.marks.extend(marks.map(|(us, text)| Mark { us, text }));
        self.marks.sort_by_key(|mark| mark.us);
    }

    /// A slave's own trail has ended without a last word.
    fn fall_silent(&mut self, index: usize, last_us: i64) {
        let slave = &mut self.slaves[index];
        slave.is_gone = true;
        if last_us >= self.window.until_us {
            return;
        }
        slave.left_us = Some(last_us);
        slave.cause = Some("silent");
        if self.window.contains(last_us) {
            let gone_by = &mut self.moments[slave.life].figures.gone_by;
            *gone_by.entry("silent").or_default() += 1;
            if self.has_intervals {
                let cell = self.intervals.at(last_us);
                cell.departures += 1;
                cell.losses += 1;
            }
        }
    }

    /// From the first to the last observed time of all lives.
    pub(crate) fn extent(&self) -> Option<(i64, i64)> {
        let spans = || self.observed.iter().flatten();
        let from = spans().map(|span| span.0).min()?;
        Some((from, spans().map(|span| span.1).max()?))
    }

    fn observe_intervals(&mut self) {
        let role = self.role;
        if !self.has_intervals {
            return;
        }
        let spans: Vec<(i64, i64)> = match role {
            Role::Master => self.observed.iter().flatten().copied().collect(),
            Role::Slave => self.extent().into_iter().collect(),
        };
        for &(from, to) in &spans {
            self.intervals.at(from);
            self.intervals
                .span(from, to, |cell, from, to| cell.observed_us += to - from);
        }
        if role == Role::Slave {
            // Each of its lives knows only itself.
            let (mut present, mut before_us) = (0i64, None);
            for (us, step) in steps(self.presences().map(|(_, span)| span)) {
                let now = present + step;
                if let Some(before_us) = before_us {
                    self.intervals.span(before_us, us, |cell, _, _| {
                        cell.peak = cell.peak.max(present as u64);
                    });
                }
                if self.window.contains(us) {
                    let cell = self.intervals.at(us);
                    cell.peak = cell.peak.max(now as u64);
                }
                (present, before_us) = (now, Some(us));
            }
        }
    }

    /// Each slave's time inside the window; an empty span is one that came and went at one instant.
    pub(super) fn presences(&self) -> impl Iterator<Item = (&Slave, (i64, i64))> {
        self.slaves.iter().map(|slave| {
            let end = slave.left_us.unwrap_or(self.moments[slave.life].last_us);
            (slave, self.window.clip(slave.joined_us, end))
        })
    }

    fn sum_up(&mut self) {
        let mut spans: Vec<Vec<(i64, i64)>> = vec![Vec::new(); self.moments.len()];
        for (slave, span) in self.presences() {
            spans[slave.life].push(span);
        }
        for slave in &self.slaves {
            let figures = &mut self.moments[slave.life].figures;
            figures.time.add(slave.time);
            figures.unknown += u64::from(!slave.is_known);
            figures.present += u64::from(slave.left_us.is_none());
            if slave.is_known && self.window.contains(slave.joined_us) {
                *figures.subnets.entry(slave.subnet).or_default() += 1;
            }
            if let Some(left_us) = slave.left_us
                && slave.is_known
            {
                figures.lifetimes_us.push(left_us.abs_diff(slave.joined_us));
            }
        }
        for ((moment, observed), mut spans) in
            self.moments.iter_mut().zip(&self.observed).zip(spans)
        {
            let figures = &mut moment.figures;
            figures.observed_us = observed.map_or(0, |(from, to)| to - from);
            figures.absent_us = figures.observed_us - covered(&mut spans);
            figures.lifetimes_us.sort_unstable();
        }
    }

    /// What a life comes to.
    pub(crate) fn figures(&self, life: usize) -> &Figures {
        &self.moments[life].figures
    }

    /// Every life that counts, as one.
    pub(crate) fn total(&self) -> Figures {
        let mut total = Figures::default();
        for moment in &self.moments {
            total.add(&moment.figures);
        }
        if self.role == Role::Slave {
            let mut spans: Vec<(i64, i64)> = self.presences().map(|(_, span)| span).collect();
            let mut present = 0;
            total.peak = 0;
            for (_, step) in steps(spans.iter().copied()) {
                present += step;
                total.peak = total.peak.max(present as u64);
            }
            // Slaves' lives go on side by side.
            total.observed_us = self.extent().map_or(0, |(from, to)| to - from);
            total.absent_us = total.observed_us - covered(&mut spans);
        }
        total.lifetimes_us.sort_unstable();
        total
    }

    /// Observed time, of all lives together.
    pub(crate) fn observed_us(&self) -> i64 {
        match self.role {
            Role::Master => self
                .observed
                .iter()
                .flatten()
                .map(|(from, to)| to - from)
                .sum(),
            Role::Slave => self.extent().map_or(0, |(from, to)| to - from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps_are_covered_once() {
        assert_eq!(covered(&mut []), 0);
        assert_eq!(
            covered(&mut [(5, 9), (0, 3), (2, 4), (2, 3), (20, 20), (8, 12)]),
            4 + 7
        );
    }
}
