//! Tasks with time-outs of their own: in one process, and in the simulated world.

use std::future::Future;
use std::thread::sleep;
use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, World};

/// Hangs, whoever cancels it; its thread ends with the process.
#[algorithm]
fn hang(n: u64) -> u64 {
    loop {
        sleep(Duration::from_millis(5 + n % 2));
    }
}

/// Gives what it has when its time is over.
#[algorithm]
fn heed(n: u64, cx: &mut Cx) -> u64 {
    while !cx.cancelled() {
        sleep(Duration::from_millis(1));
    }
    n
}

#[algorithm(timeout = "1h")]
fn slow(n: u64) -> u64 {
    loop {
        sleep(Duration::from_millis(5 + n % 2));
    }
}

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

struct Count(u64);

impl SlaveState for Count {
    fn init(_: &mut Cx) -> Result<Self> {
        Ok(Count(0))
    }
}

#[algorithm]
fn stuck(count: &mut Count) -> u64 {
    count.0 += 1;
    loop {
        sleep(Duration::from_millis(5));
    }
}

/// Looks so often, whatever it hears.
#[algorithm]
fn look(times: u64, cx: &mut Cx) -> u64 {
    (0..times).filter(|_| cx.cancelled()).count() as u64
}

const SHORT: Duration = Duration::from_millis(200);

fn app<Fut: Future<Output = Result> + 'static>(
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) -> App {
    App::new()
        .algorithm::<hang>()
        .algorithm::<heed>()
        .algorithm::<slow>()
        .algorithm::<square>()
        .algorithm::<stuck>()
        .algorithm::<look>()
        .master(master)
}

async fn until_connected(mw: &Master, slaves: usize) {
    while mw.connected() < slaves {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The thread is left at the task, and another slave comes: of two that hang among twelve ten give results.
#[test]
fn in_one_process_a_new_slave_takes_the_place_of_one_that_hangs() {
    for engine in ["auto", "epoll"] {
        let code = app(async |mw: Master, _: Args| -> Result {
            until_connected(&mw, 2).await;
            let first: Vec<_> = mw.slaves().iter().map(|view| view.id).collect();
            let tasks = (0..12u64).map(|n| (n, n % 6 == 3));
            let calls = tasks.map(|(n, hangs)| {
                let mw = mw.clone();
                async move {
                    match hangs {
                        true => mw.call(hang::task(n).timeout(SHORT)).await,
                        false => mw.call(square::task(n)).await,
                    }
                }
            });
            let ends = futures_util::future::join_all(calls).await;
            for (n, end) in (0..).zip(ends) {
                match (n % 6, end) {
                    (3, Err(error)) => {
                        let error = error.to_string();
                        assert!(error.ends_with("timed out after 0.2 s"), "{error}");
                    }
                    (_, Ok(square)) => assert_eq!(square, n * n),
                    (_, end) => panic!("{n}: {end:?}"),
                }
            }
            until_connected(&mw, 2).await;
            let now: Vec<_> = mw.slaves().iter().map(|view| view.id).collect();
            assert!(
                now.iter().all(|slave| !first.contains(slave)),
                "{first:?} {now:?}"
            );
            Ok(())
        })
        .embedded(2)
        .args(["--mw-engine", engine, "--mw-client-timeout", "5"])
        .run();
        assert_eq!(code, 0);
    }
}

/// It costs no slave, and its own value counts.
#[test]
fn a_task_that_heeds_its_time_out_gives_what_it_has() {
    let code = app(async |mw: Master, _: Args| -> Result {
        until_connected(&mw, 2).await;
        let mut map = mw.map((0..6).map(|n| heed::task(n).timeout(Duration::from_millis(30))));
        let mut sum = 0;
        while let Some(n) = map.try_next().await? {
            sum += n;
        }
        assert_eq!(sum, 15);
        assert!(
            mw.slaves().iter().all(|view| view.id.0 < 2),
            "nobody was lost"
        );
        Ok(())
    })
    .embedded(2)
    .run();
    assert_eq!(code, 0);
}

/// Its own goes before its algorithm's and the run's; ordered tasks and those of state have it too.
#[test]
fn the_time_out_that_is_nearest_to_the_task_counts() {
    let code = app(async |mw: Master, _: Args| -> Result {
        mw.allocate(Group::Intermingle, 1);
        while mw.events().await.connected == 0 {}
        let (slave, _) = mw.take_connected()[0];
        let tasks = [
            slow::task(1).timeout(SHORT),
            slow::task(2).with(&Policy::new().timeout(SHORT)),
            slow::task(3).timeout(SHORT).slave(slave).do_it_anyway(true),
        ];
        for task in tasks {
            let error = mw.call(task).await.unwrap_err().to_string();
            assert!(error.ends_with("timed out after 0.2 s"), "{error}");
        }
        let error = mw.call(stuck::task().timeout(SHORT)).await.unwrap_err();
        assert!(
            error.to_string().ends_with("timed out after 0.2 s"),
            "{error}"
        );
        let policy = error.origin().policy();
        let again = format!("{:?}", stuck::task().with(&policy));
        assert!(again.contains("200ms"), "{again}");
        // The run's.
        let error = mw.call(hang::task(4)).await.unwrap_err().to_string();
        assert!(error.ends_with("timed out after 0.3 s"), "{error}");
        Ok(())
    })
    .embedded(2)
    .args(["--mw-task-timeout", "300ms"])
    .run();
    assert_eq!(code, 0);
}

/// Of a series each has its own; nobody is given a task again that has timed out.
#[test]
fn in_the_simulated_world_tasks_time_out_once() {
    for seed in 0..10 {
        let report = World::new(seed)
            .slaves(3)
            .churn(Churn::every(Duration::from_secs(5)))
            .args(["--mw-crash-limit", "0"])
            .run(app(async |mw: Master, _: Args| -> Result {
                let long = |n: u64| n % 10 == 3;
                let mut map = mw.map((0..40).map(|n| {
                    let times = if long(n) { 10_000_000 } else { 10 };
                    look::task(times)
                        .tag(&n)
                        .timeout(Duration::from_secs(2 + n % 2))
                }));
                let (mut good, mut bad) = (0, 0);
                while let Some(end) = map.next().await {
                    match end {
                        Ok(_) => good += 1,
                        Err(error) => {
                            let text = error.to_string();
                            let n = error.origin().tag::<u64>()?.expect("it has one");
                            assert!(
                                long(n) && text.ends_with("timed out after 3 s"),
                                "{n}: {text}"
                            );
                            bad += 1;
                        }
                    }
                }
                assert_eq!((good, bad), (36, 4));
                Ok(())
            }));
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
    }
}
