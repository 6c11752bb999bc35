//! A run with a secret: nobody is heard who has not proved to know it; what is heard of a slave is what it has said, byte
//! for byte and from the first on; nothing is answered but what one says who knows the secret.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmw_codec::secret::{ANSWER_BYTES, FIRST_BYTES, RECORD_OVERHEAD_BYTES, SECRET_MAGIC};

use crate::io::engine::ConnId;
use crate::proto::master::MasterCore;
use crate::testing::law::Law;
use crate::testing::law::tables::Phase;

/// What a connection has said so far.
enum Wire {
    /// The beginning of its first message, or all sorts of things.
    First(Vec<u8>),
    /// What one says who knows the secret; it waits for the answer.
    Waits,
    /// It was answered. These bytes of a record have come.
    Records(Vec<u8>),
    /// Nothing of it is read any more.
    Over,
}

#[derive(Default)]
pub(super) struct Secured {
    on: bool,
    wires: BTreeMap<ConnId, Wire>,
    /// What those say first who know the secret, and the token.
    firsts: BTreeSet<[u8; FIRST_BYTES]>,
    /// Frames that a slave has sealed and the master has not opened.
    said: BTreeMap<ConnId, VecDeque<u8>>,
    /// Somebody on the way has changed what comes from them.
    tampered: BTreeSet<ConnId>,
    /// Connections that were answered.
    pub(super) answered: u64,
}

impl Law {
    /// The run has a secret.
    pub(in crate::testing) fn expect_secret(&mut self) {
        self.secured.on = true;
    }

    /// A process that knows the secret will say this first.
    pub(in crate::testing) fn on_first(&mut self, first: [u8; FIRST_BYTES]) {
        self.secured.firsts.insert(first);
    }

    /// A slave has sealed these frames.
    pub(in crate::testing) fn on_said(&mut self, conn: ConnId, frames: &[u8]) {
        if self.secured.on {
            let said = self.secured.said.entry(conn).or_default();
            said.extend(frames);
        }
    }

    /// What is on its way from this slave was changed.
    pub(in crate::testing) fn on_tampered(&mut self, conn: ConnId) {
        self.secured.tampered.insert(conn);
        self.on_liar(conn);
    }

    /// Bytes came, as they are on the wire.
    pub(in crate::testing) fn on_wire(&mut self, conn: ConnId, bytes: &[u8]) {
        let is_served = self
            .conns
            .get(&conn)
            .is_some_and(|state| state.phase != Phase::Dropped);
        if !self.secured.on || !is_served {
            return;
        }
        let wire = self.secured.wires.entry(conn);
        match wire.or_insert_with(|| Wire::First(Vec::new())) {
            Wire::First(said) => {
                said.extend_from_slice(bytes);
                let begin = said.len().min(SECRET_MAGIC.len());
                let is_strange = said[..begin] != SECRET_MAGIC[..begin];
                let whole = said.first_chunk::<FIRST_BYTES>();
                let knows = whole.is_some_and(|first| self.secured.firsts.contains(first));
                if knows && said.len() == FIRST_BYTES {
                    self.secured.wires.insert(conn, Wire::Waits);
                } else if is_strange || whole.is_some() {
                    self.end_wire(conn);
                }
            }
            // Nobody can say more who was not answered.
            Wire::Waits => self.end_wire(conn),
            Wire::Records(begun) => {
                begun.extend_from_slice(bytes);
                let mut rest = &begun[..];
                while let Some(length) = rest.first_chunk::<2>()
                    && let Some((_, after)) =
                        rest.split_at_checked(2 + usize::from(u16::from_le_bytes(*length)))
                {
                    rest = after;
                }
                *begun = rest.to_vec();
            }
            Wire::Over => {}
        }
    }

    fn end_wire(&mut self, conn: ConnId) {
        self.secured.wires.insert(conn, Wire::Over);
        self.on_offence(conn);
    }

    /// The master has opened frames, of who must have proved itself and said just that.
    pub(super) fn check_heard(&mut self, conn: ConnId, frames: &[u8]) {
        if !self.secured.on || frames.is_empty() {
            return;
        }
        let is_proved = matches!(self.secured.wires.get(&conn), Some(Wire::Records(_)));
        assert!(
            is_proved,
            "{conn} is heard and has not proved to know the secret"
        );
        let said = self.secured.said.entry(conn).or_default();
        for byte in frames {
            let next = said.pop_front();
            assert_eq!(
                next,
                Some(*byte),
                "{conn} is heard to say what it has not said"
            );
        }
    }

    /// The master has taken what came. Whose words were changed on the way may be dropped for it.
    pub(in crate::testing) fn on_taken_bytes(&mut self, conn: ConnId, core: &MasterCore) {
        let is_served = self
            .conns
            .get(&conn)
            .is_some_and(|state| state.phase != Phase::Dropped);
        if is_served && self.secured.tampered.contains(&conn) && !core.serves(conn) {
            self.end_wire(conn);
        }
    }

    /// What the master sends goes over the wire so. Frames in plain are for those alone who have not proved themselves, and
    /// they are told no more than that.
    pub(in crate::testing) fn on_sealed(&mut self, conn: ConnId, frames: &[u8], sealed: &[u8]) {
        if !self.secured.on || !self.conns.contains_key(&conn) {
            assert!(self.secured.on || frames == sealed, "{conn} has no secret");
            return;
        }
        let mut more = sealed.len() - frames.len();
        let wire = self.secured.wires.entry(conn);
        match wire.or_insert_with(|| Wire::First(Vec::new())) {
            Wire::Waits if more > 0 => {
                assert!(sealed.starts_with(&SECRET_MAGIC), "{conn} is answered");
                self.secured.answered += 1;
                self.secured.wires.insert(conn, Wire::Records(Vec::new()));
                more -= ANSWER_BYTES;
                self.count_sealed(conn, ANSWER_BYTES);
            }
            Wire::Records(_) => {}
            Wire::Over => assert!(
                more == 0 || !frames.is_empty(),
                "{conn} is answered, and does not know the secret"
            ),
            Wire::First(_) | Wire::Waits => {
                assert_eq!(more, 0, "{conn} is answered, and is a stranger")
            }
        }
        self.count_sealed(conn, more);
        let is_sealed = frames.is_empty() || more >= RECORD_OVERHEAD_BYTES;
        let is_proved = matches!(self.secured.wires[&conn], Wire::Records(_));
        assert!(is_sealed || !is_proved, "{conn} is told in plain");
    }

    /// Bytes of a record that is not complete.
    pub(super) fn begun_record(&self, conn: ConnId) -> usize {
        match self.secured.wires.get(&conn) {
            Some(Wire::Records(begun)) => begun.len(),
            _ => 0,
        }
    }

    /// The connection is gone.
    pub(super) fn close_wire(&mut self, conn: ConnId) {
        self.secured.wires.remove(&conn);
        self.secured.said.remove(&conn);
        self.secured.tampered.remove(&conn);
    }
}
