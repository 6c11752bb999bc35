//! The archive of one value: written behind whatever a buffer holds, checked, read in place, read back.

use std::ops::Range;
use std::panic::catch_unwind;

use ringmw_codec::batch::Elements;
use rkyv::api::low::{LowSerializer, to_bytes_in_with_alloc};
use rkyv::bytecheck::CheckBytes;
use rkyv::rancor::{Error, Fallible, Strategy};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Allocator, Writer};
use rkyv::util::with_arena;
use rkyv::validation::Validator;
use rkyv::validation::archive::ArchiveValidator;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Place, Serialize};

use crate::typed::wire::{Wire, WireError, type_text};

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
pub(super) fn flat_bytes<T: Wire>(value: &T) -> Option<&[u8]> {
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

/// Checks the archives of some results in the body of their entry.
///
/// # Errors
/// [`WireError::Archive`], and which.
///
/// # Panics
/// When `body` has no such results.
pub fn check_each<T: Wire>(
    body: &[u8],
    elements: Elements,
    results: Range<u32>,
) -> Result<(), (u32, String)> {
    let (first, count) = (results.start, results.len() as u32);
    let each = || match elements.equal(body, first, count) {
        // What is asked of their length is asked once.
        Some(archives) => check_all::<T>(first, archives),
        None => {
            let archives = elements.iter(body, first, count, 0);
            check_all::<T>(first, archives.map(|(_, archive)| archive))
        }
    };
    // A type's own verification may panic, and what it verifies comes from a peer.
    catch_unwind(each).unwrap_or_else(|_panic| {
        let error = not_an_archive::<T>(body, "its check panicked");
        Err((first, error.to_string()))
    })
}

#[inline(always)]
fn check_all<'a, T: Wire>(
    first: u32,
    archives: impl Iterator<Item = &'a [u8]>,
) -> Result<(), (u32, String)> {
    (first..).zip(archives).try_for_each(|(nth, archive)| {
        check::<T>(archive).map_err(|error| (nth, error.to_string()))
    })
}

/// Reads a value from its archive, which is not checked again.
///
/// # Safety
/// [`check`] or [`check_each`] of this very type has found these bytes valid, or [`encode`] wrote them.
#[inline]
pub(crate) unsafe fn decode_checked<T: Wire>(bytes: &[u8]) -> Result<T, WireError> {
    const { assert_unaligned::<T>() };
    // SAFETY: they are an archive of this type, as the caller knows, and it stands anywhere (`assert_unaligned`).
    let archived = unsafe { rkyv::api::access_unchecked::<T::Archived>(bytes) };
    rkyv::api::low::deserialize::<T, Error>(archived)
        .map_err(|error| not_an_archive::<T>(bytes, &error.to_string()))
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

pub(super) fn append<V>(value: &V, out: &mut Vec<u8>, what: fn() -> String) -> Result<(), WireError>
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
pub(super) struct AsVec<'s, T>(pub(super) &'s [T]);

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

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
    use std::fmt::Debug;
    use std::marker::PhantomData;
    use std::net::SocketAddr;
    use std::num::{NonZeroI64, NonZeroU8, NonZeroUsize};
    use std::time::Duration;

    use super::*;

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
        round_trip(Box::<[u64]>::from([1, 2]));
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
}
