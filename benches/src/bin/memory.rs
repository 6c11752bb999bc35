//! What a queued task costs the master beside its payload, and what is left once the queue is drained.
//!
//! ```text
//! cargo run --release -p ringmw-benches --bin memory
//! cargo run --release -p ringmw-benches --bin memory -- --tasks 10000000 --json
//! ```

use std::process::ExitCode;

use ringmw::prelude::*;
use ringmw_benches::{app, meter, noop};

/// The bytes of a no-op task's argument.
const PAYLOAD_BYTES: f64 = 8.0;

async fn master(mw: Master, args: Args) -> Result {
    let tasks: u64 = args.value("--tasks", 1_000_000)?;
    let before = meter::memory().0 as f64;
    mw.submit_all((0..tasks).map(noop::task));
    mw.poll_events().await;
    let full = meter::memory().0 as f64;
    let cancelled = mw.cancel_all() as u64;
    assert_eq!(cancelled, tasks, "nobody runs them here");
    mw.poll_events().await;
    let drained = meter::memory().0 as f64;
    let beside = (full - before) / tasks as f64 - PAYLOAD_BYTES;
    let left = (drained - before) / (full - before);
    if args.has("--json") {
        println!(
            "{{\"case\":\"queued\",\"tasks\":{tasks},\"bytes_per_queued_task\":{beside:.1},\"left_after_drain\":{left:.3}}}"
        );
    } else {
        println!("{tasks} queued tasks: {beside:.1} bytes each beside the payload");
        println!("drained: {:.1} % of that memory is left", 100.0 * left);
    }
    Ok(())
}

fn main() -> ExitCode {
    let args = std::env::args().skip(1);
    ExitCode::from(app().master(master).embedded(0).args(args).run())
}
