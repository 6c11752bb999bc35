//! How a life of a run writes its journal: what waits for the disk, segments, syncs, the later life's fence, a disk that
//! refuses. It is told the time and given a [`Disk`], opens nothing and waits for nothing; whoever has a thread for it goes
//! by what [`Recording::round`] says.
//!
//! ```text
//!   core ─ payloads ─► Backlog, at most 64 MiB ─► Recording: seals, writes, syncs once a second ─► segment
//!                      full: results are counted and not recorded
//! ```
//!
//! Tasks that are begun at most once are always taken, and their hand-out waits until they are on disk: then it syncs at
//! once, looks whether a later life has begun, and says so. An offer is taken up to twice the bound: results that came of
//! one which is not there do not count in the next life.
//!
//! On an error it pauses, takes back what was written half (else begins another segment), and tries again without end: told
//! once, and once more when it goes on.
//!
//! # Why nothing is begun twice, without a lock
//! ```text
//!   earlier life   records what it begins · syncs · looks for a later life: none · sends
//!   later life     makes its first segment · reads what the earlier ones recorded
//! ```
//! Where the earlier life sees no later one, the later one's segment is made after that look, so it reads what was recorded
//! before it.

use std::io;
use std::ops::DerefMut;

use ringmw_codec::journal::{Identity, SEGMENT_BYTES, Segment, results_of, seal};
use ringmw_sched::Nanos;

use super::SECOND;
use super::disk::Disk;

/// Most bytes that wait for the disk: 64 MiB.
pub(crate) const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What was written is synced this often: what a power failure takes is what came after.
const SYNC_EVERY: Nanos = SECOND;

/// With so many bytes written and not synced it syncs before: they are kept until then, to be written again. 16 MiB.
const UNSYNCED_BYTES_MAX: usize = 16 << 20;

/// A later life is looked for this often, and before each new segment.
const LOOK_EVERY: Nanos = 10 * SECOND;

/// Pause after an error, doubled up to the last.
const RETRY: (Nanos, Nanos) = (SECOND / 10, 5 * SECOND);

/// Sealed and written at once: what of a batch is being written when the disk hangs.
const WRITE_BYTES: usize = 1 << 20;

/// What is to be said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The first result of this life is written, of which the lives before knew nothing: the run has come further by it.
    Progress,
    /// All that was given up to this barrier is on disk, and no later life had begun when it was.
    Synced(u64),
    /// It cannot be written, and will be tried again.
    Trouble(String),
    /// It is written again; so many results were not recorded meanwhile.
    Recovered(u64),
    /// The queue is full: results are not recorded from here on.
    Full,
    /// A later life of the run has begun. Nothing is written any more.
    Superseded(u32),
}

/// What a journal's segments begin with.
#[derive(Debug, Clone)]
pub(crate) struct Heads {
    pub(crate) identity: Identity,
    pub(crate) algorithms: Vec<String>,
}

/// What waits for the disk.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    payloads: Vec<u8>,
    in_flight: usize,
    /// The barrier that was asked for last.
    barrier: u64,
    /// Results that were not recorded since the last trouble.
    dropped: u64,
    /// And ever.
    pub(crate) dropped_ever: u64,
    said_full: bool,
    /// What is queued is written, and then no more.
    pub(crate) closing: bool,
    /// Nothing is written any more.
    pub(crate) gone: bool,
}

impl Backlog {
    /// Takes payloads, as the codec's functions put them; `barrier` asks that they be on disk soon, and to be told so.
    pub(crate) fn push(&mut self, payloads: &[u8], barrier: Option<u64>) {
        if self.gone {
            return;
        }
        let waiting = self.payloads.len() + self.in_flight;
        if waiting + payloads.len() <= QUEUE_BYTES_MAX {
            self.payloads.extend_from_slice(payloads);
        } else {
            self.push_what_must(payloads, waiting);
        }
        if let Some(barrier) = barrier {
            self.barrier = self.barrier.max(barrier);
        }
    }

