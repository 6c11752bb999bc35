//! A round of a simulated slave's I/O thread: it reads what has come, asks its core, writes what that has to say.

use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::control::{Bests, Starting};
use ringmw_codec::frame::{self, Block, FrameReader, Kind};
use ringmw_codec::shared::Want;
use ringmw_sched::Nanos;

use super::SimSlave;
use crate::proto::SECOND;
use crate::proto::slave::SlaveEnd;
use crate::testing::net::{Cut, Link, Quality};

/// How soon a socket that took a part takes more, and one that leaves asks what the master has.
const RETRY: Nanos = SECOND / 50;

impl SimSlave {
    /// One round of the I/O thread; see `Link::serve_until_over`.
    pub(super) fn io(
        &mut self,
        link: &mut Link,
        now: Nanos,
        quality: &Quality,
        rng: &mut ChaCha8Rng,
    ) -> Option<SlaveEnd> {
        self.io_at = Nanos::MAX;
        self.looked = now;
        while !self.deaf
            && !self.is_apart()
            && let Some(chunk) = link.down.read(now)
        {
            let (ear, mut heard) = (&mut self.ear, Heard::default());
            let hears = &mut |frames: &[u8]| hear(ear, &mut heard, frames);
            let mut rest = &chunk[..];
            // Into memory that it lends, as its I/O thread reads.
            while !rest.is_empty()
                && let Some(Block { mut bytes, until }) = self.core.lend()
            {
                let (its, after) = rest.split_at(rest.len().min(until - bytes.len()));
                bytes.extend_from_slice(its);
                rest = after;
                self.core.on_block(bytes, its.len(), now, hears);
            }
            if !rest.is_empty() {
                self.core.on_received(rest, now, hears);
            }
            self.recalls_open += heard.recalls;
            self.forget_told(&heard.told);
            if let Some(SlaveEnd::MasterLost(reason)) = self.core.end() {
                let is_read = !reason.contains("cannot be read");
                assert!(is_read || !self.trusts, "of an honest master: {reason}");
                let is_named = !reason.contains("another content");
                assert!(is_named, "of an honest master: {reason}");
            }
        }
        let hears = !self.deaf && !self.is_apart();
        let ended = link.down.ended(now).filter(|_| hears);
        if let Some(how) = ended {
            self.core.on_closed(match how {
                Cut::Fin => "it closed the connection",
                Cut::Reset => "reset",
            });
        }
        self.core.on_time(now, link.up.unacknowledged_for(now));
        if self.is_apart() {
            self.part(now, rng);
        }
        self.say_brought(now);
        if self.core.is_abandoned()
            && let Some(computing) = self.computing.take()
        {
            // It was answered for; the process ends under it.
            self.finished.push(computing.task);
        }
        self.deadline = self.core.next_deadline();
        self.take_output(now);
        self.learn();
        while self.core.poll_audit().is_some() {}
        self.bests.set_hungry(self.core.is_hungry());
        self.cancelled
            .store(self.core.is_cancelled(), Ordering::Relaxed);
        self.see_last_word_due(now);
        self.write(link, now, quality, rng);
        self.core.on_untaken(link.up.in_flight() as u64, now);
        self.awaits_room = !self.out.is_empty() && !link.up.has_room();
        let goes_on = !self.out.is_empty() && !self.awaits_room;
        if goes_on || self.core.end().is_some() {
            self.io_at = now + RETRY;
        }
        if self.out.is_empty() && self.core.has_output() {
            self.io_at = now;
        }
        self.compute_at = self.compute_at.min(now + rng.random_range(0..20_000));
        self.core.is_gone().then(|| self.core.end().cloned())?
    }

