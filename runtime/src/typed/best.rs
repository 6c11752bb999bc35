//! The incumbent of a search: the best key anyone has found, and its witness.
//!
//! Owns the ordered image of a key, and the handle that a task reads and offers by. Cells, the slave's table of them and
//! the master's list of incumbents know no types: they are [`crate::proto::incumbents`]. It does not send anything: what
//! must reach the master goes into an `OfferSink`, and the runtime calls `BestTable::learn` and `Incumbents::accept` with
//! what arrived.
//!
//! A key travels and is compared as a `u64` *image* that keeps its order; for a maximum all bits are flipped, so that
//! smaller is better everywhere and one atomic minimum does for all types and both directions.
//!
//! ```text
//! // what a task carries for `&Best<K, W>`, little-endian
//! // | id u32 | direction u8 | type hash of K u64 | type hash of W u64 | image of a key u64 |
//! ```

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::proto::incumbents::{
    BestCell, BestTable, Direction, Incumbents, OfferSink, TooManyBests,
};
use crate::typed::wire::{Wire, WireError, check, decode, encode, hash, type_text};

/// Bytes of a `Best` in a task's arguments.
const SEGMENT_BYTES: usize = 4 + 1 + 8 + 8 + 8;

/// Bytes of that which say which `Best` it is: place of creation and direction.
pub(crate) const BEST_IDENTITY_BYTES: usize = 4 + 1;

mod sealed {
    pub trait Sealed {}
}

/// What a [`Best`] can order by: integers up to 64 bits, `f32` and `f64`.
///
/// A NaN is never better than anything; offering one is ignored. `-0.0` counts as `0.0`.
#[diagnostic::on_unimplemented(
    message = "a `Best` cannot be ordered by `{Self}`",
    label = "not a key",
    note = "keys are integers of up to 64 bits, `f32` and `f64`"
)]
pub trait BestKey: Wire + Copy + sealed::Sealed {
    /// The key as an integer of the same order; `None` for NaN.
    fn image(self) -> Option<u64>;

    /// The key of an image; `None` if no key has it.
    fn from_image(image: u64) -> Option<Self>;
}

/// Narrower than 64 bits: one is added, so that neither the image nor its complement is `u64::MAX`.
macro_rules! narrow_keys {
    ($($type:ty: $flip:expr),*) => {$(
        impl sealed::Sealed for $type {}
        impl BestKey for $type {
            fn image(self) -> Option<u64> {
                Some((i64::from(self) + $flip) as u64 + 1)
            }

            fn from_image(image: u64) -> Option<Self> {
                let key = i64::try_from(image.checked_sub(1)?).ok()? - $flip;
                Self::try_from(key).ok()
            }
        }
    )*};
}

narrow_keys! {
    u8: 0, u16: 0, u32: 0,
    i8: -i64::from(i8::MIN), i16: -i64::from(i16::MIN), i32: -i64::from(i32::MIN)
}

macro_rules! wide_keys {
    ($($type:ty: $flip:expr),*) => {$(
        impl sealed::Sealed for $type {}
        impl BestKey for $type {
            fn image(self) -> Option<u64> {
                Some(self as u64 ^ $flip)
            }

            fn from_image(image: u64) -> Option<Self> {
                Some((image ^ $flip) as Self)
            }
        }
    )*};
}

wide_keys! { u64: 0, usize: 0, i64: 1 << 63, isize: 1 << 63 }

impl sealed::Sealed for f64 {}
impl BestKey for f64 {
    fn image(self) -> Option<u64> {
        if self.is_nan() {
            return None;
        }
        // Adding zero turns -0.0 into 0.0, lest one be "better" than the other.
        let bits = (self + 0.0).to_bits();
        Some(if bits >> 63 == 1 {
            !bits
        } else {
            bits | 1 << 63
        })
    }

    fn from_image(image: u64) -> Option<Self> {
        let key = Self::from_bits(if image >> 63 == 1 {
            image & !(1 << 63)
        } else {
            !image
        });
        (!key.is_nan()).then_some(key)
    }
}

impl sealed::Sealed for f32 {}
impl BestKey for f32 {
    fn image(self) -> Option<u64> {
        f64::from(self).image()
    }

    fn from_image(image: u64) -> Option<Self> {
        let wide = f64::from_image(image)?;
        let key = wide as Self;
        (f64::from(key) == wide).then_some(key)
    }
}

