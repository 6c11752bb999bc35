//! Why bytes are not a value, or a value not bytes.

/// Why bytes are not the value they were taken for, or a value did not become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are no archive of the expected type.
    #[error("{bytes} bytes are no archive of {expected}: {reason}")]
    Archive {
        /// The type as [`Wire::describe`](crate::Wire::describe) writes it.
        expected: String,
        /// How many bytes there were.
        bytes: usize,
        /// What the check found.
        reason: String,
    },
    /// The bytes of a `&str` are not UTF-8.
    #[error("text of {bytes} bytes is no UTF-8 from byte {valid_up_to} on")]
    Text {
        /// How many bytes there were.
        bytes: usize,
        /// How many of them are UTF-8.
        valid_up_to: usize,
    },
    /// The bytes cannot be cut into the segments of so many parameters.
    #[error("{bytes} bytes are no arguments for {parameters} parameters")]
    Segments {
        /// Parameters that travel.
        parameters: usize,
        /// How many bytes there were.
        bytes: usize,
    },
    /// A segment is longer than its length field can say.
    #[error(
        "an argument of {bytes} bytes is above the {} that can travel",
        u32::MAX
    )]
    Oversized {
        /// The segment's length.
        bytes: usize,
    },
    /// The bytes name no `Best` of the expected types.
    #[error("these {bytes} bytes name no {expected}")]
    Best {
        /// The type as an algorithm's signature writes it.
        expected: String,
        /// How many bytes there were.
        bytes: usize,
    },
    /// The bytes mention no shared data of the expected type.
    #[error("these {bytes} bytes mention no {expected}")]
    Shared {
        /// The type as an algorithm's signature writes it.
        expected: String,
        /// How many bytes there were.
        bytes: usize,
    },
    /// Shared data that a task mentions has not come with it.
    #[error("shared data {name} is not here")]
    SharedGone {
        /// The first bytes of its name.
        name: String,
    },
    /// The value's own serialization failed.
    #[error("a {what} cannot be archived: {reason}")]
    Encode {
        /// The type.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// The end of another algorithm's task.
    #[error("it is a result of `{got}`, not of `{expected}`")]
    Algorithm {
        /// The algorithm that was asked for.
        expected: &'static str,
        /// The algorithm that it is of.
        got: &'static str,
    },
    /// One of the above, in the argument of this name.
    #[error("argument `{name}`: {error}")]
    Argument {
        /// The parameter's name in the algorithm.
        name: &'static str,
        /// What is wrong with it.
        error: Box<WireError>,
    },
}
