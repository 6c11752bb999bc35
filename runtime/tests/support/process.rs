//! Real processes of a test's own application: started, watched, and killed when the test ends.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ringmw_codec::audit::Event;
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use crate::support::{events, events_from, until};

/// In the environment of a process that is the application, not the tests.
pub(crate) const AS_APPLICATION: &str = "RINGMW_TEST_APPLICATION";

pub(crate) struct Process {
    child: Child,
    trail: PathBuf,
    /// Bytes of the trail that earlier processes of this name wrote.
    before: usize,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts the application with its trail in a file of this name in `dir`.
    pub(crate) fn start(dir: &Path, name: &str, args: &[&str]) -> Process {
        Self::start_with(dir, name, args, |_| {})
    }

    pub(crate) fn start_with(
        dir: &Path,
        name: &str,
        args: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Process {
        let path = |kind: &str| dir.join(format!("{name}.{kind}"));
        let (trail, stdout, stderr) = (path("trail"), path("stdout"), path("stderr"));
        let before = std::fs::metadata(&trail).map_or(0, |trail| trail.len() as usize);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(args)
            .arg("--mw-audit-file")
            .arg(&trail)
            .env(AS_APPLICATION, "1")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap());
        prepare(&mut command);
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Process {
            child,
            trail,
            before,
            stdout,
            stderr,
        }
    }

    /// A master that listens on loopback.
    pub(crate) fn master(dir: &Path, args: &[&str]) -> Process {
        Self::master_with(dir, args, |_| {})
    }

    pub(crate) fn master_with(
        dir: &Path,
        args: &[&str],
        prepare: impl FnOnce(&mut Command),
    ) -> Process {
        let role = ["--mw-master", "--mw-master-host", "127.0.0.1"];
        Self::start_with(dir, "master", &[&role, args].concat(), prepare)
    }

    pub(crate) fn slave(dir: &Path, name: &str, address: &str) -> Process {
        let (host, port) = address.rsplit_once(':').unwrap();
        Self::start(
            dir,
            name,
            &[
                "--mw-slave",
                "--mw-master-host",
                host,
                "--mw-master-port",
                port,
            ],
        )
    }

    /// Where this master listens.
    pub(crate) fn address(&self) -> String {
        self.await_event("the master to listen", |event| match event {
            Event::Ready { addresses, .. } => Some(addresses[0].clone()),
            _ => None,
        })
    }

    /// What it has said itself, not what earlier processes said in the same trail.
    pub(crate) fn events(&self) -> Vec<Event> {
        events_from(&self.trail, self.before)
    }

    /// What stands in its trail, of the lives before it too.
    pub(crate) fn all_events(&self) -> Vec<Event> {
        events(&self.trail)
    }

    /// Its first event, past or to come, that `find` finds.
    pub(crate) fn await_event<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&Event) -> Option<T>,
    ) -> T {
        until(what, || self.events().iter().find_map(&mut find))
    }

    /// Waits until it has said so many events of a kind.
    pub(crate) fn await_count(&self, what: &str, count: usize, kind: impl Fn(&Event) -> bool) {
        until(what, || {
            (self.events().iter().filter(|event| kind(event)).count() >= count).then_some(())
        });
    }

    pub(crate) fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// The exit code, 128 + n if signal n killed it, and how long it took.
    pub(crate) fn exit(&mut self) -> (i32, Duration) {
        let begun = Instant::now();
        let what = format!("the exit of {}", self.trail.display());
        let status = until(&what, || self.child.try_wait().unwrap());
        let code = status
            .code()
            .or(status.signal().map(|signal| 128 + signal))
            .expect("one of both");
        (code, begun.elapsed())
    }

    /// It exits with this code; its last words if not.
    pub(crate) fn expect_exit(&mut self, code: i32) -> Duration {
        let (got, took) = self.exit();
        assert_eq!(got, code, "{}: {}", self.trail.display(), self.stderr());
        took
    }

    /// The only line on stderr.
    pub(crate) fn complaint(&self) -> String {
        let stderr = self.stderr();
        assert_eq!(
            stderr.lines().count(),
            1,
            "one line that says what to do: {stderr:?}"
        );
        stderr
    }

    /// Bytes of memory that are its own now.
    pub(crate) fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().nth(1));
        kib.expect("it runs").parse::<u64>().unwrap() << 10
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        let fields: Vec<u64> = stat[stat.rfind(')').unwrap() + 2..]
            .split(' ')
            .filter_map(|field| field.parse().ok())
            .collect();
        // Of the numbers behind the state: utime and stime in ticks of 10 ms.
        Duration::from_millis((fields[10] + fields[11]) * 10)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs it as nobody, with this much memory to lock.
