//! Whether other slaves are idle: the running task asks, and its master says.
//!
//! That tasks of an algorithm ask is said once, with the first that does: a master tells nothing to those that never ask.

use ringmw_codec::frame::Kind;
use ringmw_codec::running::{AsksHungry, Hungry};

use super::SlaveCore;

#[derive(Default)]
pub(super) struct Told {
    /// The algorithms whose tasks ask, as the master knows.
    asking: Vec<u16>,
    /// The task that is to give back what it has not done.
    task: Option<u64>,
}

impl SlaveCore {
    /// The running task asks whether slaves are hungry, or is about to.
    pub fn asks_hungry(&mut self) {
        let (Some(running), None) = (&self.running, &self.end) else {
            return;
        };
        let algorithm = running.algorithm;
        if self.hungry.asking.contains(&algorithm) {
            return;
        }
        self.hungry.asking.push(algorithm);
        self.out.put(Kind::AsksHungry, |out| {
            AsksHungry { algorithm }.encode(out);
        });
    }

    /// Whether slaves are hungry and the running task is told to give back what it has not done.
    pub fn is_hungry(&self) -> bool {
        self.hungry.task.is_some() && self.hungry.task == self.running_task()
    }

    pub(super) fn on_hungry(&mut self, word: Hungry) {
        if word.hungry {
            self.hungry.task = Some(word.task);
        } else if self.hungry.task == Some(word.task) {
            self.hungry.task = None;
        }
    }
}
