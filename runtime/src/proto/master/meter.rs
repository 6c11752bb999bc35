//! The packets of one slave in one second: how many lines they get, and what is summed instead.

use ringmw_codec::audit::{Event, StateWord};
use ringmw_codec::frame::HEADER_BYTES;
use ringmw_sched::{Nanos, SlaveId};

use super::trail::Trail;
use crate::proto::SECOND;
use crate::proto::config::Level;
use crate::proto::sums::Sums;

/// Packet lines of one slave in one second.
const LINES_PER_SECOND: u8 = 10;

/// Packet lines of all slaves in one second.
const LINES_OF_ALL_PER_SECOND: u32 = 500;

/// What one packet of results was.
pub(super) struct Packet {
    pub(super) tasks: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
    pub(super) compute: Nanos,
    /// The slave's hands are empty now.
    pub(super) idle: bool,
}

/// How many lines a slave's packets have had in this second, and what was summed instead.
#[derive(Default)]
pub(super) struct Meter {
    second: u64,
    lines: u8,
    /// Its first packet has a line whatever the others have: so it is known when it began to work.
    had_line: bool,
    sums: Option<Box<Sums>>,
    /// Whether the slave holds tasks, and what was said of that last.
    busy: bool,
    said_busy: bool,
}

impl Trail {
    pub(super) fn on_tasks(
        &mut self,
        meter: &mut Meter,
        slave: SlaveId,
        tasks: u64,
        bytes: u64,
        group: u32,
        slot: u32,
    ) {
        self.traffic.packets_out += 1;
        self.traffic.bytes_out += bytes;
        meter.busy = true;
        match self.meter(meter, slot) {
            Some(sums) => sums.on_tasks(tasks, bytes),
            None => {
                self.push(Event::TasksSent {
                    slave: slave.0,
                    tasks,
                    bytes,
                    group: group.into(),
                });
                self.say_state(meter, slave);
            }
        }
    }

    pub(super) fn on_results(
        &mut self,
        meter: &mut Meter,
        slave: SlaveId,
        packet: Packet,
        slot: u32,
    ) {
        self.traffic.packets_in += 1;
        self.traffic.bytes_in += HEADER_BYTES as u64 + packet.bytes;
        meter.busy = !packet.idle;
        match self.meter(meter, slot) {
            Some(sums) => {
                sums.on_results(packet.tasks, packet.bytes);
                sums.failed += packet.failed;
                sums.compute = sums.compute.saturating_add(packet.compute);
            }
            None => {
                self.push(Event::ResultsReceived {
                    slave: slave.0,
                    results: packet.tasks,
                    failed: packet.failed,
                    bytes: packet.bytes,
                    compute_us: packet.compute / 1_000,
                });
                self.say_state(meter, slave);
            }
        }
    }

    /// The slave's hands are empty, though no result has come.
    pub(super) fn on_hands_empty(&mut self, meter: &mut Meter, slave: SlaveId) {
        meter.busy = false;
        if meter.sums.is_none() {
            self.say_state(meter, slave);
        }
    }

    /// The slave goes: what was summed is written; what becomes of its tasks, its loss says.
    pub(super) fn close(&mut self, mut meter: Meter, slave: SlaveId) {
        meter.busy = meter.said_busy;
        self.sum_up(&mut meter, slave);
    }

    /// Writes what a meter has summed, and what has become of the slave meanwhile.
    pub(super) fn sum_up(&mut self, meter: &mut Meter, slave: SlaveId) {
        if let Some(sums) = meter.sums.take() {
            self.push(sums.line(slave.0, self.now));
        }
        self.say_state(meter, slave);
    }

    /// Says whether the slave is busy if that is not what was said last.
    fn say_state(&mut self, meter: &mut Meter, slave: SlaveId) {
        if meter.busy != meter.said_busy {
            meter.said_busy = meter.busy;
            let state = if meter.busy {
                StateWord::Busy
            } else {
                StateWord::Idle
            };
            self.push(Event::State {
                slave: slave.0,
                state,
            });
        }
    }

    /// Whether this packet gets a line of its own; else the sums to add it to.
    fn meter<'m>(&mut self, meter: &'m mut Meter, slot: u32) -> Option<&'m mut Sums> {
        let second = self.now / SECOND;
        if meter.second != second && meter.sums.is_none() {
            (meter.second, meter.lines) = (second, 0);
        }
        if meter.sums.is_none() {
            let has_room =
                meter.lines < LINES_PER_SECOND && self.packet_lines < LINES_OF_ALL_PER_SECOND;
            if self.level >= Level::Packets || has_room || !meter.had_line {
                meter.lines = meter.lines.saturating_add(1);
                meter.had_line = true;
                self.packet_lines += 1;
                return None;
            }
            meter.sums = Some(Box::new(Sums::new(self.now)));
            self.summing.push_back(slot);
        }
        meter.sums.as_deref_mut()
    }
}
