//! Shared data on the wire: what a task's arguments say of it, what a slave asks for, and the pieces that come.
//!
//! Data is named by its content, so it travels to a slave once, whatever names it, and what came is judged by its name
//! alone.
//!
//! | what | laid as |
//! |---|---|
//! | a mention in a task's arguments | name 32, bytes u64 |
//! | want | name 32, from u64, to u64 |
//! | blob | name 32, from u64, the bytes (the rest) |

use std::fmt;

use crate::wire::{DecodeError, Fields};

/// The blake3 hash of shared data.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobName(pub [u8; 32]);

impl BlobName {
    /// Bytes of a name.
    pub const BYTES: usize = 32;

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let bytes = fields.bytes("name", Self::BYTES)?;
        Ok(Self(bytes.try_into().expect("as many as asked for")))
    }
}

/// The first eight bytes: enough to tell the data of one computation apart.
impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BlobName({self})")
    }
}

/// A mention of shared data: which, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobRef {
    /// Which.
    pub name: BlobName,
    /// Its length.
    pub bytes: u64,
}

impl BlobRef {
    /// Bytes of a mention.
    pub const BYTES: usize = BlobName::BYTES + 8;

    /// As it stands in a task's arguments.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut mention = [0; Self::BYTES];
        mention[..BlobName::BYTES].copy_from_slice(&self.name.0);
        mention[BlobName::BYTES..].copy_from_slice(&self.bytes.to_le_bytes());
        mention
    }

    /// Reads a mention.
    ///
    /// # Errors
    /// When it is not exactly one.
    pub fn decode(mention: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(mention);
        let name = BlobName::decode(&mut fields)?;
        let bytes = fields.u64("bytes")?;
        fields.end()?;
        Ok(Self { name, bytes })
    }
}

/// Slave to master: send these bytes, once everything else has been sent. One for other data takes the place of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// Of which data.
    pub name: BlobName,
    /// The first byte that is wanted.
    pub from: u64,
    /// One past the last, above `from`.
    pub to: u64,
}

impl Want {
    /// Bytes of the payload.
    pub const BYTES: usize = BlobName::BYTES + 16;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name.0);
        out.extend_from_slice(&self.from.to_le_bytes());
        out.extend_from_slice(&self.to.to_le_bytes());
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these, or wants nothing.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let name = BlobName::decode(&mut fields)?;
        let (from, to) = (fields.u64("from")?, fields.u64("to")?);
        fields.end()?;
        if to <= from {
            return Err(DecodeError::Value {
                field: "to",
                got: to,
            });
        }
        Ok(Self { name, from, to })
    }
}

/// Master to slave: a piece of shared data. The bytes are lent from the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob<'a> {
    /// Of which data.
    pub name: BlobName,
    /// Where it begins in it.
    pub from: u64,
    /// At least one byte, at most [`Blob::PIECE_BYTES_MAX`].
    pub bytes: &'a [u8],
}

impl<'a> Blob<'a> {
    /// Bytes of the payload before the data.
    pub const HEADER_BYTES: usize = BlobName::BYTES + 8;
    /// The most data of a piece.
    pub const PIECE_BYTES_MAX: usize = 64 << 10;
    /// The most bytes of the payload.
    pub const BYTES_MAX: usize = Self::HEADER_BYTES + Self::PIECE_BYTES_MAX;

    /// What stands before the data.
    #[must_use]
    pub fn header(name: BlobName, from: u64) -> [u8; BlobName::BYTES + 8] {
        let mut header = [0; BlobName::BYTES + 8];
        header[..BlobName::BYTES].copy_from_slice(&name.0);
        header[BlobName::BYTES..].copy_from_slice(&from.to_le_bytes());
        header
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&Self::header(self.name, self.from));
        out.extend_from_slice(self.bytes);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is too short, or has no data.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let name = BlobName::decode(&mut fields)?;
        let from = fields.u64("from")?;
        let bytes = fields.rest();
        if bytes.is_empty() {
            return Err(DecodeError::Short {
                field: "data",
                expected: 1,
                got: 0,
            });
        }
        Ok(Self { name, from, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_shared_data_is_read_as_it_was_said() {
        let name = BlobName(std::array::from_fn(|at| at as u8));
        let mention = BlobRef {
            name,
            bytes: 1 << 40,
        };
        assert_eq!(BlobRef::decode(&mention.encode()), Ok(mention));
        assert_eq!(name.to_string(), "0001020304050607");
        let mut out = Vec::new();
        let want = Want {
            name,
            from: 7,
            to: 9,
        };
        want.encode(&mut out);
        assert_eq!((out.len(), Want::decode(&out)), (Want::BYTES, Ok(want)));
        out.truncate(Want::BYTES - 16);
        out.extend([[7, 0, 0, 0, 0, 0, 0, 0]; 2].as_flattened());
        assert!(Want::decode(&out).is_err(), "it wants nothing");
        let blob = Blob {
            name,
            from: 7,
            bytes: b"ab",
        };
        out.clear();
        blob.encode(&mut out);
        assert_eq!(Blob::decode(&out), Ok(blob));
        assert!(Blob::decode(&out[..Blob::HEADER_BYTES]).is_err(), "no data");
        for end in 0..Blob::HEADER_BYTES {
            assert!(Blob::decode(&out[..end]).is_err());
            assert!(Want::decode(&out[..end]).is_err());
            assert!(BlobRef::decode(&mention.encode()[..end]).is_err());
        }
    }
}
