//! What earlier lives of a run left in its journal: where each result lies, the incumbents, and which tasks that are begun
//! at most once were begun.
//!
//! [`Known`] is built of whole segments, in the order of lives and numbers, and closed; then [`Known::find`] answers. The
//! outputs themselves stay where they are ([`Outputs`]).
//!
//! # Whom to believe
//! A result may have come of an offer (a task that saw a better key looks less far), and counts only with it: each names
//! how many offers its life had recorded before. Where one of those is damaged, later results of that life are passed
//! over and counted, else a search's best answer could be lost with its witness.

use std::collections::{BTreeMap, BTreeSet};

use ringmw_codec::journal::{Found, Record, Records, Segment, hash_name, key, output_sum};
use ringmw_sched::Nanos;

/// Where a result lies, and what is known of it without reading it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownResult {
    key: [u64; 2],
    compute: Nanos,
    /// The highest bit: a task of this life has ended with it.
    segment: u32,
    at: u32,
    /// The highest bit: it failed.
    bytes: u32,
    /// The output's checksum.
    sum: u32,
}

// Ten million of them are 400 MB.
const _: () = assert!(size_of::<KnownResult>() <= 40);

const FAILED: u32 = 1 << 31;
const TAKEN: u32 = 1 << 31;

impl KnownResult {
    /// Time in the algorithm.
    pub(crate) fn compute(&self) -> Nanos {
        self.compute
    }

    /// Its output is a failure's text.
    pub(crate) fn is_failed(&self) -> bool {
        self.bytes & FAILED != 0
    }

    /// Where its output lies.
    pub(crate) fn place(&self) -> Place {
        Place {
            segment: self.segment & !TAKEN,
            at: self.at,
            bytes: self.bytes & !FAILED,
            sum: self.sum,
        }
    }
}

/// Where an output lies: in which of the segments that were read, and where in it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Which of the segments, in the order in which they were read.
    pub(crate) segment: u32,
    /// Where it begins in the file.
    pub(crate) at: u32,
    /// How long it is.
    pub(crate) bytes: u32,
    /// Its checksum.
    pub(crate) sum: u32,
}

/// Reads outputs where they lie.
pub(crate) trait Outputs {
    /// Appends the output at a place; false if it can not be read any more.
    fn read(&mut self, place: Place, out: &mut Vec<u8>) -> bool;

    /// As [`read`](Outputs::read), and false if it is not what it was when its segment was read: the life that wrote it may
    /// still have been there then, and its disk may have refused the bytes since.
    fn read_whole(&mut self, place: Place, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        let is_whole = self.read(place, out) && output_sum(&out[begin..]) == place.sum;
        if !is_whole {
            out.truncate(begin);
        }
        is_whole
    }
}

/// An incumbent of an earlier life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KnownBest {
    /// A hash of direction, key's and witness's type.
    pub(crate) types: u64,
    /// The image of its key: smaller is better.
    pub(crate) image: u64,
    /// The archive of its witness.
    pub(crate) witness: Vec<u8>,
}

/// What was found, for the trail and for people.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Segments that were read.
    pub(crate) segments: u64,
    /// Results that count.
    pub(crate) results: u64,
    /// Results of a task that has one already.
    pub(crate) repeated: u64,
    /// Results that came of an offer which is lost.
    pub(crate) unfounded: u64,
    /// Places where bytes are no record, the cut end of a segment aside.
    pub(crate) damaged: u64,
    /// Their bytes, cut ends included.
    pub(crate) damaged_bytes: u64,
    /// Segments whose end is cut.
    pub(crate) torn: u64,
    /// The last life that left a segment.
    pub(crate) life: u32,
}

/// So many damaged places are told one by one.
pub(crate) const DAMAGES_TOLD_MAX: usize = 8;

/// A place where bytes are no record.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Which of the segments that were read.
    pub(crate) segment: u32,
    pub(crate) at: u64,
    pub(crate) bytes: u64,
}

/// What earlier lives left.
#[derive(Debug, Default)]
pub(crate) struct Known {
    results: Vec<KnownResult>,
    bests: BTreeMap<u32, KnownBest>,
    begun: BTreeSet<u128>,
    tally: Tally,
    /// The first places that are damaged.
    damages: Vec<Damage>,
    /// Of the life that is being read: the offers that were found, up to the first that is missing.
    offers: u64,
    /// Failures count as results.
    failures: bool,
}

