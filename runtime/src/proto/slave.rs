//! The slave's side of the protocol: packets become assignments, outputs become packets of results.
//!
//! The compute side asks [`SlaveCore::next_task`] and tells [`SlaveCore::finish`]; the I/O side feeds
//! [`SlaveCore::on_bytes`], writes what [`SlaveCore::take_output`] gives and tells
//! [`SlaveCore::on_flushed`] once nothing of it is left. Results leave in the order of hand-out.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::ControlFlow;

use bytes::Bytes;
use ringmw_codec::audit::Event;
use ringmw_codec::batch::{
    self, BATCH_OVERHEAD_BYTES, MARKED, RESULT_ENTRY_BYTES, ResultBatchBuilder, ResultStatus,
};
use ringmw_codec::control::{
    Bests, Goodbye, GoodbyeCode, Offer, Shutdown, Starting, Withdraw, Withdrawn,
};
use ringmw_codec::frame::{self, FrameError, FrameReader, Kind};
use ringmw_codec::handshake::{Hello, Refusal, Welcome};
use ringmw_sched::{AUTO, Nanos, SlaveId};

use super::{SECOND, limit};

/// A finished result waits at most this long for others to travel with.
pub const RESULT_WAIT: Nanos = SECOND / 10;

/// With automatic grouping a finished result waits at most this long for others that finish.
const AUTO_RESULT_WAIT: Nanos = SECOND / 200;

/// How long a slave waits for the master's answer to its handshake: a master algorithm may hold its
/// thread for minutes, another service on a reused port never answers.
pub const WELCOME_WAIT: Nanos = 600 * SECOND;

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
    /// Its body: stream, tag and arguments, a share of the packet.
    pub body: Bytes,
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
}

impl SlaveEnd {
    /// The exit code: 0 only where the master said that the computation is finished.
    pub fn exit_code(&self) -> u8 {
        match self {
            SlaveEnd::Shutdown { finished: true } => ringmw_codec::flags::exit::OK,
            _ => ringmw_codec::flags::exit::ERROR,
        }
    }
}

struct Queued {
    task: u64,
    algorithm: u16,
    marked: bool,
    body: Bytes,
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
    packet_lines: (Nanos, u32),
}

