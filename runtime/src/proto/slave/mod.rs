//! The slave's side of the protocol: packets become assignments, outputs become packets of results.
//!
//! The compute side asks [`SlaveCore::next_task`] and tells [`SlaveCore::finish`]; the I/O side feeds
//! [`SlaveCore::on_bytes`], writes what [`SlaveCore::take_output`] gives and tells
//! [`SlaveCore::on_flushed`] once nothing of it is left. Results leave in the order of hand-out.

mod meter;

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use bytes::Bytes;
use ringmw_codec::audit::Event;
use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BOUND, MARKED, RESULT_ENTRY_BYTES, ResultBatchBuilder, ResultStatus,
    TaskBatchView, TaskBody,
};
use ringmw_codec::control::{
    Goodbye, GoodbyeCode, Offer, Recall, Returned, Shutdown, Starting, Withdraw, Withdrawn,
};
use ringmw_codec::frame::{self, FrameError, FrameReader, Kind};
use ringmw_codec::handshake::{Hello, Welcome};
use ringmw_codec::kinds::{FromMaster, Limit};
use ringmw_codec::wire::DecodeError;
use ringmw_sched::{AUTO, Nanos, SlaveId};

use super::{SECOND, put};
use meter::Meter;

/// A finished result waits at most this long for others to travel with.
pub(crate) const RESULT_WAIT: Nanos = SECOND / 10;

/// With automatic grouping a finished result waits at most this long for others that finish.
const AUTO_RESULT_WAIT: Nanos = SECOND / 200;

/// How long a slave waits for the master's answer to its handshake: a master algorithm may hold its
/// thread for minutes, another service on a reused port never answers.
pub(crate) const WELCOME_WAIT: Nanos = 600 * SECOND;

/// No master has a longer client timeout: the flag's bound is a year. In nanoseconds a greater one would not fit 64 bits.
const CLIENT_TIMEOUT_MS_MAX: u64 = 1_000 * crate::flags::SECONDS_MAX;

/// Beats within one client timeout.
const BEATS: u64 = 4;

/// What a slave says of itself.
pub struct SlaveConfig {
    /// Its handshake.
    pub hello: Hello,
}

/// One task to compute.
#[derive(Debug)]
pub struct Assignment {
    /// The task's number.
    pub task: u64,
    /// The algorithm's index.
    pub algorithm: u16,
    /// The body of the run that it belongs to, a share of the packet.
    run: Bytes,
    /// Tasks of that run.
    count: u32,
    /// Its own place in it.
    index: u32,
}

impl Assignment {
    /// Its stream, tag and arguments.
    ///
    /// # Errors
    /// When the body that came is none: the task has failed.
    pub fn body(&self) -> Result<TaskBody<'_>, DecodeError> {
        let run = TaskBody::parse_run(&self.run, self.count)?;
        Ok(run.nth(self.index, self.count))
    }
}

/// What the compute side does next.
#[derive(Debug)]
pub enum Next {
    /// Compute this, then [`SlaveCore::finish`].
    Run(Assignment),
    /// Nothing to do until something comes.
    Wait,
    /// It is over.
    Stop(SlaveEnd),
}

/// How it ended for a slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaveEnd {
    /// The master said so: the computation is finished, or the master leaves it unfinished.
    Shutdown {
        /// Whether the computation is finished.
        finished: bool,
    },
    /// The master turned it away, with this reason.
    Refused(String),
    /// The connection to the master is lost.
    MasterLost(String),
    /// It said goodbye itself.
    Left(String),
    /// It said goodbye because it had nothing to do for its idle time-out.
    Idle(String),
}

impl SlaveEnd {
    /// Whether it said goodbye itself.
    pub fn is_own_will(&self) -> bool {
        matches!(self, SlaveEnd::Left(_) | SlaveEnd::Idle(_))
    }

    /// The exit code: 0 only where the master said that the computation is finished, or it was idle for too long.
    pub fn exit_code(&self) -> u8 {
        match self {
            SlaveEnd::Shutdown { finished: true } | SlaveEnd::Idle(_) => {
                ringmw_codec::flags::exit::OK
            }
            _ => ringmw_codec::flags::exit::ERROR,
        }
    }
}

