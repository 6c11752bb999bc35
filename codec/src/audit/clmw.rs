//! CL-MW's own trail, versions 0.1 to 0.4: a reader of every line that its source can print.
//!
//! ```text
//! 11/20/2026 08:03:03 [A] SLAVE-0 127.0.0.1:35358 -> ["default-member-id"] :connecting [:unordered]
//! |                   |   |       what happened
//! | local time, no    |   who it is about, or a kind of line
//! | zone, seconds     an audit line; a few lines of the master lack the mark
//! ```
//!
//! Lines about a slave are written by the master, lines about `MASTER` by a slave (`READY` excepted). Three oddities of
//! the source are read as they come:
//! - the line about a bad identification ends without a line feed, so the next one stands behind it ([`Entry::rest`]);
//! - values printed for Lisp's reader may hold line feeds ([`is_open`] tells when the next line still belongs to it);
//! - version 0.1 has `TRY-SHUTDOWN` without an arrow and calls the ordered group sequential; before 0.4 the warning
//!   about a missing resource file is marked `CL-MW`.
//!
//! ```
//! use ringmw_codec::audit::clmw::{Entry, Event};
//!
//! let entry = Entry::parse("11/20/2026 08:03:16 [A] SLAVE-3 R TASK-20").expect("a line of CL-MW");
//! assert_eq!(entry.event, Event::Recycled { slave: 3, task: 20 });
//! ```

use super::text::parse_number;
use super::time;
use super::{GroupWord, StateWord};

/// `11/20/2026 08:03:03 `.
const HEAD_BYTES: usize = 20;
const MARK: &str = "[A] ";

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Microseconds since the start of 1970 as the writer's clock on the wall showed them: its zone is not in the line.
    pub time_us: i64,
    /// What happened.
    pub event: Event<'a>,
    /// The line that stands behind this one without a line feed between.
    pub rest: Option<&'a str>,
}

