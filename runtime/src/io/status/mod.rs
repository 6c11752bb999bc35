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
#[cfg(feature = "http")]
mod http;
mod line;
#[cfg(feature = "http")]
mod metrics;
mod observer;

pub(crate) use board::{Board, Question};
#[cfg(feature = "http")]
pub(crate) use http::{Access, own_names};
pub(crate) use line::Proof;
pub(crate) use observer::Master;

/// Where HTTP is asked, and who may.
#[cfg(feature = "http")]
pub(crate) type Http = (TcpListener, Access);
/// There is none in this build.
#[cfg(not(feature = "http"))]
pub(crate) type Http = std::convert::Infallible;

/// What is served, each where it has a listener.
pub(crate) struct Listeners {
    pub(crate) http: Option<Http>,
    pub(crate) observers: Option<TcpListener>,
}

/// Starts the thread.
///
/// # Errors
/// When a listener cannot be used or no thread be started.
pub(crate) fn serve(listeners: Listeners, master: Master) -> io::Result<()> {
    #[cfg_attr(not(feature = "http"), expect(unused_variables))]
    let Listeners { http, observers } = listeners;
    #[cfg(feature = "http")]
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
                #[cfg(feature = "http")]
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
