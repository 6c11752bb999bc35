//! What may travel between master and slave, and how it is laid out.
//!
//! [`Wire`] marks the types that travel. A value becomes an *archive* (rkyv, little-endian, 64-bit, unaligned): bytes
//! that may stand at any offset of a buffer and are read in place. This file owns the archive of one value, the layout
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
//!
//! A task's arguments, one segment per parameter that travels:
//!
//! ```text
//! // | length of 0 | .. | length of n-2 | segment 0 | segment 1 | .. | segment n-1 |
//! //   u32 LE            u32 LE                                       ^ the rest
//! ```
//!
//! A segment is raw UTF-8 for `&str`, raw bytes for `&[u8]`, a [`Best`](crate::Best)'s 21 bytes, else an archive.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Display;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8,
    NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::ops::{Range, RangeInclusive};
use std::panic::catch_unwind;
use std::time::Duration;

use rkyv::api::low::{LowDeserializer, LowSerializer, LowValidator, to_bytes_in_with_alloc};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Error, Fallible, Strategy};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Allocator, Writer};
use rkyv::util::with_arena;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Deserialize, Place, Serialize};

use crate::proto::bytes::SmallBytes;

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

/// Why bytes are not the value they were taken for, or a value did not become bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The bytes are no archive of the expected type.
    #[error("{bytes} bytes are no archive of {expected}: {reason}")]
    Archive {
        /// The type as [`Wire::describe`] writes it.
        expected: String,
        /// How many bytes there were.
        bytes: usize,
        /// What the check found.
        reason: String,
    },
    /// The bytes of a `&str` are not UTF-8.
    #[error("text of {bytes} bytes is no UTF-8 from byte {valid_up_to} on")]
    Text {
        /// How many bytes there were.
        bytes: usize,
        /// How many of them are UTF-8.
        valid_up_to: usize,
    },
    /// The bytes cannot be cut into the segments of so many parameters.
    #[error("{bytes} bytes are no arguments for {parameters} parameters")]
    Segments {
        /// Parameters that travel.
        parameters: usize,
        /// How many bytes there were.
        bytes: usize,
    },
    /// A segment is longer than its length field can say.
    #[error(
        "an argument of {bytes} bytes is above the {} that can travel",
        u32::MAX
    )]
    Oversized {
        /// The segment's length.
        bytes: usize,
    },
    /// The bytes name no `Best` of the expected types.
    #[error("these {bytes} bytes name no {expected}")]
    Best {
        /// The type as an algorithm's signature writes it.
        expected: String,
        /// How many bytes there were.
        bytes: usize,
    },
    /// The value's own serialization failed.
    #[error("a {what} cannot be archived: {reason}")]
    Encode {
        /// The type.
        what: String,
        /// What went wrong.
        reason: String,
    },
    /// The end of another algorithm's task.
    #[error("it is a result of `{got}`, not of `{expected}`")]
    Algorithm {
        /// The algorithm that was asked for.
        expected: &'static str,
        /// The algorithm that it is of.
        got: &'static str,
    },
    /// One of the above, in the argument of this name.
    #[error("argument `{name}`: {error}")]
    Argument {
        /// The parameter's name in the algorithm.
        name: &'static str,
        /// What is wrong with it.
        error: Box<WireError>,
    },
}

/// The type as [`Wire::describe`] writes it.
pub fn type_text<T: Wire>() -> String {
    let mut text = String::new();
    T::describe(&mut text);
    text
}

/// Appends the archive of `value` to `out`, at whatever offset `out` ends.
///
/// Allocates nothing beyond the growth of `out`: scratch memory is a thread-local arena.
///
/// # Errors
/// [`WireError::Encode`]; `out` is then as it was.
#[inline]
pub fn encode<T: Wire>(value: &T, out: &mut Vec<u8>) -> Result<(), WireError> {
    const { assert_unaligned::<T>() };
    if let Some(bytes) = flat_bytes(value) {
        out.extend_from_slice(bytes);
        return Ok(());
    }
    append(value, out, type_text::<T>)
}

