//! For the tests: five programs that do several things at once. What each prints is the same whatever befalls its slaves.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use ringmw::prelude::*;

/// Long enough that slaves are killed within it.
fn work() {
    std::thread::sleep(Duration::from_millis(3));
}

// ---- a conversation for each result of a map

#[algorithm]
fn size(n: u64) -> u64 {
    work();
    1 + n % 5
}

/// Hears so many numbers, says each doubled, and returns their sum.
#[algorithm]
fn double(numbers: u64, talk: &mut Talk<u64, u64>) -> Result<u64, String> {
    let mut sum = 0;
    for _ in 0..numbers {
        let number = talk.hear().ok_or("nobody says anything")?;
        work();
        sum += number;
        talk.say(&(2 * number));
    }
    Ok(sum)
}

/// Says all numbers and begins again whenever the task does.
async fn dictate(mw: &Master, numbers: u64) -> Result<(u64, u64)> {
    let talk = mw.converse(double::task(numbers));
    let mut said = 0;
    let mut doubled = 0;
    for number in 1..=numbers {
        talk.say(&number).await;
    }
    while let Some(heard) = talk.next().await {
        match heard {
            Heard::Said(number) => {
                said += 1;
                doubled += number;
            }
            Heard::Restarted { .. } => {
                (said, doubled) = (0, 0);
                for number in 1..=numbers {
                    talk.say(&number).await;
                }
            }
        }
    }
    assert_eq!(said, numbers, "each message comes once in the last attempt");
    Ok((talk.await?, doubled))
}

async fn talks(mw: Master) -> Result {
    let mut sizes = mw.map((0..60).map(size::task)).in_order();
    let (mut sum, mut doubled) = (0, 0);
    while let Some(numbers) = sizes.try_next().await? {
        let (one, two) = dictate(&mw, numbers).await?;
        sum += one;
        doubled += two;
    }
    println!("{sum} {doubled}");
    Ok(())
}

// ---- reserved slaves beside levels and deadlines

#[algorithm]
fn square(n: u64) -> u64 {
    work();
    n * n
}

fn is_unrunnable(error: &TaskError) -> bool {
    matches!(error.kind(), TaskErrorKind::Unrunnable { .. })
}

/// A chain of tasks on a slave of its own; on the next one when that is lost.
async fn chain(mw: &Master, from: u64) -> Result<u64> {
    let mut sum = 0;
    let mut mine = mw.reserve().await;
    for n in from..from + 20 {
        sum += loop {
            match mw.call(square::task(n).slave(&mine)).await {
                Ok(square) => break square,
                Err(error) if is_unrunnable(&error) => {
                    drop(mine);
                    mine = mw.reserve().await;
                }
                Err(error) => return Err(error.into()),
            }
        };
    }
    Ok(sum)
}

async fn reserves(mw: Master) -> Result {
    let levels = (0..400).map(|n: u64| {
        let task = square::task(n).priority((n % 8) as i8 - 4);
        match n % 3 {
            0 => task.start_within(Duration::from_secs(300)),
            _ => task,
        }
    });
    let beside = async {
        let mut squares = mw.map(levels);
        let mut sum = 0;
        while let Some(square) = squares.try_next().await? {
            sum += square;
        }
        Ok::<u64, ringmw::Error>(sum)
    };
    let chains = async { join_all([chain(&mw, 0), chain(&mw, 100)]).await };
    let (all, chains) = futures_util::future::join(beside, chains).await;
    let chains: Result<Vec<u64>> = chains.into_iter().collect();
    // Nobody takes it in time: this level waits for a slave that never comes.
    let late = square::task(1)
        .needs("nowhere")
        .start_within(Duration::from_millis(50));
    let late = mw.call(late).await.expect_err("there is no such slave");
    println!("{} {:?} {}", all?, chains?, is_unrunnable(&late));
    Ok(())
}

// ---- a reduction with holes

#[algorithm]
fn inverse(n: i64) -> Result<f64, String> {
    if n % 5 == 0 {
        work();
    }
    match n % 7 {
        3 => Err(format!("{n} has none")),
        _ => Ok(1.0 / (n as f64 + 0.1)),
    }
}

