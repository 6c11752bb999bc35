//! Conversations with tasks of real slaves: cut in the middle and begun anew, heard by nobody, in a crowd, and at their ends.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use futures_util::future::{join_all, select};

use ringmw::prelude::*;
use ringmw_codec::audit::{Event, LossCause};
use rustix::process::Signal;

use crate::app::{dir, lost, nap};
use crate::process::Process;
use crate::support::until;

/// Says what it hears, and how often it has heard something.
#[algorithm]
pub(crate) fn prattle(talk: &mut Talk<u64, (u64, u64)>) -> u64 {
    let mut heard = 0;
    while let Some(n) = talk.hear() {
        heard += 1;
        talk.say(&(heard, n));
        if n == u64::MAX {
            break;
        }
    }
    heard
}

/// Exchanges words with a task until that has been begun twice anew, and some more. Each attempt hears numbers of its own, in
/// order, from the first on.
pub(crate) async fn converse(mw: &Master) -> Result {
    let talk = mw.converse(prattle::task());
    let (mut base, mut said, mut restarts) = (0, 0, 0);
    let mut is_open = talk.say(&base).await;
    loop {
        match talk.next().await {
            Some(Heard::Said((heard, n))) => {
                said += 1;
                assert!(is_open, "something is said to nobody");
                assert_eq!((heard, n), (said, base + said - 1));
                if said == 200 {
                    println!("attempt {}", restarts + 1);
                }
                if restarts == 2 && said == 400 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
                is_open = talk.say(&(base + said)).await;
            }
            Some(Heard::Restarted { attempt, .. }) => {
                restarts += 1;
                assert_eq!(attempt, restarts + 1);
                (base, said) = (u64::from(restarts) * 1_000_000, 0);
                is_open = talk.say(&base).await;
            }
            None => return Err("it has ended".into()),
        }
    }
    assert!(talk.say(&u64::MAX).await);
    assert!(matches!(
        talk.next().await,
        Some(Heard::Said((401, u64::MAX)))
    ));
    assert_eq!(talk.next().await, None);
    println!("{} words", talk.await?);
    Ok(())
}

/// The slave in whose hands the conversation is is killed, twice: each time the other one begins it anew.
pub(crate) fn a_conversation_is_cut_in_the_middle(engine: &str) {
    let dir = dir();
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--slaves",
            "1",
            "--restless",
            "converse",
        ],
    );
    let address = master.address();
    for attempt in 1..=2 {
        let mut slave = Process::slave(dir.path(), &format!("slave-{attempt}"), &address);
        let line = format!("attempt {attempt}\n");
        until("it is in its midst", || {
            master.stdout().contains(&line).then_some(())
        });
        slave.signal(Signal::KILL);
        slave.exit();
    }
    let mut last = Process::slave(dir.path(), "slave-3", &address);
    master.expect_exit(0);
    last.expect_exit(0);
    assert!(master.stdout().contains("401 words"), "{}", master.stdout());
    let events = master.events();
    let losses = lost(&events);
    assert_eq!(losses.len(), 2, "{losses:?}");
    assert!(
        losses.iter().all(|(_, cause, recycled)| matches!(
            cause,
            LossCause::Eof | LossCause::Reset
        ) && *recycled == 1),
        "{losses:?}"
    );
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::Stuck { .. }))
    );
}

/// Says so many messages of so many bytes, and hears nothing.
#[algorithm]
pub(crate) fn prate(
    messages: u64,
    bytes: u64,
    talk: &mut Talk<Vec<u8>, Vec<u8>>,
    cx: &mut Cx,
) -> u64 {
    let mut said = 0;
    while said < messages && talk.say(&vec![said as u8; bytes as usize]) {
        said += 1;
        cx.progress(said, messages);
    }
    said
}

/// Hears until its time is over.
#[algorithm(timeout = "2s")]
pub(crate) fn pay_heed(talk: &mut Talk<u64, u64>) -> u64 {
    let mut sum = 0;
    while let Some(n) = talk.hear() {
        sum += n;
    }
    sum
}

const SLAVES: usize = 2;
/// Many more in one process: `tests/talk.rs`.
const CROWD: u64 = 200;

/// Of a message: what a `Vec<u8>` has beside its elements, what it counts as under way, and the most bytes that it may have.
const VEC_BYTES: u64 = 16;
const COUNTED_BYTES: u64 = 24;
const MESSAGE_BYTES_MAX: u64 = 131_072 - 8 - VEC_BYTES;
const UNDER_WAY_BYTES_MAX: u64 = 65_536;

/// Exchanges a word with a task, and ends it.
async fn exchange(mw: &Master, n: u64) -> Result {
    let talk = mw.converse(prattle::task());
    assert!(talk.say(&n).await);
    assert_eq!(talk.next().await, Some(Heard::Said((1, n))));
    assert!(talk.say(&u64::MAX).await);
    assert_eq!(talk.next().await, Some(Heard::Said((2, u64::MAX))));
    assert_eq!(talk.next().await, None);
    assert!(!talk.say(&n).await, "it has ended");
    assert_eq!(talk.await?, 2);
    Ok(())
}

