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
    pub use crate::proto::master::{AlgorithmInfo, Level, SmallBytes, Traffic};
    pub use crate::proto::{
        Bounds, Demand, Effect, End, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, MasterConfig, MasterCore,
        Next, SECOND, SlaveConfig, SlaveCore, SlaveEnd, Wanted,
    };
}

/// Values as archives, and back.
pub mod wire {
    pub use crate::typed::wire::{access, check_each, decode, encode, type_text};
}
