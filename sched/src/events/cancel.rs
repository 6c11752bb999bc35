//! A task is taken back by who submitted it, and whoever holds it is to drop it.

use crate::data::hands::Place;
use crate::data::record::State;
use crate::end::Cancelled;
use crate::ids::{SlaveId, TaskId};
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// Ends a live task as cancelled. If a slave holds it, [`poll_withdrawal`](Self::poll_withdrawal) says that it is to
    /// be told; its entry stays in the slave's hands until its result or its acknowledgement. `None`: it had ended
    /// before.
    pub fn cancel(&mut self, id: TaskId) -> Option<Cancelled<P>> {
        let slot = self.tasks.find(id)?;
        let slot = self.cut(slot, id.seq, 1);
        let held_by = match self.tasks.get(slot).state {
            State::Queued(_) => {
                self.dequeue(slot);
                None
            }
            State::Away => {
                self.on_not_away(slot);
                None
            }
            State::Free(_) => unreachable!("it was found"),
            State::Held { slave, position } => {
                self.end_twin(slot, slave);
                self.withdraw(Place { slave, position });
                self.counts.running -= 1;
                self.owners.on_let_go(self.tasks.get(slot), 1);
                Some(self.slaves.get(slave).id)
            }
        };
        let record = self.tasks.get(slot);
        let (algorithm, owner, policy) = (
            record.algorithm,
            self.owners.of(record),
            self.owners.policy_of(record),
        );
        Some(Cancelled {
            id,
            algorithm,
            owner,
            policy,
            payload: self.free(slot),
            held_by,
        })
    }

    /// The next slave that is to be told to drop a task: it was cancelled, or another one has answered it.
    pub fn poll_withdrawal(&mut self) -> Option<(SlaveId, u64)> {
        self.withdrawals.pop_front()
    }

    pub(crate) fn withdraw(&mut self, place: Place) {
        let task = self.slaves.hands(place.slave).at(place.position).seq;
        self.slaves.hands_mut(place.slave).withdraw(place.position);
        let slave = self.slaves.get(place.slave).id;
        self.withdrawals.push_back((slave, task));
    }
}
