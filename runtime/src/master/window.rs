//! How much a map may have out: tasks whose end has not come, and ends that it has not taken.
//!
//! | bound | of | why |
//! |---|---|---|
//! | what the slaves can hold and a quarter more, or the number that was given | tasks | the slaves are busy, and no more is of use |
//! | the bytes of two packets for each slave and a quarter more, where that is less than the next | its tasks | what is in hand stays in the processor's caches, and no more is of use |
//! | [`MAP_BYTES_MAX`] | its tasks and its results that are not taken, those to come by the mean of the others | memory is constant, however large they are |
//! | `--mw-max-queued-bytes` | all queued tasks | it is everybody's |
//!
//! Bytes bound nothing below two tasks for each slave: a map that is awaited goes on, whatever others have filled. It
//! waits at a bound and never fails.

use ringmw_codec::audit::Event;
use ringmw_sched::{AlgorithmId, Nanos, Scheduler};

use super::state::State;
use crate::io::clock::Clock;
use crate::proto::series::Body;

/// A map's tasks and its results that are not taken have no more bytes than this: 64 MiB.
pub(super) const MAP_BYTES_MAX: u64 = 64 << 20;

/// Tasks of a map beside those that the slaves can hold, at least.
const WINDOW_LEAST: usize = 1_024;

/// Bytes of a map's tasks that are out, at least: however few the slaves, so much does not leave the processor's caches.
const TASK_BYTES_LEAST: u64 = 4 << 20;

/// Tasks that are out before the first result has come: nobody knows how large it is.
const FIRST: usize = 64;

/// A map is filled for so long at a time: 1 ms. What it gave leaves then.
pub(super) const SLICE: Nanos = 1_000_000;

/// Most tasks between two readings of the clock.
const UNREAD_MAX: u32 = 128;

/// After so many more that are as large as one, it is reckoned how many such there is room for: that costs two divisions.
const ALIKE_BEFORE: u32 = 3;

/// What a map keeps itself of its ends.
#[derive(Copy, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) tasks: usize,
    pub(crate) bytes: u64,
}

/// How much more a map may have out.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Room {
    /// Tasks, at all.
    tasks: usize,
    /// Of those, tasks of any size.
    free: usize,
    bytes: u64,
    /// Bytes of tasks alone.
    task_bytes: u64,
    /// What its result will take.
    each_result: u64,
    window: usize,
    is_wide: bool,
    alike: Alike,
}

/// Most tasks are as large as the one before: how many such there is room for is reckoned once a few have been, and they are
/// counted before they are taken off.
#[derive(Copy, Clone, Default, Debug)]
struct Alike {
    bytes: u64,
    /// How many have been as large as the last, that one left out.
    before: u32,
    room: usize,
    left: usize,
}

impl Room {
    /// Whether the window is as large as is of use to the slaves.
    pub(crate) fn is_wide(&self) -> bool {
        self.is_wide
    }

    /// Refilling in strides of so many costs less than one task for each result.
    pub(super) fn stride(&self) -> usize {
        (self.window / 8).clamp(1, WINDOW_LEAST)
    }

    /// Whether it is worth filling.
    pub(super) fn is_worth_it(&self) -> bool {
        self.free > 0 || self.tasks >= self.stride()
    }

    /// Whether a task of some size fits.
    #[inline]
    pub(crate) fn has_any(&mut self) -> bool {
        self.alike.left > 0 || {
            self.take_counted();
            self.free > 0 || (self.tasks > 0 && self.bytes.min(self.task_bytes) > 0)
        }
    }

    /// How many more tasks as large as the last one surely fit.
    #[inline]
    pub(super) fn alike(&self) -> usize {
        self.alike.left
    }

    /// So many of those are taken off.
    #[inline]
    pub(super) fn take_alike(&mut self, tasks: usize) {
        self.alike.left -= tasks;
    }

