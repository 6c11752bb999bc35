//! Tasks that have not been handed out when they had to be are unrunnable; so are those that come back to the queue later.

use crate::data::deadlines::Due;
use crate::data::record::State;
use crate::end::Reason;
use crate::ids::{Nanos, TaskId};
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// When [`hand_out`](Self::hand_out) may find a task at the earliest that was not handed out in time, should nothing
    /// else happen: to be asked then. It may find none: those that have ended are forgotten late.
    #[inline]
    pub fn expire_due(&self) -> Option<Nanos> {
        self.deadlines.next()
    }

    /// Ends what had to be handed out by now and is queued.
    pub(crate) fn expire(&mut self, now: Nanos) {
        while let Some(due) = self.deadlines.pop(now) {
            self.expire_each(due, now);
        }
    }

    /// A series may have been split since, and tasks of it have ended.
    fn expire_each(&mut self, due: Due, now: Nanos) {
        let mut nth = 0;
        while nth < due.tasks {
            let id = due.first.after(nth);
            let Some(slot) = self.tasks.find(id) else {
                nth += 1;
                continue;
            };
            let record = self.tasks.get(slot);
            nth += (record.last() + 1 - id.seq()) as u32;
            match record.has_each_within() {
                true => self.expire_some(slot, now),
                false => self.expire_all(slot),
            }
        }
    }

    /// The tasks of a record had to be handed out by now.
    fn expire_all(&mut self, slot: u32) {
        let record = self.tasks.get(slot);
        match record.state {
            State::Queued(_) => {
                let within = self.owners.policy_of(record).start_within;
                self.dequeue(slot);
                self.end(slot, Reason::NotBegunInTime { within });
            }
            State::Held { .. } => self.tasks.get_mut(slot).be_late(),
            // It was handed out in an earlier life.
            State::Away => {}
            State::Free(_) => unreachable!("it was found"),
        }
    }

    /// Some of the tasks of a record may have had to be handed out by now: each of these is parted from the others, which
    /// are due by themselves.
    fn expire_some(&mut self, slot: u32, now: Nanos) {
        let record = self.tasks.get(slot);
        let (first, submitted) = (
            TaskId {
                seq: record.seq,
                slot,
            },
            record.submitted,
        );
        let within = self.owners.each_within(record).to_vec();
        let at = |within: Nanos| submitted.saturating_add(within);
        let mut nth = 0;
        for part in within.chunk_by(|&a, &b| at(a) > now && at(b) > now) {
            let (id, tasks) = (first.after(nth), part.len() as u32);
            nth += tasks;
            let soonest = at(part.iter().copied().min().expect("no part is empty"));
            if soonest > now {
                self.on_deadline(id, tasks, soonest);
            } else {
                let slot = self.tasks.find(id).expect("it is of a live record");
                let slot = self.cut(slot, id.seq(), 1);
                self.expire_all(slot);
            }
        }
    }

    /// Tasks were submitted that have a deadline.
    pub(crate) fn on_deadline(&mut self, first: TaskId, tasks: u32, at: Nanos) {
        let live = self.owners.with_deadline();
        self.deadlines
            .push(Due { at, first, tasks }, live, &self.tasks);
    }

    /// Why a task that comes back from a slave may not be queued again.
    pub(crate) fn why_late(&self, slot: u32) -> Option<Reason> {
        let record = self.tasks.get(slot);
        record.is_late().then(|| Reason::NotBegunInTime {
            within: self.owners.policy_of(record).start_within,
        })
    }
}
