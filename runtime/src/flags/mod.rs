//! The command line: the library's `--mw-*` flags are taken out and parsed, the rest is the user's.
//!
//! ```text
//! app --mw-slave input.dat --mw-master-host black --mw-master-port=4711 -- --mw-x
//!     ^^^^^^^^^^           ^^^^^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^^^^^^            the library's
//!                ^^^^^^^^^                                               ^^^^^^^^ the user's
//! ```
//!
//! Which flags there are, `ringmw_codec::flags` says; what their values may be, this file. Every mistake is one
//! message that names the flag, and exit code 2. Flags of the other role are taken and have no effect, as in CL-MW, so
//! that one submit file may serve both; [`Settings::without_effect`] names them.
//!
//! No file is read here: [`resolve_slave_target`] is handed a function that does.

mod help;
mod target;
mod values;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use crate::io::engine::Choice;
use crate::proto::master::{Level, Wanted};
use crate::proto::slave::Bounds;
use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};
use ringmw_codec::Nanos;
use ringmw_codec::flags::{self, FLAGS, Flag, flag};

pub(crate) use help::help_text;
pub(crate) use target::{Source, resolve_slave_target};
pub(crate) use values::SECONDS_MAX;

const HELP: &str = "--mw-help";
const VERSION: &str = "--mw-version-string";
const MASTER: &str = "--mw-master";
const SLAVE: &str = "--mw-slave";
const LOCAL: &str = "--mw-local";
const HOST: &str = "--mw-master-host";
const PORT: &str = "--mw-master-port";
const ADVERTISE_HOST: &str = "--mw-advertise-host";
const WRITE_BUFFER: &str = "--mw-max-write-buffer-size";
const READ_BUFFER: &str = "--mw-max-read-buffer-size";
const CLIENT_TIMEOUT: &str = "--mw-client-timeout";
const AUDIT_FILE: &str = "--mw-audit-file";
const AUDIT_LEVEL: &str = "--mw-audit-level";
const RESOURCE_FILE: &str = "--mw-resource-file";
const RESOURCE_INTERVAL: &str = "--mw-resource-file-update-interval";
const TASK_GROUP: &str = "--mw-slave-task-group";
const RESULT_GROUP: &str = "--mw-slave-result-group";
const PREFETCH: &str = "--mw-slave-prefetch";
const DUPLICATE_STRAGGLERS: &str = "--mw-duplicate-stragglers";
const MEMBER_ID: &str = "--mw-member-id";
const SLAVE_EXECUTABLE: &str = "--mw-slave-executable";
const CRASH_LIMIT: &str = "--mw-crash-limit";
const READY_BYTES: &str = "--mw-max-ready-bytes";
const QUEUED_BYTES: &str = "--mw-max-queued-bytes";
const SEED: &str = "--mw-seed";
const ENGINE: &str = "--mw-engine";
const ANY_BUILD: &str = "--mw-any-build";
const SLAVES_WANTED: &str = "--mw-slaves-wanted";
const SLAVE_COUNT: &str = "--mw-slave-count";
const TIME_LIMIT: &str = "--mw-slave-time-limit";
const IDLE_TIMEOUT: &str = "--mw-slave-idle-timeout";

/// Where a slave's master may be told; of these the later one wins, so they may be given again.
const SOURCES: &[&str] = &[HOST, PORT, MEMBER_ID, RESOURCE_FILE];

/// Flags whose values are paths.
const PATHS: &[&str] = &[AUDIT_FILE, RESOURCE_FILE, SLAVE_EXECUTABLE];

/// What this process is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Print the help and exit 0.
    Help,
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

