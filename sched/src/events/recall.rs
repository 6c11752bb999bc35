//! Tasks that a slave has not begun come back when another is idle, or when an owner waits for its share of the slaves.
//!
//! | rule | why |
//! |---|---|
//! | for an idle slave half of what another has not begun is asked for, again and again | nobody knows how long the first of them takes |
//! | for an owner with fewer tasks in hands than slaves are its share, all of it, of one slave at a time | a call is not to wait behind packets of somebody else that take seconds |
//! | only two packets' compute after its last packet, [`PATIENCE`] at least | a packet is sized for less: by then something in it takes long |
//! | never an ordered task, and never without the slave's word that it was not begun | its order; begun at most once |

use crate::config::{AUTO, PACKET_COMPUTE};
use crate::data::hands::{Asked, Hold};
use crate::data::slaves::Status;
use crate::ids::{Nanos, SlaveId};
use crate::offence::Offence;
use crate::scheduler::Scheduler;
use crate::series::Series;

/// So long after its last packet a slave is asked to give tasks back; where slaves are many packets hold more compute, and
/// it is twice that.
pub const PATIENCE: Nanos = 2 * PACKET_COMPUTE;

/// A slave is asked for this many tasks at a time at most.
pub const RECALL_TASKS_MAX: u32 = 4096;

impl<P: Series> Scheduler<P> {
    /// A slave that is to be asked for tasks that it has not begun, and for how many at most: another one is idle and
    /// nothing is queued, or an owner waits that has next to nothing in hands. To be asked after everything was handed
    /// out, until `None`.
    pub fn recall(&mut self, now: Nanos) -> Option<(SlaveId, u32)> {
        let (at, due, owner) = self.next_recalled()?;
        if now < due {
            return None;
        }
        let takeable = self.slaves.hands(at).takeable();
        let tasks = match owner {
            None => takeable.div_ceil(2),
            Some(owner) => {
                self.owners.make_next(owner);
                takeable
            }
        };
        self.slaves.set_asked(at, Asked::Waiting);
        Some((self.slaves.get(at).id, tasks.min(RECALL_TASKS_MAX)))
    }

    /// When [`recall`](Self::recall) has something to say at the earliest, should nothing else happen.
    pub fn recall_due(&self) -> Option<Nanos> {
        self.next_recalled().map(|(_, due, _)| due)
    }

    /// The slave that is asked next, when, and the owner that waits, if it is for one.
    fn next_recalled(&self) -> Option<(u32, Nanos, Option<u32>)> {
        if !self.config.take_back || self.stopped {
            return None;
        }
        let at = self.slaves.first_laden()?;
        if self.owners.has_work(self.hold_queue) {
            let owner = self.next_short()?;
            let front = self.tasks.get(self.owners.front_of(owner));
            let waits = front.submitted + self.patience();
            return Some((at, self.patience_of(at).max(waits), Some(owner)));
        }
        let is_for_idle = !self.hold_queue
            && self.slaves.idle_takers() > self.slaves.asked()
            && self.owners.len() == 0;
        is_for_idle.then(|| (at, self.patience_of(at), None))
    }

    /// The first owner in turn with fewer tasks in hands than slaves are its share. Nobody is idle, and one slave is
    /// asked at a time.
    fn next_short(&self) -> Option<u32> {
        let takers = self.slaves.takers();
        if takers == 0 || self.slaves.idle_takers() > 0 || self.slaves.asked() > 0 {
            return None;
        }
        self.owners.first_short(self.hold_queue, takers)
    }

    fn patience_of(&self, at: u32) -> Nanos {
        let last = self.slaves.hands(at).last_handed_out();
        last.expect("a laden slave holds tasks") + self.patience()
    }

    fn patience(&self) -> Nanos {
        match self.config.task_group {
            AUTO => 2 * self.packet_compute(),
            _ => PATIENCE,
        }
    }

    /// A slave that was asked gives these back, with its word that it has begun none of them: they are queued again,
    /// before all others. Returns those, ascending. One that was cancelled meanwhile is acknowledged by that.
    ///
    /// # Errors
    /// It was not asked; or it does not hold one of them, or that one is for it alone, or was begun.
    pub fn given_back(&mut self, slave: SlaveId, tasks: &[u64]) -> Result<Vec<u64>, Offence> {
        let Some(at) = self.slaves.find(slave) else {
            // It was dismissed with empty hands while its answer was on its way.
            return match tasks.first() {
                None => Ok(Vec::new()),
                Some(&task) => Err(Offence::NotHeld { task }),
            };
        };
        if self.slaves.hands(at).asked != Asked::Waiting || tasks.len() as u32 > RECALL_TASKS_MAX {
            return Err(Offence::NotAsked);
        }
        let mut queued = Vec::with_capacity(tasks.len());
        let mut offence = None;
        let mut rest = tasks;
        while let Some(&last) = rest.first() {
            let entry = match self.slaves.hands(at).takeable_entry(last) {
                Ok(entry) => entry,
                Err(error) => {
                    offence = Some(error);
                    break;
                }
            };
            // Given back from the last one on: as many at once as are of one series.
            let downwards = (entry.seq..=last).rev();
            let taken = downwards.zip(rest).take_while(|(a, b)| a == *b).count();
            rest = &rest[taken..];
            if entry.hold != Hold::Live {
                self.slaves.hands_mut(at).give_back(entry.position);
                continue;
            }
            let first = last + 1 - taken as u64;
            let position = entry.position.wrapping_add((first - entry.seq) as u32);
            let slot = self.cut(entry.slot, first, taken as u32);
            self.slaves.hands_mut(at).give_back(position);
            if self.let_twin_go(slot, at, position) {
                queued.push((first, slot));
            }
        }
        queued.sort_unstable();
        let late = |&(_, slot): &(u64, u32)| self.tasks.get(slot).is_late();
        let queued_again = self.numbers(
            &queued
                .iter()
                .copied()
                .filter(|task| !late(task))
                .collect::<Vec<_>>(),
        );
        for &(_, slot) in queued.iter().rev() {
            let record = self.tasks.get(slot);
            self.counts.running -= u64::from(record.tasks());
            self.owners.on_let_go(record, record.tasks());
            match self.why_late(slot) {
                None => {
                    self.enqueue_front(slot);
                    self.on_not_begun(slot);
                }
                Some(reason) => _ = self.end(slot, reason),
            }
        }
        let queued = queued_again;
        let asked = if tasks.is_empty() {
            Asked::HadNone
        } else {
            Asked::No
        };
        self.slaves.set_asked(at, asked);
        self.slaves.hands_mut(at).first_since = self.clock;
        if self.slaves.get(at).status != Status::Idle {
            self.on_let_go(at);
        }
        offence.map_or(Ok(queued), Err)
    }
}
