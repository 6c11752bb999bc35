//! Slaves that left with exit status 0 while slaves are desired: idle for their time-out, or no slaves at all. Who would
//! replace each at once starts what leaves again, for as long as there is nothing to do.
//!
//! Work that came is seen by the queue's length in the resource file and by what is desired. Where the file tells no queue
//! (an older master's) it is tried out too: after a pause one slave is started; as long as they stay, twice as many after the next; when one leaves, one again, after a
//! pause that doubles.

use ringmw_codec::Nanos;

use super::pause::{SECOND, doubled};

const PAUSE_FIRST: Nanos = 60 * SECOND;
const PAUSE_LAST: Nanos = 900 * SECOND;

/// What one turn says of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) now: Nanos,
    pub(super) desired: u64,
    pub(super) connected: Option<u64>,
    pub(super) busy: Option<u64>,
    /// Tasks that wait, where the master says it.
    pub(super) queued: Option<u64>,
    /// Slaves that left since the last turn.
    pub(super) left: u64,
    /// Jobs that are alive, queued ones included.
    pub(super) alive: u64,
}

/// The slaves that are missing and not to be replaced.
#[derive(Debug, Default)]
pub(super) struct Idle {
    excused: u64,
    desired: u64,
    busy: Option<u64>,
    queued: Option<u64>,
    /// When some of them are tried again.
    next: Nanos,
    /// Tries in a row after which some left.
    failures: u32,
    step: u64,
    left_since: bool,
}

impl Idle {
    /// How many of those desired are to be alive.
    pub(super) fn wanted(&mut self, seen: &Seen) -> u64 {
        let Seen { desired, .. } = *seen;
        let found_work = match (seen.busy, self.busy) {
            (Some(now), Some(before)) => now > before,
            _ => false,
        };
        self.busy = seen.busy;
        // Work that came: none waited before. While none waits nobody is tried out in vain.
        let work_came = matches!((seen.queued, self.queued), (Some(1..), Some(0)));
        let nothing_waits = seen.queued == Some(0);
        self.queued = seen.queued;
        let found_work = found_work || work_came;
        if desired != self.desired || found_work {
            *self = Self {
                desired,
                busy: seen.busy,
                queued: seen.queued,
                ..Self::default()
            };
        }
        let missing = desired.saturating_sub(seen.alive);
        let had_left = self.excused > 0;
        self.excused = (self.excused + seen.left).min(missing);
        self.left_since |= seen.left > 0;
        if self.excused > 0 && !had_left {
            // The first of them.
            self.next = seen.now + doubled(PAUSE_FIRST, self.failures, PAUSE_LAST);
            self.step = 1;
        }
        // Those that are idle now would have the work.
        let some_idle =
            matches!((seen.connected, seen.busy), (Some(all), Some(busy)) if busy < all);
        if self.excused > 0 && seen.now >= self.next && !some_idle && !nothing_waits {
            if self.left_since {
                self.failures = self.failures.saturating_add(1);
                self.step = 1;
            } else {
                self.failures = 0;
                self.step = self.step.saturating_mul(2);
            }
            self.left_since = false;
            self.excused -= self.step.min(self.excused);
            self.next = seen.now + doubled(PAUSE_FIRST, self.failures, PAUSE_LAST);
        }
        desired - self.excused.min(desired)
    }

