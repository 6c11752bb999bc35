//! A task that runs in simulated time: it is computed piece by piece, and between two pieces time passes.
//!
//! Owns the stack that a task runs on, and how it pauses. When it goes on, and what it is told then, the simulated slave
//! decides.
//!
//! ```text
//! slave    begin ─────────► resume                  resume ───────►
//! task              computes       pauses . . . . .         computes   returns
//! ```
//!
//! The task runs on the world's own thread, on a stack of its own, so a pause costs a few nanoseconds and nothing has to
//! be `Send`. One that is given up in the midst is unwound: what it holds is dropped.

use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::rc::Rc;
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};

use crate::proto::slave::Output;
use crate::typed::cx::Cx;
use crate::typed::host::Host;
use crate::typed::tag::RunError;

/// Bytes of a task's stack: as many as a main thread usually has. Pages that are not touched cost nothing.
const STACK_BYTES: usize = 8 << 20;

/// Most stacks that a thread keeps for the next tasks.
const STACKS_KEPT: usize = 32;

thread_local! {
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
}

/// Why a task pauses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pause {
    /// It looks around: time may pass.
    Look,
    /// It asks whether slaves are hungry.
    AsksHungry,
    /// It makes checkpoints.
    MakesCheckpoints,
    /// It has come so far: words drawn, hash of the state's type, the state.
    Checkpoint(u128, u64, Vec<u8>),
    /// It is so far.
    Progress(u64, u64),
    /// It asks whether somebody listens.
    IsOpen,
    /// It says this.
    Say(Vec<u8>),
    /// It hears, and waits no longer than this.
    Hear(Option<Duration>),
}

/// What a task is told when it goes on.
#[derive(Debug)]
pub(super) enum Wake {
    On,
    /// What it asked for cannot be.
    Refused(String),
    /// Whether somebody listens, or has been told.
    Is(bool),
    /// This is said to it.
    Heard(Option<Vec<u8>>),
}

/// A task's surroundings and what came of it.
pub(super) type Computed = (Cx, Result<Output, RunError>);

/// A task that has begun and not ended.
pub(super) struct Routine {
    /// `None` while it is resumed, and once it has returned.
    routine: Option<Coroutine<Wake, Pause, Computed, DefaultStack>>,
}

/// What came of resuming a task.
pub(super) enum Resumed {
    Paused(Pause),
    Returned(Box<Computed>),
}

impl Routine {
    /// A task that begins when it is resumed first. It pauses by the `host`, which is its slave's.
    pub(super) fn new(host: &Rc<Pauses>, task: impl FnOnce() -> Computed + 'static) -> Self {
        let stack = STACKS.with_borrow_mut(Vec::pop);
        let stack = stack.unwrap_or_else(|| {
            DefaultStack::new(STACK_BYTES)
                .unwrap_or_else(|error| panic!("no stack for a simulated task: {error}"))
        });
        let host = Rc::clone(host);
        let routine = Coroutine::with_stack(stack, move |yielder, _: Wake| {
            let _inside = Inside::enter(&host, yielder);
            task()
        });
        Self {
            routine: Some(routine),
        }
    }

    /// Lets the task go on to its next pause, or to its end.
    pub(super) fn resume(&mut self, wake: Wake) -> Resumed {
        let routine = self.routine.as_mut().expect("it has not returned");
        match routine.resume(wake) {
            CoroutineResult::Yield(pause) => Resumed::Paused(pause),
            CoroutineResult::Return(computed) => {
                self.keep_stack();
                Resumed::Returned(Box::new(computed))
            }
        }
    }

    fn keep_stack(&mut self) {
        let stack = self.routine.take().map(Coroutine::into_stack);
        STACKS.with_borrow_mut(|stacks| {
            stacks.extend(stack.filter(|_| stacks.len() < STACKS_KEPT));
        });
    }
}

impl Drop for Routine {
    /// Unwinds a task that has not returned.
    fn drop(&mut self) {
        if let Some(routine) = &mut self.routine {
            routine.force_unwind();
            self.keep_stack();
        }
    }
}

/// How the tasks of one slave pause.
#[derive(Default)]
pub(super) struct Pauses {
    /// The way out of the task that runs; `None` between two tasks.
    yielder: Cell<Option<NonNull<Yielder<Wake, Pause>>>>,
    looks: Cell<u64>,
    pub(super) checkpoint_due: Cell<bool>,
    /// The look at which time passes next.
    pauses_at: Cell<u64>,
}

/// Time passes at each of so many looks of a task, then at ever fewer of them:
const LOOKS_ALL: u64 = 32;
/// at one of so many in the end. A task that looks a million times is simulated in a second, one that does nothing but
/// look is, too.
const LOOKS_APART_MAX: u64 = 1_024;

impl Pauses {
    fn pause(&self, pause: Pause) -> Wake {
        let yielder = self.yielder.get().expect("a task pauses while it runs");
        // SAFETY: it is the yielder of the running task, which lives until that task's function has returned; `Inside`
        // takes it out of the cell before that, when it unwinds, too.
        unsafe { yielder.as_ref() }.suspend(pause)
    }
}

