//! Series of tasks are a matter of cost alone: a scheduler that is given series and one that is given the same tasks one by
//! one are told the same events, and do and say the same.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use proptest::test_runner::{Config as Config_, RngSeed};
use ringmw_sched::*;

const MS: Nanos = 1_000_000;
const BYTES: u32 = 10;

/// What a task adds to a packet, alone or in a series.
fn bytes_of(task: u64) -> u32 {
    BYTES + (task % 4) as u32
}

/// The numbers of the tasks that it is for.
#[derive(Clone, Debug, PartialEq)]
struct Numbers(std::ops::Range<u64>);

impl Series for Numbers {
    fn tasks(&self) -> u32 {
        (self.0.end - self.0.start) as u32
    }

    fn more_bytes(&self, tasks: u32) -> u64 {
        assert!((1..=self.tasks()).contains(&tasks), "{tasks} of {self:?}");
        let more = self.0.clone().take(tasks as usize).skip(1);
        more.map(bytes_of).map(u64::from).sum()
    }

    fn own_bytes(&self) -> u32 {
        (self.0.start % 4) as u32
    }

    fn split_front(&mut self, tasks: u32) -> Self {
        assert!((1..self.tasks()).contains(&tasks), "{tasks} of {self:?}");
        let middle = self.0.start + u64::from(tasks);
        Numbers(std::mem::replace(&mut self.0.start, middle)..middle)
    }
}

/// What a scheduler did, as it would be seen task by task.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Packet(SlaveId, Vec<(u64, bool, bool)>),
    Recall(SlaveId, u32),
    Withdrawal(SlaveId, u64),
    Ended(u64, Reason),
    Lost(Losses),
    Late(u64),
    Accepted(u64, SlaveId, Nanos, Nanos),
    Cancelled(u64, Option<SlaveId>, Nanos),
    Back(Vec<u64>),
    Counts(u64, u64, u64, usize),
}

/// One of the two: `runs` says which.
struct Side {
    sched: Scheduler<Numbers>,
    runs: bool,
    ids: BTreeMap<u64, TaskId>,
    told: Vec<Told>,
    grown: u64,
    together: u64,
    apart: u64,
    overdue: u64,
}

impl Side {
    fn submit(&mut self, spec: TaskSpec, now: Nanos) {
        let seq = self.ids.len() as u64;
        let bytes = bytes_of(seq);
        let spec = TaskSpec { bytes, ..spec };
        let id = self.sched.submit(spec, Numbers(seq..seq + 1), now);
        assert_eq!(id.seq(), seq);
        self.ids.insert(seq, id);
    }

    /// As many tasks that are alike, in series where there may be; each to be begun within that time.
    fn submit_all(&mut self, spec: TaskSpec, tasks: u32, now: Nanos, within: fn(u64) -> Nanos) {
        let mut left = tasks;
        while left > 0 {
            let next = self.ids.len() as u64;
            let mut spec = TaskSpec {
                bytes: bytes_of(next),
                ..spec
            };
            spec.policy.start_within = within(next);
            let opening = self.sched.opening(&spec);
            if !self.runs || opening.tasks_max < 2 {
                self.submit(spec, now);
                left -= 1;
                continue;
            }
            let (mut tasks, first) = (left.min(opening.tasks_max), self.ids.len() as u64);
            let sum = |tasks| (first..).take(tasks as usize).map(bytes_of).sum::<u32>();
            while u64::from(sum(tasks)) > opening.bytes_max {
                tasks -= 1;
            }
            let numbers = Numbers(first..first + u64::from(tasks));
            let each: Vec<Nanos> = numbers.0.clone().map(within).collect();
            let differ = each.iter().any(|&each| each != spec.policy.start_within);
            let each = if differ { each } else { Vec::new() };
            self.apart += u64::from(differ);
            let id = self.sched.submit_each_within(spec, numbers, now, each);
            assert_eq!(id, opening.first, "it was foretold");
            let ids = (0..tasks).map(|nth| (first + u64::from(nth), id.after(nth)));
            self.ids.extend(ids);
            self.grown += u64::from(tasks - 1);
            left -= tasks;
        }
    }

