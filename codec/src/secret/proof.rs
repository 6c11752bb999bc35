//! The proof: what is said before the first record, and what it says of who said it.
//!
//! ```text
//!  first   0      2         3      4          6      16       17                272           320
//!          | R  S | version | role | protocol | 0 .. | length | token, then 0s  | Noise message |
//!  answer  | R  S | version | 128  | protocol | 0 .. | Noise message (48)  64
//! ```
//!
//! The first 272 bytes of the first message are in the prologue of the handshake, so that each of them is proved with
//! the secret: role, versions and token. They travel in plain, since a token is no secret, and since who is refused is to
//! be told why.

use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver, RingResolver};
use snow::types::{Cipher, Dh, Hash, Random};
use snow::{Builder, HandshakeState};
use thiserror::Error;

use super::{Channel, Key, SECRET_BYTES, Secret};
use crate::frame;
use crate::handshake::{MEMBER_ID_BYTES_MAX, PROTOCOL_VERSION};

/// The first two bytes of either message.
pub const SECRET_MAGIC: [u8; 2] = *b"RS";
/// The version of both messages and of the records. Version 1: the first.
pub const SECRET_VERSION: u8 = 1;
/// Bytes of the first message, whatever it says.
pub const FIRST_BYTES: usize = PROLOGUE_BYTES + NOISE_BYTES;
/// Bytes of the answer to it.
pub const ANSWER_BYTES: usize = HEAD_BYTES + NOISE_BYTES;

const HEAD_BYTES: usize = 16;
/// Length and token.
const TOKEN_BYTES: usize = 1 + MEMBER_ID_BYTES_MAX;
const PROLOGUE_BYTES: usize = HEAD_BYTES + TOKEN_BYTES;
/// An ephemeral public key, and the tag of an empty payload.
const NOISE_BYTES: usize = 32 + 16;
const ANSWER_ROLE: u8 = 128;
/// Before the first message's key: who does not know the secret is found out before any Diffie-Hellman.
const PSK_AT: u8 = 0;
/// What the pre-shared key is derived for.
const PSK_PURPOSE: &str = "ringmw 2026 the secret of a run as the pre-shared key of Noise";
/// Begins the prologue: the role of who answers.
const ANSWERER: &[u8] = b"ringmw master";

/// What the initiator wants to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A slave, at the master's listener for slaves.
    Slave = 1,
    /// Somebody who looks and asks: `ringmw top`, `why`, `stop`.
    Observer = 2,
}

impl Role {
    fn from_u8(number: u8) -> Option<Role> {
        [Role::Slave, Role::Observer]
            .into_iter()
            .find(|role| *role as u8 == number)
    }
}

/// How a stream begins that is not one of these messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Opening {
    /// With a frame: the peer speaks in plain.
    #[error("the peer speaks without a secret")]
    Plain,
    /// With something else.
    #[error(
        "the peer does not speak ringmw's protocol (it begins with other bytes than \"RS\" or \"RW\"); is it another program on this port?"
    )]
    Strange,
}

/// Collects a message of `N` bytes, however it is cut, and judges its first two as soon as they are there: who speaks
/// in plain may say less than `N` bytes and wait.
#[derive(Debug, Default)]
pub struct Fixed<const N: usize> {
    bytes: Vec<u8>,
}

