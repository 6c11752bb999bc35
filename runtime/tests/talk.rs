//! What tasks hear and say while they run: in the simulated world, and in one process on both engines.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw::testing::{Churn, Report, World};
use ringmw_codec::audit::{Event, Line};

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

// ---- conversations

/// Says how often it has heard something, until that is "bye".
#[algorithm]
fn echo(talk: &mut Talk<String, String>) -> u64 {
    let mut heard = 0;
    while let Some(line) = talk.hear() {
        heard += 1;
        talk.say(&line.to_uppercase());
        if line == "bye" {
            break;
        }
    }
    heard
}

/// Says so many messages of so many bytes, and hears nothing.
#[algorithm]
fn babble(messages: u64, bytes: u64, talk: &mut Talk<Vec<u8>, Vec<u8>>, cx: &mut Cx) -> u64 {
    let mut said = 0;
    while said < messages && talk.say(&vec![said as u8; bytes as usize]) {
        said += 1;
        cx.progress(said, messages);
    }
    said
}

/// Hears until nobody listens.
#[algorithm(timeout = "2s")]
fn listen(talk: &mut Talk<u64, u64>) -> u64 {
    let mut sum = 0;
    while let Some(n) = talk.hear() {
        sum += n;
    }
    sum
}

/// The same, without an end of its time.
#[algorithm]
fn wait_for_ever(talk: &mut Talk<u64, u64>) {
    talk.say(&1);
    while talk.hear().is_some() {}
}

