//! Where an overseer has its files, and the tag by which it finds its jobs.

use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use siphasher::sip::SipHasher13;

/// The places of one overseer, absolute, and its jobs' tag.
pub(super) struct Paths {
    pub(super) resource_file: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) tag: String,
}

impl Paths {
    /// From what the operator said of them.
    ///
    /// # Errors
    /// When there is no working folder, or a batch system would not take the tag.
    pub(super) fn of(given: &Path, dir: Option<&Path>, tag: Option<&str>) -> Result<Self, String> {
        let resource_file =
            std::path::absolute(given).map_err(|error| format!("{}: {error}", given.display()))?;
        let beside = || {
            let mut name = resource_file.as_os_str().to_owned();
            name.push(".overseer");
            PathBuf::from(name)
        };
        let dir = dir.map_or_else(beside, Path::to_owned);
        let dir =
            std::path::absolute(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
        let tag = match tag {
            Some(tag) => tag.to_owned(),
            None => default_tag(&resource_file),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if tag.is_empty()
            || tag.len() > 64
            || tag.starts_with(['-', '.'])
            || !tag.chars().all(is_plain)
        {
            return Err(format!(
                "--tag {tag}: at most 64 letters, digits, - _ and . are allowed"
            ));
        }
        Ok(Self {
            resource_file,
            dir,
            tag,
        })
    }

    /// What `--status` reads.
    pub(super) fn status(&self) -> PathBuf {
        self.dir.join("status")
    }

    /// Held as long as an overseer runs.
    pub(super) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// There while the overseer is told to drain, and has not done so.
    pub(super) fn drain(&self) -> PathBuf {
        self.dir.join("drain")
    }
}

/// The same for the same path, on every run and machine and by every release: the file's name, and the lower 32 bits of
/// SipHash-1-3 under a key of zeros over the path's bytes.
///
/// Jobs are found by it, so it never changes. Releases that took the standard library's `DefaultHasher`, which promises
/// no algorithm and was this one, gave the same tags: their jobs are found too.
fn default_tag(resource_file: &Path) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(resource_file.as_os_str().as_encoded_bytes());
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let stem = resource_file.file_stem().unwrap_or_default();
    let stem: String = stem
        .to_string_lossy()
        .chars()
        .filter(is_plain)
        .take(20)
        .collect();
    format!("ringmw-{stem}-{:08x}", hasher.finish() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_for_the_same_file() {
        let tag = default_tag(Path::new("/home/u/run/ping.rsc"));
        assert_eq!(tag, default_tag(Path::new("/home/u/run/ping.rsc")));
        assert_ne!(tag, default_tag(Path::new("/home/u/run2/ping.rsc")));
    }

    /// As they were given when the hash was still the standard library's: jobs that are queued under them are found.
    #[test]
    fn a_tag_is_the_same_by_every_release() {
        let rows = [
            ("/home/u/run/ping.rsc", "ringmw-ping-d0b688fd"),
            ("/scratch/run 1/my app.rsc", "ringmw-myapp-ab7fc513"),
        ];
        for (path, tag) in rows {
            assert_eq!(default_tag(Path::new(path)), tag, "{path}");
        }
    }
}