async fn holes(mw: Master) -> Result {
    let some = (0..4_000).map(inverse::task);
    let reduced = mw.map(some).reduce(|a, b| a + b).holes().await;
    let here = (0..4_000).filter_map(|n| inverse(n).ok());
    let expected = ringmw::reduce(here, |a, b| a + b);
    let places: Vec<u64> = reduced.holes.iter().map(|(place, _)| *place).collect();
    assert!(places.iter().copied().eq((0..4_000).filter(|n| n % 7 == 3)));
    assert_eq!(reduced.value.map(f64::to_bits), expected.map(f64::to_bits));
    println!("{} {:?}", places.len(), reduced.value);
    Ok(())
}

// ---- a task that saves itself, gives work back, and draws by event

type Histogram = BTreeMap<u64, u64>;

/// Draws for events from here up to there; what is left goes back when others idle.
#[algorithm]
fn draw(from: u64, to: u64, cx: &mut Cx) -> (Histogram, u64) {
    let (mut at, mut histogram): (u64, Histogram) = cx.resume().unwrap_or((from, Histogram::new()));
    while at < to {
        for event in at..to.min(at + 50) {
            let cell = cx.rng_at(event).random_range(0..10);
            *histogram.entry(cell).or_default() += 1;
        }
        at = to.min(at + 50);
        work();
        cx.checkpoint(&(at, histogram.clone()));
        if cx.hungry() && to - at > 100 {
            break;
        }
    }
    (histogram, at)
}

async fn draws(mw: Master) -> Result {
    let mut all = Histogram::new();
    let mut parts = vec![(0, 10_000), (10_000, 11_000), (11_000, 20_000)];
    while !parts.is_empty() {
        let calls: Vec<_> = parts
            .iter()
            .map(|&(from, to)| mw.call(draw::task(from, to)))
            .collect();
        let mut left = Vec::new();
        for (call, (_, to)) in calls.into_iter().zip(parts) {
            let (histogram, at) = call.await?;
            for (cell, count) in histogram {
                *all.entry(cell).or_default() += count;
            }
            if at < to {
                let half = at + (to - at) / 2;
                left.extend([(at, half), (half, to)]);
            }
        }
        parts = left;
    }
    println!("{all:?}");
    Ok(())
}

// ---- searchers that share an incumbent and report

/// The lowest value of a part, looked for in steps that are reported; the master says whether to go on.
#[algorithm]
fn lowest(part: u64, best: &Best<u64, u64>, talk: &mut Talk<bool, u64>) -> u64 {
    let value = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    for step in 0..20 {
        let from = 1 + (part * 20 + step) * 50;
        let (low, n) = (from..from + 50)
            .map(|n| (value(n), n))
            .min()
            .expect("some");
        best.offer(low, &n);
        work();
        talk.say(&low);
        if talk.hear() != Some(true) {
            break;
        }
    }
    best.get()
}

async fn searches(mw: Master) -> Result {
    let best = mw.minimum::<u64, u64>(u64::MAX);
    let search = |part: u64| {
        let talk = mw.converse(lowest::task(part, &best));
        async move {
            let mut said = u64::MAX;
            while let Some(heard) = talk.next().await {
                if let Heard::Said(low) = heard {
                    said = said.min(low);
                    talk.say(&true).await;
                }
            }
            Ok::<_, ringmw::Error>((said, talk.await?))
        }
    };
    let mut lowest = u64::MAX;
    for found in join_all((0..6).map(search)).await {
        let (said, seen) = found?;
        assert!(seen <= said, "{seen} was known, {said} was said");
        lowest = lowest.min(said);
    }
    assert_eq!(best.get(), lowest);
    println!("{lowest} at {:?}", best.witness());
    Ok(())
}

async fn master(mw: Master, args: Args) -> Result {
    match args.first().map(String::as_str) {
        Some("talks") => talks(mw).await,
        Some("reserves") => reserves(mw).await,
        Some("holes") => holes(mw).await,
        Some("draws") => draws(mw).await,
        Some("searches") => searches(mw).await,
        other => Err(format!("no program {other:?}").into()),
    }
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<size>()
        .algorithm::<double>()
        .algorithm::<square>()
        .algorithm::<inverse>()
        .algorithm::<draw>()
        .algorithm::<lowest>()
        .master(master)
        .run()
}
