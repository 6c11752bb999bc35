//! Slaves that come back to their run bring what they have kept: each result is that of the task of its algorithm, stream
//! and arguments, whatever number this life gives that. Who knows the tasks by those says which it is
//! ([`MasterCore::take_returned`]); then it ends here.

use std::sync::Arc;

use ringmw_codec::audit::Event;
use ringmw_codec::batch::Elements;
use ringmw_codec::control::Offer;
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_sched::{AlgorithmId, SlaveId, TaskId, TaskSpec};

use super::MasterCore;
use super::conn::{Phase, Stop, offence};
use super::known::Recorded;
use crate::proto::bytes::SmallBytes;
use crate::proto::conn::ConnId;
use crate::proto::incumbents::{BESTS_MAX, Keys, improve};

/// Keys of incumbents that a result may have come of, each by its image.
pub(crate) type CameOf = Arc<[(u32, u64)]>;

/// A result that a slave has kept.
pub(crate) struct Returned {
    pub(crate) algorithm: AlgorithmId,
    /// Family and number of its task's stream.
    pub(crate) stream: (u64, u64),
    /// The hash of its task's arguments.
    pub(crate) args: u128,
    pub(crate) recorded: Recorded,
    /// It counts only where these are known.
    pub(crate) came_of: CameOf,
}

impl MasterCore {
    /// Whether that slave was one of this run before.
    pub(super) fn comes_back(&self, conn: ConnId) -> bool {
        match self.conn(conn).map(|conn| &conn.phase) {
            Some(Phase::Slave { info, .. }) => info.about.comes_back_to != 0,
            _ => false,
        }
    }

    /// The keys that former lives have told this slave.
    pub(super) fn on_came_of(&mut self, conn: ConnId, keys: &[(u32, u64)]) -> Result<(), Stop> {
        if !self.comes_back(conn) {
            return Err(offence(
                "keys that a slave was told which comes back to no run",
            ));
        }
        if let Some((best, _)) = keys.iter().find(|(best, _)| *best as usize >= BESTS_MAX) {
            return Err(offence(format!(
                "it was told a key of a Best with the number {best}"
            )));
        }
        if let Some(came_of) = self.came_of(conn) {
            let mut all: Keys = came_of.iter().copied().collect();
            improve(&mut all, keys.iter().copied());
            *came_of = all.into_iter().collect();
        }
        Ok(())
    }

    fn came_of(&mut self, conn: ConnId) -> Option<&mut CameOf> {
        match self.conn_mut(conn).map(|conn| &mut conn.phase) {
            Some(Phase::Slave { info, .. }) => Some(&mut info.came_of),
            _ => None,
        }
    }

    /// A key of these that this life does not know, and which incumbent it is of. One that is not made yet has none: what was
    /// given before it did not see it.
    pub(crate) fn unknown_of(&self, came_of: &CameOf) -> Option<u32> {
        let unknown = |(best, image): &&(u32, u64)| !self.bests.has_reached(*best, *image);
        came_of.iter().find(unknown).map(|(best, _)| *best)
    }

    /// All of a packet is checked before any of it is taken.
    pub(super) fn on_kept(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        kept: &Kept<'_>,
    ) -> Result<(), Stop> {
        if !self.comes_back(conn) {
            return Err(offence("kept results of a slave that comes back to no run"));
        }
        for result in &kept.results {
            self.check_kept(result).map_err(offence)?;
        }
        let came_of = self.came_of(conn).cloned().unwrap_or_default();
        self.returned
            .extend(kept.results.iter().map(|result| Returned {
                algorithm: AlgorithmId(result.algorithm),
                stream: (result.domain, result.stream),
                args: result.args,
                recorded: Recorded {
                    output: SmallBytes::copy_from_slice(result.output),
                    failed: result.failed,
                    compute: result.compute_ns,
                },
                came_of: Arc::clone(&came_of),
            }));
        self.trail.push(Event::Brought {
            slave: slave.0,
            results: kept.results.len() as u64,
        });
        Ok(())
    }

    fn check_kept(&self, result: &KeptResult<'_>) -> Result<(), String> {
        let Some(info) = self.config.algorithms.get(usize::from(result.algorithm)) else {
            return Err(format!("a kept result of algorithm {}", result.algorithm));
        };
        if result.failed {
            let text = std::str::from_utf8(result.output);
            return text
                .map(drop)
                .map_err(|error| format!("a kept failure of `{}`: {error}", info.name));
        }
        let alone = Elements::new(1, false, result.output.len()).expect("one fills its body");
        (info.check_outputs)(result.output, alone, 0..1)
            .map_err(|(_, error)| format!("a kept result of `{}`: {error}", info.name))
    }

    /// What slaves that came back have kept, since it was taken last.
    pub(crate) fn take_returned(&mut self) -> Vec<Returned> {
        std::mem::take(&mut self.returned)
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn has_returned(&self) -> bool {
        !self.returned.is_empty()
    }

    /// A live task has this result, which its slave of a former life has kept; false if it has ended. Whoever holds it now
    /// is told to drop it.
    pub(crate) fn answer_returned(&mut self, id: TaskId, recorded: Recorded) -> bool {
        let Some(task) = self.sched.cancel(id) else {
            return false;
        };
        self.forget_checkpoints(id.seq(), 1);
        self.forget_talks(id.seq(), 1);
        self.collect_withdrawals();
        let body = task.payload.alone();
        let spec = TaskSpec {
            policy: task.policy,
            ..TaskSpec::new(task.algorithm, task.owner, 0)
        };
        self.record_known(&spec, &body, &recorded);
        let (failed, compute) = (recorded.failed, recorded.compute);
        self.account
            .on_results(task.algorithm, (1, failed), compute, |_| compute);
        self.tell_known(id, &spec, body, recorded);
        true
    }

    /// An offer of a slave that came back: it may be of an incumbent that this life has not made yet.
    pub(super) fn on_former_offer(&mut self, slave: SlaveId, offer: Offer<'_>) -> Result<(), Stop> {
        if self.bests.park(offer.best, offer.key, offer.witness) {
            return Ok(());
        }
        self.on_offer(slave, offer)
    }
}
