//! A run that outlives its master: which run and which life this is, what earlier lives left, and where this one records.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use ringmw_codec::journal::{Identity, RunFile, run_text};
use ringmw_codec::secret::Secret;

use ringmw_sched::Nanos;

use crate::app::fingerprint;
use crate::flags::{Outlasting, Settings};
use crate::io::clock;
use crate::io::files::journal::writer::JournalWriter;
use crate::io::files::journal::{Files, Folder};
use crate::io::files::life::OwnLife;
use crate::io::files::private;
use crate::io::files::state::FileStore;
use crate::io::terminal;
use crate::master::known::Earlier;
use crate::proto::SECOND;
use crate::proto::config::AlgorithmInfo;
use crate::proto::disk::Disk;
use crate::proto::known::{Known, Tally};
use crate::proto::lives::{self, Opened, Reading, Waived};
use crate::proto::recording::{Heads, News};

/// At the end so long is waited for the disk.
const FINISH_BOUND: Duration = Duration::from_secs(10);

/// So long slaves look for the next life of a run that can have one.
pub(super) const RECONNECT: Nanos = 300 * SECOND;

/// Reading that takes longer is shown on a terminal.
const SHOWN_AFTER: Duration = Duration::from_secs(1);

/// What was found of earlier lives.
pub(super) struct Outlast {
    pub(super) identity: Identity,
    outlasting: Outlasting,
    run_file: PathBuf,
    /// The port of the last life, 0 for none.
    pub(super) port: u16,
    /// The secret of the lives before.
    pub(super) secret: Option<Secret>,
    last_life: u32,
    read: Option<Read>,
}

struct Read {
    folder: Folder,
    path: PathBuf,
    opened: Opened,
}

/// What of this life outlasts it.
pub(super) struct Life {
    pub(super) journal: Option<Arc<JournalWriter>>,
    pub(super) earlier: Option<(Known, Files)>,
    pub(super) state: Option<FileStore>,
    /// Whether it is still the last one.
    pub(super) own: OwnLife,
    /// For the trail.
    pub(super) lines: Vec<Event>,
    /// For the terminal.
    pub(super) told: Option<String>,
    /// Which life it is.
    pub(super) number: u32,
}

impl Outlast {
    /// Reads what earlier lives left, if anything of the run is to outlast its master; seed and run id are theirs. `is_gone`
    /// says that the life before is.
    ///
    /// # Errors
    /// In words: what is there is another's, or cannot be read.
    pub(super) fn open(
        settings: &mut Settings,
        name: &str,
        app_version: &str,
        mut random: impl FnMut() -> u64,
        is_gone: impl FnOnce(&RunFile) -> Result<(), String>,
    ) -> Result<Option<Self>, String> {
        let outlasting = settings.outlasting.clone();
        let run_file = match (&outlasting.journal, &outlasting.state) {
            (Some(folder), _) => {
                private::folder(folder)?;
                folder.join("run")
            }
            (None, Some(state)) => private::beside(state, ".run"),
            (None, None) => return Ok(None),
        };
        let before = match private::read(&run_file)? {
            None => None,
            Some(bytes) => Some(RunFile::decode(&bytes).map_err(|error| {
                format!(
                    "{}: {error}; where nothing else remains of the run it may be removed, and a new run begins",
                    run_file.display()
                )
            })?),
        };
        if let Some(before) = &before {
            is_gone(before)?;
        }
        // A life that ended between its first segment and the file `run` has left the one alone.
        let of_segments = match (&before, &outlasting.journal) {
            (None, Some(folder)) => lives::whose(&mut Folder::new(folder.clone()))?,
            _ => None,
        };
        let is_of = before
            .as_ref()
            .map(|run| &run.identity)
            .or(of_segments.as_ref());
        let drawn = u128::from(random()) << 64 | u128::from(random());
        let seed = settings
            .seed
            .or(is_of.map(|identity| identity.seed))
            .unwrap_or_else(&mut random);
        let identity = Identity {
            run: is_of.map_or(drawn, |identity| identity.run),
            program: name.to_owned(),
            build: fingerprint::build(),
            app_version: app_version.to_owned(),
            seed,
            args: settings.user.clone(),
        };
        if let Some(before) = &before
            && let Some(difference) =
                before
                    .identity
                    .difference(&identity, outlasting.any_build, outlasting.any_args)
        {
            return Err(format!(
                "{} is not this run's: {difference}; {}",
                run_file.display(),
                lives::remedy(&difference)
            ));
        }
        settings.seed = Some(seed);
        let mut last_life = before.as_ref().map_or(0, |run| run.life);
        let read = match &outlasting.journal {
            None => None,
            Some(folder) => {
                let read = read(folder, &identity, &outlasting, name)?;
                last_life = last_life.max(read.opened.last_life);
                Some(read)
            }
        };
        Ok(Some(Outlast {
            identity,
            outlasting,
            run_file,
            port: before.as_ref().map_or(0, |run| run.port),
            secret: before.and_then(|run| run.secret).map(Secret::new),
            last_life,
            read,
        }))
    }

