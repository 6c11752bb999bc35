//! What stands between the frames of a core and the bytes of its connection where a run has a secret: bytes are sealed
//! after the effect and opened before the frame reader, so that the frames are the same with a secret and without.
//!
//! ```text
//!             first message       waits for its turn          answered
//!   master  | Fixed           ──► Half                   ──► Channel
//!   slave   | Initiator       ─────────────────────────► Channel      or a refusal in plain, and nothing else
//! ```
//!
//! Keys are facts: whoever drives a core draws them.

use std::collections::VecDeque;

use ringmw_codec::secret::{
    ANSWER_BYTES, Channel, FIRST_BYTES, First, FirstError, Fixed, Half, Initiator, Key, Opening,
    RECORD_PLAIN_BYTES_MAX, RecordError, Role, Secret, sealed_bytes,
};

/// A connection at the master.
pub(super) enum AtMaster {
    /// What it says first has not come whole.
    First(Fixed<FIRST_BYTES>, Key),
    /// It knows the secret, or has a recording of one who does; the answer costs the master something.
    Waits(Half),
    /// From here on all is records; the answer goes before the first of them.
    Answered(Channel, Option<[u8; ANSWER_BYTES]>),
    /// It has shown that it does not know the secret. What still comes is not read.
    Strange,
}

/// Why a connection is none of the run.
#[derive(Debug)]
pub(super) enum Unproved {
    /// It does not begin as a peer with a secret does.
    Opening(Opening),
    /// Its first message is wrong.
    First(FirstError),
    /// It wants to look on, where slaves work.
    Observer,
    /// It goes on before it has been answered.
    Early,
    /// What it says does not open.
    Record(RecordError),
}

impl AtMaster {
    pub(super) fn new(key: Key) -> Self {
        AtMaster::First(Fixed::default(), key)
    }

    /// Takes what came, and appends what opens to `plain`. True: the peer waits for its answer from now on.
    pub(super) fn open(
        &mut self,
        bytes: &[u8],
        (secret, member_id): (&Secret, &[u8]),
        plain: &mut Vec<u8>,
    ) -> Result<bool, Unproved> {
        match self {
            AtMaster::Strange => Ok(false),
            AtMaster::Waits(_) => Err(Unproved::Early),
            AtMaster::Answered(channel, _) => {
                let opened = channel.open(bytes, plain);
                opened.map_err(Unproved::Record).map(|()| false)
            }
            AtMaster::First(read, key) => {
                let mut rest = bytes;
                let Some(first) = read.feed(&mut rest).map_err(Unproved::Opening)? else {
                    return Ok(false);
                };
                if !rest.is_empty() {
                    return Err(Unproved::Early);
                }
                let first = First::read(&first).map_err(Unproved::First)?;
                let half = first.prove(secret, member_id, key.clone());
                let half = half.map_err(Unproved::First)?;
                if half.role() != Role::Slave {
                    return Err(Unproved::Observer);
                }
                *self = AtMaster::Waits(half);
                Ok(true)
            }
        }
    }

    /// Whether the peer waits for the master to answer.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self, AtMaster::Waits(_))
    }

    /// Whether the peer has said nothing at all.
    pub(super) fn is_silent(&self) -> bool {
        matches!(self, AtMaster::First(read, _) if read.bytes().is_empty())
    }

    /// Answers: the Diffie-Hellman.
    pub(super) fn answer(&mut self) {
        if let AtMaster::Waits(half) = std::mem::replace(self, AtMaster::Strange) {
            let (channel, answer) = half.answer();
            *self = AtMaster::Answered(channel, Some(answer));
        }
    }

    /// Nothing more of it is read, and what it is told is told in plain unless it was answered.
    pub(super) fn give_up(&mut self) {
        if !matches!(self, AtMaster::Answered(..)) {
            *self = AtMaster::Strange;
        }
    }

    /// Whether there is something to be said that is no frame.
    pub(super) fn has_answer(&self) -> bool {
        matches!(self, AtMaster::Answered(_, Some(_)))
    }

    /// Seals frames. Who was not answered is told in plain: it is a refusal.
    pub(super) fn seal(&mut self, frames: &mut Vec<u8>, out: &mut Vec<u8>) {
        match self {
            AtMaster::Answered(channel, answer) => {
                if let Some(answer) = answer.take() {
                    out.extend_from_slice(&answer);
                }
                channel.seal(frames, out);
            }
            _ => out.extend_from_slice(frames),
        }
    }

    /// Seals a part of frames that is others' too.
    pub(super) fn seal_shared(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            AtMaster::Answered(channel, None) => channel.seal_shared(piece, out),
            _ => out.extend_from_slice(piece),
        }
    }

    /// Bytes of a record that has begun and is not whole.
    pub(super) fn begun_bytes(&self) -> usize {
        match self {
            AtMaster::Answered(channel, _) => channel.buffered_bytes(),
            _ => 0,
        }
    }
}

