//! How it ends for a slave: the master says so, turns it away or is lost, or the slave leaves by its own bounds.

use std::fmt;

use ringmw_codec::audit::Event;
use ringmw_codec::control::{Goodbye, GoodbyeCode};
use ringmw_codec::flags::exit;
use ringmw_codec::frame::Kind;
use ringmw_sched::Nanos;

use super::SlaveCore;
use crate::proto::config::Bounds;
use crate::proto::{SECOND, put};

/// A task that runs at the time limit may take so long to end before it is handed back too.
const LAST_TASK_GRACE: Nanos = 5 * SECOND;

/// How it ended for a slave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlaveEnd {
    /// The master said so: the computation is finished, or the master leaves it unfinished.
    Shutdown {
        /// Whether the computation is finished.
        finished: bool,
    },
    /// The master turned it away, with this reason.
    Refused(String),
    /// The connection to the master is lost.
    MasterLost(String),
    /// It said goodbye itself.
    Left(String),
    /// It said goodbye because it had nothing to do for its idle time-out.
    Idle(String),
}

impl SlaveEnd {
    /// Whether it said goodbye itself.
    pub fn is_own_will(&self) -> bool {
        matches!(self, SlaveEnd::Left(_) | SlaveEnd::Idle(_))
    }

    /// The exit code: 0 only where the master said that the computation is finished, or it was idle for too long.
    pub fn exit_code(&self) -> u8 {
        match self {
            SlaveEnd::Shutdown { finished: true } | SlaveEnd::Idle(_) => exit::OK,
            _ => exit::ERROR,
        }
    }
}

/// What the operator reads of it.
impl fmt::Display for SlaveEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SlaveEnd::Shutdown { finished: true } => {
                f.write_str("the master has no more work for it")
            }
            SlaveEnd::Shutdown { finished: false } => {
                f.write_str("the master left with the computation unfinished")
            }
            SlaveEnd::Refused(reason) => write!(f, "the master refused this slave: {reason}"),
            SlaveEnd::MasterLost(reason) => write!(f, "the master is lost: {reason}"),
            SlaveEnd::Left(reason) | SlaveEnd::Idle(reason) => write!(f, "left: {reason}"),
        }
    }
}

impl SlaveCore {
    /// How long it stays; without this, for ever.
    pub fn set_bounds(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// The connection ended.
    pub fn on_closed(&mut self, why: &str) {
        self.finish_with(SlaveEnd::MasterLost(why.to_owned()));
    }

    /// Leaves on its own account.
    pub fn leave(&mut self, code: GoodbyeCode, reason: &str) {
        if self.end.is_none() {
            self.flush_results();
            if code == GoodbyeCode::StateInit {
                // It is the task that says so, which has not begun.
                self.running = None;
            }
            let begun = self.running.is_some();
            put(&mut self.out, Kind::Goodbye, |out| {
                Goodbye {
                    code,
                    begun,
                    reason: reason.to_owned(),
                }
                .encode(out);
            });
            self.finish_with(SlaveEnd::Left(reason.to_owned()));
        }
    }

    /// Goodbye, where its own time is up.
    pub(super) fn judge_bounds(&mut self, now: Nanos) {
        if self.end.is_some() {
            return;
        }
        let over = |limit: Option<Nanos>| limit.is_some_and(|limit| now >= self.started + limit);
        let grace = if self.running.is_some() {
            LAST_TASK_GRACE
        } else {
            0
        };
        if over(self.bounds.time_limit.map(|limit| limit + grace)) {
            let seconds = self.bounds.time_limit.unwrap_or_default() / SECOND;
            let reason = format!("its time limit of {seconds} s");
            return self.leave(GoodbyeCode::Other, &reason);
        }
        if let Some(timeout) = self.bounds.idle_timeout
            && self.is_idle()
            && now >= self.busy_at + timeout
        {
            let reason = format!("idle for {} s", timeout / SECOND);
            self.leave(GoodbyeCode::Other, &reason);
            self.end = Some(SlaveEnd::Idle(reason));
        }
    }

    fn is_idle(&self) -> bool {
        self.welcome.is_some() && self.running.is_none() && self.tasks.is_empty()
    }

    /// When [`SlaveCore::judge_bounds`] has something to do at the earliest.
    pub(super) fn bounds_deadline(&self) -> Nanos {
        let grace = if self.running.is_some() {
            LAST_TASK_GRACE
        } else {
            0
        };
        let limit = self.bounds.time_limit;
        let limit = limit.map_or(Nanos::MAX, |limit| self.started + limit + grace);
        let idle = self.bounds.idle_timeout.filter(|_| self.is_idle());
        limit.min(idle.map_or(Nanos::MAX, |timeout| self.busy_at + timeout))
    }

    pub(super) fn finish_with(&mut self, end: SlaveEnd) {
        if self.end.is_none() {
            self.tasks.clear();
            self.queued = 0;
            self.settle(self.last_sent, true);
            match &end {
                SlaveEnd::Refused(reason) => self.audit.push_back(Event::RefusedByMaster {
                    reason: reason.clone(),
                }),
                SlaveEnd::MasterLost(reason) => self.audit.push_back(Event::MasterLost {
                    reason: reason.clone(),
                }),
                // The first has its line already, the second is the slave's own doing.
                SlaveEnd::Shutdown { .. } | SlaveEnd::Left(_) | SlaveEnd::Idle(_) => {}
            }
            self.end = Some(end);
        }
    }
}
