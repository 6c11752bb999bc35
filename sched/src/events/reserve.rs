//! Reservations: a slave that is somebody's own, for as long as they like.
//!
//! A layer over the ordered group. One that waits for any slave is one more desired there, and the next that arrives is
//! its; one that needs labels takes a slave that has them as soon as one is idle, and is desired from then on. The arrival
//! is not told. One whose slave is gone is not replaced.
//!
//! | event | desire of the ordered group | the slave |
//! |---|---|---|
//! | reserve, no labels | rises by one | comes as any other that is desired |
//! | reserve, labels | as it was, rises with the slave | idle and has them; of busy ones as many as wait get no more work |
//! | given up while it waits | falls by one | |
//! | given up | falls by one | is freed |
//! | the slave is lost or freed | falls by one | |
//!
//! The desire does not fall below the reservations, whatever is deallocated; and what rises and falls here sends no slave
//! home.

use crate::data::reserved::Reservation;
use crate::data::slaves::Status;
use crate::ids::{Group, Needs, SlaveId};
use crate::scheduler::Scheduler;
use crate::series::Series;

impl<P: Series> Scheduler<P> {
    /// A slave is wanted that is somebody's own, with these labels. [`poll_granted`](Self::poll_granted) gives it.
    pub fn reserve(&mut self, needs: Needs) -> Reservation {
        let reservation = self.reserved.add(needs);
        if needs == Needs::NONE {
            self.desire_one_more();
        }
        self.rebalance();
        self.promise();
        reservation
    }

    /// The same, if there is one at once.
    pub fn try_reserve(&mut self, needs: Needs) -> Option<(Reservation, SlaveId)> {
        let reservation = self.reserve(needs);
        match self.reserved.slave_of(reservation) {
            Some(slave) => {
                self.reserved
                    .granted
                    .retain(|granted| granted.0 != reservation);
                Some((reservation, slave))
            }
            None => {
                self.unreserve(reservation);
                None
            }
        }
    }

    /// A reservation is given up, whether it has a slave or waits for one.
    pub fn unreserve(&mut self, reservation: Reservation) {
        if let Some(needs) = self.reserved.stop_waiting(reservation) {
            if needs == Needs::NONE {
                self.desire_one_less();
            }
            self.rebalance();
            self.promise();
        } else if let Some(slave) = self.reserved.give_up(reservation) {
            self.desire_one_less();
            let at = self
                .slaves
                .find(slave)
                .expect("a reserved slave is connected");
            self.send_back(at);
            self.rebalance();
        }
    }

    /// The next reservation that has got its slave.
    pub fn poll_granted(&mut self) -> Option<(Reservation, SlaveId)> {
        self.reserved.granted.pop_front()
    }

    /// The next reservation whose slave is gone, or was freed by its number.
    pub fn poll_ended(&mut self) -> Option<Reservation> {
        self.reserved.ended.pop_front()
    }

    /// Whether one of the two polls has something.
    #[inline]
    pub fn has_reservation_news(&self) -> bool {
        !self.reserved.granted.is_empty() || !self.reserved.ended.is_empty()
    }

    /// Slaves that are reserved and have nothing to do, ascending. Costs those that are reserved.
    pub fn idle_reserved(&self) -> impl Iterator<Item = SlaveId> {
        self.reserved.slaves().filter(|slave| {
            let at = self.slaves.find(*slave);
            at.is_some_and(|at| self.slaves.get(at).status == Status::Idle)
        })
    }

    /// Whether somebody has reserved a slave.
    pub fn is_reserved(&self, slave: SlaveId) -> bool {
        self.reserved.has(slave)
    }

    /// Reservations that wait, and those that have a slave.
    pub fn reservations(&self) -> (usize, usize) {
        let waiting = self.reserved.waiting() + self.reserved.needy();
        (waiting, self.reserved.held())
    }

    /// The least that the ordered group's desire may be.
    pub(crate) fn reserved_of(&self, group: Group) -> u32 {
        match group {
            Group::Ordered => (self.reserved.waiting() + self.reserved.held()) as u32,
            _ => 0,
        }
    }

    /// A slave has come into a group that is told: it is the oldest reservation's that waits, or news.
    pub(crate) fn on_arrival(&mut self, at: u32, group: Group) {
        let id = self.slaves.get(at).id;
        match self.reserved.first(Needs::NONE) {
            Some(reservation) if group == Group::Ordered => self.grant(reservation, id),
            _ => self.connected.push((id, group)),
        }
    }

