//! Programs in shapes that a library of futures invites: combinators over calls and maps, futures that are dropped half
//! polled, light threads in light threads, locks and channels between them, tasks submitted by whatever is dropped.
//!
//! Each runs in the simulated world and on real sockets with both engines, beside a timer that must be served. No clock is
//! read: answers, their order, and that nothing is left are what is right.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::future::{abortable, join_all, select, try_join_all};
use futures_util::lock::Mutex;
use futures_util::stream::{self, FuturesOrdered, FuturesUnordered, PollNext};
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use ringmw::prelude::*;
use ringmw::testing::World;

#[algorithm]
fn double(n: u64) -> u64 {
    2 * n
}

#[algorithm]
fn length(text: String) -> u64 {
    text.len() as u64
}

#[algorithm]
fn swell(n: u64, bytes: usize) -> Vec<u8> {
    vec![n as u8; bytes]
}

/// No slave of this number ever comes: a task for it ends at once.
const NOBODY: SlaveId = SlaveId(4_000_000);

const N: u64 = 300;

/// The same program in the simulated world, and on real sockets with each engine that is to be had; with the timer of a light
/// thread beside it, and nothing left at its end.
fn everywhere<Fut: Future<Output = Result> + 'static>(
    args: &'static [&'static str],
    program: impl FnOnce(Master) -> Fut + Copy + 'static,
) {
    let master = async move |mw: Master, _: Args| -> Result {
        let ticks = Rc::new(Cell::new(0));
        let counted = Rc::clone(&ticks);
        let timer = mw.spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                counted.set(counted.get() + 1);
            }
        });
        program(mw.clone()).await?;
        let before = ticks.get();
        while ticks.get() == before {
            mw.poll_events().await;
        }
        drop(timer);
        assert_eq!(mw.runnable(), 0, "nothing is left");
        Ok(())
    };
    let app = || {
        App::new()
            .algorithm::<double>()
            .algorithm::<length>()
            .algorithm::<swell>()
            .master(master)
    };
    let world = World::new(11).compute(Duration::from_nanos(1), Duration::from_millis(1));
    let world = world.args(args.iter().copied());
    let report = world.patience(Duration::from_secs(600)).run(app());
    assert_eq!((report.code, &report.error), (0, &None), "{report:?}");
    for engine in ["auto", "epoll"] {
        let run = app().embedded(2).args(args.iter().copied());
        assert_eq!(run.args(["--mw-engine", engine]).run(), 0, "{engine}");
    }
}

/// The answers of so many doubles, each once.
fn assert_doubles(answers: impl IntoIterator<Item = u64>, many: u64) {
    let (mut sum, mut told) = (0, BTreeSet::new());
    for answer in answers {
        assert!(told.insert(answer), "{answer} is told twice");
        sum += answer;
    }
    assert_eq!((told.len() as u64, sum), (many, many * (many - 1)));
}

#[test]
fn a_select_over_streams_calls_and_a_timer() {
    everywhere(&[], async |mw| {
        let mut map = mw.map((0..N).map(double::task));
        let mut failing = mw.map((0..N).map(|n| double::task(n).slave(NOBODY)));
        mw.submit_all((0..N).map(double::task));
        let mut queue = mw.results::<double>();
        let mut calls: FuturesUnordered<_> = (0..N).map(|n| mw.call(double::task(n))).collect();
        let mut timer = tokio::time::interval(Duration::from_millis(1));
        let (mut mapped, mut queued, mut called, mut failed) = (vec![], vec![], vec![], 0);
        while mapped.len() + queued.len() + called.len() + failed < 4 * N as usize {
            tokio::select! {
                Some(end) = map.next() => mapped.push(end?),
                Some(end) = queue.next(), if queued.len() < N as usize => queued.push(end?.output::<double>()?),
                Some(end) = calls.next() => called.push(end?),
                Some(end) = failing.next() => failed += usize::from(end.is_err()),
                _ = timer.tick() => {}
            }
        }
        for answers in [mapped, queued, called] {
            assert_doubles(answers, N);
        }
        assert!(map.next().await.is_none() && failing.next().await.is_none());
        Ok(())
    });
}

