//! Does every event to the scheduler and to its model, and compares all that can be seen.

use ringmw_sched::*;

use super::{Event, Model, Payload, Seen, Task};

fn payload_of(task: u64) -> Payload {
    task * 7 + 3
}

fn policy_of(task: &Task) -> Policy {
    Policy {
        to: task.to.map(SlaveId),
        do_it_anyway: task.do_it_anyway,
        retry: task.retry,
        ..Policy::default()
    }
}

fn owner_of(task: u64, of: u8) -> Owner {
    match of {
        0 => Owner::Queue,
        1 => Owner::Call(task as u32 + 100),
        map => Owner::Map(map.into()),
    }
}

const ALGORITHMS: u16 = 3;
const HANDED_OUT: Nanos = 77;

/// The scheduler and its model, side by side.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) sched: Scheduler<Payload>,
    pub(crate) model: Model,
    ids: Vec<TaskId>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let sched = Scheduler::new(config, ALGORITHMS.into());
        World {
            sched,
            model: Model::new(config),
            ids: vec![],
        }
    }

    /// Does one event to both, compares what it returns, and all that can be seen after it.
    pub(crate) fn step(&mut self, event: &Event) {
        let mut seen = Seen::default();
        self.apply(event, &mut seen);
        self.model.line_up();
        assert_eq!(self.drain(), seen, "what is told");
    }

    fn apply(&mut self, event: &Event, seen: &mut Seen) {
        let World { sched, model, ids } = self;
        match *event {
            Event::Connect => assert_eq!(sched.connect(), model.connect(seen)),
            Event::Submit {
                to,
                do_it_anyway,
                retry,
                of,
                algorithm,
                bytes,
            } => {
                let (bound, marked, crashes, told) = (None, false, 0, 0);
                let task = Task {
                    to,
                    do_it_anyway,
                    retry,
                    of,
                    algorithm,
                    bytes,
                    bound,
                    marked,
                    crashes,
                    crash_limit: 0,
                    told,
                };
                let seq = model.submit(task.clone(), seen);
                let owner = owner_of(seq, of);
                let algorithm = AlgorithmId(algorithm);
                let spec = TaskSpec {
                    alone: false,
                    algorithm,
                    owner,
                    bytes,
                    policy: policy_of(&task),
                };
                let id = sched.submit(spec, payload_of(seq), 1000 + seq);
                assert_eq!(id.seq(), seq);
                ids.push(id);
            }
            Event::HandOut => {
                let mut packet = vec![];
                let slave = sched.hand_out(HANDED_OUT, &mut |id, algorithm, handed, payload| {
                    let marked = handed.marked;
                    assert_eq!(
                        (id, *payload),
                        (ids[id.seq() as usize], payload_of(id.seq()))
                    );
                    packet.push((id.seq(), algorithm.0, marked));
                });
                assert_eq!(slave.map(|slave| (slave, packet)), model.hand_out());
            }
            Event::Result(slave, task) => {
                let expected = model.result(slave, task, seen);
                match sched.result(SlaveId(slave), task) {
                    Ok(None) => assert_eq!(expected, Ok(false)),
                    Err(offence) => assert_eq!(expected, Err(offence)),
                    Ok(Some(accepted)) => {
                        assert_eq!(expected, Ok(true));
                        let given = &model.tasks[task as usize];
                        let told = Accepted {
                            id: ids[task as usize],
                            algorithm: AlgorithmId(given.algorithm),
                            owner: owner_of(task, given.of),
                            policy: policy_of(given),
                            payload: payload_of(task),
                            slave: SlaveId(slave),
                            submitted: 1000 + task,
                            handed_out: HANDED_OUT,
                        };
                        assert_eq!(accepted, told);
                    }
                }
            }
            Event::Announce(slave, task) => {
                assert_eq!(
                    sched.announce(SlaveId(slave), task),
                    model.announce(slave, task)
                );
            }
            Event::Withdrawn(slave, task, begun) => {
                let expected = model.withdrawn(slave, task, begun, seen);
                assert_eq!(sched.withdrawn(SlaveId(slave), task, begun), expected);
            }
            Event::Lose(slave, crashed) => {
                let departure = if crashed {
                    Departure::Crashed
                } else {
                    Departure::Excused
                };
                assert_eq!(
                    sched.lose(SlaveId(slave), departure),
                    model.lose(slave, crashed, seen)
                );
            }
            Event::Cancel(task) => {
                let cancelled = sched.cancel(ids[task as usize]);
                assert_eq!(
                    cancelled.as_ref().map(|cancelled| cancelled.held_by),
                    model.cancel(task)
                );
                let given = &model.tasks[task as usize];
                if let Some(Cancelled {
                    id,
                    payload,
                    owner,
                    algorithm,
                    ..
                }) = cancelled
                {
                    assert_eq!(id, ids[task as usize]);
                    let told = (payload, owner, algorithm.0);
                    assert_eq!(
                        told,
                        (payload_of(task), owner_of(task, given.of), given.algorithm)
                    );
                }
            }
            Event::Free(slave) => {
                assert_eq!(sched.free_slave(SlaveId(slave)), model.free(slave, seen))
            }
            Event::FreeOf(group) => {
                sched.free_slave_of(group);
                model.desire(group, -1, seen);
            }
            Event::Allocate(group, slaves) => {
                sched.allocate(group, slaves);
                model.desire(group, slaves.into(), seen);
            }
            Event::Deallocate(group, slaves) => {
                sched.deallocate(group, slaves);
                model.desire(group, -i64::from(slaves), seen);
            }
            Event::Hold(hold) => {
                sched.hold_queue_tasks(hold);
                model.hold = hold;
            }
            Event::Stop => {
                sched.stop();
                model.stopped = true;
            }
        }
    }

    /// Takes all news of the scheduler.
    fn drain(&mut self) -> Seen {
        let World { sched, model, ids } = self;
        let mut seen = Seen::default();
        while let Some(ended) = sched.poll_unrunnable() {
            let seq = ended.id.seq();
            let given = &model.tasks[seq as usize];
            assert_eq!(ended.id, ids[seq as usize]);
            assert_eq!(
                (ended.payload, ended.owner),
                (payload_of(seq), owner_of(seq, given.of))
            );
            assert_eq!(
                (ended.algorithm.0, ended.policy),
                (given.algorithm, policy_of(given))
            );
            seen.ended.push((seq, format!("{:?}", ended.reason)));
        }
        seen.moved.extend(std::iter::from_fn(|| sched.poll_moved()));
        let news = (sched.connected_news(), sched.disconnected_news());
        (seen.connected, seen.disconnected) = (sched.take_connected(), sched.take_disconnected());
        assert_eq!(news, (seen.connected.len(), seen.disconnected.len()));
        seen
    }

    /// Compares every number that can be asked, and lets the scheduler check itself.
    pub(crate) fn compare(&self) {
        let World { sched, model, ids } = self;
        sched.sanity_check();
        assert_eq!(sched.queued(), model.queue.len() as u64, "queued");
        assert_eq!(
            sched.runnable(),
            model.queue.len() as u64 + model.running(),
            "runnable"
        );
        assert_eq!(sched.queued_bytes(), model.queued_bytes(), "queued bytes");
        assert_eq!(sched.pending(None), model.queue.len() as u64, "pending");
        for algorithm in 0..ALGORITHMS {
            let of = |task: &&u64| model.tasks[**task as usize].algorithm == algorithm;
            assert_eq!(
                sched.pending(Some(AlgorithmId(algorithm))),
                model.queue.iter().filter(of).count() as u64
            );
        }
        for group in Group::ALL {
            assert_eq!(
                sched.desired(group),
                model.desired(group),
                "desired {group}"
            );
            assert_eq!(
                sched.acquired(group),
                model.acquired(group),
                "acquired {group}"
            );
        }
        let needed: u32 = Group::ALL.iter().map(|&group| model.missing(group)).sum();
        assert_eq!(sched.slaves_needed(), needed.into(), "needed");
        assert_eq!(sched.slaves(), model.slaves.len(), "slaves");
        let busy = model
            .slaves
            .iter()
            .filter(|slave| !slave.hands.is_empty())
            .count();
        assert_eq!(sched.busy(), busy, "busy");
        for id in 0..=model.next_slave {
            let slave = model.slaves.iter().find(|slave| slave.id == id);
            assert_eq!(sched.group_of(SlaveId(id)), slave.map(|slave| slave.group));
            assert_eq!(
                sched.held_by(SlaveId(id)),
                slave.map_or(0, |slave| slave.hands.len())
            );
        }
        for (seq, &id) in (0..).zip(ids) {
            assert_eq!(sched.is_live(id), model.is_live(seq), "{id} is live");
        }
        let nobody = model.acquired(Group::Intermingle) + model.acquired(Group::Unordered) == 0;
        let unbound = model
            .queue
            .iter()
            .filter(|&&task| model.tasks[task as usize].bound.is_none())
            .count();
        let waits = if nobody && !model.slaves.is_empty() {
            unbound as u64
        } else {
            0
        };
        assert_eq!(sched.waits_for_nobody(), waits, "waits for nobody");
        assert_eq!(
            sched.idle(),
            sched.runnable() == 0 && model.desired == [0; 3],
            "idle"
        );
    }

    /// Lets everything come to an end: every slave answers until nothing is left, then the rest is cancelled.
    pub(crate) fn finish(&mut self) {
        self.step(&Event::Hold(false));
        loop {
            self.step(&Event::HandOut);
            let next = self
                .model
                .slaves
                .iter()
                .find_map(|slave| Some((slave.id, *slave.hands.first()?)));
            let Some((slave, (task, _))) = next else {
                break;
            };
            self.step(&Event::Result(slave, task));
        }
        for task in 0..self.model.task_count() {
            self.step(&Event::Cancel(task));
        }
        self.compare();
        assert_eq!(self.sched.runnable(), 0);
        assert!(
            self.model.tasks.iter().all(|task| task.told == 1),
            "every end is told once"
        );
    }
}
