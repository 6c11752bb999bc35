//! What must hold from life to life of a run: each life knows what is whole on the disk of what those before it recorded, and
//! nothing else; what it knows it gives nobody to compute; and no two tell a slave to begin what is begun at most once.
//!
//! It goes by what each life meant to write and what of that is there ([`Files`]), by what is handed out, and by what tasks
//! begin.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};

use ringmw_codec::audit::Event;
use ringmw_codec::batch::{TaskBatchView, TaskSeries};
use ringmw_codec::control::{Bests, Returned};
use ringmw_codec::frame::{FrameReader, Kind};
use ringmw_codec::journal::{BegunEntry, Found, Record, Records, Segment, seal};
use ringmw_codec::kept::{Kept, KeptResult};
use ringmw_sched::{AlgorithmId, Nanos};

use crate::io::engine::ConnId;
use crate::proto::config::{AlgorithmInfo, HashArgs};
use crate::proto::disk::Name;
use crate::proto::known::{KnownBest, Tally};
use crate::testing::disk::{Files, SimSegment};
use crate::testing::watch::Watch;

/// The key that each incumbent begins with.
const NONE_YET: u64 = u64::MAX;

/// By what a task is known in each life: algorithm, family and number of its stream, hash of its arguments.
pub(in crate::testing) type Key = (u16, u64, u64, u128);

/// A record: its segment, and its bytes there.
type Place = (Name, Range<usize>);

#[derive(Default)]
pub(in crate::testing) struct LivesLaw {
    hashes: Vec<HashArgs>,
    /// By master: what it knows, and where that lies.
    known: BTreeMap<u32, BTreeMap<Key, Vec<Place>>>,
    /// By master: what it knows to have been begun, of what is begun at most once.
    begun: BTreeMap<u32, BTreeSet<Key>>,
    /// By master: until when slaves of earlier lives may come back to it.
    returns_until: BTreeMap<u32, Nanos>,
    /// Results that slaves of earlier lives brought to a master, and when it took the first.
    brought: BTreeMap<(u32, Key), Nanos>,
    /// Tasks that a life was told to have been begun by an earlier one.
    pub(in crate::testing) not_begun_again: u64,
    /// Connections of slaves that a master has welcomed.
    welcomed: BTreeSet<(u32, ConnId)>,
    /// The algorithm whose tasks are begun at most once.
    once_algorithm: u16,
    /// By master, connection and number: such tasks as they were handed out.
    handed_once: BTreeMap<(u32, ConnId, u64), Key>,
    /// Such tasks that were given back, not begun, in this turn of a master: it is to record that.
    given_back: BTreeSet<Key>,
    from_slaves: BTreeMap<(u32, ConnId), FrameReader>,
    ears: BTreeMap<(u32, ConnId), FrameReader>,
    /// Places and keys that slaves were told.
    told: BTreeSet<(u32, u64)>,
    /// Some of what was handed out.
    pub(in crate::testing) seen: BTreeSet<Key>,
    /// Tasks whose record went bad on the disk, which was told: they may be begun twice.
    pub(in crate::testing) excused: BTreeSet<Key>,
    /// By the number that an algorithm gives them: tasks that are begun at most once.
    once: BTreeMap<u64, Key>,
    pub(in crate::testing) handed: u64,
    /// Connections of slaves that lie, and of those whose bytes are changed on the way.
    liars: BTreeSet<ConnId>,
    /// By address: the connection that has it.
    peers: BTreeMap<String, ConnId>,
}

impl Watch for LivesLaw {
    fn on_liar(&mut self, conn: ConnId) {
        self.liars.insert(conn);
    }

    fn on_tampered(&mut self, conn: ConnId) {
        self.liars.insert(conn);
    }
}

/// What of a segment's records is there.
struct There<'a> {
    segment: &'a SimSegment,
}

impl There<'_> {
    fn is_whole(&self, range: &Range<usize>) -> bool {
        self.segment.bytes.get(range.clone()) == self.segment.written.get(range.clone())
    }

    fn went_bad(&self, range: &Range<usize>) -> bool {
        let bad = &self.segment.bad;
        bad.iter()
            .any(|bad| bad.start < range.end && range.start < bad.end)
    }
}

/// What a life must find.
#[derive(Debug, Default)]
struct Expected {
    keys: BTreeMap<Key, Vec<Place>>,
    begun: BTreeSet<Key>,
    bests: BTreeMap<u32, u64>,
    results: u64,
    unfounded: u64,
}

