//! For the tests: a sum of floating-point numbers of mixed magnitude, term by term as a reduction and in pieces as an exact
//! sum, and what a hundred bins of random events count. It prints bits alone, which nothing may change.
//!
//! ```text
//! --terms N      the terms of the reduction
//! --exact N      the terms of the exact sum; --tasks T: cut into so many tasks
//! --events N     the events of the histogram; --tasks T: cut into so many tasks
//! ```

use ringmw::Sum;
use ringmw::prelude::*;

/// The term of this number: of any magnitude between 1e-100 and 1e100, positive as often as negative.
fn nth(n: u64) -> f64 {
    let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mantissa = 1.0 + (mixed >> 12) as f64 / (1u64 << 52) as f64;
    let sign = if mixed & 1 == 0 { 1.0 } else { -1.0 };
    sign * mantissa * 10f64.powi((mixed >> 1) as i32 % 101)
}

#[algorithm]
fn term(n: u64) -> f64 {
    nth(n)
}

/// The exact sum of these terms.
#[algorithm]
fn piece(first: u64, terms: u64) -> Sum {
    (first..first + terms).map(nth).collect()
}

/// How many of these events fall into each of a hundred bins.
#[algorithm]
fn bins(first: u64, events: u64, cx: &mut Cx) -> Vec<u64> {
    let mut counts = vec![0; 100];
    for event in first..first + events {
        let mut rng = cx.rng_at(event);
        let (a, b): (f64, f64) = (rng.random(), rng.random());
        counts[(a * b * 100.0) as usize] += 1;
    }
    counts
}

/// So many things cut into so many tasks: where each begins, and how many it has.
fn cut(all: u64, tasks: u64) -> impl Iterator<Item = (u64, u64)> {
    let each = all.div_ceil(tasks.max(1)).max(1);
    (0..all.div_ceil(each)).map(move |task| (task * each, each.min(all - task * each)))
}

async fn master(mw: Master, args: Args) -> Result {
    let terms: u64 = args.value("--terms", 0)?;
    let exact: u64 = args.value("--exact", 0)?;
    let events: u64 = args.value("--events", 0)?;
    let tasks: u64 = args.value("--tasks", 10)?;
    if terms > 0 {
        let sum = mw.map((0..terms).map(term::task)).reduce(|a, b| a + b);
        let sum = sum.await?.unwrap_or_default();
        let expected = ringmw::reduce((0..terms).map(nth), |a, b| a + b);
        assert_eq!(Some(sum.to_bits()), expected.map(f64::to_bits));
        println!("reduced {:016x}", sum.to_bits());
    }
    if exact > 0 {
        let pieces = cut(exact, tasks).map(|(first, terms)| piece::task(first, terms));
        let sum = mw.map(pieces).reduce(|mut a, b| {
            a.merge(&b);
            a
        });
        let sum = sum.await?.unwrap_or_default();
        println!("exact {:016x}", sum.value().to_bits());
    }
    if events > 0 {
        let all = cut(events, tasks).map(|(first, events)| bins::task(first, events));
        let counts = mw.map(all).reduce(|a, b| {
            let pairs = a.iter().zip(&b);
            pairs.map(|(a, b)| a + b).collect()
        });
        println!("counted {:?}", counts.await?.unwrap_or_default());
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new()
        .algorithm::<term>()
        .algorithm::<piece>()
        .algorithm::<bins>()
        .master(master)
        .run()
}
