//! What a master or slave algorithm may return.

use std::fmt::Display;

use ringmw_codec::flags::exit;

/// The error type of [`Result`]: any error, and text too.
pub type Error = Box<dyn std::error::Error>;

/// What algorithms return where they use `?`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// How an algorithm ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub(crate) code: u8,
    pub(crate) error: Option<String>,
}

impl Outcome {
    pub(crate) fn code(code: u8) -> Self {
        Outcome { code, error: None }
    }

    pub(crate) fn error(text: impl Display) -> Self {
        Outcome {
            code: exit::ERROR,
            error: Some(text.to_string()),
        }
    }
}

/// The values that a master or slave algorithm may return: `()`, an exit code, or a `Result` of
/// either. An error is printed, recorded in the trail, and the process exits 255.
#[diagnostic::on_unimplemented(
    message = "an algorithm cannot return `{Self}`",
    label = "must be `()`, `u8`, or a `Result` of either whose error can be displayed"
)]
pub trait IntoOutcome {
    /// The code and the error.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Outcome::code(exit::OK)
    }
}

impl IntoOutcome for u8 {
    fn into_outcome(self) -> Outcome {
        Outcome::code(self)
    }
}

impl<T: IntoOutcome, E: Display> IntoOutcome for std::result::Result<T, E> {
    fn into_outcome(self) -> Outcome {
        match self {
            Ok(value) => value.into_outcome(),
            Err(error) => Outcome::error(error),
        }
    }
}
