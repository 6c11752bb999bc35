//! One vocabulary for both formats and both ends: what a line says, whoever wrote it.
//!
//! A slave's own trail is turned into what a master would have written about it, so that it can stand in for a
//! master's trail when there is none.

use ringmw_codec::audit::clmw::{self, Fini, Gone};
use ringmw_codec::audit::{EndWord, Event, GroupWord, LossCause, StateWord, Who};

/// Which program wrote a trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Ringmw,
    ClMw,
}

impl Source {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Source::Ringmw => "ringmw",
            Source::ClMw => "cl-mw",
        }
    }
}

/// Which end wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Master,
    Slave,
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ExitWord {
    Code(u8),
    Word(&'static str),
}

/// What a line says. A figure that the format lacks is none.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum What<'a> {
    Init {
        version: &'a str,
        seed: Option<u64>,
        build: &'a str,
        host: &'a str,
    },
    Connected {
        slave: u32,
        from: &'a str,
        host: &'a str,
        job: &'a str,
        group: GroupWord,
    },
    /// A peer that may not join; `is_broken` when it never said properly who it is.
    Refused {
        from: &'a str,
        host: &'a str,
        reason: &'a str,
        is_broken: bool,
    },
    Gone {
        slave: u32,
        cause: &'static str,
        /// What it said of it itself, or the system.
        why: &'a str,
        recycled: u64,
        unrunnable: u64,
    },
    /// Tasks of a lost slave, on lines of their own.
    Recycled {
        slave: u32,
        tasks: u64,
    },
    State {
        slave: u32,
        is_busy: bool,
    },
    Sent {
        slave: u32,
        tasks: u64,
        bytes: Option<u64>,
    },
    Results {
        slave: u32,
        results: u64,
        failed: u64,
        bytes: Option<u64>,
        compute_us: Option<u64>,
    },
    /// Packets that got no line of their own.
    Packets {
        slave: u32,
        span_us: i64,
        packets_out: u64,
        tasks: u64,
        bytes_out: u64,
        packets_in: u64,
        results: u64,
        failed: u64,
        bytes_in: u64,
        compute_us: u64,
    },
    TaskSent {
        slave: u32,
        task: u64,
        algorithm: &'a str,
    },
    TaskEnded {
        slave: Option<u32>,
        task: u64,
        end: EndWord,
        compute_us: Option<u64>,
    },
    Failed {
        slave: u32,
        algorithm: &'a str,
        message: &'a str,
    },
    Unrunnable {
        task: u64,
        reason: &'a str,
    },
    /// A task was under way when a slave was lost; so many so far, and at so many it is given up, at 0 never.
    Charged {
        task: u64,
        crashes: u32,
        limit: u32,
    },
    /// The run goes on: its id, and which life of it this is.
    Life {
        run: &'a str,
        life: u32,
    },
    /// What earlier lives recorded more than once.
    Recorded {
        repeated: u64,
    },
    /// Tasks that ended with what an earlier life had recorded, or its slaves had kept.
    Known {
        results: u64,
    },
    /// Results that a slave of an earlier life has kept.
    Brought {
        results: u64,
    },
    Late {
        results: u64,
    },
    Cancelled {
        tasks: u64,
    },
    Returned {
        slave: u32,
        count: u64,
        /// First and last of each range.
        tasks: &'a [(u64, u64)],
    },
    Duplicated {
        task: u64,
    },
    /// An idle slave is told to go; that it has gone follows.
    Dismissed {
        slave: u32,
    },
    Stall {
        us: i64,
    },
    /// How the run does.
    RunState {
        queued: u64,
        running: u64,
        present: u64,
        desired: u64,
    },
    Dropped {
        lines: u64,
        packets: u64,
        connected: u64,
        lost: u64,
        recycled: u64,
        refused: u64,
    },
    Signal {
        name: &'a str,
    },
    /// The master begins to send its slaves away.
    Shutdown,
    Exit {
        exit: ExitWord,
        reason: &'a str,
    },
    /// Read, and without a figure for anyone.
    Quiet,
}

/// What a slave's trail has told of itself so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct SlaveView {
    pub(crate) slave: Option<u32>,
    address: String,
    host: String,
    is_told: bool,
    is_gone: bool,
}

impl SlaveView {
    fn id(&self) -> u32 {
        self.slave.unwrap_or(u32::MAX)
    }

    fn gone(&mut self, cause: &'static str) -> What<'static> {
        if self.slave.is_none() || std::mem::replace(&mut self.is_gone, true) {
            return What::Quiet;
        }
        What::Gone {
            slave: self.id(),
            cause,
            why: "",
            recycled: 0,
            unrunnable: 0,
        }
    }

    fn joined(&mut self, slave: u32) -> What<'_> {
        self.slave = Some(slave);
        self.is_gone = false;
        What::Connected {
            slave,
            from: &self.address,
            host: &self.host,
            job: "",
            group: GroupWord::Unordered,
        }
    }
}

