//! A master algorithm of every kind of flow whose answer depends on nothing but its tasks; and which of its tasks that are
//! begun at most once were begun.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use futures_util::future::join;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_sched::{AlgorithmId, Reason};

use crate::master::{Master, Position, TaskErrorKind};
use crate::typed::best::Best;
use crate::typed::cx::Cx;
use crate::typed::registry::{Registry, RegistryBuilder};

thread_local! {
    /// What began since it was asked last.
    static BEGUN: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    /// Tasks that a life was told to have been begun by an earlier one, since it was asked last.
    static BEGUN_BEFORE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Neither commutative nor associative.
fn mix(a: u64, b: u64) -> u64 {
    let mixed = a.rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

#[ringmw::algorithm]
fn rolls(n: u64, cx: &mut Cx) -> u64 {
    use rand::Rng as _;
    let _ = cx.cancelled();
    cx.rng().next_u64() ^ n
}

#[ringmw::algorithm]
fn leaf(n: u64, cx: &mut Cx) -> u64 {
    let _ = cx.cancelled();
    mix(n, 1)
}

#[ringmw::algorithm]
fn weighs(n: u64, cx: &mut Cx) -> (u64, u64) {
    use rand::Rng as _;
    (n, cx.rng().next_u64())
}

/// Offers its key, which is like no other's.
#[ringmw::algorithm]
fn seeks(n: u64, best: &Best<u64, Vec<u64>>) -> bool {
    best.offer(mix(n, 2), &vec![n; 1 + n as usize % 20])
}

/// Is begun at most once.
#[ringmw::algorithm]
fn single(n: u64, cx: &mut Cx) -> u64 {
    BEGUN.with_borrow_mut(|begun| begun.push(n));
    let _ = cx.cancelled();
    mix(n, 3)
}

#[ringmw::algorithm]
fn follows(n: u64) -> u64 {
    mix(n, 4)
}

/// What the run comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    rolled: u64,
    reduced: u64,
    weighed: u64,
    followed: u64,
    best: Vec<Incumbent>,
}

/// A key and its witness.
type Incumbent = (u64, Option<Vec<u64>>);

/// The incumbents of a search: its tasks offer to them in turn, so that many a task has the best key of one.
type Bests = Vec<Best<u64, Vec<u64>>>;

fn bests(mw: &Master, habits: Habits) -> Bests {
    (0..habits.bests).map(|_| mw.minimum(u64::MAX)).collect()
}

fn incumbents(bests: &Bests) -> Vec<Incumbent> {
    let told = bests.iter().map(|best| (best.get(), best.witness()));
    told.collect()
}

#[derive(Copy, Clone, Debug)]
pub(super) struct Habits {
    tasks: u64,
    singles: u64,
    bests: u64,
    pub(super) slaves: usize,
    /// It saves its state, and goes on from there: one flow after the other.
    pub(super) saves: bool,
    /// Awaits that its state is safe.
    awaits: bool,
    /// The incumbent is made after the first result.
    late_best: bool,
    window: usize,
}

impl Habits {
    /// With many incumbents, and slaves that go and that stay.
    pub(super) fn harden(&mut self, rng: &mut ChaCha8Rng) {
        self.tasks = rng.random_range(40..80);
        self.bests = 30;
        self.slaves = rng.random_range(2..5);
    }

    pub(super) fn drawn(rng: &mut ChaCha8Rng) -> Self {
        Habits {
            tasks: rng.random_range(10..80),
            singles: rng.random_range(1..20),
            bests: [1, 5, 30][rng.random_range(0..3)],
            slaves: rng.random_range(1..6),
            saves: rng.random_range(0..2) == 0,
            awaits: rng.random_range(0..2) == 0,
            late_best: rng.random_range(0..2) == 0,
            window: [1, 7, 1_000][rng.random_range(0..3)],
        }
    }
}

/// What it saves.
#[ringmw::wire]
#[derive(Clone, Copy, Debug, Default)]
struct Saved {
    phase: u32,
    rolled: u64,
    at: Position,
    reduced: u64,
    weighed: u64,
    followed: u64,
}

pub(super) fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let made = || {
        let mut builder = RegistryBuilder::default();
        builder.register::<rolls>().expect("distinct names");
        builder.register::<leaf>().expect("distinct names");
        builder.register::<weighs>().expect("distinct names");
        builder.register::<seeks>().expect("distinct names");
        builder.register::<single>().expect("distinct names");
        builder.register::<follows>().expect("distinct names");
        Arc::new(builder.finish())
    };
    Arc::clone(REGISTRY.get_or_init(made))
}

/// The number of the algorithm whose tasks are begun at most once.
pub(super) fn once_index(registry: &Registry) -> AlgorithmId {
    AlgorithmId(registry.index_of::<single>().expect("it is registered").0)
}

pub(super) fn forget_begun() {
    BEGUN.take();
    BEGUN_BEFORE.take();
}

/// Which tasks lives were told to have been begun by earlier ones, since it was asked last.
pub(super) fn take_begun_before() -> Vec<Key> {
    BEGUN_BEFORE.take().into_iter().map(key_of).collect()
}

fn key_of(n: u64) -> Key {
    ((u64::MAX, n), single::task(n).args.to_vec())
}

/// A task: its stream and its arguments.
pub(super) type Key = ((u64, u64), Vec<u8>);

/// Which of those tasks began since it was asked last: the number that each gives itself, and its key.
pub(super) fn take_begun() -> Vec<(u64, Key)> {
    let begun = BEGUN.take().into_iter();
    begun.map(|n| (n, key_of(n))).collect()
}