impl<const N: usize> Fixed<N> {
    /// Takes what it needs from the front of `input`; the message once it is whole.
    ///
    /// # Errors
    /// What begins otherwise; nothing of `input` is taken that is not among the first two bytes of all.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<[u8; N]>, Opening> {
        while self.bytes.len() < SECRET_MAGIC.len()
            && let Some((&byte, rest)) = input.split_first()
        {
            let at = self.bytes.len();
            self.bytes.push(byte);
            *input = rest;
            if byte != SECRET_MAGIC[at] {
                let is_frame = self.bytes[..] == frame::MAGIC[..=at];
                return Err(if is_frame {
                    Opening::Plain
                } else {
                    Opening::Strange
                });
            }
        }
        let taken = input.len().min(N - self.bytes.len());
        let (head, rest) = input.split_at(taken);
        // The whole has a small fixed size: no need to grow by doubling.
        self.bytes.reserve_exact(taken);
        self.bytes.extend_from_slice(head);
        *input = rest;
        Ok(self.bytes[..].try_into().ok())
    }

    /// What was taken so far, which is how a stream begins that is none of these.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Why a master does not go on with who sent a first message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FirstError {
    /// Its layout is of another version.
    #[error(
        "the peer's proof is of version {got}, ours of version {SECRET_VERSION}; run the same ringmw on both sides"
    )]
    Version {
        /// The version in the message.
        got: u8,
    },
    /// Its protocol is of another version.
    #[error(
        "the slave speaks protocol version {got}, this master {PROTOCOL_VERSION}; run the same binary on both sides"
    )]
    Protocol {
        /// The peer's version.
        got: u16,
    },
    /// No role has this number: it is a master's answer that came back, for example.
    #[error("the peer's proof is for role {got}, which nobody has")]
    Role {
        /// The number in the message.
        got: u8,
    },
    /// Bytes that must be zero are not.
    #[error("reserved bytes of the peer's proof are not zero; run the same ringmw on both sides")]
    Reserved,
    /// The membership token is another one.
    #[error("the membership token is another one")]
    Token {
        /// The peer's.
        got: Vec<u8>,
    },
    /// The peer does not know the secret, or what it said was changed on the way.
    #[error("the peer does not know the secret of this run")]
    Secret,
}

/// Why a slave does not trust what answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AnswerError {
    /// It is no answer of a master of this version.
    #[error(
        "what answered is no master of this version of ringmw; run the same binary on both sides"
    )]
    Head,
    /// Who answered does not know the secret, or what it said was changed on the way.
    #[error(
        "what answered does not know the secret of this run: it is not its master, or its answer was changed on the way"
    )]
    Secret,
}

fn head(role: u8) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..2].copy_from_slice(&SECRET_MAGIC);
    (head[2], head[3]) = (SECRET_VERSION, role);
    head[4..6].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    head
}

/// Gives the one ephemeral key that was given, and no other.
struct Given(Option<Key>);

impl Random for Given {
    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), snow::Error> {
        let key = self.0.take().ok_or(snow::Error::Rng)?;
        if into.len() != SECRET_BYTES {
            return Err(snow::Error::Rng);
        }
        into.copy_from_slice(&*key.0);
        Ok(())
    }
}

/// AES-GCM of ring, all else of snow's own; the randomness is what was given.
struct Resolver(std::sync::Mutex<Option<Key>>);

impl CryptoResolver for Resolver {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        let key = self.0.lock().ok()?.take()?;
        Some(Box::new(Given(Some(key))))
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        RingResolver.resolve_cipher(choice)
    }
}

fn noise(
    secret: &Secret,
    prologue: &[u8; PROLOGUE_BYTES],
    key: Key,
    begins: bool,
) -> HandshakeState {
    let psk = secret.derive(PSK_PURPOSE);
    let prologue = [ANSWERER, prologue].concat();
    let pattern = format!("Noise_NNpsk{PSK_AT}_25519_AESGCM_BLAKE2s");
    let params = pattern.parse().expect("the pattern is one");
    let builder =
        Builder::with_resolver(params, Box::new(Resolver(std::sync::Mutex::new(Some(key)))));
    let state = builder
        .psk(PSK_AT, &psk)
        .and_then(|builder| builder.prologue(&prologue))
        .and_then(|builder| match begins {
            true => builder.build_initiator(),
            false => builder.build_responder(),
        });
    state.expect("every part of the pattern is resolved, and each is given once")
}

/// The side of the slave or observer until it is answered.
pub struct Initiator(Box<HandshakeState>);

impl Initiator {
    /// Begins, with a key that is drawn for this connection alone; and the first message.
    ///
    /// # Panics
    /// With a token of more than [`MEMBER_ID_BYTES_MAX`] bytes.
    #[must_use]
    pub fn new(secret: &Secret, role: Role, token: &[u8], key: Key) -> (Self, [u8; FIRST_BYTES]) {
        let mut first = [0; FIRST_BYTES];
        let (prologue, message) = first
            .split_first_chunk_mut::<PROLOGUE_BYTES>()
            .expect("it is the longer");
        prologue[..HEAD_BYTES].copy_from_slice(&head(role as u8));
        prologue[HEAD_BYTES] =
            u8::try_from(token.len()).expect("a membership token has at most 255 bytes");
        prologue[HEAD_BYTES + 1..][..token.len()].copy_from_slice(token);
        let mut state = noise(secret, prologue, key, true);
        let written = state.write_message(&[], message);
        assert_eq!(written.ok(), Some(NOISE_BYTES), "a key and a tag");
        (Initiator(Box::new(state)), first)
    }

