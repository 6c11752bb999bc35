//! The ad of the HTCondor job that this process is, which names a file of it in the environment (HTCondor manual,
//! "Services for running jobs").

use std::path::Path;

/// The environment variable with the file of the ad.
const VARIABLE: &str = "_CONDOR_JOB_AD";
/// What HTCondor runs a job's executable as, in place of its own name.
const RUN_AS: [&str; 2] = ["condor_exec.", "condor_scheduniv_exec."];

/// The job's ad, where this process is such a job; empty if it cannot be read.
pub(crate) fn read() -> Option<String> {
    let path = std::env::var_os(VARIABLE)?;
    Some(std::fs::read_to_string(path).unwrap_or_default())
}

/// An attribute's value as it is written, a text without its quotes.
pub(crate) fn attribute<'a>(ad: &'a str, name: &str) -> Option<&'a str> {
    ad.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let is_it = key.trim().eq_ignore_ascii_case(name);
        is_it.then(|| value.trim().trim_matches('"'))
    })
}

/// The name of the file that was submitted, where `name` is what HTCondor runs it as: a run is known by the first, and
/// the second is another one in each job.
pub(crate) fn submitted_name(name: &str) -> Option<String> {
    if !RUN_AS.iter().any(|start| name.starts_with(start)) {
        return None;
    }
    let ad = read()?;
    let command = Path::new(attribute(&ad, "Cmd")?);
    Some(command.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_by_their_whole_name() {
        // As HTCondor 23.9 writes them.
        let ad = "Cmd = \"/home/u/bin/ping\"\nOnExitHold = ExitCode == 250\nexitcode = 7\n";
        assert_eq!(attribute(ad, "Cmd"), Some("/home/u/bin/ping"));
        assert_eq!(attribute(ad, "ExitCode"), Some("7"));
        assert_eq!(attribute(ad, "Exit"), None);
        assert_eq!(submitted_name("ping"), None);
    }
}
