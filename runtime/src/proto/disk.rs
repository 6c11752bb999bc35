//! Where a journal lies, as bytes: what reads and records it knows no files, so that the simulated world can lose power, fill
//! up and tear what a folder of files would.

use std::io;

/// Life and number of a segment.
pub(crate) type Name = (u32, u32);

/// Why a segment is not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It must not be used, for this reason: nothing of the journal is.
    Refused(String),
    /// It cannot be read; others can.
    Failed(io::Error),
}

/// The segments of a journal. Of those that one life makes only the last is written.
pub(crate) trait Disk {
    /// What is there, in the order of lives and numbers.
    ///
    /// # Errors
    /// As the system says.
    fn segments(&mut self) -> io::Result<Vec<Name>>;

    /// How long a segment is now.
    ///
    /// # Errors
    /// As the system says.
    fn bytes(&mut self, name: Name) -> io::Result<u64>;

    /// Appends all bytes of a segment.
    ///
    /// # Errors
    /// It cannot be read, or must not be.
    fn read(&mut self, name: Name, out: &mut Vec<u8>) -> Result<(), Unread>;

    /// Makes a segment that begins with these bytes, which are safe when this returns, as is its name.
    ///
    /// # Errors
    /// As the system says; `AlreadyExists` where there is one of this name, whatever is in it.
    fn create(&mut self, name: Name, head: &[u8]) -> io::Result<()>;

    /// Writes into the segment that was made last.
    ///
    /// # Errors
    /// As the system says: a part may be written.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the segment that was made last off.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&mut self, at: u64) -> io::Result<()>;

    /// What was written into the segment that was made last outlasts a loss of power from here on.
    ///
    /// # Errors
    /// As the system says: what was written since the last time may be lost, and a second try would not say so.
    fn sync(&mut self) -> io::Result<()>;

    /// What people call a segment, or all of them.
    fn shown(&self, name: Option<Name>) -> String;
}
