//! How the run does, published for those who look: once a second, ten times while somebody does, and never so often that
//! it costs more than a two-hundredth of the master's time.

use std::collections::VecDeque;
use std::sync::Arc;

use ringmw_codec::audit::Event;
use ringmw_codec::status::{MESSAGES_MAX, Message, Run, Status};
use ringmw_sched::Nanos;

use super::state::State;
use crate::io::clock;
use crate::io::progress::Figures;
use crate::io::status::Board;
use crate::proto::SECOND;
use crate::proto::task_name::TaskName;

/// Between two while nobody looks.
const UNSEEN: Nanos = SECOND;
/// While somebody does.
const SEEN: Nanos = SECOND / 10;
/// One that took so long is followed by a pause of so many times that.
const PAUSES: Nanos = 200;
/// The longest pause.
const PAUSE_MAX: Nanos = 5 * SECOND;

/// Rates are those of so long.
const RATES_OVER: Nanos = 5 * SECOND;

/// Messages of one second; of more it is said how many.
const MESSAGES_PER_SECOND: u32 = 10;
/// A message is cut at this many bytes.
const MESSAGE_BYTES_MAX: usize = 300;

/// With more calls and maps than these, what they have ready is not counted.
const FLOWS_COUNTED_MAX: usize = 4_096;

/// The master's side of the [`Board`].
pub(crate) struct Publisher {
    board: Arc<Board>,
    /// What does not change.
    run: Run,
    next: Nanos,
    /// Ends by algorithm, all, and the thread's time so far, as they were within [`RATES_OVER`].
    past: VecDeque<Point>,
    messages: VecDeque<Message>,
    /// The second of the last message, and how many there were in it.
    second: (i64, u32),
    /// What there is beside, as whoever knows it says.
    more: Vec<(String, String)>,
    /// Which life of its run it is, 0 or 1 for the first.
    life: u32,
}

struct Point {
    at: Nanos,
    busy: Nanos,
    ended: u64,
    done: Vec<u64>,
}

impl Publisher {
    pub(crate) fn new(board: Arc<Board>, run: Run) -> Self {
        Publisher {
            board,
            run,
            next: 0,
            past: VecDeque::new(),
            messages: VecDeque::new(),
            second: (0, 0),
            more: Vec::new(),
            life: 0,
        }
    }

    /// Says which life of its run is published.
    pub(crate) fn of_life(self, life: u32) -> Self {
        Publisher { life, ..self }
    }

    /// The master algorithm has its part of a turn.
    pub(crate) fn lend(&self, now: Nanos) {
        self.board.lend(now);
    }

    /// It has had it.
    pub(crate) fn give_back(&self) {
        self.board.give_back();
    }

    /// When a turn is wanted for the next one; none while nobody looks: turns come often enough.
    pub(crate) fn deadline(&self) -> Option<Nanos> {
        self.board.is_looked_at().then_some(self.next)
    }

    pub(crate) fn is_due(&self, now: Nanos) -> bool {
        now >= self.next
    }

    /// Publishes how the run does; `now` is asked again afterwards.
    pub(crate) fn publish(&mut self, state: &State, now: impl Fn() -> Nanos) {
        let at = now();
        let status = self.status(state, at);
        self.board.publish(status);
        let pause = match self.board.is_looked_at() {
            true => SEEN,
            false => UNSEEN,
        };
        let took = now().saturating_sub(at);
        self.next = at + pause.max((took * PAUSES).min(PAUSE_MAX));
    }

    fn status(&mut self, state: &State, at: Nanos) -> Status {
        let mut status = state.core.snapshot();
        let start_us = clock::unix_micros() - i64::try_from(at / 1_000).unwrap_or(i64::MAX);
        status.at_us = clock::unix_micros();
        let counted = std::mem::take(&mut status.run);
        status.run = Run {
            uptime_ms: at / 1_000_000,
            is_leaving: counted.is_leaving,
            stalls: counted.stalls,
            packets_out: counted.packets_out,
            bytes_out: counted.bytes_out,
            packets_in: counted.packets_in,
            bytes_in: counted.bytes_in,
            unsent_bytes: counted.unsent_bytes,
            ..self.run.clone()
        };
        for loss in &mut status.losses {
            loss.last_us += start_us;
        }
        if let Some(since) = &mut status.slaves.needed_since_us {
            *since += start_us;
        }
        status.tasks.ready = ready(state);
        self.rates(&mut status, at);
        status.messages = self.messages.iter().cloned().collect();
        status.more.clone_from(&self.more);
        status
    }

    fn rates(&mut self, status: &mut Status, at: Nanos) {
        let tasks = &status.tasks;
        let point = Point {
            at,
            busy: clock::thread_time(),
            ended: tasks.done + tasks.failed + tasks.unrunnable,
            done: status
                .algorithms
                .iter()
                .map(|algorithm| algorithm.done + algorithm.failed)
                .collect(),
        };
        while self.past.len() > 1 && self.past[1].at + RATES_OVER <= at {
            self.past.pop_front();
        }
        if let Some(past) = self.past.front().filter(|past| past.at < at) {
            let seconds = (at - past.at) as f64 / SECOND as f64;
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            status.tasks.rate = rate(point.ended, past.ended);
            status.run.load = (rate(point.busy, past.busy) / SECOND as f64).min(1.0);
            let done = point.done.iter().zip(&past.done);
            for (algorithm, (&now, &then)) in status.algorithms.iter_mut().zip(done) {
                algorithm.rate = rate(now, then);
            }
        }
        let apart = RATES_OVER / 64;
        if self.past.back().is_none_or(|last| last.at + apart <= at) {
            self.past.push_back(point);
        }
    }

