//! What slaves say, frame by frame; the short answers are given here.

use ringmw_codec::audit::{Event, TaskRanges};
use ringmw_codec::control::{Goodbye, Offer, Returned, Withdrawn};
use ringmw_codec::frame::Kind;
use ringmw_codec::kinds::FromSlave;
use ringmw_sched::SlaveId;

use super::MasterCore;
use super::conn::{Phase, Stop, offence, too_early};
use crate::proto::bytes::Came;
use crate::proto::conn::ConnId;

impl MasterCore {
    pub(super) fn on_frame(
        &mut self,
        conn: ConnId,
        kind: Kind,
        payload: Came<'_>,
    ) -> Result<(), Stop> {
        let (payload, came) = (payload.bytes(), &payload);
        let slave = match self.conn(conn).map(|c| &c.phase) {
            Some(Phase::Slave { id, .. }) => *id,
            Some(Phase::Handshake { .. }) if kind == Kind::Hello => {
                return self.on_hello(conn, payload);
            }
            Some(Phase::Handshake { .. }) if kind == Kind::Goodbye => {
                let goodbye = Goodbye::decode(payload).map_err(offence)?;
                return Err(Stop::Away(goodbye.reason));
            }
            _ => return Err(too_early(kind)),
        };
        // Matched where it lies: it is large.
        match FromSlave::read(kind, payload) {
            Err(error) => Err(offence(error)),
            Ok(FromSlave::Hello(_)) => Err(offence("a slave never sends Hello twice")),
            Ok(FromSlave::Heartbeat(_)) => Ok(()),
            Ok(FromSlave::Results(view)) => self.on_results(conn, slave, &view, came),
            Ok(FromSlave::Withdrawn(withdrawn)) => self.on_withdrawn(slave, withdrawn),
            Ok(FromSlave::Returned(returned)) => self.on_returned(slave, &returned),
            Ok(FromSlave::Starting(starting)) => {
                self.sched.announce(slave, starting.task).map_err(offence)
            }
            Ok(FromSlave::Said(said)) => self.on_said(slave, said),
            Ok(FromSlave::Heard(heard)) => self.on_heard(slave, heard),
            Ok(FromSlave::Progress(progress)) => self.on_progress(conn, slave, progress),
            Ok(FromSlave::Log(log)) => self.on_log(conn, slave, &log),
            Ok(FromSlave::Want(want)) => self.on_want(conn, want),
            Ok(FromSlave::Checkpoint(checkpoint)) => self.on_checkpoint(conn, slave, &checkpoint),
            Ok(FromSlave::CameOf(keys)) => self.on_came_of(conn, &keys.entries),
            Ok(FromSlave::Kept(kept)) => self.on_kept(conn, slave, &kept),
            Ok(FromSlave::Offer(offer)) if self.comes_back(conn) => {
                self.on_former_offer(slave, offer)
            }
            Ok(FromSlave::AsksHungry(asks)) => self.on_asks_hungry(asks),
            Ok(FromSlave::Offer(offer)) => self.on_offer(slave, offer),
            Ok(FromSlave::Goodbye(goodbye)) => Err(Stop::Goodbye(goodbye)),
        }
    }

    pub(super) fn on_withdrawn(
        &mut self,
        slave: SlaveId,
        withdrawn: Withdrawn,
    ) -> Result<(), Stop> {
        for (task, begun) in withdrawn.tasks {
            self.sched.withdrawn(slave, task, begun).map_err(offence)?;
        }
        self.note_idle(slave);
        Ok(())
    }

    pub(super) fn on_returned(&mut self, slave: SlaveId, returned: &Returned) -> Result<(), Stop> {
        let tasks = self.sched.given_back(slave, &returned.tasks);
        self.record_not_begun();
        let tasks = tasks.map_err(offence)?;
        if !tasks.is_empty() {
            self.trail.push(Event::Returned {
                slave: slave.0,
                count: tasks.len() as u64,
                tasks: TaskRanges::from_sorted(tasks),
            });
        }
        self.note_idle(slave);
        Ok(())
    }

    fn note_idle(&mut self, slave: SlaveId) {
        if self.sched.held_by(slave) == 0
            && let Some(slot) = self.slots.get(slave)
            && let Some(Some(state)) = self.conns.get_mut(slot as usize)
        {
            self.trail.on_hands_empty(&mut state.meter, slave);
        }
    }

    pub(super) fn on_offer(&mut self, slave: SlaveId, offer: Offer<'_>) -> Result<(), Stop> {
        if self
            .bests
            .accept(offer.best, offer.key, offer.witness)
            .map_err(offence)?
        {
            self.trail.on_best(offer.best, offer.key, slave);
        }
        Ok(())
    }
}
