//! Calls that race, calls that are dropped while their result is under way, and crowds of calls and reservations that wait:
//! each end is told once, what nobody waits for costs nobody anything, and nothing is left.
//!
//! No clock is read here: what something costs is counted in polls of what waits.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringmw::TaskErrorKind;
use ringmw::futures::StreamExt;
use ringmw::futures::future::{join_all, select_ok};
use ringmw::futures::stream::FuturesUnordered;
use ringmw::internals::turns::{kept, passes};
use ringmw::prelude::*;
use ringmw::testing::{Churn, Report, World};
use ringmw_codec::audit::{Event, Line};

#[algorithm]
fn leg(race: u64, runner: u64) -> u64 {
    10 * race + runner
}

/// A label that no slave has.
const NOWHERE: &str = "nowhere";

fn app<Fut: Future<Output = Result> + 'static>(
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) -> App {
    App::new().algorithm::<leg>().master(master)
}

fn embedded<Fut: Future<Output = Result> + 'static>(
    engine: &str,
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) {
    let run = app(master).embedded(4).args(["--mw-engine", engine]);
    assert_eq!(run.run(), 0, "{engine}");
}

/// Slaves come and go all the time; no task is charged for it.
fn in_churn<Fut: Future<Output = Result> + 'static>(
    seed: u64,
    every: Duration,
    master: impl FnOnce(Master, Args) -> Fut + 'static,
) -> Report {
    let report = World::new(seed)
        .slaves(4)
        .churn(Churn::every(every))
        .compute(Duration::from_millis(1), Duration::from_millis(20))
        .args(["--mw-client-timeout", "3", "--mw-crash-limit", "0"])
        .args(["--mw-no-secret"])
        .run(app(master));
    assert_eq!((report.code, &report.error), (0, &None), "seed {seed}");
    report
}

/// Nothing is left of what was dropped and told.
async fn nothing_is_left(mw: &Master) {
    while mw.runnable() > 0 {
        mw.poll_events().await;
    }
    assert_eq!(kept(mw), (0, 0, 0), "calls and maps, reservations");
}

// ---- races

async fn races(mw: Master, _: Args) -> Result {
    for race in 0..40 {
        let runners = (0..3).map(|runner| mw.call(leg::task(race, runner)));
        let (winner, losers) = select_ok(runners).await?;
        assert!((10 * race..10 * race + 3).contains(&winner), "{winner}");
        assert_eq!(losers.len(), 2);
        drop(losers);
    }
    nothing_is_left(&mw).await;
    Ok(())
}

/// How often a slave is lost right after the packet that won a race: nothing else has come from it.
fn killed_winners(report: &Report) -> usize {
    let text = String::from_utf8_lossy(&report.trail);
    let mut last: BTreeMap<u32, i64> = BTreeMap::new();
    let mut killed = 0;
    for line in text.lines() {
        let line = Line::parse(line).expect("a line of the trail");
        match line.event {
            Event::ResultsReceived { slave, .. } => _ = last.insert(slave, line.time_us),
            Event::Lost { slave, .. } => {
                let now = line.time_us;
                let soon = last.get(&slave).is_some_and(|then| then + 2_000 >= now);
                killed += usize::from(soon);
            }
            _ => {}
        }
    }
    killed
}

#[test]
fn a_race_has_one_winner_whatever_becomes_of_its_slave() {
    let seeds = if cfg!(debug_assertions) { 20 } else { 500 };
    let mut killed = 0;
    for seed in 0..seeds {
        let report = in_churn(seed, Duration::from_millis(12), races);
        assert!(report.lost > 0, "seed {seed}: {report:?}");
        killed += killed_winners(&report);
    }
    assert!(killed >= 10, "{killed} slaves were lost as they had won");
    for engine in ["auto", "epoll"] {
        embedded(engine, races);
    }
}

// ---- dropped with the result under way

/// Each call is given up at another moment: before it is sent, while it runs, while its result is under way, after that.
async fn droppers(mw: Master, _: Args) -> Result {
    let (mut told, mut dropped) = (0, 0);
    for n in 0..400u64 {
        let call = mw.call(leg::task(n, 1));
        let patience = Duration::from_micros(n * 7_919 % 45_000);
        match tokio::time::timeout(patience, call).await {
            Ok(answer) => {
                assert_eq!(answer?, 10 * n + 1);
                told += 1;
            }
            Err(_) => dropped += 1,
        }
    }
    assert!(told > 20 && dropped > 20, "{told} told, {dropped} dropped");
    nothing_is_left(&mw).await;
    Ok(())
}

#[test]
fn a_call_may_be_dropped_while_its_result_is_under_way() {
    let mut late = 0;
    for seed in 0..8 {
        late += in_churn(seed, Duration::from_secs(1), droppers).late;
    }
    assert!(late >= 8, "{late} results came after their end");
}

// ---- crowds

/// What waits, and how often all of them have been polled.
struct Counted<F> {
    waits: F,
    polls: Rc<Cell<u64>>,
}

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.set(self.polls.get() + 1);
        Pin::new(&mut self.waits).poll(cx)
    }
}

