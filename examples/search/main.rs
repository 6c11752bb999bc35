//! Branch and bound: the shortest Golomb ruler with so many marks. All slaves share the length of the shortest ruler that
//! anyone has found, so that they need not look for longer ones. While slaves are idle tasks give back what they have not
//! searched, and others go on with it; of a slave that is lost the last checkpoint is gone on from.
//!
//! ```text
//! cargo run --release --example search
//! cargo run --release --example search -- --marks 11
//! cargo run --release --example search -- --marks 11 --whole     (tasks give nothing back)
//! ```
//!
//! As a master and slaves (the master's trail says which port it has):
//!
//! ```text
//! search --mw-master --mw-master-host 127.0.0.1 --marks 11
//! search --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

mod ruler;

use std::time::{Duration, Instant};

use ringmw::prelude::*;
use ruler::{MARKS_MAX, explore, extensions, start_bound};

/// With so few marks missing a ruler is searched in one go: some microseconds to milliseconds pass.
const IN_ONE_GO: usize = 4;

/// A ruler with at least so many marks missing is worth a task of its own: to give it back, and for another slave to take
/// it, costs some milliseconds.
const WORTH_A_TASK: usize = 6;

/// What a task gives back becomes so many tasks at most: whoever is done next finds one too. It is the same number whoever
/// is idle, so that a master that is started again gives the tasks whose results stand in its journal.
const PARTS: usize = 4;

/// Searches everything that begins with one of `begun`, the last one first. Gives back what should be
/// searched elsewhere, the largest parts first.
#[algorithm]
fn search(
    begun: Vec<Vec<u32>>,
    marks: usize,
    whole: bool,
    shortest: &Best<u32, Vec<u32>>,
    cx: &mut Cx,
) -> Vec<Vec<u32>> {
    let bound = || shortest.get();
    let mut open: Vec<Vec<u32>> = cx.resume().unwrap_or(begun);
    while let Some(ruler) = open.pop() {
        if ruler.len() + IN_ONE_GO < marks {
            let longer: Vec<_> = extensions(&ruler, marks, &bound).collect();
            open.extend(longer.into_iter().rev());
        } else {
            explore(&ruler, marks, &bound, &mut |ruler| {
                shortest.offer(ruler[marks - 1], &ruler);
            });
        }
        cx.checkpoint(&open);
        // The first ones have the fewest marks: they are the roots of the largest trees that are left.
        let large = open
            .get(1)
            .is_some_and(|ruler| ruler.len() + WORTH_A_TASK <= marks);
        if !whole && large && cx.hungry() {
            break;
        }
    }
    open
}

async fn master(mw: Master, args: Args) -> Result {
    let marks: usize = args.value("--marks", 10)?;
    let whole = args.iter().any(|arg| arg == "--whole");
    if !(2..=MARKS_MAX).contains(&marks) {
        return Err(format!("--marks: {marks} is not between 2 and {MARKS_MAX}").into());
    }
    let shortest = mw.minimum(start_bound(marks));
    let submit = |begun: Vec<Vec<u32>>| {
        // A stream of its own, by what it is: which task is the hundredth depends on the slaves.
        let all = begun.iter().flatten();
        let stream = all.fold(0u64, |stream, mark| {
            stream.wrapping_mul(131).wrapping_add(u64::from(*mark) + 1)
        });
        mw.submit(search::task(begun, marks, whole, &shortest).stream(stream));
    };
    // A task for each second mark; of these the first few hold almost all of the work.
    let bound = || shortest.get();
    match marks {
        2 => submit(vec![vec![0]]),
        _ => extensions(&[0], marks, &bound).for_each(|ruler| submit(vec![ruler])),
    }
    let begun_at = Instant::now();
    let (mut tasks, mut computed, mut slaves) = (0, Duration::ZERO, 0);
    let mut results = mw.results::<search>();
    while let Some(result) = results.try_next().await? {
        tasks += 1;
        computed += result.compute_time();
        slaves = slaves.max(mw.connected());
        let left = result.output;
        let parts = PARTS.min(left.len());
        let mut shares = vec![Vec::new(); parts];
        for (at, ruler) in left.into_iter().enumerate() {
            shares[at % parts].push(ruler);
        }
        shares.into_iter().for_each(&submit);
    }
    let ruler = shortest
        .witness()
        .expect("some ruler is below the bound at the start");
    let length = shortest.get();
    println!("the shortest Golomb ruler with {marks} marks is {length} long");
    println!("{ruler:?}");
    let there = begun_at.elapsed().as_secs_f64() * slaves as f64;
    // What an earlier life of the run computed took no time of this one.
    let idle = 1.0 - computed.as_secs_f64() / there.max(f64::MIN_POSITIVE);
    let idle = 100.0 * idle.max(0.0);
    println!("{tasks} tasks, slaves idle for {idle:.0} % of the time");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<search>().master(master).run()
}
