//! What the master keeps for a peer that does not read, and of frames that are not complete: who is behind gets no work,
//! who is far behind is dropped, and nothing is kept of a connection that is closed.

use std::collections::BTreeMap;

use ringmw_codec::frame::{HEADER_BYTES, Kind};
use ringmw_sched::{Departure, Nanos, SlaveId};

use crate::io::engine::ConnId;
use crate::proto::master::MasterCore;
use crate::testing::law::Law;

#[derive(Default)]
struct Line {
    /// Bytes that the master has sent and the engine has not written.
    bytes: u64,
    /// When the first of them was sent.
    since: Nanos,
    /// The bytes when the master had taken what came.
    at_turn: u64,
    /// Of the bytes, those of a frame that is not sent whole yet.
    begun: u64,
    /// Of the bytes, the keys that were sent last in this turn: they ride with the packet of tasks behind them.
    keys: u64,
}

#[derive(Default)]
pub(super) struct Unsent {
    lines: BTreeMap<ConnId, Line>,
    /// All together when the master had taken what came.
    at_turn: u64,
}

impl Unsent {
    fn bytes(&self) -> u64 {
        self.lines.values().map(|line| line.bytes).sum()
    }
}

impl Law {
    /// The engine has written a buffer.
    pub(in crate::testing) fn on_written(&mut self, conn: ConnId, bytes: usize) {
        if let Some(line) = self.unsent.lines.get_mut(&conn) {
            line.bytes -= bytes as u64;
        }
    }

    /// The master has taken what came, and goes on to hand out.
    pub(super) fn begin_unsent(&mut self) {
        self.unsent.at_turn = self.unsent.bytes();
        for line in self.unsent.lines.values_mut() {
            (line.at_turn, line.keys) = (line.bytes, 0);
        }
    }

    pub(super) fn count_unsent(&mut self, conn: ConnId, kind: Kind, payload_bytes: usize) {
        let unsent = &mut self.unsent;
        let (now, at_turn) = (self.now, unsent.at_turn);
        if kind == Kind::Tasks {
            let waiting = unsent.lines.iter().filter(|(_, line)| line.at_turn > 0);
            let waiting: Vec<(Nanos, ConnId)> =
                waiting.map(|(conn, line)| (line.since, *conn)).collect();
            let longest = waiting.iter().min().filter(|(since, _)| {
                let as_long = waiting.iter().filter(|other| other.0 == *since);
                as_long.count() == 1
            });
            let line = unsent.lines.entry(conn).or_default();
            let (before, most) = (
                line.bytes - line.keys - line.begun,
                self.config.unsent_bytes_max,
            );
            assert!(
                before < most,
                "{conn} gets work, and {before} bytes are kept for it of {most}"
            );
            let all_max = self.config.rules.sched.queued_bytes_max / 4;
            assert!(
                line.at_turn == 0 || at_turn < all_max,
                "{conn} gets work with bytes that it has not read, and {at_turn} are kept for all of {all_max}"
            );
            let has_waited_longest = longest.is_some_and(|(_, longest)| *longest == conn);
            assert!(
                !has_waited_longest || at_turn <= all_max / 2,
                "{conn} has waited longest and gets work, and {at_turn} bytes are kept for all of {all_max}"
            );
        }
        let line = unsent.lines.entry(conn).or_default();
        if line.bytes == 0 {
            line.since = now;
        }
        let bytes = (HEADER_BYTES + payload_bytes) as u64;
        line.keys = match kind {
            Kind::Bests | Kind::Resume => line.keys + bytes,
            _ => 0,
        };
        line.bytes += bytes - std::mem::take(&mut line.begun);
    }

    /// So many bytes of a frame have been sent that is not whole.
    pub(super) fn count_begun(&mut self, conn: ConnId, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let now = self.now;
        let line = self.unsent.lines.entry(conn).or_default();
        if line.bytes == 0 {
            line.since = now;
        }
        line.bytes += bytes - line.begun;
        line.begun = bytes;
    }

    /// What was sent last has so many more bytes on the wire.
    pub(super) fn count_sealed(&mut self, conn: ConnId, more: usize) {
        let now = self.now;
        let line = self.unsent.lines.entry(conn).or_default();
        if line.bytes == 0 {
            line.since = now;
        }
        line.bytes += more as u64;
    }

    /// Whether it has not read all that it was sent.
    pub(super) fn has_unsent(&self, conn: ConnId) -> bool {
        let line = self.unsent.lines.get(&conn);
        line.is_some_and(|line| line.bytes > 0)
    }

    pub(super) fn close_unsent(&mut self, conn: ConnId) {
        self.unsent.lines.remove(&conn);
    }

    /// A piece of shared data goes to those alone who read.
    pub(super) fn check_piece_room(&self, conn: ConnId) {
        let line = &self.unsent.lines[&conn];
        let most = self.config.unsent_bytes_max / 4;
        assert!(
            line.at_turn < most,
            "{conn} is sent a piece of shared data, and {} bytes are kept for it of {most}",
            line.at_turn
        );
    }

    /// A slave is dropped because it does not read.
    pub(super) fn on_unread(&mut self, id: SlaveId) {
        let conn = self.slaves[&id].conn;
        let bytes = self.unsent.lines[&conn].at_turn;
        let most = self.config.unsent_bytes_max;
        assert!(
            bytes > 2 * most,
            "{id} is dropped, and {bytes} bytes are kept for it of {most}"
        );
        self.lose(conn, Departure::Excused);
    }

    pub(super) fn check_unsent(&self, core: &MasterCore) {
        for (conn, line) in &self.unsent.lines {
            let most = self.config.unsent_bytes_max;
            assert!(
                line.at_turn <= 2 * most,
                "{} bytes are kept for {conn} of {most}",
                line.at_turn
            );
        }
        assert_eq!(
            core.unsent_bytes(),
            self.unsent.bytes(),
            "bytes that are kept for peers that do not read"
        );
        let begun = self
            .conns
            .iter()
            .map(|(id, conn)| conn.reader.buffered_bytes() + self.begun_record(*id));
        assert_eq!(
            core.begun_bytes(),
            begun.sum::<usize>() as u64,
            "bytes of frames that are not complete"
        );
    }
}
