//! The cores that ship, in a world where everything goes wrong, one seed at a time.
//!
//! | command | runs |
//! |---|---|
//! | `cargo test --test sim` | a fixed set of seeds and a fresh handful |
//! | `RINGMW_SEEDS=100000 cargo test --release --test sim` | as many as asked, on all cores, and tells the rate |
//! | `RINGMW_SEED=17 cargo test --test sim -- --nocapture` | seed 17 alone, with a transcript |

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ringmw::testing::{Coverage, Lives, Storm, storm};

/// Seeds of every run; the coverage is asserted over them.
const FIXED: u64 = 800;
/// Fresh ones beside them.
const FRESH: u64 = 20;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
    )
}

/// Sums over many seeds.
#[derive(Default)]
struct Sums {
    seeds: u64,
    turns: u64,
    tasks: u64,
    begun: u64,
    in_series: u64,
    in_varied: u64,
    in_tagged: u64,
    several: u64,
    late: u64,
    went_by_labels: u64,
    timed_out: (u64, u64),
    slaves: u64,
    faults: u64,
    went: u64,
    went_with_unsent: u64,
    shared: u64,
    listening: (u64, u64, u64),
    quarantined: u64,
    healed: u64,
    lives: Lives,
    coverage: Coverage,
}

impl Sums {
    fn add(&mut self, storm: &Storm) {
        self.seeds += 1;
        self.turns += storm.turns;
        self.tasks += storm.tasks;
        self.begun += storm.begun;
        self.in_series += storm.in_series;
        self.in_varied += storm.in_varied;
        self.in_tagged += storm.in_tagged;
        self.several += storm.several;
        self.late += storm.late;
        self.went_by_labels += storm.went_by_labels;
        self.timed_out.0 += storm.timed_out.0;
        self.timed_out.1 += storm.timed_out.1;
        self.slaves += storm.slaves;
        self.faults += storm.faults;
        self.went += storm.went;
        self.went_with_unsent += storm.went_with_unsent;
        self.shared += storm.shared;
        self.listening.0 += storm.listening.0;
        self.listening.1 += storm.listening.1;
        self.listening.2 += storm.listening.2;
        self.quarantined += storm.quarantined;
        self.healed += storm.healed;
        self.lives.add(&storm.lives);
        self.coverage.add(&storm.coverage);
    }
}

