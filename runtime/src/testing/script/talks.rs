//! Conversations under churn: whatever befalls the slaves, within an attempt every message comes once and in order either way,
//! none before its attempt is known or after the end, and nothing waits for ever.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::{Either, join_all, select};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::app::App;
use crate::master::{Heard, Master, TaskErrorKind};
use crate::testing::{Churn, World};
use crate::typed::cx::Cx;
use crate::typed::talk::Talk;

/// A message of either side: its number within the attempt, and something that takes room.
#[ringmw::wire]
#[derive(Debug, Clone, PartialEq)]
struct Word {
    /// As the master counts attempts; the task does not know.
    attempt: u32,
    number: u64,
    ballast: Vec<u8>,
}

/// What a task and the master say to each other.
#[ringmw::wire]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    /// Messages of the task, and of the master.
    says: u64,
    hears: u64,
    /// Most bytes of their ballast.
    bytes_max: u64,
    draw: u64,
}

impl Plan {
    /// The ballast of a message.
    fn ballast(&self, number: u64, whose: u64) -> Vec<u8> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.draw ^ number << 1 ^ whose);
        let bytes = match self.bytes_max {
            0 => 0,
            most => rng.random_range(0..=most),
        };
        // Now and then one that fits under no bound but its own.
        let bytes = match bytes > 0 && number % 13 == 5 {
            true => bytes + (70 << 10),
            false => bytes,
        };
        vec![number as u8; bytes as usize]
    }
}

/// How many it said and heard. It fails where a message is not the one that it must be.
#[ringmw::algorithm]
fn converse(plan: Plan, talk: &mut Talk<Word, Word>, cx: &mut Cx) -> Result<(u64, u64), String> {
    if !talk.is_open() {
        let heard = talk.hear();
        let is_heard = heard.is_some() || talk.say(&word(plan, 0, 0));
        assert!(!is_heard || cx.cancelled(), "nobody listens, and hears");
        return Ok((0, 0));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(plan.draw ^ 0x7a1c);
    let (mut said, mut heard) = (0, 0);
    let mut attempt = None;
    while said < plan.says || heard < plan.hears {
        cx.progress(said + heard, plan.says + plan.hears);
        if said < plan.says && (heard == plan.hears || rng.random_range(0..2) == 0) {
            if !talk.say(&word(plan, 0, said)) {
                break;
            }
            said += 1;
            continue;
        }
        let next = match rng.random_range(0..3) {
            0 => talk.try_hear(),
            1 => talk.hear_timeout(Duration::from_millis(5)),
            _ if said == plan.says => talk.hear(),
            _ => talk.try_hear(),
        };
        let Some(next) = next else {
            if !talk.is_open() {
                break;
            }
            continue;
        };
        let of = *attempt.get_or_insert(next.attempt);
        let expected = Word {
            attempt: of,
            number: heard,
            ballast: plan.ballast(heard, 1),
        };
        if next != expected {
            return Err(format!(
                "the task hears {} of attempt {} and must hear {heard} of {of}",
                next.number, next.attempt
            ));
        }
        heard += 1;
    }
    if said < plan.says || heard < plan.hears {
        return Err("nobody listens any more".to_owned());
    }
    Ok((said, heard))
}

fn word(plan: Plan, attempt: u32, number: u64) -> Word {
    Word {
        attempt,
        number,
        ballast: plan.ballast(number, u64::from(attempt > 0)),
    }
}

/// Runs one such master in a world of its own.
///
/// # Panics
/// When a message is not the one that it must be, or the cores break the law.
pub(super) fn talks(seed: u64, transcript: bool) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x7a1c_0000);
    let conversations = rng.random_range(1..6);
    let long = rng.random_range(0..3) == 0;
    let bytes_max = [0, 10, 3_000, 30_000][rng.random_range(0..4)];
    let group = ["1", "4", "auto"][rng.random_range(0..3)];
    let app = App::new()
        .algorithm::<converse>()
        .master(move |mw, _| async move {
            let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x0009_a7e5);
            master(mw, rng, conversations, long, bytes_max).await;
        });
    let mut world = World::new(seed)
        .slaves(rng.random_range(1..5))
        .churn(Churn::every(Duration::from_millis(
            rng.random_range(200..2_000),
        )))
        .compute(Duration::from_micros(10), Duration::from_millis(20))
        .args(["--mw-client-timeout", "3", "--mw-crash-limit", "0"])
        .args(["--mw-slave-task-group", group])
        .args(["--mw-task-timeout", "20"])
        .patience(Duration::from_secs(3_600));
    if transcript {
        world = world.transcript();
    }
    let report = world.run(app);
    assert_eq!(report.code, 0, "{:?}", report.error);
}

