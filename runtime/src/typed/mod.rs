//! The typed layer: what of a user's program becomes bytes, and what of bytes becomes typed again.
//!
//! Beneath it tasks, results and incumbents are bytes; above it nobody encodes or decodes. Deliberately absent:
//! sockets, files, threads, and the order in which tasks run.

pub(crate) mod algorithm;
pub(crate) mod best;
pub(crate) mod cx;
pub mod expansion;
pub(crate) mod host;
pub(crate) mod reduce;
pub(crate) mod registry;
pub(crate) mod rng;
pub(crate) mod shared;
pub(crate) mod sum;
pub(crate) mod tag;
pub(crate) mod talk;
pub(crate) mod task;
pub(crate) mod wire;
