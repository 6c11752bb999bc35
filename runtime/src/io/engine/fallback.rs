//! Whether a refusal by io_uring means a smaller ring, the other engine, or an error, and the sentence that says so.

use std::io;

use rustix::io::Errno;

use super::Choice;

/// Entries of the ring that is tried first; halved as long as the kernel has no memory for it.
const ENTRIES_FIRST: u32 = 1024;
/// The smallest ring worth having: an ordinary user's RLIMIT_MEMLOCK of 64 KiB allows it.
const ENTRIES_LEAST: u32 = 64;

/// No engine could be opened.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ring engine was asked for and cannot be had here.
    #[error("--mw-engine ring: {reason}; {remedy}, or use --mw-engine auto")]
    Refused {
        /// What the kernel said, and the likely cause.
        reason: String,
        /// What could be done about it.
        remedy: &'static str,
        /// As it came.
        source: io::Error,
    },
    /// This process may open no more files, so that neither engine would work.
    #[error(
        "no file descriptor for the network engine: {0}; raise the limit of open files (ulimit -n)"
    )]
    Descriptors(#[source] io::Error),
    /// Anything else that failed while setting up.
    #[error("the network engine cannot be set up: {0}")]
    Setup(#[source] io::Error),
}

/// What came of trying to open a ring.
pub(super) enum Outcome<R> {
    Ring(R, String),
    Epoll(String),
    Failed(EngineError),
}

/// Tries rings of falling size until one opens or the reason is another than memory.
pub(super) fn try_sizes<R>(
    choice: Choice,
    mut open: impl FnMut(u32) -> io::Result<R>,
) -> Outcome<R> {
    let mut entries = ENTRIES_FIRST;
    loop {
        let error = match open(entries) {
            Ok(ring) => return Outcome::Ring(ring, opened(entries)),
            Err(error) => error,
        };
        if Errno::from_io_error(&error) == Some(Errno::NOMEM) && entries > ENTRIES_LEAST {
            entries /= 2;
            continue;
        }
        return match (refusal(&error), choice) {
            (Some((reason, _)), Choice::Auto) => Outcome::Epoll(format!("{reason}; using epoll")),
            (Some((reason, remedy)), _) => Outcome::Failed(EngineError::Refused {
                reason,
                remedy,
                source: error,
            }),
            (None, _) if is_descriptors(&error) => Outcome::Failed(EngineError::Descriptors(error)),
            (None, _) => Outcome::Failed(EngineError::Setup(error)),
        };
    }
}

fn opened(entries: u32) -> String {
    if entries == ENTRIES_FIRST {
        return String::from("io_uring with multishot receive works here");
    }
    format!(
        "io_uring works here with {entries} entries; more were refused: ENOMEM (RLIMIT_MEMLOCK, ulimit -l)"
    )
}

/// Reason and remedy, if the error means that io_uring is not to be had here, rather than that something is wrong.
fn refusal(error: &io::Error) -> Option<(String, &'static str)> {
    let (said, cause, remedy) = match Errno::from_io_error(error) {
        Some(Errno::NOSYS) => (
            "ENOSYS",
            "no io_uring in this kernel, or a seccomp filter",
            "run on Linux 6.0 or later",
        ),
        Some(Errno::PERM) => (
            "EPERM",
            "kernel.io_uring_disabled or a seccomp filter",
            "set kernel.io_uring_disabled=0 or let the container's seccomp profile allow io_uring",
        ),
        Some(Errno::ACCESS) => (
            "EACCES",
            "a security module",
            "let its policy allow io_uring",
        ),
        Some(Errno::INVAL) => (
            "EINVAL",
            "multishot receive needs Linux 6.0",
            "run on Linux 6.0 or later",
        ),
        Some(Errno::NOMEM) => (
            "ENOMEM",
            "RLIMIT_MEMLOCK, ulimit -l",
            "raise RLIMIT_MEMLOCK (ulimit -l)",
        ),
        _ if error.kind() == io::ErrorKind::Unsupported => (
            "a trial of multishot receive failed",
            "Linux 6.0 or later is needed",
            "run on Linux 6.0 or later",
        ),
        _ => return None,
    };
    let reason = format!("io_uring refused by the kernel: {said} ({cause})");
    Some((reason, remedy))
}

fn is_descriptors(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::MFILE | Errno::NFILE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The outcome if a ring of `works` entries or fewer opens, and larger ones fail with `errno`.
    fn outcome(choice: Choice, errno: Errno, works: u32) -> String {
        let open = |entries| {
            if entries <= works {
                Ok(entries)
            } else {
                Err(io::Error::from(errno))
            }
        };
        match try_sizes(choice, open) {
            Outcome::Ring(entries, why) => format!("ring of {entries}: {why}"),
            Outcome::Epoll(why) => format!("epoll: {why}"),
            Outcome::Failed(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_refused_ring_means_a_smaller_one_or_epoll_or_an_error() {
        use Choice::{Auto, Ring};
        let rows = [
            (
                Auto,
                Errno::NOMEM,
                1024,
                "ring of 1024: io_uring with multishot",
            ),
            (
                Auto,
                Errno::NOMEM,
                1000,
                "ring of 512: io_uring works here with 512 entries",
            ),
            (
                Ring,
                Errno::NOMEM,
                64,
                "ring of 64: io_uring works here with 64 entries",
            ),
            (
                Auto,
                Errno::NOMEM,
                63,
                "epoll: io_uring refused by the kernel: ENOMEM (RLIMIT_MEMLOCK, ulimit -l); using epoll",
            ),
            (
                Ring,
                Errno::NOMEM,
                63,
                "error: --mw-engine ring: io_uring refused by the kernel: ENOMEM",
            ),
            (
                Auto,
                Errno::PERM,
                64,
                "epoll: io_uring refused by the kernel: EPERM (kernel.io_uring_disabled or a seccomp filter); using epoll",
            ),
            (
                Ring,
                Errno::PERM,
                0,
                "error: --mw-engine ring: io_uring refused by the kernel: EPERM",
            ),
            (
                Auto,
                Errno::NOSYS,
                0,
                "epoll: io_uring refused by the kernel: ENOSYS",
            ),
            (
                Auto,
                Errno::INVAL,
                0,
                "epoll: io_uring refused by the kernel: EINVAL",
            ),
            (
                Auto,
                Errno::ACCESS,
                0,
                "epoll: io_uring refused by the kernel: EACCES",
            ),
            (
                Auto,
                Errno::MFILE,
                0,
                "error: no file descriptor for the network engine",
            ),
            (
                Ring,
                Errno::NFILE,
                0,
                "error: no file descriptor for the network engine",
            ),
            (
                Auto,
                Errno::IO,
                0,
                "error: the network engine cannot be set up",
            ),
        ];
        for (choice, errno, works, expected) in rows {
            let got = outcome(choice, errno, works);
            assert!(
                got.starts_with(expected),
                "{choice:?} {errno:?} {works}: {got}"
            );
        }
    }

    #[test]
    fn a_failed_trial_is_a_refusal() {
        let failed = |_| Err::<(), _>(io::ErrorKind::Unsupported.into());
        assert!(matches!(try_sizes(Choice::Auto, failed), Outcome::Epoll(_)));
    }
}
