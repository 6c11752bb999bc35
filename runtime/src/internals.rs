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
    pub use crate::proto::slave::{Next, Output, SlaveCore, SlaveEnd};
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

/// What earlier lives of a run recorded.
pub mod journal {
    use std::path::Path;

    use ringmw_codec::journal::{Identity, hash_args, hash_name, key};

    use crate::io::files::journal::{Files, Folder};
    use crate::proto::known::{Known, Outputs};

    /// A journal that was read, as a master does at its start.
    #[derive(Debug)]
    pub struct Journal {
        known: Known,
        files: Files,
    }

    impl Journal {
        /// Reads a folder of segments of this identity.
        ///
        /// # Errors
        /// In words: it cannot be used.
        pub fn open(folder: &Path, identity: &Identity) -> Result<Self, String> {
            let (opened, files) = Folder::new(folder.to_owned()).open(identity)?;
            let known = opened.known;
            Ok(Journal { known, files })
        }

        /// Results that count.
        pub fn results(&self) -> u64 {
            self.known.tally().results
        }

        /// The output of a task's result, if one is recorded and can be read.
        pub fn output(
            &mut self,
            algorithm: &str,
            stream: (u64, u64),
            args: &[u8],
        ) -> Option<Vec<u8>> {
            let key = key(hash_name(algorithm), stream.0, stream.1, hash_args(args));
            let place = self.known.find(key)?.place();
            let mut out = Vec::new();
            self.files.read_whole(place, &mut out).then_some(out)
        }
    }
}
