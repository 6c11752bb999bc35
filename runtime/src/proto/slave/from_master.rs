//! What the master says, frame by frame. What cannot be read ends the connection.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::{ControlFlow, Range};

use ringmw_codec::audit::Event;
use ringmw_codec::batch::{
    BATCH_OVERHEAD_BYTES, BOUND, CONVERSES, MARKED, RESULT_ENTRY_BYTES, TaskBatchView,
};
use ringmw_codec::control::{Recall, Returned, Shutdown, Withdraw, Withdrawn};
use ringmw_codec::frame::{Block, FrameError, Kind, Payload};
use ringmw_codec::handshake::Welcome;
use ringmw_codec::kinds::{FromMaster, Limit};
use ringmw_sched::Nanos;

use super::SlaveCore;
use super::leave::SlaveEnd;
use super::packet::{Announcement, Queued};
use crate::proto::bytes::Came;
use crate::proto::config::SECONDS_MAX;

/// No master has a longer client timeout: the flag's bound is a year. In nanoseconds a greater one would not fit 64 bits.
const CLIENT_TIMEOUT_MS_MAX: u64 = 1_000 * SECONDS_MAX;

/// What the connection brings.
enum Read<'a> {
    Bytes(&'a [u8]),
    /// What was lent, with what has come.
    Block(Vec<u8>),
}

impl SlaveCore {
    /// Frames, or parts of them, came from the master: see [`on_received`](Self::on_received).
    pub fn on_bytes(&mut self, bytes: &[u8], now: Nanos) {
        self.read(Read::Bytes(bytes), now);
    }

    /// Whether what comes next is the rest of a long frame.
    pub fn is_long(&self) -> bool {
        let is_served = self.end.is_none() && !self.is_apart();
        let is_long = self.reader.missing_bytes() >= self.long_from;
        let secured = self.secured.as_ref();
        is_served && secured.map_or(is_long, |secured| secured.is_long(is_long, self.long_from))
    }

    /// Lends memory for what comes next: a long frame's own, or some for its records.
    pub fn lend(&mut self) -> Option<Block> {
        if !self.is_long() {
            return None;
        }
        match &mut self.secured {
            None => self.lend_frame(),
            Some(secured) => {
                let memory = std::mem::take(&mut self.records);
                Some(secured.channel()?.lend(memory))
            }
        }
    }

    /// Lends a long frame's memory, if one has begun.
    pub(super) fn lend_frame(&mut self) -> Option<Block> {
        self.reader.lend_from(self.long_from)
    }

    /// What was lent comes back, with `more` bytes that have come. `heard` is told the frames in them, for who looks on.
    pub fn on_block(
        &mut self,
        bytes: Vec<u8>,
        more: usize,
        now: Nanos,
        heard: &mut dyn FnMut(&[u8]),
    ) {
        match self.secured.is_some() {
            true => self.on_records(bytes, now, heard),
            false => {
                heard(&bytes[bytes.len() - more..]);
                self.on_frame_block(bytes, now);
            }
        }
    }

