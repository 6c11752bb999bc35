//! The sentences about tasks: policy, end, poison, limits, grouping, target numbers. One test for each.

use ringmw_sched::*;

const A: AlgorithmId = AlgorithmId(0);
const B: AlgorithmId = AlgorithmId(1);

fn config() -> Config {
    Config {
        task_group: 4,
        crash_limit: 2,
        task_packet_bytes_max: 100,
        ..Config::for_test()
    }
}

fn spec() -> TaskSpec {
    TaskSpec::new(A, Owner::Queue, 10)
}

type Sched = Scheduler<&'static str>;

/// Everything that can be handed out, as text: `SLAVE-0: TASK-0 TASK-1*`, a star for a marked one.
fn hand_out(sched: &mut Sched) -> Vec<String> {
    let mut packets = vec![];
    loop {
        let mut packet = String::new();
        let Some(slave) = sched.hand_out(0, &mut |id, _, Handed { marked, .. }, _| {
            packet += &format!(" {id}{}", if marked { "*" } else { "" });
        }) else {
            return packets;
        };
        sched.sanity_check();
        packets.push(format!("{slave}:{packet}"));
    }
}

/// All that has become unrunnable, as text.
fn ended(sched: &mut Sched) -> Vec<String> {
    sched.sanity_check();
    std::iter::from_fn(|| sched.poll_unrunnable())
        .map(|ended| format!("{}: {}", ended.id, ended.reason))
        .collect()
}

/// A scheduler with one slave in each of these groups.
fn with_slaves(config: Config, groups: &[Group]) -> Sched {
    let mut sched = Sched::new(config, 2);
    for &group in groups {
        if group.takes_ordered() {
            sched.allocate(group, 1);
        }
        assert_eq!(sched.connect().1, group);
    }
    sched
}

/// Which policy leads to which end, when the slave is lost with the task in its hands, or still queued for it.
#[test]
fn a_lost_slave_and_the_policy_of_its_tasks() {
    let again = "";
    let not_retried = "TASK-0: SLAVE-0, which had it, is lost, and it is not to be retried";
    let slave_lost = "TASK-0: its slave SLAVE-0 is lost";
    for (ordered, retry, do_it_anyway, in_hands, queued) in [
        (false, true, false, again, again),
        (false, true, true, again, again),
        (false, false, false, not_retried, again),
        (false, false, true, not_retried, again),
        (true, true, false, slave_lost, slave_lost),
        (true, true, true, again, again),
        (true, false, false, not_retried, slave_lost),
        (true, false, true, not_retried, again),
    ] {
        for (handed_out, expected) in [(true, in_hands), (false, queued)] {
            let row = format!(
                "ordered {ordered}, retry {retry}, anyway {do_it_anyway}, handed out {handed_out}"
            );
            let mut sched = with_slaves(config(), &[Group::Intermingle]);
            let to = ordered.then_some(SlaveId(0));
            sched.submit(
                TaskSpec {
                    policy: Policy {
                        to,
                        retry,
                        do_it_anyway,
                        ..Policy::default()
                    },
                    ..spec()
                },
                "",
                0,
            );
            if handed_out {
                assert_eq!(hand_out(&mut sched), ["SLAVE-0: TASK-0"], "{row}");
            }
            let losses = sched.lose(SlaveId(0), Departure::Crashed);
            assert_eq!(ended(&mut sched).join(""), expected, "{row}");
            assert_eq!(losses.unrunnable, u32::from(!expected.is_empty()), "{row}");
            assert_eq!(
                losses.recycled.len(),
                usize::from(handed_out && expected.is_empty()),
                "{row}"
            );
            assert_eq!(
                losses.rerouted,
                u32::from(ordered && !handed_out && expected.is_empty()),
                "{row}"
            );
            sched.deallocate(Group::Intermingle, 1);
            sched.connect();
            let next = match (expected.is_empty(), handed_out) {
                (false, _) => vec![],
                (true, true) => vec!["SLAVE-1: TASK-0*"],
                (true, false) => vec!["SLAVE-1: TASK-0"],
            };
            assert_eq!(hand_out(&mut sched), next, "{row}");
        }
    }
}

