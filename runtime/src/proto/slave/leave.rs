//! How it ends for a slave: the master says so, turns it away or is lost, or the slave leaves by its own bounds.

use std::fmt;

use ringmw_codec::audit::Event;
use ringmw_codec::control::{Begun, Goodbye, GoodbyeCode};
use ringmw_codec::flags::exit;
use ringmw_sched::Nanos;

use super::SlaveCore;
use crate::proto::SECOND;
use crate::proto::config::Bounds;

/// A task that runs at the time limit may take so long to end before it is handed back too.
const LAST_TASK_GRACE: Nanos = 5 * SECOND;

/// After SIGTERM what fits in this time is written.
pub(crate) const FAREWELL: Nanos = SECOND;

/// Of that time so much is for the goodbye: what has not been given to be written by then is left out.
pub(crate) const GOODBYE_RESERVE: Nanos = SECOND / 8;

/// A slave that leaves waits no longer for a master that takes no byte of what it has to say.
pub(crate) const TAKEN_WAIT: Nanos = 3_600 * SECOND;

/// A slave whose last words have reached the master's host waits so long for the master to close: one that sends it
/// something meanwhile is not answered by a reset.
const CLOSE_WAIT: Nanos = SECOND;

/// Of how it ended: so many results the master does not get.
const NOT_SENT: &str = "; results not sent: ";

/// A slave goes of its own will, from its goodbye until the master has it.
#[derive(Default)]
pub(super) struct Leaving {
    /// The fewest bytes that were not with the master, and since when it is those.
    least: Option<(u64, Nanos)>,
    /// Since when the master's host has all of it.
    all_taken: Option<Nanos>,
    /// SIGTERM came: no longer than until then.
    until: Option<Nanos>,
    /// What it says last.
    goodbye: Option<Goodbye>,
    /// Results that are left out, as its time was up.
    left_out: usize,
    /// Nothing is left to be done on the connection.
    gone: bool,
}

