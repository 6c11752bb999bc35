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
//! The same `--mw-seed` gives the same digits on any number of slaves, whatever happens to them: random numbers depend on
//! the seed and the number of their block of trials alone, however these are cut into tasks; trial sets are combined by
//! `reduce`, a round of them at a time, and `--eps` stops after the same round.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use ringmw::prelude::*;

/// Trials of one task, a trial set.
const TRIALS: u64 = 1_000_000;

/// Some seconds on one core, and four decimals.
const TRIAL_SETS: u64 = 2_000;

/// Trials with one random stream: a block. A task looks before each whether anybody still wants it.
const BLOCK_TRIALS: u64 = 10_000;

/// Blocks of a trial set.
const BLOCKS: u64 = TRIALS / BLOCK_TRIALS;

/// How many of the points of these blocks are in the circle.
#[algorithm]
fn trial_set(first_block: u64, blocks: u64, cx: &mut Cx) -> Tally {
    let mut tally = Tally::default();
    for block in first_block..first_block + blocks {
        if cx.cancelled() {
            break;
        }
        let mut rng = cx.rng_at(block);
        let hits = (0..BLOCK_TRIALS).filter(|_| in_circle(rng.next_u64()));
        tally.hits += hits.count() as u64;
        tally.trials += BLOCK_TRIALS;
    }
    tally
}

/// The halves of `point` are its coordinates, and the circle's radius is 2^32: x² + y² < 2^64 in integers, exactly.
fn in_circle(point: u64) -> bool {
    let (x, y) = (point >> 32, point & 0xffff_ffff);
    (x * x).checked_add(y * y).is_some()
}

#[wire]
#[derive(Default)]
struct Tally {
    trials: u64,
    hits: u64,
}

impl Tally {
    fn merge(self, other: Tally) -> Tally {
        Tally {
            trials: self.trials + other.trials,
            hits: self.hits + other.hits,
        }
    }

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
    let mut done = 0;
    while done < max && (done == 0 || tally.standard_error() >= eps) {
        let round = done..max.min(done + round_for(eps));
        done = round.end;
        let trial_sets = round.map(|set| trial_set::task(set * BLOCKS, BLOCKS));
        let merge = |a: Tally, b: Tally| {
            bar.inc(1);
            a.merge(b)
        };
        let hits = mw.map(trial_sets).reduce(merge).await?;
        bar.inc(1); // N trial sets are combined in N - 1 steps
        tally = tally.merge(hits.unwrap_or_default());
    }
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

/// How many trial sets are combined before the standard error is looked at: an eighth of what it takes.
fn round_for(eps: f64) -> u64 {
    trial_sets_for(eps).div_ceil(8).max(1)
}

/// Shown only if standard error is a terminal.
fn progress_bar(trial_sets: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} trial sets, {eta} left");
    ProgressBar::new(trial_sets).with_style(style.expect("a template without errors"))
}

fn main() -> ExitCode {
    App::new().algorithm::<trial_set>().master(master).run()
}
