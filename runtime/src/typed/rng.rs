//! Random streams that depend on what a task is, never on where or when it runs.
//!
//! Owns the key's layout and the generator; who a task is (domain and stream) is decided by the scheduler.
//!
//! ```text
//! // the 32-byte key of ChaCha8, little-endian
//! // | run seed | hash of the algorithm's name | domain | stream |
//! //   8 bytes    8                              8        8
//! ```
//!
//! The four words go in unmixed: two tasks that differ in any of them have different keys, and ChaCha's whole business
//! is to make streams of different keys unrelated.

use std::convert::Infallible;

use rand::{SeedableRng, TryRng};
use rand_chacha::ChaCha8Rng;

use crate::typed::wire::hash;

/// The domain of calls and queue submissions; the k-th map of an algorithm has domain k, from 1.
pub(crate) const DOMAIN_CALLS: u64 = 0;

/// The domain of streams given by `.stream(n)`, so that they never coincide with default ones.
pub(crate) const DOMAIN_EXPLICIT: u64 = u64::MAX;

/// The domain of [`SlaveState::init`](crate::SlaveState::init): the same numbers on every slave.
pub(crate) const DOMAIN_STATE: u64 = u64::MAX - 1;

/// The domain of [`Cx::rng_at`](crate::Cx::rng_at) and its like.
pub(crate) const DOMAIN_AT: u64 = u64::MAX - 2;

/// What stands for the algorithm's name in the streams of [`Master::rng_at`](crate::Master::rng_at).
pub(crate) const OF_MASTER: u64 = 0;

/// A task's identity for random numbers: what [`Task::stream`](crate::Task::stream) takes, and what a task that gave no
/// output is asked for.
///
/// Made from a number it is an explicit one, which coincides with no default one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stream {
    pub(crate) domain: u64,
    pub(crate) index: u64,
}

impl From<u64> for Stream {
    fn from(index: u64) -> Self {
        Stream {
            domain: DOMAIN_EXPLICIT,
            index,
        }
    }
}

/// FNV-1a of a name, for the key. Fixed for ever: another function gives every user other numbers.
pub(crate) const fn name_hash(name: &str) -> u64 {
    hash::text(hash::START, name)
}

/// Which random stream: the four words of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamKey {
    pub(crate) seed: u64,
    pub(crate) algorithm: u64,
    pub(crate) domain: u64,
    pub(crate) stream: u64,
}

/// The random streams of an algorithm by a global index: of an event, a particle, a replica. See
/// [`Cx::streams`](crate::Cx::streams).
///
/// ```
/// use ringmw::prelude::*;
///
/// #[algorithm]
/// fn energies(first: u64, events: u64, cx: &mut Cx) -> Vec<f64> {
///     let streams = cx.streams();
///     let energy = |event| streams.rng_at(event).random::<f64>();
///     std::thread::scope(|scope| {
///         let half = first + events / 2;
///         let upper = scope.spawn(move || (half..first + events).map(energy).collect::<Vec<_>>());
///         let lower = (first..half).map(energy);
///         lower.chain(upper.join().unwrap()).collect()
///     })
/// }
///
/// // Cut in another way, event by event the same numbers.
/// let whole = energies(0, 6, &mut Cx::for_test(42));
/// assert_eq!(whole[2..], energies(2, 4, &mut Cx::for_test(42)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
    algorithm: u64,
}

impl Streams {
    pub(crate) const fn new(seed: u64, algorithm: u64) -> Self {
        Streams { seed, algorithm }
    }

    /// The stream of an index, from its first number on: one of the run's seed, the algorithm and the index alone. Some
    /// 80 ns to its first number.
    #[inline]
    pub fn rng_at(&self, index: u64) -> Rng {
        Rng::new(StreamKey {
            seed: self.seed,
            algorithm: self.algorithm,
            domain: DOMAIN_AT,
            stream: index,
        })
    }
}

