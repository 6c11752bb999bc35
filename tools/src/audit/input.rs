//! Where lines come from: files and standard input, plain, gzip or zstd, in one buffer whatever their length.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines are found in a buffer of this size.
const BUFFER_BYTES: usize = 1 << 20;
/// What is longer is no line of a trail. Room for a recycled list of ranges and long texts.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 19;
/// Files from this size on have a progress bar on a terminal.
const PROGRESS_BYTES_MIN: u64 = 64 << 20;

/// A line, its line feed taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole line.
    Line(&'a [u8]),
    /// What stands at the end without a line feed.
    Last(&'a [u8]),
    /// The start of a line of more than [`LINE_BYTES_MAX`]; the rest is passed over.
    TooLong(&'a [u8]),
}

/// What is looked at of an input to know when it begins and whose it is.
const HEAD_LINES: usize = 50;
const HEAD_BYTES: usize = 1 << 18;

/// An input that may be looked at before it is read: a file is opened twice, of a pipe the head is kept.
pub(crate) struct Source {
    path: PathBuf,
    /// The rest of a pipe, unpacked, and what was read of it.
    open: Option<(Box<dyn Read>, Vec<u8>)>,
}

impl Source {
    /// A file, a pipe under a name, or standard input for `-`. It is not opened yet.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            open: None,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn is_pipe(&self) -> bool {
        self.path.as_os_str() == "-" || (!self.path.is_file() && self.path.exists())
    }

    /// Hands out the first lines as long as more are wanted.
    pub(crate) fn look(&mut self, mut wants: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
        let mut input = match self.is_pipe() {
            true if self.path.as_os_str() == "-" => unpacked(Box::new(io::stdin()))?,
            _ => unpacked(Box::new(File::open(&self.path)?))?,
        };
        let mut head = Vec::new();
        let mut chunk = vec![0; 1 << 14];
        let mut told = 0;
        let mut lines = 0;
        'reading: while head.len() < HEAD_BYTES {
            let bytes = match input.read(&mut chunk) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // It is told when the input is read.
                Err(_) => break,
            };
            head.extend_from_slice(&chunk[..bytes]);
            while let Some(feed) = memchr::memchr(b'\n', &head[told..]) {
                lines += 1;
                let is_wanted = wants(&head[told..told + feed]);
                told += feed + 1;
                if lines == HEAD_LINES || !is_wanted {
                    break 'reading;
                }
            }
        }
        if told < head.len() && lines == 0 {
            wants(&head[told..]);
        }
        if self.is_pipe() {
            self.open = Some((input, head));
        }
        Ok(())
    }

    /// Reads it, and hands out its lines.
    pub(crate) fn read_lines(self, each: impl FnMut(Piece<'_>)) -> io::Result<()> {
        if let Some((rest, head)) = self.open {
            return split(io::Cursor::new(head).chain(rest), each);
        }
        if self.path.as_os_str() == "-" {
            return unpack(io::stdin(), each);
        }
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        // `/proc` and pipes have no length to show.
        if length < PROGRESS_BYTES_MIN
            || !io::stderr().is_terminal()
            || file.stream_position().is_err()
        {
            return unpack(file, each);
        }
        let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
        let style =
            ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let outcome = unpack(bar.wrap_read(file), each);
        bar.finish_and_clear();
        outcome
    }
}

fn unpack(input: impl Read + 'static, each: impl FnMut(Piece<'_>)) -> io::Result<()> {
    split(unpacked(Box::new(input))?, each)
}

/// The plain bytes of a stream that may be packed.
fn unpacked(mut input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 4];
    let mut filled = 0;
    while filled < magic.len() {
        match input.read(&mut magic[filled..]) {
            Ok(0) => break,
            Ok(bytes) => filled += bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let input = io::Cursor::new(magic[..filled].to_vec()).chain(input);
    Ok(match magic[..filled] {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(input)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(Zstd::new(input)),
        _ => Box::new(input),
    })
}

/// Frames of zstd, one behind the other.
struct Zstd<R: Read> {
    state: ZstdState<R>,
}

enum ZstdState<R: Read> {
    Between(io::BufReader<R>),
    Within(
        Box<ruzstd::decoding::StreamingDecoder<io::BufReader<R>, ruzstd::decoding::FrameDecoder>>,
    ),
    Over,
}

impl<R: Read> Zstd<R> {
    fn new(input: R) -> Self {
        Self {
            state: ZstdState::Between(io::BufReader::new(input)),
        }
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match std::mem::replace(&mut self.state, ZstdState::Over) {
                ZstdState::Over => return Ok(0),
                ZstdState::Between(mut input) => {
                    if io::BufRead::fill_buf(&mut input)?.is_empty() {
                        return Ok(0);
                    }
                    let frame =
                        ruzstd::decoding::StreamingDecoder::new(input).map_err(|error| {
                            io::Error::new(io::ErrorKind::InvalidData, error.to_string())
                        })?;
                    self.state = ZstdState::Within(Box::new(frame));
                }
                ZstdState::Within(mut frame) => {
                    let bytes = frame.read(buffer)?;
                    self.state = match bytes {
                        0 if !buffer.is_empty() => ZstdState::Between(frame.into_inner()),
                        _ => ZstdState::Within(frame),
                    };
                    if bytes > 0 || buffer.is_empty() {
                        return Ok(bytes);
                    }
                }
            }
        }
    }
}

