//! Who may join by the resource file: two users of one group, a container whose user has another number, a folder that
//! keeps no modes. It works, or one line says what to do.

use std::ffi::CString;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::UnshareFlags;

use crate::app::{dir, printed};
use crate::process::Process;
use crate::support::until;

/// The user that a master of root's is none of, and two groups.
const USER: u32 = 65_534;
const COLLEAGUES: u32 = 65_533;
const OTHERS: u32 = 65_532;

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A folder in which everybody may write, and a resource file that a group may read since somebody decided so.
fn shared_file(dir: &Path) -> PathBuf {
    mode(dir, 0o777);
    let file = dir.join("resource");
    std::fs::write(&file, "").unwrap();
    chown(&file, None, Some(COLLEAGUES)).unwrap();
    mode(&file, 0o640);
    file
}

fn master(dir: &Path, file: &Path) -> Process {
    let args = ["--mw-resource-file", file.to_str().unwrap(), "--tasks", "3"];
    let master = Process::master(dir, &args);
    master.address();
    until("the resource file", || {
        std::fs::read_to_string(file)
            .ok()
            .filter(|text| text.contains(":secret"))
    });
    master
}

/// A slave of that file, as this user and of this group alone; `prepare` is done as that user.
fn slave(dir: &Path, name: &str, file: &Path, gid: u32, is_contained: bool) -> Process {
    let args = ["--mw-slave", "--mw-resource-file", file.to_str().unwrap()];
    Process::start_with(dir, name, &args, |command| {
        command.uid(USER).gid(gid);
        if is_contained {
            contain(command, gid);
        }
    })
}

/// As in a container without privileges: there the user is number 0.
fn contain(command: &mut Command, gid: u32) {
    let text = |text: String| CString::new(text).unwrap();
    let maps = [
        (c"/proc/self/setgroups", text("deny".into())),
        (c"/proc/self/uid_map", text(format!("0 {USER} 1"))),
        (c"/proc/self/gid_map", text(format!("0 {gid} 1"))),
    ];
    let enter = move || {
        // Who has become another user may not write its own maps.
        rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        // SAFETY: this process, just made by fork, has one thread, and shares no descriptors that matter with it.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWUSER)? };
        for (path, map) in &maps {
            let file = rustix::fs::open(*path, OFlags::WRONLY, Mode::empty())?;
            rustix::io::write(file, map.as_bytes())?;
        }
        Ok(())
    };
    // SAFETY: it makes system calls alone, and allocates nothing.
    unsafe { command.pre_exec(enter) };
}

fn is_told(slave: &mut Process, file: &Path) {
    slave.expect_exit(255);
    let told = slave.complaint();
    for word in [
        file.to_str().unwrap(),
        "Permission denied",
        "chgrp GROUP",
        "chmod 640",
        "mode 0640",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
}

pub(crate) fn two_users_of_one_group() {
    let dir = dir();
    let file = shared_file(dir.path());
    let mut master = master(dir.path(), &file);
    is_told(
        &mut slave(dir.path(), "stranger", &file, OTHERS, false),
        &file,
    );
    slave(dir.path(), "colleague", &file, COLLEAGUES, false).expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(3));
}

pub(crate) fn a_container_whose_user_has_another_number() {
    let dir = dir();
    let file = shared_file(dir.path());
    let mut master = master(dir.path(), &file);
    is_told(
        &mut slave(dir.path(), "stranger", &file, OTHERS, true),
        &file,
    );
    slave(dir.path(), "contained", &file, COLLEAGUES, true).expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(3));
}

/// A mounted folder in which all may do all, whatever modes they give; it goes with it.
struct Modeless {
    server: Child,
    at: PathBuf,
}

impl Modeless {
    fn mount(dir: &Path) -> Self {
        let (kept, at) = (dir.join("kept"), dir.join("modeless"));
        std::fs::create_dir(&kept).unwrap();
        std::fs::create_dir(&at).unwrap();
        let server = Command::new("bindfs")
            .args(["-f", "--perms=0777", "--chmod-ignore", "--chown-ignore"])
            .args([&kept, &at])
            .spawn()
            .unwrap_or_else(|error| panic!("bindfs: {error}"));
        let mounted = Modeless { server, at };
        let is_there = || {
            let mode = std::fs::metadata(&mounted.at).ok()?.permissions().mode();
            (mode & 0o777 == 0o777).then_some(())
        };
        until("the folder to be mounted", is_there);
        mounted
    }
}

impl Drop for Modeless {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).status();
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The run has its secret and works; that all may read it there is said once. A secret that others may read before is
/// refused, with what to do.
pub(crate) fn a_folder_without_modes() {
    let dir = dir();
    let modeless = Modeless::mount(dir.path());
    let file = modeless.at.join("resource");
    let mut master = master(dir.path(), &file);
    let args = ["--mw-slave", "--mw-resource-file", file.to_str().unwrap()];
    Process::start(dir.path(), "slave", &args).expect_exit(0);
    master.expect_exit(0);
    assert_eq!(master.stdout(), printed(3));
    let told = master.stderr();
    let said = "its file system keeps no modes, all may read the run's secret there (mode 0777)";
    assert_eq!(told.matches(said).count(), 1, "{told}");

    let secret = modeless.at.join("secret");
    std::fs::write(&secret, "c0ffee11".repeat(8)).unwrap();
    let own = dir.path().join("second");
    std::fs::create_dir(&own).unwrap();
    let args = ["--mw-secret-file", secret.to_str().unwrap()];
    let mut master = Process::master(&own, &args);
    master.expect_exit(255);
    let told = master.complaint();
    assert!(
        told.contains("its mode is 0777") && told.contains("or take another file"),
        "{told}"
    );
}