impl Known {
    /// Nothing yet. `failures`: recorded failures count, else such tasks are computed again.
    pub(crate) fn new(failures: bool) -> Self {
        Known {
            failures,
            ..Known::default()
        }
    }

    /// Takes what is in a segment whose head ends at `head`.
    pub(crate) fn read(&mut self, segment: &Segment, file: &[u8], head: usize) {
        let number = u32::try_from(self.tally.segments).expect("few segments");
        assert!(number < TAKEN, "few segments");
        if segment.life != self.tally.life {
            self.offers = 0;
        }
        self.tally.segments += 1;
        self.tally.life = segment.life;
        let names = segment.algorithms.iter().map(|name| hash_name(name));
        let names: Vec<u64> = names.collect();
        for found in Records::new(segment, file, head) {
            match found {
                Found::Record { at, record } => self.take(number, &names, at, record, file),
                Found::Damaged { at, bytes, torn } => {
                    self.tally.damaged_bytes += bytes;
                    match torn {
                        true => self.tally.torn += 1,
                        false => self.damaged(number, at, bytes),
                    }
                }
            }
        }
    }

    fn damaged(&mut self, segment: u32, at: u64, bytes: u64) {
        self.tally.damaged += 1;
        if self.damages.len() < DAMAGES_TOLD_MAX {
            self.damages.push(Damage { segment, at, bytes });
        }
    }

    /// The first places that are damaged, as many as are told one by one.
    pub(crate) fn damages(&self) -> &[Damage] {
        &self.damages
    }

    fn take(&mut self, segment: u32, names: &[u64], at: u64, record: Record<'_>, file: &[u8]) {
        match record {
            Record::Results(results) => {
                let Some(&algorithm) = names.get(usize::from(results.algorithm)) else {
                    let bytes = results.outputs.as_ptr() as u64 + results.outputs.len() as u64;
                    self.damaged(segment, at, bytes - file.as_ptr() as u64 - at);
                    return;
                };
                if results.offers > self.offers {
                    self.tally.unfounded += u64::from(results.count);
                    return;
                }
                if results.failed && !self.failures {
                    return;
                }
                let outputs = results.outputs.as_ptr() as usize - file.as_ptr() as usize;
                let failed = if results.failed { FAILED } else { 0 };
                self.results.extend(results.iter().map(|entry| {
                    let key = key(algorithm, results.domain, entry.stream, entry.args);
                    KnownResult {
                        key: [(key >> 64) as u64, key as u64],
                        compute: entry.compute_ns,
                        segment,
                        at: outputs as u32 + entry.at,
                        bytes: entry.output_bytes | failed,
                        sum: output_sum(results.output(&entry)),
                    }
                }));
            }
            Record::Offer(offer) => {
                self.offers += u64::from(offer.number == self.offers + 1);
                let better = |known: &KnownBest| offer.image < known.image;
                if self.bests.get(&offer.best).is_none_or(better) {
                    let best = KnownBest {
                        types: offer.types,
                        image: offer.image,
                        witness: offer.witness.to_vec(),
                    };
                    self.bests.insert(offer.best, best);
                }
            }
            Record::Begun(begun) => {
                for task in begun.iter() {
                    let Some(&algorithm) = names.get(usize::from(task.algorithm)) else {
                        continue;
                    };
                    let key = key(algorithm, task.domain, task.stream, task.args);
                    match begun.given_back {
                        true => self.begun.remove(&key),
                        false => self.begun.insert(key),
                    };
                }
            }
        }
    }

    /// All segments have been read.
    pub(crate) fn close(&mut self) {
        let before = self.results.len();
        // Of a task that failed and was computed again the output counts; else the result that came first.
        self.results.sort_unstable_by_key(|known| {
            (known.key, known.bytes & FAILED, known.segment, known.at)
        });
        self.results.dedup_by_key(|result| result.key);
        self.results.shrink_to_fit();
        self.tally.repeated = (before - self.results.len()) as u64;
        self.tally.results = self.results.len() as u64;
    }

    /// Failures count as results.
    pub(crate) fn takes_failures(&self) -> bool {
        self.failures
    }

    /// What was found.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Whether any task may be answered from it.
    pub(crate) fn is_empty(&self) -> bool {
        self.results.is_empty() && self.begun.is_empty()
    }

