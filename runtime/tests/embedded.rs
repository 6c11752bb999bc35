//! Whole applications in one process.

use std::future::Future;
use std::io::BufRead as _;
use std::path::Path;
use std::pin::pin;
use std::time::{Duration, Instant};

use ringmw::Origin;
use ringmw::prelude::*;
use ringmw_codec::audit::{Event, Line};

#[algorithm]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// The trail of a run of `square` and `nap`.
fn trail<Fut: Future<Output = Result> + 'static>(
    slaves: u32,
    args: &[&str],
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) -> Vec<Event> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trail");
    let args = args.iter().copied().map(String::from);
    let code = App::new()
        .algorithm::<square>()
        .algorithm::<nap>()
        .master(master)
        .embedded(slaves)
        .args(args.chain(["--mw-audit-file".to_owned(), text(&file)]))
        .run();
    assert_eq!(code, 0);
    let lines = std::fs::read_to_string(&file).unwrap();
    lines
        .lines()
        .map(|line| Line::parse(line).unwrap().event)
        .collect()
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// What a future gives, and how often it was asked.
async fn counted<T>(future: impl Future<Output = T>) -> (T, u32) {
    let (mut future, mut polls) = (pin!(future), 0);
    let value = std::future::poll_fn(|cx| {
        polls += 1;
        future.as_mut().poll(cx)
    });
    (value.await, polls)
}

#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

#[algorithm]
fn picky(n: u64) -> std::result::Result<u64, String> {
    match n % 3 {
        0 => Ok(n),
        1 => Err(format!("{n} is one too many")),
        _ => panic!("{n} is two too many"),
    }
}

#[test]
fn connected_slaves_are_seen_in_the_order_in_which_they_came() {
    async fn master(mw: Master, _: Args) -> Result {
        assert_eq!(mw.slaves().len(), mw.connected());
        mw.allocate(Group::Ordered, 1);
        while mw.connected() < 3 {
            mw.poll_events().await;
        }
        let slaves = mw.slaves();
        assert_eq!(slaves.len(), 3);
        assert!(slaves.is_sorted_by(|a, b| a.id < b.id), "{slaves:?}");
        let ordered = slaves.iter().filter(|view| view.group == Group::Ordered);
        assert_eq!(ordered.count(), 1);
        for view in &slaves {
            let alone = mw.slave(view.id).expect("it is connected");
            assert_eq!(
                (&alone.host, alone.address, alone.group),
                (&view.host, view.address, view.group)
            );
        }
        Ok(())
    }
    let code = App::new()
        .algorithm::<square>()
        .master(master)
        .embedded(3)
        .run();
    assert_eq!(code, 0);
}

#[test]
fn a_map_gives_every_result_once() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..100_000).map(square::task));
        let (mut sum, mut count) = (0, 0);
        while let Some(square) = squares.try_next().await? {
            sum += square;
            count += 1;
        }
        assert_eq!((count, sum), (100_000, 333_328_333_350_000));
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(2)
            .run(),
        0
    );
}

#[test]
fn in_order_is_in_order() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..10_000).map(square::task)).in_order().window(100);
        for n in 0..10_000 {
            assert_eq!(squares.try_next().await?, Some(n * n));
        }
        assert_eq!(squares.try_next().await?, None);
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(3)
            .run(),
        0
    );
}

#[test]
fn an_endless_map_can_be_dropped() {
    async fn master(mw: Master, _: Args) -> Result {
        let mut squares = mw.map((0..).map(square::task));
        for _ in 0..1_000 {
            squares.try_next().await?.unwrap();
        }
        drop(squares);
        assert_eq!(mw.runnable(), 0);
        assert_eq!(mw.call(square::task(12)).await?, 144);
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<square>()
            .master(master)
            .embedded(2)
            .run(),
        0
    );
}

