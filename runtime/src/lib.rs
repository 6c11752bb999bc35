//! A master-slave runtime for Linux clusters.

// The attributes write `::ringmw::`, also when they are used inside this crate.
extern crate self as ringmw;

pub mod app;
pub mod flags;
pub mod io;
pub mod master;
pub mod proto;
pub mod slave;
pub mod testing;
pub mod typed;

#[doc(hidden)]
pub use typed::expansion as __private;

pub use app::args;
pub use app::exit as outcome;
pub use io::{engine, files, local};
pub use typed::{algorithm, best, cx, rng, wire};

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