/// The incumbent of a search: the best key `K` found anywhere so far, and what proves it, a witness `W`.
///
/// Made in the master, passed to tasks, and cheap to clone. It only improves, so loss, repetition, order and late
/// slaves cannot hurt; a key read from it may be old, never wrong.
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn search(from: u32, shortest: &Best<u32, Vec<u32>>) {
///     if from < shortest.get() {
///         shortest.offer(from, &vec![from]);
///     }
/// }
///
/// let shortest = Best::minimum_for_test(u32::MAX);
/// search(7, &shortest);
/// search(9, &shortest);
/// assert_eq!(shortest.get(), 7);
/// assert_eq!(shortest.witness(), Some(vec![7]));
/// ```
pub struct Best<K, W> {
    id: u32,
    direction: Direction,
    cell: Arc<BestCell>,
    /// What a task may be told: in the master a key whose offer may not be lost any more.
    told: Arc<BestCell>,
    sink: Arc<dyn OfferSink>,
    types: PhantomData<fn(K) -> W>,
}

impl<K, W> Clone for Best<K, W> {
    fn clone(&self) -> Self {
        Self {
            id: self.id,
            direction: self.direction,
            cell: Arc::clone(&self.cell),
            told: Arc::clone(&self.told),
            sink: Arc::clone(&self.sink),
            types: PhantomData,
        }
    }
}

impl<K: BestKey + fmt::Debug, W: Wire> fmt::Debug for Best<K, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Best")
            .field("id", &self.id)
            .field("direction", &self.direction)
            .field("key", &self.get())
            .finish_non_exhaustive()
    }
}

impl<K: BestKey, W: Wire> Best<K, W> {
    /// A minimum that lives in this process alone and begins at `key`, to unit-test algorithms with.
    ///
    /// # Panics
    /// If `key` is NaN.
    pub fn minimum_for_test(key: K) -> Self {
        Self::for_test(Direction::Minimum, key)
    }

    /// A maximum that lives in this process alone and begins at `key`, to unit-test algorithms with.
    ///
    /// # Panics
    /// If `key` is NaN.
    pub fn maximum_for_test(key: K) -> Self {
        Self::for_test(Direction::Maximum, key)
    }

    fn for_test(direction: Direction, key: K) -> Self {
        Self::add(&Arc::default(), direction, key).expect("there is room for the first")
    }

    /// A new one in the master's list that begins at `key`.
    ///
    /// # Panics
    /// If `key` is NaN.
    pub(crate) fn add(
        incumbents: &Arc<Incumbents>,
        direction: Direction,
        key: K,
    ) -> Result<Self, TooManyBests> {
        let image = key
            .image()
            .expect("a minimum or maximum cannot begin at NaN");
        let check = match direction {
            Direction::Minimum => check_offer::<K, W, false>,
            Direction::Maximum => check_offer::<K, W, true>,
        };
        let types = hash::word(
            hash::word(u64::from(direction.to_byte()), K::TYPE_HASH),
            W::TYPE_HASH,
        );
        let (id, cell, told) = incumbents.add(direction.oriented(image), check, types)?;
        Ok(Best {
            id,
            direction,
            cell,
            told,
            sink: Arc::clone(incumbents) as Arc<dyn OfferSink>,
            types: PhantomData,
        })
    }

    /// The best key known here: at first the one it began with. Costs one atomic load.
    #[inline]
    pub fn get(&self) -> K {
        K::from_image(self.direction.oriented(self.cell.get()))
            .expect("every image here was made of a key")
    }

    /// Offers a key and its witness; true if the key is better than the best known *here*.
    ///
    /// From a task both reach the master in one message, before the task's result; the master tells the key to the
    /// others. A NaN is ignored.
    ///
    /// # Panics
    /// If the witness's own serialization fails.
    pub fn offer(&self, key: K, witness: &W) -> bool {
        let Some(image) = key.image().map(|image| self.direction.oriented(image)) else {
            return false;
        };
        if image >= self.cell.get() {
            return false;
        }
        let mut archive = Vec::new();
        if let Err(error) = encode(witness, &mut archive) {
            panic!("the witness of a Best: {error}");
        }
        let improved = self.cell.improve(image);
        if improved {
            self.sink.offer(self.id, image, &archive);
        }
        improved
    }

    /// The witness of the best key, in the master; `None` on slaves, and for a key that was given without one.
    pub fn witness(&self) -> Option<W> {
        let archive = self.sink.witness(self.id)?;
        Some(decode(&archive).expect("a witness is checked before it is kept"))
    }