/// Cuts a stream of bytes into lines.
///
/// ```text
/// buffer: | handed out | part of a line |   free   |
///                      ^start           ^end
/// ```
fn split(mut input: impl Read, mut each: impl FnMut(Piece<'_>)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let (mut start, mut end) = (0, 0);
    let mut is_skipping = false;
    loop {
        if end == buffer.len() {
            buffer.copy_within(start..end, 0);
            end -= start;
            start = 0;
        }
        let read = match input.read(&mut buffer[end..]) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
        let fresh = end;
        end += *read.as_ref().unwrap_or(&0);
        for feed in memchr::memchr_iter(b'\n', &buffer[fresh..end]) {
            let feed = fresh + feed;
            if !std::mem::take(&mut is_skipping) {
                each(Piece::Line(&buffer[start..feed]));
            }
            start = feed + 1;
        }
        // A machine that went down leaves blocks of NUL bytes: the line behind them is none of them.
        if end - start > LINE_BYTES_MAX
            && !is_skipping
            && let Some(first) = memchr::memchr(0, &buffer[start..end])
        {
            let first = start + first;
            let others = buffer[first..end].iter().position(|&byte| byte != 0);
            let behind = others.map_or(end, |others| first + others);
            buffer.copy_within(behind..end, first + 1);
            end -= behind - (first + 1);
        }
        if end - start > LINE_BYTES_MAX || (is_skipping && start < end) {
            if !std::mem::replace(&mut is_skipping, true) {
                each(Piece::TooLong(&buffer[start..start + LINE_BYTES_MAX]));
            }
            start = end;
        }
        if !matches!(read, Ok(1..)) {
            if start < end {
                each(Piece::Last(&buffer[start..end]));
            }
            return read.map(drop);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(input: impl Read) -> Vec<(char, usize)> {
        let mut pieces = Vec::new();
        let mut bytes = Vec::new();
        let mut input = input;
        input.read_to_end(&mut bytes).expect("it reads");
        unpack(io::Cursor::new(bytes), |piece| {
            pieces.push(match piece {
                Piece::Line(line) => ('l', line.len()),
                Piece::Last(line) => ('e', line.len()),
                Piece::TooLong(line) => ('t', line.len()),
            });
        })
        .expect("it reads");
        pieces
    }

    #[test]
    fn lines_of_any_length_and_chunking() {
        assert_eq!(pieces(&b""[..]), []);
        assert_eq!(pieces(&b"\n"[..]), [('l', 0)]);
        assert_eq!(pieces(&b"a\nbc"[..]), [('l', 1), ('e', 2)]);
        let mut long = vec![b'x'; 5 * BUFFER_BYTES];
        long.extend_from_slice(b"\nab\n");
        assert_eq!(pieces(&long[..]), [('t', LINE_BYTES_MAX), ('l', 2)]);
        let mut hole = b"abc\nde".to_vec();
        hole.resize(5 * BUFFER_BYTES, 0);
        hole.extend_from_slice(b"fgh\nij\n");
        let found = pieces(&hole[..]);
        assert!(
            matches!(found[..], [('l', 3), ('l', bytes), ('l', 2)] if bytes < LINE_BYTES_MAX),
            "{found:?}"
        );
        let lines: Vec<u8> = (0..300_000)
            .flat_map(|n| format!("{n}\n").into_bytes())
            .collect();
        assert_eq!(pieces(&lines[..]).len(), 300_000);
        assert!(pieces(&lines[..]).iter().all(|piece| piece.0 == 'l'));
    }

    #[test]
    fn packed_streams_of_several_parts_and_cut_ones() {
        use std::io::Write;
        let pack = |text: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packer
                .write_all(text)
                .and_then(|()| packer.finish())
                .expect("it packs")
        };
        let two = [pack(b"a\nb"), pack(b"c\n")].concat();
        assert_eq!(pieces(&two[..]), [('l', 1), ('l', 2)]);
        let frame = |text: &[u8]| {
            ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
        };
        let two = [frame(b"a\nb"), frame(b"c\n")].concat();
        assert_eq!(pieces(&two[..]), [('l', 1), ('l', 2)]);
        let cut = pack(&b"abc\n".repeat(1000));
        let mut lines = 0;
        let outcome = unpack(io::Cursor::new(cut[..cut.len() - 9].to_vec()), |_| {
            lines += 1
        });
        assert!(outcome.is_err() && lines > 0, "{lines}");
    }
}
