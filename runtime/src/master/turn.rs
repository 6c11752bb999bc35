//! The order of one turn: take, judge, the application, hand out, effects. The driver and the simulated
//! world both go by it.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ringmw_codec::frame::Block;
use ringmw_sched::Nanos;

use super::handle::Master;
use super::light::Spawned;
use super::passes::Refused;
use super::state::State;
use crate::io::engine::{Closed, ConnId, Handler, Want};
use crate::io::secret_file;
use crate::io::signals::Leave;
use crate::proto::conn::Effect;
use crate::proto::master::MasterCore;

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ending<R> {
    /// The master algorithm returned.
    Returned(R),
    /// The master algorithm, or a light thread, panicked.
    Panicked(Box<dyn std::any::Any + Send>),
    /// SIGINT, SIGTERM or SIGHUP.
    Signal(Leave),
    /// A later life of the run has begun.
    Superseded(String),
    /// The run cannot go on for a reason that comes from outside, such as no slave that starts.
    Stopped(String),
}

impl<R> Ending<R> {
    /// Nobody is to begin the run again: its slaves leave for good.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Ending::Signal(signal) => signal.is_stop(),
            Ending::Superseded(_) => false,
            Ending::Returned(_) | Ending::Panicked(_) | Ending::Stopped(_) => true,
        }
    }
}

/// The turn begins: what has come becomes frames, frames become facts, ends go to their owners.
///
/// `take` gives the core the engine's facts, all of them or a share, and says whether that were all.
pub(crate) fn begin(
    state: &mut State,
    now: Nanos,
    take: impl FnOnce(Want, &mut MasterCore) -> io::Result<bool>,
) -> io::Result<bool> {
    state.close();
    state.core.begin_turn(now);
    let want = match state.core.must_judge() {
        true => Want::All,
        false => Want::Share,
    };
    let caught_up = take(want, &mut state.core)?;
    state.core.check_overdue(caught_up);
    state.dispatch();
    // What has come is taken first, then it is judged who is late.
    if caught_up && state.expire_returns(now) {
        state.dispatch();
    }
    Ok(caught_up)
}

/// The application's part: the light threads that were woken, the master algorithm, and unless it has returned the light
/// threads again, until all wait.
///
/// Light threads come first, since a timer that woke one is late already, and the master algorithm may take long.
pub(crate) fn application<R>(
    mw: &Master,
    algorithm: Pin<&mut (impl Future<Output = R> + ?Sized)>,
    light: &mut FuturesUnordered<Spawned>,
    cx: &mut Context<'_>,
) -> Option<Ending<R>> {
    let run = catch_unwind(AssertUnwindSafe(|| {
        poll_light(mw, light, cx);
        let returned = algorithm.poll(cx);
        if returned.is_pending() {
            poll_light(mw, light, cx);
        }
        returned
    }));
    match run {
        Ok(Poll::Ready(value)) => Some(Ending::Returned(value)),
        Ok(Poll::Pending) => None,
        Err(panic) => Some(Ending::Panicked(panic)),
    }
}

/// Runs the light threads. What they spawn runs too, until a pass is due: each of them may spawn the next.
fn poll_light(mw: &Master, light: &mut FuturesUnordered<Spawned>, cx: &mut Context<'_>) {
    let refused = Refused::default();
    loop {
        // Taken out first: nothing is borrowed while they run.
        let spawned = mw.inner.spawned.take();
        light.extend(spawned);
        while let Poll::Ready(Some(())) = light.poll_next_unpin(cx) {}
        if mw.inner.spawned.borrow().is_empty() || mw.poll_pass(cx, &refused).is_pending() {
            return;
        }
    }
}

impl Master {
    /// From here to [`Master::leave_turn`] the driver need not be woken.
    pub(crate) fn enter_turn(&self) {
        self.inner.in_turn.set(true);
    }

    /// The turn is over; `waker` is the driver's.
    pub(crate) fn leave_turn(&self, waker: &Waker) {
        self.inner.in_turn.set(false);
        let mut driver = self.inner.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *driver = Some(waker.clone());
        }
        drop(driver);
        if self.asks_for_pass() {
            waker.wake_by_ref();
        }
    }

    /// What the run's clock shows.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn now(&self) -> Nanos {
        self.inner.clock.now()
    }

    /// Light threads end with the master algorithm.
    pub(crate) fn forget_spawned(&self) {
        let spawned = self.inner.spawned.take();
        // What they drop may use the master.
        drop(spawned);
    }
}

/// The application has had its part: tasks are handed out and every effect is performed, once it has been
/// [sealed](MasterCore::seal).
///
/// `load` is asked for a line of state: in how many of a thousand parts of the time since it was asked last the master's
/// thread was busy.
pub(crate) fn end(
    state: &mut State,
    load: impl FnOnce() -> Option<u64>,
    mut perform: impl FnMut(&mut MasterCore, Effect),
) {
    state.close();
    state.core.hand_out();
    state.say_waiting();
    state.core.say_lacking();
    state.dispatch();
    state.core.say_state(load);
    while let Some(effect) = state.core.poll_effect() {
        perform(&mut state.core, effect);
    }
}

/// The engine's facts, given to the core.
pub(crate) struct ToCore<'a>(pub(crate) &'a mut MasterCore);

impl Handler for ToCore<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.0.on_accept(conn, peer);
        if self.0.has_secret() {
            self.0.on_key(conn, secret_file::draw_key());
        }
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.0.on_received(conn, bytes, &mut |_| ());
    }

    fn is_long(&self, conn: ConnId) -> bool {
        self.0.is_long(conn)
    }

    fn lend(&mut self, conn: ConnId) -> Option<Block> {
        self.0.lend(conn)
    }

    fn on_block(&mut self, conn: ConnId, bytes: Vec<u8>, more: usize) {
        self.0.on_block(conn, bytes, more, &mut |_| ());
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.0.on_sent(conn, buffer, drained);
    }

    fn on_sent_shared(&mut self, conn: ConnId, bytes: usize, drained: bool) {
        self.0.on_sent_shared(conn, bytes, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.0.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: io::Error) {
        self.0.on_accept_error(&error);
    }
}
