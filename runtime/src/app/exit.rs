//! What a master or slave algorithm may return.

use std::fmt::Display;

use ringmw_codec::flags::exit;

/// The error type of [`Result`]: any error, and text too.
pub type Error = Box<dyn std::error::Error>;

/// What algorithms return where they use `?`.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// How an algorithm ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    pub(crate) code: u8,
    pub(crate) error: Option<String>,
}

impl Exit {
    pub(crate) fn code(code: u8) -> Self {
        Exit { code, error: None }
    }

    pub(crate) fn error(text: impl Display) -> Self {
        Exit {
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
pub trait IntoExit {
    /// The code and the error.
    fn into_exit(self) -> Exit;
}

impl IntoExit for () {
    fn into_exit(self) -> Exit {
        Exit::code(exit::OK)
    }
}

impl IntoExit for u8 {
    fn into_exit(self) -> Exit {
        Exit::code(self)
    }
}

impl<T: IntoExit, E: Display> IntoExit for std::result::Result<T, E> {
    fn into_exit(self) -> Exit {
        match self {
            Ok(value) => value.into_exit(),
            Err(error) => Exit::error(error),
        }
    }
}
