//! Tasks that gave no output, as they are kept to be run again: what the core and whoever has files say of them.

use std::collections::BTreeSet;

use ringmw_codec::journal::FailedFile;
use ringmw_codec::shared::BlobName;

use crate::proto::blob::Named;

/// What a folder of kept tasks has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Folder {
    /// Tasks, each in a file of its own.
    pub(crate) tasks: usize,
    /// Of all files together.
    pub(crate) bytes: u64,
    /// Shared data.
    pub(crate) shared: BTreeSet<BlobName>,
}

/// A task to be written.
pub(crate) struct KeptTask {
    pub(crate) file: FailedFile,
    /// The shared data that it names, as far as it is still there.
    pub(crate) shared: Named,
}
