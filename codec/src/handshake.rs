//! The handshake: who a slave is, whether it may join, and what it needs to know.
//!
//! The slave speaks first, whoever dialled: a [`Hello`]. The master answers with a [`Welcome`] or a [`Refusal`]. All
//! three are hand-laid ([`crate::wire`]); a text is its length and UTF-8.
//!
//! | payload | fields |
//! |---|---|
//! | hello | protocol u16, member id (u8, bytes), host, job (u16, text), pid u32, watched u8, end of its predecessor (u16, text), labels u8, per label (u16, text), run that it comes back to 16 bytes, app version, build (u16, text), format u32, count u16, per algorithm: name, arguments, result (u16, text), types u64 |
//! | welcome | slave u32, client timeout ms u64, largest tasks payload u32, largest results payload u32, result group u32, checkpoint interval ms u64, crash limit u32, task time-out ms u64, seed u64, shared cache bytes u64, run 16 bytes, reconnect ms u64, log level u8, count u32, arguments (u32, text) |
//! | refusal | code u16, master's and slave's protocol u16 each, text (u16, text) |
//!
//! The protocol's version stays the hello's first field for ever, and the refusal's layout stays as it is, so that
//! two versions can always tell each other what is wrong.

use thiserror::Error;

use crate::log::LogLevel;
use crate::wire::{DecodeError, Fields, prefix, put_text16};

pub use fingerprint::{
    AlgorithmSignature, FINGERPRINT_TEXT_BYTES_MAX, Fingerprint, first_difference,
};
pub use refusal::{REFUSAL_BYTES_MAX, Refusal, judge};

mod fingerprint;
mod refusal;

/// The version of the protocol: handshake, batches and control payloads together. Version 3: batches with series; 4: the
/// frames from 20 on; 5: conversations, progress, what is told of the hungry, slaves that come back to their run; 7: slaves' logs.
pub const PROTOCOL_VERSION: u16 = 8;
/// The most bytes of a hello.
pub const HELLO_BYTES_MAX: usize = 65_536;
/// The most bytes of a welcome; the user's arguments must fit beside its fixed fields.
pub const WELCOME_BYTES_MAX: usize = 1 << 20;
/// The most bytes of a membership token.
pub const MEMBER_ID_BYTES_MAX: usize = 255;
/// The most bytes of a host or a batch job's id; longer ones are cut.
pub const HOST_BYTES_MAX: usize = 255;

/// The most labels of a slave.
pub const LABELS_MAX: usize = 16;
/// The most bytes of a label, `key=value` or `key`.
pub const LABEL_BYTES_MAX: usize = 64;
/// The most bytes that are said of how a slave's predecessor ended; a longer text is cut.
pub const BEFORE_BYTES_MAX: usize = 255;

const WELCOME_FIXED_BYTES: usize = 64 + 16 + 4 + 8 + 1;

/// Why a handshake payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// The hello is of another protocol; nothing else of it was read.
    #[error(
        "the slave speaks protocol version {got}, this master {PROTOCOL_VERSION}; run the same binary on both sides"
    )]
    Protocol {
        /// The slave's version.
        got: u16,
    },
    /// A field could not be read.
    #[error("{0}")]
    Field(#[from] DecodeError),
    /// The algorithms are not in ascending order of distinct names.
    #[error("algorithm {name:?} is out of order or there twice")]
    Order {
        /// The algorithm's name.
        name: String,
    },
    /// A fingerprint or the user's arguments would not fit their frame.
    #[error("{field}: {bytes} bytes, at most {bytes_max} are allowed")]
    TooLong {
        /// What is too long.
        field: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The most allowed.
        bytes_max: usize,
    },
}

/// What a slave says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// [`PROTOCOL_VERSION`] of the slave.
    pub protocol: u16,
    /// The membership token, at most [`MEMBER_ID_BYTES_MAX`] bytes.
    pub member_id: Vec<u8>,
    /// The slave's host name.
    pub host: String,
    /// The batch job's id, empty when there is none.
    pub job: String,
    /// The slave's process id.
    pub pid: u32,
    /// What else it says of itself.
    pub about: About,
    /// The application that it runs.
    pub fingerprint: Fingerprint,
}

/// What a slave says of itself beside its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Somebody starts another slave in its place, should it die: local mode, or the parent of a node.
    pub is_watched: bool,
    /// How the one before it in its place ended, at most [`BEFORE_BYTES_MAX`] bytes; empty if it is the first there.
    pub before: String,
    /// Its labels, `key=value` or `key`: at most [`LABELS_MAX`], each of 1 to [`LABEL_BYTES_MAX`] bytes.
    pub labels: Vec<String>,
    /// It was a slave of this run before, and what it has of that is still good; 0: it was none.
    pub comes_back_to: u128,
}

