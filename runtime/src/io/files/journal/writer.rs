//! The thread that writes the journal: the master's thread gives it payloads and never waits for it.
//!
//! ```text
//!   core ─ payloads ─► queue, at most 64 MiB ─► thread: seals, writes, syncs once a second ─► segment
//!                      full: results are counted and not recorded
//! ```
//!
//! Tasks that are begun at most once are always taken, and their hand-out waits until they are on disk: then the thread
//! syncs at once, and says so. An offer is taken up to twice the bound: results that came of one which is not there do
//! not count in the next life.
//!
//! On an error the thread pauses, takes back what it wrote half (else begins another segment), and tries again without
//! end: told once, and once more when it goes on.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::journal::{Identity, SEGMENT_BYTES, Segment, seal};

use crate::io::clock;
use crate::io::files::journal::segments;
use crate::io::files::private;

/// Most bytes that wait for the thread: 64 MiB.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// What was written is synced this often: what a power failure takes is what came after.
const SYNC_EVERY: Duration = Duration::from_secs(1);

/// A later life is looked for this often, and before each new segment.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Pause after an error, doubled up to the last.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Sealed and written at once: what of a batch is being written when the disk hangs.
const WRITE_BYTES: usize = 1 << 20;

/// What the thread has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// All that was given up to this barrier is on disk.
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

/// The writer of this life's segments. Dropping it ends the thread, after what is queued was written or the disk refused.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    shared: Arc<Shared>,
    /// The number of this life.
    pub(crate) life: u32,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Rung for the thread.
    work: Condvar,
    /// Rung when nothing is queued, or nothing will be written any more.
    rest: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    payloads: Vec<u8>,
    in_flight: usize,
    /// The barrier that was asked for last.
    barrier: u64,
    /// Results that were not recorded since the last trouble.
    dropped: u64,
    dropped_ever: u64,
    said_full: bool,
    closing: bool,
    gone: bool,
}

impl JournalWriter {
    /// Begins the life that follows `last`, or one behind it if others begin at the same time: its first segment is
    /// there when this returns.
    ///
    /// # Errors
    /// In words: the segment cannot be made.
    pub(crate) fn begin(
        folder: &Path,
        last: u32,
        heads: Heads,
        news: impl Fn(News) + Send + 'static,
    ) -> Result<Self, String> {
        let mut life = last + 1;
        let mut writing = loop {
            match Writing::begin(folder, life, heads.clone()) {
                Ok(writing) => break writing,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => life += 1,
                Err(error) => {
                    return Err(format!("the journal in {}: {error}", folder.display()));
                }
            }
        };
        let shared = Arc::new(Shared::default());
        let threads = Arc::clone(&shared);
        thread::Builder::new()
            .name("ringmw-journal".to_owned())
            .spawn(move || threads.run(&mut writing, &news))
            .map_err(|error| format!("the journal's thread: {error}"))?;
        Ok(JournalWriter { shared, life })
    }

    /// Takes payloads, as the codec's functions put them; `barrier` asks that they be on disk soon, and to be told so.
    /// Never waits.
    pub(crate) fn push(&self, payloads: &[u8], barrier: Option<u64>) {
        let mut queue = self.shared.queue();
        if queue.gone {
            return;
        }
        let waiting = queue.payloads.len() + queue.in_flight;
        if waiting + payloads.len() <= QUEUE_BYTES_MAX {
            queue.payloads.extend_from_slice(payloads);
        } else {
            queue.push_what_must(payloads, waiting);
        }
        if let Some(barrier) = barrier {
            queue.barrier = queue.barrier.max(barrier);
        }
        drop(queue);
        self.shared.work.notify_one();
    }

    /// Results that were not recorded, ever.
    pub(crate) fn unrecorded(&self) -> u64 {
        self.shared.queue().dropped_ever
    }