pub(crate) fn as_nobody(command: &mut Command, memlock_bytes: u64) {
    if rustix::process::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    limit(command, Resource::Memlock, memlock_bytes);
}

pub(crate) fn limit(command: &mut Command, resource: Resource, amount: u64) {
    let set = move || {
        setrlimit(
            resource,
            Rlimit {
                current: Some(amount),
                maximum: Some(amount),
            },
        )?;
        Ok(())
    };
    // SAFETY: it makes one system call, which is all that is allowed between fork and exec.
    unsafe { command.pre_exec(set) };
}

/// What a seccomp filter answers to io_uring_setup.
#[derive(Copy, Clone)]
pub(crate) struct Deny {
    pub(crate) errno: i32,
    /// Only to rings of this many entries.
    pub(crate) entries: Option<u32>,
}

/// Denies io_uring as a container's seccomp profile does.
pub(crate) fn deny_io_uring(command: &mut Command, deny: Deny) {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    // struct seccomp_data: the number of the system call at 0, the low half of its first argument at 16.
    const NUMBER_AT: u32 = 0;
    const ARGUMENT_AT: u32 = 16;
    let step = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let entries = deny.entries.unwrap_or(0);
    let filter = [
        step(LOAD, NUMBER_AT, 0, 0),
        step(JUMP_IF_EQUAL, libc::SYS_io_uring_setup as u32, 0, 3),
        step(LOAD, ARGUMENT_AT, 0, 0),
        step(JUMP_IF_EQUAL, entries, 0, u8::from(deny.entries.is_some())),
        step(RETURN, libc::SECCOMP_RET_ERRNO | deny.errno as u32, 0, 0),
        step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let install = move || {
        let program = libc::sock_fprog {
            len: filter.len() as u16,
            filter: filter.as_ptr().cast_mut(),
        };
        // SAFETY: prctl reads the program, which outlives the call; both are plain system calls.
        let failed = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
                || libc::prctl(
                    libc::PR_SET_SECCOMP,
                    libc::SECCOMP_MODE_FILTER,
                    &raw const program,
                ) != 0
        };
        if failed {
            Err(std::io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    // SAFETY: it makes two system calls and allocates nothing.
    unsafe { command.pre_exec(install) };
}

/// A small file system of its own, in a namespace that goes with this process.
pub(crate) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts it at a folder that is made for it; says why not where that cannot be.
    pub(crate) fn mount(at: PathBuf, bytes: u64) -> Result<SmallDisk, String> {
        // SAFETY: a plain system call. The threads that there may be keep the namespace that they have.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return Err(std::io::Error::last_os_error().to_string());
        }
        std::fs::create_dir(&at).unwrap();
        let mount = |args: &[&str]| {
            let output = Command::new("mount")
                .args(args)
                .output()
                .map_err(|error| error.to_string())?;
            match output.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        };
        mount(&["--make-rprivate", "/"])?;
        let size = format!("size={bytes}");
        mount(&["-t", "tmpfs", "-o", &size, "none", at.to_str().unwrap()])?;
        Ok(SmallDisk { at })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Takes all the room that is left.
    pub(crate) fn fill(&self) {
        use std::io::Write;
        let mut ballast = File::options()
            .append(true)
            .create(true)
            .open(self.path("ballast"))
            .unwrap();
        while ballast.write_all(&[0; 512]).is_ok() {}
    }

    pub(crate) fn empty(&self) {
        std::fs::remove_file(self.path("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.at).output();
    }
}
