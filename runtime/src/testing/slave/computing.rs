//! A round of a simulated slave's main thread: it begins a task, goes on with it, tells its end.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use ringmw_codec::control::GoodbyeCode;
use ringmw_codec::log::{Log, LogLevel};
use ringmw_sched::{Nanos, SlaveId};

use super::{Computing, LONG, SimSlave, Step, Waits};
use crate::proto::SECOND;
use crate::proto::incumbents::OfferSink;
use crate::proto::slave::{Assignment, Next, Output, SlaveCore, Talked};
use crate::slave::compute;
use crate::testing::coroutine::{Computed, Pause, Resumed, Routine, Wake};
use crate::typed::cx::Cx;
use crate::typed::host::Host;
use crate::typed::registry::Registry;
use crate::typed::tag::RunError;
use crate::typed::wire::WireError;

/// A look of a task that has computed for its time takes so long: one that only looks until it is cancelled hears of it.
const LOOK: Nanos = SECOND / 200;

/// How a task ends its slave, if it does.
fn deadly(rng: &mut ChaCha8Rng) -> Option<GoodbyeCode> {
    match rng.random_range(0..40) {
        0 => Some(GoodbyeCode::Ended),
        1 => Some(GoodbyeCode::Signalled),
        2 => Some(GoodbyeCode::Memory),
        _ => None,
    }
}

impl SimSlave {
    /// One round of the main thread.
    pub(super) fn compute(&mut self, now: Nanos, rng: &mut ChaCha8Rng) -> Step {
        if self.deaf {
            self.compute_at = Nanos::MAX;
            return Step::On;
        }
        if let Some(computing) = &mut self.computing {
            let mut offered = Vec::new();
            while computing.offers.first().is_some_and(|offer| offer.0 <= now) {
                let (_, best, image, witness) = computing.offers.remove(0);
                match self.core.offer(best, image, &witness) {
                    Ok(()) => offered.push((best, image)),
                    Err(reason) => {
                        computing.refused.get_or_insert(reason);
                    }
                }
            }
            for (best, image) in offered {
                self.owe(best, image);
            }
            self.nudge(now);
            let is_due = self
                .computing
                .as_ref()
                .is_some_and(|computing| computing.wake_at.is_some_and(|at| at <= now));
            let goes_on = self.served(now);
            if let Some(wake) = goes_on {
                self.go_on_computing(wake, now, rng);
            } else if is_due && !self.finish(now) {
                self.go_on_computing(Wake::On, now, rng);
            }
            if self.computing.is_some() {
                self.compute_at = Nanos::MAX;
                return Step::On;
            }
            self.compute_at = now;
        }
        if self.compute_at > now {
            return Step::On;
        }
        self.compute_at = Nanos::MAX;
        self.learn();
        let next = self.core.next_task(now);
        match &next {
            Next::Run(assignment) if !assignment.converses => self.nudge_beside_task(now),
            _ => self.nudge(now),
        }
        match next {
            Next::Run(assignment) => {
                let task = assignment.task;
                self.begin(assignment, now, rng);
                Step::Begins(task)
            }
            Next::Wait | Next::Stop(_) => Step::On,
        }
    }

    pub(super) fn learn(&mut self) {
        let learned = self.core.take_learned();
        if let Some(back) = &mut self.back
            && std::mem::take(&mut back.must_forget)
        {
            let forgets = learned.as_ref().is_some_and(|learned| learned.forgets);
            assert!(
                forgets,
                "a slave comes back, and knows what a former life told it"
            );
        }
        if let Some(learned) = learned {
            self.bests.take(&learned);
        }
    }

    fn begin(&mut self, assignment: Assignment, now: Nanos, rng: &mut ChaCha8Rng) {
        self.bests.set_hungry(self.core.is_hungry());
        self.cancelled
            .store(self.core.is_cancelled(), Ordering::Relaxed);
        let mut length = rng.random_range(self.pace.compute_min..=self.pace.compute_max);
        if rng.random_range(0..100) < self.pace.long_percent {
            length *= LONG;
        }
        self.log(assignment.task, now);
        let cx = self.cx.take().unwrap_or_else(|| self.surroundings());
        let registry = Arc::clone(&self.registry);
        let (task, algorithm) = (assignment.task, assignment.algorithm);
        self.given.clone_from(&assignment.shared);
        let routine = Routine::new(&self.pauses, move || run(&registry, &assignment, cx));
        self.computing = Some(Computing {
            task,
            algorithm,
            begun: now,
            until: now + length,
            routine,
            waits: None,
            wake_at: None,
            outcome: None,
            refused: None,
            offers: Vec::new(),
        });
        self.go_on_computing(Wake::On, now, rng);
    }

