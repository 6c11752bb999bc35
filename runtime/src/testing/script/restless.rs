//! Masters that leave nobody any time: they loop over futures whose answers are ready, never take the news, and hold their
//! thread. Theirs is the typed handle, since the promise that no await starves the run is made there; `Script` plays below
//! it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::join3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use ringmw_sched::{Group, SlaveId};

use crate::app::App;
use crate::io::clock::Clock;
use crate::master::{ANSWERS_UNREAD_MAX, Call, Master};
use crate::testing::{Churn, World};

#[ringmw::algorithm]
fn mirror(n: u64) -> u64 {
    n
}

/// No slave of this number comes: a task for it ends at once.
const NOBODY: SlaveId = SlaveId(u32::MAX);

/// Passes after which the work beside a hog is done, many times over.
const PASSES_MAX: u64 = 20_000;

/// The argument of a task that a map's iterator submits.
const OF_ITERATOR: u64 = u64::MAX;

#[derive(Copy, Clone, Debug)]
struct Habits {
    /// Loops over calls that fail at once: awaited by the master algorithm, and light threads.
    hogs: (usize, usize),
    /// News and unrunnable tasks lie about while `events` is asked for results.
    takes_no_news: bool,
    /// The thread is held for so long at a time.
    hold: Duration,
    tasks: u64,
    in_order: bool,
    /// Calls that nobody may run wait beside all that.
    crowd: u64,
}

/// Runs one such master in a world of its own.
///
/// # Panics
/// When it starves anybody, or the cores break the law.
pub(super) fn restless(seed: u64, transcript: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0e57);
    let hold = [0, 20, 1_500][rng.random_range(0..3)];
    let habits = Habits {
        hogs: (rng.random_range(0..3), rng.random_range(0..3)),
        takes_no_news: rng.random_range(0..2) == 0,
        hold: Duration::from_millis(hold),
        tasks: rng.random_range(5..40),
        in_order: rng.random_range(0..2) == 0,
        crowd: [0, 5, 300][(seed % 3) as usize],
    };
    let timeout = rng.random_range(2..6).to_string();
    let app = App::new()
        .algorithm::<mirror>()
        .master(move |mw, _| async move { master(mw, habits).await });
    // Without a pause a simulated second is tens of thousands of turns: nothing befalls anybody, and it is over soon.
    let (churn, patience) = match hold {
        0 => (Churn::none(), 5),
        _ => (Churn::every(Duration::from_millis(10 * hold)), 10 * hold),
    };
    let mut world = World::new(seed)
        .slaves(rng.random_range(2..5))
        .churn(churn)
        .compute(Duration::from_micros(10), Duration::from_millis(1 + hold))
        .args(["--mw-client-timeout", &timeout, "--mw-crash-limit", "0"])
        .patience(Duration::from_secs(patience));
    if transcript {
        eprintln!("{habits:?}");
        world = world.transcript();
    }
    let report = world.run(app);
    assert_eq!(report.code, 0, "{:?}", report.error);
}

/// What all that run on the master know.
struct Common {
    mw: Master,
    hold: Duration,
    over: Cell<bool>,
    /// Answers since the pass of this number.
    answers: Cell<(u64, u32)>,
}

impl Common {
    /// An answer was given that was there at once.
    fn answered(&self) {
        let (pass, answers) = self.answers.get();
        let answers = match pass == self.mw.passes() {
            true => answers + 1,
            false => 1,
        };
        self.answers.set((self.mw.passes(), answers));
        assert!(
            answers <= 2 * ANSWERS_UNREAD_MAX,
            "{answers} answers without a pass"
        );
        if answers.is_multiple_of(40) {
            Clock::hold(self.hold);
        }
    }

    async fn hog(self: Rc<Self>) {
        while !self.over.get() {
            let end = self.mw.call(mirror::task(0).slave(NOBODY)).await;
            assert!(end.is_err(), "nobody can have answered it");
            self.answered();
            let passes = self.mw.passes();
            assert!(passes < PASSES_MAX, "it is starved: {passes} passes");
        }
    }

