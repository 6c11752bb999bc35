//! The protocol cores: [`MasterCore`](master::MasterCore) and [`SlaveCore`](slave::SlaveCore).
//!
//! A core takes facts (bytes came, a connection ended, time passed, the application wants) and gives
//! effects (send these bytes, close that connection, write this audit line, tell that end). It owns
//! every decision of the protocol and does no I/O: it reads no clock (`now` is an argument), draws no
//! random number and opens nothing, so that the engines and a simulated world run the very same code.
//!
//! Deliberately absent: sockets, files, threads, async, types of the user, and all that stands above: the rest of
//! this crate.

pub(crate) mod blob;
pub(crate) mod bytes;
pub(crate) mod checkpoint;
pub(crate) mod config;
pub(crate) mod conn;
pub(crate) mod dialling;
pub(crate) mod disk;
pub(crate) mod end;
pub(crate) mod failed;
pub(crate) mod incumbents;
pub(crate) mod known;
pub(crate) mod listening;
pub(crate) mod lives;
pub(crate) mod master;
pub(crate) mod need;
pub(crate) mod pauses;
pub(crate) mod pieces;
pub(crate) mod printable;
pub(crate) mod race;
pub(crate) mod reason;
pub(crate) mod recording;
mod secured;
pub(crate) mod series;
pub(crate) mod slave;
mod sums;
pub(crate) mod task_name;
pub(crate) mod trace;

use ringmw_codec::frame::{self, Kind};
use ringmw_codec::log::Log;

/// One second in the cores' unit of time.
pub const SECOND: ringmw_sched::Nanos = 1_000_000_000;

/// A handshake must be complete within this time of the accept.
pub const HANDSHAKE_TIMEOUT: ringmw_sched::Nanos = 10 * SECOND;

/// Handshakes under way at once; at the limit accepting pauses.
pub const HANDSHAKES_MAX: usize = 4_096;

/// The most bytes of lines of its log that a slave says of one second, and that wait to be said.
pub(crate) const LOG_BYTES_MAX: usize = 16 << 10;

/// What a line of a log counts beside its text.
const LOG_LINE_BYTES: usize = 64;

/// What a line of a log with this text counts.
pub(crate) fn log_bytes(text: &str) -> usize {
    LOG_LINE_BYTES + text.len().min(Log::TEXT_BYTES_MAX)
}

/// Appends a frame whose payload `encode` lays straight into the buffer.
fn put(out: &mut Vec<u8>, kind: Kind, encode: impl FnOnce(&mut Vec<u8>)) {
    let mark = frame::begin_frame(out, kind);
    encode(out);
    frame::finish_frame(out, mark);
}
