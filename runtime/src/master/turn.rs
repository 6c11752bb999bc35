//! The order of one turn: take, judge, the application, hand out, effects. The driver and the simulated
//! world both go by it.

use std::io;
use std::net::SocketAddr;

use ringmw_sched::Nanos;

use super::state::State;
use crate::engine::{Closed, ConnId, Handler};
use crate::proto::master::{Effect, MasterCore};

/// The turn begins: what has come becomes frames, frames become facts, ends go to their owners.
///
/// `take` gives the engine's facts and says whether that were all.
pub(crate) fn begin(
    state: &mut State,
    now: Nanos,
    take: impl FnOnce(&mut dyn Handler) -> io::Result<bool>,
) -> io::Result<bool> {
    state.core.begin_turn(now);
    let caught_up = take(&mut ToCore(&mut state.core))?;
    state.core.judge(caught_up);
    state.dispatch();
    Ok(caught_up)
}

/// The application has had its part: tasks are handed out and every effect is performed.
pub(crate) fn end(state: &mut State, mut perform: impl FnMut(Effect)) {
    state.core.hand_out();
    state.say_waiting();
    state.dispatch();
    while let Some(effect) = state.core.poll_effect() {
        perform(effect);
    }
}

/// The engine's facts, given to the core.
struct ToCore<'a>(&'a mut MasterCore);

impl Handler for ToCore<'_> {
    fn on_accept(&mut self, conn: ConnId, peer: SocketAddr) {
        self.0.on_accept(conn, peer);
    }

    fn on_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        self.0.on_bytes(conn, bytes);
    }

    fn on_sent(&mut self, conn: ConnId, buffer: Vec<u8>, drained: bool) {
        self.0.on_sent(conn, buffer, drained);
    }

    fn on_closed(&mut self, conn: ConnId, why: Closed) {
        self.0.on_closed(conn, why);
    }

    fn on_accept_error(&mut self, error: io::Error) {
        self.0.on_accept_error(&error);
    }
}
