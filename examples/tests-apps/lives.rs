//! For the tests: sums of floats whose bits show any other order, of tasks that take their time, on slaves that tell when
//! they are made and each task that they compute.
//!
//! ```text
//! --tasks N      the tasks
//! --nap MS       how long each takes
//! --reduce       combined in a tree rather than one after the other
//! --gate FILE    it does not end before this file is there
//! ```

use std::error::Error;
use std::path::Path;
use std::thread;
use std::time::Duration;

use ringmw::prelude::*;

/// Tells when it is made.
struct Told;

impl SlaveState for Told {
    fn init(_cx: &mut Cx) -> std::result::Result<Self, Box<dyn Error>> {
        println!("made");
        Ok(Told)
    }
}

/// A number that its random stream alone decides, of any size.
#[algorithm]
fn noise(nap_ms: u64, _told: &mut Told, cx: &mut Cx) -> f64 {
    thread::sleep(Duration::from_millis(nap_ms));
    println!("computed");
    let (size, part): (i32, f64) = (cx.rng().random_range(-30..30), cx.rng().random());
    part * f64::from(size).exp2()
}

async fn master(mw: Master, args: Args) -> Result {
    let tasks: u64 = args.value("--tasks", 1_000)?;
    let nap_ms: u64 = args.value("--nap", 10)?;
    let noises = mw.map((0..tasks).map(|_| noise::task(nap_ms)));
    let mut sum = 0f64;
    if args.iter().any(|arg| arg == "--reduce") {
        sum = noises.reduce(|a, b| a + b).await?.unwrap_or_default();
    } else {
        let mut noises = noises.in_order();
        while let Some(noise) = noises.try_next().await? {
            sum += noise / 3.0;
        }
    }
    let gate: String = args.value("--gate", String::new())?;
    while !gate.is_empty() && !Path::new(&gate).exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    println!("{:016x}", sum.to_bits());
    Ok(())
}

fn main() -> ExitCode {
    App::new().algorithm::<noise>().master(master).run()
}
