//! Where lines come from: files and standard input, plain, gzip or zstd, in one buffer whatever their length.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek};
use std::path::Path;

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

/// Reads a file, or standard input for `-`, and hands out its lines.
pub(crate) fn read_lines(path: &Path, each: impl FnMut(Piece<'_>)) -> io::Result<()> {
    if path.as_os_str() == "-" {
        return unpack(io::stdin().lock(), each);
    }
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    // `/proc` and pipes have no length to show.
    if length < PROGRESS_BYTES_MIN || !io::stderr().is_terminal() || file.stream_position().is_err()
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

/// Reads the lines of a file as long as more are wanted.
pub(crate) fn read_while(path: &Path, mut each: impl FnMut(Piece<'_>) -> bool) -> io::Result<()> {
    let is_done = std::cell::Cell::new(false);
    let input = Until {
        input: File::open(path)?,
        is_done: &is_done,
    };
    unpack(input, |piece| {
        if !is_done.get() && !each(piece) {
            is_done.set(true);
        }
    })
}

/// Ends when it is told to.
struct Until<'a, R> {
    input: R,
    is_done: &'a std::cell::Cell<bool>,
}

impl<R: Read> Read for Until<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_done.get() {
            return Ok(0);
        }
        self.input.read(buffer)
    }
}

fn unpack(mut input: impl Read, each: impl FnMut(Piece<'_>)) -> io::Result<()> {
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
    let input = magic[..filled].chain(input);
    match magic[..filled] {
        [0x1f, 0x8b, ..] => split(flate2::read::MultiGzDecoder::new(input), each),
        [0x28, 0xb5, 0x2f, 0xfd] => split(Zstd::new(input), each),
        _ => split(input, each),
    }
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
        unpack(input, |piece| {
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
        let outcome = unpack(&cut[..cut.len() - 9], |_| lines += 1);
        assert!(outcome.is_err() && lines > 0, "{lines}");
    }
}
