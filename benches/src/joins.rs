//! Thousands of slaves prove themselves and join while others are at work.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringmw::Ready;
use ringmw::prelude::*;
use serde_json::{Value, json};

use crate::fleet;
use crate::noop;
use crate::played::{self, Cast};

/// What tells those who are at work from those who join.
const LABEL: &str = "at-work";
/// Tasks that each of them has, queued or in hand: a slave that computes may have the next one already.
const TASKS_EACH: u64 = 3;
/// How long a task takes.
const TASK_US: u64 = 10_000;
/// So long the rate before is measured, and the one meanwhile at least.
const SPAN: Duration = Duration::from_secs(3);
/// Whoever has not joined by then does not.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many played slaves are at work, each with tasks of 10 ms that are addressed to it, then so many others connect at once.
/// Gives how long those took, and the rate of those at work before and meanwhile.
///
/// # Panics
/// When the run fails: a benchmark that does not run is no benchmark.
pub fn beside(workers: u32, joiners: u32, engine: &str, secret: bool) -> Value {
    let ready: Rc<RefCell<Option<Ready>>> = Rc::default();
    let told = Rc::clone(&ready);
    let value = Rc::new(Cell::new(None));
    let result = Rc::clone(&value);
    let crowds = Rc::new(RefCell::new(Vec::new()));
    let started = Rc::clone(&crowds);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("secret").display().to_string();
    let security = match secret {
        true => vec!["--mw-secret-file", &file],
        false => vec!["--mw-no-secret"],
    };
    let algorithm = async move |mw: Master| {
        let ready = ready.borrow_mut().take().expect("it was told before");
        let start = |slaves, task_us, label: Option<&str>| {
            let mut hello = ready.hello.clone();
            hello.about.labels = label.into_iter().map(str::to_owned).collect();
            let cast = Cast {
                slaves,
                task_us,
                ..Cast::default()
            };
            let crowd = played::start_at(&ready.address, &hello, ready.secret.as_ref(), &cast);
            started
                .borrow_mut()
                .push(crowd.expect("this very binary can be started"));
        };
        start(workers, TASK_US, Some(LABEL));
        fleet::connected(&mw, workers).await;
        mw.allocate(Group::Ordered, workers);
        for slave in mw.slaves() {
            for n in 0..TASKS_EACH {
                mw.submit(noop::task(n).slave(slave.id));
            }
        }
        // It gets into its stride.
        let settled = Instant::now() + SPAN / 2;
        while Instant::now() < settled {
            turn_over(&mw).await?;
        }
        let (begun, mut ends) = (Instant::now(), 0u64);
        while begun.elapsed() < SPAN {
            ends += turn_over(&mw).await?;
        }
        let before = ends as f64 / begun.elapsed().as_secs_f64();
        start(joiners, 0, None);
        // Their process has to start, too.
        while mw.connected() == workers as usize {
            turn_over(&mw).await?;
        }
        let all = (workers + joiners) as usize;
        let (begun, mut ends, mut joined) = (Instant::now(), 0u64, None);
        while joined.is_none() || begun.elapsed() < joined.unwrap_or(PATIENCE) {
            ends += turn_over(&mw).await?;
            if joined.is_none() && (mw.connected() >= all || begun.elapsed() > PATIENCE) {
                joined = Some(begun.elapsed());
            }
        }
        let (took, join) = (begun.elapsed(), joined.expect("it was waited for"));
        let labelled = mw
            .slaves()
            .iter()
            .filter(|view| view.labels == [LABEL])
            .count();
        Ok::<_, Error>(json!({
            "case": format!("join-s{joiners}-beside-s{workers}"),
            "join_s": join.as_secs_f64(),
            "missing": all - mw.connected(),
            "lost": workers as usize - labelled,
            "rate_before": before,
            "rate_meanwhile": ends as f64 / took.as_secs_f64(),
            "rate_ratio": ends as f64 / took.as_secs_f64() / before,
        }))
    };
    let code = crate::app()
        .master(async move |mw: Master, _| {
            result.set(Some(algorithm(mw).await?));
            Ok::<(), Error>(())
        })
        .embedded(0)
        .args(["--mw-engine", engine])
        .args(security)
        .on_ready(move |ready| *told.borrow_mut() = Some(ready))
        .run();
    for crowd in crowds.take() {
        played::wait(crowd).expect("the played slaves report");
    }
    assert_eq!(code, 0, "the master algorithm failed");
    value.take().expect("the master algorithm gave a value")
}

/// Each slave whose task has ended gets another. How many they were.
async fn turn_over(mw: &Master) -> Result<u64> {
    mw.events().await;
    let mut ends = 0;
    for result in mw.take_results() {
        mw.submit(noop::task(result.output::<noop>()?).slave(result.slave()));
        ends += 1;
    }
    Ok(ends)
}