/// The role of ringmw's writer.
pub(crate) const fn role_of(who: Who) -> Role {
    match who {
        Who::Master => Role::Master,
        Who::Slave(_) => Role::Slave,
    }
}

const fn cause_word(cause: LossCause) -> &'static str {
    cause.word()
}

/// What a line of ringmw says.
pub(crate) fn of_ringmw<'a>(event: &'a Event, view: &'a mut SlaveView) -> What<'a> {
    match event {
        Event::State { slave, state } => What::State {
            slave: *slave,
            is_busy: *state == StateWord::Busy,
        },
        &Event::TasksSent {
            slave,
            tasks,
            bytes,
            ..
        } => What::Sent {
            slave,
            tasks,
            bytes: Some(bytes),
        },
        &Event::ResultsReceived {
            slave,
            results,
            failed,
            bytes,
            compute_us,
        } => What::Results {
            slave,
            results,
            failed,
            bytes: Some(bytes),
            compute_us: Some(compute_us),
        },
        &Event::Packets {
            slave,
            span_ms,
            packets_out,
            tasks,
            bytes_out,
            packets_in,
            results,
            failed,
            bytes_in,
            compute_us,
        } => What::Packets {
            slave,
            span_us: i64::try_from(span_ms).unwrap_or(0).saturating_mul(1000),
            packets_out,
            tasks,
            bytes_out,
            packets_in,
            results,
            failed,
            bytes_in,
            compute_us,
        },
        Event::TaskSent {
            slave,
            task,
            algorithm,
        } => What::TaskSent {
            slave: *slave,
            task: *task,
            algorithm,
        },
        Event::TaskEnded {
            slave,
            task,
            end,
            compute_us,
            ..
        } => What::TaskEnded {
            slave: *slave,
            task: *task,
            end: *end,
            compute_us: *compute_us,
        },
        Event::Connected {
            slave,
            from,
            host,
            job,
            group,
        } => What::Connected {
            slave: *slave,
            from,
            host,
            job,
            group: *group,
        },
        Event::Refused { from, host, reason } => What::Refused {
            from,
            host,
            reason,
            is_broken: false,
        },
        Event::Rejected { from, reason } => What::Refused {
            from,
            host: "",
            reason,
            is_broken: true,
        },
        &Event::Lost {
            slave,
            cause,
            ref detail,
            recycled,
            unrunnable,
            ..
        } => What::Gone {
            slave,
            cause: cause_word(cause),
            why: detail,
            recycled,
            unrunnable,
        },
        &Event::Disconnected { slave, .. } => What::Gone {
            slave,
            cause: "shutdown",
            why: "",
            recycled: 0,
            unrunnable: 0,
        },
        Event::Failed {
            slave,
            algorithm,
            message,
            ..
        } => What::Failed {
            slave: *slave,
            algorithm,
            message,
        },
        Event::Unrunnable { task, reason } => What::Unrunnable {
            task: *task,
            reason,
        },
        &Event::Charged {
            task,
            crashes,
            limit,
            ..
        } => What::Charged {
            task,
            crashes,
            limit,
        },
        Event::Life { run, life, .. } => What::Life { run, life: *life },
        &Event::JournalRead { repeated, .. } => What::Recorded { repeated },
        &Event::Known { results, .. } => What::Known { results },
        &Event::Brought { results, .. } => What::Brought { results },
        &Event::Late { results, .. } => What::Late { results },
        &Event::Cancelled { tasks } => What::Cancelled { tasks },
        Event::Returned {
            slave,
            count,
            tasks,
        } => What::Returned {
            slave: *slave,
            count: *count,
            tasks: tasks.ranges(),
        },
        &Event::Duplicated { task, .. } => What::Duplicated { task },
        &Event::Dismissed { slave } => What::Dismissed { slave },
        &Event::Stall { ms } => What::Stall {
            us: i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1000),
        },
        &Event::Dropped {
            lines,
            packets,
            connected,
            lost,
            recycled,
            refused,
            ..
        } => What::Dropped {
            lines,
            packets,
            connected,
            lost,
            recycled,
            refused,
        },
        &Event::RunState {
            queued,
            running,
            ordered,
            intermingle,
            unordered,
            desired,
            ..
        } => What::RunState {
            queued,
            running,
            present: ordered
                .saturating_add(intermingle)
                .saturating_add(unordered),
            desired,
        },
        Event::Signal { name } => What::Signal { name },
        Event::ShutdownBegun { .. } => What::Shutdown,
        Event::Exit { code, reason } => What::Exit {
            exit: ExitWord::Code(*code),
            reason,
        },
        _ => of_process(event, view),
    }
}

