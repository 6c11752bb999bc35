//! The thread that tells how the run does, by HTTP (`--mw-status-port`) and to observers (the second listener).
//!
//! ```text
//!   master's thread ── publish ──► Board ◄── look ── status thread ◄── browser, Prometheus, ringmw top
//!                   ◄────────────── question ─────────────────────◄── ringmw why
//! ```
//!
//! It reads what the master's thread has published last, so that it answers while the master algorithm holds that thread.
//! It lives as long as the process.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

mod board;
mod http;
mod line;
mod metrics;
mod observer;

pub(crate) use board::{Board, Question};
pub(crate) use http::{Access, own_names};
pub(crate) use line::Proof;
pub(crate) use observer::Master;

/// What is served, each where it has a listener.
pub(crate) struct Listeners {
    pub(crate) http: Option<(TcpListener, Access)>,
    pub(crate) observers: Option<TcpListener>,
}

/// Starts the thread.
///
/// # Errors
/// When a listener cannot be used or no thread be started.
pub(crate) fn serve(listeners: Listeners, master: Master) -> io::Result<()> {
    let Listeners { http, observers } = listeners;
    if let Some((listener, _)) = &http {
        listener.set_nonblocking(true)?;
    }
    if let Some(listener) = &observers {
        listener.set_nonblocking(true)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let master = Arc::new(master);
    thread::Builder::new()
        .name("ringmw-status".to_owned())
        .spawn(move || {
            runtime.block_on(async move {
                if let Some((listener, access)) = http
                    && let Ok(listener) = tokio::net::TcpListener::from_std(listener)
                {
                    let board = Arc::clone(&master.board);
                    tokio::spawn(http::serve(listener, access, board));
                }
                if let Some(listener) = observers
                    && let Ok(listener) = tokio::net::TcpListener::from_std(listener)
                {
                    tokio::spawn(observer::serve(listener, master));
                }
                std::future::pending::<()>().await;
            });
        })?;
    Ok(())
}
