//! `ringmw doctor`: can this host run ringmw, how well, and what is to be changed.
//!
//! Three steps: [`facts`] and [`ring`] look, [`examine`] judges, the report prints. Only the first touches the host,
//! so that every verdict can be tested without the kernel that deserves it.

mod facts;
mod ring;

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::Args;
use rustix::io::Errno;

use facts::{Facts, Limit};
use ring::{ENTRIES_MAX, ENTRIES_MIN, Ring};

use crate::say;

/// Descriptors a master needs beside one per slave: rings, files, signals, listening and control sockets.
const OPEN_FILES_OWN: u64 = 50;
/// Below so many slaves the limit on open files is worth a remark.
const SLAVES_WANTED: u64 = 10_000;
/// Below so much a trail, a journal or a slave's output may come to its end.
const FILE_BYTES_WANTED: u64 = 1 << 40;
/// Processes and threads of a node with many cores: a slave each, its threads, and those that wait for it.
const PROCESSES_WANTED: u64 = 4_096;
/// The backlog that lets a few thousand slaves connect in the same moment.
const SOMAXCONN_WANTED: u64 = 4_096;
const WIDTH: usize = 80;

/// What `ringmw doctor` takes.
#[derive(Args)]
pub(crate) struct Options {
    /// Print one JSON object instead of the list
    #[arg(long)]
    json: bool,
}

/// Looks, judges, prints.
pub(crate) fn run(options: &Options) -> ExitCode {
    let facts = Facts::read();
    let rows = examine(&facts);
    let report = if options.json {
        json(&facts, &rows)
    } else {
        text(&facts, &rows)
    };
    let code = if can_run(&rows) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    };
    say::report("ringmw doctor", &report, code)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// As it should be.
    Ok,
    /// ringmw runs, but slower or smaller than it could.
    Note,
    /// ringmw cannot run.
    Problem,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::Note => "note",
            State::Problem => "problem",
        }
    }
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    state: State,
    value: String,
    /// Each a sentence or a line to type.
    remedies: Vec<String>,
}

impl Row {
    fn ok(name: &'static str, value: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            value: value.into(),
            remedies: Vec::new(),
        }
    }

    fn wanting<const N: usize>(
        name: &'static str,
        state: State,
        value: impl Into<String>,
        remedies: [&str; N],
    ) -> Self {
        Self {
            name,
            state,
            value: value.into(),
            remedies: remedies.map(str::to_owned).to_vec(),
        }
    }
}

fn can_run(rows: &[Row]) -> bool {
    rows.iter().all(|row| row.state != State::Problem)
}

fn examine(facts: &Facts) -> Vec<Row> {
    vec![
        Row::ok("kernel", format!("Linux {}", facts.kernel)),
        proc_mounted(facts.proc_mounted),
        network(facts),
        io_uring(facts),
        locked_memory(facts),
        open_files(facts.open_files),
        processes(facts.processes),
        file_bytes(facts.file_bytes),
        backlog(facts.somaxconn),
        neighbours(facts.neighbours),
        cores(facts),
        encryption(facts.aes),
    ]
}

fn network(facts: &Facts) -> Row {
    match &facts.network {
        Ok(()) => Row::ok("network", "epoll is there, and a socket may listen"),
        Err(cause) => Row::wanting(
            "network",
            State::Problem,
            cause.clone(),
            [
                "Neither master nor slave can run without: look at the limits below and at the sandbox around this shell.",
            ],
        ),
    }
}

fn io_uring(facts: &Facts) -> Row {
    let (cause, remedies) = match facts.ring {
        Ring::Works { entries } => {
            let value = format!(
                "multishot receive through a shared buffer ring works; ring of {entries} entries"
            );
            return Row::ok("io_uring", value);
        }
        Ring::Refused(error) => no_ring(facts, error),
        Ring::WithoutBuffers(error) => (
            format!(
                "a ring, but no shared buffer ring ({}): the kernel is older than 5.19",
                name(error)
            ),
            vec!["A kernel of 6.0 or later has all that the master wants.".to_owned()],
        ),
        Ring::WithoutMultishot(error) => (
            format!(
                "rings, but no multishot receive ({}): the kernel is older than 6.0",
                name(error)
            ),
            vec!["A kernel of 6.0 or later has all that the master wants.".to_owned()],
        ),
    };
    Row {
        name: "io_uring",
        state: State::Note,
        value: format!("{cause}. The master takes epoll."),
        remedies,
    }
}

const LET_IT_IN: &str = "Let the container have io_uring_setup, io_uring_enter and io_uring_register: docker run \
                         --security-opt seccomp=PROFILE.json with these three allowed, or seccomp=unconfined.";