    /// The results of these tasks, which follow one another in the slave's hands.
    fn results(&mut self, slave: SlaveId, tasks: &[u64], compute: Nanos) {
        let mut at = 0;
        while at < tasks.len() {
            let first = tasks[at];
            let alike = (first..).zip(&tasks[at..]).take_while(|(a, b)| a == *b);
            let most = if self.runs { alike.count() as u32 } else { 1 };
            let mut asked = None;
            let check = |_: AlgorithmId, tasks: u32| {
                asked = Some(tasks);
                Ok::<(), ()>(())
            };
            let verdict = self.sched.results_if(slave, first, most, check);
            match verdict.expect("it holds them").expect("agreed") {
                None => {
                    self.told.push(Told::Late(first));
                    at += 1;
                }
                Some(accepted) => {
                    let tasks = accepted.payload.tasks();
                    assert_eq!(asked, Some(tasks));
                    assert_eq!(accepted.payload.0.start, first);
                    assert_eq!(accepted.id.seq(), first);
                    self.together += u64::from(tasks - 1);
                    for seq in accepted.payload.0.clone() {
                        let (submitted, handed_out) = (accepted.submitted, accepted.handed_out);
                        self.told
                            .push(Told::Accepted(seq, slave, submitted, handed_out));
                        self.sched.learn_compute(accepted.algorithm, compute);
                    }
                    at += tasks as usize;
                }
            }
        }
    }

    fn cancel(&mut self, task: u64) {
        let Some(&id) = self.ids.get(&task) else {
            return;
        };
        let is_live = self.sched.is_live(id);
        let cancelled = self.sched.cancel(id);
        assert_eq!(cancelled.is_some(), is_live);
        if let Some(cancelled) = cancelled {
            assert_eq!(cancelled.payload, Numbers(task..task + 1));
            let within = cancelled.policy.start_within;
            self.told
                .push(Told::Cancelled(task, cancelled.held_by, within));
        }
    }

    fn hand_out(&mut self, now: Nanos) -> Option<Told> {
        let mut tasks = Vec::new();
        let each = &mut |id: TaskId, _, handed: Handed, numbers: &Numbers| {
            assert_eq!(numbers.0.start, id.seq());
            let each = numbers.0.clone();
            tasks.extend(each.map(|seq| (seq, handed.marked, handed.bound)));
        };
        let to = self.sched.hand_out(now, each)?;
        Some(Told::Packet(to, tasks))
    }

    /// Everything that it has to say.
    fn settle(&mut self, now: Nanos, hands_out: bool) {
        while hands_out && let Some(packet) = self.hand_out(now) {
            self.told.push(packet);
        }
        while let Some((slave, task)) = self.sched.poll_withdrawal() {
            self.told.push(Told::Withdrawal(slave, task));
        }
        while hands_out && let Some((slave, tasks)) = self.sched.recall(now) {
            self.told.push(Told::Recall(slave, tasks));
        }
        let mut all = Vec::new();
        while let Some(ended) = self.sched.poll_unrunnable() {
            assert_eq!(ended.payload, Numbers(ended.id.seq()..ended.id.seq() + 1));
            if let Reason::NotBegunInTime { within } = ended.reason {
                assert_eq!(ended.policy.start_within, within);
                self.overdue += 1;
            }
            all.push((ended.id.seq(), ended.reason));
        }
        // Those of one turn that have waited too long end series by series.
        all.sort_by_key(|&(seq, _)| seq);
        let all = all.into_iter();
        self.told
            .extend(all.map(|(seq, reason)| Told::Ended(seq, reason)));
        let sched = &self.sched;
        self.told.push(Told::Counts(
            sched.queued(),
            sched.runnable(),
            sched.pending(Some(AlgorithmId(1))),
            sched.busy(),
        ));
        let live = sched.live();
        let live: u64 = live.map(|(.., numbers)| u64::from(numbers.tasks())).sum();
        assert_eq!(live, sched.runnable());
        sched.sanity_check();
    }
}

