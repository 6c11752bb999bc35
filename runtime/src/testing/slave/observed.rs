//! What the observer asks a simulated slave.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ringmw_codec::control::Offer;
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::shared::{BlobName, Want};
use ringmw_sched::Nanos;

use super::{Life, SimSlave};
use crate::proto::slave::{FAREWELL, GOODBYE_RESERVE, SlaveEnd};
use crate::testing::net::Link;

/// A goodbye is no longer, in its record.
const GOODBYE_ROOM: usize = 200;

impl SimSlave {
    /// Recalls that it has read and not answered; one that is over, or reads nothing any more, answers none.
    pub(in crate::testing) fn recalls_open(&self) -> u64 {
        match self.core.end() {
            None if !self.lied && !self.deaf => {
                self.recalls_open - self.unsaid(Kind::Returned).len() as u64
            }
            _ => 0,
        }
    }

    /// Payloads of frames of this kind that its core has put and not given to be written, but for a liar's.
    pub(in crate::testing) fn unsaid(&self, of: Kind) -> Vec<Vec<u8>> {
        let mut unsaid = Vec::new();
        for part in self.core.unsaid().filter(|_| !self.lied) {
            let read = FrameReader::new().feed(part, &|_| u32::MAX, &mut |kind, payload| {
                if kind == of {
                    unsaid.push(payload.to_vec());
                }
                ControlFlow::<()>::Continue(())
            });
            assert!(read.is_ok(), "parts are whole frames");
        }
        unsaid
    }

    /// Shared data that its core has begun to ask for, and has not said so.
    pub(in crate::testing) fn wants_unsaid(&self) -> Vec<BlobName> {
        let wants = self.unsaid(Kind::Want);
        let wants = wants.iter().filter_map(|want| Want::decode(want).ok());
        wants
            .filter(|want| want.from == 0)
            .map(|want| want.name)
            .collect()
    }

    /// The most offers for one place that wait to be said.
    pub(in crate::testing) fn offers_waiting(&self) -> usize {
        let mut waiting = BTreeMap::<u32, usize>::new();
        for offer in self.unsaid(Kind::Offer) {
            let offer = Offer::decode(&offer).expect("a core's own");
            *waiting.entry(offer.best).or_default() += 1;
        }
        waiting.into_values().max().unwrap_or(0)
    }

    /// Its time for more than a goodbye is over.
    pub(super) fn see_last_word_due(&mut self, now: Nanos) {
        if let Some(since) = self.evicted_at
            && now >= since + FAREWELL - GOODBYE_RESERVE
        {
            self.last_word
                .get_or_insert((self.out.len() - self.written, 0));
        }
    }

    /// It was told to go and has said no goodbye, though its link took what it had begun to write, and as much as a goodbye.
    pub(in crate::testing) fn owes_goodbye(&self, link: &Link) -> bool {
        let had_room = self
            .last_word
            .is_none_or(|(begun, taken)| taken >= begun + GOODBYE_ROOM);
        let has_left = matches!(self.core.end(), Some(SlaveEnd::Left(_)));
        let is_honest = !self.lied && !self.deaf && self.core.is_proved();
        let owes = self.evicted_at.is_some() && has_left && is_honest && link.is_sound();
        owes && had_room && !self.said_goodbye
    }

    /// It goes of its own will since the last step: whether for being idle.
    pub(in crate::testing) fn begins_to_go(&mut self) -> Option<bool> {
        let end = self.core.end().filter(|end| end.is_own_will())?;
        let is_idle = matches!(end, SlaveEnd::Idle(_));
        let is_new = !std::mem::replace(&mut self.going, true);
        (is_new && !self.lied && self.evicted_at.is_none()).then_some(is_idle)
    }

    /// The frames that it has sealed since this was asked last.
    pub(in crate::testing) fn take_sealed(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.said)
    }

    /// Since when its I/O thread has not looked at the clock, if it serves a master and should.
    pub(in crate::testing) fn unlooked_since(&self) -> Option<Nanos> {
        let serves = self.core.welcome().is_some() && !self.is_apart();
        let is_up = self.life == Life::Up && self.core.end().is_none();
        (serves && is_up).then_some(self.looked)
    }

    /// Whether all that it said has been heard.
    pub(in crate::testing) fn is_heard(&self, link: &Link) -> bool {
        self.out.is_empty() && link.up.in_flight() == 0
    }

    /// Whether it has written the announcement of this task, as far as a liar's stream can be read.
    pub(in crate::testing) fn has_announced(&self, task: u64) -> bool {
        self.lied || self.announced.contains(&task)
    }

    pub(in crate::testing) fn computes(&self) -> bool {
        self.computing.is_some()
    }

    pub(in crate::testing) fn describe_due(&self, link: &Link) -> String {
        format!(
            "io {}, compute {}, core {}, down {:?}, computing {:?}, leaving {:?}, end {:?}",
            self.io_at,
            self.compute_at,
            self.deadline,
            link.down.due(),
            self.computing.as_ref().map(|computing| (
                computing.wake_at,
                computing.offers.first().map(|offer| offer.0)
            )),
            self.core.leaving_deadline(),
            self.core.end(),
        )
    }
}
