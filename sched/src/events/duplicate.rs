//! Duplicates of stragglers: when nothing is queued, a task that runs far longer than its algorithm's median is handed
//! to an idle slave too. The first result is accepted, the other slave is told to drop it.
//!
//! A task with a twin stands in two slaves' hands. Its record leads to one of them, `twins` to the other; when one is
//! lost or gives it back, the other has it alone.

use crate::data::hands::{Hold, Place};
use crate::data::record::State;
use crate::data::slaves::Status;
use crate::ids::{AlgorithmId, Nanos, SlaveId, TaskId};
use crate::scheduler::Scheduler;
use crate::series::{HAS_PAYLOAD, Series};
use crate::task::Handed;

/// A straggler has run this many times its algorithm's median,
const MEDIANS: u64 = 4;
/// and at least this much longer than it.
const LONGER: Nanos = 100_000_000;
/// All slaves are looked at, and no more often than this.
const LOOKS_APART: Nanos = 50_000_000;

impl<P: Series> Scheduler<P> {
    /// Hands a straggler to an idle slave as well.
    pub(crate) fn duplicate(
        &mut self,
        now: Nanos,
        each: &mut impl FnMut(TaskId, AlgorithmId, Handed, &P),
    ) -> Option<SlaveId> {
        if !self.may_duplicate() {
            return None;
        }
        let to = self.slaves.first_for_unordered()?;
        let from = self.next_straggler(now)?;
        let first = *self.slaves.hands(from).first()?;
        let slot = self.cut(first.slot, first.seq, 1);
        let (id, group) = (self.slaves.get(to).id, self.slaves.get(to).group);
        self.slaves.line_up(to, group, Status::Busy);
        self.slaves.begin_packet(to, now);
        let record = self.tasks.get(slot);
        let task = TaskId {
            seq: record.seq,
            slot,
        };
        let position = self
            .slaves
            .hands_mut(to)
            .push(record.seq, 1, slot, now, false);
        let place = Place {
            slave: to,
            position,
        };
        self.twins.insert(slot, place);
        self.duplicated += 1;
        each(
            task,
            record.algorithm,
            Handed {
                marked: record.marked(),
                bound: false,
            },
            record.payload.as_ref().expect(HAS_PAYLOAD),
        );
        self.slaves.on_hands_changed(to);
        Some(id)
    }

    /// Looks at all slaves, at most every [`LOOKS_APART`], then gives those that it saw one by one.
    fn next_straggler(&mut self, now: Nanos) -> Option<u32> {
        if now >= self.looked + LOOKS_APART {
            self.looked = now;
            let seen = self.slaves.iter().map(|(at, slave)| (at, slave.id));
            self.stragglers = seen.filter(|&(at, _)| self.straggles(at, now)).collect();
        }
        while let Some((at, id)) = self.stragglers.pop() {
            if self.slaves.find(id) == Some(at) && self.straggles(at, now) {
                return Some(at);
            }
        }
        None
    }

    /// Whether the task that this slave runs is a straggler.
    fn straggles(&self, at: u32, now: Nanos) -> bool {
        let hands = self.slaves.hands(at);
        let Some(first) = hands.first() else {
            return false;
        };
        if first.hold != Hold::Live || first.bound || self.twins.contains_key(&first.slot) {
            return false;
        }
        let record = self.tasks.get(first.slot);
        let Some(median) = self.times.median(record.algorithm) else {
            return false;
        };
        if record.travels_alone() {
            // Two that say the same to one master, or a second one that begins where the first one was long ago.
            return false;
        }
        let runs = now.saturating_sub(hands.first_since);
        record.policy().retry && runs > (MEDIANS * median).max(median + LONGER)
    }

    /// When [`hand_out`](Self::hand_out) may find a straggler at the earliest, should nothing else happen.
    pub fn duplicate_due(&self) -> Option<Nanos> {
        let may = self.may_duplicate() && self.counts.running > 0 && self.slaves.idle_takers() > 0;
        may.then(|| self.looked + LOOKS_APART)
    }

    fn may_duplicate(&self) -> bool {
        self.config.duplicate_stragglers
            && !self.stopped
            && !self.hold_queue
            && self.owners.len() == 0
    }

    /// A task ends by what the slave `at` said, or without it: whoever else has it is to drop it.
    #[inline]
    pub(crate) fn end_twin(&mut self, slot: u32, at: u32) {
        if self.twins.is_empty() {
            return;
        }
        let Some(twin) = self.twins.remove(&slot) else {
            return;
        };
        let other = match self.tasks.get(slot).state {
            State::Held { slave, position } if twin.slave == at => Place { slave, position },
            _ => twin,
        };
        self.withdraw(other);
    }

    /// The slave `at` has a task no more, without having answered it. False: another one has it now alone.
    pub(crate) fn let_twin_go(&mut self, slot: u32, at: u32, position: u32) -> bool {
        let Some(twin) = self.twins.remove(&slot) else {
            return true;
        };
        if twin
            != (Place {
                slave: at,
                position,
            })
        {
            let Place { slave, position } = twin;
            self.tasks.get_mut(slot).state = State::Held { slave, position };
        }
        false
    }
}
