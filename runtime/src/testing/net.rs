//! Links: two byte streams each, that delay, split, merge, stall, and can be cut at any byte.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_sched::Nanos;

use crate::io::engine::ConnId;

/// How good the links of a world are.
#[derive(Copy, Clone, Debug)]
pub(super) struct Quality {
    pub(super) delay_min: Nanos,
    pub(super) delay_max: Nanos,
    /// Of a thousand chunks so many take a hundred times as long.
    pub(super) slow_permille: u32,
    /// Of a hundred writes so many arrive in pieces.
    pub(super) split_percent: u32,
    /// Bytes that may be on their way in one direction.
    pub(super) window: usize,
}

/// How a stream ended.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Fin,
    Reset,
}

/// One direction.
///
/// ```text
///   written | chunk, due at 17 | chunk, due at 12 | chunk, due at 12 | read
/// ```
#[derive(Default)]
pub(super) struct Pipe {
    chunks: VecDeque<(Nanos, Vec<u8>)>,
    last: Nanos,
    in_flight: usize,
    /// Bytes that may be on their way, as the last write had it; none before the first.
    window: Option<usize>,
    end: Option<(Nanos, Cut)>,
    /// Since when nothing comes through.
    stalled: Option<Nanos>,
}

impl Pipe {
    /// Writes as much as the window takes; how much that was.
    pub(super) fn write(
        &mut self,
        bytes: &[u8],
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) -> usize {
        self.window = Some(quality.window);
        if self.end.is_some() {
            return bytes.len();
        }
        let taken = bytes
            .len()
            .min(quality.window.saturating_sub(self.in_flight));
        let mut rest = &bytes[..taken];
        let split = rng.random_range(0..100) < quality.split_percent;
        while !rest.is_empty() {
            let piece = match split {
                true => rng
                    .random_range(1..=rest.len())
                    .min(rng.random_range(1..400)),
                false => rest.len(),
            };
            let mut delay = rng.random_range(quality.delay_min..=quality.delay_max);
            if rng.random_range(0..1000) < quality.slow_permille {
                delay *= 100;
            }
            self.last = self.last.max(now + delay);
            self.chunks.push_back((self.last, rest[..piece].to_vec()));
            rest = &rest[piece..];
        }
        self.in_flight += taken;
        taken
    }

    /// Ends the stream behind what is on its way.
    pub(super) fn finish(&mut self, now: Nanos, how: Cut) {
        if self.end.is_none() {
            self.end = Some((self.last.max(now), how));
        }
    }

    /// Ends the stream at a random byte of what is on its way; how many bytes were lost.
    pub(super) fn cut(&mut self, now: Nanos, how: Cut, rng: &mut ChaCha8Rng) -> usize {
        let keep = rng.random_range(0..=self.in_flight);
        let lost = self.in_flight - keep;
        let mut left = keep;
        for (_, chunk) in &mut self.chunks {
            chunk.truncate(left);
            left -= chunk.len();
        }
        self.chunks.retain(|(_, chunk)| !chunk.is_empty());
        self.in_flight = keep;
        self.end = None;
        self.finish(now, how);
        lost
    }

    /// Somebody on the way changes what is on it: flips a bit, or repeats, takes away or puts out of order a piece, or puts
    /// one in that goes the other way.
    pub(super) fn tamper(&mut self, back: &Pipe, rng: &mut ChaCha8Rng) -> bool {
        if self.chunks.is_empty() {
            return false;
        }
        let at = rng.random_range(0..self.chunks.len());
        match (rng.random_range(0..5), back.chunks.front()) {
            (4, Some((_, reflected))) => {
                self.in_flight += reflected.len();
                let due = self.chunks[at].0;
                self.chunks.insert(at, (due, reflected.clone()));
            }
            (0, _) => {
                let again = self.chunks[at].clone();
                self.in_flight += again.1.len();
                self.chunks.insert(at, again);
            }
            (1, _) => {
                let (_, gone) = self.chunks.remove(at).expect("it is there");
                self.in_flight -= gone.len();
            }
            (2, _) if at > 0 && self.chunks[at - 1].1 != self.chunks[at].1 => {
                let earlier = std::mem::take(&mut self.chunks[at - 1].1);
                let later = std::mem::replace(&mut self.chunks[at].1, earlier);
                self.chunks[at - 1].1 = later;
            }
            _ => {
                let chunk = &mut self.chunks[at].1;
                let byte = rng.random_range(0..chunk.len());
                chunk[byte] ^= 1 << rng.random_range(0..8);
            }
        }
        true
    }

    /// The host is gone without a word: what is on its way may still come, and then nothing ever.
    pub(super) fn stall(&mut self, now: Nanos) {
        self.stalled.get_or_insert(now);
    }

    pub(super) fn heal(&mut self, now: Nanos) {
        self.stalled = None;
        for (due, _) in &mut self.chunks {
            *due = now.max(*due);
        }
        self.last = self.last.max(now);
        if let Some((due, _)) = &mut self.end {
            *due = now.max(*due);
        }
    }

    /// How long bytes have been on their way in a direction that is stalled.
    pub(super) fn unacknowledged_for(&self, now: Nanos) -> Nanos {
        match self.stalled {
            Some(since) if self.in_flight > 0 => now - since,
            _ => 0,
        }
    }

    /// When something comes out next.
    pub(super) fn due(&self) -> Option<Nanos> {
        if self.stalled.is_some() {
            return None;
        }
        match self.chunks.front() {
            Some((due, _)) => Some(*due),
            None => self.end.map(|(due, _)| due),
        }
    }