    fn desire_one_more(&mut self) {
        let desired = &mut self.desired[Group::Ordered as usize];
        *desired = desired.saturating_add(1);
    }

    fn desire_one_less(&mut self) {
        let least = self.reserved_of(Group::Ordered);
        let desired = &mut self.desired[Group::Ordered as usize];
        *desired = desired.saturating_sub(1).max(least);
    }

    fn grant(&mut self, reservation: Reservation, slave: SlaveId) {
        self.reserved.stop_waiting(reservation);
        self.reserved.grant(reservation, slave);
    }

    /// A slave is gone, or was freed by its number: whether it was reserved.
    pub(crate) fn end_reservation(&mut self, slave: SlaveId) -> bool {
        let was_reserved = self.reserved.end(slave);
        if was_reserved {
            self.desire_one_less();
        }
        was_reserved
    }

    /// Reservations that wait take slaves that are there: idle ones with the labels that they need, and ordered ones that
    /// nobody desires any more.
    pub(crate) fn serve_reservations(&mut self) {
        if self.reserved.needy() > 0 {
            let before = self.reserved.needy();
            for needs in self.reserved.needed() {
                while let Some(reservation) = self.reserved.first(needs)
                    && let Some(at) = self.slaves.first_unordered_with(needs)
                {
                    let id = self.slaves.get(at).id;
                    self.desire_one_more();
                    self.move_over(at, Group::Ordered);
                    self.grant(reservation, id);
                }
            }
            if self.reserved.needy() < before {
                self.promise();
            }
        }
        while self.has_spare_ordered()
            && let Some(reservation) = self.reserved.first(Needs::NONE)
            && let Some(id) = self.first_spare_ordered()
        {
            self.grant(reservation, id);
        }
    }

    /// More are ordered than the application desires beside its reservations, and some of those wait.
    fn has_spare_ordered(&self) -> bool {
        if self.reserved.waiting() == 0 {
            return false;
        }
        let members = self.slaves.members(Group::Ordered) as usize - self.reserved.held();
        let desired = self.desired[Group::Ordered as usize] - self.reserved_of(Group::Ordered);
        members > desired as usize
    }

    fn first_spare_ordered(&self) -> Option<SlaveId> {
        let mut ordered = self.slaves.iter().filter(|(_, slave)| {
            let stays = slave.group == Group::Ordered && slave.status != Status::Leaving;
            stays && !self.reserved.has(slave.id)
        });
        ordered.next().map(|(_, slave)| slave.id)
    }

    /// Of busy slaves with the labels that reservations wait for as many as wait get no more work. Looks at all slaves, in
    /// events that are rare.
    pub(crate) fn promise(&mut self) {
        if self.reserved.needy() == 0 && self.slaves.promised() == 0 {
            return;
        }
        let mut missing: Vec<(Needs, usize)> = self
            .reserved
            .needed()
            .into_iter()
            .map(|needs| (needs, self.reserved.waiting_for(needs)))
            .collect();
        let busy = self.slaves.iter().filter(|(_, slave)| {
            let is_busy = slave.group == Group::Unordered && slave.status != Status::Idle;
            is_busy || slave.promised.is_some()
        });
        let busy: Vec<(u32, Option<Needs>)> =
            busy.map(|(at, slave)| (at, slave.promised)).collect();
        // Those that were promised first stay so.
        let promised = busy.iter().filter(|slave| slave.1.is_some());
        let others = busy.iter().filter(|slave| slave.1.is_none());
        let changes: Vec<(u32, Option<Needs>)> = promised
            .chain(others)
            .map(|&(at, before)| {
                let meets = self.slaves.meets(at);
                let same =
                    before.filter(|before| missing.iter().any(|it| it.0 == *before && it.1 > 0));
                let first = || {
                    let mut missing = missing.iter().filter(|it| it.1 > 0);
                    missing
                        .find(|it| meets.binary_search(&it.0).is_ok())
                        .map(|it| it.0)
                };
                let needs = same.or_else(first);
                if let Some(needs) = needs
                    && let Some(left) = missing.iter_mut().find(|it| it.0 == needs)
                {
                    left.1 -= 1;
                }
                (at, needs)
            })
            .collect();
        for (at, needs) in changes {
            self.slaves.set_promised(at, needs);
        }
    }
}
