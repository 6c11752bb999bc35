//! What a process costs, read from the kernel: CPU, memory, system calls.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

/// CPU time of this process so far, user and system, all threads.
pub fn process_cpu() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Resident memory of this process in bytes, now and at its peak.
///
/// # Panics
/// Where `/proc` is not mounted.
pub fn memory() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<u64>().ok())
            .expect("a number of KiB")
            * 1024
    };
    (bytes("VmRSS:"), bytes("VmHWM:"))
}

/// From now on the peak of [`memory`] is that since now, where the kernel lets a process forget it.
pub fn forget_peak() {
    // See proc(5), on clear_refs. Where it may not be written the peak is that of the process.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Counts the system calls of all threads that this process has when it is opened.
pub struct Syscalls {
    counters: Vec<File>,
}

impl Syscalls {
    /// Opens a counter on the kernel's tracepoint. While one is open every system call of the machine is a little
    /// dearer, so time is not measured in the same span.
    ///
    /// # Errors
    /// Without performance events or tracepoints in the kernel, or without the right to use them (root, or
    /// CAP_PERFMON and a tracefs that can be read).
    pub fn open() -> io::Result<Self> {
        let tracepoint = tracepoint().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("raw_syscalls:sys_enter in tracefs: {error}"),
            )
        })?;
        let counters = std::fs::read_dir("/proc/self/task")?
            .map(|entry| {
                let name = entry?.file_name();
                let thread = name.to_str().and_then(|name| name.parse().ok());
                open_counter(tracepoint, thread.expect("a thread's number")).map(File::from)
            })
            .collect::<io::Result<_>>()
            .map_err(|error| io::Error::new(error.kind(), format!("perf_event_open: {error}")))?;
        Ok(Syscalls { counters })
    }

    /// System calls so far.
    ///
    /// # Errors
    /// When a counter cannot be read.
    pub fn count(&mut self) -> io::Result<u64> {
        let mut sum = 0;
        for counter in &mut self.counters {
            let mut bytes = [0; 8];
            counter.read_exact(&mut bytes)?;
            sum += u64::from_ne_bytes(bytes);
        }
        Ok(sum)
    }
}

const TRACEPOINT: &str = "events/raw_syscalls/sys_enter/id";

/// The tracepoint's number, from the mounted tracefs or one of our own that is mounted nowhere.
fn tracepoint() -> io::Result<u64> {
    let mounted = std::fs::read_to_string(format!("/sys/kernel/tracing/{TRACEPOINT}"));
    let text = match mounted {
        Ok(text) => text,
        Err(_) => {
            let fs = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
            rustix::mount::fsconfig_create(fs.as_fd())?;
            let mount = rustix::mount::fsmount(
                fs.as_fd(),
                FsMountFlags::FSMOUNT_CLOEXEC,
                MountAttrFlags::empty(),
            )?;
            let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
            let file = rustix::fs::openat(mount, TRACEPOINT, flags, rustix::fs::Mode::empty())?;
            io::read_to_string(File::from(file))?
        }
    };
    text.trim()
        .parse()
        .map_err(|_| io::Error::other(format!("{text:?} is no number")))
}

/// The kernel's perf_event_attr in its first published size.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

const _: () = assert!(size_of::<PerfEventAttr>() == 64);

const PERF_TYPE_TRACEPOINT: u32 = 2;
const PERF_FLAG_FD_CLOEXEC: libc::c_ulong = 8;

fn open_counter(tracepoint: u64, thread: libc::pid_t) -> io::Result<OwnedFd> {
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: tracepoint,
        ..PerfEventAttr::default()
    };
    // SAFETY: the kernel reads `size` bytes of `attr`, which it has, and gives a new descriptor or -1.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            thread,
            -1 as libc::c_int,
            -1 as libc::c_int,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

#[cfg(test)]
mod tests {

    use super::*;

    #[test]
    fn a_process_has_memory_and_uses_cpu() {
        let (now, peak) = memory();
        assert!(0 < now && now <= peak, "{now} {peak}");
        let before = process_cpu();
        while process_cpu() == before {
            std::hint::spin_loop();
        }
    }

    #[test]
    #[ignore = "needs tracepoints: `.ci/run machine` runs it"]
    fn system_calls_are_counted_where_that_is_allowed() {
        let mut counter = Syscalls::open().expect("leave to count them");
        let before = counter.count().unwrap();
        for _ in 0..1_000 {
            let _ = rustix::process::getppid();
        }
        let calls = counter.count().unwrap() - before;
        assert!(calls >= 1_000, "{calls}");
    }
}
