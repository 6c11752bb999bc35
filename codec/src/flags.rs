//! The tables of flags and of exit codes that parser and help text are built from.
//!
//! Nothing is parsed here. What the type of a row's value is, whoever expands the rows says.

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
}

/// Gives every flag, in the order of the help text, to the macro `$with`: a row each of the name that programs have for
/// it, the flag, the placeholder of its value, the type of its value, its default, its role, its help.
#[macro_export]
macro_rules! flags {
    ($with:ident) => {
        $with! {
            help = "--mw-help", None, Switch, None, Both,
                "Print this help and exit.";
            version = "--mw-version-string", None, Switch, None, Both,
                "Print the versions of ringmw and of the application and exit.";
            master = "--mw-master", None, Switch, None, Both,
                "Run as the master of slaves started elsewhere.";
            slave = "--mw-slave", None, Switch, None, Both,
                "Run as a slave.";
            local_slaves = "--mw-local", Some("N"), Maybe<Number<u32, 1, 4096>>, None, Master,
                "Slaves to start on this machine when neither role is given; by default one per core.";
            host = "--mw-master-host", Some("HOST"), Each<Host>, None, Both,
                "Master: the interface to bind, by default all. Slave: the master's host.";
            port = "--mw-master-port", Some("PORT"), Each<Ports>, None, Both,
                "Master: the port to bind, or the first free one of a range like 20000-20100; by default any. Slave: the master's port.";
            advertise_host = "--mw-advertise-host", Some("HOST"), Maybe<Host>, None, Master,
                "The host that slaves are told to connect to, when it is not the one bound.";
            task_packet_bytes_max = "--mw-max-write-buffer-size", Some("BYTES"), Bytes<u32, 4096, { 1 << 30 }>, Some("131072"), Master,
                "The most bytes of a packet to a slave; a single task above it is unrunnable.";
            result_packet_bytes_max = "--mw-max-read-buffer-size", Some("BYTES"), Bytes<u32, 4096, { 1 << 30 }>, Some("131072"), Master,
                "The most bytes of a packet from a slave; a single result above it is a failed one.";
            client_timeout = "--mw-client-timeout", Some("SECONDS"), Seconds, Some("60"), Master,
                "A slave that is silent for this long is lost; the master's value governs both sides.";
            checkpoint_interval = "--mw-checkpoint-interval", Some("SECONDS"), Seconds, Some("10"), Master,
                "A running task's checkpoint is taken no more often than this.";
            audit_file = "--mw-audit-file", Some("FILE"), Maybe<File>, None, Both,
                "Append the audit trail to this file instead of printing it.";
            audit_rotate = "--mw-audit-rotate", Some("SIZE[,KEEP]"), Maybe<Rotate>, None, Both,
                "Begin the audit file anew at this size; FILE.1 is then the one before, and KEEP of them are kept (8).";
            audit_level = "--mw-audit-level", Some("default|packets|tasks"), Level, Some("default"), Both,
                "How much the audit trail tells: every packet, every task.";
            progress = "--mw-progress", Some("on|off"), Maybe<OnOff>, None, Master,
                "Keep a line on stderr that says how far the run is and what went wrong; by default on a terminal, where the trail does not go to the same. Elsewhere it is a line every 10 s.";
            log = "--mw-forward-log", Some("off|error|warn|info|debug|trace"), LogLevel, Some("off"), Master,
                "Show slaves' tracing events from this level on on stderr, with slave and task: at most 16 KiB a second of each, and what is left out is counted.";
            dir = "--mw-dir", Some("DIR"), Maybe<File>, None, Both,
                "Keep all that outlasts a process in this folder: NAME.rsc, NAME.audit, journal/, state; started again, the run goes on. Slave: read NAME.rsc there. Single flags override.";
            resource_file = "--mw-resource-file", Some("FILE"), Each<File>, None, Both,
                "Master: write the resource file here. Slave: read host, port and member id from it.";
            resource_interval = "--mw-resource-file-update-interval", Some("SECONDS"), Seconds, Some("300"), Master,
                "Rewrite the resource file at least this often.";
            task_group = "--mw-slave-task-group", Some("N|auto"), OrAuto<Number<u32, 1>>, Some("auto"), Master,
                "Tasks in a packet to a slave; auto: as many as a few milliseconds of compute, fewer towards the end.";
            result_group = "--mw-slave-result-group", Some("N|auto"), OrAuto<Number<u32, 1>>, Some("auto"), Master,
                "Results in a packet from a slave; auto: those of a packet of tasks, but none waits for long.";
            prefetch = "--mw-slave-prefetch", Some("on|off"), OnOff, Some("on"), Master,
                "Send a busy slave its next packet, or several small ones, before it is through with the last, while there are plenty of short tasks.";
            duplicate_stragglers = "--mw-duplicate-stragglers", None, Switch, None, Master,
                "With nothing queued, hand tasks that run far longer than the median to idle slaves too; the first result counts.";
            member_id = "--mw-member-id", Some("TEXT"), Each<MemberId>, Some("default-member-id"), Both,
                "The membership token, at most 255 bytes; a slave's must be its master's.";
            slave_executable = "--mw-slave-executable", Some("PATH"), Maybe<File>, None, Master,
                "The executable that the resource file names, by default the master's own.";
            crash_limit = "--mw-crash-limit", Some("N"), Number<u32>, Some("10"), Master,
                "A task under way in this many lost slaves is unrunnable; 0 for never.";
            quarantine = "--mw-quarantine", Some("on|off"), OnOff, Some("on"), Master,
                "A slave or host whose tasks fail while the same algorithm's succeed elsewhere gets none but one after growing pauses.";
            priority_aging = "--mw-priority-aging", Some("TIME"), Time<0>, Some("60"), Master,
                "For each such time that its oldest task has waited a level of priority competes one level higher; 0 for never.";
            task_timeout = "--mw-task-timeout", Some("TIME"), Maybe<Time<1>>, None, Master,
                "A task that runs for longer, and has no time-out of its own, is told to stop, and a second later fails with its process.";
            ready_bytes_max = "--mw-max-ready-bytes", Some("BYTES"), Bytes<u64, 1>, Some("268435456"), Master,
                "Above this many bytes of results not taken yet, hand out no more tasks that end in the queue.";
            queued_bytes_max = "--mw-max-queued-bytes", Some("BYTES"), Bytes<u64, 1>, Some("8589934592"), Master,
                "A task submitted above this many bytes of queued ones is unrunnable; unrunnable tasks that nobody takes keep no arguments past it.";
            seed = "--mw-seed", Some("N"), Maybe<Number<u64>>, None, Master,
                "The run's seed; drawn when not given, and in the audit trail either way.";
            engine = "--mw-engine", Some("auto|ring|epoll"), Engine, Some("auto"), Master,
                "What moves the bytes: io_uring, epoll, or io_uring where the system allows it.";
            slaves_wanted = "--mw-slaves-wanted", Some("N|auto|auto:MAX"), SlavesWanted<1000>, Some("0"), Master,
                "Slaves desired where the master algorithm never allocates: N, or as many as the queue could use, up to MAX (1000).";
            slave_count = "--mw-slave-count", Some("N|auto"), OrAuto<Number<u32, 1, 4096>>, Some("1"), Slave,
                "Be the parent of N slaves, each pinned to a core and started again when it dies; auto is one per core of the job.";
            time_limit = "--mw-slave-time-limit", Some("SECONDS"), Maybe<Seconds>, None, Slave,
                "Leave after this time: hand back what is not finished, say goodbye and exit 255.";
            idle_timeout = "--mw-slave-idle-timeout", Some("SECONDS"), Maybe<Seconds>, None, Slave,
                "Leave after this time without a task: say goodbye and exit 0.";
            slave_reconnect = "--mw-slave-reconnect", Some("SECONDS"), Maybe<Time<0>>, None, Slave,
                "A slave whose master is lost computes what it has in hand and looks for the run's next master for so long; by default 300 where the run can have one, else 0.";
            journal = "--mw-journal", Some("DIR"), Maybe<File>, None, Master,
                "Record accepted results in this folder; started again, the run goes on from there.";
            journal_any_build = "--mw-journal-any-build", None, Switch, None, Master,
                "Take results that another build of the application has recorded.";
            journal_any_args = "--mw-journal-any-args", None, Switch, None, Master,
                "Take results that were recorded with other arguments.";
            journal_failures = "--mw-journal-failures", None, Switch, None, Master,
                "Record failed results too: such tasks are not computed again.";
            state_file = "--mw-state", Some("FILE"), Maybe<File>, None, Master,
                "Where the master algorithm saves its state, and restores it from when it is started again.";
            keep_failed = "--mw-keep-failed", Some("DIR"), Maybe<File>, None, Master,
                "Keep tasks that fail, time out or are given up in this folder, to be run again by themselves: at most 100, 1 GiB, 10 of one message.";
            replay = "--mw-replay", Some("FILE"), Maybe<File>, None, Both,
                "Run the task of this file, which --mw-keep-failed has kept, here and alone, and say what it returns.";
            shared_cache_bytes = "--mw-shared-cache", Some("BYTES"), Bytes<u64, 1>, Some("1073741824"), Master,
                "The most bytes of shared data that a slave keeps; what a task in its hands names stays beyond them.";
            slave_memory = "--mw-slave-memory", Some("BYTES"), Maybe<Bytes<u64, { 1 << 20 }>>, None, Slave,
                "A slave whose memory passes this leaves with 255, and the task that it runs is charged for it.";
            secret_file = "--mw-secret-file", Some("FILE"), Maybe<File>, None, Both,
                "The run's secret: 64 hexadecimal digits or a resource file, - for standard input; a master makes it where there is none. By default it is drawn and stands in the resource file.";
            no_secret = "--mw-no-secret", None, Switch, None, Master,
                "Run without a secret: whoever reaches the port may join, and nothing is encrypted.";
            slaves_at = "--mw-slave-at", Some("HOST:PORT|@FILE"), Every<PeerOrFile>, None, Master,
                "Dial a slave that listens here, again whenever the connection ends; repeatable, or a file of such addresses, a line each.";
            slave_listen = "--mw-slave-listen", Some("[HOST:]PORT"), Maybe<At>, None, Slave,
                "Wait here for a master that dials (--mw-slave-at), serve it, then the next one.";
            status_at = "--mw-status-port", Some("[HOST:]PORT"), Maybe<At>, None, Master,
                "Serve the run's status by HTTP there, on 127.0.0.1 if no host is given: a page, /status.json, /metrics; needs the token of the printed link.";
            labels = "--mw-slave-label", Some("KEY[=VALUE]"), Every<Label>, None, Slave,
                "A label of this slave, for tasks that need it; may be given up to 16 times.";
            any_build = "--mw-any-build", None, Switch, None, Master,
                "Accept slaves of another build, if all else agrees.";
        }
    };
}

