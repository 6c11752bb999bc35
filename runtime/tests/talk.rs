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
