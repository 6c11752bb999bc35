//! The resource file: what a master tells the batch system, in CL-MW's Lisp forms (its manual, 5.3) and our own.
//!
//! ```text
//! ;; Status of the computation
//! (:computation-status :in-progress)
//! ;; Slaves Needed
//! (:slaves-needed 998)
//! ..
//! ;; Every address that slaves may try
//! (:master-addresses ("10.1.0.2:4432" "192.168.0.2:4432"))
//! ;; Version of our own forms, and their end
//! (:format-version 1)
//! ```
//!
//! Each form is a list of a keyword and a value. CL-MW's come first and are all there, so that its readers and their
//! users' scripts can read the file; ours follow. In reading, forms of other names are passed over, whatever
//! well-formed value they have, and a form may stand anywhere; CL-MW's are required, and `:format-version` where there is another of ours. Names are read in
//! any case, as Lisp would. Of a form that is there twice the later one counts.
//!
//! Writing aside and renaming is the caller's; so is the mode of a file with a secret.
//!
//! Format version 1: the first.

use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;

use sexp::{Datum, Reader, Value};

mod sexp;

/// The version of our own forms, written as `:format-version`.
pub const RESOURCE_FORMAT_VERSION: u64 = 1;
/// The most bytes of a resource file that are read.
pub const RESOURCE_FILE_BYTES_MAX: usize = 1 << 20;

/// Seconds from the start of 1900 (universal time) to the start of 1970.
pub const UNIVERSAL_TIME_OFFSET: u64 = 2_208_988_800;

/// Where a Linux machine keeps its own libraries.
const SYSTEM_FOLDERS: &[&str] = &[
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
];

/// Whether a library is the system's, by its absolute path: every Linux machine has its own, and one of another machine's
/// would not fit its loader. Such a one is no part of what a slave's executable brings along.
pub fn is_systems_library(path: &Path) -> bool {
    SYSTEM_FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// What a resource file says.
#[derive(Clone, PartialEq, Eq)]
pub struct ResourceFile {
    /// The computation is finished; slaves that read this exit 0.
    pub finished: bool,
    /// When it was written: universal time, seconds since the start of 1900, UTC ([`UNIVERSAL_TIME_OFFSET`]).
    pub timestamp: u64,
    /// The membership token.
    pub member_id: String,
    /// Seconds from the timestamp until it is rewritten.
    pub update_interval: u64,
    /// Slaves that are still missing.
    pub slaves_needed: u64,
    /// The slave's executable and the shared libraries that must go along.
    pub slave_executable: (String, Vec<String>),
    /// The slave's arguments.
    pub slave_arguments: Vec<String>,
    /// Slaves that are desired in all.
    pub slaves_desired: Option<u64>,
    /// Slaves that are connected.
    pub slaves_connected: Option<u64>,
    /// Slaves that have tasks.
    pub slaves_busy: Option<u64>,
    /// Tasks that wait for a slave.
    pub tasks_queued: Option<u64>,
    /// Every `host:port` that slaves may try, best first.
    pub master_addresses: Vec<String>,
    /// The version of our own forms; none in CL-MW's files. It is the last form, so that a file that lost some of ours
    /// is known to be cut. Writing puts [`RESOURCE_FORMAT_VERSION`] where there are forms of ours and this is none.
    pub format: Option<u64>,
    /// The shared secret; the file's mode must then be 0600.
    pub secret: Option<String>,
    /// The run's id, the same in each life of its master.
    pub run_id: Option<String>,
    /// Where observers ask how the run does, `host:port`.
    pub status_address: Option<String>,
    /// The page of the run's status, a link without its token.
    pub status_page: Option<String>,
    /// The token of that page; the file's mode must then be 0600.
    pub status_token: Option<String>,
}

/// The secret stays out of logs and panics.
impl std::fmt::Debug for ResourceFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResourceFile")
            .field("finished", &self.finished)
            .field("timestamp", &self.timestamp)
            .field("member_id", &self.member_id)
            .field("update_interval", &self.update_interval)
            .field("slaves_needed", &self.slaves_needed)
            .field("slave_executable", &self.slave_executable)
            .field("slave_arguments", &self.slave_arguments)
            .field("slaves_desired", &self.slaves_desired)
            .field("slaves_connected", &self.slaves_connected)
            .field("slaves_busy", &self.slaves_busy)
            .field("tasks_queued", &self.tasks_queued)
            .field("master_addresses", &self.master_addresses)
            .field("format", &self.format)
            .field("secret", &self.secret.as_ref().map(|_| ".."))
            .field("run_id", &self.run_id)
            .field("status_address", &self.status_address)
            .field("status_page", &self.status_page)
            .field("status_token", &self.status_token.as_ref().map(|_| ".."))
            .finish()
    }
}