#[derive(Default, Debug)]
struct Did {
    grown: u64,
    together: u64,
    cancelled: u64,
    back: u64,
    recycled: u64,
    charged: u64,
    late: u64,
    apart: u64,
    overdue: u64,
}

#[derive(Default)]
struct Played {
    tasks: VecDeque<u64>,
    begun: bool,
    asked: Option<u32>,
}

fn run(config: Config, draws: &[(u32, u32)], did: &mut Did) {
    let side = |runs| Side {
        sched: Scheduler::new(config, 2),
        runs,
        ids: BTreeMap::new(),
        told: Vec::new(),
        grown: 0,
        together: 0,
        apart: 0,
        overdue: 0,
    };
    let mut sides = [side(false), side(true)];
    let mut slaves: BTreeMap<SlaveId, Played> = BTreeMap::new();
    let mut now = 0;
    for &(kind, a) in draws {
        let slave = slaves.keys().nth(a as usize % slaves.len().max(1)).copied();
        let mut hands_out = false;
        match (kind % 16, slave) {
            (0, _) if slaves.len() < 4 => {
                let [(id, _), other] = sides.each_mut().map(|side| side.sched.connect());
                assert_eq!(id, other.0);
                slaves.insert(id, Played::default());
            }
            (1..=3, _) => {
                let owner = match a % 3 {
                    0 => Owner::Queue,
                    1 => Owner::Map(1),
                    _ => Owner::Call(a),
                };
                let algorithm = AlgorithmId((a % 2) as u16);
                if a % 5 == 0 {
                    let mut spec = TaskSpec::new(algorithm, owner, BYTES);
                    spec.policy.retry = a % 7 > 0;
                    if a % 11 < 3 {
                        (spec.policy.to, spec.policy.do_it_anyway) = (slave, a % 3 == 0);
                    }
                    let within: fn(u64) -> Nanos = match a % 13 {
                        0..3 => |seq| seq * 7_919 % 97 * 20 * MS,
                        3 => |seq| 100 * MS + seq / 8 % 2 * 1_000 * MS,
                        4 => |_| 500 * MS,
                        _ => |_| Nanos::MAX,
                    };
                    for side in &mut sides {
                        side.submit_all(spec, a % 40, now, within);
                    }
                    continue;
                }
                for nth in 0..a % 40 {
                    let mut spec = TaskSpec::new(algorithm, owner, BYTES);
                    if (a + nth).is_multiple_of(29) {
                        spec.policy.retry = false;
                    }
                    if (a + nth).is_multiple_of(31) {
                        (spec.policy.to, spec.policy.do_it_anyway) = (slave, a.is_multiple_of(2));
                    }
                    for side in &mut sides {
                        side.submit(spec, now);
                    }
                }
            }
            (4, Some(id)) if slaves.len() > 1 => {
                let lost = slaves.remove(&id).unwrap();
                let departure = match a % 3 {
                    0 => Departure::Excused,
                    1 => Departure::Goodbye { begun: lost.begun },
                    _ => Departure::Crashed,
                };
                for side in &mut sides {
                    if let Some(&first) = lost.tasks.front()
                        && lost.begun
                    {
                        side.sched.announce(id, first).expect("it holds it");
                    }
                    let mut losses = side.sched.lose(id, departure);
                    did.recycled += losses.recycled.len() as u64;
                    did.charged += u64::from(losses.charged.is_some());
                    // An id compares by its number; the slot beside it may differ.
                    losses.recycled.sort_unstable();
                    side.told.push(Told::Lost(losses));
                }
            }
            (5, _) => {
                let submitted = sides[0].ids.len() as u64;
                let first = u64::from(a) % submitted.max(1);
                for task in first..first + u64::from(a % 4) {
                    sides.iter_mut().for_each(|side| side.cancel(task));
                }
            }
            (6, _) => {
                let group = Group::ALL[a as usize % 3];
                for side in &mut sides {
                    match a % 2 {
                        0 => side.sched.allocate(group, 1),
                        _ => side.sched.deallocate(group, 1),
                    }
                }
            }
            (7, Some(_)) => {
                let asked = slaves.iter().find(|(_, played)| played.asked.is_some());
                if let Some((&id, _)) = asked {
                    let played = slaves.get_mut(&id).unwrap();
                    let most = played.asked.take().unwrap().min(1 + a % 7) as usize;
                    let least = usize::from(played.begun);
                    let mut back = Vec::new();
                    while played.tasks.len() > least && back.len() < most {
                        back.extend(played.tasks.pop_back());
                    }
                    if a % 3 == 0 {
                        back.reverse();
                    }
                    let mut lied = false;
                    for side in &mut sides {
                        let queued = side.sched.given_back(id, &back);
                        // What is for it alone it may not give back.
                        lied |= queued.is_err();
                        side.told.push(Told::Back(queued.unwrap_or_default()));
                        did.back += back.len() as u64;
                    }
                    if lied {
                        slaves.remove(&id);
                        for side in &mut sides {
                            let losses = side.sched.lose(id, Departure::Excused);
                            side.told.push(Told::Lost(losses));
                        }
                    }
                }
            }
            (8..=11, Some(id)) => {
                let played = slaves.get_mut(&id).unwrap();
                let most = match a % 4 {
                    0 => 1,
                    1 => 3,
                    _ => 40,
                };
                let tasks: Vec<u64> = played.tasks.drain(..played.tasks.len().min(most)).collect();
                played.begun = a % 5 > 1 && !played.tasks.is_empty();
                let compute = if a % 50 == 0 { 2_000 * MS } else { MS / 10 };
                for side in &mut sides {
                    side.results(id, &tasks, compute);
                }
            }
            (12, _) => {
                for side in &mut sides {
                    side.sched.hold_queue_tasks(a % 3 == 0);
                }
            }
            _ => {
                now += u64::from(a % 64) * 5 * MS;
                hands_out = true;
            }
        }
        let before = sides[0].told.len();
        sides
            .iter_mut()
            .for_each(|side| side.settle(now, hands_out));
        let [plain, runs] = &sides;
        assert_eq!(
            plain.told[before..],
            runs.told[before..],
            "after {kind} {a}"
        );
        assert!(runs.sched.queued_bytes() <= plain.sched.queued_bytes());
        let news = runs.told[before..].to_vec();
        for told in &news {
            match told {
                Told::Packet(id, tasks) => {
                    let played = slaves.get_mut(id).unwrap();
                    played.tasks.extend(tasks.iter().map(|(seq, ..)| seq));
                }
                Told::Recall(id, tasks) => slaves.get_mut(id).unwrap().asked = Some(*tasks),
                Told::Withdrawal(id, task) => {
                    // Some are dropped, others answered all the same.
                    if let Some(played) = slaves.get_mut(id)
                        && let Some(at) = played.tasks.iter().position(|held| held == task)
                        && (at > 0 || !played.begun)
                        && task % 3 > 0
                    {
                        played.tasks.remove(at);
                        let (id, task) = (*id, *task);
                        let [plain, runs] = &mut sides;
                        plain.sched.withdrawn(id, task, false).expect("it was told");
                        runs.sched.withdrawn(id, task, false).expect("it was told");
                    }
                }
                _ => {}
            }
        }
    }
    did.grown += sides[1].grown;
    did.together += sides[1].together;
    did.apart += sides[1].apart;
    did.overdue += sides[1].overdue;
    let count = |what: fn(&Told) -> bool| sides[1].told.iter().filter(|told| what(told)).count();
    did.cancelled += count(|told| matches!(told, Told::Cancelled(..))) as u64;
    did.late += count(|told| matches!(told, Told::Late(_))) as u64;
}