    /// Waits until all is on disk, at most `bound`; whether it is.
    pub(crate) fn finish(&self, bound: Duration) -> bool {
        let mut queue = self.shared.queue();
        queue.closing = true;
        self.shared.work.notify_one();
        let at_rest = |queue: &Queue| queue.gone;
        (queue, _) = self
            .shared
            .rest
            .wait_timeout_while(queue, bound, |queue| !at_rest(queue))
            .unwrap_or_else(PoisonError::into_inner);
        queue.gone && queue.payloads.is_empty() && queue.in_flight == 0
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.shared.queue().closing = true;
        self.shared.work.notify_one();
    }
}

impl Queue {
    /// Of what does not fit only what must not be lost.
    fn push_what_must(&mut self, payloads: &[u8], waiting: usize) {
        let mut rest = payloads;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let length = u32::from_le_bytes(*length) as usize;
            let (one, next) = rest.split_at(4 + length);
            rest = next;
            let (results, is_offer) = match behind.first() {
                Some(1) => (behind.get(4..8), false),
                kind => (None, kind == Some(&2)),
            };
            let fits =
                !is_offer || waiting + self.payloads.len() + one.len() <= 2 * QUEUE_BYTES_MAX;
            match results {
                Some(count) => {
                    let count = u32::from_le_bytes(count.try_into().expect("4 bytes"));
                    self.dropped += u64::from(count);
                    self.dropped_ever += u64::from(count);
                }
                None if fits => self.payloads.extend_from_slice(one),
                None => {}
            }
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, writing: &mut Writing, news: &dyn Fn(News)) {
        let mut batch = Vec::new();
        let mut synced = 0;
        loop {
            batch.clear();
            let mut queue = self.queue();
            queue.in_flight = 0;
            let now = Instant::now();
            let due = match writing.unsynced {
                Some(since) => (since + SYNC_EVERY).min(writing.look_at),
                None => writing.look_at,
            };
            if queue.payloads.is_empty()
                && !queue.closing
                && queue.barrier == synced
                && let Some(wait) = due.checked_duration_since(now)
            {
                (queue, _) = self
                    .work
                    .wait_timeout(queue, wait)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut queue.payloads, &mut batch);
            queue.in_flight = batch.len();
            let (barrier, closing) = (queue.barrier, queue.closing);
            if queue.dropped > 0 && !queue.said_full {
                queue.said_full = true;
                drop(queue);
                news(News::Full);
            } else {
                drop(queue);
            }
            let done = self.write(writing, &batch, barrier > synced || closing, news);
            if let Err(over) = done {
                if let Over::Later(life) = over {
                    news(News::Superseded(life));
                }
                break;
            }
            if barrier > synced {
                synced = barrier;
                news(News::Synced(barrier));
            }
            let mut queue = self.queue();
            if queue.said_full && queue.payloads.len() < QUEUE_BYTES_MAX / 2 {
                queue.said_full = false;
                let dropped = std::mem::take(&mut queue.dropped);
                drop(queue);
                news(News::Recovered(dropped));
                queue = self.queue();
            }
            if queue.closing && queue.payloads.is_empty() {
                queue.in_flight = 0;
                break;
            }
        }
        let mut queue = self.queue();
        queue.gone = true;
        drop(queue);
        self.rest.notify_all();
    }

