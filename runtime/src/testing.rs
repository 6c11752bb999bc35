//! The simulated world: the very cores that ship, under a clock, a network and a fate that one seed draws.
//!
//! ```text
//!   application     your master algorithm (World) · a script that uses every call there is (storm)
//!   master          MasterCore, Scheduler, calls, maps, queue: as shipped, in the order of a real turn
//!   links           two byte streams each: delay, split, merge, stall one way, cut at any byte, refuse
//!   slaves          SlaveCore as shipped, called as the two threads of a real slave call it; they compute,
//!                   hang, stop and go on, are killed, lose power, are evicted, lie
//! ```
//!
//! Single-threaded, with a clock that costs no time: hundreds of runs a second, each the same whenever its seed is the
//! same. [`World`] tests a user's own master algorithm, in ten lines; [`storm`] is what ringmw tests itself with (see
//! `runtime/tests/sim.rs` for the commands).
//!
//! # What is held against the cores
//! An observer reads every frame that the master hears and sends, and knows from that alone what must become of every
//! task. After every turn:
//!
//! - what must have ended has ended, what must not is live; each end is what the frames say, is told once, and where
//!   the task was given;
//! - nobody is handed a task twice, or one that is not theirs: ordered tasks keep slave and order, recycled ones go
//!   first, the others in the order submitted;
//! - a marked task is announced before it begins; a charge stands for an announced task whose slave crashed, and
//!   for no other departure;
//! - a key of a `Best` that is told was offered, and its witness is kept;
//! - packets keep to their bytes and tasks, hands to their tasks, the queue and the ready results to their bounds;
//! - no slave is judged by silence that was not silent, nor spared when it was, the master's own pauses aside; no
//!   honest slave commits an offence;
//! - `Scheduler::sanity_check` derives every index and counter again.
//!
//! When the faults stop and healthy slaves come, every task ends within [`CALM_TURNS_MAX`] turns
//! and four more for each task.
//!
//! In every seventh run the master lacks descriptors now and then, and those who dial wait for it to accept again.
//!
//! # Does it bite?
//! `runtime/tests/mutants.rs` puts deliberate bugs into copies of the sources and demands that each is found within
//! 500 seeds. The first seed that found it (counted from 1), and how:
//!
//! | bug | seed | found by |
//! |---|---|---|
//! | double delivery: a cancelled task is told to its owner too | 1 | bytes of ready results |
//! | lost recycle: the last of several tasks is not queued again | 1 | a live task is queued or held |
//! | wrong order after a free: rerouted tasks go to the front | 4 | TASK-55 goes after Some(60) in one packet |
//! | off by one: a packet of one task too many | 1 | 4 tasks in the hands of SLAVE-0 |
//! | off by one: the queue takes one task past its bound | 6 | TASK-17 is Ended: Some(Unrunnable(QueueFull { bytes_max: 2000 })) |
//! | a forgotten counter: running tasks, at a cancel | 1 | queued, queued bytes, running |
//! | a stale slot: an old id finds the task that has its slot now | 1 | TASK-2 is Ended: Some(Cancelled) |
//! | a bound is told before its witness is kept | 1 | best 1: key 694542 is told and has no witness |
//! | the random stream is taken from the TaskId | 1 | TASK-5 draws from another stream |
//! | a result is accepted after a cancel | 1 | a held task is queued |
//! | what a slave says does not count as a sign of life | 1 | SLAVE-0 is judged by No byte came for 4 s (--mw-client-timeout). after 300 ms |
//! | a slave is judged by the master's own pause | 5 | SLAVE-9 is judged by No byte came for 4 s (--mw-client-timeout). after 202 ms |
//! | a slave is judged before all that came was taken | 60 | SLAVE-1 is judged before all was taken |
//! | a goodbye is charged | 7 | tasks of SLAVE-0 are recycled |
//! | a loss at shutdown is charged | 116 | SLAVE-31 is charged for TASK-16 |
//! | the announcement of a marked task is skipped | 2 | slave 3 begins TASK-1, which is marked, unannounced |
//! | a marked task begins before its announcement has left | 26 | slave 9 begins TASK-10, which is marked, unannounced |
//! | a recycled task is not marked | 2 | TASK-1 is marked or not |
//! | a slave is not told of a cancel | 1 | SLAVE-3 is not told that \[2\] were cancelled |
//! | results are sent twice | 12 | an honest slave on 3.1 commits an offence |
//! | off by one: ready results are held one end too late | 7 | TASK-13 of the queue goes out above the bound of ready results |
//! | no-retry tasks are retried | 1 | tasks of SLAVE-6 are recycled |
//! | an idle slave waits for a task that is there | 5 | 1 tasks have not ended and 1 ends are untold 6000 turns after the last fault; 3 slaves, 0 compute |
//! | after a lack of descriptors nobody is accepted any more | 7 | 16 tasks have not ended and 16 ends are untold 6000 turns after the last fault; 0 slaves, 0 compute |
//! | a slave gives back what is for it alone | 380 | an honest slave on 1.1 commits an offence |
//! | a slave gives back the task that it has announced | 53 | 1 tasks have not ended and 1 ends are untold 6000 turns after the last fault; 4 slaves, 0 compute |
//! | a task that was given back is lost | 1 | a live task is queued or held |
//! | of two that run a straggler one is lost, and it is run a third time | 63 | a held task is queued |
//! | a slave whose straggler another has answered is not told | 9 | a held task is queued |
//! | a packet goes ahead of time to a slave that has two | 3 | 3 tasks in the hands of SLAVE-3 |
//!
//! # Deliberately absent
//! Sockets, files and threads: `runtime/tests/engine.rs` holds the engines to what this world assumes of them. The
//! audit trail's writer and the resource file. Connections that are refused, and masters that listen again: a slave
//! whose connection is refused ends before either core has heard of it, and who dials in its place is one more that
//! joins.

mod alone;
mod coverage;
mod fleet;
mod law;
mod net;
mod script;
mod slave;
mod world;

pub use alone::{Alone, Parts};
pub use coverage::{Coverage, ENDS, Happening, Standing, can_happen};
pub use script::{CALM_TURNS_MAX, Storm, storm};
pub use world::{Churn, Report, World};
