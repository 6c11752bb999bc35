//! The journal of a run, its state file, and the file that says which run it is: what outlasts a master.
//!
//! | file | holds | here |
//! |---|---|---|
//! | `000001-000001.journal` | a segment: a head that says whose it is, then records | [`Segment`], [`Records`], [`Record`] |
//! | `state` | what the master algorithm saved, with incumbents and the numbering of maps | [`StateFile`] |
//! | `TASK-920` | a task that gave no output, to be run again by itself | [`FailedFile`] |
//! | `run` | run id, seed, secret, port, number of the last life | [`RunFile`] |
//!
//! Each begins with the same envelope, so that a file of another kind or version is refused by name, never guessed:
//!
//! ```text
//!   0        8         12          16       24
//!   | magic  | version | CRC32C    | length | head ..
//! ```
//!
//! All numbers are little-endian. The checksum covers magic, version, length and head. In a segment records follow:
//!
//! ```text
//!   | RWrc | payload length 4 | CRC32C 4 | kind 1, payload .. | RWrc | ..
//! ```
//!
//! A record's checksum covers the life and the number of the segment and the record's place in it too: what a file system
//! puts there of another file, or of another place, is no record. Behind damage the next record is found by its four
//! letters.
//!
//! What is read is trusted no more than the network: lengths are held against what is there before any memory is taken.
//!
//! A result's key is [`key`]: algorithm by name, stream, and the hash of the arguments ([`hash_args`]). Build,
//! application version, seed and arguments of the run stand in each segment's head, and are compared there
//! ([`Identity::difference`]).
//!
//! Version 1: the first.

use std::fmt;

use thiserror::Error;

pub use failed::{FAILED_BYTES_MAX, FailedFile, How};
pub use records::{
    Begun, BegunEntry, Found, OFFER_HEAD_BYTES, Offered, RECORD_HEAD_BYTES, Record, Records,
    ResultEntry, ResultsRecord, begin_results, output_sum, put_begun, put_failure, put_offer,
    put_result, results_of, seal,
};
pub use saved::{Numbering, RunFile, SavedBest, StateFile};

use crate::crc;
use crate::wire::{DecodeError, Fields, put_text16};

mod failed;
mod records;
mod saved;

/// The version of all four formats.
pub const JOURNAL_VERSION: u32 = 1;
/// The first bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"RWjournl";
/// The first bytes of a state file.
pub const STATE_MAGIC: [u8; 8] = *b"RWstate\0";
/// The first bytes of the file `run`.
pub const RUN_MAGIC: [u8; 8] = *b"RWrun\0\0\0";
/// The first bytes of a task that is kept.
pub const FAILED_MAGIC: [u8; 8] = *b"RWfailed";
/// A segment that has this many bytes is followed by another: 64 MiB.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Most bytes of a segment's head and of the file `run`: 64 MiB, since all arguments of the run stand in it.
pub const HEAD_BYTES_MAX: u64 = 64 << 20;
/// Bytes before a head.
pub const ENVELOPE_BYTES: usize = 24;

/// Why a file is none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// Its first bytes are another kind's.
    #[error("it is no {expected}: its first bytes are not {magic:?}")]
    Magic {
        /// What it was read as.
        expected: &'static str,
        /// What such a file begins with.
        magic: String,
    },
    /// It is of another version.
    #[error("its format is version {got}, this ringmw reads version {JOURNAL_VERSION}")]
    Version {
        /// Its version.
        got: u32,
    },
    /// It ends before its end.
    #[error("it has {got} bytes where {expected} are needed: it was cut off")]
    Short {
        /// Bytes that it needs.
        expected: u64,
        /// Bytes that it has.
        got: u64,
    },
    /// It says that it is longer than such a file may be.
    #[error("it announces {got} bytes, at most {max} are allowed")]
    TooLong {
        /// Bytes announced.
        got: u64,
        /// Bytes allowed.
        max: u64,
    },
    /// Its bytes are not those that were written.
    #[error("its checksum is {got:#010x}, its bytes give {expected:#010x}: it is damaged")]
    Checksum {
        /// What its bytes add up to.
        expected: u32,
        /// What it says.
        got: u32,
    },
    /// A field cannot be.
    #[error("{0}")]
    Field(#[from] DecodeError),
}

/// Nothing follows the head.
fn whole(file: &[u8], head: &[u8]) -> Result<(), FileError> {
    match file.len() - ENVELOPE_BYTES - head.len() {
        0 => Ok(()),
        got => Err(DecodeError::Trailing { got }.into()),
    }
}

