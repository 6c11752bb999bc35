//! What moves bytes and performs effects: the network's engines, the slave's connection, the files' threads, the
//! processes of local mode, the thread that tells how the run does, signals, the clock, and the line for the operator.
//!
//! Deliberately absent: decisions. The cores in [`proto`](crate::proto) take them.

pub(crate) mod beside;
pub(crate) mod clock;
pub(crate) mod crash;
pub(crate) mod dial;
pub(crate) mod engine;
pub(crate) mod files;
pub(crate) mod forwarded;
pub(crate) mod job_ad;
pub(crate) mod last_lines;
pub(crate) mod last_word;
pub(crate) mod local;
pub(crate) mod memory;
pub(crate) mod probe;
pub(crate) mod progress;
pub(crate) mod reach;
pub(crate) mod relisten;
pub(crate) mod secret_file;
pub(crate) mod signals;
pub(crate) mod slave_link;
pub(crate) mod status;
pub(crate) mod terminal;
pub(crate) mod word;
