//! The command line: the library's `--mw-*` flags are taken out and parsed, the rest is the user's.
//!
//! ```text
//! app --mw-slave input.dat --mw-master-host black --mw-master-port=4711 -- --mw-x
//!     ^^^^^^^^^^           ^^^^^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^^            the library's
//!                ^^^^^^^^^                                               ^^^^^^^^ the user's
//! ```
//!
//! Which flags there are, `ringmw_codec::flags!` says; what their values may be, `values.rs`. Every mistake is one
//! message that names the flag, and exit code 2. Flags of the other role are taken and have no effect but a warning, as in
//! CL-MW, so that one submit file may serve both; [`Settings::without_effect`] names them. Local mode hands those of a
//! slave on to its slaves.
//!
//! No file is read here: [`resolve_slave_target`] is handed a function that does.

mod given;
mod help;
mod target;
mod values;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::io::engine::Choice;
use crate::io::files::audit::Rotate;
use crate::io::terminal::own_name;
use crate::proto::config::{Bounds, Rules};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};
use ringmw_codec::flags::{self, FLAG, FLAGS, Flag};
use ringmw_codec::handshake::LABELS_MAX;
use ringmw_sched::Nanos;

use given::{Given, ROWS, Row};
pub(crate) use help::help_text;
pub(crate) use target::{Source, Target, resolve_listener, resolve_slave_target};
pub(crate) use values::SlavesAt;

// The names that messages have.
const HELP: &str = FLAG.help.name;
const MASTER: &str = FLAG.master.name;
const SLAVE: &str = FLAG.slave.name;
const LOCAL: &str = FLAG.local_slaves.name;
const HOST: &str = FLAG.host.name;
const PORT: &str = FLAG.port.name;
const RESOURCE_FILE: &str = FLAG.resource_file.name;

/// What this process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Run a task again that gave no output.
    Replay,
    /// Print the help and exit 0.
    Help {
        /// Every flag, not only what most need.
        all: bool,
    },
    /// Print the versions and exit 0.
    Version,
    /// The master of slaves that are started elsewhere.
    Master,
    /// A slave.
    Slave,
    /// The master of slaves that it starts itself.
    Local {
        /// How many; by default one per core.
        slaves: Option<u32>,
    },
}

/// How many slaves one process is the parent of (`--mw-slave-count`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlaveCount {
    /// One per core that the batch system gave the job, or that this process may use.
    Auto,
    /// So many.
    Slaves(u32),
}

/// What of a run outlasts its master.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outlasting {
    /// The folder where results are recorded.
    pub journal: Option<PathBuf>,
    /// Results of another build count.
    pub any_build: bool,
    /// Results of other arguments count.
    pub any_args: bool,
    /// Failed results are recorded, and count.
    pub failures: bool,
    /// Where the master algorithm's state is saved.
    pub state: Option<PathBuf>,
}

/// The parsed command line. What was not given has its default, or is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What this process is to be. For help and version nothing else has been judged.
    pub role: Role,
    /// The interface to bind, or the master's host; without the brackets of an IPv6 address.
    pub host: Option<String>,
    /// The port to bind, or the master's.
    pub port: Option<(u16, u16)>,
    /// What slaves are told instead of the host bound.
    pub advertise_host: Option<String>,
    /// What a master holds its slaves and tasks to.
    pub rules: Rules,
    /// Where the trail is appended; none is stdout, in local mode nowhere.
    pub audit_file: Option<PathBuf>,
    /// At how many bytes that file is begun anew, and how many of those before are kept.
    pub audit_rotate: Option<Rotate>,
    /// Whether a line says how far the run is; none: where a person reads it.
    pub progress: Option<bool>,
    /// Where all that outlasts a process is kept, but for what single flags say.
    pub dir: Option<PathBuf>,
    /// Written by a master; for a slave see [`Settings::sources`].
    pub resource_file: Option<PathBuf>,
    /// At least a second.
    pub resource_interval: Duration,
    /// The membership token, at most 255 bytes; none is the default one, in local mode a random one.
    pub member_id: Option<String>,
    /// What the resource file names instead of this executable.
    pub slave_executable: Option<PathBuf>,
    /// Bound of results that nobody has taken.
    pub ready_bytes_max: u64,
    /// What of the run outlasts its master.
    pub outlasting: Outlasting,
    /// Where the run's status is served by HTTP, if it is: the host to bind if one is given, and the port.
    pub status_at: Option<(Option<String>, u16)>,
    /// The run's seed, if it is not to be drawn.
    pub seed: Option<u64>,
    /// What moves the bytes.
    pub engine: Choice,
    /// How many slaves this process is the parent of; none is a slave itself.
    pub slave_count: Option<SlaveCount>,
    /// How long a slave stays.
    pub slave_bounds: Bounds,
    /// Where the run's secret is read, and made where a master finds none.
    pub secret_file: Option<PathBuf>,
    /// The run has no secret.
    pub no_secret: bool,
    /// Slaves that the master dials.
    pub slaves_at: Vec<SlavesAt>,
    /// Where a slave waits for masters that dial: the interface, or all, and the port.
    pub slave_listen: Option<(Option<String>, u16)>,
    /// Where a slave's master is told, in the order given; see [`resolve_slave_target`].
    pub sources: Vec<Source>,
    /// The most bytes of memory that a slave may have resident.
    pub slave_memory: Option<u64>,
    /// How long a slave looks for the next life of its run; none: as long as its master says.
    pub slave_reconnect: Option<Nanos>,
    /// Where tasks that give no output are kept.
    pub keep_failed: Option<PathBuf>,
    /// The task to run again.
    pub replay: Option<PathBuf>,
    /// The labels of a slave, at most [`LABELS_MAX`].
    pub labels: Vec<String>,
    /// The flags of a slave that local mode's slaves are given.
    pub passed_on: Vec<OsString>,
    /// Flags that were given and mean nothing in this role.
    pub without_effect: Vec<&'static str>,
    /// The user's arguments, in order.
    pub user: Vec<String>,
}

