//! Work-stealing: the work begins as one piece at one slave, and whoever has nothing takes half of what another has.
//!
//! ```text
//! cargo run --release --example primes-work-stealing -- --upto 1000000
//! ```
//!
//! Use it where nobody knows beforehand how long a piece takes, a search tree for example: pieces are no smaller than they
//! need be while all are busy, and become smaller where somebody is idle. Where the pieces are known to be even,
//! `primes-master-slave` has less to say to and fro.
//!
//! A slave does not talk to another: it computes for a while, and gives back what it has not done. The master cuts that in
//! two while there are slaves with nothing to do.

mod problem;

use std::time::{Duration, Instant};

use problem::{factors, print};
use ringmw::prelude::*;

/// A slave computes for so long before it gives back what is left.
const SHIFT: Duration = Duration::from_millis(50);

/// Numbers between two looks at the clock.
const NUMBERS: u64 = 200;

/// The sum of a part of the range, and where what is left begins.
#[algorithm]
fn work(first: u64, end: u64, cx: &mut Cx) -> (u64, u64) {
    let begun = Instant::now();
    let (mut sum, mut at) = (0, first);
    while at < end {
        let next = end.min(at + NUMBERS);
        sum += factors(at, next);
        at = next;
        if begun.elapsed() > SHIFT || cx.cancelled() {
            break;
        }
    }
    (sum, at)
}

async fn master(mw: Master, args: Args) -> Result {
    let upto = args.value("--upto", 100_000)?;
    print(upto, sum(&mw, upto).await?);
    Ok(())
}

pub(crate) async fn sum(mw: &Master, upto: u64) -> Result<u64> {
    let submit = |first: u64, end: u64| {
        // A stream of its own, by what it is: how often it was cut depends on the slaves.
        mw.submit(work::task(first, end).tag(&end).stream(first));
    };
    submit(1, upto + 1);
    let mut results = mw.results::<work>();
    let mut sum = 0;
    while let Some(done) = results.try_next().await? {
        let (part, at) = done.output;
        sum += part;
        let end = done.tag::<u64>()?.ok_or("every task has its end")?;
        // Halves, quarters .. while fewer tasks are under way than slaves could take.
        let mut idle = (mw.connected() as u64).saturating_sub(mw.runnable() + 1);
        let mut left = vec![(at, end)];
        while let Some((first, end)) = left.pop().filter(|(first, end)| first < end) {
            if idle > 0 && end - first > NUMBERS {
                idle -= 1;
                let middle = first + (end - first) / 2;
                left.extend([(middle, end), (first, middle)]);
            } else {
                submit(first, end);
            }
        }
    }
    Ok(sum)
}

pub(crate) fn app() -> App {
    App::new().algorithm::<work>().algorithm::<factors>()
}

fn main() -> ExitCode {
    app().master(master).run()
}
