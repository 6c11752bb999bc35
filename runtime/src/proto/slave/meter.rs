//! What a slave's trail says of packets: a line each up to twenty a second, and one that sums beyond.

use ringmw_codec::audit::Event;
use ringmw_sched::Nanos;

use crate::proto::SECOND;
use crate::proto::sums::Sums;

/// Packet lines in one second.
const LINES_PER_SECOND: u32 = 20;

/// The packets of this second that got no line of their own.
#[derive(Default)]
pub(super) struct Meter {
    second: u64,
    lines: u32,
    sums: Option<Sums>,
}

impl Meter {
    /// A packet of tasks came: its line, unless it is summed.
    pub(super) fn on_tasks(
        &mut self,
        now: Nanos,
        tasks: u64,
        bytes: u64,
        group: u32,
    ) -> Option<Event> {
        let Some(sums) = self.sums(now) else {
            let group = group.into();
            return Some(Event::TasksReceived {
                tasks,
                bytes,
                group,
            });
        };
        sums.on_tasks(tasks, bytes);
        None
    }

    /// A packet of results goes: its line, unless it is summed.
    pub(super) fn on_results(&mut self, now: Nanos, results: u64, bytes: u64) -> Option<Event> {
        let Some(sums) = self.sums(now) else {
            return Some(Event::ResultsSent { results, bytes });
        };
        sums.on_results(results, bytes);
        None
    }

    fn sums(&mut self, now: Nanos) -> Option<&mut Sums> {
        if self.sums.is_none() {
            if now / SECOND != self.second {
                (self.second, self.lines) = (now / SECOND, 0);
            }
            if self.lines < LINES_PER_SECOND {
                self.lines += 1;
                return None;
            }
            self.sums = Some(Sums::new(now));
        }
        self.sums.as_mut()
    }

    /// When [`sum_up`](Meter::sum_up) has something to say.
    pub(super) fn due(&self) -> Option<Nanos> {
        self.sums.as_ref().map(|_| (self.second + 1) * SECOND)
    }

    /// The line that sums, once its second is over or the slave is.
    pub(super) fn sum_up(&mut self, slave: u32, now: Nanos, is_over: bool) -> Option<Event> {
        if !is_over && self.due().is_none_or(|due| now < due) {
            return None;
        }
        let sums = self.sums.take()?;
        Some(sums.line(slave, now))
    }
}

#[cfg(test)]
mod tests {
    use ringmw_codec::audit::Event;

    use super::{LINES_PER_SECOND, Meter};
    use crate::proto::SECOND;

    #[test]
    fn every_packet_is_told_once_alone_or_in_a_sum() {
        let mut meter = Meter::default();
        let (mut told, mut summed) = (0, 0);
        for millisecond in 0..3_000u64 {
            let now = millisecond * 1_000_000;
            if let Some(Event::Packets { results, .. }) = meter.sum_up(7, now, false) {
                summed += results;
            }
            told += u64::from(meter.on_results(now, 1, 80).is_some());
        }
        assert_eq!(told, 3 * u64::from(LINES_PER_SECOND));
        let Some(Event::Packets {
            slave: 7,
            results,
            packets_in,
            ..
        }) = meter.sum_up(7, 3 * SECOND, true)
        else {
            panic!("the last sums are told at the end");
        };
        assert_eq!((packets_in, told + summed + results), (results, 3_000));
        assert_eq!(meter.sum_up(7, 9 * SECOND, true), None);
    }
}
