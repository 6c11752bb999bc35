//! The body of a task: what the master keeps of it, opaque to the scheduler and the batches.
//!
//! ```text
//!   0        8        16         24           28
//!   | domain | stream | tag type | tag length | tag .. | args .. |
//! ```

use crate::wire::{DecodeError, Fields};

/// Bytes of a task's body before its tag.
pub const TASK_BODY_HEADER_BYTES: usize = 28;

/// A task's body, tag and arguments lent from the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskBody<'a> {
    /// Which family `stream` belongs to: explicit streams, a map's, the queue's. They never coincide.
    pub domain: u64,
    /// The task's identity for random numbers and checkpoints.
    pub stream: u64,
    /// Hash of the tag's type; reading it as another is an error.
    pub tag_type: u64,
    /// The tag's archive.
    pub tag: &'a [u8],
    /// The arguments' archive.
    pub args: &'a [u8],
}

impl<'a> TaskBody<'a> {
    /// Reads a body; the arguments are whatever follows the tag.
    ///
    /// # Errors
    /// When it ends inside header or tag.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let domain = fields.u64("domain")?;
        let stream = fields.u64("stream")?;
        let tag_type = fields.u64("tag type")?;
        let tag_bytes = fields.u32("tag length")?;
        let tag = fields.bytes("tag", tag_bytes as usize)?;
        Ok(Self {
            domain,
            stream,
            tag_type,
            tag,
            args: fields.rest(),
        })
    }
}

/// Appends a task's body.
///
/// # Panics
/// When the tag exceeds 4 GiB; the buffer limits are far below.
pub fn encode_task_body(out: &mut Vec<u8>, body: &TaskBody<'_>) {
    let tag_bytes = u32::try_from(body.tag.len()).expect("a tag is bounded by the buffer limits");
    out.reserve(TASK_BODY_HEADER_BYTES + body.tag.len() + body.args.len());
    out.extend_from_slice(&body.domain.to_le_bytes());
    out.extend_from_slice(&body.stream.to_le_bytes());
    out.extend_from_slice(&body.tag_type.to_le_bytes());
    out.extend_from_slice(&tag_bytes.to_le_bytes());
    out.extend_from_slice(body.tag);
    out.extend_from_slice(body.args);
}