impl About {
    fn encode(&self, out: &mut Vec<u8>) {
        let labels = u8::try_from(self.labels.len()).ok();
        let labels = labels.filter(|labels| usize::from(*labels) <= LABELS_MAX);
        out.push(self.is_watched.into());
        put_text16(out, prefix(&self.before, BEFORE_BYTES_MAX));
        out.push(labels.expect("the flag takes no more labels"));
        for label in &self.labels {
            assert!(
                (1..=LABEL_BYTES_MAX).contains(&label.len()),
                "the flag takes no longer label"
            );
            put_text16(out, label);
        }
        out.extend_from_slice(&self.comes_back_to.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Result<About, DecodeError> {
        let is_watched = fields.bool("watched")?;
        let before = fields.text16_within("predecessor's end", BEFORE_BYTES_MAX)?;
        let count = usize::from(fields.u8("labels")?);
        if count > LABELS_MAX {
            return Err(DecodeError::TooLong {
                field: "labels",
                got: count,
                max: LABELS_MAX,
            });
        }
        let mut labels = Vec::with_capacity(count);
        for _ in 0..count {
            let label = fields.text16_within("label", LABEL_BYTES_MAX)?;
            if label.is_empty() {
                return Err(DecodeError::Value {
                    field: "label",
                    got: 0,
                });
            }
            labels.push(label);
        }
        Ok(About {
            is_watched,
            before,
            labels,
            comes_back_to: fields.u128("run")?,
        })
    }
}

impl Hello {
    /// Of a slave without token, host and algorithms, for tests.
    #[doc(hidden)]
    pub fn for_test() -> Self {
        Hello {
            protocol: PROTOCOL_VERSION,
            member_id: Vec::new(),
            host: String::new(),
            job: String::new(),
            pid: 1,
            about: About::default(),
            fingerprint: Fingerprint {
                app_version: String::new(),
                build: String::new(),
                format: 1,
                algorithms: Vec::new(),
            },
        }
    }

    /// Appends the payload, at most [`HELLO_BYTES_MAX`] bytes: host and job are cut to [`HOST_BYTES_MAX`], and with
    /// very many algorithms the descriptions of their types, never the hashes.
    ///
    /// # Panics
    /// With a longer member id, more or longer labels, or a fingerprint that [`Fingerprint::validate`] refuses.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let id_bytes =
            u8::try_from(self.member_id.len()).expect("a membership token has at most 255 bytes");
        let start = out.len();
        out.extend_from_slice(&self.protocol.to_le_bytes());
        out.push(id_bytes);
        out.extend_from_slice(&self.member_id);
        put_text16(out, prefix(&self.host, HOST_BYTES_MAX));
        put_text16(out, prefix(&self.job, HOST_BYTES_MAX));
        out.extend_from_slice(&self.pid.to_le_bytes());
        self.about.encode(out);
        self.fingerprint.encode(out);
        assert!(
            out.len() - start <= HELLO_BYTES_MAX,
            "a valid fingerprint fits"
        );
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`HandshakeError::Protocol`] when it is of another version, before anything else is looked at; else when it is
    /// not exactly a hello.
    pub fn decode(payload: &[u8]) -> Result<Hello, HandshakeError> {
        let mut fields = Fields::new(payload);
        let protocol = fields.u16("protocol")?;
        if protocol != PROTOCOL_VERSION {
            return Err(HandshakeError::Protocol { got: protocol });
        }
        let id_bytes = fields.u8("member id length")?;
        let member_id = fields.bytes("member id", id_bytes.into())?.to_vec();
        let host = fields.text16_within("host", HOST_BYTES_MAX)?;
        let job = fields.text16_within("job", HOST_BYTES_MAX)?;
        let pid = fields.u32("pid")?;
        let about = About::decode(&mut fields)?;
        let fingerprint = Fingerprint::decode(&mut fields)?;
        fields.end()?;
        Ok(Hello {
            protocol,
            member_id,
            host,
            job,
            pid,
            about,
            fingerprint,
        })
    }
}

/// The master's answer to a slave that it accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The slave's number, `SLAVE-17`'s 17.
    pub slave: u32,
    /// How long a silence the master bears, in milliseconds.
    pub client_timeout_ms: u64,
    /// The largest payload in bytes of a tasks frame (bests too).
    pub task_packet_bytes_max: u32,
    /// The largest payload in bytes of a results frame (offers too).
    pub result_packet_bytes_max: u32,
    /// Results per packet; 0: those of a packet of tasks, but none waits for long.
    pub result_group: u32,
    /// The least time between two checkpoints of a task, in milliseconds.
    pub checkpoint_interval_ms: u64,
    /// Lost slaves under way that make a task unrunnable; 0 for never.
    pub crash_limit: u32,
    /// How long a task may take that has no limit of its own, in milliseconds; 0 for ever.
    pub task_timeout_ms: u64,
    /// The run's seed.
    pub seed: u64,
    /// The most bytes of shared data that the slave keeps, beyond what its tasks name.
    pub shared_cache_bytes: u64,
    /// The run's id, the same in each of its lives.
    pub run: u128,
    /// Which of the run's lives this is, from 1 on; 0 where the run has but one.
    pub life: u32,
    /// How long a slave that loses this master looks for the run's next life, in milliseconds; 0: there is none.
    pub reconnect_ms: u64,
    /// The slave's log is wanted from this level on.
    pub log: Option<LogLevel>,
    /// The user's arguments; with four bytes each they fit [`WELCOME_BYTES_MAX`] beside the fixed fields.
    pub args: Vec<String>,
}

