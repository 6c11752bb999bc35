//! What the doctor looks at, read once. It judges nothing.

use std::fs;
use std::net::TcpListener;
use std::thread;

use rustix::event::epoll;
use rustix::process::{Resource, getrlimit};
use rustix::system::uname;

use super::ring::{self, Ring};

/// A soft and a hard limit; `None` is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// The host as this process may use it. `None`: this kernel does not say.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) host: String,
    pub(crate) kernel: String,
    pub(crate) ring: Ring,
    /// `kernel.io_uring_disabled`.
    pub(crate) ring_disabled: Option<u64>,
    /// `kernel.io_uring_group`; -1 is no group.
    pub(crate) ring_group: Option<i64>,
    /// 0 none, 1 strict, 2 a filter.
    pub(crate) seccomp_mode: Option<u64>,
    /// /proc is mounted; without it much of the above and below is unknown.
    pub(crate) proc_mounted: bool,
    pub(crate) memlock: Limit,
    pub(crate) open_files: Limit,
    /// Processes and threads of this user.
    pub(crate) processes: Limit,
    /// Bytes of a file that is written.
    pub(crate) file_bytes: Limit,
    pub(crate) somaxconn: Option<u64>,
    /// `net.ipv4.neigh.default.gc_thresh3`: most hosts of the local network that the kernel remembers at a time.
    pub(crate) neighbours: Option<u64>,
    /// The processor has instructions for AES; `None`: not known for this kind of processor.
    pub(crate) aes: Option<bool>,
    pub(crate) cores_online: Option<u64>,
    pub(crate) cores_affinity: Option<u64>,
    /// Affinity and cgroup quota considered.
    pub(crate) cores_usable: u64,
    /// What stands in the way of epoll or of a listening socket.
    pub(crate) network: Result<(), String>,
}

impl Facts {
    pub(crate) fn read() -> Self {
        let system = uname();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            host: system.nodename().to_string_lossy().into_owned(),
            kernel: system.release().to_string_lossy().into_owned(),
            ring: ring::probe(),
            ring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
            ring_group: number("/proc/sys/kernel/io_uring_group"),
            seccomp_mode: status_field(&status, "Seccomp").and_then(|field| field.parse().ok()),
            proc_mounted: fs::metadata("/proc/self/status").is_ok(),
            memlock: limit(Resource::Memlock),
            open_files: limit(Resource::Nofile),
            processes: limit(Resource::Nproc),
            file_bytes: limit(Resource::Fsize),
            somaxconn: number("/proc/sys/net/core/somaxconn"),
            neighbours: number("/proc/sys/net/ipv4/neigh/default/gc_thresh3"),
            aes: aes(),
            cores_online: read_list("/sys/devices/system/cpu/online"),
            cores_affinity: status_field(&status, "Cpus_allowed_list").and_then(count_list),
            cores_usable: thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            network: network(),
        }
    }
}

fn limit(resource: Resource) -> Limit {
    let limit = getrlimit(resource);
    Limit {
        soft: limit.current,
        hard: limit.maximum,
    }
}

fn number<T: std::str::FromStr>(path: &str) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read_list(path: &str) -> Option<u64> {
    count_list(fs::read_to_string(path).ok()?.trim())
}

/// How many numbers stand in the kernel's list form, `0-3,8`.
fn count_list(list: &str) -> Option<u64> {
    list.split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            (last + 1).checked_sub(first)
        })
        .sum()
}

fn status_field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

fn aes() -> Option<bool> {
    #[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
    return Some(std::arch::is_x86_feature_detected!("aes"));
    #[cfg(target_arch = "aarch64")]
    return Some(std::arch::is_aarch64_feature_detected!("aes"));
    #[cfg(not(any(target_arch = "x86_64", target_arch = "x86", target_arch = "aarch64")))]
    None
}

fn network() -> Result<(), String> {
    epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|error| format!("no epoll: {error}"))?;
    TcpListener::bind("127.0.0.1:0")
        .map_err(|error| format!("cannot listen on 127.0.0.1: {error}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_counted() {
        assert_eq!(count_list("0"), Some(1));
        assert_eq!(count_list("0-3,8"), Some(5));
        assert_eq!(count_list("0-1,4-5,7"), Some(5));
        assert_eq!(count_list("3-1"), None);
        assert_eq!(count_list(""), None);
    }

    #[test]
    fn a_status_field_is_found_by_its_whole_name() {
        let status = "Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n";
        assert_eq!(status_field(status, "Seccomp"), Some("2"));
        assert_eq!(status_field(status, "Threads"), None);
    }
}
