//! The typed layer: what of a user's program becomes bytes, and what of bytes becomes typed again.
//!
//! Beneath it tasks, results and incumbents are bytes; above it nobody encodes or decodes. Deliberately absent:
//! sockets, files, threads, and the order in which tasks run.

pub mod algorithm;
pub mod best;
pub mod cx;
pub mod expansion;
pub mod rng;
pub mod wire;
