//! Packets ahead of time, tasks taken back, stragglers duplicated: each rule by itself, then the law in random runs
//! with slaves that compute one task after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, RngSeed};
use ringmw_sched::*;

const QUICK: AlgorithmId = AlgorithmId(0);
const MS: Nanos = 1_000_000;

fn config() -> Config {
    Config {
        prefetch: true,
        take_back: true,
        ..Config::for_test()
    }
}

fn submit(sched: &mut Scheduler<()>, tasks: u64) -> Vec<u64> {
    let spec = TaskSpec::new(QUICK, Owner::Queue, 10);
    (0..tasks)
        .map(|_| sched.submit(spec, (), 0).seq())
        .collect()
}

fn packet(sched: &mut Scheduler<()>, now: Nanos) -> Option<(SlaveId, Vec<u64>)> {
    let mut tasks = Vec::new();
    let slave = sched.hand_out(now, &mut |id, _, _, _| tasks.push(id.seq()))?;
    sched.sanity_check();
    Some((slave, tasks))
}

fn packets(sched: &mut Scheduler<()>, now: Nanos) -> Vec<(u32, Vec<u64>)> {
    std::iter::from_fn(|| packet(sched, now))
        .map(|(slave, tasks)| (slave.0, tasks))
        .collect()
}

fn answer(sched: &mut Scheduler<()>, slave: u32, task: u64) -> bool {
    let verdict = sched.result(SlaveId(slave), task).expect("it holds it");
    sched.sanity_check();
    verdict.is_some()
}

#[test]
fn a_busy_slave_has_its_next_packet_in_hand_and_no_more() {
    let mut sched = Scheduler::new(config(), 1);
    sched.connect();
    sched.connect();
    submit(&mut sched, 20);
    assert_eq!(
        packets(&mut sched, 0),
        [(0, vec![0]), (1, vec![1])],
        "nothing is known of them"
    );
    sched.learn_compute(QUICK, MS);
    assert_eq!(packets(&mut sched, 1), [(0, vec![2]), (1, vec![3])]);
    assert!(answer(&mut sched, 1, 1));
    assert_eq!(
        packets(&mut sched, 2),
        [(1, vec![4])],
        "the first one is done"
    );
    assert_eq!(packets(&mut sched, 2), []);
}

#[test]
fn nothing_goes_ahead_of_time_that_is_long_or_scarce() {
    let mut sched = Scheduler::new(config(), 1);
    sched.connect();
    sched.connect();
    submit(&mut sched, 3);
    sched.learn_compute(QUICK, MS);
    assert_eq!(packets(&mut sched, 0).len(), 2);
    assert_eq!(
        sched.queued(),
        1,
        "one for two slaves: who is idle first has it"
    );
    submit(&mut sched, 1_000);
    for _ in 0..200 {
        sched.learn_compute(QUICK, 1_000 * MS);
    }
    assert_eq!(packets(&mut sched, 0), []);
}

/// While a source submits as tasks end, a queue that is short is no sign of the end.
/// One send then carries many small packets, and one answer their results.
#[test]
fn small_packets_of_short_tasks_go_many_at_a_time() {
    let ahead = |group: u32, compute: Nanos, tasks: u64| -> Vec<usize> {
        let config = Config {
            task_group: group,
            ..config()
        };
        let mut sched = Scheduler::new(config, 1);
        sched.connect();
        sched.connect();
        sched.learn_compute(QUICK, compute);
        assert_eq!(sched.hands_of(QUICK), sched.hands_of(QUICK).max(2 * group));
        submit(&mut sched, tasks);
        packets(&mut sched, 0);
        sched.sanity_check();
        (0..2).map(|slave| sched.held_by(SlaveId(slave))).collect()
    };
    let quick = 2_000;
    assert_eq!(ahead(1, quick, 10_000), [64, 64]);
    assert_eq!(
        ahead(10, quick, 20_000),
        [160, 160],
        "sixteen packets of ten"
    );
    assert_eq!(ahead(33, quick, 20_000), [231, 231], "500 us of compute");
    assert_eq!(ahead(33, 500, 50_000), [528, 528], "sixteen packets");
    assert_eq!(ahead(100, quick, 100_000), [200, 200], "500 us of compute");
    assert_eq!(ahead(100, 100, 100_000), [1_600, 1_600], "sixteen packets");
    assert_eq!(
        ahead(200, 100, 100_000),
        [1_600, 1_600],
        "no more tasks than that"
    );
    assert_eq!(ahead(400, 500, 100_000), [800, 800], "two");
    assert_eq!(ahead(1, 100_000, 10_000), [5, 5], "500 us of compute");
    assert_eq!(ahead(1, MS, 10_000), [2, 2]);
    let few = ahead(1, quick, 129);
    assert_eq!(few, [2, 2], "no more than two where there are not plenty");
}

