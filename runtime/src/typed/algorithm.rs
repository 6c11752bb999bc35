//! Task algorithms: what `#[algorithm]` makes of a function.
//!
//! It implements [`Algorithm`] for a type beside the function. Running, queueing and sending are elsewhere.

use std::fmt;
use std::time::Duration;

use crate::proto::blob::Mentions;
use crate::proto::config::CheckSaid;
use crate::typed::cx::Cx;
use crate::typed::tag::RunError;
use crate::typed::wire::{Wire, WireError};

/// A task algorithm: what `#[algorithm]` makes of a function.
///
/// Nobody implements it by hand; name it in bounds.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn hello(name: String) -> String {
///     format!("Hello World: {name}")
/// }
///
/// assert_eq!(hello::NAME, "hello");
/// assert_eq!(hello::signature().to_string(), "hello(name: String) -> String");
/// assert_eq!(hello("Task 0".into()), "Hello World: Task 0");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no task algorithm",
    label = "not made by `#[algorithm]`",
    note = "put `#[algorithm]` on the function and name it without parentheses: `.algorithm::<hello>()`"
)]
pub trait Algorithm: 'static {
    /// The function's name.
    const NAME: &'static str;

    /// How long a task may run instead of what `--mw-task-timeout` says: `#[algorithm(timeout = "30s")]`.
    const TIMEOUT: Option<Duration> = None;

    /// What a result carries: `T` of a function that returns `T` or `Result<T, E>`.
    type Output: Wire;

    /// The arguments that travel, as a tuple of what is owned: `String` for `&str`, `Vec<T>` for `&[T]`, `T` for `&T` and
    /// `&Archived<T>`. A `Best` and a `Shared` are left out.
    type Args;

    /// What finds the shared data that its arguments mention, where a parameter is a [`Shared`](crate::Shared).
    #[doc(hidden)]
    const MENTIONS: Option<Mentions> = None;

    /// What checks what its tasks say, where a parameter is a [`Talk`](crate::Talk).
    #[doc(hidden)]
    const CHECK_SAID: Option<CheckSaid> = None;

    /// Its name and types, as the handshake compares them.
    fn signature() -> Signature;

    /// Checks a task's arguments against the parameter types.
    ///
    /// # Errors
    /// What is wrong, and in which argument.
    fn check_args(args: &[u8]) -> Result<(), WireError>;

    /// A hash of the arguments by which a journal knows a task again. Of a [`Best`](crate::Best) place of creation and
    /// direction count, its key is the moment's.
    #[doc(hidden)]
    fn hash_args(args: &[u8]) -> u128 {
        ringmw_codec::journal::hash_args(args)
    }

    /// Decodes a task's arguments.
    ///
    /// # Errors
    /// What is wrong, and in which argument.
    fn read_args(args: &[u8]) -> Result<Self::Args, WireError>;

    /// Decodes the arguments, calls the function and appends its encoded output to `out`.
    ///
    /// # Errors
    /// See [`RunError`]; what `out` holds is then of no use.
    fn run(args: &[u8], cx: &mut Cx, out: &mut Vec<u8>) -> Result<(), RunError>;
}

/// An algorithm's name and types. Equal signatures mean that arguments and results are understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The function's name.
    pub name: &'static str,
    /// The parameters that travel, as people read them: `name: String, depth: u32`.
    pub arguments: String,
    /// The output type as people read it.
    pub result: String,
    /// A hash of all types in order, and of how each argument is laid out.
    pub types: u64,
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            arguments,
            result,
            ..
        } = self;
        write!(f, "{name}({arguments}) -> {result}")
    }
}
