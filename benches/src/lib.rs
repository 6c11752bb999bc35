//! What the benchmarks of ringmw share.
//!
//! [`case`] runs the whole system on loopback and measures it: a master in this process, with its audit trail in a
//! file, and slaves in other processes ([`fleet`]), real ones or thousands of [`played`] ones. [`meter`] reads what a
//! process costs, [`machine`] says on what.
//!
//! Every benchmark's binary is its own slaves too, so its `main` begins with [`role`].

use std::process::ExitCode;

use ringmw::prelude::*;

pub mod apart;
pub mod bare;
pub mod case;
pub mod fleet;
pub mod machine;
pub mod meter;
pub mod played;

/// The smallest task: what it costs is the system's own.
#[algorithm]
pub fn noop(n: u64) -> u64 {
    n
}

/// A counted loop: work that takes as long as its iterations, and that nothing can skip.
#[algorithm]
pub fn spin(iterations: u64) -> u64 {
    iterate(iterations)
}

/// The loop itself, for processes without a master.
pub fn iterate(iterations: u64) -> u64 {
    // Each step needs the one before: a multiplication and an addition cannot be overlapped or left out.
    (0..iterations).fold(iterations, |state, _| {
        state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407)
    })
}

/// The application that master and slaves of a benchmark are.
pub fn app() -> App {
    App::new().algorithm::<noop>().algorithm::<spin>()
}

/// Runs this process as a slave, or as thousands, if that is what it was started for.
pub fn role() -> Option<ExitCode> {
    let first = std::env::args().nth(1)?;
    match &*first {
        "--mw-slave" => Some(app().run()),
        played::FLAG => Some(played::main()),
        _ => None,
    }
}