/// The archive of a value whose own bytes it is.
#[inline]
fn flat_bytes<T: Wire>(value: &T) -> Option<&[u8]> {
    let is_flat = <T as Archive>::COPY_OPTIMIZATION.is_enabled();
    // SAFETY: that promises that the value's bytes are those of its archive, all of them initialised
    // (rkyv::traits::CopyOptimization); an archive without anything out of line is its root alone.
    is_flat.then(|| unsafe {
        std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>())
    })
}

/// Reads a value from its archive, which is checked first and may start at any address.
///
/// # Errors
/// [`WireError::Archive`].
#[inline]
pub fn decode<T: Wire>(bytes: &[u8]) -> Result<T, WireError> {
    rkyv::api::low::deserialize::<T, Error>(access::<T>(bytes)?)
        .map_err(|error| not_an_archive::<T>(bytes, &error.to_string()))
}

/// Checks an archive and lends it in place; it may start at any address.
///
/// # Errors
/// [`WireError::Archive`].
#[inline]
pub fn access<T: Wire>(bytes: &[u8]) -> Result<&T::Archived, WireError> {
    const { assert_unaligned::<T>() };
    if <T as Archive>::COPY_OPTIMIZATION.is_enabled()
        && let Some(root) = flat_root::<T>(bytes)
    {
        return Ok(root);
    }
    access_any::<T>(bytes)
}

/// The root of an archive that is nothing but its root, if that is valid.
#[inline]
fn flat_root<T: Wire>(bytes: &[u8]) -> Option<&T::Archived> {
    let at = bytes.len().checked_sub(size_of::<T::Archived>())?;
    let root = bytes[at..].as_ptr().cast::<T::Archived>();
    let mut validator = Validator::new(ArchiveValidator::new(bytes), ());
    // SAFETY: as many bytes as it has follow, and it stands anywhere (`assert_unaligned`).
    let checked: Result<(), Error> =
        unsafe { T::Archived::check_bytes(root, Strategy::wrap(&mut validator)) };
    // SAFETY: and they are valid.
    checked.is_ok().then(|| unsafe { &*root })
}

fn access_any<T: Wire>(bytes: &[u8]) -> Result<&T::Archived, WireError> {
    // With overflow checks on, rkyv 0.8.18 panics on an archived map that claims almost 2^64 places (it is refused
    // without them). A peer must not be able to do that to us.
    match catch_unwind(|| rkyv::api::low::access::<T::Archived, Error>(bytes)) {
        Ok(Ok(archived)) => Ok(archived),
        Ok(Err(error)) => Err(not_an_archive::<T>(bytes, &error.to_string())),
        Err(_panic) => Err(not_an_archive::<T>(bytes, "its check panicked")),
    }
}

/// Checks an archive.
///
/// # Errors
/// [`WireError::Archive`].
#[inline]
pub(crate) fn check<T: Wire>(bytes: &[u8]) -> Result<(), WireError> {
    access::<T>(bytes).map(drop)
}

/// Checks archives that stand behind one another, `count` in all, each at the end of an equal share of `bytes` behind
/// `head` others.
///
/// # Errors
/// [`WireError::Archive`], and which.
///
/// # Panics
/// When the shares are shorter than `head`.
pub fn check_each<T: Wire>(bytes: &[u8], count: u32, head: usize) -> Result<(), (u32, String)> {
    let share = bytes.len() / count.max(1) as usize;
    let each = || {
        (0..count).try_for_each(|nth| {
            let archive = &bytes[nth as usize * share..][..share];
            check::<T>(&archive[head..]).map_err(|error| (nth, error.to_string()))
        })
    };
    // A type's own verification may panic, and what it verifies comes from a peer.
    catch_unwind(each).unwrap_or_else(|_panic| {
        let error = not_an_archive::<T>(bytes, "its check panicked");
        Err((0, error.to_string()))
    })
}

/// Archives stand at any offset of a packet, so an archived type that wants alignment would be read out of place.
#[doc(hidden)]
pub const fn assert_unaligned<T: Wire>() {
    assert!(
        align_of::<T::Archived>() == 1,
        "an archived type must have alignment 1"
    );
}

