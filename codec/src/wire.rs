//! Hand-laid payloads: little-endian fields in a fixed order, texts with their length before them.
//!
//! The handshake and the control frames are laid by hand rather than archived, so that nothing is parsed by rkyv
//! before a slave is accepted, and so that a hello of another version can still be told apart. Decoding is strict:
//! a payload has exactly one reading, and bytes that are left over are an error.

use thiserror::Error;

/// Why a hand-laid payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The payload ends inside a field.
    #[error("{field}: {expected} bytes expected, {got} left")]
    Short {
        /// The field that was being read.
        field: &'static str,
        /// Bytes that the field needs.
        expected: usize,
        /// Bytes that were left.
        got: usize,
    },
    /// Bytes follow the last field.
    #[error("{got} bytes follow the last field")]
    Trailing {
        /// How many.
        got: usize,
    },
    /// A text is not UTF-8.
    #[error("{field}: not UTF-8")]
    Utf8 {
        /// The text's field.
        field: &'static str,
    },
    /// A field has a value that means nothing.
    #[error("{field}: {got} is not one of its values")]
    Value {
        /// The field.
        field: &'static str,
        /// What it held.
        got: u64,
    },
    /// A text or a list is longer than it may be.
    #[error("{field}: {got}, at most {max} are allowed")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its length: bytes of a text, entries of a list.
        got: usize,
        /// The most allowed.
        max: usize,
    },
}

/// What is still unread of a payload.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    pub(crate) fn bytes(
        &mut self,
        field: &'static str,
        len: usize,
    ) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Short {
            field,
            expected: len,
            got: self.rest.len(),
        };
        let (head, rest) = self.rest.split_at_checked(len).ok_or(short)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let bytes = self.bytes(field, N)?;
        Ok(bytes
            .try_into()
            .expect("bytes() returns the length asked for"))
    }

    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array(field)?))
    }

    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            got => Err(DecodeError::Value {
                field,
                got: got.into(),
            }),
        }
    }

    pub(crate) fn text(&mut self, field: &'static str, len: usize) -> Result<String, DecodeError> {
        let bytes = self.bytes(field, len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Utf8 { field })?;
        Ok(text.to_owned())
    }

    /// A text with its length before it as a `u16`.
    pub(crate) fn text16(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let len = self.u16(field)?;
        self.text(field, len.into())
    }

    /// The same, of at most `max` bytes.
    pub(crate) fn text16_within(
        &mut self,
        field: &'static str,
        max: usize,
    ) -> Result<String, DecodeError> {
        let text = self.text16(field)?;
        match text.len() {
            got if got > max => Err(DecodeError::TooLong { field, got, max }),
            _ => Ok(text),
        }
    }

    /// A text with its length before it as a `u32`. No memory is taken before the bytes are known to be there.
    pub(crate) fn text32(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let len = self.u32(field)?;
        self.text(field, len as usize)
    }

    /// A list's count, refused when what is left cannot hold that many entries of `entry_bytes` each, so that the
    /// caller may reserve for it.
    pub(crate) fn count(
        &mut self,
        field: &'static str,
        entry_bytes: usize,
    ) -> Result<usize, DecodeError> {
        let count = self.u32(field)? as usize;
        let expected = count.saturating_mul(entry_bytes);
        if expected > self.rest.len() {
            return Err(DecodeError::Short {
                field,
                expected,
                got: self.rest.len(),
            });
        }
        Ok(count)
    }

    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            got => Err(DecodeError::Trailing { got }),
        }
    }
}

/// Appends a text with its length before it as a `u16`. Longer texts are the caller's mistake.
pub(crate) fn put_text16(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).expect("the caller bounds its texts to 65,535 bytes");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// The longest prefix of `text` of at most `bytes_max` bytes that ends at a character's end.
pub(crate) fn prefix(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
