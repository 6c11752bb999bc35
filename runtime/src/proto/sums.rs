//! Packets that are summed in the audit trail instead of getting a line each, on either side.

use ringmw_codec::audit::Event;
use ringmw_sched::Nanos;

#[derive(Default)]
pub(super) struct Sums {
    pub(super) since: Nanos,
    pub(super) packets_out: u64,
    pub(super) tasks: u64,
    pub(super) bytes_out: u64,
    pub(super) packets_in: u64,
    pub(super) results: u64,
    pub(super) failed: u64,
    pub(super) bytes_in: u64,
    pub(super) compute: Nanos,
}

impl Sums {
    pub(super) fn new(since: Nanos) -> Self {
        Sums {
            since,
            ..Sums::default()
        }
    }

    /// A packet of tasks.
    pub(super) fn on_tasks(&mut self, tasks: u64, bytes: u64) {
        self.packets_out += 1;
        self.tasks += tasks;
        self.bytes_out += bytes;
    }

    /// A packet of results.
    pub(super) fn on_results(&mut self, results: u64, bytes: u64) {
        self.packets_in += 1;
        self.results += results;
        self.bytes_in += bytes;
    }

    /// The line that tells them, at `now`.
    pub(super) fn line(&self, slave: u32, now: Nanos) -> Event {
        Event::Packets {
            slave,
            span_ms: now.saturating_sub(self.since) / 1_000_000,
            packets_out: self.packets_out,
            tasks: self.tasks,
            bytes_out: self.bytes_out,
            packets_in: self.packets_in,
            results: self.results,
            failed: self.failed,
            bytes_in: self.bytes_in,
            compute_us: self.compute / 1_000,
        }
    }
}
