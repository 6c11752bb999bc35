//! Slaves come, are desired, move between groups and are freed.
//!
//! `rebalance` runs after every event that can open or close a gap, and leaves this behind: if ordered or intermingle
//! fall short, no unordered slave is idle, and as many busy ones as are missing (or all) are wanted; else none is.

use crate::data::line::Line;
use crate::data::slaves::Status;
use crate::end::Reason;
use crate::ids::{Group, Needs, SlaveId};
use crate::loss::Departure;
use crate::scheduler::{Scheduler, shrink};
use crate::series::Series;

/// The groups that take slaves from unordered, in the order of their claims.
const CLAIMING: [Group; 2] = [Group::Ordered, Group::Intermingle];

impl<P: Series> Scheduler<P> {
    /// A slave has connected. It fills ordered first, then intermingle, then unordered.
    pub fn connect(&mut self) -> (SlaveId, Group) {
        let id = SlaveId(self.next_slave);
        self.next_slave =
            id.0.checked_add(1)
                .expect("4 G connections in a run are not foreseen");
        let group = self.short_group().unwrap_or(Group::Unordered);
        let at = self.slaves.add(id, group);
        self.health.add(at);
        if group.takes_ordered() {
            self.on_arrival(at, group);
        }
        self.rebalance();
        (id, group)
    }

    /// Somebody starts another slave in the place of this one, should it be lost: that does not lower the crash limit.
    pub fn keep_crash_limit(&mut self, slave: SlaveId) {
        if let Some(at) = self.slaves.find(slave) {
            self.slaves.keep_limit(at);
        }
    }

    /// So many more slaves are desired.
    pub fn allocate(&mut self, group: Group, slaves: u32) {
        let desired = &mut self.desired[group as usize];
        let before = *desired;
        *desired = desired.saturating_add(slaves);
        let rise = u64::from(*desired - before);
        self.fallen = self.fallen.saturating_sub(rise);
        self.has_allocated |= rise > 0;
        self.rebalance();
    }

    /// So many fewer slaves are desired, down to 0.
    pub fn deallocate(&mut self, group: Group, slaves: u32) {
        self.desire_less(group, slaves);
        self.rebalance();
    }

    fn desire_less(&mut self, group: Group, slaves: u32) {
        let least = self.reserved_of(group);
        let desired = &mut self.desired[group as usize];
        let before = *desired;
        *desired = desired.saturating_sub(slaves).max(least);
        self.fallen += u64::from(before - *desired);
    }

    /// Sends an ordered or intermingle slave back to unordered: its group's desire falls by one now, it gets no more
    /// work, and when its hands are empty it moves; what is still addressed to it then follows `do_it_anyway`.
    /// False: it is unordered, unknown, or was freed before.
    pub fn free_slave(&mut self, slave: SlaveId) -> bool {
        let Some(at) = self.slaves.find(slave) else {
            return false;
        };
        let (group, status) = (self.slaves.get(at).group, self.slaves.get(at).status);
        if !group.takes_ordered() || status == Status::Leaving {
            return false;
        }
        // Not before it goes: a reservation that waits must not get this one.
        if !self.end_reservation(slave) {
            self.desire_less(group, 1);
        }
        self.send_back(at);
        self.rebalance();
        true
    }

    /// An ordered or intermingle slave moves to unordered, at once if its hands are empty.
    pub(crate) fn send_back(&mut self, at: u32) {
        let (group, status) = (self.slaves.get(at).group, self.slaves.get(at).status);
        if status == Status::Idle {
            self.on_freed(at);
        } else {
            self.slaves.line_up(at, group, Status::Leaving);
        }
    }

    /// Lowers the desire of a group by one, and no more.
    pub fn free_slave_of(&mut self, group: Group) {
        self.deallocate(group, 1);
    }

    /// An idle unordered slave that the desire has no use for since it fell, longest idle first: it is to be told to
    /// shut down, and is no slave any more. Ends at the sum of the desires, and never gives more than that fell by.
    ///
    /// To be asked before anything is handed out: a full queue would else keep slaves that nobody desires any more.
    pub fn dismiss(&mut self) -> Option<SlaveId> {
        if !self.dismissal_is_due() {
            return None;
        }
        let at = self.slaves.first_idle(Group::Unordered)?;
        self.fallen -= 1;
        let id = self.slaves.get(at).id;
        self.lose(id, Departure::Excused);
        Some(id)
    }

    pub(crate) fn dismissal_is_due(&self) -> bool {
        let desired: u64 = self.desired.iter().copied().map(u64::from).sum();
        self.fallen > 0 && self.slaves.len() as u64 > desired
    }

    /// Arrivals in ordered and intermingle since the last call, in order.
    pub fn take_connected(&mut self) -> Vec<(SlaveId, Group)> {
        std::mem::take(&mut self.connected)
    }