    /// A task logs as it begins: nothing, some lines, or more than may be said.
    fn log(&mut self, task: u64, now: Nanos) {
        let Some(asked) = self.core.log_level() else {
            return;
        };
        let (lines, bytes) = match task % 7 {
            0 => (300, 100),
            1 => (20, 3_000),
            other => (other % 4, 30),
        };
        for nth in 0..lines {
            let level = LogLevel::ALL[(task + nth) as usize % 5];
            let mut text = format!("{nth} of {lines}");
            text.extend(std::iter::repeat_n('.', bytes as usize));
            self.core.log(level, &text, now);
            if level <= asked {
                text.truncate(Log::TEXT_BYTES_MAX);
                self.logged.push((level, Some(task), text));
            }
        }
    }

    /// What a task that waits for its conversation goes on with, once that is there.
    fn served(&mut self, now: Nanos) -> Option<Wake> {
        if self.hangs {
            return None;
        }
        let computing = self.computing.as_mut()?;
        let (wake, over) = match computing.waits.as_ref()? {
            Waits::ToSay(message) => (say(&mut self.core, message), false),
            Waits::ToHear(until) => (listen(&mut self.core), *until <= now),
        };
        let wake = wake.or(over.then_some(Wake::Heard(None)))?;
        computing.waits = None;
        Some(wake)
    }

    /// What its tasks see of it.
    fn surroundings(&self) -> Cx {
        let welcome = self.core.welcome().expect("tasks come after it");
        Cx::new(
            SlaveId(welcome.slave),
            welcome.seed,
            welcome.args.clone().into(),
            Arc::clone(&self.cancelled),
            self.bests.clone(),
            Arc::clone(&self.offers) as Arc<dyn OfferSink>,
        )
        .with_host(Rc::clone(&self.pauses) as Rc<dyn Host>)
    }

    /// The task computes to its next pause, or to its end.
    fn go_on_computing(&mut self, mut wake: Wake, now: Nanos, rng: &mut ChaCha8Rng) {
        let computing = self.computing.as_mut().expect("a task computes");
        let left = computing.until.saturating_sub(now);
        let takes = loop {
            self.pauses
                .checkpoint_due
                .set(self.core.checkpoint_is_due(now));
            match computing
                .routine
                .resume(std::mem::replace(&mut wake, Wake::On))
            {
                Resumed::Returned(computed) => {
                    let (cx, outcome) = *computed;
                    self.cx = Some(cx);
                    computing.outcome = Some(outcome);
                    break left;
                }
                Resumed::Paused(Pause::Look) if left == 0 => break LOOK,
                Resumed::Paused(Pause::Look) => break rng.random_range(1..=left),
                Resumed::Paused(Pause::Progress(done, total)) => {
                    self.core.progress(done, total, now);
                }
                Resumed::Paused(Pause::IsOpen) => wake = Wake::Is(self.core.is_open()),
                Resumed::Paused(Pause::Say(message)) => match say(&mut self.core, &message) {
                    Some(said) => wake = said,
                    None => {
                        computing.waits = Some(Waits::ToSay(message));
                        break Nanos::MAX;
                    }
                },
                Resumed::Paused(Pause::Hear(timeout)) => match listen(&mut self.core) {
                    Some(heard) => wake = heard,
                    None if timeout == Some(Duration::ZERO) => wake = Wake::Heard(None),
                    None => {
                        let nanos = |time: Duration| u64::try_from(time.as_nanos());
                        let wait = timeout
                            .map_or(Nanos::MAX, |timeout| nanos(timeout).unwrap_or(Nanos::MAX));
                        let until = now.saturating_add(wait);
                        computing.waits = Some(Waits::ToHear(until));
                        break until - now;
                    }
                },
                Resumed::Paused(Pause::AsksHungry) => self.core.asks_hungry(),
                Resumed::Paused(Pause::MakesCheckpoints) => self.core.makes_checkpoints(now),
                Resumed::Paused(Pause::Checkpoint(draws, state_type, state)) => {
                    let made = self.core.checkpoint(draws, state_type, &state, now);
                    wake = made.map_or_else(Wake::Refused, |()| Wake::On);
                    if self.core.end().is_some() {
                        // It was told to go, and that was what it waited for.
                        self.io_at = now;
                    }
                }
            }
        };
        let offers = std::mem::take(&mut *self.offers.0.lock().expect("one thread"));
        for (best, image, witness) in offers {
            let at = now + rng.random_range(0..=takes.min(left));
            computing.offers.push((at, best, image, witness));
        }
        computing.offers.sort_by_key(|offer| offer.0);
        let wake_at = now.saturating_add(takes);
        computing.wake_at = (!self.hangs && wake_at < Nanos::MAX).then_some(wake_at);
        self.nudge(now);
    }