#[test]
fn a_task_for_a_slave_that_can_not_run_it_is_judged_by_do_it_anyway_alone() {
    let gone = SlaveId(0);
    for (to, reason) in [
        (gone, "there is no SLAVE-0"),
        (SlaveId(99), "there is no SLAVE-99"),
        (SlaveId(u32::MAX), "there is no SLAVE-4294967295"),
        (SlaveId(1), "SLAVE-1 takes no ordered tasks"),
    ] {
        for retry in [true, false] {
            let mut sched = with_slaves(config(), &[Group::Unordered, Group::Unordered]);
            sched.lose(gone, Departure::Excused);
            sched.submit(
                TaskSpec {
                    policy: Policy {
                        to: Some(to),
                        retry,
                        ..Policy::default()
                    },
                    ..spec()
                },
                "",
                0,
            );
            sched.submit(
                TaskSpec {
                    policy: Policy {
                        to: Some(to),
                        retry,
                        do_it_anyway: true,
                        ..Policy::default()
                    },
                    ..spec()
                },
                "",
                0,
            );
            assert_eq!(ended(&mut sched), [format!("TASK-0: {reason}")]);
            assert_eq!(hand_out(&mut sched), ["SLAVE-1: TASK-1"]);
        }
    }
}

#[test]
fn an_unrunnable_task_carries_payload_policy_and_reason() {
    let mut sched = with_slaves(config(), &[]);
    let to = Some(SlaveId(7));
    let id = sched.submit(
        TaskSpec {
            algorithm: B,
            owner: Owner::Map(5),
            policy: Policy {
                to,
                retry: false,
                ..Policy::default()
            },
            ..spec()
        },
        "args",
        0,
    );
    let ended = sched.poll_unrunnable().unwrap();
    let reason = Reason::NoSuchSlave(SlaveId(7));
    let (algorithm, owner, payload) = (B, Owner::Map(5), "args");
    assert_eq!(
        ended,
        Unrunnable {
            id,
            algorithm,
            owner,
            policy: Policy {
                to,
                do_it_anyway: false,
                retry: false,
                ..Policy::default()
            },
            payload,
            reason
        }
    );
    assert_eq!(
        (sched.is_live(id), sched.cancel(id), sched.poll_unrunnable()),
        (false, None, None)
    );
}

/// Recycled tasks come before all others, the oldest first, and marked.
#[test]
fn recycled_tasks_go_to_the_front() {
    let mut sched = with_slaves(config(), &[Group::Unordered, Group::Unordered]);
    (0..10).for_each(|_| _ = sched.submit(spec(), "", 0));
    assert_eq!(hand_out(&mut sched).len(), 2);
    let losses = sched.lose(SlaveId(1), Departure::Excused);
    assert_eq!(losses.recycled, [4, 5, 6, 7]);
    let losses = sched.lose(SlaveId(0), Departure::Excused);
    assert_eq!(losses.recycled, [0, 1, 2, 3]);
    sched.connect();
    sched.connect();
    sched.connect();
    let packets = [
        "SLAVE-2: TASK-0* TASK-1* TASK-2* TASK-3*",
        "SLAVE-3: TASK-4* TASK-5* TASK-6* TASK-7*",
        "SLAVE-4: TASK-8 TASK-9",
    ];
    assert_eq!(hand_out(&mut sched), packets);
}

