//! No await starves the run: whatever a master algorithm awaits, and however soon it has its answers, I/O, timers and
//! light threads go on, and every end is told once.
//!
//! No clock is read here. In the simulated world an answer takes a 64th of the time between two passes; in one process
//! with real sockets a loop goes on until what it would starve has happened.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{join_all, join3, select_all};
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use ringmw::internals::turns::{hold, passes};
use ringmw::prelude::*;
use ringmw::testing::{Report, World};
use ringmw::{Call, TaskErrorKind};
use ringmw_codec::audit::{Event, Line};

#[algorithm]
fn double(n: u64) -> u64 {
    2 * n
}

/// No slave of this number ever comes: a task for it ends at once.
const NOBODY: SlaveId = SlaveId(4_000_000);

/// Answers that the simulated world gives between two passes.
const ANSWERS: u64 = 64;

fn in_world<Fut: Future<Output = Result> + 'static>(
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) -> Report {
    let app = App::new().algorithm::<double>().master(master);
    let world = World::new(7).compute(Duration::from_nanos(1), Duration::from_nanos(9));
    let world = world.args(["--mw-slave-task-group", "5000"]);
    let report = world.patience(Duration::from_secs(600)).run(app);
    assert_eq!((report.code, &report.error), (0, &None), "{report:?}");
    report
}

fn embedded<Fut: Future<Output = Result> + 'static>(
    engine: &str,
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) {
    let app = App::new().algorithm::<double>().master(master);
    let run = app.embedded(2).args(["--mw-engine", engine]);
    assert_eq!(run.run(), 0);
}

/// In the simulated world, and on real sockets with each engine that is to be had.
fn everywhere<Fut: Future<Output = Result> + 'static>(
    master: impl FnOnce(Master, Args) -> Fut + Copy + 'static,
) {
    in_world(master);
    embedded("auto", master);
    embedded("epoll", master);
}

/// How often a light thread's timer of 5 ms has fired.
fn ticks(mw: &Master) -> Rc<Cell<u64>> {
    let ticks = Rc::new(Cell::new(0));
    let counted = Rc::clone(&ticks);
    drop(mw.spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(5)).await;
            counted.set(counted.get() + 1);
        }
    }));
    ticks
}

// ---- CL-MW's own loop

/// It takes the results alone, never the news of an ordered slave, nor tasks that are unrunnable.
#[test]
fn what_nobody_takes_starves_nobody() {
    everywhere(async |mw, _| {
        mw.allocate(Group::Ordered, 1);
        mw.submit(double::task(0).slave(NOBODY));
        while mw.connected() < 2 {
            mw.poll_events().await;
        }
        mw.submit_all((1..=20).map(double::task));
        let (mut count, mut sum) = (0, 0);
        while count < 20 {
            let before = passes(&mw);
            let events = mw.events().await;
            assert!(passes(&mw) > before, "each call is a pass");
            assert_eq!((events.unrunnable, events.connected), (1, 1));
            for result in mw.take_results() {
                count += 1;
                sum += result.output::<double>()?;
            }
        }
        assert_eq!(sum, 420);
        Ok(())
    });
}

#[test]
fn light_threads_run_behind_a_loop_over_events() {
    everywhere(async |mw, _| {
        let done = Rc::new(Cell::new(0));
        for n in 0..4 {
            let (light, done) = (mw.clone(), Rc::clone(&done));
            drop(mw.spawn(async move {
                assert_eq!(light.call(double::task(n)).await.unwrap(), 2 * n);
                tokio::time::sleep(Duration::from_millis(1)).await;
                done.set(done.get() + 1);
            }));
        }
        while done.get() < 4 {
            mw.events().await;
        }
        Ok(())
    });
}

#[test]
fn events_with_a_timeout_wait_although_nothing_is_queued() {
    in_world(async |mw, _| {
        let begun = tokio::time::Instant::now();
        let mut loops = 0;
        while begun.elapsed() < Duration::from_secs(3) {
            let events = mw.events_timeout(Duration::from_millis(500)).await;
            assert!(events.is_empty());
            loops += 1;
        }
        assert_eq!(loops, 6, "in 3 s of simulated time");
        // Without one they do not.
        assert!(mw.events().await.is_empty());
        // What is there is given also when there is no time.
        mw.submit(double::task(0).slave(NOBODY));
        let before = passes(&mw);
        let events = mw.events_timeout(Duration::ZERO).await;
        assert_eq!((events.unrunnable, passes(&mw) > before), (1, true));
        Ok(())
    });
}