    /// Nothing is queued or being written.
    pub(crate) fn is_empty(&self) -> bool {
        self.payloads.is_empty() && self.in_flight == 0
    }

    /// There is nothing to do for who has passed this barrier.
    pub(crate) fn is_idle(&self, synced: u64) -> bool {
        self.payloads.is_empty() && self.barrier == synced && !self.closing
    }

    /// Of what does not fit only what must not be lost.
    fn push_what_must(&mut self, payloads: &[u8], waiting: usize) {
        for one in each(payloads) {
            let results = results_of(&one[4..]);
            let is_offer = one.get(4) == Some(&2);
            let fits =
                !is_offer || waiting + self.payloads.len() + one.len() <= 2 * QUEUE_BYTES_MAX;
            if results > 0 {
                self.dropped += u64::from(results);
                self.dropped_ever += u64::from(results);
            } else if fits {
                self.payloads.extend_from_slice(one);
            }
        }
    }
}

/// When there is something to do again.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// When something is queued, or at this time.
    Until(Nanos),
    /// At this time, whatever is queued; or when it is closed.
    Pause(Nanos),
    /// Never.
    Over,
}

/// The disk has refused.
#[derive(Debug)]
struct Trouble {
    pause: Nanos,
    again_at: Nanos,
}

/// The writer of one life's segments.
#[derive(Debug)]
pub(crate) struct Recording {
    heads: Heads,
    /// The number of this life.
    pub(crate) life: u32,
    number: u32,
    /// A segment that has this many bytes is followed by another.
    segment_bytes: u64,
    /// The segment that was made last can be written.
    is_open: bool,
    /// Bytes of it that are whole records.
    at: u64,
    /// Since when something was written and not synced.
    unsynced: Option<Nanos>,
    look_at: Nanos,
    sealed: Vec<u8>,
    /// What is being written, behind what was written since the last sync; how much of it is written, and how much of
    /// that is on disk.
    batch: Vec<u8>,
    done: usize,
    safe: usize,
    /// The barrier that stands behind it, and the last one that is passed.
    barrier: u64,
    synced: u64,
    has_results: bool,
    trouble: Option<Trouble>,
}

