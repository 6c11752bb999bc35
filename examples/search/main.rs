//! Branch and bound: the shortest Golomb ruler with so many marks. Tasks give back further tasks, and all slaves share
//! the length of the shortest ruler that anyone has found, so that they need not look for longer ones.
//!
//! ```text
//! cargo run --release --example search
//! cargo run --release --example search -- --marks 11
//! ```
//!
//! As a master and slaves (the master's trail says which port it has):
//!
//! ```text
//! search --mw-master --mw-master-host 127.0.0.1 --marks 11
//! search --mw-slave --mw-master-host 127.0.0.1 --mw-master-port PORT
//! ```

mod ruler;

use ringmw::prelude::*;
use ruler::{MARKS_MAX, explore, extensions, start_bound};

/// Rulers with fewer marks are given back to be searched as tasks of their own; with more, they are searched at once.
const SPLIT: usize = 3;

/// Searches everything that begins with `begun`. Gives back what should be searched elsewhere.
#[algorithm]
fn search(begun: &[u32], marks: usize, shortest: &Best<u32, Vec<u32>>) -> Vec<Vec<u32>> {
    let bound = || shortest.get();
    if begun.len() < SPLIT.min(marks - 1) {
        return extensions(begun, marks, &bound).collect();
    }
    explore(begun, marks, &bound, &mut |ruler| {
        shortest.offer(ruler[marks - 1], &ruler);
    });
    vec![]
}

async fn master(mw: Master, args: Args) -> Result {
    let marks: usize = args.value("--marks", 10)?;
    if !(2..=MARKS_MAX).contains(&marks) {
        return Err(format!("--marks: {marks} is not between 2 and {MARKS_MAX}").into());
    }
    let shortest = mw.minimum(start_bound(marks));
    mw.submit(search::task(&[0], marks, &shortest));
    let mut tasks = 0;
    let mut results = mw.results::<search>();
    while let Some(result) = results.try_next().await? {
        tasks += 1;
        for begun in result.output {
            // A stream of its own, by what it is: which task is the hundredth depends on the slaves.
            let stream = begun
                .iter()
                .fold(0, |stream, mark| stream << 8 | u64::from(*mark));
            mw.submit(search::task(&begun, marks, &shortest).stream(stream));
        }
    }
    let ruler = shortest
        .witness()
        .expect("some ruler is below the bound at the start");
    let length = shortest.get();
    println!("the shortest Golomb ruler with {marks} marks is {length} long");
    println!("{ruler:?}");
    println!("{tasks} tasks");
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<search>().master(master).run()
}
