//! What the master's core tells the audit trail, and how little of it: packets are a line each up to
//! ten a second and slave, beyond that one summing line a second.

use ringmw_codec::audit::{EndWord, Event, GroupWord, StateWord};
use ringmw_codec::frame::HEADER_BYTES;
use ringmw_sched::{Group, Nanos, SlaveId, TaskId};

use super::super::SECOND;
use super::super::sums::Sums;
use super::{Conn, Fate, Phase};
use crate::master::Unrunnable;

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

/// Packet lines of one slave in one second.
const LINES_PER_SECOND: u8 = 10;
/// Lines about single tasks (failed, unrunnable) in one second, all slaves together.
const TASK_LINES_PER_SECOND: u32 = 100;

/// What one packet of results was.
pub(super) struct Packet {
    pub(super) tasks: u64,
    pub(super) failed: u64,
    pub(super) bytes: u64,
    pub(super) compute: Nanos,
    /// The slave's hands are empty now.
    pub(super) idle: bool,
}

/// All packets of tasks and of results, their frames' bytes included.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets of tasks.
    pub packets_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Packets of results.
    pub packets_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
}

/// How many lines a slave's packets have had in this second, and what was summed instead.
#[derive(Default)]
pub(super) struct Meter {
    second: u64,
    lines: u8,
    sums: Option<Box<Sums>>,
    /// Whether the slave holds tasks, and what was said of that last.
    busy: bool,
    said_busy: bool,
}

pub(super) struct Trail {
    level: Level,
    now: Nanos,
    lines: Vec<Event>,
    /// Connection slots whose meters sum.
    summing: Vec<u32>,
    task_lines: u32,
    unsaid: u64,
    /// Tasks cancelled in this second.
    cancelled: u64,
    pub(super) traffic: Traffic,
}

impl Trail {
    pub(super) fn new(level: Level) -> Self {
        Trail {
            level,
            now: 0,
            lines: Vec::new(),
            summing: Vec::new(),
            task_lines: 0,
            unsaid: 0,
            cancelled: 0,
            traffic: Traffic::default(),
        }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.lines.push(event);
    }

    pub(super) fn lines(&self) -> &[Event] {
        &self.lines
    }