    /// CL-MW's loop, which takes the results of its own tasks alone.
    async fn take_results_only(self: Rc<Self>, tasks: u64) {
        let sum = self.mw.submit_all((0..tasks).map(mirror::task));
        let (mut taken, mut seen) = (0, vec![false; tasks as usize]);
        while taken < sum {
            let before = self.mw.passes();
            self.mw.events().await;
            assert!(self.mw.passes() > before, "events() makes no pass");
            for result in self.mw.take_results() {
                let n = result.output::<mirror>().expect("it cannot fail");
                if n == OF_ITERATOR {
                    continue;
                }
                let told = std::mem::replace(&mut seen[n as usize], true);
                assert!(!told, "the end of task {n} is told twice");
                taken += 1;
            }
            Clock::hold(self.hold);
        }
    }

    /// A map, polled with wakers that use the master; so does its iterator, which submits to the queue between its tasks.
    async fn map(self: Rc<Self>, tasks: u64, in_order: bool) {
        let mw = self.mw.clone();
        let source = (0..tasks).map(move |n| {
            if n % 11 == 10 {
                mw.submit_all((0..2).map(|_| mirror::task(OF_ITERATOR)));
            }
            mirror::task(n)
        });
        let map = self
            .mw
            .map(source)
            .window(if tasks.is_multiple_of(2) { 7 } else { 30 });
        let mut map = if in_order { map.in_order() } else { map };
        let mut seen = vec![false; tasks as usize];
        while let Some(end) = curious(map.next()).await {
            let n = end.expect("it cannot fail");
            let told = std::mem::replace(&mut seen[n as usize], true);
            assert!(!told, "the end of task {n} is told twice");
        }
        assert!(seen.iter().all(|told| *told), "an end was not told");
    }
}

/// Calls that wait, and how often they have been polled in all.
struct Crowd {
    calls: Vec<Call<mirror>>,
    polls: Rc<Cell<u64>>,
}

impl Future for Crowd {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polls = Rc::clone(&self.polls);
        polls.set(polls.get() + self.calls.len() as u64);
        let answers = self.calls.iter_mut().map(|call| Pin::new(call).poll(cx));
        let ended = answers.filter(Poll::is_ready).count();
        assert_eq!(ended, 0, "no slave may have run it");
        Poll::Pending
    }
}

async fn master(mw: Master, habits: Habits) {
    let common = Rc::new(Common {
        mw: mw.clone(),
        hold: habits.hold,
        over: Cell::new(false),
        answers: Cell::new((0, 0)),
    });
    let _handle = Kept::new(&mw);
    if habits.takes_no_news {
        mw.allocate(Group::Intermingle, 1);
        mw.submit(mirror::task(0).slave(NOBODY));
    }
    for _ in 0..habits.hogs.1 {
        drop(mw.spawn(Rc::clone(&common).hog()));
    }
    // Those who wait have their turn when one of them has its answer, and else cost nobody anything.
    let polls = Rc::new(Cell::new(0));
    let calls = (0..habits.crowd).map(|n| mw.call(mirror::task(n).needs("nowhere")));
    drop(mw.spawn(Crowd {
        calls: calls.collect(),
        polls: Rc::clone(&polls),
    }));
    let results = mw.spawn(Rc::clone(&common).take_results_only(habits.tasks));
    let map = mw.spawn(Rc::clone(&common).map(habits.tasks, habits.in_order));
    let work = async {
        for n in 0..4 {
            let value = mw.call(mirror::task(n)).await.expect("it cannot fail");
            assert_eq!(value, n);
        }
        results.await;
        map.await;
        let crowd = (polls.get(), habits.crowd);
        assert_eq!(crowd.0, crowd.1, "whoever waits is asked again and again");
        common.over.set(true);
    };
    let idle = async {
        if habits.hogs.0 > 1 {
            Rc::clone(&common).hog().await;
        }
    };
    let first = async {
        if habits.hogs.0 > 0 {
            Rc::clone(&common).hog().await;
        }
    };
    // Asked in this order in every turn.
    join3(first, idle, work).await;
}

thread_local! {
    static HANDLE: RefCell<Option<Master>> = const { RefCell::new(None) };
}

/// What wakers use, for as long as the master algorithm is there: also one that is dropped by a panic.
struct Kept;

impl Kept {
    fn new(mw: &Master) -> Kept {
        HANDLE.set(Some(mw.clone()));
        Kept
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(HANDLE.take());
    }
}

/// A waker that uses the master where it is called.
struct Curious(Waker);

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        HANDLE.with_borrow(|handle| {
            if let Some(mw) = handle {
                mw.cancel(mw.submit(mirror::task(0).slave(NOBODY)));
            }
        });
        self.0.wake_by_ref();
    }
}

async fn curious<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Curious(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}