    /// This life begins, listening on a port: from here on an earlier one that still runs knows that it is over.
    ///
    /// # Errors
    /// In words: what is to outlast the run cannot be written.
    pub(super) fn begin(
        self,
        port: u16,
        host: String,
        secret: Option<&Secret>,
        infos: &[AlgorithmInfo],
        news: impl Fn(News) + Send + Sync + 'static,
    ) -> Result<Life, String> {
        let news = Arc::new(news);
        let mut number = self.last_life + 1;
        let mut lines = Vec::new();
        let mut told = None;
        let (mut writer, mut earlier) = (None, None);
        if let Some(mut read) = self.read {
            let heads = Heads {
                identity: self.identity.clone(),
                algorithms: infos.iter().map(|info| info.name.to_owned()).collect(),
            };
            let folder = Folder::new(read.path);
            let tell = Arc::clone(&news);
            let begun =
                JournalWriter::begin(folder, self.last_life, heads, move |said| tell(said))?;
            number = begun.life;
            writer = Some(Arc::new(begun));
            let reading = reading(&self.identity, &self.outlasting, number);
            let opened = reading.catch_up(&mut read.folder, read.opened)?;
            let unread = opened.unread.iter();
            let unread: Vec<String> = unread
                .map(|(name, error)| format!("{}: {error}", read.folder.shown(Some(*name))))
                .collect();
            let places = opened.damages.iter();
            let places: Vec<String> = places
                .map(|&(name, at, bytes)| {
                    let shown = read.folder.shown(Some(name));
                    format!("{shown}: {bytes} bytes at {at} are damaged")
                })
                .collect();
            told = complaint(
                &unread,
                &places,
                opened.known.tally().damaged,
                &read.folder.shown(None),
            );
            let Tally {
                segments,
                results,
                repeated,
                unfounded,
                damaged,
                torn,
                ..
            } = opened.known.tally();
            lines.push(Event::JournalRead {
                segments,
                results,
                repeated,
                unfounded,
                damaged,
                torn,
                unread,
                places: (!places.is_empty()).then_some(places),
            });
            earlier = Some((opened.known, read.folder.into_files(&opened.read)));
        }
        let run = RunFile {
            identity: self.identity.clone(),
            life: number,
            port,
            begun_us: clock::unix_micros(),
            pid: std::process::id(),
            host,
            secret: secret.map(|secret| *secret.bytes()),
        };
        let own = OwnLife::begin(self.run_file, run)?;
        let text = |path: &Option<PathBuf>| {
            let shown = path.as_ref().map(|path| path.display().to_string());
            shown.unwrap_or_default()
        };
        lines.insert(
            0,
            Event::Life {
                run: run_text(self.identity.run),
                life: number,
                journal: text(&self.outlasting.journal),
                state: text(&self.outlasting.state),
            },
        );
        let state = match &self.outlasting.state {
            None => None,
            Some(path) => Some(FileStore::open(path.clone(), own.clone(), move |later| {
                news(News::Superseded(later));
            })?),
        };
        Ok(Life {
            journal: writer,
            earlier,
            state,
            own,
            lines,
            told,
            number,
        })
    }
}

