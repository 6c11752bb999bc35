//! The journal's files: a folder of segments, and a thread that writes this life's.
//!
//! ```text
//!   DIR/run                       which run it is
//!   DIR/000001-000001.journal     first life, first segment
//!   DIR/000002-000001.journal     second life: each writes segments of its own, created exclusively
//! ```
//!
//! No lock file: it must work on NFS and Lustre. Two masters of one run cannot write into one file; the earlier one sees
//! the later one's segments, and ends.
//!
//! | module | owns |
//! |---|---|
//! | this | the folder: segments are listed, read, made, written, synced |
//! | [`writer`] | the thread |
//!
//! What is in the files, `ringmw_codec::journal` says; what a life finds of those before it, `proto::lives`; how it records,
//! `proto::recording`; what is recorded and what it is good for, the core.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ringmw_codec::journal::{Identity, Segment};

use super::private;
use crate::proto::disk::{Disk, Name, Unread};
use crate::proto::known::{Outputs, Place};
use crate::proto::lives::{Opened, Reading, Waived};

pub(crate) mod writer;

/// A folder of segments.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Those that were read.
    read: BTreeMap<Name, File>,
    /// The one that was made last.
    last: Option<File>,
}

impl Folder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Folder {
            path,
            read: BTreeMap::new(),
            last: None,
        }
    }

    /// All that lives of this identity left, with nothing waived.
    pub(crate) fn open(mut self, identity: &Identity) -> Result<(Opened, Files), String> {
        let reading = Reading {
            identity,
            waived: Waived::default(),
            failures: false,
            before: u32::MAX,
        };
        let opened = reading.open(&mut self, |_, _| {})?;
        let files = self.into_files(&opened.read);
        Ok((opened, files))
    }

    /// The segments that were read, in this order.
    pub(crate) fn into_files(mut self, names: &[Name]) -> Files {
        let files = names.iter().map(|name| self.read.remove(name));
        Files(files.collect())
    }

    fn path(&self, (life, number): Name) -> PathBuf {
        self.path.join(Segment::file_name(life, number))
    }

    fn last(&self) -> io::Result<&File> {
        self.last
            .as_ref()
            .ok_or_else(|| io::Error::other("no segment could be made"))
    }
}

impl Disk for Folder {
    fn segments(&mut self) -> io::Result<Vec<Name>> {
        segments(&self.path)
    }

    /// Of a file that is opened anew: what another host wrote and closed is seen on NFS then.
    fn bytes(&mut self, name: Name) -> io::Result<u64> {
        Ok(File::open(self.path(name))?.metadata()?.len())
    }

    fn read(&mut self, name: Name, out: &mut Vec<u8>) -> Result<(), Unread> {
        let path = self.path(name);
        private::judge(&path).map_err(Unread::Refused)?;
        let read = File::open(&path).and_then(|mut file| {
            file.read_to_end(out)?;
            Ok(file)
        });
        let file = read.map_err(Unread::Failed)?;
        self.read.insert(name, file);
        Ok(())
    }

    fn create(&mut self, name: Name, head: &[u8]) -> io::Result<()> {
        self.last = None;
        let path = self.path(name);
        let mut file = private::create_new(&path)?;
        // Of a head that is cut off nothing is read.
        file.write_all(head)?;
        file.sync_all()?;
        private::sync_folder(&path)?;
        self.last = Some(file);
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.last()?.write_all_at(bytes, at)
    }

    fn truncate(&mut self, at: u64) -> io::Result<()> {
        self.last()?.set_len(at)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.last()?.sync_data()
    }

    fn shown(&self, name: Option<Name>) -> String {
        let path = name.map_or_else(|| self.path.clone(), |name| self.path(name));
        path.display().to_string()
    }
}

/// The segments of a folder, in the order of lives and numbers.
fn segments(folder: &Path) -> io::Result<Vec<Name>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(Segment::parse_file_name));
    }
    found.sort_unstable();
    Ok(found)
}

/// The segments that were read, open to read outputs.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<Option<File>>);

impl Outputs for Files {
    fn read(&mut self, place: Place, out: &mut Vec<u8>) -> bool {
        let Some(Some(file)) = self.0.get(place.segment as usize) else {
            return false;
        };
        let begin = out.len();
        out.resize(begin + place.bytes as usize, 0);
        let read = file.read_exact_at(&mut out[begin..], place.at.into());
        if read.is_err() {
            out.truncate(begin);
        }
        read.is_ok()
    }
}
