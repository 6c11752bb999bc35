//! A task that gave no output, as it is kept to be run again by itself.

use super::{FAILED_MAGIC, FileError, Identity, open_head, put_bytes32, put_len, seal_head, whole};
use crate::wire::{DecodeError, Fields, prefix, put_text16};

/// Most bytes of such a file: 2 GiB, since a task's arguments and tag have at most 1 GiB together.
pub const FAILED_BYTES_MAX: u64 = 2 << 30;

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum How {
    /// Its algorithm returned an error or panicked.
    #[default]
    Failed,
    /// It ran for longer than it may.
    TimedOut,
    /// Slaves were lost while they ran it, up to the crash limit.
    Poisoned,
}

impl How {
    /// As it is said of a task.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            How::Failed => "failed",
            How::TimedOut => "timed out",
            How::Poisoned => "was given up",
        }
    }

    fn from_byte(byte: u8) -> Option<How> {
        [How::Failed, How::TimedOut, How::Poisoned]
            .get(usize::from(byte))
            .copied()
    }
}

/// A task that gave no output: all that it is run by, and what is known of its end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FailedFile {
    /// Whose task it is: program, build, seed, the user's arguments.
    pub identity: Identity,
    /// Its number in its run.
    pub task: u64,
    /// What became of it.
    pub how: How,
    /// Its algorithm's name.
    pub algorithm: String,
    /// Who ran it last, in words; empty if nobody did.
    pub slave: String,
    /// Its policy, in words.
    pub policy: String,
    /// The failure's message and place, or the reason.
    pub message: String,
    /// The family of its stream.
    pub domain: u64,
    /// Its stream.
    pub stream: u64,
    /// The incumbents' keys of its start: place of creation, and the key's image, where smaller is better.
    pub bests: Vec<(u32, u64)>,
    /// Hash of the tag's type, and the tag's archive, if it has one.
    pub tag: Option<(u64, Vec<u8>)>,
    /// The arguments' archive.
    pub args: Vec<u8>,
}

impl FailedFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::new();
        self.identity.encode(&mut head);
        head.extend_from_slice(&self.task.to_le_bytes());
        head.push(self.how as u8);
        for text in [&self.algorithm, &self.slave, &self.policy] {
            put_text16(&mut head, prefix(text, usize::from(u16::MAX)));
        }
        put_bytes32(&mut head, self.message.as_bytes());
        head.extend_from_slice(&self.domain.to_le_bytes());
        head.extend_from_slice(&self.stream.to_le_bytes());
        put_len(&mut head, self.bests.len());
        for (best, image) in &self.bests {
            head.extend_from_slice(&best.to_le_bytes());
            head.extend_from_slice(&image.to_le_bytes());
        }
        head.push(self.tag.is_some().into());
        if let Some((tag_type, tag)) = &self.tag {
            head.extend_from_slice(&tag_type.to_le_bytes());
            put_bytes32(&mut head, tag);
        }
        head.extend_from_slice(&self.args);
        seal_head(FAILED_MAGIC, &head)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no such file, of another version, cut off, or damaged.
    pub fn decode(file: &[u8]) -> Result<Self, FileError> {
        let head = open_head("kept task", FAILED_MAGIC, FAILED_BYTES_MAX, file)?;
        let mut fields = Fields::new(head);
        let identity = Identity::decode(&mut fields)?;
        let task = fields.u64("task")?;
        let how = fields.u8("how it ended")?;
        let how = How::from_byte(how).ok_or(DecodeError::Value {
            field: "how it ended",
            got: how.into(),
        })?;
        let algorithm = fields.text16("algorithm")?;
        let slave = fields.text16("slave")?;
        let policy = fields.text16("policy")?;
        let message = fields.text32("message")?;
        let domain = fields.u64("family")?;
        let stream = fields.u64("stream")?;
        let bests = (0..fields.count("incumbents", 4 + 8)?)
            .map(|_| Ok((fields.u32("incumbent")?, fields.u64("incumbent's key")?)))
            .collect::<Result<_, DecodeError>>()?;
        let tag = match fields.bool("has a tag")? {
            false => None,
            true => {
                let tag_type = fields.u64("tag's type")?;
                let bytes = fields.u32("tag's length")?;
                Some((tag_type, fields.bytes("tag", bytes as usize)?.to_vec()))
            }
        };
        let args = fields.rest().to_vec();
        whole(file, head)?;
        Ok(FailedFile {
            identity,
            task,
            how,
            algorithm,
            slave,
            policy,
            message,
            domain,
            stream,
            bests,
            tag,
            args,
        })
    }
}
