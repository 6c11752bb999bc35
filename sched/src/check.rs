//! The scheduler checks itself: every index and counter is derived again from what it stands for.

use crate::data::counts::Counts;
use crate::data::hands::{Hold, Place};
use crate::data::line::Line;
use crate::data::list::Linked;
use crate::data::record::State;
use crate::data::slaves::Status;
use crate::ids::Group;
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// Panics when an index or a counter disagrees with what it is derived from. It costs all there is, several times
    /// over: for tests.
    pub fn sanity_check(&self) {
        self.tasks.check();
        self.slaves.check();
        let mut counts = Counts::new(self.counts.algorithms());
        self.owners.check(&self.tasks);
        for slot in self.owners.checked_slots(&self.tasks) {
            let record = self.tasks.get(slot);
            assert!(record.bound_to().is_none(), "any slave may run it");
            counts.on_queued(record);
        }
        for (at, slave) in self.slaves.iter() {
            self.check_line(&slave.own, at, &mut counts);
            slave.hands.check();
            let entries = slave.hands.entries();
            for entry in entries.filter(|entry| entry.hold == Hold::Live) {
                let (record, position) = (self.tasks.get(entry.slot), entry.position);
                assert_eq!(
                    (record.seq, record.tasks()),
                    (entry.seq, entry.tasks),
                    "a live entry leads to its tasks"
                );
                let State::Held {
                    slave,
                    position: found,
                } = record.state
                else {
                    panic!("a held task is queued")
                };
                let place = Place {
                    slave: at,
                    position,
                };
                if self.is_twin(entry.slot, place) {
                    continue;
                }
                assert_eq!(
                    (slave, found),
                    (at, position),
                    "a held task leads to its entry"
                );
                counts.running += u64::from(entry.tasks);
            }
        }
        for (_, record) in self.tasks.iter() {
            if matches!(record.state, State::Away) {
                counts.away += u64::from(record.tasks());
                counts.away_bytes += record.queued_bytes();
            }
        }
        let live = self
            .tasks
            .iter()
            .map(|(_, record)| u64::from(record.tasks()));
        assert_eq!(
            live.sum::<u64>(),
            counts.queued + counts.running + counts.away,
            "a live task is queued, held or away"
        );
        self.counts.check(&counts);
        self.check_twins();
        self.check_groups();
        self.check_quarantine();
        self.reserved.check();
    }

    fn check_line(&self, line: &Line, slave: u32, counts: &mut Counts) {
        for (half, of_queue) in [(&line.queue, true), (&line.flows, false)] {
            let slots = half.list.checked_slots(|slot| self.tasks.links(slot));
            assert!(
                slots.is_sorted_by_key(|&slot| self.tasks.get(slot).seq),
                "tasks of a slave are in the order submitted"
            );
            let mut tasks = 0;
            for slot in slots {
                let record = self.tasks.get(slot);
                assert_eq!(
                    record.of_queue(),
                    of_queue,
                    "a task is in the list of its owner"
                );
                let bound_to = record
                    .bound_to()
                    .map(|to| self.slaves.find(to).expect("bound to a connected slave"));
                assert_eq!(bound_to, Some(slave), "a task is in the line of its slave");
                counts.on_queued(record);
                tasks += u64::from(record.tasks());
            }
            assert_eq!(tasks, half.tasks, "a line counts its tasks");
        }
    }

    /// Whether a live entry is where the twin of its task stands.
    fn is_twin(&self, slot: u32, place: Place) -> bool {
        self.twins.get(&slot) == Some(&place)
    }

    fn check_twins(&self) {
        for (&slot, place) in &self.twins {
            let entry = self.slaves.hands(place.slave).at(place.position);
            assert_eq!(
                (entry.slot, entry.hold, entry.seq),
                (slot, Hold::Live, self.tasks.get(slot).seq),
                "a twin leads to its entry"
            );
        }
    }

    fn check_groups(&self) {
        let missing =
            u64::from(self.missing(Group::Ordered)) + u64::from(self.missing(Group::Intermingle));
        let (mut idle, mut working, mut wanted) = (0, 0, 0);
        for (_, slave) in self.slaves.iter() {
            match (slave.group, slave.status) {
                (Group::Unordered, Status::Idle) => idle += 1,
                (Group::Unordered, Status::Busy) => working += 1,
                (Group::Unordered, Status::Wanted) => wanted += 1,
                (_, Status::Wanted) | (Group::Unordered, Status::Leaving) => {
                    panic!("only the other groups' slaves")
                }
                _ => assert!(slave.group.takes_ordered()),
            }
            assert!(
                slave.group.takes_ordered() || slave.own.len() == 0,
                "unordered slaves are not addressed"
            );
        }
        assert!(
            missing == 0 || idle == 0,
            "while slaves are missing no unordered one is idle"
        );
        assert_eq!(
            wanted,
            missing.min(working + wanted),
            "as many are wanted as are missing"
        );
    }
}