/// An announced task is charged when its slave crashes; goodbyes charge nobody, and neither do tasks not announced.
#[test]
fn poison() {
    let mut sched = with_slaves(config(), &[]);
    let id = sched.submit(spec(), "", 0);
    sched.submit(spec(), "", 0);
    let mut round = |announce, departure, charged: Option<u32>| {
        let (slave, _) = sched.connect();
        assert_eq!(hand_out(&mut sched).len(), 1);
        if announce {
            assert_eq!(sched.announce(slave, 0), Ok(()));
        }
        let losses = sched.lose(slave, departure);
        assert_eq!(losses.charged, charged.map(|crashes| (id, crashes)));
        ended(&mut sched)
    };
    assert!(round(false, Departure::Crashed, None).is_empty());
    assert!(round(true, Departure::Excused, None).is_empty());
    assert!(round(true, Departure::Crashed, Some(1)).is_empty());
    let limit = round(true, Departure::Crashed, Some(2));
    assert_eq!(
        limit,
        [
            "TASK-0: 2 slaves were lost while they ran it; the last, SLAVE-3, lost its connection without a word: it was killed, or left by _exit, or its machine is gone"
        ]
    );
    assert_eq!((sched.is_live(id), sched.queued()), (false, 1));
}

#[test]
fn without_a_crash_limit_there_is_no_poison() {
    let mut sched = with_slaves(
        Config {
            crash_limit: 0,
            ..config()
        },
        &[],
    );
    sched.submit(spec(), "", 0);
    for crashes in 1..50 {
        let (slave, _) = sched.connect();
        hand_out(&mut sched);
        sched.announce(slave, 0).unwrap();
        assert_eq!(
            sched.lose(slave, Departure::Crashed).charged.unwrap().1,
            crashes
        );
    }
    assert_eq!((ended(&mut sched).len(), sched.queued()), (0, 1));
}

/// An announcement is over with its task: the next one is not charged for it, nor is a cancelled one.
#[test]
fn an_announcement_is_for_one_task() {
    let mut sched = with_slaves(config(), &[Group::Unordered, Group::Unordered]);
    let ids = [(); 2].map(|()| sched.submit(spec(), "", 0));
    hand_out(&mut sched);
    sched.announce(SlaveId(0), 0).unwrap();
    sched.result(SlaveId(0), 0).unwrap();
    assert_eq!(sched.lose(SlaveId(0), Departure::Crashed).charged, None);
    hand_out(&mut sched);
    sched.announce(SlaveId(1), 1).unwrap();
    sched.cancel(ids[1]).unwrap();
    let losses = Losses {
        released: 1,
        ..Losses::default()
    };
    assert_eq!(sched.lose(SlaveId(1), Departure::Crashed), losses);
}

/// A result that crosses a withdrawal is late, and no offence; after the acknowledgement there is nothing to answer.
#[test]
fn cancelling_what_a_slave_holds() {
    let held = Some(SlaveId(0));
    for (acknowledged, then) in [
        (None, Ok(None)),
        (Some(true), Ok(None)),
        (Some(false), Err(Offence::NotHeld { task: 0 })),
    ] {
        let mut sched = with_slaves(config(), &[Group::Unordered]);
        let id = sched.submit(
            TaskSpec {
                algorithm: B,
                ..spec()
            },
            "args",
            0,
        );
        hand_out(&mut sched);
        let told = Cancelled {
            id,
            algorithm: B,
            owner: Owner::Queue,
            policy: Policy::default(),
            payload: "args",
            held_by: held,
        };
        assert_eq!(sched.cancel(id), Some(told));
        assert_eq!(
            (sched.cancel(id), sched.is_live(id), sched.runnable()),
            (None, false, 0)
        );
        assert_eq!(
            (sched.held_by(SlaveId(0)), sched.busy()),
            (1, 1),
            "it is in its hands still"
        );
        if let Some(begun) = acknowledged {
            assert_eq!(sched.withdrawn(SlaveId(0), 0, begun), Ok(()));
            assert_eq!(sched.held_by(SlaveId(0)), usize::from(begun));
        }
        assert_eq!(sched.result(SlaveId(0), 0), then);
        assert_eq!(
            sched.result(SlaveId(0), 0),
            Err(Offence::NotHeld { task: 0 })
        );
        assert_eq!((sched.held_by(SlaveId(0)), sched.busy()), (0, 0));
        sched.sanity_check();
    }
}

