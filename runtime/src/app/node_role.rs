//! One batch job that fills a node (`--mw-slave-count`): a parent that starts slaves of this binary, pins each to a
//! core, and starts the dead again.
//!
//! The parent does not know the master; its slaves do. When those that could run have been told to stop it exits 0. When
//! every slot was given up, or the batch system takes the node back, it exits 255, so that the job is run again.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use ringmw_codec::flags::{FLAG, exit};
use rustix::thread::sched_getaffinity;

use crate::app::slave_role;
use crate::flags::{Settings, SlaveCount};
use crate::io::local::{LocalEvent, Plan, Supervisor, cores, own_stdio};
use crate::io::secret_file;
use crate::io::signals::Leave;
use crate::io::terminal::complain;

const COUNT: &str = "--mw-slave-count";
const AUDIT_FILE: &str = "--mw-audit-file";
/// None is started again so shortly before the time limit: it would be gone as soon as it came.
const LIMIT_LEAD: Duration = Duration::from_secs(1);
/// Slaves get so long to leave by themselves at the time limit, which ends their computing and not their writing: longer
/// than any of them waits for a master that takes nothing.
const LIMIT_BOUND: Duration = Duration::from_secs(24 * 3_600);
const TICK: Duration = Duration::from_millis(100);

pub(super) fn run(settings: &Settings, count: SlaveCount, name: &str) -> u8 {
    let allowed = allowed_cores();
    let slaves = match count {
        SlaveCount::Slaves(slaves) => slaves,
        SlaveCount::Auto => least(cores_of_job(), cores()),
    };
    let job = slave_role::job();
    let secret = match &settings.secret_file {
        Some(path) => match secret_file::read(path) {
            Ok(secret) => Some(secret),
            Err(error) => {
                complain(name, &error);
                return exit::ERROR;
            }
        },
        // Its slaves read the resource file themselves.
        None => None,
    };
    let mut plan = Plan {
        slaves,
        program: PathBuf::from("/proc/self/exe"),
        arg0: std::env::args_os().next(),
        args: own_args(std::env::args_os().skip(1)),
        secret: None,
        audit_file: settings.audit_file.clone(),
        output: own_stdio(),
        name: name.to_owned(),
        batch_job: Some(if job.is_empty() {
            "node".to_owned()
        } else {
            job
        }),
        cores: pins(allowed, slaves),
    };
    plan.tell(secret);
    let evicted = Arc::new(AtomicBool::new(false));
    for signal in Leave::heeded() {
        if let Err(error) = signal_hook::flag::register(signal.number(), Arc::clone(&evicted)) {
            complain(name, &format!("signals cannot be caught: {error}"));
            return exit::ERROR;
        }
    }
    let limit = settings.slave_bounds.time_limit.map(Duration::from_nanos);
    match supervise(plan, &evicted, limit) {
        Ok(code) => code,
        Err(error) => {
            complain(name, &error);
            exit::ERROR
        }
    }
}

fn supervise(plan: Plan, evicted: &AtomicBool, limit: Option<Duration>) -> Result<u8, String> {
    let began = Instant::now();
    let mut left = plan.slaves;
    let mut was_told = false;
    let (news, inbox) = channel();
    let supervisor = Supervisor::start(plan, move |event| {
        // The parent may be leaving already.
        let _ = news.send(event);
    })
    .map_err(|error| format!("cannot start a slave of this binary: {error}"))?;
    let mut leaving = false;
    loop {
        match inbox.recv_timeout(TICK) {
            Ok(LocalEvent::Started { .. }) => {}
            Ok(LocalEvent::Ended { death, restart_in }) => {
                was_told |= death.is_over;
                left -= u32::from(restart_in.is_none());
                // Of those that were given up the others have said that the computation is finished.
                if left == 0 && was_told && !leaving {
                    return Ok(exit::OK);
                }
            }
            Ok(LocalEvent::Failed(failure)) => {
                supervisor.stop(Duration::ZERO);
                return Err(failure.to_string());
            }
            Err(RecvTimeoutError::Timeout) => {}
            // The last of them has left.
            Err(RecvTimeoutError::Disconnected) if leaving => return Ok(exit::ERROR),
            Err(RecvTimeoutError::Disconnected) => {
                return Err("the supervisor of the slaves is gone".to_owned());
            }
        }
        if evicted.load(Ordering::Relaxed) {
            supervisor.stop(Duration::ZERO);
            return Ok(exit::ERROR);
        }
        if !leaving && limit.is_some_and(|limit| began.elapsed() + LIMIT_LEAD >= limit) {
            supervisor.begin_to_stop(LIMIT_BOUND);
            leaving = true;
        }
    }
}