    /// Whether smaller or larger keys are better.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    pub(crate) fn segment(&self) -> [u8; SEGMENT_BYTES] {
        let mut segment = [0; SEGMENT_BYTES];
        segment[..4].copy_from_slice(&self.id.to_le_bytes());
        segment[4] = self.direction.to_byte();
        segment[5..13].copy_from_slice(&K::TYPE_HASH.to_le_bytes());
        segment[13..21].copy_from_slice(&W::TYPE_HASH.to_le_bytes());
        segment[21..].copy_from_slice(&self.told.get().to_le_bytes());
        segment
    }

    /// The id, direction and image that a segment names, if it is of these types.
    pub(crate) fn parse_segment(segment: &[u8]) -> Result<(u32, Direction, u64), WireError> {
        let misfit = || WireError::Best {
            expected: Self::type_text(),
            bytes: segment.len(),
        };
        let segment: &[u8; SEGMENT_BYTES] = segment.try_into().map_err(|_| misfit())?;
        let types = [K::TYPE_HASH.to_le_bytes(), W::TYPE_HASH.to_le_bytes()].concat();
        let direction = Direction::from_byte(segment[4])
            .filter(|_| segment[5..21] == types)
            .ok_or_else(misfit)?;
        let image = u64::from_le_bytes(segment[21..].try_into().expect("eight bytes"));
        if K::from_image(direction.oriented(image)).is_none() {
            return Err(misfit());
        }
        let id = u32::from_le_bytes(segment[..4].try_into().expect("four bytes"));
        Ok((id, direction, image))
    }

    /// The handle of a segment on a slave.
    pub(crate) fn from_segment(
        segment: &[u8],
        table: &BestTable,
        sink: &Arc<dyn OfferSink>,
    ) -> Result<Self, WireError> {
        let (id, direction, image) = Self::parse_segment(segment)?;
        let cell = table.cell(id).ok_or_else(|| WireError::Best {
            expected: Self::type_text(),
            bytes: segment.len(),
        })?;
        cell.improve(image);
        Ok(Self {
            id,
            direction,
            told: Arc::clone(&cell),
            cell,
            sink: Arc::clone(sink),
            types: PhantomData,
        })
    }

    pub(crate) fn type_text() -> String {
        format!("Best<{},{}>", type_text::<K>(), type_text::<W>())
    }
}