/// What happened. Texts are as the trail has them, in Lisp's quotes where it has those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the words of the line")]
pub enum Event<'a> {
    /// The first line of a process.
    Version { version: &'a str },
    /// A master starts.
    InitMaster { member_id: &'a str },
    /// A slave starts.
    InitSlave { member_id: &'a str },
    /// The master takes connections.
    Ready { address: &'a str },
    /// A connection was accepted.
    Client { from: &'a str },
    /// A slave of another membership was refused.
    WrongMember { text: &'a str },
    /// A peer asked for what there is not.
    NotImplemented { text: &'a str },
    /// A peer said something else than who it is.
    BadIdent { text: &'a str },
    /// A peer left before it said who it is.
    ClientEof { from: &'a str },
    /// A slave has joined.
    Connecting {
        slave: u32,
        from: &'a str,
        member_id: &'a str,
        group: GroupWord,
    },
    /// A slave became idle or busy.
    State { slave: u32, state: StateWord },
    /// A slave was freed into the unordered group.
    Freed { slave: u32 },
    /// A packet of tasks went to a slave.
    Tasks { slave: u32, tasks: u64 },
    /// A packet of results came from a slave.
    Results { slave: u32, results: u64 },
    /// A result came that was not the next expected.
    Unexpected { slave: u32, text: &'a str },
    /// A task of a lost slave goes to another.
    Recycled { slave: u32, task: u64 },
    /// The master asks a slave to leave.
    TryShutdown { slave: u32 },
    /// A slave was told to leave.
    ShuttingDown { slave: u32 },
    /// A slave left.
    Gone { slave: u32, how: Gone },
    /// A slave that had left already, or was idle already.
    Why { slave: u32 },

    /// A slave has reached its master.
    MasterConnected { to: &'a str, from: &'a str },
    /// A slave did not reach its master.
    ConnectRefused { to: &'a str },
    /// A slave was given its number.
    Id { slave: u32 },
    /// The master closed the connection before it gave a number.
    BadMembership,
    /// The connection to the master failed.
    MasterProblem { text: &'a str },
    /// The master closed the connection.
    MasterEof,
    /// A packet of tasks came from the master.
    TasksReceived { tasks: u64, group: u64 },
    /// A packet of results went to the master.
    ResultsSent { results: u64 },
    /// The master told the slave to stop.
    MasterShutdown,
    /// The application has no slave algorithm of its own.
    DefaultSlaveAlgorithm,

    /// A connection was closed, or a side of it.
    Eof { address: &'a str },
    /// The resource file was written or read, or was not there.
    ResourceFile { text: &'a str },
    /// The application has no master algorithm.
    NoMasterAlgorithm,
    /// An algorithm gave no exit code.
    WrongExitCode,
    /// What the master says without the mark: of clients that were slow or broke, and its table of connections.
    Unmarked { text: &'a str },
    /// The process ends.
    Fini { how: Fini },
}

/// How a slave left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gone {
    /// It was told to.
    Shutdown,
    /// `CEOF`: the connection ended.
    Eof,
    /// `TIMEOUT`: it held tasks and was silent too long.
    Timeout,
    /// `PROBLEM`: the connection failed.
    Problem,
    /// `STUPID`: it sent a result that was not expected.
    Protocol,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fini {
    /// A master, in order.
    Shutdown,
    /// A slave, told by its master.
    MasterShutdown,
    /// A slave that lost its master.
    MasterDisconnect,
    /// A slave that found the computation finished.
    ComputationFinished,
}

impl Fini {
    /// The word in the trail.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Fini::Shutdown => "SHUTDOWN",
            Fini::MasterShutdown => "MASTER-SHUTDOWN",
            Fini::MasterDisconnect => "MASTER-DISCONNECT",
            Fini::ComputationFinished => "COMPUTATION-FINISHED",
        }
    }
}

/// The time at the head of a line, and what follows.
fn head(line: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = line.split_at_checked(HEAD_BYTES)?;
    let punctuation = [head[2], head[5], head[10], head[13], head[16], head[19]];
    if punctuation != *b"// :: " {
        return None;
    }
    let two = |at| time::digits(&head[at..at + 2]);
    let date = [time::digits(&head[6..10])?, two(0)?, two(3)?];
    let time_us = time::civil_us(date, [two(11)?, two(14)?, two(17)?])?;
    Some((time_us, rest))
}

/// Whether a line begins with CL-MW's time.
#[must_use]
pub fn has_head(line: &[u8]) -> bool {
    head(line).is_some()
}

/// Whether a quote or a parenthesis that the line opens is not closed in it: the next line, if it has no time of its
/// own, belongs to it.
#[must_use]
pub fn is_open(line: &str) -> bool {
    let mut depth = 0i32;
    let mut is_quoted = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => drop(chars.next()),
            '"' => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth -= 1,
            _ => {}
        }
    }
    is_quoted || depth > 0
}

impl<'a> Entry<'a> {
    /// Reads a line, its line feed taken off. A text that CL-MW does not print is none.
    #[must_use]
    pub fn parse(line: &'a str) -> Option<Self> {
        let (time_us, _) = head(line.as_bytes())?;
        let body = line.get(HEAD_BYTES..)?;
        let Some(body) = body.strip_prefix(MARK) else {
            return Some(Entry {
                time_us,
                event: unmarked(body)?,
                rest: None,
            });
        };
        let (event, rest) = match body.strip_prefix("NEW-CLIENT <- BAD_IDENT: ~S~% ") {
            Some(text) => {
                let (text, rest) = unglue(text);
                (Event::BadIdent { text }, rest)
            }
            None => (marked(body)?, None),
        };
        Some(Entry {
            time_us,
            event,
            rest,
        })
    }

    /// Reads one of the lines that make up nearly all of a trail: a slave's packets and states. For any other there is
    /// no answer: ask [`Entry::parse`].
    #[must_use]
    pub fn parse_quick(line: &[u8]) -> Option<Entry<'static>> {
        let (time_us, body) = head(line)?;
        let body = body.strip_prefix(b"[A] SLAVE-")?;
        let space = body.iter().position(|&byte| byte == b' ')?;
        let (number, what) = body.split_at(space);
        let slave = u32::try_from(decimal(number)?).ok()?;
        let event = match what {
            b" -> :idle" => Event::State {
                slave,
                state: StateWord::Idle,
            },
            b" -> :busy" => Event::State {
                slave,
                state: StateWord::Busy,
            },
            _ => {
                if let Some(tasks) = what.strip_prefix(b" <- ") {
                    let tasks = decimal(tasks.strip_suffix(b" tasks")?)?;
                    Event::Tasks { slave, tasks }
                } else {
                    let results = what.strip_prefix(b" -> ")?.strip_suffix(b" results")?;
                    Event::Results {
                        slave,
                        results: decimal(results)?,
                    }
                }
            }
        };
        Some(Entry {
            time_us,
            event,
            rest: None,
        })
    }
}

/// A number as [`parse_number`] reads it.
fn decimal(digits: &[u8]) -> Option<u64> {
    let is_plain = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 19;
    let mut number = 0u64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.wrapping_mul(10).wrapping_add(digit.into());
    }
    is_plain.then_some(number)
}

/// Parts a text from the line that follows it without a line feed.
fn unglue(text: &str) -> (&str, Option<&str>) {
    let starts = text
        .match_indices('/')
        .filter_map(|(at, _)| at.checked_sub(2));
    for at in starts {
        if let Some(rest) = text.get(at..)
            && has_head(rest.as_bytes())
        {
            return (&text[..at], Some(rest));
        }
    }
    (text, None)
}

fn unmarked(body: &str) -> Option<Event<'_>> {
    let known = body == "RECEIVED READ-TIMEOUT"
        || body == "Dumping Open Connection Table"
        || body.starts_with("    Open Connection: ")
        || body.starts_with("Disconnecting client ")
        || (body.starts_with("Client ")
            && (body.contains("exhibited a writing problem ")
                || body.contains("exhibited a reading problem ")));
    known.then_some(Event::Unmarked { text: body })
}

fn marked(body: &str) -> Option<Event<'_>> {
    let (who, what) = body.split_once(' ')?;
    match who {
        "MASTER" => of_master(what),
        "NEW-CLIENT" => of_client(what),
        "VERSION" => {
            let version = what.strip_prefix("CL-MW: Version ")?;
            Some(Event::Version { version })
        }
        "INIT" => match what.split_once(' ')? {
            ("MASTER", member_id) => Some(Event::InitMaster { member_id }),
            ("SLAVE", member_id) => Some(Event::InitSlave { member_id }),
            _ => None,
        },
        "EOF" => {
            let sides = ["-> ", "FORCE -> ", "READ -> ", "WRITE -> "];
            let address = sides.iter().find_map(|side| what.strip_prefix(side))?;
            Some(Event::Eof { address })
        }
        "RESFILE" | "CL-MW" => {
            let texts = [
                "Generated resource file: ",
                "Loading resource file: ",
                "WARNING: Resource file ",
            ];
            let is_known = texts.iter().any(|text| what.starts_with(text));
            is_known.then_some(Event::ResourceFile { text: what })
        }
        "SLAVE" => {
            (what == "Using default slave algorithm.").then_some(Event::DefaultSlaveAlgorithm)
        }
        "MW-INTERNAL" => what
            .starts_with("Wrong exit code type/value [")
            .then_some(Event::WrongExitCode),
        "FINI" => {
            let how = what.split(' ').next()?;
            let all = [
                Fini::Shutdown,
                Fini::MasterShutdown,
                Fini::MasterDisconnect,
                Fini::ComputationFinished,
            ];
            let how = all.into_iter().find(|fini| fini.word() == how)?;
            Some(Event::Fini { how })
        }
        _ => of_slave(number(who, "SLAVE-")?, what),
    }
}

fn number<T: std::str::FromStr>(word: &str, prefix: &str) -> Option<T> {
    let digits = word.strip_prefix(prefix)?;
    (!digits.is_empty()).then(|| parse_number(digits))?
}

fn of_slave(slave: u32, what: &str) -> Option<Event<'_>> {
    Some(match what {
        "-> :idle" => Event::State {
            slave,
            state: StateWord::Idle,
        },
        "-> :busy" => Event::State {
            slave,
            state: StateWord::Busy,
        },
        "-> :shutting-down" => Event::ShuttingDown { slave },
        "-> :disconnected" => Event::Gone {
            slave,
            how: Gone::Shutdown,
        },
        "CEOF -> :disconnected" => Event::Gone {
            slave,
            how: Gone::Eof,
        },
        "TIMEOUT -> :disconnected" => Event::Gone {
            slave,
            how: Gone::Timeout,
        },
        "STUPID -> :disconnecting" => Event::Gone {
            slave,
            how: Gone::Protocol,
        },
        "WHY -> :idle" | "WHY -> :disconnected" => Event::Why { slave },
        "-> :unordered" => Event::Freed { slave },
        "<- TRY-SHUTDOWN" | "TRY-SHUTDOWN" => Event::TryShutdown { slave },
        _ => return of_slave_with(slave, what),
    })
}

fn of_slave_with(slave: u32, what: &str) -> Option<Event<'_>> {
    let (first, rest) = what.split_once(' ')?;
    match first {
        "<-" => {
            let tasks = number(rest.strip_suffix(" tasks")?, "")?;
            Some(Event::Tasks { slave, tasks })
        }
        "->" => {
            let results = number(rest.strip_suffix(" results")?, "")?;
            Some(Event::Results { slave, results })
        }
        "R" => {
            let task = number(rest, "TASK-")?;
            Some(Event::Recycled { slave, task })
        }
        "UNEXPECT" => Some(Event::Unexpected { slave, text: rest }),
        "PROBLEM" => {
            rest.strip_prefix("-> :disconnecting ")?;
            Some(Event::Gone {
                slave,
                how: Gone::Problem,
            })
        }
        _ => {
            let rest = rest.strip_prefix("-> [")?;
            let (member_id, group) = rest.rsplit_once("] :connecting [:")?;
            let group = match group.strip_suffix(']')? {
                "ordered" | "sequential" => GroupWord::Ordered,
                word => GroupWord::from_word(word)?,
            };
            Some(Event::Connecting {
                slave,
                from: first,
                member_id,
                group,
            })
        }
    }
}

fn of_client(what: &str) -> Option<Event<'_>> {
    if let Some(from) = what.strip_prefix("-> ") {
        return Some(Event::Client { from });
    }
    let what = what.strip_prefix("<- ")?;
    if what.starts_with("EXPECTED MEMBER ") {
        Some(Event::WrongMember { text: what })
    } else if let Some(text) = what.strip_prefix("NOT_IMPL ") {
        Some(Event::NotImplemented { text })
    } else {
        let from = what.strip_prefix('[')?.strip_suffix("] CEOF")?;
        Some(Event::ClientEof { from })
    }
}

fn of_master(what: &str) -> Option<Event<'_>> {
    Some(match what {
        "-> CEOF" => Event::MasterEof,
        "-> SHUTDOWN" => Event::MasterShutdown,
        "-> EOF [BAD MEMBERSHIP?]" => Event::BadMembership,
        _ if what.starts_with("No master algorithm found.") => Event::NoMasterAlgorithm,
        _ => {
            if let Some(address) = what.strip_prefix("READY ") {
                Event::Ready { address }
            } else if let Some(text) = what.strip_prefix("<- ") {
                to_master(text)?
            } else {
                from_master(what.strip_prefix("-> ")?)?
            }
        }
    })
}

fn to_master(what: &str) -> Option<Event<'_>> {
    if let Some(addresses) = what.strip_prefix("CONNECTED TO ") {
        let (to, from) = addresses.split_once(" FROM ")?;
        return Some(Event::MasterConnected { to, from });
    }
    if let Some(to) = what.strip_prefix("CONNECT REFUSED ") {
        return Some(Event::ConnectRefused { to });
    }
    let results = number(what.strip_suffix(" results")?, "")?;
    Some(Event::ResultsSent { results })
}

fn from_master(what: &str) -> Option<Event<'_>> {
    if let Some(slave) = what.strip_prefix("ID ") {
        let slave = number(slave, "SLAVE-")?;
        return Some(Event::Id { slave });
    }
    let problems = ["READ-PROBLEM ", "WRITE-PROBLEM ", "EOF: "];
    if problems.iter().any(|problem| what.starts_with(problem)) {
        return Some(Event::MasterProblem { text: what });
    }
    let (tasks, group) = what.split_once(" tasks (")?;
    Some(Event::TasksReceived {
        tasks: number(tasks, "")?,
        group: number(group.strip_suffix(" grouping)")?, "")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME_US: i64 = 1_795_161_783_000_000;

    fn check(body: &str, event: Event<'_>) {
        let line = format!("11/20/2026 08:03:03 {body}");
        let entry = Entry::parse(&line).unwrap_or_else(|| panic!("{line}"));
        assert_eq!(
            (entry.time_us, entry.event, entry.rest),
            (TIME_US, event, None)
        );
        if let Some(quick) = Entry::parse_quick(line.as_bytes()) {
            assert_eq!(quick, entry);
        }
    }

    /// One line for each place in CL-MW's source that prints one, in its order.
    #[test]
    fn every_line_that_the_source_prints_is_read() {
        let address = "10.1.7.3:4432";
        check(
            "Dumping Open Connection Table",
            Event::Unmarked {
                text: "Dumping Open Connection Table",
            },
        );
        check(
            "    Open Connection: \"a:1\"",
            Event::Unmarked {
                text: "    Open Connection: \"a:1\"",
            },
        );
        check("[A] EOF FORCE -> 10.1.7.3:4432", Event::Eof { address });
        check(
            "[A] VERSION CL-MW: Version 0.4",
            Event::Version { version: "0.4" },
        );
        check(
            "[A] INIT MASTER \"m\"",
            Event::InitMaster { member_id: "\"m\"" },
        );
        check(
            "[A] INIT SLAVE \"m n\"",
            Event::InitSlave {
                member_id: "\"m n\"",
            },
        );
        check(
            "[A] MW-INTERNAL Wrong exit code type/value [%S], assuming 255.",
            Event::WrongExitCode,
        );
        check("[A] MASTER READY 10.1.7.3:4432", Event::Ready { address });
        check(
            "[A] NEW-CLIENT -> 10.1.7.3:4432",
            Event::Client { from: address },
        );
        check(
            "[A] NEW-CLIENT <- EXPECTED MEMBER \"m\" GOT MEMBER \"n\"",
            Event::WrongMember {
                text: "EXPECTED MEMBER \"m\" GOT MEMBER \"n\"",
            },
        );
        check(
            "[A] SLAVE-12 10.1.7.3:4432 -> [\"m\"] :connecting [:intermingle]",
            Event::Connecting {
                slave: 12,
                from: address,
                member_id: "\"m\"",
                group: GroupWord::Intermingle,
            },
        );
        check(
            "[A] SLAVE-1 ::1:4432 -> [\"] :connecting [\"] :connecting [:sequential]",
            Event::Connecting {
                slave: 1,
                from: "::1:4432",
                member_id: "\"] :connecting [\"",
                group: GroupWord::Ordered,
            },
        );
        check(
            "[A] NEW-CLIENT <- NOT_IMPL CONTROL_READY [\"m\"] 10.1.7.3:4432",
            Event::NotImplemented {
                text: "CONTROL_READY [\"m\"] 10.1.7.3:4432",
            },
        );
        check(
            "[A] NEW-CLIENT <- NOT_IMPL FOO",
            Event::NotImplemented { text: "FOO" },
        );
        check(
            "[A] NEW-CLIENT <- BAD_IDENT: ~S~% hello",
            Event::BadIdent { text: "hello" },
        );
        for text in [
            "RECEIVED READ-TIMEOUT",
            "Disconnecting client 10.1.7.3:4432",
            "Client exhibited a writing problem (:EPIPE). Closing connection.",
            "Client 10.1.7.3:4432 exhibited a reading problem (:X). Closing connection.",
        ] {
            check(text, Event::Unmarked { text });
        }
        check(
            "[A] NEW-CLIENT <- [10.1.7.3:4432] CEOF",
            Event::ClientEof { from: address },
        );
        check(
            "[A] SLAVE-0 STUPID -> :disconnecting",
            Event::Gone {
                slave: 0,
                how: Gone::Protocol,
            },
        );
        check(
            "[A] SLAVE-0 TIMEOUT -> :disconnected",
            Event::Gone {
                slave: 0,
                how: Gone::Timeout,
            },
        );
        check(
            "[A] SLAVE-0 CEOF -> :disconnected",
            Event::Gone {
                slave: 0,
                how: Gone::Eof,
            },
        );
        check(
            "[A] SLAVE-0 PROBLEM -> :disconnecting (:ECONNRESET)",
            Event::Gone {
                slave: 0,
                how: Gone::Problem,
            },
        );
        check(
            "[A] SLAVE-0 -> :idle",
            Event::State {
                slave: 0,
                state: StateWord::Idle,
            },
        );
        check("[A] SLAVE-0 WHY -> :idle", Event::Why { slave: 0 });
        check(
            "[A] SLAVE-0 -> :busy",
            Event::State {
                slave: 0,
                state: StateWord::Busy,
            },
        );
        check(
            "[A] SLAVE-0 -> :shutting-down",
            Event::ShuttingDown { slave: 0 },
        );
        check("[A] SLAVE-0 WHY -> :disconnected", Event::Why { slave: 0 });
        check(
            "[A] SLAVE-0 -> :disconnected",
            Event::Gone {
                slave: 0,
                how: Gone::Shutdown,
            },
        );
        check(
            "[A] SLAVE-0 -> 20 results",
            Event::Results {
                slave: 0,
                results: 20,
            },
        );
        check(
            "[A] SLAVE-0 UNEXPECT TASK-9 EXPECT NIL",
            Event::Unexpected {
                slave: 0,
                text: "TASK-9 EXPECT NIL",
            },
        );
        check(
            "[A] SLAVE-0 <- TRY-SHUTDOWN",
            Event::TryShutdown { slave: 0 },
        );
        check("[A] SLAVE-0 TRY-SHUTDOWN", Event::TryShutdown { slave: 0 });
        check("[A] SLAVE-0 -> :unordered", Event::Freed { slave: 0 });
        check(
            "[A] SLAVE-0 <- 20 tasks",
            Event::Tasks {
                slave: 0,
                tasks: 20,
            },
        );
        check(
            "[A] SLAVE-0 R TASK-20",
            Event::Recycled { slave: 0, task: 20 },
        );
        check(
            "[A] MASTER <- CONNECTED TO 10.1.7.3:4432 FROM 10.1.7.9:1",
            Event::MasterConnected {
                to: address,
                from: "10.1.7.9:1",
            },
        );
        check(
            "[A] MASTER <- CONNECT REFUSED 10.1.7.3:4432",
            Event::ConnectRefused { to: address },
        );
        check("[A] MASTER -> ID SLAVE-7", Event::Id { slave: 7 });
        check("[A] MASTER -> EOF [BAD MEMBERSHIP?]", Event::BadMembership);
        check(
            "[A] MASTER -> READ-PROBLEM (:X)",
            Event::MasterProblem {
                text: "READ-PROBLEM (:X)",
            },
        );
        check(
            "[A] MASTER -> WRITE-PROBLEM NIL",
            Event::MasterProblem {
                text: "WRITE-PROBLEM NIL",
            },
        );
        check("[A] MASTER -> CEOF", Event::MasterEof);
        check(
            "[A] MASTER -> EOF: (:X)",
            Event::MasterProblem { text: "EOF: (:X)" },
        );
        check(
            "[A] MASTER -> 20 tasks (5 grouping)",
            Event::TasksReceived {
                tasks: 20,
                group: 5,
            },
        );
        check("[A] MASTER -> SHUTDOWN", Event::MasterShutdown);
        check(
            "[A] MASTER <- 20 results",
            Event::ResultsSent { results: 20 },
        );
        check("[A] EOF READ -> 10.1.7.3:4432", Event::Eof { address });
        check("[A] EOF WRITE -> 10.1.7.3:4432", Event::Eof { address });
        check("[A] EOF -> 10.1.7.3:4432", Event::Eof { address });
        for how in [
            Fini::Shutdown,
            Fini::MasterShutdown,
            Fini::MasterDisconnect,
            Fini::ComputationFinished,
        ] {
            check(
                &format!("[A] FINI {} \"m\"", how.word()),
                Event::Fini { how },
            );
        }
        for text in [
            "Generated resource file: \"/x\"",
            "Loading resource file: \"/x\"",
            "WARNING: Resource file x not found. Continuing anyway hoping other command line arguments are present.",
        ] {
            check(&format!("[A] RESFILE {text}"), Event::ResourceFile { text });
            check(&format!("[A] CL-MW {text}"), Event::ResourceFile { text });
        }
        check(
            "[A] MASTER No master algorithm found. You must define a master algorithm with DEFINE-MW-MASTER.",
            Event::NoMasterAlgorithm,
        );
        check(
            "[A] SLAVE Using default slave algorithm.",
            Event::DefaultSlaveAlgorithm,
        );
    }

    #[test]
    fn a_line_glued_to_a_bad_identification_is_parted() {
        let line = "11/20/2026 08:03:03 [A] NEW-CLIENT <- BAD_IDENT: ~S~% a/b11/20/2026 08:03:04 [A] SLAVE-0 -> :idle";
        let entry = Entry::parse(line).expect("a line");
        assert_eq!(entry.event, Event::BadIdent { text: "a/b" });
        assert_eq!(entry.rest, Some("11/20/2026 08:03:04 [A] SLAVE-0 -> :idle"));
    }

    #[test]
    fn what_lisp_prints_over_several_lines_is_seen_to_go_on() {
        for (line, open) in [
            ("PROBLEM -> :disconnecting (#<CONDITION", true),
            ("PROBLEM -> :disconnecting (#<CONDITION\n {1}>)", false),
            ("INIT MASTER \"a", true),
            ("INIT MASTER \"a \\\" (\"", false),
            ("-> EOF [BAD MEMBERSHIP?]", false),
        ] {
            assert_eq!(is_open(line), open, "{line}");
        }
    }

    #[test]
    fn what_cl_mw_does_not_print_is_no_line() {
        for line in [
            "",
            "11/20/2026 08:03:03",
            "11/20/2026 08:03:03 ",
            "13/20/2026 08:03:03 [A] SLAVE-0 -> :idle",
            "02/29/2026 08:03:03 [A] SLAVE-0 -> :idle",
            "11/20/2026 08:03:03 [A] SLAVE- -> :idle",
            "11/20/2026 08:03:03 [A] SLAVE-0 -> :idl",
            "11/20/2026 08:03:03 [A] SLAVE-0 <-  tasks",
            "11/20/2026 08:03:03 [A] SLAVE-0 <- 20 task",
            "11/20/2026 08:03:03 [A] SLAVE-4294967296 -> :idle",
            "11/20/2026 08:03:03 [A] SLAVE-0 <- 99999999999999999999 tasks",
            "11/20/2026 08:03:03 [A] SLAVE-0 R TASK-",
            "11/20/2026 08:03:03 hello",
            "aa/aa/aaaaé08:03:03 [A] x",
        ] {
            assert_eq!(Entry::parse(line), None, "{line}");
            assert_eq!(Entry::parse_quick(line.as_bytes()), None, "{line}");
        }
    }

    proptest::proptest! {
        /// Whatever stands behind the time: it is read or it is not, and the short way reads it alike.
        #[test]
        fn any_text_is_read_or_not(body in "(\\[A\\] )?(MASTER|SLAVE-[0-9]{0,3}|NEW-CLIENT|EOF|FINI|INIT|RESFILE)?[ -~é]{0,40}", cut in 0usize..80) {
            let line = format!("11/20/2026 08:03:03 {body}");
            let cut = (0..=cut.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
            for line in [line.as_str(), &line[..cut]] {
                let entry = Entry::parse(line);
                let _ = is_open(line);
                if let Some(quick) = Entry::parse_quick(line.as_bytes()) {
                    proptest::prop_assert_eq!(Some(quick), entry);
                }
            }
        }
    }
}
