//! Who may look at the run, and where: HTTP where it is asked for, observers wherever there is a resource file.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;

use ringmw_codec::audit::{Event, Who};
use ringmw_codec::status::{Run, Status};
use tokio::sync::mpsc::UnboundedSender;

use crate::app::master_role::Setting;
use crate::app::master_role::listen::listen_within;
use crate::app::parts::OWN_VERSION;
use crate::io::clock::{self, Clock};
use crate::io::engine;
use crate::io::status::{self, Access, Board, Listeners};
use crate::io::terminal::{complain, own_name};
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
}

impl Setting {
    /// `None`: nobody may look.
    ///
    /// # Errors
    /// When an address that was asked for cannot be bound.
    pub(super) fn watch(&self) -> Result<Option<Watch>, String> {
        let mut told = Told::default();
        let http = match (&self.settings.status_at, self.embedded) {
            (Some(at), false) => Some(self.http(at, &mut told)?),
            _ => None,
        };
        let observers = match self.settings.resource_file.is_some() && !self.embedded {
            true => Some(observers(self.settings.port, &mut told)?),
            false => None,
        };
        if http.is_none() && observers.is_none() {
            return Ok(None);
        }
        let listeners = Listeners { http, observers };
        Ok(Some(Watch { listeners, told }))
    }

    fn http(
        &self,
        (host, port): &(Option<String>, u16),
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
        let token = token().map_err(|error| format!("no token can be drawn: {error}"))?;
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
}

impl Watch {
    /// From here on it is told how the run does.
    pub(super) fn serve(
        self,
        run: Run,
        clock: Clock,
        outside: UnboundedSender<Outside>,
    ) -> Result<Publisher, String> {
        let first = Status {
            run: run.clone(),
            ..Status::default()
        };
        let board = Arc::new(Board::new(clock.instant(0), first));
        let master = status::Master {
            board: Arc::clone(&board),
            ask: Box::new(move |question| outside.send(Outside::Ask(question)).is_ok()),
        };
        status::serve(self.listeners, master)
            .map_err(|error| format!("the thread that tells how the run does: {error}"))?;
        Ok(Publisher::new(board, run))
    }
}

/// Without a secret nothing is proved, so only this machine may ask.
fn observers(ports: Option<(u16, u16)>, told: &mut Told) -> Result<TcpListener, String> {
    let failed = |error: io::Error| {
        format!(
            "the listener of ringmw top, why and stop: {error}; it takes a free port of --mw-master-port's range"
        )
    };
    // Behind a firewall the range is what is open.
    let ports = ports.filter(|(first, last)| first < last);
    let listener =
        listen_within(Ipv4Addr::LOCALHOST.into(), ports.unwrap_or((0, 0))).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    told.address = Some(bound.to_string());
    Ok(listener)
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

/// 128 bits that nobody can foresee.
fn token() -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
