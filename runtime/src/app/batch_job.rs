//! A batch job starts its process again and again: what tells it one end from another, so that restarts are bounded and
//! paced.
//!
//! A slave says it by its exit code ([`Lives`]). HTCondor keeps a job's last exit code in the job's ad, which the next
//! life can read: so the code itself counts, and a policy of one comparison holds the job. Slurm keeps none: there the
//! job's script counts.
//!
//! A master that is killed says nothing. It counts at its start, in a file that its job names ([`Starts`]); once it has
//! recorded a result that no life before it knew, its run comes further by each life, and that count begins anew.

use std::fs::{self, File};
use std::io::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ringmw_codec::flags::exit;
use ringmw_sched::Nanos;

use crate::io::job_ad;
use crate::proto::pauses::{Pauses, Tries};
use crate::proto::slave::SlaveEnd;

/// A life shorter than this says something of the one that follows it.
const SHORT_LIFE: Duration = Duration::from_secs(60);
/// Lives of a master in a row, each aborted within [`SHORT_LIFE`], that are followed by no other one.
const ABORTS_MAX: usize = 5;
/// The longest wait of one life of a slave for a master that does not answer.
const REACH_WITHIN: Duration = Duration::from_secs(300);
/// The wait of one that listens for a master that dials it: a master dials twice in that time at least.
pub(super) const DIALLED_WITHIN: Duration = Duration::from_secs(120);
/// The wait of the first life where each life has a copy of the resource file of its own: one that is started again
/// has a new one.
const REACH_WITHIN_FIRST: Duration = Duration::from_secs(15);
/// The pauses between two tries: the first, and the longest.
const PAUSES: Pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(60));

/// The environment variable with the file of [`Starts`].
pub(super) const STARTS_VARIABLE: &str = "RINGMW_STARTS";

/// The lives of a slave's batch job.
#[derive(Debug, Clone)]
pub(super) struct Lives {
    began: Instant,
    system: System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    /// HTCondor, and with what this job ended last.
    Condor(Option<u8>),
    Slurm,
}

impl Lives {
    /// Of the job that this process is in, if it is in one. To be asked at the start.
    pub(super) fn of_this_job() -> Option<Self> {
        let system = match (job_ad::read(), std::env::var_os("SLURM_JOB_ID")) {
            (Some(ad), _) => System::Condor(last_code(&ad)),
            (None, Some(_)) => System::Slurm,
            (None, None) => return None,
        };
        Some(Lives {
            began: Instant::now(),
            system,
        })
    }

    /// Whether its time is up.
    pub(super) fn is_older_than(&self, limit: Option<Duration>) -> bool {
        limit.is_some_and(|limit| self.began.elapsed() >= limit)
    }

    /// How long this life waits for a master that does not answer.
    pub(super) fn patience(&self) -> Patience {
        let bound = match self.system {
            // The resource file may be a copy that was made at this job's start.
            System::Condor(last) => {
                let before = place(exit::UNREACHED, last).unwrap_or(0);
                (REACH_WITHIN_FIRST * 2u32.pow(before)).min(REACH_WITHIN)
            }
            System::Slurm => REACH_WITHIN,
        };
        Patience {
            began: self.began,
            bound,
            tries: Tries::new(PAUSES, bound.as_nanos() as Nanos),
        }
    }

    /// The exit code of a life that reached no master.
    pub(super) fn unreached(&self) -> u8 {
        self.counted(exit::UNREACHED)
    }

    /// The exit code of a life that a master answered and that ended no task, if it was short.
    pub(super) fn in_vain(&self) -> Option<u8> {
        (self.began.elapsed() < SHORT_LIFE).then(|| self.counted(exit::IN_VAIN))
    }

    fn counted(&self, codes: RangeInclusive<u8>) -> u8 {
        match self.system {
            System::Condor(last) => {
                let before = place(codes.clone(), last).unwrap_or(0);
                let code = u32::from(*codes.start()) + before;
                u8::try_from(code).map_or(*codes.end(), |code| code.min(*codes.end()))
            }
            System::Slurm => *codes.start(),
        }
    }
}

/// Of a code of this range, which one it is, from 1.
fn place(codes: RangeInclusive<u8>, code: Option<u8>) -> Option<u32> {
    let code = code.filter(|code| codes.contains(code))?;
    Some(u32::from(code - codes.start()) + 1)
}

/// The `ExitCode` of a job's ad: that of its last end, where that was an exit.
fn last_code(ad: &str) -> Option<u8> {
    let value = |name| job_ad::attribute(ad, name);
    if value("ExitBySignal").is_some_and(|by_signal| by_signal.eq_ignore_ascii_case("true")) {
        return None;
    }
    value("ExitCode")?.parse().ok()
}

/// Growing pauses between the tries to reach a master.
pub(super) struct Patience {
    began: Instant,
    bound: Duration,
    tries: Tries,
}

impl Patience {
    /// The most that it waits in all.
    pub(super) fn bound(&self) -> Duration {
        self.bound
    }

    /// Waits before the next try; false when there is to be none.
    pub(super) fn wait(&mut self) -> bool {
        let pause = self
            .tries
            .on_failed(self.began.elapsed().as_nanos() as Nanos);
        pause.map(thread::sleep).is_some()
    }
}

