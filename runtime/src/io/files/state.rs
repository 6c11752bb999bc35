//! The state file's thread: the newest state is written aside and renamed, a generation is kept beside it. One that cannot be
//! read is never kept in the place of one that can.
//!
//! A state that comes while another one is written waits; one that comes while one waits takes its place, and both are told
//! when it is on disk. A life that has a successor writes none: it is told so, and the run of it ends.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use ringmw_codec::journal::StateFile;
use tokio::sync::oneshot;

use super::life::OwnLife;
use super::private;

/// How a write or a read ends, in words where it fails.
pub(crate) type Answer<T> = oneshot::Receiver<Result<T, String>>;

/// A state that is whole, and what is wrong with a newer one; none where nothing was saved.
pub(crate) type Newest = Option<(StateFile, Option<String>)>;

/// Where states are kept.
pub(crate) trait StateStore {
    /// Keeps a state; told when it is safe.
    fn write(&self, file: Vec<u8>) -> Answer<()>;

    /// The state that was kept last and is whole; and what is wrong with a newer one.
    fn read(&self) -> Answer<Newest>;
}

/// A file, and the one before it.
#[derive(Debug)]
pub(crate) struct FileStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    work: Mutex<Work>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Work {
    write: Option<Vec<u8>>,
    written: Vec<oneshot::Sender<Result<(), String>>>,
    reads: Vec<oneshot::Sender<Result<Newest, String>>>,
    closing: bool,
}

impl FileStore {
    /// `superseded` is told of the life's successor, should it have one when a state is to be written.
    ///
    /// # Errors
    /// In words: no thread is to be had.
    pub(crate) fn open(
        path: PathBuf,
        life: OwnLife,
        superseded: impl Fn(u32) + Send + 'static,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            path,
            work: Mutex::default(),
            rung: Condvar::new(),
        });
        let threads = Arc::clone(&shared);
        thread::Builder::new()
            .name("ringmw-state".to_owned())
            .spawn(move || threads.run(&life, &superseded))
            .map_err(|error| format!("the state file's thread: {error}"))?;
        Ok(FileStore { shared })
    }
}

impl StateStore for FileStore {
    fn write(&self, file: Vec<u8>) -> Answer<()> {
        let (sender, answer) = oneshot::channel();
        let mut work = self.shared.work();
        work.write = Some(file);
        work.written.push(sender);
        drop(work);
        self.shared.rung.notify_one();
        answer
    }

    fn read(&self) -> Answer<Newest> {
        let (sender, answer) = oneshot::channel();
        self.shared.work().reads.push(sender);
        self.shared.rung.notify_one();
        answer
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.shared.work().closing = true;
        self.shared.rung.notify_one();
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, life: &OwnLife, superseded: &dyn Fn(u32)) {
        // What this thread has written is whole.
        let mut is_ours = false;
        // Nobody is told that a state is safe once a later life keeps its own; the run ends meanwhile.
        let mut unanswered = Vec::new();
        loop {
            let mut work = self.work();
            while work.write.is_none() && work.reads.is_empty() {
                if work.closing {
                    return;
                }
                work = self.rung.wait(work).unwrap_or_else(PoisonError::into_inner);
            }
            let (write, written) = (work.write.take(), std::mem::take(&mut work.written));
            let reads = std::mem::take(&mut work.reads);
            drop(work);
            let successor = write.as_ref().and_then(|_| life.successor());
            if let Some(later) = successor {
                unanswered.extend(written);
                superseded(later);
            } else if let Some(file) = write {
                let keeps = is_ours
                    || std::fs::read(&self.path).is_ok_and(|there| is_worth_keeping(&there));
                let done = private::replace(&self.path, &file, keeps)
                    .map_err(|error| format!("{}: {error}", self.path.display()));
                is_ours = done.is_ok();
                for sender in written {
                    let _ = sender.send(done.clone());
                }
            }
            for sender in reads {
                let _ = sender.send(read(&self.path));
            }
        }
    }
}

/// Whether a state that is about to be replaced becomes the one before the newest: it can be read.
pub(crate) fn is_worth_keeping(file: &[u8]) -> bool {
    StateFile::decode(file).is_ok()
}