macro_rules! table {
    ($($row:ident = $name:literal, $value:expr, $type:ty, $default:expr, $role:ident, $help:literal;)*) => {
        /// Every flag by the name of its row.
        #[derive(Debug)]
        pub struct Rows {
            $(#[doc = $help] pub $row: Flag,)*
        }

        /// Every flag by the name of its row.
        pub const FLAG: Rows = Rows {
            $($row: Flag {
                name: $name,
                value: $value,
                default: $default,
                role: Role::$role,
                help: $help,
            },)*
        };

        /// Every flag, in the order of the help text.
        pub const FLAGS: &[Flag] = &[$(FLAG.$row),*];
    };
}

flags!(table);

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
    /// A slave in a batch job reached no master; counted up by one for each such end in a row where the job knows its last.
    pub const UNREACHED: std::ops::RangeInclusive<u8> = 231..=236;
    /// A slave in a batch job was answered by a master and ended within a minute without having ended a task; counted up
    /// by one for each such end in a row where the job knows its last. At the end of the range the job is held.
    pub const IN_VAIN: std::ops::RangeInclusive<u8> = 241..=250;
    /// A master in a batch job that has aborted as often in a row as one may: the job is held.
    pub const CRASH_LOOP: u8 = 253;
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
        }
    }
}
