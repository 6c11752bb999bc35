//! A short way through the lines that make up nearly all of a trail: packets, states and single tasks.
//!
//! [`Line::parse`] says what is wrong with a line and reads every event; this one knows a handful, looks at each byte
//! once, and gives up without a reason. What it does read is what [`Line::parse`] would.

use super::form::EndWord;
use super::{Event, Line, StateWord, Who, time};

const TIME_BYTES: usize = 27;

impl Line {
    /// Reads a line about packets, a state or a single task, its line feed taken off. For any other line, and for one
    /// that is not as the writer would have it, there is no answer: ask [`Line::parse`].
    #[must_use]
    pub fn parse_quick(line: &[u8]) -> Option<Line> {
        let mut rest = Rest(line);
        if !rest.has(b"2 ") {
            rest.skip(b"1 ")?;
        }
        let (time, after) = rest.0.split_at_checked(TIME_BYTES)?;
        let time_us = time::parse_time_bytes(time)?;
        rest = Rest(after);
        rest.skip(b" ")?;
        let who = if rest.has(b"MASTER ") {
            Who::Master
        } else {
            rest.skip(b"SLAVE-")?;
            let slave = rest.slave()?;
            rest.skip(b" ")?;
            Who::Slave(Some(slave))
        };
        let event = rest.event()?;
        rest.0.is_empty().then_some(Line {
            time_us,
            who,
            event,
        })
    }
}

/// What is still unread.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn has(&mut self, prefix: &[u8]) -> bool {
        match self.0.strip_prefix(prefix) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn skip(&mut self, prefix: &[u8]) -> Option<()> {
        self.has(prefix).then_some(())
    }

    /// A decimal number without sign or leading zero.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        let mut digits = 0;
        while let Some(digit) = self.0.get(digits).map(|byte| byte.wrapping_sub(b'0'))
            && digit < 10
        {
            number = number.checked_mul(10)?.checked_add(digit.into())?;
            digits += 1;
        }
        if digits == 0 || (digits > 1 && self.0[0] == b'0') {
            return None;
        }
        self.0 = &self.0[digits..];
        Some(number)
    }

    fn slave(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    fn fact(&mut self, key: &[u8]) -> Option<u64> {
        self.skip(key)?;
        self.number()
    }

    fn event(&mut self) -> Option<Event> {
        if self.has(b"tasks-sent slave=SLAVE-") {
            Some(Event::TasksSent {
                slave: self.slave()?,
                tasks: self.fact(b" tasks=")?,
                bytes: self.fact(b" bytes=")?,
                group: self.fact(b" group=")?,
            })
        } else if self.has(b"results-received slave=SLAVE-") {
            Some(Event::ResultsReceived {
                slave: self.slave()?,
                results: self.fact(b" results=")?,
                failed: self.fact(b" failed=")?,
                bytes: self.fact(b" bytes=")?,
                compute_us: self.fact(b" compute_us=")?,
            })
        } else if self.has(b"state slave=SLAVE-") {
            let slave = self.slave()?;
            let state = if self.has(b" state=idle") {
                StateWord::Idle
            } else {
                self.skip(b" state=busy")?;
                StateWord::Busy
            };
            Some(Event::State { slave, state })
        } else if self.has(b"packets slave=SLAVE-") {
            Some(Event::Packets {
                slave: self.slave()?,
                span_ms: self.fact(b" span_ms=")?,
                packets_out: self.fact(b" packets_out=")?,
                tasks: self.fact(b" tasks=")?,
                bytes_out: self.fact(b" bytes_out=")?,
                packets_in: self.fact(b" packets_in=")?,
                results: self.fact(b" results=")?,
                failed: self.fact(b" failed=")?,
                bytes_in: self.fact(b" bytes_in=")?,
                compute_us: self.fact(b" compute_us=")?,
            })
        } else if self.has(b"task-sent slave=SLAVE-") {
            Some(Event::TaskSent {
                slave: self.slave()?,
                task: self.fact(b" task=TASK-")?,
                algorithm: self.last_word()?,
            })
        } else if self.has(b"task-ended slave=SLAVE-") {
            Some(Event::TaskEnded {
                slave: Some(self.slave()?),
                task: self.fact(b" task=TASK-")?,
                end: {
                    self.skip(b" end=done")?;
                    EndWord::Done
                },
                compute_us: Some(self.fact(b" compute_us=")?),
                why: None,
            })
        } else if self.has(b"tasks-received tasks=") {
            Some(Event::TasksReceived {
                tasks: self.number()?,
                bytes: self.fact(b" bytes=")?,
                group: self.fact(b" group=")?,
            })
        } else if self.has(b"results-sent results=") {
            Some(Event::ResultsSent {
                results: self.number()?,
                bytes: self.fact(b" bytes=")?,
            })
        } else {
            None
        }
    }

    /// The last fact's value, ` algorithm=word`, when it is a plain one.
    fn last_word(&mut self) -> Option<String> {
        self.skip(b" algorithm=")?;
        let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'=' | b'\\');
        if self.0.is_empty() || !self.0.iter().all(plain) {
            return None;
        }
        let word = std::str::from_utf8(std::mem::take(&mut self.0)).ok()?;
        Some(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOT: [&str; 8] = [
        "MASTER tasks-sent slave=SLAVE-17 tasks=100 bytes=4096 group=100",
        "MASTER results-received slave=SLAVE-0 results=100 failed=1 bytes=99 compute_us=0",
        "MASTER state slave=SLAVE-4294967295 state=idle",
        "MASTER packets slave=SLAVE-1 span_ms=900 packets_out=2 tasks=3 bytes_out=4 packets_in=5 results=6 failed=7 bytes_in=8 compute_us=18446744073709551615",
        "MASTER task-sent slave=SLAVE-1 task=TASK-9 algorithm=crate::hello",
        "MASTER task-ended slave=SLAVE-1 task=TASK-9 end=done compute_us=7",
        "SLAVE-3 tasks-received tasks=1 bytes=2 group=3",
        "SLAVE-3 results-sent results=1 bytes=2",
    ];

    fn text(tail: &str) -> String {
        format!("1 2026-11-20T08:03:03.123456Z {tail}")
    }

    #[test]
    fn the_hot_lines_go_the_short_way_and_mean_the_same() {
        for tail in HOT {
            let text = text(tail);
            let quick = Line::parse_quick(text.as_bytes());
            assert_eq!(quick, Line::parse(&text).ok(), "{text}");
            assert!(quick.is_some(), "{text}");
        }
    }

    proptest! {
        /// One byte changed, dropped or doubled: what is still read is what the strict parser reads.
        #[test]
        fn damaged_lines_are_never_read_otherwise(which in 0..HOT.len(), at in 0usize..200, how in 0u8..3, byte: u8) {
            let mut bytes = text(HOT[which]).into_bytes();
            let at = at % bytes.len();
            match how {
                0 => bytes[at] = byte,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, bytes[at]),
            }
            if let Some(line) = Line::parse_quick(&bytes) {
                let text = std::str::from_utf8(&bytes).expect("what it reads is ASCII");
                prop_assert_eq!(Line::parse(text), Ok(line));
            }
        }

        #[test]
        fn any_written_line_is_read_alike_or_left(event in proptest::strategy::Union::new(Event::arbitrary()), slave: u32) {
            let line = Line { time_us: 1, who: Who::Slave(Some(slave)), event };
            let mut bytes = Vec::new();
            line.write(&mut bytes);
            bytes.pop();
            if let Some(quick) = Line::parse_quick(&bytes) {
                prop_assert_eq!(quick, line);
            }
        }
    }
}
