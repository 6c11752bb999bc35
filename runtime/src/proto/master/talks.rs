//! Conversations with running tasks: what is under way either way, and what the application is told of them.
//!
//! The application's messages wait here until the task has begun to listen. A slave that is lost takes what is under way
//! with it: the next one begins anew, as another attempt, and what was said before is of no use to it.
//!
//! Messages are no ends: they reach the application by [`MasterCore::poll_talk`], those of a task before its end.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringmw_codec::audit::Event;
use ringmw_codec::frame::Kind;
use ringmw_codec::talk::{Heard, Message, Progress, UNDER_WAY_BYTES_MAX, counted_bytes, may_go};
use ringmw_sched::{AlgorithmId, Nanos, SlaveId, TaskId};

use super::MasterCore;
use super::conn::{Phase, Stop, offence};
use crate::proto::bytes::SmallBytes;
use crate::proto::conn::ConnId;
use crate::proto::{SECOND, put};

/// What has been taken is told to the task after so many bytes at the latest.
const TOLD_BYTES: u64 = UNDER_WAY_BYTES_MAX / 2;

/// A task and a master that have waited so long for each other are named in the trail, once a conversation.
pub(crate) const STUCK_AFTER: Nanos = 10 * SECOND;

/// What the application is told of a conversation.
#[derive(Debug)]
pub(crate) enum News {
    /// A slave has begun the task: for the first time, or anew.
    Begun { attempt: u32, slave: SlaveId },
    /// The task says something.
    Said(SmallBytes),
    /// More may be said to it.
    Room,
    /// Its slave is lost.
    Lost,
}

/// Why a message does not go.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unsaid {
    /// Too much is under way.
    Full,
    /// Nobody would hear it.
    Nobody,
}

struct Talk {
    algorithm: AlgorithmId,
    /// Where its end is told.
    flow: u32,
    /// How often it was begun.
    attempts: u32,
    /// The slave that listens.
    slave: Option<SlaveId>,
    /// What is said before it was begun first.
    early: Vec<SmallBytes>,
    /// Of what was said to it, early or not, what it has not taken.
    under_way: u64,
    /// Of what it said, what the application has not taken, and what it has taken and the slave does not know.
    untaken: u64,
    untold: u64,
    /// The application waits for room, since then.
    waits: Option<Nanos>,
    said_stuck: bool,
}

#[derive(Default)]
pub(super) struct Talks {
    /// By the number of the task, which is live.
    of: BTreeMap<u64, Talk>,
    news: VecDeque<(u32, u64, News)>,
    /// Where the application waits for room, and since when.
    waiting: BTreeSet<(Nanos, u64)>,
}

impl Talks {
    /// Whether the application converses with a task.
    #[inline]
    pub(super) fn has(&self, task: u64) -> bool {
        !self.of.is_empty() && self.of.contains_key(&task)
    }

    fn waits_no_more(&mut self, task: u64) {
        if let Some(talk) = self.of.get_mut(&task)
            && let Some(since) = talk.waits.take()
        {
            self.waiting.remove(&(since, task));
        }
    }
}

impl MasterCore {
    /// The application converses with a task that it has just submitted, if that has not ended already.
    pub(crate) fn open_talk(&mut self, id: TaskId, algorithm: AlgorithmId, flow: u32) {
        if self.sched.is_live(id) {
            let talk = Talk {
                algorithm,
                flow,
                attempts: 0,
                slave: None,
                early: Vec::new(),
                under_way: 0,
                untaken: 0,
                untold: 0,
                waits: None,
                said_stuck: false,
            };
            self.talks.of.insert(id.seq(), talk);
        }
    }

    /// The next news of a conversation: whose they are, of which task.
    pub(crate) fn poll_talk(&mut self) -> Option<(u32, u64, News)> {
        self.talks.news.pop_front()
    }

    /// The most bytes of a message.
    pub(crate) fn message_bytes_max(&self) -> usize {
        self.config.rules.result_packet_bytes_max as usize - Message::HEADER_BYTES
    }

