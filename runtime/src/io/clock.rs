//! The one place that reads the clocks: monotonic nanoseconds for the cores, wall time for the trail.

use std::cell::Cell;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ringmw_sched::Nanos;

/// Monotonic time since the start of the process's part in a run.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Clock {
    start: Instant,
    simulated: bool,
}

thread_local! {
    /// What a simulated clock of this thread shows.
    static SIMULATED: Cell<Nanos> = const { Cell::new(0) };
}

impl Clock {
    pub(crate) fn start() -> Self {
        Clock {
            start: Instant::now(),
            simulated: false,
        }
    }

    /// A clock that shows what [`Clock::set`] was told last on this thread: the simulated world's.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn simulated() -> Self {
        SIMULATED.set(0);
        Clock {
            start: Instant::now(),
            simulated: true,
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn set(now: Nanos) {
        SIMULATED.set(now);
    }

    /// A simulated clock of this thread goes on by so much although nobody waits: its thread is held.
    pub(crate) fn hold(time: std::time::Duration) {
        let time = Nanos::try_from(time.as_nanos()).unwrap_or(Nanos::MAX);
        SIMULATED.set(SIMULATED.get().saturating_add(time));
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated
    }

    pub(crate) fn now(&self) -> Nanos {
        if self.simulated {
            return SIMULATED.get();
        }
        u64::try_from(self.start.elapsed().as_nanos()).expect("a run is shorter than 584 years")
    }

    pub(crate) fn instant(&self, at: Nanos) -> Instant {
        self.start + std::time::Duration::from_nanos(at)
    }
}

/// For how long this thread has computed so far.
pub(crate) fn thread_time() -> Nanos {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Unix time in microseconds.
pub(crate) fn unix_micros() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}
