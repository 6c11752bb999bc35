//! What the benchmarks of ringmw share.
//!
//! [`case`] runs the whole system on loopback and measures it: a master in this process, with its audit trail in a
//! file, and slaves in other processes ([`fleet`]), real ones or thousands of [`played`] ones. [`meter`] reads what a
//! process costs, [`machine`] says on what. Beside that stand what it is held against: a [`bare`] ring, [`loops`] in bare
//! processes, and [`rivals`].
//!
//! Every benchmark's binary is its own slaves too, so its `main` begins with [`role`].

use std::process::ExitCode;

use ringmw::prelude::*;

pub mod apart;
pub mod bare;
pub mod blob;
pub mod case;
pub mod fleet;
pub mod joins;
pub mod look;
pub mod loops;
pub mod machine;
pub mod meter;
pub mod micro;
pub mod played;
pub mod rivals;
pub mod shapes;
pub mod shared;

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

/// The loop itself, for processes without a master; `rivals/common.h` has the same.
pub fn iterate(iterations: u64) -> u64 {
    (0..iterations).fold(iterations, |state, _| {
        let mut state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // SAFETY: it does nothing. It keeps the steps apart: compilers fold several into one, each as many as it likes.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) state, options(nomem, nostack, preserves_flags))
        };
        state
    })
}

/// The application that master and slaves of a benchmark are.
pub fn app() -> App {
    let app = App::new().algorithm::<noop>().algorithm::<spin>();
    shared::register(blob::register(shapes::register(app)))
}

/// Runs this process as a slave, as thousands, or as a bare process, if that is what it was started for.
pub fn role() -> Option<ExitCode> {
    let first = std::env::args().nth(1)?;
    match &*first {
        "--mw-slave" => Some(app().run()),
        played::FLAG => Some(played::main()),
        look::FLAG => Some(look::main()),
        loops::BARE => Some(loops::bare()),
        blob::PEER => Some(blob::peer()),
        _ => None,
    }
}