impl SlaveCore {
    /// A slave that has just been connected; its handshake is ready to be sent.
    pub fn new(config: &SlaveConfig, now: Nanos) -> Self {
        let mut out = Vec::new();
        put(&mut out, Kind::Hello, |out| config.hello.encode(out));
        SlaveCore {
            welcome: None,
            reader: FrameReader::new(),
            tasks: VecDeque::new(),
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
            packet_lines: (0, 0),
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
            &|kind| limit(kind, limits.get().0, limits.get().1),
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
                if self.welcome.is_none() && frame::control_limit(kind).is_none() =>
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
        let Some(front) = self.tasks.front() else {
            return Next::Wait;
        };
        if front.marked && self.announcement != Announcement::Left(front.task) {
            if self.announcement == Announcement::None {
                let task = front.task;
                self.flush_results();
                put(&mut self.out, Kind::Starting, |out| {
                    Starting { task }.encode(out)
                });
                self.announcement = Announcement::Leaving(task);
            }
            return Next::Wait;
        }
        let Queued {
            task,
            algorithm,
            body,
            ..
        } = self.tasks.pop_front().expect("looked at above");
        self.announcement = Announcement::None;
        self.running = Some(task);
        self.running_cancelled = false;
        Next::Run(Assignment {
            task,
            algorithm,
            body,
        })
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
        if self.results.bytes() + RESULT_ENTRY_BYTES + body.len() > bytes_max {
            self.flush_results();
        }
        self.results.push(task, algorithm, status, compute, body);
        let oldest = *self.oldest_result.get_or_insert(now);
        let full = match group {
            AUTO => now >= oldest + AUTO_RESULT_WAIT,
            number => self.results.len() >= number as usize,
        };
        if full || self.tasks.is_empty() {
            self.flush_results();
        }
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
            put(&mut self.out, Kind::Goodbye, |out| {
                Goodbye {
                    code,
                    reason: cut(reason, 1_024).to_owned(),
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
        self.tasks.len()
    }

    /// Results that wait to be sent.
    pub fn waiting_results(&self) -> usize {
        self.results.len()
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
        match (kind, &self.welcome) {
            (Kind::Refuse, _) => {
                let refusal = Refusal::decode(payload).map_err(text)?;
                self.finish_with(SlaveEnd::Refused(refusal.to_string()));
                Ok(())
            }
            (Kind::Welcome, None) => self.on_welcome(payload),
            (_, None) => Err(too_early(kind)),
            (Kind::Tasks, Some(_)) => self.on_tasks(payload, now),
            (Kind::Withdraw, Some(_)) => self.on_withdraw(payload),
            (Kind::Bests, Some(_)) => {
                self.learned
                    .extend(Bests::decode(payload).map_err(text)?.entries);
                Ok(())
            }
            (Kind::Shutdown, Some(_)) => {
                let finished = Shutdown::decode(payload).map_err(text)?.finished;
                self.audit.push_back(Event::MasterShutdown { finished });
                self.finish_with(SlaveEnd::Shutdown { finished });
                Ok(())
            }
            (Kind::Heartbeat, Some(_)) => Ok(()),
            (other, Some(_)) => Err(format!("a master never sends {other:?}")),
        }
    }

    fn on_welcome(&mut self, payload: &[u8]) -> Result<(), String> {
        let welcome = Welcome::decode(payload).map_err(text)?;
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

    fn on_tasks(&mut self, payload: &[u8], now: Nanos) -> Result<(), String> {
        let packet = Bytes::copy_from_slice(payload);
        let view = batch::task_batch(&packet).map_err(text)?;
        for (index, (entry, _)) in view.iter().enumerate() {
            self.tasks.push_back(Queued {
                task: entry.task,
                algorithm: entry.algorithm,
                marked: entry.flags & MARKED != 0,
                body: packet.slice(view.body_range(index)),
            });
        }
        if self.packet_line(now) {
            self.audit.push_back(Event::TasksReceived {
                tasks: view.len() as u64,
                bytes: payload.len() as u64,
                group: self.result_group().into(),
            });
        }
        Ok(())
    }

    fn on_withdraw(&mut self, payload: &[u8]) -> Result<(), String> {
        let withdraw = Withdraw::decode(payload).map_err(text)?;
        let mut acknowledged = Vec::new();
        for task in withdraw.tasks {
            if self.running == Some(task) {
                self.running_cancelled = true;
            } else if let Some(at) = self.tasks.iter().position(|queued| queued.task == task) {
                self.tasks.remove(at);
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
        Ok(())
    }

    fn flush_results(&mut self) {
        self.oldest_result = None;
        if self.results.is_empty() {
            return;
        }
        let results = self.results.len() as u64;
        let before = self.out.len();
        let mark = frame::begin_frame(&mut self.out, Kind::Results);
        self.results.encode(&mut self.out);
        frame::finish_frame(&mut self.out, mark);
        self.results.clear();
        if self.packet_line(self.last_sent) {
            let bytes = (self.out.len() - before) as u64;
            self.audit.push_back(Event::ResultsSent { results, bytes });
        }
    }

    /// A slave's trail says of packets a line each up to 20 a second.
    fn packet_line(&mut self, now: Nanos) -> bool {
        if now / SECOND != self.packet_lines.0 {
            self.packet_lines = (now / SECOND, 0);
        }
        self.packet_lines.1 += 1;
        self.packet_lines.1 <= 20
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
            match &end {
                SlaveEnd::Refused(reason) => self.audit.push_back(Event::RefusedByMaster {
                    reason: reason.clone(),
                }),
                SlaveEnd::MasterLost(reason) => self.audit.push_back(Event::MasterLost {
                    reason: reason.clone(),
                }),
                // The first has its line already, the second is the slave's own doing.
                SlaveEnd::Shutdown { .. } | SlaveEnd::Left(_) => {}
            }
            self.end = Some(end);
        }
    }
}

fn put(out: &mut Vec<u8>, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
    let mark = frame::begin_frame(out, kind);
    encode(out);
    frame::finish_frame(out, mark);
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