/// A wrong command line: one message that names the flag. The process exits with `ringmw_codec::flags::exit::USAGE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsageError(pub String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

fn usage<T>(message: impl Into<String>) -> Result<T, UsageError> {
    Err(UsageError(message.into()))
}

/// The addresses in a file: a line each, blank ones and what follows a `#` passed over.
///
/// # Errors
/// The first line that is none.
pub(crate) fn addresses(text: &str) -> Result<Vec<String>, String> {
    let mut all = Vec::new();
    for (nth, line) in text.lines().enumerate() {
        let address = line.split('#').next().unwrap_or_default().trim();
        if !address.is_empty() {
            let read = values::peer(address);
            all.push(read.map_err(|error| format!("line {}: {address} {error}", nth + 1))?);
        }
    }
    Ok(all)
}

/// The arguments, apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// The library's, in order, each with its value in one: `--flag` or `--flag=value`.
    pub mw: Vec<OsString>,
    /// The user's, in order.
    pub user: Vec<String>,
    /// `all` stands behind the call for help.
    pub help_all: bool,
}

/// Takes the library's flags out of the arguments (those after the program's name).
///
/// A `--` ends the library's flags and is taken out too; a second one is the user's.
pub(crate) fn split(args: impl IntoIterator<Item = OsString>) -> Result<Split, UsageError> {
    let mut split = Split {
        mw: Vec::new(),
        user: Vec::new(),
        help_all: false,
    };
    let mut args = args.into_iter().enumerate().peekable();
    let mut is_ours = true;
    while let Some((index, arg)) = args.next() {
        if is_ours && arg == "--" {
            is_ours = false;
        } else if is_ours && arg.as_bytes().starts_with(b"--mw-") {
            let (row, value) = known_flag(&arg)?;
            let name = row.flag.name;
            let Some(placeholder) = row.flag.value else {
                if value.is_some() {
                    return usage(format!("{name} takes no value"));
                }
                if name == HELP {
                    split.help_all |= args.next_if(|(_, next)| next == "all").is_some();
                }
                split.mw.push(arg);
                continue;
            };
            let is_value = |(_, next): &(usize, OsString)| {
                !next.as_bytes().starts_with(b"--mw-") && next != "--"
            };
            let value = value.or_else(|| Some(args.next_if(is_value)?.1));
            let Some(value) = value else {
                return usage(format!("{name} needs a value: {name} {placeholder}"));
            };
            split.mw.push(joined(row, &value)?);
        } else {
            match arg.into_string() {
                Ok(arg) => split.user.push(arg),
                Err(arg) => {
                    let (position, shown) = (index + 1, arg.to_string_lossy());
                    return usage(format!(
                        "argument {position} is not UTF-8: {shown:?}; give it in another encoding"
                    ));
                }
            }
        }
    }
    Ok(split)
}

/// Paths may be any bytes; all else is text.
fn joined(row: &Row, value: &OsStr) -> Result<OsString, UsageError> {
    let name = row.flag.name;
    if value.is_empty() && !row.may_be_empty {
        return usage(format!("{name} is given an empty value"));
    }
    if value.to_str().is_none() && !row.is_path {
        let shown = value.to_string_lossy();
        return usage(format!("{name} {shown:?}: is not UTF-8"));
    }
    let mut whole = OsString::from(name);
    whole.push("=");
    whole.push(value);
    Ok(whole)
}

