//! What this repository's own tests and benches reach of the inside. No part of the public interface: it changes at
//! will.

/// The network's engines.
pub mod engine {
    pub use crate::io::engine::{
        Choice, Close, Closed, ConnId, Engine, EngineError, Handler, TAKE_BYTES_MAX, Want, listen,
        open, raise_nofile, watch,
    };
}

/// The protocol cores, and what they take and give.
pub mod proto {
    pub use crate::proto::bytes::SmallBytes;
    pub use crate::proto::config::{
        AlgorithmInfo, Bounds, Config, Level, Rules, SlaveConfig, Wanted,
    };
    pub use crate::proto::conn::Effect;
    pub use crate::proto::end::End;
    pub use crate::proto::master::{MasterCore, Traffic};
    pub use crate::proto::slave::{Next, SlaveCore, SlaveEnd};
    pub use crate::proto::{HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, SECOND};
}

/// Values as archives, and back.
pub mod wire {
    pub use crate::typed::wire::{access, check_each, decode, encode, type_text};
}

/// The master's turns.
pub mod turns {
    use std::time::Duration;

    use crate::io::clock::Clock;
    use crate::master::Master;

    /// Passes that the driver has made so far.
    pub fn passes(mw: &Master) -> u64 {
        mw.passes()
    }

    /// What is kept of calls, maps and conversations that somebody still has, and of reservations; of the latter once more
    /// what the scheduler keeps.
    pub fn kept(mw: &Master) -> (usize, usize, usize) {
        mw.kept()
    }

    /// Under a simulated clock: the master algorithm, which calls it, holds its thread for so long.
    pub fn hold(time: Duration) {
        Clock::hold(time);
    }
}
