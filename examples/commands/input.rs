//! The lines of the input, and the commands that a template makes of them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::Path;

use ringmw::prelude::*;
use tokio::sync::mpsc;

/// Lines that are passed on together, at most.
const BATCH_LINES_MAX: usize = 256;

/// Reads lines on a thread of its own, which waits while they are not taken. A last line without its end is a line.
pub(super) fn read(file: Option<&Path>) -> Result<mpsc::Receiver<io::Result<Vec<Vec<u8>>>>> {
    let file = match file {
        Some(path) => File::open(path).map_err(|error| format!("{}: {error}", path.display()))?,
        None => File::from(io::stdin().as_fd().try_clone_to_owned()?),
    };
    let mut reader = BufReader::new(file);
    let (send, receive) = mpsc::channel(4);
    std::thread::Builder::new()
        .name("input".into())
        .spawn(move || {
            loop {
                let batch = batch(&mut reader);
                let is_last = !batch.as_ref().is_ok_and(|lines| !lines.is_empty());
                let is_end = batch.as_ref().is_ok_and(Vec::is_empty);
                if is_end || send.blocking_send(batch).is_err() || is_last {
                    return;
                }
            }
        })?;
    Ok(receive)
}

/// One line, and those behind it that need no further waiting. None at the end.
fn batch(reader: &mut BufReader<File>) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    while lines.len() < BATCH_LINES_MAX && (lines.is_empty() || reader.buffer().contains(&b'\n')) {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        lines.push(line);
    }
    Ok(lines)
}

/// What becomes a command: the words of the command line with the line and its number put in.
pub(super) struct Template {
    /// Each as the pieces that it is made of; one for a shell.
    words: Vec<Vec<Piece>>,
    is_argv: bool,
}

enum Piece {
    Text(Vec<u8>),
    Line,
    Number,
}

impl Template {
    pub(super) fn new(given: &[String], is_argv: bool) -> Self {
        let given = match (given, is_argv) {
            ([], _) => Vec::new(),
            (words, true) => words.to_vec(),
            (words, false) => vec![words.join(" ")],
        };
        let mut words: Vec<Vec<Piece>> = given.iter().map(|word| pieces(word)).collect();
        let has_place =
            |word: &Vec<Piece>| word.iter().any(|piece| !matches!(piece, Piece::Text(_)));
        if !words.is_empty() && !words.iter().any(has_place) {
            match is_argv {
                true => words.push(vec![Piece::Line]),
                false => words[0].extend([Piece::Text(b" ".into()), Piece::Line]),
            }
        }
        Template { words, is_argv }
    }

    /// The words to run, of a shell's text one.
    pub(super) fn words(&self, line: &[u8], number: u64) -> Result<Vec<Vec<u8>>> {
        if self.words.is_empty() {
            if !self.is_argv {
                return Ok(vec![line.to_vec()]);
            }
            let words = shlex::bytes::split(line).filter(|words| !words.is_empty());
            return Ok(
                words.ok_or_else(|| format!("line {number} has no words, or an open quote"))?
            );
        }
        let fill = |pieces: &Vec<Piece>| {
            let mut word = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Text(text) => word.extend_from_slice(text),
                    Piece::Line if self.is_argv => word.extend_from_slice(line),
                    Piece::Line => word.extend(quoted(line)),
                    Piece::Number => word.extend(number.to_string().bytes()),
                }
            }
            word
        };
        Ok(self.words.iter().map(fill).collect())
    }
}

fn pieces(word: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = word;
    while !rest.is_empty() {
        let line = rest.find("{}").map(|at| (at, 2, Piece::Line));
        let number = rest.find("{#}").map(|at| (at, 3, Piece::Number));
        let found = line.into_iter().chain(number).min_by_key(|found| found.0);
        let Some((at, length, piece)) = found else {
            pieces.push(Piece::Text(rest.into()));
            break;
        };
        pieces.push(Piece::Text(rest[..at].into()));
        pieces.push(piece);
        rest = &rest[at + length..];
    }
    pieces
}

/// As GNU parallel quotes for a Bourne shell: bare where nothing needs it, else in single quotes, and each single quote in
/// double ones.
fn quoted(line: &[u8]) -> Vec<u8> {
    let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+/".contains(byte);
    if line.is_empty() {
        return b"''".into();
    }
    if line.iter().all(is_bare) {
        return line.into();
    }
    let mut text = vec![b'\''];
    for &byte in line {
        match byte {
            b'\'' => text.extend(br#"'"'"'"#),
            byte => text.push(byte),
        }
    }
    text.push(b'\'');
    let text = text.strip_prefix(b"''").unwrap_or(&text);
    text.strip_suffix(b"''").unwrap_or(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_quoted_as_gnu_parallel_quotes_it() {
        for (line, text) in [
            ("", "''"),
            ("a-b_c.d+e/f9", "a-b_c.d+e/f9"),
            ("a b", "'a b'"),
            ("it's", r#"'it'"'"'s'"#),
            ("'", r#""'""#),
            ("'a'", r#""'"'a'"'""#),
            ("$HOME", "'$HOME'"),
        ] {
            let quoted = quoted(line.as_bytes());
            assert_eq!(String::from_utf8_lossy(&quoted), text, "{line}");
        }
    }

    #[test]
    fn a_template_is_filled_in_once() {
        let check = |template: &[&str], is_argv, words: &[&str]| {
            let template: Vec<_> = template.iter().map(ToString::to_string).collect();
            let filled = Template::new(&template, is_argv)
                .words(b"{#} 'x'", 7)
                .unwrap();
            let filled: Vec<_> = filled
                .iter()
                .map(|word| String::from_utf8_lossy(word))
                .collect();
            assert_eq!(filled, words);
        };
        check(
            &["echo", "{#}", "{}"],
            false,
            &[r#"echo 7 '{#} '"'"'x'"'""#],
        );
        check(&["echo"], false, &[r#"echo '{#} '"'"'x'"'""#]);
        check(&["echo", "{#}"], false, &["echo 7"]);
        check(&["echo", "<{}>", "{#}"], true, &["echo", "<{#} 'x'>", "7"]);
        check(&[], true, &["{#}", "x"]);
        check(&[], false, &["{#} 'x'"]);
    }
}
