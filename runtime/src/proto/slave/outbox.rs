//! What a slave has to say and has not given to be written, as whole frames.
//!
//! ```text
//!   given to be written | part | part | open part | the best offer of each place | goodbye |
//!                       ^ the next one to be given                                         ^ frames are put before these
//! ```
//! The I/O side takes a part when the socket has taken all that it had. So what is in here can still be left out: a slave
//! whose time is up gives up the parts and says goodbye behind what it has begun to write.
//!
//! Its bounds: packets of results are bounded by [`UNSENT_PACKETS_MAX`](super::UNSENT_PACKETS_MAX), since no task begins past
//! it; offers by one for each place between two of those, as a better one takes the place of one that waits; what is said
//! in a conversation by what may be under way; answers to what the master says by what it says. A beat and how far a task
//! is are said only when nothing waits.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::control::Offer;
use ringmw_codec::frame::Kind;

use crate::proto::incumbents::BESTS_MAX;
use crate::proto::put;

/// A part of so many bytes takes no more frames: as much is begun at least where the rest is left out, and a write of so
/// much costs no more than a larger one by the byte.
const PART_BYTES: usize = 4 << 10;

/// See the module.
#[derive(Default)]
pub(super) struct Outbox {
    parts: VecDeque<Vec<u8>>,
    /// Bytes of `parts`.
    parts_bytes: usize,
    open: Vec<u8>,
    /// By place: the key, smaller ones being better, and the frame.
    offers: BTreeMap<u32, (u64, Vec<u8>)>,
    /// Bytes of `offers`.
    offers_bytes: usize,
    /// What is said last of all.
    goodbye: Vec<u8>,
}

impl Outbox {
    /// Appends a frame whose payload `encode` lays straight into the buffer; offers that wait go before it.
    pub(super) fn put(&mut self, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
        put(self.begin(), kind, encode);
    }

    /// Where the next frame goes, or several: whole ones.
    pub(super) fn begin(&mut self) -> &mut Vec<u8> {
        self.put_offers();
        self.end_part();
        &mut self.open
    }

    /// Appends a frame, which becomes a part by itself; gives an empty buffer for it.
    pub(super) fn put_frame(&mut self, frame: Vec<u8>) -> Vec<u8> {
        self.put_offers();
        if !self.open.is_empty() {
            self.close_part();
        }
        self.parts_bytes += frame.len();
        self.parts.push_back(frame);
        std::mem::take(&mut self.open)
    }

    /// An offer, which is said before whatever is put in here after it. One for the same place that still waits and is no
    /// better is not said.
    pub(super) fn offer(&mut self, best: u32, key: u64, witness: &[u8]) {
        if let Some((waiting, _)) = self.offers.get(&best)
            && *waiting <= key
        {
            return;
        }
        let mut frame = Vec::new();
        put(&mut frame, Kind::Offer, |out| {
            Offer { best, key, witness }.encode(out);
        });
        self.offers_bytes += frame.len();
        if let Some((_, old)) = self.offers.insert(best, (key, frame)) {
            self.offers_bytes -= old.len();
        }
        assert!(
            self.offers.len() <= BESTS_MAX,
            "a slave has no more places than a run"
        );
    }

    /// Whether offers wait.
    pub(super) fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    /// What is said last of all.
    pub(super) fn set_goodbye(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.goodbye.clear();
        put(&mut self.goodbye, Kind::Goodbye, encode);
    }

    /// Whether the goodbye is still in here, and something before it.
    pub(super) fn can_leave_out(&self) -> bool {
        !self.goodbye.is_empty() && self.len() > self.goodbye.len()
    }

    /// Leaves out all but the goodbye.
    pub(super) fn leave_out(&mut self) {
        *self = Outbox {
            goodbye: std::mem::take(&mut self.goodbye),
            ..Outbox::default()
        };
    }

    pub(super) fn clear(&mut self) {
        *self = Outbox::default();
    }

    pub(super) fn len(&self) -> usize {
        self.parts_bytes + self.open.len() + self.offers_bytes + self.goodbye.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes before the offers that wait and the goodbye: where the last frame that was put in here ends.
    pub(super) fn put_bytes(&self) -> usize {
        self.parts_bytes + self.open.len()
    }

    /// Takes what is to be written next: a part, or all there is with the goodbye, so that it takes one write.
    pub(super) fn take(&mut self) -> Vec<u8> {
        if let Some(part) = self.parts.pop_front() {
            self.parts_bytes -= part.len();
            return part;
        }
        self.put_offers();
        let mut part = std::mem::take(&mut self.open);
        part.append(&mut self.goodbye);
        part
    }

    /// A buffer that is empty again, for the next frames.
    pub(super) fn keep_spare(&mut self, buffer: Vec<u8>) {
        if self.open.capacity() == 0 {
            debug_assert!(buffer.is_empty());
            self.open = buffer;
        }
    }

    /// The parts, for who looks on: whole frames each.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let offers = self.offers.values().map(|(_, frame)| &frame[..]);
        let parts = self.parts.iter().map(|part| &part[..]);
        parts
            .chain([&self.open[..]])
            .chain(offers)
            .chain([&self.goodbye[..]])
    }