#[cold]
fn not_an_archive<T: Wire>(bytes: &[u8], reason: &str) -> WireError {
    WireError::Archive {
        expected: type_text::<T>(),
        bytes: bytes.len(),
        reason: reason.to_owned(),
    }
}

fn append<V>(value: &V, out: &mut Vec<u8>, what: fn() -> String) -> Result<(), WireError>
where
    V: for<'w, 'a> Serialize<LowSerializer<&'w mut Vec<u8>, ArenaHandle<'a>, Error>>,
{
    let start = out.len();
    match with_arena(|arena| {
        to_bytes_in_with_alloc::<_, _, Error>(value, &mut *out, arena.acquire()).map(drop)
    }) {
        Ok(()) => Ok(()),
        Err(error) => {
            out.truncate(start);
            Err(WireError::Encode {
                what: what(),
                reason: error.to_string(),
            })
        }
    }
}

/// Lends a slice to the archive of a `Vec`, so that a `&[T]` parameter needs no copy in the master.
struct AsVec<'s, T>(&'s [T]);

impl<T: Archive> Archive for AsVec<'_, T> {
    type Archived = ArchivedVec<T::Archived>;
    type Resolver = VecResolver;

    fn resolve(&self, resolver: VecResolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_slice(self.0, resolver, out);
    }
}

impl<T, S> Serialize<S> for AsVec<'_, T>
where
    T: Serialize<S>,
    S: Fallible + Allocator + Writer + ?Sized,
{
    fn serialize(&self, serializer: &mut S) -> Result<VecResolver, S::Error> {
        ArchivedVec::<T::Archived>::serialize_from_slice(self.0, serializer)
    }
}

/// FNV-1a over type structure. A fixed function: it is compared between processes and kept in journals.
pub(crate) mod hash {
    pub(crate) const START: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;

    pub(crate) const fn word(mut hash: u64, word: u64) -> u64 {
        let bytes = word.to_le_bytes();
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
            at += 1;
        }
        hash
    }

    /// The length goes first, so that ("ab", "c") and ("a", "bc") differ.
    pub(crate) const fn text(hash: u64, text: &str) -> u64 {
        let mut hash = word(hash, text.len() as u64);
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(PRIME);
            at += 1;
        }
        hash
    }
}

pub(crate) fn describe_generic(out: &mut String, name: &str, parameters: &[fn(&mut String)]) {
    out.push_str(name);
    for (index, describe) in parameters.iter().enumerate() {
        out.push(if index == 0 { '<' } else { ',' });
        describe(out);
    }
    if !parameters.is_empty() {
        out.push('>');
    }
}

macro_rules! outcome_is_self {
    ([$($bounds:tt)*] $type:ty) => {
        impl<$($bounds)*> Outcome for $type {
            type Output = Self;

            fn into_outcome(self) -> Result<Self, String> {
                Ok(self)
            }
        }
    };
}

macro_rules! wire {
    ($([$($bounds:tt)*] $type:ty = $name:literal $(, $parameter:ty)* $(; each $element:ty)?)*) => {$(
        impl<$($bounds)*> Wire for $type {
            const TYPE_HASH: u64 = {
                $(assert!(
                    size_of::<<$element as Archive>::Archived>() != 0,
                    // A few hostile bytes could claim 2^60 of them and keep the reader busy for years.
                    "a collection of elements without size cannot travel; send their number"
                );)?
                #[allow(unused_mut)]
                let mut hash = hash::text(hash::START, $name);
                $(hash = hash::word(hash, <$parameter as Wire>::TYPE_HASH);)*
                hash
            };

            fn describe(out: &mut String) {
                describe_generic(out, $name, &[$(<$parameter as Wire>::describe),*]);
            }
        }
    )*};
}

macro_rules! wire_outcome {
    ($([$($bounds:tt)*] $type:ty = $name:literal $(, $parameter:ty)* $(; each $element:ty)?)*) => {$(
        wire! { [$($bounds)*] $type = $name $(, $parameter)* $(; each $element)? }
        outcome_is_self! { [$($bounds)*] $type }
    )*};
}