fn no_ring(facts: &Facts, error: Errno) -> (String, Vec<String>) {
    let is_filtered = facts.seccomp_mode == Some(2);
    let lines = |remedies: &[&str]| remedies.iter().map(|&line| line.to_owned()).collect();
    let code = name(error);
    match error {
        // The switch is there only in kernels that are built with io_uring.
        Errno::NOSYS if is_filtered && facts.ring_disabled.is_some() => (
            format!("hidden by a seccomp filter ({code}, Seccomp: 2 in /proc/self/status)"),
            lines(&[LET_IT_IN]),
        ),
        Errno::NOSYS if is_filtered => (
            format!(
                "not there ({code}): hidden by a seccomp filter (Seccomp: 2 in /proc/self/status), or the kernel has none"
            ),
            lines(&[
                LET_IT_IN,
                "Else a kernel of 6.0 or later, built with CONFIG_IO_URING.",
            ]),
        ),
        Errno::NOSYS => (
            format!("not in this kernel ({code})"),
            lines(&["A kernel of 6.0 or later, built with CONFIG_IO_URING."]),
        ),
        Errno::PERM => refused(facts, is_filtered),
        Errno::NOMEM => {
            let soft = limit(facts.memlock.soft, bytes);
            (
                format!(
                    "no memory for even a ring of {ENTRIES_MIN} entries ({code}): RLIMIT_MEMLOCK is {soft}"
                ),
                lines(&["Raise the limit on locked memory, see below."]),
            )
        }
        Errno::MFILE | Errno::NFILE => (
            format!("no descriptor left ({code})"),
            lines(&["Raise the limit on open files, see below."]),
        ),
        _ => (format!("refused ({code})"), Vec::new()),
    }
}

/// EPERM has several sources, and more than one may be in force: all that are seen are told.
fn refused(facts: &Facts, is_filtered: bool) -> (String, Vec<String>) {
    let mut causes = Vec::new();
    let mut remedies = Vec::new();
    match facts.ring_disabled {
        Some(2) => {
            causes.push("kernel.io_uring_disabled is 2, off for everybody".to_owned());
            remedies.push(
                "sysctl -w kernel.io_uring_disabled=0   (and a line in /etc/sysctl.d)".to_owned(),
            );
        }
        Some(1) => {
            let group = match facts.ring_group {
                Some(group) if group >= 0 => format!("group {group} (kernel.io_uring_group)"),
                _ => "no group (kernel.io_uring_group)".to_owned(),
            };
            causes.push(format!(
                "kernel.io_uring_disabled is 1, off for all but root and {group}"
            ));
            remedies.push(
                "sysctl -w kernel.io_uring_group=GID   (a group of the user who runs the master)"
                    .to_owned(),
            );
            remedies.push("or: sysctl -w kernel.io_uring_disabled=0".to_owned());
        }
        _ => {}
    }
    if is_filtered {
        causes.push(
            "a seccomp filter is in force (Seccomp: 2 in /proc/self/status), as in most containers"
                .to_owned(),
        );
        remedies.push(LET_IT_IN.to_owned());
    }
    if causes.is_empty() {
        causes.push("most likely by a security module (SELinux, AppArmor)".to_owned());
        remedies
            .push("Look for io_uring in the kernel's log: dmesg, or ausearch -m avc.".to_owned());
    }
    (format!("refused (EPERM): {}", causes.join("; ")), remedies)
}

fn raise_memlock() -> Vec<String> {
    let remedies = [
        "ulimit -l unlimited   (up to the hard limit)",
        "For a systemd unit: LimitMEMLOCK=infinity",
        "For logins: USER - memlock unlimited in /etc/security/limits.conf",
    ];
    remedies.map(str::to_owned).to_vec()
}

fn locked_memory(facts: &Facts) -> Row {
    let Limit { soft, hard } = facts.memlock;
    let value = format!(
        "soft {}, hard {} (RLIMIT_MEMLOCK)",
        limit(soft, bytes),
        limit(hard, bytes)
    );
    match facts.ring {
        Ring::Works { entries } if entries < ENTRIES_MAX => Row {
            name: "locked memory",
            state: State::Note,
            value: format!("{value}: room for a ring of {entries} entries, not of {ENTRIES_MAX}"),
            remedies: raise_memlock(),
        },
        Ring::Refused(Errno::NOMEM) => Row {
            name: "locked memory",
            state: State::Note,
            value: format!("{value}: too little"),
            remedies: raise_memlock(),
        },
        _ => Row::ok("locked memory", value),
    }
}