    /// Slaves that are not replaced.
    pub(super) fn excused(&self) -> u64 {
        self.excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight desired.
    fn seen(seconds: u64, left: u64, alive: u64) -> Seen {
        Seen {
            now: seconds * SECOND,
            desired: 8,
            connected: Some(alive),
            busy: Some(alive),
            queued: None,
            left,
            alive,
        }
    }

    #[test]
    fn those_that_left_are_not_replaced_until_the_desire_changes() {
        let mut idle = Idle::default();
        assert_eq!(idle.wanted(&seen(0, 0, 8)), 8);
        assert_eq!(idle.wanted(&seen(5, 5, 3)), 3);
        assert_eq!(idle.wanted(&seen(50, 0, 3)), 3);
        // One that died is another matter.
        assert_eq!(idle.wanted(&seen(51, 0, 2)), 3);
        let more = Seen {
            desired: 9,
            ..seen(55, 0, 3)
        };
        assert_eq!(idle.wanted(&more), 9);
    }

    #[test]
    fn a_desire_that_fell_excuses_nobody() {
        let mut idle = Idle::default();
        assert_eq!(idle.wanted(&seen(0, 0, 8)), 8);
        // The master sent five away; its file said so before, or after.
        let fallen = |seconds, left, alive| Seen {
            desired: 3,
            ..seen(seconds, left, alive)
        };
        assert_eq!(idle.wanted(&seen(4, 2, 6)), 6);
        assert_eq!(idle.wanted(&fallen(5, 3, 3)), 3);
        // One of the three dies.
        assert_eq!(idle.wanted(&fallen(6, 0, 2)), 3);
    }

    #[test]
    fn more_busy_slaves_than_before_are_work_that_came() {
        let mut idle = Idle::default();
        let busy = |seconds, left, busy| Seen {
            busy: Some(busy),
            ..seen(seconds, left, 3)
        };
        assert_eq!(idle.wanted(&seen(0, 0, 8)), 8);
        assert_eq!(idle.wanted(&busy(5, 5, 1)), 3);
        assert_eq!(idle.wanted(&busy(6, 0, 1)), 3);
        assert_eq!(idle.wanted(&busy(7, 0, 2)), 8);
    }

    /// Nothing to do for an hour: a handful of starts, not one every few seconds; then work, and all are back in minutes.
    #[test]
    fn what_leaves_again_is_tried_less_and_less_and_what_stays_brings_the_others_back() {
        let mut idle = Idle::default();
        let (mut alive, mut starts, mut left) = (8, 0, 8);
        let mut back_at = None;
        for second in 0..3 * 3_600 {
            alive -= left;
            let wanted = idle.wanted(&seen(second, left, alive));
            left = 0;
            if wanted > alive {
                starts += wanted - alive;
                alive = wanted;
                // Until there is work each leaves at once.
                left = if second < 3_600 { alive } else { 0 };
            }
            if second == 3_599 {
                assert!((3..10).contains(&starts), "{starts} starts in an idle hour");
                assert_eq!(alive, 0);
            }
            if alive == 8 && second >= 3_600 {
                back_at.get_or_insert(second);
            }
        }
        let back_at = back_at.expect("work brings them back");
        assert!(
            back_at < 3_600 + 900 + 300,
            "back after {} s",
            back_at - 3_600
        );
    }

    /// With a master that tells its queue nobody is started in vain, and all come back as soon as there is work.
    #[test]
    fn where_the_queue_is_told_none_is_tried_while_nothing_waits() {
        let mut idle = Idle::default();
        let told = |seconds, left, alive, queued| Seen {
            queued: Some(queued),
            ..seen(seconds, left, alive)
        };
        assert_eq!(idle.wanted(&told(0, 0, 8, 0)), 8);
        assert_eq!(idle.wanted(&told(5, 8, 0, 0)), 0);
        for second in (10..20_000).step_by(5) {
            assert_eq!(idle.wanted(&told(second, 0, 0, 0)), 0, "at {second} s");
        }
        assert_eq!(idle.wanted(&told(20_000, 0, 0, 1)), 8);
    }

    #[test]
    fn while_some_that_are_there_are_idle_none_is_tried() {
        let mut idle = Idle::default();
        assert_eq!(idle.wanted(&seen(0, 0, 8)), 8);
        for second in (5..2_000).step_by(5) {
            let some_idle = Seen {
                busy: Some(1),
                ..seen(second, u64::from(second == 5) * 5, 3)
            };
            assert_eq!(idle.wanted(&some_idle), 3, "at {second}");
        }
    }
}