wire_outcome! {
    [] bool = "bool"
    [] u8 = "u8"
    [] u16 = "u16"
    [] u32 = "u32"
    [] u64 = "u64"
    [] u128 = "u128"
    [] usize = "usize"
    [] i8 = "i8"
    [] i16 = "i16"
    [] i32 = "i32"
    [] i64 = "i64"
    [] i128 = "i128"
    [] isize = "isize"
    [] f32 = "f32"
    [] f64 = "f64"
    [] char = "char"
    [] NonZeroU8 = "NonZeroU8"
    [] NonZeroU16 = "NonZeroU16"
    [] NonZeroU32 = "NonZeroU32"
    [] NonZeroU64 = "NonZeroU64"
    [] NonZeroU128 = "NonZeroU128"
    [] NonZeroUsize = "NonZeroUsize"
    [] NonZeroI8 = "NonZeroI8"
    [] NonZeroI16 = "NonZeroI16"
    [] NonZeroI32 = "NonZeroI32"
    [] NonZeroI64 = "NonZeroI64"
    [] NonZeroI128 = "NonZeroI128"
    [] NonZeroIsize = "NonZeroIsize"
    [] String = "String"
    [] Box<str> = "Box<str>"
    [] Duration = "Duration"
    [] IpAddr = "IpAddr"
    [] Ipv4Addr = "Ipv4Addr"
    [] Ipv6Addr = "Ipv6Addr"
    [] SocketAddr = "SocketAddr"
    [] SocketAddrV4 = "SocketAddrV4"
    [] SocketAddrV6 = "SocketAddrV6"
    [T: Wire] PhantomData<T> = "PhantomData", T
    [T: Wire] Range<T> = "Range", T
    [T: Wire] RangeInclusive<T> = "RangeInclusive", T
    [T: Wire] Option<T> = "Option", T
    [T: Wire] Box<T> = "Box", T
    [T: Wire] Vec<T> = "Vec", T; each T
    [T: Wire] VecDeque<T> = "VecDeque", T; each T
    [T: Wire<Archived: Ord> + Ord] BTreeSet<T> = "BTreeSet", T; each T
    [K: Wire<Archived: Ord> + Ord, V: Wire] BTreeMap<K, V> = "BTreeMap", K, V; each K
    [T: Wire<Archived: Hash + Eq> + Hash + Eq, S: BuildHasher + Default] HashSet<T, S> = "HashSet", T; each T
    [K: Wire<Archived: Hash + Eq> + Hash + Eq, V: Wire, S: BuildHasher + Default] HashMap<K, V, S> = "HashMap", K, V; each K
}

// As a field, an element or a tag. What an algorithm returns as a Result is an Outcome, see above.
wire! {
    [T: Wire, E: Wire] Result<T, E> = "Result", T, E
}

impl<T: Wire, const N: usize> Wire for [T; N] {
    const TYPE_HASH: u64 = hash::word(
        hash::word(hash::text(hash::START, "[;]"), T::TYPE_HASH),
        N as u64,
    );

    fn describe(out: &mut String) {
        out.push('[');
        T::describe(out);
        out.push_str(&format!(";{N}]"));
    }
}

impl<T: Wire, const N: usize> Outcome for [T; N] {
    type Output = Self;

    fn into_outcome(self) -> Result<Self, String> {
        Ok(self)
    }
}

macro_rules! wire_tuples {
    ($($($name:ident)*;)*) => {$(
        impl<$($name: Wire),*> Wire for ($($name,)*) {
            const TYPE_HASH: u64 = {
                #[allow(unused_mut)]
                let mut hash = hash::text(hash::START, "()");
                $(hash = hash::word(hash, $name::TYPE_HASH);)*
                hash
            };

            fn describe(out: &mut String) {
                let parts: &[fn(&mut String)] = &[$($name::describe),*];
                out.push('(');
                for (index, describe) in parts.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    describe(out);
                }
                out.push(')');
            }
        }
        outcome_is_self! { [$($name: Wire),*] ($($name,)*) }
    )*};
}

