//! Who is told that slaves are hungry: twice as many as are idle, those that have run longest first, and called off again.

use ringmw_sched::*;

const DIVISIBLE: AlgorithmId = AlgorithmId(0);
const OTHER: AlgorithmId = AlgorithmId(1);
const MS: Nanos = 1_000_000;

fn submit(sched: &mut Scheduler<()>, algorithm: AlgorithmId) -> u64 {
    sched
        .submit(TaskSpec::new(algorithm, Owner::Queue, 10), (), 0)
        .seq()
}

fn hand_out(sched: &mut Scheduler<()>, now: Nanos) {
    while sched.hand_out(now, &mut |_, _, _, _| {}).is_some() {}
    sched.sanity_check();
}

/// The words of a turn: the task, and whether slaves are hungry.
fn words(sched: &mut Scheduler<()>, now: Nanos) -> Vec<(u64, bool)> {
    let word = |word: HungryWord| (word.task, word.hungry);
    std::iter::from_fn(|| sched.tell_hungry(now))
        .map(word)
        .collect()
}

/// So many slaves each with a task, the first of which have run longest, and so many idle ones.
fn busy_and_idle(busy: u64, idle: u32) -> (Scheduler<()>, Vec<SlaveId>) {
    let mut sched = Scheduler::new(Config::for_test(), 2);
    let slaves = (0..busy).map(|at| {
        let slave = sched.connect().0;
        submit(&mut sched, DIVISIBLE);
        hand_out(&mut sched, at * MS);
        slave
    });
    let slaves = slaves.collect();
    (0..idle).for_each(|_| _ = sched.connect());
    (sched, slaves)
}

#[test]
fn nobody_is_told_who_does_not_ask() {
    let (mut sched, _) = busy_and_idle(5, 2);
    assert_eq!(
        (words(&mut sched, 100 * MS), sched.hungry_due()),
        (vec![], None)
    );
    sched.asks_hungry(OTHER);
    assert_eq!(words(&mut sched, 200 * MS), []);
}

#[test]
fn twice_as_many_are_told_as_are_idle_the_longest_running_first() {
    for (busy, idle, told) in [(5, 1, 2), (5, 2, 4), (5, 3, 5), (100, 7, 14), (3, 0, 0)] {
        let (mut sched, _) = busy_and_idle(busy, idle);
        sched.asks_hungry(DIVISIBLE);
        let expected: Vec<_> = (0..told).map(|task| (task, true)).collect();
        assert_eq!(
            words(&mut sched, 100 * MS),
            expected,
            "{busy} busy, {idle} idle"
        );
        assert_eq!(words(&mut sched, 200 * MS), [], "nobody is told twice");
    }
}

#[test]
fn whoever_ends_makes_room_for_the_next() {
    let (mut sched, slaves) = busy_and_idle(6, 1);
    sched.asks_hungry(DIVISIBLE);
    assert_eq!(words(&mut sched, 100 * MS), [(0, true), (1, true)]);
    // With the first one's slave two are idle, and one of two has ended.
    sched.result(slaves[0], 0).unwrap();
    assert_eq!(words(&mut sched, 101 * MS), [(2, true), (3, true)]);
    assert_eq!(words(&mut sched, 140 * MS), [(4, true)]);
}

#[test]
fn all_are_called_off_when_something_is_queued_and_some_when_fewer_are_idle() {
    let (mut sched, _) = busy_and_idle(6, 2);
    sched.asks_hungry(DIVISIBLE);
    assert_eq!(words(&mut sched, 100 * MS).len(), 4);
    submit(&mut sched, OTHER);
    hand_out(&mut sched, 101 * MS);
    assert_eq!(words(&mut sched, 101 * MS), [(3, false), (2, false)]);
    (0..3).for_each(|_| _ = submit(&mut sched, OTHER));
    hand_out(&mut sched, 102 * MS);
    assert_eq!(words(&mut sched, 102 * MS), [(1, false), (0, false)]);
    assert_eq!(sched.hungry_due(), None);
}

/// One that is called off has run longer than those that were not told.
#[test]
fn whoever_was_called_off_is_told_again_first() {
    let (mut sched, _) = busy_and_idle(6, 2);
    sched.asks_hungry(DIVISIBLE);
    assert_eq!(words(&mut sched, 100 * MS).len(), 4);
    let spec = TaskSpec::new(OTHER, Owner::Queue, 10);
    let id = sched.submit(spec, (), 0);
    hand_out(&mut sched, 101 * MS);
    assert_eq!(words(&mut sched, 101 * MS), [(3, false), (2, false)]);
    sched.result(SlaveId(6), id.seq()).unwrap();
    assert_eq!(words(&mut sched, 102 * MS), [(2, true), (3, true)]);
}

