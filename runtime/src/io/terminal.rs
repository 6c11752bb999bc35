//! What a person at the terminal reads: one line, which names this program.

use std::ffi::OsString;
use std::fmt;
use std::io::{IsTerminal, Write};

use crate::io::job_ad;

/// One line for the operator.
pub(crate) fn complain(name: &str, text: &impl fmt::Display) {
    // Nobody may be reading; that is no reason to fail.
    let _ = writeln!(std::io::stderr(), "{name}: {text}");
}

/// Whether a person reads standard error.
pub(crate) fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

/// What this process was called as.
pub(crate) fn own_name() -> String {
    program_name(&std::env::args_os().collect::<Vec<_>>())
}

/// The name of the file that a process was called as; in a job of HTCondor, that of the file that was submitted.
pub(crate) fn program_name(argv: &[OsString]) -> String {
    let name = argv
        .first()
        .map(std::path::Path::new)
        .and_then(|path| path.file_name())
        .map_or_else(
            || "app".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        );
    job_ad::submitted_name(&name).unwrap_or(name)
}
