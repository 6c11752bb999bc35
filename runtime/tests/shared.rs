//! Data that is shared: sent once, decoded once, dropped by least recent use, forgotten with its last handle and task.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ringmw::Reason;
use ringmw::futures::FutureExt;
use ringmw::prelude::*;

#[wire]
#[derive(Clone, Debug, PartialEq)]
struct Table {
    rows: Vec<(u64, String)>,
}

fn table(rows: u64) -> Table {
    Table {
        rows: (0..rows).map(|n| (n * n, format!("row {n}"))).collect(),
    }
}

thread_local! {
    static MADE: Cell<u32> = const { Cell::new(0) };
}

/// A row, and how often the index over it was made on this slave.
#[algorithm]
fn look(n: u64, table: &Shared<Table>) -> (String, u32) {
    struct Index(std::collections::BTreeMap<u64, usize>);
    let index = table.derived(|table| {
        MADE.set(MADE.get() + 1);
        let places = table.rows.iter().enumerate();
        Index(places.map(|(at, row)| (row.0, at)).collect())
    });
    let row = &table.archived().rows[index.0[&(n * n)]];
    assert_eq!(row.1.as_str(), table.rows[n as usize].1);
    (row.1.to_string(), MADE.get())
}

/// The sums of the bytes of each, twice the first if it is alone.
#[algorithm]
fn sums(parts: &[Shared<[u8]>], first: &Shared<[u8]>) -> Vec<u64> {
    let sum = |part: &[u8]| part.iter().map(|&byte| u64::from(byte)).sum();
    parts.iter().chain([first]).map(|part| sum(part)).collect()
}

#[algorithm]
fn fails(data: &Shared<u64>) -> Result<u64, String> {
    Err(format!("it is {}", **data))
}

fn embedded<F, Fut>(slaves: u32, args: &[&str], master: F) -> u8
where
    F: FnOnce(Master, Args) -> Fut + 'static,
    Fut: Future<Output = Result> + 'static,
{
    let app = App::new()
        .algorithm::<look>()
        .algorithm::<sums>()
        .algorithm::<fails>();
    app.master(master)
        .embedded(slaves)
        .args(args.iter().copied())
        .run()
}

#[test]
fn a_value_is_sent_once_and_decoded_once_on_either_engine() {
    for engine in ["ring", "epoll"] {
        let code = embedded(3, &["--mw-engine", engine], |mw, _| async move {
            let shared = mw.share(&table(120_000));
            assert!(shared.bytes() > 1 << 20, "several windows: {shared:?}");
            assert_eq!(shared.rows[3], (9, "row 3".to_owned()));
            let tasks = (0..3_000).map(|n| look::task(n, &shared));
            let mut rows = mw.map(tasks).in_order();
            for n in 0..3_000 {
                let (row, made) = rows.try_next().await?.expect("as many as tasks");
                assert_eq!((row, made), (format!("row {n}"), 1));
            }
            Ok(())
        });
        assert_eq!(code, 0, "{engine}");
    }
}

#[test]
fn several_are_passed_at_once_and_nothing_is_something_too() {
    let code = embedded(2, &[], |mw, _| async move {
        let parts: Vec<_> = (0..5u8)
            .map(|n| mw.share(&vec![n; usize::from(n) * 100_000][..]))
            .collect();
        assert_eq!(parts[0].bytes(), 0);
        for _ in 0..3 {
            let sums = mw.call(sums::task(&parts, &parts[2])).await?;
            assert_eq!(sums, [0, 100_000, 400_000, 900_000, 1_600_000, 400_000]);
        }
        let sums = mw
            .call(sums::task(&[], &mw.share(&b"\x01\x02"[..])))
            .await?;
        assert_eq!(sums, [3]);
        Ok(())
    });
    assert_eq!(code, 0);
}

