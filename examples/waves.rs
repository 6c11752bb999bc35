//! A computation whose need of slaves changes: none while it prepares, then 8, then 3, then 8 again. Under a batch
//! system `ringmw overseer` follows; when the need falls, slaves that have nothing to do are told to go.
//!
//! ```text
//! ringmw submit condor --binary target/release/examples/waves --slaves 0 --run
//! ringmw overseer --resource-file waves.rsc --batch condor --max 20
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ringmw::prelude::*;

/// Tasks that wait in the master, on no slave yet.
const QUEUE: u64 = 100;

#[algorithm]
fn square(n: u64, ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    n * n
}

/// What the waves of the computation share.
struct Sum {
    next: u64,
    answered: u64,
    sum: u64,
}

impl Sum {
    /// Computes for so long with whoever is here, then until all is answered; the slaves that took part.
    async fn compute(&mut self, mw: &Master, time: Duration, ms: u64) -> Result<BTreeSet<SlaveId>> {
        let mut slaves = BTreeSet::new();
        let begun = Instant::now();
        mw.set_target(QUEUE);
        while begun.elapsed() < time || self.answered < self.next {
            if begun.elapsed() < time {
                let wanted = mw.upto_target();
                mw.submit_all((0..wanted).map(|index| square::task(self.next + index, ms)));
                self.next += wanted;
            }
            mw.events_timeout(Duration::from_secs(1)).await;
            for result in mw.take_results() {
                self.sum += result.output::<square>()?;
                self.answered += 1;
                slaves.insert(result.slave());
            }
            if let Some(task) = mw.take_unrunnable().first() {
                return Err(task.to_string().into());
            }
        }
        Ok(slaves)
    }
}

async fn master(mw: Master, args: Args) -> Result {
    let seconds = Duration::from_secs(args.value("--seconds", 20)?);
    let ms: u64 = args.value("--task-ms", 50)?;
    let waves: [u32; 4] = [0, 8, 3, 8];
    let mut all = Sum {
        next: 0,
        answered: 0,
        sum: 0,
    };
    let mut desired = 0;
    for wave in waves {
        // More are asked for before the work is there, fewer when it is done.
        mw.allocate(Group::Unordered, wave.saturating_sub(desired));
        mw.deallocate(Group::Unordered, desired.saturating_sub(wave));
        desired = wave;
        if wave == 0 {
            // It may be reading its input meanwhile.
            mw.blocking(move || std::thread::sleep(seconds)).await;
            continue;
        }
        let slaves = all.compute(&mw, seconds, ms).await?;
        println!(
            "{wave} desired: {} slaves took part, {} tasks so far",
            slaves.len(),
            all.next
        );
    }
    let expected: u64 = (0..all.next).map(|n| n * n).sum();
    println!("the sum of {} squares is {}", all.next, all.sum);
    if all.sum != expected {
        return Err(format!("it should be {expected}").into());
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<square>().master(master).run()
}
