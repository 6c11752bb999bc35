//! A master-slave runtime for Linux clusters.

// The attributes write `::ringmw::`, also when they are used inside this crate.
extern crate self as ringmw;

pub mod algorithm;
pub mod app;
pub mod args;
pub mod best;
mod body;
mod clock;
pub mod cx;
pub mod engine;
pub mod files;
mod fingerprint;
pub mod flags;
pub mod local;
pub mod master;
pub mod outcome;
pub mod proto;
pub mod rng;
pub mod slave;
mod small;
pub mod testing;
pub mod wire;

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

pub use algorithm::{Algorithm, Policy, RegistryError, RunError, Signature, Task};
pub use app::{App, Embedded, Ready};
pub use args::{Args, ArgsError};
pub use best::{Best, BestKey};
pub use cx::{Cx, SlaveState, TagError};
pub use master::{
    Call, Done, Events, Map, Master, Origin, QueueResult, QueueUnrunnable, Results, SlaveView,
    TaskError, TaskErrorKind, TaskResult, Unrunnable,
};
pub use outcome::{Error, IntoOutcome, Result};
pub use rand;
pub use ringmw_macros::{algorithm, wire};
pub use ringmw_sched::{Group, SlaveId, TaskId};
pub use rkyv;
pub use rng::Rng;
pub use slave::{LoopReport, Slave};
pub use wire::{Archived, Outcome, Wire, WireError};

/// What an application needs: `use ringmw::prelude::*;`.
pub mod prelude {
    pub use std::process::ExitCode;

    pub use rand::{Rng as _, RngExt};
    // From the macro crate: from this one the modules of the same names would come along.
    pub use ringmw_macros::{algorithm, wire};

    pub use crate::{
        Algorithm, App, Archived, Args, ArgsError, Best, Cx, Error, Group, Master, Policy, Result,
        Slave, SlaveId, SlaveState, Task, TaskError, TaskErrorKind, TaskId, Wire,
    };
}