#[test]
fn runs_change_nothing_but_the_cost() {
    let cases = Config_ {
        cases: 200,
        rng_seed: RngSeed::Fixed(926),
        failure_persistence: None,
        ..Config_::default()
    };
    let did = std::cell::RefCell::new(Did::default());
    let draws = prop::collection::vec((any::<u32>(), any::<u32>()), 1..400);
    let configs = (
        prop_oneof![Just(AUTO), 1..7u32, Just(40)],
        prop_oneof![Just(131_072u32), Just(95)],
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0..3u32,
    );
    proptest!(cases, |((group, bytes, prefetch, take_back, duplicate, crash_limit) in configs, draws in draws)| {
        let config = Config {
            task_group: group,
            task_packet_bytes_max: bytes,
            task_packet_overhead_bytes: 5,
            crash_limit,
            prefetch,
            take_back,
            duplicate_stragglers: duplicate,
            ..Config::for_test()
        };
        run(config, &draws, &mut did.borrow_mut());
    });
    let did = did.into_inner();
    let all = [
        did.grown,
        did.together,
        did.cancelled,
        did.back,
        did.recycled,
        did.charged,
        did.late,
        did.apart,
        did.overdue,
    ];
    assert!(all.iter().all(|&times| times > 20), "{did:?}");
}

