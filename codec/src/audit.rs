//! The audit trail: one line per event, written and read back by one table.
//!
//! ```text
//! 2 2026-11-20T08:03:03.123456Z MASTER connected slave=SLAVE-17 from=10.1.7.3:4432 host=node7 job=123.4 group=unordered
//! | |                           |      |         facts: key=value, in the order of the event's fields
//! | time: RFC 3339, UTC         who    what
//! version
//! ```
//!
//! A value that is empty, or holds white space, `"`, `=`, `\` or control characters, stands in quotes with escapes
//! (`\"`, `\\`, `\n`, `\r`, `\t`, `\u{1b}`), so that a line is always one line, splits at its spaces outside quotes, and
//! any text comes back as it was. A fact that an event does not have (an [`Option`]) is left out.
//!
//! ```
//! use ringmw_codec::audit::{Event, Line, Who};
//!
//! let line = Line { time_us: 1_795_161_783_123_456, who: Who::Slave(Some(17)), event: Event::Connecting { to: "node 1".into() } };
//! let mut out = Vec::new();
//! line.write(&mut out);
//! assert_eq!(out, b"2 2026-11-20T08:03:03.123456Z SLAVE-17 connecting to=\"node 1\"\n");
//! assert_eq!(Line::parse(std::str::from_utf8(&out)?.trim_end()), Ok(line));
//! # Ok::<(), std::str::Utf8Error>(())
//! ```
//!
//! A reader of this version takes 1 as it was, and of 2 passes over what it does not know: facts behind the known ones,
//! and events, whose lines have an error of their own ([`AuditError::is_of_later`]). So a new event or a new optional fact at
//! the end keeps the version; any other change raises it.
//!
//! Version 1: the first. Version 2: what is not known is passed over; state lines.

use thiserror::Error;

pub use event::{EVENTS, Event, EventForm};
pub use form::{
    EndWord, EngineWord, GroupWord, LossCause, ResourceStatus, RoleWord, StateWord,
    TASK_RANGES_MAX, TaskRanges,
};

pub mod clmw;
mod event;
mod form;
mod quick;
mod text;
mod time;

use text::{Facts, put_number};

/// The version of the format, first on every line.
pub const AUDIT_VERSION: u32 = 2;

const LINE_BYTES_USUAL: usize = 160;
const STAMP_BYTES_USUAL: usize = 48;

/// Who writes a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The master.
    Master,
    /// A slave, with its number once it has one.
    Slave(Option<u32>),
}

/// One line of the trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since the start of 1970, UTC. Times outside of the years 0 to 9999 are written as the nearest
    /// inside.
    pub time_us: i64,
    /// Who writes.
    pub who: Who,
    /// What happened.
    pub event: Event,
}

/// Why a text is no line of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("column {column}: {what}")]
pub struct AuditError {
    /// Where, in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub what: String,
    /// Nothing is: the line is about an event that a later program knows.
    pub is_of_later: bool,
}

/// What the lines of one writer and one time begin with.
#[derive(Debug, Clone)]
pub struct Stamp(Vec<u8>);

impl Stamp {
    /// As the fields of a [`Line`].
    #[must_use]
    pub fn new(time_us: i64, who: Who) -> Self {
        let mut out = Vec::with_capacity(STAMP_BYTES_USUAL);
        put_number(&mut out, AUDIT_VERSION.into());
        out.push(b' ');
        time::put_time(&mut out, time_us);
        match who {
            Who::Master => out.extend_from_slice(b" MASTER "),
            Who::Slave(None) => out.extend_from_slice(b" SLAVE "),
            Who::Slave(Some(slave)) => {
                out.extend_from_slice(b" SLAVE-");
                put_number(&mut out, slave.into());
                out.push(b' ');
            }
        }
        Stamp(out)
    }

    /// Appends the line of an event and its line feed.
    pub fn write(&self, event: &Event, out: &mut Vec<u8>) {
        out.reserve(LINE_BYTES_USUAL);
        out.extend_from_slice(&self.0);
        out.extend_from_slice(event.word().as_bytes());
        event.write_facts(out);
        out.push(b'\n');
    }
}

impl Line {
    /// Appends the line and its line feed.
    pub fn write(&self, out: &mut Vec<u8>) {
        Stamp::new(self.time_us, self.who).write(&self.event, out);
    }

    /// Reads a line, its line feed taken off.
    ///
    /// # Errors
    /// Names the first column that is not as the writer would have it: another version, an unknown event, a fact that
    /// is missing, out of order or unknown, a value of the wrong form.
    pub fn parse(line: &str) -> Result<Line, AuditError> {
        let mut facts = Facts::new(line);
        let version = facts.word("the version")?;
        let passes_over = match version.text {
            "1" => false,
            "2" => true,
            other => {
                let what = format!("version {other:?}, this program reads 1 to {AUDIT_VERSION}");
                return Err(facts.error(version.at, what));
            }
        };
        let time = facts.word("the time")?;
        let time_us = time::parse_time(time.text).ok_or_else(|| {
            facts.error(
                time.at,
                format!(
                    "{:?} is no time like 2026-11-20T08:03:03.123456Z",
                    time.text
                ),
            )
        })?;
        let who = facts.word("who")?;
        let who = parse_who(who.text).ok_or_else(|| {
            facts.error(
                who.at,
                format!("{:?} is not MASTER, SLAVE or SLAVE-n", who.text),
            )
        })?;
        let event = match Event::read(&mut facts) {
            Ok(event) => event,
            Err(error) if error.is_of_later => {
                return match passes_over && facts.are_sound() {
                    true => Err(error),
                    false => Err(AuditError {
                        is_of_later: false,
                        ..error
                    }),
                };
            }
            Err(error) => return Err(error),
        };
        if !(passes_over && facts.are_sound()) {
            facts.end()?;
        }
        Ok(Line {
            time_us,
            who,
            event,
        })
    }
}

fn parse_who(word: &str) -> Option<Who> {
    match word {
        "MASTER" => Some(Who::Master),
        "SLAVE" => Some(Who::Slave(None)),
        _ => text::parse_number(word.strip_prefix("SLAVE-")?).map(|slave| Who::Slave(Some(slave))),
    }
}

#[cfg(test)]
mod tests;