#[test]
fn cancelling_what_is_queued_tells_nobody_else() {
    let mut sched = with_slaves(config(), &[Group::Ordered]);
    for to in [None, Some(SlaveId(0))] {
        let id = sched.submit(
            TaskSpec {
                policy: Policy {
                    to,
                    ..Policy::default()
                },
                ..spec()
            },
            "args",
            0,
        );
        assert_eq!(sched.cancel(id).unwrap().held_by, None);
        assert_eq!((sched.runnable(), sched.queued_bytes()), (0, 0));
    }
    assert!(hand_out(&mut sched).is_empty());
}

/// The middle of a packet is withdrawn and not begun: the results of its neighbours come as if it had not been there.
#[test]
fn results_come_in_order_around_withdrawn_tasks() {
    let mut sched = with_slaves(config(), &[Group::Unordered]);
    let ids = [(); 4].map(|()| sched.submit(spec(), "", 0));
    hand_out(&mut sched);
    let slave = SlaveId(0);
    assert_eq!(
        sched.result(slave, 1),
        Err(Offence::OutOfOrder {
            task: 1,
            expected: 0
        })
    );
    assert_eq!(
        sched.announce(slave, 2),
        Err(Offence::OutOfOrder {
            task: 2,
            expected: 0
        })
    );
    assert_eq!(
        sched.withdrawn(slave, 1, false),
        Err(Offence::NotWithdrawn { task: 1 })
    );
    sched.cancel(ids[1]).unwrap();
    sched.cancel(ids[2]).unwrap();
    assert!(matches!(sched.result(slave, 0), Ok(Some(_))));
    assert_eq!(
        sched.result(slave, 3),
        Err(Offence::OutOfOrder {
            task: 3,
            expected: 1
        })
    );
    assert_eq!(sched.withdrawn(slave, 2, false), Ok(()));
    assert_eq!(
        sched.withdrawn(slave, 2, false),
        Err(Offence::NotHeld { task: 2 })
    );
    assert_eq!(sched.withdrawn(slave, 1, true), Ok(()));
    assert_eq!(
        sched.withdrawn(slave, 1, true),
        Err(Offence::NotWithdrawn { task: 1 })
    );
    assert_eq!(sched.result(slave, 1), Ok(None));
    assert!(matches!(sched.result(slave, 3), Ok(Some(_))));
    assert_eq!((sched.held_by(slave), sched.busy()), (0, 0));
}

/// What was never given on this connection is an offence, even if it was given on another one.
#[test]
fn a_result_for_a_task_never_given_is_an_offence() {
    let mut sched = with_slaves(config(), &[Group::Unordered, Group::Unordered]);
    sched.submit(spec(), "", 0);
    assert_eq!(hand_out(&mut sched), ["SLAVE-0: TASK-0"]);
    for (slave, task) in [(1, 0), (0, 1), (0, u64::MAX), (99, 0)] {
        assert_eq!(
            sched.result(SlaveId(slave), task),
            Err(Offence::NotHeld { task })
        );
        assert_eq!(
            sched.announce(SlaveId(slave), task),
            Err(Offence::NotHeld { task })
        );
        assert_eq!(
            sched.withdrawn(SlaveId(slave), task, true),
            Err(Offence::NotHeld { task })
        );
    }
    sched.lose(SlaveId(0), Departure::Crashed);
    assert_eq!(
        sched.result(SlaveId(0), 0),
        Err(Offence::NotHeld { task: 0 })
    );
    assert_eq!(hand_out(&mut sched), ["SLAVE-1: TASK-0*"]);
}