    /// Bytes of no honest slave, in place of all or behind it; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn put_raw(&mut self, bytes: &[u8], adds: bool) {
        if !adds {
            self.clear();
        }
        self.begin().extend_from_slice(bytes);
    }

    fn put_offers(&mut self) {
        self.offers_bytes = 0;
        for (_, frame) in std::mem::take(&mut self.offers).into_values() {
            self.end_part();
            self.open.extend_from_slice(&frame);
        }
    }

    fn end_part(&mut self) {
        if self.open.len() >= PART_BYTES {
            self.close_part();
        }
    }

    fn close_part(&mut self) {
        self.parts_bytes += self.open.len();
        self.parts.push_back(std::mem::take(&mut self.open));
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use ringmw_codec::control::Offer;
    use ringmw_codec::frame::{FrameReader, Kind};

    use super::{Outbox, PART_BYTES};

    fn kinds(bytes: &[u8]) -> Vec<(Kind, usize)> {
        let mut kinds = Vec::new();
        let read = FrameReader::new().feed(bytes, &|_| u32::MAX, &mut |kind, payload| {
            kinds.push((kind, payload.len()));
            ControlFlow::<()>::Continue(())
        });
        assert!(read.is_ok(), "whole frames");
        kinds
    }

    fn all(outbox: &mut Outbox) -> Vec<(Kind, usize)> {
        let mut all = Vec::new();
        while !outbox.is_empty() {
            let left = outbox.len();
            let part = outbox.take();
            assert_eq!(outbox.len(), left - part.len());
            all.extend(kinds(&part));
        }
        all
    }

    #[test]
    fn parts_are_whole_frames_in_their_order() {
        let mut outbox = Outbox::default();
        let sizes = [10, PART_BYTES, 3, 3 * PART_BYTES, 0, 1];
        for size in sizes {
            outbox.put(Kind::Results, |out| out.resize(out.len() + size, 7));
        }
        outbox.set_goodbye(|out| out.push(0));
        let said: Vec<usize> = all(&mut outbox).iter().map(|frame| frame.1).collect();
        assert_eq!(said, [10, PART_BYTES, 3, 3 * PART_BYTES, 0, 1, 1]);
    }

    #[test]
    fn a_frame_that_stands_by_itself_keeps_its_place() {
        let mut outbox = Outbox::default();
        outbox.put(Kind::Results, |out| out.extend([7; 3]));
        outbox.offer(0, 1, b"w");
        let mut frame = Vec::new();
        crate::proto::put(&mut frame, Kind::Results, |out| {
            out.resize(out.len() + 9, 7)
        });
        assert_eq!(outbox.put_frame(frame).len(), 0);
        outbox.put(Kind::Results, |out| out.extend([7; 5]));
        outbox.set_goodbye(|out| out.push(0));
        let bytes = outbox.len();
        assert_eq!(outbox.parts().map(<[u8]>::len).sum::<usize>(), bytes);
        let mut said = all(&mut outbox);
        assert_eq!(said.remove(1).0, Kind::Offer);
        let said: Vec<usize> = said.iter().map(|frame| frame.1).collect();
        assert_eq!(said, [3, 9, 5, 1]);
    }

    /// The bound of what a task that offers without end leaves behind while nothing is taken.
    #[test]
    fn a_better_offer_takes_the_place_of_one_that_waits() {
        let mut outbox = Outbox::default();
        for key in (1_000..9_000).rev() {
            outbox.offer(key as u32 % 3, key, &[1; 100]);
            assert!(outbox.len() < 3 * 200);
        }
        outbox.offer(0, 1 << 60, &[2; 200]);
        let mut keys = Vec::new();
        let part = outbox.take();
        let _ = FrameReader::new().feed(&part, &|_| u32::MAX, &mut |kind, payload| {
            assert_eq!(kind, Kind::Offer);
            let offer = Offer::decode(payload).unwrap();
            keys.push((offer.best, offer.key));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!(keys, [(0, 1_002), (1, 1_000), (2, 1_001)]);
        assert!(outbox.is_empty());
    }

    /// The result of the task that offered must not come before its offer.
    #[test]
    fn what_is_put_behind_an_offer_comes_behind_it() {
        let mut outbox = Outbox::default();
        outbox.offer(0, 7, &[]);
        outbox.put(Kind::Results, |out| out.push(1));
        outbox.offer(0, 6, &[]);
        let said: Vec<Kind> = all(&mut outbox).iter().map(|frame| frame.0).collect();
        assert_eq!(said, [Kind::Offer, Kind::Results, Kind::Offer]);
    }

    #[test]
    fn of_what_is_left_out_the_goodbye_stays() {
        let mut outbox = Outbox::default();
        outbox.set_goodbye(|out| out.push(0));
        assert!(!outbox.can_leave_out());
        outbox.put(Kind::Results, |out| out.resize(2 * PART_BYTES, 7));
        outbox.put(Kind::Results, |out| out.push(1));
        outbox.offer(0, 7, &[]);
        assert!(outbox.can_leave_out());
        outbox.leave_out();
        let said: Vec<Kind> = all(&mut outbox).iter().map(|frame| frame.0).collect();
        assert_eq!(said, [Kind::Goodbye]);
    }
}
