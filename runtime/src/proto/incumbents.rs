//! The incumbents of a computation, as numbers and bytes: cells of keys on both sides, and the master's list with witnesses.
//!
//! A key is here a `u64` *image* that keeps its order; for a maximum all bits are flipped, so that smaller is better
//! everywhere and one atomic minimum does for all types and both directions. What an image and a witness mean, `typed`
//! knows; here each incumbent has a check for what slaves offer. Nothing is sent from here.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::proto::known::KnownBest;

/// The most incumbents of a computation; a slave keeps a cell for each that it has heard of.
pub(crate) const BESTS_MAX: usize = 4096;

/// The best image of each incumbent, by its number; none is known of those that are not there.
pub(crate) type Keys = BTreeMap<u32, u64>;

/// These are known too.
pub(crate) fn improve(keys: &mut Keys, more: impl IntoIterator<Item = (u32, u64)>) {
    for (best, image) in more {
        let known = keys.entry(best).or_insert(image);
        *known = image.min(*known);
    }
}

/// Offers kept for each that is not made yet, and the bytes of all their witnesses.
const PARKED_MAX: usize = 64;
const PARKED_BYTES_MAX: usize = 64 << 20;

/// An offer: its image and the archive of its witness.
type Parked = (u64, Box<[u8]>);

/// Which keys are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smaller keys.
    Minimum,
    /// Larger keys.
    Maximum,
}

impl Direction {
    /// The image that is compared: smaller is better, whichever the direction.
    pub(crate) fn oriented(self, image: u64) -> u64 {
        match self {
            Self::Minimum => image,
            Self::Maximum => !image,
        }
    }

    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Minimum => 0,
            Self::Maximum => 1,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Minimum, Self::Maximum]
            .get(usize::from(byte))
            .copied()
    }
}

/// The best image known here. It only ever gets smaller.
#[derive(Debug)]
pub(crate) struct BestCell(AtomicU64);

impl BestCell {
    fn new(image: u64) -> Self {
        Self(AtomicU64::new(image))
    }

    // Relaxed throughout: the key is a bound and publishes no other memory.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// True if `image` is better than what was known.
    pub(crate) fn improve(&self, image: u64) -> bool {
        image < self.0.fetch_min(image, Ordering::Relaxed)
    }
}

/// Where an offer that improved on the local key goes: on a slave to the connection, in the master to [`Incumbents`].
pub(crate) trait OfferSink: Send + Sync {
    /// `image` is oriented: smaller is better. Key and witness must travel in one message.
    fn offer(&self, best: u32, image: u64, witness: &[u8]);

    /// The archive of the best witness; known in the master only.
    fn witness(&self, _best: u32) -> Option<Box<[u8]>> {
        None
    }
}

/// What a slave has learned of keys, to be put into its cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Learned {
    /// What it knew counts no more: a former life of the master told it, and its witness may be lost. A key that no task
    /// offers again, since a better one seems to be known, would be lost with it.
    pub(crate) forgets: bool,
    /// Then these are known.
    pub(crate) keys: Vec<(u32, u64)>,
}

/// The slave's cells by id, and whether slaves are hungry: what the running task reads by an atomic load. A cheap clone:
/// the I/O thread keeps one and feeds it.
#[derive(Debug, Clone, Default)]
pub(crate) struct BestTable {
    cells: Arc<Mutex<BTreeMap<u32, Arc<BestCell>>>>,
    hungry: Arc<AtomicBool>,
}

impl BestTable {
    /// Takes what the master told.
    pub(crate) fn take(&self, learned: &Learned) {
        if learned.forgets {
            for cell in lock(&self.cells).values() {
                cell.0.store(u64::MAX, Ordering::Relaxed);
            }
        }
        for &(best, image) in &learned.keys {
            self.learn(best, image);
        }
    }