async fn master(mw: Master, mut rng: ChaCha8Rng, conversations: u64, long: bool, bytes_max: u64) {
    let mut plan = || {
        let most = if long { 60 } else { 12 };
        Plan {
            says: rng.random_range(0..most),
            hears: rng.random_range(0..most),
            bytes_max,
            draw: rng.random(),
        }
    };
    // In a task that is called or mapped nobody listens.
    let called = mw.call(converse::task(plan()));
    let mapped = mw.map((0..3).map(|_| converse::task(plan())).collect::<Vec<_>>());
    let conversations: Vec<_> = (0..conversations)
        .map(|nth| one(mw.clone(), plan(), nth % 5))
        .collect();
    join_all(conversations).await;
    assert!(matches!(called.await, Ok((0, 0))));
    let mapped = mapped.reduce(|a, b| (a.0 + b.0, a.1 + b.1)).await;
    assert!(matches!(mapped, Ok(Some((0, 0)))), "{mapped:?}");
}

/// One conversation: heard and said in full, awaited early, or dropped in its midst.
async fn one(mw: Master, plan: Plan, kind: u64) {
    let talk = mw.converse(converse::task(plan));
    let mut drawn = ChaCha8Rng::seed_from_u64(plan.draw);
    let leaves_after = match kind {
        3 => drawn.random_range(0..=plan.says + plan.hears),
        _ => u64::MAX,
    };
    // What is known of the attempt: its number, and the messages of either side.
    let (mut attempt, mut heard, mut said) = (1, 0, 0);
    let mut steps = 0;
    loop {
        steps += 1;
        if steps > leaves_after {
            return;
        }
        let next = pin!(talk.next());
        let item = match said < plan.hears {
            true => match select(next, pin!(talk.say(&word(plan, attempt, said)))).await {
                Either::Left((item, _)) => item,
                Either::Right((is_said, next)) => {
                    if is_said {
                        said += 1;
                        continue;
                    }
                    // It has ended, or begins anew: the next word says which.
                    next.await
                }
            },
            false => next.await,
        };
        match item {
            Some(Heard::Said(told)) => {
                let expected = word(plan, 0, heard);
                assert_eq!(
                    told, expected,
                    "message {} is heard where {heard} must be",
                    told.number
                );
                heard += 1;
                assert!(heard <= plan.says, "a task says more than it says");
            }
            Some(Heard::Restarted { attempt: now, .. }) => {
                assert!(now > attempt, "attempt {now} follows {attempt}");
                (attempt, heard, said) = (now, 0, 0);
            }
            None => break,
        }
    }
    assert_eq!(talk.next().await, None, "something is said after the end");
    assert!(!talk.say(&word(plan, attempt, 0)).await);
    match talk.await {
        Ok(told) => {
            assert_eq!(told, (plan.says, plan.hears));
            assert_eq!(heard, plan.says, "messages are lost");
        }
        // A slave that hangs: the task's time is over.
        Err(error) => {
            let TaskErrorKind::Failed { message, .. } = error.kind() else {
                panic!("{error}");
            };
            let is_over = message.contains("timed out") || message.contains("nobody listens");
            assert!(is_over, "{message}");
        }
    }
}
