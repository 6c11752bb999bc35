//! Bytes of tasks and results: short ones in place, without a block of memory to count and to free.

use std::fmt;
use std::ops::Deref;

use bytes::Bytes;
use ringmw_codec::frame::{HEADER_BYTES, Payload};

/// Immutable bytes: up to [`SmallBytes::INLINE_MAX`] in place, more as a share of a counted block.
#[derive(Clone)]
pub struct SmallBytes(Repr);

#[derive(Clone)]
enum Repr {
    /// In words: what was just written in pieces is slow to move, words are put together on the way.
    Inline {
        len: u8,
        words: [Word; WORDS],
    },
    Shared(Bytes),
}

type Word = [u8; 8];
const WORDS: usize = 4;

// A queued task has one, and its budget is 96 bytes.
const _: () = assert!(size_of::<Option<SmallBytes>>() == 40);

impl SmallBytes {
    /// The most bytes that are kept in place.
    pub const INLINE_MAX: usize = WORDS * size_of::<Word>();

    /// What `write` writes to the start of the buffer, of which it returns the length.
    ///
    /// # Panics
    /// When it returns more than [`INLINE_MAX`](Self::INLINE_MAX).
    #[inline]
    pub(crate) fn inline(write: impl FnOnce(&mut [u8]) -> usize) -> Self {
        let mut words = [[0; 8]; WORDS];
        let len = write(words.as_flattened_mut());
        assert!(len <= Self::INLINE_MAX, "{len} bytes in place");
        SmallBytes(Repr::Inline {
            len: len as u8,
            words,
        })
    }

    /// A share of the counted block that these are, if they are one of so many bytes.
    #[inline]
    pub(crate) fn long(&self, least: usize) -> Option<Bytes> {
        match &self.0 {
            Repr::Shared(bytes) if bytes.len() >= least => Some(bytes.clone()),
            _ => None,
        }
    }

    /// A copy.
    #[inline]
    pub fn copy_from_slice(bytes: &[u8]) -> Self {
        if bytes.len() <= Self::INLINE_MAX {
            let (full, rest) = bytes.as_chunks();
            let word = |nth: usize| match full.get(nth) {
                Some(word) => *word,
                None if nth == full.len() => part(rest),
                None => [0; 8],
            };
            SmallBytes(Repr::Inline {
                len: bytes.len() as u8,
                words: [word(0), word(1), word(2), word(3)],
            })
        } else {
            SmallBytes(Repr::Shared(Bytes::copy_from_slice(bytes)))
        }
    }
}

/// A frame's payload: lent, or in a counted block that whatever is kept of it shares.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    Lent(&'a [u8]),
    Block(Bytes),
}

impl Came<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Came::Lent(bytes) => bytes,
            Came::Block(bytes) => bytes,
        }
    }

    /// Keeps a part of it.
    pub(crate) fn keep(&self, part: &[u8]) -> SmallBytes {
        match self {
            Came::Block(block) if part.len() > SmallBytes::INLINE_MAX => {
                SmallBytes(Repr::Shared(block.slice_ref(part)))
            }
            _ => SmallBytes::copy_from_slice(part),
        }
    }

    /// The same bytes: of a block another share.
    #[inline]
    pub(crate) fn shared(&self) -> Came<'_> {
        match self {
            Came::Lent(bytes) => Came::Lent(bytes),
            Came::Block(block) => Came::Block(block.clone()),
        }
    }

    /// Keeps all of it.
    pub(crate) fn keep_all(self) -> Bytes {
        match self {
            Came::Lent(bytes) => Bytes::copy_from_slice(bytes),
            Came::Block(block) => block,
        }
    }
}

impl<'a> From<Payload<'a>> for Came<'a> {
    #[inline]
    fn from(payload: Payload<'a>) -> Self {
        match payload {
            Payload::Lent(bytes) => Came::Lent(bytes),
            Payload::Whole(frame) => Came::Block(Bytes::from(frame).slice(HEADER_BYTES..)),
        }
    }
}

/// A word that begins with these bytes, fewer than it has.
#[inline]
fn part(bytes: &[u8]) -> Word {
    let word = bytes.iter().rev();
    word.fold(0u64, |word, byte| word << 8 | u64::from(*byte))
        .to_le_bytes()
}

impl Default for SmallBytes {
    fn default() -> Self {
        SmallBytes::inline(|_| 0)
    }
}

impl Deref for SmallBytes {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Repr::Inline { len, words } => &words.as_flattened()[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }
}

impl From<Bytes> for SmallBytes {
    #[inline]
    fn from(bytes: Bytes) -> Self {
        if bytes.len() <= Self::INLINE_MAX {
            Self::copy_from_slice(&bytes)
        } else {
            SmallBytes(Repr::Shared(bytes))
        }
    }
}

impl From<&[u8]> for SmallBytes {
    fn from(bytes: &[u8]) -> Self {
        Self::copy_from_slice(bytes)
    }
}

impl PartialEq for SmallBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for SmallBytes {}

impl PartialEq<[u8]> for SmallBytes {
    fn eq(&self, other: &[u8]) -> bool {
        **self == *other
    }
}

impl fmt::Debug for SmallBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::SmallBytes;

    #[test]
    fn bytes_are_the_same_in_place_and_shared() {
        for len in 0..200 {
            let bytes: Vec<u8> = (0..len).collect();
            let block = Bytes::from([&[9, 9][..], &bytes].concat());
            let shared = SmallBytes::from(block.slice(2..));
            for small in [
                SmallBytes::copy_from_slice(&bytes),
                SmallBytes::from(Bytes::from(bytes.clone())),
                shared.clone(),
                shared,
            ] {
                assert_eq!(*small, *bytes);
            }
        }
        assert!(SmallBytes::default().is_empty());
    }
}