/// Most polls of calls whose ends are all there: each by its end, and after a pass again so many as that one wakes, which is
/// twice as many as were answered before it, or some.
fn ended_most(calls: u64, passes: u64) -> u64 {
    3 * calls + 1_200 * (passes + 1)
}

/// So many calls wait beside which others are made: those that wait are polled once when they begin, and once when they
/// end.
async fn crowd(mw: Master, calls: u64, others: u64) -> Result {
    let polls = Rc::new(Cell::new(0));
    let count = |waits| Counted {
        waits,
        polls: Rc::clone(&polls),
    };
    let waits = (0..calls).map(|n| count(mw.call(leg::task(n, 0).needs(NOWHERE))));
    let waiting: FuturesUnordered<_> = waits.collect();
    let cancelled = mw.spawn(async move {
        let cancelled = waiting.filter(|end| {
            let error = end.as_ref().err().map(TaskError::kind);
            std::future::ready(matches!(error, Some(TaskErrorKind::Cancelled { .. })))
        });
        cancelled.count().await as u64
    });
    let before = passes(&mw);
    for n in 0..others {
        assert_eq!(mw.call(leg::task(n, 3)).await?, 10 * n + 3);
    }
    assert!(passes(&mw) >= before + others, "each takes a pass at least");
    assert_eq!(polls.get(), calls, "whoever waits is left alone");
    assert_eq!(mw.runnable(), calls);
    let before = passes(&mw);
    assert_eq!(mw.cancel_all(), calls as usize);
    assert_eq!(cancelled.await, calls);
    let (ended, passes) = (polls.get() - calls, passes(&mw) - before);
    let most = ended_most(calls, passes);
    assert!(
        (calls..=most).contains(&ended),
        "{ended} polls of {calls} calls in {passes} passes: each is woken by its own end"
    );
    nothing_is_left(&mw).await;
    Ok(())
}

/// The same with slaves enough: all are out or queued, and all are answered.
async fn answered(mw: Master, calls: u64) -> Result {
    let polls = Rc::new(Cell::new(0));
    let waits = (0..calls).map(|n| Counted {
        waits: mw.call(leg::task(n, 2)),
        polls: Rc::clone(&polls),
    });
    let before = passes(&mw);
    let mut waiting: FuturesUnordered<_> = waits.collect();
    let (mut sum, mut ends) = (0, 0);
    while let Some(answer) = waiting.next().await {
        sum += answer?;
        ends += 1;
    }
    assert_eq!((ends, sum), (calls, 5 * calls * (calls - 1) + 2 * calls));
    let passes = passes(&mw) - before;
    let most = calls + ended_most(calls, passes);
    assert!(
        polls.get() <= most,
        "{} polls of {calls} calls in {passes} passes",
        polls.get()
    );
    drop(waiting);
    nothing_is_left(&mw).await;
    Ok(())
}

#[test]
fn a_hundred_thousand_calls_wait_and_cost_nobody_anything() {
    for engine in ["auto", "epoll"] {
        embedded(engine, |mw, _| crowd(mw, 100_000, 300));
        embedded(engine, |mw, _| answered(mw, 100_000));
    }
    for seed in 0..2 {
        let every = Duration::from_millis(200);
        in_churn(seed, every, |mw, _| crowd(mw, 6_000, 50));
        in_churn(seed, every, |mw, _| answered(mw, 3_000));
    }
}

/// Reservations that are made and dropped while slaves come and go: some wait, some are served, some never are, some lose
/// their slave; meanwhile tasks are run. Of those that nobody can serve each is polled once.
async fn reservations(mw: Master, rounds: u64, each: u64) -> Result {
    let polls = Rc::new(Cell::new(0));
    let mut served = 0;
    for round in 0..rounds {
        let in_vain = (0..each).map(|_| Counted {
            waits: mw.reserve().needs(NOWHERE),
            polls: Rc::clone(&polls),
        });
        let mut in_vain = join_all(in_vain);
        let some = (0..3).map(|_| mw.reserve());
        let work = async {
            for n in 0..4 {
                mw.call(leg::task(round, n)).await?;
            }
            Ok::<_, TaskError>(())
        };
        let mine = tokio::select! {
            biased;
            _ = &mut in_vain => panic!("no slave has that label"),
            mine = join_all(some) => mine,
        };
        let own = mine.iter().map(|slave| {
            let own = leg::task(round, 7).slave(slave).do_it_anyway(true);
            mw.call(own)
        });
        for answer in join_all(own).await {
            assert_eq!(answer?, 10 * round + 7);
        }
        served += mine.len();
        drop(mine);
        work.await?;
        assert_eq!(kept(&mw).1 as u64, each, "those in vain wait");
        drop(in_vain);
    }
    assert_eq!(polls.get(), rounds * each, "whoever waits is left alone");
    assert_eq!(served as u64, 3 * rounds);
    nothing_is_left(&mw).await;
    Ok(())
}

#[test]
fn ten_thousand_reservations_are_made_and_dropped() {
    for engine in ["auto", "epoll"] {
        embedded(engine, |mw, _| reservations(mw, 40, 250));
    }
    for seed in 0..2 {
        in_churn(seed, Duration::from_millis(100), |mw, _| {
            reservations(mw, 40, 250)
        });
    }
}
