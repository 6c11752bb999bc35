//! A slave is lost: what becomes of the tasks in its hands and of those addressed to it.
//!
//! | task in its hands | becomes |
//! |---|---|
//! | cancelled before | nothing: it was told |
//! | handed to a second slave too | nothing: that one has it |
//! | not `retry`, unless the slave gave its word that it was not begun | unrunnable, `NotRetried` |
//! | announced, the slave crashed, and that makes as many crashes as the limit in force | unrunnable, `Crashed` |
//! | ordered, not `do_it_anyway` | unrunnable, `SlaveLost` |
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
use crate::end::Reason;
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
        let mut losses = Losses::default();
        let Some(at) = self.slaves.find(slave) else {
            return losses;
        };
        let connected = self.slaves.len() as u32;
        let lost = self.slaves.remove(at);
        let limit = limit_in_force(self.config.crash_limit, connected, lost.keeps_limit);
        if lost.group.takes_ordered() {
            self.disconnected.push((slave, lost.group));
        }
        let first = lost.hands.first().map(|first| first.seq);
        let announced = match departure {
            Departure::Crashed => lost.hands.announced(),
            Departure::Ended => first,
            Departure::Excused | Departure::Goodbye { .. } => None,
        };
        let mut recycled = Vec::new();
        for mut entry in lost.hands.into_held() {
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
            if announced == Some(entry.seq) && entry.tasks > 1 {
                // One of a run is charged, the others follow it.
                recycled.push((entry.seq + 1, entry.slot));
                let rest = entry.slot;
                entry.slot = self.tasks.split_front(rest, 1);
                self.owners.on_split(&mut self.tasks, rest, entry.slot);
            }
            let record = self.tasks.get_mut(entry.slot);
            if record.policy().retry && announced == Some(entry.seq) {
                if record.crashes == 0 {
                    record.crash_limit = limit;
                }
                record.crashes = record.crashes.saturating_add(1);
                losses.crash_limit = record.crash_limit.into();
                losses.charged = Some((
                    TaskId {
                        seq: entry.seq,
                        slot: entry.slot,
                    },
                    record.crashes.into(),
                ));
            }
            let charged = losses.charged.is_some_and(|(id, _)| id.seq == entry.seq);
            let may_have_begun = match departure {
                Departure::Goodbye { begun } => begun && first == Some(entry.seq),
                Departure::Ended => first == Some(entry.seq),
                Departure::Crashed | Departure::Excused => true,
            };
            let may_run = record.policy().retry || !may_have_begun;
            match why_it_ends(record, slave, may_run, charged) {
                None => recycled.push((entry.seq, entry.slot)),
                Some(reason) => {
                    self.end(entry.slot, reason);
                    losses.unrunnable += 1;
                }
            }
        }
        recycled.sort_unstable();
        for &(_, slot) in recycled.iter().rev() {
            let record = self.tasks.get_mut(slot);
            record.unbind();
            record.mark();
            self.enqueue_front(slot);
        }
        losses.recycled = self.numbers(&recycled);
        let (rerouted, ended) = self.reroute(lost.own, Reason::SlaveLost(slave));
        losses.rerouted = rerouted;
        losses.unrunnable += ended;
        self.rebalance();
        losses
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
    slave: SlaveId,
    may_run: bool,
    charged: bool,
) -> Option<Reason> {
    if !may_run {
        Some(Reason::NotRetried(slave))
    } else if charged && record.crash_limit > 0 && record.crashes >= record.crash_limit {
        Some(Reason::Crashed {
            slave,
            crashes: record.crashes.into(),
        })
    } else if record.bound_to().is_some() && !record.policy().do_it_anyway {
        Some(Reason::SlaveLost(slave))
    } else {
        None
    }
}
