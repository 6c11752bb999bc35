//! Refusals: why a slave may not join, told to both sides.

use std::fmt;

use super::{Fingerprint, HandshakeError, Hello, PROTOCOL_VERSION, first_difference};
use crate::wire::{Fields, prefix, put_text16};

/// The most bytes of a refusal; its text is cut to fit.
pub const REFUSAL_BYTES_MAX: usize = 4096;

const TEXT_BYTES_MAX: usize = REFUSAL_BYTES_MAX - 8;

/// Why the master refuses a slave. `Display` is a sentence that says what is wrong and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The membership token is another one; the sentence names both, see [`Refusal::member_id`].
    MemberId(String),
    /// The protocol is of another version.
    Protocol {
        /// The master's version.
        master: u16,
        /// The slave's version.
        slave: u16,
    },
    /// The application is another one; the sentence is [`first_difference`]'s.
    Fingerprint(String),
    /// Too many handshakes are pending.
    Busy,
    /// The master is shutting down.
    Leaving,
    /// The hello could not be read; the text says why.
    Malformed(String),
    /// The peer broke the protocol; the text says how.
    Offence(String),
    /// The master has waited too long for the peer; the sentence says for what, how long and by which limit.
    Timeout(String),
    /// The master has a secret and the slave came without.
    SecretNeeded,
    /// The slave brought a secret and the master has none.
    SecretUnknown,
    /// The slave's secret is another one.
    SecretDiffers,
    /// The slave comes back to another run; the sentence names both, see [`Refusal::run`].
    OtherRun(String),
    /// A reason that this version has no word for; the text is the master's.
    Other {
        /// The code of the refusal.
        code: u16,
        /// The master's sentence.
        text: String,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Protocol { master, slave } => write!(
                f,
                "The protocol version differs: the master has {master}, the slave {slave}; run the same binary on both sides."
            ),
            Refusal::Busy => f.write_str("The master has too many handshakes pending; start the slave again later."),
            Refusal::Leaving => f.write_str("The master is shutting down; start the slave again when there is a new one."),
            Refusal::Malformed(why) => {
                write!(f, "The slave's hello could not be read: {why}; run the same binary on both sides.")
            }
            Refusal::Offence(what) => write!(f, "The slave broke the protocol: {what}."),
            Refusal::SecretNeeded => f.write_str(
                "The master's run has a secret, and the slave came without one: give it the master's resource file (--mw-resource-file) or secret (--mw-secret-file), or start the master with --mw-no-secret.",
            ),
            Refusal::SecretUnknown => f.write_str(
                "The master runs without a secret (--mw-no-secret), and the slave brought one: take its --mw-secret-file away or give it the current resource file, or start the master without --mw-no-secret.",
            ),
            Refusal::SecretDiffers => f.write_str(
                "The secret differs from the master's: the slave belongs to another computation, or its resource file is stale; give it the master's current resource file (--mw-resource-file) or secret (--mw-secret-file).",
            ),
            Refusal::MemberId(text)
            | Refusal::Fingerprint(text)
            | Refusal::Timeout(text)
            | Refusal::OtherRun(text)
            | Refusal::Other { text, .. } => f.write_str(text),
        }
    }
}

impl Refusal {
    /// That the membership tokens differ, both of them named.
    #[must_use]
    pub fn member_id(master: &[u8], slave: &[u8]) -> Self {
        let (master, slave) = (master.escape_ascii(), slave.escape_ascii());
        Refusal::MemberId(format!(
            "The membership token differs: the master's is \"{master}\", the slave's \"{slave}\"; the slave belongs to another computation, or its resource file is stale; give it the master's --mw-member-id or current resource file."
        ))
    }

    /// That the runs differ, both of them named.
    #[must_use]
    pub fn run(master: u128, slave: u128) -> Self {
        Refusal::OtherRun(format!(
            "The slave comes back to run {slave:032x}, and this master leads run {master:032x}: what the slave has of that run is none of this one's; start the slave anew."
        ))
    }

    /// Whether another try may end otherwise: what it is refused for passes.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Refusal::Busy | Refusal::Leaving | Refusal::Timeout(_))
    }

    /// The code in the payload.
    #[must_use]
    pub const fn code(&self) -> u16 {
        match self {
            Refusal::MemberId(_) => 1,
            Refusal::Protocol { .. } => 2,
            Refusal::Fingerprint(_) => 3,
            Refusal::Busy => 4,
            Refusal::Leaving => 5,
            Refusal::Malformed(_) => 6,
            Refusal::Offence(_) => 7,
            Refusal::Timeout(_) => 8,
            Refusal::SecretNeeded => 9,
            Refusal::SecretUnknown => 10,
            Refusal::SecretDiffers => 11,
            Refusal::OtherRun(_) => 12,
            Refusal::Other { code, .. } => *code,
        }
    }

    /// Appends the payload, at most [`REFUSAL_BYTES_MAX`] bytes: the text is cut to fit.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (master, slave) = match self {
            Refusal::Protocol { master, slave } => (*master, *slave),
            _ => (PROTOCOL_VERSION, PROTOCOL_VERSION),
        };
        let text = match self {
            Refusal::Malformed(why) | Refusal::Offence(why) => why.clone(),
            other => other.to_string(),
        };
        out.extend_from_slice(&self.code().to_le_bytes());
        out.extend_from_slice(&master.to_le_bytes());
        out.extend_from_slice(&slave.to_le_bytes());
        put_text16(out, prefix(&text, TEXT_BYTES_MAX));
    }

    /// Reads a payload. A code that this version does not know is [`Refusal::Other`], with the master's sentence.
    ///
    /// # Errors
    /// When it is not exactly a refusal.
    pub fn decode(payload: &[u8]) -> Result<Refusal, HandshakeError> {
        let mut fields = Fields::new(payload);
        let code = fields.u16("code")?;
        let master = fields.u16("master protocol")?;
        let slave = fields.u16("slave protocol")?;
        let text = fields.text16("text")?;
        fields.end()?;
        Ok(match code {
            1 => Refusal::MemberId(text),
            2 => Refusal::Protocol { master, slave },
            3 => Refusal::Fingerprint(text),
            4 => Refusal::Busy,
            5 => Refusal::Leaving,
            6 => Refusal::Malformed(text),
            7 => Refusal::Offence(text),
            8 => Refusal::Timeout(text),
            9 => Refusal::SecretNeeded,
            10 => Refusal::SecretUnknown,
            11 => Refusal::SecretDiffers,
            12 => Refusal::OtherRun(text),
            code => Refusal::Other { code, text },
        })
    }
}

/// Turns an unreadable hello into the refusal that answers it.
impl From<HandshakeError> for Refusal {
    fn from(error: HandshakeError) -> Self {
        match error {
            HandshakeError::Protocol { got } => Refusal::Protocol {
                master: PROTOCOL_VERSION,
                slave: got,
            },
            other => Refusal::Malformed(other.to_string()),
        }
    }
}

/// Judges a hello: protocol version, membership token, then [`first_difference`].
///
/// # Errors
/// The first reason to refuse it.
pub fn judge(
    hello: &Hello,
    member_id: &[u8],
    master: &Fingerprint,
    any_build: bool,
) -> Result<(), Refusal> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(Refusal::Protocol {
            master: PROTOCOL_VERSION,
            slave: hello.protocol,
        });
    }
    if hello.member_id != member_id {
        return Err(Refusal::member_id(member_id, &hello.member_id));
    }
    match first_difference(master, &hello.fingerprint, any_build) {
        Some(difference) => Err(Refusal::Fingerprint(difference)),
        None => Ok(()),
    }
}
