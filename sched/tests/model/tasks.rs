//! What becomes of the model's tasks: submitted, handed out, answered, cancelled.

use ringmw_sched::*;

use super::{Hold, Model, Seen, Slave, Task};

impl Model {
    pub(super) fn submit(&mut self, task: Task, seen: &mut Seen) -> u64 {
        let id = self.task_count();
        let (to, anyway, bytes) = (task.to, task.do_it_anyway, u64::from(task.bytes));
        self.tasks.push(task);
        if bytes + self.task_packet_overhead_bytes > self.task_packet_bytes_max {
            let bytes_max = self.task_packet_bytes_max as u32;
            self.end(
                id,
                Reason::TooLarge {
                    bytes: bytes + self.task_packet_overhead_bytes,
                    bytes_max,
                },
                seen,
            );
            return id;
        }
        if let Some(to) = to {
            let reason = match self.slave(to).map(|slave| slave.group) {
                None => Some(Reason::NoSuchSlave(SlaveId(to))),
                Some(Group::Unordered) => Some(Reason::SlaveTakesNoOrdered(SlaveId(to))),
                Some(_) => None,
            };
            match reason {
                None => self.task(id).bound = Some(to),
                Some(_) if anyway => {}
                Some(reason) => {
                    self.end(id, reason, seen);
                    return id;
                }
            }
        }
        let is_of_map = self.tasks[id as usize].of > 1;
        if !is_of_map && self.queued_bytes() + self.cost(id) > self.queued_bytes_max {
            self.end(
                id,
                Reason::QueueFull {
                    bytes_max: self.queued_bytes_max,
                },
                seen,
            );
            return id;
        }
        self.queue.push(id);
        self.enter(id);
        id
    }

    /// The owner of a queued task stands in the ring, unless it is for one slave alone.
    pub(super) fn enter(&mut self, task: u64) {
        let Task { of, bound, .. } = self.tasks[task as usize];
        if bound.is_none() && !self.ring.contains(&of) {
            self.ring.push(of);
        }
    }

    fn may_go(&self, task: u64) -> bool {
        self.tasks[task as usize].of > 0 || !self.hold
    }

    /// The tasks that this slave could be given now, in order.
    fn work_for(&self, slave: &Slave) -> Vec<u64> {
        let of = |bound: Option<u32>| {
            let bound_so =
                move |task: &u64| self.tasks[*task as usize].bound == bound && self.may_go(*task);
            self.queue.iter().copied().filter(bound_so)
        };
        let in_turn = || {
            let of_owner = move |owner: &u8| {
                let owner = *owner;
                of(None).filter(move |&task| self.tasks[task as usize].of == owner)
            };
            self.ring.iter().flat_map(of_owner)
        };
        match slave.group {
            Group::Ordered => of(Some(slave.id)).collect(),
            Group::Intermingle => of(Some(slave.id)).chain(in_turn()).collect(),
            Group::Unordered => in_turn().collect(),
        }
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn hand_out(&mut self) -> Option<(SlaveId, Vec<(u64, u16, bool)>)> {
        if self.stopped {
            return None;
        }
        let has_work = |id: &&u32| {
            let slave = self.slaves.iter().find(|slave| slave.id == **id).unwrap();
            !self.work_for(slave).is_empty()
        };
        let with_queue = if self.hold { &[][..] } else { &self.with_queue };
        let mut line = self.with_flows.iter().chain(with_queue).chain(&self.idle);
        let id = *line.find(has_work)?;
        let slave = self.slaves.iter().find(|slave| slave.id == id).unwrap();
        let (mut packet, mut bytes) = (vec![], self.task_packet_overhead_bytes);
        for task in self.work_for(slave).into_iter().take(self.task_group) {
            bytes += u64::from(self.tasks[task as usize].bytes);
            if bytes > self.task_packet_bytes_max {
                break;
            }
            packet.push(task);
        }
        self.queue.retain(|task| !packet.contains(task));
        let unbound = |task: &&u64| self.tasks[**task as usize].bound.is_none();
        if let Some(&last) = packet.iter().rfind(unbound) {
            let of = self.tasks[last as usize].of;
            self.ring.retain(|&owner| owner != of);
            self.ring.push(of);
        }
        self.idle.retain(|&idle| idle != id);
        let slave = self.slave(id).unwrap();
        slave.hands = packet.iter().map(|&task| (task, Hold::Live)).collect();
        if slave.group == Group::Unordered {
            self.working.push(id);
        }
        let packet = packet
            .into_iter()
            .map(|task| (task, self.task(task).algorithm, self.task(task).marked));
        Some((SlaveId(id), packet.collect()))
    }

    /// That the slave says something of a task which is its next.
    fn expect_first(&mut self, slave: u32, task: u64) -> Result<&mut Slave, Offence> {
        let Some(slave) = self.slave(slave) else {
            return Err(Offence::NotHeld { task });
        };
        match slave.hands.iter().position(|(held, _)| *held == task) {
            None => Err(Offence::NotHeld { task }),
            Some(0) => Ok(slave),
            Some(_) => Err(Offence::OutOfOrder {
                task,
                expected: slave.hands[0].0,
            }),
        }
    }

    pub(super) fn announce(&mut self, slave: u32, task: u64) -> Result<(), Offence> {
        self.expect_first(slave, task)?.announced = Some(task);
        Ok(())
    }

    /// Whether it is accepted.
    pub(super) fn result(&mut self, id: u32, task: u64, seen: &mut Seen) -> Result<bool, Offence> {
        let slave = self.expect_first(id, task)?;
        let (_, hold) = slave.hands.remove(0);
        if hold == Hold::Live {
            self.tell(task);
        }
        self.on_less_in_hands(id, seen);
        Ok(hold == Hold::Live)
    }

    pub(super) fn withdrawn(
        &mut self,
        id: u32,
        task: u64,
        begun: bool,
        seen: &mut Seen,
    ) -> Result<(), Offence> {
        let Some(slave) = self.slave(id) else {
            return Err(Offence::NotHeld { task });
        };
        let Some(at) = slave.hands.iter().position(|(held, _)| *held == task) else {
            return Err(Offence::NotHeld { task });
        };
        if slave.hands[at].1 != Hold::Withdrawn {
            return Err(Offence::NotWithdrawn { task });
        }
        if begun {
            slave.hands[at].1 = Hold::Begun;
        } else {
            slave.hands.remove(at);
            self.on_less_in_hands(id, seen);
        }
        Ok(())
    }

    fn on_less_in_hands(&mut self, id: u32, seen: &mut Seen) {
        let slave = self.slave(id).unwrap();
        if slave
            .announced
            .is_some_and(|task| slave.hands.iter().all(|(held, _)| *held != task))
        {
            slave.announced = None;
        }
        if !slave.hands.is_empty() {
            return;
        }
        let leaving = slave.leaving;
        self.working.retain(|&working| working != id);
        self.wanted.retain(|&wanted| wanted != id);
        self.idle.push(id);
        if leaving {
            self.freed(id, seen)
        } else {
            self.rebalance(seen)
        }
    }

    /// Whether it was live, and who holds it.
    pub(super) fn cancel(&mut self, task: u64) -> Option<Option<SlaveId>> {
        if !self.is_live(task) {
            return None;
        }
        self.tell(task);
        self.queue.retain(|&queued| queued != task);
        for slave in &mut self.slaves {
            for (held, hold) in &mut slave.hands {
                if (*held, *hold) == (task, Hold::Live) {
                    *hold = Hold::Withdrawn;
                    return Some(Some(SlaveId(slave.id)));
                }
            }
        }
        Some(None)
    }
}
