//! Tasks are told that other slaves are idle, so that they give back what they have not done.

use ringmw_codec::audit::Event;
use ringmw_codec::frame::Kind;
use ringmw_codec::running::{AsksHungry, Hungry};
use ringmw_sched::{AlgorithmId, Nanos};

use super::MasterCore;
use super::conn::{Stop, offence};
use crate::proto::{SECOND, put};

/// The trail says no more often than this that slaves are hungry.
const LINES_APART: Nanos = 10 * SECOND;

impl MasterCore {
    pub(super) fn on_asks_hungry(&mut self, asks: AsksHungry) -> Result<(), Stop> {
        let algorithm = asks.algorithm;
        if usize::from(algorithm) >= self.config.algorithms.len() {
            return Err(offence(format!(
                "AsksHungry of algorithm {algorithm}, which there is not"
            )));
        }
        self.sched.asks_hungry(AlgorithmId(algorithm));
        Ok(())
    }

    /// Tells those that have run longest, while slaves are idle and nothing is queued.
    pub(super) fn tell_hungry(&mut self) {
        let before = self.sched.told_hungry();
        while let Some(word) = self.sched.tell_hungry(self.now) {
            let slot = self.slot_of(word.slave);
            let state = self.conns[slot]
                .as_mut()
                .expect("a slave has its connection");
            put(&mut state.out, Kind::Hungry, |out| {
                let (task, hungry) = (word.task, word.hungry);
                Hungry { task, hungry }.encode(out);
            });
            let conn = state.id;
            self.mark_dirty(conn);
        }
        let told = self.sched.told_hungry();
        if told > before && self.now >= self.hungry_said_again {
            self.hungry_said_again = self.now + LINES_APART;
            let idle = (self.sched.slaves() - self.sched.busy()) as u64;
            let tasks = told as u64;
            self.trail.push(Event::Hungry { idle, tasks });
        }
    }
}