/// The arguments of this process for its children: a count would make parents of them, each has its own trail, and the
/// secret comes from their parent.
fn own_args(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut args = args.peekable();
    let mut is_ours = true;
    while let Some(arg) = args.next() {
        is_ours &= arg != "--";
        let dropped = |flag: &&str| {
            let bytes = arg.as_bytes();
            bytes == flag.as_bytes()
                || bytes
                    .strip_prefix(flag.as_bytes())
                    .is_some_and(|rest| rest.starts_with(b"="))
        };
        match [COUNT, AUDIT_FILE, FLAG.secret_file.name]
            .iter()
            .find(|flag| is_ours && dropped(flag))
        {
            // Its value is the next one, unless it is in the same.
            Some(flag) if arg == **flag => _ = args.next(),
            Some(_) => {}
            None => kept.push(arg),
        }
    }
    kept
}

/// Where each slave is pinned. Cores are ours to share out if there is a slave for each, or the job was given fewer
/// than the machine has; else other jobs may sit on them, and the system knows better.
fn pins(allowed: Vec<usize>, slaves: u32) -> Vec<usize> {
    let online = online_cores();
    let is_ours = allowed.len() <= slaves as usize || allowed.len() < online;
    if is_ours { allowed } else { Vec::new() }
}

fn online_cores() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let range = |part: &str| {
        let (first, last) = part
            .trim()
            .split_once('-')
            .unwrap_or((part.trim(), part.trim()));
        Some(last.parse::<usize>().ok()? - first.parse::<usize>().ok()? + 1)
    };
    text.split(',').filter_map(range).sum()
}

fn allowed_cores() -> Vec<usize> {
    sched_getaffinity(None).map_or(Vec::new(), |set| {
        (0..rustix::thread::CpuSet::MAX_CPU)
            .filter(|&core| set.is_set(core))
            .collect()
    })
}

/// A job may be pinned to fewer cores than it was given, or be held to fewer by a cgroup.
fn least(job: Option<u32>, here: u32) -> u32 {
    job.map_or(here, |job| job.min(here))
}

/// What the batch system says that the job has: Slurm in the environment, HTCondor in the machine's ad.
fn cores_of_job() -> Option<u32> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let condor = || {
        let ad = std::fs::read_to_string(std::env::var_os("_CONDOR_MACHINE_AD")?).ok()?;
        let cpus = ad.lines().find_map(|line| {
            let (key, value) = line.split_once('=')?;
            (key.trim() == "Cpus").then(|| value.trim().to_owned())
        });
        cpus?.parse::<u32>().ok()
    };
    number("SLURM_CPUS_PER_TASK")
        .or_else(|| number("SLURM_CPUS_ON_NODE"))
        .or_else(condor)
        .filter(|cores| *cores > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_no_parents() {
        let line = "--mw-slave --mw-slave-count auto --mw-resource-file f --mw-audit-file=trail x -- --mw-slave-count 3";
        let kept = own_args(line.split(' ').map(OsString::from));
        let expected = "--mw-slave --mw-resource-file f x -- --mw-slave-count 3";
        assert_eq!(kept, expected.split(' ').collect::<Vec<_>>());
    }

    #[test]
    fn auto_is_the_least_of_what_is_allowed() {
        assert_eq!(
            [least(None, 4), least(Some(8), 4), least(Some(2), 4)],
            [4, 4, 2]
        );
    }

    #[test]
    fn cores_that_may_be_others_are_left_to_the_system() {
        let all: Vec<usize> = (0..online_cores()).collect();
        assert_eq!(pins(all.clone(), all.len() as u32), all);
        assert_eq!(pins(vec![], 4), Vec::<usize>::new());
        if all.len() > 1 {
            assert_eq!(pins(all.clone(), 1), Vec::<usize>::new());
            assert_eq!(pins(vec![1], 1), [1]);
        }
    }
}
