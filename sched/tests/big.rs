//! A long queue: every task goes out and comes back once, in order, and through recycling and cancelling too.

use ringmw_sched::*;

/// Small in debug, where each task costs a microsecond.
const TASKS: u64 = if cfg!(debug_assertions) {
    100_000
} else {
    1_000_000
};

fn spec() -> TaskSpec {
    TaskSpec::new(AlgorithmId(0), Owner::Queue, 16)
}

#[test]
fn a_million_tasks() {
    let mut sched = Scheduler::new(
        Config {
            task_group: 1000,
            ..Config::for_test()
        },
        1,
    );
    (0..50).for_each(|_| _ = sched.connect());
    let ids: Vec<TaskId> = (0..TASKS)
        .map(|nth| sched.submit(spec(), nth, nth))
        .collect();
    assert!(ids.iter().zip(0..).all(|(id, seq)| id.seq() == seq));
    sched.sanity_check();

    // Every tenth is cancelled while it is queued, and one slave is lost with its hands full.
    let cancelled = ids
        .iter()
        .step_by(10)
        .filter_map(|&id| sched.cancel(id))
        .count() as u64;
    sched.sanity_check();
    let (mut results, mut turns, mut packet) = (0, 0, vec![]);
    while sched.runnable() > 0 {
        let mut out = vec![];
        while let Some(slave) = sched.hand_out(1, &mut |id, _, _, payload| {
            assert_eq!(id.seq(), *payload);
            packet.push(id.seq());
        }) {
            out.push((slave, std::mem::take(&mut packet)));
        }
        turns += 1;
        if turns == 3 {
            let (slave, tasks) = out.pop().unwrap();
            assert_eq!(sched.lose(slave, Departure::Crashed).recycled, tasks);
        }
        for (slave, tasks) in out {
            for task in tasks {
                let Ok(Some(accepted)) = sched.result(slave, task) else {
                    panic!("{task}")
                };
                assert_eq!(accepted.payload, task);
                results += 1;
            }
        }
    }
    sched.sanity_check();
    assert_eq!(results + cancelled, TASKS);
    assert!(ids.iter().all(|&id| !sched.is_live(id)));
}
