//! The resource file: when it is written ([`ResourceSchedule`], pure), and how ([`ResourceWriter`], a thread).
//!
//! A reader never sees half a file: it is written aside in the same folder and renamed. The thread is there because
//! the file often lies on a network filesystem, which may hang; the newest state wins, states in between are passed
//! over. What is in the file, `ringmw_codec::resource` says.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use ringmw_codec::Nanos;
use ringmw_codec::resource::{ResourceFile, is_systems_library};

use super::life::OwnLife;
use super::reserve::Reserve;
use crate::io::secret_file::OWNERS_MODE;

use crate::proto::need::Need;

/// The file is rewritten for a changed need at most this often.
pub(crate) const CHANGE_PAUSE: Duration = Duration::from_secs(1);

/// When the resource file is to be written: at the start, every interval, and when the need has changed, at most once
/// a second. The end is not its business: the master writes that one itself, by [`ResourceWriter::finish`].
///
/// A write that failed is not hurried: the next interval, or the next change, is its repetition.
#[derive(Debug, Clone)]
pub(crate) struct ResourceSchedule {
    interval: Nanos,
    written: Option<(Nanos, Need)>,
}

impl ResourceSchedule {
    /// `interval` is at least a second (`--mw-resource-file-update-interval`).
    pub(crate) fn new(interval: Duration) -> Self {
        assert!(
            interval >= CHANGE_PAUSE,
            "the command line takes no interval below a second"
        );
        Self {
            interval: nanos(interval),
            written: None,
        }
    }

    /// Whether the file is to be written now; if so, it counts as written.
    pub(crate) fn due(&mut self, now: Nanos, need: Need) -> bool {
        let is_due = self.next(need).is_none_or(|at| at <= now);
        if is_due {
            self.written = Some((now, need));
        }
        is_due
    }

    /// When it will be due if the need stays as it is; none is at once.
    pub(crate) fn next(&self, need: Need) -> Option<Nanos> {
        let (at, written) = self.written?;
        let pause = if written.asks_the_same(&need) {
            self.interval
        } else {
            nanos(CHANGE_PAUSE)
        };
        Some(at.saturating_add(pause))
    }
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX)
}

/// One write that ended.
#[derive(Debug)]
pub(crate) struct Report {
    /// What the master gave along with the text, to know which it was.
    pub mark: u64,
    /// How it ended.
    pub result: io::Result<()>,
}

/// Writes the file in a thread of its own.
#[derive(Debug)]
pub(crate) struct ResourceWriter {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: Option<Job>,
    is_writing: bool,
    is_closing: bool,
    /// At most one a write; the master takes them every turn.
    reports: Vec<Report>,
}

#[derive(Debug)]
struct Job {
    text: String,
    is_secret: bool,
    mark: u64,
}

/// More reports than these nobody waits for; the oldest go.
const REPORTS_MAX: usize = 64;

