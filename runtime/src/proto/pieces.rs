//! What is sent from where it is: long arguments, which no buffer holds a copy of.
//!
//! ```text
//!   out      | frame | head of a frame | its end | frame |
//!   pieces                             ^ arguments
//! ```

use bytes::Bytes;
use ringmw_codec::batch::Gap;
use ringmw_codec::frame::{FrameMark, finish_frame_around};

use crate::proto::conn::{ConnId, Effect};

/// From so many bytes on, arguments are sent from where they are. Less is copied sooner than sent by itself.
pub(crate) const LONG_BYTES_MIN: usize = 32 << 10;

/// Pieces that belong into a connection's buffer, each before the byte of the buffer that it names, in their order.
#[derive(Default)]
pub(crate) struct Pieces {
    all: Vec<(usize, Bytes)>,
    bytes: usize,
}

impl Pieces {
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Bytes of all.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of those that belong before this byte of the buffer.
    pub(crate) fn bytes_before(&self, at: usize) -> usize {
        let before = self.all.iter().take_while(|(place, _)| *place <= at);
        before.map(|(_, piece)| piece.len()).sum()
    }

    /// Those that belong behind this byte of the buffer are not sent.
    pub(crate) fn truncate(&mut self, at: usize) {
        self.all.retain(|(place, _)| *place <= at);
        self.bytes = self.bytes_before(at);
    }

    /// Ends a frame at the end of `out` whose payload has these gaps.
    pub(crate) fn finish_frame(
        &mut self,
        out: &mut [u8],
        mark: FrameMark,
        payload_at: usize,
        gaps: &[Gap],
        pieces: &mut Vec<Bytes>,
    ) {
        let places = gaps.iter().map(|gap| payload_at + gap.at);
        let placed: Vec<(usize, Bytes)> = places.zip(pieces.drain(..)).collect();
        let lent: Vec<(usize, &[u8])> = placed.iter().map(|(at, piece)| (*at, &**piece)).collect();
        finish_frame_around(out, mark, &lent);
        self.bytes += placed.iter().map(|(_, piece)| piece.len()).sum::<usize>();
        self.all.extend(placed);
    }

    /// Takes the buffer and the pieces apart, as they are sent one behind the other.
    pub(crate) fn effects(self, conn: ConnId, out: Vec<u8>) -> impl Iterator<Item = Effect> {
        let mut effects = Vec::with_capacity(2 * self.all.len() + 1);
        let mut from = 0;
        for (at, piece) in self.all {
            if at > from {
                effects.push(Effect::Send(conn, out[from..at].to_vec()));
                from = at;
            }
            effects.push(Effect::SendShared(conn, piece));
        }
        if out.len() > from {
            effects.push(Effect::Send(conn, out[from..].to_vec()));
        }
        effects.into_iter()
    }
}
