//! The journal's files: what earlier lives left is read at the start, and a thread writes what this one records.
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
//! | this | opening: whose it is, one pass over all segments, the number of this life |
//! | [`writer`] | the thread: segments, checksums, syncs, the later life's fence, a full or slow disk |
//!
//! What is in the files, `ringmw_codec::journal` says; what is recorded and what it is good for, the core.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ringmw_codec::journal::{FileError, Identity, Segment};

use super::private;
use crate::proto::known::{Known, Outputs, Place};

pub(crate) mod writer;

/// What of an identity need not agree.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waived {
    /// `--mw-journal-any-build`.
    pub(crate) build: bool,
    /// `--mw-journal-any-args`.
    pub(crate) args: bool,
}

/// A journal that was read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What earlier lives left.
    pub(crate) known: Known,
    /// Where its outputs lie.
    pub(crate) files: Files,
    /// Segments whose head cannot be read, with the reason.
    pub(crate) unread: Vec<(PathBuf, String)>,
    /// Lives that left segments, the first and the last.
    pub(crate) last_life: u32,
}

/// The segments of a folder, in the order of lives and numbers.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn segments(folder: &Path) -> io::Result<Vec<((u32, u32), PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(number) = entry
            .file_name()
            .to_str()
            .and_then(Segment::parse_file_name)
        {
            found.push((number, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads what earlier lives left; `progress` is told how many segments of how many were read.
///
/// # Errors
/// In words: the folder cannot be used, or is another program's, build's, run's.
pub(crate) fn open(
    folder: &Path,
    identity: &Identity,
    waived: Waived,
    failures: bool,
    mut progress: impl FnMut(usize, usize),
) -> Result<Opened, String> {
    private::folder(folder)?;
    let shown = folder.display();
    let segments = segments(folder).map_err(|error| format!("the journal in {shown}: {error}"))?;
    let mut opened = Opened {
        known: Known::new(failures),
        files: Files::default(),
        unread: Vec::new(),
        last_life: segments.last().map_or(0, |last| last.0.0),
    };
    let (mut bytes, all) = (Vec::new(), segments.len());
    for (index, (_, path)) in segments.into_iter().enumerate() {
        progress(index, all);
        private::judge(&path)?;
        bytes.clear();
        let read = File::open(&path).and_then(|mut file| {
            file.read_to_end(&mut bytes)?;
            Ok(file)
        });
        let file = match read {
            Ok(file) => file,
            Err(error) => {
                opened.unread.push((path, error.to_string()));
                continue;
            }
        };
        match Segment::decode(&bytes) {
            Ok((segment, head)) => {
                if let Some(difference) =
                    segment
                        .identity
                        .difference(identity, waived.build, waived.args)
                {
                    return Err(format!(
                        "the journal in {shown} is not this run's: {difference}; {}",
                        remedy(&difference)
                    ));
                }
                opened.known.read(&segment, &bytes, head);
                opened.files.0.push(file);
            }
            Err(error @ FileError::Version { .. }) => {
                return Err(format!(
                    "{}: {error}; read it with the ringmw that wrote it, or give another folder",
                    path.display()
                ));
            }
            Err(error) => opened.unread.push((path, error.to_string())),
        }
    }
    progress(all, all);
    opened.known.close();
    Ok(opened)
}

/// What to do about it.
pub(crate) fn remedy(difference: &ringmw_codec::journal::Difference) -> &'static str {
    use ringmw_codec::journal::Difference;
    match difference {
        Difference::Build(..) => {
            "give another folder, or --mw-journal-any-build if its results still hold"
        }
        Difference::Args(..) => {
            "give another folder, or --mw-journal-any-args if its results still hold"
        }
        Difference::Seed(..) => "give another folder, or that --mw-seed",
        Difference::AppVersion(..) => "give another folder",
    }
}

/// The segments that were read, open to read outputs.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<File>);

impl Outputs for Files {
    fn read(&mut self, place: Place, out: &mut Vec<u8>) -> bool {
        let Some(file) = self.0.get(place.segment as usize) else {
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
