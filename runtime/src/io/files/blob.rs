//! A file that is shared: its name once, then parts of it, read again whenever they are sent, and never mapped.
//!
//! Whether it is still what it was is judged by its status before each reading: who writes a file changes its time of
//! change, which no program can set.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use ringmw_codec::shared::{BlobName, BlobRef};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};

use crate::proto::blob::BlobFile;

/// What is read at a time for the name.
const CHUNK_BYTES: usize = 1 << 20;

/// A file as it was when it was named.
pub(crate) struct SharedFile {
    file: File,
    path: String,
    stamp: Stamp,
}

#[derive(PartialEq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &File) -> io::Result<Stamp> {
        let status = file.metadata()?;
        Ok(Stamp {
            bytes: status.len(),
            modified: (status.mtime(), status.mtime_nsec()),
            changed: (status.ctime(), status.ctime_nsec()),
        })
    }
}

impl SharedFile {
    /// Reads a file for its name. Long: for a thread of its own.
    ///
    /// # Errors
    /// When it cannot be read, is no plain file, or changes meanwhile; the error names it.
    pub(crate) fn open(path: &Path) -> io::Result<(BlobRef, SharedFile)> {
        let named =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let open = || {
            let mut file = File::open(path)?;
            if !file.metadata()?.is_file() {
                return Err(io::Error::other("not a plain file"));
            }
            let stamp = Stamp::of(&file)?;
            let mut hash = blake3::Hasher::new();
            let mut chunk = vec![0; CHUNK_BYTES];
            let mut bytes = 0;
            loop {
                let read = file.read(&mut chunk)?;
                if read == 0 {
                    break;
                }
                hash.update(&chunk[..read]);
                bytes += read as u64;
            }
            if bytes != stamp.bytes || Stamp::of(&file)? != stamp {
                return Err(io::Error::other("it changed while it was read"));
            }
            let name = BlobName(*hash.finalize().as_bytes());
            let path = path.display().to_string();
            Ok((BlobRef { name, bytes }, SharedFile { file, path, stamp }))
        };
        open().map_err(named)
    }
}

impl BlobFile for SharedFile {
    fn read(&self, from: u64, bytes: usize) -> Result<Vec<u8>, String> {
        let read = || {
            let mut part = Vec::with_capacity(bytes);
            while part.len() < bytes {
                let at = from + part.len() as u64;
                match pread(&self.file, spare_capacity(&mut part), at) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            // After the reading: what was read is of the file as it was.
            match Stamp::of(&self.file)? == self.stamp {
                true => Ok(part),
                false => Err(io::Error::other("it has changed since it was shared")),
            }
        };
        read().map_err(|error: io::Error| format!("{}: {error}", self.path))
    }
}
