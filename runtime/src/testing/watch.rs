//! What those who look on are told of slaves as they live, beside what goes over the wire.

use ringmw_codec::secret::FIRST_BYTES;
use ringmw_codec::shared::BlobName;
use ringmw_sched::Nanos;

use super::law::{Law, LogLine, Unwritten};
use crate::io::engine::ConnId;
use crate::proto::slave::Here;

/// Who looks on at the slaves of a fleet. One that holds nothing against them says nothing here.
pub(super) trait Watch {
    /// Who knows the secret says this first.
    fn on_first(&mut self, _first: [u8; FIRST_BYTES]) {}
    /// A slave has sealed these frames.
    fn on_said(&mut self, _conn: ConnId, _frames: &[u8]) {}
    /// A slave's task logs these lines; slaves go by their place in the fleet.
    fn on_logged(&mut self, _slave: usize, _lines: Vec<LogLine>, _now: Nanos) {}
    /// A slave says a line of its log: whether that goes alone.
    fn on_log_said(&mut self, _slave: usize, _payload: &[u8], _alone: bool, _now: Nanos) {}
    /// A slave has finished a task, and can still speak of it.
    fn on_finished(&mut self, _conn: ConnId, _task: u64) {}
    /// A slave has had its turn with so many recalls that it has not answered.
    fn on_slave_heard(&mut self, _conn: ConnId, _recalls_open: u64) {}
    /// A slave has begun to ask for these, and has those.
    fn on_wanted(
        &mut self,
        _conn: ConnId,
        _wanted: &[BlobName],
        _here: &mut dyn Iterator<Item = BlobName>,
    ) {
    }
    /// A slave begins to go of its own will.
    fn on_going(&mut self, _conn: ConnId, _is_idle: bool, _unsent: Unwritten) {}
    /// A slave begins a task.
    fn on_begins(&mut self, _conn: ConnId, _task: u64, _unsent: Unwritten) {}
    /// The task that begins is given this shared data.
    fn on_given(&mut self, _task: u64, _here: &[Here]) {}
    /// Of a task only its slave's state was to be made, in vain.
    fn on_not_begun(&mut self, _task: u64) {}
    /// So many offers for one place wait at a slave.
    fn on_offers_waiting(&mut self, _conn: ConnId, _offers: usize) {}
    /// The process ends, and has or has not said the goodbye that it could.
    fn on_goodbye_owed(&mut self, _conn: ConnId, _is_owed: bool) {}
    /// For so long it has not looked at the clock, though nothing keeps it from that.
    fn on_unlooked(&mut self, _conn: ConnId, _for: Nanos) {}
    /// Whether that task is marked for the slave on this connection.
    fn is_marked(&self, _conn: ConnId, _task: u64) -> bool {
        false
    }
    /// The process ends.
    fn on_exit(&mut self, _conn: ConnId, _unacknowledged_for: Nanos) {}
    /// Something befalls it that may take what it has finished.
    fn on_excused(&mut self, _conn: ConnId) {}
    /// What the slave on this connection holds, with the algorithms; none: it may not lie.
    fn hands(&self, _conn: ConnId) -> Option<Vec<(u64, u16)>> {
        None
    }
    /// Whether it has announced a task and not answered it.
    fn is_announced(&self, _conn: ConnId) -> bool {
        false
    }
    /// It lies from here on.
    fn on_liar(&mut self, _conn: ConnId) {}
    /// What it says is changed on the way.
    fn on_tampered(&mut self, _conn: ConnId) {}
}

impl Watch for Law {
    fn on_first(&mut self, first: [u8; FIRST_BYTES]) {
        Law::on_first(self, first);
    }

    fn on_said(&mut self, conn: ConnId, frames: &[u8]) {
        Law::on_said(self, conn, frames);
    }

    fn on_logged(&mut self, slave: usize, lines: Vec<LogLine>, now: Nanos) {
        Law::on_logged(self, slave, lines, now);
    }

    fn on_log_said(&mut self, slave: usize, payload: &[u8], alone: bool, now: Nanos) {
        Law::on_log_said(self, slave, payload, alone, now);
    }

    fn on_finished(&mut self, conn: ConnId, task: u64) {
        Law::on_finished(self, conn, task);
    }

    fn on_slave_heard(&mut self, conn: ConnId, recalls_open: u64) {
        Law::on_slave_heard(self, conn, recalls_open);
    }

    fn on_wanted(
        &mut self,
        conn: ConnId,
        wanted: &[BlobName],
        here: &mut dyn Iterator<Item = BlobName>,
    ) {
        Law::on_wanted(self, conn, wanted, here);
    }

    fn on_going(&mut self, conn: ConnId, is_idle: bool, unsent: Unwritten) {
        Law::on_going(self, conn, is_idle, unsent);
    }

    fn on_begins(&mut self, conn: ConnId, task: u64, unsent: Unwritten) {
        Law::on_begins(self, conn, task, unsent);
    }

    fn on_given(&mut self, task: u64, here: &[Here]) {
        Law::on_given(self, task, here);
    }

    fn on_not_begun(&mut self, task: u64) {
        Law::on_not_begun(self, task);
    }

    fn on_offers_waiting(&mut self, conn: ConnId, offers: usize) {
        Law::on_offers_waiting(self, conn, offers);
    }

    fn on_goodbye_owed(&mut self, conn: ConnId, is_owed: bool) {
        Law::on_goodbye_owed(self, conn, is_owed);
    }

    fn is_marked(&self, conn: ConnId, task: u64) -> bool {
        Law::is_marked(self, conn, task)
    }

    fn on_unlooked(&mut self, conn: ConnId, unlooked_for: Nanos) {
        Law::on_unlooked(self, conn, unlooked_for);
    }

    fn on_exit(&mut self, conn: ConnId, unacknowledged_for: Nanos) {
        Law::on_exit(self, conn, unacknowledged_for);
    }

    fn on_excused(&mut self, conn: ConnId) {
        Law::on_excused(self, conn);
    }

    fn hands(&self, conn: ConnId) -> Option<Vec<(u64, u16)>> {
        Law::hands(self, conn)
    }

    fn is_announced(&self, conn: ConnId) -> bool {
        Law::is_announced(self, conn)
    }

    fn on_liar(&mut self, conn: ConnId) {
        Law::on_liar(self, conn);
    }

    fn on_tampered(&mut self, conn: ConnId) {
        Law::on_tampered(self, conn);
    }
}
