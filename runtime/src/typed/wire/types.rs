//! Which types travel: those of the standard library, each with its name and the hash of its structure.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::num::{
    NonZeroI8, NonZeroI16, NonZeroI32, NonZeroI64, NonZeroI128, NonZeroIsize, NonZeroU8,
    NonZeroU16, NonZeroU32, NonZeroU64, NonZeroU128, NonZeroUsize,
};
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use rkyv::Archive;

use crate::typed::wire::{Outcome, Wire, hash};

/// The type as [`Wire::describe`] writes it.
pub fn type_text<T: Wire>() -> String {
    let mut text = String::new();
    T::describe(&mut text);
    text
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
    [T: Wire] Box<[T]> = "Box<[]>", T; each T
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