impl Recording {
    /// Begins the life that follows `last`, or one behind it if others begin at the same time: its first segment is
    /// there when this returns.
    ///
    /// # Errors
    /// As the system says: the segment cannot be made.
    pub(crate) fn begin(
        disk: &mut dyn Disk,
        last: u32,
        heads: Heads,
        unix_us: i64,
        now: Nanos,
    ) -> io::Result<Self> {
        let mut recording = Recording {
            heads,
            life: last + 1,
            number: 1,
            segment_bytes: SEGMENT_BYTES,
            is_open: false,
            at: 0,
            unsynced: None,
            look_at: now + LOOK_EVERY,
            sealed: Vec::new(),
            batch: Vec::new(),
            done: 0,
            safe: 0,
            barrier: 0,
            synced: 0,
            has_results: false,
            trouble: None,
        };
        loop {
            match recording.make_segment(disk, unix_us) {
                Ok(()) => return Ok(recording),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => recording.life += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Segments are shorter than they are: a test has more of them.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn with_segments_of(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    fn make_segment(&mut self, disk: &mut dyn Disk, unix_us: i64) -> io::Result<()> {
        let head = Segment {
            life: self.life,
            number: self.number,
            begun_us: unix_us,
            identity: self.heads.identity.clone(),
            algorithms: self.heads.algorithms.clone(),
        }
        .encode();
        self.is_open = false;
        disk.create((self.life, self.number), &head)?;
        self.at = head.len() as u64;
        self.is_open = true;
        Ok(())
    }

    /// The number of a segment that could not be made whole is used, whatever is in it.
    fn next_segment(&mut self, disk: &mut dyn Disk, unix_us: i64) -> io::Result<()> {
        loop {
            self.number += 1;
            match self.make_segment(disk, unix_us) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
        }
    }

    /// Writes what is queued, and syncs where that is due; says when it is to be asked again. `backlog` gives the queue for
    /// as long as what it gives is kept: not while the disk is asked.
    pub(crate) fn round<Q: DerefMut<Target = Backlog>>(
        &mut self,
        disk: &mut dyn Disk,
        backlog: &dyn Fn() -> Q,
        (now, unix_us): (Nanos, i64),
        news: &mut dyn FnMut(News),
    ) -> Rest {
        let closing = backlog().closing;
        match &self.trouble {
            Some(trouble) if now < trouble.again_at && !closing => {
                return Rest::Pause(trouble.again_at);
            }
            Some(_) => {}
            None => self.take(&mut backlog(), news),
        }
        match self.go_on(disk, closing, now, unix_us) {
            Ok(None) => {}
            Ok(Some(life)) => {
                backlog().gone = true;
                news(News::Superseded(life));
                return Rest::Over;
            }
            Err(error) => {
                let pause = match &self.trouble {
                    None => RETRY.0,
                    Some(trouble) => (trouble.pause * 2).min(RETRY.1),
                };
                if self.trouble.is_none() {
                    news(News::Trouble(error.to_string()));
                }
                if closing && pause >= RETRY.1 / 4 {
                    backlog().gone = true;
                    return Rest::Over;
                }
                let again_at = now + pause;
                self.trouble = Some(Trouble { pause, again_at });
                return Rest::Pause(again_at);
            }
        }
        if !self.has_results && each(&self.batch).any(|one| results_of(&one[4..]) > 0) {
            self.has_results = true;
            news(News::Progress);
        }
        let mut queue = backlog();
        queue.in_flight = 0;
        if self.trouble.take().is_some() {
            news(News::Recovered(std::mem::take(&mut queue.dropped)));
        }
        if self.barrier > self.synced {
            self.synced = self.barrier;
            news(News::Synced(self.barrier));
        }
        if queue.said_full && queue.payloads.len() < QUEUE_BYTES_MAX / 2 {
            queue.said_full = false;
            news(News::Recovered(std::mem::take(&mut queue.dropped)));
        }
        if queue.closing && queue.payloads.is_empty() {
            queue.gone = true;
            return Rest::Over;
        }
        let due = match self.unsynced {
            Some(since) => (since + SYNC_EVERY).min(self.look_at),
            None => self.look_at,
        };
        match queue.is_idle(self.synced) {
            true => Rest::Until(due),
            false => Rest::Until(now),
        }
    }

    /// The last barrier that is passed.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// What is queued joins the batch.
    fn take(&mut self, queue: &mut Backlog, news: &mut dyn FnMut(News)) {
        if self.safe == self.batch.len() {
            self.batch.clear();
            (self.done, self.safe) = (0, 0);
        }
        match self.batch.is_empty() {
            true => std::mem::swap(&mut queue.payloads, &mut self.batch),
            false => self.batch.append(&mut queue.payloads),
        }
        queue.in_flight = self.batch.len() - self.done;
        self.barrier = queue.barrier;
        if queue.dropped > 0 && !queue.said_full {
            queue.said_full = true;
            news(News::Full);
        }
    }

    /// The life that is later than this one, if there is one.
    fn later_life(&mut self, disk: &mut dyn Disk, now: Nanos) -> io::Result<Option<u32>> {
        self.look_at = now + LOOK_EVERY;
        let last = disk.segments()?.last().map_or(0, |last| last.0);
        Ok((last > self.life).then_some(last))
    }

    /// Writes what is left of the batch, and syncs where that is due. `Some`: a later life has begun.
    fn go_on(
        &mut self,
        disk: &mut dyn Disk,
        closing: bool,
        now: Nanos,
        unix_us: i64,
    ) -> io::Result<Option<u32>> {
        if now >= self.look_at
            && let Some(life) = self.later_life(disk, now)?
        {
            return Ok(Some(life));
        }
        while self.done < self.batch.len() {
            if !self.is_open || self.at >= self.segment_bytes {
                if let Some(life) = self.later_life(disk, now)? {
                    return Ok(Some(life));
                }
                self.sync(disk)?;
                self.next_segment(disk, unix_us)?;
            }
            let part = some(&self.batch[self.done..]);
            self.sealed.clear();
            seal(&mut self.sealed, (self.life, self.number), self.at, part);
            let bytes = part.len();
            if let Err(error) = disk.write(self.at, &self.sealed) {
                // What is half written is taken back, else it is the torn end of this segment.
                if disk.truncate(self.at).is_err() {
                    self.is_open = false;
                }
                return Err(error);
            }
            self.at += self.sealed.len() as u64;
            self.unsynced.get_or_insert(now);
            self.done += bytes;
        }
        let is_asked = self.barrier > self.synced;
        let is_due = self.unsynced.is_some_and(|since| now >= since + SYNC_EVERY)
            || self.done - self.safe >= UNSYNCED_BYTES_MAX;
        if is_asked || is_due || closing {
            self.sync(disk)?;
        }
        match is_asked {
            // What the barrier holds back may leave only if no later life has read without it.
            true => self.later_life(disk, now),
            false => Ok(None),
        }
    }

    fn sync(&mut self, disk: &mut dyn Disk) -> io::Result<()> {
        if self.unsynced.is_some()
            && self.is_open
            && let Err(error) = disk.sync()
        {
            // What was written may be lost, and a second try would not say so: all since the last sync is written anew,
            // into the next segment.
            self.is_open = false;
            self.unsynced = None;
            self.done = self.safe;
            return Err(error);
        }
        self.unsynced = None;
        self.safe = self.done;
        Ok(())
    }
}

/// Each of them, its length of 4 bytes before it.
fn each(mut payloads: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let length = u32::from_le_bytes(*payloads.first_chunk()?) as usize;
        let (one, rest) = payloads.split_at(4 + length);
        payloads = rest;
        Some(one)
    })
}

/// Whole payloads from the front, about as much as is written at once; at least one.
fn some(payloads: &[u8]) -> &[u8] {
    let mut end = 0;
    for one in each(payloads) {
        end += one.len();
        if end >= WRITE_BYTES {
            break;
        }
    }
    &payloads[..end]
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::io;

    use ringmw_codec::journal::{
        Found, Record, Records, Segment, begin_results, hash_args, put_begun, put_result,
    };

    use super::{Backlog, Heads, News, QUEUE_BYTES_MAX, Recording, SECOND};
    use crate::proto::disk::{Disk, Name, Unread};

    /// Segments whose bytes are lost where a sync fails.
    #[derive(Default)]
    struct Lossy {
        segments: BTreeMap<Name, Vec<u8>>,
        synced: usize,
        refuses: bool,
    }

    impl Lossy {
        fn last(&mut self) -> &mut Vec<u8> {
            self.segments
                .values_mut()
                .next_back()
                .expect("one was made")
        }
    }

    impl Disk for Lossy {
        fn segments(&mut self) -> io::Result<Vec<Name>> {
            Ok(self.segments.keys().copied().collect())
        }

        fn bytes(&mut self, name: Name) -> io::Result<u64> {
            Ok(self.segments[&name].len() as u64)
        }

        fn read(&mut self, name: Name, out: &mut Vec<u8>) -> Result<(), Unread> {
            out.extend_from_slice(&self.segments[&name]);
            Ok(())
        }

        fn create(&mut self, name: Name, head: &[u8]) -> io::Result<()> {
            if self.refuses {
                return Err(io::Error::other("refused"));
            }
            self.segments.insert(name, head.to_vec());
            self.synced = head.len();
            Ok(())
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            assert_eq!(self.last().len() as u64, at);
            self.last().extend_from_slice(bytes);
            Ok(())
        }

        fn truncate(&mut self, at: u64) -> io::Result<()> {
            self.last().truncate(at as usize);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            let synced = self.synced;
            if self.refuses {
                self.last().truncate(synced);
                return Err(io::Error::other("refused"));
            }
            self.synced = self.last().len();
            Ok(())
        }

        fn shown(&self, _: Option<Name>) -> String {
            "here".into()
        }
    }

    fn begun(disk: &mut Lossy) -> Recording {
        let heads = Heads {
            identity: Default::default(),
            algorithms: vec!["pi".into()],
        };
        Recording::begin(disk, 0, heads, 0, 0).expect("begun")
    }

    /// A sync that comes rounds after the write fails: what was written in all of them is written again, and as long as the
    /// disk refuses it is not said to be well.
    #[test]
    fn what_a_failed_sync_loses_is_written_again() {
        let mut disk = Lossy::default();
        let mut recording = begun(&mut disk);
        let queue = RefCell::new(Backlog::default());
        let mut news = Vec::new();
        let mut now = 0;
        let mut round = |disk: &mut Lossy, later, news: &mut Vec<News>| {
            now += later;
            let lock = || queue.borrow_mut();
            recording.round(disk, &lock, (now, 0), &mut |said| news.push(said));
        };
        let mut push = 0..;
        let mut result = || {
            let (mut out, stream) = (Vec::new(), push.next().expect("endless"));
            let table = begin_results(&mut out, 0, 1, 0, (1, stream), 1);
            put_result(&mut out, table, 0, hash_args(b""), 5, b"x");
            queue.borrow_mut().push(&out, None);
        };
        for refuses in [false, true, false] {
            for _ in 0..3 {
                result();
                round(&mut disk, SECOND / 10, &mut news);
            }
            disk.refuses = refuses;
            for _ in 0..10 {
                round(&mut disk, SECOND, &mut news);
            }
        }
        queue.borrow_mut().closing = true;
        round(&mut disk, SECOND, &mut news);
        let error = io::Error::other("refused").to_string();
        assert_eq!(
            news,
            [News::Progress, News::Trouble(error), News::Recovered(0)]
        );
        let mut streams = Vec::new();
        for file in disk.segments.values() {
            let (segment, head) = Segment::decode(file).expect("whole");
            let found = Records::new(&segment, file, head);
            streams.extend(found.filter_map(|found| match found {
                Found::Record {
                    record: Record::Results(results),
                    ..
                } => Some(results.stream),
                _ => None,
            }));
        }
        streams.sort_unstable();
        streams.dedup();
        assert_eq!(streams, (0..9).collect::<Vec<u64>>());
    }

    /// What is begun and what is offered is no progress; the first result is, once it is written, and is told once.
    #[test]
    fn a_life_has_come_further_with_its_first_result() {
        let mut disk = Lossy::default();
        let mut recording = begun(&mut disk);
        let queue = RefCell::new(Backlog::default());
        let (mut now, mut told) = (0, Vec::new());
        let mut payload = Vec::new();
        put_begun(&mut payload, false, &[]);
        let begun = payload.clone();
        let table = begin_results(&mut payload, 0, 1, 0, (1, 1), 1);
        put_result(&mut payload, table, 0, hash_args(b""), 5, b"x");
        disk.refuses = true;
        // The barrier makes it sync, which the disk refuses at first.
        for (payload, barrier) in [(&begun, Some(1)), (&payload, Some(2)), (&payload, None)] {
            queue.borrow_mut().push(payload, barrier);
            for _ in 0..2 {
                now += SECOND;
                let lock = || queue.borrow_mut();
                let mut news = Vec::new();
                recording.round(&mut disk, &lock, (now, 0), &mut |said| news.push(said));
                told.push(news.contains(&News::Progress));
                disk.refuses = false;
            }
        }
        assert_eq!(told, [false, false, true, false, false, false]);
    }

    #[test]
    fn a_full_queue_drops_results_alone() {
        let mut payloads = Vec::new();
        let table = begin_results(&mut payloads, 0, 1, 0, (1, 1), 1);
        put_result(&mut payloads, table, 0, hash_args(b""), 5, b"x");
        let dropped = payloads.len();
        put_begun(&mut payloads, false, &[]);
        let mut queue = Backlog::default();
        queue.push_what_must(&payloads, QUEUE_BYTES_MAX);
        assert_eq!((queue.dropped, queue.dropped_ever), (1, 1));
        assert_eq!(queue.payloads, payloads[dropped..]);
    }
}