#[test]
fn too_large_a_task_is_unrunnable_at_submit() {
    let base = Config {
        task_packet_overhead_bytes: 20,
        ..config()
    };
    for (bytes, reason) in [
        (80, ""),
        (
            81,
            "TASK-0: too large: a packet with it alone has 101 bytes, the limit is 100",
        ),
        (
            u32::MAX,
            "TASK-0: too large: a packet with it alone has 4294967315 bytes, the limit is 100",
        ),
    ] {
        let mut sched = with_slaves(base, &[]);
        sched.submit(
            TaskSpec {
                bytes,
                policy: Policy {
                    do_it_anyway: true,
                    ..Policy::default()
                },
                ..spec()
            },
            "",
            0,
        );
        assert_eq!(ended(&mut sched).join(""), reason);
    }
}

/// Past the bound of queued bytes a submit is unrunnable; what is recycled finds room always.
#[test]
fn a_full_queue() {
    let room = 3 * (Sched::RECORD_BYTES + 10);
    let mut sched = with_slaves(
        Config {
            queued_bytes_max: room,
            ..config()
        },
        &[Group::Unordered],
    );
    (0..4).for_each(|_| _ = sched.submit(spec(), "", 0));
    assert_eq!(
        ended(&mut sched),
        [format!(
            "TASK-3: the queue of tasks is full: the limit is {room} bytes"
        )]
    );
    assert_eq!(sched.queued_bytes(), room);
    hand_out(&mut sched);
    assert_eq!(sched.queued_bytes(), 0);
    (0..3).for_each(|_| _ = sched.submit(spec(), "", 0));
    sched.lose(SlaveId(0), Departure::Crashed);
    assert_eq!(
        (sched.queued_bytes(), ended(&mut sched).len()),
        (2 * room, 0)
    );
}

/// Exactly so many per packet, fewer when there are no more, and never past the limit of bytes.
#[test]
fn packets() {
    for (task_group, bytes, tasks, packets) in [
        (1, 10, 3, vec![1]),
        (2, 10, 5, vec![2]),
        (4, 10, 3, vec![3]),
        (100, 10, 12, vec![10]),
        (100, 60, 3, vec![1]),
        (100, 0, 250, vec![100]),
    ] {
        let mut sched = with_slaves(
            Config {
                task_group,
                ..config()
            },
            &[Group::Unordered],
        );
        (0..tasks).for_each(|_| _ = sched.submit(TaskSpec { bytes, ..spec() }, "", 0));
        let sizes = hand_out(&mut sched)
            .iter()
            .map(|packet| packet.matches("TASK").count())
            .collect::<Vec<_>>();
        assert_eq!(sizes, packets, "{task_group} of {bytes} bytes");
    }
}

/// While the queue of results is full, tasks of flows go on, past those of the queue, also those of one slave.
#[test]
fn back_pressure() {
    let mut sched = with_slaves(config(), &[Group::Intermingle]);
    let flow = TaskSpec {
        owner: Owner::Map(1),
        ..spec()
    };
    let own = |spec: TaskSpec| TaskSpec {
        policy: Policy {
            to: Some(SlaveId(0)),
            ..spec.policy
        },
        ..spec
    };
    for spec in [spec(), flow, own(spec()), own(flow)] {
        sched.submit(spec, "", 0);
    }
    sched.hold_queue_tasks(true);
    assert_eq!(hand_out(&mut sched), ["SLAVE-0: TASK-3 TASK-1"]);
    for task in [3, 1] {
        sched.result(SlaveId(0), task).unwrap();
    }
    assert!(hand_out(&mut sched).is_empty());
    sched.hold_queue_tasks(false);
    assert_eq!(hand_out(&mut sched), ["SLAVE-0: TASK-2 TASK-0"]);
}

