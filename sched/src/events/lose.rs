//! A slave is lost: what becomes of the tasks in its hands and of those addressed to it.
//!
//! | task in its hands | becomes |
//! |---|---|
//! | cancelled before | nothing: it was told |
//! | handed to a second slave too | nothing: that one has it |
//! | not `retry`, unless the slave gave its word that it was not begun | unrunnable, `NotRetried` |
//! | announced, the slave crashed, and that makes as many crashes as the limit in force | unrunnable, `Crashed` |
//! | ordered, not `do_it_anyway` | unrunnable, `SlaveLost` |
//! | not handed out before it had to be, were it queued again | unrunnable, `NotBegunInTime` |
//! | any other | marked, unordered, at the front of the queue, the oldest first |
//!
//! A task that the slave itself named as the one that ended it is as one announced.
//!
//! The limit in force is `crash_limit`, or half of the slaves that were connected just before the task's first crash, two
//! at least, if that is less: else one task could take the last slave. Where somebody starts another in the place of each
//! slave it may be kept as it is.
//!
//! The first row that fits. Ordered tasks still queued for it: `do_it_anyway` alone decides.

use crate::data::hands::Hold;
use crate::data::record::Record;
use crate::end::{Death, Reason};
use crate::ids::{SlaveId, TaskId};
use crate::loss::{Departure, Losses};
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// A slave is gone. An unknown one loses nothing.
    ///
    /// The crash limit in force for a task that is charged here for the first time: `crash_limit`, but no more than half of
    /// the slaves connected just before, two at least, unless [`keep_crash_limit`](Self::keep_crash_limit) was told of the
    /// slave.
    pub fn lose(&mut self, slave: SlaveId, departure: Departure) -> Losses {
        self.lose_by(slave, departure, Death::Connection)
    }

    /// As [`lose`](Self::lose), where more is known of its end: that is told with a task that is unrunnable for it.
    pub fn lose_by(&mut self, slave: SlaveId, departure: Departure, death: Death) -> Losses {
        let mut losses = Losses::default();
        let Some(at) = self.slaves.find(slave) else {
            return losses;
        };
        let connected = self.slaves.len() as u32;
        self.on_gone_from_quarantine(at, slave);
        let lost = self.slaves.remove(at);
        let limit = limit_in_force(self.config.crash_limit, connected, lost.keeps_limit);
        let was_reserved = self.end_reservation(slave);
        if lost.group.takes_ordered() && !was_reserved {
            self.disconnected.push((slave, lost.group));
        }
        let first = lost.hands.first().map(|first| first.seq);
        let announced = match departure {
            Departure::Crashed => lost.hands.announced(),
            Departure::Ended => first,
            Departure::Excused | Departure::Goodbye { .. } => None,
        };
        let mut recycled = Vec::new();
        for entry in lost.hands.into_held() {
            if entry.hold != Hold::Live {
                losses.released += 1;
                continue;
            }
            if !self.let_twin_go(entry.slot, at, entry.position) {
                losses.elsewhere += 1;
                continue;
            }
            self.counts.running -= u64::from(entry.tasks);
            self.owners
                .on_let_go(self.tasks.get(entry.slot), entry.tasks);
            let is_announced = announced == Some(entry.seq);
            let may_have_begun = match departure {
                Departure::Goodbye { begun } => begun && first == Some(entry.seq),
                Departure::Ended => first == Some(entry.seq),
                Departure::Crashed | Departure::Excused => true,
            };
            // The first of a series alone is charged, or was begun; the others follow it.
            let is_begun =
                may_have_begun && matches!(departure, Departure::Goodbye { .. } | Departure::Ended);
            let charge = is_announced.then_some(limit);
            let retry = self.tasks.get(entry.slot).policy().retry;
            let is_apart = entry.tasks > 1 && (is_announced || (is_begun && !retry));
            let slot = match is_apart {
                true => self.split_record(entry.slot, 1),
                false => entry.slot,
            };
            if self.let_go(slot, (slave, death), may_have_begun, charge, &mut losses) {
                recycled.push((entry.seq, slot));
            }
            let others_begun = may_have_begun && !is_begun;
            if is_apart && self.let_go(entry.slot, (slave, death), others_begun, None, &mut losses)
            {
                recycled.push((entry.seq + 1, entry.slot));
            }
        }
        recycled.sort_unstable();
        for &(_, slot) in recycled.iter().rev() {
            let record = self.tasks.get_mut(slot);
            record.unbind();
            record.mark();
            self.enqueue_front(slot);
            // Else it has ended.
            self.on_not_begun(slot);
        }
        losses.recycled = self.numbers(&recycled);
        let (rerouted, ended) = self.reroute(lost.own, Reason::SlaveLost(slave));
        losses.rerouted = rerouted;
        losses.unrunnable += ended;
        self.rebalance();
        if lost.promised.is_some() {
            self.promise();
        }
        losses
    }

    /// The tasks of a record that was in a lost slave's hands, of which the only one is charged with this limit, or none: true, they
    /// are recycled; else they have ended.
    fn let_go(
        &mut self,
        slot: u32,
        (slave, death): (SlaveId, Death),
        may_have_begun: bool,
        charge: Option<u16>,
        losses: &mut Losses,
    ) -> bool {
        let late = self.why_late(slot);
        let record = self.tasks.get_mut(slot);
        let may_run = record.policy().retry || !may_have_begun;
        let charge = charge.filter(|_| record.policy().retry);
        if let Some(limit) = charge {
            if record.crashes == 0 {
                record.crash_limit = limit;
            }
            losses.crash_limit = record.crash_limit.into();
            record.crashes = record.crashes.saturating_add(1);
            let seq = record.seq;
            losses.charged = Some((TaskId { seq, slot }, record.crashes.into()));
        }
        let why = why_it_ends(record, (slave, death), may_run, charge.is_some()).or(late);
        if let Some(reason) = why {
            losses.unrunnable += self.end(slot, reason);
        }
        why.is_none()
    }
}

/// Of `crash_limit` and half of the slaves that were connected, two at least, the smaller. Above what a record counts to a
/// limit is that.
fn limit_in_force(crash_limit: u32, connected: u32, is_kept: bool) -> u16 {
    let limit = match is_kept {
        true => crash_limit,
        false => crash_limit.min(connected.div_ceil(2).max(2)),
    };
    u16::try_from(limit).unwrap_or(u16::MAX)
}

/// Why a task that was in a lost slave's hands is unrunnable; `None`: it is recycled.
fn why_it_ends<P: Series>(
    record: &Record<P>,
    (slave, death): (SlaveId, Death),
    may_run: bool,
    charged: bool,
) -> Option<Reason> {
    if !may_run {
        Some(Reason::NotRetried(slave))
    } else if charged && record.crash_limit > 0 && record.crashes >= record.crash_limit {
        Some(Reason::Crashed {
            slave,
            crashes: record.crashes.into(),
            death,
        })
    } else if record.bound_to().is_some() && !record.policy().do_it_anyway {
        Some(Reason::SlaveLost(slave))
    } else {
        None
    }
}
