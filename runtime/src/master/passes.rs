//! No await starves the run: passes of the driver, and who waits for one.
//!
//! I/O, timers, light threads and signals have their turn when the master algorithm waits. One whose every future has its
//! answer at once would never wait. So every future and stream of the master is asked through [`poll`] here: for
//! [`WITHOUT_PASS`] after a pass it gives what it has; then all of them are pending, by whomever and however often they
//! are asked, until the driver has made another one, which wakes those that were asked meanwhile. Nothing is lost by it:
//! an answer that is not given stays where it is.
//!
//! ```text
//!   pass          answers: the clock is read at each, then at every 2nd, 4th .. 64th      5 ms: pending          pass
//!   ──┬──────────────┬───────┬───────────────┬───────────────────────────────┬────────────────┬───────────────────┬──
//! ```
//!
//! Nor does one await starve another. Who was refused an answer has it after the next pass, though somebody else asks
//! first and without end: while such are owed theirs, half of the time is kept for them.
//!
//! `events` and its kin do not go by time: each call of them is a pass, or ends in one (see [`events`](super::events)).

use std::cell::{Cell, RefCell};
use std::task::{Context, Poll, Waker, ready};

use ringmw_sched::Nanos;

use super::handle::Master;
use super::state::State;
use crate::io::clock::Clock;

/// How long answers are given after a pass before another one must be made: 5 ms.
pub(crate) const WITHOUT_PASS: Nanos = 5_000_000;

/// Most answers between two readings of the clock, which costs as much as half an answer.
pub(crate) const ANSWERS_UNREAD_MAX: u32 = 64;

/// So many of those that wait for a pass are woken by the next one, and twice as many as were answered since the last one if
/// that is more: of a crowd whose answers are all there each pass would else wake all, and refuse almost all of them again.
const WOKEN_MIN: usize = 1_024;

/// What an answer takes under a simulated clock, which stands still while the master algorithm runs.
const SIMULATED_ANSWER: Nanos = WITHOUT_PASS / ANSWERS_UNREAD_MAX as Nanos;

/// The passes of a driver so far, and what has been answered since the last one.
#[derive(Default)]
pub(super) struct Passes {
    made: Cell<u64>,
    /// When the last one was made.
    since: Cell<Nanos>,
    /// No answer is given before the next one.
    due: Cell<bool>,
    /// Answers that are given before the clock is read.
    unread: Cell<u32>,
    /// Answers between the last reading of the clock and the next one.
    stride: Cell<u32>,
    /// What it showed then.
    read: Cell<Nanos>,
    /// What answers have taken since the last pass under a simulated clock.
    simulated: Cell<Nanos>,
    /// Refused since the last pass.
    refused: Cell<usize>,
    /// Of those that were refused before the last pass, those who have not been answered since.
    owed: Cell<usize>,
    /// Answers that may have been given since the last pass: as many as were granted.
    granted: Cell<usize>,
    /// One of them has been answered for whom it was too late.
    late: Cell<bool>,
    /// Woken by the next one.
    waiting: RefCell<Vec<Waker>>,
    /// How often somebody has worked on the state, ever.
    worked: Cell<u64>,
}

/// Whether a future or stream was refused its answer, and when.
#[derive(Default)]
pub(super) struct Refused {
    /// The number of the pass that it waits for, or waited for; 0 where it does not.
    by: Cell<u64>,
}

impl Passes {
    /// Passes so far.
    pub(super) fn made(&self) -> u64 {
        self.made.get()
    }

    /// What the clock showed when it was read last, which is not many answers ago.
    #[inline]
    pub(super) fn read_at(&self) -> Nanos {
        self.read.get()
    }

    /// Whether somebody waits for one.
    pub(super) fn is_asked(&self) -> bool {
        !self.waiting.borrow().is_empty()
    }

    /// One has been made, and this is when it was; so many of those that waited for it wait on for the next one.
    fn made_one(&self, now: Nanos, left: usize) {
        self.made.set(self.made.get() + 1);
        self.since.set(now);
        self.read.set(now);
        self.simulated.set(0);
        self.due.set(false);
        self.owed.set(self.refused.take() + left);
        self.granted.set(0);
        self.late.set(false);
        // The first answer is given however long the algorithm takes to ask: else it might never have one.
        self.stride.set(1);
        self.unread.set(1);
    }

    /// Whether an answer may be given.
    #[inline]
    fn may_answer(&self, clock: &Clock, who: &Refused) -> bool {
        self.answers_unread(who) || self.judge(clock, who)
    }

    /// Whether an answer may be given before the clock is read again.
    #[inline]
    fn answers_unread(&self, who: &Refused) -> bool {
        let unread = self.unread.get();
        let answers = unread > 0 && who.by.get() == 0;
        if answers {
            self.unread.set(unread - 1);
        }
        answers
    }

    /// Whether an answer may be given, by the clock.
    #[inline(never)]
    fn judge(&self, clock: &Clock, who: &Refused) -> bool {
        let by = who.by.get();
        let (is_owed, is_early) = (by > 0 && by <= self.made(), self.is_early(clock, by));
        if !is_early && (!is_owed || self.late.replace(true)) {
            self.unread.set(0);
            if by != self.made() + 1 {
                who.by.set(self.made() + 1);
                self.refused.set(self.refused.get() + 1);
            }
            return false;
        }
        if is_owed {
            self.owed.set(self.owed.get().saturating_sub(1));
        }
        // Who was refused reads the clock for itself alone.
        let granted = if by == 0 { self.unread.get() + 1 } else { 1 };
        self.granted.set(self.granted.get() + granted as usize);
        who.by.set(0);
        true
    }

