//! Who may look at the run, and where: HTTP where it is asked for, observers wherever there is a resource file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::secret::Secret;
use ringmw_codec::status::{Run, Status};
use tokio::sync::mpsc::UnboundedSender;

use crate::app::master_role::Setting;
use crate::app::master_role::listen::listen_within;
use crate::app::parts::OWN_VERSION;
use crate::io::clock::{self, Clock};
use crate::io::status::{self, Access, Board, Listeners, Proof};
use crate::io::terminal::{complain, own_name};
use crate::io::{engine, secret_file, signals};
use crate::master::driver::Outside;
use crate::master::publish::Publisher;

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

/// What the token of HTTP is derived for.
const TOKEN_PURPOSE: &str = "ringmw 2026 the token of a run's status page";

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

    fn http(
        &self,
        (host, port): &(Option<String>, u16),
        secret: Option<&Secret>,
        told: &mut Told,
    ) -> Result<(TcpListener, Access), String> {
        let flag = || match host {
            Some(host) => format!("--mw-status-port {host}:{port}"),
            None => format!("--mw-status-port {port}"),
        };
        let failed = |error: io::Error| {
            format!(
                "{}: cannot listen there: {error}; is it an address of this machine, and is the port free?",
                flag()
            )
        };
        let address = match host {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, *port)),
            Some(host) => {
                let mut all = (host.as_str(), *port).to_socket_addrs().map_err(failed)?;
                all.next()
                    .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?
            }
        };
        let listener = engine::listen(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        // One-way: who has the token may look, and learns nothing of the secret.
        let token = match secret {
            Some(secret) => secret.token(TOKEN_PURPOSE).to_string(),
            None => secret_file::draw().token(TOKEN_PURPOSE).to_string(),
        };
        let shown = match host {
            Some(host) if !bound.ip().is_unspecified() => with_port(host, bound.port()),
            Some(_) => {
                let advertised = self.settings.advertise_host.clone();
                with_port(
                    &advertised.unwrap_or_else(crate::app::slave_role::host),
                    bound.port(),
                )
            }
            None => bound.to_string(),
        };
        let page = format!("http://{shown}/");
        let name = own_name();
        complain(&name, &format!("status at {page}?token={token}"));
        if !bound.ip().is_loopback() {
            complain(
                &name,
                &"the status is told in clear text: who can read the network between browser and master can read it, and \
                  the token",
            );
        }
        let further = [host.clone(), self.settings.advertise_host.clone()];
        let access = Access {
            token: token.clone(),
            hosts: status::own_names(bound, further.into_iter().flatten()),
        };
        self.audit.say(
            Who::Master,
            Event::Note {
                text: format!("status at {page}"),
            },
        );
        (told.page, told.token) = (Some(page), Some(token));
        Ok((listener, access))
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

fn with_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}
