//! The sentences about slave groups: who fills what, who moves when, what is news. One test for each.

use Group::{Intermingle, Ordered, Unordered};
use ringmw_sched::*;

type Sched = Scheduler<()>;

fn sched(task_group: u32) -> Sched {
    Sched::new(
        Config {
            task_group,
            ..Config::for_test()
        },
        1,
    )
}

fn unordered() -> TaskSpec {
    TaskSpec::new(AlgorithmId(0), Owner::Queue, 1)
}

fn ordered(slave: u32) -> TaskSpec {
    TaskSpec {
        policy: Policy {
            to: Some(SlaveId(slave)),
            ..Policy::default()
        },
        ..unordered()
    }
}

fn submit(sched: &mut Sched, spec: TaskSpec, tasks: u32) {
    (0..tasks).for_each(|_| _ = sched.submit(spec, (), 0));
}

/// Everything that can be handed out: slave and task numbers.
fn hand_out(sched: &mut Sched) -> Vec<(u32, Vec<u64>)> {
    let mut packets = vec![];
    loop {
        let mut packet = vec![];
        let Some(slave) = sched.hand_out(0, &mut |id, _, _, ()| packet.push(id.seq())) else {
            return packets;
        };
        sched.sanity_check();
        packets.push((slave.0, packet));
    }
}

fn answer(sched: &mut Sched, slave: u32, tasks: impl IntoIterator<Item = u64>) {
    for task in tasks {
        assert!(matches!(sched.result(SlaveId(slave), task), Ok(Some(_))));
        sched.sanity_check();
    }
}

fn connect(sched: &mut Sched, slaves: u32) -> Vec<Group> {
    (0..slaves).map(|_| sched.connect().1).collect()
}

fn acquired(sched: &Sched) -> [u32; 3] {
    sched.sanity_check();
    Group::ALL.map(|group| sched.acquired(group))
}

#[test]
fn a_connecting_slave_fills_ordered_then_intermingle_then_unordered() {
    let mut sched = sched(1);
    sched.allocate(Intermingle, 1);
    sched.allocate(Ordered, 2);
    sched.allocate(Unordered, 1);
    assert_eq!(sched.slaves_needed(), 4);
    assert_eq!(
        connect(&mut sched, 5),
        [Ordered, Ordered, Intermingle, Unordered, Unordered]
    );
    assert_eq!(
        (sched.slaves_needed(), acquired(&sched)),
        (0, [2, 1, 2]),
        "unordered may hold more than desired"
    );
}

#[test]
fn desires_are_clamped_at_zero_and_sum_up_by_group() {
    let mut sched = sched(1);
    sched.allocate(Ordered, 2);
    sched.deallocate(Ordered, 5);
    assert_eq!(sched.desired(Ordered), 0);
    sched.free_slave_of(Intermingle);
    assert_eq!(sched.desired(Intermingle), 0);
    sched.allocate(Unordered, u32::MAX);
    sched.allocate(Unordered, 1);
    assert_eq!(sched.slaves_needed(), u32::MAX.into());
    connect(&mut sched, 1);
    sched.deallocate(Unordered, u32::MAX - 3);
    assert_eq!(
        sched.slaves_needed(),
        2,
        "surplus in one group is no help to another"
    );
}

/// Which tasks each group's slaves are given, and that a slave's own come first.
#[test]
fn what_each_group_runs() {
    for (group, expected) in [
        (Ordered, vec![1, 3]),
        (Intermingle, vec![1, 3, 0, 2]),
        (Unordered, vec![0, 1, 2, 3]),
    ] {
        let mut sched = sched(10);
        sched.allocate(group, 1);
        assert_eq!(connect(&mut sched, 1), [group]);
        for spec in [unordered(), ordered(0), unordered(), ordered(0)] {
            sched.submit(
                TaskSpec {
                    policy: Policy {
                        do_it_anyway: true,
                        ..spec.policy
                    },
                    ..spec
                },
                (),
                0,
            );
        }
        assert_eq!(hand_out(&mut sched), [(0, expected)], "{group}");
    }
}

