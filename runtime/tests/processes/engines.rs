//! Where io_uring is refused or short of memory the master takes the other engine, and says why.

use std::path::Path;
use std::process::Command;

use ringmw_codec::audit::{EngineWord, Event};

use crate::app::{assert_exit_line, count, dir, printed};
use crate::process::{Deny, Process, as_nobody, deny_io_uring};

/// A master under these conditions serves a slave, and its trail says by which engine and why.
fn engine_of(name: &str, args: &[&str], prepare: impl Fn(&mut Command)) -> (EngineWord, String) {
    let dir = dir();
    open_to_all(dir.path());
    let args = [&["--tasks", "50"], args].concat();
    let mut master = Process::master_with(dir.path(), &args, prepare);
    let mut slave = Process::slave(dir.path(), "slave", &master.address());
    let engine = master.await_event("the engine", |event| match event {
        Event::Engine { engine, why } => Some((*engine, why.clone())),
        _ => None,
    });
    slave.expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(50));
    assert_eq!(
        count(&master.events(), |event| matches!(
            event,
            Event::Engine { .. }
        )),
        1
    );
    eprintln!("{name}: {engine:?}");
    engine
}

/// `--mw-engine ring` under these conditions: one line, 255.
fn no_ring(prepare: impl Fn(&mut Command)) -> String {
    let dir = dir();
    open_to_all(dir.path());
    let mut master = Process::master_with(dir.path(), &["--mw-engine", "ring"], prepare);
    master.expect_exit(255);
    assert_exit_line(&master, 255);
    let complaint = master.complaint();
    assert!(
        complaint.contains("--mw-engine ring") && complaint.contains("--mw-engine auto"),
        "{complaint}"
    );
    complaint
}

/// Another user writes there.
fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777)).unwrap();
}

pub(crate) fn no_io_uring_by_seccomp() {
    for (errno, word) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
        let deny = Deny {
            errno,
            entries: None,
        };
        let (engine, why) = engine_of(word, &[], |command| deny_io_uring(command, deny));
        assert_eq!(engine, EngineWord::Epoll);
        assert!(why.contains(word) && why.contains("seccomp"), "{why}");
        let complaint = no_ring(|command| deny_io_uring(command, deny));
        assert!(complaint.contains(word), "{complaint}");
    }
}

/// The engine's ring opens and tokio-uring's own does not.
pub(crate) fn no_second_ring() {
    let deny = Deny {
        errno: libc::ENOMEM,
        entries: Some(64),
    };
    let (engine, why) = engine_of("second ring", &[], |command| deny_io_uring(command, deny));
    assert_eq!(engine, EngineWord::Epoll);
    assert!(
        why.contains("the master algorithm's own io_uring was refused"),
        "{why}"
    );
    let complaint = no_ring(|command| deny_io_uring(command, deny));
    assert!(complaint.contains("ulimit -l"), "{complaint}");
}

pub(crate) fn little_memory_to_lock() {
    // 64 KiB is what an ordinary user has on older systems; whatever engine it gives, it works and says why. Between that
    // and nothing it depends on what the kernel has given back yet of the last process.
    for bytes in [65_536, 24_576] {
        let (_, why) = engine_of(&format!("{bytes} B to lock"), &[], |command| {
            as_nobody(command, bytes)
        });
        assert!(
            why.contains("io_uring works here")
                || why.contains("ENOMEM")
                || why.contains("Cannot allocate memory"),
            "{why}"
        );
    }
    for bytes in [4_096, 0] {
        let (engine, why) = engine_of(&format!("{bytes} B to lock"), &[], |command| {
            as_nobody(command, bytes)
        });
        assert_eq!(engine, EngineWord::Epoll);
        assert!(why.contains("ENOMEM"), "{why}");
        let complaint = no_ring(|command| as_nobody(command, bytes));
        assert!(complaint.contains("ulimit -l"), "{complaint}");
    }
}

const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

/// Gives the sysctl back.
struct Restore(String);

impl Drop for Restore {
    fn drop(&mut self) {
        std::fs::write(SYSCTL, &self.0).expect("it could be written before");
    }
}

pub(crate) fn no_io_uring_by_sysctl() {
    let before = std::fs::read_to_string(SYSCTL).expect("a kernel that has it");
    // 1: for all but privileged users, so that nobody else's rings on this machine are refused meanwhile.
    std::fs::write(SYSCTL, "1").expect("root may write it");
    let _restore = Restore(before);
    let as_user = |command: &mut Command| as_nobody(command, 1 << 20);
    let (engine, why) = engine_of("sysctl", &[], as_user);
    assert_eq!(engine, EngineWord::Epoll);
    assert!(why.contains("kernel.io_uring_disabled"), "{why}");
    let complaint = no_ring(as_user);
    assert!(
        complaint.contains("kernel.io_uring_disabled=0"),
        "{complaint}"
    );
}
