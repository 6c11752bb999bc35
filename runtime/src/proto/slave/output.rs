//! What a task gives.

use ringmw_codec::frame::HEADER_BYTES;

/// An output's archive, behind room for the head of the frame which a long one becomes where it stands.
#[derive(Debug, PartialEq)]
pub struct Output {
    bytes: Vec<u8>,
}

impl Output {
    /// Nothing yet.
    pub fn new() -> Output {
        let bytes = vec![0; HEADER_BYTES];
        Output { bytes }
    }

    /// Nothing again, for the next task.
    pub fn clear(&mut self) {
        self.bytes.truncate(HEADER_BYTES);
    }

    /// What the archive is appended to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The archive.
    pub fn archive(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }

    /// Takes the archive with the room before it. It is to go on in another buffer.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Nothing again, in a buffer that is empty.
    pub(super) fn go_on_in(&mut self, mut buffer: Vec<u8>) {
        debug_assert!(self.bytes.is_empty() && buffer.is_empty());
        buffer.resize(HEADER_BYTES, 0);
        self.bytes = buffer;
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&[u8]> for Output {
    fn from(archive: &[u8]) -> Output {
        let mut output = Output::new();
        output.bytes.extend_from_slice(archive);
        output
    }
}
