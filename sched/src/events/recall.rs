//! Tasks that a slave has not begun come back when another is idle.
//!
//! | rule | why |
//! |---|---|
//! | half of what a slave has not begun is asked for, again and again | nobody knows how long the first of them takes |
//! | only [`PATIENCE`] after its last packet | a packet is sized for less: by then something in it takes long |
//! | never an ordered task, and never without the slave's word that it was not begun | its order; begun at most once |

use crate::config::PACKET_COMPUTE;
use crate::data::hands::{Asked, Hold};
use crate::data::slaves::Status;
use crate::ids::{Nanos, SlaveId};
use crate::offence::Offence;
use crate::scheduler::Scheduler;
use crate::series::Series;

/// So long after its last packet a slave is asked to give tasks back.
pub const PATIENCE: Nanos = 2 * PACKET_COMPUTE;

/// A slave is asked for this many tasks at a time at most.
pub const RECALL_TASKS_MAX: u32 = 4096;

impl<P: Series> Scheduler<P> {
    /// A slave that is to be asked for tasks that it has not begun, and for how many at most: another one is idle and
    /// nothing is queued. To be asked after everything was handed out, until `None`.
    pub fn recall(&mut self, now: Nanos) -> Option<(SlaveId, u32)> {
        let at = self.next_recalled()?;
        if now < self.patience_of(at) {
            return None;
        }
        let tasks = self.slaves.hands(at).takeable().div_ceil(2);
        self.slaves.set_asked(at, Asked::Waiting);
        Some((self.slaves.get(at).id, tasks.min(RECALL_TASKS_MAX)))
    }

    /// When [`recall`](Self::recall) has something to say at the earliest, should nothing else happen.
    pub fn recall_due(&self) -> Option<Nanos> {
        Some(self.patience_of(self.next_recalled()?))
    }

    fn next_recalled(&self) -> Option<u32> {
        let wanted = self.config.take_back
            && !self.stopped
            && !self.hold_queue
            && self.slaves.idle_takers() > self.slaves.asked()
            && !self.unordered.has_work(false);
        if wanted {
            self.slaves.first_laden()
        } else {
            None
        }
    }

    fn patience_of(&self, at: u32) -> Nanos {
        let last = self.slaves.hands(at).last_handed_out();
        last.expect("a laden slave holds tasks") + PATIENCE
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
            // Given back from the last one on: as many at once as are of one run.
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
        for &(_, slot) in queued.iter().rev() {
            self.counts.running -= u64::from(self.tasks.get(slot).tasks());
            self.enqueue_front(slot);
        }
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
        let queued = self.numbers(&queued);
        offence.map_or(Ok(queued), Err)
    }
}
