//! Slaves that go of their own will: no result that was finished before is lost while the connection lives; and what a
//! slave hears and holds back while it computes.

use std::collections::{BTreeMap, BTreeSet};

use ringmw_sched::Nanos;

use crate::io::engine::ConnId;
use crate::proto::slave::{UNSENT_BYTES, UNSENT_PACKETS, UNSENT_PACKETS_MAX};
use crate::testing::law::Law;

/// Most offers for one place that wait at a slave: one before and one behind each packet of results that may wait, and each that
/// the task which was begun before may add.
const OFFERS_WAITING_MAX: usize = UNSENT_PACKETS_MAX + 3;

/// Packets of results that a slave's socket has not taken whole.
#[derive(Copy, Clone, Debug, Default)]
pub(in crate::testing) struct Unwritten {
    pub(in crate::testing) packets: usize,
    /// Of all but the first, of which the socket may have taken a part.
    pub(in crate::testing) bytes_behind: usize,
}

/// What slaves have finished and the master has not heard.
#[derive(Default)]
pub(super) struct Leaving {
    finished: BTreeMap<ConnId, BTreeSet<u64>>,
    /// Who goes of its own will over a connection that lives.
    going: BTreeSet<ConnId>,
    /// Whose losses are not their own doing, whether they have begun to go or not: one whose connection is cut may hear of
    /// it long after, and go meanwhile.
    excused: BTreeSet<ConnId>,
    /// Tasks that are begun at most once, and where they were.
    begun_once: BTreeMap<u64, ConnId>,
    /// Slaves that went so and whose every result was heard; those of them that had results unsent when they began to go.
    pub(super) gone: u64,
    pub(super) gone_with_unsent: u64,
}

impl Law {
    /// A slave has finished a task, and may still speak.
    pub(in crate::testing) fn on_finished(&mut self, conn: ConnId, task: u64) {
        self.leaving.finished.entry(conn).or_default().insert(task);
    }

    /// The master has heard of its result.
    pub(super) fn on_result_heard(&mut self, conn: ConnId, task: u64) {
        if let Some(finished) = self.leaving.finished.get_mut(&conn) {
            finished.remove(&task);
        }
    }

    /// A slave goes of its own will, so many packets of results not being written.
    pub(in crate::testing) fn on_going(&mut self, conn: ConnId, is_idle: bool, unsent: Unwritten) {
        assert!(
            !is_idle || unsent.packets == 0,
            "the slave on {conn} is idle with {unsent:?}"
        );
        if self.leaving.excused.contains(&conn) {
            return;
        }
        self.leaving.going.insert(conn);
        self.leaving.gone_with_unsent += u64::from(unsent.packets > 0);
    }

    /// The connection is no longer one that lives, or SIGTERM has come: what is lost by it is not the slave's doing, from
    /// now on.
    pub(in crate::testing) fn on_excused(&mut self, conn: ConnId) {
        self.leaving.going.remove(&conn);
        self.leaving.excused.insert(conn);
    }

    /// The process ends. A host that has acknowledged nothing for so long is a lost one.
    pub(in crate::testing) fn on_exit(&mut self, conn: ConnId, unacknowledged_for: Nanos) {
        if unacknowledged_for >= self.config.rules.client_timeout {
            self.on_excused(conn);
        }
    }

    /// The state that a task needs could not be made: it has not begun.
    pub(in crate::testing) fn on_not_begun(&mut self, task: u64) {
        self.leaving.begun_once.remove(&task);
    }

    /// The process ends that was told to go.
    pub(in crate::testing) fn on_goodbye_owed(&self, conn: ConnId, is_owed: bool) {
        assert!(
            !is_owed,
            "the slave on {conn} was told to go, and its goodbye is lost over a link that would have taken it"
        );
    }

    /// So many offers for one place wait at a slave: one between two packets of results that wait, at most.
    pub(in crate::testing) fn on_offers_waiting(&self, conn: ConnId, offers: usize) {
        assert!(
            offers <= OFFERS_WAITING_MAX,
            "{offers} offers for one place wait at the slave on {conn}"
        );
    }

    /// A slave looks at the clock for its beat, whether its socket takes what it says or not: else it says no more that it
    /// lives, and never finds that its master's host is gone.
    pub(in crate::testing) fn on_unlooked(&self, conn: ConnId, unlooked_for: Nanos) {
        assert!(
            unlooked_for <= self.config.rules.client_timeout / 2,
            "the slave on {conn} has not looked at the clock for {} ms",
            unlooked_for / 1_000_000
        );
    }

    /// It has said its last word.
    pub(super) fn check_nothing_left(&mut self, conn: ConnId) {
        let finished = self.leaving.finished.remove(&conn).unwrap_or_default();
        if self.leaving.going.remove(&conn) {
            assert!(
                finished.is_empty(),
                "the slave on {conn} left of its own will, and {finished:?}, which it had finished, are lost"
            );
            self.leaving.gone += 1;
        }
    }

    /// The master has given a connection up: it lives no more.
    pub(super) fn on_lost(&mut self, conn: ConnId) {
        self.on_excused(conn);
        self.leaving.finished.remove(&conn);
    }

    /// All that arrived at a slave has been read, its task running or not.
    pub(in crate::testing) fn on_slave_heard(&self, conn: ConnId, recalls_open: u64) {
        assert!(
            recalls_open == 0,
            "the slave on {conn} has heard {recalls_open} recalls that it does not answer"
        );
    }

    /// A slave begins a task, so many packets of results not being written.
    pub(in crate::testing) fn on_begins(&mut self, conn: ConnId, task: u64, unsent: Unwritten) {
        if (self.tasks.get(&task)).is_some_and(|task| !task.spec.policy.retry)
            && let Some(first) = self.leaving.begun_once.insert(task, conn)
        {
            // A liar gives back what it has begun.
            assert!(
                self.liars.contains(&first),
                "TASK-{task} is begun at most once, and on {first} and on {conn}"
            );
        }
        assert!(
            unsent.packets < UNSENT_PACKETS
                || (unsent.packets < UNSENT_PACKETS_MAX
                    && unsent.bytes_behind < UNSENT_BYTES as usize),
            "the slave on {conn} begins a task with {unsent:?}"
        );
    }

    /// Slaves that left of their own will, and those of them that had results unsent.
    pub(in crate::testing) fn went(&self) -> (u64, u64) {
        (self.leaving.gone, self.leaving.gone_with_unsent)
    }
}
