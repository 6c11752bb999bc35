//! A slave of a run that has a secret: it proves itself, and its frames wait until the master has.

use ringmw_codec::control::{Begun, Goodbye, GoodbyeCode};
use ringmw_codec::frame::{Block, Kind};
use ringmw_codec::secret::{FIRST_BYTES, Key, Secret};
use ringmw_sched::Nanos;

use super::SlaveCore;
use super::leave::SlaveEnd;
use crate::proto::secured::{AtSlave, Frames, open_block};

/// A core at this time.
struct At<'a>(&'a mut SlaveCore, Nanos);

impl Frames for At<'_> {
    fn go_on(&self) -> bool {
        self.0.end.is_none() && !self.0.is_apart()
    }

    fn lend(&mut self) -> Option<Block> {
        self.0.lend_frame()
    }

    fn on_block(&mut self, bytes: Vec<u8>, _: usize) {
        self.0.on_frame_block(bytes, self.1);
    }

    fn on_bytes(&mut self, bytes: &[u8]) {
        self.0.on_bytes(bytes, self.1);
    }
}

impl SlaveCore {
    /// The run has this secret, and `key` was drawn for this connection. To be said before anything is taken or given.
    /// Gives what it will say first.
    pub fn set_secret(&mut self, secret: &Secret, member_id: &[u8], key: Key) -> [u8; FIRST_BYTES] {
        let (secured, first) = AtSlave::new(secret, member_id, key);
        self.secured = Some(Box::new(secured));
        first
    }

    /// What is sealed goes into records of so many bytes at most; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_record_bytes(&mut self, bytes: usize) {
        self.record_bytes = bytes;
    }

    /// Bytes came from the master, as they were on the wire. `heard` is told the frames in them, for who looks on.
    pub fn on_received(&mut self, bytes: &[u8], now: Nanos, heard: &mut dyn FnMut(&[u8])) {
        let is_over = self.end.is_some() || self.is_apart();
        let Some(secured) = &mut self.secured else {
            heard(bytes);
            return self.on_bytes(bytes, now);
        };
        if is_over {
            return;
        }
        let mut plain = Vec::new();
        let opened = secured.open(bytes, &mut plain);
        if !plain.is_empty() {
            heard(&plain);
            self.on_bytes(&plain, now);
        }
        if let Err(reason) = opened {
            let reason = format!("what it sent cannot be read: {reason}");
            self.finish_with(SlaveEnd::MasterLost(reason));
        }
    }

    /// What was lent for records comes back, with what has come.
    pub(super) fn on_records(&mut self, bytes: Vec<u8>, now: Nanos, heard: &mut dyn FnMut(&[u8])) {
        let Some(mut secured) = self.secured.take() else {
            return;
        };
        let mut plain = Vec::new();
        let opened = match secured.channel() {
            Some(channel) => open_block(channel, &bytes, &mut plain, heard, &mut At(self, now)),
            None => Ok(()),
        };
        self.records = bytes;
        if self.is_apart() {
            // What was read cut it off from that master, and its channel with it.
            return;
        }
        self.secured = Some(secured);
        if let Err(reason) = opened {
            let reason = format!("what it sent cannot be read: {reason}");
            self.finish_with(SlaveEnd::MasterLost(reason));
        }
    }

    /// Whether a frame of this kind may come now: who has not proved that it knows the secret may refuse, no more.
    pub(super) fn may_come(&self, kind: Kind) -> bool {
        kind == Kind::Refuse || self.is_proved()
    }

    /// Whether the master has proved itself, or need not.
    pub(crate) fn is_proved(&self) -> bool {
        self.secured
            .as_ref()
            .is_none_or(|secured| secured.is_open())
    }

    /// It is another master's: it proves itself and says so, in place of its hello or behind it.
    pub fn turn_away(&mut self, reason: &str) {
        if self.handed == 0 {
            self.out.clear();
        }
        self.out.put(Kind::Goodbye, |out| {
            let goodbye = Goodbye {
                code: GoodbyeCode::Other,
                begun: Begun::None,
                reason: reason.to_owned(),
            };
            goodbye.encode(out);
        });
    }

    /// Whether all that it has to say has been given to be written.
    pub fn is_all_said(&self) -> bool {
        self.is_proved() && self.out.is_empty()
    }

    /// Replaces what it has to say by bytes of no honest slave, or adds them; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn say_raw(&mut self, bytes: &[u8], adds: bool) {
        if !adds {
            self.logs = Default::default();
        }
        self.out.put_raw(bytes, adds);
    }
}