/// Puts a head into its envelope.
fn seal_head(magic: [u8; 8], head: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(ENVELOPE_BYTES + head.len());
    file.extend_from_slice(&magic);
    file.extend_from_slice(&JOURNAL_VERSION.to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&(head.len() as u64).to_le_bytes());
    file.extend_from_slice(head);
    let checksum = head_checksum(&file);
    file[12..16].copy_from_slice(&checksum.to_le_bytes());
    file
}

fn head_checksum(file: &[u8]) -> u32 {
    crc::append(crc::of(&file[..12]), &file[16..])
}

/// The head in the envelope that `file` begins with.
fn open_head<'a>(
    what: &'static str,
    magic: [u8; 8],
    bytes_max: u64,
    file: &'a [u8],
) -> Result<&'a [u8], FileError> {
    let begins = file.len().min(magic.len());
    if file[..begins] != magic[..begins] {
        let magic = String::from_utf8_lossy(&magic).into_owned();
        return Err(FileError::Magic {
            expected: what,
            magic,
        });
    }
    let short = |expected: u64| FileError::Short {
        expected,
        got: file.len() as u64,
    };
    let Some(envelope) = file.first_chunk::<ENVELOPE_BYTES>() else {
        return Err(short(ENVELOPE_BYTES as u64));
    };
    let word = |at: usize| u32::from_le_bytes(envelope[at..at + 4].try_into().expect("4 bytes"));
    if word(8) != JOURNAL_VERSION {
        return Err(FileError::Version { got: word(8) });
    }
    let length = u64::from_le_bytes(envelope[16..].try_into().expect("8 bytes"));
    if length > bytes_max {
        return Err(FileError::TooLong {
            got: length,
            max: bytes_max,
        });
    }
    let end = ENVELOPE_BYTES as u64 + length;
    if (file.len() as u64) < end {
        return Err(short(end));
    }
    let file = &file[..end as usize];
    let (expected, got) = (head_checksum(file), word(12));
    if expected != got {
        return Err(FileError::Checksum { expected, got });
    }
    Ok(&file[ENVELOPE_BYTES..])
}

// ---- whose it is

/// Whose results they are: results of one identity are those of no other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The run's id, 0 where it has none.
    pub run: u128,
    /// The program's name.
    pub program: String,
    /// Identity of its binary.
    pub build: String,
    /// What the application says of its version.
    pub app_version: String,
    /// The run's seed.
    pub seed: u64,
    /// The user's arguments, as slaves are told them.
    pub args: Vec<String>,
}

/// In what two identities differ first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The application's version.
    AppVersion(String, String),
    /// Program, by its name, and build.
    Program(String, String),
    /// The build.
    Build(String, String),
    /// The seed.
    Seed(u64, u64),
    /// The arguments.
    Args(Vec<String>, Vec<String>),
}

impl Identity {
    /// In what what was kept (`self`) differs from what runs now; the run id is no difference, nor is another name of the
    /// same build. Waived: the build, the arguments.
    #[must_use]
    pub fn difference(
        &self,
        now: &Identity,
        any_build: bool,
        any_args: bool,
    ) -> Option<Difference> {
        if self.app_version != now.app_version {
            let (kept, now) = (self.app_version.clone(), now.app_version.clone());
            return Some(Difference::AppVersion(kept, now));
        }
        if self.build != now.build && !any_build {
            if self.program != now.program {
                let (kept, now) = (self.program.clone(), now.program.clone());
                return Some(Difference::Program(kept, now));
            }
            return Some(Difference::Build(self.build.clone(), now.build.clone()));
        }
        if self.seed != now.seed {
            return Some(Difference::Seed(self.seed, now.seed));
        }
        if self.args != now.args && !any_args {
            return Some(Difference::Args(self.args.clone(), now.args.clone()));
        }
        None
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        for text in [&self.program, &self.build, &self.app_version] {
            put_text16(out, crate::wire::prefix(text, usize::from(u16::MAX)));
        }
        put_len(out, self.args.len());
        for arg in &self.args {
            put_bytes32(out, arg.as_bytes());
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let run = fields.u128("run id")?;
        let seed = fields.u64("seed")?;
        let program = fields.text16("program")?;
        let build = fields.text16("build")?;
        let app_version = fields.text16("application's version")?;
        let args = (0..fields.count("arguments", 4)?)
            .map(|_| fields.text32("argument"))
            .collect::<Result<_, _>>()?;
        Ok(Identity {
            run,
            program,
            build,
            app_version,
            seed,
            args,
        })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::AppVersion(kept, now) => {
                write!(
                    f,
                    "it is of the application's version {kept:?}, this is {now:?}"
                )
            }
            Difference::Program(kept, now) => {
                write!(f, "it is of the program {kept:?}, this is {now:?}")
            }
            Difference::Build(kept, now) => write!(
                f,
                "it is of build {kept}, this is {now}: a mended program would get the answers of the old one"
            ),
            Difference::Seed(kept, now) => write!(f, "it is of seed {kept}, this run has {now}"),
            Difference::Args(kept, now) => {
                write!(f, "it is of the arguments {kept:?}, this run has {now:?}")
            }
        }
    }
}

