//! The queue, the calls and each map take turns; who has less than its share of the slaves need not wait for packets of
//! others that take long; and a slave's own tasks go ahead like any other.

use ringmw_sched::*;

const QUICK: AlgorithmId = AlgorithmId(0);
const MS: Nanos = 1_000_000;

fn config(task_group: u32) -> Config {
    Config {
        task_group,
        prefetch: true,
        take_back: true,
        ..Config::for_test()
    }
}

fn sched(config: Config, slaves: u32) -> Scheduler<()> {
    let mut sched = Scheduler::new(config, 2);
    (0..slaves).for_each(|_| _ = sched.connect());
    sched
}

fn submit(sched: &mut Scheduler<()>, owner: Owner, tasks: u64) -> Vec<TaskId> {
    let spec = TaskSpec::new(QUICK, owner, 10);
    (0..tasks).map(|_| sched.submit(spec, (), 0)).collect()
}

fn packet(sched: &mut Scheduler<()>, now: Nanos) -> Option<(u32, Vec<u64>)> {
    let mut tasks = Vec::new();
    let slave = sched.hand_out(now, &mut |id, _, _, _| tasks.push(id.seq()))?;
    sched.sanity_check();
    Some((slave.0, tasks))
}

fn answer(sched: &mut Scheduler<()>, slave: u32, tasks: &[u64]) {
    for &task in tasks {
        sched.result(SlaveId(slave), task).expect("it holds it");
    }
    sched.sanity_check();
}

/// Each with what it is submitted as: every packet goes to the only slave, and is answered.
fn order(sched: &mut Scheduler<()>) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some((slave, tasks)) = packet(sched, 0) {
        answer(sched, slave, &tasks);
        order.extend(tasks);
    }
    order
}

#[test]
fn owners_take_turns_and_all_calls_are_one() {
    let mut sched = sched(Config::for_test(), 1);
    submit(&mut sched, Owner::Map(7), 4); // 0..4
    submit(&mut sched, Owner::Queue, 3); // 4..7
    for call in 0..3 {
        submit(&mut sched, Owner::Call(call), 1); // 7..10
    }
    submit(&mut sched, Owner::Map(3), 1); // 10
    assert_eq!(order(&mut sched), [0, 4, 7, 10, 1, 5, 8, 2, 6, 9, 3]);
}

#[test]
fn a_packet_takes_from_the_next_owner_what_the_first_has_not() {
    let config = Config {
        task_group: 4,
        ..Config::for_test()
    };
    let mut sched = sched(config, 1);
    submit(&mut sched, Owner::Call(0), 1); // 0
    submit(&mut sched, Owner::Map(1), 5); // 1..6
    submit(&mut sched, Owner::Map(2), 5); // 6..11
    let packets: Vec<Vec<u64>> = std::iter::from_fn(|| {
        let (slave, tasks) = packet(&mut sched, 0)?;
        answer(&mut sched, slave, &tasks);
        Some(tasks)
    })
    .collect();
    let expected: [&[u64]; 3] = [&[0, 1, 2, 3], &[6, 7, 8, 9], &[4, 5, 10]];
    assert_eq!(packets, expected);
}

#[test]
fn the_queue_is_passed_over_while_it_is_held_and_is_next_then() {
    let mut sched = sched(Config::for_test(), 1);
    submit(&mut sched, Owner::Queue, 2); // 0, 1
    submit(&mut sched, Owner::Map(1), 3); // 2..5
    sched.hold_queue_tasks(true);
    let mut next = |hold| {
        sched.hold_queue_tasks(hold);
        let (slave, tasks) = packet(&mut sched, 0)?;
        answer(&mut sched, slave, &tasks);
        Some(tasks[0])
    };
    let got = [true, true, false, false, false, true].map(&mut next);
    assert_eq!(got, [Some(2), Some(3), Some(0), Some(4), Some(1), None]);
}

/// Case `hol`: it was behind all that the map had queued.
#[test]
fn a_call_beside_a_map_waits_for_a_packet_and_no_more() {
    let mut sched = sched(config(AUTO), 2);
    sched.learn_compute(QUICK, 10 * MS);
    sched.begin_source();
    submit(&mut sched, Owner::Map(0), 100_000);
    while packet(&mut sched, 0).is_some() {}
    let call = submit(&mut sched, Owner::Call(1), 1)[0];
    answer(&mut sched, 0, &[0]);
    assert_eq!(packet(&mut sched, 10 * MS), Some((0, vec![4])));
    answer(&mut sched, 1, &[1]);
    assert_eq!(packet(&mut sched, 10 * MS), Some((1, vec![call.seq()])));
    assert_eq!(sched.held_by(SlaveId(1)), 2, "behind one task of the map");
}

