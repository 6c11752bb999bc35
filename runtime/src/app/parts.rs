//! What an application becomes when it runs: its parts, complete, for the role that takes them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::app::args::Args;
use crate::app::exit::Exit;
use crate::io::files::audit::{AuditWriter, FINISH_BOUND};
use crate::io::terminal::complain;
use crate::master::Master;
use crate::slave::Slave;
use crate::typed::registry::Registry;

/// The master algorithm, its type forgotten.
pub(crate) type MasterAlgorithm =
    Box<dyn FnOnce(Master, Args) -> Pin<Box<dyn Future<Output = Exit>>>>;
/// A slave algorithm of the application's own, its type forgotten.
pub(crate) type SlaveAlgorithm = Arc<dyn Fn(&mut Slave, Args) -> Exit + Send + Sync>;

/// An application whose parts are complete.
pub(crate) struct Parts {
    pub(crate) registry: Arc<Registry>,
    pub(crate) master: Option<MasterAlgorithm>,
    pub(crate) slave: Option<SlaveAlgorithm>,
    pub(crate) version: String,
}

/// What a slave needs of it: it can be shared by threads.
pub(crate) struct SlaveSide {
    pub(crate) registry: Arc<Registry>,
    pub(crate) slave: Option<SlaveAlgorithm>,
    pub(crate) version: String,
}

impl Parts {
    pub(crate) fn slave_side(&self) -> SlaveSide {
        SlaveSide {
            registry: Arc::clone(&self.registry),
            slave: self.slave.clone(),
            version: self.version.clone(),
        }
    }
}

/// What `--mw-version-string` prints.
pub(crate) fn version_string(app: &str) -> String {
    if app.is_empty() {
        format!("ringmw {OWN_VERSION}")
    } else {
        format!("{app} (ringmw {OWN_VERSION})")
    }
}

/// The version of this library.
pub(crate) const OWN_VERSION: &str = env!("CARGO_PKG_VERSION");

/// Writes the trail to its end; what cannot be written is told.
pub(crate) fn finish(audit: &AuditWriter, name: &str) {
    if let Err(unwritten) = audit.finish(FINISH_BOUND) {
        complain(name, &unwritten);
    }
}
