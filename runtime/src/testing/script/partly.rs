//! Masters that take a part of what there is: some results of the queue, of one algorithm and not of another, unrunnable ends
//! now and then or never, no news; and await maps, calls and one algorithm's results beside what they leave.
//!
//! Whatever is awaited comes at every bound, and at the end every end is there, once.

use std::collections::BTreeSet;
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::{Group, Reason, SlaveId, TaskId};

use crate::app::App;
use crate::master::{Master, TaskErrorKind};
use crate::testing::{Churn, World};

#[ringmw::algorithm]
fn even(n: u64) -> u64 {
    2 * n
}

#[ringmw::algorithm]
fn odd(n: u64) -> u64 {
    2 * n + 1
}

/// Between two looks: news that nobody takes would be there at once, and each look a pass.
const PAUSE: Duration = Duration::from_millis(10);

/// No slave of this number comes: a task for it ends at once.
const NOBODY: SlaveId = SlaveId(u32::MAX);

/// Runs one such master in a world of its own.
///
/// # Panics
/// When something that is awaited does not come, an end is missing or told twice, or the cores break the law.
pub(super) fn partly(seed: u64, transcript: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x9a27);
    let of = |rng: &mut ChaCha8Rng, all: &[u64]| all[rng.random_range(0..all.len())].to_string();
    let queued = of(&mut rng, &[2_000, 20_000, 1 << 30]);
    let ready = of(&mut rng, &[1, 200, 2_000, 1 << 30]);
    let churn = match rng.random_range(0..3) {
        0 => Churn::none(),
        _ => Churn::every(Duration::from_secs(1)),
    };
    let drawn = ChaCha8Rng::seed_from_u64(rng.random());
    let app = App::new()
        .algorithm::<even>()
        .algorithm::<odd>()
        .master(move |mw, _| async move { master(mw, drawn).await });
    let world = World::new(seed)
        .slaves(rng.random_range(2..5))
        .churn(churn)
        .compute(Duration::from_micros(10), Duration::from_millis(5))
        .args(["--mw-client-timeout", "3", "--mw-crash-limit", "0"])
        .args(["--mw-max-queued-bytes", &queued])
        .args(["--mw-max-ready-bytes", &ready])
        .patience(Duration::from_secs(600));
    let world = match transcript {
        true => {
            eprintln!("{queued} bytes queued, {ready} ready");
            world.transcript()
        }
        false => world,
    };
    let report = world.run(app);
    assert_eq!(report.code, 0, "{:?}", report.error);
}

/// What was submitted to the queue and has not been taken.
struct Untaken {
    mw: Master,
    tasks: BTreeSet<TaskId>,
}

impl Untaken {
    fn submit(&mut self, rng: &mut ChaCha8Rng) {
        for n in 0..rng.random_range(1..30) {
            let (is_even, kind) = (rng.random_range(0..2) == 0, rng.random_range(0..12));
            // Nobody can run the one, and few the other.
            let to = |task: ringmw::Task<even>| match kind {
                0 => task.slave(NOBODY),
                1 => task.slave(SlaveId(0)),
                _ => task,
            };
            let id = match is_even {
                true => self.mw.submit(to(even::task(n))),
                false => self.mw.submit(odd::task(n)),
            };
            assert!(self.tasks.insert(id), "{id} is given twice");
        }
    }

    fn took(&mut self, id: TaskId) {
        assert!(self.tasks.remove(&id), "{id} ends a second time");
    }

    fn take_results(&mut self) {
        for result in self.mw.take_results() {
            self.took(result.id());
        }
    }

    fn take_unrunnable(&mut self) {
        for task in self.mw.take_unrunnable() {
            self.took(task.id());
        }
    }

    /// Takes until the bound of ready results is not met, as who awaits results of the queue must.
    async fn take_to_the_bound(&mut self) {
        loop {
            let (bytes, most) = self.mw.work(|state| state.queue.ready_bytes());
            if bytes <= most && self.mw.runnable() == 0 {
                break;
            }
            if bytes > most {
                self.take_results();
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn master(mw: Master, mut rng: ChaCha8Rng) {
    let rng = &mut rng;
    if rng.random_range(0..2) == 0 {
        // Their coming and going is told, and nobody asks.
        mw.allocate(Group::Ordered, 1);
    }
    let (takes, takes_unrunnable) = (rng.random_range(0..60), rng.random_range(0..40));
    let mut untaken = Untaken {
        mw: mw.clone(),
        tasks: BTreeSet::new(),
    };
    for _ in 0..rng.random_range(2..7) {
        untaken.submit(rng);
        match rng.random_range(0..5) {
            0 => map(&mw, rng.random_range(1..40), None).await,
            1 => map(&mw, rng.random_range(1..40), Some(rng.random_range(1..9))).await,
            2 => call(&mw).await,
            3 => one_algorithms(&mut untaken, rng).await,
            _ => {
                _ = mw
                    .events_timeout(Duration::from_millis(rng.random_range(0..50)))
                    .await
            }
        }
        if rng.random_range(0..100) < takes {
            untaken.take_results();
        }
        if rng.random_range(0..100) < takes_unrunnable {
            untaken.take_unrunnable();
        }
    }
    while mw.runnable() > 0 {
        tokio::time::sleep(PAUSE).await;
        untaken.take_results();
    }
    untaken.take_results();
    untaken.take_unrunnable();
    assert!(untaken.tasks.is_empty(), "no end of {:?}", untaken.tasks);
}

/// A call is awaited, which the queue may have no room for.
async fn call(mw: &Master) {
    match mw.call(odd::task(3)).await {
        Ok(answer) => assert_eq!(answer, 7),
        Err(error) => {
            let is_refused = matches!(
                error.kind(),
                TaskErrorKind::Unrunnable {
                    reason: Reason::QueueFull { .. },
                    ..
                }
            );
            assert!(is_refused, "{error}");
        }
    }
}

/// A map is awaited.
async fn map(mw: &Master, tasks: u64, in_order: Option<usize>) {
    let map = mw.map((0..tasks).map(even::task));
    let (mut map, is_in_order) = match in_order {
        None => (map, false),
        Some(window) => (map.in_order().window(window), true),
    };
    let (mut sum, mut next) = (0, 0);
    while let Some(end) = map.next().await {
        let answer = end.expect("it cannot fail");
        assert!(!is_in_order || answer == 2 * next, "{answer} at {next}");
        next += 1;
        sum += answer;
    }
    assert_eq!((next, sum), (tasks, tasks * (tasks - 1)));
}

/// Results of one algorithm are awaited, those of the other lie about below their bound.
async fn one_algorithms(untaken: &mut Untaken, rng: &mut ChaCha8Rng) {
    untaken.take_to_the_bound().await;
    let mw = untaken.mw.clone();
    for n in 0..rng.random_range(1..30) {
        untaken.tasks.insert(mw.submit(even::task(n)));
    }
    let mut evens = mw.results::<even>();
    while let Some(end) = evens.next().await {
        match end {
            Ok(done) => untaken.took(done.id()),
            Err(error) => match error.kind() {
                TaskErrorKind::Unrunnable { id, .. } => untaken.took(*id),
                other => panic!("{other}"),
            },
        }
    }
}
