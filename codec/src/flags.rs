//! The plain tables of flag names and exit codes that parser, help text and README are built from.
//!
//! Nothing is parsed here. A flag's name, placeholder, default, role and help stand here once.

use std::fmt::Write;

/// Which roles a flag is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Master and slave.
    Both,
    /// The master, local mode's included.
    Master,
    /// A slave.
    Slave,
}

impl Role {
    /// The role in help texts.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Role::Both => "both",
            Role::Master => "master",
            Role::Slave => "slave",
        }
    }
}

/// A flag of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name, `--mw-master-host`.
    pub name: &'static str,
    /// The placeholder of its value, `HOST`; none for a switch.
    pub value: Option<&'static str>,
    /// What holds when it is not given, as it would be written.
    pub default: Option<&'static str>,
    /// Whom it is for.
    pub role: Role,
    /// What it does, one sentence.
    pub help: &'static str,
    /// Whether it may be given more than once, all counting; else the later one wins.
    pub repeatable: bool,
}

const fn switch(name: &'static str, role: Role, help: &'static str) -> Flag {
    Flag {
        name,
        value: None,
        default: None,
        role,
        help,
        repeatable: false,
    }
}

const fn option(name: &'static str, value: &'static str, role: Role, help: &'static str) -> Flag {
    Flag {
        name,
        value: Some(value),
        default: None,
        role,
        help,
        repeatable: false,
    }
}

const fn with_default(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    role: Role,
    help: &'static str,
) -> Flag {
    Flag {
        name,
        value: Some(value),
        default: Some(default),
        role,
        help,
        repeatable: false,
    }
}

/// Every flag, in the order of the help text.
pub const FLAGS: &[Flag] = &[
    switch("--mw-help", Role::Both, "Print this help and exit."),
    switch(
        "--mw-version-string",
        Role::Both,
        "Print the versions of ringmw and of the application and exit.",
    ),
    switch(
        "--mw-master",
        Role::Both,
        "Run as the master of slaves started elsewhere.",
    ),
    switch("--mw-slave", Role::Both, "Run as a slave."),
    option(
        "--mw-local",
        "N",
        Role::Master,
        "Slaves to start on this machine when neither role is given; by default one per core.",
    ),
    option(
        "--mw-master-host",
        "HOST",
        Role::Both,
        "Master: the interface to bind, by default all. Slave: the master's host.",
    ),
    option(
        "--mw-master-port",
        "PORT",
        Role::Both,
        "Master: the port to bind, by default any free one. Slave: the master's port.",
    ),
    option(
        "--mw-advertise-host",
        "HOST",
        Role::Master,
        "The host that slaves are told to connect to, when it is not the one bound.",
    ),
    with_default(
        "--mw-max-write-buffer-size",
        "BYTES",
        "131072",
        Role::Master,
        "The most bytes of a packet to a slave; a single task above it is unrunnable.",
    ),
    with_default(
        "--mw-max-read-buffer-size",
        "BYTES",
        "131072",
        Role::Master,
        "The most bytes of a packet from a slave; a single result above it is a failed one.",
    ),
    with_default(
        "--mw-client-timeout",
        "SECONDS",
        "60",
        Role::Master,
        "A slave that is silent for this long is lost; the master's value governs both sides.",
    ),
    option(
        "--mw-audit-file",
        "FILE",
        Role::Both,
        "Append the audit trail to this file instead of printing it.",
    ),
    with_default(
        "--mw-audit-level",
        "default|packets|tasks",
        "default",
        Role::Both,
        "How much the audit trail tells: every packet, every task.",
    ),
    option(
        "--mw-resource-file",
        "FILE",
        Role::Both,
        "Master: write the resource file here. Slave: read host, port and member id from it.",
    ),
    with_default(
        "--mw-resource-file-update-interval",
        "SECONDS",
        "300",
        Role::Master,
        "Rewrite the resource file at least this often.",
    ),
    with_default(
        "--mw-slave-task-group",
        "N|auto",
        "auto",
        Role::Master,
        "Tasks in a packet to a slave; auto: as many as a few milliseconds of compute, fewer towards the end.",
    ),
    with_default(
        "--mw-slave-result-group",
        "N|auto",
        "auto",
        Role::Master,
        "Results in a packet from a slave; auto: those of a packet of tasks, but none waits for long.",
    ),
    with_default(
        "--mw-slave-prefetch",
        "on|off",
        "on",
        Role::Master,
        "Send a busy slave its next packet, or several small ones, before it is through with the last, while there are plenty of short tasks.",
    ),
    switch(
        "--mw-duplicate-stragglers",
        Role::Master,
        "With nothing queued, hand tasks that run far longer than the median to idle slaves too; the first result counts.",
    ),
    with_default(
        "--mw-member-id",
        "TEXT",
        "default-member-id",
        Role::Both,
        "The membership token, at most 255 bytes; a slave's must be its master's.",
    ),
    option(
        "--mw-slave-executable",
        "PATH",
        Role::Master,
        "The executable that the resource file names, by default the master's own.",
    ),
    with_default(
        "--mw-crash-limit",
        "N",
        "10",
        Role::Master,
        "A task under way in this many lost slaves is unrunnable; 0 for never.",
    ),
    with_default(
        "--mw-max-ready-bytes",
        "BYTES",
        "268435456",
        Role::Master,
        "Above this many bytes of results not taken yet, hand out no more tasks that end in the queue.",
    ),
    with_default(
        "--mw-max-queued-bytes",
        "BYTES",
        "8589934592",
        Role::Master,
        "A task submitted above this many bytes of queued ones is unrunnable.",
    ),
    option(
        "--mw-seed",
        "N",
        Role::Master,
        "The run's seed; drawn when not given, and in the audit trail either way.",
    ),
    with_default(
        "--mw-engine",
        "auto|ring|epoll",
        "auto",
        Role::Master,
        "What moves the bytes: io_uring, epoll, or io_uring where the system allows it.",
    ),
    with_default(
        "--mw-slaves-wanted",
        "N|auto|auto:MAX",
        "0",
        Role::Master,
        "Slaves desired where the master algorithm never allocates: N, or as many as the queue could use, up to MAX (1000).",
    ),
    with_default(
        "--mw-slave-count",
        "N|auto",
        "1",
        Role::Slave,
        "Be the parent of N slaves, each pinned to a core and started again when it dies; auto is one per core of the job.",
    ),
    option(
        "--mw-slave-time-limit",
        "SECONDS",
        Role::Slave,
        "Leave after this time: hand back what is not finished, say goodbye and exit 255.",
    ),
    option(
        "--mw-slave-idle-timeout",
        "SECONDS",
        Role::Slave,
        "Leave after this time without a task: say goodbye and exit 0.",
    ),
    switch(
        "--mw-any-build",
        Role::Master,
        "Accept slaves of another build, if all else agrees.",
    ),
];

