//! The secret of a run: proof, forward secrecy and encryption of every byte, or nothing.
//!
//! Who may read the resource file may join; who may not learns and says nothing. The handshake is
//! `Noise_NNpsk0_25519_AESGCM_BLAKE2s`, one suite and no negotiation: the secret is mixed in before anything else, so a
//! wrong one is refused by hashing alone, before any Diffie-Hellman. The slave (or the observer) is the initiator,
//! whoever dialled; what it and the master say before the proof has a fixed size.
//!
//! ```text
//! slave or observer                          master
//!   | -- first, 320 bytes -------------------> |  judged by hashing alone
//!   |                                          |  the Diffie-Hellman, when the master has time for it
//!   | <-------------------- answer, 64 bytes --|
//!   | == records, frames inside =============> |
//!   | <======================== records =======|
//! ```
//!
//! Until its first record has been opened a peer has proved nothing: a first message can be replayed.
//!
//! ```
//! use ringmw_codec::secret::{First, Initiator, Key, Role, Secret};
//!
//! let secret = Secret::parse(&"5f".repeat(32))?;
//! // Drawn anew for each connection by whoever has a source of randomness: nothing here has.
//! let (slave_key, master_key) = (Key::new([1; 32]), Key::new([2; 32]));
//! let (initiator, first) = Initiator::new(&secret, Role::Slave, b"member", slave_key);
//!
//! let first = First::read(&first)?;
//! let (mut at_master, answer) = first.prove(&secret, b"member", master_key)?.answer();
//! let mut at_slave = initiator.finish(&answer)?;
//!
//! let (mut records, mut plain) = (Vec::new(), Vec::new());
//! at_slave.seal(&mut b"a frame".to_vec(), &mut records);
//! at_master.open(&records, &mut plain)?;
//! assert_eq!(plain, b"a frame");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Deliberately absent: sockets, time-outs, a source of random numbers, and how the secret gets to where it is needed.

use std::fmt::{self, Write as _};

use thiserror::Error;
use zeroize::Zeroizing;

pub use proof::{
    ANSWER_BYTES, AnswerError, FIRST_BYTES, First, FirstError, Fixed, Half, Initiator, Opening,
    Role, SECRET_MAGIC, SECRET_VERSION,
};
pub use records::{
    Channel, RECORD_OVERHEAD_BYTES, RECORD_PLAIN_BYTES_MAX, RecordError, SEALED_BLOCK_BYTES,
    opened_bytes, sealed_bytes,
};

mod proof;
mod records;

/// The bytes of a secret, and of a key that is drawn for one connection.
pub const SECRET_BYTES: usize = 32;

/// What all of one run share: 32 bytes that were drawn. It is wiped from memory when it is dropped, and a log that prints it
/// has nothing of it.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

/// An ephemeral private key, drawn for one connection and never used again.
#[derive(Clone)]
pub struct Key(Zeroizing<[u8; SECRET_BYTES]>);

/// Why a text is no secret. The text itself is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a secret is {} hexadecimal digits, this has {digits} characters, not all of them such digits or not as many", 2 * SECRET_BYTES)]
pub struct SecretError {
    /// Characters that were found.
    pub digits: usize,
}

impl Secret {
    /// A secret of bytes that were drawn.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Secret(Zeroizing::new(bytes))
    }

    /// Reads the text form: 64 hexadecimal digits, white space around them passed over.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim_ascii();
        let wrong = SecretError {
            digits: text.chars().count(),
        };
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != SECRET_BYTES || !rest.is_empty() {
            return Err(wrong);
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16).ok_or(wrong);
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Ok(Secret(bytes))
    }

    /// Its bytes, for a file that is the owner's alone.
    #[must_use]
    pub fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    /// The text form, for the file or the pipe that it travels in.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(2 * SECRET_BYTES));
        for byte in self.0.iter() {
            write!(text, "{byte:02x}").expect("a String takes what it is given");
        }
        text
    }

    /// What the secret gives for one purpose: nobody finds the secret, or what it gives for another one, by it.
    ///
    /// `purpose` is a text that the program fixes, such as `ringmw status page`.
    #[must_use]
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; SECRET_BYTES]> {
        Zeroizing::new(blake3::derive_key(purpose, &*self.0))
    }

    /// The token for a purpose as a text of 64 hexadecimal digits.
    #[must_use]
    pub fn token(&self, purpose: &str) -> Zeroizing<String> {
        Secret(self.derive(purpose)).to_text()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// In constant time.
impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        let differ = self.0.iter().zip(other.0.iter());
        differ.fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
    }
}

impl Eq for Secret {}

impl Key {
    /// A key of bytes that were drawn.
    #[must_use]
    pub fn new(bytes: [u8; SECRET_BYTES]) -> Self {
        Key(Zeroizing::new(bytes))
    }
}

#[cfg(test)]
mod tests;
