//! Who is told that slaves are hungry, and who could be.
//!
//! ```text
//!   told      SLAVE-4's, SLAVE-9's, SLAVE-2's          the last one is the first that is called off
//!   seen      SLAVE-7's .. SLAVE-1's                   those that are told next, the last one first
//! ```

use crate::ids::{AlgorithmId, Nanos, SlaveId};

/// The first task in a slave's hands.
#[derive(Copy, Clone, Debug)]
pub(crate) struct First {
    pub(crate) at: u32,
    pub(crate) slave: SlaveId,
    pub(crate) task: u64,
}

/// Who is told that slaves are hungry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hungry {
    /// Whether tasks of an algorithm ask.
    asks: Vec<bool>,
    pub(crate) asks_any: bool,
    /// Those that were told, and may have ended since.
    pub(crate) told: Vec<First>,
    /// When slaves were looked at last, and those seen then that were not told: the one that has run longest last.
    pub(crate) looked: Nanos,
    pub(crate) seen: Vec<First>,
}

/// A word for the slave that runs a task.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct HungryWord {
    /// The slave.
    pub slave: SlaveId,
    /// The task, the first in its hands.
    pub task: u64,
    /// Slaves are hungry, rather than hungry no more.
    pub hungry: bool,
}

impl First {
    pub(crate) fn word(self, hungry: bool) -> HungryWord {
        HungryWord {
            slave: self.slave,
            task: self.task,
            hungry,
        }
    }
}

impl Hungry {
    /// Tasks of this algorithm ask; false: that is known.
    pub(crate) fn add(&mut self, algorithm: AlgorithmId) -> bool {
        let at = usize::from(algorithm.0);
        if at >= self.asks.len() {
            self.asks.resize(at + 1, false);
        }
        self.asks_any = true;
        !std::mem::replace(&mut self.asks[at], true)
    }

    /// Whether tasks of this algorithm ask.
    pub(crate) fn asks(&self, algorithm: AlgorithmId) -> bool {
        self.asks.get(usize::from(algorithm.0)) == Some(&true)
    }
}
