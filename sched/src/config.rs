//! The scheduler's limits, and how much a packet holds where no number is given.

use crate::ids::Nanos;

/// As `Config::task_group`: packets are sized by compute time.
pub const AUTO: u32 = 0;

/// A packet holds about this much compute: enough to hide its way there and back, little to wait for at the end.
pub(crate) const PACKET_COMPUTE: Nanos = 3_000_000;
/// What a packet costs the master, its results included, as long as it has not been measured; and the least that is believed.
pub(crate) const PACKET_COST: Nanos = 4_000;
/// The most that a packet is believed to cost the master: one of large arguments takes long for its bytes, and fewer of them
/// would be no fewer bytes.
pub(crate) const PACKET_COST_MAX: Nanos = 1_000_000;
/// With fewer slaves packets do not grow for the master's sake, whatever one costs it within reason: it need not be measured.
pub const PACKETS_WEIGHED_FROM: usize = 16;
/// The most compute of a packet, however many slaves there are: what an answer waits for at the end.
pub(crate) const PACKET_COMPUTE_MAX: Nanos = 1_000_000_000;
/// A packet whose size is not given ends once its tasks have so many bytes: a larger one costs no less a byte, and what is in
/// hand is to stay in the processor's caches.
pub(crate) const PACKET_BYTES: u32 = 1 << 20;
/// Most tasks of a series where no number is given: its arguments are kept until the last of them has ended.
pub(crate) const SERIES_TASKS_MAX: u32 = 1_000;
/// Of small packets a slave may have several ahead: at least up to this many tasks in hand,
const SHORT_TASKS: u32 = 64;
/// or so many packets of them,
const SHORT_PACKETS: u32 = 16;
/// which are no more tasks than this,
const SHORT_TASKS_MAX: u32 = 1_600;

/// The limits of a run.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Config {
    /// Tasks per packet to a slave; [`AUTO`](crate::AUTO): by compute time.
    pub task_group: u32,
    /// A task becomes unrunnable when this many slaves were lost while they ran it; 0: never.
    pub crash_limit: u32,
    /// A packet of tasks may have this many bytes.
    pub task_packet_bytes_max: u32,
    /// A packet without tasks has this many bytes.
    pub task_packet_overhead_bytes: u32,
    /// Queued tasks may take this many bytes, [`RECORD_BYTES`](crate::Scheduler::RECORD_BYTES) for each that is none of a
    /// series, and for each series, included.
    pub queued_bytes_max: u64,
    /// A busy slave may have its next packet in hand, or several small ones, see [`hand_out`](crate::Scheduler::hand_out).
    pub prefetch: bool,
    /// Tasks that a slave has not begun are taken back for an idle one, see [`recall`](crate::Scheduler::recall).
    pub take_back: bool,
    /// Tasks that run far longer than the median are handed to an idle slave too, see
    /// [`hand_out`](crate::Scheduler::hand_out).
    pub duplicate_stragglers: bool,
    /// For each such time that its oldest task has waited a level of priority competes one level higher; 0: never.
    pub priority_aging: Nanos,
    /// Who fails what succeeds elsewhere gets no more of it, see [`learn_outcomes`](crate::Scheduler::learn_outcomes).
    pub quarantine: bool,
}

impl Config {
    /// For tests and examples: packets of one task and at most 128 KiB, one in hand, 4 GiB of queued tasks, 10 crashes.
    #[must_use]
    pub const fn for_test() -> Self {
        Config {
            task_group: 1,
            crash_limit: 10,
            task_packet_bytes_max: 131_072,
            task_packet_overhead_bytes: 0,
            queued_bytes_max: 4 << 30,
            prefetch: false,
            take_back: false,
            duplicate_stragglers: false,
            priority_aging: 60_000_000_000,
            quarantine: true,
        }
    }

    /// The bytes at which a packet ends: a single task may have more, up to `task_packet_bytes_max`.
    #[must_use]
    pub fn packet_bytes_enough(&self) -> u32 {
        match self.task_group {
            AUTO => self.task_packet_bytes_max.min(PACKET_BYTES),
            _ => self.task_packet_bytes_max,
        }
    }

    /// What a packet of so many tasks has, of so many bytes each.
    #[inline]
    pub(crate) fn packet_bytes(&self, tasks: u32, bytes: u32) -> u64 {
        u64::from(self.task_packet_overhead_bytes) + u64::from(tasks) * u64::from(bytes)
    }

    #[inline]
    pub(crate) fn fits_packet(&self, tasks: u32, bytes: u32) -> bool {
        self.packet_bytes(tasks, bytes) <= u64::from(self.task_packet_bytes_max)
    }
}

/// The compute of a packet where there are so many slaves and a packet costs the master so much: enough that their packets
/// together take the master less than a third of its time.
pub(crate) fn packet_compute(slaves: usize, cost: Nanos) -> Nanos {
    let costs = match slaves < PACKETS_WEIGHED_FROM {
        true => 0,
        false => cost.saturating_mul(slaves as u64),
    };
    (costs.saturating_mul(10) / 3).clamp(PACKET_COMPUTE, PACKET_COMPUTE_MAX)
}

/// How many short tasks a slave may have in hand where a packet has `group`, several packets ahead.
pub fn short_tasks_max(group: u32) -> u32 {
    let packets = group.saturating_mul(SHORT_PACKETS);
    packets.clamp(SHORT_TASKS, SHORT_TASKS_MAX)
}

/// With how many tasks in hand a slave may get one more packet ahead.
pub(crate) fn short_tasks(config: &Config) -> u32 {
    match config.task_group {
        AUTO => 0,
        _ if !config.prefetch => 0,
        group => short_tasks_max(group).saturating_sub(group),
    }
}
