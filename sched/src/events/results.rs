//! The hot path, back: what a slave says of the tasks in its hands. Results, starts, acknowledgements, compute times.

use std::convert::Infallible;

use crate::data::hands::Hold;
use crate::end::Accepted;
use crate::ids::{AlgorithmId, Nanos, SlaveId, TaskId};
use crate::offence::Offence;
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// A result has come, the end of its task. `None`: it is late, since its task was cancelled meanwhile or another
    /// slave has answered it; it is counted, and not delivered. Results come in the order in which their tasks were
    /// handed out.
    ///
    /// # Errors
    /// The slave does not hold that task, or another one comes first.
    pub fn result(&mut self, slave: SlaveId, task: u64) -> Result<Option<Accepted<P>>, Offence> {
        let Ok(accepted) = self.results_if(slave, task, 1, |_, _| Ok::<(), Infallible>(()))?;
        Ok(accepted)
    }

    /// As [`result`](Self::result), for `most` tasks that follow one another in number, or fewer: as many as are of
    /// one series, which the payload tells, once `check` agrees. That is asked if the tasks are live and come next, by
    /// their algorithm and how many there are, before anything is changed. A late one comes by itself.
    ///
    /// # Errors
    /// As there; inside, what `check` says.
    #[inline]
    pub fn results_if<E>(
        &mut self,
        slave: SlaveId,
        task: u64,
        most: u32,
        check: impl FnOnce(AlgorithmId, u32) -> Result<(), E>,
    ) -> Result<Result<Option<Accepted<P>>, E>, Offence> {
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        let clock = self.clock;
        let hands = self.slaves.hands_mut(at);
        if let Some(first) = hands.first()
            && first.seq == task
            && first.hold == Hold::Live
            && let Err(error) = check(self.tasks.get(first.slot).algorithm, first.tasks.min(most))
        {
            return Ok(Err(error));
        }
        let entry = hands.on_results(task, most)?;
        hands.first_since = clock;
        self.on_let_go(at);
        if entry.hold != Hold::Live {
            return Ok(Ok(None));
        }
        let tasks = entry.tasks.min(most);
        self.counts.running -= u64::from(tasks);
        self.end_twin(entry.slot, at);
        let record = self.tasks.get(entry.slot);
        let (algorithm, owner, submitted) =
            (record.algorithm, self.owners.of(record), record.submitted);
        let policy = self.owners.policy_of(record);
        self.owners.on_let_go(record, tasks);
        let payload = if tasks == entry.tasks {
            self.free(entry.slot)
        } else {
            let before = record.bytes_of_tasks();
            let payload = self.tasks.take_front(entry.slot, tasks);
            self.owners
                .on_front_ended(self.tasks.get(entry.slot), before);
            payload
        };
        Ok(Ok(Some(Accepted {
            id: TaskId {
                seq: entry.seq,
                slot: entry.slot,
            },
            algorithm,
            owner,
            policy,
            payload,
            slave,
            submitted,
            handed_out: entry.handed_out,
        })))
    }

    /// A slave says that it begins a task: should it be lost now, that one is charged. Slaves begin tasks in the order
    /// handed out, and send before what they have finished.
    ///
    /// # Errors
    /// The slave does not hold that task, or another one comes first.
    pub fn announce(&mut self, slave: SlaveId, task: u64) -> Result<(), Offence> {
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        self.slaves.hands_mut(at).on_announce(task)
    }

    /// A slave acknowledges a withdrawal. Not begun: it will never answer and holds the task no more. Begun: its
    /// result will come in its turn, and be late.
    ///
    /// # Errors
    /// The slave does not hold that task, or its withdrawal was not sent or is acknowledged already.
    pub fn withdrawn(&mut self, slave: SlaveId, task: u64, begun: bool) -> Result<(), Offence> {
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        let clock = self.clock;
        let hands = self.slaves.hands_mut(at);
        hands.on_withdrawn(task, begun)?;
        hands.first_since = clock;
        self.on_let_go(at);
        Ok(())
    }

    /// Something has left a slave's hands.
    #[inline]
    pub(crate) fn on_let_go(&mut self, at: u32) {
        if self.slaves.hands(at).is_empty() {
            self.on_hands_empty(at);
        } else {
            self.slaves.on_hands_changed(at);
        }
    }

    /// A slave reported how long a task of this algorithm took.
    pub fn learn_compute(&mut self, algorithm: AlgorithmId, compute: Nanos) {
        self.times.learn(algorithm, 1, compute, [compute]);
    }

    /// As [`learn_compute`](Self::learn_compute) for several tasks: how many, how long they took together, and each.
    pub fn learn_computes(
        &mut self,
        algorithm: AlgorithmId,
        tasks: u32,
        together: Nanos,
        each: impl IntoIterator<Item = Nanos>,
    ) {
        self.times.learn(algorithm, tasks, together, each);
    }
}