/// The time of a task is what it computes: not what its slave waits before it, be it the first or one that follows at once.
#[test]
fn a_wait_is_no_tasks_time() {
    const PAUSE: Duration = Duration::from_secs(1);
    const NAP_MS: u64 = 100;
    let packets = ["--mw-audit-level", "packets"];
    let events = trail(1, &packets, async |mw, _args| {
        for _ in 0..2 {
            let mut naps = mw.map([NAP_MS, 0, NAP_MS].map(nap::task));
            while naps.try_next().await?.is_some() {}
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    });
    let compute = events.iter().map(|event| match event {
        Event::ResultsReceived { compute_us, .. } => *compute_us,
        _ => 0,
    });
    let compute = Duration::from_micros(compute.sum());
    let naps = Duration::from_millis(4 * NAP_MS);
    assert!(
        compute >= naps && compute < naps + PAUSE,
        "{compute:?} for {naps:?}"
    );
}

#[test]
fn errors_and_panics_are_failed_results() {
    async fn master(mw: Master, _: Args) -> Result {
        assert_eq!(mw.call(picky::task(3)).await?, 3);
        let error = mw.call(picky::task(4)).await.unwrap_err();
        assert!(
            matches!(error.kind(), TaskErrorKind::Failed { message, .. } if message == "4 is one too many"),
            "{error}"
        );
        let error = mw.call(picky::task(5)).await.unwrap_err().to_string();
        assert!(
            error.contains("embedded.rs:") && error.contains("5 is two too many"),
            "{error}"
        );
        Ok(())
    }
    assert_eq!(
        App::new()
            .algorithm::<picky>()
            .master(master)
            .embedded(1)
            .run(),
        0
    );
}

/// What nobody takes woke whoever waited for something else, as fast as it could ask again.
#[test]
fn what_is_not_taken_wakes_nobody_twice() {
    trail(2, &[], async |mw, _| {
        mw.allocate(Group::Intermingle, 1);
        mw.submit(square::task(3));
        while mw.poll_events().await.results == 0 {}
        assert_eq!(mw.poll_events().await.connected, 1);
        mw.submit(nap::task(300));
        let (done, polls) = counted(mw.results::<nap>().next()).await;
        assert_eq!(done.unwrap().unwrap().output, 300);
        assert!(polls < 30, "{polls} polls in 0.3 s");
        assert_eq!(mw.take_results().len(), 1);
        Ok(())
    });
}

/// A light thread is asked only when it was woken.
#[test]
fn a_light_thread_hears_that_there_is_nothing_more() {
    let events = trail(1, &[], async |mw, _| {
        let call = mw.call(nap::task(50));
        let (tell, told) = tokio::sync::oneshot::channel();
        let light = mw.clone();
        drop(mw.spawn(async move {
            let _ = tell.send(light.events().await);
        }));
        call.await?;
        let events = tokio::time::timeout(Duration::from_secs(20), told).await??;
        assert!(events.is_empty());
        Ok(())
    });
    let said = |event: &&Event| matches!(event, Event::Nothing);
    assert_eq!(events.iter().filter(said).count(), 1);
}

#[test]
fn a_single_pass_is_one_also_in_the_first_turn() {
    trail(0, &[], async |mw, _| {
        let begun = Instant::now();
        for _ in 0..3 {
            mw.poll_events().await;
        }
        let took = begun.elapsed();
        assert!(took < Duration::from_millis(400), "{took:?}");
        Ok(())
    });
}

/// Also to who waits for a call or a map.
#[test]
fn tasks_that_no_group_may_run_are_told_once() {
    let events = trail(1, &[], async |mw, _| {
        mw.allocate(Group::Ordered, 1);
        while mw.poll_events().await.connected == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut squares = mw.map((0..10).map(square::task));
        let wait = tokio::time::timeout(Duration::from_millis(50), squares.next());
        assert!(wait.await.is_err());
        let (slave, _) = mw.take_connected()[0];
        assert!(mw.free_slave(slave));
        while squares.try_next().await?.is_some() {}
        Ok(())
    });
    let told: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::Waiting { .. }))
        .collect();
    assert!(
        matches!(told[..], [Event::Waiting { tasks: 10, .. }]),
        "{told:?}"
    );
}

/// At the bound every single result is taken and makes room for the next one.
#[test]
fn ready_results_at_the_bound_are_one_line() {
    let events = trail(1, &["--mw-max-ready-bytes", "2000"], async |mw, _| {
        mw.submit_all((0..300).map(square::task));
        let mut results = mw.results::<square>();
        let mut ready = 0;
        while mw.runnable() > 0 {
            // Until it is held; from then on, as many as there were.
            loop {
                let before = ready;
                ready = mw.events_timeout(Duration::from_millis(20)).await.results;
                tokio::time::sleep(Duration::from_micros(200)).await;
                if ready == before || mw.runnable() == 0 {
                    break;
                }
            }
            results.next().await.unwrap()?;
        }
        Ok(())
    });
    let full = |event: &&Event| matches!(event, Event::ReadyFull { .. });
    let lines = events.iter().filter(full).count();
    assert!((1..10).contains(&lines), "{lines} lines");
}