/// The flag of an argument that begins with `--mw-`, and the value behind its `=`.
fn known_flag(arg: &OsStr) -> Result<(&'static Row, Option<OsString>), UsageError> {
    let bytes = arg.as_bytes();
    let end = bytes.iter().position(|&byte| byte == b'=');
    let name = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    let value = end.map(|end| OsString::from_vec(bytes[end + 1..].to_vec()));
    match ROWS.iter().find(|row| row.flag.name == name) {
        Some(row) => Ok((row, value)),
        None => match nearest(&name) {
            Some(near) => usage(format!(
                "{name} is no flag of this program; is {near} meant? {HELP} all lists them"
            )),
            None => usage(format!(
                "{name} is no flag of this program; {HELP} all lists them"
            )),
        },
    }
}

/// The known flag that takes the fewest edits, if that is a slip and not another word.
fn nearest(name: &str) -> Option<&'static str> {
    let distance = |known: &str| {
        edits(
            name.trim_start_matches("--mw-"),
            known.trim_start_matches("--mw-"),
        )
    };
    let (edits, near) = FLAGS
        .iter()
        .map(|flag| (distance(flag.name), flag.name))
        .min()?;
    (edits <= near.len() / 4).then_some(near)
}

/// Letters to insert, delete or replace (Levenshtein).
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, &other) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

/// Parses the arguments after the program's name.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Settings, UsageError> {
    let Split {
        mut mw,
        user,
        help_all,
    } = split(args)?;
    // A call for help must not fail on what it is to help with.
    let calls = [HELP, FLAG.version.name];
    let call = calls.iter().find(|call| mw.iter().any(|arg| arg == *call));
    if let Some(call) = call {
        mw = vec![call.into()];
    }
    let matches = command().try_get_matches_from(&mw);
    let given = Given::take(&mut matches.map_err(|error| UsageError(message(&error)))?);
    judge_role(&given)?;
    let mut settings = Settings::from(given);
    settings.spread_dir(&own_name());
    let names = names(&mw, settings.role)?;
    if let Role::Help { all } = &mut settings.role {
        *all = help_all;
    }
    settings.rules.is_crash_limit_given = names.contains(&FLAG.crash_limit.name);
    judge(&settings)?;
    let is_local = matches!(settings.role, Role::Local { .. });
    if is_local {
        judge_local(&names)?;
    }
    let of_slaves =
        |arg: &&OsString| known_flag(arg).is_ok_and(|(row, _)| row.flag.role == flags::Role::Slave);
    let passed_on = match is_local {
        true => mw.iter().filter(of_slaves).cloned().collect(),
        false => Vec::new(),
    };
    let of_the_other = match settings.role {
        Role::Slave => flags::Role::Master,
        _ => flags::Role::Slave,
    };
    let is_idle =
        |flag: &&Flag| flag.role == of_the_other && names.contains(&flag.name) && !is_local;
    Ok(Settings {
        without_effect: FLAGS.iter().filter(is_idle).map(|flag| flag.name).collect(),
        passed_on,
        user,
        ..settings
    })
}

impl Settings {
    /// What `--mw-dir` comes to, for a program of this name: a path for each flag that is not given itself.
    fn spread_dir(&mut self, name: &str) {
        let Some(dir) = self.dir.clone() else {
            return;
        };
        let resources = dir.join(format!("{name}.rsc"));
        let is_slave = self.role == Role::Slave;
        if self.resource_file.is_none() && (is_slave || self.role == Role::Master) {
            self.resource_file = Some(resources.clone());
            // What single flags say stands behind it, and counts.
            self.sources.insert(0, Source::ResourceFile(resources));
        }
        if is_slave {
            return;
        }
        (self.audit_file).get_or_insert_with(|| dir.join(format!("{name}.audit")));
        (self.outlasting.journal).get_or_insert_with(|| dir.join("journal"));
        self.outlasting
            .state
            .get_or_insert_with(|| dir.join("state"));
        (self.keep_failed).get_or_insert_with(|| dir.join("failed"));
    }
}

/// The rows as clap has them. All may be repeated here: what may not, [`names`] judges by role.
fn command() -> Command {
    let command = Command::new("ringmw")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true);
    ROWS.iter().fold(command, |command, row| {
        let Flag { name, default, .. } = row.flag;
        let long = name.strip_prefix("--").expect("every flag begins with it");
        let arg = Arg::new(name).long(long);
        command.arg(match (row.parser)() {
            None => arg.action(ArgAction::Count),
            Some(parser) => arg
                .action(ArgAction::Append)
                .value_parser(parser)
                .default_value(default),
        })
    })
}

/// One line, without clap's own hints at flags that are not there.
fn message(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let name = context(ContextKind::InvalidArg)
        .and_then(|shown| shown.split([' ', '=']).next())
        .unwrap_or("a flag");
    let value = context(ContextKind::InvalidValue).unwrap_or_default();
    let cause = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), cause) {
        (ErrorKind::ValueValidation, Some(cause)) => format!("{name} {value}: {cause}"),
        _ => error
            .to_string()
            .lines()
            .next()
            .unwrap_or_default()
            .trim_start_matches("error: ")
            .to_owned(),
    }
}

