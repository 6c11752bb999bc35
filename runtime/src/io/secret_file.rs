//! Where a run's secret comes from: drawn, read from a file or from standard input, or written to a file that is the
//! owner's alone. Never from an argument or the environment, which others can read.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ringmw_codec::flags::FLAG;
use ringmw_codec::resource::ResourceFile;
use ringmw_codec::secret::{Key, SECRET_BYTES, Secret};
use rustix::rand::{GetRandomFlags, getrandom};
use zeroize::Zeroizing;

/// The mode of a file with a secret.
pub(super) const OWNERS_MODE: u32 = 0o600;

/// The name of standard input, for children: what they are started with.
pub(crate) const STDIN: &str = "-";

/// A new secret.
pub(crate) fn draw() -> Secret {
    Secret::new(random())
}

/// A key for one connection.
pub(crate) fn draw_key() -> Key {
    Key::new(random())
}

/// A number that nobody can foresee.
pub(crate) fn draw_number() -> u64 {
    let bytes = random();
    let (number, _) = bytes.split_first_chunk().expect("there are more");
    u64::from_le_bytes(*number)
}

fn random() -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(more) => filled += more,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the system gives no random numbers: {error}"),
        }
    }
    bytes
}

/// The secret for a slave: of a file that holds it alone, of a resource file, or of standard input.
///
/// # Errors
/// One line that names the flag, the file and the remedy.
pub(crate) fn read(path: &Path) -> Result<Secret, String> {
    let text = if path == Path::new(STDIN) {
        ResourceFile::text(io::stdin(), 0)
    } else {
        File::open(path).and_then(|file| {
            let bytes = file.metadata()?.len();
            ResourceFile::text(file, bytes)
        })
    };
    let text = text.map_err(|error| named(path, &unreadable(path, &error)))?;
    parse(&Zeroizing::new(text)).map_err(|error| named(path, &error))
}

/// The secret for a master: as for a slave, but it must be the owner's alone; it is drawn and the file made where there
/// is none.
///
/// # Errors
/// One line that names the flag, the file and the remedy.
pub(crate) fn of_master(path: &Path) -> Result<Secret, String> {
    if path == Path::new(STDIN) {
        return read(path);
    }
    match make(path) {
        Ok(secret) => return Ok(secret),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(named(path, &format!("it cannot be made: {error}"))),
    }
    let mode = fs::metadata(path).map_err(|error| named(path, &error.to_string()))?;
    let mode = mode.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(named(
            path,
            &format!(
                "its mode is {mode:04o}, so others than its owner may use it and the secret is none; chmod 600 it, or take another file"
            ),
        ));
    }
    read(path)
}

/// Draws a secret into a file that was not there.
fn make(path: &Path) -> io::Result<Secret> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(OWNERS_MODE)
        .open(path)?;
    // A umask may have taken more than is to be taken.
    file.set_permissions(Permissions::from_mode(OWNERS_MODE))?;
    let secret = draw();
    let written = file
        .write_all(secret.to_text().as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(secret)
}

fn parse(text: &[u8]) -> Result<Secret, String> {
    let as_text = std::str::from_utf8(text).ok();
    let own = as_text.map(Secret::parse);
    if let Some(Ok(secret)) = own {
        return Ok(secret);
    }
    // What begins as no form was meant to be the secret alone.
    if !text.trim_ascii_start().starts_with(b"(") && !text.trim_ascii_start().starts_with(b";") {
        return Err(match own {
            Some(Err(error)) => error.to_string(),
            _ => "it is neither a secret nor a resource file".to_owned(),
        });
    }
    let file = ResourceFile::parse(text).map_err(|error| error.to_string())?;
    match of_resource_file(&file)? {
        Some(secret) => Ok(secret),
        None => Err(format!(
            "this resource file has no (:secret ..): its master runs with {}",
            FLAG.no_secret.name
        )),
    }
}

/// The secret in a resource file, if it has one.
///
/// # Errors
/// When it has something else in its place.
pub(crate) fn of_resource_file(file: &ResourceFile) -> Result<Option<Secret>, String> {
    let secret = file.secret.as_deref().map(Secret::parse).transpose();
    secret.map_err(|error| format!("(:secret ..): {error}"))
}

fn named(path: &Path, what: &str) -> String {
    let source = match path == Path::new(STDIN) {
        true => "(standard input)".into(),
        false => path.to_string_lossy(),
    };
    format!("{} {source}: {what}", FLAG.secret_file.name)
}

/// Why a file cannot be read, and where that is so for want of permission, whose it is and what to do.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> String {
    let whose = fs::metadata(path).ok();
    match whose.filter(|_| error.kind() == io::ErrorKind::PermissionDenied) {
        Some(whose) => {
            let (owner, group) = (whose.uid(), whose.gid());
            let mode = whose.permissions().mode() & 0o7777;
            let own = rustix::process::geteuid().as_raw();
            format!(
                "{error}: it is of user {owner} and group {group} with mode {mode:04o}, and this process is of user {own}; run it as that user, or share the file once by `chgrp GROUP` and `chmod 640` (the master keeps both), or give a copy of your own with {}",
                FLAG.secret_file.name
            )
        }
        None => error.to_string(),
    }
}

/// A pipe with the secret in it, for the standard input of a child.
pub(crate) fn pipe(secret: &Secret) -> io::Result<io::PipeReader> {
    let (reader, mut writer) = io::pipe()?;
    // Much less than a pipe holds: it does not wait for who reads.
    writer.write_all(secret.to_text().as_bytes())?;
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn a_master_makes_what_its_slaves_read() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("secret");
        let made = of_master(&path).expect("made");
        assert_eq!(mode(&path), 0o600);
        for again in [of_master(&path), read(&path)] {
            assert_eq!(again.as_ref(), Ok(&made));
        }
        let mut text = String::new();
        let mut piped = pipe(&made).expect("a pipe");
        piped.read_to_string(&mut text).expect("read");
        assert_eq!(Secret::parse(&text), Ok(made));
    }

    #[test]
    fn a_resource_file_is_one_too() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("resources");
        let text = "(:computation-status :in-progress)(:timestamp 1)(:member-id \"x\")(:update-interval 300)\
                    (:slaves-needed 1)(:slave-executable (\"/bin/x\" NIL))(:slave-arguments NIL)";
        let secret = draw();
        let with = format!(
            "{text}(:secret \"{}\")(:format-version 1)",
            *secret.to_text()
        );
        fs::write(&path, with).expect("written");
        assert_eq!(read(&path), Ok(secret));
        for (text, says) in [
            (text, "has no (:secret"),
            ("(:computation-status", "line 1"),
            ("hunter2\n", "64 hexadecimal digits"),
            ("", "64 hexadecimal digits"),
        ] {
            fs::write(&path, text).expect("written");
            let error = read(&path).expect_err("none in it");
            assert!(
                error.contains(says) && error.starts_with("--mw-secret-file "),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_others_may_read_is_no_secret_of_a_master() {
        let folder = tempfile::tempdir().expect("tempdir");
        let path = folder.path().join("secret");
        of_master(&path).expect("made");
        for loose in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, Permissions::from_mode(loose)).expect("chmod");
            let error = of_master(&path).expect_err("refused");
            let mode = format!("its mode is {loose:04o}");
            assert!(
                error.contains(&mode) && error.contains("chmod 600"),
                "{error}"
            );
        }
    }
}
