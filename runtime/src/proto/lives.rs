//! What a life of a run finds of those before it: whose journal it is, one pass over all segments, and once more over what
//! an earlier life that still runs has written until this one's first segment was there.

use ringmw_codec::journal::{Difference, FileError, Identity, Segment};

use super::disk::{Disk, Name, Unread};
use super::known::{Damage, Known};

/// What of an identity need not agree.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Waived {
    /// `--mw-journal-any-build`.
    pub(crate) build: bool,
    /// `--mw-journal-any-args`.
    pub(crate) args: bool,
}

/// How a journal is read.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Reading<'a> {
    /// Whose results are wanted.
    pub(crate) identity: &'a Identity,
    pub(crate) waived: Waived,
    /// Failed results count, too.
    pub(crate) failures: bool,
    /// Of the lives before this one alone.
    pub(crate) before: u32,
}

/// Whose journal it is, as the first segment says whose head is whole.
///
/// # Errors
/// In words: it cannot be looked at, or must not be.
pub(crate) fn whose(disk: &mut dyn Disk) -> Result<Option<Identity>, String> {
    let segments = disk
        .segments()
        .map_err(|error| format!("the journal in {}: {error}", disk.shown(None)))?;
    let mut bytes = Vec::new();
    for name in segments {
        bytes.clear();
        match disk.read(name, &mut bytes) {
            Ok(()) => {}
            Err(Unread::Refused(reason)) => return Err(reason),
            Err(Unread::Failed(_)) => continue,
        }
        if let Ok((segment, _)) = Segment::decode(&bytes) {
            return Ok(Some(segment.identity));
        }
    }
    Ok(None)
}

/// A journal that was read.
#[derive(Debug)]
pub(crate) struct Opened {
    /// What earlier lives left.
    pub(crate) known: Known,
    /// The segments that were read, by the number by which [`Known`] names them.
    pub(crate) read: Vec<Name>,
    /// Segments whose head cannot be read, with the reason.
    pub(crate) unread: Vec<(Name, String)>,
    /// Places that are damaged, the first of them: the segment, where, and how many bytes.
    pub(crate) damages: Vec<(Name, u64, u64)>,
    /// The last life that left a segment.
    pub(crate) last_life: u32,
    /// Every segment, as long as it was when it was read.
    seen: Vec<(Name, u64)>,
}

impl Reading<'_> {
    /// Reads what earlier lives left; `progress` is told how many segments of how many were read.
    ///
    /// # Errors
    /// In words: it cannot be used, or is another program's, build's, run's.
    pub(crate) fn open(
        self,
        disk: &mut dyn Disk,
        mut progress: impl FnMut(usize, usize),
    ) -> Result<Opened, String> {
        let shown = disk.shown(None);
        let mut segments = disk
            .segments()
            .map_err(|error| format!("the journal in {shown}: {error}"))?;
        segments.retain(|name| name.0 < self.before);
        let mut opened = Opened {
            known: Known::new(self.failures),
            read: Vec::new(),
            unread: Vec::new(),
            damages: Vec::new(),
            last_life: segments.last().map_or(0, |last| last.0),
            seen: Vec::new(),
        };
        let (mut bytes, all) = (Vec::new(), segments.len());
        for (index, name) in segments.into_iter().enumerate() {
            progress(index, all);
            bytes.clear();
            match disk.read(name, &mut bytes) {
                Ok(()) => {}
                Err(Unread::Refused(reason)) => return Err(reason),
                Err(Unread::Failed(error)) => {
                    opened.unread.push((name, error.to_string()));
                    continue;
                }
            }
            opened.seen.push((name, bytes.len() as u64));
            match Segment::decode(&bytes) {
                Ok((segment, head)) => {
                    let Waived { build, args } = self.waived;
                    let difference = segment.identity.difference(self.identity, build, args);
                    if let Some(difference) = difference {
                        return Err(format!(
                            "the journal in {shown} is not this run's: {difference}; {}",
                            remedy(&difference)
                        ));
                    }
                    opened.known.read(&segment, &bytes, head);
                    opened.read.push(name);
                }
                Err(error @ FileError::Version { .. }) => {
                    return Err(format!(
                        "{}: {error}; read it with the ringmw that wrote it, or give another folder",
                        disk.shown(Some(name))
                    ));
                }
                Err(error) => opened.unread.push((name, error.to_string())),
            }
        }
        progress(all, all);
        let named = |damage: &Damage| {
            let name = opened.read[damage.segment as usize];
            (name, damage.at, damage.bytes)
        };
        opened.damages = opened.known.damages().iter().map(named).collect();
        opened.known.close();
        Ok(opened)
    }

    /// What was read is all that the lives before this one had written when its first segment was made: else all is read
    /// again.
    ///
    /// # Errors
    /// As for [`open`](Reading::open).
    pub(crate) fn catch_up(self, disk: &mut dyn Disk, opened: Opened) -> Result<Opened, String> {
        let is_whole = |disk: &mut dyn Disk| {
            let Ok(mut segments) = disk.segments() else {
                return false;
            };
            segments.retain(|name| name.0 < self.before);
            let mut seen = opened.seen.iter();
            segments.into_iter().all(|name| {
                let is_unread = || opened.unread.iter().any(|unread| unread.0 == name);
                match seen.find(|seen| seen.0 == name) {
                    Some(seen) => disk.bytes(name).is_ok_and(|bytes| bytes == seen.1),
                    None => is_unread(),
                }
            })
        };
        match is_whole(disk) {
            true => Ok(opened),
            false => self.open(disk, |_, _| {}),
        }
    }
}

/// What to do about it.
pub(crate) fn remedy(difference: &Difference) -> &'static str {
    match difference {
        Difference::Program(..) | Difference::Build(..) => {
            "give another folder, or --mw-journal-any-build if its results still hold"
        }
        Difference::Args(..) => {
            "give another folder, or --mw-journal-any-args if its results still hold"
        }
        Difference::Seed(..) => "give another folder, or that --mw-seed",
        Difference::AppVersion(..) => "give another folder",
    }
}