/// Beginnings, and a slave's own view.
fn of_process<'a>(event: &'a Event, view: &'a mut SlaveView) -> What<'a> {
    match event {
        Event::Init {
            version,
            seed,
            build,
            host,
            ..
        } => {
            view.host.clone_from(host);
            What::Init {
                version,
                seed: *seed,
                build,
                host,
            }
        }
        Event::MasterConnected { from, .. } => {
            view.address.clone_from(from);
            What::Quiet
        }
        Event::Id { slave } => view.joined(*slave),
        Event::RefusedByMaster { reason } => What::Refused {
            from: "",
            host: "",
            reason,
            is_broken: false,
        },
        &Event::TasksReceived { tasks, bytes, .. } => What::Sent {
            slave: view.id(),
            tasks,
            bytes: Some(bytes),
        },
        &Event::ResultsSent { results, bytes } => What::Results {
            slave: view.id(),
            results,
            failed: 0,
            bytes: Some(bytes),
            compute_us: None,
        },
        Event::MasterShutdown { .. } => view.gone("shutdown"),
        Event::MasterLost { .. } => view.gone("eof"),
        Event::Evicted => view.gone("evicted"),
        _ => What::Quiet,
    }
}

const fn gone_word(how: Gone) -> &'static str {
    match how {
        Gone::Shutdown => "shutdown",
        Gone::Eof => "eof",
        Gone::Timeout => "timeout",
        Gone::Problem => "problem",
        Gone::Protocol => "protocol",
    }
}

/// Which end writes a line of CL-MW, when the line tells.
pub(crate) const fn role_of_clmw(event: &clmw::Event<'_>) -> Option<Role> {
    use clmw::Event as E;
    match event {
        E::InitMaster { .. }
        | E::Ready { .. }
        | E::Client { .. }
        | E::WrongMember { .. }
        | E::NotImplemented { .. }
        | E::BadIdent { .. }
        | E::ClientEof { .. }
        | E::Connecting { .. }
        | E::State { .. }
        | E::Freed { .. }
        | E::Tasks { .. }
        | E::Results { .. }
        | E::Unexpected { .. }
        | E::Recycled { .. }
        | E::TryShutdown { .. }
        | E::ShuttingDown { .. }
        | E::Gone { .. }
        | E::Why { .. }
        | E::NoMasterAlgorithm
        | E::Unmarked { .. }
        | E::Fini {
            how: Fini::Shutdown,
        } => Some(Role::Master),
        E::InitSlave { .. }
        | E::MasterConnected { .. }
        | E::ConnectRefused { .. }
        | E::Id { .. }
        | E::BadMembership
        | E::MasterProblem { .. }
        | E::MasterEof
        | E::TasksReceived { .. }
        | E::ResultsSent { .. }
        | E::MasterShutdown
        | E::DefaultSlaveAlgorithm
        | E::Fini { .. } => Some(Role::Slave),
        E::Version { .. } | E::Eof { .. } | E::ResourceFile { .. } | E::WrongExitCode => None,
    }
}

/// What a line of CL-MW says.
pub(crate) fn of_clmw<'a>(event: clmw::Event<'a>, view: &'a mut SlaveView) -> What<'a> {
    use clmw::Event as E;
    match event {
        E::State { slave, state } => What::State {
            slave,
            is_busy: state == StateWord::Busy,
        },
        E::Tasks { slave, tasks } => What::Sent {
            slave,
            tasks,
            bytes: None,
        },
        E::Results { slave, results } => What::Results {
            slave,
            results,
            failed: 0,
            bytes: None,
            compute_us: None,
        },
        E::Connecting {
            slave, from, group, ..
        } => What::Connected {
            slave,
            from,
            host: "",
            job: "",
            group,
        },
        E::Gone { slave, how } => What::Gone {
            slave,
            cause: gone_word(how),
            why: "",
            recycled: 0,
            unrunnable: 0,
        },
        E::Recycled { slave, .. } => What::Recycled { slave, tasks: 1 },
        E::WrongMember { text } => What::Refused {
            from: "",
            host: "",
            reason: text,
            is_broken: false,
        },
        E::InitMaster { .. } | E::InitSlave { .. } => What::Init {
            version: "",
            seed: None,
            build: "",
            host: "",
        },
        E::TryShutdown { .. } => What::Shutdown,
        E::MasterConnected { from, .. } => {
            from.clone_into(&mut view.address);
            What::Quiet
        }
        E::Id { slave } => view.joined(slave),
        E::BadMembership => What::Refused {
            from: "",
            host: "",
            reason: "the master closed the connection; of another membership?",
            is_broken: false,
        },
        E::TasksReceived { tasks, .. } => What::Sent {
            slave: view.id(),
            tasks,
            bytes: None,
        },
        E::ResultsSent { results } => What::Results {
            slave: view.id(),
            results,
            failed: 0,
            bytes: None,
            compute_us: None,
        },
        E::MasterShutdown => {
            view.is_told = true;
            What::Quiet
        }
        E::MasterEof => view.gone(if view.is_told { "shutdown" } else { "eof" }),
        E::MasterProblem { .. } => view.gone("problem"),
        E::Fini { how } => What::Exit {
            exit: ExitWord::Word(how.word()),
            reason: "",
        },
        _ => What::Quiet,
    }
}