#[test]
fn calls_in_buffers() {
    everywhere(&[], async |mw| {
        let calls = |mw: &Master| {
            let mw = mw.clone();
            stream::iter(0..N).map(move |n| mw.call(double::task(n)))
        };
        let in_order: Vec<u64> = calls(&mw).buffered(32).try_collect().await?;
        assert!(in_order.iter().copied().eq((0..N).map(|n| 2 * n)));
        let any: Vec<u64> = calls(&mw).buffer_unordered(32).try_collect().await?;
        assert_doubles(any, N);
        let mut ordered: FuturesOrdered<_> = (0..N).map(|n| mw.call(double::task(n))).collect();
        for n in 0..N {
            assert_eq!(ordered.next().await.unwrap()?, 2 * n);
        }
        let sum = Cell::new(0);
        calls(&mw)
            .for_each_concurrent(16, async |call| {
                let answer = call.await.unwrap();
                sum.set(sum.get() + answer);
            })
            .await;
        assert_eq!(sum.get(), N * (N - 1));
        let all = try_join_all((0..N).map(|n| mw.call(double::task(n)))).await?;
        assert_doubles(all, N);
        Ok(())
    });
}

#[test]
fn streams_of_streams() {
    everywhere(&[], async |mw| {
        let inner = |n: u64| {
            let map = mw.map((0..n % 7).map(double::task)).in_order();
            map.try_fold(0, async |sum, answer| Ok(sum + answer))
        };
        let outer = mw.map((0..200).map(double::task));
        let sums: Vec<u64> = outer.and_then(inner).try_collect().await?;
        let of = |n: u64| (n % 7) * (n % 7).saturating_sub(1);
        let expected: u64 = (0..200).map(|n| of(2 * n)).sum();
        assert_eq!(sums.iter().sum::<u64>(), expected);
        // Many at a time.
        let outer = mw.map((0..200).map(double::task)).in_order();
        let sums: Vec<u64> = outer.map_ok(inner).try_buffered(9).try_collect().await?;
        assert!(sums.into_iter().eq((0..200).map(|n| of(2 * n))));
        // Two side by side, one looked into, one in chunks.
        let left = mw.map((0..N).map(double::task)).in_order();
        let right = mw.map((0..N).rev().map(double::task)).in_order().peekable();
        let mut zipped = pin!(left.zip(right).ready_chunks(10));
        let mut count = 0;
        while let Some(pairs) = zipped.next().await {
            for (left, right) in pairs {
                assert_eq!(left? + right?, 2 * (N - 1));
                count += 1;
            }
        }
        assert_eq!(count, N);
        let left = mw.map((0..N).map(double::task));
        let right = mw.map((N..2 * N).map(double::task));
        let both = stream::select_with_strategy(left, right, |_: &mut ()| PollNext::Left);
        assert_doubles(both.try_collect::<Vec<u64>>().await?, 2 * N);
        // A map of maps is a stream of streams.
        let maps = stream::iter(0..20).map(|k| mw.map((k * 10..k * 10 + 10).map(double::task)));
        assert_doubles(
            maps.flatten_unordered(5).try_collect::<Vec<u64>>().await?,
            200,
        );
        Ok(())
    });
}

#[test]
fn futures_that_are_dropped_half_polled() {
    everywhere(&[], async |mw| {
        for round in 0..40 {
            let call = mw.call(double::task(round));
            let late = mw.call(double::task(1));
            assert!(
                matches!(select(call, late).await.factor_first().0, Ok(n) if n == 2 * round || n == 2)
            );
            let mut map = mw.map((0..).map(double::task));
            if round % 2 == 0 {
                assert!(map.next().now_or_never().is_none_or(|end| end.is_some()));
            } else {
                map.next().await.ok_or("it has no end")??;
            }
            let (task, handle) = abortable(mw.call(double::task(7)));
            let light = mw.spawn(task);
            handle.abort();
            assert!(light.await.is_err());
            drop(mw.spawn(mw.call(double::task(8))));
            let mut timeout = pin!(tokio::time::timeout(
                Duration::ZERO,
                mw.call(double::task(9))
            ));
            let _ = futures_util::poll!(&mut timeout);
        }
        // Light threads go on, though nobody holds on to them.
        while mw.runnable() > 0 {
            mw.events().await;
        }
        Ok(())
    });
}

