//! Programs without an end, in shapes that a library of futures invites: signals reach each, its slaves are served, and its
//! memory does not grow.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{join_all, select};
use futures_util::lock::Mutex;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, stream};
use ringmw::prelude::*;
use ringmw_codec::audit::Event;
use rustix::process::Signal;

use crate::app::{dir, nap};
use crate::process::Process;
use crate::signals::assert_signalled;
use crate::support::until;

/// No slave of this number ever comes: a task for it ends at once.
const NOBODY: SlaveId = SlaveId(4_000_000);

const KINDS: &[&str] = &[
    "selects", "buffers", "drops", "refused", "nests", "locks", "never", "polls", "news", "floods",
];

/// More than such a master has, and much less than what grows takes in no time.
const RSS_MAX: u64 = 96 << 20;

/// What a program of this kind does again and again; `None`: there is no such kind.
pub(crate) async fn endless(mw: &Master, kind: &str) -> Option<Result> {
    KINDS.iter().find(|known| **known == kind)?;
    let guard = Rc::new(RefCell::new(Vec::new()));
    let (tell, mut told) = tokio::sync::mpsc::channel::<u64>(3);
    let locked = Rc::new(Mutex::new(0u64));
    let mut timer = tokio::time::interval(Duration::from_millis(1));
    let mut map = mw.map((0..).map(|_| nap::task(0)));
    loop {
        match kind {
            "selects" => {
                tokio::select! {
                    biased;
                    end = mw.call(nap::task(0).slave(NOBODY)) => assert!(end.is_err()),
                    _ = mw.call(nap::task(0)) => {}
                    Some(_) = map.next() => {}
                    _ = timer.tick() => {}
                }
            }
            "buffers" => {
                let calls = stream::iter(0..1_000).map(|n| match n % 3 {
                    0 => mw.call(nap::task(0).slave(NOBODY)),
                    _ => mw.call(nap::task(0)),
                });
                calls.buffer_unordered(50).for_each(async |_| ()).await;
            }
            "drops" => {
                let _ = select(mw.call(nap::task(0)), mw.call(nap::task(0))).await;
                let mut some = mw.map((0..).map(|_| nap::task(0)));
                let _ = some.next().now_or_never();
                drop(mw.spawn(mw.call(nap::task(0))).now_or_never());
            }
            "refused" => {
                mw.submit(nap::task(0).slave(NOBODY));
                mw.submit(nap::task(0));
                if mw.unrunnable() > 1_000 {
                    mw.take_unrunnable();
                    mw.cancel_all();
                    mw.take_results();
                    let _ = mw.call(nap::task(0).slave(NOBODY)).await;
                }
            }
            "nests" => {
                let light = mw.clone();
                mw.spawn(async move {
                    let inner = (0..10).map(|_| {
                        let lighter = light.clone();
                        light.spawn(async move { lighter.call(nap::task(0).slave(NOBODY)).await })
                    });
                    join_all(inner.collect::<Vec<_>>()).await.len()
                })
                .await;
            }
            "locks" => {
                let threads = (0..5).map(|n| {
                    let (mw, locked, tell) = (mw.clone(), Rc::clone(&locked), tell.clone());
                    mw.clone().spawn(async move {
                        let mut held = locked.lock().await;
                        *held += 1;
                        let _ = mw.call(nap::task(0).slave(NOBODY)).await;
                        drop(held);
                        tell.send(n).await.unwrap();
                    })
                });
                let threads: FuturesUnordered<_> = threads.collect();
                for _ in 0..5 {
                    told.recv().await;
                }
                threads.for_each(async |()| ()).await;
            }
            "never" => {
                let _ = map.next().now_or_never();
                let _ = mw.poll_events().now_or_never();
                tokio::task::yield_now().await;
            }
            "polls" => {
                let mut asked = 0;
                std::future::poll_fn(|cx| {
                    let _ = map.poll_next_unpin(cx);
                    cx.waker().wake_by_ref();
                    asked += 1;
                    match asked {
                        3 => std::task::Poll::Ready(()),
                        _ => std::task::Poll::Pending,
                    }
                })
                .await;
            }
            "news" => {
                mw.submit(nap::task(0));
                mw.events().await;
                let mut some = mw.take_results();
                some.truncate(1);
                *guard.borrow_mut() = some;
            }
            // An answer is one packet's, of many.
            _ => {
                let mut some = mw.map((0..5_000).map(|_| nap::task(0)));
                while let Some(end) = some.next().await {
                    drop(end);
                }
            }
        }
    }
}

/// The first half of them by SIGTERM, the others by SIGINT; with a slave that connects, and slaves of its own.
pub(crate) fn endless_programs_hear_signals(engine: &str) {
    for (nth, kind) in KINDS.iter().enumerate() {
        let (signal, name, code) = match nth < KINDS.len() / 2 {
            true => (Signal::TERM, "SIGTERM", 143),
            false => (Signal::INT, "SIGINT", 130),
        };
        let dir = dir();
        let args = ["--slaves", "1", "--restless", kind, "--mw-engine", engine];
        let is_local = nth % 2 == 1;
        let mut master = match is_local {
            true => {
                let local = [&["--mw-local", "1"][..], &args].concat();
                Process::start(dir.path(), "master", &local)
            }
            false => Process::master(dir.path(), &args),
        };
        let slave = (!is_local).then(|| Process::slave(dir.path(), "slave", &master.address()));
        until("the master algorithm to begin", || {
            (master.stdout() == format!("{kind}\n")).then_some(())
        });
        let late = (!is_local).then(|| Process::slave(dir.path(), "late", &master.address()));
        if late.is_some() {
            master.await_count("another slave to come", 2, |event| {
                matches!(event, Event::Connected { .. })
            });
        }
        assert!(master.rss() < RSS_MAX, "{kind}: {} bytes", master.rss());
        master.signal(signal);
        master.expect_exit(code);
        assert_signalled(&master, name, u8::try_from(code).unwrap(), name);
        for mut slave in slave.into_iter().chain(late) {
            slave.expect_exit(255);
        }
    }
}