#[test]
fn each_of_events_and_its_kin_is_a_pass() {
    everywhere(async |mw, _| {
        mw.submit(double::task(0).slave(NOBODY));
        for _ in 0..100 {
            let before = passes(&mw);
            mw.events().await;
            mw.events_timeout(Duration::from_secs(60)).await;
            mw.poll_events().await;
            assert!(passes(&mw) >= before + 3);
        }
        Ok(())
    });
}

// ---- answers that are there at once

/// Whoever asks, and however often.
#[test]
fn calls_that_fail_at_once_starve_nobody() {
    everywhere(async |mw, _| {
        let ticks = ticks(&mw);
        let call = mw.call(double::task(21));
        let mut call = pin!(async { call.await.unwrap() });
        let mut tries = 0u64;
        let answer = loop {
            tokio::select! {
                biased;
                end = mw.call(double::task(1).slave(NOBODY)) => {
                    let error = end.unwrap_err();
                    assert!(matches!(error.kind(), TaskErrorKind::Unrunnable { .. }), "{error}");
                }
                answer = &mut call, if ticks.get() > 0 => break answer,
            }
            tries += 1;
        };
        assert_eq!(answer, 42);
        assert!(tries > 0);
        Ok(())
    });
}

#[test]
fn a_stream_that_is_over_starves_nobody() {
    everywhere(async |mw, _| {
        let ticks = ticks(&mw);
        let mut none = mw.map((0..0).map(double::task));
        while ticks.get() == 0 {
            assert!(none.next().await.is_none());
            assert!(mw.results::<double>().next().await.is_none());
        }
        Ok(())
    });
}

/// So does one that spawns the next, and one whose value is there at once.
#[test]
fn light_threads_starve_nobody() {
    fn spawn_next(mw: &Master, stop: Rc<Cell<bool>>) {
        let light = mw.clone();
        drop(mw.spawn(async move {
            if !stop.get() {
                spawn_next(&light, stop);
            }
        }));
    }
    everywhere(async |mw, _| {
        let (ticks, stop) = (ticks(&mw), Rc::new(Cell::new(false)));
        spawn_next(&mw, Rc::clone(&stop));
        let mut sum = 0;
        while ticks.get() < 2 {
            sum += mw.spawn(async { 1 }).await;
        }
        stop.set(true);
        assert!(sum > 0);
        Ok(())
    });
}

/// One that always has its answer, before all others, leaves them theirs.
#[test]
fn one_await_does_not_starve_another() {
    everywhere(async |mw, _| {
        let over = Rc::new(Cell::new(false));
        let hog = |mw: &Master| {
            let (mw, over) = (mw.clone(), Rc::clone(&over));
            async move {
                while !over.get() {
                    mw.call(double::task(1).slave(NOBODY)).await.unwrap_err();
                }
            }
        };
        let lights = [mw.spawn(hog(&mw)), mw.spawn(hog(&mw))];
        let light = mw.clone();
        let modest = mw.spawn(async move {
            for _ in 0..10 {
                light.call(double::task(1).slave(NOBODY)).await.unwrap_err();
            }
        });
        let last = async {
            for n in 0..10 {
                assert_eq!(mw.call(double::task(n)).await.unwrap(), 2 * n);
            }
            modest.await;
            over.set(true);
        };
        // In this order in each turn.
        join3(hog(&mw), hog(&mw), last).await;
        join_all(lights).await;
        Ok(())
    });
}

/// A task of tokio's own is no light thread, and is refused and woken as one.
#[test]
fn a_task_of_tokio_starves_nobody() {
    everywhere(async |mw, _| {
        let ticks = ticks(&mw);
        let own = mw.clone();
        let task = tokio::task::spawn_local(async move {
            while ticks.get() < 2 {
                own.call(double::task(1).slave(NOBODY)).await.unwrap_err();
            }
        });
        task.await?;
        Ok(())
    });
}