wire_tuples! {
    ;
    A;
    A B;
    A B C;
    A B C D;
    A B C D E;
    A B C D E F;
    A B C D E F G;
    A B C D E F G H;
    A B C D E F G H I;
    A B C D E F G H I J;
    A B C D E F G H I J K;
    A B C D E F G H I J K L;
}

/// Cuts a task's arguments into `N` segments.
pub(crate) fn split<const N: usize>(args: &[u8]) -> Result<[&[u8]; N], WireError> {
    let misfit = || WireError::Segments {
        parameters: N,
        bytes: args.len(),
    };
    let mut segments = [&[][..]; N];
    let Some((last, others)) = segments.split_last_mut() else {
        return if args.is_empty() {
            Ok(segments)
        } else {
            Err(misfit())
        };
    };
    let (lengths, mut rest) = args.split_at_checked(4 * (N - 1)).ok_or_else(misfit)?;
    for (segment, length) in others.iter_mut().zip(lengths.chunks_exact(4)) {
        let length = u32::from_le_bytes(length.try_into().expect("chunks_exact gives four bytes"));
        (*segment, rest) = rest.split_at_checked(length as usize).ok_or_else(misfit)?;
    }
    *last = rest;
    Ok(segments)
}

/// A vector that is kept per thread between uses, so that what is written costs no more than the copy that is kept.
pub(crate) struct Scratch(pub(crate) Vec<u8>);