#[test]
fn idle_unordered_slaves_move_over_at_once() {
    let mut sched = sched(1);
    connect(&mut sched, 3);
    sched.allocate(Intermingle, 1);
    sched.allocate(Ordered, 1);
    assert_eq!(acquired(&sched), [1, 1, 1]);
    let moved: Vec<_> = std::iter::from_fn(|| sched.poll_moved()).collect();
    assert_eq!(
        moved,
        [
            (SlaveId(0), Unordered, Intermingle),
            (SlaveId(1), Unordered, Ordered)
        ]
    );
    assert_eq!(
        sched.take_connected(),
        [(SlaveId(0), Intermingle), (SlaveId(1), Ordered)]
    );
    assert_eq!(
        (sched.connected_news(), sched.take_connected()),
        (0, vec![])
    );
}

/// A loss opens a gap just as a desire does.
#[test]
fn a_gap_is_filled_whatever_opened_it() {
    let mut sched = sched(1);
    sched.allocate(Ordered, 1);
    assert_eq!(connect(&mut sched, 2), [Ordered, Unordered]);
    sched.take_connected();
    sched.lose(SlaveId(0), Departure::Crashed);
    assert_eq!(acquired(&sched), [1, 0, 0]);
    assert_eq!((sched.connected_news(), sched.disconnected_news()), (1, 1));
    assert_eq!(sched.take_disconnected(), [(SlaveId(0), Ordered)]);
    assert_eq!(sched.take_connected(), [(SlaveId(1), Ordered)]);
}

/// With nobody idle, as many as are missing get no more work, and move when their hands are empty.
#[test]
fn busy_unordered_slaves_move_when_their_hands_are_empty() {
    let mut sched = sched(2);
    connect(&mut sched, 3);
    submit(&mut sched, unordered(), 20);
    assert_eq!(hand_out(&mut sched).len(), 3);
    sched.allocate(Ordered, 1);
    sched.allocate(Intermingle, 1);
    assert_eq!(
        (acquired(&sched), sched.slaves_needed()),
        ([0, 0, 3], 2),
        "not acquired before they move"
    );
    answer(&mut sched, 0, [0]);
    assert_eq!(
        (hand_out(&mut sched), acquired(&sched)),
        (vec![], [0, 0, 3])
    );
    answer(&mut sched, 0, [1]);
    assert_eq!(
        (hand_out(&mut sched), acquired(&sched)),
        (vec![], [1, 0, 2])
    );
    answer(&mut sched, 1, [2, 3]);
    assert_eq!(
        (hand_out(&mut sched), acquired(&sched)),
        (vec![(1, vec![6, 7])], [1, 1, 1])
    );
    answer(&mut sched, 2, [4, 5]);
    assert_eq!(
        hand_out(&mut sched),
        [(2, vec![8, 9])],
        "this one was not missing"
    );
}

/// The gap closes before the marked slave's hands are empty: it goes on as if nothing had been.
#[test]
fn marks_are_lifted_when_the_gap_closes() {
    for close in [
        (|sched: &mut Sched| sched.deallocate(Ordered, 1)) as fn(&mut Sched),
        |sched| _ = sched.connect(),
        |sched| answer(sched, 1, [1]),
    ] {
        let mut sched = sched(1);
        connect(&mut sched, 2);
        submit(&mut sched, unordered(), 3);
        hand_out(&mut sched);
        sched.allocate(Ordered, 1);
        close(&mut sched);
        answer(&mut sched, 0, [0]);
        assert_eq!(hand_out(&mut sched), [(0, vec![2])]);
    }
}