/// The task of a lost slave is told no more, and who has its place is not told for it.
#[test]
fn a_lost_slave_is_forgotten() {
    let (mut sched, slaves) = busy_and_idle(4, 1);
    sched.asks_hungry(DIVISIBLE);
    assert_eq!(words(&mut sched, 100 * MS), [(0, true), (1, true)]);
    sched.lose(slaves[0], Departure::Crashed);
    hand_out(&mut sched, 101 * MS);
    // Its task runs elsewhere, and nobody is idle.
    assert_eq!(words(&mut sched, 101 * MS), [(1, false)]);
    sched.connect();
    assert_eq!(words(&mut sched, 150 * MS), [(1, true), (2, true)]);
}

/// Slaves that search trees, a millisecond a step: a task is so many milliseconds of work, and one that is told gives back
/// what is left of it in two halves, if that is worth it. Gives the share of their time that slaves have no task, in
/// thousandths, and the most tasks that were told at once for each idle slave.
fn searched(trees: &[u64], slaves: u32, asks: bool) -> (u64, usize) {
    const WORTH_A_TASK: u64 = 50;
    /// A slave reads this often while it computes.
    const READS_EVERY: u64 = 20;
    let mut sched: Scheduler<u64> = Scheduler::new(Config::for_test(), 1);
    let slaves: Vec<SlaveId> = (0..slaves).map(|_| sched.connect().0).collect();
    if asks {
        sched.asks_hungry(DIVISIBLE);
    }
    let submit = |sched: &mut Scheduler<u64>, work| {
        sched.submit(TaskSpec::new(DIVISIBLE, Owner::Queue, 10), work, 0)
    };
    trees.iter().for_each(|&work| _ = submit(&mut sched, work));
    // Of each slave its task, what is left of it, and whether it is to give that back.
    let mut hands: Vec<Option<(u64, u64, bool)>> = vec![None; slaves.len()];
    let (mut idle, mut told_most) = (0, 0);
    for now in 0.. {
        let mut given = Vec::new();
        while let Some(slave) = sched.hand_out(now * MS, &mut |id, _, _, work| {
            given.push((id.seq(), *work));
        }) {
            let [(task, work)] = given[..] else {
                panic!("a task a packet")
            };
            given.clear();
            let hand = &mut hands[slave.0 as usize];
            assert_eq!(hand.replace((task, work, false)), None);
        }
        while let Some(word) = sched.tell_hungry(now * MS) {
            let hand = hands[word.slave.0 as usize].as_mut();
            let (task, _, told) = hand.expect("it runs");
            assert_eq!(*task, word.task);
            *told = word.hungry;
        }
        if hands.iter().all(Option::is_none) {
            return (1_000 * idle / (now * slaves.len() as u64), told_most);
        }
        let idle_now = hands.iter().filter(|hand| hand.is_none()).count();
        let told = hands.iter().flatten().filter(|hand| hand.2).count();
        assert!(told <= 2 * idle_now, "{told} are told for {idle_now}");
        told_most = told_most.max(told);
        idle += idle_now as u64;
        for (&slave, hand) in slaves.iter().zip(&mut hands) {
            let Some((task, left, told)) = hand else {
                continue;
            };
            *left -= 1;
            let gives = *told && *left >= WORTH_A_TASK && now % READS_EVERY == 0;
            if *left == 0 || gives {
                sched.result(slave, *task).unwrap();
                if gives {
                    let half = *left / 2;
                    submit(&mut sched, half);
                    submit(&mut sched, *left - half);
                }
                *hand = None;
            }
        }
        sched.sanity_check();
    }
    unreachable!("it returns")
}

/// Trees as searches have them, one of which is most of the work, and equal ones that leave a few slaves over.
#[test]
fn slaves_that_search_idle_for_half_the_time_at_most() {
    for trees in [
        &[10_000, 900, 800, 700, 600, 500, 400, 300, 200, 100][..],
        &[8_000],
        &[2_000; 12],
    ] {
        let (whole, nobody) = searched(trees, 8, false);
        let (told, most) = searched(trees, 8, true);
        assert_eq!(nobody, 0);
        assert!((1..=8).contains(&most), "{most} told of {trees:?}");
        assert!(
            2 * told <= whole,
            "idle for {told} of a thousand where others give back, for {whole} where not: {trees:?}"
        );
    }
}