/// What people are to know of a journal that is not whole, if it is not; what a killed master leaves cut off is.
fn complaint(unread: &[String], places: &[String], damaged: u64, folder: &str) -> Option<String> {
    if unread.is_empty() && damaged == 0 {
        return None;
    }
    let mut lines = [unread, places].concat();
    if damaged > places.len() as u64 {
        lines.push(format!("{} more places are", damaged - places.len() as u64));
    }
    Some(format!(
        "{}. What they held is computed again; `ringmw journal check {folder}` lists all, and the disk is to be looked at",
        lines.join("; ")
    ))
}

impl Life {
    /// What earlier lives left, for the master; and until then their slaves come back.
    /// `returns_until` is when the last of them gives up.
    pub(super) fn take_earlier(
        &mut self,
        infos: &[AlgorithmInfo],
        returns_until: Nanos,
    ) -> Earlier {
        let (known, files) = self.earlier.take().unwrap_or_default();
        let mut earlier = Earlier::new(known, Box::new(files), infos);
        if self.number > 1 {
            earlier.expect_returns(returns_until);
        }
        earlier
    }
}

/// The run is over: what was recorded is on disk, or a line says that it is not.
pub(super) fn finish(journal: &JournalWriter) -> Option<Event> {
    let on_disk = journal.finish(FINISH_BOUND);
    let unrecorded = journal.unrecorded();
    match (on_disk, unrecorded) {
        (true, 0) => None,
        (true, unrecorded) => Some(Event::JournalWritten { unrecorded }),
        (false, _) => Some(Event::JournalTrouble {
            error: format!(
                "what was recorded last is not on disk after {} s, and is given up",
                FINISH_BOUND.as_secs()
            ),
        }),
    }
}

/// What of a journal is read: what lives before this one left.
fn reading<'a>(identity: &'a Identity, outlasting: &Outlasting, before: u32) -> Reading<'a> {
    Reading {
        identity,
        waived: Waived {
            build: outlasting.any_build,
            args: outlasting.any_args,
        },
        failures: outlasting.failures,
        before,
    }
}

fn read(
    path: &Path,
    identity: &Identity,
    outlasting: &Outlasting,
    name: &str,
) -> Result<Read, String> {
    let begun = Instant::now();
    let progress = |done: usize, all: usize| {
        if begun.elapsed() > SHOWN_AFTER && terminal::is_terminal() {
            eprint!("\r{name}: reading the journal: {done} of {all} segments");
            if done == all {
                eprintln!();
            }
        }
    };
    let mut folder = Folder::new(path.to_owned());
    let opened = reading(identity, outlasting, u32::MAX).open(&mut folder, progress)?;
    Ok(Read {
        folder,
        path: path.to_owned(),
        opened,
    })
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[test]
    fn a_journal_that_is_not_whole_is_named_place_by_place_with_what_to_do() {
        assert_eq!(complaint(&[], &[], 0, "run1/journal"), None);
        let places = ["a: 20 bytes at 512 are damaged".to_owned()];
        let unread = ["b: it has 0 bytes".to_owned()];
        let told = complaint(&unread, &places, 3, "run1/journal").expect("it is not whole");
        assert_eq!(
            told,
            "b: it has 0 bytes; a: 20 bytes at 512 are damaged; 2 more places are. What they held is computed again; \
             `ringmw journal check run1/journal` lists all, and the disk is to be looked at"
        );
    }
}
