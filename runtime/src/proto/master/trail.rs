//! What the master's core tells the audit trail, and how little of it: packets are a line each up to
//! ten a second and slave, beyond that one summing line a second; with so many slaves that this would be too much, they
//! sum for longer.

use std::collections::{BTreeMap, VecDeque};

use ringmw_codec::audit::{EndWord, Event, GroupWord};
use ringmw_sched::{Group, Nanos, SlaveId, TaskId};

use super::conn::{Conn, Phase};
use crate::proto::SECOND;
use crate::proto::config::Level;
use crate::proto::end::End;
use crate::proto::reason::InWords;

/// Lines about single tasks (failed, unrunnable) in one second, all slaves together.
const TASK_LINES_PER_SECOND: u32 = 100;

/// Summing lines in one second, all slaves together; whose turn does not come sums on. Each may bring a line `state`, as a
/// packet's own may ([`meter`](super::meter)): 2,000 lines in all.
const SUMS_PER_SECOND: usize = 500;

/// Lines about improved incumbents in one second, all of them together; beyond, one line each a second.
const BEST_LINES_PER_SECOND: u32 = 10;

/// Between two lines of state.
const STATE_EVERY: Nanos = 10 * SECOND;

/// Bytes of a failed result's message in the trail; the application gets it whole.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The message as the trail has it: cut behind a whole character, and then how long it was.
fn cut(message: &str) -> String {
    match message.len() > MESSAGE_BYTES_MAX {
        false => message.to_owned(),
        true => format!(
            "{}.. (cut, {} bytes)",
            &message[..message.floor_char_boundary(MESSAGE_BYTES_MAX)],
            message.len()
        ),
    }
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

pub(super) struct Trail {
    pub(super) level: Level,
    pub(super) now: Nanos,
    pub(super) lines: Vec<Event>,
    /// Connection slots whose meters sum, in the order in which they began to.
    pub(super) summing: VecDeque<u32>,
    task_lines: u32,
    unsaid: u64,
    /// Lines about incumbents in this second.
    best_lines: u32,
    /// The newest of those that were not said: key and slave, by incumbent.
    bests: BTreeMap<u32, (u64, Option<u32>)>,
    /// Tasks cancelled in this second.
    cancelled: u64,
    /// Tasks in this second whose result was known.
    known: u64,
    pub(super) traffic: Traffic,
    /// Lines about packets in this second, of all slaves.
    pub(super) packet_lines: u32,
    /// When the next state line is due.
    state_due: Nanos,
    /// The last one, without the master's load.
    last_state: Option<Event>,
}

impl Trail {
    pub(super) fn new(level: Level) -> Self {
        Trail {
            level,
            now: 0,
            lines: Vec::new(),
            summing: VecDeque::new(),
            task_lines: 0,
            unsaid: 0,
            best_lines: 0,
            bests: BTreeMap::new(),
            cancelled: 0,
            known: 0,
            traffic: Traffic::default(),
            packet_lines: 0,
            state_due: STATE_EVERY,
            last_state: None,
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

    /// An incumbent improved; one that does so again before anything else has happened is the same line, and past
    /// [`BEST_LINES_PER_SECOND`] the last of a second stands for all.
    ///
    /// A slave may improve it a million times in one turn, thousands of slaves each a few times a second.
    pub(super) fn on_best(&mut self, best: u32, key: u64, slave: SlaveId) {
        let slave = Some(slave.0);
        let before = self.lines.last();
        let is_same = matches!(before, Some(Event::Best { best: b, slave: s, .. }) if (*b, *s) == (best, slave));
        // One that waits is older, and would stand behind it.
        if is_same && !self.bests.contains_key(&best) {
            self.lines.pop();
            return self.push(Event::Best { best, key, slave });
        }
        if self.best_lines == BEST_LINES_PER_SECOND {
            self.bests.insert(best, (key, slave));
            return;
        }
        self.best_lines += 1;
        self.push(Event::Best { best, key, slave });
    }

    /// What is owed of incumbents.
    pub(super) fn say_bests(&mut self) {
        for (best, (key, slave)) in std::mem::take(&mut self.bests) {
            self.push(Event::Best { best, key, slave });
        }
    }

    /// A new second: what was summed in the last one is written.
    pub(super) fn on_time(&mut self, now: Nanos, conns: &mut [Option<Conn>]) {
        let before = std::mem::replace(&mut self.now, now);
        if before / SECOND == now / SECOND {
            return;
        }
        self.task_lines = 0;
        self.packet_lines = 0;
        self.best_lines = 0;
        self.say_bests();
        self.sum_up_cancelled();
        self.sum_up_known();
        if self.unsaid > 0 {
            let text = format!(
                "{} more tasks failed or were unrunnable in a second",
                self.unsaid
            );
            self.unsaid = 0;
            self.push(Event::Note { text });
        }
        let due = self.summing.len().min(SUMS_PER_SECOND);
        for slot in self.summing.drain(..due).collect::<Vec<_>>() {
            if let Some(Some(Conn {
                phase: Phase::Slave { id, .. },
                meter,
                ..
            })) = conns.get_mut(slot as usize)
            {
                self.sum_up(meter, *id);
            }
        }
    }

    pub(super) fn is_state_due(&self) -> bool {
        self.now >= self.state_due
    }

    /// Writes how the run does, unless that is as it was.
    pub(super) fn say_run_state(&mut self, mut state: Event, with_load: Option<u64>) {
        self.state_due = self.now + STATE_EVERY;
        if self.last_state.as_ref() == Some(&state) {
            return;
        }
        self.last_state = Some(state.clone());
        if let Event::RunState { load, .. } = &mut state {
            *load = with_load;
        }
        self.push(state);
    }

    /// One task was cancelled: one line a second counts them, for a race may cancel its losers thousands of times.
    pub(super) fn on_cancelled(&mut self) {
        self.cancelled += 1;
    }

    pub(super) fn sum_up_cancelled(&mut self) {
        let tasks = std::mem::take(&mut self.cancelled);
        if tasks > 0 {
            self.push(Event::Cancelled { tasks });
        }
    }

    /// The result of a task was known: one line a second counts them.
    pub(super) fn on_known(&mut self, task: TaskId) {
        match self.writes_tasks() {
            true => self.push(Event::Known {
                results: 1,
                task: Some(task.seq()),
            }),
            false => self.known += 1,
        }
    }

    pub(super) fn sum_up_known(&mut self) {
        let results = std::mem::take(&mut self.known);
        if results > 0 {
            let task = None;
            self.push(Event::Known { results, task });
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
                message: cut(message),
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

    /// The same for a task that is done, of which its packet tells the end.
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

    /// A task ended in another way; [`on_task_done`](Self::on_task_done) tells of each that is done.
    pub(super) fn on_task_ended(&mut self, end: &End) {
        if self.level < Level::Tasks {
            return;
        }
        let (slave, word, compute, why) = match end {
            End::Done(_) => return,
            End::Failed(failed) => (
                Some(failed.task.slave),
                EndWord::Failed,
                Some(failed.compute),
                Some(cut(&failed.message)),
            ),
            End::Unrunnable(task) => {
                let why = InWords(task.reason, task.last_seen.as_deref()).to_string();
                (None, EndWord::Unrunnable, None, Some(why))
            }
            End::Cancelled(task) => (task.held_by, EndWord::Cancelled, None, None),
        };
        self.push(Event::TaskEnded {
            slave: slave.map(|slave| slave.0),
            task: end.id().seq(),
            end: word,
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

#[cfg(test)]
mod tests {
    use ringmw_codec::audit::Event;
    use ringmw_sched::SlaveId;

    use super::{BEST_LINES_PER_SECOND, MESSAGE_BYTES_MAX, Trail, cut};
    use crate::proto::SECOND;
    use crate::proto::config::Level;

    /// A thousand slaves improve two incumbents in one second: a line each up to a bound, then the newest of each.
    #[test]
    fn improvements_of_a_second_are_folded_and_the_newest_is_said() {
        let mut trail = Trail::new(Level::Packets);
        let newest = |trail: &mut Trail, best: u32| {
            let lines: Vec<Event> = trail.drain().collect();
            let of = |event: &Event| match event {
                Event::Best { best: b, key, .. } if *b == best => Some(*key),
                _ => None,
            };
            let keys: Vec<u64> = lines.iter().filter_map(of).collect();
            assert!(keys.is_sorted_by(|a, b| a > b), "{keys:?}");
            (lines.len(), keys.last().copied())
        };
        for n in 0..1_000u64 {
            // Some by the same slave as the one before.
            let slave = SlaveId((n / 3) as u32);
            trail.on_best((n % 2) as u32, 5_000 - n, slave);
        }
        assert_eq!(
            newest(&mut trail, 0).0,
            BEST_LINES_PER_SECOND as usize,
            "a bound in all"
        );
        trail.on_time(SECOND, &mut []);
        assert_eq!(newest(&mut trail, 1), (2, Some(5_000 - 999)));
        trail.on_time(2 * SECOND, &mut []);
        assert_eq!(newest(&mut trail, 1), (0, None), "nothing is owed");
        trail.on_best(1, 7, SlaveId(1));
        assert_eq!(newest(&mut trail, 1), (1, Some(7)));
    }

    #[test]
    fn a_long_message_is_cut_behind_a_whole_character() {
        let whole = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(cut(&whole), whole);
        // (in front of characters of three bytes, what is left of it all)
        for (front, kept) in [(0, 4_095), (1, 4_096), (2, 4_094), (3, 4_095)] {
            let long = "x".repeat(front) + &"\u{20ac}".repeat(40_000);
            let expected = format!("{}.. (cut, {} bytes)", &long[..kept], long.len());
            assert_eq!(cut(&long), expected, "{front}");
        }
        let longer = cut(&format!("{whole}y"));
        assert!(longer.len() < MESSAGE_BYTES_MAX + 40 && longer.ends_with("(cut, 4097 bytes)"));
    }
}