    /// Writes a batch, however long the disk refuses; only closing ends that.
    fn write(
        &self,
        writing: &mut Writing,
        batch: &[u8],
        hurry: bool,
        news: &dyn Fn(News),
    ) -> Result<(), Over> {
        let mut rest = batch;
        let mut pause = RETRY.0;
        let mut told = false;
        loop {
            let tried = writing.go_on(&mut rest, hurry);
            match tried {
                Ok(None) => {
                    if told {
                        let dropped = std::mem::take(&mut self.queue().dropped);
                        news(News::Recovered(dropped));
                    }
                    return Ok(());
                }
                Ok(Some(life)) => return Err(Over::Later(life)),
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        news(News::Trouble(error.to_string()));
                    }
                    let queue = self.queue();
                    if queue.closing && pause >= RETRY.1 / 4 {
                        return Err(Over::Closed);
                    }
                    drop(
                        self.work
                            .wait_timeout_while(queue, pause, |queue| !queue.closing)
                            .unwrap_or_else(PoisonError::into_inner),
                    );
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }
}

/// Nothing is written any more.
enum Over {
    /// A later life has begun.
    Later(u32),
    /// The disk refused to the end.
    Closed,
}

/// The segment that is written.
struct Writing {
    folder: PathBuf,
    heads: Heads,
    life: u32,
    number: u32,
    file: Option<File>,
    /// Bytes of it that are whole records.
    at: u64,
    /// Since when something was written and not synced.
    unsynced: Option<Instant>,
    look_at: Instant,
    sealed: Vec<u8>,
}

impl Writing {
    fn begin(folder: &Path, life: u32, heads: Heads) -> io::Result<Self> {
        let mut writing = Writing {
            folder: folder.to_owned(),
            heads,
            life,
            number: 0,
            file: None,
            at: 0,
            unsynced: None,
            look_at: Instant::now() + LOOK_EVERY,
            sealed: Vec::new(),
        };
        writing.next_segment()?;
        Ok(writing)
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let head = Segment {
            life: self.life,
            number,
            begun_us: clock::unix_micros(),
            identity: self.heads.identity.clone(),
            algorithms: self.heads.algorithms.clone(),
        }
        .encode();
        let path = self.folder.join(Segment::file_name(self.life, number));
        let mut file = private::create_new(&path)?;
        self.number = number;
        // Of a head that is cut off nothing is read.
        if let Err(error) = file.write_all(&head).and_then(|()| file.sync_all()) {
            self.file = None;
            return Err(error);
        }
        private::sync_folder(&path)?;
        self.at = head.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// The life that is later than this one, if there is one.
    fn later_life(&mut self) -> io::Result<Option<u32>> {
        self.look_at = Instant::now() + LOOK_EVERY;
        let last = segments(&self.folder)?.last().map_or(0, |last| last.0.0);
        Ok((last > self.life).then_some(last))
    }

    /// Writes what is left of a batch, and syncs where that is due. `Some`: a later life has begun.
    fn go_on(&mut self, rest: &mut &[u8], hurry: bool) -> io::Result<Option<u32>> {
        if Instant::now() >= self.look_at
            && let Some(life) = self.later_life()?
        {
            return Ok(Some(life));
        }
        while !rest.is_empty() {
            if self.file.is_none() || self.at >= SEGMENT_BYTES {
                if let Some(life) = self.later_life()? {
                    return Ok(Some(life));
                }
                self.sync()?;
                self.next_segment()?;
            }
            let part = some(rest);
            self.sealed.clear();
            seal(&mut self.sealed, (self.life, self.number), self.at, part);
            let file = self.file.as_ref().expect("it was opened above");
            if let Err(error) = file.write_all_at(&self.sealed, self.at) {
                // What is half written is taken back, else it is the torn end of this segment.
                if file.set_len(self.at).is_err() {
                    self.file = None;
                }
                return Err(error);
            }
            self.at += self.sealed.len() as u64;
            self.unsynced.get_or_insert_with(Instant::now);
            *rest = &rest[part.len()..];
        }
        let is_due = self
            .unsynced
            .is_some_and(|since| since.elapsed() >= SYNC_EVERY);
        if hurry || is_due {
            self.sync()?;
        }
        Ok(None)
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.unsynced.is_some()
            && let Some(file) = &self.file
        {
            if let Err(error) = file.sync_data() {
                // What was written may be lost, and a second try would not say so: the next segment is another file.
                self.file = None;
                self.unsynced = None;
                return Err(error);
            }
            self.unsynced = None;
        }
        Ok(())
    }
}

/// Whole payloads from the front, about as much as is written at once; at least one.
fn some(payloads: &[u8]) -> &[u8] {
    let mut end = 0;
    while let Some(length) = payloads[end..].first_chunk::<4>() {
        end += 4 + u32::from_le_bytes(*length) as usize;
        if end >= WRITE_BYTES {
            break;
        }
    }
    &payloads[..end]
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use ringmw_codec::journal::{
        Identity, Segment, begin_results, hash_args, hash_name, key, put_begun, put_result,
    };

    use super::{Heads, JournalWriter, News, QUEUE_BYTES_MAX, Queue};
    use crate::io::files::journal::{Waived, open};
    use crate::io::files::private;
    use crate::proto::known::Outputs;

    fn heads(seed: u64) -> Heads {
        Heads {
            identity: Identity {
                seed,
                ..Identity::default()
            },
            algorithms: vec!["pi".into()],
        }
    }

    fn result(stream: u64, output: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let table = begin_results(&mut out, 0, 1, 0, (1, stream), output.len());
        put_result(&mut out, table, 0, hash_args(b""), 5, output);
        out
    }

    const BOUND: Duration = Duration::from_secs(60);

    #[test]
    fn what_is_written_is_read_by_the_next_life() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("journal");
        for life in 1..4u64 {
            let (news, heard) = mpsc::channel();
            let mut opened = open(
                &folder,
                &heads(1).identity,
                Waived::default(),
                false,
                |_, _| {},
            )
            .expect("ours");
            assert_eq!(opened.known.tally().results, 100 * (life - 1));
            assert_eq!(u64::from(opened.last_life), life - 1);
            for stream in 0..100 * (life - 1) {
                let key = key(hash_name("pi"), 1, stream, hash_args(b""));
                let found = opened.known.find(key).expect("recorded").place();
                let mut output = Vec::new();
                assert!(opened.files.read(found, &mut output));
                assert_eq!(output, stream.to_le_bytes());
            }
            let writer = JournalWriter::begin(&folder, opened.last_life, heads(1), move |said| {
                let _ = news.send(said);
            })
            .expect("begun");
            assert_eq!(u64::from(writer.life), life);
            for stream in 100 * (life - 1)..100 * life {
                writer.push(&result(stream, &stream.to_le_bytes()), None);
            }
            writer.push(&[], Some(7));
            assert_eq!(heard.recv_timeout(BOUND), Ok(News::Synced(7)));
            assert!(writer.finish(BOUND));
        }
        let error = open(
            &folder,
            &heads(2).identity,
            Waived::default(),
            false,
            |_, _| {},
        )
        .expect_err("of another seed");
        assert!(error.contains("seed 1, this run has 2"), "{error}");
    }

