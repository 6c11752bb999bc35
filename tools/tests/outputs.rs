//! What the commands do when what they print cannot be written: a full disk is an error, a closed end is no panic.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Commands that print what they were asked for.
fn asked(registry: &Path) -> Vec<Vec<&str>> {
    let farm = registry.to_str().expect("UTF-8");
    let submit = ["submit", "slurm", "--binary", "/bin/true", "--slaves", "1"];
    vec![
        vec!["doctor"],
        vec!["doctor", "--json"],
        [&submit[..], &["--dry-run"]].concat(),
        vec!["farm", "--farm", farm, "list"],
        vec!["completions", "bash"],
        vec!["man"],
    ]
}

fn ringmw(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringmw"));
    command.args(args);
    command
}

fn registry() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("farm");
    fs::write(&path, "node1\n").expect("written");
    (folder, path)
}

#[test]
fn a_full_disk_is_told_and_is_no_success() {
    let (_folder, registry) = registry();
    for args in asked(&registry) {
        let full = File::options().write(true).open("/dev/full");
        let output = ringmw(&args)
            .stdout(full.expect("the kernel has it"))
            .output()
            .expect("it starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {complaint}");
        assert!(complaint.contains("No space left"), "{args:?}: {complaint}");
    }
}

/// `| head` has seen enough.
#[test]
fn a_reader_that_is_gone_is_no_error() {
    let (_folder, registry) = registry();
    for args in asked(&registry) {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = ringmw(&args).stdout(writer).output().expect("it starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {complaint}");
        assert_eq!(complaint, "", "{args:?}");
    }
}

/// 101 is a panic's exit code.
#[test]
fn nobody_at_standard_error_is_no_panic() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("none").join("app.rsc");
    let file = file.to_str().expect("UTF-8");
    let overseer = ["overseer", "--resource-file", file, "--status"];
    let submit = ["submit", "condor", "--binary", "/none", "--slaves", "1"];
    let failing: [&[&str]; 5] = [
        &overseer,
        &submit,
        &["bundle", "/none", "-o", "/none"],
        &["farm", "--farm", "/none", "validate", "--binary", "/none"],
        &["man", "--dir", "/proc/none"],
    ];
    for args in failing {
        let (reader, gone) = std::io::pipe().expect("a pipe");
        drop(reader);
        let full = File::options().write(true).open("/dev/full");
        for stderr in [Stdio::from(gone), Stdio::from(full.expect("it is there"))] {
            let status = ringmw(args).stdout(Stdio::null()).stderr(stderr).status();
            assert_eq!(status.expect("it starts").code(), Some(1), "{args:?}");
        }
        let mut closed = ringmw(args);
        // SAFETY: one system call.
        unsafe {
            closed.pre_exec(|| {
                libc::close(2);
                Ok(())
            })
        };
        let status = closed.stdout(Stdio::null()).status();
        assert_eq!(status.expect("it starts").code(), Some(1), "{args:?}");
    }
}