    /// The next chunk that has arrived.
    pub(super) fn read(&mut self, now: Nanos) -> Option<Vec<u8>> {
        if self.due()? > now {
            return None;
        }
        let (_, chunk) = self.chunks.pop_front()?;
        self.in_flight -= chunk.len();
        Some(chunk)
    }

    /// How it ended, once all that came before has been read.
    pub(super) fn ended(&self, now: Nanos) -> Option<Cut> {
        match self.end {
            Some((due, how)) if due <= now && self.chunks.is_empty() && self.stalled.is_none() => {
                Some(how)
            }
            _ => None,
        }
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether a write would be taken, in part at least.
    pub(super) fn has_room(&self) -> bool {
        self.end.is_some() || self.window.is_none_or(|window| self.in_flight < window)
    }
}

/// A connection of a slave to the master, with the master's buffers that are still to be written.
pub(super) struct Link {
    pub(super) id: ConnId,
    pub(super) up: Pipe,
    pub(super) down: Pipe,
    pub(super) connect_at: Nanos,
    pub(super) accepted: bool,
    /// Which of the world's masters it leads to.
    pub(super) master: u32,
    /// The master's host lost power: nothing ever comes through again.
    pub(super) is_lost: bool,
    /// The master has closed it and is told nothing more.
    pub(super) closed: bool,
    told_end: bool,
    /// The master's buffers that are not written whole, and how much of the first is.
    outbox: VecDeque<Vec<u8>>,
    written: usize,
    returned: Vec<Vec<u8>>,
    /// End the stream once the outbox is written.
    finish: bool,
}

impl Link {
    pub(super) fn new(id: ConnId, connect_at: Nanos) -> Self {
        Link {
            id,
            up: Pipe::default(),
            down: Pipe::default(),
            connect_at,
            accepted: false,
            master: 0,
            is_lost: false,
            closed: false,
            told_end: false,
            outbox: VecDeque::new(),
            written: 0,
            returned: Vec::new(),
            finish: false,
        }
    }

    /// Whether it carries what a slave says: neither end has ended it, and nothing holds it up.
    pub(super) fn is_sound(&self) -> bool {
        let lives = self.up.end.is_none() && self.down.end.is_none();
        lives && !self.closed && !self.finish && self.up.stalled.is_none()
    }

    pub(super) fn peer(&self) -> SocketAddr {
        let [_, a, b, c] = self.id.generation().to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(10, a, b, c), 1024 + self.id.slot() as u16))
    }

    /// When the master has something to take of it.
    pub(super) fn master_due(&self, accepting: bool) -> Option<Nanos> {
        if self.closed {
            return None;
        }
        if !self.accepted {
            return accepting.then_some(self.connect_at);
        }
        if !self.returned.is_empty() {
            return Some(0);
        }
        self.up.due().filter(|_| !self.told_end)
    }

    pub(super) fn send(
        &mut self,
        buffer: Vec<u8>,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) {
        if self.closed || self.told_reset() || buffer.is_empty() {
            return;
        }
        self.outbox.push_back(buffer);
        self.pump(now, quality, rng);
    }

    fn told_reset(&self) -> bool {
        self.told_end && matches!(self.up.end, Some((_, Cut::Reset)))
    }

    /// Writes what the window takes.
    pub(super) fn pump(&mut self, now: Nanos, quality: &Quality, rng: &mut ChaCha8Rng) {
        while let Some(front) = self.outbox.front() {
            self.written += self.down.write(&front[self.written..], now, quality, rng);
            if self.written < front.len() {
                return;
            }
            self.written = 0;
            let buffer = self.outbox.pop_front().expect("looked at above");
            if !self.closed {
                self.returned.push(buffer);
            }
        }
        if self.finish {
            self.down.finish(now, Cut::Fin);
        }
    }

    /// The buffers that were written, each with whether it was the last one there is.
    pub(super) fn take_returned(&mut self) -> impl Iterator<Item = (Vec<u8>, bool)> + use<> {
        let returned = std::mem::take(&mut self.returned);
        let (last, drained) = (returned.len(), self.outbox.is_empty());
        returned
            .into_iter()
            .zip(1..)
            .map(move |(buffer, nth)| (buffer, drained && nth == last))
    }

    /// How the peer ended it, once.
    pub(super) fn take_end(&mut self, now: Nanos) -> Option<Cut> {
        let how = self.up.ended(now)?;
        (!std::mem::replace(&mut self.told_end, true)).then_some(how)
    }

    /// The master closes it.
    pub(super) fn close(
        &mut self,
        graceful: bool,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) {
        self.closed = true;
        self.returned.clear();
        if graceful {
            self.finish = true;
            self.pump(now, quality, rng);
            return;
        }
        self.outbox.clear();
        // With unread bytes a close is a reset, which can overtake what was sent.
        match self.up.in_flight() > 0 && rng.random_range(0..2) == 0 {
            true => _ = self.down.cut(now, Cut::Reset, rng),
            false => self.down.finish(now, Cut::Fin),
        }
    }

    /// The master is killed, or its host gone without a word: what the kernel has of its bytes may still come.
    pub(super) fn lose_master(&mut self, has_power: bool, now: Nanos, rng: &mut ChaCha8Rng) {
        self.closed = true;
        self.outbox.clear();
        self.returned.clear();
        match has_power {
            false => {
                self.is_lost = true;
                self.up.stall(now);
                self.down.stall(now);
            }
            true if rng.random_range(0..2) == 0 => _ = self.down.cut(now, Cut::Reset, rng),
            true => self.down.finish(now, Cut::Fin),
        }
    }
}