/// A slave's own side.
pub(super) struct AtSlave {
    stage: Stage,
    /// Where each record ends in all that was given to be written, and how many bytes of frames are in it.
    records: VecDeque<(u64, u64)>,
    given: u64,
    written: u64,
}

enum Stage {
    Begins {
        initiator: Initiator,
        /// Until it has been given to be written.
        first: Option<Box<[u8; FIRST_BYTES]>>,
        answer: Fixed<ANSWER_BYTES>,
    },
    Open(Channel),
    /// It was answered in plain: that is a refusal, or nothing.
    Plain,
    /// It was answered by who does not know the secret.
    Strange,
}

impl AtSlave {
    /// It begins; and what it says first.
    pub(super) fn new(secret: &Secret, member_id: &[u8], key: Key) -> (Self, [u8; FIRST_BYTES]) {
        let (initiator, first) = Initiator::new(secret, Role::Slave, member_id, key);
        let begun = AtSlave {
            stage: Stage::Begins {
                initiator,
                first: Some(Box::new(first)),
                answer: Fixed::default(),
            },
            records: VecDeque::new(),
            given: 0,
            written: 0,
        };
        (begun, first)
    }

    /// Takes what came, and appends what opens to `plain`; else why what answered is not the master.
    pub(super) fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), String> {
        let mut rest = bytes;
        if let Stage::Begins { answer, .. } = &mut self.stage {
            match answer.feed(&mut rest) {
                Ok(None) => return Ok(()),
                Ok(Some(answer)) => self.finish(&answer)?,
                Err(Opening::Plain) => {
                    plain.extend_from_slice(answer.bytes());
                    self.stage = Stage::Plain;
                }
                Err(strange) => {
                    self.stage = Stage::Strange;
                    return Err(strange.to_string());
                }
            }
        }
        match &mut self.stage {
            Stage::Open(channel) => channel.open(rest, plain).map_err(|error| error.to_string()),
            Stage::Plain => {
                plain.extend_from_slice(rest);
                Ok(())
            }
            Stage::Begins { .. } | Stage::Strange => Ok(()),
        }
    }

    fn finish(&mut self, answer: &[u8; ANSWER_BYTES]) -> Result<(), String> {
        let begun = std::mem::replace(&mut self.stage, Stage::Strange);
        if let Stage::Begins { initiator, .. } = begun {
            let channel = initiator.finish(answer);
            self.stage = Stage::Open(channel.map_err(|error| error.to_string())?);
        }
        Ok(())
    }

    /// Whether the master has proved that it knows the secret.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open(_))
    }

    /// Whether [`take`](Self::take) would give something, where there are frames to be sent or not.
    pub(super) fn has_output(&self, has_frames: bool) -> bool {
        match &self.stage {
            Stage::Begins { first, .. } => first.is_some(),
            Stage::Open(_) => has_frames,
            Stage::Plain | Stage::Strange => false,
        }
    }

    /// Appends what is to be written now: the first message, or all frames, sealed. Frames wait until the master has
    /// answered.
    pub(super) fn take(&mut self, frames: &mut Vec<u8>, into: &mut Vec<u8>) {
        match &mut self.stage {
            Stage::Begins { first, .. } => {
                if let Some(first) = first.take() {
                    into.extend_from_slice(&first[..]);
                    self.given += FIRST_BYTES as u64;
                    self.records.push_back((self.given, 0));
                }
            }
            Stage::Open(channel) => {
                let mut left = frames.len();
                while left > 0 {
                    let plain = left.min(RECORD_PLAIN_BYTES_MAX);
                    self.given += sealed_bytes(plain) as u64;
                    self.records.push_back((self.given, plain as u64));
                    left -= plain;
                }
                channel.seal(frames, into);
                frames.clear();
            }
            Stage::Plain | Stage::Strange => {}
        }
    }

    /// So many more bytes of what was given have been written: how many of frames are in the records that are now whole.
    pub(super) fn on_written(&mut self, bytes: usize) -> usize {
        self.written += bytes as u64;
        let mut frames = 0;
        while let Some(record) = self
            .records
            .front()
            .filter(|record| record.0 <= self.written)
        {
            frames += record.1 as usize;
            self.records.pop_front();
        }
        frames
    }
}
