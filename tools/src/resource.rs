//! Resource files are read no further than one may be long.

use std::fs::File;
use std::io;
use std::path::Path;

use ringmw_codec::resource::ResourceFile;

/// The text of a resource file; one that is too long is refused unread.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    ResourceFile::text(file, bytes)
}
