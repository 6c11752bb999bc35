//! The master's engine, as the fleet plays it: it tells what has arrived, and performs effects.

use rand::RngExt;
use ringmw_codec::frame::Block;

use super::Fleet;
use crate::io::engine::{Closed, ConnId, Handler, Want};
use crate::proto::conn::Effect;
use crate::testing::net::Cut;

impl Fleet {
    /// Tells the master what has arrived, or a share of it; whether that was all.
    pub(in crate::testing) fn take(&mut self, want: Want, handler: &mut dyn Handler) -> bool {
        let now = self.now;
        let mut keys: Vec<usize> = self.links.keys().copied().collect();
        let turn = self.rng.random_range(0..keys.len().max(1));
        keys.rotate_left(turn);
        let whole = self.calm || self.rng.random_range(0..20) != 0;
        let share = want == Want::Share && !self.calm && self.rng.random_range(0..4) == 0;
        let heard = match share {
            true => self.rng.random_range(0..=keys.len()),
            false => keys.len(),
        };
        let mut caught_up = heard == keys.len();
        for key in keys.into_iter().take(heard) {
            let link = self.links.get_mut(&key).expect("just listed");
            if link.closed || link.connect_at > now || link.master != self.at {
                continue;
            }
            if !link.accepted {
                if !self.accepting {
                    continue;
                }
                if self.shortages && !self.calm && self.rng.random_range(0..8) == 0 {
                    // The engine has paused accepting; who was to be accepted waits.
                    self.accepting = false;
                    handler.on_accept_error(rustix::io::Errno::MFILE.into());
                    continue;
                }
                link.accepted = true;
                handler.on_accept(link.id, link.peer());
            }
            let mut merged = Vec::new();
            let merge = self.rng.random_range(0..2) == 0;
            while let Some(chunk) = link.up.read(now) {
                match merge {
                    true => merged.extend_from_slice(&chunk),
                    false => tell(handler, link.id, &chunk),
                }
                if !whole {
                    break;
                }
            }
            if !merged.is_empty() {
                tell(handler, link.id, &merged);
            }
            if !whole && link.up.due().is_some_and(|due| due <= now) {
                caught_up = false;
                continue;
            }
            link.pump(now, &self.quality, &mut self.rng);
            for (buffer, drained) in link.take_returned() {
                handler.on_sent(link.id, buffer, drained);
            }
            match link.take_end(now) {
                None => {}
                Some(Cut::Fin) => handler.on_closed(link.id, Closed::Eof),
                Some(Cut::Reset) => {
                    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
                    handler.on_closed(link.id, Closed::Error(error));
                }
            }
        }
        caught_up
    }

    pub(in crate::testing) fn perform(&mut self, effect: Effect) {
        let (now, quality) = (self.now, self.quality);
        match effect {
            Effect::Send(conn, buffer) => {
                if let Some(link) = self
                    .by_conn
                    .get(&conn)
                    .and_then(|key| self.links.get_mut(key))
                {
                    link.send(buffer, now, &quality, &mut self.rng);
                }
            }
            Effect::SendShared(conn, bytes) => self.perform(Effect::Send(conn, bytes.to_vec())),
            Effect::Close { conn, graceful } => {
                if let Some(key) = self.by_conn.remove(&conn) {
                    if let Some(link) = self.links.get_mut(&key) {
                        link.close(graceful, now, &quality, &mut self.rng);
                    }
                    self.slots[conn.slot()].1 = false;
                    self.forget_links = true;
                }
            }
            Effect::Accepting(on) => self.accepting = on,
        }
    }
}

/// Bytes have come: into memory that the master lends, where it does, as an engine receives them.
fn tell(handler: &mut dyn Handler, conn: ConnId, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let Some(Block { mut bytes, until }) = handler.lend(conn) else {
            return handler.on_bytes(conn, rest);
        };
        let (its, after) = rest.split_at(rest.len().min(until - bytes.len()));
        bytes.extend_from_slice(its);
        rest = after;
        handler.on_block(conn, bytes, its.len());
    }
}