#[test]
fn a_loop_over_submissions_that_are_refused() {
    everywhere(&["--mw-max-queued-bytes", "4000"], async |mw| {
        let (mut next, mut answers, mut refused) = (0, vec![], 0);
        let (mut again, mut numbers) = (vec![], BTreeMap::new());
        while answers.len() < N as usize {
            while let Some(n) = again.pop().or_else(|| (next < N).then_some(next)) {
                next = next.max(n + 1);
                let before = mw.unrunnable();
                numbers.insert(mw.submit(double::task(n)), n);
                // More than one may be refused: a series is judged when it is closed.
                if mw.unrunnable() > before {
                    break;
                }
            }
            mw.poll_events().await;
            for result in mw.take_results() {
                answers.push(result.output::<double>()?);
            }
            for task in mw.take_unrunnable() {
                refused += 1;
                // Past the bound its arguments are not kept.
                again.push(numbers[&task.id()]);
            }
        }
        assert!(refused > 0, "the bound was met");
        assert_doubles(answers, N);
        Ok(())
    });
}

/// Each spawns the next, and awaits it.
#[test]
fn light_threads_in_light_threads() {
    fn count(mw: Master, depth: u64) -> std::pin::Pin<Box<dyn Future<Output = u64>>> {
        Box::pin(async move {
            let below = (0..2).filter(|_| depth > 0);
            let below: Vec<_> = below
                .map(|_| mw.spawn(count(mw.clone(), depth - 1)))
                .collect();
            let own = mw.call(double::task(depth)).await.unwrap();
            let mut map = mw.map((0..3).map(double::task));
            let mut sum = own;
            while let Some(end) = map.next().await {
                sum += end.unwrap();
            }
            sum + join_all(below).await.into_iter().sum::<u64>()
        })
    }
    everywhere(&[], async |mw| {
        let sum = count(mw.clone(), 7).await;
        let expected: u64 = (0..=7)
            .map(|depth| (1 << (7 - depth)) * (2 * depth + 6))
            .sum();
        assert_eq!(sum, expected);
        Ok(())
    });
}

#[test]
fn events_in_light_threads_while_the_root_awaits_a_map() {
    everywhere(&[], async |mw| {
        mw.allocate(Group::Ordered, 1);
        while mw.connected() < 2 {
            mw.poll_events().await;
        }
        mw.submit(double::task(0).slave(NOBODY));
        let loops = Rc::new(Cell::new(0));
        let listeners: Vec<_> = (0..3)
            .map(|nth| {
                let (mw, loops) = (mw.clone(), Rc::clone(&loops));
                mw.clone().spawn(async move {
                    loop {
                        match nth {
                            0 => mw.events().await,
                            1 => mw.events_timeout(Duration::from_millis(1)).await,
                            _ => mw.poll_events().await,
                        };
                        loops.set(loops.get() + 1);
                    }
                })
            })
            .collect();
        mw.submit_all((0..N).map(double::task));
        let mapped: Vec<u64> = mw.map((0..N).map(double::task)).try_collect().await?;
        assert_doubles(mapped, N);
        let mut answers = vec![];
        while answers.len() < N as usize {
            mw.events().await;
            for result in mw.take_results() {
                answers.push(result.output::<double>()?);
            }
        }
        assert_doubles(answers, N);
        assert!(loops.get() > 3);
        drop(listeners);
        assert_eq!(mw.take_unrunnable().len(), 1);
        Ok(())
    });
}

#[test]
fn answers_that_are_asked_for_now_or_never() {
    everywhere(&[], async |mw| {
        let mut map = mw.map((0..N).map(double::task));
        let mut calls: Vec<_> = (0..100).map(|n| mw.call(double::task(n))).collect();
        let (mut mapped, mut called) = (vec![], vec![]);
        while mapped.len() < N as usize || !calls.is_empty() {
            while let Some(Some(end)) = map.next().now_or_never() {
                mapped.push(end?);
            }
            calls.retain_mut(|call| match call.now_or_never() {
                Some(end) => {
                    called.push(end.unwrap());
                    false
                }
                None => true,
            });
            tokio::task::yield_now().await;
        }
        assert_doubles(mapped, N);
        assert_doubles(called, 100);
        Ok(())
    });
}