    /// Whether a task of this size fits, which is taken off then.
    #[inline]
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let is_counted = self.alike.left > 0 && self.alike.bytes == bytes;
        self.alike.left -= usize::from(is_counted);
        is_counted || self.take_other(bytes)
    }

    #[inline]
    fn take_other(&mut self, bytes: u64) -> bool {
        self.take_counted();
        let before = match self.alike.bytes == bytes {
            true => self.alike.before + 1,
            false => 0,
        };
        (self.alike.bytes, self.alike.before) = (bytes, before);
        let taken = self.take_off(bytes, 1);
        if taken && before >= ALIKE_BEFORE {
            let (all, tasks) = self.each(bytes);
            let fitting = (self.bytes / all).min(self.task_bytes / tasks);
            let fitting = usize::try_from(fitting).unwrap_or(usize::MAX);
            let room = fitting.max(self.free).min(self.tasks);
            (self.alike.room, self.alike.left) = (room, room);
        }
        taken
    }

    /// What a task of this size takes, and of that itself.
    fn each(&self, bytes: u64) -> (u64, u64) {
        let task_bytes = bytes + Scheduler::<Body>::RECORD_BYTES;
        (task_bytes + self.each_result, task_bytes)
    }

    /// Takes off what was only counted.
    fn take_counted(&mut self) {
        let Alike {
            bytes, room, left, ..
        } = self.alike;
        (self.alike.room, self.alike.left) = (0, 0);
        let tasks = room - left;
        if tasks > 0 {
            self.take_off(bytes, tasks);
        }
    }

    /// So many tasks of this size, each of which fits when those before are taken off.
    fn take_off(&mut self, bytes: u64, tasks: usize) -> bool {
        let (bytes, task_bytes) = self.each(bytes);
        let fits = bytes <= self.bytes && task_bytes <= self.task_bytes;
        if self.tasks < tasks || (self.free < tasks && !fits) {
            return false;
        }
        let count = tasks as u64;
        self.tasks -= tasks;
        self.free = self.free.saturating_sub(tasks);
        self.bytes = self.bytes.saturating_sub(count.saturating_mul(bytes));
        self.task_bytes = self
            .task_bytes
            .saturating_sub(count.saturating_mul(task_bytes));
        true
    }
}

impl State {
    /// How much more a map may have out that is awaited.
    pub(crate) fn map_room(
        &mut self,
        map: u32,
        algorithm: AlgorithmId,
        window: Option<usize>,
        kept: Kept,
    ) -> Room {
        let hands = self.core.hands(algorithm);
        let own = hands + (hands / 4).max(WINDOW_LEAST);
        let window = window.unwrap_or(own);
        let is_wide = window >= own;
        let flow = &self.flows[map as usize];
        let out = flow.live + flow.ready.len() + kept.tasks;
        let task_bytes = self.core.sched().map_bytes(map);
        let out_bytes = task_bytes + flow.ready.bytes() + kept.bytes;
        let least = (2 * self.core.slaves()).max(1);
        // What is out is going to be results, as large as those that came; while none has, a few tasks are enough.
        let (window, each_result) = match flow.came {
            (0, _) => (window.min(hands.max(least).max(FIRST)), 0),
            (ends, bytes) => (window, bytes / ends),
        };
        let out_bytes = out_bytes + flow.live as u64 * each_result;
        let tasks = window.saturating_sub(out);
        let (queued, queued_max) = self.queued_bytes();
        let queue = queued_max.saturating_sub(queued);
        let room = Room {
            tasks,
            free: least.saturating_sub(out).min(tasks),
            bytes: self.map_bytes_max.saturating_sub(out_bytes).min(queue),
            task_bytes: self.map_task_bytes_max().saturating_sub(task_bytes),
            each_result,
            window,
            is_wide,
            alike: Alike::default(),
        };
        if queue == 0 && tasks > 0 {
            self.say_queue_full();
        }
        room
    }

