//! A long silence, or a clock that was set ahead? What comes behind tells.
//!
//! A master that hears nothing for an hour while its slaves compute gets results that took an hour, and one that held its
//! thread says so. Where results of slaves come that were handed nothing since, and took far less, the hour was none.

use ringmw_codec::audit::{Event, Line};
use rustc_hash::FxHashSet;

/// A shorter silence is believed without a question.
pub(crate) const SILENCE_US_MIN: i64 = 60_000_000;
/// With so many lines, or so much time, and no sign, a silence is believed.
const LINES_MAX: usize = 1000;
const TIME_US_MAX: i64 = 60_000_000;

/// What the time between two lines was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Time that passed.
    Silence,
    /// The clock was set ahead.
    Step,
    /// The line behind it has a wrong time; the others have not.
    Damaged,
}

/// Lines behind a long silence.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) life: usize,
    /// With their numbers.
    pub(crate) lines: Vec<(Line, u64)>,
    before_us: i64,
    /// Slaves that were handed tasks since the silence: how long their results took says nothing of it.
    fresh: FxHashSet<u32>,
}

impl Ahead {
    pub(crate) fn new(life: usize, before_us: i64) -> Self {
        Self {
            life,
            lines: Vec::new(),
            before_us,
            fresh: FxHashSet::default(),
        }
    }

    /// Takes the next line; the verdict, if it tells.
    pub(crate) fn push(&mut self, line: Line, number: u64) -> Option<Verdict> {
        self.lines.push((line, number));
        let (line, _) = self.lines.last()?;
        let first_us = self.lines.first()?.0.time_us;
        let silence_us = first_us - self.before_us;
        if line.time_us - self.before_us < silence_us / 2 {
            // The clock was never there; or, with more than one line, it was, and was set back again.
            return Some(match self.lines.len() {
                2 => Verdict::Damaged,
                _ => Verdict::Step,
            });
        }
        let is_as_long = |us: u64| us as f64 >= silence_us as f64 / 2.0;
        match line.event {
            Event::TasksSent { slave, .. }
            | Event::TaskSent { slave, .. }
            | Event::Connected { slave, .. } => {
                self.fresh.insert(slave);
            }
            Event::Packets { .. } => return Some(Verdict::Step),
            Event::ResultsReceived {
                slave, compute_us, ..
            } if !self.fresh.contains(&slave) => {
                return Some(match is_as_long(compute_us) {
                    true => Verdict::Silence,
                    false => Verdict::Step,
                });
            }
            Event::Stall { ms } if is_as_long(ms.saturating_mul(1000)) => {
                return Some(Verdict::Silence);
            }
            Event::Exit { .. } => return Some(Verdict::Silence),
            _ => {}
        }
        let is_over =
            self.lines.len() >= LINES_MAX || line.time_us.saturating_sub(first_us) > TIME_US_MAX;
        is_over.then_some(Verdict::Silence)
    }
}
