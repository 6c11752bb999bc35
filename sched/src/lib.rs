//! The pure task scheduler of ringmw: tasks, policies, slaves and their groups, target numbers, recycling.
//!
//! Facts go in (a slave connected, a result came, a task was submitted), effects come out (this packet goes to that
//! slave, that task can not be run). It reads no clock: `now` is an argument. It opens nothing, and it never looks into
//! a payload: `P` is whatever the caller wants back at the end of a task, or of a series of tasks that are alike and go
//! together ([`Series`]).
//!
//! # The law
//! Every task submitted ends in exactly one of these, and is told exactly once:
//!
//! | end | told by |
//! |---|---|
//! | a result was accepted | [`Scheduler::result`] returns [`Accepted`] |
//! | unrunnable | [`Scheduler::poll_unrunnable`] returns it once, with a [`Reason`] |
//! | cancelled | [`Scheduler::cancel`] returns `Some` |
//!
//! The payload moves out with the end, so the type system keeps the "once". Whatever else arrives for such a task is
//! late, for which [`Scheduler::result`] returns `None`, or an [`Offence`], and neither carries a payload.
//!
//! # The life of a task
//! ```text
//!              submit                  hand_out                 result
//!  (policy ok?) ────────────► queued ───────────────► held ───────────────► accepted
//!       │                      ▲ │ │                   │ │ │
//!       │                      │ │ │ cancel            │ │ └─ cancel ─► cancelled; the entry stays in the
//!       │                      │ │ └────► cancelled    │ │              slave's hands until its result
//!       │                      │ │                     │ │              (late) or its acknowledgement
//!       │                      │ │   given back; or    │ │
//!       │                      │ │ slave lost, recycled│ │
//!       │                      └─┼─────────────────────┘ │ slave lost, not retried, poison
//!       └──────► unrunnable ◄────┴───────────────────────┘
//! ```
//!
//! # Example
//! ```
//! use ringmw_sched::*;
//!
//! let config = Config { task_group: 2, ..Config::for_test() };
//! let mut sched = Scheduler::new(config, 1);
//! let (slave, group) = sched.connect();
//! assert_eq!(group, Group::Unordered);
//!
//! let id = sched.submit(TaskSpec::new(AlgorithmId(0), Owner::Queue, 64), "payload", 10);
//! let mut packet = Vec::new();
//! while let Some(to) = sched.hand_out(20, &mut |id, _algorithm, _handed, payload| packet.push((id, *payload))) {
//!     assert_eq!((to, packet.as_slice()), (slave, [(id, "payload")].as_slice()));
//! }
//! let Ok(Some(done)) = sched.result(slave, id.seq()) else { panic!() };
//! assert_eq!((done.payload, done.submitted, done.handed_out), ("payload", 10, 20));
//! ```
//!
//! # Costs
//! Constant amortised time per task and per event, a series counting as one task until its tasks part; except: cancelling
//! a task that is held costs a logarithm of the tasks cancelled in that slave's hands, and one of a held series the series
//! there; losing or freeing a slave costs the tasks it concerns; a change of desired slaves costs the slaves that move
//! or are marked. Nothing costs the number of slaves or tasks there are.
//!
//! # Deliberately absent
//! Clocks, I/O, bytes of payloads, randomness, hash maps with an arbitrary order, unsafe code.

#![forbid(unsafe_code)]

mod check;
mod config;
mod data;
mod end;
mod events;
mod ids;
mod look;
mod loss;
mod offence;
mod scheduler;
mod series;
mod task;
mod why;

pub use config::{AUTO, Config, PACKETS_WEIGHED_FROM, short_tasks_max};
pub use data::health::{Answers, ERROR, Outcomes, WINDOW};
pub use data::hungry::HungryWord;
pub use data::labels::Lack;
pub use data::quarantined::{Quarantine, Suspect, Ward};
pub use data::reserved::Reservation;
pub use data::slave_map::SlaveMap;
pub use end::{Accepted, Cancelled, Death, Reason, Unrunnable};
pub use events::recall::{PATIENCE, RECALL_TASKS_MAX};
pub use ids::{AlgorithmId, Group, Nanos, Needs, Owner, ParseSlaveIdError, SlaveId, TaskId};
pub use loss::{Departure, Losses};
pub use offence::Offence;
pub use scheduler::Scheduler;
pub use series::Series;
pub use task::{
    Handed, LABEL_BYTES_MAX, NEEDS_MAX, Opening, PRIORITY_MAX, PRIORITY_MIN, Policy, TaskSpec,
};
pub use why::{Doing, Place, SlaveLook, TaskLook};