#[test]
fn a_run_of_ten_thousand_is_one_record() {
    let config = Config {
        task_group: 10_000,
        ..Config::for_test()
    };
    let mut sched = Scheduler::new(config, 1);
    let spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, BYTES);
    let opening = sched.opening(&spec);
    assert_eq!((opening.first.seq(), opening.tasks_max), (0, 10_000));
    let first = sched.submit(spec, Numbers(0..10_000), 0);
    assert_eq!(first, opening.first);
    let all: u64 = (0..10_000).map(bytes_of).map(u64::from).sum();
    let bytes = Scheduler::<Numbers>::RECORD_BYTES + all;
    assert_eq!((sched.queued(), sched.queued_bytes()), (10_000, bytes));
    assert_eq!(sched.live().count(), 1);
    sched.sanity_check();
}

/// A source gives what there is room for, which seldom ends with a packet: what follows fills that packet, and then each
/// series is one.
#[test]
fn what_was_given_by_halves_splits_one_packet_and_not_all_that_follow() {
    let config = Config {
        task_group: 100,
        ..Config::for_test()
    };
    for owner in [Owner::Queue, Owner::Map(7)] {
        let mut sched = Scheduler::new(config, 1);
        let spec = TaskSpec::new(AlgorithmId(0), owner, BYTES);
        let mut given = 0;
        for source in [64, 0, 1, 1_000, 37, 2_000] {
            let end = given + source;
            while given < end {
                let most = u64::from(sched.opening(&spec).tasks_max);
                let next = end.min(given + most);
                sched.submit(spec, Numbers(given..next), 0);
                given = next;
            }
        }
        (0..31).for_each(|_| _ = sched.connect());
        let mut packets: BTreeMap<SlaveId, Vec<u32>> = BTreeMap::new();
        loop {
            let mut series = Vec::new();
            let told = &mut |_, _, _, numbers: &Numbers| series.push(numbers.tasks());
            let Some(slave) = sched.hand_out(0, told) else {
                break;
            };
            assert!(packets.insert(slave, series).is_none());
        }
        let packets: Vec<Vec<u32>> = packets.into_values().collect();
        assert_eq!(packets.iter().flatten().sum::<u32>(), 3_100, "{packets:?}");
        assert_eq!(packets[0], [64, 1, 35], "{owner:?}");
        let apart: Vec<&Vec<u32>> = packets[1..].iter().filter(|of| of.len() > 1).collect();
        assert_eq!(apart, [&vec![65, 35], &vec![2, 98]], "{owner:?}");
    }
}

