//! A master-slave runtime for Linux clusters.
#![allow(dead_code, reason = "until the runtime calls it")]

// The attributes write `::ringmw::`, also when they are used inside this crate.
extern crate self as ringmw;

pub mod algorithm;
pub mod best;
pub mod cx;
pub mod rng;
pub mod wire;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use algorithm::{Algorithm, Policy, RegistryError, RunError, Signature, Task};
pub use best::{Best, BestKey, Direction, TooManyBests};
pub use cx::{Cx, SlaveState, TagError};
pub use rand;
pub use ringmw_macros::{algorithm, wire};
pub use ringmw_sched::SlaveId;
pub use rkyv;
pub use rng::Rng;
pub use wire::{Archived, Outcome, Wire, WireError};

/// What an application needs: `use ringmw::prelude::*;`.
pub mod prelude {
    pub use rand::{Rng as _, RngExt};
    // From the macro crate: from this one the modules of the same names would come along.
    pub use ringmw_macros::{algorithm, wire};

    pub use crate::{Algorithm, Archived, Best, Cx, Policy, SlaveId, SlaveState, Task, Wire};
}