/// Why a text is no resource file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}")]
pub struct ResourceError {
    /// Where, from 1; what is missing is told at the last line.
    pub line: usize,
    /// What is wrong there.
    pub what: String,
}

impl ResourceFile {
    /// The file's text.
    #[must_use]
    pub fn write(&self) -> String {
        let mut forms = Forms(String::new());
        let status = if self.finished {
            ":finished"
        } else {
            ":in-progress"
        };
        forms.put("Status of the computation", COMPUTATION_STATUS, status);
        forms.put(
            "Time Stamp of Resource File",
            TIMESTAMP,
            &self.timestamp.to_string(),
        );
        forms.put("Member ID", MEMBER_ID, &quoted(&self.member_id));
        forms.put(
            "Update Interval (sec) of Resource File",
            UPDATE_INTERVAL,
            &self.update_interval.to_string(),
        );
        forms.put(
            "Slaves Needed",
            SLAVES_NEEDED,
            &self.slaves_needed.to_string(),
        );
        let (executable, libraries) = &self.slave_executable;
        let executable = format!("({} {})", quoted(executable), list(libraries));
        forms.put(
            "Slave Executable and Shared Libs",
            SLAVE_EXECUTABLE,
            &executable,
        );
        forms.put(
            "Slave Arguments",
            SLAVE_ARGUMENTS,
            &list(&self.slave_arguments),
        );
        let counts = [
            ("Slaves Desired", SLAVES_DESIRED, self.slaves_desired),
            ("Slaves Connected", SLAVES_CONNECTED, self.slaves_connected),
            ("Slaves Busy", SLAVES_BUSY, self.slaves_busy),
            ("Tasks Queued", TASKS_QUEUED, self.tasks_queued),
        ];
        for (comment, name, count) in counts {
            if let Some(count) = count {
                forms.put(comment, name, &count.to_string());
            }
        }
        if !self.master_addresses.is_empty() {
            let addresses = list(&self.master_addresses);
            forms.put(
                "Every address that slaves may try",
                MASTER_ADDRESSES,
                &addresses,
            );
        }
        if let Some(secret) = &self.secret {
            forms.put("Shared secret", SECRET, &quoted(secret));
        }
        if let Some(run) = &self.run_id {
            forms.put(
                "The run, the same in each life of its master",
                RUN_ID,
                &quoted(run),
            );
        }
        let status = [
            (
                "Where ringmw top, why and stop ask",
                STATUS_ADDRESS,
                &self.status_address,
            ),
            ("The page of the status", STATUS_PAGE, &self.status_page),
            (
                "Its token: who has it may look",
                STATUS_TOKEN,
                &self.status_token,
            ),
        ];
        for (comment, name, value) in status {
            if let Some(value) = value {
                forms.put(comment, name, &quoted(value));
            }
        }
        let format = self
            .format
            .or(self.has_own_forms().then_some(RESOURCE_FORMAT_VERSION));
        if let Some(format) = format {
            forms.put(
                "Version of our own forms, and their end",
                FORMAT_VERSION,
                &format.to_string(),
            );
        }
        forms.0
    }

    fn has_own_forms(&self) -> bool {
        let counts = [
            self.slaves_desired,
            self.slaves_connected,
            self.slaves_busy,
            self.tasks_queued,
        ];
        counts.iter().any(Option::is_some)
            || !self.master_addresses.is_empty()
            || [
                &self.secret,
                &self.run_id,
                &self.status_address,
                &self.status_page,
                &self.status_token,
            ]
            .iter()
            .any(|form| form.is_some())
    }