    /// Judges the answer. From here on all is records.
    ///
    /// # Errors
    /// [`AnswerError`]; the connection must go.
    pub fn finish(mut self, answer: &[u8; ANSWER_BYTES]) -> Result<Channel, AnswerError> {
        let (answered, message) = answer.split_at(HEAD_BYTES);
        if answered != head(ANSWER_ROLE) {
            return Err(AnswerError::Head);
        }
        let read = self.0.read_message(message, &mut [0; NOISE_BYTES]);
        read.map_err(|_| AnswerError::Secret)?;
        Ok(Channel::new(*self.0))
    }
}

/// A first message whose plain part makes sense. Nothing of it is proved.
pub struct First<'a> {
    role: Role,
    token: &'a [u8],
    bytes: &'a [u8; FIRST_BYTES],
}

impl<'a> First<'a> {
    /// Reads the plain part.
    ///
    /// # Errors
    /// The first that is wrong, but for [`FirstError::Token`] and [`FirstError::Secret`].
    pub fn read(bytes: &'a [u8; FIRST_BYTES]) -> Result<Self, FirstError> {
        let (version, number) = (bytes[2], bytes[3]);
        if version != SECRET_VERSION {
            return Err(FirstError::Version { got: version });
        }
        let protocol = u16::from_le_bytes([bytes[4], bytes[5]]);
        if protocol != PROTOCOL_VERSION {
            return Err(FirstError::Protocol { got: protocol });
        }
        let role = Role::from_u8(number).ok_or(FirstError::Role { got: number })?;
        let token_bytes = usize::from(bytes[HEAD_BYTES]);
        let (token, rest) = bytes[HEAD_BYTES + 1..PROLOGUE_BYTES].split_at(token_bytes);
        let reserved = &bytes[6..HEAD_BYTES];
        if bytes[..2] != SECRET_MAGIC || reserved.iter().chain(rest).any(|byte| *byte != 0) {
            return Err(FirstError::Reserved);
        }
        Ok(First { role, token, bytes })
    }

    /// The membership token that the peer says it has.
    #[must_use]
    pub fn token(&self) -> &'a [u8] {
        self.token
    }

    /// Whether the peer knows the secret: hashing alone. `key` is drawn for this connection alone.
    ///
    /// # Errors
    /// [`FirstError::Token`] or [`FirstError::Secret`].
    pub fn prove(&self, secret: &Secret, token: &[u8], key: Key) -> Result<Half, FirstError> {
        if self.token != token {
            return Err(FirstError::Token {
                got: self.token.to_vec(),
            });
        }
        let (prologue, message) = self
            .bytes
            .split_first_chunk::<PROLOGUE_BYTES>()
            .expect("it is the longer");
        let mut state = noise(secret, prologue, key, false);
        let read = state.read_message(message, &mut [0; NOISE_BYTES]);
        read.map_err(|_| FirstError::Secret)?;
        let role = self.role;
        Ok(Half {
            state: Box::new(state),
            role,
        })
    }
}

/// The master's side between a first message that is right and the answer, which costs a Diffie-Hellman: who has many of
/// them does a few at a time.
pub struct Half {
    state: Box<HandshakeState>,
    role: Role,
}

impl Half {
    /// What the peer wants to be.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The answer, and what all is sealed and opened with from here on. The peer has proved nothing before its first
    /// record has been opened: what it said so far can be a recording.
    #[must_use]
    pub fn answer(mut self) -> (Channel, [u8; ANSWER_BYTES]) {
        let mut answer = [0; ANSWER_BYTES];
        let (begin, message) = answer.split_at_mut(HEAD_BYTES);
        begin.copy_from_slice(&head(ANSWER_ROLE));
        let written = self.state.write_message(&[], message);
        assert_eq!(written.ok(), Some(NOISE_BYTES), "a key and a tag");
        (Channel::new(*self.state), answer)
    }
}