#[test]
fn a_freed_slave_moves_when_its_hands_are_empty() {
    let mut sched = sched(1);
    sched.allocate(Intermingle, 1);
    connect(&mut sched, 1);
    submit(&mut sched, ordered(0), 3);
    submit(
        &mut sched,
        TaskSpec {
            policy: Policy {
                do_it_anyway: true,
                ..ordered(0).policy
            },
            ..ordered(0)
        },
        1,
    );
    assert_eq!(hand_out(&mut sched), [(0, vec![0])]);
    sched.take_connected();

    assert!(sched.free_slave(SlaveId(0)));
    assert_eq!(
        (sched.desired(Intermingle), acquired(&sched)),
        (0, [0, 1, 0])
    );
    assert!(!sched.free_slave(SlaveId(0)), "once is enough");
    assert_eq!((sched.poll_moved(), sched.queued()), (None, 3));

    answer(&mut sched, 0, [0]);
    assert_eq!(acquired(&sched), [0, 0, 1]);
    assert_eq!(
        sched.poll_moved(),
        Some((SlaveId(0), Intermingle, Unordered))
    );
    let reasons: Vec<_> = std::iter::from_fn(|| sched.poll_unrunnable())
        .map(|ended| ended.reason)
        .collect();
    assert_eq!(reasons, [Reason::SlaveTakesNoOrdered(SlaveId(0)); 2]);
    assert_eq!(
        hand_out(&mut sched),
        [(0, vec![3])],
        "done anyway, by the same slave"
    );
    assert_eq!(
        (sched.connected_news(), sched.disconnected_news()),
        (0, 0),
        "the end of free_slave is no news"
    );
}

#[test]
fn an_idle_slave_is_freed_at_once_and_may_be_needed_elsewhere() {
    let mut sched = sched(1);
    sched.allocate(Ordered, 1);
    connect(&mut sched, 1);
    sched.allocate(Intermingle, 1);
    sched.take_connected();
    assert!(sched.free_slave(SlaveId(0)));
    assert_eq!(acquired(&sched), [0, 1, 0]);
    assert_eq!(sched.take_connected(), [(SlaveId(0), Intermingle)]);
    let moved: Vec<_> = std::iter::from_fn(|| sched.poll_moved()).collect();
    assert_eq!(
        moved,
        [
            (SlaveId(0), Ordered, Unordered),
            (SlaveId(0), Unordered, Intermingle)
        ]
    );
}

#[test]
fn only_ordered_and_intermingle_slaves_are_freed() {
    let mut sched = sched(1);
    sched.allocate(Unordered, 1);
    connect(&mut sched, 1);
    assert!(!sched.free_slave(SlaveId(0)) && !sched.free_slave(SlaveId(1)));
    assert_eq!(sched.desired(Unordered), 1);
}

#[test]
fn free_slave_of_lowers_the_desire_alone() {
    let mut sched = sched(1);
    sched.allocate(Ordered, 1);
    connect(&mut sched, 1);
    sched.free_slave_of(Ordered);
    assert_eq!((sched.desired(Ordered), acquired(&sched)), (0, [1, 0, 0]));
}

#[test]
fn unordered_slaves_are_no_news_and_others_may_stand_in_both_lists() {
    let mut sched = sched(1);
    sched.allocate(Intermingle, 1);
    assert_eq!(connect(&mut sched, 2), [Intermingle, Unordered]);
    sched.lose(SlaveId(1), Departure::Crashed);
    sched.lose(SlaveId(0), Departure::Excused);
    assert_eq!(sched.take_connected(), [(SlaveId(0), Intermingle)]);
    assert_eq!(sched.take_disconnected(), [(SlaveId(0), Intermingle)]);
    assert_eq!((sched.group_of(SlaveId(0)), sched.slaves()), (None, 0));
    assert_eq!(
        sched.lose(SlaveId(0), Departure::Crashed),
        Losses::default(),
        "once is enough"
    );
}

#[test]
fn the_slave_served_least_recently_is_next() {
    let mut sched = sched(1);
    connect(&mut sched, 3);
    submit(&mut sched, unordered(), 3);
    assert_eq!(
        hand_out(&mut sched),
        [(0, vec![0]), (1, vec![1]), (2, vec![2])]
    );
    for (slave, task) in [(2, 2), (0, 0), (1, 1)] {
        answer(&mut sched, slave, [task]);
    }
    submit(&mut sched, unordered(), 2);
    assert_eq!(hand_out(&mut sched), [(2, vec![3]), (0, vec![4])]);
}

