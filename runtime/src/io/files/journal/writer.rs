//! The thread that writes the journal: the master's thread gives it payloads and never waits for it. What it does with
//! them `proto::recording` says; here it waits, for what is queued or for a time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_sched::Nanos;

use super::Folder;
use crate::io::clock;
use crate::proto::disk::Disk;
use crate::proto::recording::{Backlog, Heads, News, Recording, Rest};

/// The writer of this life's segments. Dropping it ends the thread, after what is queued was written or the disk refused.
#[derive(Debug)]
pub(crate) struct JournalWriter {
    shared: Arc<Shared>,
    /// The number of this life.
    pub(crate) life: u32,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Backlog>,
    /// Rung for the thread.
    work: Condvar,
    /// Rung when nothing will be written any more.
    rest: Condvar,
}

/// The thread's time.
struct Since(Instant);

impl Since {
    fn now(&self) -> Nanos {
        u64::try_from(self.0.elapsed().as_nanos()).expect("a run is shorter than 584 years")
    }

    /// How long it is until then.
    fn until(&self, at: Nanos) -> Duration {
        Duration::from_nanos(at.saturating_sub(self.now()))
    }
}

impl JournalWriter {
    /// Begins the life that follows `last`, or one behind it if others begin at the same time: its first segment is
    /// there when this returns.
    ///
    /// # Errors
    /// In words: the segment cannot be made.
    pub(crate) fn begin(
        mut folder: Folder,
        last: u32,
        heads: Heads,
        news: impl Fn(News) + Send + 'static,
    ) -> Result<Self, String> {
        let since = Since(Instant::now());
        let begun = Recording::begin(&mut folder, last, heads, clock::unix_micros(), since.now());
        let mut recording =
            begun.map_err(|error| format!("the journal in {}: {error}", folder.shown(None)))?;
        let life = recording.life;
        let shared = Arc::new(Shared::default());
        let threads = Arc::clone(&shared);
        thread::Builder::new()
            .name("ringmw-journal".to_owned())
            .spawn(move || threads.run(&mut recording, &mut folder, &since, &news))
            .map_err(|error| format!("the journal's thread: {error}"))?;
        Ok(JournalWriter { shared, life })
    }

    /// Takes payloads, as the codec's functions put them; `barrier` asks that they be on disk soon, and to be told so.
    /// Never waits.
    pub(crate) fn push(&self, payloads: &[u8], barrier: Option<u64>) {
        self.shared.queue().push(payloads, barrier);
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
        (queue, _) = self
            .shared
            .rest
            .wait_timeout_while(queue, bound, |queue| !queue.gone)
            .unwrap_or_else(PoisonError::into_inner);
        queue.gone && queue.is_empty()
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.shared.queue().closing = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Backlog> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(
        &self,
        recording: &mut Recording,
        folder: &mut Folder,
        since: &Since,
        news: &dyn Fn(News),
    ) {
        loop {
            let time = (since.now(), clock::unix_micros());
            let rest = recording.round(folder, &|| self.queue(), time, &mut |said| news(said));
            let queue = self.queue();
            match rest {
                Rest::Over => break,
                // What is queued meanwhile rings.
                Rest::Until(at) if queue.is_idle(recording.synced()) => drop(
                    self.work
                        .wait_timeout(queue, since.until(at))
                        .unwrap_or_else(PoisonError::into_inner),
                ),
                Rest::Until(_) => {}
                Rest::Pause(at) => drop(
                    self.work
                        .wait_timeout_while(queue, since.until(at), |queue| !queue.closing)
                        .unwrap_or_else(PoisonError::into_inner),
                ),
            }
        }
        self.rest.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Duration;

    use ringmw_codec::journal::{
        Identity, Segment, begin_results, hash_args, hash_name, key, put_result,
    };

    use super::{Heads, JournalWriter, News};
    use crate::io::files::journal::{Files, Folder};
    use crate::io::files::private;
    use crate::proto::known::Outputs;
    use crate::proto::lives::Opened;

    fn open(path: &Path, identity: &Identity) -> Result<(Opened, Files), String> {
        private::folder(path)?;
        Folder::new(path.to_owned()).open(identity)
    }

    fn begin(path: &Path, last: u32, news: impl Fn(News) + Send + 'static) -> JournalWriter {
        let news = move |said| match said {
            News::Progress => {}
            said => news(said),
        };
        JournalWriter::begin(Folder::new(path.to_owned()), last, heads(1), news).expect("begun")
    }

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
            let (opened, mut files) = open(&folder, &heads(1).identity).expect("ours");
            assert_eq!(opened.known.tally().results, 100 * (life - 1));
            assert_eq!(u64::from(opened.last_life), life - 1);
            for stream in 0..100 * (life - 1) {
                let key = key(hash_name("pi"), 1, stream, hash_args(b""));
                let found = opened.known.find(key).expect("recorded").place();
                let mut output = Vec::new();
                assert!(files.read(found, &mut output));
                assert_eq!(output, stream.to_le_bytes());
            }
            let writer = begin(&folder, opened.last_life, move |said| {
                let _ = news.send(said);
            });
            assert_eq!(u64::from(writer.life), life);
            for stream in 100 * (life - 1)..100 * life {
                writer.push(&result(stream, &stream.to_le_bytes()), None);
            }
            writer.push(&[], Some(7));
            assert_eq!(heard.recv_timeout(BOUND), Ok(News::Synced(7)));
            assert!(writer.finish(BOUND));
        }
        let error = open(&folder, &heads(2).identity).expect_err("of another seed");
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
        let first = begin(dir.path(), 0, say);
        let second = begin(dir.path(), 0, |_| {});
        assert_eq!((first.life, second.life), (1, 2));
        // A segment's worth makes it look.
        let output = vec![0; 16 << 20];
        for stream in 0..5 {
            while !first.shared.queue().is_empty() {
                std::thread::yield_now();
            }
            first.push(&result(stream, &output), None);
        }
        assert_eq!(heard.recv_timeout(BOUND), Ok(News::Superseded(2)));
        assert!(!private::beside(dir.path(), "/000001-000002.journal").exists());
    }

    #[test]
    fn a_name_that_is_taken_is_passed_over() {
        let dir = tempfile::tempdir().expect("a folder");
        let taken = dir.path().join(Segment::file_name(1, 1));
        std::fs::write(taken, b"torn").expect("ours");
        let writer = begin(dir.path(), 0, |_| {});
        assert_eq!(writer.life, 2);
    }
}
