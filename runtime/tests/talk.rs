//! What tasks hear and say while they run, in the simulated world.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, World};

/// Looks until it is told that nobody waits for it any more.
#[algorithm]
fn patient(n: u64, cx: &mut Cx) -> u64 {
    while !cx.cancelled() {}
    n
}

#[algorithm]
fn quick(n: u64) -> u64 {
    n
}

/// Looks so often, whatever it hears.
#[algorithm]
fn looks(times: u64, cx: &mut Cx) -> u64 {
    (0..times).filter(|_| cx.cancelled()).count() as u64
}

/// The master goes on only when the losers' slaves are free: there are as many patient tasks as slaves.
#[test]
fn a_running_task_hears_in_the_midst_that_it_was_cancelled() {
    async fn master(mw: Master, _args: Args) -> Result {
        for round in 0..2 {
            let patient: Vec<_> = (0..3).map(|n| mw.call(patient::task(n))).collect();
            tokio::time::sleep(Duration::from_millis(150)).await;
            drop(patient);
            assert_eq!(mw.call(quick::task(round)).await?, round);
        }
        Ok(())
    }
    for seed in 0..5 {
        let app = App::new()
            .algorithm::<patient>()
            .algorithm::<quick>()
            .master(master);
        let report = World::new(seed).slaves(3).run(app);
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
        assert!(report.simulated < Duration::from_secs(10), "{report:?}");
    }
}

#[test]
fn a_world_with_tasks_that_look_is_the_same_every_time() {
    async fn master(mw: Master, _args: Args) -> Result {
        let mut all = mw.map((0..40).map(|n| looks::task(n * 3))).in_order();
        while all.try_next().await?.is_some() {}
        Ok(())
    }
    let run = |seed| {
        let app = App::new().algorithm::<looks>().master(master);
        let churn = Churn::every(Duration::from_secs(2));
        World::new(seed).slaves(4).churn(churn).run(app)
    };
    for seed in 0..5 {
        let report = run(seed);
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
        assert_eq!(report, run(seed), "seed {seed}");
    }
}

/// Sixty steps of a hundred draws each; and where it went on.
#[algorithm]
fn walk(steps: u64, cx: &mut Cx) -> (u64, u64) {
    let (mut step, mut sum) = cx.resume::<(u64, u64)>().unwrap_or((0, 0));
    let from = step;
    while step < steps {
        for _ in 0..100 {
            sum = sum.wrapping_mul(31).wrapping_add(cx.rng().random::<u64>());
        }
        step += 1;
        cx.checkpoint(&(step, sum));
    }
    (sum, from)
}

thread_local! {
    static SUMS: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Every slave is killed or evicted again and again, and the sum is that of one who was left alone.
#[test]
fn a_task_goes_on_from_its_checkpoint_wherever_its_slave_is_lost() {
    async fn master(mw: Master, _args: Args) -> Result {
        let mut walks = mw.map((0..8).map(|_| walk::task(60))).in_order();
        let mut sums = Vec::new();
        while let Some((sum, _)) = walks.try_next().await? {
            sums.push(sum);
        }
        SUMS.set(sums);
        Ok(())
    }
    let run = |seed, churn| {
        let app = App::new().algorithm::<walk>().master(master);
        let report = World::new(seed)
            .slaves(4)
            .churn(churn)
            .compute(Duration::from_secs(20), Duration::from_secs(30))
            .args([
                "--mw-seed",
                "7",
                "--mw-checkpoint-interval",
                "1",
                "--mw-crash-limit",
                "0",
            ])
            .run(app);
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
        (report, SUMS.take())
    };
    let (_, expected) = run(0, Churn::none());
    assert_eq!(expected.len(), 8);
    let mut recycled = 0;
    for seed in 1..4 {
        let (report, sums) = run(seed, Churn::every(Duration::from_secs(5)));
        assert_eq!(sums, expected, "seed {seed}");
        recycled += report.recycled;
    }
    assert!(recycled > 5, "{recycled} tasks were recycled");
}