/// A run's id as people see it.
#[must_use]
pub fn run_text(run: u128) -> String {
    format!("{run:032x}")
}

// ---- segments

/// The head of a segment: whose records they are, and the algorithms that they name by number.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Segment {
    /// The life of the run that writes it, from 1.
    pub life: u32,
    /// Its number in that life, from 1.
    pub number: u32,
    /// When it was begun, in microseconds since 1970.
    pub begun_us: i64,
    /// Whose results they are.
    pub identity: Identity,
    /// The algorithms' names, by number.
    pub algorithms: Vec<String>,
}

impl Segment {
    /// The name of its file.
    #[must_use]
    pub fn file_name(life: u32, number: u32) -> String {
        format!("{life:06}-{number:06}.journal")
    }

    /// Life and number that a file's name says, if it is a segment's.
    #[must_use]
    pub fn parse_file_name(name: &str) -> Option<(u32, u32)> {
        let (life, number) = name.strip_suffix(".journal")?.split_once('-')?;
        let (life, number) = (life.parse().ok()?, number.parse().ok()?);
        (life > 0 && number > 0 && Self::file_name(life, number) == name).then_some((life, number))
    }

    /// The bytes that the segment begins with.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = Vec::new();
        head.extend_from_slice(&self.life.to_le_bytes());
        head.extend_from_slice(&self.number.to_le_bytes());
        head.extend_from_slice(&self.begun_us.to_le_bytes());
        self.identity.encode(&mut head);
        put_len(&mut head, self.algorithms.len());
        for name in &self.algorithms {
            put_text16(&mut head, crate::wire::prefix(name, usize::from(u16::MAX)));
        }
        seal_head(SEGMENT_MAGIC, &head)
    }

    /// Reads the head that `file` begins with, and where the records begin.
    ///
    /// # Errors
    /// When it is no segment, of another version, cut off, or damaged.
    pub fn decode(file: &[u8]) -> Result<(Segment, usize), FileError> {
        let head = open_head("journal", SEGMENT_MAGIC, HEAD_BYTES_MAX, file)?;
        let mut fields = Fields::new(head);
        let life = fields.u32("life")?;
        let number = fields.u32("number")?;
        let begun_us = fields.u64("time")?.cast_signed();
        let identity = Identity::decode(&mut fields)?;
        let algorithms = (0..fields.count("algorithms", 2)?)
            .map(|_| fields.text16("algorithm"))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        let segment = Segment {
            life,
            number,
            begun_us,
            identity,
            algorithms,
        };
        Ok((segment, ENVELOPE_BYTES + head.len()))
    }
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    let len = u32::try_from(len).expect("a list is far shorter than 2^32");
    out.extend_from_slice(&len.to_le_bytes());
}

fn put_bytes32(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

// ---- keys

/// The hash of a task's arguments. What of them is the moment's (an incumbent's key) is left out by who gives them.
#[must_use]
#[inline]
pub fn hash_args(args: &[u8]) -> u128 {
    xxhash_rust::xxh3::xxh3_128(args)
}

/// The hash of an algorithm's name in a key.
#[must_use]
pub fn hash_name(name: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(name.as_bytes())
}

/// The key of a task's result: its algorithm by the hash of its name, its stream, the hash of its arguments.
#[must_use]
#[inline]
pub fn key(algorithm: u64, domain: u64, stream: u64, args: u128) -> u128 {
    let mut words = [0; 40];
    words[..8].copy_from_slice(&algorithm.to_le_bytes());
    words[8..16].copy_from_slice(&domain.to_le_bytes());
    words[16..24].copy_from_slice(&stream.to_le_bytes());
    words[24..].copy_from_slice(&args.to_le_bytes());
    xxhash_rust::xxh3::xxh3_128(&words)
}
