//! Who may look at the run, and where: HTTP where it is asked for, observers wherever there is a resource file.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmw_codec::secret::Secret;
use ringmw_codec::status::{Run, Status};
use tokio::sync::mpsc::UnboundedSender;

use crate::app::master_role::Setting;
use crate::app::master_role::listen::listen_within;
use crate::app::parts::OWN_VERSION;
use crate::io::clock::{self, Clock};
use crate::io::signals;
use crate::io::status::{self, Board, Listeners, Proof};
use crate::io::terminal::own_name;
use crate::master::driver::Outside;
use crate::master::publish::Publisher;

#[cfg(feature = "http")]
mod http;

/// What of it the resource file names.
#[derive(Clone, Default)]
pub(super) struct Told {
    /// Where observers ask.
    pub(super) address: Option<String>,
    /// The page's link without its token.
    pub(super) page: Option<String>,
    /// The token of HTTP.
    pub(super) token: Option<String>,
}

/// The listeners, before there is a run to be told of.
pub(super) struct Watch {
    listeners: Listeners,
    pub(super) told: Told,
    proof: Option<Proof>,
}

impl Setting {
    /// `None`: nobody may look.
    ///
    /// # Errors
    /// When an address that was asked for cannot be bound.
    pub(super) fn watch(
        &self,
        secret: Option<&Secret>,
        local: SocketAddr,
        addresses: &[String],
    ) -> Result<Option<Watch>, String> {
        let mut told = Told::default();
        let http = match (&self.settings.status_at, self.embedded) {
            (Some(at), false) => Some(self.http(at, secret, &mut told)?),
            _ => None,
        };
        let observers = match self.settings.resource_file.is_some() && !self.embedded {
            true => Some(self.observers(secret, (local, addresses), &mut told)?),
            false => None,
        };
        if http.is_none() && observers.is_none() {
            return Ok(None);
        }
        let listeners = Listeners { http, observers };
        let proof = secret.map(|secret| Proof {
            secret: secret.clone(),
            member_id: self.member_id.clone().into_bytes(),
        });
        Ok(Some(Watch {
            listeners,
            told,
            proof,
        }))
    }

    /// # Errors
    /// Always: there is no HTTP in this build.
    #[cfg(not(feature = "http"))]
    fn http(
        &self,
        (_, port): &(Option<String>, u16),
        _: Option<&Secret>,
        _: &mut Told,
    ) -> Result<status::Http, String> {
        Err(format!(
            "--mw-status-port {port}: this program was built without the feature `http` of ringmw; ringmw top, why and stop \
             need only the resource file"
        ))
    }

    /// Where slaves come to, on a port of its own. Without a secret nothing is proved, so only this machine may ask.
    fn observers(
        &self,
        secret: Option<&Secret>,
        (local, addresses): (SocketAddr, &[String]),
        told: &mut Told,
    ) -> Result<TcpListener, String> {
        let failed = |error: io::Error| {
            format!(
                "the listener of ringmw top, why and stop: {error}; it takes a free port of --mw-master-port's range"
            )
        };
        // Behind a firewall the range is what is open.
        let ports = self.settings.port.filter(|(first, last)| first < last);
        let ip = match secret {
            Some(_) => local.ip(),
            None => Ipv4Addr::LOCALHOST.into(),
        };
        let listener = listen_within(ip, ports.unwrap_or((0, 0))).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let first = addresses.first().and_then(|first| first.rsplit_once(':'));
        told.address = Some(match first {
            Some((host, _)) if secret.is_some() => format!("{host}:{}", bound.port()),
            _ => bound.to_string(),
        });
        Ok(listener)
    }
}

impl Watch {
    /// From here on it is told how the run does.
    pub(super) fn serve(
        self,
        run: Run,
        clock: Clock,
        outside: UnboundedSender<Outside>,
        stops_now: Arc<AtomicBool>,
    ) -> Result<Publisher, String> {
        let first = Status {
            run: run.clone(),
            ..Status::default()
        };
        let board = Arc::new(Board::new(clock.instant(0), first));
        let master = status::Master {
            board: Arc::clone(&board),
            proof: self.proof,
            stop: Box::new(move |now| {
                stops_now.fetch_or(now, Ordering::Relaxed);
                signals::stop();
            }),
            ask: Box::new(move |question| outside.send(Outside::Ask(question)).is_ok()),
        };
        status::serve(self.listeners, master)
            .map_err(|error| format!("the thread that tells how the run does: {error}"))?;
        Ok(Publisher::new(board, run))
    }
}

/// What does not change of a run.
pub(super) fn run(setting: &Setting, engine: &str, seed: u64, addresses: &[String]) -> Run {
    Run {
        name: own_name(),
        ringmw: OWN_VERSION.to_owned(),
        app_version: setting.parts.version.clone(),
        build: crate::app::fingerprint::build(),
        host: crate::app::slave_role::host(),
        pid: std::process::id(),
        engine: engine.to_owned(),
        seed: seed.to_string(),
        addresses: addresses.to_vec(),
        since_us: clock::unix_micros(),
        ..Run::default()
    }
}