    /// The application says something to a task, as it knows it: begun so often.
    ///
    /// # Errors
    /// Why it does not go. One that is [`Full`](Unsaid::Full) is said again when there is [`Room`](News::Room).
    pub(crate) fn say(&mut self, task: u64, attempt: u32, message: &[u8]) -> Result<(), Unsaid> {
        let talk = self.talks.of.get_mut(&task).ok_or(Unsaid::Nobody)?;
        let is_lost = talk.attempts > 0 && talk.slave.is_none();
        if is_lost || talk.attempts != attempt {
            return Err(Unsaid::Nobody);
        }
        let counted = counted_bytes(message.len());
        if !may_go(talk.under_way, counted) {
            return Err(Unsaid::Full);
        }
        talk.under_way += counted;
        match talk.slave {
            Some(slave) => self.put_talk(slave, Kind::Say, |out| {
                Message { task, message }.encode(out);
            }),
            None => talk.early.push(SmallBytes::copy_from_slice(message)),
        }
        Ok(())
    }

    /// Whether the application waits for room to say something to a task.
    pub(crate) fn waits_for_room(&mut self, task: u64, waits: bool) {
        if !waits {
            return self.talks.waits_no_more(task);
        }
        if let Some(talk) = self.talks.of.get_mut(&task)
            && talk.waits.is_none()
        {
            talk.waits = Some(self.now);
            self.talks.waiting.insert((self.now, task));
        }
    }

    /// The application has taken, or thrown away, messages of that attempt that count so many bytes.
    pub(crate) fn take_said(&mut self, task: u64, attempt: u32, counted: u64) {
        let Some(talk) = self.talks.of.get_mut(&task) else {
            return;
        };
        let Some(slave) = talk.slave.filter(|_| talk.attempts == attempt) else {
            return;
        };
        talk.untaken -= counted;
        talk.untold += counted;
        if talk.untaken > 0 && talk.untold < TOLD_BYTES {
            return;
        }
        // A message is shorter than 4 GiB, and of several there are few bytes.
        let bytes = std::mem::take(&mut talk.untold) as u32;
        self.put_talk(slave, Kind::SaidHeard, |out| {
            Heard { task, bytes }.encode(out);
        });
    }

    fn put_talk(&mut self, slave: SlaveId, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
        let slot = self.slot_of(slave);
        let state = self.conns[slot]
            .as_mut()
            .expect("a slave has its connection");
        put(&mut state.out, kind, encode);
        let conn = state.id;
        self.mark_dirty(conn);
    }

    /// The conversation of a task that its slave says to run; `None`: it has ended meanwhile.
    fn talk_of(&mut self, slave: SlaveId, task: u64) -> Result<Option<&mut Talk>, Stop> {
        if !self.sched.is_wanted_of(slave, task).map_err(offence)? {
            return Ok(None);
        }
        match self.talks.of.get_mut(&task) {
            Some(talk) => Ok(Some(talk)),
            None => Err(offence(format!("nobody converses with TASK-{task}"))),
        }
    }

    /// A task listens, or has taken what was said.
    pub(super) fn on_heard(&mut self, slave: SlaveId, heard: Heard) -> Result<(), Stop> {
        let Heard { task, bytes } = heard;
        let Some(talk) = self.talk_of(slave, task)? else {
            return Ok(());
        };
        let flow = talk.flow;
        if talk.slave == Some(slave) {
            let left = talk.under_way.checked_sub(bytes.into());
            talk.under_way =
                left.ok_or_else(|| offence(format!("TASK-{task} hears more than was said")))?;
            self.talks.waits_no_more(task);
            self.talks.news.push_back((flow, task, News::Room));
            return Ok(());
        }
        talk.attempts += 1;
        talk.slave = Some(slave);
        let (attempt, early) = (talk.attempts, std::mem::take(&mut talk.early));
        self.talks
            .news
            .push_back((flow, task, News::Begun { attempt, slave }));
        for message in early {
            self.put_talk(slave, Kind::Say, |out| {
                let message = &message;
                Message { task, message }.encode(out);
            });
        }
        Ok(())
    }

