//! The rows of the table of flags, with what may be given of each; what was given, and the settings that it makes.

use std::time::Duration;

use clap::ArgMatches;
use clap::builder::ValueParser;
use ringmw_codec::Nanos;
use ringmw_codec::batch::BATCH_OVERHEAD_BYTES;
use ringmw_codec::flags::{FLAG, Flag};
use ringmw_sched::AUTO;

use super::values::{
    At, Bytes, Each, Engine, Every, File, Host, Label, Level, LogLevel, Maybe, MemberId, Number,
    OnOff, OrAuto, PeerOrFile, Ports, Rotate, Seconds, SlavesWanted, Switch, Take, Time,
};
use super::{Outlasting, Role, Settings, SlaveCount, Source};
use crate::proto::config::{Bounds, Rules};

/// A flag, and what may be given of it.
pub(super) struct Row {
    pub(super) flag: Flag,
    /// Its value may be any bytes.
    pub(super) is_path: bool,
    /// Its value may be empty.
    pub(super) may_be_empty: bool,
    /// A slave may be given it again: the later one wins.
    pub(super) is_source: bool,
    /// It may be given several times.
    pub(super) may_repeat: bool,
    /// What reads its value for clap; none for a switch.
    pub(super) parser: fn() -> Option<ValueParser>,
}

macro_rules! given {
    ($($row:ident = $name:literal, $value:expr, $type:ty, $default:expr, $role:ident, $help:literal;)*) => {
        /// What was given of each flag, or its default.
        pub(super) struct Given {
            $(pub(super) $row: <$type as Take>::Out,)*
        }

        impl Given {
            /// Takes each from what clap has read.
            pub(super) fn take(matches: &mut ArgMatches) -> Self {
                Given {
                    $($row: <$type>::take(matches, $name),)*
                }
            }
        }

        /// Every flag.
        pub(super) static ROWS: &[Row] = &[$(Row {
            flag: FLAG.$row,
            is_path: <$type>::IS_PATH,
            may_be_empty: <$type>::MAY_BE_EMPTY,
            is_source: <$type>::IS_SOURCE,
            may_repeat: <$type>::MAY_REPEAT,
            parser: <$type>::parser,
        }),*];

        $(const _: () = {
            let Flag { value, default, .. } = FLAG.$row;
            assert!(value.is_some() == <$type>::HAS_VALUE, "a switch has no value, all else has");
            assert!(default.is_some() || !<$type>::NEEDS_DEFAULT, "without a default it is a Maybe");
        };)*
    };
}

ringmw_codec::flags!(given);

impl From<Given> for Settings {
    /// Every row by its name, so that none is left without effect.
    fn from(given: Given) -> Self {
        let Given {
            help,
            version,
            master,
            slave,
            local_slaves,
            host,
            port,
            advertise_host,
            task_packet_bytes_max,
            result_packet_bytes_max,
            client_timeout,
            checkpoint_interval,
            audit_file,
            audit_rotate,
            audit_level,
            progress,
            log,
            dir,
            resource_file,
            resource_interval,
            task_group,
            result_group,
            prefetch,
            duplicate_stragglers,
            member_id,
            slave_executable,
            crash_limit,
            quarantine,
            priority_aging,
            task_timeout,
            ready_bytes_max,
            queued_bytes_max,
            seed,
            engine,
            slaves_wanted,
            slave_count,
            time_limit,
            idle_timeout,
            slave_reconnect,
            journal,
            journal_any_build,
            journal_any_args,
            journal_failures,
            state_file,
            keep_failed,
            replay,
            shared_cache_bytes,
            slave_memory,
            secret_file,
            no_secret,
            slaves_at,
            slave_listen,
            status_at,
            labels,
            any_build,
        } = given;
        Settings {
            role: match (help, version, master, slave) {
                // Whether of all, the parser knows.
                (true, ..) => Role::Help { all: false },
                (_, true, ..) => Role::Version,
                _ if replay.is_some() => Role::Replay,
                (_, _, true, _) => Role::Master,
                (_, _, _, true) => Role::Slave,
                _ => Role::Local {
                    slaves: local_slaves,
                },
            },
            host: last(&host),
            port: last(&port),
            advertise_host,
            rules: Rules {
                sched: ringmw_sched::Config {
                    task_group: task_group.unwrap_or(AUTO),
                    crash_limit,
                    task_packet_bytes_max,
                    task_packet_overhead_bytes: BATCH_OVERHEAD_BYTES as u32,
                    queued_bytes_max,
                    prefetch,
                    take_back: true,
                    duplicate_stragglers,
                    priority_aging: nanos(priority_aging),
                    quarantine,
                },
                result_packet_bytes_max,
                result_group: result_group.unwrap_or(AUTO),
                client_timeout: nanos(client_timeout),
                shared_cache_bytes,
                checkpoint_interval: nanos(checkpoint_interval),
                // Whether it was, the parser knows.
                is_crash_limit_given: false,
                task_timeout: task_timeout.map(nanos),
                any_build,
                level: audit_level,
                log,
                wanted: slaves_wanted,
            },
            audit_file,
            audit_rotate,
            progress,
            dir,
            resource_file: last(&resource_file),
            resource_interval,
            member_id: last(&member_id),
            slave_executable,
            secret_file,
            no_secret,
            slaves_at,
            slave_listen,
            ready_bytes_max,
            outlasting: Outlasting {
                journal,
                any_build: journal_any_build,
                any_args: journal_any_args,
                failures: journal_failures,
                state: state_file,
            },
            seed,
            engine,
            status_at,
            slave_count: match slave_count {
                None => Some(SlaveCount::Auto),
                // A count of one is no parent.
                Some(1) => None,
                Some(count) => Some(SlaveCount::Slaves(count)),
            },
            slave_bounds: Bounds {
                time_limit: time_limit.map(nanos),
                idle_timeout: idle_timeout.map(nanos),
            },
            sources: in_order([
                told(host, Source::Host),
                told(port, |(first, _)| Source::Port(first)),
                told(member_id, Source::Member),
                told(resource_file, Source::ResourceFile),
            ]),
            slave_memory,
            slave_reconnect: slave_reconnect.map(nanos),
            keep_failed,
            replay,
            labels,
            without_effect: Vec::new(),
            passed_on: Vec::new(),
            user: Vec::new(),
        }
    }
}

fn last<T: Clone>(given: &[(usize, T)]) -> Option<T> {
    given.last().map(|(_, value)| value.clone())
}

fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).unwrap_or(Nanos::MAX / 4)
}

fn told<T>(given: Vec<(usize, T)>, source: fn(T) -> Source) -> Vec<(usize, Source)> {
    let values = given.into_iter();
    values
        .map(|(place, value)| (place, source(value)))
        .collect()
}

/// As they stand on the command line.
fn in_order(sources: [Vec<(usize, Source)>; 4]) -> Vec<Source> {
    let mut sources = sources.concat();
    sources.sort_by_key(|(place, _)| *place);
    sources.into_iter().map(|(_, source)| source).collect()
}
