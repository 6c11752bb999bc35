//! What the expansion of `#[algorithm]` and `#[wire]` calls. No part of the public interface: it changes at will.
//!
//! The expansions are thin on purpose: whatever can be an ordinary generic function is one here, where it is checked
//! once and read in plain Rust.
#![allow(missing_docs, reason = "called by generated code only")]

use crate::typed::algorithm::Algorithm;
use crate::typed::best::{BEST_IDENTITY_BYTES, Best, BestKey};
use crate::typed::cx::{Cx, SlaveState, StateGuard};
use crate::typed::shared::{self, Share, Shared};
use crate::typed::tag::RunError;
use crate::typed::talk::{self, Talk};
use crate::typed::task::Task;
use crate::typed::wire::{self, Outcome, Wire, WireError, hash};
pub use ringmw_codec::shared::BlobRef;

pub use crate::typed::wire::{ArgumentWriter, assert_unaligned, type_text};

pub const fn hash_start() -> u64 {
    hash::START
}

pub const fn hash_text(hash: u64, text: &str) -> u64 {
    hash::text(hash, text)
}

pub const fn hash_word(hash: u64, word: u64) -> u64 {
    hash::word(hash, word)
}

pub const fn hash_type<T: Wire>(hash: u64) -> u64 {
    hash::word(hash, T::TYPE_HASH)
}

pub const fn hash_best<K: BestKey, W: Wire>(hash: u64) -> u64 {
    hash_type::<W>(hash_type::<K>(hash_text(hash, "Best")))
}

/// One parameter of a signature: `name: type`, comma before all but the first.
pub fn describe(out: &mut String, name: &str, type_text: impl FnOnce(&mut String)) {
    if !out.is_empty() {
        out.push_str(", ");
    }
    out.push_str(name);
    out.push_str(": ");
    type_text(out);
}

pub fn describe_best<K: BestKey, W: Wire>(out: &mut String) {
    out.push_str(&Best::<K, W>::type_text());
}

pub fn describe_type<T: Wire>(out: &mut String) {
    T::describe(out);
}

pub fn describe_parameters(out: &mut String, parameters: &[fn(&mut String)]) {
    wire::describe_generic(out, "", parameters);
}

#[inline(always)]
pub fn task<A: Algorithm>(writer: &mut ArgumentWriter, written: Result<(), WireError>) -> Task<A> {
    Task::of(writer, written)
}

pub fn split<const N: usize>(args: &[u8]) -> Result<[&[u8]; N], WireError> {
    wire::split(args)
}

/// A hash of `N` arguments, of which those at `bests` count by place of creation and direction alone.
pub fn hash_args<const N: usize>(args: &[u8], bests: &[usize]) -> u128 {
    let Ok(segments) = wire::split::<N>(args) else {
        return ringmw_codec::journal::hash_args(args);
    };
    let mut scratch = wire::Scratch::take();
    for (at, segment) in segments.into_iter().enumerate() {
        let counts = match bests.contains(&at) {
            true => &segment[..segment.len().min(BEST_IDENTITY_BYTES)],
            false => segment,
        };
        scratch
            .0
            .extend_from_slice(&(counts.len() as u64).to_le_bytes());
        scratch.0.extend_from_slice(counts);
    }
    ringmw_codec::journal::hash_args(&scratch.0)
}

#[cold]
fn in_argument(name: &'static str) -> impl FnOnce(WireError) -> WireError {
    move |error| WireError::Argument {
        name,
        error: Box::new(error),
    }
}

pub fn text<'a>(name: &'static str, segment: &'a [u8]) -> Result<&'a str, WireError> {
    std::str::from_utf8(segment)
        .map_err(|error| WireError::Text {
            bytes: segment.len(),
            valid_up_to: error.valid_up_to(),
        })
        .map_err(in_argument(name))
}

pub fn decode<T: Wire>(name: &'static str, segment: &[u8]) -> Result<T, WireError> {
    wire::decode(segment).map_err(in_argument(name))
}

pub fn access<'a, T: Wire>(
    name: &'static str,
    segment: &'a [u8],
) -> Result<&'a T::Archived, WireError> {
    wire::access::<T>(segment).map_err(in_argument(name))
}

