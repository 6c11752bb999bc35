//! A histogram of a million random walks that does not change by one count when the work is cut into other tasks.
//!
//! ```text
//! cargo run --release --example histogram -- --mw-seed 7
//! cargo run --release --example histogram -- --mw-seed 7 --per-task 7919 --mw-local 7
//! ```
//!
//! Each walk has a random stream of its own, by its number among all walks, not by the task that computes it. Each task
//! gives a histogram of its walks, and `reduce` adds them up as they come.

use ringmw::prelude::*;

/// Steps of a walk, each up or down by one.
const STEPS: u32 = 64;

/// How many of these walks end where: at -64, -62 .. 64.
#[algorithm]
fn walks(first: u64, walks: u64, cx: &mut Cx) -> Vec<u64> {
    let mut ends = vec![0; STEPS as usize + 1];
    for walk in first..first + walks {
        let ups = cx.rng_at(walk).next_u64().count_ones();
        ends[ups as usize] += 1;
    }
    ends
}

fn add(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
    a
}

async fn master(mw: Master, args: Args) -> Result {
    let total: u64 = args.value("--walks", 1_000_000)?;
    let per_task: u64 = args.value("--per-task", 10_000)?;
    if total == 0 || per_task == 0 {
        return Err("--walks, --per-task: at least 1".into());
    }
    let tasks = (0..total.div_ceil(per_task)).map(|task| {
        let first = task * per_task;
        walks::task(first, per_task.min(total - first))
    });
    let ends = mw.map(tasks).reduce(add).await?;
    for (ups, count) in ends.into_iter().flatten().enumerate() {
        if count > 0 {
            println!("{:4} {count}", 2 * ups as i64 - i64::from(STEPS));
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<walks>().master(master).run()
}
