//! What a test needs of the machine; where that is not had the test is ignored, with the reason.
//!
//! `cargo test .. -- --ignored` runs those, and they fail.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use libtest_mimic::{Failed, Trial};
use ringmw::internals::engine::{self, Choice};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For five thousand slaves, and what else is open.
const FILES: u64 = 5_200;
/// For ten thousand connections and more.
const MANY_FILES: u64 = 16_000;

/// What not every Linux machine has.
// Each test binary uses a part of it.
#[allow(dead_code)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// io_uring.
    Ring,
    /// Leave to mount a filesystem of one's own.
    Mount,
    /// An ordinary user who may run this test's binary, and leave to become that user.
    Nobody,
    /// Leave to have 5,200 files open.
    Files,
    /// Leave to have 16,000 files open.
    ManyFiles,
    /// Leave to become other users, and to have user namespaces as such a one.
    Users,
    /// A folder without modes, by bindfs.
    Modeless,
    /// The sysctl that forbids io_uring to ordinary users, and leave to write it.
    Sysctl,
    /// A terminal that a program can look at.
    Tmux,
}

impl Need {
    fn word(self) -> &'static str {
        match self {
            Need::Ring => "ring",
            Need::Mount => "mount",
            Need::Files => "files",
            Need::ManyFiles => "16,000 files",
            Need::Nobody => "nobody",
            Need::Users => "user namespaces",
            Need::Modeless => "bindfs",
            Need::Sysctl => "sysctl",
            Need::Tmux => "tmux",
        }
    }

    fn is_had(self) -> bool {
        match self {
            Need::Ring => ring_is_had(),
            Need::Mount => succeeds(
                Command::new("unshare").args(["-m", "mount", "-t", "tmpfs", "none", "/tmp"]),
            ),
            Need::Nobody => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
                command.arg(std::env::current_exe().unwrap());
                succeeds(command.arg("--list"))
            }
            Need::Files => files_are_had(FILES),
            Need::ManyFiles => files_are_had(MANY_FILES),
            Need::Users => succeeds(
                Command::new("setpriv")
                    .args(["--reuid=65534", "--regid=65533", "--clear-groups"])
                    .args(["unshare", "--user", "--map-root-user", "true"]),
            ),
            Need::Modeless => {
                std::fs::File::open("/dev/fuse").is_ok()
                    && succeeds(Command::new("bindfs").arg("--version"))
            }
            Need::Tmux => succeeds(Command::new("tmux").arg("-V")),
            Need::Sysctl => std::fs::OpenOptions::new()
                .write(true)
                .open("/proc/sys/kernel/io_uring_disabled")
                .is_ok(),
        }
    }
}

fn files_are_had(files: u64) -> bool {
    let enough = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    let allowed = getrlimit(Resource::Nofile).maximum;
    allowed.is_none_or(|allowed| allowed >= files) || setrlimit(Resource::Nofile, enough).is_ok()
}

fn succeeds(command: &mut Command) -> bool {
    let output = command.stdout(Stdio::null()).stderr(Stdio::null());
    output.status().is_ok_and(|status| status.success())
}

/// A refusal alone makes io_uring not to be had: any other error is a failure.
fn ring_is_had() -> bool {
    let listener = engine::listen(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    match engine::open(Choice::Ring, listener) {
        Ok(_) => true,
        Err(engine::EngineError::Refused { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A test by its name, ignored where one of its needs is not had.
pub(crate) fn trial(name: &str, needs: &[Need], test: impl FnOnce() + Send + 'static) -> Trial {
    let trial = Trial::test(name, move || -> Result<(), Failed> {
        test();
        Ok(())
    });
    match needs.iter().find(|need| !need.is_had()) {
        None => trial,
        Some(need) => trial
            .with_kind(format!("has no {}", need.word()))
            .with_ignored_flag(true),
    }
}

/// A test of that name for each engine.
#[macro_export]
macro_rules! for_both_engines {
    ($ring:expr, $epoll:expr; $($test:ident),* $(,)?) => {
        [$(
            $crate::need::trial(concat!("ring::", stringify!($test)), &[$crate::need::Need::Ring], || $test($ring)),
            $crate::need::trial(concat!("epoll::", stringify!($test)), &[], || $test($epoll)),
        )*]
    };
}
