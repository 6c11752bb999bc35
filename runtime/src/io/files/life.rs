//! Whether this life is still the run's last one: asked by whoever writes a file that lives share. A master that was stopped
//! for a while may have been taken for gone, and must not put what it knew over what its successor has written.

use std::path::PathBuf;

use ringmw_codec::journal::RunFile;

use super::private;

/// A life, and the file `run`, where each life writes that it has begun.
#[derive(Debug, Clone)]
pub(crate) struct OwnLife {
    path: PathBuf,
    begun: RunFile,
}

impl OwnLife {
    /// This life begins: from here on an earlier one finds that it is over.
    ///
    /// # Errors
    /// In words: the file cannot be written.
    pub(crate) fn begin(path: PathBuf, begun: RunFile) -> Result<Self, String> {
        private::replace(&path, &begun.encode(), false)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(OwnLife { path, begun })
    }

    /// The life that has begun since, if one has; nothing is known of it where the file cannot be read.
    pub(crate) fn successor(&self) -> Option<u32> {
        let bytes = private::read(&self.path).ok()??;
        let last = RunFile::decode(&bytes).ok()?;
        let whose = |run: &RunFile| (run.life, run.begun_us, run.pid);
        let is_ours = last.life < self.begun.life || whose(&last) == whose(&self.begun);
        (!is_ours).then_some(last.life)
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::journal::RunFile;

    use super::OwnLife;

    fn life(life: u32, pid: u32) -> RunFile {
        RunFile {
            life,
            pid,
            ..RunFile::default()
        }
    }

    #[test]
    fn the_last_one_that_began_has_no_successor() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("run");
        let begin = |begun| OwnLife::begin(path.clone(), begun).expect("the folder is there");
        let first = begin(life(1, 10));
        assert_eq!(first.successor(), None);
        let second = begin(life(2, 11));
        assert_eq!((first.successor(), second.successor()), (Some(2), None));
        // Two that began at the same time, of which neither saw the other.
        let other = begin(life(2, 12));
        assert_eq!((second.successor(), other.successor()), (Some(2), None));
        // What an earlier one writes late is not its successor's end.
        begin(life(1, 10));
        assert_eq!(other.successor(), None);
        std::fs::write(&path, b"torn").expect("ours");
        assert_eq!(first.successor(), None);
    }
}
