//! Looking at what is there without changing it: all live tasks.

use crate::ids::{AlgorithmId, Owner, TaskId};
use crate::scheduler::Scheduler;
use crate::series::Payload;

impl<P: Payload> Scheduler<P> {
    /// Every task that is queued or running, in no order of meaning; those of a run together, by the first. Costs the
    /// tasks that there are.
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