    fn write(&mut self, link: &mut Link, now: Nanos, quality: &Quality, rng: &mut ChaCha8Rng) {
        let mut room = self.out.len() - self.written;
        if room > 0 && rng.random_range(0..100) < self.pace.choke_percent {
            room = rng.random_range(0..room);
        }
        let offered = &self.out[self.written..][..room];
        let taken = link.up.write(offered, now, quality, rng);
        let frames = self.core.on_written(taken, now).min(self.sealed.len());
        let written: Vec<u8> = self.sealed.drain(..frames).collect();
        let (announced, unsent) = (&mut self.announced, &mut self.unsent);
        let said_goodbye = &mut self.said_goodbye;
        // A lie may be no frame at all; then there is nothing more to be learned of it.
        let _ = self
            .tap
            .feed(&written, &|_| u32::MAX, &mut |kind, payload| {
                if kind == Kind::Starting
                    && let Ok(starting) = Starting::decode(payload)
                {
                    announced.insert(starting.task);
                }
                *said_goodbye |= kind == Kind::Goodbye;
                if kind == Kind::Results {
                    // A lie may be one more.
                    unsent.pop_front();
                }
                ControlFlow::<()>::Continue(())
            });
        self.written += taken;
        if let Some((_, since)) = &mut self.last_word {
            *since += taken;
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
    }

    /// What it has to say. One that reads nothing beats at most: it answers for itself.
    fn take_output(&mut self, now: Nanos) {
        if !self.out.is_empty() {
            return;
        }
        if !self.deaf {
            return self.take_said(now, true);
        }
        if self.core.has_output() {
            let mut beat = Vec::new();
            frame::put_frame(&mut beat, Kind::Heartbeat, &[]);
            self.core.say_raw(&beat, false);
            self.take_said(now, false);
        }
    }

    /// What its core has to say goes out; `is_its_own`: it says frames.
    fn take_said(&mut self, now: Nanos, is_its_own: bool) {
        let (open, unsent) = (&mut self.recalls_open, &mut self.unsent);
        let wanted = &mut self.wanted;
        let logs_said = &mut self.logs_said;
        let (mouth, sealed, said) = (&mut self.mouth, &mut self.sealed, &mut self.said);
        let given = self.core.take_said(&mut self.out, now, &mut |frames| {
            sealed.extend(frames);
            said.extend_from_slice(frames);
            if !is_its_own {
                return;
            }
            let (mut count, logs) = (0, logs_said.len());
            let flow = mouth.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
                count += 1;
                if kind == Kind::Log {
                    logs_said.push((payload.to_vec(), true));
                }
                *open -= u64::from(kind == Kind::Returned);
                if kind == Kind::Results {
                    unsent.push_back(payload.len());
                }
                if kind == Kind::Want
                    && let Ok(want) = Want::decode(payload)
                    && want.from == 0
                {
                    wanted.push(want.name);
                }
                ControlFlow::<()>::Continue(())
            });
            assert!(flow.is_ok(), "a core says frames");
            for (_, alone) in &mut logs_said[logs..] {
                *alone = count == 1;
            }
        });
        if given {
            self.given_at = now;
        }
    }

    /// Writes bytes of no honest slave behind what it has to say.
    pub(in crate::testing) fn lie(&mut self, bytes: &[u8], now: Nanos) {
        while self.core.has_output() {
            self.take_said(now, true);
        }
        self.core.say_raw(bytes, true);
        self.take_said(now, false);
        self.lied = true;
        self.io_at = now;
    }

    /// Replaces its handshake.
    pub(in crate::testing) fn say_first(&mut self, bytes: Vec<u8>) {
        let mut own = Vec::new();
        self.core.take_output(&mut own, 0);
        self.out = bytes;
    }
}

/// What a slave has heard that matters to the observer.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) recalls: u64,
    /// Keys of the run's incumbents, by place.
    pub(super) told: Vec<(u32, u64)>,
}

/// Reads what it hears.
pub(super) fn hear(ear: &mut FrameReader, heard: &mut Heard, frames: &[u8]) {
    let _ = ear.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
        heard.recalls += u64::from(kind == Kind::Recall);
        if kind == Kind::Bests
            && let Ok(bests) = Bests::decode(payload)
        {
            heard.told.extend(bests.entries);
        }
        ControlFlow::<()>::Continue(())
    });
}
