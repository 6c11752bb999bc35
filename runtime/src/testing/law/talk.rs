//! Conversations: a task that converses has its slave to itself, and neither side says more than may be under way, or anything
//! before the task listens or after it has ended.
//!
//! What is said, in which order and to which attempt, the script sees whose tasks converse.

use std::collections::BTreeMap;

use ringmw_codec::batch::{CONVERSES, TaskEntryRef};
use ringmw_codec::talk::{Heard, Message, Progress, counted_bytes, may_go};
use ringmw_sched::SlaveId;

use crate::testing::law::Law;
use crate::testing::law::tables::Hold;

/// A task that a slave was given to converse with.
#[derive(Debug)]
struct Talk {
    task: u64,
    listens: bool,
    /// Under way to it, and from it.
    down: u64,
    up: u64,
}

#[derive(Default)]
pub(super) struct Talks {
    of: BTreeMap<SlaveId, Talk>,
    /// Messages that were said, for the reports.
    pub(super) said: u64,
}

impl Law {
    /// An entry of a packet goes to a slave, which has so many tasks in hand.
    pub(super) fn check_converses(&mut self, id: SlaveId, entry: &TaskEntryRef, in_hand: usize) {
        if let Some(talk) = self.talks.of.get(&id) {
            assert!(
                !self.slaves[&id]
                    .hands
                    .iter()
                    .any(|held| held.0 == talk.task),
                "{id} gets TASK-{} behind one that converses",
                entry.task
            );
        }
        if entry.flags & CONVERSES == 0 {
            return;
        }
        let task = entry.task;
        assert!(
            entry.count == 1,
            "TASK-{task}, which converses, is of a series"
        );
        let alone = self.slaves[&id].packet.is_empty();
        assert!(
            alone,
            "TASK-{task}, which converses, is not the only one in its packet: {in_hand} are in hand"
        );
        let talk = Talk {
            task,
            listens: false,
            down: 0,
            up: 0,
        };
        self.talks.of.insert(id, talk);
    }

    /// A task that converses is never given to a second slave.
    pub(super) fn check_no_second(&self, id: SlaveId, task: u64, second: bool) {
        let converses = self.talks.of.values().any(|talk| talk.task == task);
        assert!(
            !second || !converses,
            "TASK-{task} converses, and goes to {id} as a second slave"
        );
    }

    /// What a slave says of its first task: the task, and whether it has not ended. `None`: it is not its first.
    fn first_of(&self, id: SlaveId, task: u64) -> Option<bool> {
        let &(first, hold) = self.slaves[&id].hands.front()?;
        (first == task).then_some(hold == Hold::Live)
    }

    fn talk_of(&mut self, id: SlaveId, task: u64) -> Option<&mut Talk> {
        self.talks.of.get_mut(&id).filter(|talk| talk.task == task)
    }

    pub(super) fn on_said_frame(&mut self, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(said) = Message::decode(payload) else {
            return false;
        };
        let is_live = match self.first_of(id, said.task) {
            Some(is_live) => is_live,
            None => return false,
        };
        if !is_live {
            return true;
        }
        let counted = counted_bytes(said.message.len());
        let Some(talk) = self.talk_of(id, said.task) else {
            return false;
        };
        if !talk.listens || !may_go(talk.up, counted) {
            return false;
        }
        talk.up += counted;
        self.talks.said += 1;
        true
    }

    pub(super) fn on_heard_frame(&mut self, id: SlaveId, payload: &[u8]) -> bool {
        let Ok(heard) = Heard::decode(payload) else {
            return false;
        };
        match self.first_of(id, heard.task) {
            Some(true) => {}
            Some(false) => return true,
            None => return false,
        }
        let Some(talk) = self.talk_of(id, heard.task) else {
            return false;
        };
        if !std::mem::replace(&mut talk.listens, true) {
            return true;
        }
        match talk.down.checked_sub(heard.bytes.into()) {
            Some(left) => talk.down = left,
            None => return false,
        }
        true
    }

    pub(super) fn on_progress_frame(&mut self, id: SlaveId, payload: &[u8]) -> bool {
        let progress = Progress::decode(payload);
        progress.is_ok_and(|progress| self.first_of(id, progress.task).is_some())
    }

    /// The master says something to a task.
    pub(super) fn on_say(&mut self, id: SlaveId, payload: &[u8]) {
        let say = Message::decode(payload).expect("the master's own");
        let (task, counted) = (say.task, counted_bytes(say.message.len()));
        assert_eq!(
            self.first_of(id, task),
            Some(true),
            "something is said to TASK-{task}, which {id} does not run"
        );
        let talk = self.talk_of(id, task);
        let talk = talk.unwrap_or_else(|| panic!("TASK-{task} does not converse"));
        assert!(talk.listens, "TASK-{task} does not listen yet");
        assert!(
            may_go(talk.down, counted),
            "{} bytes are under way to TASK-{task}, and {counted} more are said",
            talk.down
        );
        talk.down += counted;
        self.talks.said += 1;
    }

    /// The master has taken what a task said.
    pub(super) fn on_said_heard(&mut self, id: SlaveId, payload: &[u8]) {
        let heard = Heard::decode(payload).expect("the master's own");
        let task = heard.task;
        let talk = self.talk_of(id, task);
        let talk = talk.unwrap_or_else(|| panic!("TASK-{task} does not converse"));
        let left = talk.up.checked_sub(heard.bytes.into());
        talk.up = left.unwrap_or_else(|| panic!("more is taken of TASK-{task} than it said"));
    }

    /// Of slaves that are gone nothing is known any more.
    pub(super) fn check_talks(&mut self) {
        let slaves = &self.slaves;
        let holds = |id: &SlaveId, task: u64| {
            let hands = slaves.get(id).map(|slave| &slave.hands);
            hands.is_some_and(|hands| hands.iter().any(|held| held.0 == task))
        };
        self.talks.of.retain(|id, talk| holds(id, talk.task));
    }
}