// ---- twenty thousand of them

const MANY: u64 = 20_000;

/// So many calls, of which all have ended: every fourth one fails.
async fn ended(mw: &Master) -> Vec<Call<double>> {
    let calls = (0..MANY).map(|n| match n % 4 {
        0 => mw.call(double::task(n).slave(NOBODY)),
        _ => mw.call(double::task(n)),
    });
    let calls = calls.collect();
    while mw.runnable() > 0 {
        mw.poll_events().await;
    }
    calls
}

/// Ends that were told.
struct Told {
    values: Vec<bool>,
    failed: u64,
}

impl Told {
    fn new() -> Told {
        Told {
            values: vec![false; MANY as usize],
            failed: 0,
        }
    }

    fn tell(&mut self, end: std::result::Result<u64, TaskError>) {
        match end {
            Ok(value) => {
                let told = std::mem::replace(&mut self.values[(value / 2) as usize], true);
                assert!(!told, "{value} is told twice");
            }
            Err(_) => self.failed += 1,
        }
    }

    fn assert_all(&self) {
        let values = self.values.iter().filter(|told| **told).count() as u64;
        assert_eq!((values, self.failed), (MANY / 4 * 3, MANY / 4));
    }
}

/// Every end is told once, a timer is served meanwhile, and passes are made as answers are given.
fn many<Fut: Future<Output = ()> + 'static>(
    take: impl FnOnce(Master, Vec<Call<double>>, Rc<RefCell<Told>>) -> Fut + 'static,
) {
    in_world(async |mw, _| {
        let (told, calls) = (Rc::new(RefCell::new(Told::new())), ended(&mw).await);
        mw.poll_events().await;
        let (ticks, before) = (ticks(&mw), passes(&mw));
        take(mw.clone(), calls, Rc::clone(&told)).await;
        let made = passes(&mw) - before;
        assert!(made >= MANY / ANSWERS - 1, "{made} passes");
        assert!(ticks.get() > 0, "the timer was served");
        told.borrow().assert_all();
        Ok(())
    });
}

#[test]
fn many_in_join_all() {
    many(async |_, calls, told| {
        for end in join_all(calls).await {
            told.borrow_mut().tell(end);
        }
    });
}

#[test]
fn many_in_futures_unordered() {
    many(async |_, calls, told| {
        let mut calls: FuturesUnordered<_> = calls.into_iter().collect();
        while let Some(end) = calls.next().await {
            told.borrow_mut().tell(end);
        }
    });
}

/// By the hundred: each selection moves those that are left.
#[test]
fn many_in_select_all() {
    many(async |_, mut calls, told| {
        while !calls.is_empty() {
            let mut some = calls.split_off(calls.len() - 100);
            while !some.is_empty() {
                let (end, _, left) = select_all(some).await;
                told.borrow_mut().tell(end);
                some = left;
            }
        }
    });
}

/// The timer is ready all the time; it is chosen when no answer is given, and only then.
#[test]
fn many_in_a_biased_select_with_a_ready_timer() {
    many(async |_, calls, told| {
        let mut timer = pin!(tokio::time::sleep(Duration::ZERO));
        timer.as_mut().await;
        let mut chosen = 0;
        for mut call in calls {
            loop {
                tokio::select! {
                    biased;
                    end = &mut call => break told.borrow_mut().tell(end),
                    () = &mut timer => chosen += 1,
                }
            }
        }
        assert!(chosen >= MANY / ANSWERS - 1, "{chosen} times");
    });
}

#[test]
fn many_in_a_timeout() {
    many(async |_, calls, told| {
        for mut call in calls {
            while match tokio::time::timeout(Duration::from_millis(1), &mut call).await {
                Ok(end) => {
                    told.borrow_mut().tell(end);
                    false
                }
                Err(_) => true,
            } {}
        }
    });
}

