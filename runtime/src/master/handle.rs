//! The handle: what every clone shares, how the state is reached, and what a master algorithm asks of it that has no
//! file of its own.

use std::any::TypeId;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Waker, ready};

use ringmw_sched::AlgorithmId;

use super::light::Spawned;
use super::passes::{Passes, Refused};
use super::save::Keeper;
use super::state::State;
use crate::io::clock::Clock;
use crate::proto::incumbents::{Direction, Incumbents};
use crate::typed::algorithm::Algorithm;
use crate::typed::best::{Best, BestKey};
use crate::typed::registry::Registry;
use crate::typed::rng::{OF_MASTER, Rng, Streams};
use crate::typed::wire::Wire;

/// The master algorithm's handle on the run: a cheap clone, for one thread, every method `&self`.
///
/// I/O goes on whenever the master algorithm awaits anything; between two awaits it owns the world.
#[derive(Clone)]
pub struct Master {
    pub(super) inner: Rc<Inner>,
}

pub(super) struct Inner {
    pub(super) state: RefCell<State>,
    pub(super) registry: Arc<Registry>,
    pub(super) clock: Clock,
    pub(super) seed: u64,
    pub(super) bests: Arc<Incumbents>,
    pub(super) driver: RefCell<Option<Waker>>,
    /// The algorithm that was asked for last: most ask for one again and again.
    pub(super) algorithm: Cell<(TypeId, AlgorithmId)>,
    pub(super) in_turn: Cell<bool>,
    pub(super) passes: Passes,
    pub(super) spawned: RefCell<Vec<Spawned>>,
    pub(super) keeper: RefCell<Option<Keeper>>,
}

impl Master {
    pub(crate) fn new(state: State, registry: Arc<Registry>, clock: Clock, seed: u64) -> Self {
        let bests = state.core.bests();
        Master {
            inner: Rc::new(Inner {
                state: RefCell::new(state),
                registry,
                clock,
                seed,
                bests,
                driver: RefCell::new(None),
                algorithm: Cell::new((TypeId::of::<()>(), AlgorithmId(0))),
                in_turn: Cell::new(false),
                passes: Passes::default(),
                spawned: RefCell::new(Vec::new()),
                keeper: RefCell::new(None),
            }),
        }
    }

    /// Looks at the state, with every task that was given; changes nothing else, and the driver need not know.
    pub(super) fn read<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        self.work(|state| {
            state.close();
            f(state)
        })
    }

    /// What is kept of calls, maps and conversations, of reservations, and of these by the scheduler.
    pub(crate) fn kept(&self) -> (usize, usize, usize) {
        self.read(|state| {
            let (waiting, held) = state.core.sched().reservations();
            (state.flows(), state.reservations(), waiting + held)
        })
    }

    /// Takes what was told to one owner, with the ends of every task that was given: nobody else need know.
    #[inline]
    pub(super) fn take<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        self.work(|state| {
            state.settle();
            f(state)
        })
    }

    /// Changes the state, with every task that was given; what comes of it is told, and the driver woken.
    ///
    /// No borrow outlives the call, and no user's code runs in it.
    pub(crate) fn act<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let value = self.work(|state| {
            state.settle();
            let value = f(state);
            state.dispatch();
            value
        });
        self.notify();
        value
    }

    /// Acts if there is reason to; else nothing changes, and the driver need not know.
    pub(super) fn act_if<T>(
        &self,
        has_reason: impl FnOnce(&mut State) -> bool,
        f: impl FnOnce(&mut State) -> T,
    ) -> Option<T> {
        self.work(has_reason).then(|| self.act(f))
    }

    /// Wakes the driver if this is not called from within its turn.
    pub(super) fn notify(&self) {
        if !self.inner.in_turn.get() {
            let driver = self.inner.driver.take();
            driver.into_iter().for_each(Waker::wake);
        }
    }

    pub(super) fn id_of<A: Algorithm>(&self) -> AlgorithmId {
        let (of, last) = self.inner.algorithm.get();
        if of == TypeId::of::<A>() {
            return last;
        }
        match self.inner.registry.index_of::<A>() {
            Some(index) => {
                let id = AlgorithmId(index.0);
                self.inner.algorithm.set((TypeId::of::<A>(), id));
                id
            }
            None => panic!(
                "`{name}` is not registered: add .algorithm::<{name}>() to the App in main",
                name = A::NAME
            ),
        }
    }

    /// An incumbent whose key only falls, beginning at `key`, for which there is no witness.
    ///
    /// # Panics
    /// If `key` is NaN, and with more than 4,096 minima and maxima in a run.
    pub fn minimum<K: BestKey, W: Wire>(&self, key: K) -> Best<K, W> {
        self.best(key, Direction::Minimum)
    }

    /// An incumbent whose key only rises, beginning at `key`, for which there is no witness.
    ///
    /// # Panics
    /// As for [`minimum`](Master::minimum).
    pub fn maximum<K: BestKey, W: Wire>(&self, key: K) -> Best<K, W> {
        self.best(key, Direction::Maximum)
    }

    fn best<K: BestKey, W: Wire>(&self, key: K, direction: Direction) -> Best<K, W> {
        match Best::add(&self.inner.bests, direction, key) {
            Ok(best) => best,
            Err(error) => panic!("{error}"),
        }
    }

    /// Does a heavy sum on a thread of its own, so that the slaves are served meanwhile.
    ///
    /// # Panics
    /// With `f`'s own panic.
    pub async fn blocking<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> T {
        if self.inner.clock.is_simulated() {
            // A thread of its own would take real time, which the simulated world does not have.
            tokio::task::yield_now().await;
            return f();
        }
        let refused = Refused::default();
        let mut sum = pin!(sums().spawn_blocking(f));
        let sum = std::future::poll_fn(|cx| {
            ready!(self.poll_pass(cx, &refused));
            sum.as_mut().poll(cx)
        });
        match sum.await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// Ends that were never told.
    pub(crate) fn left(&self) -> u64 {
        self.read(|state| {
            let flows = state.flows.iter().map(|(_, flow)| flow.untold());
            let flows: usize = flows.sum();
            state.core.sched().runnable() + (state.queue.untold() + flows) as u64
        })
    }

    /// The master's own random stream of an index: one of the run's seed and the index, and none of any task's. Each
    /// call begins it anew.
    pub fn rng_at(&self, index: u64) -> Rng {
        Streams::new(self.inner.seed, OF_MASTER).rng_at(index)
    }

    /// The run's seed.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }
}

/// The threads of heavy sums. Nobody waits for them when the run ends: a static is never dropped, while the end of the
/// driver's own runtime would wait for them, and Ctrl-C with it.
fn sums() -> &'static tokio::runtime::Runtime {
    static SUMS: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    SUMS.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("without drivers it asks nothing of the system")
    })
}