    /// Takes a key the master told; only an improvement changes anything. Ids past [`BESTS_MAX`] cells are ignored.
    pub(crate) fn learn(&self, best: u32, image: u64) {
        if let Some(cell) = self.cell(best) {
            cell.improve(image);
        }
    }

    /// Other slaves are idle, and the running task is told so; or not.
    #[inline]
    pub(crate) fn set_hungry(&self, hungry: bool) {
        self.hungry.store(hungry, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_hungry(&self) -> bool {
        self.hungry.load(Ordering::Relaxed)
    }

    /// The cell of `best`, made on first mention; `None` if the table is full.
    pub(crate) fn cell(&self, best: u32) -> Option<Arc<BestCell>> {
        let mut cells = lock(&self.cells);
        if !cells.contains_key(&best) && cells.len() >= BESTS_MAX {
            return None;
        }
        Some(Arc::clone(
            cells
                .entry(best)
                .or_insert_with(|| Arc::new(BestCell::new(u64::MAX))),
        ))
    }
}

/// The run has [`BESTS_MAX`] `Best`s already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a run has at most {BESTS_MAX} minima and maxima")]
pub(crate) struct TooManyBests;

/// The master's side: every `Best` of the run with its witness. Ids are 0, 1, 2, ... in order of creation.
///
/// Every key that may be told has a version of its own, so that whoever tells slaves knows what is news to each. Where
/// somebody [records](Self::watch) what is improved, a key may be told once its offer is on disk: a slave outlives its
/// master, and what it has left out for a key that the next life does not know would be lost.
#[derive(Default)]
pub(crate) struct Incumbents {
    listed: Mutex<Listed>,
    news: News,
}

#[derive(Default)]
struct News {
    /// Of what may be told.
    version: AtomicU64,
    /// Something was improved that nobody has taken to record it.
    unrecorded: AtomicBool,
}

impl News {
    fn next_version(&self) -> u64 {
        self.version.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[derive(Default)]
struct Listed {
    list: Vec<Incumbent>,
    /// What an earlier life had, by place of creation: taken by whom is created there.
    earlier: BTreeMap<u32, KnownBest>,
    /// What slaves of a former life have offered for those that are not made yet: image and witness.
    parked: BTreeMap<u32, Vec<Parked>>,
    /// What was improved since it was asked for last, if anybody asks.
    improved: Option<Vec<Improved>>,
}

/// A better key, and its witness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Improved {
    pub(crate) best: u32,
    /// A hash of direction, key's and witness's type.
    pub(crate) types: u64,
    pub(crate) image: u64,
    pub(crate) witness: Box<[u8]>,
}

/// Checks what a slave offers: the image of a key, oriented, and the archive of its witness. Else what is wrong with it.
pub(crate) type CheckOffer = fn(u64, &[u8]) -> Result<(), String>;

struct Incumbent {
    cell: Arc<BestCell>,
    /// That of the start key, then of the best witness. An offer of the master's own reaches the cell a moment earlier.
    image: u64,
    witness: Option<Box<[u8]>>,
    /// What may be told, and since which version.
    told: Arc<BestCell>,
    version: u64,
    check: CheckOffer,
    /// A hash of direction, key's and witness's type.
    types: u64,
}

impl Incumbent {
    fn tell(&mut self, image: u64, news: &News) {
        if self.told.improve(image) {
            self.version = news.next_version();
        }
    }
}

impl Listed {
    /// Offers come in any order; only the best keeps its witness, and only with it a key may be told. Whether this is it.
    fn keep(&mut self, best: u32, image: u64, witness: &[u8], news: &News) -> bool {
        let Some(incumbent) = self.list.get_mut(best as usize) else {
            return false;
        };
        let improves = image < incumbent.image;
        if improves {
            incumbent.image = image;
            incumbent.witness = Some(witness.into());
            match &mut self.improved {
                None => incumbent.tell(image, news),
                Some(improved) => {
                    let (types, witness) = (incumbent.types, witness.into());
                    improved.push(Improved {
                        best,
                        types,
                        image,
                        witness,
                    });
                    news.unrecorded.store(true, Ordering::Relaxed);
                }
            }
        }
        improves
    }

    /// What an earlier life had at this place is its key and witness, if it is of these types and better.
    fn take_earlier(&mut self, best: u32, news: &News) {
        let (Some(known), Some(incumbent)) =
            (self.earlier.get(&best), self.list.get(best as usize))
        else {
            return;
        };
        let fits = known.types == incumbent.types
            && (incumbent.check)(known.image, &known.witness).is_ok();
        if fits {
            let known = self.earlier.remove(&best).expect("it was just found");
            self.keep(best, known.image, &known.witness, news);
            let incumbent = &mut self.list[best as usize];
            incumbent.cell.improve(known.image);
            // It lies on disk.
            incumbent.tell(known.image, news);
        }
    }
}

impl Incumbents {
    /// A new one that begins at an oriented image, whose offers are to pass `check`; `types` is a hash of direction, key's
    /// and witness's type. Its id, its cell in the master, and that of what slaves may know.
    pub(crate) fn add(
        &self,
        image: u64,
        check: CheckOffer,
        types: u64,
    ) -> Result<(u32, Arc<BestCell>, Arc<BestCell>), TooManyBests> {
        let cell = Arc::new(BestCell::new(image));
        let told = Arc::new(BestCell::new(image));
        let mut listed = lock(&self.listed);
        if listed.list.len() >= BESTS_MAX {
            return Err(TooManyBests);
        }
        let id = listed.list.len() as u32;
        listed.list.push(Incumbent {
            cell: Arc::clone(&cell),
            image,
            witness: None,
            told: Arc::clone(&told),
            version: self.news.next_version(),
            check,
            types,
        });
        listed.take_earlier(id, &self.news);
        for (image, witness) in listed.parked.remove(&id).unwrap_or_default() {
            if check(image, &witness).is_ok() {
                cell.improve(image);
                listed.keep(id, image, &witness, &self.news);
            }
        }
        Ok((id, cell, told))
    }

    /// Takes a slave's offer; true if it improved. An error is an offence of that slave.
    pub(crate) fn accept(&self, best: u32, image: u64, witness: &[u8]) -> Result<bool, String> {
        let mut listed = lock(&self.listed);
        let incumbent = listed.list.get_mut(best as usize).ok_or_else(|| {
            let bytes = witness.len();
            format!("these {bytes} bytes name no Best with the number {best}")
        })?;
        (incumbent.check)(image, witness)?;
        incumbent.cell.improve(image);
        Ok(listed.keep(best, image, witness, &self.news))
    }

    /// Keeps an offer for one that is not made yet, if that is so: no more than [`PARKED_MAX`] for each, the best ones, and
    /// of all of them [`PARKED_BYTES_MAX`] bytes: what is true of them shows when it is made.
    pub(crate) fn park(&self, best: u32, image: u64, witness: &[u8]) -> bool {
        let mut listed = lock(&self.listed);
        if (best as usize) < listed.list.len() || best as usize >= BESTS_MAX {
            return false;
        }
        let parked = listed.parked.values().flatten();
        let bytes: usize = parked.map(|(_, witness)| witness.len()).sum();
        let offers = listed.parked.entry(best).or_default();
        let at = offers.partition_point(|(known, _)| *known <= image);
        let is_there = offers
            .iter()
            .any(|(known, there)| *known == image && **there == *witness);
        if !is_there && at < PARKED_MAX && bytes + witness.len() <= PARKED_BYTES_MAX {
            offers.insert(at, (image, witness.into()));
            offers.truncate(PARKED_MAX);
        }
        true
    }

    /// Whether this key or a better one is known; of one that is not made yet it does not matter.
    pub(crate) fn has_reached(&self, best: u32, image: u64) -> bool {
        let listed = lock(&self.listed);
        let incumbent = listed.list.get(best as usize);
        incumbent.is_none_or(|incumbent| incumbent.image <= image)
    }

    /// From here on [`take_improved`](Self::take_improved) has what is improved.
    pub(crate) fn watch(&self) {
        lock(&self.listed).improved.get_or_insert_default();
    }

    /// Whether something was improved since it was taken to be recorded.
    #[inline]
    pub(crate) fn has_improved(&self) -> bool {
        self.news.unrecorded.load(Ordering::Relaxed)
    }

    /// What was improved is on disk, and may be told.
    pub(crate) fn tell(&self, best: u32, image: u64) {
        if let Some(incumbent) = lock(&self.listed).list.get_mut(best as usize) {
            incumbent.tell(image, &self.news);
        }
    }

    /// What was improved since this was asked last.
    pub(crate) fn take_improved(&self) -> Vec<Improved> {
        self.news.unrecorded.store(false, Ordering::Relaxed);
        lock(&self.listed)
            .improved
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// What an earlier life had: each goes to whom is created, or was, at its place, if the types are the same.
    pub(crate) fn restore(&self, earlier: impl IntoIterator<Item = (u32, KnownBest)>) {
        let mut listed = lock(&self.listed);
        for (best, known) in earlier {
            let better = |there: &KnownBest| known.image < there.image;
            if listed.earlier.get(&best).is_none_or(better) {
                listed.earlier.insert(best, known);
            }
            listed.take_earlier(best, &self.news);
        }
    }

    /// Those that have a witness.
    pub(crate) fn witnessed(&self) -> Vec<Improved> {
        (0..)
            .zip(&lock(&self.listed).list)
            .filter_map(|(best, incumbent)| {
                Some(Improved {
                    best,
                    types: incumbent.types,
                    image: incumbent.image,
                    witness: incumbent.witness.clone()?,
                })
            })
            .collect()
    }

    /// Grows with every new `Best` and every key that may be told.
    pub(crate) fn version(&self) -> u64 {
        self.news.version.load(Ordering::Relaxed)
    }

    /// The keys that are news after `version`, as `(id, image)`.
    pub(crate) fn since(&self, version: u64) -> Vec<(u32, u64)> {
        (0..)
            .zip(&lock(&self.listed).list)
            .filter(|(_, incumbent)| incumbent.version > version)
            .map(|(id, incumbent)| (id, incumbent.told.get()))
            .collect()
    }

    /// The key of a `Best` that may be told, and its witness unless it is the key it began with.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn told(&self, best: u32) -> (u64, Option<Box<[u8]>>) {
        let listed = lock(&self.listed);
        let incumbent = &listed.list[best as usize];
        (incumbent.told.get(), incumbent.witness.clone())
    }
}

impl OfferSink for Incumbents {
    fn offer(&self, best: u32, image: u64, witness: &[u8]) {
        lock(&self.listed).keep(best, image, witness, &self.news);
    }

    fn witness(&self, best: u32) -> Option<Box<[u8]>> {
        lock(&self.listed).list.get(best as usize)?.witness.clone()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing is left half done under these locks, so a panic of another holder is no reason to stop.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::Incumbents;

    #[test]
    fn a_former_lifes_key_is_known_where_its_incumbent_has_come_so_far() {
        let bests = Incumbents::default();
        assert!(bests.has_reached(0, 5), "what saw it came later");
        let (best, ..) = bests.add(9, |_, _| Ok(()), 1).expect("the first");
        let reached = |keys: &[u64]| {
            keys.iter()
                .map(|key| bests.has_reached(best, *key))
                .collect()
        };
        let before: Vec<bool> = reached(&[12, 9, 5]);
        assert_eq!(before, [true, true, false]);
        assert_eq!(bests.accept(best, 5, b"witness"), Ok(true));
        let after: Vec<bool> = reached(&[9, 5, 4]);
        assert_eq!(after, [true, true, false]);
    }
}