/// One seed; what broke, if something did.
fn run(seed: u64) -> Result<Storm, String> {
    catch_unwind(AssertUnwindSafe(|| storm(seed, false))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// Runs these seeds on all cores.
fn run_all(seeds: &[u64]) -> Sums {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(0);
    let (sums, failures) = (Mutex::new(Sums::default()), Mutex::new(Vec::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while failures.lock().unwrap().len() < 3
                    && let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                {
                    match run(seed) {
                        Ok(storm) => sums.lock().unwrap().add(&storm),
                        Err(text) => failures.lock().unwrap().push((seed, text)),
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    for (seed, text) in &failures {
        println!(
            "seed {seed}: {text}\n  replay: RINGMW_SEED={seed} cargo test -p ringmw --test sim -- --nocapture"
        );
    }
    let sums = sums.into_inner().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s, {:.0} a second: {} turns, {} tasks submitted, {} of them in series ({} varied, {} tagged), {} begun, {} late results, {} tasks went by labels, {} slaves, {} faults, {} slaves went by themselves, {} had results unsent, {} were in quarantine, {} healed",
        sums.seeds,
        sums.seeds as f64 / seconds,
        sums.turns,
        sums.tasks,
        sums.in_series,
        sums.in_varied,
        sums.in_tagged,
        sums.begun,
        sums.late,
        sums.went_by_labels,
        sums.slaves,
        sums.faults,
        sums.went,
        sums.went_with_unsent,
        sums.quarantined,
        sums.healed,
    );
    assert!(
        failures.is_empty(),
        "seed {}: {}",
        failures[0].0,
        failures[0].1
    );
    sums
}

#[test]
fn the_cores_keep_the_law() {
    if let Some(seed) = number("RINGMW_SEED") {
        println!("{:#?}", storm(seed, true));
        return;
    }
    let mut seeds: Vec<u64> = (0..number("RINGMW_SEEDS").unwrap_or(FIXED)).collect();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let fresh = now.as_nanos() as u64 >> 10;
    seeds.extend((0..FRESH).map(|nth| fresh.wrapping_add(nth) | 1 << 40));
    let sums = run_all(&seeds);
    println!("{}", sums.coverage);
    assert!(sums.in_series > sums.tasks / 20, "series are common");
    let rare = sums.in_varied.min(sums.in_tagged);
    assert!(rare > sums.tasks / 200, "of every kind: {rare}");
    assert!(sums.several > 0, "several packets go ahead");
    assert!(sums.went_by_labels > 0, "tasks go by labels");
    assert!(sums.shared > 0, "slaves are sent shared data");
    let (own, others, away) = sums.listening;
    assert!(
        own > 0 && others > 0 && away > 0,
        "slaves that listen are had by the master {own} times, by others {others}, and turn {away} away"
    );
    let (own, others) = sums.timed_out;
    assert!(own > 0 && others > 0, "tasks time out: {own}, {others}");
    assert!(
        sums.went > 0 && sums.went_with_unsent > 0,
        "slaves go of their own will"
    );
    assert!(
        sums.quarantined > 0 && sums.healed > 0,
        "slaves are put into quarantine, and heal"
    );
    let lives = &sums.lives;
    println!("{lives:?}");
    let rarest = [
        lives.superseded,
        lives.came_back,
        lives.known,
        lives.unfounded,
        lives.damaged,
        lives.torn_states,
        lives.not_begun_again,
    ];
    assert!(!rarest.contains(&0), "of all that befalls lives: {lives:?}");
    let coverage = &sums.coverage;
    assert_eq!(
        coverage.pairs_missing(),
        [],
        "pairs that can happen and were not seen"
    );
    assert_eq!(
        coverage.pairs_impossible(),
        [],
        "pairs that cannot happen and were seen"
    );
    assert_eq!(coverage.ends_missing(), [""; 0], "ends that were not seen");
}

mod algorithms {
    use ringmw::prelude::*;

    #[algorithm]
    pub(crate) fn square(n: u64) -> u64 {
        n * n
    }

    #[algorithm]
    pub(crate) fn throw(cx: &mut Cx) -> u32 {
        cx.rng().random_range(1..=6)
    }

    #[algorithm]
    pub(crate) fn odd(n: u64) -> Result<u64, String> {
        if n % 2 == 1 {
            Ok(n)
        } else {
            Err(format!("{n} is even"))
        }
    }

    #[algorithm]
    pub(crate) fn descend(key: u32, best: &Best<u32, Vec<u32>>) {
        best.offer(key, &vec![key; 3]);
    }
}

/// Every form of the typed handle at once, under churn; each checks its own answer.
async fn everything(mw: ringmw::Master, _args: ringmw::Args) -> ringmw::Result {
    use algorithms::*;
    use ringmw::prelude::*;

    let best = mw.minimum::<u32, Vec<u32>>(1_000_000);
    let mut in_order = mw.map((0..60).map(square::task)).in_order().window(7);
    let mut throws = mw.map((0..20).map(|_| throw::task()));
    let submitted = mw.submit_all((0..30).map(odd::task));
    let mut calls: Vec<_> = (0..10u64).map(|n| mw.call(square::task(n))).collect();
    mw.allocate(Group::Intermingle, 1);
    let dropped = mw.map((0..50).map(square::task));
    let mut expected = 0u64;
    while let Some(square) = in_order.try_next().await? {
        assert_eq!(square, expected * expected);
        expected += 1;
        if expected == 5 {
            mw.poll_events().await;
        }
    }
    assert_eq!(expected, 60);
    drop(dropped);
    let lost = calls.split_off(7);
    for (n, call) in (0..).zip(calls) {
        assert_eq!(call.await?, n * n);
    }
    drop(lost);
    let mut sum = 0;
    while let Some(throw) = throws.next().await {
        sum += throw?;
    }
    assert_eq!(
        sum, SUM_OF_THROWS,
        "random streams depend on the tasks alone"
    );
    let mut odds = mw.results::<odd>();
    let (mut good, mut bad) = (0, 0);
    while let Some(end) = odds.next().await {
        match end {
            Ok(_) => good += 1,
            Err(error) if matches!(error.kind(), TaskErrorKind::Failed { .. }) => bad += 1,
            Err(error) => return Err(error.into()),
        }
    }
    assert_eq!((submitted, good, bad), (30, 15, 15));
    let mut descends = mw.map((1..40).map(|key| descend::task(key * 1_000, &best)));
    while descends.try_next().await?.is_some() {}
    assert_eq!((best.get(), best.witness()), (1_000, Some(vec![1_000; 3])));
    assert!(
        mw.events_timeout(std::time::Duration::from_secs(3))
            .await
            .results
            == 0
    );
    assert_eq!(mw.runnable(), 0);
    Ok(())
}

/// Terms of mixed magnitude: in another order their sum has other bits.
#[ringmw::algorithm]
fn term(n: u64) -> f64 {
    let n = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let sign = if n & 1 == 0 { 1.0 } else { -1.0 };
    sign * (n >> 11) as f64 * 2f64.powi((n >> 1 & 63) as i32 - 32)
}

/// Ten thousand terms by `RINGMW_REDUCTIONS=500`, fewer of them in every run of the tests.
#[test]
fn a_reduction_has_one_bit_pattern() {
    use std::time::Duration;

    use ringmw::testing::{Churn, World};

    let (seeds, terms) = match number("RINGMW_REDUCTIONS") {
        Some(seeds) => (seeds, 10_000),
        None => (8, 1_000),
    };
    let expected = ringmw::reduce((0..terms).map(term), |a, b| a + b).expect("there are terms");
    let plain: f64 = (0..terms).map(term).sum();
    assert_ne!(
        expected.to_bits(),
        plain.to_bits(),
        "the tree makes a difference"
    );
    let kept = (0..terms).filter(|n| n % 11 != 5).map(term);
    let without = ringmw::reduce(kept, |a, b| a + b).expect("there are terms");
    for seed in 0..seeds {
        let group = ["1", "7", "1000", "auto"][seed as usize % 4];
        let app = ringmw::App::new().algorithm::<term>().master(
            async move |mw: ringmw::Master, _args: ringmw::Args| -> ringmw::Result {
                let sum = mw
                    .map((0..terms).map(term::task))
                    .reduce(|a, b| a + b)
                    .await?;
                assert_eq!(
                    sum.map(f64::to_bits),
                    Some(expected.to_bits()),
                    "seed {seed}"
                );
                // No slave of this number comes: these are unrunnable, and left out.
                let nobody = ringmw::SlaveId(u32::MAX);
                let tasks = (0..terms).map(|n| match n % 11 {
                    5 => term::task(n).slave(nobody),
                    _ => term::task(n),
                });
                let all = mw.map(tasks).reduce(|a, b| a + b).holes().await;
                assert_eq!(
                    all.value.map(f64::to_bits),
                    Some(without.to_bits()),
                    "seed {seed}"
                );
                let holes: Vec<u64> = all.holes.iter().map(|(place, _)| *place).collect();
                let expected: Vec<u64> = (0..terms).filter(|n| n % 11 == 5).collect();
                assert_eq!(holes, expected, "seed {seed}");
                Ok(())
            },
        );
        let report = World::new(seed)
            .slaves(1 + seed as usize % 8)
            .churn(Churn::every(Duration::from_millis(30 + 10 * (seed % 20))))
            .compute(Duration::from_micros(1), Duration::from_micros(500))
            .args(["--mw-client-timeout", "3", "--mw-crash-limit", "0"])
            .args(["--mw-slave-task-group", group])
            .run(app);
        assert_eq!((report.code, &report.error), (0, &None), "seed {seed}");
    }
}

/// By `--mw-seed 42`, whatever befalls the slaves.
const SUM_OF_THROWS: u32 = 75;

#[test]
fn worlds_keep_the_law_for_a_users_algorithm() {
    use std::time::Duration;

    use ringmw::testing::{Churn, World};

    let seeds = number("RINGMW_SEEDS").map_or(20, |seeds| seeds / 100);
    let run = |seed: u64| {
        let app = ringmw::App::new()
            .algorithm::<algorithms::square>()
            .algorithm::<algorithms::throw>()
            .algorithm::<algorithms::odd>()
            .algorithm::<algorithms::descend>()
            .master(everything);
        let group = (1 + seed % 4).to_string();
        let args = [
            "--mw-seed",
            "42",
            "--mw-client-timeout",
            "5",
            "--mw-crash-limit",
            "0",
            "--mw-slave-task-group",
            &group,
        ];
        let churn = Churn::every(Duration::from_millis(100 + 100 * seed));
        let world = World::new(seed)
            .slaves(1 + seed as usize % 6)
            .churn(churn)
            .args(args);
        world.run(app)
    };
    assert_eq!(run(3), run(3), "one seed, one run");
    let reasons = ["idle for", "its time limit", "the slave algorithm returned"];
    let mut went = reasons.map(|_| 0);
    for seed in 0..seeds {
        let report = run(seed);
        let trail = String::from_utf8_lossy(&report.trail);
        for (reason, went) in reasons.iter().zip(&mut went) {
            *went += trail.matches(reason).count();
        }
        assert_eq!(
            (report.code, &report.error),
            (0, &None),
            "seed {seed}: {report:?}"
        );
        assert!(
            report.begun >= 60 + 20 + 30 + 7 + 39,
            "seed {seed}: {report:?}"
        );
    }
    assert!(
        went.iter().all(|slaves| *slaves > 0),
        "{reasons:?}: {went:?}"
    );
}

/// Seed 1269 found it: the keys of many incumbents went in one packet, larger than the slaves had been told of,
/// and every slave gave its master up in the handshake.
#[test]
fn many_incumbents_fit_the_smallest_buffer() {
    use std::time::Duration;

    use ringmw::testing::World;

    async fn master(mw: ringmw::Master, _args: ringmw::Args) -> ringmw::Result {
        let bests: Vec<_> = (0..400).map(|_| mw.minimum::<u32, Vec<u32>>(9)).collect();
        let descends = bests.iter().map(|best| algorithms::descend::task(7, best));
        let mut ends = mw.map(descends.collect::<Vec<_>>());
        while ends.try_next().await?.is_some() {}
        assert!(bests.iter().all(|best| best.get() == 7));
        Ok(())
    }

    let app = ringmw::App::new()
        .algorithm::<algorithms::descend>()
        .master(master);
    let world = World::new(1).args(["--mw-max-write-buffer-size", "4096"]);
    let report = world.patience(Duration::from_secs(600)).run(app);
    assert_eq!(report.code, 0, "{report:?}");
}

/// Tasks that are alike are collected on their way to the queue, and a source of tasks may look at that queue.
#[test]
fn a_source_of_tasks_sees_those_that_it_gave() {
    use algorithms::{odd, square};
    use ringmw::testing::World;

    async fn master(mw: ringmw::Master, _args: ringmw::Args) -> ringmw::Result {
        let mut next = 0;
        let up_to_ten = std::iter::from_fn(|| {
            let missing = mw.pending() < 10;
            next += 1;
            missing.then(|| square::task(next))
        });
        assert_eq!(mw.submit_all(up_to_ten), 10);
        let within = (0..100u64).map(|n| {
            assert_eq!(mw.runnable(), 10 + 4 * n);
            let first = mw.submit(square::task(n));
            assert_eq!(mw.submit_all([odd::task(2 * n)]), 1);
            assert_eq!(mw.submit(square::task(n)).seq(), first.seq() + 2);
            square::task(n)
        });
        assert_eq!(mw.submit_all(within), 100);
        assert_eq!((mw.runnable(), mw.cancel_all()), (410, 410));

        let seen = std::cell::Cell::new(0);
        let squares = (0..50u64).map(|n| {
            seen.set(seen.get().max(mw.runnable()));
            square::task(n)
        });
        let mut squares = mw.map(squares).in_order();
        for n in 0..50 {
            assert_eq!(squares.try_next().await?, Some(n * n));
        }
        assert!(squares.try_next().await?.is_none());
        assert_eq!(seen.get(), 49, "each saw those before it");
        Ok(())
    }

    let app = ringmw::App::new()
        .algorithm::<square>()
        .algorithm::<odd>()
        .master(master);
    let args = ["--mw-slave-task-group", "25"];
    let report = World::new(1).slaves(2).args(args).run(app);
    assert_eq!(report.code, 0, "{report:?}");
}

#[test]
#[should_panic(expected = "the master algorithm has not returned")]
fn a_world_has_no_endless_patience() {
    use std::time::Duration;

    use ringmw::testing::World;

    async fn master(mw: ringmw::Master, _args: ringmw::Args) {
        // Only ordered slaves, and none of them is addressed.
        mw.allocate(ringmw::Group::Ordered, 9);
        let _ = mw.call(algorithms::square::task(1)).await;
    }

    let app = ringmw::App::new()
        .algorithm::<algorithms::square>()
        .master(master);
    World::new(1).patience(Duration::from_secs(60)).run(app);
}

/// Must-show: a map that is awaited goes on, beside results, unrunnable ends and ordered tasks that nobody takes, at every
/// bound.
async fn beside_what_nobody_takes(mw: ringmw::Master, _args: ringmw::Args) -> ringmw::Result {
    use algorithms::*;
    use ringmw::prelude::*;

    mw.allocate(Group::Ordered, 1);
    while mw.take_connected().is_empty() {
        mw.events().await;
    }
    // Results that nobody takes, above their bound, and queued tasks above theirs: some are unrunnable.
    mw.submit_all((0..2_000).map(square::task));
    // Ordered ones for a slave that is not there.
    let nobody = SlaveId(1_000_000);
    mw.submit_all((0..50).map(|n| square::task(n).slave(nobody)));
    assert!(mw.unrunnable() >= 50, "nobody can run them");
    let mut sum = 0;
    let mut squares = mw.map((0..300).map(square::task));
    while let Some(square) = squares.try_next().await? {
        sum += square;
    }
    let mut in_order = mw.map((0..300).map(square::task)).in_order().window(5);
    let mut expected = 0u64;
    while let Some(square) = in_order.try_next().await? {
        assert_eq!(square, expected * expected);
        expected += 1;
    }
    assert_eq!((sum, expected), ((0..300).map(|n| n * n).sum(), 300));
    Ok(())
}

#[test]
fn a_map_that_is_awaited_goes_on_at_every_bound() {
    use ringmw::prelude::*;
    use ringmw::testing::World;

    let queued = [300, 2_000, 20_000, 100_000, 1 << 30];
    let ready = [1, 1_000, 1 << 30];
    let bounds = queued.map(|queued| ready.map(|ready| (queued, ready)));
    for (seed, (queued, ready)) in (0..).zip(bounds.into_iter().flatten()) {
        let app = App::new()
            .algorithm::<algorithms::square>()
            .master(beside_what_nobody_takes);
        let bounds = [
            format!("--mw-max-queued-bytes={queued}"),
            format!("--mw-max-ready-bytes={ready}"),
        ];
        let world = World::new(seed)
            .slaves(3)
            .args([&bounds[0][..], &bounds[1][..]]);
        let report = world.patience(std::time::Duration::from_secs(600)).run(app);
        let of = format!("{queued} bytes queued, {ready} ready, seed {seed}");
        assert_eq!(report.code, 0, "{of}: {report:?}");
        let trail = String::from_utf8_lossy(&report.trail).into_owned();
        let said = trail.matches("queue-full").count();
        assert!(
            said <= 1 && (queued > 20_000 || said == 1),
            "{of}: said {said} times"
        );
    }
}

/// The first tasks leave at once, however slow the iterator: while it makes the next ones the slaves compute.
async fn slow_iterator(mw: ringmw::Master, _args: ringmw::Args) -> ringmw::Result {
    use algorithms::*;
    use std::cell::Cell;

    let made = std::rc::Rc::new(Cell::new(0u64));
    let making = made.clone();
    let mut squares = mw.map((0..2_000).map(move |n| {
        making.set(n + 1);
        square::task(n)
    }));
    let first = squares.try_next().await?;
    assert!(
        first.is_some() && made.get() < 1_000,
        "{} were made before a result",
        made.get()
    );
    while squares.try_next().await?.is_some() {}
    assert_eq!(made.get(), 2_000);
    Ok(())
}

#[test]
fn the_first_tasks_of_a_map_leave_before_the_last_are_made() {
    use ringmw::prelude::*;
    use ringmw::testing::World;

    let app = App::new()
        .algorithm::<algorithms::square>()
        .master(slow_iterator);
    let world = World::new(7).compute(std::time::Duration::ZERO, std::time::Duration::ZERO);
    let report = world.run(app);
    assert_eq!(report.code, 0, "{report:?}");
}