    /// The text of an open file of `bytes` bytes: none is read of one that is too long for a resource file, and of one
    /// that says less than it has (a pipe, a file that grows) no more than may be.
    ///
    /// # Errors
    /// What reading gave; or [`InvalidData`](io::ErrorKind::InvalidData), with the size and the limit. The path is the
    /// caller's to name.
    pub fn text(file: impl Read, bytes: u64) -> io::Result<Vec<u8>> {
        let refused = |bytes: &dyn std::fmt::Display| {
            let what = format!(
                "it has {bytes} bytes, and a resource file has at most {RESOURCE_FILE_BYTES_MAX}; it is not read: is it the right file?"
            );
            io::Error::new(io::ErrorKind::InvalidData, what)
        };
        let most = RESOURCE_FILE_BYTES_MAX as u64;
        if bytes > most {
            return Err(refused(&bytes));
        }
        let mut text = Vec::new();
        file.take(most + 1).read_to_end(&mut text)?;
        match text.len() > RESOURCE_FILE_BYTES_MAX {
            true => Err(refused(&format_args!("more than {most}"))),
            false => Ok(text),
        }
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// Names the line where the text stops being forms, a value has the wrong type, or, at the end, which form is
    /// missing. A text of more than [`RESOURCE_FILE_BYTES_MAX`] is none.
    pub fn parse(text: &[u8]) -> Result<Self, ResourceError> {
        let mut found = Found::default();
        let mut reader = Reader::new(text)?;
        while let Some(form) = reader.next()? {
            found.take(form)?;
        }
        found.into_file(reader.line())
    }
}

const COMPUTATION_STATUS: &str = "computation-status";
const TIMESTAMP: &str = "timestamp";
const MEMBER_ID: &str = "member-id";
const UPDATE_INTERVAL: &str = "update-interval";
const SLAVES_NEEDED: &str = "slaves-needed";
const SLAVE_EXECUTABLE: &str = "slave-executable";
const SLAVE_ARGUMENTS: &str = "slave-arguments";
const FORMAT_VERSION: &str = "format-version";
const SLAVES_DESIRED: &str = "slaves-desired";
const SLAVES_CONNECTED: &str = "slaves-connected";
const SLAVES_BUSY: &str = "slaves-busy";
const TASKS_QUEUED: &str = "tasks-queued";
const MASTER_ADDRESSES: &str = "master-addresses";
const SECRET: &str = "secret";
const RUN_ID: &str = "run-id";
const STATUS_ADDRESS: &str = "status-address";
const STATUS_PAGE: &str = "status-page";
const STATUS_TOKEN: &str = "status-token";

struct Forms(String);

impl Forms {
    fn put(&mut self, comment: &str, name: &str, value: &str) {
        for part in [";; ", comment, "\n(:", name, " ", value, ")\n"] {
            self.0.push_str(part);
        }
    }
}

/// A Lisp string: everything but `"` and `\` stands for itself, line feeds too.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A Lisp list of strings; the empty one is NIL, as CL-MW's writer has it.
fn list(texts: &[String]) -> String {
    match texts {
        [] => "NIL".to_owned(),
        texts => format!(
            "({})",
            texts
                .iter()
                .map(|text| quoted(text))
                .collect::<Vec<_>>()
                .join(" ")
        ),
    }
}

/// What has been read so far.
#[derive(Default)]
struct Found {
    finished: Option<bool>,
    timestamp: Option<u64>,
    member_id: Option<String>,
    update_interval: Option<u64>,
    slaves_needed: Option<u64>,
    slave_executable: Option<(String, Vec<String>)>,
    slave_arguments: Option<Vec<String>>,
    slaves_desired: Option<u64>,
    slaves_connected: Option<u64>,
    slaves_busy: Option<u64>,
    tasks_queued: Option<u64>,
    master_addresses: Option<Vec<String>>,
    format: Option<u64>,
    secret: Option<String>,
    run_id: Option<String>,
    status_address: Option<String>,
    status_page: Option<String>,
    status_token: Option<String>,
}

impl Found {
    fn take(&mut self, form: Datum) -> Result<(), ResourceError> {
        let line = form.line;
        let Value::List(items) = form.value else {
            return Err(wrong(line, "a form like (:slaves-needed 3)", &form.value));
        };
        let [
            Datum {
                value: Value::Keyword(name),
                ..
            },
            values @ ..,
        ] = items.as_slice()
        else {
            let what = "a form begins with a keyword, like (:slaves-needed 3)".to_owned();
            return Err(ResourceError { line, what });
        };
        let value = || match values {
            [value] => Ok(value),
            values => Err(ResourceError {
                line,
                what: format!("(:{name} ..) has {} values instead of one", values.len()),
            }),
        };
        match name.as_str() {
            COMPUTATION_STATUS => self.finished = Some(status(value()?)?),
            TIMESTAMP => self.timestamp = Some(number(value()?)?),
            MEMBER_ID => self.member_id = Some(text(value()?)?),
            UPDATE_INTERVAL => self.update_interval = Some(number(value()?)?),
            SLAVES_NEEDED => self.slaves_needed = Some(number(value()?)?),
            SLAVE_EXECUTABLE => self.slave_executable = Some(executable(value()?)?),
            SLAVE_ARGUMENTS => self.slave_arguments = Some(texts(value()?)?),
            SLAVES_DESIRED => self.slaves_desired = Some(number(value()?)?),
            SLAVES_CONNECTED => self.slaves_connected = Some(number(value()?)?),
            SLAVES_BUSY => self.slaves_busy = Some(number(value()?)?),
            TASKS_QUEUED => self.tasks_queued = Some(number(value()?)?),
            MASTER_ADDRESSES => self.master_addresses = Some(texts(value()?)?),
            FORMAT_VERSION => self.format = Some(number(value()?)?),
            SECRET => self.secret = Some(text(value()?)?),
            RUN_ID => self.run_id = Some(text(value()?)?),
            STATUS_ADDRESS => self.status_address = Some(text(value()?)?),
            STATUS_PAGE => self.status_page = Some(text(value()?)?),
            STATUS_TOKEN => self.status_token = Some(text(value()?)?),
            _ => {}
        }
        Ok(())
    }

