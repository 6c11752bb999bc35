//! A slave is lost: what becomes of the tasks in its hands and of those addressed to it.
//!
//! | task in its hands | becomes |
//! |---|---|
//! | cancelled before | nothing: it was told |
//! | handed to a second slave too | nothing: that one has it |
//! | not `retry`, unless the slave gave its word that it was not begun | unrunnable, `NotRetried` |
//! | announced, the slave crashed, and that makes `crash_limit` crashes | unrunnable, `Crashed` |
//! | ordered, not `do_it_anyway` | unrunnable, `SlaveLost` |
//! | any other | marked, unordered, at the front of the queue, the oldest first |
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
    pub fn lose(&mut self, slave: SlaveId, departure: Departure) -> Losses {
        let mut losses = Losses::default();
        let Some(at) = self.slaves.find(slave) else {
            return losses;
        };
        let lost = self.slaves.remove(at);
        if lost.group.takes_ordered() {
            self.disconnected.push((slave, lost.group));
        }
        let announced = lost
            .hands
            .announced()
            .filter(|_| departure == Departure::Crashed);
        let mut recycled = Vec::new();
        let first = lost.hands.first().map(|first| first.seq);
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
                record.crashes = record.crashes.saturating_add(1);
                losses.charged = Some((
                    TaskId {
                        seq: entry.seq,
                        slot: entry.slot,
                    },
                    record.crashes,
                ));
            }
            let charged = losses.charged.is_some_and(|(id, _)| id.seq == entry.seq);
            let may_have_begun = match departure {
                Departure::Goodbye { begun } => begun && first == Some(entry.seq),
                Departure::Crashed | Departure::Excused => true,
            };
            let may_run = record.policy().retry || !may_have_begun;
            match why_it_ends(record, slave, may_run, charged, self.config.crash_limit) {
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

/// Why a task that was in a lost slave's hands is unrunnable; `None`: it is recycled.
fn why_it_ends<P: Series>(
    record: &Record<P>,
    slave: SlaveId,
    may_run: bool,
    charged: bool,
    crash_limit: u32,
) -> Option<Reason> {
    if !may_run {
        Some(Reason::NotRetried(slave))
    } else if charged && crash_limit > 0 && record.crashes >= crash_limit {
        Some(Reason::Crashed {
            slave,
            crashes: record.crashes,
        })
    } else if record.bound_to().is_some() && !record.policy().do_it_anyway {
        Some(Reason::SlaveLost(slave))
    } else {
        None
    }
}
