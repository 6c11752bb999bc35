//! Reservations: who gets which slave, what is desired meanwhile, and that nothing is left of those that are given up.

use ringmw_sched::*;

fn sched() -> Scheduler<()> {
    Scheduler::new(Config::for_test(), 1)
}

fn submit(sched: &mut Scheduler<()>, to: Option<SlaveId>) -> TaskId {
    let mut spec = TaskSpec::new(AlgorithmId(0), Owner::Queue, 10);
    spec.policy.to = to;
    sched.submit(spec, (), 0)
}

fn hand_out(sched: &mut Scheduler<()>) -> Vec<(SlaveId, u64)> {
    let mut all = Vec::new();
    loop {
        let mut packet = Vec::new();
        let Some(slave) = sched.hand_out(1, &mut |id, _, _, ()| packet.push(id.seq())) else {
            break;
        };
        all.extend(packet.into_iter().map(|task| (slave, task)));
    }
    sched.sanity_check();
    all
}

fn granted(sched: &mut Scheduler<()>) -> Vec<(Reservation, SlaveId)> {
    sched.sanity_check();
    std::iter::from_fn(|| sched.poll_granted()).collect()
}

fn ended(sched: &mut Scheduler<()>) -> Vec<Reservation> {
    sched.sanity_check();
    std::iter::from_fn(|| sched.poll_ended()).collect()
}

#[test]
fn an_idle_slave_is_reserved_at_once_and_its_arrival_is_no_news() {
    let mut sched = sched();
    let slave = sched.connect().0;
    let mine = sched.reserve(Needs::NONE);
    assert_eq!(granted(&mut sched), [(mine, slave)]);
    assert_eq!(sched.group_of(slave), Some(Group::Ordered));
    assert_eq!(
        (sched.desired(Group::Ordered), sched.take_connected()),
        (1, vec![])
    );
    submit(&mut sched, None);
    assert_eq!(hand_out(&mut sched), [], "it is reserved");
    let own = submit(&mut sched, Some(slave));
    assert_eq!(hand_out(&mut sched), [(slave, own.seq())]);
    sched.unreserve(mine);
    assert_eq!(
        (sched.desired(Group::Ordered), sched.reservations()),
        (0, (0, 0))
    );
    sched.result(slave, own.seq()).unwrap();
    assert_eq!(sched.group_of(slave), Some(Group::Unordered));
    assert_eq!(hand_out(&mut sched).len(), 1);
    assert_eq!(
        (sched.take_disconnected(), ended(&mut sched)),
        (vec![], vec![])
    );
}

#[test]
fn the_oldest_reservation_is_served_first_before_what_is_allocated() {
    let mut sched = sched();
    sched.allocate(Group::Ordered, 1);
    let [first, second] = [(); 2].map(|()| sched.reserve(Needs::NONE));
    assert_eq!(sched.slaves_needed(), 3);
    let slaves = [(); 3].map(|()| sched.connect().0);
    assert_eq!(
        granted(&mut sched),
        [(first, slaves[0]), (second, slaves[1])]
    );
    assert_eq!(sched.take_connected(), [(slaves[2], Group::Ordered)]);
}

#[test]
fn a_busy_slave_gets_no_more_and_is_reserved_when_its_hands_are_empty() {
    let mut sched = sched();
    let slave = sched.connect().0;
    let [one, _] = [(); 2].map(|()| submit(&mut sched, None));
    assert_eq!(hand_out(&mut sched), [(slave, one.seq())]);
    assert_eq!(sched.try_reserve(Needs::NONE), None);
    assert_eq!(sched.reservations(), (0, 0));
    let mine = sched.reserve(Needs::NONE);
    assert_eq!(granted(&mut sched), []);
    sched.result(slave, one.seq()).unwrap();
    assert_eq!(hand_out(&mut sched), []);
    assert_eq!(granted(&mut sched), [(mine, slave)]);
}

#[test]
fn a_lost_slave_is_told_and_not_replaced() {
    let mut sched = sched();
    let [slave, other] = [(); 2].map(|()| sched.connect().0);
    let (mine, got) = sched.try_reserve(Needs::NONE).unwrap();
    assert_eq!(got, slave);
    sched.lose(slave, Departure::Crashed);
    assert_eq!(ended(&mut sched), [mine]);
    assert_eq!(
        (sched.desired(Group::Ordered), sched.group_of(other)),
        (0, Some(Group::Unordered))
    );
    sched.unreserve(mine);
    assert_eq!(sched.take_disconnected(), []);
    // Freed by its number it is somebody's no more, too.
    let (mine, got) = sched.try_reserve(Needs::NONE).unwrap();
    assert!(sched.free_slave(got));
    assert_eq!(
        (ended(&mut sched), sched.reservations()),
        (vec![mine], (0, 0))
    );
}