/// A process has one role.
fn judge_role(given: &Given) -> Result<(), UsageError> {
    let is_range = |(_, (first, last)): &(usize, (u16, u16))| first != last;
    if given.slave
        && let Some((_, (first, last))) = given.port.iter().find(|port| is_range(port))
    {
        return usage(format!(
            "{PORT} {first}-{last}: a slave dials one port; a range is for the master"
        ));
    }
    let local = given.local_slaves;
    if given.replay.is_some() && (given.master || given.slave || local.is_some()) {
        return usage(format!(
            "{} runs one task and nothing else: leave {MASTER}, {SLAVE} and {LOCAL} out",
            FLAG.replay.name
        ));
    }
    match (given.master, given.slave) {
        (true, true) => usage(format!(
            "{MASTER} and {SLAVE} contradict each other: a process is one of them"
        )),
        (true, false) if local.is_some() => usage(format!(
            "{LOCAL} contradicts {MASTER}: local mode is what runs with neither role flag"
        )),
        (false, true) if local.is_some() => usage(format!(
            "{LOCAL} contradicts {SLAVE}: local mode is what runs with neither role flag"
        )),
        _ => Ok(()),
    }
}

/// The flags that were given, none of them twice but what a slave may be told again.
fn names(mw: &[OsString], role: Role) -> Result<Vec<&'static str>, UsageError> {
    let mut names = Vec::new();
    for arg in mw {
        let (row, _) = known_flag(arg)?;
        let (name, may_repeat) = (
            row.flag.name,
            row.may_repeat || (role == Role::Slave && row.is_source),
        );
        if names.contains(&name) && !may_repeat {
            return usage(format!("{name} is given twice; leave one of them out"));
        }
        names.push(name);
    }
    Ok(names)
}

/// Local mode's slaves are given the flags of a slave, but for those that say how long it stays and how many there are.
fn judge_local(names: &[&'static str]) -> Result<(), UsageError> {
    let flags = [
        FLAG.slave_count,
        FLAG.time_limit,
        FLAG.idle_timeout,
        FLAG.slave_listen,
    ];
    match flags.iter().find(|flag| names.contains(&flag.name)) {
        Some(flag) => usage(format!(
            "{} needs {SLAVE} beside it: local mode's slaves are as many as {LOCAL} says, and stay until the work is done",
            flag.name
        )),
        None => Ok(()),
    }
}

/// What each flag alone may say, but not together or in this role.
fn judge(settings: &Settings) -> Result<(), UsageError> {
    let (file, none) = (FLAG.secret_file.name, FLAG.no_secret.name);
    if settings.role != Role::Slave && settings.no_secret && settings.secret_file.is_some() {
        return usage(format!(
            "{none} contradicts {file}: a run has a secret or none"
        ));
    }
    let listen = FLAG.slave_listen.name;
    if settings.labels.len() > LABELS_MAX {
        let (name, given) = (FLAG.labels.name, settings.labels.len());
        return usage(format!(
            "{name} is given {given} times; at most {LABELS_MAX} labels are taken"
        ));
    }
    match settings.role {
        Role::Slave if settings.slave_listen.is_some() => {
            let dials = [
                (HOST, settings.host.is_some()),
                (PORT, settings.port.is_some()),
                (FLAG.slave_count.name, settings.slave_count.is_some()),
            ];
            match dials.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => usage(format!(
                    "{listen} contradicts {name}: one slave waits for a master that dials it"
                )),
                None => Ok(()),
            }
        }
        Role::Slave if settings.resource_file.is_none() => match (&settings.host, settings.port) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => usage(format!(
                "{HOST} needs {PORT} beside it: a slave must know its master's port"
            )),
            (None, Some(_)) => usage(format!(
                "{PORT} needs {HOST} beside it: a slave must know its master's host"
            )),
            (None, None) => usage(format!(
                "{SLAVE} needs to know its master: give {HOST} and {PORT}, or the master's {RESOURCE_FILE}, or wait for it with {listen}"
            )),
        },
        Role::Local { .. } => {
            let given = [
                (HOST, settings.host.is_some()),
                (PORT, settings.port.is_some()),
                (FLAG.advertise_host.name, settings.advertise_host.is_some()),
                (RESOURCE_FILE, settings.resource_file.is_some()),
                (FLAG.slaves_at.name, !settings.slaves_at.is_empty()),
            ];
            match given.iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => usage(format!(
                    "{name} needs {MASTER} or {SLAVE} beside it; with neither, master and slaves all run on this machine"
                )),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