impl Leaving {
    /// Nobody is there to be told.
    pub(super) fn over() -> Self {
        Leaving {
            gone: true,
            ..Leaving::default()
        }
    }
}

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

    /// Whether the operator is told on stderr: an exit with 255 says why. Whoever watches over the slave (`is_watched`) says
    /// himself that the master has left.
    pub(crate) fn is_told(&self, is_watched: bool) -> bool {
        let is_known = is_watched && matches!(self, SlaveEnd::Shutdown { .. });
        self.exit_code() != exit::OK && !is_known
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

    /// The connection ended, for this reason.
    pub fn on_closed(&mut self, why: &str) {
        match self.leaving {
            Some(_) => self.give_up(why),
            None => self.finish_with(SlaveEnd::MasterLost(why.to_owned())),
        }
    }

    /// Leaves on its own account: results, then goodbye. It has gone when [`SlaveCore::is_gone`] says so.
    pub fn leave(&mut self, code: GoodbyeCode, reason: &str) {
        if self.end.is_none() && self.is_apart() {
            return self.leave_apart(reason);
        }
        if self.end.is_none() {
            if !self.is_proved() {
                // It has nothing to say to who may be no master at all.
                self.out.clear();
                self.finish_with(SlaveEnd::Left(reason.to_owned()));
                self.leaving = Some(Leaving::default());
                return;
            }
            self.flush_results();
            if code == GoodbyeCode::StateInit {
                // It is the task that says so, which has not begun.
                self.running = None;
            }
            let begun = match self.running {
                Some(_) => Begun::Oldest,
                None => Begun::None,
            };
            let goodbye = Goodbye {
                code,
                begun,
                reason: reason.to_owned(),
            };
            self.out.set_goodbye(|out| goodbye.encode(out));
            self.finish_with(SlaveEnd::Left(reason.to_owned()));
            self.leaving = Some(Leaving {
                goodbye: Some(goodbye),
                ..Leaving::default()
            });
        }
    }

    /// The process ends itself under the running task, by an exit, a fault, or for its memory, as `code` says: that one is
    /// to blame. Without one, as [`SlaveCore::leave`].
    pub fn blame(&mut self, code: GoodbyeCode, reason: &str) {
        let code = match self.running {
            Some(_) => code,
            None => GoodbyeCode::Other,
        };
        self.leave(code, reason);
    }

    /// A signal: the machine is wanted. What fits in a second is written, whatever it was leaving for; the goodbye follows what
    /// was begun to be written by then.
    ///
    /// A running task that makes checkpoints is waited for, for a part of that second.
    pub fn evict(&mut self, reason: &str, now: Nanos) {
        if !self.waits_for_checkpoint(reason, now) {
            self.leave_if_evicted();
            self.evict_at_once(reason, now);
        }
    }

    /// `now` is when the signal came.
    pub(super) fn evict_at_once(&mut self, reason: &str, now: Nanos) {
        self.leave(GoodbyeCode::Evicted, reason);
        if let Some(leaving) = &mut self.leaving
            && leaving.until.is_none()
            && !leaving.gone
        {
            leaving.until = Some(now + FAREWELL);
            // Whoever told it so may run it again.
            self.end = Some(SlaveEnd::Left(reason.to_owned()));
        }
    }

    /// What became of its last words, told now and then while it leaves: `kernel_bytes` of what was written have not
    /// reached the master's host.
    pub fn on_untaken(&mut self, kernel_bytes: u64, now: Nanos) {
        let left = self.out.len() as u64 + (self.handed - self.written) + kernel_bytes;
        let Some(leaving) = self.leaving.as_mut().filter(|leaving| !leaving.gone) else {
            return;
        };
        let (least, taken_at) = leaving.least.unwrap_or((u64::MAX, now));
        if left < least {
            leaving.least = Some((left, now));
        }
        if left > 0 {
            leaving.all_taken = None;
            if leaving
                .until
                .is_some_and(|until| now >= until - GOODBYE_RESERVE)
                && self.leave_results_out()
            {
                // A thread that comes late says it all the same.
                let leaving = self.leaving.as_mut().expect("it leaves");
                leaving.until = leaving.until.max(Some(now + GOODBYE_RESERVE));
                return;
            }
            let leaving = self.leaving.as_ref().expect("it leaves");
            if leaving.until.is_some_and(|until| now >= until) {
                self.give_up("its second was over");
            } else if now >= taken_at + TAKEN_WAIT {
                let hours = TAKEN_WAIT / (3_600 * SECOND);
                self.give_up(&format!("the master took no byte for {hours} h"));
            }
        } else {
            let closes_by = *leaving.all_taken.get_or_insert(now) + CLOSE_WAIT;
            leaving.gone = now >= closes_by.min(leaving.until.unwrap_or(Nanos::MAX));
        }
    }

    /// Leaves out what has not been given to be written and goes before the goodbye, if there is anything.
    fn leave_results_out(&mut self) -> bool {
        if !self.out.can_leave_out() {
            return false;
        }
        self.out.leave_out();
        let (handed, leaving) = (self.handed, self.leaving.as_mut().expect("it says goodbye"));
        let first = self.unsent.partition_point(|packet| packet.0 <= handed);
        let left_out: usize = self.unsent.drain(first..).map(|packet| packet.1).sum();
        leaving.left_out += left_out;
        // Which of the tasks in its hands were finished nobody can tell any more.
        if let Some(goodbye) = &mut leaving.goodbye {
            goodbye.begun = Begun::Any;
            self.out.set_goodbye(|out| goodbye.encode(out));
        }
        self.say_left_out("its second was over");
        true
    }

    /// Whether it is over and nothing is left to be done on the connection.
    pub fn is_gone(&self) -> bool {
        match &self.leaving {
            Some(leaving) => leaving.gone,
            None => self.end.is_some(),
        }
    }

    /// When [`SlaveCore::on_untaken`] is due at the latest.
    pub fn leaving_deadline(&self) -> Nanos {
        let leaving = self.leaving.as_ref().filter(|leaving| !leaving.gone);
        leaving.map_or(Nanos::MAX, |leaving| {
            let taken = leaving
                .least
                .map_or(Nanos::MAX, |least| least.1 + TAKEN_WAIT);
            let closed = leaving.all_taken.map_or(taken, |all| all + CLOSE_WAIT);
            let until = leaving.until.map(|until| match self.out.can_leave_out() {
                true => until - GOODBYE_RESERVE,
                false => until,
            });
            closed.min(until.unwrap_or(Nanos::MAX))
        })
    }

    /// Nothing more can be written.
    fn give_up(&mut self, why: &str) {
        let lost = self.has_unsent() || self.written < self.handed || !self.out.is_empty();
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if leaving.gone {
            return;
        }
        leaving.gone = true;
        let untaken = leaving.all_taken.is_none() && leaving.least.is_none_or(|(left, _)| left > 0);
        if !lost && !untaken {
            return;
        }
        self.say_left_out(why);
    }

    /// Its end names the results that the master does not get.
    fn say_left_out(&mut self, why: &str) {
        let results = match &self.leaving {
            Some(leaving) if leaving.gone => self.waiting_results() + leaving.left_out,
            Some(leaving) => leaving.left_out,
            None => 0,
        };
        self.end = self.end.take().map(|end| match end {
            // It is no idleness to have something unsaid: not with 0.
            SlaveEnd::Idle(_) => SlaveEnd::MasterLost(why.to_owned()),
            SlaveEnd::Left(reason) if results > 0 => {
                let reason = reason.split(NOT_SENT).next().expect("it has a beginning");
                SlaveEnd::Left(format!("{reason}{NOT_SENT}{results}, since {why}"))
            }
            end => end,
        });
    }

    /// Goodbye, where its own time is up.
    pub(super) fn check_bounds(&mut self, now: Nanos) {
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
            let limit = self.bounds.time_limit.unwrap_or_default();
            let reason = format!("its time limit of {} s", limit as f64 / SECOND as f64);
            return self.leave(GoodbyeCode::Other, &reason);
        }
        if let Some(timeout) = self.bounds.idle_timeout
            && self.is_idle()
            && now >= self.busy_at + timeout
        {
            let reason = format!("idle for {} s", timeout as f64 / SECOND as f64);
            self.leave(GoodbyeCode::Other, &reason);
            self.end = Some(SlaveEnd::Idle(reason));
        }
    }

    /// Results that nobody takes are no idleness.
    fn is_idle(&self) -> bool {
        self.welcome.is_some()
            && !self.is_apart()
            && self.running.is_none()
            && self.tasks.is_empty()
            && !self.has_unsent()
    }

    /// When [`SlaveCore::check_bounds`] has something to do at the earliest.
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
        if self.goes_apart(&end) {
            return;
        }
        if self.end.is_none() {
            self.tasks.clear();
            self.queued = 0;
            self.sum_up(self.last_sent, true);
            self.say_lost(&end);
            self.end = Some(end);
        }
    }

    /// The trail's line of how it ended.
    pub(super) fn say_lost(&mut self, end: &SlaveEnd) {
        match end {
            SlaveEnd::Refused(reason) => self.audit.push_back(Event::RefusedByMaster {
                reason: reason.clone(),
            }),
            SlaveEnd::MasterLost(reason) => self.audit.push_back(Event::MasterLost {
                reason: reason.clone(),
            }),
            // The first has its line already, the second is the slave's own doing.
            SlaveEnd::Shutdown { .. } | SlaveEnd::Left(_) | SlaveEnd::Idle(_) => {}
        }
    }
}