impl LivesLaw {
    pub(in crate::testing) fn new(infos: &[AlgorithmInfo], once: AlgorithmId) -> Self {
        LivesLaw {
            once_algorithm: once.0,
            hashes: infos.iter().map(|info| info.hash_args).collect(),
            ..LivesLaw::default()
        }
    }

    /// Whether this life meant to write a result.
    pub(in crate::testing) fn has_results(files: &Files, life: u32) -> bool {
        let of_life = files.segments.iter().filter(|(name, _)| name.0 == life);
        of_life
            .filter_map(|(_, segment)| {
                let (head, begin) = Segment::decode(&segment.written).ok()?;
                let mut records = Records::new(&head, &segment.written, begin);
                Some(records.any(|found| {
                    let is_results = |record| matches!(record, Record::Results(_));
                    matches!(found, Found::Record { record, .. } if is_results(record))
                }))
            })
            .any(|has| has)
    }

    /// What is whole of what the lives before this one meant to write.
    fn expected(&mut self, files: &Files, life: u32) -> Expected {
        let mut expected = Expected::default();
        let (mut of, mut offers) = (0, 0);
        for (name, segment) in files.segments.iter().filter(|(name, _)| name.0 < life) {
            if name.0 != of {
                (of, offers) = (name.0, 0);
            }
            let Ok((head, begin)) = Segment::decode(&segment.written) else {
                continue;
            };
            let there = There { segment };
            let is_read = there.is_whole(&(0..begin));
            let head_went_bad = there.went_bad(&(0..begin));
            // Its last record may have been written in part.
            let records: Vec<_> = Records::new(&head, &segment.written, begin)
                .map(|found| match found {
                    Found::Record { at, record } => (at as usize - 12, Some(record)),
                    Found::Damaged { at, .. } => (at as usize, None),
                })
                .collect();
            let ends = records.iter().skip(1).map(|(at, _)| *at);
            let ends: Vec<usize> = ends.chain([segment.written.len()]).collect();
            let whole = records.into_iter().zip(ends);
            let whole = whole.filter_map(|((at, record), end)| Some(((at, record?), end)));
            for ((at, record), end) in whole {
                let range = at..end;
                let is_known = is_read && there.is_whole(&range);
                match record {
                    Record::Results(results) if is_known && !results.failed => {
                        if results.offers > offers {
                            expected.unfounded += u64::from(results.count);
                            continue;
                        }
                        expected.results += u64::from(results.count);
                        for one in results.iter() {
                            let key = (results.algorithm, results.domain, one.stream, one.args);
                            let places = expected.keys.entry(key).or_default();
                            places.push((*name, range.clone()));
                        }
                    }
                    Record::Offer(offer) if is_known => {
                        offers += u64::from(offer.number == offers + 1);
                        let best = expected.bests.entry(offer.best).or_insert(u64::MAX);
                        *best = offer.image.min(*best);
                    }
                    Record::Begun(begun) if head_went_bad || there.went_bad(&range) => {
                        self.excused.extend(
                            begun
                                .iter()
                                .map(|one| (one.algorithm, one.domain, one.stream, one.args)),
                        );
                    }
                    Record::Begun(begun) if is_known => {
                        for one in begun.iter() {
                            let key = (one.algorithm, one.domain, one.stream, one.args);
                            match begun.given_back {
                                true => expected.begun.remove(&key),
                                false => expected.begun.insert(key),
                            };
                        }
                    }
                    _ => {}
                }
            }
        }
        expected
    }

    /// A master begins as this life, and has found this. It has read what lay there before it made its first segment, and all
    /// again if that has grown meanwhile.
    pub(in crate::testing) fn on_life(
        &mut self,
        master: u32,
        (life, returns_until): (u32, Nanos),
        (then, now): (&Files, &Files),
        tally: &Tally,
        bests: &BTreeMap<u32, KnownBest>,
    ) {
        let lengths = |files: &Files| -> Vec<(Name, usize)> {
            let before = files.segments.iter().filter(|(name, _)| name.0 < life);
            before
                .map(|(name, segment)| (*name, segment.bytes.len()))
                .collect()
        };
        let has_grown = lengths(then) != lengths(now);
        let expected = self.expected(if has_grown { now } else { then }, life);
        assert_eq!(
            (tally.results, tally.unfounded),
            (expected.keys.len() as u64, expected.unfounded),
            "results that life {life} knows, and those that came of a lost offer"
        );
        assert_eq!(
            tally.repeated,
            expected.results - expected.keys.len() as u64,
            "results that are recorded more than once"
        );
        let found: BTreeMap<u32, u64> = bests.iter().map(|(id, best)| (*id, best.image)).collect();
        assert_eq!(found, expected.bests, "incumbents that life {life} finds");
        self.known.insert(master, expected.keys);
        self.begun.insert(master, expected.begun);
        self.returns_until.insert(master, returns_until);
    }