impl ResourceWriter {
    /// Checks that a file can be written beside `path`, and starts the thread. A `life` that has a successor writes no more.
    /// An error names the flag, the path and the remedy.
    pub(crate) fn open(path: PathBuf, life: Option<OwnLife>) -> Result<Self, String> {
        let fault = |error: io::Error| {
            format!(
                "--mw-resource-file {}: cannot be written: {error}; it is written aside and renamed, so its folder must \
                 exist and may be written",
                path.display()
            )
        };
        if path.is_dir() {
            return Err(fault(rustix::io::Errno::ISDIR.into()));
        }
        let aside = aside(&path).map_err(fault)?;
        create(&aside, true).map_err(fault)?;
        fs::remove_file(&aside).map_err(fault)?;
        let reserve = Reserve::take().map_err(fault)?;
        let shared = Arc::new(Shared::default());
        let (threads, its_path) = (shared.clone(), path.clone());
        thread::Builder::new()
            .name("ringmw-resource".to_owned())
            .spawn(move || threads.run(&its_path, life.as_ref(), reserve))
            .map_err(fault)?;
        Ok(Self { path, shared })
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands over the file's next text and returns at once. One that still waits is forgotten: it is older.
    ///
    /// `is_secret`: only the owner may read the file (mode 0600). `mark` comes back in the [`Report`].
    pub(crate) fn write(&self, text: String, is_secret: bool, mark: u64) {
        self.shared.state().next = Some(Job {
            text,
            is_secret,
            mark,
        });
        self.shared.work.notify_one();
    }

    /// What has been written, or not, since it was last asked.
    pub(crate) fn take_reports(&self) -> Vec<Report> {
        std::mem::take(&mut self.shared.state().reports)
    }

    /// Writes the last text, and waits for it, at most `bound`. True: it stands in the file. False: the reports say
    /// why, or it takes too long; the process may end all the same.
    pub(crate) fn finish(&self, text: String, is_secret: bool, mark: u64, bound: Duration) -> bool {
        self.write(text, is_secret, mark);
        let (state, _) = self
            .shared
            .done
            .wait_timeout_while(self.shared.state(), bound, |state| {
                state.next.is_some() || state.is_writing
            })
            .unwrap_or_else(PoisonError::into_inner);
        state
            .reports
            .last()
            .is_some_and(|report| report.mark == mark && report.result.is_ok())
    }
}

impl Drop for ResourceWriter {
    fn drop(&mut self) {
        self.shared.state().is_closing = true;
        self.shared.work.notify_one();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, path: &Path, life: Option<&OwnLife>, mut reserve: Reserve) {
        loop {
            let idle = |state: &mut State| state.next.is_none() && !state.is_closing;
            let mut state = self
                .work
                .wait_while(self.state(), idle)
                .unwrap_or_else(PoisonError::into_inner);
            let Some(job) = state.next.take() else { return };
            state.is_writing = true;
            drop(state);
            // A file must be opened to be replaced.
            let result = reserve.open(|| replace(path, life, job.text.as_bytes(), job.is_secret));
            let mut state = self.state();
            state.is_writing = false;
            if state.reports.len() == REPORTS_MAX {
                state.reports.remove(0);
            }
            state.reports.push(Report {
                mark: job.mark,
                result,
            });
            self.done.notify_all();
        }
    }
}

/// Where it is written first: in the same folder, or the rename would not be atomic; with the process in its name, so
/// that two masters on one path never rename each other's half.
fn aside(path: &Path) -> io::Result<PathBuf> {
    let Some(name) = path.file_name() else {
        return Err(io::ErrorKind::IsADirectory.into());
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.tmp", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn create(aside: &Path, is_secret: bool) -> io::Result<File> {
    // What a process of the same number left, or what someone laid there: a link into a file of ours.
    match fs::remove_file(aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = if is_secret { OWNERS_MODE } else { 0o644 };
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(aside)?;
    if is_secret {
        // A umask may have taken more than is to be taken. Where the file system keeps no modes there is none to be set.
        let _ = file.set_permissions(Permissions::from_mode(OWNERS_MODE));
    }
    Ok(file)
}

/// A file with a secret is its owner's alone, but for the group that may read the one it replaces, and no others: that a
/// colleague or jobs of another user may was somebody's decision.
fn share_as_before(path: &Path, file: &File) {
    let Ok(before) = fs::symlink_metadata(path) else {
        return;
    };
    let mode = before.permissions().mode();
    let is_ours = before.is_file() && before.uid() == rustix::process::geteuid().as_raw();
    if is_ours && mode & 0o040 != 0 && mode & 0o007 == 0 {
        // First the group: the one that it has until then was never asked.
        let shared = fchown(file, None, Some(before.gid()));
        if shared.is_ok() {
            let _ = file.set_permissions(Permissions::from_mode(OWNERS_MODE | 0o040));
        }
    }
}

/// Why a file with a secret is one that others may read, where it is: its file system keeps no modes.
pub(crate) fn is_open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o007 != 0).then_some(mode)
}

/// Replaces the file's content, for every reader either the old or the new. A `life` that has a successor leaves it the file.
///
/// # Errors
/// As the system says, or in words that the file is a later life's.
pub(crate) fn replace(
    path: &Path,
    life: Option<&OwnLife>,
    text: &[u8],
    is_secret: bool,
) -> io::Result<File> {
    if let Some(later) = life.and_then(OwnLife::successor) {
        return Err(io::Error::other(format!(
            "life {later} of this run has begun, and the file is that one's"
        )));
    }
    let aside = aside(path)?;
    let written = create(&aside, is_secret).and_then(|mut file| {
        if is_secret {
            share_as_before(path, &file);
        }
        file.write_all(text)?;
        // Or a crash of the machine could leave the new name with an empty file.
        file.sync_all()?;
        fs::rename(&aside, path)?;
        Ok(file)
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written
}

/// The text of a resource file, for who reads one.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    ResourceFile::text(file, bytes)
}

/// What a slave is started from: the executable's full path, and the shared libraries it has loaded that are not the
/// system's, which must travel with it.
///
/// `given` is `--mw-slave-executable`; without it, this process's own executable.
pub(crate) fn slave_executable(given: Option<&Path>) -> io::Result<(PathBuf, Vec<PathBuf>)> {
    let own = std::env::current_exe()?;
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let libraries = own_libraries(&maps, &own);
    let executable = match given {
        Some(path) => std::path::absolute(path)?,
        None => own,
    };
    Ok((executable, libraries))
}

/// The shared libraries in the text of `/proc/self/maps` that lie outside of the system's folders, each once.
fn own_libraries(maps: &str, executable: &Path) -> Vec<PathBuf> {
    let mut libraries: Vec<PathBuf> = maps
        .lines()
        .filter_map(mapped_code)
        .filter(|path| is_own(path, executable))
        .collect();
    libraries.sort();
    libraries.dedup();
    libraries
}

/// The file of a mapping that is executable: `7f…-7f… r-xp 00026000 fd:00 1234    /opt/lib/libx.so.2`.
fn mapped_code(line: &str) -> Option<PathBuf> {
    let mut rest = line;
    let mut rights = "";
    for index in 0..5 {
        let (field, after) = rest.split_once(' ')?;
        if index == 1 {
            rights = field;
        }
        rest = after.trim_start();
    }
    // A deleted file has no path that could be copied.
    (rights.contains('x') && rest.starts_with('/') && !rest.ends_with(" (deleted)"))
        .then(|| rest.into())
}

fn is_own(path: &Path, executable: &Path) -> bool {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let is_library = name.ends_with(".so") || name.contains(".so.");
    is_library && path != executable && !is_systems_library(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Nanos = 1_000_000;
    const LONG: Duration = Duration::from_secs(20);

    fn need(needed: u64) -> Need {
        Need {
            needed,
            desired: 10,
            ..Need::default()
        }
    }

    #[test]
    fn it_is_due_at_the_start_every_interval_and_soon_after_a_change() {
        let mut schedule = ResourceSchedule::new(Duration::from_secs(300));
        assert_eq!(schedule.next(need(10)), None);
        // (milliseconds, slaves needed, due)
        let rows = [
            (0, 10, true),
            (1, 10, false),
            (2, 9, false),
            (999, 8, false),
            (1000, 7, true),
            (1500, 6, false),
            // Back to what stands in the file: nothing to write.
            (2000, 7, false),
            (3000, 6, true),
            (302_999, 6, false),
            (303_000, 6, true),
            (303_001, 6, false),
        ];
        for (ms, needed, is_due) in rows {
            let next = schedule.next(need(needed));
            assert_eq!(schedule.due(ms * MS, need(needed)), is_due, "at {ms} ms");
            assert_eq!(next.is_none_or(|at| at <= ms * MS), is_due);
        }
    }

    #[test]
    fn who_is_here_and_busy_is_no_change() {
        let mut schedule = ResourceSchedule::new(Duration::from_secs(300));
        assert!(schedule.due(0, need(1)));
        let others = Need {
            connected: 7,
            busy: 3,
            ..need(1)
        };
        assert!(!schedule.due(2000 * MS, others));
        assert!(schedule.due(
            2000 * MS,
            Need {
                desired: 11,
                ..need(1)
            }
        ));
    }

    #[test]
    fn a_change_is_written_at_most_once_a_second() {
        let mut schedule = ResourceSchedule::new(Duration::from_secs(300));
        let writes = (0..10_000)
            .filter(|&ms| schedule.due(ms * MS, need(ms)))
            .count();
        assert_eq!(writes, 10);
    }

    #[test]
    fn the_newest_text_stands_in_the_file_and_nothing_beside_it() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("resources");
        let writer = ResourceWriter::open(path.clone(), None).expect("it opens");
        assert_eq!(writer.path(), path);
        assert!(!path.exists(), "opening writes nothing");
        (0..100).for_each(|mark| writer.write(format!("text {mark}\n"), false, mark));
        assert!(writer.finish("finished\n".into(), false, 100, LONG));
        assert_eq!(fs::read_to_string(&path).expect("read"), "finished\n");
        let reports = writer.take_reports();
        assert!(reports.is_sorted_by_key(|report| report.mark));
        assert_eq!(reports.last().expect("reports").mark, 100);
        assert!(reports.iter().all(|report| report.result.is_ok()));
        assert!(writer.take_reports().is_empty());
        assert_eq!(fs::read_dir(folder.path()).expect("read").count(), 1);
    }

    #[test]
    fn readers_see_one_text_or_the_other() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("resources");
        let texts = ["a".repeat(100_000), "b".repeat(50_000)];
        replace(&path, None, texts[0].as_bytes(), false).expect("written");
        thread::scope(|scope| {
            let writes = scope.spawn(|| {
                for round in 0..100 {
                    replace(&path, None, texts[round % 2].as_bytes(), false).expect("written");
                }
            });
            while !writes.is_finished() {
                let seen = fs::read_to_string(&path).expect("always there");
                assert!(texts.contains(&seen), "half a file of {} bytes", seen.len());
            }
        });
    }

    #[test]
    fn a_file_with_a_secret_is_the_owners_only() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("resources");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        replace(&path, None, b"open", false).expect("written");
        assert_eq!(mode(&path) & 0o400, 0o400);
        let chmod = |mode| {
            let permissions = Permissions::from_mode(mode);
            fs::set_permissions(&path, permissions).expect("chmod");
        };
        // What all may read was never meant to be secret; what a group may, somebody has decided.
        let rows = [
            (0o644, 0o600),
            (0o600, 0o600),
            (0o640, 0o640),
            (0o660, 0o640),
            (0o400, 0o600),
            (0o604, 0o600),
        ];
        for (before, after) in rows {
            chmod(before);
            replace(&path, None, b"secret", true).expect("written");
            assert_eq!(mode(&path), after, "over {before:o}");
        }
        assert_eq!(is_open_to_others(&path), None);
        chmod(0o755);
        assert_eq!(is_open_to_others(&path), Some(0o755));
    }