pub fn best<K: BestKey, W: Wire>(
    name: &'static str,
    segment: &[u8],
    cx: &Cx,
) -> Result<Best<K, W>, WireError> {
    cx.best(segment).map_err(in_argument(name))
}

pub fn check_best<K: BestKey, W: Wire>(
    name: &'static str,
    segment: &[u8],
) -> Result<(), WireError> {
    Best::<K, W>::parse_segment(segment)
        .map(drop)
        .map_err(in_argument(name))
}

pub fn write_best<K: BestKey, W: Wire>(
    writer: &mut ArgumentWriter,
    best: &Best<K, W>,
) -> Result<(), WireError> {
    writer.bytes(&best.segment())
}

pub const fn hash_shared<T: Share + ?Sized>(hash: u64) -> u64 {
    hash::word(hash_text(hash, "Shared"), T::SHARED_HASH)
}

pub fn describe_shared<T: Share + ?Sized>(out: &mut String) {
    out.push_str(&shared::type_name::<T>());
}

pub fn describe_shared_slice<T: Share + ?Sized>(out: &mut String) {
    out.push('[');
    describe_shared::<T>(out);
    out.push(']');
}

pub fn write_shared<T: Share + ?Sized>(
    writer: &mut ArgumentWriter,
    handle: &Shared<T>,
) -> Result<(), WireError> {
    writer.shared([handle])
}

pub fn write_shared_slice<T: Share + ?Sized>(
    writer: &mut ArgumentWriter,
    handles: &[Shared<T>],
) -> Result<(), WireError> {
    writer.shared(handles)
}

pub fn check_shared<T: Share + ?Sized>(
    name: &'static str,
    segment: &[u8],
) -> Result<(), WireError> {
    shared::one_mention::<T>(segment)
        .map(drop)
        .map_err(in_argument(name))
}

pub fn check_shared_slice<T: Share + ?Sized>(
    name: &'static str,
    segment: &[u8],
) -> Result<(), WireError> {
    shared::mentions::<T>(segment)
        .map(drop)
        .map_err(in_argument(name))
}

/// Appends what a segment mentions; nothing of one that is none.
pub fn mentions<T: Share + ?Sized>(segment: &[u8], found: &mut Vec<BlobRef>) {
    found.extend(shared::mentions::<T>(segment).unwrap_or_default());
}

pub fn shared<T: Share + ?Sized>(
    name: &'static str,
    segment: &[u8],
    cx: &Cx,
) -> Result<Shared<T>, WireError> {
    let mention = shared::one_mention::<T>(segment).map_err(in_argument(name))?;
    cx.shared(mention).map_err(in_argument(name))
}

pub fn shared_slice<T: Share + ?Sized>(
    name: &'static str,
    segment: &[u8],
    cx: &Cx,
) -> Result<Vec<Shared<T>>, WireError> {
    let mentions = shared::mentions::<T>(segment).map_err(in_argument(name))?;
    let handles = mentions.into_iter().map(|mention| cx.shared(mention));
    handles.collect::<Result<_, _>>().map_err(in_argument(name))
}

pub const fn hash_talk<Down: Wire, Up: Wire>(hash: u64) -> u64 {
    talk::hash_talk::<Down, Up>(hash)
}

pub fn describe_talk<Down: Wire, Up: Wire>(out: &mut String) {
    talk::describe::<Down, Up>(out);
}

/// Checks the archive of what a task says.
pub fn check_said<Up: Wire>(archive: &[u8]) -> Result<(), String> {
    talk::check_said::<Up>(archive)
}

pub fn talk<Down: Wire, Up: Wire>(cx: &Cx) -> Talk<Down, Up> {
    Talk::of(cx)
}

pub fn state<S: SlaveState>(cx: &mut Cx) -> Result<StateGuard<S>, RunError> {
    cx.state()
}

pub fn finish<R: Outcome>(returned: R, out: &mut Vec<u8>) -> Result<(), RunError> {
    let output = returned.into_outcome().map_err(RunError::Failed)?;
    wire::encode(&output, out).map_err(|error| RunError::Failed(error.to_string()))
}
