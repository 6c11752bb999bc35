//! What has been seen: every (state of a connection, event) pair, and every way in which a task can end.

use std::collections::BTreeMap;
use std::fmt;

use ringmw_sched::{Reason, SlaveId};

use crate::proto::bytes::SmallBytes;

/// The state of a connection as the master's side has it.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Its hello has not come.
    Handshake,
    /// A slave with empty hands.
    Idle,
    /// A slave with tasks in its hands.
    Busy,
    /// A slave that announced the start of a marked task.
    Announced,
    /// A slave with a task whose withdrawal it has not acknowledged.
    Withdrawing,
    /// A slave that was told to go.
    Leaving,
    /// Told why and closed, or ended by its peer.
    Dropped,
}

/// What happens to a connection.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the frames' and the losses' own names")]
pub enum Happening {
    Hello,
    BadHello,
    Heartbeat,
    Result,
    Failed,
    /// A result whose task had been cancelled.
    Late,
    Withdrawn,
    Returned,
    Starting,
    Offer,
    Goodbye,
    /// What no honest slave sends.
    Offence,
    Eof,
    Reset,
    Silence,
    /// A frame that was begun and not finished in time.
    Dribble,
    /// The application cancels a task in its hands.
    Cancel,
    /// The application sends it back to unordered.
    Freed,
    Shutdown,
    /// Bytes after its end.
    Bytes,
}

/// How a task must end, or has.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Must {
    Done { slave: SlaveId, output: SmallBytes },
    Failed { slave: SlaveId, bytes: usize },
    Unrunnable(Reason),
    Cancelled,
}

/// Counts of what was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    pairs: BTreeMap<(Standing, Happening), u64>,
    ends: BTreeMap<&'static str, u64>,
}

/// Every way in which a task can end, by whom it is told to, and what may happen on the way.
pub const ENDS: [&str; 34] = [
    "done, queue",
    "done, flow",
    "done after recycling, queue",
    "done after recycling, flow",
    "failed, queue",
    "failed, flow",
    "cancelled, queue",
    "cancelled, flow",
    "slave lost, queue",
    "slave lost, flow",
    "not retried, queue",
    "not retried, flow",
    "no such slave, queue",
    "no such slave, flow",
    "takes no ordered, queue",
    "takes no ordered, flow",
    "crashed, queue",
    "crashed, flow",
    "too large, queue",
    "too large, flow",
    "queue full, queue",
    "queue full, flow",
    "not begun in time, queue",
    "not begun in time, flow",
    "no such priority, queue",
    "no such priority, flow",
    "no such needs, queue",
    "no such needs, flow",
    "on the way: recycled",
    "on the way: charged",
    "on the way: given back",
    "on the way: duplicated",
    "on the way: ordered after rerouting",
    "on the way: told that slaves are hungry",
];

impl Coverage {
    pub(super) fn pair(&mut self, standing: Standing, happening: Happening) {
        *self.pairs.entry((standing, happening)).or_default() += 1;
    }

    fn count(&mut self, end: &'static str) {
        debug_assert!(ENDS.contains(&end), "{end} is not in the table");
        *self.ends.entry(end).or_default() += 1;
    }

    pub(super) fn recycled(&mut self) {
        self.count("on the way: recycled");
    }

    pub(super) fn returned(&mut self) {
        self.count("on the way: given back");
    }

    pub(super) fn duplicated(&mut self) {
        self.count("on the way: duplicated");
    }

    pub(super) fn charged(&mut self) {
        self.count("on the way: charged");
    }

    pub(super) fn rerouted(&mut self) {
        self.count("on the way: ordered after rerouting");
    }

    pub(super) fn hungry(&mut self) {
        self.count("on the way: told that slaves are hungry");
    }

    pub(super) fn end(&mut self, must: &Must, of_queue: bool, marked: bool) {
        let names = match must {
            Must::Done { .. } if marked => {
                ["done after recycling, queue", "done after recycling, flow"]
            }
            Must::Done { .. } => ["done, queue", "done, flow"],
            Must::Failed { .. } => ["failed, queue", "failed, flow"],
            Must::Cancelled => ["cancelled, queue", "cancelled, flow"],
            Must::Unrunnable(Reason::SlaveLost(_)) => ["slave lost, queue", "slave lost, flow"],
            Must::Unrunnable(Reason::NotRetried(_)) => ["not retried, queue", "not retried, flow"],
            Must::Unrunnable(Reason::NoSuchSlave(_)) => {
                ["no such slave, queue", "no such slave, flow"]
            }
            Must::Unrunnable(Reason::SlaveTakesNoOrdered(_)) => {
                ["takes no ordered, queue", "takes no ordered, flow"]
            }
            Must::Unrunnable(Reason::Crashed { .. }) => ["crashed, queue", "crashed, flow"],
            Must::Unrunnable(Reason::TooLarge { .. }) => ["too large, queue", "too large, flow"],
            Must::Unrunnable(Reason::BegunBefore) => unreachable!("a storm has one life"),
            Must::Unrunnable(Reason::SharedGone) => ["shared gone, queue", "shared gone, flow"],
            Must::Unrunnable(Reason::NotBegunInTime { .. }) => {
                ["not begun in time, queue", "not begun in time, flow"]
            }
            Must::Unrunnable(Reason::NoSuchPriority { .. }) => {
                ["no such priority, queue", "no such priority, flow"]
            }
            Must::Unrunnable(Reason::TooManyNeeds) => {
                unreachable!("nobody needs so many different labels")
            }
            Must::Unrunnable(Reason::NoSuchNeeds) => {
                ["no such needs, queue", "no such needs, flow"]
            }
            Must::Unrunnable(Reason::QueueFull { .. }) => ["queue full, queue", "queue full, flow"],
        };
        self.count(names[usize::from(!of_queue)]);
    }