fn open_files(files: Limit) -> Row {
    let slaves = files.hard.map(|hard| hard.saturating_sub(OPEN_FILES_OWN));
    let value = format!(
        "soft {}, hard {} (RLIMIT_NOFILE): the master raises itself to the hard one, room for {} slaves",
        limit(files.soft, count),
        limit(files.hard, count),
        limit(slaves, count),
    );
    match slaves {
        Some(slaves) if slaves < SLAVES_WANTED => Row::wanting(
            "open files",
            if slaves == 0 {
                State::Problem
            } else {
                State::Note
            },
            value,
            [
                "For more, raise the hard limit. For a systemd unit: LimitNOFILE=1048576",
                "For logins: USER - nofile 1048576 in /etc/security/limits.conf",
                "For a container: docker run --ulimit nofile=1048576",
            ],
        ),
        _ => Row::ok("open files", value),
    }
}

fn backlog(somaxconn: Option<u64>) -> Row {
    match somaxconn {
        Some(backlog) if backlog < SOMAXCONN_WANTED => Row::wanting(
            "backlog",
            State::Note,
            format!(
                "{} (net.core.somaxconn): when more slaves connect at once, some try again seconds later",
                count(backlog)
            ),
            ["sysctl -w net.core.somaxconn=4096   (and a line in /etc/sysctl.d)"],
        ),
        Some(backlog) => Row::ok(
            "backlog",
            format!("{} (net.core.somaxconn)", count(backlog)),
        ),
        None => Row::ok("backlog", "unknown: no /proc/sys/net/core/somaxconn here"),
    }
}

fn proc_mounted(is_mounted: bool) -> Row {
    if is_mounted {
        return Row::ok("/proc", "mounted");
    }
    Row::wanting(
        "/proc",
        State::Note,
        "not mounted: the master cannot name the shared libraries that its slaves need, and what is read there is \
         unknown below",
        [
            "mount -t proc proc /proc   (root)",
            "In a container or chroot: one with a /proc, as docker, podman and apptainer make it.",
        ],
    )
}

fn processes(processes: Limit) -> Row {
    let value = format!(
        "soft {}, hard {} (RLIMIT_NPROC, ulimit -u)",
        limit(processes.soft, count),
        limit(processes.hard, count),
    );
    match processes.soft {
        Some(soft) if soft < PROCESSES_WANTED => Row::wanting(
            "processes",
            State::Note,
            format!(
                "{value}: of all processes and threads of this user here; slaves beyond it do not start"
            ),
            [
                "ulimit -u 65536   (up to the hard limit)",
                "For a systemd unit: LimitNPROC=infinity, TasksMax=infinity",
                "For logins: USER - nproc 65536 in /etc/security/limits.conf",
            ],
        ),
        _ => Row::ok("processes", value),
    }
}

fn file_bytes(files: Limit) -> Row {
    let value = format!(
        "soft {}, hard {} (RLIMIT_FSIZE, ulimit -f)",
        limit(files.soft, bytes),
        limit(files.hard, bytes)
    );
    match files.soft {
        Some(soft) if soft < FILE_BYTES_WANTED => Row::wanting(
            "file size",
            State::Note,
            format!("{value}: a trail, a journal or an output that reaches it ends there"),
            [
                "ulimit -f unlimited   (up to the hard limit)",
                "For a systemd unit: LimitFSIZE=infinity",
                "For logins: USER - fsize unlimited in /etc/security/limits.conf",
            ],
        ),
        _ => Row::ok("file size", value),
    }
}

fn neighbours(most: Option<u64>) -> Row {
    const NAME: &str = "neighbour table";
    match most {
        Some(most) if most < SLAVES_WANTED => Row::wanting(
            NAME,
            State::Note,
            format!(
                "{} (net.ipv4.neigh.default.gc_thresh3): more hosts of the local network than that, and connections to \
                 them fail; those behind a router do not count",
                count(most)
            ),
            [
                "sysctl -w net.ipv4.neigh.default.gc_thresh3=16384 net.ipv4.neigh.default.gc_thresh2=8192   (and in \
                 /etc/sysctl.d)",
                "A container takes it from its host: it is to be set there.",
            ],
        ),
        Some(most) => Row::ok(
            NAME,
            format!("{} (net.ipv4.neigh.default.gc_thresh3)", count(most)),
        ),
        None => Row::ok(
            NAME,
            "unknown: no /proc/sys/net/ipv4/neigh/default/gc_thresh3 here",
        ),
    }
}

fn encryption(aes: Option<bool>) -> Row {
    match aes {
        Some(true) => Row::ok("encryption", "the processor has instructions for AES"),
        Some(false) => Row::wanting(
            "encryption",
            State::Note,
            "the processor has no instructions for AES: what goes over the network is encrypted many times slower",
            [
                "In a virtual machine: let it see the host's processor (qemu -cpu host), or add the flag aes.",
                "In a network that you trust: --mw-no-secret on the master sends all of it in plain.",
            ],
        ),
        None => Row::ok(
            "encryption",
            "unknown: whether this kind of processor has instructions for AES",
        ),
    }
}