pub(super) async fn master(mw: Master, habits: Habits) -> Answer {
    match habits.saves {
        true => one_by_one(mw, habits).await,
        false => at_once(mw, habits).await,
    }
}

async fn one_by_one(mw: Master, habits: Habits) -> Answer {
    let early = (!habits.late_best).then(|| bests(&mw, habits));
    let restored = mw.restore::<Saved>().await.expect("one of both is whole");
    let mut saved = restored.unwrap_or_default();
    if saved.phase == 0 {
        let from = saved.at;
        let map = mw.map((from.index()..habits.tasks).map(rolls::task));
        let mut map = map.window(habits.window).in_order().resume_at(from);
        while let Some(roll) = map.try_next().await.expect("it cannot fail") {
            saved.rolled = mix(saved.rolled, roll);
            saved.at = map.position();
            if saved.at.index() % 5 == 0 {
                save(&mw, habits, &saved).await;
            }
        }
        saved.phase = 1;
        save(&mw, habits, &saved).await;
    }
    let best = early.unwrap_or_else(|| bests(&mw, habits));
    if saved.phase == 1 {
        saved.reduced = reduced(&mw, habits).await;
        saved.phase = 2;
        save(&mw, habits, &saved).await;
    }
    if saved.phase == 2 {
        sought(&mw, habits, &best).await;
        saved.phase = 3;
        save(&mw, habits, &saved).await;
    }
    if saved.phase == 3 {
        singles(&mw, habits).await;
        saved.weighed = weighed(&mw, habits).await;
        saved.phase = 4;
        save(&mw, habits, &saved).await;
    }
    saved.followed = followed(&mw).await;
    Answer {
        rolled: saved.rolled,
        reduced: saved.reduced,
        weighed: saved.weighed,
        followed: saved.followed,
        best: incumbents(&best),
    }
}

async fn save(mw: &Master, habits: Habits, saved: &Saved) {
    let safe = mw.save(saved);
    if habits.awaits {
        safe.await.expect("the disk takes states");
    }
}

async fn at_once(mw: Master, habits: Habits) -> Answer {
    let early = (!habits.late_best).then(|| bests(&mw, habits));
    let rolling = async {
        let map = mw.map((0..habits.tasks).map(rolls::task));
        let mut map = map.window(habits.window).in_order();
        let mut rolled = 0;
        while let Some(roll) = map.try_next().await.expect("it cannot fail") {
            rolled = mix(rolled, roll);
        }
        rolled
    };
    let seeking = async {
        let first = mw.call(follows::task(0)).await.expect("it cannot fail");
        assert_eq!(first, follows(0));
        let best = early.unwrap_or_else(|| bests(&mw, habits));
        sought(&mw, habits, &best).await;
        incumbents(&best)
    };
    let maps = join(reduced(&mw, habits), join(rolling, seeking));
    let others = join(join(singles(&mw, habits), weighed(&mw, habits)), maps);
    let (((), weighed), (reduced, (rolled, best))) = others.await;
    Answer {
        rolled,
        reduced,
        weighed,
        followed: followed(&mw).await,
        best,
    }
}

async fn reduced(mw: &Master, habits: Habits) -> u64 {
    let map = mw.map((0..habits.tasks).map(leaf::task));
    let value = map.reduce(mix).await.expect("it cannot fail");
    value.expect("there are tasks")
}

async fn sought(mw: &Master, habits: Habits, bests: &Bests) {
    let mut map =
        mw.map((0..habits.tasks).map(|n| seeks::task(n, &bests[(n % habits.bests) as usize])));
    let mut told = 0;
    while let Some(end) = map.next().await {
        end.expect("it cannot fail");
        told += 1;
    }
    assert_eq!(told, habits.tasks, "ends of a map");
}

async fn singles(mw: &Master, habits: Habits) {
    let of = |n| single::task(n).retry(false).stream(n);
    let mut map = mw.map((0..habits.singles).map(of)).in_order();
    let mut nth = 0;
    while let Some(end) = map.next().await {
        match end {
            Ok(value) => assert_eq!(value, mix(nth, 3), "another value of task {nth}"),
            Err(error) => match error.kind() {
                TaskErrorKind::Unrunnable {
                    reason: Reason::NotRetried(_),
                    ..
                } => {}
                TaskErrorKind::Unrunnable {
                    reason: Reason::BegunBefore,
                    ..
                } => BEGUN_BEFORE.with_borrow_mut(|before| before.push(nth)),
                other => panic!("{other}"),
            },
        }
        nth += 1;
    }
    assert_eq!(nth, habits.singles, "ends of a map");
}

async fn weighed(mw: &Master, habits: Habits) -> u64 {
    let all = mw.submit_all((0..habits.tasks).map(weighs::task));
    let (mut seen, mut sum, mut told) = (vec![false; all as usize], 0u64, 0);
    while told < all {
        mw.events().await;
        for result in mw.take_results() {
            let (n, weight) = result.output::<weighs>().expect("it cannot fail");
            let before = std::mem::replace(&mut seen[n as usize], true);
            assert!(!before, "the end of task {n} is told twice");
            sum = sum.wrapping_add(mix(weight, n));
            told += 1;
        }
    }
    sum
}

async fn followed(mw: &Master) -> u64 {
    let mut value = 1;
    for _ in 0..5 {
        value = mw.call(follows::task(value)).await.expect("it cannot fail");
    }
    value
}