    fn into_file(self, line: usize) -> Result<ResourceFile, ResourceError> {
        let missing = |name: &str| ResourceError {
            line,
            what: format!("the file ends without (:{name} ..); was it cut off?"),
        };
        let file = ResourceFile {
            finished: self.finished.ok_or_else(|| missing(COMPUTATION_STATUS))?,
            timestamp: self.timestamp.ok_or_else(|| missing(TIMESTAMP))?,
            member_id: self.member_id.ok_or_else(|| missing(MEMBER_ID))?,
            update_interval: self
                .update_interval
                .ok_or_else(|| missing(UPDATE_INTERVAL))?,
            slaves_needed: self.slaves_needed.ok_or_else(|| missing(SLAVES_NEEDED))?,
            slave_executable: self
                .slave_executable
                .ok_or_else(|| missing(SLAVE_EXECUTABLE))?,
            slave_arguments: self
                .slave_arguments
                .ok_or_else(|| missing(SLAVE_ARGUMENTS))?,
            slaves_desired: self.slaves_desired,
            slaves_connected: self.slaves_connected,
            slaves_busy: self.slaves_busy,
            tasks_queued: self.tasks_queued,
            master_addresses: self.master_addresses.unwrap_or_default(),
            format: self.format,
            secret: self.secret,
            run_id: self.run_id,
            status_address: self.status_address,
            status_page: self.status_page,
            status_token: self.status_token,
        };
        match file.has_own_forms() && file.format.is_none() {
            true => Err(missing(FORMAT_VERSION)),
            false => Ok(file),
        }
    }
}

fn wrong(line: usize, expected: &str, got: &Value) -> ResourceError {
    ResourceError {
        line,
        what: format!("{expected} expected, {} found", got.describe()),
    }
}

fn status(datum: &Datum) -> Result<bool, ResourceError> {
    match &datum.value {
        Value::Keyword(word) if word == "finished" => Ok(true),
        Value::Keyword(word) if word == "in-progress" => Ok(false),
        other => Err(wrong(datum.line, ":in-progress or :finished", other)),
    }
}

fn number(datum: &Datum) -> Result<u64, ResourceError> {
    match &datum.value {
        Value::Number(number) => Ok(*number),
        other => Err(wrong(datum.line, "a whole number from 0 to 2^64-1", other)),
    }
}

fn text(datum: &Datum) -> Result<String, ResourceError> {
    match &datum.value {
        Value::Text(text) => Ok(text.clone()),
        other => Err(wrong(datum.line, "a string", other)),
    }
}

fn texts(datum: &Datum) -> Result<Vec<String>, ResourceError> {
    match &datum.value {
        Value::List(items) => items.iter().map(text).collect(),
        other => Err(wrong(datum.line, "a list of strings", other)),
    }
}

fn executable(datum: &Datum) -> Result<(String, Vec<String>), ResourceError> {
    match &datum.value {
        Value::List(items) if items.len() == 2 => Ok((text(&items[0])?, texts(&items[1])?)),
        other => Err(wrong(
            datum.line,
            "a list of the executable and the list of its libraries",
            other,
        )),
    }
}

#[cfg(test)]
mod tests;