/// A task's random stream: ChaCha8, the same numbers on one slave or ten thousand, after retries and restarts.
///
/// Implements rand's traits; [`ringmw::rand`](crate::rand) is that crate, so no dependency of your own is needed.
/// About 84 ns for a new stream and its first number, 2.2 ns for each further one.
///
/// ```
/// use ringmw::prelude::*;
///
/// let mut cx = Cx::for_test(42);
/// let throw: u32 = cx.rng().random_range(1..=6);
/// assert_eq!(throw, Cx::for_test(42).rng().random_range(1..=6));
/// ```
#[derive(Debug, Clone)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    pub(crate) fn new(key: StreamKey) -> Self {
        let mut bytes = [0; 32];
        for (part, word) in
            bytes
                .chunks_exact_mut(8)
                .zip([key.seed, key.algorithm, key.domain, key.stream])
        {
            part.copy_from_slice(&word.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// How many words of four bytes were drawn.
    pub(crate) fn draws(&self) -> u128 {
        self.0.get_word_pos()
    }

    /// Goes on behind so many words.
    pub(crate) fn go_on_behind(&mut self, draws: u128) {
        self.0.set_word_pos(draws);
    }
}

impl TryRng for Rng {
    type Error = Infallible;

    #[inline]
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        self.0.try_next_u32()
    }

    #[inline]
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        self.0.try_next_u64()
    }

    #[inline]
    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Infallible> {
        self.0.try_fill_bytes(target)
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, RngExt};

    use super::*;

    const KEY: StreamKey = StreamKey {
        seed: 42,
        algorithm: name_hash("hello"),
        domain: 1,
        stream: 7,
    };

    /// These numbers are a promise to everyone who has published any.
    #[test]
    fn golden_numbers() {
        assert_eq!(name_hash("hello"), GOLDEN_NAME_HASH);
        let mut rng = Rng::new(KEY);
        assert_eq!(std::array::from_fn(|_| rng.next_u64()), GOLDEN);
        assert_eq!(Rng::new(KEY).random::<f64>(), GOLDEN_F64);
    }

    /// So are these. The domain is the only difference to a task's own stream.
    #[test]
    fn golden_numbers_by_index() {
        let streams = Streams::new(42, name_hash("hello"));
        assert_eq!(
            std::array::from_fn(|index| streams.rng_at(index as u64).next_u64()),
            GOLDEN_AT
        );
        let of_master = Streams::new(42, OF_MASTER);
        assert_eq!(of_master.rng_at(7).next_u64(), GOLDEN_OF_MASTER);
    }

    const GOLDEN_AT: [u64; 3] = [
        0x36a2_cdcd_a679_3437,
        0xd06d_e861_4ce3_76e1,
        0x45e6_926c_dbbf_9d56,
    ];
    const GOLDEN_OF_MASTER: u64 = 0xdf19_6de0_ca4c_5be8;

    const GOLDEN_NAME_HASH: u64 = 0xff7a_61ff_1132_0f78;
    // Computed by another program from the definition of ChaCha8.
    const GOLDEN: [u64; 4] = [
        0x3f13_85fd_38fa_9faa,
        0x293b_6bf1_69b9_1732,
        0x4d02_358d_971d_cb7d,
        0x4b65_dddf_4c20_1548,
    ];
    const GOLDEN_F64: f64 = 0.24639165336791746;

    #[test]
    fn each_word_of_the_key_matters() {
        let keys = [
            KEY,
            StreamKey { seed: 43, ..KEY },
            StreamKey {
                algorithm: 43,
                ..KEY
            },
            StreamKey { domain: 43, ..KEY },
            StreamKey { stream: 43, ..KEY },
            StreamKey {
                domain: KEY.stream,
                stream: KEY.domain,
                ..KEY
            },
        ];
        let firsts = std::collections::BTreeSet::from(keys.map(|key| Rng::new(key).next_u64()));
        assert_eq!(firsts.len(), keys.len());
    }
}
