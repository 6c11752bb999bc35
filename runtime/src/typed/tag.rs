//! A task's tag, and why a task has no output: the words that algorithms and their surroundings share.

use crate::proto::bytes::SmallBytes;
use crate::typed::wire::{Scratch, Wire, WireError, decode, encode, type_text};

/// A tag as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Archives carry no type, so a tag brings its own along.
    pub(crate) type_hash: u64,
    pub(crate) archive: SmallBytes,
}

impl Tag {
    pub(crate) fn new<T: Wire>(tag: &T) -> Result<Self, WireError> {
        let mut scratch = Scratch::take();
        encode(tag, &mut scratch.0)?;
        Ok(Self {
            type_hash: T::TYPE_HASH,
            archive: SmallBytes::copy_from_slice(&scratch.0),
        })
    }

    /// The tag as a `T`.
    ///
    /// # Errors
    /// [`TagError::OtherType`] if it was given as another type.
    pub(crate) fn read<T: Wire>(&self) -> Result<T, TagError> {
        if self.type_hash != T::TYPE_HASH {
            return Err(TagError::OtherType {
                expected: type_text::<T>(),
            });
        }
        Ok(decode(&self.archive)?)
    }
}

/// Why a tag cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TagError {
    /// The tag was given as another type.
    #[error("the tag was not given as {expected}")]
    OtherType {
        /// The type asked for.
        expected: String,
    },
    /// The tag's bytes are damaged.
    #[error("the tag is damaged: {0}")]
    Damaged(#[from] WireError),
}

/// Why a task has no output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The arguments are not what the parameters say. Checked on arrival, so this is the peer's or the build's fault.
    #[error("{0}")]
    Args(#[from] WireError),
    /// The function returned this `Err`, or its output cannot be archived: a failed result.
    #[error("{0}")]
    Failed(String),
    /// [`SlaveState::init`](crate::SlaveState::init) failed: the slave must go, the task is innocent.
    #[error("{0}")]
    StateInit(String),
    /// The slave cannot print any more, its disk being full or its terminal gone: it must go, the task is innocent.
    #[error("{0}")]
    Surroundings(String),
}
