//! The formats of ringmw: everything that crosses a wire or lands in a file, and nothing that moves it there.
//!
//! | module | format |
//! |---|---|
//! | [`kinds`] | the table of frame kinds: number, payload, limit, direction |
//! | [`frame`] | 16-byte header with checksum before every payload; [`frame::FrameReader`] takes a byte stream apart |
//! | [`handshake`] | hello, welcome and refusal, and the judgement of a slave's fingerprint |
//! | [`batch`] | tasks and results, one rkyv archive per packet; the layout of a task's body |
//! | [`control`] | the small payloads: shutdown, goodbye, withdrawals, incumbents |
//! | [`shared`] | shared data: mentions, what is wanted, pieces |
//! | [`log`] | a line of a slave's log |
//! | [`kept`] | what a slave kept for its run while it had no master |
//! | [`asker`] | an observer's side of its connection |
//! | [`observe`] | what an observer asks of a master, and the answer |
//! | [`status`] | what a run looks like from outside: `/status.json` |
//! | [`audit`] | one line per event; writer and parser are inverse to each other |
//! | [`resource`] | the resource file: CL-MW's forms and our own |
//! | [`journal`] | what outlasts a master: segments of results, the state file, the file `run` |
//! | [`secret`] | proof of the run's secret, and the records that all travels in from then on |
//! | [`flags`](mod@flags) | the tables of flags and of exit codes |
//! | [`format`](mod@format) | the page that describes the wire format byte for byte |
//!
//! Deliberately absent: I/O, a clock, async, randomness. What comes from outside is bounded before memory is taken
//! and never panics; a decoder's error names the field.

pub mod asker;
pub mod audit;
pub mod batch;
pub mod control;
mod crc;
pub mod flags;
pub mod frame;
pub mod handshake;
pub mod journal;
pub mod kept;
pub mod kinds;
pub mod log;
pub mod observe;
pub mod resource;
pub mod running;
pub mod secret;
pub mod shared;
pub mod status;
pub mod talk;
pub mod wire;

#[doc = include_str!("../wire-format.md")]
pub mod format {}

/// A time or a duration in nanoseconds; whose clock it is, the owner of the value says.
pub type Nanos = u64;