impl Host for Pauses {
    fn looks(&self) -> bool {
        true
    }

    fn asks_hungry(&self) {
        self.pause(Pause::AsksHungry);
    }

    fn makes_checkpoints(&self) {
        self.pause(Pause::MakesCheckpoints);
    }

    fn checkpoint_is_due(&self) -> bool {
        self.checkpoint_due.get()
    }

    fn checkpoint(&self, draws: u128, state_type: u64, state: &[u8]) {
        let made = self.pause(Pause::Checkpoint(draws, state_type, state.to_vec()));
        if let Wake::Refused(reason) = made {
            panic!("{reason}");
        }
    }

    fn progress(&self, done: u64, total: u64) {
        self.pause(Pause::Progress(done, total));
    }

    fn is_open(&self) -> bool {
        matches!(self.pause(Pause::IsOpen), Wake::Is(true))
    }

    fn say(&self, message: Vec<u8>) -> Result<bool, String> {
        self.look();
        match self.pause(Pause::Say(message)) {
            Wake::Refused(reason) => Err(reason),
            wake => Ok(matches!(wake, Wake::Is(true))),
        }
    }

    fn hear(&self, timeout: Option<Duration>) -> Option<Vec<u8>> {
        self.look();
        match self.pause(Pause::Hear(timeout)) {
            Wake::Heard(message) => message,
            _ => None,
        }
    }

    fn look(&self) {
        let looks = self.looks.get() + 1;
        self.looks.set(looks);
        if looks >= self.pauses_at.get() && self.yielder.get().is_some() {
            let apart = match looks < LOOKS_ALL {
                true => 1,
                false => (looks / LOOKS_ALL).min(LOOKS_APART_MAX),
            };
            self.pauses_at.set(looks + apart);
            self.pause(Pause::Look);
        }
    }
}

/// The way out of a task stands in its slave's cell while it runs, however it ends.
struct Inside<'h>(&'h Pauses);

impl<'h> Inside<'h> {
    fn enter(host: &'h Pauses, yielder: &Yielder<Wake, Pause>) -> Self {
        host.yielder.set(Some(NonNull::from(yielder)));
        host.looks.set(0);
        host.pauses_at.set(0);
        Inside(host)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.yielder.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    fn begin(task: impl FnOnce(&Rc<Pauses>) + 'static) -> (Routine, Rc<Pauses>) {
        let host = Rc::new(Pauses::default());
        let inner = Rc::clone(&host);
        let routine = Routine::new(&host, move || {
            task(&inner);
            (Cx::for_test(1), Ok(Output::from(&[7][..])))
        });
        (routine, host)
    }

    #[test]
    fn a_task_pauses_where_it_looks_and_goes_on_there() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let inner = Rc::clone(&seen);
        let (mut routine, host) = begin(move |host| {
            for step in 0..3 {
                inner.borrow_mut().push(step);
                host.look();
            }
        });
        for step in 0..3 {
            assert!(matches!(
                routine.resume(Wake::On),
                Resumed::Paused(Pause::Look)
            ));
            assert_eq!(seen.borrow().last(), Some(&step));
        }
        let Resumed::Returned(computed) = routine.resume(Wake::On) else {
            panic!("it has ended");
        };
        assert_eq!(computed.1, Ok(Output::from(&[7][..])));
        // Between two tasks nothing pauses.
        host.look();
    }

    #[test]
    fn two_tasks_pause_in_turns() {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let mut routines: Vec<_> = (0..2)
            .map(|which| {
                let seen = Rc::clone(&seen);
                begin(move |host| {
                    for step in 0..3 {
                        seen.borrow_mut().push((step, which));
                        host.look();
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            for (routine, _) in &mut routines {
                routine.resume(Wake::On);
            }
        }
        let turns = [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)];
        assert_eq!(*seen.borrow(), turns);
    }

    #[test]
    fn what_a_task_holds_is_dropped_with_it_even_if_it_catches_panics() {
        let held = Rc::new(());
        let inner = Rc::clone(&held);
        let (mut routine, host) = begin(move |host| {
            let _held = inner;
            let caught = catch_unwind(AssertUnwindSafe(|| host.look()));
            assert!(caught.is_err());
            host.look();
        });
        routine.resume(Wake::On);
        assert_eq!(Rc::strong_count(&held), 2);
        drop(routine);
        assert_eq!(Rc::strong_count(&held), 1);
        host.look();
    }

    #[test]
    fn a_task_that_only_looks_pauses_ever_less() {
        let (mut routine, _) = begin(|host| (0..1_000_000).for_each(|_| host.look()));
        let mut pauses = 0;
        while let Resumed::Paused(_) = routine.resume(Wake::On) {
            pauses += 1;
        }
        assert!((900..1_500).contains(&pauses), "{pauses}");
    }
}