/// The newest state that is whole, of what files of these names hold, the newest first.
pub(crate) fn newest(files: [(String, Option<Vec<u8>>); 2]) -> Result<Newest, String> {
    let mut wrong = None;
    for (name, bytes) in files {
        let Some(bytes) = bytes else {
            continue;
        };
        match StateFile::decode(&bytes) {
            Ok(state) => return Ok(Some((state, wrong))),
            Err(error) => {
                wrong.get_or_insert(format!("{name}: {error}"));
            }
        }
    }
    match wrong {
        None => Ok(None),
        Some(wrong) => Err(format!(
            "{wrong}; nor is the one before it whole; remove both to begin anew"
        )),
    }
}

fn read(path: &Path) -> Result<Newest, String> {
    let file = |path: PathBuf| -> Result<_, String> {
        let bytes = private::read(&path)?;
        Ok((path.display().to_string(), bytes))
    };
    newest([file(path.to_owned())?, file(private::generation(path))?])
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use ringmw_codec::journal::{RunFile, StateFile};

    use super::{FileStore, StateStore};
    use crate::io::files::life::OwnLife;
    use crate::io::files::private;

    /// The state of a run in this folder, in a life of this number.
    fn life(dir: &Path, number: u32) -> (FileStore, mpsc::Receiver<u32>) {
        let begun = RunFile {
            life: number,
            ..RunFile::default()
        };
        let (superseded, heard) = mpsc::channel();
        let life = OwnLife::begin(dir.join("run"), begun).expect("the folder is there");
        let store = FileStore::open(dir.join("state"), life, move |later| {
            superseded.send(later).expect("somebody listens");
        });
        (store.expect("a thread"), heard)
    }

    fn state(value: &[u8]) -> StateFile {
        StateFile {
            value: value.to_vec(),
            ..StateFile::default()
        }
    }

    #[test]
    fn a_torn_state_falls_back_to_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state");
        let (store, _heard) = life(dir.path(), 1);
        let read = || store.read().blocking_recv().expect("answered");
        assert_eq!(read(), Ok(None));
        for value in [b"one", b"two"] {
            let written = store.write(state(value).encode()).blocking_recv();
            assert_eq!(written.expect("answered"), Ok(()));
        }
        assert_eq!(read(), Ok(Some((state(b"two"), None))));
        let whole = std::fs::read(&path).expect("there");
        std::fs::write(&path, &whole[..whole.len() - 1]).expect("ours");
        let (found, wrong) = read().expect("readable").expect("the one before");
        assert_eq!(found, state(b"one"));
        assert!(wrong.expect("told").contains("cut off"));
        std::fs::write(private::generation(&path), b"RWstate\0").expect("ours");
        assert!(read().expect_err("none is whole").contains("begin anew"));
    }

    /// The master was killed and its newest state is torn: the next life saves one, which is torn too.
    #[test]
    fn a_torn_state_does_not_take_the_place_of_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state");
        let mut lives = 0;
        let mut open = || {
            lives += 1;
            life(dir.path(), lives).0
        };
        let write = |store: &FileStore, value: &[u8]| {
            let written = store.write(state(value).encode()).blocking_recv();
            assert_eq!(written.expect("answered"), Ok(()));
        };
        let tear = || {
            let whole = std::fs::read(&path).expect("there");
            std::fs::write(&path, &whole[..whole.len() / 2]).expect("ours");
        };
        let found = |store: &FileStore| {
            let read = store.read().blocking_recv().expect("answered");
            read.expect("one is whole").expect("there").0.value
        };
        let first = open();
        write(&first, b"one");
        write(&first, b"two");
        for next in [&b"three"[..], b"four"] {
            tear();
            let life = open();
            assert_eq!(found(&life), b"one");
            write(&life, next);
            assert_eq!(found(&life), next);
        }
        tear();
        assert_eq!(found(&open()), b"one");
        let life = open();
        write(&life, b"five");
        write(&life, b"six");
        tear();
        assert_eq!(found(&life), b"five");
    }

    /// It was stopped, and saves once it goes on.
    #[test]
    fn an_earlier_life_leaves_the_state_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let (first, heard) = life(dir.path(), 1);
        let saved = |store: &FileStore, value: &[u8]| store.write(state(value).encode());
        assert_eq!(saved(&first, b"one").blocking_recv(), Ok(Ok(())));
        let (second, _heard) = life(dir.path(), 2);
        assert_eq!(saved(&second, b"two").blocking_recv(), Ok(Ok(())));
        let unanswered = saved(&first, b"three");
        assert_eq!(heard.recv(), Ok(2));
        let found = first.read().blocking_recv().expect("answered");
        assert_eq!(found, Ok(Some((state(b"two"), None))));
        drop(unanswered);
    }
}
