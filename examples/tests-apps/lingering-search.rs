//! For the tests: `search` for 8 marks, where the task that finds the shortest ruler never ends: its slave is killed
//! between its offer and its result.

#[path = "../search/ruler.rs"]
mod ruler;

use ringmw::prelude::*;
use ruler::{MARKS_MAX, explore, extensions, start_bound};

const MARKS: usize = 8;
const SHORTEST: u32 = 34;

const _: () = assert!(MARKS <= MARKS_MAX);

#[algorithm]
fn search(begun: &[u32], shortest: &Best<u32, Vec<u32>>) -> Vec<Vec<u32>> {
    if begun.len() < 3 {
        return extensions(begun, MARKS, &|| shortest.get()).collect();
    }
    explore(begun, MARKS, &|| shortest.get(), &mut |ruler| {
        let length = ruler[MARKS - 1];
        if shortest.offer(length, &ruler) && length == SHORTEST {
            loop {
                std::thread::park();
            }
        }
    });
    vec![]
}

async fn master(mw: Master, _args: Args) -> Result {
    let shortest = mw.minimum(start_bound(MARKS));
    mw.submit(search::task(&[0], &shortest));
    let mut results = mw.results::<search>();
    while let Some(result) = results.try_next().await? {
        mw.submit_all(
            result
                .output
                .iter()
                .map(|begun| search::task(begun, &shortest)),
        );
    }
    println!("{} {:?}", shortest.get(), shortest.witness());
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<search>().master(master).run()
}