/// The parsed command line. What was not given has its default, or is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Settings {
    /// What this process is to be. For help and version nothing else has been judged.
    pub role: Role,
    /// The interface to bind, or the master's host; without the brackets of an IPv6 address.
    pub host: Option<String>,
    /// The port to bind, or the master's.
    pub port: Option<u16>,
    /// What slaves are told instead of the host bound.
    pub advertise_host: Option<String>,
    /// The most bytes of a packet to a slave.
    pub write_bytes_max: u32,
    /// The most bytes of a packet from a slave.
    pub read_bytes_max: u32,
    /// A slave that is silent for this long is lost; at least a second.
    pub client_timeout: Duration,
    /// Where the trail is appended; none is stdout, in local mode nowhere.
    pub audit_file: Option<PathBuf>,
    /// How much the trail tells.
    pub audit_level: Level,
    /// Written by a master; for a slave see [`Settings::sources`].
    pub resource_file: Option<PathBuf>,
    /// At least a second.
    pub resource_interval: Duration,
    /// Tasks per packet, at least 1, or [`AUTO`](ringmw_sched::AUTO).
    pub task_group: u32,
    /// Results per packet, at least 1, or [`AUTO`](ringmw_sched::AUTO).
    pub result_group: u32,
    /// A busy slave may have its next packet in hand, or several small ones.
    pub prefetch: bool,
    /// Tasks that run far longer than the median go to an idle slave too.
    pub duplicate_stragglers: bool,
    /// The membership token, at most 255 bytes; none is the default one, in local mode a random one.
    pub member_id: Option<String>,
    /// What the resource file names instead of this executable.
    pub slave_executable: Option<PathBuf>,
    /// Losses under way that make a task unrunnable; 0 is never.
    pub crash_limit: u32,
    /// Bound of results that nobody has taken.
    pub ready_bytes_max: u64,
    /// Bound of tasks that are queued.
    pub queued_bytes_max: u64,
    /// The run's seed, if it is not to be drawn.
    pub seed: Option<u64>,
    /// What moves the bytes.
    pub engine: Choice,
    /// Slaves of another build may join.
    pub any_build: bool,
    /// What is desired where the master algorithm never allocates.
    pub slaves_wanted: Wanted,
    /// How many slaves this process is the parent of; none is a slave itself.
    pub slave_count: Option<SlaveCount>,
    /// How long a slave stays.
    pub slave_bounds: Bounds,
    /// Where a slave's master is told, in the order given; see [`resolve_slave_target`].
    pub sources: Vec<Source>,
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

/// The arguments, apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Split {
    /// The library's, in order, each with its value in one: `--flag` or `--flag=value`.
    pub mw: Vec<OsString>,
    /// The user's, in order.
    pub user: Vec<String>,
}