    /// Reads the clock: whether it is too early for another pass, for one who waited for the pass of number `by`.
    fn is_early(&self, clock: &Clock, by: u64) -> bool {
        if self.due.get() {
            return false;
        }
        let mut now = clock.now();
        if clock.is_simulated() {
            let answers = self.simulated.get() + SIMULATED_ANSWER * Nanos::from(self.stride.get());
            self.simulated.set(answers);
            now += answers;
        }
        let passed = now.saturating_sub(self.since.get());
        self.due.set(passed >= WITHOUT_PASS);
        let others_are_owed = by == 0 && self.owed.get() > 0;
        if self.due.get() || others_are_owed && passed >= WITHOUT_PASS / 2 {
            return false;
        }
        // Quick answers are not worth a look each; of slow ones each may be the last.
        let quick = now - self.read.get() < WITHOUT_PASS / Nanos::from(ANSWERS_UNREAD_MAX);
        let stride = match quick {
            true => (2 * self.stride.get()).min(ANSWERS_UNREAD_MAX),
            false => 1,
        };
        self.read.set(now);
        self.stride.set(stride);
        self.unread.set(stride - 1);
        true
    }
}

/// What may be asked for an answer of the master.
pub(super) trait Waits {
    /// The master that it is of.
    fn master(&self) -> &Master;

    /// Whether it was refused its answer.
    fn refused(&self) -> &Refused;

    /// Whether its answer may be there. Who surely has none waits for that, and for no pass: else of many that wait each
    /// pass would wake all.
    fn has_answer(&self) -> bool {
        true
    }

    /// Keeps the waker of who waits for it, and gives back one that it kept before.
    fn keep(&self, waker: Waker) -> Option<Waker>;
}

/// The one way in which a future or stream of the master is polled: `take` gives the answer if there is one.
///
/// Wakers may be anybody's code, also where they are cloned and dropped: nothing is borrowed there.
#[inline]
pub(super) fn poll<W: Waits, T>(
    waits: &mut W,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut W) -> Poll<T>,
) -> Poll<T> {
    if !waits.master().inner.passes.answers_unread(waits.refused()) {
        if !waits.has_answer() {
            return wait(waits, cx, &mut take, false);
        }
        ready!(waits.master().poll_pass(cx, waits.refused()));
    }
    let answer = take(waits);
    if answer.is_ready() {
        return answer;
    }
    wait(waits, cx, &mut take, true)
}

/// There is no answer yet. Apart, so that the way of those who have theirs stays short enough to stand where they ask.
#[cold]
#[inline(never)]
fn wait<W: Waits, T>(
    waits: &mut W,
    cx: &mut Context<'_>,
    take: &mut dyn FnMut(&mut W) -> Poll<T>,
    was_asked: bool,
) -> Poll<T> {
    let worked = waits.master().inner.passes.worked.get();
    let waker = cx.waker().clone();
    // Cloning it may have used the master: its answer may be there now.
    if !was_asked || waits.master().inner.passes.worked.get() != worked {
        let answer = take(waits);
        if answer.is_ready() {
            return answer;
        }
    }
    drop(waits.keep(waker));
    Poll::Pending
}

impl Master {
    /// Whether an answer that is there may be given: who is told so gives it.
    #[inline]
    pub(super) fn may_answer(&self, who: &Refused) -> bool {
        self.inner.passes.may_answer(&self.inner.clock, who)
    }

    /// Ready unless a pass of the driver must be made before anything is answered.
    #[inline]
    pub(super) fn poll_pass(&self, cx: &mut Context<'_>, who: &Refused) -> Poll<()> {
        if self.may_answer(who) {
            return Poll::Ready(());
        }
        self.ask_for_pass(cx.waker());
        Poll::Pending
    }

    /// The next pass is made soon, and wakes this waker.
    pub(super) fn ask_for_pass(&self, waker: &Waker) {
        let waiting = &self.inner.passes.waiting;
        // Many futures of one task ask one after another.
        let is_known = matches!(waiting.borrow().last(), Some(last) if last.will_wake(waker));
        if !is_known {
            let waker = waker.clone();
            waiting.borrow_mut().push(waker);
        }
        self.notify();
    }

    /// The driver has made a pass.
    pub(crate) fn on_pass(&self) {
        let passes = &self.inner.passes;
        let mut waiting = passes.waiting.take();
        // Who asked first used the time up, and comes last: whoever wakes in this order goes round.
        if !waiting.is_empty() {
            waiting.rotate_left(1);
        }
        let woken = WOKEN_MIN.max(2 * passes.granted.get()).min(waiting.len());
        let left = waiting.split_off(woken);
        passes.made_one(self.inner.clock.now(), left.len());
        // They come before whoever asks from now on.
        passes.waiting.replace(left);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether somebody waits for a pass.
    pub(crate) fn asks_for_pass(&self) -> bool {
        self.inner.passes.is_asked()
    }

    /// Passes of the driver so far.
    pub(crate) fn passes(&self) -> u64 {
        self.inner.passes.made()
    }

    /// Works on the state, then wakes those who waited for what came of it: while it is borrowed no waker is called.
    #[inline]
    pub(crate) fn work<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let worked = &self.inner.passes.worked;
        worked.set(worked.get() + 1);
        let mut state = self.inner.state.borrow_mut();
        let value = f(&mut state);
        if state.woken.is_empty() {
            return value;
        }
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        value
    }
}
