//! The hot path, outwards: tasks go out in packets, and who is served next.

use crate::config::PACKET_COMPUTE_MAX;
use crate::data::hands::Hold;
use crate::data::slaves::Status;
use crate::ids::{AlgorithmId, Nanos, SlaveId, TaskId};
use crate::scheduler::Scheduler;
use crate::series::{HAS_PAYLOAD, Series};
use crate::task::Handed;

impl<P: Series> Scheduler<P> {
    /// Hands the next packet to one slave with room, until `None`. `each` is told every task of the packet in order,
    /// those of a series together, by the first.
    ///
    /// Idle slaves with tasks of their own come first, in the order in which they could be served; then busy ones that
    /// may have some of those ahead; then, for unordered tasks, the idle slave that was served least recently; then, ahead of time, busy slaves with one packet in hand,
    /// or several small ones, while there are plenty of short tasks (`Config::prefetch`). With nothing queued a
    /// straggler may go to an idle slave as well (`Config::duplicate_stragglers`).
    ///
    /// Of unordered tasks a packet takes those of one owner, the queue, the calls, or a map, in the order submitted,
    /// recycled ones first; then, if that has no more, those of the next. Owners take turns, a packet each: those of the
    /// level of priority that competes highest, see [`Config::priority_aging`](crate::Config), and of several such of the
    /// one whose oldest task has waited longest. Tasks that need labels go to idle slaves that have them.
    ///
    /// Slaves in quarantine come last, see [`learn_outcomes`](Self::learn_outcomes).
    ///
    /// Before that tasks end that should have been handed out by now, see [`Policy::start_within`](crate::Policy).
    pub fn hand_out(
        &mut self,
        now: Nanos,
        each: &mut impl FnMut(TaskId, AlgorithmId, Handed, &P),
    ) -> Option<SlaveId> {
        self.clock = now;
        self.expire(now);
        self.see_target();
        let Some(at) = self.next_served() else {
            return self.duplicate(now, each);
        };
        let slave = self.slaves.get(at);
        let (id, group) = (slave.id, slave.group);
        let (is_barred, is_suspect) = (slave.barred, slave.suspect);
        // What needs labels goes to idle slaves alone, and never ahead of time.
        let is_idle = slave.status == Status::Idle;
        let meets = match is_idle {
            true => self.slaves.meets(at).to_vec(),
            false => Vec::new(),
        };
        let bars = is_barred.then(|| self.bars_of(at));
        let mut probed = None;
        let time = (now, self.config.priority_aging);
        if is_idle {
            self.slaves.line_up(at, group, Status::Busy);
        }
        self.slaves.begin_packet(at, now);
        self.expect_first(at);
        let bytes_max = u64::from(self.config.task_packet_bytes_max);
        let bytes_enough = u64::from(self.config.packet_bytes_enough());
        let mut bytes = u64::from(self.config.task_packet_overhead_bytes);
        let mut room = self.room();
        let slave = self.slaves.busy_mut(at);
        let mut served = None;
        for nth in 0u32.. {
            // Its own tasks before unordered ones, as its group allows.
            let own = slave.own.front(&self.tasks, self.hold_queue);
            let owner = match own {
                // Whoever has begun it goes on with it, as long as it has tasks.
                None if group.takes_unordered() && bars.is_some() => {
                    let bars = bars.as_ref().expect("just seen");
                    let allowed = |algorithm, needs| bars.allow(algorithm, needs);
                    // Ahead of time it gets its own alone.
                    let tasks = &self.tasks;
                    is_idle
                        .then(|| {
                            let hold = self.hold_queue;
                            self.owners
                                .pick_allowed(tasks, &meets, hold, time, &allowed)
                        })
                        .flatten()
                }
                None if group.takes_unordered() => match served {
                    Some(owner) if self.owners.is_waiting(owner) => served,
                    _ => self.owners.pick(&self.tasks, &meets, self.hold_queue, time),
                },
                _ => None,
            };
            let slot = match (own, owner) {
                (Some(slot), _) => slot,
                (None, Some(owner)) => self.owners.front_of(owner),
                (None, None) => break,
            };
            let record = self.tasks.get(slot);
            let is_probe = owner.is_some()
                && bars
                    .as_ref()
                    .is_some_and(|bars| bars.is_probe(record.algorithm));
            let is_one = is_probe || (is_suspect && owner.is_some());
            let alone = record.travels_alone() || is_one;
            if alone && nth > 0 {
                break;
            }
            // One of which nothing is known travels alone.
            let compute = self.times.known(record.algorithm);
            let cost = || compute.unwrap_or(PACKET_COMPUTE_MAX);
            let tasks = room.takes(nth == 0, owner.is_some(), record.tasks(), cost);
            if tasks == 0 {
                break;
            }
            let tasks = if is_one { 1 } else { tasks };
            probed = is_probe.then_some(record.algorithm).or(probed);
            // Submit let no task pass that exceeds the limit alone: the first one always fits.
            let (tasks, taken) = match record.fitting(tasks, bytes_enough.saturating_sub(bytes)) {
                (0, _) if nth == 0 => record.fitting(1, bytes_max - bytes),
                fitting => fitting,
            };
            if tasks == 0 {
                break;
            }
            bytes += taken;
            let of_queue = record.of_queue();
            let before = record.queued_bytes();
            let is_all = tasks == record.tasks();
            let (slot, left) = if is_all {
                (slot, 0)
            } else {
                let all = record.bytes_of_tasks();
                let front = self.tasks.split_front(slot, tasks);
                self.owners.on_split(&mut self.tasks, slot, front, all);
                (front, self.tasks.get(slot).queued_bytes())
            };
            let record = self.tasks.get_mut(slot);
            // Another one might not meet its needs.
            let bound = record.bound_to().is_some() || self.owners.is_needy(record);
            let position = slave.hands.push(record.seq, tasks, slot, now, bound);
            slave.hands.expect(self.times.cost(record.algorithm));
            slave.hands.alone = record.is_alone();
            let links = record.take_in_hand(at, position);
            let links = is_all.then_some(links);
            match owner {
                None => slave.own.on_front_gone(of_queue, tasks, links),
                Some(owner) => self.owners.on_front_gone(owner, tasks, links),
            }
            self.owners.on_held(record, tasks);
            served = owner.or(served);
            self.counts.remove(record.algorithm, tasks, before - left);
            self.counts.running += u64::from(tasks);
            each(
                TaskId {
                    seq: record.seq,
                    slot,
                },
                record.algorithm,
                Handed {
                    marked: record.marked(),
                    bound,
                    once: !record.policy().retry,
                },
                record.payload.as_ref().expect(HAS_PAYLOAD),
            );
            if !is_all || alone || room.is_full() {
                break;
            }
        }
        if let Some(owner) = served {
            self.owners.on_served(owner);
        }
        if let Some(algorithm) = probed {
            self.on_probed(at, algorithm);
        }
        self.slaves.on_hands_changed(at);
        Some(id)
    }

