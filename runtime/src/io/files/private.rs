//! Files that outlast a process and are nobody else's business: made with 0600 under any umask, in a folder that nobody
//! else may write.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Who but the owner may write.
const OTHERS_WRITE: u32 = 0o022;

/// Makes a folder with 0700, or takes the one that is there if nobody else may write it.
///
/// # Errors
/// In words, with what to do.
pub(crate) fn folder(path: &Path) -> Result<(), String> {
    let mut builder = DirBuilder::new();
    match builder.mode(0o700).recursive(true).create(path) {
        Ok(()) => judge(path),
        Err(error) => Err(format!(
            "the folder {} cannot be made: {error}",
            path.display()
        )),
    }
}

/// Refuses a file or folder that others may write: what is in it would be theirs.
///
/// # Errors
/// In words, with what to do.
pub(crate) fn judge(path: &Path) -> Result<(), String> {
    let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mode = metadata.mode() & 0o7777;
    let shown = path.display();
    if mode & OTHERS_WRITE != 0 {
        return Err(format!(
            "{shown} has mode {mode:04o}: others may write it, and what they write would be taken for this run's; chmod go-w {shown}"
        ));
    }
    let (owner, own) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != own && owner != 0 {
        return Err(format!(
            "{shown} belongs to user {owner}, this process runs as user {own}: it is another's; give a path of your own"
        ));
    }
    Ok(())
}

/// Makes a file that must not be there yet, with 0600.
///
/// # Errors
/// As the system says; `AlreadyExists` where it is there.
pub(crate) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Reads a whole file that nobody else may write; none if there is none.
///
/// # Errors
/// In words, with what to do.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    judge(path)?;
    let mut bytes = Vec::new();
    match file.read_to_end(&mut bytes) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

/// Puts a file in the place of the one that is there, if one is, so that at any time one of both is there whole; with
/// `keep` the old one stays beside it, as `NAME.1`.
///
/// # Errors
/// As the system says.
pub(crate) fn replace(path: &Path, bytes: &[u8], keep: bool) -> io::Result<()> {
    let aside = beside(path, &format!(".{}.new", std::process::id()));
    let written = write_aside(&aside, bytes).and_then(|()| {
        if keep {
            keep_old(path)?;
        }
        fs::rename(&aside, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&aside);
    }
    written?;
    sync_folder(path)
}

fn write_aside(aside: &Path, bytes: &[u8]) -> io::Result<()> {
    let _ = fs::remove_file(aside);
    let mut file = create_new(aside)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// The file that is there becomes `NAME.1`, and stays where it is until the new one takes its place.
fn keep_old(path: &Path) -> io::Result<()> {
    let old = generation(path);
    let link = beside(path, &format!(".{}.old", std::process::id()));
    let _ = fs::remove_file(&link);
    match fs::hard_link(path, &link) {
        Ok(()) => fs::rename(&link, &old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        // A file system without links.
        Err(_) => fs::copy(path, &link).and_then(|_| fs::rename(&link, &old)),
    }
}

/// Where the generation before is kept.
pub(crate) fn generation(path: &Path) -> PathBuf {
    beside(path, ".1")
}

/// The file of this name with an ending.
pub(crate) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The name is on disk too. Not every file system can: then it is done what can be.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::{folder, generation, judge, read, replace};

    #[test]
    fn a_file_is_replaced_and_a_generation_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("state");
        assert_eq!(read(&path), Ok(None));
        for (number, text) in ["one", "two", "three"].into_iter().enumerate() {
            replace(&path, text.as_bytes(), true).expect("written");
            assert_eq!(read(&path), Ok(Some(text.into())));
            let mode = fs::metadata(&path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
            let before = ["", "one", "two"][number];
            let kept = read(&generation(&path)).expect("readable");
            assert_eq!(kept.unwrap_or_default(), before.as_bytes());
        }
        let names = fs::read_dir(dir.path()).expect("a folder").count();
        assert_eq!(names, 2, "nothing else is left");
    }

    #[test]
    fn what_others_may_write_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("journal");
        folder(&path).expect("made");
        let mode = fs::metadata(&path)
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o700);
        for mode in [0o770, 0o702] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).expect("ours");
            let error = judge(&path).expect_err("others may write it");
            assert!(error.contains("chmod go-w"), "{error}");
            assert!(folder(&path).is_err());
        }
        fs::set_permissions(&path, Permissions::from_mode(0o755)).expect("ours");
        folder(&path).expect("others may read it");
    }
}
