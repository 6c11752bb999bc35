//! A trail that is begun anew at a size: `FILE` is the newest, `FILE.1` the one before, and so on.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Out;

/// The size at which a file is begun anew, in bytes, and how many of those before are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rotate {
    pub(crate) bytes: u64,
    pub(crate) keep: u32,
}

/// The file, and how full it is.
pub(super) struct Rotating {
    path: PathBuf,
    rotate: Rotate,
    file: File,
    bytes: u64,
}

impl Rotating {
    pub(super) fn new(path: PathBuf, rotate: Rotate, file: File) -> io::Result<Self> {
        let bytes = file.metadata()?.len();
        Ok(Rotating {
            path,
            rotate,
            file,
            bytes,
        })
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{number}"));
        name.into()
    }

    /// The next file is there before the last one is moved: where there can be none, the last one goes on.
    fn begin_anew(&mut self) -> io::Result<()> {
        let mut next = OsString::from(&self.path);
        next.push(".new");
        let next = Path::new(&next);
        let file = OpenOptions::new().append(true).create(true).open(next)?;
        for number in (1..self.rotate.keep).rev() {
            move_if_there(&self.numbered(number), &self.numbered(number + 1))?;
        }
        move_if_there(&self.path, &self.numbered(1))?;
        fs::rename(next, &self.path)?;
        (self.file, self.bytes) = (file, 0);
        Ok(())
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        moved => moved,
    }
}

impl Write for Rotating {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Out for Rotating {
    /// A file is longer than it may be only where one batch of lines is.
    fn on_batch(&mut self, bytes: usize) {
        let is_full = self.bytes > 0 && self.bytes + bytes as u64 > self.rotate.bytes;
        if is_full {
            // In a folder that takes no file the last one goes on: lines are worth more than the bound.
            let _ = self.begin_anew();
        }
    }

    fn wait_until_writable(&self) {
        self.file.wait_until_writable();
    }
}