    /// A master that serves this slave hears these frames.
    pub(in crate::testing) fn on_heard(
        &mut self,
        master: u32,
        conn: ConnId,
        frames: &[u8],
        now: Nanos,
    ) {
        let mut reader = self.from_slaves.remove(&(master, conn)).unwrap_or_default();
        let brought = &mut self.brought;
        let is_honest = self.welcomed.contains(&(master, conn)) && !self.liars.contains(&conn);
        let _ = reader.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
            if kind == Kind::Kept
                && is_honest
                && let Ok(kept) = Kept::decode(payload)
            {
                let key = |one: &KeptResult<'_>| (one.algorithm, one.domain, one.stream, one.args);
                for one in &kept.results {
                    brought.entry((master, key(one))).or_insert(now);
                }
            }
            if kind == Kind::Returned
                && is_honest
                && let Ok(returned) = Returned::decode(payload)
            {
                let handed = &self.handed_once;
                let keys = returned.tasks.iter();
                let keys = keys.filter_map(|task| handed.get(&(master, conn, *task)));
                // What another slave has kept of one ends it before it is given back.
                let keys = keys.filter(|key| !brought.contains_key(&(master, **key)));
                self.given_back.extend(keys);
            }
            ControlFlow::<()>::Continue(())
        });
        self.from_slaves.insert((master, conn), reader);
    }

    /// A master's turn ends, and it has these payloads for its journal.
    pub(in crate::testing) fn on_payloads(&mut self, payloads: &[u8]) {
        let given_back = std::mem::take(&mut self.given_back);
        if given_back.is_empty() {
            return;
        }
        let segment = Segment::default();
        let mut file = segment.encode();
        let head = file.len();
        seal(
            &mut file,
            (segment.life, segment.number),
            head as u64,
            payloads,
        );
        let mut recorded = BTreeSet::new();
        for found in Records::new(&segment, &file, head) {
            if let Found::Record {
                record: Record::Begun(begun),
                ..
            } = found
                && begun.given_back
            {
                let key = |one: BegunEntry| (one.algorithm, one.domain, one.stream, one.args);
                recorded.extend(begun.iter().map(key));
            }
        }
        let missing: Vec<_> = given_back.difference(&recorded).collect();
        assert!(
            missing.is_empty(),
            "{missing:?} were given back, not begun, and that is not recorded"
        );
    }

    /// A life is told that a task, which is begun at most once, was begun by an earlier one.
    pub(in crate::testing) fn on_begun_before(
        &mut self,
        master: u32,
        key: Key,
        now: Nanos,
        files: &Files,
    ) {
        self.not_begun_again += 1;
        assert!(
            self.begun[&master].contains(&key),
            "{key:?} ends as begun by an earlier life, and no record says so"
        );
        let until = self.returns_until[&master];
        let brought = self.brought.get(&(master, key));
        assert!(
            brought.is_none_or(|at| *at > until) || self.has_lost(master, key, files),
            "{key:?} ends as begun by an earlier life, whose slave has brought its result in time"
        );
        assert!(
            now >= until,
            "{key:?} is given up {} ms before its slave may be",
            (until - now) / 1_000_000
        );
    }

    /// A master accepts a connection from this address.
    pub(in crate::testing) fn on_accept(&mut self, conn: ConnId, peer: &str) {
        self.peers.insert(peer.to_owned(), conn);
    }

    /// Who comes back to its run tells no life what is another's.
    pub(in crate::testing) fn on_line(&self, event: &Event) {
        if let Event::Offence {
            slave: Some(_),
            from,
            reason,
        } = event
        {
            let conn = self.peers.get(from);
            assert!(
                conn.is_some_and(|conn| self.liars.contains(conn)),
                "an honest slave at {from} commits an offence: {reason}"
            );
        }
    }

    /// A master sends these frames.
    pub(in crate::testing) fn on_send(
        &mut self,
        master: u32,
        conn: ConnId,
        frames: &[u8],
        files: &Files,
    ) {
        let mut ear = self.ears.remove(&(master, conn)).unwrap_or_default();
        let read = ear.feed(frames, &|_| u32::MAX, &mut |kind, payload| {
            if kind == Kind::Welcome {
                self.welcomed.insert((master, conn));
            }
            if kind == Kind::Bests {
                let bests = Bests::decode(payload).expect("a master's own");
                for (best, key) in bests.entries {
                    self.on_key(best, key, files);
                }
            }
            if kind == Kind::Tasks {
                let batch = TaskBatchView::decode(payload).expect("a master sends tasks");
                for (entry, body) in batch.iter() {
                    let series = TaskSeries::parse(body, entry.count).expect("they are whole");
                    for nth in 0..entry.count {
                        let body = series.nth(nth).expect("it is whole");
                        let hash = self.hashes[usize::from(entry.algorithm)];
                        let key = (entry.algorithm, body.domain, body.stream, hash(body.args));
                        if entry.algorithm == self.once_algorithm {
                            let number = entry.task + u64::from(nth);
                            self.handed_once.insert((master, conn, number), key);
                        }
                        self.on_hand_out(master, key, files);
                    }
                }
            }
            ControlFlow::<()>::Continue(())
        });
        assert!(read.is_ok(), "a master sends frames");
        self.ears.insert((master, conn), ear);
    }

    /// A key is told to a slave, which leaves out others for it and outlives its master: its witness lies on the disk, in the
    /// journal or in a saved state.
    fn on_key(&mut self, best: u32, key: u64, files: &Files) {
        if key == NONE_YET || !self.told.insert((best, key)) {
            return;
        }
        let is_safe = files.segments.values().any(|segment| {
            let Ok((head, begin)) = Segment::decode(&segment.written) else {
                return false;
            };
            // What comes behind it on the disk is no part of it.
            let safe = segment.written.len().min(segment.synced);
            let mut records = Records::new(&head, &segment.written[..safe.max(begin)], begin);
            records.any(|found| {
                matches!(found, Found::Record { record: Record::Offer(offer), .. }
                    if (offer.best, offer.image) == (best, key))
            })
        });
        assert!(
            is_safe || files.has_saved(best, key),
            "the key {key} of place {best} is told, and its offer is not on the disk"
        );
    }

    /// Whether what a master knows of a task has gone from the disk since it was read.
    fn has_lost(&self, master: u32, key: Key, files: &Files) -> bool {
        let places = self.known.get(&master).and_then(|known| known.get(&key));
        places.into_iter().flatten().any(|(name, range)| {
            let segment = &files.segments[name];
            let there = There { segment };
            // A bit may have been flipped, and flipped back since.
            !there.is_whole(range) || there.went_bad(range)
        })
    }

    fn on_hand_out(&mut self, master: u32, key: Key, files: &Files) {
        self.handed += 1;
        let is_known = self
            .known
            .get(&master)
            .is_some_and(|known| known.contains_key(&key));
        assert!(
            !is_known || self.has_lost(master, key, files),
            "{key:?} is handed out, and its result was recorded by an earlier life"
        );
        let is_begun = self
            .begun
            .get(&master)
            .is_some_and(|begun| begun.contains(&key));
        assert!(
            !is_begun,
            "{key:?} is handed out, and an earlier life has recorded that it was begun"
        );
        if self.seen.len() < 200 {
            self.seen.insert(key);
        }
    }

    /// A task that is begun at most once begins, which gives itself this number.
    pub(in crate::testing) fn on_once(&mut self, number: u64, key: Key) {
        let before = self.once.insert(number, key);
        assert!(
            before.is_none() || self.excused.contains(&key),
            "task {number}, which is begun at most once, is begun twice in the run"
        );
    }

    /// The key of a task without arguments that change.
    pub(in crate::testing) fn key_of(
        &self,
        algorithm: AlgorithmId,
        (domain, stream): (u64, u64),
        args: &[u8],
    ) -> Key {
        let hash = self.hashes[usize::from(algorithm.0)];
        (algorithm.0, domain, stream, hash(args))
    }
}
