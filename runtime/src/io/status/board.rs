//! What the master's thread leaves for those who look at the run, and what they leave for it.
//!
//! The master's thread writes and goes on; it never waits for a reader but for the time of a pointer's exchange.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ringmw_codec::Nanos;
use ringmw_codec::status::{Status, Told};
use tokio::sync::oneshot;

/// Somebody who has asked within this time still looks.
const LOOKS_FOR: Duration = Duration::from_secs(3);

/// A turn of the master algorithm shorter than this is no holding of the thread.
const HELD_FROM: Duration = Duration::from_millis(200);

/// What only the master's thread knows, and where its answer goes.
pub(crate) struct Question {
    /// `TASK-7`, `SLAVE-3` or a host's name.
    pub(crate) about: String,
    pub(crate) answer: oneshot::Sender<Told>,
}

/// The place where both meet.
pub(crate) struct Board {
    latest: Mutex<Arc<Status>>,
    start: Instant,
    /// When the latest was put there; nanoseconds since the start, as all below.
    published: AtomicU64,
    /// When somebody looked last, and 1; 0 for never.
    looked: AtomicU64,
    /// When the turn began in which the master algorithm is now, and 1; 0 if it is in none.
    turn: AtomicU64,
}

impl Board {
    /// `start` is the beginning of the clock that the master's thread goes by.
    pub(crate) fn new(start: Instant, first: Status) -> Self {
        Board {
            latest: Mutex::new(Arc::new(first)),
            start,
            published: AtomicU64::new(0),
            looked: AtomicU64::new(0),
            turn: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX - 1)
    }

    fn since(&self, at: u64) -> Duration {
        Duration::from_nanos(self.now().saturating_sub(at))
    }

    // ---- the master's thread

    /// From here on this is how the run does.
    pub(crate) fn publish(&self, status: Status) {
        let status = Arc::new(status);
        let before = std::mem::replace(
            &mut *self.latest.lock().unwrap_or_else(PoisonError::into_inner),
            status,
        );
        self.published.store(self.now(), Ordering::Relaxed);
        // Outside of the lock: it may be the last who holds it, and thousands of slaves are in it.
        drop(before);
    }

    /// Whether somebody has looked within the last seconds.
    pub(crate) fn is_looked_at(&self) -> bool {
        match self.looked.load(Ordering::Relaxed) {
            0 => false,
            at => self.since(at - 1) < LOOKS_FOR,
        }
    }

    /// It is `now`, and the master algorithm has the thread from here on, until [`give_back`](Self::give_back).
    pub(crate) fn lend(&self, now: Nanos) {
        self.turn.store(now + 1, Ordering::Relaxed);
    }

    pub(crate) fn give_back(&self) {
        self.turn.store(0, Ordering::Relaxed);
    }

    // ---- those who look

    /// For how long the master algorithm has held the thread; nothing for as long as any turn may take.
    pub(crate) fn held(&self) -> Duration {
        let held = match self.turn.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            at => self.since(at - 1),
        };
        if held < HELD_FROM {
            Duration::ZERO
        } else {
            held
        }
    }

    /// How the run does, as it was published last, with its age.
    pub(crate) fn look(&self) -> Status {
        self.looked.store(self.now() + 1, Ordering::Relaxed);
        let latest = Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner));
        let mut status = Status::clone(&latest);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        status.age_ms = ms(self.since(self.published.load(Ordering::Relaxed)));
        status.held_ms = ms(self.held());
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_is_noticed_and_sees_the_latest() {
        let board = Board::new(Instant::now(), Status::default());
        assert!(!board.is_looked_at(), "nobody has come");
        assert_eq!(board.look().tasks.done, 0);
        assert!(board.is_looked_at());
        let mut status = Status::default();
        status.tasks.done = 7;
        board.publish(status);
        assert_eq!(board.look().tasks.done, 7);
    }

    #[test]
    fn a_thread_that_is_lent_for_long_is_held() {
        let start = Instant::now() - Duration::from_secs(60);
        let board = Board::new(start, Status::default());
        board.lend(board.now());
        assert_eq!(
            board.held(),
            Duration::ZERO,
            "for as long as any turn takes"
        );
        board.lend(board.now() - 30_000_000_000);
        assert!(board.held() >= Duration::from_secs(30));
        assert!(board.look().held_ms >= 30_000);
        board.give_back();
        assert_eq!(board.look().held_ms, 0);
    }
}