/// The end of the runtime waited for every sum.
#[test]
fn a_heavy_sum_holds_no_end_up() {
    let begun = Instant::now();
    trail(0, &[], async |mw, _| {
        assert_eq!(mw.blocking(|| 6 * 7).await, 42);
        let sum = mw.blocking(|| std::thread::sleep(Duration::from_secs(60)));
        assert!(
            tokio::time::timeout(Duration::from_millis(20), sum)
                .await
                .is_err()
        );
        Ok(())
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
}

#[test]
fn an_unrunnable_task_has_its_whole_policy() {
    let events = trail(0, &["--mw-max-write-buffer-size", "4096"], async |mw, _| {
        let policy = Policy::new()
            .slave("SLAVE-7".parse::<SlaveId>()?)
            .tag(&"a tag".to_owned())
            .priority(0)
            .retry(false)
            .do_it_anyway(false)
            .stream(5);
        mw.submit(square::task(1).with(&policy));
        mw.submit(square::task(2).tag(&vec![0u64; 4096]));
        let unrunnable = mw.take_unrunnable();
        assert_eq!(unrunnable[0].policy(), policy);
        Ok(())
    });
    let too_large = events.iter().any(|event| {
        matches!(event, Event::Unrunnable { task: 1, reason }
            if reason.contains("at most 4096") && reason.contains("--mw-max-write-buffer-size"))
    });
    assert!(too_large, "size, limit and flag: {events:?}");
}

/// 4 million of them took the memory of all their arguments, whatever the bound of queued tasks.
#[test]
fn unrunnable_tasks_past_the_bound_are_kept_without_arguments() {
    let bound = ["--mw-max-queued-bytes", "20000"];
    let events = trail(0, &bound, async |mw, _| {
        let nobody: SlaveId = "SLAVE-4000000000".parse()?;
        let policy = Policy::new()
            .slave(nobody)
            .do_it_anyway(false)
            .retry(false)
            .priority(0);
        let task = |n: u64| square::task(n).with(&policy).stream(n);
        // Twice: what is taken makes room.
        for _ in 0..2 {
            let ids: Vec<_> = (0..3_000).map(|n| mw.submit(task(n))).collect();
            let tagged = [
                mw.submit(task(3_000).tag(&7u64)),
                mw.submit(task(3_001).tag(&"t".repeat(65))),
            ];
            assert_eq!(mw.unrunnable(), 3_002);
            let tasks = mw.take_unrunnable();
            assert_eq!(mw.unrunnable(), 0);
            let told: Vec<_> = tasks.iter().map(|task| task.id()).collect();
            assert_eq!(told, [&ids[..], &tagged].concat(), "each once");
            let whole = tasks
                .iter()
                .take_while(|task| task.args::<square>().is_some());
            let whole = whole.count();
            assert!((20..500).contains(&whole), "{whole} have their arguments");
            for (n, task) in (0..).zip(&tasks) {
                let args = (n < whole as u64).then_some((n,));
                assert_eq!(task.args::<square>(), args, "{task}");
                assert_eq!(task.task::<square>().is_some(), args.is_some());
                assert_eq!(task.reason(), ringmw::Reason::NoSuchSlave(nobody));
                assert!(task.is::<square>());
                assert_eq!(task.stream(), n.into(), "{task}");
                if n < 3_000 {
                    assert_eq!(task.policy(), policy.clone().stream(n));
                    assert_eq!(task.tag::<u64>(), Ok(None));
                }
            }
            assert_eq!(tasks[3_000].tag::<u64>(), Ok(Some(7)));
            assert_eq!(tasks[3_001].tag::<String>(), Ok(None), "it is too long");
        }
        // One by one, beside those of another algorithm.
        for n in 0..2_000 {
            mw.submit(task(n));
            mw.submit(nap::task(n).with(&policy));
        }
        let mut results = mw.results::<square>();
        for n in 0..2_000 {
            let error = results.next().await.expect("there are more").err();
            let kind = error.expect("it cannot run").into_kind();
            let TaskErrorKind::Unrunnable { reason, origin, .. } = kind else {
                panic!("{kind}")
            };
            assert_eq!(reason, ringmw::Reason::NoSuchSlave(nobody));
            assert_eq!(origin.stream(), n.into());
            match n {
                0 => assert_eq!(origin.args::<square>(), Some((n,))),
                1_000.. => assert_eq!(origin.args::<square>(), None),
                _ => {}
            }
        }
        assert!(results.next().await.is_none());
        assert_eq!(mw.take_unrunnable().len(), 2_000);
        // The queue's own refusals too; and the queue leaves them no room.
        let submitted = mw.submit_all((0..3_000).map(square::task));
        let refused = mw.take_unrunnable();
        assert_eq!(refused.len() as u64 + mw.pending(), submitted);
        let bytes_max = 20_000;
        for task in &refused {
            assert_eq!(task.reason(), ringmw::Reason::QueueFull { bytes_max });
            assert_eq!(task.args::<square>(), None);
        }
        mw.cancel_all();
        Ok(())
    });
    let told = |event: &&Event| matches!(event, Event::UnrunnableFull { .. });
    let told: Vec<_> = events.iter().filter(told).collect();
    assert_eq!(told.len(), 1, "said once");
    let [Event::UnrunnableFull { bytes, bytes_max }] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(*bytes_max, 20_000);
    assert!((19_000..21_000).contains(bytes), "{bytes}");
}

#[test]
#[should_panic(expected = "the application cannot be told in a handshake: app version")]
fn a_version_that_no_handshake_can_carry_is_told_at_the_start() {
    App::new().version("7".repeat(256)).embedded(0).run();
}

#[test]
#[should_panic(expected = "the user's arguments")]
fn arguments_that_no_handshake_can_carry_are_told_at_the_start() {
    async fn master(_: Master, _: Args) {}
    let app = App::new().algorithm::<square>().master(master);
    app.embedded(1).args(["7".repeat(2 << 20)]).run();
}

/// However it was taken back.
#[test]
fn every_cancelled_task_is_counted() {
    let events = trail(0, &[], async |mw, _| {
        drop(mw.call(square::task(1)));
        assert!(mw.cancel(mw.submit(square::task(2))));
        mw.submit_all((0..3).map(square::task));
        assert_eq!(mw.cancel_all(), 3);
        Ok(())
    });
    let counts = events.iter().map(|event| match event {
        Event::Cancelled { tasks } => *tasks,
        _ => 0,
    });
    assert_eq!(counts.sum::<u64>(), 5);
}

/// Says what it drew.
#[algorithm]
fn draws(
    text: &str,
    bytes: &[u8],
    numbers: &[u32],
    place: &Archived<String>,
    best: &Best<u64, String>,
    cx: &mut Cx,
) -> std::result::Result<(), String> {
    let _ = (text, bytes, numbers, place, best);
    Err(rand::Rng::next_u64(cx.rng()).to_string())
}

#[algorithm]
fn draw(cx: &mut Cx) -> u64 {
    rand::Rng::next_u64(cx.rng())
}

fn embedded(app: App) {
    assert_eq!(app.embedded(1).run(), 0);
}

/// What a failure says of its task: arguments, policy and stream.
fn failed(error: TaskError) -> (String, Origin) {
    match error.into_kind() {
        // What it drew stands before the place.
        TaskErrorKind::Failed {
            message, origin, ..
        } => (message, origin),
        other => panic!("{other}"),
    }
}

#[test]
fn the_origin_of_a_failed_task_is_readable() {
    async fn master(mw: Master, _: Args) -> Result {
        let best = mw.minimum::<u64, String>(9);
        let place = "there".to_string();
        let task = || draws::task("text", b"bytes", &[1, 2], &place, &best);
        let mut failures = mw.map([task(), task().retry(false)]);
        let mut origins = Vec::new();
        while let Some(end) = failures.next().await {
            origins.push(failed(end.unwrap_err()));
        }
        origins.sort_by_key(|(_, origin)| {
            origin.policy() == Policy::new().retry(false).do_it_anyway(false)
        });
        let [(first, origin), (second, fragile)] = &origins[..] else {
            panic!("{origins:?}")
        };
        assert_ne!(first, second, "each has a stream of its own");
        let given = (
            "text".to_string(),
            b"bytes".to_vec(),
            vec![1, 2],
            place.clone(),
        );
        assert_eq!(origin.args::<draws>(), Some(given));
        assert_eq!(origin.args::<draw>(), None, "these are no arguments of it");
        let policy = Policy::new().do_it_anyway(false).priority(0);
        assert_eq!(origin.policy(), policy.clone().retry(true));
        assert_eq!(fragile.policy(), policy.retry(false));
        // Submitted again it draws the same numbers, and so does another task with its stream.
        let again = mw.call(origin.task::<draws>().unwrap()).await;
        let (message, again) = failed(again.unwrap_err());
        assert_eq!((&message, again.stream()), (first, origin.stream()));
        let other = mw.call(task().stream(fragile.stream())).await;
        assert_eq!(failed(other.unwrap_err()).0, *second);
        Ok(())
    }
    embedded(
        App::new()
            .algorithm::<draws>()
            .algorithm::<draw>()
            .master(master),
    );
}

#[test]
fn a_task_that_cannot_run_is_readable() {
    async fn master(mw: Master, _: Args) -> Result {
        let nobody: SlaveId = "SLAVE-4000000000".parse().unwrap();
        let policy = Policy::new()
            .slave(nobody)
            .do_it_anyway(false)
            .retry(false)
            .priority(0);
        let id = mw.submit(square::task(7).with(&policy));
        mw.submit(draw::task().with(&policy));
        let tasks = mw.take_unrunnable();
        let [square_task, draw_task] = &tasks[..] else {
            panic!("{tasks:?}")
        };
        assert_eq!((square_task.id(), square_task.algorithm()), (id, "square"));
        assert_eq!(square_task.reason(), ringmw::Reason::NoSuchSlave(nobody));
        assert_eq!(
            square_task.to_string(),
            format!("{id} is unrunnable: there is no SLAVE-4000000000")
        );
        assert_eq!(square_task.args::<square>(), Some((7,)));
        assert_eq!(
            square_task.args::<draw>(),
            None,
            "it is another algorithm's"
        );
        assert_eq!(square_task.policy(), policy);
        assert_eq!(draw_task.args::<draw>(), Some(()));
        // Its stream is kept where the task is made again, and can be given to another.
        let drawn = mw.call(draw_task.task::<draw>().unwrap()).await?;
        let stream = draw_task.stream();
        assert_eq!(mw.call(draw::task().stream(stream)).await?, drawn);
        assert_ne!(mw.call(draw::task()).await?, drawn);
        // A call says the same of it.
        let error = mw.call(square::task(8).with(&policy)).await.unwrap_err();
        let TaskErrorKind::Unrunnable { reason, origin, .. } = error.kind() else {
            panic!("{error}")
        };
        assert_eq!(*reason, ringmw::Reason::NoSuchSlave(nobody));
        assert_eq!(
            (origin.args::<square>(), origin.policy()),
            (Some((8,)), policy)
        );
        Ok(())
    }
    embedded(
        App::new()
            .algorithm::<square>()
            .algorithm::<draw>()
            .master(master),
    );
}

#[algorithm]
fn inverse_square(n: u64) -> f64 {
    1.0 / (n as f64 * n as f64)
}

#[test]
fn a_reduction_has_the_same_bits_on_real_slaves() {
    const TERMS: u64 = 20_000;
    let term = |n: u64| inverse_square(n + 1);
    let expected = ringmw::reduce((0..TERMS).map(term), |a, b| a + b).unwrap();
    for (slaves, group, engine) in [
        (1, "1", "ring"),
        (2, "7", "epoll"),
        (8, "1000", "auto"),
        (3, "auto", "epoll"),
    ] {
        let code = App::new()
            .algorithm::<inverse_square>()
            .master(async move |mw: Master, _: Args| -> Result {
                let terms = (0..TERMS).map(|n| inverse_square::task(n + 1));
                let sum = mw.map(terms).reduce(|a, b| a + b).await?;
                assert_eq!(sum.map(f64::to_bits), Some(expected.to_bits()));
                let none = mw.map((0..0).map(inverse_square::task));
                assert_eq!(none.reduce(|a, b| a + b).await?, None);
                Ok(())
            })
            .embedded(slaves)
            .args(["--mw-slave-task-group", group, "--mw-engine", engine])
            .run();
        assert_eq!(code, 0, "{slaves} slaves, group {group}, {engine}");
    }
}

#[test]
fn the_first_place_without_an_output_is_the_error_of_a_reduction() {
    async fn master(mw: Master, _: Args) -> Result {
        let error = mw.map((0..9).map(picky::task)).reduce(|a, b| a + b).await;
        let error = error.unwrap_err().to_string();
        assert!(error.ends_with("1 is one too many"), "{error}");
        assert_eq!(mw.runnable(), 0, "what is out is taken back");
        let all = mw.map((0..9).map(picky::task)).reduce(|a, b| 10 * a + b);
        let all = all.holes().await;
        let places: Vec<u64> = all.holes.iter().map(|(place, _)| *place).collect();
        assert_eq!((all.value, places), (Some(36), vec![1, 2, 4, 5, 7, 8]));
        Ok(())
    }
    let app = App::new().algorithm::<picky>().master(master);
    assert_eq!(app.embedded(3).run(), 0);
}

#[test]
fn the_master_has_random_streams_of_its_own() {
    #[algorithm]
    fn nth(index: u64, cx: &mut Cx) -> u64 {
        assert_eq!(
            cx.rng_at(index).next_u64(),
            cx.streams().rng_at(index).next_u64()
        );
        cx.rng_at(index).next_u64()
    }
    async fn master(mw: Master, _: Args) -> Result {
        let first = mw.rng_at(3).next_u64();
        assert_eq!(first, mw.rng_at(3).next_u64());
        let drawn = [mw.call(nth::task(3)).await?, mw.call(nth::task(4)).await?];
        assert_eq!(drawn[0], mw.call(nth::task(3)).await?);
        assert!(drawn[0] != drawn[1] && !drawn.contains(&first));
        Ok(())
    }
    let app = App::new().algorithm::<nth>().master(master);
    assert_eq!(app.embedded(2).args(["--mw-seed", "5"]).run(), 0);
}

#[test]
fn priorities_and_deadlines_hold_for_calls_maps_and_the_queue() {
    async fn master(mw: Master, _: Args) -> Result {
        while mw.connected() == 0 {
            mw.poll_events().await;
        }
        // The only slave naps: what is given meanwhile waits.
        let first = mw.call(nap::task(300));
        while mw.pending() > 0 {
            mw.poll_events().await;
        }
        let soon = Policy::new().start_within(Duration::from_millis(1));
        let late = mw.call(square::task(1).with(&soon));
        for n in 0..8 {
            mw.submit(square::task(n).priority(n as i8 - 4));
        }
        let wrong = mw.call(square::task(2).priority(4)).await.unwrap_err();
        assert!(wrong.to_string().contains("from -4"), "{wrong}");
        let late = late.await.unwrap_err().to_string();
        assert!(late.contains("within 1ms of its submission"), "{late}");
        first.await?;
        let mut order = Vec::new();
        let mut squares = mw.results::<square>();
        while let Some(done) = squares.try_next().await? {
            order.push(done.output);
        }
        assert_eq!(order, [49, 36, 25, 16, 9, 4, 1, 0]);
        Ok(())
    }
    let app = App::new().algorithm::<square>().algorithm::<nap>();
    let args = ["--mw-slave-task-group", "1", "--mw-slave-prefetch", "off"];
    assert_eq!(app.master(master).embedded(1).args(args).run(), 0);
}

/// In the environment of the process whose slaves say something.
const SAYS: &str = "RINGMW_TEST_SAYS";

#[algorithm]
fn say(n: u64) -> u64 {
    tracing::warn!(n, "says");
    tracing::info!("nobody asks for this");
    n
}

async fn hears(mw: Master, _: Args) -> Result {
    tracing::warn!("the master's own");
    let mut ends = mw.map((0..20).map(say::task));
    while ends.try_next().await?.is_some() {}
    // Whoever reads what they say ends this process.
    tokio::time::sleep(Duration::from_secs(60)).await;
    Ok(())
}

/// Each slave is threads of one process: what it logs is shown as its own, and what others log is not.
#[test]
fn what_its_slaves_log_is_shown() {
    if std::env::var_os(SAYS).is_some() {
        let app = App::new().algorithm::<say>().master(hears);
        let args = ["--mw-forward-log", "warn", "--mw-slave-task-group", "1"];
        app.embedded(2).args(args).run();
        return;
    }
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "what_its_slaves_log_is_shown", "--nocapture"])
        .env(SAYS, "1")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    while said.len() < 20
        && let Some(line) = lines.next()
    {
        let line = line.unwrap();
        for word in ["the master's own", "nobody asks"] {
            assert!(!line.contains(word), "{line}");
        }
        let Some((_, n)) = line.split_once(": warn: embedded: says n=") else {
            continue;
        };
        assert!(line.contains(&format!(", TASK-{n}: ")), "{line}");
        assert!(
            line.contains(": SLAVE-0 at ") || line.contains(": SLAVE-1 at "),
            "{line}"
        );
        said.push(n.parse::<u64>().unwrap());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    said.sort_unstable();
    assert_eq!(said, (0..20).collect::<Vec<_>>());
}
