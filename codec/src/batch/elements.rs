//! Where the results of an entry lie in its body.
//!
//! ```text
//!   one result          | output |
//!   several, in a series   | compute time 4, output | compute time 4, output | ..   all of equal length
//! ```

use std::ops::Range;

use crate::Nanos;

/// Where each result of an entry lies in the entry's body, and what of it is its compute time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements {
    bytes: u32,
    head_bytes: u32,
}

impl Elements {
    /// Bytes of the compute time before the output of each result of a series of several.
    pub const HEAD_BYTES: usize = 4;

    /// Those of a body of so many bytes that holds `count` results; none when no results of equal length fill it.
    #[must_use]
    #[inline]
    pub fn new(count: u32, body_bytes: usize) -> Option<Self> {
        let body_bytes = u32::try_from(body_bytes).ok()?;
        // The division below costs as much as all else that is done for a result by itself.
        if count == 1 {
            return Some(Self {
                bytes: body_bytes,
                head_bytes: 0,
            });
        }
        let head_bytes = Self::HEAD_BYTES as u32;
        let bytes = body_bytes.checked_div(count)?;
        let fill = bytes >= head_bytes && bytes * count == body_bytes;
        fill.then_some(Self { bytes, head_bytes })
    }

    /// Bytes of the compute time that stands before each output: none before that of a result by itself.
    #[must_use]
    #[inline]
    pub const fn head_bytes(self) -> usize {
        self.head_bytes as usize
    }

    /// Bytes of each output.
    #[must_use]
    #[inline]
    pub const fn output_bytes(self) -> usize {
        (self.bytes - self.head_bytes) as usize
    }

    /// Where `results` results from the one at `first` on lie in the body.
    #[must_use]
    #[inline]
    pub const fn range(self, first: u32, results: u32) -> Range<usize> {
        let begin = first as usize * self.bytes as usize;
        begin..begin + results as usize * self.bytes as usize
    }

    /// Where the output of the result at `index` lies in the body.
    #[must_use]
    #[inline]
    pub const fn output(self, index: u32) -> Range<usize> {
        let Range { start, end } = self.range(index, 1);
        start + self.head_bytes as usize..end
    }

    /// Compute time and output of `results` results from the one at `first` on in `body`; a result by itself computed for
    /// `alone_ns`, which its entry says.
    ///
    /// # Panics
    /// While they are taken, when `body` has no such results.
    #[inline]
    pub fn iter<'a>(
        self,
        body: &'a [u8],
        first: u32,
        results: u32,
        alone_ns: Nanos,
    ) -> impl Iterator<Item = (Nanos, &'a [u8])> + Clone + use<'a> {
        (first..first + results).map(move |index| {
            let bytes = &body[self.range(index, 1)];
            match bytes.split_first_chunk() {
                Some((compute, output)) if self.head_bytes > 0 => {
                    (u32::from_le_bytes(*compute).into(), output)
                }
                _ => (alone_ns, bytes),
            }
        })
    }
}
