#![doc = include_str!("front.md")]
//!
//! # Where to read on
//! [`manual`] has a chapter for each thing that somebody wants to do; [`testing`] a simulated cluster for a master algorithm of
//! your own.

// The attributes write `::ringmw::`, also when they are used inside this crate.
extern crate self as ringmw;

mod app;
mod flags;
#[doc(hidden)]
pub mod internals;
mod io;
pub mod manual;
mod master;
mod proto;
mod slave;
#[cfg(feature = "testing")]
pub mod testing;
mod typed;
#[cfg(feature = "wasm")]
pub mod wasm;

#[doc(hidden)]
pub use typed::expansion as __private;

pub use app::args::{Args, ArgsError};
pub use app::exit::{Error, IntoExit, Result};
pub use app::{App, Embedded, Ready};
/// Combinators of futures and streams: the crate `futures-util`, so that an application needs no other dependency.
pub use futures_util as futures;
pub use master::{
    Call, Conversation, Done, Events, Heard, Light, Map, Master, Origin, Position, Progress,
    Reduce, Reduced, Reservation, Reserve, Results, SlaveView, StateError, Target, TaskError,
    TaskErrorKind, TaskResult, UnrunnableTask,
};
pub use proto::incumbents::Direction;
pub use rand;
pub use ringmw_macros::{algorithm, wire};
pub use ringmw_sched::{Death, Group, Reason, SlaveId, TaskId};
pub use rkyv;
pub use slave::{ForwardLog, LoopReport, Slave};
/// What a master algorithm may await beside ringmw's own, so that an application needs no other dependency.
pub use tokio;
pub use typed::algorithm::{Algorithm, Signature};
pub use typed::best::{Best, BestKey};
pub use typed::cx::{Cx, SlaveState};
pub use typed::reduce::reduce;
pub use typed::registry::RegistryError;
pub use typed::rng::{Rng, Stream, Streams};
pub use typed::shared::{Share, Shared};
pub use typed::sum::Sum;
pub use typed::tag::{RunError, TagError};
pub use typed::talk::{Converses, Talk};
pub use typed::task::{Policy, Task};
pub use typed::wire::{Archived, Outcome, Wire, WireError};

/// What an application needs: `use ringmw::prelude::*;`.
pub mod prelude {
    pub use std::process::ExitCode;

    pub use rand::{Rng as _, RngExt};
    // From the macro crate: from this one the modules of the same names would come along.
    pub use ringmw_macros::{algorithm, wire};

    pub use crate::{
        Algorithm, App, Archived, Args, ArgsError, Best, Cx, Error, Group, Heard, Master, Policy,
        Position, Reservation, Result, Shared, Slave, SlaveId, SlaveState, Talk, Task, TaskError,
        TaskErrorKind, TaskId, Wire,
    };
}
