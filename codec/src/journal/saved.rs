//! The state file, and the file that says which run it is.

use super::{
    FileError, HEAD_BYTES_MAX, Identity, RUN_MAGIC, STATE_MAGIC, open_head, put_bytes32, put_len,
    seal_head, whole,
};
use crate::wire::{DecodeError, Fields, put_text16};

/// Most bytes of a state file: 1 TiB, which is to say what memory allows.
const STATE_BYTES_MAX: u64 = 1 << 40;

/// What the master algorithm saved, and what of the run belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateFile {
    /// Whose state it is.
    pub identity: Identity,
    /// The hash of the saved value's type.
    pub type_hash: u64,
    /// That type as people read it.
    pub type_text: String,
    /// How many maps, calls and submissions each algorithm had.
    pub numbering: Vec<Numbering>,
    /// The incumbents that had a witness.
    pub bests: Vec<SavedBest>,
    /// The value's archive.
    pub value: Vec<u8>,
}

/// How far an algorithm's default streams had come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbering {
    /// The algorithm's name.
    pub algorithm: String,
    /// Maps that were made.
    pub maps: u64,
    /// Calls and submissions to the queue that were made.
    pub singles: u64,
}

/// An incumbent with its witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedBest {
    /// Its place of creation.
    pub best: u32,
    /// A hash of direction, key's and witness's type.
    pub types: u64,
    /// The image of the key: smaller is better.
    pub image: u64,
    /// The witness's archive.
    pub witness: Vec<u8>,
}

impl StateFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::new();
        self.identity.encode(&mut head);
        head.extend_from_slice(&self.type_hash.to_le_bytes());
        put_bytes32(&mut head, self.type_text.as_bytes());
        put_len(&mut head, self.numbering.len());
        for Numbering {
            algorithm,
            maps,
            singles,
        } in &self.numbering
        {
            put_text16(
                &mut head,
                crate::wire::prefix(algorithm, usize::from(u16::MAX)),
            );
            head.extend_from_slice(&maps.to_le_bytes());
            head.extend_from_slice(&singles.to_le_bytes());
        }
        put_len(&mut head, self.bests.len());
        for best in &self.bests {
            head.extend_from_slice(&best.best.to_le_bytes());
            head.extend_from_slice(&best.types.to_le_bytes());
            head.extend_from_slice(&best.image.to_le_bytes());
            put_bytes32(&mut head, &best.witness);
        }
        head.extend_from_slice(&self.value);
        seal_head(STATE_MAGIC, &head)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no state file, of another version, cut off, or damaged.
    pub fn decode(file: &[u8]) -> Result<Self, FileError> {
        let head = open_head("state file", STATE_MAGIC, STATE_BYTES_MAX, file)?;
        let mut fields = Fields::new(head);
        let identity = Identity::decode(&mut fields)?;
        let type_hash = fields.u64("type's hash")?;
        let type_text = fields.text32("type")?;
        let numbering = (0..fields.count("numbering", 2 + 8 + 8)?)
            .map(|_| {
                Ok(Numbering {
                    algorithm: fields.text16("algorithm")?,
                    maps: fields.u64("maps")?,
                    singles: fields.u64("calls")?,
                })
            })
            .collect::<Result<_, DecodeError>>()?;
        let bests = (0..fields.count("incumbents", 4 + 8 + 8 + 4)?)
            .map(|_| {
                Ok(SavedBest {
                    best: fields.u32("incumbent")?,
                    types: fields.u64("incumbent's type")?,
                    image: fields.u64("incumbent's key")?,
                    witness: {
                        let bytes = fields.u32("witness's length")?;
                        fields.bytes("witness", bytes as usize)?.to_vec()
                    },
                })
            })
            .collect::<Result<_, DecodeError>>()?;
        let value = fields.rest().to_vec();
        let state = StateFile {
            identity,
            type_hash,
            type_text,
            numbering,
            bests,
            value,
        };
        whole(file, head)?;
        Ok(state)
    }
}

/// Which run it is, for its next life.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFile {
    /// Whose run it is.
    pub identity: Identity,
    /// The number of the last life that has begun.
    pub life: u32,
    /// The port that it took, 0 for none.
    pub port: u16,
    /// When the life began, in microseconds since 1970.
    pub begun_us: i64,
    /// Its process, and its host.
    pub pid: u32,
    /// Its host.
    pub host: String,
    /// The run's secret, if it has one.
    pub secret: Option<[u8; 32]>,
}

impl RunFile {
    /// The file's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::new();
        self.identity.encode(&mut head);
        head.extend_from_slice(&self.life.to_le_bytes());
        head.extend_from_slice(&self.port.to_le_bytes());
        head.extend_from_slice(&self.begun_us.to_le_bytes());
        head.extend_from_slice(&self.pid.to_le_bytes());
        put_text16(
            &mut head,
            crate::wire::prefix(&self.host, usize::from(u16::MAX)),
        );
        head.push(self.secret.is_some().into());
        head.extend_from_slice(self.secret.as_ref().map_or(&[][..], |secret| secret));
        seal_head(RUN_MAGIC, &head)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it is no such file, of another version, cut off, or damaged.
    pub fn decode(file: &[u8]) -> Result<Self, FileError> {
        let head = open_head("run file", RUN_MAGIC, HEAD_BYTES_MAX, file)?;
        let mut fields = Fields::new(head);
        let identity = Identity::decode(&mut fields)?;
        let life = fields.u32("life")?;
        let port = fields.u16("port")?;
        let begun_us = fields.u64("time")?.cast_signed();
        let pid = fields.u32("process")?;
        let host = fields.text16("host")?;
        let secret = match fields.bool("has a secret")? {
            true => {
                let secret = fields.bytes("secret", 32)?;
                Some(secret.try_into().expect("32 were asked for"))
            }
            false => None,
        };
        fields.end()?;
        whole(file, head)?;
        Ok(RunFile {
            identity,
            life,
            port,
            begun_us,
            pid,
            host,
            secret,
        })
    }
}
