//! A sum of random numbers whose bits are the same on any number of slaves, with any packets, after any loss.
//!
//! ```text
//! cargo run --release --example reduce -- --mw-seed 7
//! cargo run --release --example reduce -- --mw-seed 7 --mw-local 7 --mw-slave-task-group 3
//! ```
//!
//! Use `reduce` where results are combined and an order must not show: floating-point addition is not associative, and the
//! order of arrival is another one each time. Results are combined in one tree over their places in the map.

use ringmw::prelude::*;

/// A sum of random terms of very different size.
#[algorithm]
fn terms(cx: &mut Cx) -> f64 {
    let term = |_| {
        let (size, part): (i32, f64) = (cx.rng().random_range(-30..30), cx.rng().random());
        part * f64::from(size).exp2()
    };
    (0..100).map(term).sum()
}

async fn master(mw: Master, args: Args) -> Result {
    let tasks: usize = args.value("--tasks", 10_000)?;
    let sum = mw
        .map((0..tasks).map(|_| terms::task()))
        .reduce(|a, b| a + b)
        .await?;
    let sum = sum.ok_or("--tasks: at least one")?;
    println!("{sum:e} {:016x}", sum.to_bits());
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<terms>().master(master).run()
}
