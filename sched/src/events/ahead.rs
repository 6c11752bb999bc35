//! Packets ahead of time: a busy slave gets its next packet while there are plenty. What it has not begun comes back
//! when another is idle, see `recall`.
//!
//! | rule | why |
//! |---|---|
//! | a packet ahead only if nobody is idle, and enough is queued for a packet each, or more is to come | who is idle is served first |
//! | more than one only of a size that was given, if all in hand are few and take next to no time together | so that small packets go together too |
//! | and only for tasks known to be short | for long ones the way there and back is nothing, and being held is a risk |

use crate::config::{AUTO, PACKET_COMPUTE, short_tasks_max};
use crate::ids::{AlgorithmId, Nanos};
use crate::scheduler::Scheduler;
use crate::series::Series;

/// Tasks whose mean compute time is longer are not handed out ahead of time: the gain is below a hundredth.
const AHEAD_COMPUTE_MAX: Nanos = 10 * PACKET_COMPUTE;

/// Short tasks in hand take no longer than this together, the packet to come included. One send then carries several
/// packets, and one answer their results.
const SHORT_COMPUTE: Nanos = PACKET_COMPUTE / 6;
/// Several packets go ahead only while there are so many for each slave.
const SHORT_PLENTY: u64 = 64;
/// So many slaves are looked at for each packet.
const SHORT_LOOKS: u32 = 8;

impl<P: Series> Scheduler<P> {
    /// The busy slave that gets a packet ahead of time.
    pub(crate) fn next_ahead(&mut self) -> Option<u32> {
        if !self.config.prefetch || self.dismissal_is_due() {
            return None;
        }
        let with_room = self.slaves.first_with_room();
        if with_room.is_none() {
            self.slaves.first_with_little()?;
        }
        let front = self.unordered.front(&self.tasks, self.hold_queue)?;
        let compute = self.times.known(self.tasks.get(front).algorithm)?;
        let group = match self.config.task_group {
            AUTO => 1,
            number => u64::from(number),
        };
        let plenty = match (self.more_is_to_come(), with_room) {
            (false, Some(_)) => group * u64::from(self.slaves.takers()),
            (false, None) => group * u64::from(self.slaves.takers()) * SHORT_PLENTY,
            _ => group,
        };
        if self.unordered.work(self.hold_queue) < plenty || compute > AHEAD_COMPUTE_MAX {
            return None;
        }
        with_room.or_else(|| self.next_with_little(group, compute))
    }

    /// The next one in line whose tasks in hand, with another packet, take next to no time; a few are asked.
    fn next_with_little(&mut self, group: u64, compute: Nanos) -> Option<u32> {
        for _ in 0..SHORT_LOOKS {
            let at = self.slaves.first_with_little()?;
            if self.slaves.hands(at).compute_with(group, compute) <= SHORT_COMPUTE {
                return Some(at);
            }
            self.slaves.pass_over(at);
        }
        None
    }

    /// How many tasks of this algorithm a busy slave may hold, whatever bytes a packet may have.
    pub fn hands_of(&self, algorithm: AlgorithmId) -> u32 {
        let group = self.group_of_tasks(algorithm);
        if !self.config.prefetch {
            return group;
        }
        let short = match self.times.known(algorithm) {
            Some(compute) if self.config.task_group != AUTO => SHORT_COMPUTE / compute.max(1),
            _ => 0,
        };
        let most = short_tasks_max(group);
        let short = u32::try_from(short).map_or(most, |short| short.min(most));
        group.saturating_mul(2).max(short)
    }
}
