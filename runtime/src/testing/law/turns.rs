//! Whose tasks go next: the queue, the calls and each map take turns.
//!
//! While an owner has tasks that any slave could be given, no other of its level is served twice without it. It is judged by what
//! waits at the end of a turn: all that is submitted is there before anything is handed out.

use std::collections::{BTreeMap, BTreeSet};

use ringmw_sched::SlaveId;

use crate::testing::law::Law;
use crate::testing::law::tables::{Place, Whose};

#[derive(Default)]
pub(super) struct Turns {
    /// Of the packets of this turn: whose unordered tasks they have, and whether those of the queue were held.
    packets: Vec<(BTreeSet<Whose>, bool)>,
    /// The slaves that are asked in this turn for tasks that they have not begun.
    asked: Vec<SlaveId>,
    /// By who waits: those that were served since it was, or since it came.
    served: BTreeMap<Whose, BTreeSet<Whose>>,
}

impl Turns {
    pub(super) fn on_packet(&mut self, owners: BTreeSet<Whose>, hold: bool) {
        self.packets.push((owners, hold));
    }

    pub(super) fn on_recall(&mut self, id: SlaveId) {
        self.asked.push(id);
    }

    /// Who is served was drawn by something else in this turn.
    pub(super) fn forget_turn(&mut self) {
        self.packets.clear();
        self.asked.clear();
        self.served.clear();
    }

    /// Something of this owner was taken back where it was queued: it may have had nothing else, and came anew since.
    pub(super) fn forget(&mut self, owner: Whose) {
        self.served.remove(&owner);
    }
}

impl Law {
    /// Who was asked for tasks was asked for a reason.
    fn check_recalls(&self, asked: &[SlaveId]) {
        if self.lenient {
            return;
        }
        let idle = self.slaves.values().any(|slave| slave.hands.is_empty());
        assert!(
            asked.is_empty() || idle || self.somebody_is_short(),
            "{asked:?} are asked for tasks, nobody is idle and nobody waits for a share"
        );
    }

    /// Whether an owner with queued tasks that any slave could be given has fewer in hands than slaves are its share.
    fn somebody_is_short(&self) -> bool {
        let mut of: BTreeMap<Whose, (bool, u32)> = BTreeMap::new();
        for task in self.tasks.values().filter(|task| task.needs == 0) {
            let (waits, held) = of.entry(task.whose()).or_default();
            *waits |= task.place == Place::Queued && !task.bound;
            *held += u32::from(matches!(task.place, Place::Held(_)));
        }
        let takers = self
            .slaves
            .values()
            .filter(|slave| slave.group.takes_unordered());
        let takers = takers.count() as u32;
        of.iter().any(|(whose, &(waits, held))| {
            let alike = of
                .iter()
                .filter(|(other, of)| of.0 && other.level() == whose.level());
            waits && held < (takers / (alike.count() as u32).max(1)).max(1)
        })
    }

    pub(super) fn check_turns(&mut self) {
        let asked = std::mem::take(&mut self.turns.asked);
        self.check_recalls(&asked);
        let packets = std::mem::take(&mut self.turns.packets);
        if self.lenient || (packets.is_empty() && asked.is_empty()) {
            return;
        }
        // What needs labels takes no turn: it goes when a slave with them is idle.
        let queued =
            |task: &&super::Task| task.place == Place::Queued && !task.bound && task.needs == 0;
        let waiting: BTreeSet<Whose> = self
            .tasks
            .values()
            .filter(queued)
            .map(super::Task::whose)
            .collect();
        self.turns.served.retain(|owner, _| waiting.contains(owner));
        for who in waiting {
            let since = self.turns.served.entry(who).or_default();
            // Connections are sent to in another order than tasks were handed out.
            let is_served = |(owners, hold): &(BTreeSet<Whose>, bool)| {
                owners.contains(&who) || (*hold && matches!(who, Whose::Queue(..)))
            };
            if packets.iter().any(is_served) {
                since.clear();
                continue;
            }
            for (owners, _) in &packets {
                let twice = owners.intersection(since).next();
                assert!(
                    twice.is_none(),
                    "{twice:?} is served again while {who:?} waits"
                );
                since.extend(owners.iter().filter(|owner| owner.level() == who.level()));
            }
        }
        if !asked.is_empty() {
            // It may have been for who has less than its share, whose turn is next then.
            self.turns.served.clear();
        }
    }
}
