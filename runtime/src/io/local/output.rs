//! What local slaves print: copied line by line to the master's own stdout and stderr, each line with its slave's
//! name before it. The last lines are kept, for the day the slave dies early.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::io::word::Word;

/// A longer line is cut into several, so that a slave that prints no line end cannot fill the master's memory.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024;
/// So many last lines of a slave, stdout and stderr together, are kept.
pub(crate) const LAST_LINES_MAX: usize = 10;
/// So much of each of them.
const LAST_LINE_BYTES_MAX: usize = 1024;

/// Before the lines of a slave that has no number yet.
pub(crate) const NAMELESS: &str = "slave | ";

const CHUNK_BYTES: usize = 8192;
/// One stream does not keep the other waiting longer than this.
const CHUNKS_MAX: usize = 8;
/// More than a pipe holds by default (64 KiB). A bound, because an orphan of the slave may go on printing for ever.
const CHUNKS_OF_THE_DEAD_MAX: usize = 32;

/// Which of the two a line was printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Takes a whole line, prefix and line end included. Called from one thread per slave.
pub(crate) type Output = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// The usual [`Output`]: the same stream of this process. A closed one is no error: nobody reads.
pub(crate) fn own_stdio() -> Output {
    Arc::new(|stream, line| {
        let _ = match stream {
            Stream::Stdout => io::stdout().lock().write_all(line),
            Stream::Stderr => io::stderr().lock().write_all(line),
        };
    })
}

/// Cuts a byte stream into lines of at most [`LINE_BYTES_MAX`], without their line ends.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.partial.len();
            let end = bytes.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(bytes.len()).min(room);
            self.partial.extend_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            // A line of exactly the limit waits for its line end, or an empty line would follow it.
            match bytes.first() {
                None => return,
                Some(b'\n') => bytes = &bytes[1..],
                Some(_) => {}
            }
            line(&self.partial);
            self.partial.clear();
        }
    }

    /// The stream ended: what stands there without a line end is a line too.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.partial.is_empty() {
            line(&self.partial);
            self.partial.clear();
        }
    }
}

/// What the copier of one slave's output shares with the supervisor.
#[derive(Debug, Default)]
pub(super) struct Voice {
    /// Where the slave writes the number in `SLAVE-3`, once the master has given it.
    word: Option<Arc<Word>>,
    last: Mutex<Last>,
    drained: Condvar,
}

#[derive(Debug, Default)]
struct Last {
    lines: VecDeque<String>,
    drained: bool,
}

impl Voice {
    /// Of the slave that has this page.
    pub(super) fn of(word: Arc<Word>) -> Self {
        Voice {
            word: Some(word),
            last: Mutex::default(),
            drained: Condvar::new(),
        }
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remember(&self, line: &[u8]) {
        let shown = &line[..line.len().min(LAST_LINE_BYTES_MAX)];
        let mut last = self.last();
        if last.lines.len() == LAST_LINES_MAX {
            last.lines.pop_front();
        }
        last.lines
            .push_back(String::from_utf8_lossy(shown).into_owned());
    }

    /// The slave's last lines; waits up to `bound` for those that still stand in its pipes.
    pub(super) fn last_lines(&self, bound: Duration) -> Vec<String> {
        let (last, _) = self
            .drained
            .wait_timeout_while(self.last(), bound, |last| !last.drained)
            .unwrap_or_else(PoisonError::into_inner);
        last.lines.iter().cloned().collect()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.last().drained
    }

    pub(super) fn on_drained(&self) {
        self.last().drained = true;
        self.drained.notify_all();
    }

    fn prefix(&self) -> String {
        match self.word.as_ref().and_then(|word| word.slave()) {
            Some(id) => format!("SLAVE-{id} | "),
            None => NAMELESS.to_owned(),
        }
    }
}

/// Makes reads of a pipe's near end return when it is empty; the slave's end is not touched.
pub(super) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?)
}

struct Pipe<R> {
    reader: Option<R>,
    stream: Stream,
    lines: Lines,
}

