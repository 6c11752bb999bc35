//! Master-slave: the master cuts the work into even ranges, and whoever is free gets the next.
//!
//! ```text
//! cargo run --release --example primes-master-slave -- --upto 1000000
//! ```
//!
//! Use it first: where tasks are many and none is as long as all others together, nothing else is faster, and the whole
//! program is one `map`. Later ranges take longer here, and it does not matter, since a slave that has a short one comes
//! back sooner. Its brothers are `primes-work-pushing` and `primes-work-stealing`.

mod problem;

use problem::{factors, print, ranges};
use ringmw::prelude::*;

async fn master(mw: Master, args: Args) -> Result {
    let upto = args.value("--upto", 100_000)?;
    print(upto, sum(&mw, upto).await?);
    Ok(())
}

pub(crate) async fn sum(mw: &Master, upto: u64) -> Result<u64> {
    let mut sums = mw.map(ranges(upto, 1_000).map(|(first, end)| factors::task(first, end)));
    let mut sum = 0;
    while let Some(part) = sums.try_next().await? {
        sum += part;
    }
    Ok(sum)
}

pub(crate) fn app() -> App {
    App::new().algorithm::<factors>()
}

fn main() -> ExitCode {
    app().master(master).run()
}