/// The flag of this name, if there is one.
#[must_use]
pub fn flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.name == name)
}

/// The flags as a Markdown table for the README.
#[must_use]
pub fn markdown() -> String {
    let mut table = String::from("| flag | default | role | meaning |\n|---|---|---|---|\n");
    for flag in FLAGS {
        // A bar would end the cell, in code too.
        let value = flag
            .value
            .map(|value| format!(" {}", value.replace('|', "\\|")))
            .unwrap_or_default();
        let default = flag
            .default
            .map(|default| format!("`{default}`"))
            .unwrap_or_default();
        let (name, role, help) = (flag.name, flag.role.word(), flag.help);
        writeln!(table, "| `{name}{value}` | {default} | {role} | {help} |")
            .expect("a String takes all");
    }
    table
}

/// The exit codes of master and slave.
pub mod exit {
    /// The computation is finished, or the slave was told to shut down.
    pub const OK: u8 = 0;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// Everything else: refused, the master lost, a file missing, the master algorithm's error.
    pub const ERROR: u8 = 255;
    /// A master that leaves on signal `n` exits with this plus `n`.
    pub const SIGNAL_BASE: u8 = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_distinct_and_well_formed() {
        for (index, flag) in FLAGS.iter().enumerate() {
            assert!(
                FLAGS[..index].iter().all(|other| other.name != flag.name),
                "{}",
                flag.name
            );
            assert!(
                flag.name.starts_with("--mw-") && flag.help.ends_with('.'),
                "{}",
                flag.name
            );
            assert!(
                flag.value.is_some() || flag.default.is_none(),
                "{}: a switch has no default",
                flag.name
            );
            assert_eq!(super::flag(flag.name), Some(flag));
        }
        assert_eq!(super::flag("--mw-no-such-flag"), None);
    }

    #[test]
    fn the_table_has_a_row_of_four_cells_for_each_flag() {
        let table = markdown();
        assert_eq!(table.lines().count(), FLAGS.len() + 2);
        for row in table.lines() {
            assert_eq!(row.replace("\\|", "").matches('|').count(), 5, "{row}");
        }
        assert!(
            table.contains("| `--mw-engine auto\\|ring\\|epoll` | `auto` | master |"),
            "{table}"
        );
    }
}
