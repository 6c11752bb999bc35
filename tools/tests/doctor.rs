//! `ringmw doctor` as a process, under limits and filters that really are in force.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

fn doctor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmw"));
    command.arg("doctor");
    command
}

fn run(command: &mut Command) -> (String, Option<i32>) {
    let Output {
        stdout,
        stderr,
        status,
    } = command.output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&stderr), "");
    // Unwrapped, so that words can be looked for.
    let told = String::from_utf8(stdout).expect("UTF-8");
    (
        told.split_whitespace().collect::<Vec<_>>().join(" "),
        status.code(),
    )
}

/// From now on, in this process and what it becomes, `io_uring_setup` fails with `errno`.
fn deny_io_uring(errno: i32) -> io::Result<()> {
    let statement = |code: u32, jt, jf, k| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        statement(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            1,
            libc::SYS_io_uring_setup as u32,
        ),
        statement(
            libc::BPF_RET | libc::BPF_K,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | errno as u32,
        ),
        statement(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain numbers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the program and its filter live until the call has copied them.
    if unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    } != 0
    {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn denied(errno: i32) -> Command {
    let mut command = doctor();
    // SAFETY: two system calls with data on the stack; nothing is allocated or locked.
    unsafe { command.pre_exec(move || deny_io_uring(errno)) };
    command
}

#[test]
fn a_seccomp_filter_is_named_as_the_cause() {
    let (told, status) = run(&mut denied(libc::EPERM));
    assert!(told.contains("note io_uring refused (EPERM):"), "{told}");
    assert!(
        told.contains("a seccomp filter is in force (Seccomp: 2 in /proc/self/status)"),
        "{told}"
    );
    assert!(
        told.contains("--security-opt seccomp=PROFILE.json"),
        "{told}"
    );
    assert_eq!(status, Some(0), "epoll is left");

    let (told, status) = run(&mut denied(libc::ENOSYS));
    assert!(told.contains("hidden by a seccomp filter"), "{told}");
    assert!(told.contains("(ENOSYS"), "{told}");
    assert_eq!(status, Some(0));
}

fn set_limit(resource: libc::__rlimit_resource_t, limit: u64) -> io::Result<()> {
    let limits = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: the limits outlive the call.
    match unsafe { libc::setrlimit(resource, &raw const limits) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn a_low_limit_on_open_files_is_told_with_the_slaves_it_allows() {
    let mut command = doctor();
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| set_limit(libc::RLIMIT_NOFILE, 300)) };
    let (told, status) = run(&mut command);
    assert!(
        told.contains("note open files soft 300, hard 300 (RLIMIT_NOFILE)"),
        "{told}"
    );
    assert!(told.contains("room for 250 slaves"), "{told}");
    assert_eq!(status, Some(0));

    let mut command = doctor();
    // SAFETY: one system call.
    unsafe { command.pre_exec(|| set_limit(libc::RLIMIT_NOFILE, 40)) };
    let (told, status) = run(command.arg("--json"));
    assert!(told.contains(r#""can_run":false"#), "{told}");
    assert_eq!(status, Some(1));
}

#[test]
fn low_limits_on_processes_and_file_sizes_are_told() {
    let mut command = doctor();
    // SAFETY: two system calls.
    unsafe {
        command.pre_exec(|| {
            set_limit(libc::RLIMIT_NPROC, 4000)?;
            set_limit(libc::RLIMIT_FSIZE, 1 << 20)
        })
    };
    let (told, status) = run(&mut command);
    assert!(
        told.contains("note processes soft 4,000, hard 4,000 (RLIMIT_NPROC, ulimit -u)"),
        "{told}"
    );
    assert!(
        told.contains("note file size soft 1 MiB, hard 1 MiB (RLIMIT_FSIZE, ulimit -f)"),
        "{told}"
    );
    assert_eq!(status, Some(0));
}

/// In a mount namespace of its own, where an empty folder lies over /proc; a user namespace too, unless root asks.
#[test]
#[ignore = "needs a mount namespace: `.ci/run machine` runs it"]
fn a_host_without_proc_is_told() {
    let mut command = doctor();
    // SAFETY: three system calls with constants.
    unsafe {
        command.pre_exec(|| {
            let tell = |result| match result {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            };
            if libc::geteuid() != 0 {
                tell(libc::unshare(libc::CLONE_NEWUSER))?;
            }
            tell(libc::unshare(libc::CLONE_NEWNS))?;
            let private = libc::MS_REC | libc::MS_PRIVATE;
            let null = std::ptr::null();
            tell(libc::mount(null, c"/".as_ptr(), null, private, null.cast()))?;
            let kind = c"tmpfs".as_ptr();
            tell(libc::mount(kind, c"/proc".as_ptr(), kind, 0, null.cast()))
        })
    };
    let (told, status) = run(command.stdout(Stdio::piped()));
    assert!(told.contains("note /proc not mounted"), "{told}");
    assert!(told.contains("mount -t proc proc /proc"), "{told}");
    assert!(told.contains("neighbour table unknown: no /proc"), "{told}");
    assert_eq!(status, Some(0), "{told}");
}

const CAP_IPC_LOCK: libc::c_ulong = 14;

/// The kernel counts ring memory only for those without CAP_IPC_LOCK, so this drops it from root's.
#[test]
fn a_low_limit_on_locked_memory_is_told() {
    let mut command = doctor();
    // SAFETY: two system calls.
    unsafe {
        command.pre_exec(|| {
            // Refused to those who do not have it anyway.
            libc::prctl(libc::PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0);
            set_limit(libc::RLIMIT_MEMLOCK, 65536)
        })
    };
    let (told, status) = run(&mut command);
    assert!(
        told.contains("soft 64 KiB, hard 64 KiB (RLIMIT_MEMLOCK)"),
        "{told}"
    );
    // Which of these it is depends on the kernel and on what else this user has locked; some ring works, or none.
    let is_smaller = told.contains("room for a ring of 256 entries, not of 1024");
    assert!(
        is_smaller
            || told.contains("(RLIMIT_MEMLOCK): ")
            || told.contains("The master takes epoll"),
        "{told}"
    );
    assert_eq!(status, Some(0));
}

#[test]
fn help_tells_where_to_run_it() {
    let (told, status) = run(doctor().arg("--help"));
    assert!(told.contains("Run it where the master is to run"), "{told}");
    assert!(
        told.contains("Exit status: 0 if ringmw can run here"),
        "{told}"
    );
    assert_eq!(status, Some(0));
}