#[test]
fn past_the_bound_what_was_used_longest_ago_is_dropped_and_comes_again() {
    let args = ["--mw-shared-cache", "250000"];
    let code = embedded(1, &args, |mw, _| async move {
        let parts: Vec<_> = (1..=5u8).map(|n| mw.share(&vec![n; 100_000][..])).collect();
        for round in 0..3 {
            for part in &parts {
                let sums = mw.call(sums::task(&[], part)).await?;
                assert_eq!(sums, [100_000 * u64::from(part[0])], "round {round}");
            }
        }
        // All in one task: what it names stays, whatever the bound.
        let sums = mw.call(sums::task(&parts, &parts[0])).await?;
        assert_eq!(sums.len(), 6);
        Ok(())
    });
    assert_eq!(code, 0);
}

#[test]
fn a_file_is_sent_from_where_it_stands() {
    let code = embedded(2, &[], |mw, _| async move {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("data");
        let bytes: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes)?;
        let file = mw.share_file(&path).await?;
        let expected: u64 = bytes.iter().map(|&byte| u64::from(byte)).sum();
        let tasks = (0..20).map(|_| sums::task(&[], &file));
        let mut all = mw.map(tasks);
        while let Some(sums) = all.try_next().await? {
            assert_eq!(sums, [expected]);
        }
        let missing = mw.share_file(dir.path().join("missing")).await.unwrap_err();
        assert!(
            missing.to_string().contains("missing: No such file"),
            "{missing}"
        );
        let folder = mw.share_file(dir.path()).await.unwrap_err();
        assert!(folder.to_string().contains("not a plain file"), "{folder}");
        Ok(())
    });
    assert_eq!(code, 0);
}

#[test]
fn tasks_that_name_a_file_which_changes_are_unrunnable() {
    let code = embedded(0, &[], |mw, _| async move {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("data");
        std::fs::write(&path, vec![1; 3_000_000])?;
        let file = mw.share_file(&path).await?;
        std::fs::write(&path, vec![2; 3_000_000])?;
        let other = mw.share(&[1u8; 10][..]);
        for _ in 0..10 {
            mw.submit(sums::task(&[], &file));
        }
        mw.submit(sums::task(&[], &other));
        Ok(())
    });
    assert_eq!(code, 0);
    let code = embedded(2, &[], |mw, _| async move {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("data");
        std::fs::write(&path, vec![1; 3_000_000])?;
        let file = mw.share_file(&path).await?;
        std::fs::write(&path, vec![2; 3_000_000])?;
        let other = mw.share(&[1u8; 10][..]);
        for n in 0..10u64 {
            mw.submit(sums::task(&[], &file).tag(&n));
        }
        assert_eq!(mw.call(sums::task(&[], &other)).await?, [10]);
        let mut results = mw.results::<sums>();
        let mut ended = 0;
        while let Some(end) = results.next().await {
            let Err(error) = end else {
                panic!("nothing can have come of it")
            };
            let TaskErrorKind::Unrunnable { reason, .. } = error.kind() else {
                panic!("{error}")
            };
            assert_eq!(*reason, Reason::SharedGone);
            ended += 1;
        }
        assert_eq!(ended, 10);
        // They are in a series that is closed as they are dropped, and that ends them.
        let task = || sums::task(&[], &file);
        drop(mw.call(task()));
        drop((mw.call(task()), mw.call(task())));
        let mut map = mw.map([task(), task()]);
        let _ = map.try_next().now_or_never();
        drop(map);
        // As it is now it can be shared.
        let file = mw.share_file(&path).await?;
        assert_eq!(mw.call(sums::task(&[], &file)).await?, [6_000_000]);
        Ok(())
    });
    assert_eq!(code, 0);
}

