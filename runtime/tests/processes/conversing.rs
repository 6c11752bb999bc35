//! Conversations with tasks of real slaves: cut in the middle, and begun anew.

use std::time::Duration;

use ringmw::prelude::*;
use ringmw_codec::audit::{Event, LossCause};
use rustix::process::Signal;

use crate::app::{dir, lost};
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
