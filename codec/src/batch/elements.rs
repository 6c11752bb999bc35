//! Where the results of an entry lie in its body.
//!
//! ```text
//!   one result             | output |
//!   several, in a series   | compute time 4, output | compute time 4, output | .. | end 4, .. if they differ in length |
//! ```

use std::ops::Range;

use crate::Nanos;

/// Where each result of an entry lies in the entry's body, and what of it is its compute time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elements {
    /// Of each of them, if they are equally long.
    bytes: u32,
    /// Of all of them: where the table begins, if they differ in length.
    all_bytes: u32,
    head_bytes: u8,
    is_varied: bool,
}

impl Elements {
    /// Bytes of the compute time before the output of each result of a series of several.
    pub const HEAD_BYTES: usize = 4;
    /// Bytes that the table has for each result, where they differ in length.
    pub const END_BYTES: usize = 4;

    /// Those of a body of so many bytes that holds `count` results of one length, or such as differ; none when they do not
    /// fill it, by its length alone. The table is [checked](Self::check_table) apart.
    #[must_use]
    #[inline]
    pub fn new(count: u32, is_varied: bool, body_bytes: usize) -> Option<Self> {
        let body_bytes = u32::try_from(body_bytes).ok()?;
        // The division below costs as much as all else that is done for a result by itself.
        if count == 1 {
            return (!is_varied).then_some(Self {
                bytes: body_bytes,
                all_bytes: body_bytes,
                head_bytes: 0,
                is_varied: false,
            });
        }
        let head_bytes = Self::HEAD_BYTES as u32;
        let all_bytes = match is_varied {
            true => body_bytes.checked_sub(count.checked_mul(Self::END_BYTES as u32)?)?,
            false => body_bytes,
        };
        let bytes = all_bytes.checked_div(count)?;
        let fill = bytes >= head_bytes && (is_varied || bytes * count == all_bytes);
        fill.then_some(Self {
            bytes,
            all_bytes,
            head_bytes: head_bytes as u8,
            is_varied,
        })
    }

    /// Whether the table of `body` holds together, if there is one: each result ends behind its compute time, the last one
    /// where the table begins.
    #[must_use]
    pub fn check_table(self, body: &[u8]) -> bool {
        if !self.is_varied {
            return true;
        }
        let mut begin = 0u32;
        let ends = body[self.all_bytes as usize..].as_chunks().0;
        let are_behind = ends.iter().map(|end| u32::from_le_bytes(*end)).all(|end| {
            let head_end = begin.checked_add(self.head_bytes.into());
            begin = end;
            head_end.is_some_and(|head_end| head_end <= end)
        });
        are_behind && begin == self.all_bytes
    }

    /// Whether they differ in length.
    #[must_use]
    #[inline]
    pub const fn is_varied(self) -> bool {
        self.is_varied
    }

    /// Bytes of the compute time that stands before each output: none before that of a result by itself.
    #[must_use]
    #[inline]
    pub const fn head_bytes(self) -> usize {
        self.head_bytes as usize
    }

    /// Where the result at `index` begins in the body, or where the last one ends.
    #[inline]
    fn begin(self, body: &[u8], index: u32) -> usize {
        if !self.is_varied {
            return index as usize * self.bytes as usize;
        }
        let Some(before) = index.checked_sub(1) else {
            return 0;
        };
        let at = self.all_bytes as usize + Self::END_BYTES * before as usize;
        let end = body[at..].first_chunk().expect("there is such a result");
        u32::from_le_bytes(*end) as usize
    }

    /// Where `results` results from the one at `first` on lie in the body.
    ///
    /// # Panics
    /// When they differ in length, and `body` is another one or has no such results.
    #[must_use]
    #[inline]
    pub fn range(self, body: &[u8], first: u32, results: u32) -> Range<usize> {
        self.begin(body, first)..self.begin(body, first + results)
    }

    /// Where the output of the result at `index` lies in the body.
    ///
    /// # Panics
    /// As [`Self::range`].
    #[must_use]
    #[inline]
    pub fn output(self, body: &[u8], index: u32) -> Range<usize> {
        if !self.is_varied {
            let begin = index as usize * self.bytes as usize;
            return begin + self.head_bytes()..begin + self.bytes as usize;
        }
        let Range { start, end } = self.range(body, index, 1);
        start + self.head_bytes()..end
    }

    /// The outputs of `results` results from the one at `first` on, if all of the entry's are of one length, and of any.
    ///
    /// # Panics
    /// When they are, and `body` has no such results.
    #[inline]
    pub fn equal<'a>(
        self,
        body: &'a [u8],
        first: u32,
        results: u32,
    ) -> Option<impl Iterator<Item = &'a [u8]> + use<'a>> {
        if self.is_varied || self.bytes == 0 {
            return None;
        }
        let some = &body[self.range(body, first, results)];
        let each = some.chunks_exact(self.bytes as usize);
        let head = self.head_bytes();
        Some(each.map(move |element| &element[head..]))
    }

    /// Bytes of the outputs of `results` results from the one at `first` on, together.
    ///
    /// # Panics
    /// As [`Self::range`].
    #[must_use]
    #[inline]
    pub fn outputs_bytes(self, body: &[u8], first: u32, results: u32) -> usize {
        self.range(body, first, results).len() - results as usize * self.head_bytes()
    }

    /// Compute time of the result at `index` in `body`; a result by itself computed for `alone_ns`.
    ///
    /// # Panics
    /// When `body` has no such result.
    #[must_use]
    #[inline]
    pub fn compute(self, body: &[u8], index: u32, alone_ns: Nanos) -> Nanos {
        if self.head_bytes == 0 {
            return alone_ns;
        }
        let compute = body[self.begin(body, index)..].first_chunk();
        u32::from_le_bytes(*compute.expect("there is such a result")).into()
    }

    /// Compute time of `results` results from the one at `first` on in `body` together; a result by itself computed for
    /// `alone_ns`.
    ///
    /// # Panics
    /// When `body` has no such results.
    #[must_use]
    #[inline]
    pub fn compute_of(self, body: &[u8], first: u32, results: u32, alone_ns: Nanos) -> Nanos {
        if self.is_varied || self.head_bytes == 0 {
            let each = self.iter(body, first, results, alone_ns);
            return each.map(|(compute, _)| compute).sum();
        }
        let some = &body[self.range(body, first, results)];
        let heads = some.chunks_exact(self.bytes as usize);
        let heads = heads.filter_map(|element| element.first_chunk());
        heads
            .map(|head| Nanos::from(u32::from_le_bytes(*head)))
            .sum()
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
        let mut begin = self.begin(body, first);
        (first..first + results).map(move |index| {
            let end = self.begin(body, index + 1);
            let bytes = &body[begin..end];
            begin = end;
            match bytes.split_first_chunk() {
                Some((compute, output)) if self.head_bytes > 0 => {
                    (u32::from_le_bytes(*compute).into(), output)
                }
                _ => (alone_ns, bytes),
            }
        })
    }
}