    /// Adds what another run has seen.
    pub fn add(&mut self, other: &Coverage) {
        for (pair, count) in &other.pairs {
            *self.pairs.entry(*pair).or_default() += count;
        }
        for (end, count) in &other.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    /// How often this was seen.
    pub fn seen(&self, standing: Standing, happening: Happening) -> u64 {
        self.pairs.get(&(standing, happening)).copied().unwrap_or(0)
    }

    /// Ways to end that were not seen.
    pub fn ends_missing(&self) -> Vec<&'static str> {
        ENDS.into_iter()
            .filter(|end| !self.ends.contains_key(end))
            .collect()
    }

    /// The pairs that can happen and were not seen.
    pub fn pairs_missing(&self) -> Vec<(Standing, Happening)> {
        can_happen()
            .filter(|&(standing, happening)| self.seen(standing, happening) == 0)
            .collect()
    }

    /// The pairs that were seen and cannot happen, by [`can_happen`].
    pub fn pairs_impossible(&self) -> Vec<(Standing, Happening)> {
        let seen = self.pairs.keys().copied();
        seen.filter(|pair| !can_happen().any(|can| can == *pair) && !RARE.contains(pair))
            .collect()
    }
}

const STANDINGS: [Standing; 7] = [
    Standing::Handshake,
    Standing::Idle,
    Standing::Busy,
    Standing::Announced,
    Standing::Withdrawing,
    Standing::Leaving,
    Standing::Dropped,
];

const HAPPENINGS: [Happening; 20] = [
    Happening::Hello,
    Happening::BadHello,
    Happening::Heartbeat,
    Happening::Result,
    Happening::Failed,
    Happening::Late,
    Happening::Withdrawn,
    Happening::Returned,
    Happening::Starting,
    Happening::Offer,
    Happening::Goodbye,
    Happening::Offence,
    Happening::Eof,
    Happening::Reset,
    Happening::Silence,
    Happening::Dribble,
    Happening::Cancel,
    Happening::Freed,
    Happening::Shutdown,
    Happening::Bytes,
];

/// Pairs that are no fault and come up once in many thousand seeds: nothing is demanded of them.
const RARE: [(Standing, Happening); 2] = [
    // A liar has answered a task that it computes, and offers.
    (Standing::Idle, Happening::Offer),
    // An offer was on its way when its slave was told to go.
    (Standing::Leaving, Happening::Offer),
];

/// The pairs that can happen.
pub fn can_happen() -> impl Iterator<Item = (Standing, Happening)> {
    let all = STANDINGS
        .into_iter()
        .flat_map(|standing| HAPPENINGS.map(|happening| (standing, happening)));
    all.filter(|pair| !RARE.contains(pair))
        .filter(|&(standing, happening)| match (standing, happening) {
            (_, Happening::Hello | Happening::BadHello) => standing == Standing::Handshake,
            (Standing::Handshake, other) => matches!(
                other,
                Happening::Offence | Happening::Eof | Happening::Reset | Happening::Silence
            ),
            // What ended is not heard; its own end may come in the same turn.
            (Standing::Dropped, other) => {
                matches!(other, Happening::Bytes | Happening::Eof | Happening::Reset)
            }
            (_, Happening::Bytes) => false,
            // Nothing is in its hands that it could answer, begin, or that could be taken back.
            (Standing::Idle, other) => !matches!(
                other,
                Happening::Result | Happening::Failed | Happening::Late | Happening::Cancel
            ),
            // All that it holds is waited for: slaves never acknowledge a withdrawal as begun.
            (Standing::Busy, Happening::Late) => false,
            // It was told to go at the end, when nothing is cancelled or freed any more.
            (Standing::Leaving, other) => !matches!(
                other,
                Happening::Cancel | Happening::Freed | Happening::Shutdown
            ),
            _ => true,
        })
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:12}", "")?;
        for standing in STANDINGS {
            write!(f, "{:>12}", format!("{standing:?}").to_lowercase())?;
        }
        writeln!(f)?;
        for happening in HAPPENINGS {
            write!(f, "{:12}", format!("{happening:?}").to_lowercase())?;
            for standing in STANDINGS {
                let can = can_happen().any(|pair| pair == (standing, happening));
                match self.seen(standing, happening) {
                    0 if !can => write!(f, "{:>12}", "-")?,
                    seen => write!(f, "{seen:>12}")?,
                }
            }
            writeln!(f)?;
        }
        for end in ENDS {
            writeln!(f, "{end:38} {}", self.ends.get(end).copied().unwrap_or(0))?;
        }
        Ok(())
    }
}