#[test]
fn tasks_wait_for_nobody_when_no_group_may_run_them() {
    let mut sched = sched(1);
    submit(&mut sched, unordered(), 2);
    assert_eq!(
        sched.waits_for_nobody(),
        0,
        "nobody is connected, they wait for somebody"
    );
    sched.allocate(Ordered, 1);
    connect(&mut sched, 1);
    submit(&mut sched, ordered(0), 1);
    assert_eq!(sched.waits_for_nobody(), 2);
    connect(&mut sched, 1);
    assert_eq!(sched.waits_for_nobody(), 0);
}

#[test]
fn idle_is_nothing_queued_running_or_desired() {
    let mut sched = sched(1);
    connect(&mut sched, 1);
    assert!(sched.idle());
    sched.allocate(Unordered, 1);
    assert!(!sched.idle());
    sched.deallocate(Unordered, 1);
    submit(&mut sched, unordered(), 1);
    assert!(!sched.idle());
    hand_out(&mut sched);
    assert!(!sched.idle());
    answer(&mut sched, 0, [0]);
    assert!(sched.idle());
}

fn dismissed(sched: &mut Sched) -> Vec<u32> {
    let mut gone = vec![];
    while let Some(slave) = sched.dismiss() {
        sched.sanity_check();
        gone.push(slave.0);
    }
    gone
}

#[test]
fn only_a_fall_of_the_desire_sends_idle_unordered_slaves_away_and_no_more_than_it_fell_by() {
    // Never allocated: nobody goes.
    let mut sched = sched(1);
    connect(&mut sched, 10);
    sched.deallocate(Unordered, 3);
    assert!(!sched.has_allocated());
    assert_eq!(dismissed(&mut sched), []);
    // Ten are here, eight desired, three: five may go, the longest idle first.
    sched.allocate(Unordered, 8);
    assert_eq!(dismissed(&mut sched), [], "a rise sends nobody away");
    sched.deallocate(Unordered, 5);
    assert_eq!(dismissed(&mut sched), [0, 1, 2, 3, 4]);
    assert_eq!(acquired(&sched), [0, 0, 5], "two more than desired stay");
    assert_eq!(dismissed(&mut sched), []);
    // Down to the sum of the desires, though it fell by more.
    sched.allocate(Ordered, 1);
    sched.deallocate(Unordered, 100);
    assert_eq!(dismissed(&mut sched), [6, 7, 8]);
    assert_eq!(
        acquired(&sched),
        [1, 0, 1],
        "fell by three, and one was wanted again"
    );
}

#[test]
fn busy_slaves_are_sent_away_when_their_hands_are_empty_and_a_rise_takes_it_back() {
    let mut sched = sched(1);
    sched.allocate(Unordered, 3);
    connect(&mut sched, 3);
    submit(&mut sched, unordered(), 3);
    hand_out(&mut sched);
    sched.deallocate(Unordered, 3);
    assert_eq!(dismissed(&mut sched), []);
    answer(&mut sched, 1, [1]);
    assert_eq!(dismissed(&mut sched), [1]);
    sched.allocate(Unordered, 1);
    answer(&mut sched, 0, [0]);
    answer(&mut sched, 2, [2]);
    assert_eq!(
        dismissed(&mut sched),
        [0],
        "two were left of the fall, one is wanted"
    );
    assert_eq!(sched.slaves(), 1);
}

#[test]
fn slaves_that_come_after_the_fall_are_sent_away_too() {
    let mut sched = sched(1);
    sched.allocate(Unordered, 8);
    sched.deallocate(Unordered, 8);
    connect(&mut sched, 9);
    assert_eq!(dismissed(&mut sched).len(), 8);
    assert_eq!(
        sched.slaves(),
        1,
        "it was never desired: whoever started it wants it"
    );
}