/// Of packets of a thousand tasks of 10 ms two slaves hold 40 s: the call has them back.
#[test]
fn a_call_has_packets_back_that_take_seconds() {
    let mut sched = sched(config(1_000), 2);
    sched.learn_compute(QUICK, 10 * MS);
    sched.begin_source();
    submit(&mut sched, Owner::Map(0), 10_000);
    let mut held = [Vec::new(), Vec::new()];
    while let Some((slave, tasks)) = packet(&mut sched, 0) {
        held[slave as usize].extend(tasks);
    }
    assert_eq!(held.each_ref().map(Vec::len), [2_000, 2_000]);
    assert_eq!(sched.recall_due(), None, "nobody else waits");
    let spec = TaskSpec::new(QUICK, Owner::Call(0), 10);
    let call = sched.submit(spec, (), 10 * MS).seq();
    assert_eq!(packet(&mut sched, 10 * MS), None);
    assert_eq!(sched.recall_due(), Some(10 * MS + PATIENCE));
    assert_eq!(sched.recall(10 * MS), None);
    let now = 10 * MS + PATIENCE;
    assert_eq!(sched.recall(now), Some((SlaveId(0), 1_999)));
    assert_eq!(sched.recall(now), None, "one at a time");
    let begun = held[0][0];
    let back: Vec<u64> = held[0][1..].iter().rev().copied().collect();
    assert_eq!(
        sched.given_back(SlaveId(0), &back).map(|back| back.len()),
        Ok(1_999)
    );
    sched.sanity_check();
    let (slave, tasks) = packet(&mut sched, now).expect("it has room");
    assert_eq!((slave, tasks.len()), (0, 1_000), "full all the same");
    assert_eq!(
        tasks[..2],
        [call, begun + 1],
        "and the map's oldest behind it"
    );
    assert_eq!((packet(&mut sched, now), sched.recall_due()), (None, None));
}

/// Two that both have their share of packets of any size take nothing from one another.
#[test]
fn nothing_is_taken_back_between_owners_that_have_their_share() {
    let mut sched = sched(config(100), 4);
    sched.learn_compute(QUICK, 10 * MS);
    submit(&mut sched, Owner::Map(0), 2_000);
    submit(&mut sched, Owner::Queue, 2_000);
    while packet(&mut sched, 0).is_some() {}
    assert_eq!(sched.queued(), 4_000 - 800);
    assert_eq!(sched.recall_due(), None);
    sched.hold_queue_tasks(true);
    submit(&mut sched, Owner::Map(1), 1);
    assert!(sched.recall_due().is_some(), "one that has nothing");
}

#[test]
fn what_lives_of_a_map_is_found_without_what_others_have() {
    let mut sched = sched(config(1), 1);
    submit(&mut sched, Owner::Queue, 10);
    let ids = submit(&mut sched, Owner::Map(5), 6);
    submit(&mut sched, Owner::Map(6), 3);
    let live = |sched: &Scheduler<()>, map| -> Vec<u64> {
        let live = sched.live_of_map(map);
        live.flat_map(|(first, tasks)| (0..u64::from(tasks)).map(move |nth| first.seq() + nth))
            .collect()
    };
    assert_eq!(live(&sched, 5), [10, 11, 12, 13, 14, 15]);
    assert!(sched.cancel(ids[2]).is_some());
    let (slave, queue) = packet(&mut sched, 0).expect("it is idle");
    answer(&mut sched, slave, &queue);
    let (slave, map) = packet(&mut sched, 0).expect("it is idle");
    assert_eq!(map, [10]);
    assert_eq!(live(&sched, 5), [10, 11, 13, 14, 15], "held ones too");
    answer(&mut sched, slave, &map);
    assert_eq!(live(&sched, 5), [11, 13, 14, 15]);
    for id in ids {
        sched.cancel(id);
    }
    assert_eq!((live(&sched, 5), live(&sched, 6).len()), (vec![], 3));
    sched.sanity_check();
}

/// Case `ord1`: with a packet at a time each waited for the way there and back.
#[test]
fn own_tasks_go_ahead_like_any_other() {
    for group in [Group::Ordered, Group::Intermingle] {
        let ahead = |task_group: u32, compute: Nanos, tasks: u32| -> usize {
            let mut sched = Scheduler::new(config(task_group), 1);
            sched.allocate(group, 2);
            let (slave, _) = sched.connect();
            // An idle one beside it cannot have them.
            sched.connect();
            sched.learn_compute(QUICK, compute);
            let mut spec = TaskSpec::new(QUICK, Owner::Queue, 10);
            spec.policy.to = Some(slave);
            (0..tasks).for_each(|_| _ = sched.submit(spec, (), 0));
            let mut order = Vec::new();
            while let Some((to, packet)) = packet(&mut sched, 0) {
                assert_eq!(to, slave.0);
                order.extend(packet);
            }
            assert!(order.is_sorted(), "in the order submitted");
            sched.held_by(slave)
        };
        assert_eq!(ahead(1, 2_000, 1_000), 64);
        assert_eq!(ahead(10, 2_000, 10_000), 160, "sixteen packets of ten");
        assert_eq!(ahead(1, MS, 1_000), 2);
        assert_eq!(ahead(1, 2_000, 65), 2, "not plenty");
        assert_eq!(ahead(10, 2_000, 19), 10, "no full packet ahead");
        assert_eq!(ahead(1, 1_000 * MS, 1_000), 1, "long ones");
    }
}