    /// Tells the end of a task that has returned; false if there is none.
    fn finish(&mut self, now: Nanos) -> bool {
        let Some(computing) = self
            .computing
            .take_if(|computing| computing.outcome.is_some())
        else {
            return false;
        };
        let (algorithm, compute) = (computing.algorithm, now - computing.begun);
        let returned = computing.outcome.expect("asked above");
        let outcome = computing
            .refused
            .map_or(returned, |why| Err(RunError::Failed(why)));
        let mut outcome = match outcome {
            Ok(_) if now < self.broken_until => {
                Err(RunError::Failed("this slave is broken".to_owned()))
            }
            outcome => outcome,
        };
        let is_slaves = matches!(
            outcome,
            Err(RunError::StateInit(_) | RunError::Surroundings(_))
        );
        let code = self.deadly.as_mut().and_then(deadly);
        if let Some(code) = code.filter(|_| self.core.end().is_none()) {
            self.core.blame(code, "its task ends it");
            self.io_at = now;
            self.nudge(now);
            return true;
        }
        if self.core.end().is_none() && !is_slaves {
            self.finished.push(computing.task);
        }
        match &mut outcome {
            Ok(output) => self.core.finish(algorithm, Ok(output), compute, now),
            Err(RunError::Failed(text)) => self.core.finish(algorithm, Err(text), compute, now),
            Err(RunError::Args(error)) => {
                let is_there = !matches!(error, WireError::SharedGone { .. });
                assert!(is_there, "a task begins without what it names: {error}");
                let text = format!("its arguments cannot be read: {error}");
                self.core.finish(algorithm, Err(&text), compute, now);
            }
            Err(RunError::StateInit(reason)) => {
                self.not_begun = Some(computing.task);
                self.core.leave(GoodbyeCode::StateInit, reason);
            }
            Err(RunError::Surroundings(reason)) => {
                self.core.leave(GoodbyeCode::Surroundings, reason);
            }
        }
        if self
            .returns_after
            .is_some_and(|tasks| self.core.completed() >= tasks)
        {
            let reason = "the slave algorithm returned";
            self.core.leave(GoodbyeCode::Other, reason);
        }
        if self.core.end().is_some() {
            self.io_at = now;
        }
        self.nudge_after(computing.task, compute, now);
        true
    }
}

/// A task says something, if that may go.
fn say(core: &mut SlaveCore, message: &[u8]) -> Option<Wake> {
    match core.say(message) {
        Ok(Talked::Now(is_said)) => Some(Wake::Is(is_said)),
        Ok(Talked::Wait) => None,
        Err(reason) => Some(Wake::Refused(reason)),
    }
}

/// A task hears something, if that is there.
fn listen(core: &mut SlaveCore) -> Option<Wake> {
    match core.hear() {
        Talked::Now(heard) => Some(Wake::Heard(heard.map(|message| message.to_vec()))),
        Talked::Wait => None,
    }
}

/// As a real slave computes.
fn run(registry: &Registry, assignment: &Assignment, mut cx: Cx) -> Computed {
    let mut output = Output::new();
    let outcome = compute(registry, assignment, &mut cx, output.buffer());
    (cx, outcome.map(|()| output))
}