    pub(super) fn drain(&mut self) -> std::vec::Drain<'_, Event> {
        self.lines.drain(..)
    }

    /// An incumbent improved; one that does so again before anything else has happened is the same line.
    ///
    /// A slave may improve it a million times in one turn: the trail would hold a line for each.
    pub(super) fn on_best(&mut self, best: u32, key: u64, slave: SlaveId) {
        let slave = Some(slave.0);
        let before = self.lines.last();
        if matches!(before, Some(Event::Best { best: b, slave: s, .. }) if (*b, *s) == (best, slave))
        {
            self.lines.pop();
        }
        self.push(Event::Best { best, key, slave });
    }

    /// A new second: what was summed in the last one is written.
    pub(super) fn on_time(&mut self, now: Nanos, conns: &mut [Option<Conn>]) {
        let before = std::mem::replace(&mut self.now, now);
        if before / SECOND == now / SECOND {
            return;
        }
        self.task_lines = 0;
        self.settle_cancelled();
        if self.unsaid > 0 {
            let text = format!(
                "{} more tasks failed or were unrunnable in a second",
                self.unsaid
            );
            self.unsaid = 0;
            self.push(Event::Note { text });
        }
        for slot in std::mem::take(&mut self.summing) {
            if let Some(Some(Conn {
                phase: Phase::Slave { id, .. },
                meter,
                ..
            })) = conns.get_mut(slot as usize)
            {
                self.settle(meter, *id);
            }
        }
    }

    /// One task was cancelled: one line a second counts them, for a race may cancel its losers thousands of times.
    pub(super) fn on_cancelled(&mut self) {
        self.cancelled += 1;
    }

    pub(super) fn settle_cancelled(&mut self) {
        let tasks = std::mem::take(&mut self.cancelled);
        if tasks > 0 {
            self.push(Event::Cancelled { tasks });
        }
    }

    /// Writes what a meter has summed, and what has become of the slave meanwhile.
    pub(super) fn settle(&mut self, meter: &mut Meter, slave: SlaveId) {
        if let Some(sums) = meter.sums.take() {
            self.push(sums.line(slave.0, self.now));
        }
        self.say_state(meter, slave);
    }

    /// The slave goes: what was summed is written; what becomes of its tasks, its loss says.
    pub(super) fn close(&mut self, mut meter: Meter, slave: SlaveId) {
        meter.busy = meter.said_busy;
        self.settle(&mut meter, slave);
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

    /// The slave's hands are empty, though no result has come.
    pub(super) fn on_hands_empty(&mut self, meter: &mut Meter, slave: SlaveId) {
        meter.busy = false;
        if meter.sums.is_none() {
            self.say_state(meter, slave);
        }
    }

    /// Whether this packet gets a line of its own; else the sums to add it to.
    fn meter<'m>(&mut self, meter: &'m mut Meter, slot: u32) -> Option<&'m mut Sums> {
        let second = self.now / SECOND;
        if meter.second != second && meter.sums.is_none() {
            (meter.second, meter.lines) = (second, 0);
        }
        if meter.sums.is_none() {
            if self.level >= Level::Packets || meter.lines < LINES_PER_SECOND {
                meter.lines = meter.lines.saturating_add(1);
                return None;
            }
            meter.sums = Some(Box::new(Sums::new(self.now)));
            self.summing.push(slot);
        }
        meter.sums.as_deref_mut()
    }

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

    /// A line about one task; false, and counted, beyond the limit.
    fn task_line(&mut self) -> bool {
        self.task_lines += 1;
        let may = self.task_lines <= TASK_LINES_PER_SECOND || self.level == Level::Tasks;
        self.unsaid += u64::from(!may);
        may
    }

    pub(super) fn on_failed(
        &mut self,
        slave: SlaveId,
        task: TaskId,
        algorithm: &str,
        message: &str,
    ) {
        if self.task_line() {
            self.push(Event::Failed {
                task: task.seq(),
                algorithm: algorithm.to_owned(),
                slave: slave.0,
                message: message.to_owned(),
            });
        }
    }

    pub(super) fn on_unrunnable(&mut self, task: TaskId, reason: impl std::fmt::Display) {
        if self.task_line() {
            self.push(Event::Unrunnable {
                task: task.seq(),
                reason: reason.to_string(),
            });
        }
    }

    pub(super) fn writes_tasks(&self) -> bool {
        self.level == Level::Tasks
    }

    pub(super) fn on_task_sent(&mut self, slave: SlaveId, task: u64, algorithm: &str) {
        self.push(Event::TaskSent {
            slave: slave.0,
            task,
            algorithm: algorithm.to_owned(),
        });
    }

    /// The same for a task that is done, before there is a fate of it.
    #[inline]
    pub(super) fn on_task_done(&mut self, task: TaskId, slave: SlaveId, compute: Nanos) {
        if self.level >= Level::Tasks {
            self.push(Event::TaskEnded {
                slave: Some(slave.0),
                task: task.seq(),
                end: EndWord::Done,
                compute_us: Some(compute / 1_000),
                why: None,
            });
        }
    }

    pub(super) fn on_task_ended(&mut self, task: TaskId, fate: &Fate, held_by: Option<SlaveId>) {
        if self.level < Level::Tasks {
            return;
        }
        let (slave, end, compute, why) = match fate {
            Fate::Done { slave, compute, .. } => {
                (Some(*slave), EndWord::Done, Some(*compute), None)
            }
            Fate::Failed {
                slave,
                compute,
                message,
                ..
            } => (
                Some(*slave),
                EndWord::Failed,
                Some(*compute),
                Some(message.clone()),
            ),
            Fate::Unrunnable { reason, .. } => {
                let why = Unrunnable(*reason).to_string();
                (None, EndWord::Unrunnable, None, Some(why))
            }
            Fate::Cancelled => (held_by, EndWord::Cancelled, None, None),
        };
        self.push(Event::TaskEnded {
            slave: slave.map(|slave| slave.0),
            task: task.seq(),
            end,
            compute_us: compute.map(|ns| ns / 1_000),
            why,
        });
    }
}

pub(super) fn group(group: Group) -> GroupWord {
    match group {
        Group::Ordered => GroupWord::Ordered,
        Group::Intermingle => GroupWord::Intermingle,
        Group::Unordered => GroupWord::Unordered,
    }
}