    /// Bytes of tasks that a map may have out: two packets for each slave, and a quarter more.
    fn map_task_bytes_max(&self) -> u64 {
        let slaves = self.core.slaves() as u64;
        let packets = 2 * slaves * u64::from(self.core.packet_bytes_enough());
        (packets + packets / 4).max(TASK_BYTES_LEAST)
    }

    /// Says once that the queue is full, and by how much.
    fn say_queue_full(&mut self) {
        if !std::mem::replace(&mut self.said_queue_full, true) {
            let (bytes, bytes_max) = self.queued_bytes();
            self.core.note(Event::QueueFull { bytes, bytes_max });
        }
    }
}

/// What a task takes to be given under a simulated clock, which stands still while the master algorithm runs.
const SIMULATED_TASK: Nanos = SLICE / 64;

/// The time in which a map is filled.
pub(super) struct Slice {
    since: Nanos,
    /// What the clock showed last.
    read_at: Nanos,
    /// What of the slice had passed then.
    passed: Nanos,
    stride: u32,
    unread: u32,
    simulated: Nanos,
}

impl Slice {
    pub(super) fn new(clock: &Clock) -> Self {
        let now = clock.now();
        Slice {
            since: now,
            read_at: now,
            passed: 0,
            stride: 1,
            unread: 0,
            simulated: 0,
        }
    }

    /// What the clock showed when it was read last.
    pub(super) fn read_at(&self) -> Nanos {
        self.read_at
    }

    /// Whether it is over, after one more task. The clock is read for the first task, then for every 2nd, 4th .. 128th; of
    /// slow ones more often.
    #[inline]
    pub(super) fn is_over(&mut self, clock: &Clock) -> bool {
        if self.unread > 0 {
            self.unread -= 1;
            return false;
        }
        self.read(clock)
    }

    /// How many tasks may follow before the clock is read.
    #[inline]
    pub(super) fn unread(&self) -> usize {
        self.unread as usize
    }

    /// So many of those have followed.
    #[inline]
    pub(super) fn pass_unread(&mut self, tasks: usize) {
        self.unread -= tasks as u32;
    }

    #[inline(never)]
    fn read(&mut self, clock: &Clock) -> bool {
        if clock.is_simulated() {
            self.simulated += SIMULATED_TASK * Nanos::from(self.stride);
        }
        self.read_at = clock.now();
        let passed = self.read_at.saturating_sub(self.since) + self.simulated;
        let took = passed - std::mem::replace(&mut self.passed, passed);
        self.stride = next_stride(self.stride, took, passed);
        self.unread = self.stride - 1;
        passed >= SLICE
    }
}

/// After how many tasks the clock is read again, where the last `stride` took so long: as many as take an eighth of what is
/// left of the slice at their pace, so that it ends in time though they become slower.
fn next_stride(stride: u32, took: Nanos, passed: Nanos) -> u32 {
    let pace = (took / Nanos::from(stride)).max(1);
    let fit = SLICE.saturating_sub(passed) / 8 / pace;
    let most = (2 * stride).min(UNREAD_MAX);
    u32::try_from(fit).map_or(most, |fit| fit.clamp(1, most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_ends_in_time_and_reads_the_clock_seldom() {
        for pace in [1, 10, 100, 5_000, 80_000, 400_000, 3_000_000] {
            let (mut stride, mut passed, mut readings, mut tasks) = (1, 0, 0, 0);
            while passed < SLICE {
                let took = pace * Nanos::from(stride);
                passed += took;
                readings += 1;
                tasks += u64::from(stride);
                stride = next_stride(stride, took, passed);
            }
            assert!(passed < SLICE + pace, "{pace} ns a task: {passed} ns");
            // Towards its end the steps become smaller by an eighth each.
            let few = u64::from(UNREAD_MAX);
            assert!(
                readings <= tasks / few + 2 * few,
                "{pace} ns a task: {readings} readings for {tasks} tasks"
            );
        }
    }
}