/// An entry of a packet, or what is left of it: the tasks of a run that are in hand and have not begun, at least one.
struct Queued {
    /// The number of the run's first task, be it in hand or not.
    first: u64,
    /// Tasks of the run as it came.
    count: u32,
    /// The places in the run of those in hand.
    left: Range<u32>,
    algorithm: u16,
    marked: bool,
    bound: bool,
    body: Bytes,
}

impl Queued {
    /// The number of the task at a place in the run.
    fn number(&self, index: u32) -> u64 {
        self.first + u64::from(index)
    }

    /// The number of the next task.
    fn next(&self) -> u64 {
        self.number(self.left.start)
    }

    /// The place of a task, if it is in hand.
    fn place(&self, task: u64) -> Option<u32> {
        let index = u32::try_from(task.checked_sub(self.first)?).ok()?;
        self.left.contains(&index).then_some(index)
    }

    /// So many of the last tasks, the very last one first; they are in hand no more.
    fn give_back(&mut self, tasks: u32, into: &mut Vec<u64>) {
        let kept = self.left.end - tasks;
        into.extend((kept..self.left.end).rev().map(|index| self.number(index)));
        self.left.end = kept;
    }

    /// Those before a place, and those behind it.
    fn split(self, index: u32) -> [Queued; 2] {
        let before = Queued {
            left: self.left.start..index,
            body: self.body.clone(),
            ..self
        };
        let behind = Queued {
            left: index + 1..self.left.end,
            ..self
        };
        [before, behind]
    }
}

/// A marked task is announced, and begins once the announcement has left this process.
#[derive(PartialEq, Eq)]
enum Announcement {
    None,
    Leaving(u64),
    Left(u64),
}

/// The slave's protocol core.
pub struct SlaveCore {
    welcome: Option<Welcome>,
    reader: FrameReader,
    tasks: VecDeque<Queued>,
    /// Tasks in them.
    queued: usize,
    running: Option<u64>,
    running_cancelled: bool,
    announcement: Announcement,
    results: ResultBatchBuilder,
    oldest_result: Option<Nanos>,
    out: Vec<u8>,
    last_sent: Nanos,
    started: Nanos,
    end: Option<SlaveEnd>,
    completed: u64,
    learned: Vec<(u32, u64)>,
    audit: VecDeque<Event>,
    meter: Meter,
    bounds: Bounds,
    /// When it last had a task in hand, or was welcomed.
    busy_at: Nanos,
}

/// How long a slave stays of its own will.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Since its start: then it finishes what it runs, if that ends soon, hands back the rest, and exits 255.
    pub time_limit: Option<Nanos>,
    /// Without a task: then it exits 0.
    pub idle_timeout: Option<Nanos>,
}

/// A task that runs at the time limit may take so long to end before it is handed back too.
const LAST_TASK_GRACE: Nanos = 5 * SECOND;

impl SlaveCore {
    /// A slave that has just been connected; its handshake is ready to be sent.
    pub fn new(config: &SlaveConfig, now: Nanos) -> Self {
        let mut out = Vec::new();
        put(&mut out, Kind::Hello, |out| config.hello.encode(out));
        SlaveCore {
            welcome: None,
            reader: FrameReader::new(),
            tasks: VecDeque::new(),
            queued: 0,
            running: None,
            running_cancelled: false,
            announcement: Announcement::None,
            results: ResultBatchBuilder::new(),
            oldest_result: None,
            out,
            last_sent: now,
            started: now,
            end: None,
            completed: 0,
            learned: Vec::new(),
            audit: VecDeque::new(),
            meter: Meter::default(),
            bounds: Bounds::default(),
            busy_at: now,
        }
    }

    // ---- facts from the connection

