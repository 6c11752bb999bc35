//! What the commands print: a reader that has seen enough is no error, a full disk is one; and numbers with their words.

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Writes to standard output.
///
/// # Errors
/// When it did not arrive, unless nobody is reading any more.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A line for standard error, which may be closed or full as well: then there is nobody left to tell. What others have
/// said stands in errors too, so nothing of it reaches a terminal as it is but line feeds.
pub(crate) fn complain(command: &str, error: &dyn std::fmt::Display) {
    let text = error.to_string();
    let lines: Vec<String> = text.split('\n').map(safe).collect();
    let _ = writeln!(io::stderr(), "{command}: {}", lines.join("\n"));
}

/// What comes from others reaches no terminal as it is.
pub(crate) fn safe(line: &str) -> String {
    line.chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect()
}

/// Prints what a command found out; its exit code counts unless that did not arrive.
pub(crate) fn report(command: &str, text: &str, code: ExitCode) -> ExitCode {
    match print(text) {
        Ok(()) => code,
        Err(error) => {
            complain(command, &format!("standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// `1 job`, `2 jobs`.
pub(crate) fn count(number: usize, one: &str, many: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {many}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_agree_with_their_words() {
        let jobs = |number| count(number, "job", "jobs");
        assert_eq!([jobs(0), jobs(1), jobs(2)], ["0 jobs", "1 job", "2 jobs"]);
    }
}
