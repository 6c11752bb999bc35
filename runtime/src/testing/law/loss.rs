//! How tasks leave a slave's hands and end, and what becomes of those of a slave that is gone.

use ringmw_sched::{Death, Departure, Group, Owner, Reason, SlaveId};

use crate::io::engine::ConnId;
use crate::testing::coverage::Must;
use crate::testing::law::Law;
use crate::testing::law::tables::{Gone, Hold, Phase, Place, record_bytes};

impl Law {
    pub(super) fn end(&mut self, seq: u64, must: Must) {
        let task = self.tasks.get_mut(&seq).expect("only known tasks end");
        assert!(
            task.must.is_none(),
            "TASK-{seq} ends a second time: {:?}, then {must:?}",
            task.must
        );
        if task.place == Place::Queued {
            self.queued_bytes -= record_bytes(&task.spec);
            let is_late = matches!(must, Must::Unrunnable(Reason::NotBegunInTime { .. }));
            if must == Must::Cancelled || is_late {
                self.turns.forget(task.whose());
            }
        }
        task.place = Place::Ended;
        self.checkpoints.forget(seq);
        let of_queue = task.spec.owner == Owner::Queue;
        self.coverage.end(&must, of_queue, task.marked);
        task.must = Some(must);
    }

    /// A connection is over.
    pub(super) fn lose(&mut self, conn: ConnId, departure: Departure) {
        self.lose_by(conn, departure, Death::Connection);
    }

    /// The same, and how the slave's process has ended.
    pub(super) fn lose_by(&mut self, conn: ConnId, departure: Departure, death: Death) {
        self.on_lost(conn);
        let state = self
            .conns
            .get_mut(&conn)
            .expect("only known connections end");
        let Phase::Slave(id) = std::mem::replace(&mut state.phase, Phase::Dropped) else {
            return;
        };
        let connected = self.slaves.len() as u32;
        let slave = self.slaves.remove(&id).expect("its connection ends once");
        self.needs.forget_slave(id);
        let limit = self.config.rules.sched.crash_limit;
        let limit = limit.min(connected.div_ceil(2).max(2));
        let excused = departure != Departure::Crashed || slave.leaving;
        let first = slave.hands.front().map(|first| first.0);
        let announced = match departure {
            _ if slave.leaving => None,
            Departure::Crashed => slave.announced,
            Departure::Ended => first,
            Departure::Excused | Departure::Goodbye { .. } => None,
        };
        let (mut charged, mut recycled) = (None, 0);
        for (seq, hold) in slave.hands {
            if hold != Hold::Live {
                continue;
            }
            if !self.let_go(seq, id) {
                continue;
            }
            let begun = match departure {
                Departure::Goodbye { begun } if !slave.leaving => begun && first == Some(seq),
                Departure::Ended if !slave.leaving => first == Some(seq),
                _ => true,
            };
            let task = self.tasks.get_mut(&seq).expect("it was handed out");
            if !task.spec.policy.retry && begun {
                self.end(seq, Must::Unrunnable(Reason::NotRetried(id)));
                continue;
            }
            if announced == Some(seq) && task.spec.policy.retry {
                if task.crashes == 0 {
                    task.crash_limit = limit;
                }
                task.crashes += 1;
                charged = Some(seq);
                let crashes = task.crashes;
                if task.crash_limit > 0 && crashes >= task.crash_limit {
                    self.end(
                        seq,
                        Must::Unrunnable(Reason::Crashed {
                            slave: id,
                            crashes,
                            death,
                        }),
                    );
                    continue;
                }
            }
            if task.bound && !task.spec.policy.do_it_anyway {
                self.end(seq, Must::Unrunnable(Reason::SlaveLost(id)));
                continue;
            }
            if let Some(must) = task.why_late() {
                self.end(seq, must);
                continue;
            }
            recycled += 1;
            (task.place, task.marked, task.bound) = (Place::Queued, true, false);
            self.queued_bytes += record_bytes(&task.spec);
            self.coverage.recycled();
        }
        self.bound.retain(|(slave, _)| *slave != id);
        self.reroute(id, Reason::SlaveLost(id));
        let gone = Gone {
            charged,
            excused,
            recycled,
            conn,
            said: false,
        };
        self.gone.insert(id, gone);
    }

    /// A slave takes no more of what is addressed to it.
    pub(super) fn reroute(&mut self, id: SlaveId, reason: Reason) {
        let waiting: Vec<u64> = self
            .tasks
            .iter()
            .filter(|(_, task)| {
                task.place == Place::Queued && task.bound && task.spec.policy.to == Some(id)
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in waiting {
            let task = self.tasks.get_mut(&seq).expect("just found");
            match task.spec.policy.do_it_anyway {
                true => (task.bound, task.rerouted) = (false, true),
                false => self.end(seq, Must::Unrunnable(reason)),
            }
        }
    }

    /// A slave that is freed moves when its hands are empty.
    pub(super) fn on_hands(&mut self, id: SlaveId) {
        let slave = self.slaves.get_mut(&id).expect("it speaks");
        if slave.freed && slave.hands.is_empty() {
            (slave.freed, slave.group) = (false, Group::Unordered);
            slave.stint += 1;
            self.reroute(id, Reason::SlaveTakesNoOrdered(id));
        }
    }

    /// Who else has a task that `id` has answered is told to drop it.
    pub(super) fn drop_twin(&mut self, seq: u64, id: SlaveId) {
        let task = self.tasks.get_mut(&seq).expect("it was handed out");
        let (Some(twin), Place::Held(first)) = (task.twin.take(), task.place) else {
            return;
        };
        self.withdraw(if twin == id { first } else { twin }, seq);
    }

    pub(super) fn withdraw(&mut self, id: SlaveId, seq: u64) {
        let slave = self.slaves.get_mut(&id).expect("it holds the task");
        let held = slave.hands.iter_mut().find(|held| held.0 == seq);
        held.expect("it holds the task").1 = Hold::Withdrawn;
        slave.withdraw.push(seq);
    }

    /// A slave has a task no more, and had not answered it. True: nobody else has it.
    pub(super) fn let_go(&mut self, seq: u64, id: SlaveId) -> bool {
        let task = self.tasks.get_mut(&seq).expect("it was handed out");
        let Some(twin) = task.twin.take() else {
            return true;
        };
        if twin != id {
            task.place = Place::Held(twin);
        }
        false
    }
}