    /// Bytes came from the master.
    pub fn on_bytes(&mut self, bytes: &[u8], now: Nanos) {
        if self.end.is_some() {
            return;
        }
        let mut reader = std::mem::take(&mut self.reader);
        // The Welcome may share its chunk with the first packet, whose limit it tells.
        let limits = Cell::new(self.limits());
        let fed = reader.feed(
            bytes,
            &|kind| {
                let (tasks, results) = limits.get();
                kind.limit().bytes(tasks, results)
            },
            &mut |kind, payload| {
                let judged = self.on_frame(kind, payload, now);
                limits.set(self.limits());
                match judged {
                    Ok(()) if self.end.is_none() => ControlFlow::Continue(()),
                    Ok(()) => ControlFlow::Break(None),
                    Err(reason) => ControlFlow::Break(Some(reason)),
                }
            },
        );
        self.reader = reader;
        let broken = match fed {
            Ok(ControlFlow::Continue(()) | ControlFlow::Break(None)) => None,
            Ok(ControlFlow::Break(Some(reason))) => Some(reason),
            Err(FrameError::Oversized { kind, .. })
                if self.welcome.is_none() && !matches!(kind.limit(), Limit::Bytes(_)) =>
            {
                Some(too_early(kind))
            }
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = broken {
            self.finish_with(SlaveEnd::MasterLost(format!(
                "what it sent cannot be read: {reason}"
            )));
        }
    }

    /// The largest payloads in bytes of what the master sends and of what it takes: none before it says.
    fn limits(&self) -> (u32, u32) {
        self.welcome.as_ref().map_or((0, 0), |welcome| {
            (welcome.tasks_bytes_max, welcome.results_bytes_max)
        })
    }

    /// How long it stays; without this, for ever.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Goodbye, where its own time is up.
    fn judge_bounds(&mut self, now: Nanos) {
        if self.end.is_some() {
            return;
        }
        let over = |limit: Option<Nanos>| limit.is_some_and(|limit| now >= self.started + limit);
        let grace = if self.running.is_some() {
            LAST_TASK_GRACE
        } else {
            0
        };
        if over(self.bounds.time_limit.map(|limit| limit + grace)) {
            let seconds = self.bounds.time_limit.unwrap_or_default() / SECOND;
            let reason = format!("its time limit of {seconds} s");
            return self.leave(GoodbyeCode::Other, &reason);
        }
        if let Some(timeout) = self.bounds.idle_timeout
            && self.is_idle()
            && now >= self.busy_at + timeout
        {
            let reason = format!("idle for {} s", timeout / SECOND);
            self.leave(GoodbyeCode::Other, &reason);
            self.end = Some(SlaveEnd::Idle(reason));
        }
    }

    fn is_idle(&self) -> bool {
        self.welcome.is_some() && self.running.is_none() && self.tasks.is_empty()
    }

    /// When [`SlaveCore::judge_bounds`] has something to do at the earliest.
    fn bounds_deadline(&self) -> Nanos {
        let grace = if self.running.is_some() {
            LAST_TASK_GRACE
        } else {
            0
        };
        let limit = self.bounds.time_limit;
        let limit = limit.map_or(Nanos::MAX, |limit| self.started + limit + grace);
        let idle = self.bounds.idle_timeout.filter(|_| self.is_idle());
        limit.min(idle.map_or(Nanos::MAX, |timeout| self.busy_at + timeout))
    }

    /// The connection ended.
    pub fn on_closed(&mut self, why: &str) {
        self.finish_with(SlaveEnd::MasterLost(why.to_owned()));
    }

    /// Time passed. `unacknowledged_for`: how long the master's host has not acknowledged bytes that
    /// are outstanding; zero if none are.
    pub fn on_time(&mut self, now: Nanos, unacknowledged_for: Nanos) {
        if self.end.is_some() {
            return;
        }
        self.settle(now, false);
        match &self.welcome {
            None if now >= self.started + WELCOME_WAIT => {
                let text = format!("no answer to the handshake in {} s", WELCOME_WAIT / SECOND);
                return self.finish_with(SlaveEnd::MasterLost(text));
            }
            Some(welcome) if unacknowledged_for >= welcome.client_timeout_ms * 1_000_000 => {
                let text = format!(
                    "its host acknowledged nothing for {} s",
                    unacknowledged_for / SECOND
                );
                return self.finish_with(SlaveEnd::MasterLost(text));
            }
            _ => {}
        }
        self.judge_bounds(now);
        if self.end.is_some() {
            return;
        }
        if self
            .oldest_result
            .is_some_and(|oldest| now >= oldest + RESULT_WAIT)
        {
            self.flush_results();
        }
        if self.welcome.is_some() && self.out.is_empty() && now >= self.last_sent + self.beat() {
            frame::put_frame(&mut self.out, Kind::Heartbeat, &[]);
        }
    }

    /// When [`SlaveCore::on_time`] is due at the latest; never once it is over.
    pub fn next_deadline(&self) -> Nanos {
        if self.end.is_some() {
            return Nanos::MAX;
        }
        let beat = match self.welcome {
            Some(_) => self.last_sent + self.beat(),
            None => self.started + WELCOME_WAIT,
        };
        self.oldest_result
            .map_or(beat, |oldest| beat.min(oldest + RESULT_WAIT))
            .min(self.bounds_deadline())
            .min(self.meter.due().unwrap_or(Nanos::MAX))
    }

    /// Moves what is to be sent to the end of `into`; true if there was anything.
    pub fn take_output(&mut self, into: &mut Vec<u8>, now: Nanos) -> bool {
        if self.out.is_empty() {
            return false;
        }
        self.last_sent = now;
        if into.is_empty() {
            std::mem::swap(into, &mut self.out);
        } else {
            into.append(&mut self.out);
        }
        true
    }

    /// Whether [`SlaveCore::take_output`] would give anything.
    pub fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// All that was taken has been written to the socket.
    pub fn on_flushed(&mut self) {
        if let Announcement::Leaving(task) = self.announcement
            && self.out.is_empty()
        {
            self.announcement = Announcement::Left(task);
        }
    }

    /// Whether the task in front is announced and that has left: it can begin.
    pub fn has_announced(&self) -> bool {
        matches!(self.announcement, Announcement::Left(_))
    }

    // ---- the compute side

    /// What to do next; flushes results when there is nothing more to compute.
    pub fn next_task(&mut self) -> Next {
        if let Some(end) = &self.end {
            return Next::Stop(end.clone());
        }
        assert!(self.running.is_none(), "one task at a time");
        let Some(front) = self.tasks.front_mut() else {
            return Next::Wait;
        };
        let task = front.next();
        if front.marked && self.announcement != Announcement::Left(task) {
            if self.announcement == Announcement::None {
                self.flush_results();
                put(&mut self.out, Kind::Starting, |out| {
                    Starting { task }.encode(out)
                });
                self.announcement = Announcement::Leaving(task);
            }
            return Next::Wait;
        }
        let is_last = front.left.len() == 1;
        let assignment = Assignment {
            task,
            algorithm: front.algorithm,
            run: match is_last {
                true => std::mem::take(&mut front.body),
                false => front.body.clone(),
            },
            count: front.count,
            index: front.left.start,
        };
        front.left.start += 1;
        if is_last {
            self.tasks.pop_front();
        }
        self.queued -= 1;
        self.announcement = Announcement::None;
        self.running = Some(task);
        self.running_cancelled = false;
        Next::Run(assignment)
    }

    /// The running task ended with an output's archive or a failure's text.
    pub fn finish(
        &mut self,
        algorithm: u16,
        outcome: Result<&[u8], &str>,
        compute: Nanos,
        now: Nanos,
    ) {
        let task = self.running.take().expect("a task is running");
        self.completed += 1;
        self.busy_at = now;
        let (Some(welcome), None) = (&self.welcome, &self.end) else {
            return;
        };
        let bytes_max = welcome.results_bytes_max as usize;
        let group = welcome.result_group;
        let room = bytes_max - BATCH_OVERHEAD_BYTES - RESULT_ENTRY_BYTES;
        let too_large;
        let (status, body) = match outcome {
            Ok(output) if output.len() <= room => (ResultStatus::Done, output),
            Ok(output) => {
                too_large = format!(
                    "the result of {} bytes is larger than the master reads: at most {room} bytes; raise --mw-max-read-buffer-size on the master",
                    output.len()
                );
                (ResultStatus::Failed, too_large.as_bytes())
            }
            Err(text) => (ResultStatus::Failed, cut(text, room).as_bytes()),
        };
        let results = &self.results;
        if results.bytes_with(task, algorithm, status, compute, body.len()) > bytes_max {
            self.flush_results();
        }
        self.results.push(task, algorithm, status, compute, body);
        let oldest = *self.oldest_result.get_or_insert(now);
        let full = match group {
            AUTO => now >= oldest + AUTO_RESULT_WAIT,
            number => self.results.tasks() >= number as usize,
        };
        if full || self.tasks.is_empty() {
            self.flush_results();
        }
        // The time limit may have waited for this task.
        self.judge_bounds(now);
    }

    /// The running task offers an incumbent: what is finished goes first, then the offer, then its
    /// own result.
    pub fn offer(&mut self, best: u32, key: u64, witness: &[u8]) -> Result<(), String> {
        let (Some(welcome), None) = (&self.welcome, &self.end) else {
            return Ok(());
        };
        let bytes_max = welcome.results_bytes_max as usize;
        let bytes = witness.len() + Offer::HEADER_BYTES;
        if bytes > bytes_max {
            return Err(format!(
                "the witness of {} bytes is larger than the master reads: at most {} bytes; raise --mw-max-read-buffer-size on the master",
                witness.len(),
                bytes_max - Offer::HEADER_BYTES
            ));
        }
        self.flush_results();
        put(&mut self.out, Kind::Offer, |out| {
            Offer { best, key, witness }.encode(out)
        });
        Ok(())
    }

    /// Leaves on its own account.
    pub fn leave(&mut self, code: GoodbyeCode, reason: &str) {
        if self.end.is_none() {
            self.flush_results();
            if code == GoodbyeCode::StateInit {
                // It is the task that says so, which has not begun.
                self.running = None;
            }
            let begun = self.running.is_some();
            put(&mut self.out, Kind::Goodbye, |out| {
                Goodbye {
                    code,
                    begun,
                    reason: reason.to_owned(),
                }
                .encode(out);
            });
            self.finish_with(SlaveEnd::Left(reason.to_owned()));
        }
    }

    // ---- looking

    /// The master's answer, once it has come.
    pub fn welcome(&self) -> Option<&Welcome> {
        self.welcome.as_ref()
    }

    /// Its id, once it has one.
    pub fn id(&self) -> Option<SlaveId> {
        self.welcome.as_ref().map(|welcome| SlaveId(welcome.slave))
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&SlaveEnd> {
        self.end.as_ref()
    }

    /// Whether the running task is no longer waited for.
    pub fn is_cancelled(&self) -> bool {
        self.running_cancelled || self.end.is_some()
    }

    /// Whether a task runs.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Results completed since the start.
    pub fn completed(&self) -> u64 {
        self.completed
    }

    /// Tasks in hand that have not begun.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Results that wait to be sent.
    pub fn waiting_results(&self) -> usize {
        self.results.tasks()
    }

    /// Keys that the master told since this was asked last.
    pub fn take_learned(&mut self) -> Vec<(u32, u64)> {
        std::mem::take(&mut self.learned)
    }

    /// The next line for the trail.
    pub fn poll_audit(&mut self) -> Option<Event> {
        self.audit.pop_front()
    }

    // ---- frames

    fn on_frame(&mut self, kind: Kind, payload: &[u8], now: Nanos) -> Result<(), String> {
        let is_answer = matches!(kind, Kind::Welcome | Kind::Refuse);
        if self.welcome.is_none() && !is_answer {
            return Err(too_early(kind));
        }
        // No master sends one, but it does no harm.
        if kind == Kind::Heartbeat {
            return Ok(());
        }
        match FromMaster::read(kind, payload).map_err(text)? {
            FromMaster::Welcome(_) if self.welcome.is_some() => {
                return Err("a master never sends Welcome twice".to_owned());
            }
            FromMaster::Welcome(welcome) => {
                self.busy_at = now;
                self.on_welcome(welcome)?;
            }
            FromMaster::Refuse(refusal) => {
                self.finish_with(SlaveEnd::Refused(refusal.to_string()));
            }
            FromMaster::Tasks(view) => {
                self.busy_at = now;
                self.on_tasks(&view, payload, now);
            }
            FromMaster::Withdraw(withdraw) => self.on_withdraw(withdraw),
            FromMaster::Recall(recall) => self.on_recall(recall),
            FromMaster::Bests(bests) => self.learned.extend(bests.entries),
            FromMaster::Shutdown(Shutdown { finished }) => {
                self.audit.push_back(Event::MasterShutdown { finished });
                self.finish_with(SlaveEnd::Shutdown { finished });
            }
        }
        Ok(())
    }

    fn on_welcome(&mut self, welcome: Welcome) -> Result<(), String> {
        let least = (BATCH_OVERHEAD_BYTES + RESULT_ENTRY_BYTES) as u32 + 1_024;
        let timeouts = 1..=CLIENT_TIMEOUT_MS_MAX;
        if welcome.results_bytes_max < least || !timeouts.contains(&welcome.client_timeout_ms) {
            return Err("a Welcome with impossible limits".to_owned());
        }
        self.audit.push_back(Event::Id {
            slave: welcome.slave,
        });
        self.welcome = Some(welcome);
        Ok(())
    }

    /// `view` is that of `payload`.
    fn on_tasks(&mut self, view: &TaskBatchView<'_>, payload: &[u8], now: Nanos) {
        let packet = Bytes::copy_from_slice(payload);
        for (index, (entry, _)) in view.iter().enumerate() {
            self.queued += entry.count as usize;
            self.tasks.push_back(Queued {
                first: entry.task,
                count: entry.count,
                left: 0..entry.count,
                algorithm: entry.algorithm,
                marked: entry.flags & MARKED != 0,
                bound: entry.flags & BOUND != 0,
                body: packet.slice(view.body_range(index)),
            });
        }
        self.settle(now, false);
        let (tasks, bytes) = (view.tasks(), payload.len() as u64);
        let line = self.meter.on_tasks(now, tasks, bytes, self.result_group());
        self.audit.extend(line);
    }

    fn on_withdraw(&mut self, withdraw: Withdraw) {
        let mut acknowledged = Vec::new();
        for task in withdraw.tasks {
            if self.running == Some(task) {
                self.running_cancelled = true;
            } else if self.take_out(task) {
                acknowledged.push((task, false));
                if matches!(self.announcement, Announcement::Leaving(t) | Announcement::Left(t) if t == task)
                {
                    self.announcement = Announcement::None;
                }
            }
        }
        if self.tasks.is_empty() && self.running.is_none() {
            self.flush_results();
        }
        if !acknowledged.is_empty() {
            put(&mut self.out, Kind::Withdrawn, |out| {
                Withdrawn {
                    tasks: acknowledged,
                }
                .encode(out)
            });
        }
    }

    /// Takes a task that has not begun out of the queue; false if there is none of this number.
    fn take_out(&mut self, task: u64) -> bool {
        let mut queued = self.tasks.iter_mut().enumerate();
        let found = queued.find_map(|(at, queued)| Some((at, queued.place(task)?, queued)));
        let Some((at, index, queued)) = found else {
            return false;
        };
        self.queued -= 1;
        let Range { start, end } = queued.left;
        if start + 1 == end {
            self.tasks.remove(at);
        } else if index == start {
            queued.left.start += 1;
        } else if index + 1 == end {
            queued.left.end -= 1;
        } else if let Some(queued) = self.tasks.remove(at) {
            for part in queued.split(index).into_iter().rev() {
                self.tasks.insert(at, part);
            }
        }
        true
    }

    /// Gives back what has not begun, from the last task on; not what is addressed to this slave, nor a task whose start
    /// is announced.
    fn on_recall(&mut self, recall: Recall) {
        let asked = recall.tasks as usize;
        let is_announced = self.announcement != Announcement::None;
        let mut tasks = Vec::new();
        let mut kept = VecDeque::new();
        while tasks.len() < asked
            && let Some(mut last) = self.tasks.pop_back()
        {
            if !last.bound {
                let stays = usize::from(is_announced && self.tasks.is_empty());
                let gives = (last.left.len() - stays).min(asked - tasks.len());
                last.give_back(gives as u32, &mut tasks);
                self.queued -= gives;
            }
            if !last.left.is_empty() {
                kept.push_front(last);
            }
        }
        self.tasks.append(&mut kept);
        if self.tasks.is_empty() && self.running.is_none() {
            self.flush_results();
        }
        put(&mut self.out, Kind::Returned, |out| {
            Returned { tasks }.encode(out)
        });
    }

    fn flush_results(&mut self) {
        self.oldest_result = None;
        if self.results.is_empty() {
            return;
        }
        let results = self.results.tasks() as u64;
        let before = self.out.len();
        let mark = frame::begin_frame(&mut self.out, Kind::Results);
        self.results.encode(&mut self.out);
        frame::finish_frame(&mut self.out, mark);
        self.results.clear();
        let bytes = (self.out.len() - before) as u64;
        let line = self.meter.on_results(self.last_sent, results, bytes);
        self.audit.extend(line);
    }

    /// Writes what the trail has summed, once it is due.
    fn settle(&mut self, now: Nanos, is_over: bool) {
        let slave = self.welcome.as_ref().map_or(0, |welcome| welcome.slave);
        self.audit.extend(self.meter.settle(slave, now, is_over));
    }

    fn result_group(&self) -> u32 {
        self.welcome
            .as_ref()
            .map_or(1, |welcome| welcome.result_group)
    }

    fn beat(&self) -> Nanos {
        self.welcome
            .as_ref()
            .map_or(0, |welcome| welcome.client_timeout_ms * 1_000_000 / BEATS)
    }

    fn finish_with(&mut self, end: SlaveEnd) {
        if self.end.is_none() {
            self.tasks.clear();
            self.queued = 0;
            self.settle(self.last_sent, true);
            match &end {
                SlaveEnd::Refused(reason) => self.audit.push_back(Event::RefusedByMaster {
                    reason: reason.clone(),
                }),
                SlaveEnd::MasterLost(reason) => self.audit.push_back(Event::MasterLost {
                    reason: reason.clone(),
                }),
                // The first has its line already, the second is the slave's own doing.
                SlaveEnd::Shutdown { .. } | SlaveEnd::Left(_) | SlaveEnd::Idle(_) => {}
            }
            self.end = Some(end);
        }
    }
}

fn too_early(kind: Kind) -> String {
    format!("{kind:?} before the handshake was answered")
}

fn text(error: impl ToString) -> String {
    error.to_string()
}

/// The longest prefix of `text` within `bytes_max` bytes that ends at a character.
fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use ringmw_codec::handshake::{Fingerprint, PROTOCOL_VERSION};

    use super::*;

    /// Seeds 1896 and 2141 of the simulated world stood still: the goodbye of a slave whose link took no bytes
    /// outlasted the beat's deadline, which nobody met any more.
    #[test]
    fn a_slave_that_is_over_has_no_deadline() {
        let hello = Hello {
            protocol: PROTOCOL_VERSION,
            member_id: Vec::new(),
            host: String::new(),
            job: String::new(),
            pid: 1,
            fingerprint: Fingerprint {
                app_version: String::new(),
                build: String::new(),
                format: 1,
                algorithms: Vec::new(),
            },
        };
        let mut core = SlaveCore::new(&SlaveConfig { hello }, 0);
        assert_eq!(core.next_deadline(), WELCOME_WAIT);
        core.leave(GoodbyeCode::Evicted, "told to go");
        assert_eq!(core.next_deadline(), Nanos::MAX);
    }
}
