//! Slaves have labels, tasks need them.

use std::future::Future;
use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, Report, World};
use ringmw::{Reason, TaskErrorKind};
use ringmw_codec::audit::{Event, Line};

#[algorithm]
fn who(cx: &mut Cx) -> u32 {
    cx.slave().0
}

/// What the slaves of these worlds have, in turn.
const SETS: [&[&str]; 4] = [&["gpu=1"], &[], &["site=fermi", "gpu=2"], &["site=cern"]];

/// Whether this slave, which is still here, has all of these.
fn has(mw: &Master, slave: u32, needs: &[&str]) -> bool {
    let labels = mw.slave(SlaveId(slave)).expect("nobody goes").labels;
    assert!(SETS.iter().any(|set| labels == *set), "{labels:?}");
    needs.iter().all(|need| {
        let mut keys = labels.iter().map(|label| label.split('=').next().unwrap());
        keys.any(|key| key == *need) || labels.iter().any(|label| label == need)
    })
}

fn world<Fut: Future<Output = Result> + 'static>(
    seed: u64,
    algorithm: impl FnOnce(Master, Args) -> Fut + 'static,
) -> Report {
    let app = App::new().algorithm::<who>().master(algorithm);
    let sets = SETS.map(<[&str]>::to_vec);
    let report = World::new(seed).slaves(4).labels(sets).run(app);
    assert_eq!(report.code, 0, "{report:?}");
    report
}

fn events(report: &Report) -> Vec<Event> {
    let trail = std::str::from_utf8(&report.trail).unwrap();
    let events = trail.lines().map(|line| Line::parse(line).unwrap().event);
    events.collect()
}

#[test]
fn calls_maps_the_queue_and_templates_go_where_their_labels_are() {
    for seed in 0..10 {
        world(seed, async |mw, _| {
            assert!(has(
                &mw,
                mw.call(who::task().needs("site=cern")).await?,
                &["site=cern"]
            ));
            let policy = Policy::new().needs("gpu").needs("site=fermi");
            let mut map = mw.map((0..20).map(|_| who::task().with(&policy)));
            while let Some(slave) = map.try_next().await? {
                assert!(has(&mw, slave, &["gpu", "site=fermi"]));
            }
            // Of tasks that are alike but for this every other one is for anybody.
            let needs = |n: u32| [&["gpu"][..], &[], &["site"]][n as usize % 3];
            let tasks = (0..60).map(|n| {
                let task = who::task().tag(&n);
                needs(n).iter().fold(task, |task, need| task.needs(*need))
            });
            mw.submit_all(tasks);
            let mut results = mw.results::<who>();
            let mut told = 0;
            while let Some(result) = results.next().await {
                let result = result?;
                let n = result.tag::<u32>()?.expect("it has one");
                assert!(has(&mw, result.output::<who>()?, needs(n)), "{n}");
                told += 1;
            }
            assert_eq!(told, 60);
            Ok(())
        });
    }
}

/// Slaves of a set of labels are lost, and others of that set come.
#[test]
fn whoever_is_lost_another_one_with_its_labels_goes_on() {
    for seed in 0..10 {
        let app = App::new()
            .algorithm::<who>()
            .master(async |mw: Master, _: Args| -> Result {
                let gpu = |slave: u32| mw.slave(SlaveId(slave)).map(|view| view.labels.clone());
                let mut map = mw.map((0..50).map(|_| who::task().needs("gpu")));
                let mut ends = 0;
                while let Some(slave) = map.try_next().await? {
                    // Who has gone since cannot be asked any more.
                    let labels = gpu(slave).unwrap_or_else(|| vec!["gpu".to_owned()]);
                    assert_eq!(labels, ["gpu"]);
                    ends += 1;
                }
                assert_eq!(ends, 50);
                Ok(())
            });
        let world = World::new(seed).slaves(4).labels([vec!["gpu"], vec![]]);
        let report = world
            .churn(Churn::every(Duration::from_millis(700)))
            .run(app);
        assert_eq!(report.code, 0, "seed {seed}: {report:?}");
    }
}

#[test]
fn what_is_no_label_is_told_at_submit_and_what_is_can_be_read_again() {
    world(1, async |mw, _| {
        let many = ["a", "b", "c", "d", "e"];
        let many = many
            .iter()
            .fold(who::task(), |task, need| task.needs(*need));
        for task in [
            many,
            who::task().needs("=x"),
            who::task().needs("x".repeat(65)),
        ] {
            let error = mw.call(task).await.unwrap_err();
            let TaskErrorKind::Unrunnable { reason, .. } = error.kind() else {
                panic!("{error}");
            };
            assert_eq!(*reason, Reason::NoSuchNeeds);
            assert!(error.to_string().contains("up to 4 labels"), "{error}");
        }
        // With a time that is over it is unrunnable, and its policy is all there.
        let task = who::task().needs("nobody=has").needs("gpu");
        let task = task.start_within(Duration::from_secs(3));
        let error = mw.call(task).await.unwrap_err();
        let TaskErrorKind::Unrunnable { origin, .. } = error.into_kind() else {
            panic!("it can not be run");
        };
        let policy = origin.policy();
        let given = Policy::new().needs("gpu").needs("nobody=has");
        let task = |policy: &Policy| format!("{:?}", who::task().with(policy));
        let of = |text: String| {
            text.split("needs: ")
                .nth(1)
                .map(|rest| rest[..22].to_owned())
        };
        assert_eq!(of(task(&policy)), of(task(&given)));
        Ok(())
    });
}

#[test]
fn tasks_that_no_connected_slave_may_run_are_said_and_said_again_when_that_lasts() {
    let report = world(1, async |mw, _| {
        let mut map = mw.map((0..7).map(|_| who::task().needs("gpu=9").needs("mem=big")));
        let next = tokio::time::timeout(Duration::from_secs(300), map.next()).await;
        assert!(next.is_err(), "nobody may run them");
        Ok(())
    });
    let said: Vec<(u64, Option<u64>)> = events(&report)
        .into_iter()
        .filter_map(|event| match event {
            Event::Waiting {
                tasks,
                needs,
                since_s,
            } => {
                assert_eq!(needs.as_deref(), Some("gpu=9 mem=big"));
                Some((tasks, since_s))
            }
            _ => None,
        })
        .collect();
    assert!(
        matches!(said[..], [(7, Some(1..5)), (7, Some(60..70))]),
        "{said:?}"
    );
}

#[test]
fn slaves_of_one_process_have_the_labels_of_its_arguments() {
    let code = App::new()
        .algorithm::<who>()
        .master(async |mw: Master, _: Args| -> Result {
            mw.call(who::task().needs("gpu").needs("mem=big")).await?;
            assert!(
                mw.slaves()
                    .iter()
                    .all(|view| view.labels == ["gpu", "mem=big"])
            );
            Ok(())
        })
        .embedded(2)
        .args(["--mw-slave-label", "gpu", "--mw-slave-label", "mem=big"])
        .run();
    assert_eq!(code, 0);
}
