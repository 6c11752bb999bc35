//! Pi by throwing darts: the share of random points in a square that fall into the quarter circle is pi / 4.
//!
//! ```text
//! cargo run --release --example monte-carlo-pi
//! cargo run --release --example monte-carlo-pi -- --max-trial-sets 10000
//! cargo run --release --example monte-carlo-pi -- --eps 1e-4 --mw-seed 7
//! ```
//!
//! As a master and slaves, which may come and go (the master's trail says which port it has):
//!
//! ```text
//! monte-carlo-pi --mw-master --mw-master-host 127.0.0.1 --max-trial-sets 10000
//! monte-carlo-pi --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```
//!
//! The same `--mw-seed` gives the same digits on any number of slaves, whatever happens to them: a task's random
//! numbers depend on the seed and its place in the map alone, hits are added up as integers, and results are taken in
//! order, so that `--eps` stops at the same one.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ringmw::prelude::*;

/// Trials of one task, a trial set.
const TRIALS: u64 = 1_000_000;

/// Some seconds on one core, and four decimals.
const TRIAL_SETS: u64 = 2_000;

/// How often a task looks whether anybody still wants it.
const TRIALS_BETWEEN_LOOKS: u64 = 10_000;

/// How many of a trial set's points are in the circle.
#[algorithm]
fn trial_set(cx: &mut Cx) -> u64 {
    let mut hits = 0;
    for _ in 0..TRIALS / TRIALS_BETWEEN_LOOKS {
        if cx.cancelled() {
            break;
        }
        let rng = cx.rng();
        hits += (0..TRIALS_BETWEEN_LOOKS)
            .filter(|_| in_circle(rng.next_u64()))
            .count() as u64;
    }
    hits
}

/// The halves of `point` are its coordinates, and the circle's radius is 2^32: x² + y² < 2^64 in integers, exactly.
fn in_circle(point: u64) -> bool {
    let (x, y) = (point >> 32, point & 0xffff_ffff);
    (x * x).checked_add(y * y).is_some()
}

#[derive(Default)]
struct Tally {
    trials: u64,
    hits: u64,
}

impl Tally {
    fn share(&self) -> f64 {
        self.hits as f64 / self.trials as f64
    }

    fn pi(&self) -> f64 {
        4.0 * self.share()
    }

    fn standard_error(&self) -> f64 {
        4.0 * (self.share() * (1.0 - self.share()) / self.trials as f64).sqrt()
    }
}

/// Estimates pi.
#[derive(clap::Parser)]
struct Opts {
    /// Trial sets of a million trials each [default: 2000, or without end if --eps is given]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_trial_sets: Option<u64>,
    /// Stop when the standard error is below this
    #[arg(long, value_name = "E", value_parser = positive)]
    eps: Option<f64>,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number > 0.0 {
        Ok(number)
    } else {
        Err("it must be above 0".into())
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let Opts {
        max_trial_sets,
        eps,
    } = args.parse();
    let max = max_trial_sets.unwrap_or(if eps.is_some() { u64::MAX } else { TRIAL_SETS });
    let eps = eps.unwrap_or(0.0);
    let bar = progress_bar(max.min(trial_sets_for(eps)));

    let begun = Instant::now();
    let mut tally = Tally::default();
    let mut trial_sets = mw.map((0..max).map(|_| trial_set::task())).in_order();
    while let Some(hits) = trial_sets.try_next().await? {
        tally.trials += TRIALS;
        tally.hits += hits;
        bar.inc(1);
        if tally.standard_error() < eps {
            break;
        }
    }
    drop(trial_sets); // cancels those still out
    bar.finish_and_clear();

    let rate = tally.trials as f64 / begun.elapsed().as_secs_f64();
    println!("pi is about {:.9}", tally.pi());
    println!("standard error {:.9}", tally.standard_error());
    println!(
        "{} trials, {:.1} million a second",
        tally.trials,
        rate / 1e6
    );
    Ok(())
}

/// About how many trial sets bring the standard error below `eps`.
fn trial_sets_for(eps: f64) -> u64 {
    let share = std::f64::consts::FRAC_PI_4;
    (16.0 * share * (1.0 - share) / (eps * eps) / TRIALS as f64).ceil() as u64
}

/// Shown only if standard error is a terminal.
fn progress_bar(trial_sets: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} trial sets, {eta} left");
    ProgressBar::new(trial_sets).with_style(style.expect("a template without errors"))
}

fn main() -> ExitCode {
    App::new().algorithm::<trial_set>().master(master).run()
}
