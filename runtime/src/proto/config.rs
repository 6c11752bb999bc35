//! What a core is told before it begins.

use std::any::TypeId;
use std::ops::Range;

use ringmw_codec::batch::Elements;
use ringmw_codec::frame::HEADER_BYTES;
use ringmw_codec::handshake::{Fingerprint, Hello};
use ringmw_codec::log::LogLevel;
use ringmw_sched::{AlgorithmId, Nanos};

use crate::proto::blob::Mentions;

/// The longest time that a flag may give, in seconds: a year.
pub(crate) const SECONDS_MAX: u64 = 365 * 86_400;

/// What a master's flags say of packets, slaves and tasks, each number under the name of its flag's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What the scheduler goes by.
    pub sched: ringmw_sched::Config,
    /// Largest payload of a packet of results, in bytes.
    pub result_packet_bytes_max: u32,
    /// Results per packet; [`AUTO`](ringmw_sched::AUTO): a packet's results together, but none waits long.
    pub result_group: u32,
    /// Silence after which a slave is lost, at least a second.
    pub client_timeout: Nanos,
    /// The most bytes of shared data that a slave keeps, beyond what its tasks name.
    pub shared_cache_bytes: u64,
    /// The least time between two checkpoints of a task.
    pub checkpoint_interval: Nanos,
    /// The crash limit was given: it is not lowered for slaves that somebody starts again.
    pub is_crash_limit_given: bool,
    /// How long a task may run that has no time-out of its own.
    pub task_timeout: Option<Nanos>,
    /// Accept slaves of another build.
    pub any_build: bool,
    /// How much the trail says of packets and tasks.
    pub level: Level,
    /// The slaves' logs are wanted from this level on.
    pub log: Option<LogLevel>,
    /// What is desired where the master algorithm never allocates.
    pub wanted: Wanted,
}

/// What a master needs to know before the first slave comes.
#[derive(Clone, Debug)]
pub struct Config {
    /// What its flags say.
    pub rules: Rules,
    /// With this many bytes kept for a slave that does not read it gets no more work, past twice as many it is dropped.
    /// The larger of 1 MiB and four packets of tasks.
    pub unsent_bytes_max: u64,
    /// When the desire falls, idle unordered slaves are told to shut down. Not so in local mode.
    pub dismisses: bool,
    /// The run's id, the same in each of its lives.
    pub run: u128,
    /// How long slaves that lose this master look for the run's next life; zero where there is none.
    pub reconnect: Nanos,
    /// The run's seed.
    pub seed: u64,
    /// The membership token, at most 255 bytes.
    pub member_id: Vec<u8>,
    /// The user's arguments, told to every slave.
    pub args: Vec<String>,
    /// The application's algorithms, types and build.
    pub fingerprint: Fingerprint,
    /// The algorithms.
    pub algorithms: Vec<AlgorithmInfo>,
}

/// The larger of 1 MiB and four packets of `packet_bytes_max`, which is the larger one of both ways since a checkpoint
/// goes back to another slave: a slave that reads, however slowly, is never so far behind.
pub(crate) fn unsent_bytes_max(packet_bytes_max: u32) -> u64 {
    let packet = u64::from(packet_bytes_max) + HEADER_BYTES as u64;
    (4 * packet).max(1 << 20)
}

impl Config {
    /// The most bytes that are kept for all slaves together, a packet for each that has none aside.
    pub(crate) fn unsent_bytes_all_max(&self) -> u64 {
        self.rules.sched.queued_bytes_max / 4
    }

    /// What is known of an algorithm.
    #[inline]
    pub(super) fn info(&self, algorithm: AlgorithmId) -> &AlgorithmInfo {
        &self.algorithms[usize::from(algorithm.0)]
    }
}

/// The slaves that are desired where the master algorithm never allocates (`--mw-slaves-wanted`).
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many.
    Fixed(u32),
    /// As many as the tasks that are queued or under way could use, up to this many.
    Auto(u32),
}

/// How much the trail says: each level includes those before.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Packets a line each up to ten a second and slave, summed beyond.
    #[default]
    Default,
    /// Every packet.
    Packets,
    /// Every task.
    Tasks,
}

/// What a master knows of an algorithm.
#[derive(Copy, Clone, Debug)]
pub struct AlgorithmInfo {
    /// Its name.
    pub name: &'static str,
    /// The algorithm's own type.
    pub of: TypeId,
    /// Do these archives hold valid outputs? What that algorithm's own check has found valid is read unchecked.
    pub check_outputs: CheckOutputs,
    /// The hash of a task's arguments by which a journal knows it again.
    pub hash_args: HashArgs,
    /// What finds the shared data that its arguments mention, where they can.
    pub mentions: Option<Mentions>,
    /// Does this archive hold what its tasks may say? `None`: they say nothing.
    pub check_said: Option<CheckSaid>,
}

/// Hashes a task's arguments: what of them is the moment's, an incumbent's key, does not count.
pub(crate) type HashArgs = fn(&[u8]) -> u128;

/// Checks the archives of an algorithm's outputs: those results of an entry's body. Else which is none, and what is wrong
/// with it.
pub(crate) type CheckOutputs = fn(&[u8], Elements, Range<u32>) -> Result<(), (u32, String)>;

/// Checks the archive of what a task says; else what is wrong with it.
pub(crate) type CheckSaid = fn(&[u8]) -> Result<(), String>;

/// What a slave says of itself.
pub struct SlaveConfig {
    /// Its handshake.
    pub hello: Hello,
}

/// How long a slave stays of its own will.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Since its start: then it finishes what it runs, if that ends soon, hands back the rest, and exits 255.
    pub time_limit: Option<Nanos>,
    /// Without a task: then it exits 0.
    pub idle_timeout: Option<Nanos>,
}
