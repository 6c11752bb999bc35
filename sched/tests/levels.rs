//! Priorities and their aging, labels that tasks need, and deadlines: who is handed out when, and who no more.

use std::collections::{BTreeMap, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::{
    AlgorithmId, Config, Departure, Group, Nanos, Needs, Owner, Policy, Reason, Scheduler, SlaveId,
    TaskId, TaskSpec,
};

const SECOND: Nanos = 1_000_000_000;

type Sched = Scheduler<()>;

fn sched(task_group: u32, priority_aging: Nanos) -> Sched {
    let config = Config {
        task_group,
        priority_aging,
        take_back: true,
        ..Config::for_test()
    };
    Scheduler::new(config, 1)
}

fn submit(sched: &mut Sched, owner: Owner, policy: Policy, now: Nanos) -> TaskId {
    let spec = TaskSpec {
        policy,
        ..TaskSpec::new(AlgorithmId(0), owner, 10)
    };
    let id = sched.submit(spec, (), now);
    sched.sanity_check();
    id
}

fn level(priority: i8) -> Policy {
    Policy {
        priority,
        ..Policy::default()
    }
}

fn packet(sched: &mut Sched, now: Nanos) -> Option<(SlaveId, Vec<u64>)> {
    let mut tasks = Vec::new();
    let slave = sched.hand_out(now, &mut |id, _, _, ()| tasks.push(id.seq()))?;
    sched.sanity_check();
    Some((slave, tasks))
}

fn answer(sched: &mut Sched, slave: SlaveId, tasks: &[u64]) {
    for &task in tasks {
        assert!(matches!(sched.result(slave, task), Ok(Some(_))));
    }
    sched.sanity_check();
}

/// All that is queued, in the order in which one slave gets it, a task a packet.
fn order(sched: &mut Sched, now: Nanos) -> Vec<u64> {
    let mut order = Vec::new();
    while let Some((slave, tasks)) = packet(sched, now) {
        answer(sched, slave, &tasks);
        order.extend(tasks);
    }
    order
}

#[test]
fn the_higher_level_goes_first_and_within_it_owners_take_turns() {
    let mut sched = sched(1, 0);
    let owners = [Owner::Queue, Owner::Call(7), Owner::Map(3)];
    for priority in -4..=3 {
        for owner in owners.into_iter().cycle().take(6) {
            submit(&mut sched, owner, level(priority), 0);
        }
    }
    sched.connect();
    let expected: Vec<u64> = (0..8)
        .rev()
        .flat_map(|level| 6 * level..6 * level + 6)
        .collect();
    assert_eq!(order(&mut sched, 0), expected);
}

#[test]
fn what_is_recycled_goes_first_within_its_level() {
    let mut sched = sched(2, 0);
    let (slave, _) = sched.connect();
    (0..4).for_each(|n| _ = submit(&mut sched, Owner::Queue, level([1, 1, 2, 1][n]), 0));
    assert_eq!(packet(&mut sched, 0), Some((slave, vec![2, 0])));
    sched.lose(slave, Departure::Crashed);
    sched.connect();
    assert_eq!(order(&mut sched, 0), [2, 0, 1, 3]);
}

#[test]
fn own_tasks_keep_their_order_and_go_before_unordered_ones() {
    let mut sched = sched(1, SECOND);
    sched.allocate(Group::Intermingle, 1);
    let (slave, _) = sched.connect();
    submit(&mut sched, Owner::Queue, level(3), 0);
    for priority in [-4, 3] {
        let policy = Policy {
            to: Some(slave),
            ..level(priority)
        };
        submit(&mut sched, Owner::Queue, policy, 0);
    }
    assert_eq!(order(&mut sched, 0), [1, 2, 0]);
}

#[test]
fn with_aging_every_level_goes_on_under_a_stream_of_the_highest() {
    for (aging, all) in [(SECOND, true), (0, false)] {
        let mut sched = sched(1, aging);
        let (slave, _) = sched.connect();
        let low: Vec<u64> = (-4..3)
            .map(|priority| submit(&mut sched, Owner::Queue, level(priority), 0).seq())
            .collect();
        let mut begun = BTreeMap::new();
        for step in 0..40 {
            let now = step * SECOND / 4;
            submit(&mut sched, Owner::Queue, level(3), now);
            let (_, tasks) = packet(&mut sched, now).expect("one is queued");
            begun.insert(tasks[0], now);
            answer(&mut sched, slave, &tasks);
        }
        assert_eq!(low.iter().all(|task| begun.contains_key(task)), all);
        if all {
            // Each as soon as it has waited a second for each level that it is below the highest.
            let waited: Vec<u64> = low.iter().map(|task| begun[task] / SECOND).collect();
            assert_eq!(waited, [7, 6, 5, 4, 3, 2, 1]);
        }
    }
}

#[test]
fn of_levels_that_compete_alike_the_longest_waiting_goes_first() {
    let mut sched = sched(1, 10 * SECOND);
    sched.connect();
    submit(&mut sched, Owner::Queue, level(0), 2 * SECOND);
    submit(&mut sched, Owner::Map(1), level(-1), SECOND);
    submit(&mut sched, Owner::Map(2), level(1), 13 * SECOND);
    // The second one has waited for more than an aging, the first for less, and the third is above both.
    assert_eq!(order(&mut sched, 11 * SECOND + 1), [2, 1, 0]);
}

#[test]
fn another_priority_is_unrunnable() {
    let mut sched = sched(1, 0);
    for priority in [-5, 4, i8::MIN, i8::MAX] {
        submit(&mut sched, Owner::Queue, level(priority), 0);
        let task = sched.poll_unrunnable().expect("there is no such level");
        assert_eq!(task.reason, Reason::NoSuchPriority { priority });
        assert_eq!(task.policy.priority, priority);
    }
}

fn needs(sched: &mut Sched, needs: &[&str]) -> Policy {
    Policy {
        needs: sched.needs(needs.iter().map(|&need| need.to_owned()).collect()),
        ..Policy::default()
    }
}

fn label(sched: &mut Sched, slave: SlaveId, labels: &[&str]) {
    sched.label(
        slave,
        labels.iter().map(|&label| label.to_owned()).collect(),
    );
    sched.sanity_check();
}

#[test]
fn what_needs_labels_goes_to_slaves_that_have_them() {
    let mut sched = sched(1, 0);
    let slaves: Vec<SlaveId> = (0..4).map(|_| sched.connect().0).collect();
    label(&mut sched, slaves[1], &["gpu"]);
    label(&mut sched, slaves[2], &["gpu=a100", "site=fermi"]);
    let gpu = needs(&mut sched, &["gpu"]);
    let fermi = needs(&mut sched, &["site=fermi"]);
    let both = needs(&mut sched, &["site=fermi", "gpu", "gpu"]);
    let none = needs(&mut sched, &["site=cern"]);
    label(&mut sched, slaves[3], &["site=desy", "gpu=h100"]);
    assert_eq!(both.needs, needs(&mut sched, &["gpu", "site=fermi"]).needs);
    assert_eq!(sched.needs(Vec::new()), Needs::NONE);
    for (policy, now) in [gpu, fermi, both, gpu, none].into_iter().zip(0..) {
        submit(&mut sched, Owner::Map(4), policy, now);
    }
    let mut given = Vec::new();
    while let Some((slave, tasks)) = packet(&mut sched, 0) {
        given.push((slave.0, tasks[0]));
    }
    given.sort_unstable();
    assert_eq!(given, [(1, 0), (2, 1), (3, 3)]);
    assert_eq!(sched.lacks()[0].needs, ["site=cern"]);
    assert_eq!((sched.lacks().len(), sched.lacks()[0].tasks), (1, 1));
    answer(&mut sched, slaves[2], &[1]);
    assert_eq!(packet(&mut sched, 0), Some((slaves[2], vec![2])));
    // Lost with its slave it waits for another one that has both.
    sched.lose(slaves[2], Departure::Crashed);
    assert_eq!(packet(&mut sched, 0), None);
    let (late, _) = sched.connect();
    assert_eq!(packet(&mut sched, 0), None);
    label(&mut sched, late, &["site=fermi", "gpu"]);
    assert_eq!(packet(&mut sched, 0), Some((late, vec![2])));
    // Whoever waits for a label holds nobody else up.
    submit(&mut sched, Owner::Queue, Policy::default(), 0);
    assert_eq!(packet(&mut sched, 0), Some((slaves[0], vec![5])));
}

fn within(start_within: Nanos) -> Policy {
    Policy {
        start_within,
        ..Policy::default()
    }
}

fn late(sched: &mut Sched) -> Vec<u64> {
    let ended = std::iter::from_fn(|| sched.poll_unrunnable());
    let late = ended.map(|task| {
        let within = task.policy.start_within;
        assert_eq!(task.reason, Reason::NotBegunInTime { within });
        task.id.seq()
    });
    late.collect()
}

#[test]
fn what_is_not_handed_out_in_time_is_unrunnable() {
    let mut sched = sched(1, 0);
    for start_within in [30, 10, 20] {
        submit(&mut sched, Owner::Call(1), within(start_within), 100);
    }
    assert_eq!(sched.expire_due(), Some(110));
    assert_eq!(packet(&mut sched, 109), None);
    assert_eq!(late(&mut sched), []);
    assert_eq!(packet(&mut sched, 110), None);
    assert_eq!((late(&mut sched), sched.expire_due()), (vec![1], Some(120)));
    let (slave, _) = sched.connect();
    // Handed out it is let run, but not queued again.
    assert_eq!(packet(&mut sched, 115), Some((slave, vec![0])));
    assert_eq!(packet(&mut sched, 1_000), None);
    assert_eq!(late(&mut sched), [2]);
    sched.lose(slave, Departure::Crashed);
    assert_eq!(late(&mut sched), [0]);
    assert_eq!((sched.runnable(), sched.expire_due()), (0, None));
}

#[test]
fn what_comes_back_before_its_time_may_go_out_again() {
    let mut sched = sched(2, 0);
    let (slave, _) = sched.connect();
    (0..2).for_each(|_| _ = submit(&mut sched, Owner::Map(1), within(50), 0));
    assert_eq!(packet(&mut sched, 10), Some((slave, vec![0, 1])));
    sched.lose(slave, Departure::Crashed);
    let (slave, _) = sched.connect();
    assert_eq!(packet(&mut sched, 49), Some((slave, vec![0, 1])));
    let (_, _) = sched.connect();
    let due = sched.recall_due().expect("another one is idle");
    assert_eq!(packet(&mut sched, due), None);
    assert_eq!(sched.recall(due), Some((slave, 1)));
    // What it gives back is late.
    assert_eq!(sched.given_back(slave, &[1]), Ok(vec![]));
    assert_eq!(late(&mut sched), [1]);
    answer(&mut sched, slave, &[0]);
    assert_eq!(sched.runnable(), 0);
}

/// Everything at once, against a list of what is queued: of each packet the first task is one that no queued task which
/// this slave may run is above.
#[test]
fn the_order_is_kept_in_any_weather() {
    for seed in 0..60 {
        weather(seed);
    }
}

#[derive(Copy, Clone, Debug)]
struct Task {
    policy: Policy,
    submitted: Nanos,
    slave: Option<SlaveId>,
    id: TaskId,
}

fn weather(seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let aging = [0, 40, 1_000][rng.random_range(0..3)];
    let mut sched = sched(rng.random_range(1..4), aging);
    let sets: Vec<Needs> = [&["a"][..], &["b"], &["a", "b"], &["c=1"]]
        .iter()
        .map(|set| needs(&mut sched, set).needs)
        .collect();
    let mut tasks: BTreeMap<u64, Task> = BTreeMap::new();
    let mut slaves: Vec<SlaveId> = Vec::new();
    let mut hands: BTreeMap<SlaveId, VecDeque<u64>> = BTreeMap::new();
    let mut now = 0;
    for _ in 0..400 {
        now += rng.random_range(0..8);
        match rng.random_range(0..12) {
            0..5 => {
                let policy = Policy {
                    priority: [0, rng.random_range(-4..4)][rng.random_range(0..2)],
                    needs: match rng.random_range(0..6) {
                        0 => sets[rng.random_range(0..sets.len())],
                        _ => Needs::NONE,
                    },
                    start_within: match rng.random_range(0..5) {
                        0 => rng.random_range(1..200),
                        _ => Nanos::MAX,
                    },
                    ..Policy::default()
                };
                let owner = [Owner::Queue, Owner::Call(1), Owner::Map(2), Owner::Map(3)];
                let id = submit(&mut sched, owner[rng.random_range(0..4)], policy, now);
                let task = Task {
                    policy,
                    submitted: now,
                    slave: None,
                    id,
                };
                tasks.insert(id.seq(), task);
            }
            5 if slaves.len() < 5 => {
                let (slave, _) = sched.connect();
                let labels = ["a", "b", "c=1", "c=2", "d"];
                let some = labels.into_iter().filter(|_| rng.random_range(0..3) == 0);
                sched.label(slave, some.map(str::to_owned).collect());
                slaves.push(slave);
            }
            6 if !slaves.is_empty() => {
                let slave = slaves.swap_remove(rng.random_range(0..slaves.len()));
                sched.lose(slave, Departure::Excused);
                hands.remove(&slave);
                let back = tasks.values_mut().filter(|task| task.slave == Some(slave));
                back.for_each(|task| task.slave = None);
            }
            7 => {
                let queued: Vec<TaskId> = tasks.values().map(|task| task.id).collect();
                if !queued.is_empty() {
                    let id = queued[rng.random_range(0..queued.len())];
                    assert!(sched.cancel(id).is_some());
                    tasks.remove(&id.seq());
                    while sched.poll_withdrawal().is_some() {}
                }
            }
            8 => sched.hold_queue_tasks(false),
            _ => {
                for (&slave, held) in &mut hands {
                    while rng.random_range(0..3) > 0
                        && let Some(seq) = held.pop_front()
                    {
                        assert!(sched.result(slave, seq).is_ok());
                        tasks.remove(&seq);
                    }
                }
            }
        }
        sched.sanity_check();
        while let Some((slave, given)) = packet(&mut sched, now) {
            forget_late(&mut sched, &mut tasks, now);
            let competes = |task: &Task| {
                let waited = (now - task.submitted).checked_div(aging).unwrap_or(0);
                (i64::from(task.policy.priority) + waited as i64).min(3)
            };
            let oldest_of = |of: &Task| {
                let alike = tasks.values().filter(|task| {
                    task.slave.is_none()
                        && (task.policy.priority, task.policy.needs)
                            == (of.policy.priority, of.policy.needs)
                });
                let oldest = alike.min_by_key(|task| task.submitted).expect("itself");
                competes(oldest)
            };
            let first = tasks[&given[0]];
            assert!(first.slave.is_none() && sched.meets(slave, first.policy.needs));
            let may = tasks
                .values()
                .filter(|task| task.slave.is_none() && sched.meets(slave, task.policy.needs));
            let highest = may.map(oldest_of).max().expect("there is one");
            // A share with needs competes by itself, its owner's alone: it may stand below what is of its level.
            assert!(
                oldest_of(&first) == highest || first.policy.needs != Needs::NONE,
                "seed {seed}: {first:?} goes out, and {highest} is there"
            );
            for seq in given {
                let task = tasks.get_mut(&seq).expect("it lives");
                assert!(task.submitted.saturating_add(task.policy.start_within) > now);
                task.slave = Some(slave);
                hands.entry(slave).or_default().push_back(seq);
            }
        }
        forget_late(&mut sched, &mut tasks, now);
        let due = |task: &Task| task.submitted.saturating_add(task.policy.start_within) <= now;
        assert!(
            !tasks.values().any(|task| task.slave.is_none() && due(task)),
            "seed {seed}"
        );
        assert_eq!(sched.runnable(), tasks.len() as u64, "seed {seed}");
    }
}

fn forget_late(sched: &mut Sched, tasks: &mut BTreeMap<u64, Task>, now: Nanos) {
    while let Some(ended) = sched.poll_unrunnable() {
        let task = tasks.remove(&ended.id.seq()).expect("it lived");
        let within = task.policy.start_within;
        assert_eq!(ended.reason, Reason::NotBegunInTime { within });
        assert_eq!(ended.policy, task.policy);
        assert!(task.slave.is_none() && task.submitted + within <= now);
    }
}
