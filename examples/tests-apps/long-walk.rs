//! For the tests: one long task, which draws in each step, says how far it has come, and leaves a byte in a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::time::Duration;

use ringmw::prelude::*;

const DRAWS: usize = 100;
const STEP: Duration = Duration::from_millis(100);

#[algorithm]
fn walk(steps: u32, log: &str, cx: &mut Cx) -> f64 {
    let (mut step, mut place) = cx.resume().unwrap_or((0, 0.0));
    let log = OpenOptions::new().append(true).create(true).open(log);
    let mut log = log.expect("the test's folder is there");
    while step < steps {
        for _ in 0..DRAWS {
            place += cx.rng().random_range(-1.0..1.0);
        }
        step += 1;
        log.write_all(b".").expect("there is room");
        std::thread::sleep(STEP);
        cx.checkpoint(&(step, place));
    }
    place
}

async fn master(mw: Master, args: Args) -> Result {
    let steps: u32 = args.value("--steps", 60)?;
    let log: String = args.value("--log", "steps".to_owned())?;
    let place = mw.call(walk::task(steps, &log)).await?;
    println!("{:016x}", place.to_bits());
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<walk>().master(master).run()
}
