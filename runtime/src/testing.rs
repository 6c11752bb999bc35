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
//! When the faults stop and healthy slaves come, every task ends within [`CALM_TURNS_MAX`] turns.
//!
//! In every seventh run the master lacks descriptors now and then, and those who dial wait for it to accept again.
//!
//! # Does it bite?
//! `runtime/tests/mutants.rs` puts deliberate bugs into copies of the sources and demands that each is found within
//! 500 seeds. The first seed that found it (counted from 1), and how:
//!
//! | bug | seed | found by |
//! |---|---|---|
//! | double delivery: a cancelled task is told to its owner too | 1 | a flow that ends takes its tasks back first |
//! | lost recycle: the last of several tasks is not queued again | 1 | a live task is queued or held |
//! | wrong order after a free: rerouted tasks go to the front | 1 | TASK-7, recycled, is overtaken |
//! | off by one: a packet of one task too many | 1 | 4 tasks in the hands of SLAVE-0 |
//! | off by one: the queue takes one task past its bound | 2 | TASK-23 is Ended |
//! | a forgotten counter: running tasks, at a cancel | 4 | queued, queued bytes, running |
//! | a stale slot: an old id finds the task that has its slot now | 1 | TASK-21 is Ended |
//! | a bound is told before its witness is kept | 1 | best 0: key 652000 is told and has no witness |
//! | the random stream is taken from the TaskId | 1 | TASK-33 draws from another stream |
//! | a result is accepted after a cancel | 4 | a held task is queued |
//! | what a slave says does not count as a sign of life | 1 | SLAVE-1 is judged by silence after 4535 ms |
//! | a slave is judged by the master's own pause | 8 | SLAVE-11 is judged by silence after 325 ms |
//! | a slave is judged before all that came was taken | 44 | a handshake is given up after 10013 ms |
//! | a goodbye is charged | 5 | SLAVE-8 is charged for TASK-0 |
//! | a loss at shutdown is charged | 38 | SLAVE-17 is charged for TASK-77 |
//! | the announcement of a marked task is skipped | 1 | slave 1 begins TASK-4, which is marked, unannounced |
//! | a marked task begins before its announcement has left | 37 | slave 4 begins TASK-84, which is marked, unannounced |
//! | a recycled task is not marked | 1 | TASK-4 is marked or not |
//! | a slave is not told of a cancel | 4 | SLAVE-5 is not told that \[35\] were cancelled |
//! | results are sent twice | 1 | an honest slave on 4.2 commits an offence |
//! | off by one: ready results are held one end too late | 41 | TASK-118 of the queue goes out above the bound of ready results |
//! | no-retry tasks are retried | 1 | tasks of SLAVE-0 are recycled |
//! | an idle slave waits for a task that is there | 1 | 114 tasks have not ended and 114 ends are untold 6000 turns after the last fault; 3 slaves, 0 compute |
//! | after a lack of descriptors nobody is accepted any more | 28 | 34 tasks have not ended and 34 ends are untold 6000 turns after the last fault; 0 slaves, 0 compute |
//!
//! # Deliberately absent
//! Sockets, files and threads: `runtime/tests/engine.rs` holds the engines to what this world assumes of them. The
//! audit trail's writer and the resource file. Slaves that dial a master that listens again.

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