/// Whatever policy it has, but of those that can not run each ends by itself.
#[test]
fn a_series_has_a_policy() {
    let config = Config {
        task_group: 100,
        ..Config::for_test()
    };
    let mut sched = Scheduler::<Numbers>::new(config, 1);
    sched.allocate(Group::Ordered, 1);
    let (slave, _) = sched.connect();
    let of = |to, retry| TaskSpec {
        policy: Policy {
            to,
            retry,
            ..Policy::default()
        },
        ..TaskSpec::new(AlgorithmId(0), Owner::Queue, BYTES)
    };
    for (spec, tasks_max) in [
        (of(None, false), 100),
        (of(Some(slave), true), 100),
        (of(Some(SlaveId(7)), true), 1),
    ] {
        assert_eq!(sched.opening(&spec).tasks_max, tasks_max, "{spec:?}");
    }
    sched.submit(of(Some(slave), false), Numbers(0..90), 0);
    let mut handed = Vec::new();
    let told = &mut |_, _, how: Handed, numbers: &Numbers| {
        handed.push((how.bound, numbers.0.clone()));
    };
    assert_eq!(sched.hand_out(0, told), Some(slave));
    assert_eq!(handed, [(true, 0..90)]);
    sched.submit(of(Some(slave), false), Numbers(90..93), 0);
    let losses = sched.lose(slave, Departure::Goodbye { begun: true });
    assert_eq!((losses.unrunnable, losses.recycled), (93, vec![]));
    let reasons: Vec<_> = std::iter::from_fn(|| sched.poll_unrunnable())
        .map(|ended| (ended.id.seq(), ended.payload, ended.reason))
        .collect();
    for (seq, (id, payload, reason)) in (0..).zip(reasons) {
        assert_eq!((id, payload), (seq, Numbers(seq..seq + 1)));
        let expected = match seq {
            0 => Reason::NotRetried(slave),
            _ => Reason::SlaveLost(slave),
        };
        assert_eq!(reason, expected, "TASK-{seq}");
    }
    sched.sanity_check();
}

/// Case `cold`: before the first result each was a record of its own.
#[test]
fn runs_are_built_before_the_first_result_too() {
    const KNOWN: AlgorithmId = AlgorithmId(1);
    let config = Config {
        task_group: AUTO,
        ..Config::for_test()
    };
    let mut sched = Scheduler::new(config, 2);
    sched.learn_compute(KNOWN, 1_000_000);
    let known = TaskSpec::new(KNOWN, Owner::Queue, BYTES);
    assert_eq!(sched.opening(&known).tasks_max, 3, "3 ms");
    let spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, BYTES);
    let most = sched.opening(&spec).tasks_max;
    assert_eq!(most, 1_000);
    sched.submit(spec, Numbers(0..u64::from(most)), 0);
    let all: u64 = (0..u64::from(most)).map(bytes_of).map(u64::from).sum();
    let bytes = Scheduler::<Numbers>::RECORD_BYTES + all;
    assert_eq!(sched.queued_bytes(), bytes);
    // Of those a packet takes one, as ever, until it is known how long they take.
    (0..2).for_each(|_| _ = sched.connect());
    let mut sizes = Vec::new();
    let mut hand_out = |sched: &mut Scheduler<Numbers>| {
        while sched
            .hand_out(0, &mut |_, _, _, payload| sizes.push(payload.tasks()))
            .is_some()
        {}
        std::mem::take(&mut sizes)
    };
    assert_eq!(hand_out(&mut sched), [1, 1]);
    assert!(sched.result(SlaveId(0), 0).is_ok());
    sched.learn_compute(AlgorithmId(0), 1_000_000);
    assert_eq!(hand_out(&mut sched), [3]);
    sched.sanity_check();
}