#[test]
fn a_task_is_submitted_again_from_what_is_left_of_it() {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let code = embedded(1, &[], |mw, _| async move {
        let data = mw.share(&7u64);
        let error = mw.call(fails::task(&data)).await.unwrap_err();
        let TaskErrorKind::Failed {
            origin, message, ..
        } = error.kind()
        else {
            panic!("{error}")
        };
        assert!(message.contains("it is 7"));
        assert_eq!(origin.args::<fails>(), Some(()));
        let again = origin.task::<fails>().expect("these are its arguments");
        let error = mw.call(again).await.unwrap_err();
        assert!(error.to_string().contains("it is 7"), "{error}");
        // Without anybody who keeps it, it is gone.
        let (bytes, hash) = (data.bytes(), data.hash());
        drop(data);
        let _ = (bytes, hash);
        mw.events_timeout(Duration::from_millis(50)).await;
        let again = origin.task::<fails>().expect("these are its arguments");
        let error = mw.call(again).await.unwrap_err();
        let TaskErrorKind::Unrunnable { reason, .. } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!(*reason, Reason::SharedGone);
        RUNS.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    assert_eq!((code, RUNS.load(Ordering::Relaxed)), (0, 1));
}

/// How many it is given.
#[algorithm]
fn counted(parts: &[Shared<[u8]>]) -> Result<u64, String> {
    match parts.len() {
        0 => Ok(0),
        several => Err(format!("{several} are too many")),
    }
}

/// One that is made of another's arguments says nothing of what they mention: with tasks that name nothing it is alike in
/// all else, and its slave would wait for ever for what nobody keeps.
#[test]
fn a_task_made_again_does_not_pass_for_one_that_names_nothing() {
    use ringmw::testing::World;

    async fn master(mw: Master, _args: Args) -> Result {
        let data = mw.share(&[7u8; 1_000][..]);
        let task = counted::task(std::slice::from_ref(&data)).stream(1);
        let error = mw.call(task).await.unwrap_err();
        let TaskErrorKind::Failed { origin, .. } = error.kind() else {
            panic!("{error}")
        };
        drop(data);
        mw.events_timeout(Duration::from_secs(1)).await;
        let again = origin.task::<counted>().expect("these are its arguments");
        mw.submit_all([counted::task(&[]).stream(0), again]);
        let mut ends = mw.results::<counted>();
        let (mut done, mut gone) = (0, 0);
        while let Some(end) = ends.next().await {
            match end {
                Ok(result) => {
                    assert_eq!(result.output, 0);
                    done += 1;
                }
                Err(error) => {
                    let TaskErrorKind::Unrunnable { reason, .. } = error.kind() else {
                        panic!("{error}")
                    };
                    assert_eq!(*reason, Reason::SharedGone);
                    gone += 1;
                }
            }
        }
        assert_eq!((done, gone), (1, 1));
        Ok(())
    }

    let app = App::new().algorithm::<counted>().master(master);
    // So many are taken together, however long one takes.
    let world = World::new(1)
        .slaves(1)
        .args(["--mw-slave-task-group", "10"]);
    let report = world.patience(Duration::from_secs(60)).run(app);
    assert_eq!(report.code, 0, "{report:?}");
}

/// Two masters' worth of data after one another through one slave's cache: the second drops the first, and the first comes
/// again when it is named again.
#[test]
fn two_sets_of_data_take_turns_in_one_cache() {
    let args = ["--mw-shared-cache", "450000", "--mw-slave-task-group", "1"];
    let code = embedded(2, &args, |mw, _| async move {
        let sets: Vec<Vec<Shared<[u8]>>> = (0..2u8)
            .map(|set| {
                let bytes = (1..=4u8).map(|n| vec![10 * set + n; 100_000]);
                bytes.map(|bytes| mw.share(&bytes[..])).collect()
            })
            .collect();
        for round in 0..4 {
            let set = &sets[round % 2];
            let tasks = (0..40).map(|n| sums::task(set, &set[n % 4]));
            let mut all = mw.map(tasks).in_order();
            for n in 0..40 {
                let sums = all.try_next().await?.expect("as many as tasks");
                let expected = |part: &Shared<[u8]>| 100_000 * u64::from(part[0]);
                let of_set: Vec<u64> = set.iter().chain([&set[n % 4]]).map(expected).collect();
                assert_eq!(sums, of_set, "round {round}");
            }
        }
        Ok(())
    });
    assert_eq!(code, 0);
}