    /// Whether this line of the trail is a message, and then keeps it.
    pub(crate) fn on_event(&mut self, event: &Event) {
        let Some(text) = message(event, self.life) else {
            return;
        };
        let at_us = clock::unix_micros();
        let (second, count) = self.second;
        let count = if second == at_us / 1_000_000 {
            count + 1
        } else {
            1
        };
        self.second = (at_us / 1_000_000, count);
        if count > MESSAGES_PER_SECOND {
            let more = count - MESSAGES_PER_SECOND;
            let text = format!(".. and {more} more in this second: the trail has them");
            if more > 1 {
                self.messages.pop_back();
            }
            self.keep(Message { at_us, text });
            return;
        }
        let text = match text.len() > MESSAGE_BYTES_MAX {
            true => format!(
                "{} ..",
                &text[..text.floor_char_boundary(MESSAGE_BYTES_MAX)]
            ),
            false => text,
        };
        self.keep(Message { at_us, text });
    }

    fn keep(&mut self, message: Message) {
        if self.messages.len() >= MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(message);
    }
}

/// Ends that nobody has taken.
fn ready(state: &State) -> u64 {
    let flows = match state.flows.len() {
        0..=FLOWS_COUNTED_MAX => state.flows.iter().map(|(_, flow)| flow.ready.len()).sum(),
        _ => 0,
    };
    (state.queue.untold() + flows) as u64
}

/// How many tasks maps have still to submit; none where there is no such map, or one that does not say.
fn to_come(state: &State) -> Option<u64> {
    if state.flows.len() > FLOWS_COUNTED_MAX {
        return None;
    }
    let flows = state.flows.iter().map(|(_, flow)| flow);
    let mut to_come = None;
    // A map that has submitted its last task had a total as well.
    for flow in flows.filter(|flow| flow.is_source || flow.total.is_some()) {
        let rest = flow.total?.saturating_sub(flow.came.0 + flow.live as u64);
        to_come = Some(to_come.unwrap_or(0) + rest);
    }
    to_come
}

/// What the progress line says of the run.
pub(super) fn figures(state: &State, at: Nanos) -> Figures {
    Figures {
        at,
        tasks: state.core.tasks_status(),
        slaves: state.core.slaves_status(),
        to_come: to_come(state),
    }
}

/// What an operator would want to read of a line; packets and the comings and goings of slaves are in the figures.
fn message(event: &Event, life: u32) -> Option<String> {
    let name = |task: u64| TaskName { task, life };
    let text = match event {
        Event::Lost {
            slave,
            cause,
            detail,
            recycled,
            ..
        } => {
            let detail = if detail.is_empty() {
                String::new()
            } else {
                format!(": {detail}")
            };
            let again = if *recycled > 0 {
                format!(", {recycled} tasks go to others")
            } else {
                String::new()
            };
            format!("SLAVE-{slave} lost, {cause}{detail}{again}")
        }
        Event::Refused { from, host, reason } => format!("refused {host} ({from}): {reason}"),
        Event::Rejected { from, reason } => format!("handshake of {from} broke off: {reason}"),
        Event::Offence {
            slave,
            from,
            reason,
            ..
        } => match slave {
            Some(slave) => format!("SLAVE-{slave} broke the rules: {reason}"),
            None => format!("{from} broke the rules: {reason}"),
        },
        Event::Failed {
            task,
            algorithm,
            slave,
            message,
            ..
        } => format!(
            "{} of {algorithm} failed on SLAVE-{slave}: {message}",
            name(*task)
        ),
        Event::Unrunnable { task, reason, .. } => {
            format!("{} is unrunnable: {reason}", name(*task))
        }
        Event::Charged {
            task,
            slave,
            crashes,
            limit,
            ..
        } => format!(
            "{} was under way when SLAVE-{slave} was lost: {crashes} of {limit}",
            name(*task)
        ),
        Event::Stall { ms, .. } => format!(
            "a turn of the master took {}.{} s",
            ms / 1_000,
            ms % 1_000 / 100
        ),
        Event::Nothing => {
            "the master algorithm waits, and nothing is queued, running or desired".to_owned()
        }
        Event::Waiting {
            tasks,
            needs: Some(needs),
            ..
        } => format!("{tasks} tasks wait for a slave with --mw-slave-label {needs}"),
        Event::Waiting { tasks, .. } => format!("{tasks} tasks wait for a group that has no slave"),
        Event::ReadyFull { .. } => {
            "results that nobody has taken are at their bound: tasks of the queue are held back"
                .to_owned()
        }
        Event::QueueFull { .. } => {
            "queued tasks are at their bound: further ones are unrunnable".to_owned()
        }
        Event::UnrunnableFull { .. } => {
            "unrunnable tasks that nobody takes keep no arguments any more".to_owned()
        }
        Event::ResourceFileError { path, error, .. } => format!("{path}: {error}"),
        Event::Dropped { lines, .. } => {
            format!("the trail lacks {lines} lines: its disk is full or slow")
        }
        Event::Signal { name, .. } => format!("{name}: the run ends"),
        Event::ShutdownBegun { slaves, .. } => format!("{slaves} slaves are told to stop"),
        Event::ChildEnded { child, status, .. } => {
            format!("slave {child} of this machine ended: {status}")
        }
        Event::Note { text, .. } => text.clone(),
        _ => return None,
    };
    Some(text)
}
