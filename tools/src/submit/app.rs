//! An application that is to be submitted, and what its jobs ask the batch system for.

use std::path::PathBuf;

use clap::Args;
use ringmw_codec::handshake::LABEL_BYTES_MAX;

/// A master that was aborted so often in a row, each time within a minute of its start, is held.
pub(super) const ABORTS_MAX: u32 = 5;

/// What a slave's job asks the batch system for.
#[derive(Debug, Clone, Args)]
pub(crate) struct Request {
    /// Memory of a slave's job in MiB
    #[arg(long, default_value_t = 256)]
    pub(crate) memory: u32,
    /// Cores of a slave's job; with more than one it runs as many slaves (--mw-slave-count). With
    /// --slave-flag=--mw-slave-count=auto it runs the least of what job, affinity and cgroup allow
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) cpus: u32,
    /// A line to be added to the slaves' submit file as it is: "requirements = ..", "#SBATCH --partition=long"
    #[arg(long = "line", visible_alias = "slave-line", value_name = "LINE", value_parser = one_line)]
    pub(crate) lines: Vec<String>,
    /// A label of the slaves, KEY or KEY=VALUE, for tasks that need it (--mw-slave-label); may be given up to 16 times
    #[arg(long = "label", value_name = "KEY[=VALUE]", value_parser = label)]
    pub(crate) labels: Vec<String>,
    /// A flag of the slave's own, like --slave-flag=--mw-slave-idle-timeout=600
    #[arg(long = "slave-flag", value_name = "FLAG")]
    pub(crate) flags: Vec<String>,
}

/// A line of a submit file as the user wrote it; several at once would hide what they do.
pub(super) fn one_line(text: &str) -> Result<String, String> {
    match text.contains('\n') {
        true => Err("it has a line feed; give each line its own flag".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// What a slave would take, so that no job finds out in the queue.
fn label(text: &str) -> Result<String, String> {
    let key = text.split('=').next().unwrap_or_default();
    match text.len() {
        _ if key.is_empty() => Err("it has no key".to_owned()),
        _ if text.chars().any(char::is_control) => Err("it is not one line of text".to_owned()),
        0..=LABEL_BYTES_MAX => Ok(text.to_owned()),
        bytes => Err(format!(
            "it has {bytes} bytes, at most {LABEL_BYTES_MAX} are taken"
        )),
    }
}

/// An application that is to be submitted.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Absolute.
    pub(crate) binary: PathBuf,
    /// Shared libraries that are not the system's, absolute.
    pub(crate) libraries: Vec<PathBuf>,
    /// Absolute.
    pub(crate) dir: PathBuf,
    /// Absolute, or a name in `dir`.
    pub(crate) resource_file: PathBuf,
    /// What its jobs are known by.
    pub(crate) tag: String,
    pub(crate) request: Request,
}

/// The flags that a submit file gives the master itself, or that contradict those, with what they are.
const GIVEN: [(&str, &str); 7] = [
    ("--mw-master", "the submit file gives it itself"),
    (
        "--mw-resource-file",
        "it is the binary's name with .rsc, in --dir",
    ),
    ("--mw-slave-executable", "it is what --binary says"),
    ("--mw-audit-file", "it is master.JOB.audit in --dir"),
    ("--mw-member-id", "it is the number of the master's job"),
    (
        "--mw-slave",
        "the submit file starts the master; --slaves says how many slaves there are",
    ),
    (
        "--mw-local",
        "the submit file starts the master; --slaves says how many slaves there are",
    ),
];

/// The master takes no flag twice, so it would end as soon as it starts, and nobody would see why.
///
/// # Errors
/// Names the flag that the submit file gives itself.
pub(super) fn refuse_given(args: &[String]) -> Result<(), String> {
    let own = args.split(|arg| arg == "--").next().unwrap_or_default();
    let names = own
        .iter()
        .map(|arg| arg.split('=').next().unwrap_or_default());
    let is_given = |name: &str| GIVEN.iter().find(|(given, _)| *given == name);
    match names.filter_map(is_given).next() {
        Some((flag, why)) => Err(format!(
            "{flag} cannot stand behind --: {why}; leave it out"
        )),
        None => Ok(()),
    }
}

/// What becomes of the work when the master is started again, for whoever reads the submit file.
pub(super) fn starts_again(args: &[String]) -> &'static str {
    let own = args.split(|arg| arg == "--").next().unwrap_or_default();
    let outlasts = |arg: &String| {
        ["--mw-dir", "--mw-journal"].iter().any(|flag| {
            arg.strip_prefix(flag)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        })
    };
    match own.iter().any(outlasts) {
        true => {
            "It goes on where it was: its results\n# are in the folder that its arguments name."
        }
        false => {
            "All work begins\n# anew then, but with `--mw-dir .` among its arguments it goes on where it was."
        }
    }
}

impl App {
    /// A slave's arguments, by the name under which the resource file is beside it.
    pub(crate) fn slave_args(&self, resource_file: &str) -> Vec<String> {
        let mut args = vec!["--mw-slave".to_owned()];
        args.extend(["--mw-resource-file".to_owned(), resource_file.to_owned()]);
        let is_told = |flag: &String| flag.starts_with("--mw-slave-count");
        if self.request.cpus > 1 && !self.request.flags.iter().any(is_told) {
            args.extend(["--mw-slave-count".to_owned(), self.request.cpus.to_string()]);
        }
        for label in &self.request.labels {
            args.extend(["--mw-slave-label".to_owned(), label.clone()]);
        }
        args.extend(self.request.flags.iter().cloned());
        args
    }
}

/// A file to be written.
pub(crate) struct Text {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}