/// Whether a slave's end says that the next life will fare no better. `planned`: it was evicted, or its time was up.
pub(super) fn is_in_vain(end: Option<&SlaveEnd>, completed: u64, planned: bool) -> bool {
    let by_itself = matches!(end, Some(SlaveEnd::Refused(_) | SlaveEnd::Left(_)));
    by_itself && completed == 0 && !planned
}

/// The starts of a master that were not followed by a minute of life, by a new result in its journal or by an end of its
/// own: a byte each in a file.
///
/// The file is gone while all is well. What is counted is no time of day, so that no clock matters.
#[derive(Debug, Clone)]
pub(super) struct Starts {
    path: PathBuf,
}

impl Starts {
    /// Of this batch job; `None` where it names no file.
    pub(super) fn of_this_job() -> Option<Self> {
        let path = std::env::var_os(STARTS_VARIABLE).filter(|path| !path.is_empty())?;
        Some(Starts { path: path.into() })
    }

    /// Counts this start, until a minute has passed.
    ///
    /// # Errors
    /// It is one too many, and why. The next one is counted from the beginning: somebody has looked at it then.
    pub(super) fn begin(&self) -> Result<(), String> {
        let before = fs::metadata(&self.path).map_or(0, |file| file.len());
        if before >= ABORTS_MAX as u64 {
            self.end();
            return Err(format!(
                "it has aborted {ABORTS_MAX} times in a row, each within {} s of its start and with no new result in a journal: the \
                 job is held, see its standard error and the trail; the batch system's release starts it again",
                SHORT_LIFE.as_secs()
            ));
        }
        // Where it cannot be written nothing is counted, and the run goes on.
        let _ = append(&self.path);
        let path = self.path.clone();
        let lives = thread::Builder::new().name("ringmw-starts".into());
        let _ = lives.spawn(move || {
            thread::sleep(SHORT_LIFE);
            let _ = fs::remove_file(path);
        });
        Ok(())
    }

    /// The process ends by its own will, or its run has come further.
    pub(super) fn end(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn append(path: &Path) -> std::io::Result<()> {
    File::options()
        .append(true)
        .create(true)
        .open(path)?
        .write_all(b"+")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lives(system: System) -> Lives {
        Lives {
            began: Instant::now(),
            system,
        }
    }

    #[test]
    fn the_code_counts_the_ends_in_a_row() {
        let mut last = None;
        let mut codes = Vec::new();
        for _ in 0..12 {
            let code = lives(System::Condor(last)).in_vain().expect("a short life");
            codes.push(code);
            last = Some(code);
        }
        assert_eq!(codes[..10], (241..=250).collect::<Vec<u8>>());
        assert_eq!(codes[10..], [250, 250], "it is held again at once");
        // Whatever else ended in between is a new beginning.
        for last in [None, Some(0), Some(255), Some(231)] {
            assert_eq!(lives(System::Condor(last)).in_vain(), Some(241), "{last:?}");
        }
        assert_eq!(lives(System::Slurm).in_vain(), Some(241));
    }

    #[test]
    fn the_wait_for_a_master_grows_from_life_to_life() {
        let mut last = None;
        let mut waits = Vec::new();
        for _ in 0..8 {
            let lives = lives(System::Condor(last));
            waits.push(lives.patience().bound().as_secs());
            last = Some(lives.unreached());
        }
        assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300, 300]);
        let slurm = lives(System::Slurm);
        assert_eq!(
            slurm.patience().bound(),
            REACH_WITHIN,
            "its file is the master's own"
        );
    }

    #[test]
    fn the_last_end_stands_in_the_jobs_ad() {
        // As HTCondor 23.9 writes them.
        let ad = "ClusterId = 1\nExitBySignal = false\nExitCode = 249\nNumJobStarts = 9\n";
        assert_eq!(last_code(ad), Some(249));
        let ad = "ExitBySignal = true\nExitCode = 249\nExitSignal = 9\n";
        assert_eq!(last_code(ad), None);
        assert_eq!(last_code("OnExitHold = ExitCode == 250\n"), None);
        assert_eq!(last_code("ExitCode = 4294967295\n"), None);
    }

    #[test]
    fn what_is_in_vain_and_what_is_not() {
        let refused = SlaveEnd::Refused("another version".into());
        let left = SlaveEnd::Left("slave state: no data".into());
        let lost = SlaveEnd::MasterLost("reset".into());
        let told = SlaveEnd::Shutdown { finished: false };
        assert!(is_in_vain(Some(&refused), 0, false));
        assert!(is_in_vain(Some(&left), 0, false));
        assert!(!is_in_vain(Some(&left), 1, false), "it ended a task");
        assert!(!is_in_vain(Some(&left), 0, true), "it was evicted");
        for end in [None, Some(&lost), Some(&told)] {
            assert!(!is_in_vain(end, 0, false), "{end:?}");
        }
    }

    #[test]
    fn the_sixth_start_after_five_aborts_is_refused_and_the_next_begins_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let starts = Starts {
            path: dir.path().join("m.starts"),
        };
        for _ in 0..ABORTS_MAX {
            starts.begin().expect("it may start");
        }
        let told = starts.begin().expect_err("one too many");
        assert!(told.contains("5 times in a row"), "{told}");
        starts.begin().expect("it was released");
        starts.end();
        assert!(!starts.path.exists());
        // An end of its own in between is no abort.
        for _ in 0..2 * ABORTS_MAX {
            starts.begin().expect("it may start");
            starts.end();
        }
    }
}