    /// A task says something.
    pub(super) fn on_said(&mut self, slave: SlaveId, said: Message<'_>) -> Result<(), Stop> {
        let Message { task, message } = said;
        let Some(talk) = self.talk_of(slave, task)? else {
            return Ok(());
        };
        let counted = counted_bytes(message.len());
        if talk.slave != Some(slave) || !may_go(talk.untaken + talk.untold, counted) {
            return Err(offence(format!(
                "TASK-{task} says more than it may, or before it listens"
            )));
        }
        talk.untaken += counted;
        let (flow, algorithm) = (talk.flow, talk.algorithm);
        let info = self.config.info(algorithm);
        let check = info.check_said.expect("it is conversed with");
        check(message).map_err(|error| {
            let name = info.name;
            offence(format!("a message of TASK-{task} of `{name}`: {error}"))
        })?;
        let message = SmallBytes::copy_from_slice(message);
        self.talks.news.push_back((flow, task, News::Said(message)));
        Ok(())
    }

    /// Tasks were taken from a lost slave and are queued again: whoever listened does no more.
    pub(super) fn interrupt_talks(&mut self, tasks: impl Iterator<Item = u64>) {
        if self.talks.of.is_empty() {
            return;
        }
        for task in tasks {
            if let Some(talk) = self.talks.of.get_mut(&task)
                && talk.slave.take().is_some()
            {
                (talk.under_way, talk.untaken, talk.untold) = (0, 0, 0);
                let flow = talk.flow;
                self.talks.news.push_back((flow, task, News::Lost));
                self.talks.waits_no_more(task);
            }
        }
    }

    /// Tasks have ended, from this number on.
    #[inline]
    pub(super) fn forget_talks(&mut self, first: u64, tasks: u32) {
        if !self.talks.of.is_empty() {
            for task in (first..).take(tasks as usize) {
                self.talks.waits_no_more(task);
                self.talks.of.remove(&task);
            }
        }
    }

    /// Names those that seem to wait for each other.
    pub(super) fn say_stuck(&mut self) {
        while let Some(&(since, task)) = self.talks.waiting.first()
            && self.now >= since + STUCK_AFTER
        {
            self.talks.waiting.remove(&(since, task));
            let talk = self.talks.of.get_mut(&task).expect("it is live");
            if talk.said_stuck {
                continue;
            }
            if talk.untaken == 0 {
                // It alone waits: the task computes. Looked at again after as long.
                talk.waits = Some(self.now);
                self.talks.waiting.insert((self.now, task));
                continue;
            }
            talk.said_stuck = true;
            self.trail.push(Event::Stuck {
                task,
                slave: talk.slave.map(|slave| slave.0),
                unheard: talk.under_way,
                untaken: talk.untaken,
                ms: (self.now - since) / 1_000_000,
            });
        }
    }

    /// What is known of the conversation with a task, for people.
    pub(super) fn talk_lines(&self, task: u64) -> Vec<String> {
        let Some(talk) = self.talks.of.get(&task) else {
            return Vec::new();
        };
        let mut lines = vec![format!(
            "the master converses with it, which was begun {} time(s): of what it said {} bytes are not taken by the master \
             algorithm, of what was said to it {} bytes are not heard by it",
            talk.attempts, talk.untaken, talk.under_way
        )];
        if talk.waits.is_some() {
            lines.push(match talk.untaken {
                0 => "the master algorithm waits to say more to it".to_owned(),
                _ => "the master algorithm waits to say more to it, and takes nothing of what it says: if it waits too, \
                      they wait for each other; call next() beside say()"
                    .to_owned(),
            });
        }
        lines
    }

    /// A task says how far it is.
    pub(super) fn on_progress(
        &mut self,
        conn: ConnId,
        slave: SlaveId,
        progress: Progress,
    ) -> Result<(), Stop> {
        let is_wanted = self.sched.is_wanted_of(slave, progress.task);
        if is_wanted.map_err(offence)?
            && let Some(state) = self.conn_mut(conn)
            && let Phase::Slave { info, .. } = &mut state.phase
        {
            info.progress = Some(progress);
        }
        Ok(())
    }

    /// How far the task is that a slave runs, as it said last.
    pub(crate) fn progress_of(&self, slave: SlaveId) -> Option<Progress> {
        let progress = self.slave(slave)?.0.progress?;
        let (first, _) = self.sched.slave_look(slave)?.first?;
        (first == progress.task).then_some(progress)
    }
}
