//! A master algorithm with a loop of its own, tested under churn in ten lines (at the foot).
//!
//! The longest Collatz chain that begins below a number. Tasks are not retried: when a slave is lost, the master cuts
//! its range in two and submits the halves, so that a range too long for the slaves that there are becomes shorter.
//!
//! ```text
//! cargo run --release --example collatz -- 3000000
//! cargo test --test collatz
//! ```

use ringmw::prelude::*;

/// How many numbers a task begins with.
const RANGE: u64 = 100;

/// The length of the longest chain that begins with one of these, and that number.
#[algorithm]
fn chains(first: u64, end: u64) -> (u64, u64) {
    let length = |n: u64| {
        let step = |&n: &u64| match n {
            1 => None,
            n if n % 2 == 0 => Some(n / 2),
            n => Some(3 * n + 1),
        };
        std::iter::successors(Some(n), step).count() as u64
    };
    let longest = (first..end).map(|n| (length(n), n));
    longest
        .max_by_key(|&(length, n)| (length, std::cmp::Reverse(n)))
        .unwrap_or_default()
}

/// The smallest number below `end` whose chain is the longest, and that chain's length.
async fn longest(mw: &Master, end: u64) -> Result<(u64, u64)> {
    let submit = |first: u64, end: u64| {
        mw.submit(chains::task(first, end).tag(&(first, end)).retry(false));
    };
    for first in (1..end).step_by(RANGE as usize) {
        submit(first, end.min(first + RANGE));
    }
    let (mut best, mut numbers) = ((0, 0), 0);
    while !mw.events().await.is_empty() {
        for result in mw.take_results() {
            let (first, end) = result.tag::<(u64, u64)>()?.ok_or("every task has a tag")?;
            let (length, n) = result.output::<chains>()?;
            numbers += end - first;
            if length > best.1 || length == best.1 && n < best.0 {
                best = (n, length);
            }
        }
        for task in mw.take_unrunnable() {
            let (first, end) = task.tag::<(u64, u64)>()?.ok_or("every task has a tag")?;
            let middle = first + (end - first).div_ceil(2);
            submit(first, middle);
            if middle < end {
                submit(middle, end);
            }
        }
    }
    assert_eq!(numbers, end - 1, "every number was looked at once");
    Ok(best)
}

async fn master(mw: Master, args: Args) -> Result {
    let end = args
        .iter()
        .next()
        .map_or(Ok(1_000_000), |end| end.parse())?;
    let (n, length) = longest(&mw, end).await?;
    println!("{n} has the longest chain below {end}: {length} numbers");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<chains>().master(master).run()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ringmw::prelude::*;
    use ringmw::testing::{Churn, World};

    async fn checked(mw: Master, _args: Args) -> Result {
        assert_eq!(super::longest(&mw, 10_000).await?, (6_171, 262));
        Ok(())
    }

    #[test]
    fn the_longest_chain_is_found_whoever_is_lost() {
        for seed in 0..50 {
            let app = App::new().algorithm::<super::chains>().master(checked);
            let churn = Churn::every(Duration::from_millis(200));
            let report = World::new(seed)
                .churn(churn)
                .args(["--mw-client-timeout", "1"])
                .run(app);
            assert_eq!(report.code, 0, "seed {seed}: {report:?}");
        }
    }
}
