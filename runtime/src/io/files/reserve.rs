//! Descriptors that are kept for files which are opened later: a master that lacks descriptors has slaves waiting for
//! each, and its files must be written all the same.
//!
//! They are taken before anybody may connect, not by the thread that needs them: that one may get its first turn when all
//! are gone. To use one it must be closed, and then a peer that is accepted in that moment may have it: so there are
//! several, and what is opened with one takes its place.
//!
//! ```text
//!   | kept | kept | kept | kept |   opening fails: one is closed, and it is tried again
//!   | kept | kept | kept |          a peer was faster: the next
//!   | kept | kept | file | kept |   what was opened is kept, and there are as many again as soon as there can be
//! ```

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// Descriptors kept for one file. Each is lost only to a peer that is accepted between a close and an open, and the
/// engine tries once a second.
const KEPT: usize = 4;

#[derive(Debug)]
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// # Errors
    /// When they are not to be had.
    pub(super) fn take() -> io::Result<Self> {
        let kept: io::Result<_> = (0..KEPT).map(|_| File::open("/dev/null")).collect();
        kept.map(Self)
    }

    /// Opens a file and is done with it, by `open`, with the help of the reserve if that is needed.
    pub(super) fn open(&mut self, mut open: impl FnMut() -> io::Result<File>) -> io::Result<()> {
        loop {
            match open() {
                Ok(file) => {
                    self.keep(file);
                    return Ok(());
                }
                Err(error) if is_shortage(&error) && self.0.pop().is_some() => {}
                Err(error) => {
                    self.refill();
                    return Err(error);
                }
            }
        }
    }

    fn keep(&mut self, file: File) {
        if self.0.len() < KEPT {
            self.0.push(file);
            self.refill();
        }
    }

    fn refill(&mut self) {
        while self.0.len() < KEPT
            && let Ok(file) = File::open("/dev/null")
        {
            self.0.push(file);
        }
    }
}

fn is_shortage(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::MFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers that are faster `times` times.
    fn open_with(reserve: &mut Reserve, times: usize) -> (io::Result<()>, usize) {
        let mut tries = 0;
        let opened = reserve.open(|| {
            tries += 1;
            match tries > times {
                true => File::open("/dev/null"),
                false => Err(Errno::MFILE.into()),
            }
        });
        (opened, tries)
    }

    #[test]
    fn a_peer_that_is_faster_does_not_keep_a_file_from_being_written() {
        let mut reserve = Reserve::take().expect("there are plenty");
        assert_eq!(reserve.0.len(), KEPT, "they are taken at the start");
        for times in 0..=KEPT {
            let (opened, tries) = open_with(&mut reserve, times);
            opened.unwrap_or_else(|error| panic!("{times}: {error}"));
            assert_eq!((tries, reserve.0.len()), (times + 1, KEPT));
        }
        let (opened, tries) = open_with(&mut reserve, KEPT + 1);
        assert!(is_shortage(&opened.expect_err("all were lost")));
        assert_eq!((tries, reserve.0.len()), (KEPT + 1, KEPT));
    }

    #[test]
    fn another_error_costs_none() {
        let mut reserve = Reserve::take().expect("there are plenty");
        let opened = reserve.open(|| Err(Errno::NOENT.into()));
        assert_eq!(
            opened.expect_err("no folder").kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(reserve.0.len(), KEPT);
    }
}