    #[test]
    fn what_cannot_be_written_is_named_and_reported() {
        let error = ResourceWriter::open("/nonexistent/resources".into(), None)
            .expect_err("no such folder");
        assert_eq!(
            error,
            "--mw-resource-file /nonexistent/resources: cannot be written: No such file or directory (os error 2); it is \
             written aside and renamed, so its folder must exist and may be written"
        );
        assert!(
            ResourceWriter::open("/".into(), None)
                .expect_err("a folder")
                .contains("--mw-resource-file /: ")
        );

        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("sub").join("resources");
        fs::create_dir(folder.path().join("sub")).expect("created");
        let writer = ResourceWriter::open(path.clone(), None).expect("it opens");
        fs::remove_dir(folder.path().join("sub")).expect("removed");
        assert!(!writer.finish("text".into(), false, 1, LONG));
        let reports = writer.take_reports();
        assert_eq!(
            reports[0].result.as_ref().expect_err("no folder").kind(),
            io::ErrorKind::NotFound
        );
        fs::create_dir(folder.path().join("sub")).expect("created");
        assert!(
            writer.finish("text".into(), false, 2, LONG),
            "it goes on as soon as it can"
        );
        assert_eq!(fs::read_to_string(&path).expect("read"), "text");
    }

    #[test]
    fn libraries_that_are_not_the_systems_are_found() {
        let maps = "\
55d0c8a00000-55d0c8a10000 r--p 00000000 fd:00 100                        /home/u/app
55d0c8a10000-55d0c8a20000 r-xp 00010000 fd:00 100                        /home/u/app
7f1200000000-7f1200010000 r-xp 00000000 fd:00 101                        /usr/lib/x86_64-linux-gnu/libc.so.6
7f1200020000-7f1200030000 r-xp 00000000 fd:00 102                        /opt/solver 9/lib/libsolve.so.2.1
7f1200030000-7f1200040000 r--p 00000000 fd:00 102                        /opt/solver 9/lib/libsolve.so.2.1
7f1200040000-7f1200050000 r-xp 00000000 fd:00 103                        /usr/local/lib/libown.so
7f1200050000-7f1200060000 r-xp 00000000 fd:00 104                        /lib64/ld-linux-x86-64.so.2
7f1200060000-7f1200070000 r-xp 00000000 fd:00 105                        /opt/old.so (deleted)
7f1200070000-7f1200080000 r--p 00000000 fd:00 106                        /opt/data.so
7ffd00000000-7ffd00020000 rw-p 00000000 00:00 0                          [stack]
7ffd00030000-7ffd00032000 r-xp 00000000 00:00 0                          [vdso]
7f1200090000-7f12000a0000 rwxp 00000000 00:00 0 
";
        let found = own_libraries(maps, Path::new("/home/u/app"));
        assert_eq!(
            found,
            [
                Path::new("/opt/solver 9/lib/libsolve.so.2.1"),
                Path::new("/usr/local/lib/libown.so")
            ]
        );
    }

    #[test]
    fn the_executable_is_told_by_its_full_path() {
        let (own, libraries) = slave_executable(None).expect("this process has one");
        assert!(own.is_absolute() && libraries.is_empty(), "{libraries:?}");
        let (given, _) = slave_executable(Some(Path::new("bin/app"))).expect("absolute");
        assert!(given.is_absolute() && given.ends_with("bin/app"));
    }
}