#[test]
fn who_has_less_in_hand_comes_first() {
    let mut sched = Scheduler::new(config(), 1);
    sched.learn_compute(QUICK, 2_000);
    sched.begin_source();
    sched.connect();
    submit(&mut sched, 64);
    assert_eq!(packets(&mut sched, 0).len(), 64);
    sched.connect();
    submit(&mut sched, 3);
    let to: Vec<u32> = packets(&mut sched, 0)
        .into_iter()
        .map(|(to, _)| to)
        .collect();
    assert_eq!(to, [1, 1, 1]);
    assert!(answer(&mut sched, 0, 0));
    submit(&mut sched, 2);
    let to: Vec<u32> = packets(&mut sched, 0)
        .into_iter()
        .map(|(to, _)| to)
        .collect();
    assert_eq!(to, [1, 0], "in the order in which they could be served");
    sched.sanity_check();
}

/// Else they would wait for it.
#[test]
fn short_tasks_do_not_pile_up_behind_a_long_one() {
    const LONG: AlgorithmId = AlgorithmId(1);
    let mut sched = Scheduler::new(config(), 2);
    sched.learn_compute(QUICK, 2_000);
    sched.learn_compute(LONG, 20 * MS);
    sched.begin_source();
    (0..2).for_each(|_| _ = sched.connect());
    sched.submit(TaskSpec::new(LONG, Owner::Queue, 10), (), 0);
    submit(&mut sched, 1_000);
    packets(&mut sched, 0);
    let held = |slave| sched.held_by(SlaveId(slave));
    assert_eq!((held(0), held(1)), (2, 64));
    sched.sanity_check();
}

