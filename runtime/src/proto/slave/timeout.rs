//! A task that runs for longer than it may: it is told so, and has a second for an end of its own; then it is answered for,
//! and the slave leaves, since nothing else stops it.

use ringmw_codec::batch::{ResultStatus, TaskBody};
use ringmw_codec::control::GoodbyeCode;
use ringmw_sched::Nanos;

use super::SlaveCore;
use super::packet::Running;
use crate::proto::SECOND;

/// What a task returns within this time after its time-out is its end.
pub(crate) const TIMEOUT_GRACE: Nanos = SECOND;

/// A time-out as it travels; 0 is none.
fn nanos_of_ms(timeout_ms: u64) -> Option<Nanos> {
    (timeout_ms > 0).then(|| timeout_ms.saturating_mul(1_000_000))
}

/// The time-out of tasks' own, in the body that came for them.
pub(super) fn of_body(body: &[u8]) -> Option<Nanos> {
    nanos_of_ms(TaskBody::timeout_ms_of(body))
}

impl SlaveCore {
    /// The time-outs of algorithms that have one, by their numbers.
    pub fn set_timeouts(&mut self, timeouts: Vec<Option<Nanos>>) {
        self.has_timeouts |= timeouts.iter().any(Option::is_some);
        self.timeouts = timeouts;
    }

    /// How long a task of this algorithm may run that has no time-out of its own: the algorithm's, or the run's.
    pub(super) fn timeout_of(&self, algorithm: u16) -> Option<Nanos> {
        let own = self.timeouts.get(usize::from(algorithm)).copied().flatten();
        own.or_else(|| nanos_of_ms(self.welcome.as_ref()?.task_timeout_ms))
    }

    /// The time for [`SlaveCore::next_task`]: only a task that may time out needs one.
    #[inline]
    pub fn now_of_task(&self, now: impl FnOnce() -> Nanos) -> Nanos {
        let of_all = self
            .welcome
            .as_ref()
            .is_some_and(|welcome| welcome.task_timeout_ms > 0);
        let own = self
            .tasks
            .front()
            .is_some_and(|next| next.timeout.is_some());
        match of_all || own || self.has_timeouts {
            true => now(),
            false => 0,
        }
    }

    /// Whether the task that runs was handed out by a former life of the master.
    pub(super) fn runs_former(&self) -> bool {
        self.is_apart() || self.running.as_ref().is_some_and(|running| running.former)
    }

    /// The task that runs.
    pub fn running_task(&self) -> Option<u64> {
        self.running.as_ref().map(|running| running.task)
    }

    /// Whether a task goes on that has been answered for. The process is to be ended under it.
    pub fn is_abandoned(&self) -> bool {
        self.is_abandoned
    }

    /// When [`SlaveCore::check_timeout`] has something to do.
    pub(super) fn timeout_deadline(&self) -> Nanos {
        let due = self.running.as_ref().and_then(|running| {
            let over = running.since.saturating_add(running.timeout?);
            Some(running.told_at.map_or(over, |told| told + TIMEOUT_GRACE))
        });
        due.unwrap_or(Nanos::MAX)
    }

    /// Its time is over: it is told, and a second later answered for. That second counts from when it was told, since a
    /// process that was stopped could not hear.
    pub(super) fn check_timeout(&mut self, now: Nanos) {
        if now < self.timeout_deadline() {
            return;
        }
        let Some(running) = &mut self.running else {
            return;
        };
        if running.told_at.is_none() {
            running.told_at = Some(now);
            self.running_cancelled = true;
            return;
        }
        let Some(Running {
            task,
            algorithm,
            since,
            timeout: Some(timeout),
            former,
            ..
        }) = self.running.take()
        else {
            return;
        };
        self.is_abandoned = true;
        self.completed += 1;
        let text = format!("timed out after {} s", timeout as f64 / SECOND as f64);
        let (status, compute) = (ResultStatus::Failed, now - since);
        if !former {
            let results = &self.results;
            let bytes = results.bytes_with(task, algorithm, status, compute, text.len());
            if bytes > self.result_bytes_max() {
                self.flush_results();
            }
            self.results
                .push(task, algorithm, status, compute, text.as_bytes());
        }
        let reason = format!("TASK-{task} {text} and went on");
        self.leave(GoodbyeCode::TimedOut, &reason);
    }

    pub(super) fn result_bytes_max(&self) -> usize {
        self.welcome
            .as_ref()
            .map_or(0, |welcome| welcome.result_packet_bytes_max as usize)
    }
}