    /// Two that begin at the same time have lives of their own, and the earlier one ends.
    #[test]
    fn a_later_life_ends_an_earlier_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let (news, heard) = mpsc::channel();
        let say = move |said| {
            let _ = news.send(said);
        };
        let first = JournalWriter::begin(dir.path(), 0, heads(1), say).expect("begun");
        let second = JournalWriter::begin(dir.path(), 0, heads(1), |_| {}).expect("begun");
        assert_eq!((first.life, second.life), (1, 2));
        // A segment's worth makes it look.
        let output = vec![0; 16 << 20];
        for stream in 0..5 {
            let is_waiting = || {
                let queue = first.shared.queue();
                queue.payloads.len() + queue.in_flight > 0
            };
            while is_waiting() {
                std::thread::yield_now();
            }
            first.push(&result(stream, &output), None);
        }
        assert_eq!(heard.recv_timeout(BOUND), Ok(News::Superseded(2)));
        assert!(!private::beside(dir.path(), "/000001-000002.journal").exists());
    }

    #[test]
    fn a_full_queue_drops_results_alone() {
        let mut queue = Queue::default();
        let mut payloads = result(1, b"x");
        let dropped = payloads.len();
        put_begun(&mut payloads, false, &[]);
        queue.push_what_must(&payloads, QUEUE_BYTES_MAX);
        assert_eq!(queue.dropped, 1);
        assert_eq!(queue.payloads, payloads[dropped..]);
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let taken = dir.path().join(Segment::file_name(1, 1));
        std::fs::write(taken, b"torn").expect("ours");
        let writer = JournalWriter::begin(dir.path(), 0, heads(1), |_| {}).expect("begun");
        assert_eq!(writer.life, 2);
    }
}
