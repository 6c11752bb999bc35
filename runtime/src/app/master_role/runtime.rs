//! The engine of the master's sockets, and the runtime of the master algorithm that goes with it.

use std::net::TcpListener;
use std::time::Duration;

use crate::io::engine::{self, Choice, Engine};

/// The engine and the runtime that goes with it.
pub(super) struct Runtime {
    kind: Kind,
    engine: Box<dyn Engine>,
    /// Why it is this engine.
    pub(super) why: String,
}

enum Kind {
    Ring(tokio_uring::Runtime),
    Epoll(tokio::runtime::Runtime),
}

/// Entries of tokio-uring's own ring: it carries the master algorithm's files, no sockets.
const FILE_RING_ENTRIES: u32 = 64;

impl Runtime {
    /// The ring's runtime if both rings are to be had, the engine's and tokio-uring's own; else plain tokio with epoll.
    pub(super) fn open(choice: Choice, listener: TcpListener) -> Result<Runtime, String> {
        let for_epoll = listener
            .try_clone()
            .map_err(|error| format!("the listening socket: {error}"))?;
        // Before the engine's ring, which takes what the kernel still allows of locked memory.
        let files = (choice != Choice::Epoll)
            .then(|| tokio_uring::Runtime::new(tokio_uring::builder().entries(FILE_RING_ENTRIES)));
        let (mut engine, mut why) =
            engine::open(choice, listener).map_err(|error| error.to_string())?;
        if engine.name() == "ring" {
            let error = match files.expect("epoll was not asked for") {
                Ok(runtime) => {
                    return Ok(Runtime {
                        kind: Kind::Ring(runtime),
                        engine,
                        why,
                    });
                }
                Err(error) => error,
            };
            let refused = format!("the master algorithm's own io_uring was refused: {error}");
            if choice == Choice::Ring {
                return Err(format!(
                    "--mw-engine ring: {refused}; raise the limit of locked memory (ulimit -l), or use --mw-engine auto"
                ));
            }
            drop(engine);
            (engine, _) =
                engine::open(Choice::Epoll, for_epoll).map_err(|error| error.to_string())?;
            why = format!("{refused}; using epoll");
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("the runtime cannot be made: {error}"))?;
        Ok(Runtime {
            kind: Kind::Epoll(runtime),
            engine,
            why,
        })
    }

    pub(super) fn is_ring(&self) -> bool {
        matches!(self.kind, Kind::Ring(_))
    }

    pub(super) fn block_on<T, Fut: Future<Output = T>>(
        self,
        run: impl FnOnce(Box<dyn Engine>) -> Fut,
    ) -> T {
        match self.kind {
            Kind::Ring(runtime) => runtime.block_on(run(self.engine)),
            Kind::Epoll(runtime) => {
                let value = tokio::task::LocalSet::new().block_on(&runtime, run(self.engine));
                // A heavy sum may still run in its thread; nobody waits for it any more.
                runtime.shutdown_timeout(Duration::ZERO);
                value
            }
        }
    }
}