    /// Losses from ordered and intermingle since the last call, in order.
    pub fn take_disconnected(&mut self) -> Vec<(SlaveId, Group)> {
        std::mem::take(&mut self.disconnected)
    }

    /// The next move of a connected slave: who, from where, to where.
    pub fn poll_moved(&mut self) -> Option<(SlaveId, Group, Group)> {
        let moved = self.moved.pop_front();
        shrink(&mut self.moved);
        moved
    }

    /// Holds a slave back, because it does not read what it is sent: it gets no work, and everything else of it goes on.
    /// Or serves it again. Unknown slaves are passed over.
    pub fn hold_back(&mut self, slave: SlaveId, held_back: bool) {
        if let Some(at) = self.slaves.find(slave) {
            self.slaves.set_held_back(at, held_back);
            if self.reserved.needy() > 0 {
                self.rebalance();
            }
        }
    }

    /// A slave that has just connected has these labels: a key, or a key and a value as `site=fermi`. Unknown slaves are
    /// passed over.
    pub fn label(&mut self, slave: SlaveId, labels: Vec<String>) {
        if let Some(at) = self.slaves.find(slave) {
            self.slaves.set_labels(at, labels);
            self.rebalance();
        }
    }

    /// What stands for a set of labels in [`Policy::needs`](crate::Policy): each a label as it stands, or a key, whatever
    /// its value. Sets are kept for ever; of more than 65,533 different ones the tasks are unrunnable, and so are those that
    /// need more than [`NEEDS_MAX`](crate::NEEDS_MAX) labels, or a label that is none: without a key, or longer than
    /// [`LABEL_BYTES_MAX`](crate::LABEL_BYTES_MAX).
    pub fn needs(&mut self, needs: Vec<String>) -> Needs {
        self.slaves.needs(needs)
    }

    fn short_group(&self) -> Option<Group> {
        CLAIMING.into_iter().find(|&group| self.missing(group) > 0)
    }

    /// See the head of this file.
    pub(crate) fn rebalance(&mut self) {
        self.serve_reservations();
        while let Some(group) = self.short_group()
            && let Some(at) = self.slaves.first_idle(Group::Unordered)
        {
            self.move_over(at, group);
            self.on_arrival(at, group);
        }
        let missing: u64 = CLAIMING
            .into_iter()
            .map(|group| u64::from(self.missing(group)))
            .sum();
        while u64::from(self.slaves.wanted_len()) < missing
            && let Some(at) = self.slaves.first_busy()
        {
            self.slaves.line_up(at, Group::Unordered, Status::Wanted);
        }
        while u64::from(self.slaves.wanted_len()) > missing {
            let at = self.slaves.last_wanted().expect("it is not empty");
            self.slaves.line_up(at, Group::Unordered, Status::Busy);
        }
        self.keep_half(self.clock);
    }

    pub(crate) fn move_over(&mut self, at: u32, to: Group) {
        let (id, from) = (self.slaves.get(at).id, self.slaves.get(at).group);
        self.slaves.line_up(at, to, Status::Idle);
        self.moved.push_back((id, from, to));
    }

    /// A slave has given its last task back.
    pub(crate) fn on_hands_empty(&mut self, at: u32) {
        let slave = self.slaves.get(at);
        debug_assert!(slave.hands.is_empty());
        let (group, is_promised) = (slave.group, slave.promised.is_some());
        match slave.status {
            // Wanted or not: the first one whose hands are empty fills a gap.
            Status::Busy | Status::Wanted => {
                self.slaves.line_up(at, group, Status::Idle);
                if is_promised {
                    self.slaves.set_promised(at, None);
                }
                self.rebalance();
            }
            Status::Leaving => self.on_freed(at),
            Status::Idle => unreachable!("an idle slave holds nothing"),
        }
    }

    /// A slave that is freed has empty hands.
    fn on_freed(&mut self, at: u32) {
        let id = self.slaves.get(at).id;
        let own = self
            .slaves
            .change_own(at, |own| std::mem::replace(own, Line::EMPTY));
        self.move_over(at, Group::Unordered);
        self.reroute(own, Reason::SlaveTakesNoOrdered(id));
        self.rebalance();
    }

    /// The slave that these queued tasks are bound to takes them no more: do it anyway, or not. They go behind all
    /// others, having never been handed out. Returns how many are for any slave now, and how many ended.
    pub(crate) fn reroute(&mut self, mut own: Line, reason: Reason) -> (u32, u32) {
        let (mut rerouted, mut ended) = (0, 0);
        while let Some(slot) = own.front(&self.tasks, false) {
            own.remove(&mut self.tasks, slot);
            self.on_out_of_line(slot);
            if self.tasks.get(slot).policy().do_it_anyway {
                rerouted += self.tasks.get(slot).tasks();
                self.tasks.get_mut(slot).unbind();
                self.enqueue_back(slot);
            } else {
                ended += self.end(slot, reason);
            }
        }
        (rerouted, ended)
    }
}
