//! The names of things: tasks, slaves, groups, algorithms, owners. Ids are never reused in a run.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Monotonic nanoseconds; the caller chooses the origin.
pub type Nanos = u64;

/// A task's identity: sequential from 0, never reused, shown as `TASK-920`.
///
/// Only the sequence number is its identity; the slot beside it makes the lookup constant time and is verified by it.
// Packed: with padding behind `slot`, what holds an id and a payload is copied in pieces that straddle the two, and the
// loads wait for the stores before (measured: 10 ns per result).
#[derive(Copy, Clone, Debug)]
#[repr(Rust, packed(4))]
pub struct TaskId {
    pub(crate) seq: u64,
    pub(crate) slot: u32,
}

impl TaskId {
    /// The number that travels, and that the slave answers with.
    pub fn seq(self) -> u64 {
        self.seq
    }

    /// Of a series that this is the first task of: the task that comes so many later.
    #[inline]
    #[must_use]
    pub fn after(self, tasks: u32) -> TaskId {
        TaskId {
            seq: self.seq + u64::from(tasks),
            slot: self.slot,
        }
    }
}

impl PartialEq for TaskId {
    fn eq(&self, other: &Self) -> bool {
        self.seq() == other.seq()
    }
}
impl Eq for TaskId {}
impl PartialOrd for TaskId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for TaskId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.seq().cmp(&other.seq())
    }
}
impl Hash for TaskId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.seq().hash(state);
    }
}
impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TASK-{}", self.seq())
    }
}

/// A slave's identity, one per connection: sequential from 0, never reused, shown and parsed as `SLAVE-17`.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct SlaveId(pub u32);

impl fmt::Display for SlaveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SLAVE-{}", self.0)
    }
}

/// The text was not of the form `SLAVE-17`.
#[derive(Clone, Eq, PartialEq, Debug)]
pub struct ParseSlaveIdError;

impl fmt::Display for ParseSlaveIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a slave id: expected SLAVE- and a number, as in SLAVE-17")
    }
}
impl std::error::Error for ParseSlaveIdError {}

impl FromStr for SlaveId {
    type Err = ParseSlaveIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("SLAVE-").ok_or(ParseSlaveIdError)?;
        let id = SlaveId(digits.parse().map_err(|_| ParseSlaveIdError)?);
        // `u32::from_str` takes "+1" and "007": one slave has one name.
        if id.0.to_string() == digits {
            Ok(id)
        } else {
            Err(ParseSlaveIdError)
        }
    }
}

/// A group of slaves, by what its members run.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub enum Group {
    /// Only tasks addressed to it.
    Ordered,
    /// Tasks addressed to it first, then unordered ones.
    Intermingle,
    /// Unordered tasks only.
    Unordered,
}

impl Group {
    /// All groups, in the order in which a connecting slave fills them.
    pub const ALL: [Group; 3] = [Group::Ordered, Group::Intermingle, Group::Unordered];

    /// Whether its slaves may be addressed by a task.
    pub fn takes_ordered(self) -> bool {
        self != Group::Unordered
    }

    /// Whether its slaves run unordered tasks.
    pub fn takes_unordered(self) -> bool {
        self != Group::Ordered
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Group::Ordered => "ordered",
            Group::Intermingle => "intermingle",
            Group::Unordered => "unordered",
        })
    }
}

/// The index of a registered task algorithm.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug)]
pub struct AlgorithmId(pub u16);

/// A set of labels that a slave must have to be given a task, known by its number; see
/// [`Scheduler::needs`](crate::Scheduler::needs).
///
/// It leads to its labels, so that the policy of a task that has ended can be read without the scheduler.
#[derive(Copy, Clone, Debug)]
pub struct Needs {
    pub(crate) number: u16,
    set: Option<&'static Vec<String>>,
}

impl Needs {
    /// No label.
    pub const NONE: Needs = Needs::without_labels(0);
    /// There were too many other sets before this one.
    pub(crate) const TOO_MANY: Needs = Needs::without_labels(u16::MAX);
    /// More labels than a task may need, or one that is none.
    pub(crate) const WRONG: Needs = Needs::without_labels(u16::MAX - 1);

    const fn without_labels(number: u16) -> Needs {
        Needs { number, set: None }
    }

    pub(crate) fn new(number: u16, set: &'static Vec<String>) -> Needs {
        let set = Some(set);
        Needs { number, set }
    }

    /// The labels, in ascending order.
    pub fn labels(self) -> &'static [String] {
        self.set.map_or(&[], Vec::as_slice)
    }
}

impl PartialEq for Needs {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}
impl Eq for Needs {}
impl PartialOrd for Needs {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Needs {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
    }
}
impl Hash for Needs {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

/// Where the end of a task is told. The numbers are the caller's.
///
/// The queue, all calls together, and each map take turns in being handed out; see
/// [`hand_out`](crate::Scheduler::hand_out).
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug)]
pub enum Owner {
    /// The queue of results.
    Queue,
    /// A call.
    Call(u32),
    /// A map.
    Map(u32),
}

impl Owner {
    /// The number of a call or map.
    #[inline]
    pub fn flow(self) -> Option<u32> {
        match self {
            Owner::Queue => None,
            Owner::Call(number) | Owner::Map(number) => Some(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slave_ids_are_parsed_as_they_are_shown() {
        for id in [0, 17, u32::MAX].map(SlaveId) {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for text in [
            "",
            "17",
            "SLAVE-",
            "slave-17",
            "SLAVE-+1",
            "SLAVE-007",
            "SLAVE-4294967296",
            " SLAVE-1",
        ] {
            assert_eq!(text.parse::<SlaveId>(), Err(ParseSlaveIdError), "{text:?}");
        }
    }

    #[test]
    fn a_task_is_its_number() {
        let (a, b) = (TaskId { seq: 920, slot: 1 }, TaskId { seq: 920, slot: 2 });
        assert_eq!(a, b);
        assert_eq!(a.to_string(), "TASK-920");
        assert!(a < TaskId { seq: 921, slot: 0 });
    }
}