/// Takes the library's flags out of the arguments (those after the program's name).
///
/// A `--` ends the library's flags and is taken out too; a second one is the user's.
pub(crate) fn split(args: impl IntoIterator<Item = OsString>) -> Result<Split, UsageError> {
    let mut split = Split {
        mw: Vec::new(),
        user: Vec::new(),
    };
    let mut args = args.into_iter().enumerate().peekable();
    let mut is_ours = true;
    while let Some((index, arg)) = args.next() {
        if is_ours && arg == "--" {
            is_ours = false;
        } else if is_ours && arg.as_bytes().starts_with(b"--mw-") {
            let (flag, value) = known_flag(&arg)?;
            let Some(placeholder) = flag.value else {
                if value.is_some() {
                    return usage(format!("{} takes no value", flag.name));
                }
                split.mw.push(arg);
                continue;
            };
            let is_value = |(_, next): &(usize, OsString)| {
                !next.as_bytes().starts_with(b"--mw-") && next != "--"
            };
            let value = value.or_else(|| Some(args.next_if(is_value)?.1));
            let Some(value) = value else {
                return usage(format!(
                    "{} needs a value: {} {placeholder}",
                    flag.name, flag.name
                ));
            };
            split.mw.push(joined(flag, &value)?);
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
fn joined(flag: &Flag, value: &OsStr) -> Result<OsString, UsageError> {
    if value.is_empty() && flag.name != MEMBER_ID {
        return usage(format!("{} is given an empty value", flag.name));
    }
    if value.to_str().is_none() && !PATHS.contains(&flag.name) {
        return usage(format!(
            "{} {:?}: is not UTF-8",
            flag.name,
            value.to_string_lossy()
        ));
    }
    let mut whole = OsString::from(flag.name);
    whole.push("=");
    whole.push(value);
    Ok(whole)
}

/// The flag of an argument that begins with `--mw-`, and the value behind its `=`.
fn known_flag(arg: &OsStr) -> Result<(&'static Flag, Option<OsString>), UsageError> {
    let bytes = arg.as_bytes();
    let end = bytes.iter().position(|&byte| byte == b'=');
    let name = String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]);
    let value = end.map(|end| OsString::from_vec(bytes[end + 1..].to_vec()));
    match flag(&name) {
        Some(flag) => Ok((flag, value)),
        None => match nearest(&name) {
            Some(near) => usage(format!(
                "{name} is no flag of this program; is {near} meant? {HELP} lists them all"
            )),
            None => usage(format!(
                "{name} is no flag of this program; {HELP} lists them all"
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
    let split = split(args)?;
    // A call for help must not fail on what it is to help with.
    let asks_for = |name: &str| split.mw.iter().any(|arg| arg == name);
    let role = match (asks_for(HELP), asks_for(VERSION)) {
        (true, _) => Some(Role::Help),
        (false, true) => Some(Role::Version),
        (false, false) => None,
    };
    if let Some(role) = role {
        return Ok(Settings {
            role,
            user: split.user,
            ..settings(&matches(&[])?, Role::Master, &[])?
        });
    }
    let matches = matches(&split.mw)?;
    let role = role_of(&matches)?;
    refuse_repetition(&split.mw, role)?;
    let settings = settings(&matches, role, &split.mw)?;
    judge(&settings)?;
    Ok(Settings {
        user: split.user,
        ..settings
    })
}

fn matches(mw: &[OsString]) -> Result<ArgMatches, UsageError> {
    command()
        .try_get_matches_from(mw)
        .map_err(|error| UsageError(message(&error)))
}

/// The table as clap has it. All may be repeated here: what may not, [`refuse_repetition`] judges by role.
fn command() -> Command {
    let command = Command::new("ringmw")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true);
    FLAGS.iter().fold(command, |command, flag| {
        let long = flag
            .name
            .strip_prefix("--")
            .expect("every flag begins with it");
        let arg = Arg::new(flag.name).long(long);
        command.arg(match flag.value {
            None => arg.action(ArgAction::Count),
            Some(placeholder) => arg
                .action(ArgAction::Append)
                .value_name(placeholder)
                .value_parser(parser_of(flag.name))
                .default_value(flag.default),
        })
    })
}

fn parser_of(name: &str) -> ValueParser {
    match name {
        LOCAL => ValueParser::new(values::local_slaves),
        HOST | ADVERTISE_HOST => ValueParser::new(values::host),
        PORT => ValueParser::new(values::port),
        WRITE_BUFFER | READ_BUFFER => ValueParser::new(values::buffer_bytes),
        CLIENT_TIMEOUT | RESOURCE_INTERVAL | TIME_LIMIT | IDLE_TIMEOUT => {
            ValueParser::new(values::seconds)
        }
        SLAVES_WANTED => ValueParser::new(values::slaves_wanted),
        SLAVE_COUNT => ValueParser::new(values::slave_count),
        AUDIT_LEVEL => ValueParser::new(values::level),
        path if PATHS.contains(&path) => ValueParser::path_buf(),
        TASK_GROUP | RESULT_GROUP => ValueParser::new(values::group),
        PREFETCH => ValueParser::new(values::on_off),
        MEMBER_ID => ValueParser::new(values::member_id),
        CRASH_LIMIT => ValueParser::new(values::crash_limit),
        READY_BYTES | QUEUED_BYTES => ValueParser::new(values::bytes),
        SEED => ValueParser::new(values::seed),
        ENGINE => ValueParser::new(values::engine),
        unknown => unreachable!("the table has {unknown}, which nothing parses"),
    }
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

fn role_of(matches: &ArgMatches) -> Result<Role, UsageError> {
    let local: Option<u32> = last(matches, LOCAL);
    match (is_given(matches, MASTER), is_given(matches, SLAVE)) {
        (true, true) => usage(format!(
            "{MASTER} and {SLAVE} contradict each other: a process is one of them"
        )),
        (true, false) if local.is_some() => usage(format!(
            "{LOCAL} contradicts {MASTER}: local mode is what runs with neither role flag"
        )),
        (false, true) if local.is_some() => usage(format!(
            "{LOCAL} contradicts {SLAVE}: local mode is what runs with neither role flag"
        )),
        (true, false) => Ok(Role::Master),
        (false, true) => Ok(Role::Slave),
        (false, false) => Ok(Role::Local { slaves: local }),
    }
}

fn refuse_repetition(mw: &[OsString], role: Role) -> Result<(), UsageError> {
    let mut seen: Vec<&'static str> = Vec::new();
    for arg in mw {
        let (flag, _) = known_flag(arg)?;
        let may_repeat = flag.repeatable || (role == Role::Slave && SOURCES.contains(&flag.name));
        if seen.contains(&flag.name) && !may_repeat {
            return usage(format!(
                "{} is given twice; leave one of them out",
                flag.name
            ));
        }
        seen.push(flag.name);
    }
    Ok(())
}

fn is_given(matches: &ArgMatches, name: &str) -> bool {
    matches.value_source(name) == Some(ValueSource::CommandLine)
}

fn last<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.get_many::<T>(name)?.next_back().cloned()
}

fn settings(matches: &ArgMatches, role: Role, mw: &[OsString]) -> Result<Settings, UsageError> {
    fn known<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> T {
        last(matches, name).expect("the table has a default for it")
    }
    let given = |name| {
        is_given(matches, name)
            .then(|| last(matches, name))
            .flatten()
    };
    let of_the_other = match role {
        Role::Slave => flags::Role::Master,
        _ => flags::Role::Slave,
    };
    let is_idle = |flag: &&Flag| flag.role == of_the_other && is_given(matches, flag.name);
    Ok(Settings {
        role,
        host: last(matches, HOST),
        port: last(matches, PORT),
        advertise_host: last(matches, ADVERTISE_HOST),
        write_bytes_max: known(matches, WRITE_BUFFER),
        read_bytes_max: known(matches, READ_BUFFER),
        client_timeout: known(matches, CLIENT_TIMEOUT),
        audit_file: last(matches, AUDIT_FILE),
        audit_level: known(matches, AUDIT_LEVEL),
        resource_file: last(matches, RESOURCE_FILE),
        resource_interval: known(matches, RESOURCE_INTERVAL),
        task_group: known(matches, TASK_GROUP),
        result_group: known(matches, RESULT_GROUP),
        prefetch: known(matches, PREFETCH),
        duplicate_stragglers: is_given(matches, DUPLICATE_STRAGGLERS),
        member_id: given(MEMBER_ID),
        slave_executable: last(matches, SLAVE_EXECUTABLE),
        crash_limit: known(matches, CRASH_LIMIT),
        ready_bytes_max: known(matches, READY_BYTES),
        queued_bytes_max: known(matches, QUEUED_BYTES),
        seed: last(matches, SEED),
        engine: known(matches, ENGINE),
        any_build: is_given(matches, ANY_BUILD),
        slaves_wanted: known(matches, SLAVES_WANTED),
        slave_count: given_count(last(matches, SLAVE_COUNT)),
        slave_bounds: Bounds {
            time_limit: last(matches, TIME_LIMIT).map(nanos),
            idle_timeout: last(matches, IDLE_TIMEOUT).map(nanos),
        },
        sources: sources(matches, mw)?,
        without_effect: FLAGS.iter().filter(is_idle).map(|flag| flag.name).collect(),
        user: Vec::new(),
    })
}

/// A count of one is no parent.
fn given_count(count: Option<SlaveCount>) -> Option<SlaveCount> {
    count.filter(|count| *count != SlaveCount::Slaves(1))
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

/// The flags of [`SOURCES`], in the order in which they stand on the command line.
fn sources(matches: &ArgMatches, mw: &[OsString]) -> Result<Vec<Source>, UsageError> {
    let all = |name| {
        matches
            .get_many::<String>(name)
            .into_iter()
            .flatten()
            .cloned()
    };
    let (mut hosts, mut members) = (all(HOST), all(MEMBER_ID));
    let mut ports = matches.get_many::<u16>(PORT).into_iter().flatten().copied();
    let mut files = matches
        .get_many::<PathBuf>(RESOURCE_FILE)
        .into_iter()
        .flatten()
        .cloned();
    let mut sources = Vec::new();
    for arg in mw {
        let (flag, _) = known_flag(arg)?;
        sources.extend(match flag.name {
            HOST => hosts.next().map(Source::Host),
            PORT => ports.next().map(Source::Port),
            MEMBER_ID => members.next().map(Source::Member),
            RESOURCE_FILE => files.next().map(Source::ResourceFile),
            _ => None,
        });
    }
    Ok(sources)
}

/// What each flag alone may say, but not together or in this role.
fn judge(settings: &Settings) -> Result<(), UsageError> {
    match settings.role {
        Role::Slave if settings.resource_file.is_none() => match (&settings.host, settings.port) {
            (Some(_), Some(_)) => Ok(()),
            (Some(_), None) => usage(format!(
                "{HOST} needs {PORT} beside it: a slave must know its master's port"
            )),
            (None, Some(_)) => usage(format!(
                "{PORT} needs {HOST} beside it: a slave must know its master's host"
            )),
            (None, None) => usage(format!(
                "{SLAVE} needs to know its master: give {HOST} and {PORT}, or the master's {RESOURCE_FILE}"
            )),
        },
        Role::Local { .. } => {
            let given = [
                (HOST, settings.host.is_some()),
                (PORT, settings.port.is_some()),
                (ADVERTISE_HOST, settings.advertise_host.is_some()),
                (RESOURCE_FILE, settings.resource_file.is_some()),
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