/// One that is held back gets nothing, of its own neither; the others are served past it, and it goes on where it was.
#[test]
fn a_slave_that_is_held_back_gets_no_work() {
    let mut sched = with_slaves(config(), &[Group::Intermingle, Group::Unordered]);
    let own = TaskSpec {
        policy: Policy {
            to: Some(SlaveId(0)),
            ..spec().policy
        },
        ..spec()
    };
    sched.submit(own, "", 0);
    sched.submit(spec(), "", 0);
    sched.hold_back(SlaveId(0), true);
    sched.sanity_check();
    assert_eq!(hand_out(&mut sched), ["SLAVE-1: TASK-1"]);
    sched.hold_back(SlaveId(1), true);
    sched.result(SlaveId(1), 1).unwrap();
    sched.submit(spec(), "", 0);
    assert!(hand_out(&mut sched).is_empty());
    // It may change its group all the same.
    sched.allocate(Group::Intermingle, 1);
    assert_eq!(sched.group_of(SlaveId(1)), Some(Group::Intermingle));
    assert!(hand_out(&mut sched).is_empty());
    sched.hold_back(SlaveId(1), false);
    assert_eq!(hand_out(&mut sched), ["SLAVE-1: TASK-2"]);
    sched.hold_back(SlaveId(0), false);
    assert_eq!(hand_out(&mut sched), ["SLAVE-0: TASK-0"]);
    assert_eq!(sched.busy(), 2);
    sched.hold_back(SlaveId(7), true);
}

#[test]
fn after_stop_nothing_is_handed_out() {
    let mut sched = with_slaves(config(), &[Group::Unordered]);
    sched.stop();
    sched.submit(spec(), "", 0);
    assert!(hand_out(&mut sched).is_empty());
    assert_eq!(sched.queued(), 1);
}

/// `upto_target` is what the queue lacks; a task on a slave is not pending, a recycled one is again.
#[test]
fn target_numbers() {
    let mut sched = with_slaves(config(), &[Group::Unordered]);
    sched.set_target(Some(A), 3);
    sched.set_target(None, 4);
    sched.submit(spec(), "", 0);
    (0..2).for_each(|_| {
        _ = sched.submit(
            TaskSpec {
                algorithm: B,
                ..spec()
            },
            "",
            0,
        )
    });
    let numbers = |sched: &Sched, of| (sched.target(of), sched.pending(of), sched.upto_target(of));
    assert_eq!(numbers(&sched, Some(A)), (3, 1, 2));
    assert_eq!(numbers(&sched, Some(B)), (0, 2, 0));
    assert_eq!(numbers(&sched, None), (4, 3, 1));
    hand_out(&mut sched);
    assert_eq!(numbers(&sched, Some(A)), (3, 0, 3));
    assert_eq!((numbers(&sched, None), sched.runnable()), ((4, 0, 4), 3));
    sched.lose(SlaveId(0), Departure::Excused);
    assert_eq!((numbers(&sched, None), sched.runnable()), ((4, 3, 1), 3));
}

/// Times and the slave come with the result: those of the hand-out that led to it.
#[test]
fn an_accepted_result_knows_its_times() {
    let mut sched = with_slaves(config(), &[Group::Unordered, Group::Unordered]);
    let id = sched.submit(
        TaskSpec {
            owner: Owner::Map(9),
            ..spec()
        },
        "args",
        10,
    );
    let mut none = |_: TaskId, _: AlgorithmId, _: Handed, _: &&str| {};
    assert_eq!(sched.hand_out(20, &mut none), Some(SlaveId(0)));
    sched.lose(SlaveId(0), Departure::Crashed);
    assert_eq!(sched.hand_out(30, &mut none), Some(SlaveId(1)));
    let (algorithm, owner, payload, slave) = (A, Owner::Map(9), "args", SlaveId(1));
    let accepted = Accepted {
        id,
        algorithm,
        owner,
        policy: Policy::default(),
        payload,
        slave,
        submitted: 10,
        handed_out: 30,
    };
    assert_eq!(sched.result(SlaveId(1), 0), Ok(Some(accepted)));
    assert_eq!(
        (sched.is_live(id), sched.runnable(), sched.idle()),
        (false, 0, true)
    );
}