#[test]
fn what_is_deallocated_takes_no_reserved_slave_and_what_is_left_over_is_reserved() {
    let mut sched = sched();
    let slaves = [(); 3].map(|()| sched.connect().0);
    sched.allocate(Group::Ordered, 2);
    let mine = sched.reserve(Needs::NONE);
    assert_eq!(granted(&mut sched), [(mine, slaves[2])]);
    sched.deallocate(Group::Ordered, 9);
    assert_eq!(sched.desired(Group::Ordered), 1);
    // Two are ordered that nobody desires.
    let more = sched.reserve(Needs::NONE);
    assert_eq!(granted(&mut sched), [(more, slaves[0])]);
}

#[test]
fn one_that_needs_labels_takes_none_without_them() {
    let mut sched = sched();
    let gpu = sched.needs(vec!["gpu".into()]);
    let plain = sched.connect().0;
    let mine = sched.reserve(gpu);
    assert_eq!((granted(&mut sched), sched.slaves_needed()), (vec![], 1));
    assert_eq!(sched.group_of(plain), Some(Group::Unordered));
    let with = sched.connect().0;
    sched.label(with, vec!["gpu=a100".into()]);
    assert_eq!(granted(&mut sched), [(mine, with)]);
    assert_eq!(
        (sched.desired(Group::Ordered), sched.slaves_needed()),
        (1, 0)
    );
    sched.unreserve(mine);
    assert_eq!(sched.desired(Group::Ordered), 0);
}

#[test]
fn a_busy_slave_with_the_labels_gets_no_more_work_until_it_is_reserved() {
    let mut sched = sched();
    let gpu = sched.needs(vec!["gpu".into()]);
    let with = sched.connect().0;
    sched.label(with, vec!["gpu".into()]);
    let [one, two, three] = [(); 3].map(|()| submit(&mut sched, None));
    assert_eq!(hand_out(&mut sched), [(with, one.seq())]);
    let given_up = sched.reserve(gpu);
    sched.unreserve(given_up);
    sched.result(with, one.seq()).unwrap();
    assert_eq!(hand_out(&mut sched), [(with, two.seq())], "it works on");
    let mine = sched.reserve(gpu);
    assert_eq!(granted(&mut sched), []);
    sched.result(with, two.seq()).unwrap();
    assert_eq!(hand_out(&mut sched), []);
    assert_eq!(granted(&mut sched), [(mine, with)]);
    let other = sched.connect().0;
    assert_eq!(hand_out(&mut sched), [(other, three.seq())]);
}

/// Nothing is left of reservations that are given up, whether they had a slave or not, while slaves come and go.
#[test]
fn ten_thousand_are_made_and_given_up_under_churn() {
    let mut sched = sched();
    let gpu = sched.needs(vec!["gpu".into()]);
    let mut slaves = Vec::new();
    let mut made = Vec::new();
    for nth in 0..10_000u32 {
        made.push(sched.reserve(if nth % 7 == 3 { gpu } else { Needs::NONE }));
        if nth % 3 == 0 {
            let slave = sched.connect().0;
            if nth % 2 == 0 {
                sched.label(slave, vec!["gpu".into()]);
            }
            slaves.push(slave);
        }
        if nth % 5 == 0 && slaves.len() > 20 {
            sched.lose(slaves.remove(nth as usize % 20), Departure::Crashed);
        }
        while made.len() > nth as usize % 100 + 1 {
            sched.unreserve(made.remove(nth as usize % made.len()));
        }
        while sched.poll_granted().is_some() || sched.poll_ended().is_some() {}
        if nth % 1_000 == 0 {
            sched.sanity_check();
        }
    }
    made.into_iter().for_each(|number| sched.unreserve(number));
    while sched.poll_granted().is_some() || sched.poll_ended().is_some() {}
    sched.sanity_check();
    assert_eq!(sched.reservations(), (0, 0));
    assert_eq!(
        (sched.desired(Group::Ordered), sched.slaves_needed()),
        (0, 0)
    );
    let ordered = slaves
        .iter()
        .filter(|id| sched.group_of(**id) == Some(Group::Ordered));
    assert_eq!(ordered.count(), 0);
}
