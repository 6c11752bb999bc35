//! How the model's slaves come, move between groups, and go.

use ringmw_sched::*;

use super::{Hold, Model, Seen, Slave, task_id};

impl Model {
    pub(super) fn connect(&mut self, seen: &mut Seen) -> (SlaveId, Group) {
        let id = self.next_slave;
        self.next_slave += 1;
        let filled = [Group::Ordered, Group::Intermingle]
            .into_iter()
            .find(|&group| self.missing(group) > 0);
        let group = filled.unwrap_or(Group::Unordered);
        self.slaves.push(Slave {
            id,
            group,
            hands: vec![],
            announced: None,
            leaving: false,
        });
        self.idle.push(id);
        if group != Group::Unordered {
            seen.connected.push((SlaveId(id), group));
        }
        self.rebalance(seen);
        (SlaveId(id), group)
    }

    pub(super) fn rebalance(&mut self, seen: &mut Seen) {
        for group in [Group::Ordered, Group::Intermingle] {
            while self.missing(group) > 0 {
                let is_unordered = |id: &u32| {
                    self.slaves
                        .iter()
                        .any(|s| s.id == *id && s.group == Group::Unordered)
                };
                let Some(id) = self.idle.iter().copied().find(is_unordered) else {
                    break;
                };
                self.move_idle(id, group, seen);
                seen.connected.push((SlaveId(id), group));
            }
        }
        let missing = (self.missing(Group::Ordered) + self.missing(Group::Intermingle)) as usize;
        while self.wanted.len() < missing && !self.working.is_empty() {
            let id = self.working.remove(0);
            self.wanted.push(id);
        }
        while self.wanted.len() > missing {
            let id = self.wanted.pop().unwrap();
            self.working.insert(0, id);
        }
    }

    fn move_idle(&mut self, id: u32, to: Group, seen: &mut Seen) {
        let slave = self.slave(id).unwrap();
        let from = std::mem::replace(&mut slave.group, to);
        seen.moved.push((SlaveId(id), from, to));
        self.idle.retain(|&idle| idle != id);
        self.idle.push(id);
    }

    pub(super) fn free(&mut self, id: u32, seen: &mut Seen) -> bool {
        let Some(slave) = self.slave(id) else {
            return false;
        };
        if slave.leaving || slave.group == Group::Unordered {
            return false;
        }
        slave.leaving = true;
        let (group, is_idle) = (slave.group, slave.hands.is_empty());
        self.desire(group, -1, seen);
        if is_idle {
            self.freed(id, seen);
        }
        true
    }

    pub(super) fn freed(&mut self, id: u32, seen: &mut Seen) {
        self.slave(id).unwrap().leaving = false;
        self.move_idle(id, Group::Unordered, seen);
        self.reroute(id, Reason::SlaveTakesNoOrdered(SlaveId(id)), seen);
        self.rebalance(seen);
    }

    /// The tasks queued for a slave that will not take them. Returns how many are rerouted, how many ended.
    fn reroute(&mut self, id: u32, reason: Reason, seen: &mut Seen) -> (u32, u32) {
        let bound = |task: &u64| self.tasks[*task as usize].bound == Some(id);
        let (own, rest): (Vec<u64>, Vec<u64>) = self.queue.iter().partition(|task| bound(task));
        self.queue = rest;
        let mut counts = (0, 0);
        for task in own {
            if self.task(task).do_it_anyway {
                self.task(task).bound = None;
                self.queue.push(task);
                self.enter(task);
                counts.0 += 1;
            } else {
                self.end(task, reason, seen);
                counts.1 += 1;
            }
        }
        counts
    }

    pub(super) fn lose(&mut self, id: u32, crashed: bool, seen: &mut Seen) -> Losses {
        let mut losses = Losses::default();
        let Some(at) = self.slaves.iter().position(|slave| slave.id == id) else {
            return losses;
        };
        let limit = self
            .crash_limit
            .min((self.slaves.len() as u32).div_ceil(2).max(2));
        let slave = self.slaves.remove(at);
        for line in [&mut self.idle, &mut self.working, &mut self.wanted] {
            line.retain(|&other| other != id);
        }
        if slave.group != Group::Unordered {
            seen.disconnected.push((SlaveId(id), slave.group));
        }
        for (task, hold) in slave.hands {
            if hold != Hold::Live {
                losses.released += 1;
                continue;
            }
            if !self.task(task).retry {
                self.end(task, Reason::NotRetried(SlaveId(id)), seen);
                losses.unrunnable += 1;
                continue;
            }
            if crashed && slave.announced == Some(task) {
                let given = self.task(task);
                if given.crashes == 0 {
                    given.crash_limit = limit;
                }
                given.crashes += 1;
                let (crashes, limit) = (given.crashes, given.crash_limit);
                losses.charged = Some((task_id(task), crashes));
                losses.crash_limit = limit;
                if crashes == limit {
                    self.end(
                        task,
                        Reason::Crashed {
                            slave: SlaveId(id),
                            crashes,
                            death: ringmw_sched::Death::Connection,
                        },
                        seen,
                    );
                    losses.unrunnable += 1;
                    continue;
                }
            }
            if self.task(task).bound.is_some() && !self.task(task).do_it_anyway {
                self.end(task, Reason::SlaveLost(SlaveId(id)), seen);
                losses.unrunnable += 1;
                continue;
            }
            (self.task(task).bound, self.task(task).marked) = (None, true);
            losses.recycled.push(task);
        }
        losses.recycled.sort();
        self.queue.splice(0..0, losses.recycled.iter().copied());
        for &task in losses.recycled.iter().rev() {
            self.enter(task);
        }
        let (rerouted, ended) = self.reroute(id, Reason::SlaveLost(SlaveId(id)), seen);
        losses.rerouted = rerouted;
        losses.unrunnable += ended;
        self.rebalance(seen);
        losses
    }

    pub(super) fn desire(&mut self, group: Group, by: i64, seen: &mut Seen) {
        let desired = &mut self.desired[group as usize];
        *desired = (i64::from(*desired) + by).max(0) as u32;
        self.rebalance(seen);
    }

    /// Sees who came to have tasks of their own, and who has none any more.
    pub(super) fn line_up(&mut self) {
        let (tasks, queue) = (&self.tasks, &self.queue);
        self.ring.retain(|&owner| {
            let mut queued = queue.iter().map(|&task| &tasks[task as usize]);
            queued.any(|task| task.of == owner && task.bound.is_none())
        });
        for flow in [true, false] {
            let has = |slave: &Slave| {
                let own = |task: &&u64| {
                    let task = &self.tasks[**task as usize];
                    task.bound == Some(slave.id) && (task.of > 0) == flow
                };
                slave.hands.is_empty() && self.queue.iter().any(|task| own(&task))
            };
            let now: Vec<u32> = self
                .slaves
                .iter()
                .filter(|slave| has(slave))
                .map(|slave| slave.id)
                .collect();
            let line = if flow {
                &mut self.with_flows
            } else {
                &mut self.with_queue
            };
            line.retain(|id| now.contains(id));
            line.extend(
                now.iter()
                    .filter(|id| !line.contains(id))
                    .copied()
                    .collect::<Vec<_>>(),
            );
        }
    }
}
