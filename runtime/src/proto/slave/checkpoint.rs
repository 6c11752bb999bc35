//! How far the running task has come: said when it is due, taken up where another slave was lost.
//!
//! One is due when none is under way and the interval has passed since the last one, or since the task began; and when the
//! machine is wanted back, once more. Then the slave stays until that one has come, or the task ends, or it takes too
//! long.

use ringmw_codec::frame::Kind;
use ringmw_codec::running::Checkpoint;
use ringmw_sched::Nanos;

use super::SlaveCore;
use crate::proto::SECOND;
use crate::proto::checkpoint::Kept;
use crate::proto::reason::Raise;

/// A slave that is to go waits so long for its task's last checkpoint: of the second that it has, a quarter is left to
/// write it.
const LAST_CHECKPOINT_WAIT: Nanos = 3 * SECOND / 4;

#[derive(Default)]
pub(super) struct Checkpoints {
    /// The running task makes some.
    made: bool,
    under_way: Option<u64>,
    /// The next one is due then at the earliest.
    due_at: Nanos,
    /// That has come, and the I/O side knows: it waits for it no longer.
    seen_due: bool,
    /// Where tasks in hand go on, by their numbers.
    resumes: Vec<(u64, Kept)>,
    /// The slave is told to go, and waits for the last one.
    evicted: Option<(String, Nanos)>,
}

impl SlaveCore {
    /// A task begins: where it goes on, if another slave had come that far.
    pub(super) fn begin_checkpoints(&mut self, task: u64) -> Option<Kept> {
        self.checkpoints.made = false;
        self.checkpoints.under_way = None;
        let resumes = &mut self.checkpoints.resumes;
        let at = resumes.iter().position(|(of, _)| *of == task)?;
        Some(resumes.swap_remove(at).1)
    }

    /// The running task makes checkpoints.
    pub fn makes_checkpoints(&mut self, now: Nanos) {
        self.checkpoints.made = true;
        self.checkpoints.seen_due = false;
        self.checkpoints.due_at = now + self.checkpoint_interval();
    }

    fn checkpoint_interval(&self) -> Nanos {
        let interval = self
            .welcome
            .as_ref()
            .map_or(0, |welcome| welcome.checkpoint_interval_ms);
        interval.saturating_mul(1_000_000)
    }

    /// Whether the running task's next checkpoint is due.
    pub fn checkpoint_is_due(&self, now: Nanos) -> bool {
        now >= self.checkpoint_due()
    }

    /// When that must be looked at next.
    pub(super) fn checkpoint_deadline(&self) -> Nanos {
        match self.checkpoints.seen_due {
            true => Nanos::MAX,
            false => self.checkpoint_due(),
        }
    }

    /// Time has passed.
    pub(super) fn see_due(&mut self, now: Nanos) {
        self.checkpoints.seen_due |= self.checkpoint_is_due(now);
    }

    /// When it is.
    fn checkpoint_due(&self) -> Nanos {
        let Checkpoints {
            made,
            under_way,
            due_at,
            evicted,
            ..
        } = &self.checkpoints;
        match (made, &self.running, &self.end) {
            (true, Some(_), None) if evicted.is_some() => 0,
            (true, Some(_), None) if under_way.is_none() => *due_at,
            _ => Nanos::MAX,
        }
    }

    /// The running task has come so far: said behind what is finished.
    ///
    /// # Errors
    /// When it is larger than what the master reads.
    pub fn checkpoint(
        &mut self,
        draws: u128,
        state_type: u64,
        state: &[u8],
        now: Nanos,
    ) -> Result<(), String> {
        let (Some(welcome), None, Some(task)) = (&self.welcome, &self.end, self.running_task())
        else {
            return Ok(());
        };
        let bytes_max = welcome.result_packet_bytes_max as usize - Checkpoint::HEADER_BYTES;
        if self.runs_former() {
            // Nobody knows the task by its number.
            self.checkpoints.seen_due = false;
            self.checkpoints.due_at = now + self.checkpoint_interval();
            return Ok(());
        }
        if state.len() > bytes_max {
            return Err(format!(
                "the checkpoint of {} bytes is larger than the master reads: at most {bytes_max} bytes; on the master {}",
                state.len(),
                Raise("--mw-max-read-buffer-size", state.len() as u64)
            ));
        }
        self.flush_results();
        self.out.put(Kind::Checkpoint, |out| {
            Checkpoint {
                task,
                draws,
                state_type,
                state,
            }
            .encode(out);
        });
        self.checkpoints.under_way = Some(task);
        self.checkpoints.seen_due = false;
        self.checkpoints.due_at = now + self.checkpoint_interval();
        self.leave_if_evicted();
        Ok(())
    }

    pub(super) fn on_checkpoint_taken(&mut self, task: u64) {
        if self.checkpoints.under_way == Some(task) {
            self.checkpoints.under_way = None;
        }
    }

    pub(super) fn on_resume(&mut self, checkpoint: &Checkpoint<'_>) {
        self.checkpoints
            .resumes
            .push((checkpoint.task, Kept::of(checkpoint)));
    }

    /// A task is in hand no more, and has not begun.
    pub(super) fn forget_resume(&mut self, task: u64) {
        self.checkpoints.resumes.retain(|(of, _)| *of != task);
    }

    /// The machine is wanted: whether the slave waits for the running task's last checkpoint.
    pub(super) fn waits_for_checkpoint(&mut self, reason: &str, now: Nanos) -> bool {
        let waits = self.checkpoints.made
            && self.end.is_none()
            && self.running.is_some()
            && !self.runs_former()
            && self.checkpoints.evicted.is_none();
        if waits {
            self.flush_results();
            self.checkpoints.evicted = Some((reason.to_owned(), now));
        }
        waits
    }

    /// Whether the slave is told to go, and waits for its task's last checkpoint.
    pub(super) fn is_evicted(&self) -> bool {
        self.checkpoints.evicted.is_some()
    }

    /// When it waits no longer.
    pub(super) fn last_checkpoint_deadline(&self) -> Nanos {
        let evicted = self.checkpoints.evicted.as_ref();
        evicted.map_or(Nanos::MAX, |(_, since)| since + LAST_CHECKPOINT_WAIT)
    }

    /// Says goodbye if it is told to go: the last checkpoint is there, or none will be.
    pub(super) fn leave_if_evicted(&mut self) {
        if let Some((reason, since)) = self.checkpoints.evicted.take() {
            self.evict_at_once(&reason, since);
        }
    }
}
