//! Time-outs: a task is ended by its own, else by the run's, and none without either.

use ringmw_codec::batch::TaskBody;
use ringmw_sched::Nanos;

use crate::proto::SECOND;
use crate::testing::law::Law;

#[derive(Default)]
pub(super) struct Timeouts {
    /// Tasks that timed out, by a time-out of their own and by the run's.
    own: u64,
    others: u64,
}

/// What is said of a task that its slave has ended begins so.
const SAYS: &str = "timed out after ";

impl Law {
    /// A task has failed with this text.
    pub(super) fn check_timeout(&mut self, seq: u64, text: &[u8]) {
        let text = String::from_utf8_lossy(text);
        if self.lenient || !text.starts_with(SAYS) {
            return;
        }
        let task = TaskBody::parse(&self.tasks[&seq].body).expect("it was submitted");
        let (limit, count): (Option<Nanos>, _) = match task.timeout_ms {
            0 => (self.config.rules.task_timeout, &mut self.timeouts.others),
            // Milliseconds are all that travels.
            ms => (Some(ms * (SECOND / 1_000)), &mut self.timeouts.own),
        };
        *count += 1;
        let limit = limit.map(|limit| limit / 1_000_000 * 1_000_000);
        let limit = limit.unwrap_or_else(|| panic!("TASK-{seq} {text}, and has no time-out"));
        let expected = format!("{SAYS}{} s", limit as f64 / SECOND as f64);
        assert_eq!(text, expected, "TASK-{seq} has another time-out");
    }

    /// Tasks that timed out, by a time-out of their own and by the run's.
    pub(in crate::testing) fn timed_out(&self) -> (u64, u64) {
        (self.timeouts.own, self.timeouts.others)
    }
}
