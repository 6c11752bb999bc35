//! The hot path: tasks go out in packets, results come back. And what slaves say in between.

use crate::hands::Hold;
use crate::ids::{AlgorithmId, Group, Nanos, SlaveId, TaskId};
use crate::outcome::{Accepted, Offence, Verdict};
use crate::record::State;
use crate::scheduler::Scheduler;
use crate::slaves::Status;

impl<P> Scheduler<P> {
    /// Hands the next packet to one slave with room, until `None`. `each` is told every task of the packet in order:
    /// id, algorithm, whether it is marked (the slave announces its start), payload.
    ///
    /// Slaves with tasks of their own come first, in the order in which they could be served; then, for unordered
    /// tasks, the slave that was served least recently.
    pub fn hand_out(
        &mut self,
        now: Nanos,
        each: &mut impl FnMut(TaskId, AlgorithmId, bool, &P),
    ) -> Option<SlaveId> {
        let at = self.next_served()?;
        let (id, group) = (self.slaves.get(at).id, self.slaves.get(at).group);
        self.slaves.settle(at, group, Status::Busy);
        let mut bytes = u64::from(self.config.packet_bytes_base);
        for nth in 0..self.config.task_group {
            let Some(slot) = self.next_task_for(at, group) else {
                break;
            };
            bytes += u64::from(self.tasks.get(slot).bytes);
            // Submit let no task pass that exceeds the limit alone: the first one always fits.
            if nth > 0 && bytes > u64::from(self.config.packet_bytes_max) {
                break;
            }
            self.dequeue(slot);
            self.take_in_hand(at, slot, now);
            let record = self.tasks.get(slot);
            each(
                TaskId {
                    seq: record.seq,
                    slot,
                },
                record.algorithm,
                record.marked(),
                &record.payload,
            );
        }
        Some(id)
    }

    /// The slave that is served next: it is idle, and there is a task for it.
    fn next_served(&self) -> Option<u32> {
        if self.stopped {
            return None;
        }
        self.slaves.first_with_own(self.hold_queue).or_else(|| {
            let work = self.unordered.has_work(self.hold_queue);
            if work {
                self.slaves.first_for_unordered()
            } else {
                None
            }
        })
    }

    /// The task that goes next into this slave's packet: its own before unordered ones, as its group allows.
    fn next_task_for(&self, at: u32, group: Group) -> Option<u32> {
        let own = self.slaves.get(at).own.front(&self.tasks, self.hold_queue);
        own.or_else(|| {
            let unordered = group.takes_unordered();
            if unordered {
                self.unordered.front(&self.tasks, self.hold_queue)
            } else {
                None
            }
        })
    }

    fn take_in_hand(&mut self, at: u32, slot: u32, now: Nanos) {
        let record = self.tasks.get_mut(slot);
        let position = self.slaves.hands_mut(at).push(record.seq, slot, now);
        record.state = State::Held {
            slave: at,
            position,
        };
        self.counts.running += 1;
    }

    /// A result has come. Results come in the order in which their tasks were handed out.
    ///
    /// # Errors
    /// The slave does not hold that task, or another one comes first.
    pub fn result(&mut self, slave: SlaveId, task: u64) -> Result<Verdict<P>, Offence> {
        let at = self.slaves.find(slave).ok_or(Offence::NotHeld { task })?;
        let hands = self.slaves.hands_mut(at);
        let entry = hands.on_result(task)?;
        let is_last = hands.is_empty();
        let verdict = if entry.hold == Hold::Live {
            self.counts.running -= 1;
            let record = self.tasks.remove(entry.slot);
            Verdict::Accepted(Accepted {
                id: TaskId {
                    seq: entry.seq,
                    slot: entry.slot,
                },
                algorithm: record.algorithm,
                owner: record.owner(),
                payload: record.payload,
                slave,
                submitted: record.submitted,
                handed_out: entry.handed_out,
            })
        } else {
            Verdict::Late
        };
        if is_last {
            self.on_hands_empty(at);
        }
        Ok(verdict)
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
        let hands = self.slaves.hands_mut(at);
        hands.on_withdrawn(task, begun)?;
        if hands.is_empty() {
            self.on_hands_empty(at);
        }
        Ok(())
    }
}