/// A future of one's own, that wakes itself, asks several at a time, and forgets the waker that it was given.
#[test]
fn futures_of_ones_own() {
    everywhere(&[], async |mw| {
        let mut map = mw.map((0..N).map(double::task));
        let mut calls: Vec<_> = (0..100).map(|n| mw.call(double::task(n))).collect();
        let (mut mapped, mut called, mut polls) = (vec![], vec![], 0u64);
        std::future::poll_fn(|cx| {
            polls += 1;
            while let Poll::Ready(Some(end)) = map.poll_next_unpin(cx) {
                mapped.push(end.unwrap());
            }
            calls.retain_mut(|call| match call.poll_unpin(cx) {
                Poll::Ready(end) => {
                    called.push(end.unwrap());
                    false
                }
                Poll::Pending => true,
            });
            let none = &mut std::task::Context::from_waker(std::task::Waker::noop());
            if let Some(call) = calls.first_mut()
                && let Poll::Ready(end) = call.poll_unpin(none)
            {
                called.push(end.unwrap());
                drop(calls.remove(0));
            }
            if mapped.len() as u64 == N && calls.is_empty() {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        assert_doubles(mapped, N);
        assert_doubles(called, 100);
        assert!(polls > 1);
        Ok(())
    });
}

#[test]
fn channels_and_locks_between_light_threads() {
    everywhere(&[], async |mw| {
        let shared = Rc::new(Mutex::new((0u64, mw.map((0..N).map(double::task)))));
        let (tell, mut told) = tokio::sync::mpsc::channel(3);
        let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<u64>();
        let workers = (0..5).map(|_| {
            let (shared, tell, ask) = (Rc::clone(&shared), tell.clone(), ask.clone());
            mw.spawn(async move {
                loop {
                    // The lock is held over the await.
                    let mut held = shared.lock().await;
                    held.0 += 1;
                    let Some(end) = held.1.next().await else {
                        break;
                    };
                    drop(held);
                    let answer = end.unwrap();
                    ask.send(answer).unwrap();
                    tell.send(answer).await.unwrap();
                }
            })
        });
        let workers: Vec<_> = workers.collect();
        drop((tell, ask));
        // One that answers each question with a call.
        let caller = mw.clone();
        let caller = mw.spawn(async move {
            let mut sum = 0;
            while let Some(n) = asked.recv().await {
                sum += caller.call(double::task(n)).await.unwrap();
            }
            sum
        });
        let mut answers = vec![];
        while let Some(answer) = told.recv().await {
            answers.push(answer);
        }
        join_all(workers).await;
        assert_doubles(answers, N);
        assert_eq!(caller.await, 2 * N * (N - 1));
        assert_eq!(shared.lock().await.0, N + 5);
        Ok(())
    });
}

/// What is dropped uses the master: as an iterator of a map, within a light thread, while the stack unwinds, and when the
/// run is over.
#[test]
fn what_is_dropped_uses_the_master() {
    struct Guard(Master, Rc<Cell<u64>>);
    impl Drop for Guard {
        fn drop(&mut self) {
            let Guard(mw, dropped) = self;
            dropped.set(dropped.get() + 1);
            mw.submit(double::task(1));
            drop(mw.call(double::task(2)));
            assert!(
                mw.call(double::task(3))
                    .now_or_never()
                    .is_none_or(|end| end.is_ok())
            );
            drop(mw.spawn(std::future::pending::<()>()));
            drop(mw.map((0..9).map(double::task)));
            let _ = mw.poll_events().now_or_never();
            let _ = (mw.pending(), mw.take_results().len(), mw.cancel_all());
        }
    }
    thread_local! {
        static LAST: RefCell<Option<Rc<Cell<u64>>>> = const { RefCell::new(None) };
    }
    everywhere(&[], async |mw| {
        let dropped = Rc::new(Cell::new(0));
        let guard = |mw: &Master| Guard(mw.clone(), Rc::clone(&dropped));
        let mut map = {
            let guard = guard(&mw);
            mw.map((0..).map(move |n| {
                let _ = &guard;
                double::task(n)
            }))
        };
        map.next().await.ok_or("it has no end")??;
        drop(map);
        let light = {
            let guard = guard(&mw);
            mw.spawn(async move {
                let _guard = guard;
            })
        };
        light.await;
        // A panic that is caught leaves the map as it was.
        let unwinding = guard(&mw);
        let mut fragile = mw.map((0..10).map(move |n| {
            let _ = &unwinding;
            assert!(n != 5, "an iterator gives up");
            double::task(n)
        }));
        let mut panics = 0;
        loop {
            match AssertUnwindSafe(fragile.next()).catch_unwind().await {
                Ok(Some(end)) => drop(end?),
                Ok(None) => break,
                Err(_) => panics += 1,
            }
        }
        assert_eq!(panics, 1);
        drop(fragile);
        assert_eq!(dropped.get(), 3);
        assert_eq!(mw.call(double::task(21)).await?, 42);
        mw.cancel_all();
        mw.take_results();
        // These are dropped when the run is over.
        let (last, light) = (guard(&mw), guard(&mw));
        drop(mw.spawn(async move {
            let _light = light;
            std::future::pending::<()>().await;
        }));
        std::mem::forget(last);
        Ok(())
    });
}

/// A map's tasks that are alike follow one another without a question each, until its iterator does something else: it
/// submits and takes back, looks at the master, gives tasks with a policy, of other lengths, or none any more.
#[test]
fn an_iterator_that_uses_the_master_between_its_tasks() {
    const TASKS: u64 = 4_000;
    const SUBMITTED: u64 = 1_000_000;
    everywhere(&[], async |mw| {
        let source = {
            let (mw, pending) = (mw.clone(), Cell::new(0));
            (0..TASKS).map(move |n| {
                match n % 89 {
                    13 => drop(mw.submit(double::task(SUBMITTED + n))),
                    29 => drop(mw.call(double::task(n))),
                    43 => {
                        mw.submit_all((0..3).map(|more| double::task(SUBMITTED + n + more)));
                    }
                    61 => pending.set(pending.get() + mw.pending()),
                    71 => drop(mw.map((0..50).map(double::task))),
                    _ => {}
                }
                match n % 97 {
                    7 => double::task(n).priority(1),
                    31 => double::task(n).start_within(Duration::from_secs(600)),
                    _ => double::task(n),
                }
            })
        };
        let mut map = mw.map(source);
        let mut answers = vec![];
        while let Some(end) = map.next().await {
            answers.push(end?);
        }
        assert_doubles(answers, TASKS);
        let submitted = |n: &u64| match n % 89 {
            13 => 1,
            43 => 3,
            _ => 0,
        };
        let mut left: u64 = (0..TASKS).map(|n| submitted(&n)).sum();
        let mut queue = mw.results::<double>();
        while left > 0 {
            let end = queue.next().await.ok_or("more are to come")?;
            assert!(end?.output::<double>()? >= 2 * SUBMITTED);
            left -= 1;
        }
        let texts = |n: u64| "x".repeat([9, 9, 9, 9, 9, 9, 40, 9, 0, 300][n as usize % 10]);
        let mut lengths = mw
            .map((0..TASKS).map(|n| length::task(texts(n))))
            .in_order();
        for n in 0..TASKS {
            let end = lengths.next().await.ok_or("more are to come")?;
            assert_eq!(end?, texts(n).len() as u64, "text {n}");
        }
        assert!(lengths.next().await.is_none());
        let mut lengths = mw.map((0..TASKS).map(|n| length::task(texts(n))));
        let mut sum = 0;
        while let Some(end) = lengths.next().await {
            sum += end?;
        }
        assert_eq!(sum, (0..TASKS).map(|n| texts(n).len() as u64).sum::<u64>());
        Ok(())
    });
}

/// Tiny results go on between those that fill packets of their own.
#[test]
fn tiny_results_beside_large_ones() {
    const LARGE: usize = 2_000_000;
    everywhere(&["--mw-max-read-buffer-size", "32MiB"], async |mw| {
        let mut large = mw.map((0..3).map(|n| swell::task(n, LARGE)));
        let mut tiny = mw.map((0..N).map(double::task));
        let (mut answers, mut larges) = (vec![], 0);
        while answers.len() < N as usize || larges < 3 {
            tokio::select! {
                Some(end) = large.next() => {
                    assert_eq!(end?.len(), LARGE);
                    larges += 1;
                }
                Some(end) = tiny.next() => answers.push(end?),
            }
        }
        assert_doubles(answers, N);
        Ok(())
    });
}
