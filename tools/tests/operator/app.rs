//! The application: its master does what `--story` says, and goes on until it is ended.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use ringmw::prelude::*;
use ringmw::{Group, Ready};

use crate::support::{Given, result};

/// In a slave's own arguments: it fails every [`choosy`] at once.
pub(crate) const SICK: &str = "--sick";

/// Takes until this file is there.
#[algorithm]
fn pine(n: u64, gate: &str) -> u64 {
    while !Path::new(gate).exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    n
}

/// Fails at once on a sick slave.
#[algorithm]
fn choosy(n: u64, cx: &mut Cx) -> Result<u64, String> {
    if cx.own_args().iter().any(|arg| arg == SICK) {
        return Err("no library on this node".to_owned());
    }
    std::thread::sleep(Duration::from_millis(3));
    Ok(n)
}

/// Takes its slave with it.
#[algorithm]
fn deadly() -> u64 {
    std::process::abort()
}

/// What played slaves answer.
#[algorithm]
fn square(n: u64) -> u64 {
    n * n
}

/// What a played slave answers to a [`square`].
pub(crate) fn answer(given: &Given) -> Vec<u8> {
    let n = given.number();
    result(given, n * n)
}

async fn for_ever(mw: Master) -> Result {
    loop {
        mw.events().await;
        mw.take_results().into_iter().for_each(drop);
        mw.take_unrunnable().into_iter().for_each(drop);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn story(mw: Master, args: Args) -> Result {
    let gate: String = args.value("--gate", String::new())?;
    let pining = |n: u64| pine::task(n, &gate);
    match &*args.value("--story", String::new())? {
        "queued" => {
            let (tasks, slaves) = (args.value("--tasks", 40)?, args.value("--slaves", 0)?);
            while mw.connected() < slaves {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            mw.submit_all((0..tasks).map(pining));
        }
        "labels" => drop(mw.submit_all((0..5).map(|n| pining(n).needs("gpu")))),
        "nobody" => {
            mw.submit(pining(0).needs("site=fermi"));
        }
        "missing" => {
            mw.allocate(Group::Unordered, 3);
            mw.submit(pining(0));
        }
        "sick" => {
            let mut ends = mw.map((0..).map(choosy::task));
            while ends.next().await.is_some() {}
        }
        "reserved" => {
            let slave = mw.reserve().await;
            mw.submit(pining(0));
            for_ever(mw.clone()).await?;
            drop(slave);
        }
        "late" => {
            mw.submit(pining(0).start_within(Duration::from_millis(10)));
        }
        "poison" => {
            mw.submit(deadly::task());
        }
        "held" => {
            mw.submit(deadly::task());
            while mw.events().await.unrunnable == 0 {}
            // The trail has what this turn brought once the turn is over.
            tokio::time::sleep(Duration::from_millis(20)).await;
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        }
        "endless" => {
            let mut ends = mw.map((0..u64::from(u32::MAX)).map(square::task));
            while ends.next().await.is_some() {}
        }
        other => return Err(format!("there is no story {other:?}").into()),
    }
    for_ever(mw).await
}

pub(crate) fn app() -> App {
    App::new()
        .algorithm::<pine>()
        .algorithm::<choosy>()
        .algorithm::<deadly>()
        .algorithm::<square>()
        .master(story)
}

/// What a slave of this application needs to join a run without a secret.
pub(crate) fn ready(address: String) -> Ready {
    async fn nothing(_: Master, _: Args) -> Result {
        Ok(())
    }
    let hello = Rc::new(RefCell::new(None));
    let slot = Rc::clone(&hello);
    let asked = app()
        .master(nothing)
        .embedded(0)
        .on_ready(move |ready| *slot.borrow_mut() = Some(ready.hello))
        .run();
    assert_eq!(asked, 0);
    let mut hello = hello.borrow_mut().take().expect("it was ready");
    hello.member_id = b"default-member-id".to_vec();
    Ready {
        secret: None,
        address,
        hello,
    }
}