impl Welcome {
    /// Of slave 0, with packets of 4 KiB and results that travel alone, for tests.
    #[doc(hidden)]
    pub fn for_test() -> Self {
        Welcome {
            slave: 0,
            client_timeout_ms: 60_000,
            checkpoint_interval_ms: 10_000,
            task_packet_bytes_max: 4_096,
            result_packet_bytes_max: 4_096,
            result_group: 1,
            crash_limit: 10,
            task_timeout_ms: 0,
            seed: 1,
            shared_cache_bytes: 1 << 30,
            run: 0,
            life: 0,
            reconnect_ms: 0,
            log: None,
            args: Vec::new(),
        }
    }

    /// Whether a welcome can carry these user arguments; asked once, when the master starts.
    ///
    /// # Errors
    /// [`HandshakeError::TooLong`] when they exceed the frame.
    pub fn validate_args(args: &[String]) -> Result<(), HandshakeError> {
        let bytes = args.iter().map(|arg| 4 + arg.len()).sum();
        let bytes_max = WELCOME_BYTES_MAX - WELCOME_FIXED_BYTES;
        match bytes > bytes_max {
            true => Err(HandshakeError::TooLong {
                field: "the user's arguments",
                bytes,
                bytes_max,
            }),
            false => Ok(()),
        }
    }

    /// Appends the payload.
    ///
    /// # Panics
    /// With arguments that [`Self::validate_args`] refuses.
    pub fn encode(&self, out: &mut Vec<u8>) {
        assert_eq!(
            Self::validate_args(&self.args),
            Ok(()),
            "the master checks its arguments at its start"
        );
        out.extend_from_slice(&self.slave.to_le_bytes());
        out.extend_from_slice(&self.client_timeout_ms.to_le_bytes());
        out.extend_from_slice(&self.task_packet_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.result_packet_bytes_max.to_le_bytes());
        out.extend_from_slice(&self.result_group.to_le_bytes());
        out.extend_from_slice(&self.checkpoint_interval_ms.to_le_bytes());
        out.extend_from_slice(&self.crash_limit.to_le_bytes());
        out.extend_from_slice(&self.task_timeout_ms.to_le_bytes());
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.shared_cache_bytes.to_le_bytes());
        out.extend_from_slice(&self.run.to_le_bytes());
        out.extend_from_slice(&self.life.to_le_bytes());
        out.extend_from_slice(&self.reconnect_ms.to_le_bytes());
        out.push(LogLevel::number(self.log));
        out.extend_from_slice(&(self.args.len() as u32).to_le_bytes());
        for arg in &self.args {
            out.extend_from_slice(&(arg.len() as u32).to_le_bytes());
            out.extend_from_slice(arg.as_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly a welcome.
    pub fn decode(payload: &[u8]) -> Result<Welcome, HandshakeError> {
        let mut fields = Fields::new(payload);
        let slave = fields.u32("slave")?;
        let client_timeout_ms = fields.u64("client timeout")?;
        let task_packet_bytes_max = fields.u32("tasks bytes max")?;
        let result_packet_bytes_max = fields.u32("results bytes max")?;
        let result_group = fields.u32("result group")?;
        let checkpoint_interval_ms = fields.u64("checkpoint interval")?;
        let crash_limit = fields.u32("crash limit")?;
        let task_timeout_ms = fields.u64("task time-out")?;
        let seed = fields.u64("seed")?;
        let shared_cache_bytes = fields.u64("shared cache bytes")?;
        let run = fields.u128("run")?;
        let life = fields.u32("life")?;
        let reconnect_ms = fields.u64("reconnect")?;
        let log = LogLevel::read(&mut fields)?;
        let count = fields.count("args", 4)?;
        let args = (0..count)
            .map(|_| fields.text32("arg"))
            .collect::<Result<_, _>>()?;
        fields.end()?;
        Ok(Welcome {
            slave,
            client_timeout_ms,
            task_packet_bytes_max,
            result_packet_bytes_max,
            result_group,
            checkpoint_interval_ms,
            crash_limit,
            task_timeout_ms,
            seed,
            shared_cache_bytes,
            run,
            life,
            reconnect_ms,
            log,
            args,
        })
    }
}