fn check_offer<K: BestKey, W: Wire, const MAXIMUM: bool>(
    image: u64,
    witness: &[u8],
) -> Result<(), String> {
    let direction = if MAXIMUM {
        Direction::Maximum
    } else {
        Direction::Minimum
    };
    if K::from_image(direction.oriented(image)).is_none() {
        let error = WireError::Best {
            expected: Best::<K, W>::type_text(),
            bytes: size_of_val(&image),
        };
        return Err(error.to_string());
    }
    check::<W>(witness).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use super::{Best, BestKey};
    use crate::proto::incumbents::{
        BESTS_MAX, BestTable, Direction, Incumbents, OfferSink, TooManyBests, lock,
    };
    use crate::typed::wire::encode;

    /// `keys` ascend; so must their images, in both directions and there and back.
    fn images_keep_order<K: BestKey + PartialOrd + Debug>(keys: &[K]) {
        let images: Vec<u64> = keys.iter().map(|key| key.image().unwrap()).collect();
        assert!(images.is_sorted_by(|a, b| a < b), "{keys:?} {images:?}");
        for (key, image) in keys.iter().zip(&images) {
            assert_eq!(K::from_image(*image), Some(*key));
            assert_eq!(
                Direction::Maximum.oriented(Direction::Maximum.oriented(*image)),
                *image
            );
        }
        for direction in [Direction::Minimum, Direction::Maximum] {
            for (known, key) in keys.iter().flat_map(|a| keys.iter().map(move |b| (*a, *b))) {
                let best = Best::<K, ()>::for_test(direction, known);
                assert_eq!(best.get(), known);
                let better = if direction == Direction::Minimum {
                    key < known
                } else {
                    key > known
                };
                assert_eq!(best.offer(key, &()), better);
                assert_eq!(best.get(), if better { key } else { known });
            }
        }
    }

    #[test]
    fn all_key_types_keep_their_order() {
        images_keep_order(&[u8::MIN, 1, u8::MAX]);
        images_keep_order(&[i8::MIN, -1, 0, 1, i8::MAX]);
        images_keep_order(&[u16::MIN, u16::MAX]);
        images_keep_order(&[i16::MIN, 0, i16::MAX]);
        images_keep_order(&[u32::MIN, 1, u32::MAX]);
        images_keep_order(&[i32::MIN, -1, 0, i32::MAX]);
        images_keep_order(&[u64::MIN, 1, u64::MAX - 1, u64::MAX]);
        images_keep_order(&[i64::MIN, i64::MIN + 1, -1, 0, i64::MAX]);
        images_keep_order(&[usize::MIN, usize::MAX]);
        images_keep_order(&[isize::MIN, 0, isize::MAX]);
        let floats = [
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -f32::MIN_POSITIVE,
            0.0,
            1e-45,
            1.0,
            f32::MAX,
            f32::INFINITY,
        ];
        images_keep_order(&floats);
        images_keep_order(&floats.map(f64::from));
        images_keep_order(&[f64::MIN, -5e-324, 0.0, 5e-324, f64::MAX]);
    }

    #[test]
    fn a_nan_is_ignored_and_zero_has_one_sign() {
        let best = Best::<f64, ()>::minimum_for_test(1.0);
        assert!(!best.offer(f64::NAN, &()) && !best.offer(-f64::NAN, &()));
        assert_eq!(best.get(), 1.0);
        assert!(best.offer(0.0, &()) && !best.offer(-0.0, &()));
        assert_eq!(f64::from_image(u64::MAX), None);
        assert_eq!(f32::from_image(0.1f64.image().unwrap()), None);
        assert_eq!(u8::from_image(0), None);
        assert_eq!(u8::from_image(257), None);
        assert_eq!(i32::from_image(u64::MAX), None);
    }

    #[derive(Default)]
    struct Sent(Mutex<Vec<(u32, u64, Vec<u8>)>>);

    impl OfferSink for Sent {
        fn offer(&self, best: u32, image: u64, witness: &[u8]) {
            lock(&self.0).push((best, image, witness.to_vec()));
        }
    }

    /// Master and slave, joined by hand.
    #[test]
    fn offers_reach_the_master_and_keys_the_slave() {
        let incumbents = Arc::new(Incumbents::default());
        let master: Best<u64, String> = Best::add(&incumbents, Direction::Maximum, 0).unwrap();
        assert_eq!((master.get(), master.witness()), (0, None));
        assert_eq!(incumbents.since(0), [(0, u64::MAX)]);
        let seen = incumbents.version();
        assert_eq!(incumbents.since(seen), []);

        let (table, sent) = (BestTable::default(), Arc::new(Sent::default()));
        let sink: Arc<dyn OfferSink> = Arc::clone(&sent) as _;
        let slave = Best::<u64, String>::from_segment(&master.segment(), &table, &sink).unwrap();
        assert_eq!(slave.get(), 0);
        assert!(slave.offer(5, &"five".into()) && !slave.offer(4, &"four".into()));
        assert_eq!((slave.get(), slave.witness()), (5, None));

        let (best, image, witness) = lock(&sent.0).pop().unwrap();
        assert!(lock(&sent.0).is_empty());
        assert_eq!(incumbents.accept(best, image, &witness), Ok(true));
        assert_eq!(
            incumbents.accept(best, image, &witness),
            Ok(false),
            "repetition does not hurt"
        );
        assert_eq!((master.get(), master.witness()), (5, Some("five".into())));
        assert_eq!(incumbents.since(seen), [(0, !5)]);

        assert!(master.offer(6, &"six".into()));
        assert_eq!(master.witness(), Some("six".into()));
        assert_eq!(incumbents.since(seen), [(0, !6)]);
        table.learn(0, !6);
        table.learn(0, !5);
        assert_eq!(slave.get(), 6);
    }

    #[test]
    fn what_a_liar_offers_is_refused() {
        let incumbents = Arc::new(Incumbents::default());
        let best: Best<u8, String> = Best::add(&incumbents, Direction::Minimum, 200).unwrap();
        let mut witness = Vec::new();
        encode(&String::from("w"), &mut witness).unwrap();
        assert!(incumbents.accept(1, 1, &witness).is_err());
        assert!(incumbents.accept(0, 1 << 40, &witness).is_err());
        assert!(incumbents.accept(0, 1, &[0x80; 16]).is_err());
        assert_eq!(best.get(), 200);

        let segment = best.segment();
        assert_eq!(
            Best::<u8, String>::parse_segment(&segment),
            Ok((0, Direction::Minimum, 201))
        );
        assert!(Best::<u8, Vec<u8>>::parse_segment(&segment).is_err());
        assert!(Best::<i8, String>::parse_segment(&segment).is_err());
        assert!(Best::<u8, String>::parse_segment(&segment[1..]).is_err());
        let mut sideways = segment;
        sideways[4] = 2;
        let error = Best::<u8, String>::parse_segment(&sideways).unwrap_err();
        assert_eq!(error.to_string(), "these 29 bytes name no Best<u8,String>");
    }

    #[test]
    fn the_tables_are_bounded() {
        let (table, incumbents) = (BestTable::default(), Arc::new(Incumbents::default()));
        for id in 0..BESTS_MAX {
            table.learn(id as u32, 1);
            Best::<u8, ()>::add(&incumbents, Direction::Minimum, 200).unwrap();
        }
        assert!(table.cell(u32::MAX).is_none());
        assert!(table.cell(0).is_some());
        assert!(matches!(
            Best::<u8, ()>::add(&incumbents, Direction::Minimum, 200),
            Err(TooManyBests)
        ));
    }
}