fn cores(facts: &Facts) -> Row {
    let usable = facts.cores_usable;
    let allowed = facts.cores_affinity.unwrap_or(usable);
    let online = facts.cores_online.unwrap_or(allowed);
    if usable >= online {
        return Row::ok(
            "cores",
            format!("{online}, all usable; local mode starts as many slaves"),
        );
    }
    let mut causes = Vec::new();
    if allowed < online {
        causes.push(format!("affinity allows {allowed}"));
    }
    if usable < allowed {
        causes.push(format!("a cgroup's CPU quota allows {usable}"));
    }
    Row::wanting(
        "cores",
        State::Note,
        format!(
            "{usable} of {online} usable: {}; local mode starts as many slaves",
            causes.join(", ")
        ),
        [
            "If that is not meant: taskset -p and cpu.max of the cgroup tell, the batch job's request or docker run --cpus set it.",
        ],
    )
}

fn name(error: Errno) -> String {
    match error {
        Errno::NOSYS => "ENOSYS".to_owned(),
        Errno::PERM => "EPERM".to_owned(),
        Errno::ACCESS => "EACCES".to_owned(),
        Errno::NOMEM => "ENOMEM".to_owned(),
        Errno::INVAL => "EINVAL".to_owned(),
        Errno::MFILE => "EMFILE".to_owned(),
        Errno::NFILE => "ENFILE".to_owned(),
        other => other.to_string(),
    }
}

fn limit(value: Option<u64>, show: impl Fn(u64) -> String) -> String {
    value.map_or_else(|| "unlimited".to_owned(), show)
}

fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", bytes >> 20),
        _ => format!("{} GiB", bytes >> 30),
    }
}

/// 1048576 as `1,048,576`.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn text(facts: &Facts, rows: &[Row]) -> String {
    let name_width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    let indent = 9 + name_width + 2;
    let mut report = format!("ringmw {} on {}\n\n", env!("CARGO_PKG_VERSION"), facts.host);
    for row in rows {
        let _ = write!(report, "{:<9}{:<name_width$}  ", row.state.word(), row.name);
        wrap(&mut report, &row.value, indent, indent);
        for remedy in &row.remedies {
            let _ = write!(report, "{:indent$}- ", "");
            wrap(&mut report, remedy, indent + 2, indent + 2);
        }
    }
    report.push('\n');
    let verdict = match rows
        .iter()
        .map(|row| row.state)
        .max_by_key(|&state| state as u8)
    {
        Some(State::Problem) => "ringmw cannot run here: see the problem above.",
        Some(State::Note) => "ringmw can run here; the notes tell what would serve it better.",
        _ => "ringmw can run here, and nothing is wanting.",
    };
    report.push_str(verdict);
    report.push('\n');
    report
}

/// Appends words up to [`WIDTH`]; later lines begin at `indent`. Runs of blanks within a line are kept.
fn wrap(report: &mut String, words: &str, start: usize, indent: usize) {
    let mut column = start;
    for (index, word) in words.split(' ').enumerate() {
        if index > 0 && column + 1 + word.chars().count() > WIDTH {
            let _ = write!(report, "\n{:indent$}", "");
            column = indent;
        } else if index > 0 {
            report.push(' ');
            column += 1;
        }
        report.push_str(word);
        column += word.chars().count();
    }
    report.push('\n');
}

fn json(facts: &Facts, rows: &[Row]) -> String {
    let shown: Vec<String> = rows
        .iter()
        .map(|row| {
            let remedies: Vec<String> = row.remedies.iter().map(|remedy| quote(remedy)).collect();
            format!(
                "{{\"name\":{},\"state\":{},\"value\":{},\"remedies\":[{}]}}",
                quote(row.name),
                quote(row.state.word()),
                quote(&row.value),
                remedies.join(","),
            )
        })
        .collect();
    format!(
        "{{\"version\":{},\"host\":{},\"can_run\":{},\"io_uring\":{},\"slaves_max\":{},\"rows\":[{}]}}\n",
        quote(env!("CARGO_PKG_VERSION")),
        quote(&facts.host),
        can_run(rows),
        matches!(facts.ring, Ring::Works { .. }),
        facts.open_files.hard.map_or("null".to_owned(), |hard| hard
            .saturating_sub(OPEN_FILES_OWN)
            .to_string()),
        shown.join(","),
    )
}

fn quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control < ' ' => {
                let _ = write!(quoted, "\\u{:04x}", control as u32);
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests;