    /// From so many missing bytes on the rest of a frame is received into its own memory; for the simulated world.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set_long_from(&mut self, bytes: usize) {
        self.long_from = bytes;
    }

    /// A long frame's memory comes back, with what has come of the frame.
    pub(super) fn on_frame_block(&mut self, bytes: Vec<u8>, now: Nanos) {
        self.read(Read::Block(bytes), now);
    }

    fn read(&mut self, came: Read<'_>, now: Nanos) {
        if self.end.is_some() || self.is_apart() {
            return;
        }
        let mut reader = std::mem::take(&mut self.reader);
        // The Welcome may share its chunk with the first packet, whose limit it tells.
        let limits = Cell::new(self.limits());
        let limit = |kind: Kind| {
            let (tasks, results) = limits.get();
            kind.limit().bytes(tasks, results)
        };
        let mut sink = |kind, payload: Payload<'_>| {
            let judged = self.on_frame(kind, payload.into(), now);
            limits.set(self.limits());
            match judged {
                Ok(()) if self.end.is_none() && !self.is_apart() => ControlFlow::Continue(()),
                Ok(()) => ControlFlow::Break(None),
                Err(reason) => ControlFlow::Break(Some(reason)),
            }
        };
        let fed = match came {
            Read::Bytes(bytes) => reader.take(bytes, &limit, &mut sink),
            Read::Block(bytes) => reader.take_back(bytes, &mut sink),
        };
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
            let reason = format!("what it sent cannot be read: {reason}");
            self.finish_with(SlaveEnd::MasterLost(reason));
        }
    }

    /// The largest payloads in bytes of what the master sends and of what it takes: none before it says.
    fn limits(&self) -> (u32, u32) {
        self.welcome.as_ref().map_or((0, 0), |welcome| {
            (
                welcome.task_packet_bytes_max,
                welcome.result_packet_bytes_max,
            )
        })
    }

    fn on_frame(&mut self, kind: Kind, payload: Came<'_>, now: Nanos) -> Result<(), String> {
        if !self.may_come(kind) {
            return Err(format!("{kind:?} without the secret"));
        }
        let is_answer = matches!(kind, Kind::Welcome | Kind::Refuse);
        if self.welcome.is_none() && !is_answer {
            return Err(too_early(kind));
        }
        // No master sends one, but it does no harm.
        if kind == Kind::Heartbeat {
            return Ok(());
        }
        // A share of it: what is kept of a packet keeps its memory.
        let kept = payload.shared();
        match FromMaster::read(kind, payload.bytes()).map_err(text)? {
            FromMaster::Welcome(_) if self.welcome.is_some() => {
                return Err("a master never sends Welcome twice".to_owned());
            }
            FromMaster::Welcome(welcome) => {
                self.busy_at = now;
                self.on_welcome(welcome)?;
            }
            FromMaster::Refuse(refusal) => {
                self.keeper.refused_for_now = refusal.is_passing();
                self.finish_with(SlaveEnd::Refused(refusal.to_string()));
            }
            FromMaster::Tasks(view) => {
                self.busy_at = now;
                self.on_tasks(&view, kept, now);
            }
            FromMaster::Withdraw(withdraw) => self.on_withdraw(withdraw),
            FromMaster::Recall(recall) => self.on_recall(recall),
            FromMaster::Blob(piece) => self.on_blob(&piece)?,
            FromMaster::Say(say) => self.on_say(say)?,
            FromMaster::SaidHeard(heard) => self.on_said_heard(heard)?,
            FromMaster::CheckpointTaken(taken) => self.on_checkpoint_taken(taken.task),
            FromMaster::Hungry(word) => self.on_hungry(word),
            FromMaster::Resume(checkpoint) => self.on_resume(&checkpoint),
            FromMaster::Bests(bests) => self.on_bests(bests.entries),
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
        if welcome.result_packet_bytes_max < least || !timeouts.contains(&welcome.client_timeout_ms)
        {
            return Err("a Welcome with impossible limits".to_owned());
        }
        self.audit.push_back(Event::Id {
            slave: welcome.slave,
        });
        self.welcome = Some(welcome);
        Ok(())
    }

    /// `view` is that of `packet`.
    fn on_tasks(&mut self, view: &TaskBatchView<'_>, packet: Came<'_>, now: Nanos) {
        let packet = packet.keep_all();
        let life = self.welcome.as_ref().map_or(0, |welcome| welcome.life);
        for (index, (entry, body)) in view.iter().enumerate() {
            self.queued += entry.count as usize;
            self.tasks.push_back(Queued {
                first: entry.task,
                count: entry.count,
                left: 0..entry.count,
                packet: self.packets,
                life,
                timeout: super::timeout::of_body(body),
                algorithm: entry.algorithm,
                marked: entry.flags & MARKED != 0,
                bound: entry.flags & BOUND != 0,
                former: false,
                converses: entry.flags & CONVERSES != 0,
                mentions: self.shelf.all_mentions(entry.algorithm, body, entry.count),
                body: packet.slice(view.body_range(index)),
            });
        }
        self.packets += 1;
        self.packet_tasks = view.tasks();
        self.seek_shared();
        self.sum_up(now, false);
        let (tasks, bytes) = (view.tasks(), packet.len() as u64);
        let line = self.meter.on_tasks(now, tasks, bytes, self.result_group());
        self.audit.extend(line);
    }

    fn on_withdraw(&mut self, withdraw: Withdraw) {
        let mut acknowledged = Vec::new();
        for task in withdraw.tasks {
            if self.running_task() == Some(task) && !self.runs_former() {
                self.running_cancelled = true;
            } else if self.take_out(task) {
                self.forget_resume(task);
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
        self.seek_shared();
        if !acknowledged.is_empty() {
            self.out.put(Kind::Withdrawn, |out| {
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
            if !last.bound && !last.former {
                let stays = usize::from(is_announced && self.tasks.is_empty());
                let gives = (last.left.len() - stays).min(asked - tasks.len());
                let given = tasks.len();
                last.give_back(gives as u32, &mut tasks);
                tasks[given..]
                    .iter()
                    .for_each(|task| self.forget_resume(*task));
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
        self.seek_shared();
        self.out
            .put(Kind::Returned, |out| Returned { tasks }.encode(out));
    }
}

fn too_early(kind: Kind) -> String {
    format!("{kind:?} before the handshake was answered")
}

fn text(error: impl ToString) -> String {
    error.to_string()
}