impl<R: Read> Pipe<R> {
    /// Copies what is there, at most `chunks_max` buffers of it; at the end of the stream the pipe is closed.
    fn copy(&mut self, chunks_max: usize, say: &mut impl FnMut(Stream, &[u8])) {
        let mut buffer = [0; CHUNK_BYTES];
        let stream = self.stream;
        for _ in 0..chunks_max {
            let Some(reader) = &mut self.reader else {
                return;
            };
            match reader.read(&mut buffer) {
                Ok(0) => self.close(say),
                Ok(taken) => self.lines.feed(&buffer[..taken], |line| say(stream, line)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.close(say),
            }
        }
    }

    fn close(&mut self, say: &mut impl FnMut(Stream, &[u8])) {
        self.reader = None;
        let stream = self.stream;
        self.lines.finish(|line| say(stream, line));
    }
}

/// Copies both pipes until the slave is dead (`dead` becomes readable) and what it left in them is copied too.
///
/// The end of the pipes is not waited for: a process that the slave started may hold them open for ever.
pub(super) fn copy(
    stdout: ChildStdout,
    stderr: ChildStderr,
    dead: &OwnedFd,
    voice: &Voice,
    output: &Output,
) {
    let mut whole = Vec::new();
    let mut say = |stream, line: &[u8]| {
        voice.remember(line);
        whole.clear();
        whole.extend_from_slice(voice.prefix().as_bytes());
        whole.extend_from_slice(line);
        whole.push(b'\n');
        output(stream, &whole);
    };
    let mut stdout = Pipe {
        reader: Some(stdout),
        stream: Stream::Stdout,
        lines: Lines::default(),
    };
    let mut stderr = Pipe {
        reader: Some(stderr),
        stream: Stream::Stderr,
        lines: Lines::default(),
    };
    let mut is_dead = false;
    while !is_dead {
        is_dead = {
            let mut fds = vec![PollFd::new(dead, PollFlags::IN)];
            fds.extend(
                stdout
                    .reader
                    .as_ref()
                    .map(|fd| PollFd::new(fd, PollFlags::IN)),
            );
            fds.extend(
                stderr
                    .reader
                    .as_ref()
                    .map(|fd| PollFd::new(fd, PollFlags::IN)),
            );
            match poll(&mut fds, None) {
                Ok(_) => !fds[0].revents().is_empty(),
                Err(rustix::io::Errno::INTR) => false,
                Err(_) => true,
            }
        };
        let chunks_max = if is_dead {
            CHUNKS_OF_THE_DEAD_MAX
        } else {
            CHUNKS_MAX
        };
        stdout.copy(chunks_max, &mut say);
        stderr.copy(chunks_max, &mut say);
    }
    stdout.close(&mut say);
    stderr.close(&mut say);
    voice.on_drained();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(chunks: &[&[u8]], expected: &[&[u8]]) {
        let mut lines = Lines::default();
        let mut got: Vec<Vec<u8>> = Vec::new();
        for chunk in chunks {
            lines.feed(chunk, |line| got.push(line.to_vec()));
        }
        lines.finish(|line| got.push(line.to_vec()));
        assert_eq!(got, expected);
    }

    #[test]
    fn lines_come_out_whole_however_they_are_cut() {
        check(&[], &[]);
        check(&[b"a\nb\n"], &[b"a", b"b"]);
        check(&[b"a", b"\n", b"\nb"], &[b"a", b"", b"b"]);
        check(&[b"no line end"], &[b"no line end"]);
    }

    #[test]
    fn a_very_long_line_is_cut_and_none_is_added() {
        let long = vec![b'x'; LINE_BYTES_MAX];
        let whole = [&long[..], b"\nend\n"].concat();
        check(&[&whole], &[&long, b"end"]);
        check(&[&long, b"\n", b"end"], &[&long, b"end"]);
        check(&[&long, &long, b"y\n"], &[&long, &long, b"y"]);
    }

    #[test]
    fn the_last_lines_are_kept_and_bounded() {
        let voice = Voice::default();
        for number in 0..25 {
            voice.remember(format!("line {number}").as_bytes());
        }
        voice.remember(&[0xff; 5000]);
        voice.on_drained();
        let lines = voice.last_lines(Duration::ZERO);
        assert_eq!(lines.len(), LAST_LINES_MAX);
        assert_eq!(lines[0], "line 16");
        assert_eq!(lines[9].chars().count(), LAST_LINE_BYTES_MAX);
    }
}