    /// Of the packet that a slave has in hand the first task runs: if it takes long, so do those behind it.
    fn expect_first(&mut self, at: u32) {
        let hands = self.slaves.hands(at);
        if !self.slaves.may_have_several() || !hands.expects_nothing() {
            return;
        }
        if let Some(first) = hands.first().filter(|first| first.hold == Hold::Live) {
            let compute = self.times.cost(self.tasks.get(first.slot).algorithm);
            self.slaves.hands_mut(at).expect(compute);
        }
    }

    /// The slave that is served next: it has tasks of its own and is idle or has room, or is idle and there is a task for
    /// it, or nobody is idle and there are plenty.
    fn next_served(&mut self) -> Option<u32> {
        if self.stopped {
            return None;
        }
        let with_own = self.slaves.first_with_own(self.hold_queue);
        if let Some(at) = with_own.or_else(|| self.next_own_ahead()) {
            return Some(at);
        }
        if !self.owners.has_work(self.hold_queue) {
            return self.next_needed().or_else(|| self.next_barred());
        }
        let idle = self.slaves.first_for_unordered();
        idle.or_else(|| self.next_ahead())
            .or_else(|| self.next_barred())
    }

    /// An idle slave that has what a queued task needs; every set of needs is looked at for which tasks are queued.
    fn next_needed(&self) -> Option<u32> {
        let mut needs = self.owners.needs(self.hold_queue);
        needs.find_map(|(needs, _)| self.slaves.first_idle_with(needs))
    }
}
