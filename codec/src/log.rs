//! A line of a slave's log, which goes to its master where that asks for it: hand-laid, little-endian, read strictly
//! ([`crate::wire`]).
//!
//! | frame | payload |
//! |---|---|
//! | log | left out lines u32, left out bytes u64, level u8, task known u8, task u64, text (the rest) |
//!
//! The level stands in the welcome too, where 0 says that no line is wanted. Here 0 says that nothing but what was left
//! out is told, and the text is empty.

use std::fmt;
use std::str::FromStr;

use crate::wire::{DecodeError, Fields, prefix};

/// How grave a line of a log is; graver ones are less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LogLevel {
    /// Something has failed.
    Error = 1,
    /// Something is not as it should be.
    Warn = 2,
    /// News.
    Info = 3,
    /// For whoever looks for a fault.
    Debug = 4,
    /// Every step.
    Trace = 5,
}

impl LogLevel {
    /// All of them, the gravest first.
    pub const ALL: [LogLevel; 5] = [
        LogLevel::Error,
        LogLevel::Warn,
        LogLevel::Info,
        LogLevel::Debug,
        LogLevel::Trace,
    ];

    /// The level as a flag takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }

    /// Its number on the wire, 0 for none.
    #[must_use]
    pub const fn number(level: Option<LogLevel>) -> u8 {
        match level {
            Some(level) => level as u8,
            None => 0,
        }
    }

    /// Reads such a number.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Result<Option<LogLevel>, DecodeError> {
        let got = fields.u8("log level")?;
        match got {
            0 => Ok(None),
            _ => (LogLevel::ALL.get(usize::from(got) - 1).copied().map(Some)).ok_or(
                DecodeError::Value {
                    field: "log level",
                    got: got.into(),
                },
            ),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for LogLevel {
    type Err = ();

    fn from_str(word: &str) -> Result<Self, ()> {
        let found = LogLevel::ALL.into_iter().find(|level| level.word() == word);
        found.ok_or(())
    }
}

/// Slave to master: a line of its log, and what it has left out before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log<'a> {
    /// Lines that it has left out since it said so last.
    pub left_out: u32,
    /// Their bytes.
    pub left_out_bytes: u64,
    /// The line; none: nothing but what was left out is told.
    pub line: Option<LogLine<'a>>,
}

/// A line of a slave's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// How grave it is.
    pub level: LogLevel,
    /// The task that ran.
    pub task: Option<u64>,
    /// What it says, at most [`Log::TEXT_BYTES_MAX`] bytes; encoding cuts it there.
    pub text: &'a str,
}

impl<'a> Log<'a> {
    /// The most bytes of a line's text.
    pub const TEXT_BYTES_MAX: usize = 2048;
    /// Bytes of the payload before the text.
    pub const HEADER_BYTES: usize = 22;
    /// The most bytes of the payload.
    pub const BYTES_MAX: usize = Self::HEADER_BYTES + Self::TEXT_BYTES_MAX;

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.left_out.to_le_bytes());
        out.extend_from_slice(&self.left_out_bytes.to_le_bytes());
        out.push(LogLevel::number(self.line.map(|line| line.level)));
        let task = self.line.and_then(|line| line.task);
        out.push(task.is_some().into());
        out.extend_from_slice(&task.unwrap_or(0).to_le_bytes());
        if let Some(line) = &self.line {
            out.extend_from_slice(prefix(line.text, Self::TEXT_BYTES_MAX).as_bytes());
        }
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When it is not exactly one of these, or tells nothing.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(payload);
        let (left_out, left_out_bytes) = (fields.u32("left out")?, fields.u64("left out bytes")?);
        let level = LogLevel::read(&mut fields)?;
        let (is_known, task) = (fields.bool("task known")?, fields.u64("task")?);
        if task != 0 && !is_known {
            return Err(DecodeError::Value {
                field: "task",
                got: task,
            });
        }
        let Some(level) = level else {
            fields.end()?;
            if left_out == 0 || is_known {
                return Err(DecodeError::Value {
                    field: "left out",
                    got: left_out.into(),
                });
            }
            return Ok(Log {
                left_out,
                left_out_bytes,
                line: None,
            });
        };
        let text = fields.rest();
        let text = std::str::from_utf8(text).map_err(|_| DecodeError::Utf8 { field: "text" })?;
        Ok(Log {
            left_out,
            left_out_bytes,
            line: Some(LogLine {
                level,
                task: is_known.then_some(task),
                text,
            }),
        })
    }
}
