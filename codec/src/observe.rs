//! What an observer asks of a master over its second listener, and the answer: `ringmw top`, `why` and `stop`.
//!
//! The observer speaks first, one [`Ask`] after another; each is answered by one or more [`Answer`]s, the last of which
//! says so. Put together they are the JSON of a [`Status`](crate::status::Status) or of a [`Told`](crate::status::Told).

use crate::wire::{DecodeError, Fields, put_text16};

/// The most bytes of what is asked about.
pub const ABOUT_BYTES_MAX: usize = 255;

/// The most bytes of one answer; a longer text is several.
pub const ANSWER_BYTES_MAX: usize = 32 << 10;

/// The most bytes that an observer takes of a whole answer.
pub const ANSWERS_BYTES_MAX: usize = 64 << 20;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask<'a> {
    /// How the run does: a `Status`.
    Status,
    /// Why something is as it is: `TASK-7`, `SLAVE-3` or the name of a host. A `Told`.
    Why {
        /// Of what.
        about: &'a str,
    },
    /// The run is to end for good. A `Told`.
    Stop {
        /// No running task is waited for.
        now: bool,
    },
}

impl<'a> Ask<'a> {
    /// The most bytes of the payload.
    pub const BYTES_MAX: usize = 3 + ABOUT_BYTES_MAX;

    /// Appends the payload.
    ///
    /// # Panics
    /// If it asks about more than [`ABOUT_BYTES_MAX`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Ask::Status => out.push(1),
            Ask::Why { about } => {
                assert!(about.len() <= ABOUT_BYTES_MAX, "the asker bounds it");
                out.push(2);
                put_text16(out, about);
            }
            Ask::Stop { now } => out.extend_from_slice(&[3, u8::from(*now)]),
        }
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// Names the field.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let ask = match fields.u8("what is asked")? {
            1 => Ask::Status,
            2 => {
                let field = "about";
                let got = usize::from(fields.u16(field)?);
                if got > ABOUT_BYTES_MAX {
                    let max = ABOUT_BYTES_MAX;
                    return Err(DecodeError::TooLong { field, got, max });
                }
                let about = std::str::from_utf8(fields.bytes(field, got)?);
                Ask::Why {
                    about: about.map_err(|_| DecodeError::Utf8 { field })?,
                }
            }
            3 => Ask::Stop {
                now: fields.bool("now")?,
            },
            got => {
                return Err(DecodeError::Value {
                    field: "what is asked",
                    got: got.into(),
                });
            }
        };
        fields.end()?;
        Ok(ask)
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer<'a> {
    /// There is no more of this answer.
    pub is_last: bool,
    /// The text, or what follows of it.
    pub text: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.is_last));
        out.extend_from_slice(self.text);
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// Names the field.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        Ok(Answer {
            is_last: fields.bool("is last")?,
            text: fields.rest(),
        })
    }
}
