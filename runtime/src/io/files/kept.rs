//! Writes tasks that gave no output into a folder, to be run again by themselves: a file each, and the shared data that
//! they name beside them, by the name of its content; on a thread of its own.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use ringmw_codec::journal::Identity;
use ringmw_codec::shared::{BlobName, BlobRef};

use crate::io::files::private;
use crate::proto::blob::{Blob, Source, name_of};
use crate::proto::failed::{Folder, KeptTask};
use crate::proto::task_name::TaskName;

/// Files that wait for the disk; what comes while it is so slow is not kept.
const WAITING_MAX: usize = 16;
/// Names that are tried for a task whose file is there already, of a life before.
const NAMES_MAX: u32 = 100;

/// How the files of shared data begin; the name's digits follow.
const SHARED: &str = "SHARED-";
/// What is read of a file that is shared at a time.
const CHUNK_BYTES: u64 = 1 << 20;

/// The folder, and the thread that writes into it.
pub(crate) struct KeptWriter {
    files: Option<SyncSender<KeptTask>>,
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

/// What a folder of kept tasks has, which is made if it is not there.
///
/// # Errors
/// In words: it cannot be made or read, or others may write it.
pub(crate) fn open(folder: &Path) -> Result<Folder, String> {
    private::folder(folder)?;
    let named = |error: io::Error| format!("{}: {error}", folder.display());
    let mut has = Folder::default();
    for entry in fs::read_dir(folder).map_err(named)? {
        let entry = entry.map_err(named)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_task = name.starts_with("TASK-");
        let shared = name.strip_prefix(SHARED).and_then(blob_name);
        if is_task || shared.is_some() {
            has.tasks += usize::from(is_task);
            has.bytes += entry.metadata().map_or(0, |metadata| metadata.len());
            has.shared.extend(shared);
        }
    }
    Ok(has)
}

fn blob_name(digits: &str) -> Option<BlobName> {
    let mut name = [0; 32];
    for (byte, at) in name.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(at..at + 2)?, 16).ok()?;
    }
    (digits.len() == 2 * name.len()).then_some(BlobName(name))
}

/// Where shared data stands in a folder.
fn path_of(folder: &Path, name: BlobName) -> PathBuf {
    let digits: String = name.0.iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(format!("{SHARED}{digits}"))
}

/// The shared data that a task names, from beside its file.
///
/// # Errors
/// In words: it is not there, cannot be read, or is not what it was.
pub(crate) fn read_shared(folder: &Path, of: BlobRef) -> Result<Vec<u8>, String> {
    let path = path_of(folder, of.name);
    let bytes = private::read(&path)?.ok_or_else(|| {
        format!(
            "its arguments name shared data of {} bytes, which would stand in {}: that file was not kept, or is gone",
            of.bytes,
            path.display()
        )
    })?;
    match name_of(&bytes) == of.name && bytes.len() as u64 == of.bytes {
        true => Ok(bytes),
        false => Err(format!("{}: it is damaged", path.display())),
    }
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
        let (files, inbox) = sync_channel::<KeptTask>(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("ringmw-kept".to_owned())
            .spawn(move || {
                for task in inbox {
                    let name = task_name(&task, life);
                    for blob in task.shared.iter() {
                        if let Err(error) = write_shared(&folder, blob) {
                            tell(News::Trouble(format!(
                                "shared data that {name} names cannot be kept in {}: {error}",
                                folder.display()
                            )));
                        }
                    }
                    let news = match write(&folder, life, &task) {
                        Ok(path) => News::Kept(task.file.task, path),
                        Err(error) => News::Trouble(format!(
                            "{name} cannot be kept in {}: {error}",
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
    pub(crate) fn push(&self, mut task: KeptTask) -> bool {
        task.file.identity = self.identity.clone();
        let files = self.files.as_ref().expect("it is not finished");
        let sent = files.try_send(task);
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

/// Once for all tasks that name it: whole, or not at all.
fn write_shared(folder: &Path, blob: &Blob) -> io::Result<()> {
    let path = path_of(folder, blob.of.name);
    if path.exists() {
        return Ok(());
    }
    let aside = private::beside(&path, ".new");
    let _ = fs::remove_file(&aside);
    let written = copy_shared(blob, &aside).and_then(|()| fs::rename(&aside, &path));
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

fn copy_shared(blob: &Blob, path: &Path) -> io::Result<()> {
    let mut new = private::create_new(path)?;
    let file = match &blob.source {
        Source::Memory(bytes) => return new.write_all(bytes),
        Source::File(file) => file,
    };
    let mut from = 0;
    while from < blob.of.bytes {
        let bytes = (blob.of.bytes - from).min(CHUNK_BYTES);
        let chunk = file.read(from, bytes as usize).map_err(io::Error::other)?;
        new.write_all(&chunk)?;
        from += bytes;
    }
    Ok(())
}

fn task_name(KeptTask { file, .. }: &KeptTask, life: u32) -> TaskName {
    let task = file.task;
    TaskName { task, life }
}

fn write(folder: &Path, life: u32, kept: &KeptTask) -> io::Result<PathBuf> {
    let (bytes, task) = (kept.file.encode(), task_name(kept, life));
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
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use ringmw_codec::journal::FailedFile;

    use super::*;
    use crate::proto::blob::Named;

    #[test]
    fn a_task_is_written_for_its_user_alone_and_nothing_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("failed");
        assert_eq!(open(&folder), Ok(Folder::default()));
        let blob = Arc::new(Blob::in_memory(vec![9; 3_000_000]));
        let mut shared = Named::default();
        shared.push(&blob);
        let identity = Identity {
            seed: 7,
            ..Identity::default()
        };
        let (send, news) = channel();
        let tell = move |news| send.send(news).unwrap();
        let writer = KeptWriter::start(folder.clone(), 0, identity.clone(), tell).unwrap();
        for message in ["one", "two"] {
            let file = FailedFile {
                task: 3,
                message: message.to_owned(),
                ..FailedFile::default()
            };
            let shared = shared.clone();
            assert!(writer.push(KeptTask { file, shared }));
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
        let has = open(&folder).unwrap();
        assert!(has.tasks == 2 && has.shared == [blob.of.name].into() && has.bytes > 3_000_000);
        assert_eq!(read_shared(&folder, blob.of), Ok(vec![9; 3_000_000]));
        let path = path_of(&folder, blob.of.name);
        fs::write(&path, "another's").unwrap();
        let error = read_shared(&folder, blob.of).unwrap_err();
        assert!(error.ends_with("it is damaged"), "{error}");
        fs::remove_file(path).unwrap();
        let error = read_shared(&folder, blob.of).unwrap_err();
        assert!(error.contains("of 3000000 bytes"), "{error}");
    }
}
