//! Packets ahead of time: a busy slave gets its next packet while there are plenty. What it has not begun comes back
//! when another is idle, see `recall`.
//!
//! | rule | why |
//! |---|---|
//! | a packet ahead only if nobody is idle, and enough is queued for a packet each, or more is to come | who is idle is served first |
//! | more than one only of a size that was given, if all in hand are few and take next to no time together | so that small packets go together too |
//! | and only for tasks known to be short | for long ones the way there and back is nothing, and being held is a risk |
//!
//! Of a slave's own tasks it gets packets ahead by the same rules, but that nobody else could have them: it is enough
//! that there are so many for this slave, and it does not matter who is idle.

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
        let front = self.front()?;
        if self.tasks.get(front).is_alone() {
            return None;
        }
        let compute = self.times.known(self.tasks.get(front).algorithm)?;
        let group = self.ahead_group();
        let plenty = match (self.more_is_to_come(), with_room) {
            (false, Some(_)) => group * u64::from(self.slaves.takers()),
            (false, None) => group * u64::from(self.slaves.takers()) * SHORT_PLENTY,
            _ => group,
        };
        if self.owners.work(self.hold_queue) < plenty || compute > AHEAD_COMPUTE_MAX {
            return None;
        }
        with_room.or_else(|| self.next_with_little(group, compute))
    }

    /// The busy slave that gets a packet of its own tasks ahead of time; a few are looked at.
    pub(crate) fn next_own_ahead(&mut self) -> Option<u32> {
        for of_queue in [false, true] {
            if of_queue && self.hold_queue {
                continue;
            }
            for _ in 0..SHORT_LOOKS.min(self.slaves.with_own_ahead(of_queue)) {
                let at = self.slaves.first_with_own_ahead(of_queue)?;
                if self.may_have_own_ahead(at) {
                    return Some(at);
                }
                self.slaves.pass_over_own(at, of_queue);
            }
        }
        None
    }

    fn may_have_own_ahead(&self, at: u32) -> bool {
        let slave = self.slaves.get(at);
        let group = self.ahead_group();
        let Some(front) = slave.own.front(&self.tasks, self.hold_queue) else {
            return false;
        };
        let Some(compute) = self.times.known(self.tasks.get(front).algorithm) else {
            return false;
        };
        let own = slave.own.work(self.hold_queue);
        let room = slave.hands.has_room();
        let plenty = match room || self.more_is_to_come() {
            true => group,
            false => group * SHORT_PLENTY,
        };
        own >= plenty
            && compute <= AHEAD_COMPUTE_MAX
            && (room || slave.hands.compute_with(group, compute) <= SHORT_COMPUTE)
    }

    /// How many tasks there must be for one packet ahead.
    fn ahead_group(&self) -> u64 {
        match self.config.task_group {
            AUTO => 1,
            number => u64::from(number),
        }
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
