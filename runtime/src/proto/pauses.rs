//! Tries that are made again after pauses, each twice the one before.

use std::time::Duration;

use ringmw_sched::Nanos;

/// The pauses between tries: from the first to the longest, each twice the one before.
#[derive(Clone, Debug)]
pub(crate) struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Pauses {
            first,
            longest,
            next: first,
        }
    }

    /// The pause before the next try; the one after it is longer, up to the longest.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (2 * pause).min(self.longest);
        pause
    }

    /// A try was a good one: the next pause is the first again.
    pub(crate) fn restart(&mut self) {
        self.next = self.first;
    }
}

/// Tries to reach a master that goes on until its time is over.
#[derive(Clone, Debug)]
pub(crate) struct Tries {
    pauses: Pauses,
    until: Nanos,
}

impl Tries {
    /// Tries that are made until then, and once more.
    pub(crate) fn new(pauses: Pauses, until: Nanos) -> Self {
        Tries { pauses, until }
    }

    /// One has failed: how long the next one waits, or none if there is to be none. The last one is made when the time is over.
    pub(crate) fn on_failed(&mut self, now: Nanos) -> Option<Duration> {
        let left = self.until.checked_sub(now).filter(|left| *left > 0)?;
        Some(self.pauses.next().min(Duration::from_nanos(left)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Pauses, Tries};

    #[test]
    fn pauses_double_up_to_the_longest_and_the_last_try_is_when_the_time_is_over() {
        let second = Duration::from_secs(1);
        let mut tries = Tries::new(Pauses::new(second, 8 * second), 30_500_000_000);
        let (mut now, mut pauses) = (0, Vec::new());
        while let Some(pause) = tries.on_failed(now) {
            now += pause.as_nanos() as u64;
            pauses.push(pause.as_millis());
        }
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 8_000, 7_500]);
        assert_eq!(now, 30_500_000_000);
    }

    #[test]
    fn a_good_try_begins_anew() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(60));
        assert_eq!((pauses.next().as_secs(), pauses.next().as_secs()), (1, 2));
        pauses.restart();
        assert_eq!(pauses.next().as_secs(), 1);
    }
}