#[test]
fn many_in_ready_chunks() {
    in_world(async |mw, _| {
        let tasks = (0..MANY).map(|n| match n % 4 {
            0 => double::task(n).slave(NOBODY),
            _ => double::task(n),
        });
        let mut map = mw.map(tasks.collect::<Vec<_>>()).window(MANY as usize);
        let mut told = Told::new();
        told.tell(map.next().await.unwrap());
        while mw.runnable() > 0 {
            mw.poll_events().await;
        }
        let (ticks, before) = (ticks(&mw), passes(&mw));
        let mut chunks = map.ready_chunks(1_000);
        while let Some(chunk) = chunks.next().await {
            assert!(chunk.len() as u64 <= ANSWERS, "{}", chunk.len());
            for end in chunk {
                told.tell(end);
            }
        }
        assert!(passes(&mw) - before >= MANY / ANSWERS - 1);
        assert!(ticks.get() > 0);
        told.assert_all();
        Ok(())
    });
}

// ---- a thread that is held

/// Of each turn a second counts as silence, and whoever beats is kept. One that does not is found: `sim` sees to that.
#[test]
fn slaves_are_kept_however_long_the_turns_are() {
    let app = App::new()
        .algorithm::<double>()
        .master(async |mw: Master, _: Args| -> Result {
            while mw.connected() < 3 {
                mw.poll_events().await;
            }
            let mut turns = 0;
            while turns < 40 {
                hold(Duration::from_millis(1_500));
                mw.poll_events().await;
                turns += 1;
                mw.submit(double::task(turns));
            }
            Ok(())
        });
    let world = World::new(3).args(["--mw-client-timeout", "4"]);
    let report = world.run(app);
    assert_eq!((report.code, report.lost), (0, 0), "{report:?}");
    assert!(report.simulated >= Duration::from_secs(60));
    let trail = String::from_utf8(report.trail).unwrap();
    let stall = |line: &&str| matches!(Line::parse(line).unwrap().event, Event::Stall { .. });
    assert_eq!(trail.lines().filter(stall).count(), 40);
}

// ---- wakers

thread_local! {
    static HANDLE: RefCell<Option<Master>> = const { RefCell::new(None) };
}

/// A waker that uses the master wherever it is called and dropped.
struct Curious(Waker);

fn look() {
    HANDLE.with_borrow(|handle| {
        if let Some(mw) = handle {
            mw.submit(double::task(mw.pending()).slave(NOBODY));
            drop(mw.call(double::task(1).slave(NOBODY)));
        }
    });
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        look();
        self.0.wake_by_ref();
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        look();
    }
}

/// Polls with a new waker each time.
async fn curious<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| {
        let waker = Waker::from(Arc::new(Curious(cx.waker().clone())));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

#[test]
fn wakers_may_use_the_master() {
    everywhere(async |mw, _| {
        HANDLE.set(Some(mw.clone()));
        for in_order in [false, true] {
            let map = mw.map((0..100).map(double::task)).window(10);
            let mut map = pin!(if in_order { map.in_order() } else { map });
            let mut count = 0;
            while let Some(end) =
                curious(std::future::poll_fn(|cx| map.as_mut().poll_next(cx))).await
            {
                end?;
                count += 1;
            }
            assert_eq!(count, 100);
        }
        assert_eq!(curious(mw.call(double::task(4))).await?, 8);
        // One that is dropped while it waits.
        let mut dropped = Box::pin(mw.call(double::task(4)));
        let poll = curious(std::future::poll_fn(|cx| {
            Poll::Ready(Pin::new(&mut dropped).poll(cx))
        }));
        assert!(poll.await.is_pending());
        drop(dropped);
        assert_eq!(curious(mw.spawn(async { 3 })).await, 3);
        curious(mw.events()).await;
        curious(mw.poll_events()).await;
        curious(mw.events_timeout(Duration::from_millis(1))).await;
        mw.submit(double::task(5));
        let mut results = mw.results::<double>();
        while let Some(end) = curious(results.next()).await {
            if end.is_ok() {
                break;
            }
        }
        let id = mw.submit(double::task(6).slave(NOBODY));
        mw.cancel(id);
        HANDLE.take();
        Ok(())
    });
}

#[test]
#[should_panic(expected = "a light thread gives up")]
fn the_panic_of_a_light_thread_ends_the_master() {
    embedded("auto", async |mw, _| {
        drop(mw.spawn(async { panic!("a light thread gives up") }));
        mw.call(double::task(1).slave(NOBODY)).await.unwrap_err();
        std::future::pending::<Result>().await
    });
}