const SCRATCH_BYTES_MAX: usize = 1 << 20;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Scratch {
    /// Empty. Taken, not borrowed: a user's own serialization could make a task.
    pub(crate) fn take() -> Self {
        let mut scratch = SCRATCH.take();
        scratch.clear();
        Scratch(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.0.capacity() <= SCRATCH_BYTES_MAX {
            SCRATCH.set(std::mem::take(&mut self.0));
        }
    }
}

/// Lays a task's arguments out, in the order of the parameters: in place while they are few and flat.
pub struct ArgumentWriter {
    short: [u8; SmallBytes::INLINE_MAX],
    len: usize,
    /// All of them, where they are too many for that.
    long: Option<Scratch>,
    parameters: usize,
    written: usize,
    segment_start: usize,
}

impl ArgumentWriter {
    #[inline(always)]
    pub(crate) fn new(parameters: usize) -> Self {
        let lengths_bytes = 4 * parameters.saturating_sub(1);
        let mut writer = Self {
            short: [0; SmallBytes::INLINE_MAX],
            len: lengths_bytes,
            long: None,
            parameters,
            written: 0,
            segment_start: lengths_bytes,
        };
        if lengths_bytes > SmallBytes::INLINE_MAX {
            writer.len = 0;
            writer.long().resize(lengths_bytes, 0);
        }
        writer
    }

    /// A parameter `&str`.
    #[inline(always)]
    pub fn text(&mut self, text: &str) -> Result<(), WireError> {
        self.bytes(text.as_bytes())
    }

    /// A parameter `&[u8]`.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        self.put(bytes);
        self.end_segment()
    }

    /// A parameter `T`, `&T` or `&Archived<T>`.
    #[inline(always)]
    pub fn value<T: Wire>(&mut self, value: &T) -> Result<(), WireError> {
        const { assert_unaligned::<T>() };
        match flat_bytes(value) {
            Some(bytes) => self.put(bytes),
            None => encode(value, self.long())?,
        }
        self.end_segment()
    }

    /// A parameter `&[T]`: the archive of a `Vec<T>`.
    pub fn slice<T: Wire>(&mut self, slice: &[T]) -> Result<(), WireError> {
        const { assert_unaligned::<Vec<T>>() };
        append(&AsVec(slice), self.long(), type_text::<Vec<T>>)?;
        self.end_segment()
    }

    /// The arguments, once all are written.
    #[inline(always)]
    pub(crate) fn written(&self) -> &[u8] {
        match &self.long {
            None => &self.short[..self.len],
            Some(long) => &long.0,
        }
    }

    #[inline(always)]
    fn put(&mut self, bytes: &[u8]) {
        let free = &mut self.short[self.len..];
        if self.long.is_none() && bytes.len() <= free.len() {
            free[..bytes.len()].copy_from_slice(bytes);
            self.len += bytes.len();
        } else {
            self.long().extend_from_slice(bytes);
        }
    }

    /// All of them in a vector from now on.
    #[cold]
    #[inline(never)]
    fn long(&mut self) -> &mut Vec<u8> {
        let short = &self.short[..self.len];
        let long = self.long.get_or_insert_with(|| {
            let mut long = Scratch::take();
            long.0.extend_from_slice(short);
            long
        });
        &mut long.0
    }

    #[inline(always)]
    fn end_segment(&mut self) -> Result<(), WireError> {
        let end = self.written().len();
        let length = end - self.segment_start;
        assert!(
            self.written < self.parameters,
            "more arguments than parameters"
        );
        if self.written + 1 < self.parameters {
            let field =
                u32::try_from(length).map_err(|_| WireError::Oversized { bytes: length })?;
            let bytes = match &mut self.long {
                None => &mut self.short[..],
                Some(long) => &mut long.0,
            };
            bytes[4 * self.written..][..4].copy_from_slice(&field.to_le_bytes());
        }
        self.written += 1;
        self.segment_start = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    /// Encodes behind every offset up to 8 and reads it back; every cut and flipped bit must be refused or harmless.
    fn round_trip<T: Wire + PartialEq + Debug>(value: T) {
        for offset in 0..8 {
            let mut bytes = vec![0xAA; offset];
            encode(&value, &mut bytes).unwrap();
            assert_eq!(decode::<T>(&bytes[offset..]).unwrap(), value);
            check::<T>(&bytes[offset..]).unwrap();
        }
        let mut bytes = Vec::new();
        encode(&value, &mut bytes).unwrap();
        for end in 0..bytes.len() {
            let _ = decode::<T>(&bytes[..end]);
        }
        for bit in 0..8 * bytes.len() {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = decode::<T>(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn everything_that_travels_comes_back() {
        round_trip(());
        round_trip((
            true, 'ß', -1i8, 2u16, 3u32, 4u64, 5u128, -6i128, 7.5f32, -8.5f64, -9isize, -10i64,
        ));
        round_trip([usize::MAX, 5_000_000_000, 0]);
        round_trip(isize::MIN);
        round_trip(String::from("Grüße"));
        round_trip(Box::<str>::from("x"));
        round_trip(vec![Some(1u8), None]);
        round_trip(Box::new((1u8, vec![String::new(), "a".repeat(100)])));
        round_trip([Ok::<u32, String>(1), Err("no".into())]);
        round_trip(BTreeMap::from([
            (1u32, "one".to_string()),
            (2, "two".to_string()),
        ]));
        round_trip(HashMap::<String, Vec<u8>>::from([("k".into(), vec![1, 2])]));
        round_trip(HashSet::<u64>::from([1, 2, 3]));
        round_trip(BTreeSet::from(['a', 'b']));
        round_trip(VecDeque::from([1i16, 2]));
        round_trip(Duration::new(u64::MAX, 999_999_999));
        round_trip((NonZeroU8::MIN, NonZeroUsize::MAX, NonZeroI64::MIN));
        round_trip((3u8..7, 1i32..=2, PhantomData::<u8>));
        round_trip(SocketAddr::from(([127, 0, 0, 1], 80)));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(decode::<String>(&[0x80; 32]).is_err());
        assert!(decode::<char>(&u32::MAX.to_le_bytes()).is_err());
        assert!(decode::<bool>(&[2]).is_err());
        assert!(decode::<NonZeroU8>(&[0]).is_err());
        assert!(decode::<u64>(&[0; 7]).is_err());
        // Duration::new panics when the nanoseconds carry over the top.
        assert!(decode::<Duration>(&[0xFF; 12]).is_err());
        let error = decode::<Vec<(f64, u64)>>(&[0x77; 16]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("16 bytes are no archive of Vec<(f64,u64)>: "),
            "{error}"
        );
    }

    #[test]
    fn the_format_is_fixed() {
        let mut bytes = Vec::new();
        encode(&(7u32, String::from("abc"), 5_000_000_000usize), &mut bytes).unwrap();
        assert_eq!(
            bytes,
            [
                [7, 0, 0, 0].as_slice(),
                &[
                    b'a', b'b', b'c', 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                    0xFF, 0xFF, 0xFF
                ],
                &5_000_000_000u64.to_le_bytes(),
            ]
            .concat()
        );
    }

    #[test]
    fn types_have_names_and_distinct_hashes() {
        assert_eq!(type_text::<Vec<(f64, u64)>>(), "Vec<(f64,u64)>");
        assert_eq!(
            type_text::<HashMap<String, [u8; 3]>>(),
            "HashMap<String,[u8;3]>"
        );
        assert_eq!(type_text::<Option<()>>(), "Option<()>");
        let hashes = [
            <(f64, u64)>::TYPE_HASH,
            <(u64, f64)>::TYPE_HASH,
            <((f64, u64),)>::TYPE_HASH,
            <(f64, u64, ())>::TYPE_HASH,
            u32::TYPE_HASH,
            f32::TYPE_HASH,
            <[u32; 1]>::TYPE_HASH,
            <[u32; 2]>::TYPE_HASH,
            Vec::<u32>::TYPE_HASH,
            Option::<Vec<u32>>::TYPE_HASH,
            Vec::<Option<u32>>::TYPE_HASH,
        ];
        assert_eq!(BTreeSet::from(hashes).len(), hashes.len());
        // Journals and masters of other builds compare it.
        assert_eq!(u32::TYPE_HASH, hash::text(hash::START, "u32"));
    }

    #[test]
    fn arguments_are_cut_where_they_were_joined() {
        let mut writer = ArgumentWriter::new(4);
        writer.text("Grüße").unwrap();
        writer.bytes(&[]).unwrap();
        writer.slice(&[1.5f64, 2.5]).unwrap();
        writer.value(&9u8).unwrap();
        let [text, empty, numbers, byte] = split::<4>(writer.written()).unwrap();
        assert_eq!((text, empty, byte), ("Grüße".as_bytes(), &[][..], &[9][..]));
        assert_eq!(decode::<Vec<f64>>(numbers).unwrap(), [1.5, 2.5]);

        let mut as_vec = Vec::new();
        encode(&vec![1.5f64, 2.5], &mut as_vec).unwrap();
        assert_eq!(as_vec, numbers);
    }

    fn join<const N: usize>() {
        for length in 0..40 {
            let parts: [Vec<u8>; N] =
                std::array::from_fn(|nth| vec![nth as u8; (length + 7 * nth) % 40]);
            let mut writer = ArgumentWriter::new(N);
            for part in &parts {
                match part.as_slice() {
                    [a, b, c, d, 0, 0, 0, 0] => {
                        let numbers = [*a, *b, *c, *d, 0, 0, 0, 0];
                        writer.value(&u64::from_le_bytes(numbers)).unwrap();
                    }
                    part => writer.bytes(part).unwrap(),
                }
            }
            assert_eq!(
                split::<N>(writer.written()).unwrap(),
                parts.each_ref().map(Vec::as_slice)
            );
        }
    }

    /// In place, beyond it, and from the one to the other.
    #[test]
    fn arguments_of_any_length_are_joined() {
        join::<1>();
        join::<2>();
        join::<3>();
        join::<9>();
        join::<10>();
        join::<12>();
    }

    #[test]
    fn arguments_that_do_not_fit_are_refused() {
        assert_eq!(split::<0>(&[]), Ok([]));
        assert_eq!(split::<1>(&[]), Ok([&[][..]]));
        let rows: [(Result<(), WireError>, usize); 3] = [
            (split::<0>(&[1]).map(drop), 0),
            (split::<2>(&[0, 0, 0]).map(drop), 2),
            (split::<2>(&[2, 0, 0, 0, 1]).map(drop), 2),
        ];
        for (result, expected) in rows {
            assert!(
                matches!(result, Err(WireError::Segments { parameters, .. }) if parameters == expected)
            );
        }
        assert!(split::<3>(&[0xFF; 11]).is_err());
    }
}
