//! Writes tasks that gave no output into a folder, to be run again by themselves: a file each, on a thread of its own.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ringmw_codec::journal::{FailedFile, Identity};

use crate::io::files::private;
use crate::proto::task_name::TaskName;

/// Files that wait for the disk; what comes while it is so slow is not kept.
const WAITING_MAX: usize = 16;
/// Names that are tried for a task whose file is there already, of a life before.
const NAMES_MAX: u32 = 100;

/// The folder, and the thread that writes into it.
pub(crate) struct KeptWriter {
    files: Option<SyncSender<FailedFile>>,
    thread: Option<JoinHandle<()>>,
    identity: Identity,
}

/// What the thread tells.
pub(crate) enum News {
    /// A task is kept in this file.
    Kept(u64, PathBuf),
    /// A file could not be written.
    Trouble(String),
}

/// How many files of kept tasks are in a folder, which is made if it is not there, and how many bytes they have.
///
/// # Errors
/// In words: it cannot be made or read, or others may write it.
pub(crate) fn open(folder: &Path) -> Result<(usize, u64), String> {
    private::folder(folder)?;
    let named = |error: io::Error| format!("{}: {error}", folder.display());
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        if entry.file_name().to_string_lossy().starts_with("TASK-") {
            files += 1;
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok((files, bytes))
}

impl KeptWriter {
    /// Begins to write tasks of this identity and of this life of the run, 0 or 1 for the first; `tell` is called from the thread.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(crate) fn start(
        folder: PathBuf,
        life: u32,
        identity: Identity,
        tell: impl Fn(News) + Send + 'static,
    ) -> io::Result<Self> {
        let (files, inbox) = sync_channel::<FailedFile>(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ringmw-kept".to_owned())
            .spawn(move || {
                for file in inbox {
                    let news = match write(&folder, life, &file) {
                        Ok(path) => News::Kept(file.task, path),
                        Err(error) => News::Trouble(format!(
                            "{} cannot be kept in {}: {error}",
                            name_of(&file, life),
                            folder.display()
                        )),
                    };
                    tell(news);
                }
            })?;
        Ok(KeptWriter {
            files: Some(files),
            thread: Some(thread),
            identity,
        })
    }

    /// Writes a task soon. False: the disk is too far behind, and this one is not kept.
    pub(crate) fn push(&self, file: FailedFile) -> bool {
        let identity = self.identity.clone();
        let files = self.files.as_ref().expect("it is not finished");
        let sent = files.try_send(FailedFile { identity, ..file });
        !matches!(sent, Err(TrySendError::Full(_)))
    }
}

impl Drop for KeptWriter {
    /// What waits is written first.
    fn drop(&mut self) {
        self.files = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn name_of(file: &FailedFile, life: u32) -> TaskName {
    let task = file.task;
    TaskName { task, life }
}

fn write(folder: &Path, life: u32, file: &FailedFile) -> io::Result<PathBuf> {
    let (bytes, task) = (file.encode(), name_of(file, life));
    for nth in 1..=NAMES_MAX {
        let name = match nth {
            1 => task.to_string(),
            _ => format!("{task}-{nth}"),
        };
        let path = folder.join(name);
        match private::create_new(&path) {
            Ok(mut new) => {
                let written = new.write_all(&bytes);
                if written.is_err() {
                    // Half a file is worth nothing.
                    let _ = fs::remove_file(&path);
                }
                return written.map(|()| path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("there are too many files of this name"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_task_is_written_for_its_user_alone_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("failed");
        assert_eq!(open(&folder), Ok((0, 0)));
        let identity = Identity {
            seed: 7,
            ..Identity::default()
        };
        let (send, news) = channel();
        let tell = move |news| send.send(news).unwrap();
        let writer = KeptWriter::start(folder.clone(), 0, identity.clone(), tell).unwrap();
        for message in ["one", "two"] {
            assert!(writer.push(FailedFile {
                task: 3,
                message: message.to_owned(),
                ..FailedFile::default()
            }));
        }
        drop(writer);
        for (name, message) in [("TASK-3", "one"), ("TASK-3-2", "two")] {
            let News::Kept(3, path) = news.recv().unwrap() else {
                panic!("it is kept");
            };
            assert_eq!(path, folder.join(name));
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let file = FailedFile::decode(&fs::read(path).unwrap()).unwrap();
            assert_eq!((&*file.message, &file.identity), (message, &identity));
        }
        assert_eq!(open(&folder).unwrap().0, 2);
    }
}
