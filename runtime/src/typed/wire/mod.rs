//! What may travel between master and slave, and how it is laid out.
//!
//! [`Wire`] marks the types that travel. A value becomes an *archive* (rkyv, little-endian, 64-bit, unaligned): bytes
//! that may stand at any offset of a buffer and are read in place. This folder owns the archive of one value, the layout
//! of a task's arguments and the type hash. It does not own packets; those carry archives as opaque bytes.
//!
//! rkyv's low-level API is used throughout: it knows no shared pointers, and so do we. An `Rc` or `Arc` in a wire type
//! does not compile, and nothing is paid for the book-keeping.
//!
//! Archives carry no type: a `u32` reads back as a perfectly valid `f32`. So whatever is stored beside an archive for
//! a later reader carries [`Wire::TYPE_HASH`] too.
//!
//! ```
//! use ringmw::internals::wire::{access, decode, encode};
//!
//! let mut bytes = Vec::new();
//! encode(&(String::from("pi"), 3.14), &mut bytes)?;
//! assert_eq!(access::<(String, f64)>(&bytes)?.0, "pi");
//! assert_eq!(decode::<(String, f64)>(&bytes)?, (String::from("pi"), 3.14));
//! # Ok::<(), ringmw::WireError>(())
//! ```

use std::fmt::Display;

use rkyv::api::low::{LowDeserializer, LowSerializer, LowValidator};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::Error;
use rkyv::ser::allocator::ArenaHandle;
use rkyv::{Archive, Deserialize, Serialize};

mod archive;
mod arguments;
mod error;
pub(crate) mod hash;
mod types;

pub(crate) use archive::check;
pub(crate) use archive::decode_checked;
pub use archive::{access, assert_unaligned, check_each, decode, encode};
pub use arguments::ArgumentWriter;
pub(crate) use arguments::{Scratch, split};
pub use error::WireError;
pub(crate) use types::describe_generic;
pub use types::type_text;

// An archived usize is a u64; where usize is narrower, reading one would cut it in silence.
const _: () = assert!(usize::BITS == 64, "ringmw runs on 64-bit targets only");

/// The archived form of `T`, read in place: `&Archived<Vec<u64>>` as a parameter of an algorithm costs no copy.
pub type Archived<T> = rkyv::Archived<T>;

/// What may travel between master and slave.
///
/// Put [`#[wire]`](macro@crate::wire) on a struct or enum to implement it. It is implemented for the plain types and
/// collections of the standard library, except `Rc` and `Arc` (sharing would be lost, or bought with checks on every
/// access).
///
/// ```
/// use ringmw::prelude::*;
///
/// #[wire]
/// #[derive(Debug, PartialEq)]
/// struct Point { x: f64, y: f64 }
///
/// let mut name = String::new();
/// Point::describe(&mut name);
/// assert_eq!(name, "Point{x:f64,y:f64}");
/// assert_ne!(Point::TYPE_HASH, <(f64, f64)>::TYPE_HASH);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between master and slave",
    label = "this type has no `#[wire]`",
    note = "put `#[wire]` on its definition, or use a type that travels: numbers, `String`, `Vec`, tuples, `Option`, ..."
)]
pub trait Wire:
    Sized
    + Archive<
        Archived: for<'a> CheckBytes<LowValidator<'a, Error>>
                      + Deserialize<Self, LowDeserializer<Error>>,
    > + for<'w, 'a> Serialize<LowSerializer<&'w mut Vec<u8>, ArenaHandle<'a>, Error>>
{
    /// Identifies the type across processes: a hash of its structure, names of fields and variants included.
    const TYPE_HASH: u64;

    /// Appends the type as people read it: `Vec<(f64,u64)>`, `Point{x:f64,y:f64}`.
    fn describe(out: &mut String);
}

/// What a task algorithm may return: `T`, or `Result<T, E>` whose `Err` makes a failed result.
///
/// It is implemented wherever [`Wire`] is; `#[wire]` does both. Aliases of `Result` need no special care, since the
/// type decides and not its spelling.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel between master and slave",
    label = "an algorithm cannot return this type: it has no `#[wire]`",
    note = "put `#[wire]` on its definition, or return a type that travels, or a `Result` of one"
)]
pub trait Outcome {
    /// What travels back when the task succeeds.
    type Output: Wire;

    /// The output, or the text of the failure.
    fn into_outcome(self) -> Result<Self::Output, String>;
}

impl<T: Wire, E: Display> Outcome for Result<T, E> {
    type Output = T;

    fn into_outcome(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}