    /// The incumbents of earlier lives, by their place of creation.
    pub(crate) fn take_bests(&mut self) -> BTreeMap<u32, KnownBest> {
        std::mem::take(&mut self.bests)
    }

    /// The result of the task of this key.
    #[inline]
    pub(crate) fn find(&self, key: u128) -> Option<&KnownResult> {
        Some(&self.results[self.position(key)?])
    }

    /// The result of the task of this key, which is given now; and whether another task of this life has been given that is
    /// the same in all that is looked at.
    pub(crate) fn take_for(&mut self, key: u128) -> Option<(KnownResult, bool)> {
        let at = self.position(key)?;
        let result = &mut self.results[at];
        let before = result.segment & TAKEN != 0;
        result.segment |= TAKEN;
        Some((*result, before))
    }

    #[inline]
    fn position(&self, key: u128) -> Option<usize> {
        let key = [(key >> 64) as u64, key as u64];
        let results = &self.results;
        // Keys are spread evenly: it is looked for where it is likely to be, then in growing steps from there.
        let likely = ((u128::from(key[0]) * results.len() as u128) >> 64) as usize;
        let (mut low, mut high, mut step) = (likely, likely, 1);
        while low > 0 && results[low.min(results.len() - 1)].key > key {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 1;
        while high < results.len() && results[high].key < key {
            high = (high + step).min(results.len());
            step *= 2;
        }
        let high = (high + 1).min(results.len());
        let low = low.min(high);
        let at = results[low..high]
            .binary_search_by(|result| result.key.cmp(&key))
            .ok()?;
        Some(low + at)
    }

    /// Whether the task of this key, which is begun at most once, was handed out by an earlier life and has no result.
    pub(crate) fn was_begun(&self, key: u128) -> bool {
        self.begun.contains(&key)
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::journal::{
        BegunEntry, Offered, Segment, begin_results, hash_args, hash_name, key, put_begun,
        put_failure, put_offer, put_result, seal,
    };

    use super::{Known, Outputs, Place};

    fn segment(life: u32, number: u32) -> Segment {
        Segment {
            life,
            number,
            algorithms: vec!["pi".into()],
            ..Segment::default()
        }
    }

    fn written(segment: &Segment, payloads: &[u8]) -> Vec<u8> {
        let mut file = segment.encode();
        let at = file.len() as u64;
        seal(&mut file, (segment.life, segment.number), at, payloads);
        file
    }

    fn read(known: &mut Known, segment: &Segment, file: &[u8]) {
        let head = segment.encode().len();
        known.read(segment, file, head);
    }

    fn key_of(stream: u64) -> u128 {
        key(hash_name("pi"), 1, stream, hash_args(&stream.to_le_bytes()))
    }

    fn result(out: &mut Vec<u8>, stream: u64, offers: u64, output: &[u8]) {
        let table = begin_results(out, 0, 1, offers, (1, stream), output.len());
        put_result(out, table, 0, hash_args(&stream.to_le_bytes()), 5, output);
    }

    fn offer(out: &mut Vec<u8>, number: u64, image: u64) {
        let offered = Offered {
            best: 0,
            number,
            types: 1,
            image,
            witness: b"w",
        };
        put_offer(out, &offered);
    }

    #[test]
    fn every_result_is_found_and_no_other() {
        for tasks in [0, 1, 2, 3, 1_000] {
            let mut payloads = Vec::new();
            (0..tasks).for_each(|stream| result(&mut payloads, stream, 0, &stream.to_le_bytes()));
            let mut known = Known::new(false);
            let (segment, at) = (segment(1, 1), segment(1, 1).encode().len());
            let file = written(&segment, &payloads);
            known.read(&segment, &file, at);
            known.close();
            for stream in 0..tasks {
                let found = known.find(key_of(stream)).expect("it was recorded");
                let place = found.place();
                let output = &file[place.at as usize..][..place.bytes as usize];
                assert_eq!((output, found.compute()), (&stream.to_le_bytes()[..], 5));
                let mut taken = || known.take_for(key_of(stream)).expect("it was recorded").1;
                assert_eq!([taken(), taken()], [false, true]);
            }
            assert!((tasks..tasks + 100).all(|stream| known.find(key_of(stream)).is_none()));
            assert_eq!(known.tally().results, tasks);
        }
    }

    /// The world's seed 4711: a life was stopped, the next one read what it had written, and when it went on its disk refused
    /// that.
    #[test]
    fn an_output_that_has_changed_since_it_was_read_is_none() {
        struct File(Vec<u8>);

        impl Outputs for File {
            fn read(&mut self, place: Place, out: &mut Vec<u8>) -> bool {
                out.extend_from_slice(&self.0[place.at as usize..][..place.bytes as usize]);
                true
            }
        }

        let mut payloads = Vec::new();
        result(&mut payloads, 1, 0, b"as it was");
        let mut file = File(written(&segment(1, 1), &payloads));
        let mut known = Known::new(false);
        read(&mut known, &segment(1, 1), &file.0);
        known.close();
        let place = known.find(key_of(1)).expect("it was recorded").place();
        let mut out = b"before ".to_vec();
        assert!(file.read_whole(place, &mut out));
        assert_eq!(out, b"before as it was");
        for at in place.at..place.at + place.bytes {
            file.0[at as usize] ^= 1;
            assert!(!file.read_whole(place, &mut out), "byte {at}");
            assert_eq!(out, b"before as it was");
            file.0[at as usize] ^= 1;
        }
    }

    #[test]
    fn the_first_result_of_a_task_counts_and_an_output_before_a_failure() {
        let mut payloads = Vec::new();
        result(&mut payloads, 1, 0, b"first");
        result(&mut payloads, 1, 0, b"again");
        let args = hash_args(&2u64.to_le_bytes());
        put_failure(&mut payloads, 0, 0, (1, 2), args, 5, "no");
        result(&mut payloads, 2, 0, b"done");
        put_failure(
            &mut payloads,
            0,
            0,
            (1, 3),
            hash_args(&3u64.to_le_bytes()),
            5,
            "no",
        );
        for failures in [false, true] {
            let mut known = Known::new(failures);
            let file = written(&segment(1, 1), &payloads);
            read(&mut known, &segment(1, 1), &file);
            known.close();
            let output = |stream| {
                let place = known.find(key_of(stream))?.place();
                Some(&file[place.at as usize..][..place.bytes as usize])
            };
            assert_eq!(output(1), Some(&b"first"[..]));
            assert_eq!(output(2), Some(&b"done"[..]));
            assert_eq!(output(3).is_some(), failures);
        }
    }

    /// A result that came of a lost offer does not count; those of the next life do, which recorded its incumbents anew.
    #[test]
    fn a_result_counts_only_with_the_offers_before_it() {
        let mut payloads = Vec::new();
        offer(&mut payloads, 1, 9);
        result(&mut payloads, 1, 1, b"a");
        let whole = written(&segment(1, 1), &payloads);
        let mut rest = Vec::new();
        result(&mut rest, 2, 0, b"before");
        offer(&mut rest, 2, 8);
        result(&mut rest, 3, 2, b"after");
        let second = written(&segment(1, 2), &rest);
        let mut known = Known::new(false);
        let mut damaged = whole.clone();
        damaged[segment(1, 1).encode().len() + 20] ^= 1;
        read(&mut known, &segment(1, 1), &damaged);
        read(&mut known, &segment(1, 2), &second);
        let mut next = Vec::new();
        offer(&mut next, 1, 8);
        result(&mut next, 4, 1, b"next life");
        read(&mut known, &segment(2, 1), &written(&segment(2, 1), &next));
        known.close();
        let is_known = |stream| known.find(key_of(stream)).is_some();
        assert_eq!([1, 2, 3, 4].map(is_known), [false, true, false, true]);
        assert_eq!((known.tally().unfounded, known.tally().damaged), (2, 1));
        assert_eq!(known.take_bests()[&0].image, 8);
    }

    #[test]
    fn what_was_begun_and_not_given_back() {
        let entry = |stream: u64| BegunEntry {
            algorithm: 0,
            domain: 1,
            stream,
            args: hash_args(&stream.to_le_bytes()),
        };
        let mut payloads = Vec::new();
        put_begun(&mut payloads, false, &[entry(1), entry(2)]);
        put_begun(&mut payloads, true, &[entry(1)]);
        let mut known = Known::new(false);
        read(
            &mut known,
            &segment(1, 1),
            &written(&segment(1, 1), &payloads),
        );
        known.close();
        assert_eq!(
            [1, 2, 3].map(|stream| known.was_begun(key_of(stream))),
            [false, true, false]
        );
    }
}