/// All that a conversation may meet but a loss. What nobody hears waits until the file `until` is there.
pub(crate) async fn talk(mw: &Master, until: &Path) -> Result {
    // Both say and neither hears: the task stops at its bound, and its slave beats on.
    let (messages, bytes) = (500, 1_000);
    let talk = mw.converse(prate::task(messages, bytes));
    let word = vec![1; bytes as usize];
    let says = async { while talk.say(&word).await {} };
    let is_seen = async {
        while !until.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    select(pin!(says), pin!(is_seen)).await;
    let mut progress = mw.slaves().into_iter().filter_map(|slave| slave.progress);
    let progress = progress.find(|progress| progress.task == talk.id().seq());
    let most = UNDER_WAY_BYTES_MAX / (bytes + VEC_BYTES + COUNTED_BYTES);
    assert_eq!(progress.map(|progress| progress.done), Some(most));
    let mut heard = 0;
    while let Some(Heard::Said(said)) = talk.next().await {
        assert_eq!(said[0], heard as u8);
        heard += 1;
    }
    assert_eq!((heard, talk.await?), (messages, messages));

    // In a task that is mapped nobody listens.
    let mut mapped = mw.map((0..10).map(|_| prattle::task()));
    while let Some(heard) = mapped.try_next().await? {
        assert_eq!(heard, 0);
    }

    // As large as a result may be; a byte more is none.
    let talk = mw.converse(prate::task(3, MESSAGE_BYTES_MAX));
    for n in 0..3 {
        let expected = vec![n; MESSAGE_BYTES_MAX as usize];
        assert_eq!(talk.next().await, Some(Heard::Said(expected)));
    }
    assert_eq!(talk.await?, 3);
    let refused = mw.converse(prate::task(1, MESSAGE_BYTES_MAX + 1)).await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("--mw-max-read-buffer-size"), "{refused}");

    // Given up while they hear, as many as slaves and more: all slaves are free again.
    for round in 0..3 {
        let talks: Vec<_> = (0..2 * SLAVES)
            .map(|_| mw.converse(prattle::task()))
            .collect();
        assert!(talks[0].say(&round).await);
        assert_eq!(talks[0].next().await, Some(Heard::Said((1, round))));
        drop(talks);
        join_all((0..SLAVES as u64).map(|_| mw.call(nap::task(1)))).await;
    }

    // Its time is over while it hears: what it has is its result.
    let talk = mw.converse(pay_heed::task());
    assert!(talk.say(&40).await && talk.say(&2).await);
    assert_eq!(talk.await?, 42);
    println!("one by one");

    for done in join_all((0..CROWD).map(|n| exchange(mw, n))).await {
        done?;
    }
    assert_eq!(mw.runnable(), 0);
    println!("{CROWD} at once");

    // Two are left behind, one that nobody has, and end with the run.
    std::mem::forget(mw.converse(prattle::task()));
    let last = mw.converse(prattle::task());
    assert!(last.say(&1).await);
    assert_eq!(last.next().await, Some(Heard::Said((1, 1))));
    Ok(())
}

pub(crate) fn whatever_becomes_of_a_conversation(engine: &str) {
    let dir = dir();
    let heard = dir.path().join("heard");
    let slaves = SLAVES.to_string();
    let mut master = Process::master(
        dir.path(),
        &[
            "--mw-engine",
            engine,
            "--mw-client-timeout",
            "5",
            "--slaves",
            &slaves,
            "--restless",
            "talk",
            "--until",
            heard.to_str().expect("a temporary path"),
        ],
    );
    let address = master.address();
    let slaves: Vec<Process> = (0..SLAVES)
        .map(|nth| Process::slave(dir.path(), &format!("slave-{nth}"), &address))
        .collect();
    // They are named, long after a slave that does not beat is lost.
    let (unheard, untaken) =
        master.await_event("two that wait for each other", |event| match event {
            Event::Stuck {
                task: 0,
                slave: Some(_),
                unheard,
                untaken,
                ..
            } => Some((*unheard, *untaken)),
            _ => None,
        });
    let near = UNDER_WAY_BYTES_MAX - 2_000..=UNDER_WAY_BYTES_MAX;
    assert!(
        near.contains(&unheard) && near.contains(&untaken),
        "{unheard}, {untaken}"
    );
    std::fs::write(&heard, "").unwrap();
    let crowd = format!("{CROWD} at once\n");
    for line in ["one by one\n", &crowd] {
        until(line, || master.stdout().contains(line).then_some(()));
    }
    master.expect_exit(0);
    for mut slave in slaves {
        slave.expect_exit(0);
    }
    let events = master.events();
    assert_eq!(lost(&events), [], "a slave whose task waits beats on");
    let stuck = events
        .iter()
        .filter(|event| matches!(event, Event::Stuck { .. }));
    assert_eq!(stuck.count(), 1);
}
