//! What the running task and the master say to each other beside its result: a conversation, and how far the task is.
//!
//! ```text
//!   say ──► under way ─────────────► said heard            at most 64 KiB under way, or one message
//!   hear ◄── inbox ◄── say           heard ──►             told when the inbox is empty, else every 32 KiB
//! ```

use std::collections::VecDeque;

use bytes::Bytes;
use ringmw_codec::frame::Kind;
use ringmw_codec::talk::{Heard, Message, Progress, UNDER_WAY_BYTES_MAX, counted_bytes, may_go};
use ringmw_sched::Nanos;

use super::SlaveCore;
use crate::proto::SECOND;
use crate::proto::reason::Raise;

/// What has been heard is told after so many bytes at the latest.
const TOLD_BYTES: u64 = UNDER_WAY_BYTES_MAX / 2;

/// The least time between two words of how far a task is.
pub(crate) const PROGRESS_EVERY: Nanos = SECOND;

/// What becomes of what a running task wants of its conversation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Talked<T> {
    /// This.
    Now(T),
    /// Nothing before something comes.
    Wait,
}

/// Of the running task.
pub(super) struct Talk {
    task: u64,
    /// Of what it said, what the master has not taken.
    under_way: u64,
    inbox: VecDeque<Bytes>,
    /// Of what the master said, what is in the inbox, and what the task has taken and the master does not know.
    unheard: u64,
    untold: u64,
}

#[derive(Default)]
pub(super) struct Progressed {
    /// The last one, until it is said.
    last: Option<(u64, u64)>,
    /// When the next one may be said.
    due_at: Nanos,
}

impl SlaveCore {
    /// A task begins that the master converses with.
    pub(super) fn begin_talk(&mut self, task: u64) {
        self.flush_results();
        self.out.put(Kind::Heard, |out| {
            Heard { task, bytes: 0 }.encode(out);
        });
        self.talk = Some(Talk {
            task,
            under_way: 0,
            inbox: VecDeque::new(),
            unheard: 0,
            untold: 0,
        });
    }

    /// Whether somebody listens to the running task, and still wants it.
    pub fn is_open(&self) -> bool {
        self.talk.is_some() && self.running.is_some() && !self.is_cancelled()
    }

    /// The running task says something: whether it has gone.
    ///
    /// # Errors
    /// When it is larger than what the master reads.
    pub(crate) fn say(&mut self, message: &[u8]) -> Result<Talked<bool>, String> {
        let (Some(welcome), true) = (&self.welcome, self.is_open()) else {
            return Ok(Talked::Now(false));
        };
        let bytes_max = welcome.result_packet_bytes_max as usize - Message::HEADER_BYTES;
        if message.len() > bytes_max {
            return Err(format!(
                "the message of {} bytes is larger than the master reads: at most {bytes_max} bytes; on the master {}",
                message.len(),
                Raise("--mw-max-read-buffer-size", message.len() as u64)
            ));
        }
        let talk = self.talk.as_mut().expect("it is open");
        let counted = counted_bytes(message.len());
        if !may_go(talk.under_way, counted) {
            return Ok(Talked::Wait);
        }
        talk.under_way += counted;
        let task = talk.task;
        self.out.put(Kind::Said, |out| {
            Message { task, message }.encode(out);
        });
        Ok(Talked::Now(true))
    }

    /// What the running task hears next; `None` once nobody listens, or wants it.
    pub(crate) fn hear(&mut self) -> Talked<Option<Bytes>> {
        if !self.is_open() {
            return Talked::Now(None);
        }
        let talk = self.talk.as_mut().expect("it is open");
        let Some(message) = talk.inbox.pop_front() else {
            return Talked::Wait;
        };
        let counted = counted_bytes(message.len());
        talk.unheard -= counted;
        talk.untold += counted;
        if talk.inbox.is_empty() || talk.untold >= TOLD_BYTES {
            let bytes = std::mem::take(&mut talk.untold) as u32;
            let task = talk.task;
            self.out.put(Kind::Heard, |out| {
                Heard { task, bytes }.encode(out);
            });
        }
        Talked::Now(Some(message))
    }

    /// The master says something. To a task that has ended meanwhile it is late.
    pub(super) fn on_say(&mut self, say: Message<'_>) -> Result<(), String> {
        let is_running = self.running_task() == Some(say.task);
        let Some(talk) = self.talk.as_mut().filter(|_| is_running) else {
            return Ok(());
        };
        let counted = counted_bytes(say.message.len());
        if !may_go(talk.unheard + talk.untold, counted) {
            return Err(format!(
                "more is said to TASK-{} than may be under way",
                say.task
            ));
        }
        talk.unheard += counted;
        talk.inbox.push_back(Bytes::copy_from_slice(say.message));
        Ok(())
    }

    /// The master has taken what the task said.
    pub(super) fn on_said_heard(&mut self, heard: Heard) -> Result<(), String> {
        let is_running = self.running_task() == Some(heard.task);
        let Some(talk) = self.talk.as_mut().filter(|_| is_running) else {
            return Ok(());
        };
        talk.under_way = talk
            .under_way
            .checked_sub(heard.bytes.into())
            .ok_or_else(|| format!("more is heard of TASK-{} than it said", heard.task))?;
        Ok(())
    }

    /// The running task is so far; true if it is said later, by [`on_time`](Self::on_time).
    pub fn progress(&mut self, done: u64, total: u64, now: Nanos) -> bool {
        if self.running.is_none() || self.end.is_some() {
            return false;
        }
        let waited = self.progressed.last.replace((done, total)).is_some();
        self.say_progress(now);
        self.progressed.last.is_some() && !waited
    }

    pub(super) fn say_progress(&mut self, now: Nanos) {
        let Some(task) = self.running_task() else {
            return;
        };
        // While the master takes nothing, the last word alone waits.
        if now >= self.progressed.due_at
            && self.out.is_empty()
            && let Some((done, total)) = self.progressed.last.take()
        {
            self.progressed.due_at = now + PROGRESS_EVERY;
            self.flush_results();
            self.out.put(Kind::Progress, |out| {
                Progress { task, done, total }.encode(out);
            });
        }
    }

    /// When the running task's last word of how far it is is due.
    pub(super) fn progress_deadline(&self) -> Nanos {
        match (&self.running, self.progressed.last) {
            (Some(_), Some(_)) if self.out.is_empty() => self.progressed.due_at,
            _ => Nanos::MAX,
        }
    }

    /// The task that ran has ended, or the next one begins.
    pub(super) fn end_talk(&mut self) {
        self.talk = None;
        self.progressed.last = None;
    }
}