fn app<Fut>(master: impl FnOnce(Master, Args) -> Fut + 'static) -> App
where
    Fut: Future<Output = Result> + 'static,
{
    App::new()
        .algorithm::<echo>()
        .algorithm::<babble>()
        .algorithm::<listen>()
        .algorithm::<wait_for_ever>()
        .algorithm::<quick>()
        .master(master)
}

fn run(world: World, app: App) -> Report {
    let report = world.run(app);
    assert_eq!(report.code, 0, "{report:?}");
    report
}

/// Says lines and hears each of them.
async fn exchange(mw: &Master, lines: u64) -> Result {
    let talk = mw.converse(echo::task());
    for n in 0..lines {
        assert!(talk.say(&format!("line {n}")).await);
        assert_eq!(talk.next().await, Some(Heard::Said(format!("LINE {n}"))));
    }
    assert!(talk.say(&"bye".to_owned()).await);
    assert_eq!(talk.next().await, Some(Heard::Said("BYE".to_owned())));
    assert_eq!(talk.next().await, None);
    assert!(!talk.say(&"more".to_owned()).await, "it has ended");
    assert!(!talk.try_say(&"more".to_owned()));
    assert_eq!(talk.await?, lines + 1);
    Ok(())
}

/// Bytes of a `Vec<u8>` that travel beside its elements.
const VEC_BYTES: u64 = 16;
/// The largest message at the flag's default: a task's number stands before it.
const MESSAGE_BYTES_MAX: u64 = 131_072 - 8;

/// What every engine and the world show alike.
async fn conversations(mw: Master, _args: Args) -> Result {
    exchange(&mw, 50).await?;

    // What is said before the task has begun waits for it, and all of it is heard in order.
    let talk = mw.converse(echo::task());
    for n in 0..100 {
        assert!(talk.say(&n.to_string()).await);
    }
    for n in 0..100 {
        assert_eq!(talk.next().await, Some(Heard::Said(n.to_string())));
    }
    drop(talk);

    // Nobody listens.
    assert_eq!(mw.call(echo::task()).await?, 0);
    assert_eq!(mw.call(babble::task(5, 1)).await?, 0);
    let mut heard = mw.map((0..10).map(|_| echo::task()));
    while let Some(heard) = heard.try_next().await? {
        assert_eq!(heard, 0);
    }

    // As large as a result may be, when nothing else is under way; a byte more is none.
    let largest = MESSAGE_BYTES_MAX - VEC_BYTES;
    let talk = mw.converse(babble::task(3, largest));
    assert!(
        talk.say(&vec![7; largest as usize]).await,
        "it is never heard"
    );
    for n in 0..3 {
        assert_eq!(
            talk.next().await,
            Some(Heard::Said(vec![n; largest as usize]))
        );
    }
    assert_eq!(talk.await?, 3);
    let error = mw.converse(babble::task(1, largest + 1)).await.unwrap_err();
    assert!(
        error.to_string().contains("--mw-max-read-buffer-size"),
        "{error}"
    );

    // Awaited early: what it says is thrown away, however much.
    assert_eq!(mw.converse(babble::task(1_000, 1_000)).await?, 1_000);

    // A cancel while it hears: the only slave is free again.
    for _ in 0..3 {
        let talks: Vec<_> = (0..4).map(|_| mw.converse(wait_for_ever::task())).collect();
        assert_eq!(talks[0].next().await, Some(Heard::Said(1)));
        drop(talks);
        assert_eq!(mw.call(quick::task(3)).await?, 3);
    }

    // Its time is over while it hears: what it has is its result.
    let talk = mw.converse(listen::task());
    assert!(talk.say(&40).await && talk.say(&2).await);
    assert_eq!(talk.await?, 42);

    // One is left behind, and ends with the run.
    std::mem::forget(mw.converse(wait_for_ever::task()));
    let last = mw.converse(wait_for_ever::task());
    assert_eq!(last.next().await, Some(Heard::Said(1)));
    Ok(())
}

#[test]
fn conversations_in_the_simulated_world() {
    for seed in 0..20 {
        run(World::new(seed).slaves(2), app(conversations));
    }
}

#[test]
fn conversations_on_the_ring() {
    let args = ["--mw-engine", "ring"].map(String::from);
    assert_eq!(app(conversations).embedded(2).args(args).run(), 0);
}

#[test]
fn conversations_on_epoll() {
    let args = ["--mw-engine", "epoll"].map(String::from);
    assert_eq!(app(conversations).embedded(2).args(args).run(), 0);
}

/// The task stops at 64 KiB, its slave beats on, and nothing is lost.
#[test]
fn a_master_that_does_not_listen_loses_nothing() {
    async fn master(mw: Master, _args: Args) -> Result {
        let talk = mw.converse(babble::task(500, 1_000));
        tokio::time::sleep(Duration::from_secs(100)).await;
        let slaves = mw.slaves();
        let progress = slaves[0].progress.expect("it says how far it is");
        assert_eq!((progress.task, progress.total), (talk.id().seq(), 500));
        // A message counts 24 bytes beside its own.
        assert_eq!(progress.done, 65_536 / (1_000 + VEC_BYTES + 24));
        let mut heard = 0;
        while let Some(Heard::Said(said)) = talk.next().await {
            assert_eq!(said[0], heard as u8);
            heard += 1;
        }
        assert_eq!((heard, talk.await?), (500, 500));
        Ok(())
    }
    for seed in 0..5 {
        let world = World::new(seed)
            .slaves(1)
            .args(["--mw-client-timeout", "3"]);
        let report = run(world, app(master));
        assert_eq!(report.lost, 0, "{report:?}");
    }
}

/// Both say and neither hears: the trail and `why` name them, and once one of them hears both go on.
#[test]
fn two_that_wait_for_each_other_are_named() {
    async fn master(mw: Master, _args: Args) -> Result {
        let talk = mw.converse(babble::task(200, 1_000));
        let saying = async {
            // Behind 64 KiB it waits.
            while tokio::time::timeout(Duration::from_secs(30), talk.say(&vec![1; 1_000]))
                .await
                .is_ok()
            {}
        };
        saying.await;
        let mut heard = 0;
        while let Some(Heard::Said(_)) = talk.next().await {
            heard += 1;
        }
        assert_eq!((heard, talk.await?), (200, 200));
        Ok(())
    }
    let report = run(World::new(3).slaves(1), app(master));
    let trail = String::from_utf8(report.trail).unwrap();
    let stuck: Vec<_> = trail
        .lines()
        .filter_map(|line| match Line::parse(line).unwrap().event {
            Event::Stuck {
                task,
                slave,
                unheard,
                untaken,
                ms,
            } => Some((
                task,
                slave,
                unheard > 60_000,
                untaken > 60_000,
                ms >= 10_000,
            )),
            _ => None,
        })
        .collect();
    assert_eq!(stuck, [(0, Some(0), true, true, true)]);
}

/// Two hundred at once, and ten thousand on two slaves.
#[test]
fn conversations_by_the_thousand() {
    async fn at_once(mw: Master, _args: Args) -> Result {
        let talks = (0..200).map(|_| exchange(&mw, 3));
        for done in futures_util::future::join_all(talks).await {
            done?;
        }
        Ok(())
    }
    let world = World::new(1).slaves(200).args(["--mw-no-secret"]);
    run(world, app(at_once));

    async fn queued(mw: Master, _args: Args) -> Result {
        let talks = (0..10_000).map(|_| exchange(&mw, 1));
        for done in futures_util::future::join_all(talks).await {
            done?;
        }
        assert_eq!(mw.runnable(), 0);
        Ok(())
    }
    for engine in ["ring", "epoll"] {
        let args = ["--mw-engine", engine].map(String::from);
        assert_eq!(app(queued).embedded(2).args(args).run(), 0, "{engine}");
    }
}

/// Of a task whose result is known nobody hears anything.
#[test]
fn what_is_answered_from_a_journal_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let run = |heard: u64| {
        let master = move |mw: Master, _args: Args| async move {
            let talk = mw.converse(babble::task(3, 1));
            let mut count = 0;
            while let Some(Heard::Said(_)) = talk.next().await {
                count += 1;
            }
            assert_eq!((count, talk.await?), (heard, 3));
            Ok(())
        };
        let args = ["--mw-seed", "7", "--mw-journal", journal.to_str().unwrap()];
        let args = args.map(String::from);
        assert_eq!(app(master).embedded(1).args(args).run(), 0);
    };
    run(3);
    run(0);
}

#[test]
fn what_is_said_and_heard_is_of_the_fingerprint() {
    let signature = echo::signature();
    assert_eq!(
        signature.to_string(),
        "echo(talk: &mut Talk<String,String>) -> u64"
    );
    mod other {
        use ringmw::prelude::*;

        #[algorithm]
        pub(crate) fn echo(_talk: &mut Talk<String, u64>) -> u64 {
            0
        }
    }
    assert_ne!(signature.types, other::echo::signature().types);
    assert_eq!(quick::signature().to_string(), "quick(n: u64) -> u64");
}

#[test]
fn a_conversation_is_tested_without_a_run() {
    let mut talk = Talk::for_test(["a".to_owned(), "bye".to_owned(), "c".to_owned()]);
    assert_eq!(echo(&mut talk), 2);
    assert_eq!(talk.said(), ["A", "BYE"]);
    assert!(talk.is_open());
    assert_eq!(talk.try_hear().as_deref(), Some("c"));
    assert!(!talk.is_open() && talk.hear_timeout(Duration::MAX).is_none());
    assert!(talk.said().is_empty());
}