#[test]
fn packets_are_full_while_there_is_more_to_come() {
    let config = Config {
        task_group: AUTO,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    sched.connect();
    sched.learn_compute(QUICK, MS);
    sched.begin_source();
    submit(&mut sched, 8);
    let sizes = |packets: Vec<(u32, Vec<u64>)>| -> Vec<(u32, usize)> {
        packets
            .into_iter()
            .map(|(to, tasks)| (to, tasks.len()))
            .collect()
    };
    assert_eq!(sizes(packets(&mut sched, 0)), [(0, 3), (1, 3), (0, 2)]);
    sched.end_source();
    (0..5).for_each(|task| _ = sched.result(SlaveId(if task < 3 { 0 } else { 1 }), task));
    submit(&mut sched, 4);
    let shares = sizes(packets(&mut sched, 0));
    assert_eq!(shares, [(1, 1), (0, 1)], "half of their shares");
}

#[test]
fn a_slave_that_is_to_go_gets_nothing_ahead() {
    let mut sched = Scheduler::new(config(), 1);
    sched.allocate(Group::Unordered, 2);
    sched.connect();
    sched.connect();
    sched.learn_compute(QUICK, MS);
    submit(&mut sched, 100);
    assert_eq!(packets(&mut sched, 0).len(), 4);
    sched.deallocate(Group::Unordered, 1);
    assert!(answer(&mut sched, 0, 0));
    assert!(answer(&mut sched, 1, 1));
    assert_eq!(packets(&mut sched, 0), []);
    assert!(answer(&mut sched, 0, 2));
    assert_eq!(sched.dismiss(), Some(SlaveId(0)));
    assert_eq!(packets(&mut sched, 0), [(1, vec![4])]);
}

#[test]
fn an_idle_slave_gets_half_of_what_another_has_not_begun() {
    let config = Config {
        task_group: 100,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    sched.connect();
    let tasks = submit(&mut sched, 9);
    assert_eq!(packets(&mut sched, 0), [(0, tasks.clone())]);
    assert_eq!(sched.recall_due(), Some(PATIENCE));
    assert_eq!(sched.recall(PATIENCE - 1), None);
    assert_eq!(sched.recall(PATIENCE), Some((SlaveId(0), 4)));
    assert_eq!(
        (sched.recall(PATIENCE), sched.recall_due()),
        (None, None),
        "it is asked once"
    );
    assert_eq!(
        sched.given_back(SlaveId(0), &[8, 7, 6, 5]),
        Ok(vec![5, 6, 7, 8])
    );
    assert_eq!(packets(&mut sched, PATIENCE), [(1, vec![5, 6, 7, 8])]);
    for (slave, task) in [(0, 0), (1, 5), (1, 6), (1, 7), (1, 8), (0, 1)] {
        assert!(answer(&mut sched, slave, task));
    }
    assert_eq!(sched.recall(PATIENCE), Some((SlaveId(0), 1)));
    assert_eq!(
        sched.given_back(SlaveId(0), &[]),
        Ok(vec![]),
        "it has begun them meanwhile"
    );
    assert_eq!(sched.recall(9 * PATIENCE), None, "until it is handed more");
    let held = sched.given_back(SlaveId(0), &[4]);
    assert_eq!(held, Err(Offence::NotAsked));
}

/// Seed 7752 of the simulated world: a slave that was asked answers all it holds, then gives back what it never had.
#[test]
fn giving_back_what_one_does_not_hold_is_an_offence() {
    let config = Config {
        task_group: 2,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    sched.connect();
    submit(&mut sched, 2);
    assert_eq!(packets(&mut sched, 0), [(0, vec![0, 1])]);
    assert_eq!(sched.recall(PATIENCE), Some((SlaveId(0), 1)));
    assert!(answer(&mut sched, 0, 0) && answer(&mut sched, 0, 1));
    let never = sched.given_back(SlaveId(0), &[1]);
    assert_eq!(never, Err(Offence::NotHeld { task: 1 }));
    sched.sanity_check();
    let unasked = sched.given_back(SlaveId(1), &[]);
    assert_eq!(unasked, Err(Offence::NotAsked));
}

/// One that was asked does all it has, and is sent away before its answer comes.
#[test]
fn the_answer_of_a_slave_that_was_dismissed_is_no_offence() {
    let config = Config {
        task_group: 2,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.allocate(Group::Unordered, 2);
    sched.connect();
    sched.connect();
    submit(&mut sched, 2);
    assert_eq!(packets(&mut sched, 0), [(0, vec![0, 1])]);
    assert_eq!(sched.recall(PATIENCE), Some((SlaveId(0), 1)));
    assert!(answer(&mut sched, 0, 0) && answer(&mut sched, 0, 1));
    sched.deallocate(Group::Unordered, 2);
    while sched.dismiss().is_some() {}
    assert_eq!(sched.given_back(SlaveId(0), &[]), Ok(vec![]));
    let never = sched.given_back(SlaveId(0), &[1]);
    assert_eq!(never, Err(Offence::NotHeld { task: 1 }));
    sched.sanity_check();
}

#[test]
fn an_ordered_task_is_never_taken_back() {
    let config = Config {
        task_group: 4,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.allocate(Group::Intermingle, 2);
    let (slave, _) = sched.connect();
    sched.connect();
    let spec = TaskSpec {
        policy: Policy {
            to: Some(slave),
            ..Policy::default()
        },
        ..TaskSpec::new(QUICK, Owner::Queue, 10)
    };
    (0..3).for_each(|_| _ = sched.submit(spec, (), 0));
    assert_eq!(packets(&mut sched, 0), [(0, vec![0, 1, 2])]);
    assert_eq!(sched.recall(9 * PATIENCE), None);

    (0..3).for_each(|_| _ = sched.submit(spec, (), 0));
    submit(&mut sched, 1);
    (0..3).for_each(|task| assert!(answer(&mut sched, 0, task)));
    assert_eq!(packets(&mut sched, 0), [(0, vec![3, 4, 5, 6])]);
    assert_eq!(
        sched.recall(9 * PATIENCE),
        Some((slave, 1)),
        "of four, one is not ordered"
    );
    let ordered = sched.given_back(slave, &[5]);
    assert_eq!(ordered, Err(Offence::NotTakeable { task: 5 }));
}

#[test]
fn what_was_cancelled_meanwhile_is_given_back_and_forgotten() {
    let config = Config {
        task_group: 10,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    let spec = TaskSpec::new(QUICK, Owner::Queue, 10);
    let ids: Vec<TaskId> = (0..3).map(|_| sched.submit(spec, (), 0)).collect();
    assert_eq!(packets(&mut sched, 0).len(), 1);
    sched.connect();
    assert_eq!(sched.recall(PATIENCE), Some((SlaveId(0), 1)));
    assert!(sched.cancel(ids[2]).is_some());
    assert_eq!(sched.poll_withdrawal(), Some((SlaveId(0), 2)));
    assert_eq!(sched.given_back(SlaveId(0), &[2]), Ok(vec![]));
    sched.sanity_check();
    assert_eq!((sched.held_by(SlaveId(0)), sched.queued()), (2, 0));
    let never = sched.withdrawn(SlaveId(0), 2, false);
    assert_eq!(never, Err(Offence::NotHeld { task: 2 }));
}

/// One that says goodbye says what it had begun: the rest runs elsewhere, even if it may be begun only once.
#[test]
fn a_goodbye_saves_what_was_not_begun() {
    for (departure, lost) in [
        (Departure::Goodbye { begun: true }, 1),
        (Departure::Goodbye { begun: false }, 0),
        (Departure::Crashed, 3),
    ] {
        let config = Config {
            task_group: 3,
            ..config()
        };
        let mut sched = Scheduler::new(config, 1);
        sched.connect();
        let spec = TaskSpec {
            policy: Policy {
                retry: false,
                ..Policy::default()
            },
            ..TaskSpec::new(QUICK, Owner::Queue, 10)
        };
        (0..3).for_each(|_| _ = sched.submit(spec, (), 0));
        assert_eq!(packets(&mut sched, 0).len(), 1);
        let losses = sched.lose(SlaveId(0), departure);
        assert_eq!(
            (losses.unrunnable, losses.recycled.len() as u32),
            (lost, 3 - lost)
        );
        sched.sanity_check();
    }
}

fn straggling() -> Scheduler<()> {
    let config = Config {
        duplicate_stragglers: true,
        ..config()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    sched.connect();
    (0..5).for_each(|_| sched.learn_compute(QUICK, MS));
    submit(&mut sched, 1);
    assert_eq!(packets(&mut sched, 0), [(0, vec![0])]);
    assert_eq!(packets(&mut sched, 90 * MS), [], "not far longer");
    assert!(sched.duplicate_due().is_some());
    assert_eq!(packets(&mut sched, 500 * MS), [(1, vec![0])]);
    assert_eq!(packets(&mut sched, 900 * MS), [], "two are enough");
    assert_eq!((sched.runnable(), sched.duplicated()), (1, 1));
    sched
}

#[test]
fn of_two_that_run_a_straggler_the_first_to_answer_is_heard() {
    for (first, second) in [(0, 1), (1, 0)] {
        let mut sched = straggling();
        assert!(answer(&mut sched, first, 0));
        assert_eq!(sched.poll_withdrawal(), Some((SlaveId(second), 0)));
        assert_eq!(sched.runnable(), 0);
        assert!(!answer(&mut sched, second, 0), "late");
    }
}

#[test]
fn a_straggler_is_not_recycled_while_another_runs_it() {
    for (lost, left) in [(0, 1), (1, 0)] {
        let mut sched = straggling();
        let losses = sched.lose(SlaveId(lost), Departure::Crashed);
        assert_eq!((losses.elsewhere, losses.recycled.len()), (1, 0));
        sched.sanity_check();
        assert!(answer(&mut sched, left, 0));
        assert_eq!((sched.poll_withdrawal(), sched.runnable()), (None, 0));
    }
    let mut sched = straggling();
    sched.lose(SlaveId(0), Departure::Crashed);
    let losses = sched.lose(SlaveId(1), Departure::Crashed);
    assert_eq!((losses.elsewhere, losses.recycled), (0, vec![0]));
}

#[test]
fn a_straggler_that_is_cancelled_is_dropped_by_both() {
    let config = Config {
        duplicate_stragglers: true,
        ..Config::for_test()
    };
    let mut sched = Scheduler::new(config, 1);
    sched.connect();
    sched.connect();
    (0..5).for_each(|_| sched.learn_compute(QUICK, MS));
    let id = sched.submit(TaskSpec::new(QUICK, Owner::Queue, 10), (), 0);
    packets(&mut sched, 0);
    packets(&mut sched, 500 * MS);
    assert!(sched.cancel(id).is_some());
    sched.sanity_check();
    let told: BTreeSet<_> = std::iter::from_fn(|| sched.poll_withdrawal()).collect();
    assert_eq!(told, [(SlaveId(0), 0), (SlaveId(1), 0)].into());
    assert_eq!(sched.withdrawn(SlaveId(1), 0, false), Ok(()));
    assert!(!answer(&mut sched, 0, 0));
}

#[test]
fn ordered_and_no_retry_tasks_are_never_duplicated() {
    for (to, retry) in [(Some(SlaveId(0)), true), (None, false)] {
        let config = Config {
            duplicate_stragglers: true,
            ..Config::for_test()
        };
        let mut sched = Scheduler::new(config, 1);
        sched.allocate(Group::Intermingle, 2);
        sched.connect();
        sched.connect();
        (0..5).for_each(|_| sched.learn_compute(QUICK, MS));
        let spec = TaskSpec {
            policy: Policy {
                to,
                retry,
                ..Policy::default()
            },
            ..TaskSpec::new(QUICK, Owner::Queue, 10)
        };
        sched.submit(spec, (), 0);
        assert_eq!(packets(&mut sched, 0).len(), 1);
        assert_eq!(packets(&mut sched, 9_000 * MS), []);
    }
}

/// What a random run did, so that it can be seen that it did it all.
#[derive(Default, Debug)]
struct Did {
    passed_over: usize,
    ahead: u32,
    taken_back: usize,
    duplicated: u64,
    lost_twins: u32,
    late: u32,
}

/// Slaves hold what they were handed in order, and have begun the first if the flag says so.
#[derive(Default)]
struct Played {
    tasks: VecDeque<u64>,
    begun: bool,
    asked: Option<u32>,
}

fn run(config: Config, tasks_max: u32, draws: &[(u32, u32)], did: &mut Did) {
    let mut sched = Scheduler::new(config, 2);
    let mut slaves: BTreeMap<SlaveId, Played> = BTreeMap::new();
    let mut ids: BTreeMap<u64, TaskId> = BTreeMap::new();
    let mut order: BTreeMap<SlaveId, u64> = BTreeMap::new();
    let (mut now, mut submitted) = (0, 0u64);
    let mut ended: BTreeSet<u64> = BTreeSet::new();
    let mut bound: BTreeMap<u64, SlaveId> = BTreeMap::new();
    let mut held_back: BTreeSet<SlaveId> = BTreeSet::new();
    let finish = draws.len();
    let quiet = (0..100_000u32).map(|nth| (9 + nth % 3, nth / 3));
    for (nth, (kind, a)) in draws.iter().copied().chain(quiet).enumerate() {
        let slave = slaves.keys().nth(a as usize % slaves.len().max(1)).copied();
        match (kind % 16, slave) {
            (0, _) if slaves.len() < 6 => {
                slaves.insert(sched.connect().0, Played::default());
            }
            (1, _) if nth < finish => {
                let to = slave.filter(|_| a % 5 == 0);
                for _ in 0..a % tasks_max {
                    let spec = TaskSpec {
                        policy: Policy {
                            to,
                            retry: a % 7 != 0,
                            do_it_anyway: a % 3 == 0,
                            ..Policy::default()
                        },
                        ..TaskSpec::new(AlgorithmId((a % 2) as u16), Owner::Queue, 10)
                    };
                    let id = sched.submit(spec, (), now);
                    ids.insert(id.seq(), id);
                    submitted += 1;
                    if let Some(to) = to
                        && sched.group_of(to).is_some_and(Group::takes_ordered)
                    {
                        bound.insert(id.seq(), to);
                    }
                }
            }
            (2, Some(id)) if nth < finish && slaves.len() > 2 => {
                let lost = slaves.remove(&id).unwrap();
                let departure = match a % 2 {
                    0 => Departure::Crashed,
                    _ => Departure::Goodbye { begun: lost.begun },
                };
                let losses = sched.lose(id, departure);
                did.lost_twins += losses.elsewhere;
            }
            (3, _) if nth < finish => {
                let task = u64::from(a) % submitted.max(1);
                if let Some(id) = ids.get(&task)
                    && sched.cancel(*id).is_some()
                {
                    assert!(ended.insert(task), "TASK-{task} ended twice");
                }
            }
            (4, _) if nth < finish => match a % 3 {
                0 => sched.allocate(Group::Intermingle, 1),
                1 => sched.deallocate(Group::Intermingle, 1),
                _ => sched.allocate(Group::Ordered, a % 2),
            },
            (5, Some(_)) => {
                let asked = slaves.iter().find(|(_, played)| played.asked.is_some());
                let Some(id) = asked.map(|(id, _)| *id) else {
                    continue;
                };
                // It answers what it was asked for: the last that it has not begun, if they are not for it alone.
                let played = slaves.get_mut(&id).unwrap();
                if let Some(asked) = played.asked.take() {
                    let mut back = Vec::new();
                    let mut at = played.tasks.len();
                    while at > usize::from(played.begun) && (back.len() as u32) < asked {
                        at -= 1;
                        if !bound.contains_key(&played.tasks[at]) {
                            back.push(played.tasks.remove(at).unwrap());
                        }
                    }
                    let queued = sched.given_back(id, &back).expect("it was asked");
                    did.taken_back += queued.len();
                }
            }
            (15, Some(id)) if nth < finish => {
                let holds = a % 8 == 0;
                sched.hold_back(id, holds);
                match holds {
                    true => held_back.insert(id),
                    false => held_back.remove(&id),
                };
            }
            (6..=10, Some(id)) => {
                let played = slaves.get_mut(&id).unwrap();
                if let Some(&task) = played.tasks.front() {
                    if !played.begun {
                        played.begun = true;
                    } else {
                        played.begun = false;
                        played.tasks.pop_front();
                        match sched.result(id, task).expect("it holds it") {
                            None => did.late += 1,
                            Some(accepted) => {
                                assert!(ended.insert(task), "TASK-{task} ended twice");
                                if bound.get(&task) == Some(&id) {
                                    let last = order.insert(id, task);
                                    assert!(last.is_none_or(|last| last < task), "out of order");
                                }
                                let compute = if a % 50 == 0 { 2_000 } else { 1 };
                                sched.learn_compute(accepted.algorithm, compute * MS);
                            }
                        }
                    }
                }
            }
            _ => {
                now += u64::from(a % 64) * 5 * MS;
                loop {
                    let mut tasks = Vec::new();
                    let Some(to) = sched.hand_out(now, &mut |id, _, _, _| tasks.push(id.seq()))
                    else {
                        break;
                    };
                    assert!(!held_back.contains(&to), "{to} is held back");
                    did.passed_over += held_back.len();
                    let played = slaves.get_mut(&to).unwrap();
                    did.ahead += u32::from(!played.tasks.is_empty());
                    for &task in &tasks {
                        assert!(!played.tasks.contains(&task), "it has TASK-{task} already");
                    }
                    played.tasks.extend(tasks);
                }
                while let Some((id, tasks)) = sched.recall(now) {
                    let played = slaves.get_mut(&id).unwrap();
                    assert_eq!(played.asked.replace(tasks), None, "asked twice");
                }
            }
        }
        while let Some((id, task)) = sched.poll_withdrawal() {
            // One that was begun goes on, and its result will be late.
            if let Some(played) = slaves.get_mut(&id)
                && let Some(at) = played.tasks.iter().position(|&held| held == task)
                && (at > 0 || !played.begun)
            {
                played.tasks.remove(at);
                sched.withdrawn(id, task, false).expect("it was told");
            }
        }
        while let Some(end) = sched.poll_unrunnable() {
            let task = end.id.seq();
            assert!(ended.insert(task), "TASK-{task} ended twice");
        }
        sched.sanity_check();
        if nth == finish {
            bound.clear();
            (0..2).for_each(|_| _ = slaves.insert(sched.connect().0, Played::default()));
            Group::ALL
                .iter()
                .for_each(|&group| sched.deallocate(group, 100));
            held_back.clear();
            for id in slaves.keys() {
                sched.hold_back(*id, false);
                sched.free_slave(*id);
            }
        }
        if nth > finish {
            if sched.runnable() == 0 {
                break;
            }
            // Nobody owes an answer for ever.
            for (&id, played) in slaves.iter_mut() {
                if played.asked.take().is_some() {
                    sched.given_back(id, &[]).expect("it was asked");
                }
            }
        }
    }
    assert_eq!(
        (sched.runnable(), ended.len() as u64),
        (0, submitted),
        "{:?}",
        sched.queued()
    );
    did.duplicated += sched.duplicated();
}

#[test]
fn whatever_goes_ahead_or_back_every_task_ends_once() {
    let runs = Runs {
        cases: 200,
        rng_seed: RngSeed::Fixed(921),
        failure_persistence: None,
        ..Runs::default()
    };
    let did = std::cell::RefCell::new(Did::default());
    let draws = prop::collection::vec((any::<u32>(), any::<u32>()), 1..600);
    let configs = (
        prop_oneof![0..6u32, Just(40)],
        prop_oneof![Just(3u32), Just(40)],
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    proptest!(runs, |((group, tasks_max, prefetch, take_back, duplicate_stragglers) in configs, draws in draws)| {
        let config = Config {
            task_group: group,
            prefetch,
            take_back,
            duplicate_stragglers,
            crash_limit: 0,
            ..Config::for_test()
        };
        run(config, tasks_max, &draws, &mut did.borrow_mut());
    });
    let did = did.into_inner();
    let all = [
        u64::from(did.ahead),
        did.taken_back as u64,
        did.duplicated,
        did.passed_over as u64,
    ];
    let rare = [did.lost_twins, did.late];
    assert!(
        all.iter().all(|&times| times > 100) && rare.iter().all(|&times| times > 10),
        "{did:?}"
    );
}
