//! Looking at what is there without changing it: the next answer that a slave owes, and all live tasks.

use crate::hands::Hold;
use crate::ids::{AlgorithmId, Owner, SlaveId, TaskId};
use crate::scheduler::Scheduler;

impl<P> Scheduler<P> {
    /// The task that this slave has to answer next, and its algorithm unless its end has been told
    /// (then the answer is late). `None` for an unknown slave and for empty hands.
    pub fn next_held(&self, slave: SlaveId) -> Option<(u64, Option<AlgorithmId>)> {
        let entry = self.slaves.hands(self.slaves.find(slave)?).first()?;
        let live = entry.hold == Hold::Live;
        Some((
            entry.seq,
            live.then(|| self.tasks.get(entry.slot).algorithm),
        ))
    }

    /// Every task that is queued or running, in no order of meaning. Costs the tasks that there are.
    pub fn live(&self) -> impl Iterator<Item = (TaskId, AlgorithmId, Owner, &P)> {
        self.tasks.iter().filter_map(|(slot, record)| {
            let id = TaskId {
                seq: record.seq,
                slot,
            };
            Some((
                id,
                record.algorithm,
                record.owner(),
                record.payload.as_ref()?,
            ))
        })
    }
}
